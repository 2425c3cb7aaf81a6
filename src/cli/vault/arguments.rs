//! The arguments of `deploy vault`, under the names that `ansible-vault` gives them.

use crate::cli::arguments::SourceArguments;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Files and values encrypted in Ansible's vault formats 1.1 and 1.2, exchangeable with `ansible-vault`.
#[derive(Clone, Debug, Args)]
pub struct VaultArguments {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: VaultCommand,
}

/// What is done.
#[derive(Clone, Debug, Subcommand)]
pub enum VaultCommand {
    /// Encrypt files in place, or standard input to standard output.
    Encrypt(Encrypt),
    /// Decrypt files in place, or standard input to standard output.
    Decrypt(Decrypt),
    /// Make a new encrypted file with an editor.
    Create(Create),
    /// Change an encrypted file with an editor ($EDITOR, else vi).
    ///
    /// The clear text lies in a directory that nobody else can enter, in memory where the system has one for that
    /// ($XDG_RUNTIME_DIR), and is overwritten and removed behind the editor. A file that was not changed is not written.
    Edit(Edit),
    /// Show what encrypted files hold, by a pager on a terminal.
    View(View),
    /// Encrypt files with another password.
    Rekey(Rekey),
    /// Encrypt a value for a file of variables (`name: !vault |`).
    ///
    /// A text on the command line can be seen by everybody on this machine, and stays in the shell's history: give it on
    /// standard input, or with --prompt.
    #[command(name = "encrypt-string", alias = "encrypt_string")]
    EncryptString(EncryptString),
}

/// Where passwords come from. What is not named is asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct Passwords {
    /// A vault identity: LABEL@FILE or LABEL@prompt; may be given several times
    #[arg(long = "vault-id", value_name = "ID")]
    pub vault_id: Vec<String>,
    /// File with the vault password, or a program that prints it; may be given several times [env: ANSIBLE_VAULT_PASSWORD_FILE]
    #[arg(long = "vault-password-file", alias = "vault-pass-file", value_name = "FILE")]
    pub vault_password_file: Vec<PathBuf>,
    /// Ask for the vault password
    #[arg(short = 'J', long = "ask-vault-pass", alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
}

impl From<Passwords> for SourceArguments {
    fn from(passwords: Passwords) -> SourceArguments {
        SourceArguments {
            vault_id: passwords.vault_id,
            vault_password_file: passwords.vault_password_file,
            ask_vault_pass: passwords.ask_vault_pass,
            ..SourceArguments::default()
        }
    }
}

/// Files that are changed.
#[derive(Clone, Debug, Default, Args)]
pub struct Changed {
    /// Files; `-` or none is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<String>,
    /// Write there instead, `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
}

/// `encrypt`
#[derive(Clone, Debug, Default, Args)]
pub struct Encrypt {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub change: Changed,
    /// The vault id to encrypt for; needed when several are given
    #[arg(long = "encrypt-vault-id", value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

/// `decrypt`
#[derive(Clone, Debug, Default, Args)]
pub struct Decrypt {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub change: Changed,
}

/// `create`
#[derive(Clone, Debug, Args)]
pub struct Create {
    /// The file, which must not be there
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
    /// The vault id to encrypt for; needed when several are given
    #[arg(long = "encrypt-vault-id", value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

/// `edit`
#[derive(Clone, Debug, Args)]
pub struct Edit {
    /// Files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
    /// Encrypt for this vault id afterwards [default: as it was]
    #[arg(long = "encrypt-vault-id", value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

/// `view`
#[derive(Clone, Debug, Args)]
pub struct View {
    /// Files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
}

/// `rekey`
#[derive(Clone, Debug, Args)]
pub struct Rekey {
    /// Files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
    /// The new identity: LABEL@FILE or LABEL@prompt
    #[arg(long = "new-vault-id", value_name = "ID", conflicts_with = "new_vault_password_file")]
    pub new_vault_id: Option<String>,
    /// File with the new password, or a program that prints it
    #[arg(long = "new-vault-password-file", value_name = "FILE")]
    pub new_vault_password_file: Option<PathBuf>,
    /// The vault id to name in the files
    #[arg(long = "encrypt-vault-id", value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}

/// `encrypt-string`
#[derive(Clone, Debug, Default, Args)]
pub struct EncryptString {
    /// Texts; `-` or none is standard input
    #[arg(value_name = "TEXT")]
    pub strings: Vec<String>,
    /// The variable's name; may be given several times, for one text after the other
    #[arg(short = 'n', long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// The variable's name for the text from standard input
    #[arg(long = "stdin-name", value_name = "NAME")]
    pub stdin_name: Option<String>,
    /// Ask for the text
    #[arg(short = 'p', long)]
    pub prompt: bool,
    /// Show what is typed
    #[arg(long = "show-input")]
    pub show_input: bool,
    /// Write there instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub passwords: Passwords,
    /// The vault id to encrypt for; needed when several are given
    #[arg(long = "encrypt-vault-id", value_name = "LABEL")]
    pub encrypt_vault_id: Option<String>,
}
