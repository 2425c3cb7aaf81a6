//! Whether a host is who it says: pinned keys, known_hosts, host certificates, learning new hosts.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKeyOrCertificate};

use super::error::HostKeyProblem;
use super::known_hosts::{Entry, KnownHosts, blob_type, fingerprint, record_name, wildcard};
use super::target::{HostKeyPolicy, Target};

/// What to do about the key a host presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host.
    Trusted,
    /// Nobody knows it, and the policy says to learn it: record this key, then go on.
    Learn(PresentedKey),
    /// Nobody knows it, and the policy says to ask.
    Ask(PresentedKey),
    /// It is not to be trusted.
    Refused(HostKeyProblem, String),
}

/// A host key, as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedKey {
    /// Its type, like `ssh-ed25519`.
    pub key_type: String,
    /// Its blob.
    pub blob: Vec<u8>,
    /// Why the certificate it came with did not count, if there was one.
    pub note: Option<String>,
}

impl PresentedKey {
    /// `SHA256:…`
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }
}

/// The names under which `target`'s key may be recorded: the exact one, and the one without the port as OpenSSH's
/// second try.
fn names(target: &Target) -> (String, Option<String>) {
    match &target.host_key.alias {
        Some(alias) => (alias.to_ascii_lowercase(), None),
        None if target.port == 22 => (record_name(&target.address, 22), None),
        None => (record_name(&target.address, target.port), Some(record_name(&target.address, 22))),
    }
}

/// The name that [`Verdict::Learn`] records.
pub fn learn_name(target: &Target) -> String {
    names(target).0
}

/// The order in which host key algorithms are offered: what is recorded for the host comes first, so that a host
/// with several keys shows the one we can judge.
pub fn preferred_algorithms(target: &Target, known: &KnownHosts) -> (Vec<Algorithm>, Vec<Algorithm>) {
    let mut recorded: Vec<String> = Vec::new();
    let (name, without_port) = names(target);
    if target.host_key.pinned.is_empty() {
        recorded.extend(known.keys(&name).map(|e| e.key_type.clone()));
        if let (true, Some(name)) = (recorded.is_empty(), &without_port) {
            recorded.extend(known.keys(name).map(|e| e.key_type.clone()));
        }
    } else {
        recorded.extend(target.host_key.pinned.iter().filter_map(|p| p.split_whitespace().next()).map(String::from));
    }
    let all = algorithms();
    let is_recorded = |a: &Algorithm| recorded.iter().any(|r| r == plain_name(a));
    let mut order: Vec<Algorithm> = all.iter().filter(|a| is_recorded(a)).cloned().collect();
    order.extend(all.iter().filter(|a| !is_recorded(a)).cloned());
    // A certificate is only asked for when an authority is trusted that could have signed it: a server that has one
    // would show it instead of the plain key that we know.
    let has_authority = target.host_key.pinned.is_empty() && !authorities(target, known).is_empty();
    let certificates = if has_authority { all } else { Vec::new() };
    (order, certificates)
}

fn authorities<'a>(target: &Target, known: &'a KnownHosts) -> Vec<&'a Entry> {
    let (name, without_port) = names(target);
    let mut found: Vec<&Entry> = known.authorities(&name).collect();
    if let Some(name) = without_port {
        found.extend(known.authorities(&name));
    }
    found
}

/// What we can verify, best first. SHA-1 signatures are not among them.
fn algorithms() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}

