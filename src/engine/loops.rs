//! `loop` and `with_*`: a task once for each item.

use super::call::{Call, Known, Trouble};
use super::completion::Sent;
use super::event::{Event, TaskStatus};
use super::finish::{self, Answer};
use super::notify::Notified;
use super::prepare::{self, Prepared};
use super::task::{self, Finished};
use super::walker::{Flow, Walker};
use crate::modules::{Outcome, Reach};
use crate::playbook::LoopKind;
use crate::source::{Node, NodeValue};
use crate::template::{Layer, Raw, Value, is_omit, unknown_value, unknowns_in};
use minijinja::value::ValueKind;
use std::collections::VecDeque;

/// An item of a loop, ready for its call.
pub struct Item {
    /// The call, with the loop's variables.
    pub call: Call,
    /// The item.
    pub value: Value,
}

/// The items of a task's loop, or the outcome when there is nothing to loop over.
pub async fn items(call: &Call) -> Result<Result<Vec<Item>, Outcome>, Trouble> {
    let Some(spec) = &call.task.loop_ else { return Ok(Ok(Vec::new())) };
    let templar = &call.on.play.run.templar;
    let evaluated = async {
        let list = match list(call, &spec.expr, &spec.kind).await? {
            Known::Value(list) => list,
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        };
        let unknown = unknowns_in(&list);
        let whole = list.try_iter().is_err() || !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable);
        let plain_list = matches!(&spec.kind, LoopKind::Loop)
            || matches!(&spec.kind, LoopKind::With(name) if matches!(name.rsplit('.').next(), Some("items" | "list")));
        if !unknown.is_empty() && (whole || !plain_list) {
            return Ok(Known::Unknown(unknown));
        }
        match &spec.kind {
            LoopKind::With(lookup) => {
                let action = &*call.task.action.name;
                call.evaluate(|scope| templar.loop_items(lookup, &list, action, scope)).await
            }
            LoopKind::Loop => plain(&list, call).map(Known::Value),
        }
    };
    let values = match evaluated.await {
        Ok(Known::Value(values)) => values,
        Ok(Known::Unknown(touches)) => {
            return Ok(Err(super::unknown::depends("its items depend on", &touches)));
        }
        // A condition that does not need the item may say that the task is not run at all.
        Err(Trouble::Template(error)) => match task::condition(call).await {
            Ok(Err(outcome)) => return Ok(Err(outcome)),
            _ => return Err(Trouble::Template(error)),
        },
        Err(other) => return Err(other),
    };
    let control = &call.task.loop_control;
    let loop_var = name(call, control.loop_var.as_ref()).await?.unwrap_or_else(|| "item".into());
    let index_var = name(call, control.index_var.as_ref()).await?;
    let extended = truth(call, control.extended.as_ref()).await?.unwrap_or(false);
    let all_items = truth(call, control.extended_allitems.as_ref()).await?.unwrap_or(true);
    let count = values.len();
    let all: Value = values.iter().cloned().collect();
    let mut items = Vec::with_capacity(count);
    for (index, value) in values.iter().enumerate() {
        let mut layer: Layer = call.locals.as_deref().cloned().unwrap_or_default();
        let mut set = |key: &str, value: Value| {
            layer.insert(key.into(), Raw::Value(value));
        };
        set(&loop_var, value.clone());
        set("ansible_loop_var", Value::from(loop_var.as_str()));
        if let Some(index_var) = &index_var {
            set(index_var, Value::from(index));
            set("ansible_index_var", Value::from(index_var.as_str()));
        }
        if extended {
            let mut info: Vec<(&str, Value)> = vec![
                ("index", Value::from(index + 1)),
                ("index0", Value::from(index)),
                ("first", Value::from(index == 0)),
                ("last", Value::from(index + 1 == count)),
                ("length", Value::from(count)),
                ("revindex", Value::from(count - index)),
                ("revindex0", Value::from(count - index - 1)),
            ];
            if all_items {
                info.push(("allitems", all.clone()));
            }
            if index > 0 {
                info.push(("previtem", values[index - 1].clone()));
            }
            if let Some(next) = values.get(index + 1) {
                info.push(("nextitem", next.clone()));
            }
            set("ansible_loop", Value::from_pairs(info));
        }
        items.push(Item { call: call.with_locals(layer), value: value.clone() });
    }
    Ok(Ok(items))
}

