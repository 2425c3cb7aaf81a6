//! `getent`: entries of the databases of names.

use crate::machine::{Command, Machine};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value, json};

/// `ansible.builtin.getent`
pub const GETENT: Module = Module {
    name: "ansible.builtin.getent",
    aliases: &["getent", "ansible.legacy.getent"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Getent::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Reads entries of `passwd`, `group`, `hosts` and other databases into the fact `getent_DATABASE`.
    pub struct Getent {
        /// The database.
        pub database: String,
        /// The entry; all of them when nothing is said.
        #[serde(default)]
        pub key: Option<Text>,
        /// Fail when there is no such entry.
        #[serde(default = "Flag::yes")]
        pub fail_key: Flag,
        /// What separates fields.
        pub split: Option<Text>,
        /// Ask this source only.
        pub service: Option<Text>,
    }
}

/// What Ansible says of a key that is not there.
const MISSING: &str = "One or more supplied key could not be found in the database.";

fn run(arguments: Map<String, Value>, machine: &mut Machine, _: &mut Context<'_>) -> Result<Outcome, ModuleError> {
    let arguments: Getent = decode(arguments)?;
    let database = arguments.database.as_str();
    let key = arguments.key.as_ref().map(|k| k.0.as_str()).filter(|k| !k.is_empty());
    let colon = matches!(database, "passwd" | "shadow" | "group" | "gshadow");
    let mut entries: Map<String, Value> = Map::new();
    let fact = format!("getent_{database}");
    // Accounts that a check foresees are known to the machine only.
    if machine.predicted() && arguments.service.is_none() && matches!(database, "passwd" | "group") {
        let known: Vec<(String, Vec<String>)> = match database {
            "passwd" => machine
                .known_users()
                .into_iter()
                .map(|u| (u.name, vec!["x".into(), u.uid.to_string(), u.gid.to_string(), u.gecos, u.home, u.shell]))
                .collect(),
            _ => machine
                .known_groups()
                .into_iter()
                .map(|g| (g.name, vec!["x".into(), g.gid.to_string(), g.members.join(",")]))
                .collect(),
        };
        for (name, fields) in known {
            let predicted =
                fields.get(1).and_then(|id| id.parse().ok()).is_some_and(crate::machine::accounts::is_predicted_id);
            if predicted && key == Some(name.as_str()) {
                let why = format!("{name} would be made by an earlier task, with an id that is not known yet");
                return Ok(Outcome { unknown_facts: vec![fact], ..Outcome::unknown(why) });
            }
            if key.is_none_or(|k| k == name) && !predicted {
                entries.insert(name, json!(fields));
            }
        }
        if key.is_some() && !entries.is_empty() {
            return Ok(with_fact(fact, entries));
        }
    }
    let mut argv = vec!["getent"];
    if let Some(service) = &arguments.service {
        argv.extend(["-s", &service.0]);
    }
    argv.push(database);
    argv.extend(key);
    let output = machine.probe(&Command::new(argv))?;
    match output.rc {
        0 => {}
        1 => return Err(ModuleError::Failed("Missing arguments, or database unknown.".into())),
        2 if !arguments.fail_key.0 => {
            entries.clear();
            entries.insert(key.unwrap_or_default().into(), Value::Null);
            return Ok(Outcome { msg: Some(MISSING.into()), ..with_fact(fact, entries) });
        }
        2 => return Err(ModuleError::Failed(MISSING.into())),
        3 => return Err(ModuleError::Failed("Enumeration not supported on this database.".into())),
        rc => {
            return Err(ModuleError::Failed(format!("getent ended with status {rc}: {}", output.stderr_text().trim())));
        }
    }
    for line in output.stdout_text().lines() {
        let fields: Vec<String> = match arguments.split.as_ref().map(|s| s.0.as_str()).or(colon.then_some(":")) {
            Some(separator) => line.split(separator).map(str::to_string).collect(),
            None => line.split_whitespace().map(str::to_string).collect(),
        };
        let Some((name, rest)) = fields.split_first() else {
            continue;
        };
        // Several lines of one name (hosts) are kept as a list of lists.
        match entries.get_mut(name) {
            Some(Value::Array(known)) if known.first().is_some_and(Value::is_array) => known.push(json!(rest)),
            Some(known) if !machine.predicted() => *known = json!([known.clone(), rest]),
            _ => drop(entries.insert(name.clone(), json!(rest))),
        }
    }
    Ok(with_fact(fact, entries))
}

fn with_fact(name: String, entries: Map<String, Value>) -> Outcome {
    let mut outcome = Outcome::ok();
    outcome.facts.insert(name, Value::Object(entries));
    outcome
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply, check};
    use serde_json::json;

    #[test]
    fn entries_become_facts() {
        for outcome in [
            apply("getent", &json!({"database": "passwd", "key": "root"})),
            check("getent", &json!({"database": "passwd", "key": "root"})),
        ] {
            assert_eq!(outcome.facts["getent_passwd"]["root"][1], "0");
        }
        let missing = json!({"database": "passwd", "key": "no-such-user"});
        assert_eq!(apply("getent", &missing).status, Status::Failed);
        let missing = json!({"database": "passwd", "key": "no-such-user", "fail_key": false});
        assert_eq!(apply("getent", &missing).facts["getent_passwd"], json!({"no-such-user": null}));
        assert_eq!(apply("getent", &json!({"database": "nonsense"})).status, Status::Failed);
    }
}
