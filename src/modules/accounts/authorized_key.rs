//! `authorized_key`: who may log in as a user with an SSH key.

use crate::machine::Machine;
use crate::machine::files::{Attributes, WriteOptions};
use crate::modules::files::common::{Step, begin, describe, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.posix.authorized_key`
pub const AUTHORIZED_KEY: Module = Module {
    name: "ansible.posix.authorized_key",
    aliases: &["authorized_key"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: AuthorizedKey::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// A larger file is none of keys.
const LIMIT: u64 = 16 << 20;

/// Kinds of keys that OpenSSH knows.
const KINDS: &[&str] = &[
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-dss",
    "ssh-rsa",
    "ssh-xmss@openssh.com",
    "ssh-xmss-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "ssh-dss-cert-v01@openssh.com",
];

crate::arguments! {
    /// Adds SSH keys to those that may log in as a user, or removes them.
    pub struct AuthorizedKey {
        /// The user.
        pub user: Text,
        /// The keys, a line each, or `file:///PATH` of a file on the host. An address of the web is not supported yet: an error.
        pub key: Text,
        /// The file; `.ssh/authorized_keys` in the user's home when not given.
        pub path: Option<Text>,
        /// Make the file's directory, and give it to the user with mode 0700. For a `path` elsewhere say no.
        #[serde(default = "Flag::yes")]
        pub manage_dir: Flag,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Options before the key, separated by commas: `no-port-forwarding,from="10.0.0.0/8"`.
        pub key_options: Option<Text>,
        /// Remove all other keys of the file, and its comments.
        #[serde(default)]
        pub exclusive: Flag,
        /// A comment instead of the key's own.
        pub comment: Option<Text>,
        /// Change what a link points to.
        #[serde(default)]
        pub follow: Flag,
        /// For addresses of the web, which are not supported yet.
        pub validate_certs: Option<Flag>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let given = arguments.clone();
    let arguments: AuthorizedKey = decode(arguments)?;
    begin(machine, context);
    let keys = keys_of(machine, &arguments)?;
    let Some(user) = machine.user(&arguments.user)? else {
        return Err(ModuleError::Failed(format!(
            "Failed to lookup user {}: the host has none of that name",
            &*arguments.user
        )));
    };
    let path = match &arguments.path {
        Some(path) => PathBuf::from(&path.0),
        None => Path::new(&user.home).join(".ssh/authorized_keys"),
    };
    let before = machine.read_file_if_exists(&path, LIMIT)?.unwrap_or_default();
    let mut file = File::parse(&String::from_utf8_lossy(&before));
    let write = match arguments.state {
        State::Present => file.add(keys, arguments.exclusive.0),
        State::Absent => file.remove(&keys),
    };
    if write {
        let own = |mode| Attributes { mode: Some(mode), owner: Some(user.uid), group: Some(user.gid) };
        if let Some(directory) = path.parent().filter(|_| arguments.manage_dir.0) {
            machine.make_directories(directory, &own(0o700))?;
            machine.set_attributes(directory, &own(0o700), true)?;
        } else if let Some(directory) = path.parent() {
            machine.make_directories(directory, &Attributes::default())?;
        }
        let options = WriteOptions { attributes: own(0o600), follow: arguments.follow.0, ..WriteOptions::default() };
        machine.write_file(&path, file.text().as_bytes(), &options)?;
    }
    let mut outcome = Outcome::ok().with("keyfile", show(&path));
    for (name, default) in [
        ("comment", Value::Null),
        ("exclusive", false.into()),
        ("follow", false.into()),
        ("key", Value::Null),
        ("key_options", Value::Null),
        ("manage_dir", true.into()),
        ("path", Value::Null),
        ("state", "present".into()),
        ("user", Value::Null),
        ("validate_certs", true.into()),
    ] {
        let value = given.get(name).cloned().unwrap_or(default);
        let switch = matches!(name, "exclusive" | "follow" | "manage_dir" | "validate_certs");
        let value = Flag::parse(&value).filter(|_| switch).map_or(value, Value::from);
        outcome.data.insert(name.into(), value);
    }
    if arguments.path.is_some() {
        // Ansible tells of every path that is returned what is there; `state` is that, then.
        describe(machine, &path, &mut outcome)?;
    }
    Ok(outcome)
}

/// The keys that are asked for.
fn keys_of(machine: &Machine, arguments: &AuthorizedKey) -> Step<Vec<Key>> {
    let text = match &*arguments.key {
        key if key.starts_with("http") => {
            let why = "keys are not fetched from an address yet: write the key itself, or `lookup('file', …)`";
            return Err(ModuleError::argument("key", why));
        }
        key if key.starts_with("file") => {
            let path = key.strip_prefix("file://").unwrap_or(key);
            match machine.stat(path)? {
                None => return Err(ModuleError::Failed(format!("Path to a key file not found: {path}"))),
                Some(stat) if !stat.is_file() => {
                    return Err(ModuleError::Failed(format!(
                        "Path to a key is a directory and must be a file: {path}"
                    )));
                }
                Some(_) => String::from_utf8_lossy(&machine.read_file(path, LIMIT)?).into_owned(),
            }
        }
        key => key.to_string(),
    };
    let mut keys = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some(mut key) = Key::parse(line) else {
            return Err(ModuleError::Failed(format!("invalid key specified: {line}")));
        };
        if let Some(options) = &arguments.key_options {
            key.options = split(options);
        }
        if let Some(comment) = &arguments.comment {
            key.comment.clone_from(&comment.0);
        }
        keys.push(key);
    }
    Ok(keys)
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    options: Vec<String>,
    kind: String,
    key: String,
    comment: String,
}

