//! Tests: what may follow `is`.

pub(super) mod version;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error};

use super::args::{Args, boolean, fail, is_list, items};
use super::filters::{address_kind as kind, regex};
use super::py;

type B = Result<bool, Error>;

struct Entry {
    name: &'static str,
    run: fn(&Args) -> B,
    accepts_undefined: bool,
}

const fn test(name: &'static str, run: fn(&Args) -> B) -> Entry {
    Entry { name, run, accepts_undefined: false }
}

const fn accepting(name: &'static str, run: fn(&Args) -> B) -> Entry {
    Entry { name, run, accepts_undefined: true }
}

static CORE: &[Entry] = &[
    test("__lt", |a| ordered(a, |o| o.is_lt())),
    test("__le", |a| ordered(a, |o| o.is_le())),
    test("__gt", |a| ordered(a, |o| o.is_gt())),
    test("__ge", |a| ordered(a, |o| o.is_ge())),
    test("__in", |a| contains(&a.need(1, "seq")?, &a.value())),
    test("__never", |_| Ok(false)),
    accepting("defined", |a| Ok(!a.value().is_undefined())),
    accepting("undefined", |a| Ok(a.value().is_undefined())),
    test("none", |a| Ok(a.value().is_none())),
    test("boolean", |a| Ok(a.value().kind() == ValueKind::Bool)),
    test("true", |a| Ok(a.value() == Value::from(true) && a.value().kind() == ValueKind::Bool)),
    test("false", |a| Ok(a.value() == Value::from(false) && a.value().kind() == ValueKind::Bool)),
    test("integer", |a| Ok(a.value().is_integer())),
    test("float", |a| Ok(a.value().is_number() && !a.value().is_integer())),
    test("number", |a| Ok(a.value().is_number() || a.value().kind() == ValueKind::Bool)),
    test("string", |a| Ok(a.value().kind() == ValueKind::String)),
    test("mapping", |a| Ok(a.value().kind() == ValueKind::Map)),
    test("sequence", |a| Ok(matches!(a.value().kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map))),
    test("iterable", |a| Ok(a.value().try_iter().is_ok() && !a.value().is_none())),
    test("callable", |a| {
        let macro_ = a.value().as_object().is_some_and(|o| o.type_name().contains("Macro"));
        Ok(macro_ || a.value().kind() == ValueKind::Plain)
    }),
    test("odd", |a| Ok(integer(a)? % 2 != 0)),
    test("even", |a| Ok(integer(a)? % 2 == 0)),
    test("divisibleby", |a| {
        let by =
            a.int(1, "num")?.filter(|n| *n != 0).ok_or_else(|| fail("divisibleby needs a number that is not 0"))?;
        Ok(integer(a)? % by == 0)
    }),
    test("lower", |a| Ok(cased(a, char::is_uppercase))),
    test("upper", |a| Ok(cased(a, char::is_lowercase))),
    test("sameas", same),
    test("escaped", |a| Ok(a.value().is_safe())),
    test("in", |a| contains(&a.need(1, "seq")?, &a.value())),
    test("contains", |a| contains(&a.value(), &a.need(1, "value")?)),
    test("eq", |a| Ok(a.value() == a.need(1, "other")?)),
    test("equalto", |a| Ok(a.value() == a.need(1, "other")?)),
    test("==", |a| Ok(a.value() == a.need(1, "other")?)),
    test("ne", |a| Ok(a.value() != a.need(1, "other")?)),
    test("!=", |a| Ok(a.value() != a.need(1, "other")?)),
    test("lt", |a| ordered(a, |o| o.is_lt())),
    test("lessthan", |a| ordered(a, |o| o.is_lt())),
    test("<", |a| ordered(a, |o| o.is_lt())),
    test("le", |a| ordered(a, |o| o.is_le())),
    test("<=", |a| ordered(a, |o| o.is_le())),
    test("gt", |a| ordered(a, |o| o.is_gt())),
    test("greaterthan", |a| ordered(a, |o| o.is_gt())),
    test(">", |a| ordered(a, |o| o.is_gt())),
    test("ge", |a| ordered(a, |o| o.is_ge())),
    test(">=", |a| ordered(a, |o| o.is_ge())),
    test("filter", |a| Ok(super::filters::is_known(&py::str(&a.value())))),
    test("test", |a| Ok(is_known(&py::str(&a.value())))),
    // Results of tasks.
    test("failed", |a| result(a, "failed")),
    test("failure", |a| result(a, "failed")),
    test("succeeded", |a| Ok(!result(a, "failed")?)),
    test("success", |a| Ok(!result(a, "failed")?)),
    test("successful", |a| Ok(!result(a, "failed")?)),
    test("unreachable", |a| result(a, "unreachable")),
    test("reachable", |a| Ok(!result(a, "unreachable")?)),
    test("changed", changed),
    test("change", changed),
    test("skipped", |a| result(a, "skipped")),
    test("skip", |a| result(a, "skipped")),
    test("started", |a| async_flag(a, "started")),
    test("finished", |a| async_flag(a, "finished")),
    test("timedout", |a| {
        let timed = of_result(a, "timedout")?;
        Ok(timed.is_true() && timed.get_attr("period").is_ok_and(|p| p.is_true()))
    }),
    // Text.
    test("match", |a| matches(a, "match")),
    test("search", |a| matches(a, "search")),
    test("regex", |a| {
        let kind = a.text(4, "match_type").unwrap_or_else(|| "search".to_owned());
        matches(a, &kind)
    }),
    test("version", version::compare),
    test("version_compare", version::compare),
    test("startingwith", |a| Ok(py::str(&a.value()).starts_with(&a.need_text(1, "prefix")?))),
    test("endingwith", |a| Ok(py::str(&a.value()).ends_with(&a.need_text(1, "suffix")?))),
    // A template sees `!vault` values decrypted, and text that only looks like one is not what is asked for.
    accepting("vault_encrypted", |_| Ok(false)),
    test("vaulted_file", |a| {
        std::fs::read(py::str(&a.value()))
            .map(|bytes| crate::vars::vault::is_encrypted_bytes(&bytes))
            .map_err(|_| fail("vaulted_file: cannot read the file"))
    }),
    // Truth.
    test("truthy", |a| Ok(truth(a))),
    test("falsy", |a| Ok(!truth(a))),
    test("any", |a| Ok(a.items()?.iter().any(Value::is_true))),
    test("all", |a| Ok(a.items()?.iter().all(Value::is_true))),
    // Sets and numbers.
    test("subset", |a| subset(&a.value(), &a.need(1, "b")?)),
    test("issubset", |a| subset(&a.value(), &a.need(1, "b")?)),
    test("superset", |a| subset(&a.need(1, "b")?, &a.value())),
    test("issuperset", |a| subset(&a.need(1, "b")?, &a.value())),
    test("nan", |a| Ok(super::args::to_float(&a.value()).is_some_and(f64::is_nan))),
    test("isnan", |a| Ok(super::args::to_float(&a.value()).is_some_and(f64::is_nan))),
    // Files, on the controller.
    test("file", |a| Ok(path(a).is_file())),
    test("is_file", |a| Ok(path(a).is_file())),
    test("directory", |a| Ok(path(a).is_dir())),
    test("is_dir", |a| Ok(path(a).is_dir())),
    test("link", |a| Ok(path(a).is_symlink())),
    test("is_link", |a| Ok(path(a).is_symlink())),
    test("exists", |a| Ok(path(a).exists())),
    test("link_exists", |a| Ok(path(a).symlink_metadata().is_ok())),
    test("abs", |a| Ok(path(a).is_absolute())),
    test("is_abs", |a| Ok(path(a).is_absolute())),
    test("same_file", |a| super::filters::path_same_file(&py::str(&a.value()), &a.need_text(1, "path")?)),
    test("is_same_file", |a| super::filters::path_same_file(&py::str(&a.value()), &a.need_text(1, "path")?)),
    test("mount", is_mount),
    test("is_mount", is_mount),
    test("uri", |a| Ok(uri(a)?.is_some())),
    test("url", |a| Ok(uri(a)?.is_some_and(|(scheme, rest)| scheme == "file" || has_host(&rest)))),
    test("urn", |a| Ok(uri(a)?.is_some_and(|(scheme, rest)| scheme == "urn" && !has_host(&rest)))),
];

