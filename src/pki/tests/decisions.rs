//! Verification and renewal, by tables.

use super::*;

#[test]
fn every_bad_set_has_its_sentence() {
    let ca = authority("cluster", Purpose::Cluster);
    let other = authority("other", Purpose::Cluster);
    let good = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let good_key = evidence(&good);
    let policy = VerifyPolicy {
        server_auth: true,
        client_auth: true,
        names: vec!["galera1".parse().unwrap(), "10.0.0.1".parse().unwrap()],
        common_name: None,
    };
    let judge = |cert: &str, trust: &str, key: &KeyEvidence, now| {
        verify(CertSet { cert, trust, key }, &policy, now)
            .map(|_| String::new())
            .unwrap_or_else(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))
    };
    assert_eq!(judge(&good.chain_pem, &ca.cert_pem, &good_key, NOW), "");
    let both = format!("{}{}", other.cert_pem, ca.cert_pem);
    assert_eq!(judge(&good.chain_pem, &both, &good_key, NOW), "", "a bundle of two");

    let expired = judge(&good.cert_pem, &ca.cert_pem, &good_key, NOW + 91 * DAY);
    assert_eq!(expired, "the certificate expired at 2027-04-15 08:00 UTC");
    assert!(judge(&good.cert_pem, &ca.cert_pem, &good_key, NOW - DAY).contains("valid only at"));
    assert!(judge(&good.cert_pem, &other.cert_pem, &good_key, NOW).contains("does not lead to any"));
    assert!(judge(&good.cert_pem, &good.cert_pem, &good_key, NOW).contains("no self-signed authority"));
    assert!(judge(&ca.cert_pem, &ca.cert_pem, &good_key, NOW).contains("an authority's certificate"));
    let foreign = evidence(&ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap());
    assert_eq!(judge(&good.cert_pem, &ca.cert_pem, &foreign, NOW), "its private key belongs to another certificate");
    assert!(judge(&good.cert_pem, &ca.cert_pem, &KeyEvidence::Missing, NOW).contains("no private key beside it"));
    assert!(judge("nothing", &ca.cert_pem, &good_key, NOW).contains("no certificate in PEM form"));

    let mut nameless = request(Profile::Cluster, KeyType::EcdsaP256);
    nameless.sans = vec!["galera2".parse().unwrap(), "10.0.0.1".parse().unwrap()];
    let nameless = ca.issue(&nameless, NOW).unwrap();
    assert_eq!(judge(&nameless.cert_pem, &ca.cert_pem, &evidence(&nameless), NOW), "it is not valid for DNS:galera1");

    let client = authority("client", Purpose::Client);
    let app = client.issue(&request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap();
    assert!(judge(&app.cert_pem, &client.cert_pem, &evidence(&app), NOW).contains("lacks serverAuth"));

    let mut brief = AuthoritySpec::new("brief", Purpose::Cluster).unwrap();
    brief.lifetime = Lifetime::days(10);
    let brief = Authority::create(&brief, NOW).unwrap();
    let mut lasting = request(Profile::Cluster, KeyType::EcdsaP256);
    lasting.lifetime = Lifetime::days(90);
    let lasting = brief.issue(&lasting, NOW).unwrap();
    assert!(judge(&lasting.cert_pem, &brief.cert_pem, &evidence(&lasting), NOW + 11 * DAY).contains("expired"));
}

