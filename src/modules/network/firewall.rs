//! `firewall`: who may reach which ports.

use crate::machine::Machine;
use crate::machine::firewall::ruleset::{disjoint, merged};
use crate::machine::firewall::{Applied, Network, Ports, Rule, Ruleset, Sources};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// `deploy.builtin.firewall`
pub const FIREWALL: Module = Module {
    name: "deploy.builtin.firewall",
    aliases: &["firewall"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Firewall::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(act),
};

crate::arguments! {
    /// Says who may reach which ports of the host, in an nftables table of its own.
    ///
    /// A port that a rule names is open to the rule's sources and closed to everyone else; ports that no rule names
    /// are left alone, or closed with `policy: drop`. ssh is always open, so are established connections and the
    /// host itself. The table is checked, replaced in one step, and undone by the host itself after `revert_after`
    /// seconds unless a new connection from the controller has come through; then it is made permanent. Where
    /// firewalld, ufw or iptables manage the host the task fails.
    pub struct Firewall {
        /// Name of the table: `deploy_NAME`, in the family `inet`.
        pub name: Text,
        /// List of rules: `ports` (numbers, or ranges as `6000-6010`; `port` for one), `sources` (addresses,
        /// networks, names of `sets`, or `any`; without it everybody, an empty list is nobody), `proto` (`tcp` or
        /// `udp`, tcp when not given) and `name` (what for).
        #[serde(default)]
        pub rules: Vec<Value>,
        /// Addresses and networks by name, IPv4 and IPv6 together.
        #[serde(default)]
        pub sets: BTreeMap<String, TextList>,
        /// What happens to ports that no rule names: `accept` or `drop`.
        pub policy: Option<Text>,
        /// Ports of ssh. 22 when not given; the port of the present connection is always among them.
        pub ssh_ports: Option<Value>,
        /// Seconds after which the host undoes rules that were not confirmed. 60 when not given.
        pub revert_after: Option<Int>,
        /// `present` or `absent`.
        pub state: Option<Text>,
        /// Whether this is the confirmation; set by the controller.
        #[serde(default)]
        pub confirm: Flag,
    }
}

/// One rule, as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(alias = "port")]
    ports: Value,
    #[serde(default, alias = "protocol")]
    proto: Option<TextList>,
    #[serde(default, alias = "source", deserialize_with = "given")]
    sources: Option<TextList>,
    #[serde(default, alias = "comment")]
    name: Option<Text>,
}

/// `sources:` with nothing behind it names nobody; only leaving it out means everybody.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<TextList>, D::Error> {
    TextList::deserialize(deserializer).map(Some)
}

#[cfg(feature = "controller")]
fn act<'a>(
    host: &'a dyn crate::modules::ActionHost,
    arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::{ActionError, Prepared};
    Box::pin(async move {
        let mut outcome = host.call(FIREWALL.name, arguments.clone()).await?;
        if outcome.data.remove("armed") != Some(Value::Bool(true)) {
            return Ok(Prepared::Done(outcome));
        }
        let seconds = outcome.data.get("revert_after").and_then(Value::as_u64).unwrap_or(60);
        host.reconnect().await.map_err(|error| {
            ActionError::Failed(format!(
                "the new firewall rules do not let a new connection in ({error}); the host puts the old ones back by \
                 itself within {seconds} s"
            ))
        })?;
        let mut again = arguments;
        again.insert("confirm".into(), true.into());
        let mut second = host.call(FIREWALL.name, again).await?;
        let mut changes = std::mem::take(&mut outcome.changes);
        changes.append(&mut second.changes);
        second.changes = changes;
        Ok(Prepared::Done(second))
    })
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Firewall = decode(arguments)?;
    let client = client();
    let rules = ruleset(&arguments, client)?;
    let table = rules.table.clone();
    match arguments.state.as_deref().unwrap_or("present") {
        "present" => {}
        "absent" => {
            machine.remove_firewall(&table)?;
            return Ok(Outcome::ok().with("table", table));
        }
        other => {
            return Err(ModuleError::argument("state", format!("`{other}` is unknown: write present or absent")));
        }
    }
    if arguments.confirm.0 && !machine.predicted() {
        machine.confirm_firewall(&rules)?;
        return Ok(Outcome::ok().with("table", table));
    }
    let seconds = arguments.revert_after.map_or(60, |n| u64::try_from(n.0).unwrap_or(60)).max(5);
    let applied = machine.apply_firewall(&rules, seconds, client)?;
    let mut outcome = Outcome::ok().with("table", table);
    if applied == Applied::Armed {
        outcome = outcome.with("armed", true).with("revert_after", seconds);
    }
    Ok(outcome)
}

