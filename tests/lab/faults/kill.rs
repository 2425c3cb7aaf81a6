//! A run of the site that is cut short.

use super::super::cluster::{NODES, site_command};
use super::super::lab::{Lab, Ran};
use std::time::{Duration, Instant};

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// `deploy` itself, with SIGKILL.
    Controller,
    /// The processes of sshd that serve the connection, on one node.
    Connection(&'static str),
    /// The agent on one node, with SIGKILL: what a crash of it would leave.
    Agent(&'static str),
}

/// Starts the site and cuts it at the moment that `moment` says, at the latest after `limit`. Returns what the run said,
/// and the time from its start to the cut; a run that was over before that is not cut.
pub fn killed(
    lab: &Lab,
    more: &[&str],
    what: Kill,
    limit: Duration,
    moment: &mut dyn FnMut(&Lab) -> bool,
) -> (Option<Ran>, Duration) {
    cut(lab, site_command(lab, more), what, limit, moment)
}

/// The same with any other run.
pub fn cut(
    lab: &Lab,
    mut command: std::process::Command,
    what: Kill,
    limit: Duration,
    moment: &mut dyn FnMut(&Lab) -> bool,
) -> (Option<Ran>, Duration) {
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    // Its pipes are read all the time, or it would stop when they are full.
    let readers = [
        drain(child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>)),
        drain(child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read + Send>)),
    ];
    while began.elapsed() < limit && !moment(lab) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let at = began.elapsed();
    let over = child.try_wait().unwrap().is_some();
    match what {
        _ if over => {}
        Kill::Controller => child.kill().unwrap(),
        Kill::Connection(host) => {
            lab.ssh(host, "pkill -KILL -f '^sshd-session: deploy|^sshd: deploy'");
        }
        Kill::Agent(host) => {
            lab.ssh(host, "pkill -KILL -f '/agent-[0-9a-f]*( |$)'");
        }
    }
    let status = child.wait().unwrap();
    let [out, err] = readers.map(|reader| reader.join().unwrap());
    ((!over).then(|| Ran { code: status.code().unwrap_or(-1), out, err }), at)
}

fn drain(pipe: Option<Box<dyn std::io::Read + Send>>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The node whose connection is cut in the n-th try.
pub fn node(number: usize) -> &'static str {
    NODES[number % NODES.len()]
}
