//! Certificates as far as a host must read them itself: serial number and dates, of a file and of what a port serves.
//!
//! The whole truth about a chain is the controller's work; here it is enough to tell two leaves apart and to know when
//! they end.

use crate::galera::Leaf;
use crate::pki::der::{INTEGER, Reader};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The certificates of a PEM text, as DER.
pub fn certificates(text: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for part in text.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let Some((body, _)) = part.split_once("-----END CERTIFICATE-----") else { continue };
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        found.extend(STANDARD.decode(body));
    }
    found
}

/// The same back to text.
pub fn pem(chain: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let body = STANDARD.encode(der);
        for line in body.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// Reads a certificate's serial number and dates.
pub fn read(der: &[u8]) -> Option<Leaf> {
    let mut certificate = Reader::new(der).sequence()?.sequence()?;
    // An explicit version comes first, unless it is of the first one.
    certificate.take(0xa0);
    let serial = certificate.take(INTEGER)?;
    certificate.any()?; // algorithm
    certificate.any()?; // issuer
    let mut validity = certificate.sequence()?;
    let (kind, from) = validity.any()?;
    let not_before = moment(kind, from)?;
    let (kind, to) = validity.any()?;
    let serial: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Leaf { serial: serial.trim_start_matches("00").to_string(), not_before, not_after: moment(kind, to)? })
}

/// `UTCTime` (23) and `GeneralizedTime` (24), in seconds since 1970.
fn moment(kind: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match kind {
        23 => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        24 => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    Some(seconds(year, part(0)?, part(2)?) + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

/// Midnight of a date, in seconds since 1970.
fn seconds(year: i64, month: i64, day: i64) -> i64 {
    // Days from the civil calendar, as Howard Hinnant derives them.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400
}

/// The chain that a port serves, leaf first, as DER. Up to TLS 1.2 a server shows it before anything is encrypted, so
/// a greeting is all that is needed; it is not answered any further.
pub fn served(address: SocketAddr, limit: Duration) -> std::io::Result<Vec<Vec<u8>>> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    shown(&mut stream)
}

/// The chain that a database server serves to its clients, by its socket: the certificate is the same there, and a
/// handshake that is broken off counts against nobody's address.
pub fn served_to_clients(socket: &str, limit: Duration) -> std::io::Result<Vec<Vec<u8>>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    shown_to_clients(&mut stream)
}

/// The same by its port. The server counts the broken handshake against our address, unless that is 127.0.0.1.
pub fn served_by_mysql(address: SocketAddr, limit: Duration) -> std::io::Result<Vec<Vec<u8>>> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    shown_to_clients(&mut stream)
}

fn shown_to_clients(stream: &mut (impl Read + Write)) -> std::io::Result<Vec<Vec<u8>>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let mut hello = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    stream.read_exact(&mut hello)?;
    // A server that has no place for us, or that has blocked our address, says so at once.
    if let [0xff, _, _, why @ ..] = hello.as_slice() {
        return Err(std::io::Error::other(String::from_utf8_lossy(why).into_owned()));
    }
    stream.write_all(&tls_wish())?;
    shown(stream)
}

/// What a client of MariaDB says that wants TLS: protocol 4.1, TLS, secure connection, plugins; packets of 16 MB; utf8mb4.
pub fn tls_wish() -> Vec<u8> {
    let mut wish = vec![32, 0, 0, 1];
    wish.extend(0x0008_8a00_u32.to_le_bytes());
    wish.extend((1_u32 << 24).to_le_bytes());
    wish.push(45);
    wish.extend([0; 23]);
    wish
}

fn shown(stream: &mut (impl Read + Write)) -> std::io::Result<Vec<Vec<u8>>> {
    let odd = |what: &str| std::io::Error::other(what.to_string());
    stream.write_all(&greeting()?)?;
    let mut said = Vec::new();
    // A chain of certificates fits into 64 kB, or is none.
    while said.len() < 64 * 1024 {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        match head[0] {
            22 => said.extend(body),
            21 => return Err(odd("the greeting is refused (TLS alert)")),
            _ => return Err(odd("TLS is not spoken there")),
        }
        if let Some(chain) = chain(&said) {
            return Ok(chain);
        }
    }
    Err(odd("no certificate is shown"))
}

