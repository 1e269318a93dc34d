//! Real tokenizers, if they lie beside the repository; each test says when its file is not there.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tinybpe::normalizer::Step;
use tinybpe::pipeline::Definition;
use tinybpe::vocab_file::Given;
use tinybpe::{Vocab, atomic::Existing, vocab_file};

const END: &str = "<|endoftext|>";

fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    eprintln!("{what}: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn gpt2() -> Option<Vocab> {
    let (json, merges) = (data("gpt2_vocab.json")?, data("gpt2_merges.txt")?);
    Some(timed("GPT-2 pair", || vocab_file::load_gpt2(&json, &merges, &[END.into()])).unwrap())
}

fn tiktoken(name: &str, specials: &[(String, Option<u32>)]) -> Option<Vocab> {
    let path = data(&format!("vocabs/{name}.tiktoken"))?;
    Some(timed(name, || vocab_file::load_tiktoken(&path, specials)).unwrap())
}

fn tokenizer_json(name: &str) -> Option<Definition> {
    let path = data(&format!("vocabs/{name}.tokenizer.json"))?;
    Some(timed(name, || vocab_file::load(&path, &Given::default())).unwrap())
}

#[test]
fn gpt2_is_the_same_in_all_three_formats() {
    let Some(pair) = gpt2() else { return };
    assert_eq!((pair.vocab_size(), pair.merges().len(), pair.special_id(END)), (50257, 50000, Some(50256)));
    if let Some(loaded) = tokenizer_json("gpt2") {
        let Definition { vocab, pattern, .. } = loaded;
        assert_eq!(vocab, pair);
        assert!(pattern.starts_with("'s|'t|'re"), "{pattern}");
    }
    if let Some(ranks) = tiktoken("r50k_base", &[(END.into(), Some(50256))]) {
        assert_eq!(ranks, pair);
    }
}

#[test]
fn cl100k_ranks_give_the_merges_that_dolma2_has() {
    let Some(ranks) = tiktoken("cl100k_base", &[]) else { return };
    assert_eq!((ranks.vocab_size(), ranks.merges().len()), (100_256, 100_000));
    let Some(loaded) = tokenizer_json("dolma2") else { return };
    let Definition { vocab, pattern, .. } = loaded;
    assert!(pattern.starts_with("(?i:'s|'t"), "{pattern}");
    assert_eq!(vocab.special_id(END), Some(100_257));
    assert!(vocab.merges() == ranks.merges(), "merges differ");
}

#[test]
fn o200k_ranks_load() {
    let Some(ranks) = tiktoken("o200k_base", &[(END.into(), Some(199_999))]) else { return };
    assert_eq!((ranks.vocab_size(), ranks.merges().len()), (200_000, 199_998 - 256));
}

#[test]
fn gpt_neox_normalizes_and_has_tokens_of_spaces() {
    let Some(Definition { vocab, pipeline, .. }) = tokenizer_json("gpt_neox") else { return };
    assert_eq!(pipeline.normalizer.steps(), [Step::Nfc]);
    assert_eq!(
        (vocab.vocab_size(), pipeline.added.iter().filter(|token| !token.special).count()),
        (50277, 23)
    );
}

#[test]
fn real_vocabularies_survive_saving() {
    let dir = tempfile::tempdir().unwrap();
    for vocab in [gpt2(), tiktoken("cl100k_base", &[(END.into(), None)])].into_iter().flatten() {
        timed("save", || {
            vocab_file::save(dir.path(), &Definition::new(vocab.clone(), r"\p{L}+|\P{L}"), Existing::Replace)
        })
        .unwrap();
        assert!(timed("load", || vocab_file::load(dir.path(), &Given::default())).unwrap().vocab == vocab);
        let path = dir.path().join("x.tiktoken");
        timed("export", || {
            vocab_file::export_tiktoken(&path, &Definition::new(vocab.clone(), "gpt2"), Existing::Replace)
        })
        .unwrap();
        let specials: Vec<_> = vocab.specials().iter().map(|s| (s.content.clone(), Some(s.id))).collect();
        assert!(vocab_file::load_tiktoken(&path, &specials).unwrap() == vocab);
    }
}
