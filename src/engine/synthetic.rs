//! Tasks that nobody wrote: gathering facts, checking a role's arguments.

use crate::modules;
use crate::playbook::{Action, Keywords, LoopControl, Play, Task};
use crate::source::{Node, Span};
use std::sync::Arc;

/// A task of the engine's own, at `span`.
pub fn task(play: &Play, span: &Span, name: &str, module: &str, args: Vec<(Node, Node)>, tags: &[&str]) -> Arc<Task> {
    let tags = tags.iter().map(|tag| Node::string(span.clone(), *tag)).collect();
    Arc::new(Task {
        span: span.clone(),
        file: play.file.clone(),
        directory: play.directory.clone(),
        role: None,
        name: Some(Node::string(span.clone(), name)),
        action: Action {
            name: module.into(),
            canonical: modules::find(module).map(|module| module.name),
            span: span.clone(),
            args,
            free_form: None,
            args_template: None,
        },
        keywords: Arc::new(Keywords { tags, ..Keywords::default() }),
        loop_: None,
        loop_control: LoopControl::default(),
        register: None,
        until: Vec::new(),
        retries: None,
        delay: None,
        changed_when: None,
        failed_when: None,
        notify: Vec::new(),
        listen: Vec::new(),
        async_: None,
        poll: None,
        handler: false,
        late_error: None,
    })
}
