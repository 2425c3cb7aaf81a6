//! A node's restart, and what it takes to do without one: what was foreseen is what happens.

use super::cluster::{NODES, assert_whole, tail, up};
use super::lab::{Lab, Ran, lab};
use serde_json::Value;
use std::time::Duration;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("a node's restart: foreseen, done, refused", restart),
    ("an arbitrator votes under the same TLS, and every gate counts it", arbitrator),
    ("HAProxy lets go of a node and takes it back", balancer),
];

const FILE: &str = "/etc/mysql/mariadb.conf.d/70-galera.cnf";

/// `galera_restart` of one node, with what all of them say.
fn run(lab: &Lab, host: &str, more: &[&str]) -> (Ran, Value) {
    let text = format!(
        "- hosts: galera\n  gather_facts: false\n  become: true\n  tasks:\n    - deploy.builtin.galera_status: {{close: true}}\n\
         \x20     register: s\n    - name: Restart\n      deploy.builtin.galera_restart:\n        members: \"{{{{ groups.galera | \
         map('extract', hostvars, 's') | list }}}}\"\n        force: \"{{{{ force | default(false) }}}}\"\n        \
         allow_sst: \"{{{{ allow_sst | default(false) }}}}\"\n      when: inventory_hostname == '{host}'\n"
    );
    let ran = lab.play(&text, &[&["--format", "json"], more].concat());
    let done = ran
        .events()
        .into_iter()
        .find(|event| event["event"] == "task_done" && event["task"]["name"] == "Restart" && event["host"] == host);
    let done = done.unwrap_or_else(|| panic!("{}", tail(&ran.all())));
    (ran, done["result"].clone())
}

fn field<'a>(result: &'a Value, name: &str) -> &'a str {
    result[name].as_str().unwrap_or_default()
}

fn pid(lab: &Lab, host: &str) -> String {
    lab.ssh(host, "systemctl show -p MainPID --value mariadb")
}

fn edit(lab: &Lab, host: &str, expression: &str) {
    lab.ssh(host, &format!("sed -i '{expression}' {FILE}"));
}

fn value(lab: &Lab, host: &str, variable: &str) -> String {
    lab.ssh(host, &format!("mariadb -Ne \"select @@{variable}\""))
}

/// What clustercheck says of a node to load balancers.
pub fn health(lab: &Lab, host: &str) -> String {
    lab.ssh(
        host,
        "exec 3<>/dev/tcp/127.0.0.1/9200; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3 | cut -d' ' -f2",
    )
}

