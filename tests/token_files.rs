//! Token files: whatever threads, chunks, shards and interruptions, the ids are those of the texts.

use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use tinybpe::atomic::Existing;
use tinybpe::reader::{Inputs, TextBatch};
use tinybpe::token_file::{self, Dtype, Layout, Options, Shards, Written};
use tinybpe::{Encoder, Error, Monitor, Pretokenizer, Specials, TieBreak, WordCounts, trainer};

const END: &str = "<s>";

fn encoder(pattern: &str) -> Encoder {
    let pretokenizer = Pretokenizer::new(pattern).unwrap();
    let specials = [END.to_owned(), "<s>b".to_owned()];
    let words = [("ab", 3), (" ab", 2), (" aab", 1)].map(|(word, count)| (word.as_bytes(), count));
    let words = WordCounts::from_words(pretokenizer.pattern(), &specials, words).unwrap();
    let vocab = trainer::train(words, 262, TieBreak::Bytes, None, &Monitor::default()).unwrap();
    Encoder::new(vocab, pretokenizer).unwrap()
}

fn ids(encoder: &Encoder, text: &[u8], specials: Specials<'_>) -> Vec<u32> {
    let mut ids = Vec::new();
    encoder.encode(text, specials, &mut ids, &Monitor::default()).unwrap();
    ids
}

/// Options with which the token `<s>` ends documents: there are two, so it has to be said. Files of one run are replaced by the
/// next.
fn options() -> Options {
    Options {
        end_of_document: Some(END.into()),
        num_threads: Some(2),
        existing: Existing::Replace,
        ..Options::default()
    }
}

fn run(encoder: &Encoder, inputs: &Inputs, output: &Path, options: &Options) -> Result<Vec<Written>, Error> {
    let run = token_file::encode_file(encoder, "digest", inputs, output, options, &Monitor::default())?;
    Ok(run.files)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b" ",
        b"\n",
        b"abababababab",
        b"<s>",
        b"<s>",
        b"<s>b",
        b"\xFF",
        "é".as_bytes(),
    ]);
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

fn written(dir: &Path, texts: &[Vec<u8>], ending: &str) -> Vec<PathBuf> {
    let path = |i| dir.join(format!("{i}{ending}"));
    let paths: Vec<_> = (0..texts.len()).map(path).collect();
    for (path, text) in paths.iter().zip(texts) {
        std::fs::write(path, text).unwrap();
    }
    paths
}

/// The ids of texts as uint16, and where documents end among them.
fn expected(encoder: &Encoder, texts: &[Vec<u8>], ordinary: bool) -> (Vec<u8>, Vec<u64>) {
    let specials = if ordinary { Specials::Ordinary } else { Specials::Allowed };
    let (mut all, mut ends) = (Vec::new(), Vec::new());
    for text in texts {
        let before = all.len();
        for id in ids(encoder, text, specials) {
            all.push(id);
            if encoder.vocab().special_id(END) == Some(id) {
                ends.push(all.len() as u64);
            }
        }
        if all.len() > before && ends.last() != Some(&(all.len() as u64)) {
            ends.push(all.len() as u64);
        }
    }
    (uint16(&all), ends)
}

fn uint16(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|&id| u16::try_from(id).unwrap().to_le_bytes()).collect()
}

