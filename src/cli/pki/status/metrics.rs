//! For Prometheus: a file for the node exporter's `--collector.textfile.directory`.

use std::fmt::Write as _;

use super::report::Report;
use crate::pki::{State, worst};

/// All metrics, each family with its help and type.
pub fn text(report: &Report) -> String {
    let mut families: [Family; 10] = [
        Family::new("deploy_pki_state", "0 ok, 1 warning, 2 critical, 3 unknown; the worst of all"),
        Family::new("deploy_pki_set_state", "0 ok, 1 warning, 2 critical, 3 unknown, of a set on a host"),
        Family::new("deploy_pki_host_seen", "1 when the host could be looked at"),
        Family::new("deploy_pki_file_not_after_seconds", "When the certificate in the file ends"),
        Family::new("deploy_pki_renew_at_seconds", "When the renewal is due"),
        Family::new("deploy_pki_served_not_after_seconds", "When the certificate that a port serves ends"),
        Family::new("deploy_pki_served_is_file", "1 when a port serves what lies in the file"),
        Family::new("deploy_pki_authority_not_after_seconds", "When an authority of the store ends"),
        Family::new("deploy_pki_authority_state", "0 ok, 1 warning, 2 critical, of an authority of the store"),
        Family::new("deploy_pki_looked_at_seconds", "When it was looked at"),
    ];
    let [state, sets, seen, file, due, served, same, authorities, judged, at] = &mut families;
    let code = |state: State| i64::from(state.code());
    state.add(&[], code(report.state()));
    at.add(&[], report.now);
    for line in &report.authorities {
        let labels = [("authority", line.view.name.as_str()), ("serial", &line.view.info.serial)];
        authorities.add(&labels, line.view.info.not_after);
        judged.add(&labels[..1], code(worst(&line.findings)));
    }
    for host in &report.hosts {
        let name = ("host", host.host.as_str());
        seen.add(&[name], i64::from(host.sets.is_ok()));
        for line in host.sets.iter().flatten() {
            let set = ("set", line.spec.name.as_str());
            sets.add(&[name, set], code(line.state()));
            let own = line.report.info.as_ref();
            if let Some(info) = own {
                file.add(&[name, set, ("serial", &info.serial), ("subject", &info.subject)], info.not_after);
            }
            line.report.renew_at.iter().for_each(|moment| due.add(&[name, set], *moment));
            for port in &line.ports {
                let number = port.port.port.to_string();
                let labels = [name, set, ("port", number.as_str())];
                let Some(info) = &port.report.info else { continue };
                served.add(&[labels[0], labels[1], labels[2], ("serial", &info.serial)], info.not_after);
                let equal = own.is_some_and(|own| own.fingerprint == info.fingerprint);
                same.add(&labels, i64::from(equal));
            }
        }
    }
    families.iter().map(Family::text).collect()
}

struct Family {
    name: &'static str,
    help: &'static str,
    lines: String,
}

impl Family {
    fn new(name: &'static str, help: &'static str) -> Family {
        Family { name, help, lines: String::new() }
    }

    fn add(&mut self, labels: &[(&str, &str)], value: i64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String does not fail.
        let _ = writeln!(self.lines, "{}{labels} {value}", self.name);
    }

    fn text(&self) -> String {
        match self.lines.is_empty() {
            true => String::new(),
            false => format!("# HELP {0} {1}\n# TYPE {0} gauge\n{2}", self.name, self.help, self.lines),
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
