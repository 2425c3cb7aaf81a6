//! A blocking client of the MariaDB protocol, as much of it as an agent needs: log in, send a statement, read rows.

use super::auth;
use crate::secret::Secret;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why a conversation with the server failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// There is nobody at the other end.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Socket path or host and port.
        address: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The conversation broke off.
    #[error("the connection to the database server broke: {0}")]
    Io(#[source] std::io::Error),
    /// It is connected, and said nothing in the time that it was given.
    #[error("the database server does not answer")]
    Silent,
    /// The server refused a statement or the login.
    #[error("the database server says: {message} (error {code}, {state})")]
    Server {
        /// Error number: 1045 access denied, 1047 not prepared (no quorum) …
        code: u16,
        /// SQLSTATE.
        state: String,
        /// The server's words.
        message: String,
    },
    /// The server said something that we do not understand, or asks for what we cannot give.
    #[error("{0}")]
    Protocol(String),
}

impl From<std::io::Error> for SqlError {
    fn from(error: std::io::Error) -> Self {
        // What a socket's time limit says: EAGAIN on Linux.
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => SqlError::Silent,
            _ => SqlError::Io(error),
        }
    }
}

impl SqlError {
    /// The server's error number, if it was the server.
    pub fn code(&self) -> Option<u16> {
        match self {
            SqlError::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Nobody listens: the server does not run (as opposed to one that refuses us).
    pub fn is_down(&self) -> bool {
        matches!(self, SqlError::Connect { source, .. }
            if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused))
    }
}

/// A column's kind, as far as values are read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Other numbers.
    Number,
    /// Everything else.
    Text,
}

/// What a statement answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names and kinds of the columns; empty for statements without a result.
    pub columns: Vec<(String, ColumnKind)>,
    /// The rows; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows that were affected.
    pub affected: u64,
}

impl Rows {
    /// The first value of the first row.
    pub fn scalar(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// The value of column `index` of a row, empty for NULL.
    pub fn text(row: &[Option<String>], index: usize) -> &str {
        row.get(index).and_then(Option::as_deref).unwrap_or("")
    }
}

/// Rows beyond this many bytes are an error: nothing that a module reads is that large.
const MAX_RESULT: usize = 64 << 20;

/// A connection to a server.
pub trait Transport: Read + Write {
    /// How long one read or write may take.
    fn limit(&self, timeout: Option<Duration>) -> std::io::Result<()>;
}

impl Transport for UnixStream {
    fn limit(&self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }
}

impl Transport for TcpStream {
    fn limit(&self, timeout: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }
}

/// An open session.
pub struct Client {
    stream: Box<dyn Transport>,
    sequence: u8,
    /// What the server calls itself: `11.8.6-MariaDB-0+deb13u1 from Debian`.
    pub version: String,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Its socket.
    Socket(String),
    /// Host and port.
    Tcp(String, u16),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Socket(path) => write!(f, "the database server's socket {path}"),
            Address::Tcp(host, port) => write!(f, "the database server at {host}, port {port}"),
        }
    }
}

const LONG_PASSWORD: u32 = 1;
const LONG_FLAG: u32 = 1 << 2;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const MULTI_RESULTS: u32 = 1 << 17;
const PLUGIN_AUTH: u32 = 1 << 19;

impl Drop for Client {
    /// A goodbye (COM_QUIT). Without it the server's log has a line for each session ("Aborted connection"), and they push
    /// out what matters.
    fn drop(&mut self) {
        self.sequence = 0;
        let _ = self.send(&[1]);
    }
}

