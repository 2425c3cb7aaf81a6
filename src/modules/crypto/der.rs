//! A small reader of DER: what certificates and requests say, as far as they are compared and returned.

use base64::Engine;

/// A name: object identifiers and values, in order.
pub(super) type Name = Vec<(String, String)>;

/// One element: its tag, its contents, and all its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub inside: &'a [u8],
    pub whole: &'a [u8],
}

/// Elements one after the other; it ends where something is not well-formed.
pub(super) struct Elements<'a>(pub &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let tag = *self.0.first()?;
        let first = usize::from(*self.0.get(1)?);
        let (length, start) = match first {
            0..=0x7f => (first, 2),
            0x81..=0x84 => {
                let bytes = self.0.get(2..2 + (first & 0x7f))?;
                (bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte)), 2 + bytes.len())
            }
            _ => return None,
        };
        let end = start.checked_add(length)?;
        let element = Element { tag, inside: self.0.get(start..end)?, whole: self.0.get(..end)? };
        self.0 = self.0.get(end..)?;
        Some(element)
    }
}

impl<'a> Element<'a> {
    pub fn elements(&self) -> Elements<'a> {
        Elements(self.inside)
    }
}

/// The only element of a text.
pub(super) fn one(bytes: &[u8]) -> Option<Element<'_>> {
    Elements(bytes).next()
}

/// The first block of a PEM file, decoded.
pub(super) fn pem(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (_, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END")?;
    let body: String = body.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
}

/// An algorithm and its parameter, where that is an object identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Algorithm {
    pub oid: String,
    pub parameter: Option<String>,
}

fn algorithm(element: Element<'_>) -> Option<Algorithm> {
    let mut parts = element.elements();
    let oid = oid(parts.next()?.inside)?;
    Some(Algorithm {
        oid,
        parameter: parts.next().filter(|part| part.tag == 6).and_then(|part| self::oid(part.inside)),
    })
}

/// Numbers with dots between.
pub(super) fn oid(bytes: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in bytes {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    let (first, rest) = numbers.split_first()?;
    let head = (*first / 40).min(2);
    let mut text = format!("{head}.{}", first - head * 40);
    rest.iter().for_each(|number| text += &format!(".{number}"));
    Some(text)
}

/// The algorithm and the bits of a public key.
pub(super) fn public_key(spki: &[u8]) -> Option<(Algorithm, &[u8])> {
    let mut parts = one(spki)?.elements();
    let kind = algorithm(parts.next()?)?;
    Some((kind, parts.next()?.inside.get(1..)?))
}

/// The size of an RSA key.
pub(super) fn rsa_bits(bits: &[u8]) -> Option<i64> {
    let modulus = one(bits)?.elements().next()?.inside;
    let modulus: &[u8] = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = modulus.first()?;
    i64::try_from(modulus.len() * 8).ok().map(|bits| bits - i64::from(first.leading_zeros()))
}

fn name(element: Element<'_>) -> Option<Name> {
    let mut name = Vec::new();
    for set in element.elements() {
        for pair in set.elements() {
            let mut parts = pair.elements();
            let kind = oid(parts.next()?.inside)?;
            name.push((kind, String::from_utf8_lossy(parts.next()?.inside).into_owned()));
        }
    }
    Some(name)
}

/// An extension: whether it is critical, and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extension {
    pub oid: String,
    pub critical: bool,
    pub value: Vec<u8>,
}

fn extensions(list: Element<'_>) -> Option<Vec<Extension>> {
    let mut all = Vec::new();
    for extension in list.elements() {
        let parts: Vec<Element<'_>> = extension.elements().collect();
        let critical = parts.get(1).is_some_and(|part| part.tag == 1 && part.inside != [0]);
        all.push(Extension { oid: oid(parts.first()?.inside)?, critical, value: parts.last()?.inside.to_vec() });
    }
    all.sort();
    Some(all)
}

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub subject: Name,
    pub key: Vec<u8>,
    /// Sorted.
    pub extensions: Vec<Extension>,
    pub signature: String,
    pub version: u8,
}

impl Request {
    pub fn parse(bytes: &[u8]) -> Option<Request> {
        let mut outer = one(bytes)?.elements();
        let mut parts = outer.next()?.elements();
        let version = *parts.next()?.inside.first()?;
        let subject = name(parts.next()?)?;
        let key = parts.next()?.whole.to_vec();
        let mut found = Vec::new();
        for attribute in parts.next().into_iter().flat_map(|attributes| attributes.elements()) {
            let mut inside = attribute.elements();
            if oid(inside.next()?.inside)? == "1.2.840.113549.1.9.14" {
                found = extensions(inside.next()?.elements().next()?)?;
            }
        }
        let signature = algorithm(outer.next()?)?.oid;
        Some(Request { subject, key, extensions: found, signature, version })
    }
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub serial: Vec<u8>,
    pub issuer: Name,
    pub not_before: String,
    pub not_after: String,
    pub subject: Name,
    pub key: Vec<u8>,
    /// Sorted.
    pub extensions: Vec<Extension>,
    pub signature: String,
    pub version: u8,
}

impl Certificate {
    pub fn parse(bytes: &[u8]) -> Option<Certificate> {
        let mut parts = one(bytes)?.elements().next()?.elements();
        let mut next = parts.next()?;
        let mut version = 1;
        if next.tag == 0xa0 {
            version = next.elements().next()?.inside.first()? + 1;
            next = parts.next()?;
        }
        let serial = next.inside.to_vec();
        let signature = algorithm(parts.next()?)?.oid;
        let issuer = name(parts.next()?)?;
        let mut validity = parts.next()?.elements();
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = name(parts.next()?)?;
        let key = parts.next()?.whole.to_vec();
        let list = parts.find(|part| part.tag == 0xa3).and_then(|part| part.elements().next());
        let extensions = list.map_or(Some(Vec::new()), extensions)?;
        Some(Certificate { serial, issuer, not_before, not_after, subject, key, extensions, signature, version })
    }
}

/// A number of any length, in decimal digits.
pub(super) fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let sum = u32::from(*digit) * 256 + carry;
            *digit = (sum % 10) as u8;
            carry = sum / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

/// `YYYYMMDDHHMMSSZ`, whichever of the two forms it has.
fn time(element: Element<'_>) -> Option<String> {
    let text = std::str::from_utf8(element.inside).ok()?;
    if element.tag != 0x17 {
        return Some(text.to_string());
    }
    let year: u32 = text.get(..2)?.parse().ok()?;
    Some(format!("{}{text}", if year < 50 { "20" } else { "19" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_numbers_are_read() {
        assert_eq!(oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]).unwrap(), "1.2.840.113549.1.1.1");
        assert_eq!(oid(&[0x55, 4, 3]).unwrap(), "2.5.4.3");
        assert!(one(&[0x30, 5, 1]).is_none() && one(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert_eq!(Elements(&[2, 1, 5, 4, 0]).count(), 2);
        for cut in 0..40 {
            let bytes: Vec<u8> = (0..cut).map(|n| if n % 2 == 0 { 0x30 } else { (cut - n) as u8 }).collect();
            assert!(Request::parse(&bytes).is_none() && Certificate::parse(&bytes).is_none());
        }
    }
}
