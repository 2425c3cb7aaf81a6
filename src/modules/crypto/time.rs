//! Times as certificates have them, and as Ansible's modules take them.

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// `+365d`, `-1w2h`, or `20270101000000Z`.
pub(super) fn moment(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    let Some(rest) = text.strip_prefix(['+', '-']) else { return absolute(text) };
    let (mut sum, mut number) = (0i64, None::<i64>);
    for letter in rest.chars() {
        if let Some(digit) = letter.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
            continue;
        }
        let unit = match letter {
            'w' | 'W' => 604_800,
            'd' | 'D' => 86_400,
            'h' | 'H' => 3600,
            'm' | 'M' => 60,
            's' | 'S' => 1,
            _ => return None,
        };
        sum = sum.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let none_left = number.is_none() && !rest.is_empty();
    none_left.then_some(())?;
    if text.starts_with('-') { now.checked_sub(sum) } else { now.checked_add(sum) }
}

fn absolute(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    if !matches!(digits.len(), 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("0").parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14).unwrap_or(0));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days since 1970, of the calendar that is used today (Howard Hinnant's arithmetic).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// `YYYYMMDDHHMMSSZ`
pub(super) fn stamp(moment: i64) -> String {
    let (day, second) = (moment.div_euclid(86_400) + 719_468, moment.rem_euclid(86_400));
    let era = day.div_euclid(146_097);
    let of_era = day - era * 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for text in ["19700101000000Z", "20000229235959Z", "20261123004500Z", "21000301000000Z"] {
            assert_eq!(stamp(moment(text, 0).unwrap()), text);
        }
        for (text, seconds) in [("+1d", 86_400), ("-1w2h", -612_000), ("+0s", 0), ("200001010000Z", 946_684_800)] {
            assert_eq!(moment(text, 0), Some(seconds), "{text}");
        }
        for wrong in ["", "+", "+5", "+d", "soon", "20261323004500Z", "2026Z", "+99999999999999999999d"] {
            assert_eq!(moment(wrong, 0), None, "{wrong}");
        }
    }
}
