//! Turns a parsed template back into source with Ansible's meaning where minijinja's differs.
//!
//! The tree is parsed once with the author's delimiters and whitespace rules, then written out again with the plain
//! ones, so that the engine's loader (and with it include, import and extends) needs no other way in. What changes:
//!
//! * attribute access in a place that tolerates undefined values (`a.b.c | default('x')`, `a.b is defined`, call
//!   arguments, items of literals) goes through `__get`, which passes an undefined base on;
//! * `a % b`, `a < b` and an inline `if` without `else` get Python's meaning;
//! * when the template calls a method that changes its object (`.append()`, `.update()` …), what `set` binds becomes
//!   a shared mutable object.
//!
//! Every expression's place is recorded, so that an error in the rewritten text is shown in the author's.

use minijinja::machinery::Span;
use minijinja::machinery::ast::{self, BinOpKind, CallArg, CompareOpKind, Expr, Spanned, Stmt, UnaryOpKind};
use minijinja::value::{Value, ValueKind};
use std::borrow::Cow;

/// Methods that change the object they are called on.
const MUTATING: &[&str] =
    &["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "popitem"];

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
    let mut w = Writer { mutable: uses_mutation(root), text, ..Writer::default() };
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
    /// String constants that look like templates are ones: in conditions, and among the terms of a lookup.
    embedded: bool,
    in_lookup: bool,
}

