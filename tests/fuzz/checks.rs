//! What must hold for any input: one function per fuzz target, each panics where it does not.
//!
//! The targets in `targets/` call them with what libFuzzer makes up; `tests/regressions.rs` calls them with every input
//! that has failed before, so that plain `cargo test` replays it. An input is bytes; each check says how it reads them.

#[path = "compile.rs"]
pub mod compile;
#[path = "formats.rs"]
pub mod formats;

use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::LazyLock;
use tinybpe::pipeline::Definition;
use tinybpe::{
    Encoder, Error, Monitor, Pretokenizer, Specials, TieBreak, Vocab, WordCounts, atomic::Existing, naive,
    trainer, vocab_file,
};

const NAMES: [&str; 3] = ["gpt2", "cl100k", "o200k"];
const END: &str = "<|endoftext|>";

/// Takes bytes off the front of an input; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let len = len.min(self.0.len());
        self.0.split_off(..len).unwrap_or_default()
    }
}

/// A small vocabulary in each format: two ways to make `abc`, bytes that are no text, special tokens that JSON escapes.
struct Files {
    huggingface: Vec<u8>,
    vocab_json: Vec<u8>,
    merges_txt: Vec<u8>,
    tiktoken: Vec<u8>,
}

static FILES: LazyLock<Files> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let specials = [END.to_owned(), "a \"b\"\n\\世".to_owned()];
    let twice = [(97, 98), (98, 99), (256, 99), (97, 257), (258, 100), (0xe4, 0xb8), (32, 260)];
    let vocab = Vocab::from_merges(&twice, &specials).unwrap();
    vocab_file::save(dir.path(), &Definition::new(vocab, r"\p{L}{1,3}|[^\p{L}]+"), Existing::Replace)
        .unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    // Without our digest beside it, which would refuse every change.
    let huggingface = read("tokenizer.json");
    let (vocab_json, merges_txt) = (read("vocab.json"), read("merges.txt"));
    let once = Vocab::from_merges(&[(97, 98), (256, 99), (257, 100), (0xe4, 0xb8), (32, 258)], &[]).unwrap();
    vocab_file::export_tiktoken(
        &dir.path().join("x"),
        &Definition::new(once.clone(), "gpt2"),
        Existing::Replace,
    )
    .unwrap();
    Files { huggingface, vocab_json, merges_txt, tiktoken: read("x") }
});

/// A vocabulary file of any format: the first byte names the format, and whether the rest is the file itself or a list of
/// edits to a good one: offset, bytes to remove, bytes to insert. It is refused with a reason, or gives a tokenizer that
/// encodes any text and that survives being saved.
pub fn load_vocab(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let kind = choice & 3;
    let good = [&FILES.huggingface, &FILES.vocab_json, &FILES.merges_txt, &FILES.tiktoken][usize::from(kind)];
    let mut file = good.clone();
    if choice & 0x80 != 0 {
        file = input.0.to_vec();
    } else {
        while !input.0.is_empty() {
            let at = input.number() % (file.len() + 1);
            let removed = usize::from(input.byte()).min(file.len() - at);
            let num_inserted = usize::from(input.byte() & 15);
            file.splice(at..at + removed, input.bytes(num_inserted).iter().copied());
        }
    }
    let loaded = match kind {
        0 => vocab_file::from_json(file, None),
        1 | 2 => {
            let dir = tempfile::tempdir().unwrap();
            let (json, merges) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
            std::fs::write(&json, if kind == 1 { &file } else { &FILES.vocab_json }).unwrap();
            std::fs::write(&merges, if kind == 2 { &file } else { &FILES.merges_txt }).unwrap();
            let specials = [END.to_owned(), "a \"b\"\n\\世".to_owned()];
            vocab_file::load_gpt2(&json, &merges, &specials).map(|vocab| Definition::new(vocab, "gpt2"))
        }
        _ => {
            let path = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(path.path(), &file).unwrap();
            let specials = [(END.to_owned(), None)];
            vocab_file::load_tiktoken(path.path(), &specials).map(|vocab| Definition::new(vocab, "cl100k"))
        }
    };
    match loaded {
        Ok(definition) => check_definition(definition),
        Err(error) => assert!(matches!(error, Error::VocabFile { .. }), "{error:?}"),
    }
}

