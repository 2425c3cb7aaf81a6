//! A store in one tar file, and back: what `tar -xpf` into an empty directory makes a store of again.
//!
//! The CA keys in it are encrypted as they are in the store, so a copy is worth nothing without the passphrase.

use std::collections::BTreeMap;

use super::{AuthorityView, Locked, Passphrase, PkiError, PrivateKey, Storage, Store, UnixTime, inspect};

const BLOCK: usize = 512;

/// Packs files (names with `/`, relative) into a tar file; directories come before what is in them.
pub fn pack(files: &[(String, Vec<u8>)], now: UnixTime) -> Result<Vec<u8>, PkiError> {
    let mut out = Vec::new();
    let mut made: Vec<String> = Vec::new();
    for (name, bytes) in files {
        for (at, _) in name.match_indices('/') {
            let directory = name[..=at].to_string();
            if !made.contains(&directory) {
                out.extend(header(&directory, 0, 0o700, b'5', now)?);
                made.push(directory);
            }
        }
        out.extend(header(name, bytes.len(), 0o600, b'0', now)?);
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    Ok(out)
}

/// One header of the format that POSIX calls ustar.
fn header(name: &str, size: usize, mode: u32, kind: u8, now: UnixTime) -> Result<[u8; BLOCK], PkiError> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    if name.len() > 100 {
        let why = "its name is longer than 100 characters, which a backup cannot hold".to_string();
        return Err(PkiError::Damaged { path: name.to_string(), why });
    }
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\x000000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", now.max(0)).as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// A packed store, in memory, for reading only.
#[derive(Debug, Clone)]
pub struct Archive {
    files: BTreeMap<String, Vec<u8>>,
    name: String,
}

impl Archive {
    /// Reads what [`pack`] wrote. `name` is what it is called in messages.
    pub fn read(bytes: &[u8], name: &str) -> Result<Archive, PkiError> {
        let bad = |why: String| PkiError::Damaged { path: name.to_string(), why };
        let mut files = BTreeMap::new();
        let mut rest = bytes;
        loop {
            let Some((block, behind)) = rest.split_at_checked(BLOCK) else {
                return Err(bad("it ends in the middle".into()));
            };
            if block.iter().all(|byte| *byte == 0) {
                break;
            }
            let text = |from: usize, length: usize| {
                let field = &block[from..from + length];
                let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
                String::from_utf8_lossy(&field[..end]).trim().to_string()
            };
            let number = |from, length| usize::from_str_radix(&text(from, length), 8).ok();
            let sum: usize = block
                .iter()
                .enumerate()
                .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { usize::from(*byte) })
                .sum();
            if number(148, 8) != Some(sum) {
                return Err(bad("a header's checksum is wrong, or it is no tar file".into()));
            }
            let size = number(124, 12).ok_or_else(|| bad("a size in it is no number".into()))?;
            let Some((body, _)) = behind.split_at_checked(size) else {
                return Err(bad("it ends in the middle".into()));
            };
            let file = text(0, 100);
            match block[156] {
                b'0' | 0 => {
                    let plain = |part: &str| !matches!(part, "" | "." | "..");
                    if !file.split('/').all(plain) {
                        return Err(bad(format!("it holds `{file}`, which is no name inside a store")));
                    }
                    files.insert(file, body.to_vec());
                }
                b'5' => {}
                _ => return Err(bad(format!("it holds `{file}`, which is neither a file nor a directory"))),
            }
            rest = behind.get(size.next_multiple_of(BLOCK)..).ok_or_else(|| bad("it ends in the middle".into()))?;
        }
        Ok(Archive { files, name: name.to_string() })
    }

    /// The store that is in it: every authority and every record is read, and with a passphrase every CA key is opened and
    /// held against its certificate. Gives the authorities, and how many certificates are recorded.
    pub fn verify(self, passphrase: Option<&Passphrase>) -> Result<(Vec<AuthorityView>, usize), PkiError> {
        let damaged = |path: &str, why: &str| PkiError::Damaged { path: path.to_string(), why: why.to_string() };
        let text = |path: &str| {
            let bytes = self.files.get(path).ok_or_else(|| damaged(path, "it is missing"))?;
            String::from_utf8(bytes.clone()).map_err(|_| damaged(path, "it is not UTF-8"))
        };
        for path in self.files.keys().filter(|path| path.ends_with("/key.pem")) {
            let Some(passphrase) = passphrase else { continue };
            let key = PrivateKey::from_pem(&text(path)?, path, &|| passphrase.get())?;
            let cert = format!("{}cert.pem", path.trim_end_matches("key.pem"));
            if inspect(&text(&cert)?, &cert)?.public_key_sha256 != key.public_sha256() {
                return Err(damaged(path, "it is not the key of the certificate beside it"));
            }
        }
        let nobody = Passphrase::given(crate::secret::Secret::new(String::new()));
        let store = Store::new(Box::new(self.clone()), nobody);
        let mut views = Vec::new();
        for name in store.authorities()? {
            let view = store.require(&name)?;
            let key = format!("ca/{name}/{}/key.pem", view.info.serial);
            if !self.files.contains_key(&key) {
                return Err(damaged(&key, "the authority's key is missing"));
            }
            views.push(view);
        }
        store.revoked()?;
        Ok((views, store.issued()?.len()))
    }
}

impl Storage for Archive {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, PkiError> {
        Ok(self.files.get(name).cloned())
    }

    fn write(&self, name: &str, _: &[u8], _: u32) -> Result<(), PkiError> {
        Err(PkiError::Damaged { path: name.to_string(), why: "a backup is not written to".into() })
    }

    fn remove(&self, name: &str) -> Result<(), PkiError> {
        Err(PkiError::Damaged { path: name.to_string(), why: "a backup is not written to".into() })
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, PkiError> {
        Ok(self.files.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn lock(&self) -> Result<Locked, PkiError> {
        Ok(Locked::nothing())
    }

    fn keeps(&self) -> bool {
        false
    }

    fn location(&self) -> String {
        self.name.clone()
    }
}
