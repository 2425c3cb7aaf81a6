//! Running compiled templates, and turning the engine's errors into ours.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use minijinja::machinery::{
    self,
    ast::{Call, CallArg, Expr},
};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};

use super::compile::{Compiled, MAIN, Origin, TemplateFile};
use super::error::{TemplateError, TemplateErrorKind};
use super::lazy::{self, Root};
use super::rewrite;
use super::scope::Scope;
use super::touch;
use crate::source::Span;

/// What a template with statements printed: how many values, and the last of them.
#[derive(Default)]
struct Emitted {
    count: usize,
    last: Option<Value>,
}

thread_local! {
    static EMITTED: RefCell<Vec<Emitted>> = const { RefCell::new(Vec::new()) };
}

/// Prints a value as Ansible does: `None` and `omit` are empty, containers are Python's.
pub(super) fn format_value(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_none() || super::is_omit(value) {
        return Ok(());
    }
    if value.kind() == ValueKind::String {
        note_emitted(value);
        return out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from);
    }
    let plain = lazy::printable(value)?;
    note_emitted(&plain);
    out.write_str(&super::py::printed(&plain)).map_err(Error::from)
}

fn note_emitted(value: &Value) {
    EMITTED.with_borrow_mut(|stack| {
        if let Some(top) = stack.last_mut() {
            top.count += 1;
            top.last = Some(value.clone());
        }
    });
}

/// The variables for a template with statements.
fn root(scope: &Scope) -> Value {
    Value::from_object(Root(scope.clone(), Some(Arc::default())))
}

/// Runs a compiled template. The result is native, lazy, and may be undefined.
pub(super) fn run(compiled: &Compiled, scope: &Scope) -> Result<Value, Error> {
    match compiled {
        Compiled::Text(text) => Ok(text.clone()),
        Compiled::Expression { run, .. } => run.eval(Value::from_object(Root(scope.clone(), None))),
        Compiled::Template(file) => {
            EMITTED.with_borrow_mut(|stack| stack.push(Emitted::default()));
            let rendered = file.env.get_template(MAIN).and_then(|t| t.render(root(scope)));
            let emitted = EMITTED.with_borrow_mut(Vec::pop).unwrap_or_default();
            let text = rendered?;
            match emitted {
                // Ansible's templates return a lone value as it is, and nothing at all as none.
                Emitted { count: 1, last: Some(value) } if super::py::printed(&value) == text => Ok(value),
                Emitted { count: 0, .. } if text.is_empty() => Ok(Value::from(())),
                _ => Ok(Value::from(text)),
            }
        }
    }
}

/// Gives text its trailing newlines back: the engine takes one, the author meant it.
pub(super) fn restore_newlines(value: Value, source: &str, newline: &str) -> Value {
    let Some(text) = value.as_str() else { return value };
    let count = |s: &str| s.len() - s.trim_end_matches('\n').len();
    let (wanted, has) = (count(source), count(text));
    if wanted <= has {
        return value;
    }
    Value::from(format!("{text}{}", newline.repeat(wanted - has)))
}

/// The origin of a compiled template, for messages.
fn origin(compiled: &Compiled) -> Option<&Origin> {
    match compiled {
        Compiled::Text(_) => None,
        Compiled::Expression { origin, .. } => Some(origin),
        Compiled::Template(file) => Some(&file.origin),
    }
}

/// Where an error belongs.
pub(super) struct Site<'a> {
    /// The place of the value in a YAML file.
    pub span: Option<&'a Span>,
    /// The template file.
    pub file: Option<PathBuf>,
    /// Lines the file has before what was compiled (a header).
    pub skipped_lines: usize,
}

impl Site<'_> {
    pub const NOWHERE: Site<'static> = Site { span: None, file: None, skipped_lines: 0 };
}

