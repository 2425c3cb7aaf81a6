//! Lookups of files and programs, on the controller.

use std::path::{Path, PathBuf};
use std::process::Command;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::{Call, Found};
use crate::template::args::{boolean, fail, is_list, items};
use crate::template::compile::RenderOptions;
use crate::template::filters::{csv, files_matching, regex};
use crate::template::{engine, py};

fn find(call: &Call<'_>, subdir: &str, name: &str) -> Result<PathBuf, Error> {
    call.scope.paths().find(subdir, name).ok_or_else(|| {
        let tried: Vec<String> =
            call.scope.paths().candidates(subdir, name).iter().map(|p| p.display().to_string()).collect();
        fail(format!("{}: unable to find '{name}'; searched {}", call.name, tried.join(", ")))
    })
}

fn read(call: &Call<'_>, path: &Path) -> Result<Vec<u8>, Error> {
    call.scope.templar().reads().note(path);
    let bytes = match call.scope.templar().lookup_host() {
        Some(host) => {
            host.read(path).map_err(|e| fail(format!("{}: cannot read {}: {e}", call.name, path.display())))?
        }
        None => std::fs::read(path).ok(),
    };
    let bytes = match bytes {
        Some(bytes) => bytes,
        None => std::fs::read(path).map_err(|e| fail(format!("{}: cannot read {}: {e}", call.name, path.display())))?,
    };
    if crate::vars::vault::is_encrypted_bytes(&bytes) {
        let vault = call.scope.templar().vault().cloned();
        let vault = vault.ok_or_else(|| {
            fail(format!("{}: {} is encrypted and no vault password was given", call.name, path.display()))
        })?;
        let clear = vault.decrypt(&bytes).map_err(|e| fail(format!("{}: {}: {e}", call.name, path.display())))?;
        call.scope.templar().redactor().add(&String::from_utf8_lossy(&clear));
        return Ok(clear);
    }
    Ok(bytes)
}

fn text(call: &Call<'_>, path: &Path) -> Result<String, Error> {
    String::from_utf8(read(call, path)?)
        .map_err(|_| fail(format!("{}: {} is not UTF-8 text", call.name, path.display())))
}

/// `file`: contents, without trailing white space.
pub(super) fn file(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for name in call.texts() {
        let content = text(call, &find(call, "files", &name)?)?;
        let mut content = content.as_str();
        if call.flag("lstrip", false) {
            content = content.trim_start();
        }
        if call.flag("rstrip", true) {
            content = content.trim_end();
        }
        out.push(Value::from(content));
    }
    Ok(out)
}

/// `unvault`: contents, decrypted, as they are.
pub(super) fn unvault(call: &Call<'_>) -> Found {
    call.texts().iter().map(|name| Ok(Value::from(text(call, &find(call, "files", name)?)?))).collect()
}

/// `template`: rendered files.
pub(super) fn template(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for name in call.texts() {
        let path = find(call, "templates", &name)?;
        let content = text(call, &path)?;
        let mut options = RenderOptions::default();
        for (key, field) in [
            ("variable_start_string", &mut options.variable_start as &mut String),
            ("variable_end_string", &mut options.variable_end),
            ("comment_start_string", &mut options.comment_start),
            ("comment_end_string", &mut options.comment_end),
        ] {
            if let Some(value) = call.text(key) {
                *field = value;
            }
        }
        options.trim_blocks = call.flag("trim_blocks", true);
        let whole = options == RenderOptions::default();
        let mut scope = call.scope.clone();
        if let Some(vars) = call.option("template_vars").and_then(crate::template::args::pairs) {
            let layer: crate::template::Layer =
                vars.into_iter().map(|(k, v)| (py::str(&k).into(), crate::template::Raw::Value(v))).collect();
            scope = scope.with(layer);
        }
        // A file that is nothing but one expression is its value.
        let body = content.strip_suffix('\n').unwrap_or(&content);
        if whole && body.starts_with("{{") && body.ends_with("}}") && !body.contains('\\') {
            let value = match scope.templar().template_str(body, &scope) {
                Err(error) if error.is_undefined() => {
                    out.push(undefined(&name, &error));
                    continue;
                }
                other => other.map_err(engine::wrap)?.value,
            };
            out.push(match value.as_str() {
                Some(text) => Value::from(format!("{text}{}", content.get(body.len()..).unwrap_or_default())),
                None => value,
            });
            continue;
        }
        out.push(match scope.templar().render_file(&path, &content, options, &scope) {
            Err(error) if error.is_undefined() => undefined(&name, &error),
            other => Value::from(other.map_err(engine::wrap)?.value),
        });
    }
    Ok(out)
}

