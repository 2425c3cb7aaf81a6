//! The known_hosts files of a run: read once, learned into under a lock, failing closed.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use russh::keys::PublicKeyOrCertificate;

use super::ask::{Asker, Turn};
use super::error::{ConnectionError, HostKeyProblem};
use super::host_key::{PresentedKey, Verdict, judge, learn_name, unknown};
use super::known_hosts::{self, Entry, KnownHosts};
use super::target::Target;

/// The files read so far.
#[derive(Default)]
pub(crate) struct Trust {
    files: Mutex<HashMap<PathBuf, Arc<Vec<Entry>>>>,
}

impl Trust {
    /// What is known for `target`.
    pub(crate) fn known(&self, target: &Target) -> Result<KnownHosts, ConnectionError> {
        let mut files = Vec::new();
        for path in target.host_key.user_files.iter().chain(&target.host_key.global_files) {
            files.push(self.file(path).map_err(|e| {
                ConnectionError::config(
                    &target.name,
                    format!("cannot read the known_hosts file {}: {e}", path.display()),
                )
            })?);
        }
        for path in &target.host_key.revoked_files {
            files.push(self.revoked(path).map_err(|reason| ConnectionError::config(&target.name, reason))?);
        }
        Ok(KnownHosts::new(files))
    }

    fn file(&self, path: &Path) -> std::io::Result<Arc<Vec<Entry>>> {
        if let Some(entries) = self.files.lock().ok().and_then(|f| f.get(path).cloned()) {
            return Ok(entries);
        }
        let entries = Arc::new(known_hosts::read_file(path)?);
        if let Ok(mut files) = self.files.lock() {
            files.insert(path.to_path_buf(), entries.clone());
        }
        Ok(entries)
    }

    /// A `RevokedHostKeys` file. One that cannot be read stops everything, as in OpenSSH.
    fn revoked(&self, path: &Path) -> Result<Arc<Vec<Entry>>, String> {
        if let Some(entries) = self.files.lock().ok().and_then(|f| f.get(path).cloned()) {
            return Ok(entries);
        }
        let bytes =
            std::fs::read(path).map_err(|e| format!("cannot read the revoked host keys in {}: {e}", path.display()))?;
        if bytes.starts_with(b"SSHKRL") {
            return Err(format!(
                "{} is a binary revocation list, which is not supported; list the keys as text, one a line",
                path.display()
            ));
        }
        let text: String =
            String::from_utf8_lossy(&bytes).lines().map(|line| format!("@revoked * {}\n", line.trim())).collect();
        let entries = Arc::new(known_hosts::parse(path, &text));
        if let Ok(mut files) = self.files.lock() {
            files.insert(path.to_path_buf(), entries.clone());
        }
        Ok(entries)
    }

    fn forget(&self, path: &Path) {
        if let Ok(mut files) = self.files.lock() {
            files.remove(path);
        }
    }

    /// Decides about a presented key, asking and recording where the policy says so.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        target: &Arc<Target>,
        presented: &PublicKeyOrCertificate,
        asker: &Asker,
    ) -> Result<(), ConnectionError> {
        match judge(target, &self.known(target)?, presented) {
            Verdict::Ask(key) if !target.auth.interactive => settle(target, unknown(target, &key)),
            Verdict::Ask(_) => {
                // The turn is kept until the answer is recorded: another connection that waits for it finds the host
                // known then.
                let turn = asker.turn().await;
                let verdict = match judge(target, &self.known(target)?, presented) {
                    Verdict::Ask(key) => ask(target, key, &turn).await,
                    other => other,
                };
                self.act(target, verdict).await
            }
            verdict => self.act(target, verdict).await,
        }
    }

    async fn act(self: &Arc<Self>, target: &Arc<Target>, verdict: Verdict) -> Result<(), ConnectionError> {
        let Verdict::Learn(key) = verdict else { return settle(target, verdict) };
        let (trust, owned) = (self.clone(), target.clone());
        tokio::task::spawn_blocking(move || trust.learn(&owned, &key)).await.unwrap_or_else(|e| {
            Err(ConnectionError::HostKey {
                host: target.name.clone(),
                kind: HostKeyProblem::NotRecorded,
                reason: format!("the host key could not be recorded: {e}"),
            })
        })
    }

    /// Records a key in the first user file. What cannot be recorded is not trusted: otherwise every run would
    /// trust anew whoever answers.
    fn learn(&self, target: &Target, key: &PresentedKey) -> Result<(), ConnectionError> {
        let Some(path) = target.host_key.user_files.first() else { return Ok(()) };
        if path == Path::new("/dev/null") {
            return Ok(());
        }
        let fail = |kind, reason| ConnectionError::HostKey { host: target.name.clone(), kind, reason };
        let recorded = record(path, &learn_name(target), key, target.host_key.hash_names);
        self.forget(path);
        match recorded {
            Ok(Recorded::Done) => Ok(()),
            Ok(Recorded::Contradicted(line)) => Err(fail(
                HostKeyProblem::Changed,
                format!(
                    "the host key {} of {} contradicts {}:{line}, which was recorded a moment ago: the host shows \
                     different keys; connect again to see which",
                    key.fingerprint(),
                    learn_name(target),
                    path.display()
                ),
            )),
            Err(e) => Err(fail(
                HostKeyProblem::NotRecorded,
                format!(
                    "the new host key {} of {} could not be recorded in {}: {e}; what is not recorded is not trusted \
                     (UserKnownHostsFile names another file)",
                    key.fingerprint(),
                    learn_name(target),
                    path.display()
                ),
            )),
        }
    }
}

