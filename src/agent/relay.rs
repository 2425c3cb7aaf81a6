//! TCP connections from this host that the controller speaks through, with flow control.

use super::hub::Output;
use crate::machine::resolve;
use crate::wire::{CHUNK, End, Frame, Kind, RELAY_WINDOW, RelayOpen};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// More than any probe needs, fewer than would hurt a host.
const MOST: usize = 128;

/// All open ones.
#[derive(Clone)]
pub(super) struct Relays {
    output: Arc<Output>,
    open: Arc<Mutex<HashMap<u32, Relay>>>,
}

struct Relay {
    to_socket: Sender<Order>,
    credit: Arc<Credit>,
}

enum Order {
    Write(Vec<u8>),
    End,
    Close,
}

/// Bytes that may still be sent to the controller.
struct Credit {
    free: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Credit {
    /// Waits until something may be sent; nothing when the relay was closed.
    fn wait(&self) -> Option<usize> {
        let mut free = self.free.lock().ok()?;
        while *free == Some(0) {
            free = self.changed.wait(free).ok()?;
        }
        *free
    }

    fn change(&self, change: impl FnOnce(usize) -> Option<usize>) {
        if let Ok(mut free) = self.free.lock() {
            *free = free.and_then(change);
            self.changed.notify_all();
        }
    }
}

impl Relays {
    pub fn new(output: Arc<Output>) -> Self {
        Relays { output, open: Default::default() }
    }

    /// Takes a frame that is for a relay; says whether it was.
    pub fn take(&self, frame: &Frame) -> bool {
        match frame.kind {
            Kind::RelayOpen => self.connect(frame),
            Kind::RelayData => self.order(frame.id, Order::Write(frame.body.clone())),
            Kind::RelayEnd => self.order(frame.id, Order::End),
            Kind::RelayClose => self.order(frame.id, Order::Close),
            Kind::Credit => {
                let Ok(open) = self.open.lock() else { return false };
                let Some(relay) = open.get(&frame.id) else { return false };
                let more = frame.parse_credit().unwrap_or(0);
                relay.credit.change(|free| Some(free.saturating_add(more)));
            }
            _ => return false,
        }
        true
    }

    /// Closes all.
    pub fn close(&self) {
        for relay in self.open.lock().map(|mut open| std::mem::take(&mut *open)).unwrap_or_default().into_values() {
            let _ = relay.to_socket.send(Order::Close);
            relay.credit.change(|_| None);
        }
    }

    fn order(&self, id: u32, order: Order) {
        if let Some(relay) = self.open.lock().ok().as_ref().and_then(|open| open.get(&id)) {
            if matches!(order, Order::Close) {
                relay.credit.change(|_| None);
            }
            let _ = relay.to_socket.send(order);
        }
    }

    fn connect(&self, frame: &Frame) {
        let id = frame.id;
        let request = frame.parse::<RelayOpen>();
        let (sender, orders) = channel();
        let credit = Arc::new(Credit { free: Mutex::new(Some(RELAY_WINDOW)), changed: Condvar::new() });
        let room = self.open.lock().is_ok_and(|mut open| {
            let room = open.len() < MOST;
            if room {
                open.insert(id, Relay { to_socket: sender, credit: credit.clone() });
            }
            room
        });
        let relays = self.clone();
        std::thread::spawn(move || {
            let connected = match (request, room) {
                (Ok(request), true) => dial(&request),
                (Err(error), _) => Err(error.to_string()),
                (_, false) => Err(format!("{MOST} connections through this host are open already")),
            };
            let answer = End { error: connected.as_ref().err().cloned() };
            relays.output.send_json(Kind::RelayOpened, id, &answer);
            if let Ok(socket) = connected {
                relays.pass(id, socket, &orders, &credit);
            }
            if room && let Ok(mut open) = relays.open.lock() {
                open.remove(&id);
            }
        });
    }

    /// Passes bytes both ways until both directions have ended or one side closes.
    fn pass(&self, id: u32, socket: TcpStream, orders: &Receiver<Order>, credit: &Arc<Credit>) {
        let _ = socket.set_nodelay(true);
        let reading = socket.try_clone().map(|socket| {
            let (output, credit) = (self.output.clone(), credit.clone());
            std::thread::spawn(move || from_socket(id, socket, &output, &credit))
        });
        let mut socket = socket;
        loop {
            match orders.recv() {
                Ok(Order::Write(bytes)) => {
                    if socket.write_all(&bytes).is_err() {
                        break; // the reader says so
                    }
                    self.output.send(&Frame::credit(id, bytes.len()));
                }
                Ok(Order::End) => {
                    let _ = socket.shutdown(Shutdown::Write);
                }
                Ok(Order::Close) | Err(_) => {
                    let _ = socket.shutdown(Shutdown::Both);
                    break;
                }
            }
        }
        credit.change(|_| None);
        let _ = socket.shutdown(Shutdown::Both);
        if let Ok(reading) = reading {
            let _ = reading.join();
        }
        self.output.send(&Frame::new(Kind::RelayClose, id, Vec::new()));
    }
}

/// What the socket says goes to the controller, as far as it takes it.
fn from_socket(id: u32, mut socket: TcpStream, output: &Output, credit: &Credit) {
    let mut buffer = vec![0; CHUNK];
    while let Some(free) = credit.wait() {
        let room = free.min(CHUNK);
        let piece = match socket.read(buffer.get_mut(..room).unwrap_or_default()) {
            Ok(n) => buffer.get(..n).unwrap_or_default(),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => &[],
        };
        if piece.is_empty() {
            break;
        }
        credit.change(|free| Some(free.saturating_sub(piece.len())));
        output.send(&Frame::new(Kind::RelayData, id, piece.to_vec()));
    }
    output.send(&Frame::new(Kind::RelayEnd, id, Vec::new()));
}

fn dial(request: &RelayOpen) -> Result<TcpStream, String> {
    let addresses = resolve::addresses(&request.host, request.port).map_err(|e| e.to_string())?;
    let timeout = Duration::from_millis(request.timeout_ms.max(1));
    let mut last = format!("`{}` has no address", request.host);
    for address in addresses {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}
