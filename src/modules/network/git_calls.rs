//! What is asked of `git`, and what it does.

use super::git::Arguments;
use crate::machine::web::{mask, mask_all};
use crate::machine::{Machine, Output};
use crate::modules::files::common::Step;
use crate::modules::{ModuleError, Outcome};
use std::path::{Path, PathBuf};

/// A repository that is looked after.
pub(super) struct Git<'a> {
    pub arguments: &'a Arguments,
    pub program: String,
    pub repo: String,
    pub version: String,
    pub remote: String,
    pub dest: PathBuf,
    /// What is called for ssh.
    pub ssh: String,
}

impl Git<'_> {
    /// The address without a password.
    pub fn shown(&self) -> String {
        mask(&self.repo)
    }

    /// Asks git, in the working tree where there is one.
    fn ask(&self, machine: &Machine, words: &[&str]) -> Step<Output> {
        let chdir =
            std::fs::metadata(&self.dest).is_ok_and(|metadata| metadata.is_dir()).then_some(self.dest.as_path());
        Ok(machine.probe(&self.command(words, chdir))?)
    }

    /// Asks git for what must succeed.
    pub fn answer(&self, machine: &Machine, words: &[&str]) -> Step<String> {
        let output = self.ask(machine, words)?;
        match output.success() {
            true => Ok(output.stdout_text()),
            false => Err(self.failed(words, &output, None)),
        }
    }

    fn failed(&self, words: &[&str], output: &Output, why: Option<String>) -> ModuleError {
        let (out, err) = (output.stdout_text(), output.stderr_text());
        let why = why.unwrap_or_else(|| if err.trim().is_empty() { out.clone() } else { err.clone() });
        // Addresses may hold passwords: also that which the repository was known under before, and those of submodules.
        let hide = |text: String| mask_all(&text.replace(&self.repo, &self.shown()));
        let cmd: Vec<String> =
            std::iter::once(self.program.clone()).chain(words.iter().map(|word| hide(word.to_string()))).collect();
        let outcome = Outcome::failed(hide(why).trim().to_string()).with("rc", output.rc).with("cmd", cmd);
        ModuleError::Ended(Box::new(outcome.with("stdout", hide(out)).with("stderr", hide(err))))
    }

    /// Has git change something, in the working tree.
    pub fn call(&self, machine: &mut Machine, words: &[&str]) -> Step<()> {
        let output = machine.run_tool(&self.dest, "changed by git", &self.command(words, Some(&self.dest)))?;
        match output.success() {
            true => Ok(()),
            false => Err(self.failed(words, &output, None)),
        }
    }

    /// The commit that is checked out.
    pub fn head(&self, machine: &Machine) -> Step<String> {
        Ok(self.ask(machine, &["rev-parse", "HEAD"])?.stdout_text().trim_end().to_string())
    }

    /// Whether tracked files were changed.
    pub fn modified(&self, machine: &Machine) -> Step<bool> {
        if self.arguments.bare.0 {
            return Ok(false);
        }
        let text = self.ask(machine, &["status", "--porcelain"])?.stdout_text();
        Ok(text.lines().any(|line| !line.starts_with("??")))
    }

    /// Whether the repository is known under another address.
    pub fn remote_moved(&self, machine: &Machine) -> Step<bool> {
        let output = self.ask(machine, &["ls-remote", "--get-url", &self.remote])?;
        let known = output.stdout_text().trim_end().to_string();
        if !output.success() || known.is_empty() || known == self.repo {
            return Ok(false);
        }
        let path = |text: &str| std::fs::canonicalize(text.strip_prefix("file://").unwrap_or(text)).ok();
        Ok(path(&known).is_none() || path(&known) != path(&self.repo))
    }

    fn is_branch(&self, machine: &Machine, remote: &str) -> Step<bool> {
        let name = format!("refs/heads/{}", self.version);
        Ok(self.answer(machine, &["ls-remote", remote, "-h", &name])?.contains(&self.version))
    }

    fn is_tag(&self, machine: &Machine, remote: &str) -> Step<bool> {
        let name = format!("refs/tags/{}", self.version);
        Ok(self.answer(machine, &["ls-remote", remote, "-t", &name])?.contains(&self.version))
    }

    /// The commit that the repository has under the version. It is asked under its address where what is there does not
    /// know that yet.
    pub fn remote_head(&self, machine: &Machine, cloning: bool, moved: bool) -> Step<String> {
        let remote = if cloning || moved { self.repo.as_str() } else { self.remote.as_str() };
        let nothing = || ModuleError::Failed(format!("Could not determine remote revision for {}", self.version));
        let first = |text: &str| text.split_whitespace().next().map(str::to_string).ok_or_else(nothing);
        if self.version == "HEAD" {
            let name = if cloning { "HEAD".into() } else { format!("refs/heads/{}", self.head_branch(machine)?) };
            let text = self.answer(machine, &["ls-remote", remote, &name])?;
            return first(&text);
        }
        if self.is_branch(machine, remote)? {
            return first(
                &self.answer(machine, &["ls-remote", remote, "-h", &format!("refs/heads/{}", self.version)])?,
            );
        }
        if self.is_tag(machine, remote)? {
            let text = self.answer(machine, &["ls-remote", remote, "-t", &format!("refs/tags/{}*", self.version)])?;
            // Of an annotated tag the commit that it is about.
            let commit = format!("refs/tags/{}^{{}}", self.version);
            let own = format!("refs/tags/{}", self.version);
            let line = text.lines().find(|line| line.ends_with(&commit));
            return first(line.or_else(|| text.lines().find(|line| line.ends_with(&own))).unwrap_or_default());
        }
        Ok(self.version.clone())
    }

    /// The branch that is checked out, or of a commit that is on none, the remote's own.
    fn head_branch(&self, machine: &Machine) -> Step<String> {
        let directory = self.directory(machine)?;
        let read = |path: PathBuf| -> Step<Option<String>> {
            let bytes = machine.read_file_if_exists(&path, 64 * 1024)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_string()))
        };
        let head = read(directory.join("HEAD"))?.unwrap_or_default();
        if let Some(branch) = head.strip_prefix("ref: refs/heads/") {
            return Ok(branch.to_string());
        }
        let named = read(directory.join("refs/remotes").join(&self.remote).join("HEAD"))?.unwrap_or_default();
        let start = format!("ref: refs/remotes/{}/", self.remote);
        named.strip_prefix(&start).map(str::to_string).ok_or_else(|| {
            ModuleError::Failed(format!("Unable to split head from '{named}': no branch of {} is known", self.remote))
        })
    }

    /// Makes the repository.
    pub fn clone(&self, machine: &mut Machine) -> Step<()> {
        let parent = self.dest.parent().unwrap_or(Path::new("/")).to_path_buf();
        machine.make_directories(&parent, &Default::default())?;
        let named =
            self.version != "HEAD" && (self.is_branch(machine, &self.repo)? || self.is_tag(machine, &self.repo)?);
        let mut words: Vec<String> = vec!["clone".into()];
        match self.arguments.bare.0 {
            true => words.push("--bare".into()),
            false => words.extend(["--origin".into(), self.remote.clone()]),
        }
        let depth = self.arguments.depth.map(|depth| depth.0.to_string());
        if let Some(depth) = &depth {
            if self.version == "HEAD" || self.arguments.refspec.is_some() {
                words.extend(["--depth".into(), depth.clone()]);
            } else if named {
                words.extend(["--depth".into(), depth.clone(), "--branch".into(), self.version.clone()]);
            }
        }
        if let Some(reference) = &self.arguments.reference {
            words.extend(["--reference".into(), reference.0.clone()]);
        }
        if self.arguments.single_branch.0 {
            words.push("--single-branch".into());
            if named {
                words.extend(["--branch".into(), self.version.clone()]);
            }
        }
        let dest = self.dest.display().to_string();
        words.extend([self.repo.clone(), dest]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = machine.run_tool(&self.dest, "cloned by git", &self.command(&words, Some(&parent)))?;
        if !output.success() {
            return Err(self.failed(&words, &output, None));
        }
        if self.arguments.bare.0 && self.remote != "origin" {
            self.call(machine, &["remote", "add", &self.remote, &self.repo])?;
        }
        if let Some(refspec) = &self.arguments.refspec {
            match &depth {
                Some(depth) => self.call(machine, &["fetch", "--depth", depth, &self.remote, refspec])?,
                None => self.call(machine, &["fetch", &self.remote, refspec])?,
            }
        }
        Ok(())
    }

    /// Brings what the repository has.
    pub fn fetch(&self, machine: &mut Machine) -> Step<()> {
        let mut words: Vec<String> = vec!["fetch".into()];
        let mut refspecs: Vec<String> = Vec::new();
        let version = &self.version;
        if let Some(depth) = self.arguments.depth {
            let current = self.head_branch(machine)?;
            if let Some(refspec) = &self.arguments.refspec {
                refspecs.push(refspec.0.clone());
            } else if version == "HEAD" {
                refspecs.push(current);
            } else if self.is_branch(machine, &self.repo)? {
                if current != *version {
                    refspecs.push(format!("+refs/heads/{version}:refs/heads/{version}"));
                }
                refspecs.push(format!("+refs/heads/{version}:refs/remotes/{}/{version}", self.remote));
            } else if self.is_tag(machine, &self.repo)? {
                refspecs.push(format!("+refs/tags/{version}:refs/tags/{version}"));
            }
            if !refspecs.is_empty() {
                words.extend(["--depth".into(), depth.0.to_string()]);
            }
        }
        if refspecs.is_empty() {
            match self.arguments.bare.0 {
                true => refspecs.extend(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"].map(String::from)),
                false => words.push("--tags".into()),
            }
            refspecs.extend(self.arguments.refspec.as_ref().map(|refspec| refspec.0.clone()));
        }
        if self.arguments.force.0 {
            words.push("--force".into());
        }
        words.push(self.remote.clone());
        words.extend(refspecs);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = machine.run_tool(&self.dest, "fetched by git", &self.command(&words, Some(&self.dest)))?;
        if !output.success() {
            let why = format!(
                "Failed to download remote objects and refs: {} {}",
                output.stdout_text(),
                output.stderr_text()
            );
            return Err(self.failed(&words, &output, Some(why)));
        }
        Ok(())
    }

    /// Checks the version out.
    pub fn switch(&self, machine: &mut Machine) -> Step<()> {
        let version = &self.version;
        if version == "HEAD" {
            let branch = self.head_branch(machine)?;
            self.call(machine, &["checkout", "--force", &branch])?;
            self.call(machine, &["reset", "--hard", &format!("{}/{branch}", self.remote), "--"])?;
        } else if self.is_branch(machine, &self.remote)? {
            let there = format!("{}/{version}", self.remote);
            let own = format!("refs/heads/{version}");
            let known = |git: &Self, machine: &Machine| -> Step<bool> {
                Ok(git.ask(machine, &["show-ref", "--verify", "--quiet", &own])?.success())
            };
            if let Some(depth) = self.arguments.depth.filter(|_| !known(self, machine).unwrap_or(false)) {
                let (depth, own) = (format!("--depth={}", depth.0), format!("+{own}:{own}"));
                let tracked = format!("+refs/heads/{version}:refs/remotes/{there}");
                self.call(machine, &["fetch", &depth, &self.remote, &own, &tracked])?;
            }
            if known(self, machine)? {
                self.call(machine, &["checkout", "--force", version])?;
                self.call(machine, &["reset", "--hard", &there])?;
            } else {
                self.call(machine, &["checkout", "--track", "-b", version, &there])?;
            }
        } else {
            let words = ["checkout", "--force", version.as_str()];
            let output = machine.run_tool(&self.dest, "checked out by git", &self.command(&words, Some(&self.dest)))?;
            if !output.success() {
                return Err(self.failed(&words, &output, Some(format!("Failed to checkout {version}"))));
            }
        }
        if self.arguments.verify_commit.0 { self.verify(machine) } else { Ok(()) }
    }

    fn verify(&self, machine: &Machine) -> Step<()> {
        let kind = self.answer(machine, &["cat-file", "-t", &self.version])?;
        let what = if kind.trim() == "tag" { "verify-tag" } else { "verify-commit" };
        let words = [what, self.version.as_str(), "--raw"];
        let output = self.ask(machine, &words)?;
        if !output.success() {
            let why = format!("Failed to verify GPG signature of commit/tag \"{}\"", self.version);
            return Err(self.failed(&words, &output, Some(why)));
        }
        let allowed = self.arguments.gpg_allowlist.as_ref().map(|list| list.0.as_slice()).unwrap_or_default();
        let text = output.stderr_text();
        let line = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let valid = line.into_iter().find(|words| words.get(1) == Some(&"VALIDSIG")).unwrap_or_default();
        let key = valid.get(if valid.len() == 12 { 11 } else { 2 }).copied().unwrap_or_default();
        if !allowed.is_empty() && !allowed.iter().any(|one| one == key) {
            let why = format!("The gpg_allowlist does not include the public key \"{key}\" for this commit");
            return Err(self.failed(&words, &output, Some(why)));
        }
        Ok(())
    }

    /// Brings submodules up to date; says whether any had to be.
    pub fn submodules(&self, machine: &mut Machine) -> Step<bool> {
        if !self.arguments.recursive.0 || self.arguments.bare.0 || !self.dest.join(".gitmodules").exists() {
            return Ok(false);
        }
        let status = |git: &Self, machine: &Machine| git.answer(machine, &["submodule", "status", "--recursive"]);
        let before = status(self, machine)?;
        let track = self.arguments.track_submodules.0;
        if !track && before.lines().all(|line| line.starts_with(' ')) {
            return Ok(false);
        }
        self.call(machine, &["submodule", "sync"])?;
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if track {
            words.push("--remote");
        }
        if self.arguments.force.0 {
            words.push("--force");
        }
        self.call(machine, &words)?;
        Ok(status(self, machine)? != before)
    }
}
