//! Python's `strptime`, in the locale `C`.

use std::collections::HashSet;

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::format::{MONTHS, short};
use super::values::{DateTime, Zone, day_of, offset_of};

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The names of the zones that this machine goes by, the usual one first.
fn zone_names() -> Vec<String> {
    let zone = TimeZone::system();
    let now = Timestamp::now();
    let other = now.checked_add(SignedDuration::from_hours(24 * 182)).unwrap_or(now);
    let local = [now, other].map(|at| zone.to_offset_info(at).abbreviation().to_lowercase());
    let mut names = vec!["utc".to_owned(), "gmt".to_owned()];
    names.extend(local);
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.dedup();
    names
}

fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.iter().map(|name| regex_lite::escape(name)).collect::<Vec<_>>().join("|")
}

/// What a directive matches.
fn pattern(letter: char) -> Option<String> {
    let fixed = match letter {
        'd' => "3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9]",
        'f' => "[0-9]{1,6}",
        'H' => "2[0-3]|[01][0-9]|[0-9]",
        'I' => "1[0-2]|0[1-9]|[1-9]",
        'G' | 'Y' => "[0-9]{4}",
        'j' => "36[0-6]|3[0-5][0-9]|[12][0-9][0-9]|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9]",
        'm' => "1[0-2]|0[1-9]|[1-9]",
        'M' => "[0-5][0-9]|[0-9]",
        'S' => "6[01]|[0-5][0-9]|[0-9]",
        'U' | 'W' => "5[0-3]|[0-4][0-9]|[0-9]",
        'w' => "[0-6]",
        'u' => "[1-7]",
        'V' => "5[0-3]|0[1-9]|[1-4][0-9]|[0-9]",
        'y' => "[0-9]{2}",
        'z' => r"[+-][0-9]{2}:?[0-5][0-9](?::?[0-5][0-9](?:\.[0-9]{1,6})?)?|(?-i:Z)",
        'p' => "am|pm",
        _ => {
            return Some(match letter {
                'A' => one_of(DAYS),
                'a' => one_of(DAYS.map(short)),
                'B' => one_of(MONTHS),
                'b' => one_of(MONTHS.map(short)),
                'Z' => one_of(zone_names().iter().map(String::as_str)),
                _ => return None,
            });
        }
    };
    Some(fixed.to_owned())
}

/// The format as a pattern, and the letters of its groups.
fn compiled(format: &str) -> Result<(regex_lite::Regex, Vec<char>), String> {
    let mut out = String::from("(?i)^");
    let mut letters = Vec::new();
    add(format, format, &mut out, &mut letters)?;
    let mut seen = HashSet::new();
    if let Some(twice) = letters.iter().find(|letter| !seen.insert(**letter)) {
        return Err(format!("the directive %{twice} stands twice in the format '{format}'"));
    }
    let pattern = regex_lite::Regex::new(&out).map_err(|e| format!("the format '{format}' is too long: {e}"))?;
    Ok((pattern, letters))
}

fn add(part: &str, format: &str, out: &mut String, letters: &mut Vec<char>) -> Result<(), String> {
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            while chars.next_if(|c| c.is_whitespace()).is_some() {}
            out.push_str(r"\s+");
            continue;
        }
        if c != '%' {
            out.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
            continue;
        }
        let letter = chars.next().ok_or_else(|| format!("stray % in format '{format}'"))?;
        match letter {
            '%' => out.push('%'),
            'c' => add("%a %b %d %H:%M:%S %Y", format, out, letters)?,
            'x' => add("%m/%d/%y", format, out, letters)?,
            'X' => add("%H:%M:%S", format, out, letters)?,
            letter => {
                let inner =
                    pattern(letter).ok_or_else(|| format!("'{letter}' is a bad directive in format '{format}'"))?;
                out.push_str(&format!("({inner})"));
                letters.push(letter);
            }
        }
    }
    Ok(())
}

/// What the parts of a text said.
struct Found<'t>(Vec<(char, &'t str)>);

