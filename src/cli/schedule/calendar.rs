//! When the job runs: an `OnCalendar=` of systemd, as far as a job needs it, and what cron makes of it.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// After so many days without an elapse there is none: the 29th of February on a Monday comes every 28 years.
const HORIZON: i32 = 366 * 30;

/// Times at which the job begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    written: String,
    /// 0 is Monday.
    weekdays: Vec<u32>,
    years: Field,
    months: Field,
    days: Field,
    hours: Field,
    minutes: Field,
    seconds: Field,
    zone: Option<TimeZone>,
}

/// One part of a date or time: any, or these, sorted.
#[derive(Clone, Debug, PartialEq)]
enum Field {
    Any,
    Of(Vec<u32>),
}

impl Calendar {
    /// Reads `[WEEKDAYS] [[YEAR-]MONTH-DAY] [HOUR:MINUTE[:SECOND]] [ZONE]`, or `daily` and the like.
    pub fn parse(text: &str) -> Result<Calendar, String> {
        let bad = |why: String| format!("`{text}` is no calendar event: {why} (man 7 systemd.time, CALENDAR EVENTS)");
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut zone = None;
        if let Some(last) =
            words.last().filter(|last| last.contains('/') || **last == "UTC").filter(|w| !w.contains(':'))
            && let Ok(found) = TimeZone::get(last)
        {
            zone = Some(found);
            words.pop();
        }
        let long = words.first().and_then(|word| shorthand(&word.to_lowercase())).filter(|_| words.len() == 1);
        let words: Vec<&str> = long.map(|long| long.split_whitespace().collect()).unwrap_or(words);
        let (mut weekdays, mut date, mut time) = (None, None, None);
        for word in words {
            if word.contains(':') && time.is_none() {
                time = Some(word);
            } else if word.starts_with(|c: char| c.is_ascii_alphabetic())
                && (&weekdays, date, time) == (&None, None, None)
            {
                weekdays = Some(self::weekdays(word).map_err(bad)?);
            } else if word.contains('-') && date.is_none() && time.is_none() {
                date = Some(word);
            } else {
                return Err(bad(format!("`{word}` is not understood")));
            }
        }
        if (&weekdays, date, time) == (&None, None, None) {
            return Err(bad("it says no time".into()));
        }
        let (years, months, days) = match date.map(|date| date.split('-').collect::<Vec<_>>()).as_deref() {
            None => ("*", "*", "*"),
            Some([month, day]) => ("*", *month, *day),
            Some([year, month, day]) => (*year, *month, *day),
            Some(_) => return Err(bad("a date is YEAR-MONTH-DAY or MONTH-DAY".into())),
        };
        let (hours, minutes, seconds) = match time.map(|time| time.split(':').collect::<Vec<_>>()).as_deref() {
            None => ("0", "0", "0"),
            Some([hour, minute]) => (*hour, *minute, "0"),
            Some([hour, minute, second]) => (*hour, *minute, *second),
            Some(_) => return Err(bad("a time is HOUR:MINUTE or HOUR:MINUTE:SECOND".into())),
        };
        let calendar = Calendar {
            written: text.split_whitespace().collect::<Vec<_>>().join(" "),
            weekdays: weekdays.unwrap_or_default(),
            years: Field::parse(years, 1970, 2199).map_err(bad)?,
            months: Field::parse(months, 1, 12).map_err(bad)?,
            days: Field::parse(days, 1, 31).map_err(bad)?,
            hours: Field::parse(hours, 0, 23).map_err(bad)?,
            minutes: Field::parse(minutes, 0, 59).map_err(bad)?,
            seconds: Field::parse(seconds, 0, 59).map_err(bad)?,
            zone,
        };
        match calendar.next(Timestamp::now()) {
            Some(_) => Ok(calendar),
            None => Err(bad("it never comes again".into())),
        }
    }