static UTILS: &[Entry] = &[
    test("ip_address", |a| Ok(kind::is_address(&text(a), None))),
    test("ipv4_address", |a| Ok(kind::is_address(&text(a), Some(true)))),
    test("ipv6_address", |a| Ok(kind::is_address(&text(a), Some(false)))),
    test("ip", |a| Ok(kind::is_network(&text(a), None))),
    test("ipv4", |a| Ok(kind::is_network(&text(a), Some(true)))),
    test("ipv6", |a| Ok(kind::is_network(&text(a), Some(false)))),
    test("ipv4_netmask", |a| Ok(kind::is_netmask(&text(a)))),
    test("ipv4_hostmask", |a| Ok(kind::is_hostmask(&text(a)))),
    test("ipv6_ipv4_mapped", |a| Ok(kind::is_mapped(&text(a)))),
    test("ipv6_sixtofour", |a| Ok(kind::is_six_in(&text(a), "2002::/16"))),
    test("ipv6_teredo", |a| Ok(kind::is_six_in(&text(a), "2001::/32"))),
    test("in_network", |a| Ok(kind::lies_in(&text(a), &a.need_text(1, "network")?))),
    test("in_any_network", |a| Ok(networks_around(a)? > 0)),
    test("in_one_network", |a| Ok(networks_around(a)? == 1)),
    test("subnet_of", |a| Ok(kind::lies_in(&text(a), &a.need_text(1, "network_b")?))),
    test("supernet_of", |a| Ok(kind::lies_in(&a.need_text(1, "network_b")?, &text(a)))),
    test("loopback", |a| Ok(kind::is_loopback(&text(a)))),
    test("unspecified", |a| Ok(kind::is_unspecified(&text(a)))),
    test("multicast", |a| Ok(kind::is_group(&text(a)))),
    test("public", |a| Ok(kind::is_public(&text(a)))),
    test("private", |a| Ok(kind::is_private(&text(a)))),
    test("reserved", |a| Ok(kind::is_reserved(&text(a)))),
    test("mac", |a| Ok(kind::is_mac(&text(a)))),
];

