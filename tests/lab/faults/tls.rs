//! A cluster without TLS is led to mutual TLS while a client writes that knows no TLS either.

use super::super::cluster::{
    self, NODES, Summary, Watch, Writer, assert_finished, assert_whole, restarts, run_playbook, tail,
};
use super::super::lab::{Lab, Ran, lab};
use super::kill::{Kill, cut};
use super::note;
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("enable-tls: a cluster that site.yml made without TLS", of_the_site),
    ("enable-tls: packages and a galera.cnf written by hand", by_hand),
    ("enable-tls: killed half-way, reported, and gone on with", half_way),
];

const PLAIN: [&str; 4] = ["-e", "galera_tls=plain", "-e", "galera_tls_asked=true"];

/// What an administrator wrote: state transfer by rsync, and nothing said about TLS.
const BY_HAND: &str = r#"apt-get -qq update; echo exit 101 > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive apt-get -qy install mariadb-server galera-4 rsync >/dev/null 2>&1; rm /usr/sbin/policy-rc.d
cat > /etc/mysql/mariadb.conf.d/60-galera.cnf <<EOF
[galera]
wsrep_on = ON
wsrep_provider = /usr/lib/galera/libgalera_smm.so
wsrep_cluster_name = byhand
wsrep_cluster_address = gcomm://ALL
wsrep_node_name = $(hostname)
wsrep_node_address = OWN
wsrep_sst_method = rsync
binlog_format = row
default_storage_engine = InnoDB
innodb_autoinc_lock_mode = 2
bind-address = 0.0.0.0
EOF"#;

/// The kinds of peers that each node lets in, by its own word.
fn links(lab: &Lab) -> [String; 3] {
    let query = "mariadb -Ne 'select @@wsrep_provider_socket_ssl, @@wsrep_provider_socket_dynamic' | tr '\\t' ' '";
    NODES.map(|host| lab.ssh(host, query))
}

/// What a stranger without TLS gets from 4567 of the first node, asking from the second: bytes of a greeting.
fn greeting(lab: &Lab) -> usize {
    let ask = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{}/4567; head -c 16 <&3' | wc -c", lab.address(NODES[0]));
    lab.ssh(NODES[1], &ask).trim().parse().unwrap()
}

fn plain_site(lab: &Lab) {
    NODES.iter().for_each(|host| lab.reset(host));
    cluster::up(lab, &PLAIN);
    assert_eq!(links(lab), ["0 0"; 3]);
}

fn led(lab: &Lab, more: &[&str], table: &str) -> Summary {
    let check = run_playbook(lab, "enable-tls", &[&["--check"], more].concat());
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    for said in ["order: galera1, then galera2, then galera3", "gate galera: open", "no TLS; restart to TLS beside"] {
        assert!(check.all().contains(said), "{said}: {}", tail(&check.all()));
    }
    let (writer, watch, began) = (Writer::start_plain(lab, table), Watch::start(), Instant::now());
    let ran = run_playbook(lab, "enable-tls", more);
    let (history, summary) = (watch.stop(), writer.stop());
    assert_finished(&ran);
    note(format!("{:.0} s: {}", began.elapsed().as_secs_f64(), summary.line()));
    note(format!("gaps {}", summary.0["gaps"]));
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), [NODES, NODES].concat(), "each node twice, never two out: {history:?}");
    summary
}

