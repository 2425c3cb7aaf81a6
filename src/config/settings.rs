//! The settings that have a meaning here, with their types, and the names of those that have none.

use super::{ConfigError, Entry, Ini, Surroundings};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When facts are gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gathering {
    /// Always, unless a play says `gather_facts: false`.
    #[default]
    Implicit,
    /// Where a play says `gather_facts: true`.
    Explicit,
    /// For hosts that have none yet in this run.
    Smart,
}

/// What `ansible.cfg` and the environment say.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "each is described in TABLE")]
pub struct Settings {
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What the user should know, once.
    pub warnings: Vec<String>,
    pub inventory: Vec<String>,
    pub roles_path: Option<Vec<PathBuf>>,
    /// `library`: folders of modules of the user's own.
    pub library: Vec<PathBuf>,
    pub forks: Option<usize>,
    pub remote_user: Option<String>,
    pub private_key_file: Option<PathBuf>,
    pub timeout: Option<u64>,
    pub transport: Option<String>,
    pub host_key_checking: Option<bool>,
    pub ssh_args: Option<String>,
    pub ssh_common_args: Option<String>,
    pub ssh_extra_args: Option<String>,
    pub ask_pass: bool,
    pub connection_password_file: Option<PathBuf>,
    pub become_: bool,
    pub become_user: Option<String>,
    pub become_method: Option<String>,
    pub become_ask_pass: bool,
    pub become_password_file: Option<PathBuf>,
    pub vault_password_file: Option<PathBuf>,
    pub vault_identity_list: Vec<String>,
    pub vault_identity: Option<String>,
    pub vault_encrypt_identity: Option<String>,
    pub vault_id_match: bool,
    pub ask_vault_pass: bool,
    pub gathering: Gathering,
    /// The directory of facts that are kept, what the files' names begin with, and for how long they hold.
    pub fact_cache: Option<(PathBuf, String, Duration)>,
    /// Whether hosts that failed are written down, and where if not beside the playbook.
    pub retry_files: Option<Option<PathBuf>>,
    pub show_custom_stats: bool,
    pub any_errors_fatal: bool,
    /// `hash_behaviour = merge`
    pub merge_hashes: bool,
    pub force_handlers: bool,
    pub strategy: Option<String>,
    pub ansible_managed: Option<String>,
    pub jinja2_extensions: Vec<String>,
    pub run_tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub verbosity: Option<u8>,
    pub diff_always: bool,
    pub diff_context: Option<usize>,
    pub nocolor: bool,
    pub force_color: bool,
}

/// A setting: its variables, its places in the file, and what it means here. Earlier names win.
pub(super) type Row = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

pub(super) const INVENTORY: Row =
    (&["ANSIBLE_INVENTORY"], &[("defaults", "inventory")], "`-i`; several with commas between");
pub(super) const ROLES_PATH: Row =
    (&["ANSIBLE_ROLES_PATH"], &[("defaults", "roles_path")], "`--roles-path`; several with colons between");
pub(super) const LIBRARY: Row = (
    &["ANSIBLE_LIBRARY"],
    &[("defaults", "library")],
    "folders of modules of your own, behind `library/` beside the playbook and in roles; several with colons between",
);
pub(super) const FORKS: Row = (&["ANSIBLE_FORKS"], &[("defaults", "forks")], "`--forks`");
pub(super) const REMOTE_USER: Row = (&["ANSIBLE_REMOTE_USER"], &[("defaults", "remote_user")], "`--user`");
pub(super) const PRIVATE_KEY: Row =
    (&["ANSIBLE_PRIVATE_KEY_FILE"], &[("defaults", "private_key_file")], "`--private-key`");
