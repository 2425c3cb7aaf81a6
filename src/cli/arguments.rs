//! The command line: the options of `ansible-playbook` under the same names, and subcommands for other jobs.

use crate::engine::IfLocked;
use crate::report::{DiffOptions, Layout};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs Ansible-style playbooks over SSH, with a preview that can be trusted.
///
/// Without a subcommand the playbooks named are run, `playbooks/site.yml` when none is. A first word that is a
/// subcommand is one; a playbook is what ends in .yml, .yaml or .json or contains `/`.
///
/// Where OTEL_EXPORTER_OTLP_ENDPOINT is set, a trace of the run is sent there at its end.
#[derive(Debug, Parser)]
#[command(
    name = "deploy",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    max_term_width = 110
)]
pub struct Arguments {
    /// The default: run playbooks.
    #[command(flatten)]
    pub run: RunArguments,
    /// Another job.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Other jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the inventory, as `ansible-inventory` does.
    Inventory(InventoryArguments),
    /// Show what a module does and which arguments it takes.
    Doc(DocArguments),
    /// Tell everything that is wrong in a tree of playbooks, roles and inventories, at once and without a connection.
    ///
    /// `# noqa: RULE` on a line, or on the first line of a task, keeps a rule quiet there. Exit code: 0 for nothing or notes,
    /// 1 for warnings, 2 for errors, 4 when a path cannot be read. See docs/lint.md.
    Lint(Box<super::lint::LintArguments>),
    /// Print a JSON Schema of playbooks, files of tasks, inventories or variables, for editors.
    ///
    /// Made from the program's own tables of keywords, modules and arguments. docs/lint.md says how an editor is told.
    Schema(super::schema::SchemaArguments),
    /// Certificate authorities and certificates.
    Pki(super::pki::PkiArgs),
    /// Encrypt, decrypt, edit, view and rekey files and values, as `ansible-vault` does.
    ///
    /// See docs/vault.md.
    Vault(Box<super::vault::arguments::VaultArguments>),
    /// Undo on its hosts what a run changed.
    Rollback(Box<RollbackArguments>),
    /// Show the clusters of the inventory: the gate's verdict, each member, locks, what is owed, the last runs.
    ///
    /// Exit code: 0 when every cluster's gate is open, 1 when one is closed, 4 when the inventory cannot be read.
    Status(StatusArguments),
    /// List the runs of this controller, or show one.
    Runs(RunsArguments),
    /// Go on with a run that did not come to its end, with the same arguments.
    ///
    /// Hosts of rolling plays whose turn came to its good end are left out, if they still are as it left them; everything
    /// else is run again. Nothing that a host said to the earlier run is believed: hosts are asked anew.
    Resume(ResumeArguments),
    /// Let a job run by itself: a timer of systemd that renews certificates when they are due, or runs other playbooks.
    ///
    /// Writes a service and a timer for the project in this folder, and starts the timer. What the service runs is `deploy
    /// schedule run`, which says nothing when nothing was done. See docs/schedule.md.
    Schedule(Box<super::schedule::ScheduleArgs>),
    /// Carry out a plan of `deploy --check --out FILE`: exactly that, or nothing.
    ///
    /// Playbooks, variables and program must be those of the plan, and every host is checked anew first. A host on which
    /// the check shows something else than the plan has moved, and is refused. Exit code: 12 when nothing was done because
    /// the plan was refused; otherwise that of the run.
    Apply(ApplyArguments),
    /// Show a plan, as its check was shown.
    Show(ShowArguments),
    /// Look whether hosts are still as the playbooks say; nothing is changed.
    ///
    /// Exit code: 0 when they are, 10 when something differs, 11 when nothing seems to differ but not everything could be
    /// told; others as for a run.
    Drift(Box<DriftArguments>),
    /// Remove a cluster's lock whose run is gone. A lock whose heartbeats still come is not removed.
    Unlock(UnlockArguments),
}

/// Names of the subcommands.
pub fn subcommands() -> Vec<String> {
    use clap::CommandFactory;
    Arguments::command().get_subcommands().map(|command| command.get_name().to_string()).collect()
}

/// Options of a run that a subcommand takes over with the others, and that would mean nothing there.
const MEANINGLESS: &[(&str, &[&str])] = &[
    ("drift", &["out", "sign", "list_tasks", "list_hosts", "list_tags", "syntax_check", "step", "verbose"]),
    ("rollback", &["out", "sign"]),
];

