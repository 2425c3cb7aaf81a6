//! `rolling`: a play that changes its hosts in turns and stops at the first doubt.

use std::sync::Arc;

use super::keywords::{conditions, listed};
use super::load::{Loader, TaskContext};
use super::model::Step;
use crate::source::{Diag, Mapping, Node, NodeValue, SourceFile, Span, did_you_mean};
use crate::window::Window;

/// What a play says under `rolling`.
#[derive(Clone, Debug)]
pub struct Rolling {
    /// Where the keyword stands.
    pub span: Span,
    /// `max_unavailable`: a number, or a percentage of the play's hosts; 1 where it is not said.
    pub max_unavailable: Option<Node>,
    /// `order`: a key evaluated on each host, or names of hosts.
    pub order: Option<Node>,
    /// `gate`
    pub gate: Option<Gate>,
    /// `group`: the inventory group whose members the gate looks at.
    pub group: Option<Node>,
    /// `soak`: seconds that the first host is left alone after its turn.
    pub soak: Option<Node>,
    /// `on_failure`
    pub on_failure: OnFailure,
    /// `window`: outside of it no host's turn begins.
    pub window: Option<Node>,
    /// `datacenter`: where a host stands, an expression.
    pub datacenter: Option<Node>,
    /// `when`: conditions; hosts for which one is false take no turn.
    pub when: Vec<Node>,
}

/// What must hold before a host is touched.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Where it stands.
    pub span: Span,
    /// The name of a gate that comes with the program; nothing for tasks of the play's own.
    pub name: Option<&'static str>,
    /// What it runs: a named gate is one task.
    pub steps: Vec<Step>,
    /// Arguments of a named gate, as written.
    pub arguments: Vec<(Node, Node)>,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The play stops.
    #[default]
    Stop,
    /// What was changed on the failed host in its turn is put back, then the play stops.
    Rollback,
}

/// How many hosts may be out at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many.
    Count(usize),
    /// So many percent, rounded down, at least one.
    Percent(f64),
}

impl Limit {
    /// Reads `1` or `30%`.
    pub fn parse(text: &str) -> Result<Limit, String> {
        let text = text.trim();
        let limit = match text.strip_suffix('%') {
            Some(number) => number.trim().parse().ok().filter(|p| *p > 0.0 && *p <= 100.0).map(Limit::Percent),
            None => text.parse().ok().filter(|count| *count > 0).map(Limit::Count),
        };
        limit.ok_or_else(|| format!("`{text}` is no number of hosts: write 1 or more, or a percentage such as 30%"))
    }

    /// Hosts out of `total`.
    pub fn of(self, total: usize) -> usize {
        match self {
            Limit::Count(count) => count,
            Limit::Percent(percent) => ((percent / 100.0 * total as f64) as usize).max(1),
        }
    }
}

/// What `rolling` has.
pub const KEYS: [&str; 9] =
    ["max_unavailable", "order", "gate", "group", "soak", "on_failure", "window", "datacenter", "when"];

/// Gates that come with the program: their names and the modules that are them.
const GATES: [(&str, &str); 1] = [("galera", "deploy.builtin.galera_gate")];