pub(super) const TIMEOUT: Row = (
    &["ANSIBLE_SSH_TIMEOUT", "ANSIBLE_TIMEOUT"],
    &[("ssh_connection", "timeout"), ("defaults", "timeout")],
    "`--timeout`",
);
pub(super) const TRANSPORT: Row = (&["ANSIBLE_TRANSPORT"], &[("defaults", "transport")], "`--connection`");
pub(super) const HOST_KEYS: Row = (
    &["ANSIBLE_SSH_HOST_KEY_CHECKING", "ANSIBLE_HOST_KEY_CHECKING"],
    &[("ssh_connection", "host_key_checking"), ("defaults", "host_key_checking")],
    "`no` learns the keys of new hosts; a key that has changed is refused all the same",
);
pub(super) const SSH_ARGS: Row = (&["ANSIBLE_SSH_ARGS"], &[("ssh_connection", "ssh_args")], "options as for ssh");
pub(super) const SSH_COMMON: Row =
    (&["ANSIBLE_SSH_COMMON_ARGS"], &[("ssh_connection", "ssh_common_args")], "`--ssh-common-args`");
pub(super) const SSH_EXTRA: Row =
    (&["ANSIBLE_SSH_EXTRA_ARGS"], &[("ssh_connection", "ssh_extra_args")], "`--ssh-extra-args`");
pub(super) const ASK_PASS: Row = (&["ANSIBLE_ASK_PASS"], &[("defaults", "ask_pass")], "`--ask-pass`");
pub(super) const PASSWORD_FILE: Row = (
    &["ANSIBLE_CONNECTION_PASSWORD_FILE"],
    &[("defaults", "connection_password_file")],
    "`--connection-password-file`",
);
pub(super) const BECOME: Row = (&["ANSIBLE_BECOME"], &[("privilege_escalation", "become")], "`--become`");
pub(super) const BECOME_USER: Row =
    (&["ANSIBLE_BECOME_USER"], &[("privilege_escalation", "become_user")], "`--become-user`");
pub(super) const BECOME_METHOD: Row =
    (&["ANSIBLE_BECOME_METHOD"], &[("privilege_escalation", "become_method")], "`--become-method`");
pub(super) const BECOME_ASK: Row =
    (&["ANSIBLE_BECOME_ASK_PASS"], &[("privilege_escalation", "become_ask_pass")], "`--ask-become-pass`");
pub(super) const BECOME_FILE: Row =
    (&["ANSIBLE_BECOME_PASSWORD_FILE"], &[("defaults", "become_password_file")], "`--become-password-file`");
pub(super) const VAULT_FILE: Row =
    (&["ANSIBLE_VAULT_PASSWORD_FILE"], &[("defaults", "vault_password_file")], "`--vault-password-file`");
pub(super) const VAULT_IDS: Row = (
    &["ANSIBLE_VAULT_IDENTITY_LIST"],
    &[("defaults", "vault_identity_list")],
    "`--vault-id`, before those of the command line; several with commas between",
);
pub(super) const VAULT_ID: Row =
    (&["ANSIBLE_VAULT_IDENTITY"], &[("defaults", "vault_identity")], "the id of a password that is given without one");
pub(super) const VAULT_ENCRYPT: Row =
    (&["ANSIBLE_VAULT_ENCRYPT_IDENTITY"], &[("defaults", "vault_encrypt_identity")], "`--encrypt-vault-id`");
pub(super) const VAULT_MATCH: Row = (
    &["ANSIBLE_VAULT_ID_MATCH"],
    &[("defaults", "vault_id_match")],
    "`yes` tries passwords of the id alone that the data names",
);
pub(super) const ASK_VAULT: Row =
    (&["ANSIBLE_ASK_VAULT_PASS"], &[("defaults", "ask_vault_pass")], "`--ask-vault-pass`");
pub(super) const GATHERING: Row =
    (&["ANSIBLE_GATHERING"], &[("defaults", "gathering")], "when facts are gathered: implicit, explicit or smart");
pub(super) const STATS: Row = (
    &["ANSIBLE_SHOW_CUSTOM_STATS"],
    &[("defaults", "show_custom_stats")],
    "`yes` shows what `set_stats` kept, behind the recap",
);
pub(super) const FATAL: Row =
    (&["ANSIBLE_ANY_ERRORS_FATAL"], &[("defaults", "any_errors_fatal")], "for plays that do not say it");
pub(super) const FORCE_HANDLERS: Row =
    (&["ANSIBLE_FORCE_HANDLERS"], &[("defaults", "force_handlers")], "`--force-handlers`");
