//! What a task wants of firewalld, and the words of `firewall-cmd` for it.

use super::firewalld::Firewalld;
use crate::modules::ModuleError;
use crate::modules::programs::{choice, exclusive};
use serde_json::Value;

/// Something that a zone has or has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    /// A word of `--add-WORD=VALUE`, `--remove-…` and `--query-…`.
    Value(&'static str, String),
    /// A word without a value: masquerade, forward.
    Switch(&'static str),
    /// What the zone does by itself.
    Target(String),
    /// The zone itself.
    Zone,
}

/// What is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub element: Element,
    /// Whether it is to be there.
    pub enabled: bool,
    /// As Ansible calls it in its message.
    pub about: String,
}

impl Element {
    /// As it stands in a change.
    pub fn name(&self) -> String {
        match self {
            Element::Value(word, value) => format!("{word} {value}"),
            Element::Switch(word) => word.to_string(),
            Element::Target(target) => format!("target {target}"),
            Element::Zone => "zone".into(),
        }
    }

    /// Whether the running firewall has it, too.
    pub fn has_runtime(&self) -> bool {
        !matches!(self, Element::Target(_) | Element::Zone)
    }

    /// The words that ask for it.
    pub fn query(&self, zone: &str) -> Vec<String> {
        match self {
            Element::Value(word, value) => vec![format!("--zone={zone}"), format!("--query-{word}={value}")],
            Element::Switch(word) => vec![format!("--zone={zone}"), format!("--query-{word}")],
            Element::Target(_) => vec![format!("--zone={zone}"), "--get-target".into()],
            Element::Zone => vec!["--get-zones".into()],
        }
    }

    /// Whether an answer to [`Element::query`] says that it is there.
    pub fn is_in(&self, said: &str, zone: &str, success: bool) -> bool {
        match self {
            Element::Value(..) | Element::Switch(_) => success,
            Element::Target(target) => success && said.trim() == target,
            Element::Zone => said.split_whitespace().any(|name| name == zone),
        }
    }

    /// The words that add or remove it.
    pub fn change(&self, zone: &str, enabled: bool, timeout: i64) -> Vec<String> {
        let verb = if enabled { "add" } else { "remove" };
        let mut words = match (self, enabled) {
            (Element::Zone, true) => return vec![format!("--new-zone={zone}")],
            (Element::Zone, false) => return vec![format!("--delete-zone={zone}")],
            // An interface is in one zone only.
            (Element::Value("interface", name), true) => vec![format!("--change-interface={name}")],
            (Element::Value(word, value), _) => vec![format!("--{verb}-{word}={value}")],
            (Element::Switch(word), _) => vec![format!("--{verb}-{word}")],
            (Element::Target(target), true) => vec![format!("--set-target={target}")],
            (Element::Target(_), false) => vec!["--set-target=default".into()],
        };
        let lasts = matches!(self, Element::Value(word, _) if !matches!(*word, "interface" | "source"));
        words.extend((lasts && timeout > 0).then(|| format!("--timeout={timeout}")));
        words.insert(0, format!("--zone={zone}"));
        words
    }

    /// What Ansible says of the change, where it has words of its own for it.
    pub fn said(&self, enabled: bool, zone: &str) -> Option<String> {
        Some(match (self, enabled) {
            (Element::Value("interface", name), true) => format!("Changed {name} to zone {zone}"),
            (Element::Value("source", name), true) => format!("Added {name} to zone {zone}"),
            (Element::Value("interface" | "source", name), false) => format!("Removed {name} from zone {zone}"),
            (Element::Switch(word @ ("masquerade" | "forward")), true) => format!("Added {word} to zone {zone}"),
            (Element::Switch(word @ ("masquerade" | "forward")), false) => format!("Removed {word} from zone {zone}"),
            (Element::Target(target), true) => format!("Set zone {zone} target to {target}"),
            (Element::Target(_), false) => format!("Reset zone {zone} target to default"),
            (Element::Zone, enabled) => {
                let (verb, state) = if enabled { ("Added", "present") } else { ("Removed", "absent") };
                format!("{verb} zone {zone}, Changed zone {zone} to {state}")
            }
            _ => return None,
        })
    }
}

