//! Arguments of filters, tests and functions, by position or by name, with Python's conversions.

use std::borrow::Cow;

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

/// The zeros of the scripts that have ten digits of their own.
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0,
    0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0,
    0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// The text with the digits of other scripts as those of ASCII, as Python reads numbers.
pub(super) fn ascii_digits(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let digit = |c: char| {
        let code = u32::from(c);
        let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
        char::from_digit(code - zero, 10)
    };
    Cow::Owned(text.chars().map(|c| digit(c).unwrap_or(c)).collect())
}

/// An integer out of a number, a boolean or text.
pub(super) fn to_int(value: &Value) -> Option<i64> {
    match value.kind() {
        ValueKind::Bool => Some(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value.as_i64(),
        ValueKind::Number => f64::try_from(value.clone()).ok().map(|f| f.trunc() as i64),
        ValueKind::String => ascii_digits(value.as_str()?.trim()).parse().ok(),
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
        ValueKind::String => ascii_digits(value.as_str()?.trim()).replace('_', "").parse().ok(),
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