pub(super) const STRATEGY: Row =
    (&["ANSIBLE_STRATEGY"], &[("defaults", "strategy")], "for plays that name none: linear, free or host_pinned");
pub(super) const EXTENSIONS: Row = (
    &["ANSIBLE_JINJA2_EXTENSIONS"],
    &[("defaults", "jinja2_extensions")],
    "`jinja2.ext.do` and `jinja2.ext.loopcontrols` switch on `{% do %}`, and `{% break %}` and `{% continue %}`",
);
pub(super) const MANAGED: Row = (&[], &[("defaults", "ansible_managed")], "the text of `ansible_managed`");
pub(super) const RUN_TAGS: Row = (&["ANSIBLE_RUN_TAGS"], &[("tags", "run")], "`--tags`, where none are given");
pub(super) const SKIP_TAGS: Row = (&["ANSIBLE_SKIP_TAGS"], &[("tags", "skip")], "`--skip-tags`, where none are given");
pub(super) const VERBOSITY: Row = (&["ANSIBLE_VERBOSITY"], &[("defaults", "verbosity")], "`-v`, so many times");
pub(super) const DIFF: Row = (&["ANSIBLE_DIFF_ALWAYS"], &[("diff", "always")], "`--diff`");
pub(super) const DIFF_CONTEXT: Row = (&["ANSIBLE_DIFF_CONTEXT"], &[("diff", "context")], "`--diff-context`");
pub(super) const NO_COLOUR: Row = (&["ANSIBLE_NOCOLOR"], &[("defaults", "nocolor")], "`--color never`");
pub(super) const FORCE_COLOUR: Row = (&["ANSIBLE_FORCE_COLOR"], &[("defaults", "force_color")], "`--color always`");
pub(super) const MERGE: Row = (
    &["ANSIBLE_HASH_BEHAVIOUR"],
    &[("defaults", "hash_behaviour")],
    "`replace`; `merge` merges dictionaries of one name from one step of precedence to the next",
);
pub(super) const UNDEFINED: Row = (
    &["ANSIBLE_ERROR_ON_UNDEFINED_VARS"],
    &[("defaults", "error_on_undefined_vars")],
    "`yes`; `no` has no effect, as in Ansible since 2.19: what is undefined is an error",
);
pub(super) const FACT_CACHE: Row = (
    &["ANSIBLE_CACHE_PLUGIN"],
    &[("defaults", "fact_caching")],
    "`memory` or `jsonfile`, whose files Ansible can use as well; others are named in the warning",
);
const CACHE_CONNECTION: Row =
    (&["ANSIBLE_CACHE_PLUGIN_CONNECTION"], &[("defaults", "fact_caching_connection")], "the directory of `jsonfile`");
const CACHE_PREFIX: Row =
    (&["ANSIBLE_CACHE_PLUGIN_PREFIX"], &[("defaults", "fact_caching_prefix")], "what its files' names begin with");
const CACHE_TIMEOUT: Row = (
    &["ANSIBLE_CACHE_PLUGIN_TIMEOUT"],
    &[("defaults", "fact_caching_timeout")],
    "after how many seconds facts are forgotten: 86400; 0 is never",
);
pub(super) const RETRY: Row = (
    &["ANSIBLE_RETRY_FILES_ENABLED"],
    &[("defaults", "retry_files_enabled")],
    "`yes` writes the hosts that failed into PLAYBOOK.retry, for `--limit @`; `deploy resume` goes on with the run itself",
);
const RETRY_PATH: Row = (
    &["ANSIBLE_RETRY_FILES_SAVE_PATH"],
    &[("defaults", "retry_files_save_path")],
    "where these files go; beside the playbook",
);

