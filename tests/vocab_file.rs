//! Saving and loading: round trips of random vocabularies, and what becomes of every damaged file.

use proptest::prelude::*;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};
use tinybpe::vocab_file::Given;
use tinybpe::{
    Encoder, Error, Monitor, Pretokenizer, Result, Specials, Vocab, atomic::Existing, naive,
    pipeline::Definition, vocab::MAX_TOKEN_BYTES, vocab_file,
};

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const CUSTOM: &str = r"\p{L}{1,3}|[^\p{L}]+";
const END: &str = "<|endoftext|>";

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Merges on byte strings as ids of the contract.
fn ids(merges: &[(naive::Bytes, naive::Bytes)]) -> Vec<(u32, u32)> {
    let mut id_of: HashMap<Vec<u8>, u32> = (0..=255u8).map(|b| (vec![b], u32::from(b))).collect();
    let pair = |(id, (left, right)): (u32, &(Vec<u8>, Vec<u8>))| {
        let pair = (id_of[left], id_of[right]);
        id_of.entry([&left[..], right].concat()).or_insert(id);
        pair
    };
    (256..).zip(merges).map(pair).collect()
}

/// Small, with two ways to make `abc` (so an id that only decodes), bytes that are no text, and special
/// tokens that JSON escapes.
fn small() -> Vocab {
    let merges = [(97, 98), (98, 99), (256, 99), (97, 257), (258, 100), (0xe4, 0xb8), (32, 260)];
    Vocab::from_merges(&merges, &strings(&[END, "a \"b\"\n\\\u{0}世"])).unwrap()
}

fn save(dir: &Path, vocab: &Vocab, pattern: &str) -> Result<()> {
    vocab_file::save(dir, &Definition::new(vocab.clone(), pattern), Existing::Replace)
}

fn load(path: &Path) -> Result<(Vocab, String)> {
    vocab_file::load(path, &Given::default()).map(|definition| (definition.vocab, definition.pattern))
}

