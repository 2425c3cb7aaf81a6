//! Moves frames between a session and its channel: one task writes, one reads, one for each stream of contents.

use super::Lost;
use super::blobs::BlobSource;
use super::bootstrap::Channel;
use super::codec::FrameReader;
use super::session::{AgentOptions, Answer, ProgressSink};
use crate::wire::{BlobWant, CHUNK, End, Frame, Kind, Progress, Reply, UploadOpen, WINDOW, WireError};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

/// Bytes of requests that may be on the host without an answer; the rest of the queue waits here.
const AHEAD: usize = 4 * 1024 * 1024;

/// A request without an answer.
pub(super) struct Entry {
    label: String,
    size: usize,
    answer: oneshot::Sender<Result<Answer, Lost>>,
    blobs: Arc<dyn BlobSource>,
    progress: Option<ProgressSink>,
    upload: Option<Upload>,
    received: BTreeMap<String, tempfile::TempPath>,
    not_received: BTreeMap<String, String>,
}

impl Entry {
    pub fn new(
        label: String,
        answer: oneshot::Sender<Result<Answer, Lost>>,
        blobs: Arc<dyn BlobSource>,
        progress: Option<ProgressSink>,
    ) -> Self {
        let (received, not_received) = Default::default();
        Entry { label, size: 0, answer, blobs, progress, upload: None, received, not_received }
    }
}

/// Contents that are being received.
struct Upload {
    name: String,
    file: std::io::Result<tempfile::NamedTempFile>,
    taken: usize,
}

/// A relay as the reader sees it.
pub(super) struct RelayEnd {
    pub opened: Option<oneshot::Sender<Result<(), String>>>,
    pub credit: Arc<Semaphore>,
    pub incoming: mpsc::UnboundedSender<Vec<u8>>,
}

/// What everybody shares.
pub(super) struct Link {
    control: mpsc::UnboundedSender<Frame>,
    tasks: mpsc::UnboundedSender<Frame>,
    state: Mutex<State>,
    flow: Arc<Flow>,
    ended: watch::Receiver<bool>,
}

/// What the writer needs to know. It does not hold the link: that must end with the last session.
#[derive(Default)]
struct Flow {
    /// Bytes of requests on the host.
    ahead: AtomicUsize,
    /// The highest id that was answered.
    confirmed: AtomicU32,
    /// Room in the queue on the host.
    room: Notify,
}

#[derive(Default)]
struct State {
    last_id: u32,
    pending: BTreeMap<u32, Entry>,
    streams: HashMap<u32, Arc<Semaphore>>,
    relays: HashMap<u32, RelayEnd>,
    lost: Option<String>,
}

/// Starts the tasks.
pub(super) fn start<R: AsyncRead + Send + Unpin + 'static>(
    reader: FrameReader<R>,
    channel: Channel,
    options: &AgentOptions,
) -> Arc<Link> {
    let (control, control_queue) = mpsc::unbounded_channel();
    let (tasks, task_queue) = mpsc::unbounded_channel();
    let (ended_sender, ended) = watch::channel(false);
    let flow = Arc::new(Flow::default());
    let link = Arc::new(Link { control, tasks, state: Mutex::default(), flow: flow.clone(), ended });
    // The tasks hold the link weakly: when the last session is dropped the writer ends, and with it the channel.
    let weak = Arc::downgrade(&link);
    let pulse = (!options.patience.is_zero()).then(|| (options.patience / 4).max(Duration::from_millis(200)));
    let Channel { input, diagnosis } = channel;
    let writing = tokio::spawn(write(input, control_queue, task_queue, flow, pulse));
    let directory = options.received.clone();
    tokio::spawn(async move {
        let why = match read(reader, &weak, directory).await {
            Ok(()) => "the agent is gone".to_string(),
            Err(error) => error.to_string(),
        };
        let said: String = diagnosis().chars().take(400).collect();
        if let Some(link) = weak.upgrade() {
            link.fail(if said.is_empty() { why } else { format!("{why}; it said: {said}") });
        }
        writing.abort();
        let _ = ended_sender.send(true);
    });
    link
}

