//! Bad input: one clear error at its place. What can be known by reading is said before any connection; what is only
//! known on a host fails that host alone.

use super::cluster::{PASSPHRASE, tail};
use super::lab::{BOXES, Lab, Ran, lab};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The scenarios of this file.
pub const SCENARIOS: &[(&str, fn())] = &[
    ("bad input: found before any connection", before_any_connection),
    ("bad input: an expired authority and a bad name stop the site before any connection", authorities),
    ("bad input: warnings", warnings),
    ("bad input: one host's mistake is that host's", one_host),
];

/// A port that nobody must connect to, and an inventory whose hosts are all there.
struct Untouched {
    listener: TcpListener,
    inventory: std::path::PathBuf,
}

impl Untouched {
    fn new(lab: &Lab) -> Untouched {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts: String = ["galera1", "galera2", "galera3"]
            .map(|host| format!("        {host}: {{ansible_host: 127.0.0.1, ansible_port: {port}}}\n"))
            .concat();
        let text = format!("all:\n  children:\n    galera:\n      hosts:\n{hosts}");
        Untouched { listener, inventory: lab.file("untouched/hosts.yml", &text) }
    }

    /// Runs `deploy`, which must end with Ansible's code for what cannot be parsed, say one error and contact nobody.
    fn refused(&self, lab: &Lab, arguments: &[&str]) -> Ran {
        let ran = Ran::of(lab.command_on(&self.inventory, arguments).output().unwrap());
        let all = ran.all();
        assert_eq!(ran.code, 4, "{all}");
        assert!(self.listener.accept().is_err(), "somebody was contacted: {all}");
        let errors = all.lines().filter(|line| line.starts_with("error")).count();
        assert_eq!(errors, 1, "one clear error: {all}");
        assert!(!all.contains("PLAY") && !all.contains("panicked"), "{all}");
        ran
    }
}

