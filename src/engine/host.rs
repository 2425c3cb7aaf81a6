//! One host for the whole run: what it has become known by, and how it fares.

use super::event::{Counters, TaskStatus};
use super::handlers::{Notification, Rank};
use super::position::Position;
use crate::template::{Layer, Raw, Value};
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

/// When something was set: the play's number, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Number of the play in the run.
    pub play: usize,
    /// Position in the play.
    pub position: Position,
}

/// Which of a host's layers a variable was put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ansible_facts` and the variables made of them.
    Fact,
    /// `include_vars`.
    Included,
    /// `set_fact` and `register`.
    Assigned,
}

/// Why a host takes part no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// A task failed.
    Failed,
    /// It could not be reached.
    Unreachable,
}

/// The layers a run adds to a host's variables.
#[derive(Clone, Default)]
pub struct Layers {
    /// Facts, below the play's variables.
    pub facts: Arc<Layer>,
    /// `include_vars`.
    pub included: Arc<Layer>,
    /// `set_fact` and registered results.
    pub assigned: Arc<Layer>,
}

impl Layers {
    fn of(&mut self, kind: Kind) -> &mut Layer {
        Arc::make_mut(match kind {
            Kind::Fact => &mut self.facts,
            Kind::Included => &mut self.included,
            Kind::Assigned => &mut self.assigned,
        })
    }
}

#[derive(Default)]
struct Data {
    layers: Layers,
    /// Everything that was set, so that other hosts see what stood at their own place in the play.
    history: Vec<(Stamp, Kind, Arc<str>, Raw)>,
    counters: Counters,
    /// How many of its failures do not count at the end of the run (`meta: clear_host_errors`).
    forgiven: u32,
    /// A failure was forgiven before the host had left for it.
    pardoned: bool,
    gone: Option<Gone>,
    notifications: Vec<Notification>,
    notified: BTreeSet<Rank>,
    perhaps_notified: BTreeSet<Rank>,
}

/// A host in a run.
pub struct Host {
    /// Its inventory name.
    pub name: Arc<str>,
    data: Mutex<Data>,
}

