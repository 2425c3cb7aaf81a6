//! systemd through `systemctl`: one `show` for all that is asked, every call bounded in time.

use super::{Unit, UnitAction, UnitOptions};
use crate::machine::process::Watch;
use crate::machine::{Command, Machine, MachineError, Output, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whose service manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The system's.
    #[default]
    System,
    /// The user's own.
    User,
    /// Every user's (`--global`): enabling only.
    Global,
}

/// Calls that only ask or write links never take long.
const SHORT: Duration = Duration::from_secs(90);
/// The least that a start or stop may take before it is given up.
const LONG: Duration = Duration::from_secs(900);
/// What is waited when a unit sets no limit of its own.
const ENDLESS: Duration = Duration::from_secs(6 * 3600);

/// Whether systemd is this host's running service manager.
pub(super) fn manager_runs() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

pub(super) fn no_manager() -> MachineError {
    MachineError::failed(
        "systemd is not this host's service manager (there is no /run/systemd/system), and other managers are not supported",
    )
}

/// `systemctl` with the options of its scope.
fn systemctl(machine: &Machine, options: &UnitOptions, arguments: &[&str]) -> Command {
    let mut argv = vec!["systemctl".to_string()];
    match options.scope {
        Scope::System => {}
        Scope::User => argv.push("--user".into()),
        Scope::Global => argv.push("--global".into()),
    }
    argv.extend(arguments.iter().map(|a| a.to_string()));
    let mut command = Command::new(argv);
    command.environment.push(("LC_ALL".into(), "C.UTF-8".into()));
    // A user's manager is found through this directory, which sudo and su do not set.
    if options.scope == Scope::User
        && std::env::var_os("XDG_RUNTIME_DIR").is_none()
        && !machine.environment.contains_key("XDG_RUNTIME_DIR")
    {
        let uid = rustix::process::geteuid().as_raw();
        command.environment.push(("XDG_RUNTIME_DIR".into(), format!("/run/user/{uid}")));
    }
    command
}

fn short(machine: &Machine, command: &Command) -> Result<Output> {
    machine.run_watched(command, Watch { timeout: Some(SHORT), progress: &mut |_, _| {} })
}

/// Everything `systemctl show` says of a unit.
pub(super) fn show(machine: &Machine, name: &str, options: &UnitOptions) -> Result<Unit> {
    // Units have no run state in the global scope.
    let scoped = UnitOptions {
        scope: if options.scope == Scope::Global { Scope::System } else { options.scope },
        ..options.clone()
    };
    let output = short(machine, &systemctl(machine, &scoped, &["show", "--no-pager", "--", name]))?;
    if !output.success() {
        return Err(MachineError::failed(format!(
            "systemctl could not show {name}: {}",
            first_of(&output).unwrap_or("no reason given".into())
        )));
    }
    let mut unit = parse_show(name, &output.stdout_text());
    if options.scope == Scope::Global {
        let state = short(machine, &systemctl(machine, options, &["is-enabled", "--", name]))?;
        unit.file_state = state.stdout_text().trim().to_string();
        if unit.load == "not-found" && !unit.file_state.is_empty() && unit.file_state != "not-found" {
            unit.load = "loaded".into();
        }
    }
    Ok(unit)
}

/// All services: those that are loaded, and those that have a file.
pub(super) fn list_services(machine: &Machine) -> Result<Vec<Unit>> {
    let options = UnitOptions::default();
    let loaded = ["list-units", "--all", "--type=service", "--plain", "--no-legend", "--no-pager"];
    let loaded = short(machine, &systemctl(machine, &options, &loaded))?.stdout_text();
    let files = ["list-unit-files", "--type=service", "--no-legend", "--no-pager"];
    let files = short(machine, &systemctl(machine, &options, &files))?.stdout_text();
    Ok(parse_services(&loaded, &files))
}

