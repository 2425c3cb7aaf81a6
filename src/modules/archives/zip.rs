//! Archives of zip, by the host's unzip.

use super::unarchive::Task;
use crate::machine::files::Stat;
use crate::machine::{Command, Machine, Output};
use crate::modules::commands::glob_pattern;
use crate::modules::files::common::Step;
use std::io::Read;

/// An entry as `unzip -v` and `unzip -Z` tell it.
struct Entry {
    name: String,
    size: u64,
    crc: u32,
    mode: Option<u32>,
    link: bool,
    /// Its time in the host's own zone, `20261122.235900`.
    time: String,
}

impl Task<'_> {
    /// What of it is unpacked.
    pub(super) fn list_zip(&self, machine: &Machine) -> Step<Result<Vec<String>, String>> {
        if !machine.has_program("unzip") {
            return Ok(Err("Unable to find required 'unzip' or 'zipinfo' binary in the path.".into()));
        }
        let src = self.src.display().to_string();
        let output = machine.probe(&Command::new(["unzip", "-l", &src]))?;
        if !output.success() {
            return Ok(Err(format!("Command \"unzip\" could not handle archive: {}", output.stderr_text())));
        }
        let names: Vec<String> = self.chosen(self.entries(machine)?).into_iter().map(|entry| entry.name).collect();
        Ok(match names.is_empty() {
            true => Err("Command \"unzip\" found no files in archive. Empty archive files are not supported.".into()),
            false => Ok(names),
        })
    }

    fn chosen(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let patterns = |list: Vec<String>| list.iter().filter_map(|one| glob_pattern(one)).collect::<Vec<_>>();
        let (include, exclude) = (patterns(self.arguments.include()), patterns(self.arguments.exclude()));
        let own = |entry: &Entry| match include.is_empty() {
            false => include.iter().any(|one| one.is_match(&entry.name)),
            true => !exclude.iter().any(|one| one.is_match(&entry.name)),
        };
        entries.into_iter().filter(own).collect()
    }

    fn entries(&self, machine: &Machine) -> Step<Vec<Entry>> {
        let src = self.src.display().to_string();
        let sums = machine.probe(&Command::new(["unzip", "-v", &src]))?.stdout_text();
        let modes = machine.probe(&Command::new(["unzip", "-Z", "-T", "-s", &src]))?.stdout_text();
        Ok(read(&sums, &modes))
    }

    /// Whether everything is there as in the archive. Times are not compared: contents are.
    pub(super) fn compare_zip(&self, machine: &Machine) -> Step<bool> {
        let owner = self.arguments.owner.as_ref().map(|name| machine.resolve_user(name)).transpose()?.flatten();
        let group = self.arguments.group.as_ref().map(|name| machine.resolve_group(name)).transpose()?.flatten();
        let uid = owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        for entry in self.chosen(self.entries(machine)?) {
            let path = self.dest.join(&entry.name);
            let Some(stat) = machine.lstat(&path)? else { return Ok(false) };
            let directory = entry.name.ends_with('/');
            if stat.is_dir() != directory || stat.is_link() != entry.link || (stat.uid, stat.gid) != (uid, gid) {
                return Ok(false);
            }
            let wanted = match &self.arguments.mode {
                Some(mode) => mode.resolve(stat.mode, directory, machine.umask()).ok(),
                None => entry.mode,
            };
            if !entry.link && wanted.is_some_and(|mode| mode != stat.mode & 0o7777) {
                return Ok(false);
            }
            if stat.is_file() && !(self.arguments.keep_newer.0 && as_new(machine, &stat, &entry)?) {
                let mut crc = flate2::Crc::new();
                let mut file = machine.open_file(&path)?;
                let mut chunk = vec![0; 64 * 1024];
                while let Ok(read) = file.read(&mut chunk) {
                    if read == 0 {
                        break;
                    }
                    crc.update(chunk.get(..read).unwrap_or_default());
                }
                if stat.size != Some(entry.size) || crc.sum() != entry.crc {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Unpacks it.
    pub(super) fn extract_zip(&self, machine: &mut Machine) -> Step<(Vec<String>, Output)> {
        let program = machine.find_program("unzip").unwrap_or_else(|| "unzip".into());
        let mut argv = vec![program, "-o".to_string()];
        if self.arguments.keep_newer.0 {
            argv.push("-u".into());
        }
        argv.extend(self.arguments.extra_opts());
        argv.push(self.src.display().to_string());
        if !self.arguments.exclude().is_empty() {
            argv.push("-x".into());
            argv.extend(self.arguments.exclude());
        }
        argv.extend(self.arguments.include());
        argv.extend(["-d".to_string(), self.dest.display().to_string()]);
        let output = machine.run_tool(&self.dest, "unpacked an archive", &Command::new(argv.clone()))?;
        Ok((argv, output))
    }
}

/// Whether a file is as new as an entry: `unzip -u` keeps it then.
fn as_new(machine: &Machine, stat: &Stat, entry: &Entry) -> Step<bool> {
    let Some(time) = stat.mtime.filter(|_| !entry.time.is_empty()) else { return Ok(false) };
    // The list is in the host's zone, which `date` knows.
    let output = machine.probe(&Command::new(["date", "-d", &format!("@{}", time.0), "+%Y%m%d.%H%M%S"]))?;
    Ok(output.success() && output.stdout_text().trim() >= entry.time.as_str())
}

/// Reads both lists, which have the entries in one order.
fn read(sums: &str, modes: &str) -> Vec<Entry> {
    //  Length   Method    Size  Cmpr    Date    Time   CRC-32   Name
    let mut entries: Vec<Entry> = Vec::new();
    for line in sums.lines() {
        let Some((fields, name)) = columns(line, 7) else { continue };
        let number = |at: usize| fields.get(at).copied().unwrap_or_default();
        let (Ok(size), Ok(crc)) = (number(0).parse(), u32::from_str_radix(number(6), 16)) else { continue };
        if number(6).len() == 8 {
            entries.push(Entry { name: name.to_string(), size, crc, mode: None, link: false, time: String::new() });
        }
    }
    // -rw-r--r--  3.0 unx     6 tx stor 20261122.235900 name
    for line in modes.lines() {
        let Some((fields, name)) = columns(line, 7) else { continue };
        let word = fields.first().copied().unwrap_or_default();
        if !(word.starts_with(['-', 'd', 'l', '?']) && fields.get(6).is_some_and(|time| time.len() == 15)) {
            continue;
        }
        if let Some(entry) = entries.iter_mut().find(|entry| entry.name == name && entry.mode.is_none()) {
            entry.link = word.starts_with('l');
            entry.time = fields.get(6).copied().unwrap_or_default().to_string();
            entry.mode = permissions(word.get(1..).unwrap_or_default());
        }
    }
    entries
}

/// Some first fields of a line, and the rest of it.
fn columns(line: &str, count: usize) -> Option<(Vec<&str>, &str)> {
    let mut rest = line.trim_start();
    let mut fields = Vec::new();
    for _ in 0..count {
        let (field, behind) = rest.split_once(' ')?;
        fields.push(field);
        rest = behind.trim_start();
    }
    (!rest.is_empty()).then_some((fields, rest))
}

/// `rw-r--r--` as bits; those that are set for the owner alone are no business of unzip's.
fn permissions(word: &str) -> Option<u32> {
    if word.len() != 9 {
        return None;
    }
    Some(word.bytes().fold(0, |mode, b| mode << 1 | u32::from(matches!(b, b'r' | b'w' | b'x' | b's' | b't'))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_of_unzip_are_read() {
        let sums = "Archive:  x.zip\n Length   Method    Size  Cmpr    Date    Time   CRC-32   Name\n\
                    --------  ------  ------- ---- ---------- ----- --------  ----\n\
                    \u{20}      0  Stored        0   0% 2026-11-22 23:59 00000000  d/\n\
                    \u{20}      6  Stored        6   0% 2026-11-22 23:59 363a3020  d/a b\n\
                    --------          -------  ---                            -------\n       6                6   0%                            2 files\n";
        let modes = "Archive:  x.zip\nZip file size: 300 bytes, number of entries: 2\n\
                     drwxr-xr-x  3.0 unx        0 bx stor 20261122.235900 d/\n\
                     -rw-r-----  3.0 unx        6 tx stor 20261122.235900 d/a b\n2 files, 6 bytes uncompressed\n";
        let found = super::read(sums, modes);
        let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.size, one.crc, one.mode)).collect();
        assert_eq!(shown, [("d/", 0, 0, Some(0o755)), ("d/a b", 6, 0x363a_3020, Some(0o640))]);
    }
}
