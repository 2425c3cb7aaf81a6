//! Password hashes that are older than SHA-crypt: md5-crypt, and bcrypt.

use blowfish::Blowfish;
use minijinja::Error;

use super::hash::letter;
use crate::template::args::fail;

/// Poul-Henning Kamp's md5-crypt.
pub(super) fn md5_crypt(password: &[u8], salt: &str) -> Result<String, Error> {
    if salt.len() > 8 {
        return Err(fail("password_hash: the salt of md5 has at most 8 characters"));
    }
    let sum = |parts: &[&[u8]]| md5::compute(parts.concat()).0;
    let mixed = sum(&[password, salt.as_bytes(), password]);
    let mut start = [password, b"$1$", salt.as_bytes()].concat();
    start.extend(mixed.iter().cycle().take(password.len()));
    let mut n = password.len();
    while n > 0 {
        start.push(if n & 1 == 1 { 0 } else { password.first().copied().unwrap_or(0) });
        n >>= 1;
    }
    let mut state = md5::compute(start).0;
    for round in 0..1000 {
        let odd = round & 1 == 1;
        let first: &[u8] = if odd { password } else { &state };
        let second: &[u8] = if round % 3 != 0 { salt.as_bytes() } else { &[] };
        let third: &[u8] = if round % 7 != 0 { password } else { &[] };
        let last: &[u8] = if odd { &state } else { password };
        state = sum(&[first, second, third, last]);
    }
    let at = |i: usize| u32::from(state.get(i).copied().unwrap_or(0));
    let mut out = format!("$1${salt}$");
    let groups = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    for (mut word, letters) in
        groups.map(|[a, b, c]| ((at(a) << 16) | (at(b) << 8) | at(c), 4)).into_iter().chain([(at(11), 2)])
    {
        for _ in 0..letters {
            out.push(letter(word));
            word >>= 6;
        }
    }
    Ok(out)
}

const LETTERS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Bytes in bcrypt's base 64: the highest bits first, and no padding.
fn to_letters(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let bits = (word >> (18 - 6 * place)) & 0x3f;
            out.push(LETTERS.get(bits as usize).map_or('.', |b| char::from(*b)));
        }
    }
    out
}

fn from_letters(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut word, mut bits) = (0u32, 0);
    for c in text.bytes() {
        word = (word << 6) | u32::try_from(LETTERS.iter().position(|known| *known == c)?).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((word >> bits) & 0xff).ok()?);
        }
    }
    Some(out)
}

/// A salt as bcrypt writes it.
pub(super) fn bcrypt_salt(bytes: &[u8; 16]) -> String {
    to_letters(bytes)
}

/// The highest cost that a template may ask for: a run stands still while it is computed, and 31 would take days.
const MOST_COST: u32 = 18;

/// Provos' and Mazières' bcrypt: 2 to the power of `cost` rounds.
pub(super) fn bcrypt(password: &[u8], salt: &str, cost: i64, ident: &str) -> Result<String, Error> {
    let ident = ident.trim_matches('$');
    if !matches!(ident, "2" | "2a" | "2b" | "2y") {
        return Err(fail(format!("password_hash: the ident of blowfish is 2a, 2b or 2y, not '{ident}'")));
    }
    let cost = u32::try_from(cost).ok().filter(|cost| (4..=31).contains(cost));
    let cost =
        cost.ok_or_else(|| fail("password_hash: the rounds of blowfish are a number from 4 to 31, a power of 2"))?;
    if cost > MOST_COST {
        return Err(fail(format!(
            "password_hash: blowfish of {cost} rounds is not made here: each one more takes twice the time, and more than \
             {MOST_COST} would hold up the run"
        )));
    }
    let salt = Some(salt).filter(|salt| salt.len() == 22).and_then(from_letters);
    let salt = salt.ok_or_else(|| fail("password_hash: the salt of blowfish has 22 characters of ./A-Za-z0-9"))?;
    if password.contains(&0) {
        return Err(fail("password_hash: blowfish takes no password with a NUL in it"));
    }
    let key: Vec<u8> = password.iter().copied().chain([0]).take(72).collect();
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(&salt, &key);
    for _ in 0..1u64 << cost {
        state.bc_expand_key(&key);
        state.bc_expand_key(&salt);
    }
    let mut hash = Vec::with_capacity(24);
    for pair in b"OrpheanBeholderScryDoubt".chunks_exact(8) {
        let (left, right) = pair.split_at(4);
        let word = |bytes: &[u8]| bytes.iter().fold(0u32, |word, byte| (word << 8) | u32::from(*byte));
        let mut both = [word(left), word(right)];
        for _ in 0..64 {
            both = state.bc_encrypt(both);
        }
        hash.extend(both.iter().flat_map(|word| word.to_be_bytes()));
    }
    hash.truncate(23);
    Ok(format!("${ident}${cost:02}${}{}", to_letters(&salt), to_letters(&hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_passlib_has_them() {
        let md5 = |password: &str, salt: &str| md5_crypt(password.as_bytes(), salt).unwrap_or_default();
        assert_eq!(md5("x", "saltsalt"), "$1$saltsalt$4px9i58NU2Z2/vZOUlGjq.");
        let salt = "1234567890123456789012";
        let hash = |cost| bcrypt(b"x", salt, cost, "2b").unwrap_or_default();
        assert_eq!(hash(4), "$2b$04$123456789012345678901uYky4opVuwypwXlzFKPVnyRiaKMupjqK");
        assert!(bcrypt(b"x", "short", 4, "2b").is_err());
        for (cost, why) in [(3, "from 4 to 31"), (19, "twice the time"), (31, "twice the time"), (32, "from 4 to 31")] {
            let said = bcrypt(b"x", salt, cost, "2b").map_err(|error| error.to_string());
            assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{cost}: {said:?}");
        }
        assert!(bcrypt(b"x", salt, 4, "2x").is_err());
        assert!(bcrypt(b"a\0b", salt, 4, "2b").is_err());
        assert!(md5_crypt(b"x", "ninechars").is_err());
        assert_eq!(from_letters(&bcrypt_salt(&[7; 16])), Some(vec![7; 16]));
    }
}
