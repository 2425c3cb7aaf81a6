//! Comparing versions: loose, strict and semantic.

use std::cmp::Ordering;

use minijinja::Error;

use crate::template::args::{Args, fail};
use crate::template::py;

/// `is version('1.2', '>=', strict=, version_type=)`
pub(super) fn compare(args: &Args) -> Result<bool, Error> {
    args.only(5, &["version", "operator", "strict", "version_type"])?;
    let (value, version) = (py::str(&args.value()), args.need_text(1, "version")?);
    if args.value().is_none() || value.is_empty() {
        return Err(fail("Input version value cannot be empty"));
    }
    if version.is_empty() {
        return Err(fail("Version parameter to compare against cannot be empty"));
    }
    let operator = args.text(2, "operator").unwrap_or_else(|| "eq".to_owned());
    let kind = args.text(4, "version_type");
    let strict = args.some(3, "strict");
    if strict.is_some() && kind.is_some() {
        return Err(fail("Cannot specify both 'strict' and 'version_type'"));
    }
    let order = match kind.as_deref() {
        None if strict.is_some_and(|s| s.is_true()) => strict_order(&value, &version)?,
        None | Some("loose") => loose(&value, &version)?,
        Some("strict") => strict_order(&value, &version)?,
        Some("semver" | "semantic") => semantic(&value, &version)?,
        Some("pep440") => pep440(&value, &version)?,
        Some(other) => return Err(fail(format!("Invalid version type ({other})"))),
    };
    Ok(match operator.as_str() {
        "==" | "=" | "eq" => order.is_eq(),
        "<" | "lt" => order.is_lt(),
        "<=" | "le" => order.is_le(),
        ">" | "gt" => order.is_gt(),
        ">=" | "ge" => order.is_ge(),
        "!=" | "<>" | "ne" => order.is_ne(),
        other => return Err(fail(format!("Invalid operator type ({other})"))),
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Number(u64),
    Text(String),
}

/// The components of distutils' LooseVersion: runs of digits, runs of letters, the rest without dots.
fn parts(text: &str) -> Vec<Part> {
    let mut out = Vec::new();
    let mut current = String::new();
    let class = |c: char| match c {
        '0'..='9' => 0,
        'a'..='z' => 1,
        '.' => 2,
        _ => 3,
    };
    let flush = |current: &mut String, out: &mut Vec<Part>| {
        if !current.is_empty() {
            out.push(current.parse().map_or_else(|_| Part::Text(current.clone()), Part::Number));
            current.clear();
        }
    };
    let mut last = None;
    for c in text.trim().chars() {
        let kind = class(c);
        if last != Some(kind) || kind == 2 {
            flush(&mut current, &mut out);
        }
        if kind != 2 {
            current.push(c);
        }
        last = Some(kind);
    }
    flush(&mut current, &mut out);
    out
}

/// LooseVersion's order. A number against a text cannot be compared, as in Python.
pub(in crate::template) fn loose(a: &str, b: &str) -> Result<Ordering, Error> {
    let (a, b) = (parts(a), parts(b));
    for (x, y) in a.iter().zip(&b) {
        let order = match (x, y) {
            (Part::Number(x), Part::Number(y)) => x.cmp(y),
            (Part::Text(x), Part::Text(y)) => x.cmp(y),
            _ => return Err(fail("Version comparison failed: '<' not supported between instances of 'str' and 'int'")),
        };
        if order.is_ne() {
            return Ok(order);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.chars().all(|c| c.is_ascii_digit()))
}

/// `1.2`, `1.2.3`, `1.2a1`, `1.2.3b4`
fn strict_order(a: &str, b: &str) -> Result<Ordering, Error> {
    let parse = |text: &str| -> Option<([u64; 3], (bool, char, u64))> {
        let at = text.find(['a', 'b']);
        let (numbers, pre) = at.map_or((text, None), |i| (text.get(..i).unwrap_or(""), text.get(i..)));
        let n: Option<Vec<u64>> = numbers.split('.').map(number).collect();
        let n = n.filter(|n| n.len() == 2 || n.len() == 3)?;
        let pre = match pre {
            None => (true, '~', 0),
            Some(p) => (false, p.chars().next()?, number(p.get(1..)?)?),
        };
        Some(([n.first().copied()?, n.get(1).copied()?, n.get(2).copied().unwrap_or(0)], pre))
    };
    let bad = |t: &str| fail(format!("Version comparison failed: invalid version number '{t}'"));
    Ok(parse(a).ok_or_else(|| bad(a))?.cmp(&parse(b).ok_or_else(|| bad(b))?))
}

fn semantic(a: &str, b: &str) -> Result<Ordering, Error> {
    let bad = |t: &str| fail(format!("Version comparison failed: invalid semantic version '{t}'"));
    let parse = |text: &str| -> Option<(Vec<u64>, Option<String>)> {
        let text = text.split('+').next()?;
        let (core, pre) = text.split_once('-').map_or((text, None), |(c, p)| (c, Some(p.to_owned())));
        let core: Option<Vec<u64>> = core.split('.').map(number).collect();
        core.filter(|c| c.len() == 3).map(|c| (c, pre))
    };
    let (x, y) = (parse(a).ok_or_else(|| bad(a))?, parse(b).ok_or_else(|| bad(b))?);
    let order = x.0.cmp(&y.0);
    if order.is_ne() {
        return Ok(order);
    }
    Ok(match (&x.1, &y.1) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(p), Some(q)) => {
            let mut order = Ordering::Equal;
            let (mut p, mut q) = (p.split('.'), q.split('.'));
            loop {
                let step = match (p.next(), q.next()) {
                    (None, None) => break,
                    (None, Some(_)) => Ordering::Less,
                    (Some(_), None) => Ordering::Greater,
                    (Some(a), Some(b)) => match (number(a), number(b)) {
                        (Some(a), Some(b)) => a.cmp(&b),
                        (Some(_), None) => Ordering::Less,
                        (None, Some(_)) => Ordering::Greater,
                        (None, None) => a.cmp(b),
                    },
                };
                if step.is_ne() {
                    order = step;
                    break;
                }
            }
            order
        }
    })
}

/// Releases with a, b, rc, .post and .dev; with epochs; local parts are not compared.
fn pep440(a: &str, b: &str) -> Result<Ordering, Error> {
    let parse = |text: &str| -> Option<(u64, Vec<u64>, i8, u64)> {
        let text = text.trim().to_lowercase();
        let text = text.trim_start_matches('v');
        // A local part, as in 1.0+ubuntu.1, is not compared.
        let text = text.split('+').next()?;
        let (epoch, text) = text.split_once('!').map_or((Some(0), text), |(epoch, rest)| (number(epoch), rest));
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let mut numbers: Vec<u64> = core.split('.').filter(|p| !p.is_empty()).map(number).collect::<Option<_>>()?;
        while numbers.last() == Some(&0) && numbers.len() > 1 {
            numbers.pop();
        }
        let rest = rest.trim_start_matches(['-', '_', '.']);
        let word: String = rest.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
        let n = number(rest.get(word.len()..)?.trim_start_matches(['-', '_', '.'])).unwrap_or(0);
        let rank = match word.as_str() {
            "dev" => -4,
            "a" | "alpha" => -3,
            "b" | "beta" => -2,
            "rc" | "c" | "pre" | "preview" => -1,
            "" => 0,
            "post" | "rev" | "r" => 1,
            _ => return None,
        };
        Some((epoch?, numbers, rank, n))
    };
    let bad = |t: &str| fail(format!("Version comparison failed: invalid version '{t}'"));
    Ok(parse(a).ok_or_else(|| bad(a))?.cmp(&parse(b).ok_or_else(|| bad(b))?))
}
