//! `galera_drain`: load balancers let go of a node, and take it back.

use super::drain;
use crate::galera::{Seen, haproxy_command, haproxy_servers, maxscale_command, proxysql_statements};
use crate::machine::{Command, Machine};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// `deploy.builtin.galera_drain`
pub const GALERA_DRAIN: Module = Module {
    name: "deploy.builtin.galera_drain",
    aliases: &["galera_drain"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Drain::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Tells a load balancer that a node gets no new connections, or that it does again.
    ///
    /// `haproxy` and the two below it run on the load balancer's host: delegate the task there, in a loop over all of
    /// them. `clustercheck` runs on the node itself: it answers 503, and every load balancer that asks it takes the node
    /// out (`galera_restart` does that by itself).
    ///
    /// HAProxy and clustercheck are tested against real ones. **Unverified**: `proxysql` and `maxscale` could not be
    /// installed where this was built; what they are told follows their documentation and is tested as text only.
    ///
    /// Returned are `servers` (HAProxy's: backend, server, status, sessions) and `sessions` that are left.
    pub struct Drain {
        /// `haproxy`, `clustercheck`, `proxysql` or `maxscale`.
        pub kind: Text,
        /// `drained` or `ready`.
        pub state: Text,
        /// The node as the load balancer calls it. ProxySQL knows it by its address.
        pub server: Option<Text>,
        /// HAProxy: only this backend. Every backend that has the server when not given.
        pub backend: Option<Text>,
        /// HAProxy: its socket of administration (`stats socket … level admin`). `/run/haproxy/admin.sock` when not given.
        pub socket: Option<Text>,
        /// Seconds to wait until the server has no sessions any more. 0, not at all, when not given.
        pub wait: Option<Int>,
        /// clustercheck: `drained` is marked as passing, as a restart's is, so that whatever brings the node back takes it
        /// back (`only_left_over`, `galera_restart`, the roles). A drain that is there already is left as it is.
        #[serde(default)]
        pub for_restart: Flag,
        /// clustercheck: `ready` takes back only the drain that a restart, an upgrade or a removal by `deploy` has left
        /// (`for_restart`); one by hand stays.
        #[serde(default)]
        pub only_left_over: Flag,
        /// ProxySQL: the node's port. 3306 when not given.
        pub port: Option<Int>,
        /// ProxySQL: only in this hostgroup.
        pub hostgroup: Option<Int>,
        /// ProxySQL: option file of the client with the login to its administration. `/etc/proxysql-admin.cnf` when not
        /// given.
        pub option_file: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Drain = decode(arguments)?;
    let drained = match arguments.state.0.as_str() {
        "drained" => true,
        "ready" => false,
        other => return Err(ModuleError::argument("state", format!("`{other}` is neither drained nor ready"))),
    };
    let server = || match arguments.server.as_ref() {
        Some(server) => Ok(server.0.clone()),
        None => Err(ModuleError::argument("server", "it is needed: which node shall it let go of?")),
    };
    let words = if drained { ("ready", "drained") } else { ("drained", "ready") };
    match arguments.kind.0.as_str() {
        "clustercheck" => {
            match (drained, arguments.only_left_over.0) {
                (true, _) if arguments.for_restart.0 => drain::disable_for_restart(machine)?,
                (true, _) => drain::disable(machine, "drained by deploy")?,
                (false, false) => drain::enable(machine)?,
                (false, true) => drain::is_ours(machine)? && drain::enable(machine)?,
            };
            Ok(Outcome::ok())
        }
        "haproxy" => haproxy(machine, context, &arguments, &server()?, drained),
        "proxysql" => {
            let number = |value: Option<Int>, name: &str, usual: i64, most: i64| match value.map_or(usual, |n| n.0) {
                n if (0..=most).contains(&n) => Ok(n),
                n => Err(ModuleError::argument(name, format!("{n} is out of range"))),
            };
            let port = number(arguments.port, "port", 3306, 65_535)? as u16;
            let group = match arguments.hostgroup {
                Some(_) => Some(number(arguments.hostgroup, "hostgroup", 0, i64::from(u32::MAX))? as u32),
                None => None,
            };
            let server = server()?;
            let statements = proxysql_statements(&server, port, group, drained).map_err(ModuleError::Failed)?;
            let file = arguments.option_file.as_ref().map_or("/etc/proxysql-admin.cnf", |f| f.0.as_str());
            let login = format!("--defaults-file={file}");
            let command = Command::new(["mysql", login.as_str(), "--execute", &statements.join("; ")]);
            machine.run_balancer(&[command], &server, words.0, words.1)?;
            Ok(unverified("ProxySQL"))
        }
        "maxscale" => {
            let server = server()?;
            let command = Command::new(maxscale_command(&server, drained).map_err(ModuleError::Failed)?);
            machine.run_balancer(&[command], &server, words.0, words.1)?;
            Ok(unverified("MaxScale"))
        }
        other => {
            let why = format!("`{other}` is none of haproxy, clustercheck, proxysql, maxscale");
            Err(ModuleError::argument("kind", why))
        }
    }
}

fn unverified(name: &str) -> Outcome {
    let mut outcome = Outcome::ok();
    outcome.warnings.push(format!("unverified: this has not been tried against a real {name}"));
    outcome
}

fn haproxy(
    machine: &mut Machine,
    context: &mut Context<'_>,
    arguments: &Drain,
    server: &str,
    drained: bool,
) -> Result<Outcome, ModuleError> {
    let socket = arguments.socket.as_ref().map_or("/run/haproxy/admin.sock", |socket| socket.0.as_str());
    let wanted = arguments.backend.as_ref().map(|backend| backend.0.as_str());
    let look = |machine: &Machine| -> Result<Vec<Seen>, ModuleError> {
        let answer = machine.ask_balancer(socket, "show stat")?;
        let all = haproxy_servers(&answer).map_err(ModuleError::Failed)?;
        let ours = |one: &Seen| one.server == server && wanted.is_none_or(|backend| one.backend == backend);
        Ok(all.into_iter().filter(ours).collect())
    };
    let before = look(machine)?;
    if before.is_empty() {
        let place = wanted.map_or("any backend".to_string(), |backend| format!("the backend {backend}"));
        return Err(ModuleError::Failed(format!("HAProxy has no server `{server}` in {place} ({socket})")));
    }
    for one in before.iter().filter(|one| one.is_drained() != drained) {
        let command = haproxy_command(&one.backend, &one.server, drained).map_err(ModuleError::Failed)?;
        let name = format!("{}/{}", one.backend, one.server);
        let after = if drained { "DRAIN" } else { "UP" };
        machine.tell_balancer(socket, &command, &name, &one.status, after)?;
    }
    let mut now = before;
    if !machine.predicted() {
        let limit = Duration::from_secs(arguments.wait.map_or(0, |n| u64::try_from(n.0).unwrap_or(0)));
        let began = Instant::now();
        loop {
            now = look(machine)?;
            let left: u64 = now.iter().map(|one| one.sessions).sum();
            if !drained || left == 0 || began.elapsed() >= limit {
                break;
            }
            context.controller.progress(&format!("{left} sessions are left on {server}"), None, None);
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let sessions: u64 = now.iter().map(|one| one.sessions).sum();
    let servers = serde_json::to_value(&now).map_err(|error| ModuleError::Failed(error.to_string()))?;
    Ok(Outcome::ok().with("servers", servers).with("sessions", sessions))
}
