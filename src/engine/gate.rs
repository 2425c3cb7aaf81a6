//! The Galera gate: asks every member of a cluster at the same time, again and again, until all are well.

use super::board::Board;
use super::call::{Call, Trouble};
use super::event::{Event, GateState, TaskStatus};
use super::host::{Host, Kind};
use super::play::{Batch, PlayRun};
use super::synthetic;
use super::walker::{Flow, Walker};
use crate::galera::{Expected, Observation, Progress, Stability, Tolerances};
use crate::modules::scalars::Int;
use crate::modules::{GaleraGate, Outcome, decode};
use crate::source::Node;
use crate::template::{Raw, from_json};
use serde_json::{Map, Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that says nothing for so long is one that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a gate is asked to make sure of.
struct Plan {
    /// The group's name, for the user.
    name: String,
    /// All members.
    members: Vec<Arc<str>>,
    expected: Expected,
    stable: u32,
    stable_for: Duration,
    interval: Duration,
    timeout: Duration,
    tolerances: Tolerances,
    /// Arguments for `galera_status`.
    status: Vec<(Node, Node)>,
}

impl Plan {
    fn stability(&self) -> Stability {
        Stability::new(self.expected, self.tolerances, self.stable, self.stable_for)
    }
}

/// How one look, or the waiting, ended.
enum End {
    Open { looks: u32, write_rate: Option<f64> },
    Closed { reason: String },
    Unknown { reason: String },
    Left(Flow),
}

/// What one look saw.
struct Look {
    members: Vec<Observation>,
    /// Members that could not be asked, with the reason.
    silent: Vec<(Arc<str>, String)>,
    unknown: Option<String>,
    /// It was a closer look: certificates, option files, disks, ports.
    close: bool,
    /// A member that another one does not reach.
    blocked: Option<String>,
}

/// The task `galera_gate`. Boxed, because asking a member is a task in turn.
pub fn task<'a>(call: &'a Call, arguments: Map<String, Value>) -> Answered<'a> {
    Box::pin(carry_out(call, arguments))
}

/// How the task ends.
type Answered<'a> = Pin<Box<dyn Future<Output = Result<Outcome, Trouble>> + Send + 'a>>;

async fn carry_out(call: &Call, arguments: Map<String, Value>) -> Result<Outcome, Trouble> {
    let plan = plan(call, arguments).await?;
    let check = call.checks().await?;
    let began = Instant::now();
    let say = |state: GateState, sentence: &str| {
        let event = Event::Gate {
            name: plan.name.clone(),
            state,
            sentence: sentence.to_string(),
            seconds: if check { 0 } else { began.elapsed().as_secs() },
        };
        call.on.batch.board.emit(call.position(), event);
    };
    let (end, seen) = if check { glance(call, &plan).await } else { wait(call, &plan, &say).await };
    remember(call, &plan, &seen);
    let outcome = |outcome: Outcome| outcome.with("members", shown(&seen)).with("expected_size", plan.expected.size);
    match end {
        End::Left(flow) => Err(Trouble::Flow(flow)),
        End::Open { looks, write_rate } => {
            if let Some(rate) = write_rate {
                set_everywhere(call, &plan, "galera_gate_write_rate", from_json(&json!(rate.ceil() as u64)));
            }
            let sentence = format!("all {} members are well", plan.expected.size);
            say(GateState::Open, &sentence);
            Ok(outcome(Outcome::ok()).with("open", true).with("looks", looks).with("msg", sentence))
        }
        End::Closed { reason } if check => {
            say(GateState::Closed, &format!("{reason} (now; a run would wait up to {} s)", plan.timeout.as_secs()));
            Ok(outcome(Outcome::ok()).with("open", false).with("reason", reason))
        }
        End::Closed { reason } => {
            say(GateState::Closed, &reason);
            let failed = Outcome::failed(format!("the gate is closed: {reason}"));
            Ok(outcome(failed).with("open", false).with("reason", reason))
        }
        End::Unknown { reason } => {
            say(GateState::Unknown, &reason);
            Ok(outcome(Outcome::ok()).with("open", Value::Null).with("reason", reason))
        }
    }
}

