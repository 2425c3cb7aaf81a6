//! `galera_wait`: until this host's node is well.

use super::observe::{Look, look, observations};
use super::{log, stuck};
use crate::galera::{Kind, Observation, Process, Sample, Tolerances, Verdict, gate};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// `deploy.builtin.galera_wait`
pub const GALERA_WAIT: Module = Module {
    name: "deploy.builtin.galera_wait",
    aliases: &["galera_wait"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Wait::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host),
};

login_arguments! {
    /// Waits until this host's Galera node is Synced, in a component with quorum, of the expected size, and stays so.
    ///
    /// It shows how far a state transfer is, and fails at once when the server has ended, with the errors of its log
    /// and their probable cause. It changes nothing. Run it on all members (also with `delegate_to` in a loop)
    /// before the next one is restarted.
    pub struct Wait {
        /// Seconds to wait while no full state transfer runs. 600 when not given.
        pub timeout: Option<Int>,
        /// Seconds to wait while a full state transfer runs. 14400 when not given.
        pub sst_timeout: Option<Int>,
        /// Members that the cluster must have, a garbd counts. Any number when not given.
        #[serde(alias = "size")]
        pub expected_size: Option<Int>,
        /// Good looks in a row that are needed. 3 when not given.
        pub stable: Option<Int>,
        /// Seconds between two looks. 1 when not given.
        pub interval: Option<Int>,
        /// Write sets that may wait to be applied. 10 when not given.
        pub recv_queue: Option<Int>,
        /// Whether nodes may let peers in without TLS beside those with it (`socket.dynamic`): only while a cluster is on
        /// its way to TLS.
        #[serde(default)]
        pub allow_mixed_links: Flag,
        /// Registered results of `galera_status` of the other members: all of them must be well too, in the same
        /// cluster and the same view.
        pub members: Option<Vec<Value>>,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
    }
}

/// What the arguments say, in numbers.
struct Plan {
    host: String,
    limit: Duration,
    sst_limit: Duration,
    expected: u32,
    stable: u32,
    interval: Duration,
    tolerances: Tolerances,
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Wait = decode(arguments)?;
    let number = |value: Option<Int>, usual: u64| value.map_or(usual, |n| u64::try_from(n.0).unwrap_or(0));
    let interval = Duration::from_secs(number(arguments.interval, 1).max(1));
    let plan = Plan {
        host: arguments.host.as_ref().map(|host| host.0.clone()).unwrap_or_default(),
        limit: Duration::from_secs(number(arguments.timeout, 600)),
        sst_limit: Duration::from_secs(number(arguments.sst_timeout, 14_400)),
        expected: number(arguments.expected_size, 0) as u32,
        stable: number(arguments.stable, 3).max(1) as u32,
        interval,
        tolerances: Tolerances {
            recv_queue: number(arguments.recv_queue, 10),
            interval_ns: interval.as_nanos() as u64,
            mixed_links: arguments.allow_mixed_links.0,
            ..Tolerances::default()
        },
    };
    let others = observations(arguments.members.as_deref().unwrap_or_default())?;
    let login = arguments.login();
    let unit = arguments.unit.as_ref().map(|unit| unit.0.clone());
    let mut glance = |machine: &Machine| look(machine, &plan.host, unit.as_deref(), &login);
    if machine.predicted() {
        return foresee(machine, &mut glance);
    }
    let (seen, looks) = wait(machine, context, &plan, &mut glance)?;
    if !others.is_empty() {
        let all: Vec<Observation> =
            std::iter::once(seen.clone()).chain(others.into_iter().filter(|node| node.host != plan.host)).collect();
        if let Some(reason) = gate(&all, plan.expected, &[], &plan.tolerances).reason() {
            return Err(ModuleError::Failed(format!("the cluster is not well: {reason}")));
        }
    }
    let size = seen.status.as_ref().map_or(0, |status| status.cluster_size);
    let seen = serde_json::to_value(&seen).map_err(|e| ModuleError::Failed(e.to_string()))?;
    Ok(Outcome::ok().with("synced", true).with("cluster_size", size).with("looks", looks).with("galera", seen))
}

