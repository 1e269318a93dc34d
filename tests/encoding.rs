//! The encoder gives the ids of the textbook, alone, in batches and into files.

use proptest::prelude::*;
use std::path::PathBuf;
use tinybpe::token_file::{self, Dtype, Options};
use tinybpe::{
    Encoder, Error, Monitor, Pretokenizer, SpecialTokens, Specials, TieBreak, Vocab, WordCounts, naive,
    trainer,
};

type Merges = Vec<(Vec<u8>, Vec<u8>)>;

/// An encoder trained on `texts`, with its merges as byte strings.
fn trained(texts: &[&[u8]], num_merges: usize, pattern: &str) -> (Encoder, Merges) {
    let pretokenizer = Pretokenizer::new(pattern).unwrap();
    let pieces: Vec<(&[u8], u64)> =
        texts.iter().flat_map(|text| split(text, &pretokenizer)).map(|piece| (piece, 1)).collect();
    let specials = ["<s>".to_owned(), "<s>b".to_owned()];
    let words = WordCounts::from_words(pattern, &specials, pieces).unwrap();
    let vocab = trainer::train(words, 258 + num_merges, TieBreak::Bytes, None, &Monitor::default()).unwrap();
    let bytes = |id| vocab.token_bytes(id).unwrap().to_vec();
    let merges = vocab.merges().iter().map(|merge| (bytes(merge.left), bytes(merge.right))).collect();
    (Encoder::new(vocab, pretokenizer).unwrap(), merges)
}

fn split<'a>(text: &'a [u8], pretokenizer: &Pretokenizer) -> Vec<&'a [u8]> {
    let (mut start, mut pieces, mut ends) = (0, Vec::new(), [0; 5]);
    while start < text.len() {
        let found = pretokenizer.next_ends(text, start, &mut ends).unwrap();
        for &end in &ends[..found] {
            pieces.push(&text[start..end as usize]);
            start = end as usize;
        }
    }
    pieces
}

fn encode(encoder: &Encoder, text: &[u8], specials: Specials<'_>) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    encoder.encode(text, specials, &mut ids, &Monitor::default())?;
    Ok(ids)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b" ",
        b"  ",
        b"\n",
        b"aaaaaaaaaaaaaaaaaaaaaaa",
        b"abababababab",
        b"<s>",
        b"<s>b",
        b"\xFF",
        "é".as_bytes(),
        "日".as_bytes(),
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn ids_are_those_of_the_textbook(learn in text(), text in text(), num_merges in 0_usize..60) {
        let (encoder, merges) = trained(&[&learn], num_merges, "gpt2");
        // Twice: the second time from the cache.
        for _ in 0..2 {
            let ids = encode(&encoder, &text, Specials::Ordinary).unwrap();
            let tokens: Vec<_> = ids.iter().map(|&id| encoder.vocab().token_bytes(id).unwrap().to_vec()).collect();
            let expected: Vec<_> =
                split(&text, encoder.pretokenizer()).iter().flat_map(|piece| naive::encode(piece, &merges)).collect();
            prop_assert_eq!(tokens, expected);
            prop_assert_eq!(encoder.decode(ids.iter().map(|&id| i64::from(id))).unwrap(), text.clone());
        }
    }

    /// Merges that no training would find: tokens that merging never makes, tokens made twice, parts made after their whole.
    #[test]
    fn ids_are_those_of_the_textbook_for_any_merges(
        drawn in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..40),
        texts in prop::collection::vec("[abc]{1,40}|[ab]{1,40}|[ab]{200,300}", 1..8),
    ) {
        let mut tokens: Vec<(u32, Vec<u8>)> = b"abc".iter().map(|&byte| (byte.into(), vec![byte])).collect();
        let (mut ids, mut merges) = (Vec::new(), Vec::new());
        for (left, right) in drawn {
            let ((left_id, left), (right_id, right)) = (left.get(&tokens).clone(), right.get(&tokens).clone());
            if left.len() + right.len() > 24 || merges.contains(&(left.clone(), right.clone())) {
                continue;
            }
            tokens.push((256 + u32::try_from(ids.len()).unwrap(), [&left[..], &right].concat()));
            ids.push((left_id, right_id));
            merges.push((left, right));
        }
        let encoder = Encoder::new(Vocab::from_merges(&ids, &[]).unwrap(), Pretokenizer::new("gpt2").unwrap()).unwrap();
        for text in texts {
            let ids = encode(&encoder, text.as_bytes(), Specials::Ordinary).unwrap();
            let found: Vec<_> = ids.iter().map(|&id| encoder.vocab().token_bytes(id).unwrap().to_vec()).collect();
            prop_assert_eq!(found, naive::encode(text.as_bytes(), &merges));
        }
    }

    #[test]
    fn a_batch_is_each_text_by_itself(texts in prop::collection::vec(text(), 0..40), repeat in 1_usize..400) {
        let (encoder, _) = trained(&[b"ab ab aab"], 5, "gpt2");
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.repeat(repeat)).collect();
        let slices: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let one_by_one: Vec<_> =
            slices.iter().map(|text| encode(&encoder, text, Specials::Allowed).unwrap()).collect();
        for threads in [Some(1), Some(3), None] {
            let batch = encoder.encode_batch(&slices, Specials::Allowed, threads, &Monitor::default()).unwrap();
            prop_assert_eq!(&batch, &one_by_one);
        }
    }

    #[test]
    fn a_token_file_does_not_depend_on_threads_or_chunks(
        texts in prop::collection::vec(text(), 1..4),
        threads in 1_usize..4,
        chunk_bytes in 1_usize..60,
        ordinary: bool,
        pattern in prop::sample::select(vec!["gpt2", "cl100k", "o200k", r"\w+|\W"]),
    ) {
        let (encoder, _) = trained(&[b"ab ab aab"], 5, pattern);
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..texts.len()).map(|i| dir.path().join(format!("{i}.txt"))).collect();
        for (path, text) in paths.iter().zip(&texts) {
            std::fs::write(path, text).unwrap();
        }
        let output = dir.path().join("x.bin");
        let options =
            Options { num_threads: Some(threads), ordinary, dtype: None, docs: true, chunk_bytes: Some(chunk_bytes) };
        let sidecar =
            token_file::encode_file(&encoder, "digest", &paths, &output, options, &Monitor::default()).unwrap();
        let specials = if ordinary { Specials::Ordinary } else { Specials::Allowed };
        let (mut expected, mut ends) = (Vec::new(), Vec::new());
        for text in &texts {
            let before = expected.len();
            for id in encode(&encoder, text, specials).unwrap() {
                expected.push(u16::try_from(id).unwrap());
                if encoder.vocab().special_id("<s>") == Some(id) {
                    ends.push(expected.len() as u64);
                }
            }
            if expected.len() > before && ends.last() != Some(&(expected.len() as u64)) {
                ends.push(expected.len() as u64);
            }
        }
        let bytes: Vec<u8> = expected.iter().flat_map(|id| id.to_le_bytes()).collect();
        prop_assert_eq!(std::fs::read(&output).unwrap(), bytes);
        let index: Vec<u8> = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
        prop_assert_eq!(std::fs::read(dir.path().join("x.bin.docs")).unwrap(), index);
        prop_assert_eq!(&sidecar["num_tokens"], expected.len());
        prop_assert_eq!(&sidecar["num_documents"], ends.len());
        let written: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("x.bin.json")).unwrap()).unwrap();
        prop_assert_eq!(written, sidecar);
    }
}

