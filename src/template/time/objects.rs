//! What templates can ask of dates and times: their attributes and methods.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::civil;
use jiff::{Timestamp, Zoned};
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind, State};

use super::format::{self, Moment};
use super::parse;
use super::values::{
    DAY, Date, DateTime, Named, SECOND, Time, TimeDelta, Zone, clock, day_of, micros, of_ordinal, ordinal, time_of,
};
use crate::template::args::{Args, R, fail, to_float};
use crate::template::py;

const TIMETUPLE: &[&str] =
    &["tm_year", "tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec", "tm_wday", "tm_yday", "tm_isdst"];
const ISO: &[&str] = &["year", "week", "weekday"];

/// A text that a method needs as one.
pub(super) fn text_of(value: &Value, what: &str) -> Result<String, Error> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| fail(format!("{what} must be str, not {}", py::type_name(value))))
}

/// A field that `replace` is given, or the one that is there.
fn field(args: &Args, at: usize, name: &str, now: i64) -> Result<i64, Error> {
    let Some(value) = args.get(at, name) else { return Ok(now) };
    let number = if value.is_integer() { value.as_i64() } else { None };
    number.ok_or_else(|| fail(format!("'{}' object cannot be interpreted as an integer", py::type_name(&value))))
}

/// The zone that an argument names; `none` is none.
fn zone_of(value: &Value) -> Result<Option<Zone>, Error> {
    match value.downcast_object_ref::<Zone>() {
        Some(zone) => Ok(Some(zone.clone())),
        None if value.is_none() => Ok(None),
        None => Err(fail(format!("tzinfo must be none or a zone, not '{}'", py::type_name(value)))),
    }
}

fn named_zone(zone: Option<&Zone>) -> Value {
    zone.map_or(Value::from(()), |zone| Value::from(format!("{zone:?}")))
}

fn offset(zone: Option<&Zone>) -> Value {
    zone.map_or(Value::from(()), |zone| Value::from_object(TimeDelta(zone.offset)))
}

fn zone_value(zone: Option<&Zone>) -> Value {
    zone.map_or(Value::from(()), |zone| Value::from_object(zone.clone()))
}

/// `strftime` of a date or time: Python fills in `%z`, `%Z` and `%f` itself, and C the rest.
pub(super) fn strftime(format: &str, at: civil::DateTime, zone: Option<&Zone>) -> String {
    let mut filled = String::with_capacity(format.len());
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        filled.push(c);
        if c != '%' {
            continue;
        }
        let Some(letter) = chars.next() else { continue };
        let with = match letter {
            'z' => zone.map(|zone| zone.text("")).unwrap_or_default(),
            'Z' => zone.map(|zone| format!("{zone:?}").replace('%', "%%")).unwrap_or_default(),
            'f' => format!("{:06}", micros(at.time())),
            other => {
                filled.push(other);
                continue;
            }
        };
        filled.pop();
        filled.push_str(&with);
    }
    format::format(&filled, &Moment { at, offset: 0, zone: "" })
}

fn timetuple(at: civil::DateTime, summer: i64) -> Value {
    let parts = [at.month(), at.day(), at.hour(), at.minute(), at.second(), at.weekday().to_monday_zero_offset()];
    let mut values = vec![i64::from(at.year())];
    values.extend(parts.map(i64::from));
    values.extend([i64::from(at.day_of_year()), summer]);
    Value::from_object(Named { kind: "time.struct_time", names: TIMETUPLE, values })
}

fn isocalendar(date: civil::Date) -> Value {
    let iso = date.iso_week_date();
    let values = vec![iso.year().into(), iso.week().into(), iso.weekday().to_monday_one_offset().into()];
    Value::from_object(Named { kind: "datetime.IsoCalendarDate", names: ISO, values })
}

fn ctime(at: civil::DateTime) -> Value {
    Value::from(format::format("%a %b %e %H:%M:%S %Y", &Moment { at, offset: 0, zone: "" }))
}

fn replaced_day(args: &Args, date: civil::Date) -> Result<civil::Date, Error> {
    let year = field(args, 0, "year", date.year().into())?;
    let month = field(args, 1, "month", date.month().into())?;
    day_of(year, month, field(args, 2, "day", date.day().into())?).map_err(fail)
}

