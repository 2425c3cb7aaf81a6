//! What one run of a template with statements has for itself: variables that it changes, and that what it imports
//! sees no variables. The rewrite writes the calls of the functions here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};

use super::args::{Args, R, fail};
use super::lazy::opaque_debug;
use super::scope::{Raw, Scope};
use super::{globals, mutable};

/// The key under which the root context answers with this.
pub(super) const OWN_KEY: &str = "\u{1}own";

/// The state of one run.
#[derive(Default)]
pub(super) struct Own {
    /// Whether the template changes any variable: most change none.
    changes: AtomicBool,
    /// Variables that the template changes.
    changed: Mutex<HashSet<String>>,
    /// Their values as they have become.
    values: Mutex<HashMap<String, Value>>,
    /// How many imports and macros of imports deep it is, in which variables are not seen.
    hidden: AtomicUsize,
}

impl Own {
    /// The value of a variable as this run sees it.
    pub fn value(&self, name: &str, scope: &Scope) -> Option<Value> {
        if self.hidden.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if !self.changes.load(Ordering::Relaxed)
            || !self.changed.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
        {
            return scope.value(name);
        }
        if let Some(value) = self.values.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(value.clone());
        }
        // Whoever makes a value may come back here for another.
        let value = mutable::thaw(scope.value(name)?, 0);
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.clone());
        Some(value)
    }

    fn hide(&self, hide: bool) {
        let change = |deep: usize| if hide { deep.saturating_add(1) } else { deep.saturating_sub(1) };
        let _ = self.hidden.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |deep| Some(change(deep)));
    }
}

/// Carries it through the engine.
struct Handle(Arc<Own>);

/// A macro or a module that was imported without context.
struct AloneMacro(Value);

/// Who calls such a macro with a block: it sees what it has always seen.
struct Caller(Value, usize);

/// A macro that takes more arguments than it names.
struct SurplusMacro {
    inner: Value,
    more: bool,
    named: bool,
}

/// The value of [`OWN_KEY`].
pub(super) fn handle(own: &Arc<Own>) -> Value {
    Value::from_object(Handle(own.clone()))
}

fn own_of(state: &State<'_, '_>) -> Option<Arc<Own>> {
    state.lookup(OWN_KEY)?.downcast_object_ref::<Handle>().map(|handle| handle.0.clone())
}

opaque_debug!(Handle => "<own>", AloneMacro => "<macro>", Caller => "<macro>", SurplusMacro => "<macro>");

impl Object for Handle {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

impl Object for AloneMacro {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = self.0.get_item(key).ok().filter(|value| !value.is_undefined())?;
        Some(alone(found))
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> R {
        let Some(own) = own_of(state) else { return self.0.call(state, args) };
        let mut args = args.to_vec();
        if let Some(last) = args.last_mut()
            && last.is_kwargs()
            && let Ok(caller) = last.get_attr("caller")
            && !caller.is_undefined()
        {
            let deep = own.hidden.load(Ordering::Relaxed);
            let kwargs = Kwargs::try_from(last.clone())?;
            let mut named: Vec<(String, Value)> = Vec::new();
            for key in kwargs.args() {
                named.push((key.to_owned(), kwargs.peek::<Value>(key)?));
            }
            named.retain(|(key, _)| key != "caller");
            named.push(("caller".to_owned(), Value::from_object(Caller(caller, deep))));
            *last = Value::from(named.into_iter().collect::<Kwargs>());
        }
        own.hide(true);
        let result = self.0.call(state, &args);
        own.hide(false);
        result
    }
}

impl Object for Caller {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get_item(key).ok()
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> R {
        let Some(own) = own_of(state) else { return self.0.call(state, args) };
        let before = own.hidden.swap(self.1, Ordering::Relaxed);
        let result = self.0.call(state, args);
        own.hidden.store(before, Ordering::Relaxed);
        result
    }
}

impl SurplusMacro {
    /// The names that the macro itself has for its arguments.
    fn parameters(&self) -> Vec<String> {
        let arguments = self.inner.get_attr("arguments").unwrap_or_default();
        let names = arguments.try_iter().into_iter().flatten().map(|name| super::py::str(&name));
        let mut names: Vec<String> = names.collect();
        names.truncate(names.len().saturating_sub(usize::from(self.more) + usize::from(self.named)));
        names
    }
}

impl Object for SurplusMacro {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "arguments" => Some(Value::from(self.parameters())),
            "catch_varargs" => Some(Value::from(self.more)),
            "catch_kwargs" => Some(Value::from(self.named)),
            _ => self.inner.get_item(key).ok().filter(|value| !value.is_undefined()),
        }
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> R {
        let parameters = self.parameters();
        let args = Args::from_values("macro", args.to_vec())?;
        let (given, surplus) = args.rest(0).split_at(args.rest(0).len().min(parameters.len()));
        if !self.more && !surplus.is_empty() {
            return Err(fail(format!("the macro takes not more than {} argument(s)", parameters.len())));
        }
        let mut named: Vec<(String, Value)> = Vec::new();
        let mut others: Vec<(Value, Value)> = Vec::new();
        for (name, value) in args.named() {
            if parameters.contains(name) || name == "caller" || !self.named {
                named.push((name.clone(), value.clone()));
            } else {
                others.push((Value::from(name.as_str()), value.clone()));
            }
        }
        if self.more {
            named.push(("varargs".to_owned(), Value::from(surplus.to_vec())));
        }
        if self.named {
            named.push(("kwargs".to_owned(), Value::from_pairs(others)));
        }
        let mut values = given.to_vec();
        values.push(Value::from(named.into_iter().collect::<Kwargs>()));
        self.inner.call(state, &values)
    }
}

/// What was imported without context.
fn alone(value: Value) -> Value {
    let kind = value.as_object().map_or("", |object| object.type_name());
    match kind.contains("Macro") || kind.contains("Module") {
        true => Value::from_object(AloneMacro(value)),
        false => value,
    }
}

/// What the scope has under these names, dictionary in dictionary, is a vaulted text.
fn vaulted(state: &mut State<'_, '_>, names: Rest<String>) -> R {
    let scope = globals::scope_of(state)?;
    let mut names = names.iter();
    let Some(Raw::Node(node)) = names.next().and_then(|name| scope.raw(name)) else { return Ok(Value::from(false)) };
    let mut node = node;
    for name in names {
        match node.as_map().and_then(|map| map.get(name)) {
            Some(inner) => node = inner,
            None => return Ok(Value::from(false)),
        }
    }
    Ok(Value::from(node.is_vault()))
}

/// Adds the functions that the rewrite calls.
pub(super) fn register(env: &mut Environment<'static>) {
    let own = |state: &State<'_, '_>| {
        own_of(state).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "this stands outside of a template"))
    };
    env.add_function("__own", move |state: &mut State<'_, '_>, names: Rest<String>| -> R {
        let own = own(state)?;
        own.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(names.0);
        own.changes.store(true, Ordering::Relaxed);
        Ok(Value::UNDEFINED)
    });
    env.add_function("__hide", move |state: &mut State<'_, '_>, hide: bool| -> R {
        own(state)?.hide(hide);
        Ok(Value::UNDEFINED)
    });
    env.add_function("__alone", alone);
    env.add_function("__surplus", |inner: Value, more: bool, named: bool| {
        Value::from_object(SurplusMacro { inner, more, named })
    });
    env.add_function("__vaulted", vaulted);
}
