//! Against pebble, the test server of Let's Encrypt, which Debian packages.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Request as HttpRequest;
use instant_acme::{BodyWrapper, HttpClient as _};

use super::super::super::{
    Authority, AuthoritySpec, CertSet, DirStorage, KeyType, Lifetime, Passphrase, Subject, VerifyPolicy, date, now,
    public_half, verify,
};
use super::super::IssuerSpec;
use super::*;
use crate::secret::Secret;

/// A running server that signs what is proved on `port` of 127.0.0.1, whatever the name.
pub(crate) struct Pebble {
    pub(crate) dir: tempfile::TempDir,
    /// Its directory.
    pub(crate) directory: String,
    /// Where it looks for answers.
    pub(crate) port: u16,
    children: Vec<Child>,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Pebble {
    pub(crate) fn start() -> Pebble {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let [listen, management, port, dns, unused] = [(); 5].map(|()| free());
        // Its own certificate, which has nothing to do with those that it signs.
        let authority = Authority::create(&AuthoritySpec::new("own", Purpose::Client).unwrap(), now()).unwrap();
        let own = Request {
            profile: Profile::Server,
            subject: Subject::new("localhost", None).unwrap(),
            sans: vec!["localhost".parse().unwrap()],
            key_type: KeyType::EcdsaP256,
            lifetime: Lifetime::days(1),
        };
        let own = authority.issue(&own, now()).unwrap();
        std::fs::write(path("own-ca.pem"), &authority.cert_pem).unwrap();
        std::fs::write(path("cert.pem"), &own.chain_pem).unwrap();
        std::fs::write(path("key.pem"), own.key_pem.expose()).unwrap();
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{listen}"), "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("cert.pem"), "privateKey": path("key.pem"), "httpPort": port, "tlsPort": unused,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        let start = |command: &mut Command| {
            let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            started.unwrap_or_else(|error| panic!("{command:?}: {error}; tools/prepare installs the package pebble"))
        };
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", &format!("127.0.0.1:{dns}")]);
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", &format!("127.0.0.1:{}", free())]);
        let mut server = Command::new("pebble");
        server.args(["-config", path("config.json").to_str().unwrap(), "-dnsserver", &format!("127.0.0.1:{dns}")]);
        server.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "20");
        let children = vec![start(&mut names), start(&mut server)];
        let directory = format!("https://localhost:{listen}/dir");
        let pebble = Pebble { dir, directory, port, children };
        let roots = pebble.get(&format!("https://localhost:{management}/roots/0"));
        std::fs::write(pebble.dir.path().join("roots.pem"), roots).unwrap();
        pebble
    }

