//! `git` against repositories of this machine.

use crate::machine::{Machine, Mode};
use crate::modules::Status;
use crate::modules::testing::{TestController, apply, check, run_on};
use serde_json::json;
use std::path::Path;
use std::process::Command;

fn git(at: &Path, words: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(words)
        .current_dir(at)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

fn commit(at: &Path, text: &str) -> String {
    std::fs::write(at.join("file"), text).unwrap();
    git(at, &["add", "."]);
    git(at, &["commit", "-qm", text]);
    git(at, &["rev-parse", "HEAD"])
}

#[test]
fn a_repository_is_cloned_and_kept_at_a_version() {
    let scratch = tempfile::tempdir().unwrap();
    let (repo, dest) = (scratch.path().join("repo"), scratch.path().join("a/b/dest"));
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q"]);
    let one = commit(&repo, "one");
    git(&repo, &["tag", "-a", "v1", "-m", "v1"]);
    let arguments = json!({"repo": repo, "dest": dest});
    let foreseen = check("git", &arguments);
    assert_eq!((foreseen.changed(), &foreseen.data["after"]), (true, &json!(one)), "{:?}", foreseen.msg);
    assert!(!dest.exists(), "a check clones nothing");
    let outcome = apply("git", &arguments);
    assert_eq!((outcome.changed(), &outcome.data["before"]), (true, &json!(null)), "{:?}", outcome.msg);
    assert_eq!(
        (&outcome.data["after"], std::fs::read_to_string(dest.join("file")).unwrap().as_str()),
        (&json!(one), "one")
    );
    let outcome = apply("git", &arguments);
    assert_eq!((outcome.changed(), &outcome.data["remote_url_changed"]), (false, &json!(false)));
    assert!(!check("git", &arguments).changed());
    let two = commit(&repo, "two");
    git(&repo, &["branch", "other", &one]);
    let foreseen = check("git", &arguments);
    assert_eq!((foreseen.changed(), &foreseen.data["after"]), (true, &json!(two)));
    let held = apply("git", &json!({"repo": repo, "dest": dest, "update": false}));
    assert_eq!((held.changed(), &held.data["after"]), (false, &json!(one)));
    assert_eq!(apply("git", &arguments).data["after"], json!(two));
    for (version, expected) in [("v1", &one), ("main", &two), ("other", &one), (two.as_str(), &two)] {
        let arguments = json!({"repo": repo, "dest": dest, "version": version});
        assert_eq!(check("git", &arguments).data["after"], json!(expected), "{version}");
        let outcome = apply("git", &arguments);
        assert_eq!(
            (outcome.status, &outcome.data["after"]),
            (Status::Ok, &json!(expected)),
            "{version}: {:?}",
            outcome.msg
        );
    }
    std::fs::write(dest.join("file"), "mine").unwrap();
    let refused = apply("git", &json!({"repo": repo, "dest": dest, "version": "main"}));
    assert!(refused.msg.unwrap().starts_with("Local modifications exist"));
    let forced = apply("git", &json!({"repo": repo, "dest": dest, "version": "main", "force": true}));
    assert!(forced.changed() && std::fs::read_to_string(dest.join("file")).unwrap() == "two");
    let shallow = scratch.path().join("shallow");
    let outcome = apply("git", &json!({"repo": repo, "dest": shallow, "depth": 1, "version": "main"}));
    assert_eq!((outcome.status, git(&shallow, &["rev-list", "--count", "HEAD"]).as_str()), (Status::Ok, "1"));
    let bare = scratch.path().join("bare");
    assert!(apply("git", &json!({"repo": repo, "dest": bare, "bare": true})).changed());
    assert!(!apply("git", &json!({"repo": repo, "dest": bare, "bare": true})).changed());
    let missing = apply("git", &json!({"repo": scratch.path().join("no"), "dest": scratch.path().join("x")}));
    assert_eq!(missing.status, Status::Failed);
    let missing = apply("git", &json!({"repo": repo, "dest": dest, "version": "nonsense"}));
    assert_eq!(missing.msg.as_deref(), Some("Failed to checkout nonsense"));
}

#[test]
fn a_check_asks_the_new_address() {
    let scratch = tempfile::tempdir().unwrap();
    let (old, new, dest) = (scratch.path().join("old"), scratch.path().join("new"), scratch.path().join("dest"));
    std::fs::create_dir(&old).unwrap();
    git(&old, &["init", "-q"]);
    commit(&old, "one");
    git(scratch.path(), &["clone", "-q", "old", "new"]);
    assert!(apply("git", &json!({"repo": old, "dest": dest})).changed());
    let two = commit(&new, "two");
    std::fs::rename(&old, scratch.path().join("gone")).unwrap();
    let foreseen = check("git", &json!({"repo": new, "dest": dest}));
    assert_eq!((foreseen.msg.as_deref(), &foreseen.data["after"]), (None, &json!(two)));
}

#[test]
fn what_is_not_verified_is_refused_and_no_password_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let dest = scratch.path().join("dest");
    for (more, expected) in [
        (json!({"verify_commit": true, "bare": true}), "verify_commit verifies"),
        (json!({"verify_commit": true, "update": false}), "verify_commit verifies"),
        (json!({"gpg_allowlist": ["A"]}), "gpg_allowlist has no effect"),
    ] {
        let mut arguments = json!({"repo": "/no/such", "dest": dest});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert!(check("git", &arguments).msg.unwrap().contains(expected), "{more}");
    }
    let outcome = apply("git", &json!({"repo": "http://u:hush@127.0.0.1:1/x", "dest": dest}));
    assert_eq!(outcome.status, Status::Failed);
    assert!(!format!("{outcome:?}").contains("hush"), "{outcome:?}");
}

