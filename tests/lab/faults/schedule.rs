//! A job that runs by itself: a host of the lab is the controller, its timer renews certificates that live for minutes.

use super::note;
use crate::cluster::{self, NODES, Writer, processes, tail};
use crate::lab::{Lab, lab, script};
use crate::rotation::{PORTS, served};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[("schedule: a timer renews ten times, each when it is due", cycles)];

/// Who runs the job, where.
const CONTROLLER: &str = "box1";
const USER: &str = "rotator";
const STATE: &str = "/var/lib/rotator/.local/state/deploy";
const UNIT: &str = "deploy-rotate-certs";

/// Seconds after its issue at which a certificate is due, of the 240 that it lives.
const DUE: i64 = 60;
const INVENTORY: &str = "vars: {pki_lifetime: 4m, pki_renew_before: 3m}";
const CYCLES: usize = 10;

/// Feeds a command on a host, and returns what it printed.
fn feed(host: &str, command: &str, input: &[u8]) -> String {
    let mut ssh = script("ssh");
    let mut child =
        ssh.args([host, command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let told = child.wait_with_output().unwrap();
    assert!(told.status.success(), "{command}: {}", String::from_utf8_lossy(&told.stderr));
    String::from_utf8_lossy(&told.stdout).into_owned()
}

fn tar(directory: &Path, names: &[&str]) -> Vec<u8> {
    let told = Command::new("tar").arg("-C").arg(directory).args(["-cf", "-"]).args(names).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    told.stdout
}

/// `deploy`, the project, an inventory, and two secrets, sealed for that host.
fn furnish(lab: &Lab) {
    let program = Path::new(env!("CARGO_BIN_EXE_deploy"));
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    lab.ssh(CONTROLLER, "mkdir -p /usr/local/bin /srv/site/inventory /etc/credstore.encrypted");
    let unpack = |to: &str| format!("tar -C {to} -xf - --no-same-owner");
    feed(CONTROLLER, &unpack("/usr/local/bin"), &tar(program.parent().unwrap(), &["deploy", "deploy-agent"]));
    feed(CONTROLLER, &unpack("/srv/site"), &tar(project, &["playbooks", "roles"]));
    // A gate of three seconds instead of ten: three nodes in turns are to be done before the first is due again.
    let quick =
        "sed -i 's/allow_expired: true/allow_expired: true, stable_for: 3/' /srv/site/playbooks/rotate-certs.yml";
    lab.ssh(CONTROLLER, &format!("{quick} && grep -c 'stable_for: 3' /srv/site/playbooks/rotate-certs.yml"));
    let mut hosts = String::from("galera:\n  hosts:\n");
    for node in NODES {
        let address = lab.address(node);
        hosts += &format!("    {node}: {{ansible_host: {address}, ansible_user: deploy, galera_address: {address}}}\n");
    }
    hosts += &format!("  {INVENTORY}\n");
    hosts += "all:\n  vars:\n    schedule_notify: {command: ['/bin/sh', '-c', 'cat >> /var/lib/rotator/.local/state/deploy/told']}\n";
    feed(CONTROLLER, "cat > /srv/site/inventory/hosts.yml", hosts.as_bytes());
    let known = std::fs::read(lab.inventory.parent().unwrap().join("known_hosts")).unwrap();
    feed(CONTROLLER, "cat > /etc/ssh/ssh_known_hosts", &known);
    for (name, secret) in [("pki-passphrase", cluster::PASSPHRASE), ("become-password", cluster::LOGIN_PASSWORD)] {
        let name = format!("deploy.{name}");
        let seal = format!("systemd-creds encrypt --with-key=host --name={name} - /etc/credstore.encrypted/{name}");
        feed(CONTROLLER, &seal, secret.as_bytes());
    }
}

/// `deploy schedule` on the controller: its exit code, and what it said.
fn schedule(lab: &Lab, words: &str) -> (String, String) {
    let said =
        lab.ssh(CONTROLLER, &format!("cd /srv/site && deploy schedule --user {USER} {words} 2>&1; echo code=$?"));
    let (said, code) = said.rsplit_once("code=").unwrap();
    (code.to_string(), said.to_string())
}

/// The job's key is let in: on galera2 with a forced command, which it must do with.
fn let_in(lab: &Lab, said: &str) {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let plain = lines.iter().find(|line| line.starts_with("restrict ssh-ed25519 ")).unwrap();
    let forced = lines.iter().find(|line| line.starts_with("restrict,command=")).unwrap();
    for node in NODES {
        let line = if node == "galera2" { forced } else { plain };
        feed(node, "cat >> ~deploy/.ssh/authorized_keys", format!("{line}\n").as_bytes());
    }
    let shell = lab.ssh(
        CONTROLLER,
        &format!("runuser -u {USER} -- ssh -F none -o BatchMode=yes -i {STATE}/ssh/id_ed25519 deploy@galera2 'echo in; id' </dev/null | tr -d '\\000'"),
    );
    assert!(shell.contains("deploy agent") && !shell.contains("uid="), "a forced command is what is run: {shell}");
}

/// Certificates by host and authority, in the order of their issue: when, and the serial number.
fn issued(lab: &Lab) -> BTreeMap<(String, String), Vec<(i64, String)>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    let every = format!("for f in {STATE}/pki/default/issued/*.json; do tr -d '\\n' < $f; echo; done");
    for line in lab.ssh(CONTROLLER, &every).lines() {
        let one: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_else(|| panic!("{line}")).to_string();
        let at = one["issued_at"].as_i64().unwrap_or_else(|| panic!("issued_at: {line}"));
        let key = (text(&one["host"]), text(&one["authority"]));
        all.entry(key).or_default().push((at, text(&one["info"]["serial"])));
    }
    all.values_mut().for_each(|list| list.sort());
    all
}

fn journal(lab: &Lab, unit: &str, since: &str) -> Vec<String> {
    let said = lab.ssh(CONTROLLER, &format!("journalctl -u {unit} --no-pager -o cat --since '@{since}' _COMM=deploy"));
    said.lines().map(String::from).collect()
}

fn cycles() {
    let lab = lab();
    cluster::up(&lab, &[]);
    let writer = Writer::start(&lab, "schedule_cycles");
    furnish(&lab);
    let (code, said) = schedule(&lab, "");
    assert!(code == "1" && said.contains("there is no user `rotator`") && said.contains("--create-user"), "{said}");
    let words =
        |calendar: &str| format!("--on-calendar '{calendar}' --credential pki-passphrase --credential become-password");
    let (code, said) = schedule(&lab, &format!("--create-user {} --check", words("yearly")));
    assert!(code == "0" && said.contains("would make the user") && said.contains("+ExecStart="), "{said}");
    assert_eq!(
        lab.ssh(CONTROLLER, "id rotator 2>/dev/null; ls /etc/systemd/system/deploy-* 2>/dev/null"),
        "",
        "a check"
    );
    // The timer is to begin when store and hosts are ready.
    let (code, said) = schedule(&lab, &format!("--create-user {}", words("yearly")));
    assert!(code == "0" && said.contains("enabled and started"), "{said}");
    let (code, again) = schedule(&lab, &words("yearly"));
    assert!(code == "0" && again.contains("as it should be") && !again.contains("written"), "{again}");
    assert_eq!(lab.ssh(CONTROLLER, &format!("stat -c '%U %a' {STATE}/ssh/id_ed25519")), "rotator 600");
    let_in(&lab, &said);
    let verified = lab.ssh(CONTROLLER, &format!("systemd-analyze verify {UNIT}.service {UNIT}.timer 2>&1; echo $?"));
    assert_eq!(verified, "0");
    note(lab.ssh(CONTROLLER, &format!("systemd-analyze security --no-pager {UNIT}.service | tail -1")));
    feed(
        CONTROLLER,
        &format!(
            "mkdir -p {STATE}/pki/default && tar -C {STATE}/pki/default -xf - && chown -R {USER}: {STATE}/pki && chmod 700 {STATE}/pki {STATE}/pki/default"
        ),
        &tar(&cluster::store(&lab), &["."]),
    );

    let (running, before) = (processes(&lab), issued(&lab));
    let began = lab.ssh(CONTROLLER, "date +%s");
    let (code, said) = schedule(&lab, &words("*:*:0/5"));
    assert!(code == "0" && said.contains("written") && said.contains("started anew"), "{said}");
    // What the six ports serve, one after the other, as other nodes see it.
    let limit = Instant::now() + Duration::from_secs(30 * 60);
    let first = loop {
        let look = served(&lab);
        if look.iter().all(|serial| !serial.is_empty()) {
            break look;
        }
        assert!(Instant::now() < limit, "a port serves nothing: {look:?}");
        std::thread::sleep(Duration::from_secs(1));
    };
    let mut seen: Vec<Vec<String>> = first.into_iter().map(|serial| vec![serial]).collect();
    let mut sloth = 0;
    while seen.iter().any(|serials| serials.len() <= CYCLES) {
        assert!(Instant::now() < limit, "{seen:?}\n{}", journal(&lab, UNIT, &began).join("\n"));
        std::thread::sleep(Duration::from_secs(1));
        for (known, now) in seen.iter_mut().zip(served(&lab)) {
            if now.is_empty() {
                sloth += 1; // a look that came to nothing is none
            } else if known.last() != Some(&now) {
                known.push(now);
            }
        }
    }
    lab.ssh(
        CONTROLLER,
        &format!("systemctl stop {UNIT}.timer; while systemctl is-active {UNIT}.service | grep -q activating; do sleep 0.2; done"),
    );
    for (known, now) in seen.iter_mut().zip(served(&lab)) {
        if known.last() != Some(&now) {
            known.push(now);
        }
    }
    let took = lab.ssh(CONTROLLER, "date +%s").parse::<i64>().unwrap() - began.parse::<i64>().unwrap();
    assert_eq!(processes(&lab), running, "nobody was restarted");

    // Every certificate that was issued was served, in that order, and came when the one before it was due, not twice.
    let (mut latest, mut number) = (0, 0);
    for ((index, node), (at, (_, set, _))) in
        NODES.iter().enumerate().flat_map(|node| PORTS.iter().enumerate().map(move |port| (node, port)))
    {
        let authority = if *set == "cluster" { "cluster" } else { "client" };
        let key = (node.to_string(), authority.to_string());
        let old = before.get(&key).map_or(0, Vec::len);
        let list = &issued(&lab)[&key][old..];
        let serials: Vec<String> = list.iter().map(|(_, serial)| serial.to_uppercase()).collect();
        let watched: Vec<String> = seen[index * PORTS.len() + at][1..]
            .iter()
            .map(|serial| serial.trim_start_matches("serial=").trim_start_matches('0').to_string())
            .collect();
        let serials: Vec<String> = serials.iter().map(|serial| serial.trim_start_matches('0').to_string()).collect();
        assert_eq!(watched, serials, "{node} {set}");
        assert!(serials.len() >= CYCLES, "{node} {set}: {serials:?}");
        for pair in list.windows(2) {
            let after = pair[1].0 - pair[0].0;
            assert!(
                after >= DUE,
                "{node} {set}: renewed {after} s after the one before, and due after {DUE}: {list:?}"
            );
            latest = latest.max(after);
        }
        number += serials.len();
    }
    let said = journal(&lab, UNIT, &began);
    let summaries = said.iter().filter(|line| line.starts_with("rotate-certs: done in ")).count();
    let renewed = said.iter().filter(|line| line.contains(": renewed ")).count();
    assert_eq!(renewed, number, "{}", said.join("\n"));
    let strange: Vec<&String> = said
        .iter()
        .filter(|line| {
            !line.starts_with("rotate-certs: done in ")
                && !line.contains(": renewed ")
                && !line.contains(": changed by ")
        })
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    let runs = lab
        .ssh(CONTROLLER, &format!("journalctl -u {UNIT} --no-pager -o cat --since '@{began}' | grep -c '^Finished'"))
        .parse::<usize>()
        .unwrap();
    assert!(runs > summaries + CYCLES / 2, "{runs} runs, {summaries} that did something");
    let told = lab.ssh(CONTROLLER, &format!("grep -o '\"result\":\"[a-z]*\"' {STATE}/told | sort | uniq -c"));
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>(),
        [summaries.to_string().as_str(), "\"result\":\"changed\""],
        "{told}"
    );
    note(format!(
        "{number} certificates over {took} s, {} to {} on each of 6 ports; renewed {DUE} to {latest} s after issue (due at {DUE}, the nodes in turns); \
         {runs} runs of the timer, {summaries} of them did something and said so, the others said nothing; {sloth} looks came to nothing",
        seen.iter().map(|serials| serials.len() - 1).min().unwrap(),
        seen.iter().map(|serials| serials.len() - 1).max().unwrap(),
    ));
    two_at_once(&lab);
    let summary = writer.stop();
    note(summary.line());
    summary.assert_nothing_lost();
    let (code, said) = schedule(&lab, "--remove");
    assert!(code == "0" && said.contains("removed"), "{said}");
    assert_eq!(
        lab.ssh(
            CONTROLLER,
            "ls /etc/systemd/system/deploy-* 2>/dev/null; systemctl list-timers --no-legend 'deploy-*'"
        ),
        ""
    );
}

