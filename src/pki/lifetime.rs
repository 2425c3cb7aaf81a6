//! How long a certificate lives, counted from its issue, and how a moment is written.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PkiError;

/// Seconds since 1970, UTC.
pub type UnixTime = i64;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// The clock's reading, for callers at the edge; decisions take it as an argument.
pub fn now() -> UnixTime {
    jiff::Timestamp::now().as_second()
}

/// A moment as people read it: `2026-11-22 01:51 UTC`.
pub fn date(moment: UnixTime) -> String {
    match jiff::Timestamp::from_second(moment) {
        Ok(stamp) => stamp.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("{moment} s"),
    }
}

/// A lifetime: `90d`, `12h`, `30m`, `10y` (of 365 days), or a bare number of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lifetime(i64);

impl Lifetime {
    /// Of whole days.
    pub const fn days(days: i64) -> Self {
        Lifetime(days * DAY)
    }

    /// Of seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Lifetime(seconds)
    }

    /// In seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// How far before the issue the certificate begins, for clocks that are behind: the smaller of an hour and
    /// a tenth. It is no part of the lifetime.
    pub fn backdating(self) -> i64 {
        (self.0 / 10).min(HOUR)
    }

    /// The lifetime counted from issue of a certificate whose dates are `span` seconds apart, backdating taken
    /// off again.
    pub fn of_span(span: i64) -> Self {
        if span >= 11 * HOUR { Lifetime(span - HOUR) } else { Lifetime(span.saturating_mul(10) / 11) }
    }
}

impl FromStr for Lifetime {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        let bad = || PkiError::Lifetime { text: text.to_string() };
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match trimmed.strip_prefix(digits).unwrap_or_default() {
            "s" => 1,
            "m" => 60,
            "h" => HOUR,
            "d" | "" => DAY,
            "w" => 7 * DAY,
            "y" => 365 * DAY,
            _ => return Err(bad()),
        };
        let number: i64 = digits.parse().map_err(|_| bad())?;
        let seconds = number.checked_mul(unit).ok_or_else(bad)?;
        // A minute, because shorter ones expire on the way; a century, because DER dates end.
        if !(60..=100 * 365 * DAY).contains(&seconds) {
            return Err(bad());
        }
        Ok(Lifetime(seconds))
    }
}

impl TryFrom<String> for Lifetime {
    type Error = PkiError;

    fn try_from(text: String) -> Result<Self, PkiError> {
        text.parse()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> String {
        lifetime.to_string()
    }
}

impl std::fmt::Display for Lifetime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, name) = [(DAY, "d"), (HOUR, "h"), (60, "m")]
            .into_iter()
            .find(|(unit, _)| self.0 != 0 && self.0 % unit == 0)
            .unwrap_or((1, "s"));
        write!(f, "{}{name}", self.0 / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_and_written() {
        for (text, seconds, written) in [
            ("90d", 90 * DAY, "90d"),
            ("90", 90 * DAY, "90d"),
            ("10y", 3650 * DAY, "3650d"),
            ("12h", 12 * HOUR, "12h"),
            ("30m", 1800, "30m"),
            ("90s", 90, "90s"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!((lifetime.as_seconds(), lifetime.to_string().as_str()), (seconds, written));
        }
        for text in ["", "d", "-1d", "1.5d", "10 fortnights", "30s", "200y", "99999999999999999999d"] {
            assert!(text.parse::<Lifetime>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn backdating_is_taken_off_again() {
        for lifetime in [60, 600, 9 * HOUR, 10 * HOUR, 11 * HOUR, 90 * DAY, 3650 * DAY] {
            let lifetime = Lifetime::seconds(lifetime);
            assert_eq!(Lifetime::of_span(lifetime.as_seconds() + lifetime.backdating()), lifetime);
        }
        assert_eq!(Lifetime::days(90).backdating(), HOUR);
        assert_eq!(Lifetime::seconds(600).backdating(), 60);
    }

    #[test]
    fn a_moment_is_readable() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
    }
}
