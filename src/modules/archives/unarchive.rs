//! `unarchive`: unpacks an archive on the host.

use super::tar;
use crate::machine::files::{Attributes, Foreseen, Kind as FileKind};
use crate::machine::web::{Request, mask};
use crate::machine::{Machine, Scratch};
use crate::modules::files::common::{Step, begin, describe, expand, file_arguments};
use crate::modules::files::delivery::Delivery;
use crate::modules::network::ask::{download, said};
use crate::modules::scalars::{Flag, Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, Status, decode};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// `ansible.builtin.unarchive`
pub const UNARCHIVE: Module = Module {
    name: "ansible.builtin.unarchive",
    aliases: &["unarchive", "ansible.legacy.unarchive"],
    // A source may be on the web.
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: Unarchive::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(prepare),
};

file_arguments! {
    /// Unpacks an archive of tar (also packed by gzip, bzip2, xz or zstd) or zip into a directory of the host, by the host's
    /// `tar` and `unzip`. Nothing is unpacked where everything is there already.
    ///
    /// A check looks into the archive and compares, for tar too, where Ansible's skips the task. What unpacking changes
    /// cannot be undone.
    pub struct Unarchive {
        /// The archive: a file of the controller; with `remote_src` of the host, or an address of the web.
        pub src: Text,
        /// The directory, which must exist.
        pub dest: Text,
        /// `src` is on the host already, or an address that the host asks.
        #[serde(default)]
        pub remote_src: Flag,
        /// The contrary of `remote_src`, for old playbooks.
        pub copy: Option<Flag>,
        /// A path: nothing is unpacked when it exists.
        pub creates: Option<Text>,
        /// Return the names of what is in it as `files`.
        #[serde(default)]
        pub list_files: Flag,
        /// Do not replace files that are younger than the archive's.
        #[serde(default)]
        pub keep_newer: Flag,
        /// Names and shell patterns that are left out.
        pub exclude: Option<TextList>,
        /// Only these.
        pub include: Option<TextList>,
        /// More words for `tar` or `unzip`.
        pub extra_opts: Option<TextList>,
        /// Whether a server must show a certificate that the host believes.
        #[serde(default = "Flag::yes")]
        pub validate_certs: Flag,
        /// Decrypt a source that is a vault.
        #[serde(default = "Flag::yes")]
        pub decrypt: Flag,
        /// Accepted for Ansible's sake; it has no effect.
        pub io_buffer_size: Option<Int>,
    }
}

impl Unarchive {
    pub(super) fn exclude(&self) -> Vec<String> {
        self.exclude.as_ref().map(|list| list.0.clone()).unwrap_or_default()
    }

    pub(super) fn include(&self) -> Vec<String> {
        self.include.as_ref().map(|list| list.0.clone()).unwrap_or_default()
    }

    pub(super) fn extra_opts(&self) -> Vec<String> {
        self.extra_opts.as_ref().map(|list| list.0.clone()).unwrap_or_default()
    }

    #[cfg(feature = "controller")]
    fn on_host(&self) -> bool {
        self.copy.map_or(self.remote_src.0, |copy| !copy.0)
    }
}

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tar,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    Zip,
}

/// Brings an archive of the controller to the host.
#[cfg(feature = "controller")]
fn prepare<'a>(
    host: &'a dyn crate::modules::ActionHost,
    mut arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::files::copy_action::{cannot_read, failed, offer};
    use crate::modules::{ActionError, FileKind, Prepared};
    Box::pin(async move {
        let unarchive: Unarchive = decode(arguments.clone()).map_err(failed)?;
        if unarchive.copy.is_some() && arguments.contains_key("remote_src") {
            return Err(ActionError::Failed("parameters are mutually exclusive: ('copy', 'remote_src')".into()));
        }
        if unarchive.on_host() {
            return Ok(Prepared::Send(arguments));
        }
        if unarchive.src.contains("://") {
            let src = mask(&unarchive.src);
            let why = format!("Unsupported option, an URI src ({src}) is only supported when remote_src is True");
            return Err(ActionError::Failed(why));
        }
        let path = host.find_file(FileKind::Files, &unarchive.src)?;
        let size = std::fs::metadata(&path).map_err(|e| cannot_read(&path, e))?.len();
        let content = offer(host, &path, size, unarchive.decrypt.0)?;
        let basename = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Delivery { basename, content, digests: None, tree: None }.add(&mut arguments)?;
        Ok(Prepared::Send(arguments))
    })
}

