//! A sample of what `make fuzz` does with millions of inputs: every parser that reads what others wrote, fed with texts that are
//! nearly right.

#[path = "../fuzz/mutator.rs"]
mod mutator;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// So many inputs take some seconds without optimisation.
const SAMPLE: usize = 300;

#[test]
fn no_parser_panics() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in targets::ALL {
        let mut source = mutator::Mutator::of_target(root, name, 0);
        for number in 0..SAMPLE {
            let input = source.input();
            let ended = std::panic::catch_unwind(|| target(&input));
            assert!(ended.is_ok(), "{name}: input {number}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}

/// The same number gives the same inputs, or nobody could look at what was found.
#[test]
fn inputs_can_be_met_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let twice = [(); 2].map(|()| {
        let mut source = mutator::Mutator::of_target(root, "yaml", 7);
        (0..100).map(|_| source.input()).collect::<Vec<_>>()
    });
    assert_eq!(twice[0], twice[1]);
    assert!(
        twice[0].iter().any(|input| std::str::from_utf8(input).is_ok_and(|text| text.contains("hosts"))),
        "the seeds are used"
    );
}
