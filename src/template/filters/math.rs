//! Numbers.

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use crate::template::args::{Args, R, ascii_digits, boolean, fail, is_list, items, to_float};
use crate::template::{py, time};

fn numeric(value: &Value) -> Option<Value> {
    match value.kind() {
        ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        ValueKind::Number => Some(value.clone()),
        _ => None,
    }
}

fn from_i128(n: i128) -> Value {
    match i64::try_from(n) {
        Ok(n) => Value::from(n),
        Err(_) => Value::from(n),
    }
}

fn both(a: &Value, b: &Value, op: &str) -> Result<(Value, Value), Error> {
    match (numeric(a), numeric(b)) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => Err(fail(format!(
            "unsupported operand type(s) for {op}: '{}' and '{}'",
            py::type_name(a),
            py::type_name(b)
        ))),
    }
}

fn ints(a: &Value, b: &Value) -> Option<(i128, i128)> {
    if a.is_integer() && b.is_integer() {
        Some((i128::try_from(a.clone()).ok()?, i128::try_from(b.clone()).ok()?))
    } else {
        None
    }
}

/// The two sides of an operator, neither of which may be undefined.
fn sides(args: &Args) -> Result<(Value, Value), Error> {
    match args.has_undefined() {
        true => Err(Error::from(ErrorKind::UndefinedError)),
        false => Ok((args.value(), args.need(1, "right")?)),
    }
}

/// `a + b` in a template.
pub(super) fn plus(args: &Args) -> R {
    let (a, b) = sides(args)?;
    add(&a, &b)
}

/// `a + b` of numbers, text, lists, and of times and their differences.
pub(super) fn add(a: &Value, b: &Value) -> R {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Value::from(format!("{a}{b}")));
    }
    if is_list(a) && is_list(b) && a.is_tuple() == b.is_tuple() {
        let tuple = a.is_tuple();
        let mut list = items(a, "+")?;
        list.extend(items(b, "+")?);
        return Ok(if tuple { Value::from(Tuple::from(list)) } else { Value::from(list) });
    }
    if let Some(later) = time::add(a, b) {
        return later;
    }
    if is_list(a) || a.as_str().is_some() {
        let (name, other) = (py::type_name(a), py::type_name(b));
        return Err(fail(format!("can only concatenate {name} (not \"{other}\") to {name}")));
    }
    let (a, b) = both(a, b, "+")?;
    if let Some(sum) = ints(&a, &b).and_then(|(a, b)| a.checked_add(b)) {
        return Ok(from_i128(sum));
    }
    Ok(Value::from(to_float(&a).unwrap_or(f64::NAN) + to_float(&b).unwrap_or(f64::NAN)))
}

/// `a - b` of numbers and times.
pub(super) fn subtract(args: &Args) -> R {
    let (a, b) = sides(args)?;
    if let Some(difference) = time::subtract(&a, &b) {
        return difference;
    }
    let (a, b) = both(&a, &b, "-")?;
    if let Some(rest) = ints(&a, &b).and_then(|(a, b)| a.checked_sub(b)) {
        return Ok(from_i128(rest));
    }
    Ok(Value::from(to_float(&a).unwrap_or(f64::NAN) - to_float(&b).unwrap_or(f64::NAN)))
}

/// `a % b`: the rest of numbers, or text with its values filled in.
pub(super) fn modulo(args: &Args) -> R {
    let (a, b) = sides(args)?;
    if let Some(text) = a.as_str() {
        return super::text::percent(text, &b);
    }
    let (a, b) = both(&a, &b, "%")?;
    if to_float(&b) == Some(0.0) {
        return Err(fail("integer modulo by zero"));
    }
    if let Some((a, b)) = ints(&a, &b) {
        return Ok(from_i128(a.checked_rem(b).map_or(0, |r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r })));
    }
    let (a, b) = (to_float(&a).unwrap_or(f64::NAN), to_float(&b).unwrap_or(f64::NAN));
    Ok(Value::from(a - b * (a / b).floor()))
}

