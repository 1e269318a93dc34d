//! Text to pieces: the pretokenizer.
//!
//! The three patterns that vocabularies in use are made with (`gpt2`, `cl100k`, `o200k`) have hand-written scanners,
//! exact and linear in the length of any text; every other pattern runs through a regex engine. Special tokens are the
//! caller's business: it cuts them out first.
//!
//! **Text policy.** Text is bytes. Each maximal run of valid UTF-8 is split on its own, its end counting as the end of
//! the text; each byte that is no part of a valid character is a piece of its own. If a custom pattern leaves a gap,
//! the gap is a piece; empty matches are skipped. So the pieces always join to the text.
//!
//! **Interface.** Training and encoding spend their time here, so pieces come in batches, as end offsets written into
//! the caller's buffer: no allocation, no call per piece, nothing borrowed. An iterator of slices was rejected: it
//! returns to the caller for each five bytes and cannot emit the boundaries of a block of text together.

#![allow(clippy::inline_always, reason = "the block scanner must be compiled as one function: see `simd`")]

mod blocks;
mod cl100k;
mod classes;
mod custom;
mod gpt2;
mod o200k;
mod simd;

use crate::error::{Error, Result};
use blocks::fill;
use cl100k::Cl100k;
use classes::CLASSES;
use custom::{Custom, Run};
use gpt2::Gpt2;
use o200k::O200k;
use simd::Level;

/// A pattern, ready to split text. Clones are cheap; give each thread its own, since a custom pattern has scratch space.
#[derive(Clone, Debug)]
pub struct Pretokenizer {
    kind: Kind,
    level: Level,
}

#[derive(Clone, Debug)]
enum Kind {
    Gpt2,
    Cl100k,
    O200k,
    Custom(Custom),
}

impl Default for Pretokenizer {
    /// The `gpt2` pattern.
    fn default() -> Self {
        Self::from(Kind::Gpt2)
    }
}

impl From<Kind> for Pretokenizer {
    fn from(kind: Kind) -> Self {
        Self { kind, level: Level::best() }
    }
}

impl Pretokenizer {
    /// Makes a pretokenizer from a name (`gpt2`, `cl100k`, `o200k`) or from a regex. The canonical spelling of a named
    /// pattern gives the named one.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the regex does not compile.
    pub fn new(pattern: &str) -> Result<Self> {
        Ok(Self::from(match pattern {
            "gpt2" | gpt2::PATTERN | gpt2::TIKTOKEN_PATTERN => Kind::Gpt2,
            "cl100k" | cl100k::PATTERN => Kind::Cl100k,
            "o200k" | o200k::PATTERN => Kind::O200k,
            _ => Kind::Custom(Custom::new(pattern)?),
        }))
    }

