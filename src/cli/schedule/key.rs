//! The SSH key of a job, and what hosts are given of it.

use super::state_directory;
use crate::connection::agent::Programs;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where it lies in a user's state directory.
pub const FILE: &str = "ssh/id_ed25519";

/// Makes this user's key if it is missing, and says what hosts must be given of it.
pub fn show(file: Option<PathBuf>) -> Result<(), String> {
    let file = file.map_or_else(|| Ok(state_directory()?.join(FILE)), Ok::<_, String>)?;
    let made = make(&file)?;
    let public = public(&file)?;
    let programs = Programs::find().map_err(|error| error.to_string())?;
    let programs: Vec<(String, String)> = programs.iter().map(|one| (one.arch.clone(), one.sha256.clone())).collect();
    let how = if made { "made now" } else { "there already" };
    crate::cli::show(&format!("key {} ({how})\n{}", file.display(), hints(&public, &programs)));
    Ok(())
}

/// Whether it was made: an existing one stays.
fn make(file: &Path) -> Result<bool, String> {
    if file.exists() {
        return Ok(false);
    }
    let told = |error: &dyn std::fmt::Display| format!("the key {} cannot be made: {error}", file.display());
    let comment = format!("deploy-schedule {}", crate::cli::record::owner());
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&rand::random()));
    let key = PrivateKey::new(pair, comment).map_err(|error| told(&error))?;
    let private = key.to_openssh(LineEnding::LF).map_err(|error| told(&error))?;
    let public = key.public_key().to_openssh().map_err(|error| told(&error))?;
    if let Some(directory) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| told(&error))?;
    }
    let write = |path: &Path, text: &str, mode| {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
    };
    write(file, &private, 0o600).map_err(|error| told(&error))?;
    let beside = file.with_extension("pub");
    let _ = std::fs::remove_file(&beside); // of a key that is no more
    write(&beside, &format!("{public}\n"), 0o644).map_err(|error| told(&error))?;
    Ok(true)
}

/// Its public half, out of the private one.
fn public(file: &Path) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| format!("the key {}: {error}", file.display());
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(|error| told(&error))?);
    let key = PrivateKey::from_openssh(text.as_str()).map_err(|error| told(&error))?;
    key.public_key().to_openssh().map_err(|error| told(&error))
}

/// What is to be done on the hosts, and what it is worth.
fn hints(public: &str, programs: &[(String, String)]) -> String {
    let mut text = format!(
        "\nOn each host, in ~/.ssh/authorized_keys of the user that deploy logs in as:\n\n  restrict {public}\n\n\
         `restrict` takes away the terminal and all forwarding, which deploy does not use; a host that others are reached \
         through needs `restrict,port-forwarding`. Add from=\"ADDRESS\" in front: it ties the key to this machine.\n\
         A forced command keeps the key from being used with plain ssh:\n\n"
    );
    for (arch, sha256) in programs {
        let name = sha256.get(..12).unwrap_or_default();
        text += &format!(
            "  restrict,command=\"exec ~/.cache/deploy/agent-{name} --stdio --directory ~/.cache/deploy --sha256 {sha256}\" \
             {public}\n    ({arch}, this version of deploy; the agent must be there: connect once without the command)\n"
        );
    }
    text += "\nIt starts the agent, which does what its controller says, as root where sudo lets it: it is no limit to somebody \
             who has the key and a deploy of the same version. Write it anew with each new version, and do without `raw` tasks.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_key_is_made_once_and_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/ssh/id_ed25519");
        assert_eq!(make(&file), Ok(true));
        let first = public(&file).unwrap();
        assert_eq!(make(&file), Ok(false));
        assert_eq!(public(&file).unwrap(), first);
        assert!(first.starts_with("ssh-ed25519 AAAA") && first.contains("deploy-schedule"), "{first}");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_to_string(file.with_extension("pub")).unwrap().trim(), first);
        // OpenSSH reads it, too.
        if let Ok(told) = std::process::Command::new("ssh-keygen").args(["-y", "-f"]).arg(&file).output() {
            let theirs = String::from_utf8_lossy(&told.stdout).into_owned();
            assert!(first.starts_with(theirs.split(' ').take(2).collect::<Vec<_>>().join(" ").trim()), "{theirs}");
        }
    }

    #[test]
    fn the_lines_for_hosts_carry_the_key_and_the_agent() {
        let text = hints("ssh-ed25519 AAAA x", &[("x86_64".into(), "0123456789abcdef".into())]);
        for part in
            ["  restrict ssh-ed25519 AAAA x\n", "agent-0123456789ab --stdio", "--sha256 0123456789abcdef\" ssh-ed25519"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
