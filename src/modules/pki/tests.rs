//! Both halves together: a real store, a real directory for the host, the engine played by a few lines.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use crate::machine::{Change, ChangeKind, Domain, Facet, Machine, Mode};
use crate::modules::{
    ActionError, ActionFuture, ActionHost, Content, Context, FileKind, NoController, Outcome, Prepared, RenderOptions,
    Status, find,
};
use crate::secret::Secret;

mod given;
mod issuers;

/// One host, and the engine as far as these two modules need it.
struct Host {
    machine: Mutex<Machine>,
    controller: Mutex<Machine>,
    variables: BTreeMap<String, Value>,
    check: bool,
    concealed: Mutex<Vec<Secret>>,
    warnings: Mutex<Vec<String>>,
}

impl Host {
    fn run(&self, module: &str, arguments: Map<String, Value>) -> Outcome {
        let run = find(module).unwrap().run.unwrap();
        let mut machine = self.machine.lock().unwrap();
        let mut context = Context { diff: true, no_log: false, controller: &mut NoController };
        let mut outcome = run(arguments, &mut machine, &mut context).unwrap_or_else(Outcome::from);
        outcome.changes = machine.take_changes();
        outcome
    }

    /// A task, from its arguments to its outcome.
    fn task(&self, module: &str, arguments: Value) -> Outcome {
        let action = find(module).unwrap().action.unwrap();
        let arguments = arguments.as_object().unwrap().clone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        match runtime.block_on(action(self, arguments)) {
            Ok(Prepared::Done(outcome)) => outcome,
            Ok(Prepared::Send(arguments)) => self.run(module, arguments),
            Err(ActionError::Unknown(why)) => Outcome::unknown(why),
            Err(error) => Outcome::failed(error.to_string()),
        }
    }
}

impl ActionHost for Host {
    fn reconnect<'a>(&'a self) -> ActionFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn host(&self) -> &str {
        "galera1"
    }
    fn check(&self) -> bool {
        self.check
    }
    fn diff(&self) -> bool {
        true
    }
    fn template(&self, text: &str) -> Result<Value, ActionError> {
        Ok(text.into())
    }
    fn render(&self, _: &Path, _: &str, _: &RenderOptions, _: Map<String, Value>) -> Result<String, ActionError> {
        Err(ActionError::Failed("not in this test".into()))
    }
    fn variable(&self, name: &str) -> Result<Option<Value>, ActionError> {
        Ok(self.variables.get(name).cloned())
    }
    fn find_file(&self, _: FileKind, name: &str) -> Result<PathBuf, ActionError> {
        let path = PathBuf::from(name);
        if path.exists() { Ok(path) } else { Err(ActionError::Failed(format!("{name} is not there"))) }
    }
    fn unvault(&self, _: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, ActionError> {
        Ok(bytes)
    }
    fn offer(&self, bytes: Vec<u8>) -> Content {
        Content::Text(String::from_utf8(bytes).unwrap())
    }
    fn offer_file(&self, _: &Path) -> Result<Content, ActionError> {
        Err(ActionError::Failed("not in this test".into()))
    }
    fn call<'a>(&'a self, module: &'a str, arguments: Map<String, Value>) -> ActionFuture<'a, Outcome> {
        Box::pin(async move { Ok(self.run(module, arguments)) })
    }
    fn received(&self, name: &str) -> Result<PathBuf, ActionError> {
        Err(ActionError::Failed(name.into()))
    }
    fn with_controller(
        &self,
        work: &mut dyn FnMut(&mut Machine) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        work(&mut self.controller.lock().unwrap())
    }
    fn conceal(&self, secret: &Secret) {
        self.concealed.lock().unwrap().push(secret.clone());
    }
    fn warn(&self, message: String) {
        self.warnings.lock().unwrap().push(message);
    }
}