/// The time with the fields that are given, the first of which is the `from`th argument; and its zone.
fn replaced_time(args: &Args, from: usize, time: civil::Time, zone: Option<&Zone>) -> Result<Time, Error> {
    let hour = field(args, from, "hour", time.hour().into())?;
    let minute = field(args, from + 1, "minute", time.minute().into())?;
    let second = field(args, from + 2, "second", time.second().into())?;
    let micros = field(args, from + 3, "microsecond", micros(time))?;
    let zone = match args.get(from + 4, "tzinfo") {
        Some(value) => zone_of(&value)?,
        None => zone.cloned(),
    };
    Ok(Time { at: time_of(hour, minute, second, micros).map_err(fail)?, zone })
}

fn iso_text(args: &Args, date: Option<civil::Date>, time: civil::Time, zone: Option<&Zone>) -> R {
    let between = args.text(0, "sep").unwrap_or_else(|| "T".to_owned());
    let precision = args.text(usize::from(date.is_some()), "timespec").unwrap_or_else(|| "auto".to_owned());
    let clock = clock(time, &precision).ok_or_else(|| fail(format!("unknown timespec value '{precision}'")))?;
    let zone = zone.map(|zone| zone.text(":")).unwrap_or_default();
    let day = date.map(|date| format!("{:?}{between}", Date(date))).unwrap_or_default();
    Ok(Value::from(format!("{day}{clock}{zone}")))
}

/// A time of this machine with its zone.
fn local(zoned: &Zoned) -> Result<DateTime, Error> {
    let info = zoned.time_zone().to_offset_info(zoned.timestamp());
    let zone = Zone::new(i64::from(info.offset().seconds()) * SECOND, Some(info.abbreviation())).map_err(fail)?;
    Ok(DateTime { at: zoned.datetime(), zone: Some(zone) })
}

/// The time so many seconds after 1970.
pub(super) fn at_second(value: &Value) -> Result<Timestamp, Error> {
    let seconds = to_float(value).filter(|_| value.as_str().is_none());
    let seconds = seconds.ok_or_else(|| fail(format!("'{}' is no number of seconds", py::type_name(value))))?;
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).map_err(|_| fail("the timestamp is out of range"))
}

/// `YYYY-MM-DD`, all its digits.
fn of_iso_day(text: &str) -> Option<DateTime> {
    let shape = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    let shaped = text.len() == 10 && text.bytes().enumerate().all(shape);
    parse::parse(text, "%Y-%m-%d").ok().filter(|_| shaped)
}

/// `datetime.fromisoformat`
fn of_iso(text: &str) -> Result<DateTime, Error> {
    let bad = || fail("fromisoformat: the text is no date in ISO format");
    let (day, clock) = match text.char_indices().nth(10) {
        Some((at, between)) => (text.get(..at), text.get(at + between.len_utf8()..)),
        None => (Some(text), None),
    };
    let date = of_iso_day(day.unwrap_or_default()).ok_or_else(bad)?;
    let Some(clock) = clock else { return Ok(date) };
    let forms = ["%H:%M:%S", "%H:%M:%S.%f", "%H:%M", "%H"];
    let zoned = forms.map(|form| format!("{form}%z"));
    let mut forms = forms.into_iter().chain(zoned.iter().map(String::as_str));
    let time = forms.find_map(|form| parse::parse(clock, form).ok()).ok_or_else(bad)?;
    Ok(DateTime { at: civil::DateTime::from_parts(date.at.date(), time.at.time()), zone: time.zone })
}

/// What a date and a time both have, and `None` where it is not of both.
fn of_both(method: &str, at: civil::DateTime, zone: Option<&Zone>, args: &Args) -> Option<R> {
    let date = at.date();
    Some(Ok(match method {
        "strftime" => {
            let format = args.need(0, "format").and_then(|value| text_of(&value, "strftime() argument 1"));
            return Some(format.map(|format| Value::from(strftime(&format, at, zone))));
        }
        "weekday" => Value::from(date.weekday().to_monday_zero_offset()),
        "isoweekday" => Value::from(date.weekday().to_monday_one_offset()),
        "isocalendar" => isocalendar(date),
        "toordinal" => Value::from(ordinal(date)),
        "timetuple" => timetuple(at, -1),
        "ctime" => ctime(at),
        _ => return None,
    }))
}

fn date_attribute(date: civil::Date, name: &str) -> Option<Value> {
    Some(match name {
        "year" => Value::from(date.year()),
        "month" => Value::from(date.month()),
        "day" => Value::from(date.day()),
        _ => return None,
    })
}

