//! `blockinfile`: lines between two marker lines.

use super::common::{Step, begin, file_arguments};
use super::edit::{Edit, given_up, pattern};
use super::lineinfile::State;
use crate::machine::Machine;
use crate::modules::pattern::{Flags, bytes_as_characters};
use crate::modules::scalars::{Flag, Text};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde_json::{Map, Value};

/// `ansible.builtin.blockinfile`
pub const BLOCKINFILE: Module = Module {
    name: "ansible.builtin.blockinfile",
    aliases: &["blockinfile", "ansible.legacy.blockinfile"],
    reach: Reach::Host,
    free_form: FreeForm::KeyValue,
    arguments: BlockInFile::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

file_arguments! {
    /// Keeps a block of lines in a file, between two marker lines.
    pub struct BlockInFile {
        /// The file.
        #[serde(alias = "dest", alias = "destfile", alias = "name")]
        pub path: Text,
        /// `present` or `absent`.
        #[serde(default)]
        pub state: State,
        /// The lines. None at all remove the block.
        #[serde(alias = "content", default)]
        pub block: Text,
        /// The marker lines, with `{mark}` where they differ; `# {mark} ANSIBLE MANAGED BLOCK` when not given.
        pub marker: Option<Text>,
        /// What `{mark}` is in the first marker line; `BEGIN` when not given.
        pub marker_begin: Option<Text>,
        /// What `{mark}` is in the last marker line; `END` when not given.
        pub marker_end: Option<Text>,
        /// Where a new block goes: after the last line that matches Python's regular expression, or `EOF`, the default.
        pub insertafter: Option<Text>,
        /// Where a new block goes: before the last line that matches, or `BOF`.
        pub insertbefore: Option<Text>,
        /// Make the file when there is none.
        #[serde(default)]
        pub create: Flag,
        /// Keep a copy of the file, with the time in its name.
        #[serde(default)]
        pub backup: Flag,
        /// A command that must accept the new file before it goes live, `%s` in the place of its name.
        pub validate: Option<Text>,
        /// Leave a blank line after the block, unless the file ends there.
        #[serde(default)]
        pub append_newline: Flag,
        /// Leave a blank line before the block, unless the file starts there.
        #[serde(default)]
        pub prepend_newline: Flag,
    }
}

fn run(arguments: Map<String, Value>, machine: &mut Machine, context: &mut Context<'_>) -> Step<Outcome> {
    let arguments: BlockInFile = decode(arguments)?;
    begin(machine, context);
    if arguments.insertbefore.is_some() && arguments.insertafter.is_some() {
        return Err(ModuleError::Failed("parameters are mutually exclusive: insertbefore|insertafter".into()));
    }
    let edit =
        Edit::open(machine, &arguments.path, arguments.common(), arguments.backup.0, arguments.validate.as_deref())?;
    let exists = edit.before.is_some();
    if !exists && !arguments.create.0 {
        return Err(ModuleError::with_rc(format!("Path {} does not exist !", edit.path.display()), 257));
    }
    if !exists && arguments.state == State::Absent {
        let mut outcome = Outcome::ok();
        outcome.msg = Some(format!("File {} not present", edit.path.display()));
        return Ok(outcome);
    }
    let after = arrange(&arguments, edit.before.as_deref().unwrap_or_default())?;
    let removed = arguments.state == State::Absent || arguments.block.is_empty();
    let message = match &edit.before {
        Some(before) if *before == after => return edit.finish(machine, None, "", "backup_file"),
        None => "File created",
        Some(_) if removed => "Block removed",
        Some(_) => "Block inserted",
    };
    edit.make_parents(machine)?;
    edit.finish(machine, Some(after), message, "backup_file")
}

/// Lines with their ends, which are `\n`, `\r` or `\r\n`.
fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut rest = bytes.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        line.push(byte);
        if byte == b'\r' && rest.peek() == Some(&b'\n') {
            continue;
        }
        if byte == b'\n' || byte == b'\r' {
            lines.push(std::mem::take(&mut line));
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The file with the block where it belongs.
fn arrange(arguments: &BlockInFile, before: &[u8]) -> Step<Vec<u8>> {
    let text = |given: &Option<Text>, default: &str| given.as_ref().map_or(default.to_string(), |t| t.0.clone());
    let marker = text(&arguments.marker, "# {mark} ANSIBLE MANAGED BLOCK");
    let mark = |word: String| format!("{}\n", marker.replace("{mark}", &word)).into_bytes();
    let (first, last) = (mark(text(&arguments.marker_begin, "BEGIN")), mark(text(&arguments.marker_end, "END")));
    let present = arguments.state == State::Present;
    let mut block = Vec::new();
    if present && !arguments.block.is_empty() {
        let mut body = arguments.block.0.clone().into_bytes();
        if !body.ends_with(b"\n") {
            body.push(b'\n');
        }
        block.push(first.clone());
        block.extend(lines(&body));
        block.push(last.clone());
    }
    let mut all = lines(before);
    let begin = all.iter().rposition(|line| *line == first);
    let end = all.iter().rposition(|line| *line == last);
    let mut at = match (begin, end) {
        (Some(begin), Some(end)) => {
            let (low, high) = (begin.min(end), begin.max(end));
            all.drain(low..=high);
            low
        }
        _ => place(arguments, &all, before)?,
    };
    if let Some(previous) = at.checked_sub(1).and_then(|p| all.get_mut(p))
        && !previous.ends_with(b"\n")
    {
        previous.push(b'\n');
    }
    let blank = b"\n".to_vec();
    if arguments.prepend_newline.0 && present && at > 0 && all.get(at - 1) != Some(&blank) {
        all.insert(at, blank.clone());
        at += 1;
    }
    let end = at + block.len();
    all.splice(at..at, block);
    if arguments.append_newline.0 && present && all.get(end).is_some_and(|line| *line != blank) {
        all.insert(end, blank);
    }
    Ok(all.concat())
}

/// The line before which a new block goes.
fn place(arguments: &BlockInFile, all: &[Vec<u8>], before: &[u8]) -> Step<usize> {
    let (name, place, after) = match (&arguments.insertbefore, &arguments.insertafter) {
        (Some(place), _) if place.0 == "BOF" => return Ok(0),
        (Some(place), _) => ("insertbefore", place, false),
        (None, Some(place)) if place.0 != "EOF" => ("insertafter", place, true),
        _ => return Ok(all.len()),
    };
    let anchor = pattern(name, place, Flags::default())?;
    let mut found = None;
    if place.starts_with("(?")
        && place.split(')').next().is_some_and(|flags| flags.contains('m') && !flags.contains(':'))
    {
        // A pattern for several lines is searched in the whole file.
        if let Some(hit) = anchor.search(&bytes_as_characters(before), 0).map_err(given_up)? {
            let position = if after { hit.end() } else { hit.start() };
            found = Some(before.iter().take(position).filter(|b| **b == b'\n').count());
        }
    } else {
        for (number, line) in all.iter().enumerate() {
            if anchor.is_match(&bytes_as_characters(line)).map_err(given_up)? {
                found = Some(number);
            }
        }
    }
    Ok(match found {
        None => all.len(),
        Some(number) if after => (number + 1).min(all.len()),
        Some(number) => number,
    })
}

#[cfg(test)]
mod tests {
    use crate::modules::Status;
    use crate::modules::testing::{apply_twice, check_then_apply};
    use serde_json::{Value, json};

    #[test]
    fn blocks_come_change_and_go() {
        let b = "# BEGIN ANSIBLE MANAGED BLOCK\n";
        let e = "# END ANSIBLE MANAGED BLOCK\n";
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        for (before, arguments, after, message) in [
            ("a\nb", json!({"block": "x\ny"}), format!("a\nb\n{b}x\ny\n{e}"), "Block inserted"),
            ("a\nb\n", json!({"block": "x", "insertbefore": "BOF"}), format!("{b}x\n{e}a\nb\n"), "Block inserted"),
            (
                "a\nb\nc\n",
                json!({"block": "x", "insertafter": "^[ab]"}),
                format!("a\nb\n{b}x\n{e}c\n"),
                "Block inserted",
            ),
            ("a\nb\n", json!({"block": "x", "insertbefore": "^b"}), format!("a\n{b}x\n{e}b\n"), "Block inserted"),
            ("a\nb\n", json!({"block": "x", "insertafter": "none"}), format!("a\nb\n{b}x\n{e}"), "Block inserted"),
            (&format!("a\n{b}old\n{e}b\n"), json!({"block": "new"}), format!("a\n{b}new\n{e}b\n"), "Block inserted"),
            (&format!("a\n{b}old\n{e}b\n"), json!({"state": "absent"}), "a\nb\n".into(), "Block removed"),
            (&format!("a\n{b}old\n{e}b\n"), json!({"block": ""}), "a\nb\n".into(), "Block removed"),
            (
                "a\nb\n",
                json!({"block": "x", "marker": "; {mark} it", "marker_begin": "from", "marker_end": "to"}),
                "a\nb\n; from it\nx\n; to it\n".into(),
                "Block inserted",
            ),
            (
                "a\nb\n",
                json!({"block": "x", "insertafter": "^a", "prepend_newline": true, "append_newline": true}),
                format!("a\n\n{b}x\n{e}\nb\n"),
                "Block inserted",
            ),
            (
                "[x]\na\n[y]\n",
                json!({"block": "n", "insertbefore": "(?m)^\\[y"}),
                format!("[x]\na\n{b}n\n{e}[y]\n"),
                "Block inserted",
            ),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut arguments: Value = arguments;
            arguments["path"] = json!(path);
            let outcome = apply_twice("blockinfile", &arguments);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after, "{before:?} {arguments}");
            assert_eq!(outcome.msg.unwrap(), message, "{before:?} {arguments}");
        }
        let fresh = scratch.path().join("d/new");
        assert_eq!(check_then_apply("blockinfile", &json!({"path": fresh, "block": "x"})).status, Status::Failed);
        let outcome = apply_twice("blockinfile", &json!({"path": fresh, "block": "x", "create": true}));
        assert_eq!(outcome.msg.unwrap(), "File created");
        assert_eq!(std::fs::read_to_string(&fresh).unwrap(), format!("{b}x\n{e}"));
    }
}
