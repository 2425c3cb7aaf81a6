//! What a run changes is put back: files, directories, links, attributes; and what somebody else changed is respected.

use super::store::directory_of;
use super::{Entry, History, Leave, Rollback, RunTurn};
use crate::machine::accounts::GroupWish;
use crate::machine::files::{Attributes, Kind, WriteOptions};
use crate::machine::units::{Unit, UnitAction};
use crate::machine::{Machine, Mode, Undo};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

fn of(run: &str, turn: u32) -> RunTurn {
    RunTurn { run: run.into(), turn }
}

/// A directory to change, and a run of its own.
struct Scene {
    root: tempfile::TempDir,
    run: String,
}

impl Scene {
    fn new() -> Scene {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let run = format!("test-{}-{number}", std::process::id());
        let _ = std::fs::remove_dir_all(directory_of(&run).unwrap());
        Scene { root: tempfile::tempdir().unwrap(), run }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Changes something as a task of the run's `turn` would.
    fn task(&self, turn: u32, change: impl FnOnce(&mut Machine)) {
        let mut machine = Machine::new(Mode::Live);
        machine.begin_history(&self.run, turn, "a task");
        change(&mut machine);
        assert_eq!(machine.end_history(), None);
    }

    fn roll_back(&self, mode: Mode, turn: Option<u32>, force: bool) -> (Rollback, usize) {
        let mut machine = Machine::new(mode);
        let other = format!("{}-back", self.run);
        machine.begin_history(if mode == Mode::Live { &other } else { "" }, 0, "rollback");
        let report =
            machine.roll_back(&[of(&self.run, turn.unwrap_or(0))], force, Leave::Servers, &mut |_| {}).unwrap();
        assert_eq!(machine.end_history(), None);
        (report, machine.take_changes().len())
    }

    /// Everything below the directory: kind, mode, owner, contents or target.
    fn look(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.root.path().to_path_buf()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(&directory).unwrap().flatten() {
                let (path, m) = (entry.path(), entry.path().symlink_metadata().unwrap());
                let what = match Kind::of(&m) {
                    Kind::Link => format!("→ {}", std::fs::read_link(&path).unwrap().display()),
                    Kind::Directory => {
                        todo.push(path.clone());
                        format!("{:o}", m.mode())
                    }
                    _ => format!("{:o} {}", m.mode(), std::fs::read_to_string(&path).unwrap()),
                };
                found.insert(path, format!("{}:{} {what}", m.uid(), m.gid()));
            }
        }
        found
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for run in [self.run.clone(), format!("{}-back", self.run)] {
            let _ = std::fs::remove_dir_all(directory_of(&run).unwrap());
        }
    }
}

impl Kind {
    fn of(m: &std::fs::Metadata) -> Kind {
        crate::machine::files::Stat::from(m).kind
    }
}

fn with_mode(mode: u32) -> WriteOptions {
    WriteOptions { attributes: Attributes { mode: Some(mode), ..Attributes::default() }, ..WriteOptions::default() }
}

/// A run that does a bit of everything, several times to the same path.
fn change_everything(scene: &Scene, turn: u32) {
    scene.task(turn, |machine| {
        machine.write_file(scene.path("app.conf"), b"one\n", &with_mode(0o600)).unwrap();
        machine.make_directories(scene.path("new/deep"), &Attributes::default()).unwrap();
        machine.write_file(scene.path("new/deep/file"), b"x", &with_mode(0o644)).unwrap();
        machine.make_link(scene.path("link"), "elsewhere").unwrap();
    });
    scene.task(turn, |machine| {
        let backup = WriteOptions { backup: true, ..with_mode(0o640) };
        machine.write_file(scene.path("app.conf"), b"two\n", &backup).unwrap();
        machine.remove(scene.path("gone")).unwrap();
        machine.remove(scene.path("emptydir")).unwrap();
        machine.make_link(scene.path("waslink"), "new").unwrap();
        machine.make_link(scene.path("wasfile"), "new").unwrap();
        let attributes = Attributes { mode: Some(0o600), ..Attributes::default() };
        machine.set_attributes(scene.path("modes"), &attributes, true).unwrap();
        machine.rename(scene.path("from"), scene.path("to")).unwrap();
    });
}

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("app.conf", "zero\n", 0o664);
    scene.write("gone", "was here\n", 0o604);
    scene.write("wasfile", "text\n", 0o644);
    scene.write("modes", "m", 0o755);
    scene.write("from", "f", 0o640);
    scene.write("to", "t", 0o600);
    scene.write("other", "not ours", 0o644);
    std::fs::create_dir(scene.path("emptydir")).unwrap();
    std::fs::set_permissions(scene.path("emptydir"), PermissionsExt::from_mode(0o2750)).unwrap();
    std::os::unix::fs::symlink("old", scene.path("waslink")).unwrap();
    scene
}

