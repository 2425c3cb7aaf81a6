//! Certificates that come from elsewhere.

use super::*;
use crate::pki::{Authority, AuthoritySpec, Issued, KeyType, Lifetime, Profile, Purpose, Request, Subject, now};

/// An authority that is not ours, and what it issues into files.
struct Elsewhere(Authority);

impl Elsewhere {
    fn new(name: &str, began: i64) -> Elsewhere {
        Elsewhere(Authority::create(&AuthoritySpec::new(name, Purpose::Cluster).unwrap(), now() - began).unwrap())
    }

    fn issue(&self, names: &[&str], began: i64) -> Issued {
        let request = Request {
            profile: Profile::Cluster,
            subject: Subject::new("galera1", None).unwrap(),
            sans: names.iter().map(|name| name.parse().unwrap()).collect(),
            key_type: KeyType::EcdsaP256,
            lifetime: Lifetime::days(10),
        };
        self.0.issue(&request, now() - began).unwrap()
    }
}

/// The files of a set on the controller, and the task that gives them.
fn given(site: &Site, cert: &str, key: &str, ca: &str) -> Value {
    for (name, text) in [("in.crt", cert), ("in.key", key), ("in.ca", ca)] {
        std::fs::write(site.path(name), text).unwrap();
    }
    let path = |name: &str| site.path(name).display().to_string();
    json!({
        "profile": "cluster", "path": path("ssl/cluster"), "dns": ["galera1", "lb.example"], "key_mode": "0600",
        "cert_src": path("in.crt"), "key_src": path("in.key"), "ca_src": path("in.ca"), "combined_name": "both.pem",
    })
}

#[test]
fn a_given_set_goes_live_and_a_bad_one_does_not() {
    let site = Site::new();
    let ours = Elsewhere::new("corporate", 86_400 * 30);
    let other = Elsewhere::new("other", 86_400 * 30);
    let names = ["galera1", "lb.example"];
    let good = ours.issue(&names, 0);
    let task = |set: &Issued, ca: &Elsewhere| given(&site, &set.chain_pem, set.key_pem.expose(), &ca.0.cert_pem);
    let arguments = task(&good, &ours);
    let foreseen = site.host(true).task("pki_certificate", arguments.clone());
    assert!(foreseen.status == Status::Ok && !site.path("ssl").exists(), "{foreseen:?}");
    let live = site.host(false);
    let made = live.task("pki_certificate", arguments.clone());
    assert_eq!((made.status, shape(&made.changes)), (Status::Ok, shape(&foreseen.changes)), "{made:?}");
    assert_eq!((&made.data["serial"], &made.data["issued"]), (&json!(good.info.serial), &json!(false)));
    let current = site.path("ssl/cluster/current");
    let name = std::fs::read_link(&current).unwrap();
    assert_eq!(name.to_str().unwrap(), &good.info.fingerprint[..32]);
    let both = std::fs::read_to_string(current.join("both.pem")).unwrap();
    assert_eq!(both, format!("{}{}", good.chain_pem, good.key_pem.expose()));
    assert_eq!(std::fs::metadata(current.join("both.pem")).unwrap().mode() & 0o7777, 0o600);
    let line = good.key_pem.expose().lines().nth(1).unwrap().to_string();
    assert!(!format!("{made:?}").contains(&line) && !serde_json::to_string(&made).unwrap().contains(&line));
    assert!(!live.task("pki_certificate", arguments).changed(), "the second run does nothing");

    let before = sets(&site);
    let strange = other.issue(&names, 0);
    let weak = ["BEGIN PRIVATE KEY", "nothing"].map(String::from);
    for (cert, key, ca, want) in [
        (&ours.issue(&names, 86_400 * 11).chain_pem, None, &ours, "the certificate expired at"),
        (&ours.issue(&names, -86_400).chain_pem, None, &ours, "becomes valid only at"),
        (&strange.chain_pem, Some(strange.key_pem.expose()), &ours, "does not lead to any of the trusted authorities"),
        (&strange.chain_pem, Some(strange.key_pem.expose()), &other, "bring its authority in first"),
        (&good.chain_pem, Some(strange.key_pem.expose()), &ours, "belongs to another certificate"),
        (&ours.issue(&["galera1"], 0).chain_pem, None, &ours, "it is not valid for DNS:lb.example"),
        (&good.chain_pem, Some(weak[0].as_str()), &ours, "its private key cannot be used"),
        (&weak[1], None, &ours, "there is no certificate in PEM form"),
    ] {
        let key = key.unwrap_or(good.key_pem.expose());
        for host in [site.host(true), site.host(false)] {
            let refused = host.task("pki_certificate", given(&site, cert, key, &ca.0.cert_pem));
            let msg = refused.msg.clone().unwrap_or_default();
            assert!(refused.status == Status::Failed && msg.contains(want), "{want}: {refused:?}");
            assert_eq!((sets(&site), std::fs::read_link(&current).unwrap()), (before.clone(), name.clone()), "{want}");
        }
    }

    // Its authority comes in first; then the certificate; then the one before again, without writing over its set.
    let bundle = format!("{}{}", ours.0.cert_pem, other.0.cert_pem);
    let trusting = given(&site, &good.chain_pem, good.key_pem.expose(), &bundle);
    assert!(live.task("pki_certificate", trusting.clone()).changed());
    assert!(std::fs::read_to_string(current.join("both.pem")).unwrap() == both, "around the same pair");
    let next = given(&site, &strange.chain_pem, strange.key_pem.expose(), &bundle);
    let changed = live.task("pki_certificate", next);
    assert_eq!(changed.data["serial"], strange.info.serial, "{changed:?}");
    let trusting = given(&site, &good.chain_pem, good.key_pem.expose(), &bundle);
    let back = live.task("pki_certificate", trusting.clone());
    assert!(back.changed() && back.status == Status::Ok, "{back:?}");
    std::fs::write(current.join("key.pem"), strange.key_pem.expose()).unwrap();
    let damaged = std::fs::read_link(&current).unwrap();
    let mended = live.task("pki_certificate", trusting);
    assert_eq!(mended.data["reason"], "its private key is not the one that was given");
    assert!(std::fs::read_link(&current).unwrap() != damaged && sets(&site).len() == 3, "{:?}", sets(&site));
}