    /// The first time after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let zone = self.zone.clone().unwrap_or_else(TimeZone::system);
        let today = now.to_zoned(zone.clone()).date();
        (0..HORIZON).find_map(|offset| {
            let date = today.checked_add(offset.days()).ok().filter(|date| self.has_day(*date))?;
            // What a clock that is put forward leaves out comes as late as that; what it repeats comes once.
            self.times().find_map(|time| {
                let at = date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp();
                (at > now).then_some(at)
            })
        })
    }

    /// The shortest time between two of the next times, in seconds.
    pub fn interval(&self, now: Timestamp) -> i64 {
        let mut shortest = i64::MAX;
        let mut at = now;
        for number in 0..8 {
            let Some(next) = self.next(at) else { break };
            if number > 0 {
                shortest = shortest.min(next.as_second() - at.as_second());
            }
            at = next;
        }
        shortest
    }

    fn has_day(&self, date: Date) -> bool {
        let weekday = u32::try_from(date.weekday().to_monday_zero_offset()).unwrap_or_default();
        (self.weekdays.is_empty() || self.weekdays.contains(&weekday))
            && self.years.has(u32::try_from(date.year()).unwrap_or_default())
            && self.months.has(u32::try_from(date.month()).unwrap_or_default())
            && self.days.has(u32::try_from(date.day()).unwrap_or_default())
    }

    /// The times of a day, in order.
    fn times(&self) -> impl Iterator<Item = Time> {
        let (minutes, seconds) = (self.minutes.all(0, 59), self.seconds.all(0, 59));
        self.hours.all(0, 23).into_iter().flat_map(move |hour| {
            let seconds = seconds.clone();
            minutes.clone().into_iter().flat_map(move |minute| {
                seconds.clone().into_iter().filter_map(move |second| {
                    Time::new(hour.try_into().ok()?, minute.try_into().ok()?, second.try_into().ok()?, 0).ok()
                })
            })
        })
    }

    /// The five fields of a line of cron.
    pub fn cron(&self) -> Result<String, String> {
        let cannot = |why: &str| Err(format!("cron cannot do `{self}`: {why}"));
        if self.zone.is_some() {
            return cannot("it knows no time zones");
        }
        if self.years != Field::Any {
            return cannot("it knows no years");
        }
        if self.seconds != Field::Of(vec![0]) {
            return cannot("it begins at full minutes only");
        }
        if !self.weekdays.is_empty() && self.days != Field::Any {
            return cannot("it runs when the day of the month fits or the weekday does, and both are meant");
        }
        let weekdays: Vec<String> = self.weekdays.iter().map(|day| ((day + 1) % 7).to_string()).collect();
        let weekdays = if weekdays.is_empty() { "*".to_string() } else { weekdays.join(",") };
        Ok(format!(
            "{} {} {} {} {weekdays}",
            self.minutes.cron(),
            self.hours.cron(),
            self.days.cron(),
            self.months.cron()
        ))
    }
}

impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.written)
    }
}

fn shorthand(word: &str) -> Option<&'static str> {
    Some(match word {
        "minutely" => "*-*-* *:*:00",
        "hourly" => "*-*-* *:00:00",
        "daily" => "*-*-* 00:00:00",
        "weekly" => "Mon *-*-* 00:00:00",
        "monthly" => "*-*-01 00:00:00",
        "quarterly" => "*-01,04,07,10-01 00:00:00",
        "semiannually" => "*-01,07-01 00:00:00",
        "yearly" | "annually" => "*-01-01 00:00:00",
        _ => return None,
    })
}

