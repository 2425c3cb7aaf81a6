//! `tempfile`: a temporary file or directory.

use super::common::{Step, begin, describe, expand, show};
use crate::machine::Machine;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.builtin.tempfile`
pub const TEMPFILE: Module = Module {
    name: "ansible.builtin.tempfile",
    aliases: &["tempfile", "ansible.legacy.tempfile"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Tempfile::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// An empty file.
    #[default]
    File,
    /// A directory.
    Directory,
}

crate::arguments! {
    /// Makes a temporary file or directory that only its owner can enter, and returns its `path`. Nothing removes it.
    pub struct Tempfile {
        /// `file` or `directory`.
        #[serde(default)]
        pub state: State,
        /// Where it is made: `/tmp` or what `TMPDIR` says, when not given.
        pub path: Option<Text>,
        /// Start of its name.
        pub prefix: Option<Text>,
        /// End of its name.
        pub suffix: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Tempfile = decode(arguments)?;
    begin(machine, context);
    let directory = match &arguments.path {
        Some(path) => expand(machine, path)?,
        None => match machine.environment.get("TMPDIR") {
            Some(path) => path.into(),
            None => std::env::temp_dir(),
        },
    };
    let prefix = arguments.prefix.as_deref().unwrap_or("ansible.");
    let suffix = arguments.suffix.as_deref().unwrap_or_default();
    for (name, part) in [("prefix", prefix), ("suffix", suffix)] {
        if part.contains('/') {
            return Err(ModuleError::argument(name, "a name contains no slash"));
        }
    }
    if machine.stat(&directory)?.is_none() {
        return Err(ModuleError::Failed(format!("the directory {} does not exist", directory.display())));
    }
    let made = machine.make_temporary(&directory, prefix, suffix, arguments.state == State::Directory)?;
    let mut outcome = Outcome::ok();
    match made {
        Some(path) => {
            outcome.data.insert("path".into(), show(&path));
            describe(machine, &path, &mut outcome)?;
        }
        None => {
            let names = ["path", "uid", "gid", "owner", "group", "mode", "size", "state"];
            outcome.unknown_fields.extend(names.map(String::from));
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::check_then_apply;
    use serde_json::json;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn files_and_directories_of_ones_own() {
        let scratch = tempfile::tempdir().unwrap();
        for (state, mode) in [("file", 0o600), ("directory", 0o700)] {
            let arguments = json!({"path": scratch.path(), "state": state, "prefix": "build_", "suffix": ".d"});
            let outcome = check_then_apply("tempfile", &arguments);
            let path = outcome.data["path"].as_str().unwrap();
            assert!(path.contains("/build_") && path.ends_with(".d"));
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, mode);
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2, "a check makes nothing");
    }
}
