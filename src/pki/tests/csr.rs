//! Requests as openssl makes them, and as somebody would make them who wants more than is given.

use super::*;

/// A request made by openssl with this configuration behind its subject.
fn request_of(dir: &Path, kind: &str, subject: &str, more: &str) -> String {
    ok(dir, &format!("req -new -nodes {kind} -keyout key.pem -out req.pem -subj {subject} {more}"));
    std::fs::read_to_string(dir.join("req.pem")).unwrap()
}

#[test]
fn a_request_is_signed_as_the_profile_says() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let ca = authority("client", Purpose::Client);
    std::fs::write(at.join("ca.pem"), &ca.cert_pem).unwrap();
    for kind in ["-newkey rsa:2048", "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "-newkey ed25519"] {
        let text =
            request_of(at, kind, "/C=DE/O=Example/CN=app", "-addext subjectAltName=DNS:App.example.org,IP:10.0.0.9");
        let request = SigningRequest::read(&text, "req.pem").unwrap();
        let signed = ca.sign_request(&request, Profile::Server, Lifetime::days(30), NOW).unwrap();
        assert_eq!(signed.info.subject, "/O=Example/CN=app");
        assert_eq!(signed.info.sans, ["app.example.org", "10.0.0.9"].map(|san| san.parse().unwrap()));
        assert_eq!((signed.info.not_after, signed.info.is_ca), (NOW + 30 * DAY, false));
        assert!(signed.warnings.iter().any(|warning| warning.contains("DE in its subject")), "{:?}", signed.warnings);
        // It belongs to the key that openssl made, and leads to the authority.
        let key = public_half(&std::fs::read_to_string(at.join("key.pem")).unwrap());
        let told = matches!(key, KeyEvidence::Untold) || key.public() == Some(&signed.info.public_key_sha256);
        assert!(told, "{kind}: {key:?}");
        std::fs::write(at.join("cert.pem"), &signed.chain_pem).unwrap();
        let moment = NOW + DAY;
        ok(
            at,
            &format!("verify -x509_strict -attime {moment} -CAfile ca.pem -verify_hostname app.example.org cert.pem"),
        );
    }
}

#[test]
fn what_is_asked_too_much_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    let name = "-addext subjectAltName=DNS:a.example.org";
    let allowed: Vec<San> = vec!["b.example.org".parse().unwrap()];
    for (kind, subject, more, profile, allowed, words) in [
        (ec, "/CN=a", "-addext basicConstraints=CA:TRUE", Profile::Client, &[][..], "asks to be an authority"),
        (ec, "/CN=a", "-addext keyUsage=keyCertSign", Profile::Client, &[], "asks to be an authority"),
        (ec, "/CN=a", "-addext extendedKeyUsage=serverAuth", Profile::Client, &[], "is for clients"),
        (ec, "/CN=a", "", Profile::Server, &[], "it asks for none"),
        (ec, "/CN=a", name, Profile::Server, &allowed, "DNS:a.example.org, which was not allowed"),
        (ec, "/CN=a", "-addext subjectAltName=email:a@example.org", Profile::Client, &[], "no host name or address"),
        (ec, "/O=a", "", Profile::Client, &[], "no common name"),
        ("-newkey rsa:1024", "/CN=a", "", Profile::Client, &[], "RSA 1024"),
    ] {
        let text = request_of(at, kind, subject, more);
        let refused = SigningRequest::read(&text, "req.pem").and_then(|request| request.judge(profile, allowed));
        let why = refused.unwrap_err().to_string();
        assert!(why.starts_with("req.pem is not signed: ") && why.contains(words), "{more}: {why}");
    }
    // Somebody else's key under a request: the signature does not fit any more.
    let text = request_of(at, ec, "/CN=alice", "");
    let mut der = pem::blocks(&text).unwrap()[0].der.clone();
    let place = der.windows(5).position(|five| five == b"alice").unwrap();
    der[place..place + 5].copy_from_slice(b"malle");
    let forged = SigningRequest::read(&pem::encode("CERTIFICATE REQUEST", &der), "req.pem").unwrap_err();
    assert!(forged.to_string().contains("has not shown to hold the key"), "{forged}");
    assert!(SigningRequest::read("words", "req.pem").unwrap_err().to_string().contains("no signing request"));
    // The authority's own walls stand.
    let cluster = authority("cluster", Purpose::Cluster);
    let request = SigningRequest::read(&text, "req.pem").unwrap();
    let refused = cluster.sign_request(&request, Profile::Client, Lifetime::days(1), NOW).unwrap_err();
    assert!(refused.to_string().contains("can join replication"), "{refused}");
}