fn check_definition(definition: Definition) {
    let vocab = &definition.vocab;
    for merge in vocab.merges() {
        let (left, right) = vocab.parts(*merge);
        assert_eq!(vocab.token_bytes(merge.id), Some(&[left, right].concat()[..]));
    }
    match vocab_file::to_json(&definition) {
        Ok([text, own]) => {
            let read = vocab_file::from_json(text.into_bytes(), Some(&own)).unwrap();
            assert_eq!((&read.vocab, &read.pattern), (vocab, &definition.pattern));
        }
        Err(error) => assert!(matches!(error, Error::VocabFile { .. }), "{error:?}"),
    }
    let keeps_bytes = definition.pipeline.keeps_bytes();
    let Ok(encoder) = Encoder::of(definition) else { return };
    let text: Vec<u8> = [&b"abcd abcabc \xe4\xb8\x96\xff"[..], END.as_bytes()].concat();
    for specials in [Specials::Ordinary, Specials::Allowed] {
        let mut ids = Vec::new();
        if encoder.encode(&text, specials, &mut ids, &Monitor::default()).is_ok() && keeps_bytes {
            assert_eq!(encoder.decode(ids.into_iter().map(i64::from)).unwrap(), text);
        }
    }
}

/// A file of word counts. Odd first byte: the rest is the file. Even: the rest is a header's fields and a body, to which the
/// format and a digest that fits are added.
pub fn load_counts(data: &[u8]) {
    let mut input = Input(data);
    let choice = input.byte();
    let file = if choice & 1 == 1 {
        input.0.to_vec()
    } else {
        let num_words = input.byte();
        let header = serde_json::json!({
            "format": "tinybpe-word-counts",
            "version": 1,
            "pattern": NAMES[usize::from(choice >> 1) % 3],
            "special_tokens": [END],
            "num_words": num_words,
        });
        let mut file = format!("{header}\n").into_bytes();
        file.extend_from_slice(input.0);
        let digest = Sha256::digest(&file);
        file.extend_from_slice(&digest);
        file
    };
    let counts = match WordCounts::from_bytes(&file) {
        Ok(counts) => counts,
        Err(error) => {
            assert!(matches!(error, Error::Training(_)), "{error:?}");
            return;
        }
    };
    assert!(counts.iter().all(|(_, count)| i64::try_from(count).is_ok()));
    let bytes = counts.to_bytes();
    assert!(WordCounts::from_bytes(&bytes).unwrap() == counts);
    match counts.merge(&counts) {
        Ok(twice) => assert_eq!(twice.len(), counts.len()),
        Err(error) => assert!(matches!(error, Error::Training(_)), "{error:?}"),
    }
    if let Err(error) = trainer::train(&counts, 300, TieBreak::Bytes, None, &Monitor::default()) {
        assert!(matches!(error, Error::Training(_)), "{error:?}");
    }
}

fn split(pretokenizer: &Pretokenizer, text: &[u8], batch: usize) -> Result<Vec<u32>, Error> {
    let (mut pieces, mut ends, mut all) = (pretokenizer.pieces(text), vec![0; batch], Vec::new());
    loop {
        let found = pieces.next_ends(&mut ends)?;
        all.extend_from_slice(&ends[..found]);
        if found < batch {
            return Ok(all);
        }
    }
}

/// Text: vector, portable and byte-by-byte scanners cut it at the same places, whatever the size of batches; and a cut
/// between two characters that is called safe is one.
pub fn scan(data: &[u8]) {
    let mut input = Input(data);
    let batch = usize::from(input.byte()) + 1;
    let at = input.number();
    let text = input.0;
    for name in NAMES {
        let pretokenizer = Pretokenizer::new(name).unwrap();
        let ends = split(&pretokenizer, text, batch).unwrap();
        assert_eq!(ends.last().map_or(0, |&end| end as usize), text.len());
        assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
        for (level, pretokenizer) in pretokenizer.variants() {
            assert_eq!(split(&pretokenizer, text, 64).unwrap(), ends, "{name}, {level}");
        }
        let Ok(valid) = std::str::from_utf8(text) else { continue };
        let cut = (0..=at.min(valid.len())).rev().find(|&cut| valid.is_char_boundary(cut)).unwrap_or(0);
        let (left, right) = valid.split_at(cut);
        if let Some((before, after)) = left.chars().next_back().zip(right.chars().next())
            && pretokenizer.is_safe_cut(before, after)
        {
            let mut parts = split(&pretokenizer, left.as_bytes(), 64).unwrap();
            let start = parts.last().copied().unwrap_or_default();
            parts.extend(split(&pretokenizer, right.as_bytes(), 64).unwrap().iter().map(|end| start + end));
            assert_eq!(parts, ends, "{name}, cut at {cut}");
        }
    }
}

