//! Encoding with GPT-2's vocabulary, one thread: `cold` makes the encoder anew, so that its caches are empty; `warm` has
//! encoded the text before.
//!
//! `cargo bench --bench encode [-- FILTER]`, a filter such as `warm`. The vocabulary too is read from `../shared/data`.

mod common;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::{path::Path, time::Duration};
use tinybpe::{Encoder, Monitor, Pretokenizer, Specials, Vocab, vocab_file};

const TEXTS: [&str; 6] = [
    "tinystories_valid.txt",
    "text/en_books.txt",
    "text/de_laws.md",
    "text/ja_aozora.txt",
    "text/zh_poetry.txt",
    "text/udhr_all.txt",
];
const MAX_BYTES: usize = 5_000_000;

fn gpt2() -> Option<Vocab> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let (vocab, merges) = (folder.join("gpt2_vocab.json"), folder.join("gpt2_merges.txt"));
    let read = vocab_file::load_gpt2(&vocab, &merges, &["<|endoftext|>".to_owned()]);
    read.inspect_err(|error| eprintln!("left out: {error}")).ok()
}

fn encode_text(encoder: &Encoder, text: &[u8]) -> Vec<u32> {
    let mut ids = Vec::new();
    encoder
        .encode(text, Specials::Ordinary, &mut ids, &Monitor::default())
        .expect("named patterns do not fail");
    ids
}

fn encode(criterion: &mut Criterion) {
    let Some(vocab) = gpt2() else { return };
    let pattern = Pretokenizer::new("gpt2").expect("a name");
    let make = || Encoder::new(vocab.clone(), pattern.clone()).expect("a vocabulary that was read");
    let warm = make();
    for text in common::texts(&TEXTS, MAX_BYTES) {
        let ids = encode_text(&warm, &text.bytes);
        assert_eq!(warm.decode(ids.iter().map(|&id| i64::from(id))).expect("its own ids"), text.bytes);
        let mut group = criterion.benchmark_group(format!("encode/{}", text.name));
        group.throughput(Throughput::BytesDecimal(text.bytes.len() as u64));
        group.bench_function("warm", |bencher| bencher.iter(|| encode_text(&warm, &text.bytes).len()));
        group.bench_function("cold", |bencher| {
            // By reference, so that dropping the caches is not timed.
            bencher.iter_batched_ref(
                make,
                |encoder| encode_text(encoder, &text.bytes).len(),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = encode
}
criterion_main!(benches);