/// Root and intermediate by openssl, and a leaf of the latter.
#[test]
fn a_chain_without_its_root_is_completed() {
    let site = Site::new();
    let dir = site.path("corp");
    std::fs::create_dir(&dir).unwrap();
    let script = "set -e; k='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $k -keyout root.key -out root.pem -subj /CN=root -days 30
        openssl req $k -keyout int.key -out int.csr -subj /CN=intermediate
        printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign' > int.cnf
        openssl x509 -req -in int.csr -CA root.pem -CAkey root.key -days 20 -extfile int.cnf -out int.pem
        openssl req $k -keyout leaf.key -out leaf.csr -subj /CN=galera1
        printf 'subjectAltName=DNS:galera1,DNS:lb.example\nextendedKeyUsage=serverAuth,clientAuth' > leaf.cnf
        openssl x509 -req -in leaf.csr -CA int.pem -CAkey int.key -days 10 -extfile leaf.cnf -out leaf.pem";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(&dir).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let (root, between, leaf, key) = (read("root.pem"), read("int.pem"), read("leaf.pem"), read("leaf.key"));
    let live = site.host(false);
    let arguments = given(&site, &format!("{leaf}{between}"), &key, &root);
    let done = live.task("pki_certificate", arguments.clone());
    assert_eq!(done.status, Status::Ok, "{done:?}");
    let cert = site.path("ssl/cluster/current/cert.pem");
    let whole = std::fs::read_to_string(&cert).unwrap();
    assert_eq!(whole.matches("BEGIN").count(), 3, "leaf, intermediate and root: {whole}");
    assert!(!live.task("pki_certificate", arguments.clone()).changed());
    // One that was put in place without its end gets it.
    std::fs::write(&cert, format!("{leaf}{between}")).unwrap();
    let mended = live.task("pki_certificate", arguments);
    assert_eq!((mended.status, &mended.data["reason"]), (Status::Ok, &json!("the chain behind it is another one")));
    assert_eq!(std::fs::read_to_string(&cert).unwrap(), whole);
}

#[test]
fn half_a_given_set_is_no_task() {
    let site = Site::new();
    let whole = given(&site, "", "", "");
    for (change, want) in [
        (("key_src", Value::Null), "make a set together"),
        (("ca", json!("cluster")), "leave one of them out"),
        (("combined_name", json!("key.pem")), "need different file names"),
    ] {
        let mut arguments = whole.clone();
        match change.1 {
            Value::Null => drop(arguments.as_object_mut().unwrap().remove(change.0)),
            value => arguments[change.0] = value,
        }
        let module = find("pki_certificate").unwrap();
        let early = super::super::preflight(module, &site.host(true), arguments.as_object().unwrap().clone());
        assert!(early.unwrap_err().to_string().contains(want), "{want}");
    }
    let none = json!({"profile": "cluster", "path": "/x", "dns": ["a"]});
    let module = find("pki_certificate").unwrap();
    let early = super::super::preflight(module, &site.host(true), none.as_object().unwrap().clone());
    assert!(early.unwrap_err().to_string().contains("say with `ca` which authority signs"));
}