/// `int(default, base)`
pub(super) fn int(args: &Args) -> R {
    let value = args.value();
    let default = args.get(1, "default").unwrap_or(Value::from(0));
    let base = u32::try_from(args.int(2, "base")?.unwrap_or(10)).unwrap_or(10).clamp(2, 36);
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value,
        ValueKind::Number => match to_float(&value) {
            Some(f) if f.is_finite() => from_i128(f.trunc() as i128),
            _ => default,
        },
        ValueKind::String => {
            let text = ascii_digits(value.as_str().unwrap_or_default().trim()).replace('_', "");
            let (sign, digits) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest.to_owned()),
                None => (1, text.strip_prefix('+').unwrap_or(&text).to_owned()),
            };
            let digits = match base {
                16 => digits.trim_start_matches("0x").trim_start_matches("0X"),
                8 => digits.trim_start_matches("0o").trim_start_matches("0O"),
                2 => digits.trim_start_matches("0b").trim_start_matches("0B"),
                _ => &digits,
            };
            match i128::from_str_radix(digits, base) {
                Ok(n) if !digits.starts_with(['+', '-']) => from_i128(sign * n),
                _ => match text.parse::<f64>() {
                    Ok(f) if f.is_finite() && base == 10 => from_i128(f.trunc() as i128),
                    _ => default,
                },
            }
        }
        _ => default,
    })
}

/// `float(default)`
pub(super) fn float(args: &Args) -> R {
    let value = args.value();
    Ok(match to_float(&value) {
        Some(f) => Value::from(f),
        None => args.get(1, "default").unwrap_or(Value::from(0.0)),
    })
}

pub(super) fn abs(args: &Args) -> R {
    let value = args.value();
    if let Some(difference) = time::length(&value) {
        return Ok(difference);
    }
    let number = numeric(&value).ok_or_else(|| fail(format!("abs: bad operand type '{}'", py::type_name(&value))))?;
    if number.is_integer()
        && let Ok(n) = i128::try_from(number.clone())
    {
        return Ok(from_i128(n.abs()));
    }
    Ok(Value::from(to_float(&number).unwrap_or(f64::NAN).abs()))
}

/// `round(precision, method)`: always a float, as Jinja's; half to even, as Python's.
pub(super) fn round(args: &Args) -> R {
    let value = args.value();
    let f = numeric(&value)
        .and_then(|v| to_float(&v))
        .ok_or_else(|| fail(format!("round: type '{}' cannot be rounded", py::type_name(&value))))?;
    let precision = i32::try_from(args.int(1, "precision")?.unwrap_or(0)).unwrap_or(0).clamp(-300, 300);
    let scale = 10f64.powi(precision);
    let out = match args.text(2, "method").as_deref().unwrap_or("common") {
        "common" if precision > 0 && precision < 18 => {
            format!("{:.*}", usize::try_from(precision).unwrap_or(0), f).parse().unwrap_or(f)
        }
        "common" => (f * scale).round_ties_even() / scale,
        "ceil" => (f * scale).ceil() / scale,
        "floor" => (f * scale).floor() / scale,
        other => return Err(fail(format!("round: the method must be common, ceil or floor, not '{other}'"))),
    };
    if value.is_integer() && args.text(2, "method").is_none_or(|m| m == "common") {
        return Ok(from_i128(out as i128));
    }
    Ok(Value::from(out))
}

fn number(args: &Args) -> Result<f64, Error> {
    numeric(&args.value())
        .and_then(|v| to_float(&v))
        .ok_or_else(|| fail(format!("{}() can only be used on numbers", args.name())))
}

pub(super) fn log(args: &Args) -> R {
    let x = number(args)?;
    let base = args
        .some(1, "base")
        .map_or(Ok(std::f64::consts::E), |b| to_float(&b).ok_or_else(|| fail("log() can only be used on numbers")))?;
    if x <= 0.0 {
        return Err(fail("log: math domain error"));
    }
    Ok(Value::from(if base == 10.0 {
        x.log10()
    } else if base == std::f64::consts::E {
        x.ln()
    } else {
        x.ln() / base.ln()
    }))
}

pub(super) fn pow(args: &Args) -> R {
    let y = to_float(&args.need(1, "y")?).ok_or_else(|| fail("pow() can only be used on numbers"))?;
    Ok(Value::from(number(args)?.powf(y)))
}

