//! The server's own words: its log, for progress and for failures.

use crate::galera::{Kind, ist_progress, notable};
use crate::machine::units::Unit;
use crate::machine::{Command, Machine};

/// How many lines of the log are looked at.
const LINES: usize = 400;

/// What the server has logged since its unit was last started, from the journal or from its own file. Lines about
/// clients that went away are left out: beside a busy application they would be all that is left.
pub fn recent(machine: &Machine, unit: &Unit, log_file: Option<&str>) -> String {
    let mut text = String::new();
    if machine.has_program("journalctl") {
        // Lines of an earlier start tell of transfers and errors that are over.
        let start = match unit.properties.get("InactiveExitTimestamp").filter(|time| !time.is_empty()) {
            Some(time) => format!("--since={time}"),
            None => "--since=-10min".to_string(),
        };
        let unit = unit.name.as_str();
        let words =
            ["journalctl", "--unit", unit, "--no-pager", "--quiet", "--output", "cat", "--lines", "4000", &start];
        if let Ok(output) = machine.probe(&Command::new(words)) {
            text.push_str(&output.stdout_text());
        }
    }
    if let Some(path) = log_file.filter(|path| path.starts_with('/')) {
        text.push_str(&tail(path));
    }
    worth(&text)
}

/// The last lines that are about the server itself.
fn worth(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("Aborted connection")).collect();
    let start = lines.len().saturating_sub(LINES);
    lines.get(start..).unwrap_or_default().iter().flat_map(|line| [line, "\n"]).collect()
}

/// What the log tells of a transfer. The script of a full one is started for each, and only then learns from the donor
/// which of the two it is.
pub fn received(log: &str) -> Kind {
    if log.contains("Proceeding with SST") || log.contains("SST completed on joiner") {
        Kind::Sst
    } else if log.contains("Running IST") || log.contains("IST completed on joiner") || log.contains("Receiving IST") {
        Kind::Ist
    } else {
        Kind::None
    }
}

/// Whether the node waits for the first write set of an incremental transfer: it has said how many there will be, and
/// nothing has come.
pub fn waits_for_donor(log: &str) -> bool {
    let last = |word: &str| log.rfind(word);
    let came = ["Receiving IST...", "IST applying starts", "IST received:"].into_iter().filter_map(last).max();
    last("Receiving IST: ").is_some_and(|asked| came.is_none_or(|came| came < asked))
}

/// The end of a file, at most 128 kB.
fn tail(path: &str) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(128 * 1024)))?;
        let mut bytes = Vec::new();
        file.take(128 * 1024).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// A failure's explanation: the last errors of the log and the cause, where it is known.
pub fn explanation(log: &str) -> String {
    let (lines, cause) = notable(log, 8);
    let mut text = String::new();
    if let Some(cause) = cause {
        text.push_str(&format!("\nprobably: {cause}"));
    }
    if !lines.is_empty() {
        text.push_str("\nlast errors of its log:");
        for line in lines {
            text.push_str("\n  ");
            text.push_str(&line);
        }
    }
    text
}

/// How far a state transfer is, by the log: a sentence and numbers where there are some.
pub fn transfer(log: &str) -> Option<(String, Option<(u64, u64)>)> {
    for line in log.lines().rev() {
        if let Some((done, total)) = ist_progress(line) {
            return Some(("receives what it missed (IST)".into(), Some((done, total))));
        }
        if line.contains("SST completed") || line.contains("SST succeeded") {
            return Some(("has received the whole state and starts on it".into(), None));
        }
        if line.contains("WSREP_SST: [INFO]") {
            let step = line.split_once("WSREP_SST: [INFO]").map_or("", |(_, rest)| rest).trim();
            // The script of a full transfer runs for each, until the donor says which of the two it is.
            return Some(match log.contains("Proceeding with SST") {
                true => (format!("receives the whole state (SST): {}", shortened(step)), None),
                false => (format!("asks for what it missed: {}", shortened(step)), None),
            });
        }
        if line.contains("Running: 'wsrep_sst_") {
            return Some(("asks for what it missed".into(), None));
        }
    }
    None
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let log = "WSREP: Running: 'wsrep_sst_mariabackup --role joiner'\nWSREP_SST: [INFO] Proceeding with SST\n";
        assert!(transfer(log).unwrap().0.contains("Proceeding with SST"));
        let log = format!("{log}WSREP: Receiving IST... 40.0% ( 4/10 events) complete.\n");
        assert_eq!(transfer(&log).unwrap().1, Some((4, 10)));
        assert_eq!(transfer("nothing"), None);
    }

    #[test]
    fn transfers_in_the_log() {
        assert_eq!(received("WSREP_SST: [INFO] Proceeding with SST (2026)\nReceiving IST"), Kind::Sst);
        let script =
            "WSREP: Running: 'wsrep_sst_mariabackup --role 'joiner'\n'xtrabackup_ist' received from donor: Running IST";
        assert_eq!(received(script), Kind::Ist);
        assert_eq!(received("WSREP: Running: 'wsrep_sst_mariabackup --role 'joiner'"), Kind::None);
        assert_eq!(received("WSREP: Receiving IST: 7 writesets"), Kind::Ist);
        assert_eq!(received("WSREP: Synchronized with group"), Kind::None);
    }

    #[test]
    fn a_donor_that_does_not_come() {
        let asked = "[Note] WSREP: SST succeeded for position x:11\n[Note] WSREP: Receiving IST: 102 writesets, seqnos 12-113\n";
        assert!(waits_for_donor(asked));
        assert!(!waits_for_donor("[Note] WSREP: SST succeeded for position x:11\n"));
        for came in ["Receiving IST... 0.0% (0/4 events) complete.", "####### IST applying starts with 12"] {
            assert!(!waits_for_donor(&format!("{asked}WSREP: {came}\n")), "{came}");
            assert!(waits_for_donor(&format!("WSREP: {came}\n{asked}")), "an earlier one: {came}");
        }
    }

    #[test]
    fn clients_that_went_away_do_not_hide_the_server() {
        let noise = "[Warning] Aborted connection 7 to db: 'passbolt'\n".repeat(3000);
        assert_eq!(worth(&format!("first\n{noise}last\n")), "first\nlast\n");
        assert_eq!(worth(&"line\n".repeat(500)).lines().count(), 400);
    }

    #[test]
    fn failures_are_explained() {
        let text = explanation("x\n[ERROR] WSREP: Will never receive state. Need to abort.\n");
        assert!(text.contains("probably") && text.contains("last errors"), "{text}");
        assert_eq!(explanation("fine"), "");
    }
}
