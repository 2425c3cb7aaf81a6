//! Ansible's vault: files and values in its formats 1.1 and 1.2, both directions, exchangeable with `ansible-vault`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::redact::Redactor;
use crate::secret::Secret;

const MAGIC: &str = "$ANSIBLE_VAULT";
const ROUNDS: u32 = 10_000;
/// The id of a password given without one.
pub const DEFAULT_ID: &str = "default";

/// Why a vault value cannot be read or made. Never holds a password or clear text.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum VaultError {
    /// No header.
    #[error("it is not vault data: it does not begin with {MAGIC}")]
    NotVault,
    /// A header of another kind.
    #[error("unsupported vault format `{0}`; known are 1.1 and 1.2 with AES256")]
    Format(String),
    /// Damaged.
    #[error("the vault data is damaged: {0}")]
    Damaged(&'static str),
    /// No password at all.
    #[error("no vault password was given; set --vault-password-file or --vault-id")]
    NoPassword,
    /// None of the passwords opens it.
    #[error("none of the {tried} vault passwords opens it{}", id.as_ref().map(|i| format!(" (it is encrypted for vault id '{i}')")).unwrap_or_default())]
    WrongPassword {
        /// How many were tried.
        tried: usize,
        /// The id in its header.
        id: Option<String>,
    },
    /// What it holds is no text.
    #[error("what the vault data holds is not UTF-8 text")]
    NotText,
    /// No password for the id to encrypt with.
    #[error("there is no vault password with the id '{id}'; known are: {known}")]
    NoSuchId {
        /// What was asked for.
        id: String,
        /// What there is.
        known: String,
    },
    /// Several passwords, and nobody said which.
    #[error("the vault ids {0} are available to encrypt; say with --encrypt-vault-id which one is meant")]
    Ambiguous(String),
    /// An id that the header cannot hold.
    #[error("`{0}` is no vault id: it must not be empty, nor contain `;` or a line end")]
    BadId(String),
}

/// What was in vault data, and what opened it.
pub struct Opened {
    /// The clear text.
    pub clear: Zeroizing<Vec<u8>>,
    /// The password's number, for [`Vault::seal`].
    pub password: usize,
    /// The id in its header; format 1.1 has none.
    pub id: Option<String>,
}

type Keys = Zeroizing<[u8; 80]>;
type KeyCache = HashMap<(usize, Vec<u8>), Arc<Keys>>;

/// Passwords by vault id, and the keys derived from them.
#[derive(Default)]
pub struct Vault {
    passwords: Vec<(String, Secret)>,
    /// Derivation takes milliseconds: keys by password number and salt.
    keys: Mutex<KeyCache>,
    redactor: Redactor,
    /// Passwords of other ids than the data's are not tried.
    match_ids: bool,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({} passwords)", self.passwords.len())
    }
}

/// Whether text is vault data.
pub fn is_encrypted(text: &str) -> bool {
    text.trim_start().starts_with(MAGIC)
}

/// Whether a file's bytes are vault data.
pub fn is_encrypted_bytes(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(MAGIC.as_bytes())
}

impl Vault {
    /// A vault without passwords. The redactor learns each password.
    pub fn new(redactor: Redactor) -> Self {
        Vault { redactor, ..Vault::default() }
    }

    /// Adds a password. Those added first are tried first, after those whose id the data names.
    pub fn add_password(&mut self, id: &str, password: Secret) {
        self.redactor.add(password.expose());
        self.passwords.push((id.to_owned(), password));
    }

    /// Whether data is tried with passwords of its own id alone (`vault_id_match`).
    pub fn match_ids(&mut self, only: bool) {
        self.match_ids = only;
    }

    /// Whether there is no password.
    pub fn is_empty(&self) -> bool {
        self.passwords.is_empty()
    }

