//! Archives of tar, compressed or not, by the host's GNU tar.

use super::unarchive::{Kind, Task};
use crate::machine::{Command, Machine, Output};
use crate::modules::ModuleError;
use crate::modules::commands::glob_pattern;
use crate::modules::files::common::Step;

impl Task<'_> {
    /// A call of tar: what to do, how it is packed, what the task adds, the archive, what of it.
    fn tar(&self, program: &str, what: &str, owners: bool) -> Command {
        let mut argv = vec![program.to_string(), what.to_string(), "-C".into(), self.dest.display().to_string()];
        argv.extend(self.kind.flag().map(str::to_string));
        if !self.arguments.extra_opts().is_empty() {
            argv.push("--show-transformed-names".into());
            argv.extend(self.arguments.extra_opts());
        }
        if owners {
            let common = [("--owner=", &self.arguments.owner), ("--group=", &self.arguments.group)];
            argv.extend(common.iter().filter_map(|(word, given)| Some(format!("{word}{}", given.as_ref()?.0))));
            if self.arguments.keep_newer.0 {
                argv.push("--keep-newer-files".into());
            }
        }
        argv.extend(self.excludes().into_iter().map(|one| format!("--exclude={one}")));
        argv.extend(["-f".to_string(), self.src.display().to_string()]);
        argv.extend(self.arguments.include());
        let locale =
            ["LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"].map(|name| (name.to_string(), "C.UTF-8".to_string()));
        let chdir = Some(self.dest.display().to_string());
        Command { chdir, environment: locale.into(), ..Command::new(argv) }
    }

    fn excludes(&self) -> Vec<String> {
        self.arguments.exclude().into_iter().map(|one| one.trim_end_matches('/').to_string()).collect()
    }

    /// What is in it; nothing where tar cannot read it.
    pub(super) fn list_tar(&self, machine: &Machine, program: &str) -> Step<Result<Vec<String>, String>> {
        let output = machine.probe(&self.tar(program, "--list", false))?;
        if !output.success() {
            let said = output.stderr_text();
            return Ok(Err(format!(
                "Command \"{program}\" could not handle archive: Unable to list files in the archive: {said}"
            )));
        }
        let excluded: Vec<_> = self.excludes().iter().filter_map(|one| glob_pattern(one)).collect();
        let text = output.stdout_text();
        let names = text.lines().map(crate::machine::mounts::unescape);
        let names = names.map(|name| name.strip_prefix('/').map(str::to_string).unwrap_or(name));
        let names: Vec<String> = names.filter(|name| !excluded.iter().any(|one| one.is_match(name))).collect();
        Ok(match names.is_empty() {
            true => {
                Err(format!("Command \"{program}\" found no files in archive. Empty archive files are not supported."))
            }
            false => Ok(names),
        })
    }

    /// Lines of what is not as in the archive, but for what the task sets itself.
    pub(super) fn compare_tar(&self, machine: &Machine, program: &str) -> Step<bool> {
        let output = machine.probe(&self.tar(program, "--diff", true))?;
        let root = rustix::process::geteuid().is_root();
        let text = format!("{}\n{}", output.stdout_text(), output.stderr_text());
        let differs = text.lines().any(|line| {
            if line.ends_with(": : Warning: Cannot stat: No such file or directory") {
                return false; // an empty name, of --strip-components
            }
            let ends = |what: &str| line.ends_with(what);
            root && self.arguments.owner.is_none() && ends(": Uid differs")
                || root && self.arguments.group.is_none() && ends(": Gid differs")
                || self.arguments.mode.is_none() && ends(": Mode differs")
                || [": Mod time differs", ": Warning: Cannot stat: No such file or directory", ": Symlink differs"]
                    .iter()
                    .chain(&[": Contents differ", ": Size differs"])
                    .any(|what| ends(what))
                || line.contains(": Invalid owner")
                || line.contains(": Invalid group")
        });
        Ok(!differs)
    }

    /// Unpacks it.
    pub(super) fn extract_tar(&self, machine: &mut Machine, program: &str) -> Step<(Vec<String>, Output)> {
        let command = self.tar(program, "--extract", true);
        let output = machine.run_tool(&self.dest, "unpacked an archive", &command)?;
        Ok((command.argv, output))
    }
}

/// The host's GNU tar.
pub(super) fn program(machine: &Machine) -> Step<String> {
    let found = ["gtar", "tar"].iter().find_map(|name| machine.find_program(name));
    let found = found
        .ok_or_else(|| ModuleError::Failed("Unable to find required 'gtar' or 'tar' binary in the path".into()))?;
    let version = machine.probe(&Command::new([found.as_str(), "--version"]))?.stdout_text();
    match version.starts_with("tar") && version.contains("GNU") {
        true => Ok(found),
        false => Err(ModuleError::Failed(format!("Command \"{found}\" is not GNU tar. GNU tar required."))),
    }
}

impl Kind {
    /// The option of tar for how it is packed. The others tar finds out by itself.
    pub fn flag(self) -> Option<&'static str> {
        (self == Kind::Gzip).then_some("-z")
    }

    /// Ansible's name for who unpacks it.
    pub fn handler(self) -> &'static str {
        match self {
            Kind::Zip => "ZipArchive",
            Kind::Gzip => "TgzArchive",
            Kind::Tar | Kind::Bzip2 | Kind::Xz | Kind::Zstd => "TarArchive",
        }
    }

    /// By the first bytes of a file.
    pub fn of(start: &[u8]) -> Kind {
        let starts: [(&[u8], Kind); 5] = [
            (b"PK", Kind::Zip),
            (b"\x1f\x8b", Kind::Gzip),
            (b"BZh", Kind::Bzip2),
            (b"\xfd7zXZ", Kind::Xz),
            (b"\x28\xb5\x2f\xfd", Kind::Zstd),
        ];
        starts.iter().find(|(magic, _)| start.starts_with(magic)).map_or(Kind::Tar, |(_, kind)| *kind)
    }
}
