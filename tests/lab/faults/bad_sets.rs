//! Certificates that come from elsewhere: bad ones are refused before anything is touched, and the old ones go on being served.

use super::super::cluster::{self, assert_finished, processes, run_playbook, tail};
use super::super::lab::{Lab, lab};
use super::note;
use deploy::pki::{DirStorage, KeyType, Lifetime, Passphrase, Profile, Request, San, Store, Subject, now};
use deploy::secret::Secret;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("sets: each bad one is refused, and the old one is served", refused)];

const HOST: &str = "galera2";
/// A load balancer's name, that clients connect to.
const SERVICE: &str = "db.example";
const DAY: i64 = 86_400;

/// The site's authorities, to issue what nobody should.
struct Issuer {
    store: Store,
    folder: PathBuf,
}

/// A set as files on the controller.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Issuer {
    fn new(lab: &Lab) -> Issuer {
        let folder = cluster::store(lab);
        let storage = DirStorage::open(&folder).unwrap();
        let store = Store::new(Box::new(storage), Passphrase::given(Secret::new(cluster::PASSPHRASE)));
        Issuer { store, folder }
    }

    /// Issued as long ago, for these names.
    fn issue(&self, lab: &Lab, set: &str, names: &[&str], ago: i64, kind: KeyType) -> Files {
        let authority = authority(set);
        let profile: Profile = set.parse().unwrap();
        let sans: Vec<San> = names.iter().map(|name| name.parse().unwrap()).collect();
        let subject = Subject::new(HOST, None).unwrap();
        let request = Request { profile, subject, sans, key_type: kind, lifetime: Lifetime::days(30) };
        let issued = self.store.issue(authority, HOST, &request, now() - ago).unwrap();
        files(lab, &issued.chain_pem, issued.key_pem.expose(), &self.trust(set))
    }

    fn trust(&self, set: &str) -> String {
        self.store.require(authority(set)).unwrap().bundle_pem
    }

    /// Signed by openssl with the authority's own key: what `deploy` would not sign.
    fn sign(&self, lab: &Lab, set: &str, key: &str, usage: &str) -> Files {
        let folders = std::fs::read_dir(self.folder.join("ca").join(authority(set))).unwrap().flatten();
        let ca = folders.map(|entry| entry.path()).find(|path| path.join("key.pem").exists()).unwrap();
        let names = format!("subjectAltName=DNS:{HOST},DNS:{SERVICE}\nextendedKeyUsage={usage}\n");
        let ext = lab.file("given/ext", &names);
        let at = ext.parent().unwrap();
        openssl(at, &format!("req -new -newkey {key} -nodes -keyout made.key -subj /CN={HOST} -out made.csr"));
        let (cert, key) = (ca.join("cert.pem").display().to_string(), ca.join("key.pem").display().to_string());
        let passphrase = lab.file("passphrase", &format!("{}\n", cluster::PASSPHRASE)).display().to_string();
        openssl(
            at,
            &format!(
                "x509 -req -in made.csr -CA {cert} -CAkey {key} -passin file:{passphrase} -set_serial 0x{:x} -days 30 -extfile ext \
                 -out made.crt",
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            ),
        );
        let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
        files(lab, &read("made.crt"), &read("made.key"), &self.trust(set))
    }
}

fn authority(set: &str) -> &'static str {
    if set == "cluster" { "cluster" } else { "client" }
}

fn files(lab: &Lab, cert: &str, key: &str, ca: &str) -> Files {
    Files { cert: lab.file("given/crt", cert), key: lab.file("given/key", key), ca: lab.file("given/ca", ca) }
}

fn openssl(at: &Path, words: &str) {
    let out = Command::new("openssl").args(words.split_whitespace()).current_dir(at).output().unwrap();
    assert!(out.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&out.stderr));
}

/// An inventory in which one set of the host is given.
fn inventory(lab: &Lab, set: &str, files: &Files, more: &Value) -> String {
    let one = |name: &str| {
        let port = if name == "cluster" { json!({"port": 4567}) } else { json!({"port": 3306, "protocol": "mysql"}) };
        let mut one = json!({
            "name": name, "profile": name, "path": format!("/etc/mysql/ssl/{name}"), "group": "mysql", "owner": "root",
            "directory_mode": "0750", "key_mode": "0640", "readable_by": "mysql", "ports": [port], "reload": "galera",
        });
        if name == set {
            one["cert_src"] = json!(files.cert);
            one["key_src"] = json!(files.key);
            one["ca_src"] = json!(files.ca);
            one["dns"] = json!([HOST, SERVICE]);
            one["ip"] = json!([]);
            for (key, value) in more.as_object().unwrap() {
                one[key] = value.clone();
            }
        } else {
            one["authority"] = json!(authority(name));
        }
        one
    };
    let hosts = json!({"galera": {"hosts": {HOST: {"pki_sets": [one("cluster"), one("server")]}}}});
    lab.file("given.yml", &hosts.to_string()).display().to_string()
}