/// The one thing that a task is about; a task that names none is about the zone.
pub fn wishes(arguments: &Firewalld) -> Result<Vec<Wish>, ModuleError> {
    let state = arguments.state.0.as_str();
    let on = matches!(state, "enabled" | "present");
    let text = |value: &Option<crate::modules::scalars::Text>| value.as_ref().map(|text| text.0.clone());
    let mut found: Vec<Wish> = Vec::new();
    let named = [
        ("icmp-block", text(&arguments.icmp_block), "icmp-block"),
        ("service", text(&arguments.service), "service"),
        ("protocol", text(&arguments.protocol), "protocol"),
        ("source", text(&arguments.source), "source"),
        ("port", arguments.port.as_ref().map(|port| port_of(port)).transpose()?, "port"),
        ("rich-rule", text(&arguments.rich_rule), "rich_rule"),
        ("interface", text(&arguments.interface), "interface"),
    ];
    for (word, value, called) in named {
        if let Some(value) = value {
            let about = format!("{called} {value}");
            found.push(Wish { element: Element::Value(word, value), enabled: on, about });
        }
    }
    if let Some(forward) = &arguments.port_forward {
        let (value, about) = forward_of(forward)?;
        found.push(Wish { element: Element::Value("forward-port", value), enabled: on, about });
    }
    for (word, flag) in [
        ("icmp-block-inversion", arguments.icmp_block_inversion),
        ("forward", arguments.forward),
        ("masquerade", arguments.masquerade),
    ] {
        if let Some(flag) = flag {
            let about = format!("{word} {}", if flag.0 { "True" } else { "False" });
            found.push(Wish { element: Element::Switch(word), enabled: on == flag.0, about });
        }
    }
    if let Some(target) = &arguments.target {
        found.push(Wish { element: Element::Target(target.0.clone()), enabled: on, about: "target".into() });
    }
    if found.is_empty() && matches!(state, "present" | "absent") {
        found.push(Wish { element: Element::Zone, enabled: on, about: "zone".into() });
    } else if matches!(state, "present" | "absent") && arguments.target.is_none() {
        return Err(ModuleError::Failed("absent and present state can only be used in zone level operations".into()));
    }
    Ok(found)
}

fn port_of(port: &str) -> Result<String, ModuleError> {
    match port.trim().split_once('/') {
        Some((number, protocol)) if !number.is_empty() && !protocol.is_empty() => Ok(format!("{number}/{protocol}")),
        _ => Err(ModuleError::Failed("improper port format (missing protocol?)".into())),
    }
}

/// The words of a forwarded port, and how Ansible names it.
fn forward_of(value: &Value) -> Result<(String, String), ModuleError> {
    let failed = |why: &str| ModuleError::Failed(why.into());
    let one = match value {
        Value::Array(items) if items.len() > 1 => return Err(failed("Only one port forward supported at a time")),
        Value::Array(items) => items.first().and_then(Value::as_object),
        other => other.as_object(),
    };
    let one = one.ok_or_else(|| failed("port_forward must be a mapping of port, proto, toport and toaddr"))?;
    let text = |name: &str| match one.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let port = text("port").ok_or_else(|| failed("port must be specified for port forward"))?;
    let proto = text("proto").ok_or_else(|| failed("proto udp/tcp must be specified for port forward"))?;
    let toport = text("toport").ok_or_else(|| failed("toport must be specified for port forward"))?;
    let toaddr = text("toaddr").unwrap_or_default();
    let mut words = format!("port={port}:proto={proto}:toport={toport}");
    let about = format!("port_forward {words}:toaddr={toaddr}");
    if !toaddr.is_empty() {
        words.push_str(&format!(":toaddr={toaddr}"));
    }
    Ok((words, about))
}