/// Makes the engine's error ours: says what is undefined, where, and why; leaves values out.
pub(super) fn explain(err: &Error, compiled: &Compiled, scope: &Scope, site: &Site<'_>) -> TemplateError {
    if let Some(inner) = held(err) {
        let mut inner = inner.clone();
        if inner.span.is_none() && inner.file.is_none() {
            place(&mut inner, err, compiled, site, None);
        } else if let (Some(file), None) = (&site.file, &inner.file) {
            // The innermost place is kept; where it was used from is added.
            let line = err.line().map(|l| format!(":{l}")).unwrap_or_default();
            inner.because(format!("used in {}{line}", file.display()));
        }
        return inner;
    }
    // An error inside an included template is wrapped in one of the including.
    let mut root = err;
    while let Some(next) = std::error::Error::source(root).and_then(|s| s.downcast_ref::<Error>()) {
        root = next;
    }
    let mut known_place = None;
    let mut error = match root.kind() {
        _ if is_undefined(root) => {
            let (name, at) = undefined_name(root, compiled, scope);
            known_place = at;
            let mut error = TemplateError::new(TemplateErrorKind::Undefined, describe(&name, root.detail()));
            if let Undefined::Variable(name) | Undefined::Because(name, _) = &name {
                error.undefined = Some(name.as_str().into());
            }
            if let Undefined::Because(_, why) = &name {
                error.because(why.clone());
            }
            // Nothing is undefined in it but what it is not shown.
            if matches!((&name, compiled), (Undefined::Unnamed, Compiled::Template(_)))
                && root.name().is_some_and(|name| name != MAIN)
            {
                error.because(
                    "what is imported sees no variables of the play, unless it is imported `with context`".into(),
                );
            }
            error
        }
        ErrorKind::OutOfFuel => {
            TemplateError::new(TemplateErrorKind::Limit, "the template runs too long: endless loop?")
        }
        ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownTest => {
            TemplateError::new(TemplateErrorKind::Syntax, root.detail().unwrap_or("syntax error").to_owned())
        }
        kind => {
            let text = match root.detail() {
                Some(detail) if kind == ErrorKind::InvalidOperation => detail.to_owned(),
                Some(detail) => format!("{kind}: {detail}"),
                None => kind.to_string(),
            };
            TemplateError::runtime(text)
        }
    };
    place(&mut error, root, compiled, site, known_place);
    error
}

/// Our own error, if that is what the engine's error carries.
fn held(err: &Error) -> Option<&TemplateError> {
    let mut source = std::error::Error::source(err);
    while let Some(e) = source {
        if let Some(ours) = e.downcast_ref::<TemplateError>() {
            return Some(ours);
        }
        source = e.source();
    }
    None
}

/// Wraps our error in the engine's.
pub(super) fn wrap(error: TemplateError) -> Error {
    let kind = if error.is_undefined() { ErrorKind::UndefinedError } else { ErrorKind::InvalidOperation };
    Error::new(kind, error.message.clone()).with_source(error)
}

fn place(error: &mut TemplateError, err: &Error, compiled: &Compiled, site: &Site<'_>, known: Option<machinery::Span>) {
    let mut span = known;
    let mut file = site.file.clone();
    let mut skipped = site.skipped_lines;
    if let Some(origin) = origin(compiled) {
        let range = err.range();
        if let (Compiled::Template(t), Some(name)) = (compiled, err.name())
            && name != MAIN
        {
            if let Some((path, rewritten)) = t.included.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
                file = Some(path.clone());
                skipped = 0;
                span = span.or_else(|| range.and_then(|r| rewritten.place(r.start)));
            }
        } else {
            span = span.or_else(|| range.and_then(|r| origin.rewritten.place(r.start)));
        }
        if let (Some(place), Some(yaml), None) = (span, site.span, &file) {
            error.span = Some(part_of(yaml, &origin.source, place.start_offset as usize, place.end_offset as usize));
        }
    }
    if let Some(place) = span {
        error.set_line(Some(place.start_line as usize + skipped));
        error.set_column(Some(place.start_col as usize + 1));
        if place.end_line == place.start_line {
            error.set_length(place.end_offset.saturating_sub(place.start_offset) as usize);
        }
    } else {
        error.set_line(err.line().map(|l| l + skipped));
    }
    error.file = file;
    if error.span.is_none() {
        error.span = site.span.cloned();
    }
}