fn uint64(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn with(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{ending}", path.display()))
}

/// All files of a folder with their bytes.
fn folder(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), read(&path))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn a_token_file_does_not_depend_on_threads_or_chunks(
        texts in prop::collection::vec(text(), 1..4),
        threads in 1_usize..4,
        chunk_bytes in 1_usize..60,
        ordinary: bool,
        pattern in prop::sample::select(vec!["gpt2", "cl100k", "o200k", "deepseek", r"\w+|\W"]),
    ) {
        let encoder = encoder(pattern);
        let dir = tempfile::tempdir().unwrap();
        let inputs = Inputs::text(&written(dir.path(), &texts, ".txt"));
        let output = dir.path().join("x.bin");
        let options =
            Options { num_threads: Some(threads), ordinary, docs: true, chunk_bytes: Some(chunk_bytes), ..options() };
        let files = run(&encoder, &inputs, &output, &options).unwrap();
        let (bytes, ends) = expected(&encoder, &texts, ordinary);
        prop_assert_eq!(files.len(), 1);
        let sidecar = &files[0].1;
        prop_assert_eq!(&sidecar["num_tokens"], bytes.len() / 2);
        prop_assert_eq!(&sidecar["num_documents"], ends.len());
        prop_assert_eq!(&sidecar["num_bytes"], texts.iter().map(Vec::len).sum::<usize>());
        prop_assert_eq!(read(&output), bytes);
        prop_assert_eq!(read(&with(&output, "docs")), uint64(&ends));
        let in_file: Value = serde_json::from_slice(&read(&with(&output, "json"))).unwrap();
        prop_assert_eq!(&in_file, sidecar);
    }

    #[test]
    fn shards_are_the_whole_cut_at_documents(
        texts in prop::collection::vec(text(), 1..4),
        threads in 1_usize..4,
        chunk_bytes in 1_usize..60,
        rule in prop_oneof![(1_u32..6).prop_map(Shards::Count), (1_u64..40).prop_map(Shards::Tokens)],
        stop_after in 0_usize..6,
    ) {
        let encoder = encoder("gpt2");
        let dir = tempfile::tempdir().unwrap();
        let inputs = Inputs::text(&written(dir.path(), &texts, ".txt"));
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let shards = Some(rule);
        let options =
            Options { num_threads: Some(threads), docs: true, chunk_bytes: Some(chunk_bytes), shards, ..options() };
        let files = run(&encoder, &inputs, &out.join("x.bin"), &options).unwrap();

        let (bytes, ends) = expected(&encoder, &texts, false);
        let (mut joined, mut joined_ends) = (Vec::new(), Vec::new());
        for (index, (path, sidecar)) in files.iter().enumerate() {
            let before = joined.len() as u64 / 2;
            joined.extend(read(path));
            let index_bytes = read(&with(path, "docs"));
            let ends = index_bytes.chunks_exact(8).map(|end| before + u64::from_le_bytes(end.try_into().unwrap()));
            joined_ends.extend(ends);
            let is_last = index + 1 == files.len();
            prop_assert_eq!(&sidecar["shard"]["last"], is_last);
            let num_tokens = sidecar["num_tokens"].as_u64().unwrap();
            match rule {
                Shards::Count(count) => prop_assert_eq!(files.len(), count as usize),
                // Enough, and without the last document not enough.
                Shards::Tokens(tokens) => {
                    prop_assert!(is_last || num_tokens >= tokens);
                    let without_last = index_bytes.len().checked_sub(16).map_or(0, |at| {
                        u64::from_le_bytes(index_bytes[at..at + 8].try_into().unwrap())
                    });
                    prop_assert!(without_last < tokens);
                }
            }
        }
        prop_assert_eq!(joined, bytes);
        prop_assert_eq!(joined_ends, ends);

        // Neither threads nor chunks make a difference, nor being stopped after any shard.
        let whole = folder(&out);
        for (path, _) in files.iter().skip(stop_after) {
            std::fs::remove_file(with(path, "json")).unwrap();
        }
        if let Some((path, _)) = files.get(stop_after) {
            std::fs::write(path, "half").unwrap();
        }
        let again = Options { resume: true, chunk_bytes: None, num_threads: Some(1), ..options };
        prop_assert_eq!(run(&encoder, &inputs, &out.join("x.bin"), &again).unwrap(), files);
        prop_assert_eq!(folder(&out), whole);
    }

    #[test]
    fn documents_are_the_same_from_lines_and_one_by_one(
        texts in prop::collection::vec("[ab<s>é\"\\\\\n ]{0,12}", 0..20),
        threads in 1_usize..4,
        chunk_bytes in 1_usize..60,
        ordinary: bool,
        shard_tokens in prop::option::of(1_u64..30),
        num_skipped in 0_usize..4,
    ) {
        let encoder = encoder("gpt2");
        let end = encoder.vocab().special_id(END).unwrap();
        let specials = if ordinary { Specials::Ordinary } else { Specials::Allowed };
        let (mut all, mut ends) = (Vec::new(), Vec::new());
        for text in &texts {
            all.extend(ids(&encoder, text.as_bytes(), specials));
            all.push(end);
            ends.push(all.len() as u64);
        }
        let line = |text| serde_json::json!({"id": 1, "text": text}).to_string();
        let lines = texts.iter().map(line).collect::<Vec<_>>().join("\n");
        let dir = tempfile::tempdir().unwrap();
        let paths = written(dir.path(), &[lines.into_bytes()], ".jsonl");
        let inputs = Inputs { paths, field: Some("text".into()) };
        let options = Options {
            num_threads: Some(threads),
            ordinary,
            docs: true,
            chunk_bytes: Some(chunk_bytes),
            shards: shard_tokens.map(Shards::Tokens),
            ..options()
        };
        let by_lines = run(&encoder, &inputs, &dir.path().join("x.bin"), &options).unwrap();
        let one_by_one = |options: &Options| {
            let (sender, batches) = sync_channel(100);
            for texts in texts.chunks(3) {
                let mut batch = TextBatch::default();
                for text in texts {
                    batch.push(text.as_bytes());
                }
                sender.send(batch).unwrap();
            }
            drop(sender);
            let output = dir.path().join("y.bin");
            let monitor = Monitor::default();
            let run =
                token_file::encode_documents(&encoder, "digest", batches, &[], &output, options, &monitor);
            run.map(|run| run.files)
        };
        let by_texts = one_by_one(&options).unwrap();
        let joined = |files: &[Written]| files.iter().flat_map(|(path, _)| read(path)).collect::<Vec<u8>>();
        prop_assert_eq!(joined(&by_lines), uint16(&all));
        prop_assert_eq!(joined(&by_texts), uint16(&all));
        prop_assert_eq!(by_lines.len(), by_texts.len());
        if shard_tokens.is_none() {
            prop_assert_eq!(read(&dir.path().join("x.bin.docs")), uint64(&ends));
            prop_assert_eq!(&by_lines[0].1["num_bytes"], texts.iter().map(String::len).sum::<usize>());
        } else {
            // Stopped after some shards, and resumed: from the middle of the lines, and of the batches.
            for files in [&by_lines, &by_texts] {
                for (path, _) in files.iter().skip(num_skipped) {
                    std::fs::remove_file(with(path, "json")).unwrap();
                }
            }
            let again = Options { resume: true, chunk_bytes: None, ..options };
            prop_assert_eq!(&run(&encoder, &inputs, &dir.path().join("x.bin"), &again).unwrap(), &by_lines);
            prop_assert_eq!(&one_by_one(&again).unwrap(), &by_texts);
            prop_assert_eq!(joined(&by_lines), uint16(&all));
            prop_assert_eq!(joined(&by_texts), uint16(&all));
        }
    }
}

