//! A playbook in a folder, run on this machine through the program.

use std::path::Path;
use std::process::{Command, Stdio};

/// A folder with a playbook in it.
pub struct Play {
    folder: tempfile::TempDir,
}

/// What a run said.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

#[allow(dead_code)] // not every test binary asks for everything
impl Play {
    pub fn new(text: &str) -> Play {
        let play = Play { folder: tempfile::tempdir().unwrap() };
        play.file("play.yml", text);
        play.file("hosts.yml", "all: {hosts: {here: {ansible_connection: local}}}\n");
        play
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
        command.args(["-i", "hosts.yml", "play.yml", "-e"]).arg(format!("here={}", self.path().display()));
        command.args(["-e"]).arg(format!("deploy_agent_dir={}", self.path().join("agent").display()));
        command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.env("DEPLOY_RUNS_DIR", "off");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }
}

#[allow(dead_code)]
impl Ran {
    pub fn all(&self) -> String {
        format!("exit code {}\n{}\n{}", self.code, self.out, self.err)
    }

    pub fn recap(&self) -> &str {
        self.out.lines().rfind(|line| line.starts_with("here ") && line.contains("ok=")).unwrap_or_default()
    }
}
