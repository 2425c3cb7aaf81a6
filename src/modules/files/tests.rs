//! The file modules on this machine: what the check says is what the run does, and a second run does nothing.

use super::delivery::Delivery;
use crate::machine::files::{Attributes, Foreseen};
use crate::machine::{ChangeKind, Facet, Machine, Mode};
use crate::modules::testing::{
    TestController, apply, apply_twice, check, check_then_apply, check_then_apply_with, run_on,
};
use crate::modules::{Content, Outcome, Status};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Scratch {
        Scratch(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Nothing that a write leaves behind by mistake.
    fn is_clean(&self) -> bool {
        let output =
            std::process::Command::new("find").arg(self.0.path()).args(["-name", ".deploy-*"]).output().unwrap();
        output.stdout.is_empty()
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn aspects(outcome: &Outcome) -> Vec<String> {
    outcome
        .changes
        .iter()
        .map(|c| match &c.kind {
            ChangeKind::Set { aspect, .. } => aspect.clone(),
            other => format!("{other:?}"),
        })
        .collect()
}

fn failure(module: &str, arguments: Value) -> String {
    let outcome = check_then_apply(module, &arguments);
    assert_eq!(outcome.status, Status::Failed, "{module} {arguments}");
    assert_eq!(outcome.changes, [], "{module} {arguments}");
    outcome.msg.unwrap()
}

/// Arguments of copy or template with contents from the controller.
fn delivered(arguments: Value, basename: &str, content: Content) -> Value {
    let mut arguments = crate::modules::testing::object(arguments);
    let delivery = Delivery { basename: basename.into(), content, digests: None, tree: None };
    arguments.insert("_delivery".into(), serde_json::to_value(delivery).unwrap());
    Value::Object(arguments)
}

#[test]
fn copy_writes_content_once_with_owner_and_mode() {
    let s = Scratch::new();
    let dest = s.path("app.conf");
    let arguments = json!({"content": "a = 1\n", "dest": dest, "mode": "0640", "owner": "daemon", "group": "daemon"});
    let outcome = apply_twice("copy", &arguments);
    assert_eq!(aspects(&outcome), ["content", "owner", "group", "mode"]);
    assert_eq!((read(&dest).as_str(), mode(&dest)), ("a = 1\n", 0o640));
    assert_eq!(
        (&outcome.data["mode"], &outcome.data["owner"], &outcome.data["size"]),
        (&json!("0640"), &json!("daemon"), &json!(6))
    );
    // Contents change, owner and mode are kept.
    let outcome = apply_twice("copy", &json!({"content": "a = 2\n", "dest": dest}));
    assert_eq!(aspects(&outcome), ["content"]);
    assert_eq!(mode(&dest), 0o640);
    assert_ne!(std::fs::metadata(&dest).unwrap().uid(), 0);
    // Only the mode changes.
    assert_eq!(aspects(&apply_twice("copy", &json!({"content": "a = 2\n", "dest": dest, "mode": "u+x"}))), ["mode"]);
    assert!(s.is_clean());
}

#[test]
fn copy_content_forms_and_destinations() {
    let s = Scratch::new();
    let dest = s.path("x.json");
    apply_twice("copy", &json!({"content": {"a": [1, "é", true, null]}, "dest": dest}));
    assert_eq!(read(&dest), r#"{"a": [1, "\u00e9", true, null]}"#);
    assert!(failure("copy", json!({"content": "x", "dest": s.path("")})).contains("content with a dir"));
    assert!(failure("copy", json!({"content": "x", "dest": s.path("none/x")})).contains("does not exist"));
    assert!(failure("copy", json!({"content": "x", "dest": dest, "owner": "nobody-here"})).contains("nobody-here"));
    assert!(failure("copy", json!({"content": "x", "dest": dest, "attributes": "+i"})).contains("not supported"));
    assert!(failure("copy", json!({"dest": dest})).contains("required"));
    assert!(failure("copy", json!({"content": "x", "dest": dest, "modee": "0644"})).contains("modee"));
    let source = |dest: &str| delivered(json!({"src": "motd", "dest": dest}), "motd", Content::Text("hi\n".into()));
    let outcome = apply_twice("copy", &source(&format!("{}/new/dir/", s.path("").display())));
    assert_eq!(outcome.data["dest"], json!(s.path("new/dir/motd")));
    std::fs::create_dir(s.path("old")).unwrap();
    apply_twice("copy", &source(s.path("old").to_str().unwrap()));
    assert_eq!(read(&s.path("old/motd")), "hi\n");
}

#[test]
fn copy_links_force_backup_and_bytes() {
    let s = Scratch::new();
    let real = s.write("real", "old\n");
    let link = s.path("link");
    symlink("real", &link).unwrap();
    apply_twice("copy", &json!({"content": "new\n", "dest": link, "follow": true}));
    assert_eq!((read(&real).as_str(), std::fs::symlink_metadata(&link).unwrap().is_symlink()), ("new\n", true));
    let outcome = apply_twice("copy", &json!({"content": "new\n", "dest": link}));
    assert!(!std::fs::symlink_metadata(&link).unwrap().is_symlink() && outcome.changed());
    apply_twice("copy", &json!({"content": "other\n", "dest": real, "force": "no"}));
    assert_eq!(read(&real), "new\n");
    let outcome = apply_twice("copy", &json!({"content": "third\n", "dest": real, "backup": true}));
    let kept = outcome.data["backup_file"].as_str().unwrap().to_string();
    let outcome = apply_twice("copy", &json!({"content": "fourth\n", "dest": real, "backup": true}));
    assert_eq!(read(Path::new(outcome.data["backup_file"].as_str().unwrap())), "third\n");
    assert_eq!(read(Path::new(&kept)), "new\n", "two of one second have two names");
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.encode([0xff, 0, 1]);
    apply_twice("copy", &delivered(json!({"src": "b", "dest": s.path("b")}), "b", Content::Base64(bytes)));
    assert_eq!(std::fs::read(s.path("b")).unwrap(), [0xff, 0, 1]);
    assert!(s.is_clean());
}

#[test]
fn copy_streams_large_contents_once_and_refuses_torn_ones() {
    let s = Scratch::new();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let sha256 = crate::machine::files::sha256(&bytes);
    let content = Content::Blob { sha256: sha256.clone(), size: bytes.len() as u64 };
    let mut controller = TestController::default();
    controller.blobs.insert(sha256.clone(), bytes.clone());
    let arguments = delivered(json!({"src": "big", "dest": s.path("big"), "mode": "0600"}), "big", content);
    check_then_apply_with_unknown(&mut controller, &arguments);
    assert_eq!(controller.opened, 1, "a check asks for nothing, a run once");
    assert!(std::fs::read(s.path("big")).unwrap() == bytes);
    let second = check_then_apply_with(&mut controller, "copy", &arguments);
    assert_eq!((second.changes.len(), controller.opened), (0, 1));
    controller.blobs.insert(sha256, bytes[..2_000_000].to_vec());
    std::fs::write(s.path("big"), "before").unwrap();
    let torn = run_on(&mut Machine::new(Mode::Live), &mut controller, "copy", &arguments);
    assert_eq!(torn.status, Status::Failed);
    assert_eq!(read(&s.path("big")), "before");
    assert!(s.is_clean());
}

fn check_then_apply_with_unknown(controller: &mut TestController, arguments: &Value) {
    let predicted = run_on(&mut Machine::new(Mode::Predicted), controller, "copy", arguments);
    assert!(predicted.unknown_fields.contains(&"checksum".to_string()));
    let real = run_on(&mut Machine::new(Mode::Live), controller, "copy", arguments);
    crate::modules::testing::assert_foretold(&predicted, &real, "a large copy");
}

#[test]
fn copy_on_the_host_itself() {
    let s = Scratch::new();
    let src = s.write("src", "one\n");
    std::fs::set_permissions(&src, PermissionsExt::from_mode(0o711)).unwrap();
    let outcome = apply_twice("copy", &json!({"src": src, "dest": s.path("dest"), "remote_src": true}));
    assert_eq!(
        (mode(&s.path("dest")), read(&s.path("dest")).as_str()),
        (0o644, "one\n"),
        "a new file has the usual mode"
    );
    assert!(outcome.data["checksum"].is_string());
    std::fs::create_dir_all(s.path("tree/sub")).unwrap();
    std::fs::write(s.path("tree/sub/f"), "f").unwrap();
    symlink("sub/f", s.path("tree/l")).unwrap();
    apply_twice("copy", &json!({"src": s.path("tree"), "dest": s.path("to"), "remote_src": true}));
    assert_eq!(read(&s.path("to/tree/sub/f")), "f");
    assert!(!std::fs::symlink_metadata(s.path("to/tree/l")).unwrap().is_symlink());
    let slash = format!("{}/", s.path("tree").display());
    apply_twice("copy", &json!({"src": slash, "dest": s.path("flat"), "remote_src": true, "local_follow": false}));
    assert!(std::fs::symlink_metadata(s.path("flat/l")).unwrap().is_symlink());
    assert!(
        failure("copy", json!({"src": s.path("no"), "dest": s.path("x"), "remote_src": true})).contains("not found")
    );
}

#[test]
fn validation_stops_bad_contents() {
    let s = Scratch::new();
    let dest = s.write("f", "good\n");
    let with = |text: &str, validate: &str| json!({"content": text, "dest": dest, "validate": validate});
    assert!(failure("copy", with("bad\n", "grep -q good %s")).contains("failed to validate: rc:1"));
    assert_eq!(read(&dest), "good\n");
    apply_twice("copy", &with("very good\n", "grep -q good %s"));
    assert!(failure("copy", with("x", "true")).contains("must contain %s"));
    assert!(failure("copy", with("x", "no-such-program %s")).contains("no-such-program"));
    // After another task's prediction a refusal is no proof.
    let mut machine = Machine::new(Mode::Predicted);
    let mut controller = TestController::default();
    run_on(&mut machine, &mut controller, "copy", &json!({"content": "x", "dest": s.path("other")}));
    let outcome = run_on(&mut machine, &mut controller, "copy", &with("bad\n", "grep -q good %s"));
    assert_eq!((outcome.status, outcome.changes.len()), (Status::Unknown, 0), "{outcome:?}");
    // Nor is it known any more what the file is.
    let stat = run_on(&mut machine, &mut controller, "stat", &json!({"path": dest}));
    assert_eq!(stat.status, Status::Unknown, "{stat:?}");
    let missing = json!({"content": "x", "dest": s.path("third"), "validate": "no-such-program %s"});
    let outcome = run_on(&mut machine, &mut controller, "copy", &missing);
    assert_eq!((outcome.status, outcome.warnings.len()), (Status::Ok, 1));
    assert!(outcome.changes[0].inferred);
    assert!(s.is_clean());
}

#[test]
fn file_states() {
    let s = Scratch::new();
    let directory = s.path("a/b/c");
    let outcome =
        apply_twice("file", &json!({"path": directory, "state": "directory", "mode": "0750", "owner": "daemon"}));
    assert_eq!(outcome.changes.len(), 3 * 4);
    assert_eq!((mode(&s.path("a")), mode(&directory)), (0o750, 0o750));
    assert_eq!((&outcome.data["state"], &outcome.data["mode"]), (&json!("directory"), &json!("0750")));
    let file = s.write("a/b/c/f", "text");
    apply_twice("file", &json!({"path": file, "mode": "u=rwX,go=", "group": "daemon"}));
    assert_eq!(mode(&file), 0o600);
    apply_twice(
        "file",
        &json!({"path": s.path("a"), "state": "directory", "recurse": true, "mode": "u=rwX,g=rX,o=rX"}),
    );
    assert_eq!((mode(&directory), mode(&file)), (0o755, 0o644));
    apply_twice("file", &json!({"src": "a/b", "dest": s.path("link"), "state": "link"}));
    apply_twice("file", &json!({"src": "a/b/c", "dest": s.path("link"), "state": "link"}));
    assert_eq!(std::fs::read_link(s.path("link")).unwrap(), Path::new("a/b/c"));
    apply_twice("file", &json!({"src": "nothing", "dest": s.path("dangling"), "state": "link", "force": true}));
    apply_twice("file", &json!({"src": file, "dest": s.path("hard"), "state": "hard"}));
    assert_eq!(std::fs::metadata(s.path("hard")).unwrap().ino(), std::fs::metadata(&file).unwrap().ino());
    apply_twice(
        "file",
        &json!({"path": s.path("touched"), "state": "touch", "mode": "0600", "modification_time": "preserve", "access_time": "preserve"}),
    );
    assert_eq!(mode(&s.path("touched")), 0o600);
    assert!(check_then_apply("file", &json!({"path": s.path("touched"), "state": "touch"})).changed());
    apply_twice(
        "file",
        &json!({"path": file, "modification_time": "202001020304.05", "access_time": "now"}).take_access(),
    );
    assert_eq!(std::fs::metadata(&file).unwrap().mtime() / 86_400, 18_263);
    let before = std::fs::read_link(s.path("link")).unwrap();
    apply_twice("file", &json!({"path": s.path("dangling"), "state": "absent"}));
    apply_twice("file", &json!({"path": s.path("hard"), "state": "absent"}));
    apply_twice("file", &json!({"path": s.path("a"), "state": "absent"}));
    assert!(!s.path("a").exists() && before == Path::new("a/b/c"));
    assert!(s.is_clean());
}

trait TakeAccess {
    fn take_access(self) -> Value;
}

impl TakeAccess for Value {
    /// `now` changes something each time, so a second run would too.
    fn take_access(mut self) -> Value {
        self["access_time"] = json!("preserve");
        self
    }
}

#[test]
fn file_refusals() {
    let s = Scratch::new();
    let file = s.write("f", "");
    std::fs::create_dir(s.path("d")).unwrap();
    s.write("d/x", "");
    for (arguments, part) in [
        (json!({"path": s.path("no"), "state": "file"}), "absent, cannot continue"),
        (json!({"path": s.path("no")}), "absent, cannot continue"),
        (json!({"path": s.path("d"), "state": "file"}), "directory, cannot continue"),
        (json!({"path": file, "state": "directory"}), "already exists as a file"),
        (json!({"path": s.path("f/x"), "state": "directory"}), "f/x"),
        (json!({"path": s.path("l"), "src": "none", "state": "link"}), "does not exist"),
        (json!({"path": file, "src": s.path("d"), "state": "link"}), "refusing to convert"),
        (json!({"path": s.path("d"), "src": "f", "state": "link", "force": true}), "not empty"),
        (json!({"path": s.path("d2"), "state": "link"}), "src is required"),
        (json!({"path": s.path("h"), "src": s.path("none"), "state": "hard"}), "src does not exist"),
        (json!({"path": file, "state": "present"}), "present"),
        (json!({"path": file, "recurse": true, "state": "file"}), "recurse"),
        (json!({"path": file, "mode": "0999"}), "0999"),
        (json!({"state": "file"}), "path"),
    ] {
        let message = failure("file", arguments.clone());
        assert!(message.contains(part), "{arguments}: {message}");
    }
    assert_eq!(s.path("d/x").metadata().unwrap().len(), 0);
}

#[test]
fn a_check_sees_what_earlier_tasks_would_have_done() {
    let s = Scratch::new();
    let mut machine = Machine::new(Mode::Predicted);
    let mut controller = TestController::default();
    let mut run = |module: &str, arguments: Value| {
        let outcome = run_on(&mut machine, &mut controller, module, &arguments);
        assert_eq!(outcome.status, Status::Ok, "{module} {arguments}: {:?}", outcome.msg);
        // What one child of the agent predicts, the next one knows.
        let overlay = serde_json::to_string(&machine.overlay().unwrap()).unwrap();
        machine = Machine::new(Mode::Predicted);
        machine.load_overlay(serde_json::from_str(&overlay).unwrap()).unwrap();
        outcome
    };
    run("file", json!({"path": s.path("etc/app"), "state": "directory", "mode": "0750", "owner": "daemon"}));
    run("copy", json!({"content": "one\n", "dest": s.path("etc/app/a.conf"), "mode": "0600"}));
    run("file", json!({"src": "app", "dest": s.path("etc/current"), "state": "link"}));
    let stat = run("stat", json!({"path": s.path("etc/current/a.conf")})).data["stat"].clone();
    assert_eq!((&stat["exists"], &stat["mode"], &stat["size"]), (&json!(true), &json!("0600"), &json!(4)));
    assert_eq!(stat["checksum"], crate::machine::files::Digests::of(b"one\n").sha1);
    assert!(!run("copy", json!({"content": "one\n", "dest": s.path("etc/current/a.conf")})).changed());
    assert!(run("copy", json!({"content": "two\n", "dest": s.path("etc/current/../app/a.conf")})).changed());
    let outcome = run("copy", json!({"src": s.path("etc/app/a.conf"), "dest": s.path("etc/b"), "remote_src": true}));
    assert!(matches!(&outcome.changes[0].kind, ChangeKind::Set { after: Facet::Text(text), .. } if text == "two\n"));
    run("file", json!({"path": s.path("etc/app"), "state": "absent"}));
    assert_eq!(run("stat", json!({"path": s.path("etc/app/a.conf")})).data["stat"]["exists"], false);
    assert_eq!(run("stat", json!({"path": s.path("etc/current"), "follow": true})).data["stat"]["exists"], false);
    assert!(!s.path("etc").exists(), "a check writes nothing");
}

#[test]
fn a_live_directory_shows_through_until_it_is_replaced() {
    let s = Scratch::new();
    std::fs::create_dir(s.path("d")).unwrap();
    s.write("d/live", "live");
    let mut machine = Machine::new(Mode::Predicted);
    machine.set_attributes(s.path("d"), &Attributes { mode: Some(0o700), ..Default::default() }, false).unwrap();
    machine.write_file(s.path("d/new"), b"new", &Default::default()).unwrap();
    let names: Vec<_> = machine.list_directory(s.path("d")).unwrap();
    assert_eq!(names, ["live", "new"]);
    machine.remove(s.path("d/live")).unwrap();
    assert_eq!(machine.list_directory(s.path("d")).unwrap(), ["new"]);
    machine.remove(s.path("d")).unwrap();
    machine.make_directory(s.path("d"), &Default::default()).unwrap();
    assert!(machine.list_directory(s.path("d")).unwrap().is_empty());
    assert!(!machine.exists(s.path("d/live")).unwrap());
    machine
        .foresee_file(
            s.path("usr/sbin/tool"),
            Foreseen::File { contents: None, attributes: Attributes { mode: Some(0o755), ..Default::default() } },
        )
        .unwrap();
    assert_eq!(machine.stat(s.path("usr/sbin/tool")).unwrap().unwrap().mode, 0o755);
    assert!(matches!(
        machine.read_file(s.path("usr/sbin/tool"), 10),
        Err(crate::machine::MachineError::Unknown { .. })
    ));
    assert_eq!(read(&s.path("d/live")), "live");
}

#[test]
fn a_doubtful_task_makes_its_files_unknown() {
    let s = Scratch::new();
    let existing = s.write("existing", "old");
    let mut machine = Machine::new(Mode::Tainted);
    let mut controller = TestController::default();
    for name in ["existing", "fresh"] {
        run_on(&mut machine, &mut controller, "copy", &json!({"content": "new", "dest": s.path(name)}));
    }
    machine.set_mode(Mode::Predicted);
    for (module, arguments) in [
        ("stat", json!({"path": s.path("fresh")})),
        ("copy", json!({"content": "new", "dest": existing})),
        ("file", json!({"path": existing, "mode": "0600"})),
    ] {
        let outcome = run_on(&mut machine, &mut controller, module, &arguments);
        assert_eq!(outcome.status, Status::Unknown, "{module} {arguments}");
        assert!(outcome.msg.unwrap().contains("not known whether it runs"));
    }
    let outcome = run_on(&mut machine, &mut controller, "copy", &json!({"content": "x", "dest": s.path("other")}));
    assert_eq!(outcome.status, Status::Ok);
}

#[test]
fn secrets_stay_out_of_changes() {
    let s = Scratch::new();
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let outcome = check_then_apply("copy", &json!({"content": key, "dest": s.path("key.pem"), "mode": "0600"}));
    assert!(!format!("{:?}", outcome.changes).contains("c2VjcmV0"));
    assert!(
        matches!(&outcome.changes[0].kind, ChangeKind::Set { after: Facet::Secret { fingerprint }, .. } if fingerprint.len() == 12)
    );
    let mut context = crate::modules::Context { diff: true, no_log: true, controller: &mut TestController::default() };
    let mut machine = Machine::new(Mode::Predicted);
    let arguments = crate::modules::testing::object(json!({"content": "hunter22", "dest": s.path("p")}));
    (crate::modules::find("copy").unwrap().run.unwrap())(arguments, &mut machine, &mut context).unwrap();
    assert!(!format!("{:?}", machine.take_changes()).contains("hunter22"));
}

#[test]
fn permissions_are_predicted() {
    let s = Scratch::new();
    std::fs::set_permissions(s.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let file = s.write("roots", "x");
    let mut machine = Machine::new(Mode::Predicted);
    machine.predict_as(12345, 12345);
    let denied = |result: crate::machine::Result<bool>| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains("Permission denied") || text.contains("not permitted"), "{text}");
    };
    denied(machine.write_file(s.path("new"), b"x", &Default::default()));
    denied(machine.write_file(&file, b"y", &Default::default()));
    denied(machine.set_attributes(&file, &Attributes { mode: Some(0o600), ..Default::default() }, false));
    denied(machine.remove(&file));
    denied(machine.make_directory(s.path("d"), &Default::default()));
    std::fs::set_permissions(s.0.path(), PermissionsExt::from_mode(0o777)).unwrap();
    machine.make_directory(s.path("d"), &Default::default()).unwrap();
    machine.write_file(s.path("d/x"), b"x", &Default::default()).unwrap();
    let owner = Attributes { owner: Some(0), ..Default::default() };
    denied(machine.set_attributes(s.path("d"), &owner, false));
    assert_eq!(machine.stat(s.path("d/x")).unwrap().unwrap().uid, 12345);
}

#[test]
fn a_killed_write_leaves_no_torn_file() {
    let s = Scratch::new();
    let dest = s.path("config");
    if std::env::var("DEPLOY_TEST_WRITER").is_ok() {
        return;
    }
    let (one, two) = ("1".repeat(200_000), "2".repeat(300_000));
    std::fs::write(&dest, &one).unwrap();
    for round in 0..40u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "modules::files::tests::writer_for_the_killer", "--nocapture", "--include-ignored"])
            .env("DEPLOY_TEST_WRITER", &dest)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(8 + round * 2));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = read(&dest);
        assert!(found == one || found == two, "a torn file of {} bytes", found.len());
    }
}

/// The child that is killed: it writes for as long as it lives.
#[test]
#[ignore = "a helper of the test above"]
fn writer_for_the_killer() {
    let Ok(dest) = std::env::var("DEPLOY_TEST_WRITER") else {
        return;
    };
    loop {
        for (digit, length) in [("2", 300_000), ("1", 200_000)] {
            let mut machine = Machine::new(Mode::Live);
            machine.write_file(&dest, digit.repeat(length).as_bytes(), &Default::default()).unwrap();
        }
    }
}

#[test]
fn what_was_there_is_kept() {
    let s = Scratch::new();
    let dest = s.write("f", "precious");
    check("copy", &json!({"content": "new", "dest": dest}));
    assert_eq!(crate::machine::before::images_of(&dest).len(), 0, "a check keeps nothing");
    apply("copy", &json!({"content": "new", "dest": dest}));
    let images = crate::machine::before::images_of(&dest);
    assert_eq!(read(&images[0].1), "precious");
    assert_eq!(images[0].0.mode, mode(&dest));
}
