//! A certificate and a change of one, as people read them. Keys appear as the fingerprint of their public half.

use similar::TextDiff;

use super::{CertInfo, Request, date};

/// The lines of a certificate, in an order that makes diffs short.
pub fn describe(info: &CertInfo) -> String {
    let usages = match (info.has_usages, info.server_auth, info.client_auth) {
        (false, ..) => "any",
        (true, true, true) => "server, client",
        (true, true, false) => "server",
        (true, false, true) => "client",
        (true, false, false) => "neither server nor client",
    };
    let mut lines = vec![
        format!("subject: {}", info.subject),
        format!("issuer: {}", info.issuer),
        format!("usage: {usages}"),
        format!("key: {}", info.key),
    ];
    lines.extend(info.sans.iter().map(|san| format!("name: {san}")));
    lines.extend(info.other_names.iter().map(|name| format!("name: {name}")));
    lines.extend([
        format!("valid from: {}", date(info.not_before)),
        format!("valid to: {}", date(info.not_after)),
        format!("serial: {}", info.serial),
        format!("fingerprint: sha256 {}", info.fingerprint),
        format!("public key: sha256 {}", info.public_key_sha256),
    ]);
    lines.join("\n") + "\n"
}

/// The lines of a certificate that a check has made in memory only: what is random in it will be different.
pub fn describe_foreseen(info: &CertInfo) -> String {
    let known = |line: &str| match line.split_once(": ") {
        Some((name @ ("serial" | "fingerprint" | "public key"), _)) => format!("{name}: (known only at apply)\n"),
        _ => format!("{line}\n"),
    };
    describe(info).lines().map(known).collect()
}

/// What a certificate to be issued will say, as far as that is known before it is.
pub fn describe_planned(request: &Request, issuer: &str, now: super::UnixTime) -> String {
    let usages = if request.profile.server_auth() { "server, client" } else { "client" };
    let kind = match request.key_type {
        super::KeyType::EcdsaP256 => "ECDSA P-256",
        super::KeyType::EcdsaP384 => "ECDSA P-384",
        super::KeyType::Ed25519 => "Ed25519",
        super::KeyType::Rsa3072 => "RSA 3072",
        super::KeyType::Rsa4096 => "RSA 4096",
    };
    let mut lines = vec![
        format!("subject: {}", request.subject.one_line()),
        format!("issuer: {issuer}"),
        format!("usage: {usages}"),
        format!("key: {kind}"),
    ];
    let mut sans = request.sans.clone();
    sans.sort();
    sans.dedup();
    lines.extend(sans.iter().map(|san| format!("name: {san}")));
    lines.extend([
        format!("valid from: {}", date(now - request.lifetime.backdating())),
        format!("valid to: {}", date(now + request.lifetime.as_seconds())),
        "serial: (known only at apply)".to_string(),
        "fingerprint: (known only at apply)".to_string(),
        "public key: (known only at apply)".to_string(),
    ]);
    lines.join("\n") + "\n"
}

/// The same where somebody else decides: what it may choose is said to be its choice.
pub fn describe_foreign(planned: &str, issuer: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((name @ ("subject" | "valid from" | "valid to"), _)) => format!("{name}: (chosen by the issuer)\n"),
        Some(("issuer", _)) => format!("issuer: (signed by {issuer})\n"),
        _ => format!("{line}\n"),
    };
    planned.lines().map(line).collect()
}

/// The change from one description to another, line by line.
pub fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after).unified_diff().context_radius(100).to_string()
}
