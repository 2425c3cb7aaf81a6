//! Settings by the names that Ansible's documentation gives them, for `lookup('config', …)`.

use std::sync::LazyLock;

use super::settings::{
    ASK_PASS, ASK_VAULT, BECOME, BECOME_ASK, BECOME_METHOD, BECOME_USER, DIFF, DIFF_CONTEXT, EXTENSIONS, FACT_CACHE,
    FATAL, FORCE_COLOUR, FORCE_HANDLERS, FORKS, GATHERING, HOST_KEYS, INVENTORY, MANAGED, MERGE, NO_COLOUR,
    PRIVATE_KEY, REMOTE_USER, RETRY, ROLES_PATH, RUN_TAGS, Reader, Row, SKIP_TAGS, STRATEGY, TIMEOUT, TRANSPORT,
    UNDEFINED, VAULT_ENCRYPT, VAULT_FILE, VAULT_ID, VAULT_IDS, VAULT_MATCH, VERBOSITY, expand, paths_of,
};
use super::{ConfigError, Ini, Surroundings, find};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// None is given, and there is no default.
    Nothing,
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
    /// Words or paths.
    List(Vec<String>),
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
    Path,
    Paths,
}

/// Ansible's name, the places, the type, the default.
const NAMES: &[(&str, Row, Kind, &str)] = &[
    ("DEFAULT_FORKS", FORKS, Kind::Number, "5"),
    ("DEFAULT_TIMEOUT", TIMEOUT, Kind::Number, "10"),
    ("DEFAULT_REMOTE_USER", REMOTE_USER, Kind::Text, ""),
    ("DEFAULT_PRIVATE_KEY_FILE", PRIVATE_KEY, Kind::Text, ""),
    ("DEFAULT_TRANSPORT", TRANSPORT, Kind::Text, "ssh"),
    ("DEFAULT_HOST_LIST", INVENTORY, Kind::List, "/etc/ansible/hosts"),
    ("DEFAULT_ROLES_PATH", ROLES_PATH, Kind::Paths, "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"),
    ("HOST_KEY_CHECKING", HOST_KEYS, Kind::Flag, "yes"),
    ("DEFAULT_ASK_PASS", ASK_PASS, Kind::Flag, "no"),
    ("DEFAULT_BECOME", BECOME, Kind::Flag, "no"),
    ("DEFAULT_BECOME_USER", BECOME_USER, Kind::Text, "root"),
    ("DEFAULT_BECOME_METHOD", BECOME_METHOD, Kind::Text, "sudo"),
    ("DEFAULT_BECOME_ASK_PASS", BECOME_ASK, Kind::Flag, "no"),
    ("DEFAULT_VAULT_PASSWORD_FILE", VAULT_FILE, Kind::Text, ""),
    ("DEFAULT_VAULT_IDENTITY_LIST", VAULT_IDS, Kind::List, ""),
    ("DEFAULT_VAULT_IDENTITY", VAULT_ID, Kind::Text, "default"),
    ("DEFAULT_VAULT_ENCRYPT_IDENTITY", VAULT_ENCRYPT, Kind::Text, ""),
    ("DEFAULT_VAULT_ID_MATCH", VAULT_MATCH, Kind::Flag, "no"),
    ("DEFAULT_ASK_VAULT_PASS", ASK_VAULT, Kind::Flag, "no"),
    ("DEFAULT_GATHERING", GATHERING, Kind::Text, "implicit"),
    ("ANY_ERRORS_FATAL", FATAL, Kind::Flag, "no"),
    ("DEFAULT_FORCE_HANDLERS", FORCE_HANDLERS, Kind::Flag, "no"),
    ("DEFAULT_STRATEGY", STRATEGY, Kind::Text, "linear"),
    ("DEFAULT_JINJA2_EXTENSIONS", EXTENSIONS, Kind::List, ""),
    ("DEFAULT_MANAGED_STR", MANAGED, Kind::Text, "Ansible managed"),
    ("TAGS_RUN", RUN_TAGS, Kind::List, ""),
    ("TAGS_SKIP", SKIP_TAGS, Kind::List, ""),
    ("DEFAULT_VERBOSITY", VERBOSITY, Kind::Number, "0"),
    ("DIFF_ALWAYS", DIFF, Kind::Flag, "no"),
    ("DIFF_CONTEXT", DIFF_CONTEXT, Kind::Number, "3"),
    ("ANSIBLE_NOCOLOR", NO_COLOUR, Kind::Flag, "no"),
    ("ANSIBLE_FORCE_COLOR", FORCE_COLOUR, Kind::Flag, "no"),
    ("DEFAULT_HASH_BEHAVIOUR", MERGE, Kind::Text, "replace"),
    ("DEFAULT_UNDEFINED_VAR_BEHAVIOR", UNDEFINED, Kind::Flag, "yes"),
    ("CACHE_PLUGIN", FACT_CACHE, Kind::Text, "memory"),
    ("RETRY_FILES_ENABLED", RETRY, Kind::Flag, "no"),
];

/// What has no meaning here and is asked for all the same, and the options of plugins.
struct Other {
    /// `shell/sh`; `-` for a setting.
    whose: &'static str,
    name: &'static str,
    variables: Vec<&'static str>,
    places: Vec<(&'static str, &'static str)>,
    kind: Kind,
    default: &'static str,
}

