//! `selinux`: whether SELinux is on, now and at the next start, and with which policy.

use super::selinux_config::{FILE, loaded_policy, value_of, with};
use super::semanage::{failed, foreseen, setting};
use crate::machine::{Command, Facet, Machine, MachineError, SelinuxMode};
use crate::modules::files::common::{Common, Step, begin};
use crate::modules::files::edit::Edit;
use crate::modules::programs::{ask, failed as program_failed, required};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `ansible.posix.selinux`
pub const SELINUX: Module = Module {
    name: "ansible.posix.selinux",
    aliases: &["selinux"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Selinux::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What SELinux shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Refuse.
    Enforcing,
    /// Only report what it would refuse.
    Permissive,
    /// Nothing.
    Disabled,
}

crate::arguments! {
    /// Sets the mode of SELinux, now where the kernel has it, and in its file for the next start.
    ///
    /// Switching it on or off needs a restart of the host, which this module leaves to others; `reboot_required` says so.
    ///
    /// Unverified: a kernel that has SELinux, and `update_kernel_param`. What is written into the file was tried on hosts whose
    /// kernel has none.
    pub struct Selinux {
        /// `enforcing`, `permissive` or `disabled`.
        pub state: State,
        /// Name of the policy: `targeted`, on Debian `default`. Needed unless it is `disabled`.
        pub policy: Option<Text>,
        /// The file.
        #[serde(default = "default_file", alias = "conf", alias = "file")]
        pub configfile: Text,
        /// Switch it in what the kernel is started with, too. Needs the program `grubby`.
        #[serde(default)]
        pub update_kernel_param: Flag,
    }
}

fn default_file() -> Text {
    Text(FILE.into())
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Selinux = decode(arguments)?;
    begin(machine, context);
    let file = arguments.configfile.0.as_str();
    let edit = Edit::open(machine, file, Common::default(), false, None)?;
    let Some(before) = &edit.before else {
        return Err(no_file(machine, file));
    };
    let text = String::from_utf8_lossy(before).into_owned();
    let own = machine.read_file_if_exists(FILE, 1 << 20)?.unwrap_or_default();
    let now = Now {
        mode: mode_now(machine)?,
        policy: loaded_policy(&String::from_utf8_lossy(&own)),
        config_state: value_of(&text, "SELINUX"),
        config_policy: value_of(&text, "SELINUXTYPE"),
    };
    let kernel = match arguments.update_kernel_param.0 {
        true => Some(kernel_now(machine)?),
        false => None,
    };
    let plan = plan(&now, &arguments)?;
    if let Some(policy) = plan.write_policy.as_deref()
        && !machine.exists(format!("/etc/selinux/{policy}/policy"))?
    {
        if machine.foresees_program("semodule") {
            let why = format!("the policy {policy} would come with a package that an earlier task installs");
            return Err(MachineError::unknown(why).into());
        }
        return Err(failed(format!("Policy {policy} does not exist in /etc/selinux/")));
    }
    if let Some(enforce) = plan.enforce {
        switch(machine, now.mode, enforce)?;
    }
    let mut after = text.clone();
    if let Some(policy) = &plan.write_policy {
        after = with(&after, "SELINUXTYPE", policy);
    }
    if let Some(state) = plan.write_state {
        after = with(&after, "SELINUX", state);
    }
    let mut outcome = edit.finish(machine, (after != text).then(|| after.into_bytes()), "", "backup_file")?;
    let mut messages = plan.messages;
    if let Some(grubby) = kernel {
        messages.extend(grubby.bring(machine, arguments.state != State::Disabled)?);
    }
    outcome.warnings.extend(plan.warnings);
    outcome.msg = Some(messages.join(", "));
    Ok(outcome
        .with("configfile", file)
        .with("policy", plan.policy.map_or(Value::Null, Value::from))
        .with("state", name_of(arguments.state))
        .with("reboot_required", plan.reboot_required))
}

fn no_file(machine: &Machine, file: &str) -> ModuleError {
    // The package that makes it does so when it is set up, which nobody foresees.
    if machine.foresees_program("semodule") || machine.foresees_program("setenforce") {
        let why = format!("{file} may come with a package that an earlier task installs");
        return MachineError::unknown(why).into();
    }
    let details = "Please install SELinux-policy package, if this package is not installed previously.";
    ModuleError::Ended(Box::new(Outcome::failed(format!("Unable to find file {file}")).with("details", details)))
}

fn name_of(state: State) -> &'static str {
    match state {
        State::Enforcing => "enforcing",
        State::Permissive => "permissive",
        State::Disabled => "disabled",
    }
}

