//! `deploy vault`: files and values encrypted as `ansible-vault` does it, and back.

pub mod arguments;
mod edit;
mod files;
mod passwords;
#[cfg(test)]
mod tests;

pub use passwords::{ask, from_file, open};

use self::arguments::{Changed, EncryptString, Passwords, Rekey, VaultArguments, VaultCommand};
use self::files::{Place, Target};
use crate::cli::pager::{self, Page};
use crate::cli::settings::settings;
use crate::redact::Redactor;
use crate::vars::vault::{DEFAULT_ID, Vault, VaultError, is_encrypted_bytes};
use passwords::{Wanted, gather};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Ansible's exit code for options that do not go together.
const EXIT_OPTIONS: u8 = 5;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Options that do not go together.
    #[error("{0}")]
    Options(String),
    /// Anything else, in words that hold neither a password nor a clear text.
    #[error("{0}")]
    Failed(String),
    /// The vault data of a file or of standard input.
    #[error("{place}: {error}")]
    Vault {
        /// Which.
        place: String,
        /// What is wrong with it.
        error: VaultError,
    },
}

impl Fault {
    fn of(place: &Place) -> impl FnOnce(VaultError) -> Fault {
        let place = place.to_string();
        move |error| Fault::Vault { place, error }
    }
}

/// Runs the command.
pub fn run(arguments: &VaultArguments) -> ExitCode {
    let redactor = Redactor::new();
    match carry_out(&arguments.command, &redactor) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {}", redactor.mask(&fault.to_string()));
            ExitCode::from(if matches!(fault, Fault::Options(_)) { EXIT_OPTIONS } else { 1 })
        }
    }
}

fn carry_out(command: &VaultCommand, redactor: &Redactor) -> Result<(), Fault> {
    match command {
        VaultCommand::Encrypt(wanted) => encrypt(wanted, redactor),
        VaultCommand::Decrypt(wanted) => decrypt(wanted, redactor),
        VaultCommand::View(wanted) => view(&wanted.files, &wanted.passwords, redactor),
        VaultCommand::Create(wanted) => {
            let vault = for_encryption(&wanted.passwords, redactor)?;
            edit::create(&wanted.file, &vault, wanted.encrypt_vault_id.as_deref())
        }
        VaultCommand::Edit(wanted) => {
            let vault = for_decryption(&wanted.passwords, redactor)?;
            wanted.files.iter().try_for_each(|file| edit::edit(file, &vault, wanted.encrypt_vault_id.as_deref()))
        }
        VaultCommand::Rekey(wanted) => rekey(wanted, redactor),
        VaultCommand::EncryptString(wanted) => encrypt_string(wanted, redactor),
    }
}

fn wanted(passwords: &Passwords) -> Wanted {
    let mut given = passwords.clone().into();
    settings().fill_vault(&mut given);
    Wanted::of(&given)
}

/// The passwords that exist; a question where none is named.
fn for_decryption(passwords: &Passwords, redactor: &Redactor) -> Result<Vault, Fault> {
    let vault = gather(&wanted(passwords), redactor).map_err(Fault::Failed)?;
    if !vault.is_empty() {
        return Ok(vault);
    }
    gather(&Wanted { ask: true, ..Wanted::default() }, redactor).map_err(Fault::Failed)
}

/// The same for what is encrypted anew: a password that is typed is typed twice.
fn for_encryption(passwords: &Passwords, redactor: &Redactor) -> Result<Vault, Fault> {
    let vault = gather(&Wanted { new: true, ..wanted(passwords) }, redactor).map_err(Fault::Failed)?;
    if !vault.is_empty() {
        return Ok(vault);
    }
    gather(&Wanted { ask: true, new: true, ..Wanted::default() }, redactor).map_err(Fault::Failed)
}

/// The id to encrypt for, where the command line or the environment says one.
fn encrypt_id(given: Option<&str>) -> Option<String> {
    given.map(str::to_string).or_else(|| settings().vault_encrypt_identity.clone())
}

