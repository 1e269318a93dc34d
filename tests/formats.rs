//! Vocabularies in the formats of other libraries: made-up files with the ids that those libraries give, what is refused and why,
//! and every damaged file. Real files are read where `TINYBPE_VOCABS` names a folder with them.

#[path = "fuzz/formats.rs"]
#[allow(dead_code)]
mod formats;

use formats::{Message, gguf_merges, gguf_pieces, model, pieces, tekken};
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tinybpe::pipeline::Definition;
use tinybpe::vocab_file::{self, Given};
use tinybpe::{Encoder, Monitor, Specials};

fn encode(encoder: &Encoder, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    encoder.encode(text.as_bytes(), Specials::Ordinary, &mut ids, &Monitor::default()).unwrap();
    ids
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn load(bytes: &[u8], given: &Given) -> Definition {
    let dir = tempfile::tempdir().unwrap();
    vocab_file::load(&write(dir.path(), "x", bytes), given).unwrap()
}

fn refusal(bytes: &[u8], given: &Given) -> String {
    let dir = tempfile::tempdir().unwrap();
    vocab_file::load(&write(dir.path(), "x", bytes), given).unwrap_err().to_string()
}

fn family(name: &str) -> Given {
    Given { family: Some(name.into()), ..Given::default() }
}

fn pattern(name: &str) -> Given {
    Given { pattern: Some(name.into()), ..Given::default() }
}

/// Expected ids are those of `sentencepiece` 0.2.
#[test]
fn sentencepiece_merges_by_score_and_the_leftmost_of_one_score() {
    let file = model(&pieces(), &Message::default(), &Message::default());
    let encoder = Encoder::of(load(&file, &Given::default())).unwrap();
    for (text, ids) in [
        ("", &[][..]),
        (" ", &[3]),
        ("a", &[5]),
        // Runs of spaces have low ids and the lowest score.
        ("a  b", &[5, 9, 7]),
        ("a\u{2581} b", &[5, 9, 7]),
        // `ab` and `ba` have one score.
        ("cabab", &[9, 12, 6, 6]),
        ("cbaba", &[9, 12, 8, 8]),
        ("     ", &[4, 4]),
        // User-defined pieces, the longest first, behind the space; control pieces are text.
        ("<x>y<x>a", &[9, 14, 13, 10]),
        // Unknown characters side by side are one.
        ("a??b?", &[5, 0, 11, 0]),
        ("<s>", &[9, 0]),
    ] {
        assert_eq!(encode(&encoder, text), ids, "{text:?}");
    }
    let ids = encode(&encoder, "a  b").into_iter().map(i64::from);
    assert_eq!(encoder.decode(ids).unwrap(), b"a  b");
}

#[test]
fn sentencepiece_leaves_spaces_out_where_the_model_says_so() {
    let file = model(&pieces(), &Message::default(), &Message::default().number(4, 1));
    let encoder = Encoder::of(load(&file, &Given::default())).unwrap();
    for (text, ids) in [
        ("   ", &[][..]),
        ("  a   b  ", &[5, 7]),
        // `▁` in text is no space yet where spaces are joined, but is one at the end.
        ("a \u{2581}b\u{2581}", &[5, 9, 7]),
        ("\u{2581}", &[]),
    ] {
        assert_eq!(encode(&encoder, text), ids, "{text:?}");
    }
}

#[test]
fn sentencepiece_models_are_refused_by_name() {
    let none = Message::default();
    let with = |piece: (&'static str, f32, u64)| {
        let mut pieces = pieces();
        pieces.push(piece);
        model(&pieces, &Message::default(), &Message::default())
    };
    for (file, words) in [
        (model(&pieces(), &none.clone().number(3, 1), &none), "type is Unigram; only BPE"),
        (model(&pieces(), &none.clone().number(3, 3), &none), "type is Word"),
        (model(&pieces(), &none.clone().number(24, 1), &none), "treat_whitespace_as_suffix"),
        (model(&pieces(), &none.clone().number(35, 1), &none), "`byte_fallback`"),
        (model(&pieces(), &none, &none.clone().bytes(2, b"table")), "`identity` has a table of replacements"),
        (model(&pieces(), &none, &none.clone().number(5, 0)), "`escape_whitespaces` is false"),
        (with(("", -20.0, 1)), "id 16 is empty"),
        (with(("c\u{e9}", -20.0, 1)), "`cé` (id 16) has the character `é`"),
        (with(("ac", -20.0, 5)), "`ac` (id 16) is marked as unused, and merging can make it"),
        (with(("ab", -20.0, 1)), "`ab` (id 16) is there twice, as id 6 too"),
        (with(("a c", -20.0, 1)), "`a c` (id 16) has a space"),
        (with(("x y", -20.0, 4)), "id 16 has a space"),
        (with(("z", 0.0, 3)), "a control piece of one character"),
        (with(("ca", f32::NAN, 1)), "not a number"),
        (with(("<0x0A>", 0.0, 6)), "`byte_fallback`"),
        (with(("<u>", 0.0, 2)), "both the unknown piece"),
        (with(("ca", 0.0, 7)), "unknown type"),
        (with((&"c".repeat(8000).leak()[..], -20.0, 1)), "is too long"),
        (model(&pieces()[1..], &none, &none), "no piece is of the type UNKNOWN"),
    ] {
        let error = refusal(&file, &Given::default());
        assert!(error.contains(words), "{error}");
    }
    let file = model(&pieces(), &none, &none);
    assert!(refusal(&file, &family("llama3")).contains("says its pattern and special tokens itself"));
}

#[test]
fn tekken_puts_special_tokens_first_and_cuts_the_rest() {
    let text = tekken();
    let definition = load(text.as_bytes(), &Given::default());
    assert_eq!((definition.vocab.vocab_size(), definition.pipeline.whole_pieces), (261, true));
    assert_eq!(definition.pipeline.template.before, [1]);
    let contents: Vec<_> = definition.vocab.specials().iter().map(|token| &token.content[..]).collect();
    assert_eq!(contents, ["<unk>", "<s>", "<SPECIAL_2>", "<SPECIAL_3>"]);
    assert_eq!(encode(&Encoder::of(definition).unwrap(), "abc<s>"), [260, 103, 64, 119, 66]);
    let older = text.replace("special_tokens\"", "none\"");
    for (from, to, words) in [
        ("261", "300", "cut short"),
        ("\"rank\": 7,", "\"rank\": 8,", "`vocab[7]` has another rank"),
        ("YWI=", "YWI", "`vocab[256]` has `token_bytes` that are not base64"),
        ("\\\\p{L}+", "(", "`config.pattern`"),
        ("special_tokens\": 4", "special_tokens\": 1", "has 2 special tokens, and"),
        ("special_tokens\": 4", "special_tokens\": 2000000000", "the limit is"),
        ("\"<s>\"", "\"<unk>\"", "`<unk>` is there twice"),
        ("v11", "11", "the version is `11`"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = refusal(text.replacen(from, to, 1).as_bytes(), &Given::default());
        assert!(error.contains(words), "{error}");
    }
    let error = refusal(older.as_bytes(), &Given::default());
    assert!(error.contains("`config` must have") || error.contains("no `special_tokens`"), "{error}");
}

/// Files of ranks: tokens that no two others make, tokens without bytes, families.
#[test]
fn ranks_are_read_whatever_they_are() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let line = |(rank, bytes): (usize, &[u8])| format!("{} {rank}\n", STANDARD.encode(bytes));
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    tokens.extend([b"ab".to_vec(), b"xyz".to_vec()]);
    let mut text: String = tokens.iter().map(|bytes| &bytes[..]).enumerate().map(line).collect();
    text.push_str("= 258\n 259\n");
    let error = refusal(text.as_bytes(), &Given::default());
    assert!(
        error.contains("give the family of the tokenizer (one of gpt2")
            && error.contains("or one of gpt2, cl100k"),
        "{error}"
    );
    let definition = load(text.as_bytes(), &family("llama3"));
    assert_eq!(definition.pipeline.template.before, [260]);
    assert_eq!(definition.vocab.special_id("<|eot_id|>"), Some(269));
    assert_eq!(
        (definition.vocab.token_bytes(258), definition.vocab.token_bytes(259)),
        (Some(&b""[..]), Some(&b""[..]))
    );
    let encoder = Encoder::of(definition).unwrap();
    assert_eq!(encode(&encoder, "xyz.xyzab"), [257, 46, 120, 121, 122, 256]);
    let definition = load(text.as_bytes(), &family("whisper"));
    assert_eq!(definition.vocab.special_id("<|0.00|>"), Some(260 + 2 + 99 + 6));
    // Qwen's special tokens have fixed ids, and its text is normalized.
    let definition = load(text.as_bytes(), &family("qwen3"));
    assert_eq!(definition.vocab.special_id("</think>"), Some(151_668));
    assert!(definition.pipeline.added.iter().any(|token| token.content == "<think>" && !token.special));
    assert_eq!(encode(&Encoder::of(definition).unwrap(), "e\u{301}"), [0xc3, 0xa9]);
    let given = Given { special_tokens: vec![("<end>".into(), None)], ..pattern("cl100k") };
    assert_eq!(load(text.as_bytes(), &given).vocab.special_id("<end>"), Some(260));
    assert!(refusal(text.as_bytes(), &family("llama9")).contains("no family has the name `llama9`"));
}

#[test]
fn gguf_has_both_kinds() {
    let definition = load(&gguf_pieces(&pieces()), &Given::default());
    assert_eq!(definition.pipeline.template.before, [1]);
    let encoder = Encoder::of(definition).unwrap();
    assert_eq!(encode(&encoder, "<x>a  b"), [9, 13, 10, 9, 7]);

    let definition = load(&gguf_merges("starcoder"), &Given::default());
    assert_eq!((definition.vocab.vocab_size(), &definition.pipeline.template.after[..]), (260, &[258][..]));
    let encoder = Encoder::of(definition).unwrap();
    assert_eq!(encode(&encoder, "ab a<y>"), [257, 256, 259]);

    let error = refusal(&gguf_merges("some-new"), &Given::default());
    assert!(error.contains("splits text by the rule `some-new`, which is not known here"), "{error}");
    assert_eq!(load(&gguf_merges("some-new"), &pattern("cl100k")).vocab.vocab_size(), 260);
    assert!(refusal(&gguf_merges("gpt-2"), &pattern("cl100k")).contains("itself"));
    for (from, to, words) in [
        ("GGUF\x03", "GGUF\x01", "its version is 1"),
        ("GGUF\x03\0\0\0", "GGUF\0\0\0\x03", "highest byte"),
        ("gpt2", "bert", "is of the model `bert`"),
        ("tokenizer.ggml.merges", "tokenizer.ggml.mergez", "no `tokenizer.ggml.merges`"),
        ("<y>", "<z>", ""),
    ] {
        let mut file = gguf_merges("gpt-2");
        let at = file.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        file.splice(at..at + from.len(), to.bytes());
        if words.is_empty() {
            assert_eq!(load(&file, &Given::default()).vocab.special_id("<z>"), Some(259));
        } else {
            let error = refusal(&file, &Given::default());
            assert!(error.contains(words), "{error}");
        }
    }
}

#[test]
fn a_folder_gives_its_first_kind() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let taken = || vocab_file::file_of(at).unwrap().0.file_name().unwrap().to_str().unwrap().to_owned();
    write(at, "notes.txt", "no tokenizer");
    let error = vocab_file::file_of(at).unwrap_err().to_string();
    assert!(error.contains("the folder has no tokenizer.json") && error.contains("a GGUF file"), "{error}");
    write(at, "x-00002-of-00002.gguf", "");
    write(at, "x-00001-of-00002.gguf", gguf_pieces(&pieces()));
    assert_eq!(taken(), "x-00001-of-00002.gguf");
    write(at, "vocab.json", "{}");
    assert_eq!(taken(), "x-00001-of-00002.gguf");
    write(at, "merges.txt", "#version: 0.2\n");
    assert_eq!(taken(), "vocab.json");
    write(at, "x.tiktoken", "");
    assert_eq!(taken(), "x.tiktoken");
    write(at, "a.model", model(&pieces(), &Message::default(), &Message::default()));
    assert_eq!(taken(), "a.model");
    write(at, "b.model", "");
    let error = vocab_file::file_of(at).unwrap_err().to_string();
    assert!(
        error.contains("the folder has a.model and b.model; give the path of the one to read"),
        "{error}"
    );
    write(at, "tokenizer.model", model(&pieces(), &Message::default(), &Message::default()));
    assert_eq!(taken(), "tokenizer.model");
    assert_eq!(vocab_file::load(at, &Given::default()).unwrap().vocab.vocab_size(), 16);
    write(at, "tekken.json", tekken());
    assert_eq!(taken(), "tekken.json");
    assert_eq!(vocab_file::load(at, &Given::default()).unwrap().vocab.vocab_size(), 261);
    write(at, "tokenizer.json", "{}");
    let (taken, rest) = vocab_file::file_of(at).unwrap();
    assert!(taken.ends_with("tokenizer.json") && rest.len() == 5, "{rest:?}");
}

