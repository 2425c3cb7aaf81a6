//! `apt_key`: a key that apt trusts.

use super::openpgp::{Key, armored, read};
use crate::machine::Machine;
use crate::machine::files::{Attributes, WriteOptions};
use crate::machine::web::{Request, mask};
use crate::modules::files::common::{Step, begin, expand};
use crate::modules::files::lineinfile::State;
use crate::modules::network::ask::said;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// `ansible.builtin.apt_key`
pub const APT_KEY: Module = Module {
    name: "ansible.builtin.apt_key",
    aliases: &["apt_key", "ansible.legacy.apt_key"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: AptKey::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Where apt finds keys that it trusts for every repository.
const TRUSTED: &str = "/etc/apt/trusted.gpg.d";

/// Keyrings are not larger.
const LIMIT: u64 = 4 * 1024 * 1024;

crate::arguments! {
    /// Keeps a key among those that apt trusts for every repository: in `/etc/apt/trusted.gpg.d`, or in the keyring named.
    ///
    /// `apt-key` is not needed, which newer systems do not have any more (there Ansible's module fails), nor is `gpg`. A key
    /// for one repository alone is better: `deb822_repository` with `signed_by`.
    pub struct AptKey {
        /// The key's id: 8, 16 or 40 hexadecimal digits. Needed with `state: absent` and with `keyserver`.
        pub id: Option<Text>,
        /// The key itself.
        pub data: Option<Text>,
        /// A file of the host that holds the key.
        pub file: Option<Text>,
        /// An address from where the host fetches the key.
        pub url: Option<Text>,
        /// A server of keys that the host asks (HKP).
        pub keyserver: Option<Text>,
        /// A file for the key: one of its own in `/etc/apt/trusted.gpg.d` when not given.
        pub keyring: Option<Text>,
        /// Whether a server must show a certificate that the host believes.
        #[serde(default = "Flag::yes")]
        pub validate_certs: Flag,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: AptKey = decode(arguments)?;
    begin(machine, context);
    let sources = [&arguments.data, &arguments.file, &arguments.keyserver, &arguments.url];
    if sources.iter().filter(|given| given.is_some()).count() > 1 {
        return Err(ModuleError::Failed("parameters are mutually exclusive: data|file|keyserver|url".into()));
    }
    let id = arguments.id.as_ref().map(|id| normal(id)).transpose()?;
    if id.is_none() && arguments.keyserver.is_some() {
        return Err(ModuleError::Failed("Missing key_id, required with keyserver.".into()));
    }
    let (files, unread) = keyrings(&arguments, machine)?;
    if let (State::Absent, Some(why)) = (arguments.state, unread.first()) {
        return Err(ModuleError::Failed(format!("whether the key is absent cannot be told: {why}")));
    }
    let there = |id: &str| files.iter().any(|(_, keys)| keys.iter().any(|key| key.is(id)));
    let ids = |files: &[(PathBuf, Vec<Key>)]| -> Vec<String> {
        files.iter().flat_map(|(_, keys)| keys.iter().flat_map(|key| key.ids.iter().cloned())).collect()
    };
    let before = ids(&files);
    // What is known by its id and there already is not fetched.
    let known = id.as_deref().is_some_and(there);
    let wanted = match (arguments.state, known) {
        (State::Present, true) | (State::Absent, _) if id.is_some() => Vec::new(),
        _ => fetch(&arguments, id.as_deref(), machine)?,
    };
    let own = wanted.first().and_then(|key| key.ids.first().cloned());
    let Some(id) = id.or(own) else {
        let why = match arguments.state {
            State::Absent => "key is required to remove a key",
            State::Present => "Invalid key_id: there is no key to add; give data, file, url or keyserver",
        };
        return Err(ModuleError::Failed(why.into()));
    };
    if arguments.state == State::Present && !there(&id) {
        if !wanted.iter().any(|key| key.is(&id)) {
            let why = "apt-key did not return an error, but failed to add the key (check that the id is correct and *not* a subkey)";
            return Err(ModuleError::Failed(why.into()));
        }
        // Of what a server of keys answers nothing is trusted but what was asked for.
        let asked = |key: &&Key| arguments.keyserver.is_none() || key.is(&id);
        let wanted: Vec<Key> = wanted.iter().filter(asked).cloned().collect();
        add(&arguments, &wanted, machine)?;
    }
    if arguments.state == State::Absent {
        for (path, keys) in files.iter().filter(|(_, keys)| keys.iter().any(|key| key.is(&id))) {
            let left: Vec<u8> = keys.iter().filter(|key| !key.is(&id)).flat_map(|key| key.bytes.clone()).collect();
            if left.is_empty() { machine.remove(path).map(drop)? } else { put(machine, path, &left)? }
        }
    }
    let tail = |count: usize| id.get(id.len().saturating_sub(count)..).unwrap_or_default().to_string();
    let mut outcome = Outcome::ok().with("id", arguments.id.as_ref().map_or(id.clone(), |given| given.0.clone()));
    outcome = outcome.with("short_id", tail(8)).with("fp", tail(16)).with("key_id", id.clone()).with("before", before);
    if machine.changed() {
        outcome = outcome.with("after", ids(&keyrings(&arguments, machine)?.0));
    }
    outcome.warnings.extend(unread);
    Ok(outcome)
}

/// An id in capitals, without `0x`.
fn normal(id: &str) -> Step<String> {
    let id = id.trim().to_uppercase();
    let id = id.strip_prefix("0X").unwrap_or(&id).to_string();
    match id.bytes().all(|b| b.is_ascii_hexdigit()) && (id.len() == 8 || id.len() >= 16) {
        true => Ok(id),
        false => Err(ModuleError::Failed("Invalid key_id".into())),
    }
}

/// The files that are looked into, and their keys; and of each file that is not understood what is wrong with it.
fn keyrings(arguments: &AptKey, machine: &Machine) -> Step<(Vec<(PathBuf, Vec<Key>)>, Vec<String>)> {
    let mut paths = Vec::new();
    match &arguments.keyring {
        Some(keyring) => paths.push(expand(machine, keyring)?),
        None => {
            paths.push(PathBuf::from("/etc/apt/trusted.gpg"));
            if machine.exists(TRUSTED)? {
                let names = machine.list_directory(TRUSTED)?.into_iter().map(|name| Path::new(TRUSTED).join(name));
                paths.extend(names.filter(|path| path.extension().is_some_and(|end| end == "gpg" || end == "asc")));
            }
        }
    }
    let (mut files, mut unread) = (Vec::new(), Vec::new());
    for path in paths {
        let Some(bytes) = machine.read_file_if_exists(&path, LIMIT)? else { continue };
        match read(&bytes) {
            Ok(keys) => files.push((path, keys)),
            // A keyring of the user's that is not understood is not written over.
            Err(why) if arguments.keyring.is_some() && !bytes.is_empty() => {
                return Err(ModuleError::Failed(format!("{} cannot be read as a keyring: {why}", path.display())));
            }
            Err(_) if bytes.is_empty() => {}
            Err(why) => unread.push(format!("{} cannot be read as a keyring: {why}", path.display())),
        }
    }
    Ok((files, unread))
}

/// The keys that the task names.
fn fetch(arguments: &AptKey, id: Option<&str>, machine: &Machine) -> Step<Vec<Key>> {
    let (bytes, what) = if let Some(data) = &arguments.data {
        (data.0.clone().into_bytes(), "inline data".to_string())
    } else if let Some(file) = &arguments.file {
        (machine.read_file(expand(machine, file)?, LIMIT)?, file.0.clone())
    } else if let Some(url) = &arguments.url {
        (download(url, arguments, machine)?, mask(url))
    } else if let (Some(server), Some(id)) = (&arguments.keyserver, id) {
        let server = match server.split_once("://") {
            Some(("hkp", rest)) => format!("http://{}{}", rest, if rest.contains(':') { "" } else { ":11371" }),
            Some(("hkps", rest)) => format!("https://{rest}"),
            Some(_) => server.0.clone(),
            None => format!("http://{}:11371", server.0),
        };
        let url = format!("{}/pks/lookup?op=get&options=mr&search=0x{id}", server.trim_end_matches('/'));
        (download(&url, arguments, machine)?, mask(&url))
    } else {
        return Ok(Vec::new());
    };
    read(&bytes).map_err(|why| ModuleError::Failed(format!("Unable to extract key from '{what}': {why}")))
}

fn download(url: &str, arguments: &AptKey, machine: &Machine) -> Step<Vec<u8>> {
    let failed = |why: String| ModuleError::Failed(format!("Failed to download key at {}: {why}", mask(url)));
    let mut request = Request::get(url);
    request.trust.anybody = !arguments.validate_certs.0;
    let response = machine.request(&request)?.map_err(|e| failed(e.what))?;
    if !matches!(response.status, 0 | 200) {
        return Err(failed(said(&response)));
    }
    let mut bytes = Vec::new();
    response.body.take(LIMIT).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
    Ok(bytes)
}

fn add(arguments: &AptKey, wanted: &[Key], machine: &mut Machine) -> Step<()> {
    let mut bytes: Vec<u8> = wanted.iter().flat_map(|key| key.bytes.clone()).collect();
    let path = match &arguments.keyring {
        Some(keyring) => {
            let path = expand(machine, keyring)?;
            if let Some(before) = machine.read_file_if_exists(&path, LIMIT)?.filter(|before| !before.is_empty()) {
                let keys = read(&before).map_err(ModuleError::Failed)?;
                bytes = keys.into_iter().flat_map(|key| key.bytes).chain(bytes).collect();
            }
            path
        }
        None => {
            let id = wanted.first().and_then(|key| key.ids.first().cloned()).unwrap_or_default();
            Path::new(TRUSTED).join(format!("{id}.gpg"))
        }
    };
    put(machine, &path, &bytes)
}

/// Keyrings are binary, for old versions of apt want them so; but what is named `.asc` apt reads as text.
fn put(machine: &mut Machine, path: &Path, bytes: &[u8]) -> Step<()> {
    let text = path.extension().is_some_and(|end| end == "asc").then(|| armored(bytes));
    let bytes = text.as_ref().map_or(bytes, String::as_bytes);
    let attributes = Attributes { mode: Some(0o644), ..Attributes::default() };
    machine.write_file(path, bytes, &WriteOptions { attributes, follow: true, ..WriteOptions::default() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::openpgp::tests::{ARMORED, FINGERPRINT};
    use crate::modules::testing::{apply, apply_twice, check};
    use serde_json::json;

    #[test]
    fn a_key_comes_and_goes() {
        let scratch = tempfile::tempdir().unwrap();
        let (ring, file) = (scratch.path().join("ring.gpg"), scratch.path().join("key.asc"));
        std::fs::write(&file, ARMORED).unwrap();
        let id = FINGERPRINT.trim();
        for source in
            [json!({"data": ARMORED}), json!({"file": file}), json!({"file": file, "id": format!("0x{}", &id[32..])})]
        {
            let mut arguments = source.as_object().unwrap().clone();
            arguments.insert("keyring".into(), json!(ring));
            let outcome = apply_twice("apt_key", &json!(arguments));
            assert_eq!((outcome.changed(), &outcome.data["short_id"]), (true, &json!(&id[32..])));
            let gone = apply_twice("apt_key", &json!({"id": id, "keyring": ring, "state": "absent"}));
            assert!(gone.changed() && !ring.exists());
        }
        let text = scratch.path().join("ring.asc");
        assert!(apply_twice("apt_key", &json!({"data": ARMORED, "keyring": text})).changed());
        let written = std::fs::read_to_string(&text).unwrap();
        assert!(written.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"), "{written}");
        for (arguments, expected) in [
            (json!({"data": "x", "file": "y"}), "mutually exclusive"),
            (json!({"data": "nonsense", "keyring": ring}), "Unable to extract key from 'inline data'"),
            (json!({"id": "xyz", "state": "absent"}), "Invalid key_id"),
            (json!({"keyserver": "hkp://x"}), "Missing key_id"),
            (json!({"data": ARMORED, "id": "0011223344556677", "keyring": ring}), "failed to add the key"),
            (json!({"state": "absent", "keyring": ring}), "key is required"),
        ] {
            let outcome = check("apt_key", &arguments);
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{arguments}: {:?}", outcome.msg);
        }
        assert!(
            apply("apt_key", &json!({"id": "0011223344556677", "keyring": ring, "state": "absent"})).changes.is_empty()
        );
    }
}
