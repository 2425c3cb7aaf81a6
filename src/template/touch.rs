//! Which unknown and pending values an evaluation touched: recorded by access, not by value.
//!
//! While an expression is evaluated, a recorder of this thread is active. Whoever hands out something that is not
//! known records it and returns an error value, so that the evaluation stops there; the evaluation then is Unknown
//! or Pending whatever it would have returned. Outside an evaluation nothing is recorded.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};

/// An unknown value that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UnknownTouch {
    /// What was looked at: `result.stdout`.
    pub path: String,
    /// Why it is not known.
    pub reason: String,
}

/// What an evaluation looked at that is not known, or not known yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Values that cannot be predicted.
    pub unknown: Vec<UnknownTouch>,
    /// Tasks whose result is still awaited, by the number the engine gave in `Raw::Pending`.
    pub pending: Vec<u64>,
}

impl Touched {
    /// Whether the evaluation can be trusted: nothing unknown or pending was touched.
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.pending.is_empty()
    }

    /// Adds what another evaluation touched.
    pub fn merge(&mut self, other: Touched) {
        for touch in other.unknown {
            if !self.unknown.contains(&touch) {
                self.unknown.push(touch);
            }
        }
        for id in other.pending {
            if !self.pending.contains(&id) {
                self.pending.push(id);
            }
        }
    }
}

#[derive(Default)]
struct Recorder {
    active: usize,
    touched: Touched,
    /// Variables whose own template met something undefined: name and message, for the error of the outer one.
    causes: Vec<(String, String)>,
    /// Template strings being evaluated: (address of the text, address of the scope).
    nesting: Vec<(usize, usize)>,
}

thread_local! {
    static RECORDER: RefCell<Recorder> = RefCell::new(Recorder::default());
}

/// Runs `f` with a recorder and returns what it touched. Nested calls share the outermost recorder, and only the
/// outermost one gets the record.
pub(super) fn recording<T>(f: impl FnOnce() -> T) -> (T, Option<Touched>) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            RECORDER.with_borrow_mut(|r| r.active = r.active.saturating_sub(1));
        }
    }
    let outermost = RECORDER.with_borrow_mut(|r| {
        r.active += 1;
        if r.active == 1 {
            r.touched = Touched::default();
            r.causes.clear();
            r.nesting.clear();
        }
        r.active == 1
    });
    let leave = Leave;
    let value = f();
    drop(leave);
    let touched = outermost.then(|| RECORDER.with_borrow_mut(|r| std::mem::take(&mut r.touched)));
    (value, touched)
}

/// Records that an unknown value was looked at, and returns the value that stops the evaluation.
pub(super) fn touch_unknown(path: &str, reason: &str) -> Value {
    RECORDER.with_borrow_mut(|r| {
        if r.active > 0 {
            let touch = UnknownTouch { path: path.to_owned(), reason: reason.to_owned() };
            if !r.touched.unknown.contains(&touch) {
                r.touched.unknown.push(touch);
            }
        }
    });
    Value::from(Error::new(ErrorKind::InvalidOperation, format!("'{path}' is not known: {reason}")))
}

/// Records that a task's result is awaited, and returns the value that stops the evaluation.
pub(super) fn touch_pending(name: &str, id: u64) -> Value {
    RECORDER.with_borrow_mut(|r| {
        if r.active > 0 && !r.touched.pending.contains(&id) {
            r.touched.pending.push(id);
        }
    });
    Value::from(Error::new(ErrorKind::InvalidOperation, format!("'{name}' is not known yet")))
}

/// Notes why a variable turned out undefined.
pub(super) fn note_cause(name: &str, message: String) {
    RECORDER.with_borrow_mut(|r| {
        r.causes.retain(|(n, _)| n != name);
        r.causes.push((name.to_owned(), message));
    });
}

/// Why a variable turned out undefined in this evaluation.
pub(super) fn cause_of(name: &str) -> Option<String> {
    RECORDER.with_borrow(|r| r.causes.iter().find(|(n, _)| n == name).map(|(_, m)| m.clone()))
}

/// How entering a template string inside another one went.
pub(super) enum Entered {
    /// Entered; leave with [`leave`].
    Yes,
    /// This very string is being evaluated already.
    Loop,
    /// Strings are nested too deeply.
    TooDeep,
}

/// Variables that refer to variables, at most so deep.
pub(super) const MAX_NESTING: usize = 60;