#[test]
fn sets_made_by_openssl_are_judged_too() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    ok(
        d,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj /CN=root -days 100 -out ca.pem",
    );
    let issue = |name: &str, key: &str, ext: &str| {
        std::fs::write(d.join("ext"), ext).unwrap();
        ok(d, &format!("req -new -newkey {key} -nodes -keyout {name}.key -subj /CN={name} -out {name}.csr"));
        ok(
            d,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 50 -extfile ext -out {name}.pem"
            ),
        );
        let read = |file: &str| std::fs::read_to_string(d.join(file)).unwrap();
        let key = public_half(&read(&format!("{name}.key")));
        let policy = VerifyPolicy::of(Profile::Server, &["a.lan".parse().unwrap()]);
        let (cert, trust) = (read(&format!("{name}.pem")), read("ca.pem"));
        let said = verify(CertSet { cert: &cert, trust: &trust, key: &key }, &policy, now())
            .map(|_| String::new())
            .unwrap_or_else(|problems| sentence(&problems));
        // What only the controller can tell is told there.
        let secret = Secret::new(read(&format!("{name}.key")));
        let admitted = admit((&cert, &secret, &trust), None, &policy, now());
        match said.contains("cannot be told") {
            true => assert!(public_half(admitted.unwrap().key_pem.expose()).public().is_some()),
            false => assert_eq!(admitted.map(|_| String::new()).unwrap_or_else(|all| sentence(&all)), said),
        }
        said
    };
    let usages = "subjectAltName=DNS:a.lan\nextendedKeyUsage=serverAuth,clientAuth\n";
    assert_eq!(issue("good", "rsa:2048", usages), "");
    assert_eq!(issue("curve", "ec -pkeyopt ec_paramgen_curve:P-256", usages), "");
    assert_eq!(
        issue("untold", "ed25519", usages),
        "whether its private key belongs to it cannot be told from the file"
    );
    let weak = issue("weak", "rsa:1024", usages);
    assert!(weak.contains("its key (RSA 1024) is too weak"), "{weak}");
    let server = issue("server", "rsa:2048", "subjectAltName=DNS:a.lan\nextendedKeyUsage=serverAuth\n");
    assert!(server.contains("lacks clientAuth"), "{server}");
    let bare = issue("bare", "rsa:2048", "extendedKeyUsage=serverAuth,clientAuth\n");
    assert_eq!(bare, "it is not valid for DNS:a.lan");
}

#[test]
fn what_comes_from_elsewhere_is_admitted_or_refused_with_its_cause() {
    let (ca, other) = (authority("cluster", Purpose::Cluster), authority("other", Purpose::Cluster));
    let good = ca.issue(&request(Profile::Cluster, KeyType::Ed25519), NOW).unwrap();
    let foreign = other.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let named = |name: &str| VerifyPolicy { common_name: Some(name.into()), ..VerifyPolicy::of(Profile::Cluster, &[]) };
    let both = format!("{}{}", ca.cert_pem, other.cert_pem);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let encrypted = Secret::new(encrypted);
    let ours = Some(ca.cert_pem.as_str());
    for (issued, key, trust, trusted_now, name, want) in [
        (&good, &good.key_pem, &ca.cert_pem, None, "galera1", ""),
        (&good, &good.key_pem, &ca.cert_pem, ours, "galera1", ""),
        (&foreign, &foreign.key_pem, &other.cert_pem, None, "galera1", ""),
        (
            &foreign,
            &foreign.key_pem,
            &other.cert_pem,
            ours,
            "galera1",
            "in force now (/CN=cluster CA) would not take it",
        ),
        (&foreign, &foreign.key_pem, &both, ours, "galera1", "bring its authority in first"),
        (&foreign, &foreign.key_pem, &both, Some(both.as_str()), "galera1", ""),
        (&good, &good.key_pem, &ca.cert_pem, Some("unreadable"), "galera1", ""),
        (&good, &good.key_pem, &other.cert_pem, None, "galera1", "does not lead to any of the trusted authorities"),
        (&good, &foreign.key_pem, &ca.cert_pem, None, "galera1", "its private key belongs to another certificate"),
        (&good, &encrypted, &ca.cert_pem, None, "galera1", "could not read it without a passphrase"),
        (&good, &good.key_pem, &ca.cert_pem, None, "app", "its common name is galera1, and should be app"),
    ] {
        let said = admit((&issued.chain_pem, key, trust), trusted_now, &named(name), NOW);
        let said = said.map(|_| String::new()).unwrap_or_else(|problems| sentence(&problems));
        assert!(if want.is_empty() { said.is_empty() } else { said.contains(want) }, "{want}: {said}");
    }
}

