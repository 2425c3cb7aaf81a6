//! Tags whose names mean something else, or are nearly those of others.

use crate::lint::finding::Findings;
use crate::lint::load::Tree;
use crate::lint::rules;
use crate::source::{Node, NodeValue};
use std::collections::BTreeMap;

/// Tags as they stand in the files of tasks.
pub fn all(tree: &Tree, findings: &mut Findings) {
    let mut tags: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for file in &tree.files {
        collect(&file.root, &mut tags);
    }
    for (tag, places) in &tags {
        if matches!(tag.as_str(), "all" | "tagged" | "untagged") {
            for place in places {
                let message = format!("the tag `{tag}` selects by itself");
                findings.add(&rules::RESERVED_TAG, rules::RESERVED_TAG.breach(message).at(&place.span));
            }
        }
        let [place] = places.as_slice() else { continue };
        let near = tags.iter().find(|(other, used)| used.len() >= 3 && one_letter_apart(tag, other));
        if let Some((near, _)) = near {
            let message = format!("the tag `{tag}` stands here only, and `{near}` in several places");
            let diag = rules::TAG_TYPO.breach(message).at(&place.span);
            findings.add(&rules::TAG_TYPO, diag.suggest(Some(near)));
        }
    }
}

fn collect(node: &Node, tags: &mut BTreeMap<String, Vec<Node>>) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| collect(item, tags)),
        NodeValue::Map(map) => {
            // Only what is a play, a block or a task has tags: an argument of that name is something else.
            let step = ["hosts", "role", "block", "name"].iter().any(|key| map.get(key).is_some());
            for (key, value) in map.iter() {
                if key.as_str() != Some("tags") || !step {
                    collect(value, tags);
                    continue;
                }
                let one = std::slice::from_ref(value);
                for item in value.as_seq().unwrap_or(one).iter().filter(|item| !item.has_template()) {
                    let text = item.scalar_text().unwrap_or_default();
                    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                        tags.entry(tag.to_owned()).or_default().push(item.clone());
                    }
                }
            }
        }
        _ => {}
    }
}

/// Whether one letter was left out, put in, replaced or two were swapped. Numbers that differ are meant.
fn one_letter_apart(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a == b || a.len().min(b.len()) < 4 || a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    let end = end.min(a.len().min(b.len()) - start);
    let middle = |letters: &[char]| -> Vec<char> {
        letters.get(start..letters.len() - end).map(<[char]>::to_vec).unwrap_or_default()
    };
    let (x, y) = (middle(&a), middle(&b));
    if x.iter().chain(&y).any(char::is_ascii_digit) {
        return false;
    }
    // A plural is a word of its own.
    let plural = |longer: &[char]| end == 0 && longer == ['s'];
    match (x.as_slice(), y.as_slice()) {
        ([], [_]) => !plural(&y),
        ([_], []) => !plural(&x),
        ([_], [_]) => true,
        ([p, q], [r, s]) => p == s && q == r,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::one_letter_apart;

    #[test]
    fn tags_that_are_nearly_the_same() {
        for (a, b) in [("instal", "install"), ("isntall", "install"), ("configure", "confiqure")] {
            assert!(one_letter_apart(a, b) && one_letter_apart(b, a), "{a} {b}");
        }
        for (a, b) in
            [("node1", "node2"), ("user", "users"), ("tls", "tlz"), ("install", "uninstall"), ("aaaa", "aaaa")]
        {
            assert!(!one_letter_apart(a, b), "{a} {b}");
        }
    }
}
