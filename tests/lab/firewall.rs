//! The firewall on real hosts: who gets through, who owns the rules, and what happens when nobody confirms them.

use super::lab::{Lab, lab};
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("the firewall opens ports to sets, networks and IPv6 sources only", sources),
    ("rules that lock the controller out are put back by the host", locked_out),
    ("rules that are not confirmed are put back without systemd too", without_systemd),
    ("another firewall manager is refused, not overruled", managers),
];

/// An address of a host, from the lab's inventory.
fn address(lab: &Lab, host: &str, variable: &str) -> String {
    let debug = format!("- hosts: {host}\n  gather_facts: false\n  tasks:\n    - debug: {{var: {variable}}}\n");
    let ran = lab.play(&debug, &[]);
    let line = ran.out.lines().find(|line| line.trim_start().starts_with(&format!("\"{variable}\":")));
    let value = line.and_then(|line| line.split('"').nth(3)).unwrap_or_else(|| panic!("{}", ran.all()));
    value.to_string()
}

/// Whether a connection gets through from one host to another: nobody listens, so an open port refuses at once.
fn reaches(lab: &Lab, from: &str, to: &str, port: u16) -> bool {
    let shell = format!("timeout 2 bash -c '</dev/tcp/{to}/{port}' 2>/dev/null; echo $?");
    lab.ssh(from, &shell) != "124"
}

/// A play for box1, with `nft` on the host.
fn play(arguments: &str) -> String {
    format!(
        "- hosts: box1\n  gather_facts: false\n  become: true\n  tasks:\n    \
         - package: {{name: nftables, state: present}}\n    - firewall:\n        name: suite\n{arguments}"
    )
}

const OPEN: &str = "        rules:\n          - {name: first, port: 8001}\n";
const OTHER: &str = "        revert_after: SECONDS\n        rules:\n          - {name: second, port: 8002}\n";

fn table(lab: &Lab) -> String {
    lab.ssh("box1", "nft list table inet deploy_suite")
}

/// Takes the rules away again, for the scenarios after this one.
fn clean(lab: &Lab) {
    lab.ssh(
        "box1",
        "rm -f /usr/local/sbin/nft; [ ! -e /root/systemd-run ] || mv /root/systemd-run /usr/bin/; \
         nft delete table inet deploy_suite 2>/dev/null; rm -rf /etc/nftables.d/deploy_suite.nft /run/deploy-firewall",
    );
}

