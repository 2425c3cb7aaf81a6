//! Python's `random.Random`, so that what a seed chooses (the minute of a cron job, the order of servers) is the same as
//! with Ansible: MT19937, seeded as CPython seeds it.

use minijinja::value::{Value, ValueKind};
use sha2::{Digest, Sha512};

use crate::template::py;

const N: usize = 624;
const M: usize = 397;

/// The generator's state.
pub(super) struct Mersenne {
    state: Vec<u32>,
    at: usize,
}

impl Mersenne {
    /// Seeded by a value: by the number itself, or by text and its SHA-512 read as one number.
    pub fn new(seed: &Value) -> Self {
        let bytes = match seed.kind() {
            ValueKind::Number | ValueKind::Bool if i128::try_from(seed.clone()).is_ok() => {
                i128::try_from(seed.clone()).unwrap_or(0).unsigned_abs().to_be_bytes().to_vec()
            }
            _ => {
                let mut text = py::str(seed).into_bytes();
                let digest = Sha512::digest(&text);
                text.extend_from_slice(&digest);
                text
            }
        };
        // The number's words, the lowest first, without the zeros on top.
        let mut key: Vec<u32> =
            bytes.rchunks(4).map(|word| word.iter().fold(0u32, |n, b| (n << 8) | u32::from(*b))).collect();
        while key.len() > 1 && key.last() == Some(&0) {
            key.pop();
        }
        Self::by_array(&key)
    }

    fn plain(seed: u32) -> Vec<u32> {
        let mut state = vec![seed];
        let mut last = seed;
        for i in 1..N {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(u32::try_from(i).unwrap_or(0));
            state.push(last);
        }
        state
    }

    fn by_array(key: &[u32]) -> Self {
        let mut state = Self::plain(19_650_218);
        let word = |state: &[u32], i: usize| state.get(i).copied().unwrap_or(0);
        let mixed = |state: &[u32], i: usize| word(state, i - 1) ^ (word(state, i - 1) >> 30);
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let next = (word(&state, i) ^ mixed(&state, i).wrapping_mul(1_664_525))
                .wrapping_add(key.get(j).copied().unwrap_or(0))
                .wrapping_add(u32::try_from(j).unwrap_or(0));
            Self::put(&mut state, &mut i, next);
            j = (j + 1) % key.len().max(1);
        }
        for _ in 1..N {
            let next = (word(&state, i) ^ mixed(&state, i).wrapping_mul(1_566_083_941))
                .wrapping_sub(u32::try_from(i).unwrap_or(0));
            Self::put(&mut state, &mut i, next);
        }
        if let Some(first) = state.first_mut() {
            *first = 0x8000_0000;
        }
        Mersenne { state, at: N }
    }

    /// Stores the word of this place and goes on, around the end.
    fn put(state: &mut [u32], i: &mut usize, value: u32) {
        if let Some(slot) = state.get_mut(*i) {
            *slot = value;
        }
        *i += 1;
        if *i >= N {
            let last = state.get(N - 1).copied().unwrap_or(0);
            if let Some(first) = state.first_mut() {
                *first = last;
            }
            *i = 1;
        }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let word = |n: usize| self.state.get(n % N).copied().unwrap_or(0);
            let y = (word(i) & 0x8000_0000) | (word(i + 1) & 0x7fff_ffff);
            let next = word(i + M) ^ (y >> 1) ^ if y & 1 == 1 { 0x9908_b0df } else { 0 };
            if let Some(slot) = self.state.get_mut(i) {
                *slot = next;
            }
        }
        self.at = 0;
    }

    fn next(&mut self) -> u32 {
        if self.at >= N {
            self.twist();
        }
        let mut y = self.state.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn bits(&mut self, count: u32) -> u64 {
        if count <= 32 {
            return u64::from(self.next() >> (32 - count.max(1)));
        }
        let low = u64::from(self.next());
        low | (u64::from(self.next() >> (64 - count.min(64))) << 32)
    }

    /// A number from 0 up to but not including `bound`, as `randrange` draws it.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let bits = 64 - bound.leading_zeros();
        loop {
            let n = self.bits(bits);
            if n < bound {
                return n;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: Value, bound: u64) -> Vec<u64> {
        let mut source = Mersenne::new(&seed);
        (0..5).map(|_| source.below(bound)).collect()
    }

    /// What `random.Random(seed).randrange(bound)` gives in CPython 3.
    #[test]
    fn draws_as_python_does() {
        assert_eq!(draws(Value::from("target"), 60), PYTHON_TARGET);
        assert_eq!(draws(Value::from(5), 100), PYTHON_FIVE);
        assert_eq!(draws(Value::from(0), 1 << 40), PYTHON_ZERO);
    }

    const PYTHON_TARGET: [u64; 5] = [26, 44, 4, 21, 5];
    const PYTHON_FIVE: [u64; 5] = [79, 32, 94, 45, 88];
    const PYTHON_ZERO: [u64; 5] = [849735321549, 87705687125, 1067347797602, 788025983492, 480641685011];
}
