//! The files of a job: a service, its timer, or a line of cron. Text out of what was decided; nothing is looked at here.

use super::calendar::Calendar;
use std::path::PathBuf;

/// Whoever finds a file of ours knows where it came from, and so do we.
pub const MARK: &str = "# Written by `deploy schedule`";

/// A secret that the service manager hands to the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// As the job knows it: `deploy.pki-passphrase`.
    pub name: &'static str,
    /// Where it lies.
    pub file: PathBuf,
    /// Sealed by `systemd-creds`.
    pub sealed: bool,
}

/// Everything that is decided about a job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Of its units: `deploy-rotate-certs`.
    pub name: String,
    /// What it does, in a few words.
    pub about: String,
    /// Who it runs as.
    pub user: String,
    /// Where the project is.
    pub directory: PathBuf,
    /// The command, word by word.
    pub command: Vec<String>,
    /// When.
    pub calendar: Calendar,
    /// Up to so many seconds later.
    pub delay: u64,
    /// Secrets.
    pub credentials: Vec<Credential>,
    /// What it may write to; everything else is read-only.
    pub writable: Vec<PathBuf>,
    /// It needs something below /home, /root or /run/user.
    pub homes: bool,
    /// It answers challenges of ACME on a port below 1024.
    pub low_port: bool,
}

impl Job {
    /// The name as the command line has it.
    fn short(&self) -> &str {
        self.name.strip_prefix("deploy-").unwrap_or(&self.name)
    }

    /// The service.
    pub fn service(&self) -> String {
        let mut text = format!(
            "{MARK} ({}); `deploy schedule --remove --name {}` takes it away.\n[Unit]\n",
            escaped(&self.directory.display().to_string()),
            self.short()
        );
        let mut line = |text_of_line: String| text.extend([text_of_line.as_str(), "\n"]);
        line(format!("Description={}", escaped(&self.about)));
        line("Wants=network-online.target".into());
        line("After=network-online.target".into());
        line("\n[Service]".into());
        line("Type=oneshot".into());
        line(format!("User={}", self.user));
        line(format!("WorkingDirectory={}", escaped(&self.directory.display().to_string())));
        line(format!("ExecStart={}", command(&self.command)));
        line("# Told to stop, it lets the hosts finish what they are at.".into());
        line("KillMode=mixed".into());
        line("TimeoutStartSec=12h".into());
        line("TimeoutStopSec=15min".into());
        for credential in &self.credentials {
            let kind = if credential.sealed { "LoadCredentialEncrypted" } else { "LoadCredential" };
            line(format!("{kind}={}:{}", credential.name, escaped(&credential.file.display().to_string())));
        }
        line(
            "\n# It reads the project, writes its own state, and speaks to the network: nothing else is open to it."
                .into(),
        );
        for path in &self.writable {
            line(format!("ReadWritePaths={}", escaped(&path.display().to_string())));
        }
        line(format!("ProtectHome={}", if self.homes { "read-only" } else { "yes" }));
        // The only right that it is ever given, where an issuer is asked by ACME: http-01 is answered on port 80.
        let capability = if self.low_port { "CAP_NET_BIND_SERVICE" } else { "" };
        line("NoNewPrivileges=yes".into());
        line(format!("CapabilityBoundingSet={capability}"));
        line(format!("AmbientCapabilities={capability}"));
        SANDBOX.lines().for_each(|one| line(one.to_string()));
        text
    }

    /// Its timer.
    pub fn timer(&self) -> String {
        let mut text = format!(
            "{MARK} ({}).\n[Unit]\nDescription={}\n\n[Timer]\nOnCalendar={}\n",
            escaped(&self.directory.display().to_string()),
            escaped(&self.about),
            self.calendar
        );
        if self.delay > 0 {
            text += &format!("RandomizedDelaySec={}\n", self.delay);
        }
        // A minute, the default, is long for what begins every ten seconds.
        text += "AccuracySec=1s\n# What was missed while this machine was off is made up for.\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n";
        text
    }

    /// A file of `/etc/cron.d`.
    pub fn cron(&self) -> Result<String, String> {
        let words: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let joined =
            shlex::try_join(words).map_err(|error| format!("the command cannot be written for cron: {error}"))?;
        let directory = self.directory.display().to_string();
        let place = shlex::try_quote(&directory).map_err(|error| format!("{directory}: {error}"))?;
        // To cron a percent sign is the end of the line.
        let line = format!("cd {place} && exec {joined}").replace('%', "\\%");
        Ok(format!(
            "{MARK} ({directory}); `deploy schedule --cron --remove --name {}` takes it away.\nSHELL=/bin/sh\n{} {} {line}\n",
            self.short(),
            self.calendar.cron()?,
            self.user
        ))
    }
}

