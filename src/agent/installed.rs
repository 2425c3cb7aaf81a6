//! Copies of this program that other users may run: made by root, readable by all, outside homes.

use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where they are, the first that can run programs.
pub(super) const PLACES: [&str; 3] = ["/var/lib/deploy-agent", "/opt/deploy-agent", "/run/deploy-agent"];

/// The file's name.
pub(super) fn name(sha256: &str) -> String {
    format!("agent-{}", sha256.get(..12).unwrap_or(sha256))
}

/// The running program.
pub(super) fn myself() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// SHA-256 of the running program.
pub(super) fn my_sha256() -> std::io::Result<String> {
    use sha2::Digest;
    let mut file = std::fs::File::open(myself())?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        match buffer.get(..n).filter(|piece| !piece.is_empty()) {
            Some(piece) => hash.update(piece),
            None => return Ok(super::remote::hex(&hash.finalize())),
        }
    }
}

/// Called by root: the copy for other users, made if it is missing.
pub(super) fn shared_copy(sha256: &str) -> Result<PathBuf, String> {
    let mut reasons = Vec::new();
    for place in PLACES {
        let place = Path::new(place);
        let path = place.join(name(sha256));
        match copy_into(place, &path) {
            Ok(()) => return Ok(path),
            Err(error) => reasons.push(format!("{}: {error}", place.display())),
        }
    }
    Err(format!("root cannot keep a copy of the agent for other users ({})", reasons.join("; ")))
}

fn copy_into(place: &Path, path: &Path) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o755).create(place) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        Ok(()) => std::fs::set_permissions(place, std::fs::Permissions::from_mode(0o755))?, // whatever the umask
        Err(_) => {}
    }
    let place_is = std::fs::symlink_metadata(place)?;
    if !place_is.is_dir() || place_is.uid() != 0 || place_is.mode() & 0o022 != 0 {
        return Err(std::io::Error::other("it is not a directory that only root can write"));
    }
    if !path.exists() {
        let temporary = place.join(format!(".agent.{}", std::process::id()));
        let written = write_copy(&temporary).and_then(|()| std::fs::rename(&temporary, path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
    }
    // A file system that is mounted noexec says so only now.
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK)?;
    Ok(())
}

fn write_copy(temporary: &Path) -> std::io::Result<()> {
    let mut copy = std::fs::File::options().write(true).create_new(true).mode(0o755).open(temporary)?;
    std::io::copy(&mut std::fs::File::open(myself())?, &mut copy)?;
    copy.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    copy.flush()?;
    copy.sync_all()
}

/// Called by a child that was started from a private copy: the copy has done its work.
pub(super) fn remove_myself() {
    let Ok(path) = std::fs::read_link(myself()) else { return };
    if std::fs::remove_file(&path).is_ok()
        && let Some(directory) = path.parent()
    {
        let _ = std::fs::remove_dir(directory); // only when it is empty
    }
}
