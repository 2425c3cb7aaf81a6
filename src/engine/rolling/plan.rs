//! What a rolling play's keywords come to, and what is wrong with them: known before any host is touched, and most of
//! it before any connection.

use super::order::{cut, names_in, sort};
use crate::engine::frame::Frame;
use crate::engine::gate::{members_of_group, members_of_play};
use crate::engine::host::{Host, Stamp};
use crate::engine::play::{PlayRun, bare_scope};
use crate::engine::position::Position;
use crate::engine::variables::{self, At};
use crate::galera::Topology;
use crate::playbook::{Limit, Rolling, Window};
use crate::source::{Diag, Node, NodeValue, Span, did_you_mean};
use crate::template::{Evaluated, Scope, TemplateError, Value, to_json};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The keywords, evaluated.
pub struct Settings {
    /// `max_unavailable`
    pub limit: Limit,
    /// `soak`
    pub soak: Duration,
    /// `window`
    pub window: Option<Window>,
    /// All members of the cluster: where the gate is that of one, or a group is named.
    pub members: Vec<Arc<str>>,
    /// The cluster's name, for its lock.
    pub cluster: String,
}

/// Who goes when.
pub struct Order {
    /// The hosts of each turn.
    pub turns: Vec<Vec<Arc<Host>>>,
    /// Hosts for which `when` is false.
    pub left_out: Vec<Arc<str>>,
    /// Hosts whose turn the run that is resumed had finished.
    pub finished: Vec<Arc<str>>,
}

/// The variables of a host, outside of any task.
fn scope_of(play: &Arc<PlayRun>, host: &Arc<Host>) -> Scope {
    let frame = Frame { keywords: vec![play.play.keywords.clone()], ..Frame::default() };
    let stamp = Stamp { play: play.number, position: Position::end() };
    variables::scope(At { play, batch: None, host, frame: &frame, task: None, stamp: &stamp })
}

/// Where the play's own keywords are evaluated: with the first host's variables.
fn scope_of_play(play: &Arc<PlayRun>) -> Scope {
    match play.hosts.first() {
        Some(host) => scope_of(play, host),
        None => bare_scope(&play.run, &play.vars),
    }
}

fn diag(error: TemplateError, span: &Span) -> Diag {
    error.at(span).into_diag()
}

fn known<T>(evaluated: Evaluated<T>, span: &Span) -> Result<T, Diag> {
    match evaluated.touched.unknown.first() {
        Some(unknown) => Err(Diag::error(format!("`{}` is not known here: {}", unknown.path, unknown.reason)).at(span)),
        None => Ok(evaluated.value),
    }
}

fn text(scope: &Scope, node: &Node) -> Result<String, Diag> {
    let evaluated = scope.templar().template_node(node, scope).map_err(|error| diag(error, &node.span))?;
    Ok(known(evaluated, &node.span)?.to_string())
}

