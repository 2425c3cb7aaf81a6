//! What is to be said about a set that lies on a host and about what its ports serve: functions of what was seen.

use std::collections::BTreeMap;

use serde::Serialize;

use super::inspect::certificates;
use super::{
    AuthorityView, CertInfo, CertSet, KeyEvidence, Lifetime, Problem, Profile, RenewalPolicy, Revocation, Rotation,
    SetSpec, UnixTime, VerifyPolicy, date, early, inspect, inspect_all, renew_at, verify,
};

/// How a host, a set or a port is, as monitoring plugins have it; the worst is the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    #[default]
    Ok,
    /// Somebody should look at it.
    Warning,
    /// It could not be seen; it may be anything.
    Unknown,
    /// Somebody must do something now.
    Critical,
}

impl State {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "WARNING",
            State::Unknown => "UNKNOWN",
            State::Critical => "CRITICAL",
        }
    }

    /// The exit code that means it: 0, 1, 2 for critical, 3 for unknown.
    pub const fn code(self) -> u8 {
        match self {
            State::Ok => 0,
            State::Warning => 1,
            State::Critical => 2,
            State::Unknown => 3,
        }
    }
}

/// One thing that is to be said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// What and why.
    pub why: String,
}

impl Finding {
    fn new(state: State, why: impl Into<String>) -> Finding {
        Finding { state, why: why.into() }
    }
}

/// The worst of what was found.
pub fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|finding| finding.state).max().unwrap_or_default()
}

/// The files of a set, as they lie on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesSeen {
    /// The certificate file.
    pub cert: Option<String>,
    /// What is known of the key.
    pub key: KeyEvidence,
    /// The file of trusted authorities.
    pub ca: Option<String>,
    /// A run broke off before what serves the set had read it.
    pub stale: bool,
}

/// What is known on the controller.
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// The authorities of the store, by name; empty where this controller has none.
    pub authorities: BTreeMap<String, AuthorityView>,
    /// What was revoked, by serial number.
    pub revoked: BTreeMap<String, Revocation>,
    /// The changes of generations that are under way, by authority.
    pub rotations: BTreeMap<String, Rotation>,
    /// The authorities whose issuer is not the store (`pki_issuers`): what it does not know of them is no fault.
    pub elsewhere: std::collections::BTreeSet<String>,
}

/// A set, judged.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SetReport {
    /// Its certificate.
    pub info: Option<CertInfo>,
    /// When its renewal is due.
    pub renew_at: Option<UnixTime>,
    /// The subjects that its file of authorities trusts.
    pub trusts: Vec<String>,
    /// What is to be said.
    pub findings: Vec<Finding>,
}

/// What a port serves, judged.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PortReport {
    /// Its certificate.
    pub info: Option<CertInfo>,
    /// What is to be said.
    pub findings: Vec<Finding>,
}

/// The first digits of a serial number: enough to tell two apart.
pub fn short(serial: &str) -> &str {
    serial.get(..12).unwrap_or(serial)
}

