//! Reading a `.deb`: its entries, small contents that matter, its maintainer scripts.

use crate::machine::{MachineError, Result};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// What an entry of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    Link,
    HardLink,
    Other,
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path.
    pub path: String,
    pub kind: EntryKind,
    pub mode: u32,
    pub owner: String,
    pub group: String,
    /// What a link points to.
    pub target: String,
    /// Contents, where they were wanted.
    pub body: Option<Vec<u8>>,
}

/// What is in a package.
#[derive(Clone, Debug, Default)]
pub struct Archive {
    /// Entries in the order of the archive.
    pub entries: Vec<Entry>,
    /// Paths of configuration files.
    pub conffiles: Vec<String>,
    /// `preinst` and `postinst`, one after the other.
    pub scripts: String,
}

/// Contents larger than this are not kept.
const KEPT: u64 = 256 * 1024;

/// Reads a package file.
pub fn read(path: &Path) -> Result<Archive> {
    let mut archive = Archive::default();
    stream(
        path,
        "--ctrl-tarfile",
        |name| matches!(name, "/preinst" | "/postinst" | "/conffiles"),
        |entry| {
            let text = String::from_utf8_lossy(entry.body.as_deref().unwrap_or_default()).into_owned();
            match entry.path.as_str() {
                "/conffiles" => {
                    archive.conffiles.extend(text.lines().filter(|l| l.starts_with('/')).map(str::to_string))
                }
                "/preinst" | "/postinst" => {
                    archive.scripts.push_str(&text);
                    archive.scripts.push('\n');
                }
                _ => {}
            }
        },
    )?;
    let mut entries = Vec::new();
    stream(path, "--fsys-tarfile", is_telling, |entry| entries.push(entry))?;
    archive.entries = entries;
    Ok(archive)
}

/// Whether the contents of a file are worth keeping: configuration, and what says which units, users and
/// directories there will be.
fn is_telling(path: &str) -> bool {
    path.starts_with("/etc/")
        || ["systemd/system/", "sysusers.d/", "tmpfiles.d/"].iter().any(|part| {
            path.trim_start_matches("/usr").strip_prefix("/lib/").is_some_and(|rest| rest.starts_with(part))
        })
}

/// Runs `dpkg-deb` and reads the tar archive that it writes.
fn stream(package: &Path, part: &str, wanted: fn(&str) -> bool, mut each: impl FnMut(Entry)) -> Result<()> {
    let what = || format!("cannot read the package {}", package.display());
    let mut child = Command::new("dpkg-deb")
        .arg(part)
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| MachineError::io(what(), e))?;
    let result = match child.stdout.take() {
        Some(pipe) => read_tar(std::io::BufReader::with_capacity(256 * 1024, pipe), wanted, &mut each),
        None => Ok(()),
    };
    let status = child.wait().map_err(|e| MachineError::io(what(), e))?;
    result.map_err(|e| MachineError::io(what(), e))?;
    if !status.success() {
        return Err(MachineError::failed(format!("{}: dpkg-deb ended with {status}", what())));
    }
    Ok(())
}

