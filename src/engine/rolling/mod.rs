//! A rolling play: facts of all hosts, their order, the gate, and then turn after turn, each behind the gate. The first
//! doubt ends it.

mod order;
mod plan;
mod rollback;
mod standing;

use super::cluster_lock::{self, Held, LockError, Terms};
use super::event::Event;
use super::host::Host;
use super::if_locked::IfLocked;
use super::play::{Next, PlayRun, walk_batch};
use super::position::Position;
use super::walker::Part;
use crate::journal::TurnOutcome;
use crate::playbook::{OnFailure, Rolling, Step, Window};
use crate::source::Diag;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The controller's own clock.
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// What is wrong with a rolling play, as far as it can be told before any connection.
pub fn preflight(play: &Arc<PlayRun>, rolling: &Rolling) -> Vec<Diag> {
    let settled = plan::settle(play, rolling, WallClock.now());
    settled.err().into_iter().chain(plan::check_order(play, rolling).err()).collect()
}

/// Runs the play. An error is about the play itself, before any of its hosts was touched.
pub async fn run(play: &Arc<PlayRun>, rolling: &Arc<Rolling>) -> Result<Next, Diag> {
    Roll::begin(play, rolling, &WallClock)?.run().await
}

/// A turn's numbers.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// In its play, from 1: what users see.
    place: u32,
    /// In the run: what hosts log its changes under. Two plays of a run do not share it.
    number: u32,
}

/// A rolling play under way.
struct Roll<'a> {
    play: &'a Arc<PlayRun>,
    rolling: &'a Rolling,
    clock: &'a dyn Clock,
    settings: plan::Settings,
    gate: Option<Arc<[Step]>>,
    check: bool,
    /// What is walked later stands behind what was walked before.
    walked: usize,
}

