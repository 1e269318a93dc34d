//! The scanner alone, one thread: bytes per second of each pattern on each text, for the vector instructions of this
//! machine, for ordinary integers and for one piece at a time.
//!
//! `cargo bench --bench scan [-- FILTER]`, a filter such as `gpt2/en_books`.

mod common;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};
use tinybpe::{Pretokenizer, pretokenizer::NAMED};

const TEXTS: [&str; 7] = [
    "tinystories_valid.txt",
    "text/en_books.txt",
    "text/de_laws.md",
    "text/ja_aozora.txt",
    "text/zh_poetry.txt",
    "text/udhr_all.txt",
    "text/emoji-test.txt",
];
/// Enough to be out of the nearer caches, and quick.
const MAX_BYTES: usize = 5_000_000;

/// The number of pieces, as a caller would see them: in batches that stay in the first cache.
fn count_pieces(pretokenizer: &Pretokenizer, text: &[u8]) -> usize {
    let mut ends = [0; 1024];
    let (mut pieces, mut num_pieces) = (pretokenizer.pieces(text), 0);
    loop {
        let num_ends = pieces.next_ends(black_box(&mut ends)).expect("named patterns do not fail");
        num_pieces += num_ends;
        if num_ends < ends.len() {
            return num_pieces;
        }
    }
}

fn scan(criterion: &mut Criterion) {
    for text in common::texts(&TEXTS, MAX_BYTES) {
        let bytes = text.bytes.as_slice();
        for name in NAMED.iter().map(|named| named.name) {
            let best = Pretokenizer::new(name).expect("a name");
            let num_pieces = count_pieces(&best, bytes);
            let mut group = criterion.benchmark_group(format!("{name}/{}", text.name));
            group.throughput(Throughput::BytesDecimal(bytes.len() as u64));
            for (level, pretokenizer) in best.variants() {
                assert_eq!(count_pieces(&pretokenizer, bytes), num_pieces);
                group.bench_function(level, |bencher| bencher.iter(|| count_pieces(&pretokenizer, bytes)));
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
    targets = scan
}
criterion_main!(benches);