/// A pattern, its length first, and a text: pieces join to the text, whatever the size of batches, or there is an error that
/// says why.
pub fn pattern(data: &[u8]) {
    let mut input = Input(data);
    let (batch, len) = (usize::from(input.byte()) + 1, usize::from(input.byte()));
    let Ok(pattern) = std::str::from_utf8(input.bytes(len)) else { return };
    let pretokenizer = match Pretokenizer::new(pattern) {
        Ok(pretokenizer) => pretokenizer,
        Err(error) => {
            assert!(matches!(error, Error::Pattern { .. }), "{error:?}");
            return;
        }
    };
    match (split(&pretokenizer, input.0, batch), split(&pretokenizer, input.0, 1000)) {
        (Ok(some), Ok(all)) => {
            assert_eq!(some, all);
            assert_eq!(all.last().map_or(0, |&end| end as usize), input.0.len());
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        }
        (Err(Error::Pattern { .. }), _) | (_, Err(Error::Pattern { .. })) => {}
        (some, all) => panic!("{some:?} {all:?}"),
    }
}

/// Words with counts: the merges are those of the textbook, under both tie rules; and going on from some gives the others.
pub fn train(data: &[u8]) {
    let mut input = Input(data);
    let (num_tokens, first) = (usize::from(input.byte() % 48), usize::from(input.byte() % 48));
    let mut words: Vec<(Vec<u8>, u64)> = Vec::new();
    while !input.0.is_empty() && words.len() < 24 {
        let (len, count) = (input.byte() % 24, input.byte());
        let word = input.bytes(usize::from(len));
        // Some counts are so large that 32 bits do not hold them, all so small that no sum is beyond 2^63.
        let count = u64::from(count & 15) << (u32::from(count >> 4) * 3);
        if count > 0 && words.iter().all(|(known, _)| known != word) {
            words.push((word.to_vec(), count));
        }
    }
    let counts = words.iter().map(|(word, count)| (&word[..], *count));
    let counts = WordCounts::from_words("gpt2", &[], counts).unwrap();
    let learn =
        |num_tokens: usize, tie| trainer::train(&counts, 256 + num_tokens, tie, None, &Monitor::default());
    for (ours, theirs) in
        [(TieBreak::Bytes, naive::TieBreak::Bytes), (TieBreak::HuggingFace, naive::TieBreak::HuggingFace)]
    {
        let vocab = learn(num_tokens, ours).unwrap();
        let merges: Vec<_> =
            vocab.merges().iter().map(|m| vocab.parts(*m)).map(|(l, r)| (l.to_vec(), r.to_vec())).collect();
        assert_eq!(merges, naive::train(&words, num_tokens, theirs), "{ours:?}");
    }
    let whole = learn(num_tokens, TieBreak::Bytes).unwrap();
    let part = learn(first.min(num_tokens), TieBreak::Bytes).unwrap();
    let initial = trainer::Initial { vocab: &part, pattern: counts.pattern() };
    let continued =
        trainer::train(&counts, 256 + num_tokens, TieBreak::Bytes, Some(initial), &Monitor::default())
            .unwrap();
    assert_eq!(continued.merges(), whole.merges());
}

