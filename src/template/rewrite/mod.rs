//! Turns a parsed template back into source with Ansible's meaning where minijinja's differs.
//!
//! The tree is parsed once with the author's delimiters and whitespace rules, then written out again with the plain
//! ones, so that the engine's loader (and with it include, import and extends) needs no other way in. What changes:
//!
//! * attribute access in a place that tolerates undefined values (`a.b.c | default('x')`, `a.b is defined`, call
//!   arguments, items of literals) goes through `__get`, which passes an undefined base on;
//! * `a % b`, `a < b` and an inline `if` without `else` get Python's meaning;
//! * when the template calls a method that changes its object (`.append()`, `.update()` …), what `set` binds becomes
//!   a shared mutable object, and a variable that is changed is the template's own from then on (`own`);
//! * a macro that speaks of `varargs` or `kwargs` takes surplus arguments (`own`);
//! * what is imported, and what is included `without context`, sees no variables (`own`);
//! * a lookup among the arguments of `default` and `ternary` fails only where its value is taken (`held`);
//! * keys of a literal that Python has for one (`1` and `true`) are one.
//!
//! Every expression's place is recorded, so that an error in the rewritten text is shown in the author's.

mod expressions;
mod statements;
mod walk;

pub(super) use walk::{changed_names, local_names, unknown_tag, visit_expr, visit_stmt};

use minijinja::machinery::Span;
use minijinja::machinery::ast::{Expr, Stmt};
use std::borrow::Cow;

/// Rewritten source, with the places its parts came from.
#[derive(Debug, Default, Clone)]
pub(super) struct Rewritten {
    /// Template source with default delimiters, or a bare expression.
    pub source: String,
    /// Offsets in `source` where an expression begins, ascending, with its place in the author's text.
    pub places: Vec<(u32, Span)>,
}

impl Rewritten {
    /// The author's place of what stands at `offset` in the rewritten source.
    pub fn place(&self, offset: usize) -> Option<Span> {
        let at = self.places.partition_point(|(start, _)| *start as usize <= offset);
        at.checked_sub(1).and_then(|i| self.places.get(i)).map(|(_, span)| *span)
    }
}

/// What a parsed template consists of.
pub(super) enum Shape<'t, 'a> {
    /// Nothing but text.
    Text,
    /// Exactly one `{{ expression }}` and nothing else.
    Single(&'t Expr<'a>),
    /// Text and `{{ }}` only.
    Pieces(&'t [Stmt<'a>]),
    /// Has statements.
    Statements,
}

/// Classifies a parsed template.
pub(super) fn shape<'t, 'a>(root: &'t Stmt<'a>) -> Shape<'t, 'a> {
    let Stmt::Template(template) = root else { return Shape::Statements };
    let children = &template.children;
    if let [Stmt::EmitExpr(emit)] = children.as_slice() {
        return Shape::Single(&emit.expr);
    }
    if children.iter().all(|c| matches!(c, Stmt::EmitRaw(_))) {
        return Shape::Text;
    }
    if children.iter().all(|c| matches!(c, Stmt::EmitRaw(_) | Stmt::EmitExpr(_))) {
        return Shape::Pieces(children);
    }
    Shape::Statements
}

/// Rewrites one expression.
pub(super) fn expression(expr: &Expr<'_>, embedded: bool) -> Rewritten {
    let mut w = Writer { embedded, ..Writer::default() };
    w.expr(expr, true);
    w.done()
}

/// Rewrites text mixed with expressions as one expression: a call that concatenates as Ansible does.
pub(super) fn pieces(children: &[Stmt<'_>], text: Text<'_>) -> Rewritten {
    let mut w = Writer { text, ..Writer::default() };
    w.out.push_str("__cat(");
    for (i, child) in children.iter().enumerate() {
        if i > 0 {
            w.out.push_str(", ");
        }
        match child {
            Stmt::EmitRaw(raw) => w.string(&text.raw(raw.raw)),
            Stmt::EmitExpr(emit) => w.printed(&emit.expr),
            _ => {}
        }
    }
    w.out.push(')');
    w.done()
}

/// Rewrites a whole template.
pub(super) fn template(root: &Stmt<'_>, text: Text<'_>) -> Rewritten {
    let mut w = Writer { mutable: walk::uses_mutation(root), statements: true, text, ..Writer::default() };
    let changed = if w.mutable { changed_names(root) } else { Vec::new() };
    if !changed.is_empty() {
        w.out.push_str("{% do __own(");
        for name in changed {
            w.string(&name);
            w.out.push_str(", ");
        }
        w.out.push_str(") %}");
    }
    w.stmt(root);
    w.done()
}

/// The text that was parsed.
#[derive(Clone, Copy, Default)]
pub(super) struct Text<'s> {
    /// All of it.
    pub source: &'s str,
    /// How a statement begins, in it.
    pub block_start: &'s str,
    /// How a statement ends.
    pub block_end: &'s str,
}

impl Text<'_> {
    /// What stands between tags. The engine takes the newline after `{% raw %}` away as after any tag; Jinja does not.
    pub fn raw<'r>(&self, raw: &'r str) -> Cow<'r, str> {
        let at = (raw.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        let before = self.source.get(..at).and_then(|before| before.strip_suffix('\n'));
        let tag = before.and_then(|before| before.strip_suffix(self.block_end)).unwrap_or_default();
        let tag = tag.trim_end_matches(' ').strip_suffix("raw").unwrap_or_default().trim_end_matches(' ');
        match !self.block_start.is_empty() && tag.trim_end_matches(['-', '+']).ends_with(self.block_start) {
            true => Cow::Owned(format!("\n{raw}")),
            false => Cow::Borrowed(raw),
        }
    }
}

#[derive(Default)]
struct Writer<'s> {
    text: Text<'s>,
    out: String,
    places: Vec<(u32, Span)>,
    /// The template changes objects in place.
    mutable: bool,
    /// It has statements, and with them names of its own.
    statements: bool,
    /// How many names the writer has made for itself.
    made: usize,
    /// String constants that look like templates are ones: in conditions, and among the terms of a lookup.
    embedded: bool,
    in_lookup: bool,
    /// What fails here is held back: it stands for itself among the arguments of a filter that takes one of them (`held`).
    held: bool,
}