/// Evaluates the keywords of the play.
pub fn settle(play: &Arc<PlayRun>, rolling: &Rolling, now: Timestamp) -> Result<Settings, Diag> {
    let scope = scope_of_play(play);
    let limit = match &rolling.max_unavailable {
        Some(node) => Limit::parse(&text(&scope, node)?).map_err(|why| Diag::error(why).at(&node.span))?,
        None => Limit::Count(1),
    };
    let soak = match &rolling.soak {
        Some(node) => {
            let written = text(&scope, node)?;
            let seconds = written.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
            let bad = || Diag::error(format!("`{written}` is no number of seconds")).at(&node.span);
            Duration::from_secs_f64(seconds.ok_or_else(bad)?.min(1e6))
        }
        None => Duration::ZERO,
    };
    let window = rolling.window.as_ref().map(|node| window(&scope, node, now)).transpose()?;
    let named = rolling.gate.as_ref().filter(|gate| gate.name.is_some());
    let (group, members) = match named.is_some() || rolling.group.is_some() {
        true => members(play, rolling, &scope)?,
        false => (None, Vec::new()),
    };
    if let Some(gate) = named {
        let count = |name: &str| -> Result<Option<u32>, Diag> {
            let found = gate.arguments.iter().find(|(key, _)| key.as_str() == Some(name));
            let Some((_, node)) = found else { return Ok(None) };
            let written = text(&scope, node)?;
            let bad = || Diag::error(format!("`{name}` is a whole number, not `{written}`")).at(&node.span);
            Ok(Some(written.trim().parse().map_err(|_| bad())?))
        };
        let size = match count("expected_size")? {
            Some(size) => size,
            None => {
                let counted = scope.templar().variable("galera_arbitrators", &scope).ok().flatten();
                let counted = counted.filter(|found| found.is_known()).map(|found| found.value.to_string());
                let counted = counted.and_then(|text| text.trim().parse().ok());
                members.len() as u32 + count("arbitrators")?.or(counted).unwrap_or(0)
            }
        };
        quorum(rolling, limit.of(play.hosts.len()), &topology(&members, size, &scope))?;
    }
    let named = scope.templar().variable("galera_cluster_name", &scope).ok().flatten();
    let named =
        named.filter(|found| found.is_known() && !found.value.is_undefined()).map(|found| found.value.to_string());
    let cluster = named.or(group).unwrap_or_else(|| members.join(","));
    Ok(Settings { limit, soak, window, members, cluster })
}

fn window(scope: &Scope, node: &Node, now: Timestamp) -> Result<Window, Diag> {
    let value = scope.templar().template_node(node, scope).map_err(|error| diag(error, &node.span))?;
    let value = known(value, &node.span)?;
    let written = match value.as_str() {
        Some(text) => text.to_string(),
        None => {
            let items = value.try_iter().map_err(|e| Diag::error(format!("window: {e}")).at(&node.span))?;
            items.map(|item| item.to_string()).collect::<Vec<_>>().join("; ")
        }
    };
    let window = Window::parse(&written).map_err(|why| Diag::error(why).at(&node.span))?;
    if window.never_opens(now) {
        let what = format!("the window `{window}` never opens again: all of its dates are over");
        return Err(Diag::error(what).at(&node.span));
    }
    Ok(window)
}

/// The members of the cluster: of the group that is named, of `galera_group`, or all hosts that the play names.
fn members(play: &Arc<PlayRun>, rolling: &Rolling, scope: &Scope) -> Result<(Option<String>, Vec<Arc<str>>), Diag> {
    let (group, span) = match &rolling.group {
        Some(node) => (Some(text(scope, node)?), &node.span),
        None => {
            let found = scope.templar().variable("galera_group", scope).map_err(|e| diag(e, &rolling.span))?;
            let found = found.filter(|found| found.is_known() && !found.value.is_undefined());
            (found.map(|found| found.value.to_string()), &rolling.span)
        }
    };
    let members = match &group {
        Some(group) => members_of_group(play, group).map_err(|why| Diag::error(why).at(span))?,
        None => members_of_play(play)?,
    };
    Ok((group, members))
}

/// Who votes: the members with the weights that the inventory gives them, and what is missing up to `size` as arbitrators.
fn topology(members: &[Arc<str>], size: u32, scope: &Scope) -> Topology {
    let nodes = size.min(members.len() as u32);
    let mut topology = Topology::plain(nodes, size - nodes);
    for (voter, name) in topology.voters.iter_mut().zip(members) {
        voter.name = name.to_string();
        // What cannot be known yet counts as unset: the roles judge the variable itself.
        let options = scope
            .templar()
            .expression(&format!("hostvars[{}].galera_provider_options['pc.weight']", quoted(name)), scope)
            .ok()
            .filter(|found| found.is_known() && !found.value.is_undefined());
        if let Some(weight) = options.and_then(|found| found.value.to_string().trim().parse().ok()) {
            voter.weight = weight;
        }
    }
    topology
}

