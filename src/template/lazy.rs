//! Variables inside the engine: objects that evaluate a template only when it is read.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::own::{OWN_KEY, Own};
use super::scope::{HostVars, Scope};
use super::touch;
use crate::redact::Redactor;
use crate::source::{Mapping, Node, NodeValue, ScalarStyle};

/// The key under which the root context answers with its scope, for filters and lookups.
pub(super) const SCOPE_KEY: &str = "\u{1}scope";

/// What a template starts from: the variables of a scope, and what one with statements does to them.
pub(super) struct Root(pub Scope, pub Option<Arc<Own>>);

/// Carries a scope through the engine to filters and lookups.
pub(super) struct ScopeHandle(pub Scope);

/// A dictionary in a file, some of whose values are templates.
pub(super) struct LazyMap {
    pub map: Arc<Mapping>,
    pub scope: Scope,
}

/// A list in a file, some of whose items are templates.
pub(super) struct LazySeq {
    pub items: Arc<[Node]>,
    pub scope: Scope,
}

/// `vars`: all variables by name.
pub(super) struct VarsObject {
    pub scope: Scope,
}

/// `hostvars`: hosts by name.
pub(super) struct HostVarsObject(pub Arc<dyn HostVars>);

/// A mapping of hosts to their variables, which are looked at when they are read.
pub fn hostvars_of(hosts: Arc<dyn HostVars>) -> Value {
    Value::from_object(HostVarsObject(hosts))
}

/// A value from a file, inside an evaluation.
pub(super) fn node_value(node: &Node, scope: &Scope, name: Option<&str>) -> Value {
    match &node.value {
        NodeValue::Null => Value::from(()),
        NodeValue::Bool(b) => Value::from(*b),
        NodeValue::Int(i) => Value::from(*i),
        NodeValue::Float(f) => Value::from(*f),
        NodeValue::Str(text) => {
            if node.is_template() {
                let value = scope.templar().nested(node, text, scope, name);
                value.as_str().into_iter().for_each(|text| learn(name, text, scope.templar().redactor()));
                value
            } else if node.is_vault() {
                match scope.templar().decrypt(node) {
                    Ok(text) => Value::from(text),
                    Err(e) => Value::from(super::engine::wrap(e)),
                }
            } else {
                learn_scalar(node, name, text, scope.templar().redactor());
                text_value(node, text)
            }
        }
        NodeValue::Seq(items) => match scope.templar().plain(node) {
            Some(value) => value,
            None => Value::from_object(LazySeq { items: items.clone(), scope: scope.clone() }),
        },
        NodeValue::Map(map) => match scope.templar().plain(node) {
            Some(value) => value,
            None => Value::from_object(LazyMap { map: map.clone(), scope: scope.clone() }),
        },
    }
}

/// The value of a text, which is a date or a large number if it was written without quotes and looks like one.
fn text_value(node: &Node, text: &Arc<str>) -> Value {
    if bare_digits(node, text) {
        if let Some(date) = super::time::of_yaml(text) {
            return date;
        }
        if let Some(number) = crate::source::large_integer(text) {
            return Value::from(number);
        }
    }
    Value::from(text.clone())
}

/// Whether a scalar may be a date or a number that no integer of the machine holds.
fn bare_digits(node: &Node, text: &str) -> bool {
    let bare = node.style == ScalarStyle::Plain && node.tag.is_none();
    bare && text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+'))
}

/// A scalar of a file as it is written, and as it is printed where that is another text (`0x1FFFFFFFFFFFFFFFFF`).
fn learn_scalar(node: &Node, name: Option<&str>, text: &str, redactor: &Redactor) {
    learn(name, text, redactor);
    if bare_digits(node, text)
        && let Some(number) = crate::source::large_integer(text)
    {
        learn(name, &number.to_string(), redactor);
    }
}

/// A variable whose name says so holds a secret, wherever it was written.
pub(super) fn learn(name: Option<&str>, text: &str, redactor: &Redactor) {
    redactor.learn_text(name, text);
}

