//! Dates and times: `now()`, `strftime`, `to_datetime`, and arithmetic on what they return.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::civil;
use jiff::{Timestamp, Zoned};
use minijinja::value::{DynObject, Object, ObjectRepr, Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State};

use super::args::{Args, R, fail, to_float};

/// A point in time, as Python's `datetime`: without a zone, or so many seconds off UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DateTime(civil::DateTime, Option<i32>);

/// A day, as Python's `date`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date(civil::Date);

/// A difference of two [`DateTime`]s, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeDelta(pub i64);

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.0;
        write!(
            f,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            d.year(),
            d.month(),
            d.day(),
            d.hour(),
            d.minute(),
            d.second()
        )?;
        let micros = d.subsec_nanosecond() / 1000;
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        let Some(offset) = self.1 else { return Ok(()) };
        let minutes = offset.abs() / 60;
        write!(f, "{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Debug for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.days(), self.0.rem_euclid(86_400_000_000));
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        let seconds = rest / 1_000_000;
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if rest % 1_000_000 != 0 { write!(f, ".{:06}", rest % 1_000_000) } else { Ok(()) }
    }
}

impl TimeDelta {
    fn days(self) -> i64 {
        self.0.div_euclid(86_400_000_000)
    }
}

impl DateTime {
    fn micros(self) -> i64 {
        let micros = self.0.to_zoned(jiff::tz::TimeZone::UTC).map_or(0, |z| z.timestamp().as_microsecond());
        micros - i64::from(self.1.unwrap_or(0)) * 1_000_000
    }
}

impl DateTime {
    fn zoned(self) -> Result<Zoned, Error> {
        let zone = match self.1 {
            None => jiff::tz::TimeZone::system(),
            Some(offset) => {
                jiff::tz::TimeZone::fixed(jiff::tz::Offset::from_seconds(offset).map_err(|e| fail(e.to_string()))?)
            }
        };
        self.0.to_zoned(zone).map_err(|e| fail(e.to_string()))
    }
}

impl Object for DateTime {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let d = self.0;
        Some(match key.as_str()? {
            "year" => Value::from(d.year()),
            "month" => Value::from(d.month()),
            "day" => Value::from(d.day()),
            "hour" => Value::from(d.hour()),
            "minute" => Value::from(d.minute()),
            "second" => Value::from(d.second()),
            "microsecond" => Value::from(d.subsec_nanosecond() / 1000),
            _ => return None,
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<DateTime>().map(|o| self.as_ref().cmp(o))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        let d = self.0;
        Ok(match method {
            "strftime" => {
                let format = args.first().map(super::py::str).unwrap_or_default();
                Value::from(d.strftime(format.as_bytes()).to_string())
            }
            "isoformat" => Value::from(format!("{self:?}").replacen(' ', "T", 1)),
            "timestamp" => Value::from(self.zoned()?.timestamp().as_microsecond() as f64 / 1e6),
            "date" => Value::from_object(Date(d.date())),
            "weekday" => Value::from(d.weekday().to_monday_zero_offset()),
            "isoweekday" => Value::from(d.weekday().to_monday_one_offset()),
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        })
    }
}

impl Object for Date {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "year" => Value::from(self.0.year()),
            "month" => Value::from(self.0.month()),
            "day" => Value::from(self.0.day()),
            _ => return None,
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Date>().map(|o| self.as_ref().cmp(o))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        Ok(match method {
            "strftime" => {
                let format = args.first().map(super::py::str).unwrap_or_default();
                Value::from(self.0.strftime(format.as_bytes()).to_string())
            }
            "isoformat" => Value::from(format!("{self:?}")),
            "weekday" => Value::from(self.0.weekday().to_monday_zero_offset()),
            "isoweekday" => Value::from(self.0.weekday().to_monday_one_offset()),
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        })
    }
}

/// Python's `repr` of a date or a time.
pub(super) fn repr(value: &Value) -> Option<String> {
    if value.kind() != ValueKind::Plain {
        return None;
    }
    if let Some(Date(d)) = value.downcast_object_ref::<Date>() {
        return Some(format!("datetime.date({}, {}, {})", d.year(), d.month(), d.day()));
    }
    let DateTime(d, offset) = value.downcast_object_ref::<DateTime>()?;
    let micros = d.subsec_nanosecond() / 1000;
    let mut out = format!("datetime.datetime({}, {}, {}, {}, {}", d.year(), d.month(), d.day(), d.hour(), d.minute());
    if d.second() != 0 || micros != 0 {
        out.push_str(&format!(", {}", d.second()));
    }
    if micros != 0 {
        out.push_str(&format!(", {micros}"));
    }
    match offset {
        None => {}
        Some(0) => out.push_str(", tzinfo=datetime.timezone.utc"),
        Some(offset) => {
            let days = if *offset < 0 { "days=-1, " } else { "" };
            let seconds = offset.rem_euclid(86_400);
            out.push_str(&format!(", tzinfo=datetime.timezone(datetime.timedelta({days}seconds={seconds}))"));
        }
    }
    out.push(')');
    Some(out)
}