/// A name as a literal of an expression.
fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Whether so many may be out at a time.
fn quorum(rolling: &Rolling, out: usize, topology: &Topology) -> Result<(), Diag> {
    // A single node has no slack, and no other way to be restarted.
    let slack = topology.slack().max(1);
    if out <= slack as usize {
        return Ok(());
    }
    let span = rolling.max_unavailable.as_ref().map_or(&rolling.span, |node| &node.span);
    let size = topology.voters.len();
    let weights = match topology.voters.iter().any(|voter| voter.weight != 1) {
        true => " with these weights (pc.weight)",
        false => "",
    };
    let what = format!("max_unavailable is {out}, and a cluster of {size} members{weights} has slack for {slack}");
    let diag = Diag::error(what).at(span).with_note(
        "if all that are out should end as crashes instead of goodbyes, the rest must still be more than half",
    );
    Err(diag.with_help(format!("use `max_unavailable: {slack}`")))
}

/// What can be said of `order` before facts are known: names that are none, and expressions that need no facts.
pub fn check_order(play: &Arc<PlayRun>, rolling: &Rolling) -> Result<(), Diag> {
    let Some(node) = &rolling.order else { return Ok(()) };
    {
        let inventory = play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
        for name in node.as_str().map(names_in).unwrap_or_default() {
            let groups = inventory.groups_map();
            if inventory.hosts.contains_key(name.as_str()) || groups.contains_key(name.as_str()) {
                continue;
            }
            let all = inventory.hosts.keys().map(|host| host.as_str()).chain(groups.keys().map(|group| &**group));
            let near = did_you_mean(&name, all);
            let what = format!("`order` names no host: there is no `{name}` in the inventory");
            return Err(Diag::error(what).at(&node.span).suggest(near));
        }
    }
    for host in &play.hosts {
        match key(play, host, node) {
            Ok(evaluated) => {
                if let Some(names) = evaluated.is_known().then(|| names_of(&evaluated.value)).flatten() {
                    placed(play, &names, &node.span)?;
                }
            }
            Err(error) if error.is_undefined() => {} // perhaps a fact
            Err(error) => return Err(diag(error, &node.span)),
        }
    }
    Ok(())
}

/// The key of a host; plain text is a list of names.
fn key(play: &Arc<PlayRun>, host: &Arc<Host>, node: &Node) -> Result<Evaluated, TemplateError> {
    let scope = scope_of(play, host);
    if let NodeValue::Str(text) = &node.value
        && !node.has_template()
    {
        let names: Value = text.split(',').map(|name| Value::from(name.trim())).collect();
        return Ok(Evaluated { value: names, touched: Default::default() });
    }
    scope.templar().template_node(node, &scope)
}

/// Names, where the order is a list of such.
fn names_of(value: &Value) -> Option<Vec<String>> {
    match to_json(value) {
        serde_json::Value::Array(items) => {
            Some(items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_string)).collect())
        }
        _ => None,
    }
}

/// The place of each of the play's hosts in a list of names; those that are not in it come behind.
fn placed(play: &Arc<PlayRun>, names: &[String], span: &Span) -> Result<Vec<serde_json::Value>, Diag> {
    let inventory = play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
    for name in names {
        if !inventory.hosts.contains_key(name.as_str()) {
            let near = did_you_mean(name, inventory.hosts.keys().map(|host| host.as_str()));
            let diag = Diag::error(format!("`order` names no host: there is no `{name}` in the inventory")).at(span);
            return Err(match near {
                None => diag.with_help("an order by what is known of the hosts is a template: `order: \"{{ … }}\"`"),
                near => diag.suggest(near),
            });
        }
    }
    drop(inventory);
    if names.is_empty() {
        return Err(Diag::error("`order` names no host: the list is empty").at(span));
    }
    let place = |host: &Arc<Host>| names.iter().position(|name| **name == *host.name).unwrap_or(names.len()).into();
    Ok(play.hosts.iter().map(place).collect())
}