impl<'t> Found<'t> {
    fn text(&self, letter: char) -> Option<&'t str> {
        self.0.iter().find(|(l, _)| *l == letter).map(|(_, text)| *text)
    }

    fn number(&self, letter: char) -> Option<i64> {
        self.text(letter)?.trim().parse().ok()
    }

    /// Which of these names it is.
    fn place(&self, letter: char, names: &[&str]) -> Option<i64> {
        let text = self.text(letter)?.to_lowercase();
        let at = names.iter().position(|name| name.to_lowercase() == text)?;
        i64::try_from(at).ok()
    }

    /// The day of the week, from Monday.
    fn weekday(&self) -> Option<i64> {
        let sunday_first = self.number('w').map(|day| (day + 6) % 7);
        let monday_first = self.number('u').map(|day| day - 1);
        self.place('A', &DAYS).or_else(|| self.place('a', &DAYS.map(short))).or(sunday_first).or(monday_first)
    }

    fn year(&self) -> Option<i64> {
        let short = self.number('y').map(|year| if year <= 68 { year + 2000 } else { year + 1900 });
        short.or_else(|| self.number('Y'))
    }

    fn hour(&self) -> i64 {
        let Some(hour) = self.number('I') else { return self.number('H').unwrap_or(0) };
        let noon = self.text('p').is_some_and(|text| text.eq_ignore_ascii_case("pm"));
        hour % 12 + if noon { 12 } else { 0 }
    }

    fn micros(&self) -> i64 {
        let digits: String = self.text('f').unwrap_or_default().chars().chain("000000".chars()).take(6).collect();
        digits.parse().unwrap_or(0)
    }

    fn date(&self) -> Result<(i64, i64, i64), String> {
        let (said, iso_year, weekday) = (self.year(), self.number('G'), self.weekday());
        let day_of_year = self.number('j');
        match (said, iso_year, self.number('V')) {
            (None, Some(_), week) => {
                if week.is_none() || weekday.is_none() {
                    return Err("%G must be used with %V and a weekday (%A, %a, %w or %u)".to_owned());
                }
                if day_of_year.is_some() {
                    return Err("%j is not compatible with %G: use %Y instead".to_owned());
                }
            }
            (_, _, Some(_)) if self.text('U').is_none() && self.text('W').is_none() => {
                return Err("%V must be used with %G and a weekday (%A, %a, %w or %u), and not with %Y".to_owned());
            }
            _ => {}
        }
        let month = self.place('B', &MONTHS).or_else(|| self.place('b', &MONTHS.map(short))).map(|at| at + 1);
        let month = month.or_else(|| self.number('m')).unwrap_or(1);
        let day = self.number('d').unwrap_or(1);
        let year = said.unwrap_or(1900);
        let first = |year| day_of(year, 1, 1).map(super::values::ordinal);
        let ordinal = if let Some(nth) = day_of_year {
            first(year)? + nth - 1
        } else if let (Some(weekday), Some(week)) = (weekday, self.number('U').or_else(|| self.number('W'))) {
            // From Sunday on, or from Monday.
            let begin = i64::from(self.text('U').is_some());
            let first = first(year)?;
            let before = (first - 1 + begin).rem_euclid(7);
            let weeks = if before == 0 { (week - 1).max(0) } else { week };
            first - before + (weekday + begin) % 7 + 7 * weeks
        } else if let (None, Some(iso), Some(week), Some(weekday)) = (said, iso_year, self.number('V'), weekday) {
            let fourth = day_of(iso, 1, 4).map(super::values::ordinal)?;
            fourth - (fourth - 1).rem_euclid(7) + 7 * (week - 1) + weekday
        } else {
            return Ok((year, month, day));
        };
        let date = super::values::of_ordinal(ordinal)?;
        Ok((i64::from(date.year()), i64::from(date.month()), i64::from(date.day())))
    }

    fn zone(&self) -> Result<Option<Zone>, String> {
        let Some(text) = self.text('z') else { return Ok(None) };
        let micros = match text {
            "Z" => 0,
            text => offset_of(text).ok_or("the colons of the zone's offset are inconsistent")?,
        };
        Zone::new(micros, self.text('Z')).map(Some)
    }
}

/// Reads a time by a format.
pub(super) fn parse(text: &str, format: &str) -> Result<DateTime, String> {
    let (pattern, letters) = compiled(format)?;
    let groups = pattern.captures(text).ok_or_else(|| format!("the text does not match the format '{format}'"))?;
    let rest = text.get(groups.get(0).map_or(0, |all| all.end())..).unwrap_or_default();
    if !rest.is_empty() {
        return Err(format!("the text does not match the format '{format}': there is more behind it"));
    }
    let parts = letters.iter().enumerate();
    let found = Found(parts.filter_map(|(i, letter)| Some((*letter, groups.get(i + 1)?.as_str()))).collect());
    let (year, month, day) = found.date()?;
    let date = day_of(year, month, day)?;
    let second = found.number('S').unwrap_or(0);
    let time = super::values::time_of(found.hour(), found.number('M').unwrap_or(0), second, found.micros())?;
    Ok(DateTime { at: civil::DateTime::from_parts(date, time), zone: found.zone()? })
}
