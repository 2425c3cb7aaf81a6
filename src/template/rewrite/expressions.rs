//! Expressions, written out again.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Writer, walk};
use crate::template::{held, methods};
use minijinja::machinery::ast::{self, BinOpKind, CallArg, CompareOpKind, Expr, Spanned, UnaryOpKind};
use minijinja::value::{Value, ValueKind};

impl Writer<'_> {
    /// The filters of `{% filter a | b(1) %}` and `{% set x | a %}`: a chain without an operand.
    pub(super) fn filter_chain(&mut self, expr: &Expr<'_>) {
        if let Expr::Filter(f) = expr {
            if let Some(inner) = &f.expr {
                self.filter_chain(inner);
                self.out.push_str(" | ");
            }
            self.out.push_str(f.name);
            self.held = held::chooses(f.name);
            self.arguments(&f.args, None);
        }
    }

    pub(super) fn arguments(&mut self, args: &[CallArg<'_>], first: Option<&dyn Fn(&mut Writer)>) {
        let held = std::mem::take(&mut self.held);
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
                CallArg::Pos(e) => {
                    self.held = held && matches!(e, Expr::Call(_));
                    self.expr(e, true);
                }
                CallArg::Kwarg(name, e) => {
                    self.out.push_str(name);
                    self.out.push('=');
                    self.held = held && matches!(e, Expr::Call(_));
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

    pub(super) fn call(&mut self, call: &Spanned<ast::Call<'_>>, tolerant: bool) {
        let held = std::mem::take(&mut self.held);
        match &call.expr {
            Expr::Var(v) => {
                self.out.push_str(held::name_of(v.id).filter(|_| held).unwrap_or(v.id));
                if v.id == "namespace" && self.mutable {
                    self.mutable_arguments(&call.args);
                    return;
                }
            }
            Expr::GetAttr(a) => {
                // What has no name is nobody else's, and can change.
                if walk::is_mutating(a.name) && walk::base(&a.expr).is_none() {
                    self.out.push_str("__mutable(");
                    self.expr(&a.expr, tolerant);
                    self.out.push_str(").");
                    self.out.push_str(a.name);
                    self.out.push_str(if call.args.is_empty() { "()" } else { "" });
                    self.arguments(&call.args, None);
                    return;
                }
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

    pub(super) fn mutable_arguments(&mut self, args: &[CallArg<'_>]) {
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
    pub(super) fn operand(&mut self, expr: &Expr<'_>, tolerant: bool) {
        if is_postfix(expr) || is_filtered(expr) {
            self.expr(expr, tolerant);
        } else {
            self.parenthesised(expr, tolerant);
        }
    }

    /// What becomes text: of an inline `if` without `else` whose condition is false, nothing.
    pub(super) fn printed(&mut self, expr: &Expr<'_>) {
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

    /// An operand that is looked at: an inline `if` without `else` whose condition is false is nothing, as Jinja has it,
    /// and no error as a variable that is undefined.
    fn looked_at(&mut self, expr: &Expr<'_>, tolerant: bool) {
        let Expr::IfExpr(i) = expr else { return self.operand(expr, tolerant) };
        self.places.push((self.out.len() as u32, expr.span()));
        self.inline_if(i, tolerant, |w, otherwise| match otherwise {
            Some(e) => w.looked_at(e, tolerant),
            None => w.out.push_str("\"\""),
        });
    }

    fn inline_if(&mut self, i: &ast::IfExpr<'_>, tolerant: bool, otherwise: impl FnOnce(&mut Self, Option<&Expr<'_>>)) {
        self.out.push('(');
        self.operand(&i.true_expr, tolerant);
        self.out.push_str(" if ");
        self.operand(&i.test_expr, false);
        self.out.push_str(" else ");
        otherwise(self, i.false_expr.as_ref());
        self.out.push(')');
    }

    /// What `.`, `[` or `(` follows; these would become part of a filter's name.
    pub(super) fn base(&mut self, expr: &Expr<'_>, tolerant: bool) {
        if is_postfix(expr) && !(tolerant && gets_filtered(expr)) {
            self.expr(expr, tolerant);
        } else {
            self.parenthesised(expr, tolerant);
        }
    }

    pub(super) fn parenthesised(&mut self, expr: &Expr<'_>, tolerant: bool) {
        self.out.push('(');
        self.expr(expr, tolerant);
        self.out.push(')');
    }

    /// Writes one expression. `tolerant`: the place accepts an undefined value without looking at it.
    pub(super) fn expr(&mut self, expr: &Expr<'_>, tolerant: bool) {
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
                    UnaryOpKind::Not => self.looked_at(&u.expr, false),
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
            Expr::IfExpr(i) => self.inline_if(i, tolerant, |w, otherwise| match otherwise {
                Some(e) => w.operand(e, tolerant),
                None => w.out.push_str("__undefined()"),
            }),
            Expr::Filter(f) => {
                if let Some(inner) = &f.expr {
                    match f.name.rsplit('.').next() {
                        // They ask whether it is defined.
                        Some("default" | "d" | "mandatory" | "ternary" | "type_debug") => self.operand(inner, true),
                        _ => self.looked_at(inner, true),
                    }
                    self.out.push('|');
                }
                self.places.push((self.out.len() as u32, expr.span()));
                self.out.push_str(f.name);
                self.held = held::chooses(f.name);
                self.arguments(&f.args, None);
            }
            Expr::Test(t) if self.answered(t) => {}
            Expr::Test(t) => {
                self.out.push('(');
                self.operand(&t.expr, true);
                self.out.push_str(" is ");
                self.places.push((self.out.len() as u32, expr.span()));
                self.out.push_str(t.name);
                self.arguments(&t.args, None);
                self.out.push(')');
            }
            // A method of a dictionary comes before a key of its name.
            Expr::GetAttr(a) if methods::of_dictionary(a.name) && !is_special(&a.expr) => {
                self.operand(&a.expr, true);
                self.out.push_str("|__method(");
                self.string(a.name);
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
                let keys: Vec<Option<f64>> = m.keys.iter().map(|key| number(constant(key)?)).collect();
                for (i, (key, value)) in distinct(&keys, &m.keys, &m.values).into_iter().enumerate() {
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

    /// Writes what is to be said of a test whose value alone does not say it: whether a variable is vaulted, which its
    /// value is no more, and whether the number of a variable is one of the template's own, which it never is.
    fn answered(&mut self, test: &ast::Test<'_>) -> bool {
        let other = match test.args.as_slice() {
            [CallArg::Pos(other)] => Some(other),
            _ => None,
        };
        let number = |expr: &Expr<'_>| constant(expr).is_some_and(|c| c.kind() == ValueKind::Number);
        match (test.name, names(&test.expr), other) {
            ("vault_encrypted" | "ansible.builtin.vault_encrypted", Some(names), None) => {
                self.out.push_str("__vaulted(");
                for name in names {
                    self.string(&name);
                    self.out.push_str(", ");
                }
                self.out.push(')');
                true
            }
            // What is written out is an object of its own each time.
            ("sameas", _, Some(other)) if is_collection(&test.expr) || is_collection(other) => {
                self.out.push('(');
                self.operand(&test.expr, true);
                self.out.push_str(" is __never)");
                true
            }
            ("sameas", Some(_), Some(other)) if number(other) && !self.statements => {
                self.out.push('(');
                self.operand(&test.expr, true);
                self.out.push_str(" is __never)");
                true
            }
            _ => false,
        }
    }

    pub(super) fn binary(&mut self, b: &ast::BinOp<'_>) {
        let symbol = match b.op {
            BinOpKind::Rem => return self.as_filter(b, "|__mod("),
            BinOpKind::Concat => return self.as_filter(b, "|__concat("),
            BinOpKind::Sub => return self.as_filter(b, "|__sub("),
            // The engine adds no dates.
            BinOpKind::Add if may_be_date(&b.left) && may_be_date(&b.right) => return self.as_filter(b, "|__add("),
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
            left if logical => self.looked_at(left, false),
            left => self.operand(left, false),
        }
        self.out.push(' ');
        self.out.push_str(symbol);
        self.out.push(' ');
        if matches!(b.op, BinOpKind::Pow) {
            self.parenthesised(&b.right, false);
        } else if logical {
            self.looked_at(&b.right, true);
        } else {
            self.operand(&b.right, false);
        }
    }

    /// An operator that has become a filter.
    pub(super) fn as_filter(&mut self, b: &ast::BinOp<'_>, filter: &str) {
        if matches!(b.op, BinOpKind::Concat) {
            self.looked_at(&b.left, false);
            self.out.push_str(filter);
            self.looked_at(&b.right, false);
        } else {
            self.operand(&b.left, false);
            self.out.push_str(filter);
            self.expr(&b.right, false);
        }
        self.out.push(')');
    }

    pub(super) fn comparison(&mut self, left: &Expr<'_>, op: CompareOpKind, right: &Expr<'_>) {
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

    pub(super) fn string(&mut self, text: &str) {
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

    pub(super) fn constant(&mut self, value: &Value) {
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
                let keys: Vec<Value> = value.try_iter().into_iter().flatten().collect();
                let values: Vec<Value> = keys.iter().map(|key| value.get_item(key).unwrap_or_default()).collect();
                let numbers: Vec<Option<f64>> = keys.iter().map(number).collect();
                for (key, value) in distinct(&numbers, &keys, &values) {
                    self.constant(key);
                    self.out.push_str(": ");
                    self.constant(value);
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

/// The value of a constant.
fn constant<'e>(expr: &'e Expr<'_>) -> Option<&'e Value> {
    match expr {
        Expr::Const(c) => Some(&c.value),
        _ => None,
    }
}

/// What a key is as a number: truth values are ones.
fn number(key: &Value) -> Option<f64> {
    match key.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(key.is_true()))),
        ValueKind::Number => f64::try_from(key.clone()).ok(),
        _ => None,
    }
}

/// The pairs of a literal, of which Python takes keys that are one number for one: the first key, with the last value.
fn distinct<'p, K, V>(numbers: &[Option<f64>], keys: &'p [K], values: &'p [V]) -> Vec<(&'p K, &'p V)> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let mut pairs = Vec::with_capacity(keys.len());
    for (number, (key, value)) in numbers.iter().zip(keys.iter().zip(values)) {
        // Where its number stands already, or where it will.
        let at = number.map_or(pairs.len(), |number| *seen.entry(number.to_bits()).or_insert(pairs.len()));
        match pairs.get_mut(at) {
            Some((_, old)) => *old = value,
            None => pairs.push((key, value)),
        }
    }
    pairs
}

/// The names of a chain `a.b['c']`.
fn names<'e>(expr: &Expr<'e>) -> Option<Vec<Cow<'e, str>>> {
    match expr {
        Expr::Var(v) => Some(vec![Cow::Borrowed(v.id)]),
        Expr::GetAttr(a) => {
            let mut found = names(&a.expr)?;
            found.push(Cow::Borrowed(a.name));
            Some(found)
        }
        Expr::GetItem(g) => {
            let mut found = names(&g.expr)?;
            found.push(Cow::Owned(constant(&g.subscript_expr)?.as_str()?.to_owned()));
            Some(found)
        }
        _ => None,
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
        Expr::BinOp(b) if matches!(b.op, BinOpKind::Add) => may_be_date(expr),
        Expr::BinOp(b) => matches!(b.op, BinOpKind::Rem | BinOpKind::Concat | BinOpKind::Sub),
        _ => false,
    }
}

/// A list, tuple or dictionary that is written out.
fn is_collection(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::List(_) | Expr::Map(_) | Expr::Tuple(_) => true,
        Expr::Const(c) => matches!(c.value.kind(), ValueKind::Seq | ValueKind::Map),
        _ => false,
    }
}

/// Whether an expression may be a date or a difference of dates: a literal is none, nor is what has one added.
fn may_be_date(expr: &Expr<'_>) -> bool {
    match expr {
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_) | Expr::IfExpr(_) => true,
        Expr::Filter(f) => !matches!(
            f.name,
            "list" | "string" | "int" | "float" | "join" | "length" | "sort" | "map" | "select" | "reject"
        ),
        Expr::BinOp(b) => match b.op {
            BinOpKind::Add | BinOpKind::Sub => may_be_date(&b.left) && may_be_date(&b.right),
            BinOpKind::ScAnd | BinOpKind::ScOr => true,
            _ => false,
        },
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