impl Drop for Link {
    // Nothing is waited for any more: an agent that has answered everything may forget what it kept for us.
    fn drop(&mut self) {
        if self.state.get_mut().is_ok_and(|state| state.pending.is_empty()) {
            let _ = self.control.send(Frame::new(Kind::Shutdown, 0, Vec::new()));
        }
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and if it did the maps would still be maps.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends a frame that is no request.
    pub fn control(&self, frame: Frame) {
        let _ = self.control.send(frame);
    }

    pub fn control_json<T: serde::Serialize>(&self, kind: Kind, id: u32, message: &T) {
        if let Ok(frame) = Frame::json(kind, id, message) {
            self.control(frame);
        }
    }

    /// Queues a request.
    pub fn submit(&self, mut frame: Frame, mut entry: Entry) {
        let mut state = self.state();
        if let Some(why) = &state.lost {
            let lost = Lost { during: entry.label.clone(), label: entry.label, why: why.clone() };
            let _ = entry.answer.send(Err(lost));
            return;
        }
        state.last_id += 1;
        frame.id = state.last_id;
        entry.size = frame.body.len();
        state.pending.insert(frame.id, entry);
        // Still under the lock, so that ids and queue have one order.
        let _ = self.tasks.send(frame);
    }

    /// Registers a relay; gives its id.
    pub fn add_relay(&self, end: RelayEnd) -> Result<u32, String> {
        let mut state = self.state();
        if let Some(why) = &state.lost {
            return Err(why.clone());
        }
        state.last_id += 1;
        let id = state.last_id;
        state.relays.insert(id, end);
        Ok(id)
    }

    pub fn remove_relay(&self, id: u32) {
        self.state().relays.remove(&id);
    }

    pub fn lost(&self) -> Option<String> {
        self.state().lost.clone()
    }

    pub fn shut_down(&self) {
        // Behind all requests, not before them.
        let _ = self.tasks.send(Frame::new(Kind::Shutdown, 0, Vec::new()));
    }

    pub async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// The channel is gone: everybody who waits is told.
    fn fail(&self, why: String) {
        let (pending, relays) = {
            let mut state = self.state();
            state.lost.get_or_insert_with(|| why.clone());
            state.streams.drain().for_each(|(_, stream)| stream.close());
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.relays))
        };
        let during = pending.values().next().map(|entry| entry.label.clone()).unwrap_or_default();
        for entry in pending.into_values() {
            let _ = entry.answer.send(Err(Lost { during: during.clone(), label: entry.label, why: why.clone() }));
        }
        for relay in relays.into_values() {
            relay.credit.close();
            if let Some(opened) = relay.opened {
                let _ = opened.send(Err(why.clone()));
            }
        }
    }

    fn answered(&self, id: u32, reply: Reply) {
        let (entry, idle) = {
            let mut state = self.state();
            let entry = state.pending.remove(&id);
            (entry, state.pending.is_empty())
        };
        let Some(entry) = entry else { return };
        self.flow.ahead.fetch_sub(entry.size.min(self.flow.ahead.load(Ordering::SeqCst)), Ordering::SeqCst);
        self.flow.confirmed.fetch_max(id, Ordering::SeqCst);
        self.flow.room.notify_one();
        if idle || id.is_multiple_of(16) {
            self.control(Frame::credit_alive(id));
        }
        let Entry { answer, received, not_received, .. } = entry;
        let _ = answer.send(Ok(Answer { reply, received, not_received }));
    }
}

impl Frame {
    /// Says that all replies up to `id` were received.
    fn credit_alive(id: u32) -> Frame {
        Frame::new(Kind::Alive, 0, id.to_be_bytes().to_vec())
    }
}

/// Writes frames: control frames at once, requests as far as the host may run ahead.
async fn write(
    input: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    mut control: mpsc::UnboundedReceiver<Frame>,
    mut tasks: mpsc::UnboundedReceiver<Frame>,
    flow: Arc<Flow>,
    pulse: Option<Duration>,
) {
    let mut input = BufWriter::with_capacity(64 * 1024, input);
    let mut pulse = tokio::time::interval(pulse.unwrap_or(Duration::from_secs(3600)));
    pulse.tick().await;
    loop {
        let room = flow.ahead.load(Ordering::SeqCst) < AHEAD;
        let wait_for_room = async {
            match room {
                false => flow.room.notified().await,
                true => std::future::pending().await,
            }
        };
        let frame = tokio::select! {
            biased;
            frame = control.recv() => match frame { Some(frame) => frame, None => break },
            frame = tasks.recv(), if room => match frame {
                Some(frame) => {
                    flow.ahead.fetch_add(frame.body.len(), Ordering::SeqCst);
                    frame
                }
                None => break,
            },
            () = wait_for_room => continue,
            _ = pulse.tick() => Frame::credit_alive(flow.confirmed.load(Ordering::SeqCst)),
        };
        if input.write_all(&frame.encode()).await.is_err() {
            break;
        }
        if control.is_empty() && (!room || tasks.is_empty()) && input.flush().await.is_err() {
            break;
        }
        if frame.kind == Kind::Shutdown {
            break;
        }
    }
    let _ = input.flush().await;
    let _ = input.shutdown().await;
}