/// The same for everything below a node.
pub(super) fn learn_below(node: &Node, redactor: &Redactor) {
    match &node.value {
        NodeValue::Seq(items) => items.iter().for_each(|item| learn_below(item, redactor)),
        NodeValue::Map(map) => map.iter().for_each(|(key, value)| {
            // A number may be a secret, too; `true` is none.
            if matches!(value.value, NodeValue::Str(_) | NodeValue::Int(_)) {
                value.scalar_text().iter().for_each(|text| learn_scalar(value, key.as_str(), text, redactor));
            }
            learn_below(value, redactor);
        }),
        _ => {}
    }
}

/// A value from a file that holds neither a template nor a vault value.
pub(super) fn plain_value(node: &Node) -> Value {
    match &node.value {
        NodeValue::Null => Value::from(()),
        NodeValue::Bool(b) => Value::from(*b),
        NodeValue::Int(i) => Value::from(*i),
        NodeValue::Float(f) => Value::from(*f),
        NodeValue::Str(text) => text_value(node, text),
        NodeValue::Seq(items) => Value::from(items.iter().map(plain_value).collect::<Vec<_>>()),
        NodeValue::Map(map) => Value::from_pairs(map.iter().map(|(k, v)| (plain_value(k), plain_value(v)))),
    }
}

/// Whether a template or a vault value occurs anywhere in a node.
pub(super) fn needs_evaluation(node: &Node) -> bool {
    match &node.value {
        NodeValue::Seq(items) => items.iter().any(needs_evaluation),
        NodeValue::Map(map) => map.iter().any(|(k, v)| k.is_template() || needs_evaluation(v)),
        _ => node.is_template() || node.is_vault(),
    }
}

/// Types whose values are not printed, only what they are.
macro_rules! opaque_debug {
    ($($type:ty => $name:literal),*) => {
        $(impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($name)
            }
        })*
    };
}
pub(super) use opaque_debug;
opaque_debug!(Root => "<variables>", ScopeHandle => "<scope>", LazyMap => "<dict>", LazySeq => "<list>",
    VarsObject => "<vars>", HostVarsObject => "<hostvars>");

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if key == SCOPE_KEY {
            return Some(Value::from_object(ScopeHandle(self.0.clone())));
        }
        match &self.1 {
            None => self.0.value(key),
            Some(own) if key == OWN_KEY => Some(super::own::handle(own)),
            Some(own) => own.value(key, &self.0),
        }
    }
}

impl Object for ScopeHandle {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

impl LazyMap {
    fn find(&self, key: &Value) -> Option<&Node> {
        if key.kind() == ValueKind::String {
            return self.map.get(key.as_str()?);
        }
        self.map.iter().find(|(k, _)| plain_value(k) == *key).map(|(_, v)| v)
    }
}

impl Object for LazyMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.find(key).map(|v| node_value(v, &self.scope, key.as_str()))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.map.get(key).map(|v| node_value(v, &self.scope, Some(key)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.map.keys().map(plain_value).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.map.len())
    }
}

impl Object for LazySeq {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let i = key.as_i64()?;
        let i = if i < 0 { i + i64::try_from(self.items.len()).ok()? } else { i };
        self.items.get(usize::try_from(i).ok()?).map(|n| node_value(n, &self.scope, None))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.items.len())
    }
}

impl Object for VarsObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if key == "vars" { None } else { self.scope.value(key) }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.scope.names().iter().map(Value::from).collect())
    }
}

impl Object for HostVarsObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.scope(key).map(|scope| Value::from_object(VarsObject { scope }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.hosts().iter().map(Value::from).collect())
    }
}

/// Turns a value into a plain one: templates inside it are evaluated, iterators consumed, what a template could
/// change is frozen, tuples become lists, `omit` leaves its list or dictionary. Something undefined is an error.
pub(super) fn finalize(value: &Value, keep_unknown: bool) -> Result<Value, Error> {
    if is_plain(value, 0) {
        return Ok(value.clone());
    }
    rebuild(value, if keep_unknown { For::Items } else { For::Result }, 0)
}

