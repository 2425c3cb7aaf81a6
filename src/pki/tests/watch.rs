//! What is said about sets and ports, by table.

use std::collections::BTreeMap;

use super::*;

fn spec(more: serde_json::Value) -> SetSpec {
    let mut set = serde_json::json!({"name": "cluster", "authority": "cluster", "profile": "cluster", "path": "/s",
        "reload": "galera"});
    set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    SetSpec::list(&serde_json::json!([set])).unwrap().remove(0)
}

fn view(authority: &Authority) -> AuthorityView {
    AuthorityView {
        name: authority.name.clone(),
        purpose: authority.purpose,
        cert_pem: authority.cert_pem.clone(),
        bundle_pem: authority.cert_pem.clone(),
        info: authority.info.clone(),
        predicted: false,
    }
}

fn known(authority: &Authority) -> Knowledge {
    let authorities = BTreeMap::from([("cluster".to_string(), view(authority))]);
    Knowledge { authorities, ..Knowledge::default() }
}

fn files(issued: &Issued, ca: &Authority) -> FilesSeen {
    FilesSeen {
        cert: Some(issued.chain_pem.clone()),
        key: evidence(issued),
        ca: Some(ca.cert_pem.clone()),
        stale: false,
    }
}

fn leaf(ca: &Authority) -> Issued {
    ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap()
}

fn said(findings: &[Finding]) -> (State, String) {
    (worst(findings), findings.iter().map(|one| one.why.as_str()).collect::<Vec<_>>().join("; "))
}