/// GPT-2's pair, by either of its files or their folder.
#[test]
fn a_pair_is_read_with_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let mut entries: Vec<String> = formats::byte_texts()
        .iter()
        .enumerate()
        .map(|(id, text)| format!("{}: {id}", serde_json::Value::from(&text[..])))
        .collect();
    entries.extend(["\"ab\": 256".into(), "\"<|endoftext|>\": 50256".into()]);
    let vocab = write(dir.path(), "vocab.json", format!("{{{}}}", entries.join(", ")));
    assert!(
        vocab_file::load(&vocab, &family("gpt2"))
            .unwrap_err()
            .to_string()
            .contains("merges.txt must be beside it")
    );
    let merges = write(dir.path(), "merges.txt", "a b\n");
    for path in [&vocab, &merges, &dir.path().to_path_buf()] {
        let definition = vocab_file::load(path, &family("gpt2")).unwrap();
        assert_eq!(
            (definition.vocab.special_id("<|endoftext|>"), definition.pipeline.whole_pieces),
            (Some(50256), false)
        );
        let error = vocab_file::load(path, &Given::default()).unwrap_err().to_string();
        assert!(
            error.contains("vocab.json and merges.txt but no tokenizer.json; the pair has no pattern"),
            "{error}"
        );
    }
    let error = vocab_file::load(&vocab, &family("qwen2")).unwrap_err().to_string();
    assert!(error.contains("would have the id 50256, and should have 151643"), "{error}");
}

