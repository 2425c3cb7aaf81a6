//! Failures that are held back until their value is used: a lookup among the arguments of `default` or `ternary` may fail
//! where its value is not the one that is taken (`key | default(lookup('file', '~/.ssh/id.pub'))`).

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Object, ObjectRepr, Rest, Value, ValueOrKwargs};
use minijinja::{Environment, Error, State};

use super::args::{Args, R, fail};
use super::lazy::opaque_debug;

/// The filters that take one of their arguments and leave the others.
pub(super) fn chooses(filter: &str) -> bool {
    matches!(filter, "default" | "d" | "ternary")
}

/// The function that holds back what this one fails with.
pub(super) fn name_of(function: &str) -> Option<&'static str> {
    Some(match function {
        "lookup" => "__held_lookup",
        "query" | "q" => "__held_query",
        _ => return None,
    })
}

struct Held(Mutex<Option<Error>>);

opaque_debug!(Held => "<failed>");

impl Object for Held {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// A value that was chosen, or why there is none.
pub(super) fn taken(value: Value) -> R {
    match value.downcast_object_ref::<Held>() {
        // Twice the same value comes out of no template: each call makes its own.
        Some(held) => {
            Err(held.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_else(|| fail("failed")))
        }
        None => Ok(value),
    }
}

pub(super) fn register(env: &mut Environment<'_>) {
    for (name, own, list) in [("__held_lookup", "lookup", false), ("__held_query", "query", true)] {
        env.add_function(name, move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
            let found = Args::new(own, values).and_then(|args| super::lookups::call(state, args, list));
            Ok::<_, Error>(found.unwrap_or_else(|error| Value::from_object(Held(Mutex::new(Some(error))))))
        });
    }
}
