//! Dates and times: `now()`, `strftime`, `to_datetime`, and arithmetic on what they return.

mod format;
mod objects;
mod parse;
mod values;

use std::sync::LazyLock;

use jiff::civil;
use jiff::{Timestamp, Zoned};
use minijinja::Error;
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};

use self::values::{DAY, Date, DateTime, Named, SECOND, Time, TimeDelta, Zone};
use super::args::{Args, R, fail, to_float};

/// Python's `repr` of what Python's module `datetime` makes.
pub(super) fn repr(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Plain {
        return None;
    }
    stored_repr(value).or_else(|| value.downcast_object_ref::<TimeDelta>().map(|delta| delta.repr()))
}

/// The same of a date or a time: those alone can be a result.
fn stored_repr(value: &Value) -> Option<String> {
    let date = || value.downcast_object_ref::<Date>().map(|date| date.repr());
    let time = || value.downcast_object_ref::<Time>().map(Time::repr);
    value.downcast_object_ref::<DateTime>().map(DateTime::repr).or_else(date).or_else(time)
}

/// Whether it is a date or a time.
pub(super) fn is_moment(value: &Value) -> bool {
    value.kind() == ValueKind::Plain && stored_repr(value).is_some()
}

/// Whether it is a date, with or without a time: what YAML has.
pub(super) fn is_date_or_both(value: &Value) -> bool {
    value.downcast_object_ref::<DateTime>().is_some() || value.downcast_object_ref::<Date>().is_some()
}

/// Whether it is a difference of times.
pub(super) fn is_difference(value: &Value) -> bool {
    value.downcast_object_ref::<TimeDelta>().is_some()
}

/// The text of a tuple with names.
pub(super) fn named(value: &Value) -> Option<String> {
    value.downcast_object_ref::<Named>().map(Named::text)
}

/// Python's name of the type.
pub(super) fn type_name(value: &Value) -> Option<&'static str> {
    let object = value.as_object()?;
    Some(if object.downcast_ref::<DateTime>().is_some() {
        "datetime"
    } else if object.downcast_ref::<Date>().is_some() {
        "date"
    } else if object.downcast_ref::<Time>().is_some() {
        "time"
    } else if object.downcast_ref::<TimeDelta>().is_some() {
        "timedelta"
    } else if object.downcast_ref::<Zone>().is_some() {
        "timezone"
    } else {
        let named = object.downcast_ref::<Named>()?;
        named.kind.rsplit('.').next().unwrap_or(named.kind)
    })
}

/// A date or a time as JSON has it, with a `T` between the two.
pub(super) fn iso(value: &Value) -> Option<String> {
    is_moment(value).then(|| value.to_string().replacen(' ', "T", 1))
}

/// `'{:%Y}'.format(…)`: a date or a time by a format of its own.
pub(super) fn formatted(value: &Value, format: &str) -> Option<String> {
    let midnight = civil::Time::midnight();
    let of_date = || {
        value.downcast_object_ref::<Date>().map(|date| objects::strftime(format, date.0.to_datetime(midnight), None))
    };
    let of_time = || {
        let time = value.downcast_object_ref::<Time>()?;
        let at = civil::DateTime::from_parts(civil::date(1900, 1, 1), time.at);
        Some(objects::strftime(format, at, time.zone.as_ref()))
    };
    let of_both = value.downcast_object_ref::<DateTime>();
    of_both.map(|time| objects::strftime(format, time.at, time.zone.as_ref())).or_else(of_date).or_else(of_time)
}

/// The date or time that a plain scalar of YAML 1.1 means. One that no calendar has stays text.
pub(super) fn of_yaml(text: &str) -> Option<Value> {
    // As cheap as can be for all the others that begin with a digit.
    let bytes = text.as_bytes();
    if bytes.len() > 64 || bytes.get(4) != Some(&b'-') || !bytes.iter().take(4).all(u8::is_ascii_digit) {
        return None;
    }
    static FORM: LazyLock<Option<regex_lite::Regex>> = LazyLock::new(|| {
        regex_lite::Regex::new(concat!(
            r"^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?",
            r"(?:[ \t]*(?:(Z)|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?)?$"
        ))
        .ok()
    });
    let found = FORM.as_ref()?.captures(text)?;
    let number = |group: usize| found.get(group).and_then(|m| m.as_str().parse::<i8>().ok());
    let date = civil::Date::new(found.get(1)?.as_str().parse().ok()?, number(2)?, number(3)?).ok()?;
    if found.get(4).is_none() {
        // A day alone has two digits each.
        return (text.len() == 10).then(|| Value::from_object(Date(date)));
    }
    let fraction: String = found.get(7).map_or("", |m| m.as_str()).chars().chain("000000".chars()).take(6).collect();
    let nanos = fraction.parse::<i32>().ok()?.checked_mul(1000)?;
    let time = civil::Time::new(number(4)?, number(5)?, number(6)?, nanos).ok()?;
    let zone = match (found.get(8), found.get(9)) {
        (Some(_), _) => Some(0),
        (_, Some(sign)) => {
            let seconds = i64::from(number(10)?) * 3600 + i64::from(number(11).unwrap_or(0)) * 60;
            Some(if sign.as_str() == "-" { -seconds } else { seconds })
        }
        _ => None,
    };
    let zone = zone.map(|seconds| Zone::new(seconds * SECOND, None)).transpose().ok()?;
    Some(Value::from_object(DateTime { at: civil::DateTime::from_parts(date, time), zone }))
}

