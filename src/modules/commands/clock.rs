//! Times as Ansible's command modules print them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment in the host's time zone, broken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 0 is the first of January.
    pub yearday: i64,
    /// Seconds east of Greenwich.
    pub offset: i64,
    pub summer_time: bool,
}

/// The same moment in the host's time zone.
pub fn local(seconds: i64) -> Local {
    let time: libc::time_t = seconds;
    // SAFETY: `tm` is plain data that the call fills in, and both pointers are valid for the call.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&time, &mut tm);
        tm
    };
    from_tm(&tm)
}

/// The same moment in UTC.
pub fn utc(seconds: i64) -> Local {
    let time: libc::time_t = seconds;
    // SAFETY: as in `local`.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&time, &mut tm);
        tm
    };
    from_tm(&tm)
}

/// The name of the time zone at this moment: `CET`.
pub fn zone(seconds: i64) -> String {
    let time: libc::time_t = seconds;
    // SAFETY: `tm` is filled in by the call; `tm_zone` points to a string that lives as long as the process.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&time, &mut tm);
        match tm.tm_zone.is_null() {
            true => String::new(),
            false => std::ffi::CStr::from_ptr(tm.tm_zone).to_string_lossy().into_owned(),
        }
    }
}

fn from_tm(tm: &libc::tm) -> Local {
    Local {
        year: i64::from(tm.tm_year) + 1900,
        month: i64::from(tm.tm_mon) + 1,
        day: tm.tm_mday.into(),
        hour: tm.tm_hour.into(),
        minute: tm.tm_min.into(),
        second: tm.tm_sec.into(),
        weekday: tm.tm_wday.into(),
        yearday: tm.tm_yday.into(),
        offset: tm.tm_gmtoff,
        summer_time: tm.tm_isdst > 0,
    }
}

/// `2026-11-22 02:10:33.123456`
pub fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let t = local(since.as_secs() as i64);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}",
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second,
        since.subsec_micros()
    )
}

/// `0:00:01.234567`, `2 days, 1:00:00.000000`
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let days = match seconds / 86400 {
        0 => String::new(),
        1 => "1 day, ".into(),
        n => format!("{n} days, "),
    };
    let rest = seconds % 86400;
    format!("{days}{}:{:02}:{:02}.{:06}", rest / 3600, rest / 60 % 60, rest % 60, duration.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_as_python_prints_them() {
        assert_eq!(span(Duration::from_micros(1_234_567)), "0:00:01.234567");
        assert_eq!(span(Duration::from_secs(86400 + 3661)), "1 day, 1:01:01.000000");
        assert_eq!(span(Duration::from_secs(12 * 60)), "0:12:00.000000");
    }

    #[test]
    fn stamps_have_microseconds() {
        let text = stamp(UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042));
        assert!(text.ends_with(".000042") && text.starts_with("2023-11-1"), "{text}");
    }
}