/// What is read from where, and where it goes.
fn targets(wanted: &Changed, what: &str) -> Result<Vec<(Place, Target)>, Fault> {
    if wanted.output.is_some() && wanted.files.len() > 1 {
        return Err(Fault::Options("at most one file can be read with --output".into()));
    }
    if wanted.files.is_empty() && std::io::stdin().is_terminal() {
        eprintln!("Reading {what} from standard input");
    }
    let places = match wanted.files.is_empty() {
        true => vec![Place::Stdin],
        false => wanted.files.iter().map(|file| Place::of(file)).collect(),
    };
    let output = |place: &Place| match (&wanted.output, place) {
        (Some(path), _) if path.as_os_str() == "-" => Target::Stdout,
        (Some(path), _) => Target::File(path.clone()),
        (None, Place::Stdin) => Target::Stdout,
        (None, Place::File(path)) => Target::File(path.clone()),
    };
    Ok(places.into_iter().map(|place| (output(&place), place)).map(|(target, place)| (place, target)).collect())
}

fn done(what: &str) {
    if std::io::stdout().is_terminal() {
        eprintln!("{what} successful");
    }
}

fn encrypt(wanted: &arguments::Encrypt, redactor: &Redactor) -> Result<(), Fault> {
    let targets = targets(&wanted.change, "the clear text")?;
    let vault = for_encryption(&wanted.change.passwords, redactor)?;
    let id = encrypt_id(wanted.encrypt_vault_id.as_deref());
    let (password, id) = vault.choose(id.as_deref()).map_err(|error| Fault::Options(error.to_string()))?;
    let mut ready = Vec::new();
    // Nothing is written before everything could be read.
    for (place, target) in targets {
        let clear = place.read()?;
        if is_encrypted_bytes(&clear) {
            return Err(Fault::Failed(format!("{place} is encrypted already")));
        }
        let text = vault.seal(&clear, password, id).map_err(Fault::of(&place))?;
        ready.push((text, target));
    }
    for (text, target) in ready {
        target.write(text.as_bytes())?;
    }
    done("Encryption");
    Ok(())
}

fn decrypt(wanted: &arguments::Decrypt, redactor: &Redactor) -> Result<(), Fault> {
    let targets = targets(&wanted.change, "the vault data")?;
    let vault = for_decryption(&wanted.change.passwords, redactor)?;
    let mut ready = Vec::new();
    for (place, target) in targets {
        let opened = vault.open(&place.read()?).map_err(Fault::of(&place))?;
        ready.push((opened.clear, target));
    }
    for (clear, target) in ready {
        target.write(&clear)?;
    }
    done("Decryption");
    Ok(())
}

fn view(files: &[String], passwords: &Passwords, redactor: &Redactor) -> Result<(), Fault> {
    let vault = for_decryption(passwords, redactor)?;
    let pager = pager::wanted(false);
    for file in files {
        let place = Place::of(file);
        let opened = vault.open(&place.read()?).map_err(Fault::of(&place))?;
        match &pager {
            Some(pager) => {
                let mut page = Page::default();
                let _ = page.write_all(&opened.clear); // to memory
                page.show(pager);
            }
            None => Target::Stdout.write(&opened.clear)?,
        }
    }
    Ok(())
}

fn rekey(wanted: &Rekey, redactor: &Redactor) -> Result<(), Fault> {
    let old = for_decryption(&wanted.passwords, redactor)?;
    let mut opened = Vec::new();
    for file in &wanted.files {
        let place = Place::of(file);
        let Place::File(path) = &place else {
            return Err(Fault::Options("standard input cannot be rekeyed".into()));
        };
        opened.push((path.clone(), old.open(&place.read()?).map_err(Fault::of(&place))?));
    }
    let asked = wanted.new_vault_id.is_none() && wanted.new_vault_password_file.is_none();
    let new = Wanted {
        ids: wanted.new_vault_id.iter().cloned().collect(),
        files: wanted.new_vault_password_file.iter().cloned().collect(),
        ask: asked,
        new: true,
    };
    let new = gather(&new, redactor).map_err(Fault::Failed)?;
    // A new password that has no label is one of the id that is to be encrypted for.
    let id = encrypt_id(wanted.encrypt_vault_id.as_deref());
    let (password, own) = new.choose(None).map_err(|error| Fault::Options(error.to_string()))?;
    let id = match &id {
        Some(id) if own == DEFAULT_ID => id,
        Some(id) if id != own => {
            return Err(Fault::Options(format!("the new password is for the vault id {own}, and not for {id}")));
        }
        _ => own,
    };
    let mut ready = Vec::new();
    for (path, opened) in opened {
        let text = new.seal(&opened.clear, password, id).map_err(Fault::of(&Place::File(path.clone())))?;
        ready.push((text, path));
    }
    for (text, path) in ready {
        Target::File(path).write(text.as_bytes())?;
    }
    done("Rekey");
    Ok(())
}

