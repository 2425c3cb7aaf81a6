//! A plan's file: a line that says what it is and carries its seal, and a line with the plan itself (JSON both).

use super::mark::Mark;
use super::{Key, PlanError, Recording};
use crate::engine::event::{Event, TaskStatus};
use crate::journal::{SourceHashes, differences};
use crate::source::hashes_of;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The way in which plans are written.
const FORMAT: u64 = 2;
/// What the seal is for.
const SEAL: &str = "plan";

/// Who made a plan, when, with what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Made {
    /// `alice@control`
    pub by: String,
    /// Seconds since 1970.
    pub time: i64,
    /// Of `deploy`.
    pub version: String,
    /// SHA-256 of the program.
    pub program: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Order {
    /// The folder it was asked in.
    pub directory: PathBuf,
    /// The command line without the program, secrets masked.
    pub words: Vec<String>,
    /// Whether something in it is masked.
    pub masked: bool,
    /// Keyed digest of all extra variables as they were given.
    pub variables: String,
    /// Inventory sources.
    pub inventory: Vec<String>,
    /// Where else roles are looked for.
    pub roles_path: Option<String>,
}

/// A plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Who made it.
    pub made: Made,
    /// What was asked for.
    pub order: Order,
    /// Playbooks, roles, inventories and variable files, by SHA-256.
    pub sources: SourceHashes,
    /// What the check read besides: files of variables and tasks that only a running play names, sources of `copy`, templates.
    pub read: BTreeSet<PathBuf>,
    /// All files of that, by SHA-256.
    pub reads: SourceHashes,
    /// What the check showed.
    pub events: Vec<Event>,
    /// The mark of each result among the events.
    pub marks: Vec<Mark>,
}

impl Plan {
    /// Its results as the check's recording.
    pub fn recording(&self) -> Recording {
        Recording { events: self.events.clone(), marks: self.marks.clone(), broken: None }
    }

    /// What it read while it was under way that is not what it was.
    pub fn changed_reads(&self) -> Vec<String> {
        differences(&self.reads, &hashes_of(&self.read))
    }

    /// Names of tasks of which the check could not tell, each once.
    pub fn unknown_tasks(&self) -> BTreeSet<String> {
        let results = self.events.iter().filter_map(|event| match event {
            Event::TaskDone(result) | Event::ItemDone(result) => Some(result),
            _ => None,
        });
        results.filter(|result| result.status == TaskStatus::Unknown).map(|result| result.task.name.clone()).collect()
    }
}

/// The first line of a plan's file.
#[derive(Serialize, Deserialize)]
struct Head {
    deploy_plan: u64,
    /// Name of the key that sealed it.
    key: String,
    seal: String,
}

/// A plan as it was read.
#[derive(Debug)]
pub struct PlanFile {
    /// The plan.
    pub plan: Plan,
    path: PathBuf,
    key: String,
    seal: String,
    body: String,
}

