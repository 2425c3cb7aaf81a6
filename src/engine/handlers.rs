//! The handlers of a play: which there are, which of them a name means, and who was notified.
//!
//! What is notified is a name. Which handlers it means is asked when they are flushed: of several of one name the last that was
//! brought into the play, so that what two included roles notify by one name is done once.

use super::frame::Frame;
use super::host::Host;
use super::owed::identity;
use super::play::{Batch, PlayRun};
use super::position::Position;
use super::variables::{self, At};
use super::walker::HostRun;
use crate::playbook::{Role, Step, Task};
use crate::source::Node;
use crate::template::display;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// A handler of the play, with what surrounds it.
pub struct Handler {
    /// The task.
    pub task: Arc<Task>,
    /// Its surroundings.
    pub frame: Frame,
}

impl Handler {
    /// The role it belongs to.
    pub fn role(&self) -> Option<&Arc<Role>> {
        self.task.role.as_ref().or(self.frame.role.as_ref())
    }
}

/// What tells a handler from the others of its play: where it was brought into it, by which of several that bring some there, and
/// its number among them. It stays the same while hosts come that bring others; the order in which handlers run is that of
/// [`Asking::handlers`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Position, usize, usize);

impl Rank {
    /// Of one that the play had from the beginning.
    pub fn of_play(number: usize) -> Rank {
        Rank(Position::start(), 0, number)
    }
}

/// A name that was notified, until the handlers are flushed.
#[derive(Clone)]
pub struct Notification {
    /// The name.
    pub name: String,
    /// False when a check could not tell whether it was notified.
    pub certainly: bool,
    /// The handlers that it meant then.
    pub meant: Vec<Rank>,
}

/// The handlers in steps.
pub fn collect(steps: &[Step], frame: &Frame) -> Vec<Arc<Handler>> {
    let mut found = Vec::new();
    for step in steps {
        match step {
            Step::Task(task) => found.push(Arc::new(Handler { task: task.clone(), frame: frame.clone() })),
            Step::Block(block) => {
                let mut inner = frame.inside(&block.keywords);
                inner.notify.extend(block.notify.iter().cloned());
                inner.role = block.role.clone().or(inner.role);
                found.extend(collect(&block.block, &inner));
            }
        }
    }
    found
}

/// The handlers that the roles bring which are included while a batch walks.
#[derive(Default)]
pub struct Included(Mutex<Vec<Load>>);

/// What one include brings. Each host includes for itself: the same handlers, with its own variables around them.
struct Load {
    at: Position,
    /// Which of those at this place it is, as they came.
    which: usize,
    /// By the numbers of the hosts in the batch; one at least.
    of_hosts: BTreeMap<usize, Vec<Arc<Handler>>>,
}

impl Load {
    /// Those of `host`, or those of the first in the batch that brings them.
    fn seen_by(&self, host: usize) -> &[Arc<Handler>] {
        self.of_hosts.get(&host).or_else(|| self.of_hosts.values().next()).map_or(&[], Vec::as_slice)
    }

    /// Its place among the loads of a batch. Which host comes first to an include says nothing: the order of the batch does.
    fn order(&self) -> (&Position, Option<&usize>, usize) {
        (&self.at, self.of_hosts.keys().next(), self.which)
    }
}

impl Included {
    fn lock(&self) -> MutexGuard<'_, Vec<Load>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Nobody has brought any.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The host of this number in the batch has included a role at `at`.
    pub fn add(&self, at: &Position, host: usize, handlers: Vec<Arc<Handler>>) {
        let mut loads = self.lock();
        let here = |load: &&mut Load| load.at == *at && same(load.seen_by(host), &handlers);
        if let Some(load) = loads.iter_mut().find(here) {
            load.of_hosts.insert(host, handlers);
        } else {
            let which = loads.iter().filter(|load| load.at == *at).count();
            loads.push(Load { at: at.clone(), which, of_hosts: BTreeMap::from([(host, handlers)]) });
        }
        loads.sort_by(|left, right| left.order().cmp(&right.order()));
    }

