//! What a start of the server would read: its option files as they are now, or as a check foresees them, read by the
//! server itself.

use crate::machine::{Command, Machine, MachineError, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Where the distributions keep the first option file.
const ROOTS: [&str; 3] = ["/etc/mysql/my.cnf", "/etc/my.cnf", "/etc/mysql/mariadb.cnf"];

/// What the server makes of its option files.
#[derive(Clone, Debug, Default)]
pub struct Effective {
    /// Every variable with the value it would start with; names in lower case, with underscores.
    pub values: BTreeMap<String, String>,
    /// Those that an option file names.
    pub named: BTreeSet<String>,
    /// Why the server would not start.
    pub error: Option<String>,
}

/// Asks the server. Nothing where none is installed.
pub fn read(machine: &Machine) -> Result<Option<Effective>> {
    if !machine.has_program("mariadbd") {
        return Ok(None);
    }
    let mut text = String::new();
    for root in ROOTS {
        if machine.exists(root)? {
            flatten(machine, root, &mut text, 0)?;
            break;
        }
    }
    let user = match machine.user_name(rustix::process::geteuid().as_raw()) {
        Some(name) => name,
        None => "root".into(),
    };
    let ask = |words: &[&str]| {
        let argv = ["mariadbd", "--defaults-file=/dev/stdin"].iter().chain(words).map(|word| word.to_string());
        machine.probe(&Command { stdin: Some(text.clone().into_bytes()), ..Command::new(argv) })
    };
    let user = format!("--user={user}");
    let named = ask(&["--print-defaults"])?;
    let answer = ask(&[&user, "--help", "--verbose"])?;
    let mut effective =
        Effective { values: table(&answer.stdout_text()), named: names(&named.stdout_text()), error: None };
    if !answer.success() {
        let said = answer.stderr_text();
        let errors: Vec<&str> = said.lines().filter(|line| line.contains("[ERROR]")).collect();
        let first = errors.first().copied().or(said.lines().last()).unwrap_or("no reason given");
        let why = first.split_once("[ERROR]").map_or(first, |(_, why)| why).trim();
        effective.error = Some(why.trim_start_matches("mariadbd:").trim().to_string());
    }
    Ok(Some(effective))
}

/// One text out of an option file and all that it includes.
fn flatten(machine: &Machine, path: &str, text: &mut String, depth: u32) -> Result<()> {
    if depth > 10 {
        return Err(MachineError::failed(format!("option files include each other without end: {path}")));
    }
    let Some(bytes) = machine.read_file_if_exists(path, 1 << 20)? else {
        return Ok(());
    };
    let mut section = String::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.to_string();
        }
        if let Some(directory) = line.strip_prefix("!includedir") {
            let directory = directory.trim().trim_end_matches('/');
            let mut names: Vec<String> = match machine.exists(directory)? {
                true => machine.list_directory(directory)?,
                false => Vec::new(),
            }
            .into_iter()
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".cnf"))
            .collect();
            names.sort();
            for name in names {
                flatten(machine, &format!("{directory}/{name}"), text, depth + 1)?;
            }
        } else if let Some(file) = line.strip_prefix("!include") {
            flatten(machine, file.trim(), text, depth + 1)?;
        } else {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        // What follows an included file belongs to the section before it.
        text.push_str(&format!("{section}\n"));
    }
    Ok(())
}

/// The table at the end of the server's help: a name and a value a line.
fn table(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let lines = text.lines().skip_while(|line| !line.starts_with("----------")).skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        let value = match value.trim() {
            "(No default value)" => "",
            value => value,
        };
        // A plugin may be called as a variable is (wsrep_provider); its switch is not the variable's value.
        let switch = ["ON", "OFF", "FORCE", "FORCE_PLUS_PERMANENT"].contains(&value);
        let name = plain(name);
        if !(switch && values.contains_key(&name)) {
            values.insert(name, value.to_string());
        }
    }
    values
}

/// The names in `mariadbd --print-defaults`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.lines().last().unwrap_or_default().split(" --");
    let name = |word: &str| plain(word.trim_start_matches("--").split(['=', ' ']).next().unwrap_or_default());
    words.map(name).filter(|name| !name.is_empty()).collect()
}

/// A name as the server's variables have it.
pub fn plain(name: &str) -> String {
    let name = name.trim().replace('-', "_").to_ascii_lowercase();
    let name = name.strip_prefix("loose_").unwrap_or(&name);
    name.strip_prefix("enable_").unwrap_or(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn the_servers_own_words_are_read() {
        let help = "mariadbd Ver 11\nUsage\n\nVariables (--variable-name=value)\nand boolean options\n\
                    ---------------- -------\nmax-connections   151\nwsrep-provider  /x.so\nwsrep-provider  ON\nssl-ca   (No default value)\nwsrep-on  TRUE\n\
                    wsrep-provider-options   a=1; b=2\n\nTo see what variables";
        let values = table(help);
        assert_eq!(values["max_connections"], "151");
        assert_eq!(values["ssl_ca"], "");
        assert_eq!(values["wsrep_provider_options"], "a=1; b=2");
        assert_eq!(values["wsrep_provider"], "/x.so");
        assert_eq!(values.len(), 5);
        let said = "mariadbd would have been started with the following arguments:\n--socket=/x --max_connections=1 \
                    --skip-name-resolve --wsrep_provider_options=a=1; b=2 --loose-x=1 ";
        let names: Vec<String> = names(said).into_iter().collect();
        assert_eq!(names, ["max_connections", "skip_name_resolve", "socket", "wsrep_provider_options", "x"]);
    }

    #[test]
    fn included_files_come_in_order_and_sections_continue() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/2.cnf"), "[mysqld]\nb=2\n").unwrap();
        std::fs::write(path("d/1.cnf"), "[client]\na=1\n").unwrap();
        std::fs::write(path("d/3.txt"), "no=1\n").unwrap();
        let root = format!("[mysqld]\nx=1\n!includedir {}/\ny=2\n", path("d"));
        std::fs::write(path("my.cnf"), root).unwrap();
        let mut text = String::new();
        flatten(&Machine::new(Mode::Live), &path("my.cnf"), &mut text, 0).unwrap();
        assert_eq!(text, "[mysqld]\nx=1\n[client]\na=1\n[mysqld]\nb=2\n[mysqld]\ny=2\n");
        std::fs::write(path("my.cnf"), format!("!include {}\n", path("my.cnf"))).unwrap();
        assert!(flatten(&Machine::new(Mode::Live), &path("my.cnf"), &mut text, 0).is_err());
    }
}
