//! What the two authorities are for, proved from the hosts with openssl and plain clients, without verify.yml.

use super::cluster::{self, NODES, PASSWORD};
use super::lab::{Lab, lab};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("tls: each port shows its own authority's certificate", shown), ("tls: who is refused", refused)];

/// `openssl s_client` on one host against a port of another; everything it says, and its exit status.
fn s_client(lab: &Lab, from: &str, more: &str) -> String {
    lab.ssh(
        from,
        &format!("timeout 10 openssl s_client -verify_return_error {more} </dev/null 2>&1; echo \"status $?\""),
    )
}

const CLUSTER: &str = "/etc/mysql/ssl/cluster/current";
const SERVER: &str = "/etc/mysql/ssl/server/current";

/// The authority's own certificate, from the controller's store: what a host says of itself proves nothing.
fn authority(lab: &Lab, name: &str) -> String {
    let folder = cluster::store(lab).join("ca").join(name);
    let folders = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
    let path = folders.map(|path| path.join("cert.pem")).find(|path| path.exists()).unwrap();
    std::fs::read_to_string(path).unwrap()
}

fn shown() {
    let lab = lab();
    cluster::up(&lab, &[]);
    for name in ["cluster", "client"] {
        let pem = authority(&lab, name);
        lab.ssh("galera2", &format!("cat > /root/{name}-ca.pem <<'END'\n{pem}END"));
    }
    let own = format!("-cert {CLUSTER}/cert.pem -key {CLUSTER}/key.pem");
    for node in NODES {
        let replication = format!("-connect {node}:4567 {own} -CAfile");
        let clients = format!("-starttls mysql -connect {node}:3306 -verify_hostname {node} -CAfile");
        for (port, ca, verified) in [
            (&replication, "cluster", true),
            (&replication, "client", false),
            (&clients, "client", true),
            (&clients, "cluster", false),
        ] {
            let said = s_client(&lab, "galera2", &format!("{port} /root/{ca}-ca.pem"));
            if verified {
                assert!(said.contains("Verify return code: 0 (ok)"), "{node} under the {ca} authority: {said}");
                // The whole handshake, and the leaf is the node's own.
                assert!(said.contains(&format!("CN = {node}")) || said.contains(&format!("CN={node}")), "{said}");
            } else {
                let refused = said.contains("certificate verify failed") || said.contains("verify error");
                assert!(refused && !said.contains("Verify return code: 0 (ok)"), "{node} passes under {ca}: {said}");
            }
        }
    }
    lab.ssh("galera2", "rm /root/cluster-ca.pem /root/client-ca.pem");
}

fn refused() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let variables = cluster::arguments(&lab);
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    let play = "- hosts: galera2\n  become: true\n  gather_facts: false\n  tasks:\n    - pki_certificate: {ca: client, profile: client, path: '/root/{{ item }}', common_name: '{{ item }}'}\n      loop: [passbolt, other]\n";
    let ran = lab.play(play, &variables);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let quoted = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    lab.ssh("galera2", &format!("umask 077; cat > /root/pw.cnf <<'END'\n[client]\npassword=\"{quoted}\"\nEND"));
    let query = |node: &str, how: &str| {
        lab.ssh("galera2", &format!(
            "mariadb --defaults-extra-file=/root/pw.cnf -h {node} -u passbolt --connect-timeout=5 {how} -Ne 'select current_user()' 2>&1"
        ))
    };
    let verified = format!("--ssl-verify-server-cert --ssl-ca={SERVER}/ca.pem");
    let with = |name: &str| {
        format!("{verified} --ssl-cert=/root/{name}/current/cert.pem --ssl-key=/root/{name}/current/key.pem")
    };
    let certificate = "-cert /root/passbolt/current/cert.pem -key /root/passbolt/current/key.pem";
    for node in NODES {
        // The application is let in with its certificate and its password, and with nothing less.
        assert_eq!(query(node, &with("passbolt")), "passbolt@%", "{node}");
        for (how, why) in [
            (with("other"), "Access denied"),
            (verified.clone(), "Access denied"),
            ("--skip-ssl".into(), "require_secure_transport"),
        ] {
            let said = query(node, &how);
            assert!(said.contains(why) && !said.contains("passbolt@%"), "{node} with {how}: {said}");
        }
        // Replication takes nothing that the clients' authority has signed, and nobody without a certificate. With TLS
        // 1.3 a client hears of it only after the handshake, so an older one is spoken.
        for who in [certificate, ""] {
            let said =
                s_client(&lab, "galera2", &format!("-tls1_2 -connect {node}:4567 -CAfile {CLUSTER}/ca.pem {who}"));
            let refused = said.contains("alert") && !said.contains("Session-ID: ") || said.contains("alert unknown ca");
            assert!(refused || said.contains("handshake failure"), "4567 of {node} takes `{who}`: {said}");
        }
        // Strangers do not even reach it.
        let stranger =
            lab.ssh("box1", &format!("timeout 2 bash -c '</dev/tcp/{}/4567' 2>/dev/null; echo $?", lab.address(node)));
        assert_ne!(stranger, "0", "box1 reaches 4567 of {node}");
    }
    lab.ssh("galera2", "rm -rf /root/passbolt /root/other /root/pw.cnf");
}
