//! Files of ours in a directory of the system: compared, shown, replaced in one step, taken away.

use super::unit::MARK;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file as it should be.
pub struct Wanted {
    /// Where.
    pub path: PathBuf,
    /// What it says; nothing when it should not be there.
    pub text: Option<String>,
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
enum There {
    Nothing,
    Same,
    Other(String),
}

impl Wanted {
    fn look(&self) -> Result<There, String> {
        let there = match std::fs::read(&self.path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(There::Nothing),
            Err(error) => return Err(format!("{}: {error}", self.path.display())),
        };
        Ok(if self.text.as_ref() == Some(&there) { There::Same } else { There::Other(there) })
    }

    /// Whose it is, when it is not ours to touch: of somebody else, or of another project's job.
    pub fn stranger(&self, project: &str) -> Result<Option<String>, String> {
        let There::Other(there) = self.look()? else { return Ok(None) };
        let path = self.path.display();
        if !there.starts_with(MARK) {
            return Ok(Some(format!(
                "{path} was not written by `deploy schedule`: it stays; --name gives the job another name"
            )));
        }
        let behind = there.strip_prefix(MARK).and_then(|text| text.lines().next()?.split_once('('));
        // Units write a percent sign twice.
        let other = behind.and_then(|(_, behind)| behind.rsplit_once(')')).map(|(theirs, _)| theirs.replace("%%", "%"));
        let help = match self.text {
            Some(_) => "--name gives this one another name",
            None => "take it away from there, or give the name of this project's job with --name",
        };
        let other = other.filter(|theirs| theirs != project);
        Ok(other.map(|theirs| format!("{path} belongs to a job of the project in {theirs}: {help}")))
    }

    /// What would be changed, as a diff; nothing when it is as wanted.
    pub fn diff(&self) -> Result<Option<String>, String> {
        let old = match (self.look()?, &self.text) {
            (There::Same, _) | (There::Nothing, None) => return Ok(None),
            (There::Nothing, Some(_)) => String::new(),
            (There::Other(old), _) => old,
        };
        let new = self.text.as_deref().unwrap_or_default();
        let name = self.path.display().to_string();
        let diff = similar::TextDiff::from_lines(old.as_str(), new);
        Ok(Some(diff.unified_diff().header(&name, &name).to_string()))
    }

    /// Makes it so; whether anything was done.
    pub fn apply(&self) -> Result<bool, String> {
        let told = |error: std::io::Error| format!("{}: {error}", self.path.display());
        match (self.look()?, &self.text) {
            (There::Same, _) | (There::Nothing, None) => return Ok(false),
            (_, None) => std::fs::remove_file(&self.path).map_err(told)?,
            (_, Some(text)) => {
                let directory = self.path.parent().unwrap_or(Path::new("/"));
                let mut file =
                    tempfile::Builder::new().prefix(".deploy-schedule.").tempfile_in(directory).map_err(told)?;
                file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(told)?;
                file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(told)?;
                file.persist(&self.path).map_err(|error| told(error.error))?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_it_differs_and_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.service");
        let of = |text: Option<&str>| Wanted { path: path.clone(), text: text.map(String::from) };
        let ours = |project: &str, rest: &str| format!("{MARK} ({project}); and so on\n{rest}\n");
        let (first, second) = (ours("/srv/a", "one"), ours("/srv/a", "two"));
        assert!(of(Some(&first)).diff().unwrap().is_some_and(|diff| diff.contains("+one")));
        assert_eq!((of(Some(&first)).apply(), of(Some(&first)).apply()), (Ok(true), Ok(false)));
        assert_eq!(of(Some(&first)).diff(), Ok(None));
        let diff = of(Some(&second)).diff().unwrap().unwrap();
        assert!(diff.contains("-one") && diff.contains("+two"), "{diff}");
        assert_eq!(of(Some(&second)).stranger("/srv/a"), Ok(None));
        for wanted in [of(Some(&ours("/srv/b", "x"))), of(None)] {
            assert!(wanted.stranger("/srv/b").unwrap().is_some_and(|why| why.contains("project in /srv/a")));
        }
        assert_eq!(of(None).stranger("/srv/a"), Ok(None));
        assert_eq!((of(None).apply(), of(None).apply(), path.exists()), (Ok(true), Ok(false), false));
        std::fs::write(&path, "[Service]\n").unwrap();
        assert!(of(None).stranger("/srv/a").unwrap().is_some_and(|why| why.contains("was not written by")));
    }
}
