//! `iptables`: rules, chains and policies in the kernel.

use super::iptables_rule::Iptables;
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::programs::{ask, choice, exclusive, failed, or_null, required};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.iptables`
pub const IPTABLES: Module = Module {
    name: "ansible.builtin.iptables",
    aliases: &["iptables", "ansible.legacy.iptables"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Iptables::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Flush,
    Policy,
    Chain,
    Rule,
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Iptables = decode(arguments)?;
    validate(&arguments)?;
    let logs = arguments.log_prefix.is_some() || arguments.log_level.is_some();
    let jump = match (&arguments.jump, logs) {
        (Some(jump), true) if jump.0 != "LOG" => {
            return Err(ModuleError::Failed("Logging options can only be used with the LOG jump target.".into()));
        }
        (None, true) => Some("LOG"),
        (jump, _) => jump.as_deref(),
    };
    let shown = arguments.rule(arguments.jump.as_deref());
    let wish = match () {
        () if arguments.flush.0 => Wish::Flush,
        () if arguments.policy.is_some() => Wish::Policy,
        () if shown.is_empty() => Wish::Chain,
        () => Wish::Rule,
    };
    let programs: &[&str] = match arguments.ip_version.as_deref() {
        None | Some("ipv4") => &["iptables"],
        Some("ipv6") => &["ip6tables"],
        _ => &["iptables", "ip6tables"],
    };
    for program in programs {
        let path = match machine.foresees_program(program) {
            true => None,
            false => Some(required(machine, program, "iptables")?),
        };
        let wait = match (&path, &arguments.wait) {
            (Some(path), Some(wait)) => {
                let version = ask(machine, &Command::new([path.as_str(), "--version"]))?;
                wait_words(&version, wait)
            }
            _ => Vec::new(),
        };
        let tables = Tables { program, path, wait, arguments: &arguments };
        match wish {
            Wish::Flush => tables.flush(machine)?,
            Wish::Policy => tables.policy(machine)?,
            Wish::Chain => tables.chain(machine)?,
            Wish::Rule => tables.rule(machine, &arguments.rule(jump))?,
        }
    }
    let text = |text: &Option<crate::modules::scalars::Text>| or_null(text.as_deref());
    Ok(Outcome::ok()
        .with("ip_version", arguments.ip_version.as_deref().unwrap_or("ipv4"))
        .with("table", tables_name(&arguments))
        .with("chain", text(&arguments.chain))
        .with("flush", arguments.flush.0)
        .with("rule", shown.join(" "))
        .with("state", arguments.state.as_deref().unwrap_or("present"))
        .with("chain_management", arguments.chain_management.0)
        .with("wait", text(&arguments.wait)))
}

fn tables_name(arguments: &Iptables) -> &str {
    arguments.table.as_deref().unwrap_or("filter")
}

fn validate(arguments: &Iptables) -> Result<(), ModuleError> {
    let levels = [
        "0", "1", "2", "3", "4", "5", "6", "7", "emerg", "alert", "crit", "error", "warning", "notice", "info", "debug",
    ];
    let choices: [(&str, Option<&str>, &[&str]); 8] = [
        ("table", arguments.table.as_deref(), &["filter", "nat", "mangle", "raw", "security"]),
        ("state", arguments.state.as_deref(), &["absent", "present"]),
        ("action", arguments.action.as_deref(), &["append", "insert"]),
        ("ip_version", arguments.ip_version.as_deref(), &["ipv4", "ipv6", "both"]),
        ("log_level", arguments.log_level.as_deref(), &levels),
        ("syn", arguments.syn.as_deref(), &["ignore", "match", "negate"]),
        ("policy", arguments.policy.as_deref(), &["ACCEPT", "DROP", "QUEUE", "RETURN"]),
        (
            "match_set_flags",
            arguments.match_set_flags.as_deref(),
            &["src", "dst", "src,dst", "dst,src", "src,src", "dst,dst"],
        ),
    ];
    for (name, value, allowed) in choices {
        value.map_or(Ok(()), |value| choice(name, value, allowed))?;
    }
    let (mark, class) = (arguments.set_dscp_mark.is_some(), arguments.set_dscp_mark_class.is_some());
    exclusive(&[("set_dscp_mark", mark), ("set_dscp_mark_class", class)])?;
    exclusive(&[("flush", arguments.flush.0), ("policy", arguments.policy.is_some())])?;
    let missing = |why: &str| Err(ModuleError::Failed(why.into()));
    let jump = arguments.jump.as_deref();
    match () {
        () if (mark || class) && jump.is_none() => {
            missing("missing parameter(s) required by 'set_dscp_mark' and 'set_dscp_mark_class': jump")
        }
        () if jump.is_some_and(|jump| jump.eq_ignore_ascii_case("tee")) && arguments.gateway.is_none() => {
            missing("jump is TEE but all of the following are missing: gateway")
        }
        () if !arguments.flush.0 && arguments.chain.is_none() => {
            missing("flush is False but all of the following are missing: chain")
        }
        () => Ok(()),
    }
}

/// Seconds to wait for the lock are known since 1.6.0, waiting itself since 1.4.20.
fn wait_words(version: &str, seconds: &str) -> Vec<String> {
    let number = version.split_once('v').map_or("", |(_, rest)| rest).split_whitespace().next().unwrap_or_default();
    let parts: Vec<u32> = number.split('.').map(|part| part.parse().unwrap_or(0)).collect();
    match () {
        () if parts.as_slice() >= [1, 6, 0].as_slice() && !seconds.is_empty() => vec!["-w".into(), seconds.into()],
        () => Vec::new(),
    }
}

/// One of the two programs, and what a task asks of it.
struct Tables<'a> {
    program: &'a str,
    /// Its path; nothing where only a check foresees it, on a host that has no rules then.
    path: Option<String>,
    wait: Vec<String>,
    arguments: &'a Iptables,
}

impl Tables<'_> {
    fn chain_name(&self) -> &str {
        self.arguments.chain.as_deref().unwrap_or_default()
    }

    /// The command that does `action` to the chain, with `rest` behind it.
    fn command(&self, action: &str, rest: &[String]) -> Command {
        let mut argv: Vec<String> = vec![self.path.clone().unwrap_or_else(|| self.program.into()), "-t".into()];
        argv.extend([tables_name(self.arguments).to_string(), action.to_string()]);
        argv.extend(self.arguments.chain.iter().map(|chain| chain.0.clone()));
        if action == "-I" {
            argv.extend(self.arguments.rule_num.iter().map(|number| number.0.clone()));
        }
        argv.extend(self.wait.iter().cloned());
        argv.extend(rest.iter().cloned());
        Command::new(argv)
    }

    fn setting(&self, about: &str, aspect: &'static str) -> Setting {
        let name = format!("{} {} {}{about}", self.program, tables_name(self.arguments), self.chain_name());
        Setting::new(Subject::new(Domain::Firewall, name.trim_end().to_string()), aspect)
    }

    /// Changes a setting by one command, whose failure is the task's.
    fn change(
        &self,
        machine: &mut Machine,
        setting: &Setting,
        sides: (Facet, Facet),
        value: &str,
        command: &Command,
    ) -> Result<(), ModuleError> {
        match machine.change_setting(setting, sides, value, std::slice::from_ref(command))? {
            Some(output) if !output.success() => Err(failed(command, &output)),
            _ => Ok(()),
        }
    }

    /// How often this check would have flushed the chain, or the table as a whole.
    fn flushed(&self, machine: &Machine) -> Result<usize, ModuleError> {
        let times = |setting: &Setting| -> Result<usize, ModuleError> {
            Ok(machine.foreseen_setting(setting)?.and_then(|times| times.parse().ok()).unwrap_or(0))
        };
        let whole = format!("{} {}", self.program, tables_name(self.arguments));
        let whole = Setting::new(Subject::new(Domain::Firewall, whole), "rules");
        match self.arguments.chain {
            Some(_) => Ok(times(&self.setting("", "rules"))? + times(&whole)?),
            None => times(&whole),
        }
    }

    fn flush(&self, machine: &mut Machine) -> Result<(), ModuleError> {
        let setting = self.setting("", "rules");
        let times = self.flushed(machine)? + 1;
        let listing = self.command("-S", &[]);
        let before = match &self.path {
            // Ansible's check does not look whether the chain is there.
            Some(_) => machine.probe(&listing)?.stdout_text(),
            None => String::new(),
        };
        let command = self.command("-F", &[]);
        machine.foresee_setting(&setting, &times.to_string());
        let read = |machine: &Machine| Ok(machine.probe(&listing)?.stdout_text());
        let outputs = machine.change_and_compare(&setting, &before, std::slice::from_ref(&command), &read)?;
        match outputs.last() {
            Some(output) if !output.success() => return Err(failed(&command, output)),
            // An empty chain is flushed, too: Ansible says that this changes it.
            Some(_) if !machine.changed() => machine.note_setting(&setting, "flushed"),
            _ => {}
        }
        Ok(())
    }

    fn policy(&self, machine: &mut Machine) -> Result<(), ModuleError> {
        let Some(wanted) = self.arguments.policy.as_deref() else { return Ok(()) };
        let setting = self.setting("", "policy");
        let present = match (machine.foreseen_setting(&setting)?, &self.path) {
            (Some(foreseen), _) => foreseen,
            (None, None) => "ACCEPT".to_string(),
            (None, Some(_)) => {
                let numeric: &[String] = if self.arguments.numeric.0 { &["--numeric".into()] } else { &[] };
                let listing = ask(machine, &self.command("-L", numeric))?;
                policy_of(&listing)
                    .ok_or_else(|| ModuleError::Failed("Can't detect current policy".into()))?
                    .to_string()
            }
        };
        machine.observe_setting(&setting, &present);
        if present == wanted {
            return Ok(());
        }
        let sides = (Facet::Value(present.into()), Facet::Value(wanted.into()));
        self.change(machine, &setting, sides, wanted, &self.command("-P", &[wanted.to_string()]))
    }

    fn chain(&self, machine: &mut Machine) -> Result<(), ModuleError> {
        let setting = self.setting("", "chain");
        let there = match (machine.foreseen_setting(&setting)?, &self.path) {
            (Some(foreseen), _) => foreseen == "present",
            (None, None) => matches!(self.chain_name(), "INPUT" | "OUTPUT" | "FORWARD" | "PREROUTING" | "POSTROUTING"),
            (None, Some(_)) => {
                let numeric: &[String] = if self.arguments.numeric.0 { &["--numeric".into()] } else { &[] };
                machine.probe(&self.command("-L", numeric))?.success()
            }
        };
        machine.observe_setting(&setting, if there { "present" } else { "absent" });
        let wanted = self.arguments.state.as_deref() != Some("absent");
        if there == wanted || !self.arguments.chain_management.0 {
            return Ok(());
        }
        let name = Facet::Value(self.chain_name().into());
        let (sides, value, action) = match wanted {
            true => ((Facet::Absent, name), "present", "-N"),
            false => ((name, Facet::Absent), "absent", "-X"),
        };
        self.change(machine, &setting, sides, value, &self.command(action, &[]))
    }

    fn rule(&self, machine: &mut Machine, rule: &[String]) -> Result<(), ModuleError> {
        let text = rule.join(" ");
        let flushed = self.flushed(machine)?;
        // A rule of before a flush is another one than the same rule after it.
        let mark = if flushed > 0 { format!(" (after flush {flushed})") } else { String::new() };
        let setting = self.setting(&format!(": {text}{mark}"), "rule");
        let there = match (machine.foreseen_setting(&setting)?, &self.path) {
            (Some(foreseen), _) => foreseen == "present",
            (None, Some(_)) if flushed == 0 => machine.probe(&self.command("-C", rule))?.success(),
            (None, _) => false,
        };
        machine.observe_setting(&setting, if there { "present" } else { "absent" });
        let wanted = self.arguments.state.as_deref() != Some("absent");
        if there == wanted {
            return Ok(());
        }
        let name = Facet::Value(text.into());
        let (sides, value, action) = match (wanted, self.arguments.action.as_deref()) {
            (true, Some("insert")) => ((Facet::Absent, name), "present", "-I"),
            (true, _) => ((Facet::Absent, name), "present", "-A"),
            (false, _) => ((name, Facet::Absent), "absent", "-D"),
        };
        let real = self.setting(&format!(": {}", rule.join(" ")), "rule");
        machine.foresee_setting(&setting, value);
        self.change(machine, &real, sides, value, &self.command(action, rule))
    }
}

/// `Chain INPUT (policy ACCEPT)`
fn policy_of(listing: &str) -> Option<&str> {
    let (_, rest) = listing.lines().next()?.split_once("(policy ")?;
    let word = rest.split(|c: char| !c.is_ascii_uppercase()).next()?;
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::Status;
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({}), "missing: chain"),
            (json!({"chain": "INPUT", "table": "x"}), "table must be one of"),
            (json!({"chain": "INPUT", "flush": true, "policy": "DROP"}), "mutually exclusive"),
            (json!({"chain": "INPUT", "jump": "tee"}), "gateway"),
            (json!({"chain": "INPUT", "set_dscp_mark": "8"}), "jump"),
            (json!({"chain": "INPUT", "log_prefix": "x", "jump": "DROP"}), "LOG jump target"),
        ] {
            let outcome = check("iptables", &value);
            assert_eq!(outcome.status, Status::Failed, "{value}");
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{value}: {:?}", outcome.msg);
        }
    }

    #[test]
    fn words_of_the_program() {
        assert_eq!(policy_of("Chain INPUT (policy DROP 3 packets)\ntarget\n"), Some("DROP"));
        assert_eq!(policy_of("Chain mine (0 references)\n"), None);
        for (version, seconds, expected) in [
            ("iptables v1.8.11 (nf_tables)\n", "5", "-w 5"),
            ("iptables v1.4.21", "5", ""),
            ("iptables v1.6.0", "2", "-w 2"),
            ("nonsense", "2", ""),
        ] {
            assert_eq!(wait_words(version, seconds).join(" "), expected, "{version}");
        }
    }

    /// A host that has no iptables yet, and one that is asked only once.
    #[test]
    fn a_check_remembers_rules_flushes_policies_and_chains() {
        let mut machine = Machine::new(Mode::Predicted);
        let mut changes = |value: Value| {
            let arguments: Iptables = decode(value.as_object().unwrap().clone()).unwrap();
            let tables = Tables { program: "iptables", path: None, wait: Vec::new(), arguments: &arguments };
            let rule = arguments.rule(arguments.jump.as_deref());
            match () {
                () if arguments.flush.0 => tables.flush(&mut machine),
                () if arguments.policy.is_some() => tables.policy(&mut machine),
                () if rule.is_empty() => tables.chain(&mut machine),
                () => tables.rule(&mut machine, &rule),
            }
            .unwrap();
            !machine.take_changes().is_empty()
        };
        let rule = json!({"chain": "INPUT", "source": "10.0.0.1", "jump": "DROP"});
        assert!(changes(rule.clone()) && !changes(rule.clone()));
        assert!(changes(json!({"chain": "INPUT", "flush": true})));
        assert!(changes(rule.clone()) && !changes(rule.clone()));
        assert!(changes(json!({"flush": true})) && changes(rule));
        let policy = json!({"chain": "INPUT", "policy": "DROP"});
        assert!(changes(policy.clone()) && !changes(policy) && changes(json!({"chain": "INPUT", "policy": "ACCEPT"})));
        let chain = json!({"chain": "MINE", "chain_management": true});
        assert!(changes(chain.clone()) && !changes(chain));
        assert!(!changes(json!({"chain": "MINE", "state": "absent"})), "nothing is done without chain_management");
        assert!(changes(json!({"chain": "MINE", "state": "absent", "chain_management": true})));
    }
}