/// Reads the command line.
///
/// # Errors
/// It cannot be read, help was asked for, or an option has no meaning for its subcommand: that is never passed over in silence.
pub fn parse<W: Into<std::ffi::OsString> + Clone>(
    words: impl IntoIterator<Item = W>,
) -> Result<Arguments, clap::Error> {
    use clap::{CommandFactory, FromArgMatches, parser::ValueSource};
    let hidden = |command: clap::Command, ids: &[&'static str]| {
        ids.iter().fold(command, |command, id| {
            command.mut_arg(*id, |arg| arg.hide(true).requires(clap::builder::Resettable::Reset))
        })
    };
    let mut command = MEANINGLESS
        .iter()
        .fold(Arguments::command(), |command, (name, ids)| command.mut_subcommand(*name, |sub| hidden(sub, ids)));
    let matches = command.try_get_matches_from_mut(words)?;
    if let Some((name, given)) = matches.subcommand()
        && let Some((_, ids)) = MEANINGLESS.iter().find(|(other, _)| *other == name)
        && let Some(id) = ids.iter().find(|id| given.value_source(id) == Some(ValueSource::CommandLine))
    {
        let message = format!("`--{}` has no meaning for `deploy {name}`", id.replace('_', "-"));
        return Err(command.error(clap::error::ErrorKind::UnknownArgument, message));
    }
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "it must be a number, and at least 1".into())
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON event a line.
    Json,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What inventories and secrets are read with.
#[derive(Clone, Debug, Default, Args)]
pub struct SourceArguments {
    /// Inventory file, directory, executable, or a list of hosts with a comma in it; may be given several times
    /// [default: inventory/]
    #[arg(
        short = 'i',
        long = "inventory",
        alias = "inventory-file",
        value_name = "INVENTORY",
        env = "DEPLOY_INVENTORY"
    )]
    pub inventory: Vec<String>,
    /// Only these hosts of those selected: a host pattern, or @FILE
    #[arg(short = 'l', long, value_name = "SUBSET")]
    pub limit: Vec<String>,
    /// File with the vault password, or a program that prints it; may be given several times
    #[arg(long = "vault-password-file", alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// A vault identity: LABEL@FILE or LABEL@prompt
    #[arg(long = "vault-id", value_name = "ID")]
    pub vault_id: Vec<String>,
    /// Ask for the vault password
    #[arg(short = 'J', long = "ask-vault-pass", alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

/// What hosts, variables and secrets are taken from, and how hosts are reached.
#[derive(Clone, Debug, Default, Args)]
pub struct AccessArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sources: SourceArguments,
    /// Variables: key=value words, YAML or JSON, or @FILE; may be given several times
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// Ask for the become password
    #[arg(short = 'K', long = "ask-become-pass")]
    pub ask_become_pass: bool,
    /// File with the become password
    #[arg(long = "become-password-file", alias = "become-pass-file", value_name = "FILE")]
    pub become_password_file: Option<PathBuf>,
    /// sudo, su or doas
    #[arg(long = "become-method", value_name = "METHOD")]
    pub become_method: Option<String>,
    /// Log in as this user
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub user: Option<String>,
    /// Ask for the login password
    #[arg(short = 'k', long = "ask-pass")]
    pub ask_pass: bool,
    /// File with the login password
    #[arg(long = "connection-password-file", alias = "conn-pass-file", value_name = "FILE")]
    pub connection_password_file: Option<PathBuf>,
    /// Private key to log in with
    #[arg(long = "private-key", alias = "key-file", value_name = "FILE")]
    pub private_key: Option<PathBuf>,
    /// Seconds to wait for a connection [default: 10]
    #[arg(short = 'T', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Options as for ssh (-o, -J, -i, -p, -F), for every connection
    #[arg(long = "ssh-common-args", value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// Further options as for ssh
    #[arg(long = "ssh-extra-args", value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// ssh or local
    #[arg(short = 'c', long, value_name = "CONNECTION")]
    pub connection: Option<String>,
}

/// How texts before and after are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiffStyle {
    /// By key where that tells all (YAML, JSON, option files), otherwise unified.
    #[default]
    Auto,
    /// As patches are.
    Unified,
    /// Before on the left, after on the right, as wide as the terminal.
    SideBySide,
}

/// How what is shown is shown.
#[derive(Clone, Debug, Default, Args)]
pub struct DisplayArguments {
    /// Lines shown around those that changed [default: 3]
    #[arg(long = "diff-context", value_name = "N")]
    pub diff_context: Option<usize>,
    /// How diffs are set
    #[arg(long = "diff-style", value_name = "STYLE", default_value = "auto")]
    pub diff_style: DiffStyle,
    /// Show no pager (DEPLOY_PAGER, PAGER or less): on a terminal, previews (--check --diff), plans, drift and what has moved
    /// since a plan go through it when they fill more than a screen
    #[arg(long = "no-pager")]
    pub no_pager: bool,
}

