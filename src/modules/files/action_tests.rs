//! The controller halves: what they make of files, and that the host half gets it.

use crate::machine::{Machine, Mode};
use crate::modules::testing::{TestController, object, run_on};
use crate::modules::{
    ActionError, ActionFuture, ActionHost, Content, FileKind, Outcome, Prepared, RenderOptions, Status, find,
};
use crate::secret::Secret;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A controller with one directory of files, and this machine as the host.
struct Host {
    directory: PathBuf,
    mode: Mode,
    /// Larger contents are offered as blobs.
    controller: Mutex<TestController>,
    received: PathBuf,
    controller_machine: Mutex<Machine>,
    calls: Mutex<usize>,
}

impl Host {
    fn new(directory: &Path, mode: Mode) -> Host {
        Host {
            directory: directory.to_path_buf(),
            mode,
            controller: Mutex::default(),
            received: directory.join("received"),
            controller_machine: Mutex::new(Machine::new(mode)),
            calls: Mutex::new(0),
        }
    }

    /// The whole task, as the engine runs it.
    fn task(&self, module: &str, arguments: Value) -> Outcome {
        let action = find(module).unwrap().action.unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut outcome = match runtime.block_on(action(self, object(arguments))) {
            Ok(Prepared::Send(arguments)) => self.run(module, arguments),
            Ok(Prepared::Done(outcome)) => outcome,
            Err(error) => Outcome::failed(error.to_string()),
        };
        outcome.changes.extend(self.controller_machine.lock().unwrap().take_changes());
        outcome
    }

    fn run(&self, module: &str, arguments: Map<String, Value>) -> Outcome {
        let mut controller = self.controller.lock().unwrap();
        run_on(&mut Machine::new(self.mode), &mut *controller, module, &Value::Object(arguments))
    }
}

impl ActionHost for Host {
    fn host(&self) -> &str {
        "db1"
    }
    fn check(&self) -> bool {
        self.mode != Mode::Live
    }
    fn diff(&self) -> bool {
        true
    }
    fn template(&self, text: &str) -> Result<Value, ActionError> {
        Ok(text.into())
    }
    fn render(
        &self,
        path: &Path,
        text: &str,
        options: &RenderOptions,
        extra: Map<String, Value>,
    ) -> Result<String, ActionError> {
        assert!(path.is_absolute() && options.trim_blocks == Some(true));
        Ok(text.replace("{{ dest }}", extra["template_destpath"].as_str().unwrap()))
    }
    fn variable(&self, name: &str) -> Result<Option<Value>, ActionError> {
        Ok((name == "playbook_dir").then(|| json!(self.directory)))
    }
    fn find_file(&self, _: FileKind, name: &str) -> Result<PathBuf, ActionError> {
        let path = self.directory.join(name);
        if path.exists() { Ok(path) } else { Err(ActionError::Failed(format!("could not find {name}"))) }
    }
    fn unvault(&self, _: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, ActionError> {
        Ok(if bytes.starts_with(b"$ANSIBLE_VAULT") { b"decrypted".to_vec() } else { bytes })
    }
    fn offer(&self, bytes: Vec<u8>) -> Content {
        if bytes.len() <= Content::INLINE {
            return Content::Text(String::from_utf8(bytes).unwrap());
        }
        let (sha256, size) = (crate::machine::files::sha256(&bytes), bytes.len() as u64);
        self.controller.lock().unwrap().blobs.insert(sha256.clone(), bytes);
        Content::Blob { sha256, size }
    }
    fn offer_file(&self, path: &Path) -> Result<Content, ActionError> {
        Ok(self.offer(std::fs::read(path).unwrap()))
    }
    fn call<'a>(&'a self, module: &'a str, arguments: Map<String, Value>) -> ActionFuture<'a, Outcome> {
        *self.calls.lock().unwrap() += 1;
        Box::pin(async move { Ok(self.run(module, arguments)) })
    }
    fn reconnect<'a>(&'a self) -> ActionFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }
    fn received(&self, name: &str) -> Result<PathBuf, ActionError> {
        std::fs::write(&self.received, &self.controller.lock().unwrap().received[name]).unwrap();
        Ok(self.received.clone())
    }
    fn with_controller(
        &self,
        work: &mut dyn FnMut(&mut Machine) -> Result<(), ActionError>,
    ) -> Result<(), ActionError> {
        work(&mut self.controller_machine.lock().unwrap())
    }
    fn conceal(&self, _: &Secret) {}
    fn warn(&self, message: String) {
        panic!("{message}");
    }
}

/// Checks, applies, applies again.
fn thrice(directory: &Path, module: &str, arguments: &Value) -> Outcome {
    let predicted = Host::new(directory, Mode::Predicted).task(module, arguments.clone());
    let real = Host::new(directory, Mode::Live).task(module, arguments.clone());
    crate::modules::testing::assert_foretold(&predicted, &real, &format!("{module} {arguments}"));
    let again = Host::new(directory, Mode::Live).task(module, arguments.clone());
    assert_eq!((again.status, again.changes), (real.status, vec![]), "the second run of {module} {arguments}");
    real
}

