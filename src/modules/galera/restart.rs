//! A node's way out and back: drain, stop, start, transfer, Synced, undrain.

use super::observe::{Look, look};
use super::{drain, evidence, log, stuck};
use crate::galera::{Kind, Observation, Process, SavedState, is_null_uuid};
use crate::machine::sql::Login;
use crate::machine::units::{Unit, UnitAction, UnitOptions};
use crate::machine::{Machine, MachineError, Result};
use crate::modules::Context;
use std::time::{Duration, Instant};

/// How it is done.
pub struct Plan<'a> {
    /// The host's name in the inventory.
    pub host: &'a str,
    /// How to log in.
    pub login: &'a Login,
    /// Load balancers are told by clustercheck.
    pub drains: bool,
    /// Accounts whose connections are not waited for.
    pub ignored: &'a [String],
    /// How long applications are waited for.
    pub drain_limit: Duration,
    /// How long the stop is waited for.
    pub stop_limit: Duration,
    /// How long Synced is waited for.
    pub limit: Duration,
    /// The same while a full transfer runs.
    pub sst_limit: Duration,
    /// A full transfer is no accident.
    pub allow_sst: bool,
    /// The last write set that it must have when it is back.
    pub needed: i64,
    /// Bytes that a full transfer brings, where that is known.
    pub sst_bytes: Option<u64>,
}

/// How it went.
pub struct Report {
    /// What it got.
    pub transfer: Kind,
    /// From the stop to Synced.
    pub seconds: f64,
    /// The stop alone.
    pub stop_seconds: f64,
    /// Applications that had not gone.
    pub connections_left: u64,
    /// What was odd.
    pub warnings: Vec<String>,
    /// The node as it is now.
    pub seen: Observation,
}

/// Why it did not go well.
pub enum Failure {
    /// The machine's own word.
    Machine(MachineError),
    /// A sentence, with the evidence.
    Said(String),
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        Failure::Machine(error)
    }
}

/// Why a node must not be stopped by anybody, as a sentence without a full stop.
pub fn refusal(seen: &Observation) -> Option<String> {
    let status = seen.status.as_ref()?;
    if !status.wsrep_on {
        return None;
    }
    if status.is_primary() && status.cluster_size <= 1 {
        return Some("it is the only member, and nobody could give it its place in the cluster back".into());
    }
    if status.local_state == 2 {
        return Some(format!(
            "it is {}: another member gets its state from it, or a backup runs",
            status.local_state_comment
        ));
    }
    if let Some(long) = status.statements.iter().filter(|one| one.seconds >= 2).max_by_key(|one| one.seconds) {
        return Some(format!("{long}, and its end would be waited for by the whole cluster"));
    }
    if status.is_primary() && !status.is_synced() && status.local_state != 4 {
        return Some(format!("it is {}, let it finish first", status.local_state_comment));
    }
    None
}

/// Carries it out, in a real run.
pub fn carry_out(
    machine: &mut Machine,
    context: &mut Context<'_>,
    before: &Look,
    plan: &Plan<'_>,
) -> std::result::Result<Report, Failure> {
    let mut warnings = Vec::new();
    let mut drained = false;
    let mut connections_left = 0;
    if plan.drains {
        drained = drain::disable_for_restart(machine)?;
        if before.observation.status.is_some() {
            connections_left = drain::wait(machine, context, plan.login, plan.ignored, plan.drain_limit);
        }
        if connections_left > 0 {
            let limit = plan.drain_limit.as_secs();
            warnings.push(format!("{connections_left} connections were still open {limit} s after the drain"));
        }
    }
    let began = Instant::now();
    if before.unit.is_stoppable() {
        stop(machine, context, before, plan, drained)?;
        match saved(machine, before)? {
            Some(state) if !is_null_uuid(&state.uuid) && state.seqno >= 0 => {}
            // Its position is recovered from its tables at the start.
            Some(state) => warnings.push(format!(
                "the server did not leave its position behind (grastate.dat: {}:{})",
                state.uuid, state.seqno
            )),
            None => warnings.push("the server left no grastate.dat behind".into()),
        }
    }
    let stop_seconds = began.elapsed().as_secs_f64();
    let unit = machine.unit(&before.unit.name, &UnitOptions::default())?;
    if unit.properties.get("NeedDaemonReload").is_some_and(|word| word == "yes") {
        machine.reload_units(false, &UnitOptions::default())?;
    }
    let options = UnitOptions { no_block: true, ..UnitOptions::default() };
    machine.act_on_unit(&unit, UnitAction::Start, &options, &mut |_| {})?;
    let (seen, transfer) = come_back(machine, context, before, plan, began)?;
    // A drain by hand from before stays.
    if drained {
        drain::enable(machine)?;
    }
    Ok(Report { transfer, seconds: began.elapsed().as_secs_f64(), stop_seconds, connections_left, warnings, seen })
}