/// Asks whether an unknown key is the host's.
async fn ask(target: &Target, key: PresentedKey, turn: &Turn<'_>) -> Verdict {
    let question = format!(
        "The host key of {} is not known.\n{} key fingerprint is {}.\nIs this the host? Type yes, or the fingerprint \
         you expect: ",
        learn_name(target),
        key.key_type,
        key.fingerprint()
    );
    match turn.line(question).await.map(|a| a.trim().to_string()) {
        Some(answer) if answer.eq_ignore_ascii_case("yes") || answer == key.fingerprint() => Verdict::Learn(key),
        _ => unknown(target, &key),
    }
}

/// A verdict that needs no more doing. What is not plainly trusted is refused.
fn settle(target: &Target, verdict: Verdict) -> Result<(), ConnectionError> {
    match verdict {
        Verdict::Trusted => Ok(()),
        Verdict::Refused(kind, reason) => Err(ConnectionError::HostKey { host: target.name.clone(), kind, reason }),
        Verdict::Learn(key) | Verdict::Ask(key) => settle(target, unknown(target, &key)),
    }
}

enum Recorded {
    Done,
    /// Another process recorded another key meanwhile, at this line.
    Contradicted(usize),
}

/// Appends one line under a lock, so that concurrent runs do not tear each other's lines.
fn record(path: &Path, name: &str, key: &PresentedKey, hash: bool) -> std::io::Result<Recorded> {
    if let Some(directory) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let entries = known_hosts::parse(path, &String::from_utf8_lossy(&text));
    let known = KnownHosts::new(vec![Arc::new(entries)]);
    let mut contradiction = None;
    for entry in known.keys(name) {
        if entry.key == key.blob {
            return Ok(Recorded::Done);
        }
        contradiction.get_or_insert(entry.line);
    }
    if let Some(line) = contradiction {
        return Ok(Recorded::Contradicted(line));
    }
    let salt = hash.then(rand::random::<[u8; 20]>);
    let mut line = known_hosts::record_line(name, &key.key_type, &key.blob, salt);
    if text.last().is_some_and(|b| *b != b'\n') {
        line.insert(0, '\n');
    }
    file.seek(SeekFrom::End(0))?;
    file.write_all(line.as_bytes())?;
    file.sync_data()?;
    Ok(Recorded::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PresentedKey {
        let mut blob = vec![0, 0, 0, 11];
        blob.extend_from_slice(b"ssh-ed25519");
        blob.extend_from_slice(&[0, 0, 0, 1, byte]);
        PresentedKey { key_type: "ssh-ed25519".to_string(), blob, note: None }
    }

    #[test]
    fn recording_appends_once_keeps_what_is_there_and_sees_contradictions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/known_hosts");
        assert!(matches!(record(&path, "a", &key(1), false).unwrap(), Recorded::Done));
        let one = std::fs::read_to_string(&path).unwrap();
        assert!(one.starts_with("a ssh-ed25519 "));
        // A file without a final newline must not lose its last line.
        std::fs::write(&path, one.trim_end()).unwrap();
        assert!(matches!(record(&path, "[b]:2222", &key(2), true).unwrap(), Recorded::Done));
        let two = std::fs::read_to_string(&path).unwrap();
        assert_eq!(two.lines().count(), 2, "{two}");
        assert!(!two.contains("2222"), "the name is hashed: {two}");
        for (name, byte) in [("a", 1), ("[b]:2222", 2)] {
            assert!(matches!(record(&path, name, &key(byte), true).unwrap(), Recorded::Done));
            assert!(matches!(record(&path, name, &key(9), true).unwrap(), Recorded::Contradicted(_)));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), two, "nothing is written twice");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn recording_where_nothing_can_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("file");
        std::fs::write(&blocked, "").unwrap();
        assert!(record(&blocked.join("known_hosts"), "a", &key(1), false).is_err());
    }
}
