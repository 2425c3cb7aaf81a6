//! What few ask for: storage networks, volumes, capabilities of the process, systemd itself.

use super::{Gathered, PATIENCE, names, read, said};
use crate::machine::Machine;
use serde_json::{Map, Value, json};

/// Initiators of storage networks (iSCSI, NVMe) and ports of Fibre Channel adapters.
pub fn initiators(gathered: &mut Gathered) {
    let line = |path: &str, begin: &str| {
        let text = read(path).unwrap_or_default();
        text.lines().find(|line| line.starts_with(begin)).map(str::to_owned)
    };
    let iqn = line("/etc/iscsi/initiatorname.iscsi", "InitiatorName=");
    gathered.add("iscsi_iqn", iqn.as_deref().and_then(|line| line.strip_prefix("InitiatorName=")).unwrap_or_default());
    gathered.add("hostnqn", line("/etc/nvme/hostnqn", "nqn.").unwrap_or_default());
    let ports = names("/sys/class/fc_host").into_iter().filter_map(|host| {
        let name = read(format!("/sys/class/fc_host/{host}/port_name"))?;
        Some(Value::from(name.trim_start_matches("0x")))
    });
    gathered.add("fibre_channel_wwn", ports.collect::<Vec<_>>());
}

/// Volume groups, logical and physical volumes; `N/A` where LVM's programs are not there.
pub fn lvm(machine: &Machine, gathered: &mut Gathered) {
    if machine.find_program("vgs").is_none() {
        return gathered.add("lvm", "N/A");
    }
    if !rustix::process::geteuid().is_root() {
        return gathered.add("lvm", "N/A");
    }
    let table = |program: &str| {
        let argv = [program, "--noheadings", "--nosuffix", "--units", "g", "--separator", ","];
        let said = said(machine, &argv, PATIENCE).unwrap_or_default();
        said.lines().map(|line| line.trim().split(',').map(str::to_owned).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    gathered.add(
        "lvm",
        json!({"vgs": groups(&table("vgs")), "lvs": logical(&table("lvs")), "pvs": physical(&table("pvs"))}),
    );
}

/// `VG,#PV,#LV,#SN,Attr,VSize,VFree`
fn groups(rows: &[Vec<String>]) -> Value {
    of_rows(rows, |row| match row {
        [_, pvs, lvs, .., size, free] => Some(json!({"size_g": size, "free_g": free, "num_lvs": lvs, "num_pvs": pvs})),
        _ => None,
    })
}

/// `LV,VG,Attr,LSize,…`
fn logical(rows: &[Vec<String>]) -> Value {
    of_rows(rows, |row| match row {
        [_, group, _, size, ..] => Some(json!({"size_g": size, "vg": group})),
        _ => None,
    })
}

/// `PV,VG,Fmt,Attr,PSize,PFree`
fn physical(rows: &[Vec<String>]) -> Value {
    of_rows(rows, |row| match row {
        [_, group, _, _, size, free, ..] => Some(json!({"size_g": size, "free_g": free, "vg": group})),
        _ => None,
    })
}

fn of_rows(rows: &[Vec<String>], describe: impl Fn(&[String]) -> Option<Value>) -> Value {
    let described = rows.iter().filter_map(|row| Some((row.first()?.clone(), describe(row)?)));
    Value::Object(described.collect::<Map<_, _>>())
}

/// Whether capabilities bind the process, and which; `N/A` where `capsh` is not there.
pub fn capabilities(machine: &Machine, gathered: &mut Gathered) {
    let said = machine.find_program("capsh").and_then(|_| said(machine, &["capsh", "--print"], PATIENCE));
    let (enforced, all) = match said {
        Some(said) => capabilities_of(&said),
        None => ("N/A", "N/A".into()),
    };
    gathered.add("system_capabilities_enforced", enforced);
    gathered.add("system_capabilities", all);
}

fn capabilities_of(said: &str) -> (&'static str, Value) {
    match said.lines().find_map(|line| line.strip_prefix("Current:")).map(str::trim) {
        None => ("NA", json!([])),
        Some("=ep") => ("False", json!([])),
        Some(words) => {
            let list = words.split_once('=').map_or("", |(_, list)| list.split('=').next().unwrap_or_default());
            ("True", list.split(',').map(|word| Value::from(word.trim())).collect())
        }
    }
}

/// Version and features of systemd, where it runs the host.
pub fn systemd(machine: &Machine, gathered: &mut Gathered) {
    if !std::path::Path::new("/run/systemd/system").exists() {
        return;
    }
    if let Some(found) = said(machine, &["systemctl", "--version"], PATIENCE).as_deref().and_then(systemd_of) {
        gathered.add("systemd", found);
    }
}

/// `systemd 257 (257.9-1~deb13u1)` and, in the second line, `+PAM +AUDIT …`.
fn systemd_of(said: &str) -> Option<Value> {
    let version: u64 = said.split(' ').nth(1)?.parse().ok()?;
    Some(json!({"version": version, "features": said.lines().nth(1)?}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_say_is_read() {
        assert_eq!(
            systemd_of("systemd 257 (257.9-1~deb13u1)\n+PAM +AUDIT -GNUTLS\n"),
            Some(json!({"version": 257, "features": "+PAM +AUDIT -GNUTLS"}))
        );
        assert_eq!(systemd_of("systemctl: broken"), None);
        assert_eq!(capabilities_of("Current: =ep\nBounding set =x\n"), ("False", json!([])));
        assert_eq!(capabilities_of("Current: =\n"), ("True", json!([""])));
        // As Ansible takes it: what stands behind the first `=`.
        assert_eq!(capabilities_of("Current: cap_chown,cap_kill=ep\n"), ("True", json!(["ep"])));
        assert_eq!(
            capabilities_of("Current: = cap_chown,cap_kill+ep\n"),
            ("True", json!(["cap_chown", "cap_kill+ep"]))
        );
        let row = |text: &str| vec![text.split(',').map(str::to_owned).collect::<Vec<_>>()];
        assert_eq!(
            groups(&row("vg0,1,2,0,wz--n-,9.99,1.00")),
            json!({"vg0": {"size_g": "9.99", "free_g": "1.00", "num_lvs": "2", "num_pvs": "1"}})
        );
        assert_eq!(logical(&row("root,vg0,-wi-ao----,8.99,,,,,,,,")), json!({"root": {"size_g": "8.99", "vg": "vg0"}}));
        assert_eq!(
            physical(&row("/dev/sda2,vg0,lvm2,a--,9.99,1.00")),
            json!({"/dev/sda2": {"size_g": "9.99", "free_g": "1.00", "vg": "vg0"}})
        );
        assert_eq!(logical(&row("")), json!({}));
    }
}
