//! Keeps secrets out of everything that is shown or stored: masks them by value and in their usual encodings.
//!
//! One [`Redactor`] is shared by everything that learns a secret and everything that prints. A secret is masked as it
//! is and as it looks in base64 (at each of three alignments), URLs, shell words, JSON, Python, YAML and SQL quotes,
//! and these once more inside JSON; one of several lines is masked line by line too. Values under six characters
//! would mask half of every output: they are masked only where they stand alone and are no plain word or number, and else
//! in the field that holds them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is shown in place of a secret.
pub const MASK: &str = "********";

/// Secrets shorter than this many characters are not masked everywhere.
pub const MIN_LENGTH: usize = 6;

/// Secrets shorter than this many characters are not masked anywhere.
const MIN_WORD: usize = 4;

/// Whether a variable of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let ends = [
        "password",
        "passwd",
        "passphrase",
        "pass",
        "pwd",
        "secret",
        "token",
        "api_key",
        "apikey",
        "secret_key",
        // Arguments of community.crypto that hold a key itself.
        "private_key_content",
        "privatekey_content",
    ];
    let hit = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with(['_', '-']));
    // nginx's words for where a request is passed to.
    let passes = ["proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass"];
    name != "update_password" && !passes.iter().any(|word| name.ends_with(word)) && ends.iter().any(hit)
}

/// Masks secrets. Cloning shares the secrets.
#[derive(Clone, Default)]
pub struct Redactor {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    patterns: BTreeSet<Vec<u8>>,
    /// Short ones, masked where they stand alone.
    words: BTreeSet<Vec<u8>>,
    /// Rebuilt when a secret has been added since.
    matcher: Option<Arc<Matcher>>,
    short: usize,
    warned: bool,
}

struct Matcher {
    find: AhoCorasick,
    words: AhoCorasick,
    /// Sorted, for asking whether some text is the beginning of a pattern.
    patterns: Vec<Vec<u8>>,
    longest: usize,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// A value whose name says that it is a secret ([`is_secret_name`]) is masked from now on.
    pub fn learn_text(&self, name: Option<&str>, text: &str) {
        let word = ["always", "on_create", "present", "absent", ""].contains(&text) || text.starts_with("********");
        if !word && name.is_some_and(is_secret_name) {
            self.add(text);
        }
    }

