//! The two stages of training apart: counting words of a text, one thread, and merging pairs of words counted before.
//!
//! `cargo bench --bench train [-- FILTER]`, a filter such as `merge`.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use tinybpe::word_counts::Counter;
use tinybpe::{Monitor, Pretokenizer, SpecialTokens, TieBreak, WordCounts, trainer};

const TEXTS: [&str; 4] =
    ["tinystories_valid.txt", "text/en_books.txt", "text/ja_aozora.txt", "text/udhr_all.txt"];
const MAX_BYTES: usize = 5_000_000;
const VOCAB_SIZE: usize = 10_000;

fn count_words(text: &[u8], pretokenizer: &Pretokenizer, specials: &SpecialTokens) -> WordCounts {
    let counter = Counter::new(pretokenizer, specials, None);
    let mut worker = counter.worker();
    worker.add(text).expect("named patterns do not fail");
    counter.finish(vec![worker]).expect("short pieces")
}

fn count(criterion: &mut Criterion) {
    let specials = SpecialTokens::new(&["<|endoftext|>".to_owned()]).expect("one");
    for text in common::texts(&TEXTS, MAX_BYTES) {
        let mut group = criterion.benchmark_group(format!("count/{}", text.name));
        group.throughput(Throughput::BytesDecimal(text.bytes.len() as u64));
        for name in ["gpt2", "cl100k", "o200k"] {
            let pretokenizer = Pretokenizer::new(name).expect("a name");
            let words = count_words(&text.bytes, &pretokenizer, &specials);
            let num_bytes: u64 = words.iter().map(|(word, count)| word.len() as u64 * count).sum();
            assert!(num_bytes <= text.bytes.len() as u64 && num_bytes > 0);
            group.bench_function(name, |bencher| {
                bencher.iter(|| count_words(&text.bytes, &pretokenizer, &specials).len());
            });
        }
        group.finish();
    }
}

fn merge(criterion: &mut Criterion) {
    let (gpt2, specials) = (Pretokenizer::new("gpt2").expect("a name"), SpecialTokens::default());
    for text in common::texts(&TEXTS, MAX_BYTES) {
        let words = count_words(&text.bytes, &gpt2, &specials);
        let mut group = criterion.benchmark_group(format!("merge/{}", text.name));
        group.throughput(Throughput::Elements(VOCAB_SIZE as u64));
        for (name, tie_break) in [("bytes", TieBreak::Bytes), ("huggingface", TieBreak::HuggingFace)] {
            let train = |words: &WordCounts| {
                trainer::train(words, VOCAB_SIZE, tie_break, None, &Monitor::default()).expect("room")
            };
            let once = train(&words);
            assert!(once == train(&words));
            group.bench_function(name, |bencher| {
                bencher.iter(|| train(&words).vocab_size());
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = count, merge
}
criterion_main!(benches);
