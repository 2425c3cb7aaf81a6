//! A time window: `Sat-Sun 22:00-04:00 Europe/Berlin`.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use std::fmt;

/// Times at which something may begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    spans: Vec<Hours>,
    written: String,
}

/// One entry: days, from, to, zone. A span whose end is not after its beginning reaches into the next day.
#[derive(Clone, Debug, PartialEq)]
struct Hours {
    days: Days,
    from: Time,
    to: Option<Time>, // nothing: the end of the day
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq)]
enum Days {
    Weekly(Vec<Weekday>),
    Dates(Vec<Date>),
}

const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

impl Window {
    /// Reads `[DAYS|DATES] HH:MM-HH:MM [ZONE]`, several behind `;`. Without days it is every day; without a zone it is
    /// the controller's.
    pub fn parse(text: &str) -> Result<Window, String> {
        let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
        let spans: Vec<Hours> = entries.map(Hours::parse).collect::<Result<_, _>>()?;
        if spans.is_empty() {
            return Err(format!("`{text}` is no time window: write one such as `Sat-Sun 22:00-04:00 Europe/Berlin`"));
        }
        Ok(Window { spans, written: text.trim().to_string() })
    }

    /// Whether it is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.spans.iter().any(|hours| hours.openings(now).any(|(from, to)| from <= now && now < to))
    }

    /// When it opens next, if it is not open now; nothing when it never does again.
    pub fn next_opening(&self, now: Timestamp) -> Option<Zoned> {
        let next = |hours: &Hours| {
            let at = hours.openings(now).map(|(from, _)| from).filter(|from| *from > now).min()?;
            Some(at.to_zoned(hours.zone.clone()))
        };
        self.spans.iter().filter_map(next).min_by_key(Zoned::timestamp)
    }

    /// Whether it is closed for ever.
    pub fn never_opens(&self, now: Timestamp) -> bool {
        !self.is_open(now) && self.next_opening(now).is_none()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Hours {
    fn parse(entry: &str) -> Result<Hours, String> {
        let mut days = None;
        let mut hours = None;
        let mut zone = None;
        for word in entry.split_whitespace() {
            if hours.is_none() && word.contains(':') {
                hours = Some(span_of_day(word)?);
            } else if hours.is_none() && days.is_none() {
                days = Some(Days::parse(word)?);
            } else if zone.is_none() && hours.is_some() {
                zone = Some(TimeZone::get(word).map_err(|_| {
                    format!("`{word}` is no time zone that this machine knows (a name such as Europe/Berlin, or UTC)")
                })?);
            } else {
                return Err(format!("`{entry}`: `{word}` is too much; write DAYS HH:MM-HH:MM ZONE"));
            }
        }
        let (from, to) = hours.ok_or_else(|| format!("`{entry}` has no hours: write them as 22:00-04:00"))?;
        let all = || Days::Weekly(NAMES.iter().map(|(_, day)| *day).collect());
        Ok(Hours { days: days.unwrap_or_else(all), from, to, zone: zone.unwrap_or_else(TimeZone::system) })
    }

    /// Openings from the day before yesterday on: a week of weekdays, or all the dates.
    fn openings(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let today = now.to_zoned(self.zone.clone()).date();
        let dates: Vec<Date> = match &self.days {
            Days::Dates(dates) => dates.clone(),
            Days::Weekly(days) => (-2..=8)
                .filter_map(|offset: i32| today.checked_add(offset.days()).ok())
                .filter(|date| days.contains(&date.weekday()))
                .collect(),
        };
        dates.into_iter().filter_map(|date| self.opening(date))
    }

    fn opening(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let at = |date: Date, time: Time| Some(date.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp());
        let tomorrow = date.tomorrow().ok()?;
        let end = match self.to {
            None => at(tomorrow, Time::midnight())?,
            Some(to) if to > self.from => at(date, to)?,
            Some(to) => at(tomorrow, to)?,
        };
        Some((at(date, self.from)?, end))
    }
}

impl Days {
    fn parse(word: &str) -> Result<Days, String> {
        let bad = |part: &str| format!("`{part}` is neither a day (Mon, Sat-Sun, daily) nor a date (2026-11-28)");
        if word.eq_ignore_ascii_case("daily") {
            return Ok(Days::Weekly(NAMES.iter().map(|(_, day)| *day).collect()));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let dates = word.split(',').map(|part| part.parse::<Date>().map_err(|_| bad(part)));
            return Ok(Days::Dates(dates.collect::<Result<_, _>>()?));
        }
        let place = |name: &str| -> Option<usize> {
            let short: String = name.to_ascii_lowercase().chars().take(3).collect();
            let full = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
            let index = NAMES.iter().position(|(known, _)| *known == short)?;
            (name.len() == 3 || full[index].eq_ignore_ascii_case(name)).then_some(index)
        };
        let mut days = Vec::new();
        for part in word.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Some(first), Some(last)) = (place(first), place(last)) else { return Err(bad(part)) };
            let length = (last + 7 - first) % 7;
            days.extend((0..=length).map(|offset| NAMES[(first + offset) % 7].1));
        }
        Ok(Days::Weekly(days))
    }
}