    /// The same for a value with whatever is in it.
    pub fn learn(&self, name: Option<&str>, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.learn_text(name, text),
            serde_json::Value::Number(number) => self.learn_text(name, &number.to_string()),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.learn(name, item)),
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| self.learn(Some(key), value)),
            _ => {}
        }
    }

    /// A redactor that knows no secret.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a secret. Returns whether it is long enough to be masked everywhere.
    pub fn add(&self, secret: &str) -> bool {
        let trimmed = secret.trim();
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if trimmed.chars().count() < MIN_LENGTH {
            if trimmed.chars().count() >= MIN_WORD && is_motley(trimmed) {
                let hex = trimmed.bytes().map(|b| format!("{b:02x}")).collect();
                let encoded = STANDARD_NO_PAD.encode(trimmed);
                let forms = [trimmed.to_string(), json(trimmed, false), url(trimmed, false, false, true), encoded, hex];
                let before = inner.words.len();
                inner.words.extend(forms.into_iter().map(String::into_bytes));
                if inner.words.len() != before {
                    inner.matcher = None;
                }
                return true;
            }
            if !trimmed.is_empty() {
                inner.short += 1;
            }
            return false;
        }
        if inner.patterns.contains(trimmed.as_bytes()) {
            return true;
        }
        let mut forms = BTreeSet::new();
        collect_forms(trimmed, &mut forms);
        if trimmed != secret {
            collect_base64(secret.as_bytes(), &mut forms);
        }
        if trimmed.contains('\n') {
            for line in trimmed.lines() {
                let line = line.trim();
                if line.chars().count() >= MIN_LENGTH && !line.starts_with("-----") {
                    collect_forms(line, &mut forms);
                }
            }
        }
        if trimmed.len() > FOLDED && trimmed.contains(' ') && !trimmed.contains('\n') {
            collect_folded(trimmed, &mut forms);
        }
        let before = inner.patterns.len();
        inner.patterns.extend(forms.into_iter().map(String::into_bytes));
        if inner.patterns.len() != before {
            inner.matcher = None;
        }
        true
    }

    /// A warning, once, if values too short to be masked everywhere were added.
    pub fn take_warning(&self) -> Option<String> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.short == 0 || inner.warned {
            return None;
        }
        inner.warned = true;
        Some(format!(
            "{} secret value(s) have fewer than {MIN_LENGTH} characters and are masked only in their own field",
            inner.short
        ))
    }

    /// Whether there is anything to mask.
    pub fn is_empty(&self) -> bool {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The text with every secret masked.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(matcher) = self.matcher() else { return Cow::Borrowed(text) };
        let found = matcher.intervals(text.as_bytes());
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for (start, end) in found {
            // Patterns are text, so their edges are character boundaries of text.
            out.push_str(text.get(at..start).unwrap_or_default());
            out.push_str(MASK);
            at = end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// The bytes with every secret masked.
    pub fn mask_bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let Some(matcher) = self.matcher() else { return Cow::Borrowed(bytes) };
        let found = matcher.intervals(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        write_masked(bytes, &found, bytes.len(), &mut out);
        Cow::Owned(out)
    }

    /// Masks every string, key and number of a JSON document in place.
    pub fn mask_json(&self, json: &mut serde_json::Value) {
        use serde_json::Value;
        match json {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(masked) = self.mask(&number.to_string()) {
                    *json = Value::String(masked);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|v| self.mask_json(v)),
            Value::Object(map) => {
                if map.keys().any(|k| matches!(self.mask(k), Cow::Owned(_))) {
                    let old = std::mem::take(map);
                    map.extend(old.into_iter().map(|(k, v)| (self.mask(&k).into_owned(), v)));
                }
                map.values_mut().for_each(|v| self.mask_json(v));
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A masker for output that arrives in pieces.
    pub fn stream(&self) -> StreamMasker {
        StreamMasker { redactor: self.clone(), held: Vec::new() }
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            if inner.is_empty() {
                return None;
            }
            if let Some(matcher) = &inner.matcher {
                return Some(matcher.clone());
            }
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if inner.matcher.is_none() {
            let patterns: Vec<Vec<u8>> = inner.patterns.iter().cloned().collect();
            let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
            // Building fails only for more patterns than 2^31; then nothing can be shown safely.
            let find = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns).ok()?;
            let words = AhoCorasick::builder().match_kind(MatchKind::Standard).build(&inner.words).ok()?;
            inner.matcher = Some(Arc::new(Matcher { find, words, patterns, longest }));
        }
        inner.matcher.clone()
    }
}

impl Inner {
    fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.words.is_empty()
    }
}

/// Whether a short text is neither a plain word nor a number.
fn is_motley(text: &str) -> bool {
    let kinds: [fn(char) -> bool; 4] =
        [char::is_lowercase, char::is_uppercase, |c| c.is_ascii_digit(), |c| !c.is_alphanumeric()];
    kinds.iter().filter(|kind| text.chars().any(kind)).count() >= 2
}

impl Matcher {
    /// Everything that some pattern covers, as ranges that do not touch.
    fn intervals(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> =
            self.find.find_overlapping_iter(bytes).map(|m| (m.start(), m.end())).collect();
        let alone = |at: Option<&u8>| at.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let words = self.words.find_overlapping_iter(bytes).map(|m| (m.start(), m.end()));
        found.extend(words.filter(|(start, end)| {
            alone(start.checked_sub(1).and_then(|before| bytes.get(before))) && alone(bytes.get(*end))
        }));
        found.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(found.len());
        for (start, end) in found {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }

    /// Where the longest end of `bytes` begins that could be the beginning of a pattern.
    fn possible_beginning(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (from..bytes.len())
            .find(|at| {
                let end = bytes.get(*at..).unwrap_or_default();
                let i = self.patterns.partition_point(|p| p.as_slice() < end);
                self.patterns.get(i).is_some_and(|p| p.starts_with(end) && p.len() > end.len())
            })
            .unwrap_or(bytes.len())
    }
}

fn write_masked(bytes: &[u8], found: &[(usize, usize)], until: usize, out: &mut Vec<u8>) {
    let mut at = 0;
    for (start, end) in found.iter().filter(|(start, _)| *start < until) {
        out.extend_from_slice(bytes.get(at..*start).unwrap_or_default());
        out.extend_from_slice(MASK.as_bytes());
        at = *end;
    }
    out.extend_from_slice(bytes.get(at..until).unwrap_or_default());
}

/// Masks a stream: holds back what might be the beginning of a secret until more is known.
pub struct StreamMasker {
    redactor: Redactor,
    held: Vec<u8>,
}

impl StreamMasker {
    /// Takes a piece and returns what can be shown so far.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let Some(matcher) = self.redactor.matcher() else { return std::mem::take(&mut self.held) };
        let found = matcher.intervals(&self.held);
        let mut until = matcher.possible_beginning(&self.held);
        // A secret that reaches into the held part may grow: hold all of it.
        if let Some((start, _)) = found.iter().find(|(start, end)| *start < until && until < *end) {
            until = *start;
        }
        let mut out = Vec::with_capacity(until);
        write_masked(&self.held, &found, until, &mut out);
        self.held.drain(..until);
        out
    }

    /// Ends the stream and returns the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.redactor.mask_bytes(&held).into_owned()
    }
}

fn collect_forms(secret: &str, forms: &mut BTreeSet<String>) {
    let mut first: BTreeSet<String> = BTreeSet::new();
    first.insert(secret.to_owned());
    // URLs: with and without `/`, spaces as `+`, either case of hexadecimal.
    for plus in [false, true] {
        for slash in [false, true] {
            let upper = url(secret, slash, plus, true);
            first.insert(url(secret, slash, plus, false));
            first.insert(upper);
        }
    }
    // Shell words.
    first.insert(secret.replace('\'', r"'\''"));
    first.insert(secret.replace('\'', r#"'"'"'"#));
    first.insert(escape(secret, &['"', '$', '`', '\\']));
    first.insert(escape(secret, &['"', '$', '`', '\\', '!']));
    first.insert(secret.chars().flat_map(|c| shell_plain(c).then_some('\\').into_iter().chain([c])).collect());
    // Quotes of YAML, SQL and Python.
    first.insert(secret.replace('\'', "''"));
    first.insert(secret.replace('"', "\"\""));
    first.insert(escape(secret, &['\'', '\\']));
    first.insert(escape(secret, &['\'', '"', '\\']));
    for quote in ['\'', '"'] {
        first.insert(python(secret, quote, hidden));
        // Our own `repr` leaves spaces of other kinds as they are.
        first.insert(python(secret, quote, |c| hidden(c) && !c.is_whitespace()));
    }
    first.insert(json(secret, false));
    first.insert(json(secret, true));
    first.insert(json(secret, false).replace('/', "\\/"));
    // Hexadecimal.
    for upper in [false, true] {
        first.insert(secret.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect());
    }
    // HTML reports.
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    first.insert(html.replace('"', "&quot;").replace('\'', "&#39;"));
    first.insert(html.replace('"', "&quot;").replace('\'', "&#x27;"));
    first.insert(html.replace('"', "&quot;").replace('\'', "&apos;"));
    first.insert(html);
    // A command line that holds it, shown inside JSON or a Python list.
    let second: Vec<String> = first
        .iter()
        .flat_map(|f| [json(f, false), json(f, true), python(f, '\'', hidden), python(f, '"', hidden)])
        .collect();
    first.extend(second);
    forms.extend(first);
    collect_base64(secret.as_bytes(), forms);
}

/// Text that is long enough to be folded (YAML does it at 80 columns).
const FOLDED: usize = 40;
/// What stands on a line of folded text is found by pieces of this size.
const PIECE: usize = 24;

/// A text of several words as it is found on lines on which it was folded at its spaces: its beginnings, its ends, and pieces
/// that overlap.
fn collect_folded(secret: &str, forms: &mut BTreeSet<String>) {
    let spaces: Vec<usize> = secret.match_indices(' ').map(|(at, _)| at).collect();
    let starts: Vec<usize> = std::iter::once(0).chain(spaces.iter().map(|at| at + 1)).collect();
    let ends: Vec<usize> = spaces.iter().copied().chain([secret.len()]).collect();
    let mut add = |from: usize, to: usize| {
        let piece = secret.get(from..to).unwrap_or_default().trim();
        if piece.chars().count() >= 2 * MIN_LENGTH {
            forms.extend([piece.to_string(), json(piece, false)]);
        }
    };
    for (start, end) in starts.iter().zip(&ends) {
        add(0, *end);
        add(*start, secret.len());
        ends.iter().find(|end| **end >= start + PIECE).iter().for_each(|end| add(*start, **end));
        starts.iter().rfind(|start| **start + PIECE <= *end).iter().for_each(|start| add(**start, *end));
    }
}

/// The characters of base64 that a secret determines, wherever in the encoded data it stands.
fn collect_base64(secret: &[u8], forms: &mut BTreeSet<String>) {
    // Cut into lines, as `base64` and PEM do it.
    let whole = STANDARD_NO_PAD.encode(secret);
    for width in [76, 64].into_iter().filter(|width| whole.len() > *width) {
        let lines = whole.as_bytes().chunks(width).filter_map(|line| std::str::from_utf8(line).ok());
        forms.extend(lines.filter(|line| line.len() >= 2 * MIN_LENGTH).map(str::to_owned));
    }
    for shift in 0..3usize {
        let mut data = vec![0u8; shift];
        data.extend_from_slice(secret);
        let from = [0, 2, 3].get(shift).copied().unwrap_or(3);
        let to = data.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&data), URL_SAFE_NO_PAD.encode(&data)] {
            // Whole, where the secret ends the data: its last character is then the secret's alone, too.
            let parts = [text.get(from..to), text.get(from..)];
            forms.extend(parts.into_iter().flatten().filter(|part| part.len() >= MIN_LENGTH).map(str::to_owned));
        }
    }
}

fn url(text: &str, keep_slash: bool, plus: bool, upper: bool) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b'/' if keep_slash => out.push('/'),
            b' ' if plus => out.push('+'),
            b if upper => out.push_str(&format!("%{b:02X}")),
            b => out.push_str(&format!("%{b:02x}")),
        }
    }
    out
}