impl<'a> Roll<'a> {
    fn begin(play: &'a Arc<PlayRun>, rolling: &'a Rolling, clock: &'a dyn Clock) -> Result<Roll<'a>, Diag> {
        let now = clock.now();
        let settings = plan::settle(play, rolling, now)?;
        let check = play.run.options.check;
        if let Some(window) = settings.window.as_ref().filter(|window| !check && !window.is_open(now)) {
            let span = rolling.window.as_ref().map_or(&rolling.span, |node| &node.span);
            return Err(Diag::error(closed(window, now)).at(span).with_note("no host was touched"));
        }
        let gate = rolling.gate.as_ref().map(|gate| gate.steps.clone().into());
        Ok(Roll { play, rolling, clock, settings, gate, check, walked: 0 })
    }

    async fn run(mut self) -> Result<Next, Diag> {
        if plan::nobody(self.play, self.rolling) {
            let order = plan::order(self.play, self.rolling, self.settings.limit)?;
            self.announce(&order);
            return Ok(Next::GoOn);
        }
        // Before anything else: what is asked of a host while another run works there waits for that run's end.
        let lock = match self.lock().await {
            Ok(lock) => lock,
            Err(why) => {
                super::if_locked::refused(&self.play.run, &why);
                return Ok(self.stop(format!("{why}; no host was touched")));
            }
        };
        let next = self.locked(lock.as_ref()).await;
        if let Some(lock) = lock {
            lock.release().await;
        }
        next
    }

    /// The play, with the cluster to itself.
    async fn locked(&mut self, lock: Option<&Held>) -> Result<Next, Diag> {
        let play = self.play;
        self.walk(play.hosts.clone(), Part::Facts, 0).await;
        let lost: Vec<&str> = play.hosts.iter().filter(|host| host.gone().is_some()).map(|host| &*host.name).collect();
        if !lost.is_empty() {
            return Ok(self.stop(format!("{}: no facts could be had, so no host is touched", lost.join(", "))));
        }
        let order = plan::order(play, self.rolling, self.settings.limit)?;
        self.announce(&order);
        let Some(first) = order.turns.first().and_then(|turn| turn.first()).cloned() else { return Ok(Next::GoOn) };
        if play.run.stopping() {
            return Ok(Next::Stop);
        }
        Ok(match self.pass_gate(&first).await {
            Ok(()) => self.turns(order.turns, lock).await,
            Err(why) => self.stop(format!("{why}: no host was touched")),
        })
    }

    /// Locks the cluster, where the play is about one. A check takes no lock.
    async fn lock(&self) -> Result<Option<Held>, LockError> {
        if self.check || self.settings.members.is_empty() {
            return Ok(None);
        }
        let options = &self.play.run.options;
        let name = self.play.play.name.as_ref().and_then(|name| name.scalar_text());
        let terms = Terms {
            cluster: self.settings.cluster.clone(),
            reason: name.unwrap_or_else(|| "a rolling play".into()),
            wait: options.if_locked.map(IfLocked::patience).unwrap_or_default(),
        };
        cluster_lock::acquire(self.play, &self.settings.members, terms).await.map(Some)
    }

    async fn turns(&mut self, turns: Vec<Vec<Arc<Host>>>, lock: Option<&Held>) -> Next {
        let of = turns.len() as u32;
        for (index, hosts) in turns.iter().enumerate() {
            if let Some(why) = self.obstacle(lock).await {
                self.play.run.unfinished();
                return self.stop(format!("{why}; not touched: {}", list(&turns[index..])));
            }
            let began = Instant::now();
            let run = self.play.run.clone();
            let turn = Turn { place: index as u32 + 1, number: run.next_turn() };
            run.sink.emit(Event::TurnStarted { turn: turn.place, of, hosts: names(hosts) });
            for host in hosts.iter().filter(|_| !self.check) {
                run.journal.iter().for_each(|journal| journal.turn_began(self.play.number, &host.name, turn.number));
            }
            let done = self.turn(turn, hosts).await;
            let seconds = began.elapsed().as_secs_f64();
            run.sink.emit(Event::TurnDone { turn: turn.place, hosts: names(hosts), ok: done.is_ok(), seconds });
            match done {
                Ok(Next::GoOn) if run.stopping() => return Next::Stop,
                Ok(Next::GoOn) => {}
                Ok(other) => return other,
                Err(why) => {
                    let rest = list(&turns[index + 1..]);
                    let rest = if rest.is_empty() { rest } else { format!("; not touched: {rest}") };
                    return self.stop(format!("{why}: the play stops{rest}"));
                }
            }
        }
        Next::GoOn
    }

    /// Why no turn may begin now.
    async fn obstacle(&self, lock: Option<&Held>) -> Option<String> {
        if self.check {
            return None;
        }
        if self.play.run.stopping() {
            return Some("interrupted between two turns".into());
        }
        let now = self.clock.now();
        if let Some(window) = self.settings.window.as_ref().filter(|window| !window.is_open(now)) {
            return Some(closed(window, now));
        }
        match lock {
            Some(lock) => lock.confirm().await.err().map(|error| error.to_string()),
            None => None,
        }
    }

    /// One turn, the soak of the first and the gate behind it included. An error is why the play stops.
    async fn turn(&mut self, turn: Turn, hosts: &[Arc<Host>]) -> Result<Next, String> {
        let run = self.play.run.clone();
        let batch = self.walk(hosts.to_vec(), Part::Turn, turn.number).await;
        let mut trouble = None;
        let lost: Vec<&str> = hosts.iter().filter(|host| host.gone().is_some()).map(|host| &*host.name).collect();
        if !lost.is_empty() {
            trouble = Some(format!("{} failed in its turn", lost.join(", ")));
            // Before anything is put back: the cause may lie elsewhere.
            if let (Some(why), Some(others)) = (&mut trouble, self.elsewhere(&names(hosts)).await) {
                why.push_str(&format!(", and elsewhere not all is well: {others}"));
            }
        } else if batch.ending() == Some(super::play::Ending::Fatal) {
            trouble = Some("the turn ended with a fatal error".to_string());
        }
        if trouble.is_none() && !self.check {
            if turn.place == 1 && !self.settings.soak.is_zero() {
                let reason = format!("{} is the first: is it still well after a while", names(hosts).join(", "));
                run.sink.emit(Event::Waiting { reason, seconds: self.settings.soak.as_secs() });
                self.pause(self.settings.soak).await;
            }
            if let Some(host) = hosts.first()
                && !run.stopping()
            {
                trouble = self.pass_gate(host).await.err();
            }
        }
        let Some(why) = trouble else {
            if !run.stopping() {
                self.ended(hosts, TurnOutcome::Done, "open");
            }
            return Ok(match batch.ending() {
                Some(super::play::Ending::Play) => Next::EndPlay,
                _ => Next::GoOn,
            });
        };
        // With the gate closed nobody knows which of them it was.
        let mut failed: Vec<Arc<Host>> = match lost.is_empty() {
            true => hosts.to_vec(),
            false => hosts.iter().filter(|host| host.gone().is_some()).cloned().collect(),
        };
        failed.sort_by(|a, b| a.name.cmp(&b.name));
        for host in hosts {
            let mut outcome = TurnOutcome::Failed;
            if self.rolling.on_failure == OnFailure::Rollback
                && !self.check
                && failed.iter().any(|other| other.name == host.name)
                && self.roll_back(turn, host).await
            {
                outcome = TurnOutcome::RolledBack;
            }
            self.ended(std::slice::from_ref(host), outcome, &why);
        }
        Err(why)
    }

    fn ended(&self, hosts: &[Arc<Host>], outcome: TurnOutcome, gate: &str) {
        let Some(journal) = self.play.run.journal.as_ref().filter(|_| !self.check) else { return };
        hosts.iter().for_each(|host| journal.turn_ended(self.play.number, &host.name, outcome, gate));
    }

    /// Runs the gate, if there is one: a named one for all from one host, tasks on every host of the play.
    async fn pass_gate(&mut self, host: &Arc<Host>) -> Result<(), String> {
        let Some(steps) = self.gate.clone() else { return Ok(()) };
        let named = self.rolling.gate.as_ref().is_some_and(|gate| gate.name.is_some());
        let hosts = if named { vec![host.clone()] } else { self.play.hosts.clone() };
        self.walk(hosts.clone(), Part::Steps(steps), 0).await;
        let closed: Vec<&str> = hosts.iter().filter(|host| host.gone().is_some()).map(|host| &*host.name).collect();
        match (closed.is_empty(), named) {
            (true, _) => Ok(()),
            (false, true) => Err("the gate did not open".into()),
            (false, false) => Err(format!("the gate did not open on {}", closed.join(", "))),
        }
    }

    async fn walk(&mut self, hosts: Vec<Arc<Host>>, part: Part, turn: u32) -> Arc<super::play::Batch> {
        let base = Position::start().child(self.walked);
        self.walked += 1;
        walk_batch(self.play, hosts, part, base, turn).await
    }

    async fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.play.run.stopping() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn announce(&self, order: &plan::Order) {
        let now = self.clock.now();
        self.play.run.sink.emit(Event::RollingOrder {
            turns: order.turns.iter().map(|turn| names(turn)).collect(),
            left_out: order.left_out.clone(),
            finished: order.finished.clone(),
            max_unavailable: self.settings.limit.of(self.play.hosts.len()),
            gate: self.rolling.gate.as_ref().map(|gate| gate.name.unwrap_or("tasks").to_string()),
            members: self.settings.members.clone(),
            window: self.settings.window.as_ref().map(|window| (window.to_string(), window.is_open(now))),
        });
        if self.rolling.on_failure == OnFailure::Rollback {
            for step in crate::engine::rollback::lasting_steps(&self.play.play) {
                self.play.run.warn(step.sentence());
            }
        }
    }

    fn stop(&self, reason: String) -> Next {
        self.play.run.sink.emit(Event::PlayStopped { reason });
        Next::Stop
    }
}

fn list(turns: &[Vec<Arc<Host>>]) -> String {
    turns.iter().flatten().map(|host| &*host.name).collect::<Vec<_>>().join(", ")
}

fn names(hosts: &[Arc<Host>]) -> Vec<Arc<str>> {
    hosts.iter().map(|host| host.name.clone()).collect()
}

/// Why nothing begins now.
fn closed(window: &Window, now: Timestamp) -> String {
    match window.next_opening(now) {
        Some(next) => format!("the window `{window}` is closed; it opens at {}", next.strftime("%Y-%m-%d %H:%M %Z")),
        None => format!("the window `{window}` is over and does not open again"),
    }
}
