//! Certificates that an issuer signs: what lies on the host is judged, and replaced when it is time.

use std::sync::Arc;

use serde_json::Value;

use super::certificate::PkiCertificate;
use super::certificate::controller::{
    authority, evidence, install, look, refuse_other_key, renewal_policy, report, report_planned, retrust, step,
};
use super::issuers;
use super::pending::Pend;
use super::set::{Fresh, Install, Ownership, Place, Step};
use super::stores::{failed, open};
use super::waiting;
use crate::modules::{ActionError, ActionHost, Outcome, Prepared, Status};
use crate::pki::issuer::{Anchor, Answer, Order, Pending, Waits};
use crate::pki::{self, CertSet, Decision, Found, KeyEvidence, Request, Signer, Store, UnixTime, VerifyPolicy, Wanted};

/// The name that the host half is called by.
const NAME: &str = super::certificate::MODULE.name;

/// Looks at the host, and has a certificate signed if that is due.
pub async fn prepare(
    host: &dyn ActionHost,
    arguments: &PkiCertificate,
    request: &Request,
    place: Place,
    ownership: Ownership,
) -> Result<Prepared, ActionError> {
    let mut policy = renewal_policy(host, arguments)?;
    let authority = authority(arguments)?;
    let store = open(host, arguments.store.as_deref(), arguments.passphrase_file.as_deref())?;
    let now = pki::now();
    let issuer = issuers::of(host, &store, authority)?;
    let anchor = issuers::anchor(&*issuer, &store, authority, now).map_err(failed)?;
    request.profile.allowed_by(anchor.purpose, &anchor.name).map_err(failed)?;
    issuer.accepts(request).map_err(failed)?;
    let (trust, trust_known) = trust(host, &store, &anchor, &arguments.trust.0, now)?;

    let (seen, found) = match look(host, &place).await? {
        Ok(seen) => seen,
        Err(done) => return Ok(done),
    };
    let there = found.cert.as_deref().and_then(|cert| pki::inspect(cert, "the certificate on the host").ok());
    if let Some(there) = there {
        policy.revoked = store.revocation(&there.serial).map_err(failed)?.map(|one| one.at);
    }
    let signer = anchor.signs.as_deref().map_or(Signer::Foreign(&trust), Signer::Known);
    let wanted = Wanted { request, authority: &anchor.name, signer };
    let decision = pki::renewal(&found, wanted, &policy, now).map_err(failed)?;

    if matches!(decision, Decision::Renew { .. }) && policy.revoked.is_none() {
        refuse_strange_authority(host, &anchor, (&found, &seen), request, now)?;
    }

    let other_key = match &decision {
        Decision::Renew { old: Some(old), .. } if !request.key_type.is(old.key) => {
            refuse_other_key(arguments, old.key, request.key_type.name())?;
            true
        }
        _ => false,
    };
    let held = match (&decision, policy.opens) {
        (Decision::Keep { renew_at, spent: None, .. }, Some(opens)) if *renew_at <= now => Some(format!(
            "its renewal is due since {} and waits for its window, which opens at {}",
            pki::date(*renew_at),
            pki::date(opens)
        )),
        _ => None,
    };
    let mut install = install(arguments, place, trust_known.then(|| trust.clone()), ownership);
    let subject = request.subject.one_line();
    let old_trust = seen.data.get("ca").and_then(Value::as_str);
    let other_trust =
        (trust_known && found.cert.is_some() && old_trust != Some(trust.as_str())).then(|| retrust(old_trust, &trust));
    let pending = pending(&seen)?;
    let order = Order {
        host: host.host(),
        path: &install.place.path.clone(),
        request,
        pending: pending.as_ref(),
        in_force: found.key.public(),
        trust: &trust,
        now,
    };
    // What is to be done once the set is in force, where somebody else has signed it.
    let (mut arrived, mut waits) = (None, None);
    match decision {
        Decision::Keep { info, renew_at, spent } => {
            if let Some(end) = spent {
                host.warn(format!(
                    "the authority `{0}` ends at {1}, so a new certificate would last no longer than the present one, which stays: \
                     rotate the authority now (`deploy playbooks/rotate-ca.yml -e rotate_ca={0}`)",
                    anchor.name,
                    pki::date(end)
                ));
            }
            install.report = report(&info, renew_at, now, None);
            install.retrust = other_trust;
        }
        Decision::Renew { reason, .. } if arguments.judge_only.0 => {
            let due = match issuer.asks_nobody() {
                true => !matches!(issuer.issue(order).await, Ok(Answer::Waits(Waits { key: None, .. }))),
                false => true,
            };
            install.report = report_planned(request, &policy, now, &reason.to_string());
            install.report.insert("issued".into(), false.into());
            install.report.insert("due".into(), due.into());
        }
        Decision::Renew { reason, old } => {
            let reason = reason.to_string();
            let before = old.as_ref().map(|old| pki::describe(old));
            let answer = match host.check() && !issuer.asks_nobody() {
                true => None,
                false => Some(issuer.issue(order).await.map_err(failed)?),
            };
            match answer {
                None => {
                    issuer.ready().map_err(failed)?;
                    install.report = report_planned(request, &policy, now, &reason);
                    install.unknown = ["serial", "fingerprint"].map(String::from).to_vec();
                    let mut after = pki::describe_planned(request, &anchor.subject, now);
                    if !issuer.obeys() {
                        after = pki::describe_foreign(&after, &issuer.words());
                        install.unknown.extend(["not_before", "not_after", "renew_at", "days_left"].map(String::from));
                    }
                    install.fresh = Some(Fresh { before, after, ..Fresh::default() });
                }
                Some(Answer::Issued(issued)) => {
                    host.conceal(&issued.key_pem);
                    let key = pki::public_half(issued.key_pem.expose());
                    // A server elsewhere may have taken its time, and begin its certificate with this second.
                    let policy_of_issuer = VerifyPolicy::signed(request, issuer.obeys());
                    verify(&issued.chain_pem, &key, &trust, policy_of_issuer, pki::now())?;
                    issued.warnings.iter().for_each(|warning| host.warn(warning.clone()));
                    install.report = report(&issued.info, pki::renew_at(&issued.info, &policy), now, Some(&reason));
                    install.fresh = Some(Fresh {
                        name: Some(name_of(&issued.info, issuer.obeys())),
                        cert: Some(whole(&issued.chain_pem, &trust, issuer.obeys())?),
                        key: Some(issued.key_pem),
                        waited: false,
                        public_key: Some(issued.info.public_key_sha256.clone()),
                        before,
                        after: pki::describe(&issued.info),
                    });
                }
                Some(Answer::Signed(received)) if !taken(&received.signed.chain_pem, &found, &seen, now) => {
                    if let Some(old) = &old {
                        install.report = report(old, pki::renew_at(old, &policy), now, None);
                    }
                    host.warn(format!(
                        "{} is signed by an authority that those who trust what is in force now do not know: this run brings \
                         the authority, and the next one the certificate, once every host has been through this one",
                        received.file.display()
                    ));
                    install.report.insert("reason".into(), reason.into());
                    install.retrust = other_trust;
                }
                Some(Answer::Signed(received)) => {
                    let info = &received.signed.info;
                    install.report = report(info, pki::renew_at(info, &policy), now, Some(&reason));
                    install.fresh = Some(Fresh {
                        name: Some(name_of(info, false)),
                        cert: Some(whole(&received.signed.chain_pem, &trust, false)?),
                        key: None,
                        waited: true,
                        public_key: Some(info.public_key_sha256.clone()),
                        before,
                        after: pki::describe(info),
                    });
                    arrived = Some(received);
                }
                Some(Answer::Waits(made)) => {
                    if let Some(old) = &old {
                        install.report = report(old, pki::renew_at(old, &policy), now, None);
                    }
                    install.report.insert("reason".into(), reason.clone().into());
                    install.report.insert("waiting".into(), made.file.display().to_string().into());
                    install.report.insert("due".into(), made.key.is_some().into());
                    // Whom it trusts does not wait for anybody.
                    install.retrust = other_trust;
                    let usable = policy.revoked.is_none() && still_good(&found, &seen, request, now);
                    waits = Some((made, usable, reason));
                }
            }
        }
    }
    install.report.entry("subject").or_insert_with(|| subject.into());
    install.report.insert("key_type_changed".into(), other_key.into());
    install.report.insert("held".into(), held.into());
    let due = install.fresh.is_some() || install.retrust.is_some();
    install.report.entry("due").or_insert_with(|| due.into());
    if arguments.judge_only.0 {
        let mut outcome = Outcome::ok();
        outcome.data.extend(install.report);
        return Ok(Prepared::Done(outcome));
    }
    if let Some((made, usable, reason)) = waits {
        return wait(host, install, made, usable, &reason).await.map(Prepared::Done);
    }
    let Some(received) = arrived else {
        return Ok(Prepared::Send(step(&Step::Install(Box::new(install)))?));
    };
    let outcome = host.call(NAME, step(&Step::Install(Box::new(install)))?).await?;
    if outcome.status == Status::Ok {
        waiting::settle(host, &received)?;
    }
    Ok(Prepared::Done(outcome))
}

