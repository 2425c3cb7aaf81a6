//! Paths, on the controller, as Python's `os.path` and `ntpath` treat them.

use std::path::{Path, PathBuf};

use minijinja::value::{Tuple, Value};

use crate::template::args::{Args, R, fail, is_list, items};
use crate::template::py;

fn value(args: &Args) -> String {
    py::str(&args.value())
}

pub(super) fn basename(args: &Args) -> R {
    let path = value(args);
    Ok(Value::from(path.rsplit('/').next().unwrap_or_default()))
}

/// `os.path.dirname`
pub(crate) fn parent(path: &str) -> String {
    let Some(at) = path.rfind('/') else { return String::new() };
    let head = path.get(..=at).unwrap_or_default();
    let cut = head.trim_end_matches('/');
    if cut.is_empty() { head.to_owned() } else { cut.to_owned() }
}

pub(super) fn dirname(args: &Args) -> R {
    Ok(Value::from(parent(&value(args))))
}

/// `os.path.normpath`
pub(in crate::template) fn normal(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let slashes = path.len() - path.trim_start_matches('/').len();
    let lead = match slashes {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if matches!(parts.last(), Some(last) if *last != "..") => {
                parts.pop();
            }
            ".." if !lead.is_empty() => {}
            part => parts.push(part),
        }
    }
    let joined = format!("{lead}{}", parts.join("/"));
    if joined.is_empty() { ".".to_owned() } else { joined }
}

pub(super) fn normpath(args: &Args) -> R {
    Ok(Value::from(normal(&value(args))))
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        return normal(path);
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    normal(&format!("{}/{path}", here.display()))
}

/// Follows links as far as the path exists.
pub(super) fn realpath(args: &Args) -> R {
    let path = absolute(&value(args));
    let mut known = PathBuf::from(&path);
    let mut rest: Vec<std::ffi::OsString> = Vec::new();
    loop {
        if let Ok(real) = std::fs::canonicalize(&known) {
            let mut real = real;
            for part in rest.iter().rev() {
                real.push(part);
            }
            return Ok(Value::from(real.display().to_string()));
        }
        match (known.file_name().map(ToOwned::to_owned), known.pop()) {
            (Some(name), true) => rest.push(name),
            _ => return Ok(Value::from(path)),
        }
    }
}

pub(super) fn relpath(args: &Args) -> R {
    let path = absolute(&value(args));
    let start = absolute(&args.text(1, "start").unwrap_or_else(|| ".".to_owned()));
    let split = |p: &str| p.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (path, start) = (split(&path), split(&start));
    let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".to_owned(), start.len() - common);
    let out: Vec<String> = up.chain(path.into_iter().skip(common)).collect();
    Ok(Value::from(if out.is_empty() { ".".to_owned() } else { out.join("/") }))
}

pub(super) fn expanduser(args: &Args) -> R {
    Ok(Value::from(crate::template::scope::expand_home(&value(args)).display().to_string()))
}

pub(super) fn expandvars(args: &Args) -> R {
    let text = value(args);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = from.get(1..).unwrap_or_default();
        let (name, length) = match after.strip_prefix('{').and_then(|a| a.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (after.get(..end).unwrap_or_default(), end + 1)
            }
        };
        match std::env::var(name) {
            Ok(found) if !name.is_empty() => out.push_str(&found),
            _ => out.push_str(from.get(..length).unwrap_or(from)),
        }
        rest = from.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(Value::from(out))
}

pub(super) fn splitext(args: &Args) -> R {
    let path = value(args);
    let name_at = path.rfind('/').map_or(0, |i| i + 1);
    let name = path.get(name_at..).unwrap_or_default();
    let dots = name.len() - name.trim_start_matches('.').len();
    let at = match name.get(dots..).and_then(|n| n.rfind('.')) {
        Some(i) => name_at + dots + i,
        None => path.len(),
    };
    let (root, ext) = path.split_at(at);
    Ok(Value::from(Tuple::from([Value::from(root), Value::from(ext)])))
}

