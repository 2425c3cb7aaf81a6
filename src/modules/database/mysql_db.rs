//! `mysql_db`: databases, their dumps and imports.

use super::mysql_user::{log_in, set_session};
use crate::machine::sql::{Database, Login};
use crate::machine::{Change, Command, Domain, Machine, MachineError, Subject, Undo};
use crate::modules::scalars::{Flag, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `community.mysql.mysql_db`
pub const MYSQL_DB: Module = Module {
    name: "community.mysql.mysql_db",
    aliases: &["mysql_db", "ansible.mysql.mysql_db"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Db::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

login_arguments! {
    /// Makes or drops databases, dumps them into a file or imports one.
    pub struct Db {
        /// Name of the database, or several; `all` for dumps and imports of everything.
        #[serde(alias = "db")]
        pub name: TextList,
        /// `present`, `absent`, `dump` or `import`.
        pub state: Option<Text>,
        /// Character set of a new database. An existing one is not changed.
        pub encoding: Option<Text>,
        /// Collation of a new database. An existing one is not changed.
        pub collation: Option<Text>,
        /// File to dump to or to import, on the host. Names that end in .gz, .bz2, .xz or .zst are compressed.
        pub target: Option<Text>,
        /// Dump in one transaction.
        #[serde(default)]
        pub single_transaction: Flag,
        /// Dump without holding whole tables in memory. Yes when not given.
        pub quick: Option<Flag>,
        /// Tables to leave out of a dump: `database.table`.
        pub ignore_tables: Option<TextList>,
        /// Dump binary columns in hexadecimal.
        #[serde(default)]
        pub hex_blob: Flag,
        /// Go on after errors of an import.
        #[serde(default)]
        pub force: Flag,
        /// Do not lock the tables of a dump.
        #[serde(default)]
        pub skip_lock_tables: Flag,
        /// Further arguments for the dump program.
        pub dump_extra_args: Option<Text>,
        /// Try to log in as root without a password first.
        #[serde(default)]
        pub check_implicit_admin: Flag,
        /// Whether the statements go to the binary log.
        pub sql_log_bin: Option<Flag>,
        /// Session variables to set first.
        pub session_vars: Option<Map<String, Value>>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let arguments: Db = decode(arguments)?;
    let names = &arguments.name.0;
    if names.is_empty() {
        return Err(ModuleError::argument("name", "must name a database"));
    }
    let state = arguments.state.as_deref().unwrap_or("present");
    if names.iter().any(|name| name == "all") && matches!(state, "present" | "absent") {
        return Err(ModuleError::argument("name", format!("`all` cannot be {state}: name the databases")));
    }
    match state {
        "present" | "absent" => {}
        "dump" | "import" => return transfer(&arguments, state == "dump", machine, context),
        other => {
            let why = format!("`{other}` is unknown: write present, absent, dump or import");
            return Err(ModuleError::argument("state", why));
        }
    }
    let mut server = log_in(machine, arguments.login(), arguments.check_implicit_admin.0)?;
    if arguments.sql_log_bin == Some(Flag(false)) {
        machine.sql_session(&mut server, "SET SESSION sql_log_bin = 0")?;
    }
    set_session(machine, &mut server, arguments.session_vars.as_ref())?;
    let text = |value: &Option<Text>| value.as_ref().map(|text| text.0.clone()).unwrap_or_default();
    let wanted = Database { encoding: text(&arguments.encoding), collation: text(&arguments.collation) };
    let mut statements = Vec::new();
    for name in names {
        statements.extend(match state {
            "present" => machine.create_database(&mut server, name, &wanted)?,
            _ => machine.drop_database(&mut server, name)?,
        });
    }
    let outcome = Outcome::ok().with("db", names.join(" ")).with("db_list", names.clone());
    Ok(if machine.predicted() { outcome } else { outcome.with("executed_commands", statements) })
}

/// The program that packs, by a file's name.
fn packer(target: &str) -> Option<&'static str> {
    match target.rsplit_once('.')?.1 {
        "gz" => Some("gzip"),
        "bz2" => Some("bzip2"),
        "xz" => Some("xz"),
        "zst" => Some("zstd"),
        _ => None,
    }
}

/// Dumps to a file or imports one, with the server's own programs.
fn transfer(
    arguments: &Db,
    dump: bool,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let names = &arguments.name.0;
    let target = arguments.target.as_ref().map(|text| text.0.as_str()).filter(|text| text.starts_with('/'));
    let Some(target) = target else {
        return Err(ModuleError::argument("target", "must be an absolute path on the host"));
    };
    let all = names.iter().any(|name| name == "all");
    if !dump && !all && names.len() != 1 {
        return Err(ModuleError::argument("name", "an import goes into one database, or `all`"));
    }
    if !dump && !machine.exists(target)? {
        return Err(ModuleError::argument("target", format!("{target} does not exist on the host")));
    }
    let mut server = log_in(machine, arguments.login(), arguments.check_implicit_admin.0)?;
    if dump && !all {
        for name in names {
            if machine.database(&mut server, name)?.is_none() {
                return Err(ModuleError::Failed(format!("cannot dump the database `{name}`: it does not exist")));
            }
        }
    }
    let outcome = Outcome::ok().with("db", names.join(" ")).with("db_list", names.clone());
    let subject =
        if dump { Subject::new(Domain::File, target) } else { Subject::new(Domain::Database, names.join(" ")) };
    let what = if dump { format!("dumped {}", names.join(", ")) } else { format!("imported {target}") };
    if machine.predicted() {
        machine.record(Change::effect(subject, what, Undo::None));
        return Ok(outcome);
    }
    if !dump && !all {
        machine.create_database(&mut server, names.first().map_or("", String::as_str), &Database::default())?;
    }

    let (choices, own) = match dump {
        true => (["mariadb-dump", "mysqldump"], dump_words(arguments, all)),
        false => {
            let mut words = Vec::new();
            if arguments.force.0 {
                words.push("--force".to_string());
            }
            if !all {
                words.push(format!("--database={}", names.first().map_or("", String::as_str)));
            }
            (["mariadb", "mysql"], words)
        }
    };
    let program =
        choices.iter().find(|program| machine.has_program(program)).ok_or_else(|| MachineError::MissingProgram {
            program: choices.first().map_or("", |name| name).to_string(),
            hint: "; install the package mariadb-client".into(),
        })?;
    let (login, environment) = login_words(&arguments.login());
    // A failure on either side of the pipe is a failure; `pipefail` is not in every shell.
    let script = match (dump, packer(target)) {
        (true, None) => r#"f=$1; shift 2; umask 077; "$@" > "$f.part" && mv -f -- "$f.part" "$f""#,
        (true, Some(_)) => {
            r#"f=$1; p=$2; shift 2; umask 077; "$@" > "$f.part" && "$p" -c < "$f.part" > "$f.packed" &&
               rm -f -- "$f.part" && mv -f -- "$f.packed" "$f""#
        }
        (false, None) => r#"f=$1; shift 2; exec "$@" < "$f""#,
        (false, Some(_)) => r#"f=$1; p=$2; shift 2; "$p" -t -- "$f" && "$p" -dc -- "$f" | "$@""#,
    };
    let mut words: Vec<String> = ["sh", "-c", script, "sh", target, packer(target).unwrap_or("-"), program]
        .iter()
        .map(|word| (*word).to_string())
        .collect();
    words.extend(login);
    words.extend(own);
    let command = Command { environment, ..Command::new(words) };
    let verb = if dump { "dumping" } else { "importing" };
    let mut progress = |passed: std::time::Duration, _: &str| {
        context.controller.progress(&format!("{verb} for {} s", passed.as_secs()), None, None);
    };
    let watch = crate::machine::process::Watch { timeout: None, progress: &mut progress };
    let output = machine.run_watched(&command, watch)?;
    if !output.success() {
        return Err(ModuleError::Failed(format!("{program} failed: {}", output.stderr_text().trim())));
    }
    machine.record(Change::effect(subject, what, Undo::None));
    Ok(outcome)
}

/// The dump program's own words.
fn dump_words(arguments: &Db, all: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |wanted: bool, word: &str| {
        if wanted {
            words.push(word.to_string());
        }
    };
    add(arguments.quick.is_none_or(|flag| flag.0), "--quick");
    add(arguments.single_transaction.0, "--single-transaction=true");
    add(arguments.skip_lock_tables.0, "--skip-lock-tables");
    add(arguments.hex_blob.0, "--hex-blob");
    add(arguments.force.0, "--force");
    for table in arguments.ignore_tables.iter().flat_map(|list| &list.0) {
        words.push(format!("--ignore-table={table}"));
    }
    if let Some(extra) = &arguments.dump_extra_args {
        words.extend(extra.0.split_whitespace().map(str::to_string));
    }
    if all {
        words.push("--all-databases".into());
    } else {
        // With `--databases` the dump names its databases itself, so it could not be imported into another one.
        if arguments.name.0.len() > 1 {
            words.push("--databases".into());
        }
        words.extend(arguments.name.0.iter().cloned());
    }
    words
}

/// How the programs log in; a password goes through the environment, never through the command line.
fn login_words(login: &Login) -> (Vec<String>, Vec<(String, String)>) {
    let mut words = Vec::new();
    // Option files are only read when they come first.
    if let Some(file) = login.config_file.as_deref().filter(|file| !file.is_empty()) {
        words.push(format!("--defaults-extra-file={file}"));
    }
    for (name, value) in [("user", &login.user), ("socket", &login.socket), ("host", &login.host)] {
        if let Some(value) = value {
            words.push(format!("--{name}={value}"));
        }
    }
    if let Some(port) = login.port {
        words.push(format!("--port={port}"));
    }
    let password = login.password.as_ref().map(|secret| ("MYSQL_PWD".to_string(), secret.expose().to_string()));
    (words, password.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn packers_by_name() {
        assert_eq!(packer("/b/x.sql.gz"), Some("gzip"));
        assert_eq!(packer("/b/x.sql"), None);
    }

    #[test]
    fn passwords_stay_off_the_command_line() {
        let login = Login { user: Some("u".into()), password: Some(Secret::new("p w")), ..Login::default() };
        let (words, environment) = login_words(&login);
        assert_eq!(words, ["--user=u"]);
        assert_eq!(environment, [("MYSQL_PWD".to_string(), "p w".to_string())]);
    }
}
