//! One task on one host: whether it runs, how often, where, and when the host may go on without its answer.

use super::call::{Call, Known, Trouble};
use super::completion::{InFlight, Work};
use super::control;
use super::event::{Beneath, Event, HostResult, TaskInfo, TaskStatus};
use super::finish::{self, Answer};
use super::frame::Frame;
use super::loops::Begun;
use super::notify;
use super::once::Once;
use super::position::Position;
use super::prepare::{self, Prepared};
use super::walker::{Flow, Walker};
use crate::modules::{self, Outcome, Reach};
use crate::playbook::{Task, TaskContext, named_task};
use crate::source::{Diag, Node, did_you_mean};
use crate::template::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A task that is over on a host.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The task.
    pub task: Arc<TaskInfo>,
    /// How it ended.
    pub status: TaskStatus,
    /// The result as a play sees it.
    pub value: Value,
    /// The result without anything unknown in it.
    pub json: serde_json::Map<String, serde_json::Value>,
    /// Facts to set.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// Facts that a check cannot tell.
    pub unknown_facts: Vec<String>,
    /// What was changed.
    pub changes: Vec<crate::machine::Change>,
    /// In a check: fingerprints of what the module looked at.
    pub observed: std::collections::BTreeMap<String, String>,
    /// Why.
    pub msg: Option<String>,
    /// In a check: what was not known first, and how it came here.
    pub because: Option<super::unknown::Because>,
    /// The mistake in a file that made it fail.
    pub problem: Option<Arc<Diag>>,
    /// Whether a failure was ignored.
    pub ignored: bool,
    /// Which items of a loop are hidden (`no_log`).
    pub hidden: Vec<bool>,
    /// Seconds it took.
    pub seconds: f64,
    /// The host it ran on, when delegated.
    pub delegated_to: Option<Arc<str>>,
    /// What its module was given; of a loop nothing.
    pub given: Arc<super::call::Given>,
    /// Of an item of a loop, or the loop: the name of a handler that it has notified and that nobody has.
    pub missing: Option<String>,
}

impl Walker {
    /// Runs a task, or sends it on its way.
    pub async fn task(&self, task: &Arc<Task>, frame: &Frame, position: &Position) -> Flow {
        let this = &self.this;
        this.share_failures(position);
        let state = this.state();
        if state != Flow::GoOn {
            return state;
        }
        this.batch.board.arrive(this.index, position);
        let call = Call::new(&self.this, task, frame, position);
        let flow = match self.selected(&call).await {
            Ok(true) => {
                this.selected.fetch_add(1, Ordering::SeqCst);
                match self.run(&call).await {
                    Ok(flow) => flow,
                    Err(trouble) => self.trouble_in_turn(&call, trouble).await,
                }
            }
            Ok(false) => Flow::GoOn,
            Err(trouble) => self.trouble_in_turn(&call, trouble).await,
        };
        // Facts of another host: it may have passed by the task, and is to see them in the next one.
        let for_others = finish::gives_facts(&call.frame, &call.task.keywords);
        if this.play.free || !matches!(flow, Flow::GoOn) || !(for_others || finish::fatal(&call)) {
            return flow;
        }
        // Nobody goes on before all have been here, and it is known that nobody has failed.
        this.meet_behind(&position.child(usize::MAX)).await
    }

    /// A failure before anything was sent, unless a task before this one has failed meanwhile: then this one was never
    /// reached.
    async fn trouble_in_turn(&self, call: &Call, trouble: Trouble) -> Flow {
        match self.this.settle(call.position()).await {
            Flow::GoOn => self.trouble(call, trouble),
            flow => flow,
        }
    }

