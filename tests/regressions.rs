//! Inputs on which a fuzz target has failed once are replayed by every `cargo test`.

#[path = "fuzz/checks.rs"]
mod checks;

use std::path::Path;

#[test]
fn what_failed_once_does_not_fail_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions");
    let found = checks::regressions(&folder);
    assert!(!found.is_empty());
    for (name, path) in found {
        println!("{}", path.display());
        checks::named(&name)(&std::fs::read(&path).unwrap());
    }
}

/// Inputs of no particular shape, so that a check that is itself wrong is noticed without a fuzzer.
#[test]
fn checks_hold_on_plain_inputs() {
    let text = "It's <|endoftext|>  世界 abc abcabc\n\u{3000}\u{301}0123 don'T".as_bytes();
    let mut inputs = vec![Vec::new(), text.to_vec(), text.repeat(9)];
    inputs.extend((0..=255).map(|byte| vec![byte; 40]));
    inputs.extend((0..=7).map(|byte| [&[byte, byte, 9, byte], text].concat()));
    for name in [
        "load_vocab",
        "load_counts",
        "scan",
        "pattern",
        "train",
        "encode",
        "decode",
        "compile",
        "load_sentencepiece",
        "load_gguf",
        "load_tekken",
    ] {
        for input in &inputs {
            checks::named(name)(input);
        }
    }
}