/// Sorts the hosts and cuts them into turns; facts are known by now.
pub fn order(play: &Arc<PlayRun>, rolling: &Rolling, limit: Limit) -> Result<Order, Diag> {
    let hosts: Vec<Arc<Host>> = play.hosts.iter().filter(|host| host.gone().is_none()).cloned().collect();
    let mut taking = Vec::new();
    let mut left_out = Vec::new();
    let mut finished = Vec::new();
    for host in hosts {
        let resumed = play.run.resumed.as_ref();
        if resumed.is_some_and(|progress| progress.finished(play.number, &host.name).is_some()) {
            finished.push(host.name.clone());
        } else if wanted(play, rolling, &host)? {
            taking.push(host);
        } else {
            left_out.push(host.name.clone());
        }
    }
    let mut keys = Vec::new();
    let mut names = None;
    for host in &taking {
        let Some(node) = &rolling.order else { break };
        let evaluated = key(play, host, node)
            .map_err(|error| diag(error, &node.span).with_note(format!("for host {}", host.name)))?;
        if let Some(unknown) = evaluated.touched.unknown.first() {
            play.run.warn(format!("the order cannot be predicted: `{}` ({})", unknown.path, unknown.reason));
            keys.clear();
            break;
        }
        match names_of(&evaluated.value) {
            Some(list) => {
                let places = match &names {
                    Some((known, places)) if *known == list => places,
                    _ => &names.insert((list.clone(), placed(play, &list, &node.span)?)).1,
                };
                let index = play.hosts.iter().position(|other| other.name == host.name).unwrap_or(0);
                keys.push(places.get(index).cloned().unwrap_or_default());
            }
            None => keys.push(to_json(&evaluated.value)),
        }
    }
    let hosts: Vec<Arc<Host>> = match keys.len() == taking.len() {
        true => sort(&keys).into_iter().map(|index| taking[index].clone()).collect(),
        false => taking,
    };
    let centres: Vec<String> = hosts.iter().map(|host| centre(play, rolling, host)).collect::<Result<_, _>>()?;
    let centres: Vec<&str> = centres.iter().map(String::as_str).collect();
    let turns = cut(&centres, limit);
    let turns = turns.into_iter().map(|turn| turn.into_iter().map(|index| hosts[index].clone()).collect()).collect();
    Ok(Order { turns, left_out, finished })
}

/// Whether the conditions of `when` hold for a host; one that a check cannot tell is taken to hold.
fn wanted(play: &Arc<PlayRun>, rolling: &Rolling, host: &Arc<Host>) -> Result<bool, Diag> {
    let scope = scope_of(play, host);
    for condition in &rolling.when {
        let held = scope.templar().condition(condition, &scope);
        let held = held.map_err(|e| diag(e, &condition.span).with_note(format!("for host {}", host.name)))?;
        if held.touched.unknown.is_empty() && !held.value {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether it is known without facts and without asking anybody that no host takes a turn: then a cluster need not be
/// locked for it.
pub fn nobody(play: &Arc<PlayRun>, rolling: &Rolling) -> bool {
    let without_facts = play.play.gather_facts.as_ref().and_then(|node| node.as_bool()) == Some(false);
    without_facts
        && !rolling.when.is_empty()
        && play.hosts.iter().all(|host| host.gone().is_none() && wanted(play, rolling, host) == Ok(false))
}

/// The data centre a host stands in.
fn centre(play: &Arc<PlayRun>, rolling: &Rolling, host: &Arc<Host>) -> Result<String, Diag> {
    let scope = scope_of(play, host);
    match &rolling.datacenter {
        Some(node) => text(&scope, node),
        None => {
            let found = scope.templar().variable("datacenter", &scope).map_err(|e| diag(e, &rolling.span))?;
            let found = found.filter(|found| found.is_known() && !found.value.is_undefined());
            Ok(found.map(|found| found.value.to_string()).unwrap_or_default())
        }
    }
}
