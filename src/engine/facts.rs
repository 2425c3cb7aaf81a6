//! The beginning of a play on a host: facts, then the `vars_files` that may need them.

use super::call::{Call, Known, Trouble};
use super::frame::Frame;
use super::position::Position;
use super::walker::{Flow, HostRun, Walker};
use crate::config::Gathering;
use crate::playbook::Task;
use crate::source::{Diag, Node};
use crate::template::{Layer, Raw};
use std::sync::Arc;

/// Gathers facts, unless the play says not to.
pub async fn gather(walker: &Walker, frame: &Frame, position: &Position) -> Flow {
    let this = &walker.this;
    let play = &this.play.play;
    let task = setup_task(play);
    let call = Call::new(&walker.this, &task, frame, position);
    let usual = this.play.run.options.gathering != Gathering::Explicit;
    let wanted = match &play.gather_facts {
        None => usual,
        Some(node) => match node.as_bool() {
            Some(literal) => literal,
            None => match call.known(node).await {
                Ok(value) if crate::template::is_omit(&value) || value.is_none() => usual,
                Ok(value) => crate::modules::scalars::Flag::parse(&crate::template::to_json(&value)).unwrap_or(true),
                Err(trouble) => return walker.trouble(&call, trouble),
            },
        },
    };
    // Not what other modules or `set_fact` have put there.
    let known = || this.host.layers().facts.contains_key("module_setup");
    if wanted && this.play.run.options.gathering == Gathering::Smart && known() {
        return Flow::GoOn;
    }
    if !wanted || !this.play.run.tags.selects(&["always".to_string()]) {
        return Flow::GoOn;
    }
    early_vars_files(&call).await;
    walker.task(&task, frame, position).await
}

/// What of the play's `vars_files` can be read before there are facts: `ansible_become_password` may be among it. What cannot
/// be read is no error yet.
async fn early_vars_files(call: &Call) {
    let play = &call.on.play.play;
    let base = call.on.play.base(&call.on.host.name);
    if base.files().is_some() {
        return;
    }
    let mut layer = Layer::new();
    for entry in &play.vars_files {
        if let Ok(vars) = file(call, entry).await {
            super::merging::extend(&mut layer, vars, call.on.play.run.options.merge_hashes);
            base.set_early_files(Arc::new(layer.clone()));
        }
    }
}

/// The task that Ansible calls `Gathering Facts`.
fn setup_task(play: &crate::playbook::Play) -> Arc<Task> {
    let span = play.hosts.span.clone();
    let mut arguments = Vec::new();
    for (name, node) in [
        ("gather_subset", &play.gather_subset),
        ("gather_timeout", &play.gather_timeout),
        ("fact_path", &play.fact_path),
    ] {
        if let Some(node) = node {
            arguments.push((Node::string(span.clone(), name), node.clone()));
        }
    }
    super::synthetic::task(play, &span, "Gathering Facts", "ansible.builtin.setup", arguments, &["always"])
}

/// Loads the play's `vars_files` for a host: each entry is a file, or a list of which the first that exists is taken.
pub async fn vars_files(this: &Arc<HostRun>, frame: &Frame, position: &Position) -> Flow {
    let play = this.play.play.clone();
    let base = this.play.base(&this.host.name);
    if play.vars_files.is_empty() || base.files().is_some() {
        return Flow::GoOn;
    }
    let task = setup_task(&play);
    let call = Call::new(this, &task, frame, position);
    let mut layer = Layer::new();
    for entry in &play.vars_files {
        match file(&call, entry).await {
            Ok(vars) => super::merging::extend(&mut layer, vars, this.play.run.options.merge_hashes),
            Err(trouble) => {
                let outcome = super::prepare::failed(&call, trouble);
                super::finish::publish(&call, Arc::new(super::finish::quick(&call, outcome)));
                return this.state();
            }
        }
        // A later file may use variables of an earlier one.
        base.set_files(Arc::new(layer.clone()));
    }
    Flow::GoOn
}

async fn file(call: &Call, entry: &Node) -> Result<Vec<(Arc<str>, Raw)>, Trouble> {
    let alternatives: Vec<Node> = entry.as_seq().map_or_else(|| vec![entry.clone()], <[Node]>::to_vec);
    let several = alternatives.len() > 1;
    let mut tried = Vec::new();
    for alternative in &alternatives {
        let name = match call.value(alternative).await {
            Ok(Known::Value(value)) => crate::template::display(&value),
            Ok(Known::Unknown(touches)) => return Err(Trouble::Failed(super::call::touched(&touches))),
            // Of several, one whose name cannot be evaluated is passed over.
            Err(Trouble::Template(error)) if several && error.is_undefined() => continue,
            Err(other) => return Err(other),
        };
        let path = call.on.play.play.directory.join(&name);
        if !path.exists() {
            tried.push(path.display().to_string());
            continue;
        }
        call.on.play.run.templar.reads().note(&path);
        let vars = call.on.play.run.loader.load_vars(&path).map_err(|diag| match diag.span() {
            Some(_) => Trouble::from(diag),
            None => Trouble::from(diag.at(&alternative.span)),
        })?;
        return Ok(vars.into_iter().map(|(name, node)| (name, Raw::Node(node))).collect());
    }
    Err(Diag::error(format!("vars_files: none of these exists: {}", tried.join(", "))).at(&entry.span).into())
}
