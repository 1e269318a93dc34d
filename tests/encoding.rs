//! The encoder gives the ids of the textbook, alone, in batches and into files.

use proptest::prelude::*;
use tinybpe::{Encoder, Error, Monitor, Pretokenizer, Specials, TieBreak, Vocab, WordCounts, naive, trainer};

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
    let mut batches = pretokenizer.pieces(text);
    while start < text.len() {
        let found = batches.next_ends(&mut ends).unwrap();
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

    /// Files that other libraries write list every pair that makes a token, in the order of the tokens or in any.
    #[test]
    fn ids_are_those_of_the_textbook_for_every_pair_that_makes_a_token(
        words in prop::collection::btree_set("[abc]{2,6}|[ab]{2,9}|あ{1,3}|[あい]{1,3}b?", 0..60),
        keys in prop::collection::vec(any::<u16>(), 400),
        in_order in any::<bool>(),
        texts in prop::collection::vec("[abc]{1,40}|[ab]{1,40}|[あいb]{1,30}|[ab]{250,300}", 1..8),
    ) {
        let bytes = (0..=255).map(|byte| vec![byte]);
        let parts = [&b"\xE3\x81"[..], b"\x81\x82", b"\x81\x84", b"\x82\xE3"].map(<[u8]>::to_vec);
        let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
        words.sort_by_key(Vec::len);
        let mut all: Vec<Vec<u8>> = bytes.chain(parts).collect();
        words.retain(|word| !all.contains(word));
        all.extend(words);
        let is_token = |bytes: &[u8]| all.iter().any(|token| token == bytes);
        let mut merges: Merges = Vec::new();
        for token in all.iter().filter(|token| token.len() > 1) {
            let pairs = (1..token.len()).map(|middle| token.split_at(middle));
            let pairs = pairs.filter(|(left, right)| is_token(left) && is_token(right));
            merges.extend(pairs.map(|(left, right)| (left.to_vec(), right.to_vec())));
        }
        if !in_order {
            let mut keyed: Vec<_> = keys.iter().cycle().zip(std::mem::take(&mut merges)).collect();
            keyed.sort();
            merges = keyed.into_iter().map(|(_, merge)| merge).collect();
        }
        let tokens = (0..).zip(all.iter().cloned()).collect();
        let vocab = Vocab::from_parts(tokens, &merges, Vec::new()).unwrap();
        let encoder = Encoder::new(vocab, Pretokenizer::new("gpt2").unwrap()).unwrap();
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
            let batch = encoder.encode_batch::<u32>(&slices, Specials::Allowed, threads, &Monitor::default()).unwrap();
            prop_assert!(batch.texts().eq(one_by_one.iter().map(Vec::as_slice)));
            let ends: Vec<_> = one_by_one.iter().scan(0, |end, ids| { *end += ids.len() as u64; Some(*end) }).collect();
            prop_assert_eq!(&batch.offsets()[1..], &ends);
            prop_assert_eq!(batch.into_flat(), one_by_one.concat());
            let narrow = encoder.encode_batch::<u16>(&slices, Specials::Allowed, threads, &Monitor::default()).unwrap();
            prop_assert!(narrow.into_flat().into_iter().map(u32::from).eq(one_by_one.concat()));
        }
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
    let list = |tokens: &[&str]| tokens.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (none, first, all) = (list(&[]), list(&["<s>"]), list(&["<s>", "<s>b"]));
    let with = |allowed: &[String], refused: Option<&[String]>| {
        let listed = encoder.listed(Some(allowed), refused)?;
        encode(&encoder, b"a<s>b", Specials::Listed(&listed))
    };
    for refused in [None, Some(&all[..])] {
        let message = with(&none, refused).unwrap_err().to_string();
        assert!(message.contains("`<s>b` at byte 1"), "{message}");
    }
    assert_eq!(with(&all, None).unwrap(), [97, 257]);
    assert_eq!(with(&first, Some(&none)).unwrap(), [97, 256, 98]);
    assert_eq!(with(&none, Some(&none)).unwrap(), [97, 60, 115, 62, 98]);
    assert_eq!(encode(&encoder, b"a<s>b", Specials::Ordinary).unwrap(), [97, 60, 115, 62, 98]);
    let unknown = list(&["b"]);
    assert!(matches!(with(&unknown, Some(&none)), Err(Error::SpecialToken(_))));
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
