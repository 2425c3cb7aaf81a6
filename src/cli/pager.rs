//! What fills more than a screen is shown by a pager, as git does it: `less -FRX`, or what DEPLOY_PAGER or PAGER name.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Columns and rows of the terminal on standard output.
pub fn screen() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// The pager, if there is to be one. Never in pipes.
pub fn wanted(no_pager: bool) -> Option<String> {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if no_pager || !terminal || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return None;
    }
    chosen(|name| std::env::var(name).ok())
}

fn chosen(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = variable("DEPLOY_PAGER").or_else(|| variable("PAGER"));
    let command = named.unwrap_or_else(|| "less".into());
    (!command.trim().is_empty() && command.trim() != "cat").then_some(command)
}

/// What is shown at the end.
#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Page {
    /// A text that is whole.
    pub fn of(text: &str) -> Page {
        Page(Arc::new(Mutex::new(text.as_bytes().to_vec())))
    }

    /// Shows what there is so far without a pager: nobody waits for the rest.
    pub fn leave(&self) {
        if std::io::stderr().is_terminal() {
            // Where the line was that said how far it is.
            let _ = std::io::stderr().write_all(b"\r\x1b[2K");
        }
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        super::show(&String::from_utf8_lossy(&bytes));
    }

    /// Shows it: by the pager where it is longer than the screen, and as it is where there is no pager.
    pub fn show(&self, pager: &str) {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8_lossy(&bytes);
        let fits = screen().is_none_or(|(columns, rows)| height(&text, columns) < rows);
        if fits || !paged(&text, pager) {
            super::show(&text);
        }
    }
}

/// Whether the pager has taken it.
fn paged(text: &str, pager: &str) -> bool {
    // Ctrl-C is the pager's: who listens to it is not ended by it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _heard = runtime.as_ref().ok().map(|runtime| {
        runtime.block_on(async { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).ok() })
    });
    let mut command = Command::new("sh");
    // The shell waits for the pager, whatever is typed there: who is left alone with the terminal leaves it as a pager has it.
    let pager = format!("trap : INT QUIT\n{pager}");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    for (name, value) in [("LESS", "FRX"), ("LV", "-c")] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // Who has seen enough closes it.
        let _ = input.write_all(text.as_bytes());
    }
    // 126 and 127 are the shell's words for a program that cannot be run.
    child.wait().is_ok_and(|status| !matches!(status.code(), Some(126 | 127)))
}

/// Rows that a text takes on a screen of so many columns, escapes left out.
fn height(text: &str, columns: usize) -> usize {
    text.lines()
        .map(|line| {
            let mut shown = 0;
            let mut characters = line.chars();
            while let Some(c) = characters.next() {
                if c == '\x1b' {
                    characters.by_ref().find(|c| c.is_ascii_alphabetic());
                } else {
                    shown += unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
                }
            }
            shown.div_ceil(columns.max(1)).max(1)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_the_users() {
        for (ours, common, expected) in [
            (None, None, Some("less")),
            (None, Some("more"), Some("more")),
            (Some("less -S"), Some("more"), Some("less -S")),
            (Some(""), Some("more"), None),
            (Some("cat"), None, None),
        ] {
            let variable = |name: &str| if name == "PAGER" { common } else { ours }.map(str::to_string);
            assert_eq!(chosen(variable).as_deref(), expected, "{ours:?} {common:?}");
        }
    }

    #[test]
    fn long_lines_take_several_rows_and_colours_none() {
        for (text, expected) in [("", 0), ("a\nb\n", 2), ("12345678901\n", 2), ("\x1b[31m1234567890\x1b[0m\n\n", 2)] {
            assert_eq!(height(text, 10), expected, "{text:?}");
        }
    }
}