impl Client {
    /// Connects and logs in, within `timeout`. Statements may take as long as they take, or `patience`.
    pub fn connect(
        address: &Address,
        user: &str,
        password: &Secret,
        database: Option<&str>,
        timeout: Duration,
        patience: Option<Duration>,
    ) -> Result<Client, SqlError> {
        let refused = |source| SqlError::Connect { address: address.to_string(), source };
        let stream: Box<dyn Transport> = match address {
            Address::Socket(path) => Box::new(UnixStream::connect(path).map_err(refused)?),
            Address::Tcp(host, port) => {
                let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
                let mut found = None;
                for candidate in crate::machine::resolve::addresses(host, *port).map_err(refused)? {
                    match TcpStream::connect_timeout(&candidate, timeout) {
                        Ok(stream) => {
                            found = Some(stream);
                            break;
                        }
                        Err(error) => last = error,
                    }
                }
                let stream = found.ok_or_else(|| refused(last))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        Client::over(stream, user, password, database, timeout, patience)
    }

    /// Logs in over a connection that stands.
    pub fn over(
        stream: Box<dyn Transport>,
        user: &str,
        password: &Secret,
        database: Option<&str>,
        timeout: Duration,
        patience: Option<Duration>,
    ) -> Result<Client, SqlError> {
        let mut client = Client { stream, sequence: 0, version: String::new() };
        client.stream.limit(Some(timeout))?;
        client.log_in(user, password, database)?;
        client.stream.limit(patience)?;
        Ok(client)
    }

    fn log_in(&mut self, user: &str, password: &Secret, database: Option<&str>) -> Result<(), SqlError> {
        let hello = self.receive()?;
        let mut reader = Reader(&hello);
        match reader.byte()? {
            10 => {}
            0xff => return Err(server_error(&hello)),
            other => return Err(SqlError::Protocol(format!("the server speaks protocol {other}, not 10"))),
        }
        self.version = reader.zero_terminated()?.trim_start_matches("5.5.5-").to_string();
        reader.take(4)?; // connection id
        let mut challenge = reader.take(8)?.to_vec();
        reader.take(1 + 2 + 1 + 2 + 2 + 1 + 10)?; // filler, capabilities, character set, status, lengths
        challenge.extend_from_slice(reader.take(12).unwrap_or_default());
        let _ = reader.take(1);
        let plugin = reader.zero_terminated().unwrap_or_else(|_| "mysql_native_password".into());

        let mut capabilities =
            LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_RESULTS | PLUGIN_AUTH;
        if database.is_some() {
            capabilities |= CONNECT_WITH_DB;
        }
        // A plugin that we cannot answer may still be switched to one that we can.
        let (plugin, first) = match auth::answer(&plugin, password, &challenge) {
            Ok(answer) => (plugin, answer),
            Err(_) => ("mysql_native_password".to_string(), Vec::new()),
        };
        let mut packet = Vec::new();
        packet.extend_from_slice(&capabilities.to_le_bytes());
        packet.extend_from_slice(&(1u32 << 24).to_le_bytes());
        packet.push(45); // utf8mb4_general_ci
        packet.extend_from_slice(&[0; 23]);
        packet.extend_from_slice(user.as_bytes());
        packet.push(0);
        packet.push(first.len() as u8); // at most 20
        packet.extend_from_slice(&first);
        if let Some(database) = database {
            packet.extend_from_slice(database.as_bytes());
            packet.push(0);
        }
        packet.extend_from_slice(plugin.as_bytes());
        packet.push(0);
        self.send(&packet)?;

        // An account may have several ways (`unix_socket OR mysql_native_password`), asked for one after another.
        for _ in 0..8 {
            let answer = self.receive()?;
            match answer.first() {
                Some(0) => return Ok(()),
                Some(0xff) => return Err(server_error(&answer)),
                Some(0xfe) => {
                    let mut reader = Reader(answer.get(1..).unwrap_or_default());
                    let plugin = reader.zero_terminated()?;
                    let reply = auth::answer(&plugin, password, reader.0)?;
                    self.send(&reply)?;
                }
                _ => break,
            }
        }
        Err(SqlError::Protocol("the server asks for a login in a way that is not supported here".into()))
    }

    /// Runs one statement and reads its result.
    pub fn query(&mut self, statement: &str) -> Result<Rows, SqlError> {
        self.sequence = 0;
        let mut packet = Vec::with_capacity(statement.len() + 1);
        packet.push(3);
        packet.extend_from_slice(statement.as_bytes());
        self.send(&packet)?;
        let mut result = self.result()?;
        // A procedure answers with several results; the last one says how it ended.
        while result.1 {
            let next = self.result()?;
            if result.0.columns.is_empty() {
                result.0 = next.0;
            }
            result.1 = next.1;
        }
        Ok(result.0)
    }

    /// One result, and whether another one follows.
    fn result(&mut self) -> Result<(Rows, bool), SqlError> {
        const MORE_RESULTS: u16 = 8;
        let first = self.receive()?;
        let mut rows = Rows::default();
        match first.first() {
            Some(0xff) => return Err(server_error(&first)),
            Some(0) => {
                let mut reader = Reader(first.get(1..).unwrap_or_default());
                rows.affected = reader.length()?.unwrap_or(0);
                let _ = reader.length()?;
                let more = reader.u16().unwrap_or(0) & MORE_RESULTS != 0;
                return Ok((rows, more));
            }
            Some(0xfb) => {
                return Err(SqlError::Protocol(
                    "LOAD DATA LOCAL is not supported; use LOAD DATA with a file on the host".into(),
                ));
            }
            _ => {}
        }
        let count = Reader(&first).length()?.unwrap_or(0);
        for _ in 0..count {
            let packet = self.receive()?;
            rows.columns.push(column(&packet)?);
        }
        self.receive()?; // end of columns
        let mut size = 0;
        loop {
            let packet = self.receive()?;
            match packet.first() {
                Some(0xfe) if packet.len() < 9 => {
                    let mut reader = Reader(packet.get(3..).unwrap_or_default());
                    let more = reader.u16().unwrap_or(0) & MORE_RESULTS != 0;
                    rows.affected = rows.rows.len() as u64;
                    return Ok((rows, more));
                }
                Some(0xff) => return Err(server_error(&packet)),
                _ => {}
            }
            size += packet.len();
            if size > MAX_RESULT {
                return Err(SqlError::Protocol(format!("the result is larger than {} MiB", MAX_RESULT >> 20)));
            }
            let mut reader = Reader(&packet);
            let mut row = Vec::with_capacity(rows.columns.len());
            for _ in &rows.columns {
                row.push(match reader.length()? {
                    None => None,
                    Some(n) => Some(String::from_utf8_lossy(reader.take(n as usize)?).into_owned()),
                });
            }
            rows.rows.push(row);
        }
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), SqlError> {
        const LARGEST: usize = 0xff_ffff;
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(LARGEST));
            let mut packet = Vec::with_capacity(part.len() + 4);
            packet.extend_from_slice(&(part.len() as u32).to_le_bytes()[..3]);
            packet.push(self.sequence);
            packet.extend_from_slice(part);
            self.sequence = self.sequence.wrapping_add(1);
            self.stream.write_all(&packet)?;
            rest = after;
            if part.len() < LARGEST {
                return Ok(());
            }
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>, SqlError> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header)?;
            let [a, b, c, sequence] = header;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            if payload.len() + length > MAX_RESULT {
                return Err(SqlError::Protocol(format!("the server sent more than {} MiB", MAX_RESULT >> 20)));
            }
            let start = payload.len();
            payload.resize(start + length, 0);
            self.stream.read_exact(payload.get_mut(start..).unwrap_or_default())?;
            self.sequence = sequence.wrapping_add(1);
            if length < 0xff_ffff {
                return Ok(payload);
            }
        }
    }
}

