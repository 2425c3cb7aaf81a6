//! What a scalar of YAML may look like: which words mean something else than text, and which quotes a text needs.

use std::sync::LazyLock;

/// How a scalar is written.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

impl Style {
    /// The style that a sign asks for.
    pub fn of(sign: &str) -> Self {
        match sign {
            "'" => Style::Single,
            "\"" => Style::Double,
            "|" => Style::Literal,
            ">" => Style::Folded,
            _ => Style::Plain,
        }
    }
}

/// The styles that a text allows.
#[derive(Default, Debug)]
pub(super) struct Allowed {
    pub multiline: bool,
    pub flow_plain: bool,
    pub block_plain: bool,
    pub single: bool,
    pub block: bool,
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A blank, a line break, or the end.
fn ends_word(c: Option<char>) -> bool {
    c.is_none_or(|c| matches!(c, ' ' | '\t' | '\0') || is_break(c))
}

/// Whether a character is written as it is. Beyond the first plane none is.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Looks at a text for the styles it allows.
pub(super) fn allowed(text: &str) -> Allowed {
    let chars: Vec<char> = text.chars().collect();
    let (Some(first), Some(last)) = (chars.first(), chars.last()) else {
        return Allowed { block_plain: true, single: true, ..Allowed::default() };
    };
    let (mut flow_sign, mut block_sign) = (false, false);
    if text.starts_with("---") || text.starts_with("...") {
        (flow_sign, block_sign) = (true, true);
    }
    for (i, c) in chars.iter().enumerate() {
        let before_end = ends_word(chars.get(i + 1).copied());
        let both = match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if i == 0 =>
            {
                true
            }
            '-' if i == 0 => before_end,
            '#' => i > 0 && ends_word(chars.get(i - 1).copied()),
            _ => false,
        };
        flow_sign |= both || matches!(c, ',' | '?' | '[' | ']' | '{' | '}' | ':');
        block_sign |= both || (before_end && (*c == ':' || (*c == '?' && i == 0)));
    }
    let special = chars.iter().any(|c| !is_printable(*c));
    let multiline = chars.iter().any(|c| is_break(*c));
    let pairs = || chars.iter().zip(chars.iter().skip(1));
    let break_space = pairs().any(|(a, b)| is_break(*a) && *b == ' ');
    let space_break = pairs().any(|(a, b)| *a == ' ' && is_break(*b));
    let edges = [first, last].iter().any(|c| **c == ' ' || is_break(**c));
    let plain = !edges && !break_space && !space_break && !special && !multiline;
    Allowed {
        multiline,
        flow_plain: plain && !flow_sign,
        block_plain: plain && !block_sign,
        single: !break_space && !space_break && !special,
        block: *last != ' ' && !space_break && !special,
    }
}

/// Whether a plain word means something else than text: a number, a date, a truth value, nothing.
pub(super) fn means_else(text: &str) -> bool {
    static NUMBERS: LazyLock<Option<regex_lite::Regex>> = LazyLock::new(|| {
        regex_lite::Regex::new(concat!(
            r"^(?:[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*(?::[0-5]?[0-9])*)",
            r"|[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
            r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
            r"|[0-9]{4}-[0-9]{2}-[0-9]{2}",
            r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?",
            r"(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$"
        ))
        .ok()
    });
    match text.chars().next() {
        None => true,
        Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => {
            NUMBERS.as_ref().is_some_and(|numbers| numbers.is_match(text))
        }
        Some(_) => matches!(
            text,
            "~" | "null"
                | "Null"
                | "NULL"
                | "="
                | "<<"
                | "!"
                | "&"
                | "*"
                | "yes"
                | "Yes"
                | "YES"
                | "no"
                | "No"
                | "NO"
                | "true"
                | "True"
                | "TRUE"
                | "false"
                | "False"
                | "FALSE"
                | "on"
                | "On"
                | "ON"
                | "off"
                | "Off"
                | "OFF"
        ),
    }
}

/// A character that is not written as it is, between double quotes.
pub(super) fn escaped(c: char) -> String {
    let letter = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c => {
            return match u32::from(c) {
                n @ ..=0xff => format!("\\x{n:02X}"),
                n @ ..=0xffff => format!("\\u{n:04X}"),
                n => format!("\\U{n:08X}"),
            };
        }
    };
    format!("\\{letter}")
}
