//! Vault passwords from files, programs, prompts and the service manager.

use crate::cli::EXIT_INTERRUPTED;
use crate::cli::arguments::SourceArguments;
use crate::cli::settings::settings;
use crate::credential;
use crate::redact::Redactor;
use crate::secret::Secret;
use crate::vars::vault::{DEFAULT_ID, Vault, VaultError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// Where passwords of a vault come from.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `LABEL@SOURCE`, or a source.
    pub ids: Vec<String>,
    /// Files and programs, for the default id.
    pub files: Vec<PathBuf>,
    /// Ask for one.
    pub ask: bool,
    /// They are for what is encrypted now: asked for twice.
    pub new: bool,
}

/// The vault with every password that is named.
pub fn open(arguments: &SourceArguments, redactor: &Redactor) -> Result<Vault, String> {
    gather(&Wanted::of(arguments), redactor)
}

impl Wanted {
    /// What the command line names, and the configuration where it says nothing.
    pub fn of(arguments: &SourceArguments) -> Wanted {
        let ids = arguments.vault_id.clone();
        let files = arguments.vault_password_file.clone();
        Wanted { ids, files, ask: arguments.ask_vault_pass, new: false }
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.files.is_empty() && !self.ask
    }
}

/// A vault with these passwords. What the service manager hands over is for those who name nothing.
pub fn gather(wanted: &Wanted, redactor: &Redactor) -> Result<Vault, String> {
    let mut vault = Vault::new(redactor.clone());
    vault.match_ids(settings().vault_id_match);
    let unnamed = settings().vault_identity.as_deref().unwrap_or(DEFAULT_ID);
    for id in &wanted.ids {
        let (label, source) = id.split_once('@').unwrap_or((unnamed, id));
        let label = if label.is_empty() { unnamed } else { label };
        if label.contains([';', '\n']) {
            return Err(VaultError::BadId(label.to_string()).to_string());
        }
        let password = match source {
            "prompt" | "prompt_ask_vault_pass" if wanted.new => ask_twice(&format!("vault password ({label}): "))?,
            "prompt" | "prompt_ask_vault_pass" => ask(&format!("Vault password ({label}): "))?,
            source => from_file(&home(source), label)?,
        };
        add(&mut vault, redactor, label, password);
    }
    for file in &wanted.files {
        let password = from_file(file, unnamed)?;
        add(&mut vault, redactor, unnamed, password);
    }
    if wanted.is_empty()
        && let Some(path) = credential::path(credential::VAULT_PASSWORD)
    {
        add(&mut vault, redactor, DEFAULT_ID, credential::read(&path)?);
    }
    if wanted.ask {
        let password = if wanted.new { ask_twice("vault password: ")? } else { ask("Vault password: ")? };
        add(&mut vault, redactor, DEFAULT_ID, password);
    }
    Ok(vault)
}

/// A path whose `~/` no shell has replaced: it stood behind `LABEL@`.
fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Asks for something new, until both times are the same.
fn ask_twice(question: &str) -> Result<Secret, String> {
    loop {
        let first = ask(&format!("New {question}"))?;
        if first.is_empty() {
            return Err("an empty password protects nothing".into());
        }
        if first == ask(&format!("Confirm new {question}"))? {
            return Ok(first);
        }
        eprintln!("they differ; again");
    }
}

fn add(vault: &mut Vault, redactor: &Redactor, label: &str, password: Secret) {
    redactor.add(password.expose());
    vault.add_password(label, password);
}

/// Asks for something secret on the terminal.
pub fn ask(question: &str) -> Result<Secret, String> {
    match crate::ask::ask(question, true) {
        Ok(answer) => Ok(Secret::new(answer)),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
            eprintln!("interrupted: nothing was begun");
            std::process::exit(EXIT_INTERRUPTED);
        }
        Err(error) => Err(format!("cannot ask `{}`: {error}", question.trim_end_matches([':', ' ']))),
    }
}

/// The first line of a file, or what a program prints when the file is executable.
pub fn from_file(path: &Path, label: &str) -> Result<Secret, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|e| format!("cannot read the password file {shown}: {e}"))?;
    let program = metadata.permissions().mode() & 0o111 != 0;
    let bytes = if program {
        // By its path: a bare name would be looked for in PATH.
        let mut program = Command::new(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("-client")) {
            program.args(["--vault-id", label]);
        }
        let output = program.stderr(Stdio::inherit()).output().map_err(|e| format!("cannot run {shown}: {e}"))?;
        if !output.status.success() {
            return Err(format!("{shown} gave no password: {}", output.status));
        }
        output.stdout
    } else {
        std::fs::read(path).map_err(|e| format!("cannot read the password file {shown}: {e}"))?
    };
    let text = Zeroizing::new(String::from_utf8(bytes).map_err(|_| format!("{shown} is not text"))?);
    // As Ansible takes them: a file without blanks at its ends, what a program says without line ends.
    let password = if program { text.trim_matches(['\n', '\r']) } else { text.trim() }.to_string();
    if password.is_empty() {
        return Err(format!("{shown} holds no password"));
    }
    Ok(Secret::new(password))
}
