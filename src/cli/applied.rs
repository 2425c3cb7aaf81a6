//! A plan that is being carried out: what stays true of it when its run is stopped and gone on with by `deploy resume`.

use crate::journal::{Applies, Kept};
use crate::plan::{Guard, Key, PlanFile, program_hash};
use crate::redact::Redactor;
use std::collections::BTreeSet;

/// Under this name a run's journal keeps the plan that it carries out, sealed as it is.
pub const KEPT_AS: &str = "change.plan";

/// A plan, and what its user allowed.
pub struct Applied {
    /// The plan.
    pub file: PlanFile,
    key: Key,
    /// Tasks that may do what they will.
    allowed: BTreeSet<String>,
    /// Hosts on which nothing is done.
    refused: BTreeSet<String>,
    /// It was begun by another run.
    resumed: bool,
}

impl Applied {
    /// A plan that is begun.
    pub fn new(file: PlanFile, key: Key, allowed: BTreeSet<String>, refused: BTreeSet<String>) -> Applied {
        Applied { file, key, allowed, refused, resumed: false }
    }

    /// The plan of a run that is resumed, if it carries one out.
    ///
    /// # Errors
    /// The plan is not what was sealed, or what it was made of has changed, unless that is `forced`.
    pub fn of_run(kept: &Kept, forced: bool) -> Result<Option<Applied>, String> {
        let Some(applies) = &kept.meta.applies else { return Ok(None) };
        let wrong = |why: String| format!("the run {} carries out a plan, and is held against it: {why}", kept.meta.id);
        let file = PlanFile::read(&kept.directory.join(KEPT_AS)).map_err(|error| wrong(error.to_string()))?;
        let key = Key::of_controller(false).map_err(|error| wrong(error.to_string()))?;
        file.verify(&key).map_err(|error| wrong(error.to_string()))?;
        if !forced {
            if program_hash().map_err(|error| wrong(error.to_string()))? != file.plan.made.program {
                return Err(wrong("it was made by another program; --force-changed goes on all the same".into()));
            }
            let changed = file.plan.changed_reads();
            if !changed.is_empty() {
                return Err(wrong(format!("{}; --force-changed goes on all the same", changed.join(", "))));
            }
        }
        let set = |names: &[String]| names.iter().cloned().collect();
        let (allowed, refused) = (set(&applies.allowed), set(&applies.refused));
        Ok(Some(Applied { file, key, allowed, refused, resumed: true }))
    }

    /// What its run's journal says of it.
    pub fn note(&self) -> Applies {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect();
        Applies { allowed: list(&self.allowed), refused: list(&self.refused) }
    }

    /// What holds the run against it.
    pub fn guard(&self) -> Guard {
        Guard::new(&self.file.plan, self.key.clone(), self.allowed.clone(), &self.refused)
    }

    /// What the run's end means for the plan, and what is to be said of it.
    pub fn verdict(&self, code: u8, guard: &Guard, redactor: &Redactor) -> u8 {
        let deviations = guard.deviations();
        for deviation in &deviations {
            eprintln!("error: {}", redactor.mask(deviation));
        }
        if !deviations.is_empty() {
            eprintln!("the run was stopped there: it did what the plan does not say");
            return 2;
        }
        // What a run before this one has done is not done again.
        for place in guard.left_undone().into_iter().filter(|_| !self.resumed) {
            let what = format!("[{}] {} ({}) was not changed, as the plan says", place.host, place.task, place.place);
            eprintln!("warning: {}", redactor.mask(&what));
        }
        if !self.refused.is_empty() {
            let names = self.refused.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            eprintln!("warning: nothing was done on {names}");
        }
        match code {
            0 | 10 if !self.refused.is_empty() => super::EXIT_REFUSED,
            code => code,
        }
    }
}