fn refusal(path: &Path) -> String {
    match load(path) {
        Err(e @ Error::VocabFile { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn small_folder_holds_five_files_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = small();
    assert_eq!(vocab.duplicates().collect::<Vec<_>>(), [(259, &b"abc"[..])]);
    for pattern in [GPT2, CUSTOM] {
        save(dir.path(), &vocab, pattern).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["merges.txt", "tinybpe.json", "tokenizer.json", "tokenizer_config.json", "vocab.json"]
        );
        for path in [dir.path().to_path_buf(), dir.path().join("tokenizer.json")] {
            assert_eq!(load(&path).unwrap(), (vocab.clone(), pattern.to_owned()));
        }
    }
    let merges = fs::read_to_string(dir.path().join("merges.txt")).unwrap();
    assert!(
        merges.starts_with("#version: 0.2\na b\nb c\nab c\na bc\nabc d\n")
            && merges.ends_with("\u{120} abcd\n")
    );
    let specials = strings(&[END, "a \"b\"\n\\\u{0}世"]);
    let (json, txt) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
    assert_eq!(vocab_file::load_gpt2(&json, &txt, &specials).unwrap(), vocab);
}

#[test]
fn special_token_that_spells_a_token_is_refused_before_any_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for special in ["a", "ab", "\u{120}"] {
        let vocab = Vocab::from_merges(&[(97, 98)], &strings(&[special])).unwrap();
        let error = save(&dir.path().join("x"), &vocab, GPT2).unwrap_err().to_string();
        assert!(error.contains(&format!("`{special}` is spelled like")), "{error}");
    }
    let vocab = Vocab::from_merges(&[], &[]).unwrap();
    let error = save(&dir.path().join("x"), &vocab, r"\p{N}{1,3}+|.").unwrap_err().to_string();
    assert!(error.contains("possessive"), "{error}");
    assert!(!dir.path().join("x").exists());
}

// fault: V1
/// FAULTS V1: whatever byte is missing or bit is flipped, a folder loads as the same tokenizer or not at all.
#[test]
fn every_truncation_and_bit_flip_is_refused_or_harmless() {
    let whole = (small(), CUSTOM.to_owned());
    let [text, own] = vocab_file::to_json(&Definition::new(whole.0.clone(), CUSTOM)).unwrap();
    let bytes = text.into_bytes();
    let check =
        |damaged: &[u8], what: &str, at: usize| match vocab_file::from_json(damaged.to_vec(), Some(&own)) {
            Ok(loaded) => assert_eq!((loaded.vocab, loaded.pattern), whole, "{what} {at}"),
            Err(error) => assert!(matches!(error, Error::VocabFile { .. }), "{what} {at}: {error}"),
        };
    for len in 0..bytes.len() {
        check(&bytes[..len], "cut to bytes:", len);
    }
    let mut damaged = bytes.clone();
    for (i, bit) in (0..bytes.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
        damaged[i] ^= 1 << bit;
        check(&damaged, "flipped a bit of byte", i);
        damaged[i] = bytes[i];
    }
}

// fault: V1
/// Formats without a digest: damage never panics, and cutting is noticed unless only the last line end goes.
#[test]
fn damage_to_gpt2_and_tiktoken_files_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = Vocab::from_merges(&[(97, 98), (256, 99), (0xff, 32)], &strings(&[END])).unwrap();
    vocab_file::export_gpt2(dir.path(), &Definition::new(vocab.clone(), "gpt2"), Existing::Replace).unwrap();
    let paths = ["vocab.json", "merges.txt", "x.tiktoken"].map(|name| dir.path().join(name));
    vocab_file::export_tiktoken(&paths[2], &Definition::new(vocab.clone(), "gpt2"), Existing::Replace)
        .unwrap();
    let load = |path: &PathBuf| {
        if path == &paths[2] {
            vocab_file::load_tiktoken(path, &[(END.into(), None)])
        } else {
            vocab_file::load_gpt2(&paths[0], &paths[1], &strings(&[END]))
        }
    };
    for path in &paths {
        assert_eq!(load(path).unwrap(), vocab);
        let bytes = fs::read(path).unwrap();
        for len in 0..bytes.len() {
            fs::write(path, &bytes[..len]).unwrap();
            let loaded = load(path);
            // Ranks alone do not tell how many there should be: a cut between two lines leaves another
            // vocabulary.
            let noticed = loaded.is_err() || loaded.as_ref().is_ok_and(|v| *v == vocab);
            assert!(noticed || path == &paths[2], "{} cut to {len} bytes", path.display());
        }
        let mut damaged = bytes.clone();
        for i in 0..bytes.len() {
            damaged[i] ^= 1 << (i % 8);
            fs::write(path, &damaged).unwrap();
            if let Err(error) = load(path) {
                assert!(matches!(error, Error::VocabFile { .. }), "{error}");
            }
            damaged[i] = bytes[i];
        }
        fs::write(path, &bytes).unwrap();
    }
}

// fault: V9
/// FAULTS V9: what editors and git do to text files.
#[test]
fn line_ends_and_byte_order_marks_are_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let vocab = Vocab::from_merges(&[(97, 98), (256, 99), (13, 10)], &[]).unwrap();
    save(dir.path(), &vocab, GPT2).unwrap();
    let tiktoken = dir.path().join("x.tiktoken");
    vocab_file::export_tiktoken(&tiktoken, &Definition::new(vocab.clone(), "gpt2"), Existing::Replace)
        .unwrap();
    for name in ["tokenizer.json", "vocab.json", "merges.txt", "x.tiktoken"] {
        let path = dir.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        for edited in [
            text.replace('\n', "\r\n"),
            format!("\u{feff}{text}"),
            text.trim_end().into(),
            format!("{text}\n\n"),
            text.strip_prefix("#version: 0.2\n").unwrap_or(&text).into(),
        ] {
            fs::write(&path, edited).unwrap();
            assert_eq!(load(dir.path()).unwrap().0, vocab, "{name}");
            let (json, merges) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
            assert_eq!(vocab_file::load_gpt2(&json, &merges, &[]).unwrap(), vocab, "{name}");
            assert_eq!(vocab_file::load_tiktoken(&tiktoken, &[]).unwrap(), vocab, "{name}");
        }
        fs::write(&path, text).unwrap();
    }
}