impl PlanFile {
    /// Writes a plan, for its owner alone, in one step.
    pub fn write(path: &Path, plan: &Plan, key: &Key) -> Result<(), PlanError> {
        let no_plan = |error: serde_json::Error| PlanError::NoPlan { path: path.into(), why: error.to_string() };
        let body = serde_json::to_string(plan).map_err(no_plan)?;
        let head = Head { deploy_plan: FORMAT, key: key.name(), seal: key.digest(SEAL, body.as_bytes()) };
        let head = serde_json::to_string(&head).map_err(no_plan)?;
        let temporary = path.with_extension(format!("new.{}", std::process::id()));
        let write = || {
            let mut file =
                std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(format!("{head}\n{body}\n").as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(PlanError::file(path))
    }

    /// Reads a plan; its seal is not looked at.
    pub fn read(path: &Path) -> Result<PlanFile, PlanError> {
        let text = std::fs::read(path).map_err(PlanError::file(path))?;
        let no_plan = |why: String| PlanError::NoPlan { path: path.into(), why };
        let text = String::from_utf8(text).map_err(|_| no_plan("it is not text".into()))?;
        let (head, body) = text.split_once('\n').ok_or_else(|| no_plan("it has one line".into()))?;
        let format = serde_json::from_str::<serde_json::Value>(head).ok().and_then(|head| head["deploy_plan"].as_u64());
        match format {
            None => return Err(no_plan("its first line is not a plan's".into())),
            Some(FORMAT) => {}
            Some(found) => return Err(PlanError::Format { path: path.into(), found, known: FORMAT }),
        }
        let head: Head = serde_json::from_str(head).map_err(|error| no_plan(error.to_string()))?;
        let body = body.trim_end_matches('\n').to_string();
        let mut plan: Plan = serde_json::from_str(&body).map_err(|error| no_plan(error.to_string()))?;
        for event in &mut plan.events {
            if let Event::ItemDone(result) | Event::TaskDone(result) = event {
                result.diff = true;
            }
        }
        Ok(PlanFile { plan, path: path.into(), key: head.key, seal: head.seal, body })
    }

    /// The file as it was read.
    pub fn text(&self) -> String {
        let head = Head { deploy_plan: FORMAT, key: self.key.clone(), seal: self.seal.clone() };
        format!("{}\n{}\n", serde_json::to_string(&head).unwrap_or_default(), self.body)
    }

    /// Whether it is as it was sealed.
    ///
    /// # Errors
    /// It was changed, or sealed with another key.
    pub fn verify(&self, key: &Key) -> Result<(), PlanError> {
        if self.key != key.name() {
            return Err(PlanError::OtherKey { path: self.path.clone(), theirs: self.key.clone(), ours: key.name() });
        }
        match key.is_digest(SEAL, self.body.as_bytes(), &self.seal) {
            true => Ok(()),
            false => Err(PlanError::Tampered { path: self.path.clone() }),
        }
    }
}

/// SHA-256 of the running program, in hex.
pub fn program_hash() -> Result<String, PlanError> {
    let path = Path::new("/proc/self/exe");
    let mut file = std::fs::File::open(path).map_err(PlanError::file(path))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut piece).map_err(PlanError::file(path))?;
        match piece.get(..read) {
            Some(bytes) if read > 0 => hasher.update(bytes),
            _ => break,
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let order = Order { words: vec!["site.yml".into(), "--check".into()], ..Order::default() };
        Plan { order, events: vec![Event::Warning { message: "one\ntwo".into() }], ..Plan::default() }
    }

    #[test]
    fn what_was_sealed_is_read_again_and_nothing_else() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("change.plan");
        PlanFile::write(&path, &plan(), &Key::of(1)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = PlanFile::read(&path).unwrap();
        assert_eq!(read.plan.order.words, plan().order.words);
        read.verify(&Key::of(1)).unwrap();
        assert!(matches!(read.verify(&Key::of(2)), Err(PlanError::OtherKey { .. })));
        let sealed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(read.text(), sealed);
        for (from, to) in [("one", "two"), ("--check", "--chock"), ("\"seal\":\"", "\"seal\":\"0")] {
            std::fs::write(&path, sealed.replacen(from, to, 1)).unwrap();
            let read = PlanFile::read(&path).unwrap();
            assert!(matches!(read.verify(&Key::of(1)), Err(PlanError::Tampered { .. })), "{from}");
        }
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for (text, expected) in [
            (&b""[..], "it has one line"),
            (b"\xff\n", "it is not text"),
            (b"- hosts: all\n  tasks: []\n", "its first line is not a plan's"),
            (b"{\"deploy_plan\":1}\n{}\n", "format 1, and this version of deploy reads format 2"),
            (b"{\"deploy_plan\":2,\"key\":\"\",\"seal\":\"\"}\n{}\n", "missing field"),
        ] {
            std::fs::write(&path, text).unwrap();
            let why = PlanFile::read(&path).unwrap_err().to_string();
            assert!(why.contains(expected), "{why}");
        }
    }
}
