//! Processors, memory, mounts, block devices, board, uptime.

use super::{Gathered, names, read};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Processors.
pub fn cpu(gathered: &mut Gathered) {
    let text = read("/proc/cpuinfo").unwrap_or_default();
    let affinity = rustix::thread::sched_getaffinity(None).map(|set| set.count() as usize).unwrap_or(0);
    for (name, value) in describe_cpu(&text, affinity) {
        gathered.add(name, value);
    }
}

/// Facts of `/proc/cpuinfo`, in the way Ansible counts.
fn describe_cpu(text: &str, affinity: usize) -> Vec<(&'static str, Value)> {
    let mut list: Vec<Value> = Vec::new();
    let mut sockets: BTreeSet<String> = BTreeSet::new();
    let mut cores: BTreeMap<String, u64> = BTreeMap::new();
    let mut siblings: BTreeMap<String, u64> = BTreeMap::new();
    let mut logical = 0u64;
    let mut physical = String::new();
    let mut flags = None;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match key.trim() {
            "processor" if value.bytes().all(|b| b.is_ascii_digit()) => {
                logical += 1;
                list.push(value.into());
            }
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" => list.push(value.into()),
            "physical id" => {
                physical = value.to_string();
                sockets.insert(value.to_string());
            }
            "flags" if flags.is_none() => flags = Some(value.split_whitespace().map(Value::from).collect::<Vec<_>>()),
            "cpu cores" => drop(cores.insert(physical.clone(), value.parse().unwrap_or(1))),
            "siblings" => drop(siblings.insert(physical.clone(), value.parse().unwrap_or(1))),
            _ => {}
        }
    }
    // Virtual machines often say nothing of sockets: then each processor is one.
    let count = if sockets.is_empty() { logical.max(1) } else { sockets.len() as u64 };
    let cores = cores.values().next().copied().unwrap_or(1).max(1);
    let threads = siblings.values().next().map_or(1, |s| (s / cores).max(1));
    let vcpus = if sockets.is_empty() { logical.max(1) } else { count * cores * threads };
    let nproc = if affinity > 0 { affinity as u64 } else { logical };
    let mut found: Vec<(&'static str, Value)> = vec![
        ("processor", list.into()),
        ("processor_count", count.into()),
        ("processor_cores", cores.into()),
        ("processor_threads_per_core", threads.into()),
        ("processor_vcpus", vcpus.into()),
        ("processor_nproc", nproc.into()),
    ];
    found.extend(flags.map(|flags| ("flags", flags.into())));
    found
}

/// Memory and swap.
pub fn memory(gathered: &mut Gathered) {
    let text = read("/proc/meminfo").unwrap_or_default();
    let mb = |key: &str| -> u64 {
        text.lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    };
    let (total, free) = (mb("MemTotal"), mb("MemFree"));
    let (swap, swap_free) = (mb("SwapTotal"), mb("SwapFree"));
    let no_cache = free + mb("Cached") + mb("Buffers");
    gathered.add("memtotal_mb", total);
    gathered.add("memfree_mb", free);
    gathered.add("swaptotal_mb", swap);
    gathered.add("swapfree_mb", swap_free);
    gathered.add(
        "memory_mb",
        json!({
            "real": {"total": total, "free": free, "used": total.saturating_sub(free)},
            "nocache": {"free": no_cache, "used": total.saturating_sub(no_cache)},
            "swap": {"total": swap, "free": swap_free, "used": swap.saturating_sub(swap_free), "cached": mb("SwapCached")},
        }),
    );
}