impl Key {
    fn parse(line: &str) -> Option<Key> {
        let line = line.replace("\\#", "#");
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| KINDS.contains(word))?;
        Some(Key {
            options: split(&words.get(..at)?.join(" ")),
            kind: words.get(at)?.to_string(),
            key: words.get(at + 1)?.to_string(),
            comment: words.get(at + 2..).unwrap_or_default().join(" "),
        })
    }

    fn line(&self) -> String {
        let gap = if self.options.is_empty() { "" } else { " " };
        format!("{}{gap}{} {} {}\n", self.options.join(","), self.kind, self.key, self.comment)
    }
}

/// Options, separated by commas that are not between quotes.
fn split(text: &str) -> Vec<String> {
    let mut options = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (c, quote) {
            (',', None) => {
                options.push(String::new());
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
        if let Some(last) = options.last_mut() {
            last.push(c);
        }
    }
    options.retain(|option| !option.is_empty());
    options
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Key(Key),
    /// A comment, or what is no key: it stays as it is.
    Other(String),
}

/// A file of keys. Of a key that stands there twice, the last line counts.
struct File(Vec<Line>);

impl File {
    fn parse(text: &str) -> File {
        let mut lines: Vec<Line> = Vec::new();
        for line in text.split_inclusive('\n') {
            let parsed = match Key::parse(line) {
                Some(key) if line.split_whitespace().next() != Some("#") => Line::Key(key),
                _ => Line::Other(line.to_string()),
            };
            lines.retain(|other| match (other, &parsed) {
                (Line::Key(other), Line::Key(key)) => other.key != key.key,
                (other, parsed) => other != parsed,
            });
            lines.push(parsed);
        }
        File(lines)
    }

    fn is(line: &Line, key: &Key) -> bool {
        matches!(line, Line::Key(there) if there.key == key.key)
    }

    /// Whether anything had to be done.
    fn add(&mut self, keys: Vec<Key>, exclusive: bool) -> bool {
        let mut write = false;
        for key in &keys {
            if !self.0.contains(&Line::Key(key.clone())) {
                self.0.retain(|line| !File::is(line, key));
                self.0.push(Line::Key(key.clone()));
                write = true;
            }
        }
        if exclusive {
            let length = self.0.len();
            self.0.retain(|line| keys.iter().any(|key| File::is(line, key)));
            write |= self.0.len() < length;
        }
        write
    }

    fn remove(&mut self, keys: &[Key]) -> bool {
        let length = self.0.len();
        self.0.retain(|line| !keys.iter().any(|key| File::is(line, key)));
        self.0.len() < length
    }

    fn text(&self) -> String {
        let line = |line: &Line| match line {
            Line::Key(key) => key.line(),
            Line::Other(text) => text.clone(),
        };
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_come_change_and_go() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("ssh/keys");
        let read = || std::fs::read_to_string(&path).unwrap();
        let task = |mut arguments: Value| {
            arguments["user"] = json!("root");
            arguments["path"] = json!(path);
            apply_twice("authorized_key", &arguments)
        };
        let first = task(json!({"key": "ssh-ed25519 AAAA me@here\n# no key\nssh-rsa BBBB"}));
        assert!(first.changed());
        assert_eq!(first.data["keyfile"], json!(path));
        assert_eq!(read(), "ssh-ed25519 AAAA me@here\nssh-rsa BBBB \n");
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::write(&path, "# words\nssh-ed25519 AAAA me@here\nrubbish\n").unwrap();
        for (arguments, after) in [
            (json!({"key": "ssh-ed25519 AAAA me@here"}), None),
            (
                json!({"key": "ssh-ed25519 AAAA me@here", "key_options": "no-pty,from=\"10.0.0.1,10.0.0.2\""}),
                Some("# words\nrubbish\nno-pty,from=\"10.0.0.1,10.0.0.2\" ssh-ed25519 AAAA me@here\n"),
            ),
            (
                json!({"key": "ssh-ed25519 AAAA", "comment": "other"}),
                Some("# words\nrubbish\nssh-ed25519 AAAA other\n"),
            ),
            (json!({"key": "ssh-rsa CCCC x", "state": "absent"}), None),
            (json!({"key": "ssh-rsa CCCC x y"}), Some("# words\nrubbish\nssh-ed25519 AAAA other\nssh-rsa CCCC x y\n")),
            (json!({"key": "ssh-ed25519 AAAA", "state": "absent"}), Some("# words\nrubbish\nssh-rsa CCCC x y\n")),
            (json!({"key": "ssh-rsa CCCC x y", "exclusive": true}), Some("ssh-rsa CCCC x y\n")),
        ] {
            let before = read();
            let outcome = task(arguments.clone());
            assert_eq!(outcome.changed(), after.is_some(), "{arguments}");
            assert_eq!(read(), after.unwrap_or(&before), "{arguments}");
        }
        for wrong in [
            json!({"user": "root", "path": path, "key": "nothing like a key"}),
            json!({"user": "nobody-of-this-name", "key": "ssh-rsa CCCC"}),
            json!({"user": "root", "path": path, "key": "https://example.org/me.keys"}),
            json!({"user": "root", "path": path, "key": "file:///no/such/file"}),
        ] {
            assert_eq!(check_then_apply("authorized_key", &wrong).status, Status::Failed, "{wrong}");
        }
    }
}
