//! `modprobe`: modules of the kernel, now and at each start.

use super::modprobe_files::{Files, without_module, without_parameters};
use crate::machine::files::WriteOptions;
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Output, Subject};
use crate::modules::commands::words;
use crate::modules::files::common::{Step, begin};
use crate::modules::files::lineinfile::State;
use crate::modules::programs::required;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.modprobe`
pub const MODPROBE: Module = Module {
    name: "community.general.modprobe",
    aliases: &["modprobe"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Modprobe::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is to be at each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistent {
    /// Nothing is said of it.
    #[default]
    Disabled,
    /// It is loaded.
    Present,
    /// It is not, as far as the files say so.
    Absent,
}

crate::arguments! {
    /// Loads a module of the kernel, or unloads it, and says so for each start (`/etc/modules-load.d`, `/etc/modprobe.d`).
    ///
    /// Unverified: no host whose kernel has modules was at hand.
    pub struct Modprobe {
        /// The module: `br_netfilter`.
        pub name: Text,
        /// `present` or `absent`, now.
        #[serde(default)]
        pub state: State,
        /// Its parameters: `numdummies=2`, with blanks between.
        #[serde(default)]
        pub params: Text,
        /// At each start: `present`, `absent`, or `disabled`, which leaves the files alone.
        #[serde(default)]
        pub persistent: Persistent,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Modprobe = decode(arguments)?;
    begin(machine, context);
    let name = arguments.name.0.as_str();
    if name.is_empty() || name.contains(['/', ' ', '\n']) {
        return Err(ModuleError::argument("name", format!("`{name}` is no name of a module of the kernel")));
    }
    let program = required(machine, "modprobe", "kmod")?;
    let answer = |outcome: Outcome| {
        let state = if arguments.state == State::Present { "present" } else { "absent" };
        outcome.with("name", name).with("params", arguments.params.0.as_str()).with("state", state)
    };
    let about = Setting::new(Subject::new(Domain::Setting, format!("kernel module {name}")), "state");
    let present = match machine.foreseen_setting(&about)? {
        Some(state) => state == LOADED,
        None => loaded(name).map_err(|error| ModuleError::Ended(Box::new(answer(error.into()))))?,
    };
    machine.observe_setting(&about, word(present));
    let wanted = arguments.state == State::Present;
    let mut outcome = Outcome::ok();
    if present != wanted {
        let mut argv = vec![program.clone()];
        argv.extend((!wanted).then(|| "-r".to_string()));
        argv.push(name.to_string());
        if wanted {
            argv.extend(words::split(&arguments.params).map_err(|why| ModuleError::argument("params", why))?);
        }
        let bring = Load { argv, about, present, name };
        if let Err(output) = bring.run(machine, &mut outcome)? {
            let (said, told) = (output.stdout_text(), output.stderr_text());
            let failed = Outcome::failed(told.clone()).with("rc", output.rc).with("stdout", said).with("stderr", told);
            return Err(ModuleError::Ended(Box::new(answer(failed))));
        }
    }
    keep(machine, &arguments)?;
    Ok(answer(outcome))
}

const LOADED: &str = "loaded";

fn word(loaded: bool) -> &'static str {
    if loaded { LOADED } else { "not loaded" }
}

/// Whether the kernel has a module, loaded or built in.
fn loaded(name: &str) -> Step<bool> {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map_err(|e| ModuleError::Failed(format!("cannot tell what is loaded: {path}: {e}")))
    };
    if is_loaded(&read("/proc/modules")?, name) {
        return Ok(true);
    }
    let release = read("/proc/sys/kernel/osrelease")?;
    Ok(is_built_in(&read(&format!("/lib/modules/{}/modules.builtin", release.trim()))?, name))
}

/// `br_netfilter 32768 0 - Live 0x0000000000000000`; names have no dashes here.
fn is_loaded(modules: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    modules.lines().any(|line| line.split(' ').next() == Some(&name))
}

/// `kernel/fs/ext4/ext4.ko`
fn is_built_in(list: &str, name: &str) -> bool {
    let file = format!("/{name}.ko");
    list.lines().any(|line| line.trim_end().ends_with(&file))
}

/// Loading or unloading.
struct Load<'a> {
    argv: Vec<String>,
    about: Setting,
    present: bool,
    name: &'a str,
}

impl Load<'_> {
    /// What the program said when it failed is the inner error.
    fn run(&self, machine: &mut Machine, outcome: &mut Outcome) -> Step<Result<(), Output>> {
        let command = Command::new(self.argv.clone());
        let with = |words: &[&str]| {
            let mut argv = self.argv.clone();
            argv.splice(1..1, words.iter().map(|word| word.to_string()));
            Command::new(argv)
        };
        if machine.predicted() {
            // It can tell without doing it.
            let output = machine.probe(&with(&["-n"]))?;
            if !output.success() {
                return Ok(Err(output));
            }
            let sides = (Facet::Value(word(self.present).into()), Facet::Value(word(!self.present).into()));
            machine.change_setting(&self.about, sides, word(!self.present), &[command])?;
            return Ok(Ok(()));
        }
        let read = |_: &Machine| match loaded(self.name) {
            Ok(found) => Ok(word(found).to_string()),
            Err(error) => Err(crate::machine::MachineError::failed(error.to_string())),
        };
        let outputs = machine.change_and_compare(&self.about, word(self.present), &[command], &read)?;
        if let Some(output) = outputs.into_iter().find(|output| !output.success()) {
            return Ok(Err(output));
        }
        if !machine.changed() && !self.present {
            // It was content, and the module is not there: it says why when it is asked for the first time.
            let output = machine.probe(&with(&["-n", "--first-time"]))?;
            outcome.warnings.extend((!output.success()).then(|| output.stderr_text()));
        }
        Ok(Ok(()))
    }
}

/// What is said for each start.
fn keep(machine: &mut Machine, arguments: &Modprobe) -> Step<()> {
    if arguments.persistent == Persistent::Disabled {
        return Ok(());
    }
    let name = arguments.name.0.as_str();
    let options = WriteOptions { follow: true, ..WriteOptions::default() };
    if arguments.params.contains(['"', '\'', '\\']) {
        let why =
            "a value with quotes or blanks cannot be kept for each start: set persistent to disabled, or leave it out";
        return Err(ModuleError::argument("params", why));
    }
    let wanted: Vec<&str> = arguments.params.split_whitespace().collect();
    let files = Files::read(machine)?;
    let present = arguments.persistent == Persistent::Present;
    if present && !files.loads(name) {
        machine.write_file(Files::load_file(name), format!("{name}\n").as_bytes(), &options)?;
    }
    if !present {
        for (path, text) in &files.load {
            if let Some(text) = without_module(text, name) {
                machine.write_file(path, text.as_bytes(), &options)?;
            }
        }
    }
    if present && files.has_parameters(name, &wanted) {
        return Ok(());
    }
    let own = Files::options_file(name);
    for (path, text) in &files.options {
        // Its own file is written anew.
        if present && *path == own {
            continue;
        }
        if let Some(text) = without_parameters(text, name) {
            machine.write_file(path, text.as_bytes(), &options)?;
        }
    }
    if present {
        let lines: Vec<String> = wanted.iter().map(|one| format!("options {name} {one}")).collect();
        machine.write_file(&own, format!("{}\n", lines.join("\n")).as_bytes(), &options)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded() {
        let modules = "br_netfilter 32768 0 - Live 0x0\nbridge 1 1 br_netfilter, Live 0x0\n";
        for (name, expected) in [("br-netfilter", true), ("br_netfilter", true), ("br", false), ("Live", false)] {
            assert_eq!(is_loaded(modules, name), expected, "{name}");
        }
        let list = "kernel/fs/ext4/ext4.ko\nkernel/drivers/net/dummy.ko\n";
        for (name, expected) in [("ext4", true), ("xt4", false), ("dummy", true)] {
            assert_eq!(is_built_in(list, name), expected, "{name}");
        }
    }
}
