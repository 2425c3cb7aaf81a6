//! Dependencies between rooms point one way.

use std::path::{Path, PathBuf};

/// Rooms, highest first. A room may use those below it; those on one line do not know each other.
const ORDER: &[&[&str]] = &[
    &["cli"],
    &["lint"],
    &["plan"],
    &["report"],
    &["engine"],
    &["playbook", "inventory"],
    &["template"],
    &["vars"],
    &["redact", "connection", "journal"],
    &["http"],
    &["pki"],
    &["agent"],
    &["wire"],
    &["modules"],
    &["machine", "galera", "source"],
    &["credential"],
    &["secret", "ask", "window", "config"],
];

/// Uses that look upward and are known: each with its reason.
const KNOWN: &[(&str, &str, &str)] =
    &[("modules", "pki", "the controller half of the certificate modules, and the public half of a key in the agent")];

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&room))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_room_uses_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut upward = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&root).unwrap();
        let room = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let Some(own) = rank(&room) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        // Tests may look anywhere.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        if relative.file_name().is_some_and(|name| name.to_string_lossy().contains("tests") || name == "suite.rs") {
            continue;
        }
        for (number, line) in code.lines().enumerate() {
            for part in line.split("crate::").skip(1) {
                let used: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let known = KNOWN.iter().any(|(from, to, _)| *from == room && *to == used);
                if used != room && !known && rank(&used).is_some_and(|other| other < own) {
                    upward.push(format!("{}:{}: {room} uses {used}: {}", relative.display(), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn the_agent_knows_nothing_of_the_controller() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in ["wire", "agent", "machine", "galera"] {
        sources(&root.join(room), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["tokio::", "russh::", "minijinja"] {
            // Parts behind the controller's feature are the controller's.
            assert!(
                !code.contains(word) || code.contains("feature = \"controller\""),
                "{} uses {word}",
                file.display()
            );
        }
    }
}
