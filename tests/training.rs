//! The trainer learns what the textbook learns, and says so when it cannot.

use proptest::prelude::*;
use tinybpe::naive::{self, TieBreak as Naive};
use tinybpe::trainer::Initial;
use tinybpe::{Error, Monitor, TieBreak, Vocab, WordCounts, trainer};

type Words = Vec<(Vec<u8>, u64)>;

fn counts(words: &[(Vec<u8>, u64)], specials: &[String]) -> WordCounts {
    WordCounts::from_words("gpt2", specials, words.iter().map(|(word, count)| (word.as_slice(), *count)))
        .unwrap()
}

fn train(words: &[(Vec<u8>, u64)], num_tokens: usize, tie_break: TieBreak) -> tinybpe::Result<Vocab> {
    trainer::train(counts(words, &[]), 256 + num_tokens, tie_break, None, &Monitor::default())
}

fn extend(
    words: &[(Vec<u8>, u64)],
    vocab_size: usize,
    tie_break: TieBreak,
    vocab: &Vocab,
    specials: &[String],
) -> tinybpe::Result<Vocab> {
    let initial = Some(Initial { vocab, pattern: "gpt2" });
    trainer::train(counts(words, specials), vocab_size, tie_break, initial, &Monitor::default())
}

fn merges(vocab: &Vocab) -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |id| vocab.token_bytes(id).unwrap().to_vec();
    vocab.merges().iter().map(|merge| (bytes(merge.left), bytes(merge.right))).collect()
}

/// Words over few letters, with runs: ties, overlaps and tokens made twice are common.
fn words() -> impl Strategy<Value = Words> {
    let letter = prop::sample::select(vec![b'a', b'b', b' ', 0xC3]);
    let run = (letter, 1_usize..6).prop_map(|(letter, len)| vec![letter; len]);
    let word = prop::collection::vec(run, 1..8).prop_map(|runs| runs.concat());
    prop::collection::hash_map(word, 1_u64..5, 1..12).prop_map(|words| words.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_merges_are_those_of_the_textbook(words in words(), num_tokens in 0_usize..40, hugging_face: bool) {
        let (tie, naive) =
            if hugging_face { (TieBreak::HuggingFace, Naive::HuggingFace) } else { (TieBreak::Bytes, Naive::Bytes) };
        let vocab = train(&words, num_tokens, tie).unwrap();
        prop_assert_eq!(merges(&vocab), naive::train(&words, num_tokens, naive));
    }

    #[test]
    fn going_on_from_the_first_merges_gives_the_others(
        words in words(), num_first in 0_usize..30, num_more in 0_usize..30, hugging_face: bool
    ) {
        let tie = if hugging_face { TieBreak::HuggingFace } else { TieBreak::Bytes };
        let whole = train(&words, num_first + num_more, tie).unwrap();
        let first = train(&words, num_first, tie).unwrap();
        let size = first.vocab_size() + num_more;
        prop_assert_eq!(extend(&words, size, tie, &first, &[]).unwrap(), whole);
    }
}

#[test]
fn rare_pairs_come_back_when_the_frequent_ones_are_used_up() {
    // Counts over many orders of magnitude, so that the threshold falls several times.
    let words: Words = (0..60_u32)
        .map(|i| (format!("{}{}x{}", i % 7, i % 11, i % 5).into_bytes(), 1 << (i % 40)))
        .collect::<std::collections::HashMap<_, _>>()
        .into_iter()
        .collect();
    let vocab = train(&words, 500, TieBreak::Bytes).unwrap();
    assert_eq!(merges(&vocab), naive::train(&words, 500, Naive::Bytes));
}

// fault: T2
#[test]
fn counts_near_2_to_62_merge_in_the_right_order() {
    let words = [(b"ab".to_vec(), (1 << 62) - 1), (b"cd".to_vec(), 1 << 62), (b"ef".to_vec(), 3_000_000_000)];
    let vocab = train(&words, 3, TieBreak::Bytes).unwrap();
    let learned: Vec<_> = merges(&vocab).into_iter().map(|(left, right)| [left, right].concat()).collect();
    assert_eq!(learned, [b"cd", b"ab", b"ef"]);
}

// fault: T2
#[test]
fn a_pair_beyond_2_to_63_is_refused() {
    let words = [(b"ab".to_vec(), 1 << 62), (b"abc".to_vec(), 1 << 62), (b"abd".to_vec(), 1 << 62)];
    assert!(matches!(train(&words, 3, TieBreak::Bytes), Err(Error::Training(_))));
}

// fault: T5
#[test]
fn a_vocabulary_without_room_for_the_bytes_is_refused() {
    let specials = ["<s>".to_owned()];
    for (size, fits) in [(0, false), (256, false), (257, true)] {
        let result = trainer::train(counts(&[], &specials), size, TieBreak::Bytes, None, &Monitor::default());
        assert_eq!(result.is_ok(), fits, "{size}");
    }
}

// fault: T6
#[test]
fn training_stops_when_no_pair_is_left() {
    let vocab = train(&[(b"abab".to_vec(), 2), (b"c".to_vec(), 9)], 1000, TieBreak::Bytes).unwrap();
    assert_eq!(merges(&vocab).len(), 2);
    assert_eq!(vocab.vocab_size(), 258);
}

// fault: T1
#[test]
fn a_stop_request_ends_training() {
    let monitor = Monitor::default();
    monitor.stop();
    let result = trainer::train(counts(&[(b"ab".to_vec(), 1)], &[]), 300, TieBreak::Bytes, None, &monitor);
    assert!(matches!(result, Err(Error::Interrupted)));
}