pub(super) fn path_join(args: &Args) -> R {
    let given = args.value();
    let parts: Vec<String> = match given.as_str() {
        Some(one) => vec![one.to_owned()],
        None if is_list(&given) => items(&given, "path_join")?.iter().map(py::str).collect(),
        None => return Err(fail("path_join expects a string or a sequence")),
    };
    if parts.is_empty() {
        return Err(fail("path_join: the list is empty"));
    }
    let mut out = String::new();
    for (i, part) in parts.iter().enumerate() {
        if part.starts_with('/') || i == 0 {
            out.clone_from(part);
        } else {
            if !out.is_empty() && !out.ends_with('/') {
                out.push('/');
            }
            out.push_str(part);
        }
    }
    Ok(Value::from(out))
}

pub(super) fn commonpath(args: &Args) -> R {
    let paths: Vec<String> = args.items()?.iter().map(py::str).collect();
    let first = paths.first().ok_or_else(|| fail("commonpath: the list is empty"))?;
    let absolute = first.starts_with('/');
    if paths.iter().any(|p| p.starts_with('/') != absolute) {
        return Err(fail("commonpath: absolute and relative paths are mixed"));
    }
    let split = |p: &str| p.split('/').filter(|s| !s.is_empty() && *s != ".").map(str::to_owned).collect::<Vec<_>>();
    let mut common = split(first);
    for path in &paths {
        let n = common.iter().zip(split(path)).take_while(|(a, b)| **a == *b).count();
        common.truncate(n);
    }
    Ok(Value::from(format!("{}{}", if absolute { "/" } else { "" }, common.join("/"))))
}

/// Regular files that a pattern matches, sorted.
pub(crate) fn files_matching(pattern: &str) -> Result<Vec<String>, minijinja::Error> {
    let paths = glob::glob(pattern).map_err(|e| fail(format!("fileglob: invalid pattern: {e}")))?;
    let mut found: Vec<String> = paths.flatten().filter(|p| p.is_file()).map(|p| p.display().to_string()).collect();
    found.sort();
    Ok(found)
}

pub(super) fn fileglob(args: &Args) -> R {
    Ok(Value::from(files_matching(&value(args))?.into_iter().map(Value::from).collect::<Vec<_>>()))
}

pub(super) fn win_basename(args: &Args) -> R {
    let path = value(args);
    let (_, rest) = drive(&path);
    Ok(Value::from(rest.rsplit(['\\', '/']).next().unwrap_or_default()))
}

pub(super) fn win_dirname(args: &Args) -> R {
    let path = value(args);
    let (drive, rest) = drive(&path);
    let head = rest.rfind(['\\', '/']).and_then(|i| rest.get(..=i)).unwrap_or_default();
    let cut = head.trim_end_matches(['\\', '/']);
    Ok(Value::from(format!("{drive}{}", if cut.is_empty() { head } else { cut })))
}

fn drive(path: &str) -> (&str, &str) {
    let slash = |c: char| matches!(c, '\\' | '/');
    if path.starts_with(slash) && path.get(1..).is_some_and(|p| p.starts_with(slash)) {
        // A share: host and name are the drive.
        let second = path.get(2..).and_then(|p| p.find(slash)).map(|i| i + 2);
        let Some(second) = second else { return (path, "") };
        let third = path.get(second + 1..).and_then(|p| p.find(slash)).map(|i| i + second + 1);
        return path.split_at_checked(third.unwrap_or(path.len())).unwrap_or((path, ""));
    }
    match path.as_bytes() {
        [_, b':', ..] => path.split_at_checked(2).unwrap_or(("", path)),
        _ => ("", path),
    }
}

pub(super) fn win_splitdrive(args: &Args) -> R {
    let path = value(args);
    let (drive, rest) = drive(&path);
    Ok(Value::from(Tuple::from([Value::from(drive), Value::from(rest)])))
}

/// Whether two paths are the same file.
pub(crate) fn same_file(a: &str, b: &str) -> Result<bool, minijinja::Error> {
    use std::os::unix::fs::MetadataExt;
    let stat = |p: &str| std::fs::metadata(Path::new(p)).map_err(|e| fail(format!("cannot stat: {e}")));
    let (a, b) = (stat(a)?, stat(b)?);
    Ok(a.dev() == b.dev() && a.ino() == b.ino())
}