fn weekdays(text: &str) -> Result<Vec<u32>, String> {
    let day = |word: &str| {
        let lower = word.to_lowercase();
        let found = DAYS.iter().position(|name| *name == lower || name.get(..3) == Some(lower.as_str()));
        found.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| format!("`{word}` is no day of the week"))
    };
    let mut all = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match part.split_once("..").or_else(|| part.split_once('-')) {
            None => all.push(day(part)?),
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                if to < from {
                    return Err(format!("`{part}` ends before it begins"));
                }
                all.extend(from..=to);
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

impl Field {
    fn parse(text: &str, least: u32, most: u32) -> Result<Field, String> {
        if text == "*" {
            return Ok(Field::Any);
        }
        let number = |word: &str| {
            let found = word.parse::<u32>().ok().filter(|number| (least..=most).contains(number));
            found.ok_or_else(|| format!("`{word}` in `{text}` is no number from {least} to {most}"))
        };
        let mut all = Vec::new();
        for part in text.split(',') {
            let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
            let step = match step {
                None => None,
                Some(word) => {
                    let step = word.parse::<usize>().ok().filter(|step| *step > 0);
                    Some(step.ok_or_else(|| format!("`{word}` in `{text}` is no step"))?)
                }
            };
            let (from, to) = match range.split_once("..") {
                Some((from, to)) => (number(from)?, number(to)?),
                None => (number(range)?, if step.is_some() { most } else { number(range)? }),
            };
            if to < from {
                return Err(format!("`{part}` ends before it begins"));
            }
            all.extend((from..=to).step_by(step.unwrap_or(1)));
        }
        all.sort_unstable();
        all.dedup();
        Ok(Field::Of(all))
    }

    fn has(&self, number: u32) -> bool {
        match self {
            Field::Any => true,
            Field::Of(numbers) => numbers.contains(&number),
        }
    }

    fn all(&self, least: u32, most: u32) -> Vec<u32> {
        match self {
            Field::Any => (least..=most).collect(),
            Field::Of(numbers) => numbers.clone(),
        }
    }

    fn cron(&self) -> String {
        match self {
            Field::Any => "*".into(),
            Field::Of(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, from: &str) -> String {
        let at = Calendar::parse(text).unwrap().next(from.parse().unwrap()).unwrap();
        at.to_string()
    }

    #[test]
    fn the_next_time_is_found() {
        for (text, from, expected) in [
            ("daily UTC", "2026-11-22T12:13:48Z", "2026-11-23T00:00:00Z"),
            ("daily UTC", "2026-11-22T23:59:59Z", "2026-11-23T00:00:00Z"),
            // The moment itself is over.
            ("daily UTC", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            ("Mon..Fri,Sun 10:00 Europe/Berlin", "2026-11-22T12:00:00Z", "2026-11-23T09:00:00Z"),
            ("*:0/10:30 UTC", "2026-11-22T12:13:48Z", "2026-11-22T12:20:30Z"),
            ("*:*:0/10 UTC", "2026-11-22T12:13:48Z", "2026-11-22T12:13:50Z"),
            ("8..18/2:00 UTC", "2026-11-22T12:13:48Z", "2026-11-22T14:00:00Z"),
            ("12-24 UTC", "2026-11-22T12:13:48Z", "2026-12-24T00:00:00Z"),
            ("weekly UTC", "2026-11-22T12:13:48Z", "2026-11-23T00:00:00Z"),
            ("quarterly UTC", "2026-11-22T12:13:48Z", "2027-01-01T00:00:00Z"),
            ("Mon *-02-29 UTC", "2026-11-22T12:13:48Z", "2044-02-29T00:00:00Z"),
            ("2030-06-01 03:30 UTC", "2026-11-22T12:13:48Z", "2030-06-01T03:30:00Z"),
            // An hour that is left out.
            ("02:30 Europe/Berlin", "2027-03-28T00:00:00Z", "2027-03-28T01:30:00Z"),
        ] {
            assert_eq!(next(text, from), expected, "{text}");
        }
    }

    #[test]
    fn systemd_says_the_same() {
        for text in
            ["daily", "Mon..Fri 8..18/2:15", "*-*-1,15 4:30", "*:7/20:5", "Sat,Sun 12:00", "*-1..3-1 0:0", "*-2-29"]
        {
            let now = Timestamp::now();
            let told = std::process::Command::new("systemd-analyze").args(["calendar", text]).env("TZ", "UTC").output();
            let Ok(told) = told else { return }; // not a machine with systemd
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            let line = told.lines().find_map(|line| line.trim().strip_prefix("Next elapse: ")).unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            let theirs: Timestamp = format!("{}T{}Z", words[1], words[2]).parse().unwrap();
            let ours = Calendar::parse(&format!("{text} UTC")).unwrap();
            // It may have elapsed between the two looks.
            assert!(
                [ours.next(now), ours.next(theirs)].contains(&Some(theirs)) || ours.next(now) == Some(theirs),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "*/5",
            "*:*/5",
            "2026",
            "10",
            "sat 3",
            "24:00",
            "*-02-30",
            "*-*~1",
            "Sat..Mon 1:00",
            "00:00:00.5",
            "fooday",
            "daily daily",
            "1:00 2:00",
            "*-13-01",
            "0/0:00",
            "1999-01-01",
            "1:2:3:4",
            "daily Mars/Olympus",
        ] {
            let refused = Calendar::parse(text);
            assert!(refused.as_ref().is_err_and(|why| why.contains("is no calendar event")), "{text}: {refused:?}");
        }
    }

    #[test]
    fn cron_is_told_what_it_can_do() {
        for (text, expected) in [
            ("daily", Ok("0 0 * * *")),
            ("Mon..Wed,Sun 3:17", Ok("17 3 * * 1,2,3,0")),
            ("*-*-1,15 4:0/20", Ok("0,20,40 4 1,15 * *")),
            ("*-6-1 *:30", Ok("30 * 1 6 *")),
            ("*:*:0/10", Err("full minutes")),
            ("Mon *-*-1 3:00", Err("both are meant")),
            ("daily UTC", Err("time zones")),
            ("2030-1-1", Err("years")),
        ] {
            match (Calendar::parse(text).unwrap().cron(), expected) {
                (Ok(line), Ok(expected)) => assert_eq!(line, expected),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn intervals_are_told() {
        for (text, seconds) in
            [("daily UTC", 86_400), ("*:*:0/10 UTC", 10), ("Mon,Tue UTC", 86_400), ("weekly UTC", 604_800)]
        {
            assert_eq!(
                Calendar::parse(text).unwrap().interval("2026-11-18T00:00:00Z".parse().unwrap()),
                seconds,
                "{text}"
            );
        }
    }
}
