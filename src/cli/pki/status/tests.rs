//! What is found, in every form; and a port that is asked for real.

use super::report::{AuthorityLine, HostLine, PortLine, Report, SetLine};
use super::*;
use crate::pki::probe;
use crate::pki::{
    AuthoritySpec, AuthorityView, CertInfo, DirStorage, Finding, Passphrase, Port, PortReport, Protocol, Purpose,
    SetReport, SetSpec, Store, inspect,
};

const NOW: UnixTime = 1_800_000_000;
const DAY: i64 = 86_400;

fn view() -> AuthorityView {
    let dir = tempfile::tempdir().unwrap();
    let storage = DirStorage::open(&dir.path().join("pki")).unwrap();
    let store = Store::new(Box::new(storage), Passphrase::given(crate::secret::Secret::new("x")));
    let mut view = store.ensure(&AuthoritySpec::new("cluster", Purpose::Cluster).unwrap(), NOW).unwrap().0;
    view.info.serial = "5e7f00112233445566778899aabbccdd".into();
    view
}

fn info(view: &AuthorityView, serial: &str, end: i64) -> CertInfo {
    CertInfo {
        subject: "/CN=galera1".into(),
        issuer: view.info.subject.clone(),
        serial: serial.repeat(8),
        not_before: NOW - 3600,
        not_after: NOW + end * DAY,
        sans: ["galera1", "10.0.0.1"].map(|san| san.parse().unwrap()).to_vec(),
        fingerprint: serial.into(),
        is_ca: false,
        ..view.info.clone()
    }
}

fn report() -> Report {
    let view = view();
    let port = Port { port: 3306, protocol: Protocol::Mysql };
    let spec = |name: &str, profile: &str| {
        let set = serde_json::json!([{"name": name, "authority": "cluster", "profile": profile, "path": "/s"}]);
        SetSpec::list(&set).unwrap().remove(0)
    };
    let line = |name: &str, file: &str, served: Option<&str>, from: &str, findings: Vec<Finding>| SetLine {
        spec: spec(name, "server"),
        report: SetReport {
            info: Some(info(&view, file, 80)),
            renew_at: Some(NOW + 50 * DAY),
            trusts: vec![view.info.subject.clone()],
            findings: Vec::new(),
        },
        ports: vec![PortLine {
            port,
            from: from.into(),
            report: PortReport { info: served.map(|serial| info(&view, serial, 20)), findings },
        }],
    };
    let finding = |state, why: &str| Finding { state, why: why.into() };
    let ok = line("server", "11aa", Some("11aa"), "galera2", Vec::new());
    let stale = vec![finding(
        State::Warning,
        "port 3306 serves 22bb and the file holds 33cc: it was replaced and not reloaded",
    )];
    let stale = line("server", "33cc", Some("22bb"), "galera3", stale);
    let silent = vec![finding(State::Unknown, "what port 3306 serves is not known: \"refused\" <now>")];
    let silent = line("server", "44dd", None, "galera1", silent);
    let missing = SetLine {
        spec: spec("application", "client"),
        report: SetReport {
            findings: vec![finding(State::Critical, "there is no certificate in /s/current")],
            ..SetReport::default()
        },
        ports: Vec::new(),
    };
    let host = |host: &str, sets| HostLine { host: host.into(), sets };
    Report {
        now: NOW,
        store: Some("/store".into()),
        authorities: vec![AuthorityLine { view: view.clone(), findings: Vec::new() }],
        hosts: vec![
            host("galera1", Ok(vec![ok])),
            host("galera2", Ok(vec![stale, missing])),
            host("galera3", Ok(vec![silent])),
            host("galera4", Err("no route to host".into())),
        ],
        store_trouble: None,
    }
}

