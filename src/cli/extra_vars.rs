//! `--extra-vars` in its three forms.

use crate::playbook::{Variables, parse_kv};
use crate::source::{Diag, Diags, Node, SourceFile, Span, VaultHook, load_yaml, read_maybe_vaulted};
use std::path::Path;

/// Reads one value of `-e`: `@file`, YAML or JSON, or `key=value` words.
pub fn parse(text: &str, vault: &VaultHook<'_>, said: &mut Diags) -> Result<Variables, Diag> {
    let mut diags = Diags::new();
    let trimmed = text.trim();
    let node = if let Some(path) = trimmed.strip_prefix('@') {
        load_yaml(&read_maybe_vaulted(Path::new(path), vault)?, &mut diags)
    } else if trimmed.starts_with(['{', '[']) {
        load_yaml(&SourceFile::new("--extra-vars", trimmed), &mut diags)
    } else {
        let (words, rest) = parse_kv(trimmed, false).map_err(|why| Diag::error(format!("--extra-vars: {why}")))?;
        if let Some(rest) = rest.as_deref().filter(|rest| !rest.trim().is_empty()) {
            if words.is_empty() {
                return Err(Diag::error(format!("--extra-vars: `{rest}` is not key=value, YAML, JSON or @file")));
            }
            // As Ansible has it, what stands among pairs and is none has no effect. It may be the rest of a password.
            let pairs: Vec<&str> = words.iter().map(|(name, _)| name.as_str()).collect();
            let wrong = format!(
                "--extra-vars: {} of the words around {} are not key=value: they have no effect",
                rest.split_whitespace().count(),
                pairs.join(", ")
            );
            said.push(Diag::warning(wrong).with_help("a value with blanks needs quotes"));
        }
        let span = Span::start_of(&SourceFile::new("--extra-vars", trimmed));
        return Ok(words.into_iter().map(|(name, value)| (name.into(), Node::string(span.clone(), value))).collect());
    };
    if let Some(error) = diags.take().into_iter().find(Diag::is_error) {
        return Err(error);
    }
    let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(Variables::new()) };
    let Some(map) = node.as_map() else {
        return Err(Diag::error("extra variables must be a mapping of names to values").at(&node.span));
    };
    Ok(map.iter().map(|(key, value)| (key.scalar_text().unwrap_or_default().into(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::source::Diags;

    #[test]
    fn the_three_forms() {
        let none: &crate::source::VaultHook<'_> = &|_, _| Err("no vault".into());
        let show = |text: &str| -> Result<Vec<String>, String> {
            let vars = parse(text, none, &mut Diags::new()).map_err(|diag| diag.message)?;
            Ok(vars.iter().map(|(name, node)| format!("{name}={}", node.to_json())).collect())
        };
        assert_eq!(show("a=1 b='x y'").unwrap(), ["a=\"1\"", "b=\"x y\""]);
        assert_eq!(show("a=[1, 2] b=x c").unwrap(), ["a=\"[1,\"", "b=\"x\""]);
        assert_eq!(show("{\"a\": 1}").unwrap(), ["a=1"]);
        assert_eq!(show("{a: yes}").unwrap(), ["a=true"]);
        assert!(show("[1, 2]").is_err() && show("@/nonexistent").is_err() && show("word").is_err());
    }
}
