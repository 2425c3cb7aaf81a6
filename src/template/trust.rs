//! Whether a text that came out of a template may be evaluated as a condition (`when: "{{ wanted }}"`).
//!
//! Until 2.18 Ansible evaluated whatever such a template gave; 2.19 evaluates only what stands in a file of the user's, since
//! what a host has printed (`when: "{{ result.stdout }}"`) could call a lookup, and so run programs on the controller. Here a
//! text from elsewhere may still compare and test (`x == 1 and y is defined`), but calls nothing.

use super::rewrite::visit_expr;
use super::scope::{Raw, Scope};
use crate::source::is_variable_name;
use minijinja::machinery::{self, ast::Expr};

/// How many variables that are each other's name are followed.
const DEPTH: usize = 10;

/// How a text may be evaluated.
#[derive(Debug, PartialEq)]
pub(super) enum Trust {
    /// As what the user has written.
    Written,
    /// As an expression whose texts are texts, and no templates.
    Foreign,
    /// Not at all.
    Refused,
}

/// How `expression` may be evaluated, which `template` gave.
pub(super) fn of(expression: &str, template: &str, scope: &Scope) -> Trust {
    match written(template, scope, DEPTH) {
        Some(text) if text.trim() == expression => Trust::Written,
        _ if calls_nothing(expression) => Trust::Foreign,
        _ => Trust::Refused,
    }
}

/// No function, no method, and no text that would be a template once more.
pub(super) fn calls_nothing(expression: &str) -> bool {
    let template = |text: &str| ["{{", "{%", "{#"].iter().any(|start| text.contains(start));
    if template(expression) {
        return false;
    }
    let Ok(parsed) = machinery::parse_expr(expression) else { return true }; // it is an error, which is told
    let mut calls = false;
    visit_expr(&parsed, &mut |expr| {
        calls |= match expr {
            Expr::Call(_) => true,
            // A text may hide its braces behind escapes; a constant may be a list of texts.
            Expr::Const(constant) => template(&constant.value.to_string()),
            // Those of the rewriting are nobody's to call.
            Expr::Filter(filter) => filter.name.starts_with("__"),
            Expr::Test(test) => test.name.starts_with("__"),
            _ => false,
        }
    });
    !calls
}

/// The text in a file that `{{ name }}` leads to, by way of other names.
fn written(template: &str, scope: &Scope, depth: usize) -> Option<String> {
    let name = template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    if depth == 0 || !is_variable_name(name) {
        return None;
    }
    let Raw::Node(node) = scope.raw(name)? else { return None };
    let text = node.as_str()?;
    match node.has_template() {
        true => written(text, scope, depth - 1),
        false => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_is_told_from_what_compares() {
        for (expression, harmless) in [
            ("a == 1 and b is defined", true),
            ("True", true),
            ("a in ['x', 'y'] | map('upper')", true),
            ("lookup('pipe', 'id')", false),
            ("a == 1 or q('file', 'x')", false),
            ("a.startswith('b')", false),
            ("'{{ lookup(\"pipe\", \"id\") }}' == ''", false),
            (r#"'\u007b\u007b lookup("pipe", "id") }}' == ''"#, false),
            (r#"['\u007b{ lookup("pipe", "id") }}'] == 1"#, false),
            ("a | __call('b')", false),
            ("[lookup('env', 'HOME')] | length", false),
            ("x | default(lookup('pipe', 'id'))", false),
            ("x is divisibleby(range(3) | length)", false),
            ("(", true),
        ] {
            assert_eq!(calls_nothing(expression), harmless, "{expression}");
        }
    }
}