/// One value to encrypt.
struct Value {
    clear: Zeroizing<Vec<u8>>,
    name: Option<String>,
    from: &'static str,
}

fn encrypt_string(wanted: &EncryptString, redactor: &Redactor) -> Result<(), Fault> {
    let given: Vec<&String> = wanted.strings.iter().filter(|text| *text != "-").collect();
    let dash = given.len() < wanted.strings.len();
    let stdin = dash || wanted.stdin_name.is_some() || wanted.strings.is_empty() && !wanted.prompt;
    if stdin && wanted.prompt {
        return Err(Fault::Options("--prompt does not go together with standard input".into()));
    }
    let vault = for_encryption(&wanted.passwords, redactor)?;
    let id = encrypt_id(wanted.encrypt_vault_id.as_deref());
    let (password, id) = vault.choose(id.as_deref()).map_err(|error| Fault::Options(error.to_string()))?;
    let mut values = Vec::new();
    if wanted.prompt {
        values.push(asked(wanted)?);
    }
    if stdin {
        if std::io::stdin().is_terminal() {
            eprintln!(
                "Reading the clear text from standard input; Ctrl-D ends it, pressed twice behind a line without an end"
            );
        }
        values.push(Value { clear: Place::Stdin.read()?, name: wanted.stdin_name.clone(), from: "standard input" });
    }
    let mut names = wanted.names.iter();
    for text in &given {
        let clear = Zeroizing::new(text.as_bytes().to_vec());
        values.push(Value { clear, name: names.next().cloned(), from: "the command line" });
    }
    if !wanted.names.is_empty() && given.len() > wanted.names.len() {
        eprintln!("there are more texts than names: those behind the last name have none");
    }
    let several = values.len() > 1;
    let mut whole = String::new();
    for (number, value) in values.iter().enumerate() {
        if value.clear.is_empty() {
            return Err(Fault::Options(format!("the text from {} is empty, and is not encrypted", value.from)));
        }
        let text = vault.seal(&value.clear, password, id).map_err(|error| Fault::Failed(error.to_string()))?;
        if several {
            let name = value.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            eprintln!("# text {}{name}, from {}", number + 1, value.from);
        }
        whole += &as_yaml(&text, value.name.as_deref());
    }
    let target = match &wanted.output {
        Some(path) if path.as_os_str() != "-" => Target::File(path.clone()),
        _ => Target::Stdout,
    };
    target.write(whole.as_bytes())?;
    done("Encryption");
    Ok(())
}

/// What is typed.
fn asked(wanted: &EncryptString) -> Result<Value, Fault> {
    let ask = |question: &str, hidden: bool| {
        crate::ask::ask(question, hidden).map_err(|error| Fault::Failed(format!("cannot ask: {error}")))
    };
    let name = match wanted.names.first() {
        Some(name) => name.clone(),
        None => ask("Variable name (enter for no name): ", false)?,
    };
    let hidden = !wanted.show_input;
    let clear = ask(if hidden { "String to encrypt (hidden): " } else { "String to encrypt: " }, hidden)?;
    let name = Some(name).filter(|name| !name.is_empty());
    Ok(Value { clear: Zeroizing::new(clear.into_bytes()), name, from: "the prompt" })
}

/// A value as it stands in a file of variables.
fn as_yaml(text: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!("{name}: ")).unwrap_or_default();
    let lines: String = text.lines().map(|line| format!("          {line}\n")).collect();
    format!("{name}!vault |\n{lines}")
}

/// Whether a file is there.
fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
