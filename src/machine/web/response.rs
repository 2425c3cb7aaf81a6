//! An answer of a web server: its head, and its body as it is read.

use super::stream::Stream;
use super::url::{Url, unescaped};
use super::{Request, WebError};
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

/// A head is not longer.
const HEAD: u64 = 128 * 1024;

/// An answer.
pub struct Response {
    /// 200 …; 0 for a file of this host.
    pub status: u16,
    /// What it says beside the number.
    pub reason: String,
    /// Where it came from in the end, without user and password.
    pub url: String,
    /// Names as they were sent, and values.
    pub headers: Vec<(String, String)>,
    /// Cookies that were set on the way.
    pub cookies: Vec<(String, String)>,
    /// What follows.
    pub body: Box<dyn Read>,
}

impl Response {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A file of this host, as `file:///…` names it.
    pub(super) fn of_file(url: &Url) -> std::result::Result<Response, WebError> {
        let path = unescaped(url.target.split('?').next().unwrap_or_default());
        let file = std::fs::File::open(&path).map_err(|e| WebError::unreachable(&e))?;
        let metadata = file.metadata().map_err(|e| WebError::unreachable(&e))?;
        if metadata.is_dir() {
            return Err(WebError::unreachable(&Error::from_raw_os_error(21)));
        }
        Ok(Response {
            status: 0,
            reason: String::new(),
            url: format!("file://{}", url.target),
            headers: vec![("Content-length".into(), metadata.len().to_string())],
            cookies: Vec::new(),
            body: Box::new(file),
        })
    }

    /// Reads the head; the body is read when it is wanted.
    pub(super) fn read(stream: Stream, request: &Request) -> std::result::Result<Response, WebError> {
        let mut reader = BufReader::with_capacity(64 * 1024, stream);
        let (status, reason, headers) = loop {
            let head = head(&mut reader)?;
            if head.0 >= 200 || head.0 == 101 {
                break head;
            }
        };
        let response = Response {
            status,
            reason,
            url: String::new(),
            headers,
            cookies: Vec::new(),
            body: Box::new(std::io::empty()),
        };
        if request.method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Ok(response);
        }
        let chunked = response.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        let length = response.header("content-length").and_then(|text| text.trim().parse::<u64>().ok());
        let body: Box<dyn Read> = match (chunked, length) {
            (true, _) => Box::new(Chunked { reader, left: 0, begun: false, done: false }),
            (false, Some(left)) => Box::new(Sized { reader, left }),
            (false, None) => Box::new(reader),
        };
        let packed = response.header("content-encoding").is_some_and(|v| v.eq_ignore_ascii_case("gzip"));
        let body = match packed && request.decompress {
            true => Box::new(flate2::read::MultiGzDecoder::new(body)),
            false => body,
        };
        Ok(Response { body, ..response })
    }
}

type Head = (u16, String, Vec<(String, String)>);

/// Status, reason and headers.
fn head(reader: &mut BufReader<Stream>) -> std::result::Result<Head, WebError> {
    let mut limited = reader.take(HEAD);
    let mut next = || -> std::result::Result<String, WebError> {
        let mut line = Vec::new();
        match limited.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {}
            Ok(0) => return Err(WebError::failed("Remote end closed connection without response")),
            Ok(_) => return Err(WebError::failed("Connection failure: the head of the answer is not whole")),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(WebError::failed("Connection failure: The read operation timed out"));
            }
            Err(e) => return Err(WebError::unreachable(&e)),
        }
        while line.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            line.pop();
        }
        // As Python reads headers: a byte is a character.
        Ok(line.into_iter().map(char::from).collect())
    };
    let first = next()?;
    let status = first.strip_prefix("HTTP/").and_then(|rest| rest.split_once(' ')).and_then(|(_, rest)| {
        let (number, reason) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
        Some((number.parse::<u16>().ok()?, reason.trim().to_string()))
    });
    let Some((status, reason)) = status else {
        return Err(WebError::failed(format!(
            "Connection failure: connection was closed before a valid response was received: {first}"
        )));
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    loop {
        let line = next()?;
        if line.is_empty() {
            return Ok((status, reason, headers));
        }
        match (line.starts_with([' ', '\t']), line.split_once(':')) {
            (true, _) => {
                if let Some((_, value)) = headers.last_mut() {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            }
            (false, Some((name, value))) => headers.push((name.to_string(), value.trim().to_string())),
            (false, None) => {}
        }
    }
}

/// A body whose length was said before.
struct Sized {
    reader: BufReader<Stream>,
    left: u64,
}

impl Read for Sized {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.reader.read(into.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 && wanted > 0 {
            let why = format!("Incomplete read, failed to read remaining {} bytes", self.left);
            return Err(Error::new(ErrorKind::UnexpectedEof, why));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// A body in pieces, each with its length before it.
struct Chunked {
    reader: BufReader<Stream>,
    left: u64,
    begun: bool,
    done: bool,
}

impl Chunked {
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.reader).take(HEAD).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Err(Error::new(ErrorKind::UnexpectedEof, "Incomplete read of an answer in pieces"));
        }
        Ok(String::from_utf8_lossy(&line).trim().to_string())
    }

    /// The length of the next piece.
    fn piece(&mut self) -> Result<()> {
        if self.begun {
            self.line()?; // ends the one before
        }
        self.begun = true;
        let line = self.line()?;
        let number = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(number, 16)
            .map_err(|_| Error::new(ErrorKind::InvalidData, format!("`{number}` is no length of a piece")))?;
        if self.left == 0 {
            self.done = true;
            while !self.line().unwrap_or_default().is_empty() {}
        }
        Ok(())
    }
}

impl Read for Chunked {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.left == 0 && !self.done {
            self.piece()?;
        }
        if self.done {
            return Ok(0);
        }
        let wanted = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.reader.read(into.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 && wanted > 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "Incomplete read of an answer in pieces"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as Ansible asks whether something is younger.
pub(super) fn http_date(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = crate::machine::files::civil(days);
    let name = DAYS.get(usize::try_from(days.rem_euclid(7)).unwrap_or(0)).unwrap_or(&"Thu");
    let month = MONTHS.get(usize::try_from(month - 1).unwrap_or(0)).unwrap_or(&"Jan");
    format!("{name}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates_are_those_of_the_web() {
        assert_eq!(super::http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(super::http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
