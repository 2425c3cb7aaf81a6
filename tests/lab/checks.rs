//! What a check may not do.

use super::lab::lab;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] =
    &[("a check that may not fetch looks into no archive and downloads nothing, and says so", no_fetch)];

const PLAY: &str = r#"
- hosts: box1
  gather_facts: false
  become: true
  tasks:
    - {name: comes from the cache, apt: {name: hello}}
    - {name: what it brings, stat: {path: /usr/bin/hello}, register: program}
    - {name: what reads that, debug: {msg: "{{ program.stat.exists }}"}}
    - {name: beside it, stat: {path: /usr/local/bin/hello}}
    - {name: by dnf, dnf: {name: nano}}
    - {name: by dnf after a refresh, dnf: {name: mc, update_cache: true}, tags: [fetch]}
    - {name: by dnf from the web, dnf: {name: "http://127.0.0.1:9/x.rpm"}, tags: [fetch]}
    - {name: from the web, apt: {deb: "http://127.0.0.1:9/x.deb"}, tags: [fetch]}
    - {name: after an update, apt: {name: tree, update_cache: true}, tags: [fetch]}
"#;

/// A dnf that writes down what it is asked for. (The hosts are Debian's.)
const DNF: &str = r#"
printf '#!/bin/sh\nexit 1\n' > /usr/local/bin/rpm
printf '#!/bin/sh\necho "$*" >> /srv/dnf.asked\necho Installing:\necho " nano x86_64 5.6.1-5.el9 baseos 1 M"\nexit 1\n' > /usr/local/bin/dnf
chmod 755 /usr/local/bin/rpm /usr/local/bin/dnf
"#;

fn no_fetch() {
    let lab = lab();
    lab.reset("box1");
    lab.ssh("box1", DNF);
    let state = "find /var/lib/apt /var/cache/apt /var/lib/dpkg /tmp /var/tmp -not -path '*/systemd-private*' | sort | sha256sum";
    let before = lab.ssh("box1", state);
    let status = |words: &[&str]| {
        let ran = lab.play(PLAY, &[&["--check", "--format", "json"], words].concat());
        let found: Vec<String> =
            ran.results().into_iter().map(|(_, task, status, _)| format!("{task}: {status}")).collect();
        (found, ran.all(), lab.ssh("box1", "cat /srv/dnf.asked; rm -f /srv/dnf.asked"))
    };
    let (found, all, asked) = status(&["--no-fetch"]);
    assert_eq!(
        found,
        [
            "comes from the cache: changed",
            "what it brings: unknown",
            "what reads that: unknown",
            "beside it: ok",
            "by dnf: changed",
            "by dnf after a refresh: unknown",
            "by dnf from the web: unknown",
            "from the web: unknown",
            "after an update: unknown",
        ],
        "{all}"
    );
    assert_eq!(asked, "-q --assumeno --cacheonly install nano");
    assert!(all.matches("--no-fetch forbids").count() >= 5, "{all}");
    let (found, all, asked) = status(&["--skip-tags", "fetch"]);
    let seen = ["comes from the cache: changed", "what it brings: ok", "what reads that: ok", "beside it: ok"];
    assert_eq!(found[..4], seen, "{all}");
    assert!(asked == "-q --assumeno install nano" && !all.contains("--no-fetch"), "{asked}: {all}");
    assert_eq!(lab.ssh("box1", state), before, "neither check left anything");
}