/// The name in key lines: RSA is `ssh-rsa` whatever the hash.
fn plain_name(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

/// Judges what the host presented.
pub fn judge(target: &Target, known: &KnownHosts, presented: &PublicKeyOrCertificate) -> Verdict {
    let Ok(blob) = presented.public_key().to_bytes() else {
        return Verdict::Refused(HostKeyProblem::Unknown, "the server's host key cannot be read".to_string());
    };
    let key_type = blob_type(&blob).unwrap_or("unknown").to_string();
    let mut key = PresentedKey { key_type, blob, note: None };
    let (name, without_port) = names(target);

    let revocation =
        [Some(&name), without_port.as_ref()].into_iter().flatten().find_map(|n| known.revoked(n, &key.blob));
    if let Some(entry) = revocation {
        return Verdict::Refused(
            HostKeyProblem::Revoked,
            format!(
                "{name} presented the {} key {}, which {} marks as @revoked: do not connect; find out who still uses it",
                key.key_type,
                key.fingerprint(),
                entry.place()
            ),
        );
    }

    if !target.host_key.pinned.is_empty() {
        return judge_pinned(target, &key);
    }

    if let PublicKeyOrCertificate::Certificate(certificate) = presented {
        match judge_certificate(target, known, certificate) {
            CertificateVerdict::Valid => return Verdict::Trusted,
            CertificateVerdict::Refused(problem, reason) => return Verdict::Refused(problem, reason),
            CertificateVerdict::NoAuthority(reason) => key.note = Some(reason),
        }
    }

    judge_recorded(target, known, key, &name, without_port.as_deref())
}

/// Whether `line` is a public key as it stands in a `.pub` file.
pub fn is_key_line(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(encoded)) = (words.next(), words.next()) else { return false };
    let blob = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')).unwrap_or_default();
    blob_type(&blob) == Some(kind)
}

fn judge_pinned(target: &Target, key: &PresentedKey) -> Verdict {
    let fingerprint_here = key.fingerprint();
    let mut expected = Vec::new();
    for pin in &target.host_key.pinned {
        let mut words = pin.split_whitespace();
        let (first, second) = (words.next().unwrap_or_default(), words.next());
        match second {
            Some(encoded) => {
                if let Ok(blob) = STANDARD_NO_PAD.decode(encoded.trim_end_matches('=')) {
                    if blob == key.blob {
                        return Verdict::Trusted;
                    }
                    expected.push(format!("{first} {}", fingerprint(&blob)));
                }
            }
            None => {
                if first == fingerprint_here {
                    return Verdict::Trusted;
                }
                expected.push(first.to_string());
            }
        }
    }
    Verdict::Refused(
        HostKeyProblem::Changed,
        format!(
            "{}:{} presented the {} key {fingerprint_here}, but the inventory's ansible_ssh_host_key pins {}: \
             somebody may be in between; if the host was reinstalled, correct the variable",
            target.address,
            target.port,
            key.key_type,
            expected.join(" or ")
        ),
    )
}

fn judge_recorded(
    target: &Target,
    known: &KnownHosts,
    key: PresentedKey,
    name: &str,
    without_port: Option<&str>,
) -> Verdict {
    let recorded: Vec<&Entry> = known.keys(name).collect();
    if recorded.iter().any(|e| e.key == key.blob) {
        return Verdict::Trusted;
    }
    // A key recorded for the plain name also proves the host on another port, as in OpenSSH; a different key there
    // is no contradiction, because another port may be another machine.
    if recorded.is_empty() && without_port.is_some_and(|n| known.keys(n).any(|e| e.key == key.blob)) {
        return Verdict::Trusted;
    }
    if !recorded.is_empty() {
        let old: Vec<String> =
            recorded.iter().map(|e| format!("{} {} ({})", e.key_type, fingerprint(&e.key), e.place())).collect();
        let file = recorded.first().map(|e| e.file.display().to_string()).unwrap_or_default();
        return Verdict::Refused(
            HostKeyProblem::Changed,
            format!(
                "the host key of {name} has changed: it presented {} {}, recorded is {}. Somebody may be in between. \
                 If the host was reinstalled, compare the new fingerprint at its console, then remove the old record \
                 with: ssh-keygen -R '{name}' -f {file}",
                key.key_type,
                key.fingerprint(),
                old.join(", ")
            ),
        );
    }
    match target.host_key.policy {
        HostKeyPolicy::AcceptNew => Verdict::Learn(key),
        HostKeyPolicy::Ask => Verdict::Ask(key),
        HostKeyPolicy::Strict => unknown(target, &key),
    }
}

