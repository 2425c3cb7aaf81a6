//! Lookups of variables and of the environment.

use minijinja::value::Value;

use super::{Call, Found};
use crate::template::filters::regex;
use crate::template::{lazy, py};

/// `env`: the controller's environment; an unset variable is empty, or the default.
pub(super) fn env(call: &Call<'_>) -> Found {
    let default = call.options.iter().find(|(k, _)| k == "default").map(|(_, v)| v.clone());
    Ok(call
        .texts()
        .iter()
        .map(|name| match std::env::var(name) {
            Ok(value) => Value::from(value),
            Err(_) => default.clone().unwrap_or_else(|| Value::from("")),
        })
        .collect())
}

/// `vars`: variables by computed names.
pub(super) fn vars(call: &Call<'_>) -> Found {
    let default = call.options.iter().find(|(k, _)| k == "default").map(|(_, v)| v.clone());
    let mut out = Vec::new();
    for name in call.texts() {
        let value = call.scope.value(&name).unwrap_or_default();
        if !value.is_undefined() {
            out.push(lazy::finalize(&value, false)?);
        } else if let Some(default) = &default {
            out.push(default.clone());
        } else {
            // Undefined, so that `default` can help.
            out.push(Value::UNDEFINED);
        }
    }
    Ok(out)
}

/// `varnames`: names of variables that match patterns.
pub(super) fn varnames(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for pattern in call.texts() {
        for name in call.scope.names().into_iter().chain(["vars".into()]) {
            if regex::is_match(&name, &pattern, false, false, "search")? {
                out.push(Value::from(&name));
            }
        }
    }
    Ok(out)
}

/// `inventory_hostnames`: hosts of patterns, by names and groups, with `!` and `&`.
pub(super) fn inventory_hostnames(call: &Call<'_>) -> Found {
    let groups = call.scope.value("groups").unwrap_or_default();
    let members = |name: &str| -> Vec<Value> {
        // A pattern's groups first, then hosts of such a name.
        let matches = |text: &str| text == name || glob::Pattern::new(name).is_ok_and(|pattern| pattern.matches(text));
        let of = |group: &str| -> Vec<Value> {
            groups.get_attr(group).ok().and_then(|l| l.try_iter().ok().map(Iterator::collect)).unwrap_or_default()
        };
        let names: Vec<String> = groups.try_iter().into_iter().flatten().map(|n| py::str(&n)).collect();
        let mut found: Vec<Value> = Vec::new();
        let hosts = of("all").into_iter().filter(|host| matches(&py::str(host)));
        for host in names.iter().filter(|n| matches(n)).flat_map(|n| of(n)).chain(hosts) {
            if !found.contains(&host) {
                found.push(host);
            }
        }
        found
    };
    let mut out: Vec<Value> = Vec::new();
    for text in call.texts() {
        for part in text.split([':', ',']).map(str::trim).filter(|p| !p.is_empty()) {
            if let Some(name) = part.strip_prefix('!') {
                let without = members(name);
                out.retain(|h| !without.contains(h));
            } else if let Some(name) = part.strip_prefix('&') {
                let only = members(name);
                out.retain(|h| only.contains(h));
            } else {
                for host in members(part) {
                    if !out.iter().any(|h| py::str(h) == py::str(&host)) {
                        out.push(host);
                    }
                }
            }
        }
    }
    Ok(out)
}
