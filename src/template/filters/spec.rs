//! Arguments as the filters of `ansible.utils` check them: against a declaration, as a module's. Text is made of whatever
//! is no text, numbers are read out of it, and an argument that is not declared is an error; one too many by position is
//! passed over.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use crate::template::args::{Args, boolean, fail, is_list, items, pairs};
use crate::template::py;

fn unfit(args: &Args, name: &str, kind: &str) -> Error {
    fail(format!("{}: the argument '{name}' must be {kind}", args.name()))
}

/// Fails on named arguments that are not declared.
pub(super) fn declared(args: &Args, names: &[&str]) -> Result<(), Error> {
    args.only(usize::MAX, names)
}

/// How deep a value is that filters go down into.
const DEEPEST: usize = 400;

/// Fails on a value that is nested deeper than anybody writes: each level is a call of the filter in itself.
pub(super) fn shallow(args: &Args, data: &Value) -> Result<(), Error> {
    let mut todo = vec![(data.clone(), 0)];
    while let Some((value, depth)) = todo.pop() {
        if depth > DEEPEST {
            return Err(fail(format!("{}: the value is nested deeper than {DEEPEST} levels", args.name())));
        }
        match pairs(&value) {
            Some(pairs) => todo.extend(pairs.into_iter().map(|(_, value)| (value, depth + 1))),
            None if is_list(&value) => {
                todo.extend(items(&value, args.name())?.into_iter().map(|value| (value, depth + 1)));
            }
            None => {}
        }
    }
    Ok(())
}

/// Text that must be given. None is as good as an empty one.
pub(super) fn text(args: &Args, at: usize, name: &str) -> Result<String, Error> {
    let value = args.need(at, name)?;
    Ok(if value.is_none() { String::new() } else { py::str(&value) })
}

/// An integer: a number without a fraction, or the text of one.
pub(super) fn int(args: &Args, at: usize, name: &str) -> Result<Option<i64>, Error> {
    let Some(value) = args.some(at, name) else { return Ok(None) };
    let whole = match value.kind() {
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone()).is_ok_and(|f| f.fract() == 0.0),
        _ => true,
    };
    if !whole {
        return Err(unfit(args, name, "an integer"));
    }
    args.int(at, name)
}

/// A flag; text says `yes` and `no`, too.
pub(super) fn flag(args: &Args, at: usize, name: &str) -> Result<bool, Error> {
    match args.some(at, name) {
        None => Ok(false),
        Some(value) => boolean(&value).ok_or_else(|| unfit(args, name, "a boolean")),
    }
}

/// A list that must be given. Text is one with commas, a number is its only item.
pub(super) fn list(args: &Args, at: usize, name: &str) -> Result<Vec<Value>, Error> {
    let value = args.need(at, name)?;
    match value.kind() {
        _ if is_list(&value) => items(&value, args.name()),
        ValueKind::String => Ok(py::str(&value).split(',').map(Value::from).collect()),
        ValueKind::Number | ValueKind::Bool => Ok(vec![Value::from(py::str(&value))]),
        _ => Err(unfit(args, name, "a list")),
    }
}

/// A list of texts that must be given.
pub(super) fn texts(args: &Args, at: usize, name: &str) -> Result<Vec<String>, Error> {
    let text =
        |item: &Value| if item.is_none() { Err(unfit(args, name, "a list of texts")) } else { Ok(py::str(item)) };
    list(args, at, name)?.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(value: Value) -> Args {
        Args::from_values("filter", vec![value]).unwrap()
    }

    #[test]
    fn values_become_what_is_declared() {
        assert_eq!(text(&args(Value::from(5)), 0, "a").unwrap(), "5");
        assert_eq!(text(&args(Value::from(())), 0, "a").unwrap(), "");
        assert_eq!(int(&args(Value::from("12")), 0, "a").unwrap(), Some(12));
        assert_eq!(int(&args(Value::from(2.0)), 0, "a").unwrap(), Some(2));
        assert!(int(&args(Value::from(2.5)), 0, "a").is_err());
        assert_eq!(texts(&args(Value::from("a,b")), 0, "a").unwrap(), ["a", "b"]);
        assert_eq!(texts(&args(Value::from(3)), 0, "a").unwrap(), ["3"]);
        assert!(list(&args(Value::from(())), 0, "a").is_err());
        assert!(flag(&args(Value::from("yes")), 0, "a").unwrap());
        assert!(flag(&args(Value::from("perhaps")), 0, "a").is_err());
    }
}