async fn plan(call: &Call, arguments: Map<String, Value>) -> Result<Plan, Trouble> {
    let play = &call.on.play;
    let span = &call.task.span;
    let status: Vec<(Node, Node)> = arguments
        .iter()
        .filter(|(name, _)| GaleraGate::STATUS.contains(&name.as_str()))
        .map(|(name, value)| (Node::string(span.clone(), name.as_str()), Node::from_json(span, value)))
        .collect();
    let asked: GaleraGate = decode(arguments).map_err(|error| Trouble::Failed(error.to_string()))?;
    let group = match &asked.group {
        Some(group) => Some(group.0.clone()),
        None => call.variable("galera_group").await?.map(|value| crate::template::display(&value)),
    };
    let (name, members) = match (&asked.members, group) {
        (Some(list), _) => (list.0.join(", "), list.0.iter().map(|name| name.as_str().into()).collect()),
        (None, Some(group)) => {
            let members = members_of_group(play, &group).map_err(Trouble::Failed)?;
            (group, members)
        }
        (None, None) => {
            let members = members_of_play(play).map_err(Trouble::from)?;
            (members.join(", "), members)
        }
    };
    let number = |given: Option<Int>, usual: u64| given.map_or(usual, |n| u64::try_from(n.0).unwrap_or(0));
    let nodes = members.len() as u32;
    let size = asked.expected_size.and_then(|size| u32::try_from(size.0).ok());
    let arbitrators = match (asked.arbitrators, size) {
        (Some(given), _) => u32::try_from(given.0).unwrap_or(0),
        (None, Some(size)) => size.saturating_sub(nodes),
        (None, None) => {
            let counted = call.variable("galera_arbitrators").await?.map(|value| crate::template::display(&value));
            counted.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        }
    };
    let expected = Expected { size: size.unwrap_or(nodes + arbitrators), ..Expected::all(nodes, arbitrators) };
    let interval = Duration::from_secs(number(asked.interval, 1).max(1));
    let usual = Tolerances::default();
    Ok(Plan {
        name,
        members,
        expected,
        stable: number(asked.stable, 3) as u32,
        stable_for: Duration::from_secs(number(asked.stable_for, Stability::USUAL_SPAN.as_secs())),
        interval,
        timeout: Duration::from_secs(number(asked.timeout, 120)),
        tolerances: Tolerances {
            recv_queue: number(asked.recv_queue, 10),
            interval_ns: interval.as_nanos() as u64,
            certificate_margin_s: asked.certificate_days.map(|days| days.0.max(0).saturating_mul(86_400)),
            disk_free: asked
                .disk_free
                .map_or(usual.disk_free, |n| u64::try_from(n.0).unwrap_or(0).saturating_mul(1_000_000)),
            refuse_backups: !asked.allow_backups.0,
            mixed_links: asked.allow_mixed_links.0,
            expired: asked.allow_expired.0,
            ..usual
        },
        status,
    })
}

/// All hosts of a group, whatever `--limit` says.
pub fn members_of_group(play: &PlayRun, group: &str) -> Result<Vec<Arc<str>>, String> {
    let inventory = play.run.inventory.read().unwrap_or_else(|p| p.into_inner());
    let members: Vec<Arc<str>> = inventory.group_hosts(group).iter().map(|host| host.as_str().into()).collect();
    if members.is_empty() {
        let groups = inventory.groups_map();
        let near = crate::source::did_you_mean(group, groups.keys().map(|name| &**name));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("the inventory has no group `{group}` with hosts in it{hint}"));
    }
    Ok(members)
}

/// All hosts that the play's pattern names, whatever `--limit` says.
pub fn members_of_play(play: &PlayRun) -> Result<Vec<Arc<str>>, crate::source::Diag> {
    let bare = super::play::bare_scope(&play.run, &play.vars);
    super::play::unlimited_hosts(&play.run, &play.play, &bare)
}

/// One look, in a check.
async fn glance(call: &Call, plan: &Plan) -> (End, Vec<Observation>) {
    let look = look(call, plan, true).await;
    let predicted = look.silent.is_empty() && look.members.iter().any(|node| node.predicted);
    let unknown = predicted.then(|| "servers would be started or restarted before".to_string());
    if let Some(reason) = look.unknown.clone().or(unknown) {
        return (End::Unknown { reason }, look.members);
    }
    match judge(&look, &mut plan.stability(), Duration::ZERO) {
        Progress::Closed { host, reason } => (End::Closed { reason: sentence(&host, &reason) }, look.members),
        _ => (End::Open { looks: 1, write_rate: None }, look.members),
    }
}

/// Looks until all were well often and long enough.
async fn wait(call: &Call, plan: &Plan, say: &impl Fn(GateState, &str)) -> (End, Vec<Observation>) {
    let began = Instant::now();
    let mut stability = plan.stability();
    let mut looks = 0;
    let mut shown = String::new();
    loop {
        let since = began.elapsed();
        let look = look(call, plan, stability.wants_closer_look()).await;
        looks += 1;
        let state = call.on.state();
        if state != Flow::GoOn {
            return (End::Left(state), look.members);
        }
        match judge(&look, &mut stability, since) {
            Progress::Stable => {
                return (End::Open { looks, write_rate: stability.write_rate() }, look.members);
            }
            Progress::Good { .. } => {}
            Progress::Closed { host, reason } => {
                let reason = sentence(&host, &reason);
                if began.elapsed() >= plan.timeout {
                    return (End::Closed { reason }, look.members);
                }
                if reason != shown {
                    say(GateState::Waiting, &reason);
                    shown = reason;
                }
            }
        }
        tokio::time::sleep(plan.interval.saturating_sub(began.elapsed() - since)).await;
    }
}

