//! The controller half of `copy`: finds the source and offers its contents.

use super::copy::{Copy, text_of};
use super::delivery::{Branch, BranchKind, Delivery};
use crate::machine::files::Digests;
use crate::modules::scalars::FileMode;
use crate::modules::{
    ActionError, ActionFuture, ActionHost, Content, FileKind, ModuleError, Outcome, Prepared, Status, decode,
};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

/// Contents inline in one request, all together: a frame holds 1 MiB, and base64 and JSON add to it.
const REQUEST_LIMIT: usize = 400 * 1024;

/// Files up to this size are read into memory.
const MEMORY_LIMIT: u64 = Content::INLINE as u64;

/// How a vault begins.
const VAULT: &[u8] = b"$ANSIBLE_VAULT;";

/// Offers the source of a copy.
pub(super) fn prepare<'a>(host: &'a dyn ActionHost, mut arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
    Box::pin(async move {
        let copy: Copy = decode(arguments.clone()).map_err(failed)?;
        let src = match (&copy.src, &copy.content) {
            (Some(_), Some(_)) => return Err(ActionError::Failed("src and content are mutually exclusive".into())),
            (None, None) => return Err(ActionError::Failed("src (or content) is required".into())),
            (None, Some(content)) => {
                if copy.dest.ends_with('/') {
                    return Err(ActionError::Failed("can not use content with a dir as dest".into()));
                }
                let mut bytes = text_of(content).into_bytes();
                let vault = copy.decrypt.0 && bytes.starts_with(VAULT);
                if vault {
                    bytes = host.unvault(Path::new("content"), bytes)?;
                }
                if vault || bytes.len() > Content::INLINE {
                    contents(host, bytes, String::new()).add(&mut arguments)?;
                    arguments.insert("content".into(), Value::from(""));
                }
                return Ok(Prepared::Send(arguments));
            }
            (Some(_), None) if copy.remote_src.0 => return Ok(Prepared::Send(arguments)),
            (Some(src), None) => src.0.as_str(),
        };
        let source = host.find_file(FileKind::Files, src)?;
        let metadata = std::fs::metadata(&source).map_err(|e| cannot_read(&source, e))?;
        if metadata.is_dir() {
            return tree(host, &copy, src, &source, arguments).await;
        }
        if matches!(copy.mode, Some(FileMode::Preserve)) {
            arguments.insert("mode".into(), mode_of(&source)?);
        }
        let basename = source.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !copy.force.0 {
            // Where nothing is replaced Ansible returns where the source was found.
            arguments.insert("src".into(), absolute(&source).to_string_lossy().into());
        }
        let content = offer(host, &source, metadata.len(), copy.decrypt.0)?;
        let digests = match (&content, host.check() || copy.checksum.is_some()) {
            // In a check nothing is streamed, so the host cannot compute what Ansible returns.
            (Content::Blob { .. }, true) => Some(digests_of(&source).map_err(|e| cannot_read(&source, e))?),
            _ => None,
        };
        if let (Some(checksum), Some(digests)) = (&copy.checksum, &digests)
            && checksum.0 != digests.sha1
        {
            return Err(ActionError::Failed(format!(
                "the source {} does not have the expected checksum: SHA-1 {} instead of {}",
                source.display(),
                digests.sha1,
                checksum.0
            )));
        }
        Delivery { basename, content, digests, tree: None }.add(&mut arguments)?;
        Ok(Prepared::Send(arguments))
    })
}

