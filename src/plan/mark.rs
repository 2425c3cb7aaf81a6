//! What identifies a result, and a keyed digest of all that it says.

use super::Key;
use crate::engine::event::{HostResult, TaskStatus};
use crate::machine::{Change, ChangeKind, Domain, Facet};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Where a result stands: the same in every run of the same playbooks.
#[derive(Clone, Debug)]
pub struct Place {
    /// The host it was for.
    pub host: String,
    /// The host it was done on, where it was delegated.
    pub on: Option<String>,
    /// The play's number, from 1.
    pub play: u32,
    /// `file:line:column`.
    pub place: String,
    /// The task's name.
    pub task: String,
    /// The item of a loop.
    pub item: Option<String>,
    /// Digest of all that tells it from others, before anything was masked: [`Mark::of`].
    of: String,
    /// How many results of this host were the same so far.
    pub again: u32,
}

impl Place {
    /// What it is known by. Names may be masked, and two that look the same then are two.
    fn identity(&self) -> (u32, &str, &str, u32) {
        (self.play, &self.host, &self.of, self.again)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Place) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Place {}

impl std::hash::Hash for Place {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// What a result said, as digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Of its host, task and item.
    pub of: String,
    /// Of status, changes and notified handlers, of the host it was done on, and of what it looked at.
    pub whole: String,
    /// What each change leads to, whatever was there before.
    pub reached: Vec<Reached>,
}

/// What a change leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reached {
    /// Of the host, the subject and its aspect.
    pub of: String,
    /// Of the state; nothing where that is known only when it is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Mark {
    /// The mark of a result.
    pub fn of(result: &HostResult, key: &Key) -> Mark {
        // The name tells tasks of a file that is included twice apart.
        let of = serde_json::json!([result.host, result.task.place, result.task.name, result.item]);
        let beneath = &result.beneath;
        let changes: Vec<Change> = result.changes.iter().chain(&beneath.hidden).map(comparable).collect();
        let whole = serde_json::json!([result.status, changes, result.notified, result.delegated_to, beneath.observed]);
        let on = result.delegated_to.as_ref().unwrap_or(&result.host);
        let mut reached: Vec<Reached> = changes.iter().filter_map(|change| reached(change, on, key)).collect();
        reached.sort();
        reached.dedup();
        Mark {
            of: key.digest("place", of.to_string().as_bytes()),
            whole: key.digest("result", whole.to_string().as_bytes()),
            reached,
        }
    }

    /// Whether nothing was done that was not planned. What is missing is no deviation: a task that fails half-way has done a
    /// part of it, and what lies behind a failure (rescue, always) must go on.
    pub fn allows(&self, done: &Mark) -> bool {
        let fits = |planned: &Reached, done: &Reached| {
            planned.of == done.of && planned.to.as_ref().is_none_or(|to| done.to.as_ref() == Some(to))
        };
        done.reached.iter().all(|done| self.reached.iter().any(|planned| fits(planned, done)))
    }
}

/// What a certificate is described by and what follows from the moment it is made.
const OF_THE_MOMENT: [&str; 5] = ["valid from:", "valid to:", "serial:", "fingerprint:", "public key:"];

/// What a check calls a set of certificates that does not exist yet.
const FORESEEN: &str = "new";

/// A path in which a set of certificates has its place and not its name: that is its serial number, which nobody knows before.
fn lasting(path: &str) -> String {
    let is_hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_set = |part: &str| {
        let mut parts = part.split('.');
        part == FORESEEN || parts.next().is_some_and(|serial| is_hex(serial, 32)) && parts.all(|mark| is_hex(mark, 8))
    };
    path.split('/').map(|part| if is_set(part) { FORESEEN } else { part }).collect::<Vec<_>>().join("/")
}

/// The same change without what is made anew each time: keys, serial numbers, and the dates that follow from the moment.
fn comparable(change: &Change) -> Change {
    let mut change = change.clone();
    change.subject.name = lasting(&change.subject.name);
    let certificate = change.subject.domain == Domain::Pki;
    if let ChangeKind::Set { before, after, .. } = &mut change.kind {
        for facet in [before, after] {
            match facet {
                Facet::AtApply(what) => what.clear(),
                Facet::Value(serde_json::Value::String(text)) => {
                    // `link to SERIAL`
                    let words: Vec<String> = text.split(' ').map(lasting).collect();
                    *text = words.join(" ");
                }
                Facet::Text(text) if certificate => {
                    let lasting = |line: &&str| !OF_THE_MOMENT.iter().any(|word| line.starts_with(word));
                    *text = text.lines().filter(lasting).collect::<Vec<_>>().join("\n");
                }
                _ => {}
            }
        }
    }
    change
}

