//! Authorities and what they sign, judged by openssl.

use super::*;

#[test]
fn openssl_accepts_every_key_type_strictly() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519] {
        let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
        spec.key_type = kind;
        let ca = Authority::create(&spec, NOW).unwrap();
        let issued = ca.issue(&request(Profile::Cluster, kind), NOW).unwrap();
        std::fs::write(dir.path().join("ca.pem"), &ca.cert_pem).unwrap();
        std::fs::write(dir.path().join("cert.pem"), &issued.chain_pem).unwrap();
        std::fs::write(dir.path().join("key.pem"), issued.key_pem.expose()).unwrap();
        for purpose in ["sslserver", "sslclient"] {
            ok(
                dir.path(),
                &format!(
                    "verify -x509_strict -attime {NOW} -purpose {purpose} -CAfile ca.pem -verify_hostname galera1 -verify_ip 10.0.0.1 cert.pem"
                ),
            );
        }
        let (valid, _) =
            openssl(dir.path(), &format!("verify -attime {NOW} -verify_hostname other -CAfile ca.pem cert.pem"));
        assert!(!valid, "a foreign name");
        // The key is read, and is the certificate's.
        let public = ok(dir.path(), "pkey -in key.pem -pubout");
        assert_eq!(public, ok(dir.path(), "x509 -in cert.pem -noout -pubkey"), "{kind:?}");
        assert_eq!(evidence(&issued), KeyEvidence::Public(issued.info.public_key_sha256.clone()), "{kind:?}");
        // What we read is what openssl reads.
        let said = ok(dir.path(), "x509 -in cert.pem -noout -serial -fingerprint -sha256 -subject -nameopt compat");
        assert!(said.contains(&format!("serial={}", issued.info.serial.to_uppercase())), "{said}");
        assert!(said.contains(&issued.info.fingerprint_colons()), "{said}");
        assert!(said.contains(&issued.info.subject), "{said} {}", issued.info.subject);
    }
}

#[test]
fn rsa_keys_work_like_the_others() {
    // 2048 bits by the internal door, because unoptimised arithmetic is slow.
    let key = PrivateKey::rsa_for_tests();
    assert_eq!(public_half(key.to_pem().expose()), KeyEvidence::Public(key.public_sha256()));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.pem"), key.to_pem().expose()).unwrap();
    ok(dir.path(), "pkey -in key.pem -check -noout");
}

#[test]
fn dates_usages_and_identifiers_are_as_promised() {
    let ca = authority("cluster", Purpose::Cluster);
    assert!(ca.info.is_ca && ca.info.path_length == Some(0) && ca.info.key_cert_sign == Some(true));
    assert_eq!(ca.info.not_after, NOW + 3650 * DAY);
    let issued = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let info = &issued.info;
    assert_eq!((info.not_before, info.not_after), (NOW - 3600, NOW + 90 * DAY));
    assert_eq!(info.authority_key_id, ca.info.subject_key_id);
    assert!(info.subject_key_id.is_some() && !info.is_ca && info.server_auth && info.client_auth && info.has_usages);
    assert_eq!(info.serial.len(), 32);
    assert_eq!(info.key, KeyKind::Ecdsa(256));
    assert_eq!(info.sans.len(), 4);
    let again = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    assert_ne!(info.serial, again.info.serial);
    let mut short = request(Profile::Cluster, KeyType::EcdsaP256);
    short.lifetime = Lifetime::seconds(600);
    assert_eq!(ca.issue(&short, NOW).unwrap().info.not_before, NOW - 60);

    let client = authority("client", Purpose::Client);
    let app = client.issue(&request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap();
    assert!(!app.info.server_auth && app.info.client_auth);
    let error = ca.issue(&request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap_err().to_string();
    assert!(error.contains("can join replication"), "{error}");
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    spec.lifetime = Lifetime::days(30);
    let ca = Authority::create(&spec, NOW).unwrap();
    let issued = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    assert_eq!(issued.info.not_after, NOW + 30 * DAY);
    assert!(issued.warnings.iter().any(|warning| warning.contains("rotate the authority")), "{:?}", issued.warnings);
    let late = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW + 31 * DAY);
    assert!(matches!(late, Err(PkiError::AuthorityExpired { .. })));
}

#[test]
fn name_constraints_bind() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    spec.permitted = ["example.org", "galera1", "10.0.0.0/24", "fd00::/8"].map(|rule| rule.parse().unwrap()).to_vec();
    let ca = Authority::create(&spec, NOW).unwrap();
    std::fs::write(dir.path().join("ca.pem"), &ca.cert_pem).unwrap();
    let inside = ca.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let mut wanted = request(Profile::Cluster, KeyType::EcdsaP256);
    wanted.sans.push("db.example.com".parse().unwrap());
    let outside = ca.issue(&wanted, NOW).unwrap();
    for (issued, valid) in [(inside, true), (outside, false)] {
        std::fs::write(dir.path().join("cert.pem"), &issued.cert_pem).unwrap();
        let (accepted, said) = openssl(dir.path(), &format!("verify -attime {NOW} -CAfile ca.pem cert.pem"));
        assert_eq!(accepted, valid, "{said}");
        let key = evidence(&issued);
        let set = CertSet { cert: &issued.cert_pem, trust: &ca.cert_pem, key: &key };
        assert_eq!(verify(set, &VerifyPolicy::default(), NOW).is_ok(), valid);
    }
}