/// The refusal of a key that nobody knows.
pub fn unknown(target: &Target, key: &PresentedKey) -> Verdict {
    let name = learn_name(target);
    let files: Vec<String> = target.host_key.user_files.iter().map(|f| f.display().to_string()).collect();
    let file = target.host_key.user_files.first().map(|f| f.display().to_string()).unwrap_or_default();
    let trouble = key.note.as_ref().map(|n| format!(" ({n})")).unwrap_or_default();
    let scan_port = if target.port == 22 { String::new() } else { format!("-p {} ", target.port) };
    Verdict::Refused(
        HostKeyProblem::Unknown,
        format!(
            "the host key of {name} is not known: it presented {} {}{trouble}, and {} has no record of it. Compare the \
             fingerprint at the host's console, then record it (ssh-keyscan {scan_port}{} >> {file}), pin it in the \
             inventory (ansible_ssh_host_key), or allow new hosts with -o StrictHostKeyChecking=accept-new in \
             ansible_ssh_common_args",
            key.key_type,
            key.fingerprint(),
            if files.is_empty() { "no known_hosts file".to_string() } else { files.join(" or ") },
            target.address,
        ),
    )
}

enum CertificateVerdict {
    Valid,
    /// No authority that we trust signed it: judge the plain key inside instead.
    NoAuthority(String),
    Refused(HostKeyProblem, String),
}

fn judge_certificate(target: &Target, known: &KnownHosts, certificate: &Certificate) -> CertificateVerdict {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
    judge_certificate_at(target, known, certificate, now)
}

fn judge_certificate_at(
    target: &Target,
    known: &KnownHosts,
    certificate: &Certificate,
    now: u64,
) -> CertificateVerdict {
    let (name, without_port) = names(target);
    let host = target.host_key.alias.as_deref().unwrap_or(&target.address).to_ascii_lowercase();
    let authority_print = certificate.signature_key().fingerprint(HashAlg::Sha256);
    let authority_text = authority_print.to_string();
    let refuse = |why: String| {
        CertificateVerdict::Refused(
            HostKeyProblem::Certificate,
            format!(
                "the host certificate of {name} (id {:?}, signed by {authority_text}) is not valid: {why}",
                certificate.key_id()
            ),
        )
    };

    let signer_blob =
        russh::keys::PublicKey::new(certificate.signature_key().clone(), "").to_bytes().unwrap_or_default();
    let revocation =
        [Some(&name), without_port.as_ref()].into_iter().flatten().find_map(|n| known.revoked(n, &signer_blob));
    if let Some(entry) = revocation {
        return CertificateVerdict::Refused(
            HostKeyProblem::Revoked,
            format!(
                "{name} presented a certificate signed by {authority_text}, which {} marks as @revoked",
                entry.place()
            ),
        );
    }
    let Some(_authority) = authorities(target, known).into_iter().find(|e| e.key == signer_blob) else {
        return CertificateVerdict::NoAuthority(format!(
            "its certificate is signed by {authority_text}, which no @cert-authority line for {name} names"
        ));
    };
    if certificate.cert_type() != CertType::Host {
        return refuse("it is a user certificate".to_string());
    }
    if certificate.verify_signature().is_err() {
        return refuse("its signature is wrong".to_string());
    }
    if now < certificate.valid_after() {
        return refuse(format!("it is not valid before {}", moment(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return refuse(format!("it expired at {}; have it signed anew", moment(certificate.valid_before())));
    }
    let principals = certificate.valid_principals();
    if !principals.iter().any(|p| wildcard(&p.to_ascii_lowercase(), &host)) {
        let listed = if principals.is_empty() { "nobody".to_string() } else { principals.join(", ") };
        return refuse(format!("it names {listed}, not {host}"));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return refuse(format!("it carries the critical option {option:?}, which is not known for hosts"));
    }
    CertificateVerdict::Valid
}

/// A point in time for people.
fn moment(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| format!("second {seconds}"), |t| t.to_string())
}

#[cfg(test)]
mod tests;