/// `UNIT LOAD ACTIVE SUB DESCRIPTION` and `UNIT STATE PRESET`.
fn parse_services(loaded: &str, files: &str) -> Vec<Unit> {
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    for line in loaded.lines() {
        let words: Vec<&str> = line.split_whitespace().filter(|w| *w != "●" && *w != "*").collect();
        if let [name, load, active, sub, ..] = words.as_slice() {
            let mut unit =
                Unit { name: name.to_string(), load: load.to_string(), active: active.to_string(), ..Unit::default() };
            unit.properties.insert("SubState".into(), sub.to_string());
            units.insert(name.to_string(), unit);
        }
    }
    for line in files.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(state)) = (words.next(), words.next()) {
            let unit = units.entry(name.to_string()).or_insert_with(|| Unit {
                name: name.to_string(),
                load: "loaded".into(),
                ..Unit::default()
            });
            unit.file_state = state.to_string();
        }
    }
    units.into_values().collect()
}

/// Reads the output of `systemctl show`; values may span lines (`ExecStart={ … }` does not, `Description` cannot).
pub(super) fn parse_show(name: &str, text: &str) -> Unit {
    let mut properties = BTreeMap::new();
    for line in text.lines() {
        if let Some((key, value)) = line.split_once('=')
            && key.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            properties.insert(key.to_string(), value.to_string());
        }
    }
    let get = |key: &str| properties.get(key).cloned().unwrap_or_default();
    Unit {
        name: name.to_string(),
        load: get("LoadState"),
        active: get("ActiveState"),
        file_state: get("UnitFileState"),
        main_pid: get("MainPID").parse().unwrap_or(0),
        predicted: false,
        properties,
    }
}

/// Whether an init script of this name is started at boot.
pub(super) fn sysv_is_enabled(unit: &str) -> bool {
    let script = unit.strip_suffix(".service").unwrap_or(unit);
    (2..=5).any(|level| {
        std::fs::read_dir(format!("/etc/rc{level}.d")).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|e| {
                    let name = e.file_name().to_string_lossy().into_owned();
                    name.starts_with('S') && name.get(3..) == Some(script)
                })
            })
        })
    })
}

/// How long an operation on a unit may take: what the unit allows itself, with room for extensions it asks for.
fn limit(unit: &Unit) -> Duration {
    let part = |name| parse_span(unit.property(name));
    match (part("TimeoutStartUSec"), part("TimeoutStopUSec")) {
        (Some(start), Some(stop)) => ((start + stop) * 4).clamp(LONG, ENDLESS),
        _ => ENDLESS,
    }
}

/// A time span as systemd prints it: `1min 30s`, `infinity`, `500ms`. Nothing for no limit.
pub(super) fn parse_span(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return None;
    }
    let mut total = Duration::ZERO;
    for word in text.split_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let (number, unit) = word.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let seconds = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" | "" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            "w" => 7.0 * 86400.0,
            "month" => 30.44 * 86400.0,
            "y" => 365.25 * 86400.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
    }
    Some(total)
}

/// Starts, stops, restarts or reloads, and waits.
pub(super) fn act(
    machine: &Machine,
    unit: &Unit,
    action: UnitAction,
    options: &UnitOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    let mut arguments = vec![action.verb()];
    if options.no_block {
        arguments.push("--no-block");
    }
    arguments.extend(["--", &unit.name]);
    let status = systemctl(machine, options, &["show", "-p", "ActiveState,SubState,StatusText", "--", &unit.name]);
    let mut tick = |passed: Duration, _: &str| {
        // A service that says how far it is (a state transfer, a recovery) is quoted.
        let now = machine.probe(&status).map(|o| parse_show(&unit.name, &o.stdout_text())).unwrap_or_default();
        let said = match now.property("StatusText") {
            "" => String::new(),
            text => format!(": {text}"),
        };
        progress(&format!("{} {} for {} s, {}{said}", action.verb(), unit.name, passed.as_secs(), now.active));
    };
    let watch = Watch { timeout: Some(limit(unit)), progress: &mut tick };
    let output = machine.run_watched(&systemctl(machine, options, &arguments), watch)?;
    if output.success() {
        return Ok(());
    }
    let mut what = format!(
        "Unable to {} service {}: {}",
        action.verb(),
        unit.name,
        first_of(&output).unwrap_or(format!("systemctl ended with status {}", output.rc))
    );
    let journal = journal(machine, unit, options);
    if !journal.is_empty() {
        what.push_str("\nlast lines of its journal:\n");
        what.push_str(&journal);
    }
    Err(MachineError::failed(what))
}