static TABLE: LazyLock<BTreeMap<String, &'static Entry>> = LazyLock::new(|| {
    let mut table = BTreeMap::new();
    for entry in CORE {
        table.insert(entry.name.to_owned(), entry);
        for prefix in ["ansible.builtin", "ansible.legacy"] {
            table.insert(format!("{prefix}.{}", entry.name), entry);
        }
    }
    for entry in UTILS {
        table.insert(entry.name.to_owned(), entry);
        table.insert(format!("ansible.utils.{}", entry.name), entry);
    }
    table
});

/// Whether there is a test of this name.
pub(super) fn is_known(name: &str) -> bool {
    if name.contains(char::is_whitespace) {
        let plain: String = name.chars().filter(|c| !c.is_whitespace()).collect();
        return TABLE.contains_key(&plain);
    }
    TABLE.contains_key(name)
}

/// The short names of all tests.
pub fn names() -> Vec<&'static str> {
    CORE.iter().chain(UTILS).map(|e| e.name).filter(|n| n.starts_with(|c: char| c.is_ascii_alphabetic())).collect()
}

/// Adds the tests to an environment.
pub(super) fn register(env: &mut Environment<'static>) {
    for (name, entry) in TABLE.iter() {
        let (who, run, accepts) = (entry.name, entry.run, entry.accepts_undefined);
        env.add_test(name.clone(), move |values: Rest<ValueOrKwargs>| -> B {
            let args = Args::new(who, values)?;
            if !accepts && args.has_undefined() {
                return Err(Error::from(minijinja::ErrorKind::UndefinedError));
            }
            run(&args)
        });
    }
}

fn ordered(args: &Args, test: fn(std::cmp::Ordering) -> bool) -> B {
    super::filters::compare(&args.value(), &args.need(1, "other")?).map(test)
}

fn integer(args: &Args) -> Result<i64, Error> {
    super::args::to_int(&args.value())
        .filter(|_| args.value().kind() != ValueKind::String)
        .ok_or_else(|| fail(format!("{}: not an integer but '{}'", args.name(), py::type_name(&args.value()))))
}

fn cased(args: &Args, other: fn(char) -> bool) -> bool {
    let text = py::str(&args.value());
    text.chars().any(char::is_alphabetic) && !text.chars().any(other)
}