    /// Whether tags, `--start-at-task` and `--step` let the task run.
    async fn selected(&self, call: &Call) -> Result<bool, Trouble> {
        let run = &self.this.play.run;
        let mut tags = Vec::new();
        for node in call.frame.gathered(&call.task.keywords, |k| &k.tags) {
            match node.as_str() {
                Some(text) if !node.has_template() => tags.extend(text.split(',').map(|tag| tag.trim().to_string())),
                _ => {
                    let value = call.known(node).await?;
                    match value.as_str() {
                        Some(text) => tags.extend(text.split(',').map(|tag| tag.trim().to_string())),
                        None => {
                            let items = value.try_iter().map_err(|e| Trouble::Failed(format!("tags: {e}")))?;
                            tags.extend(items.map(|item| crate::template::display(&item)));
                        }
                    }
                }
            }
        }
        // Handlers are not selected: whoever notified them was.
        if !call.frame.handler && !run.tags.selects(&tags) {
            return Ok(false);
        }
        if !run.started.load(Ordering::SeqCst) {
            let wanted = run.options.start_at_task.as_deref().unwrap_or("");
            let plain = call.info.name.rsplit(" : ").next().unwrap_or("");
            let matches = |name: &str| glob::Pattern::new(wanted).is_ok_and(|p| p.matches(name)) || name == wanted;
            if !(matches(&call.info.name) || matches(plain)) {
                return Ok(false);
            }
            run.started.store(true, Ordering::SeqCst);
        }
        if run.options.step {
            return Ok(super::prompts::step(run, &self.this.batch, &call.info).await);
        }
        Ok(true)
    }

    /// A failure before anything was sent.
    pub fn trouble(&self, call: &Call, trouble: Trouble) -> Flow {
        match trouble {
            Trouble::Flow(flow) => flow,
            other => {
                let outcome = prepare::failed(call, other);
                let finished = finish::quick(call, outcome);
                self.conclude(call, finished)
            }
        }
    }

    /// Makes a finished task known and says how the host goes on.
    pub fn conclude(&self, call: &Call, finished: Finished) -> Flow {
        finish::publish(call, Arc::new(finished));
        self.this.state()
    }

    async fn run(&self, call: &Call) -> Result<Flow, Trouble> {
        let this = &self.this;
        if this.batch.strict {
            let state = this.meet_strictly(call.position()).await;
            if state != Flow::GoOn {
                return Ok(state);
            }
        }
        if let Some(diag) = &call.task.late_error {
            match condition(call).await? {
                Ok(()) => return Err((**diag).clone().into()),
                Err(outcome) => return self.conclude_in_turn(call, finish::quick(call, outcome)).await,
            }
        }
        if call.task.action.is_template() {
            // A condition may say that the task is not run at all; one of items is asked of each. One that is not known is
            // the module's: what it might touch is not known behind it.
            if call.task.loop_.is_none()
                && let Err(outcome) = condition(call).await?
                && outcome.status == modules::Status::Skipped
            {
                return self.conclude_in_turn(call, finish::quick(call, outcome)).await;
            }
            return match self.named(call).await? {
                Known::Value(named) => match Box::pin(self.run(&named)).await {
                    Ok(flow) => Ok(flow),
                    Err(trouble) => Ok(self.trouble_in_turn(&named, trouble).await),
                },
                Known::Unknown(touches) => {
                    let outcome = super::unknown::depends("which module it is depends on", &touches);
                    self.conclude_in_turn(call, finish::quick(call, outcome)).await
                }
            };
        }
        let Some(module) = call.module else {
            let name = &call.task.action.name;
            let hint = modules::instead(name).map(|instead| format!(": {instead}")).or_else(|| {
                let near = did_you_mean(name, modules::names().iter().copied());
                near.map(|near| format!("; did you mean `{near}`?"))
            });
            let wrong = Diag::error(format!("there is no module `{name}`{}", hint.unwrap_or_default()));
            return Err(wrong.at(&call.task.action.span).into());
        };
        // What is done here and not on the host has no queue that would drop it behind a failure: it waits until all that
        // is in flight has ended well.
        if module.run.is_none() {
            let state = this.settle(call.position()).await;
            if state != Flow::GoOn {
                return Ok(state);
            }
        }
        if control::is_include(module) {
            return self.include(call).await;
        }
        let run_once = call.flag(|k| k.run_once.as_ref()).await?.unwrap_or(false) || control::is_once(module);
        let delegated = call.frame.keyword(&call.task.keywords, |k| k.delegate_to.as_ref()).is_some();
        let throttle = call.frame.keyword(&call.task.keywords, |k| k.throttle.as_ref()).is_some();
        let world = module.reach == Reach::World || delegated || throttle;
        let others = !this.play.free && this.batch.hosts.len() > 1;
        // A role that others include before this task may have the handler: it is asked for when all have been there.
        if (world && !this.play.free)
            || run_once
            || control::meets(module)
            || (others && notify::may_miss_handlers(call))
        {
            this.batch.board.meet(call.position()).await;
            // Others have come here by way of steps that this host had no part in: a handler, a rescue.
            this.share_failures(call.position());
            let state = this.state();
            if state != Flow::GoOn {
                return Ok(state);
            }
        }
        if run_once {
            return self.once(call).await;
        }
        let flow = match throttle {
            true => self.throttled(call).await?,
            false => self.perform(call).await?,
        };
        if flow == Flow::GoOn && control::meets_after(module) && !this.play.free {
            let behind = call.position().child(usize::MAX);
            this.batch.board.arrive(this.index, &behind);
            this.batch.board.meet(&behind).await;
            return Ok(this.state());
        }
        Ok(flow)
    }