/// An archive that is to be unpacked.
pub(super) struct Task<'a> {
    pub arguments: &'a Unarchive,
    pub src: PathBuf,
    pub dest: PathBuf,
    pub kind: Kind,
}

fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let delivery = Delivery::take(&mut arguments)?;
    let arguments: Unarchive = decode(arguments)?;
    begin(machine, context);
    let mut outcome = Outcome::ok();
    arguments.common().check(&mut outcome)?;
    if !arguments.include().is_empty() && !arguments.exclude().is_empty() {
        return Err(ModuleError::Failed("parameters are mutually exclusive: include|exclude".into()));
    }
    if let Some(creates) = &arguments.creates
        && machine.exists(expand(machine, creates)?)?
    {
        return Ok(Outcome::skipped(format!("skipped, since {} exists", creates.0)));
    }
    let dest = expand(machine, &arguments.dest)?;
    if !machine.stat(&dest)?.is_some_and(|stat| stat.is_dir()) {
        return Err(ModuleError::Failed(format!("dest '{}' must be an existing dir", arguments.dest.0)));
    }
    let scratch = Scratch::new("unarchive")?;
    let src = source(&arguments, delivery, machine, context, &scratch)?;
    let mut start = Vec::new();
    let opened = std::fs::File::open(&src).and_then(|file| file.take(8).read_to_end(&mut start));
    opened.map_err(|e| ModuleError::Failed(format!("Source '{}' not readable: {e}", src.display())))?;
    if start.is_empty() {
        return Err(ModuleError::Failed(format!("Invalid archive '{}', the file is 0 bytes", src.display())));
    }
    let task = Task { arguments: &arguments, src, dest, kind: Kind::of(&start) };
    let outcome = task.run(machine, outcome)?;
    Ok(outcome)
}

/// The archive as a file of the host.
fn source(
    arguments: &Unarchive,
    delivery: Option<Delivery>,
    machine: &Machine,
    context: &mut Context<'_>,
    scratch: &Scratch,
) -> Step<PathBuf> {
    let staged = scratch.path().join("source");
    let wrong =
        |e: std::io::Error| ModuleError::Failed(format!("Source '{}' failed to transfer: {e}", arguments.src.0));
    if let Some(delivery) = delivery {
        let mut file = std::fs::File::create(&staged).map_err(wrong)?;
        let content = &delivery.content;
        let mut contents: Box<dyn Read + '_> = match content {
            crate::modules::Content::Blob { .. } => context.controller.open(content).map_err(wrong)?,
            _ => Box::new(std::io::Cursor::new(crate::modules::network::contents(content, context).map_err(wrong)?)),
        };
        std::io::copy(&mut contents, &mut file).map_err(wrong)?;
        return Ok(staged);
    }
    let given = &arguments.src.0;
    if given.contains("://") {
        let mut request = Request::get(given.as_str());
        request.trust.anybody = !arguments.validate_certs.0;
        let failed = |why: String| ModuleError::Failed(format!("Failure downloading {}, {why}", mask(given)));
        let mut response = machine.request(&request)?.map_err(|e| failed(e.what))?;
        if response.status >= 300 {
            return Err(failed(said(&response)));
        }
        return Ok(download(&mut response, &staged).map_err(failed)?.path);
    }
    let path = expand(machine, given)?;
    if machine.stat(&path)?.is_none() {
        return Err(ModuleError::Failed(format!("Source '{given}' does not exist")));
    }
    if !machine.may_access(&path, 4)? {
        return Err(ModuleError::Failed(format!("Source '{given}' not readable")));
    }
    if machine.foresees_anything() {
        // It may be one that only this check knows of.
        let mut file = std::fs::File::create(&staged).map_err(wrong)?;
        std::io::copy(&mut machine.open_file(&path)?, &mut file).map_err(wrong)?;
        return Ok(staged);
    }
    Ok(path)
}

