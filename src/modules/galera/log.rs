//! The server's own words: its log, for progress and for failures.

use crate::galera::{Kind, ist_progress, notable};
use crate::machine::units::Unit;
use crate::machine::{Command, Machine};

/// How many lines of the log are looked at.
const LINES: usize = 400;
/// How much of the end of a log file is read.
const TAIL: u64 = 1024 * 1024;

/// What the server has logged lately, from the journal or from its own file, to be shown. Where the file does not tell
/// when the server was last started, older lines may be among it. Lines about clients that went away are left out:
/// beside a busy application they would be all that is left.
pub fn recent(machine: &Machine, unit: &Unit, log_file: Option<&str>) -> String {
    worth(&read(machine, unit, log_file).iter().map(|part| part.text.as_str()).collect::<String>())
}

/// The part of it that is certainly of the server's last start, to be acted upon: lines of an earlier one tell of transfers and
/// errors that are over.
pub fn since_start(machine: &Machine, unit: &Unit, log_file: Option<&str>) -> String {
    let parts = read(machine, unit, log_file);
    worth(&parts.iter().filter(|part| part.certain).map(|part| part.text.as_str()).collect::<String>())
}

/// What one of the two logs says of the last start.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    text: String,
    /// None of it is of an earlier start.
    certain: bool,
}

/// Journal and file.
fn read(machine: &Machine, unit: &Unit, log_file: Option<&str>) -> Vec<Part> {
    let mut parts = Vec::new();
    if machine.has_program("journalctl") {
        let start = unit.properties.get("InactiveExitTimestamp").filter(|time| !time.is_empty());
        let bounded = start.is_some();
        let start = start.map_or("--since=-10min".to_string(), |time| format!("--since={time}"));
        let (own, about) = (format!("_SYSTEMD_UNIT={}", unit.name), format!("UNIT={}", unit.name));
        let words = ["journalctl", "--no-pager", "--quiet", "--output", "cat", "--lines", "4000", &start];
        // The script of a full transfer speaks through `logger`, which is often gone before the journal has looked which unit
        // it was of.
        let whose = [&own, "+", &about, "_PID=1", "+", "SYSLOG_IDENTIFIER=-wsrep-sst-joiner"];
        let words = words.into_iter().chain(whose);
        if let Ok(output) = machine.probe(&Command::new(words)) {
            // What comes before the server in this start, such as the recovery of its position, is worth showing too.
            parts.push(Part { text: output.stdout_text(), certain: bounded });
        }
    }
    if let Some(path) = log_file.filter(|path| path.starts_with('/')) {
        let (text, whole) = tail(path);
        parts.push(last_start(&text, whole, |pid| is_of_start(unit, pid)));
    }
    parts
}

/// What follows the last line that says that a server starts. It is certain when that server is the one in question; without
/// such a line, when there is nothing more in the log.
fn last_start(text: &str, whole: bool, is_current: impl Fn(u32) -> bool) -> Part {
    let mut at = 0;
    let mut last = None;
    for line in text.split_inclusive('\n') {
        if let Some(pid) = starting(line) {
            last = Some((at, pid));
        }
        at += line.len();
    }
    match last {
        Some((at, pid)) => Part { text: text.get(at..).unwrap_or_default().into(), certain: is_current(pid) },
        None => Part { text: text.into(), certain: whole },
    }
}

/// The process that a server's first line names: `Starting MariaDB 11.4.5-MariaDB source revision 07… as process 812`, until 10.3
/// `mysqld (mysqld 10.3.39-MariaDB) starting as process 812 ...`.
fn starting(line: &str) -> Option<u32> {
    let (before, pid) = line.rsplit_once(" as process ")?;
    if !before.contains("Starting MariaDB ") && !before.ends_with(" starting") {
        return None;
    }
    pid.split_whitespace().next()?.parse().ok()
}

/// Whether a process is, or was, the server of the unit's last start. Until that one has said that it starts, the file ends with
/// what an earlier one said.
fn is_of_start(unit: &Unit, pid: u32) -> bool {
    if unit.main_pid == pid {
        return true;
    }
    // Below a wrapper the server is not the unit's main process.
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("mariadbd") || name.starts_with("mysqld") || unit.main_pid == 0 && has_ended(unit, pid)
}