/// The part of a YAML value that an offset in its text means.
fn part_of(span: &Span, text: &str, start: usize, end: usize) -> Span {
    match span.text().find(text) {
        Some(at) if !text.is_empty() => span.part(at + start, at + end),
        _ => match (offset_as_written(span.text(), text, start), offset_as_written(span.text(), text, end)) {
            (Some(start), Some(end)) => span.part(start, end),
            _ => span.clone(),
        },
    }
}

/// Where in a scalar as it is written the byte `wanted` of its value stands: over indents, folded lines, escapes of
/// quotes and backslashes. Nothing where the two cannot be matched.
fn offset_as_written(written: &str, value: &str, wanted: usize) -> Option<usize> {
    let mut at = match written.starts_with(['|', '>']) {
        true => written.find('\n')? + 1, // the header of a block
        false => written.len() - written.trim_start_matches(['"', '\'']).len(),
    };
    for (offset, c) in value.char_indices() {
        loop {
            let rest = written.get(at..)?;
            let next = rest.chars().next()?;
            let escaped = ["''", "\\\"", "\\\\"].iter().any(|pair| rest.starts_with(pair) && pair.ends_with(c));
            // A folded line end is a blank of the value, and the indent of the line behind it is nothing.
            let folded = c == ' ' && next == '\n';
            if !escaped && !folded && next != c {
                if !next.is_whitespace() {
                    return None;
                }
                at += next.len_utf8();
                continue;
            }
            if offset >= wanted {
                return Some(at);
            }
            at += if escaped { 2 } else { next.len_utf8() };
            break;
        }
    }
    (wanted >= value.len()).then_some(at)
}

enum Undefined {
    /// No variable of this name.
    Variable(String),
    /// A variable whose own template met something undefined.
    Because(String, String),
    /// `a.b`: the type of `a`, and `b`.
    Attribute(String, &'static str, String),
    /// An inline `if` without `else`, or something else without a name.
    Unnamed,
}

fn describe(name: &Undefined, detail: Option<&str>) -> String {
    match name {
        Undefined::Variable(name) | Undefined::Because(name, _) => format!("'{name}' is undefined"),
        Undefined::Attribute(base, kind, key) => {
            format!("'{base}.{key}' is undefined: object of type '{kind}' has no attribute '{key}'")
        }
        Undefined::Unnamed => detail.unwrap_or(UNNAMED).to_owned(),
    }
}

/// What was undefined, and the place of the expression in the author's text.
type Named = (Undefined, Option<machinery::Span>);

/// Finds out what was undefined, from the author's text and the variables. Evaluates no template.
fn undefined_name(err: &Error, compiled: &Compiled, scope: &Scope) -> Named {
    let Some(origin) = origin(compiled) else { return (Undefined::Unnamed, None) };
    let (source, bare, place) = match (compiled, err.name()) {
        (Compiled::Template(t), Some(name)) if name != MAIN => {
            let included = t.included.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((path, rewritten)) = included.get(name) else { return (Undefined::Unnamed, None) };
            let place = err.range().and_then(|r| rewritten.place(r.start));
            (std::fs::read_to_string(path).unwrap_or_default(), false, place)
        }
        _ => {
            let place = err.range().and_then(|r| origin.rewritten.place(r.start));
            (origin.source.to_string(), origin.bare, place)
        }
    };
    // What is inside the failing part first; where that says nothing, everything.
    find_undefined(&source, bare, place, scope, true)
        .or_else(|| find_undefined(&source, bare, None, scope, true))
        .or_else(|| find_undefined(&source, bare, None, scope, false))
        .map_or((Undefined::Unnamed, place), |(found, at)| (found, Some(at)))
}

fn find_undefined(
    source: &str,
    bare: bool,
    within: Option<machinery::Span>,
    scope: &Scope,
    excuse: bool,
) -> Option<(Undefined, machinery::Span)> {
    let mut found = None;
    // Names that may be undefined where they stand: `x | default(…)`, `x is defined`.
    let mut excused: Vec<machinery::Span> = Vec::new();
    let mut visit = |e: &Expr<'_>, locals: &[String]| {
        let at = e.span();
        let part_of = |w: &machinery::Span| w.start_offset <= at.start_offset && at.end_offset <= w.end_offset;
        match e {
            Expr::Filter(f) if matches!(f.name, "default" | "d") => excused.extend(f.expr.iter().map(|e| e.span())),
            Expr::Test(t) if matches!(t.name, "defined" | "undefined") => excused.push(t.expr.span()),
            _ => {}
        }
        let inside = within.as_ref().is_none_or(part_of) && !(excuse && excused.iter().any(part_of));
        if found.is_none()
            && inside
            && let Some(undefined) = look(e, scope, locals)
        {
            found = Some((undefined, at));
        }
    };
    if bare {
        let expr = machinery::parse_expr(source).ok()?;
        rewrite::visit_expr(&expr, &mut |e| visit(e, &[]));
    } else {
        let root = machinery::parse(source, MAIN, Default::default()).ok()?;
        let locals = rewrite::local_names(&root);
        rewrite::visit_stmt(&root, &mut |e| visit(e, &locals));
    }
    found
}

