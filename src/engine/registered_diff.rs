//! `diff` in a result that is registered, in the shapes that Ansible's modules give it, out of the task's changes.

use super::call::Call;
use super::finish;
use crate::machine::{Change, ChangeKind, Domain, Facet};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Modules that tell what they have written, where diffs are asked for, and nothing otherwise.
const TEXTS: [&str; 9] = [
    "apt_repository",
    "assemble",
    "authorized_key",
    "cron",
    "hostname",
    "ini_file",
    "known_hosts",
    "replace",
    "yum_repository",
];

/// The diff of a result; nothing where nobody can ask for it, the module has none, or it is hidden.
pub fn of(call: &Call, result: &Map<String, Value>, changes: &[Change]) -> Option<Value> {
    call.task.register.as_ref()?;
    let module = call.module?.name.rsplit('.').next()?;
    if finish::hides(call) {
        return None;
    }
    let wanted = finish::shown_diff(call);
    match module {
        "copy" | "template" => match contents(changes).next() {
            Some(_) if wanted => {
                Some(Value::Array(contents(changes).filter_map(|change| entry(call, change)).collect()))
            }
            Some(_) => Some(json!([])),
            None => {
                let path = result.get("dest").cloned().unwrap_or_else(|| argument(call, &["dest"]));
                Some(attributes(&path, &Value::Null, changes))
            }
        },
        "file" => {
            // A link is told as `dest`.
            let told = result.get("path").or_else(|| result.get("dest")).cloned();
            let path = told.unwrap_or_else(|| argument(call, &["path", "dest", "name"]));
            Some(attributes(&path, &argument(call, &["state"]), changes))
        }
        "lineinfile" | "blockinfile" => Some(lines(call, changes)),
        _ if TEXTS.contains(&module) && wanted => texts(call, module, changes),
        _ => None,
    }
}

/// The changes of what is in a file.
fn contents(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let content = |change: &&Change| matches!(&change.kind, ChangeKind::Set { aspect, .. } if aspect == "content");
    changes.iter().filter(|change| change.subject.domain == Domain::File).filter(content)
}

/// One side as text; nothing where it is none, or a secret.
fn text(side: &Facet) -> Option<&str> {
    match side {
        Facet::Absent => Some(""),
        Facet::Text(text) => Some(text),
        _ => None,
    }
}

/// One change of contents, with the names of the files.
fn entry(call: &Call, change: &Change) -> Option<Value> {
    let ChangeKind::Set { before, after, .. } = &change.kind else { return None };
    if [before, after].iter().any(|side| matches!(side, Facet::Secret { .. })) {
        return None;
    }
    let path = &change.subject.name;
    let mut entry = Map::new();
    match (text(before), before) {
        (Some(text), side) => {
            if !matches!(side, Facet::Absent) {
                entry.insert("before_header".into(), json!(path));
            }
            entry.insert("before".into(), json!(text));
        }
        (None, _) => drop(entry.insert("dst_binary".into(), json!(1))),
    }
    match text(after) {
        Some(text) => {
            let source = if argument(call, &["content"]).is_null() { argument(call, &["src"]) } else { Value::Null };
            entry.insert("after_header".into(), if source.is_null() { json!(path) } else { source });
            entry.insert("after".into(), json!(text));
        }
        None => drop(entry.insert("src_binary".into(), json!(1))),
    }
    Some(Value::Object(entry))
}

/// An argument by the first of these names, as the module was given it.
fn argument(call: &Call, names: &[&str]) -> Value {
    let given = call.given.arguments.get();
    given.and_then(|given| names.iter().find_map(|name| given.get(*name)).cloned()).unwrap_or(Value::Null)
}

/// The changes of the file at `path`, and not of the folders above it or of what is in it. Where nothing has that name
/// (it may lie behind a link, or in somebody's home) it is what is neither above nor beneath.
fn changes_of<'a>(path: &str, changes: &'a [Change]) -> Vec<&'a Change> {
    let path = Path::new(path);
    let of_files = || changes.iter().filter(|change| change.subject.domain == Domain::File);
    let own: Vec<&Change> = of_files().filter(|change| Path::new(&change.subject.name) == path).collect();
    if !own.is_empty() {
        return own;
    }
    let apart = |name: &Path| !name.starts_with(path) && !path.starts_with(name);
    of_files().filter(|change| apart(Path::new(&change.subject.name))).collect()
}