#[test]
fn compressed_files_are_their_text_and_damage_is_told() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let text = "ab aab\n<s>abab é".repeat(5000).into_bytes();
    let (left, right) = text.split_at(30_011);
    let gzip = |text: &[u8]| {
        let mut stream = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        stream.write_all(text).unwrap();
        stream.finish().unwrap()
    };
    let zstd = |text: &[u8]| {
        zstd::bulk::Compressor::new(3)
            .and_then(|mut c| {
                c.include_checksum(true)?;
                c.compress(text)
            })
            .unwrap()
    };
    let output = dir.path().join("x.bin");
    let (bytes, _) = expected(&encoder, std::slice::from_ref(&text), false);
    for (name, whole) in [
        // Two streams one after the other are one text, as `cat a.gz b.gz` makes them.
        ("a.gz", [gzip(left), gzip(right)].concat()),
        ("a.txt.zst", [zstd(left), zstd(right)].concat()),
    ] {
        let path = dir.path().join(name);
        let inputs = Inputs::text(std::slice::from_ref(&path));
        std::fs::write(&path, &whole).unwrap();
        for chunk_bytes in [100, 1 << 20] {
            let options = Options { chunk_bytes: Some(chunk_bytes), ..options() };
            run(&encoder, &inputs, &output, &options).unwrap();
            assert!(read(&output) == bytes, "{name}");
        }
        let mut flipped = whole.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 4;
        let no_stream = b"plain text, no stream".to_vec();
        for damaged in [&whole[..whole.len() - 1], &whole[..whole.len() / 3], &flipped, &no_stream] {
            std::fs::write(&path, damaged).unwrap();
            let error = run(&encoder, &inputs, &output, &options()).unwrap_err();
            let told = matches!(&error, Error::Input { path: told, .. } if *told == path);
            assert!(told && error.to_string().contains("cut short or damaged"), "{name}: {error}");
            assert!(read(&output) == bytes, "the old file stays");
        }
        std::fs::write(&path, &whole).unwrap();
        let count = Options { shards: Some(Shards::Count(2)), ..options() };
        let error = run(&encoder, &inputs, &output, &count).unwrap_err().to_string();
        assert!(error.contains("tokens per file"), "{error}");
    }
}