fn time_attribute(time: civil::Time, zone: Option<&Zone>, name: &str) -> Option<Value> {
    Some(match name {
        "hour" => Value::from(time.hour()),
        "minute" => Value::from(time.minute()),
        "second" => Value::from(time.second()),
        "microsecond" => Value::from(micros(time)),
        "tzinfo" => zone_value(zone),
        "fold" => Value::from(0),
        _ => return None,
    })
}

impl Object for DateTime {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let bound = |date: civil::Date, time| {
            Some(Value::from_object(DateTime::plain(civil::DateTime::from_parts(date, time))))
        };
        match name {
            "min" => bound(civil::date(1, 1, 1), civil::Time::midnight()),
            "max" => bound(civil::date(9999, 12, 31), civil::time(23, 59, 59, 999_999_000)),
            "resolution" => Some(Value::from_object(TimeDelta(1))),
            name => date_attribute(self.at.date(), name)
                .or_else(|| time_attribute(self.at.time(), self.zone.as_ref(), name)),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<DateTime>().map(|o| self.as_ref().cmp(o))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        let args = Args::from_values("datetime", args.to_vec())?;
        let (at, zone) = (self.at, self.zone.as_ref());
        if let Some(result) = of_both(method, at, zone, &args) {
            return result;
        }
        let plain = |at| Ok(Value::from_object(DateTime::plain(at)));
        Ok(match method {
            "isoformat" => return iso_text(&args, Some(at.date()), at.time(), zone),
            "timestamp" => match zone {
                None => Value::from(self.zoned().map_err(fail)?.timestamp().as_microsecond() as f64 / 1e6),
                Some(_) => Value::from(self.micros() as f64 / 1e6),
            },
            "date" => Value::from_object(Date(at.date())),
            "time" => Value::from_object(Time { at: at.time(), zone: None }),
            "timetz" => Value::from_object(Time { at: at.time(), zone: zone.cloned() }),
            "utcoffset" => offset(zone),
            "tzname" => named_zone(zone),
            "dst" => Value::from(()),
            "utctimetuple" => {
                let utc = self.later(-zone.map_or(0, |zone| zone.offset)).map_err(fail)?;
                timetuple(utc.at, 0)
            }
            "replace" => {
                let date = replaced_day(&args, at.date())?;
                let time = replaced_time(&args, 3, at.time(), zone)?;
                args.only(8, &["year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo", "fold"])?;
                Value::from_object(DateTime { at: civil::DateTime::from_parts(date, time.at), zone: time.zone })
            }
            "astimezone" => match args.some(0, "tz") {
                None => Value::from_object(local(&self.zoned().map_err(fail)?)?),
                Some(tz) => {
                    let own = match zone {
                        Some(zone) => zone.offset,
                        None => i64::from(self.zoned().map_err(fail)?.offset().seconds()) * SECOND,
                    };
                    let zone = zone_of(&tz)?;
                    let moved = self.later(zone.as_ref().map_or(0, |zone| zone.offset) - own).map_err(fail)?;
                    Value::from_object(DateTime { at: moved.at, zone })
                }
            },
            "now" | "today" | "fromtimestamp" if args.some(usize::from(method == "fromtimestamp"), "tz").is_some() => {
                return Err(fail(format!("{method}: a zone (tz) cannot be given here")));
            }
            "now" | "today" => return plain(Zoned::now().datetime()),
            "utcnow" => return plain(Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).datetime()),
            "fromtimestamp" => {
                let system = jiff::tz::TimeZone::system();
                return plain(at_second(&args.need(0, "timestamp")?)?.to_zoned(system).datetime());
            }
            "utcfromtimestamp" => {
                let utc = jiff::tz::TimeZone::UTC;
                return plain(at_second(&args.need(0, "timestamp")?)?.to_zoned(utc).datetime());
            }
            "fromordinal" => {
                let date = of_ordinal(field(&args, 0, "ordinal", 0)?).map_err(fail)?;
                return plain(date.to_datetime(civil::Time::midnight()));
            }
            "fromisoformat" => {
                let text = args.need(0, "date_string")?;
                Value::from_object(of_iso(&text_of(&text, "fromisoformat: argument")?)?)
            }
            "strptime" => {
                let (text, format) = (args.need(0, "date_string")?, args.need(1, "format")?);
                let (text, format) =
                    (text_of(&text, "strptime() argument 1")?, text_of(&format, "strptime() argument 2")?);
                Value::from_object(parse::parse(&text, &format).map_err(fail)?)
            }
            "combine" => {
                let (date, time) = (args.need(0, "date")?, args.need(1, "time")?);
                let of_time = date.downcast_object_ref::<DateTime>().map(|d| d.at.date());
                let date = of_time.or_else(|| date.downcast_object_ref::<Date>().map(|d| d.0));
                match (date, time.downcast_object_ref::<Time>()) {
                    (Some(date), Some(time)) => Value::from_object(DateTime {
                        at: civil::DateTime::from_parts(date, time.at),
                        zone: time.zone.clone(),
                    }),
                    _ => return Err(fail("combine() needs a date and a time")),
                }
            }
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        })
    }
}