fn sources() {
    let lab = lab();
    let (four, six) = (address(&lab, "box1", "ansible_host"), address(&lab, "box1", "lab_ipv6"));
    let (peer4, peer6) = (address(&lab, "box2", "ansible_host"), address(&lab, "box2", "lab_ipv6"));
    let text = play(&format!(
        "        policy: drop\n        sets:\n          peers: [192.0.2.0/24, {peer4}, '{peer6}']\n        rules:\n          \
         - {{name: peers, ports: [8080, 9000-9010], sources: ['@peers']}}\n          \
         - {{name: six, port: 8081, sources: ['{peer6}', 'fd00:1::/64']}}\n          \
         - {{name: elsewhere, port: 8082, sources: [192.0.2.1]}}\n"
    ));
    let ran = lab.play(&text, &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    for (from, to, port, expected) in [
        ("box2", &four, 8080, true),
        ("box2", &four, 9005, true),
        ("box2", &six, 8080, true),
        ("box2", &six, 8081, true),
        ("box2", &four, 8081, false),
        ("box2", &four, 8082, false),
        ("box2", &four, 8083, false),
        ("box3", &four, 8080, false),
        ("box3", &six, 8081, false),
        ("box3", &four, 22, true),
    ] {
        assert_eq!(reaches(&lab, from, to, port), expected, "{from} to {to} port {port}\n{}", table(&lab));
    }
    let ran = lab.play(&text, &[]);
    assert_eq!((ran.code, ran.count("box1", "changed")), (0, 0), "{}", ran.all());
    // The next boot brings them too.
    lab.ssh("box1", "nft flush ruleset; systemctl restart nftables");
    assert!(reaches(&lab, "box2", &four, 8080) && !reaches(&lab, "box3", &four, 8080), "{}", table(&lab));
    clean(&lab);
}

/// From here on, `nft` on box1 closes ssh to new connections whenever new rules are put in force.
fn close_ssh(lab: &Lab) {
    let script = "#!/bin/sh\n/usr/sbin/nft \"$@\" || exit\ncase \"$*\" in \"-f -\") /usr/sbin/nft insert rule inet \
                  deploy_suite input tcp dport 22 ct state new drop;; esac\n";
    lab.ssh("box1", &format!("printf '%s' '{script}' >/usr/local/sbin/nft && chmod 755 /usr/local/sbin/nft"));
}

/// The old rules are in force again within `limit`, and a run gets through.
fn comes_back(lab: &Lab, limit: Duration) {
    let began = Instant::now();
    while !table(lab).contains("8001") {
        assert!(began.elapsed() < limit, "the rules are not put back:\n{}", table(lab));
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(!table(lab).contains("8002"), "{}", table(lab));
    assert_eq!(lab.ssh("box1", "ls /run/deploy-firewall; grep -c 8002 /etc/nftables.d/deploy_suite.nft"), "0");
    lab.ssh("box1", "rm /usr/local/sbin/nft");
    let ran = lab.play(&play(&OTHER.replace("SECONDS", "30")), &[]);
    assert_eq!((ran.code, ran.count("box1", "changed")), (0, 1), "{}", ran.all());
    assert!(table(lab).contains("8002"), "{}", table(lab));
}

fn locked_out() {
    let lab = lab();
    assert_eq!(lab.play(&play(OPEN), &[]).code, 0);
    close_ssh(&lab);
    let ran = lab.play(&play(&OTHER.replace("SECONDS", "14")), &["-T", "5"]);
    assert_eq!((ran.code, ran.count("box1", "failed")), (2, 1), "{}", ran.all());
    assert!(ran.out.contains("do not let a new connection in"), "{}", ran.out);
    assert!(table(&lab).contains("8002"), "they stand until the timer ends");
    comes_back(&lab, Duration::from_secs(14));
    clean(&lab);
}

fn without_systemd() {
    let lab = lab();
    assert_eq!(lab.play(&play(OPEN), &[]).code, 0);
    close_ssh(&lab);
    lab.ssh("box1", "mv /usr/bin/systemd-run /root/");
    let ran = lab.play(&play(&OTHER.replace("SECONDS", "8")), &["-T", "3"]);
    assert_eq!((ran.code, ran.count("box1", "failed")), (2, 1), "{}", ran.all());
    comes_back(&lab, Duration::from_secs(10));
    // The sleeper of rules that were confirmed does nothing, and does not end those of a later run either.
    let ran = lab.play(&play(&OPEN.replace("rules:", "revert_after: 5\n        rules:")), &[]);
    assert_eq!((ran.code, ran.count("box1", "changed")), (0, 1), "{}", ran.all());
    std::thread::sleep(Duration::from_secs(6));
    assert!(table(&lab).contains("8001"), "{}", table(&lab));
    clean(&lab);
}

fn managers() {
    let lab = lab();
    let refused = |name: &str| {
        for arguments in [&["--check"] as &[&str], &[]] {
            let ran = lab.play(&play(OPEN), arguments);
            assert_eq!((ran.code, ran.count("box1", "failed")), (2, 1), "{name}: {}", ran.all());
            assert!(ran.out.contains(&format!("{name} manages this host's firewall")), "{}", ran.out);
        }
        assert_eq!(lab.ssh("box1", "nft list tables | grep deploy_suite"), "");
    };
    let install = "DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends";
    lab.ssh("box1", &format!("{install} nftables ufw >/dev/null 2>&1; ufw allow 22/tcp; ufw --force enable"));
    refused("ufw");
    lab.ssh("box1", &format!("ufw --force disable; {install} firewalld >/dev/null 2>&1; systemctl start firewalld"));
    refused("firewalld");
    // Not among the lab's packages; its unit is what counts.
    lab.ssh(
        "box1",
        "systemctl disable --now firewalld; printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=true\\n' \
         >/etc/systemd/system/netfilter-persistent.service; systemctl daemon-reload; systemctl start netfilter-persistent",
    );
    refused("iptables (netfilter-persistent)");
    lab.ssh("box1", "systemctl stop netfilter-persistent; rm /etc/systemd/system/netfilter-persistent.service");
    let ran = lab.play(&play(OPEN), &[]);
    assert_eq!(ran.code, 0, "none of them is active any more: {}", ran.all());
    drop(lab);
    super::lab::lab().reset("box1");
}
