//! `ufw`: the uncomplicated firewall.

use super::ufw_state::{changes_logging, changes_rules, default_of, relative_place, takes_comments, tuples};
use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Machine, Subject};
use crate::modules::commands::split;
use crate::modules::programs::{choice, exclusive, required};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.general.ufw`
pub const UFW: Module = Module {
    name: "community.general.ufw",
    aliases: &["ufw"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Ufw::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Manages the host's firewall with ufw.
    ///
    /// Nothing looks after the connection of the controller: allow ssh before `state: enabled`. `deploy.builtin.firewall` does,
    /// and refuses to work beside it.
    pub struct Ufw {
        /// `enabled`, `disabled`, `reloaded` or `reset`.
        pub state: Option<Text>,
        /// What happens where no rule says anything: `allow`, `deny` or `reject`; `direction` says for what.
        #[serde(alias = "policy")]
        pub default: Option<Text>,
        /// `on`, `off`, `low`, `medium`, `high` or `full`.
        pub logging: Option<Text>,
        /// For a rule `in` or `out`; for `default` `incoming`, `outgoing` or `routed`.
        pub direction: Option<Text>,
        /// Removes the rule.
        #[serde(default)]
        pub delete: Flag,
        /// The rule is one for what is forwarded.
        #[serde(default)]
        pub route: Flag,
        /// Place of a new rule among the others.
        pub insert: Option<Int>,
        /// What `insert` counts from: `zero`, `first-ipv4`, `last-ipv4`, `first-ipv6` or `last-ipv6`.
        pub insert_relative_to: Option<Text>,
        /// What the rule does: `allow`, `deny`, `limit` or `reject`.
        pub rule: Option<Text>,
        /// The rule's interface; needs `direction`.
        #[serde(alias = "if")]
        pub interface: Option<Text>,
        /// The interface on which it comes in.
        #[serde(alias = "if_in")]
        pub interface_in: Option<Text>,
        /// The interface on which it goes out.
        #[serde(alias = "if_out")]
        pub interface_out: Option<Text>,
        /// Logs new connections of this rule.
        #[serde(default)]
        pub log: Flag,
        /// Where it comes from; `any` when not given.
        #[serde(alias = "from", alias = "src")]
        pub from_ip: Option<Text>,
        /// The port that it comes from.
        pub from_port: Option<Text>,
        /// Where it goes; `any` when not given.
        #[serde(alias = "dest", alias = "to")]
        pub to_ip: Option<Text>,
        /// The port that it goes to.
        #[serde(alias = "port")]
        pub to_port: Option<Text>,
        /// `any`, `tcp`, `udp`, `ipv6`, `esp`, `ah`, `gre`, `igmp` or `vrrp`.
        #[serde(alias = "protocol")]
        pub proto: Option<Text>,
        /// A profile of `/etc/ufw/applications.d`.
        #[serde(alias = "app")]
        pub name: Option<Text>,
        /// What the rule is for.
        pub comment: Option<Text>,
    }
}

/// Where ufw keeps rules; those of other places are of older versions.
const RULES: [&str; 6] = [
    "/lib/ufw/user.rules",
    "/lib/ufw/user6.rules",
    "/etc/ufw/user.rules",
    "/etc/ufw/user6.rules",
    "/var/lib/ufw/user.rules",
    "/var/lib/ufw/user6.rules",
];

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let mut arguments: Ufw = decode(arguments)?;
    // `on` and `off` are booleans in YAML.
    if let Some(Text(logging)) = &mut arguments.logging {
        *logging = logging.replace("True", "on").replace("False", "off");
    }
    arguments.validate()?;
    if machine.foresees_program("ufw") {
        return arguments.foresee_fresh(machine);
    }
    let ufw = Tool { ufw: required(machine, "ufw", "ufw")?, grep: required(machine, "grep", "grep")? };
    let check = machine.predicted();
    let mut commands = Vec::new();
    let pre_state = ufw.ask(machine, &format!("{} status verbose", ufw.ufw), &mut commands)?;
    let pre_rules = rules(machine)?;
    commands.push(format!("{} -h '^### tuple' {}", ufw.grep, RULES.join(" ")));
    let mut changed = false;
    let mut steps = Vec::new();
    let mut foreseen = Vec::new();
    let base = if check { format!("{} --dry-run", ufw.ufw) } else { ufw.ufw.clone() };

    if let Some(state) = arguments.state.as_deref() {
        let verb = match state {
            "enabled" => "enable",
            "disabled" => "disable",
            "reloaded" => "reload",
            _ => "reset",
        };
        let active = match machine.foreseen_setting(&setting("state"))? {
            Some(state) => state == "enabled",
            None => pre_state.contains(" active"),
        };
        changed |= matches!(state, "reloaded" | "reset");
        changed |= check && (active && state == "disabled" || !active && state == "enabled");
        if matches!(state, "enabled" | "disabled") {
            foreseen.push((setting("state"), state.to_string()));
        }
        steps.push(format!("{base} -f {verb}"));
    }
    if let Some(value) = arguments.default.as_deref() {
        let direction = arguments.direction.as_deref();
        let about = setting(&format!("default {}", direction.unwrap_or("incoming")));
        changed |= check
            && match machine.foreseen_setting(&about)? {
                Some(present) => present != value,
                None => default_of(&pre_state, direction.unwrap_or("incoming"))
                    .is_none_or(|present| present != value && present != "disabled"),
            };
        foreseen.push((about, value.to_string()));
        let words = [Some(base.as_str()), Some("default"), Some(value), direction];
        steps.push(words.into_iter().flatten().collect::<Vec<_>>().join(" "));
    }
    if arguments.rule.is_some() {
        let insert = ufw.place(machine, &arguments)?;
        let shown = format!("{} --version", ufw.ufw);
        let version = ufw.ask(machine, &shown, &mut Vec::new())?;
        let comments = takes_comments(&version)?;
        let command = format!("{base} {}", arguments.rule_words(insert, comments));
        if check {
            commands.push(shown);
            let about = setting(&format!("rule {}", arguments.rule_words(None, comments).replacen("delete ", "", 1)));
            let wanted = if arguments.delete.0 { "absent" } else { "present" };
            let dry = ufw.ask(machine, &command, &mut commands)?;
            changed |= match machine.foreseen_setting(&about)? {
                Some(state) => state != wanted,
                None => {
                    let ends =
                        (arguments.from_ip.as_deref().unwrap_or("any"), arguments.to_ip.as_deref().unwrap_or("any"));
                    changes_rules(&pre_rules, &dry, ends)
                }
            };
            foreseen.push((about, wanted.to_string()));
        } else {
            steps.push(shown);
            steps.push(command);
        }
    }
    if let Some(value) = arguments.logging.as_deref() {
        changed |= match machine.foreseen_setting(&setting("logging"))? {
            Some(present) => present != value,
            None => changes_logging(&pre_state, value),
        };
        foreseen.push((setting("logging"), value.to_string()));
        if !check {
            steps.push(format!("{base} logging {value}"));
        }
    }

    let whole = setting("state and rules");
    let before = format!("{pre_state}{pre_rules}");
    machine.observe_setting(&whole, &before);
    if check {
        for (about, value) in &foreseen {
            machine.foresee_setting(about, value);
        }
        if changed {
            machine.change_and_compare(&whole, &before, &[], &|_| Ok(String::new()))?;
        }
        return Ok(Outcome::ok().with("commands", commands));
    }
    let steps_run = steps.iter().map(|step| in_english(step)).collect::<Result<Vec<_>, _>>()?;
    let status = in_english(&format!("{} status verbose", ufw.ufw))?;
    let read = |machine: &Machine| {
        Ok(format!("{}{}", machine.probe(&status)?.stdout_text(), rules(machine).unwrap_or_default()))
    };
    let outputs = machine.change_and_compare(&whole, &before, &steps_run, &read)?;
    commands.extend(steps.iter().take(outputs.len()).cloned());
    if let Some(last) = outputs.last().filter(|output| !output.success()) {
        let said = if last.stderr.is_empty() { last.stdout_text() } else { last.stderr_text() };
        return Err(ModuleError::Ended(Box::new(Outcome::failed(said.trim()).with("commands", commands))));
    }
    if changed && !machine.changed() {
        machine.note_setting(&whole, &format!("{} by ufw", arguments.state.as_deref().unwrap_or("set")));
    }
    commands.push(format!("{} status verbose", ufw.ufw));
    let state = machine.probe(&status)?.stdout_text();
    Ok(Outcome { msg: Some(state.trim_end().to_string()), ..Outcome::ok().with("commands", commands) })
}

/// ufw's parts: its state, a default, the logging, a rule.
fn setting(name: &str) -> Setting {
    let (subject, aspect) = match name {
        "state and rules" => ("ufw".to_string(), "rules"),
        other => (format!("ufw {other}"), "value"),
    };
    Setting::new(Subject::new(Domain::Firewall, subject), aspect)
}

/// The programs that are asked.
struct Tool {
    ufw: String,
    grep: String,
}

/// What ufw says is understood in English.
fn in_english(command: &str) -> Result<Command, ModuleError> {
    let argv = split(command).map_err(ModuleError::Failed)?;
    Ok(Command { environment: vec![("LANG".into(), "C".into()), ("LC_ALL".into(), "C".into())], ..Command::new(argv) })
}

impl Tool {
    fn ask(&self, machine: &Machine, command: &str, commands: &mut Vec<String>) -> Result<String, ModuleError> {
        commands.push(command.to_string());
        let output = machine.probe(&in_english(command)?)?;
        if output.success() {
            return Ok(output.stdout_text());
        }
        let said = if output.stderr.is_empty() { output.stdout_text() } else { output.stderr_text() };
        Err(ModuleError::Ended(Box::new(Outcome::failed(said.trim()).with("commands", commands.clone()))))
    }

    /// The number a new rule is inserted at; nothing where it goes to the end.
    fn place(&self, machine: &Machine, arguments: &Ufw) -> Result<Option<i64>, ModuleError> {
        let Some(Int(insert)) = arguments.insert.filter(|_| !arguments.delete.0) else { return Ok(None) };
        let relative = arguments.insert_relative_to.as_deref().unwrap_or("zero");
        if relative == "zero" {
            return Ok(Some(insert));
        }
        let numbered = machine.probe(&in_english(&format!("{} status numbered", self.ufw))?)?.stdout_text();
        Ok(relative_place(&numbered, insert, relative))
    }
}

/// Lines of rules that ufw keeps, in the order of its files.
fn rules(machine: &Machine) -> Result<String, ModuleError> {
    let mut text = String::new();
    for path in RULES {
        let file = machine.read_file_if_exists(path, 4 << 20)?.unwrap_or_default();
        text.push_str(&tuples(&String::from_utf8_lossy(&file)));
    }
    Ok(text)
}

impl Ufw {
    fn validate(&self) -> Result<(), ModuleError> {
        let choices: [(&str, &Option<Text>, &[&str]); 7] = [
            ("state", &self.state, &["enabled", "disabled", "reloaded", "reset"]),
            ("default", &self.default, &["allow", "deny", "reject"]),
            ("logging", &self.logging, &["full", "high", "low", "medium", "off", "on"]),
            ("direction", &self.direction, &["in", "incoming", "out", "outgoing", "routed"]),
            ("rule", &self.rule, &["allow", "deny", "limit", "reject"]),
            ("proto", &self.proto, &["ah", "any", "esp", "ipv6", "tcp", "udp", "gre", "igmp", "vrrp"]),
            (
                "insert_relative_to",
                &self.insert_relative_to,
                &["zero", "first-ipv4", "last-ipv4", "first-ipv6", "last-ipv6"],
            ),
        ];
        for (name, value, allowed) in choices {
            value.as_deref().map_or(Ok(()), |value| choice(name, value, allowed))?;
        }
        exclusive(&[
            ("name", self.name.is_some()),
            ("proto", self.proto.is_some()),
            ("logging", self.logging.is_some()),
        ])?;
        for (name, given) in [("interface_in", &self.interface_in), ("interface_out", &self.interface_out)] {
            exclusive(&[("direction", self.direction.is_some()), (name, given.is_some())])?;
        }
        let failed = |why: &str| Err(ModuleError::Failed(why.into()));
        if self.state.is_none() && self.default.is_none() && self.rule.is_none() && self.logging.is_none() {
            return failed("one of the following is required: state, default, rule, logging");
        }
        let direction = self.direction.as_deref();
        if self.interface.is_some() && direction.is_none() {
            return failed("missing parameter(s) required by 'interface': direction");
        }
        if self.default.is_some() && !matches!(direction, None | Some("outgoing" | "incoming" | "routed")) {
            return failed(
                "For default, direction must be one of \"outgoing\", \"incoming\" and \"routed\", or direction must not be \
                 specified.",
            );
        }
        if self.rule.is_some() && !matches!(direction, None | Some("in" | "out")) {
            return failed(
                "For rules, direction must be one of \"in\" and \"out\", or direction must not be specified.",
            );
        }
        if self.rule.is_some() && !self.route.0 && self.interface_in.is_some() && self.interface_out.is_some() {
            return failed("Only route rules can combine interface_in and interface_out");
        }
        Ok(())
    }

    /// The words of the rule behind the program's own.
    fn rule_words(&self, insert: Option<i64>, comments: bool) -> String {
        let mut words: Vec<String> = Vec::new();
        let given = |text: &Option<Text>| text.as_ref().map(|text| text.0.clone()).filter(|text| !text.is_empty());
        words.extend(self.route.0.then(|| "route".into()));
        words.extend(self.delete.0.then(|| "delete".into()));
        words.extend(insert.map(|place| format!("insert {place}")));
        words.extend(given(&self.rule));
        words.extend(given(&self.direction));
        words.extend(given(&self.interface).map(|name| format!("on {name}")));
        words.extend(given(&self.interface_in).map(|name| format!("in on {name}")));
        words.extend(given(&self.interface_out).map(|name| format!("out on {name}")));
        words.extend(self.log.0.then(|| "log".into()));
        let any = |text: &Option<Text>| text.as_ref().map_or(Some("any".to_string()), |_| given(text));
        words.extend(any(&self.from_ip).map(|from| format!("from {from}")));
        words.extend(given(&self.from_port).map(|port| format!("port {port}")));
        words.extend(any(&self.to_ip).map(|to| format!("to {to}")));
        words.extend(given(&self.to_port).map(|port| format!("port {port}")));
        words.extend(given(&self.proto).map(|proto| format!("proto {proto}")));
        words.extend(given(&self.name).map(|name| format!("app '{name}'")));
        words.extend(given(&self.comment).filter(|_| comments).map(|comment| format!("comment '{comment}'")));
        words.join(" ")
    }

    /// In a check where an earlier task would install ufw: it is off then, and has no rules.
    fn foresee_fresh(&self, machine: &mut Machine) -> Result<Outcome, ModuleError> {
        let mut wishes = Vec::new();
        let mut changed = matches!(self.state.as_deref(), Some("reloaded" | "reset"));
        if let Some(state @ ("enabled" | "disabled")) = self.state.as_deref() {
            wishes.push((setting("state"), state, "disabled"));
        }
        let direction = self.direction.as_deref().unwrap_or("incoming");
        if let Some(value) = self.default.as_deref() {
            // As Debian and Ubuntu ship it.
            let shipped = if direction == "outgoing" { "allow" } else { "deny" };
            wishes.push((setting(&format!("default {direction}")), value, shipped));
        }
        if self.rule.is_some() {
            let words = self.rule_words(None, true).replacen("delete ", "", 1);
            wishes.push((
                setting(&format!("rule {words}")),
                if self.delete.0 { "absent" } else { "present" },
                "absent",
            ));
        }
        if let Some(value) = self.logging.as_deref() {
            let value = if value == "on" { "low" } else { value };
            wishes.push((setting("logging"), value, "low"));
        }
        for (about, wanted, shipped) in wishes {
            let present = machine.foreseen_setting(&about)?;
            changed |= present.as_deref().unwrap_or(shipped) != wanted;
            machine.foresee_setting(&about, wanted);
        }
        if changed {
            machine.change_and_compare(&setting("state and rules"), "", &[], &|_| Ok(String::new()))?;
        }
        Ok(Outcome { unknown_fields: vec!["commands".into(), "msg".into()], ..Outcome::ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::check;
    use serde_json::json;

    fn ufw(value: Value) -> Ufw {
        decode(value.as_object().unwrap().clone()).unwrap()
    }

    #[test]
    fn words_of_a_rule() {
        for (value, expected) in [
            (json!({"rule": "allow", "port": 22, "proto": "tcp"}), "allow from any to any port 22 proto tcp"),
            (json!({"rule": "deny", "from": "10.0.0.0/8", "delete": "yes"}), "delete deny from 10.0.0.0/8 to any"),
            (
                json!({"rule": "limit", "direction": "in", "interface": "eth0", "log": true}),
                "limit in on eth0 log from any to any",
            ),
            (
                json!({"rule": "allow", "route": true, "interface_in": "a", "interface_out": "b"}),
                "route allow in on a out on b from any to any",
            ),
            (
                json!({"rule": "allow", "name": "Open SSH", "comment": "x y"}),
                "allow from any to any app 'Open SSH' comment 'x y'",
            ),
        ] {
            assert_eq!(ufw(value.clone()).rule_words(None, true), expected, "{value}");
        }
        let rule = ufw(json!({"rule": "allow", "comment": "x"}));
        assert_eq!(rule.rule_words(Some(2), false), "insert 2 allow from any to any");
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({}), "one of the following is required"),
            (json!({"rule": "permit"}), "rule must be one of"),
            (json!({"rule": "allow", "interface": "eth0"}), "required by 'interface'"),
            (json!({"rule": "allow", "direction": "incoming"}), "For rules"),
            (json!({"default": "deny", "direction": "in"}), "For default"),
            (json!({"rule": "allow", "interface_in": "a", "interface_out": "b"}), "Only route rules"),
            (json!({"rule": "allow", "direction": "in", "interface_in": "a"}), "mutually exclusive"),
            (json!({"rule": "allow", "name": "x", "proto": "tcp"}), "mutually exclusive"),
        ] {
            let outcome = check("ufw", &value);
            assert_eq!(outcome.status, Status::Failed, "{value}");
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{value}: {:?}", outcome.msg);
        }
    }

    #[test]
    fn a_host_that_will_have_it_is_foreseen() {
        let mut machine = Machine::new(crate::machine::Mode::Predicted);
        let mut done = |value: Value| {
            ufw(value).foresee_fresh(&mut machine).unwrap();
            !machine.take_changes().is_empty()
        };
        let rule = json!({"rule": "allow", "port": "22"});
        assert!(done(rule.clone()) && !done(rule));
        assert!(done(json!({"rule": "allow", "port": "22", "delete": true})));
        assert!(!done(json!({"rule": "deny", "port": "23", "delete": true})));
        assert!(done(json!({"state": "enabled"})) && !done(json!({"state": "enabled"})));
        assert!(!done(json!({"default": "deny"})) && done(json!({"default": "deny", "direction": "outgoing"})));
        assert!(!done(json!({"logging": "on"})) && done(json!({"logging": "full"})));
    }
}
