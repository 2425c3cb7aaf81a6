//! Which modules do things that no rollback undoes.

use super::Module;
use serde_json::{Map, Value};

/// Why what a module does cannot be undone, by its full name; the rest is undone, or changes nothing.
const LASTING: &[(&str, &str)] = &[
    ("ansible.builtin.apt", PACKAGES),
    ("ansible.builtin.dnf", PACKAGES),
    ("ansible.builtin.package", PACKAGES),
    ("ansible.builtin.command", COMMANDS),
    ("ansible.builtin.raw", COMMANDS),
    ("ansible.builtin.script", COMMANDS),
    ("ansible.builtin.shell", COMMANDS),
    ("ansible.builtin.user", ACCOUNTS),
    ("ansible.builtin.group", ACCOUNTS),
    ("ansible.builtin.tempfile", "a temporary file stays where it is"),
    ("community.mysql.mysql_db", SQL),
    ("community.mysql.mysql_query", SQL),
    ("community.mysql.mysql_replication", SQL),
    ("community.general.ufw", PROGRAMS),
    ("ansible.builtin.iptables", PROGRAMS),
    ("ansible.builtin.debconf", PROGRAMS),
    ("ansible.posix.firewalld", PROGRAMS),
    ("ansible.posix.seboolean", PROGRAMS),
    ("ansible.posix.selinux", "the mode that the kernel was switched to is not put back"),
    ("community.general.alternatives", PROGRAMS),
    ("community.general.locale_gen", PROGRAMS),
    ("community.general.modprobe", PROGRAMS),
    ("community.general.timezone", PROGRAMS),
    ("ansible.builtin.dpkg_selections", PROGRAMS),
    ("community.general.seport", PROGRAMS),
    ("community.general.sefcontext", PROGRAMS),
    ("community.mysql.mysql_user", SQL),
    ("deploy.builtin.galera_bootstrap", CLUSTER),
    ("deploy.builtin.galera_recover", CLUSTER),
    ("deploy.builtin.pki_ca", "an authority stays: what it signed would hang in the air"),
];

const PACKAGES: &str = "packages are never rolled back";
const COMMANDS: &str = "what a command does is not known";
const ACCOUNTS: &str = "files and processes may belong to an account as soon as it is there";
const SQL: &str = "what is executed in the database is there for all members of its cluster";
const PROGRAMS: &str = "what a program of the host keeps for itself is not put back";
const CLUSTER: &str = "a cluster's first start cannot be taken back";

/// Why what a module does with these arguments cannot be undone; nothing where it can, or where it changes nothing.
/// Arguments that are templates are taken for the worst.
pub fn lasting(module: &Module, arguments: &Map<String, Value>) -> Option<&'static str> {
    let why = LASTING.iter().find(|(name, _)| *name == module.name).map(|(_, why)| *why)?;
    let is = |name: &str, value: &str| arguments.get(name).and_then(Value::as_str) == Some(value);
    let only_looks = match module.name {
        "community.mysql.mysql_db" => is("state", "dump"),
        "community.mysql.mysql_replication" => {
            ["getprimary", "getreplica", "getmaster", "getslave"].iter().any(|mode| is("mode", mode))
                || !arguments.contains_key("mode")
        }
        // A statement that only reads; the module itself decides more exactly.
        "community.mysql.mysql_query" => arguments.get("query").is_some_and(reads),
        _ => false,
    };
    (!only_looks).then_some(why)
}

fn reads(query: &Value) -> bool {
    let one = |text: &str| {
        let word = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        ["select", "show", "explain", "describe", "desc"].contains(&word.as_str()) && !text.contains("{{")
    };
    match query {
        Value::String(text) => one(text),
        Value::Array(list) => list.iter().all(|text| text.as_str().is_some_and(one)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::find;
    use serde_json::json;

    #[test]
    fn every_name_is_a_module() {
        for (name, _) in LASTING {
            assert!(find(name).is_some_and(|module| module.name == *name), "{name}");
        }
    }

    #[test]
    fn what_only_looks_is_no_obstacle() {
        for (module, arguments, expected) in [
            ("command", json!({"cmd": "true"}), true),
            ("apt", json!({"name": "x"}), true),
            ("copy", json!({"dest": "/x"}), false),
            ("service", json!({"name": "x", "state": "restarted"}), false),
            ("mysql_query", json!({"query": "SELECT 1"}), false),
            ("mysql_query", json!({"query": ["SHOW STATUS", "DELETE FROM t"]}), true),
            ("mysql_query", json!({"query": "{{ statement }}"}), true),
            ("mysql_db", json!({"name": "x", "state": "dump"}), false),
            ("mysql_db", json!({"name": "x"}), true),
        ] {
            let Value::Object(map) = arguments.clone() else { unreachable!() };
            let found = lasting(find(module).unwrap(), &map);
            assert_eq!(found.is_some(), expected, "{module} {arguments}");
        }
    }
}
