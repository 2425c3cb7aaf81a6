//! The room against the `openssl` binary, and its decisions by tables.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::secret::Secret;

const NOW: UnixTime = 1_800_000_000;
const DAY: i64 = 86_400;

/// Runs openssl in `dir`; gives success and all it said.
fn openssl(dir: &Path, args: &str) -> (bool, String) {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), said)
}

fn ok(dir: &Path, args: &str) -> String {
    let (success, said) = openssl(dir, args);
    assert!(success, "openssl {args}: {said}");
    said
}

fn request(profile: Profile, key_type: KeyType) -> Request {
    Request {
        profile,
        subject: Subject::new("galera1", Some("Example")).unwrap(),
        sans: ["galera1", "galera1.example.org", "10.0.0.1", "fd00::1"].map(|s| s.parse().unwrap()).to_vec(),
        key_type,
        lifetime: Lifetime::days(90),
    }
}

fn authority(name: &str, purpose: Purpose) -> Authority {
    Authority::create(&AuthoritySpec::new(name, purpose).unwrap(), NOW).unwrap()
}

fn no_passphrase() -> Result<Secret, PkiError> {
    Err(PkiError::NoPassphrase { why: "none in this test".into() })
}

fn evidence(issued: &Issued) -> KeyEvidence {
    public_half(issued.key_pem.expose())
}

fn store_at(root: &Path) -> Store {
    let storage = DirStorage::open(root).unwrap();
    Store::new(Box::new(storage), Passphrase::given(Secret::new("it's \"a\" $ecret\\")))
}

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
fn the_store_keeps_authorities_encrypted_and_openssl_opens_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("state/pki");
    let store = store_at(&root);
    let spec = AuthoritySpec::new("cluster", Purpose::Cluster).unwrap();
    let (made, new) = store.ensure(&spec, NOW).unwrap();
    assert!(new);
    let (same, new) = store_at(&root).ensure(&spec, NOW + DAY).unwrap();
    assert!(!new);
    assert_eq!(made.info, same.info);
    assert_eq!(store.authorities().unwrap(), ["cluster"]);

    let folder = root.join("ca/cluster").join(&made.info.serial);
    let key = std::fs::read_to_string(folder.join("key.pem")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    for path in [&root, &folder, &folder.join("key.pem")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
    }
    std::fs::write(folder.join("pass"), "it's \"a\" $ecret\\\n").unwrap();
    let public = ok(&folder, "pkey -in key.pem -passin file:pass -pubout");
    assert_eq!(public, ok(&folder, "x509 -in cert.pem -noout -pubkey"));

    // A later run unlocks it with the passphrase, and only with that.
    let issued =
        store_at(&root).issue("cluster", "galera1", &request(Profile::Cluster, KeyType::EcdsaP256), NOW).unwrap();
    let wrong = Store::new(Box::new(DirStorage::open(&root).unwrap()), Passphrase::given(Secret::new("wrong")));
    assert!(matches!(wrong.unlock("cluster").unwrap_err(), PkiError::WrongPassphrase { .. }));
    let records = store.issued().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].host.as_str(), &records[0].info), ("galera1", &issued.info));
    for file in walk(&root) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("BEGIN PRIVATE KEY"), "{file:?}");
    }
    assert!(matches!(store.unlock("other").unwrap_err(), PkiError::NoAuthority { .. }));
    let clash = AuthoritySpec::new("cluster", Purpose::Client).unwrap();
    assert!(store.ensure(&clash, NOW).unwrap_err().to_string().contains("take another name"));
}

fn walk(root: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_check_leaves_the_store_alone() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("pki");
    let storage = OverlayStorage::over(DirStorage::open(&root).unwrap());
    let store = Store::new(Box::new(storage), Passphrase::given(Secret::new("secret")));
    assert!(!store.keeps());
    let (view, new) = store.ensure(&AuthoritySpec::new("client", Purpose::Client).unwrap(), NOW).unwrap();
    assert!(new && view.info.is_ca);
    store.issue("client", "app", &request(Profile::Client, KeyType::EcdsaP256), NOW).unwrap();
    assert_eq!(store.issued().unwrap().len(), 1);
    assert!(!root.exists());
}

#[test]
fn a_store_that_others_can_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| DirStorage::open(path).map(|_| ()).map_err(|error| error.to_string());
    let root = dir.path().join("pki");
    std::fs::create_dir(&root).unwrap();
    for (mode, good) in [(0o755, false), (0o701, false), (0o770, false), (0o700, true)] {
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(open(&root).is_ok(), good, "{mode:o}");
    }
    // In a work tree only where git ignores it.
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(&tree).status().unwrap().success());
    let inside = tree.join("deep/pki");
    assert!(open(&inside).unwrap_err().contains("does not ignore it"));
    std::os::unix::fs::symlink(&tree, dir.path().join("link")).unwrap();
    assert!(open(&dir.path().join("link/deep/pki")).is_err(), "through a link");
    std::fs::write(tree.join(".gitignore"), "deep/\n").unwrap();
    assert_eq!(open(&inside), Ok(()));
    // A key that others can read is refused by itself.
    let storage = DirStorage::open(&root).unwrap();
    storage.write("ca/x/1/key.pem", b"key", 0o600).unwrap();
    assert_eq!(storage.read("ca/x/1/key.pem").unwrap().as_deref(), Some(b"key".as_slice()));
    std::fs::set_permissions(root.join("ca/x/1/key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(storage.read("ca/x/1/key.pem").unwrap_err().to_string().contains("0644"));
    assert!(storage.write("../outside", b"", 0o600).is_err());
}

#[test]
fn one_run_at_a_time_writes() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        || DirStorage::open(&dir.path().join("pki")).unwrap().with_patience(std::time::Duration::from_millis(60));
    let held = open().lock().unwrap();
    let refused = open().lock().err().unwrap().to_string();
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    drop(held);
    assert!(open().lock().is_ok());
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
        let policy = VerifyPolicy { server_auth: true, client_auth: true, names: vec!["a.lan".parse().unwrap()] };
        let (cert, trust) = (read(&format!("{name}.pem")), read("ca.pem"));
        verify(CertSet { cert: &cert, trust: &trust, key: &key }, &policy, now())
            .map(|_| String::new())
            .unwrap_or_else(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))
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
fn renewal_by_table() {
    let ca = authority("cluster", Purpose::Cluster);
    let other = authority("cluster", Purpose::Cluster);
    let base = request(Profile::Cluster, KeyType::EcdsaP256);
    let issued = ca.issue(&base, NOW).unwrap();
    let found = Found { cert: Some(issued.chain_pem.clone()), key: evidence(&issued) };
    let plain = RenewalPolicy::default();
    let decide = |found: &Found, request: &Request, ca: &Authority, policy: &RenewalPolicy, now| {
        let wanted = Wanted { request, authority: "cluster", authority_pem: &ca.cert_pem };
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
    let rare = RenewalPolicy { next_run: Some(Lifetime::days(60)), ..plain };
    assert_eq!(at(29, &rare), "keep 60");
    assert!(at(30, &rare).starts_with("it would expire before the next scheduled run"));
    assert_eq!(at(1, &RenewalPolicy { force: true, ..plain }), "renewal is forced");
    assert!(at(3651, &plain).contains("error: the authority `cluster` expired"));

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