/// A text to learn from, its length first, and one to encode: the ids are those of the textbook, from a cold cache and a
/// warm one, alone and in a batch, whole and in parts, and decode to the text.
pub fn encode(data: &[u8]) {
    let mut input = Input(data);
    let name = NAMES[usize::from(input.byte()) % 3];
    let (num_merges, len) = (usize::from(input.byte() % 64), usize::from(input.byte()));
    let (learn, text) = (input.bytes(len), input.0);
    let pretokenizer = Pretokenizer::new(name).unwrap();
    let pieces = |text: &'_ [u8]| {
        let ends = split(&pretokenizer, text, 64).unwrap();
        let starts = std::iter::once(0).chain(ends.clone());
        starts.zip(ends).map(|(start, end)| text[start as usize..end as usize].to_vec()).collect::<Vec<_>>()
    };
    let learned = pieces(learn);
    let words =
        WordCounts::from_words(name, &[END.to_owned()], learned.iter().map(|piece| (&piece[..], 1))).unwrap();
    let vocab = trainer::train(words, 257 + num_merges, TieBreak::Bytes, None, &Monitor::default()).unwrap();
    let merges: Vec<_> =
        vocab.merges().iter().map(|m| vocab.parts(*m)).map(|(l, r)| (l.to_vec(), r.to_vec())).collect();
    let end_id = vocab.special_id(END).unwrap();
    let encoder = Encoder::new(vocab, pretokenizer.clone()).unwrap();
    let expected: Vec<Vec<u8>> =
        pieces(text).iter().flat_map(|piece| naive::encode(piece, &merges)).collect();
    for _ in 0..2 {
        let mut ids = Vec::new();
        encoder.encode(text, Specials::Ordinary, &mut ids, &Monitor::default()).unwrap();
        let tokens: Vec<_> = ids.iter().map(|&id| encoder.vocab().token_bytes(id).unwrap()).collect();
        assert_eq!(tokens, expected);
        assert_eq!(encoder.decode(ids.into_iter().map(i64::from)).unwrap(), text);
    }
    let mut allowed = Vec::new();
    encoder.encode(text, Specials::Allowed, &mut allowed, &Monitor::default()).unwrap();
    assert_eq!(encoder.decode(allowed.iter().copied().map(i64::from)).unwrap(), text);
    let batch =
        encoder.encode_batch::<u32>(&[text, learn], Specials::Allowed, Some(1), &Monitor::default()).unwrap();
    assert_eq!(batch.texts().next().unwrap(), allowed);
    let refusing = encoder.listed(Some(&[]), None).unwrap();
    let refused = encoder.encode(text, Specials::Listed(&refusing), &mut Vec::new(), &Monitor::default());
    assert_eq!(refused.is_err(), allowed.contains(&end_id));
}

/// Ids of eight bytes: they decode to the bytes of each, or the first that is unknown is named with its place.
pub fn decode(data: &[u8]) {
    static ENCODER: LazyLock<Encoder> = LazyLock::new(|| {
        // Holes between the ids, and one far away.
        let tokens = (0..=255u8).map(|byte| (u32::from(byte), vec![byte]));
        let tokens = tokens.chain([(300, b"ab".to_vec()), (1 << 30, b"abc".to_vec())]).collect();
        let merges = [(b"a".to_vec(), b"b".to_vec()), (b"ab".to_vec(), b"c".to_vec())];
        let vocab = Vocab::from_parts(tokens, &merges, vec![(END.to_owned(), Some(400))]).unwrap();
        Encoder::new(vocab, Pretokenizer::default()).unwrap()
    });
    let ids: Vec<i64> = data
        .chunks(8)
        .map(|chunk| {
            let mut id = [0; 8];
            id[..chunk.len()].copy_from_slice(chunk);
            i64::from_le_bytes(id)
        })
        .collect();
    let known = |id: i64| matches!(id, 0..=255 | 300 | 400 | 0x4000_0000);
    let vocab = ENCODER.vocab();
    match ENCODER.decode(ids.iter().copied()) {
        Ok(bytes) => {
            assert!(ids.iter().all(|&id| known(id)));
            let token = |&id: &i64| u32::try_from(id).ok().and_then(|id| vocab.token_bytes(id)).unwrap();
            assert_eq!(bytes, ids.iter().map(token).collect::<Vec<_>>().concat());
        }
        Err(Error::UnknownToken { id, position, vocab_size }) => {
            assert_eq!(ids.iter().position(|&id| !known(id)), Some(position));
            assert_eq!((id, vocab_size), (ids[position], vocab.vocab_size()));
        }
        Err(error) => panic!("{error:?}"),
    }
}

/// The check called `name`.
pub fn named(name: &str) -> fn(&[u8]) {
    match name {
        "load_vocab" => load_vocab,
        "load_counts" => load_counts,
        "scan" => scan,
        "pattern" => pattern,
        "train" => train,
        "encode" => encode,
        "decode" => decode,
        "compile" => compile::compile,
        "load_sentencepiece" => formats::load_sentencepiece,
        "load_gguf" => formats::load_gguf,
        "load_tekken" => formats::load_tekken,
        other => panic!("no check is called {other}"),
    }
}

/// All inputs that failed before, of all checks: `regressions/NAME/*`.
pub fn regressions(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut found = Vec::new();
    for check in std::fs::read_dir(folder).unwrap() {
        let check = check.unwrap();
        for file in std::fs::read_dir(check.path()).unwrap() {
            found.push((check.file_name().into_string().unwrap(), file.unwrap().path()));
        }
    }
    found.sort();
    found
}
