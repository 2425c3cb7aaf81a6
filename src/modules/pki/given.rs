//! Certificates that come from elsewhere: judged on the controller, put in place as issued ones are.

use serde_json::Value;

use super::certificate::PkiCertificate;
use super::certificate::controller::{install, look, refuse_other_key, report, retrust, step};
use super::set::{Fresh, Ownership, Place, Step};
use super::stores::failed;
use crate::modules::{ActionError, ActionHost, FileKind, Outcome, Prepared};
use crate::pki::{self, CertInfo, Found, RenewalPolicy, Request, VerifyPolicy};
use crate::secret::Secret;

/// Characters of its fingerprint that name a given set: serial numbers of strangers may be alike.
const NAME: usize = 32;

/// Whether the certificate is given; the three files come together, and not with an authority that signs.
pub fn is_given(arguments: &PkiCertificate) -> Result<bool, ActionError> {
    let sources = [&arguments.cert_src, &arguments.key_src, &arguments.ca_src];
    match (sources.iter().filter(|source| source.is_some()).count(), &arguments.ca) {
        (0, _) => Ok(false),
        (3, None) => Ok(true),
        (3, Some(_)) => Err(ActionError::Failed(
            "`ca` is an authority that signs, and `cert_src` a certificate that was signed elsewhere: leave one of them out".into(),
        )),
        _ => Err(ActionError::Failed("`cert_src`, `key_src` and `ca_src` make a set together: give all three".into())),
    }
}

/// Judges the files, looks at the host, and says what is to be done there.
pub async fn prepare(
    host: &dyn ActionHost,
    arguments: &PkiCertificate,
    request: &Request,
    place: Place,
    ownership: Ownership,
) -> Result<Prepared, ActionError> {
    let text = |source: &Option<crate::modules::scalars::Text>| read(host, source.as_deref().unwrap_or_default());
    let cert = text(&arguments.cert_src)?;
    let key = Secret::new(text(&arguments.key_src)?);
    host.conceal(&key);
    let trust = text(&arguments.ca_src)?;

    let (seen, found) = match look(host, &place).await? {
        Ok(seen) => seen,
        Err(done) => return Ok(done),
    };
    let there = found.cert.as_deref().and_then(|cert| pki::inspect(cert, "the certificate on the host").ok());
    let old_trust = match seen.data.get("ca") {
        Some(Value::String(old)) => Some(old.as_str()),
        _ => None,
    };

    let mut policy = VerifyPolicy::of(request.profile, &request.sans);
    policy.common_name = arguments.common_name.as_deref().map(str::to_string);
    let now = pki::now();
    // What lies there may be damaged, and then nobody trusts what it says.
    let in_force = there.as_ref().and(old_trust);
    let admitted = pki::admit((&cert, &key, &trust), in_force, &policy, now).map_err(|problems| {
        let source = arguments.cert_src.as_deref().unwrap_or_default();
        ActionError::Failed(format!("{source} would not work: {}; nothing was changed", pki::sentence(&problems)))
    })?;
    host.conceal(&admitted.key_pem);
    let cert = completed(cert, &trust).map_err(|error| {
        let source = arguments.cert_src.as_deref().unwrap_or_default();
        ActionError::Failed(format!("{source} would not work: {error}; nothing was changed"))
    })?;
    let info = admitted.info;
    let due = pki::renew_at(&info, &RenewalPolicy::default());
    if due <= now {
        let (name, end) = (arguments.cert_src.as_deref().unwrap_or_default(), pki::date(info.not_after));
        host.warn(format!("{name} ends at {end}, and nobody renews it by itself: get a new one"));
    }

    let other_key = there.as_ref().is_some_and(|there| there.key != info.key);
    if let (true, Some(there)) = (other_key, &there) {
        refuse_other_key(arguments, there.key, &info.key.to_string())?;
    }
    let reason = why(&found, there.as_ref(), &info, &cert);
    let mut install = install(arguments, place, Some(trust.clone()), ownership);
    install.report = report(&info, due, now, None);
    install.report.insert("reason".into(), reason.clone().into());
    install.report.insert("key_type_changed".into(), other_key.into());
    install.report.insert("held".into(), Value::Null);
    install.report.insert("subject".into(), info.subject.clone().into());
    if reason.is_some() {
        install.fresh = Some(Fresh {
            name: info.fingerprint.get(..NAME).map(str::to_string),
            cert: Some(cert),
            key: Some(admitted.key_pem),
            waited: false,
            public_key: Some(info.public_key_sha256.clone()),
            before: there.as_ref().map(pki::describe),
            after: pki::describe(&info),
        });
    } else if old_trust != Some(trust.as_str()) {
        install.retrust = Some(retrust(old_trust, &trust));
    }
    let due = install.fresh.is_some() || install.retrust.is_some();
    install.report.insert("due".into(), due.into());
    if arguments.judge_only.0 {
        let mut outcome = Outcome::ok();
        outcome.data.extend(install.report);
        return Ok(Prepared::Done(outcome));
    }
    Ok(Prepared::Send(step(&Step::Install(Box::new(install)))?))
}

/// The chain as servers need it: one with intermediates goes to its root, which is taken from the trusted authorities. One of two, a
/// leaf and the root that signed it, is left as it is.
fn completed(cert: String, trust: &str) -> Result<String, pki::PkiError> {
    let whole = pki::to_root(&cert, trust)?;
    Ok(if whole.matches("-----BEGIN").count() > 1 { whole } else { cert })
}

/// Why what lies there is replaced, if it is.
fn why(found: &Found, there: Option<&CertInfo>, given: &CertInfo, chain: &str) -> Option<String> {
    let Some(there) = there else {
        return Some(match found.cert {
            Some(_) => "what lies there is no certificate that can be read".into(),
            None => "there is no certificate yet".into(),
        });
    };
    if there.fingerprint != given.fingerprint {
        return Some(format!("another certificate is given (serial {})", given.serial));
    }
    if found.key.public() != Some(given.public_key_sha256.as_str()) {
        return Some("its private key is not the one that was given".into());
    }
    let read = |text: &str| pki::inspect_all(text, "the chain").ok();
    let lies = found.cert.as_deref().and_then(read);
    (lies != read(chain)).then(|| "the chain behind it is another one".into())
}

/// A file of the controller, decrypted where it is a vault.
fn read(host: &dyn ActionHost, source: &str) -> Result<String, ActionError> {
    let path = host.find_file(FileKind::Files, source)?;
    let bytes = std::fs::read(&path)
        .map_err(|source| failed(pki::PkiError::Io { path: path.display().to_string(), doing: "read", source }))?;
    String::from_utf8(host.unvault(&path, bytes)?).map_err(|_| {
        ActionError::Failed(format!("{} is not text: certificates and keys are read as PEM", path.display()))
    })
}
