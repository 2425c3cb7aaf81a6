//! Every task of a tree, with what surrounds it.

use super::load::Tree;
use crate::playbook::{Keywords, Play, Step, Task};
use crate::source::{Node, parse_bool};

/// A task and what surrounds it.
pub struct Visit<'a> {
    /// The task.
    pub task: &'a Task,
    /// The play, if one reaches it.
    pub play: Option<&'a Play>,
    /// Keywords around it, outermost first, its own last.
    pub around: &'a [&'a Keywords],
}

impl Visit<'_> {
    /// The innermost value of a keyword.
    pub fn keyword(&self, of: impl Fn(&Keywords) -> Option<&Node>) -> Option<&Node> {
        self.around.iter().rev().find_map(|keywords| of(keywords))
    }

    /// Whether a keyword is on, or may be: a template is believed.
    pub fn is_on(&self, of: impl Fn(&Keywords) -> Option<&Node>) -> bool {
        self.keyword(of).is_some_and(|node| node.is_template() || truth(node))
    }

    /// What the task is called, for a message.
    pub fn short(&self) -> &str {
        let name = self.task.action.canonical.unwrap_or(&self.task.action.name);
        name.rsplit('.').next().unwrap_or(name)
    }

    /// Every text of the task that templates may stand in: arguments, free form, environment.
    pub fn texts(&self) -> Vec<&Node> {
        let action = &self.task.action;
        let args = action.args.iter().map(|(_, value)| value);
        args.chain(&action.free_form).chain(&action.args_template).chain(&self.task.keywords.environment).collect()
    }
}

/// Whether a literal means true.
pub fn truth(node: &Node) -> bool {
    node.as_bool().or_else(|| node.scalar_text().and_then(|text| parse_bool(&text))).unwrap_or(false)
}

/// Calls `each` for every task: of plays, then of what no play reaches.
pub fn tasks(tree: &Tree, each: &mut dyn FnMut(&Visit<'_>)) {
    for play in tree.playbooks.iter().flat_map(|playbook| &playbook.plays) {
        of_play(play, each);
    }
    for loose in &tree.loose {
        steps(&loose.steps, None, &[], each);
        steps(&loose.handlers, None, &[], each);
    }
}

/// Calls `each` for every task of a play.
pub fn of_play(play: &Play, each: &mut dyn FnMut(&Visit<'_>)) {
    let around = [&*play.keywords];
    for list in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
        steps(list, Some(play), &around, each);
    }
    if let Some(rolling) = &play.rolling {
        rolling.gate.iter().for_each(|gate| steps(&gate.steps, Some(play), &around, each));
    }
}

/// Calls `each` for every task of a list.
pub fn steps(list: &[Step], play: Option<&Play>, around: &[&Keywords], each: &mut dyn FnMut(&Visit<'_>)) {
    for step in list {
        let mut inner = around.to_vec();
        inner.push(step.keywords());
        match step {
            Step::Task(task) => each(&Visit { task, play, around: &inner }),
            Step::Block(block) => [&block.block, &block.rescue, &block.always]
                .into_iter()
                .for_each(|list| steps(list, play, &inner, each)),
        }
    }
}