/// Whether it was the main process of the unit's last start, and not of one before it that came further.
fn has_ended(unit: &Unit, pid: u32) -> bool {
    let number = |name: &str| unit.properties.get(name).and_then(|text| text.parse::<u64>().ok());
    number("ExecMainPID") == Some(u64::from(pid))
        && number("ExecMainStartTimestampMonotonic")
            .zip(number("InactiveExitTimestampMonotonic"))
            .is_some_and(|(server, unit)| server >= unit)
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

/// The end of a file, and whether that is all of it.
fn tail(path: &str) -> (String, bool) {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> std::io::Result<(String, bool)> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), length <= TAIL))
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
    fn lines_of_an_earlier_start_are_told_from_those_of_this_one() {
        let banner = |pid: u32| {
            format!(
                "2026-07-31 11:25:04 0 [Note] Starting MariaDB 11.4.5-MariaDB source revision 07 as process {pid}\n"
            )
        };
        let old =
            "2026-07-31 0:00:00 0 [Note] /usr/sbin/mysqld (mysqld 10.3.39-MariaDB-log) starting as process 812 ...\n";
        let stale = "WSREP: Receiving IST: 102 writesets, seqnos 12-113\nfailed to reach primary view\n";
        let fresh = "WSREP_SST: [INFO] Proceeding with SST\n";
        let current = |pid: u32| pid == 812;
        for (case, text, whole, shown, certain) in [
            ("this start", format!("{stale}{}{fresh}", banner(812)), false, format!("{}{fresh}", banner(812)), true),
            ("an old server's words", format!("{stale}{old}{fresh}"), false, format!("{old}{fresh}"), true),
            ("the last of several", format!("{}{stale}{}", banner(811), banner(812)), true, banner(812), true),
            // The new server has not written anything yet.
            ("an earlier start", format!("{}{stale}", banner(811)), true, format!("{}{stale}", banner(811)), false),
            (
                "an earlier start, tail",
                format!("x\n{}{stale}", banner(811)),
                false,
                format!("{}{stale}", banner(811)),
                false,
            ),
            ("more than the tail", stale.to_string(), false, stale.to_string(), false),
            ("the file is all there is", fresh.to_string(), true, fresh.to_string(), true),
            (
                "a number is missing",
                "Starting MariaDB 11 as process x\n".into(),
                false,
                "Starting MariaDB 11 as process x\n".into(),
                false,
            ),
            ("nothing", String::new(), true, String::new(), true),
        ] {
            assert_eq!(last_start(&text, whole, current), Part { text: shown, certain }, "{case}");
        }
        assert!(!waits_for_donor(&last_start(&format!("{stale}{}{fresh}", banner(812)), false, current).text));
    }

    #[test]
    fn the_server_of_the_last_start() {
        let gone = u32::MAX; // no process has that number
        for (case, main_pid, properties, of_start) in [
            ("it runs", gone, &[][..], true),
            ("another one runs", 7, &[("ExecMainPID", "4294967295")][..], false),
            ("nothing is known of it", 0, &[], false),
            (
                "it was the last one",
                0,
                &[
                    ("ExecMainPID", "4294967295"),
                    ("ExecMainStartTimestampMonotonic", "500"),
                    ("InactiveExitTimestampMonotonic", "400"),
                ],
                true,
            ),
            (
                "a later start did not come so far",
                0,
                &[
                    ("ExecMainPID", "4294967295"),
                    ("ExecMainStartTimestampMonotonic", "500"),
                    ("InactiveExitTimestampMonotonic", "900"),
                ],
                false,
            ),
        ] {
            let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let unit = Unit { main_pid, properties, ..Unit::default() };
            assert_eq!(is_of_start(&unit, gone), of_start, "{case}");
        }
        assert!(!is_of_start(&Unit::default(), std::process::id()), "a process that is no server");
    }

    #[test]
    fn the_end_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("error.log");
        let path = path.to_str().unwrap();
        assert_eq!(tail(path), (String::new(), false), "no such file");
        std::fs::write(path, "all\n").unwrap();
        assert_eq!(tail(path), ("all\n".into(), true));
        std::fs::write(path, vec![b'x'; TAIL as usize + 1]).unwrap();
        let (text, whole) = tail(path);
        assert_eq!((text.len(), whole), (TAIL as usize, false));
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
