//! Patterns made up from bytes, split by the library and by the regex engine alone.
//!
//! The bytes choose from a grammar of what the compiler knows, and of some constructs that it leaves to the engine, so that
//! sequences have stages of both kinds. Patterns are small, so that the engine is quick: what takes it many steps is skipped.

#[path = "../pieces/mod.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod pieces;

use super::{Input, split};
use fancy_regex::{Regex, RegexBuilder};
use sha2::{Digest, Sha256};
use tinybpe::Pretokenizer;

/// Characters that are matched, as written in a pattern: cases that fold to each other, white space, letters, digits.
const LITERALS: &[&str] = &[
    "a", "b", "c", "ab", "A", "s", "k", "1", " ", r"\n", r"\r", "'", "é", "日", "ſ", "\u{212a}", r"\.", "_",
    "\u{301}", "-",
];

/// Sets, as written in a pattern; those that are most different first.
const SETS: &[&str] = &[
    "[ab]",
    "[^a]",
    ".",
    r"\s",
    r"\S",
    r"\d",
    r"\p{L}",
    r"\p{N}",
    r"\w",
    r"\W",
    r"[^\s\p{L}\p{N}]",
    r"[\r\n]",
    r"[^\r\n]",
    r"[a-c&&[^b]]",
    r"[\p{L}&&[^\p{Lu}a]]",
    r"(?s:.)",
    r"\p{Lu}",
    "[a-cA1]",
    r"\p{M}",
    r"[^\w\s]",
    r"\D",
    "[a&&b]",
    "[k-sK]",
];

/// What matches the empty string, as written in a pattern; the last of them are for the engine.
const EMPTY: &[&str] =
    &["$", r"\z", r"\A", r"\b", r"\B", "(?!.)", "^", r"\Z", "(?m:$)", "(?<=a)", r"(?<!\s)", "(?m:^)"];

/// Parts of texts: what the literals and sets tell apart.
const TEXTS: &[&str] = &[
    "a", "b", "c", "ab", "aa", "A", "B", "s", "S", "k", "K", "1", "2", "12", "٣", "½", " ", "  ", "\n", "\r",
    "\r\n", "\t", "\u{a0}", "'", "é", "É", "日", "日本", "ſ", "\u{212a}", ".", "_", "-", "\u{301}",
    "e\u{301}", "ǅ", "🙂", "\u{85}", "\u{2028}", "\0",
];

/// The most steps back that the engine may take on a text.
const MOST_STEPS: usize = 20_000;

/// Makes up a pattern.
struct Maker<'i, 'd> {
    input: &'i mut Input<'d>,
    /// How many more atoms it may have.
    left: usize,
    /// Of how many literals and sets it is made: of few, much in a text is matched in several ways.
    num_choices: usize,
}

impl Maker<'_, '_> {
    fn choose<'c>(&mut self, choices: &[&'c str]) -> &'c str {
        choices[usize::from(self.input.byte()) % choices.len().min(self.num_choices)]
    }

    fn alternatives(&mut self, depth: usize) -> String {
        let num = [1, 1, 2, 2, 3][usize::from(self.input.byte()) % 5];
        (0..num).map(|_| self.concatenation(depth)).collect::<Vec<_>>().join("|")
    }

    fn concatenation(&mut self, depth: usize) -> String {
        let num = [1, 1, 2, 2, 3, 0][usize::from(self.input.byte()) % 6];
        (0..num).map(|_| self.repeated(depth)).collect()
    }

    fn repeated(&mut self, depth: usize) -> String {
        let mut atom = self.atom(depth);
        let choice = self.input.byte();
        let (min, more) = (choice >> 6, usize::from(choice >> 4 & 3));
        let times = match choice & 15 {
            0..=4 => return atom,
            5 | 6 => "?".to_owned(),
            7..=9 => "*".to_owned(),
            10 | 11 => "+".to_owned(),
            12 => format!("{{{min}}}"),
            13 => format!("{{{min},}}"),
            _ => format!("{{{min},{}}}", usize::from(min) + more),
        };
        if atom.starts_with("(?=") || atom.starts_with("(?!") || EMPTY.contains(&&*atom) {
            atom = format!("(?:{atom})"); // the engine repeats it in a group alone
        }
        format!("{atom}{times}{}", self.choose(&["", "", "?", "+"]))
    }

    fn atom(&mut self, depth: usize) -> String {
        let choice = self.input.byte() & 31;
        self.left = self.left.saturating_sub(1);
        if depth == 0 || self.left == 0 || choice < 14 {
            return match choice {
                0..=5 => self.choose(LITERALS).to_owned(),
                6..=12 => self.choose(SETS).to_owned(),
                _ => self.choose(EMPTY).to_owned(),
            };
        }
        let open = match choice {
            14..=17 => "(?:",
            18 => "(",
            19 | 20 => "(?i:",
            21..=26 => "(?>",
            27..=29 => "(?=",
            _ => "(?!",
        };
        let inner = self.alternatives(depth - 1);
        format!("{open}{inner})")
    }
}