/// Judges the files of a set.
pub fn judge_set(seen: &FilesSeen, spec: &SetSpec, known: &Knowledge, now: UnixTime) -> SetReport {
    let mut report = SetReport::default();
    let mut say = |state, why: String| report.findings.push(Finding::new(state, why));
    let authority = known.authorities.get(&spec.authority);
    let elsewhere = spec.is_given() || known.elsewhere.contains(&spec.authority);
    if authority.is_none() && !known.authorities.is_empty() && !elsewhere {
        say(State::Warning, format!("the store has no authority `{}`: nobody can renew this set", spec.authority));
    }
    match seen.ca.as_deref().map(|ca| inspect_all(ca, &spec.ca_name)) {
        Some(Ok(all)) => {
            report.trusts = all.iter().map(|info| info.subject.clone()).collect();
            let missing = authority.and_then(|view| missing(view, &all));
            if let Some(subject) = missing {
                say(State::Warning, format!("{} does not trust {subject}, and the store does", spec.ca_name));
            }
            if let Some(subject) = foreign(known, &all).filter(|_| !elsewhere) {
                say(State::Warning, format!("{} trusts {subject}, and the store does not", spec.ca_name));
            }
        }
        Some(Err(error)) => say(State::Critical, error.to_string()),
        None => say(State::Critical, format!("there is no {}", spec.ca_name)),
    }
    let Some(cert) = &seen.cert else {
        say(State::Critical, format!("there is no certificate in {}/current", spec.path));
        return report;
    };
    let info = match inspect(cert, &spec.cert_name) {
        Ok(info) => info,
        Err(error) => {
            say(State::Critical, error.to_string());
            return report;
        }
    };
    let policy = VerifyPolicy::of(spec.profile, &[]);
    if let Some(trust) = &seen.ca
        && let Err(problems) = verify(CertSet { cert, trust, key: &seen.key }, &policy, now)
    {
        for problem in problems {
            let state = match problem {
                Problem::WeakKey(_) | Problem::KeyUntold => State::Warning,
                // A trust file that cannot be read has been reported.
                Problem::Unreadable(_) => continue,
                _ => State::Critical,
            };
            say(state, problem.to_string());
        }
    }
    if let Some(view) = authority
        && let Err(problems) = verify(CertSet { cert, trust: &view.cert_pem, key: &seen.key }, &policy, now)
        && problems.iter().any(|problem| matches!(problem, Problem::NoChain { .. } | Problem::NoAuthority))
        && view.info.is_self_issued()
    {
        let signed = format!("it was signed by {}, and not by what `{}` signs with now", info.issuer, spec.authority);
        say(State::Warning, format!("{signed}: the next run replaces it"));
    }
    if let Some(revocation) = known.revoked.get(&info.serial) {
        say(State::Critical, format!("{} and is still in place: renew it", revoked(revocation)));
    }
    if seen.stale {
        say(State::Warning, format!("it was replaced and not reloaded ({})", spec.reload_words()));
    }
    let due = due_at(&info, spec, by(seen.ca.as_deref(), spec, known).as_ref());
    if let Some((state, why)) = late(&info, due, now) {
        say(state, format!("it was not renewed: {why}"));
    }
    report.renew_at = Some(due);
    report.info = Some(info);
    report
}

/// Judges what a port serves. `told` is the chain (PEM), or why it is not known.
pub fn judge_port(
    port: u16,
    told: Result<&str, &str>,
    set: &SetReport,
    ca: Option<&str>,
    spec: &SetSpec,
    known: &Knowledge,
    now: UnixTime,
) -> PortReport {
    let mut report = PortReport::default();
    let mut say = |state, why: String| report.findings.push(Finding::new(state, why));
    let chain = match told {
        Ok(chain) => chain,
        Err(why) => {
            say(State::Unknown, format!("what port {port} serves is not known: {why}"));
            return report;
        }
    };
    let info = match inspect(chain, &format!("what port {port} serves")) {
        Ok(info) => info,
        Err(error) => {
            say(State::Critical, error.to_string());
            return report;
        }
    };
    let same = set.info.as_ref().is_some_and(|file| file.fingerprint == info.fingerprint);
    if let (false, Some(file)) = (same, &set.info) {
        say(
            State::Warning,
            format!(
                "port {port} serves {} and the file holds {}: it was replaced and not reloaded ({})",
                short(&info.serial),
                short(&file.serial),
                spec.reload_words()
            ),
        );
        // What is the same has been judged with the file.
        for finding in stale(port, chain, &info, ca, spec, known, now) {
            say(finding.state, finding.why);
        }
    }
    if let Some(revocation) = known.revoked.get(&info.serial) {
        say(State::Critical, format!("{} and port {port} still serves it", revoked(revocation)));
    }
    report.info = Some(info);
    report
}

/// What is wrong with a certificate that is served and is no longer the file's.
fn stale(
    port: u16,
    chain: &str,
    info: &CertInfo,
    ca: Option<&str>,
    spec: &SetSpec,
    known: &Knowledge,
    now: UnixTime,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own = KeyEvidence::Public(info.public_key_sha256.clone());
    let client_auth = spec.profile == Profile::Cluster;
    let policy = VerifyPolicy { server_auth: true, client_auth, ..VerifyPolicy::default() };
    let problems = ca.and_then(|trust| verify(CertSet { cert: chain, trust, key: &own }, &policy, now).err());
    let expired = Problem::Expired(date(info.not_after));
    for problem in problems.unwrap_or_default() {
        if problem != expired && !matches!(problem, Problem::Unreadable(_) | Problem::WeakKey(_)) {
            findings.push(Finding::new(State::Critical, format!("of what port {port} serves: {problem}")));
        }
    }
    if info.not_after <= now {
        let why = format!("what port {port} serves expired at {}", date(info.not_after));
        findings.push(Finding::new(State::Critical, why));
    }
    if let Some((state, why)) = late(info, due_at(info, spec, by(ca, spec, known).as_ref()), now) {
        findings.push(Finding::new(state, format!("of what port {port} serves: {why}")));
    }
    findings
}

