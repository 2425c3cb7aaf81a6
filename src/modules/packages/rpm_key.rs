//! `rpm_key`: a key that rpm trusts.

use super::openpgp::{Key, read};
use crate::machine::web::{Request, mask};
use crate::machine::{Command, Machine, Scratch};
use crate::modules::files::common::{Step, begin, expand};
use crate::modules::files::lineinfile::State;
use crate::modules::network::ask::said;
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;

/// `ansible.builtin.rpm_key`
pub const RPM_KEY: Module = Module {
    name: "ansible.builtin.rpm_key",
    aliases: &["rpm_key", "ansible.legacy.rpm_key"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: RpmKey::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Keys are not larger.
const LIMIT: u64 = 4 * 1024 * 1024;

crate::arguments! {
    /// Keeps a key among those that rpm trusts. Unverified: no host with rpm was at hand.
    pub struct RpmKey {
        /// The key: an address, a file of the host, or with `state: absent` an id.
        pub key: Text,
        /// Fingerprints, all of which the key must have.
        pub fingerprint: Option<TextList>,
        /// Whether a server must show a certificate that the host believes.
        #[serde(default = "Flag::yes")]
        pub validate_certs: Flag,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: RpmKey = decode(arguments)?;
    begin(machine, context);
    if !machine.has_program("rpm") {
        return Err(ModuleError::Failed("Failed to find required executable \"rpm\" in paths".into()));
    }
    let given = arguments.key.trim();
    let (bytes, id) = source(&arguments, machine)?;
    let keys: Vec<Key> = match &bytes {
        Some(bytes) => {
            read(bytes).map_err(|why| ModuleError::Failed(format!("Not a public key: {}: {why}", mask(given))))?
        }
        None => Vec::new(),
    };
    let own = keys.first().map(|key| key.fingerprint.clone());
    let id = own.unwrap_or(id).to_lowercase();
    if id.is_empty() {
        return Err(ModuleError::Failed(format!("{} is a key of a version that is not understood", mask(given))));
    }
    let short = id.get(id.len().saturating_sub(8)..).unwrap_or_default().to_lowercase();
    let listed = machine.probe(&Command::new(["rpm", "-q", "gpg-pubkey"]))?;
    let names = if listed.success() { names(&listed.stdout_text(), &id) } else { Vec::new() };
    let place = Path::new("/var/lib/rpm");
    if arguments.state == State::Absent {
        for name in &names {
            change(machine, place, &format!("key {short} removed"), &["rpm", "--erase", "--allmatches", name])?;
        }
        return Ok(Outcome::ok());
    }
    if !names.is_empty() {
        return Ok(Outcome::ok());
    }
    let Some(bytes) = bytes else {
        return Err(ModuleError::Failed("When importing a key, a valid file must be given".into()));
    };
    let prints: Vec<&str> = keys.iter().map(|key| key.fingerprint.as_str()).collect();
    for wanted in arguments.fingerprint.iter().flat_map(|list| &list.0) {
        let wanted = wanted.replace(' ', "").to_uppercase();
        if !prints.contains(&wanted.as_str()) {
            let why =
                format!("The specified fingerprint, '{wanted}', does not match any key fingerprints in '{prints:?}'");
            return Err(ModuleError::Failed(why));
        }
    }
    let scratch = Scratch::new("rpm-key")?;
    let file = scratch.path().join("key");
    std::fs::write(&file, bytes).map_err(|e| ModuleError::Failed(format!("{}: {e}", file.display())))?;
    let file = file.display().to_string();
    change(machine, place, &format!("key {short} imported"), &["rpm", "--import", &file])?;
    Ok(Outcome::ok())
}

/// Of the keys that rpm lists those that an id means: `gpg-pubkey-ID-TIME`, where ID is the last 8 digits of the key's own,
/// and from rpm 6 on its whole fingerprint.
fn names(listed: &str, id: &str) -> Vec<String> {
    let own = |line: &str| line.trim().strip_prefix("gpg-pubkey-")?.split('-').next().map(str::to_lowercase);
    let means = |own: &String| own.len() >= 8 && (own.ends_with(id) || id.ends_with(own.as_str()));
    let mut names: Vec<String> =
        listed.lines().filter_map(own).filter(means).map(|own| format!("gpg-pubkey-{own}")).collect();
    names.dedup();
    names
}

/// The key where one is given, and the id where that is all.
fn source(arguments: &RpmKey, machine: &Machine) -> Step<(Option<Vec<u8>>, String)> {
    let given = arguments.key.trim();
    if given.contains("://") {
        let failed =
            |why: String| ModuleError::Failed(format!("failed to fetch key at {} , error was: {why}", mask(given)));
        let mut request = Request::get(given);
        request.trust.anybody = !arguments.validate_certs.0;
        let response = machine.request(&request)?.map_err(|e| failed(e.what))?;
        if !matches!(response.status, 0 | 200) {
            return Err(failed(said(&response)));
        }
        let mut bytes = Vec::new();
        response.body.take(LIMIT).read_to_end(&mut bytes).map_err(|e| failed(e.to_string()))?;
        return Ok((Some(bytes), String::new()));
    }
    let digits = given.trim_start_matches("0x").trim_start_matches("0X");
    if digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok((None, digits.to_string()));
    }
    let path = expand(machine, given)?;
    match machine.stat(&path)? {
        Some(stat) if stat.is_file() => Ok((Some(machine.read_file(&path, LIMIT)?), String::new())),
        _ => Err(ModuleError::Failed(format!("Not a valid key {given}"))),
    }
}

fn change(machine: &mut Machine, place: &Path, what: &str, words: &[&str]) -> Step<()> {
    if !machine.predicted() {
        let output = machine.run_tool(place, what, &Command::new(words.iter().copied()))?;
        if !output.success() {
            return Err(ModuleError::Failed(output.stderr_text().trim().to_string()));
        }
    }
    machine.record_tool(place, what);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_found_by_the_end_of_their_ids() {
        let print = "f6e96bf67ae630bc385be3c95fc2719d5fcb2ace";
        let listed =
            format!("gpg-pubkey-5fcb2ace-65000000\ngpg-pubkey-00112233-65000000\ngpg-pubkey-{print}-65000001\n");
        let both = vec!["gpg-pubkey-5fcb2ace".to_string(), format!("gpg-pubkey-{print}")];
        for id in [print, "5fc2719d5fcb2ace", "5fcb2ace"] {
            assert_eq!(super::names(&listed, id), both, "{id}");
        }
        assert!(super::names(&listed, "44556677").is_empty());
    }
}
