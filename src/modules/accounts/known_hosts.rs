//! `known_hosts`: the key of a host in ssh's file of known hosts.

use crate::machine::Machine;
use crate::machine::files::{NewContent, WriteOptions};
use crate::modules::files::common::{Step, begin, describe, expand, show};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};

/// `ansible.builtin.known_hosts`
pub const KNOWN_HOSTS: Module = Module {
    name: "ansible.builtin.known_hosts",
    aliases: &["known_hosts", "ansible.legacy.known_hosts"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: KnownHosts::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Keeps the key of a host in a file of known hosts, or removes it.
    ///
    /// A key of the same type takes the place of the one that is there; keys of other types stay.
    pub struct KnownHosts {
        /// The host, as ssh looks it up: `db1.example.com`, or `[db1.example.com]:2222` for another port.
        #[serde(alias = "host")]
        pub name: Text,
        /// The key as a line of the file, with the host before it. Without it, and with `absent`, all keys of the host go.
        pub key: Option<Text>,
        /// The file; `~/.ssh/known_hosts` when not given.
        pub path: Option<Text>,
        /// Write the host's name hashed.
        #[serde(default)]
        pub hash_host: Flag,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
    }
}

/// Larger files are not edited.
const LIMIT: u64 = 16 << 20;

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let alias = arguments.get("host").cloned();
    let arguments: KnownHosts = decode(arguments)?;
    begin(machine, context);
    let present = arguments.state == State::Present;
    let host = arguments.name.to_lowercase();
    let key = arguments.key.as_ref().map(|key| key.0.clone()).filter(|key| !key.is_empty());
    if key.is_none() && present {
        return Err(ModuleError::Failed("No key specified when adding a host".into()));
    }
    let wanted = match &key {
        None => None,
        Some(text) => Some(sane(&host, text)?),
    };
    let path = expand(machine, arguments.path.as_ref().map_or("~/.ssh/known_hosts", |path| &path.0))?;
    let before = machine.read_file_if_exists(&path, LIMIT)?;
    let text = String::from_utf8_lossy(before.as_deref().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let after = match (&wanted, present) {
        (None, _) => {
            let kept: String = lines.iter().copied().filter(|line| !removable(line, &host)).collect();
            let gone = kept != text;
            if gone {
                // As `ssh-keygen -R` does.
                let old = format!("{}.old", path.display());
                machine.write_file(old, text.as_bytes(), &WriteOptions::default())?;
            }
            gone.then_some(kept)
        }
        (Some(wanted), present) => {
            let (line, replace) = search(&lines, &host, wanted, arguments.hash_host.0);
            let rest = |skip: Option<usize>| -> String {
                lines.iter().enumerate().filter(|(number, _)| Some(*number) != skip).map(|(_, line)| *line).collect()
            };
            match (present, line) {
                (true, Some(_)) if !replace => None,
                (true, line) => Some(rest(line)),
                (false, Some(line)) => Some(rest(Some(line))),
                (false, None) => None,
            }
        }
    };
    if let Some(mut rest) = after {
        let directory = path.parent().unwrap_or(std::path::Path::new("/"));
        if !machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
            return Err(ModuleError::Failed(format!(
                "Failed to write to file {}: there is no directory {}",
                path.display(),
                directory.display()
            )));
        }
        let options = WriteOptions { follow: true, ..WriteOptions::default() };
        let added = key.as_ref().filter(|_| present);
        // The last line of the file may be without its end.
        if added.is_some() && !rest.is_empty() && !rest.ends_with('\n') {
            rest.push('\n');
        }
        if added.is_some() && arguments.hash_host.0 && machine.predicted() {
            machine.write(&path, NewContent::AtApply("hashed with a new salt"), &options, None)?;
        } else {
            let line = match added {
                Some(text) if arguments.hash_host.0 => hashed(&host, text)?,
                Some(text) => text.clone(),
                None => String::new(),
            };
            let end = if line.is_empty() || line.ends_with('\n') { "" } else { "\n" };
            machine.write_file(&path, format!("{rest}{line}{end}").as_bytes(), &options)?;
        }
    }
    let mut outcome = Outcome::ok()
        .with("name", arguments.name.0.clone())
        .with("key", arguments.key.as_ref().map(|key| key.0.clone()))
        .with("path", show(&path))
        .with("hash_host", arguments.hash_host.0);
    if let Some(alias) = alias {
        outcome = outcome.with("host", alias);
    }
    describe(machine, &path, &mut outcome)?;
    Ok(outcome)
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line<'a> {
    marker: Option<&'a str>,
    hosts: &'a str,
    kind: &'a str,
    key: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Line<'a>> {
        let mut words = text.split_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (marker, hosts) = match first.starts_with('@') {
            true => (Some(first), words.next()?),
            false => (None, first),
        };
        Some(Line { marker, hosts, kind: words.next()?, key: words.next()? })
    }

    /// Whether ssh would find the host here.
    fn is_of(&self, host: &str) -> bool {
        if self.hosts.starts_with("|1|") {
            return hash_matches(self.hosts, host);
        }
        let mut found = false;
        for pattern in self.hosts.split(',') {
            match pattern.strip_prefix('!') {
                Some(pattern) if wild(&pattern.to_lowercase(), host) => return false,
                Some(_) => {}
                None => found |= wild(&pattern.to_lowercase(), host),
            }
        }
        found
    }
}

/// The line of the key, which must be one of the host.
fn sane<'a>(host: &str, key: &'a str) -> Step<Line<'a>> {
    if host.split(',').count() > 1 {
        let why = "Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.";
        return Err(ModuleError::Failed(why.into()));
    }
    let line = Line::parse(key).filter(|line| line.is_of(host));
    line.ok_or_else(|| ModuleError::Failed("Host parameter does not match hashed host field in supplied key".into()))
}

