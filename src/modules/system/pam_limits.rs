//! `pam_limits`: a limit of what users may take, in the tables of PAM.

use crate::machine::Machine;
use crate::modules::files::common::{Common, Step, begin};
use crate::modules::files::edit::Edit;
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

/// `community.general.pam_limits`
pub const PAM_LIMITS: Module = Module {
    name: "community.general.pam_limits",
    aliases: &["pam_limits"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: PamLimits::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Who may set it higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Kind {
    /// Root alone.
    #[serde(rename = "hard")]
    Hard,
    /// The user, up to the hard one.
    #[serde(rename = "soft")]
    Soft,
    /// Both.
    #[serde(rename = "-")]
    Both,
}

crate::arguments! {
    /// Keeps a limit in `/etc/security/limits.conf`: open files, processes, locked memory.
    ///
    /// It counts from a user's next login on. Services of systemd have limits of their own (`LimitNOFILE=`).
    pub struct PamLimits {
        /// A user, `@group`, `*`, or a range of ids.
        pub domain: Text,
        /// `hard`, `soft` or `-` for both.
        pub limit_type: Kind,
        /// What is limited: `nofile`, `nproc`, `memlock`, `core`, `as`, `stack` …
        pub limit_item: Text,
        /// The limit: a number, or `unlimited`, `infinity` or `-1`; from -20 to 19 for `nice` and `priority`.
        pub value: Text,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Leave a smaller value that is there.
        #[serde(default)]
        pub use_min: Flag,
        /// Leave a larger value that is there.
        #[serde(default)]
        pub use_max: Flag,
        /// The file; `/etc/security/limits.conf` when not given.
        pub dest: Option<Text>,
        /// A comment behind the limit.
        pub comment: Option<Text>,
    }
}

const ITEMS: [&str; 19] = [
    "core",
    "data",
    "fsize",
    "memlock",
    "nofile",
    "rss",
    "stack",
    "cpu",
    "nproc",
    "as",
    "maxlogins",
    "maxsyslogins",
    "priority",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "chroot",
];

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: PamLimits = decode(arguments)?;
    begin(machine, context);
    if !ITEMS.contains(&&*arguments.limit_item) {
        let why = format!("`{}` is none of {}", &*arguments.limit_item, ITEMS.join(", "));
        return Err(ModuleError::argument("limit_item", why));
    }
    let dest = arguments.dest.as_ref().map_or("/etc/security/limits.conf", |dest| &dest.0);
    let edit = Edit::open(machine, dest, Common::default(), arguments.backup.0, None)?;
    let directory = edit.path.parent().unwrap_or(std::path::Path::new("/"));
    if edit.before.is_none() && !machine.stat(directory)?.is_some_and(|stat| stat.is_dir()) {
        let why =
            format!("directory {} is not writable (check presence, access rights, use sudo)", directory.display());
        return Err(ModuleError::Failed(why));
    }
    if arguments.use_max.0 && arguments.use_min.0 {
        return Err(ModuleError::Failed("Cannot use use_min and use_max at the same time.".into()));
    }
    valid(&arguments.limit_item, &arguments.value, "")?;
    let text = String::from_utf8_lossy(edit.before.as_deref().unwrap_or_default()).into_owned();
    let (after, said) = apply(&arguments, dest, &text)?;
    let mut outcome = edit.finish(machine, after.map(String::into_bytes), "", "backup_file")?;
    outcome.msg = Some(said);
    Ok(outcome)
}

fn unlimited(value: &str) -> bool {
    matches!(value, "unlimited" | "infinity" | "-1")
}

fn valid(item: &str, value: &str, prefix: &str) -> Step<()> {
    let (good, wanted) = match item {
        "nice" | "priority" => (
            value.parse::<i64>().is_ok_and(|number| (-20..=19).contains(&number)),
            "must be a number in the range -20 to 19 inclusive",
        ),
        _ => (
            unlimited(value) || !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()),
            "must either be 'unlimited', 'infinity' or -1, all of which indicate no limit, or a limit of 0 or larger",
        ),
    };
    match good {
        true => Ok(()),
        false => Err(ModuleError::Failed(format!(
            "{prefix} Value of '{value}' for item '{item}' is invalid. Value {wanted}. Refer to the limits.conf(5) manual pages for more details."
        ))),
    }
}