/// The name that the loop gives a variable, written out or as a template; nothing where it is not said.
async fn name(call: &Call, node: Option<&Node>) -> Result<Option<String>, Trouble> {
    let Some(node) = node else { return Ok(None) };
    if !node.has_template() {
        return Ok(node.scalar_text());
    }
    let value = call.known(node).await?;
    if is_omit(&value) {
        return Ok(None);
    }
    let name = crate::template::display(&value);
    match crate::source::is_variable_name(&name) {
        true => Ok(Some(name)),
        false => {
            Err(crate::source::Diag::error(format!("`{name}` cannot be the name of a variable")).at(&node.span).into())
        }
    }
}

/// An option of the loop that is a truth value, or a template of one.
async fn truth(call: &Call, node: Option<&Node>) -> Result<Option<bool>, Trouble> {
    let Some(node) = node else { return Ok(None) };
    let value = call.known(node).await?;
    let wrong = || crate::source::Diag::error(format!("{} is no truth value", crate::template::display(&value)));
    let parsed = crate::modules::scalars::Flag::parse(&crate::template::to_json(&value));
    parsed.map(Some).ok_or_else(|| wrong().at(&node.span).into())
}

/// What stands behind `loop`. Items of which a check knows only a part, or nothing, are items all the same: each says
/// for itself what it needs.
async fn list(call: &Call, written: &Node, kind: &LoopKind) -> Result<Known<Value>, Trouble> {
    let templar = &call.on.play.run.templar;
    let Some(nodes) = written.as_seq() else {
        return call.evaluate(|scope| templar.template_node_keep_unknown(written, scope)).await;
    };
    let mut items = Vec::with_capacity(nodes.len());
    for node in nodes {
        let item = call.evaluate(|scope| templar.template_node_keep_unknown(node, scope)).await;
        let first_found = matches!(kind, LoopKind::With(name) if name.rsplit('.').next() == Some("first_found"));
        let item = match item {
            // A file whose name needs a variable that there is not is not found, no more.
            Err(Trouble::Template(error)) if first_found && error.is_undefined() => continue,
            other => other?,
        };
        match item {
            Known::Value(item) if is_omit(&item) => {}
            Known::Value(item) => items.push(item),
            Known::Unknown(touches) => items.push(match touches.first() {
                Some(touch) => unknown_value(&touch.path, &touch.reason),
                None => unknown_value("item", "it is not known in a check"),
            }),
        }
    }
    Ok(Known::Value(Value::from(items)))
}

/// The items of `loop`, which takes lists only.
fn plain(list: &Value, call: &Call) -> Result<Vec<Value>, Trouble> {
    use crate::template::type_name;
    let is_list = matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable);
    match list.try_iter() {
        Ok(items) if is_list => Ok(items.collect()),
        _ => {
            let got = type_name(list);
            let text = format!("Invalid data passed to 'loop', it requires a list, got this instead: a {got}");
            let place = call.task.loop_.as_ref().map_or(&call.task.span, |spec| &spec.expr.span);
            Err(crate::source::Diag::error(text).at(place).into())
        }
    }
}

/// How an item is shown.
async fn label(item: &Item) -> String {
    let shown = match &item.call.task.loop_control.label {
        Some(node) => item.call.known(node).await.ok(),
        None => None,
    };
    let value = shown.unwrap_or_else(|| item.value.clone());
    match unknowns_in(&value).first() {
        Some(unknown) => format!("`{}`, not known", unknown.path),
        None => crate::template::display(&value),
    }
}

/// So many items of one loop are under way at a time.
const WINDOW: usize = 256;

/// A loop on its way: items that were sent, in order, and the results of those that are over.
pub struct Under {
    call: Call,
    waiting: VecDeque<(Item, String, Part)>,
    results: Vec<Finished>,
    /// An item was not run, because something before the loop failed.
    dropped: bool,
}

/// One item on its way.
enum Part {
    Sent(Sent),
    Done(Box<Finished>),
}

/// How far a loop is when the host may go on.
pub enum Begun {
    /// It is over.
    Finished(Finished),
    /// Every item was sent.
    Under(Box<Under>),
}

impl Under {
    fn new(call: &Call) -> Under {
        let (waiting, results) = Default::default();
        Under { call: call.clone(), waiting, results, dropped: false }
    }

