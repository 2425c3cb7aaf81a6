//! What Python's module `datetime` has, as values: how they are made, printed and compared.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::civil;
use jiff::{SignedDuration, Zoned};

/// Microseconds of a second and of a day.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;
/// The number of 1970-01-01, when 0001-01-01 is 1.
const EPOCH: i64 = 719_163;

/// A zone of a fixed offset, as Python's `timezone`.
#[derive(Clone)]
pub(super) struct Zone {
    /// Microseconds off UTC.
    pub offset: i64,
    pub name: Option<Arc<str>>,
}

/// A point in time, as Python's `datetime`: without a zone, or with one.
#[derive(Clone)]
pub(super) struct DateTime {
    pub at: civil::DateTime,
    pub zone: Option<Zone>,
}

/// A day, as Python's `date`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date(pub civil::Date);

/// A time of any day, as Python's `time`.
#[derive(Clone)]
pub(super) struct Time {
    pub at: civil::Time,
    pub zone: Option<Zone>,
}

/// A difference of two [`DateTime`]s, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TimeDelta(pub i64);

/// A tuple whose items have names, as `timetuple()` returns.
#[derive(Debug)]
pub(super) struct Named {
    pub kind: &'static str,
    pub names: &'static [&'static str],
    pub values: Vec<i64>,
}

/// A day of the calendar, or why it is none.
pub(super) fn day_of(year: i64, month: i64, day: i64) -> Result<civil::Date, String> {
    let year = i16::try_from(year).ok().filter(|year| (1..=9999).contains(year));
    let year = year.ok_or("year is out of range")?;
    let month = i8::try_from(month).ok().filter(|month| (1..=12).contains(month)).ok_or("month must be in 1..12")?;
    let day = i8::try_from(day).map_err(|_| "day is out of range for month")?;
    civil::Date::new(year, month, day).map_err(|_| "day is out of range for month".to_owned())
}

/// A time of a day, or why it is none.
pub(super) fn time_of(hour: i64, minute: i64, second: i64, micros: i64) -> Result<civil::Time, String> {
    let part = |n: i64, end: i64, name: &str| match i8::try_from(n) {
        Ok(part) if (0..end).contains(&n) => Ok(part),
        _ => Err(format!("{name} must be in 0..{}", end - 1)),
    };
    let (hour, minute, second) = (part(hour, 24, "hour")?, part(minute, 60, "minute")?, part(second, 60, "second")?);
    let nanos = i32::try_from(micros).ok().filter(|micros| (0..1_000_000).contains(micros));
    let nanos = nanos.ok_or("microsecond must be in 0..999999")?.saturating_mul(1000);
    civil::Time::new(hour, minute, second, nanos).map_err(|e| e.to_string())
}

/// The number of a day, from 0001-01-01.
pub(super) fn ordinal(date: civil::Date) -> i64 {
    date.duration_since(civil::date(1970, 1, 1)).as_hours() / 24 + EPOCH
}

/// The day of a number.
pub(super) fn of_ordinal(ordinal: i64) -> Result<civil::Date, String> {
    let hours = ordinal.checked_sub(EPOCH).and_then(|days| days.checked_mul(24));
    let date = hours.and_then(|hours| civil::date(1970, 1, 1).checked_add(SignedDuration::from_hours(hours)).ok());
    date.filter(|date| (1..=9999).contains(&date.year())).ok_or_else(|| "date value out of range".to_owned())
}

pub(super) fn micros(time: civil::Time) -> i64 {
    i64::from(time.subsec_nanosecond() / 1000)
}

/// The microseconds since midnight.
fn since_midnight(time: civil::Time) -> i64 {
    let seconds = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    seconds * SECOND + micros(time)
}

