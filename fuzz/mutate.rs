//! Feeds every parser with inputs that are nearly right (`mutator.rs`), on a stable toolchain: `mutate INPUTS NUMBER [TARGET…]`.
//!
//! A panic is told and counted, an input that takes ten seconds ends the program; both are kept in `target/fuzz/artifacts`.
//! Memory is limited by the caller (`tools/fuzz`), and ends the program as well.

mod mutator;
mod targets;

use mutator::Mutator;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nobody waits longer for a parser.
const PATIENCE: Duration = Duration::from_secs(10);

/// What takes longer is kept, to be looked at.
const SLOW: Duration = Duration::from_secs(1);

/// What is being read, and since when.
type Present = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

fn keep(target: &str, what: &str, input: &[u8]) -> PathBuf {
    let directory = Path::new("target/fuzz/artifacts").join(target);
    let number = input.iter().fold(0u64, |sum, byte| sum.wrapping_mul(1_099_511_628_211) ^ u64::from(*byte));
    let path = directory.join(format!("{what}-{number:016x}"));
    let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, input));
    if let Err(error) = written {
        eprintln!("{}: {error}", path.display());
    }
    path
}

/// Ends the program when one input takes too long.
fn watch(target: String, present: Present) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = present.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some((began, input)) = now.as_ref().filter(|(began, _)| began.elapsed() > PATIENCE) {
                eprintln!("{target}: no end after {:?}: {}", began.elapsed(), keep(&target, "hang", input).display());
                std::process::exit(3);
            }
        }
    });
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (Some(inputs), Some(number)) =
        (words.first().and_then(|w| w.parse::<u64>().ok()), words.get(1).and_then(|w| w.parse::<u64>().ok()))
    else {
        eprintln!("usage: mutate INPUTS NUMBER [TARGET…]");
        return ExitCode::from(2);
    };
    let wanted = |name: &str| words.len() == 2 || words[2..].iter().any(|word| word == name);
    let mut faults = 0;
    for (name, target) in targets::ALL.iter().filter(|(name, _)| wanted(name)) {
        let present = Present::default();
        watch((*name).to_string(), Arc::clone(&present));
        let mut source = Mutator::of_target(Path::new("."), name, number);
        let began = Instant::now();
        let (mut found, mut slowest) = (0, Duration::ZERO);
        for _ in 0..inputs {
            let input = source.input();
            let start = Instant::now();
            *present.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((start, input.clone()));
            if std::panic::catch_unwind(|| target(&input)).is_err() {
                found += 1;
                eprintln!("{name}: {}", keep(name, "panic", &input).display());
            }
            *present.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
            if start.elapsed() > slowest {
                slowest = start.elapsed();
                if slowest > SLOW {
                    keep(name, "slow", &input);
                }
            }
        }
        faults += found;
        println!(
            "| {name} | {inputs} | {:.0} s | {:.0} ms | {found} |",
            began.elapsed().as_secs_f64(),
            slowest.as_secs_f64() * 1e3
        );
    }
    ExitCode::from(u8::from(faults > 0))
}