    /// The ids of the passwords, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.passwords.iter().map(|(id, _)| id.as_str())
    }

    /// Decrypts text to text. The redactor learns the clear text.
    pub fn decrypt_str(&self, text: &str) -> Result<String, VaultError> {
        let clear = String::from_utf8(self.decrypt(text.as_bytes())?).map_err(|_| VaultError::NotText)?;
        self.redactor.add(&clear);
        Ok(clear)
    }

    /// Decrypts a file's bytes. The redactor does not learn them: a whole variables file is not one secret.
    pub fn decrypt(&self, data: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.decrypt_with_id(data).map(|(clear, _)| clear)
    }

    /// Decrypts, and tells which id's password did it.
    pub fn decrypt_with_id(&self, data: &[u8]) -> Result<(Vec<u8>, &str), VaultError> {
        let opened = self.open(data)?;
        let name = self.passwords.get(opened.password).map_or(DEFAULT_ID, |(name, _)| name);
        Ok((opened.clear.to_vec(), name))
    }

    /// Decrypts, and tells with what.
    pub fn open(&self, data: &[u8]) -> Result<Opened, VaultError> {
        let text = std::str::from_utf8(data).map_err(|_| VaultError::NotVault)?.trim();
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default().trim();
        let mut fields = header.split(';').map(str::trim);
        if fields.next() != Some(MAGIC) {
            return Err(VaultError::NotVault);
        }
        let (version, cipher, id) = (fields.next(), fields.next(), fields.next());
        if !matches!(version, Some("1.1" | "1.2")) || cipher != Some("AES256") {
            return Err(VaultError::Format(header.chars().take(60).collect()));
        }
        let hex: String = lines.flat_map(|l| l.chars().filter(|c| !c.is_whitespace())).collect();
        let inner = unhex(&hex).ok_or(VaultError::Damaged("its body is not hexadecimal"))?;
        let inner = String::from_utf8(inner).map_err(|_| VaultError::Damaged("its body is not text"))?;
        let mut parts = inner.split('\n').map(|p| unhex(p.trim()));
        let mut part = || parts.next().flatten().ok_or(VaultError::Damaged("it must have salt, checksum and content"));
        let (salt, mac, content) = (part()?, part()?, part()?);
        if self.passwords.is_empty() {
            return Err(VaultError::NoPassword);
        }
        // Passwords of the id that the header names come first; then all others, as Ansible tries them.
        // Format 1.1 names none, and means the default one.
        let meant = if self.match_ids { Some(id.unwrap_or(DEFAULT_ID)) } else { id };
        let named = |n: &usize| meant.is_some() && self.passwords.get(*n).map(|(i, _)| i.as_str()) == meant;
        let all = 0..self.passwords.len();
        let order: Vec<usize> = all.clone().filter(named).chain(all.filter(|n| !named(n) && !self.match_ids)).collect();
        for n in order {
            let Some((_, password)) = self.passwords.get(n) else { continue };
            let keys = self.keys(n, password, &salt);
            let mut check = mac_of(&keys);
            check.update(&content);
            if check.verify_slice(&mac).is_ok() {
                let mut clear = Zeroizing::new(content.clone());
                crypt(&keys, &mut clear)?;
                let pad = usize::from(*clear.last().ok_or(VaultError::Damaged("it is empty"))?);
                let keep = clear.len().checked_sub(pad).filter(|_| (1..=16).contains(&pad));
                clear.truncate(keep.ok_or(VaultError::Damaged("its padding is wrong"))?);
                return Ok(Opened { clear, password: n, id: id.map(str::to_owned) });
            }
        }
        Err(VaultError::WrongPassword { tried: self.passwords.len(), id: id.map(str::to_owned) })
    }

    /// Encrypts with the password of an id; `None` is the first password. The default id makes format 1.1.
    pub fn encrypt(&self, clear: &[u8], id: Option<&str>) -> Result<String, VaultError> {
        let salt: [u8; 32] = rand::random();
        self.encrypt_with_salt(clear, id, &salt)
    }

    /// The same with a salt that is given, of any length: the text is the same each time.
    pub fn encrypt_with_salt(&self, clear: &[u8], id: Option<&str>, salt: &[u8]) -> Result<String, VaultError> {
        let n = id.map_or(Ok(0), |id| self.number(id))?;
        let (name, _) = self.passwords.get(n).ok_or(VaultError::NoPassword)?;
        self.seal_with_salt(clear, n, name, salt)
    }

    /// The number of the password of an id.
    fn number(&self, id: &str) -> Result<usize, VaultError> {
        let found = self.passwords.iter().position(|(known, _)| known == id);
        found.ok_or_else(|| VaultError::NoSuchId { id: id.to_owned(), known: self.listed() })
    }

    fn listed(&self) -> String {
        self.ids().collect::<Vec<_>>().join(", ")
    }

    /// The password to encrypt with, and its id: that of the id which is named, else the only one that there is.
    pub fn choose(&self, id: Option<&str>) -> Result<(usize, &str), VaultError> {
        let number = match id {
            Some(id) => self.number(id)?,
            None if self.passwords.len() > 1 => return Err(VaultError::Ambiguous(self.listed())),
            None => 0,
        };
        self.passwords.get(number).map(|(id, _)| (number, id.as_str())).ok_or(VaultError::NoPassword)
    }

    /// Encrypts with a password of [`Vault::choose`] or [`Vault::open`], and names it so in the header. The default id makes
    /// format 1.1, which names none.
    pub fn seal(&self, clear: &[u8], password: usize, id: &str) -> Result<String, VaultError> {
        if id.is_empty() || id.contains([';', '\n', '\r']) {
            return Err(VaultError::BadId(id.to_owned()));
        }
        let salt: [u8; 32] = rand::random();
        self.seal_with_salt(clear, password, id, &salt)
    }

    fn seal_with_salt(&self, clear: &[u8], n: usize, name: &str, salt: &[u8]) -> Result<String, VaultError> {
        let (_, password) = self.passwords.get(n).ok_or(VaultError::NoPassword)?;
        let keys = self.keys(n, password, salt);
        let pad = 16 - clear.len() % 16;
        let mut content = Vec::with_capacity(clear.len() + pad);
        content.extend_from_slice(clear);
        content.extend(std::iter::repeat_n(u8::try_from(pad).unwrap_or(16), pad));
        crypt(&keys, &mut content)?;
        let mut mac = mac_of(&keys);
        mac.update(&content);
        let inner = format!("{}\n{}\n{}", hex(salt), hex(&mac.finalize().into_bytes()), hex(&content));
        let mut out =
            if name == DEFAULT_ID { format!("{MAGIC};1.1;AES256\n") } else { format!("{MAGIC};1.2;AES256;{name}\n") };
        for line in hex(inner.as_bytes()).as_bytes().chunks(80) {
            out.push_str(std::str::from_utf8(line).unwrap_or_default());
            out.push('\n');
        }
        Ok(out)
    }

    fn keys(&self, n: usize, password: &Secret, salt: &[u8]) -> Arc<Keys> {
        let at = (n, salt.to_vec());
        if let Some(keys) = self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&at) {
            return keys.clone();
        }
        let mut keys: Keys = Zeroizing::new([0; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.expose().as_bytes(), salt, ROUNDS, &mut keys[..]);
        let keys = Arc::new(keys);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(at, keys.clone());
        keys
    }
}