impl Task<'_> {
    fn run(&self, machine: &mut Machine, mut outcome: Outcome) -> Step<Outcome> {
        let zip = self.kind == Kind::Zip;
        let program = if zip { String::new() } else { tar::program(machine)? };
        let files = match if zip { self.list_zip(machine)? } else { self.list_tar(machine, &program)? } {
            Ok(files) => files,
            Err(why) => {
                let why = format!(
                    "Failed to find handler for \"{}\". Make sure the required command to extract the file is \
                     installed.\n{why}",
                    self.src.display()
                );
                return Err(ModuleError::Failed(why));
            }
        };
        // What would be outside of `dest`: tar and unzip do not unpack it, and nothing else is to be done to it either.
        if let Some(name) = files.iter().find(|name| name.split('/').any(|part| part == "..")) {
            let why = format!("the archive has the member {name:?}, which would be outside of {}", self.dest.display());
            return Err(ModuleError::Failed(why));
        }
        outcome.data.insert("handler".into(), self.kind.handler().into());
        outcome.data.insert("dest".into(), self.arguments.dest.0.as_str().into());
        outcome.data.insert("src".into(), self.src.display().to_string().into());
        if machine.predicted() {
            outcome.unknown_fields.push("src".into());
        }
        // Directories that only this check knows of have nothing to compare with.
        let real = std::fs::metadata(&self.dest).is_ok_and(|metadata| metadata.is_dir());
        let same = real && if zip { self.compare_zip(machine)? } else { self.compare_tar(machine, &program)? };
        let what = format!("unpacked {} entries of {}", files.len(), name(&self.arguments.src));
        if !same && machine.predicted() {
            self.foresee(machine, &files, &what)?;
            outcome.unknown_fields.push("extract_results".into());
        } else if !same {
            let (argv, output) = if zip { self.extract_zip(machine)? } else { self.extract_tar(machine, &program)? };
            let results =
                json!({"cmd": argv, "rc": output.rc, "out": output.stdout_text(), "err": output.stderr_text()});
            outcome.data.insert("extract_results".into(), results);
            machine.record_tool(&self.dest, what);
            if !output.success() {
                outcome.status = Status::Failed;
                outcome.msg = Some(format!("failed to unpack {} to {}", self.src.display(), self.arguments.dest.0));
                return Ok(outcome);
            }
            self.attributes(machine, &files)?;
        } else {
            self.attributes(machine, &files)?;
        }
        if self.arguments.list_files.0 {
            outcome.data.insert("files".into(), files.into());
        }
        describe(machine, &self.dest, &mut outcome)?;
        Ok(outcome)
    }

    /// What will be there: names, not contents.
    fn foresee(&self, machine: &mut Machine, files: &[String], what: &str) -> Step<()> {
        let common = self.arguments.common();
        for name in files {
            let path = self.dest.join(name.trim_end_matches('/'));
            let directory = name.ends_with('/');
            let kind = if directory { FileKind::Directory } else { FileKind::File };
            let attributes: Attributes = common.resolve_for(machine, None, kind)?;
            if directory && machine.stat(&path)?.is_some_and(|stat| stat.is_dir()) {
                continue;
            }
            let entry = match directory {
                true => Foreseen::Directory(attributes),
                false => Foreseen::File { contents: None, attributes },
            };
            machine.foresee_file(&path, entry)?;
        }
        machine.record_tool(&self.dest, what);
        Ok(())
    }

    /// Gives everything, and the directories at the top, the owner and mode that the task names.
    fn attributes(&self, machine: &mut Machine, files: &[String]) -> Step<()> {
        let common = self.arguments.common();
        if common.mode.is_none() && common.owner.is_none() && common.group.is_none() {
            return Ok(());
        }
        let tops = files.iter().filter_map(|name| name.split_once('/')).map(|(top, _)| top.to_string());
        let mut all: Vec<String> = files.to_vec();
        all.extend(tops);
        for name in all {
            let path: &Path = &self.dest.join(name.trim_end_matches('/'));
            if let Some(stat) = machine.lstat(path)?
                && !stat.is_link()
            {
                let attributes = common.resolve_for(machine, Some(&stat), FileKind::File)?;
                machine.set_attributes(path, &attributes, false)?;
            }
        }
        Ok(())
    }
}

