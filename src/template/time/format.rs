//! `strftime` as the C library of a Linux host has it, in the locale `C`.

use jiff::civil;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// What is filled up stays within so many letters, all directives of a format together.
const WIDEST: usize = 100_000;

/// What `strftime` is told: C's `struct tm`.
pub(super) struct Moment<'a> {
    pub at: civil::DateTime,
    /// Seconds off UTC.
    pub offset: i32,
    /// The name of the zone.
    pub zone: &'a str,
}

/// What stands between `%` and the letter.
#[derive(Default)]
struct Flags {
    pad: Option<char>,
    upper: bool,
    swap: bool,
    width: usize,
}

impl Flags {
    /// A text, filled up to the width that is asked for.
    fn text(&self, text: &str) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        let fill = if self.pad == Some('0') { "0" } else { " " };
        let text = if self.upper { text.to_uppercase() } else { text.to_owned() };
        format!("{}{text}", fill.repeat(missing))
    }

    /// A number of so many digits, which `usual` fills up.
    fn number(&self, number: i64, digits: usize, usual: char) -> String {
        let plain = number.to_string();
        let digits = if self.pad == Some('-') { 0 } else { digits.max(self.width) };
        let fill = match self.pad {
            None => usual,
            Some('0') => '0',
            Some(_) => ' ',
        };
        let missing = digits.saturating_sub(plain.len());
        let filled = match plain.strip_prefix('-').filter(|_| fill == '0') {
            Some(rest) => format!("-{}{rest}", "0".repeat(missing)),
            None => format!("{}{plain}", fill.to_string().repeat(missing)),
        };
        self.text(&filled)
    }
}

/// The first letters of a name.
pub(super) fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

/// Which week of the year it is, with weeks that begin so many days after Sunday.
fn week(at: civil::DateTime, begin: i8) -> i64 {
    let day = (at.weekday().to_sunday_zero_offset() - begin).rem_euclid(7);
    i64::from((at.day_of_year() - 1 + 7 - i16::from(day)) / 7)
}

/// The seconds since 1970 of a time of this machine.
pub(super) fn local_seconds(at: civil::DateTime) -> i64 {
    at.to_zoned(jiff::tz::TimeZone::system()).map_or(0, |zoned| zoned.timestamp().as_second())
}

/// Writes a time by a format. What is no directive stays as it is.
pub(super) fn format(format: &str, moment: &Moment<'_>) -> String {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('%') {
        out.push_str(before);
        let (text, more) = directive(behind, moment, WIDEST.saturating_sub(out.len()));
        out.push_str(&text);
        rest = more;
    }
    out.push_str(rest);
    out
}