fn server_error(packet: &[u8]) -> SqlError {
    let mut reader = Reader(packet.get(1..).unwrap_or_default());
    let code = reader.u16().unwrap_or(0);
    let rest = String::from_utf8_lossy(reader.0);
    let (state, message) = match rest.strip_prefix('#') {
        Some(tail) if tail.is_char_boundary(5) => tail.split_at(5),
        _ => ("HY000", rest.as_ref()),
    };
    SqlError::Server { code, state: state.to_string(), message: message.to_string() }
}

fn column(packet: &[u8]) -> Result<(String, ColumnKind), SqlError> {
    let mut reader = Reader(packet);
    for _ in 0..4 {
        let n = reader.length()?.unwrap_or(0); // catalogue, schema, table, original table
        reader.take(n as usize)?;
    }
    let n = reader.length()?.unwrap_or(0);
    let name = String::from_utf8_lossy(reader.take(n as usize)?).into_owned();
    let n = reader.length()?.unwrap_or(0);
    reader.take(n as usize)?; // original name
    reader.length()?; // length of the fixed part
    reader.take(2 + 4)?; // character set, display width
    let kind = match reader.byte()? {
        1 | 2 | 3 | 8 | 9 | 13 => ColumnKind::Integer,
        0 | 4 | 5 | 246 => ColumnKind::Number,
        _ => ColumnKind::Text,
    };
    Ok((name, kind))
}

/// Reads the parts of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], SqlError> {
        let short = || SqlError::Protocol("the server sent a packet that is shorter than it says".into());
        let part = self.0.get(..n).ok_or_else(short)?;
        self.0 = self.0.get(n..).unwrap_or_default();
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8, SqlError> {
        Ok(self.take(1)?.first().copied().unwrap_or(0))
    }

    fn u16(&mut self) -> Result<u16, SqlError> {
        let part = self.take(2)?;
        Ok(part.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte)))
    }

    /// A length-encoded number; nothing stands for NULL.
    fn length(&mut self) -> Result<Option<u64>, SqlError> {
        let width = match self.byte()? {
            0xfb => return Ok(None),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            small => return Ok(Some(u64::from(small))),
        };
        Ok(Some(self.take(width)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))))
    }

    fn zero_terminated(&mut self) -> Result<String, SqlError> {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        let _ = self.take(1);
        Ok(text)
    }
}

/// A string as SQL writes it. Backslashes are escaped too, as the server reads them unless NO_BACKSLASH_ESCAPES is set.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\x1a' => quoted.push_str("\\Z"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A name as SQL writes it.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_names_are_quoted() {
        assert_eq!(quote("it's \\ \"x\" $y\n"), "'it''s \\\\ \"x\" $y\\n'");
        assert_eq!(identifier("a`b"), "`a``b`");
    }

    #[test]
    fn a_torn_packet_is_an_error_and_no_panic() {
        assert!(Reader(&[0xfc, 1]).length().is_err());
        assert!(column(&[3, b'd', b'e']).is_err());
        assert_eq!(server_error(&[0xff]).code(), Some(0));
        let error = server_error(b"\xff\x15\x04#28000Access denied");
        assert_eq!(error.to_string(), "the database server says: Access denied (error 1045, 28000)");
    }

    #[test]
    fn a_server_that_does_not_run_is_known_as_such() {
        let address = Address::Socket("/no/such/socket".into());
        let error =
            Client::connect(&address, "x", &Secret::default(), None, Duration::from_secs(1), None).err().unwrap();
        assert!(error.is_down());
        assert!(error.to_string().contains("/no/such/socket"), "{error}");
    }

    #[test]
    fn a_server_that_says_nothing_in_its_time() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let found = Client::over(Box::new(ours), "x", &Secret::default(), None, Duration::from_millis(20), None);
        assert_eq!(found.err().unwrap().to_string(), "the database server does not answer");
    }
}
