//! `--list-tasks`, `--list-tags` and `--list-hosts`, as `ansible-playbook` prints them.

use std::collections::BTreeSet;

use super::model::{Play, Playbook, Step};
use super::tags::TagSelection;
use crate::source::Node;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `--list-tasks`
    pub tasks: bool,
    /// `--list-tags`
    pub tags: bool,
    /// `--list-hosts`
    pub hosts: bool,
    /// `--tags` and `--skip-tags`
    pub selection: TagSelection,
}

/// The listing of some playbooks. `hosts_of` names the hosts of a play.
pub fn list(playbooks: &[Playbook], options: &ListOptions, hosts_of: &mut dyn FnMut(&Play) -> Vec<String>) -> String {
    let mut out = String::new();
    for playbook in playbooks {
        out.push_str(&format!("\nplaybook: {}\n", playbook.path.display()));
        for (at, play) in playbook.plays.iter().enumerate() {
            list_play(at + 1, play, options, hosts_of, &mut out);
        }
    }
    out
}

fn list_play(
    number: usize,
    play: &Play,
    options: &ListOptions,
    hosts_of: &mut dyn FnMut(&Play) -> Vec<String>,
    out: &mut String,
) {
    let mine = texts(&play.keywords.tags);
    let patterns = play.host_patterns();
    let shown: Vec<String> = mine.iter().cloned().collect();
    out.push_str(&format!(
        "\n  play #{number} ({}): {}\tTAGS: [{}]\n",
        patterns.join(","),
        play.title(),
        shown.join(",")
    ));
    if options.hosts {
        let quoted: Vec<String> = patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
        let hosts = hosts_of(play);
        out.push_str(&format!("    pattern: [{}]\n    hosts ({}):\n", quoted.join(", "), hosts.len()));
        for host in hosts {
            out.push_str(&format!("      {host}\n"));
        }
    }
    if !options.tasks && !options.tags {
        return;
    }
    if options.tasks {
        out.push_str("    tasks:\n");
    }
    let mut all = mine.clone();
    for section in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks] {
        list_steps(section, &mine, options, &mut all, out);
    }
    if options.tags {
        let all: Vec<String> = all.into_iter().collect();
        out.push_str(&format!("      TASK TAGS: [{}]\n", all.join(", ")));
    }
}

fn list_steps(
    steps: &[Step],
    inherited: &BTreeSet<String>,
    options: &ListOptions,
    all: &mut BTreeSet<String>,
    out: &mut String,
) {
    for step in steps {
        let mut tags = inherited.clone();
        tags.extend(texts(&step.keywords().tags));
        match step {
            Step::Block(block) => list_steps(&block.block, &tags, options, all, out),
            Step::Task(task) => {
                let list: Vec<&str> = tags.iter().map(String::as_str).collect();
                if !options.selection.selects(&list) {
                    continue;
                }
                if options.tasks {
                    out.push_str(&format!("      {}\tTAGS: [{}]\n", task.title(), list.join(", ")));
                }
                all.extend(tags);
            }
        }
    }
}

fn texts(tags: &[Node]) -> BTreeSet<String> {
    tags.iter().filter_map(Node::scalar_text).collect()
}
