//! Times as the file module takes them: `now`, `preserve`, or text in a `strptime` format.

use super::common::Step;
use crate::machine::files::{Time, TimeSpec};
use crate::machine::{Command, Machine};
use crate::modules::ModuleError;

/// The format when none is given.
const FORMAT: &str = "%Y%m%d%H%M.%S";

/// Reads a time. The host's own `date` turns local time into seconds, so that its time zone counts.
pub(super) fn parse(machine: &Machine, text: &str, format: Option<&str>) -> Step<TimeSpec> {
    match text {
        "preserve" => return Ok(TimeSpec::Preserve),
        "now" => return Ok(TimeSpec::Now),
        _ => {}
    }
    let format = format.unwrap_or(FORMAT);
    let fields = fields(text, format).ok_or_else(|| {
        ModuleError::Failed(format!(
            "Error while obtaining timestamp for time {text} using format {format}: it does not fit the format \
             (%Y %y %m %d %H %M %S are known)"
        ))
    })?;
    let [year, month, day, hour, minute, second] = fields;
    let date = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    let output = machine.probe(&Command::new(["date", "-d", &date, "+%s"]))?;
    let seconds = output.stdout_text().trim().parse().ok().filter(|_| output.success());
    seconds
        .map(|seconds| TimeSpec::At(Time(seconds, 0)))
        .ok_or_else(|| ModuleError::Failed(format!("{text} is no time: {}", output.stderr_text().trim())))
}

/// Year, month, day, hour, minute, second.
fn fields(text: &str, format: &str) -> Option<[u32; 6]> {
    let mut fields = [1900, 1, 1, 0, 0, 0];
    let mut rest = text;
    let mut format = format.chars();
    while let Some(c) = format.next() {
        if c != '%' {
            rest = rest.strip_prefix(c)?;
            continue;
        }
        let (index, digits) = match format.next()? {
            'Y' => (0, 4),
            'y' => (6, 2),
            'm' => (1, 2),
            'd' => (2, 2),
            'H' => (3, 2),
            'M' => (4, 2),
            'S' => (5, 2),
            '%' => {
                rest = rest.strip_prefix('%')?;
                continue;
            }
            _ => return None,
        };
        let end = rest.bytes().take(digits).take_while(u8::is_ascii_digit).count();
        let number: u32 = rest.get(..end)?.parse().ok()?;
        rest = rest.get(end..)?;
        match fields.get_mut(index) {
            Some(field) => *field = number,
            None => fields[0] = if number < 69 { 2000 + number } else { 1900 + number },
        }
    }
    rest.is_empty().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn formats() {
        assert_eq!(fields("202611220214.07", super::FORMAT), Some([2026, 11, 22, 2, 14, 7]));
        assert_eq!(fields("22/11/26", "%d/%m/%y"), Some([2026, 11, 22, 0, 0, 0]));
        for (text, format) in [("2026", super::FORMAT), ("2026x", "%Y"), ("Nov", "%b"), ("", "%Y")] {
            assert_eq!(fields(text, format), None, "{text}");
        }
    }
}
