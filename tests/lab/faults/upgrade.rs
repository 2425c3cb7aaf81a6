//! A running cluster gets another release of MariaDB: within a series, and from Debian 12's to Debian 13's.

use super::super::cluster::{self, NODES, Watch, Writer, assert_finished, restarts, run_playbook, tail};
use super::super::lab::{Lab, lab};
use super::note;
use std::time::Instant;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("rolling-upgrade: 10.11.18 to 10.11.19, and on to 11.8; what is refused", upgrades)];

/// Before 11.6 an account cannot be opened to a system's user of another name.
const OLD: [&str; 2] = ["-e", "galera_sst_user=mysql"];

/// Debian 12's packages, of which the host gets this release only.
fn pinned(release: &str) -> String {
    format!(
        r#"cat > /etc/apt/sources.list.d/bookworm.sources <<EOF
Types: deb
URIs: $(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | head -1)
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $(sed -n 's/^URIs: //p' /etc/apt/sources.list.d/debian.sources | tail -1)
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
cat > /etc/apt/preferences.d/old <<EOF
Package: *
Pin: release n=bookworm*
Pin-Priority: 100

Package: mariadb-* libmariadb* galera-4
Pin: version *{release}
Pin-Priority: 990

Package: galera-4
Pin: version *+deb12u1
Pin-Priority: 990
EOF
apt-get -qq update"#
    )
}

fn everywhere(lab: &Lab, script: &str) {
    std::thread::scope(|scope| {
        for host in NODES {
            scope.spawn(move || lab.ssh(host, script));
        }
    });
}

fn versions(lab: &Lab) -> [String; 3] {
    NODES.map(|host| lab.ssh(host, "mariadb -Ne 'select version()'"))
}

/// One upgrade under a client that writes, each node once, by an incremental transfer.
fn upgrade(lab: &Lab, from: &str, to: &str, table: &str) {
    assert!(versions(lab).iter().all(|version| version.starts_with(from)), "{:?}", versions(lab));
    let check = run_playbook(lab, "rolling-upgrade", &["--check"]);
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    for said in ["order: galera1, then galera2, then galera3", "gate galera: open", "and gets"] {
        assert!(check.all().contains(said), "{said}: {}", tail(&check.all()));
    }
    let (writer, watch, began) = (Writer::start(lab, table), Watch::start(), Instant::now());
    let narrow = run_playbook(lab, "rolling-upgrade", &["-e", "mariadb_upgrade_away=100000000"]);
    assert!(narrow.code == 2 && narrow.all().contains("the gcache of"), "{}", tail(&narrow.all()));
    let ran = run_playbook(lab, "rolling-upgrade", &[]);
    let (history, summary) = (watch.stop(), writer.stop());
    assert_finished(&ran);
    note(format!("{from} to {to}, {:.0} s: {}", began.elapsed().as_secs_f64(), summary.line()));
    note(format!("gaps {}", summary.0["gaps"]));
    summary.assert_nothing_lost();
    assert_eq!(restarts(&history), NODES, "each node once, never two out: {history:?}");
    assert!(versions(lab).iter().all(|version| version.starts_with(to)), "{:?}", versions(lab));
    for host in NODES {
        let received = lab.ssh(host, "journalctl -u mariadb --no-pager -n 3000 | grep -c 'Receiving IST... 100.0%'");
        assert_ne!(received, "0", "{host} did not catch up incrementally");
        assert_eq!(lab.ssh(host, "test -e /var/tmp/clustercheck.disabled && echo drained"), "");
    }
}

fn upgrades() {
    let lab = lab();
    NODES.iter().for_each(|host| lab.reset(host));
    everywhere(&lab, &pinned("10.11.18-0+deb12u1"));
    cluster::up(&lab, &OLD);
    everywhere(&lab, &pinned("10.11.19-0+deb12u1"));
    upgrade(&lab, "10.11.18", "10.11.19", "upgrade_minor");
    let pairs = r#"{"mariadb_upgrade_pairs": []}"#;
    everywhere(&lab, "rm /etc/apt/preferences.d/old /etc/apt/sources.list.d/bookworm.sources; apt-get -qq update");
    let unknown = run_playbook(&lab, "rolling-upgrade", &["-e", pairs]);
    assert!(unknown.code == 2 && unknown.all().contains("10.11 to 11.8"), "{}", tail(&unknown.all()));
    upgrade(&lab, "10.11.19", "11.8", "upgrade_major");
    let again = run_playbook(&lab, "rolling-upgrade", &[]);
    assert_finished(&again);
    assert!(!again.all().contains("TURN"), "{}", tail(&again.all()));
    let old = run_playbook(&lab, "rolling-upgrade", &["-e", "mariadb_upgrade_version=1:10.11.19-0+deb12u1"]);
    assert!(old.code == 2 && old.all().contains("never an older one"), "{}", tail(&old.all()));
}
