//! One host's way through a play: sections, blocks, includes, handlers.

use super::call::Call;
use super::completion::{self, InFlight};
use super::event::Event;
use super::failed_task::FailedTask;
use super::frame::Frame;
use super::handlers::{Handler, Rank};
use super::host::{Gone, Host, Kind, Stamp};
use super::owed::Flush;
use super::play::{Batch, Ending, PlayRun, Stop};
use super::position::Position;
use super::task::Finished;
use crate::playbook::{Block, BlockKind, Step};
use crate::template::{Raw, from_json};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// How a host goes on after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next step.
    GoOn,
    /// A task failed: to the nearest rescue, or out.
    Failed,
    /// The host was lost.
    Unreachable,
    /// `meta: end_role`: to the end of the role.
    EndRole,
    /// `meta: end_host`, the end of the batch, an interrupt: out, without a failure.
    End,
}

/// What is remembered of a failure, for `rescue`.
#[derive(Clone)]
pub struct Failure {
    /// The result; nothing where another host has failed, and `any_errors_fatal` makes that everybody's failure.
    pub finished: Option<Arc<Finished>>,
    /// The task, where a rescue may ask for it.
    pub task: Option<FailedTask>,
}

/// One host in one batch.
pub struct HostRun {
    /// The play.
    pub play: Arc<PlayRun>,
    /// The batch.
    pub batch: Arc<Batch>,
    /// The host's number in the batch.
    pub index: usize,
    /// The host.
    pub host: Arc<Host>,
    /// The epoch of its requests: a failure ends it.
    pub epoch: AtomicU32,
    /// A failure that the walker has not dealt with yet.
    pub failure: Mutex<Option<Failure>>,
    /// How many blocks around it have a rescue or an always: only outside of them a failure is the end at once.
    shelters: AtomicU32,
    /// The host was lost.
    pub lost: std::sync::atomic::AtomicBool,
    /// How many of the batch's fatal failures it has taken notice of.
    fatal_seen: AtomicUsize,
    /// How many tasks tags and the like have let run.
    pub selected: AtomicUsize,
    /// Where it failed itself.
    failed_at: Mutex<Option<Position>>,
    /// The last task that is over.
    pub concluded: Mutex<Option<Position>>,
    /// Answers are dealt with in the order of the requests.
    pub completions: mpsc::UnboundedSender<InFlight>,
}

impl HostRun {
    /// Where it stands, as a stamp on what it sets.
    pub fn stamp(&self, position: &Position) -> Stamp {
        Stamp { play: self.play.number, position: position.clone() }
    }

    /// Waits until everything submitted before `position` is answered, and says how that ended.
    pub async fn settle(&self, position: &Position) -> Flow {
        self.batch.board.settle(self.index, position).await;
        self.state()
    }

    /// How the host fares, as far as is known now.
    pub fn state(&self) -> Flow {
        if self.lost.load(Ordering::SeqCst) {
            Flow::Unreachable
        } else if self.failure.lock().unwrap_or_else(|p| p.into_inner()).is_some() {
            Flow::Failed
        } else if self.play.run.stopping() || self.batch.ending().is_some() {
            Flow::End
        } else {
            Flow::GoOn
        }
    }

    /// Remembers a failure and starts a new epoch for what follows it: in this order, on which whoever sends relies.
    pub fn fail(&self, finished: Arc<Finished>, call: &Call) {
        self.host.fails();
        let sheltered = self.shelters.load(Ordering::SeqCst) > 0;
        let task = sheltered.then(|| FailedTask::of(call));
        // Others must not take it for one that takes part until its walker comes to know.
        if !sheltered {
            self.batch.left(self.index, &finished.task.position);
        }
        *self.failed_at.lock().unwrap_or_else(|p| p.into_inner()) = Some(finished.task.position.clone());
        let mut failure = self.failure.lock().unwrap_or_else(|p| p.into_inner());
        failure.get_or_insert(Failure { finished: Some(finished), task });
        drop(failure);
        self.epoch.store(self.play.run.next_epoch(), Ordering::SeqCst);
    }

