//! Vault passwords from files, programs, prompts and the service manager.

use super::arguments::SourceArguments;
use crate::credential;
use crate::redact::Redactor;
use crate::secret::Secret;
use crate::vars::vault::Vault;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The vault with every password that the command line (or `ANSIBLE_VAULT_PASSWORD_FILE`) names.
pub fn open(arguments: &SourceArguments, redactor: &Redactor) -> Result<Vault, String> {
    let mut vault = Vault::new(redactor.clone());
    for id in &arguments.vault_id {
        let (label, source) = id.split_once('@').unwrap_or(("default", id));
        let password = if matches!(source, "prompt" | "prompt_ask_vault_pass") {
            ask(&format!("Vault password ({label}): "))?
        } else {
            from_file(Path::new(source), label)?
        };
        add(&mut vault, redactor, label, password);
    }
    let environment = std::env::var_os("ANSIBLE_VAULT_PASSWORD_FILE").map(Into::into);
    let files = arguments.vault_password_file.iter().cloned();
    for file in files.chain(environment.filter(|_| arguments.vault_password_file.is_empty())) {
        let password = from_file(&file, "default")?;
        add(&mut vault, redactor, "default", password);
    }
    // What the service manager hands over is for those who name nothing.
    if arguments.vault_id.is_empty()
        && arguments.vault_password_file.is_empty()
        && !arguments.ask_vault_pass
        && std::env::var_os("ANSIBLE_VAULT_PASSWORD_FILE").is_none()
        && let Some(path) = credential::path(credential::VAULT_PASSWORD)
    {
        add(&mut vault, redactor, "default", credential::read(&path)?);
    }
    if arguments.ask_vault_pass {
        let password = ask("Vault password: ")?;
        add(&mut vault, redactor, "default", password);
    }
    Ok(vault)
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
            std::process::exit(super::EXIT_INTERRUPTED);
        }
        Err(error) => Err(format!("cannot ask `{}`: {error}", question.trim_end_matches([':', ' ']))),
    }
}

/// The first line of a file, or what a program prints when the file is executable.
pub fn from_file(path: &Path, label: &str) -> Result<Secret, String> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|e| format!("cannot read the password file {shown}: {e}"))?;
    let bytes = if metadata.permissions().mode() & 0o111 != 0 {
        let mut program = Command::new(path);
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
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not text"))?;
    let password = text.trim_end_matches(['\n', '\r']).to_string();
    if password.is_empty() {
        return Err(format!("{shown} holds no password"));
    }
    Ok(Secret::new(password))
}
