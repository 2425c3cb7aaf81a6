//! Certificates in a text: what they say in place of their base64. Private keys are left out wherever they stand.

use super::keys::Row;
use crate::pki::{CertInfo, date, inspect};

/// A text without what nobody reads, and what its certificates say.
pub struct Folded {
    /// Certificates and private keys are one line each.
    pub text: String,
    /// Its certificates.
    pub certificates: Vec<CertInfo>,
    /// There was a private key in it.
    pub key: bool,
}

/// Takes certificates and private keys out of a text.
pub fn fold(text: &str) -> Folded {
    let mut folded = Folded { text: String::with_capacity(text.len()), certificates: Vec::new(), key: false };
    let mut rest = text;
    while let Some((label, start, end)) = block(rest) {
        let (before, inside, behind) = (&rest[..start], &rest[start..end], &rest[end..]);
        folded.text.push_str(before);
        if label.ends_with("PRIVATE KEY") {
            folded.key = true;
            folded.text.push_str("(a private key: not shown)");
        } else if let Some(info) = label.ends_with("CERTIFICATE").then(|| inspect(inside, "").ok()).flatten() {
            folded.text.push_str(&format!("(certificate {})", info.fingerprint_colons()));
            folded.certificates.push(info);
        } else {
            folded.text.push_str(inside);
        }
        rest = behind;
    }
    folded.text.push_str(rest);
    folded
}

/// The first block of PEM: its label, its first and last byte. A key without an end ends with the text.
fn block(text: &str) -> Option<(&str, usize, usize)> {
    const BEGIN: &str = "-----BEGIN ";
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find(BEGIN)?;
        let behind = start + BEGIN.len();
        let length = text.get(behind..)?.find("-----")?;
        let label = text.get(behind..behind + length)?;
        if label.contains('\n') {
            from = behind;
            continue;
        }
        let end = format!("-----END {label}-----");
        match text.get(behind..)?.find(&end) {
            Some(at) => return Some((label, start, behind + at + end.len())),
            None if label.ends_with("PRIVATE KEY") => return Some((label, start, text.len())),
            None => from = behind,
        }
    }
}

/// How certificates differ, one with the other in the order in which they stand. Nothing where there are none, or they are equal.
pub fn compare(before: &[CertInfo], after: &[CertInfo]) -> Vec<Row> {
    let count = before.len().max(after.len());
    let mut rows = Vec::new();
    for index in 0..count {
        let (old, new) = (before.get(index), after.get(index));
        if old.is_some() && old.map(|info| &info.fingerprint) == new.map(|info| &info.fingerprint) {
            continue;
        }
        let name = if count == 1 { "certificate".to_string() } else { format!("certificate {}", index + 1) };
        let (old, new) = (old.map(fields), new.map(fields));
        let aspects = ["subject", "names", "issuer", "valid", "key", "serial number", "SHA-256"];
        for (at, aspect) in aspects.iter().enumerate() {
            let side = |fields: &Option<[String; 7]>| fields.as_ref().map(|fields| fields[at].clone());
            rows.push(Row { key: format!("{name} {aspect}"), before: side(&old), after: side(&new) });
        }
    }
    rows
}

fn fields(info: &CertInfo) -> [String; 7] {
    let mut names: Vec<String> = info.sans.iter().map(ToString::to_string).collect();
    names.extend(info.other_names.iter().cloned());
    [
        info.subject.clone(),
        if names.is_empty() { "none".into() } else { names.join(", ") },
        info.issuer.clone(),
        format!("{} to {}", date(info.not_before), date(info.not_after)),
        info.key.to_string(),
        info.serial.clone(),
        info.fingerprint_colons(),
    ]
}
