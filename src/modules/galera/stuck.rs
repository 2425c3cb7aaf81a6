//! A node that waits for a donor which does not reach it: Galera itself waits for good, and does not even stop.

use crate::galera::NodeStatus;
use crate::machine::units::{Unit, UnitAction, UnitOptions};
use crate::machine::{Machine, Result};
use std::time::{Duration, Instant};

/// A donor tries for 134 s to reach the port (Galera 26.4.23: "IST sender, failed to connect"), and nobody tries after it.
const PATIENCE: Duration = Duration::from_secs(150);
/// A server that can stop without its donor has left after that.
const GOODBYE: Duration = Duration::from_secs(15);

/// Whether the donor of an incremental transfer comes.
#[derive(Default)]
pub struct Donor {
    /// The server that waits, and since when.
    since: Option<(u32, Instant)>,
}

impl Donor {
    /// By the log of this start as it is now: the server, process `pid`, has waited for so long that nobody will come.
    pub fn is_missing(&mut self, log: &str, pid: u32, now: Instant) -> bool {
        if !super::log::waits_for_donor(log) {
            self.since = None;
            return false;
        }
        // Another server has its own patience: what the one before waited for is over.
        let (_, since) = *match &mut self.since {
            Some(known) if known.0 == pid => known,
            other => other.insert((pid, now)),
        };
        now.duration_since(since) >= PATIENCE
    }
}

/// Why it does not go on, without a full stop.
pub fn sentence(status: Option<&NodeStatus>) -> String {
    let port = status.map_or(0, |status| status.ist_port);
    let port = if port == 0 { 4568 } else { port };
    format!(
        "the donor does not reach its port {port}, over which it gets what it missed (IST): is the firewall open? It waited \
         for {} s",
        PATIENCE.as_secs()
    )
}

/// Ends such a server, and says how. It leaves the group at once, but its process would wait for the donor for good, and
/// nothing could start it again. Before it is killed it is looked at once more: the very process that waited must still be
/// there, and still wait. It applies nothing in that state, and its position is recovered from its tables.
pub fn end(machine: &mut Machine, unit: &Unit, log_file: Option<&str>) -> Result<String> {
    let options = UnitOptions { no_block: true, ..UnitOptions::default() };
    let now = machine.unit(&unit.name, &UnitOptions::default())?;
    machine.act_on_unit(&now, UnitAction::Stop, &options, &mut |_| {})?;
    if gone(machine, unit, GOODBYE)? {
        return Ok("Its server was stopped.".into());
    }
    let now = machine.unit(&unit.name, &UnitOptions::default())?;
    let log = super::log::since_start(machine, &now, log_file);
    if now.main_pid != unit.main_pid || !super::log::waits_for_donor(&log) {
        return Ok(
            "Its server was told to stop and is not gone yet; it no longer waits for the donor, so it was left alone."
                .into(),
        );
    }
    machine.kill_unit(unit)?;
    match gone(machine, unit, GOODBYE)? {
        true => {
            Ok("Its server was told to stop, left the cluster, and was killed because it went on waiting; the next \
                    start recovers its position from its tables."
                .into())
        }
        false => Ok("Its server was told to stop and killed, and is still there.".into()),
    }
}

fn gone(machine: &Machine, unit: &Unit, limit: Duration) -> Result<bool> {
    let began = Instant::now();
    loop {
        if !machine.unit(&unit.name, &UnitOptions::default())?.is_stoppable() {
            return Ok(true);
        }
        if began.elapsed() > limit {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_donor_that_does_not_come_in_time() {
        let waits = "WSREP: Receiving IST: 102 writesets, seqnos 12-113\n";
        let goes_on = format!("{waits}WSREP: Receiving IST... 0.0% (0/4 events) complete.\n");
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut donor = Donor::default();
        for (seconds, log, pid, missing) in [
            (0, waits, 7, false),
            (149, waits, 7, false),
            (150, waits, 7, true),
            (151, goes_on.as_str(), 7, false),
            (400, waits, 7, false),
            (549, waits, 7, false),
            (550, waits, 7, true),
            // Another server.
            (551, waits, 8, false),
            (700, waits, 8, false),
            (701, waits, 8, true),
        ] {
            assert_eq!(donor.is_missing(log, pid, at(seconds)), missing, "{seconds}");
        }
        assert!(sentence(None).contains("4568"));
        let other = NodeStatus { ist_port: 5568, ..NodeStatus::default() };
        assert!(sentence(Some(&other)).contains("5568"));
    }
}