/// What a change leads to. That something happened counts, and not how it is told: before it does, nobody knows the process
/// id it will have.
fn reached(change: &Change, on: &str, key: &Key) -> Option<Reached> {
    let subject = &change.subject;
    let (of, to) = match &change.kind {
        ChangeKind::Set { aspect, after: Facet::AtApply(_) | Facet::Unknown, .. } => (aspect.as_str(), None),
        ChangeKind::Set { aspect, after, .. } => (aspect.as_str(), Some(serde_json::json!(after))),
        ChangeKind::Effect { .. } => ("effect", None),
        ChangeKind::Opaque => return None,
    };
    let of = serde_json::json!([on, subject, of]);
    Some(Reached {
        of: key.digest("subject", of.to_string().as_bytes()),
        to: to.map(|to| key.digest("state", serde_json::json!([of, to]).to_string().as_bytes())),
    })
}

/// Counts the results of a run, to give each its place.
#[derive(Default)]
pub struct Counter {
    play: u32,
    seen: HashMap<(u32, String), u32>,
}

impl Counter {
    /// Another play begins.
    pub fn play(&mut self) {
        self.play += 1;
    }

    /// The place of the next result, which may be masked; its mark was made before.
    pub fn place(&mut self, result: &HostResult, mark: &Mark) -> Place {
        let seen = self.seen.entry((self.play, mark.of.clone())).or_insert(0);
        let again = *seen;
        *seen += 1;
        Place {
            host: result.host.to_string(),
            on: result.delegated_to.as_ref().map(|on| on.to_string()),
            play: self.play,
            place: result.task.place.clone(),
            task: result.task.name.clone(),
            item: result.item.clone(),
            of: mark.of.clone(),
            again,
        }
    }
}

/// Whether a result says that something is changed.
pub(super) fn changes_something(result: &HostResult) -> bool {
    // A command that is said to change nothing was run by the check, too, where it is no change.
    let told = |change: &Change| change.subject.domain != Domain::Command || result.status != TaskStatus::Ok;
    result.status == TaskStatus::Changed || result.changes.iter().chain(&result.beneath.hidden).any(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Subject;

    fn set(domain: Domain, name: &str, after: Facet) -> Change {
        Change::set(Subject::new(domain, name), "content", Facet::Absent, after)
    }

    fn mark(changes: &[Change]) -> Mark {
        let key = Key::of(1);
        let changes: Vec<Change> = changes.iter().map(comparable).collect();
        let whole = key.digest("result", serde_json::json!(changes).to_string().as_bytes());
        let reached = changes.iter().filter_map(|change| reached(change, "a", &key)).collect();
        Mark { of: String::new(), whole, reached }
    }

    fn text(text: &str) -> Facet {
        Facet::Text(text.into())
    }

    #[test]
    fn what_is_done_is_held_against_what_is_planned() {
        let file = |name: &str, after| set(Domain::File, name, after);
        for (planned, done, expected) in [
            (vec![file("/a", text("1"))], vec![file("/a", text("1"))], true),
            (vec![file("/a", text("1"))], vec![file("/a", text("2"))], false),
            (vec![file("/a", text("1"))], vec![file("/a", text("1")), file("/b", text("1"))], false),
            (vec![file("/a", text("1")), file("/b", text("1"))], vec![file("/a", text("1"))], true),
            // A key that is made at apply may be any, but only there.
            (vec![file("/key", Facet::AtApply("a key".into()))], vec![file("/key", text("K"))], true),
            (vec![file("/key", Facet::AtApply("a key".into()))], vec![file("/other", text("K"))], false),
        ] {
            assert_eq!(mark(&planned).allows(&mark(&done)), expected, "{planned:?} {done:?}");
        }
    }

    #[test]
    fn a_set_is_planned_by_its_place() {
        let serial = "056e07476c73b9d4bde51993c223c077";
        for (path, expected) in [
            (format!("/etc/tls/{serial}/key.pem"), "/etc/tls/new/key.pem"),
            (format!("/etc/tls/{serial}.9b1e02aa"), "/etc/tls/new"),
            (format!("/etc/tls/x{serial}"), &format!("/etc/tls/x{serial}")),
            (format!("/etc/tls/{serial}.pem"), &format!("/etc/tls/{serial}.pem")),
        ] {
            assert_eq!(lasting(&path), expected);
        }
        let link = |to: &str| set(Domain::File, "/etc/tls/current", Facet::Value(format!("link to {to}").into()));
        assert!(mark(&[link("new")]).allows(&mark(&[link(serial)])));
        assert!(!mark(&[link("new")]).allows(&mark(&[link("elsewhere")])));
    }

    #[test]
    fn a_certificate_is_planned_by_what_lasts() {
        let certificate = |name: &str, minute: u32, serial: &str| {
            let told = format!("subject: /CN={name}\nvalid from: 2026-01-01 10:{minute}\nserial: {serial}\n");
            set(Domain::Pki, "cert.pem", text(&told))
        };
        let planned = mark(&[certificate("a", 10, "(known only at apply)")]);
        assert_eq!(planned.whole, mark(&[certificate("a", 11, "(known only at apply)")]).whole);
        assert!(planned.allows(&mark(&[certificate("a", 12, "7f")])));
        assert!(!planned.allows(&mark(&[certificate("b", 10, "7f")])));
    }
}