/// What `file` says: the path and what of its attributes has changed.
fn attributes(path: &Value, asked: &Value, changes: &[Change]) -> Value {
    let (mut old, mut new) = (Map::new(), Map::new());
    old.insert("path".into(), path.clone());
    new.insert("path".into(), path.clone());
    for change in changes_of(path.as_str().unwrap_or_default(), changes) {
        let ChangeKind::Set { aspect, before, after } = &change.kind else { continue };
        match (aspect.as_str(), before, after) {
            ("content" | "state", Facet::Absent, after) => {
                let made = match after {
                    Facet::Value(value) => value.clone(),
                    _ => json!("file"),
                };
                old.insert("state".into(), json!("absent"));
                new.insert("state".into(), if asked.is_null() { made } else { asked.clone() });
            }
            ("content" | "state", before, Facet::Absent) => {
                let was = match before {
                    Facet::Value(value) => value.clone(),
                    _ => json!("file"),
                };
                old.insert("state".into(), was);
                new.insert("state".into(), json!("absent"));
            }
            (_, Facet::Value(before), Facet::Value(after)) => {
                old.insert(aspect.clone(), before.clone());
                new.insert(aspect.clone(), after.clone());
            }
            _ => {}
        }
    }
    json!({"before": old, "after": new})
}

/// What the editors of lines say: the contents, then the attributes.
fn lines(call: &Call, changes: &[Change]) -> Value {
    let asked = argument(call, &["path", "dest", "destfile", "name"]);
    let asked = asked.as_str().unwrap_or_default();
    // One in somebody's home (`~/.profile`) is told by its full name, as far as a change has it.
    let path = match contents(changes).next() {
        Some(change) if !asked.starts_with('/') => &*change.subject.name,
        _ => asked,
    };
    let wanted = finish::shown_diff(call);
    let sides = contents(changes).find_map(|change| match &change.kind {
        ChangeKind::Set { before, after, .. } => Some((text(before)?, text(after)?)),
        _ => None,
    });
    let (before, after) = sides.filter(|_| wanted).unwrap_or_default();
    let header = format!("{path} (content)");
    let content = json!({"before": before, "after": after, "before_header": header, "after_header": header});
    // A check that would make the file says no more.
    let made = contents(changes).any(|change| matches!(change.kind, ChangeKind::Set { before: Facet::Absent, .. }));
    if made && finish::literal(call, |k| k.check_mode.as_ref()).unwrap_or(call.on.play.run.options.check) {
        return content;
    }
    let header = format!("{path} (file attributes)");
    let mut attributes = json!({"before_header": header, "after_header": header});
    for change in changes_of(path, changes) {
        if let ChangeKind::Set { aspect, before: Facet::Value(before), after: Facet::Value(after) } = &change.kind
            && matches!(aspect.as_str(), "mode" | "owner" | "group")
        {
            attributes["before"][aspect] = before.clone();
            attributes["after"][aspect] = after.clone();
        }
    }
    json!([content, attributes])
}

/// What has been written, as one mapping, or a list of them where Ansible's module has one.
fn texts(call: &Call, module: &str, changes: &[Change]) -> Option<Value> {
    if module == "hostname" {
        let name = |side: &Facet| match side {
            Facet::Value(value) => value.as_str().map(|name| format!("hostname = {name}\n")),
            _ => None,
        };
        return changes.iter().find_map(|change| match &change.kind {
            ChangeKind::Set { aspect, before, after } if aspect == "name" => {
                Some(json!({"before": name(before)?, "after": name(after)?}))
            }
            _ => None,
        });
    }
    let told = |change: &Change| {
        let ChangeKind::Set { before, after, .. } = &change.kind else { return None };
        let (name, none) = (json!(change.subject.name), json!("/dev/null"));
        let header = |side: &Facet| if matches!(side, Facet::Absent) { none.clone() } else { name.clone() };
        let headers = (header(before), header(after));
        let (before, after) = (text(before)?, text(after)?);
        Some(json!({"before_header": headers.0, "before": before, "after_header": headers.1, "after": after}))
    };
    match module {
        "assemble" => contents(changes).find_map(|change| entry(call, change)),
        "apt_repository" => Some(Value::Array(contents(changes).filter_map(told).collect())),
        "cron" => changes.iter().find_map(told),
        _ => contents(changes).find_map(told),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Subject;

    fn set(name: &str, aspect: &str, before: Facet, after: Facet) -> Change {
        Change::set(Subject::new(Domain::File, name), aspect, before, after)
    }

    #[test]
    fn a_diff_is_that_of_the_path_alone() {
        let made = |name: &str| set(name, "state", Facet::Absent, Facet::Value(json!("directory")));
        let mode = |name: &str| set(name, "mode", Facet::Value(json!("0600")), Facet::Value(json!("0644")));
        let told = |path: &str, changes: &[Change]| attributes(&json!(path), &Value::Null, changes);
        let new = told("/new/a/b", &[made("/new"), made("/new/a"), made("/new/a/b")]);
        assert_eq!(new["before"], json!({"path": "/new/a/b", "state": "absent"}));
        assert_eq!(told("/d", &[mode("/d/f"), mode("/d/g")])["after"], json!({"path": "/d"}));
        assert_eq!(told("/d/", &[mode("/d"), mode("/d/g")])["after"]["mode"], json!("0644"));
        // What it leads to.
        assert_eq!(told("/link", &[mode("/target")])["after"]["mode"], json!("0644"));
    }
}
