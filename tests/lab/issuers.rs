//! Certificates by every issuer that a host can have one of, looked at with openssl on the host.

use super::cluster::PASSPHRASE;
use super::lab::{Lab, Ran, lab};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("issuers: an offline root, files and ACME put a set on a host", issuers)];

/// Ends what was started for the scenario.
struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn openssl(at: &Path, args: &str) {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(at).output().unwrap();
    assert!(out.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A certificate of the authority `ca` in this folder.
fn sign(at: &Path, csr: &str, names: &str, out: &str) {
    let text =
        format!("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={names}\n");
    std::fs::write(at.join("ext"), text).unwrap();
    openssl(
        at,
        &format!("x509 -req -in {csr} -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -days 30 -out {out}"),
    );
}

fn set(lab: &Lab, authority: &str, issuers: &str) -> Ran {
    let store = lab.file("issuers/store/.keep", "").parent().unwrap().to_path_buf();
    let passphrase = lab.file("issuers/passphrase", PASSPHRASE);
    for (path, mode) in [(&store, 0o700), (&passphrase, 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let (store, passphrase) = (store.display(), passphrase.display());
    lab.play(
        &format!(
            "- hosts: box1\n  become: true\n  gather_facts: false\n  vars:\n    pki_store: {store}\n    pki_passphrase_file: \
             {passphrase}\n    pki_issuers: {{{issuers}}}\n  tasks:\n    - pki_certificate: {{ca: {authority}, profile: server, path: \
             /etc/issued/{authority}, dns: [db.example.org]}}\n"
        ),
        &[],
    )
}

/// What a client is shown by a server that uses the set, judged by its own `ca.pem`.
fn served(lab: &Lab, authority: &str) -> String {
    let at = format!("/etc/issued/{authority}/current");
    lab.ssh(
        "box1",
        &format!(
            "openssl s_server -accept 4433 -cert {at}/cert.pem -cert_chain {at}/cert.pem -key {at}/key.pem -quiet >/dev/null 2>&1 & \
             sleep 0.5; openssl s_client -connect 127.0.0.1:4433 -CAfile {at}/ca.pem -verify_hostname db.example.org \
             -verify_return_error </dev/null 2>&1 | grep -a -E 'Verif|^ *[0-9] s:'; kill %1"
        ),
    )
}

fn issuers() {
    let lab = lab();
    lab.reset("box1");
    let work = lab.file("issuers/.keep", "").parent().unwrap().to_path_buf();

    // A root that is unplugged before anything is issued.
    let passphrase = lab.file("issuers/passphrase", PASSPHRASE);
    let root_passphrase = lab.file("issuers/root-passphrase", "another one");
    let store = lab.file("issuers/store/.keep", "").parent().unwrap().to_path_buf();
    for (path, mode) in [(&store, 0o700), (&passphrase, 0o600), (&root_passphrase, 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut init = Command::new(env!("CARGO_BIN_EXE_deploy"));
    init.args(["pki", "--store"]).arg(&store).arg("--passphrase-file").arg(&passphrase);
    init.args(["init", "--offline-root"]).arg(work.join("usb")).arg("--root-passphrase-file").arg(&root_passphrase);
    let made = Ran::of(init.stdin(Stdio::null()).output().unwrap());
    assert_eq!(made.code, 0, "{}", made.all());
    std::fs::remove_dir_all(work.join("usb")).unwrap();
    let ran = set(&lab, "client", "");
    assert_eq!(ran.code, 0, "{}", ran.all());
    let seen = served(&lab, "client");
    assert!(seen.contains("Verification: OK") && seen.contains("client root CA"), "{seen}");

    // Somebody else signs: a request goes out, a bad answer is refused, the good one is put in force.
    let extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
    openssl(
        &work,
        &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 99 -subj /CN=corp {extensions}"
        ),
    );
    let files =
        format!("corp: {{type: files, purpose: client, requests: {0}/requests, trust: {0}/ca.pem}}", work.display());
    let asked = set(&lab, "corp", &files);
    assert!(asked.code != 0 && asked.all().contains("1 request waits in"), "{}", asked.all());
    assert_eq!(
        lab.ssh("box1", "stat -c %a:%U /etc/issued/corp/pending/key.pem; ls /etc/issued/corp"),
        "600:root\npending"
    );
    let csr = "requests/box1.etc_issued_corp.csr";
    sign(&work, csr, "DNS:other.example.org", "requests/box1.etc_issued_corp.pem");
    let refused = set(&lab, "corp", &files);
    assert!(refused.code != 0 && refused.all().contains("not valid for DNS:db.example.org"), "{}", refused.all());
    sign(&work, csr, "DNS:db.example.org", "requests/box1.etc_issued_corp.pem");
    let done = set(&lab, "corp", &files);
    assert_eq!(done.code, 0, "{}", done.all());
    let seen = served(&lab, "corp");
    assert!(seen.contains("Verification: OK"), "{seen}");
    assert_eq!(lab.ssh("box1", "ls /etc/issued/corp | grep -c pending"), "0");

    // A server is asked by ACME.
    let (_servers, acme) = pebble(&work);
    let ran = set(&lab, "web", &acme);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let seen = served(&lab, "web");
    assert!(seen.contains("Verification: OK") && seen.contains("Pebble"), "{seen}");
    let again = set(&lab, "web", &acme);
    assert_eq!((again.code, again.count("box1", "changed")), (0, 0), "{}", again.all());
}

/// Pebble on this machine, and what the inventory says about it.
fn pebble(work: &Path) -> (Servers, String) {
    let [listen, management, answers, names, other, unused] = [14100, 14101, 14102, 14103, 14104, 14105];
    openssl(
        work,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.key -out own.csr -subj /CN=localhost",
    );
    sign(work, "own.csr", "DNS:localhost", "own.pem");
    let at = work.display();
    let config = format!(
        "{{\"pebble\": {{\"listenAddress\": \"127.0.0.1:{listen}\", \"managementListenAddress\": \"127.0.0.1:{management}\", \
         \"certificate\": \"{at}/own.pem\", \"privateKey\": \"{at}/own.key\", \"httpPort\": {answers}, \"tlsPort\": {unused}}}}}"
    );
    std::fs::write(work.join("pebble.json"), config).unwrap();
    let start = |command: &mut Command| {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tools/prepare installs the package pebble"))
    };
    let mut resolver = Command::new("pebble-challtestsrv");
    resolver.args(["-defaultIPv6", "", "-dns01", &format!("127.0.0.1:{names}"), "-http01", "", "-https01", ""]);
    resolver.args(["-tlsalpn01", "", "-management", &format!("127.0.0.1:{other}")]);
    let mut server = Command::new("pebble");
    server.arg("-config").arg(work.join("pebble.json")).args(["-dnsserver", &format!("127.0.0.1:{names}")]);
    let servers = Servers(vec![start(&mut resolver), start(server.env("PEBBLE_VA_NOSLEEP", "1"))]);
    // Its root is another one each time; nothing but its management port tells it.
    let limit = Instant::now() + Duration::from_secs(15);
    loop {
        let ask =
            "printf 'GET /roots/0 HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -connect 127.0.0.1:14101 2>/dev/null";
        let told = Command::new("sh").args(["-c", ask]).output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        if let Some(at) = text.find("-----BEGIN") {
            std::fs::write(work.join("roots.pem"), &text[at..]).unwrap();
            break;
        }
        assert!(Instant::now() < limit, "pebble does not answer: {text}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let acme = format!(
        "web: {{type: acme, purpose: client, directory: 'https://localhost:{listen}/dir', accept_terms: true, trust: {at}/roots.pem, \
         directory_trust: {at}/ca.pem, listen: '127.0.0.1:{answers}'}}"
    );
    (servers, acme)
}