    /// The call of a task whose module's name is a template, with the module that it is.
    async fn named(&self, call: &Call) -> Result<Known<Call>, Trouble> {
        let (task, play) = (&call.task, &self.this.play);
        let written = Node::string(task.action.span.clone(), &*task.action.name);
        let name = match call.value(&written).await? {
            Known::Value(name) => crate::template::display(&name).trim().to_string(),
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        };
        let defaults = !call.frame.gathered(&task.keywords, |k| &k.module_defaults).is_empty();
        let playbook_dir = play.play.directory.clone();
        let context = TaskContext { role: task.role.clone(), defaults, playbook_dir, ..TaskContext::default() };
        let named = play
            .run
            .loader
            .with(|options, diags| Some(named_task(task, &name, &context, options, diags)))
            .map_err(Trouble::from)?;
        let named = Arc::new(named);
        Ok(Known::Value(Call::new(&self.this, &named, &call.frame, call.position())))
    }

    /// `run_once`: the first host that stands here runs it; the others take the result over. Where that host goes away
    /// without a result (it failed just before, or was stopped), the next one runs it.
    async fn once(&self, call: &Call) -> Result<Flow, Trouble> {
        let this = &self.this;
        let board = &this.batch.board;
        loop {
            let once = {
                let mut table = this.batch.once.lock().unwrap_or_else(|p| p.into_inner());
                let runner = || board.standing_at(call.position()).first().copied().unwrap_or(this.index);
                table.entry(call.position().clone()).or_insert_with(|| Arc::new(Once::new(runner()))).clone()
            };
            if once.runner == this.index {
                let finished = match self.finish_now(call).await {
                    Ok(finished) => finished,
                    Err(Trouble::Flow(flow)) => return Ok(flow),
                    Err(other) => Arc::new(finish::quick(call, prepare::failed(call, other))),
                };
                let (finished, names) = finish::notify(call, finished);
                once.publish(finished.clone(), board);
                finish::take_over(call, finished, names);
                let state = this.state();
                if state == Flow::Failed {
                    let mut failed = this.batch.failed_once.lock().unwrap_or_else(|p| p.into_inner());
                    failed.insert(call.position().clone());
                }
                return Ok(state);
            }
            if let Some(finished) = once.result(board, call.position()).await {
                finish::adopt(call, &finished);
                return Ok(this.state());
            }
            let state = this.state();
            if state != Flow::GoOn {
                return Ok(state);
            }
            let mut table = this.batch.once.lock().unwrap_or_else(|p| p.into_inner());
            if table.get(call.position()).is_some_and(|known| Arc::ptr_eq(known, &once)) {
                table.remove(call.position());
            }
        }
    }