impl DisplayArguments {
    /// How diffs are drawn.
    pub fn diffs(&self) -> DiffOptions {
        let usual = DiffOptions::default();
        DiffOptions {
            context: self.diff_context.unwrap_or(usual.context),
            layout: match self.diff_style {
                DiffStyle::Auto => Layout::Auto,
                DiffStyle::Unified => Layout::Unified,
                DiffStyle::SideBySide => Layout::SideBySide,
            },
            width: super::pager::screen().map_or(usual.width, |(columns, _)| columns),
        }
    }
}

/// Options of a run.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArguments {
    /// Playbooks, in order [default: playbooks/site.yml]
    #[arg(value_name = "PLAYBOOK")]
    pub playbooks: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArguments,
    /// Only plays and tasks with these tags
    #[arg(short = 't', long, value_name = "TAGS")]
    pub tags: Vec<String>,
    /// Only plays and tasks without these tags
    #[arg(long = "skip-tags", value_name = "TAGS")]
    pub skip_tags: Vec<String>,
    /// Predict what would be changed, and change nothing
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Which commands a check runs: none, declared (their tasks say `changed_when: false` or `check_mode: false`), or all
    /// (also those whose words show that they can only read)
    #[arg(long, value_name = "WHICH", default_value = "declared")]
    pub probes: ProbesWanted,
    /// In a check: download nothing and look into no archive; what depends on it is unknown
    #[arg(long = "no-fetch")]
    pub no_fetch: bool,
    /// Show what is changed, contents as diffs
    #[arg(short = 'D', long)]
    pub diff: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub display: DisplayArguments,
    /// Show whole results (-v)
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub verbose: u8,
    /// At most this many hosts at work at a time [default: no limit]
    #[arg(short = 'f', long, value_name = "N", value_parser = at_least_one)]
    pub forks: Option<usize>,
    /// Become another user (root, unless --become-user says otherwise)
    #[arg(short = 'b', long = "become")]
    pub become_: bool,
    /// The user to become
    #[arg(long = "become-user", value_name = "USER")]
    pub become_user: Option<String>,
    /// Start at the task of this name
    #[arg(long = "start-at-task", value_name = "NAME")]
    pub start_at_task: Option<String>,
    /// Ask before each task
    #[arg(long)]
    pub step: bool,
    /// Forget the facts that earlier runs have kept (`fact_caching`)
    #[arg(long = "flush-cache")]
    pub flush_cache: bool,
    /// Run notified handlers even of hosts where a task failed
    #[arg(long = "force-handlers")]
    pub force_handlers: bool,
    /// Not a run: no playbook is read.
    #[arg(skip)]
    pub bare: bool,
    /// When another run has the cluster or a host: wait, wait:TIME (90s, 15m, 2h), leave or fail [default: a cluster
    /// is not waited for, a host is]
    #[arg(long = "if-locked", value_name = "WHAT")]
    pub if_locked: Option<IfLocked>,
    /// The same as --if-locked wait:SECONDS
    #[arg(long = "lock-wait", value_name = "SECONDS", conflicts_with = "if_locked")]
    pub lock_wait: Option<u64>,
    /// List the tasks that would run, and do nothing
    #[arg(long = "list-tasks")]
    pub list_tasks: bool,
    /// List the hosts that would be touched, and do nothing
    #[arg(long = "list-hosts")]
    pub list_hosts: bool,
    /// List the tags there are, and do nothing
    #[arg(long = "list-tags")]
    pub list_tags: bool,
    /// Check the playbooks without connecting to any host
    #[arg(long = "syntax-check")]
    pub syntax_check: bool,
    /// Where else roles are looked for, with colons between [env: ANSIBLE_ROLES_PATH]
    #[arg(long = "roles-path", value_name = "PATHS")]
    pub roles_path: Option<String>,
    /// How to write what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
    /// Write the run down at its end: .html (one page that needs nothing else), .xml (JUnit) or .md (Markdown), contents with
    /// --diff; may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<PathBuf>,
    /// With --check: keep what is shown as a plan, for `deploy apply`
    #[arg(long, value_name = "FILE", requires = "check")]
    pub out: Option<PathBuf>,
    /// Sign the plan with this SSH key (by ssh-keygen; a public key's file means the agent's key)
    #[arg(long, value_name = "KEY", requires = "out")]
    pub sign: Option<PathBuf>,
    /// Exit with 10 when something was or would be changed, and with 11 when a check could not tell everything
    #[arg(long = "detailed-exitcode")]
    pub detailed_exitcode: bool,
}