/// The same for printing: what only prints otherwise than the value that it is as a result stays itself.
pub(super) fn printable(value: &Value) -> Result<Value, Error> {
    if is_plain(value, 0) {
        return Ok(value.clone());
    }
    rebuild(value, For::Printing, 0)
}

/// The same for JSON and YAML.
pub(super) fn writable(value: &Value) -> Result<Value, Error> {
    if is_plain(value, 0) {
        return Ok(value.clone());
    }
    rebuild(value, For::Writing, 0)
}

/// The text of a value, as Python prints it.
pub(super) fn printed(value: &Value) -> Result<String, Error> {
    Ok(super::py::printed(&printable(value)?))
}

/// What a value is made plain for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    /// A result.
    Result,
    /// The items of a loop: what is not known stays in them.
    Items,
    /// Text: ranges and bytes stay what they are.
    Printing,
    /// JSON or YAML, whose writers say what they cannot write.
    Writing,
}

fn is_plain(value: &Value, depth: usize) -> bool {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => true,
        ValueKind::String => !value.is_safe(),
        ValueKind::Seq => {
            depth < 60
                && value
                    .downcast_object_ref::<Vec<Value>>()
                    .is_some_and(|items| items.iter().all(|v| is_plain(v, depth + 1)))
        }
        ValueKind::Map => {
            depth < 60
                && value
                    .downcast_object_ref::<indexmap::IndexMap<Value, Value>>()
                    .is_some_and(|m| m.values().all(|v| is_plain(v, depth + 1)))
        }
        _ => false,
    }
}

fn rebuild(value: &Value, purpose: For, depth: usize) -> Result<Value, Error> {
    if depth > 100 {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is nested more than 100 levels deep"));
    }
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => Ok(value.clone()),
        ValueKind::Bytes if matches!(purpose, For::Printing | For::Writing) => Ok(value.clone()),
        ValueKind::Bytes => Ok(Value::from(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned())),
        ValueKind::String => {
            Ok(if value.is_safe() { Value::from(value.as_str().unwrap_or_default()) } else { value.clone() })
        }
        ValueKind::Undefined => Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::Invalid => Err(error_in(value)),
        ValueKind::Seq if purpose == For::Printing && super::py::own_text(value).is_some() => Ok(value.clone()),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                if !super::is_omit(&item) {
                    items.push(rebuild(&item, purpose, depth + 1)?);
                }
            }
            Ok(Value::from(items))
        }
        ValueKind::Map => {
            let Some(object) = value.as_object() else { return Ok(value.clone()) };
            let unknown = object.downcast_ref::<touch::Unknown>().is_some();
            if unknown || object.downcast_ref::<touch::Partial>().is_some() {
                if purpose == For::Items {
                    return Ok(value.clone());
                }
                let _ = object.enumerate();
                if unknown {
                    return Err(Error::new(ErrorKind::InvalidOperation, "the value is not known"));
                }
            }
            let mut pairs = Vec::new();
            for (k, v) in object.try_iter_pairs().into_iter().flatten() {
                if !super::is_omit(&v) {
                    pairs.push((rebuild(&k, purpose, depth + 1)?, rebuild(&v, purpose, depth + 1)?));
                }
            }
            Ok(Value::from_pairs(pairs))
        }
        _ => {
            if super::is_omit(value) {
                return Ok(value.clone());
            }
            if super::time::is_moment(value) {
                return Ok(value.clone());
            }
            let printed = matches!(purpose, For::Printing | For::Writing);
            if printed && super::time::type_name(value).is_some() {
                return Ok(value.clone());
            }
            if super::time::is_difference(value) {
                return Ok(Value::from(value.to_string()));
            }
            Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("a value of type '{}' cannot be a result", super::py::type_name(value)),
            ))
        }
    }
}

/// The error that an invalid value holds.
pub(super) fn error_in(value: &Value) -> Error {
    let held = Value::from(vec![value.clone()]).try_iter().ok().and_then(|i| i.checked().next());
    match held {
        Some(Err(e)) => e,
        _ => Error::new(ErrorKind::InvalidOperation, "the value is invalid"),
    }
}