/// What is served, as another node sees it, and all that lies there.
fn served(lab: &Lab) -> [String; 3] {
    let ask = |port: &str, set: &str, how: &str| {
        let own = format!("-cert /etc/mysql/ssl/{set}/current/cert.pem -key /etc/mysql/ssl/{set}/current/key.pem");
        let look = format!("timeout 10 openssl s_client {how} -connect {HOST}:{port} {own} </dev/null 2>/dev/null");
        lab.ssh("galera1", &format!("{look} | openssl x509 -noout -serial"))
    };
    let lies = "cd /etc/mysql/ssl; find . -printf '%p %l %m %u %g\\n' | sort; cat */current/* | sha256sum";
    [ask("4567", "cluster", ""), ask("3306", "server", "-starttls mysql"), lab.ssh(HOST, lies)]
}

fn refused() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let issuer = Issuer::new(&lab);
    let before = (served(&lab), processes(&lab));
    assert!(before.0[..2].iter().all(|serial| serial.starts_with("serial=")), "{before:?}");
    let names = [HOST, SERVICE];
    for set in ["cluster", "server"] {
        let other = if set == "cluster" { "server" } else { "cluster" };
        let p256 = KeyType::EcdsaP256;
        type Make<'a> = &'a dyn Fn() -> Files;
        let good = || issuer.issue(&lab, set, &names, 0, p256);
        let cases: &[(&str, Make<'_>, Value, &str)] = &[
            ("expired", &|| issuer.issue(&lab, set, &names, 31 * DAY, p256), json!({}), "the certificate expired at"),
            ("not yet valid", &|| issuer.issue(&lab, set, &names, -DAY, p256), json!({}), "becomes valid only at"),
            (
                "wrong CA",
                &|| {
                    let good = good();
                    Files { ca: lab.file("given/ca", &issuer.trust(other)), ..good }
                },
                json!({}),
                "does not lead to any of the trusted authorities",
            ),
            (
                "another authority than the cluster trusts",
                &|| {
                    let foreign = issuer.issue(&lab, other, &names, 0, p256);
                    Files { ca: lab.file("given/ca", &issuer.trust(other)), ..foreign }
                },
                json!({}),
                "bring its authority in first",
            ),
            (
                "mismatched key",
                &|| {
                    let key = std::fs::read_to_string(good().key).unwrap();
                    let files = good();
                    Files { key: lab.file("given/key", &key), ..files }
                },
                json!({}),
                "its private key belongs to another certificate",
            ),
            ("missing clientAuth", &|| issuer.sign(&lab, set, "rsa:2048", "serverAuth"), json!({}), "lacks clientAuth"),
            (
                "missing name of the load balancer",
                &|| issuer.issue(&lab, set, &[HOST], 0, p256),
                json!({}),
                "it is not valid for DNS:db.example",
            ),
            (
                "weak key",
                &|| issuer.sign(&lab, set, "rsa:1024", "serverAuth,clientAuth"),
                json!({}),
                "its key (RSA 1024) is too weak",
            ),
            (
                "unreadable by mysql",
                &good,
                json!({"key_mode": "0600"}),
                "the user mysql could not read /etc/mysql/ssl/",
            ),
        ];
        for (case, make, more, want) in cases {
            let extra = inventory(&lab, set, &make(), more);
            let ran = run_playbook(&lab, "rotate-certs", &["-i", &extra]);
            assert_eq!(ran.code, 2, "{set}, {case}: {}", tail(&ran.all()));
            assert!(ran.all().contains(want), "{set}, {case}: {}", tail(&ran.all()));
            assert_eq!((served(&lab), processes(&lab)), before, "{set}, {case}: {}", tail(&ran.all()));
        }
        note(format!("{set}: {} bad sets refused, each with its cause", cases.len()));
    }

    // A good one goes the same way, and is served.
    let extra = inventory(&lab, "server", &issuer.issue(&lab, "server", &names, 0, KeyType::EcdsaP256), &json!({}));
    assert_finished(&run_playbook(&lab, "rotate-certs", &["-i", &extra]));
    let after = served(&lab);
    assert!(
        after[0] == before.0[0] && after[1] != before.0[1] && after[1].starts_with("serial="),
        "{after:?} {before:?}"
    );
    assert_eq!(processes(&lab), before.1);
    let again = run_playbook(&lab, "rotate-certs", &["-i", &extra]);
    assert_eq!((again.code, again.count(HOST, "changed")), (0, 0), "{}", tail(&again.all()));
    // And our own again.
    assert_finished(&run_playbook(&lab, "rotate-certs", &[]));
    assert!(served(&lab)[1] != after[1], "it has a name too many for the site");
}