/// The table that the arguments describe.
fn ruleset(arguments: &Firewall, client: Option<(IpAddr, u16)>) -> Result<Ruleset, ModuleError> {
    let name = arguments.name.0.as_str();
    if !is_name(name) {
        let why = format!("`{name}` must be of lower-case letters, digits and _, and begin with a letter");
        return Err(ModuleError::argument("name", why));
    }
    let closed = match arguments.policy.as_deref().unwrap_or("accept") {
        "accept" => false,
        "drop" => true,
        other => {
            return Err(ModuleError::argument("policy", format!("`{other}` is unknown: write accept or drop")));
        }
    };
    let mut sets = BTreeMap::new();
    for (name, members) in &arguments.sets {
        if !is_name(name) {
            let why = format!("`{name}` must be of lower-case letters, digits and _, and begin with a letter");
            return Err(ModuleError::argument("sets", why));
        }
        let networks = networks(members.0.iter()).map_err(|why| ModuleError::argument("sets", why))?;
        sets.insert(name.clone(), networks);
    }
    let mut ssh = match &arguments.ssh_ports {
        Some(value) => ports(value).map_err(|why| ModuleError::argument("ssh_ports", why))?,
        None => [(22, 22)].into(),
    };
    if let Some((_, port)) = client {
        ssh.insert((port, port));
    }
    let mut rules =
        vec![Rule { protocol: "tcp".into(), ports: merged(&ssh), sources: Sources::Any, comment: "ssh".into() }];
    for value in &arguments.rules {
        rules.extend(read_rule(value, &sets).map_err(|why| ModuleError::argument("rules", why))?);
    }
    Ok(Ruleset { table: format!("deploy_{name}"), sets, rules, closed })
}

/// One rule for each protocol.
fn read_rule(value: &Value, sets: &BTreeMap<String, BTreeSet<Network>>) -> Result<Vec<Rule>, String> {
    let written: Written = serde_json::from_value(value.clone()).map_err(|e| format!("{value}: {e}"))?;
    let comment = written.name.map(|text| text.0).unwrap_or_default();
    // nftables takes 128 bytes and no quotes.
    if comment.len() > 120 || comment.contains(['"', '\\', '\n']) {
        return Err(format!("the name `{comment}` is too long, or contains quotes"));
    }
    let ports = merged(&ports(&written.ports)?);
    if ports.is_empty() {
        return Err(format!("the rule `{comment}` names no port"));
    }
    let sources = match written.sources {
        None => Sources::Any,
        Some(TextList(items)) if items.iter().any(|item| item == "any") => Sources::Any,
        Some(TextList(items)) => {
            let mut marked = items.iter().filter_map(|item| item.strip_prefix('@'));
            if let Some(unknown) = marked.find(|name| !sets.contains_key(*name)) {
                let known: Vec<&str> = sets.keys().map(String::as_str).collect();
                return Err(match known.is_empty() {
                    true => format!("there is no set `{unknown}`: `sets` names none"),
                    false => format!("there is no set `{unknown}`; `sets` has {}", known.join(", ")),
                });
            }
            let (named, addresses): (Vec<&String>, Vec<&String>) =
                items.iter().partition(|item| sets.contains_key(item.trim_start_matches('@')));
            Sources::Of {
                sets: named.into_iter().map(|item| item.trim_start_matches('@').to_string()).collect(),
                networks: networks(addresses.into_iter())?,
            }
        }
    };
    let protocols = written.proto.map_or_else(|| vec!["tcp".to_string()], |list| list.0);
    protocols
        .into_iter()
        .map(|protocol| match protocol.to_ascii_lowercase().as_str() {
            protocol @ ("tcp" | "udp") => Ok(Rule {
                protocol: protocol.to_string(),
                ports: ports.clone(),
                sources: sources.clone(),
                comment: comment.clone(),
            }),
            other => Err(format!("the protocol `{other}` is unknown: write tcp or udp")),
        })
        .collect()
}

fn networks<'a>(items: impl Iterator<Item = &'a String>) -> Result<BTreeSet<Network>, String> {
    items.map(|item| Network::parse(item)).collect::<Result<_, _>>().map(disjoint)
}