#[test]
fn ssh_is_given_words() {
    let arguments = |more: serde_json::Value| -> super::Arguments {
        let mut all = json!({"repo": "r", "dest": "/d"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    };
    let key = Some(Path::new("/k/id"));
    let end = "-o BatchMode=yes -i /k/id -o IdentitiesOnly=yes";
    for (command, more, key, expected) in [
        ("ssh", json!({}), None, "ssh -o BatchMode=yes".to_string()),
        ("ssh -i /k/id_other", json!({}), key, format!("ssh -i /k/id_other {end}")),
        ("ssh -o BatchMode=yes -i /k/id", json!({}), key, "ssh -o BatchMode=yes -i /k/id -o IdentitiesOnly=yes".into()),
        (
            "ssh",
            json!({"accept_newhostkey": true}),
            Some(Path::new("/k/a b")),
            "ssh -o StrictHostKeyChecking=accept-new -o BatchMode=yes -i '/k/a b' -o IdentitiesOnly=yes".into(),
        ),
    ] {
        assert_eq!(super::ssh_words(command.into(), &arguments(more), key), expected);
    }
}

#[test]
fn a_version_is_packed_into_a_file() {
    let scratch = tempfile::tempdir().unwrap();
    let (repo, dest, archive) =
        (scratch.path().join("repo"), scratch.path().join("dest"), scratch.path().join("x.tar.gz"));
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q"]);
    commit(&repo, "one");
    let arguments = json!({"repo": repo, "dest": dest, "archive": archive, "archive_prefix": "sub/"});
    assert!(check("git", &arguments).changed() && !archive.exists());
    assert!(apply("git", &arguments).changed());
    let names = Command::new("tar").args(["tzf"]).arg(&archive).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&names.stdout), "sub/\nsub/file\n");
    assert!(!check("git", &arguments).changed() && !apply("git", &arguments).changed());
    std::fs::remove_file(&archive).unwrap();
    assert!(check("git", &arguments).changed() && !archive.exists());
    assert!(apply("git", &arguments).changed() && archive.exists());
    // Without a clone it is packed where it is there, and in a check of what a task may have left it is not known.
    std::fs::remove_file(&archive).unwrap();
    let told = json!({"repo": repo, "dest": dest, "clone": false, "archive": archive});
    let mut machine = Machine::new(Mode::Tainted);
    let mut controller = TestController::default();
    run_on(&mut machine, &mut controller, "file", &json!({"path": dest, "state": "absent"}));
    machine.set_mode(Mode::Predicted);
    let outcome = run_on(&mut machine, &mut controller, "git", &told);
    assert_eq!(outcome.status, Status::Unknown, "{outcome:?}");
    assert!(apply("git", &told).changed() && archive.exists());
    for wrong in [json!({"archive": "/tmp/x.rar"}), json!({"archive_prefix": "x/"})] {
        let mut arguments = json!({"repo": repo, "dest": dest});
        arguments.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(check("git", &arguments).status, Status::Failed);
    }
}
