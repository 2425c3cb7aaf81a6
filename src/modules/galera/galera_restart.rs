//! `galera_restart`: what a node's files ask for, and no more: a restart, a reload, or nothing.

use super::observe::{Look, look_closer, observations};
use super::restart::{Plan, Report};
use super::{drain, pending, restart};
use crate::galera::{Action, Before, Forecast, Kind, Observation, choose, forecast, human};
use crate::machine::history::RunTurn;
use crate::machine::units::UnitAction;
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::Duration;

/// `deploy.builtin.galera_restart`
pub const GALERA_RESTART: Module = Module {
    name: "deploy.builtin.galera_restart",
    aliases: &["galera_restart"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Restart::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host_and_debts),
};

login_arguments! {
    /// Brings a Galera node to what its files say: restarts it, reloads it, or does nothing.
    ///
    /// What the running server has is compared with what its option files say now, variable by variable and provider
    /// option by provider option. What the running server takes is set (`SET GLOBAL`), renewed certificates are read
    /// anew (`FLUSH LOCAL SSL`); anything else, also a replaced program or library, needs a restart. Before the node is
    /// stopped it is foreseen whether it will get what it missed from a member's cache (IST) or the whole database (SST):
    /// from its position, how far each member's cache reaches back, `gcache.size` and the rate of writing. A node that
    /// would need an SST is not stopped, unless `allow_sst` says so. Nor is the only member, a donor, one with a long
    /// change of definitions under way, or one whose server would not start with the option files that are there.
    ///
    /// A restart is one request: it goes on when the controller is lost. Load balancers are told first (`drain`), the stop
    /// is waited for and never turned into a kill (what the server was doing is reported instead), the transfer is
    /// followed, and the node is back when it is Synced and has everything that was written before it stopped. When it
    /// does not come back, the drain stays, and the failure names the cause. One whose donor does not reach it (port 4568)
    /// is ended after 150 s, by a kill if need be: it would wait for good, and has applied nothing.
    ///
    /// It touches one node and does not look at the others by itself: wait for the whole cluster before and after
    /// (`rolling`, `galera_gate`, `galera_wait`).
    ///
    /// Returned are `action` (`nothing`, `reload`, `restart`, `start`), `reasons`, `transfer` (`none`, `ist`, `sst`: what
    /// happened, in a check what is foreseen), `foreseen` (`transfer`, `reason`, `seconds`, `bytes`, `donors`, `window`),
    /// and of a restart `seconds` from the stop to Synced.
    pub struct Restart {
        /// Registered results of `galera_status` of the other members (this one's may be among them), for the prediction.
        pub members: Option<Vec<Value>>,
        /// Bytes that the cluster writes in a second. Without it the average since the servers' start is taken.
        pub write_rate: Option<Value>,
        /// Seconds that the node is away beside its restart: for an upgrade of its packages.
        pub away: Option<Int>,
        /// Restart it whatever its files say. Taken for true when an earlier run owes this node a restart
        /// (`deploy_owed_restarts`).
        #[serde(default)]
        pub force: Flag,
        /// Restart it even when it will get the whole database again.
        #[serde(default)]
        pub allow_sst: Flag,
        /// How load balancers are told: `clustercheck` (it answers 503 while the node is away), `none`, or `auto`: clustercheck
        /// where it is installed. For other ways see `galera_drain`.
        pub drain: Option<Text>,
        /// Seconds to wait for applications to go after the drain. 10 when not given.
        pub drain_timeout: Option<Int>,
        /// Accounts whose connections are not waited for. `clustercheck`, `mysql` and `root` when not given.
        pub drain_ignore: Option<TextList>,
        /// Seconds to wait for the server to stop. 900 when not given.
        pub stop_timeout: Option<Int>,
        /// Seconds to wait for the node to be Synced while no full state transfer runs. 600 when not given.
        pub timeout: Option<Int>,
        /// Seconds to wait while a full state transfer runs. 14400 when not given.
        pub sst_timeout: Option<Int>,
        /// The option file of which the server keeps a copy at each start (the role's).
        pub option_file: Option<Text>,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
        /// The runs that this one resumes, and when this node's turn began in them; filled in by itself. A server that
        /// they have restarted by this task since then is not restarted once more for `force` alone.
        pub resumed: Option<Value>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Restart = decode(arguments)?;
    let host = arguments.host.as_ref().map_or(String::new(), |host| host.0.clone());
    let login = arguments.login();
    let members = observations(arguments.members.as_deref().unwrap_or_default())?;
    let others: Vec<Observation> = members.into_iter().filter(|one| one.host != host).collect();
    let drains = match arguments.drain.as_ref().map_or("auto", |word| word.0.as_str()) {
        "none" => false,
        "clustercheck" => true,
        "auto" => drain::has_clustercheck(machine)?,
        other => {
            let why = format!("`{other}` is none of none, clustercheck, auto (galera_drain knows other ways)");
            return Err(ModuleError::argument("drain", why));
        }
    };
    let look = look_closer(machine, &host, arguments.unit.as_deref(), &login)?;
    if look.observation.predicted {
        // What starts in this run starts with what is there by then.
        return Ok(answer(Action::Nothing, Vec::new(), None)
            .with("transfer", "none")
            .with_message("it would be started by an earlier task, with the files as they are by then".into()));
    }
    if !look.unit.exists() {
        return Err(ModuleError::Failed(format!("{host} has no database server: there is no {}", look.unit.name)));
    }
    let option_file =
        arguments.option_file.as_ref().map_or("/etc/mysql/mariadb.conf.d/70-galera.cnf", |f| f.0.as_str());
    let mut due = pending::due(machine, &look, &login, option_file)?;
    if let Some(error) = &due.error {
        return Err(ModuleError::Failed(format!(
            "{host} would not start with the option files that are there now: {error}. Nothing was touched"
        )));
    }
    let done = arguments.resumed.as_ref().and_then(|turn| restarted_by(machine, &look, turn));
    due.around.force = arguments.force.0 && done.is_none();
    // What a restart that failed has left, once the node is well again.
    let left_drained = look.observation.status.as_ref().is_some_and(|s| s.is_synced()) && drain::is_ours(machine)?;
    let (action, reasons) = choose(&due.pending, &due.around).map_err(ModuleError::Failed)?;
    match action {
        Action::Nothing => {
            pending::remember(machine, option_file)?;
            if left_drained {
                drain::enable(machine)?;
                let msg = "nothing but the drain that an earlier restart has left".to_string();
                return Ok(answer(action, reasons, None).with("transfer", "none").with_message(msg));
            }
            if let Some(run) = done.filter(|_| arguments.force.0) {
                let msg = format!("nothing: it was restarted in this turn by the run {run}, which this one resumes");
                return Ok(answer(action, reasons, None).with("transfer", "none").with_message(msg));
            }
            let later = due.pending.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let msg = match later.as_str() {
                "" => "nothing: everything is in force".to_string(),
                later => format!("nothing to be done: {later} is read when it is needed"),
            };
            return Ok(answer(action, reasons, None).with("transfer", "none").with_message(msg));
        }
        Action::Reload => {
            let msg = format!("reload: {}", reasons.join("; "));
            pending::reload(machine, &login, &due)?;
            if !machine.predicted() {
                confirm(machine, &login, &arguments, &host, option_file)?;
            }
            pending::remember(machine, option_file)?;
            if left_drained {
                drain::enable(machine)?;
            }
            return Ok(answer(action, reasons, None).with("transfer", "none").with_message(msg));
        }
        Action::Restart | Action::Start => {}
    }
    if let Some(reason) = restart::refusal(&look.observation) {
        return Err(ModuleError::Failed(format!("{host} is not stopped: {reason}")));
    }
    let rate = match &arguments.write_rate {
        None | Some(Value::Null) => None,
        Some(value) => Some(number(value)?),
    };
    // Without a word about the others, what this node has itself is the best guess of what they have.
    let guess: Vec<Observation> = match others.is_empty() {
        true => vec![Observation { host: "a member like this one".into(), ..look.observation.clone() }],
        false => Vec::new(),
    };
    let donors = if others.is_empty() { &guess } else { &others };
    let away = arguments.away.map_or(0.0, |away| away.0.max(0) as f64);
    let foreseen = forecast(&Before { node: Some(&look.observation), others: donors, write_rate: rate, away });
    let msg = sentence(action, &reasons, &foreseen);
    let refused = foreseen.transfer == Kind::Sst && !arguments.allow_sst.0;
    if machine.predicted() {
        // The same steps as of `restart::carry_out`.
        let drained = drains && drain::disable_for_restart(machine)?;
        machine.act_on_unit(&look.unit, UnitAction::Stop, &Default::default(), &mut |_| {})?;
        let stopped = machine.unit(&look.unit.name, &Default::default())?;
        machine.act_on_unit(&stopped, UnitAction::Start, &Default::default(), &mut |_| {})?;
        if drained {
            drain::enable(machine)?;
        }
        let mut outcome = answer(action, reasons, Some(&foreseen))
            .with("transfer", word(foreseen.transfer))
            .with("refused", refused)
            .with_message(msg);
        outcome.warnings.extend(foreseen.warning.clone());
        if refused {
            outcome.warnings.push(format!("{host} would not be touched without allow_sst: {}", foreseen.reason));
        }
        return Ok(outcome);
    }
    if refused {
        return Err(ModuleError::Failed(format!(
            "{host} is not touched: it would get the whole database again (SST), because {}. Where that is wanted, say \
             `allow_sst: true`. Due was: {msg}",
            foreseen.reason
        )));
    }
    let number =
        |value: Option<Int>, usual: u64| Duration::from_secs(value.map_or(usual, |n| u64::try_from(n.0).unwrap_or(0)));
    let ignored = arguments
        .drain_ignore
        .clone()
        .map_or_else(|| ["clustercheck", "mysql", "root"].map(String::from).to_vec(), |list| list.0);
    let reference = others.iter().chain([&look.observation]);
    let plan = Plan {
        host: &host,
        login: &login,
        drains,
        ignored: &ignored,
        drain_limit: number(arguments.drain_timeout, 10),
        stop_limit: number(arguments.stop_timeout, 900),
        limit: number(arguments.timeout, 600),
        sst_limit: number(arguments.sst_timeout, 14_400),
        allow_sst: arguments.allow_sst.0,
        needed: reference.filter_map(|one| Some(one.status.as_ref()?.last_committed)).max().unwrap_or(-1),
        sst_bytes: others.iter().filter_map(|one| Some(one.close.as_ref()?.data_bytes)).max(),
    };
    let report = restart::carry_out(machine, context, &look, &plan)?;
    Ok(finished(action, reasons, &foreseen, report))
}

/// The run that has restarted the server in the turn that is taken up again, by this host's own log and clock. The server that
/// runs now must be of that start.
fn restarted_by(machine: &Machine, look: &Look, turn: &Value) -> Option<String> {
    /// Hosts whose clocks differ by more close the gate.
    const SKEW: i64 = 60;
    let status = look.observation.status.as_ref().filter(|status| status.is_synced())?;
    let up_since = look.observation.clock - i64::try_from(status.uptime).ok()?;
    let began = turn.get("began")?.as_i64()? - SKEW;
    let of_turn = |(run, number): (String, Option<u32>)| {
        let at = machine.unit_started_by(&run, number, &look.unit.name)?;
        (at >= began && up_since + 1 >= at).then_some(run)
    };
    tries(turn).into_iter().find_map(of_turn)
}

/// The runs in which the turn was begun, with its number there; without one where their journals do not say.
fn tries(turn: &Value) -> Vec<(String, Option<u32>)> {
    let turns = turn.get("turns").cloned().and_then(|turns| serde_json::from_value::<Vec<RunTurn>>(turns).ok());
    let turns = turns.unwrap_or_default();
    if !turns.is_empty() {
        return turns.into_iter().map(|one| (one.run, Some(one.turn))).collect();
    }
    let runs = turn.get("runs").and_then(Value::as_array).into_iter().flatten();
    runs.filter_map(|run| Some((run.as_str()?.to_string(), None))).collect()
}

/// After a reload nothing that the server takes is left.
fn confirm(
    machine: &Machine,
    login: &crate::machine::sql::Login,
    arguments: &Restart,
    host: &str,
    option_file: &str,
) -> Result<(), ModuleError> {
    let look: Look = look_closer(machine, host, arguments.unit.as_deref(), login)?;
    let due = pending::due(machine, &look, login, option_file)?;
    let mut left: Vec<String> = due.around.certificates.clone();
    left.extend(due.pending.iter().filter(|p| p.effect == crate::galera::Effect::Dynamic).map(ToString::to_string));
    match left.is_empty() {
        true => Ok(()),
        false => Err(ModuleError::Failed(format!(
            "{host} took a reload, and still has not in force: {}. Restart it with `force: true`",
            left.join("; ")
        ))),
    }
}

fn number(value: &Value) -> Result<f64, ModuleError> {
    let parsed = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    parsed.ok_or_else(|| ModuleError::argument("write_rate", "it must be a number of bytes a second"))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::None => "none",
        Kind::Ist => "ist",
        Kind::Sst => "sst",
    }
}