/// Every setting that is read.
pub const TABLE: &[Row] = &[
    INVENTORY,
    ROLES_PATH,
    LIBRARY,
    FORKS,
    REMOTE_USER,
    PRIVATE_KEY,
    TIMEOUT,
    TRANSPORT,
    HOST_KEYS,
    SSH_ARGS,
    SSH_COMMON,
    SSH_EXTRA,
    ASK_PASS,
    PASSWORD_FILE,
    BECOME,
    BECOME_USER,
    BECOME_METHOD,
    BECOME_ASK,
    BECOME_FILE,
    VAULT_FILE,
    VAULT_IDS,
    VAULT_ID,
    VAULT_ENCRYPT,
    VAULT_MATCH,
    ASK_VAULT,
    GATHERING,
    STATS,
    FATAL,
    FORCE_HANDLERS,
    STRATEGY,
    EXTENSIONS,
    MANAGED,
    RUN_TAGS,
    SKIP_TAGS,
    VERBOSITY,
    DIFF,
    DIFF_CONTEXT,
    NO_COLOUR,
    FORCE_COLOUR,
    MERGE,
    UNDEFINED,
    FACT_CACHE,
    CACHE_CONNECTION,
    CACHE_PREFIX,
    CACHE_TIMEOUT,
    RETRY,
    RETRY_PATH,
];

/// What was found of a setting.
struct Given<'a> {
    text: &'a str,
    /// For messages.
    from: String,
    /// What paths in it are relative to.
    directory: PathBuf,
}

pub(super) struct Reader<'a> {
    ini: &'a Ini,
    around: &'a Surroundings<'a>,
}

impl<'a> Reader<'a> {
    /// Reads this file and these variables.
    pub(super) fn new(ini: &'a Ini, around: &'a Surroundings<'a>) -> Self {
        Reader { ini, around }
    }

    /// The variables come before the file.
    fn given(&self, row: Row) -> Option<Given<'a>> {
        let variable = row.0.iter().find_map(|name| self.around.variables.iter().find(|(known, _)| known == name));
        if let Some((name, value)) = variable {
            return Some(Given { text: value, from: name.clone(), directory: self.around.directory.to_path_buf() });
        }
        let entry = row.1.iter().find_map(|(section, key)| self.ini.get(section, key))?;
        let directory = self.ini.path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Some(Given { text: &entry.value, from: self.place(entry), directory })
    }

    fn place(&self, entry: &Entry) -> String {
        format!("{}:{}: {}", self.ini.path.display(), entry.line, entry.key)
    }

    pub(super) fn text(&self, row: Row) -> Option<String> {
        self.given(row).map(|given| unquote(given.text).to_string()).filter(|text| !text.is_empty())
    }

    fn read<T>(&self, row: Row, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.given(row).filter(|given| !given.text.trim().is_empty()) else { return Ok(None) };
        let text = unquote(given.text.trim());
        parse(text).map(Some).ok_or_else(|| ConfigError::Value {
            from: given.from,
            value: text.to_string(),
            what: what.to_string(),
        })
    }

    pub(super) fn flag(&self, row: Row) -> Result<Option<bool>, ConfigError> {
        self.read(row, "is neither yes nor no", |text| match text.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" | "1" | "y" | "t" => Some(true),
            "no" | "false" | "off" | "0" | "n" | "f" => Some(false),
            _ => None,
        })
    }

    pub(super) fn number<T: std::str::FromStr>(&self, row: Row) -> Result<Option<T>, ConfigError> {
        self.read(row, "is not a number that can be used", |text| text.parse().ok())
    }

    pub(super) fn path(&self, row: Row) -> Option<PathBuf> {
        let given = self.given(row).filter(|given| !given.text.trim().is_empty())?;
        Some(expand(unquote(given.text.trim()), self.around, &given.directory))
    }

    /// Several, with colons or ends of lines between; from where they are written.
    pub(super) fn paths(&self, row: Row) -> Option<Vec<PathBuf>> {
        let given = self.given(row)?;
        Some(paths_of(given.text, self.around, &given.directory))
    }

    pub(super) fn list(&self, row: Row) -> Vec<String> {
        let given = self.given(row);
        let words = given.iter().flat_map(|given| given.text.split([',', '\n'])).map(|word| unquote(word.trim()));
        words.filter(|word| !word.is_empty()).map(str::to_string).collect()
    }
}