    /// Waits at `behind` until nobody is before it, and takes over what has failed there.
    pub async fn meet_behind(&self, behind: &Position) -> Flow {
        self.batch.board.arrive(self.index, behind);
        self.batch.board.meet(behind).await;
        self.share_failures(behind);
        self.state()
    }

    /// Takes over the failures of others before `position` that are everybody's (`any_errors_fatal`): the host goes to
    /// its rescue as if it had failed itself, or out.
    pub fn share_failures(&self, position: &Position) {
        let fatal = self.batch.fatal.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let seen = self.fatal_seen.load(Ordering::SeqCst);
        let news = fatal.get(seen..).unwrap_or_default();
        let due = news.iter().take_while(|(_, at)| at < position).count();
        self.fatal_seen.store(seen + due, Ordering::SeqCst);
        let own = self.failed_at.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let theirs = |(who, at): &&(usize, Position)| *who != self.index && Some(at) != own.as_ref();
        if news.iter().take(due).any(|one| theirs(&one)) {
            let mut failure = self.failure.lock().unwrap_or_else(|p| p.into_inner());
            failure.get_or_insert(Failure { finished: None, task: None });
            drop(failure);
            self.epoch.store(self.play.run.next_epoch(), Ordering::SeqCst);
        }
    }

    /// Where every task is a meeting point: waits at `position` until nobody is before it, and ends the batch when more hosts have
    /// left it by then than `max_fail_percentage` allows. What fails at the position itself ends nothing yet: all run a task
    /// before anybody counts.
    pub async fn meet_strictly(&self, position: &Position) -> Flow {
        self.batch.board.meet(position).await;
        self.share_failures(position);
        let limit = self.play.max_fail_percentage;
        let left = self.batch.count_left(position);
        if limit.is_some() && super::batches::play_ends(self.batch.hosts.len(), left, limit) {
            self.batch.end(Ending::Fatal);
        }
        self.state()
    }
}

/// What of a play a host is walked through.
#[derive(Clone)]
pub enum Part {
    /// All of it.
    Whole,
    /// Facts alone: a rolling play needs those of all hosts before the first turn.
    Facts,
    /// All but the facts.
    Turn,
    /// These steps: a gate.
    Steps(Arc<[Step]>),
}

/// Walks one host through a play.
pub struct Walker {
    /// What requests and answers share.
    pub this: Arc<HostRun>,
}

type Walk<'a> = Pin<Box<dyn Future<Output = Flow> + Send + 'a>>;

impl Walker {
    /// A walker for host `index` of `batch`.
    pub fn new(play: Arc<PlayRun>, batch: Arc<Batch>, index: usize) -> Walker {
        let (completions, queue) = mpsc::unbounded_channel();
        let this = Arc::new(HostRun {
            host: batch.hosts[index].clone(),
            epoch: AtomicU32::new(play.run.next_epoch()),
            failure: Mutex::default(),
            shelters: AtomicU32::new(0),
            lost: Default::default(),
            fatal_seen: AtomicUsize::new(0),
            selected: AtomicUsize::new(0),
            failed_at: Mutex::default(),
            concluded: Mutex::default(),
            play,
            batch,
            index,
            completions,
        });
        tokio::spawn(completion::serve(Arc::downgrade(&this), queue));
        Walker { this }
    }

    /// Through a part of the play, which stands at `base`: what is walked later stands behind what was walked before.
    pub async fn walk(self, part: Part, base: Position) {
        let flow = self.sections(&part, &base).await;
        let end = Position::end();
        // A host that leaves for good still finishes what it was asked.
        self.this.batch.board.settle(self.this.index, &end).await;
        let flow = match (flow, self.this.state()) {
            (Flow::GoOn | Flow::End, late @ (Flow::Failed | Flow::Unreachable)) => late,
            (flow, _) => flow,
        };
        match flow {
            Flow::Failed => self.gone(Gone::Failed),
            Flow::Unreachable => self.gone(Gone::Unreachable),
            _ => {}
        }
        self.this.batch.board.leave(self.this.index);
    }