    /// Those that were brought before `position`, as the host of this number has brought them; those that others alone have
    /// brought as the first of them has, unless its `own` are asked for.
    fn before(&self, position: &Position, host: usize, own: bool) -> Vec<(Rank, Arc<Handler>)> {
        let loads = self.lock();
        let mut found = Vec::new();
        let seen = |load: &&Load| !own || load.of_hosts.contains_key(&host);
        for load in loads.iter().take_while(|load| load.at < *position).filter(seen) {
            let ranked = load.seen_by(host).iter().enumerate().map(|(number, handler)| {
                let rank = Rank(load.at.clone(), load.which, number);
                (rank, handler.clone())
            });
            found.extend(ranked);
        }
        found
    }
}

/// Whether these are written at the same places.
fn same(left: &[Arc<Handler>], right: &[Arc<Handler>]) -> bool {
    let place = |handler: &Arc<Handler>| (handler.task.span.file.path.clone(), handler.task.span.start);
    left.iter().map(place).eq(right.iter().map(place))
}

/// A host that notifies, or is asked what it was notified of.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The play.
    pub play: &'a Arc<PlayRun>,
    /// The batch.
    pub batch: &'a Arc<Batch>,
    /// The host.
    pub host: &'a Arc<Host>,
    /// Its number in the batch.
    pub index: usize,
    /// Only what the host itself has brought is there: it has left, and the others went on.
    pub own: bool,
}

impl Asking<'_> {
    /// The handlers there are at `position`, in the order in which they run.
    pub fn handlers(&self, position: &Position) -> Vec<(Rank, Arc<Handler>)> {
        let read = self.play.handlers.iter().enumerate();
        let read = read.map(|(number, handler)| (Rank::of_play(number), handler.clone()));
        read.chain(self.batch.included.before(position, self.index, self.own)).collect()
    }

    /// The handlers that a name means at `position`: one that is called so, and all that listen to it, each name once. The last
    /// list of handlers wins, and in a list the first.
    pub fn named(&self, name: &str, position: &Position) -> Vec<(Rank, Arc<Handler>)> {
        let all = self.handlers(position);
        let mut lists: Vec<_> = all.chunk_by(of_one_list).collect();
        lists.reverse();
        let order: Vec<&(Rank, Arc<Handler>)> = lists.into_iter().flatten().collect();
        let own_name = |handler: &Handler| {
            let written = handler.task.name.as_ref()?;
            self.shown(handler, written, position)
        };
        let called = |own: &str, handler: &Handler| {
            own == name
                || handler.role().is_some_and(|role| name.strip_prefix(&*role.name) == Some(&format!(" : {own}")))
        };
        let mut found: Vec<(Rank, Arc<Handler>)> = Vec::new();
        found.extend(
            order
                .iter()
                .find(|(_, handler)| own_name(handler).is_some_and(|own| !own.is_empty() && called(&own, handler)))
                .map(|entry| (*entry).clone()),
        );
        let mut heard = HashSet::new();
        for (rank, handler) in order {
            if !handler.task.listen.iter().any(|topic| self.listens(handler, topic, position, &called)) {
                continue;
            }
            let own = own_name(handler).filter(|own| !own.is_empty());
            if own.is_none_or(|own| heard.insert(own)) && found.iter().all(|(known, _)| known != rank) {
                found.push((rank.clone(), handler.clone()));
            }
        }
        found
    }

    fn listens(
        &self,
        handler: &Handler,
        topic: &Node,
        position: &Position,
        called: &impl Fn(&str, &Handler) -> bool,
    ) -> bool {
        match topic.as_seq() {
            Some(items) => items.iter().any(|item| self.listens(handler, item, position, called)),
            None => self.shown(handler, topic, position).is_some_and(|own| called(&own, handler)),
        }
    }

    /// A name or topic as the handler's own variables make it; nothing where they do not.
    fn shown(&self, handler: &Handler, node: &Node, position: &Position) -> Option<String> {
        if !node.has_template() {
            return node.scalar_text();
        }
        let stamp = super::host::Stamp { play: self.play.number, position: position.clone() };
        let (frame, task) = (&handler.frame, Some(&*handler.task));
        let scope = variables::scope(At {
            play: self.play,
            batch: Some(self.batch),
            host: self.host,
            frame,
            task,
            stamp: &stamp,
        });
        let evaluated = scope.templar().template_node(node, &scope).ok().filter(|evaluated| evaluated.is_known())?;
        Some(display(&evaluated.value))
    }

    /// A handler is to run; `noted` where the journal has it already.
    fn notified(&self, rank: &Rank, handler: &Handler, certainly: bool, noted: bool) {
        if self.host.notify(rank, certainly) && certainly && !noted {
            self.note_notified(handler);
        }
    }

    fn note_notified(&self, handler: &Handler) {
        self.play.run.note_notified(self.play.number, &self.host.name, handler);
    }

    /// What a name has meant before, and means no longer, is not owed by this run any more: others run in its place. Unless it
    /// is to run for another reason: another name means it, or an earlier run owes it.
    fn replaced(&self, before: &[Rank]) {
        let due = self.host.due();
        if before.iter().all(|rank| due.contains(rank)) {
            return;
        }
        let all = Asking { own: false, ..*self }.handlers(&Position::end());
        let (due, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(rank, _)| due.contains(rank));
        // One that was brought twice is one handler to the journal.
        let due: HashSet<_> = due.iter().map(|(_, handler)| identity(handler)).collect();
        for (_, handler) in rest.iter().filter(|(rank, _)| before.contains(rank)) {
            if !due.contains(&identity(handler)) {
                self.play.run.note_withdrawn(self.play.number, &self.host.name, handler);
            }
        }
    }

    /// What was notified by name becomes the handlers that are meant by now.
    pub fn resolve_notifications(&self, position: &Position) {
        let mut before = Vec::new();
        for Notification { name, certainly, meant } in self.host.take_notifications() {
            let mut now = self.named(&name, position);
            if now.is_empty() {
                // Its name was made of what has changed since.
                now = Asking { own: false, ..*self }.handlers(position);
                now.retain(|(rank, _)| meant.contains(rank));
            }
            for (rank, handler) in &now {
                self.notified(rank, handler, certainly, meant.contains(rank));
            }
            before.extend(meant.into_iter().filter(|_| certainly));
        }
        self.replaced(&before);
    }

    /// What the host was notified of and has not run, in order, once its play is over: a name is what it means by now, which
    /// the journal is told, too.
    pub fn settle_debts(&self) -> Vec<Arc<Handler>> {
        let end = Position::end();
        self.resolve_notifications(&end);
        let ranks = self.host.notified();
        let all = Asking { own: false, ..*self }.handlers(&end);
        all.into_iter().filter(|(rank, _)| ranks.contains(rank)).map(|(_, handler)| handler).collect()
    }
}

