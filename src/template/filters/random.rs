//! Randomness, and what is random only by its seed: then it is what Python's generator gives for it.

use minijinja::Error;
use minijinja::value::Value;

use super::mersenne::Mersenne;
use crate::template::args::{Args, R, fail, is_list};
use crate::template::py;

/// Numbers below a bound: from the operating system, or from a seed.
pub(crate) struct Source {
    seeded: Option<Mersenne>,
}

impl Source {
    pub fn new(seed: Option<&Value>) -> Self {
        Source { seeded: seed.map(Mersenne::new) }
    }

    /// A number from 0 up to but not including `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        match &mut self.seeded {
            // 128 bits keep the bias out of sight.
            None => u64::try_from((u128::from(rand::random::<u64>()) * u128::from(bound)) >> 64).unwrap_or(0),
            Some(generator) => generator.below(bound),
        }
    }
}

/// `n | random(start, step, seed)` and `list | random(seed=)`
pub(super) fn random(args: &Args) -> R {
    args.only(4, &["start", "step", "seed"])?;
    let mut source = Source::new(args.some(3, "seed").as_ref());
    let value = args.value();
    if is_list(&value) || value.as_str().is_some() {
        let list = args.items()?;
        let count = u64::try_from(list.len()).unwrap_or(0);
        if count == 0 {
            return Err(fail("random: cannot choose from an empty sequence"));
        }
        let at = usize::try_from(source.below(count)).unwrap_or(0);
        return Ok(list.get(at).cloned().unwrap_or_default());
    }
    let end = value.as_i64().ok_or_else(|| fail("random can only be used on sequences and integers"))?;
    let start = args.int(1, "start")?.unwrap_or(0);
    let step = args.int(2, "step")?.filter(|s| *s != 0).unwrap_or(1);
    let count = (end - start + step - step.signum()) / step;
    let count = u64::try_from(count).ok().filter(|c| *c > 0).ok_or_else(|| fail("random: the range is empty"))?;
    let n = i64::try_from(source.below(count)).unwrap_or(0);
    Ok(Value::from(start + n * step))
}

/// `shuffle(seed)`
pub(super) fn shuffle(args: &Args) -> R {
    let mut list = args.items()?;
    let mut source = Source::new(args.some(1, "seed").as_ref());
    for i in (1..list.len()).rev() {
        let j = usize::try_from(source.below(u64::try_from(i).unwrap_or(0) + 1)).unwrap_or(0);
        list.swap(i, j);
    }
    Ok(Value::from(list))
}

/// `'52:54:00' | random_mac(seed)`
pub(super) fn random_mac(args: &Args) -> Result<Value, Error> {
    let prefix = py::str(&args.value()).to_lowercase();
    let mut parts: Vec<String> = prefix.split(':').filter(|p| !p.is_empty()).map(str::to_owned).collect();
    if parts.is_empty() || parts.len() > 5 || parts.iter().any(|p| p.len() != 2 || u8::from_str_radix(p, 16).is_err()) {
        return Err(fail("random_mac: the value must be the beginning of a MAC address"));
    }
    let mut source = Source::new(args.some(1, "seed").as_ref());
    // Ten hexadecimal digits, of which as many are taken as are missing.
    let digits = format!("{:x}", 0x10_0000_0000 + source.below(0x100_0000_0000 - 0x10_0000_0000));
    for at in 0..6 - parts.len() {
        parts.push(digits.get(2 * at..2 * at + 2).unwrap_or("00").to_owned());
    }
    Ok(Value::from(parts.join(":")))
}
