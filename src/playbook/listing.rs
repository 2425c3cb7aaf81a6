//! `--list-tasks`, `--list-tags` and `--list-hosts`, as `ansible-playbook` prints them.

use std::collections::BTreeSet;

use super::model::{Play, Playbook, Step};
use super::tags::TagSelection;
use crate::source::{Node, did_you_mean};

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

/// A remark on tags that were asked for and that no task has. What a selected include brings, and what a template will
/// say, is not known yet: then there is none.
pub fn unknown_tags(playbooks: &[Playbook], selection: &TagSelection) -> Option<String> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut certain = true;
    for play in playbooks.iter().flat_map(|playbook| &playbook.plays) {
        let mine = split(&play.keywords.tags, &mut certain);
        known.extend(mine.iter().cloned());
        for section in [&play.pre_tasks, &play.roles, &play.tasks, &play.post_tasks, &play.handlers] {
            known_tags(section, &mine, selection, &mut known, &mut certain);
        }
    }
    let unknown: Vec<&str> = selection.asked().filter(|tag| !known.contains(*tag)).collect();
    let first = unknown.first().filter(|_| certain)?;
    let what: Vec<String> = unknown.iter().map(|tag| format!("`{tag}`")).collect();
    let there_are = match (did_you_mean(first, &known), known.len()) {
        (_, 0) => "; there are no tags here".to_string(),
        (_, 1..=12) => format!("; there are {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
        (Some(near), _) => format!("; did you mean `{near}`?"),
        (None, _) => "; --list-tags shows them".to_string(),
    };
    Some(format!("--tags: no task has the tag {}{there_are}", what.join(" or ")))
}

fn known_tags(
    steps: &[Step],
    inherited: &BTreeSet<String>,
    selection: &TagSelection,
    known: &mut BTreeSet<String>,
    certain: &mut bool,
) {
    for step in steps {
        let mut tags = inherited.clone();
        tags.extend(split(&step.keywords().tags, certain));
        known.extend(tags.iter().cloned());
        match step {
            Step::Block(block) => {
                for steps in [&block.block, &block.rescue, &block.always] {
                    known_tags(steps, &tags, selection, known, certain);
                }
            }
            Step::Task(task) => {
                let include = ["ansible.builtin.include_tasks", "ansible.builtin.include_role"];
                let list: Vec<&str> = tags.iter().map(String::as_str).collect();
                *certain &= !(include.iter().any(|name| task.action.is(name)) && selection.selects(&list));
            }
        }
    }
}

/// Tags as written; one that a template will say is not certain.
fn split(tags: &[Node], certain: &mut bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for node in tags {
        if node.has_template() {
            *certain = false;
            continue;
        }
        match node.as_seq() {
            Some(items) => found.extend(split(items, certain)),
            None => {
                found.extend(node.scalar_text().iter().flat_map(|text| text.split(',')).map(|t| t.trim().to_string()))
            }
        }
    }
    found.retain(|tag| !tag.is_empty());
    found
}

fn texts(tags: &[Node]) -> BTreeSet<String> {
    tags.iter().filter_map(Node::scalar_text).collect()
}
