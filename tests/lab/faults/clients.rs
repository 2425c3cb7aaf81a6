//! Who takes our chains: openssl, MariaDB's client, PHP as passbolt configures it, and rustls, with every kind of key on both
//! sides.

use super::super::cluster::{
    self, NODES, PASSWORD, Writer, assert_finished, assert_whole, processes, run_playbook, tail,
};
use super::super::lab::{Lab, lab, script};
use super::note;
use deploy::pki::pem;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("sets: who takes which key, on both sides", taken)];

/// Where the applications run.
const CLIENT: &str = "box1";
/// Each node's key is of another kind.
const KINDS: [&str; 3] = ["ecdsa_p256", "ed25519", "rsa_3072"];
/// A name that leads to a node and is not in its certificate.
const STRANGER: &str = "db.elsewhere";

fn taken() {
    let lab = lab();
    lab.reset(CLIENT);
    let hosts: Vec<String> =
        NODES.iter().zip(KINDS).map(|(host, kind)| format!("    {host}: {{pki_key_type: {kind}}}\n")).collect();
    let plain = lab.file("plain.yml", &format!("clients:\n  hosts: {{{CLIENT}: {{}}}}\n")).display().to_string();
    let text = format!("galera:\n  hosts:\n{}clients:\n  hosts: {{{CLIENT}: {{}}}}\n", hosts.concat());
    let mixed = lab.file("mixed.yml", &text).display().to_string();
    cluster::up(&lab, &["-i", &plain]);
    // The site does not change a key's kind under a running node, and says who does.
    let site = cluster::deploy_site(&lab, &["-i", &mixed]);
    assert!(site.code == 2 && site.all().contains("rotate-certs.yml does both"), "{}", tail(&site.all()));
    let before = processes(&lab);
    let writer = Writer::start(&lab, "sets_kinds");
    assert_finished(&run_playbook(&lab, "rotate-certs", &["-i", &mixed]));
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    assert_whole(&lab, Duration::from_secs(30));
    let after = processes(&lab);
    assert_eq!([0, 1, 2].map(|node| before[node] == after[node]), [true, false, false], "{before:?} {after:?}");
    let again = run_playbook(&lab, "rotate-certs", &["-i", &mixed]);
    assert!(again.code == 0 && NODES.iter().all(|host| again.count(host, "changed") == 0), "{}", tail(&again.all()));
    for (host, kind) in NODES.iter().zip(["id-ecPublicKey", "ED25519", "rsaEncryption"]) {
        for set in ["cluster", "server"] {
            let look = format!(
                "openssl x509 -in /etc/mysql/ssl/{set}/current/cert.pem -noout -text | grep -i 'Public Key Algorithm'"
            );
            assert!(lab.ssh(host, &look).contains(kind), "{host}");
        }
    }
    let installed = lab.ssh(CLIENT, "apt-get install -qy php-cli php-mysql mariadb-client >/dev/null 2>&1; echo $?");
    assert_eq!(installed, "0", "the packages of the applications");
    let play = format!(
        "- hosts: {CLIENT}\n  become: true\n  gather_facts: false\n  tasks:\n    - pki_certificate: {{ca: client, profile: client, path: \
         '/etc/passbolt/{{{{ item }}}}', common_name: passbolt, key_type: '{{{{ item }}}}'}}\n      loop: [{}]\n",
        KINDS.join(", ")
    );
    let variables = cluster::arguments(&lab);
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    let ran = lab.play(&play, &variables);
    assert_eq!(ran.code, 0, "{}", ran.all());
    hand_over(&lab, "/root/connect.php", PHP);
    hand_over(
        &lab,
        "/root/client.cnf",
        &format!("[client]\npassword=\"{}\"\n", PASSWORD.replace('\\', "\\\\").replace('"', "\\\"")),
    );
    hand_over(&lab, "/root/password", PASSWORD);
    lab.ssh(CLIENT, &format!("echo {} {STRANGER} >> /etc/hosts", lab.address(NODES[0])));

    let mut refused = Vec::new();
    for (node, server) in NODES.iter().zip(KINDS) {
        for kind in KINDS {
            for (peer, good) in [
                ("openssl", openssl(&lab, node, kind)),
                ("MariaDB's client", mariadb(&lab, node, kind)),
                ("PHP PDO", php(&lab, node, kind)),
                ("rustls at 3306", rustls_3306(&lab, node, node, kind)),
            ] {
                if let Err(why) = good {
                    refused.push(format!("{peer}, {server} on the server, {kind} on the client: {why}"));
                }
            }
        }
        let other = NODES.iter().find(|other| *other != node).unwrap();
        for from in [node, other] {
            if let Err(why) = rustls_4567(&lab, node, from) {
                refused.push(format!("rustls at 4567 of {node}, as {from}: {why}"));
            }
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    note(format!(
        "{} handshakes of openssl, MariaDB's client, PHP PDO and rustls, {} kinds of keys on both sides",
        4 * 9 + 6,
        KINDS.len()
    ));

    // They do verify: a name that is not in the certificate is refused by each that looks at names.
    for (peer, said) in [
        ("openssl", openssl(&lab, STRANGER, KINDS[0])),
        ("MariaDB's client", mariadb(&lab, STRANGER, KINDS[0])),
        ("PHP PDO", php(&lab, STRANGER, KINDS[0])),
        ("rustls", rustls_3306(&lab, NODES[0], STRANGER, KINDS[0])),
    ] {
        let why = said.expect_err(peer);
        assert!(!why.is_empty(), "{peer}: {why}");
        note(format!(
            "{peer}, a name that is not in it: {}",
            why.lines().find(|line| !line.is_empty()).unwrap_or_default()
        ));
    }

    // State transfer reads the same files: a node with an Ed25519 key joins with nothing.
    let began = Instant::now();
    lab.ssh(NODES[1], "systemctl stop mariadb; rm -rf /var/lib/mysql/*; systemctl start mariadb");
    assert_whole(&lab, Duration::from_secs(90));
    note(format!("a whole state transfer to the node with the Ed25519 key: {:.0} s", began.elapsed().as_secs_f64()));
    // The site as the others know it.
    assert_finished(&run_playbook(&lab, "rotate-certs", &[]));
    cluster::up(&lab, &[]);
}

/// Writes a file on the client.
fn hand_over(lab: &Lab, path: &str, text: &str) {
    let file = lab.file("hand-over", text);
    let out = script("ssh")
        .args([CLIENT, &format!("umask 077; cat > {path}")])
        .stdin(std::fs::File::open(file).unwrap())
        .status();
    assert!(out.unwrap().success());
}

/// What went wrong with a command of the client that ends with its status.
fn judged(said: String, good: &str) -> Result<(), String> {
    if said.contains(good) { Ok(()) } else { Err(said) }
}

fn own(kind: &str) -> String {
    format!("/etc/passbolt/{kind}/current")
}

fn openssl(lab: &Lab, node: &str, kind: &str) -> Result<(), String> {
    let own = own(kind);
    let ask = format!(
        "timeout 10 openssl s_client -starttls mysql -connect {node}:3306 -verify_return_error -x509_strict -verify_hostname {node} \
         -CAfile {own}/ca.pem -cert {own}/cert.pem -key {own}/key.pem </dev/null 2>&1 | grep -iE 'verif|alert|error'"
    );
    judged(lab.ssh(CLIENT, &ask), "Verify return code: 0 (ok)")
}

fn mariadb(lab: &Lab, node: &str, kind: &str) -> Result<(), String> {
    let own = own(kind);
    let ask = format!(
        "mariadb --defaults-file=/root/client.cnf -h {node} -u passbolt --ssl-ca={own}/ca.pem --ssl-cert={own}/cert.pem \
         --ssl-key={own}/key.pem --ssl-verify-server-cert -Ne 'select concat(\"in as \", current_user())' passbolt 2>&1"
    );
    judged(lab.ssh(CLIENT, &ask), "in as passbolt@")
}

/// As CakePHP's driver for MySQL connects, with passbolt's three settings for TLS and none more.
const PHP: &str = r#"<?php
[$_, $host, $own] = $argv;
$flags = [
    PDO::ATTR_PERSISTENT => false,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => true,
    PDO::MYSQL_ATTR_SSL_KEY => "$own/key.pem",
    PDO::MYSQL_ATTR_SSL_CERT => "$own/cert.pem",
    PDO::MYSQL_ATTR_SSL_CA => "$own/ca.pem",
];
$password = file_get_contents('/root/password');
foreach ([[], [PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => true]] as $more) {
    $db = new PDO("mysql:host=$host;port=3306;dbname=passbolt;charset=utf8mb4", 'passbolt', $password, $flags + $more);
    $row = $db->query("SHOW STATUS LIKE 'Ssl_cipher'")->fetch();
    echo $row[1] === '' ? "in without TLS\n" : 'in as ' . $db->query('select current_user()')->fetchColumn() . "\n";
}
echo "twice\n";
"#;

fn php(lab: &Lab, node: &str, kind: &str) -> Result<(), String> {
    let said = lab.ssh(CLIENT, &format!("php /root/connect.php {node} {} 2>&1", own(kind)));
    if said.contains("without TLS") {
        return Err(said);
    }
    judged(said, "twice")
}

/// The client's set, or a node's, as rustls reads it.
fn config(lab: &Lab, host: &str, own: &str) -> ClientConfig {
    let read = |name: &str| lab.ssh(host, &format!("cat {own}/{name}"));
    let certs = |name: &str| -> Vec<CertificateDer<'static>> {
        pem::blocks(&read(name)).unwrap().iter().map(|block| CertificateDer::from(block.der.to_vec())).collect()
    };
    let mut roots = RootCertStore::empty();
    certs("ca.pem").into_iter().for_each(|root| roots.add(root).unwrap());
    let key =
        pem::blocks(&read("key.pem")).unwrap().iter().find(|block| block.label == "PRIVATE KEY").unwrap().der.to_vec();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(certs("cert.pem"), PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
        .unwrap()
}

fn connect(lab: &Lab, node: &str, port: u16) -> TcpStream {
    let stream = TcpStream::connect((lab.address(node).as_str(), port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// A packet of the database's protocol.
fn packet(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn rustls_3306(lab: &Lab, node: &str, name: &str, kind: &str) -> Result<(), String> {
    let mut stream = connect(lab, node, 3306);
    packet(&mut stream).map_err(|error| error.to_string())?;
    // CLIENT_SSL, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH; a megabyte; utf8mb4.
    let mut wish = vec![0x00, 0x8a, 0x08, 0x00, 0, 0, 0x10, 0, 45];
    wish.resize(32, 0);
    stream.write_all(&[&[32, 0, 0, 1], wish.as_slice()].concat()).unwrap();
    let name = ServerName::try_from(name.to_string()).unwrap();
    let connection = ClientConnection::new(Arc::new(config(lab, CLIENT, &own(kind))), name).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    // A login without a password: it is answered by somebody who has taken our certificate.
    let login = [wish.as_slice(), b"passbolt\0", &[0], b"mysql_native_password\0"].concat();
    tls.write_all(&[&[login.len() as u8, 0, 0, 2], login.as_slice()].concat()).map_err(|error| error.to_string())?;
    let said = packet(&mut tls).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&said).into_owned();
    if said.first() == Some(&0xfe) || text.contains("Access denied") { Ok(()) } else { Err(text) }
}

/// As another node would, with its certificate: whoever is taken is greeted.
fn rustls_4567(lab: &Lab, node: &str, from: &str) -> Result<(), String> {
    // Only members may come: for a moment we are let in, too.
    lab.ssh(node, "nft insert rule inet deploy_galera input tcp dport 4567 accept comment suite");
    let said = greeted(lab, node, from);
    let close = "nft delete rule inet deploy_galera input handle $(nft -a list chain inet deploy_galera input | sed -n 's/.*\"suite\" # handle //p')";
    lab.ssh(node, close);
    said
}

fn greeted(lab: &Lab, node: &str, from: &str) -> Result<(), String> {
    let stream = match TcpStream::connect_timeout(
        &format!("{}:4567", lab.address(node)).parse().unwrap(),
        Duration::from_secs(3),
    ) {
        Ok(stream) => stream,
        Err(error) => return Err(format!("{error} (the firewall?)")),
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let name = ServerName::try_from(node.to_string()).unwrap();
    let connection =
        ClientConnection::new(Arc::new(config(lab, from, "/etc/mysql/ssl/cluster/current")), name).unwrap();
    let mut tls = StreamOwned::new(connection, stream);
    tls.flush().map_err(|error| error.to_string())?;
    let mut first = [0; 1];
    tls.read_exact(&mut first).map_err(|error| error.to_string())
}