#[test]
fn everything_is_put_back_and_a_second_time_nothing() {
    let scene = scene();
    let before = scene.look();
    change_everything(&scene, 0);
    let changed = scene.look();
    assert_ne!(changed, before);
    let (foretold, count) = scene.roll_back(Mode::Predicted, None, false);
    assert_eq!(scene.look(), changed, "a check touches nothing");
    let (report, real) = scene.roll_back(Mode::Live, None, false);
    assert_eq!((report.not_undone.clone(), report.refused.clone()), (vec![], vec![]));
    assert_eq!(foretold, report);
    assert_eq!(count, real, "the check says what the rollback does");
    assert_eq!(scene.look(), before);
    let (second, changes) = scene.roll_back(Mode::Live, None, false);
    assert_eq!(changes, 0);
    assert!(second.known && second.settled.is_some());
    // The rollback was a run too: it can be taken back.
    let back = Scene { root: tempfile::tempdir().unwrap(), run: format!("{}-back", scene.run) };
    let (report, _) = back.roll_back(Mode::Live, None, false);
    assert_eq!(report.not_undone, []);
    assert_eq!(scene.look(), changed);
}

#[test]
fn a_turn_alone_is_put_back() {
    let scene = scene();
    scene.task(1, |machine| drop(machine.write_file(scene.path("app.conf"), b"first turn\n", &with_mode(0o644))));
    let first = scene.look();
    change_everything(&scene, 2);
    let (report, _) = scene.roll_back(Mode::Live, Some(2), false);
    assert_eq!(report.not_undone, []);
    assert_eq!(scene.look(), first);
}

#[test]
fn a_turn_that_was_cut_off_and_taken_up_again_is_put_back_whole() {
    let (killed, resumed) = (scene(), Scene::new());
    killed.task(1, |machine| drop(machine.write_file(killed.path("app.conf"), b"first play\n", &with_mode(0o644))));
    let before = killed.look();
    change_everything(&killed, 2);
    // Much is found done; and the resumed run has a turn of the same number in another play.
    resumed.task(2, |machine| drop(machine.write_file(killed.path("more"), b"more\n", &with_mode(0o644))));
    resumed.task(1, |machine| drop(machine.write_file(killed.path("app.conf"), b"again\n", &with_mode(0o644))));
    let mut machine = Machine::new(Mode::Live);
    let turns = [of(&killed.run, 2), of(&resumed.run, 1)];
    let report = machine.roll_back(&turns, false, Leave::Servers, &mut |_| {}).unwrap();
    assert_eq!((report.refused, report.not_undone), (vec![], vec![]));
    std::fs::remove_file(killed.path("more")).unwrap(); // was there: of another turn
    assert_eq!(killed.look(), before);
    let again = machine.roll_back(&turns, false, Leave::Servers, &mut |_| {}).unwrap();
    assert!(again.settled.is_some() && again.units.is_empty());
    let (report, _) = killed.roll_back(Mode::Live, Some(1), false);
    assert!(report.settled.is_none(), "the first play's turn is not settled by it");
}

#[test]
fn what_somebody_changed_since_stops_everything_unless_it_is_forced() {
    let scene = scene();
    let before = scene.look();
    change_everything(&scene, 0);
    scene.write("app.conf", "somebody's\n", 0o640);
    let theirs = scene.look();
    let (report, changes) = scene.roll_back(Mode::Live, None, false);
    assert_eq!(changes, 0);
    assert_eq!(report.refused.len(), 1);
    assert_eq!(report.refused[0].name, scene.path("app.conf").to_string_lossy());
    assert_eq!(report.refused[0].why, "its contents changed");
    assert_eq!(scene.look(), theirs, "nothing is touched");
    let (report, _) = scene.roll_back(Mode::Live, None, true);
    assert_eq!((report.refused.len(), report.not_undone.len()), (1, 0));
    assert_eq!(scene.look(), before);
}