/// What is, before anything is done.
struct Now {
    mode: SelinuxMode,
    /// The policy that is loaded, or would be.
    policy: String,
    config_state: Option<String>,
    config_policy: Option<String>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    policy: Option<String>,
    /// Switch the kernel to enforcing or to permissive.
    enforce: Option<bool>,
    write_policy: Option<String>,
    write_state: Option<&'static str>,
    messages: Vec<String>,
    warnings: Vec<String>,
    reboot_required: bool,
}

/// Text as Python prints it in a message.
fn quoted(text: Option<&str>) -> String {
    format!("'{}'", text.unwrap_or("None"))
}

fn plan(now: &Now, wanted: &Selinux) -> Step<Plan> {
    let given = wanted.policy.as_ref().map(|policy| policy.0.clone()).filter(|policy| !policy.is_empty());
    if wanted.state != State::Disabled && given.is_none() {
        return Err(failed("Policy is required if state is not 'disabled'"));
    }
    let mut plan = Plan { policy: given.or(now.config_policy.clone()), ..Plan::default() };
    let (policy, state) = (plan.policy.as_deref(), name_of(wanted.state));
    let file = &wanted.configfile.0;
    if policy != Some(&now.policy) {
        let (old, new) = (quoted(Some(&now.policy)), quoted(policy));
        plan.messages.push(format!("Running SELinux policy changed from {old} to {new}"));
    }
    if policy != now.config_policy.as_deref() {
        let (old, new) = (quoted(now.config_policy.as_deref()), quoted(policy));
        plan.messages.push(format!("SELinux policy configuration in '{file}' changed from {old} to {new}"));
        plan.write_policy = plan.policy.clone();
    }
    let mode = now.mode.name();
    match (now.mode, wanted.state) {
        _ if mode == state => {}
        (SelinuxMode::Disabled, _) => {
            plan.warnings.push(format!("Reboot is required to set SELinux state to '{state}'"));
            plan.reboot_required = true;
        }
        (SelinuxMode::Enforcing, State::Disabled) => {
            plan.enforce = Some(false);
            plan.warnings.push(format!(
                "SELinux state temporarily changed from '{mode}' to 'permissive'. State change will take effect next reboot."
            ));
            plan.reboot_required = true;
        }
        (SelinuxMode::Permissive, State::Disabled) => {
            plan.warnings.push("SELinux state change will take effect next reboot".into());
            plan.reboot_required = true;
        }
        _ => {
            plan.enforce = Some(wanted.state == State::Enforcing);
            plan.messages.push(format!("SELinux state changed from '{mode}' to '{state}'"));
        }
    }
    if now.config_state.as_deref() != Some(state) {
        let old = quoted(now.config_state.as_deref());
        plan.messages.push(format!("Config SELinux state changed from {old} to '{state}'"));
        plan.write_state = Some(state);
    }
    Ok(plan)
}

/// The kernel's mode, or in a check what an earlier task would have made of it.
fn mode_now(machine: &Machine) -> Step<SelinuxMode> {
    let mode = machine.selinux_mode();
    machine.observe_setting(&setting("mode", "value"), mode.name());
    Ok(match foreseen(machine, &setting("mode", "value"))?.flatten().as_deref() {
        Some("enforcing") => SelinuxMode::Enforcing,
        Some("permissive") => SelinuxMode::Permissive,
        _ => mode,
    })
}

