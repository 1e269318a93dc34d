//! The scanners against a regex engine that runs the canonical patterns, the rule for safe cuts, and custom patterns.

mod pieces;

use fancy_regex::Regex;
use pieces::{define, engines, split};
use proptest::prelude::*;
use std::sync::LazyLock;
use tinybpe::{Error, Pretokenizer, pretokenizer::NAMED};

/// The names of all patterns that have one.
fn names() -> impl Iterator<Item = &'static str> {
    NAMED.iter().map(|named| named.name)
}

static NAMED_PATTERNS: LazyLock<Vec<(Pretokenizer, Vec<Regex>)>> = LazyLock::new(|| {
    let with_engines = |pretokenizer: Pretokenizer| {
        let engines = engines(&pretokenizer);
        (pretokenizer, engines)
    };
    names().map(|name| with_engines(Pretokenizer::new(name).unwrap())).collect()
});

fn check(text: &[u8], batch: usize) {
    for (pretokenizer, regexes) in &*NAMED_PATTERNS {
        let expected = define(regexes, text).unwrap();
        let name = pretokenizer.name();
        let shown = String::from_utf8_lossy(text);
        assert_eq!(split(pretokenizer, text, batch), expected, "{name:?} on {shown:?}, {batch} at a time");
        for (way, pretokenizer) in pretokenizer.variants() {
            assert_eq!(split(&pretokenizer, text, batch), expected, "{name:?} on {shown:?}, {way}");
        }
    }
}

/// What the patterns tell apart, and neighbours of it: whitespace kinds, contractions in all cases with U+017F and the
/// Kelvin sign, digits, scripts with and without case, marks, title case, modifier letters, emoji, unassigned.
const ALPHABET: &[&str] = &[
    " ",
    " ",
    "  ",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\u{b}",
    "\u{85}",
    "\u{a0}",
    "\u{2003}",
    "\u{2028}",
    "\u{3000}",
    "\u{200b}",
    "\u{feff}",
    "'",
    "'",
    "’",
    "'s",
    "'S",
    "'ſ",
    "'t",
    "'re",
    "'RE",
    "'rE",
    "'ve",
    "'m",
    "'LL",
    "'lL",
    "'d",
    "'K",
    "s",
    "ſ",
    "\u{212a}",
    "l",
    "L",
    "r",
    "E",
    "v",
    "e",
    "a",
    "B",
    "hello",
    "World",
    "HTML",
    "iPhone",
    "é",
    "É",
    "ß",
    "ж",
    "Ж",
    "ǅ",
    "ʰ",
    "ー",
    "々",
    "日本",
    "語",
    "ひら",
    "カナ",
    "한",
    "ا",
    "ا\u{64e}",
    "\u{301}",
    "\u{20dd}",
    "\u{fe0f}",
    "1",
    "12",
    "1234567",
    "٣",
    "१",
    "²",
    "½",
    "Ⅷ",
    "一",
    "㊿",
    "!",
    "...",
    "/",
    "//",
    "-",
    "_",
    "#",
    "。",
    "、",
    "「",
    "€",
    "👍",
    "👩\u{200d}👩",
    "🏽",
    "\u{10ffff}",
    "\u{378}",
    "\u{e000}",
    "\0",
    "\u{1e921}",
    "𝐀",
    "𝟗",
    "𐐀",
    "𐐨",
    "🄰",
];

/// Bytes that are invalid, or become so where characters are missing around them.
const BROKEN: &[&[u8]] = &[
    b"\x80",
    b"\xBF",
    b"\xC0\x80",
    b"\xC2",
    b"\xC5",
    b"\xE3",
    b"\xE3\x81",
    b"\xE0\x80\x80",
    b"\xED\xA0\x80",
    b"\xF0\x9F",
    b"\xF0\x9F\x98",
    b"\xF0\x80\x80\x80",
    b"\xF4\x90\x80\x80",
    b"\xF8",
    b"\xFF",
];

fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        12 => prop::sample::select(ALPHABET).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => (prop::sample::select(ALPHABET), 1..20_usize).prop_map(|(word, times)| word.repeat(times)),
        3 => "[a-z]{1,9}",
        1 => "[a-z]{50,90}",
        1 => "[\u{3000}-\u{30ff}\u{4db0}-\u{4e10}\u{9ff0}-\u{a010}]{1,30}",
        1 => "[あ-んー々。、]{1,30}",
        1 => "[а-яА-Яa-zäöüß]{1,12}",
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// What the block scanner is made for: mostly ASCII, blocks of it.
fn ascii() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-z]{1,8}",
        4 => Just(" ".to_owned()),
        2 => "[A-Z]{0,2}[a-z]{0,3}[A-Z]{0,2}",
        2 => "('(s|t|re|ve|m|ll|d|S|RE|Ll)){1,3}",
        2 => "[ \\n\\r\\t]{1,5}",
        1 => "( {0,9}\\n){1,9} {0,70}",
        2 => "[0-9]{1,8}",
        2 => "[!/.'-]{1,4}[/\\n]{0,3}",
        1 => prop::sample::select(ALPHABET).prop_map(str::to_owned),
        1 => (prop::sample::select(ALPHABET), 1..70_usize).prop_map(|(word, times)| word.repeat(times)),
    ];
    prop::collection::vec(word, 0..120).prop_map(|words| words.concat())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        6 => prop::sample::select(ALPHABET).prop_map(|word| word.as_bytes().to_vec()),
        3 => prop::sample::select(BROKEN).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        2 => "[a-z ]{1,30}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn scanners_equal_the_regexes(text in text(), batch in 1..100_usize) {
        check(text.as_bytes(), batch);
    }

    #[test]
    fn scanners_equal_the_regexes_on_ascii(text in ascii(), batch in 1..300_usize) {
        check(text.as_bytes(), batch);
    }

    // fault: T8
    #[test]
    fn scanners_equal_the_definition_on_any_bytes(text in bytes(), batch in 1..100_usize) {
        check(&text, batch);
    }

    #[test]
    fn safe_cuts_are_safe(text in text()) {
        for name in names() {
            let pretokenizer = &NAMED_PATTERNS.iter().find(|(named, _)| named.name() == Some(name)).unwrap().0;
            let whole = split(pretokenizer, text.as_bytes(), 64);
            for (at, after) in text.char_indices() {
                let (left, right) = text.split_at(at);
                if left.chars().next_back().is_some_and(|before| pretokenizer.is_safe_cut(before, after)) {
                    let mut parts = split(pretokenizer, left.as_bytes(), 64);
                    parts.extend(split(pretokenizer, right.as_bytes(), 64).iter().map(|end| at + end));
                    prop_assert_eq!(&parts, &whole, "{} cut at {}: {:?} {:?}", name, at, left, right);
                }
            }
        }
    }
}

/// Every string of up to four of the characters on which the patterns turn.
#[test]
fn scanners_equal_the_regexes_on_all_short_strings() {
    let alphabet = [' ', '\n', '\t', '\u{a0}', '\'', '/', '!', 's', 'l', 'E', 'ſ', '語', '\u{301}', '1'];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        texts = texts.iter().flat_map(|text| alphabet.map(|c| format!("{text}{c}"))).collect();
        // Ended by an invalid byte, each is a text of its own.
        for texts in texts.chunks(64) {
            let text: Vec<u8> = texts.iter().flat_map(|text| [text.as_bytes(), b"\xFF"].concat()).collect();
            check(&text, 4096);
        }
    }
}

/// The rule is complete: for each pair of characters it says `true` exactly if no surrounding text shows a difference.
#[test]
fn the_rule_for_safe_cuts_is_exact() {
    let pair_alphabet = [
        ' ', '\t', '\u{a0}', '\n', '\r', '\'', '/', '!', '。', 'a', 's', 't', 'm', 'd', 'l', 'r', 'v', 'e',
        'A', 'S', 'L', 'R', 'V', 'E', 'ſ', 'ǅ', 'ʰ', '語', '\u{301}', '1', '²', '\u{378}',
    ];
    let around = [' ', '\n', '\'', '/', '!', 's', 'l', 'L', 'e', '語', '\u{301}', '1'];
    let mut contexts = vec![String::new()];
    contexts.extend(around.map(String::from));
    contexts.extend(around.iter().flat_map(|a| around.map(|b| format!("{a}{b}"))));
    for name in names() {
        let pretokenizer = Pretokenizer::new(name).unwrap();
        let pieces = |text: &str| split(&pretokenizer, text.as_bytes(), 16);
        let with_pieces = |text: String| (pieces(&text), text);
        for before in pair_alphabet {
            let lefts: Vec<_> = contexts.iter().map(|left| with_pieces(format!("{left}{before}"))).collect();
            for after in pair_alphabet {
                let rights: Vec<_> =
                    contexts.iter().map(|right| with_pieces(format!("{after}{right}"))).collect();
                let safe = lefts.iter().all(|(left_pieces, left)| {
                    rights.iter().all(|(right_pieces, right)| {
                        let parts = right_pieces.iter().map(|end| left.len() + end);
                        pieces(&format!("{left}{right}"))
                            .into_iter()
                            .eq(left_pieces.iter().copied().chain(parts))
                    })
                });
                assert_eq!(pretokenizer.is_safe_cut(before, after), safe, "{name}: {before:?} {after:?}");
            }
        }
    }
}

// fault: E1
/// Linear time: these would take hours with a scanner that goes back over a run for each of its characters.
#[test]
fn long_runs_take_linear_time() {
    for unit in [
        "a", "A", "語A", "語AA\n", " ", "\u{3000}", "\n ", " \n\n", "7", "!", "/\n", "'", "'s", "\u{301}",
        "\u{301}A", "\u{a0}'",
    ] {
        let text = unit.repeat(2_000_000 / unit.len());
        for name in names() {
            let pretokenizer = Pretokenizer::new(name).unwrap();
            let pieces = split(&pretokenizer, text.as_bytes(), 4096);
            assert_eq!(pieces.last(), Some(&text.len()), "{name} on {unit:?}");
        }
    }
}