/// The last name of a source; of an address without what may be secret.
fn name(src: &str) -> String {
    let masked = mask(src);
    let path = if src.contains("://") { masked.split(['?', '#']).next().unwrap_or_default() } else { masked.as_str() };
    path.rsplit('/').next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use crate::machine::web::tests::server;
    use crate::modules::Status;
    use crate::modules::testing::{apply, check};
    use serde_json::json;
    use std::process::Command;

    #[test]
    fn a_source_is_named_without_secrets() {
        for (src, expected) in [
            ("/srv/a b?c.tgz", "a b?c.tgz"),
            ("https://u:p@h/x.tgz?token=abc/d", "x.tgz"),
            ("https://u:p@h", "****:****@h"),
        ] {
            assert_eq!(super::name(src), expected);
        }
    }

    #[test]
    fn members_stay_inside() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, dest) = (scratch.path().join("tree"), scratch.path().join("dest"));
        std::fs::create_dir_all(tree.join("d")).unwrap();
        std::fs::create_dir(&dest).unwrap();
        std::fs::write(tree.join("victim"), "x").unwrap();
        let archive = scratch.path().join("x.tar");
        let made = Command::new("tar").arg("-Pcf").arg(&archive).arg("../victim").current_dir(tree.join("d")).status();
        assert!(made.unwrap().success());
        for run in [apply, check] {
            let outcome = run("unarchive", &json!({"src": archive, "dest": dest, "remote_src": true, "mode": "0600"}));
            assert!(outcome.msg.as_deref().unwrap_or_default().contains("would be outside"), "{:?}", outcome.msg);
        }
    }

    #[test]
    fn younger_files_are_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, dest) = (scratch.path().join("tree"), scratch.path().join("dest"));
        std::fs::create_dir(&tree).unwrap();
        std::fs::create_dir(&dest).unwrap();
        std::fs::write(tree.join("a"), "one").unwrap();
        let archive = scratch.path().join("x.zip");
        let made = Command::new("zip").arg("-q").arg(&archive).arg("a").current_dir(&tree).status();
        assert!(made.unwrap().success());
        std::fs::write(dest.join("a"), "mine").unwrap();
        let young = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        std::fs::File::options().write(true).open(dest.join("a")).unwrap().set_modified(young).unwrap();
        let arguments = json!({"src": archive, "dest": dest, "remote_src": true, "keep_newer": true});
        assert!(!check("unarchive", &arguments).changed() && !apply("unarchive", &arguments).changed());
        assert_eq!(std::fs::read_to_string(dest.join("a")).unwrap(), "mine");
        let all = json!({"src": archive, "dest": dest, "remote_src": true});
        assert!(check("unarchive", &all).changed());
    }

    #[test]
    fn archives_of_tar_are_unpacked_once() {
        let scratch = tempfile::tempdir().unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(tree.join("d")).unwrap();
        std::fs::write(tree.join("d/a"), "one\n").unwrap();
        std::fs::write(tree.join("b"), "two\n").unwrap();
        let archive = scratch.path().join("x.tgz");
        let made = Command::new("tar").args(["-czf"]).arg(&archive).arg("-C").arg(&tree).args(["d", "b"]).status();
        assert!(made.unwrap().success());
        let dest = scratch.path().join("dest");
        let arguments = json!({"src": archive, "dest": dest, "remote_src": true, "list_files": true});
        assert!(apply("unarchive", &arguments).msg.unwrap().contains("must be an existing dir"));
        std::fs::create_dir(&dest).unwrap();
        let foreseen = check("unarchive", &arguments);
        assert_eq!((foreseen.status, foreseen.changed()), (Status::Ok, true), "{:?}", foreseen.msg);
        assert!(!dest.join("b").exists(), "a check unpacks nothing");
        let outcome = apply("unarchive", &arguments);
        assert_eq!((&outcome.data["handler"], outcome.changed()), (&json!("TgzArchive"), true));
        assert_eq!(outcome.data["files"], json!(["d/", "d/a", "b"]));
        assert_eq!(std::fs::read_to_string(dest.join("d/a")).unwrap(), "one\n");
        assert!(!apply("unarchive", &arguments).changed() && !check("unarchive", &arguments).changed());
        std::fs::write(dest.join("b"), "other\n").unwrap();
        assert!(check("unarchive", &arguments).changed());
        let bytes = std::fs::read(&archive).unwrap();
        std::fs::write(scratch.path().join("none"), "nonsense nonsense").unwrap();
        std::fs::write(scratch.path().join("empty"), "").unwrap();
        for (more, expected) in [
            (json!({"src": scratch.path().join("none")}), "Failed to find handler"),
            (json!({"src": scratch.path().join("empty")}), "the file is 0 bytes"),
            (json!({"src": "/no/such"}), "Source '/no/such' does not exist"),
            (json!({"include": ["a"], "exclude": ["b"]}), "mutually exclusive"),
            (json!({"creates": "/etc"}), "skipped, since /etc exists"),
        ] {
            let mut arguments = arguments.clone();
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let outcome = apply("unarchive", &arguments);
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{more}: {:?}", outcome.msg);
        }
        assert!(!bytes.is_empty());
        let (base, _) = server(vec!["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()]);
        let arguments = json!({"src": format!("{base}/x"), "dest": dest, "remote_src": true});
        assert!(apply("unarchive", &arguments).msg.unwrap().ends_with("HTTP Error 404: Not Found"));
    }
}