/// What no job needs. /proc/sys stays (the host's name is read there), and so does the network.
const SANDBOX: &str = "\
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077";

/// systemd expands `%`.
fn escaped(text: &str) -> String {
    text.replace('%', "%%")
}

/// A command line as systemd reads it: no shell, its own quotes, `%` and `$` doubled.
fn command(words: &[String]) -> String {
    let quoted = |(number, word): (usize, &String)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@".contains(c);
        let text = escaped(word);
        // The program's own path knows no variables.
        let text = if number == 0 { text } else { text.replace('$', "$$") };
        match word.chars().all(plain) && !word.is_empty() {
            true => text,
            false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")),
        }
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            name: "deploy-rotate-certs".into(),
            about: "100% certificates".into(),
            user: "deploy".into(),
            directory: "/srv/si%te".into(),
            command: ["/usr/local/bin/deploy", "schedule", "run", "--", "-e", r#"a="$x" 5% \n;"#, ""]
                .map(String::from)
                .into(),
            calendar: Calendar::parse("Mon..Fri 3:15").unwrap(),
            delay: 1800,
            credentials: vec![
                Credential { name: "deploy.pki-passphrase", file: "/etc/credstore.encrypted/x".into(), sealed: true },
                Credential { name: "deploy.vault-password", file: "/etc/credstore/y".into(), sealed: false },
            ],
            writable: vec!["/var/lib/deploy".into()],
            homes: false,
            low_port: false,
        }
    }

    #[test]
    fn a_service_is_written_as_systemd_reads_it() {
        let text = job().service();
        for line in [
            r#"ExecStart=/usr/local/bin/deploy schedule run -- -e "a=\"$$x\" 5%% \\n;" """#,
            "Description=100%% certificates",
            "WorkingDirectory=/srv/si%%te",
            "LoadCredentialEncrypted=deploy.pki-passphrase:/etc/credstore.encrypted/x",
            "LoadCredential=deploy.vault-password:/etc/credstore/y",
            "ReadWritePaths=/var/lib/deploy",
            "ProtectHome=yes",
            "ProtectSystem=strict",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "AmbientCapabilities=",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        assert!(text.starts_with(MARK) && text.contains("--remove --name rotate-certs`"));
        let acme = Job { low_port: true, ..job() }.service();
        for line in ["AmbientCapabilities=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"] {
            assert!(acme.lines().any(|one| one == line), "{line} is not in\n{acme}");
        }
        assert!(Job { homes: true, ..job() }.service().contains("\nProtectHome=read-only\n"));
    }

    #[test]
    fn a_timer_makes_up_for_what_was_missed() {
        let text = job().timer();
        for line in ["OnCalendar=Mon..Fri 3:15", "RandomizedDelaySec=1800", "Persistent=true", "WantedBy=timers.target"]
        {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
        assert!(!Job { delay: 0, ..job() }.timer().contains("RandomizedDelaySec"));
    }

    #[test]
    fn a_line_of_cron_is_one_line() {
        let text = job().cron().unwrap();
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("15 3 * * 1,2,3,4,5 deploy cd "), "{line}");
        assert!(line.contains(r"5\% ") && line.contains("schedule run"), "{line}");
        let seconds = Job { calendar: Calendar::parse("*:*:30").unwrap(), ..job() };
        assert!(seconds.cron().is_err());
    }

    #[test]
    fn systemd_finds_nothing_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        let harmless = Job {
            directory: "/".into(),
            user: "root".into(),
            command: [program.to_str().unwrap(), r#"a="$x" 5% \n;"#].map(String::from).into(),
            ..job()
        };
        let service = folder.path().join("deploy-rotate-certs.service");
        std::fs::write(&service, harmless.service()).unwrap();
        let timer = folder.path().join("deploy-rotate-certs.timer");
        std::fs::write(&timer, harmless.timer()).unwrap();
        let told = std::process::Command::new("systemd-analyze")
            .args(["verify", "--recursive-errors=no"])
            .args([&service, &timer])
            .output();
        let Ok(told) = told else { return }; // not a machine with systemd
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("deploy-rotate-certs")).collect();
        assert!(told.status.success() && ours.is_empty(), "{said}");
    }
}