#[test]
fn copies_of_files_vaults_and_directories() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir_all(from.join("tree/sub")).unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::write(from.join("plain"), "plain\n").unwrap();
    std::fs::set_permissions(from.join("plain"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(from.join("vault"), "$ANSIBLE_VAULT;1.1;AES256\n00").unwrap();
    std::fs::write(from.join("big"), "b".repeat(300_000)).unwrap();
    std::fs::write(from.join("tree/a"), "a").unwrap();
    std::os::unix::fs::symlink("a", from.join("tree/link")).unwrap();
    for number in 0..8 {
        std::fs::write(from.join(format!("tree/sub/{number}")), number.to_string().repeat(100_000)).unwrap();
    }
    let outcome = thrice(&from, "copy", &json!({"src": "plain", "dest": to, "mode": "preserve"}));
    assert_eq!((&outcome.data["mode"], &outcome.data["src"]), (&json!("0700"), &json!("plain")));
    thrice(&from, "copy", &json!({"src": "vault", "dest": to.join("v")}));
    assert_eq!(std::fs::read_to_string(to.join("v")).unwrap(), "decrypted");
    let outcome = thrice(&from, "copy", &json!({"src": "big", "dest": to.join("big")}));
    assert!(outcome.data["checksum"].is_string(), "a check computes it where nothing is streamed");
    thrice(&from, "copy", &json!({"content": "c".repeat(300_000), "dest": to.join("content")}));
    // A directory that does not fit one request is sent in several.
    let host = Host::new(&from, Mode::Live);
    let outcome = host.task("copy", json!({"src": "tree", "dest": to, "local_follow": false}));
    assert_eq!((outcome.status, outcome.msg), (Status::Ok, None));
    assert!(*host.calls.lock().unwrap() > 1);
    assert_eq!(std::fs::read_to_string(to.join("tree/sub/7")).unwrap().len(), 100_000);
    assert_eq!(std::fs::read_link(to.join("tree/link")).unwrap(), Path::new("a"));
    std::fs::remove_dir_all(from.join("tree/sub")).unwrap();
    thrice(&from, "copy", &json!({"src": "tree/", "dest": to.join("flat"), "directory_mode": "0700"}));
    assert_eq!(std::fs::read_to_string(to.join("flat/link")).unwrap(), "a");
    for (arguments, part) in [
        (json!({"src": "none", "dest": "/x"}), "could not find none"),
        (json!({"src": "plain", "content": "x", "dest": "/x"}), "mutually exclusive"),
        (json!({"content": "x", "dest": "/x/"}), "content with a dir"),
        (json!({"dest": "/x"}), "required"),
        (json!({"src": "big", "dest": "/x", "checksum": "00"}), "expected checksum"),
    ] {
        let message = Host::new(&from, Mode::Live).task("copy", arguments).msg.unwrap();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn templates_are_rendered_and_placed() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("app.conf.j2"), "to {{ dest }}\n").unwrap();
    let dest = scratch.path().join("app.conf");
    let outcome = thrice(
        scratch.path(),
        "template",
        &json!({"src": "app.conf.j2", "dest": dest, "mode": "0600", "validate": "grep -q ^to %s"}),
    );
    assert_eq!(std::fs::read_to_string(&dest).unwrap(), format!("to {}\n", dest.display()));
    assert_eq!((&outcome.data["mode"], &outcome.data["dest"]), (&json!("0600"), &json!(dest)));
    std::fs::create_dir(scratch.path().join("d")).unwrap();
    let outcome = thrice(scratch.path(), "template", &json!({"src": "app.conf.j2", "dest": scratch.path().join("d")}));
    assert_eq!(outcome.data["dest"], json!(scratch.path().join("d/app.conf.j2")));
    for (arguments, part) in [
        (json!({"src": "app.conf.j2", "dest": dest, "newline_sequence": "x"}), "newline_sequence"),
        (json!({"src": "app.conf.j2", "dest": dest, "output_encoding": "ebcdic"}), "ebcdic"),
        (json!({"src": "app.conf.j2"}), "dest"),
    ] {
        let message = Host::new(scratch.path(), Mode::Live).task("template", arguments).msg.unwrap();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn files_are_fetched_once() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("remote.log");
    std::fs::write(&source, "log\n").unwrap();
    let outcome = thrice(scratch.path(), "fetch", &json!({"src": source, "dest": "logs"}));
    let expected = scratch.path().join("logs/db1").join(source.strip_prefix("/").unwrap());
    assert_eq!(outcome.data["dest"], json!(expected));
    assert_eq!(std::fs::read_to_string(&expected).unwrap(), "log\n");
    thrice(scratch.path(), "fetch", &json!({"src": source, "dest": "flat/", "flat": true}));
    assert!(scratch.path().join("flat/remote.log").exists());
    let gone = json!({"src": "/none/here", "dest": "x"});
    assert_eq!(Host::new(scratch.path(), Mode::Live).task("fetch", gone).status, Status::Failed);
    let outcome = thrice(scratch.path(), "fetch", &json!({"src": "/none/here", "dest": "x", "fail_on_missing": false}));
    assert_eq!((outcome.status, outcome.changes.len()), (Status::Ok, 0));
}
