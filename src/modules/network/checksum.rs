//! A digest that a download must have, given itself or found in a list of digests.

use crate::machine::files::Algorithm;

/// A digest and how it is made.
pub(super) struct Checksum {
    pub algorithm: Algorithm,
    /// Hex, in lower case.
    pub digest: String,
}

impl Checksum {
    /// Reads both; the messages are Ansible's.
    pub fn parse(algorithm: &str, digest: &str) -> Result<Checksum, String> {
        let digest: String = digest.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
        let digest = digest.to_lowercase();
        if digest.is_empty() || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("The checksum format is invalid".into());
        }
        let algorithm = match algorithm.to_lowercase().as_str() {
            "md5" => Algorithm::Md5,
            "sha1" => Algorithm::Sha1,
            "sha224" => Algorithm::Sha224,
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            other => {
                return Err(format!(
                    "Could not hash file with algorithm '{other}'. Available algorithms: \
                     md5, sha1, sha224, sha256, sha384, sha512"
                ));
            }
        };
        Ok(Checksum { algorithm, digest })
    }
}

/// The digest of a file in a list as `sha256sum` and BSD's `sha256` write them; a list of one word is that digest.
pub(super) fn of_list(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    if let [line] = lines.as_slice()
        && line.split_whitespace().count() == 1
    {
        return Some(line.trim().to_string());
    }
    lines.into_iter().find_map(|line| {
        let (digest, path) = bsd(line).or_else(|| gnu(line))?;
        (path == name).then(|| digest.to_string())
    })
}

/// `SHA256 (name) = digest`
fn bsd(line: &str) -> Option<(&str, &str)> {
    let (word, rest) = line.split_once('(')?;
    let plain = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !plain(word.trim_end_matches(' ')) {
        return None;
    }
    let (path, digest) = rest.rsplit_once(')')?;
    let digest = digest.trim_start_matches(' ').strip_prefix('=')?.trim_start_matches(' ');
    Some((digest, path))
}

/// `digest  name`, `digest *name`, `digest  ./name`
fn gnu(line: &str) -> Option<(&str, &str)> {
    let (digest, path) = line.split_once(char::is_whitespace)?;
    let path = path.trim_start();
    let path = path.strip_prefix('*').unwrap_or(path);
    Some((digest, path.trim_start_matches(['.', '/'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_kind() {
        for (text, expected) in [
            ("aa11", Some("aa11")),
            ("aa11  other\nbb22  x.tgz\n", Some("bb22")),
            ("aa11 *x.tgz\nbb22  y\n", Some("aa11")),
            ("aa11  ./x.tgz\nbb22  y\n", Some("aa11")),
            ("MD5 (x.tgz) = cc33\n", Some("cc33")),
            ("aa11  a/x.tgz\nbb22  y\n", None),
        ] {
            assert_eq!(of_list(text, "x.tgz").as_deref(), expected, "{text:?}");
        }
        assert_eq!(Checksum::parse("SHA256", "AB\u{200b}cd ").unwrap().digest, "abcd");
        assert!(Checksum::parse("crc", "ab").is_err());
    }
}
