//! `galera_recover`: a cluster that nobody serves any more comes back, by the node that has everything.

use super::log;
use super::observe::{look, observations, option_files};
use crate::galera::{Observation, Recovery, recover, standings, table};
use crate::machine::files::WriteOptions;
use crate::machine::units::{UnitAction, UnitOptions};
use crate::machine::{Domain, Machine, MachineError, Subject};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// `deploy.builtin.galera_recover`
pub const GALERA_RECOVER: Module = Module {
    name: "deploy.builtin.galera_recover",
    aliases: &["galera_recover"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Recover::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host),
};

login_arguments! {
    /// Brings a Galera cluster back after a total outage. Run it on all members, with what `galera_position` said of
    /// each.
    ///
    /// Where a component with quorum exists nothing is done. Where all members remember each other, all are started
    /// at the same time and find each other; nothing is bootstrapped. Otherwise the node with the highest position
    /// starts the cluster, but only when `confirm` names it: the table of positions is shown, with what each other
    /// node lacks. Two states, an unreachable node, a position that is not known: all refuse, and say what to do. A
    /// node without a state is never chosen, whatever its `safe_to_bootstrap` says.
    ///
    /// Returned are `recovery` (`join`, `start_all`, `revive` or `bootstrap`), `recovery_host`, `positions`.
    pub struct Recover {
        /// Registered results of `galera_position`, one for each member.
        pub members: Vec<Value>,
        /// Names of all members of the cluster. One that `members` does not tell about is unknown, not down.
        pub hosts: TextList,
        /// Members that are given up: hosts that are gone for ever. Only they may be missing from `members`.
        pub lost: Option<TextList>,
        /// Whether members that remember each other are left to find each other. `false` after that has failed.
        pub views: Option<Flag>,
        /// The host that may start the cluster: the explicit word without which nothing is bootstrapped.
        pub confirm: Option<Text>,
        /// Seconds until the cluster must be there. 180 when not given.
        pub timeout: Option<Int>,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
    }
}

/// One recovery on this host.
struct Attempt<'a> {
    own: &'a str,
    unit: Option<&'a str>,
    login: crate::machine::sql::Login,
    limit: Duration,
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Recover = decode(arguments)?;
    let own = arguments.host.as_ref().map(|host| host.0.clone()).unwrap_or_default();
    let seen = observations(&arguments.members)?;
    let hosts = arguments.hosts.0.clone();
    let lost = arguments.lost.clone().unwrap_or_default().0;
    let rows = standings(&seen, &hosts);
    let positions = table(&rows);
    let attempt = Attempt {
        own: &own,
        unit: arguments.unit.as_deref(),
        login: arguments.login(),
        limit: Duration::from_secs(arguments.timeout.map_or(180, |t| t.0.max(1) as u64)),
    };
    let outcome = |kind: &str, host: &str, msg: String| {
        let mut outcome = Outcome::ok().with("recovery", kind).with("recovery_host", host);
        outcome.msg = Some(msg);
        outcome.with("positions", serde_json::to_value(&rows).unwrap_or_default())
    };
    let (kind, host) = match recover(&seen, &hosts, &lost, arguments.views.is_none_or(|flag| flag.0)) {
        Recovery::Refuse { reason } => return Err(ModuleError::Failed(format!("{reason}\n{positions}"))),
        Recovery::Join { members } => {
            return Ok(outcome("join", "", format!("the cluster is served by {}", members.join(", "))));
        }
        Recovery::StartAll => {
            attempt.start(machine, context)?;
            return Ok(outcome("start_all", "", "all members remember each other and are started together".into()));
        }
        Recovery::Revive { host } => ("revive", host),
        Recovery::Bootstrap { host } => ("bootstrap", host),
    };
    let word = arguments.confirm.as_ref().map(|text| text.0.as_str()).unwrap_or_default();
    if word != host {
        let msg = format!(
            "{host} has the highest position and would start the cluster; the others would get its data. Nothing is \
             bootstrapped without your word: run again with confirm={host} (recover.yml: -e \
             recover_bootstrap={host}){}\n{positions}",
            if word.is_empty() { String::new() } else { format!(", not `{word}`") }
        );
        // A check is asked what would be done, and has no harm to fear.
        return match machine.predicted() && word.is_empty() {
            true => Ok(outcome(kind, &host, msg)),
            false => Err(ModuleError::Failed(msg)),
        };
    }
    if host != own {
        return Ok(outcome(kind, &host, format!("{host} brings the cluster back")));
    }
    let known = seen.iter().find(|node| node.host == own);
    attempt.unchanged(machine, known)?;
    match kind {
        "revive" => attempt.revive(machine)?,
        _ => attempt.bootstrap(machine, context)?,
    }
    attempt.until_synced(machine, context)?;
    Ok(outcome(kind, &host, format!("{host} has brought the cluster back\n{positions}")))
}

