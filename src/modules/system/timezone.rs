//! `timezone`: the host's time zone, by systemd's `timedatectl`.

use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::files::common::Step;
use crate::modules::programs::{failed, required};
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.timezone`
pub const TIMEZONE: Module = Module {
    name: "community.general.timezone",
    aliases: &["timezone"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Timezone::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// What the hardware's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum HardwareClock {
    /// The time of the zone.
    #[serde(rename = "local")]
    Local,
    /// UTC.
    #[serde(rename = "UTC")]
    Utc,
}

crate::arguments! {
    /// Sets the time zone. A program that runs already keeps the old one: restart cron.
    ///
    /// It is done by `timedatectl`. Hosts without systemd are refused.
    pub struct Timezone {
        /// The zone: `Europe/Berlin`, `Etc/UTC`.
        pub name: Option<Text>,
        /// What the hardware's clock shows: `UTC` or `local`.
        #[serde(alias = "rtc")]
        pub hwclock: Option<HardwareClock>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Timezone = decode(arguments)?;
    if arguments.name.is_none() && arguments.hwclock.is_none() {
        return Err(ModuleError::Failed("one of the following is required: hwclock, name".into()));
    }
    let timedatectl = required(machine, "timedatectl", "systemd")?;
    if let Some(name) = &arguments.name {
        let file = format!("/usr/share/zoneinfo/{}", name.0);
        if name.0.is_empty() || !machine.stat(file)?.is_some_and(|stat| stat.is_file()) {
            let why = format!("Error message:\ngiven timezone \"{}\" is not available", name.0);
            return Err(ModuleError::Failed(why));
        }
    }
    let wishes = [
        arguments.hwclock.map(|clock| Wish {
            setting: "hardware clock",
            line: "RTC in local TZ",
            verb: "set-local-rtc",
            value: if clock == HardwareClock::Local { "yes" } else { "no" }.to_string(),
        }),
        arguments.name.map(|name| Wish {
            setting: "time zone",
            line: "Time zone",
            verb: "set-timezone",
            value: name.0,
        }),
    ];
    let mut messages = Vec::new();
    for wish in wishes.into_iter().flatten() {
        messages.extend(wish.bring(machine, &timedatectl)?);
    }
    let msg = (!messages.is_empty()).then(|| messages.join("\n"));
    Ok(Outcome { msg, ..Outcome::ok() })
}

/// Something that timedatectl keeps.
struct Wish {
    setting: &'static str,
    /// What it is called in its status.
    line: &'static str,
    verb: &'static str,
    value: String,
}

impl Wish {
    /// Answers what was done, if anything.
    fn bring(&self, machine: &mut Machine, program: &str) -> Step<Option<String>> {
        let about = Setting::new(Subject::new(Domain::Setting, self.setting), "value");
        let present = match machine.foreseen_setting(&about)? {
            Some(value) => value,
            None => self.present(machine, program)?,
        };
        machine.observe_setting(&about, &present);
        if present == self.value {
            return Ok(None);
        }
        let command = Command::new([program, self.verb, &self.value]);
        let sides = (Facet::Value(present.into()), Facet::Value(self.value.as_str().into()));
        if let Some(output) = machine.change_setting(&about, sides, &self.value, std::slice::from_ref(&command))? {
            if !output.success() {
                return Err(failed(&command, &output));
            }
            let after = self.present(machine, program)?;
            if after != self.value {
                let why = format!("still not desired state, though changes have made - {}: {after}", self.setting);
                return Err(ModuleError::Failed(format!("Error message:\n{why}, planned: {}", self.value)));
            }
        }
        Ok(Some(format!("executed `{}`", command.argv.join(" "))))
    }

    fn present(&self, machine: &Machine, program: &str) -> Step<String> {
        let environment = vec![("LC_ALL".to_string(), "C".to_string())];
        let command = Command { environment, ..Command::new([program, "status"]) };
        let output = machine.probe(&command)?;
        if !output.success() {
            return Err(failed(&command, &output));
        }
        let said = output.stdout_text();
        value_of(&said, self.line)
            .ok_or_else(|| ModuleError::Failed(format!("{program} status says nothing of `{}`:\n{said}", self.line)))
    }
}

/// `Time zone: Europe/Berlin (CET, +0100)`; `Timezone` where it is old.
fn value_of(status: &str, name: &str) -> Option<String> {
    let plain = |text: &str| text.replace(' ', "").to_lowercase();
    status.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (plain(found) == plain(name)).then(|| value.split_whitespace().next().map(str::to_string)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;
    use crate::modules::Status;
    use crate::modules::testing::{TestController, check, run_on};
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_status() {
        let text = "               Local time: Mon 2026-11-23 04:21:54 UTC\n                Time zone: Etc/UTC (UTC, +0000)\n          RTC in local TZ: no\n";
        for (text, name, expected) in [
            (text, "Time zone", Some("Etc/UTC")),
            (text, "RTC in local TZ", Some("no")),
            ("Timezone: Europe/Paris (CET)", "Time zone", Some("Europe/Paris")),
            (text, "Zone", None),
        ] {
            assert_eq!(value_of(text, name).as_deref(), expected);
        }
    }

    #[test]
    fn a_zone_is_set() {
        let scratch = tempfile::tempdir().unwrap();
        let (program, zone) = (scratch.path().join("timedatectl"), scratch.path().join("zone"));
        std::fs::write(&zone, "Etc/UTC").unwrap();
        let script = format!(
            "#!/bin/sh\ncase $1 in\nstatus) echo \"Time zone: $(cat {0}) (x)\"; echo 'RTC in local TZ: no';;\n\
             set-timezone) printf %s $2 > {0};;\n*) echo refused >&2; exit 1;;\nesac\n",
            zone.display()
        );
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = |mode, arguments: Value| {
            let mut machine = Machine::new(mode);
            machine.environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", scratch.path().display()));
            run_on(&mut machine, &mut TestController::default(), "timezone", &arguments)
        };
        if !std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").is_file() {
            return; // a machine without zones
        }
        let wanted = json!({"name": "Europe/Berlin", "hwclock": "UTC"});
        let foreseen = run(Mode::Predicted, wanted.clone());
        assert_eq!(std::fs::read_to_string(&zone).unwrap(), "Etc/UTC");
        let done = run(Mode::Live, wanted.clone());
        assert_eq!((foreseen.status, &foreseen.msg, &foreseen.changes), (done.status, &done.msg, &done.changes));
        assert!(done.changed() && done.msg.unwrap().ends_with("timedatectl set-timezone Europe/Berlin`"));
        assert!(!run(Mode::Live, wanted).changed());
        assert_eq!(run(Mode::Live, json!({"hwclock": "local"})).status, Status::Failed);
        assert_eq!(run(Mode::Live, json!({"name": "Nowhere/Land"})).status, Status::Failed);
        assert_eq!(check("timezone", &json!({})).status, Status::Failed);
    }
}