    /// The regex: the canonical spelling of a named pattern, a custom one as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        match &self.kind {
            Kind::Gpt2 => gpt2::PATTERN,
            Kind::Cl100k => cl100k::PATTERN,
            Kind::O200k => o200k::PATTERN,
            Kind::Custom(custom) => custom.pattern(),
        }
    }

    /// `gpt2`, `cl100k`, `o200k`, or `None` for a custom pattern.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Gpt2 => Some("gpt2"),
            Kind::Cl100k => Some("cl100k"),
            Kind::O200k => Some("o200k"),
            Kind::Custom(_) => None,
        }
    }

    /// Writes the ends of the next pieces of `text` into `ends`, as offsets from the start of `text`, and returns how
    /// many: `ends.len()`, or fewer if the text is done. `start` is 0 or the end of an earlier piece; the caller goes on
    /// from the last end.
    ///
    /// ```
    /// # use tinybpe::Pretokenizer;
    /// let mut ends = [0; 8];
    /// let num_ends = Pretokenizer::new("gpt2")?.next_ends(b"It's 3 o'clock", 0, &mut ends)?;
    /// assert_eq!(ends[..num_ends], [2, 4, 6, 8, 9, 14]);
    /// # Ok::<(), tinybpe::Error>(())
    /// ```
    ///
    /// Empty text has no pieces. Named patterns take time linear in the bytes that the pieces cover. A custom pattern
    /// looks at the whole text in each call, to know where the run of valid UTF-8 ends; [`Pretokenizer::pieces`] knows.
    ///
    /// # Errors
    /// [`Error::Pattern`] if a custom pattern backtracks past the engine's limit, or if the text has 4 GiB or more.
    pub fn next_ends(&self, text: &[u8], start: usize, ends: &mut [u32]) -> Result<usize> {
        let run = if let Kind::Custom(_) = self.kind { Run::around(text, start) } else { Run::default() };
        Pieces { pretokenizer: self, text, start, run }.next_ends(ends)
    }

    /// All pieces of `text`, batch by batch. This is the way for long text and a pattern that may be a custom one.
    #[must_use]
    pub fn pieces<'a>(&'a self, text: &'a [u8]) -> Pieces<'a> {
        Pieces { pretokenizer: self, text, start: 0, run: Run::default() }
    }

    /// Whether text may be cut between two characters: `true` if the pieces of a whole text are always the pieces of its
    /// left part and then those of its right part, whatever else stands in both. Always `false` for a custom pattern.
    ///
    /// The answer is not only sound but complete: where it is `false` for a named pattern, some text shows why. All
    /// patterns allow a cut between a letter and a space; between a Chinese character and the punctuation behind it too.
    #[must_use]
    pub fn is_safe_cut(&self, before: char, after: char) -> bool {
        match self.kind {
            Kind::Gpt2 => gpt2::is_safe_cut(&CLASSES, before, after),
            Kind::Cl100k => cl100k::is_safe_cut(&CLASSES, before, after),
            Kind::O200k => o200k::is_safe_cut(&CLASSES, before, after),
            Kind::Custom(_) => false,
        }
    }

    /// The same pretokenizer in all ways to scan that this machine has, from one piece at a time to the fastest, by name. For
    /// tests and benchmarks: they find the same pieces.
    #[doc(hidden)]
    #[must_use]
    pub fn variants(&self) -> Vec<(String, Self)> {
        let with = |level| (format!("{level:?}"), Self { level, ..self.clone() });
        Level::all().into_iter().map(with).collect()
    }

    /// Ends are 32-bit, for a batch of them to stay in the nearest cache.
    fn check_length(&self, text: &[u8]) -> Result<()> {
        if u32::try_from(text.len()).is_ok() {
            return Ok(());
        }
        Err(Error::Pattern {
            pattern: self.pattern().to_owned(),
            reason: format!("the text has {} bytes, the limit is {}; give it in parts", text.len(), u32::MAX),
        })
    }

    fn named_ends(&self, text: &[u8], start: usize, ends: &mut [u32]) -> usize {
        let classes = &*CLASSES;
        match self.kind {
            Kind::Gpt2 => fill(self.level, Gpt2(classes), text, start, ends),
            Kind::Cl100k => fill(self.level, Cl100k(classes), text, start, ends),
            Kind::O200k => fill(self.level, O200k(classes), text, start, ends),
            Kind::Custom(_) => 0,
        }
    }
}

/// The pieces of one text, in batches; made by [`Pretokenizer::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    pretokenizer: &'a Pretokenizer,
    text: &'a [u8],
    start: usize,
    /// For a custom pattern: the run of valid UTF-8 that `start` is in, or one that ends before it.
    run: Run<'a>,
}

impl Pieces<'_> {
    /// Writes the ends of the next pieces, as offsets from the start of the text, and returns how many: `ends.len()`, or
    /// fewer if the text is done.
    ///
    /// # Errors
    /// As [`Pretokenizer::next_ends`]. After an error the position stays where the call found it.
    pub fn next_ends(&mut self, ends: &mut [u32]) -> Result<usize> {
        self.pretokenizer.check_length(self.text)?;
        let Kind::Custom(custom) = &self.pretokenizer.kind else {
            let num_ends = self.pretokenizer.named_ends(self.text, self.start, ends);
            self.start = ends[..num_ends].last().map_or(self.start, |&end| end as usize);
            return Ok(num_ends);
        };
        let (mut num_ends, mut start, mut run) = (0, self.start, self.run);
        while num_ends < ends.len() && start < self.text.len() {
            if start >= run.end() {
                run = Run::starting_at(self.text, start);
            }
            let new_ends = custom.next_ends(run, start, &mut ends[num_ends..])?;
            if new_ends == 0 {
                ends[num_ends] = u32::try_from(start + 1).unwrap_or(u32::MAX); // an invalid byte
                num_ends += 1;
            }
            num_ends += new_ends;
            start = ends[num_ends - 1] as usize;
        }
        (self.start, self.run) = (start, run);
        Ok(num_ends)
    }
}
