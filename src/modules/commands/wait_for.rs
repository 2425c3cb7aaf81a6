//! `wait_for`: waits for a port, a file, a text, or just for some time.

use crate::machine::{Machine, resolve};
use crate::modules::scalars::{Int, Text, TextList};
use crate::modules::{Context, FreeForm, Module, ModuleError, Outcome, Reach, decode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::Read;
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

/// `ansible.builtin.wait_for`
pub const WAIT_FOR: Module = Module {
    name: "ansible.builtin.wait_for",
    aliases: &["wait_for", "ansible.legacy.wait_for"],
    reach: Reach::World,
    free_form: FreeForm::KeyValue,
    arguments: WaitFor::ARGUMENTS,
    run: Some(run),
    #[cfg(feature = "controller")]
    action: None,
};

/// States in which a connection is open, with the kernel's number for each.
const STATES: [(&str, &str); 6] = [
    ("ESTABLISHED", "01"),
    ("SYN_SENT", "02"),
    ("SYN_RECV", "03"),
    ("FIN_WAIT1", "04"),
    ("FIN_WAIT2", "05"),
    ("TIME_WAIT", "06"),
];

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The port answers.
    #[default]
    Started,
    /// The file is there.
    Present,
    /// The port does not answer any more.
    Stopped,
    /// The file is gone.
    Absent,
    /// No connection to the port is open any more.
    Drained,
}

crate::arguments! {
    /// Waits until a port answers, a file is there or a text appears in either, or until they are gone. Without
    /// `port` and `path` it waits for `timeout` seconds.
    ///
    /// In a check it looks once; when what it waits for is not so yet, its task is unknown.
    pub struct WaitFor {
        /// Name or address to connect to.
        pub host: Option<String>,
        /// Port to connect to.
        pub port: Option<Int>,
        /// File to look for.
        pub path: Option<String>,
        /// A regular expression to be found in the file or in what the port says.
        pub search_regex: Option<Text>,
        /// `started` or `present`, `stopped` or `absent`, `drained`.
        #[serde(default)]
        pub state: State,
        /// Seconds after which it fails.
        pub timeout: Option<Int>,
        /// Seconds before the first look.
        pub delay: Option<Int>,
        /// Seconds between looks.
        pub sleep: Option<Int>,
        /// Seconds to wait for one connection.
        pub connect_timeout: Option<Int>,
        /// States in which a connection counts as open, for `drained`.
        pub active_connection_states: Option<TextList>,
        /// Addresses whose connections do not count, for `drained`.
        #[serde(default)]
        pub exclude_hosts: TextList,
        /// What to say when it fails.
        pub msg: Option<Text>,
    }
}

fn run(
    arguments: Map<String, Value>,
    machine: &mut Machine,
    context: &mut Context<'_>,
) -> Result<Outcome, ModuleError> {
    let wait: WaitFor = decode(arguments)?;
    if wait.port.is_some() && wait.path.is_some() {
        return Err(ModuleError::Failed("port and path parameter can not both be passed to wait_for".into()));
    }
    if wait.path.is_some() && matches!(wait.state, State::Stopped | State::Drained) {
        return Err(ModuleError::argument("state", "`stopped` and `drained` are about ports: use `absent` for a path"));
    }
    if wait.path.is_some() && wait.host.is_some() {
        return Err(ModuleError::argument("host", "it has no meaning with `path`"));
    }
    if wait.state != State::Drained && !wait.exclude_hosts.0.is_empty() {
        return Err(ModuleError::argument("exclude_hosts", "it is for `state: drained`"));
    }
    for state in wait.active_connection_states.iter().flat_map(|states| &states.0) {
        if STATES.iter().all(|(name, _)| name != state) {
            let why =
                format!("`{state}` is no state of a connection: write {}", STATES.map(|(name, _)| name).join(", "));
            return Err(ModuleError::argument("active_connection_states", why));
        }
    }
    let pattern = match &wait.search_regex {
        Some(text) => Some(
            regex_lite::Regex::new(&format!("(?m){}", text.0))
                .map_err(|e| ModuleError::argument("search_regex", e.to_string()))?,
        ),
        None => None,
    };
    let seconds = |value: &Option<Int>, default: u64| value.map_or(default, |i| u64::try_from(i.0).unwrap_or(0));
    let (timeout, delay, pause) =
        (seconds(&wait.timeout, 300), seconds(&wait.delay, 0), seconds(&wait.sleep, 1).max(1));
    let started = Instant::now();
    let done = |matched: Option<Vec<String>>| {
        let mut outcome = Outcome::ok()
            .with("elapsed", started.elapsed().as_secs())
            .with("state", json!(format!("{:?}", wait.state).to_lowercase()))
            .with("path", wait.path.clone())
            .with("port", wait.port.map(|p| p.0))
            .with("search_regex", wait.search_regex.as_ref().map(|s| s.0.clone()));
        let matched = matched.unwrap_or_default();
        let names = pattern.iter().flat_map(|pattern| pattern.capture_names().skip(1));
        let named =
            names.zip(&matched).filter_map(|(name, text)| Some((name?.to_string(), Value::from(text.as_str()))));
        outcome = outcome.with("match_groupdict", named.collect::<Map<String, Value>>());
        outcome.with("match_groups", matched)
    };
    if machine.predicted() {
        if wait.port.is_none() && wait.path.is_none() {
            return Ok(done(None));
        }
        return match look(&wait, pattern.as_ref(), machine)? {
            Some(matched) => described(&wait, machine, done(matched)),
            None => Ok(Outcome::unknown(format!("{} is not so yet, and a check does not wait", describe(&wait)))),
        };
    }
    std::thread::sleep(Duration::from_secs(delay.min(timeout.max(delay))));
    if wait.port.is_none() && wait.path.is_none() {
        std::thread::sleep(Duration::from_secs(timeout).saturating_sub(started.elapsed()));
        return Ok(done(None));
    }
    let mut reported = Instant::now();
    loop {
        if let Some(matched) = look(&wait, pattern.as_ref(), machine)? {
            return described(&wait, machine, done(matched));
        }
        if started.elapsed() >= Duration::from_secs(timeout) {
            let why = wait
                .msg
                .as_ref()
                .map_or_else(|| format!("Timeout when waiting for {}", describe(&wait)), |m| m.0.clone());
            return Ok(Outcome::failed(why).with("elapsed", started.elapsed().as_secs()));
        }
        if reported.elapsed() >= Duration::from_secs(2) {
            let text = format!("waiting for {}, {} s of {timeout}", describe(&wait), started.elapsed().as_secs());
            context.controller.progress(&text, Some(started.elapsed().as_secs()), Some(timeout));
            reported = Instant::now();
        }
        let left = Duration::from_secs(timeout).saturating_sub(started.elapsed());
        std::thread::sleep(Duration::from_secs(pause).min(left.max(Duration::from_millis(10))));
    }
}