    /// What lies at an address, once it answers.
    fn get(&self, address: &str) -> Vec<u8> {
        let client = Client::new(Some(&self.own())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let limit = Instant::now() + Duration::from_secs(15);
        loop {
            let request = HttpRequest::get(address).body(BodyWrapper::default()).unwrap();
            match runtime.block_on(client.request(request)) {
                Ok(mut answer) => return runtime.block_on(answer.body.into_bytes()).unwrap().to_vec(),
                Err(error) => assert!(Instant::now() < limit, "{address}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The authority of the server itself.
    pub(crate) fn own(&self) -> PathBuf {
        self.dir.path().join("own-ca.pem")
    }

    /// The authority that signs.
    pub(crate) fn roots(&self) -> PathBuf {
        self.dir.path().join("roots.pem")
    }

    /// As an inventory has it.
    pub(crate) fn spec(&self) -> serde_json::Value {
        serde_json::json!({
            "type": "acme", "directory": self.directory, "accept_terms": true, "contact": ["mailto:ops@example.org"],
            "trust": self.roots(), "directory_trust": self.own(), "listen": format!("127.0.0.1:{}", self.port),
            "purpose": "client",
        })
    }
}

fn issuer(pebble: &Pebble, change: impl Fn(&mut AcmeSpec)) -> Acme {
    let map = IssuerSpec::map(&serde_json::json!({"web": pebble.spec()})).unwrap();
    let Some(IssuerSpec::Acme(spec)) = map.get("web") else { panic!("{map:?}") };
    let mut spec = spec.clone();
    change(&mut spec);
    let storage = DirStorage::open(&pebble.dir.path().join("store")).unwrap();
    let store = Store::new(Box::new(storage), Passphrase::given(Secret::new("secret")));
    Acme::new(spec, "web", Arc::new(store)).unwrap()
}

fn request(names: &[&str], key_type: KeyType) -> Request {
    Request {
        profile: Profile::Server,
        subject: Subject::new("lb1", None).unwrap(),
        sans: names.iter().map(|name| name.parse().unwrap()).collect(),
        key_type,
        lifetime: Lifetime::days(90),
    }
}

async fn order(acme: &Acme, request: &Request) -> Result<Issued, PkiError> {
    let order =
        Order { host: "lb1", path: "/x", request, pending: None, in_force: None, trust: &acme.trust, now: now() };
    match acme.issue(order).await? {
        Answer::Issued(issued) => Ok(*issued),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_signs_what_is_proved() {
    let pebble = tokio::task::spawn_blocking(Pebble::start).await.unwrap();
    let nobody = free();
    // Nobody answers at the names: the server's own words are passed on. This comes before anybody has listened at its port:
    // a program that another test is starting keeps a copy of what is open for a moment.
    let deaf = issuer(&pebble, |spec| spec.listen = "127.0.0.1:0".parse().unwrap());
    let refused = order(&deaf, &request(&["deaf.example.org"], KeyType::EcdsaP256)).await.unwrap_err().to_string();
    assert!(refused.contains("deaf.example.org: ") && refused.contains("onnection refused"), "{refused}");
    assert!(refused.contains("port 80 of each name must reach"), "{refused}");
    let acme = issuer(&pebble, |_| {});
    for key_type in [KeyType::EcdsaP256, KeyType::Rsa3072] {
        let wanted = request(&["db.example.org", "www.example.org"], key_type);
        acme.accepts(&wanted).unwrap();
        let issued = order(&acme, &wanted).await.unwrap();
        let key = public_half(issued.key_pem.expose());
        let set = CertSet { cert: &issued.chain_pem, trust: &acme.trust, key: &key };
        let info = verify(set, &VerifyPolicy::signed(&wanted, false), now()).unwrap();
        assert!(issued.chain_pem.matches("BEGIN").count() >= 2, "an intermediate comes along");
        assert!(info.not_after > now(), "{}", date(info.not_after));
    }
    // One account, made once, its key encrypted; the next run finds it there.
    let files = acme.store.files().unwrap();
    let names: Vec<_> = files.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["account.json", "key.pem"]);
    assert!(String::from_utf8_lossy(&files[1].1).contains("BEGIN ENCRYPTED PRIVATE KEY"));
    let next = issuer(&pebble, |_| {});
    order(&next, &request(&["again.example.org"], KeyType::EcdsaP256)).await.unwrap();
    assert_eq!(next.store.files().unwrap(), files);
    // Two hosts at the same time share the listener.
    let one = request(&["one.example.org"], KeyType::EcdsaP256);
    let two = request(&["two.example.org"], KeyType::EcdsaP256);
    let (one, two) = tokio::join!(order(&next, &one), order(&acme, &two));
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");

    // The port is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = issuer(&pebble, |spec| spec.listen = taken.local_addr().unwrap());
    let refused = order(&busy, &request(&["busy.example.org"], KeyType::EcdsaP256)).await.unwrap_err().to_string();
    assert!(refused.contains("cannot listen on") && refused.contains("in use"), "{refused}");
    // A server that is not whom we trust, and one that is not there.
    let stranger = issuer(&pebble, |spec| spec.directory_trust = Some(pebble.roots()));
    let refused = order(&stranger, &request(&["x.example.org"], KeyType::EcdsaP256)).await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    let gone = issuer(&pebble, |spec| spec.directory = format!("https://localhost:{nobody}/dir"));
    let refused = order(&gone, &request(&["x.example.org"], KeyType::EcdsaP256)).await.unwrap_err().to_string();
    assert!(refused.contains("signed nothing for lb1") && refused.contains("refused"), "{refused}");
}

#[test]
fn what_acme_cannot_do_is_said_before_anybody_is_asked() {
    let good = serde_json::json!({"type": "acme", "directory": "https://a.example/dir", "accept_terms": true,
                                  "trust": "/x/ca.pem", "listen": "0.0.0.0:80"});
    let with = |name: &str, value: serde_json::Value| {
        let mut one = good.clone();
        one[name] = value;
        one
    };
    let map = |name: &str, entry: serde_json::Value| {
        IssuerSpec::map(&serde_json::json!({name: entry})).map_err(|error| error.to_string())
    };
    assert!(map("web", good.clone()).is_ok() && map("client", good.clone()).is_ok());
    for (name, entry, why) in [
        ("cluster", good.clone(), "could join replication"),
        ("web", with("purpose", "cluster".into()), "could join replication"),
        ("web", with("directory", "http://a.example/dir".into()), "https://"),
        ("web", with("accept_terms", false.into()), "terms of service"),
        ("web", with("contact", serde_json::json!(["ops@example.org"])), "no mailto:"),
        ("web", with("listen", "80".into()), "write address and port"),
        ("web", with("trust", "ca.pem".into()), "absolute path"),
        ("web", with("webroot", "/x".into()), "unknown field `webroot`"),
    ] {
        let said = map(name, entry).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
    }
}