/// Leaves alone what works, where nobody who trusts it knows the authority that would sign now: that is what a wrong or an
/// empty store looks like, and replacing it would cut off everybody.
fn refuse_strange_authority(
    host: &dyn ActionHost,
    anchor: &Anchor,
    (found, seen): (&Found, &Outcome),
    request: &Request,
    now: UnixTime,
) -> Result<(), ActionError> {
    let works = match seen.data.get("ca") {
        // Not the whole of what will be trusted: a further authority in it does not sign.
        Some(Value::String(in_force)) => {
            !pki::pem::share_a_certificate(in_force, &anchor.bundle_pem) && still_good(found, seen, request, now)
        }
        // Without its trust nothing says whether it works; what somebody else has signed is somebody else's.
        _ => pair_of_another(found, anchor, now),
    };
    if !works {
        return Ok(());
    }
    match host.variable("pki_other_authority")?.as_ref().and_then(Value::as_str) {
        Some("replace") => Ok(()),
        None | Some("" | "refuse") => Err(ActionError::Failed(format!(
            "what lies there works, and nobody who trusts it knows the authority `{}` that would sign now: is this the store \
             (`pki_store`) that its certificates come from? Nothing was changed. Another generation is brought in by \
             rotate-ca.yml; `-e pki_other_authority=replace` replaces it all the same, and cuts off who trusts the old one",
            anchor.name
        ))),
        Some(other) => {
            Err(ActionError::Failed(format!("`pki_other_authority` is {other}: write `refuse` or `replace`")))
        }
    }
}

