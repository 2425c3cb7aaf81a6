//! Statements, written out again.

use super::{Rewritten, Writer, visit_expr, visit_stmt};
use minijinja::machinery::Span;
use minijinja::machinery::ast::{Expr, Macro, Stmt};

impl Writer<'_> {
    pub(super) fn done(self) -> Rewritten {
        Rewritten { source: self.out, places: self.places }
    }

    /// Opens a tag.
    pub(super) fn open(&mut self, tag: &str, span: Span) {
        self.out.push_str(tag);
        self.out.push(' ');
        self.places.push((self.out.len() as u32, span));
    }

    pub(super) fn body(&mut self, stmts: &[Stmt<'_>]) {
        for stmt in stmts {
            self.stmt(stmt);
        }
    }

    pub(super) fn stmt(&mut self, stmt: &Stmt<'_>) {
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
                if uses_own_names(&s.assignments) {
                    // All values are those of outside: one assignment of them all.
                    self.out.push('(');
                    for (target, _) in &s.assignments {
                        self.target(target);
                        self.out.push_str(", ");
                    }
                    self.out.push(')');
                    self.out.push_str(" = (");
                    for (_, value) in &s.assignments {
                        self.bound(value);
                        self.out.push_str(", ");
                    }
                    self.out.push_str(") %}");
                    self.body(&s.body);
                    self.out.push_str("{% endwith %}");
                    return;
                }
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
            Stmt::Import(s) if !self.with_context(s.span(), false) => {
                let made = self.alone(s.span());
                self.out.push_str("{% import __name as __lib %}{% do __hide(false) %}{% set __ns.lib = __lib %}");
                self.alone_ends(made, &s.expr);
                self.out.push_str("{% set ");
                self.target(&s.name);
                self.out.push_str(&format!(" = __alone(__ns{made}.lib) %}}"));
            }
            Stmt::Import(s) => {
                self.open("{% import", s.span());
                self.expr(&s.expr, false);
                self.out.push_str(" as ");
                self.target(&s.name);
                self.out.push_str(" %}");
            }
            Stmt::FromImport(s) if !self.with_context(s.span(), false) => {
                let made = self.alone(s.span());
                self.out.push_str("{% from __name import ");
                for (name, _) in &s.names {
                    self.target(name);
                    self.out.push_str(", ");
                }
                self.out.push_str(" %}{% do __hide(false) %}");
                for (i, (name, _)) in s.names.iter().enumerate() {
                    self.out.push_str(&format!("{{% set __ns.n{i} = "));
                    self.target(name);
                    self.out.push_str(" %}");
                }
                self.alone_ends(made, &s.expr);
                for (i, (name, alias)) in s.names.iter().enumerate() {
                    self.out.push_str("{% set ");
                    self.target(alias.as_ref().unwrap_or(name));
                    self.out.push_str(&format!(" = __alone(__ns{made}.n{i}) %}}"));
                }
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
            Stmt::Include(s) if !self.with_context(s.span(), true) => {
                let made = self.alone(s.span());
                self.out.push_str("{% include __name");
                self.out.push_str(if s.ignore_missing { " ignore missing" } else { "" });
                self.out.push_str(&format!(" %}}{{% do __hide(false) %}}{{% endmacro %}}{{{{ __in{made}(none, "));
                self.expr(&s.name, false);
                self.out.push_str(") }}");
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
                let surplus = surplus(s);
                let late = self.parameters(&s.args, &s.defaults);
                if surplus != (false, false) {
                    self.out.pop();
                    let comma = if s.args.is_empty() { "" } else { ", " };
                    let (more, named) = (("varargs=[], ", surplus.0), ("kwargs={}", surplus.1));
                    let [more, named] = [more, named].map(|(text, wanted)| if wanted { text } else { "" });
                    self.out.push_str(&format!("{comma}{more}{named})"));
                }
                self.out.push_str(" %}");
                self.late_defaults(&late);
                self.body(&s.body);
                self.out.push_str("{% endmacro %}");
                let asked = ["catch_kwargs", "catch_varargs"].iter().any(|word| self.text.source.contains(word));
                if asked || surplus != (false, false) {
                    let name = s.name;
                    let (more, named) = surplus;
                    self.out.push_str(&format!("{{% set {name} = __surplus({name}, {more}, {named}) %}}"));
                }
            }
            Stmt::CallBlock(s) => {
                self.open("{% call", s.span());
                let mut late = Vec::new();
                if !s.macro_decl.args.is_empty() {
                    late = self.parameters(&s.macro_decl.args, &s.macro_decl.defaults);
                    self.out.push(' ');
                }
                self.call(&s.call, false);
                self.out.push_str(" %}");
                self.late_defaults(&late);
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

    /// Whether an include or import says that it sees the variables; what it is when it says nothing is `otherwise`.
    fn with_context(&self, span: Span, otherwise: bool) -> bool {
        let text = self.text.source.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default();
        said_of_context(text).unwrap_or(otherwise)
    }

    /// Begins a macro in which neither variables nor the names of the template are seen; the number it goes by.
    fn alone(&mut self, span: Span) -> usize {
        self.made += 1;
        let made = self.made;
        self.open("{% macro", span);
        self.out.push_str(&format!("__in{made}(__ns, __name) %}}{{% do __hide(true) %}}"));
        made
    }

    /// Ends it, and has it fill a namespace.
    fn alone_ends(&mut self, made: usize, name: &Expr<'_>) {
        self.out
            .push_str(&format!("{{% endmacro %}}{{% set __ns{made} = namespace() %}}{{% do __in{made}(__ns{made}, "));
        self.expr(name, false);
        self.out.push_str(") %}");
    }

    /// The parameters of a macro. Returned are the defaults that name a parameter before them: the engine does not know
    /// it there.
    pub(super) fn parameters<'e>(
        &mut self,
        args: &'e [Expr<'e>],
        defaults: &'e [Expr<'e>],
    ) -> Vec<(&'e Expr<'e>, &'e Expr<'e>)> {
        let mut late = Vec::new();
        self.out.push('(');
        let plain = args.len().saturating_sub(defaults.len());
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            self.target(arg);
            let Some(default) = i.checked_sub(plain).and_then(|d| defaults.get(d)) else { continue };
            let before = args.get(..i).unwrap_or_default();
            let mut names_one = false;
            visit_expr(default, &mut |e| {
                names_one |=
                    matches!(e, Expr::Var(v) if before.iter().any(|b| matches!(b, Expr::Var(b) if b.id == v.id)));
            });
            self.out.push('=');
            if names_one {
                self.out.push_str("__undefined()");
                late.push((arg, default));
            } else {
                self.expr(default, true);
            }
        }
        self.out.push(')');
        late
    }

    /// Sets what was not given and has such a default.
    fn late_defaults(&mut self, late: &[(&Expr<'_>, &Expr<'_>)]) {
        for (arg, default) in late {
            self.out.push_str("{% set ");
            self.target(arg);
            self.out.push_str(" = (");
            self.expr(default, true);
            self.out.push_str(") if ");
            self.target(arg);
            self.out.push_str(" is undefined else ");
            self.target(arg);
            self.out.push_str(" %}");
        }
    }

    /// An assignment target: names, tuples of them, attributes of a namespace.
    pub(super) fn target(&mut self, expr: &Expr<'_>) {
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

    pub(super) fn targets(&mut self, items: &[Expr<'_>]) {
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
    pub(super) fn bound(&mut self, expr: &Expr<'_>) {
        if self.mutable && !is_namespace(expr) {
            self.out.push_str("__mutable(");
            self.expr(expr, true);
            self.out.push(')');
        } else {
            self.expr(expr, true);
        }
    }
}

/// What an include or import says of the context, if anything: `with context` comes last, or before `ignore missing`.
fn said_of_context(statement: &str) -> Option<bool> {
    let mut words = statement.split_whitespace().rev().skip_while(|word| matches!(*word, "missing" | "ignore"));
    if words.next() != Some("context") {
        return None;
    }
    let word = words.next()?;
    // A text or a comma may stand right before it: `'x.j2'without context`.
    let ends = |marker: &str| {
        let before = word.strip_suffix(marker)?.chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_').then_some(())
    };
    ends("with").map(|()| true).or_else(|| ends("without").map(|()| false))
}

/// Whether the body of a macro speaks of `varargs` and of `kwargs`.
fn surplus(stmt: &Macro<'_>) -> (bool, bool) {
    let (mut more, mut named) = (false, false);
    for stmt in &stmt.body {
        visit_stmt(stmt, &mut |e| {
            if let Expr::Var(v) = e {
                more |= v.id == "varargs";
                named |= v.id == "kwargs";
            }
        });
    }
    (more, named)
}

/// Whether a value of `with` reads a name that one before it binds.
fn uses_own_names(assignments: &[(Expr<'_>, Expr<'_>)]) -> bool {
    let mut bound: Vec<&str> = Vec::new();
    for (target, value) in assignments {
        let mut found = false;
        visit_expr(value, &mut |expr| found |= matches!(expr, Expr::Var(v) if bound.contains(&v.id)));
        if found {
            return true;
        }
        // The engine's own nesting of targets is left alone.
        if let Expr::Var(v) = target {
            bound.push(v.id);
        }
    }
    false
}

fn is_namespace(expr: &Expr<'_>) -> bool {
    matches!(expr, Expr::Call(c) if matches!(&c.expr, Expr::Var(v) if v.id == "namespace"))
}

#[cfg(test)]
mod tests {
    use super::said_of_context;

    #[test]
    fn the_context_is_named_at_the_end() {
        for (statement, said) in [
            ("include 'a.j2'", None),
            ("include 'a.j2' with context", Some(true)),
            ("include 'a.j2' without context", Some(false)),
            ("include 'a.j2'without\n  context", Some(false)),
            ("include 'a.j2' ignore missing", None),
            ("include 'a.j2' without context ignore missing", Some(false)),
            ("include 'a.j2' ignore missing with context", Some(true)),
            ("include 'without context'", None),
            ("include 'hosts-without-tls.j2'", None),
            ("import 'hosts-without-tls.j2' as m", None),
            ("import 'a without b.j2' as m", None),
            ("import 'hosts-without-tls.j2' as m with context", Some(true)),
            ("from 'a.j2' import b, without context", Some(false)),
            ("from 'a.j2' import b,with context", Some(true)),
            ("from 'a.j2' import herewith, context", None),
            ("from 'a.j2' import herewith context", None),
        ] {
            assert_eq!(said_of_context(statement), said, "{statement}");
        }
    }
}
