//! `debconf`: answers to the questions of packages.

use crate::machine::settings::Setting;
use crate::machine::{Command, Domain, Facet, Machine, Subject};
use crate::modules::programs::{ask, choice, failed, required};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `ansible.builtin.debconf`
pub const DEBCONF: Module = Module {
    name: "ansible.builtin.debconf",
    aliases: &["debconf", "ansible.legacy.debconf"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Debconf::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Answers a question of a package before it is asked, or reads the answers. A package that is installed already does
    /// not look at them before it is reconfigured.
    ///
    /// Passwords are compared by `debconf-get-selections` of the package debconf-utils, and shown in no diff.
    pub struct Debconf {
        /// The package.
        #[serde(alias = "pkg")]
        pub name: Text,
        /// The question. Without it the present answers are returned.
        #[serde(alias = "selection", alias = "setting")]
        pub question: Option<Text>,
        /// Kind of the question: `boolean`, `error`, `multiselect`, `note`, `password`, `seen`, `select`, `string`, `text`
        /// or `title`.
        pub vtype: Option<Text>,
        /// The answer; a list for `multiselect`.
        #[serde(alias = "answer")]
        pub value: Option<Value>,
        /// The question is still asked, with this answer to begin with.
        #[serde(default)]
        pub unseen: Flag,
    }
}

const KINDS: &[&str] =
    &["boolean", "error", "multiselect", "note", "password", "seen", "select", "string", "text", "title"];

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Debconf = decode(arguments)?;
    let given = [arguments.question.is_some(), arguments.vtype.is_some(), arguments.value.is_some()];
    if given.contains(&true) && given.contains(&false) {
        return Err(ModuleError::Failed("parameters are required together: question, vtype, value".into()));
    }
    if let Some(kind) = &arguments.vtype {
        choice("vtype", kind, KINDS)?;
    }
    let package = arguments.name.0.as_str();
    let show = required(machine, "debconf-show", "debconf")?;
    let listing = ask(machine, &Command::new([show.as_str(), package]))?;
    let present = selections(&listing);
    let (Some(question), Some(kind), Some(value)) = (&arguments.question, &arguments.vtype, &arguments.value) else {
        return Ok(Outcome { msg: Some(String::new()), ..Outcome::ok() }.with("current", json!(present)));
    };
    let setting = Setting::new(Subject::new(Domain::Setting, format!("debconf {package}: {}", question.0)), "value");
    let wanted = Answer::wanted(kind, value, present.contains_key(&question.0))?;
    let foreseen = machine.foreseen_setting(&setting)?;
    let known = foreseen.clone().or_else(|| present.get(&question.0).cloned());
    let hidden = context.no_log || &*kind.0 == "password";
    if hidden && foreseen.is_some() && foreseen.as_deref() == Some(&print(&wanted.text)) {
        return Ok(Outcome { msg: Some(String::new()), ..Outcome::ok() }.with("current", json!(present)));
    }
    let current = match (&known, &*kind.0) {
        (Some(_), "password") if foreseen.is_none() => {
            let get = required(machine, "debconf-get-selections", "debconf-utils")?;
            password(&ask(machine, &Command::new([get]))?, package, &question.0)
        }
        (known, _) => known.clone(),
    };
    if current.as_deref().is_some_and(|current| wanted.is(kind, current)) {
        return Ok(Outcome { msg: Some(String::new()), ..Outcome::ok() }.with("current", json!(present)));
    }
    let set = required(machine, "debconf-set-selections", "debconf")?;
    let mut argv = vec![set];
    argv.extend(arguments.unseen.0.then(|| "-u".to_string()));
    let line = format!("{package} {} {} {}", question.0, kind.0, wanted.text);
    let command = Command { stdin: Some(line.into_bytes()), ..Command::new(argv) };
    // Of other kinds, too, where the task hides what it does.
    let secret = hidden;
    let side = |text: Option<&str>| match text {
        None => Facet::Absent,
        // What an earlier task of a check leaves is a mark already.
        Some(text) if secret && foreseen.as_deref() == Some(text) => Facet::Secret { fingerprint: text.into() },
        Some(text) if secret => Facet::Secret { fingerprint: print(text) },
        Some(text) => Facet::Value(text.into()),
    };
    let sides = (side(current.as_deref()), side(Some(&wanted.text)));
    // No password is kept among what a check foresees.
    let kept = if secret { print(&wanted.text) } else { wanted.text.clone() };
    if let Some(output) = machine.change_setting(&setting, sides, &kept, std::slice::from_ref(&command))?
        && !output.success()
    {
        return Err(failed(&command, &output));
    }
    let shown = match &*kind.0 {
        "boolean" => json!(wanted.text),
        // As `debconf-show` prints it.
        "password" => json!("(password omitted)"),
        _ => wanted.returned,
    };
    let previous = match present.get(&question.0) {
        Some(before) => json!({ question.0.as_str(): before }),
        None => {
            let mut all = present.clone();
            all.insert(question.0.clone(), String::new());
            json!(all)
        }
    };
    let outcome = Outcome { msg: Some(String::new()), ..Outcome::ok() };
    Ok(outcome.with("current", json!({ question.0.as_str(): shown })).with("previous", previous))
}