// fault: V2, V4, V5
/// FAULTS V5 and V8, and every feature that would change ids.
#[test]
fn other_files_and_features_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &small(), GPT2).unwrap();
    let path = dir.path().join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    let changes = [
        ("\"version\": \"1.0\"", "\"version\": \"3.0\"", "version is `3.0`"),
        ("\"normalizer\": null", "\"normalizer\": {\"type\": \"Precompiled\"}", "`Precompiled`"),
        ("\"post_processor\": null", "\"post_processor\": {\"type\": \"Other\"}", "`Other`"),
        ("\"decoder\": {\"type\": \"ByteLevel\"", "\"decoder\": {\"type\": \"WordPiece\"", "`WordPiece`"),
        ("\"padding\": null", "\"padding\": null, \"extra\": 1", "`extra` is 1"),
        ("\"padding\": null", "\"padding\": null, \"padding\": null", "`padding` is there twice"),
        ("\"dropout\": null", "\"dropout\": 0.1", "`model.dropout` is 0.1"),
        (
            "\"end_of_word_suffix\": null",
            "\"end_of_word_suffix\": \"</w>\"",
            "`model.end_of_word_suffix` is `</w>`",
        ),
        ("\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"", "subword_prefix"),
        ("\"type\": \"BPE\"", "\"type\": \"Unigram\"", "type is `Unigram`"),
        (
            "{\"type\": \"ByteLevel\", \"add_prefix_space\": false",
            "{\"type\": \"Whitespace\"",
            "`Whitespace`",
        ),
        ("\"lstrip\": false", "\"lstrip\": 1", "`added_tokens[0].lstrip` is 1"),
        ("\"lstrip\": false", "\"rust\": false", "`added_tokens[0].rust` is false"),
        ("\"a\": 97", "\"a\": -97", "the id of `a` is -97"),
        (
            "\"a\": 97",
            "\"a\": 4294967296",
            "the id of `a` is 4294967296, and must be a whole number from 0 to 2147483647",
        ),
        ("\"a\": 97", "\"a\": 97.5", "the id of `a` is 97.5"),
        ("\"a\": 97", "\"a\": 98", "id 98 is given to"),
        ("\"a\": 97,", "", "merge 0 (`a` + `b`): the left part `a` is not a token"),
        ("\"*\": 42,", "", "digest differs"),
        ("[\"ab\", \"c\"]", "[\"ab\", \"zz\"]", "merge 2"),
        ("[\"b\", \"c\"]", "[\"a\", \"b\"]", "merge 1 repeats the pair `a` + `b`"),
        ("[\"b\", \"c\"]", "[\"b\"]", "merge 1: is not two strings"),
        ("\"abcd\": 260", "\"abcd\": 259", "digest differs"),
        ("\"id\": 263", "\"id\": 300", "library would give it 263"),
    ];
    for (from, to, words) in changes {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = refusal(dir.path());
        assert!(error.contains(words), "{from} -> {to}: {error}");
        assert!(error.contains("tokenizer.json"), "{error}");
    }
    for (bytes, words) in [
        (&b""[..], "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
        (b"PK\x03\x04\x14\0", "not a JSON file"),
        (b"\x80\x04\x95", "not UTF-8"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"[]", "the file is an array"),
        (b"{}", "no `model`"),
        (b"null", "the file is null"),
        (b"{\"model\": {}}", "no `vocab`"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = refusal(&path);
        assert!(error.contains(words), "{error}");
    }
    fs::remove_file(&path).unwrap();
    assert!(refusal(dir.path()).contains("vocab.json and merges.txt but no tokenizer.json"));
    assert!(matches!(load(&path), Err(Error::Io { path: p, .. }) if p == path));
}

/// A splitter that leaves things out is refused unless its pattern leaves nothing.
#[test]
fn splitters_are_read_exactly() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &small(), CUSTOM).unwrap();
    let path = dir.path().join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(dir.path().join("tinybpe.json")).unwrap();
    let regex = serde_json::Value::from(CUSTOM).to_string();
    for (from, to, words) in [
        ("\"Isolated\"", "\"Removed\"", "removes text"),
        ("\"Isolated\"", "\"Separated\"", "`Separated`"),
        ("\"Regex\"", "\"Glob\"", "`Glob`"),
        (&regex, r#""\\X""#, "`\\X`"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = refusal(dir.path());
        assert!(error.contains(words), "{error}");
    }
    // What Oniguruma reads otherwise is written otherwise.
    for (regex_there, regex_here) in
        [(r#""\\p{N}{1,3}+|.""#, r"(?:\p{N}{1,3})+|."), (r#""^a""#, r"(?:\A|(?<=\n)(?!\z))a")]
    {
        fs::write(&path, text.replacen(&regex, regex_there, 1)).unwrap();
        assert_eq!(load(dir.path()).unwrap().1, regex_here);
    }
    // A last step that splits by GPT-2's pattern, and digits before: a sequence.
    let digits = r#""pretokenizers": [{"type": "Digits", "individual_digits": true},"#;
    let sequence = text.replacen("\"use_regex\": false", "\"use_regex\": true", 1).replacen(
        "\"pretokenizers\": [",
        digits,
        1,
    );
    fs::write(&path, sequence).unwrap();
    let (vocab, pattern) = load(dir.path()).unwrap();
    let pretokenizer = Pretokenizer::new(&pattern).unwrap();
    assert_eq!(pretokenizer.regexes(), [r"\p{N}", CUSTOM, Pretokenizer::new("gpt2").unwrap().pattern()]);
    save(dir.path(), &vocab, &pattern).unwrap();
    assert_eq!(load(dir.path()).unwrap(), (vocab, pattern));
    fs::write(&path, text).unwrap();
    fs::remove_file(dir.path().join("tinybpe.json")).unwrap();
    assert_eq!(load(dir.path()).unwrap(), (small(), CUSTOM.to_owned()));
}

// fault: V2
#[test]
fn merges_txt_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    vocab_file::export_gpt2(dir.path(), &Definition::new(small(), "gpt2"), Existing::Replace).unwrap();
    let (json, path) = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
    let merges = fs::read_to_string(&path).unwrap();
    let specials = strings(&[END, "a \"b\"\n\\\u{0}世"]);
    for (from, to, words) in [
        ("ab c", "abc", "merges.txt, line 4: `abc` is not a merge"),
        ("ab c", "ab  c", "line 4"),
        ("ab c", "ab z", "line 4: merge 2 (`ab` + `z`): the result `abz` is not a token"),
        ("b c\n", "b c\nb c\n", "line 4: merge 2 repeats the pair"),
        ("b c", "b 世", "line 3: the token `世` is not in the byte-to-character spelling"),
        ("abc d\n", "", "no merge makes the token `abcd` (id 260)"),
    ] {
        fs::write(&path, merges.replacen(from, to, 1)).unwrap();
        let error = vocab_file::load_gpt2(&json, &path, &specials).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    fs::write(&path, &merges).unwrap();
    let error = vocab_file::load_gpt2(&json, &path, &strings(&[END])).unwrap_err().to_string();
    assert!(error.contains("list it in special_tokens"), "{error}");
    // A special token left out of the list only decodes; one that is not there is added.
    let plain = Vocab::from_merges(&[(97, 98)], &strings(&[END])).unwrap();
    vocab_file::export_gpt2(dir.path(), &Definition::new(plain.clone(), "gpt2"), Existing::Replace).unwrap();
    let vocab = vocab_file::load_gpt2(&json, &path, &strings(&["<new>"])).unwrap();
    assert_eq!(
        (vocab.special_id(END), vocab.special_id("<new>"), vocab.vocab_size()),
        (None, Some(258), 259)
    );
    assert_eq!(vocab.id_of(END.as_bytes()), Some(257));
}

// fault: V2, V4
#[test]
fn tiktoken_lines_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tiktoken");
    let vocab = Vocab::from_merges(&[(97, 98), (256, 99)], &[]).unwrap();
    vocab_file::export_tiktoken(&path, &Definition::new(vocab.clone(), "gpt2"), Existing::Replace).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // `YWI=` is `ab`, `YWJj` is `abc`.
    for (from, to, words) in [
        ("YWI= 256", "YWI=256", "line 257: `YWI=256` is not `base64 rank`"),
        ("YWI= 256", "YW!= 256", "line 257"),
        ("YWI= 256", "YWI= -1", "line 257"),
        ("YWI= 256", "YWI= +256", "line 257"),
        ("YWI= 256", "YWI= 2147483648", "ranks are below 2147483648"),
        ("YWI= 256", "YWI= 257", "rank 257 is given to `ab` and to `abc`"),
        ("YWI= 256", "YWJj 256", "`abc` is given twice, with ranks 256 and 257"),
        ("KQ== 41\n", "", "the byte 0x29 has no token"),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = vocab_file::load_tiktoken(&path, &[]).unwrap_err().to_string();
        assert!(error.contains("x.tiktoken") && error.contains(words), "{error}");
    }
    fs::write(&path, &text).unwrap();
    let vocab = vocab_file::load_tiktoken(&path, &[(END.into(), Some(300)), ("<x>".into(), None)]).unwrap();
    assert_eq!(
        (vocab.special_id(END), vocab.special_id("<x>"), vocab.vocab_size()),
        (Some(300), Some(301), 302)
    );
    assert!(vocab_file::load_tiktoken(&path, &[(END.into(), Some(5))]).is_err());
}

// fault: S5
#[test]
fn tiktoken_export_refuses_what_ranks_cannot_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.tiktoken");
    let error = vocab_file::export_tiktoken(&path, &Definition::new(small(), "gpt2"), Existing::Replace)
        .unwrap_err()
        .to_string();
    assert!(error.contains("ids 258 and 259 are both `abc`"), "{error}");
    // `bc` is learned first and has the higher id.
    let bytes = (0..=255u8).map(|b| (u32::from(b), vec![b]));
    let tokens = bytes.chain([(256, b"ab".to_vec()), (257, b"bc".to_vec())]).collect();
    let merges = [(b"b".to_vec(), b"c".to_vec()), (b"a".to_vec(), b"b".to_vec())];
    let vocab = Vocab::from_parts(tokens, &merges, vec![]).unwrap();
    let error =
        vocab_file::export_tiktoken(&path, &Definition::new(vocab.clone(), "gpt2"), Existing::Replace)
            .unwrap_err()
            .to_string();
    assert!(error.contains("merge 0"), "{error}");
    assert!(!path.exists());
    save(dir.path(), &vocab, GPT2).unwrap();
    assert_eq!(load(dir.path()).unwrap().0, vocab);
}

// fault: V3
/// FAULTS V3: merges that double each time ask for 2^60 bytes; a file can name them in a few lines of ids only.
#[test]
fn exponential_tokens_are_refused_before_they_are_made() {
    let merges: Vec<(u32, u32)> = std::iter::once((97, 97)).chain((256..316).map(|id| (id, id))).collect();
    let error = Vocab::from_merges(&merges, &[]).unwrap_err().to_string();
    assert!(error.contains(&format!("the limit is {MAX_TOKEN_BYTES}")), "{error}");
    let longest: Vec<(u32, u32)> = merges[..20].to_vec();
    assert_eq!(
        Vocab::from_merges(&longest, &[]).unwrap().token_bytes(275).map(<[u8]>::len),
        Some(MAX_TOKEN_BYTES)
    );
}

#[test]
fn ignore_merges_makes_tokens_of_whole_pieces() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &small(), GPT2).unwrap();
    let path = dir.path().join("tokenizer.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"ignore_merges\": false", "\"ignore_merges\": true")).unwrap();
    // It decides ids.
    assert!(refusal(&path).contains("digest differs"));
    fs::remove_file(dir.path().join("tinybpe.json")).unwrap();
    let text = text.replace("\"ignore_merges\": false", "\"ignore_merges\": true");
    fs::write(&path, text.replace("\"abcd\": 260", "\"abcd\": 260, \"abce\": 270")).unwrap();
    let encoder = Encoder::of(vocab_file::load(&path, &Given::default()).unwrap()).unwrap();
    let mut ids = Vec::new();
    encoder.encode(b"abce abce", Specials::Ordinary, &mut ids, &Monitor::default()).unwrap();
    // Behind a space it is no whole piece.
    assert_eq!(ids, [270, 32, 258, 101]);
}