/// Reads a tar archive (ustar, with GNU's and POSIX' long names).
pub fn read_tar(mut reader: impl Read, wanted: fn(&str) -> bool, each: &mut dyn FnMut(Entry)) -> std::io::Result<()> {
    let mut long_name: Option<String> = None;
    let mut long_target: Option<String> = None;
    loop {
        let mut header = [0u8; 512];
        if !fill(&mut reader, &mut header)? || header.iter().all(|b| *b == 0) {
            // What follows the end is read too, so that the writer is not stopped by a closed pipe.
            std::io::copy(&mut reader, &mut std::io::sink())?;
            return Ok(());
        }
        let field = |from: usize, length: usize| header.get(from..from + length).unwrap_or_default();
        let size = number(field(124, 12));
        let padded = size.div_ceil(512) * 512;
        let kind = field(156, 1).first().copied().unwrap_or(0);
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            let bytes = body(&mut reader, size, padded)?;
            let text_of = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string();
            match kind {
                b'L' => long_name = Some(text_of(&bytes)),
                b'K' => long_target = Some(text_of(&bytes)),
                b'x' => {
                    for (key, value) in pax(&bytes) {
                        match key.as_str() {
                            "path" => long_name = Some(value),
                            "linkpath" => long_target = Some(value),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
            continue;
        }
        let prefix = if field(257, 6) == b"ustar\0" { text(field(345, 155)) } else { String::new() };
        let short = text(field(0, 100));
        let name = long_name.take().unwrap_or(if prefix.is_empty() { short } else { format!("{prefix}/{short}") });
        let target = long_target.take().unwrap_or_else(|| text(field(157, 100)));
        let path = absolute(&name);
        let kind = match kind {
            0 | b'0' | b'7' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::Link,
            b'5' => EntryKind::Directory,
            _ => EntryKind::Other,
        };
        let kept = kind == EntryKind::File && size <= KEPT && wanted(&path);
        let bytes = if kept {
            Some(body(&mut reader, size, padded)?)
        } else {
            skip(&mut reader, padded)?;
            None
        };
        each(Entry {
            path,
            kind,
            mode: (number(field(100, 8)) & 0o7777) as u32,
            owner: text(field(265, 32)),
            group: text(field(297, 32)),
            target: if kind == EntryKind::HardLink { absolute(&target) } else { target },
            body: bytes,
        });
    }
}

fn absolute(name: &str) -> String {
    let name = name.trim_start_matches("./").trim_matches('/');
    if name == "." { "/".into() } else { format!("/{name}") }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

/// An octal number, or a binary one where the first bit says so.
fn number(field: &[u8]) -> u64 {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        return field.iter().skip(1).fold(0u64, |sum, b| (sum << 8) | u64::from(*b));
    }
    field.iter().filter(|b| (b'0'..=b'7').contains(b)).fold(0, |sum, b| sum * 8 + u64::from(b - b'0'))
}

/// Records of an extended header: `LENGTH KEY=VALUE\n`.
fn pax(bytes: &[u8]) -> Vec<(String, String)> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some(space) = rest.iter().position(|b| *b == b' ') {
        let length = number_decimal(rest.get(..space).unwrap_or_default());
        let Some(record) = rest.get(space + 1..length) else {
            break;
        };
        let record = String::from_utf8_lossy(record);
        if let Some((key, value)) = record.trim_end_matches('\n').split_once('=') {
            records.push((key.to_string(), value.to_string()));
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    records
}

fn number_decimal(digits: &[u8]) -> usize {
    std::str::from_utf8(digits).ok().and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn body(reader: &mut impl Read, size: u64, padded: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(size).read_to_end(&mut bytes)?;
    skip(reader, padded - size)?;
    Ok(bytes)
}

fn skip(reader: &mut impl Read, bytes: u64) -> std::io::Result<()> {
    let skipped = std::io::copy(&mut reader.by_ref().take(bytes), &mut std::io::sink())?;
    if skipped < bytes {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Fills a block; says no at the end.
fn fill(reader: &mut impl Read, block: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(block) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A real package, made by dpkg itself.
    fn sample(directory: &Path) -> std::path::PathBuf {
        let root = directory.join("root");
        let long = "d".repeat(120);
        for (path, contents) in [
            ("DEBIAN/control", "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"),
            ("DEBIAN/postinst", "#!/bin/sh\ndeb-systemd-helper enable 'sample.service'\n"),
            ("DEBIAN/conffiles", "/etc/sample.conf\n"),
            ("etc/sample.conf", "a = 1\n"),
            ("usr/bin/sample", "binary"),
            (&format!("usr/share/{long}/file"), "x"),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        std::os::unix::fs::symlink("sample", root.join("usr/bin/alias")).unwrap();
        let mode = |path: &str, mode| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("DEBIAN/postinst", 0o755);
        mode("DEBIAN", 0o755);
        mode("etc/sample.conf", 0o640);
        let deb = directory.join("sample.deb");
        let built =
            Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(&deb).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        deb
    }

    #[test]
    fn a_package_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let archive = read(&sample(directory.path())).unwrap();
        assert_eq!(archive.conffiles, ["/etc/sample.conf"]);
        assert!(archive.scripts.contains("deb-systemd-helper enable"));
        let find = |path: &str| archive.entries.iter().find(|e| e.path == path).unwrap_or_else(|| panic!("{path}"));
        let conf = find("/etc/sample.conf");
        assert_eq!((conf.mode, conf.owner.as_str(), conf.body.as_deref()), (0o640, "root", Some(&b"a = 1\n"[..])));
        assert_eq!(find("/usr/bin/sample").body, None);
        assert_eq!((find("/usr/bin/alias").kind, find("/usr/bin/alias").target.as_str()), (EntryKind::Link, "sample"));
        assert_eq!(find("/usr/bin").kind, EntryKind::Directory);
        find(&format!("/usr/share/{}/file", "d".repeat(120)));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.deb");
        std::fs::write(&path, "no").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("x.deb"));
    }
}
