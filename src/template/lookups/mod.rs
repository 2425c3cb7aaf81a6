//! Lookups: `lookup()`, `query()` and what `with_*` makes of its value. All of them run on the controller.

mod config;
mod files;
mod lists;
mod password;
mod url;
mod variables;

use std::path::Path;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::args::{Args, R, fail, is_list, items};
use super::globals::scope_of;
use super::py;
use super::scope::Scope;

/// What lookups leave to the controller's machine, so that a check changes nothing.
pub trait LookupHost: Send + Sync {
    /// The content of a file, or nothing if there is none.
    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, String>;
    /// Stores a file with a mode, making its directory.
    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), String>;
}

/// The terms and options of one lookup.
pub(super) struct Call<'a> {
    pub name: &'static str,
    pub terms: Vec<Value>,
    pub options: &'a [(String, Value)],
    pub scope: &'a Scope,
    /// Called by `with_…`, for a task of this action.
    pub with: Option<&'a str>,
}

impl Call<'_> {
    /// An option by name.
    pub fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(k, _)| k == name).map(|(_, v)| v).filter(|v| !v.is_none())
    }

    /// A flag.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.option(name).map_or(default, |v| super::args::boolean(v).unwrap_or_else(|| v.is_true()))
    }

    /// Text of an option.
    pub fn text(&self, name: &str) -> Option<String> {
        self.option(name).map(py::str)
    }

    /// The terms as text.
    pub fn texts(&self) -> Vec<String> {
        self.terms.iter().map(py::str).collect()
    }
}

type Found = Result<Vec<Value>, Error>;

type Run = fn(&Call<'_>) -> Found;

static TABLE: &[(&str, Run)] = &[
    ("env", variables::env),
    ("vars", variables::vars),
    ("varnames", variables::varnames),
    ("pipe", files::pipe),
    ("lines", files::lines),
    ("file", files::file),
    ("unvault", files::unvault),
    ("template", files::template),
    ("fileglob", files::fileglob),
    ("filetree", files::filetree),
    ("first_found", files::first_found),
    ("csvfile", files::csvfile),
    ("ini", files::ini),
    ("password", password::password),
    ("random_string", password::random_string),
    ("items", lists::items_lookup),
    ("list", lists::list),
    ("dict", lists::dict),
    ("indexed_items", lists::indexed_items),
    ("sequence", lists::sequence),
    ("nested", lists::nested),
    ("cartesian", lists::nested),
    ("together", lists::together),
    ("subelements", lists::subelements),
    ("flattened", lists::flattened),
    ("random_choice", lists::random_choice),
    ("inventory_hostnames", variables::inventory_hostnames),
    ("url", url::url),
    ("config", config::config),
];

/// The names of all lookups.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|(name, _)| *name).collect()
}

fn find(name: &str) -> Result<(&'static str, Run), Error> {
    let short = ["ansible.builtin.", "ansible.legacy.", "community.general."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    TABLE.iter().find(|(n, _)| *n == short).map(|(n, f)| (*n, *f)).ok_or_else(|| {
        let near = crate::source::did_you_mean(short, TABLE.iter().map(|(n, _)| *n));
        let hint = near.map(|n| format!("; did you mean '{n}'?")).unwrap_or_default();
        fail(format!("there is no lookup named '{name}'{hint}"))
    })
}

/// `lookup(name, terms…, options…)`
pub(super) fn call(state: &mut State<'_, '_>, args: Args, wantlist: bool) -> R {
    let name = args.need_text(0, "name")?;
    let (name, run) = find(&name)?;
    // The default of `env` may be undefined on purpose.
    if args.rest(1).iter().any(Value::is_undefined) {
        return Ok(Value::UNDEFINED);
    }
    let scope = scope_of(state)?;
    let mut wantlist = wantlist;
    let mut errors = "strict".to_owned();
    let mut options = Vec::new();
    for (key, value) in args.named() {
        match key.as_str() {
            "wantlist" => wantlist = value.is_true(),
            "errors" => errors = py::str(value),
            "default" if value.is_undefined() => options.push((key.clone(), value.clone())),
            _ if value.is_undefined() => return Ok(Value::UNDEFINED),
            _ => options.push((key.clone(), super::lazy::finalize(value, false)?)),
        }
    }
    let terms: Result<Vec<Value>, Error> = args.rest(1).iter().map(|t| super::lazy::finalize(t, false)).collect();
    let call = Call { name, terms: terms?, options: &options, scope: &scope, with: None };
    let found = match run(&call) {
        Ok(found) => found,
        Err(e) if errors == "ignore" || errors == "warn" => {
            if errors == "warn" {
                scope.templar().warn(format!("the lookup '{name}' failed: {}", e.detail().unwrap_or_default()));
            }
            return Ok(if wantlist { Value::from(Vec::<Value>::new()) } else { Value::from(()) });
        }
        Err(e) => return Err(e),
    };
    if found.iter().any(Value::is_undefined) {
        return Ok(Value::UNDEFINED);
    }
    if wantlist {
        return Ok(Value::from(found));
    }
    if let [one] = found.as_slice() {
        return Ok(one.clone());
    }
    if !found.is_empty() && found.iter().all(|v| v.kind() == ValueKind::String) {
        let texts: Vec<String> = found.iter().map(py::str).collect();
        return Ok(Value::from(texts.join(",")));
    }
    Ok(Value::from(found))
}

/// The items of `with_<kind>: value` of a task of this action.
pub(super) fn loop_items(kind: &str, value: &Value, action: &str, scope: &Scope) -> R {
    let (name, run) = find(kind)?;
    let terms = match name {
        // These take their value whole.
        "dict" => vec![value.clone()],
        _ if is_list(value) => items(value, kind)?,
        _ => vec![value.clone()],
    };
    let call = Call { name, terms, options: &[], scope, with: Some(action) };
    run(&call).map(Value::from)
}
