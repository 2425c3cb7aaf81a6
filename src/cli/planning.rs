//! `deploy --check --out FILE`: what the check shows is kept as a plan.

use super::arguments::RunArguments;
use super::record::{self, Order};
use super::run::{Sources, masking};
use crate::journal::hash_files;
use crate::plan::{Key, Made, Order as Ordered, Plan, PlanFile, Recorder, program_hash, sign};
use crate::report::Reporter;
use crate::source::Reads;
use std::path::PathBuf;

/// A plan in the making.
pub struct Planning {
    path: PathBuf,
    sign_with: Option<PathBuf>,
    key: Key,
    recorder: Recorder,
    reads: Reads,
    plan: Plan,
}

impl Planning {
    /// Notes what the plan is made of, before its check begins.
    pub fn begin(arguments: &RunArguments, sources: &Sources, order: &Order) -> Result<Planning, String> {
        let key = Key::of_controller(true).map_err(|error| error.to_string())?;
        let words: Vec<String> = order.words.iter().map(|word| sources.redactor.mask(word).into_owned()).collect();
        let made = Made {
            by: record::owner(),
            time: crate::pki::now(),
            version: env!("CARGO_PKG_VERSION").into(),
            program: program_hash().map_err(|error| error.to_string())?,
        };
        let ordered = Ordered {
            directory: std::env::current_dir().map_err(|error| format!("the current folder: {error}"))?,
            masked: words != order.words,
            words,
            variables: variables(arguments, &key),
            inventory: sources.inventory.sources.clone(),
            roles_path: arguments.roles_path.clone(),
        };
        let files = record::source_files(arguments, &sources.inventory, &sources.playbooks);
        let plan = Plan { made, order: ordered, sources: hash_files(&files), ..Plan::default() };
        Ok(Planning {
            path: arguments.out.clone().unwrap_or_default(),
            sign_with: arguments.sign.clone(),
            recorder: Recorder::new(key.clone(), masking(&sources.redactor)),
            reads: sources.templar.reads().clone(),
            key,
            plan,
        })
    }

    /// Listens to the check.
    pub fn reporter(&self) -> Box<dyn Reporter> {
        Box::new(self.recorder.clone())
    }

    /// Writes the plan, if the check ended with `code` and that is well.
    pub fn finish(self, code: u8) -> Result<(), String> {
        if !matches!(code, 0 | 10 | 11) {
            return Err(format!("no plan was written to {}: the check failed", self.path.display()));
        }
        let recording = self.recorder.take();
        if let Some(why) = recording.broken {
            return Err(format!("no plan was written to {}: {why}", self.path.display()));
        }
        let (read, reads) = self.reads.take();
        let plan = Plan { events: recording.events, marks: recording.marks, read, reads, ..self.plan };
        PlanFile::write(&self.path, &plan, &self.key).map_err(|error| error.to_string())?;
        if let Some(key) = &self.sign_with {
            sign(&self.path, key).map_err(|error| error.to_string())?;
        }
        eprintln!("plan: {} (`deploy show` it, `deploy apply` it)", self.path.display());
        Ok(())
    }
}

/// A digest of the extra variables as they were given.
pub fn variables(arguments: &RunArguments, key: &Key) -> String {
    let given = serde_json::json!(arguments.access.extra_vars);
    key.digest("variables", given.to_string().as_bytes())
}