// fault: B3
#[test]
fn a_vocabulary_that_does_not_fit_the_integer_type_is_refused() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let inputs = Inputs::text(&written(dir.path(), &[b"x".to_vec()], ""));
    let to = |name: &str, dtype| {
        run(&encoder, &inputs, &dir.path().join(name), &Options { dtype, ..options() })
            .map(|files| files[0].1.clone())
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
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let input = written(dir.path(), &[b"a ".repeat(1 << 20)], "").remove(0);
    let output = dir.path().join("x.bin");
    let run = |inputs: &[PathBuf], monitor: &Monitor| {
        token_file::encode_file(&encoder, "", &Inputs::text(inputs), &output, &options(), monitor)
    };
    run(std::slice::from_ref(&input), &Monitor::default()).unwrap();
    let before = folder(dir.path());
    let missing = dir.path().join("missing");
    assert!(matches!(run(&[input.clone(), missing], &Monitor::default()), Err(Error::Io { .. })));
    let stopped = Monitor::default();
    stopped.stop();
    assert!(matches!(run(&[input], &stopped), Err(Error::Interrupted)));
    assert!(folder(dir.path()) == before);
}

// fault: B1
#[test]
fn what_killed_runs_left_is_cleared_away_and_nothing_else() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let inputs = Inputs::text(&written(dir.path(), &[b"ab<s>ab".to_vec()], ".txt"));
    for name in [".x.bin.abcdef.tmp", ".x.bin.json.abcdef.tmp", ".x-00003.bin.docs.AB0def.tmp", ".x.bin.lock"]
    {
        std::fs::write(dir.path().join(name), "left").unwrap();
    }
    let others = [".y.bin.abcdef.tmp", ".x.bin.old.abcdef.tmp", ".x.bin.tmp", "x.bin.notes"];
    for name in others {
        std::fs::write(dir.path().join(name), "another's").unwrap();
    }
    run(&encoder, &inputs, &dir.path().join("x.bin"), &options()).unwrap();
    let mut names: Vec<_> = folder(dir.path()).into_keys().collect();
    let mut expected: Vec<_> = ["0.txt", "x.bin", "x.bin.json"].into_iter().chain(others).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

// fault: B7
#[test]
fn a_run_of_other_text_or_options_is_not_resumed() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path(), &[b"ab<s>ab<s>ab<s>ab".to_vec()], ".txt");
    let output = dir.path().join("x.bin");
    let sharded = Options { shards: Some(Shards::Tokens(2)), resume: true, ..options() };
    assert_eq!(run(&encoder, &Inputs::text(&paths), &output, &sharded).unwrap().len(), 4);
    let other = Options { docs: true, ..sharded.clone() };
    let error = run(&encoder, &Inputs::text(&paths), &output, &other).unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
    std::fs::write(&paths[0], "ab<s>ab<s>").unwrap();
    let error = run(&encoder, &Inputs::text(&paths), &output, &sharded).unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
    // Anew: fewer shards, and none of the old ones is left to be taken for one of them.
    let anew = Options { resume: false, ..sharded };
    assert_eq!(run(&encoder, &Inputs::text(&paths), &output, &anew).unwrap().len(), 2);
    let names: Vec<_> = folder(dir.path()).into_keys().collect();
    assert_eq!(names, ["0.txt", "x-00000.bin", "x-00000.bin.json", "x-00001.bin", "x-00001.bin.json"]);
}

