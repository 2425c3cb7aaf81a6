//! Load balancers on this host: what they say over their socket of administration, and what they are told.

use super::process::Watch;
use super::{Change, Command, Domain, Facet, Machine, MachineError, Result, Subject, Undo};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

impl Machine {
    /// Asks over a socket of administration: one command, all of the answer.
    pub fn ask_balancer(&self, socket: &str, command: &str) -> Result<String> {
        let failed = |error| MachineError::io(format!("cannot talk to the load balancer at {socket}"), error);
        let mut stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.write_all(format!("{command}\n").as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        stream.take(4 << 20).read_to_end(&mut answer).map_err(failed)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Tells something over a socket of administration that answers with nothing when it agrees. `server` goes from
    /// `before` to `after`.
    pub fn tell_balancer(
        &mut self,
        socket: &str,
        command: &str,
        server: &str,
        before: &str,
        after: &str,
    ) -> Result<()> {
        if !self.predicted() {
            let answer = self.ask_balancer(socket, command)?;
            if !answer.trim().is_empty() {
                return Err(MachineError::failed(format!("the load balancer refuses `{command}`: {}", answer.trim())));
            }
        }
        self.note_balancer(server, before, after);
        Ok(())
    }

    /// The same by its own programs, one after the other.
    pub fn run_balancer(&mut self, commands: &[Command], server: &str, before: &str, after: &str) -> Result<()> {
        if !self.predicted() {
            for command in commands {
                let output =
                    self.run_watched(command, Watch { timeout: Some(PATIENCE * 3), progress: &mut |_, _| {} })?;
                if !output.success() {
                    let program = command.argv.first().map_or("", String::as_str);
                    return Err(MachineError::failed(format!("{program} failed: {}", output.stderr_text().trim())));
                }
            }
        }
        self.note_balancer(server, before, after);
        Ok(())
    }

    fn note_balancer(&mut self, server: &str, before: &str, after: &str) {
        let state = |text: &str| Facet::Value(text.into());
        let subject = Subject::new(Domain::Cluster, format!("load balancer: {server}"));
        let mut change = Change::set(subject, "state", state(before), state(after));
        change.undo = Undo::Compensating;
        self.record(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Mode;

    #[test]
    fn a_check_asks_and_does_not_tell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let (sender, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = [0; 200];
                let length = stream.read(&mut line).unwrap();
                let line = String::from_utf8_lossy(&line[..length]).trim().to_string();
                let answer = if line.starts_with("show") {
                    "# pxname\n"
                } else if line.contains("bad") {
                    "No such server.\n"
                } else {
                    "\n"
                };
                stream.write_all(answer.as_bytes()).unwrap();
                sender.send(line).unwrap();
            }
        });
        let socket = path.to_str().unwrap();
        let mut machine = Machine::new(Mode::Predicted);
        assert_eq!(machine.ask_balancer(socket, "show stat").unwrap(), "# pxname\n");
        machine.tell_balancer(socket, "set server a/b state drain", "a/b", "UP", "DRAIN").unwrap();
        assert_eq!(machine.take_changes().len(), 1);
        let mut machine = Machine::new(Mode::Live);
        machine.tell_balancer(socket, "set server a/b state drain", "a/b", "UP", "DRAIN").unwrap();
        assert!(machine.tell_balancer(socket, "set server bad state drain", "bad", "UP", "DRAIN").is_err());
        assert_eq!(machine.take_changes().len(), 1);
        let heard: Vec<String> = heard.try_iter().collect();
        assert_eq!(heard, ["show stat", "set server a/b state drain", "set server bad state drain"]);
    }
}