fn escape(text: &str, special: &[char]) -> String {
    text.chars().flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c])).collect()
}

/// Whether `printf %q` and the like put a backslash before a character.
fn shell_plain(c: char) -> bool {
    c.is_ascii()
        && !c.is_ascii_alphanumeric()
        && !matches!(c, '_' | '-' | '.' | '/' | ',' | ':' | '@' | '%' | '+' | '=')
}

fn json(text: &str, ascii: bool) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !ascii {
        return inner.to_owned();
    }
    let mut out = String::new();
    let mut units = [0u16; 2];
    for c in inner.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Whether Python shows a character by its number: it cannot be seen.
fn hidden(c: char) -> bool {
    let format = matches!(u32::from(c), 0xad | 0x600..=0x605 | 0x61c | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff);
    c.is_control() || c.is_whitespace() && c != ' ' || format
}

fn python(text: &str, quote: char, hidden: fn(char) -> bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if hidden(c) && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if hidden(c) && u32::from(c) < 0x10000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = r#"p'a"s$s\w o/rd&ü"#;

    fn redactor(secrets: &[&str]) -> Redactor {
        let r = Redactor::new();
        for s in secrets {
            r.add(s);
        }
        r
    }

    #[test]
    fn masks_every_encoding() {
        let r = redactor(&[NASTY]);
        let quoted = serde_json::to_string(NASTY).unwrap_or_default();
        let shell = format!("'{}'", NASTY.replace('\'', r"'\''"));
        let texts = [
            NASTY.to_owned(),
            quoted.clone(),
            shell.clone(),
            serde_json::to_string(&shell).unwrap_or_default(),
            serde_json::to_string(&quoted).unwrap_or_default(),
            format!("'{}'", NASTY.replace('\'', r#"'"'"'"#)),
            r#"p%27a%22s%24s%5Cw%20o%2Frd%26%C3%BC"#.to_owned(),
            r#"p%27a%22s%24s%5cw+o/rd%26%c3%bc"#.to_owned(),
            r#"'p\'a"s$s\\w o/rd&ü'"#.to_owned(),
            "'p''a\"s$s\\w o/rd&ü'".to_owned(),
        ];
        for text in texts {
            let masked = r.mask(&text);
            assert!(masked.contains(MASK), "not masked: {text}");
            assert!(!masked.contains("rd&") && !masked.contains("rd%26"), "{masked}");
        }
        for prefix in ["", "x", "xy", "user:", "root:x"] {
            let data = format!("{prefix}{NASTY} and more");
            for text in [STANDARD_NO_PAD.encode(&data), URL_SAFE_NO_PAD.encode(&data)] {
                let masked = r.mask(&text);
                assert!(masked.contains(MASK), "{prefix}: {text}");
            }
        }
        // At the end of the data the last character is the secret's, too, however it is aligned.
        for prefix in ["", "x", "xy"] {
            let r = redactor(&["sup3r$ecret"]);
            let text = STANDARD_NO_PAD.encode(format!("{prefix}sup3r$ecret"));
            assert!(r.mask(&text).ends_with(MASK), "{prefix}: {}", r.mask(&text));
        }
    }

    #[test]
    fn overlapping_and_nested_secrets() {
        let r = redactor(&["abcdefgh", "efghijkl", "abcdefghijklmnop"]);
        assert_eq!(r.mask("xx abcdefghijkl yy"), "xx ******** yy");
        assert_eq!(r.mask("abcdefghijklmnop"), "********");
        assert_eq!(r.mask("abcdefg"), "abcdefg");
        assert!(matches!(r.mask("nothing"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_of_a_key_but_not_its_frame() {
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nAgEGCCqGSM49AwEHBG0w\n-----END PRIVATE KEY-----\n";
        let r = redactor(&[pem]);
        assert_eq!(r.mask("+MIGHAgEAMBMGByqGSM49"), "+********");
        assert_eq!(r.mask("-----BEGIN PRIVATE KEY-----"), "-----BEGIN PRIVATE KEY-----");
        assert!(!r.mask(&serde_json::to_string(pem).unwrap_or_default()).contains("MIGH"));
    }

    #[test]
    fn short_values_warn_once() {
        let r = redactor(&["abc", "no", "long enough"]);
        assert_eq!(r.mask("abc no"), "abc no");
        assert!(r.take_warning().is_some_and(|w| w.starts_with('2') && !w.contains("abc")));
        assert_eq!(r.take_warning(), None);
    }

    #[test]
    fn short_ones_are_masked_where_they_stand_alone() {
        let r = redactor(&["q7Zx", "a#b1", "4711", "word"]);
        assert_eq!(r.mask("pin=q7Zx, 'a#b1' 4711 word"), "pin=********, '********' 4711 word");
        assert_eq!(r.mask("q7Zxy aq7Zx"), "q7Zxy aq7Zx");
        assert_eq!(r.mask("cTdaeA== 71375a78"), "********== ********");
    }

    #[test]
    fn hexadecimal_and_cut_base64() {
        let long =
            "a very long secret that nobody would ever type, which a program cuts into lines when it encodes it so";
        let r = redactor(&["sup3r$ecret", long]);
        assert_eq!(r.mask("x7375703372246563726574y"), "x********y");
        for width in [64, 76] {
            let encoded = STANDARD_NO_PAD.encode(long);
            let lines = encoded.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>();
            let masked = r.mask(&lines.join("\n")).into_owned();
            assert!(!masked.contains(&encoded[..20]) && !masked.contains(&encoded[width..width + 20]), "{masked}");
        }
    }

    #[test]
    fn folded_text_and_what_cannot_be_seen() {
        let long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen";
        let r = redactor(&[long, "nb\u{a0}sp4ce\u{200b}x"]);
        for width in [30, 50, 80] {
            let mut lines = vec![String::new()];
            for word in long.split(' ') {
                if lines.last().is_some_and(|line| line.len() + word.len() > width) {
                    lines.push(String::new());
                }
                if let Some(line) = lines.last_mut() {
                    line.push_str(if line.is_empty() { "" } else { " " });
                    line.push_str(word);
                }
            }
            let masked = r.mask(&lines.join("\n    ")).into_owned();
            assert!(long.split(' ').all(|word| !masked.contains(word)), "{width}: {masked}");
        }
        assert_eq!(r.mask("'nb\\xa0sp4ce\\u200bx'"), "'********'");
    }

    #[test]
    fn names_of_secrets() {
        for (name, expected) in [
            ("db_password", true),
            ("Password", true),
            ("api-token", true),
            ("ansible_become_pass", true),
            ("update_password", false),
            ("password_file", false),
            ("bypass", false),
            ("ownca_privatekey_content", true),
            ("proxy_pass", false),
            ("nginx_fastcgi_pass", false),
            ("compass", false),
            ("tokens", false),
        ] {
            assert_eq!(is_secret_name(name), expected, "{name}");
        }
    }

    #[test]
    fn secrets_across_chunks() {
        let r = redactor(&["sup3rs3cret", "secret-two"]);
        let text = b"a sup3rs3cret b sup3rs3cre c secret-two sup3rs3cretsecret-two".to_vec();
        let want = r.mask_bytes(&text).into_owned();
        for size in 1..text.len() {
            let mut stream = r.stream();
            let mut got = Vec::new();
            for piece in text.chunks(size) {
                got.extend(stream.feed(piece));
            }
            got.extend(stream.finish());
            let (got, want) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(&want));
            // Neighbouring secrets may be shown as one mask or two.
            assert_eq!(
                got.replace("****************", MASK),
                want.replace("****************", MASK),
                "pieces of {size}"
            );
        }
        let mut stream = r.stream();
        assert_eq!(stream.feed(b"password: "), b"password: ", "nothing is held without need");
        stream.finish();
    }

    #[test]
    fn json_documents() {
        let r = redactor(&["sup3rs3cret", "12345678"]);
        let mut json = serde_json::json!({"cmd": ["mysql", "-psup3rs3cret"], "n": 12345678, "sup3rs3cret": 1});
        r.mask_json(&mut json);
        let text = json.to_string();
        assert!(!text.contains("sup3rs3cret") && !text.contains("12345678"), "{text}");
    }
}