pub(super) fn root(args: &Args) -> R {
    let x = number(args)?;
    let base = args.some(1, "base").and_then(|b| to_float(&b)).unwrap_or(2.0);
    if x < 0.0 {
        return Err(fail("root() can only be used on positive numbers"));
    }
    Ok(Value::from(if base == 2.0 { x.sqrt() } else { x.powf(1.0 / base) }))
}

const UNITS: &[(char, u64)] = &[
    ('Y', 80),
    ('Z', 70),
    ('E', 1 << 60),
    ('P', 1 << 50),
    ('T', 1 << 40),
    ('G', 1 << 30),
    ('M', 1 << 20),
    ('K', 1 << 10),
    ('B', 1),
];

fn factor(unit: char) -> Option<f64> {
    match unit {
        'Y' => Some(2f64.powi(80)),
        'Z' => Some(2f64.powi(70)),
        _ => UNITS.iter().find(|(c, _)| *c == unit).map(|(_, n)| *n as f64),
    }
}

/// `human_readable(isbits, unit)`
pub(super) fn human_readable(args: &Args) -> R {
    let size = to_float(&args.value()).ok_or_else(|| fail("human_readable() can't interpret the input"))?;
    let bits = args.flag(1, "isbits", false);
    let base = if bits { "bits" } else { "Bytes" };
    let unit = args.text(2, "unit").and_then(|u| u.chars().next()).map(|c| c.to_ascii_uppercase());
    let mut chosen = ('B', 1.0);
    for (c, _) in UNITS {
        let limit = factor(*c).unwrap_or(1.0);
        if (unit.is_none() && size.abs() >= limit) || unit == Some(*c) {
            chosen = (*c, limit);
            break;
        }
    }
    let suffix =
        if chosen.1 == 1.0 { base.to_owned() } else { format!("{}{}", chosen.0, if bits { "b" } else { "B" }) };
    Ok(Value::from(format!("{:.2} {suffix}", size / chosen.1)))
}

/// `human_to_bytes(default_unit, isbits)`
pub(super) fn human_to_bytes(args: &Args) -> R {
    let text = py::str(&args.value());
    let bad = || fail("human_to_bytes() can't interpret the input");
    // A number, a unit, and blanks behind each of them.
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit = unit.trim();
    if digits.ends_with('.') || !unit.chars().all(|c| c.is_ascii_alphabetic()) {
        return Err(bad());
    }
    let n: f64 = digits.parse().map_err(|_| bad())?;
    let default = args.text(1, "default_unit").filter(|_| unit.is_empty());
    let unit = default.as_deref().unwrap_or(unit);
    let Some(first) = unit.chars().next().map(|c| c.to_ascii_uppercase()) else {
        return Ok(from_i128(n.round_ties_even() as i128));
    };
    let scale = factor(first).ok_or_else(bad)?;
    let bits = args.flag(2, "isbits", false);
    let name = match first {
        'B' => "",
        'K' => "kilo",
        'M' => "mega",
        'G' => "giga",
        'T' => "tera",
        'P' => "peta",
        'E' => "exa",
        'Z' => "zeta",
        _ => "yotta",
    };
    let spelled = format!("{name}{}", if bits { "bit" } else { "byte" });
    let short = match first {
        'B' => if bits { "b" } else { "B" }.to_owned(),
        first => format!("{first}{}", if bits { 'b' } else { 'B' }),
    };
    if unit.len() > 1 && unit != short && !unit.eq_ignore_ascii_case(&spelled) {
        return Err(fail(format!(
            "human_to_bytes() can't interpret the input: its unit is none of {short}, {first} and {spelled}"
        )));
    }
    Ok(from_i128((n * scale).round_ties_even() as i128))
}

/// `filesizeformat(binary)`
pub(super) fn filesizeformat(args: &Args) -> R {
    let bytes = to_float(&args.value()).ok_or_else(|| fail("filesizeformat needs a number"))?;
    let binary = args.some(1, "binary").is_some_and(|b| boolean(&b).unwrap_or(b.is_true()));
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(Value::from("1 Byte"));
    }
    if bytes < base {
        return Ok(Value::from(format!("{} Bytes", bytes as i64)));
    }
    let units = if binary {
        ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    } else {
        ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    };
    let mut unit = base;
    for (i, name) in units.iter().enumerate() {
        unit = base.powi(i32::try_from(i).unwrap_or(0) + 2);
        if bytes < unit {
            return Ok(Value::from(format!("{:.1} {name}", base * bytes / unit)));
        }
    }
    Ok(Value::from(format!("{:.1} {}", base * bytes / unit, units.last().copied().unwrap_or_default())))
}

