//! `create` and `edit`: a clear text that only an editor sees.

use super::files::{Place, Target};
use super::{Fault, encrypt_id, exists};
use crate::vars::vault::{DEFAULT_ID, Vault};
use std::fs::{OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use zeroize::Zeroizing;

/// Makes a new encrypted file.
pub fn create(path: &Path, vault: &Vault, id: Option<&str>) -> Result<(), Fault> {
    let id = encrypt_id(id);
    let (password, id) = vault.choose(id.as_deref()).map_err(|error| Fault::Options(error.to_string()))?;
    if exists(path) {
        return Err(Fault::Failed(format!("{} is there already: `deploy vault edit` changes it", path.display())));
    }
    let clear = edited(path, b"")?;
    let text = vault.seal(&clear, password, id).map_err(Fault::of(&Place::File(path.to_path_buf())))?;
    keep(path, &text, || !exists(path))
}

/// Changes an encrypted file. It stays encrypted for the id that its header names.
pub fn edit(path: &Path, vault: &Vault, id: Option<&str>) -> Result<(), Fault> {
    let place = Place::File(path.to_path_buf());
    let before = place.read()?;
    let opened = vault.open(&before).map_err(Fault::of(&place))?;
    let wanted = match id {
        Some(id) => vault.choose(Some(id)).map_err(|error| Fault::Options(error.to_string()))?,
        None => (opened.password, opened.id.as_deref().unwrap_or(DEFAULT_ID)),
    };
    let clear = edited(path, &opened.clear)?;
    if *clear == *opened.clear && id.is_none() {
        return Ok(());
    }
    let text = vault.seal(&clear, wanted.0, wanted.1).map_err(Fault::of(&place))?;
    keep(path, &text, || place.read().is_ok_and(|now| now == before))
}

/// Writes the new file, unless somebody else has changed it meanwhile. What cannot be written is kept elsewhere, encrypted: an
/// hour's work is not lost to a full disk.
fn keep(path: &Path, text: &str, unchanged: impl FnOnce() -> bool) -> Result<(), Fault> {
    let fault = match unchanged() {
        true => match Target::File(path.to_path_buf()).write(text.as_bytes()) {
            Ok(()) => return Ok(()),
            Err(fault) => fault.to_string(),
        },
        false => format!("{} was changed by somebody else meanwhile, and is left as it is", path.display()),
    };
    let beside = tempfile::Builder::new().prefix("deploy-vault-").suffix(".vault").tempfile().and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.keep().map_err(|error| error.error).map(|(_, path)| path)
    });
    Err(Fault::Failed(match beside {
        Ok(beside) => format!("{fault}; what was edited is in {}, encrypted", beside.display()),
        Err(error) => format!("{fault}; and what was edited could not be kept: {error}"),
    }))
}

/// What an editor made of a text.
fn edited(path: &Path, clear: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let cannot = |error: std::io::Error| Fault::Failed(format!("cannot make a private file for the editor: {error}"));
    let editor = std::env::var("EDITOR").ok().filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".into());
    let mut words = crate::modules::commands::split(&editor)
        .map_err(|why| Fault::Failed(format!("EDITOR: {why}: {editor}")))?
        .into_iter();
    let program = words.next().unwrap_or_else(|| "vi".into());
    // Nobody else may enter it; the editor's own copies are made in it, too.
    let directory = tempfile::Builder::new()
        .prefix("deploy-vault-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(memory())
        .map_err(cannot)?;
    // With the file's name, by which editors choose their colours.
    let name = path.file_name().map_or_else(|| "vault.yml".into(), PathBuf::from);
    let private = directory.path().join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(&private).and_then(|mut file| file.write_all(clear)).map_err(cannot)?;
    let listening = Listening::new();
    let ended = Command::new(&program).args(words).arg(&private).status();
    drop(listening);
    let result = match ended {
        Ok(status) if status.success() => read(&private).map_err(cannot),
        Ok(status) => Err(Fault::Failed(format!("{program}: {status}: {} is as it was", path.display()))),
        Err(error) => Err(Fault::Failed(format!("cannot start the editor {program}: {error}"))),
    };
    wipe(&private);
    directory.close().map_err(|error| Fault::Failed(format!("cannot remove the editor's directory: {error}")))?;
    result
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut file = std::fs::File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Overwrites a file before it is removed, as far as the file system lets that reach what was there.
fn wipe(path: &Path) {
    let wiped = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let size = file.metadata()?.len();
        file.seek(std::io::SeekFrom::Start(0))?;
        std::io::copy(&mut std::io::repeat(0).take(size), &mut file)?;
        file.sync_all()
    };
    let _ = wiped(); // it is removed in any case
}

/// A directory in memory that is the user's alone, where there is one.
fn memory() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.filter(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// While it lives, signals of the terminal and of a closed session do not end this process: the editor answers them, and the
/// clear text is removed behind it.
struct Listening {
    _signals: Vec<tokio::signal::unix::Signal>,
    _runtime: Option<tokio::runtime::Runtime>,
}

impl Listening {
    fn new() -> Listening {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
        let kinds = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup(), SignalKind::terminate()];
        let signals = runtime.as_ref().map(|runtime| {
            runtime.block_on(async { kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect() })
        });
        Listening { _signals: signals.unwrap_or_default(), _runtime: runtime }
    }
}
