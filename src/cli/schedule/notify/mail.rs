//! Telling by mail, through whatever calls itself `sendmail` on this machine.

use super::super::summary::{Ended, Summary};
use super::command;
use std::path::{Path, PathBuf};

/// The program, by its usual names.
pub fn sendmail(named: Option<&Path>) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_path_buf());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/lib"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join("sendmail")).find(|file| file.is_file())
}

/// An address that may stand in a header.
pub fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = !text.is_empty() && text.is_ascii() && !text.chars().any(char::is_control);
    if good { Ok(text.to_string()) } else { Err(format!("{text:?} is no address of mail")) }
}

/// The whole message.
pub fn message(to: &[String], from: Option<&str>, summary: &Summary, text: &str) -> String {
    let word = match summary.result {
        Ended::Quiet => "nothing was done",
        Ended::Changed => "done",
        Ended::Left => "left",
        Ended::Late => "certificates are late",
        Ended::Failed => "FAILED",
    };
    let plain =
        |text: &str| text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect::<String>();
    let mut message = String::new();
    if let Some(from) = from {
        message += &format!("From: {from}\n");
    }
    message +=
        &format!("To: {}\nSubject: deploy {} ({}): {word}\n", to.join(", "), plain(&summary.job), plain(&summary.by));
    message += "Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n";
    message += "Content-Transfer-Encoding: 8bit\n\n";
    message += text;
    message
}

/// Hands it over.
pub async fn send(program: Option<&Path>, message: &str) -> Result<(), String> {
    let program = sendmail(program).ok_or("there is no `sendmail` on this machine")?;
    let words = [program.display().to_string(), "-t".into(), "-oi".into()];
    command::run(&words, message.as_bytes()).await
}