#[test]
fn files_by_table() {
    let (ca, other) = (authority("cluster", Purpose::Cluster), authority("cluster", Purpose::Cluster));
    let (one, two, foreign) = (leaf(&ca), leaf(&ca), leaf(&other));
    let good = files(&one, &ca);
    let server_only = {
        let client = authority("client", Purpose::Client);
        let issued = client.issue(&request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap();
        files(&issued, &client)
    };
    let both = FilesSeen { ca: Some(format!("{}{}", ca.cert_pem, other.cert_pem)), ..files(&foreign, &ca) };
    let plain = || spec(serde_json::json!({}));
    for (what, seen, spec, day, state, words) in [
        ("good", good.clone(), plain(), 1, State::Ok, ""),
        ("due, and no more than that", good.clone(), plain(), 65, State::Ok, ""),
        ("four fifths", good.clone(), plain(), 73, State::Warning, "it was not renewed: four fifths of its life"),
        ("nine tenths", good.clone(), plain(), 82, State::Critical, "nine tenths of its life"),
        ("a margin of its own", good.clone(), spec(serde_json::json!({"renew_before": "20d"})), 69, State::Ok, ""),
        // Four fifths are four fifths, whatever margin somebody has chosen.
        (
            "a small margin",
            good.clone(),
            spec(serde_json::json!({"renew_before": "5d"})),
            73,
            State::Warning,
            "four fifths of its life are over, it is due only at",
        ),
        (
            "a small margin",
            good.clone(),
            spec(serde_json::json!({"renew_before": "5d"})),
            82,
            State::Critical,
            "make it more than a fifth",
        ),
        ("expired", good.clone(), plain(), 91, State::Critical, "the certificate expired at"),
        ("too early", good.clone(), plain(), -1, State::Critical, "becomes valid only at"),
        (
            "nothing",
            FilesSeen { cert: None, ..good.clone() },
            plain(),
            1,
            State::Critical,
            "there is no certificate in /s",
        ),
        ("a run that broke off", FilesSeen { stale: true, ..good.clone() }, plain(), 1, State::Warning, "not reloaded"),
        ("no trust", FilesSeen { ca: None, ..good.clone() }, plain(), 1, State::Critical, "there is no ca.pem"),
        ("noise", FilesSeen { cert: Some("x".into()), ..good.clone() }, plain(), 1, State::Critical, "no certificate"),
        (
            "another key",
            FilesSeen { key: evidence(&two), ..good.clone() },
            plain(),
            1,
            State::Critical,
            "another certificate",
        ),
        (
            "no key",
            FilesSeen { key: KeyEvidence::Missing, ..good.clone() },
            plain(),
            1,
            State::Critical,
            "no private key",
        ),
        (
            "untold",
            FilesSeen { key: KeyEvidence::Untold, ..good.clone() },
            plain(),
            1,
            State::Warning,
            "cannot be told",
        ),
        ("wrong chain", files(&foreign, &ca), plain(), 1, State::Critical, "does not lead to any of the trusted"),
        ("trusted still", both.clone(), plain(), 1, State::Warning, "not by what `cluster` signs with now"),
        ("trusts too much", both, plain(), 1, State::Warning, "and the store does not"),
        ("wrong purpose", server_only, plain(), 1, State::Critical, "lacks serverAuth"),
        ("nobody's", good.clone(), spec(serde_json::json!({"authority": "x"})), 1, State::Warning, "no authority `x`"),
    ] {
        let report = judge_set(&seen, &spec, &known(&ca), NOW + day * DAY);
        let (worst, why) = said(&report.findings);
        assert_eq!(worst, state, "{what}: {why}");
        assert!(why.contains(words) && why.is_empty() == words.is_empty(), "{what}: {why}");
    }
    let report = judge_set(&good, &plain(), &known(&ca), NOW);
    assert_eq!(report.trusts, std::slice::from_ref(&ca.info.subject));
    assert_eq!(report.renew_at, Some(NOW + 60 * DAY));
    // As the run that renews it reckons, which knows the same authority and the same cluster.
    for cluster in [0, cluster_seed(Some("north"), None), cluster_seed(Some("south"), None)] {
        let jitter = Some(Lifetime::days(20));
        let spec = SetSpec { jitter, cluster, ..plain() };
        let request = request(Profile::Cluster, KeyType::EcdsaP256);
        let wanted = Wanted { request: &request, authority: "cluster", signer: Signer::Known(&ca.cert_pem) };
        let found = Found { cert: good.cert.clone(), key: good.key.clone() };
        let policy = RenewalPolicy { jitter, cluster, ..RenewalPolicy::default() };
        let decided = match renewal(&found, wanted, &policy, NOW).unwrap() {
            Decision::Keep { renew_at, .. } => Some(renew_at),
            Decision::Renew { .. } => None,
        };
        assert_eq!(judge_set(&good, &spec, &known(&ca), NOW).renew_at, decided);
    }
    // A generation that the store trusts and the host does not know yet.
    let mut rotating = known(&ca);
    rotating.authorities.get_mut("cluster").unwrap().bundle_pem.push_str(&other.cert_pem);
    let (state, why) = said(&judge_set(&good, &plain(), &rotating, NOW).findings);
    assert!(state == State::Warning && why.contains("ca.pem does not trust"), "{why}");
    // A controller without a store has nothing to compare with.
    assert_eq!(worst(&judge_set(&good, &plain(), &Knowledge::default(), NOW).findings), State::Ok);
}

#[test]
fn ports_by_table() {
    let (ca, other) = (authority("cluster", Purpose::Cluster), authority("cluster", Purpose::Cluster));
    let (old, new, foreign) = (leaf(&ca), leaf(&ca), leaf(&other));
    let spec = spec(serde_json::json!({"ports": [{"port": 4567}]}));
    let seen = files(&new, &ca);
    let look = |told: Result<&str, &str>, known: &Knowledge, day: i64| {
        let now = NOW + day * DAY;
        let set = judge_set(&seen, &spec, known, now);
        said(&judge_port(4567, told, &set, seen.ca.as_deref(), &spec, known, now).findings)
    };
    let store = known(&ca);
    assert_eq!(look(Ok(&new.chain_pem), &store, 1), (State::Ok, String::new()));
    let (state, why) = look(Ok(&old.chain_pem), &store, 1);
    let words = format!(
        "port 4567 serves {} and the file holds {}: it was replaced and not reloaded (FLUSH LOCAL SSL)",
        short(&old.info.serial),
        short(&new.info.serial)
    );
    assert_eq!((state, why), (State::Warning, words));
    for (told, day, state, words) in [
        (Ok(old.chain_pem.as_str()), 85, State::Critical, "of what port 4567 serves: nine tenths"),
        (Ok(old.chain_pem.as_str()), 91, State::Critical, "what port 4567 serves expired at"),
        (Ok(foreign.chain_pem.as_str()), 1, State::Critical, "of what port 4567 serves: the certificate does not lead"),
        (Ok("noise"), 1, State::Critical, "what port 4567 serves is no certificate"),
        (Err("refused"), 1, State::Unknown, "what port 4567 serves is not known: refused"),
    ] {
        let (worst, why) = look(told, &store, day);
        assert!(worst == state && why.contains(words), "{worst:?} {why}");
    }
    let mut revoked = known(&ca);
    let mark = |serial: &str| Revocation { serial: serial.into(), at: NOW, reason: Some("lost".into()) };
    revoked.revoked.insert(old.info.serial.clone(), mark(&old.info.serial));
    let (state, why) = look(Ok(&old.chain_pem), &revoked, 1);
    assert!(state == State::Critical && why.contains("(lost) and port 4567 still serves it"), "{why}");
    revoked.revoked.insert(new.info.serial.clone(), mark(&new.info.serial));
    let (state, why) = said(&judge_set(&seen, &spec, &revoked, NOW).findings);
    assert!(state == State::Critical && why.contains("is still in place"), "{why}");
}

#[test]
fn authorities_are_judged_long_before_their_end() {
    let ca = view(&authority("cluster", Purpose::Cluster));
    for (day, state) in
        [(0, State::Ok), (2900, State::Ok), (2925, State::Warning), (3300, State::Critical), (3651, State::Critical)]
    {
        assert_eq!(worst(&judge_authority(&ca, None, NOW + day * DAY)), state, "{day}");
    }
    let rotation = Rotation { from: "a".into(), to: "b".into(), phase: Phase::Purge, began: NOW };
    let (state, why) = said(&judge_authority(&ca, Some(&rotation), NOW));
    assert!(state == State::Warning && why.contains("stands at `purge`"), "{why}");
    assert!(State::Critical > State::Unknown && State::Unknown > State::Warning && State::Warning > State::Ok);
    assert_eq!([State::Ok, State::Warning, State::Critical, State::Unknown].map(State::code), [0, 1, 2, 3]);
}

#[test]
fn an_authority_that_is_elsewhere_is_no_fault_of_the_store() {
    let (ours, corp) = (authority("cluster", Purpose::Cluster), authority("corp", Purpose::Client));
    let issued = corp.issue(&request(Profile::Server, KeyType::EcdsaP256), NOW).unwrap();
    let set = serde_json::json!([{"name": "web", "authority": "corp", "profile": "server", "path": "/x"}]);
    let spec = SetSpec::list(&set).unwrap().remove(0);
    let mut known = known(&ours);
    assert!(judge_set(&files(&issued, &corp), &spec, &known, NOW + DAY).findings.len() >= 2);
    known.elsewhere.insert("corp".into());
    assert_eq!(judge_set(&files(&issued, &corp), &spec, &known, NOW + DAY).findings, []);
}