    /// `throttle`: so many hosts at a time, in the batch's order.
    async fn throttled(&self, call: &Call) -> Result<Flow, Trouble> {
        let this = &self.this;
        let limit = call.limit(|k| k.throttle.as_ref(), "throttle").await?.unwrap_or(0.0) as usize;
        if limit == 0 {
            return self.perform(call).await;
        }
        let turn = this.batch.turn(call.position(), this.index, limit).await;
        let state = this.state();
        if state != Flow::GoOn {
            return Ok(state);
        }
        let finished = self.finish_now(call).await?;
        drop(turn);
        finish::publish(call, finished);
        Ok(this.state())
    }

    /// Sends the task on its way when the host may go on without the answer, otherwise waits for it.
    async fn perform(&self, call: &Call) -> Result<Flow, Trouble> {
        let task = &call.task;
        let plain = !call.module.is_some_and(control::sets_facts)
            && task.until.is_empty()
            && task.retries.is_none()
            // Who notifies a handler that nobody has fails, which is known when the answer is there.
            && !notify::may_miss_handlers(call)
            && task.failed_when.iter().flatten().all(|node| node.as_bool().is_some())
            && task.changed_when.iter().flatten().all(|node| node.as_bool().is_some());
        if !plain {
            let finished = self.finish_now(call).await?;
            finish::publish(call, finished);
            return Ok(self.this.state());
        }
        if task.loop_.is_some() {
            return match super::loops::run(self, call, true).await? {
                Begun::Finished(finished) => self.conclude_in_turn(call, finished).await,
                Begun::Under(under) => {
                    self.run_ahead(call, Work::Loop(under));
                    Ok(Flow::GoOn)
                }
            };
        }
        match self.prepare(call).await? {
            Prepared::Done(outcome) => {
                let finished = finish::finish(call, Answer::Outcome(outcome), None, 0.0).await;
                self.conclude_in_turn(call, finished).await
            }
            Prepared::Finished(finished) => self.conclude_in_turn(call, *finished).await,
            Prepared::Flow(flow) => Ok(flow),
            Prepared::Sent(sent) => {
                self.this.batch.board.submitted(self.this.index, &call.info);
                self.run_ahead(call, Work::Task(sent));
                Ok(Flow::GoOn)
            }
        }
    }

    /// A result that did not come from the host's queue: it counts only when everything before it has ended well. The
    /// host does not wait for that where the task did nothing.
    async fn conclude_in_turn(&self, call: &Call, finished: Finished) -> Result<Flow, Trouble> {
        if finished.status == TaskStatus::Skipped {
            self.this.batch.board.submitted(self.this.index, &call.info);
            self.run_ahead(call, Work::Known(Arc::new(finished)));
            return Ok(Flow::GoOn);
        }
        match self.this.settle(call.position()).await {
            Flow::GoOn => Ok(self.conclude(call, finished)),
            flow => Ok(flow),
        }
    }

    /// The host goes on without the answer.
    fn run_ahead(&self, call: &Call, work: Work) {
        let number = self.this.play.run.next_number();
        finish::register_pending(call, number);
        // The receiver lives as long as this host's run.
        let _ = self.this.completions.send(InFlight { call: call.clone(), work });
    }

    /// Waits for what is in flight before this task; a failure there means that this task is never reached.
    async fn settled(&self, call: &Call) -> Result<(), Trouble> {
        match self.this.settle(call.position()).await {
            Flow::GoOn => Ok(()),
            flow => Err(Trouble::Flow(flow)),
        }
    }

    async fn prepare(&self, call: &Call) -> Result<Prepared, Trouble> {
        prepare::prepare(self, call).await
    }