fn sentence(host: &str, reason: &str) -> String {
    if host.is_empty() { reason.to_string() } else { format!("{host}: {reason}") }
}

/// Takes a look in; members that could not be asked close the gate before all else.
fn judge(look: &Look, stability: &mut Stability, at: Duration) -> Progress {
    if look.close {
        let distrust = crate::pki::distrust(&look.members, crate::pki::now());
        stability.set_fault(distrust.or_else(|| look.blocked.clone()));
    }
    let progress = stability.look(&look.members, at);
    if let Some((host, why)) = look.silent.first() {
        return Progress::Closed { host: host.to_string(), reason: format!("it cannot be reached ({why})") };
    }
    match &look.unknown {
        Some(reason) => Progress::Closed { host: String::new(), reason: reason.clone() },
        None => progress,
    }
}

/// Asks all members at the same time.
async fn look(call: &Call, plan: &Plan, close: bool) -> Look {
    let play = &call.on.play;
    let run = &play.run;
    let hosts: Vec<Arc<Host>> = plan.members.iter().map(|name| run.host(name)).collect();
    // Not the play's batch: members are asked whether they take part in the play or not, and nothing that is found
    // here counts as a host's failure.
    let board = Arc::new(Board::new(hosts.len(), false, run.sink.clone()));
    let batch = Arc::new(Batch::new(hosts.clone(), board, false));
    let span = &call.task.span;
    let mut arguments = plan.status.clone();
    if close {
        arguments.push((Node::string(span.clone(), "close"), Node::from_json(span, &json!(true))));
    }
    let task = synthetic::task(
        &play.play,
        span,
        &format!("{}: the member is asked", call.info.name),
        "deploy.builtin.galera_status",
        arguments,
        &[],
    );
    let mut asking = Vec::new();
    for index in 0..hosts.len() {
        let walker = Walker::new(play.clone(), batch.clone(), index);
        batch.board.arrive(index, call.position());
        let one = Call::new(&walker.this, &task, &call.frame, call.position());
        asking.push(tokio::spawn(async move {
            let finished = walker.attempts(&one).await;
            finished.map_err(|trouble| super::prepare::explain(&one, trouble))
        }));
    }
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut look = Look { members: Vec::new(), silent: Vec::new(), unknown: None, close, blocked: None };
    for (host, asked) in hosts.iter().zip(asking) {
        let name = host.name.to_string();
        let silent = match tokio::time::timeout_at(until, asked).await {
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
            Ok(Err(error)) => error.to_string(),
            Ok(Ok(Err(why))) => why,
            Ok(Ok(Ok(finished))) => match finished.status {
                TaskStatus::Unreachable => finished.msg.clone().unwrap_or_default(),
                TaskStatus::Unknown => {
                    look.unknown = Some(format!("{name}: {}", finished.msg.clone().unwrap_or_default()));
                    continue;
                }
                TaskStatus::Failed => {
                    let error = Some(finished.msg.clone().unwrap_or_default());
                    look.members.push(Observation { host: name, error, ..Observation::default() });
                    continue;
                }
                _ => {
                    let seen = finished.json.get("galera").cloned().unwrap_or(json!({}));
                    let seen = serde_json::from_value(seen).unwrap_or_default();
                    look.members.push(Observation { host: name, ..seen });
                    continue;
                }
            },
        };
        let error = Some(silent.clone());
        look.members.push(Observation { host: name, error, ..Observation::default() });
        look.silent.push((host.name.clone(), silent));
        if !run.options.check {
            run.fleet.reset(&host.name).await; // the next look tries anew
        }
    }
    if close && look.silent.is_empty() && look.unknown.is_none() {
        look.blocked = super::reach::blocked(play, &look.members).await;
    }
    look
}

/// What was seen, without the certificates' text.
fn shown(seen: &[Observation]) -> Vec<Value> {
    let short = |node: &Observation| {
        let mut node = node.clone();
        for certificate in node.close.iter_mut().flat_map(|close| &mut close.certificates) {
            certificate.chain.clear();
            certificate.trust.clear();
        }
        serde_json::to_value(node).ok()
    };
    seen.iter().filter_map(short).collect()
}

/// Leaves what was seen where tasks of the play find it.
fn remember(call: &Call, plan: &Plan, seen: &[Observation]) {
    set_everywhere(call, plan, "galera_gate_members", from_json(&Value::Array(shown(seen))));
}

/// Sets a variable on all members and all hosts of the play.
fn set_everywhere(call: &Call, plan: &Plan, variable: &str, value: crate::template::Value) {
    let play = &call.on.play;
    let stamp = call.on.stamp(call.position());
    let others = play.hosts.iter().map(|host| &host.name).filter(|name| !plan.members.contains(name));
    for name in plan.members.iter().chain(others) {
        play.run.host(name).set(&stamp, Kind::Fact, variable, Raw::Value(value.clone()));
    }
}
