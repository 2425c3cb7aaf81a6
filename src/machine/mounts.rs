//! What is mounted where.

use super::{Change, Command, Domain, Facet, Machine, MachineError, Result, Subject};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a check foresees of the mounts.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Mounts {
    /// By mount point; nothing where it would be unmounted.
    points: BTreeMap<String, Option<Mounted>>,
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Device, address or directory.
    pub source: String,
    /// `ext4`, `nfs4`, `tmpfs` …
    pub kind: String,
}

/// How something is mounted.
#[derive(Clone, Copy, Debug)]
pub enum Mounting<'a> {
    /// As the table says; another table than the system's where one is named.
    Table(Option<&'a str>),
    /// With these words, whatever the table says.
    Words {
        /// Device, address or directory.
        source: &'a str,
        /// Its kind.
        kind: &'a str,
        /// Options, separated by commas.
        options: &'a str,
    },
}

impl Mounting<'_> {
    fn words(self) -> Vec<String> {
        let words: Vec<&str> = match self {
            Mounting::Table(None) => Vec::new(),
            Mounting::Table(Some(table)) => vec!["-T", table],
            Mounting::Words { source, kind, options: "defaults" } => vec!["-t", kind, source],
            Mounting::Words { source, kind, options } => vec!["-t", kind, "-o", options, source],
        };
        words.into_iter().map(str::to_string).collect()
    }
}

impl Machine {
    /// What is mounted at a path, the last one of several.
    pub fn mounted(&self, point: &str) -> Result<Option<Mounted>> {
        if self.predicted()
            && let Some(foreseen) = self.predictions.mounts.points.get(plain(point))
        {
            return Ok(foreseen.clone());
        }
        let text = std::fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| MachineError::io("cannot read /proc/self/mountinfo", error))?;
        Ok(find(&text, point))
    }

    /// Mounts what `what` names, for the record, at `point`.
    pub fn mount(&mut self, point: &str, what: &Mounted, how: Mounting<'_>) -> Result<()> {
        if self.predicted() {
            self.predictions.mounts.points.insert(plain(point).to_string(), Some(what.clone()));
        } else {
            self.call("mount", how.words(), point)?;
        }
        let after = Facet::Value(format!("{} ({})", what.source, what.kind).into());
        self.record(Change::set(Subject::new(Domain::Mount, point), "mounted", Facet::Absent, after).lasting());
        Ok(())
    }

    /// Unmounts what is there. Says whether anything was.
    pub fn unmount(&mut self, point: &str) -> Result<bool> {
        let Some(before) = self.mounted(point)? else { return Ok(false) };
        if self.predicted() {
            self.predictions.mounts.points.insert(plain(point).to_string(), None);
        } else {
            self.call("umount", Vec::new(), point)?;
        }
        let before = Facet::Value(format!("{} ({})", before.source, before.kind).into());
        self.record(Change::set(Subject::new(Domain::Mount, point), "mounted", before, Facet::Absent).lasting());
        Ok(true)
    }

    /// Mounts again with other options: in one step where the file system takes that, else by `umount` and `mount`. With
    /// `options` it has to be one step.
    pub fn remount(&mut self, point: &str, options: Option<&str>, how: Mounting<'_>) -> Result<()> {
        if !self.predicted() {
            let words = options.map_or("remount".to_string(), |options| format!("remount,{options}"));
            let first = self.call("mount", ["-o".to_string(), words].into_iter().chain(how.words()).collect(), point);
            match (first, options) {
                (Ok(()), _) => {}
                (Err(error), Some(_)) => return Err(error),
                (Err(_), None) => {
                    self.call("umount", Vec::new(), point)?;
                    self.call("mount", how.words(), point)?;
                }
            }
        }
        self.record(Change::effect(Subject::new(Domain::Mount, point), "mounted again", super::Undo::None));
        Ok(())
    }

    fn call(&self, program: &str, words: Vec<String>, point: &str) -> Result<()> {
        let argv = [program.to_string()].into_iter().chain(words).chain([point.to_string()]);
        let output = self.run_process(&Command::new(argv))?;
        match output.success() {
            true => Ok(()),
            false => Err(MachineError::failed(
                format!("{}{}", output.stdout_text(), output.stderr_text()).trim().to_string(),
            )),
        }
    }
}

/// A mount point as the kernel has it: without a slash at its end.
fn plain(point: &str) -> &str {
    match point.trim_end_matches('/') {
        "" => "/",
        plain => plain,
    }
}

/// The last mount at a path in the kernel's list (proc(5), mountinfo).
fn find(list: &str, point: &str) -> Option<Mounted> {
    list.lines().rev().find_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let at = unescape(place.split(' ').nth(4)?);
        let mut what = what.split(' ');
        let (kind, source) = (what.next()?, unescape(what.next()?));
        (at == plain(point)).then(|| Mounted { source, kind: kind.to_string() })
    })
}

/// Blanks, tabs, line ends and backslashes, which the kernel writes as three octal digits.
pub(crate) fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal =
            after.get(..3).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_is_read() {
        let list = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                    40 22 0:35 / /srv/my\\040data rw master:2 shared:3 - nfs4 host:/my\\040data rw,vers=4.2\n\
                    41 22 0:36 / /tmp rw - tmpfs tmpfs rw\n42 41 0:37 / /tmp rw - tmpfs second rw\n";
        for (point, expected) in [
            ("/", Some(("/dev/sda1", "ext4"))),
            ("/srv/my data", Some(("host:/my data", "nfs4"))),
            ("/tmp", Some(("second", "tmpfs"))),
            ("/tmp/", Some(("second", "tmpfs"))),
            ("/srv", None),
        ] {
            let found = find(list, point);
            assert_eq!(found.as_ref().map(|one| (one.source.as_str(), one.kind.as_str())), expected, "{point}");
        }
    }

    #[test]
    fn words_of_the_command() {
        for (how, expected) in [
            (Mounting::Table(None), ""),
            (Mounting::Table(Some("/etc/other")), "-T /etc/other"),
            (Mounting::Words { source: "tmpfs", kind: "tmpfs", options: "size=1m" }, "-t tmpfs -o size=1m tmpfs"),
            (Mounting::Words { source: "tmpfs", kind: "tmpfs", options: "defaults" }, "-t tmpfs tmpfs"),
        ] {
            assert_eq!(how.words().join(" "), expected);
        }
    }

    #[test]
    fn escapes_of_mounts_are_undone() {
        assert_eq!(unescape("/mnt/a\\040b"), "/mnt/a b");
        assert_eq!(unescape("/plain\\"), "/plain\\");
    }
}
