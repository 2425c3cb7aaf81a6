//! Authorities whose keys are elsewhere.

use std::process::Command;

use super::*;

/// An authority made by openssl, in a folder of the site: what some other department runs.
struct Elsewhere {
    dir: PathBuf,
}

impl Elsewhere {
    fn new(site: &Site, name: &str) -> Elsewhere {
        let dir = site.path(name);
        std::fs::create_dir(&dir).unwrap();
        let it = Elsewhere { dir };
        let extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
        it.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN={name}-root {extensions}"
        ));
        it
    }

    fn openssl(&self, args: &str) -> String {
        let out = Command::new("openssl").args(args.split_whitespace()).current_dir(&self.dir).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "openssl {args}: {said}");
        said
    }

    /// Signs a request as most would: names and purposes are taken over, dates are theirs.
    fn sign(&self, csr: &Path, extensions: &str, more: &str) -> String {
        std::fs::write(self.dir.join("ext"), format!("basicConstraints=critical,CA:FALSE\n{extensions}")).unwrap();
        let csr = csr.display();
        self.openssl(&format!(
            "x509 -req -in {csr} -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out leaf.pem {more}"
        ));
        std::fs::read_to_string(self.dir.join("leaf.pem")).unwrap()
    }
}

const NAMES: &str = "subjectAltName=DNS:galera1,DNS:galera1.example.org,IP:10.0.0.1,IP:fd00::1\n";
const BOTH: &str = "extendedKeyUsage=serverAuth,clientAuth\n";

fn with_issuers(site: &Site, check: bool, issuers: Value) -> Host {
    let mut host = site.host(check);
    host.variables.insert("pki_issuers".into(), issuers);
    host
}

fn files(site: &Site, check: bool) -> Host {
    let text = |name: &str| site.path(name).display().to_string();
    with_issuers(
        site,
        check,
        json!({"cluster": {"type": "files", "requests": text("requests"), "trust": text("corp/ca.pem")}}),
    )
}

fn judge(host: &Host, site: &Site) -> Value {
    let judged = host.task("pki_certificate", site.with("judge_only", json!(true)));
    assert!(judged.status == Status::Ok && judged.changes.is_empty(), "{judged:?}");
    judged.data["due"].clone()
}