/// A mark of a secret: different for another, and saying nothing of it to who does not know this host.
fn print(secret: &str) -> String {
    crate::machine::files::fingerprint(secret)
}

/// An answer, as a task writes it.
struct Answer {
    /// As debconf takes it.
    text: String,
    /// As it is returned.
    returned: Value,
}

impl Answer {
    /// Several answers are sorted where there are some already, as Ansible does to compare them.
    fn wanted(kind: &str, value: &Value, answered: bool) -> Result<Answer, ModuleError> {
        let one = |value: &Value| -> Result<String, ModuleError> {
            serde_json::from_value::<Text>(value.clone())
                .map(|text| text.0)
                .map_err(|_| ModuleError::argument("value", format!("it is no answer of kind {kind}")))
        };
        Ok(match (kind, value) {
            ("multiselect", Value::Array(items)) => {
                let mut items = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
                if answered {
                    items.sort();
                }
                Answer { text: items.join(", "), returned: json!(items.join(", ")) }
            }
            ("boolean", value) => {
                let text = one(value)?.to_lowercase();
                Answer { returned: json!(text), text }
            }
            (_, value) => Answer { text: one(value)?, returned: value.clone() },
        })
    }

    /// Whether the present answer is this one.
    fn is(&self, kind: &str, current: &str) -> bool {
        match kind {
            "boolean" => current.to_lowercase() == self.text,
            "multiselect" => {
                let sorted = |text: &str| {
                    let mut items: Vec<String> = text.split(',').map(|item| item.trim().to_string()).collect();
                    items.sort();
                    items
                };
                current == self.text || sorted(current) == sorted(&self.text)
            }
            _ => current == self.text,
        }
    }
}

/// `* tzdata/Areas: Europe`; a star says that the question has been asked.
fn selections(listing: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim_matches('*').trim().to_string(), value.trim().to_string()))
    };
    listing.lines().filter_map(pair).collect()
}

/// The password among the lines of debconf-get-selections; empty where there is none.
fn password(listing: &str, package: &str, question: &str) -> Option<String> {
    for line in listing.lines() {
        let mut fields = line.split('\t');
        if fields.next() == Some(package) && fields.next() == Some(question) && fields.next() == Some("password") {
            return Some(fields.next().unwrap_or_default().to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::check;

    #[test]
    fn what_debconf_prints() {
        let found = selections("* tzdata/Areas: Europe\n  tzdata/Zones/Etc: UTC\n  x/y:\n");
        assert_eq!(found["tzdata/Areas"], "Europe");
        assert_eq!((found["tzdata/Zones/Etc"].as_str(), found["x/y"].as_str()), ("UTC", ""));
        let lines = "# comment\nmysql\tmysql/root\tpassword\ts3cret\nmysql\tmysql/other\tstring\tx\n";
        assert_eq!(password(lines, "mysql", "mysql/root").as_deref(), Some("s3cret"));
        assert_eq!(password(lines, "mysql", "mysql/other"), None);
    }

    #[test]
    fn answers() {
        for (kind, value, current, expected) in [
            ("boolean", json!(true), "true", true),
            ("boolean", json!("True"), "false", false),
            ("select", json!("Europe"), "Europe", true),
            ("select", json!("europe"), "Europe", false),
            ("string", json!(5), "5", true),
            ("multiselect", json!(["b", "a"]), "a, b", true),
            ("multiselect", json!(["b"]), "a, b", false),
            ("multiselect", json!("a, b"), "a, b", true),
        ] {
            assert_eq!(
                Answer::wanted(kind, &value, true).unwrap().is(kind, current),
                expected,
                "{kind} {value} {current}"
            );
        }
        assert!(Answer::wanted("string", &json!({"a": 1}), false).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for (value, expected) in [
            (json!({"name": "x", "question": "x/y"}), "required together"),
            (json!({"name": "x", "question": "x/y", "vtype": "number", "value": 1}), "vtype must be one of"),
        ] {
            let outcome = check("debconf", &value);
            assert_eq!(outcome.status, Status::Failed, "{value}");
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{value}: {:?}", outcome.msg);
        }
    }
}