#[test]
fn other_files_are_told_what_is_read() {
    for bytes in [
        &b"\x89PNG\r\n\x1a\n\0\0"[..],
        b"PK\x03\x04",
        b"\x80\x04\x95",
        b"Some text\n",
        b"\n\nh e\n",
        b"<html>",
    ] {
        let error = refusal(bytes, &Given::default());
        assert!(error.contains("tekken.json, a SentencePiece model, tiktoken ranks"), "{error}");
    }
    assert!(refusal(b"", &Given::default()).contains("is empty"));
    assert!(refusal(b"GGUF", &Given::default()).contains("a value goes beyond its end"));
}

// fault: V1
/// Whatever byte is missing or bit is flipped: a tokenizer, or a reason.
#[test]
fn every_truncation_and_flip_is_refused_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        formats::load(&path, &Given::default());
    };
    for format in ["load_sentencepiece", "load_gguf", "load_tekken"] {
        for file in formats::good(format) {
            let step = 1 + file.len() / 300;
            for len in (0..file.len()).step_by(step) {
                check(&file[..len]);
            }
            for at in (0..file.len()).step_by(step) {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << (at % 8);
                check(&damaged);
            }
        }
    }
}

/// Lengths that lie ask for no memory: each is held against the file's own.
#[test]
fn lengths_that_lie_are_refused_at_once() {
    let file = gguf_merges("gpt-2");
    for at in (16..file.len() - 8).step_by(7) {
        let mut damaged = file.clone();
        damaged[at..at + 8].copy_from_slice(&(1_u64 << 60).to_le_bytes());
        formats::load_bytes(&damaged, &Given::default());
    }
    // A long file of nothing behind a good head, as a wrong path or a cut download leaves it.
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "x.gguf", &file[..24]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let error = vocab_file::load(&path, &Given::default()).unwrap_err().to_string();
    assert!(error.contains("GGUF"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_edits_are_refused_or_read(
        format in prop::sample::select(vec!["load_sentencepiece", "load_gguf", "load_tekken"]),
        choice in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..9usize, prop::collection::vec(any::<u8>(), 0..9)), 1..6),
    ) {
        let files = formats::good(format);
        let mut file = choice.get(&files).clone();
        for (at, removed, inserted) in edits {
            let at = at.index(file.len() + 1);
            let removed = removed.min(file.len() - at);
            file.splice(at..at + removed, inserted);
        }
        formats::load_bytes(&file, &Given::default());
    }
}

