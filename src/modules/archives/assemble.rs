//! `assemble`: a file made of the files of a directory.

use crate::machine::Machine;
use crate::machine::files::Digests;
use crate::modules::files::common::{Step, begin, describe, expand, file_arguments, show};
use crate::modules::files::delivery::Delivery;
use crate::modules::files::edit::{Edit, given_up, pattern};
use crate::modules::pattern::{Flags, bytes_as_characters};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.assemble`
pub const ASSEMBLE: Module = Module {
    name: "ansible.builtin.assemble",
    aliases: &["assemble", "ansible.legacy.assemble"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Assemble::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: Some(prepare),
};

/// Parts are not larger.
const LIMIT: u64 = 64 * 1024 * 1024;

file_arguments! {
    /// Puts a file together from the files of a directory, in the order of their names. Directories in it are left out.
    pub struct Assemble {
        /// The directory of the parts: of the host, or with `remote_src: false` of the controller.
        pub src: Text,
        /// The file.
        pub dest: Text,
        /// Text between the parts. `\n` and the like are understood; a line end follows where it has none itself.
        pub delimiter: Option<Text>,
        /// Only parts whose names match this pattern.
        pub regexp: Option<Text>,
        /// Leave out parts whose names begin with a dot.
        #[serde(default)]
        pub ignore_hidden: Flag,
        /// `src` is on the host.
        #[serde(default = "Flag::yes")]
        pub remote_src: Flag,
        /// Keep a copy of a file that is replaced, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// A command that must accept the file before it goes live, `%s` in the place of its name.
        pub validate: Option<Text>,
        /// Decrypt parts of the controller that are vaults.
        #[serde(default = "Flag::yes")]
        pub decrypt: Flag,
        /// Where `dest` is a link, write to the file that it points to. For parts of the controller.
        #[serde(default)]
        pub follow: Flag,
    }
}

/// Puts parts together.
struct Assembly {
    delimiter: Option<Vec<u8>>,
    regexp: Option<crate::modules::pattern::Pattern>,
    ignore_hidden: bool,
}

impl Assembly {
    fn of(arguments: &Assemble) -> Step<Assembly> {
        let regexp = match &arguments.regexp {
            Some(text) => {
                let wrong = |e: ModuleError| ModuleError::Failed(format!("Invalid Regexp ({e}) in \"{}\"", text.0));
                Some(pattern("regexp", text, Flags::default()).map_err(wrong)?)
            }
            None => None,
        };
        let delimiter = arguments.delimiter.as_deref().filter(|text| !text.is_empty()).map(unescape);
        Ok(Assembly { delimiter, regexp, ignore_hidden: arguments.ignore_hidden.0 })
    }

    fn takes(&self, name: &str) -> Step<bool> {
        if self.ignore_hidden && name.starts_with('.') {
            return Ok(false);
        }
        match &self.regexp {
            None => Ok(true),
            Some(regexp) => Ok(regexp.search(&bytes_as_characters(name.as_bytes()), 0).map_err(given_up)?.is_some()),
        }
    }

    fn join(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        let mut whole: Vec<u8> = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                if parts.get(number - 1).is_some_and(|before| !before.ends_with(b"\n")) {
                    whole.push(b'\n');
                }
                if let Some(delimiter) = &self.delimiter {
                    whole.extend(delimiter);
                    if !delimiter.ends_with(b"\n") {
                        whole.push(b'\n');
                    }
                }
            }
            whole.extend(part);
        }
        whole
    }
}

/// Escapes of Python's strings.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let Some((code, behind)) = behind.split_first().filter(|_| *first == b'\\') else {
            bytes.push(*first);
            continue;
        };
        let plain = match code {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'0' => 0,
            b'a' => 7,
            b'\\' | b'\'' | b'"' => *code,
            b'x' => {
                let hex = behind.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    bytes.push(byte);
                    rest = behind.get(2..).unwrap_or_default();
                    continue;
                }
                bytes.extend(b"\\x");
                rest = behind;
                continue;
            }
            other => {
                bytes.push(b'\\');
                *other
            }
        };
        bytes.push(plain);
        rest = behind;
    }
    bytes
}

/// Puts parts of the controller together.
#[cfg(feature = "controller")]
fn prepare<'a>(
    host: &'a dyn crate::modules::ActionHost,
    mut arguments: Map<String, Value>,
) -> crate::modules::ActionFuture<'a, crate::modules::Prepared> {
    use crate::modules::files::copy_action::{cannot_read, failed};
    use crate::modules::{ActionError, FileKind, Prepared};
    Box::pin(async move {
        let assemble: Assemble = decode(arguments.clone()).map_err(failed)?;
        if assemble.remote_src.0 {
            return Ok(Prepared::Send(arguments));
        }
        let source = host.find_file(FileKind::Files, &assemble.src)?;
        if !source.is_dir() {
            return Err(ActionError::Failed(format!("Source ({}) is not a directory", source.display())));
        }
        let assembly = Assembly::of(&assemble).map_err(failed)?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&source).map_err(|e| cannot_read(&source, e))? {
            names.push(entry.map_err(|e| cannot_read(&source, e))?.file_name());
        }
        names.sort();
        let mut parts = Vec::new();
        for name in names {
            let path = source.join(&name);
            if path.is_file() && assembly.takes(&name.to_string_lossy()).map_err(failed)? {
                let bytes = std::fs::read(&path).map_err(|e| cannot_read(&path, e))?;
                parts.push(if assemble.decrypt.0 { host.unvault(&path, bytes)? } else { bytes });
            }
        }
        let content = host.offer(assembly.join(&parts));
        let basename = String::new();
        Delivery { basename, content, digests: None, tree: None }.add(&mut arguments)?;
        Ok(Prepared::Send(arguments))
    })
}

fn run(mut arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let delivery = Delivery::take(&mut arguments)?;
    let arguments: Assemble = decode(arguments)?;
    begin(machine, context);
    if let Some(validate) = arguments.validate.as_deref().filter(|text| !text.contains("%s")) {
        return Err(ModuleError::Failed(format!("validate must contain %s: {validate}")));
    }
    let bytes = match &delivery {
        Some(delivery) => {
            let bytes = crate::modules::network::contents(&delivery.content, context);
            bytes.map_err(|e| ModuleError::Failed(format!("the parts did not arrive: {e}")))?
        }
        None if !arguments.remote_src.0 => {
            return Err(ModuleError::Failed("the parts did not come with the request".into()));
        }
        None => of_host(&arguments, machine)?,
    };
    let digests = Digests::of(&bytes);
    let validate = arguments.validate.as_deref();
    let mut edit = Edit::open(machine, &arguments.dest, arguments.common(), arguments.backup.0, validate)?;
    edit.follow = delivery.is_some() && arguments.follow.0;
    let path = edit.path.clone();
    let differs = edit.before.as_ref() != Some(&bytes);
    let mut outcome = edit.finish(machine, differs.then_some(bytes), "", "backup_file")?;
    outcome.msg = delivery.is_none().then(|| "OK".to_string());
    describe(machine, &path, &mut outcome)?;
    if delivery.is_none() {
        outcome = outcome.with("src", arguments.src.0.as_str());
    }
    Ok(outcome.with("dest", show(&path)).with("checksum", digests.sha1).with("md5sum", digests.md5))
}

fn of_host(arguments: &Assemble, machine: &Machine) -> Step<Vec<u8>> {
    let src = expand(machine, &arguments.src)?;
    match machine.stat(&src)? {
        None => return Err(ModuleError::Failed(format!("Source ({}) does not exist", arguments.src.0))),
        Some(stat) if !stat.is_dir() => {
            return Err(ModuleError::Failed(format!("Source ({}) is not a directory", arguments.src.0)));
        }
        Some(_) => {}
    }
    let assembly = Assembly::of(arguments)?;
    let mut parts = Vec::new();
    for name in machine.list_directory(&src)? {
        let path = src.join(&name);
        if machine.stat(&path)?.is_some_and(|stat| stat.is_file()) && assembly.takes(&name.to_string_lossy())? {
            parts.push(machine.read_file(&path, LIMIT)?);
        }
    }
    Ok(assembly.join(&parts))
}

#[cfg(test)]
mod tests {
    use super::unescape;
    use crate::modules::Status;
    use crate::modules::testing::{apply, apply_twice};
    use serde_json::json;

    #[test]
    fn parts_are_put_together() {
        let scratch = tempfile::tempdir().unwrap();
        let parts = scratch.path().join("parts");
        std::fs::create_dir(&parts).unwrap();
        for (name, text) in [("b", "two"), ("a", "one\n"), (".c", "three\n"), ("d.off", "four\n")] {
            std::fs::write(parts.join(name), text).unwrap();
        }
        std::fs::create_dir(parts.join("directory")).unwrap();
        for (more, expected) in [
            (json!({}), "three\none\ntwo\nfour\n"),
            (json!({"delimiter": "---", "ignore_hidden": true}), "one\n---\ntwo\n---\nfour\n"),
            (json!({"delimiter": "\\x2d\\n", "regexp": "^[ab]$"}), "one\n-\ntwo"),
        ] {
            let dest = scratch.path().join("whole");
            let mut arguments = json!({"src": parts, "dest": dest, "backup": true});
            arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let outcome = apply_twice("assemble", &arguments);
            assert_eq!(outcome.msg.as_deref(), Some("OK"));
            assert_eq!(std::fs::read_to_string(&dest).unwrap(), expected, "{more}");
        }
        let outcome = apply("assemble", &json!({"src": parts, "dest": "/tmp/x", "validate": "true"}));
        assert_eq!(outcome.status, Status::Failed);
        let outcome = apply("assemble", &json!({"src": "/no/such", "dest": "/tmp/x"}));
        assert_eq!(outcome.msg.as_deref(), Some("Source (/no/such) does not exist"));
        assert_eq!(unescape("a\\tb\\\\\\q"), b"a\tb\\\\q");
    }
}