    /// Waits for the oldest item and shows its result.
    async fn take_one(&mut self) {
        let Some((item, shown, part)) = self.waiting.pop_front() else { return };
        let finished = match part {
            Part::Done(finished) => *finished,
            Part::Sent(sent) => {
                let delegated_to = sent.delegated_to.clone();
                let Some((answer, seconds, changes)) = sent.answer(&item.call).await else {
                    self.dropped = true;
                    return;
                };
                let finished = finish::finish(&item.call, answer, Some(changes), seconds).await;
                Finished { delegated_to, ..finished }
            }
        };
        self.over(&item, shown, finished);
    }

    /// An item is over: it notifies and is shown.
    fn over(&mut self, item: &Item, shown: String, finished: Finished) {
        let finished = finish::with_item(finished, &item.call, &item.value);
        // Each item says for itself what is hidden and what is ignored.
        let hidden = finish::hides(&item.call);
        let shown = if hidden { "(censored due to no_log)".to_string() } else { shown };
        let Notified { names, missing } = Notified::by(&item.call, &finished);
        let event = task::event(&item.call, &finished, names, Some(shown), hidden, finish::shown_diff(&item.call));
        if let (TaskStatus::Unknown, Some(because)) = (finished.status, &finished.because) {
            self.call.on.play.run.unknowns.note(&self.call.on.host.name, &self.call.info, because);
        }
        self.call.on.batch.board.emit(self.call.position(), Event::ItemDone(event));
        if finished.status == TaskStatus::Unreachable {
            self.waiting.clear();
        }
        let ignored = finish::is_ignored(&item.call, &finished);
        self.results.push(Finished { ignored, hidden: vec![hidden], missing, ..finished });
    }

    /// Waits for all items. Nothing comes back when none was run, because something before the loop failed.
    pub async fn finish(mut self) -> Option<Finished> {
        while !self.waiting.is_empty() {
            self.take_one().await;
        }
        (!self.dropped || !self.results.is_empty()).then(|| finish::of_loop(&self.call, self.results))
    }

    /// Whether something is known already that decides how the host goes on.
    fn decided(&self) -> bool {
        let bad = |finished: &Finished| {
            !matches!(finished.status, TaskStatus::Ok | TaskStatus::Changed | TaskStatus::Skipped)
        };
        self.dropped
            || self.results.iter().any(bad)
            || self.waiting.iter().any(|(_, _, part)| matches!(part, Part::Done(finished) if bad(finished)))
    }
}

/// Whether the items may be sent one behind the other: none reads what another brought, and nobody waits between them.
fn in_a_row(call: &Call) -> bool {
    let task = &call.task;
    let control = &task.loop_control;
    let reads_itself = task.register.as_ref().is_some_and(|name| mentions(call, name));
    task.until.is_empty()
        && task.retries.is_none()
        && control.pause.is_none()
        && control.break_when.is_empty()
        && call.frame.keyword(&task.keywords, |k| k.delegate_to.as_ref()).is_none()
        && call.module.is_some_and(|module| module.reach != Reach::Control)
        && !reads_itself
}

/// Runs the task for each item. With `ahead` the host may go on while items that were sent are under way.
pub async fn run(walker: &Walker, call: &Call, ahead: bool) -> Result<Begun, Trouble> {
    let items = match items(call).await? {
        Ok(items) => items,
        Err(outcome) => return Ok(Begun::Finished(finish::quick(call, outcome))),
    };
    if items.is_empty() {
        let outcome = Outcome::skipped("No items in the list").with("results", serde_json::json!([]));
        let outcome = outcome.with("skipped_reason", "No items in the list");
        return Ok(Begun::Finished(finish::quick(call, outcome)));
    }
    let under = Under::new(call);
    if in_a_row(call) {
        return send_all(walker, under, items, ahead).await;
    }
    one_by_one(walker, under, items).await.map(Begun::Finished)
}