fn look(expr: &Expr<'_>, scope: &Scope, locals: &[String]) -> Option<Undefined> {
    match expr {
        // A variable that is asked for by its name.
        Expr::Call(call) if matches!(&call.expr, Expr::Var(v) if matches!(v.id, "lookup" | "query" | "q")) => {
            let mut words = call.args.iter().filter_map(|arg| match arg {
                CallArg::Pos(value) => known_value(value, scope)?.as_str().map(str::to_owned),
                _ => None,
            });
            let named = words.next().is_some_and(|name| matches!(name.as_str(), "vars" | "ansible.builtin.vars"));
            if let Some(name) = touched_template(call, scope) {
                return Some(name);
            }
            words.find(|name| named && !scope.contains(name)).map(Undefined::Variable)
        }
        Expr::Var(v) => {
            if let Some(why) = touch::cause_of(v.id) {
                return Some(Undefined::Because(v.id.to_owned(), why));
            }
            let known = scope.contains(v.id)
                || super::globals::is_known(v.id)
                || matches!(v.id, "loop" | "self")
                || locals.iter().any(|l| l == v.id);
            (!known).then(|| Undefined::Variable(v.id.to_owned()))
        }
        Expr::GetAttr(a) => {
            let base = known_value(&a.expr, scope)?;
            missing(&a.expr, &base, a.name)
        }
        Expr::GetItem(g) => {
            let base = known_value(&g.expr, scope)?;
            let key = known_value(&g.subscript_expr, scope)?;
            missing(&g.expr, &base, key.as_str()?)
        }
        _ => None,
    }
}

/// The template of a lookup that came out undefined.
fn touched_template(call: &Call<'_>, scope: &Scope) -> Option<Undefined> {
    let word = |at: usize| match call.args.get(at)? {
        CallArg::Pos(value) => known_value(value, scope)?.as_str().map(str::to_owned),
        _ => None,
    };
    matches!(word(0)?.as_str(), "template" | "ansible.builtin.template").then_some(())?;
    let name = word(1)?;
    touch::cause_of(&name).map(|why| Undefined::Because(name, why))
}

/// Whether an error is about something undefined. The engine's arithmetic has a kind of its own for it.
pub(super) fn is_undefined(err: &Error) -> bool {
    err.kind() == ErrorKind::UndefinedError
        || (err.kind() == ErrorKind::InvalidOperation
            && err.detail().is_some_and(|d| d.starts_with("tried to use ") && d.contains("undefined")))
}