/// A date or a time as JSON has it, with a `T` between the two.
pub(super) fn iso(value: &Value) -> Option<String> {
    repr(value).map(|_| value.to_string().replacen(' ', "T", 1))
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
    let offset = match (found.get(8), found.get(9)) {
        (Some(_), _) => Some(0),
        (_, Some(sign)) => {
            let seconds = i32::from(number(10)?) * 3600 + i32::from(number(11).unwrap_or(0)) * 60;
            Some(if sign.as_str() == "-" { -seconds } else { seconds })
        }
        _ => None,
    };
    (offset.unwrap_or(0).abs() < 86_400)
        .then(|| Value::from_object(DateTime(civil::DateTime::from_parts(date, time), offset)))
}

impl Object for TimeDelta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let rest = self.0.rem_euclid(86_400_000_000);
        Some(match key.as_str()? {
            "days" => Value::from(self.days()),
            "seconds" => Value::from(rest / 1_000_000),
            "microseconds" => Value::from(rest % 1_000_000),
            _ => return None,
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<TimeDelta>().map(|o| self.as_ref().cmp(o))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _args: &[Value]) -> R {
        match method {
            "total_seconds" => Ok(Value::from(self.0 as f64 / 1e6)),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// `a - b` of times.
pub(super) fn subtract(a: &Value, b: &Value) -> Option<Value> {
    let a = a.downcast_object_ref::<DateTime>()?;
    if let Some(b) = b.downcast_object_ref::<DateTime>() {
        return Some(Value::from_object(TimeDelta(a.micros() - b.micros())));
    }
    let b = b.downcast_object_ref::<TimeDelta>()?;
    let moved = a.0.checked_sub(jiff::SignedDuration::from_micros(b.0)).ok()?;
    Some(Value::from_object(DateTime(moved, a.1)))
}

/// `now(utc=False, fmt=None)`.
pub(super) fn now(values: Rest<ValueOrKwargs>) -> R {
    let args = Args::new("now", values)?;
    args.only(2, &["utc", "fmt"])?;
    let zoned =
        if args.flag(0, "utc", false) { Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC) } else { Zoned::now() };
    let now = zoned.datetime();
    Ok(match args.text(1, "fmt") {
        Some(format) => Value::from(zoned.strftime(format.as_bytes()).to_string()),
        None => Value::from_object(DateTime(now, None)),
    })
}

/// `'%Y' | strftime(second, utc)`.
pub(super) fn strftime(args: &Args) -> R {
    args.only(3, &["second", "utc"])?;
    let at = match args.some(1, "second") {
        Some(v) => {
            let seconds = to_float(&v).ok_or_else(|| fail("strftime: invalid value for the epoch"))?;
            Timestamp::from_microsecond((seconds * 1e6) as i64).map_err(|e| fail(format!("strftime: {e}")))?
        }
        None => Timestamp::now(),
    };
    let zone = if args.flag(2, "utc", false) { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::system() };
    let text = at.to_zoned(zone);
    let format = super::py::str(&args.value());
    jiff::fmt::strtime::format(format.as_bytes(), &text).map(Value::from).map_err(|e| fail(format!("strftime: {e}")))
}

/// `'2024-01-01 00:00:00' | to_datetime(format)`.
pub(super) fn to_datetime(args: &Args) -> R {
    args.only(2, &["format"])?;
    let format = args.text(1, "format").unwrap_or_else(|| "%Y-%m-%d %H:%M:%S".to_owned());
    let text = super::py::str(&args.value());
    let bad = |_| fail(format!("to_datetime: the text does not match the format '{format}'"));
    let broken = jiff::fmt::strtime::parse(format.as_bytes(), text.as_bytes()).map_err(bad)?;
    // What is not said is the first day of 1900; a day that does not exist is none.
    let said =
        || civil::Date::new(broken.year().unwrap_or(1900), broken.month().unwrap_or(1), broken.day().unwrap_or(1));
    let date = broken.to_date().or_else(|_| said()).map_err(|e| fail(format!("to_datetime: '{text}': {e}")))?;
    let time = broken.to_time().unwrap_or(civil::Time::midnight());
    Ok(Value::from_object(DateTime(civil::DateTime::from_parts(date, time), None)))
}