#[test]
fn long_texts_are_cut_where_it_changes_nothing() {
    let (encoder, _) = trained(&[b"ab ab aab"], 5, "gpt2");
    let unit = b"ab  aab\n\xFF abab <s>b";
    let one = encode(&encoder, unit, Specials::Allowed).unwrap();
    let all = encode(&encoder, &unit.repeat(1 << 17), Specials::Allowed).unwrap();
    assert!(all == one.repeat(1 << 17));
}

// fault: E2
#[test]
fn special_tokens_mean_what_the_caller_says() {
    let (encoder, _) = trained(&[b"x"], 0, "gpt2");
    let list = |tokens: &[&str]| {
        SpecialTokens::new(&tokens.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    };
    let (none, first, all) = (list(&[]), list(&["<s>"]), list(&["<s>", "<s>b"]));
    let with = |allowed, refused| encode(&encoder, b"a<s>b", Specials::Listed { allowed, refused });
    let message = with(&none, &all).unwrap_err().to_string();
    assert!(message.contains("`<s>b` at byte 1"), "{message}");
    assert_eq!(with(&all, &none).unwrap(), [97, 257]);
    assert_eq!(with(&first, &none).unwrap(), [97, 256, 98]);
    assert_eq!(with(&none, &none).unwrap(), [97, 60, 115, 62, 98]);
    assert_eq!(encode(&encoder, b"a<s>b", Specials::Ordinary).unwrap(), [97, 60, 115, 62, 98]);
    let unknown = list(&["b"]);
    assert!(matches!(with(&unknown, &none), Err(Error::SpecialToken(_))));
}

// fault: E3
#[test]
fn unknown_ids_are_refused_with_their_position() {
    let (encoder, _) = trained(&[b"x"], 0, "gpt2");
    for bad in [-1, 258, 1 << 40] {
        let error = encoder.decode([97, bad]).unwrap_err();
        assert!(matches!(error, Error::UnknownToken { id, position: 1, vocab_size: 258 } if id == bad));
    }
    assert_eq!(encoder.decode([]).unwrap(), b"");
}

// fault: B3
#[test]
fn a_vocabulary_that_does_not_fit_the_integer_type_is_refused() {
    let (encoder, _) = trained(&[b"x"], 0, "gpt2");
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::write(&input, "x").unwrap();
    let to = |name: &str, dtype| {
        let options = Options { dtype, ..Options::default() };
        let output = dir.path().join(name);
        token_file::encode_file(
            &encoder,
            "",
            std::slice::from_ref(&input),
            &output,
            options,
            &Monitor::default(),
        )
    };
    assert_eq!(to("a.bin", None).unwrap()["dtype"], "uint16");
    assert_eq!(to("a.uint32.bin", None).unwrap()["dtype"], "uint32");
    assert!(matches!(to("b.uint32.bin", Some(Dtype::Uint16)), Err(Error::TokenFile { .. })));
    assert!(!dir.path().join("b.uint32.bin").exists());
    assert_eq!(Dtype::for_vocab(65_536), Dtype::Uint16);
    assert_eq!(Dtype::for_vocab(65_537), Dtype::Uint32);
}

// fault: B2
#[test]
fn a_failed_run_leaves_the_old_file_and_nothing_else() {
    let (encoder, _) = trained(&[b"x"], 0, "gpt2");
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("x.bin"));
    std::fs::write(&input, b"a ".repeat(1 << 20)).unwrap();
    let run = |inputs: &[PathBuf], monitor: &Monitor| {
        token_file::encode_file(&encoder, "", inputs, &output, Options::default(), monitor)
    };
    run(std::slice::from_ref(&input), &Monitor::default()).unwrap();
    let before = std::fs::read(&output).unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(run(&[input.clone(), missing], &Monitor::default()), Err(Error::Io { .. })));
    let stopped = Monitor::default();
    stopped.stop();
    assert!(matches!(run(&[input], &stopped), Err(Error::Interrupted)));
    assert_eq!(std::fs::read(&output).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}
