//! Database servers that are restarted all at once.

use crate::lint::finding::Findings;
use crate::lint::load::Tree;
use crate::lint::rules;
use crate::lint::walk::{self, Visit};
use crate::source::{Node, Severity};
use regex_lite::Regex;
use std::collections::HashSet;
use std::sync::LazyLock;

#[allow(clippy::unwrap_used)] // written out
static COMMAND: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(?:systemctl\s+(?:-\S+\s+)*restart\s+|service\s+)(?:mariadb|mysqld?)\b(?:\S*\s+restart)?").unwrap()
});

/// Plays first: what a rolling play reaches is no mistake in the role that it uses.
pub fn all(tree: &Tree, findings: &mut Findings) {
    let mut judged = HashSet::new();
    let mut look = |visit: &Visit<'_>| {
        let place = (visit.task.file.path.clone(), visit.task.span.start);
        let Some(at) = restart(visit) else { return };
        let known = !judged.insert(place);
        let Some(play) = visit.play else {
            if !known {
                let diag = rules::CLUSTER_RESTART.breach("a database server is restarted here").at(&at.span);
                let mut diag = diag.with_note("no play of the tree says whether it is rolling");
                diag.severity = Severity::Note;
                findings.add(&rules::CLUSTER_RESTART, diag);
            }
            return;
        };
        if play.rolling.is_none() {
            let message = "a database server is restarted, and nothing waits until it is back in its cluster";
            let diag = rules::CLUSTER_RESTART.breach(message).at(&at.span);
            findings.add(&rules::CLUSTER_RESTART, diag.label(&play.span, "this play is not rolling"));
        }
    };
    walk::tasks(tree, &mut look);
}

/// Where a task restarts a database server.
fn restart<'a>(visit: &'a Visit<'_>) -> Option<&'a Node> {
    let action = &visit.task.action;
    match visit.short() {
        "service" | "systemd" | "systemd_service" | "sysvinit" => {
            let name = action.arg("name").or_else(|| action.arg("unit")).or_else(|| action.arg("service"))?;
            let text = name.as_str()?.to_ascii_lowercase();
            let database = ["mariadb", "mysql"].iter().any(|word| text.contains(word));
            // `garb`, the exporter and the backup hold no data.
            let other = ["exporter", "backup", "router"].iter().any(|word| text.contains(word));
            let state = action.arg("state").filter(|state| state.as_str().is_some_and(|s| s.contains("restarted")))?;
            (database && !other).then_some(state)
        }
        "command" | "shell" => {
            let text = action.free_form.as_ref().or_else(|| action.arg("cmd"))?;
            COMMAND.find(text.as_str()?).filter(|found| found.as_str().contains("restart")).map(|_| text)
        }
        _ => None,
    }
}
