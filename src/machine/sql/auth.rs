//! How the server is told who we are: the plugins that need no TLS and no secret in clear text.

use super::client::SqlError;
use crate::secret::Secret;
use sha1::{Digest, Sha1};

/// The hash that the server keeps for a password under `mysql_native_password`: `*` and SHA1(SHA1(password)).
pub fn native_hash(password: &Secret) -> String {
    if password.is_empty() {
        return String::new();
    }
    let twice = Sha1::digest(Sha1::digest(password.expose().as_bytes()));
    let mut text = String::with_capacity(41);
    text.push('*');
    for byte in twice {
        text.push_str(&format!("{byte:02X}"));
    }
    text
}

/// Whether this is such a hash.
pub fn is_native_hash(text: &str) -> bool {
    text.len() == 41 && text.starts_with('*') && text.bytes().skip(1).all(|b| b.is_ascii_hexdigit())
}

/// The answer to the server's challenge.
pub(super) fn answer(plugin: &str, password: &Secret, challenge: &[u8]) -> Result<Vec<u8>, SqlError> {
    match plugin {
        // The kernel tells the server who we are.
        "unix_socket" | "auth_socket" => Ok(Vec::new()),
        "mysql_native_password" => Ok(native_answer(password, challenge)),
        "mysql_old_password" => Err(SqlError::Protocol(
            "the account's password is stored in the format of MySQL before 4.1; set it anew on the server".into(),
        )),
        other => Err(SqlError::Protocol(format!(
            "the account is authenticated by the plugin `{other}`, which is not supported here; log in with an account \
             that uses unix_socket or mysql_native_password"
        ))),
    }
}

fn native_answer(password: &Secret, challenge: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password.expose().as_bytes());
    let mut mask = Sha1::new();
    // The challenge is 20 bytes; what follows is the terminating zero.
    mask.update(challenge.get(..20).unwrap_or(challenge));
    mask.update(Sha1::digest(once));
    once.iter().zip(mask.finalize()).map(|(a, b)| a ^ b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_servers() {
        // SELECT PASSWORD('secret') on MariaDB 11.8
        assert_eq!(native_hash(&Secret::new("secret")), "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7");
        assert_eq!(native_hash(&Secret::new("")), "");
        assert!(is_native_hash("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"));
        assert!(!is_native_hash("secret") && !is_native_hash("*14E65567ABDB5135D0CFD9A70B3032C179A49EXX"));
    }

    #[test]
    fn unknown_plugins_are_named() {
        let error = answer("client_ed25519", &Secret::new("x"), &[0; 20]).unwrap_err();
        assert!(error.to_string().contains("client_ed25519"), "{error}");
        assert!(answer("unix_socket", &Secret::new("x"), &[]).unwrap().is_empty());
    }
}