#[test]
fn known_pieces() {
    let cases: [(&str, &str, &[&str]); 14] = [
        ("gpt2", "", &[]),
        ("gpt2", "It's 3 o'clock", &["It", "'s", " 3", " o", "'", "clock"]),
        ("gpt2", "IT'S", &["IT", "'", "S"]),
        ("gpt2", "a   b\n\n c", &["a", "  ", " b", "\n\n", " c"]),
        ("gpt2", "a \n", &["a", " \n"]),
        ("cl100k", "IT'S 12345", &["IT", "'S", " ", "123", "45"]),
        ("cl100k", "a'ſb", &["a", "'ſ", "b"]),
        ("cl100k", "a \n  ", &["a", " \n", "  "]),
        ("cl100k", "f(x);\n\n  y", &["f", "(x", ");\n\n", " ", " y"]),
        ("o200k", "don'T HTMLParser", &["don'T", " HTMLParser"]),
        ("o200k", "iPhone 語ABC", &["i", "Phone", " 語", "ABC"]),
        ("o200k", "//\n/ a\u{301}B", &["//\n/", " a\u{301}", "B"]),
        ("o200k", "\u{301}ABC", &["\u{301}", "ABC"]),
        ("o200k", "a's's't", &["a's", "'s't"]),
    ];
    for (name, text, expected) in cases {
        let mut start = 0;
        let pieces: Vec<_> = split(&Pretokenizer::new(name).unwrap(), text.as_bytes(), 16)
            .into_iter()
            .map(|end| &text[std::mem::replace(&mut start, end)..end])
            .collect();
        assert_eq!(pieces, expected, "{name} on {text:?}");
    }
}

#[test]
fn canonical_spellings_are_recognised() {
    for name in names() {
        let pretokenizer = Pretokenizer::new(name).unwrap();
        assert_eq!(pretokenizer.name(), Some(name));
        assert_eq!(Pretokenizer::new(pretokenizer.pattern()).unwrap().name(), Some(name));
    }
    let tiktoken = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s";
    assert_eq!(Pretokenizer::new(tiktoken).unwrap().name(), Some("gpt2"));
    assert_eq!(Pretokenizer::new(r"\S+|\s+").unwrap().name(), None);
    assert_eq!(Pretokenizer::new(r"\S+|\s+").unwrap().pattern(), r"\S+|\s+");
}

/// Gaps, empty matches, look-around, and one pattern that is a named one in a spelling that is not recognised.
const CUSTOM: &[&str] = &[
    r"\S+|\s+",
    r"[a-z]+",
    r"a*",
    r"|a",
    r"(?=a)",
    r"\b",
    r"(?<=a)b|(?<=\s)\S",
    r"\w+\b",
    r".",
    r"(?s).",
    r"^\w",
    r"\w$",
    r"(.)\1",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
];

proptest! {
    // fault: V6
    #[test]
    fn custom_patterns_equal_the_definition(pattern in prop::sample::select(CUSTOM), text in bytes(), batch in 1..20_usize) {
        let pretokenizer = Pretokenizer::new(pattern).unwrap();
        let expected = define(&[Regex::new(pattern).unwrap()], &text).unwrap();
        prop_assert_eq!(&split(&pretokenizer, &text, batch), &expected);
    }
}

// fault: V6
#[test]
fn a_bad_pattern_is_an_error() {
    for pattern in
        ["(", "[a", r"\p{Nope}", "*", r"(?<n>", r"\9", &"(".repeat(100_000), "((a{1000}){1000}){1000}"]
    {
        let error = Pretokenizer::new(pattern).unwrap_err();
        assert!(matches!(error, Error::Pattern { .. }), "{error}");
    }
}

// fault: V6
#[test]
fn a_pattern_that_calls_groups_is_refused() {
    for pattern in [r"a\g<0>?\g<0>?b", r"(a)(\g1\g1)(\g2\g2)", r"(?<x>\((?:[^()]|\g<x>)*\))"] {
        let error = Pretokenizer::new(pattern).unwrap_err();
        assert!(error.to_string().contains("calls a group"), "{error}");
    }
}

// fault: V6
#[test]
fn a_pattern_that_depends_on_the_search_is_refused() {
    for pattern in [r"a?\Kb", r"(?:\Gbc|b)+"] {
        let error = Pretokenizer::new(pattern).unwrap_err();
        assert!(error.to_string().contains("where a search begins"), "{error}");
    }
}

// fault: V6
#[test]
fn a_catastrophic_pattern_is_an_error() {
    let pretokenizer = Pretokenizer::new(r"((?:a|a)+(?=c))+\1b|\s+").unwrap();
    let text = format!("  {}", "a".repeat(60));
    let mut ends = [0; 4];
    let error = pretokenizer.pieces(text.as_bytes()).next_ends(&mut ends).unwrap_err();
    assert!(error.to_string().contains("backtrack"), "{error}");
}
