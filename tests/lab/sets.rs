//! Sets of certificates that others than the database serve: a load balancer that ends TLS, Valkey, an application. Each is
//! renewed where it is due, read anew in its own way, and seen from outside.

use super::cluster::{self, assert_finished_on, tail};
use super::lab::{Lab, Ran, lab};
use serde_json::{Value, json};
use std::process::Command;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("sets: a load balancer, Valkey and an application, in their window", others_than_the_database)];

const BALANCER: &str = "box1";
const CACHE: &str = "box2";
const HOSTS: [&str; 2] = [BALANCER, CACHE];

/// Port, host.
const PORTS: [(&str, &str); 3] = [("443", BALANCER), ("8443", BALANCER), ("6380", CACHE)];

const HAPROXY: &str = "
frontend two_files
    mode http
    bind :443 ssl crt /etc/haproxy/tls/current/site.pem
    http-request return status 200 content-type text/plain string well
frontend one_file
    mode http
    bind :8443 ssl crt /etc/haproxy/one/current/all.pem
    http-request return status 200 content-type text/plain string well
";

const VALKEY: &str = "
bind 0.0.0.0
protected-mode no
port 0
tls-port 6380
tls-auth-clients yes
tls-cert-file /etc/valkey/tls/current/cert.pem
tls-key-file /etc/valkey/tls/current/key.pem
tls-ca-cert-file /etc/valkey/tls/current/ca.pem
";

/// The inventory of the two hosts; `reload` is how Valkey is told.
fn inventory(lab: &Lab, reload: &Value) -> String {
    let own = |file: &str| format!("/etc/valkey/tls/current/{file}.pem");
    let tell = [
        vec!["valkey-cli".to_string(), "-e".into(), "-p".into(), "6380".into(), "--tls".into()],
        vec!["--cacert".into(), own("ca"), "--cert".into(), own("cert"), "--key".into(), own("key")],
        vec!["CONFIG".into(), "SET".into(), "tls-cert-file".into(), own("cert")],
        vec!["tls-key-file".into(), own("key"), "tls-ca-cert-file".into(), own("ca")],
    ]
    .concat();
    let tell = if reload.is_null() { json!({"command": tell}) } else { reload.clone() };
    let balancer = |name: &str, path: &str, port: u16, more: Value| {
        let mut set = json!({
            "name": name, "authority": "client", "profile": "server", "path": path, "dns": [BALANCER], "ip": [],
            "owner": "root", "group": "haproxy", "key_mode": "0640", "ports": [{"port": port}], "reload": {"service": "haproxy"},
        });
        more.as_object().unwrap().iter().for_each(|(key, value)| set[key] = value.clone());
        set
    };
    let sets = [
        // HAProxy finds the key beside the certificate, under its name with `.key` behind.
        balancer("site", "/etc/haproxy/tls", 443, json!({"cert_name": "site.pem", "key_name": "site.pem.key"})),
        balancer("one", "/etc/haproxy/one", 8443, json!({"combined_name": "all.pem"})),
    ];
    let cache = json!([
        {"name": "valkey", "authority": "client", "profile": "server", "path": "/etc/valkey/tls", "dns": [CACHE], "ip": [],
         "owner": "root", "group": "valkey", "key_mode": "0640", "readable_by": "valkey", "ports": [{"port": 6380}], "reload": tell},
        {"name": "application", "authority": "client", "profile": "client", "path": "/etc/app/tls", "common_name": "app"},
    ]);
    let hosts = json!({
        "loadbalancers": {"hosts": {BALANCER: {"pki_sets": sets}}},
        "clients": {"hosts": {CACHE: {"pki_sets": cache}}},
    });
    lab.file("others.yml", &hosts.to_string()).display().to_string()
}

/// Serial numbers that the ports serve, then those of the files, then that of the application.
fn serials(lab: &Lab) -> Vec<String> {
    let ask = |(port, host): (&str, &str)| {
        let own = "-cert /etc/app/tls/current/cert.pem -key /etc/app/tls/current/key.pem";
        lab.ssh(CACHE, &format!("timeout 10 openssl s_client -connect {host}:{port} {own} </dev/null 2>/dev/null | openssl x509 -noout -serial"))
    };
    let read = |(host, file): (&str, &str)| lab.ssh(host, &format!("openssl x509 -noout -serial -in {file}"));
    let files = [
        (BALANCER, "/etc/haproxy/tls/current/site.pem"),
        (BALANCER, "/etc/haproxy/one/current/all.pem"),
        (CACHE, "/etc/valkey/tls/current/cert.pem"),
        (CACHE, "/etc/app/tls/current/cert.pem"),
    ];
    PORTS.map(ask).into_iter().chain(files.map(read)).collect()
}

fn pids(lab: &Lab) -> [String; 2] {
    [
        lab.ssh(BALANCER, "systemctl show -p MainPID --value haproxy"),
        lab.ssh(CACHE, "systemctl show -p MainPID --value valkey-server"),
    ]
}

fn rotate(lab: &Lab, inventory: &str, more: &[&str]) -> Ran {
    rotate_on(lab, inventory, "box1,box2", more)
}

fn rotate_on(lab: &Lab, inventory: &str, limit: &str, more: &[&str]) -> Ran {
    let arguments = [&["-i", inventory, "--limit", limit], more].concat();
    cluster::run_playbook(lab, "rotate-certs", &arguments)
}

/// A window of two hours, so many days from now, as the inventory writes it.
fn window(days: &str) -> String {
    let out = Command::new("date").args(["-u", "-d", days, "+%a"]).env("LC_ALL", "C").output().unwrap();
    format!("{} 02:00-04:00 UTC", String::from_utf8(out.stdout).unwrap().trim())
}