/// Kills a unit's main process.
pub(super) fn kill(machine: &Machine, unit: &Unit) -> Result<()> {
    let words = ["kill", "--kill-whom=main", "--signal=KILL", "--", &unit.name];
    let output = short(machine, &systemctl(machine, &UnitOptions::default(), &words))?;
    match output.success() {
        true => Ok(()),
        false => Err(MachineError::failed(format!(
            "Unable to kill service {}: {}",
            unit.name,
            first_of(&output).unwrap_or(format!("systemctl ended with status {}", output.rc))
        ))),
    }
}

/// The unit's last words, to be shown with a failure.
fn journal(machine: &Machine, unit: &Unit, options: &UnitOptions) -> String {
    let selector = if options.scope == Scope::User { "--user-unit" } else { "--unit" };
    let command =
        Command::new(["journalctl", selector, &unit.name, "--lines", "10", "--no-pager", "--quiet", "--output", "cat"]);
    let text = machine
        .run_watched(&command, Watch { timeout: Some(Duration::from_secs(10)), progress: &mut |_, _| {} })
        .map(|o| o.stdout_text())
        .unwrap_or_default();
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Enables or disables.
pub(super) fn set_enabled(machine: &Machine, unit: &Unit, enabled: bool, options: &UnitOptions) -> Result<()> {
    links(machine, unit, if enabled { "enable" } else { "disable" }, options)
}

/// Masks or unmasks.
pub(super) fn set_masked(machine: &Machine, unit: &Unit, masked: bool, options: &UnitOptions) -> Result<()> {
    links(machine, unit, if masked { "mask" } else { "unmask" }, options)
}

fn links(machine: &Machine, unit: &Unit, verb: &str, options: &UnitOptions) -> Result<()> {
    let mut arguments = vec![verb];
    if options.force {
        arguments.push("--force");
    }
    arguments.extend(["--", &unit.name]);
    let output = short(machine, &systemctl(machine, options, &arguments))?;
    if output.success() {
        return Ok(());
    }
    Err(MachineError::failed(format!(
        "Unable to {verb} service {}: {}",
        unit.name,
        first_of(&output).unwrap_or(format!("systemctl ended with status {}", output.rc))
    )))
}

/// `daemon-reload` or `daemon-reexec`.
pub(super) fn reload_manager(machine: &Machine, reexec: bool, options: &UnitOptions) -> Result<()> {
    if !manager_runs() {
        return Err(no_manager());
    }
    let verb = if reexec { "daemon-reexec" } else { "daemon-reload" };
    let output = short(machine, &systemctl(machine, options, &[verb]))?;
    if output.success() {
        return Ok(());
    }
    Err(MachineError::failed(format!("{verb} failed: {}", first_of(&output).unwrap_or("no reason given".into()))))
}

/// What a failed call said, on one line.
fn first_of(output: &Output) -> Option<String> {
    let text = if output.stderr.is_empty() { output.stdout_text() } else { output.stderr_text() };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read() {
        let unit = parse_show(
            "ssh.service",
            "Type=notify\nMainPID=812\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nExecStart={ path=/x ; argv[]=/x -D }\n",
        );
        assert_eq!((unit.main_pid, unit.is_running(), unit.is_enabled()), (812, true, true));
        assert_eq!(unit.property("ExecStart"), "{ path=/x ; argv[]=/x -D }");
        assert!(!parse_show("x.service", "LoadState=not-found\nActiveState=inactive\n").exists());
        assert!(parse_show("x.service", "LoadState=masked\nActiveState=inactive\nUnitFileState=masked\n").is_masked());
    }

    #[test]
    fn lists_of_services_are_read() {
        let units = parse_services(
            "cron.service loaded active running Regular background\n● bad.service not-found inactive dead bad\n",
            "cron.service enabled enabled\nrsync.service disabled enabled\n",
        );
        let all: Vec<_> = units.iter().map(|u| (u.name.as_str(), u.active.as_str(), u.file_state.as_str())).collect();
        assert_eq!(
            all,
            [("bad.service", "inactive", ""), ("cron.service", "active", "enabled"), ("rsync.service", "", "disabled")]
        );
    }

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [("1min 30s", 90.0), ("15min", 900.0), ("500ms", 0.5), ("1h 2min", 3720.0), ("0", 0.0)] {
            assert_eq!(parse_span(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        assert_eq!(parse_span("infinity"), None);
    }
}