fn switch(machine: &mut Machine, now: SelinuxMode, enforce: bool) -> Step<()> {
    let program = required(machine, "setenforce", "libselinux-utils (selinux-utils on Debian)")?;
    let (word, number) = if enforce { ("enforcing", "1") } else { ("permissive", "0") };
    let command = Command::new([program.as_str(), number]);
    let sides = (Facet::Value(now.name().into()), Facet::Value(word.into()));
    match machine.change_setting(&setting("mode", "value"), sides, word, std::slice::from_ref(&command))? {
        Some(output) if !output.success() => Err(program_failed(&command, &output)),
        _ => Ok(()),
    }
}

/// What all kernels of the host are started with.
struct Grubby {
    program: String,
    /// Whether SELinux is on; nothing where they differ.
    enabled: Option<bool>,
}

fn kernel_now(machine: &Machine) -> Step<Grubby> {
    if machine.program("grubby").is_none() && !machine.foresees_program("grubby") {
        let details = "The package grubby is needed to change what the kernel is started with.";
        let failed = Outcome::failed("'grubby' command not found on host").with("details", details);
        return Err(ModuleError::Ended(Box::new(failed)));
    }
    let program = required(machine, "grubby", "grubby")?;
    let said = ask(machine, &Command::new([program.as_str(), "--info=ALL"]))?;
    let enabled = match foreseen(machine, &setting("on the kernel's command line", "state"))?.flatten() {
        Some(word) => Some(word == "enabled"),
        None => kernel_enabled(&said),
    };
    Ok(Grubby { program, enabled })
}

/// Nothing where no kernel says anything, or one this and one that.
fn kernel_enabled(said: &str) -> Option<bool> {
    let arguments = |line: &str| Some(line.strip_prefix("args=\"")?.strip_suffix('"')?.to_string());
    let off = |arguments: String| arguments.split(' ').any(|word| word == "selinux=0");
    let mut found = said.lines().filter_map(arguments).map(off);
    let first = found.next()?;
    found.all(|off| off == first).then_some(!first)
}

