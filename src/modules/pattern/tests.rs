//! The answers of Python's own `re`, which `cases.json` holds: pattern, flags, subject, replacement, and the result of
//! `search` (spans of all groups) and `subn`; null where Python refuses.

use super::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    pattern: String,
    flags: String,
    subject: String,
    template: String,
    spans: Option<Vec<Option<(usize, usize)>>>,
    replaced: Option<(String, usize)>,
    refused: bool,
}

fn check(case: &Case) -> Result<(), String> {
    let has = |c| case.flags.contains(c);
    let flags =
        Flags { ignore_case: has('i'), multiline: has('m'), dot_all: has('s'), verbose: has('x'), ascii: has('a') };
    let what = format!("{:?} ({}) on {:?}", case.pattern, case.flags, case.subject);
    let pattern = match Pattern::new(&case.pattern, flags) {
        Err(_) if case.refused => return Ok(()),
        Err(error) => return Err(format!("{what} is refused: {error}")),
        Ok(_) if case.refused => return Err(format!("{what} is not refused")),
        Ok(pattern) => pattern,
    };
    let subject = characters(&case.subject);
    let found = pattern.search(&subject, 0).map_err(|e| format!("{what}: {e}"))?;
    let spans = found.map(|m| m.spans);
    if spans != case.spans {
        return Err(format!("{what}: {spans:?} instead of {:?}", case.spans));
    }
    let replaced = Template::new(&characters(&case.template), &pattern)
        .and_then(|template| pattern.replace_all(&subject, &template))
        .ok()
        .map(|(text, count)| (text.into_iter().collect::<String>(), count));
    if replaced != case.replaced {
        return Err(format!("{what} with {:?}: {replaced:?} instead of {:?}", case.template, case.replaced));
    }
    Ok(())
}

fn check_all(text: &str) {
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong[..wrong.len().min(30)].join("\n"));
}

#[test]
fn python_agrees() {
    check_all(include_str!("cases.json"));
}

#[test]
fn long_subjects_and_evil_patterns_end() {
    let long: Vec<char> = std::iter::repeat_n('x', 1_000_000).collect();
    let flags = Flags { dot_all: true, ..Flags::default() };
    assert_eq!(Pattern::new("(.*)y|(x+?)$", flags).unwrap().match_start(&long).unwrap().unwrap().end(), 1_000_000);
    assert_eq!(Pattern::new("(?:(x)|y)*", flags).unwrap().search(&long, 0).unwrap().unwrap().end(), 1_000_000);
    let error = Pattern::new("(x+x+)+y", flags).unwrap().search(&long[..60], 0).unwrap_err();
    assert!(error.to_string().contains("too long"));
    assert!(Pattern::new("((((a{1000}){1000}){1000}){1000})", flags).is_err());
}

#[test]
fn bytes_are_matched_as_bytes() {
    let pattern = Pattern::of_bytes("é.$", Flags::default()).unwrap();
    let subject = bytes_as_characters(b"caf\xc3\xa9\xff");
    assert_eq!(pattern.search(&subject, 0).unwrap().unwrap().span(0), Some((3, 6)));
    assert!(!Pattern::of_bytes(r"^\w+$", Flags::default()).unwrap().is_match(&subject).unwrap());
    assert_eq!(characters_as_bytes(&subject), b"caf\xc3\xa9\xff");
}
