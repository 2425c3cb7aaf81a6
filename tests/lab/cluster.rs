//! The site as the suites use it: brought up, written to all the time, and looked at from the hosts' side.

use super::lab::{Lab, Ran, script};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The nodes of the site.
pub const NODES: [&str; 3] = ["galera1", "galera2", "galera3"];

/// Passbolt's password: whatever carries it wrongly shows at once.
pub const PASSWORD: &str = r#"pa's"s\w$rd-of-the-suite"#;

/// What the store of the authorities is encrypted with.
pub const PASSPHRASE: &str = "correct horse battery";

/// What sudo asks for on a host of the lab.
pub const LOGIN_PASSWORD: &str = r#"lab'pa"ss\wo$rd"#;

/// What the suite's site says about itself, as arguments: an awkward password, a store of its own.
pub fn arguments(lab: &Lab) -> Vec<String> {
    let password = serde_json::to_string(PASSWORD).unwrap();
    let secrets = lab.file("site-secrets.yml", &format!("passbolt_db_password: {password}\n"));
    let passphrase = lab.file("passphrase", &format!("{PASSPHRASE}\n"));
    let store = store(lab);
    for (path, mode) in [(&secrets, 0o600), (&store, 0o700), (&passphrase, 0o600)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let pki = format!("pki_store={} pki_passphrase_file={}", store.display(), passphrase.display());
    ["-e".into(), format!("@{}", secrets.display()), "-e".into(), pki].to_vec()
}

/// Where the suite's authorities live.
pub fn store(lab: &Lab) -> PathBuf {
    lab.file("pki/.keep", "").parent().unwrap().to_path_buf()
}

/// `deploy playbooks/site.yml` about to be started, with the suite's variables and more arguments. It keeps a journal: the
/// next run takes a killed one's lock of the cluster over only because the journal proves that it is dead.
pub fn site_command(lab: &Lab, more: &[&str]) -> Command {
    let arguments = arguments(lab);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = lab.command(&[&["playbooks/site.yml"], &arguments[..], more].concat());
    command.env("DEPLOY_RUNS_DIR", lab.file("site-runs/.keep", "").parent().unwrap());
    command
}

/// Another playbook about to be started, with the suite's variables and more arguments.
pub fn playbook(lab: &Lab, name: &str, more: &[&str]) -> Command {
    let arguments = arguments(lab);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let path = format!("playbooks/{name}.yml");
    lab.command(&[&[path.as_str()], &arguments[..], more].concat())
}

/// Runs another playbook.
pub fn run_playbook(lab: &Lab, name: &str, more: &[&str]) -> Ran {
    Ran::of(playbook(lab, name, more).output().unwrap())
}

/// Runs the site.
pub fn deploy_site(lab: &Lab, more: &[&str]) -> Ran {
    Ran::of(site_command(lab, more).output().unwrap())
}

/// Runs the site, which must succeed on every node.
pub fn up(lab: &Lab, more: &[&str]) -> Ran {
    let ran = deploy_site(lab, more);
    assert_finished(&ran);
    ran
}

/// A run that ended well: exit code 0, nothing failed, every node reached.
pub fn assert_finished(ran: &Ran) {
    assert_finished_on(ran, &NODES);
}

/// The same of other hosts.
pub fn assert_finished_on(ran: &Ran, hosts: &[&str]) {
    assert_eq!(ran.code, 0, "{}", tail(&ran.all()));
    for host in hosts {
        assert_eq!((ran.count(host, "failed"), ran.count(host, "unreachable")), (0, 0), "{}", tail(&ran.all()));
    }
}

/// The lines at the end of an output.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// The servers' process ids; `0` for one that does not run.
pub fn processes(lab: &Lab) -> [String; 3] {
    NODES.map(|host| lab.ssh(host, "systemctl show -p MainPID --value mariadb"))
}

/// What the server of a node says of itself: `Primary Synced 3`.
pub fn wsrep_state(lab: &Lab, host: &str) -> String {
    let names = "'wsrep_cluster_status','wsrep_local_state_comment','wsrep_cluster_size'";
    // Also over the socket the client judges the server's certificate, and here it is not about that.
    let query = format!("mariadb --skip-ssl -Ne \"show global status where variable_name in ({names})\" 2>/dev/null");
    let answer = lab.ssh(host, &query);
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("-", str::trim).to_string()
    };
    ["wsrep_cluster_status", "wsrep_local_state_comment", "wsrep_cluster_size"].map(value).join(" ")
}

