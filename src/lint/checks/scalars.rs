//! Values that YAML reads otherwise than their author wrote them.

use crate::lint::discover::Kind;
use crate::lint::finding::Findings;
use crate::lint::load::YamlFile;
use crate::lint::rules;
use crate::lint::walk::Visit;
use crate::source::{Node, NodeValue, ScalarStyle};

/// Arguments of tasks: what they are to become is known from their types.
pub fn task(visit: &Visit<'_>, findings: &mut Findings) {
    let action = &visit.task.action;
    for (key, value) in &action.args {
        let Some(name) = key.as_str() else { continue };
        if is_mode(name) {
            mode(value, findings);
        }
    }
    let Some(module) = action.canonical.and_then(crate::modules::find) else { return };
    if !action.args.iter().any(|(_, value)| matches!(value.value, NodeValue::Bool(_)) && is_word(value)) {
        return;
    }
    let arguments = module.taken();
    for (key, value) in &action.args {
        let Some(name) = key.as_str() else { continue };
        let known = arguments.iter().find(|known| known.name == name || known.aliases.iter().any(|a| a == name));
        let text = known.is_some_and(|known| matches!(known.kind.as_str(), "Text" | "String" | "TextList"));
        if text && matches!(value.value, NodeValue::Bool(_)) && is_word(value) {
            let printed = value.scalar_text().unwrap_or_default();
            let message = format!("`{name}` is a text, and `{}` without quotes becomes `{printed}`", value.raw());
            let help = format!("put it in quotes: '{}'", value.raw());
            findings.add(&rules::TRUTHY, rules::TRUTHY.breach(message).at(&value.span).with_help(help));
        }
    }
}

/// Everything of a file.
pub fn file(file: &YamlFile, findings: &mut Findings) {
    let variables = matches!(file.kind, Kind::Vars | Kind::Inventory);
    values(&file.root, None, variables, findings);
}

fn values(node: &Node, key: Option<&str>, variables: bool, findings: &mut Findings) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| values(item, key, variables, findings)),
        NodeValue::Map(map) => {
            for (key, value) in map.iter() {
                if matches!(key.value, NodeValue::Bool(_)) && is_word(key) {
                    let printed = key.scalar_text().unwrap_or_default();
                    let message = format!("the key `{}` without quotes is the boolean {printed}", key.raw());
                    let help = format!("put it in quotes: '{}'", key.raw());
                    findings.add(&rules::TRUTHY, rules::TRUTHY.breach(message).at(&key.span).with_help(help));
                }
                let inside = variables || key.as_str() == Some("vars") || key.as_str() == Some("environment");
                values(value, key.as_str(), inside, findings);
            }
        }
        _ if node.style == ScalarStyle::Plain && !node.span.is_generated() => {
            scalar(node, key.unwrap_or_default(), variables, findings);
        }
        _ => {}
    }
}

fn scalar(node: &Node, key: &str, variables: bool, findings: &mut Findings) {
    let raw = node.raw();
    match &node.value {
        NodeValue::Int(int) => {
            let digits = raw.trim_start_matches(['-', '+']);
            let octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
            if octal && !is_mode(key) && *int != 0 {
                let message = format!("`{raw}` is read as an octal number: {int}");
                let help = format!("write \"{raw}\" if the digits are meant, {int} if the number is");
                findings.add(&rules::OCTAL_VALUE, rules::OCTAL_VALUE.breach(message).at(&node.span).with_help(help));
            }
        }
        NodeValue::Float(_) => {
            let printed = node.scalar_text().unwrap_or_default();
            let lower = key.to_ascii_lowercase();
            let version = ["version", "release", "branch"].iter().any(|word| lower.ends_with(word));
            if version && is_dotted(raw) {
                let message = match printed == raw {
                    true => format!("`{raw}` is read as a number; a later `{raw}0` would be `{raw}`, too"),
                    false => format!("`{raw}` is read as the number {printed}"),
                };
                let help = format!("put it in quotes: \"{raw}\"");
                findings
                    .add(&rules::VERSION_FLOAT, rules::VERSION_FLOAT.breach(message).at(&node.span).with_help(help));
            }
        }
        // `yes` and `no` are how many write booleans; `on` and `off` are mostly values of some option.
        NodeValue::Bool(value) if variables && matches!(raw.to_ascii_lowercase().as_str(), "on" | "off") => {
            let printed = if *value { "True" } else { "False" };
            let message = format!("`{raw}` without quotes is a boolean, which a template prints as `{printed}`");
            let help = format!("write '{raw}' if the word is meant, {value} if the boolean is");
            findings.add(&rules::TRUTHY, rules::TRUTHY.breach(message).at(&node.span).with_help(help));
        }
        _ => {}
    }
}

/// `mode: 644`: a decimal number, where `0644` is octal.
fn mode(value: &Node, findings: &mut Findings) {
    let raw = value.raw();
    let NodeValue::Int(int) = value.value else { return };
    if value.style != ScalarStyle::Plain || raw.starts_with('0') || raw.contains(['8', '9']) || raw.len() < 3 {
        return;
    }
    let message = format!("`mode: {raw}` is mode {int:04o}");
    let help = format!("write it as a string: \"0{raw}\"");
    findings.add(&rules::OCTAL_MODE, rules::OCTAL_MODE.breach(message).at(&value.span).with_help(help));
}

fn is_mode(name: &str) -> bool {
    name == "mode" || name.ends_with("_mode") || name == "umask"
}

/// A boolean written as a word that is also a text: not true or false.
fn is_word(node: &Node) -> bool {
    node.style == ScalarStyle::Plain && matches!(node.raw().to_ascii_lowercase().as_str(), "yes" | "no" | "on" | "off")
}

fn is_dotted(raw: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    raw.split_once('.').is_some_and(|(major, minor)| digits(major) && digits(minor))
}
