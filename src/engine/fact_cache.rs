//! Facts that outlive a run: a JSON file for each host, as Ansible's `jsonfile` cache keeps them, so that both can use one cache.

use serde_json::{Map, Value};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What Ansible looks at to know that facts were gathered, and not only set by a task.
const GATHERED: &str = "_ansible_facts_gathered";

/// A directory of facts.
#[derive(Debug, Default)]
pub struct FactCache {
    /// Where the files are (`fact_caching_connection`).
    pub directory: PathBuf,
    /// What a file's name begins with (`fact_caching_prefix`).
    pub prefix: String,
    /// After how long they are forgotten (`fact_caching_timeout`, in seconds); never when that is 0.
    pub timeout: Duration,
    /// `--flush-cache`: what is there from earlier runs does not count.
    pub flush: bool,
    /// Nothing is written nor taken away: a check.
    pub frozen: bool,
    /// One writer at a time: a file is read, added to and put into place.
    writing: Mutex<()>,
}

/// Why facts are not kept, or not found.
#[derive(Debug, thiserror::Error)]
#[error("the facts in {} {what}: {why}", path.display())]
pub struct FactCacheError {
    path: PathBuf,
    what: &'static str,
    why: String,
}

impl FactCache {
    /// A cache in this directory.
    pub fn new(directory: PathBuf, prefix: String, timeout: Duration, flush: bool, frozen: bool) -> FactCache {
        FactCache { directory, prefix, timeout, flush, frozen, writing: Mutex::default() }
    }

    /// A host whose name is no name of a file has none.
    fn path(&self, host: &str) -> Option<PathBuf> {
        (!host.contains('/')).then(|| self.directory.join(format!("{}{host}", self.prefix)))
    }

    /// What earlier runs left of a host, unless it is too old. With `flush` it is taken away.
    pub fn open(&self, host: &str) -> Result<Map<String, Value>, FactCacheError> {
        if self.flush {
            self.forget(host)?;
            return Ok(Map::new());
        }
        let mut facts = self.read(host)?;
        if facts.remove(GATHERED).is_some_and(|gathered| gathered == Value::Bool(true)) {
            facts.insert("module_setup".into(), true.into());
        }
        facts.retain(|name, _| !name.starts_with("_ansible"));
        Ok(facts)
    }

    fn read(&self, host: &str) -> Result<Map<String, Value>, FactCacheError> {
        let Some(path) = self.path(host) else { return Ok(Map::new()) };
        let wrong = |what, why: String| FactCacheError { path: path.clone(), what, why };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(wrong("cannot be read", error.to_string())),
        };
        let age = std::fs::metadata(&path).and_then(|about| about.modified()).ok().and_then(|when| when.elapsed().ok());
        if !self.timeout.is_zero() && age.is_some_and(|age| age > self.timeout) {
            return Ok(Map::new());
        }
        serde_json::from_slice(&text)
            .map_err(|error| wrong("are not what a cache keeps; --flush-cache takes them away", error.to_string()))
    }

    /// Adds to what is kept of a host. Nobody else may read it: facts tell much, and tasks can add to them.
    pub fn add(&self, host: &str, facts: &Map<String, Value>) -> Result<(), FactCacheError> {
        let Some(path) = self.path(host).filter(|_| !self.frozen) else { return Ok(()) };
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be read is written anew.
        let mut all = self.read(host).unwrap_or_default();
        all.extend(facts.iter().map(|(name, value)| (name.clone(), value.clone())));
        if all.contains_key("module_setup") {
            all.insert(GATHERED.into(), true.into());
        }
        let written = std::fs::create_dir_all(&self.directory).and_then(|()| {
            // Its mode is 0600.
            let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
            file.write_all(&serde_json::to_vec_pretty(&all)?)?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|error| FactCacheError { path, what: "cannot be written", why: error.to_string() })
    }

    /// `meta: clear_facts`
    pub fn forget(&self, host: &str) -> Result<(), FactCacheError> {
        let Some(path) = self.path(host).filter(|_| !self.frozen) else { return Ok(()) };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FactCacheError { path, what: "cannot be taken away", why: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn facts(json: Value) -> Map<String, Value> {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn facts_add_up_and_are_forgotten_in_time() {
        let place = tempfile::tempdir().unwrap();
        let cache = |timeout, flush| {
            FactCache::new(place.path().join("facts"), "x_".into(), Duration::from_secs(timeout), flush, false)
        };
        let kept = cache(86400, false);
        assert_eq!(kept.open("db1").unwrap(), Map::new());
        kept.add("db1", &facts(json!({"ansible_os_family": "Debian", "module_setup": true}))).unwrap();
        kept.add("db1", &facts(json!({"mine": 1}))).unwrap();
        let all = facts(json!({"ansible_os_family": "Debian", "module_setup": true, "mine": 1}));
        assert_eq!(kept.open("db1").unwrap(), all);
        let path = place.path().join("facts/x_db1");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(&path).unwrap().contains(GATHERED), "Ansible finds that they were gathered");
        let before = std::time::SystemTime::now() - Duration::from_secs(100);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        assert_eq!(cache(10, false).open("db1").unwrap(), Map::new());
        assert_eq!(cache(0, false).open("db1").unwrap(), all, "0 is for ever");
        let check = FactCache::new(place.path().join("facts"), "x_".into(), Duration::ZERO, true, true);
        assert_eq!(check.open("db1").unwrap(), Map::new());
        check.add("db1", &facts(json!({"mine": 2}))).unwrap();
        assert_eq!(cache(0, false).open("db1").unwrap(), all, "a check changes nothing, and forgets nothing");
        assert_eq!(cache(0, true).open("db1").unwrap(), Map::new());
        assert!(!path.exists());
    }

    #[test]
    fn what_no_cache_keeps_is_told_and_written_anew() {
        let place = tempfile::tempdir().unwrap();
        let cache = FactCache::new(place.path().join("facts"), String::new(), Duration::ZERO, false, false);
        std::fs::create_dir(place.path().join("facts")).unwrap();
        std::fs::write(place.path().join("facts/db1"), "no json").unwrap();
        assert!(cache.open("db1").unwrap_err().to_string().contains("--flush-cache"));
        cache.add("db1", &facts(json!({"a": 1}))).unwrap();
        assert_eq!(cache.open("db1").unwrap(), facts(json!({"a": 1})));
        assert_eq!(cache.open("a/b").unwrap(), Map::new());
        cache.add("../b", &facts(json!({"a": 1}))).unwrap();
        assert!(!place.path().join("b").exists());
    }
}