#[test]
fn a_change_that_was_cut_off_is_no_obstacle() {
    let scene = scene();
    let before = scene.look();
    change_everything(&scene, 0);
    // Killed between the log and the change: the log says more than the host.
    let mut history = History::new(directory_of(&scene.run).unwrap(), 0, "cut off");
    let path = scene.path("other");
    let machine = Machine::new(Mode::Live);
    let old = machine.lstat(&path).unwrap();
    let image = super::Image::keep(&machine, &path, old.as_ref()).unwrap();
    let after = super::Image { holds: Some("0".repeat(64)), ..image.clone() };
    assert!(history.append(Entry::File { path: path.to_string_lossy().into(), before: image, after, secret: false }));
    let (report, _) = scene.roll_back(Mode::Live, None, false);
    assert_eq!((report.refused.len(), report.not_undone.len()), (0, 0));
    assert_eq!(scene.look(), before);
}

#[test]
fn what_cannot_be_undone_is_named() {
    let scene = scene();
    std::fs::create_dir_all(scene.path("full/of/things")).unwrap();
    let undone = |machine: &mut Machine| machine.take_changes().last().unwrap().undo;
    scene.task(0, |machine| {
        machine.remove(scene.path("full")).unwrap();
        assert_eq!(undone(machine), Undo::None);
        machine.exec(&crate::machine::Command::new(["true", "secret"])).unwrap();
        assert_eq!(undone(machine), Undo::None);
        machine.write_file(scene.path("modes"), b"new", &with_mode(0o600)).unwrap();
    });
    // The run's directory has something in it that is not the run's.
    scene.task(0, |machine| drop(machine.make_directory(scene.path("ours"), &Attributes::default())));
    scene.write("ours/theirs", "x", 0o644);
    let (report, _) = scene.roll_back(Mode::Live, None, false);
    let told: Vec<(String, bool)> = report
        .not_undone
        .iter()
        .map(|step| (step.name.replace(&*scene.root.path().to_string_lossy(), ""), step.failed))
        .collect();
    assert_eq!(told, [("true".into(), false), ("/ours".into(), true), ("/full".into(), true)]);
    assert_eq!(std::fs::read_to_string(scene.path("modes")).unwrap(), "m", "the rest is put back");
    assert!(scene.path("ours/theirs").exists());
    let text = std::fs::read_to_string(directory_of(&scene.run).unwrap().join("changes")).unwrap();
    assert!(!text.contains("secret\""), "arguments of commands are not kept");
}

#[test]
fn secrets_stay_secret_in_what_a_rollback_shows() {
    let scene = scene();
    scene.write("key", "old secret", 0o600);
    scene.task(0, |machine| {
        machine.no_log = true;
        machine.write_file(scene.path("key"), b"new secret", &with_mode(0o600)).unwrap();
    });
    let mut machine = Machine::new(Mode::Live);
    machine.roll_back(&[of(&scene.run, 0)], false, Leave::Servers, &mut |_| {}).unwrap();
    let shown = format!("{:?}", machine.take_changes());
    assert!(shown.contains("key") && !shown.contains("old secret") && !shown.contains("new secret"), "{shown}");
    assert_eq!(std::fs::read_to_string(scene.path("key")).unwrap(), "old secret");
}

#[test]
fn owners_and_times_come_back() {
    let scene = scene();
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let old = std::fs::metadata(scene.path("other")).unwrap();
    scene.task(0, |machine| {
        let attributes = Attributes { mode: Some(0o4711), owner: Some(1234), group: Some(4321) };
        machine.set_attributes(scene.path("other"), &attributes, true).unwrap();
        let time = crate::machine::files::TimeSpec::At(crate::machine::files::Time(1_000_000, 5));
        machine.set_times(scene.path("other"), time, time, true).unwrap();
    });
    let (report, _) = scene.roll_back(Mode::Live, None, false);
    assert_eq!(report.not_undone, []);
    let now = std::fs::metadata(scene.path("other")).unwrap();
    assert_eq!((now.uid(), now.gid(), now.mode()), (old.uid(), old.gid(), old.mode()));
    assert_eq!((now.mtime(), now.mtime_nsec()), (old.mtime(), old.mtime_nsec()));
}

