//! `loop` and `with_*`: a task once for each item.

use super::call::{Call, Known, Trouble};
use super::event::{Event, TaskStatus};
use super::finish;
use super::task::{self, Finished};
use super::walker::Walker;
use crate::modules::Outcome;
use crate::playbook::LoopKind;
use crate::source::Node;
use crate::template::{Layer, Raw, Value};
use minijinja::value::ValueKind;

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
        let list = match call.value(&spec.expr).await? {
            Known::Value(list) => list,
            Known::Unknown(touches) => return Ok(Known::Unknown(touches)),
        };
        match &spec.kind {
            LoopKind::With(lookup) => call.evaluate(|scope| templar.loop_items(lookup, &list, scope)).await,
            LoopKind::Loop => plain(&list, call).map(Known::Value),
        }
    };
    let values = match evaluated.await {
        Ok(Known::Value(values)) => values,
        Ok(Known::Unknown(touches)) => {
            return Ok(Err(Outcome::unknown(format!("its items depend on {}", super::call::touched(&touches)))));
        }
        // A condition that does not need the item may say that the task is not run at all.
        Err(Trouble::Template(error)) => match task::condition(call).await {
            Ok(Err(outcome)) => return Ok(Err(outcome)),
            _ => return Err(Trouble::Template(error)),
        },
        Err(other) => return Err(other),
    };
    let name = |node: &Option<Node>, fallback: &str| -> String {
        node.as_ref().and_then(Node::scalar_text).unwrap_or_else(|| fallback.to_string())
    };
    let control = &call.task.loop_control;
    let loop_var = name(&control.loop_var, "item");
    let extended = control.extended.as_ref().and_then(Node::as_bool).unwrap_or(false);
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
        if let Some(index_var) = control.index_var.as_ref().and_then(Node::scalar_text) {
            set(&index_var, Value::from(index));
            set("ansible_index_var", Value::from(index_var));
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
                ("allitems", all.clone()),
            ];
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

/// The items of `loop`, which takes lists only.
fn plain(list: &Value, call: &Call) -> Result<Vec<Value>, Trouble> {
    use crate::template::type_name;
    let is_list = matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable);
    match list.try_iter() {
        Ok(items) if is_list => Ok(items.collect()),
        _ => Err(Trouble::Failed(format!(
            "Invalid data passed to 'loop', it requires a list, got this instead: a {} ({})",
            type_name(list),
            call.info.place
        ))),
    }
}

/// How an item is shown.
async fn label(item: &Item) -> String {
    let shown = match &item.call.task.loop_control.label {
        Some(node) => item.call.known(node).await.ok(),
        None => None,
    };
    let value = shown.unwrap_or_else(|| item.value.clone());
    match value.as_str() {
        Some(text) => text.to_string(),
        None => value.to_string(),
    }
}

/// Runs the task for each item, one after the other.
pub async fn run(walker: &Walker, call: &Call) -> Result<Finished, Trouble> {
    let items = match items(call).await? {
        Ok(items) => items,
        Err(outcome) => return Ok(finish::quick(call, outcome)),
    };
    if items.is_empty() {
        let outcome = Outcome::skipped("No items in the list").with("results", serde_json::json!([]));
        return Ok(finish::quick(call, outcome.with("skipped_reason", "No items in the list")));
    }
    let pause = match &call.task.loop_control.pause {
        Some(node) => call.number(node, "pause").await?,
        None => 0.0,
    };
    let break_when: Vec<&Node> = call.task.loop_control.break_when.iter().collect();
    let hidden = call.flag(|k| k.no_log.as_ref()).await?.unwrap_or(false);
    let diff = finish::shows_diff(call).await?;
    let mut results = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if index > 0 && pause > 0.0 {
            tokio::time::sleep(std::time::Duration::from_secs_f64(pause)).await;
        }
        let shown = label(item).await;
        let finished = match walker.attempts(&item.call, Some(&shown)).await {
            Ok(finished) => finished,
            Err(Trouble::Flow(flow)) => return Err(Trouble::Flow(flow)),
            Err(other) => finish::quick(&item.call, Outcome::failed(super::prepare::explain(&item.call, other))),
        };
        let finished = finish::with_item(finished, &item.call, &item.value);
        let shown = if hidden { "(censored due to no_log)".to_string() } else { shown };
        let notified = finish::notify(&item.call, &finished).await;
        let event = task::event(&item.call, &finished, notified, Some(shown), hidden, diff);
        call.on.batch.board.emit(call.position(), Event::ItemDone(event));
        let lost = finished.status == TaskStatus::Unreachable;
        results.push(finished);
        if lost {
            break;
        }
        if !break_when.is_empty()
            && let Known::Value(true) = item.call.conditions(&break_when).await?
        {
            break;
        }
    }
    Ok(finish::of_loop(call, results))
}