/// Keeps what is in force until the certificate has come, where that still works, and says what is waited for.
async fn wait(
    host: &dyn ActionHost,
    install: Install,
    made: Waits,
    usable: bool,
    reason: &str,
) -> Result<Outcome, ActionError> {
    let mut changes = Vec::new();
    if let Some(key) = &made.key {
        host.conceal(key);
        let real = !host.check();
        let pend = Pend {
            place: install.place.clone(),
            key: real.then(|| key.clone()),
            request: real.then(|| made.request.clone()),
        };
        let kept = host.call(NAME, step(&Step::Pend(pend))?).await?;
        if kept.status != Status::Ok {
            return Ok(kept);
        }
        changes = kept.changes;
    }
    let number = waiting::put(host, &made)?;
    let folder = made.file.parent().unwrap_or(&made.file).display();
    let (requests, answer) =
        (if number == 1 { "request waits" } else { "requests wait" }, made.file.with_extension("pem"));
    let told = format!(
        "{number} {requests} in {folder}: have {} signed, put the certificate with its chain into {}, and run this again",
        made.file.display(),
        answer.display()
    );
    let mut outcome = match usable {
        true => {
            host.warn(format!("{told} ({reason}; what is in force stays until then)"));
            host.call(NAME, step(&Step::Install(Box::new(install)))?).await?
        }
        false => Outcome::failed(format!("{reason}, and nothing that works is in its place: {told}")),
    };
    changes.append(&mut outcome.changes);
    outcome.changes = changes;
    Ok(outcome)
}

