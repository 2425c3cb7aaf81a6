//! Telling a program, on its standard input.

use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs it; it must end well.
pub async fn run(words: &[String], input: &[u8]) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        // Who reads nothing of it may still end well.
        let _ = pipe.write_all(input).await;
        let _ = pipe.shutdown().await;
    }
    let output = child.wait_with_output().await.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(400).collect();
    Err(format!("{program}: {}{}{said}", output.status, if said.is_empty() { "" } else { ": " }))
}
