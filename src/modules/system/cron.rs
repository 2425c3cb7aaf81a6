//! `cron`: entries of crontabs.

use super::crontab::{Crontab, Place};
use crate::machine::Machine;
use crate::machine::files::{Attributes, NewContent, WriteOptions};
use crate::modules::files::common::remove;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// `ansible.builtin.cron`
pub const CRON: Module = Module {
    name: "ansible.builtin.cron",
    aliases: &["cron", "ansible.legacy.cron"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Cron::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Whether the entry shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is there.
    #[default]
    Present,
    /// It is not.
    Absent,
}

crate::arguments! {
    /// Keeps a job or a variable in a user's crontab or in a file of `/etc/cron.d`.
    ///
    /// A job is known by the line `#Ansible: NAME` above it, as Ansible writes it.
    pub struct Cron {
        /// Name of the job; with `env`, of the variable.
        pub name: Option<Text>,
        /// The command; with `env`, the value.
        #[serde(alias = "value")]
        pub job: Option<Text>,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// Whose crontab; in a file, who runs the job.
        pub user: Option<Text>,
        /// A file: a name in `/etc/cron.d`, or a whole path.
        pub cron_file: Option<String>,
        /// Keep a copy of the old file beside it; of a user's crontab in a file of the directory for temporary files.
        #[serde(default)]
        pub backup: Flag,
        /// Minute: 0-59, `*`, `*/2` …
        pub minute: Option<Text>,
        /// Hour: 0-23.
        pub hour: Option<Text>,
        /// Day of the month: 1-31.
        #[serde(alias = "dom")]
        pub day: Option<Text>,
        /// Month: 1-12.
        pub month: Option<Text>,
        /// Day of the week: 0-6, from Sunday.
        #[serde(alias = "dow")]
        pub weekday: Option<Text>,
        /// `reboot`, `hourly`, `daily`, `weekly`, `monthly`, `yearly` or `annually`.
        pub special_time: Option<Text>,
        /// Keep the job, but as a comment.
        #[serde(default)]
        pub disabled: Flag,
        /// It is a variable.
        #[serde(default)]
        pub env: Flag,
        /// A new variable comes after this one.
        pub insertafter: Option<Text>,
        /// A new variable comes before this one.
        pub insertbefore: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let cron: Cron = decode(arguments)?;
    let text = |value: &Option<Text>| value.as_ref().map(|t| t.0.clone());
    let file = cron.cron_file.as_ref().map(|f| if f.starts_with('/') { f.clone() } else { format!("/etc/cron.d/{f}") });
    let Some(name) = text(&cron.name) else {
        // Without a name a whole file can go, nothing else.
        return match (&file, cron.state) {
            (Some(file), State::Absent) => remove(machine, Path::new(file), cron.backup.0, Outcome::ok()),
            _ => Err(ModuleError::argument("name", "it is required")),
        };
    };
    if name.contains('\n') || text(&cron.job).is_some_and(|j| j.trim_end().contains('\n')) {
        return Err(ModuleError::argument("job", "a crontab's entry is one line"));
    }
    let me = machine.user_name(rustix::process::geteuid().as_raw()).unwrap_or_else(|| "root".into());
    let user = text(&cron.user).unwrap_or(me);
    if file.is_some() && !cron.env.0 && cron.state == State::Present && cron.user.is_none() {
        return Err(ModuleError::argument("user", "To use cron_file=... parameter you must specify user=... as well"));
    }
    if cron.state == State::Present && !cron.env.0 && (cron.insertafter.is_some() || cron.insertbefore.is_some()) {
        return Err(ModuleError::argument(
            "insertafter",
            "`insertafter` and `insertbefore` are for variables: `env: true`",
        ));
    }
    let wanted = match cron.state {
        State::Absent => None,
        State::Present => Some(line(&cron, &name, &user, file.is_some())?),
    };
    let old = match &file {
        Some(file) => {
            String::from_utf8_lossy(&machine.read_file_if_exists(file, 4 << 20)?.unwrap_or_default()).into_owned()
        }
        None => machine.crontab(&user)?,
    };
    let mut table = Crontab::parse(&old);
    let before = if cron.env.0 { table.variable(&name) } else { table.job(&name) };
    match (&wanted, cron.env.0) {
        (Some(line), true) => {
            let place = match (text(&cron.insertafter), text(&cron.insertbefore)) {
                (Some(_), Some(_)) => {
                    return Err(ModuleError::argument(
                        "insertafter",
                        "it cannot be given together with `insertbefore`",
                    ));
                }
                (Some(other), None) => Place::After(other),
                (None, Some(other)) => Place::Before(other),
                (None, None) => Place::First,
            };
            table.set_variable(&name, line, &place).map_err(ModuleError::Failed)?;
        }
        (Some(line), false) => table.set_job(&name, line),
        (None, true) => table.remove_variable(&name),
        (None, false) => table.remove_job(&name),
    }
    let new = table.text();
    let mut outcome = Outcome::ok();
    if let Some(given) = &cron.cron_file {
        outcome.data.insert("cron_file".into(), given.as_str().into());
    }
    // A file without a job has no reason to be there any more.
    if let (Some(file), None, false, true) = (&file, &wanted, cron.env.0, new.trim().is_empty())
        && before.is_some()
    {
        return remove(machine, Path::new(file), cron.backup.0, outcome.with("state", "absent"));
    }
    if new != old && before != wanted {
        match &file {
            Some(file) => {
                let fresh = !machine.exists(file)?;
                let attributes = if fresh {
                    Attributes { mode: Some(0o644), ..Attributes::default() }
                } else {
                    Attributes::default()
                };
                let options = WriteOptions { attributes, backup: cron.backup.0, ..WriteOptions::default() };
                let written = machine.write(Path::new(file), NewContent::Bytes(new.as_bytes()), &options, None)?;
                match written.backup {
                    Some(backup) => {
                        outcome.data.insert("backup_file".into(), backup.to_string_lossy().into());
                    }
                    None if cron.backup.0 && !fresh && machine.predicted() => {
                        outcome.unknown_fields.push("backup_file".into());
                    }
                    None => {}
                }
            }
            None => {
                if cron.backup.0 {
                    match machine.back_up_crontab(&std::env::temp_dir(), &old)? {
                        Some(backup) => {
                            outcome.data.insert("backup_file".into(), backup.to_string_lossy().into());
                        }
                        None => outcome.unknown_fields.push("backup_file".into()),
                    }
                }
                machine.set_crontab(&user, &new, &name, before.as_deref(), wanted.as_deref())?;
            }
        }
    }
    Ok(outcome.with("jobs", table.jobs()).with("envs", table.variables()))
}

/// The line of a job or a variable.
fn line(cron: &Cron, name: &str, user: &str, in_file: bool) -> Result<String, ModuleError> {
    let Some(job) = cron.job.as_ref().map(|j| j.0.trim_end_matches(['\r', '\n']).to_string()) else {
        return Err(ModuleError::argument("job", "it is required with `state: present`"));
    };
    if cron.env.0 {
        return Ok(format!("{name}=\"{job}\""));
    }
    let fields = [&cron.minute, &cron.hour, &cron.day, &cron.month, &cron.weekday];
    let time = match &cron.special_time {
        Some(special) => {
            const TIMES: [&str; 7] = ["reboot", "yearly", "annually", "monthly", "weekly", "daily", "hourly"];
            if !TIMES.contains(&special.0.as_str()) {
                return Err(ModuleError::argument(
                    "special_time",
                    format!("`{}` is not known: write {}", special.0, TIMES.join(", ")),
                ));
            }
            if fields.iter().any(|f| f.as_ref().is_some_and(|t| t.0 != "*")) {
                return Err(ModuleError::argument(
                    "special_time",
                    "it cannot be given together with minute, hour, day, month or weekday",
                ));
            }
            format!("@{}", special.0)
        }
        None => fields.iter().map(|f| f.as_ref().map_or("*", |t| t.0.as_str())).collect::<Vec<_>>().join(" "),
    };
    let user = if in_file { format!("{user} ") } else { String::new() };
    let comment = if cron.disabled.0 { "#" } else { "" };
    Ok(format!("{comment}{time} {user}{job}"))
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{check, check_then_apply};
    use serde_json::json;

    #[test]
    fn files_of_cron_d_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jobs").to_string_lossy().into_owned();
        let job = |extra: serde_json::Value| {
            let mut arguments = json!({"name": "check", "user": "root", "job": "/bin/true -x", "cron_file": file});
            for (key, value) in extra.as_object().unwrap() {
                arguments[key] = value.clone();
            }
            arguments
        };
        for (arguments, changed, expected) in [
            (job(json!({"minute": "*/5", "hour": 2})), true, "#Ansible: check\n*/5 2 * * * root /bin/true -x\n"),
            (job(json!({"minute": "*/5", "hour": 2})), false, "#Ansible: check\n*/5 2 * * * root /bin/true -x\n"),
            (job(json!({"special_time": "daily"})), true, "#Ansible: check\n@daily root /bin/true -x\n"),
            (
                job(json!({"special_time": "daily", "disabled": true})),
                true,
                "#Ansible: check\n#@daily root /bin/true -x\n",
            ),
            (
                json!({"name": "MAILTO", "env": true, "job": "x@example.com", "cron_file": file}),
                true,
                "MAILTO=\"x@example.com\"\n#Ansible: check\n#@daily root /bin/true -x\n",
            ),
            (
                json!({"name": "MAILTO", "env": true, "state": "absent", "cron_file": file}),
                true,
                "#Ansible: check\n#@daily root /bin/true -x\n",
            ),
        ] {
            let outcome = check_then_apply("cron", &arguments);
            assert_eq!((outcome.status, outcome.changed()), (Status::Ok, changed), "{arguments} {outcome:?}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        }
        // Without its last job it goes, and is not there again.
        for changed in [true, false] {
            let outcome = check_then_apply("cron", &json!({"name": "check", "state": "absent", "cron_file": file}));
            assert_eq!((outcome.status, outcome.changed()), (Status::Ok, changed), "{outcome:?}");
            assert_eq!(outcome.data["cron_file"], json!(file));
            assert!(!std::path::Path::new(&file).exists());
        }
    }

    #[test]
    fn a_copy_is_kept_of_a_file_that_goes() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("jobs");
        let text = "#Ansible: check\n* * * * * root /bin/true\n";
        for (arguments, copies) in [
            (json!({"name": "check", "state": "absent", "cron_file": file, "backup": true}), 1),
            (json!({"name": "check", "state": "absent", "cron_file": file, "backup": true}), 0),
            (json!({"state": "absent", "cron_file": file, "backup": true}), 1),
            (json!({"name": "check", "state": "absent", "cron_file": file}), 0),
            (json!({"name": "other", "state": "absent", "cron_file": file, "backup": true}), 0),
        ] {
            let there = copies == 1 || arguments.get("backup").is_none() || arguments["name"] == "other";
            match there {
                true => std::fs::write(&file, text).unwrap(),
                false => assert!(!file.exists()),
            }
            let outcome = check_then_apply("cron", &arguments);
            assert_eq!(outcome.status, Status::Ok, "{arguments} {outcome:?}");
            assert_eq!(file.exists(), arguments["name"] == "other", "{arguments}");
            let copy = outcome.data.get("backup_file").map(|path| path.as_str().unwrap().to_string());
            assert_eq!(copy.is_some(), copies == 1, "{arguments} {outcome:?}");
            if let Some(copy) = copy {
                assert_eq!(std::fs::read_to_string(copy).unwrap(), text);
            }
        }
    }

    #[test]
    fn wrong_entries_are_refused() {
        for arguments in [
            json!({"name": "x"}),
            json!({"name": "x", "job": "a\nb"}),
            json!({"name": "x", "job": "a", "cron_file": "y"}),
            json!({"name": "x", "job": "a", "user": "root", "cron_file": "y", "insertafter": "z"}),
            json!({"name": "x", "job": "a", "user": "root", "cron_file": "y", "special_time": "often"}),
            json!({"name": "x", "job": "a", "user": "root", "cron_file": "y", "special_time": "daily", "hour": 1}),
        ] {
            assert_eq!(check("cron", &arguments).status, Status::Failed, "{arguments}");
        }
    }
}