/// Reads a text.
fn text(input: &mut Input, num_choices: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..input.byte() % 24 {
        let byte = input.byte();
        match byte {
            0..=247 => text.extend(TEXTS[usize::from(byte) % TEXTS.len().min(num_choices)].bytes()),
            248..=251 => {
                let code = u32::from(input.byte()) << 16 | u32::try_from(input.number()).unwrap_or(0);
                text.extend(char::from_u32(code % 0x11_0000).unwrap_or(char::MAX).to_string().bytes());
            }
            _ => text.push(input.byte()),
        }
    }
    text
}

/// What an input stands for: one to three regexes, the size of batches, and texts.
pub struct Case {
    /// The regexes.
    pub regexes: Vec<String>,
    batch: usize,
    /// The texts.
    pub texts: Vec<Vec<u8>>,
}

/// How many texts are split: making the automata takes far longer than splitting a short text.
const NUM_TEXTS: u64 = 40;

impl Case {
    /// Reads an input: the first text byte by byte, then the regexes; the other texts follow from a number made of them.
    pub fn new(data: &[u8]) -> Self {
        let mut input = Input(data);
        let head = input.byte();
        let num_regexes = [1, 1, 2, 3][usize::from(head & 3)];
        let num_choices = [4, 4, 8, 100][usize::from(head >> 6)];
        let mut texts = vec![text(&mut input, num_choices)];
        let regex = |_| Maker { input: &mut input, left: 14, num_choices }.alternatives(3);
        let regexes: Vec<String> = (0..num_regexes).map(regex).collect();
        texts.extend((0..NUM_TEXTS).map(|index| {
            let digest = Sha256::digest([data, &index.to_le_bytes()].concat());
            text(&mut Input(&digest), num_choices)
        }));
        Self { regexes, batch: usize::from(head >> 2 & 15) + 1, texts }
    }

    /// Whether the library splits as the engine does; the difference in words. `None` if the engine takes no such regex.
    pub fn compare(&self) -> Option<Result<(), String>> {
        let engines =
            self.regexes.iter().map(|regex| RegexBuilder::new(regex).backtrack_limit(MOST_STEPS).build());
        let engines: Vec<Regex> = engines.collect::<Result<_, _>>().ok()?;
        let pretokenizer = Pretokenizer::sequence(&self.regexes).ok()?;
        for text in &self.texts {
            let Ok(expected) = pieces::define(&engines, text) else { continue };
            if let Err(difference) = self.compare_text(&pretokenizer, text, &expected) {
                let (shown, bytes) = (String::from_utf8_lossy(text), text.escape_ascii());
                return Some(Err(format!("{:?} on {shown:?} (b\"{bytes}\"): {difference}", self.regexes)));
            }
        }
        Some(Ok(()))
    }

    fn compare_text(
        &self,
        pretokenizer: &Pretokenizer,
        text: &[u8],
        expected: &[usize],
    ) -> Result<(), String> {
        let split = |text: &[u8], batch| {
            let ends = split(pretokenizer, text, batch).map_err(|error| error.to_string())?;
            Ok::<_, String>(ends.into_iter().map(|end| end as usize).collect::<Vec<_>>())
        };
        for batch in [1000, self.batch, 1] {
            let ours = split(text, batch)?;
            if ours != expected {
                return Err(format!("in batches of {batch}: {ours:?}, the engine: {expected:?}"));
            }
        }
        let Ok(text) = std::str::from_utf8(text) else { return Ok(()) };
        for (at, after) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(at);
            if !left.chars().next_back().is_some_and(|before| pretokenizer.is_safe_cut(before, after)) {
                continue;
            }
            let (Ok(mut parts), Ok(rest)) = (split(left.as_bytes(), 64), split(right.as_bytes(), 64)) else {
                continue; // a regex engine took too many steps on a part
            };
            parts.extend(rest.iter().map(|end| at + end));
            if parts != expected {
                return Err(format!("cut at {at}: {parts:?}, whole: {expected:?}"));
            }
        }
        Ok(())
    }
}

/// A pattern and a text: pieces are those of the engine, whatever the size of batches, and cuts that are called safe are.
pub fn compile(data: &[u8]) {
    if let Some(Err(difference)) = Case::new(data).compare() {
        panic!("{difference}");
    }
}