/// A template that needs what is undefined is undefined itself, which a default may stand in for. Who has none is told
/// what it was.
fn undefined(name: &str, error: &crate::template::TemplateError) -> Value {
    crate::template::touch::note_cause(name, error.to_string());
    Value::UNDEFINED
}

/// `fileglob`: files that patterns match; a bare name is searched under `files`.
pub(super) fn fileglob(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for pattern in call.texts() {
        let mut found = Vec::new();
        for candidate in call.scope.paths().candidates("files", &pattern) {
            found = files_matching(&crate::template::absolute(&candidate))?;
            if !found.is_empty() {
                break;
            }
        }
        out.extend(found.into_iter().map(Value::from));
    }
    Ok(out)
}

/// `filetree`: everything under directories, as dictionaries.
pub(super) fn filetree(call: &Call<'_>) -> Found {
    use std::os::unix::fs::MetadataExt;
    let mut out = Vec::new();
    for name in call.texts() {
        let root = find(call, "files", &name)?;
        let mut pending = vec![root.clone()];
        while let Some(dir) = pending.pop() {
            let entries =
                std::fs::read_dir(&dir).map_err(|e| fail(format!("filetree: cannot read {}: {e}", dir.display())))?;
            let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
            paths.sort();
            for path in paths {
                let meta = path.symlink_metadata().map_err(|e| fail(format!("filetree: {}: {e}", path.display())))?;
                let kind = if meta.is_symlink() {
                    "link"
                } else if meta.is_dir() {
                    "directory"
                } else {
                    "file"
                };
                out.push(Value::from_pairs([
                    ("root", Value::from(root.display().to_string())),
                    ("path", Value::from(path.strip_prefix(&root).unwrap_or(&path).display().to_string())),
                    ("state", Value::from(kind)),
                    ("src", Value::from(path.display().to_string())),
                    ("mode", Value::from(format!("0{:o}", meta.mode() & 0o7777))),
                    ("size", Value::from(meta.size())),
                ]));
                if meta.is_dir() {
                    pending.push(path);
                }
            }
        }
    }
    Ok(out)
}

fn split_names(value: &Value) -> Result<Vec<String>, Error> {
    if is_list(value) {
        let mut out = Vec::new();
        for item in items(value, "first_found")? {
            out.extend(split_names(&item)?);
        }
        return Ok(out);
    }
    Ok(py::str(value).split([',', ';', ':']).map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect())
}