impl Loader<'_> {
    /// Reads the keyword; `play` is the mapping it stands in.
    pub(super) fn rolling(
        &mut self,
        key: &Node,
        value: &Node,
        play: &Mapping,
        file: &Arc<SourceFile>,
        context: &TaskContext,
    ) -> Option<Arc<Rolling>> {
        for (other, why) in [
            ("serial", "`rolling` cuts the play into turns by itself: say max_unavailable there"),
            ("max_fail_percentage", "the first failure stops a play with `rolling`, so there is no percentage to say"),
        ] {
            if let Some((other_key, _)) = play.get_entry(other) {
                self.error(
                    Diag::error(format!("`{other}` and `rolling` cannot stand in one play"))
                        .at(&other_key.span)
                        .label(&key.span, "rolling is here")
                        .with_help(why),
                );
            }
        }
        let Some(map) = value.as_map() else {
            self.error(
                Diag::error(format!("`rolling` must be a dictionary, and this is {}", value.kind()))
                    .at(&value.span)
                    .with_help("for one host at a time without a gate write `rolling: {max_unavailable: 1}`"),
            );
            return None;
        };
        let mut rolling = Rolling {
            span: key.span.clone(),
            max_unavailable: None,
            order: None,
            gate: None,
            group: None,
            soak: None,
            on_failure: OnFailure::default(),
            window: None,
            datacenter: None,
            when: Vec::new(),
        };
        for (key, value) in map.iter() {
            let given = Some(value.clone()).filter(|value| !value.is_null());
            match key.as_str().unwrap_or_default() {
                "max_unavailable" => {
                    self.literal(value, |text| Limit::parse(text).map(drop));
                    rolling.max_unavailable = given;
                }
                "order" => {
                    let bad = matches!(value.value, NodeValue::Map(_) | NodeValue::Bool(_));
                    if bad {
                        self.error(
                            Diag::error(format!(
                                "`order` is a template or names of hosts, and this is {}",
                                value.kind()
                            ))
                            .at(&value.span),
                        );
                    }
                    rolling.order = given.filter(|_| !bad);
                }
                "gate" => {} // needs `group`
                "group" => rolling.group = given,
                "soak" => {
                    self.literal(value, |text| match text.trim().parse::<f64>() {
                        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(()),
                        _ => Err(format!("`{text}` is no number of seconds")),
                    });
                    rolling.soak = given;
                }
                "on_failure" => match value.as_str() {
                    Some("stop") => {}
                    Some("rollback") => rolling.on_failure = OnFailure::Rollback,
                    _ => self.error(
                        Diag::error(format!("`on_failure` is stop or rollback, not `{}`", value.raw())).at(&value.span),
                    ),
                },
                "window" => {
                    for entry in listed(value) {
                        self.literal(&entry, |text| Window::parse(text).map(drop));
                    }
                    rolling.window = given;
                }
                "datacenter" => rolling.datacenter = given,
                "when" => rolling.when = conditions(value, "when", self.diags),
                word => {
                    let near = did_you_mean(word, KEYS);
                    let known = format!("it has {}", KEYS.join(", "));
                    let diag = Diag::error(format!("`rolling` has no `{word}`"))
                        .coded("unknown-keyword")
                        .at(&key.span)
                        .with_note(known);
                    self.error(diag.suggest(near));
                }
            }
        }
        if let Some(value) = map.get("gate").filter(|value| !value.is_null()) {
            rolling.gate = self.gate(value, rolling.group.as_ref(), file, context);
        }
        Some(Arc::new(rolling))
    }

    /// Checks a value that is written out; templates are checked when they are known.
    fn literal(&mut self, value: &Node, check: impl Fn(&str) -> Result<(), String>) {
        if value.is_null() || value.has_template() {
            return;
        }
        let text = value.scalar_text().unwrap_or_else(|| value.kind().to_owned());
        if let Err(why) = check(&text) {
            self.error(Diag::error(why).at(&value.span));
        }
    }

    fn gate(
        &mut self,
        value: &Node,
        group: Option<&Node>,
        file: &Arc<SourceFile>,
        context: &TaskContext,
    ) -> Option<Gate> {
        let span = value.span.clone();
        let (name, arguments) = match &value.value {
            NodeValue::Seq(_) => {
                let steps = self.steps(value, file, context);
                return Some(Gate { span, name: None, steps, arguments: Vec::new() });
            }
            NodeValue::Map(map) if map.len() == 1 => {
                let (name, arguments) = map.iter().next()?;
                let entries = match arguments.as_map() {
                    Some(map) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                    None if arguments.is_null() => Vec::new(),
                    None => {
                        let what =
                            format!("the arguments of a gate are a dictionary, and this is {}", arguments.kind());
                        self.error(Diag::error(what).at(&arguments.span));
                        return None;
                    }
                };
                (name.clone(), entries)
            }
            NodeValue::Str(_) => (value.clone(), Vec::new()),
            _ => {
                self.error(
                    Diag::error(format!(
                        "`gate` is the name of a gate or a list of tasks, and this is {}",
                        value.kind()
                    ))
                    .at(&span)
                    .with_help("a named gate with arguments is written `gate: {galera: {timeout: 300}}`"),
                );
                return None;
            }
        };
        let word = name.as_str().unwrap_or_default();
        let Some((known, module)) = GATES.iter().find(|(known, _)| *known == word) else {
            let names: Vec<&str> = GATES.iter().map(|(name, _)| *name).collect();
            let near = did_you_mean(word, names.iter().copied());
            let diag = Diag::error(format!("there is no gate `{}`", name.raw())).at(&name.span);
            let note = format!("gates by name: {}; your own gate is a list of tasks", names.join(", "));
            self.error(diag.with_note(note).suggest(near));
            return None;
        };
        // It is a task like any other, so its arguments are checked as a task's are.
        let mut entries = arguments.clone();
        if let Some(group) = group
            && !entries.iter().any(|(key, _)| key.as_str() == Some("group"))
        {
            entries.push((Node::string(group.span.clone(), "group"), group.clone()));
        }
        let task = Node::map(
            span.clone(),
            vec![
                (Node::string(span.clone(), "name"), Node::string(span.clone(), format!("Gate: {known}"))),
                (Node::string(name.span.clone(), *module), Node::map(span.clone(), entries)),
            ],
        );
        let steps = self.steps(&Node::seq(span.clone(), vec![task]), file, context);
        Some(Gate { span, name: Some(known), steps, arguments })
    }
}
