//! A root that is elsewhere, and what it has signed, as openssl sees it.

use super::*;

struct Two {
    dir: tempfile::TempDir,
}

impl Two {
    fn new() -> Two {
        Two { dir: tempfile::tempdir().unwrap() }
    }

    fn roots(&self) -> Store {
        let storage = DirStorage::open(&self.dir.path().join("usb")).unwrap();
        Store::new(Box::new(storage), Passphrase::given(Secret::new("of the root")))
    }

    fn store(&self) -> Store {
        store_at(&self.dir.path().join("store"))
    }

    fn root(&self, name: &str, subject: &str) {
        let mut spec = AuthoritySpec::new(name, Purpose::Cluster).unwrap();
        spec.subject = Subject::new(subject, None).unwrap();
        spec.path_length = Some(1);
        spec.permitted = vec!["example.org".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        self.roots().ensure(&spec, NOW).unwrap();
    }

    fn intermediate(&self, root: &str) -> Result<(AuthorityView, Installed), PkiError> {
        let store = self.store();
        let request = store.request_intermediate("cluster", Purpose::Cluster, KeyType::EcdsaP256, None)?;
        let request = SigningRequest::read(&request, "the request")?;
        let (chain, _) = self.roots().sign_intermediate(root, &request, Lifetime::days(700), NOW)?;
        store.install_intermediate("cluster", Purpose::Cluster, &chain, NOW)
    }

    fn leaf(&self, name: &str) -> Result<Issued, PkiError> {
        let mut request = request(Profile::Cluster, KeyType::EcdsaP256);
        request.sans = vec![name.parse().unwrap()];
        self.store().issue("cluster", "galera1", &request, NOW)
    }
}

#[test]
fn what_an_intermediate_signs_leads_to_the_root() {
    let two = Two::new();
    let at = two.dir.path();
    two.root("cluster", "root one");
    let (view, made) = two.intermediate("cluster").unwrap();
    assert_eq!((made, view.info.path_length, view.info.issuer.as_str()), (Installed::Made, Some(0), "/CN=root one"));
    assert_eq!(view.info.not_after, NOW + 700 * DAY);
    // The key of the root never came into the store, and the intermediate's is encrypted there.
    let files = two.store().files().unwrap();
    let keys: Vec<_> = files.iter().filter(|(name, _)| name.ends_with("key.pem")).collect();
    assert!(keys.len() == 1 && String::from_utf8_lossy(&keys[0].1).contains("ENCRYPTED"), "{keys:?}");
    // With the root unplugged, leaves are signed: hosts get the leaf with the intermediate, and trust the root.
    std::fs::rename(at.join("usb"), at.join("drawer")).unwrap();
    let issued = two.leaf("db.example.org").unwrap();
    // A chain that breaks off before its root is refused by MariaDB's clients that have no trust file of their own.
    assert_eq!(issued.chain_pem.matches("BEGIN").count(), 3);
    let cut: String = issued.chain_pem.split_inclusive("-----END CERTIFICATE-----\n").take(2).collect();
    assert_eq!(to_root(&cut, &view.bundle_pem).unwrap(), issued.chain_pem);
    assert_eq!(to_root(&issued.cert_pem, &view.bundle_pem).unwrap(), issued.chain_pem);
    let parts: Vec<&str> = issued.chain_pem.split_inclusive("-----END CERTIFICATE-----\n").collect();
    let confused = format!("{}{}{}", parts[0], parts[2], parts[1]);
    assert_eq!(to_root(&confused, &view.bundle_pem).unwrap(), issued.chain_pem, "in any order");
    let broken = to_root(&cut, parts[1]).unwrap_err().to_string();
    assert!(broken.contains("breaks off before a self-signed authority"), "{broken}");
    let flat = authority("flat", Purpose::Cluster);
    let alone = flat.issue(&request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    assert_eq!(to_root(&alone.chain_pem, &flat.cert_pem).unwrap(), alone.cert_pem);
    assert_eq!(
        view.bundle_pem.matches("BEGIN").count(),
        2,
        "intermediate and root: state transfer looks for both there"
    );
    std::fs::write(at.join("chain.pem"), &issued.chain_pem).unwrap();
    std::fs::write(at.join("cert.pem"), &issued.cert_pem).unwrap();
    std::fs::write(at.join("ca.pem"), &view.bundle_pem).unwrap();
    let root = inspect_all(&view.bundle_pem, "x").unwrap().pop().unwrap();
    assert!(root.is_self_issued() && root.subject == "/CN=root one");
    std::fs::write(
        at.join("root.pem"),
        view.bundle_pem.rsplit("-----BEGIN").next().map(|end| format!("-----BEGIN{end}")).unwrap(),
    )
    .unwrap();
    let moment = NOW + DAY;
    for how in ["-CAfile ca.pem cert.pem", "-CAfile root.pem -untrusted chain.pem cert.pem"] {
        ok(at, &format!("verify -x509_strict -attime {moment} -verify_hostname db.example.org {how}"));
    }
    let set = CertSet { cert: &issued.chain_pem, trust: &view.bundle_pem, key: &evidence(&issued) };
    verify(set, &VerifyPolicy::of(Profile::Cluster, &[]), NOW).unwrap();
    // The root's constraints are the intermediate's, for openssl and for us.
    let text = ok(at, "x509 -in ca.pem -noout -text");
    assert!(text.contains("DNS:example.org") && text.contains("pathlen:0"), "{text}");
    let foreign = two.leaf("db.example.net").unwrap();
    let set = CertSet { cert: &foreign.chain_pem, trust: &view.bundle_pem, key: &evidence(&foreign) };
    assert!(verify(set, &VerifyPolicy::of(Profile::Cluster, &[]), NOW).is_err());
    // It cannot be rotated as if it were its own root: that would make one online.
    let refused = two.store().begin_rotation(AuthoritySpec::heir(&view).unwrap(), NOW).unwrap_err().to_string();
    assert!(refused.contains("its root is offline"), "{refused}");
}

#[test]
fn an_intermediate_is_renewed_and_a_root_is_replaced() {
    let two = Two::new();
    two.root("cluster", "root one");
    let (old, _) = two.intermediate("cluster").unwrap();
    let leaf = two.leaf("db.example.org").unwrap();
    let (new, what) = two.intermediate("cluster").unwrap();
    assert_eq!((what, new.info.common_name.as_deref()), (Installed::Renewed, Some("cluster CA intermediate G2")));
    assert_ne!(old.info.serial, new.info.serial);
    // A leaf of the old one brings its parent along: whoever has the new trust file takes it, and the other way round.
    let next = two.leaf("db.example.org").unwrap();
    for (issued, trust) in [(&leaf, &new.bundle_pem), (&next, &old.bundle_pem)] {
        let set = CertSet { cert: &issued.chain_pem, trust, key: &evidence(issued) };
        verify(set, &VerifyPolicy::of(Profile::Cluster, &[]), NOW).unwrap();
    }
    // And it is due: the old intermediate signs no more.
    let request = {
        let mut request = request(Profile::Cluster, KeyType::EcdsaP256);
        request.sans = vec!["db.example.org".parse().unwrap()];
        request
    };
    let found = Found { cert: Some(leaf.chain_pem.clone()), key: evidence(&leaf) };
    let wanted = Wanted { request: &request, authority: "cluster", signer: Signer::Known(&new.cert_pem) };
    let decision = renewal(&found, wanted, &RenewalPolicy::default(), NOW).unwrap();
    assert!(matches!(decision, Decision::Renew { reason: Reason::Issuer(_), .. }), "{decision:?}");

    // Another root: the old one signs on, and the rotation is begun.
    two.root("second", "root two");
    let (view, what) = two.intermediate("second").unwrap();
    assert_eq!((what, &view.info.serial), (Installed::Rotating, &new.info.serial));
    assert_eq!(view.bundle_pem.matches("BEGIN").count(), 4);
    let store = two.store();
    assert_eq!(store.rotation("cluster").unwrap().unwrap().phase, Phase::Trust);
    let refused = two.intermediate("second").unwrap_err().to_string();
    assert!(refused.contains("its rotation stands at `trust`"), "{refused}");
    // From here it goes as every rotation does.
    let heir = AuthoritySpec::heir(&view).unwrap();
    assert_eq!(store.begin_rotation(heir, NOW).unwrap().1.phase, Phase::Trust);
    store.advance_rotation("cluster", Phase::Sign).unwrap();
    assert_eq!(store.require("cluster").unwrap().info.issuer, "/CN=root two");
}

#[test]
fn what_is_no_answer_is_refused() {
    let two = Two::new();
    two.root("cluster", "root one");
    let store = two.store();
    let refused =
        |chain: &str| store.install_intermediate("cluster", Purpose::Cluster, chain, NOW).unwrap_err().to_string();
    assert!(refused("x").contains("no request of it waits"));
    let text = store.request_intermediate("cluster", Purpose::Cluster, KeyType::EcdsaP256, None).unwrap();
    assert_eq!(store.request_intermediate("cluster", Purpose::Cluster, KeyType::EcdsaP256, None).unwrap(), text);
    let request = SigningRequest::read(&text, "the request").unwrap();
    let (chain, _) = two.roots().sign_intermediate("cluster", &request, Lifetime::days(1), NOW).unwrap();
    let blocks: Vec<&str> = chain.split_inclusive("-----END CERTIFICATE-----\n").collect();
    assert!(refused(blocks[1]).contains("another key"), "{}", refused(blocks[1]));
    assert!(refused(blocks[0]).contains("whose certificate is not behind it"), "{}", refused(blocks[0]));
    let (short, _) = two.roots().sign_intermediate("cluster", &request, Lifetime::days(1), NOW - 3 * DAY).unwrap();
    assert!(refused(&short).contains("expired at"), "{}", refused(&short));
    assert!(store.authority("cluster").unwrap().is_none());
    // A root that allows nothing below it, and a request for less.
    let flat = AuthoritySpec::new("flat", Purpose::Cluster).unwrap();
    two.roots().ensure(&flat, NOW).unwrap();
    let error = two.roots().sign_intermediate("flat", &request, Lifetime::days(1), NOW).unwrap_err().to_string();
    assert!(error.contains("its path length is 0"), "{error}");
    let dir = tempfile::tempdir().unwrap();
    ok(dir.path(), "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out r -subj /CN=leaf");
    let leaf = SigningRequest::read(&std::fs::read_to_string(dir.path().join("r")).unwrap(), "r").unwrap();
    let error = two.roots().sign_intermediate("cluster", &leaf, Lifetime::days(1), NOW).unwrap_err().to_string();
    assert!(error.contains("does not ask to be an authority"), "{error}");
    store.install_intermediate("cluster", Purpose::Cluster, &chain, NOW).unwrap();
}
