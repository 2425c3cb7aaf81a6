//! Taking a node out of the load balancers' sight, and back in: here by the answer that they ask the node for.

use crate::machine::files::WriteOptions;
use crate::machine::sql::{Login, Rows, quote};
use crate::machine::{Machine, Result};
use crate::modules::Context;
use std::time::{Duration, Instant};

/// While this file is there, clustercheck answers 503.
pub const DISABLED: &str = "/var/tmp/clustercheck.disabled";
/// Programs that ask for the file; without one of them it has no effect.
const PROGRAMS: [&str; 3] = ["/usr/local/sbin/clustercheck", "/usr/local/bin/clustercheck", "/usr/bin/clustercheck"];

/// Whether load balancers can be told by clustercheck.
pub fn has_clustercheck(machine: &Machine) -> Result<bool> {
    for program in PROGRAMS {
        if machine.exists(program)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a restart writes into it: what somebody else has written there is not ours to remove.
const OURS: &str = "drained by deploy for a restart\n";

/// Makes clustercheck answer 503.
pub fn disable(machine: &mut Machine, why: &str) -> Result<bool> {
    machine.write_file(DISABLED, format!("{why}\n").as_bytes(), &WriteOptions::default())
}

/// The same for a restart; a drain by hand is left as it is. Says whether it is ours to undo.
pub fn disable_for_restart(machine: &mut Machine) -> Result<bool> {
    if machine.exists(DISABLED)? {
        return is_ours(machine);
    }
    disable(machine, OURS.trim_end())?;
    Ok(true)
}

/// Whether a restart of ours has left it.
pub fn is_ours(machine: &Machine) -> Result<bool> {
    Ok(machine.read_file_if_exists(DISABLED, 4096)?.is_some_and(|text| text == OURS.as_bytes()))
}

/// Makes it tell the truth again.
pub fn enable(machine: &mut Machine) -> Result<bool> {
    match machine.exists(DISABLED)? {
        true => machine.remove(DISABLED),
        false => Ok(false),
    }
}

/// How many connections of applications the server has; nothing when it does not answer.
pub fn connections(machine: &Machine, login: &Login, ignored: &[String]) -> Option<u64> {
    let login = Login { patience: Some(10), timeout: Some(5), ..login.clone() };
    let mut server = machine.sql_try(&login).ok()?.ok()?;
    machine.sql_session(&mut server, "SET SESSION wsrep_sync_wait = 0").ok()?;
    let mut users = vec![quote("system user"), quote("event_scheduler"), quote("unauthenticated user")];
    users.extend(ignored.iter().map(|user| quote(user)));
    let rows = machine
        .sql_status(
            &mut server,
            &format!(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER NOT IN ({}) AND \
                 COMMAND NOT IN ('Daemon', 'Binlog Dump')",
                users.join(", ")
            ),
        )
        .ok()?;
    Rows::text(rows.rows.first()?, 0).parse().ok()
}

/// Waits until applications have gone, at most `limit`. How many are left.
pub fn wait(machine: &Machine, context: &mut Context<'_>, login: &Login, ignored: &[String], limit: Duration) -> u64 {
    let started = Instant::now();
    loop {
        let left = connections(machine, login, ignored).unwrap_or(0);
        if left == 0 || started.elapsed() >= limit {
            return left;
        }
        let text = format!("drained, {left} connections are left after {} s", started.elapsed().as_secs());
        context.controller.progress(&text, None, None);
        std::thread::sleep(Duration::from_millis(300));
    }
}