impl Writer<'_> {
    fn done(self) -> Rewritten {
        Rewritten { source: self.out, places: self.places }
    }

    /// Opens a tag.
    fn open(&mut self, tag: &str, span: Span) {
        self.out.push_str(tag);
        self.out.push(' ');
        self.places.push((self.out.len() as u32, span));
    }

    fn body(&mut self, stmts: &[Stmt<'_>]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt<'_>) {
        match stmt {
            Stmt::Template(s) => self.body(&s.children),
            Stmt::EmitExpr(s) => {
                self.open("{{", s.span());
                self.printed(&s.expr);
                self.out.push_str(" }}");
            }
            Stmt::EmitRaw(s) => {
                let raw = self.text.raw(s.raw);
                if raw.contains(['{', '\r']) {
                    self.out.push_str("{{ ");
                    self.string(&raw);
                    self.out.push_str(" }}");
                } else {
                    self.out.push_str(&raw);
                }
            }
            Stmt::ForLoop(s) => {
                self.open("{% for", s.span());
                self.target(&s.target);
                self.out.push_str(" in __iterable(");
                self.expr(&s.iter, false);
                self.out.push(')');
                if let Some(filter) = &s.filter_expr {
                    self.out.push_str(" if ");
                    self.expr(filter, false);
                }
                if s.recursive {
                    self.out.push_str(" recursive");
                }
                self.out.push_str(" %}");
                self.body(&s.body);
                if !s.else_body.is_empty() {
                    self.out.push_str("{% else %}");
                    self.body(&s.else_body);
                }
                self.out.push_str("{% endfor %}");
            }
            Stmt::IfCond(s) => {
                self.open("{% if", s.span());
                self.expr(&s.expr, false);
                self.out.push_str(" %}");
                self.body(&s.true_body);
                if !s.false_body.is_empty() {
                    self.out.push_str("{% else %}");
                    self.body(&s.false_body);
                }
                self.out.push_str("{% endif %}");
            }
            Stmt::WithBlock(s) => {
                self.open("{% with", s.span());
                for (i, (target, value)) in s.assignments.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.target(target);
                    self.out.push_str(" = ");
                    self.bound(value);
                }
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endwith %}");
            }
            Stmt::Set(s) => {
                self.open("{% set", s.span());
                self.target(&s.target);
                self.out.push_str(" = ");
                self.bound(&s.expr);
                self.out.push_str(" %}");
            }
            Stmt::SetBlock(s) => {
                self.open("{% set", s.span());
                self.target(&s.target);
                if let Some(filter) = &s.filter {
                    self.out.push_str(" | ");
                    self.filter_chain(filter);
                }
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endset %}");
            }
            Stmt::AutoEscape(s) => {
                self.open("{% autoescape", s.span());
                self.expr(&s.enabled, false);
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endautoescape %}");
            }
            Stmt::FilterBlock(s) => {
                self.open("{% filter", s.span());
                self.filter_chain(&s.filter);
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endfilter %}");
            }
            Stmt::Block(s) => {
                self.open("{% block", s.span());
                self.out.push_str(s.name);
                if s.required {
                    self.out.push_str(" required");
                }
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endblock %}");
            }
            Stmt::Import(s) => {
                self.open("{% import", s.span());
                self.expr(&s.expr, false);
                self.out.push_str(" as ");
                self.target(&s.name);
                self.out.push_str(" %}");
            }
            Stmt::FromImport(s) => {
                self.open("{% from", s.span());
                self.expr(&s.expr, false);
                self.out.push_str(" import ");
                for (i, (name, alias)) in s.names.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.target(name);
                    if let Some(alias) = alias {
                        self.out.push_str(" as ");
                        self.target(alias);
                    }
                }
                self.out.push_str(" %}");
            }
            Stmt::Extends(s) => {
                self.open("{% extends", s.span());
                self.expr(&s.name, false);
                self.out.push_str(" %}");
            }
            Stmt::Include(s) => {
                self.open("{% include", s.span());
                self.expr(&s.name, false);
                if s.ignore_missing {
                    self.out.push_str(" ignore missing");
                }
                self.out.push_str(" %}");
            }
            Stmt::Macro(s) => {
                self.open("{% macro", s.span());
                self.out.push_str(s.name);
                self.parameters(&s.args, &s.defaults);
                self.out.push_str(" %}");
                self.body(&s.body);
                self.out.push_str("{% endmacro %}");
            }
            Stmt::CallBlock(s) => {
                self.open("{% call", s.span());
                if !s.macro_decl.args.is_empty() {
                    self.parameters(&s.macro_decl.args, &s.macro_decl.defaults);
                    self.out.push(' ');
                }
                self.call(&s.call, false);
                self.out.push_str(" %}");
                self.body(&s.macro_decl.body);
                self.out.push_str("{% endcall %}");
            }
            Stmt::Continue(s) => {
                self.open("{% continue", s.span());
                self.out.push_str("%}");
            }
            Stmt::Break(s) => {
                self.open("{% break", s.span());
                self.out.push_str("%}");
            }
            Stmt::Do(s) => {
                self.open("{% do", s.span());
                self.call(&s.call, false);
                self.out.push_str(" %}");
            }
        }
    }

    fn parameters(&mut self, args: &[Expr<'_>], defaults: &[Expr<'_>]) {
        self.out.push('(');
        let plain = args.len().saturating_sub(defaults.len());
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.target(arg);
            if let Some(default) = i.checked_sub(plain).and_then(|d| defaults.get(d)) {
                self.out.push('=');
                self.expr(default, true);
            }
        }
        self.out.push(')');
    }

    /// An assignment target: names, tuples of them, attributes of a namespace.
    fn target(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Var(v) => self.out.push_str(v.id),
            Expr::GetAttr(a) => {
                self.target(&a.expr);
                self.out.push('.');
                self.out.push_str(a.name);
            }
            Expr::List(l) => self.targets(&l.items),
            Expr::Tuple(t) => self.targets(&t.items),
            other => self.expr(other, false),
        }
    }

    fn targets(&mut self, items: &[Expr<'_>]) {
        self.out.push('(');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.target(item);
        }
        if items.len() == 1 {
            self.out.push(',');
        }
        self.out.push(')');
    }

    /// What `set` and `with` bind.
    fn bound(&mut self, expr: &Expr<'_>) {
        if self.mutable && !is_namespace(expr) {
            self.out.push_str("__mutable(");
            self.expr(expr, true);
            self.out.push(')');
        } else {
            self.expr(expr, true);
        }
    }

    /// The filters of `{% filter a | b(1) %}` and `{% set x | a %}`: a chain without an operand.
    fn filter_chain(&mut self, expr: &Expr<'_>) {
        if let Expr::Filter(f) = expr {
            if let Some(inner) = &f.expr {
                self.filter_chain(inner);
                self.out.push_str(" | ");
            }
            self.out.push_str(f.name);
            self.arguments(&f.args, None);
        }
    }

    fn arguments(&mut self, args: &[CallArg<'_>], first: Option<&dyn Fn(&mut Writer)>) {
        if args.is_empty() && first.is_none() {
            return;
        }
        self.out.push('(');
        let mut comma = false;
        if let Some(first) = first {
            first(self);
            comma = true;
        }
        for arg in args {
            if comma {
                self.out.push_str(", ");
            }
            comma = true;
            match arg {
                CallArg::Pos(e) => self.expr(e, true),
                CallArg::Kwarg(name, e) => {
                    self.out.push_str(name);
                    self.out.push('=');
                    self.expr(e, true);
                }
                CallArg::PosSplat(e) => {
                    self.out.push('*');
                    self.operand(e, false);
                }
                CallArg::KwargSplat(e) => {
                    self.out.push_str("**");
                    self.operand(e, false);
                }
            }
        }
        self.out.push(')');
    }

    fn call(&mut self, call: &Spanned<ast::Call<'_>>, tolerant: bool) {
        match &call.expr {
            Expr::Var(v) => {
                self.out.push_str(v.id);
                if v.id == "namespace" && self.mutable {
                    self.mutable_arguments(&call.args);
                    return;
                }
            }
            Expr::GetAttr(a) => {
                let special = matches!(&a.expr, Expr::Var(v) if matches!(v.id, "self" | "loop" | "caller"));
                if tolerant && !special {
                    self.operand(&a.expr, true);
                    self.out.push_str("|__call");
                    let name = a.name;
                    self.arguments(&call.args, Some(&|w: &mut Writer| w.string(name)));
                    return;
                }
                self.base(&a.expr, false);
                self.out.push('.');
                self.out.push_str(a.name);
            }
            other => self.base(other, false),
        }
        if call.args.is_empty() {
            self.out.push_str("()");
            return;
        }
        let lookup = matches!(&call.expr, Expr::Var(v) if matches!(v.id, "lookup" | "query" | "q"));
        let before = self.in_lookup;
        self.in_lookup |= lookup;
        self.arguments(&call.args, None);
        self.in_lookup = before;
    }

    fn mutable_arguments(&mut self, args: &[CallArg<'_>]) {
        self.out.push('(');
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            match arg {
                CallArg::Pos(e) => self.bound(e),
                CallArg::Kwarg(name, e) => {
                    self.out.push_str(name);
                    self.out.push('=');
                    self.bound(e);
                }
                CallArg::PosSplat(e) | CallArg::KwargSplat(e) => {
                    self.out.push_str(if matches!(arg, CallArg::PosSplat(_)) { "*" } else { "**" });
                    self.expr(e, false);
                }
            }
        }
        self.out.push(')');
    }

    /// An operand of an operator: in parentheses unless it binds tighter than any operator.
    fn operand(&mut self, expr: &Expr<'_>, tolerant: bool) {
        if is_postfix(expr) || is_filtered(expr) {
            self.expr(expr, tolerant);
        } else {
            self.parenthesised(expr, tolerant);
        }
    }

    /// What becomes text: of an inline `if` without `else` whose condition is false, nothing.
    fn printed(&mut self, expr: &Expr<'_>) {
        let Expr::IfExpr(i) = expr else { return self.expr(expr, true) };
        self.places.push((self.out.len() as u32, expr.span()));
        self.out.push('(');
        self.operand(&i.true_expr, true);
        self.out.push_str(" if ");
        self.operand(&i.test_expr, false);
        self.out.push_str(" else ");
        match &i.false_expr {
            Some(e) => self.printed(e),
            None => self.out.push_str("none"),
        }
        self.out.push(')');
    }

    /// What `.`, `[` or `(` follows; these would become part of a filter's name.
    fn base(&mut self, expr: &Expr<'_>, tolerant: bool) {
        if is_postfix(expr) && !(tolerant && gets_filtered(expr)) {
            self.expr(expr, tolerant);
        } else {
            self.parenthesised(expr, tolerant);
        }
    }

    fn parenthesised(&mut self, expr: &Expr<'_>, tolerant: bool) {
        self.out.push('(');
        self.expr(expr, tolerant);
        self.out.push(')');
    }

    /// Writes one expression. `tolerant`: the place accepts an undefined value without looking at it.
    fn expr(&mut self, expr: &Expr<'_>, tolerant: bool) {
        self.places.push((self.out.len() as u32, expr.span()));
        match expr {
            Expr::Var(v) => self.out.push_str(v.id),
            Expr::Const(c) => self.constant(&c.value),
            Expr::Slice(s) => {
                self.base(&s.expr, false);
                self.out.push('[');
                if let Some(e) = &s.start {
                    self.expr(e, false);
                }
                self.out.push(':');
                if let Some(e) = &s.stop {
                    self.expr(e, false);
                }
                if let Some(e) = &s.step {
                    self.out.push(':');
                    self.expr(e, false);
                }
                self.out.push(']');
            }
            Expr::UnaryOp(u) => {
                self.out.push_str(match u.op {
                    UnaryOpKind::Not => "(not ",
                    UnaryOpKind::Neg => "(-",
                });
                match u.op {
                    UnaryOpKind::Not => self.operand(&u.expr, false),
                    // A filter would apply to the negative number.
                    UnaryOpKind::Neg => self.parenthesised(&u.expr, false),
                }
                self.out.push(')');
            }
            Expr::BinOp(b) => self.binary(b),
            Expr::Compare(c) => {
                self.out.push('(');
                let mut left = &c.expr;
                for (i, op) in c.ops.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(" and ");
                    }
                    self.comparison(left, op.op, &op.expr);
                    left = &op.expr;
                }
                self.out.push(')');
            }
            Expr::IfExpr(i) => {
                self.out.push('(');
                self.operand(&i.true_expr, tolerant);
                self.out.push_str(" if ");
                self.operand(&i.test_expr, false);
                self.out.push_str(" else ");
                match &i.false_expr {
                    Some(e) => self.operand(e, tolerant),
                    None => self.out.push_str("__undefined()"),
                }
                self.out.push(')');
            }
            Expr::Filter(f) => {
                if let Some(inner) = &f.expr {
                    self.operand(inner, true);
                    self.out.push('|');
                }
                self.places.push((self.out.len() as u32, expr.span()));
                self.out.push_str(f.name);
                self.arguments(&f.args, None);
            }
            Expr::Test(t) => {
                self.out.push('(');
                self.operand(&t.expr, true);
                self.out.push_str(" is ");
                self.places.push((self.out.len() as u32, expr.span()));
                self.out.push_str(t.name);
                self.arguments(&t.args, None);
                self.out.push(')');
            }
            Expr::GetAttr(a) => {
                if tolerant && !is_special(&a.expr) {
                    self.operand(&a.expr, true);
                    self.out.push_str("|__get(");
                    self.string(a.name);
                    self.out.push(')');
                } else {
                    self.base(&a.expr, false);
                    self.out.push('.');
                    self.out.push_str(a.name);
                }
            }
            Expr::GetItem(g) => {
                if tolerant && !is_special(&g.expr) {
                    self.operand(&g.expr, true);
                    self.out.push_str("|__get(");
                    self.expr(&g.subscript_expr, true);
                    self.out.push(')');
                } else {
                    self.base(&g.expr, false);
                    self.out.push('[');
                    self.expr(&g.subscript_expr, false);
                    self.out.push(']');
                }
            }
            Expr::Call(c) => self.call(c, tolerant),
            Expr::List(l) => {
                self.out.push('[');
                for (i, item) in l.items.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.expr(item, true);
                }
                self.out.push(']');
            }
            Expr::Tuple(t) => {
                self.out.push('(');
                for (i, item) in t.items.iter().enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.expr(item, true);
                }
                if t.items.len() == 1 {
                    self.out.push(',');
                }
                self.out.push(')');
            }
            Expr::Map(m) => {
                self.out.push('{');
                for (i, (key, value)) in m.keys.iter().zip(&m.values).enumerate() {
                    if i > 0 {
                        self.out.push_str(", ");
                    }
                    self.expr(key, false);
                    self.out.push_str(": ");
                    self.expr(value, true);
                }
                self.out.push('}');
            }
        }
    }

    fn binary(&mut self, b: &ast::BinOp<'_>) {
        let symbol = match b.op {
            BinOpKind::Rem => return self.as_filter(b, "|__mod("),
            BinOpKind::Concat => return self.as_filter(b, "|__concat("),
            BinOpKind::Sub => return self.as_filter(b, "|__sub("),
            BinOpKind::In => return self.comparison(&b.left, CompareOpKind::In, &b.right),
            BinOpKind::Lt => return self.comparison(&b.left, CompareOpKind::Lt, &b.right),
            BinOpKind::Lte => return self.comparison(&b.left, CompareOpKind::Lte, &b.right),
            BinOpKind::Gt => return self.comparison(&b.left, CompareOpKind::Gt, &b.right),
            BinOpKind::Gte => return self.comparison(&b.left, CompareOpKind::Gte, &b.right),
            BinOpKind::Eq => "==",
            BinOpKind::Ne => "!=",
            BinOpKind::ScAnd => "and",
            BinOpKind::ScOr => "or",
            BinOpKind::Add => "+",
            BinOpKind::Mul => "*",
            BinOpKind::Div => "/",
            BinOpKind::FloorDiv => "//",
            BinOpKind::Pow => "**",
        };
        let logical = matches!(b.op, BinOpKind::ScAnd | BinOpKind::ScOr);
        let chain = logical || matches!(b.op, BinOpKind::Add | BinOpKind::Mul);
        match &b.left {
            // A chain of one operator stays flat: parentheses nest only so deep.
            Expr::BinOp(left) if chain && std::mem::discriminant(&left.op) == std::mem::discriminant(&b.op) => {
                self.expr(&b.left, false);
            }
            left if matches!(b.op, BinOpKind::Pow) => self.parenthesised(left, false),
            left => self.operand(left, false),
        }
        self.out.push(' ');
        self.out.push_str(symbol);
        self.out.push(' ');
        if matches!(b.op, BinOpKind::Pow) {
            self.parenthesised(&b.right, false);
        } else {
            self.operand(&b.right, logical);
        }
    }

    /// An operator that has become a filter.
    fn as_filter(&mut self, b: &ast::BinOp<'_>, filter: &str) {
        self.operand(&b.left, false);
        self.out.push_str(filter);
        self.expr(&b.right, false);
        self.out.push(')');
    }

    fn comparison(&mut self, left: &Expr<'_>, op: CompareOpKind, right: &Expr<'_>) {
        let test = match op {
            CompareOpKind::Lt => "__lt",
            CompareOpKind::Lte => "__le",
            CompareOpKind::Gt => "__gt",
            CompareOpKind::Gte => "__ge",
            CompareOpKind::In => "__in",
            CompareOpKind::NotIn => "not __in",
            CompareOpKind::Eq | CompareOpKind::Ne => {
                self.out.push('(');
                self.operand(left, false);
                self.out.push_str(if matches!(op, CompareOpKind::Eq) { " == " } else { " != " });
                self.operand(right, false);
                self.out.push(')');
                return;
            }
        };
        self.out.push('(');
        self.operand(left, false);
        self.out.push_str(" is ");
        self.out.push_str(test);
        self.out.push('(');
        self.expr(right, false);
        self.out.push_str("))");
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn constant(&mut self, value: &Value) {
        match value.kind() {
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default().to_owned();
                if (self.embedded || self.in_lookup) && (text.contains("{{") || text.contains("{%")) {
                    self.out.push_str("__template(");
                    self.string(&text);
                    self.out.push(')');
                } else {
                    self.string(&text);
                }
            }
            ValueKind::Undefined => self.out.push_str("__undefined()"),
            ValueKind::Seq => {
                let tuple = value.is_tuple();
                self.out.push(if tuple { '(' } else { '[' });
                for item in value.try_iter().into_iter().flatten() {
                    self.constant(&item);
                    self.out.push_str(", ");
                }
                self.out.push(if tuple { ')' } else { ']' });
            }
            ValueKind::Map => {
                self.out.push('{');
                for key in value.try_iter().into_iter().flatten() {
                    self.constant(&key);
                    self.out.push_str(": ");
                    self.constant(&value.get_item(&key).unwrap_or_default());
                    self.out.push_str(", ");
                }
                self.out.push('}');
            }
            _ => {
                // A negative number cannot stand before an attribute or a filter unprotected.
                let text = value.to_string();
                if text.starts_with('-') {
                    self.out.push_str(&format!("({text})"));
                } else {
                    self.out.push_str(&text);
                }
            }
        }
    }
}

