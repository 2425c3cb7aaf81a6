//! `sysctl`: kernel parameters, in a file and in force.

use crate::machine::Machine;
use crate::machine::files::WriteOptions;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.posix.sysctl`
pub const SYSCTL: Module = Module {
    name: "ansible.posix.sysctl",
    aliases: &["sysctl", "ansible.builtin.sysctl", "ansible.legacy.sysctl"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Sysctl::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Whether the file shall say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The file says it.
    #[default]
    Present,
    /// The file does not.
    Absent,
}

crate::arguments! {
    /// Keeps kernel parameters in a file of sysctl, and sets them.
    pub struct Sysctl {
        /// The parameter: `vm.swappiness`.
        #[serde(alias = "key")]
        pub name: String,
        /// Its value.
        #[serde(alias = "val")]
        pub value: Option<Text>,
        /// `present` or `absent` (in the file; the kernel keeps its value).
        #[serde(default)]
        pub state: State,
        /// The file.
        #[serde(default = "default_file")]
        pub sysctl_file: String,
        /// Set it in the kernel first, when the kernel's value differs; what the kernel does not take is not written.
        #[serde(default)]
        pub sysctl_set: Flag,
        /// Set it in the kernel once the file says it, also where the file was right and the kernel has another value.
        /// Other parameters of the file are left alone.
        #[serde(default = "Flag::yes")]
        pub reload: Flag,
        /// Go on when the kernel does not know the parameter.
        #[serde(default)]
        pub ignoreerrors: Flag,
    }
}

fn default_file() -> String {
    "/etc/sysctl.conf".into()
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Sysctl = decode(arguments)?;
    let name = arguments.name.trim();
    // Booleans mean the numbers that the kernel knows.
    let value = match arguments.value.as_ref().map(|v| v.0.trim().to_string()) {
        Some(v) if v.eq_ignore_ascii_case("true") => Some("1".to_string()),
        Some(v) if v.eq_ignore_ascii_case("false") => Some("0".to_string()),
        other => other,
    };
    if arguments.state == State::Present && value.as_ref().is_none_or(|v| v.is_empty()) {
        return Err(ModuleError::argument("value", "it is required with `state: present`"));
    }
    let old = machine.read_file_if_exists(&arguments.sysctl_file, 4 << 20)?;
    let text = String::from_utf8_lossy(old.as_deref().unwrap_or_default()).into_owned();
    let new = edit(&text, name, if arguments.state == State::Present { value.as_deref() } else { None });
    let mut outcome = Outcome::ok();
    let set = |machine: &mut Machine, outcome: &mut Outcome, name: &str, value: &str| -> Result<(), ModuleError> {
        match machine.set_kernel_parameter(name, value) {
            Err(error @ crate::machine::MachineError::Unknown { .. }) => Err(error.into()),
            Err(error) if arguments.ignoreerrors.0 => {
                // For `sysctl_set` it is about parameters that the kernel does not know: one that it does not let be set
                // is a failure all the same.
                if arguments.sysctl_set.0 && !matches!(machine.kernel_parameter(name), Ok(None)) {
                    return Err(error.into());
                }
                outcome.warnings.push(error.to_string());
                Ok(())
            }
            other => {
                other?;
                Ok(())
            }
        }
    };
    let value = value.filter(|_| arguments.state == State::Present);
    // What the kernel does not take is not written, either.
    if let Some(value) = value.as_ref().filter(|_| arguments.sysctl_set.0) {
        set(machine, &mut outcome, name, value)?;
    }
    if new != text {
        let options = WriteOptions { follow: true, ..WriteOptions::default() };
        machine.write_file(&arguments.sysctl_file, new.as_bytes(), &options)?;
    }
    // Also where the file was right and the kernel has another value.
    if let Some(value) = value.filter(|_| arguments.reload.0 && !arguments.sysctl_set.0) {
        set(machine, &mut outcome, name, &value)?;
    }
    Ok(outcome)
}

/// The file's text with the parameter at its value, or without it. Other lines stay as they are; of several lines
/// for the parameter the first is kept.
fn edit(text: &str, name: &str, value: Option<&str>) -> String {
    let mut result = String::new();
    let mut seen = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim().trim_start_matches('-').trim_start();
        let key = match bare.split_once('=') {
            Some((key, _)) if !bare.starts_with(['#', ';']) => key.trim(),
            _ => {
                result.push_str(line);
                continue;
            }
        };
        if key != name {
            result.push_str(line);
            continue;
        }
        let (Some(value), false) = (value, seen) else {
            continue;
        };
        seen = true;
        let present = bare.split_once('=').map_or("", |(_, v)| v.trim());
        if present.split_whitespace().eq(value.split_whitespace()) {
            result.push_str(line);
        } else {
            result.push_str(&format!("{name}={value}\n"));
        }
    }
    if let Some(value) = value
        && !seen
    {
        if !result.is_empty() && !result.ends_with('\n') {
            result.push('\n');
        }
        result.push_str(&format!("{name}={value}\n"));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::check_then_apply;
    use serde_json::json;

    #[test]
    fn files_are_edited() {
        for (text, value, expected) in [
            ("", Some("1"), "a.b=1\n"),
            ("# c\nx.y = 2", Some("1"), "# c\nx.y = 2\na.b=1\n"),
            ("a.b = 1\n", Some("1"), "a.b = 1\n"),
            ("a.b=2\nz=1\na.b=3\n", Some("1"), "a.b=1\nz=1\n"),
            ("#a.b=1\na.b=2\n", None, "#a.b=1\n"),
            ("-a.b=1\n", Some("1"), "-a.b=1\n"),
        ] {
            assert_eq!(edit(text, "a.b", value), expected, "{text:?}");
        }
    }

    #[test]
    fn a_check_says_what_a_run_does() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.conf").to_string_lossy().into_owned();
        let arguments = json!({"name": "kernel.panic", "value": 5, "sysctl_file": file, "reload": false});
        assert!(check_then_apply("sysctl", &arguments).changed());
        assert!(!check_then_apply("sysctl", &arguments).changed());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kernel.panic=5\n");
        let absent = json!({"name": "kernel.panic", "state": "absent", "sysctl_file": file});
        assert!(check_then_apply("sysctl", &absent).changed());
        assert!(!check_then_apply("sysctl", &absent).changed());
    }

    #[test]
    fn the_kernel_is_asked_only_where_it_is_to_be_set() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.conf").to_string_lossy().into_owned();
        // No name of a parameter: whoever asks the kernel for it fails.
        let odd = |extra: serde_json::Value| {
            let mut arguments = json!({"name": "no name", "value": "1", "sysctl_file": file});
            arguments.as_object_mut().unwrap().extend(extra.as_object().cloned().unwrap());
            arguments
        };
        for (text, extra, status, warned) in [
            ("no name=1\n", json!({}), Status::Failed, false),
            ("", json!({"reload": false, "sysctl_set": true}), Status::Failed, false),
            ("", json!({"reload": false, "sysctl_set": true, "ignoreerrors": true}), Status::Failed, false),
            ("", json!({"reload": false}), Status::Ok, false),
            ("no name=1\n", json!({"ignoreerrors": true}), Status::Ok, true),
            ("no name=1\n", json!({"state": "absent"}), Status::Ok, false),
        ] {
            std::fs::write(&file, text).unwrap();
            let outcome = check_then_apply("sysctl", &odd(extra.clone()));
            assert_eq!((outcome.status, !outcome.warnings.is_empty()), (status, warned), "{extra}: {outcome:?}");
        }
    }
}