/// The offset that `+02:00`, `+0200` or `+02:00:30.5` means, in microseconds. The parts all have a colon or none has.
pub(super) fn offset_of(text: &str) -> Option<i64> {
    let behind = text.strip_prefix(['+', '-'])?;
    let (whole, fraction) = behind.split_once('.').unwrap_or((behind, ""));
    let digits: String = whole.chars().filter(|c| *c != ':').collect();
    let colons = whole.len() - digits.len();
    let parts: Vec<i64> = (0..digits.len() / 2)
        .map(|i| digits.get(2 * i..2 * i + 2).and_then(|part| part.parse().ok()))
        .collect::<Option<_>>()?;
    if colons != 0 && colons + 1 != parts.len() {
        return None;
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or(0);
    let seconds = part(0) * 3600 + part(1) * 60 + part(2);
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let offset = seconds * SECOND + fraction.parse::<i64>().ok()?;
    Some(if text.starts_with('-') { -offset } else { offset })
}

impl Zone {
    /// A zone less than a day off UTC.
    pub fn new(offset: i64, name: Option<&str>) -> Result<Self, String> {
        if offset.abs() >= DAY {
            return Err("the offset of a zone must be less than a day".to_owned());
        }
        Ok(Zone { offset, name: name.map(Arc::from) })
    }

    /// `+02:00`, with what is asked for between the parts.
    pub fn text(&self, between: &str) -> String {
        let offset = self.offset.abs();
        let seconds = offset / SECOND;
        let sign = if self.offset < 0 { '-' } else { '+' };
        let mut out = format!("{sign}{:02}{between}{:02}", seconds / 3600, seconds / 60 % 60);
        if offset % (60 * SECOND) != 0 {
            out.push_str(&format!("{between}{:02}", seconds % 60));
        }
        if offset % SECOND != 0 {
            out.push_str(&format!(".{:06}", offset % SECOND));
        }
        out
    }

    fn repr(&self) -> String {
        match &self.name {
            None if self.offset == 0 => "datetime.timezone.utc".to_owned(),
            None => format!("datetime.timezone({})", TimeDelta(self.offset).repr()),
            Some(name) => format!(
                "datetime.timezone({}, {})",
                TimeDelta(self.offset).repr(),
                crate::template::py::repr(&minijinja::Value::from(name.clone()))
            ),
        }
    }
}

impl TimeDelta {
    pub fn days(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    /// The seconds of its last day, and the microseconds of the last of them.
    pub fn rest(self) -> (i64, i64) {
        let rest = self.0.rem_euclid(DAY);
        (rest / SECOND, rest % SECOND)
    }

    pub fn repr(self) -> String {
        let (seconds, micros) = self.rest();
        let parts = [("days", self.days()), ("seconds", seconds), ("microseconds", micros)];
        let said: Vec<String> = parts.iter().filter(|(_, n)| *n != 0).map(|(name, n)| format!("{name}={n}")).collect();
        let said = if said.is_empty() { "0".to_owned() } else { said.join(", ") };
        format!("datetime.timedelta({said})")
    }
}

impl Date {
    pub fn repr(self) -> String {
        format!("datetime.date({}, {}, {})", self.0.year(), self.0.month(), self.0.day())
    }
}

/// The seconds and microseconds that a `repr` names, and the zone.
fn rest(time: civil::Time, zone: Option<&Zone>) -> String {
    let mut out = format!("{}, {}", time.hour(), time.minute());
    let micros = micros(time);
    if time.second() != 0 || micros != 0 {
        out.push_str(&format!(", {}", time.second()));
    }
    if micros != 0 {
        out.push_str(&format!(", {micros}"));
    }
    if let Some(zone) = zone {
        out.push_str(&format!(", tzinfo={}", zone.repr()));
    }
    out
}

impl Time {
    pub fn repr(&self) -> String {
        format!("datetime.time({})", rest(self.at, self.zone.as_ref()))
    }

    pub fn micros(&self) -> i64 {
        since_midnight(self.at) - self.zone.as_ref().map_or(0, |zone| zone.offset)
    }
}

impl DateTime {
    pub fn plain(at: civil::DateTime) -> Self {
        DateTime { at, zone: None }
    }

    pub fn repr(&self) -> String {
        let date = self.at.date();
        let rest = rest(self.at.time(), self.zone.as_ref());
        format!("datetime.datetime({}, {}, {}, {rest})", date.year(), date.month(), date.day())
    }

    /// The microseconds since 1970, as if a time without a zone were one of UTC.
    pub fn micros(&self) -> i64 {
        let days = ordinal(self.at.date()) - EPOCH;
        days * DAY + since_midnight(self.at.time()) - self.zone.as_ref().map_or(0, |zone| zone.offset)
    }

    /// The same with the microseconds since 1970 that it has by its own clock.
    pub fn with_clock(&self, micros: i64) -> Result<Self, String> {
        let date = of_ordinal(micros.div_euclid(DAY) + EPOCH)?;
        let rest = micros.rem_euclid(DAY);
        let seconds = rest / SECOND;
        let time = time_of(seconds / 3600, seconds / 60 % 60, seconds % 60, rest % SECOND)?;
        Ok(DateTime { at: civil::DateTime::from_parts(date, time), zone: self.zone.clone() })
    }

    /// Later by so much; its clock goes on.
    pub fn later(&self, by: i64) -> Result<Self, String> {
        let clock = self.micros() + self.zone.as_ref().map_or(0, |zone| zone.offset);
        self.with_clock(clock.checked_add(by).ok_or("date value out of range")?)
    }

    /// The time of this machine's zone. One without a zone is of that zone already.
    pub fn zoned(&self) -> Result<Zoned, String> {
        let system = jiff::tz::TimeZone::system();
        match self.zone {
            None => self.at.to_zoned(system).map_err(|e| e.to_string()),
            Some(_) => {
                let at = jiff::Timestamp::from_microsecond(self.micros()).map_err(|e| e.to_string())?;
                Ok(at.to_zoned(system))
            }
        }
    }
}

impl PartialEq for DateTime {
    fn eq(&self, other: &Self) -> bool {
        self.zone.is_some() == other.zone.is_some() && self.micros() == other.micros()
    }
}

impl Eq for DateTime {}

impl PartialOrd for DateTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for DateTime {
    fn cmp(&self, other: &Self) -> Ordering {
        self.micros().cmp(&other.micros()).then(self.zone.is_some().cmp(&other.zone.is_some()))
    }
}

/// The time of a day, with as much as is asked for: `auto`, `hours`, `minutes`, `seconds`, `milliseconds`, `microseconds`.
pub(super) fn clock(time: civil::Time, precision: &str) -> Option<String> {
    let micros = micros(time);
    let hours = format!("{:02}", time.hour());
    let minutes = format!("{hours}:{:02}", time.minute());
    let seconds = format!("{minutes}:{:02}", time.second());
    Some(match precision {
        "auto" if micros == 0 => seconds,
        "auto" | "microseconds" => format!("{seconds}.{micros:06}"),
        "milliseconds" => format!("{seconds}.{:03}", micros / 1000),
        "seconds" => seconds,
        "minutes" => minutes,
        "hours" => hours,
        _ => return None,
    })
}

fn with_zone(text: &str, zone: Option<&Zone>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{text}{}", zone.map(|zone| zone.text(":")).unwrap_or_default())
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None if self.offset == 0 => f.write_str("UTC"),
            None => write!(f, "UTC{}", self.text(":")),
        }
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?} {}", Date(self.at.date()), clock(self.at.time(), "auto").unwrap_or_default());
        with_zone(&text, self.zone.as_ref(), f)
    }
}

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), self.0.month(), self.0.day())
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_zone(&clock(self.at, "auto").unwrap_or_default(), self.zone.as_ref(), f)
    }
}

impl fmt::Debug for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.days();
        let (seconds, micros) = self.rest();
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if micros != 0 { write!(f, ".{micros:06}") } else { Ok(()) }
    }
}
