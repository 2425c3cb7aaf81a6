//! YAML as PyYAML writes it, and YAML read by our own loader.

mod emit;
mod scalar;

use minijinja::value::Value;

use self::emit::Options;
use self::scalar::Style;
use crate::source::{Diags, load_yaml_str};
use crate::template::args::{Args, R, fail};
use crate::template::lazy;

/// How long lines are when nothing else is said.
const WIDTH: usize = 80;

fn dump(args: &Args, mut options: Options) -> R {
    for (name, value) in args.named() {
        let number = || value.as_i64();
        match name.as_str() {
            "indent" => options.indent = indent(number()),
            "width" => {
                options.width = match number() {
                    Some(width) if width < 0 => usize::MAX,
                    width => width.and_then(|width| usize::try_from(width).ok()).unwrap_or(0),
                };
            }
            "sort_keys" => options.sort = value.is_true(),
            "default_flow_style" => options.flow = (!value.is_none()).then(|| value.is_true()),
            "default_style" => options.style = value.as_str().filter(|sign| !sign.is_empty()).map(Style::of),
            "explicit_start" => options.explicit_start = value.is_true(),
            "explicit_end" => options.explicit_end = value.is_true(),
            "canonical" => options.canonical = value.is_true(),
            "line_break" => {
                options.line_break = match value.as_str() {
                    Some("\r") => "\r",
                    Some("\r\n") => "\r\n",
                    _ => "\n",
                }
            }
            "encoding" | "vault_to_text" | "preprocess_unsafe" => {}
            // It is true, and cannot be said twice.
            "allow_unicode" => {
                return Err(fail(format!("{}: 'allow_unicode' is true and cannot be given", args.name())));
            }
            other => return Err(fail(format!("{}: the argument '{other}' is not supported", args.name()))),
        }
    }
    if options.width <= 2 * options.indent {
        options.width = WIDTH;
    }
    let value = lazy::writable(&args.value())?;
    emit::document(&value, &options).map(Value::from)
}

/// As far as libyaml takes it.
fn indent(wanted: Option<i64>) -> usize {
    wanted.and_then(|n| usize::try_from(n).ok()).filter(|n| (2..10).contains(n)).unwrap_or(2)
}

fn options(indent: usize, flow: Option<bool>) -> Options {
    Options {
        indent,
        width: WIDTH,
        sort: true,
        flow,
        style: None,
        explicit_start: false,
        explicit_end: false,
        canonical: false,
        line_break: "\n",
    }
}

pub(super) fn to_yaml(args: &Args) -> R {
    dump(args, options(2, None))
}

pub(super) fn to_nice_yaml(args: &Args) -> R {
    let indent = match args.int(1, "indent")? {
        None => 4,
        given => indent(given),
    };
    dump(args, options(indent, Some(false)))
}

/// Reads YAML text. Templates in it are not evaluated.
pub(crate) fn load(text: &str) -> R {
    let mut diags = Diags::new();
    let node = load_yaml_str("<from_yaml>", text, &mut diags);
    if let Some(diag) = diags.errors().next() {
        // The message names the place in the text, not the text.
        let place = diag.span().map(|s| s.line_col());
        let place = place.map(|(l, c)| format!(" at line {l} column {c}")).unwrap_or_default();
        return Err(fail(format!("from_yaml: invalid YAML{place}: {}", diag.message)));
    }
    Ok(node.map_or(Value::from(()), |n| lazy::plain_value(&n)))
}

pub(super) fn from_yaml(args: &Args) -> R {
    let value = args.value();
    match value.as_str() {
        Some(text) => load(text),
        None => Ok(value),
    }
}

pub(super) fn from_yaml_all(args: &Args) -> R {
    let value = args.value();
    if value.is_none() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    let Some(text) = value.as_str() else { return Ok(value) };
    let mut documents = Vec::new();
    let mut current = String::new();
    // A document that `---` begins is there though it is empty; without, it is what stands in it.
    let mut begun = false;
    // Comments say nothing, and directives (`%YAML 1.1`) are about what follows.
    let said = |text: &str| text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with(['#', '%']));
    for line in text.lines().map(Some).chain([None]) {
        let begins = line.is_some_and(|line| line == "---" || line.starts_with("--- "));
        match line {
            Some(line) if !begins && line != "..." => {
                current.push_str(line);
                current.push('\n');
            }
            _ => {
                if begun || said(&current) {
                    documents.push(load(&current)?);
                }
                current =
                    line.and_then(|line| line.strip_prefix("--- ")).map(|rest| format!("{rest}\n")).unwrap_or_default();
                begun = begins;
            }
        }
    }
    Ok(Value::from(documents))
}