impl Settings {
    /// What a file and an environment say.
    pub fn of(ini: &Ini, around: &Surroundings<'_>) -> Result<Settings, ConfigError> {
        let reader = Reader::new(ini, around);
        let mut settings = Settings {
            forks: reader.read(FORKS, "is not a number from 1 on", |text| text.parse().ok().filter(|n| *n > 0))?,
            remote_user: reader.text(REMOTE_USER),
            private_key_file: reader.path(PRIVATE_KEY),
            timeout: reader.number(TIMEOUT)?,
            transport: reader.text(TRANSPORT),
            host_key_checking: reader.flag(HOST_KEYS)?,
            ssh_args: reader.text(SSH_ARGS),
            ssh_common_args: reader.text(SSH_COMMON),
            ssh_extra_args: reader.text(SSH_EXTRA),
            ask_pass: reader.flag(ASK_PASS)?.unwrap_or(false),
            connection_password_file: reader.path(PASSWORD_FILE),
            become_: reader.flag(BECOME)?.unwrap_or(false),
            become_user: reader.text(BECOME_USER),
            become_method: reader.text(BECOME_METHOD),
            become_ask_pass: reader.flag(BECOME_ASK)?.unwrap_or(false),
            become_password_file: reader.path(BECOME_FILE),
            vault_password_file: reader.path(VAULT_FILE),
            vault_identity: reader.text(VAULT_ID),
            vault_encrypt_identity: reader.text(VAULT_ENCRYPT),
            vault_id_match: reader.flag(VAULT_MATCH)?.unwrap_or(false),
            ask_vault_pass: reader.flag(ASK_VAULT)?.unwrap_or(false),
            show_custom_stats: reader.flag(STATS)?.unwrap_or(false),
            any_errors_fatal: reader.flag(FATAL)?.unwrap_or(false),
            force_handlers: reader.flag(FORCE_HANDLERS)?.unwrap_or(false),
            ansible_managed: reader.text(MANAGED),
            jinja2_extensions: reader.list(EXTENSIONS),
            run_tags: reader.list(RUN_TAGS),
            skip_tags: reader.list(SKIP_TAGS),
            verbosity: reader.number(VERBOSITY)?,
            diff_always: reader.flag(DIFF)?.unwrap_or(false),
            diff_context: reader.number(DIFF_CONTEXT)?,
            nocolor: reader.flag(NO_COLOUR)?.unwrap_or(false),
            force_color: reader.flag(FORCE_COLOUR)?.unwrap_or(false),
            ..Settings::default()
        };
        if let Some(given) = reader.given(INVENTORY) {
            // A list of hosts (`a,b,`) is one source, as on the command line; else each is a file.
            let words = reader.list(INVENTORY);
            let hosts = given.text.trim_end().ends_with(',');
            settings.inventory = match hosts {
                true => vec![given.text.trim().to_string()],
                false => words
                    .iter()
                    .map(|word| expand(word, around, &given.directory).to_string_lossy().into_owned())
                    .collect(),
            };
        }
        settings.roles_path = reader.paths(ROLES_PATH);
        settings.library = reader.paths(LIBRARY).unwrap_or_default();
        if let Some(given) = reader.given(VAULT_IDS) {
            settings.vault_identity_list =
                reader.list(VAULT_IDS).iter().map(|id| identity(id, around, &given.directory)).collect();
        }
        settings.gathering = reader
            .read(GATHERING, "is not implicit, explicit or smart", |text| match text {
                "implicit" => Some(Gathering::Implicit),
                "explicit" => Some(Gathering::Explicit),
                "smart" => Some(Gathering::Smart),
                _ => None,
            })?
            .unwrap_or_default();
        settings.strategy = reader.read(STRATEGY, "is not linear, free or host_pinned", |text| {
            let short = text.rsplit('.').next().unwrap_or(text);
            matches!(short, "linear" | "free" | "host_pinned").then(|| short.to_string())
        })?;
        settings.merge_hashes = reader
            .read(MERGE, "is neither replace nor merge", |text| match text {
                "replace" => Some(false),
                "merge" => Some(true),
                _ => None,
            })?
            .unwrap_or(false);
        if reader.flag(UNDEFINED)? == Some(false) {
            let from = reader.given(UNDEFINED).map(|given| given.from).unwrap_or_default();
            settings.warnings.push(format!(
                "{from}: `no` has no effect: what is undefined is an error, and the filter `default` says what else"
            ));
        }
        match reader.text(FACT_CACHE).as_deref().map(|kind| kind.strip_prefix("ansible.builtin.").unwrap_or(kind)) {
            None | Some("memory") => {}
            Some("jsonfile") => {
                let seconds = reader.read(CACHE_TIMEOUT, "is not a number of seconds", |text| text.parse().ok())?;
                let Some(directory) = reader.path(CACHE_CONNECTION) else {
                    let from = reader.given(FACT_CACHE).map(|given| given.from).unwrap_or_default();
                    let what = "needs a directory: fact_caching_connection".into();
                    return Err(ConfigError::Value { from, value: "jsonfile".into(), what });
                };
                let prefix = reader.text(CACHE_PREFIX).unwrap_or_default();
                settings.fact_cache = Some((directory, prefix, Duration::from_secs(seconds.unwrap_or(86400))));
            }
            Some(kind) => {
                let why = format!("fact_caching = {kind} has no effect: facts are kept in memory or in a jsonfile");
                settings.warnings.push(why);
            }
        }
        settings.retry_files = reader.flag(RETRY)?.unwrap_or(false).then(|| reader.path(RETRY_PATH));
        settings.warnings.extend(unused(ini, around));
        Ok(settings)
    }
}