/// A real file, if there is a folder with them.
fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("TINYBPE_VOCABS")?).join(name);
    if path.exists() { Some(path) } else { None }
}

/// One vocabulary in two formats gives the same ids.
#[test]
fn real_vocabularies_agree_between_formats() {
    let texts = [
        "Hello world",
        "  a  b\n\n\tc",
        ".:.: it's 12345 DON'T",
        "人力资源 日本語 naïve e\u{301}",
        "\u{2581}x \u{1f999}",
    ];
    // The last file counts ordinary tokens from 0.
    for (one, given, other, shift) in [
        ("llama3.tiktoken", family("llama3"), "llama3.json", 0),
        ("qwen.tiktoken", family("qwen"), "qwen.json", 0),
        ("tekken.json", Given::default(), "tekken_hf.json", 1000),
    ] {
        let (Some(one), Some(other)) = (real(one), real(other)) else {
            eprintln!("skipped: TINYBPE_VOCABS is no folder with {one} and {other}");
            continue;
        };
        let one = Encoder::of(vocab_file::load(&one, &given).unwrap()).unwrap();
        let other = Encoder::of(vocab_file::load(&other, &Given::default()).unwrap()).unwrap();
        for text in texts {
            let ids: Vec<u32> = encode(&one, text).into_iter().map(|id| id - shift).collect();
            assert_eq!(ids, encode(&other, text), "{text:?}");
        }
    }
}

/// The ids are those of `sentencepiece` 0.2.
#[test]
fn a_real_sentencepiece_model_gives_its_ids() {
    let Some(path) = real("mistral.model") else {
        eprintln!("skipped: TINYBPE_VOCABS is no folder with mistral.model");
        return;
    };
    let encoder = Encoder::of(vocab_file::load(&path, &Given::default()).unwrap()).unwrap();
    for (text, ids) in MISTRAL {
        assert_eq!(encode(&encoder, text), *ids, "{text:?}");
    }
}

const MISTRAL: &[(&str, &[u32])] = &[
    ("a  b", &[1032, 29473, 1055]),
    (" a", &[29473, 1032]),
    ("Hello world\n", &[23325, 2294, 781]),
    ("世界 \u{1f999}", &[29473, 30818, 30590, 29473, 1011, 930, 937, 924]),
    ("[REFERENCE_DOC_1]x", &[29473, 769, 29512]),
    ("<s>\u{2581}", &[1291, 29481, 29535, 29473]),
];