impl RunArguments {
    /// What to do when another run has what this one needs, where that was said.
    pub fn if_locked(&self) -> Option<IfLocked> {
        let waited = self.lock_wait.map(|seconds| IfLocked::Wait(Some(std::time::Duration::from_secs(seconds))));
        self.if_locked.or(waited)
    }
}

impl From<AccessArguments> for RunArguments {
    /// A command that runs no playbook looks as root.
    fn from(access: AccessArguments) -> RunArguments {
        RunArguments { access, become_: true, bare: true, ..RunArguments::default() }
    }
}

/// Which commands a check runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProbesWanted {
    /// Those whose tasks say so.
    #[default]
    Declared,
    /// Those that can only read, too.
    All,
    /// None.
    None,
}

/// How a command writes what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// Options of `deploy status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArguments,
    /// A cluster's group; may be given several times [default: the groups that `galera_group` names, and `galera`]
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// Arbitrators that the cluster has beside its hosts [default: the variable `galera_arbitrators`, or none]
    #[arg(long, value_name = "N")]
    pub arbitrators: Option<u32>,
    /// One look without certificates and option files, instead of two a second apart
    #[arg(long)]
    pub quick: bool,
    /// How to write what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Shape,
}

/// Options of `deploy unlock`.
#[derive(Clone, Debug, Args)]
pub struct UnlockArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArguments,
    /// A cluster's group; may be given several times [default: the groups that `galera_group` names, and `galera`]
    #[arg(short = 'g', long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
    /// The cluster, as its lock calls it [default: every one that is locked]
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,
}

/// Options of `deploy runs`.
#[derive(Clone, Debug, Args)]
pub struct RunsArguments {
    /// The run: its name, the beginning or end of it, or `last`; all runs are listed when none is named
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub number: usize,
    /// Strike off what this run owes, because it was put right by other means
    #[arg(long, requires = "run")]
    pub forgive: bool,
    /// How to write what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Shape,
}

/// Options of `deploy resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArguments {
    /// The run: its name, the beginning or end of it, or `last`
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Go on although playbooks or inventories have changed since
    #[arg(long = "force-changed")]
    pub force_changed: bool,
    /// Variables in addition to those of the run: secrets are not kept in its journal
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// When another run has the cluster or a host: wait, wait:TIME, leave or fail
    #[arg(long = "if-locked", value_name = "WHAT")]
    pub if_locked: Option<IfLocked>,
    /// The same as --if-locked wait:SECONDS
    #[arg(long = "lock-wait", value_name = "SECONDS", conflicts_with = "if_locked")]
    pub lock_wait: Option<u64>,
}

/// What becomes of a plan when a host has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnMoved {
    /// Nothing is done on any host.
    #[default]
    Stop,
    /// The others are gone on with.
    Skip,
}

/// Options of `deploy apply`.
#[derive(Clone, Debug, Args)]
pub struct ApplyArguments {
    /// The plan
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// Ask for a signature (FILE.sig) of somebody in this file, as ssh-keygen(1) describes it under ALLOWED SIGNERS
    #[arg(long = "allowed-signers", value_name = "SIGNERS", env = "DEPLOY_ALLOWED_SIGNERS")]
    pub allowed_signers: Option<PathBuf>,
    /// What to do when a host is not as the plan saw it
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub moved: OnMoved,
    /// A task of which the check could not tell, and that may be run all the same; may be given several times
    #[arg(long = "allow-unknown", value_name = "TASK")]
    pub allow_unknown: Vec<String>,
    /// The variables with secrets that the check was given: they are not kept in the plan
    #[arg(short = 'e', long = "extra-vars", value_name = "VARS")]
    pub extra_vars: Vec<String>,
    /// Seconds to wait for a cluster that another run has locked, instead of giving up at once
    #[arg(long = "lock-wait", value_name = "SECONDS")]
    pub lock_wait: Option<u64>,
    /// How to write what happens
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
    /// Write the run down at its end: .html, .xml (JUnit) or .md (Markdown); may be given several times
    #[arg(long = "report", value_name = "FILE")]
    pub reports: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub display: DisplayArguments,
}