/// Digests of a large file, computed once for all hosts while the file stays as it is.
fn digests_of(path: &Path) -> std::io::Result<Digests> {
    type Known = HashMap<(u64, u64, u64, i64, i64), Digests>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let mut file = std::fs::File::open(path)?;
    let metadata = file.metadata()?;
    let mark = (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    // Held while reading: other hosts want the same digests and wait for them.
    let mut known = KNOWN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(digests) = known.get(&mark) {
        return Ok(digests.clone());
    }
    let digests = Digests::of_reader(&mut file)?;
    known.insert(mark, digests.clone());
    Ok(digests)
}

/// Bytes in memory for the host.
pub(super) fn contents(host: &dyn ActionHost, bytes: Vec<u8>, basename: String) -> Delivery {
    let digests = (host.check() && bytes.len() > Content::INLINE).then(|| Digests::of(&bytes));
    Delivery { basename, content: host.offer(bytes), digests, tree: None }
}

/// A file for the host; a vault is decrypted in memory.
pub(in crate::modules) fn offer(
    host: &dyn ActionHost,
    path: &Path,
    size: u64,
    decrypt: bool,
) -> Result<Content, ActionError> {
    let is_vault = || -> std::io::Result<bool> {
        use std::io::Read;
        let mut start = [0; VAULT.len()];
        match std::fs::File::open(path)?.read_exact(&mut start) {
            Ok(()) => Ok(start == VAULT),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    };
    let vault = decrypt && is_vault().map_err(|e| cannot_read(path, e))?;
    if !vault && size > MEMORY_LIMIT {
        return host.offer_file(path);
    }
    let bytes = std::fs::read(path).map_err(|e| cannot_read(path, e))?;
    Ok(host.offer(if vault { host.unvault(path, bytes)? } else { bytes }))
}

/// A file's mode, as the `mode` argument.
pub(super) fn mode_of(path: &Path) -> Result<Value, ActionError> {
    let metadata = std::fs::metadata(path).map_err(|e| cannot_read(path, e))?;
    Ok(Value::from(format!("{:04o}", metadata.permissions().mode() & 0o7777)))
}

pub(in crate::modules) fn failed(error: ModuleError) -> ActionError {
    ActionError::Failed(error.to_string())
}

pub(in crate::modules) fn cannot_read(path: &Path, error: std::io::Error) -> ActionError {
    ActionError::Failed(format!("cannot read {}: {error}", path.display()))
}

/// A directory: everything in one request where it fits, else in several.
async fn tree(
    host: &dyn ActionHost,
    copy: &Copy,
    src: &str,
    source: &Path,
    mut arguments: Map<String, Value>,
) -> Result<Prepared, ActionError> {
    let mut walk = Walk { host, copy, branches: Vec::new(), above: HashSet::new() };
    let prefix = match source.file_name() {
        Some(name) if !src.ends_with('/') => PathBuf::from(name),
        _ => PathBuf::new(),
    };
    walk.directory(source, &prefix)?;
    if !copy.dest.ends_with('/') {
        arguments.insert("dest".into(), format!("{}/", copy.dest.0).into());
    }
    // Ansible returns where it was found, with the slash that was written.
    let slash = if src.ends_with('/') { "/" } else { "" };
    let found = absolute(source);
    arguments.insert("src".into(), format!("{}{slash}", found.to_string_lossy().trim_end_matches('/')).into());
    let mut requests = vec![Vec::new()];
    let mut size = 0;
    for branch in walk.branches {
        let length = 200 + branch.path.len() + inline_size(&branch);
        if size + length > REQUEST_LIMIT && size > 0 {
            requests.push(Vec::new());
            size = 0;
        }
        size += length;
        if let Some(last) = requests.last_mut() {
            last.push(branch);
        }
    }
    let with = |branches: Vec<Branch>| {
        let mut arguments = arguments.clone();
        let content = Content::Text(String::new());
        let delivery = Delivery { basename: String::new(), content, digests: None, tree: Some(branches) };
        delivery.add(&mut arguments).map(|()| arguments)
    };
    if requests.len() == 1 {
        return Ok(Prepared::Send(with(requests.pop().unwrap_or_default())?));
    }
    let mut whole = Outcome::ok();
    for branches in requests {
        let part = host.call("ansible.builtin.copy", with(branches)?).await?;
        let ended = part.status;
        whole.status = ended;
        whole.msg = part.msg;
        whole.data.extend(part.data);
        whole.changes.extend(part.changes);
        whole.unknown_fields.extend(part.unknown_fields);
        whole.warnings.extend(part.warnings);
        if ended == Status::Failed {
            break;
        }
    }
    Ok(Prepared::Done(whole))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn inline_size(branch: &Branch) -> usize {
    match &branch.kind {
        BranchKind::File { content: Content::Text(text) | Content::Base64(text), .. } => text.len(),
        _ => 0,
    }
}

struct Walk<'a> {
    host: &'a dyn ActionHost,
    copy: &'a Copy,
    branches: Vec<Branch>,
    /// Directories that are being walked, against links in a circle.
    above: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Path, relative: &Path) -> Result<(), ActionError> {
        let real = directory.canonicalize().map_err(|e| cannot_read(directory, e))?;
        if !self.above.insert(real.clone()) {
            return Ok(());
        }
        if !relative.as_os_str().is_empty() {
            self.push(relative, BranchKind::Directory);
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(|e| cannot_read(directory, e))? {
            names.push(entry.map_err(|e| cannot_read(directory, e))?.file_name());
        }
        names.sort();
        for name in names {
            let (path, relative) = (directory.join(&name), relative.join(&name));
            let link = std::fs::symlink_metadata(&path).map_err(|e| cannot_read(&path, e))?.is_symlink();
            if link && !self.copy.local_follow.0 {
                let target = std::fs::read_link(&path).map_err(|e| cannot_read(&path, e))?;
                self.push(&relative, BranchKind::Link(target.to_string_lossy().into_owned()));
                continue;
            }
            let metadata = std::fs::metadata(&path).map_err(|e| cannot_read(&path, e))?;
            if metadata.is_dir() {
                self.directory(&path, &relative)?;
            } else if metadata.is_file() {
                let content = offer(self.host, &path, metadata.len(), self.copy.decrypt.0)?;
                let mode = metadata.permissions().mode() & 0o7777;
                self.push(&relative, BranchKind::File { content, mode });
            } else {
                self.host.warn(format!("{} is neither a file nor a directory and is not copied", path.display()));
            }
        }
        self.above.remove(&real);
        Ok(())
    }

    fn push(&mut self, path: &Path, kind: BranchKind) {
        self.branches.push(Branch { path: path.to_string_lossy().into_owned(), kind });
    }
}