/// Names what is said and has no effect, all in one sentence.
fn unused(ini: &Ini, around: &Surroundings<'_>) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in &ini.entries {
        let known = |row: &Row| row.1.iter().any(|(section, key)| *section == entry.section && *key == entry.key);
        if !TABLE.iter().any(known) {
            names.push(format!("[{}] {}", entry.section, entry.key));
        }
    }
    let in_file = !names.is_empty();
    for (name, _) in &around.variables {
        let known = name == "ANSIBLE_CONFIG" || TABLE.iter().any(|row| row.0.contains(&name.as_str()));
        if name.starts_with("ANSIBLE_") && !known {
            names.push(name.clone());
        }
    }
    names.sort();
    names.dedup();
    let place = match in_file {
        true => ini.path.display().to_string(),
        false => "the environment".to_string(),
    };
    let verb = if names.len() == 1 { "has" } else { "have" };
    (!names.is_empty()).then(|| format!("{place}: {} {verb} no effect here", names.join(", ")))
}

/// A vault identity, whose source may be a path.
fn identity(text: &str, around: &Surroundings<'_>, directory: &Path) -> String {
    let (label, source) = match text.split_once('@') {
        Some((label, source)) => (Some(label), source),
        None => (None, text),
    };
    let source = match source {
        "prompt" | "prompt_ask_vault_pass" => source.to_string(),
        path => expand(path, around, directory).to_string_lossy().into_owned(),
    };
    label.map(|label| format!("{label}@{source}")).unwrap_or(source)
}

/// Paths with colons or ends of lines between; relative ones are of this directory.
pub(super) fn paths_of(text: &str, around: &Surroundings<'_>, directory: &Path) -> Vec<PathBuf> {
    let words = text.split([':', '\n']).map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| expand(unquote(word), around, directory)).collect()
}

/// A path with `~`, `$VARIABLES` and `{{CWD}}` replaced; a relative one is of this directory.
pub(super) fn expand(text: &str, around: &Surroundings<'_>, directory: &Path) -> PathBuf {
    let text = text.replace("{{CWD}}", &around.directory.to_string_lossy());
    let text = match (text.strip_prefix('~'), &around.home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{}{rest}", home.display()),
        _ => text,
    };
    let mut whole = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (after.get(..end).unwrap_or_default(), end)
            }
        };
        match around.variables.iter().find(|(known, _)| known == name) {
            Some((_, value)) => whole.push_str(value),
            None => whole.push_str(rest.get(before.len()..before.len() + 1 + length).unwrap_or_default()),
        }
        rest = after.get(length..).unwrap_or_default();
    }
    whole.push_str(rest);
    directory.join(whole)
}

/// As Ansible takes a value that is in quotes.
fn unquote(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}