/// A client's hello of TLS 1.2, with the suites and curves that servers of today have.
fn greeting() -> std::io::Result<Vec<u8>> {
    const SUITES: [u16; 8] = [0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0x009c, 0x009d];
    const EXTENSIONS: [&[u8]; 3] = [
        // Groups: x25519, secp256r1, secp384r1, secp521r1.
        &[0, 10, 0, 10, 0, 8, 0, 29, 0, 23, 0, 24, 0, 25],
        // Points: uncompressed.
        &[0, 11, 0, 2, 1, 0],
        // Signatures: ECDSA, RSA-PSS, Ed25519 and RSA with SHA-256, 384 and 512.
        &[0, 13, 0, 22, 0, 20, 4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 8, 7, 4, 1, 5, 1, 6, 1],
    ];
    let mut random = [0u8; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let mut hello = vec![3, 3];
    hello.extend(random);
    hello.push(0); // no session
    hello.extend((SUITES.len() as u16 * 2).to_be_bytes());
    hello.extend(SUITES.iter().flat_map(|suite| suite.to_be_bytes()));
    hello.extend([1, 0]); // no compression
    let extensions = EXTENSIONS.concat();
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut message = vec![1, 0];
    message.extend((hello.len() as u16).to_be_bytes());
    message.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    Ok(record)
}

/// The chain out of handshake messages, when its message is there as a whole.
fn chain(mut messages: &[u8]) -> Option<Vec<Vec<u8>>> {
    let long = |bytes: &[u8]| match bytes {
        [a, b, c, rest @ ..] => {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest.len()))
        }
        _ => None,
    };
    loop {
        let (&kind, rest) = messages.split_first()?;
        let (body, left) = long(rest)?;
        messages = messages.get(messages.len() - left..)?;
        if kind != 11 {
            continue;
        }
        let (list, _) = long(&body)?;
        let mut list = list.as_slice();
        let mut chain = Vec::new();
        while !list.is_empty() {
            let (der, left) = long(list)?;
            list = list.get(list.len() - left..)?;
            chain.push(der);
        }
        return (!chain.is_empty()).then_some(chain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `openssl req -x509 -newkey ed25519 -subj /CN=t -set_serial 0x1a2b -days 30000`, made for this test.
    fn sample() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["t".into()]).unwrap();
        parameters.serial_number = Some(rcgen::SerialNumber::from(vec![0x1a, 0x2b]));
        parameters.not_before = rcgen::date_time_ymd(2026, 1, 2);
        parameters.not_after = rcgen::date_time_ymd(2061, 3, 4);
        parameters.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn serial_and_dates() {
        let text = sample();
        let der = certificates(&format!("words before\n{text}and\n{text}"));
        assert_eq!(der.len(), 2);
        let leaf = read(&der[0]).unwrap();
        // 2026-01-02 is UTCTime, 2061-03-04 GeneralizedTime.
        assert_eq!(leaf, Leaf { serial: "1a2b".into(), not_before: 1_767_312_000, not_after: 2_877_120_000 });
        assert_eq!(certificates(&pem(&der)), der);
        for cut in [0, 1, 10, 60, der[0].len() - 1] {
            assert_eq!(read(&der[0][..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_chain_is_read_when_it_is_whole() {
        let der = certificates(&sample());
        let long = |length: usize| [(length >> 16) as u8, (length >> 8) as u8, length as u8];
        let entry = [&long(der[0].len())[..], &der[0]].concat();
        let list = [&long(entry.len())[..], &entry].concat();
        let messages = [&[2, 0, 0, 1, 9][..], &[11], &long(list.len()), &list].concat();
        assert_eq!(chain(&messages), Some(der));
        assert_eq!(chain(&messages[..messages.len() - 1]), None);
    }
}