impl Host {
    /// A host of which nothing is known yet.
    pub fn new(name: Arc<str>) -> Self {
        Host { name, data: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The layers as they are now.
    pub fn layers(&self) -> Layers {
        self.lock().layers.clone()
    }

    /// The layers as they were before `stamp`: this host may have run ahead of the one that asks.
    pub fn layers_before(&self, stamp: &Stamp) -> Layers {
        let data = self.lock();
        if data.history.iter().all(|(set, ..)| set < stamp) {
            return data.layers.clone();
        }
        let mut layers = Layers::default();
        for (_, kind, name, raw) in data.history.iter().filter(|(set, ..)| set < stamp) {
            layers.of(*kind).insert(name.clone(), raw.clone());
        }
        layers
    }

    /// Sets a variable.
    pub fn set(&self, stamp: &Stamp, kind: Kind, name: &str, raw: Raw) {
        let name: Arc<str> = name.into();
        let mut data = self.lock();
        // An answer may come after a later task that needed no host has set the same variable.
        let later =
            |(set, old_kind, old, _): &(Stamp, Kind, Arc<str>, Raw)| set > stamp && *old_kind == kind && *old == name;
        if !data.history.iter().any(later) {
            data.layers.of(kind).insert(name.clone(), raw.clone());
        }
        // A pending result and the result itself are one entry.
        data.history.retain(|(set, old_kind, old, _)| !(set == stamp && *old_kind == kind && *old == name));
        data.history.push((stamp.clone(), kind, name, raw));
    }

    /// Takes back what is awaited under `name` since `stamp` and will not come; what was there before is there again.
    pub fn forget_pending(&self, stamp: &Stamp, kind: Kind, name: &str) {
        let mut data = self.lock();
        let is = |(_, of, called, _): &&(Stamp, Kind, Arc<str>, Raw)| *of == kind && **called == *name;
        data.history.retain(|entry| !(is(&entry) && entry.0 == *stamp && matches!(entry.3, Raw::Pending(_))));
        let before =
            data.history.iter().filter(is).max_by(|one, other| one.0.cmp(&other.0)).map(|(.., raw)| raw.clone());
        match before {
            Some(raw) => data.layers.of(kind).insert(name.into(), raw),
            None => data.layers.of(kind).shift_remove(name),
        };
    }

    /// Adds facts: under `ansible_facts` without their prefix, and as variables with it, as Ansible injects them.
    pub fn set_facts(&self, stamp: &Stamp, facts: &serde_json::Map<String, serde_json::Value>) {
        let mut all: IndexMap<String, Value> = IndexMap::new();
        if let Some(Raw::Value(known)) = self.lock().layers.facts.get("ansible_facts")
            && let Ok(keys) = known.try_iter()
        {
            for key in keys {
                if let (Some(name), Ok(value)) = (key.as_str(), known.get_item(&key)) {
                    all.insert(name.to_string(), value);
                }
            }
        }
        for (name, value) in facts {
            let value = crate::template::from_json(value);
            // The administrators' own facts keep their name in both places.
            let short = name.strip_prefix("ansible_").filter(|name| *name != "local").unwrap_or(name);
            all.insert(short.to_string(), value.clone());
            // As a variable it has the name that the module has given it.
            self.set(stamp, Kind::Fact, name, Raw::Value(value));
        }
        self.set(
            stamp,
            Kind::Fact,
            "ansible_facts",
            Raw::Value(Value::from_pairs(all.into_iter().map(|(name, value)| (Value::from(name), value)))),
        );
    }

    /// Facts that a check cannot tell: nothing of what was known of them holds any more.
    pub fn set_unknown_facts(&self, stamp: &Stamp, names: &[String], reason: &str) {
        let mut known = Vec::new();
        if let Some(Raw::Value(facts)) = self.lock().layers.facts.get("ansible_facts")
            && let Some(pairs) = facts.as_object().and_then(|facts| facts.try_iter_pairs())
        {
            known.extend(pairs.filter_map(|(name, value)| Some((Arc::<str>::from(name.as_str()?), value))));
        }
        let short: Vec<&str> = names.iter().map(|name| name.strip_prefix("ansible_").unwrap_or(name)).collect();
        for name in &short {
            self.set(stamp, Kind::Fact, &injected(name), Raw::Unknown(reason.into()));
        }
        let facts = crate::template::result_with_unknown("ansible_facts", known, short, reason);
        self.set(stamp, Kind::Fact, "ansible_facts", Raw::Value(facts));
    }

    /// Forgets facts and, if asked, nothing else (`meta: clear_facts`).
    pub fn clear_facts(&self) {
        let mut data = self.lock();
        data.layers.facts = Arc::default();
        data.history.retain(|(_, kind, ..)| *kind != Kind::Fact);
    }

    /// Why it takes part no longer, if so.
    pub fn gone(&self) -> Option<Gone> {
        self.lock().gone
    }

    /// It takes part no longer; the first reason stands. A failure that was forgiven while its handlers were forced is none.
    pub fn leave(&self, why: Gone) {
        let mut data = self.lock();
        if why != Gone::Failed || !std::mem::take(&mut data.pardoned) {
            data.gone.get_or_insert(why);
        }
    }

    /// It has failed: what was forgiven before is no matter of this.
    pub fn fails(&self) {
        self.lock().pardoned = false;
    }

    /// It may take part again (`meta: clear_host_errors`).
    pub fn forgive(&self) {
        let mut data = self.lock();
        data.pardoned = data.gone.take().is_none() && data.counters.failed > data.forgiven;
        data.forgiven = data.counters.failed;
    }

    /// Counts a result. `changed` is what the result says of itself: a failure that is ignored may have changed something.
    pub fn count(&self, status: TaskStatus, changed: bool, ignored: bool) {
        let mut data = self.lock();
        let c = &mut data.counters;
        match status {
            TaskStatus::Ok => c.ok += 1,
            TaskStatus::Changed => {
                c.ok += 1;
                c.changed += 1;
            }
            TaskStatus::Skipped => c.skipped += 1,
            TaskStatus::Unknown => c.unknown += 1,
            TaskStatus::Failed | TaskStatus::Unreachable if ignored => {
                c.ok += 1;
                c.ignored += 1;
                c.changed += u32::from(changed);
            }
            TaskStatus::Failed => c.failed += 1,
            TaskStatus::Unreachable => c.unreachable += 1,
        }
    }

    /// A failure is taken by a rescue section: it no longer counts as one, whatever comes of the rescue.
    pub fn rescued(&self) {
        let mut data = self.lock();
        data.counters.rescued += 1;
        data.counters.failed = data.counters.failed.saturating_sub(1);
    }

    /// Whether it failed, and nothing has forgiven it since.
    pub fn failed(&self) -> bool {
        let data = self.lock();
        data.gone == Some(Gone::Failed) || data.counters.failed > data.forgiven
    }

    /// What it counted so far.
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// Keeps a name that was notified, with the handlers it means now; `certainly` is false when a check could not tell. Where
    /// it was notified for certain, and anything of that is new, what it has meant for certain before comes back.
    pub fn save_notification(&self, name: &str, certainly: bool, meant: Vec<Rank>) -> Option<Vec<Rank>> {
        let mut data = self.lock();
        let Some(known) = data.notifications.iter_mut().find(|known| known.name == name) else {
            data.notifications.push(Notification { name: name.to_string(), certainly, meant });
            return certainly.then(Vec::new);
        };
        let was_certain = known.certainly;
        known.certainly |= certainly;
        let new = known.certainly && (!was_certain || meant != known.meant);
        let before = std::mem::replace(&mut known.meant, meant);
        new.then(|| if was_certain { before } else { Vec::new() })
    }

    /// All handlers that are to run: those that were notified, and those that the saved names mean.
    pub fn due(&self) -> BTreeSet<Rank> {
        let data = self.lock();
        let saved = data.notifications.iter().filter(|notification| notification.certainly);
        data.notified.iter().chain(saved.flat_map(|notification| &notification.meant)).cloned().collect()
    }

    /// The names that were notified since the last flush, which become handlers now.
    pub fn take_notifications(&self) -> Vec<Notification> {
        std::mem::take(&mut self.lock().notifications)
    }

    /// Notifies a handler; `certainly` is false when a check could not tell. Says whether it was not notified yet.
    pub fn notify(&self, handler: &Rank, certainly: bool) -> bool {
        let mut data = self.lock();
        match certainly {
            true => data.notified.insert(handler.clone()),
            false => data.perhaps_notified.insert(handler.clone()),
        }
    }

    /// Takes a handler off the list; says whether it was notified, and whether certainly.
    pub fn take_notified(&self, handler: &Rank) -> Option<bool> {
        let mut data = self.lock();
        let perhaps = data.perhaps_notified.remove(handler);
        if data.notified.remove(handler) { Some(true) } else { perhaps.then_some(false) }
    }

    /// Handlers notified and not run.
    pub fn notified(&self) -> BTreeSet<Rank> {
        self.lock().notified.clone()
    }

    /// Forgets what was notified: handlers belong to one play.
    pub fn forget_notified(&self) {
        let mut data = self.lock();
        data.notifications.clear();
        data.notified.clear();
        data.perhaps_notified.clear();
    }
}

/// The variable that a fact is found in, too: what modules call `packages`, `services` and `getent_passwd` has no prefix.
fn injected(fact: &str) -> String {
    match fact {
        "packages" | "services" => fact.to_string(),
        fact if fact.starts_with("getent_") => fact.to_string(),
        fact => format!("ansible_{fact}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(index: usize) -> Stamp {
        Stamp { play: 0, position: Position::start().child(index) }
    }

    #[test]
    fn others_see_what_stood_at_their_place() {
        let host = Host::new("db1".into());
        host.set(&stamp(1), Kind::Assigned, "x", Raw::Value(Value::from(1)));
        host.set(&stamp(5), Kind::Assigned, "x", Raw::Value(Value::from(5)));
        let value = |layers: Layers| match layers.assigned.get("x") {
            Some(Raw::Value(value)) => Some(value.to_string()),
            _ => None,
        };
        assert_eq!(value(host.layers()), Some("5".into()));
        assert_eq!(value(host.layers_before(&stamp(3))), Some("1".into()));
        assert_eq!(value(host.layers_before(&stamp(1))), None);
    }

    #[test]
    fn a_name_that_means_others_tells_what_it_has_meant_for_certain() {
        let host = Host::new("db1".into());
        let rank = |number| Rank::of_play(number);
        // A check that could not tell owes nothing.
        assert_eq!(host.save_notification("x", false, vec![rank(1)]), None);
        assert!(host.due().is_empty());
        assert_eq!(host.save_notification("x", true, vec![rank(1)]), Some(vec![]));
        assert_eq!(host.save_notification("x", true, vec![rank(1)]), None);
        assert_eq!(host.save_notification("topic", true, vec![rank(1), rank(3)]), Some(vec![]));
        // What it means now it means for certain, whoever has said it.
        assert_eq!(host.save_notification("x", false, vec![rank(2)]), Some(vec![rank(1)]));
        assert!(host.due().into_iter().eq([rank(1), rank(2), rank(3)]));
        host.take_notifications();
        host.notify(&rank(4), true);
        assert!(host.due().into_iter().eq([rank(4)]));
    }

    #[test]
    fn facts_have_both_names_and_add_up() {
        let host = Host::new("db1".into());
        let facts = |json: serde_json::Value| json.as_object().unwrap().clone();
        host.set_facts(&stamp(0), &facts(serde_json::json!({"ansible_os_family": "Debian"})));
        host.set_facts(&stamp(1), &facts(serde_json::json!({"packages": {"a": 1}})));
        let layers = host.layers();
        assert!(layers.facts.contains_key("ansible_os_family") && layers.facts.contains_key("packages"));
        let Some(Raw::Value(all)) = layers.facts.get("ansible_facts") else { panic!() };
        assert_eq!(all.get_attr("os_family").unwrap().to_string(), "Debian");
        assert!(!all.get_attr("packages").unwrap().is_undefined());
        // One that a check cannot tell leaves the others known.
        host.set_unknown_facts(&stamp(2), &["getent_passwd".into()], "made by an earlier task");
        let layers = host.layers();
        assert!(matches!(layers.facts.get("getent_passwd"), Some(Raw::Unknown(_))));
        let Some(Raw::Value(all)) = layers.facts.get("ansible_facts") else { panic!() };
        assert_eq!(all.get_attr("os_family").unwrap().to_string(), "Debian");
        let unknown: Vec<String> = crate::template::unknowns_in(all).into_iter().map(|touch| touch.path).collect();
        assert_eq!(unknown, ["ansible_facts.getent_passwd"]);
    }
}
