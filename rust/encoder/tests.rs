//! What imported tokenizers do around merging: alone, in parts, in streams, against the plainest way to do it.

use super::*;
use crate::pipeline::{Prefix, PrefixPlace, Template};
use crate::vocab::{Characters, Merge};
use proptest::prelude::*;

const PARTS: [&str; 16] =
    ["a", "b", "ab", " ", "  ", "é", "語", "<s>", "<x>", "<n>", "y", "\n", "_", "1", "\u{1F600}", "ba"];

fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PARTS[..]), 0..24).prop_map(|parts| parts.concat())
}

fn token(content: &str, id: u32, form: &str) -> AddedToken {
    let has = |letter| form.contains(letter);
    AddedToken {
        special: has('s'),
        normalized: has('n'),
        lstrip: has('l'),
        rstrip: has('r'),
        single_word: has('w'),
        ..AddedToken::special(content.into(), id)
    }
}

/// A vocabulary of characters: `a`, `b`, a space and what merges make of them; other bytes fall back, or are unknown.
fn of_characters(falls_back: bool, ranks: Vec<u32>) -> Vocab {
    let texts = ["a", "b", " ", "ab", "  ", " a", "   ", "語", " ab"];
    let tokens = (300..).zip(texts.map(|text| text.as_bytes().into())).collect();
    let merge = |(left, right, id): &(u32, u32, u32)| Merge { left: *left, right: *right, id: *id };
    let merges = [
        (300, 301, 303),
        (302, 300, 305),
        (302, 303, 308),
        (302, 302, 304),
        (304, 302, 306),
        (302, 304, 306),
    ];
    let byte_ids = falls_back.then(|| Box::new(std::array::from_fn(|byte| u32::try_from(byte).unwrap())));
    let characters = Characters { byte_ids, unknown: Some(310), writes_spaces: false, fuse_unknown: true };
    let specials = vec![("<s>".into(), Some(311)), ("<x>".into(), Some(312)), ("<n>".into(), Some(313))];
    let merges = merges.iter().map(merge).collect();
    let tokens: Vec<_> = tokens;
    Vocab::of_characters(
        [tokens, vec![(310, (*b"<unk>").into())]].concat(),
        merges,
        ranks,
        characters,
        specials,
    )
    .map_err(|flaw| flaw.error)
    .unwrap()
}

fn of_bytes() -> Vocab {
    let tokens = (0..=255u8).map(|byte| (u32::from(byte), [byte][..].into()));
    let tokens = tokens.chain([(300, b"ab"[..].into()), (301, b"ba1"[..].into())]).collect();
    let specials = vec![("<s>".into(), Some(311)), ("<x>".into(), Some(312)), ("<n>".into(), Some(313))];
    let merges = vec![Merge { left: 97, right: 98, id: 300 }];
    Vocab::build_by_ids(tokens, merges, Vec::new(), specials).map_err(|flaw| flaw.error).unwrap()
}

fn definitions() -> Vec<Definition> {
    let words = " *[^ ]+| +".to_owned();
    let plain =
        |vocab, pattern: &str| Definition { vocab, pattern: pattern.into(), pipeline: Pipeline::default() };
    let added = |forms: [&str; 3]| {
        let tokens = [("<s>", 311), ("<x>", 312), ("<n>", 313)];
        tokens.iter().zip(forms).map(|((content, id), form)| token(content, *id, form)).collect::<Vec<_>>()
    };
    let prefix = |place, unless_space| Prefix { place, unless_space };
    let mut all = Vec::new();
    for forms in [["s", "s", "s"], ["s", "", "n"], ["sl", "r", "n"], ["sw", "lr", "ws"]] {
        all.push(Definition {
            pipeline: Pipeline { added: added(forms), ..Pipeline::default() },
            ..plain(of_bytes(), "gpt2")
        });
        for (place, unless_space) in [
            (PrefixPlace::First, false),
            (PrefixPlace::First, true),
            (PrefixPlace::Each, false),
            (PrefixPlace::Each, true),
        ] {
            let pipeline = Pipeline {
                added: added(forms),
                prefix: prefix(place, unless_space),
                whole_pieces: true,
                template: Template { before: vec![311], after: Vec::new() },
                ..Pipeline::default()
            };
            all.push(Definition { pipeline: pipeline.clone(), ..plain(of_bytes(), "gpt2") });
            for falls_back in [true, false] {
                let shared = vec![0, 1, 2, 3, 3, 3];
                for ranks in [Vec::new(), shared] {
                    let vocab = of_characters(falls_back, ranks);
                    all.push(Definition { pipeline: pipeline.clone(), ..plain(vocab, &words) });
                }
            }
        }
    }
    all
}

