//! `slurp`: a file's contents as a return value.

use super::common::{Step, begin, expand};
use crate::machine::Machine;
use crate::modules::scalars::Text;
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use base64::Engine;
use serde_json::{Map, Value};

/// `ansible.builtin.slurp`
pub const SLURP: Module = Module {
    name: "ansible.builtin.slurp",
    aliases: &["slurp", "ansible.legacy.slurp"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: Slurp::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// Larger files are for `fetch`: a result travels and is kept as a whole.
const LIMIT: u64 = 32 * 1024 * 1024;

crate::arguments! {
    /// Returns the contents of a file in base64, as `content`. For files larger than 32 MiB use `fetch`.
    pub struct Slurp {
        /// The file.
        #[serde(alias = "path")]
        pub src: Text,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: Slurp = decode(arguments)?;
    begin(machine, context);
    let path = expand(machine, &arguments.src)?;
    match machine.stat(&path)? {
        None => return Err(ModuleError::Failed(format!("File not found: {}", path.display()))),
        Some(stat) if stat.is_dir() => {
            return Err(ModuleError::Failed(format!("Source is a directory and must be a file: {}", path.display())));
        }
        Some(_) => {}
    }
    let bytes = machine.read_file(&path, LIMIT)?;
    Ok(Outcome::ok()
        .with("content", base64::engine::general_purpose::STANDARD.encode(bytes))
        .with("source", arguments.src.0.as_str())
        .with("encoding", "base64"))
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::check_then_apply;
    use serde_json::json;

    #[test]
    fn contents_or_a_reason() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("f"), "hello\n").unwrap();
        let outcome = check_then_apply("slurp", &json!({"src": scratch.path().join("f")}));
        assert_eq!((&outcome.data["content"], &outcome.data["encoding"]), (&json!("aGVsbG8K"), &json!("base64")));
        for (path, reason) in [("none", "not found"), ("", "is a directory")] {
            let outcome = check_then_apply("slurp", &json!({"src": scratch.path().join(path)}));
            assert_eq!(outcome.status, Status::Failed);
            assert!(outcome.msg.unwrap().contains(reason));
        }
    }
}
