//! `deb822_repository`: one source of packages in a file of `/etc/apt/sources.list.d`, in the format of deb822.

use crate::machine::Machine;
use crate::machine::files::{Attributes, WriteOptions};
use crate::modules::files::common::{Step, begin, describe};
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{FileMode, Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::Path;

/// `ansible.builtin.deb822_repository`
pub const DEB822_REPOSITORY: Module = Module {
    name: "ansible.builtin.deb822_repository",
    aliases: &["deb822_repository", "ansible.legacy.deb822_repository"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Repository::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

const SOURCES: &str = "/etc/apt/sources.list.d";
const KEYRINGS: &str = "/etc/apt/keyrings";

crate::arguments! {
    /// Keeps a source of packages for apt in a file of its own. Package lists are not updated by it.
    pub struct Repository {
        /// A name, which its file's name is made of.
        pub name: Text,
        /// Kinds of packages: `deb`, `deb-src`. `deb` when not given.
        pub types: Option<TextList>,
        /// Addresses.
        pub uris: Option<TextList>,
        /// Releases: `trixie`, `stable`, or a path that ends with a slash.
        pub suites: Option<TextList>,
        /// Parts: `main`, `contrib`.
        pub components: Option<TextList>,
        /// Architectures.
        pub architectures: Option<TextList>,
        /// The key: a file on the host, a fingerprint, or the key itself, armoured. An address is not fetched yet: an error.
        pub signed_by: Option<Text>,
        /// Whether it is used.
        pub enabled: Option<Flag>,
        /// Whether it is taken without a valid signature, or never.
        pub trusted: Option<Flag>,
        /// Whether it is used without a signature.
        pub allow_insecure: Option<Flag>,
        /// Whether weak signatures are good enough.
        pub allow_weak: Option<Flag>,
        /// Whether a source that was signed may cease to be so.
        pub allow_downgrade_to_insecure: Option<Flag>,
        /// Whether lists are fetched by their hash.
        pub by_hash: Option<Flag>,
        /// Whether dates in the future are refused.
        pub check_date: Option<Flag>,
        /// Whether lists that are too old are refused.
        pub check_valid_until: Option<Flag>,
        /// How many seconds in the future are still taken.
        pub date_max_future: Option<Int>,
        /// Where the signed list is.
        pub inrelease_path: Option<Text>,
        /// Languages of descriptions.
        pub languages: Option<TextList>,
        /// Whether lists are fetched as differences.
        pub pdiffs: Option<Flag>,
        /// What is fetched.
        pub targets: Option<TextList>,
        /// Mode of the file.
        #[serde(default = "readable")]
        pub mode: FileMode,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Accepted for newer playbooks; nothing has to be installed for this module.
        pub install_python_debian: Option<Flag>,
    }
}

fn readable() -> FileMode {
    FileMode::Bits(0o644)
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Repository = decode(arguments)?;
    begin(machine, context);
    let slug = slug(&arguments.name);
    let path = format!("{SOURCES}/{slug}.sources");
    let key = |ending: &str| format!("{KEYRINGS}/{slug}.{ending}");
    if arguments.state == State::Absent {
        for path in [&path, &key("asc"), &key("gpg")] {
            machine.remove(path)?;
        }
        return Ok(Outcome::ok().with("repo", Value::Null).with("dest", path).with("key_filename", key("gpg")));
    }
    if let Some(types) = &arguments.types
        && let Some(other) = types.0.iter().find(|one| !matches!(one.as_str(), "deb" | "deb-src"))
    {
        return Err(ModuleError::argument("types", format!("`{other}` is not known: write deb or deb-src")));
    }
    let mut key_file = Value::Null;
    if let Some(key) = &arguments.signed_by {
        if key.contains("://") && !key.contains('\n') {
            let why = "keys are not fetched from an address yet: give a file on the host, or the key itself";
            return Err(ModuleError::argument("signed_by", why));
        }
        if key.starts_with('/') && machine.stat(&key.0)?.is_some_and(|stat| stat.is_file()) {
            key_file = key.0.clone().into();
        }
    }
    let text = stanza(&arguments);
    let mode =
        arguments.mode.resolve(0o644, false, machine.umask()).map_err(|why| ModuleError::argument("mode", why))?;
    let attributes = Attributes { mode: Some(mode), ..Attributes::default() };
    let options = WriteOptions { attributes, follow: false, ..WriteOptions::default() };
    machine.write_file(&path, text.as_bytes(), &options)?;
    let mut outcome = Outcome::ok().with("repo", text).with("dest", path.as_str()).with("key_filename", key_file);
    describe(machine, Path::new(&path), &mut outcome)?;
    Ok(outcome)
}

/// The file's name.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    let mut gap = false;
    for c in name.to_lowercase().chars() {
        if c == '_' || c.is_whitespace() {
            if !gap {
                slug.push('-');
            }
            gap = true;
            continue;
        }
        gap = false;
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' {
            slug.push(c);
        }
    }
    slug
}

/// The source as it stands in the file: its fields in the order of Ansible's names for them.
fn stanza(arguments: &Repository) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<String>| {
        let Some(value) = value else { return };
        let value = match value.contains('\n') {
            true => value.trim().lines().fold(String::new(), |all, line| {
                let line = line.trim();
                all + "\n    " + if line.is_empty() { "." } else { line }
            }),
            false => value,
        };
        // A value of several lines begins on a line of its own.
        let gap = if value.starts_with('\n') { "" } else { " " };
        text += &format!("{name}:{gap}{value}\n");
    };
    let word = |flag: &Option<Flag>| flag.map(|flag| if flag.0 { "yes" } else { "no" }.to_string());
    let list = |list: &Option<TextList>| list.as_ref().map(|list| list.0.join(" "));
    field("Allow-Downgrade-To-Insecure", word(&arguments.allow_downgrade_to_insecure));
    field("Allow-Insecure", word(&arguments.allow_insecure));
    field("Allow-Weak", word(&arguments.allow_weak));
    field("Architectures", list(&arguments.architectures));
    field("By-Hash", word(&arguments.by_hash));
    field("Check-Date", word(&arguments.check_date));
    field("Check-Valid-Until", word(&arguments.check_valid_until));
    field("Components", list(&arguments.components));
    field("Date-Max-Future", arguments.date_max_future.map(|seconds| seconds.0.to_string()));
    field("Enabled", word(&arguments.enabled));
    field("Inrelease-Path", arguments.inrelease_path.as_ref().map(|path| path.0.clone()));
    field("Languages", list(&arguments.languages));
    field("X-Repolib-Name", Some(arguments.name.0.clone()));
    field("Pdiffs", word(&arguments.pdiffs));
    field("Signed-By", arguments.signed_by.as_ref().map(|key| key.0.clone()));
    field("Suites", list(&arguments.suites));
    field("Targets", list(&arguments.targets));
    field("Trusted", word(&arguments.trusted));
    field("Types", list(&arguments.types).or_else(|| Some("deb".into())));
    field("URIs", list(&arguments.uris));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stanza_is_as_ansible_writes_it() {
        let read = |value: Value| stanza(&decode::<Repository>(value.as_object().unwrap().clone()).unwrap());
        assert_eq!(
            read(json!({
                "name": "MariaDB 11.8", "uris": "https://deb.example.org/mariadb", "suites": ["trixie"], "components": "main, contrib",
                "signed_by": "/etc/apt/keyrings/mariadb.asc", "enabled": true, "date_max_future": 5,
            })),
            "Components: main contrib\nDate-Max-Future: 5\nEnabled: yes\nX-Repolib-Name: MariaDB 11.8\n\
             Signed-By: /etc/apt/keyrings/mariadb.asc\nSuites: trixie\nTypes: deb\nURIs: https://deb.example.org/mariadb\n"
        );
        assert_eq!(
            read(
                json!({"name": "x", "types": ["deb", "deb-src"], "signed_by": "-----BEGIN-----\n\nabc\n-----END-----\n"})
            ),
            "X-Repolib-Name: x\nSigned-By:\n    -----BEGIN-----\n    .\n    abc\n    -----END-----\nTypes: deb deb-src\n"
        );
    }

    #[test]
    fn names_of_files() {
        for (name, file) in [("MariaDB 11.8", "mariadb-118"), ("a__b  c", "a-b-c"), ("ü/x-y", "x-y"), ("_x_", "-x-")] {
            assert_eq!(slug(name), file, "{name}");
        }
    }
}