/// Asks it to stop, and waits until it is gone. Nobody is killed.
fn stop(
    machine: &mut Machine,
    context: &mut Context<'_>,
    before: &Look,
    plan: &Plan<'_>,
    drained: bool,
) -> std::result::Result<(), Failure> {
    let began = Instant::now();
    let options = UnitOptions { no_block: true, ..UnitOptions::default() };
    machine.act_on_unit(&before.unit, UnitAction::Stop, &options, &mut |_| {})?;
    loop {
        let unit = machine.unit(&before.unit.name, &UnitOptions::default())?;
        let pid = before.unit.main_pid;
        let gone = pid == 0 || !std::path::Path::new(&format!("/proc/{pid}")).exists();
        if !unit.is_stoppable() && gone {
            return Ok(());
        }
        if began.elapsed() > plan.stop_limit {
            let mut evidence = evidence::collect(machine, plan.login, &before.unit, before.log_file.as_deref());
            if drained {
                evidence.push_str("\nThe drain stays.");
            }
            return Err(Failure::Said(format!(
                "{}: the server has not stopped after {} s. It is not killed, which could cost its state: look at what it \
                 waits for, it may still end by itself{evidence}",
                plan.host,
                plan.stop_limit.as_secs()
            )));
        }
        context.controller.progress(&format!("stops for {} s", began.elapsed().as_secs()), None, None);
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Where it stopped.
fn saved(machine: &Machine, before: &Look) -> Result<Option<SavedState>> {
    let path = format!("{}/grastate.dat", before.data);
    let bytes = machine.read_file_if_exists(path, 64 * 1024)?;
    Ok(bytes.and_then(|bytes| SavedState::parse(&String::from_utf8_lossy(&bytes))))
}

/// What a server says before it ends because it met nobody with quorum.
const NO_QUORUM: &str = "failed to reach primary view";

/// Follows it until it is Synced and has all it needs.
fn come_back(
    machine: &mut Machine,
    context: &mut Context<'_>,
    before: &Look,
    plan: &Plan<'_>,
    began: Instant,
) -> std::result::Result<(Observation, Kind), Failure> {
    let started = Instant::now();
    let mut down = 0;
    let mut next_log = started + Duration::from_secs(1);
    let mut transfer = Kind::None;
    let mut said = String::from("starts");
    let mut numbers = None;
    let mut donor = stuck::Donor::default();
    let mut alone = false;
    let starting = UnitOptions { no_block: true, ..UnitOptions::default() };
    loop {
        let now = look(machine, plan.host, Some(&before.unit.name), plan.login)?;
        let seen = &now.observation;
        let synced = seen.status.as_ref().is_some_and(|s| s.is_synced());
        let behind = seen.status.as_ref().is_some_and(|s| s.last_committed < plan.needed);
        if synced && !behind {
            // What it got is in its log, however quick it was.
            let log = log::since_start(machine, &now.unit, now.log_file.as_deref());
            return Ok((now.observation, log::received(&log).max(transfer)));
        }
        if let Some(status) = &seen.status
            && !status.wsrep_on
        {
            return Err(give_up(
                machine,
                plan,
                &now,
                "its server has started without Galera (wsrep_on, wsrep_provider)",
            ));
        }
        // Whoever finds nobody with quorum ends after half a minute. Others have died meanwhile, and may come back: it is
        // kept coming, or it would stay out when they do.
        if seen.process == Process::Failed
            && started.elapsed() < plan.limit
            && log::since_start(machine, &now.unit, now.log_file.as_deref()).contains(NO_QUORUM)
        {
            alone = true;
            said = "finds no member with quorum and tries again".into();
            machine.act_on_unit(&now.unit, UnitAction::Start, &starting, &mut |_| {})?;
            std::thread::sleep(Duration::from_secs(1));
            continue;
        }
        // An aborted server is started again by systemd; each round may cost it, and its donor, a full transfer.
        let restarts: u32 = now.unit.properties.get("NRestarts").and_then(|n| n.parse().ok()).unwrap_or(0);
        if restarts > if plan.allow_sst { 2 } else { 0 } {
            return Err(give_up(machine, plan, &now, "its server has aborted, and systemd starts it again and again"));
        }
        down = if matches!(seen.process, Process::Running | Process::Starting) { 0 } else { down + 1 };
        if !(alone && started.elapsed() > plan.limit) && (seen.process == Process::Failed && down > 1 || down > 10) {
            return Err(give_up(
                machine,
                plan,
                &now,
                &format!("its server ({}) is {}", now.unit.name, now.unit.active),
            ));
        }
        if Instant::now() >= next_log {
            next_log = Instant::now() + Duration::from_secs(1);
            let log = log::since_start(machine, &now.unit, now.log_file.as_deref());
            transfer = transfer.max(log::received(&log));
            if !synced && donor.is_missing(&log, now.unit.main_pid, Instant::now()) {
                return Err(give_up_waiting(machine, plan, &now));
            }
            if let Some((text, steps)) = log::transfer(&log) {
                said = text;
                numbers = steps.or(numbers);
            }
            if transfer == Kind::Sst && !log.contains("Receiving IST") && !synced {
                let bytes = super::closer::space(&before.data).0;
                numbers = plan.sst_bytes.filter(|total| *total > 0 && bytes > 0).map(|total| (bytes.min(total), total));
                if bytes > 0 {
                    said = format!("receives the whole state (SST): {}", crate::galera::human(bytes as f64));
                }
            }
            if synced && behind {
                said = "Synced, applies what was written before it stopped".into();
            }
        }
        let limit = if transfer == Kind::Sst { plan.sst_limit.max(plan.limit) } else { plan.limit };
        if started.elapsed() > limit && alone && !seen.status.as_ref().is_some_and(|s| s.is_primary()) {
            let why = format!(
                "for {} s it has found no member with quorum. When the others have theirs back, playbooks/recover.yml \
                 brings it in",
                limit.as_secs()
            );
            return Err(give_up(machine, plan, &now, &why));
        }
        if started.elapsed() > limit {
            let state = seen.status.as_ref().map_or("no answer", |s| s.local_state_comment.as_str()).to_string();
            return Err(give_up(
                machine,
                plan,
                &now,
                &format!("it is not Synced after {} s ({state})", limit.as_secs()),
            ));
        }
        let (done, total) = numbers.map_or((None, None), |(done, total)| (Some(done), Some(total)));
        let percent = numbers
            .filter(|(_, total)| *total > 0)
            .map_or(String::new(), |(done, total)| format!(", {} %", done * 100 / total));
        context.controller.progress(&format!("{said}{percent}, away for {} s", began.elapsed().as_secs()), done, total);
        std::thread::sleep(Duration::from_millis(250));
    }
}

/// The donor does not reach the node: what it waits for will not come.
fn give_up_waiting(machine: &mut Machine, plan: &Plan<'_>, now: &Look) -> Failure {
    let why = stuck::sentence(now.observation.status.as_ref());
    // Its log before it is ended, which only adds what comes of that.
    let Failure::Said(mut text) = give_up(machine, plan, now, &why) else { return Failure::Said(why) };
    match stuck::end(machine, &now.unit, now.log_file.as_deref()) {
        Ok(how) => text.push_str(&format!("\n{how}")),
        Err(error) => text.push_str(&format!("\nIts server could not be ended: {error}")),
    }
    Failure::Said(text)
}

/// A node that does not come back stays out: what systemd would try again and again is ended, the cause is named.
fn give_up(machine: &mut Machine, plan: &Plan<'_>, now: &Look, why: &str) -> Failure {
    let log = log::recent(machine, &now.unit, now.log_file.as_deref());
    let mut text = format!("{} does not come back: {why}{}", plan.host, log::explanation(&log));
    if now.unit.properties.get("SubState").is_some_and(|sub| sub == "auto-restart")
        || now.unit.properties.get("NRestarts").is_some_and(|n| n != "0")
    {
        let options = UnitOptions { no_block: true, ..UnitOptions::default() };
        let unit: Unit = now.unit.clone();
        match machine.act_on_unit(&unit, UnitAction::Stop, &options, &mut |_| {}) {
            Ok(_) => {
                text.push_str("\nIt is kept from starting again and again: start it by hand when the cause is gone.")
            }
            Err(error) => text.push_str(&format!("\nIt could not be kept from starting again: {error}")),
        }
    }
    if plan.drains {
        text.push_str(&format!("\nIt stays drained ({}).", drain::DISABLED));
    }
    Failure::Said(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::galera::{NodeStatus, Statement};

    #[test]
    fn a_node_that_must_not_be_stopped() {
        let member = NodeStatus {
            wsrep_on: true,
            cluster_status: "Primary".into(),
            ready: true,
            connected: true,
            local_state: 4,
            cluster_size: 3,
            ..NodeStatus::default()
        };
        let seen = |status: NodeStatus| Observation { status: Some(status), ..Observation::default() };
        assert_eq!(refusal(&seen(member.clone())), None);
        assert_eq!(refusal(&Observation::default()), None);
        let long = Statement { seconds: 60, kind: "ALTER TABLE".into(), user: "app".into(), ..Statement::default() };
        for (status, words) in [
            (NodeStatus { cluster_size: 1, ..member.clone() }, "only member"),
            (NodeStatus { local_state: 2, local_state_comment: "Donor/Desynced".into(), ..member.clone() }, "Donor"),
            (NodeStatus { local_state: 1, local_state_comment: "Joining".into(), ..member.clone() }, "Joining"),
            (NodeStatus { statements: vec![long], ..member.clone() }, "ALTER TABLE of app"),
        ] {
            let reason = refusal(&seen(status)).unwrap();
            assert!(reason.contains(words), "{reason}");
        }
        // Without quorum nobody is served anyway.
        let split = NodeStatus { cluster_status: "non-Primary".into(), local_state: 0, ready: false, ..member };
        assert_eq!(refusal(&seen(split)), None);
    }
}
