//! A private copy of apt's state: package lists and archives for a check, where the host's own must not be touched.

use super::apt::{self, PrivateState};
use crate::machine::{Machine, MachineError, Result, Scratch};
use std::path::{Path, PathBuf};

const LISTS: &str = "/var/lib/apt/lists";

/// The directories of a check; they live as long as the machine.
#[derive(Debug)]
pub(super) struct Private {
    scratch: Scratch,
    /// It has lists of its own.
    updated: bool,
}

impl Private {
    pub fn new() -> Result<Private> {
        let scratch = Scratch::new("apt")?;
        for directory in ["lists/partial", "cache/archives/partial", "debs"] {
            let path = scratch.path().join(directory);
            std::fs::create_dir_all(&path)
                .map_err(|e| MachineError::io(format!("cannot make {}", path.display()), e))?;
        }
        // Hooks of the host's configuration would leave traces.
        let configuration = "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n\
                             #clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Install-Pkgs;\n";
        let path = scratch.path().join("apt.conf");
        std::fs::write(&path, configuration)
            .map_err(|e| MachineError::io(format!("cannot write {}", path.display()), e))?;
        Ok(Private { scratch, updated: false })
    }

    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// Options that keep apt away from the host's caches and, once there are own lists, from its lists.
    pub fn state(&self) -> PrivateState {
        let directory = |name: &str| self.path().join(name).to_string_lossy().into_owned();
        let mut options = vec![
            format!("Dir::Cache={}", directory("cache")),
            "APT::Sandbox::User=root".into(),
            "Debug::NoLocking=1".into(),
        ];
        if self.updated {
            options.push(format!("Dir::State::lists={}", directory("lists")));
        }
        let mut arguments = vec!["-c".to_string(), directory("apt.conf")];
        for option in options {
            arguments.extend(["-o".into(), option]);
        }
        PrivateState { arguments }
    }

    /// Downloads package lists into the private directory; says whether they differ from the host's.
    pub fn update(&mut self, machine: &Machine, progress: &mut dyn FnMut(&str)) -> Result<bool> {
        let lists = self.path().join("lists");
        let before = apt::fingerprint(Path::new(LISTS));
        if !self.updated {
            copy_lists(&lists)?;
        }
        self.updated = true;
        let output = apt::run(machine, &apt::command(&["-q".into(), "update".into()], &self.state()), 0, progress)?;
        if !output.success() {
            self.updated = false;
            return Err(MachineError::failed(format!("Failed to update apt cache: {}", apt::complaint(&output))));
        }
        Ok(apt::fingerprint(&lists) != before)
    }

    /// Package files of these name, version and architecture: from the host's own archive, else downloaded.
    pub fn archives(
        &self,
        machine: &Machine,
        wanted: &[(String, String, String)],
        progress: &mut dyn FnMut(&str),
    ) -> Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for (name, version, arch) in wanted {
            let file = format!("{name}_{}_{arch}.deb", version.replace(':', "%3a"));
            let paths = [Path::new("/var/cache/apt/archives").join(&file), self.path().join("debs").join(&file)];
            match paths.iter().find(|p| p.is_file()) {
                Some(path) => found.push((name.clone(), path.clone())),
                None => missing.push((name, version, paths)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        progress(&format!("downloading {} packages into a private directory, to see what they bring", missing.len()));
        let mut words = vec!["-q".to_string(), "download".into()];
        words.extend(missing.iter().map(|(name, version, _)| format!("{name}={version}")));
        let mut command = apt::command(&words, &self.state());
        command.chdir = Some(self.path().join("debs").to_string_lossy().into_owned());
        let output = apt::run(machine, &command, 0, progress)?;
        if !output.success() {
            return Err(MachineError::unknown(format!(
                "what the packages bring cannot be read, because they cannot be downloaded ({})",
                apt::complaint(&output)
            )));
        }
        found.extend(
            missing
                .into_iter()
                .filter_map(|(name, _, paths)| paths.into_iter().find(|p| p.is_file()).map(|p| (name.clone(), p))),
        );
        Ok(found)
    }
}

/// Copies the host's lists with their times, so that only what is new is downloaded.
fn copy_lists(to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(LISTS).into_iter().flatten().flatten() {
        let (from, name) = (entry.path(), entry.file_name());
        if !from.is_file() || name == "lock" {
            continue;
        }
        let copy = || -> std::io::Result<()> {
            let target = to.join(&name);
            std::fs::copy(&from, &target)?;
            let modified = from.metadata()?.modified()?;
            std::fs::File::options().write(true).open(&target)?.set_modified(modified)
        };
        copy().map_err(|e| MachineError::io(format!("cannot copy {}", from.display()), e))?;
    }
    Ok(())
}