#[test]
fn nobody_else_is_believed() {
    let scene = Scene::new();
    let (report, changes) = scene.roll_back(Mode::Live, None, false);
    assert_eq!((report, changes), (Rollback::default(), 0));
    let mut machine = Machine::new(Mode::Live);
    assert!(machine.roll_back(&[of("../../etc", 0)], false, Leave::Servers, &mut |_| {}).is_err());
}

/// One row: what is done, and whether it can be undone.
type Row = (&'static str, fn(&mut Machine), &'static [Undo]);

#[test]
fn a_change_says_truly_whether_it_can_be_undone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    fn unit(running: bool) -> Unit {
        let state = if running { "active" } else { "inactive" };
        Unit { name: "rb.service".into(), load: "loaded".into(), active: state.into(), ..Unit::default() }
    }
    fn act(machine: &mut Machine, running: bool, action: UnitAction) {
        machine.act_on_unit(&unit(running), action, &Default::default(), &mut |_| {}).unwrap();
    }
    use Undo::*;
    let table: &[Row] = &[
        (
            "a new file",
            |m| drop(m.write_file("/tmp/rb-no-such", b"x", &Default::default())),
            &[Exact, Exact, Exact, Exact],
        ),
        ("a directory with something in it", |m| drop(m.remove("/etc")), &[None]),
        ("a temporary file", |m| drop(m.make_temporary(Path::new("/tmp"), "rb", "", false)), &[None]),
        ("a link", |m| drop(m.make_link("/tmp/rb-no-such-link", "x")), &[Exact]),
        ("started", |m| act(m, false, UnitAction::Start), &[Compensating]),
        ("stopped", |m| act(m, true, UnitAction::Stop), &[Compensating]),
        ("restarted", |m| act(m, true, UnitAction::Restart), &[Compensating]),
        ("reloaded", |m| act(m, true, UnitAction::Reload), &[Compensating]),
        ("enabled", |m| drop(m.set_unit_enabled(&unit(true), true, &Default::default())), &[Exact]),
        ("masked", |m| drop(m.set_unit_masked(&unit(true), true, &Default::default())), &[Exact]),
        ("the host's name", |m| drop(m.set_kernel_hostname("rb-other")), &[Exact]),
        ("a crontab", |m| m.set_crontab("root", "x\n", "e", Option::None, Some("x")).unwrap(), &[Exact]),
        (
            "a group",
            |m| drop(m.set_group(&GroupWish { name: "rb-none".into(), gid: Some(54321), ..Default::default() })),
            &[None],
        ),
    ];
    for (what, change, expected) in table {
        let mut machine = Machine::new(Mode::Predicted);
        change(&mut machine);
        let undo: Vec<Undo> = machine.take_changes().iter().map(|change| change.undo).collect();
        assert_eq!(undo, *expected, "{what}");
    }
}

#[test]
fn the_last_start_of_a_unit_by_this_task_is_found() {
    let scene = Scene::new();
    let log = |machine: &mut Machine, unit: &str, action| {
        let entry = Entry::Unit { unit: unit.into(), scope: Default::default(), action, running: false };
        assert!(machine.log(entry));
    };
    let before = crate::machine::files::Time::now().0;
    scene.task(1, |machine| {
        log(machine, "a.service", UnitAction::Start);
        log(machine, "b.service", UnitAction::Stop);
        assert!(machine.unit_started_by(&scene.run, None, "a.service").is_some_and(|at| at >= before));
        assert_eq!(machine.unit_started_by(&scene.run, None, "b.service"), None, "it was only stopped");
        assert_eq!(machine.unit_started_by("another-run", None, "a.service"), None);
    });
    let mut machine = Machine::new(Mode::Live);
    machine.begin_history(&scene.run, 1, "another task");
    assert_eq!(machine.unit_started_by(&scene.run, None, "a.service"), None, "by another task");
    machine.begin_history(&scene.run, 2, "a task");
    assert!(machine.unit_started_by(&scene.run, Some(1), "a.service").is_some());
    assert_eq!(machine.unit_started_by(&scene.run, Some(2), "a.service"), None, "in another play's turn");
}