impl Firewalld {
    /// What can be told without asking the host.
    pub fn validate(&self) -> Result<(), ModuleError> {
        choice("state", &self.state, &["absent", "disabled", "enabled", "present"])?;
        if let Some(target) = &self.target {
            choice("target", target, &["default", "ACCEPT", "DROP", "%%REJECT%%"])?;
        }
        exclusive(&[
            ("icmp_block", self.icmp_block.is_some()),
            ("icmp_block_inversion", self.icmp_block_inversion.is_some()),
            ("service", self.service.is_some()),
            ("protocol", self.protocol.is_some()),
            ("port", self.port.is_some()),
            ("port_forward", self.port_forward.is_some()),
            ("rich_rule", self.rich_rule.is_some()),
            ("interface", self.interface.is_some()),
            ("forward", self.forward.is_some()),
            ("masquerade", self.masquerade.is_some()),
            ("source", self.source.is_some()),
            ("target", self.target.is_some()),
        ])?;
        for (name, given) in [("interface", self.interface.is_some()), ("target", self.target.is_some())] {
            if given && self.zone.is_none() {
                return Err(ModuleError::Failed(format!("missing parameter(s) required by '{name}': zone")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::decode;
    use serde_json::json;

    fn wish(value: &Value) -> Result<Vec<Wish>, ModuleError> {
        let arguments: Firewalld = decode(value.as_object().unwrap().clone())?;
        arguments.validate()?;
        wishes(&arguments)
    }

    #[test]
    fn words_of_the_command() {
        for (value, query, change) in [
            (
                json!({"service": "mysql", "state": "enabled"}),
                "--query-service=mysql",
                "--add-service=mysql --timeout=9",
            ),
            (
                json!({"service": "mysql", "state": "disabled"}),
                "--query-service=mysql",
                "--remove-service=mysql --timeout=9",
            ),
            (
                json!({"port": "3306/tcp", "state": "enabled"}),
                "--query-port=3306/tcp",
                "--add-port=3306/tcp --timeout=9",
            ),
            (
                json!({"source": "10.0.0.0/8", "state": "enabled"}),
                "--query-source=10.0.0.0/8",
                "--add-source=10.0.0.0/8",
            ),
            (
                json!({"interface": "eth0", "zone": "z", "state": "enabled"}),
                "--query-interface=eth0",
                "--change-interface=eth0",
            ),
            (json!({"masquerade": true, "state": "enabled"}), "--query-masquerade", "--add-masquerade"),
            (json!({"masquerade": false, "state": "enabled"}), "--query-masquerade", "--remove-masquerade"),
            (json!({"masquerade": "no", "state": "disabled"}), "--query-masquerade", "--add-masquerade"),
            (
                json!({"port_forward": [{"port": 80, "proto": "tcp", "toport": "8080"}], "state": "enabled"}),
                "--query-forward-port=port=80:proto=tcp:toport=8080",
                "--add-forward-port=port=80:proto=tcp:toport=8080 --timeout=9",
            ),
            (json!({"target": "DROP", "zone": "z", "state": "enabled"}), "--get-target", "--set-target=DROP"),
            (json!({"target": "DROP", "zone": "z", "state": "absent"}), "--get-target", "--set-target=default"),
        ] {
            let wish = wish(&value).unwrap().remove(0);
            assert_eq!(wish.element.query("z").join(" "), format!("--zone=z {query}"), "{value}");
            assert_eq!(wish.element.change("z", wish.enabled, 9).join(" "), format!("--zone=z {change}"), "{value}");
        }
        let zone = wish(&json!({"zone": "z", "state": "absent"})).unwrap().remove(0);
        assert_eq!(
            (zone.element.query("z"), zone.element.change("z", false, 0)),
            (vec!["--get-zones".into()], vec!["--delete-zone=z".into()])
        );
        assert!(zone.element.is_in("block z public\n", "z", true) && !zone.element.is_in("zz\n", "z", true));
        assert!(wish(&json!({"state": "enabled"})).unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({"state": "on", "service": "x"}), "state must be one of"),
            (json!({"state": "enabled", "service": "x", "port": "1/tcp"}), "mutually exclusive"),
            (json!({"state": "enabled", "port": "3306"}), "improper port format"),
            (json!({"state": "present", "service": "x"}), "zone level operations"),
            (json!({"state": "enabled", "interface": "eth0"}), "required by 'interface'"),
            (json!({"state": "enabled", "target": "x", "zone": "z"}), "target must be one of"),
            (json!({"state": "enabled", "port_forward": [{"port": 1}]}), "proto udp/tcp"),
        ] {
            let error = wish(&value).unwrap_err().to_string();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }
}