/// With what Ansible returns of a path that is there: its state is what it is, not what was waited for.
fn described(wait: &WaitFor, machine: &Machine, mut outcome: Outcome) -> Result<Outcome, ModuleError> {
    if let Some(path) = &wait.path
        && machine.exists(path)?
    {
        crate::modules::files::describe(machine, std::path::Path::new(path), &mut outcome)?;
    }
    Ok(outcome)
}

/// What is waited for, in words.
fn describe(wait: &WaitFor) -> String {
    let host = wait.host.as_deref().unwrap_or("127.0.0.1");
    let port = wait.port.map_or(0, |p| p.0);
    match (&wait.path, wait.state, &wait.search_regex) {
        (Some(path), State::Absent, None) => format!("absence of file {path}"),
        (Some(path), _, None) => format!("file {path}"),
        (Some(path), _, Some(text)) => format!("search string {} in {path}", text.0),
        (None, State::Stopped | State::Absent, _) => format!("{host}:{port} to stop."),
        (None, State::Drained, _) => format!("{host}:{port} to drain"),
        (None, _, Some(text)) => format!("search string {} in {host}:{port}", text.0),
        (None, _, None) => format!("{host}:{port}"),
    }
}

/// One look: nothing when it is not so; else the groups of the text that was found.
fn look(
    wait: &WaitFor,
    pattern: Option<&regex_lite::Regex>,
    machine: &Machine,
) -> Result<Option<Option<Vec<String>>>, ModuleError> {
    let present = matches!(wait.state, State::Started | State::Present);
    if let Some(path) = &wait.path {
        let there = machine.exists(path)?;
        let Some(pattern) = pattern.filter(|_| there) else {
            return Ok((there == present).then_some(None));
        };
        let bytes = machine.read_file(path, 64 << 20)?;
        let text = String::from_utf8_lossy(&bytes);
        let groups = pattern.captures(&text).map(|c| groups(&c));
        return Ok(match (groups, present) {
            (Some(groups), true) => Some(Some(groups)),
            (None, false) => Some(None),
            _ => None,
        });
    }
    let port = wait
        .port
        .and_then(|p| u16::try_from(p.0).ok())
        .ok_or_else(|| ModuleError::argument("port", "it is no port"))?;
    let host = wait.host.as_deref().unwrap_or("127.0.0.1");
    if wait.state == State::Drained {
        return Ok((open_connections(wait, host, port) == 0).then_some(None));
    }
    let limit = Duration::from_secs(wait.connect_timeout.map_or(5, |i| u64::try_from(i.0).unwrap_or(5)).max(1));
    let stream = connect(host, port, limit);
    let Some(mut stream) = stream else {
        return Ok((!present).then_some(None));
    };
    if !present {
        return Ok(None);
    }
    let Some(pattern) = pattern else {
        return Ok(Some(None));
    };
    let mut said = Vec::new();
    let mut chunk = [0u8; 1024];
    let until = Instant::now() + limit;
    while said.len() < 1 << 20 {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            break;
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(n) => said.extend_from_slice(chunk.get(..n).unwrap_or_default()),
        }
        if let Some(captures) = pattern.captures(&String::from_utf8_lossy(&said)) {
            return Ok(Some(Some(groups(&captures))));
        }
    }
    Ok(None)
}

