//! Facts that the host's administrators give: files in `/etc/ansible/facts.d`.

use super::{Gathered, names, read};
use crate::machine::{Command, Machine};
use serde_json::{Map, Value};
use std::os::unix::fs::PermissionsExt;

/// `*.fact` files: JSON or INI, or programs that print either.
pub fn local(machine: &Machine, directory: &str, gathered: &mut Gathered) {
    let mut facts = Map::new();
    for file in names(directory) {
        let Some(name) = file.strip_suffix(".fact") else {
            continue;
        };
        let path = format!("{directory}/{file}");
        let executable = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        let text = if executable {
            match machine.probe(&Command::new([path.as_str()])) {
                Ok(output) if output.success() => output.stdout_text(),
                Ok(output) => {
                    gathered.warnings.push(format!("{path} ended with status {}", output.rc));
                    continue;
                }
                Err(e) => {
                    gathered.warnings.push(format!("{path}: {e}"));
                    continue;
                }
            }
        } else {
            read(&path).unwrap_or_default()
        };
        match parse(&text) {
            Some(value) => drop(facts.insert(name.to_string(), value)),
            None => gathered.warnings.push(format!("{path} is neither JSON nor INI")),
        }
    }
    gathered.add("local", facts);
}

/// JSON, else INI: sections of lower-case keys, as Python's ConfigParser gives them.
fn parse(text: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Some(value);
    }
    let mut sections: Map<String, Value> = Map::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            sections.insert(name.to_string(), Value::Object(Map::new()));
            current = Some(name.to_string());
            continue;
        }
        let (key, value) = line.split_once(['=', ':'])?;
        let section = sections.get_mut(current.as_ref()?)?.as_object_mut()?;
        section.insert(key.trim().to_lowercase(), value.trim().into());
    }
    (!sections.is_empty()).then_some(Value::Object(sections))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_formats_are_read() {
        assert_eq!(parse("{\"a\": 1}"), Some(json!({"a": 1})));
        assert_eq!(parse("# x\n[general]\nRack = 4b\nrow: 2\n"), Some(json!({"general": {"rack": "4b", "row": "2"}})));
        assert_eq!(parse("nonsense"), None);
    }
}
