//! What happens to a node after its turn failed and its files were put back.

/// What is known of the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// The node serves by itself: its server runs, is Synced and in the primary component.
    pub serving: bool,
    /// The server's process was started, stopped or restarted in this turn, or was to be.
    pub touched: bool,
    /// Something that the server reads was put back: it runs with what is gone, if it runs.
    pub put_back: bool,
    /// A package of the server was brought to a newer version in this turn.
    pub upgraded: bool,
    /// A server of the newer version has started on the data directory. Where it is not known: it has.
    pub newer_started: bool,
    /// Everything that can be undone was undone; false when the host refused or could not.
    pub complete: bool,
    /// The host answers.
    pub reachable: bool,
}

/// What is done with the node's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is restarted (or started) on the state before, and waited for.
    Restart,
    /// It serves and goes on; `owed` when it must be restarted some day, to work with what was put back.
    Keep {
        /// A restart is owed to it.
        owed: bool,
    },
    /// It stays out of the cluster, drained, and somebody has to look.
    StayOut(Why),
}

/// Why a node stays out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its data were touched by a newer server; the older one may not read them.
    NewerData,
    /// Its state before was not restored.
    Incomplete,
    /// It cannot be reached.
    Unreachable,
}

impl Decision {
    /// The sentence for the user, about `node`.
    pub fn sentence(self, node: &str) -> String {
        match self {
            Decision::Restart => format!("{node} does not serve: its server is started again on the state before"),
            Decision::Keep { owed: false } => format!("{node} serves with the state before"),
            Decision::Keep { owed: true } => format!(
                "{node} serves and is not restarted now, so it still works with what was taken back: a restart is owed"
            ),
            Decision::StayOut(Why::NewerData) => format!(
                "{node} stays out of the cluster: a newer server has started on its data, so its packages are not \
                 rolled back; repair the newer version there, or replace the node (replace-node.yml)"
            ),
            Decision::StayOut(Why::Incomplete) => format!(
                "{node} stays out of the cluster: its state before could not be restored, so its server is not started"
            ),
            Decision::StayOut(Why::Unreachable) => {
                format!("{node} cannot be reached, so nothing was rolled back there: `deploy rollback` does it later")
            }
        }
    }
}

/// Decides. A node is restarted only if it is not serving itself: while it serves, stopping it could only take away
/// from a cluster that has trouble already.
pub fn after_rollback(now: Situation) -> Decision {
    match now {
        Situation { reachable: false, .. } => Decision::StayOut(Why::Unreachable),
        // A node that serves goes on, whatever version it has.
        Situation { serving: true, put_back, touched, .. } => Decision::Keep { owed: put_back && touched },
        // Not ours: it was down before, or went down by itself and never was touched.
        Situation { touched: false, put_back: false, .. } => Decision::Keep { owed: false },
        Situation { upgraded: true, newer_started: true, .. } => Decision::StayOut(Why::NewerData),
        Situation { complete: false, .. } => Decision::StayOut(Why::Incomplete),
        // It does not serve, so the cluster loses nothing by its restart, and wins a member.
        _ => Decision::Restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_restarted_only_when_it_does_not_serve() {
        let base = Situation { touched: true, put_back: true, complete: true, reachable: true, ..Situation::default() };
        let table = [
            ("a bad option kept it down", base, Decision::Restart),
            (
                "another member died, this one is Synced",
                Situation { serving: true, ..base },
                Decision::Keep { owed: true },
            ),
            (
                "it serves, and only dynamic settings were changed",
                Situation { serving: true, touched: false, ..base },
                Decision::Keep { owed: false },
            ),
            (
                "it serves, nothing was changed",
                Situation { serving: true, put_back: false, ..base },
                Decision::Keep { owed: false },
            ),
            (
                "a newer server started and failed",
                Situation { upgraded: true, newer_started: true, ..base },
                Decision::StayOut(Why::NewerData),
            ),
            (
                "packages are newer, no newer server ever started",
                Situation { upgraded: true, ..base },
                Decision::Restart,
            ),
            (
                "upgraded, serving, the gate closed for another one",
                Situation { upgraded: true, newer_started: true, serving: true, ..base },
                Decision::Keep { owed: true },
            ),
            (
                "a file was changed by somebody",
                Situation { complete: false, ..base },
                Decision::StayOut(Why::Incomplete),
            ),
            ("no answer", Situation { reachable: false, ..base }, Decision::StayOut(Why::Unreachable)),
            (
                "the task failed before it changed anything, the node was down before",
                Situation { touched: false, put_back: false, ..base },
                Decision::Keep { owed: false },
            ),
            (
                "files were put back and the server died by itself",
                Situation { touched: false, ..base },
                Decision::Restart,
            ),
        ];
        for (what, situation, expected) in table {
            assert_eq!(after_rollback(situation), expected, "{what}");
            assert!(after_rollback(situation).sentence("db1").contains("db1"));
        }
    }
}