#[test]
fn what_constrains_an_authority_is_enforced() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    for (permitted, excluded, names, valid) in [
        (&["example.org"][..], &[][..], &["db.example.org", "example.org"][..], true),
        (&["example.org"], &[], &["db.example.org.evil.net"], false),
        (&["example.org"], &[], &["badexample.org"], false),
        (&["example.org", "10.0.0.0/8"], &[], &["a.example.org", "10.1.2.3"], true),
        (&["example.org", "10.0.0.0/8"], &[], &["a.example.org", "11.1.2.3"], false),
        (&["example.org", "fd00::/8"], &[], &["a.example.org", "fe80::1"], false),
        (&[], &["secret.example.org"], &["db.example.org"], true),
        (&[], &["secret.example.org"], &["db.secret.example.org"], false),
        (&[], &["192.168.0.0/16"], &["db", "192.168.7.7"], false),
        (&["example.org"], &["secret.example.org"], &["x.secret.example.org"], false),
    ] {
        let mut spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
        (spec.permitted, spec.excluded) = (rules(permitted), rules(excluded));
        let ca = Authority::create(&spec, NOW).unwrap();
        let mut wanted = request(Profile::Cluster, KeyType::EcdsaP256);
        wanted.subject = Subject::new("node", None).unwrap();
        wanted.sans = names.iter().map(|name| name.parse().unwrap()).collect();
        let issued = ca.issue(&wanted, NOW).unwrap();
        std::fs::write(d.join("ca.pem"), &ca.cert_pem).unwrap();
        std::fs::write(d.join("cert.pem"), &issued.cert_pem).unwrap();
        let (accepted, said) = openssl(d, &format!("verify -x509_strict -attime {NOW} -CAfile ca.pem cert.pem"));
        let ours = verify(
            CertSet { cert: &issued.cert_pem, trust: &ca.cert_pem, key: &evidence(&issued) },
            &VerifyPolicy::default(),
            NOW,
        );
        assert_eq!((accepted, ours.is_ok()), (valid, valid), "{permitted:?} {excluded:?} {names:?}: {said} {ours:?}");
    }

    // So many authorities between root and leaf, by the root's path length.
    let ext = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    std::fs::write(d.join("ca.ext"), ext).unwrap();
    std::fs::write(d.join("leaf.ext"), "subjectAltName=DNS:a.lan\nextendedKeyUsage=serverAuth,clientAuth\n").unwrap();
    for (length, deepest) in [(Some(0), 0), (Some(1), 1), (None, 2)] {
        let mut spec = AuthoritySpec::new("root", Purpose::Cluster).unwrap();
        spec.path_length = length;
        let root = Authority::create(&spec, now()).unwrap();
        std::fs::write(d.join("by0.pem"), &root.cert_pem).unwrap();
        std::fs::write(d.join("by0.key"), root.key.to_pem().expose()).unwrap();
        let mut between = String::new();
        for depth in 0..=2 {
            let sign = |name: &str, ext: &str| {
                let key = "ec -pkeyopt ec_paramgen_curve:P-256";
                ok(d, &format!("req -new -newkey {key} -nodes -keyout {name}.key -subj /CN={name} -out made.csr"));
                ok(
                    d,
                    &format!(
                        "x509 -req -in made.csr -CA by{depth}.pem -CAkey by{depth}.key -set_serial 7 -days 9 -extfile {ext} -out {name}.pem"
                    ),
                );
            };
            sign("leaf", "leaf.ext");
            let read = |name: &str| std::fs::read_to_string(d.join(name)).unwrap();
            let chain = format!("{}{between}", read("leaf.pem"));
            std::fs::write(d.join("chain.pem"), &chain).unwrap();
            let (accepted, said) = openssl(d, "verify -CAfile by0.pem -untrusted chain.pem leaf.pem");
            let key = public_half(&read("leaf.key"));
            let set = CertSet { cert: &chain, trust: &root.cert_pem, key: &key };
            let ours = verify(set, &VerifyPolicy::of(Profile::Cluster, &[]), now());
            let valid = depth <= deepest;
            assert_eq!((accepted, ours.is_ok()), (valid, valid), "{length:?} {depth}: {said} {ours:?}");
            sign(&format!("by{}", depth + 1), "ca.ext");
            between = format!("{}{between}", read(&format!("by{}.pem", depth + 1)));
        }
    }
}