/// What one directive becomes, at most filled up to `room`, and what is behind it.
fn directive<'t>(behind: &'t str, moment: &Moment<'_>, room: usize) -> (String, &'t str) {
    let mut flags = Flags::default();
    let mut rest = behind;
    while let Some(flag) = rest.chars().next().filter(|c| matches!(c, '_' | '-' | '0' | '^' | '#')) {
        match flag {
            '^' => flags.upper = true,
            '#' => flags.swap = true,
            pad => flags.pad = Some(pad),
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (width, mut rest) = rest.split_at(digits);
    flags.width = width.parse::<usize>().unwrap_or(0).min(room);
    let modifier = rest.chars().next().filter(|c| matches!(c, 'E' | 'O'));
    if modifier.is_some() {
        rest = rest.get(1..).unwrap_or_default();
    }
    let letter = rest.chars().next();
    let more = rest.get(letter.map_or(0, char::len_utf8)..).unwrap_or_default();
    let allowed = |c: &char| match modifier {
        None => true,
        Some('E') => "cCxXyYsrRTDFhnPptz%".contains(*c),
        _ => "deHIkljmMSuUVwWyCGghsnpPrRtTDFz%".contains(*c),
    };
    match letter.filter(allowed).and_then(|letter| written(letter, &flags, moment)) {
        Some(text) => (text, more),
        None => {
            let as_it_is = behind.get(..behind.len() - more.len()).unwrap_or_default();
            (flags.text(&format!("%{as_it_is}")), more)
        }
    }
}

fn written(letter: char, flags: &Flags, moment: &Moment<'_>) -> Option<String> {
    let at = moment.at;
    let iso = at.date().iso_week_date();
    let year = i64::from(at.year());
    let hour = i64::from(at.hour());
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let number = |n: i64, digits| Some(flags.number(n, digits, '0'));
    let blank = |n: i64| Some(flags.number(n, 2, ' '));
    let text = |text: &str| {
        let swapped = if flags.swap { text.to_uppercase() } else { text.to_owned() };
        Some(flags.text(&swapped))
    };
    let made_of = |inner: &str| Some(flags.text(&format(inner, moment)));
    let day = || DAYS.get(usize::from(at.weekday().to_sunday_zero_offset().unsigned_abs())).copied();
    let month = || MONTHS.get(usize::from((at.month() - 1).unsigned_abs())).copied();
    let noon = if hour < 12 { ("AM", "am") } else { ("PM", "pm") };
    match letter {
        'a' => text(short(day()?)),
        'A' => text(day()?),
        'b' | 'h' => text(short(month()?)),
        'B' => text(month()?),
        'c' => made_of("%a %b %e %H:%M:%S %Y"),
        'C' => number(year.div_euclid(100), 1),
        'd' => number(i64::from(at.day()), 2),
        'D' | 'x' => made_of("%m/%d/%y"),
        'e' => blank(i64::from(at.day())),
        'F' => made_of("%Y-%m-%d"),
        'g' => number(i64::from(iso.year()).rem_euclid(100), 2),
        'G' => number(i64::from(iso.year()), 1),
        'H' => number(hour, 2),
        'I' => number(twelve, 2),
        'j' => number(i64::from(at.day_of_year()), 3),
        'k' => blank(hour),
        'l' => blank(twelve),
        'm' => number(i64::from(at.month()), 2),
        'M' => number(i64::from(at.minute()), 2),
        'n' => Some(flags.text("\n")),
        'p' => Some(flags.text(if flags.swap { noon.1 } else { noon.0 })),
        'P' => Some(Flags { upper: false, pad: flags.pad, swap: false, width: flags.width }.text(noon.1)),
        'r' => made_of("%I:%M:%S %p"),
        'R' => made_of("%H:%M"),
        's' => number(local_seconds(at), 1),
        'S' => number(i64::from(at.second()), 2),
        't' => Some(flags.text("\t")),
        'T' | 'X' => made_of("%H:%M:%S"),
        'u' => number(i64::from(at.weekday().to_monday_one_offset()), 1),
        'U' => number(week(at, 0), 2),
        'V' => number(i64::from(iso.week()), 2),
        'w' => number(i64::from(at.weekday().to_sunday_zero_offset()), 1),
        'W' => number(week(at, 1), 2),
        'y' => number(year.rem_euclid(100), 2),
        'Y' => number(year, 1),
        'z' => {
            let minutes = i64::from(moment.offset.abs() / 60);
            let sign = if moment.offset < 0 { '-' } else { '+' };
            let digits = Flags { width: 0, ..Flags { pad: flags.pad, ..Flags::default() } };
            Some(format!("{sign}{}", digits.number(minutes / 60 * 100 + minutes % 60, 4, '0')))
        }
        'Z' => Some(flags.text(&if flags.swap { moment.zone.to_lowercase() } else { moment.zone.to_owned() })),
        '%' => Some(flags.text("%")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_c_library_writes() {
        let of = |text: &str, at| format(text, &Moment { at, offset: 0, zone: "GMT" });
        let at = civil::date(2023, 11, 14).at(22, 13, 20, 0);
        for (text, want) in [
            ("%Z|%z|%c|%x|%X", "GMT|+0000|Tue Nov 14 22:13:20 2023|11/14/23|22:13:20"),
            ("%f|%L|%N|%+|%:z|%", "%f|%L|%N|%+|%:z|%"),
            ("%10a|%-10a|%010a|%^a|%#p|%#Z|%#B", "       Tue|       Tue|0000000Tue|TUE|pm|gmt|NOVEMBER"),
            ("%5d|%-5d|%_5d|%05d", "00014|   14|   14|00014"),
            ("%-j|%_j|%5j|%k|%l|%e|%-e", "318|318|00318|22|10|14|14"),
            ("%10T|%^c|%5%", "  22:13:20|TUE NOV 14 22:13:20 2023|    %"),
            ("%Ea|%Oa|%Ed|%Od|%EC|%Ey|%OY", "%Ea|%Oa|%Ed|14|20|23|%OY"),
            ("%-5|", " %-5|"),
            ("%E %5", "%E    %5"),
            ("%C %G %g %V %u %w %U %W", "20 2023 23 46 2 2 46 46"),
            ("%P %p %r %R %D %F %h %é", "pm PM 10:13:20 PM 22:13 11/14/23 2023-11-14 Nov %é"),
        ] {
            assert_eq!(of(text, at), want, "{text}");
        }
        let early = civil::date(5, 1, 2).at(3, 4, 5, 0);
        assert_eq!(of("%Y %F %C %g %_d %I", early), "5 5-01-02 0 04  2 03");
    }
}
