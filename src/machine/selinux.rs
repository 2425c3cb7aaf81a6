//! SELinux as the kernel has it: whether it is enabled, whether it enforces, and the booleans in force.

use super::Machine;
use std::path::Path;

/// What the kernel does with SELinux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelinuxMode {
    /// Nothing.
    Disabled,
    /// It only reports what it would refuse.
    Permissive,
    /// It refuses.
    Enforcing,
}

impl SelinuxMode {
    /// As it is called everywhere.
    pub fn name(self) -> &'static str {
        match self {
            SelinuxMode::Disabled => "disabled",
            SelinuxMode::Permissive => "permissive",
            SelinuxMode::Enforcing => "enforcing",
        }
    }
}

const MOUNT: &str = "/sys/fs/selinux";
const CONFIG: &str = "/etc/selinux/config";
/// How statfs calls the kernel's file system of SELinux.
const MAGIC: i128 = 0xf97c_ff8c;

impl Machine {
    /// What the kernel does with SELinux now. As libselinux sees it: a container, to which the file system is not shown or
    /// only to be read, has none.
    pub fn selinux_mode(&self) -> SelinuxMode {
        let mounted = rustix::fs::statfs(MOUNT).is_ok_and(|found| i128::from(found.f_type) & 0xffff_ffff == MAGIC);
        let writable =
            rustix::fs::statvfs(MOUNT).is_ok_and(|found| !found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        mode_of(mounted && writable && Path::new(CONFIG).exists(), read("enforce").as_deref())
    }

    /// A boolean of the loaded policy, as it is in force; nothing where the policy has none of this name.
    pub fn selinux_boolean(&self, name: &str) -> Option<bool> {
        // The name is one of a file, nothing further away.
        if name.contains('/') || name.starts_with('.') {
            return None;
        }
        boolean_of(&read(&format!("booleans/{name}"))?)
    }
}

fn read(name: &str) -> Option<String> {
    std::fs::read_to_string(format!("{MOUNT}/{name}")).ok()
}

fn mode_of(enabled: bool, enforce: Option<&str>) -> SelinuxMode {
    match (enabled, enforce.map(str::trim)) {
        (false, _) => SelinuxMode::Disabled,
        (true, Some("1")) => SelinuxMode::Enforcing,
        (true, _) => SelinuxMode::Permissive,
    }
}

/// `1 0`: in force, and what was set without being committed.
fn boolean_of(text: &str) -> Option<bool> {
    match text.trim_matches(|c: char| c.is_whitespace() || c == '\0').split_whitespace().next()? {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_booleans() {
        for (enabled, enforce, expected) in [
            (false, None, "disabled"),
            (false, Some("1"), "disabled"),
            (true, Some("1\n"), "enforcing"),
            (true, Some("0"), "permissive"),
        ] {
            assert_eq!(mode_of(enabled, enforce).name(), expected);
        }
        for (text, expected) in [("1 1", Some(true)), ("0 1\n", Some(false)), ("1 0\0", Some(true)), ("", None)] {
            assert_eq!(boolean_of(text), expected, "{text:?}");
        }
        assert_eq!(crate::machine::Machine::new(crate::machine::Mode::Live).selinux_boolean("../enforce"), None);
    }
}