#[test]
fn documents_need_a_token_to_end_with() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path(), &[b"{\"t\": \"ab\"}\n{\"t\": \"b\"}".to_vec()], ".jsonl");
    let inputs = Inputs { paths, field: Some("t".into()) };
    let output = dir.path().join("x.bin");
    let ending = |end: Option<&str>| {
        let options = Options { end_of_document: end.map(Into::into), docs: true, ..options() };
        run(&encoder, &inputs, &output, &options).map(|files| files[0].1.clone())
    };
    for (end, reason) in [(None, "which token ends a document?"), (Some("<x>"), "`<x>` is no special token")]
    {
        let error = ending(end).unwrap_err();
        assert!(matches!(error, Error::SpecialToken(_)), "{error}");
        assert!(error.to_string().contains(reason) && error.to_string().contains("`<s>`, `<s>b`"), "{error}");
    }
    assert_eq!(ending(Some("<s>b")).unwrap()["end_of_document"], "<s>b");
    assert_eq!(ending(Some("")).unwrap()["end_of_document"], Value::Null);
    assert_eq!(read(&output), uint16(&[256, 98]));
    assert_eq!(read(&with(&output, "docs")), uint64(&[1, 2]));
}

#[test]
fn layouts_hold_the_same_ids() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let text = b"ab aab<s>ab".to_vec();
    let inputs = Inputs::text(&written(dir.path(), std::slice::from_ref(&text), ".txt"));
    let (bytes, ends) = expected(&encoder, &[text], false);
    for (name, layout, header) in
        [("x.bin", None, 0), ("x.npy", None, 128), ("x.ds", None, 0), ("y.bin", Some(Layout::LlmC), 1024)]
    {
        let output = dir.path().join(name);
        run(&encoder, &inputs, &output, &Options { layout, ..options() }).unwrap();
        assert_eq!(read(&output)[header..], bytes, "{name}");
    }
    assert_eq!(read(&dir.path().join("x.ds.index")), uint64(&ends));
}

/// What a call is refused with, after a look that nothing in the folder has changed.
fn refusal<T>(dir: &Path, call: impl FnOnce() -> Result<T, Error>) -> String {
    let before = folder(dir);
    let error = call().err().unwrap();
    assert!(matches!(error, Error::Output { .. }), "{error}");
    assert!(folder(dir) == before);
    error.to_string()
}

// fault: T15
#[cfg(unix)]
#[test]
fn no_file_that_a_run_writes_or_removes_is_one_that_it_reads() {
    let encoder = encoder("gpt2");
    let sharded = Options { shards: Some(Shards::Tokens(2)), ..options() };
    let counted = Options { shards: Some(Shards::Count(2)), ..options() };
    for (input, output, options) in [
        ("a", "a", options()),
        ("a.json", "a", options()),
        ("a.docs", "a", options()),
        ("a.metadata", "a", options()),
        (".a.lock", "a", options()),
        (".a.abcdef.tmp", "a", options()),
        (".a-00000.docs.abcdef.tmp", "a", options()),
        ("a", "link", options()),
        ("link", "a", options()),
        ("a", "hard", options()),
        ("a-00000.bin", "a.bin", sharded.clone()),
        ("a-00007.bin", "a.bin", sharded.clone()),
        ("a-00000.bin.json", "a.bin", sharded),
        ("a-00001-of-00002.bin", "a.bin", counted),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [input, "other"] {
            std::fs::write(at(name), "ab<s>ab<s>").unwrap();
        }
        if input == "link" {
            std::fs::remove_file(at(input)).unwrap();
            std::fs::write(at("a"), "ab<s>ab<s>").unwrap();
        }
        if [input, output].contains(&"link") {
            std::os::unix::fs::symlink("a", at("link")).unwrap();
        }
        if output == "hard" {
            std::fs::hard_link(at("a"), at("hard")).unwrap();
        }
        let inputs = Inputs::text(&[at("other"), at(input)]);
        let error = refusal(dir.path(), || run(&encoder, &inputs, &at(output), &options));
        assert!(error.contains("read"), "{input} {output}: {error}");
        // The tokenizer's own files are read as well.
        let (inputs, options) =
            (Inputs::text(&[at("other")]), Options { also_read: vec![at(input)], ..options });
        refusal(dir.path(), || run(&encoder, &inputs, &at(output), &options));
    }
}

