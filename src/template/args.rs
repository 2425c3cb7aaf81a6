//! Arguments of filters, tests and functions, by position or by name, with Python's conversions.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind};

/// What a filter, test or function returns.
pub(super) type R = Result<Value, Error>;

/// A failure with a message that holds no value.
pub(super) fn fail(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// The arguments of one call.
pub(super) struct Args {
    name: &'static str,
    pos: Vec<Value>,
    kw: Vec<(String, Value)>,
}

impl Args {
    /// Takes apart what the engine passes.
    pub fn new(name: &'static str, values: Rest<ValueOrKwargs>) -> Result<Self, Error> {
        Self::from_values(name, values.into_values())
    }

    /// Takes apart positional values, of which the last may hold the named ones.
    pub fn from_values(name: &'static str, mut pos: Vec<Value>) -> Result<Self, Error> {
        let mut kw = Vec::new();
        if pos.last().is_some_and(Value::is_kwargs)
            && let Some(last) = pos.pop()
        {
            let kwargs = Kwargs::try_from(last)?;
            for key in kwargs.args() {
                kw.push((key.to_owned(), kwargs.peek::<Value>(key)?));
            }
        }
        Ok(Args { name, pos, kw })
    }

    /// The first undefined argument.
    pub fn has_undefined(&self) -> bool {
        self.pos.iter().chain(self.kw.iter().map(|(_, v)| v)).any(Value::is_undefined)
    }

    /// What the filter or test is applied to.
    pub fn value(&self) -> Value {
        self.pos.first().cloned().unwrap_or_default()
    }

    /// Positional arguments from the `from`th on.
    pub fn rest(&self, from: usize) -> &[Value] {
        self.pos.get(from..).unwrap_or_default()
    }

    /// All named arguments.
    pub fn named(&self) -> &[(String, Value)] {
        &self.kw
    }

    /// The argument at a position (the value itself is 0) or of a name.
    pub fn get(&self, at: usize, name: &str) -> Option<Value> {
        if let Some(value) = self.pos.get(at) {
            return Some(value.clone());
        }
        self.kw.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone())
    }

    /// Like [`Args::get`], but none counts as absent.
    pub fn some(&self, at: usize, name: &str) -> Option<Value> {
        self.get(at, name).filter(|v| !v.is_none())
    }

    /// A mandatory argument.
    pub fn need(&self, at: usize, name: &str) -> R {
        self.get(at, name).ok_or_else(|| fail(format!("{}: the argument '{name}' is missing", self.name)))
    }

    /// A flag.
    pub fn flag(&self, at: usize, name: &str, default: bool) -> bool {
        self.get(at, name).map_or(default, |v| v.is_true())
    }

    /// Text.
    pub fn text(&self, at: usize, name: &str) -> Option<String> {
        self.some(at, name).map(|v| super::py::str(&v))
    }

    /// Mandatory text.
    pub fn need_text(&self, at: usize, name: &str) -> Result<String, Error> {
        self.need(at, name).map(|v| super::py::str(&v))
    }

    /// An integer.
    pub fn int(&self, at: usize, name: &str) -> Result<Option<i64>, Error> {
        match self.some(at, name) {
            None => Ok(None),
            Some(v) => to_int(&v)
                .map(Some)
                .ok_or_else(|| fail(format!("{}: the argument '{name}' must be an integer", self.name))),
        }
    }

    /// Fails on named arguments that the filter does not know, and on too many positional ones.
    pub fn only(&self, max: usize, names: &[&str]) -> Result<(), Error> {
        if self.pos.len() > max {
            return Err(fail(format!("{}: too many arguments", self.name)));
        }
        match self.kw.iter().find(|(k, _)| !names.contains(&k.as_str())) {
            Some((k, _)) => Err(fail(format!("{}: unknown argument '{k}'", self.name))),
            None => Ok(()),
        }
    }

    /// The items of the value: an error unless it can be iterated.
    pub fn items(&self) -> Result<Vec<Value>, Error> {
        items(&self.value(), self.name)
    }

    /// The name, for messages.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The items of something; a dictionary's are its keys, a string's its characters.
pub(super) fn items(value: &Value, who: &str) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String => {
            value.try_iter()?.checked().collect()
        }
        ValueKind::Bytes => Ok(value.as_bytes().unwrap_or_default().iter().map(|byte| Value::from(*byte)).collect()),
        _ => Err(fail(format!("{who}: '{}' object is not iterable", super::py::type_name(value)))),
    }
}

/// Whether something is a list or tuple.
pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// An integer out of a number, a boolean or text.
pub(super) fn to_int(value: &Value) -> Option<i64> {
    match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.as_i64(),
        ValueKind::Number => f64::try_from(value.clone()).ok().map(|f| f.trunc() as i64),
        ValueKind::String => value.as_str()?.trim().parse().ok(),
        _ => None,
    }
}

/// A float out of a number, a boolean or text.
pub(super) fn to_float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => {
            f64::try_from(value.clone()).ok().or_else(|| i128::try_from(value.clone()).ok().map(|i| i as f64))
        }
        ValueKind::String => value.as_str()?.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

/// The pairs of a dictionary.
pub(super) fn pairs(value: &Value) -> Option<Vec<(Value, Value)>> {
    if value.kind() != ValueKind::Map {
        return None;
    }
    Some(value.as_object()?.try_iter_pairs()?.collect())
}

/// `true`, `yes`, `on`, `1`, `t`, `y` and their opposites, as module arguments are read.
pub(super) fn boolean(value: &Value) -> Option<bool> {
    match value.kind() {
        ValueKind::Bool => Some(value.is_true()),
        ValueKind::Number => match to_float(value)? {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        },
        ValueKind::String => crate::source::parse_bool(value.as_str()?),
        _ => None,
    }
}