/// The ids of a text without added tokens, by looking for the first of the lowest rank again and again.
fn merged(definition: &Definition, text: &str) -> Vec<u32> {
    let (vocab, mut ids) = (&definition.vocab, Vec::new());
    let pretokenizer = Pretokenizer::new(&definition.pattern).unwrap();
    let mut ends = [0; 512];
    let found = pretokenizer.pieces(text.as_bytes()).next_ends(&mut ends).unwrap();
    let mut start = 0;
    for &end in &ends[..found] {
        let piece = &text[start..end as usize];
        start = end as usize;
        if definition.pipeline.whole_pieces
            && let Some(id) = vocab.id_of(piece.as_bytes())
        {
            ids.push(id);
            continue;
        }
        let mut symbols = Vec::new();
        for c in piece.chars() {
            let bytes = c.to_string().into_bytes();
            match vocab.characters() {
                None => symbols.extend(bytes.iter().map(|&byte| vocab.byte_id(byte))),
                Some(characters) => match (vocab.id_of(&bytes), &characters.byte_ids) {
                    (Some(id), _) => symbols.push(id),
                    (None, Some(ids)) => symbols.extend(bytes.iter().map(|&byte| ids[usize::from(byte)])),
                    (None, None) if symbols.last() == Some(&310) => {}
                    (None, None) => symbols.push(310),
                },
            }
        }
        loop {
            let rank = |pair: &[u32]| {
                let is_pair = |merge: &&Merge| (merge.left, merge.right) == (pair[0], pair[1]);
                let index = vocab.merges().iter().position(|merge| is_pair(&merge))?;
                Some((vocab.rank(index), vocab.merges()[index].id))
            };
            let best = symbols.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at)));
            let Some(((_, id), at)) = best.min_by_key(|((rank, _), at)| (*rank, *at)) else { break };
            symbols.splice(at..at + 2, [id]);
        }
        ids.extend(symbols);
    }
    ids
}