/// Whose certificate tells how much earlier it is due: that of the authority in the store, or what the set trusts first.
fn by(ca: Option<&str>, spec: &SetSpec, known: &Knowledge) -> Option<CertInfo> {
    match known.authorities.get(&spec.authority) {
        Some(view) if !known.elsewhere.contains(&spec.authority) => Some(view.info.clone()),
        _ => inspect(ca?, &spec.ca_name).ok(),
    }
}

/// When a run renews it.
fn due_at(info: &CertInfo, spec: &SetSpec, authority: Option<&CertInfo>) -> UnixTime {
    if spec.is_given() {
        return renew_at(info, &RenewalPolicy::default());
    }
    let (renew_before, jitter, cluster) = (spec.renew_before, spec.jitter, spec.cluster);
    let policy = RenewalPolicy { renew_before, jitter, cluster, ..RenewalPolicy::default() };
    let due = renew_at(info, &policy) - authority.map_or(0, |authority| early(&policy, authority));
    // It lives shorter than the margin that was thought of; the run that renews it reckons so, too.
    if due <= info.not_before { renew_at(info, &RenewalPolicy::default()) } else { due }
}

/// Whether somebody has to be alarmed: four fifths of the life are over and it was not renewed, or nine tenths. So it is, too, where
/// a small margin has it renewed later than that: what fails then leaves no time.
fn late(info: &CertInfo, due: UnixTime, now: UnixTime) -> Option<(State, String)> {
    let (life, left) = (Lifetime::of_span(info.not_after - info.not_before).as_seconds(), info.not_after - now);
    if left <= 0 {
        return None;
    }
    let (state, part) = match left.saturating_mul(10) {
        left if left <= life => (State::Critical, "nine tenths"),
        left if left <= life.saturating_mul(2) => (State::Warning, "four fifths"),
        _ => return None,
    };
    let when = match due > now {
        true => format!("it is due only at {} (`renew_before`: make it more than a fifth of the life)", date(due)),
        false => format!("it was due at {}", date(due)),
    };
    Some((state, format!("{part} of its life are over, {when}, it ends at {}", date(info.not_after))))
}

fn revoked(revocation: &Revocation) -> String {
    let reason = revocation.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{} was revoked at {}{reason}", short(&revocation.serial), date(revocation.at))
}

/// The subject of a generation that the store trusts and a host does not.
fn missing(view: &AuthorityView, trusted: &[CertInfo]) -> Option<String> {
    let wanted = certificates(&view.bundle_pem, "the store").ok()?;
    wanted.iter().find_map(|der| {
        let info = super::inspect::inspect_der(der, "the store").ok()?;
        let there = trusted.iter().any(|one| one.fingerprint == info.fingerprint);
        (!there).then_some(format!("{} ({})", info.subject, short(&info.serial)))
    })
}

/// Whom a host trusts and no authority of the store stands for.
fn foreign(known: &Knowledge, trusted: &[CertInfo]) -> Option<String> {
    let bundles = known.authorities.values().map(|view| inspect_all(&view.bundle_pem, "the store").unwrap_or_default());
    let ours: Vec<String> = bundles.flatten().map(|info| info.fingerprint).collect();
    let other = trusted.iter().find(|one| !ours.contains(&one.fingerprint))?;
    (!ours.is_empty()).then(|| format!("{} ({})", other.subject, short(&other.serial)))
}

/// An authority of the store: nobody renews it by itself.
pub fn judge_authority(view: &AuthorityView, rotation: Option<&Rotation>, now: UnixTime) -> Vec<Finding> {
    if let Some(rotation) = rotation {
        let (since, phase) = (date(rotation.began), rotation.phase.name());
        let why = format!("its rotation is under way since {since} and stands at `{phase}`: bring it to its end");
        let mut findings = vec![Finding::new(State::Warning, why)];
        findings.extend(judge_authority(view, None, now));
        return findings;
    }
    let info = &view.info;
    let days = (info.not_after - now).div_euclid(86_400);
    let life = (info.not_after - info.not_before).max(1);
    if info.not_after <= now {
        let why = format!("it expired at {}: nothing it signs is valid", date(info.not_after));
        return vec![Finding::new(State::Critical, why)];
    }
    let state = match (info.not_after - now).saturating_mul(10) {
        left if left <= life => State::Critical,
        left if left <= life.saturating_mul(2) || days < 365 => State::Warning,
        _ => return Vec::new(),
    };
    vec![Finding::new(state, format!("it has {days} days left: plan its rotation, every certificate depends on it"))]
}
