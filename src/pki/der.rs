//! As much DER as keys need: reading one element after another, writing one around others.

/// Universal tags, as they stand in the byte stream.
pub const INTEGER: u8 = 0x02;
/// BIT STRING.
pub const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub const OID: u8 = 0x06;
/// SEQUENCE, constructed.
pub const SEQUENCE: u8 = 0x30;

/// Reads the elements of one level. Every method gives `None` at malformed or missing input.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the elements in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// The next element's tag and contents.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, contents))
    }

    /// The next element's contents when it has this tag; otherwise nothing is consumed.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, contents) = ahead.any()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(contents)
    }

    /// The elements inside the next SEQUENCE.
    pub fn sequence(&mut self) -> Option<Reader<'a>> {
        self.take(SEQUENCE).map(Reader)
    }
}

/// One element: tag, length, and `parts` one after another.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = bytes.iter().take_while(|byte| **byte == 0).count();
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend(bytes.iter().skip(skip));
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0usize, 1, 127, 128, 255, 256, 70_000] {
            let contents = vec![7u8; length];
            let written = element(SEQUENCE, &[&element(OCTET_STRING, &[&contents]), &element(INTEGER, &[&[1]])]);
            let mut inside = Reader::new(&written).sequence().unwrap();
            assert_eq!(inside.take(INTEGER), None, "the wrong tag consumes nothing");
            assert_eq!(inside.take(OCTET_STRING), Some(contents.as_slice()));
            assert_eq!(inside.take(INTEGER), Some([1u8].as_slice()));
            assert_eq!(inside.any(), None);
        }
    }

    #[test]
    fn truncated_input_is_none() {
        let written = element(SEQUENCE, &[&[5u8; 300]]);
        for end in 0..written.len() {
            assert_eq!(Reader::new(&written[..end]).any(), None, "{end} bytes");
        }
    }
}
