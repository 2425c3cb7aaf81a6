//! Key files: read once, their passphrases asked once, however many hosts they open.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key};

use super::ask::Asker;
use crate::secret::Secret;

/// The key files of a run.
#[derive(Default)]
pub(crate) struct KeyStore {
    files: Mutex<HashMap<PathBuf, Arc<KeyFile>>>,
}

/// What a key file turned out to be.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    /// The public half, when it can be known without a passphrase.
    pub(crate) public: Option<PublicKey>,
    /// The certificate beside it (`…-cert.pub`).
    pub(crate) certificate: Option<Certificate>,
    pub(crate) private: Private,
    /// The key once its passphrase is known, or why it stays closed. The lock makes hosts wait for one question.
    unlocked: tokio::sync::Mutex<Option<Result<Arc<PrivateKey>, String>>>,
}

/// The private half.
pub(crate) enum Private {
    Ready(Arc<PrivateKey>),
    /// Needs a passphrase; the file's text.
    Encrypted(Secret),
    /// The file does not exist, though a public key may lie beside it: an agent may hold the rest.
    Missing,
    /// It cannot be used, and why.
    Unusable(String),
}

impl KeyStore {
    /// The key at `path`.
    pub(crate) fn get(&self, path: &Path) -> Arc<KeyFile> {
        let Ok(mut files) = self.files.lock() else { return Arc::new(read(path)) };
        files.entry(path.to_path_buf()).or_insert_with(|| Arc::new(read(path))).clone()
    }
}

fn read(path: &Path) -> KeyFile {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let certificate = read_certificate(&beside("-cert.pub"));
    let mut public = std::fs::read_to_string(beside(".pub")).ok().and_then(|t| PublicKey::from_openssh(t.trim()).ok());
    let mut private = read_private(path);
    match &private {
        Private::Ready(key) => public = Some(key.public_key().clone()),
        Private::Encrypted(text) => {
            if let Ok(key) = PrivateKey::from_openssh(text.expose()) {
                public = Some(key.public_key().clone());
            }
        }
        // A public key given as the identity selects a key of the agent.
        Private::Unusable(_) => {
            if let Some(key) = std::fs::read_to_string(path).ok().and_then(|t| PublicKey::from_openssh(t.trim()).ok()) {
                public = Some(key);
                private = Private::Missing;
            }
        }
        Private::Missing => {}
    }
    KeyFile { path: path.to_path_buf(), public, certificate, private, unlocked: Default::default() }
}

/// A certificate file, if it is one.
pub(crate) fn read_certificate(path: &Path) -> Option<Certificate> {
    Certificate::from_openssh(std::fs::read_to_string(path).ok()?.trim()).ok()
}

fn read_private(path: &Path) -> Private {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Secret::from(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Private::Missing,
        Err(e) => return Private::Unusable(e.to_string()),
    };
    if text.expose().starts_with("ssh-") || text.expose().starts_with("ecdsa-") {
        return Private::Unusable("it is a public key".to_string());
    }
    if let Ok(meta) = std::fs::metadata(path)
        && meta.uid() == rustix::process::getuid().as_raw()
        && meta.mode() & 0o077 != 0
    {
        return Private::Unusable(format!(
            "its mode is {:04o}, so others can read it; chmod 600 {}",
            meta.mode() & 0o7777,
            path.display()
        ));
    }
    match PrivateKey::from_openssh(text.expose()) {
        Ok(key) if key.is_encrypted() => return Private::Encrypted(text),
        Ok(key) => return Private::Ready(Arc::new(key)),
        Err(_) => {}
    }
    match decode_secret_key(text.expose(), None) {
        Ok(key) if key.is_encrypted() => Private::Encrypted(text),
        Ok(key) => Private::Ready(Arc::new(key)),
        Err(_) if text.expose().contains("ENCRYPTED") || text.expose().contains("Encryption: aes") => {
            Private::Encrypted(text)
        }
        Err(e) => Private::Unusable(format!("it is no private key that can be read here: {e}")),
    }
}

impl KeyFile {
    /// The private key, asking for its passphrase if need be: once, whoever asks.
    pub(crate) async fn unlock(
        &self,
        passphrase: Option<&Secret>,
        asker: Option<&Asker>,
    ) -> Result<Arc<PrivateKey>, String> {
        let text = match &self.private {
            Private::Ready(key) => return Ok(key.clone()),
            Private::Encrypted(text) => text,
            Private::Missing => return Err("the file does not exist".to_string()),
            Private::Unusable(reason) => return Err(reason.clone()),
        };
        let mut unlocked = self.unlocked.lock().await;
        if let Some(known) = &*unlocked {
            return known.clone();
        }
        let result = self.try_unlock(text, passphrase, asker).await;
        *unlocked = Some(result.clone());
        result
    }

    async fn try_unlock(
        &self,
        text: &Secret,
        passphrase: Option<&Secret>,
        asker: Option<&Asker>,
    ) -> Result<Arc<PrivateKey>, String> {
        if let Some(passphrase) = passphrase {
            return decrypt(text.clone(), passphrase.clone())
                .await
                .ok_or_else(|| "the passphrase given for it is wrong".to_string());
        }
        let Some(asker) = asker else { return Err("it needs a passphrase, and nobody may be asked".to_string()) };
        let turn = asker.turn().await;
        for attempt in 0..3 {
            let again = if attempt == 0 { "" } else { "That was wrong. " };
            let prompt = format!("{again}Passphrase for the key {}: ", self.path.display());
            match turn.secret(prompt).await {
                Some(answer) if !answer.is_empty() => {
                    if let Some(key) = decrypt(text.clone(), answer).await {
                        return Ok(key);
                    }
                }
                _ => return Err("it needs a passphrase, and none was given (an ssh-agent can hold it)".to_string()),
            }
        }
        Err("the passphrase was wrong three times".to_string())
    }
}

/// Decrypts off the async threads: bcrypt is slow on purpose.
async fn decrypt(text: Secret, passphrase: Secret) -> Option<Arc<PrivateKey>> {
    tokio::task::spawn_blocking(move || match PrivateKey::from_openssh(text.expose()) {
        Ok(key) => key.decrypt(passphrase.expose()).ok().map(Arc::new),
        Err(_) => decode_secret_key(text.expose(), Some(passphrase.expose())).ok().map(Arc::new),
    })
    .await
    .ok()
    .flatten()
}