/// The file as it should be, if it is not, and the line that counts.
fn apply(wanted: &PamLimits, dest: &str, text: &str) -> Step<(Option<String>, String)> {
    let kind = match wanted.limit_type {
        Kind::Hard => "hard",
        Kind::Soft => "soft",
        Kind::Both => "-",
    };
    let (domain, item, value) = (&*wanted.domain, &*wanted.limit_item, &*wanted.value);
    let mut comment = wanted.comment.as_ref().map_or(String::new(), |comment| comment.0.clone());
    let mut chosen = value.to_string();
    let line = |value: &str, comment: &mut String| {
        if !comment.is_empty() {
            *comment = format!("\t#{comment}");
        }
        format!("{domain}\t{kind}\t{item}\t{value}{comment}\n")
    };
    let mut lines: Vec<String> = Vec::new();
    let (mut found, mut changed, mut said) = (false, false, String::new());
    for old in text.split_inclusive('\n') {
        let (plain, remark) = old.split_once('#').unwrap_or((old, ""));
        let fields: Vec<&str> = plain.split_whitespace().collect();
        let &[line_domain, line_kind, line_item, actual] = fields.as_slice() else {
            // As Ansible: the comment of whatever stands before is taken for the limit's own.
            if comment.is_empty() && !old.starts_with('#') && !old.trim().is_empty() {
                comment = remark.to_string();
            }
            lines.push(old.into());
            continue;
        };
        if old.starts_with('#') {
            lines.push(old.into());
            continue;
        }
        if comment.is_empty() {
            comment = remark.to_string();
        }
        valid(line_item, actual, &format!("Invalid configuration found in '{dest}'."))?;
        if (line_domain, line_kind, line_item) != (domain, kind, item) {
            lines.push(old.into());
            continue;
        }
        found = true;
        if value != actual {
            let numbers = value.parse::<i128>().ok().zip(actual.parse::<i128>().ok());
            let less = numbers.is_some_and(|(value, actual)| value < actual);
            if wanted.use_max.0 {
                chosen = if unlimited(actual) || !unlimited(value) && less { actual } else { value }.into();
            }
            if wanted.use_min.0 {
                let take = unlimited(actual) && !unlimited(value) || !unlimited(actual) && !unlimited(value) && less;
                chosen = if take { value } else { actual }.into();
            }
        }
        if value != actual && chosen != actual {
            changed = true;
            said = line(&chosen, &mut comment);
            lines.push(said.clone());
        } else {
            said = old.to_string();
            lines.push(old.into());
        }
    }
    if !found {
        changed = true;
        // The last line of the file may be without its end.
        if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push('\n');
        }
        said = line(&chosen, &mut comment);
        lines.push(said.clone());
    }
    Ok((changed.then(|| lines.concat()), said))
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};

    #[test]
    fn limits_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("limits.conf");
        std::fs::write(&path, "# nofile\n\n*  soft core 0 # none\njoe hard nofile 100\n").unwrap();
        let task = |item: &str, value: &str, more: Value| {
            let mut task =
                json!({"domain": "joe", "limit_type": "hard", "limit_item": item, "value": value, "dest": path});
            task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            task
        };
        let unchanged = |task: Value| assert!(!check_then_apply("pam_limits", &task).changed(), "{task}");
        assert!(apply_twice("pam_limits", &task("nproc", "50", json!({"comment": "few"}))).changed());
        assert!(apply_twice("pam_limits", &task("nofile", "200", json!({"use_max": true, "comment": "x"}))).changed());
        unchanged(task("nofile", "100", json!({"use_max": true})));
        unchanged(task("nofile", "300", json!({"use_min": true})));
        unchanged(task("nofile", "unlimited", json!({"use_min": true})));
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "# nofile\n\n*  soft core 0 # none\njoe\thard\tnofile\t200\t#x\njoe\thard\tnproc\t50\t#few\n"
        );
        assert!(apply_twice("pam_limits", &task("nofile", "-1", json!({"use_max": true, "backup": true}))).changed());
        std::fs::write(&path, "joe hard core 0").unwrap();
        assert!(apply_twice("pam_limits", &task("nproc", "50", json!({}))).changed());
        let after = std::fs::read_to_string(&path).unwrap();
        assert_eq!(after, "joe hard core 0\njoe\thard\tnproc\t50\n", "a last line without its end");
        for (item, value, more) in [
            ("nofile", "many", json!({})),
            ("nice", "20", json!({})),
            ("nothing", "1", json!({})),
            ("nofile", "1", json!({"use_min": true, "use_max": true})),
            ("nofile", "1", json!({"dest": "/nowhere/limits.conf"})),
        ] {
            assert_eq!(
                check_then_apply("pam_limits", &task(item, value, more)).status,
                Status::Failed,
                "{item}={value}"
            );
        }
    }
}