/// In a check: a server that runs, or would, is taken to become a member.
fn foresee(
    machine: &mut Machine,
    glance: &mut dyn FnMut(&Machine) -> crate::machine::Result<Look>,
) -> Result<Outcome, ModuleError> {
    machine.foresees_member()?;
    match glance(machine) {
        Ok(look) if !look.unit.is_running() && look.observation.status.is_none() => {
            return Err(ModuleError::Failed(format!("{} would not be running: nothing to wait for", look.unit.name)));
        }
        // It would have been started, and what it says then is what is waited for.
        Ok(_) | Err(MachineError::Unknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    machine.foresee_member();
    let mut outcome = Outcome::ok().with("synced", true);
    outcome.unknown_fields = vec!["cluster_size".into(), "galera".into(), "looks".into()];
    Ok(outcome)
}

/// Looks until it is well; the last look, and how many there were.
fn wait(
    machine: &Machine,
    context: &mut Context<'_>,
    plan: &Plan,
    glance: &mut dyn FnMut(&Machine) -> crate::machine::Result<Look>,
) -> Result<(Observation, u32), ModuleError> {
    let started = Instant::now();
    let (mut good, mut looks, mut down) = (0, 0, 0);
    let mut donor = stuck::Donor::default();
    let mut previous: Option<Sample> = None;
    loop {
        let look = glance(machine)?;
        looks += 1;
        let seen = look.observation;
        let fail = |why: String| {
            let log = log::recent(machine, &look.unit, look.log_file.as_deref());
            ModuleError::Failed(format!("{} is not Synced: {why}{}", plan.host, log::explanation(&log)))
        };
        // A unit that restarts is down for a moment between two looks.
        down = if matches!(seen.process, Process::Running | Process::Starting) { 0 } else { down + 1 };
        if seen.process == Process::Missing || down > 5 || seen.process == Process::Failed && down > 2 {
            return Err(fail(format!("its server ({}) is {}", look.unit.name, look.unit.active)));
        }
        let samples: Vec<Sample> = previous.take().into_iter().collect();
        let verdict = gate(std::slice::from_ref(&seen), plan.expected, &samples, &plan.tolerances);
        previous = Some(Sample::of(&seen));
        match &verdict {
            Verdict::Open => good += 1,
            Verdict::Closed { .. } => good = 0,
        }
        if good >= plan.stable {
            return Ok((seen, looks));
        }
        let log = if verdict.is_open() || started.elapsed() < Duration::from_secs(1) {
            String::new()
        } else {
            log::since_start(machine, &look.unit, look.log_file.as_deref())
        };
        let synced = seen.status.as_ref().is_some_and(|s| s.is_synced());
        if !synced && donor.is_missing(&log, look.unit.main_pid, Instant::now()) {
            let why = stuck::sentence(seen.status.as_ref());
            return Err(fail(format!(
                "{why}. It does not go on by itself and may not stop either: open the port, then stop its unit, and kill its \
                 process if that does not end"
            )));
        }
        let transfer = log::transfer(&log).filter(|_| !synced);
        // Its script runs for each of the two, and the full one is what takes long.
        let asking = transfer.as_ref().is_some_and(|(_, numbers)| numbers.is_none());
        let full = asking && log::received(&log) != Kind::Ist;
        let limit = if full { plan.sst_limit.max(plan.limit) } else { plan.limit };
        let reason = match &verdict {
            Verdict::Closed { reason, .. } => reason.clone(),
            Verdict::Open => format!("well for {good} of {} looks", plan.stable),
        };
        if started.elapsed() > limit {
            return Err(fail(format!("after {} s {reason}", limit.as_secs())));
        }
        let (text, numbers) = match transfer {
            Some((text, numbers)) => (text, numbers),
            None => (reason, None),
        };
        let (done, total) = numbers.map_or((None, None), |(done, total)| (Some(done), Some(total)));
        context.controller.progress(&format!("{} s: {text}", started.elapsed().as_secs()), done, total);
        std::thread::sleep(plan.interval);
    }
}
