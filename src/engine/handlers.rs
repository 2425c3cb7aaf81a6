//! The handlers of a play: which there are, which of them a name means, and who was notified.
//!
//! What is notified is a name. Which handlers it means is asked when they are flushed: of several of one name the last that was
//! brought into the play, so that what two included roles notify by one name is done once.

use super::frame::Frame;
use super::host::Host;
use super::play::{Batch, PlayRun};
use super::position::Position;
use super::variables::{self, At};
use super::walker::HostRun;
use crate::playbook::{Role, Step, Task};
use crate::source::Node;
use crate::template::display;
use std::collections::{HashMap, HashSet};
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

/// Where a handler stands among those of its play: where it was brought into it, by which of several that bring some there, and
/// its number among them. Their order is that in which they run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(Position, usize, usize);

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
    first: Vec<Arc<Handler>>,
    of_hosts: HashMap<Arc<str>, Vec<Arc<Handler>>>,
}

impl Included {
    fn lock(&self) -> MutexGuard<'_, Vec<Load>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Nobody has brought any.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// `host` has included a role at `at`.
    pub fn add(&self, at: &Position, host: &Arc<str>, handlers: Vec<Arc<Handler>>) {
        let mut loads = self.lock();
        if let Some(load) = loads.iter_mut().find(|load| load.at == *at && same(&load.first, &handlers)) {
            load.of_hosts.insert(host.clone(), handlers);
            return;
        }
        let place = loads.partition_point(|load| load.at <= *at);
        let of_hosts = HashMap::from([(host.clone(), handlers.clone())]);
        loads.insert(place, Load { at: at.clone(), first: handlers, of_hosts });
    }

    /// Those that were brought before `position`, as `host` has brought them; those that others alone have brought as they have.
    fn before(&self, position: &Position, host: &str) -> Vec<(Rank, Arc<Handler>)> {
        let loads = self.lock();
        let mut found = Vec::new();
        for (index, load) in loads.iter().enumerate().take_while(|(_, load)| load.at < *position) {
            let which = loads.iter().take(index).filter(|other| other.at == load.at).count();
            let own = load.of_hosts.get(host).unwrap_or(&load.first);
            let ranked = own.iter().enumerate().map(|(number, handler)| {
                let rank = Rank(load.at.clone(), which, number);
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
}

impl Asking<'_> {
    /// The handlers there are at `position`, in the order in which they run.
    pub fn handlers(&self, position: &Position) -> Vec<(Rank, Arc<Handler>)> {
        let read = self.play.handlers.iter().enumerate();
        let read = read.map(|(number, handler)| (Rank(Position::start(), 0, number), handler.clone()));
        read.chain(self.batch.included.before(position, &self.host.name)).collect()
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

    /// The handlers that the host was notified of and has not run, in order.
    pub fn owed(&self) -> Vec<Arc<Handler>> {
        let end = Position::end();
        let mut ranks = self.host.notified();
        for notification in self.host.notifications().into_iter().filter(|notification| notification.certainly) {
            let meant: Vec<Rank> = self.named(&notification.name, &end).into_iter().map(|(rank, _)| rank).collect();
            ranks.extend(if meant.is_empty() { notification.meant } else { meant });
        }
        self.handlers(&end).into_iter().filter(|(rank, _)| ranks.contains(rank)).map(|(_, handler)| handler).collect()
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
        Asking { play: &self.play, batch: &self.batch, host: &self.host }
    }

    /// The handlers there are at `position`.
    pub fn handlers(&self, position: &Position) -> Vec<(Rank, Arc<Handler>)> {
        self.asking().handlers(position)
    }

    /// A task at `position` notifies a name; says whether any handler answers to it. What a handler notifies is known at once: one
    /// that follows it is run in the same flush.
    pub fn notify(&self, name: &str, certainly: bool, position: &Position, by_handler: bool) -> bool {
        let meant = self.asking().named(name, position);
        let known = !meant.is_empty();
        if by_handler {
            meant.into_iter().for_each(|(rank, handler)| self.notified(&rank, &handler, certainly));
        } else if known {
            let ranks = meant.iter().map(|(rank, _)| rank.clone()).collect();
            let before = self.host.save_notification(name, certainly, ranks);
            if let Some(before) = before.filter(|_| certainly) {
                meant.iter().for_each(|(_, handler)| self.play.run.note_notified(&self.host.name, handler));
                self.replaced(&before, &meant, position);
            }
        }
        known
    }

    fn notified(&self, rank: &Rank, handler: &Handler, certainly: bool) {
        if self.host.notify(rank, certainly) && certainly {
            self.play.run.note_notified(&self.host.name, handler);
        }
    }

    /// What a name has meant before is not owed any more where it means others now: they run in its place.
    fn replaced(&self, before: &[Rank], now: &[(Rank, Arc<Handler>)], position: &Position) {
        let gone = |rank: &Rank| before.contains(rank) && now.iter().all(|(other, _)| other != rank);
        if !before.iter().any(gone) {
            return;
        }
        for (_, handler) in self.handlers(position).iter().filter(|(rank, _)| gone(rank)) {
            self.play.run.note_replaced(&self.host.name, handler, now.iter().map(|(_, handler)| handler));
        }
    }

    /// What was notified by name becomes the handlers that are meant by now.
    pub fn resolve_notifications(&self, position: &Position) {
        for Notification { name, certainly, meant } in self.host.take_notifications() {
            let mut now = self.asking().named(&name, position);
            if now.is_empty() {
                // Its name was made of what has changed since.
                now = self.handlers(position);
                now.retain(|(rank, _)| meant.contains(rank));
            }
            now.iter().for_each(|(rank, handler)| self.notified(rank, handler, certainly));
            if certainly {
                self.replaced(&meant, &now, position);
            }
        }
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
    fn names(included: &Included, at: usize, host: &str) -> Vec<String> {
        let found = included.before(&Position::start().child(at), host);
        assert!(found.is_sorted_by_key(|(rank, _)| rank.clone()));
        found.iter().map(|(_, handler)| handler.task.title()).collect()
    }

    #[test]
    fn handlers_stand_in_the_order_of_the_play_whoever_brings_them_first() {
        let (a, b) = (Arc::<str>::from("a"), Arc::<str>::from("b"));
        let at = |index| Position::start().child(index);
        let included = Included::default();
        let shared = read(&["one", "two"], "shared.yml");
        // `a` is ahead, and `b` brings the same at the same place with what is its own.
        included.add(&at(5), &a, read(&["late"], "late.yml"));
        included.add(&at(2), &a, shared.clone());
        let own: Vec<_> = shared
            .iter()
            .map(|handler| Arc::new(Handler { task: handler.task.clone(), frame: Frame::default() }))
            .collect();
        included.add(&at(2), &b, own.clone());
        // At one place, another role.
        included.add(&at(2), &b, read(&["other"], "other.yml"));
        assert_eq!(names(&included, 9, "a"), ["one", "two", "other", "late"]);
        assert_eq!(names(&included, 9, "b"), ["one", "two", "other", "late"]);
        assert_eq!(names(&included, 5, "b"), ["one", "two", "other"]);
        assert_eq!(names(&included, 2, "b"), [""; 0]);
        let seen = |host: &str| included.before(&at(9), host)[0].1.clone();
        assert!(Arc::ptr_eq(&seen("a"), &shared[0]) && Arc::ptr_eq(&seen("b"), &own[0]));
        // Who has not been there sees what the first has brought.
        assert!(Arc::ptr_eq(&seen("c"), &shared[0]));
    }
}
