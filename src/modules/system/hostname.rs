//! `hostname`: the host's name.

use crate::machine::Machine;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// `ansible.builtin.hostname`
pub const HOSTNAME: Module = Module {
    name: "ansible.builtin.hostname",
    aliases: &["hostname", "ansible.legacy.hostname"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Hostname::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Ways in which Ansible sets the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Alpine.
    Alpine,
    /// Debian.
    Debian,
    /// FreeBSD.
    Freebsd,
    /// Any.
    Generic,
    /// macOS.
    Macos,
    /// macOS.
    Macosx,
    /// macOS.
    Darwin,
    /// OpenBSD.
    Openbsd,
    /// OpenRC.
    Openrc,
    /// Red Hat.
    Redhat,
    /// SUSE.
    Sles,
    /// Solaris.
    Solaris,
    /// hostnamectl.
    Systemd,
}

crate::arguments! {
    /// Sets the host's name, now and for every start. `/etc/hosts` is not touched.
    pub struct Hostname {
        /// The name.
        pub name: String,
        /// Accepted for old playbooks; the name is kept in `/etc/hostname`.
        #[serde(rename = "use")]
        pub method: Option<Strategy>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Hostname = decode(arguments)?;
    let name = arguments.name.trim();
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if name.len() > 64 || !name.split('.').all(label) {
        return Err(ModuleError::argument(
            "name",
            format!("`{name}` is no host name (letters, digits, - and dots, at most 64)"),
        ));
    }
    machine.set_hostname(name)?;
    let short = name.split('.').next().unwrap_or(name);
    let domain = name.split_once('.').map_or("", |(_, domain)| domain);
    let mut outcome = Outcome::ok().with("name", name);
    for (fact, value) in [
        ("ansible_hostname", json!(short)),
        ("ansible_nodename", json!(name)),
        ("ansible_fqdn", json!(name)),
        ("ansible_domain", json!(domain)),
    ] {
        outcome.facts.insert(fact.into(), value);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::check;
    use serde_json::json;

    #[test]
    fn names_are_checked_and_the_present_one_is_no_change() {
        for name in ["", "-x", "a b", "x..y", "under/score", &"x".repeat(65)] {
            assert_eq!(check("hostname", &json!({"name": name})).status, Status::Failed, "{name}");
        }
        let outcome = check("hostname", &json!({"name": "db1.example.com"}));
        if rustix::process::geteuid().is_root() {
            assert_eq!(outcome.facts["ansible_hostname"], "db1");
            assert!(outcome.changed());
        }
    }
}
