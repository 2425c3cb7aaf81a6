//! Checksums, name-based identifiers and password hashes.

use minijinja::Error;
use minijinja::value::Value;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};

use super::weak;

use crate::template::args::{Args, R, fail};
use crate::template::{bytes, py};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn digest(kind: &str, data: &[u8]) -> Result<String, Error> {
    Ok(match kind {
        "sha1" => hex(&sha1::Sha1::digest(data)),
        "sha224" => hex(&Sha224::digest(data)),
        "sha256" => hex(&Sha256::digest(data)),
        "sha384" => hex(&Sha384::digest(data)),
        "sha512" => hex(&Sha512::digest(data)),
        "md5" => hex(&md5::compute(data).0),
        "sha512_224" => hex(&Sha512_224::digest(data)),
        "sha512_256" => hex(&Sha512_256::digest(data)),
        "sha3_224" => hex(&sha3::Sha3_224::digest(data)),
        "sha3_256" => hex(&sha3::Sha3_256::digest(data)),
        "sha3_384" => hex(&sha3::Sha3_384::digest(data)),
        "sha3_512" => hex(&sha3::Sha3_512::digest(data)),
        "blake2b" => hex(&blake2::Blake2b512::digest(data)),
        "blake2s" => hex(&blake2::Blake2s256::digest(data)),
        other => {
            return Err(fail(format!(
                "hash: the type '{other}' is not supported; there are md5, sha1, sha224, sha256, sha384, sha512, their \
                 kin sha512_224 and sha512_256, sha3_224, sha3_256, sha3_384, sha3_512, blake2b and blake2s"
            )));
        }
    })
}

/// `hash(type)`
pub(super) fn hash(args: &Args) -> R {
    let kind = args.text(1, "hashtype").unwrap_or_else(|| "sha1".to_owned());
    digest(&kind, &bytes::of(&args.value())).map(Value::from)
}

pub(super) fn sha1(args: &Args) -> R {
    digest("sha1", &bytes::of(&args.value())).map(Value::from)
}

pub(super) fn md5(args: &Args) -> R {
    digest("md5", &bytes::of(&args.value())).map(Value::from)
}

/// The checksum of archives, as digits without leading zeros.
pub(super) fn crc32(args: &Args) -> R {
    args.only(1, &[])?;
    let value = args.value();
    let text = value.as_str().ok_or_else(|| fail("crc32: the value is not text"))?;
    let mut sum = flate2::Crc::new();
    sum.update(text.as_bytes());
    Ok(Value::from(format!("{:x}", sum.sum())))
}

/// `to_uuid(namespace)`: version 5, in Ansible's own namespace by default.
pub(super) fn to_uuid(args: &Args) -> R {
    let namespace = args.text(1, "namespace").unwrap_or_else(|| "361E6D51-FAEC-444A-9079-341386DA8E2E".to_owned());
    let digits: String = namespace.chars().filter(char::is_ascii_hexdigit).collect();
    let bytes = (0..32)
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok()))
        .collect::<Option<Vec<u8>>>()
        .filter(|_| digits.len() == 32)
        .ok_or_else(|| fail("to_uuid: the namespace is not a UUID"))?;
    let mut sha = sha1::Sha1::new();
    sha.update(&bytes);
    sha.update(py::str(&args.value()).as_bytes());
    let mut id: Vec<u8> = sha.finalize().iter().take(16).copied().collect();
    if let Some(b) = id.get_mut(6) {
        *b = (*b & 0x0f) | 0x50;
    }
    if let Some(b) = id.get_mut(8) {
        *b = (*b & 0x3f) | 0x80;
    }
    let h = hex(&id);
    let part = |a: usize, b: usize| h.get(a..b).unwrap_or_default();
    Ok(Value::from(format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))))
}

const ITOA64: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(super) fn letter(bits: u32) -> char {
    ITOA64.get((bits & 0x3f) as usize).map_or('.', |b| char::from(*b))
}

/// Text of `[./0-9A-Za-z]`, for salts.
pub(crate) fn random_salt(length: usize) -> String {
    (0..length).map(|_| letter(rand::random::<u32>())).collect()
}

/// A salt as a kind of password hash wants it, of so many letters where it may choose.
pub(crate) fn salt_for(kind: &str, length: usize) -> String {
    match kind {
        "blowfish" | "bcrypt" => weak::bcrypt_salt(&rand::random::<[u8; 16]>()),
        "md5" | "md5_crypt" => random_salt(length.min(8)),
        _ => random_salt(length),
    }
}

/// `password_hash(hashtype, salt, salt_size, rounds, ident)`, as crypt(3) reads it.
pub(super) fn password_hash(args: &Args) -> R {
    args.only(6, &["hashtype", "salt", "salt_size", "rounds", "ident"])?;
    let kind = args.text(1, "hashtype").unwrap_or_else(|| "sha512".to_owned());
    let size = usize::try_from(args.int(3, "salt_size")?.unwrap_or(16)).unwrap_or(16).clamp(1, 16);
    let salt = args.text(2, "salt").filter(|salt| !salt.is_empty()).unwrap_or_else(|| salt_for(&kind, size));
    let rounds = args.int(4, "rounds")?;
    let ident = args.text(5, "ident");
    crypt(&py::str(&args.value()), &kind, &salt, rounds, ident.as_deref()).map(Value::from)
}