/// Reads frames until the channel ends or nobody is interested any more.
async fn read<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    link: &std::sync::Weak<Link>,
    directory: Option<PathBuf>,
) -> Result<(), WireError> {
    while let Some(frame) = reader.next().await? {
        let Some(link) = link.upgrade() else { return Ok(()) };
        match frame.kind {
            Kind::Reply => link.answered(frame.id, frame.parse()?),
            Kind::Progress => {
                let sink = link.state().pending.get(&frame.id).and_then(|entry| entry.progress.clone());
                if let Some(sink) = sink {
                    sink(frame.parse::<Progress>()?);
                }
            }
            Kind::BlobWant => send_blob(&link, frame.id, frame.parse()?),
            Kind::BlobEnd => {
                if let Some(stream) = link.state().streams.get(&frame.id) {
                    stream.close();
                }
            }
            Kind::Credit => {
                let more = frame.parse_credit()?;
                let state = link.state();
                let stream = state.streams.get(&frame.id).or(state.relays.get(&frame.id).map(|relay| &relay.credit));
                if let Some(stream) = stream {
                    stream.add_permits(more.min(Semaphore::MAX_PERMITS / 4));
                }
            }
            Kind::UploadOpen => open_upload(&link, frame.id, frame.parse()?, directory.as_deref()),
            Kind::Upload => take_upload(&link, frame.id, &frame.body),
            Kind::UploadEnd => end_upload(&link, frame.id, frame.parse()?),
            Kind::RelayOpened => {
                let end: End = frame.parse()?;
                let opened = link.state().relays.get_mut(&frame.id).and_then(|relay| relay.opened.take());
                if let Some(opened) = opened {
                    let _ = opened.send(end.error.map_or(Ok(()), Err));
                }
            }
            Kind::RelayData | Kind::RelayEnd => {
                // An empty piece is the end.
                if let Some(relay) = link.state().relays.get(&frame.id) {
                    let _ = relay.incoming.send(frame.body);
                }
            }
            Kind::RelayClose => {
                if let Some(relay) = link.state().relays.remove(&frame.id) {
                    relay.credit.close();
                }
            }
            other => return Err(WireError::Unexpected(other)),
        }
    }
    Ok(())
}

/// Streams contents in a task of their own, as fast as the host takes them.
fn send_blob(link: &Arc<Link>, id: u32, want: BlobWant) {
    let credit = Arc::new(Semaphore::new(WINDOW));
    let source = {
        let mut state = link.state();
        state.streams.insert(id, credit.clone());
        state.pending.get(&id).map(|entry| entry.blobs.clone())
    };
    let control = link.control.clone();
    let link = Arc::downgrade(link);
    tokio::spawn(async move {
        let sent = match source {
            Some(source) => stream(&*source, &want, id, &credit, &control).await,
            None => Ok(()),
        };
        if let Some(link) = link.upgrade() {
            link.state().streams.remove(&id);
        }
        let end = End { error: sent.err().map(|e| e.to_string()) };
        if let Ok(frame) = Frame::json(Kind::BlobEnd, id, &end) {
            let _ = control.send(frame);
        }
    });
}

async fn stream(
    source: &dyn BlobSource,
    want: &BlobWant,
    id: u32,
    credit: &Semaphore,
    control: &mpsc::UnboundedSender<Frame>,
) -> std::io::Result<()> {
    let mut contents = source.open(&want.sha256).await?;
    let mut left = want.size;
    while left > 0 {
        let mut piece = vec![0; CHUNK.min(left as usize)];
        let n = contents.read(&mut piece).await?;
        if n == 0 {
            return Err(std::io::Error::other("they became shorter while they were sent"));
        }
        piece.truncate(n);
        left -= n as u64;
        match credit.acquire_many(n as u32).await {
            Ok(permit) => permit.forget(),
            Err(_) => return Ok(()), // the host wants no more
        }
        if control.send(Frame::new(Kind::Blob, id, piece)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn open_upload(link: &Link, id: u32, open: UploadOpen, directory: Option<&std::path::Path>) {
    let file = match directory {
        Some(directory) => tempfile::NamedTempFile::new_in(directory),
        None => tempfile::NamedTempFile::new(),
    };
    if let Err(error) = &file {
        link.control_json(Kind::UploadEnd, id, &End { error: Some(error.to_string()) });
    }
    if let Some(entry) = link.state().pending.get_mut(&id) {
        entry.upload = Some(Upload { name: open.name, file, taken: 0 });
    }
}

fn take_upload(link: &Link, id: u32, piece: &[u8]) {
    let mut answer = None;
    if let Some(upload) = link.state().pending.get_mut(&id).and_then(|entry| entry.upload.as_mut()) {
        if let Ok(file) = &mut upload.file
            && let Err(error) = file.as_file_mut().write_all(piece)
        {
            answer = Frame::json(Kind::UploadEnd, id, &End { error: Some(error.to_string()) }).ok();
            upload.file = Err(error);
        }
        upload.taken += piece.len();
        if answer.is_none() && upload.taken >= WINDOW / 8 {
            answer = Some(Frame::credit(id, std::mem::take(&mut upload.taken)));
        }
    }
    if let Some(answer) = answer {
        link.control(answer);
    }
}

fn end_upload(link: &Link, id: u32, end: End) {
    let mut state = link.state();
    let Some(entry) = state.pending.get_mut(&id) else { return };
    let Some(upload) = entry.upload.take() else { return };
    match (upload.file, end.error) {
        (Ok(file), None) => {
            entry.received.insert(upload.name, file.into_temp_path());
        }
        (Ok(_), Some(error)) => {
            entry.not_received.insert(upload.name, error);
        }
        (Err(error), _) => {
            entry.not_received.insert(upload.name, error.to_string());
        }
    }
}