/// Enters the template string at `text` in the scope at `scope`.
pub(super) fn enter(text: usize, scope: usize) -> Entered {
    RECORDER.with_borrow_mut(|r| {
        if r.nesting.contains(&(text, scope)) {
            return Entered::Loop;
        }
        if r.nesting.len() >= MAX_NESTING {
            return Entered::TooDeep;
        }
        r.nesting.push((text, scope));
        Entered::Yes
    })
}

/// Leaves the template string entered last.
pub(super) fn leave() {
    RECORDER.with_borrow_mut(|r| {
        r.nesting.pop();
    });
}

/// A value of which nothing is known, such as the result of a command that a check did not run. Holding it is
/// harmless; reading an attribute, iterating, printing or testing it records a touch.
#[derive(Clone)]
pub(super) struct Unknown {
    pub path: Arc<str>,
    pub reason: Arc<str>,
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        touch_unknown(&self.path, &self.reason);
        f.write_str("<unknown>")
    }
}

impl Object for Unknown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let path = match key.as_str() {
            Some(k) => format!("{}.{k}", self.path),
            None => format!("{}[{key}]", self.path),
        };
        Some(touch_unknown(&path, &self.reason))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        touch_unknown(&self.path, &self.reason);
        Enumerator::Empty
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        touch_unknown(&self.path, &self.reason);
        Some(0)
    }

    fn is_true(self: &Arc<Self>) -> bool {
        touch_unknown(&self.path, &self.reason);
        true
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        touch_unknown(&self.path, &self.reason);
        f.write_str("<unknown>")
    }

    fn custom_cmp(self: &Arc<Self>, _other: &DynObject) -> Option<std::cmp::Ordering> {
        touch_unknown(&self.path, &self.reason);
        None
    }
}

/// A result of which some keys are known and others are not.
pub(super) struct Partial {
    pub path: Arc<str>,
    pub known: IndexMap<Arc<str>, Value>,
    /// Unknown keys, each with its reason.
    pub unknown: IndexMap<Arc<str>, Arc<str>>,
}

impl Partial {
    fn touch_all(&self) {
        for (key, reason) in &self.unknown {
            touch_unknown(&format!("{}.{key}", self.path), reason);
        }
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.touch_all();
        f.debug_map().entries(self.known.iter()).finish()
    }
}

impl Object for Partial {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if let Some(reason) = self.unknown.get(key) {
            return Some(touch_unknown(&format!("{}.{key}", self.path), reason));
        }
        self.known.get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.touch_all();
        Enumerator::Values(self.known.keys().chain(self.unknown.keys()).map(Value::from).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.known.len() + self.unknown.len())
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// A value of which nothing is known. `path` names it in messages.
pub fn unknown_value(path: &str, reason: &str) -> Value {
    Value::from_object(Unknown { path: path.into(), reason: reason.into() })
}

/// A result of which the keys in `unknown` are not known, all for the same reason. `path` names it in messages:
/// the name it is registered under. `stat.size` is a key of the mapping `stat`.
pub fn result_with_unknown<'a>(
    path: &str,
    known: impl IntoIterator<Item = (Arc<str>, Value)>,
    unknown: impl IntoIterator<Item = &'a str>,
    reason: &str,
) -> Value {
    let mut whole: IndexMap<Arc<str>, Arc<str>> = IndexMap::new();
    let mut inside: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for key in unknown {
        match key.split_once('.') {
            Some((outer, inner)) => inside.entry(outer).or_default().push(inner),
            None => drop(whole.insert(key.into(), reason.into())),
        }
    }
    let mut known: IndexMap<Arc<str>, Value> = known.into_iter().collect();
    for (outer, keys) in inside {
        let entries = known.get(outer).and_then(|value| value.as_object()).and_then(|map| map.try_iter_pairs());
        let Some(entries) = entries else { continue };
        let entries: Vec<_> = entries.filter_map(|(key, value)| Some((Arc::from(key.as_str()?), value))).collect();
        known.insert(outer.into(), result_with_unknown(&format!("{path}.{outer}"), entries, keys, reason));
    }
    known.retain(|key, _| !whole.contains_key(key));
    Value::from_object(Partial { path: path.into(), known, unknown: whole })
}

/// A result of [`result_with_unknown`] with one more key, which is known; nothing of any other value.
pub fn with_entry(value: &Value, key: &str, entry: Value) -> Option<Value> {
    let partial = value.as_object()?.downcast_ref::<Partial>()?;
    let (mut known, mut unknown) = (partial.known.clone(), partial.unknown.clone());
    unknown.shift_remove(key);
    known.insert(key.into(), entry);
    Some(Value::from_object(Partial { path: partial.path.clone(), known, unknown }))
}

