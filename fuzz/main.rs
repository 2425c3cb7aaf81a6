//! Feeds random input to the parser that `FUZZ_TARGET` names. A crash, a hang, or an assertion that fails is a bug.
#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        match targets::ALL.iter().find(|(known, _)| *known == name) {
            Some((_, target)) => *target,
            None => {
                let names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
                eprintln!("FUZZ_TARGET=`{name}` is none of: {}", names.join(" "));
                std::process::exit(2);
            }
        }
    });
    target(data);
});