#[test]
fn the_table() {
    insta::assert_snapshot!(table::text(&report()), @r#"
    store /store
      STATE  AUTHORITY  FOR      SUBJECT         SERIAL        DAYS  UNTIL
      ok     cluster    cluster  /CN=cluster CA  5e7f00112233  3650  2037-01-12 08:00 UTC

    hosts
      STATE     HOST     SET          PORT        FILE          SERVED        SEEN FROM  DAYS  RENEWAL DUE           ISSUER          TRUSTS          NAMES
      ok        galera1  server       3306/mysql  11aa11aa11aa  11aa11aa11aa  galera2    80    2027-03-06 08:00 UTC  /CN=cluster CA  /CN=cluster CA  DNS:galera1 IP:10.0.0.1
      WARNING   galera2  server       3306/mysql  33cc33cc33cc  22bb22bb22bb  galera3    80    2027-03-06 08:00 UTC  /CN=cluster CA  /CN=cluster CA  DNS:galera1 IP:10.0.0.1
      CRITICAL  galera2  application  -           -             -             -          -     -                     -               -               -
      UNKNOWN   galera3  server       3306/mysql  44dd44dd44dd  ?             galera1    80    2027-03-06 08:00 UTC  /CN=cluster CA  /CN=cluster CA  DNS:galera1 IP:10.0.0.1
      UNKNOWN   galera4  -            -           -             -             -          -     -                     -               -               -

    why
      WARNING: galera2, server, 3306: port 3306 serves 22bb and the file holds 33cc: it was replaced and not reloaded
      CRITICAL: galera2, application: there is no certificate in /s/current
      UNKNOWN: galera3, server, 3306: what port 3306 serves is not known: "refused" <now>
      UNKNOWN: galera4: no route to host

    CRITICAL: 4 hosts: 1 ok, 1 warning, 1 critical, 2 unknown, the first certificate ends in 80 days
    "#);
}

#[test]
fn the_worst_decides_and_what_is_unseen_is_worse_than_a_warning() {
    let mut report = report();
    assert_eq!(report.state(), State::Critical);
    report.hosts[1].sets.as_mut().unwrap().remove(1);
    assert_eq!((report.state(), report.state().code()), (State::Unknown, 3));
    report.hosts.truncate(2);
    assert_eq!((report.state(), report.state().code()), (State::Warning, 1));
    report.hosts.truncate(1);
    assert_eq!((report.state(), report.state().code()), (State::Ok, 0));
}

#[test]
fn metrics_are_as_prometheus_reads_them() {
    let text = metrics::text(&report());
    for line in [
        "# TYPE deploy_pki_state gauge\ndeploy_pki_state 2\n",
        "deploy_pki_host_seen{host=\"galera4\"} 0\n",
        "deploy_pki_served_is_file{host=\"galera1\",set=\"server\",port=\"3306\"} 1\n",
        "deploy_pki_served_is_file{host=\"galera2\",set=\"server\",port=\"3306\"} 0\n",
        "deploy_pki_set_state{host=\"galera2\",set=\"application\"} 2\n",
        &format!("deploy_pki_looked_at_seconds {NOW}\n"),
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = names.clone();
    once.dedup();
    assert_eq!(names, once, "a family stands in one place");
}

#[test]
fn the_page_is_whole_and_escapes() {
    let page = html::text(&report());
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</body></html>\n"));
    assert!(page.contains("&quot;refused&quot; &lt;now&gt;") && !page.contains("<now>"));
    assert!(page.contains("prefers-color-scheme:dark"));
    for foreign in ["http://", "https://", "<script", "<link", "src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

#[test]
fn json_has_all_of_it() {
    let document = report().json();
    assert_eq!(document["state"], "critical");
    assert_eq!(document["hosts"][1]["sets"][0]["ports"][0]["state"], "warning");
    assert_eq!(document["hosts"][1]["sets"][0]["file"]["days_left"], 80);
    assert_eq!(document["hosts"][3]["error"], "no route to host");
}

#[test]
fn a_file_is_replaced_in_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pki.prom");
    for text in ["old", "new"] {
        replace(&path, text.as_bytes()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap()) & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(replace(&dir.path().join("no/where"), b"x").is_err());
}

/// openssl serves a chain, under either version of TLS; what we see is that, leaf first.
#[test]
fn what_a_port_serves_is_seen_whoever_signed_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "3"])
        .args(["-subj", "/CN=served", "-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let own = inspect(&std::fs::read_to_string(path("cert.pem")).unwrap(), "own").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // -Verify: a server that ends the handshake because we show no certificate, as replication does.
    for version in [&["-tls1_2"][..], &["-tls1_3"], &["-tls1_2", "-Verify", "1"], &["-tls1_3", "-Verify", "1"]] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut server = std::process::Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &free.to_string(), "-cert", &path("cert.pem")])
            .args(["-key", &path("key.pem")])
            .args(version)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let chain = runtime.block_on(async {
            for _ in 0..200 {
                if let Ok(stream) = tokio::net::TcpStream::connect(free).await {
                    return probe::ask(stream, Protocol::Tls).await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            }
            Err("the server does not start".into())
        });
        let _ = server.kill();
        let _ = server.wait();
        let seen = inspect(&chain.unwrap_or_else(|why| panic!("{version:?}: {why}")), "seen").unwrap();
        assert_eq!(seen.fingerprint, own.fingerprint, "{version:?}");
    }
}

#[test]
fn a_server_that_says_no_is_quoted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refusal = b"Host 'x' is blocked because of many connection errors";
    let blocked = [&[refusal.len() as u8 + 3, 0, 0, 0, 0xff, 0x69, 0x04][..], refusal].concat();
    // Version 10, "x", thread, challenge, zero, able: without and with too little behind it.
    let plain = [&[20, 0, 0, 0, 10, b'x', 0, 1, 0, 0, 0][..], &[1; 8], &[0, 0, 0, 0, 0][..]].concat();
    for (said, words) in [
        (blocked.as_slice(), "is blocked because of many connection errors"),
        (&plain, "has TLS switched off"),
        (&[3, 0, 0, 0, 10, b'x', 0], "no database server"),
        (&[255, 255, 255, 0], "no database server"),
    ] {
        let stream = tokio_test_stream(said);
        let why = runtime.block_on(probe::ask(stream, Protocol::Mysql)).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

/// A peer that says this and listens to nothing.
fn tokio_test_stream(said: &[u8]) -> impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {
    tokio::io::join(std::io::Cursor::new(said.to_vec()), tokio::io::sink())
}
