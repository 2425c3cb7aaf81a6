//! `git`: a repository, cloned and kept at a version.

use super::git_archive::Archive;
use super::git_calls::Git;
use crate::machine::{Command, Machine, MachineError};
use crate::modules::commands::words;
use crate::modules::files::common::{Step, begin, expand};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// `ansible.builtin.git`
pub const GIT: Module = Module {
    name: "ansible.builtin.git",
    aliases: &["git", "ansible.legacy.git"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Arguments::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

crate::arguments! {
    /// Clones a repository, and keeps it at a version, by the host's own `git`.
    ///
    /// A check asks the repository which version it would be (`git ls-remote`) and changes nothing; with `--no-fetch` that is
    /// unknown. What git changes cannot be undone by a rollback, but by another `version`.
    pub struct Arguments {
        /// The repository's address.
        #[serde(alias = "name")]
        pub repo: Text,
        /// Where it is kept on the host. Needed unless `clone: false`.
        pub dest: Option<Text>,
        /// A branch, a tag, a commit's full hash, or `HEAD`.
        pub version: Option<Text>,
        /// What the address is called in the repository: `origin`.
        pub remote: Option<Text>,
        /// More to fetch.
        pub refspec: Option<Text>,
        /// A repository of the host whose objects are used.
        pub reference: Option<Text>,
        /// Throw away what was changed in tracked files.
        #[serde(default)]
        pub force: Flag,
        /// How many commits are fetched.
        pub depth: Option<Int>,
        /// Clone what is not there; otherwise only tell its version.
        #[serde(default = "Flag::yes")]
        pub clone: Flag,
        /// Bring what is there up to date.
        #[serde(default = "Flag::yes")]
        pub update: Flag,
        /// The version must have a good signature.
        #[serde(default)]
        pub verify_commit: Flag,
        /// Fingerprints of keys that may have signed it.
        #[serde(alias = "gpg_whitelist")]
        pub gpg_allowlist: Option<TextList>,
        /// Believe any key of the server, a changed one too.
        #[serde(default)]
        pub accept_hostkey: Flag,
        /// Believe the key of a server that is not known yet.
        #[serde(default)]
        pub accept_newhostkey: Flag,
        /// A key of the host for ssh.
        pub key_file: Option<Text>,
        /// More words for ssh.
        pub ssh_opts: Option<Text>,
        /// The program.
        pub executable: Option<Text>,
        /// Without a working tree.
        #[serde(default)]
        pub bare: Flag,
        /// With submodules.
        #[serde(default = "Flag::yes")]
        pub recursive: Flag,
        /// Only this branch.
        #[serde(default)]
        pub single_branch: Flag,
        /// Submodules at the newest version of their branch.
        #[serde(default)]
        pub track_submodules: Flag,
        /// Not supported yet: an error.
        pub umask: Option<Value>,
        /// A file of the host into which the version is packed, too: its name ends in `.zip`, `.tar`, `.tar.gz` or `.tgz`.
        pub archive: Option<Text>,
        /// What comes before every name in the archive: `project/`.
        pub archive_prefix: Option<Text>,
        /// Where the repository itself is, apart from its working tree. Not supported yet: an error.
        pub separate_git_dir: Option<Text>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Arguments = decode(arguments)?;
    begin(machine, context);
    for (name, given) in
        [("umask", arguments.umask.is_some()), ("separate_git_dir", arguments.separate_git_dir.is_some())]
    {
        if given {
            return Err(ModuleError::argument(name, "not supported yet"));
        }
    }
    let archive = Archive::of(arguments.archive.as_deref(), arguments.archive_prefix.as_deref(), machine)?;
    if arguments.accept_hostkey.0 && arguments.accept_newhostkey.0 {
        let why = "parameters are mutually exclusive: accept_hostkey|accept_newhostkey";
        return Err(ModuleError::Failed(why.into()));
    }
    let verified = arguments.verify_commit.0;
    if verified && (arguments.bare.0 || !arguments.update.0) {
        let why = "verify_commit verifies what is checked out: it goes with neither bare: true nor update: false";
        return Err(ModuleError::Failed(why.into()));
    }
    if !verified && arguments.gpg_allowlist.as_ref().is_some_and(|list| !list.0.is_empty()) {
        let why = "gpg_allowlist has no effect without verify_commit: true";
        return Err(ModuleError::Failed(why.into()));
    }
    let dest = arguments.dest.as_deref().map(|dest| expand(machine, dest)).transpose()?;
    if dest.is_none() && arguments.clone.0 {
        return Err(ModuleError::Failed("the destination directory must be specified unless clone=no".into()));
    }
    let program = match arguments.executable.as_deref() {
        Some(program) => expand(machine, program)?.display().to_string(),
        None => "git".to_string(),
    };
    if !machine.has_program(&program) {
        if machine.foresees_anything() {
            return Err(MachineError::unknown("git is not there yet, and may be when this is applied").into());
        }
        return Err(ModuleError::Failed(format!("Failed to find required executable \"{program}\" in paths")));
    }
    let repo = arguments.repo.0.clone();
    let local = if repo.starts_with('/') || repo.starts_with("~") { Some(expand(machine, &repo)?) } else { None };
    let repo = local.map_or(repo, |path| format!("file://{}", path.display()));
    let git = Git {
        repo,
        version: arguments.version.as_ref().map_or_else(|| "HEAD".into(), |version| version.0.clone()),
        remote: arguments.remote.as_ref().map_or_else(|| "origin".into(), |remote| remote.0.clone()),
        dest: dest.unwrap_or_default(),
        ssh: ssh(&arguments, machine)?,
        program,
        arguments: &arguments,
    };
    let outcome = work(&git, machine)?;
    // Without a clone there is nothing to pack.
    if let Some(archive) = archive
        && (arguments.clone.0 || git.is_there(machine)?)
    {
        archive.pack(&git, machine, &outcome)?;
    }
    Ok(outcome)
}

/// What git calls for ssh.
fn ssh(arguments: &Arguments, machine: &Machine) -> Step<String> {
    let own = |name: &str| machine.environment.get(name).cloned().or_else(|| std::env::var(name).ok());
    let words = own("GIT_SSH").or_else(|| own("GIT_SSH_COMMAND")).unwrap_or_else(|| "ssh".into());
    let key = arguments.key_file.as_deref().map(|key| expand(machine, key)).transpose()?;
    Ok(ssh_words(words, arguments, key.as_deref()))
}

/// A command for ssh with what the task adds to it, as the shell reads it that git gives it to.
fn ssh_words(mut command: String, arguments: &Arguments, key: Option<&Path>) -> String {
    let mut add = |more: &str| {
        let (there, wanted) = (words::split(&command).unwrap_or_default(), words::split(more).unwrap_or_default());
        if wanted.is_empty() || !there.windows(wanted.len()).any(|some| some == wanted) {
            command.push(' ');
            command.push_str(more);
        }
    };
    arguments.ssh_opts.iter().for_each(|given| add(given));
    if arguments.accept_hostkey.0 {
        add("-o StrictHostKeyChecking=no");
    }
    if arguments.accept_newhostkey.0 {
        add("-o StrictHostKeyChecking=accept-new");
    }
    add("-o BatchMode=yes");
    if let Some(key) = key {
        add(&format!("-i {}", words::quote(&key.display().to_string())));
        add("-o IdentitiesOnly=yes");
    }
    command
}

fn work(git: &Git<'_>, machine: &mut Machine) -> Step<Outcome> {
    let arguments = git.arguments;
    let there = git.is_there(machine)?;
    let mut outcome = Outcome::ok().with("before", Value::Null);
    if !there {
        if machine.predicted() || !arguments.clone.0 {
            git.may_ask(machine)?;
            let after = git.remote_head(machine, true, false)?;
            if arguments.clone.0 {
                machine.foresee_tool(&git.dest, format!("cloned at {after}"), None)?;
            } else if !machine.predicted() {
                // Ansible calls it changed; nothing is.
                return Ok(outcome.with("after", after));
            }
            return Ok(outcome.with("after", after));
        }
        git.clone(machine)?;
    } else if !arguments.update.0 {
        let before = git.head(machine)?;
        return Ok(outcome.with("before", before.clone()).with("after", before));
    } else {
        return update(git, machine, outcome);
    }
    if !arguments.bare.0 {
        git.switch(machine)?;
    }
    if git.submodules(machine)? {
        outcome = outcome.with("submodules_changed", true);
    }
    let after = git.head(machine)?;
    machine.record_tool(&git.dest, format!("cloned at {after}"));
    Ok(outcome.with("after", after))
}

/// What is there is brought up to date.
fn update(git: &Git<'_>, machine: &mut Machine, outcome: Outcome) -> Step<Outcome> {
    let before = git.head(machine)?;
    let mut outcome = outcome.with("before", before.clone());
    let modified = git.modified(machine)?;
    if modified && !git.arguments.force.0 {
        let why = format!("Local modifications exist in the destination: {} (force=no).", git.dest.display());
        return Err(ModuleError::Ended(Box::new(Outcome::failed(why).with("before", before))));
    }
    let moved = git.remote_moved(machine)?;
    if machine.predicted() {
        git.may_ask(machine)?;
        let after = git.remote_head(machine, false, moved)?;
        outcome = outcome.with("remote_url_changed", moved).with("after", after.clone());
        if before != after || moved || modified {
            let what = if before == after { "reset".to_string() } else { format!("{before} → {after}") };
            // Only where no file changes is what is there now what will be there.
            let same = before == after && !modified;
            let entry = same.then(|| crate::machine::files::Foreseen::Directory(Default::default()));
            machine.foresee_tool(&git.dest, what, entry)?;
        }
        return Ok(outcome);
    }
    if modified {
        git.call(machine, &["reset", "--hard", "HEAD"])?;
        outcome.msg = Some(format!("Local modifications exist in the destination: {}", git.dest.display()));
    }
    if moved {
        git.call(machine, &["remote", "set-url", &git.remote, &git.repo])?;
    }
    outcome = outcome.with("remote_url_changed", moved);
    git.fetch(machine)?;
    if !git.arguments.bare.0 {
        git.switch(machine)?;
    }
    let submodules = git.submodules(machine)?;
    if submodules {
        outcome = outcome.with("submodules_changed", true);
    }
    let after = git.head(machine)?;
    if before != after || modified || moved || submodules {
        machine.record_tool(&git.dest, format!("{before} → {after}"));
    }
    Ok(outcome.with("after", after))
}

impl Git<'_> {
    /// Whether it has been cloned.
    pub(super) fn is_there(&self, machine: &Machine) -> Step<bool> {
        Ok(!self.dest.as_os_str().is_empty() && machine.exists(self.directory(machine)?.join("config"))?)
    }

    /// The repository's own directory.
    pub(super) fn directory(&self, machine: &Machine) -> Step<PathBuf> {
        if self.arguments.bare.0 {
            return Ok(self.dest.clone());
        }
        let own = self.dest.join(".git");
        match machine.stat(&own)? {
            Some(stat) if stat.is_file() => {
                let text = String::from_utf8_lossy(&machine.read_file(&own, 64 * 1024)?).into_owned();
                let named = text.trim_end().strip_prefix("gitdir: ").map(Path::new);
                let named = named.ok_or_else(|| {
                    let why = "Current repo does not have a valid reference to a separate Git dir or it refers to the invalid path";
                    ModuleError::Failed(why.into())
                })?;
                Ok(self.dest.join(named))
            }
            _ => Ok(own),
        }
    }

    /// In a check: whether the repository may be asked.
    fn may_ask(&self, machine: &Machine) -> Step<()> {
        if machine.predicted() && machine.no_fetch {
            let why = format!("{} would have to be asked for its versions, and --no-fetch forbids it", self.shown());
            return Err(MachineError::unknown(why).into());
        }
        Ok(())
    }

    /// A command of git's, in words of Python's locale, without questions.
    pub(super) fn command(&self, words: &[&str], chdir: Option<&Path>) -> Command {
        let argv = std::iter::once(self.program.as_str()).chain(words.iter().copied());
        let locale =
            ["LANG", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANGUAGE"].map(|name| (name.to_string(), "C.UTF-8".into()));
        let more = [("GIT_SSH_COMMAND".to_string(), self.ssh.clone()), ("GIT_TERMINAL_PROMPT".into(), "0".into())];
        let chdir = chdir.map(|path| path.display().to_string());
        Command { chdir, environment: locale.into_iter().chain(more).collect(), ..Command::new(argv) }
    }
}

#[cfg(test)]
#[path = "git_tests.rs"]
mod tests;
