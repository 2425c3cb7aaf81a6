//! `fetch`: a file of the host to the controller.

use super::common::{Step, begin, expand};
use crate::machine::{Machine, MachineError};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.fetch`
pub const FETCH: Module = Module {
    name: "ansible.builtin.fetch",
    aliases: &["fetch", "ansible.legacy.fetch"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Fetch::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(action::prepare),
};

crate::arguments! {
    /// Copies a file of the host to the controller, below `dest` in a directory of the host's name.
    pub struct Fetch {
        /// The file of the host.
        pub src: Text,
        /// Directory of the controller; relative to the playbook. With `flat`, the file itself, or with a slash at
        /// its end the directory.
        pub dest: Text,
        /// Do not add host name and path to `dest`.
        #[serde(default)]
        pub flat: Flag,
        /// A missing file is a failure.
        #[serde(default = "Flag::yes")]
        pub fail_on_missing: Flag,
        /// Compare the checksums after the transfer. The transfer is always verified; this is taken for Ansible's
        /// sake.
        #[serde(default = "Flag::yes")]
        pub validate_checksum: Flag,
    }
}

/// Where the controller half says what it has already.
const HAVE: &str = "_have";

/// Sends the file, unless the controller has it.
fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let have = arguments.remove(HAVE);
    let arguments: Fetch = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.src)?;
    let missing = |why: &str, ignored: &str| {
        if arguments.fail_on_missing.0 {
            Err(ModuleError::Failed(format!("{why}: {}", path.display())))
        } else {
            let mut outcome = Outcome::ok().with("file", arguments.src.0.as_str()).with("missing", true);
            outcome.msg = Some(format!("{why}{ignored}"));
            Ok(outcome)
        }
    };
    match machine.stat(&path)? {
        None => return missing("the remote file does not exist", ", not transferring, ignored"),
        Some(stat) if stat.is_dir() => {
            return missing("remote file is a directory, fetch cannot work on directories", "");
        }
        Some(stat) if !stat.is_file() => {
            return missing("the remote file is no regular file", ", not transferring, ignored");
        }
        Some(_) => {}
    }
    let digests = machine.file_digests(&path)?;
    let new = have.as_ref().and_then(Value::as_str) != Some(&digests.sha256);
    let sent = match machine.open_file(&path) {
        _ if !new => false,
        Ok(mut reader) => {
            let sent = context.controller.send("file", &mut *reader);
            sent.map_err(|e| ModuleError::Failed(format!("cannot send {}: {e}", path.display())))?;
            true
        }
        // In a check: a large file whose digests are known and whose contents are not here yet.
        Err(MachineError::Unknown { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(Outcome::ok()
        .with("new", new)
        .with("sent", sent)
        .with("size", digests.size)
        .with("sha256", digests.sha256)
        .with("checksum", digests.sha1)
        .with("md5sum", digests.md5))
}

#[cfg(feature = "controller")]
mod action {
    use super::super::copy_action::failed;
    use super::*;
    use crate::machine::files::{Attributes, Digests, NewContent, WriteOptions};
    use crate::modules::{ActionError, ActionFuture, ActionHost, Prepared, Status};
    use std::path::{Component, Path, PathBuf};

    /// Asks the host for the file and writes it.
    pub fn prepare<'a>(host: &'a dyn ActionHost, mut arguments: Map<String, Value>) -> ActionFuture<'a, Prepared> {
        Box::pin(async move {
            let fetch: Fetch = decode(arguments.clone()).map_err(failed)?;
            let dest = destination(host, &fetch)?;
            let mut have = None;
            host.with_controller(&mut |machine| {
                have = match machine.stat(&dest).map_err(refused)? {
                    Some(stat) if stat.is_file() => Some(machine.file_digests(&dest).map_err(refused)?.sha256),
                    Some(stat) if stat.is_dir() => {
                        return Err(ActionError::Failed(format!("dest {} is an existing directory", dest.display())));
                    }
                    _ => None,
                };
                Ok(())
            })?;
            arguments.insert(HAVE.into(), have.map_or(Value::Null, Value::from));
            let mut outcome = host.call("ansible.builtin.fetch", arguments).await?;
            if outcome.status != Status::Ok || outcome.data.remove("missing").is_some() {
                return Ok(Prepared::Done(outcome));
            }
            let text = |name: &str| outcome.data.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
            let (sha256, sha1, md5) = (text("sha256"), text("checksum"), text("md5sum"));
            let flag = |name: &str| outcome.data.get(name).and_then(Value::as_bool).unwrap_or_default();
            let (new, sent) = (flag("new"), flag("sent"));
            let size = outcome.data.get("size").and_then(Value::as_u64).unwrap_or_default();
            let mut result = Outcome { warnings: std::mem::take(&mut outcome.warnings), ..Outcome::ok() };
            for (name, value) in
                [("dest", dest.to_string_lossy().into_owned()), ("checksum", sha1.clone()), ("md5sum", md5.clone())]
            {
                result.data.insert(name.into(), value.into());
            }
            if new {
                let (file, found) = if sent {
                    let file = host.received("file")?;
                    let found = digests_of(&file)?;
                    (file, found)
                } else {
                    (PathBuf::new(), Digests { size, sha256: sha256.clone(), sha1: sha1.clone(), md5 })
                };
                if found.sha256 != sha256 {
                    return Err(ActionError::Failed(format!(
                        "checksum mismatch: {} arrived with SHA-1 {} instead of {sha1}",
                        fetch.src.0, found.sha1
                    )));
                }
                let mut source = Received { path: file, digests: found };
                host.with_controller(&mut |machine| {
                    if let Some(parent) = dest.parent() {
                        machine.make_directories(parent, &Attributes::default()).map_err(refused)?;
                    }
                    let written = machine.write(&dest, NewContent::Stream(&mut source), &WriteOptions::default(), None);
                    written.map(|_| ()).map_err(refused)
                })?;
                result.data.insert("remote_checksum".into(), sha1.into());
                result.data.insert("remote_md5sum".into(), Value::Null);
            } else {
                result.data.insert("file".into(), fetch.src.0.into());
            }
            Ok(Prepared::Done(result))
        })
    }

    /// A file that came from the host.
    struct Received {
        path: PathBuf,
        digests: Digests,
    }

    impl crate::machine::files::Source for Received {
        fn size(&self) -> u64 {
            self.digests.size
        }

        fn sha256(&self) -> &str {
            &self.digests.sha256
        }

        fn digests(&self) -> Option<Digests> {
            Some(self.digests.clone())
        }

        fn open(&mut self) -> std::io::Result<Box<dyn std::io::Read + '_>> {
            Ok(Box::new(std::fs::File::open(&self.path)?))
        }
    }

    fn digests_of(path: &Path) -> Result<Digests, ActionError> {
        let cannot = |e| ActionError::Failed(format!("cannot read {}: {e}", path.display()));
        Digests::of_reader(&mut std::fs::File::open(path).map_err(cannot)?).map_err(cannot)
    }

    fn refused(error: crate::machine::MachineError) -> ActionError {
        match error {
            crate::machine::MachineError::Unknown { why } => ActionError::Unknown(why),
            other => ActionError::Failed(format!("on the controller: {other}")),
        }
    }

    /// The file of the controller.
    fn destination(host: &dyn ActionHost, fetch: &Fetch) -> Result<PathBuf, ActionError> {
        let base = match host.variable("playbook_dir")? {
            Some(Value::String(directory)) => PathBuf::from(directory),
            _ => PathBuf::from("."),
        };
        let written = fetch.dest.0.as_str();
        let home = std::env::var("HOME").ok();
        let dest = match (written.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => Path::new(&home).join(rest),
            _ => base.join(written),
        };
        let dest = std::path::absolute(&dest)
            .map_err(|e| ActionError::Failed(format!("cannot use the path {}: {e}", dest.display())))?;
        let source = Path::new(&fetch.src.0);
        if source.components().any(|c| c == Component::ParentDir) {
            return Err(ActionError::Failed(format!(
                "Detected directory traversal in src: {} must not contain `..`",
                source.display()
            )));
        }
        if !fetch.flat.0 {
            let below: PathBuf = source.components().filter(|c| matches!(c, Component::Normal(_))).collect();
            return Ok(dest.join(host.host()).join(below));
        }
        if written.ends_with('/') {
            return Ok(dest.join(source.file_name().unwrap_or_default()));
        }
        if dest.is_dir() {
            return Err(ActionError::Failed(
                "dest is an existing directory, use a trailing slash if you want to fetch src into that directory"
                    .into(),
            ));
        }
        Ok(dest)
    }
}