/// The chain as hosts get it. Ours is whole already.
fn whole(chain: &str, trust: &str, ours: bool) -> Result<String, ActionError> {
    if ours { Ok(chain.to_string()) } else { pki::to_root(chain, trust).map_err(failed) }
}

/// What a set's directory is called: by its serial number. Other authorities may begin anew with theirs, so their sets are
/// called by the fingerprint.
fn name_of(info: &pki::CertInfo, ours: bool) -> String {
    match ours {
        true => info.serial.clone(),
        false => info.fingerprint.get(..32).unwrap_or(&info.fingerprint).to_string(),
    }
}

/// Whether those who trust what is in force on the host would take this chain, too; nobody has to where nothing is.
fn taken(chain: &str, found: &Found, seen: &Outcome, now: UnixTime) -> bool {
    let (Some(_), Some(Value::String(trust))) = (&found.cert, seen.data.get("ca")) else { return true };
    let judged = pki::verify(CertSet { cert: chain, trust, key: &KeyEvidence::Missing }, &VerifyPolicy::default(), now);
    !judged.is_err_and(|problems| problems.iter().any(|one| matches!(one, pki::Problem::NoChain { .. })))
}

/// Whether what lies on the host still serves.
fn still_good(found: &Found, seen: &Outcome, request: &Request, now: UnixTime) -> bool {
    let (Some(cert), Some(Value::String(trust))) = (&found.cert, seen.data.get("ca")) else { return false };
    let policy = VerifyPolicy { names: Vec::new(), ..VerifyPolicy::signed(request, false) };
    pki::verify(CertSet { cert, trust, key: &found.key }, &policy, now).is_ok()
}

/// Whether a certificate lies there with its key, still lives, and leads to none of the authority's generations.
fn pair_of_another(found: &Found, anchor: &Anchor, now: UnixTime) -> bool {
    let Some(cert) = &found.cert else { return false };
    let set = CertSet { cert, trust: &anchor.bundle_pem, key: &found.key };
    match pki::verify(set, &VerifyPolicy::default(), now) {
        Ok(_) => false,
        Err(problems) => problems.iter().all(|one| matches!(one, pki::Problem::NoChain { .. })),
    }
}

fn pending(seen: &Outcome) -> Result<Option<Pending>, ActionError> {
    let Some(pending) = seen.data.get("pending").filter(|value| !value.is_null()) else { return Ok(None) };
    let text = pending.get("request").and_then(Value::as_str).unwrap_or_default();
    Ok(Some(Pending { request: text.to_string(), key: evidence(pending.get("key"))? }))
}

/// What goes into `ca.pem`, and whether it is what it will be.
fn trust(
    host: &dyn ActionHost,
    store: &Arc<Store>,
    anchor: &Anchor,
    further: &[String],
    now: UnixTime,
) -> Result<(String, bool), ActionError> {
    let mut text = anchor.bundle_pem.clone();
    let mut known = !anchor.predicted;
    for name in further.iter().filter(|name| **name != anchor.name) {
        let other = issuers::of(host, store, name)?;
        let other = issuers::anchor(&*other, store, name, now).map_err(failed)?;
        text.push_str(&other.bundle_pem);
        known &= !other.predicted;
    }
    Ok((text, known))
}

/// The last look before it leaves the controller: what is wrong here would be silent there.
fn verify(chain: &str, key: &KeyEvidence, trust: &str, policy: VerifyPolicy, now: UnixTime) -> Result<(), ActionError> {
    pki::verify(CertSet { cert: chain, trust, key }, &policy, now).map(|_| ()).map_err(|problems| {
        ActionError::Failed(format!("the new certificate would not work: {}", pki::sentence(&problems)))
    })
}
