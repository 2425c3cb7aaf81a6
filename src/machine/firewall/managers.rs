//! Other firewall managers: one that is active owns the rules, a second one beside it helps nobody.

use crate::machine::units::UnitOptions;
use crate::machine::{Machine, MachineError, Result};

impl Machine {
    /// Refuses when another manager is active.
    pub(super) fn refuse_other_managers(&self) -> Result<()> {
        let Some(name) = self.other_manager()? else {
            return Ok(());
        };
        Err(MachineError::failed(format!(
            "{name} manages this host's firewall, and rules beside it cannot open what it closes: add the ports there, \
             or switch it off before this task"
        )))
    }

    fn other_manager(&self) -> Result<Option<&'static str>> {
        if self.runs("firewalld.service")? {
            return Ok(Some("firewalld"));
        }
        let ufw = self.read_file_if_exists("/etc/ufw/ufw.conf", 64 * 1024)?.unwrap_or_default();
        if ufw_is_on(&String::from_utf8_lossy(&ufw)) {
            return Ok(Some("ufw"));
        }
        for unit in ["netfilter-persistent.service", "iptables.service", "ip6tables.service"] {
            if self.runs(unit)? {
                return Ok(Some("iptables (netfilter-persistent)"));
            }
        }
        Ok(None)
    }

    /// Whether a unit runs. systemd is only asked about one that is installed.
    fn runs(&self, unit: &str) -> Result<bool> {
        for directory in ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"] {
            if self.exists(format!("{directory}/{unit}"))? {
                return Ok(self.unit(unit, &UnitOptions::default())?.is_running());
            }
        }
        Ok(false)
    }
}

fn ufw_is_on(configuration: &str) -> bool {
    configuration
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ENABLED="))
        .next_back()
        .is_some_and(|value| value.trim_matches(['"', '\'']).eq_ignore_ascii_case("yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ufw() {
        assert!(ufw_is_on("# x\nENABLED=yes\nLOGLEVEL=low\n"));
        assert!(!ufw_is_on("ENABLED=no\n#ENABLED=yes\n") && !ufw_is_on(""));
    }
}
