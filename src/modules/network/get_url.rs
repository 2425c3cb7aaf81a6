//! `get_url`: downloads a file to the host.

use super::ask::{Download, download, named, said, senseless, web_arguments};
use super::checksum::Checksum;
use crate::machine::files::{Algorithm, Kind, NewContent, WriteOptions};
use crate::machine::web::{Request, Response, Url, mask};
use crate::machine::{Machine, Scratch};
use crate::modules::files::common::{Step, begin, describe, expand, show};
use crate::modules::scalars::{Flag, Int, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `ansible.builtin.get_url`
pub const GET_URL: Module = Module {
    name: "ansible.builtin.get_url",
    aliases: &["get_url", "ansible.legacy.get_url"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: GetUrl::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

web_arguments! {
    login = "username", seconds = 10;
    /// Downloads a file by HTTP or HTTPS (or from `file:///…`) to the host, over the host's own network.
    ///
    /// The file is replaced in one step, and only when its contents differ. Without `force` and without a `checksum` a
    /// server is asked only for what is younger than the file. A check downloads, too, to compare, and puts nothing in
    /// place; with `--no-fetch` it does not, and what would come is unknown. FTP is not supported.
    pub struct GetUrl {
        /// The address.
        pub url: Text,
        /// Where to. In a directory the file gets the name that the server gives it, or the address's last one.
        pub dest: Text,
        /// `ALGORITHM:DIGEST`, or `ALGORITHM:ADDRESS` of a list of digests in which the file's name is looked for. A
        /// file that has it is not downloaded; one that comes without it is refused.
        pub checksum: Option<Text>,
        /// Download always; otherwise only what is younger than the file.
        #[serde(default)]
        pub force: Flag,
        /// Keep a copy of a file that is replaced, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// Directory for the download until it is put in place.
        pub tmp_dest: Option<Text>,
        /// Seconds that the server may take for a connection and for each piece of its answer: 10 when not given.
        pub timeout: Option<Int>,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: GetUrl = decode(arguments)?;
    begin(machine, context);
    let mut outcome = Outcome::ok();
    arguments.common().check(&mut outcome)?;
    let request = arguments.asking().request(machine, &mut outcome)?;
    let dest = expand(machine, &arguments.dest)?;
    let mut task =
        Get { arguments: &arguments, request, url: mask(&arguments.url), dest, outcome, started: Instant::now() };
    task.outcome.data.insert("checksum_dest".into(), Value::Null);
    task.outcome.data.insert("checksum_src".into(), Value::Null);
    let result = task.run(machine);
    let mut outcome = result.or_else(|error| match error {
        ModuleError::Ended(ended) => Ok(*ended),
        other => Err(other),
    })?;
    if outcome.data.contains_key("dest") {
        // Also of what failed: what is there.
        let dest = PathBuf::from(outcome.data.get("dest").and_then(Value::as_str).unwrap_or_default());
        describe(machine, &dest, &mut outcome)?;
    }
    Ok(outcome)
}

/// One download.
struct Get<'a> {
    arguments: &'a GetUrl,
    request: Request,
    url: String,
    dest: PathBuf,
    outcome: Outcome,
    started: Instant,
}

impl Get<'_> {
    fn run(&mut self, machine: &mut Machine) -> Step<Outcome> {
        self.result();
        let into_directory = machine.stat(&self.dest)?.is_some_and(|stat| stat.is_dir());
        let scratch = Scratch::new("get-url")?;
        let staged = self.temporary(machine, &scratch)?;
        let _waste = Waste(staged.clone());
        let checksum = self.checksum(machine, &staged)?;
        if !into_directory && machine.exists(&self.dest)? {
            if let Some(checksum) = checksum.as_ref().filter(|_| !self.arguments.force.0) {
                if machine.file_digest(&self.dest, checksum.algorithm)? == checksum.digest {
                    let changed = self.set_attributes(machine)?;
                    let but = if changed { " but file attributes changed" } else { "" };
                    self.outcome.msg = Some(format!("file already exists{but}"));
                    return Ok(std::mem::take(&mut self.outcome));
                }
                self.request.force = true;
            }
            let stat = machine.stat(&self.dest)?;
            // A file that a check only foresees has no time of its own yet.
            self.request.modified_since = stat.and_then(|stat| stat.mtime).map(|time| time.0);
        }
        let mut response = self.ask(machine, &self.request)?;
        if response.status == 304 {
            self.set_attributes(machine)?;
            let outcome = Outcome { msg: Some(said(&response)), ..Outcome::ok() };
            return Ok(self.with_place(outcome).with("status_code", 304));
        }
        let mut got = download(&mut response, &staged)
            .map_err(|why| self.ended(format!("failed to create temporary content file: {why}")))?;
        if into_directory {
            let own = Url::parse(&response.url).map(|url| url.file_name()).unwrap_or_default();
            self.dest = self.dest.join(named(&response).unwrap_or(own));
        }
        self.result();
        self.outcome.data.insert("src".into(), show(&staged));
        if machine.predicted() {
            self.outcome.unknown_fields.push("src".into());
        }
        self.outcome.data.insert("checksum_src".into(), got.digests.sha1.clone().into());
        if machine.exists(&self.dest)? {
            let before = machine.file_digest(&self.dest, Algorithm::Sha1)?;
            self.outcome.data.insert("checksum_dest".into(), before.into());
        } else {
            let parent = self.dest.parent().unwrap_or(Path::new("/")).to_path_buf();
            if !machine.stat(&parent)?.is_some_and(|stat| stat.is_dir()) {
                return Err(self.failed(format!("Destination {} does not exist", parent.display())));
            }
        }
        if let Some(checksum) = &checksum {
            let mut file = std::fs::File::open(&staged).map_err(|e| self.ended(e.to_string()))?;
            let found = checksum.algorithm.digest(&mut file).map_err(|e| self.ended(e.to_string()))?;
            if found != checksum.digest {
                let why =
                    format!("The checksum for {} did not match {}; it was {found}.", staged.display(), checksum.digest);
                return Err(self.failed(why));
            }
        }
        self.put(machine, &mut got)?;
        let status = if response.status == 0 { Value::Null } else { response.status.into() };
        self.outcome.data.insert("status_code".into(), status);
        self.outcome.msg = Some(said(&response));
        Ok(std::mem::take(&mut self.outcome))
    }

    /// Fields of every result behind this.
    fn result(&mut self) {
        self.outcome.data.insert("dest".into(), show(&self.dest));
        self.outcome.data.insert("url".into(), self.url.clone().into());
        self.outcome.data.insert("elapsed".into(), self.started.elapsed().as_secs().into());
    }

    fn with_place(&self, outcome: Outcome) -> Outcome {
        let outcome = outcome.with("url", self.url.clone()).with("dest", show(&self.dest));
        outcome.with("elapsed", self.started.elapsed().as_secs())
    }

    /// A failure before anything was there to tell.
    fn ended(&self, why: String) -> ModuleError {
        ModuleError::Ended(Box::new(self.with_place(Outcome::failed(why))))
    }

    /// A failure with all that is known.
    fn failed(&mut self, why: String) -> ModuleError {
        let mut outcome = Outcome { msg: Some(why), ..std::mem::take(&mut self.outcome) };
        outcome.status = crate::modules::Status::Failed;
        ModuleError::Ended(Box::new(outcome))
    }

    /// Where the download waits. Only this user can read there.
    fn temporary(&mut self, machine: &Machine, scratch: &Scratch) -> Step<PathBuf> {
        let Some(directory) = &self.arguments.tmp_dest else { return Ok(scratch.path().join("download")) };
        let directory = expand(machine, directory)?;
        match machine.stat(&directory)? {
            Some(stat) if stat.is_dir() => {}
            Some(_) => {
                let why = format!("{} is a file but should be a directory.", directory.display());
                return Err(ModuleError::Ended(Box::new(Outcome::failed(why))));
            }
            None => {
                let why = format!("{} directory does not exist.", directory.display());
                return Err(ModuleError::Ended(Box::new(Outcome::failed(why))));
            }
        }
        if machine.predicted() {
            return Ok(scratch.path().join("download"));
        }
        let staged = tempfile_in(&directory).map_err(|e| self.ended(format!("{}: {e}", directory.display())))?;
        Ok(staged)
    }

    fn ask(&self, machine: &Machine, request: &Request) -> Step<Response> {
        let response = match machine.request(request)? {
            Ok(response) => response,
            Err(error) if error.senseless && !error.what.starts_with("Request") => {
                return Err(ModuleError::Ended(Box::new(senseless(&error, &self.url))));
            }
            Err(error) => return Err(self.ended(error.what)),
        };
        match response.status {
            0 | 200 | 304 => Ok(response),
            status => {
                let outcome = self.with_place(Outcome::failed("Request failed"));
                let outcome = outcome.with("status_code", status).with("response", said(&response));
                Err(ModuleError::Ended(Box::new(outcome)))
            }
        }
    }

    /// The digest that the file must have, asked for where the task names an address for it.
    fn checksum(&mut self, machine: &Machine, staged: &Path) -> Step<Option<Checksum>> {
        let Some(given) = self.arguments.checksum.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let Some((algorithm, digest)) = given.split_once(':') else {
            return Err(self.failed("The checksum parameter has to be in format <algorithm>:<checksum>".into()));
        };
        let mut digest = digest.to_string();
        if ["http://", "https://", "ftp://", "file:"].iter().any(|scheme| digest.starts_with(scheme)) {
            let mut response = self.ask(machine, &Request { url: digest.clone(), ..self.request.clone() })?;
            let list = download(&mut response, staged).map_err(|why| self.ended(why))?;
            let bytes = std::fs::read(list.path).map_err(|e| self.ended(e.to_string()))?;
            let name = Url::parse(&self.arguments.url).map(|url| url.file_name()).unwrap_or_default();
            let found = super::checksum::of_list(&String::from_utf8_lossy(&bytes), &name);
            digest = found.ok_or_else(|| {
                let why = format!("Unable to find a checksum for file '{name}' in '{}'", mask(&digest));
                ModuleError::Ended(Box::new(Outcome::failed(why)))
            })?;
        }
        Checksum::parse(algorithm, &digest).map(Some).map_err(|why| self.failed(why))
    }

    fn set_attributes(&mut self, machine: &mut Machine) -> Step<bool> {
        let attributes = self.arguments.common().resolve(machine, &self.dest, true, Kind::File)?;
        Ok(machine.set_attributes(&self.dest, &attributes, true)?)
    }

    fn put(&mut self, machine: &mut Machine, got: &mut Download) -> Step<()> {
        let options = WriteOptions {
            attributes: self.arguments.common().resolve(machine, &self.dest, false, Kind::File)?,
            follow: false,
            backup: self.arguments.backup.0,
            unsafe_writes: self.arguments.unsafe_writes.0,
            sensitive: false,
        };
        self.outcome.data.insert("md5sum".into(), got.digests.md5.clone().into());
        let existed = machine.lstat(&self.dest)?.is_some_and(|stat| stat.is_file());
        let written = machine.write(&self.dest, NewContent::Stream(got), &options, None)?;
        if let Some(backup) = &written.backup {
            self.outcome.data.insert("backup_file".into(), show(backup));
        } else if existed && self.arguments.backup.0 && written.content_changed && machine.predicted() {
            self.outcome.unknown_fields.push("backup_file".into());
        }
        Ok(())
    }
}

/// A temporary file, which does not stay, whatever the end of the task.
struct Waste(PathBuf);

impl Drop for Waste {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A new file of a random name that only this user can read.
fn tempfile_in(directory: &Path) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let path = directory.join(format!("tmp{:016x}", u64::from_ne_bytes(bytes)));
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use crate::machine::web::tests::server;
    use crate::modules::testing::{apply, check, check_then_apply};
    use crate::modules::{Outcome, Status};
    use serde_json::json;

    fn ok(text: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
    }

    #[test]
    fn a_file_comes_is_compared_and_comes_again() {
        let scratch = tempfile::tempdir().unwrap();
        let dest = scratch.path().join("hello.txt");
        let not = "HTTP/1.1 304 Not Modified\r\n\r\n".to_string();
        let (base, asked) = server(vec![ok("one"), ok("one"), not.clone(), not, ok("two"), ok("two"), ok("two")]);
        let arguments = json!({"url": format!("{base}/hello.txt"), "dest": scratch.path(), "mode": "0600"});
        let outcome = check_then_apply("get_url", &arguments);
        assert_eq!(outcome.data["dest"], json!(dest));
        assert_eq!((outcome.msg.as_deref(), &outcome.data["status_code"]), (Some("OK (3 bytes)"), &json!(200)));
        assert_eq!((std::fs::read_to_string(&dest).unwrap().as_str(), &outcome.data["mode"]), ("one", &json!("0600")));
        let arguments = json!({"url": format!("{base}/hello.txt"), "dest": dest});
        let outcome = check_then_apply("get_url", &arguments);
        assert_eq!((outcome.changed(), &outcome.data["status_code"]), (false, &json!(304)));
        assert!(asked.lock().unwrap()[2].contains("If-Modified-Since: "));
        let sum = "sha1:ad782ecdac770fc6eb9a62e44f90873fb97fb26b"; // of "two"
        let arguments = json!({"url": format!("{base}/x"), "dest": dest, "checksum": sum, "backup": true});
        let outcome = check_then_apply("get_url", &arguments);
        assert!(outcome.changed() && outcome.data.contains_key("backup_file"));
        let outcome = check_then_apply("get_url", &arguments);
        assert_eq!((outcome.changed(), outcome.msg.as_deref()), (false, Some("file already exists")));
        let arguments = json!({"url": format!("{base}/x"), "dest": dest, "checksum": "md5:00", "force": true});
        let outcome = apply("get_url", &arguments);
        assert!(outcome.msg.unwrap().contains("did not match 00"));
    }

    #[test]
    fn no_temporary_file_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let (dest, temporary) = (scratch.path().join("x"), scratch.path().join("tmp"));
        std::fs::create_dir(&temporary).unwrap();
        let not = "HTTP/1.1 304 Not Modified\r\n\r\n".to_string();
        let missing = "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n".to_string();
        let (base, _) = server(vec![missing, ok("one"), ok("one"), not]);
        for (more, status) in [
            (json!({}), Status::Failed),
            (json!({"checksum": "md5:00"}), Status::Failed),
            (json!({}), Status::Ok),
            (json!({}), Status::Ok),
        ] {
            let mut arguments = json!({"url": format!("{base}/x"), "dest": dest, "tmp_dest": temporary});
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let outcome = apply("get_url", &arguments);
            assert_eq!(outcome.status, status, "{:?}", outcome.msg);
            assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "{:?}", outcome.msg);
        }
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let missing = "HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n".to_string();
        let (base, _) = server(vec![missing, ok("x"), ok("aa  other\nbb  x\n")]);
        let url = format!("{base}/x");
        let field = |outcome: &Outcome, name: &str| outcome.data.get(name).cloned().unwrap_or_default();
        let outcome = apply("get_url", &json!({"url": url, "dest": scratch.path().join("x")}));
        assert_eq!((outcome.status, outcome.msg.as_deref()), (Status::Failed, Some("Request failed")));
        assert_eq!(field(&outcome, "response"), "HTTP Error 404: Gone");
        let outcome = apply("get_url", &json!({"url": url, "dest": scratch.path().join("no/x")}));
        assert!(outcome.msg.unwrap().ends_with("no does not exist"));
        let list = json!({"url": format!("{base}/y"), "dest": scratch.path(), "checksum": format!("md5:{url}")});
        let outcome = apply("get_url", &list);
        assert!(outcome.msg.unwrap().starts_with("Unable to find a checksum for file 'y'"));
        for (arguments, expected) in [
            (json!({"url": url, "dest": scratch.path().join("x"), "checksum": "abc"}), "in format"),
            (json!({"url": url, "dest": scratch.path().join("x"), "checksum": "md5:xyz"}), "format is invalid"),
            (json!({"url": "x", "dest": scratch.path().join("x")}), "unknown url type: 'x'"),
            (json!({"url": url, "dest": scratch.path(), "tmp_dest": "/no/such"}), "/no/such directory does not exist."),
        ] {
            let outcome = check("get_url", &arguments);
            assert!(outcome.msg.as_deref().unwrap_or_default().contains(expected), "{arguments}: {:?}", outcome.msg);
        }
    }
}