/// `a + b` where one of them is a difference of times.
pub(super) fn add(a: &Value, b: &Value) -> Option<R> {
    if a.kind() != ValueKind::Plain || b.kind() != ValueKind::Plain {
        return None;
    }
    match (a.downcast_object_ref::<TimeDelta>(), b.downcast_object_ref::<TimeDelta>()) {
        (Some(a), Some(b)) => Some(Ok(Value::from_object(TimeDelta(a.0.checked_add(b.0)?)))),
        (None, Some(by)) => later(a, by.0),
        (Some(by), None) => later(b, by.0),
        (None, None) => None,
    }
}

/// A date or time later by so many microseconds.
fn later(value: &Value, by: i64) -> Option<R> {
    if let Some(time) = value.downcast_object_ref::<DateTime>() {
        return Some(time.later(by).map(Value::from_object).map_err(fail));
    }
    let date = value.downcast_object_ref::<Date>()?;
    let moved = values::of_ordinal(values::ordinal(date.0) + by.div_euclid(DAY));
    Some(moved.map(|date| Value::from_object(Date(date))).map_err(fail))
}

/// `a - b` of times.
pub(super) fn subtract(a: &Value, b: &Value) -> Option<R> {
    if a.kind() != ValueKind::Plain || b.kind() != ValueKind::Plain {
        return None;
    }
    if let Some(by) = b.downcast_object_ref::<TimeDelta>() {
        return match a.downcast_object_ref::<TimeDelta>() {
            Some(a) => Some(Ok(Value::from_object(TimeDelta(a.0.checked_sub(by.0)?)))),
            // Of a date the days of the difference count, rounded before it is turned round.
            None if a.downcast_object_ref::<Date>().is_some() => later(a, -(by.days() * DAY)),
            None => later(a, by.0.checked_neg()?),
        };
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Date>(), b.downcast_object_ref::<Date>()) {
        let days = values::ordinal(a.0) - values::ordinal(b.0);
        return Some(Ok(Value::from_object(TimeDelta(days * DAY))));
    }
    let (a, b) = (a.downcast_object_ref::<DateTime>()?, b.downcast_object_ref::<DateTime>()?);
    Some(match a.zone.is_some() == b.zone.is_some() {
        true => Ok(Value::from_object(TimeDelta(a.micros() - b.micros()))),
        false => Err(fail("can't subtract offset-naive and offset-aware datetimes")),
    })
}

/// A difference of times without its sign.
pub(super) fn length(value: &Value) -> Option<Value> {
    let difference = value.downcast_object_ref::<TimeDelta>()?;
    Some(Value::from_object(TimeDelta(difference.0.checked_abs()?)))
}

/// Why one of them is neither before nor after the other.
pub(super) fn incomparable(a: &Value, b: &Value) -> Option<Error> {
    let (name, other) = (type_name(a)?, type_name(b)?);
    let zone = |value: &Value| {
        let of_time = || value.downcast_object_ref::<Time>().map(|time| time.zone.is_some());
        value.downcast_object_ref::<DateTime>().map(|time| time.zone.is_some()).or_else(of_time)
    };
    if name != other {
        return Some(fail(format!("can't compare datetime.{name} to datetime.{other}")));
    }
    (zone(a) != zone(b)).then(|| fail(format!("can't compare offset-naive and offset-aware {name}s")))
}

/// `now(utc=False, fmt=None)`.
pub(super) fn now(values: Rest<ValueOrKwargs>) -> R {
    let args = Args::new("now", values)?;
    args.only(2, &["utc", "fmt"])?;
    let now = match args.flag(0, "utc", false) {
        true => Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime(),
        false => Zoned::now().datetime(),
    };
    // Python counts microseconds.
    let now =
        now.round(jiff::civil::DateTimeRound::new().smallest(jiff::Unit::Microsecond).mode(jiff::RoundMode::Trunc));
    let now = now.map_err(|e| fail(format!("now: {e}")))?;
    Ok(match args.text(1, "fmt").filter(|format| !format.is_empty()) {
        Some(format) => Value::from(objects::strftime(&format, now, None)),
        None => Value::from_object(DateTime::plain(now)),
    })
}

/// `'%Y' | strftime(second, utc)`.
pub(super) fn strftime(args: &Args) -> R {
    args.only(3, &["second", "utc"])?;
    let format = objects::text_of(&args.value(), "strftime() argument 1")?;
    let at = match args.some(1, "second") {
        Some(v) => {
            let seconds = to_float(&v).filter(|seconds| seconds.is_finite());
            let seconds = seconds.ok_or_else(|| fail("strftime: invalid value for the epoch"))?;
            Timestamp::from_second(seconds.floor() as i64).map_err(|e| fail(format!("strftime: {e}")))?
        }
        None => Timestamp::now(),
    };
    let utc = args.flag(2, "utc", false);
    let zoned = at.to_zoned(if utc { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() });
    let info = zoned.time_zone().to_offset_info(at);
    // What C's `gmtime` returns is of a zone of its name.
    let zone = if utc { "GMT" } else { info.abbreviation() };
    let moment = format::Moment { at: zoned.datetime(), offset: info.offset().seconds(), zone };
    Ok(Value::from(format::format(&format, &moment)))
}

/// `'2024-01-01 00:00:00' | to_datetime(format)`.
pub(super) fn to_datetime(args: &Args) -> R {
    args.only(2, &["format"])?;
    let text = objects::text_of(&args.value(), "strptime() argument 1")?;
    let format = match args.get(1, "format") {
        Some(format) => objects::text_of(&format, "strptime() argument 2")?,
        None => "%Y-%m-%d %H:%M:%S".to_owned(),
    };
    let time = parse::parse(&text, &format).map_err(|e| fail(format!("to_datetime: {e}")))?;
    Ok(Value::from_object(time))
}