    /// Runs the task to its end, loops and retries included, without making the result known.
    async fn finish_now(&self, call: &Call) -> Result<Arc<Finished>, Trouble> {
        if call.task.loop_.is_some() {
            return match super::loops::run(self, call, false).await? {
                Begun::Finished(finished) => Ok(Arc::new(finished)),
                Begun::Under(under) => under.finish().await.map(Arc::new).ok_or(Trouble::Flow(self.this.state())),
            };
        }
        self.attempts(call).await.map(Arc::new)
    }

    /// One item (or the whole of a task without a loop), as often as `until` asks.
    pub async fn attempts(&self, call: &Call) -> Result<Finished, Trouble> {
        let this = &self.this;
        let retries = call.number(call.task.retries.as_ref(), "retries").await?.map(|retries| retries as u32);
        let mut left = retries.unwrap_or(if call.task.until.is_empty() { 0 } else { 3 });
        let counted = left > 0;
        let delay = call.number(call.task.delay.as_ref(), "delay").await?.unwrap_or(5.0);
        let mut attempts = 0u32;
        let call = &Call { first: (left > 0).then(Default::default), ..call.clone() };
        loop {
            attempts += 1;
            let mut finished = match self.prepare(call).await? {
                Prepared::Done(outcome) => {
                    self.settled(call).await?;
                    finish::finish(call, Answer::Outcome(outcome), None, 0.0).await
                }
                Prepared::Finished(finished) => {
                    self.settled(call).await?;
                    *finished
                }
                Prepared::Flow(flow) => return Err(Trouble::Flow(flow)),
                Prepared::Sent(sent) => {
                    this.batch.board.submitted(this.index, &call.info);
                    let delegated_to = sent.delegated_to.clone();
                    let answer = sent.answer(call).await;
                    // What was sent before must be known before this answer is looked at.
                    this.batch.board.settle(this.index, call.position()).await;
                    let finished = match answer {
                        Some((answer, seconds, changes)) => {
                            let finished = finish::finish(call, answer, Some(changes), seconds).await;
                            Ok(Finished { delegated_to, ..finished })
                        }
                        None => Err(Trouble::Flow(this.state())), // not run: something before it failed
                    };
                    this.batch.board.answered(this.index, call.position());
                    finished?
                }
            };
            if matches!(finished.status, TaskStatus::Skipped | TaskStatus::Unreachable | TaskStatus::Unknown) {
                return Ok(finished);
            }
            if left == 0 && call.task.until.is_empty() {
                return Ok(finished);
            }
            if counted {
                finish::remember(&mut finished, "attempts", attempts.into());
            }
            let done = finish::until(call, &finished).await?;
            if done {
                return Ok(finished);
            }
            if left == 0 {
                // Where the task says when it has failed, its word stands (Ansible looks at `failed_when_result` first).
                if call.task.failed_when.is_none() {
                    finished.status = TaskStatus::Failed;
                }
                finish::remember(&mut finished, "failed", true.into());
                // Ansible counts retries here, and the first attempt is none.
                if counted {
                    finish::remember(&mut finished, "attempts", attempts.saturating_sub(1).max(1).into());
                }
                let why = "the condition of `until` did not become true";
                if !finished.json.contains_key("msg") {
                    finish::remember(&mut finished, "msg", why.into());
                }
                finished.msg.get_or_insert_with(|| why.to_string());
                return Ok(finished);
            }
            let event = Event::Retrying { task: call.info.clone(), host: this.host.name.clone(), left };
            this.batch.board.emit(call.position(), event);
            left -= 1;
            tokio::time::sleep(std::time::Duration::from_secs_f64(delay.clamp(0.0, 86_400.0))).await;
            let state = this.state();
            if state != Flow::GoOn {
                return Err(Trouble::Flow(state));
            }
        }
    }

    /// A handler that was notified; when a check could not tell whether it was, its result is unknown.
    pub async fn handler(&self, handler: &super::handlers::Handler, position: &Position, certainly: bool) -> Flow {
        let mut frame = handler.frame.clone();
        frame.handler = true;
        if certainly {
            return self.task(&handler.task, &frame, position).await;
        }
        self.this.batch.board.arrive(self.this.index, position);
        let call = Call::new(&self.this, &handler.task, &frame, position);
        let outcome = Outcome::unknown("a task that notifies this handler could not be predicted");
        self.conclude(&call, finish::quick(&call, outcome))
    }
}

