//! Whether the host is a virtual machine or a container, and of which kind.

use super::{Gathered, read};
use serde_json::Value;

/// What virtualisation looks at.
#[derive(Default)]
struct Evidence {
    /// `container=` in the environment of process 1, or `/run/systemd/container`.
    container: Option<String>,
    dockerenv: bool,
    containerenv: bool,
    product: String,
    vendor: String,
    bios: String,
    hypervisor_type: Option<String>,
    hypervisor_flag: bool,
    modules: String,
    devices_kvm: bool,
}

/// Type and role.
pub fn virtualization(gathered: &mut Gathered) {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let environment = std::fs::read("/proc/1/environ").unwrap_or_default();
    let container = environment
        .split(|b| *b == 0)
        .find_map(|v| v.strip_prefix(b"container="))
        .map(|v| String::from_utf8_lossy(v).into_owned())
        .filter(|v| !v.is_empty())
        .or_else(|| read("/run/systemd/container"));
    let dmi = |file: &str| read(format!("/sys/class/dmi/id/{file}")).unwrap_or_default();
    let evidence = Evidence {
        container,
        dockerenv: exists("/.dockerenv"),
        containerenv: exists("/run/.containerenv"),
        product: dmi("product_name"),
        vendor: dmi("sys_vendor"),
        bios: dmi("bios_vendor"),
        hypervisor_type: read("/sys/hypervisor/type"),
        hypervisor_flag: read("/proc/cpuinfo")
            .is_some_and(|c| c.lines().any(|l| l.starts_with("flags") && l.contains(" hypervisor"))),
        modules: read("/proc/modules").unwrap_or_default(),
        devices_kvm: exists("/dev/kvm"),
    };
    let (kind, role) = judge(&evidence);
    gathered.add("virtualization_type", kind);
    gathered.add("virtualization_role", role);
    let mut guest: Vec<Value> = Vec::new();
    let mut host: Vec<Value> = Vec::new();
    match role {
        "guest" => guest.push(kind.into()),
        "host" => host.push(kind.into()),
        _ => {}
    }
    gathered.add("virtualization_tech_guest", guest);
    gathered.add("virtualization_tech_host", host);
}

fn judge(evidence: &Evidence) -> (&'static str, &'static str) {
    match evidence.container.as_deref() {
        Some("docker") => return ("docker", "guest"),
        Some("podman" | "oci") => return ("podman", "guest"),
        Some("lxc" | "lxc-libvirt") => return ("lxc", "guest"),
        Some("systemd-nspawn") => return ("container", "guest"),
        Some(_) => return ("container", "guest"),
        None => {}
    }
    if evidence.dockerenv {
        return ("docker", "guest");
    }
    if evidence.containerenv {
        return ("podman", "guest");
    }
    if evidence.hypervisor_type.as_deref() == Some("xen") {
        return ("xen", "guest");
    }
    const PRODUCTS: [(&str, &str); 9] = [
        ("VMware", "VMware"),
        ("VirtualBox", "virtualbox"),
        ("OpenStack", "openstack"),
        ("KVM", "kvm"),
        ("RHEV", "RHEV"),
        ("oVirt", "oVirt"),
        ("Bochs", "kvm"),
        ("Google Compute Engine", "kvm"),
        ("BHYVE", "bhyve"),
    ];
    for text in [&evidence.product, &evidence.vendor, &evidence.bios] {
        if let Some((_, kind)) = PRODUCTS.iter().find(|(sign, _)| text.contains(sign)) {
            return (kind, "guest");
        }
    }
    if evidence.product == "Virtual Machine" && evidence.vendor.contains("Microsoft") {
        return ("VirtualPC", "guest");
    }
    const VENDORS: [&str; 6] = ["QEMU", "Amazon EC2", "DigitalOcean", "Hetzner", "Linode", "Alibaba Cloud"];
    if VENDORS.iter().any(|v| evidence.vendor.contains(v) || evidence.bios.contains(v)) || evidence.hypervisor_flag {
        return ("kvm", "guest");
    }
    let module = |name: &str| evidence.modules.lines().any(|l| l.split(' ').next() == Some(name));
    if module("kvm") || evidence.devices_kvm {
        return ("kvm", "host");
    }
    if module("vboxdrv") {
        return ("virtualbox", "host");
    }
    ("NA", "NA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_judged() {
        let e = Evidence::default;
        for (evidence, expected) in [
            (
                Evidence { container: Some("systemd-nspawn".into()), product: "KVM".into(), ..e() },
                ("container", "guest"),
            ),
            (Evidence { dockerenv: true, ..e() }, ("docker", "guest")),
            (Evidence { product: "VMware Virtual Platform".into(), ..e() }, ("VMware", "guest")),
            (Evidence { vendor: "QEMU".into(), product: "Standard PC".into(), ..e() }, ("kvm", "guest")),
            (Evidence { hypervisor_flag: true, ..e() }, ("kvm", "guest")),
            (Evidence { devices_kvm: true, ..e() }, ("kvm", "host")),
            (e(), ("NA", "NA")),
        ] {
            assert_eq!(judge(&evidence), expected);
        }
    }
}
