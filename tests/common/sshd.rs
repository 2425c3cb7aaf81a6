//! A real sshd on a loopback port, with its files in a temporary directory. Tests that need it fail without it.

#![allow(dead_code)] // each test binary uses its part

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use deploy::connection::{HostKeyPolicy, Identity, Target};

/// A running server; it ends when this is dropped.
pub struct Sshd {
    pub directory: tempfile::TempDir,
    pub port: u16,
    child: Child,
}

/// Runs a program of OpenSSH and demands success.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|e| panic!("{program} cannot be run ({e}); install openssh-client and openssh-server"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes a key pair.
pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let path = path.to_str().unwrap();
    let mut args = vec!["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path];
    if kind == "rsa" {
        args.extend(["-b", "2048"]);
    }
    run("ssh-keygen", &args);
}

/// The user the tests run as.
pub fn user() -> String {
    run("id", &["-un"]).trim().to_string()
}

impl Sshd {
    /// A server with an ed25519 host key that lets the key `client` in.
    pub fn start() -> Sshd {
        Sshd::with("")
    }

    /// The same with more configuration, which wins over the usual.
    pub fn with(extra: &str) -> Sshd {
        Sshd::prepare(|_| extra.to_string())
    }

    /// The same; `prepare` can put files into the directory first and answers with more configuration.
    pub fn prepare(prepare: impl FnOnce(&Path) -> String) -> Sshd {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        keygen(&path.join("host"), "ed25519", "");
        keygen(&path.join("client"), "ed25519", "");
        std::fs::copy(path.join("client.pub"), path.join("authorized_keys")).unwrap();
        let extra = prepare(path);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let p = path.display();
        let listen = if extra.contains("ListenAddress") { "" } else { "ListenAddress 127.0.0.1\n" };
        // SHLVL keeps bash from reading the .bashrc of whoever runs the tests, which may be slow, or hold locks when
        // a test kills it.
        let config = format!(
            "{extra}\nPort {port}\n{listen}HostKey {p}/host\nAuthorizedKeysFile {p}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             LogLevel VERBOSE\nMaxStartups 100\nSetEnv SHLVL=3\n"
        );
        std::fs::write(path.join("sshd_config"), config).unwrap();
        if user() == "root" {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let log = std::fs::File::create(path.join("log")).unwrap();
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(path.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd cannot be started; install openssh-server");
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = child.try_wait().unwrap();
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "sshd did not come up: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Sshd { directory, port, child }
    }

    /// A file in the server's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A target that knows the server's key and owns the client's.
    pub fn target(&self) -> Target {
        let mut target = Target::plain("web1", "127.0.0.1", self.port, &user());
        target.auth.identities = vec![Identity { path: self.path("client"), explicit: true }];
        target.host_key.policy = HostKeyPolicy::Strict;
        target.host_key.user_files = vec![self.path("known_hosts")];
        self.know(&std::fs::read_to_string(self.path("host.pub")).unwrap());
        target
    }

    /// Replaces what is known about the server by one public key line.
    pub fn know(&self, public: &str) {
        std::fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {public}", self.port)).unwrap();
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The processes that serve the connections that are open now.
    pub fn sessions(&self) -> Vec<i32> {
        descendants(self.child.id() as i32)
    }

    /// Kills every process of the server's connections at once, as a power cut would.
    pub fn kill_sessions(&self) {
        self.signal_sessions(Signal::KILL);
    }

    /// Sends a signal to every process of the server's connections.
    pub fn signal_sessions(&self, signal: Signal) {
        for pid in self.sessions().into_iter().filter_map(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }
}

/// All processes below `parent`.
pub fn descendants(parent: i32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in parentheses may contain anything; the state and the parent follow it.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        parents.extend(rest.split_whitespace().nth(1).and_then(|p| p.parse::<i32>().ok()).map(|p| (pid, p)));
    }
    let mut all = Vec::new();
    let mut open = vec![parent];
    while let Some(above) = open.pop() {
        let below: Vec<i32> = parents.iter().filter(|(_, p)| *p == above).map(|(pid, _)| *pid).collect();
        all.extend(&below);
        open.extend(below);
    }
    all
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill_sessions();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