// fault: T14
#[test]
fn failing_to_save_keeps_the_old_tokenizer() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &small(), GPT2).unwrap();
    let other = Vocab::from_merges(&[(97, 98)], &[]).unwrap();
    // A folder in the place of a file stops the saving before the last file.
    fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    fs::create_dir(dir.path().join("tokenizer_config.json")).unwrap();
    let error = save(dir.path(), &other, GPT2).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("tokenizer_config.json")), "{error}");
    assert_eq!(load(dir.path()).unwrap(), (small(), GPT2.to_owned()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Tiny alphabets make duplicates common; both tie rules; special tokens of any text.
    #[test]
    fn random_vocabularies_come_back(
        words in prop::collection::vec(("[abc\u{e9} ]{1,8}", 1..5u64), 0..12),
        num_merges in 0..25usize,
        specials in prop::collection::btree_set("[a-z<|>\\\\\"\u{0}-\u{20}世]{6,9}", 0..4),
        custom in any::<bool>(),
    ) {
        let words: Vec<_> = words.into_iter().map(|(w, count)| (w.into_bytes(), count)).collect();
        let specials: Vec<String> = specials.into_iter().map(|s| format!("<{s}")).collect();
        let pattern = if custom { CUSTOM } else { GPT2 };
        let merges = naive::train(&words, num_merges, naive::TieBreak::Bytes);
        let ours = Vocab::from_merges(&ids(&merges), &specials).unwrap();
        prop_assert_eq!(ours.vocab_size(), 256 + merges.len() + specials.len());

        let merges = naive::train(&words, num_merges, naive::TieBreak::HuggingFace);
        let mut tokens: Vec<(u32, Vec<u8>)> = (0..=255u8).map(|b| (u32::from(b), vec![b])).collect();
        for (left, right) in &merges {
            let joined = [&left[..], right].concat();
            if !tokens.iter().any(|t| t.1 == joined) {
                tokens.push((u32::try_from(tokens.len()).unwrap(), joined));
            }
        }
        let placed = specials.iter().map(|s| (s.clone(), None)).collect();
        let theirs = Vocab::from_parts(tokens, &merges, placed).unwrap();

        let dir = tempfile::tempdir().unwrap();
        for vocab in [ours, theirs] {
            save(dir.path(), &vocab, pattern).unwrap();
            let (loaded, loaded_pattern) = load(dir.path()).unwrap();
            prop_assert_eq!(loaded.sha256(pattern), vocab.sha256(pattern));
            prop_assert_eq!(&loaded, &vocab);
            prop_assert_eq!(loaded_pattern, pattern);
            let pair = (dir.path().join("vocab.json"), dir.path().join("merges.txt"));
            let from_pair = vocab_file::load_gpt2(&pair.0, &pair.1, &specials).unwrap();
            prop_assert_eq!(from_pair.merges(), vocab.merges());
            let path = dir.path().join("x.tiktoken");
            if vocab_file::export_tiktoken(&path, &Definition::new(vocab.clone(), "gpt2"), Existing::Replace).is_ok() {
                let given: Vec<_> = vocab.specials().iter().map(|s| (s.content.clone(), Some(s.id))).collect();
                prop_assert_eq!(vocab_file::load_tiktoken(&path, &given).unwrap(), vocab);
            }
        }
    }

    // fault: V5
    /// Arbitrary text in place of each file: an error, never a panic.
    #[test]
    fn arbitrary_files_never_panic(text in "\\PC{0,80}", lines in "([A-Za-z=+/]{0,6} ?[0-9]{0,3}\r?\n?){0,6}") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for text in [text, lines] {
            fs::write(&path, &text).unwrap();
            prop_assert!(load(&path).is_err());
            prop_assert!(vocab_file::load_tiktoken(&path, &[]).is_err());
            prop_assert!(vocab_file::load_gpt2(&path, &path, &[]).is_err());
        }
    }
}
