//! A walk over a parsed template: what it binds, what it changes.

use minijinja::machinery::Span;
use minijinja::machinery::ast::{self, CallArg, Expr, Stmt};

/// Methods that change the object they are called on.
const MUTATING: &[&str] =
    &["append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "popitem"];

/// Whether a template calls a method that changes its object.
pub(super) fn uses_mutation(root: &Stmt<'_>) -> bool {
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

/// Whether a method of this name changes its object.
pub(super) fn is_mutating(method: &str) -> bool {
    MUTATING.contains(&method)
}

/// The name that a chain of attributes and items begins with.
pub(super) fn base<'e>(expr: &Expr<'e>) -> Option<&'e str> {
    match expr {
        Expr::Var(v) => Some(v.id),
        Expr::GetAttr(a) => base(&a.expr),
        Expr::GetItem(g) => base(&g.expr),
        _ => None,
    }
}

/// The variables whose values a template changes: those on which, or on part of which, such a method is called, and
/// those that a `for` goes over whose items are changed. Names of the template's own are among them.
pub(in crate::template) fn changed_names(root: &Stmt<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    visit_stmt(root, &mut |e| {
        if let Expr::GetAttr(a) = e
            && MUTATING.contains(&a.name)
            && let Some(name) = base(&a.expr)
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    });
    let mut loops: Vec<(String, String)> = Vec::new();
    visit_stmts(root, &mut |stmt| {
        if let Stmt::ForLoop(s) = stmt
            && let (Expr::Var(target), Some(over)) = (&s.target, base(&s.iter))
        {
            loops.push((target.id.to_owned(), over.to_owned()));
        }
    });
    // The innermost loop stands last.
    for (target, over) in loops.into_iter().rev() {
        if names.contains(&target) && !names.contains(&over) {
            names.push(over);
        }
    }
    names
}

/// The first tag of an extension that is not switched on: its name and place.
pub(in crate::template) fn unknown_tag(root: &Stmt<'_>, do_tag: bool, loops: bool) -> Option<(&'static str, Span)> {
    let mut found = None;
    visit_stmts(root, &mut |stmt| {
        let tag = match stmt {
            Stmt::Do(s) if !do_tag => ("do", s.span()),
            Stmt::Break(s) if !loops => ("break", s.span()),
            Stmt::Continue(s) if !loops => ("continue", s.span()),
            _ => return,
        };
        found.get_or_insert(tag);
    });
    found
}

/// Calls `f` for a statement and every one inside it, outer before inner.
fn visit_stmts<'a>(stmt: &Stmt<'a>, f: &mut dyn FnMut(&Stmt<'a>)) {
    f(stmt);
    let bodies: [&[Stmt<'a>]; 2] = match stmt {
        Stmt::Template(s) => [&s.children, &[]],
        Stmt::ForLoop(s) => [&s.body, &s.else_body],
        Stmt::IfCond(s) => [&s.true_body, &s.false_body],
        Stmt::WithBlock(s) => [&s.body, &[]],
        Stmt::SetBlock(s) => [&s.body, &[]],
        Stmt::AutoEscape(s) => [&s.body, &[]],
        Stmt::FilterBlock(s) => [&s.body, &[]],
        Stmt::Block(s) => [&s.body, &[]],
        Stmt::Macro(s) => [&s.body, &[]],
        Stmt::CallBlock(s) => [&s.macro_decl.body, &[]],
        _ => [&[], &[]],
    };
    for stmt in bodies.into_iter().flatten() {
        visit_stmts(stmt, f);
    }
}

/// The names a template binds itself: by `set`, `for`, `with`, macros and imports.
pub(in crate::template) fn local_names(root: &Stmt<'_>) -> Vec<String> {
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
pub(in crate::template) fn visit_stmt<'a>(stmt: &Stmt<'a>, f: &mut dyn FnMut(&Expr<'a>)) {
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
pub(in crate::template) fn visit_expr<'a>(expr: &Expr<'a>, f: &mut dyn FnMut(&Expr<'a>)) {
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