/// A store and a host's directory in a temporary place.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.path().join("pass"), "it's \"a\" $ecret\\\n").unwrap();
        std::fs::set_permissions(dir.path().join("pass"), std::fs::Permissions::from_mode(0o600)).unwrap();
        Site { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A new run on the host.
    fn host(&self, check: bool) -> Host {
        super::stores::close(&self.path("store"));
        let text = |name: &str| Value::from(self.path(name).display().to_string());
        Host {
            machine: Mutex::new(Machine::new(if check { Mode::Predicted } else { Mode::Live })),
            controller: Mutex::new(Machine::new(if check { Mode::Predicted } else { Mode::Live })),
            variables: [("pki_store", text("store")), ("pki_passphrase_file", text("pass"))]
                .map(|(name, value)| (name.to_string(), value))
                .into(),
            check,
            concealed: Mutex::default(),
            warnings: Mutex::default(),
        }
    }

    fn arguments(&self) -> Value {
        json!({
            "ca": "cluster", "profile": "cluster", "path": self.path("ssl/cluster").display().to_string(),
            "organization": "Example", "dns": ["galera1", "galera1.example.org"], "ip": "10.0.0.1, fd00::1",
            "key_mode": "0600", "directory_mode": "0750",
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut arguments = self.arguments();
        arguments[name] = value;
        arguments
    }
}

fn sets(site: &Site) -> Vec<String> {
    let entries = std::fs::read_dir(site.path("ssl/cluster")).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// (domain, aspect) of every change, to compare a check with a real run.
fn shape(changes: &[Change]) -> Vec<(Domain, String)> {
    let aspect = |change: &Change| match &change.kind {
        ChangeKind::Set { aspect, .. } => aspect.clone(),
        other => format!("{other:?}"),
    };
    changes.iter().map(|change| (change.subject.domain, aspect(change))).collect()
}

#[test]
fn a_check_foresees_what_the_run_does_and_the_second_run_does_nothing() {
    let site = Site::new();
    let ca = json!({"name": "cluster", "organization": "Example"});

    let check = site.host(true);
    let made = check.task("pki_ca", ca.clone());
    assert_eq!((made.status, made.changes.len(), made.data["made"].as_bool()), (Status::Ok, 1, Some(true)), "{made:?}");
    assert_eq!(made.unknown_fields, ["cert", "bundle", "fingerprint"]);
    let foreseen = check.task("pki_certificate", site.arguments());
    assert_eq!(foreseen.status, Status::Ok, "{foreseen:?}");
    assert!(!site.path("store").exists() && !site.path("ssl").exists(), "a check leaves no trace");
    let stat = check.machine.lock().unwrap().stat(site.path("ssl/cluster/current/key.pem")).unwrap().unwrap();
    assert_eq!(stat.mode, 0o600, "later tasks of the check see the key");

    let live = site.host(false);
    let made = live.task("pki_ca", ca.clone());
    assert_eq!((made.status, made.changes.len()), (Status::Ok, 1), "{made:?}");
    let issued = live.task("pki_certificate", site.arguments());
    assert_eq!(issued.status, Status::Ok, "{issued:?}");
    assert_eq!(shape(&foreseen.changes), shape(&issued.changes));
    assert_eq!(foreseen.data["subject"], issued.data["subject"]);
    assert_eq!(issued.data["subject"], "/O=Example/CN=galera1");
    assert_eq!(foreseen.data["reason"], "there is no certificate yet");

    let serial = issued.data["serial"].as_str().unwrap();
    assert_eq!(sets(&site), [serial, "current"]);
    let current = site.path("ssl/cluster/current");
    let mode = |name: &str| std::fs::metadata(current.join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("cert.pem"), mode("key.pem"), mode("ca.pem"), mode("")), (0o644, 0o600, 0o644, 0o750));
    let verified = std::process::Command::new("openssl")
        .args(["verify", "-x509_strict", "-CAfile", "ca.pem", "-verify_hostname", "galera1", "cert.pem"])
        .current_dir(&current)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");

    // No key in what leaves the host, and the engine was told to mask it.
    let key = std::fs::read_to_string(current.join("key.pem")).unwrap();
    assert_eq!(live.concealed.lock().unwrap().last().unwrap().expose(), key);
    let line = key.lines().nth(1).unwrap();
    assert!(!format!("{issued:?}").contains(line) && !serde_json::to_string(&issued).unwrap().contains(line));
    let shown = issued.changes.iter().find(|change| change.subject.domain == Domain::Pki).unwrap();
    let ChangeKind::Set { after: Facet::Text(text), before: Facet::Absent, .. } = &shown.kind else {
        panic!("{shown:?}");
    };
    assert!(text.contains("subject: /O=Example/CN=galera1\n") && text.contains("name: IP:fd00::1\n"), "{text}");

    for check in [true, false] {
        let again = site.host(check);
        assert!(again.task("pki_ca", ca.clone()).changes.is_empty());
        let outcome = again.task("pki_certificate", site.arguments());
        assert_eq!((outcome.status, outcome.changes.len()), (Status::Ok, 0), "{outcome:?}");
        assert_eq!(outcome.data["serial"], serial);
        assert!(outcome.unknown_fields.is_empty());
    }
    assert_eq!(sets(&site).len(), 2);
}

#[test]
fn what_works_is_left_alone_by_an_authority_that_nobody_knows() {
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_certificate", site.arguments());
    let before = sets(&site);
    // Somebody else's account, with a store of its own.
    let another = |check: bool| {
        let mut host = site.host(check);
        host.variables.insert("pki_store".into(), site.path("another").display().to_string().into());
        host
    };
    for check in [true, false] {
        let host = another(check);
        host.task("pki_ca", json!({"name": "cluster"}));
        let refused = host.task("pki_certificate", site.arguments());
        assert_eq!(refused.status, Status::Failed, "{refused:?}");
        assert!(refused.msg.unwrap().contains("is this the store (`pki_store`)"));
        assert_eq!(sets(&site), before);
    }
    // Nor does it help that what is trusted is gone, or that both are to be trusted from now on.
    let ca = site.path("ssl/cluster/current/ca.pem");
    let text = std::fs::read_to_string(&ca).unwrap();
    std::fs::remove_file(&ca).unwrap();
    let host = another(false);
    assert_eq!(host.task("pki_certificate", site.arguments()).status, Status::Failed);
    assert_eq!(
        live.task("pki_certificate", site.arguments()).status,
        Status::Ok,
        "its own authority puts it there again"
    );
    assert_eq!(std::fs::read_to_string(&ca).unwrap(), text);
    let before = sets(&site);
    let mut host = another(false);
    host.variables.insert("pki_other_authority".into(), "replace".into());
    assert!(host.task("pki_certificate", site.arguments()).changed());
    assert_ne!(sets(&site), before);
    super::stores::close(&site.path("another"));
}

#[test]
fn no_certificate_of_an_old_generation_is_cut_off_without_a_word() {
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_certificate", site.arguments());
    let step = |host: &Host, phase: &str| {
        host.task("pki_rotation", json!({"name": "cluster", "phase": phase, "managed": ["galera1"]}))
    };
    for phase in ["trust", "sign"] {
        assert_eq!(step(&live, phase).status, Status::Ok);
    }
    // A check takes the playbook's word for what it would issue.
    assert_eq!(step(&site.host(true), "untrust").status, Status::Ok);
    let refused = step(&live, "untrust");
    assert_eq!(refused.status, Status::Failed);
    let why = refused.msg.unwrap();
    assert!(why.contains("no play of this playbook has made a new one for it") && why.contains("galera1"), "{why}");
    assert!(live.task("pki_certificate", site.arguments()).changed());
    assert_eq!(step(&live, "untrust").data["phase"], "untrust");
}

#[test]
fn a_pair_is_replaced_for_a_reason_and_one_old_set_stays() {
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    let first = live.task("pki_certificate", site.arguments()).data["serial"].clone();
    let current = site.path("ssl/cluster/current");
    let mut serials = vec![first];
    let key = std::fs::read_to_string(current.join("key.pem")).unwrap();
    for (arguments, reason) in [
        (
            site.with("dns", json!(["galera1", "db.example.org"])),
            "it lacks DNS:db.example.org, and names DNS:galera1.example.org",
        ),
        (site.with("dns", json!(["galera1", "db.example.org"])), ""),
        (site.arguments(), "it lacks DNS:galera1.example.org, and names DNS:db.example.org"),
        (site.with("force", json!("yes")), "renewal is forced"),
        (site.with("key_type", json!("ed25519")), "its key is ECDSA P-256 and should be ed25519"),
        (site.with("key_type", json!("ed25519")), ""),
        (site.arguments(), "its key is Ed25519 and should be ecdsa_p256"),
    ] {
        for host in [site.host(true), site.host(false)] {
            let outcome = host.task("pki_certificate", arguments.clone());
            assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
            assert_eq!(outcome.data["reason"].as_str().unwrap_or(""), reason);
            assert_eq!(outcome.changed(), !reason.is_empty());
            if !host.check && outcome.changed() {
                serials.push(outcome.data["serial"].clone());
            }
        }
    }
    let mut kept: Vec<_> = serials.iter().rev().take(2).map(|serial| serial.as_str().unwrap().to_string()).collect();
    kept.push("current".into());
    kept.sort();
    assert_eq!(sets(&site), kept);

    // A foreign key beside the certificate, an unreadable certificate, a changed mode.
    std::fs::write(current.join("key.pem"), key).unwrap();
    let outcome = live.task("pki_certificate", site.arguments());
    assert_eq!(outcome.data["reason"], "its private key belongs to another certificate");
    std::fs::write(current.join("cert.pem"), "damaged").unwrap();
    assert!(live.task("pki_certificate", site.arguments()).data["reason"].as_str().unwrap().contains("no certificate"));
    std::fs::set_permissions(current.join("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let outcome = live.task("pki_certificate", site.arguments());
    assert_eq!(outcome.data["issued"], false);
    assert_eq!(shape(&outcome.changes), [(Domain::File, "mode".to_string())]);
}

#[test]
fn a_missing_file_of_authorities_is_due() {
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_certificate", site.arguments());
    let current = site.path("ssl/cluster/current");
    let (pair, ca) = (std::fs::read(current.join("cert.pem")).unwrap(), current.join("ca.pem"));
    std::fs::remove_file(&ca).unwrap();
    let judged = live.task("pki_certificate", site.with("judge_only", json!(true)));
    assert_eq!((&judged.data["due"], judged.changed()), (&json!(true), false), "{judged:?}");
    let mended = live.task("pki_certificate", site.arguments());
    assert_eq!(
        (mended.status, mended.changed(), &mended.data["issued"]),
        (Status::Ok, true, &json!(false)),
        "{mended:?}"
    );
    assert!(ca.exists() && std::fs::read(current.join("cert.pem")).unwrap() == pair);
    assert!(!live.task("pki_certificate", site.arguments()).changed());
}

#[test]
fn another_trust_is_another_set_around_the_same_pair() {
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_ca", json!({"name": "client"}));
    let serial = live.task("pki_certificate", site.arguments()).data["serial"].as_str().unwrap().to_string();
    let current = site.path("ssl/cluster/current");
    let pair = || ["cert.pem", "key.pem"].map(|name| std::fs::read(current.join(name)).unwrap());
    let before = pair();
    let both = site.with("trust", json!(["client"]));
    let judged = live.task("pki_certificate", {
        let mut one = both.clone();
        one["judge_only"] = json!(true);
        one
    });
    assert_eq!((&judged.data["due"], judged.changed(), sets(&site).len()), (&json!(true), false, 2), "{judged:?}");
    let forced = live.task("pki_certificate", {
        let mut one = site.with("force", json!("yes"));
        one["judge_only"] = json!(true);
        one
    });
    assert_eq!(
        (&forced.data["due"], &forced.data["reason"], forced.changed()),
        (&json!(true), &json!("renewal is forced"), false)
    );
    for host in [site.host(true), site.host(false), site.host(false)] {
        let outcome = host.task("pki_certificate", both.clone());
        assert_eq!((outcome.status, &outcome.data["issued"]), (Status::Ok, &json!(false)), "{outcome:?}");
        let said: Vec<_> = outcome.changes.iter().filter(|change| change.subject.domain == Domain::Pki).collect();
        match std::fs::read_link(&current).unwrap().to_str().unwrap().split_once('.') {
            Some((same, mark)) => assert!(same == serial && mark.len() == 8, "{same} {mark}"),
            None => assert!(host.check),
        }
        if outcome.changed() {
            assert_eq!(outcome.data["previous"], serial.as_str());
            assert!(format!("{said:?}").contains("/CN=client CA"), "{said:?}");
        }
    }
    assert_eq!(live.task("pki_certificate", both).changes, []);
    assert_eq!(pair(), before);
    assert_eq!(std::fs::read_to_string(current.join("ca.pem")).unwrap().matches("BEGIN").count(), 2);
    assert_eq!(sets(&site).len(), 3, "the set before is a way back");
    assert!(live.task("pki_certificate", site.arguments()).changed());
    assert_eq!(std::fs::read_to_string(current.join("ca.pem")).unwrap().matches("BEGIN").count(), 1);

    // Somebody has edited the set in force: it is replaced by another one with the same authorities, not written over.
    let before = std::fs::read_link(&current).unwrap();
    std::fs::write(current.join("ca.pem"), "-----BEGIN CERTIFICATE-----\nedited").unwrap();
    let unreadable = site.with("readable_by", json!(["nobody"]));
    if rustix::process::geteuid().is_root() {
        assert_eq!(live.task("pki_certificate", unreadable).status, Status::Failed);
        assert!(current.join("key.pem").exists() && sets(&site).len() == 3, "the live set and its key stay");
    }
    assert!(live.task("pki_certificate", site.arguments()).changed());
    assert_ne!(std::fs::read_link(&current).unwrap(), before);
    assert_eq!(std::fs::read_to_string(current.join("ca.pem")).unwrap().matches("BEGIN").count(), 1);
}

#[test]
fn what_cannot_work_changes_nothing() {
    let site = Site::new();
    let live = site.host(false);
    let missing = live.task("pki_certificate", site.arguments());
    assert!(missing.msg.unwrap().contains("there is no authority `cluster`"));
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_ca", json!({"name": "client"}));
    for (arguments, want) in [
        (site.with("ip", json!("10.0.0.300")), "`10.0.0.300` cannot be a certificate's name"),
        (site.with("dns", json!("a b")), "`a b` cannot be a certificate's name"),
        (site.with("profile", json!("clint")), "`clint` is no certificate profile"),
        (site.with("profile", json!("client")), "can join replication"),
        (site.with("ca", json!("client")), "nodes trust only the cluster's authority"),
        (site.with("path", json!("ssl")), "absolute path"),
        (site.with("key_name", json!("../key.pem")), "is no file name"),
        (site.with("renew_before", json!("90d")), "every run would renew"),
        (site.with("trust", json!("nobody")), "there is no authority `nobody`"),
        (site.with("owner", json!("nobody-here")), "there is no user `nobody-here`"),
        (site.with("readable_by", json!("nobody-here")), "there is no user `nobody-here`"),
        (site.with("readable_by", json!("daemon")), "the user daemon could not read"),
        (site.with("misspelt", json!(1)), "misspelt"),
    ] {
        for host in [site.host(true), site.host(false)] {
            let module = find("pki_certificate").unwrap();
            let early = super::preflight(module, &host, arguments.as_object().unwrap().clone());
            assert_eq!(early.is_err(), known_before(want), "{want}");
            let outcome = host.task("pki_certificate", arguments.clone());
            let msg = outcome.msg.clone().unwrap_or_default();
            assert!(outcome.status == Status::Failed && msg.contains(want), "{want}: {outcome:?}");
            assert!(!site.path("ssl/cluster/current").exists(), "{want}");
        }
    }
    let wrong = json!({"name": "other"});
    assert!(live.task("pki_ca", wrong).msg.unwrap().contains("say with `purpose`"));
}

/// Errors that need no connection; the others are about the host or about an authority that may yet be made.
fn known_before(want: &str) -> bool {
    !["authority `nobody`", "there is no user", "the user daemon"].iter().any(|late| want.contains(late))
}

#[test]
fn readers_and_owners_are_as_asked() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root gives files away.
    }
    let site = Site::new();
    let live = site.host(false);
    live.task("pki_ca", json!({"name": "cluster"}));
    live.task("pki_ca", json!({"name": "client"}));
    let mut arguments = site.with("group", json!("daemon"));
    arguments["readable_by"] = json!(["daemon"]);
    arguments["key_mode"] = json!("u=rw,g=r,o=");
    arguments["trust"] = json!(["client"]);
    let outcome = live.task("pki_certificate", arguments.clone());
    assert_eq!(outcome.status, Status::Ok, "{outcome:?}");
    let current = site.path("ssl/cluster/current");
    let key = std::fs::metadata(current.join("key.pem")).unwrap();
    assert_eq!((key.mode() & 0o7777, key.uid(), key.gid() != 0), (0o640, 0, true));
    let trusted = std::fs::read_to_string(current.join("ca.pem")).unwrap();
    assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2);
    // Only the trust changes: the key is as readable in the new set as it was.
    arguments.as_object_mut().unwrap().remove("trust");
    let outcome = live.task("pki_certificate", arguments);
    assert_eq!(outcome.data["issued"].as_bool(), Some(false), "{outcome:?}");
    let again = std::fs::metadata(current.join("key.pem")).unwrap();
    assert_eq!((again.mode() & 0o7777, again.uid(), again.gid()), (0o640, 0, key.gid()));
}