/// Whether an expression is written as one token, or as one with attributes, items, calls and brackets after it.
fn is_postfix(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_) | Expr::Slice(_) => true,
        Expr::List(_) | Expr::Map(_) | Expr::Tuple(_) => true,
        Expr::Const(c) => c.value.kind() == ValueKind::String,
        _ => false,
    }
}

/// Whether an expression is written as a chain of filters.
fn is_filtered(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Filter(f) => f.expr.is_some(),
        Expr::BinOp(b) => matches!(b.op, BinOpKind::Rem | BinOpKind::Concat | BinOpKind::Sub),
        _ => false,
    }
}

/// Whether a postfix expression is written with a filter where undefined values are tolerated.
fn gets_filtered(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_))
}

fn is_special(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Var(v) if matches!(v.id, "self" | "loop" | "caller"))
}

fn is_namespace(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Call(c) if matches!(&c.expr, Expr::Var(v) if v.id == "namespace"))
}

fn uses_mutation(root: &Stmt<'_>) -> bool {
    let mut found = false;
    visit_stmt(root, &mut |e| {
        if let Expr::GetAttr(a) = e
            && MUTATING.contains(&a.name)
        {
            found = true;
        }
    });
    found
}

/// The names a template binds itself: by `set`, `for`, `with`, macros and imports.
pub(super) fn local_names(root: &Stmt<'_>) -> Vec<String> {
    fn target(expr: &Expr<'_>, out: &mut Vec<String>) {
        match expr {
            Expr::Var(v) => out.push(v.id.to_owned()),
            Expr::List(l) => l.items.iter().for_each(|e| target(e, out)),
            Expr::Tuple(t) => t.items.iter().for_each(|e| target(e, out)),
            _ => {}
        }
    }
    fn all(body: &[Stmt<'_>], out: &mut Vec<String>) {
        body.iter().for_each(|s| walk(s, out));
    }
    fn walk(stmt: &Stmt<'_>, out: &mut Vec<String>) {
        match stmt {
            Stmt::Template(s) => all(&s.children, out),
            Stmt::ForLoop(s) => {
                target(&s.target, out);
                all(&s.body, out);
                all(&s.else_body, out);
            }
            Stmt::IfCond(s) => {
                all(&s.true_body, out);
                all(&s.false_body, out);
            }
            Stmt::WithBlock(s) => {
                s.assignments.iter().for_each(|(t, _)| target(t, out));
                all(&s.body, out);
            }
            Stmt::Set(s) => target(&s.target, out),
            Stmt::SetBlock(s) => {
                target(&s.target, out);
                all(&s.body, out);
            }
            Stmt::AutoEscape(s) => all(&s.body, out),
            Stmt::FilterBlock(s) => all(&s.body, out),
            Stmt::Block(s) => all(&s.body, out),
            Stmt::Import(s) => target(&s.name, out),
            Stmt::FromImport(s) => s.names.iter().for_each(|(n, alias)| target(alias.as_ref().unwrap_or(n), out)),
            Stmt::Macro(s) => {
                out.push(s.name.to_owned());
                s.args.iter().for_each(|a| target(a, out));
                all(&s.body, out);
            }
            Stmt::CallBlock(s) => {
                s.macro_decl.args.iter().for_each(|a| target(a, out));
                all(&s.macro_decl.body, out);
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(root, &mut out);
    out
}

/// Calls `f` for every expression of a statement, in source order, outer before inner.
pub(super) fn visit_stmt<'a>(stmt: &Stmt<'a>, f: &mut dyn FnMut(&Expr<'a>)) {
    fn all<'a>(body: &[Stmt<'a>], f: &mut dyn FnMut(&Expr<'a>)) {
        for s in body {
            visit_stmt(s, f);
        }
    }
    match stmt {
        Stmt::Template(s) => all(&s.children, f),
        Stmt::EmitExpr(s) => visit_expr(&s.expr, f),
        Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
        Stmt::ForLoop(s) => {
            visit_expr(&s.iter, f);
            if let Some(e) = &s.filter_expr {
                visit_expr(e, f);
            }
            all(&s.body, f);
            all(&s.else_body, f);
        }
        Stmt::IfCond(s) => {
            visit_expr(&s.expr, f);
            all(&s.true_body, f);
            all(&s.false_body, f);
        }
        Stmt::WithBlock(s) => {
            for (_, e) in &s.assignments {
                visit_expr(e, f);
            }
            all(&s.body, f);
        }
        Stmt::Set(s) => visit_expr(&s.expr, f),
        Stmt::SetBlock(s) => {
            if let Some(e) = &s.filter {
                visit_expr(e, f);
            }
            all(&s.body, f);
        }
        Stmt::AutoEscape(s) => all(&s.body, f),
        Stmt::FilterBlock(s) => {
            visit_expr(&s.filter, f);
            all(&s.body, f);
        }
        Stmt::Block(s) => all(&s.body, f),
        Stmt::Import(s) => visit_expr(&s.expr, f),
        Stmt::FromImport(s) => visit_expr(&s.expr, f),
        Stmt::Extends(s) => visit_expr(&s.name, f),
        Stmt::Include(s) => visit_expr(&s.name, f),
        Stmt::Macro(s) => {
            for e in &s.defaults {
                visit_expr(e, f);
            }
            all(&s.body, f);
        }
        Stmt::CallBlock(s) => {
            visit_call(&s.call, f);
            all(&s.macro_decl.body, f);
        }
        Stmt::Do(s) => {
            visit_call(&s.call, f);
        }
    }
}

fn visit_args<'a>(args: &[CallArg<'a>], f: &mut dyn FnMut(&Expr<'a>)) {
    for arg in args {
        match arg {
            CallArg::Pos(e) | CallArg::Kwarg(_, e) | CallArg::PosSplat(e) | CallArg::KwargSplat(e) => visit_expr(e, f),
        }
    }
}

fn visit_call<'a>(call: &ast::Call<'a>, f: &mut dyn FnMut(&Expr<'a>)) {
    visit_expr(&call.expr, f);
    visit_args(&call.args, f);
}

/// Calls `f` for an expression and everything inside it, outer before inner.
pub(super) fn visit_expr<'a>(expr: &Expr<'a>, f: &mut dyn FnMut(&Expr<'a>)) {
    f(expr);
    match expr {
        Expr::Var(_) | Expr::Const(_) => {}
        Expr::Slice(s) => {
            visit_expr(&s.expr, f);
            for e in [&s.start, &s.stop, &s.step].into_iter().flatten() {
                visit_expr(e, f);
            }
        }
        Expr::UnaryOp(u) => visit_expr(&u.expr, f),
        Expr::BinOp(b) => {
            visit_expr(&b.left, f);
            visit_expr(&b.right, f);
        }
        Expr::Compare(c) => {
            visit_expr(&c.expr, f);
            for op in &c.ops {
                visit_expr(&op.expr, f);
            }
        }
        Expr::IfExpr(i) => {
            visit_expr(&i.test_expr, f);
            visit_expr(&i.true_expr, f);
            if let Some(e) = &i.false_expr {
                visit_expr(e, f);
            }
        }
        Expr::Filter(x) => {
            if let Some(e) = &x.expr {
                visit_expr(e, f);
            }
            visit_args(&x.args, f);
        }
        Expr::Test(x) => {
            visit_expr(&x.expr, f);
            visit_args(&x.args, f);
        }
        Expr::GetAttr(a) => visit_expr(&a.expr, f),
        Expr::GetItem(g) => {
            visit_expr(&g.expr, f);
            visit_expr(&g.subscript_expr, f);
        }
        Expr::Call(c) => visit_call(c, f),
        Expr::List(l) => l.items.iter().for_each(|e| visit_expr(e, f)),
        Expr::Tuple(t) => t.items.iter().for_each(|e| visit_expr(e, f)),
        Expr::Map(m) => m.keys.iter().chain(&m.values).for_each(|e| visit_expr(e, f)),
    }
}