impl Object for Date {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "min" => Some(Value::from_object(Date(civil::date(1, 1, 1)))),
            "max" => Some(Value::from_object(Date(civil::date(9999, 12, 31)))),
            "resolution" => Some(Value::from_object(TimeDelta(DAY))),
            name => date_attribute(self.0, name),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Date>().map(|o| self.as_ref().cmp(o))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        let args = Args::from_values("date", args.to_vec())?;
        if let Some(result) = of_both(method, self.0.to_datetime(civil::Time::midnight()), None, &args) {
            return result;
        }
        let day = |date: civil::Date| Ok(Value::from_object(Date(date)));
        match method {
            "isoformat" => Ok(Value::from(format!("{self:?}"))),
            "replace" => {
                args.only(3, &["year", "month", "day"])?;
                day(replaced_day(&args, self.0)?)
            }
            "today" => day(Zoned::now().date()),
            "fromtimestamp" => {
                day(at_second(&args.need(0, "timestamp")?)?.to_zoned(jiff::tz::TimeZone::system()).date())
            }
            "fromordinal" => day(of_ordinal(field(&args, 0, "ordinal", 0)?).map_err(fail)?),
            "fromisoformat" => {
                let text = text_of(&args.need(0, "date_string")?, "fromisoformat: argument")?;
                let found = of_iso_day(&text).ok_or_else(|| fail("fromisoformat: the text is no day in ISO format"))?;
                day(found.at.date())
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

impl Object for Time {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        time_attribute(self.at, self.zone.as_ref(), key.as_str()?)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Time>()?;
        Some(self.micros().cmp(&other.micros()).then(self.zone.is_some().cmp(&other.zone.is_some())))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> R {
        let args = Args::from_values("time", args.to_vec())?;
        let zone = self.zone.as_ref();
        Ok(match method {
            "strftime" => {
                let format = text_of(&args.need(0, "format")?, "strftime() argument 1")?;
                let day = civil::date(1900, 1, 1);
                Value::from(strftime(&format, civil::DateTime::from_parts(day, self.at), zone))
            }
            "isoformat" => return iso_text(&args, None, self.at, zone),
            "replace" => {
                args.only(5, &["hour", "minute", "second", "microsecond", "tzinfo", "fold"])?;
                Value::from_object(replaced_time(&args, 0, self.at, zone)?)
            }
            "utcoffset" => offset(zone),
            "tzname" => named_zone(zone),
            "dst" => Value::from(()),
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        })
    }
}

impl Object for Zone {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Zone>().map(|other| self.offset.cmp(&other.offset))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, _args: &[Value]) -> R {
        match method {
            "utcoffset" => Ok(offset(Some(self))),
            "tzname" => Ok(named_zone(Some(self))),
            "dst" => Ok(Value::from(())),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

impl Object for TimeDelta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.0 != 0
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (seconds, micros) = self.rest();
        Some(match key.as_str()? {
            "days" => Value::from(self.days()),
            "seconds" => Value::from(seconds),
            "microseconds" => Value::from(micros),
            "resolution" => Value::from_object(TimeDelta(1)),
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

impl Object for Named {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let at = match key.as_str() {
            Some(name) => self.names.iter().position(|known| *known == name)?,
            None => usize::try_from(key.as_i64()?).ok()?,
        };
        self.values.get(at).map(|value| Value::from(*value))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.values.len())
    }
}

impl Named {
    pub fn text(&self) -> String {
        let parts = self.names.iter().zip(&self.values).map(|(name, value)| format!("{name}={value}"));
        format!("{}({})", self.kind, parts.collect::<Vec<_>>().join(", "))
    }
}