#[test]
fn authorities_made_by_openssl_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    std::fs::write(d.join("pass"), "old one\n").unwrap();
    let cases = [
        ("rsa-pkcs8", "genrsa -out k.pem 4096", "pkcs8 -topk8 -nocrypt -in k.pem -out key.pem"),
        ("rsa-pkcs1", "genrsa -out k.pem 2048", "rsa -in k.pem -traditional -out key.pem"),
        (
            "rsa-locked",
            "genrsa -out k.pem 2048",
            "pkcs8 -topk8 -v2 aes-256-cbc -in k.pem -passout file:pass -out key.pem",
        ),
        ("ec-sec1", "ecparam -name prime256v1 -genkey -out k.pem", "ec -in k.pem -out key.pem"),
        ("ec-both", "ecparam -name prime256v1 -genkey -out key.pem", "version"),
        ("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out key.pem", "version"),
        ("ed25519", "genpkey -algorithm ED25519 -out key.pem", "version"),
    ];
    for (name, make, convert) in cases {
        ok(d, make);
        ok(d, convert);
        ok(
            d,
            "req -x509 -new -key key.pem -passin file:pass -subj /O=Old/CN=Root -days 3650 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem",
        );
        let store = store_at(&d.join(name));
        let read = |file: &str| std::fs::read_to_string(d.join(file)).unwrap();
        let start = now();
        let (view, warnings) = store
            .import(
                name,
                Purpose::Client,
                &read("ca.pem"),
                &Secret::new(read("key.pem")),
                &|| Ok(Secret::new("old one")),
                start,
            )
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(view.info.subject, "/O=Old/CN=Root");
        assert!(warnings.is_empty(), "{name}: {warnings:?}");
        // A fresh store object: the key comes back from its encrypted file.
        let issued = store_at(&d.join(name))
            .issue(name, "h", &request(Profile::Server, KeyType::EcdsaP256), start)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        std::fs::write(d.join("cert.pem"), &issued.cert_pem).unwrap();
        ok(d, "verify -x509_strict -purpose sslserver -CAfile ca.pem cert.pem");
        assert_eq!(issued.info.authority_key_id, view.info.subject_key_id);
        let again = store.import(
            name,
            Purpose::Client,
            &read("ca.pem"),
            &Secret::new(read("key.pem")),
            &|| Ok(Secret::new("old one")),
            start,
        );
        assert!(matches!(again, Err(PkiError::AuthorityExists { .. })));
    }
}

#[test]
fn what_cannot_be_an_authority_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let import = |cert: &str, key: &str| {
        let read = |file: &str| std::fs::read_to_string(d.join(file)).unwrap();
        let key = PrivateKey::from_pem(&read(key), "the key", &no_passphrase)?;
        Authority::import("x", Purpose::Client, &read(cert), key, now())
    };
    ok(d, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
    ok(d, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem");
    ok(
        d,
        "req -x509 -new -key key.pem -subj /CN=leaf -days 1 -addext basicConstraints=critical,CA:FALSE -out leaf.pem",
    );
    ok(d, "req -x509 -new -key key.pem -subj /CN=nosign -days 1 -addext keyUsage=digitalSignature -out nosign.pem");
    ok(d, "req -x509 -new -key key.pem -subj /CN=plain -days 1 -out plain.pem");
    ok(d, "genrsa -aes256 -passout pass:abcd -traditional -out old.pem 2048");
    std::fs::write(d.join("none.pem"), "no key").unwrap();
    for (cert, key, want) in [
        ("leaf.pem", "key.pem", "lacks CA:TRUE"),
        ("nosign.pem", "key.pem", "keyCertSign"),
        ("plain.pem", "other.pem", "does not belong"),
        ("plain.pem", "old.pem", "openssl pkcs8 -topk8"),
        ("plain.pem", "none.pem", "no private key in PEM form"),
        ("key.pem", "key.pem", "no certificate in PEM form"),
    ] {
        let error = import(cert, key).unwrap_err().to_string();
        assert!(error.contains(want), "{cert} {key}: {error}");
    }
    let plain = import("plain.pem", "key.pem").unwrap();
    assert!(plain.warnings.iter().any(|warning| warning.contains("keyUsage")));
}