/// `first_found`: the first file of several that exists.
pub(super) fn first_found(call: &Call<'_>) -> Found {
    let mut candidates: Vec<String> = Vec::new();
    let mut skip = call.flag("skip", false);
    let add = |files: Vec<String>, paths: Vec<String>, candidates: &mut Vec<String>| {
        if paths.is_empty() {
            candidates.extend(files);
        } else {
            for path in &paths {
                for file in &files {
                    candidates.push(format!("{}/{file}", path.trim_end_matches('/')));
                }
            }
        }
    };
    let option_paths = call.option("paths").map(split_names).transpose()?.unwrap_or_default();
    if let Some(files) = call.option("files") {
        let files = split_names(files)?;
        // Without a term each file is one, and is looked for everywhere before the next.
        match call.terms.is_empty() {
            true => files.into_iter().for_each(|file| add(vec![file], option_paths.clone(), &mut candidates)),
            false => add(files, option_paths.clone(), &mut candidates),
        }
    }
    let mut terms = Vec::new();
    for term in &call.terms {
        if is_list(term) { terms.extend(items(term, "first_found")?) } else { terms.push(term.clone()) }
    }
    for term in terms {
        if term.kind() == ValueKind::Map {
            let get = |key: &str| term.get_attr(key).ok().filter(|v| !v.is_undefined() && !v.is_none());
            let files = get("files").map(|f| split_names(&f)).transpose()?.unwrap_or_default();
            let paths = get("paths").map(|p| split_names(&p)).transpose()?.unwrap_or_default();
            if get("skip").is_some_and(|s| boolean(&s).unwrap_or(false)) {
                skip = true;
            }
            add(files, paths, &mut candidates);
        } else {
            add(vec![py::str(&term)], option_paths.clone(), &mut candidates);
        }
    }
    // A loop's task says where its files are; else the directories themselves come first.
    let first = match call.with {
        Some(action) if action.contains("template") => "templates",
        Some(action) if action.contains("var") => "vars",
        Some(_) => "files",
        None => "",
    };
    for name in &candidates {
        for subdir in [first, "files", "templates", "vars", "tasks"] {
            if let Some(found) = call.scope.paths().find(subdir, name) {
                let found = crate::template::absolute(&found);
                return Ok(vec![Value::from(crate::template::filters::path::normal(&found))]);
            }
        }
    }
    if skip {
        return Ok(Vec::new());
    }
    let how = if call.with.is_some() { "with_first_found" } else { "first_found" };
    Err(fail(format!("{how}: no file was found; tried {}", candidates.join(", "))))
}