/// Mutual TLS everywhere, with the clients' switch too; nothing is left to do.
fn finished(lab: &Lab, more: &[&str]) {
    assert_eq!(links(lab), ["1 0"; 3]);
    assert_eq!(greeting(lab), 0, "somebody without TLS is greeted");
    for host in NODES {
        assert_eq!(lab.ssh(host, "grep -c '^ssl-mode = VERIFY_CA' /etc/mysql/mariadb.conf.d/70-galera.cnf"), "1");
        assert_eq!(lab.ssh(host, "mariadb -Ne 'select @@require_secure_transport'"), "0", "it stays as it was");
    }
    let before = cluster::processes(lab);
    let ran = run_playbook(lab, "enable-tls", &[&["-e", "enable_tls_clients=true"], more].concat());
    assert_finished(&ran);
    for host in NODES {
        assert_eq!(lab.ssh(host, "mariadb -Ne 'select @@require_secure_transport'"), "1");
    }
    assert_finished(&cluster::deploy_site(lab, more));
    assert_eq!(cluster::processes(lab), before, "neither the switch nor the site restarts anything");
    assert_finished(&run_playbook(lab, "verify", more));
    // A joiner without data gets everything under TLS.
    lab.ssh(NODES[2], "systemctl stop mariadb; rm -rf /var/lib/mysql/*; systemctl start mariadb");
    assert_whole(lab, Duration::from_secs(60));
    let said = lab.ssh(NODES[2], "journalctl -u mariadb -n 3000 --no-pager | grep -c \"encrypt='3'\"");
    assert_ne!(said, "0", "the state transfer was not encrypted");
}

fn of_the_site() {
    let lab = lab();
    plain_site(&lab);
    assert_ne!(greeting(&lab), 0);
    let refused = cluster::deploy_site(&lab, &[]);
    assert!(refused.code == 2 && refused.all().contains("enable-tls.yml"), "{}", tail(&refused.all()));
    led(&lab, &[], "tls_site");
    finished(&lab, &[]);
}

fn by_hand() {
    let lab = lab();
    NODES.iter().for_each(|host| lab.reset(host));
    let all = NODES.map(|host| lab.address(host)).join(",");
    std::thread::scope(|scope| {
        for host in NODES {
            let script = BY_HAND.replace("ALL", &all).replace("OWN", &lab.address(host));
            let lab = &lab;
            scope.spawn(move || lab.ssh(host, &script));
        }
    });
    lab.ssh(NODES[0], "galera_new_cluster");
    lab.ssh(NODES[1], "systemctl start mariadb");
    lab.ssh(NODES[2], "systemctl start mariadb");
    assert_whole(&lab, Duration::from_secs(60));
    let refused = run_playbook(&lab, "enable-tls", &[]);
    assert!(refused.code == 2 && refused.all().contains("`byhand`"), "{}", tail(&refused.all()));
    let name = ["-e", "galera_cluster_name=byhand"];
    led(&lab, &name, "tls_hand");
    finished(&lab, &name);
}

/// The playbook about to be started, with a journal: it is what proves that a killed run is over, so that the next one may take
/// its lock.
fn journalled(lab: &Lab) -> std::process::Command {
    let mut command = cluster::playbook(lab, "enable-tls", &[]);
    command.env("DEPLOY_RUNS_DIR", lab.file("tls-runs/.keep", "").parent().unwrap());
    command
}

fn half_way() {
    let lab = lab();
    plain_site(&lab);
    let writer = Writer::start_plain(&lab, "tls_half");
    let watch = Watch::start();
    let command = journalled(&lab);
    cut(&lab, command, Kill::Controller, Duration::from_secs(120), &mut |lab| links(lab)[0] == "1 1");
    assert_whole(&lab, Duration::from_secs(60));
    assert_eq!(links(&lab), ["1 1", "0 0", "0 0"]);
    let verify = run_playbook(&lab, "verify", &[]);
    assert!(verify.code == 2 && verify.all().contains("socket.dynamic"), "{}", tail(&verify.all()));
    let site = cluster::deploy_site(&lab, &[]);
    assert!(site.code == 2 && site.all().contains("enable-tls.yml"), "{}", tail(&site.all()));
    // Once more, between the two restarts.
    let command = journalled(&lab);
    cut(&lab, command, Kill::Controller, Duration::from_secs(240), &mut |lab| links(lab)[0] == "1 0");
    assert_whole(&lab, Duration::from_secs(60));
    assert_eq!(links(&lab), ["1 0", "1 1", "1 1"]);
    assert_finished(&Ran::of(journalled(&lab).output().unwrap()));
    let (history, summary) = (watch.stop(), writer.stop());
    note(summary.line());
    summary.assert_nothing_lost();
    let order = restarts(&history);
    note(format!("restarted over the three runs: {}", order.join(", ")));
    assert_eq!(order.len(), 6, "each node twice: {history:?}");
    finished(&lab, &[]);
}