/// Waits until every node is Synced in one Primary component of three.
pub fn assert_whole(lab: &Lab, within: Duration) {
    let limit = Instant::now() + within;
    loop {
        let states = NODES.map(|host| wsrep_state(lab, host));
        if states.iter().all(|state| state == "Primary Synced 3") {
            return;
        }
        assert!(Instant::now() < limit, "the nodes are {states:?} after {within:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// The files of the site whose contents are its own.
const FILES: &str = "/etc/mysql/mariadb.conf.d/70-galera.cnf /etc/systemd/system/mariadb.service.d/started-with.conf \
    /etc/systemd/system/clustercheck.socket /etc/systemd/system/clustercheck@.service /usr/local/sbin/clustercheck \
    /usr/local/sbin/galera-config-check /etc/nftables.d/deploy_galera.nft /etc/nftables.conf";

/// What stands in the site's files, by host and path: hash, owner and mode. A file as its package brought it says so.
pub fn files(lab: &Lab) -> BTreeMap<(String, String), String> {
    let command = format!(
        "packaged=$(dpkg-query -W -f='${{Conffiles}}\\n'); for f in {FILES}; do [ -e $f ] || continue; \
         h=$(sha256sum < $f | cut -c1-64); echo \"$packaged\" | grep -q \" $f $(md5sum < $f | cut -c1-32)\" && h=as-packaged; \
         echo \"$f $h $(stat -c '%U:%G:%a' $f)\"; done"
    );
    let mut all = BTreeMap::new();
    for host in NODES {
        for line in lab.ssh(host, &command).lines() {
            let (path, rest) = line.split_once(' ').unwrap();
            all.insert((host.to_string(), path.to_string()), rest.to_string());
        }
    }
    all
}

/// The sets of certificates in force are whole: key and certificate belong together, the chain verifies. Returns what
/// is wrong.
pub fn bad_certificates(lab: &Lab) -> Vec<String> {
    let command = r#"for d in /etc/mysql/ssl/*/current; do [ -e "$d" ] || continue
        a=$(openssl x509 -in $d/cert.pem -noout -pubkey 2>&1); b=$(openssl pkey -in $d/key.pem -pubout 2>&1)
        [ "$a" = "$b" ] || echo "$d: key and certificate differ"
        openssl verify -CAfile $d/ca.pem $d/cert.pem >/dev/null 2>&1 || echo "$d: the chain does not verify"; done"#;
    let found = NODES.map(|host| (host, lab.ssh(host, command)));
    found.iter().flat_map(|(host, out)| out.lines().map(move |line| format!("{host} {line}"))).collect()
}

/// Files under way that nobody writes any more.
pub fn left_over(lab: &Lab) -> Vec<String> {
    let find = r"find / -xdev \( -name '.deploy-*.tmp' -o -name 'deploy-scratch.*' -o -name '.deploy-check-*' \) \
        -not -path '/proc/*' 2>/dev/null";
    let found = NODES.map(|host| (host, lab.ssh(host, find)));
    found.iter().flat_map(|(host, out)| out.lines().map(move |line| format!("{host} {line}"))).collect()
}

/// A client that writes all the time: `tests/lab/writer.py`, with passbolt's certificate, over all nodes.
pub struct Writer {
    child: Child,
}

impl Writer {
    /// Starts it on a table of its own, and waits for its first acknowledged write.
    pub fn start(lab: &Lab, table: &str) -> Writer {
        let work = lab.file("writer/.keep", "").parent().unwrap().to_path_buf();
        let certificate = work.join("certificate");
        let play = format!(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - pki_certificate: {{ca: \
             client, profile: client, path: '{}', common_name: passbolt}}\n",
            certificate.display()
        );
        let variables = arguments(lab);
        let variables: Vec<&str> = variables.iter().map(String::as_str).collect();
        let ran = lab.play(&play, &variables);
        assert_eq!(ran.code, 0, "{}", ran.all());
        let current = certificate.join("current");
        Writer::spawn(lab, "passbolt", table, Some(&current))
    }

    /// The same as an application that knows no TLS: database and account are called `app`.
    pub fn start_plain(lab: &Lab, table: &str) -> Writer {
        let password = PASSWORD.replace('\'', "''").replace('\\', "\\\\");
        let account = format!(
            "create database if not exists app; create user if not exists app@'%' identified by '{password}'; grant all \
             on app.* to app@'%';"
        );
        lab.ssh(NODES[0], &format!("mariadb <<'SQL'\n{account}\nSQL"));
        Writer::spawn(lab, "app", table, None)
    }

    fn spawn(lab: &Lab, account: &str, table: &str, certificate: Option<&std::path::Path>) -> Writer {
        let work = lab.file("writer/.keep", "").parent().unwrap().to_path_buf();
        let create = format!(
            "mariadb {account} -e 'create or replace table {table} (id int primary key, node varchar(64), at timestamp(6) \
             default current_timestamp(6))'"
        );
        lab.ssh(NODES[0], &create);
        let ready = work.join(format!("{table}.ready"));
        let _ = std::fs::remove_file(&ready);
        let nodes = NODES.map(|host| lab.address(host)).join(",");
        let password = lab.file("writer/password", &format!("{PASSWORD}\n"));
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/writer.py");
        // Debian's Python has the driver; another one, first in PATH, may not.
        let mut command = Command::new("/usr/bin/python3");
        command.arg(program).args(["--nodes", &nodes, "--user", account, "--database", account, "--table", table]);
        for (word, file) in [("--ca", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")] {
            if let Some(directory) = certificate {
                command.arg(word).arg(directory.join(file));
            }
        }
        command.arg("--password-file").arg(password);
        command.arg("--ready").arg(&ready).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut writer = Writer { child: command.spawn().unwrap() };
        let limit = Instant::now() + Duration::from_secs(20);
        while !ready.exists() {
            if Instant::now() > limit || writer.child.try_wait().unwrap().is_some() {
                panic!("the writer did not write: {:?}", writer.end());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        writer
    }

    /// Ends it, and returns its summary once it has read everything back.
    pub fn stop(mut self) -> Summary {
        let said = self.end();
        let summary = said.as_ref().ok().and_then(|out| serde_json::from_str(out).ok());
        Summary(summary.unwrap_or_else(|| panic!("the writer said {said:?}")))
    }

    fn end(&mut self) -> Result<String, String> {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        use std::io::Read;
        let (mut out, mut err) = (String::new(), String::new());
        let _ = self.child.stdout.take().map(|mut pipe| pipe.read_to_string(&mut out));
        let _ = self.child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut err));
        let _ = self.child.wait();
        if err.is_empty() { Ok(out) } else { Err(err) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a writer saw.
#[derive(Debug)]
pub struct Summary(pub serde_json::Value);

impl Summary {
    /// Writes that a server acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.0["acknowledged"].as_u64().unwrap()
    }

    /// Seconds of the longest time between two of them.
    pub fn longest_gap(&self) -> f64 {
        self.0["longest_gap"]["seconds"].as_f64().unwrap_or_default()
    }

    /// Nothing that was acknowledged is missing anywhere, every node was read, and there were writes.
    pub fn assert_nothing_lost(&self) {
        assert!(self.acknowledged() > 100, "{}", self.0);
        assert_eq!(self.0["lost"], 0, "{}", self.0);
        let read = self.0["read"].as_object().unwrap();
        assert!(read.len() == NODES.len() && read.values().all(|rows| rows.is_u64()), "{}", self.0);
    }

    /// One line for a result.
    pub fn line(&self) -> String {
        format!(
            "{} acknowledged in {:.0} s, {} lost, longest gap {:.2} s at {}",
            self.acknowledged(),
            self.0["seconds"].as_f64().unwrap_or_default(),
            self.0["lost"],
            self.longest_gap(),
            self.0["longest_gap"]["began"].as_str().unwrap_or("-")
        )
    }
}

/// Looks at the three servers all the time, from inside the hosts, and notes when one of them has another process.
pub struct Watch {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<Vec<[String; 3]>>,
}

impl Watch {
    /// Starts looking.
    pub fn start() -> Watch {
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            // One shell a host, that says the process id whenever it is another one: that of systemd's own child, not of
            // a server that looks for its position or checks an option file.
            let look = "old=; while read -t 0.1 _; [ $? -gt 128 ]; do p=$(pgrep -P 1 -x mariadbd || echo 0); [ \"$p\" = \"$old\" ] || echo $p; old=$p; done";
            let (send, receive) = std::sync::mpsc::channel();
            let mut children = Vec::new();
            for (index, host) in NODES.iter().enumerate() {
                let mut child =
                    script("ssh").args([host, look]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
                let out = child.stdout.take().unwrap();
                let send = send.clone();
                std::thread::spawn(move || {
                    use std::io::BufRead;
                    for line in std::io::BufReader::new(out).lines().map_while(Result::ok) {
                        let _ = send.send((index, line));
                    }
                });
                children.push(child);
            }
            let mut now = ["", "", ""].map(String::from);
            let mut history = Vec::new();
            while !told.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((index, process)) = receive.recv_timeout(Duration::from_millis(100)) {
                    now[index] = process;
                    if now.iter().all(|process| !process.is_empty()) {
                        history.push(now.clone());
                    }
                }
            }
            for mut child in children {
                drop(child.stdin.take()); // its loop ends with its input
                let _ = child.wait();
            }
            history
        });
        Watch { stop, thread }
    }

    /// What was seen: the three process ids at each change, `0` for a server that does not run.
    pub fn stop(self) -> Vec<[String; 3]> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The nodes in the order in which they went down, of what was seen; two down at a time is an error.
pub fn restarts(history: &[[String; 3]]) -> Vec<&'static str> {
    let mut order = Vec::new();
    for pair in history.windows(2) {
        let down = pair[1].iter().filter(|process| *process == "0").count();
        assert!(down < 2, "{down} servers were down at the same time: {history:?}");
        for index in 0..3 {
            if pair[0][index] != pair[1][index] && pair[0][index] != "0" {
                order.push(NODES[index]);
            }
        }
    }
    order
}
