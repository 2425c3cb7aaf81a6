//! Contents as one side of a change: text to be diffed, a digest, or the fingerprint of a secret.

use super::digest::{Digests, sha256};
use crate::machine::{Domain, Facet, Machine, Result, Subject};
use std::path::Path;

/// Contents up to this size are kept in changes as text.
pub const TEXT_LIMIT: u64 = 256 * 1024;

/// Files whose contents are secret wherever they come from.
const SECRET_FILES: &[&str] = &["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/machine-id"];

/// Whether bytes hold a private key in PEM.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

impl Machine {
    pub(super) fn file_subject(path: &Path) -> Subject {
        Subject::new(Domain::File, path.to_string_lossy())
    }

    /// Bytes in memory as a side of a change.
    pub(super) fn content_facet(&self, path: &Path, bytes: &[u8], sensitive: bool) -> Facet {
        if sensitive || self.no_log || is_key(bytes) || SECRET_FILES.iter().any(|secret| Path::new(secret) == path) {
            return Facet::Secret { fingerprint: fingerprint(&sha256(bytes)) };
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if self.diff && bytes.len() as u64 <= TEXT_LIMIT && !bytes.contains(&0) => {
                Facet::Text(text.to_string())
            }
            _ => Facet::Bytes { size: bytes.len() as u64, sha256: sha256(bytes) },
        }
    }

    /// Contents known by their digest only.
    pub(super) fn digest_facet(&self, digests: &Digests, sensitive: bool) -> Facet {
        if sensitive || self.no_log {
            return Facet::Secret { fingerprint: fingerprint(&digests.sha256) };
        }
        Facet::Bytes { size: digests.size, sha256: digests.sha256.clone() }
    }

    /// The present contents of a file as a side of a change.
    pub(super) fn present_content_facet(&self, path: &Path, size: Option<u64>, sensitive: bool) -> Result<Facet> {
        if size.is_some_and(|size| size <= TEXT_LIMIT) {
            // The file may grow meanwhile; then its digest is as good.
            if let Ok(bytes) = self.read_file(path, TEXT_LIMIT) {
                return Ok(self.content_facet(path, &bytes, sensitive));
            }
        }
        match self.file_digests(path) {
            Ok(digests) => Ok(self.digest_facet(&digests, sensitive)),
            Err(crate::machine::MachineError::Unknown { .. }) => Ok(Facet::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// A short mark that differs when the contents differ, and that tells nothing to who does not know this host: short
/// secrets could be found by trying if it were their plain digest.
pub(crate) fn fingerprint(digest: &str) -> String {
    let host = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    sha256(format!("deploy fingerprint\n{}\n{digest}", host.trim()).as_bytes()).chars().take(12).collect()
}