/// Uptime and load.
pub fn uptime(gathered: &mut Gathered) {
    let uptime = read("/proc/uptime").and_then(|t| t.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
    gathered.add("uptime_seconds", uptime as u64);
    if let Some(load) = read("/proc/loadavg") {
        let values: Vec<f64> = load.split_whitespace().take(3).filter_map(|v| v.parse().ok()).collect();
        if let [one, five, fifteen] = values.as_slice() {
            gathered.add("loadavg", json!({"1m": one, "5m": five, "15m": fifteen}));
        }
    }
}

/// The board's and the vendor's names.
pub fn dmi(gathered: &mut Gathered) {
    const FILES: [(&str, &str); 17] = [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ];
    for (name, file) in FILES {
        let value = read(format!("/sys/class/dmi/id/{file}")).filter(|v| !v.is_empty()).unwrap_or_else(|| "NA".into());
        gathered.add(name, value);
    }
    let form = read("/sys/class/dmi/id/chassis_type").and_then(|t| t.parse::<usize>().ok()).unwrap_or(0);
    const FORMS: [&str; 26] = [
        "NA",
        "Other",
        "Unknown",
        "Desktop",
        "Low Profile Desktop",
        "Pizza Box",
        "Mini Tower",
        "Tower",
        "Portable",
        "Laptop",
        "Notebook",
        "Hand Held",
        "Docking Station",
        "All In One",
        "Sub Notebook",
        "Space-saving",
        "Lunch Box",
        "Main Server Chassis",
        "Expansion Chassis",
        "Sub Chassis",
        "Bus Expansion Chassis",
        "Peripheral Chassis",
        "RAID Chassis",
        "Rack Mount Chassis",
        "Sealed-case PC",
        "Multi-system",
    ];
    gathered.add("form_factor", FORMS.get(form).copied().unwrap_or("NA"));
}

/// File systems of the network: their size is not asked for, because that could wait for a dead server.
const REMOTE: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.sshfs", "9p"];

/// Mounted file systems.
pub fn mounts(gathered: &mut Gathered) {
    let uuids: BTreeMap<String, String> = names("/dev/disk/by-uuid")
        .into_iter()
        .filter_map(|uuid| {
            let device = std::fs::canonicalize(format!("/dev/disk/by-uuid/{uuid}")).ok()?;
            Some((device.to_string_lossy().into_owned(), uuid))
        })
        .collect();
    // What is mounted upon another is the one that is seen there.
    let mut mounts: Vec<(String, Value)> = Vec::new();
    for line in read("/proc/self/mounts").unwrap_or_default().lines() {
        let fields: Vec<String> = line.split(' ').map(crate::machine::mounts::unescape).collect();
        let [device, mount, kind, options, dump, pass] = fields.as_slice() else {
            continue;
        };
        if kind == "none" || (!device.starts_with(['/', '\\']) && !device.contains(":/")) {
            continue;
        }
        let real = std::fs::canonicalize(device).map_or_else(|_| device.clone(), |p| p.to_string_lossy().into_owned());
        let mut entry = Map::new();
        entry.insert("mount".into(), mount.clone().into());
        entry.insert("device".into(), device.clone().into());
        entry.insert("fstype".into(), kind.clone().into());
        entry.insert("options".into(), options.clone().into());
        entry.insert("dump".into(), dump.parse::<u64>().unwrap_or(0).into());
        entry.insert("passno".into(), pass.parse::<u64>().unwrap_or(0).into());
        entry.insert("uuid".into(), uuids.get(&real).cloned().unwrap_or_else(|| "N/A".into()).into());
        if !REMOTE.contains(&kind.as_str())
            && let Ok(stat) = rustix::fs::statvfs(mount.as_str())
        {
            for (name, value) in [
                ("size_total", stat.f_frsize * stat.f_blocks),
                ("size_available", stat.f_frsize * stat.f_bavail),
                ("block_size", stat.f_bsize),
                ("block_total", stat.f_blocks),
                ("block_available", stat.f_bavail),
                ("block_used", stat.f_blocks.saturating_sub(stat.f_bavail)),
                ("inode_total", stat.f_files),
                ("inode_available", stat.f_favail),
                ("inode_used", stat.f_files.saturating_sub(stat.f_favail)),
            ] {
                entry.insert(name.into(), value.into());
            }
        }
        match mounts.iter_mut().find(|(known, _)| known == mount) {
            Some((_, below)) => *below = Value::Object(entry),
            None => mounts.push((mount.clone(), Value::Object(entry))),
        }
    }
    gathered.add("mounts", mounts.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>());
}

/// The other names of block devices, and what is made of them (volumes, RAID, encryption).
fn device_links() -> Value {
    let by = |what: &str| {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in names(&format!("/dev/disk/by-{what}")) {
            let target = std::fs::read_link(format!("/dev/disk/by-{what}/{name}")).unwrap_or_default();
            if let Some(device) = target.file_name() {
                found.entry(device.to_string_lossy().into_owned()).or_default().push(name);
            }
        }
        found
    };
    let mut masters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for block in names("/sys/block") {
        for part in names(&format!("/sys/block/{block}/slaves")) {
            masters.entry(part).or_default().push(block.clone());
        }
    }
    json!({"ids": by("id"), "uuids": by("uuid"), "labels": by("label"), "masters": masters})
}

/// Block devices, briefly.
pub fn devices(gathered: &mut Gathered) {
    gathered.add("device_links", device_links());
    let mut devices = Map::new();
    for name in names("/sys/block") {
        let base = format!("/sys/block/{name}");
        let number = |path: &str| read(format!("{base}/{path}")).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let text = |path: &str| read(format!("{base}/{path}")).map_or(Value::Null, Value::from);
        let sectors = number("size");
        if sectors == 0 && (name.starts_with("loop") || name.starts_with("ram")) {
            continue;
        }
        let sector = number("queue/logical_block_size").max(512);
        let mut partitions = Map::new();
        for part in names(&base).into_iter().filter(|p| p.starts_with(&name)) {
            let sectors = number(&format!("{part}/size"));
            partitions.insert(
                part.clone(),
                json!({
                    "sectors": sectors.to_string(),
                    "sectorsize": sector,
                    "size": human(sectors * 512),
                    "start": number(&format!("{part}/start")).to_string(),
                    "uuid": Value::Null,
                }),
            );
        }
        devices.insert(
            name.clone(),
            json!({
                "model": text("device/model"),
                "vendor": text("device/vendor"),
                "serial": text("device/serial"),
                "removable": number("removable").to_string(),
                "rotational": number("queue/rotational").to_string(),
                "sas_address": Value::Null,
                "sectors": sectors.to_string(),
                "sectorsize": sector.to_string(),
                "size": human(sectors * 512),
                "support_discard": number("queue/discard_granularity").to_string(),
                "virtual": if std::path::Path::new(&format!("{base}/device")).exists() { 0 } else { 1 },
                "holders": names(&format!("{base}/holders")),
                "partitions": partitions,
            }),
        );
    }
    gathered.add("devices", devices);
}

/// `20.00 GB`
fn human(bytes: u64) -> String {
    for (unit, size) in [("TB", 1u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)] {
        if bytes >= size {
            return format!("{:.2} {unit}", bytes as f64 / size as f64);
        }
    }
    format!("{bytes}.00 Bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(facts: &[(&str, Value)], name: &str) -> u64 {
        facts.iter().find(|(n, _)| *n == name).unwrap().1.as_u64().unwrap()
    }

    #[test]
    fn processors_are_counted_as_ansible_counts_them() {
        let two_sockets: String = (0..8)
            .map(|i| {
                format!(
                    "processor\t: {i}\nmodel name\t: X\nphysical id\t: {}\nsiblings\t: 4\ncpu cores\t: 2\n\n",
                    i / 4
                )
            })
            .collect();
        let facts = describe_cpu(&two_sockets, 8);
        assert_eq!((number(&facts, "processor_count"), number(&facts, "processor_cores")), (2, 2));
        assert_eq!((number(&facts, "processor_threads_per_core"), number(&facts, "processor_vcpus")), (2, 8));
        let facts = describe_cpu("processor : 0\n\nprocessor : 1\n", 2);
        assert_eq!((number(&facts, "processor_count"), number(&facts, "processor_vcpus")), (2, 2));
    }

    #[test]
    fn sizes_as_ansible_prints_them() {
        assert_eq!(human(20 << 30), "20.00 GB");
        assert_eq!(human(3 << 19), "1.50 MB");
    }
}
