//! `deploy pki renew`: the playbook that rotates, for some hosts, now.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;

use super::PkiCommandError;
use super::arguments::{PkiArgs, Renew};
use crate::cli::arguments::Arguments;
use crate::cli::{record, run};

/// What renews a set with all that belongs to it: one host at a time, reloaded, and looked at from outside.
const PLAYBOOK: &str = "playbooks/rotate-certs.yml";

pub(super) fn renew(args: &PkiArgs, renew: &Renew) -> Result<ExitCode, PkiCommandError> {
    if !Path::new(PLAYBOOK).exists() {
        let why = format!(
            "there is no {PLAYBOOK} here, which does the work (issue, swap, reload, look): run this where it is, or run \
             the site's playbook with -e pki_renew=force --limit {}",
            renew.hosts.join(",")
        );
        return Err(PkiCommandError::Refused(why));
    }
    if !renew.access.sources.limit.is_empty() {
        let why = "--limit has nothing to choose here: name the hosts with --host".to_string();
        return Err(PkiCommandError::Refused(why));
    }
    let line = words(args, renew);
    let parsed = Arguments::try_parse_from(std::iter::once("deploy".to_string()).chain(line.iter().cloned()));
    let parsed = parsed.map_err(|error| PkiCommandError::Refused(error.to_string()))?;
    Ok(run::run(parsed.run, record::Order { words: line, ..Default::default() }))
}

/// The command line that does the same: it is what the journal keeps, so that the run can be resumed.
fn words(args: &PkiArgs, renew: &Renew) -> Vec<String> {
    let access = &renew.access;
    let mut words = vec![PLAYBOOK.to_string(), "--extra-vars".into(), "pki_renew=force".into()];
    let mut say = |option: &str, value: String| words.extend([option.to_string(), value]);
    say("--limit", renew.hosts.join(","));
    let shown = |path: &PathBuf| path.display().to_string();
    // A name is that of a store below the default directory.
    let named = (args.name != "default").then(|| crate::pki::default_path(&args.name)).flatten();
    for (name, path) in [("pki_store", &args.store.clone().or(named)), ("pki_passphrase_file", &args.passphrase_file)] {
        if let Some(path) = path {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            say("--extra-vars", serde_json::json!({name: shown(&path)}).to_string());
        }
    }
    access.sources.inventory.iter().for_each(|one| say("--inventory", one.clone()));
    access.sources.vault_password_file.iter().for_each(|one| say("--vault-password-file", shown(one)));
    access.sources.vault_id.iter().for_each(|one| say("--vault-id", one.clone()));
    access.extra_vars.iter().for_each(|one| say("--extra-vars", one.clone()));
    access.timeout.iter().for_each(|one| say("--timeout", one.to_string()));
    for (option, value) in
        [("--become-method", &access.become_method), ("--user", &access.user), ("--connection", &access.connection)]
    {
        value.iter().for_each(|value| say(option, value.clone()));
    }
    for (option, path) in [
        ("--become-password-file", &access.become_password_file),
        ("--connection-password-file", &access.connection_password_file),
        ("--private-key", &access.private_key),
    ] {
        path.iter().for_each(|path| say(option, shown(path)));
    }
    for (option, value) in
        [("--ssh-common-args", &access.ssh_common_args), ("--ssh-extra-args", &access.ssh_extra_args)]
    {
        value.iter().for_each(|value| words.push(format!("{option}={value}")));
    }
    for (option, wanted) in [
        ("--ask-vault-pass", access.sources.ask_vault_pass),
        ("--ask-become-pass", access.ask_become_pass),
        ("--ask-pass", access.ask_pass),
        ("--check", renew.check),
    ] {
        words.extend(wanted.then(|| option.to_string()));
    }
    words
}