/// The second of two leaves or waits, and is told of the first.
fn two_at_once(lab: &Lab) {
    let words = "--name forced --on-calendar yearly --credential pki-passphrase --credential become-password -- -e pki_renew=force";
    let (code, said) = schedule(lab, words);
    assert_eq!(code, "0", "{said}");
    let busy = |host: &str| !lab.ssh(host, "ls /run/deploy/cluster-*.lock 2>/dev/null").is_empty();
    let start = || {
        lab.ssh(CONTROLLER, "systemctl start --no-block deploy-forced.service");
        let limit = Instant::now() + Duration::from_secs(60);
        while !busy("galera1") {
            assert!(Instant::now() < limit, "{}", journal(lab, "deploy-forced", "0").join("\n"));
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    start();
    let by_hand = format!(
        "cd /srv/site && runuser -u {USER} -- env HOME=/var/lib/{USER} deploy schedule run --name forced --if-locked leave; echo code=$?"
    );
    let left = lab.ssh(CONTROLLER, &by_hand);
    assert!(left.ends_with("code=0") && left.contains("this job is being run by rotator@box1 since 20"), "{left}");
    note(format!("the same job by hand: {}", left.lines().nth(1).unwrap_or_default().trim()));
    // Another controller.
    let other =
        |policy: &str| cluster::run_playbook(lab, "rotate-certs", &["-e", "pki_renew=force", "--if-locked", policy]);
    let left = other("leave");
    assert_eq!(left.code, 0, "{}", tail(&left.all()));
    assert!(
        left.all().contains("rotator@box1") && NODES.iter().all(|node| left.count(node, "changed") != 1),
        "{}",
        tail(&left.all())
    );
    let told = left.all().lines().find(|line| line.contains("rotator@box1")).unwrap_or_default().to_string();
    note(format!("another controller that leaves: {}", told.trim()));
    assert!(busy("galera1"), "the first was still at work");
    let failed = other("fail");
    assert_eq!(failed.code, 2, "{}", tail(&failed.all()));
    let waited = other("wait:5m");
    cluster::assert_finished(&waited);
    let ended = lab.ssh(CONTROLLER, "systemctl show -p Result,ActiveState --value deploy-forced.service");
    assert_eq!(
        ended.split_whitespace().collect::<Vec<_>>(),
        ["success", "inactive"],
        "{}",
        journal(lab, "deploy-forced", "0").join("\n")
    );
    let (code, said) = schedule(lab, "--name forced --remove");
    assert_eq!(code, "0", "{said}");
}