/// What would happen, in one line.
fn sentence(action: Action, reasons: &[String], foreseen: &Forecast) -> String {
    let size = if foreseen.bytes > 0 { format!(" of about {}", human(foreseen.bytes as f64)) } else { String::new() };
    format!(
        "{} ({}), then {}{size} ({}), about {} s",
        action.word(),
        reasons.join("; "),
        foreseen.transfer.word(),
        foreseen.reason,
        foreseen.seconds.ceil()
    )
}

fn answer(action: Action, reasons: Vec<String>, foreseen: Option<&Forecast>) -> Outcome {
    let mut outcome = Outcome::ok().with("action", action.word()).with("reasons", reasons);
    if let Some(value) = foreseen.and_then(|one| serde_json::to_value(one).ok()) {
        outcome = outcome.with("foreseen", value);
    }
    outcome
}

fn finished(action: Action, reasons: Vec<String>, foreseen: &Forecast, report: Report) -> Outcome {
    let seconds = (report.seconds * 10.0).round() / 10.0;
    let msg =
        format!("{} ({}): Synced after {seconds} s, {}", action.word(), reasons.join("; "), report.transfer.word());
    let mut outcome = answer(action, reasons, Some(foreseen))
        .with("transfer", word(report.transfer))
        .with("seconds", seconds)
        .with("stop_seconds", (report.stop_seconds * 10.0).round() / 10.0)
        .with("connections_left", report.connections_left)
        .with_message(msg);
    outcome.warnings = report.warnings;
    outcome.warnings.extend(foreseen.warning.clone());
    if foreseen.transfer != Kind::Sst && report.transfer == Kind::Sst {
        outcome.warnings.push("it got the whole database again (SST), though its position promised less".into());
    }
    match serde_json::to_value(&report.seen) {
        Ok(seen) => outcome.with("galera", seen),
        Err(_) => outcome,
    }
}

trait WithMessage {
    fn with_message(self, msg: String) -> Self;
}

impl WithMessage for Outcome {
    fn with_message(mut self, msg: String) -> Self {
        self.msg = Some(msg);
        self
    }
}

impl From<restart::Failure> for ModuleError {
    fn from(failure: restart::Failure) -> Self {
        match failure {
            restart::Failure::Machine(error @ MachineError::Unknown { .. }) => ModuleError::Machine(error),
            restart::Failure::Machine(error) => ModuleError::Failed(error.to_string()),
            restart::Failure::Said(text) => ModuleError::Failed(text),
        }
    }
}