/// Whether the task's conditions hold; `Err` carries what to say instead.
pub async fn condition(call: &Call) -> Result<Result<(), Outcome>, Trouble> {
    let conditions = call.frame.gathered(&call.task.keywords, |k| &k.when);
    for condition in conditions {
        match call.conditions(&[condition]).await? {
            Known::Value(true) => {}
            Known::Value(false) => {
                let written = condition.scalar_text().unwrap_or_else(|| "a list of conditions".into());
                let outcome = Outcome::skipped("Conditional result was False").with("false_condition", written);
                return Ok(Err(outcome.with("skip_reason", "Conditional result was False")));
            }
            Known::Unknown(touches) => {
                return Ok(Err(super::unknown::depends("whether it runs depends on", &touches)));
            }
        }
    }
    Ok(Ok(()))
}

/// What is told of a result under `no_log`: whether something changed, of each item of a loop. Items of which is said that
/// they are not hidden are told.
fn censored(result: &serde_json::Map<String, serde_json::Value>, items_hidden: &[bool]) -> serde_json::Value {
    let mut told = serde_json::json!({
        "censored": "the output has been hidden due to the fact that 'no_log: true' was specified for this result",
        "changed": result.get("changed") == Some(&true.into()),
    });
    if let Some(attempts) = result.get("attempts") {
        told["attempts"] = attempts.clone();
    }
    let items = result.get("results").and_then(serde_json::Value::as_array);
    // A module's own `results` are its output.
    let items: Option<Vec<_>> = items.and_then(|items| items.iter().map(serde_json::Value::as_object).collect());
    if let Some(items) = items.filter(|items| items.iter().all(|item| item.contains_key("ansible_loop_var"))) {
        let tell = |(index, item): (usize, &serde_json::Map<String, serde_json::Value>)| match items_hidden
            .get(index)
            .copied()
            .unwrap_or(true)
        {
            true => censored(item, &[]),
            false => serde_json::Value::Object(item.clone()),
        };
        told["results"] = items.into_iter().enumerate().map(tell).collect();
    }
    told
}

/// The event of a finished task.
pub fn event(
    call: &Call,
    finished: &Finished,
    notified: Vec<String>,
    item: Option<String>,
    hidden: bool,
    diff: bool,
) -> HostResult {
    let run = &call.on.play.run;
    // One item that is hidden hides what is said of the whole.
    let items_hidden: &[bool] = if item.is_none() && !hidden { &finished.hidden } else { &[] };
    let hidden = hidden || items_hidden.contains(&true);
    let mut result = match hidden {
        true => censored(&finished.json, items_hidden),
        false => serde_json::Value::Object(finished.json.clone()),
    };
    run.redactor.mask_json(&mut result);
    let msg =
        finished.msg.clone().filter(|_| !hidden || finished.status == TaskStatus::Unknown).or_else(|| {
            (hidden && matches!(finished.status, TaskStatus::Failed)).then(|| "hidden by no_log".to_string())
        });
    HostResult {
        task: call.info.clone(),
        host: call.on.host.name.clone(),
        delegated_to: finished.delegated_to.clone(),
        status: finished.status,
        ignored: finished.ignored,
        item,
        msg,
        result,
        problem: finished.problem.clone().filter(|_| !hidden),
        because: finished.because.clone().filter(|_| finished.status == TaskStatus::Unknown),
        changes: if hidden { Vec::new() } else { finished.changes.clone() },
        notified,
        diff: diff && !hidden,
        seconds: finished.seconds,
        beneath: Beneath {
            hidden: if hidden { finished.changes.clone() } else { Vec::new() },
            observed: finished.observed.clone(),
        },
    }
}