fn restart() {
    let lab = lab();
    up(&lab, &[]);
    assert_whole(&lab, Duration::from_secs(30));
    NODES.iter().for_each(|host| drop(lab.ssh(host, &format!("cp -p {FILE} /root/galera.cnf.suite"))));

    // Nothing changed: nothing is done.
    let before = pid(&lab, "galera2");
    let (ran, result) = run(&lab, "galera2", &[]);
    assert_eq!((ran.code, field(&result, "action")), (0, "nothing"), "{result}");

    // What the running server takes is set, without a restart.
    edit(
        &lab,
        "galera2",
        "s/^max_connections .*/max_connections = 161/; s/gcache.size=/gcs.fc_limit=20; gcache.size=/",
    );
    let (ran, result) = run(&lab, "galera2", &["--check"]);
    assert_eq!((ran.code, field(&result, "action")), (0, "reload"), "{result}");
    assert_eq!(value(&lab, "galera2", "max_connections"), "151", "a check changed the server");
    let (ran, result) = run(&lab, "galera2", &[]);
    assert_eq!((ran.code, field(&result, "action")), (0, "reload"), "{result}");
    assert_eq!(value(&lab, "galera2", "max_connections"), "161");
    let options = lab.ssh("galera2", "mariadb -Ne \"show global variables like 'wsrep_provider_options'\"");
    assert!(options.contains("gcs.fc_limit = 20"), "{options}");
    assert_eq!(pid(&lab, "galera2"), before);

    // A smaller cache for all, each by a restart that is foreseen as an incremental one.
    for host in NODES {
        edit(&lab, host, "s/gcache.size=[0-9]*M/gcache.size=4M/");
        let (_, foreseen) = run(&lab, host, &["--check"]);
        assert_eq!((field(&foreseen, "action"), field(&foreseen, "transfer")), ("restart", "ist"), "{foreseen}");
        let pid_before = pid(&lab, host);
        let (ran, result) = run(&lab, host, &[]);
        assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
        // Nobody writes, so that a quick restart may have missed nothing at all.
        assert_eq!(field(&result, "action"), "restart", "{result}");
        assert!(["ist", "none"].contains(&field(&result, "transfer")), "{result}");
        let (expected, took) = (foreseen["foreseen"]["seconds"].as_f64().unwrap(), result["seconds"].as_f64().unwrap());
        eprintln!("  {host}: IST, {took} s ({expected:.1} s foreseen)");
        assert!(took < expected * 3.0 + 5.0, "{took} s instead of {expected} s");
        assert_ne!(pid(&lab, host), pid_before);
        assert_eq!(health(&lab, host), "200", "{host} is still drained");
        assert_whole(&lab, Duration::from_secs(30));
    }

    // A node that has missed more than the caches hold is not started without a word.
    lab.ssh("galera2", "systemctl stop mariadb");
    lab.ssh(
        "galera1",
        "mariadb -e 'create database if not exists suite; create table if not exists suite.big (id int auto_increment \
         primary key, b blob)'; for i in $(seq 600); do echo \"insert into suite.big (b) values (repeat('y', 20000));\"; done \
         | mariadb",
    );
    let (ran, result) = run(&lab, "galera2", &[]);
    assert_ne!(ran.code, 0);
    assert!(field(&result, "msg").contains("(SST), because no member's cache reaches back"), "{result}");
    assert_eq!(pid(&lab, "galera2"), "0", "it was started nevertheless");
    let (_, foreseen) = run(&lab, "galera2", &["--check"]);
    assert_eq!((field(&foreseen, "action"), field(&foreseen, "transfer")), ("start", "sst"), "{foreseen}");
    assert_eq!(foreseen["refused"], true);
    let (ran, result) = run(&lab, "galera2", &["-e", "allow_sst=true"]);
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    assert_eq!(field(&result, "transfer"), "sst", "{result}");
    let (expected, took) = (foreseen["foreseen"]["seconds"].as_f64().unwrap(), result["seconds"].as_f64().unwrap());
    eprintln!("  galera2: SST, {took} s ({expected:.1} s foreseen)");
    assert_whole(&lab, Duration::from_secs(30));
    assert_eq!(lab.ssh("galera2", "mariadb -Ne 'select count(*) from suite.big'"), "600");

    // What the server would not start with is found before it is stopped.
    let before = pid(&lab, "galera2");
    for (expression, words) in [
        ("s/gcache.size=/gcache.sizes=/", "the provider has no option 'gcache.sizes'"),
        ("s/gcache.sizes=/gcache.size=/; s/^max_connections.*/max_connectionz = 5/", "unknown variable"),
    ] {
        edit(&lab, "galera2", expression);
        let (ran, result) = run(&lab, "galera2", &["-e", "force=true"]);
        assert!(ran.code != 0 && field(&result, "msg").contains(words), "{result}");
    }
    assert_eq!(pid(&lab, "galera2"), before);
    edit(&lab, "galera2", "s/^max_connectionz.*/max_connections = 161/");

    // What only a start can find: the node stays out and drained, the cause is named, the others serve.
    let key = "$(readlink -f /etc/mysql/ssl/cluster/current)/key.pem";
    lab.ssh("galera2", &format!("chmod 600 {key}"));
    let (ran, result) = run(&lab, "galera2", &["-e", "force=true"]);
    assert_ne!(ran.code, 0);
    let msg = field(&result, "msg");
    assert!(msg.contains("does not come back") && msg.contains("may not read its certificate or key"), "{msg}");
    assert_eq!(health(&lab, "galera2"), "503");
    assert_eq!(lab.ssh("galera1", "mariadb -Ne 'select count(*) from suite.big'"), "600");
    let saved = lab.ssh("galera2", "grep seqno /var/lib/mysql/grastate.dat");
    assert!(!saved.contains("-1"), "{saved}");
    lab.ssh("galera2", &format!("chmod 640 {key}"));
    let (ran, result) = run(&lab, "galera2", &[]);
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    assert_eq!((field(&result, "action"), field(&result, "transfer")), ("start", "ist"), "{result}");
    assert_eq!(health(&lab, "galera2"), "200");

    for host in NODES {
        lab.ssh(host, &format!("cp -p /root/galera.cnf.suite {FILE}"));
        let (ran, _) = run(&lab, host, &[]);
        assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
        assert_whole(&lab, Duration::from_secs(30));
    }
    lab.ssh("galera1", "mariadb -e 'drop database suite'");
}

