//! Digests of contents: SHA-256 for us, SHA-1 and MD5 because Ansible returns them.

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use std::io::Read;

/// Bytes read at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
        text
    })
}

/// SHA-256 of bytes in memory, hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Digests of one content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// SHA-1, hex: Ansible's `checksum`. Empty where a check knows only the SHA-256.
    pub sha1: String,
    /// MD5, hex: Ansible's `md5sum`. Empty where a check knows only the SHA-256.
    pub md5: String,
}

impl Digests {
    /// Of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digests {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Of everything that can be read.
    pub fn of_reader(reader: &mut dyn Read) -> std::io::Result<Digests> {
        let mut hasher = Hasher::new();
        each_chunk(reader, |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        Ok(hasher.finish())
    }
}

/// Computes [`Digests`] while bytes pass by.
pub(super) struct Hasher {
    size: u64,
    sha256: Sha256,
    sha1: Sha1,
    md5: md5::Context,
}

impl Hasher {
    pub fn new() -> Hasher {
        Hasher { size: 0, sha256: Sha256::new(), sha1: Sha1::new(), md5: md5::Context::new() }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        self.sha1.update(bytes);
        self.md5.consume(bytes);
    }

    pub fn finish(self) -> Digests {
        Digests {
            size: self.size,
            sha256: hex(&self.sha256.finalize()),
            sha1: hex(&self.sha1.finalize()),
            md5: hex(&self.md5.finalize().0),
        }
    }
}

/// Hands everything that can be read to `take`, in chunks.
pub(super) fn each_chunk(
    reader: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => take(chunk.get(..n).unwrap_or_default())?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The algorithms that `stat` and `find` offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// MD5
    Md5,
    /// SHA-1
    #[default]
    Sha1,
    /// SHA-224
    Sha224,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Algorithm {
    /// The digest of everything that can be read, hex.
    pub fn digest(self, reader: &mut dyn Read) -> std::io::Result<String> {
        fn with<D: Digest>(reader: &mut dyn Read) -> std::io::Result<String> {
            let mut hasher = D::new();
            each_chunk(reader, |chunk| {
                hasher.update(chunk);
                Ok(())
            })?;
            Ok(hex(&hasher.finalize()))
        }
        match self {
            Algorithm::Md5 => {
                let mut context = md5::Context::new();
                each_chunk(reader, |chunk| {
                    context.consume(chunk);
                    Ok(())
                })?;
                Ok(hex(&context.finalize().0))
            }
            Algorithm::Sha1 => with::<Sha1>(reader),
            Algorithm::Sha224 => with::<Sha224>(reader),
            Algorithm::Sha256 => with::<Sha256>(reader),
            Algorithm::Sha384 => with::<Sha384>(reader),
            Algorithm::Sha512 => with::<Sha512>(reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_tools() {
        let digests = Digests::of(b"hello\n");
        assert_eq!(digests.md5, "b1946ac92492d2347c6235b4d2611184");
        assert_eq!(digests.sha1, "f572d396fae9206628714fb2ce00f72e94f2258f");
        assert_eq!(digests.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        for (algorithm, start) in
            [(Algorithm::Md5, "b1946ac9"), (Algorithm::Sha1, "f572d396"), (Algorithm::Sha512, "e7c22b99")]
        {
            assert!(algorithm.digest(&mut &b"hello\n"[..]).unwrap().starts_with(start), "{algorithm:?}");
        }
    }
}
