//! Contents that hosts ask for: files are streamed from where they are, never read whole.

use crate::modules::Content;
use base64::Engine;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, RwLock};
use tokio::io::AsyncRead;

/// Contents being read.
pub type BlobReader = Box<dyn AsyncRead + Send + Unpin>;

/// Where contents come from.
pub trait BlobSource: Send + Sync {
    /// Opens the contents with this hash.
    fn open<'a>(&'a self, sha256: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<BlobReader>> + Send + 'a>>;
}

/// Has nothing.
pub struct NoBlobs;

impl BlobSource for NoBlobs {
    fn open<'a>(&'a self, _: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<BlobReader>> + Send + 'a>> {
        Box::pin(async { Err(std::io::Error::other("the task has no such contents")) })
    }
}

/// What a run offers to its hosts. One is enough for all sessions: contents are found by their hash.
#[derive(Default)]
pub struct Blobs {
    offered: RwLock<HashMap<String, Offered>>,
    /// Hashes of files, so that a hundred hosts do not make us read a file a hundred times.
    hashed: RwLock<HashMap<(PathBuf, u64, std::time::SystemTime), String>>,
}

#[derive(Clone)]
enum Offered {
    Bytes(Arc<[u8]>),
    File(PathBuf),
}

impl Blobs {
    /// Offers bytes; small ones travel inside the request.
    pub fn offer(&self, bytes: Vec<u8>) -> Content {
        if bytes.len() <= Content::INLINE {
            return match String::from_utf8(bytes) {
                Ok(text) => Content::Text(text),
                Err(e) => Content::Base64(base64::engine::general_purpose::STANDARD.encode(e.as_bytes())),
            };
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        let size = bytes.len() as u64;
        self.insert(sha256.clone(), Offered::Bytes(bytes.into()));
        Content::Blob { sha256, size }
    }

    /// Offers a file without keeping it in memory. It is read once for its hash; blocks meanwhile.
    pub fn offer_file(&self, path: &Path) -> std::io::Result<Content> {
        let mut file = std::fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        let size = metadata.len();
        if metadata.is_file() && size <= Content::INLINE as u64 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            return Ok(self.offer(bytes));
        }
        let key = (path.to_path_buf(), size, metadata.modified()?);
        let known = self.hashed.read().ok().and_then(|hashed| hashed.get(&key).cloned());
        let sha256 = match known {
            Some(sha256) => sha256,
            None => {
                let mut hash = Sha256::new();
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    let n = file.read(&mut buffer)?;
                    match buffer.get(..n).filter(|piece| !piece.is_empty()) {
                        Some(piece) => hash.update(piece),
                        None => break,
                    }
                }
                let sha256 = hex(&hash.finalize());
                if let Ok(mut hashed) = self.hashed.write() {
                    hashed.insert(key, sha256.clone());
                }
                sha256
            }
        };
        self.insert(sha256.clone(), Offered::File(path.to_path_buf()));
        Ok(Content::Blob { sha256, size })
    }

    fn insert(&self, sha256: String, offered: Offered) {
        if let Ok(mut all) = self.offered.write() {
            all.insert(sha256, offered);
        }
    }
}

impl BlobSource for Blobs {
    fn open<'a>(&'a self, sha256: &'a str) -> Pin<Box<dyn Future<Output = std::io::Result<BlobReader>> + Send + 'a>> {
        let offered = self.offered.read().ok().and_then(|all| all.get(sha256).cloned());
        Box::pin(async move {
            match offered {
                Some(Offered::Bytes(bytes)) => Ok(Box::new(Cursor::new(bytes)) as BlobReader),
                Some(Offered::File(path)) => {
                    let file = tokio::fs::File::open(&path).await;
                    let file = file.map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
                    Ok(Box::new(file) as BlobReader)
                }
                None => Err(std::io::Error::other("these contents were never offered")),
            }
        })
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_contents_travel_inside_and_large_ones_are_found_by_hash() {
        let blobs = Blobs::default();
        assert_eq!(blobs.offer(b"text".to_vec()), Content::Text("text".into()));
        assert_eq!(blobs.offer(vec![255]), Content::Base64("/w==".into()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        std::fs::write(&path, vec![b'x'; Content::INLINE + 1]).unwrap();
        let (a, b) = (blobs.offer_file(&path).unwrap(), blobs.offer(vec![b'x'; Content::INLINE + 1]));
        assert_eq!(a, b);
        let Content::Blob { sha256, size } = a else { panic!("{a:?}") };
        assert_eq!(size as usize, Content::INLINE + 1);
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut blobs.open(&sha256).await.unwrap(), &mut bytes).await.unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert!(blobs.open("0000").await.is_err());
    }
}