impl Grubby {
    /// Answers what was done, if anything.
    fn bring(&self, machine: &mut Machine, wanted: bool) -> Step<Option<String>> {
        if self.enabled == Some(wanted) {
            return Ok(None);
        }
        let word = |on: bool| if on { "enabled" } else { "disabled" };
        let old = self.enabled.map_or("<inconsistent>", word);
        let switch = if wanted { "--remove-args" } else { "--args" };
        let command = Command::new([self.program.as_str(), "--update-kernel=ALL", switch, "selinux=0"]);
        let about = setting("on the kernel's command line", "state");
        let sides = (Facet::Value(old.into()), Facet::Value(word(wanted).into()));
        if let Some(output) = machine.change_setting(&about, sides, word(wanted), std::slice::from_ref(&command))?
            && !output.success()
        {
            let what = if wanted { "remove selinux=0 from" } else { "add selinux=0 to" };
            let said = output.stderr_text();
            return Err(failed(format!("unable to {what} kernel config: {}", said.trim())));
        }
        // As Ansible tells it: what was inconsistent was so, anything else was the opposite.
        let told = self.enabled.map_or(old, |_| word(!wanted));
        Ok(Some(format!("Kernel SELinux state changed from '{told}' to '{}'", word(wanted))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply, object};
    use serde_json::json;

    fn now(mode: SelinuxMode, state: &str, policy: &str) -> Now {
        let config = |text: &str| (!text.is_empty()).then(|| text.to_string());
        Now { mode, policy: "targeted".into(), config_state: config(state), config_policy: config(policy) }
    }

    #[test]
    fn decisions() {
        use SelinuxMode::{Disabled, Enforcing, Permissive};
        // What is; what is wanted; enforce, state and policy to write, whether a restart is needed; messages and warnings.
        for (now, wanted, expected, said) in [
            (now(Enforcing, "enforcing", "targeted"), ("enforcing", "targeted"), (None, None, None, false), ""),
            (
                now(Enforcing, "enforcing", "targeted"),
                ("permissive", "targeted"),
                (Some(false), Some("permissive"), None, false),
                "SELinux state changed from 'enforcing' to 'permissive'|Config SELinux state changed from 'enforcing' to 'permissive'",
            ),
            (
                now(Permissive, "enforcing", "targeted"),
                ("enforcing", "targeted"),
                (Some(true), None, None, false),
                "SELinux state changed from 'permissive' to 'enforcing'",
            ),
            (
                now(Enforcing, "enforcing", "targeted"),
                ("disabled", ""),
                (Some(false), Some("disabled"), None, true),
                "Config SELinux state changed from 'enforcing' to 'disabled'|SELinux state temporarily changed from 'enforcing' to 'permissive'. State change will take effect next reboot.",
            ),
            (
                now(Permissive, "disabled", "targeted"),
                ("disabled", ""),
                (None, None, None, true),
                "SELinux state change will take effect next reboot",
            ),
            (now(Disabled, "disabled", "targeted"), ("disabled", ""), (None, None, None, false), ""),
            (
                now(Disabled, "", "targeted"),
                ("permissive", "targeted"),
                (None, Some("permissive"), None, true),
                "Config SELinux state changed from 'None' to 'permissive'|Reboot is required to set SELinux state to 'permissive'",
            ),
            (
                now(Disabled, "enforcing", ""),
                ("enforcing", "mls"),
                (None, None, Some("mls"), true),
                "Running SELinux policy changed from 'targeted' to 'mls'|SELinux policy configuration in '/etc/selinux/config' changed from 'None' to 'mls'|Reboot is required to set SELinux state to 'enforcing'",
            ),
        ] {
            let wanted: Selinux = decode(object(json!({"state": wanted.0, "policy": wanted.1}))).unwrap();
            let plan = plan(&now, &wanted).unwrap();
            let found = (plan.enforce, plan.write_state, plan.write_policy.as_deref(), plan.reboot_required);
            assert_eq!(found, expected, "{said}");
            let all: Vec<String> = plan.messages.into_iter().chain(plan.warnings).collect();
            assert_eq!(all.join("|"), said);
        }
        let wanted: Selinux = decode(object(json!({"state": "enforcing"}))).unwrap();
        assert!(plan(&now(Disabled, "", ""), &wanted).unwrap_err().to_string().contains("Policy is required"));
    }

    #[test]
    fn what_grubby_says() {
        for (said, expected) in [
            ("index=0\nargs=\"ro quiet\"\nindex=1\nargs=\"ro\"\n", Some(true)),
            ("args=\"ro selinux=0\"\n", Some(false)),
            ("args=\"ro selinux=0\"\nargs=\"ro\"\n", None),
            ("args=\"ro selinux=00\"\n", Some(true)),
            ("", None),
        ] {
            assert_eq!(kernel_enabled(said), expected, "{said}");
        }
    }

    #[test]
    fn the_file_is_written() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("config");
        std::fs::write(&path, "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted").unwrap();
        let outcome = apply_twice("selinux", &json!({"state": "disabled", "conf": path}));
        assert!(outcome.changed());
        assert_eq!(outcome.data["policy"], "targeted");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# x\nSELINUX=disabled\nSELINUXTYPE=targeted\n");
        for (arguments, expected) in [
            (json!({"state": "permissive", "policy": "no-such", "configfile": path}), "Policy no-such does not exist"),
            (json!({"state": "disabled", "configfile": scratch.path().join("none")}), "Unable to find file"),
        ] {
            let outcome = check_then_apply("selinux", &arguments);
            assert_eq!(outcome.status, Status::Failed);
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{:?}", outcome.msg);
        }
    }
}
