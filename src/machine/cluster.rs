//! A Galera cluster's first start on this host, and what a check foresees of its membership.

use super::history::Entry;
use super::process::Watch;
use super::units::{Scope, UnitAction};
use super::{Change, Command, Domain, Facet, Machine, MachineError, Mode, Result, Subject, Undo};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a check foresees.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cluster {
    /// The host would be a member, as the first one or after it was waited for.
    member: bool,
    /// It may or may not.
    unknown: bool,
}

/// Left behind by a bootstrap that was cut off, it would make the next start a bootstrap too.
const MARK: &str = "/run/mysqld/wsrep-new-cluster";
const VARIABLE: &str = "_WSREP_NEW_CLUSTER";

impl Machine {
    /// Starts the server as the first member of a new cluster. `unit` is the server's unit.
    pub fn start_new_cluster(
        &mut self,
        unit: &str,
        cluster: &str,
        limit: Duration,
        progress: &mut dyn FnMut(Duration, &str),
    ) -> Result<()> {
        let before = self.unit(unit, &Default::default())?;
        if self.predicted() {
            self.foresee_member();
            self.foresee_unit(&before.name, Some(true), None);
        } else {
            if !self.has_program("galera_new_cluster") {
                return Err(MachineError::MissingProgram {
                    program: "galera_new_cluster".into(),
                    hint: "; install the package mariadb-server (and galera-4)".into(),
                });
            }
            self.log(Entry::Unit {
                unit: before.name.clone(),
                scope: Scope::System,
                action: if before.is_running() { UnitAction::Restart } else { UnitAction::Start },
                running: before.is_running(),
            });
            let watch = Watch { timeout: Some(limit), progress };
            let output = self.run_watched(&Command::new(["galera_new_cluster"]), watch)?;
            self.forget_bootstrap()?;
            if !output.success() {
                let said = output.stderr_text();
                return Err(MachineError::failed(format!("galera_new_cluster failed: {}", said.trim())));
            }
        }
        let subject = Subject::new(Domain::Unit, before.name.clone());
        let mut change = match before.is_running() {
            true => Change::effect(subject, "restarted", Undo::None),
            false => Change::set(subject, "state", Facet::Value("stopped".into()), Facet::Value("started".into())),
        };
        change.inferred = before.predicted;
        change.undo = Undo::Compensating;
        self.record(change);
        self.record(Change::effect(
            Subject::new(Domain::Cluster, cluster),
            "bootstrapped: this host is its first member",
            Undo::None,
        ));
        Ok(())
    }

    /// Recovers the position of a server that did not stop in order, by the server's own means: `uuid:seqno`, and
    /// nothing where its data tells none. It does what every start does first, and nothing else.
    ///
    /// # Errors
    /// In a check it is unknown: the recovery writes into the data directory.
    pub fn recover_position(
        &mut self,
        limit: Duration,
        progress: &mut dyn FnMut(Duration, &str),
    ) -> Result<Option<(String, i64)>> {
        if self.predicted() {
            return Err(MachineError::unknown(
                "the position of a server that crashed is known only after its recovery, which a check does not run",
            ));
        }
        let words = ["mariadbd", "--user=mysql", "--wsrep-recover", "--disable-log-error"];
        let watch = Watch { timeout: Some(limit), progress };
        let output = self.run_watched(&Command::new(words), watch)?;
        let text = output.stderr_text();
        let position = recovered_position(&text);
        if position.is_none() && !output.success() {
            let last: Vec<&str> = text.lines().filter(|line| line.contains("[ERROR]")).collect();
            let last = last.last().copied().or_else(|| text.lines().last()).unwrap_or("it said nothing");
            return Err(MachineError::failed(format!("`mariadbd --wsrep-recover` failed: {}", last.trim())));
        }
        self.record(Change::effect(
            Subject::new(Domain::Cluster, "position"),
            "recovered from the data directory, as at every start",
            Undo::None,
        ));
        Ok(position)
    }

    /// Makes sure that the next start is an ordinary one.
    fn forget_bootstrap(&self) -> Result<()> {
        match std::fs::remove_file(MARK) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(MachineError::io(format!("cannot remove {MARK}"), error)),
        }
        // Older versions of the script set the manager's environment and may leave it set.
        if self.has_program("systemctl") {
            let shown = self.run_process(&Command::new(["systemctl", "show-environment"]))?.stdout_text();
            if shown.lines().any(|line| line.starts_with(VARIABLE)) {
                let output = self.run_process(&Command::new(["systemctl", "unset-environment", VARIABLE]))?;
                if !output.success() {
                    return Err(MachineError::failed(format!(
                        "{VARIABLE} is still set in systemd's environment, so that the next start of the server would \
                         make another cluster: run `systemctl unset-environment {VARIABLE}`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// In a check: the host would be a member.
    pub fn foresee_member(&mut self) {
        let tainted = self.mode() == Mode::Tainted;
        let cluster = &mut self.predictions.cluster;
        cluster.unknown |= tainted;
        cluster.member |= !tainted;
    }

    /// Whether a check foresees that the host is a member.
    pub fn foresees_member(&self) -> Result<bool> {
        if !self.predicted() {
            return Ok(false);
        }
        let cluster = &self.predictions.cluster;
        if cluster.unknown && !cluster.member {
            return Err(MachineError::unknown("it is not known whether the host would have joined the cluster"));
        }
        Ok(cluster.member)
    }
}

/// `Recovered position: UUID:SEQNO`, with a GTID behind it where `wsrep_gtid_mode` is on.
fn recovered_position(text: &str) -> Option<(String, i64)> {
    let line = text.lines().rev().find_map(|line| line.split_once("Recovered position:"))?.1.trim();
    let (uuid, rest) = line.split_once(':')?;
    let seqno = rest.split([',', ' ']).next()?;
    Some((uuid.to_string(), seqno.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::recovered_position;

    #[test]
    fn positions_in_the_servers_log() {
        let uuid = "6f5c3a52-0000-11ee-8000-aaaaaaaaaaaa";
        for (said, seqno) in [("47", 47), ("47,0-1-7", 47), ("-1", -1)] {
            let text = format!("x\n2026-01-01 0:00:00 0 [Note] WSREP: Recovered position: {uuid}:{said}\ny\n");
            assert_eq!(recovered_position(&text), Some((uuid.into(), seqno)));
        }
        assert_eq!(recovered_position("[ERROR] InnoDB: torn"), None);
        assert_eq!(recovered_position("WSREP: Recovered position: torn"), None);
    }
}
