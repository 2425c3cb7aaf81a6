//! `galera_bootstrap`: the first start of a cluster, once in its life.

use super::log;
use super::observe::{look, observations, option_files};
use crate::galera::{Decision, Severity, decide, lint};
use crate::machine::Machine;
use crate::modules::scalars::{Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// `deploy.builtin.galera_bootstrap`
pub const GALERA_BOOTSTRAP: Module = Module {
    name: "deploy.builtin.galera_bootstrap",
    aliases: &["galera_bootstrap"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Bootstrap::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(super::name_host),
};

login_arguments! {
    /// Starts a new Galera cluster, only when none of its hosts has ever been part of one.
    ///
    /// Run it on all hosts: the one that is chosen starts the cluster, the others do nothing. When there is a cluster
    /// already, nothing is done anywhere. When there was one and it is down, or a host could not be looked at, it
    /// fails and says how to go on: a second cluster beside the first would lose data.
    ///
    /// Returned are `bootstrapped` (this host did it now), `bootstrap_host` and `members`.
    pub struct Bootstrap {
        /// Registered results of `galera_status`, one for each host of the cluster. Without it only this host is looked
        /// at, and whether the others know of a cluster must have been made sure of before.
        pub members: Option<Vec<Value>>,
        /// Names of all hosts of the cluster. One that `members` does not tell about is unknown, not down.
        pub hosts: Option<TextList>,
        /// The host that starts a new cluster. The first of `hosts` (or of `members`) when not given.
        pub bootstrap_host: Option<Text>,
        /// Seconds until the first member must be Synced. 120 when not given.
        pub timeout: Option<Int>,
        /// The server's unit, found by itself when not given.
        pub unit: Option<Text>,
        /// The host's name in the inventory; filled in by itself.
        pub host: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Bootstrap = decode(arguments)?;
    let own = arguments.host.as_ref().map(|host| host.0.clone()).unwrap_or_default();
    let mut seen = observations(arguments.members.as_deref().unwrap_or_default())?;
    let hosts = arguments.hosts.clone().unwrap_or_default().0;
    let chosen = arguments.bootstrap_host.as_ref().map(|h| h.0.clone()).or_else(|| hosts.first().cloned());

    // What was registered may be old by now: look at this host again.
    let login = arguments.login();
    let now = look(machine, &own, arguments.unit.as_deref(), &login)?;
    match seen.iter_mut().find(|node| node.host == own) {
        Some(node) => *node = now.observation.clone(),
        None if arguments.members.is_none() => seen.push(now.observation.clone()),
        None => {
            let why = format!("there is no result of galera_status of this host ({own}) in it");
            return Err(ModuleError::argument("members", why));
        }
    }
    let outcome = |bootstrapped: bool, host: &str, msg: String| {
        let mut outcome = Outcome::ok().with("bootstrapped", bootstrapped).with("bootstrap_host", host);
        outcome.msg = Some(msg);
        outcome
    };
    let host = match decide(&seen, &hosts, chosen.as_deref()) {
        Decision::Refuse { reason } => return Err(ModuleError::Failed(reason)),
        Decision::Join { members } => {
            let msg = format!("the cluster exists: {}", members.join(", "));
            return Ok(outcome(false, "", msg).with("members", members));
        }
        Decision::Bootstrap { host } => host,
    };
    if host != own {
        return Ok(outcome(false, &host, format!("{host} starts the cluster")).with("members", vec![host.clone()]));
    }
    let config = option_files(machine)?;
    if !machine.predicted() {
        check_configuration(&config)?;
    }
    let cluster = config.0.get("wsrep_cluster_name").cloned().unwrap_or_else(|| "galera".into());
    let limit = Duration::from_secs(arguments.timeout.map_or(120, |t| t.0.max(1) as u64));
    let started = Instant::now();
    let unit = now.unit.name.clone();
    let mut progress = |passed: Duration, _: &str| {
        context.controller.progress(&format!("starting the cluster for {} s", passed.as_secs()), None, None);
    };
    let fail = |machine: &Machine, why: String| {
        let unit = machine.unit(&unit, &Default::default()).unwrap_or_else(|_| now.unit.clone());
        let log = log::recent(machine, &unit, now.log_file.as_deref());
        ModuleError::Failed(format!("the cluster could not be started: {why}{}", log::explanation(&log)))
    };
    machine.start_new_cluster(&unit, &cluster, limit, &mut progress).map_err(|error| match error {
        crate::machine::MachineError::Unknown { .. } => ModuleError::Machine(error),
        error => fail(machine, error.to_string()),
    })?;
    if !machine.predicted() {
        loop {
            let seen = look(machine, &own, Some(&unit), &login)?.observation;
            match &seen.status {
                Some(status) if status.is_synced() => break,
                Some(status) if !status.wsrep_on => {
                    return Err(fail(
                        machine,
                        "the server has started without Galera (wsrep_on or wsrep_provider is not set)".into(),
                    ));
                }
                _ if started.elapsed() > limit => {
                    let state = seen.status.as_ref().map_or("no answer".into(), |s| s.local_state_comment.clone());
                    return Err(fail(machine, format!("it was not Synced after {} s ({state})", limit.as_secs())));
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
    Ok(outcome(true, &own, format!("{own} has started the cluster")).with("members", vec![own.clone()]))
}

/// What must be right before a cluster is made of it.
fn check_configuration(config: &crate::galera::NodeConfig) -> Result<(), ModuleError> {
    let on = config.0.get("wsrep_on").is_some_and(|v| v.eq_ignore_ascii_case("on") || v == "1");
    let provider = config.0.get("wsrep_provider").map(String::as_str).unwrap_or("none");
    if !on || provider == "none" {
        return Err(ModuleError::Failed(
            "the option files do not turn Galera on: set wsrep_on=ON and wsrep_provider before the cluster is started"
                .into(),
        ));
    }
    if !std::path::Path::new(provider).exists() {
        return Err(ModuleError::Failed(format!("the provider {provider} is not there: install the package galera-4")));
    }
    let errors: Vec<String> = lint(config, &[])
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| format!("{}: {}", finding.name, finding.message))
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ModuleError::Failed(format!("the option files are not right:\n  {}", errors.join("\n  ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::galera::NodeConfig;

    #[test]
    fn a_configuration_without_galera_starts_no_cluster() {
        let error = check_configuration(&NodeConfig::parse("[mysqld]\nwsrep_on=OFF\n")).unwrap_err().to_string();
        assert!(error.contains("wsrep_on=ON"), "{error}");
        let text = "[mysqld]\nwsrep_on=ON\nwsrep_provider=/bin/sh\nwsrep_cluster_address=gcomm://\n";
        let error = check_configuration(&NodeConfig::parse(text)).unwrap_err().to_string();
        assert!(error.contains("wsrep_cluster_address"), "{error}");
    }
}
