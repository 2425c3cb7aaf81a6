//! The SSH key of a user, made on the host.

use super::User;
use crate::machine::files::{Attributes, Foreseen};
use crate::machine::{Change, Command, Domain, Facet, Machine, MachineError, Result, Subject};

/// A key to be made.
pub struct KeyWish<'a> {
    /// Path of the private key.
    pub path: &'a str,
    /// `rsa`, `ed25519` …
    pub kind: &'a str,
    /// Size, where the type has a choice.
    pub bits: Option<i64>,
    /// Comment; the host's name when nothing is said.
    pub comment: Option<&'a str>,
}

impl Machine {
    /// Makes a key without passphrase for a user, unless the file exists. Says whether it did.
    pub fn make_user_key(&mut self, user: &User, wish: &KeyWish<'_>) -> Result<bool> {
        if self.exists(wish.path)? {
            return Ok(false);
        }
        let attributes = |mode| Attributes { mode: Some(mode), owner: Some(user.uid), group: Some(user.gid) };
        if let Some((directory, _)) = wish.path.rsplit_once('/')
            && !self.exists(directory)?
        {
            self.make_directory(directory, &attributes(0o700))?;
        }
        let files = [(wish.path.to_string(), 0o600), (format!("{}.pub", wish.path), 0o644)];
        if self.predicted() {
            for (file, mode) in &files {
                self.foresee_file(file, Foreseen::File { contents: None, attributes: attributes(*mode) })?;
            }
        } else {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let comment = wish.comment.map_or_else(|| format!("ansible-generated on {}", host.trim()), str::to_string);
            let mut command =
                Command::new(["ssh-keygen", "-q", "-t", wish.kind, "-N", "", "-C", &comment, "-f", wish.path]);
            if let Some(bits) = wish.bits {
                command.argv.extend(["-b".into(), bits.to_string()]);
            }
            let output = self.run_process(&command)?;
            if !output.success() {
                return Err(MachineError::failed(format!("ssh-keygen failed: {}", output.stderr_text().trim())));
            }
            for (file, _) in &files {
                std::os::unix::fs::lchown(file, Some(user.uid), Some(user.gid))
                    .map_err(|e| MachineError::io(format!("cannot give {file} to {}", user.name), e))?;
            }
        }
        for (file, _) in files {
            let subject = Subject::new(Domain::File, file);
            self.record(Change::set(subject, "state", Facet::Absent, Facet::Value("file".into())).lasting());
        }
        Ok(true)
    }
}
