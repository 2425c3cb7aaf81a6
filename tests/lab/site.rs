//! The main job: three bare machines become a Galera cluster under mutual TLS.

use super::cluster::{LOGIN_PASSWORD, NODES, PASSPHRASE, PASSWORD, arguments, processes, store, tail};
use super::lab::lab;
use super::language::pretty_assertions;
use super::secrets::{Processes, assert_hidden, logs};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("the site: check, apply, again, verify", site)];

fn site() {
    let lab = lab();
    let tree = "(find /etc /usr /var/lib /home /srv -xdev \\( -path '*/.cache/deploy' -o -path /var/lib/deploy -o -path /var/lib/deploy-agent -o -path /home/deploy/.cache -o -path /var/lib/systemd -o -path /var/lib/sudo -o -path /var/lib/private \\) -prune -o -printf '%p %m %u %g %s\\n' | sort; systemctl list-unit-files --no-legend; systemctl list-units --all --no-legend --plain --type=service | awk '{print $1,$3,$4}' | grep -v -e user@ -e user-runtime -e session; nft list ruleset 2>/dev/null) | sha256sum";
    let state = || NODES.map(|host| lab.ssh(host, tree));
    let store = store(&lab);
    let variables = arguments(&lab);
    let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
    let common = [&["playbooks/site.yml", "--diff", "--format", "json"], &variables[..]].concat();

    NODES.iter().for_each(|host| lab.reset(host));
    let bare = state();
    let check = lab.deploy(&[&common[..], &["--check"]].concat());
    assert_eq!(check.code, 0, "{}", tail(&check.all()));
    assert_eq!(state(), bare, "a check changed a host");
    assert!(std::fs::read_dir(&store).unwrap().count() <= 1, "a check wrote into the certificate store");
    let unknown = check.results().iter().filter(|(_, _, status, _)| status == "unknown").count();
    assert!(unknown * 20 <= check.results().len(), "{unknown} of {} unknown", check.results().len());

    let watch = Processes::watch(&NODES, PASSWORD);
    let apply = lab.deploy(&common);
    assert_eq!(watch.stop(), "", "a process shows the password");
    assert_eq!(apply.code, 0, "{}", tail(&apply.all()));
    let known: Vec<_> = check.results().into_iter().filter(|(_, _, status, _)| status != "unknown").collect();
    let same: Vec<_> = apply
        .results()
        .into_iter()
        .filter(|(host, task, ..)| known.iter().any(|(h, t, ..)| h == host && t == task))
        .collect();
    pretty_assertions(&known, &same);
    for all in [check.all(), apply.all()] {
        for secret in [PASSWORD, PASSPHRASE] {
            assert_hidden("the run", &all, secret);
        }
        assert!(!all.contains("PRIVATE KEY"), "a key is shown");
    }

    for host in NODES {
        let status = lab.ssh(host, "mariadb -Ne \"show global status where variable_name in ('wsrep_cluster_size','wsrep_cluster_status','wsrep_local_state_comment')\"");
        assert_eq!(
            status, "wsrep_local_state_comment\tSynced\nwsrep_cluster_size\t3\nwsrep_cluster_status\tPrimary",
            "{host}"
        );
        let keys =
            lab.ssh(host, "find / -xdev -name '*.pem' -path '*mysql*' -name 'key*' -printf '%m %u %g\\n' | sort -u");
        assert!(
            !keys.is_empty() && keys.lines().all(|line| line.ends_with("mysql") && !line.contains("4 ")),
            "{host}: {keys}"
        );
        assert_eq!(
            lab.ssh(host, "grep -rlI 'ENCRYPTED PRIVATE KEY' /etc /var/lib /home /root 2>/dev/null | wc -l"),
            "0",
            "a CA key on {host}"
        );
    }
    lab.ssh("galera1", "mariadb -e 'create database if not exists suite; create table if not exists suite.t (id int primary key); replace into suite.t values (42)'");
    for host in ["galera2", "galera3"] {
        assert_eq!(lab.ssh(host, "mariadb -Ne 'set session wsrep_sync_wait=1; select id from suite.t'"), "42");
    }

    let before = processes(&lab);
    let again = lab.deploy(&[&common[..], &["--detailed-exitcode"]].concat());
    let changed: Vec<_> = again.results().into_iter().filter(|(_, _, status, _)| status == "changed").collect();
    assert!(again.code == 0 && changed.is_empty(), "{} {changed:?}", again.code);
    assert_eq!(processes(&lab), before, "a second run restarted something");

    let verify = lab.deploy(&[&["playbooks/verify.yml"], &variables[..]].concat());
    assert_eq!(verify.code, 0, "{}", tail(&verify.all()));
    let text = lab.deploy(&[&["playbooks/site.yml", "--check", "--diff", "-vvv"], &variables[..]].concat());
    for (what, all) in [("verify.yml", verify.all()), ("a second run", again.all()), ("-vvv", text.all())] {
        assert_hidden(what, &all, PASSWORD);
    }
    for host in NODES {
        let logs = logs(&lab, host);
        assert!(logs.contains("mariadbd"), "the logs of {host} could not be read");
        for secret in [PASSWORD, PASSPHRASE, LOGIN_PASSWORD] {
            assert_hidden(&format!("a log of {host}"), &logs, secret);
        }
    }
}