/// `%e`
pub(crate) fn exponent(f: f64, precision: usize) -> String {
    let text = format!("{f:.precision$e}");
    match text.split_once('e') {
        Some((m, e)) => match e.strip_prefix('-') {
            Some(e) => format!("{m}e-{e:0>2}"),
            None => format!("{m}e+{e:0>2}"),
        },
        None => text,
    }
}

/// `%g`
pub(crate) fn general(f: f64, precision: usize) -> String {
    if f == 0.0 {
        return "0".to_owned();
    }
    let precision = precision.max(1);
    let magnitude = f.abs().log10().floor() as i32;
    let strip = |t: String| if t.contains('.') { t.trim_end_matches('0').trim_end_matches('.').to_owned() } else { t };
    if magnitude < -4 || magnitude >= i32::try_from(precision).unwrap_or(6) {
        let text = exponent(f, precision - 1);
        match text.split_once('e') {
            Some((m, e)) => format!("{}e{e}", strip(m.to_owned())),
            None => text,
        }
    } else {
        let decimals = usize::try_from(i32::try_from(precision).unwrap_or(6) - 1 - magnitude).unwrap_or(0);
        strip(format!("{f:.decimals$}"))
    }
}

/// The seconds of a unit, as community.general reads it.
fn unit_seconds(unit: &str, who: &str) -> Result<f64, Error> {
    let lower = unit.to_lowercase();
    let short = lower.strip_suffix('s').filter(|s| !s.is_empty() && *s != "m").unwrap_or(&lower);
    Ok(match short {
        "ms" | "msec" | "millisecond" => 0.001,
        "s" | "sec" | "second" | "" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        "d" | "day" => 86400.0,
        "w" | "week" => 604_800.0,
        "mo" | "month" => 2_592_000.0,
        "y" | "year" => 31_536_000.0,
        _ => return Err(fail(format!("{who}: unknown unit '{unit}'"))),
    })
}

/// `'1d 2h'` in a unit, to twelve decimals.
fn duration(args: &Args, unit: f64) -> R {
    let text = py::str(&args.value());
    let mut total = 0.0;
    for part in text.split_whitespace() {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(part.len());
        let (n, of) = part.split_at(end);
        let n: f64 = n.parse().map_err(|_| fail(format!("{}: cannot read the duration", args.name())))?;
        total += n * unit_seconds(of, args.name())?;
    }
    Ok(Value::from(format!("{:.12}", total / unit).parse::<f64>().unwrap_or(total / unit)))
}

pub(super) fn to_milliseconds(args: &Args) -> R {
    duration(args, 0.001)
}

pub(super) fn to_seconds(args: &Args) -> R {
    duration(args, 1.0)
}

pub(super) fn to_minutes(args: &Args) -> R {
    duration(args, 60.0)
}

pub(super) fn to_hours(args: &Args) -> R {
    duration(args, 3600.0)
}

pub(super) fn to_days(args: &Args) -> R {
    duration(args, 86400.0)
}

pub(super) fn to_weeks(args: &Args) -> R {
    duration(args, 604_800.0)
}

/// `to_months(month=30)`: a month has as many days as are said.
pub(super) fn to_months(args: &Args) -> R {
    duration(args, 86400.0 * args.some(usize::MAX, "month").and_then(|d| to_float(&d)).unwrap_or(30.0))
}

pub(super) fn to_years(args: &Args) -> R {
    duration(args, 86400.0 * args.some(usize::MAX, "year").and_then(|d| to_float(&d)).unwrap_or(365.0))
}

/// `to_time_unit(unit)`
pub(super) fn to_time_unit(args: &Args) -> R {
    let unit = args.text(1, "unit").unwrap_or_else(|| "ms".to_owned());
    duration(args, unit_seconds(&unit, args.name())?)
}
