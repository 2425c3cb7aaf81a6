//! Lists and dictionaries that a template may change in place: `{% set _ = l.append(x) %}`.
//!
//! The engine's plain values cannot change. What `set` binds in a template that uses such a method is turned into
//! one of these; finalising turns it back.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// A list with Python's mutating methods.
pub(super) struct List(Mutex<Vec<Value>>);

/// A dictionary with Python's mutating methods.
pub(super) struct Dict(Mutex<IndexMap<Value, Value>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value with every list and dictionary in it made changeable. Namespaces, macros and the like stay themselves,
/// and so does what is not known.
pub(super) fn thaw(value: Value, depth: usize) -> Value {
    let Some(object) = value.as_object() else { return value };
    if depth > 100
        || object.downcast_ref::<List>().is_some()
        || object.downcast_ref::<Dict>().is_some()
        || object.downcast_ref::<super::touch::Unknown>().is_some()
        || object.downcast_ref::<super::touch::Partial>().is_some()
        || object.downcast_ref::<super::lazy::HostVarsObject>().is_some()
        || object.downcast_ref::<super::lazy::VarsObject>().is_some()
    {
        return value;
    }
    match value.kind() {
        ValueKind::Seq if !value.is_tuple() => {
            let items = value.try_iter().into_iter().flatten().map(|v| thaw(v, depth + 1)).collect();
            Value::from_object(List(Mutex::new(items)))
        }
        ValueKind::Map if !is_namespace(object) => {
            let pairs = object.try_iter_pairs().into_iter().flatten().map(|(k, v)| (k, thaw(v, depth + 1))).collect();
            Value::from_object(Dict(Mutex::new(pairs)))
        }
        _ => value,
    }
}

/// Whether an object is a map to the engine alone, and no dictionary.
pub(super) fn is_namespace(object: &DynObject) -> bool {
    ["Namespace", "Module", "Macro", "Loop", "Caller"].iter().any(|name| object.type_name().contains(name))
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items = lock(&self.0).clone();
        f.debug_list().entries(&items).finish()
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = lock(&self.0).clone();
        f.debug_map().entries(&pairs).finish()
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// A Python index into something of `len` items, counted from the end when negative.
fn index(value: &Value, len: usize) -> Option<usize> {
    let i = value.as_i64()?;
    let i = if i < 0 { i + i64::try_from(len).ok()? } else { i };
    usize::try_from(i).ok()
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let items = lock(&self.0);
        items.get(index(key, items.len())?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(lock(&self.0).clone())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(lock(&self.0).len())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<List>()?;
        if std::ptr::eq(self.as_ref(), other) {
            return Some(Ordering::Equal);
        }
        let (a, b) = (lock(&self.0).clone(), lock(&other.0).clone());
        Some(a.cmp(&b))
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let none = Ok(Value::from(()));
        match (method, args) {
            ("append", [v]) => {
                if v.as_object().and_then(|o| o.downcast_ref::<List>()).is_some_and(|l| std::ptr::eq(l, &**self)) {
                    return Err(wrong("a list cannot be appended to itself"));
                }
                lock(&self.0).push(thaw(v.clone(), 0));
                none
            }
            ("extend", [v]) => {
                let more: Vec<Value> = v.try_iter()?.map(|v| thaw(v, 0)).collect();
                lock(&self.0).extend(more);
                none
            }
            ("insert", [at, v]) => {
                let mut items = lock(&self.0);
                let len = items.len();
                let at = at.as_i64().ok_or_else(|| wrong("insert needs an integer position"))?;
                let at = if at < 0 { (len as i64 + at).max(0) } else { at.min(len as i64) };
                items.insert(usize::try_from(at).unwrap_or(len), thaw(v.clone(), 0));
                none
            }
            ("pop", [] | [_]) => {
                let mut items = lock(&self.0);
                let at = match args.first() {
                    Some(at) => index(at, items.len()),
                    None => items.len().checked_sub(1),
                };
                match at {
                    Some(at) if at < items.len() => Ok(items.remove(at)),
                    _ => Err(wrong("pop: index out of range")),
                }
            }
            ("remove", [v]) => {
                let mut items = lock(&self.0);
                match items.iter().position(|x| x == v) {
                    Some(at) => {
                        items.remove(at);
                        none
                    }
                    None => Err(wrong("remove: the value is not in the list")),
                }
            }
            ("clear", []) => {
                lock(&self.0).clear();
                none
            }
            ("reverse", []) => {
                lock(&self.0).reverse();
                none
            }
            ("sort", _) => {
                let reverse = args.iter().any(|a| a.is_kwargs() && a.get_attr("reverse").is_ok_and(|r| r.is_true()));
                let mut items = lock(&self.0);
                items.sort();
                if reverse {
                    items.reverse();
                }
                none
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        lock(&self.0).get(key).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(lock(&self.0).keys().cloned().collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(lock(&self.0).len())
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let none = Ok(Value::from(()));
        match (method, args) {
            ("update", _) => {
                for arg in args {
                    let mut more: Vec<(Value, Value)> = Vec::new();
                    if arg.kind() == ValueKind::Map {
                        if let Some(object) = arg.as_object() {
                            more.extend(object.try_iter_pairs().into_iter().flatten());
                        }
                    } else {
                        for pair in arg.try_iter()? {
                            more.push((pair.get_item_by_index(0)?, pair.get_item_by_index(1)?));
                        }
                    }
                    let mut mine = lock(&self.0);
                    for (k, v) in more {
                        mine.insert(k, thaw(v, 0));
                    }
                }
                none
            }
            ("setdefault", [k, ..]) => {
                let default = args.get(1).cloned().unwrap_or(Value::from(()));
                Ok(lock(&self.0).entry(k.clone()).or_insert_with(|| thaw(default, 0)).clone())
            }
            ("pop", [k, ..]) => match lock(&self.0).shift_remove(k) {
                Some(v) => Ok(v),
                None => args.get(1).cloned().ok_or_else(|| wrong("pop: the key is not in the dictionary")),
            },
            ("popitem", []) => match lock(&self.0).pop() {
                Some((k, v)) => Ok(Value::from(minijinja::value::Tuple::from([k, v]))),
                None => Err(wrong("popitem: the dictionary is empty")),
            },
            ("clear", []) => {
                lock(&self.0).clear();
                none
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}
