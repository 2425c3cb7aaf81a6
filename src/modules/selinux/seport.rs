//! `seport`: which type of SELinux a port has.

use super::semanage::{Semanage, failed, foreseen, setting};
use crate::machine::Machine;
use crate::modules::files::common::Step;
use crate::modules::files::lineinfile::State;
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// `community.general.seport`
pub const SEPORT: Module = Module {
    name: "community.general.seport",
    aliases: &["seport"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Seport::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Of which protocol a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

crate::arguments! {
    /// Gives ports a type of SELinux, so that a service which is not on its usual port may use it.
    ///
    /// It is done by `semanage` (package policycoreutils-python-utils), one call for each port that differs.
    ///
    /// Unverified: the policy of a kernel that has SELinux. Adding and removing was tried, with `ignore_selinux_state`, on
    /// hosts whose kernel has none.
    pub struct Seport {
        /// Ports and ranges: `8080`, `8000-8010`; a list, or with commas between.
        pub ports: TextList,
        /// `tcp` or `udp`.
        pub proto: Protocol,
        /// The type: `mysqld_port_t`.
        pub setype: Text,
        /// `present` or `absent`. What the policy itself says of a port cannot be removed.
        #[serde(default)]
        pub state: State,
        /// Have the kernel load the changed policy at once.
        #[serde(default = "Flag::yes")]
        pub reload: Flag,
        /// Change the policy also where the kernel has no SELinux.
        #[serde(default)]
        pub ignore_selinux_state: Flag,
        /// Look only at what was added on this host, not at what the policy says itself.
        #[serde(default)]
        pub local: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Seport = decode(arguments)?;
    let semanage = Semanage::find(machine, arguments.ignore_selinux_state.0, arguments.reload.0)?;
    let protocol = if arguments.proto == Protocol::Tcp { "tcp" } else { "udp" };
    let kind = arguments.setype.0.as_str();
    let listed = Listed::read(&semanage.list(machine, "port", arguments.local.0)?);
    for text in &arguments.ports.0 {
        let range = Range::parse(text);
        let name = range.as_ref().map_or_else(|_| text.clone(), Range::shown);
        let about = setting(format_args!("port {protocol} {name}: {kind}"), "state");
        let there = match foreseen(machine, &about)? {
            Some(state) => state.is_some(),
            None => range.as_ref().is_ok_and(|range| listed.has(kind, protocol, *range)),
        };
        machine.observe_setting(&about, if there { "present" } else { "absent" });
        match (arguments.state, there) {
            (State::Present, false) => {
                let range = range.map_err(failed)?;
                let all = Listed::read(&semanage.list(machine, "port", false)?);
                let local = Listed::read(&semanage.list(machine, "port", true)?);
                let verb = if all.types(protocol, range).next().is_some() { "-m" } else { "-a" };
                if let Some(other) = local.overlapping(protocol, range) {
                    let why = format!("port {name}/{protocol} overlaps with {}, which was added before", other.shown());
                    return Err(failed(why));
                }
                let words = ["port", verb, "-t", kind, "-p", protocol, "-r", "s0", &name];
                semanage.change(machine, &about, (None, Some("present")), &words)?;
            }
            (State::Absent, true) => {
                // semanage would say so, too, but not in a check.
                let local = Listed::read(&semanage.list(machine, "port", true)?);
                let own = range.as_ref().is_ok_and(|range| local.types(protocol, *range).next().is_some());
                if !own && foreseen(machine, &about)?.is_none() {
                    let why = format!("ValueError: Port {protocol}/{name} is defined in policy, cannot be deleted");
                    return Err(failed(why));
                }
                semanage.change(machine, &about, (Some("present"), None), &["port", "-d", "-p", protocol, &name])?;
            }
            _ => {}
        }
    }
    let state = if arguments.state == State::Present { "present" } else { "absent" };
    let data = [
        ("ports", json!(arguments.ports.0)),
        ("proto", json!(protocol)),
        ("setype", json!(kind)),
        ("state", json!(state)),
    ];
    Ok(data.into_iter().fold(Outcome::ok(), |outcome, (name, value)| outcome.with(name, value)))
}

/// A port is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    low: u16,
    high: u16,
}

impl Range {
    fn parse(text: &str) -> Result<Range, String> {
        let number = |text: &str| {
            let text = text.trim();
            let number: u32 = text.parse().map_err(|_| format!("`{text}` is no number of a port"))?;
            u16::try_from(number).map_err(|_| format!("there is no port {number}"))
        };
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let range = Range { low: number(low)?, high: number(high)? };
        match range.low <= range.high {
            true => Ok(range),
            false => Err(format!("the range {} begins behind its end", text.trim())),
        }
    }

    fn shown(&self) -> String {
        match self.low == self.high {
            true => self.low.to_string(),
            false => format!("{}-{}", self.low, self.high),
        }
    }
}

/// What semanage lists: type, protocol, and a range that has it. A port that was given another type is there with both.
struct Listed(Vec<(String, String, Range)>);

impl Listed {
    /// `mysqld_port_t   tcp   1186, 3306, 63132-63164`
    fn read(text: &str) -> Listed {
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(kind), Some(protocol)) = (words.next(), words.next()) else { continue };
            let ports = words.filter_map(|word| Range::parse(word.trim_end_matches(',')).ok());
            found.extend(ports.map(|range| (kind.to_string(), protocol.to_string(), range)));
        }
        Listed(found)
    }

    fn has(&self, kind: &str, protocol: &str, range: Range) -> bool {
        self.types(protocol, range).any(|found| found == kind)
    }

    fn types(&self, protocol: &str, range: Range) -> impl Iterator<Item = &str> {
        let of = move |(_, found, own): &&(String, String, Range)| found == protocol && *own == range;
        self.0.iter().filter(of).map(|(kind, _, _)| kind.as_str())
    }

    /// Of what was added no two may be about the same port, unless they are about the same ports.
    fn overlapping(&self, protocol: &str, range: Range) -> Option<Range> {
        let mut ranges = self.0.iter().filter(|(_, found, _)| found == protocol).map(|(_, _, own)| *own);
        ranges.find(|own| *own != range && own.low <= range.high && range.low <= own.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::Status;
    use crate::modules::selinux::semanage::fake;
    use crate::modules::testing::{TestController, run_on};

    const LISTINGS: &str = "'port -l') printf '%s\\n' 'SELinux Port Type   Proto  Port Number' '' \
        'http_port_t    tcp  3306, 80, 8000-8010' 'mysqld_port_t  tcp  1186, 3306, 63132-63164' 'dns_port_t udp 53';;\n\
        'port -l -C') echo 'http_port_t tcp 3306, 8000-8010';;";

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("80", Ok("80")),
            ("080", Ok("80")),
            (" 80-90", Ok("80-90")),
            ("80-80", Ok("80")),
            ("http", Err("`http` is no number of a port")),
            ("70000", Err("there is no port 70000")),
            ("90-80", Err("the range 90-80 begins behind its end")),
        ] {
            let found = Range::parse(text).map(|range| range.shown());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn what_semanage_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for (ports, kind, state, told) in [
            (json!(3306), "mysqld_port_t", "present", &[][..]),
            (json!("3306,80"), "http_port_t", "present", &[]),
            (
                json!([3307, "8000-8010"]),
                "mysqld_port_t",
                "present",
                &[
                    "port -N -a -t mysqld_port_t -p tcp -r s0 3307",
                    "port -N -m -t mysqld_port_t -p tcp -r s0 8000-8010",
                ],
            ),
            (json!(53), "dns_port_t", "present", &["port -N -a -t dns_port_t -p tcp -r s0 53"]),
            (json!("8000-8010"), "http_port_t", "absent", &["port -N -d -p tcp 8000-8010"]),
            (json!([9, "x"]), "http_port_t", "absent", &[]),
        ] {
            let arguments = json!({"ports": ports, "proto": "tcp", "setype": kind, "state": state, "reload": false,
                "ignore_selinux_state": true});
            for mode in [Mode::Predicted, Mode::Live] {
                let mut machine = fake::machine(mode, directory.path(), LISTINGS);
                let outcome = run_on(&mut machine, &mut TestController::default(), "seport", &arguments);
                assert_eq!(outcome.status, Status::Ok, "{arguments}: {:?}", outcome.msg);
                assert_eq!(outcome.changes.len(), told.len(), "{arguments}");
                let expected: &[&str] = if mode == Mode::Live { told } else { &[] };
                assert_eq!(fake::told(directory.path()), expected, "{arguments}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_told_by_a_check_too() {
        let directory = tempfile::tempdir().unwrap();
        for (port, state, expected) in [
            ("8005-8020", "present", "overlaps with 8000-8010"),
            ("x", "present", "no number"),
            ("80", "absent", "defined in policy"),
        ] {
            let arguments = json!({"ports": port, "proto": "tcp", "setype": "http_port_t", "state": state,
                "ignore_selinux_state": true});
            for mode in [Mode::Predicted, Mode::Live] {
                let mut machine = fake::machine(mode, directory.path(), LISTINGS);
                let outcome = run_on(&mut machine, &mut TestController::default(), "seport", &arguments);
                assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{port}: {:?}", outcome.msg);
                assert!(fake::told(directory.path()).is_empty());
            }
        }
    }

    #[test]
    fn a_check_remembers() {
        let directory = tempfile::tempdir().unwrap();
        let mut machine = fake::machine(Mode::Predicted, directory.path(), LISTINGS);
        for (state, changes) in [("present", 1), ("present", 0), ("absent", 1), ("absent", 0)] {
            let arguments = json!({"ports": 9999, "proto": "udp", "setype": "x_port_t", "state": state,
                "ignore_selinux_state": true});
            let outcome = run_on(&mut machine, &mut TestController::default(), "seport", &arguments);
            assert_eq!(outcome.changes.len(), changes, "{state}: {:?}", outcome.msg);
        }
    }
}