fn run(command: &str, call: &Call<'_>) -> Result<String, Error> {
    let mut process = Command::new("/bin/sh");
    process.arg("-c").arg(command).stdin(std::process::Stdio::null());
    if let Some(dir) = call.scope.paths().roots.last().filter(|d| d.is_dir()) {
        process.current_dir(dir);
    }
    let output = process.output().map_err(|e| fail(format!("{}: cannot run the shell: {e}", call.name)))?;
    if !output.status.success() {
        return Err(fail(format!("{}: the command failed with {}", call.name, output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `pipe`: what a command prints.
pub(super) fn pipe(call: &Call<'_>) -> Found {
    call.texts().iter().map(|command| Ok(Value::from(run(command, call)?.trim_end()))).collect()
}

/// `lines`: the lines a command prints.
pub(super) fn lines(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for command in call.texts() {
        out.extend(run(&command, call)?.lines().map(Value::from));
    }
    Ok(out)
}

fn pairs_in(term: &str) -> (String, Vec<(String, String)>) {
    let mut words =
        shlex::split(term).unwrap_or_else(|| term.split_whitespace().map(str::to_owned).collect()).into_iter();
    let key = words.next().unwrap_or_default();
    (key, words.filter_map(|w| w.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect())
}

/// `csvfile`: a column of the row whose first column is the key.
pub(super) fn csvfile(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for term in call.texts() {
        let (first, params) = pairs_in(&term);
        // Without options of the old form all of it is the key.
        let key = if params.is_empty() { term.trim().to_owned() } else { first };
        let get =
            |name: &str| params.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).or_else(|| call.text(name));
        let name = get("file").unwrap_or_else(|| "ansible.csv".to_owned());
        let delimiter = match get("delimiter").as_deref() {
            None | Some("TAB" | "\\t" | "\t") => '\t',
            Some(d) => d.chars().next().unwrap_or(','),
        };
        let number = |name: &str, default: usize| get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
        let (column, key_column) = (number("col", 1), number("keycol", 0));
        let content = text(call, &find(call, "files", &name)?)?;
        let rows = csv::rows(&content, &csv::Dialect { delimiter, skip_spaces: false, strict: false })?;
        let found = rows.into_iter().find(|row| row.get(key_column) == Some(&key));
        match found.and_then(|row| row.get(column).cloned()) {
            Some(value) => out.push(Value::from(value)),
            None => out.extend(get("default").map(Value::from)),
        }
    }
    Ok(out)
}

/// The lines that say something, each with those that go on with it: what is indented belongs to the option above it.
fn whole_lines(content: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in content.lines() {
        let said = line.trim();
        if said.is_empty() || said.starts_with(['#', ';']) {
            continue;
        }
        match lines.last_mut() {
            Some(option) if line.starts_with([' ', '\t']) && !option.starts_with('[') => {
                option.push('\n');
                option.push_str(said);
            }
            _ => lines.push(said.to_owned()),
        }
    }
    lines
}

/// `ini`: an option of a section, or of a properties file.
pub(super) fn ini(call: &Call<'_>) -> Found {
    let mut out = Vec::new();
    for term in call.texts() {
        let (key, params) = pairs_in(&term);
        let get =
            |name: &str| params.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()).or_else(|| call.text(name));
        let name = get("file").unwrap_or_else(|| "ansible.ini".to_owned());
        let properties = get("type").as_deref() == Some("properties");
        let wanted = get("section").unwrap_or_else(|| "global".to_owned());
        let content = text(call, &find(call, "files", &name)?)?;
        let mut section = if properties { wanted.clone() } else { String::new() };
        // With `re` the key is a pattern, and all that match count.
        let pattern =
            call.flag("re", false) || get("re").is_some_and(|re| crate::source::parse_bool(&re) == Some(true));
        let mut matching: Vec<Value> = Vec::new();
        let interpolates =
            !properties && get("interpolation").is_none_or(|given| crate::source::parse_bool(&given) != Some(false));
        let sensitive = call.flag("case_sensitive", false);
        let same = |a: &str, b: &str| if sensitive { a == b } else { a.eq_ignore_ascii_case(b) };
        let mut found = None;
        let mut known = properties;
        for line in &whole_lines(&content) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                section = name.to_owned();
                known |= section == wanted;
            } else if section == wanted
                && pattern
                && let Some((k, v)) = line.split_once(['=', ':'])
            {
                let k = if sensitive { k.trim().to_owned() } else { k.trim().to_lowercase() };
                if regex::is_match(&k, &key, false, false, "match")? {
                    matching.push(Value::from(match interpolates {
                        true => interpolated(&content, &wanted, v.trim(), 10)?,
                        false => v.trim().to_owned(),
                    }));
                }
            } else if section == wanted
                && let Some((k, v)) = line.split_once(['=', ':'])
                && same(k.trim(), &key)
                && found.replace(v.trim().to_owned()).is_some()
                && !properties
            {
                return Err(fail(format!("ini: the option '{key}' stands twice in the section '{wanted}' of {name}")));
            }
        }
        if !known && get("default").is_none() {
            return Err(fail(format!("ini: there is no section '{wanted}' in {name}")));
        }
        if pattern {
            out.append(&mut matching);
            continue;
        }
        match found {
            Some(value) if interpolates => out.push(Value::from(interpolated(&content, &wanted, &value, 10)?)),
            Some(value) => out.push(Value::from(value)),
            None => out.push(Value::from(get("default").unwrap_or_default())),
        }
    }
    Ok(out)
}

/// Python's `BasicInterpolation`: `%(name)s` is what the option `name` of the section or of `[DEFAULT]` says, and `%%` one `%`.
fn interpolated(content: &str, section: &str, value: &str, depth: u32) -> Result<String, Error> {
    // The value itself may be a password.
    let bad = |why: &str| {
        fail(format!(
            "ini: {why} in a value of the section '{section}' (interpolation=false takes it as it is written)"
        ))
    };
    if depth == 0 {
        return Err(bad("values refer to each other too deeply"));
    }
    let mut out = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let named = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
        let Some((name, after)) = named else { return Err(bad("'%' must be followed by '%' or '(name)s'")) };
        let option = option_of(content, section, name).or_else(|| option_of(content, "DEFAULT", name));
        let option = option.ok_or_else(|| bad(&format!("there is no option '{name}' for '%({name})s'")))?;
        out += &interpolated(content, section, option, depth - 1)?;
        rest = after;
    }
    Ok(out + rest)
}

/// What an option of a section says.
fn option_of<'a>(content: &'a str, section: &str, name: &str) -> Option<&'a str> {
    let mut inside = false;
    content.lines().map(str::trim).find_map(|line| {
        if let Some(begun) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = begun == section;
            return None;
        }
        let (key, value) = line.split_once(['=', ':']).filter(|_| inside && !line.starts_with(['#', ';']))?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