fn missing(base: &Expr<'_>, value: &Value, key: &str) -> Option<Undefined> {
    if value.is_undefined() || value.kind() == ValueKind::Invalid {
        return None;
    }
    let found = value.get_attr(key).ok()?;
    // It is there, and its own template came out undefined.
    if found.is_undefined()
        && let Some(why) = touch::cause_of(key)
        && value.try_iter().is_ok_and(|mut keys| keys.any(|k| k.as_str() == Some(key)))
    {
        return Some(Undefined::Because(format!("{}.{key}", chain(base)), why));
    }
    found.is_undefined().then(|| Undefined::Attribute(chain(base), super::py::type_name(value), key.to_owned()))
}

fn chain(expr: &Expr<'_>) -> String {
    match expr {
        Expr::Var(v) => v.id.to_owned(),
        Expr::GetAttr(a) => format!("{}.{}", chain(&a.expr), a.name),
        Expr::GetItem(g) => match &g.subscript_expr {
            Expr::Const(c) => format!("{}[{}]", chain(&g.expr), super::py::repr(&c.value)),
            Expr::Var(v) => format!("{}[{}]", chain(&g.expr), v.id),
            _ => format!("{}[…]", chain(&g.expr)),
        },
        _ => "…".to_owned(),
    }
}

/// The value of a chain of names, from plain variables only: nothing that runs a template or touches an unknown.
fn known_value(expr: &Expr<'_>, scope: &Scope) -> Option<Value> {
    use super::scope::Raw;
    match expr {
        Expr::Const(c) => Some(c.value.clone()),
        Expr::Var(v) => match scope.raw(v.id) {
            Some(Raw::Value(value)) => touch::unknowns_in(value).is_empty().then(|| value.clone()),
            Some(Raw::Node(node)) if !node.is_template() && !node.is_vault() => {
                Some(lazy::node_value(node, scope, None))
            }
            _ if v.id == "hostvars" => scope.value("hostvars"),
            _ => None,
        },
        Expr::GetAttr(a) => known_value(&a.expr, scope)?.get_attr(a.name).ok(),
        Expr::GetItem(g) => {
            let key = known_value(&g.subscript_expr, scope)?;
            known_value(&g.expr, scope)?.get_item(&key).ok()
        }
        _ => None,
    }
}

/// Says in one sentence why a variable's own template came out undefined.
pub(super) fn cause(compiled: &Compiled, scope: &Scope, err: Option<&Error>, span: Option<&Span>) -> String {
    let error = match err {
        Some(err) => explain(err, compiled, scope, &Site { span, file: None, skipped_lines: 0 }),
        None => undefined_result(compiled, scope, &Site { span, file: None, skipped_lines: 0 }),
    };
    let place = error.span.as_ref().filter(|s| !s.is_generated()).map(|s| format!(" (at {s})")).unwrap_or_default();
    let mut text = format!("{}{place}", error.message);
    for cause in &error.causes {
        text.push_str("; ");
        text.push_str(cause);
    }
    text
}

/// The error of an expression that evaluated to something undefined.
pub(super) fn undefined_result(compiled: &Compiled, scope: &Scope, site: &Site<'_>) -> TemplateError {
    let err = Error::from(ErrorKind::UndefinedError);
    let mut error = explain(&err, compiled, scope, site);
    if error.undefined.is_none()
        && error.message == UNNAMED
        && let Some(o) = origin(compiled)
    {
        let text = o.source.trim_start_matches(['{', '-', '+']).trim_end_matches(['}', '-', '+']).trim();
        error.message = format!("'{text}' is undefined");
    }
    error
}

const UNNAMED: &str = "a value is undefined";

/// Whether a template could be cached and used with any base directory: it includes nothing.
pub(super) fn stands_alone(text: &str) -> bool {
    !["include", "import", "extends"].iter().any(|word| text.contains(word))
}

/// Renders a file's template.
pub(super) fn render(file: &TemplateFile, scope: &Scope) -> Result<String, Error> {
    file.env.get_template(MAIN).and_then(|t| t.render(root(scope)))
}