fn before_any_connection() {
    let lab = lab();
    let untouched = Untouched::new(&lab);
    let task = |text: &str| format!("- hosts: galera\n  gather_facts: false\n  tasks:\n    - name: first\n{text}");
    lab.file("templates/unended.j2", "one\n{% if x %}\ntwo\n");
    lab.file("roles/broken/tasks/main.yml", "- name: in a role\n  copy:\n    content: a\n    dset: /b\n");
    let play = |lines: &str| format!("- hosts: galera\n  gather_facts: false\n{lines}");
    // (what, play, the words that must be there, the place)
    let cases: Vec<(&str, String, &[&str], &str)> = vec![
        ("unknown module", task("      copi: {src: a, dest: /b}\n"), &["copi", "copy"], "bad.yml:5:7"),
        ("unknown module of a collection", task("      foo.bar.baz: {a: b}\n"), &["foo.bar.baz"], "bad.yml:5:7"),
        ("unknown argument", task("      copy: {conten: a, dest: /b}\n"), &["conten", "`content`"], "bad.yml:5:14"),
        ("unknown argument in a line", task("      file: path=/b stat=absent\n"), &["stat", "`state`"], "bad.yml:5:"),
        ("unknown argument in a role", play("  roles: [broken]\n"), &["dset", "`dest`"], "main.yml:4:5"),
        ("unknown keyword of a task", task("      ping:\n      whem: true\n"), &["whem", "`when`"], "bad.yml:6:7"),
        (
            "unknown keyword of a play",
            play("  gather_fact: false\n  tasks: []\n"),
            &["gather_fact", "keyword"],
            "bad.yml:3:3",
        ),
        (
            "template syntax",
            task("      copy: {content: \"{{ a | }}\", dest: /b}\n"),
            &["syntax error"],
            "bad.yml:5:23",
        ),
        ("condition syntax", task("      ping:\n      when: a ==\n"), &["syntax error"], "bad.yml:6:13"),
        (
            "template file",
            task("      template: {src: unended.j2, dest: /b}\n"),
            &["syntax error", "bad.yml:5:23"],
            "unended.j2:3:1",
        ),
        ("no such filter", task("      copy: {content: \"{{ a | uper }}\", dest: /b}\n"), &["uper"], "bad.yml:5:"),
        ("YAML syntax", task("      copy: {content: a, dest: /b\n    - ping:\n"), &["not YAML"], "bad.yml:6:"),
        ("YAML tabs", task("\tping:\n"), &["YAML"], "bad.yml:5:1"),
        ("missing role", play("  roles:\n    - nosuchrole\n"), &["nosuchrole", "searched"], "bad.yml:4:7"),
        ("missing role of a task", task("      import_role: {name: nosuchrole}\n"), &["nosuchrole"], "bad.yml:5:"),
        (
            "bad name",
            task("      pki_certificate: {ca: x, profile: server, path: /x, dns: ['a b']}\n"),
            &["a b", "name"],
            "bad.yml:4:",
        ),
    ];
    let store = lab.file("pki-empty/.keep", "").parent().unwrap().to_path_buf();
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o700)).unwrap();
    let store = format!("pki_store={}", store.display());
    let mut wrong = Vec::new();
    for (what, play, words, place) in cases {
        let path = lab.file("bad.yml", &play);
        // A mistake in one case must not hide the next.
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let ran = untouched.refused(&lab, &[path.to_str().unwrap(), "-e", &store]);
            let all = ran.all();
            assert!(words.iter().all(|word| all.contains(word)), "not all of {words:?}: {all}");
            assert!(all.contains(place), "not at {place}: {all}");
        }));
        if checked.is_err() {
            wrong.push(what);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Runs openssl where the test runs.
fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn authorities() {
    let lab = lab();
    let untouched = Untouched::new(&lab);
    let folder = lab.file("old/ca.cnf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\nx509_extensions=v3\n[p]\ncommonName=supplied\n[v3]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n");
    let folder = folder.parent().unwrap();
    lab.file("old/index.txt", "");
    lab.file("old/serial", "01\n");
    openssl(
        folder,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -subj /CN=old -out request.pem",
    );
    let sign = "ca -batch -config ca.cnf -selfsign -keyfile key.pem -in request.pem -notext";
    let good = "req -x509 -key key.pem -subj /CN=old -days 3650 -out good.pem -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign";
    openssl(folder, good);
    openssl(folder, &format!("{sign} -startdate 20200101000000Z -enddate 20210101000000Z -out expired.pem"));
    let passphrase = lab.file("old/passphrase", &format!("{PASSPHRASE}\n"));
    let store = lab.file("old/store/.keep", "").parent().unwrap().to_path_buf();
    for (path, mode) in [(&passphrase, 0o600), (&store, 0o700)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let import = Command::new(env!("CARGO_BIN_EXE_deploy"))
        .args(["pki", "--store"])
        .arg(&store)
        .arg("--passphrase-file")
        .arg(&passphrase)
        .args(["import", "client", "--purpose", "client", "--cert", "good.pem", "--key", "key.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    // Time goes by.
    let kept = std::fs::read_dir(store.join("ca/client")).unwrap().flatten().map(|entry| entry.path().join("cert.pem"));
    let kept = kept.into_iter().find(|path| path.exists()).unwrap();
    std::fs::copy(folder.join("expired.pem"), kept).unwrap();
    let pki = format!("pki_store={} pki_passphrase_file={}", store.display(), passphrase.display());
    let password = "passbolt_db_password=long-enough-for-this";
    let ran = untouched.refused(&lab, &["playbooks/site.yml", "-e", &pki, "-e", password]);
    let all = ran.all();
    assert!(all.contains("expired at 2021-01-01") && all.contains("roles/pki/tasks/"), "{}", tail(&all));
    // The same site with a sound store and a name that is none.
    let fresh = lab.file("fresh-store/.keep", "").parent().unwrap().to_path_buf();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o700)).unwrap();
    let pki = format!("pki_store={} pki_passphrase_file={}", fresh.display(), passphrase.display());
    let names = r#"{"database_service_names": ["db name.example"]}"#;
    let ran = untouched.refused(&lab, &["playbooks/site.yml", "-e", &pki, "-e", password, "-e", names]);
    assert!(ran.all().contains("db name.example") && ran.all().contains("roles/pki/tasks/node.yml:"), "{}", ran.all());
}

fn warnings() {
    let lab = lab();
    let play = "- hosts: box1:nosuchgroup\n  gather_facts: false\n  tasks:\n    - name: one\n      name: two\n      command: echo done\n      changed_when: false\n";
    let ran = lab.play(play, &[]);
    assert_eq!((ran.code, ran.count("box1", "ok")), (0, 1), "{}", ran.all());
    assert!(ran.err.contains("warning: duplicate key `name`") && ran.err.contains("play.yml:5:7"), "{}", ran.err);
    assert!(ran.all().contains("Could not match supplied host pattern, ignoring: nosuchgroup"), "{}", ran.all());
    // A play without any host is passed over, and the run ends well.
    let ran = lab.play("- hosts: nosuchgroup\n  tasks:\n    - ping:\n", &[]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.all().contains("no hosts matched"), "{}", ran.all());
}

/// Everything of a host that a play could have changed.
const TREE: &str = "find /etc /usr /srv /root /home /opt -xdev -path /home/deploy/.cache -prune -o -type d -printf '%p %m %u %g\\n' -o -printf '%p %m %u %g %s %T@\\n' | sort | sha256sum";

fn one_host() {
    let lab = lab();
    // Each mistake is box2's; the two others go on to the end.
    let play = "- hosts: box*\n  gather_facts: false\n  become: true\n  tasks:\n    - copy: {content: \"{{ word }}\", dest: /srv/mistake}\n    - copy: {content: end, dest: /srv/mistake-end}\n";
    let vars = |text: &str| {
        for host in BOXES {
            lab.file(&format!("host_vars/{host}.yml"), if host == "box2" { text } else { "word: hello\n" });
        }
    };
    let asks = "echo 'deploy ALL=(ALL) ALL' >/etc/sudoers.d/zz-asks; rm -rf /run/sudo/ts/deploy";
    let other_key = "cd /etc/ssh; for k in ssh_host_ed25519_key ssh_host_ed25519_key.pub; do mv $k /root/$k; done; ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key; systemctl restart ssh";
    let own_key = "cd /root && mv ssh_host_ed25519_key ssh_host_ed25519_key.pub /etc/ssh/; systemctl restart ssh";
    // (what, box2's variables, before, after, exit code, counter, words)
    let cases: [(&str, &str, &str, &str, i32, &str, &[&str]); 5] = [
        ("undefined variable", "other: x\n", "", "", 2, "failed", &["'word' is undefined", "play.yml:5:"]),
        (
            "wrong become password",
            "word: hello\nansible_become_password: \"wrong pa'ss\"\n",
            asks,
            "rm /etc/sudoers.d/zz-asks",
            2,
            "failed",
            &["password"],
        ),
        ("unreachable", "word: hello\nansible_port: 2\n", "", "", 4, "unreachable", &["box2"]),
        (
            "no such address",
            "word: hello\nansible_host: no-such-host.invalid\n",
            "",
            "",
            4,
            "unreachable",
            &["no-such-host.invalid"],
        ),
        ("wrong host key", "word: hello\n", other_key, own_key, 4, "unreachable", &["SHA256:"]),
    ];
    let mut wrong = Vec::new();
    for (what, variables, before, after, code, counter, words) in cases {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            vars(variables);
            BOXES.iter().for_each(|host| drop(lab.ssh(host, "rm -f /srv/mistake /srv/mistake-end")));
            lab.ssh("box2", before);
            let tree = lab.ssh("box2", TREE);
            let ran = lab.play(play, &[]);
            let seen = lab.ssh("box2", TREE);
            lab.ssh("box2", after);
            let all = ran.all();
            assert_eq!((ran.code, ran.count("box2", counter)), (code, 1), "{what}: {all}");
            assert_eq!(seen, tree, "{what}: box2 was changed: {all}");
            assert!(words.iter().all(|word| all.contains(word)), "{what}: not all of {words:?}: {all}");
            assert!(!all.contains("wrong pa'ss"), "{what}: the password is shown: {all}");
            let said =
                all.lines().filter(|line| line.starts_with("failed: ") || line.starts_with("unreachable: ")).count();
            assert_eq!(said, 1, "{what}: one clear error: {all}");
            for host in ["box1", "box3"] {
                assert_eq!(
                    lab.ssh(host, "cat /srv/mistake /srv/mistake-end"),
                    "helloend",
                    "{what}: {host} went on: {all}"
                );
                assert_eq!((ran.count(host, "ok"), ran.count(host, "changed")), (2, 2), "{what}: {all}");
            }
        }));
        if checked.is_err() {
            lab.ssh("box2", after);
            wrong.push(what);
        }
    }
    vars("word: hello\n");
    let ran = lab.play(play, &[]);
    assert_eq!((ran.code, lab.ssh("box2", "cat /srv/mistake-end")), (0, "end".into()), "{}", ran.all());
    assert!(wrong.is_empty(), "{wrong:?}");
}