// fault: T15
#[test]
fn a_token_file_is_replaced_unasked_by_the_same_run_alone() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let texts = [b"ab<s>ab".to_vec(), b"ab".to_vec()];
    let paths = written(dir.path(), &texts, ".txt");
    let output = dir.path().join("x.bin");
    let keep = Options { existing: Existing::Keep, docs: true, ..options() };
    let (one, both) = (Inputs::text(&paths[..1]), Inputs::text(&paths));
    run(&encoder, &one, &output, &keep).unwrap();
    let first = folder(dir.path());
    run(&encoder, &one, &output, &keep).unwrap();
    assert!(folder(dir.path()) == first);
    for (inputs, options) in [
        (&both, keep.clone()),
        (&one, Options { dtype: Some(Dtype::Uint32), ..keep.clone() }),
        (&one, Options { layout: Some(Layout::LlmC), ..keep.clone() }),
        (&one, Options { end_of_document: Some(String::new()), ..keep.clone() }),
        (&one, Options { docs: false, ..keep.clone() }),
        // Found when the ids are known.
        (&one, Options { ordinary: true, ..keep.clone() }),
    ] {
        let error = refusal(dir.path(), || run(&encoder, inputs, &output, &options));
        assert!(error.contains("made from 0.txt") && error.contains("overwrite=True"), "{error}");
    }
    refusal(dir.path(), || {
        token_file::encode_file(&encoder, "another", &one, &output, &keep, &Monitor::default())
    });
    std::fs::write(&paths[0], "ab ab ab").unwrap();
    refusal(dir.path(), || run(&encoder, &one, &output, &keep));
    // What has no sidecar may be anything, as may a file beside it.
    for name in ["y.bin", "y.bin.json", "y.bin.docs", "y.bin.index", "y.bin.metadata"] {
        let taken = dir.path().join(name);
        std::fs::write(&taken, "{}").unwrap();
        let error = refusal(dir.path(), || run(&encoder, &one, &dir.path().join("y.bin"), &keep));
        assert!(error.contains(name) && error.contains("it may be anything"), "{error}");
        std::fs::remove_file(taken).unwrap();
    }
    // A sidecar whose token file was removed is worth nothing.
    std::fs::remove_file(&output).unwrap();
    run(&encoder, &one, &output, &keep).unwrap();
    refusal(dir.path(), || run(&encoder, &one, Path::new("-"), &keep));
}

// fault: T15
#[test]
fn shards_are_replaced_unasked_by_the_same_run_alone() {
    let encoder = encoder("gpt2");
    let dir = tempfile::tempdir().unwrap();
    let inputs = Inputs::text(&written(dir.path(), &[b"ab<s>ab<s>ab<s>ab".to_vec()], ".txt"));
    let output = dir.path().join("x.bin");
    for (shards, others) in [(Shards::Tokens(2), Shards::Tokens(4)), (Shards::Count(2), Shards::Tokens(4))] {
        let keep = Options { existing: Existing::Keep, shards: Some(shards), ..options() };
        let files = run(&encoder, &inputs, &output, &keep).unwrap();
        let before = folder(dir.path());
        assert_eq!(run(&encoder, &inputs, &output, &keep).unwrap(), files);
        assert!(folder(dir.path()) == before);
        let other = Options { docs: true, ..keep.clone() };
        let error = refusal(dir.path(), || run(&encoder, &inputs, &output, &other));
        assert!(error.contains("by another run"), "{error}");
        if shards == Shards::Tokens(2) {
            let longer = Options { shards: Some(others), ..keep.clone() };
            refusal(dir.path(), || run(&encoder, &inputs, &output, &longer));
        }
        // The first shard gone, those after it may be anything.
        std::fs::remove_file(&files[0].0).unwrap();
        std::fs::remove_file(with(&files[0].0, "json")).unwrap();
        refusal(dir.path(), || run(&encoder, &inputs, &output, &keep));
        run(&encoder, &inputs, &output, &Options { existing: Existing::Replace, ..keep }).unwrap();
    }
}