/// The ids of a text with added tokens, one pass over all, as `tokenizers` goes about it.
fn naive(definition: &Definition, text: &str, allowed: bool) -> Vec<u32> {
    fn split<'t>(text: &'t str, tokens: &[AddedToken]) -> Vec<(&'t str, Option<u32>)> {
        let (mut parts, mut at, mut done) = (Vec::new(), 0, 0);
        while at < text.len() {
            let starts = |token: &&AddedToken| text[at..].starts_with(&token.content);
            let found = tokens.iter().filter(starts).max_by_key(|token| token.content.len());
            let Some(found) = found.filter(|_| text.is_char_boundary(at)) else {
                at += text[at..].chars().next().unwrap().len_utf8();
                continue;
            };
            let (mut start, mut end) = (at, at + found.content.len());
            at = end;
            let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if found.single_word
                && (is_word(text[..start].chars().next_back()) || is_word(text[end..].chars().next()))
            {
                continue;
            }
            if found.lstrip {
                start = done.max(text[..start].trim_end().len());
            }
            if found.rstrip {
                end = text.len() - text[end..].trim_start().len();
            }
            parts.extend((done < start).then(|| (&text[done..start], None)));
            parts.push((&text[start..end], Some(found.id)));
            done = end;
        }
        parts.extend((done < text.len()).then(|| (&text[done..], None)));
        parts
    }
    let pipeline = &definition.pipeline;
    let count = |token: &&AddedToken| allowed || !token.special;
    let (mut late, early): (Vec<_>, Vec<_>) =
        pipeline.added.iter().filter(count).cloned().partition(|token| token.normalized);
    if pipeline.prefix.place == PrefixPlace::Each && !pipeline.prefix.unless_space {
        for token in &mut late {
            token.content.insert(0, ' ');
        }
    }
    let mut ids = Vec::new();
    let mut is_first = true;
    for (part, id) in split(text, &early) {
        ids.extend(id);
        let Prefix { place, unless_space } = pipeline.prefix;
        let is_normalized = place != PrefixPlace::Never && !unless_space;
        let is_here = place == PrefixPlace::Each || is_first;
        let part = if is_normalized && is_here { format!(" {part}") } else { part.to_owned() };
        let parts = if id.is_none() { split(&part, &late) } else { Vec::new() };
        for (part, id) in parts {
            ids.extend(id);
            if id.is_none() {
                let is_place = match place {
                    PrefixPlace::Never => false,
                    PrefixPlace::First => is_first && unless_space,
                    PrefixPlace::Each => unless_space,
                };
                let has_prefix = is_place && !(unless_space && part.starts_with(' '));
                let part = if has_prefix { format!(" {part}") } else { part.to_owned() };
                ids.extend(merged(definition, &part));
            }
            is_first = false;
        }
        is_first = false;
    }
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn steps_are_those_of_the_plainest_way(text in texts(), sizes in prop::collection::vec(1usize..9, 1..5)) {
        for definition in definitions() {
            let encoder = Encoder::of(definition.clone()).unwrap();
            for (specials, allowed) in [(Specials::Ordinary, false), (Specials::Allowed, true)] {
                let expected = naive(&definition, &text, allowed);
                let mut ids = Vec::new();
                encoder.encode(text.as_bytes(), specials, &mut ids, &Monitor::default()).unwrap();
                prop_assert_eq!(&ids, &expected, "{:?}", definition.pipeline);
                let (located, spans) =
                    encoder.encode_with_spans(text.as_bytes(), specials, Unit::Bytes, &Monitor::default()).unwrap();
                prop_assert_eq!(&located, &expected);
                // Each token is where its bytes are.
                let mut end = 0;
                for (&id, span) in ids.iter().zip(spans) {
                    prop_assert!(span.start <= span.end && span.end <= text.len() && span.start >= end);
                    end = span.end;
                    let token = encoder.vocab().token_bytes(id).unwrap();
                    let here = &text.as_bytes()[span.clone()];
                    let is_added = definition.pipeline.added.iter().any(|added| added.id == id);
                    prop_assert!(id == 310 || is_added || token.ends_with(here), "{:?} at {:?}", token, span);
                }
                prop_assert_eq!(end, if ids.is_empty() { 0 } else { text.len() });
                // In a stream, by all sizes in turn.
                let (mut stream, mut parts, mut rest) = (Stream::default(), Vec::new(), text.as_bytes());
                let mut sizes = sizes.iter().cycle();
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    rest = after;
                    parts.push(stream.push(&encoder, specials, chunk));
                }
                parts.push(stream.finish());
                let mut streamed = Vec::new();
                for (part, ends) in parts {
                    encoder.encode_part(&part, ends, specials, &mut streamed, &Monitor::default()).unwrap();
                }
                prop_assert_eq!(&streamed, &expected, "{:?}", definition.pipeline);
            }
            // What another process reads is the same.
            prop_assert_eq!(Definition::from_state(&definition.to_state()).unwrap(), definition);
        }
    }
}

#[test]
fn a_character_without_a_token_is_named() {
    let tokens = b"ab".iter().map(|&byte| (u32::from(byte), [byte][..].into())).collect();
    let vocab =
        Vocab::build_by_ids(tokens, Vec::new(), Vec::new(), Vec::new()).map_err(|flaw| flaw.error).unwrap();
    let encoder = Encoder::new(vocab.clone(), Pretokenizer::new("gpt2").unwrap()).unwrap();
    let encode = |encoder: &Encoder, text: &[u8]| {
        let mut ids = Vec::new();
        encoder.encode(text, Specials::Ordinary, &mut ids, &Monitor::default()).map(|()| ids)
    };
    assert_eq!(encode(&encoder, b"abba").unwrap(), [97, 98, 98, 97]);
    for _ in 0..2 {
        // The cache knows the piece the second time.
        let error = encode(&encoder, "ab\u{e9}".as_bytes()).unwrap_err().to_string();
        assert!(error.contains("`é` at byte 2"), "{error}");
    }
    let pipeline = Pipeline { unknown: Some(98), ..Pipeline::default() };
    let encoder = Encoder::of(Definition { vocab, pattern: "gpt2".into(), pipeline }).unwrap();
    assert_eq!(encode(&encoder, "a\u{e9}".as_bytes()).unwrap(), [97, 98, 98]);
}

#[test]
fn no_worker_too_many_is_kept() {
    let vocab = Vocab::from_merges(&[], &[]).unwrap();
    let encoder = Encoder::new(vocab, Pretokenizer::new("gpt2").unwrap()).unwrap();
    for _ in 0..10 {
        let first = encoder.worker();
        let second = {
            let _held = encoder.idle.lock().unwrap();
            encoder.worker()
        };
        encoder.put_back(first);
        encoder.put_back(second);
    }
    assert_eq!(encoder.idle.lock().unwrap().workers.len(), 2);
}