/// An inventory beside the lab's, in which box1 only votes.
fn arbitrators(lab: &Lab) -> String {
    let path = lab.file("arbitrators.yml", "all: {children: {arbitrators: {hosts: {box1: {}}}}}\n");
    path.to_str().unwrap().to_string()
}

fn arbitrator() {
    let lab = lab();
    up(&lab, &[]);
    assert_whole(&lab, Duration::from_secs(30));
    let also = arbitrators(&lab);
    let gate = |more: &[&str]| {
        let text = "- hosts: galera\n  gather_facts: false\n  become: true\n  vars: {galera_arbitrators: \"{{ groups['arbitrators'] | \
                    default([]) | length }}\"}\n  tasks:\n    - deploy.builtin.galera_gate: {group: galera, timeout: 15}\n";
        lab.play(text, more)
    };
    let before = super::cluster::processes(&lab);
    up(&lab, &["-i", also.as_str()]);
    let size = "mariadb -Ne \"show global status like 'wsrep_cluster_size'\" | cut -f2";
    assert_eq!(NODES.map(|host| lab.ssh(host, size)), ["4", "4", "4"]);
    assert_eq!(super::cluster::processes(&lab), before, "the arbitrator cost a restart");
    // A certificate of its own, of the cluster's authority, and nobody else may read the key.
    let subject = "openssl x509 -noout -subject -in /etc/garbd/tls/current/cert.pem; openssl verify -CAfile \
                   /etc/garbd/tls/current/ca.pem /etc/garbd/tls/current/cert.pem; stat -Lc '%a %U' /etc/garbd/tls/current/key.pem";
    let seen = lab.ssh("box1", subject);
    assert!(seen.contains("box1") && seen.contains("cert.pem: OK") && seen.contains("400 _galera"), "{seen}");
    let again = super::cluster::deploy_site(&lab, &["-i", also.as_str()]);
    assert_eq!((again.code, again.count("box1", "changed"), again.count("galera1", "changed")), (0, 0, 0));

    // It is counted, and one that the inventory does not know is a stranger.
    let counted = gate(&["-i", also.as_str()]);
    assert_eq!(counted.code, 0, "{}", tail(&counted.all()));
    let stranger = gate(&[]);
    assert!(stranger.code != 0 && stranger.all().contains("4 members, not 3"), "{}", tail(&stranger.all()));
    lab.ssh("box1", "systemctl stop garb");
    let gone = gate(&["-i", also.as_str()]);
    assert!(gone.code != 0 && gone.all().contains("3 members, not 4"), "{}", tail(&gone.all()));
    lab.ssh("box1", "systemctl disable garb");
    assert_whole(&lab, Duration::from_secs(30));
}

fn balancer() {
    let lab = lab();
    lab.ssh(
        "box2",
        "DEBIAN_FRONTEND=noninteractive apt-get -qq install -y haproxy socat >/dev/null 2>&1; printf '%s\\n' 'global' '  stats socket \
         /run/haproxy/admin.sock mode 660 level admin' 'defaults' '  mode tcp' '  timeout connect 1s' '  timeout client 1m' \
         '  timeout server 1m' 'listen galera' '  bind :3307' '  server galera1 127.0.0.1:22' '  server galera2 127.0.0.1:22' \
         > /etc/haproxy/haproxy.cfg; mkdir -p /run/haproxy; systemctl restart haproxy",
    );
    let state = || {
        lab.ssh("box2", "echo 'show stat' | socat - /run/haproxy/admin.sock | grep '^galera,galera1,' | cut -d, -f18")
    };
    let drain = |state: &str, server: &str, more: &[&str]| {
        let text = format!(
            "- hosts: box2\n  gather_facts: false\n  become: true\n  tasks:\n    - deploy.builtin.galera_drain: {{kind: haproxy, \
             server: {server}, state: {state}, wait: 5}}\n"
        );
        lab.play(&text, more)
    };
    assert_eq!(state(), "no check");
    let check = drain("drained", "galera1", &["--check"]);
    assert_eq!((check.code, check.count("box2", "changed"), state().as_str()), (0, 1, "no check"), "{}", check.all());
    assert_eq!(drain("drained", "galera1", &[]).count("box2", "changed"), 1);
    assert_eq!(state(), "DRAIN");
    assert_eq!(drain("drained", "galera1", &[]).count("box2", "changed"), 0);
    assert_eq!(drain("ready", "galera1", &[]).count("box2", "changed"), 1);
    assert_eq!(state(), "no check");
    let wrong = drain("drained", "galera9", &[]);
    assert!(wrong.code != 0 && wrong.all().contains("no server `galera9`"), "{}", wrong.all());
}
