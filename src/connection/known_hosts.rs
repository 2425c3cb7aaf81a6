//! `known_hosts` files as OpenSSH reads them: markers, patterns, negation, ports, hashed names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// One line of a known_hosts file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What kind of line it is.
    pub marker: Marker,
    hosts: Hosts,
    /// The key's type as written, like `ssh-ed25519`.
    pub key_type: String,
    /// The key's blob.
    pub key: Vec<u8>,
}

/// The first word of a line, when it starts with `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// An ordinary host key.
    HostKey,
    /// `@cert-authority`: a key that signs host certificates.
    Authority,
    /// `@revoked`: a key that must never be accepted.
    Revoked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    Patterns(Vec<Pattern>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    negated: bool,
    text: String,
}

/// The lines of all files that concern one connection, in the order of the files. Files are shared, so that a
/// hundred hosts read a long file once.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    files: Vec<Arc<Vec<Entry>>>,
}

/// Reads one file. A missing file is empty; a line that cannot be read is skipped, as OpenSSH does.
pub fn read_file(path: &Path) -> std::io::Result<Vec<Entry>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(path, &String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The lines of `text`.
pub fn parse(path: &Path, text: &str) -> Vec<Entry> {
    text.lines().enumerate().filter_map(|(i, line)| parse_line(path, i + 1, line)).collect()
}

fn parse_line(path: &Path, number: usize, line: &str) -> Option<Entry> {
    let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
    let mut first = words.next()?;
    if first.starts_with('#') {
        return None;
    }
    let marker = match first {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        _ if first.starts_with('@') => return None,
        _ => Marker::HostKey,
    };
    if marker != Marker::HostKey {
        first = words.next()?;
    }
    let hosts = parse_hosts(first)?;
    let key_type = words.next()?.to_string();
    let encoded = words.next()?.trim_end_matches('=');
    let key = STANDARD_NO_PAD.decode(encoded).ok()?;
    // The blob repeats the type; a line where they differ is broken.
    if blob_type(&key)? != key_type {
        return None;
    }
    Some(Entry { file: path.to_path_buf(), line: number, marker, hosts, key_type, key })
}

fn parse_hosts(field: &str) -> Option<Hosts> {
    if let Some(hashed) = field.strip_prefix("|1|") {
        let (salt, hash) = hashed.split_once('|')?;
        return Some(Hosts::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? });
    }
    let patterns = field
        .split(',')
        .filter(|p| !p.is_empty())
        .map(|p| match p.strip_prefix('!') {
            Some(rest) => Pattern { negated: true, text: rest.to_ascii_lowercase() },
            None => Pattern { negated: false, text: p.to_ascii_lowercase() },
        })
        .collect();
    Some(Hosts::Patterns(patterns))
}

/// The type a key blob says it has.
pub fn blob_type(blob: &[u8]) -> Option<&str> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// `SHA256:…` of a key blob, as `ssh-keygen -l` shows it.
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// The name a host is recorded under: the plain name on port 22, `[name]:port` on others.
pub fn record_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// A line that records `key` for `name`.
pub fn record_line(name: &str, key_type: &str, key: &[u8], hash_salt: Option<[u8; 20]>) -> String {
    let name = match hash_salt {
        Some(salt) => format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash_name(&salt, name))),
        None => name.to_string(),
    };
    format!("{name} {key_type} {}\n", STANDARD.encode(key))
}

fn hash_name(salt: &[u8], name: &str) -> Vec<u8> {
    // HMAC takes keys of any length, so the error cannot happen; an empty hash matches nothing.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return Vec::new() };
    mac.update(name.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Whether `text` matches a pattern with `*` and `?`.
pub fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last star seen, and how much of the text it had swallowed then.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(want) if *want == '?' || want == c => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

impl Entry {
    /// Whether the line is about `name` (as [`record_name`] gives it).
    pub fn matches(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Hashed { salt, hash } => !hash.is_empty() && hash_name(salt, name) == *hash,
            Hosts::Patterns(patterns) => {
                let mut hit = false;
                for pattern in patterns {
                    if wildcard(&pattern.text, name) {
                        if pattern.negated {
                            return false;
                        }
                        hit = true;
                    }
                }
                hit
            }
        }
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

impl KnownHosts {
    /// The lines of several files together.
    pub fn new(files: Vec<Arc<Vec<Entry>>>) -> Self {
        KnownHosts { files }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.iter().flat_map(|f| f.iter())
    }

    /// The host keys recorded for `name`.
    pub fn keys<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Entry> + use<'a, 'n> {
        self.entries().filter(move |e| e.marker == Marker::HostKey && e.matches(name))
    }

    /// The certificate authorities trusted for `name`.
    pub fn authorities<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a Entry> + use<'a, 'n> {
        self.entries().filter(move |e| e.marker == Marker::Authority && e.matches(name))
    }

    /// The line that revokes `key` for `name`, if there is one.
    pub fn revoked(&self, name: &str, key: &[u8]) -> Option<&Entry> {
        self.entries().find(|e| e.marker == Marker::Revoked && e.key == key && e.matches(name))
    }
}

#[cfg(test)]
mod tests;
