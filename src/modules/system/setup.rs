//! `setup`: facts of the host.

use super::facts;
use crate::machine::Machine;
use crate::modules::scalars::{Int, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.setup`
pub const SETUP: Module = Module {
    name: "ansible.builtin.setup",
    aliases: &["setup", "gather_facts", "ansible.builtin.gather_facts", "ansible.legacy.setup"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Setup::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Gathers facts of the host: `ansible_distribution`, `ansible_default_ipv4`, `ansible_memtotal_mb` and so on.
    ///
    /// They are read from the kernel and from files in a few milliseconds; the host needs no Python.
    pub struct Setup {
        /// Groups of facts: `all`, `min`, `hardware`, `network`, `virtual`, names of single facts, or with a leading
        /// `!` what is left out. `min` is always there, unless `!all` and `!min` are given.
        pub gather_subset: Option<TextList>,
        /// Shell patterns of the names that are wanted; `ansible_` may be left out.
        #[serde(default)]
        pub filter: TextList,
        /// Accepted for old playbooks: nothing takes long.
        pub gather_timeout: Option<Int>,
        /// Directory of local facts.
        pub fact_path: Option<String>,
        /// Accepted for old playbooks.
        pub parallel: Option<crate::modules::scalars::Flag>,
    }
}

/// Groups of facts in Ansible's names.
const GROUPS: [(&str, &[&str]); 3] = [
    ("hardware", &["cpu", "memory", "devices", "mounts", "dmi", "uptime", "lvm"]),
    ("network", &["interfaces", "initiators"]),
    ("virtual", &["virtual"]),
];

/// Parts that are gathered even when nothing else is wanted.
const MINIMUM: [&str; 17] = [
    "platform",
    "distribution",
    "date_time",
    "env",
    "user",
    "local",
    "lsb",
    "cmdline",
    "python",
    "pkg_mgr",
    "service_mgr",
    "selinux",
    "apparmor",
    "fips",
    "ssh",
    "capabilities",
    "systemd",
];

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Setup = decode(arguments)?;
    let subset = arguments.gather_subset.map_or_else(Vec::new, |s| s.0);
    let wanted = parts(&subset).map_err(|why| ModuleError::argument("gather_subset", why))?;
    let fact_path = arguments.fact_path.unwrap_or_else(|| "/etc/ansible/facts.d".into());
    let mut gathered = facts::gather(machine, &wanted, &fact_path);
    let mut warnings = std::mem::take(&mut gathered.warnings);
    let mut found = gathered.facts;
    if !arguments.filter.0.is_empty() && !arguments.filter.0.iter().any(|f| f == "*") {
        let patterns: Vec<String> = arguments.filter.0.clone();
        found.retain(|name, _| {
            let short = name.strip_prefix("ansible_").unwrap_or(name);
            patterns.iter().any(|p| facts::matches(p, name) || facts::matches(p, short))
        });
    } else {
        let subset = if subset.is_empty() { vec!["all".to_string()] } else { subset };
        found.insert("gather_subset".into(), subset.into());
        // With a filter it is no gathering that would save another.
        found.insert("module_setup".into(), true.into());
    }
    let mut outcome = Outcome { facts: found, ..Outcome::ok() };
    outcome.warnings.append(&mut warnings);
    Ok(outcome)
}

/// The parts that a subset asks for.
fn parts(subset: &[String]) -> Result<Vec<&'static str>, String> {
    let all: Vec<&'static str> =
        MINIMUM.iter().copied().chain(GROUPS.iter().flat_map(|(_, parts)| parts.iter().copied())).collect();
    let expand = |name: &str| -> Result<Vec<&'static str>, String> {
        Ok(match name {
            "all" => all.clone(),
            "min" => MINIMUM.to_vec(),
            // What Ansible gathers with other programs' help and nothing here offers.
            "facter" | "ohai" => Vec::new(),
            name => match GROUPS.iter().find(|(group, _)| *group == name) {
                Some((_, parts)) => parts.to_vec(),
                None => vec![single(name).ok_or_else(|| format!("`{name}` is no group of facts: write for example all, min, hardware, network, virtual or !hardware"))?],
            },
        })
    };
    let mut wanted: Vec<&'static str> = Vec::new();
    if subset.iter().all(|s| s.starts_with('!')) {
        wanted = all.clone();
    }
    for name in subset.iter().filter(|s| !s.starts_with('!')) {
        wanted.extend(expand(name)?);
    }
    let mut minimum = true;
    for name in subset.iter().filter_map(|s| s.strip_prefix('!')) {
        if name == "all" {
            wanted.retain(|part| {
                subset.iter().any(|s| expand(s).is_ok_and(|parts| !s.starts_with('!') && parts.contains(part)))
            });
            continue;
        }
        minimum &= name != "min";
        let out = expand(name)?;
        // What is asked for by its own name stays, whatever leaves it out.
        wanted.retain(|part| !out.contains(part) || subset.iter().any(|asked| asked == part));
    }
    if minimum {
        wanted.extend(MINIMUM);
    }
    // Ansible's collectors of these need those, and return them, too.
    let needed: [(&str, &[&'static str]); 4] = [
        ("network", &["platform", "distribution"]),
        ("hardware", &["platform"]),
        ("pkg_mgr", &["distribution"]),
        ("service_mgr", &["platform", "distribution"]),
    ];
    for (group, parts) in needed {
        if expand(group)?.iter().any(|part| wanted.contains(part)) {
            wanted.extend(parts);
        }
    }
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

/// The part that a single fact's name asks for.
fn single(name: &str) -> Option<&'static str> {
    Some(match name {
        "distribution" | "distribution_version" | "os_family" => "distribution",
        "platform" | "architecture" | "machine" | "hostname" | "fqdn" | "machine_id" => "platform",
        "system_capabilities" | "caps" => "capabilities",
        "date_time" => "date_time",
        "env" => "env",
        "user" | "user_id" => "user",
        "local" => "local",
        "lsb" => "lsb",
        "cmdline" => "cmdline",
        "python" | "python_version" => "python",
        "pkg_mgr" => "pkg_mgr",
        "service_mgr" => "service_mgr",
        "selinux" => "selinux",
        "apparmor" => "apparmor",
        "fips" => "fips",
        "ssh_pub_keys" | "ssh_host_pub_keys" => "ssh",
        "processor" | "processor_cores" | "processor_count" | "processor_vcpus" => "cpu",
        "memtotal_mb" | "memfree_mb" | "memory_mb" | "swaptotal_mb" => "memory",
        "mounts" => "mounts",
        "devices" => "devices",
        "dmi" | "product_name" | "bios_version" => "dmi",
        "uptime" | "uptime_seconds" => "uptime",
        "interfaces"
        | "default_ipv4"
        | "default_ipv6"
        | "all_ipv4_addresses"
        | "all_ipv6_addresses"
        | "locally_reachable_ips"
        | "dns" => "interfaces",
        "virtualization_type" | "virtualization_role" => "virtual",
        // Names that Ansible knows and that have nothing to say on a usual host.
        "chroot" | "is_chroot" => "platform",
        "loadavg" => "uptime",
        "fibre_channel_wwn" | "iscsi" | "nvme" => "initiators",
        "systemd" => "systemd",
        "lvm" => "lvm",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {

    use crate::modules::testing::{apply, check};
    use serde_json::json;

    #[test]
    fn facts_have_ansibles_names_and_come_fast() {
        apply("setup", &json!({}));
        let started = std::time::Instant::now();
        let outcome = apply("setup", &json!({}));
        let took = started.elapsed();
        assert!(took < std::time::Duration::from_millis(200), "{took:?}"); // a debug build on a busy machine
        for name in [
            "ansible_distribution",
            "ansible_distribution_version",
            "ansible_distribution_major_version",
            "ansible_distribution_release",
            "ansible_os_family",
            "ansible_system",
            "ansible_kernel",
            "ansible_architecture",
            "ansible_machine",
            "ansible_hostname",
            "ansible_fqdn",
            "ansible_nodename",
            "ansible_domain",
            "ansible_processor",
            "ansible_processor_vcpus",
            "ansible_processor_cores",
            "ansible_processor_count",
            "ansible_memtotal_mb",
            "ansible_memfree_mb",
            "ansible_memory_mb",
            "ansible_swaptotal_mb",
            "ansible_all_ipv4_addresses",
            "ansible_all_ipv6_addresses",
            "ansible_interfaces",
            "ansible_lo",
            "ansible_mounts",
            "ansible_devices",
            "ansible_date_time",
            "ansible_env",
            "ansible_user_id",
            "ansible_user_uid",
            "ansible_uptime_seconds",
            "ansible_virtualization_type",
            "ansible_virtualization_role",
            "ansible_selinux",
            "ansible_service_mgr",
            "ansible_pkg_mgr",
            "ansible_python",
            "ansible_dns",
            "ansible_lsb",
            "ansible_is_chroot",
            "ansible_cmdline",
            "ansible_local",
            "ansible_apparmor",
            "ansible_fips",
            "ansible_default_ipv4",
            "ansible_default_ipv6",
            "ansible_userspace_bits",
            "ansible_userspace_architecture",
        ] {
            assert!(outcome.facts.contains_key(name), "{name}");
        }
        assert_eq!(outcome.facts["ansible_system"], "Linux");
        assert_eq!(outcome.facts["ansible_lo"]["ipv4"]["address"], "127.0.0.1");
        assert!(outcome.changes.is_empty());
    }

    #[test]
    fn subsets_and_filters() {
        let outcome = check("setup", &json!({"gather_subset": "!all"}));
        assert!(outcome.facts.contains_key("ansible_distribution") && !outcome.facts.contains_key("ansible_mounts"));
        let outcome = check("setup", &json!({"gather_subset": ["!all", "!min", "network"]}));
        assert!(outcome.facts.contains_key("ansible_distribution") && outcome.facts.contains_key("ansible_interfaces"));
        assert!(!outcome.facts.contains_key("ansible_date_time"));
        let outcome = check("setup", &json!({"filter": "ansible_mem*"}));
        assert!(outcome.facts.keys().all(|k| k.starts_with("ansible_mem")));
        // A name that an earlier task of a check would have given.
        let mut machine = crate::machine::Machine::new(crate::machine::Mode::Predicted);
        let mut controller = crate::modules::testing::TestController::default();
        let mut run = |module: &str, arguments: serde_json::Value| {
            crate::modules::testing::run_on(&mut machine, &mut controller, module, &arguments)
        };
        if rustix::process::geteuid().is_root() {
            run("hostname", json!({"name": "later.example"}));
            let facts = run("setup", json!({"gather_subset": "min"})).facts;
            assert_eq!(
                (&facts["ansible_hostname"], &facts["ansible_nodename"]),
                (&json!("later"), &json!("later.example"))
            );
        }
        let outcome = check("setup", &json!({"filter": ["hostname"]}));
        assert!(outcome.facts.contains_key("ansible_hostname"));
        assert!(check("setup", &json!({"gather_subset": "nothing"})).msg.unwrap().contains("nothing"));
    }
}