/// `22:00-04:00`; an end of 24:00 is the end of the day.
fn span_of_day(word: &str) -> Result<(Time, Option<Time>), String> {
    let bad = || format!("`{word}` is no span of a day: write it as 22:00-04:00");
    let (from, to) = word.split_once('-').ok_or_else(bad)?;
    let time = |text: &str| -> Option<Time> {
        let (hours, minutes) = text.split_once(':')?;
        Time::new(hours.parse().ok()?, minutes.parse().ok()?, 0, 0).ok()
    };
    let from = time(from).ok_or_else(bad)?;
    let to = if to == "24:00" { None } else { Some(time(to).ok_or_else(bad)?) };
    if to == Some(from) {
        return Err(format!("`{word}` never opens: it ends when it begins (a whole day is 00:00-24:00)"));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<Zoned>().unwrap().timestamp()
    }

    #[test]
    fn windows() {
        // 2026-11-21 is a Saturday.
        let weekend = "Sat-Sun 22:00-04:00 Europe/Berlin";
        for (window, now, open) in [
            (weekend, "2026-11-21T21:59[Europe/Berlin]", false),
            (weekend, "2026-11-21T22:00[Europe/Berlin]", true),
            (weekend, "2026-11-22T03:59[Europe/Berlin]", true), // Saturday's reaches into Sunday
            (weekend, "2026-11-22T04:00[Europe/Berlin]", false),
            (weekend, "2026-11-23T03:00[Europe/Berlin]", true), // Sunday's into Monday
            (weekend, "2026-11-24T03:00[Europe/Berlin]", false),
            (weekend, "2026-11-21T21:30[UTC]", true), // 22:30 in Berlin
            ("02:00-05:00 UTC", "2026-11-24T03:00[UTC]", true),
            ("daily 00:00-24:00 UTC", "2026-11-24T23:59[UTC]", true),
            ("Fri-Mon 10:00-12:00 UTC", "2026-11-23T11:00[UTC]", true),
            ("Fri-Mon 10:00-12:00 UTC", "2026-11-24T11:00[UTC]", false),
            ("Mon 10:00-12:00 UTC; Tue 10:00-12:00 UTC", "2026-11-24T11:00[UTC]", true),
            ("2026-11-24 22:00-02:00 UTC", "2026-11-25T01:00[UTC]", true),
            ("2026-11-24 22:00-02:00 UTC", "2026-12-01T23:00[UTC]", false),
            // The hour that is skipped in spring: the window is half an hour long.
            ("Sun 02:30-03:30 Europe/Berlin", "2026-03-29T03:20[Europe/Berlin]", false),
            ("Sun 01:30-03:30 Europe/Berlin", "2026-03-29T03:20[Europe/Berlin]", true),
        ] {
            assert_eq!(Window::parse(window).unwrap().is_open(at(now)), open, "{window} at {now}");
        }
    }

    #[test]
    fn the_next_opening() {
        let next = |window: &str, now: &str| Window::parse(window).unwrap().next_opening(at(now));
        let shown = next("Sat 22:00-04:00 Europe/Berlin", "2026-11-24T10:00[UTC]").unwrap().to_string();
        assert_eq!(shown, "2026-11-28T22:00:00+01:00[Europe/Berlin]");
        assert!(next("2026-11-24 22:00-23:00 UTC", "2026-11-25T00:00[UTC]").is_none());
        let past = Window::parse("2026-11-24 22:00-23:00 UTC").unwrap();
        assert!(past.never_opens(at("2026-11-25T00:00[UTC]")) && !past.never_opens(at("2026-11-24T22:30[UTC]")));
    }

    #[test]
    fn what_is_none() {
        for (text, why) in [
            ("", "no time window"),
            ("Sat", "no hours"),
            ("Sat 22:00", "span of a day"),
            ("Sat 25:00-26:00", "span of a day"),
            ("Sat 22:00-22:00", "never opens"),
            ("Funday 22:00-23:00", "neither a day"),
            ("2026-13-01 22:00-23:00", "nor a date"),
            ("22:00-23:00 Mars/Base", "no time zone"),
            ("Sat 22:00-23:00 UTC please", "too much"),
        ] {
            let error = Window::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