/// Whether two handlers that stand beside each other were read as one list: a role's handlers, or the play's own.
fn of_one_list((a, first): &(Rank, Arc<Handler>), (b, second): &(Rank, Arc<Handler>)) -> bool {
    let one_role = match (first.role(), second.role()) {
        (None, None) => true,
        (Some(first), Some(second)) => Arc::ptr_eq(first, second),
        _ => false,
    };
    (&a.0, a.1) == (&b.0, b.1) && one_role
}

impl HostRun {
    fn asking(&self) -> Asking<'_> {
        Asking { play: &self.play, batch: &self.batch, host: &self.host, index: self.index, own: false }
    }

    /// The handlers there are at `position`.
    pub fn handlers(&self, position: &Position) -> Vec<(Rank, Arc<Handler>)> {
        self.asking().handlers(position)
    }

    /// Whether any handler answers to a name by now.
    pub fn finds(&self, name: &str, position: &Position) -> bool {
        !self.asking().named(name, position).is_empty()
    }

    /// A task at `position` notifies a name; says whether any handler answers to it. What a handler notifies is known at once: one
    /// that follows it is run in the same flush.
    pub fn notify(&self, name: &str, certainly: bool, position: &Position, by_handler: bool) -> bool {
        let asking = self.asking();
        let meant = asking.named(name, position);
        let known = !meant.is_empty();
        if by_handler {
            meant.into_iter().for_each(|(rank, handler)| asking.notified(&rank, &handler, certainly, false));
        } else if known {
            let ranks = meant.iter().map(|(rank, _)| rank.clone()).collect();
            let before = self.host.save_notification(name, certainly, ranks);
            if let Some(before) = before {
                for (_, handler) in meant.iter().filter(|(rank, _)| !before.contains(rank)) {
                    asking.note_notified(handler);
                }
                asking.replaced(&before);
            }
        }
        known
    }

    /// A check does not know which handlers a task at `position` notifies: it may be any.
    pub fn perhaps_notifies_any(&self, position: &Position) {
        for (rank, _) in self.handlers(position) {
            self.host.notify(&rank, false);
        }
    }

    /// What was notified by name becomes the handlers that are meant by now.
    pub fn resolve_notifications(&self, position: &Position) {
        self.asking().resolve_notifications(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::{LoadOptions, RegisteredModules, TaskContext, load_tasks};
    use crate::source::Diags;

    fn read(names: &[&str], file: &str) -> Vec<Arc<Handler>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        let text: String = names.iter().map(|name| format!("- name: {name}\n  debug:\n")).collect();
        std::fs::write(&path, text).unwrap();
        let options = LoadOptions {
            modules: &RegisteredModules,
            vault: &|bytes, _| Ok(bytes.to_vec()),
            roles_path: Vec::new(),
            template: &|text, _| Ok(text.to_string()),
        };
        let steps = load_tasks(&path, &TaskContext::default(), &options, &mut Diags::new()).unwrap();
        collect(&steps, &Frame::default())
    }

    /// What two hosts see, at a place of the play.
    fn names(included: &Included, at: usize, host: usize) -> Vec<String> {
        let found = included.before(&Position::start().child(at), host, false);
        found.iter().map(|(_, handler)| handler.task.title()).collect()
    }

    #[test]
    fn handlers_stand_in_the_order_of_the_play_whoever_brings_them_first() {
        let (a, b, c) = (0, 1, 2);
        let at = |index| Position::start().child(index);
        let included = Included::default();
        let shared = read(&["one", "two"], "shared.yml");
        // `a` is ahead, and `b` brings the same at the same place with what is its own.
        included.add(&at(5), a, read(&["late"], "late.yml"));
        included.add(&at(2), a, shared.clone());
        let own: Vec<_> = shared
            .iter()
            .map(|handler| Arc::new(Handler { task: handler.task.clone(), frame: Frame::default() }))
            .collect();
        included.add(&at(2), b, own.clone());
        // At one place, another role.
        included.add(&at(2), b, read(&["other"], "other.yml"));
        assert_eq!(names(&included, 9, a), ["one", "two", "other", "late"]);
        assert_eq!(names(&included, 9, b), ["one", "two", "other", "late"]);
        assert_eq!(names(&included, 5, b), ["one", "two", "other"]);
        assert_eq!(names(&included, 2, b), [""; 0]);
        let seen = |host: usize| included.before(&at(9), host, false)[0].1.clone();
        assert!(Arc::ptr_eq(&seen(a), &shared[0]) && Arc::ptr_eq(&seen(b), &own[0]));
        // Who has not been there sees what the first has brought.
        assert!(Arc::ptr_eq(&seen(c), &shared[0]));
    }

    #[test]
    fn of_several_at_one_place_those_of_the_first_host_stand_first() {
        let at = Position::start().child(2);
        let roles = ["ra.yml", "rb.yml", "rc.yml"].map(|file| read(&[file], file));
        for arrivals in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let included = Included::default();
            arrivals.iter().for_each(|&host| included.add(&at, host, roles[host].clone()));
            assert_eq!(names(&included, 9, 1), ["ra.yml", "rb.yml", "rc.yml"], "{arrivals:?}");
        }
        // What was notified stays what it was when one comes that stands before it.
        let included = Included::default();
        included.add(&at, 2, roles[2].clone());
        let before = included.before(&Position::end(), 2, false);
        included.add(&at, 1, roles[1].clone());
        included.add(&at, 0, roles[2].clone());
        let after = included.before(&Position::end(), 2, false);
        assert_eq!(names(&included, 9, 2), ["rc.yml", "rb.yml"]);
        assert!(before[0].0 == after[0].0 && Arc::ptr_eq(&before[0].1, &after[0].1));
    }
}
