//! Numbers as Jinja reads them: none begins with a zero. The engine takes `0644` for six hundred and forty-four, which as a mode is
//! something else than anybody who writes it means.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::compile::column;
use super::error::{TemplateError, TemplateErrorKind};

/// Refuses whole numbers with a leading zero in the expressions of `source`, which is one expression itself where `bare` is set.
pub(super) fn check(source: &str, bare: bool, syntax: SyntaxConfig) -> Result<(), TemplateError> {
    if !may_have(source) {
        return Ok(());
    }
    for (token, span) in tokenize(source, bare, syntax).map_while(Result::ok) {
        let written = source.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default();
        if matches!(token, Token::Int(_) | Token::Int128(_)) && begins_with_zero(written) {
            let digits = written.trim_start_matches(['0', '_']);
            let octal = digits.bytes().all(|b| matches!(b, b'0'..=b'7' | b'_'));
            let meant = match octal {
                true => format!("write '0{digits}' in quotes for a mode, 0o{digits} for an octal number, or {digits}"),
                false => format!("write {digits}"),
            };
            let why = format!("syntax error in template: the number {written} begins with a zero: {meant}");
            let mut error = TemplateError::new(TemplateErrorKind::Syntax, why);
            error.set_line(Some(span.start_line as usize));
            error.set_column(column(source, span.start_offset as usize));
            return Err(error);
        }
    }
    Ok(())
}

/// `0644`; not `0`, `00`, `0o644`.
fn begins_with_zero(written: &str) -> bool {
    let digits = written.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    digits && written.starts_with('0') && written.bytes().any(|b| matches!(b, b'1'..=b'9'))
}

/// Whether a zero stands before a digit and behind none: nearly no template has to be read twice.
fn may_have(source: &str) -> bool {
    let bytes = source.as_bytes();
    bytes.windows(2).enumerate().any(|(at, pair)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        matches!(pair, [b'0', b'0'..=b'9' | b'_']) && !before.is_ascii_alphanumeric()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_leading_zero() {
        for (source, bare, refused) in [
            ("{{ 0644 }}", false, true),
            ("{{ x | default(0644) }} 0644", false, true),
            ("0644", true, true),
            ("x == 0_7", true, true),
            ("{{ [1, {'a': 007}] }}", false, true),
            ("mode 0644 {{ 0 }} {{ 00 }} {{ 0o644 }} {{ '0644' }} {{ 0.5 }} {{ 10 }} {{ 0x0644 }}", false, false),
            ("{{ version is version('1.05') }} {{ list.0 }}", false, false),
            ("{# 0644 #}{% raw %}{{ 0644 }}{% endraw %}", false, false),
        ] {
            let found = check(source, bare, SyntaxConfig::default());
            assert_eq!(found.is_err(), refused, "{source}");
        }
        let error = check("a\n{{ 0644 }}", false, SyntaxConfig::default()).unwrap_err();
        assert_eq!((error.line(), error.column()), (Some(2), Some(4)));
        assert!(error.message.contains("write '0644' in quotes"), "{}", error.message);
    }
}
