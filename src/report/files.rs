//! `--report FILE`: a run written down at its end, in the form that the file's name asks for.

use super::story::{Clock, Teller};
use super::{DiffOptions, Mask, Reporter, html, junit, markdown};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One page that needs nothing else.
    Html,
    /// For programs that collect test results.
    Junit,
    /// For a ticket.
    Markdown,
}

impl Kind {
    /// By the end of the file's name.
    ///
    /// # Errors
    /// It ends in nothing that we write.
    pub fn of(path: &Path) -> Result<Kind, String> {
        match path.extension().and_then(|end| end.to_str()) {
            Some("html" | "htm") => Ok(Kind::Html),
            Some("xml") => Ok(Kind::Junit),
            Some("md") => Ok(Kind::Markdown),
            _ => Err(format!("{}: a report ends in .html, .xml (JUnit) or .md (Markdown)", path.display())),
        }
    }
}

/// Reports in the making.
pub struct Reports {
    teller: Teller,
    files: Vec<(PathBuf, Kind)>,
    diffs: DiffOptions,
}

impl Reports {
    /// Nothing is written yet.
    pub fn new(paths: &[PathBuf], mask: Mask, diffs: DiffOptions) -> Result<Reports, String> {
        let files = paths.iter().map(|path| Ok((path.clone(), Kind::of(path)?))).collect::<Result<_, String>>()?;
        Ok(Reports { teller: Teller::new(mask), files, diffs })
    }

    /// The same with another clock than this moment's: for runs that did not happen now.
    pub fn with_clock(self, clock: Clock) -> Reports {
        Reports { teller: self.teller.with_clock(clock), ..self }
    }

    /// Listens to the run, if anything is to be written.
    pub fn reporter(&self) -> Option<Box<dyn Reporter>> {
        (!self.files.is_empty()).then(|| Box::new(self.teller.clone()) as Box<dyn Reporter>)
    }

    /// Writes them, each in one step, for their owner alone: hosts' contents are in them.
    pub fn write(&self) -> Result<(), String> {
        let story = self.teller.story();
        for (path, kind) in &self.files {
            let text = match kind {
                Kind::Html => html::html(&story, self.diffs),
                Kind::Junit => junit::junit(&story),
                Kind::Markdown => markdown::markdown(&story, self.diffs),
            };
            let temporary = path.with_extension(format!("new.{}", std::process::id()));
            let write = || {
                let mut file =
                    std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
                file.write_all(text.as_bytes())?;
                std::fs::rename(&temporary, path)
            };
            write().map_err(|error: std::io::Error| format!("the report {}: {error}", path.display()))?;
        }
        Ok(())
    }
}