/// `22`, `"6000-6010"`, a list of them, or several in one text.
fn ports(value: &Value) -> Result<Ports, String> {
    let one = |text: &str| {
        let bad = || format!("`{text}` is no port and no range of ports");
        let (first, last) = text.split_once('-').or_else(|| text.split_once(':')).unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad);
        let (first, last) = (port(first)?, port(last)?);
        if first <= last { Ok((first, last)) } else { Err(bad()) }
    };
    match value {
        Value::Array(items) => {
            items.iter().map(ports).collect::<Result<Vec<_>, _>>().map(|lists| lists.into_iter().flatten().collect())
        }
        Value::Number(number) => one(&number.to_string()).map(|range| [range].into()),
        Value::String(text) => text.split(',').map(|part| one(part.trim())).collect(),
        other => Err(format!("{other} is no port")),
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 60
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Where the controller comes from and which port it reached, of the ssh session that this process belongs to.
///
/// sudo does not hand the variable down, so the processes above are asked as well.
fn client() -> Option<(IpAddr, u16)> {
    if let Ok(text) = std::env::var("SSH_CONNECTION") {
        return connection(&text);
    }
    let mut pid = std::process::id();
    for _ in 0..16 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        pid = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())?;
        if pid <= 1 {
            return None;
        }
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
            continue;
        };
        let found = environment
            .split(|b| *b == 0)
            .find_map(|entry| std::str::from_utf8(entry).ok()?.strip_prefix("SSH_CONNECTION="));
        if let Some(text) = found {
            return connection(text);
        }
    }
    None
}

/// `203.0.113.9 50000 10.0.0.1 22`
fn connection(text: &str) -> Option<(IpAddr, u16)> {
    let mut words = text.split_whitespace();
    let address = words.next()?.split('%').next()?.parse().ok()?;
    let port = words.nth(2)?.parse().ok()?;
    Some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(value: Value) -> Result<Ruleset, ModuleError> {
        let arguments: Firewall = decode(value.as_object().unwrap().clone())?;
        ruleset(&arguments, Some(("203.0.113.9".parse().unwrap(), 2222)))
    }

    #[test]
    fn what_the_roles_write() {
        let rules = rules(json!({"name": "galera", "rules": [
            {"name": "replication", "ports": [4567, 4568, 4444], "sources": ["10.0.0.1", "fd00::1"]},
            {"name": "clients", "ports": [3306], "sources": []},
            {"port": "9200", "source": "any"},
        ]}))
        .unwrap();
        let text = rules.text();
        for line in [
            "table inet deploy_galera {",
            "tcp dport { 22, 2222 } accept comment \"ssh\"",
            "tcp dport { 4444, 4567, 4568 } ip saddr 10.0.0.1 accept comment \"replication\"",
            "tcp dport { 4444, 4567, 4568 } ip6 saddr fd00::1 accept comment \"replication\"",
            "tcp dport 9200 accept",
            "tcp dport { 22, 2222, 3306, 4444, 4567, 4568, 9200 } drop",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("3306 ip"), "{text}");
        assert!(rules.admits("203.0.113.9".parse().unwrap(), 2222));
    }

    #[test]
    fn sets_and_protocols() {
        let rules = rules(json!({"name": "x", "policy": "drop", "sets": {"peers": "10.0.0.1,fd00::/64"}, "rules": [
            {"ports": "6000-6010, 6005", "sources": ["@peers", "192.0.2.1"], "proto": ["tcp", "udp"]},
        ]}))
        .unwrap();
        let text = rules.text();
        assert!(text.contains("udp dport 6000-6010 ip saddr @peers4 accept"), "{text}");
        assert!(text.contains("policy drop") && text.contains("ipv6-icmp"), "{text}");
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({"name": "Bad Name"}), "lower-case"),
            (json!({"name": "x", "rules": [{"ports": 70000}]}), "no port"),
            (json!({"name": "x", "rules": [{"ports": []}]}), "names no port"),
            (json!({"name": "x", "rules": [{"ports": 1, "sources": ["db1.example"]}]}), "no address"),
            (json!({"name": "x", "rules": [{"ports": 1, "sources": ["@peer"]}]}), "there is no set `peer`"),
            (
                json!({"name": "x", "sets": {"peers": []}, "rules": [{"ports": 1, "sources": "@peer"}]}),
                "there is no set `peer`; `sets` has peers",
            ),
            (json!({"name": "x", "rules": [{"ports": 1, "source_s": []}]}), "unknown field"),
            (json!({"name": "x", "rules": [{"ports": 1, "proto": "sctp"}]}), "sctp"),
            (json!({"name": "x", "policy": "reject"}), "reject"),
        ] {
            let error = rules(value.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn connections() {
        assert_eq!(connection("203.0.113.9 50000 10.0.0.1 22"), Some(("203.0.113.9".parse().unwrap(), 22)));
        assert_eq!(connection("fe80::1%eth0 5 fe80::2%eth0 2222"), Some(("fe80::1".parse().unwrap(), 2222)));
        assert_eq!(connection("nonsense"), None);
    }
}