/// One a line: whose, its name, its kind, variables, places in the file, and the documented default.
static OTHERS: LazyLock<Vec<Other>> = LazyLock::new(|| {
    let other = |line: &'static str| {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next();
        let (whose, name, kind, variables, places) = (word()?, word()?, word()?, word()?, word()?);
        let default = word().unwrap_or_default();
        let listed = |text: &'static str| text.split(',').filter(|word| *word != "-");
        let kind = match kind {
            "number" => Kind::Number,
            "flag" => Kind::Flag,
            "list" => Kind::List,
            "path" => Kind::Path,
            "paths" => Kind::Paths,
            _ => Kind::Text,
        };
        let places = listed(places).filter_map(|place| place.split_once('.')).collect();
        Some(Other { whose, name, variables: listed(variables).collect(), places, kind, default })
    };
    include_str!("defaults.txt").lines().filter_map(other).collect()
});

/// The value that a setting of this name has; nothing if there is none of this name.
pub fn named(name: &str, around: &Surroundings<'_>) -> Result<Option<Setting>, ConfigError> {
    match NAMES.iter().find(|(known, ..)| *known == name) {
        Some((_, row, kind, default)) => value(*row, *kind, default, around).map(Some),
        None => listed("-", name, around),
    }
}

/// The value of a plugin's option, such as `remote_tmp` of the shell `sh`.
pub fn of_plugin(
    kind: &str,
    plugin: &str,
    name: &str,
    around: &Surroundings<'_>,
) -> Result<Option<Setting>, ConfigError> {
    let plugin = plugin.rsplit('.').next().unwrap_or(plugin);
    listed(&format!("{kind}/{plugin}"), name, around)
}

fn listed(whose: &str, name: &str, around: &Surroundings<'_>) -> Result<Option<Setting>, ConfigError> {
    let others: &'static [Other] = &OTHERS;
    let found = others.iter().find(|other| other.whose == whose && other.name == name);
    found.map(|other| value((&other.variables, &other.places, ""), other.kind, other.default, around)).transpose()
}

fn value(row: Row, kind: Kind, default: &str, around: &Surroundings<'_>) -> Result<Setting, ConfigError> {
    let ini = match find(around).path {
        Some(path) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| ConfigError::Unreadable { path: path.clone(), why: error.to_string() })?;
            Ini::parse(&path, &text)?
        }
        None => Ini::default(),
    };
    let reader = Reader::new(&ini, around);
    Ok(match kind {
        Kind::Number => match reader.number(row)? {
            Some(number) => Setting::Number(number),
            None => default.parse().map_or(Setting::Nothing, Setting::Number),
        },
        Kind::Flag => Setting::Flag(reader.flag(row)?.unwrap_or(default == "yes")),
        Kind::Text => match reader.text(row) {
            Some(text) => Setting::Text(text),
            None if default.is_empty() => Setting::Nothing,
            None => Setting::Text(default.to_owned()),
        },
        Kind::List => match reader.list(row) {
            list if list.is_empty() && !default.is_empty() => {
                Setting::List(default.split(',').map(str::to_owned).collect())
            }
            list => Setting::List(list),
        },
        Kind::Path => {
            let usual = || (!default.is_empty()).then(|| expand(default, around, around.directory));
            // One that is empty switches the default off.
            let path = if reader.text(row).is_some() { reader.path(row) } else { usual() };
            path.map_or(Setting::Nothing, |path| Setting::Text(path.to_string_lossy().into_owned()))
        }
        Kind::Paths => {
            let paths = reader.paths(row).unwrap_or_else(|| paths_of(default, around, around.directory));
            Setting::List(paths.into_iter().map(|path| path.to_string_lossy().into_owned()).collect())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_environment_counts_before_the_default() {
        let around = Surroundings {
            variables: vec![("ANSIBLE_FORKS".into(), "27".into())],
            directory: Path::new("/nowhere"),
            home: Some("/home/x".into()),
            system: Path::new("/nowhere"),
        };
        let value = |name: &str| named(name, &around).unwrap();
        assert_eq!(value("DEFAULT_FORKS"), Some(Setting::Number(27)));
        assert_eq!(value("DEFAULT_TIMEOUT"), Some(Setting::Number(10)));
        assert_eq!(value("DEFAULT_REMOTE_USER"), Some(Setting::Nothing));
        assert_eq!(value("HOST_KEY_CHECKING"), Some(Setting::Flag(true)));
        assert_eq!(value("NO_SUCH"), None);
        assert_eq!(value("COLOR_OK"), Some(Setting::Text("green".into())));
        assert_eq!(value("RETRY_FILES_SAVE_PATH"), Some(Setting::Nothing));
        let option = |plugin: &str, name: &str| of_plugin("shell", plugin, name, &around).unwrap();
        assert_eq!(option("ansible.builtin.sh", "remote_tmp"), Some(Setting::Text("~/.ansible/tmp".into())));
        assert_eq!(option("sh", "COLOR_OK"), None);
        let Some(Setting::List(paths)) = value("DEFAULT_ROLES_PATH") else { panic!("no list") };
        assert_eq!(paths.first().map(String::as_str), Some("/home/x/.ansible/roles"));
    }

    #[test]
    fn a_path_of_the_file_is_relative_to_it() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        let file = place.path().join("ansible.cfg");
        std::fs::write(&file, "[defaults]\nlog_path = ./x.log\nroles_path = own:/srv/roles\n")?;
        let around = Surroundings {
            variables: vec![("ANSIBLE_CONFIG".into(), file.to_string_lossy().into_owned())],
            directory: Path::new("/nowhere"),
            home: None,
            system: Path::new("/nowhere"),
        };
        let value = |name: &str| named(name, &around).unwrap();
        let below = |name: &str| place.path().join(name).to_string_lossy().into_owned();
        assert_eq!(value("DEFAULT_LOG_PATH"), Some(Setting::Text(below("./x.log"))));
        assert_eq!(value("DEFAULT_ROLES_PATH"), Some(Setting::List(vec![below("own"), "/srv/roles".into()])));
        Ok(())
    }
}