fn others_than_the_database() {
    let lab = lab();
    HOSTS.iter().for_each(|host| lab.reset(host));
    let usual = inventory(&lab, &Value::Null);
    let packages = |host: &str, names: &str| {
        let said = lab.ssh(host, &format!("apt-get install -qy {names} >/dev/null 2>&1; echo $?"));
        assert_eq!(said, "0", "{host}: {names}");
    };
    packages(BALANCER, "haproxy");
    packages(CACHE, "valkey");
    let arguments = cluster::arguments(&lab);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["-i", &usual]);
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/roles/pki");
    let play = format!(
        "- hosts: {}\n  become: true\n  gather_facts: false\n  tasks:\n    - pki_ca: {{name: client, purpose: client}}\n      run_once: true\n    \
         - import_role: {{name: '{roles}', tasks_from: sets}}\n",
        HOSTS.join(",")
    );
    let ran = lab.play(&play, &arguments);
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    lab.ssh(BALANCER, &format!("cat >> /etc/haproxy/haproxy.cfg <<'END'\n{HAPROXY}\nEND\nsystemctl restart haproxy"));
    lab.ssh(CACHE, &format!("cat >> /etc/valkey/valkey.conf <<'END'\n{VALKEY}\nEND\nsystemctl restart valkey-server"));
    let (old, running) = (serials(&lab), pids(&lab));
    assert!(old.iter().all(|serial| serial.starts_with("serial=")) && old[..3] == old[3..6], "{old:?}");
    let quiet = rotate(&lab, &usual, &[]);
    assert_finished_on(&quiet, &HOSTS);
    assert!(HOSTS.iter().all(|host| quiet.count(host, "changed") == 0), "{}", tail(&quiet.all()));

    // Due since a moment, and outside its window.
    let (life, margin) = ("pki_lifetime=90d", format!("pki_renew_before={}s", 90 * 86_400 - 1));
    let wait = format!("pki_window='{}'", window("+2 days"));
    let held = rotate(&lab, &usual, &["-e", life, "-e", &margin, "-e", &wait]);
    assert_finished_on(&held, &HOSTS);
    assert!(HOSTS.iter().all(|host| held.count(host, "changed") == 0), "{}", tail(&held.all()));
    for name in [
        "box1: site: its renewal is due since",
        "valkey: its renewal is due since",
        "waits for its window, which opens at",
    ] {
        assert!(held.all().contains(name), "{name}: {}", tail(&held.all()));
    }
    assert_eq!((serials(&lab), pids(&lab)), (old.clone(), running.clone()));

    // How it is told fails: the set of before is what is served, and no mark stays.
    let broken = inventory(&lab, &json!({"command": ["false"]}));
    let failed = rotate_on(&lab, &broken, CACHE, &["-e", "pki_renew=force"]);
    assert!(
        failed.code == 2 && failed.all().contains("certificates of before are in force again"),
        "{}",
        tail(&failed.all())
    );
    assert_eq!((serials(&lab), pids(&lab)), (old.clone(), running.clone()));
    let usual = inventory(&lab, &Value::Null);

    // Inside of it everything is renewed and read, and nobody was restarted.
    let open = "pki_window='Mon-Sun 00:00-24:00 UTC'";
    let renewed = rotate(&lab, &usual, &["-e", life, "-e", &margin, "-e", open]);
    assert_finished_on(&renewed, &HOSTS);
    let new = serials(&lab);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new && new.starts_with("serial=")), "{old:?} {new:?}");
    assert_eq!((&new[..3], pids(&lab)), (&new[3..6], running));
    let answer = "curl -sS --cacert /etc/app/tls/current/ca.pem --resolve box1:443:$(getent ahostsv4 box1 | awk '{print $1; exit}') https://box1/ 2>&1";
    packages(CACHE, "curl");
    assert_eq!(lab.ssh(CACHE, answer), "well");
    assert_eq!(HOSTS.map(|host| lab.ssh(host, "ls /etc/*/*/unserved 2>/dev/null")), ["", ""]);
    let quiet = rotate(&lab, &usual, &[]);
    assert!(HOSTS.iter().all(|host| quiet.count(host, "changed") == 0), "{}", tail(&quiet.all()));

    // Somebody has put a set back by hand: the port tells, and the service reads it.
    lab.ssh(BALANCER, "cd /etc/haproxy/tls && ln -sfn $(ls | grep -v -e current -e $(readlink current)) current");
    let told = rotate(&lab, &usual, &[]);
    assert_finished_on(&told, &HOSTS);
    assert!(told.all().contains("files were replaced that are not served yet"), "{}", tail(&told.all()));
    let now = serials(&lab);
    assert!(now[0] == old[0] && now[..3] == now[3..6], "{now:?} {old:?}");

    // Jitter: earlier on both hosts by the same time, since the authority tells by how much.
    let judged = |jitter: &str| {
        let play = format!(
            "- hosts: {}\n  become: true\n  gather_facts: false\n  vars: {{pki_judge_only: true, pki_jitter: '{jitter}'}}\n  tasks:\n    - import_role: \
             {{name: '{roles}', tasks_from: sets}}\n    - debug: {{msg: \"ends {{{{ pki_judged.results[0].not_after - pki_judged.results[0].renew_at }}}} before\"}}\n",
            HOSTS.join(",")
        );
        let ran = lab.play(&play, &arguments);
        assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
        let text = ran.all();
        let times: Vec<i64> =
            text.split("ends ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
        assert_eq!(times.len(), 2, "{}", tail(&text));
        (times[0], times[1])
    };
    let (plain, early) = (judged(""), judged("20d"));
    assert_eq!((plain.0, early.0), (plain.1, early.1));
    assert!(early.0 > plain.0 && early.0 <= plain.0 + 20 * 86_400, "{plain:?} {early:?}");
}
