//! Compiled patterns against the regex engine: those of published tokenizers, constructs one by one, and sequences.

mod pieces;

use fancy_regex::Regex;
use pieces::{define, engines, split};
use proptest::prelude::*;
use std::sync::LazyLock;
use tinybpe::Pretokenizer;

/// Patterns that are compiled, those of published tokenizers first.
const COMPILED: &[&str] = &[
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+(?#copy)",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
    r"\p{N}{1,3}|\s{512}(?!\S)|\s{256}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
    r"(?=(\d{3})+(?!\d))",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)|\p{Nd}{3}",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"a*b|a",
    r"\d*",
    r"(a|ab)(c|bcd)(d*)|x(?=ab|cd)|y(?!a(?=b))|.{2}?",
    r"(?>a|ab)c|(?:a\d)*+b|a+?b",
    r"(?>(?:a|ab)+?)c|(?>(?:a|ab){1}?)d|(?>b*?)x",
    r"\w+\b|\w\B",
    r"abcd|x12|[a-z]",
    r"'(?:s|RE)x|345(?!a)|a(?=b)|  a|[^a]",
    r"abcdabx|aaxx|yyxa|bxyxy|dcba|cddc|[a-d]+",
];

/// Sequences that are compiled, some to one table, some to one automaton, some to several.
const SEQUENCES: &[&[&str]] = &[
    &[
        r"\p{N}{1,3}",
        r"[一-龥぀-ゟ゠-ヿ]+",
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    &[r"\p{N}", r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"],
    &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+"],
    &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    &[
        r"\d{1,3}(?=(?:\d{3})*\b)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    &[r"\p{N}{1,3}", r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    &[r"\p{P}+", r" ?\p{L}+| ?\p{N}+|\s+(?!\S)|\s+", r"\p{N}+", r"[0-9][0-9][0-9]"],
    &[r"\p{N}{2}", r"\p{N}"],
    &[r"\p{Nd}+", r"\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z)|\p{Nd}{3}"],
    &[r"a+", r"a*b|a"],
];

/// Patterns for the regex engine, with what the reason says.
const NOT_COMPILED: &[(&str, &str)] = &[
    (r"(?<=a)b|\w+", "look-behind"),
    (r"(.)\1|\w+", "group"),
    (r"\b\w+|\s", "word boundary"),
    (r"^\w+|(?m:^)\s", "stands before"),
    (r"(?>a*ab)|b", "atomic group"),
    (r"(?>(?:ab?)*b)b", "atomic group"),
    (r"(?:a|b)*a(?:a|b){13}", "states"),
    (r"(a*)*b", "without end"),
];

const ALPHABET: &[&str] = &[
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "'",
    "'s",
    "'RE",
    "'ſ",
    "a",
    "b",
    "c",
    "d",
    "x",
    "y",
    "ab",
    "A",
    "B",
    "é",
    "É",
    "ǅ",
    "ʰ",
    "ー",
    "日本",
    "カ・",
    "゠",
    "한",
    "ا\u{64e}",
    "\u{301}",
    "1",
    "12",
    "345",
    "٣",
    "½",
    ".",
    "-",
    "/",
    "(",
    "(((",
    "…",
    "।",
    "_",
    "$",
    "🙂",
    "\u{200d}",
    "hello",
    "World",
    "HTML",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        20 => prop::sample::select(ALPHABET).prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
        1 => any::<char>().prop_map(|c| c.to_string().into_bytes()),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

static MADE: LazyLock<Vec<(Pretokenizer, Vec<Regex>)>> = LazyLock::new(|| {
    let singles = COMPILED.iter().map(std::slice::from_ref).chain(SEQUENCES.iter().copied());
    let all = singles.chain(NOT_COMPILED.iter().map(|(pattern, _)| std::slice::from_ref(pattern)));
    all.map(|patterns| {
        let pretokenizer = Pretokenizer::sequence(patterns).unwrap();
        let engines = patterns.iter().map(|pattern| Regex::new(pattern).unwrap()).collect();
        (pretokenizer, engines)
    })
    .collect()
});

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[test]
fn what_is_regular_is_compiled() {
    for (pretokenizer, _) in &MADE[..COMPILED.len() + SEQUENCES.len()] {
        assert_eq!(pretokenizer.not_compiled(), None, "{}", pretokenizer.pattern());
    }
    for ((pattern, reason), (pretokenizer, _)) in
        NOT_COMPILED.iter().zip(&MADE[COMPILED.len() + SEQUENCES.len()..])
    {
        let told = pretokenizer.not_compiled().unwrap_or_default();
        assert!(told.contains(reason), "{pattern}: {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    // fault: V6
    #[test]
    fn pieces_are_those_of_the_engine(text in text(), batch in 1..20_usize) {
        for (pretokenizer, engines) in &*MADE {
            let expected = define(engines, &text).unwrap();
            prop_assert_eq!(split(pretokenizer, &text, batch), expected, "{} on {:?}", pretokenizer.pattern(), shown(&text));
        }
    }

    #[test]
    fn every_way_to_scan_finds_the_same_pieces(text in text(), repeat in 1..5_usize, batch in 1..300_usize) {
        let text = text.repeat(repeat);
        for (pretokenizer, _) in &MADE[..COMPILED.len() + SEQUENCES.len()] {
            let expected = split(pretokenizer, &text, 1000);
            for (name, variant) in pretokenizer.variants() {
                let found = split(&variant, &text, batch);
                prop_assert_eq!(&found, &expected, "{} {} on {:?}", name, pretokenizer.pattern(), shown(&text));
            }
        }
    }

    #[test]
    fn safe_cuts_are_safe(text in text()) {
        let text = shown(&text);
        for (pretokenizer, _) in &*MADE {
            let whole = split(pretokenizer, text.as_bytes(), 64);
            for (at, after) in text.char_indices() {
                let (left, right) = text.split_at(at);
                if left.chars().next_back().is_some_and(|before| pretokenizer.is_safe_cut(before, after)) {
                    let mut parts = split(pretokenizer, left.as_bytes(), 64);
                    parts.extend(split(pretokenizer, right.as_bytes(), 64).iter().map(|end| at + end));
                    prop_assert_eq!(&parts, &whole, "{} cut at {}: {:?} {:?}", pretokenizer.pattern(), at, left, right);
                }
            }
        }
    }
}

/// Each pattern of a published tokenizer can be cut somewhere in ordinary text.
#[test]
fn published_patterns_can_be_cut() {
    for (pretokenizer, _) in
        MADE.iter().filter(|(pretokenizer, _)| pretokenizer.pattern().contains(r"\s+(?!\S)"))
    {
        let text = "Some words; 3 of them.\n\nfor (x = 1) { }\n";
        let cuts =
            text.chars().zip(text.chars().skip(1)).filter(|&(a, b)| pretokenizer.is_safe_cut(a, b)).count();
        assert!(cuts >= 4, "{cuts}: {}", pretokenizer.pattern());
    }
}

/// Texts on which going back for each piece would take hours.
#[test]
fn every_pattern_takes_linear_time() {
    for unit in ["a", " ", "7", "語", "\n ", "a\u{301}", "aB", "("] {
        let text = unit.repeat(1_000_000 / unit.len());
        for (pretokenizer, _) in MADE.iter().filter(|(pretokenizer, _)| pretokenizer.not_compiled().is_none())
        {
            let pieces = split(pretokenizer, text.as_bytes(), 512);
            assert_eq!(pieces.last(), Some(&text.len()), "{} on {unit:?}", pretokenizer.pattern());
        }
    }
}

#[test]
fn a_spelling_does_not_matter() {
    let spellings = [
        (
            "nanochat",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
        (
            "qwen2",
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ),
        (
            "cl100k",
            r"(?i:'(?:[stmd]|re|ve|ll))|[^\p{N}\p{L}\n\r]?[\p{L}]+|\p{N}\p{N}?\p{N}?| ?[^\s\p{L}\p{N}]+[\n\r]*|\s*[\r\n]+|\s++(?!\S)|\s+(?!\S)|\s+",
        ),
        ("gpt2", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"),
    ];
    for (name, spelling) in spellings {
        let (named, spelled) = (Pretokenizer::new(name).unwrap(), Pretokenizer::new(spelling).unwrap());
        assert_eq!((named.name(), named.pattern()), (spelled.name(), spelled.pattern()), "{spelling}");
    }
    // Nearly the same, and yet no text may be split by another pattern than its own.
    for (name, from, to) in [
        ("cl100k", "'m|", ""),
        ("o200k", "/]*", "]*"),
        ("cl100k", r"|\s*[\r\n]+", r"|\s++$|\s*[\r\n]+"),
        ("gpt2", r"|\s+(?!\S)", ""),
        ("qwen2", r"[\r\n]*|", "|"),
    ] {
        let named = Pretokenizer::new(name).unwrap();
        let other = Pretokenizer::new(&named.pattern().replace(from, to)).unwrap();
        assert!(!other.is_block_scanned(), "{}", other.pattern());
        assert_eq!(engines(&other).len(), 1);
    }
}

#[test]
fn a_sequence_is_written_and_read() {
    let pretokenizer = Pretokenizer::new("deepseek").unwrap();
    assert!(pretokenizer.pattern().starts_with(r#"{"pretokenizers":[{"#), "{}", pretokenizer.pattern());
    let again = Pretokenizer::new(pretokenizer.pattern()).unwrap();
    assert_eq!(again.name(), Some("deepseek"));
    assert_eq!(again.regexes(), pretokenizer.regexes());
    for damaged in
        [r#"{"type":"Sequence"}"#, r#"{"type"#, r#"{"type":"Sequence","pretokenizers":[{"type":"Digits"}]}"#]
    {
        let error = Pretokenizer::new(damaged).unwrap_err().to_string();
        assert!(error.contains("sequence") || error.contains("JSON"), "{error}");
    }
}

#[test]
fn what_looks_like_a_name_is_one() {
    for (alias, name) in
        [("cl100k_base", "cl100k"), ("r50k_base", "gpt2"), ("o200k_base", "o200k"), ("llama3", "cl100k")]
    {
        assert_eq!(Pretokenizer::new(alias).unwrap().name(), Some(name));
    }
    let error = Pretokenizer::new("gpt5_base").unwrap_err().to_string();
    assert!(error.contains("gpt2, cl100k, o200k"), "{error}");
}
