//! What ufw tells about itself, and what is to be concluded from it.

use crate::modules::ModuleError;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The lines of a file of rules that describe them.
pub(super) fn tuples(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| line.starts_with("### tuple")).collect()
}

/// `[ 3] 22/tcp  ALLOW IN  Anywhere (v6)`: where a rule goes that is so many places from the first or last of a family.
pub(super) fn relative_place(numbered: &str, insert: i64, relative: &str) -> Option<i64> {
    let lines: Vec<(i64, bool)> = numbered
        .lines()
        .filter_map(|line| {
            let number = line.strip_prefix('[')?.split_once("] ")?.0.trim().parse().ok()?;
            Some((number, line.contains("(v6)")))
        })
        .collect();
    let last = lines.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let last_v4 = lines.iter().filter(|(_, v6)| !v6).map(|(number, _)| *number).max();
    let has_v6 = lines.iter().any(|(_, v6)| *v6);
    let from = match relative {
        "first-ipv4" => 1,
        "last-ipv4" => last_v4.unwrap_or(1),
        "first-ipv6" => last_v4.map_or(1, |number| number + 1),
        _ if has_v6 => last,
        _ => last + 1,
    };
    // ufw refuses a number behind the last rule.
    Some(insert + from).filter(|place| *place <= last)
}

/// Since 0.35 a rule may have a comment.
pub(super) fn takes_comments(version: &str) -> Result<bool, ModuleError> {
    let first = version.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let number = first.strip_prefix("ufw").and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let mut parts = number.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok(major > 0 || minor >= 35),
        _ => Err(ModuleError::Failed(format!("Failed to get ufw version: it says `{first}`"))),
    }
}

/// `Default: deny (incoming), allow (outgoing), disabled (routed)`
pub(super) fn default_of<'a>(state: &'a str, direction: &str) -> Option<&'a str> {
    let line = state.lines().find_map(|line| line.strip_prefix("Default: "))?;
    line.split(", ").find_map(|part| part.strip_suffix(&format!(" ({direction})")))
}

/// `Logging: on (low)`
pub(super) fn changes_logging(state: &str, wanted: &str) -> bool {
    let Some(line) = state.lines().find_map(|line| line.strip_prefix("Logging: ")) else { return true };
    let (switch, level) = line.split_once(" (").unwrap_or((line, ""));
    match (wanted, switch) {
        ("off", switch) => switch != "off",
        (_, "off") => true,
        ("on", _) => false,
        (wanted, _) => wanted != level.trim_end_matches(')'),
    }
}

/// Whether what a trial run prints are other rules than the present ones. It prints one family alone for a rule of one.
pub(super) fn changes_rules(present: &str, dry: &str, (from, to): (&str, &str)) -> bool {
    let lines: Vec<&str> = dry.lines().collect();
    if !lines.is_empty() && lines.iter().all(|line| line.contains("Skipping")) {
        return false;
    }
    let wanted = tuples(dry);
    let any = |test: fn(&str) -> bool| test(from) || test(to);
    let only = |text: &str, v6: bool| -> BTreeSet<String> {
        let tuple = |line: &&str| line.split_whitespace().any(|word| if v6 { is_v6(word) } else { is_v4(word) });
        text.lines().filter(tuple).map(str::to_string).collect()
    };
    match (any(is_v4), any(is_v6)) {
        (true, _) => only(present, false) != only(&wanted, false),
        (_, true) => only(present, true) != only(&wanted, true),
        _ => present != wanted,
    }
}

fn is_v4(text: &str) -> bool {
    text.split('/').next().is_some_and(|address| address.parse::<Ipv4Addr>().is_ok())
}

fn is_v6(text: &str) -> bool {
    text.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str =
        "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n";

    #[test]
    fn defaults_and_logging() {
        for (direction, expected) in
            [("incoming", Some("deny")), ("outgoing", Some("allow")), ("routed", Some("disabled")), ("x", None)]
        {
            assert_eq!(default_of(STATE, direction), expected, "{direction}");
        }
        assert_eq!(default_of("Status: inactive\n", "incoming"), None);
        for (state, wanted, expected) in [
            (STATE, "on", false),
            (STATE, "low", false),
            (STATE, "full", true),
            (STATE, "off", true),
            ("Logging: off\n", "off", false),
            ("Logging: off\n", "on", true),
            ("Status: inactive\n", "on", true),
        ] {
            assert_eq!(changes_logging(state, wanted), expected, "{state} {wanted}");
        }
    }

    #[test]
    fn versions() {
        for (text, expected) in [
            ("ufw 0.36.2\nCopyright\n", Some(true)),
            ("ufw 0.34\n", Some(false)),
            ("\nufw 1.0\n", Some(true)),
            ("x", None),
        ] {
            assert_eq!(takes_comments(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn places_relative_to_the_rules_of_a_family() {
        let numbered = "Status: active\n\n     To   Action  From\n[ 1] 22/tcp  ALLOW IN  Anywhere\n[ 2] 80  ALLOW IN  Anywhere\n\
                        [ 3] 22/tcp (v6)  ALLOW IN  Anywhere (v6)\n[ 4] 80 (v6)  ALLOW IN  Anywhere (v6)\n";
        for (insert, relative, expected) in [
            (0, "first-ipv4", Some(1)),
            (0, "last-ipv4", Some(2)),
            (-1, "last-ipv4", Some(1)),
            (0, "first-ipv6", Some(3)),
            (0, "last-ipv6", Some(4)),
            (1, "last-ipv6", None),
        ] {
            assert_eq!(relative_place(numbered, insert, relative), expected, "{insert} {relative}");
        }
        assert_eq!(relative_place("Status: active\n", 0, "first-ipv4"), None);
    }

    #[test]
    fn a_trial_run_is_compared_with_what_is_there() {
        let one = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n";
        let v6 = "### tuple ### allow tcp 22 ::/0 any ::/0 in\n";
        let from = "### tuple ### allow any any 0.0.0.0/0 any 10.0.0.1 in\n";
        let both = format!("{one}{v6}");
        for (present, dry, ends, expected) in [
            (both.as_str(), format!("*filter\n{both}COMMIT\n"), ("any", "any"), false),
            (one, both.clone(), ("any", "any"), true),
            (one, "Skipping adding existing rule\nSkipping adding existing rule (v6)\n".into(), ("any", "any"), false),
            // Only rules of the one family are printed for an address.
            (both.as_str(), one.to_string(), ("10.0.0.1", "any"), false),
            (both.as_str(), format!("{one}{from}"), ("10.0.0.1", "any"), true),
            (both.as_str(), v6.to_string(), ("any", "fd00::/8"), false),
        ] {
            assert_eq!(changes_rules(present, &dry, ends), expected, "{present} {dry}");
        }
    }
}
