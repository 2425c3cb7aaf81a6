//! Functions that every template can call: `lookup`, `query`, `now`, `undef`, `omit`, and those the rewrite uses.

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};

use super::args::{Args, R, fail, items, pairs};
use super::lazy::{self, SCOPE_KEY, ScopeHandle};
use super::scope::Scope;

/// Names that are no variables.
const NAMES: &[&str] = &[
    "range",
    "dict",
    "namespace",
    "lookup",
    "query",
    "q",
    "now",
    "undef",
    "omit",
    "lipsum",
    "cycler",
    "joiner",
    "super",
    "caller",
    "varargs",
    "kwargs",
];

/// Whether a name is one of the functions.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with("__")
}

/// The scope that a template runs in.
pub(super) fn scope_of(state: &State<'_, '_>) -> Result<Scope, Error> {
    state
        .lookup(SCOPE_KEY)
        .and_then(|v| v.downcast_object_ref::<ScopeHandle>().map(|h| h.0.clone()))
        .ok_or_else(|| fail("this cannot be used here: there are no variables"))
}

/// Adds the functions to an environment.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_global("omit", super::omit());
    env.add_global("True", true);
    env.add_global("False", false);
    env.add_global("None", Value::from(()));
    env.remove_global("debug");
    env.add_function("dict", dict);
    env.add_function("range", super::range::range);
    env.add_function("cycler", super::cycler::cycler);
    env.add_function("lipsum", super::cycler::lipsum);
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    env.add_function("now", super::time::now);
    env.add_function("undef", |_: Rest<ValueOrKwargs>| Value::UNDEFINED);
    env.add_function("__undefined", || Value::UNDEFINED);
    env.add_function("__mutable", |value: Value| super::mutable::thaw(value, 0));
    super::own::register(env);
    super::held::register(env);
    env.add_function("__cat", |values: Rest<Value>| cat(&values));
    env.add_function("__template", embedded);
    env.add_function("__iterable", iterable);
    env.add_function("lookup", |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
        super::lookups::call(state, Args::new("lookup", values)?, false)
    });
    for name in ["query", "q"] {
        env.add_function(name, |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
            super::lookups::call(state, Args::new("query", values)?, true)
        });
    }
}

/// Concatenates the parts of a template: nothing is left of `None`, a lone part stays what it is.
fn cat(values: &[Value]) -> R {
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        if value.is_undefined() {
            return Err(Error::from(ErrorKind::UndefinedError));
        }
        if !value.is_none() && !super::is_omit(value) {
            parts.push(value);
        }
    }
    match parts.as_slice() {
        [] => Ok(Value::from(())),
        [one] => Ok((*one).clone()),
        many => {
            let mut out = String::new();
            for part in many {
                out.push_str(&lazy::printed(part)?);
            }
            Ok(Value::from(out))
        }
    }
}

/// A string constant in an expression that is a template itself.
fn embedded(state: &mut State<'_, '_>, text: String) -> R {
    let scope = scope_of(state)?;
    let templar = scope.templar().clone();
    templar.warn("a string constant in an expression holds a template; use the variable itself instead");
    templar.final_text(&text, &scope, None, false).map_err(super::engine::wrap)
}

/// What a `for` goes over: nothing else is iterable in Python.
fn iterable(value: Value) -> R {
    match value.kind() {
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::String => Ok(Value::from(items(&value, "for")?)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => Ok(value),
        _ => Err(fail(format!("'{}' object is not iterable", super::py::type_name(&value)))),
    }
}

fn dict(values: Rest<ValueOrKwargs>) -> R {
    let args = Args::new("dict", values)?;
    let mut out: Vec<(Value, Value)> = Vec::new();
    if let Some(first) = args.get(0, "") {
        match first.kind() {
            ValueKind::Map => out.extend(pairs(&first).unwrap_or_default()),
            _ => {
                for pair in items(&first, "dict")? {
                    let pair = items(&pair, "dict")?;
                    match pair.as_slice() {
                        [k, v] => out.push((k.clone(), v.clone())),
                        _ => return Err(fail("dict: an item is not a pair")),
                    }
                }
            }
        }
    }
    out.extend(args.named().iter().map(|(k, v)| (Value::from(k.as_str()), v.clone())));
    Ok(Value::from_pairs(out))
}