fn same(args: &Args) -> B {
    let (a, b) = (args.value(), args.need(1, "other")?);
    Ok(a.kind() == b.kind() && a.is_integer() == b.is_integer() && a == b)
}

/// `a in b`
fn contains(container: &Value, value: &Value) -> B {
    match container.kind() {
        ValueKind::String => match value.as_str() {
            Some(part) => Ok(container.as_str().unwrap_or_default().contains(part)),
            None => Err(fail(format!("'in <string>' requires string as left operand, not {}", py::type_name(value)))),
        },
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => Ok(items(container, "in")?.contains(value)),
        _ => Err(fail(format!("argument of type '{}' is not iterable", py::type_name(container)))),
    }
}

fn of_result(args: &Args, key: &str) -> Result<Value, Error> {
    let value = args.value();
    if value.kind() != ValueKind::Map {
        return Err(fail(format!("The '{}' test expects a dictionary", args.name())));
    }
    let found = value.get_attr(key)?;
    if found.kind() == ValueKind::Invalid { Err(super::lazy::error_in(&found)) } else { Ok(found) }
}

fn result(args: &Args, key: &str) -> B {
    Ok(of_result(args, key)?.is_true())
}

fn changed(args: &Args) -> B {
    let changed = of_result(args, "changed")?;
    if !changed.is_undefined() {
        return Ok(changed.is_true());
    }
    let results = of_result(args, "results")?;
    if !is_list(&results) {
        return Ok(false);
    }
    Ok(items(&results, "changed")?.iter().any(|r| r.get_attr("changed").is_ok_and(|c| c.is_true())))
}

fn async_flag(args: &Args, key: &str) -> B {
    let flag = of_result(args, key)?;
    Ok(flag.is_undefined() || flag.is_true())
}

fn matches(args: &Args, kind: &str) -> B {
    let value = args.value();
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None => py::str(&value),
    };
    let pattern = args.text(1, "pattern").unwrap_or_default();
    regex::is_match(&text, &pattern, args.flag(2, "ignorecase", false), args.flag(3, "multiline", false), kind)
}

fn truth(args: &Args) -> bool {
    let value = args.value();
    if args.flag(1, "convert_bool", false)
        && let Some(b) = boolean(&value)
    {
        return b;
    }
    value.is_true()
}

fn subset(a: &Value, b: &Value) -> B {
    let b = items(b, "subset")?;
    Ok(items(a, "subset")?.iter().all(|v| b.contains(v)))
}

fn text(args: &Args) -> String {
    py::str(&args.value())
}

/// In how many of the networks the address lies.
fn networks_around(args: &Args) -> Result<usize, Error> {
    let networks = items(&args.need(1, "networks")?, args.name())?;
    Ok(networks.iter().filter(|network| kind::lies_in(&text(args), &py::str(network))).count())
}

fn path(args: &Args) -> std::path::PathBuf {
    std::path::PathBuf::from(py::str(&args.value()))
}

fn is_mount(args: &Args) -> B {
    use std::os::unix::fs::MetadataExt;
    let path = path(args);
    let device = |p: &Path| std::fs::metadata(p).map(|m| (m.dev(), m.ino()));
    match (device(&path), device(&path.join(".."))) {
        (Ok(here), Ok(above)) => Ok(here.0 != above.0 || here.1 == above.1),
        _ => Ok(false),
    }
}

/// A scheme and what follows it, if the scheme is one of those asked for. Text without one is a relative address.
fn uri(args: &Args) -> Result<Option<(String, String)>, Error> {
    let text = py::str(&args.value());
    let scheme = |s: &str| {
        s.starts_with(|c: char| c.is_ascii_alphabetic())
            && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    let found = match text.split_once(':').filter(|(s, _)| scheme(s)) {
        Some((scheme, rest)) => (scheme.to_lowercase(), rest.to_owned()),
        None => (String::new(), text),
    };
    let wanted: Vec<String> = match args.some(1, "schemes") {
        Some(list) => items(&list, args.name())?.iter().map(py::str).collect(),
        None if args.name() == "urn" => vec!["urn".to_owned()],
        None => Vec::new(),
    };
    Ok(Some(found).filter(|(scheme, _)| wanted.is_empty() || wanted.contains(scheme)))
}

/// Whether `//host` stands there.
fn has_host(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|r| !r.is_empty() && !r.starts_with(['/', '?', '#']))
}