    fn gone(&self, why: Gone) {
        let batch = &self.this.batch;
        let failure = self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).clone();
        if failure.as_ref().is_some_and(|failure| failure.finished.is_none()) && why == Gone::Failed {
            // It has not failed itself, and nothing of it goes on: others may still be in their rescue or always.
            batch.stop(Stop::Fatal);
            return;
        }
        self.this.host.leave(why);
        let at = failure.as_ref().and_then(|failure| failure.finished.as_ref()).map(|f| f.task.position.clone());
        // Nobody may have passed by it since: it ends the play all the same.
        let fatal = batch.fatal.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let own = |one: &(usize, Position)| one.0 == self.this.index && at.as_ref().is_none_or(|at| *at == one.1);
        if fatal.iter().any(own) || (batch.strict && self.this.play.any_errors_fatal) {
            batch.stop(Stop::Fatal);
        }
        if let Some(finished) = failure.and_then(|failure| failure.finished) {
            self.this.batch.left(self.this.index, &finished.task.position);
        }
        let for_all = batch.failed_once.lock().unwrap_or_else(|p| p.into_inner());
        // What failed for all is the failure also of those that `meta: end_host` has sent away.
        if at.is_some_and(|at| for_all.contains(&at)) {
            batch.stop(Stop::Once);
        }
    }

    async fn sections(&self, part: &Part, start: &Position) -> Flow {
        let play = self.this.play.clone();
        let play = &play.play;
        let frame = Frame { keywords: vec![play.keywords.clone()], ..Frame::default() };
        let mut flow = match part {
            Part::Whole | Part::Facts => self.gather_facts(&frame, &start.child(0)).await,
            Part::Turn => Flow::GoOn,
            Part::Steps(steps) => return self.steps(steps, &frame, &start.child(4)).await,
        };
        if matches!(part, Part::Facts) {
            return flow;
        }
        if flow == Flow::GoOn {
            flow = self.steps(&play.pre_tasks, &frame, &start.child(1)).await;
        }
        if flow == Flow::GoOn {
            flow = self.flush_handlers(&start.child(2), None).await;
        }
        if flow == Flow::GoOn {
            flow = self.steps(&play.roles, &frame, &start.child(3)).await;
        }
        if flow == Flow::GoOn {
            flow = self.steps(&play.tasks, &frame, &start.child(4)).await;
        }
        if flow == Flow::GoOn {
            flow = self.flush_handlers(&start.child(5), Some(Flush::End)).await;
        }
        if flow == Flow::GoOn {
            flow = self.steps(&play.post_tasks, &frame, &start.child(6)).await;
        }
        if flow == Flow::GoOn {
            flow = self.flush_handlers(&start.child(7), None).await;
        }
        if flow == Flow::Failed && self.forces_handlers() {
            let failure = self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).take();
            let _ = self.flush_handlers(&start.child(8), None).await;
            if let Some(failure) = failure {
                self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).get_or_insert(failure);
            }
            return Flow::Failed;
        }
        flow
    }

    fn forces_handlers(&self) -> bool {
        let scope = super::play::host_scope(
            &self.this.play,
            &self.this.batch,
            &self.this.host,
            &self.this.stamp(&Position::end()),
        );
        let written = self.this.play.play.force_handlers.as_ref();
        let play = written.and_then(|node| super::play::text(&scope, node).ok());
        let play = play.and_then(|text| crate::modules::scalars::Flag::parse(&text.into())).unwrap_or(false);
        play || self.this.play.run.options.force_handlers
    }

    async fn gather_facts(&self, frame: &Frame, position: &Position) -> Flow {
        self.this.batch.board.arrive(self.this.index, position);
        match super::facts::gather(self, frame, position).await {
            Flow::GoOn => {}
            other => return other,
        }
        // Facts are read by nearly everything, also without being named, so they are waited for.
        let flow = self.this.settle(&position.child(usize::MAX)).await;
        if flow != Flow::GoOn {
            return flow;
        }
        super::facts::vars_files(&self.this, frame, position).await
    }

    /// Steps one after the other.
    pub fn steps<'a>(&'a self, steps: &'a [Step], frame: &'a Frame, position: &'a Position) -> Walk<'a> {
        Box::pin(async move {
            for (index, step) in steps.iter().enumerate() {
                let here = position.child(index);
                let flow = match step {
                    Step::Task(task) => self.task(task, frame, &here).await,
                    Step::Block(block) => self.block(block, frame, &here).await,
                };
                if flow != Flow::GoOn {
                    self.cut_off(flow, &steps[index..], &here);
                    return flow;
                }
            }
            Flow::GoOn
        })
    }

    /// Remembers where Ctrl-C stopped this host, so that the user is told what was not run.
    fn cut_off(&self, flow: Flow, rest: &[Step], here: &Position) {
        if flow != Flow::End || !self.this.play.run.stopping() {
            return;
        }
        let done =
            self.this.concluded.lock().unwrap_or_else(|p| p.into_inner()).as_ref().is_some_and(|last| last >= here);
        let next = match rest.first() {
            Some(Step::Task(task)) if !done => Some(task),
            _ => rest.iter().skip(1).find_map(first_task),
        };
        if let Some(task) = next {
            self.this.play.run.cut_off(&self.this.host.name, task.title());
        }
    }

    async fn block(&self, block: &Block, frame: &Frame, position: &Position) -> Flow {
        let mut inner = frame.inside(&block.keywords);
        inner.notify.extend(block.notify.iter().cloned());
        if let Some(role) = &block.role {
            inner.role = Some(role.clone());
        }
        if let (BlockKind::Role, Some(role)) = (block.kind, &block.role) {
            let key = (role.identity.clone(), self.this.host.name.clone());
            let first = self.this.play.roles_done.lock().unwrap_or_else(|p| p.into_inner()).insert(key.clone());
            if !first && !role.allow_duplicates {
                return Flow::GoOn; // the same role with the same parameters runs once a play
            }
            let flow = super::role_spec::check(&self.this, role, &inner, &position.child(0)).await;
            if flow != Flow::GoOn {
                return flow;
            }
            let before = self.this.selected.load(Ordering::SeqCst);
            let flow = self.steps(&block.block, &inner, &position.child(1)).await;
            if self.this.selected.load(Ordering::SeqCst) == before {
                // Where tags left out all of it, it has not run: another entry of it, or who needs it, runs it yet.
                self.this.play.roles_done.lock().unwrap_or_else(|p| p.into_inner()).remove(&key);
            }
            return match flow {
                Flow::EndRole => Flow::GoOn,
                other => other,
            };
        }
        if block.rescue.is_empty() && block.always.is_empty() {
            return self.steps(&block.block, &inner, position).await;
        }
        // What was submitted before the block must not be rescued by it, and nothing of it may be in flight when
        // its rescue or always begins: a queue never crosses these edges.
        let flow = self.this.settle(position).await;
        if flow != Flow::GoOn {
            return flow;
        }
        self.this.shelters.fetch_add(1, Ordering::SeqCst);
        let flow = self.sheltered(block, &inner, position).await;
        self.this.shelters.fetch_sub(1, Ordering::SeqCst);
        flow
    }

    /// The sections of a block that has a rescue or an always.
    async fn sheltered(&self, block: &Block, inner: &Frame, position: &Position) -> Flow {
        let mut flow = self.steps(&block.block, inner, &position.child(0)).await;
        flow = self.after(flow, &position.child(1)).await;
        if flow == Flow::Failed && !block.rescue.is_empty() {
            let failure = self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).take();
            let own = failure.and_then(|failure| Some((failure.finished?, failure.task)));
            if let Some((finished, task)) = &own {
                self.describe_failure(finished, task.as_ref(), position);
                self.this.host.rescued();
            }
            flow = self.steps(&block.rescue, inner, &position.child(1)).await;
            flow = self.after(flow, &position.child(2)).await;
            if flow == Flow::GoOn && own.is_some() {
                let event = Event::Rescued { host: self.this.host.name.clone() };
                self.this.batch.board.emit(&position.child(1), event);
            }
        }
        // Whom `meta: end_host` or `end_play` has sent away runs nothing any more.
        if block.always.is_empty() || matches!(flow, Flow::Unreachable | Flow::End) {
            return flow;
        }
        let failure = self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).take();
        let mut last = self.steps(&block.always, inner, &position.child(2)).await;
        last = self.after(last, &position.child(3)).await;
        if last == Flow::GoOn {
            if let Some(failure) = failure {
                self.this.failure.lock().unwrap_or_else(|p| p.into_inner()).get_or_insert(failure);
            }
            return flow;
        }
        last
    }

    /// Waits for what is in flight before the end of a section, and says how the section ended.
    async fn after(&self, flow: Flow, end: &Position) -> Flow {
        match (flow, self.this.settle(end).await) {
            (Flow::GoOn, late) => late,
            (Flow::End | Flow::EndRole, late @ (Flow::Failed | Flow::Unreachable)) => late,
            (flow, _) => flow,
        }
    }

    /// `ansible_failed_task` and `ansible_failed_result`, for the rescue.
    fn describe_failure(&self, finished: &Finished, task: Option<&FailedTask>, position: &Position) {
        // Where the rescue begins: behind what a rescue inside of the block was told.
        let stamp = self.this.stamp(&position.child(1));
        let task = task.map_or(serde_json::Value::Null, |task| task.described(&self.this, finished));
        self.this.host.set(&stamp, Kind::Assigned, "ansible_failed_task", Raw::Value(from_json(&task)));
        let result = finished.value.clone();
        self.this.host.set(&stamp, Kind::Assigned, "ansible_failed_result", Raw::Value(result));
    }

    /// Where a handler is `any_errors_fatal`, nobody goes on before it is known that it failed on no host, and where it gives
    /// facts to another host, not before they are there: those that were not told of it do not meet the others there.
    async fn after_handlers(&self, position: &Position, handlers: &[(Rank, Arc<Handler>)]) -> Flow {
        let this = &self.this;
        let fatal = |(_, handler): &(Rank, Arc<Handler>)| {
            let written = handler.frame.keyword(&handler.task.keywords, |k| k.any_errors_fatal.as_ref());
            written.map_or(this.play.any_errors_fatal, |node| node.as_bool() != Some(false))
                || super::finish::gives_facts(&handler.frame, &handler.task.keywords)
        };
        if this.play.free || !handlers.iter().any(fatal) {
            return Flow::GoOn;
        }
        this.meet_behind(&position.child(handlers.len())).await
    }

    /// Runs the handlers that were notified, in the order in which they are defined.
    pub fn flush_handlers<'a>(&'a self, position: &'a Position, pays: Option<Flush<'a>>) -> Walk<'a> {
        Box::pin(async move {
            let this = &self.this;
            this.batch.board.arrive(this.index, position);
            let debts = pays.is_some() && !self.debts().is_empty();
            if this.play.handlers.is_empty() && this.batch.included.is_empty() && !debts {
                return Flow::GoOn;
            }
            this.batch.board.meet(position).await;
            let flow = this.state();
            if flow != Flow::GoOn {
                return flow;
            }
            // Behind the meeting: a host that was behind may have brought the handler.
            if let Some(flush) = pays {
                self.pay(flush);
            }
            this.resolve_notifications(position);
            let handlers = this.handlers(position);
            for (index, (rank, handler)) in handlers.iter().enumerate() {
                let here = position.child(index);
                if let Some(certainly) = this.host.take_notified(rank) {
                    let before = this.host.counters();
                    let flow = self.handler(handler, &here, certainly).await;
                    // A handler may notify one that follows it.
                    let flow = self.after(flow, &position.child(index + 1)).await;
                    if flow != Flow::GoOn {
                        return flow;
                    }
                    // One that `--step` left out has not run.
                    if this.host.counters() != before {
                        this.play.run.note_ran(&this.host.name, handler);
                    }
                }
            }
            self.after_handlers(position, &handlers).await
        })
    }
}

fn first_task(step: &Step) -> Option<&Arc<crate::playbook::Task>> {
    match step {
        Step::Task(task) => Some(task),
        Step::Block(block) => block.block.iter().find_map(first_task),
    }
}