/// The line that is this key or would be replaced by it, and whether it is to be.
fn search(lines: &[&str], host: &str, wanted: &Line<'_>, hash: bool) -> (Option<usize>, bool) {
    for (number, text) in lines.iter().enumerate() {
        let Some(line) = Line::parse(text).filter(|line| line.is_of(host)) else { continue };
        // One that is hashed stays as it is, whatever its salt.
        let both_hashed = (hash || wanted.hosts.starts_with("|1|")) && line.hosts.starts_with("|1|");
        let same_hosts = both_hashed || !hash && line.hosts == wanted.hosts;
        let same = same_hosts && (line.marker, line.kind, line.key) == (wanted.marker, wanted.kind, wanted.key);
        let marked = line.marker.is_some_and(|m| m.starts_with("@cert-authority") || m.starts_with("@revoke"));
        if same {
            return (Some(number), false);
        }
        if !marked && line.kind == wanted.kind {
            return (Some(number), true);
        }
    }
    (None, true)
}

/// Whether the line goes when all keys of the host go. Authorities and revoked keys stay, as for `ssh-keygen -R`.
fn removable(text: &str, host: &str) -> bool {
    Line::parse(text).is_some_and(|line| line.marker.is_none() && line.is_of(host))
}

fn hash_matches(hosts: &str, host: &str) -> bool {
    let mut parts = hosts.split('|').skip(2);
    let mut part = || STANDARD.decode(parts.next().unwrap_or_default()).ok();
    let (Some(salt), Some(hash)) = (part(), part()) else { return false };
    hmac(&salt, host.as_bytes()) == hash
}

/// HMAC with SHA-1, as ssh hashes names.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    let long = Sha1::digest(key);
    let key = if key.len() > block.len() { &long[..] } else { key };
    block.iter_mut().zip(key).for_each(|(byte, key)| *byte = *key);
    let inner = Sha1::digest([block.map(|byte| byte ^ 0x36).as_slice(), message].concat());
    Sha1::digest([block.map(|byte| byte ^ 0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

/// The line with the host's name hashed.
fn hashed(host: &str, key: &str) -> Step<String> {
    let mut salt = [0u8; 20];
    rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| ModuleError::Failed(format!("cannot get random bytes: {e}")))?;
    let name = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac(&salt, host.as_bytes())));
    let mut words: Vec<&str> = key.split_whitespace().collect();
    let place = usize::from(words.first().is_some_and(|word| word.starts_with('@')));
    if let Some(word) = words.get_mut(place) {
        *word = &name;
    }
    Ok(words.join(" "))
}

/// Whether a text matches a pattern of `*` and `?`.
fn wild(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for part in pattern {
        let mut next = vec![false; text.len() + 1];
        for (place, here) in reach.iter().enumerate() {
            let from_left = place > 0 && next.get(place - 1).copied().unwrap_or(false);
            let before = place > 0 && reach.get(place - 1).copied().unwrap_or(false);
            let fits = match part {
                '*' => *here || from_left,
                '?' => before,
                letter => before && text.get(place.wrapping_sub(1)) == Some(&letter),
            };
            if let Some(slot) = next.get_mut(place) {
                *slot = fits;
            }
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::json;

    #[test]
    fn hosts_are_found_as_ssh_finds_them() {
        for (pattern, host, found) in [
            ("a.example,b", "b", true),
            ("*.example", "a.example", true),
            ("*.example,!a.example", "a.example", false),
            ("A?", "ab", true),
            ("[a]:22", "[a]:22", true),
            ("a", "ab", false),
            // As ssh-keygen -H makes them.
            ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", "192.168.1.61", true),
            ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", "192.168.1.62", false),
        ] {
            let line = format!("{pattern} ssh-rsa AAAA");
            assert_eq!(Line::parse(&line).unwrap().is_of(host), found, "{pattern} {host}");
        }
    }

    #[test]
    fn keys_are_kept_replaced_and_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("known_hosts");
        let read = || std::fs::read_to_string(&path).unwrap();
        let task = |more: Value| {
            let mut task = json!({"name": "db1", "path": path});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1 ssh-rsa AAA"}))).changed());
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1,db2 ssh-ed25519 BBB me@x"}))).changed());
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1 ssh-rsa CCC\n"}))).changed());
        assert_eq!(read(), "db1,db2 ssh-ed25519 BBB me@x\ndb1 ssh-rsa CCC\n");
        let other = task(json!({"key": "db1 ssh-dss X", "state": "absent"}));
        assert!(!check_then_apply("known_hosts", &other).changed());
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1 ssh-rsa CCC", "state": "absent"}))).changed());
        assert_eq!(read(), "db1,db2 ssh-ed25519 BBB me@x\n");
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1 ssh-rsa DDD", "hash_host": true}))).changed());
        assert!(read().lines().nth(1).unwrap().starts_with("|1|") && read().ends_with(" ssh-rsa DDD\n"));
        assert!(apply_twice("known_hosts", &task(json!({"state": "absent"}))).changed());
        assert_eq!(read(), "");
        std::fs::write(&path, "db2 ssh-rsa A").unwrap();
        assert!(apply_twice("known_hosts", &task(json!({"key": "db1 ssh-rsa B"}))).changed());
        assert_eq!(read(), "db2 ssh-rsa A\ndb1 ssh-rsa B\n", "a last line without its end");
        for wrong in [json!({}), json!({"key": "db9 ssh-rsa A"}), json!({"key": "db1 ssh-rsa A", "path": "/nowhere/x"})]
        {
            assert_eq!(check_then_apply("known_hosts", &task(wrong)).status, Status::Failed);
        }
    }
}