#[test]
fn a_request_goes_out_and_what_comes_back_is_judged() {
    let site = Site::new();
    let corp = Elsewhere::new(&site, "corp");
    let other = Elsewhere::new(&site, "other");
    // The authority is looked at, not made.
    let known = files(&site, false).task("pki_ca", json!({"name": "cluster"}));
    assert_eq!((known.data["subject"].as_str(), known.changed()), (Some("/CN=corp-root"), false), "{known:?}");

    // A check makes nothing, and says what would wait.
    let check = files(&site, true).task("pki_certificate", site.arguments());
    let said = check.msg.clone().unwrap_or_default();
    assert!(check.status == Status::Failed && said.contains("1 request waits in"), "{check:?}");
    assert!(!site.path("requests").exists() && !site.path("ssl").exists(), "a check leaves no trace");

    // There is no certificate at all: the request is out, and the task has failed.
    let host = files(&site, false);
    assert_eq!(judge(&host, &site), json!(true));
    let first = host.task("pki_certificate", site.arguments());
    let said = first.msg.clone().unwrap_or_default();
    assert!(first.status == Status::Failed && said.starts_with("there is no certificate yet"), "{first:?}");
    assert!(said.contains("1 request waits in") && !first.changes.is_empty(), "{first:?}");
    let stem =
        format!("galera1.{}", site.path("ssl/cluster").display().to_string().trim_matches('/').replace('/', "_"));
    let csr = site.path(&format!("requests/{stem}.csr"));
    let text = corp.openssl(&format!("req -in {} -noout -text -verify", csr.display()));
    for words in ["O = Example, CN = galera1", "DNS:galera1.example.org", "IP Address:10.0.0.1", "TLS Web Client Auth"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    // The key waits on the host, for nobody to read; it is nowhere on the controller.
    let key = site.path("ssl/cluster/pending/key.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(key.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    let secret = std::fs::read_to_string(&key).unwrap();
    assert!(host.concealed.lock().unwrap().iter().any(|one| one.expose() == secret));
    assert!(!format!("{first:?}").contains(secret.lines().nth(1).unwrap()));

    // Nobody has signed it: the same request waits on, and nothing is due.
    assert_eq!(judge(&host, &site), json!(false));
    let before = std::fs::read(&csr).unwrap();
    std::fs::remove_file(&csr).unwrap();
    let again = files(&site, false).task("pki_certificate", site.arguments());
    assert_eq!((again.status, std::fs::read(&csr).unwrap() == before), (Status::Failed, true), "{again:?}");

    // What must not be put in place.
    let answer = csr.with_extension("pem");
    let good = corp.sign(&csr, &format!("{NAMES}{BOTH}"), "-days 30");
    let foreign_key = {
        corp.openssl(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout x.key -out x.csr -subj /CN=x",
        );
        corp.sign(&corp.dir.join("x.csr"), &format!("{NAMES}{BOTH}"), "-days 30")
    };
    let past = "-not_before 20200101000000Z -not_after 20200201000000Z";
    for (text, why) in [
        (foreign_key, "its private key belongs to another certificate"),
        (
            corp.sign(&csr, &format!("subjectAltName=DNS:galera1\n{BOTH}"), "-days 30"),
            "it is not valid for DNS:galera1.example.org",
        ),
        (
            other.sign(&csr, &format!("{NAMES}{BOTH}"), "-days 30"),
            "does not lead to any of the trusted authorities (/CN=corp-root)",
        ),
        (corp.sign(&csr, &format!("{NAMES}extendedKeyUsage=serverAuth\n"), "-days 30"), "lacks clientAuth"),
        (expired(&corp, &csr, past), "the certificate expired at 2020-02-01"),
        ("words".to_string(), "no certificate in PEM form"),
    ] {
        std::fs::write(&answer, text).unwrap();
        for check in [true, false] {
            let refused = files(&site, check).task("pki_certificate", site.arguments());
            let said = refused.msg.clone().unwrap_or_default();
            assert!(refused.status == Status::Failed && said.contains(why), "{why}: {refused:?}");
            assert!(said.contains(&answer.display().to_string()), "{said}");
            assert!(refused.changes.is_empty() && !site.path("ssl/cluster/current").exists(), "{refused:?}");
        }
    }

    // The right one, in a file with the authority before it.
    let root = std::fs::read_to_string(corp.dir.join("ca.pem")).unwrap();
    std::fs::write(&answer, format!("{root}{good}")).unwrap();
    assert_eq!(judge(&files(&site, false), &site), json!(true));
    let foreseen = files(&site, true).task("pki_certificate", site.arguments());
    let installed = files(&site, false).task("pki_certificate", site.arguments());
    assert_eq!(installed.status, Status::Ok, "{installed:?}");
    assert_eq!(shape(&foreseen.changes), shape(&installed.changes));
    assert_eq!(foreseen.data["serial"], installed.data["serial"], "what has come can be foreseen wholly");
    let current = site.path("ssl/cluster/current");
    assert_eq!(std::fs::read_to_string(current.join("cert.pem")).unwrap(), good);
    assert_eq!(std::fs::read_to_string(current.join("key.pem")).unwrap(), secret);
    assert_eq!(std::fs::read_to_string(current.join("ca.pem")).unwrap(), root);
    assert!(!key.exists() && !csr.exists() && !answer.exists(), "nothing waits any more");
    assert_eq!(std::fs::read_dir(site.path("requests/installed")).unwrap().count(), 1);
    for check in [true, false] {
        let again = files(&site, check).task("pki_certificate", site.arguments());
        assert!(again.status == Status::Ok && again.changes.is_empty(), "{again:?}");
    }

    // A renewal: what is in force stays until the answer is there, and the task goes well.
    let renewed = files(&site, false).task("pki_certificate", site.with("force", json!(true)));
    assert_eq!((renewed.status, &renewed.data["issued"]), (Status::Ok, &json!(false)), "{renewed:?}");
    assert_eq!(renewed.data["waiting"], csr.display().to_string());
    assert_eq!(std::fs::read_to_string(current.join("cert.pem")).unwrap(), good);
    // The old answer again is no answer.
    std::fs::write(&answer, &good).unwrap();
    let waits = files(&site, false).task("pki_certificate", site.with("force", json!(true)));
    assert!(waits.status == Status::Ok && waits.changes.is_empty(), "{waits:?}");
    let next = corp.sign(&csr, &format!("{NAMES}{BOTH}"), "-days 60");
    std::fs::write(&answer, &next).unwrap();
    let done = files(&site, false).task("pki_certificate", site.with("force", json!(true)));
    assert!(done.status == Status::Ok && done.data["issued"] == true && done.data["previous"].is_string(), "{done:?}");
    assert_eq!(std::fs::read_to_string(current.join("cert.pem")).unwrap(), next);

    // The authority has a successor: whom hosts trust comes first, on all of them, and only then what it has signed.
    let successor = Elsewhere::new(&site, "successor");
    let both = format!("{root}{}", std::fs::read_to_string(successor.dir.join("ca.pem")).unwrap());
    std::fs::write(corp.dir.join("ca.pem"), &both).unwrap();
    let forced = site.with("force", json!(true));
    assert_eq!(files(&site, false).task("pki_certificate", forced.clone()).status, Status::Ok);
    assert_eq!(std::fs::read_to_string(current.join("ca.pem")).unwrap(), both, "trust does not wait for the answer");
    std::fs::write(corp.dir.join("ca.pem"), &root).unwrap();
    files(&site, false).task("pki_certificate", forced.clone());
    let new = successor.sign(&csr, &format!("{NAMES}{BOTH}"), "-days 60");
    std::fs::write(&answer, &new).unwrap();
    std::fs::write(corp.dir.join("ca.pem"), &both).unwrap();
    for (cert, warned) in [(&next, true), (&new, false)] {
        let host = files(&site, false);
        let done = host.task("pki_certificate", forced.clone());
        assert!(done.status == Status::Ok && done.changed(), "{done:?}");
        assert_eq!(std::fs::read_to_string(current.join("cert.pem")).unwrap(), *cert);
        assert_eq!(host.warnings.lock().unwrap().iter().any(|one| one.contains("this run brings")), warned);
    }

    // Other names are wanted before anybody has answered: another key, another request.
    let wider = site.with("dns", json!(["galera1", "galera1.example.org", "db.example.org"]));
    assert_eq!(files(&site, false).task("pki_certificate", wider).status, Status::Ok);
    let asked = corp.openssl(&format!("req -in {} -noout -text", csr.display()));
    assert!(asked.contains("DNS:db.example.org"), "{asked}");
    let store = site.path("store");
    assert!(!store.join("issued").exists(), "the store signed nothing");
}

fn expired(corp: &Elsewhere, csr: &Path, dates: &str) -> String {
    // `openssl x509 -req` sets no dates before 3.4; `openssl ca` does.
    let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\nprivate_key=ca.key\n\
                  default_md=sha256\npolicy=p\nunique_subject=no\nrand_serial=yes\n[p]\norganizationName=optional\ncommonName=supplied\n";
    std::fs::write(corp.dir.join("ca.cnf"), config).unwrap();
    std::fs::write(corp.dir.join("index"), "").unwrap();
    std::fs::write(corp.dir.join("ext"), format!("basicConstraints=critical,CA:FALSE\n{NAMES}{BOTH}")).unwrap();
    let dates = dates.replace("-not_before", "-startdate").replace("-not_after", "-enddate");
    corp.openssl(&format!("ca -batch -notext -config ca.cnf -in {} -out old.pem -extfile ext {dates}", csr.display()));
    std::fs::read_to_string(corp.dir.join("old.pem")).unwrap()
}

#[test]
fn an_inventory_that_cannot_be_is_an_error_before_any_connection() {
    let site = Site::new();
    Elsewhere::new(&site, "corp");
    let (trust, requests) = (site.path("corp/ca.pem").display().to_string(), site.path("r").display().to_string());
    let none = site.path("corp/none.pem").display().to_string();
    let key = site.path("corp/ca.key").display().to_string();
    for (issuers, why) in [
        (json!("files"), "should be a mapping of authorities"),
        (json!({"cluster": "files"}), "should be a mapping with `type`"),
        (json!({"cluster": {"requests": requests}}), "`type` is missing"),
        (json!({"cluster": {"type": "vault", "address": "x"}}), "issuers of type vault are not built"),
        (json!({"cluster": {"type": "step_ca"}}), "issuers of type step_ca are not built"),
        (json!({"cluster": {"type": "magic"}}), "`magic` is no type of issuer"),
        (json!({"cluster": {"type": "files", "requests": requests}}), "missing field `trust`"),
        (json!({"cluster": {"type": "files", "requests": "r", "trust": trust}}), "write an absolute path"),
        (
            json!({"cluster": {"type": "files", "requests": requests, "trust": trust, "tust": 1}}),
            "unknown field `tust`",
        ),
        (json!({"cluster": {"type": "files", "requests": requests, "trust": none}}), "cannot read"),
        (json!({"cluster": {"type": "files", "requests": requests, "trust": key}}), "no certificate"),
        (
            json!({"cluster": {"type": "files", "requests": requests, "trust": trust, "purpose": "client"}}),
            "nodes trust only",
        ),
        (json!({"other": {"type": "files", "requests": requests, "trust": trust}}), "say with `purpose`"),
        (json!({"cluster": {"type": "store", "trust": trust}}), "means nothing to the store"),
    ] {
        let host = with_issuers(&site, false, issuers);
        let module = find("pki_certificate").unwrap();
        let early = super::super::preflight(module, &host, site.arguments().as_object().unwrap().clone());
        let said = early.unwrap_err().to_string();
        assert!(said.contains(why), "{why}: {said}");
    }
}
