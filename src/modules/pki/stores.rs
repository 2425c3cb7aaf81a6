//! The stores that this run has opened: one for each place, so that a CA key is unlocked once, whatever the number
//! of hosts, and so that in a check later tasks see the authority that an earlier one would have made.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::modules::{ActionError, ActionHost};
use crate::pki::{DirStorage, OverlayStorage, Passphrase, PkiError, Storage, Store, default_path};

type Key = (PathBuf, Option<PathBuf>, bool);

static OPEN: Mutex<BTreeMap<Key, Arc<Store>>> = Mutex::new(BTreeMap::new());

/// Opens the store of a task: `store` and `passphrase_file` are its arguments, and the variables `pki_store` and
/// `pki_passphrase_file` stand in for them.
pub fn open(
    host: &dyn ActionHost,
    store: Option<&str>,
    passphrase_file: Option<&str>,
) -> Result<Arc<Store>, ActionError> {
    let place = match path(host, store, "pki_store")? {
        Some(path) => path,
        None => default_path("default").ok_or_else(|| {
            ActionError::Failed("neither XDG_STATE_HOME nor HOME is set: set `pki_store` to the store's path".into())
        })?,
    };
    let passphrase_file = path(host, passphrase_file, "pki_passphrase_file")?;
    let key = (place.clone(), passphrase_file.clone(), host.check());
    let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(store) = open.get(&key) {
        return Ok(store.clone());
    }
    let storage = DirStorage::open(&place).map_err(failed)?;
    let storage: Box<dyn Storage> =
        if host.check() { Box::new(OverlayStorage::over(storage)) } else { Box::new(storage) };
    let store = Arc::new(Store::new(storage, Passphrase::from(passphrase_file)));
    open.insert(key, store.clone());
    Ok(store)
}

/// Closes what is open at `place`, as the end of a run does.
#[cfg(test)]
pub fn close(place: &std::path::Path) {
    let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    open.retain(|(path, ..), _| path != place);
}

/// A path from an argument or the variable of this name.
fn path(host: &dyn ActionHost, argument: Option<&str>, variable: &str) -> Result<Option<PathBuf>, ActionError> {
    let text = match argument {
        Some(text) => Some(text.to_string()),
        None => match host.variable(variable)? {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => return Err(ActionError::Failed(format!("`{variable}` is {other}, which is no path"))),
        },
    };
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let path = match text.strip_prefix("~/") {
        Some(rest) => match std::env::var_os("HOME") {
            Some(home) => PathBuf::from(home).join(rest),
            None => return Err(ActionError::Failed(format!("{text}: HOME is not set"))),
        },
        None => PathBuf::from(&text),
    };
    if path.is_relative() {
        return Err(ActionError::Failed(format!(
            "`{variable}` is {text}: write an absolute path, for example with {{{{ playbook_dir }}}}, so that it means the same from everywhere"
        )));
    }
    Ok(Some(path))
}

/// Any error of the certificate room as a task's.
pub fn failed(error: PkiError) -> ActionError {
    ActionError::Failed(error.to_string())
}

/// Runs slow work (unlocking a key, making one) beside the other hosts' tasks.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PkiError> + Send + 'static,
) -> Result<T, ActionError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(failed),
        Err(error) => Err(ActionError::Failed(format!("the work on certificates stopped: {error}"))),
    }
}