impl Attempt<'_> {
    /// What was registered must still be so: nobody has started this server meanwhile.
    fn unchanged(&self, machine: &Machine, known: Option<&Observation>) -> Result<(), ModuleError> {
        let now = look(machine, self.own, self.unit, &self.login)?.observation;
        match known {
            Some(known) if known.process == now.process && known.status.is_some() == now.status.is_some() => Ok(()),
            _ => Err(ModuleError::Failed(format!(
                "the server of {} is not what it was when the positions were taken (now {:?}): take them again",
                self.own, now.process
            ))),
        }
    }

    /// Starts the server and waits for the others to be there too. They start at the same time, so the service manager
    /// must not wait for it.
    fn start(&self, machine: &mut Machine, context: &mut Context<'_>) -> Result<(), ModuleError> {
        let unit = look(machine, self.own, self.unit, &self.login)?.unit;
        let options = UnitOptions { no_block: true, ..UnitOptions::default() };
        machine.act_on_unit(&unit, UnitAction::Start, &options, &mut |_| {})?;
        self.until_synced(machine, context)
    }

    /// Makes the component of this server Primary: the others are known to be down.
    fn revive(&self, machine: &mut Machine) -> Result<(), ModuleError> {
        let mut server = machine.sql(&self.login)?;
        machine.sql_session(&mut server, "SET SESSION wsrep_sync_wait = 0")?;
        // Where the plugin `wsrep_provider` is active (Debian's 11.8), each option is a variable of its own, and the
        // string is read-only.
        let own = machine.sql_status(&mut server, "SHOW GLOBAL VARIABLES LIKE 'wsrep\\_provider\\_pc\\_bootstrap'")?;
        let statement = match own.rows.is_empty() {
            true => "SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'",
            false => "SET GLOBAL wsrep_provider_pc_bootstrap = ON",
        };
        machine.sql_execute(&mut server, statement, Subject::new(Domain::Cluster, self.own), statement, &|_| true)?;
        Ok(())
    }

    /// Says on the disk that this node may start the cluster, and starts it.
    fn bootstrap(&self, machine: &mut Machine, context: &mut Context<'_>) -> Result<(), ModuleError> {
        let seen = look(machine, self.own, self.unit, &self.login)?;
        let config = option_files(machine)?;
        let setting = |name: &str, usual: &str| config.0.get(name).cloned().unwrap_or_else(|| usual.into());
        let path = format!("{}/grastate.dat", setting("datadir", "/var/lib/mysql").trim_end_matches('/'));
        let text = machine.read_file(&path, 64 * 1024)?;
        let text = String::from_utf8_lossy(&text);
        let allowed: String = text
            .lines()
            .map(|line| match line.trim_start().starts_with("safe_to_bootstrap") {
                true => "safe_to_bootstrap: 1\n".to_string(),
                false => format!("{line}\n"),
            })
            .collect();
        machine.write_file(&path, allowed.as_bytes(), &WriteOptions::default())?;
        let mut progress = |passed: Duration, _: &str| {
            context.controller.progress(&format!("starting the cluster for {} s", passed.as_secs()), None, None);
        };
        let cluster = setting("wsrep_cluster_name", "galera");
        let started = machine.start_new_cluster(&seen.unit.name, &cluster, self.limit, &mut progress);
        started.map_err(|error| match error {
            error @ MachineError::Unknown { .. } => ModuleError::Machine(error),
            error => self.failed(machine, &error.to_string()),
        })
    }

    fn until_synced(&self, machine: &mut Machine, context: &mut Context<'_>) -> Result<(), ModuleError> {
        if machine.predicted() {
            machine.foresee_member();
            return Ok(());
        }
        let started = Instant::now();
        loop {
            let seen = look(machine, self.own, self.unit, &self.login)?.observation;
            let state = match &seen.status {
                Some(status) if status.is_synced() => return Ok(()),
                Some(status) => format!("{}, {}", status.cluster_status, status.local_state_comment),
                None => format!("{:?}", seen.process).to_lowercase(),
            };
            if started.elapsed() > self.limit {
                let why = format!("after {} s it is {state}, not Synced", self.limit.as_secs());
                return Err(self.failed(machine, &why));
            }
            let passed = started.elapsed().as_secs();
            context.controller.progress(&format!("{passed} s: {state}"), None, None);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn failed(&self, machine: &Machine, why: &str) -> ModuleError {
        let explanation = look(machine, self.own, self.unit, &self.login)
            .map(|look| log::explanation(&log::recent(machine, &look.unit, look.log_file.as_deref())))
            .unwrap_or_default();
        ModuleError::Failed(format!("{} did not come back: {why}{explanation}", self.own))
    }
}