fn mac_of(keys: &Keys) -> Hmac<Sha256> {
    // HMAC takes a key of any length.
    let (_, rest) = keys.split_at(32);
    let (key, _) = rest.split_at(32);
    <Hmac<Sha256> as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| <Hmac<Sha256> as KeyInit>::new(&Default::default()))
}

fn crypt(keys: &Keys, data: &mut [u8]) -> Result<(), VaultError> {
    let (key, rest) = keys.split_at(32);
    let (_, iv) = rest.split_at(32);
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(key, iv).map_err(|_| VaultError::Damaged("bad key length"))?;
    cipher.apply_keystream(data);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(passwords: &[(&str, &str)]) -> Vault {
        let mut vault = Vault::new(Redactor::default());
        for (id, password) in passwords {
            vault.add_password(id, Secret::new(*password));
        }
        vault
    }

    /// Made by `ansible-vault encrypt_string` of ansible-core 2.19 with the password `correct horse`.
    const BY_ANSIBLE: &str = include_str!("testdata/vault-1.1.txt");
    const BY_ANSIBLE_ID: &str = include_str!("testdata/vault-1.2.txt");

    #[test]
    fn opens_what_ansible_made() {
        let v = vault(&[("default", "wrong"), ("prod", "correct horse")]);
        assert_eq!(v.decrypt_str(BY_ANSIBLE).as_deref(), Ok("s3cr3t 'quoted' value"));
        assert_eq!(v.decrypt_str(BY_ANSIBLE_ID).as_deref(), Ok("s3cr3t 'quoted' value"));
        assert_eq!(v.decrypt_with_id(BY_ANSIBLE_ID.as_bytes()).map(|(_, id)| id), Ok("prod"));
    }

    #[test]
    fn round_trip_and_formats() {
        let v = vault(&[("default", "one password"), ("prod", "another password")]);
        for clear in ["", "x", "sixteen bytes!!!", "a longer text that spans more than one block of sixteen bytes\n"] {
            let a = v.encrypt(clear.as_bytes(), None).unwrap_or_default();
            assert!(a.starts_with("$ANSIBLE_VAULT;1.1;AES256\n"), "{a}");
            assert_eq!(v.decrypt(a.as_bytes()).as_deref(), Ok(clear.as_bytes()));
            let b = v.encrypt(clear.as_bytes(), Some("prod")).unwrap_or_default();
            assert!(b.starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"), "{b}");
            assert_eq!(v.decrypt(b.as_bytes()).as_deref(), Ok(clear.as_bytes()));
        }
        assert_ne!(v.encrypt(b"same", None), v.encrypt(b"same", None));
    }

    #[test]
    fn only_the_named_id_is_tried_where_that_is_wanted() {
        let mut v = vault(&[("other", "another password"), ("prod", "correct horse")]);
        assert!(v.decrypt(BY_ANSIBLE.as_bytes()).is_ok());
        v.match_ids(true);
        assert!(v.decrypt(BY_ANSIBLE_ID.as_bytes()).is_ok());
        assert!(v.decrypt(BY_ANSIBLE.as_bytes()).is_err(), "it is the default id's, of which there is no password");
    }

    #[test]
    fn the_password_to_encrypt_with_is_chosen() {
        let v = vault(&[("a", "one password"), ("b", "another password")]);
        assert_eq!(v.choose(Some("b")), Ok((1, "b")));
        assert_eq!(v.choose(None), Err(VaultError::Ambiguous("a, b".into())));
        assert_eq!(vault(&[("a", "one password")]).choose(None), Ok((0, "a")));
        assert_eq!(vault(&[]).choose(None), Err(VaultError::NoPassword));
        assert_eq!(v.seal(b"x", 0, "a;b"), Err(VaultError::BadId("a;b".into())));
        let opened = v.open(v.seal(b"x", 1, "else").unwrap_or_default().as_bytes());
        assert!(opened.is_ok_and(|o| (o.password, o.id.as_deref(), &o.clear[..]) == (1, Some("else"), &b"x"[..])));
    }

    #[test]
    fn says_what_is_wrong() {
        let v = vault(&[("default", "one password")]);
        let other = vault(&[("prod", "another password")]);
        let text = other.encrypt(b"clear", Some("prod")).unwrap_or_default();
        let error = v.decrypt(text.as_bytes()).unwrap_err();
        assert_eq!(error, VaultError::WrongPassword { tried: 1, id: Some("prod".to_owned()) });
        assert!(!error.to_string().contains("password one"));
        assert_eq!(v.decrypt(b"plain"), Err(VaultError::NotVault));
        assert_eq!(
            v.decrypt(b"$ANSIBLE_VAULT;9.9;AES256\n00"),
            Err(VaultError::Format("$ANSIBLE_VAULT;9.9;AES256".into()))
        );
        assert!(matches!(v.decrypt(b"$ANSIBLE_VAULT;1.1;AES256\nzz"), Err(VaultError::Damaged(_))));
        assert!(matches!(v.decrypt(b"$ANSIBLE_VAULT;1.1;AES256\n61"), Err(VaultError::Damaged(_))));
        assert_eq!(vault(&[]).decrypt(text.as_bytes()), Err(VaultError::NoPassword));
        let mut flipped = text.into_bytes();
        if let Some(b) = flipped.iter_mut().rev().find(|b| b.is_ascii_digit()) {
            *b = if *b == b'1' { b'2' } else { b'1' };
        }
        assert!(other.decrypt(&flipped).is_err());
    }

    #[test]
    fn the_redactor_learns_secrets() {
        let redactor = Redactor::default();
        let mut v = Vault::new(redactor.clone());
        v.add_password("default", Secret::new("one password"));
        let text = v.encrypt(b"clear text", None).unwrap_or_default();
        assert_eq!(v.decrypt_str(&text).as_deref(), Ok("clear text"));
        assert!(!redactor.mask("with one password: clear text").contains("clear text"));
        assert!(!redactor.mask("with one password: clear text").contains("one password"));
    }
}
