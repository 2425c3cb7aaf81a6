//! PEM: the labelled blocks in a file of certificates or keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroize;

/// One block. The bytes are wiped on drop, because some are keys.
pub struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// Header lines of the old encrypted format (`Proc-Type`, `DEK-Info`) were there.
    pub has_headers: bool,
    /// The decoded contents.
    pub der: Vec<u8>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.der.zeroize();
    }
}

/// All blocks of `text`, in order. What stands between blocks is ignored, as everyone does; a block that does not
/// decode is an error naming its number and label.
pub fn blocks(text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(label) = line.trim().strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else {
            continue;
        };
        let number = found.len() + 1;
        let end = format!("-----END {label}-----");
        let (mut encoded, mut has_headers, mut closed) = (String::new(), false, false);
        for line in lines.by_ref() {
            let line = line.trim();
            if line == end {
                closed = true;
                break;
            }
            if line.contains(':') {
                has_headers = true;
            } else {
                encoded.push_str(line);
            }
        }
        if !closed {
            encoded.zeroize();
            return Err(format!("block {number} ({label}) has no line `{end}`"));
        }
        let der = STANDARD.decode(&encoded);
        encoded.zeroize();
        match der {
            Ok(der) => found.push(Block { label: label.to_string(), has_headers, der }),
            Err(_) if has_headers => found.push(Block { label: label.to_string(), has_headers, der: Vec::new() }),
            Err(_) => return Err(format!("block {number} ({label}) is not base64")),
        }
    }
    Ok(found)
}

/// Whether a certificate of one file is in the other, too.
pub fn share_a_certificate(one: &str, other: &str) -> bool {
    let certificates = |text: &str| blocks(text).unwrap_or_default();
    let other = certificates(other);
    let is = |block: &Block| block.label == "CERTIFICATE";
    certificates(one).iter().filter(|block| is(block)).any(|one| other.iter().any(|two| is(two) && two.der == one.der))
}

/// One block as text, 64 characters a line.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    encoded.zeroize();
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_a_round_trip_and_noise_is_skipped() {
        let long: Vec<u8> = (0..200).collect();
        let text =
            format!("a comment\n{}\r\nmore\n{}", encode("CERTIFICATE", &long), encode("PRIVATE KEY", &[1, 2, 3]));
        let found = blocks(&text).unwrap();
        let seen: Vec<_> = found.iter().map(|block| (block.label.as_str(), block.der.as_slice())).collect();
        assert_eq!(seen, [("CERTIFICATE", long.as_slice()), ("PRIVATE KEY", [1, 2, 3].as_slice())]);
        assert!(blocks("nothing here").unwrap().is_empty());
    }

    #[test]
    fn certificates_in_common() {
        let (a, b) = (encode("CERTIFICATE", &[1; 60]), encode("CERTIFICATE", &[2; 60]));
        for (one, other, expected) in [
            (format!("{a}{b}"), format!("a comment\r\n{b}"), true),
            (a.clone(), b.clone(), false),
            (a.clone(), encode("PRIVATE KEY", &[1; 60]), false),
            (String::new(), String::new(), false),
        ] {
            assert_eq!(share_a_certificate(&one, &other), expected);
        }
    }

    #[test]
    fn a_broken_block_is_named() {
        let text = encode("CERTIFICATE", &[0; 60]);
        assert_eq!(
            blocks(&text.replace("-----END", "")).err().as_deref(),
            Some("block 1 (CERTIFICATE) has no line `-----END CERTIFICATE-----`")
        );
        assert_eq!(blocks(&text.replace("AAAA", "A*A")).err().as_deref(), Some("block 1 (CERTIFICATE) is not base64"));
    }
}
