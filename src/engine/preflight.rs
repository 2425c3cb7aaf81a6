//! What can be said of a run before any connection, from variables that are known already: names in certificates
//! that are none, certificate authorities that have expired.

use super::action::TaskAction;
use super::call::Call;
use super::event::Event;
use super::frame::Frame;
use super::play::{Batch, PlayRun, open_play};
use super::position::Position;
use super::run::Run;
use super::walker::Walker;
use crate::machine::Mode;
use crate::modules::{self, ActionError, Module};
use crate::playbook::{Play, Step, Task};
use crate::source::{Diag, Node};
use crate::template::{Layer, Raw, is_omit, to_json};
use crate::wire::{OnFailure, TaskRequest};
use serde_json::Map;
use std::sync::Arc;

/// Looks at all plays; returns what is wrong.
pub async fn preflight<'a>(run: &Arc<Run>, plays: impl Iterator<Item = &'a Arc<Play>>) -> Vec<Diag> {
    let mut found: Vec<Diag> = Vec::new();
    for (number, play) in plays.enumerate() {
        let mut tasks = Vec::new();
        let frame = Frame { keywords: vec![play.keywords.clone()], ..Frame::default() };
        for steps in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks] {
            collect(steps, &frame, &mut tasks);
        }
        if tasks.is_empty() && play.rolling.is_none() {
            continue;
        }
        let opened = match open_play(run, play, number, true) {
            Ok(opened) => opened,
            Err(diag) => {
                found.push(diag);
                continue;
            }
        };
        if let Some(rolling) = &play.rolling {
            found.extend(super::rolling::preflight(&opened, rolling));
        }
        let batch = Arc::new(Batch::new(
            opened.hosts.clone(),
            Arc::new(super::board::Board::new(opened.hosts.len(), false, run.sink.clone())),
            false,
        ));
        for index in 0..opened.hosts.len() {
            for (task, frame, module) in &tasks {
                for diag in look(&opened, &batch, index, task, frame, module) {
                    add(&mut found, diag);
                }
            }
        }
    }
    found
}

/// One cause is one error, however many tasks and hosts it would break; the other places are named.
fn add(found: &mut Vec<Diag>, diag: Diag) {
    let Some(known) = found.iter_mut().find(|known| known.message == diag.message) else {
        found.push(diag);
        return;
    };
    if let Some(span) = diag.span().filter(|span| known.span() != Some(*span)) {
        let place = format!("also at {span}");
        if !known.notes.contains(&place) {
            known.notes.push(place);
        }
    }
}

/// Emits what was found.
pub fn report(run: &Run, found: &[Diag], colour: bool) {
    for diag in found {
        run.sink.emit(Event::Diagnostic { text: diag.render(colour), diagnostic: Box::new(diag.clone()) });
    }
}

fn collect(steps: &[Step], frame: &Frame, tasks: &mut Vec<(Arc<Task>, Frame, &'static Module)>) {
    for step in steps {
        match step {
            Step::Block(block) => {
                let mut inner = frame.inside(&block.keywords);
                inner.role = block.role.clone().or(inner.role);
                for steps in [&block.block, &block.rescue, &block.always] {
                    collect(steps, &inner, tasks);
                }
            }
            Step::Task(task) => {
                if let Some(module) = modules::find(&task.action.name).filter(|module| modules::has_preflight(module)) {
                    tasks.push((task.clone(), frame.clone(), module));
                }
            }
        }
    }
}

fn look(
    play: &Arc<PlayRun>,
    batch: &Arc<Batch>,
    index: usize,
    task: &Arc<Task>,
    frame: &Frame,
    module: &'static Module,
) -> Vec<Diag> {
    let walker = Walker::new(play.clone(), batch.clone(), index);
    let call = Call::new(&walker.this, task, frame, &Position::start());
    let calls = match &task.loop_ {
        None => vec![call],
        Some(spec) => {
            let scope = call.scope();
            let Ok(items) = scope.templar().template_node(&spec.expr, &scope) else { return Vec::new() };
            if !items.is_known() {
                return Vec::new();
            }
            if task.loop_control.loop_var.as_ref().is_some_and(Node::has_template) {
                return Vec::new();
            }
            let name = task.loop_control.loop_var.as_ref().and_then(Node::scalar_text).unwrap_or_else(|| "item".into());
            let items = items.value.try_iter().into_iter().flatten();
            let layers = items.map(|item| Layer::from_iter([(name.as_str().into(), Raw::Value(item))]));
            layers.map(|layer| call.with_locals(layer)).collect()
        }
    };
    calls.iter().filter_map(|call| look_at(call, module)).collect()
}

fn look_at(call: &Call, module: &'static Module) -> Option<Diag> {
    let scope = call.scope();
    let templar = scope.templar();
    for condition in call.frame.gathered(&call.task.keywords, |k| &k.when) {
        let held = templar.condition(condition, &scope).ok()?;
        if !held.is_known() || !held.value {
            return None; // it does not run, or nobody knows yet
        }
    }
    let mut arguments = Map::new();
    for (key, node) in &call.task.action.args {
        let value = templar.template_node(node, &scope).ok()?;
        if !value.is_known() {
            return None;
        }
        if !is_omit(&value.value) {
            arguments.insert(key.scalar_text()?, to_json(&value.value));
        }
    }
    let request = TaskRequest {
        module: module.name.to_string(),
        arguments: arguments.clone(),
        become_user: None,
        mode: Mode::Predicted,
        diff: false,
        no_log: false,
        environment: Default::default(),
        epoch: 0,
        on_failure: OnFailure::Stop,
        group: 0,
        timeout: 0,
        detach: None,
        label: call.info.name.clone(),
        run: String::new(),
        turn: 0,
        unlocked: false,
        no_fetch: false,
        within_check: false,
    };
    let host = TaskAction::new(call.clone(), None, request, None);
    let hidden = call.frame.keyword(&call.task.keywords, |k| k.no_log.as_ref());
    let hidden = hidden.is_some_and(|node| node.as_bool() != Some(false));
    match modules::preflight(module, &host, arguments) {
        Err(ActionError::Failed(_) | ActionError::Wrong(_)) if hidden => {
            let diag = Diag::error("this task cannot work as it is written; why is hidden by its `no_log`");
            let diag = diag.at(&call.task.span).with_help("take `no_log` away for a check to see it");
            Some(diag.with_note(format!("for host {}", call.on.host.name)))
        }
        Err(ActionError::Failed(why)) => {
            let diag = Diag::error(why).at(&call.task.span);
            Some(diag.with_note(format!("for host {}", call.on.host.name)))
        }
        Err(ActionError::Wrong(diag)) => Some(diag.with_note(format!("for host {}", call.on.host.name))),
        _ => None,
    }
}