/// Sends items without waiting for the answers to those before; the host runs them in order, also behind a failure.
async fn send_all(walker: &Walker, mut under: Under, items: Vec<Item>, ahead: bool) -> Result<Begun, Trouble> {
    let call = under.call.clone();
    let board = &call.on.batch.board;
    board.submitted(call.on.index, &call.info);
    let fits = items.len() <= WINDOW;
    let group = call.on.play.run.next_number();
    let mut flow = None;
    for mut item in items {
        item.call.group = group;
        if call.on.state() != Flow::GoOn {
            flow = Some(call.on.state());
            break;
        }
        let shown = label(&item).await;
        let part = match prepare::prepare(walker, &item.call).await {
            Ok(Prepared::Sent(sent)) => Part::Sent(sent),
            Ok(Prepared::Done(outcome)) => {
                Part::Done(Box::new(finish::finish(&item.call, Answer::Outcome(outcome), None, 0.0).await))
            }
            Ok(Prepared::Finished(finished)) => Part::Done(finished),
            Ok(Prepared::Flow(other)) | Err(Trouble::Flow(other)) => {
                flow = Some(other);
                break;
            }
            Err(other) => {
                let outcome = prepare::failed(&item.call, other);
                Part::Done(Box::new(finish::quick(&item.call, outcome)))
            }
        };
        let lost = matches!(&part, Part::Done(finished) if finished.status == TaskStatus::Unreachable);
        under.waiting.push_back((item, shown, part));
        if lost {
            break;
        }
        if under.waiting.len() >= WINDOW {
            under.take_one().await;
        }
    }
    if ahead && fits && flow.is_none() && !under.decided() {
        return Ok(Begun::Under(Box::new(under)));
    }
    // What was sent before must be known before these answers are looked at.
    board.settle(call.on.index, call.position()).await;
    let finished = under.finish().await;
    board.answered(call.on.index, call.position());
    match (finished, flow) {
        (Some(finished), _) => Ok(Begun::Finished(finished)),
        (None, Some(flow)) => Err(Trouble::Flow(flow)),
        (None, None) => Err(Trouble::Flow(call.on.state())),
    }
}

/// Runs the items one after the other, each with what the one before brought.
async fn one_by_one(walker: &Walker, mut under: Under, items: Vec<Item>) -> Result<Finished, Trouble> {
    let call = under.call.clone();
    let pause = match &call.task.loop_control.pause {
        Some(node) => call.number(Some(node), "pause").await?.unwrap_or(0.0),
        None => 0.0,
    };
    let break_when: Vec<&Node> = call.task.loop_control.break_when.iter().collect();
    for (index, mut item) in items.into_iter().enumerate() {
        if index > 0 && pause > 0.0 {
            tokio::time::sleep(std::time::Duration::from_secs_f64(pause.min(31_536_000.0))).await;
        }
        if index > 0 && call.on.state() == Flow::End {
            break; // an interrupt: what was done is told
        }
        if let (Some(name), Some(last)) = (&call.task.register, under.results.last()) {
            let mut layer: Layer = item.call.locals.as_deref().cloned().unwrap_or_default();
            layer.insert(name.to_string().as_str().into(), Raw::Value(last.value.clone()));
            item.call = item.call.with_locals(layer);
        }
        let shown = label(&item).await;
        let finished = match walker.attempts(&item.call).await {
            Ok(finished) => finished,
            Err(Trouble::Flow(flow)) => return Err(Trouble::Flow(flow)),
            Err(other) => finish::quick(&item.call, prepare::failed(&item.call, other)),
        };
        let lost = finished.status == TaskStatus::Unreachable;
        under.over(&item, shown, finished);
        if lost {
            break;
        }
        if !break_when.is_empty()
            && let Some(last) = under.results.last()
            && let Known::Value(true) = finish::call_with_result(&item.call, last).conditions(&break_when).await?
        {
            break;
        }
    }
    Ok(finish::of_loop(&call, under.results))
}

/// Whether what is written in a task names a variable, in what is evaluated before it runs.
fn mentions(call: &Call, name: &str) -> bool {
    let task = &call.task;
    let written = task.action.args.iter().flat_map(|(key, value)| [key, value]);
    let written = written.chain(&task.action.free_form).chain(&task.action.args_template);
    let written = written.chain(&task.keywords.when).chain(&task.keywords.environment).chain(&task.loop_control.label);
    let written = written.chain(&call.frame.notify).chain(&task.notify);
    let mut written = written.chain(task.keywords.vars.iter().map(|(_, node)| node));
    written.any(|node| names(node, name))
}

fn names(node: &Node, name: &str) -> bool {
    match &node.value {
        NodeValue::Str(text) => {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            text.match_indices(name)
                .any(|(at, found)| !text[..at].ends_with(word) && !text[at + found.len()..].starts_with(word))
        }
        NodeValue::Seq(items) => items.iter().any(|item| names(item, name)),
        NodeValue::Map(map) => map.iter().any(|(key, value)| names(key, name) || names(value, name)),
        _ => false,
    }
}