/// Options of `deploy show`.
#[derive(Clone, Debug, Args)]
pub struct ShowArguments {
    /// The plan
    #[arg(value_name = "FILE")]
    pub plan: PathBuf,
    /// Show whole results (-v)
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub verbose: u8,
    /// How to write it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Colour,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub display: DisplayArguments,
}

/// Options of `deploy drift`: those of a run.
#[derive(Clone, Debug, Args)]
pub struct DriftArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: RunArguments,
}

/// Options of `deploy inventory`.
#[derive(Clone, Debug, Args)]
pub struct InventoryArguments {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sources: SourceArguments,
    /// All groups and hosts with their variables, as JSON
    #[arg(long, group = "action")]
    pub list: bool,
    /// The variables of one host, as JSON
    #[arg(long, value_name = "HOST", group = "action")]
    pub host: Option<String>,
    /// The groups as a tree
    #[arg(long, group = "action")]
    pub graph: bool,
    /// Show variables in the tree
    #[arg(long)]
    pub vars: bool,
    /// Where group_vars and host_vars of the playbook are [default: playbooks/ when it exists]
    #[arg(long = "playbook-dir", value_name = "DIR")]
    pub playbook_dir: Option<PathBuf>,
    /// The group the tree starts from
    #[arg(value_name = "GROUP", default_value = "all")]
    pub group: String,
}

/// What `deploy rollback` does with units that the run started, stopped, restarted or reloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum RollbackUnits {
    /// Bring them back to their state before; database servers are left to their cluster.
    #[default]
    Restore,
    /// Database servers too.
    All,
    /// Leave them as they are.
    Leave,
}

impl RollbackUnits {
    /// The module's word for it.
    pub fn word(self) -> &'static str {
        match self {
            RollbackUnits::Restore => "restore",
            RollbackUnits::All => "all",
            RollbackUnits::Leave => "leave",
        }
    }
}

/// Options of `deploy rollback`: its own, and those of a run.
#[derive(Clone, Debug, Args)]
#[command(mut_arg("playbooks", |playbooks| playbooks.hide(true)))]
pub struct RollbackArguments {
    /// The run; the beginning of its name is enough, and `last` is the newest
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Only these hosts instead of all that the run had; may be given several times
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub host: Vec<String>,
    /// Put back also what somebody else has changed since
    #[arg(long)]
    pub force: bool,
    /// What to do with units that the run started, stopped, restarted or reloaded
    #[arg(long, value_name = "WHAT", default_value = "restore")]
    pub units: RollbackUnits,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub options: RunArguments,
}

/// Options of `deploy doc`.
#[derive(Clone, Debug, Args)]
pub struct DocArguments {
    /// The module; all modules are listed when none is named
    #[arg(value_name = "MODULE")]
    pub module: Option<String>,
    /// List all modules
    #[arg(long)]
    pub list: bool,
    /// Write a page for each module into this folder
    #[arg(long, value_name = "DIR")]
    pub pages: Option<PathBuf>,
    /// Print all names that are known, as JSON: keywords of each place, filters, tests, lookups, modules
    #[arg(long, conflicts_with_all = ["module", "list", "pages"])]
    pub names: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_meaning_for_a_subcommand_is_refused() {
        for (line, expected) in [
            ("drift --out x", Some("`--out` has no meaning for `deploy drift`")),
            ("drift --check --out x", Some("`--out` has no meaning for `deploy drift`")),
            ("drift site.yml --list-tasks", Some("`--list-tasks` has no meaning")),
            ("drift --syntax-check", Some("`--syntax-check`")),
            ("drift --step", Some("`--step`")),
            ("drift -vv", Some("`--verbose`")),
            ("rollback last --check --out x", Some("`--out` has no meaning for `deploy rollback`")),
            ("apply x --out y", Some("unexpected argument '--out'")),
            ("show x --report r.html", Some("unexpected argument '--report'")),
            ("drift site.yml --check --diff --report r.html --no-pager --limit db1 --format json", None),
            ("rollback last --check --report r.md -v", None),
            ("apply x --no-pager --report r.html", None),
            ("--check --out x -v", None),
        ] {
            let told = parse(std::iter::once("deploy").chain(line.split(' '))).map_err(|error| error.to_string());
            match expected {
                Some(expected) => assert!(told.as_ref().is_err_and(|why| why.contains(expected)), "{line}: {told:?}"),
                None => assert!(told.is_ok(), "{line}: {told:?}"),
            }
        }
        let help = parse(["deploy", "drift", "--help"]).unwrap_err().to_string();
        assert!(help.contains("--report") && !help.contains("--list-tasks"), "{help}");
    }
}
