//! Kernel parameters and the host's name.

use super::files::{Attributes, WriteOptions};
use super::history::Entry;
use super::{Change, Command, Domain, Facet, Machine, MachineError, Mode, Result, Subject, Undo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a check foresees of the kernel's state.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kernel {
    /// Parameters as they would be; nothing where that is not known.
    parameters: BTreeMap<String, Option<String>>,
    /// The host's name as it would be.
    hostname: Option<String>,
}

/// Where the kernel shows a parameter: dots and slashes are exchanged after a slash.
fn parameter_path(name: &str) -> String {
    let relative = match name.find(['.', '/']) {
        // sysctl.conf's other form: net/ipv4/conf/eth0.1/forwarding
        Some(at) if name[at..].starts_with('/') => name.to_string(),
        _ => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
    };
    format!("/proc/sys/{relative}")
}

/// Whether nobody can read what is there, not even root: `net.ipv4.route.flush`.
fn only_written(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o666 == 0o200)
}

/// Values are equal when their words are.
fn same_value(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

impl Machine {
    /// The present value of a kernel parameter; nothing where the kernel has none of that name. That of one that can only be
    /// written is empty.
    pub fn kernel_parameter(&self, name: &str) -> Result<Option<String>> {
        if self.predicted()
            && let Some(value) = self.predictions.kernel.parameters.get(name)
        {
            return match value {
                Some(value) => Ok(Some(value.clone())),
                None => Err(MachineError::unknown(format!("the value of {name} depends on a task that may not run"))),
            };
        }
        check_parameter_name(name)?;
        let path = parameter_path(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) if only_written(Path::new(&path)) => Ok(Some(String::new())),
            Err(e) => Err(MachineError::io(format!("cannot read the kernel parameter {name}"), e)),
        }
    }

    /// Sets a kernel parameter now. Says whether anything was done.
    pub fn set_kernel_parameter(&mut self, name: &str, value: &str) -> Result<bool> {
        let Some(before) = self.kernel_parameter(name)? else {
            return Err(MachineError::failed(format!(
                "the kernel has no parameter {name} (is its module loaded? `ignoreerrors: true` skips it)"
            )));
        };
        if same_value(&before, value) {
            return Ok(false);
        }
        let path = parameter_path(name);
        // An order to the kernel: nothing was there before it, and nothing is behind it.
        let order = only_written(Path::new(&path));
        let what = format!("set to {value}");
        if !self.predicted() {
            self.log(match order {
                true => Entry::Step { domain: Domain::Sysctl, name: name.to_string(), what: what.clone() },
                false => Entry::Parameter { name: name.to_string(), before: before.clone(), after: value.to_string() },
            });
            std::fs::write(&path, value)
                .map_err(|e| MachineError::io(format!("cannot set the kernel parameter {name} to {value}"), e))?;
        } else if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_err() {
            let why = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
            return Err(MachineError::io(format!("cannot set the kernel parameter {name} to {value}"), why));
        } else if !order {
            let foreseen = (self.mode() == Mode::Predicted).then(|| value.to_string());
            self.predictions.kernel.parameters.insert(name.to_string(), foreseen);
        }
        let subject = Subject::new(Domain::Sysctl, name);
        self.record(match order {
            true => Change::effect(subject, what, Undo::None),
            false => Change::set(subject, "value", Facet::Value(before.into()), Facet::Value(value.into())),
        });
        Ok(true)
    }

    /// The host's name, as the kernel has it.
    pub fn hostname(&self) -> String {
        if self.predicted()
            && let Some(name) = &self.predictions.kernel.hostname
        {
            return name.clone();
        }
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string()
    }

    /// Sets the host's name, now and for every start. Says whether anything was done.
    pub fn set_hostname(&mut self, name: &str) -> Result<bool> {
        let stored = self.read_file_if_exists("/etc/hostname", 4096)?.unwrap_or_default();
        let stored = String::from_utf8_lossy(&stored).trim().to_string();
        let current = self.hostname();
        if current == name && stored == name {
            return Ok(false);
        }
        if !rustix::process::geteuid().is_root() {
            return Err(MachineError::failed("only root can set the host's name: set `become: true`"));
        }
        let attributes = Attributes { mode: Some(0o644), owner: Some(0), group: Some(0) };
        let options = WriteOptions { attributes, follow: true, ..WriteOptions::default() };
        if stored != name {
            self.write_file("/etc/hostname", format!("{name}\n").as_bytes(), &options)?;
        }
        self.set_kernel_hostname(name)?;
        Ok(true)
    }

    /// Sets the name that the kernel has, until the next start. Says whether anything was done.
    pub(crate) fn set_kernel_hostname(&mut self, name: &str) -> Result<bool> {
        let current = self.hostname();
        if current != name {
            if self.predicted() {
                self.predictions.kernel.hostname = Some(name.to_string());
            } else {
                self.log(Entry::Hostname { before: current.clone(), after: name.to_string() });
                rustix::system::sethostname(name.as_bytes())
                    .map_err(|e| MachineError::io(format!("cannot set the host's name to {name}"), e.into()))?;
                // systemd-hostnamed remembers the old one until it is asked to look again; it need not run.
                let _ = self.run_process(&Command::new(["systemctl", "--quiet", "try-restart", "systemd-hostnamed"]));
            }
            let subject = Subject::new(Domain::Hostname, "hostname");
            self.record(Change::set(subject, "name", Facet::Value(current.into()), Facet::Value(name.into())));
            return Ok(true);
        }
        Ok(false)
    }
}

/// A name that leads nowhere but below `/proc/sys`.
fn check_parameter_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
        && !name.contains("..")
        && !name.starts_with(['/', '.']);
    match good {
        true => Ok(()),
        false => Err(MachineError::failed(format!("`{name}` is no name of a kernel parameter"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_become_paths() {
        for (name, path) in [
            ("vm.swappiness", "/proc/sys/vm/swappiness"),
            ("net.ipv4.conf.eth0/1.forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net/ipv4/conf/eth0.1/forwarding", "/proc/sys/net/ipv4/conf/eth0.1/forwarding"),
        ] {
            assert_eq!(parameter_path(name), path);
        }
        for name in ["", "../x", "/etc/x", "a b"] {
            assert!(check_parameter_name(name).is_err(), "{name}");
        }
        assert!(same_value("4096\t87380 6291456", "4096 87380 6291456"));
    }

    #[test]
    fn a_check_remembers_values() {
        let mut machine = Machine::new(Mode::Predicted);
        let name = "kernel.panic";
        let before = machine.kernel_parameter(name).unwrap().unwrap();
        if rustix::process::geteuid().is_root()
            && std::fs::OpenOptions::new().write(true).open(parameter_path(name)).is_ok()
        {
            assert!(machine.set_kernel_parameter(name, "77").unwrap());
            assert!(!machine.set_kernel_parameter(name, "77").unwrap());
            assert_eq!(std::fs::read_to_string(parameter_path(name)).unwrap().trim(), before);
        }
        assert!(machine.set_kernel_parameter("no.such.parameter", "1").is_err());
        let order = "net.ipv4.route.flush";
        if only_written(Path::new(&parameter_path(order))) {
            assert_eq!(machine.kernel_parameter(order).unwrap().as_deref(), Some(""));
            if rustix::fs::access(parameter_path(order), rustix::fs::Access::WRITE_OK).is_ok() {
                assert!(machine.set_kernel_parameter(order, "1").unwrap());
                assert!(machine.set_kernel_parameter(order, "1").unwrap(), "it is done each time");
            }
        }
    }
}