#[test]
fn renewal_by_table() {
    let ca = authority("cluster", Purpose::Cluster);
    let other = authority("cluster", Purpose::Cluster);
    let base = request(Profile::Cluster, KeyType::EcdsaP256);
    let issued = ca.issue(&base, NOW).unwrap();
    let found = Found { cert: Some(issued.chain_pem.clone()), key: evidence(&issued) };
    let plain = RenewalPolicy::default();
    let decide = |found: &Found, request: &Request, ca: &Authority, policy: &RenewalPolicy, now| {
        let wanted = Wanted { request, authority: "cluster", signer: Signer::Known(&ca.cert_pem) };
        match renewal(found, wanted, policy, now) {
            Ok(Decision::Keep { renew_at, .. }) => format!("keep {}", (renew_at - NOW) / DAY),
            Ok(Decision::Renew { reason, .. }) => reason.to_string(),
            Err(error) => format!("error: {error}"),
        }
    };
    let at = |days: i64, policy: &RenewalPolicy| decide(&found, &base, &ca, policy, NOW + days * DAY);
    assert_eq!(at(0, &plain), "keep 60");
    assert_eq!(at(59, &plain), "keep 60");
    assert!(at(60, &plain).starts_with("its renewal is due since"));
    assert!(at(91, &plain).starts_with("it expired at"));
    assert!(at(-1, &plain).starts_with("it becomes valid only at"));
    let margin = RenewalPolicy { renew_before: Some(Lifetime::days(10)), ..plain };
    assert_eq!(at(79, &margin), "keep 80");
    assert!(at(80, &margin).starts_with("its renewal is due"));
    let loops = RenewalPolicy { renew_before: Some(Lifetime::days(90)), ..plain };
    assert!(at(0, &loops).contains("every run would renew"));
    let wide = RenewalPolicy { jitter: Some(Lifetime::days(61)), ..plain };
    assert!(at(0, &wide).contains("a jitter of up to 61d before the end"), "{}", at(0, &wide));
    let rare = RenewalPolicy { next_run: Some(Lifetime::days(60)), ..plain };
    assert_eq!(at(29, &rare), "keep 60");
    assert!(at(30, &rare).starts_with("it would expire before the next scheduled run"));
    // Due on day 60; four fifths are over on day 72.
    let opens = |days: i64| RenewalPolicy { opens: Some(NOW + days * DAY), ..plain };
    assert_eq!(at(61, &opens(65)), "keep 60");
    assert!(at(61, &opens(73)).starts_with("its renewal is due"), "that would be too late");
    assert!(at(91, &opens(92)).starts_with("it expired"));
    let early_in = |ca: &Authority, cluster: u64| {
        let policy = RenewalPolicy { jitter: Some(Lifetime::days(30)), cluster, ..plain };
        let found = Found { cert: Some(ca.issue(&base, NOW).unwrap().chain_pem), key: KeyEvidence::Missing };
        let info = inspect(found.cert.as_deref().unwrap(), "it").unwrap();
        let found = Found { key: KeyEvidence::Public(info.public_key_sha256), ..found };
        let wanted = Wanted { request: &base, authority: "cluster", signer: Signer::Known(&ca.cert_pem) };
        match renewal(&found, wanted, &policy, NOW).unwrap() {
            Decision::Keep { renew_at, .. } => renew_at,
            other => panic!("{other:?}"),
        }
    };
    let early = |ca: &Authority| early_in(ca, cluster_seed(None, None));
    assert!(early(&ca) == early(&ca) && early(&ca) != early(&other), "alike in a cluster, others elsewhere");
    let (north, south) = (cluster_seed(Some("north"), None), cluster_seed(Some("south"), None));
    assert_ne!(early_in(&ca, north), early_in(&ca, south), "two clusters under one authority");
    assert_ne!(cluster_seed(None, Some("north")), cluster_seed(None, Some("south")), "told apart by their groups");
    assert_eq!(cluster_seed(None, None), cluster_seed(Some("galera"), Some(" ")), "the roles' default and nothing");
    assert!((NOW + 30 * DAY..=NOW + 60 * DAY).contains(&early(&ca)));
    assert_eq!(at(1, &RenewalPolicy { force: true, ..plain }), "renewal is forced");
    assert!(at(1, &RenewalPolicy { revoked: Some(NOW), ..plain }).starts_with("it was revoked at"));
    assert!(at(3651, &plain).contains("error: the authority `cluster` expired"));
    // Near the authority's end: the last one that is cut short there stays, and no run makes the same again.
    for (issue, look, want) in [
        (3500, 3559, "keep 3560"),
        (3500, 3561, "its renewal is due"), // until day 3590; the next one reaches day 3650
        (3570, 3640, "keep"),               // cut short at day 3650, due since day 3623
        (3640, 3649, "keep"),
    ] {
        let issued = ca.issue(&base, NOW + issue * DAY).unwrap();
        let found = Found { cert: Some(issued.chain_pem.clone()), key: evidence(&issued) };
        let said = decide(&found, &base, &ca, &plain, NOW + look * DAY);
        assert!(said.starts_with(want), "{issue} {look}: {said}");
        let wanted = Wanted { request: &base, authority: "cluster", signer: Signer::Known(&ca.cert_pem) };
        let now = NOW + look * DAY;
        if let Ok(Decision::Keep { renew_at, spent, .. }) = renewal(&found, wanted, &plain, now) {
            assert_eq!(spent, (renew_at <= now).then_some(ca.info.not_after), "{issue} {look}");
        }
        let forced = RenewalPolicy { force: true, ..plain };
        assert_eq!(decide(&found, &base, &ca, &forced, now), "renewal is forced");
        let rare = RenewalPolicy { next_run: Some(Lifetime::days(40)), ..plain };
        assert_eq!(decide(&found, &base, &ca, &rare, now).starts_with("keep"), issue > 3500, "{issue} {look}");
    }

    let with = |change: &dyn Fn(&mut Request)| {
        let mut wanted = base.clone();
        change(&mut wanted);
        decide(&found, &wanted, &ca, &plain, NOW)
    };
    assert_eq!(with(&|r| r.sans.push("lb.lan".parse().unwrap())), "it lacks DNS:lb.lan");
    assert_eq!(with(&|r| drop(r.sans.remove(0))), "it names DNS:galera1, which is not wanted");
    assert_eq!(with(&|r| r.sans.reverse()), "keep 60", "order does not matter");
    assert_eq!(with(&|r| r.profile = Profile::Client), "it is for another purpose (extended key usage)");
    assert_eq!(with(&|r| r.key_type = KeyType::Ed25519), "its key is ECDSA P-256 and should be ed25519");
    assert!(with(&|r| r.lifetime = Lifetime::days(30)).contains("longer than is wanted"));
    assert_eq!(
        with(&|r| r.subject = Subject::new("galera2", None).unwrap()),
        "its subject is /O=Example/CN=galera1 and should be /CN=galera2"
    );
    assert_eq!(
        decide(&found, &base, &other, &plain, NOW),
        "it was signed by another authority (/CN=cluster CA)",
        "the same name, another key"
    );
    for (found, want) in [
        (Found { cert: None, key: KeyEvidence::Missing }, "there is no certificate yet"),
        (Found { key: KeyEvidence::Missing, ..found.clone() }, "there is no private key beside it"),
        (Found { key: KeyEvidence::Untold, ..found.clone() }, "whether its private key belongs to it cannot be told"),
        (
            Found { key: KeyEvidence::Public("00".into()), ..found.clone() },
            "its private key belongs to another certificate",
        ),
        (
            Found { cert: Some("garbage".into()), ..found.clone() },
            "the certificate on the host is no certificate that can be read: there is no certificate in PEM form in it",
        ),
    ] {
        assert_eq!(decide(&found, &base, &ca, &plain, NOW), want);
    }
    let mut short = base.clone();
    short.lifetime = Lifetime::seconds(600);
    let brief = ca.issue(&short, NOW).unwrap();
    let found = Found { cert: Some(brief.cert_pem.clone()), key: evidence(&brief) };
    assert_eq!(decide(&found, &short, &ca, &plain, NOW + 399), "keep 0");
    assert!(decide(&found, &short, &ca, &plain, NOW + 400).contains("due"), "two thirds of ten minutes");
}

#[test]
fn a_description_shows_what_changes_and_no_key() {
    let ca = authority("cluster", Purpose::Cluster);
    let wanted = request(Profile::Cluster, KeyType::EcdsaP256);
    let issued = ca.issue(&wanted, NOW).unwrap();
    let text = diff(&describe(&issued.info), &describe_planned(&wanted, &ca.info.subject, NOW + DAY));
    assert!(
        text.contains("-valid to: 2027-04-15 08:00 UTC\n+") || text.contains("-valid to: 2027-04-15 08:00 UTC"),
        "{text}"
    );
    assert!(text.contains(" subject: /O=Example/CN=galera1"), "{text}");
    assert!(text.contains("+serial: (known only at apply)"), "{text}");
    assert!(!text.contains("PRIVATE"));
    assert!(!format!("{issued:?}").contains("PRIVATE KEY"));
}