fn groups(captures: &regex_lite::Captures<'_>) -> Vec<String> {
    captures.iter().skip(1).map(|g| g.map_or(String::new(), |m| m.as_str().to_string())).collect()
}

/// Connects, trying every address of a name.
fn connect(host: &str, port: u16, limit: Duration) -> Option<TcpStream> {
    let addresses = resolve::addresses(host, port).unwrap_or_default();
    addresses.iter().find_map(|address| TcpStream::connect_timeout(address, limit).ok())
}

/// Open connections to a port of this host, from `/proc/net/tcp` and `tcp6`.
fn open_connections(wait: &WaitFor, host: &str, port: u16) -> usize {
    let wanted = wait
        .active_connection_states
        .clone()
        .map_or_else(|| STATES.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>(), |list| list.0);
    let codes: Vec<&str> =
        STATES.iter().filter(|(name, _)| wanted.iter().any(|w| w == name)).map(|(_, code)| *code).collect();
    let resolve = |name: &str| -> Vec<IpAddr> {
        resolve::addresses(name, 0).unwrap_or_default().into_iter().map(|address| address.ip()).collect()
    };
    let excluded: Vec<IpAddr> = wait.exclude_hosts.0.iter().flat_map(|h| resolve(h)).collect();
    let any = matches!(host, "0.0.0.0" | "::" | "::0");
    let own = resolve(host);
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|path| parse_tcp(&std::fs::read_to_string(path).unwrap_or_default()))
        .filter(|(local, local_port, remote, state)| {
            *local_port == port
                && codes.contains(&state.as_str())
                && (any || own.contains(local))
                && !excluded.contains(remote)
        })
        .count()
}

/// Lines of `/proc/net/tcp`: local address and port, remote address, state.
fn parse_tcp(text: &str) -> Vec<(IpAddr, u16, IpAddr, String)> {
    let address = |word: &str| -> Option<(IpAddr, u16)> {
        let (address, port) = word.split_once(':')?;
        let words: Vec<u32> = (0..address.len() / 8)
            .filter_map(|i| u32::from_str_radix(address.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::from_be))
            .collect();
        let ip = match words.as_slice() {
            [one] => IpAddr::from(one.to_be_bytes()),
            [a, b, c, d] => {
                let bits = (u128::from(*a) << 96) | (u128::from(*b) << 64) | (u128::from(*c) << 32) | u128::from(*d);
                let six = std::net::Ipv6Addr::from(bits);
                six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4)
            }
            _ => return None,
        };
        Some((ip, u16::from_str_radix(port, 16).ok()?))
    };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, port) = address(words.next()?)?;
            let (remote, _) = address(words.next()?)?;
            Some((local, port, remote, words.next()?.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Status;
    use crate::modules::testing::{apply, check};
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn ports_are_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let _ = stream.unwrap().write_all(b"SSH-2.0-Test_9\r\n");
            }
        });
        assert_eq!(apply("wait_for", &json!({"port": port, "timeout": 5})).status, Status::Ok);
        let found = apply("wait_for", &json!({"port": port, "search_regex": "SSH-([0-9.]+)-", "timeout": 5}));
        assert_eq!(found.data["match_groups"], json!(["2.0"]));
        server.join().unwrap();
        assert_eq!(apply("wait_for", &json!({"port": port, "state": "stopped", "timeout": 5})).status, Status::Ok);
        let late = apply("wait_for", &json!({"port": port, "timeout": 1}));
        assert_eq!(late.msg, Some(format!("Timeout when waiting for 127.0.0.1:{port}")));
        assert_eq!(check("wait_for", &json!({"port": port})).status, Status::Unknown);
        assert!(late.changes.is_empty());
    }

    #[test]
    fn files_are_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let text = path.to_string_lossy().into_owned();
        assert_eq!(apply("wait_for", &json!({"path": text, "state": "absent", "timeout": 1})).status, Status::Ok);
        assert_eq!(check("wait_for", &json!({"path": text})).status, Status::Unknown);
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            std::fs::write(path, "one\nready: 42\n").unwrap();
        });
        let found = apply("wait_for", &json!({"path": text, "search_regex": "^ready: (\\d+)", "timeout": 10}));
        assert_eq!(found.data["match_groups"], json!(["42"]));
        writer.join().unwrap();
    }

    #[test]
    fn connections_of_the_kernel_are_read() {
        let text = "  sl  local_address rem_address   st\n   0: 0100007F:0CEA 0100007F:D431 01 0\n";
        assert_eq!(parse_tcp(text), [("127.0.0.1".parse().unwrap(), 3306, "127.0.0.1".parse().unwrap(), "01".into())]);
        let text = "x\n 0: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000200007F:D431 01\n";
        assert_eq!(parse_tcp(text)[0].2, "127.0.0.2".parse::<IpAddr>().unwrap());
    }
}