/// The hash of a password. Ansible's default is 656000 rounds for sha512 and 535000 for sha256. The ident is bcrypt's alone.
pub(crate) fn crypt(
    password: &str,
    kind: &str,
    salt: &str,
    rounds: Option<i64>,
    ident: Option<&str>,
) -> Result<String, Error> {
    if let Some(c) = salt.chars().find(|c| !c.is_ascii() || !ITOA64.contains(&(*c as u8))) {
        return Err(fail(format!("password_hash: invalid character in the salt: {c:?}")));
    }
    match kind {
        "md5" | "md5_crypt" => return weak::md5_crypt(password.as_bytes(), salt),
        "blowfish" | "bcrypt" => {
            return weak::bcrypt(password.as_bytes(), salt, rounds.unwrap_or(12), ident.unwrap_or("2b"));
        }
        _ => {}
    }
    if salt.len() > 16 {
        return Err(fail("password_hash: the salt has more than 16 characters"));
    }
    let (id, default) = match kind {
        "sha512" | "sha512_crypt" => ("6", 656_000),
        "sha256" | "sha256_crypt" => ("5", 535_000),
        other => {
            return Err(fail(format!(
                "password_hash: the type '{other}' is not supported; there are sha512, sha256, blowfish and md5"
            )));
        }
    };
    let rounds = u32::try_from(rounds.unwrap_or(default).clamp(1000, 999_999_999)).unwrap_or(5000);
    let body = if id == "6" {
        sha_crypt::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds, SHA512_ORDER)
    } else {
        sha_crypt::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds, SHA256_ORDER)
    };
    // 5000 is what no number means.
    let cost = if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") };
    Ok(format!("${id}${cost}{salt}${body}"))
}

/// Ulrich Drepper's SHA-crypt.
fn sha_crypt<D: Digest>(password: &[u8], salt: &[u8], rounds: u32, order: &[[usize; 3]]) -> String {
    let sum = |parts: &[&[u8]]| -> Vec<u8> {
        let mut d = D::new();
        for part in parts {
            d.update(part);
        }
        d.finalize().to_vec()
    };
    let stretch = |bytes: &[u8], length: usize| bytes.iter().cycle().take(length).copied().collect::<Vec<u8>>();
    let b = sum(&[password, salt, password]);
    let mut d = D::new();
    d.update(password);
    d.update(salt);
    d.update(stretch(&b, password.len()));
    let mut n = password.len();
    while n > 0 {
        if n & 1 == 1 {
            d.update(&b)
        } else {
            d.update(password)
        }
        n >>= 1;
    }
    let a = d.finalize().to_vec();
    let p = {
        let mut d = D::new();
        for _ in 0..password.len() {
            d.update(password);
        }
        stretch(&d.finalize(), password.len())
    };
    let s = {
        let mut d = D::new();
        for _ in 0..16 + usize::from(a.first().copied().unwrap_or(0)) {
            d.update(salt);
        }
        stretch(&d.finalize(), salt.len())
    };
    let mut c = a;
    for i in 0..rounds {
        let mut d = D::new();
        if i & 1 == 1 {
            d.update(&p)
        } else {
            d.update(&c)
        }
        if i % 3 != 0 {
            d.update(&s);
        }
        if i % 7 != 0 {
            d.update(&p);
        }
        if i & 1 == 1 {
            d.update(&c)
        } else {
            d.update(&p)
        }
        c = d.finalize().to_vec();
    }
    let at = |i: usize| u32::from(c.get(i).copied().unwrap_or(0));
    let mut out = String::new();
    for [x, y, z] in order {
        let mut w = (at(*x) << 16) | (at(*y) << 8) | at(*z);
        for _ in 0..4 {
            out.push(letter(w));
            w >>= 6;
        }
    }
    // The last bytes do not fill a group of three.
    let (mut w, letters) = if c.len() == 64 { (at(63), 2) } else { ((at(31) << 8) | at(30), 3) };
    for _ in 0..letters {
        out.push(letter(w));
        w >>= 6;
    }
    out
}

const SHA512_ORDER: &[[usize; 3]] = &[
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];

const SHA256_ORDER: &[[usize; 3]] = &[
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

#[cfg(test)]
mod tests {
    use super::crypt;

    #[test]
    fn crypt_as_libc() {
        // As crypt(3) of glibc.
        let cases = [
            (
                "Hello world!",
                "sha512",
                "saltstring",
                Some(5000),
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            (
                "Hello world!",
                "sha256",
                "saltstring",
                Some(5000),
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
            ),
            (
                "Hello world!",
                "sha512",
                "saltstringsaltst",
                Some(10000),
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
        ];
        for (password, kind, salt, rounds, want) in cases {
            assert_eq!(crypt(password, kind, salt, rounds, None).unwrap_or_default(), want);
        }
        assert!(crypt("x", "bcrypt", "saltsalt", None, None).is_err());
        assert!(crypt("x", "sha512", "sa$t", None, None).is_err());
    }
}