/// Everything inside a value that is not known. Looking this way records nothing.
pub fn unknowns_in(value: &Value) -> Vec<UnknownTouch> {
    let mut found = Vec::new();
    collect_unknowns(value, &mut found, 0);
    found
}

fn collect_unknowns(value: &Value, found: &mut Vec<UnknownTouch>, depth: usize) {
    let Some(object) = value.as_object() else { return };
    if depth > 100 {
        return;
    }
    if let Some(unknown) = object.downcast_ref::<Unknown>() {
        found.push(UnknownTouch { path: unknown.path.to_string(), reason: unknown.reason.to_string() });
    } else if let Some(partial) = object.downcast_ref::<Partial>() {
        for (key, reason) in &partial.unknown {
            found.push(UnknownTouch { path: format!("{}.{key}", partial.path), reason: reason.to_string() });
        }
        for value in partial.known.values() {
            collect_unknowns(value, found, depth + 1);
        }
    } else if object.repr() == ObjectRepr::Map {
        for (_, value) in object.try_iter_pairs().into_iter().flatten() {
            collect_unknowns(&value, found, depth + 1);
        }
    } else if object.repr() != ObjectRepr::Plain {
        for value in object.try_iter().into_iter().flatten() {
            collect_unknowns(&value, found, depth + 1);
        }
    }
}

/// The value as JSON for reports, with `<unknown>` where something is not known. Records nothing.
pub fn to_json(value: &Value) -> serde_json::Value {
    json_by(value, false)
}

/// The same as it is shown as a result: a key that is no text is its text in Python, `True`, and not that of JSON, `true`;
/// infinity is the word that Python writes for it in JSON.
pub fn to_shown(value: &Value) -> serde_json::Value {
    json_by(value, true)
}

fn json_by(value: &Value, shown: bool) -> serde_json::Value {
    use minijinja::value::ValueKind;
    use serde_json::Value as Json;
    if let Some(object) = value.as_object() {
        if object.downcast_ref::<Unknown>().is_some() {
            return Json::String("<unknown>".to_owned());
        }
        if let Some(partial) = object.downcast_ref::<Partial>() {
            let known = partial.known.iter().map(|(k, v)| (k.to_string(), json_by(v, shown)));
            let unknown = partial.unknown.keys().map(|k| (k.to_string(), Json::String("<unknown>".to_owned())));
            return Json::Object(known.chain(unknown).collect());
        }
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None | ValueKind::Invalid => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => {
            if let Ok(i) = i64::try_from(value.clone()) {
                if value.is_integer() {
                    return Json::from(i);
                }
            } else if let Ok(u) = u64::try_from(value.clone()) {
                return Json::from(u);
            }
            // An integer of more than 64 bits keeps its digits, and is shown as a number only where that takes none of them.
            let large = i128::try_from(value.clone()).ok().filter(|_| value.is_integer());
            let float = match large {
                Some(int) => Some(int as f64).filter(|float| shown && *float as i128 == int),
                None => f64::try_from(value.clone()).ok(),
            };
            match float.and_then(serde_json::Number::from_f64) {
                Some(n) => Json::Number(n),
                // JSON has no such number, and Python writes a word for it.
                None if shown && float.is_some() => Json::String(super::filters::json_word(float.unwrap_or(f64::NAN))),
                None => Json::String(super::py::str(value)),
            }
        }
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(value.try_iter().into_iter().flatten().map(|v| json_by(&v, shown)).collect())
        }
        ValueKind::Map => {
            let mut out = serde_json::Map::new();
            if let Some(object) = value.as_object() {
                for (k, v) in object.try_iter_pairs().into_iter().flatten() {
                    let key = if shown { super::py::str(&k) } else { super::py::json_key(&k) };
                    out.insert(key, json_by(&v, shown));
                }
            }
            Json::Object(out)
        }
        _ => Json::String(super::time::iso(value).unwrap_or_else(|| super::py::str(value))),
    }
}

/// The value of a JSON document. Strings in it are never templated.
pub fn from_json(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => {
            if let Some(i) = n.as_i64() {
                Value::from(i)
            } else if let Some(u) = n.as_u64() {
                Value::from(u)
            } else {
                Value::from(n.as_f64().unwrap_or(f64::NAN))
            }
        }
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(k, v)| (Value::from(k.as_str()), from_json(v)))),
    }
}
