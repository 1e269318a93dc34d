//! Text to pieces: the pretokenizer.
//!
//! A pattern is a regex, or a sequence of regexes of which each splits the pieces of the one before. There are three ways to
//! run it, all with the same pieces; special tokens are the caller's business, who cuts them out first.
//! * `blocks`: families of patterns that most vocabularies in use are made with, 64 bytes at a time.
//! * `automaton`: every other regular pattern, in linear time on any text: a character at a time, or 64 bytes at a time where
//!   the whole sequence is an automaton of a few states.
//! * `engine`: what is not regular, through a regex engine that backtracks.
//!
//! The automaton of a pattern also says between which characters text may always be cut, so a large file is read in parts.
//!
//! **Text policy.** Text is bytes. Each maximal run of valid UTF-8 is split on its own, its end counting as the end of
//! the text; each byte that is no part of a valid character is a piece of its own. What a pattern does not match is a piece
//! too, and where it matches nothing the text is cut. So the pieces always join to the text.
//!
//! **Interface.** Training and encoding spend their time here, so pieces come in batches, as end offsets written into
//! the caller's buffer: no allocation, no call per piece, nothing borrowed. An iterator of slices was rejected: it
//! returns to the caller for each five bytes and cannot emit the boundaries of a block of text together.

#![allow(clippy::inline_always, reason = "the block scanner must be compiled as one function: see `simd`")]

mod automaton;
mod blocks;
mod cl100k;
mod classes;
mod engine;
mod gpt2;
mod named;
mod o200k;
mod sequence;
mod simd;
mod stages;

use crate::error::{Error, Result};
use automaton::Compiled;
use engine::Engine;
use named::{Family, Patterns};
pub use named::{NAMED, Named};
use simd::Level;
use stages::{Cursor, Stage};
use std::sync::{Arc, Mutex, PoisonError};

/// A pattern, ready to split text. Clones are cheap; give each thread its own, since a regex engine has scratch space.
#[derive(Clone, Debug)]
pub struct Pretokenizer {
    regexes: Arc<[String]>,
    pattern: Arc<str>,
    name: Option<&'static str>,
    /// The block scanner, if it knows the pattern.
    family: Option<Family>,
    stages: Vec<Stage>,
    not_compiled: Option<Arc<str>>,
    level: Level,
}

/// How many patterns a process keeps compiled, of a megabyte each: one pattern is asked for at each load, save and count.
const NUM_RECENT: usize = 8;

/// The patterns made last, with the regexes asked for.
static RECENT: Mutex<Vec<(Vec<String>, Pretokenizer)>> = Mutex::new(Vec::new());

impl Pretokenizer {
    /// Makes a pretokenizer from a name of [`NAMED`], from a regex, or from a sequence as [`Pretokenizer::pattern`] writes it.
    /// A regex that splits every text as a named pattern does is as fast as that.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the regex does not compile, or if what looks like a name is none.
    pub fn new(pattern: &str) -> Result<Self> {
        if let Some(named) = named::find(pattern) {
            return Self::sequence(&named.regexes());
        }
        if !pattern.is_empty()
            && pattern.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        {
            let names: Vec<_> = NAMED.iter().map(|named| named.name).collect();
            return Err(Error::Pattern {
                pattern: pattern.to_owned(),
                reason: format!("no pattern has this name; give a regex or one of {}", names.join(", ")),
            });
        }
        match sequence::parse(pattern)? {
            Some(patterns) => Self::sequence(&patterns),
            None => Self::sequence(&[pattern]),
        }
    }

    /// Makes a pretokenizer from regexes, each of which splits the pieces of the one before.
    ///
    /// # Errors
    /// As [`Pretokenizer::new`]; if there is none.
    pub fn sequence<S: AsRef<str>>(regexes: &[S]) -> Result<Self> {
        let regexes: Vec<&str> = regexes.iter().map(AsRef::as_ref).collect();
        if let Some(made) =
            RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|made| made.0 == regexes)
        {
            return Ok(made.1.clone());
        }
        let made = Self::build(&regexes)?;
        let key = regexes.iter().map(|&regex| regex.to_owned()).collect();
        let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
        recent.truncate(NUM_RECENT - 1);
        recent.insert(0, (key, made.clone()));
        Ok(made)
    }

    fn build(regexes: &[&str]) -> Result<Self> {
        regexes.iter().try_for_each(|regex| engine::check(regex))?;
        if regexes.is_empty() {
            return Err(Error::Pattern {
                pattern: String::new(),
                reason: "the sequence has no pattern; give one".into(),
            });
        }
        let named = NAMED.iter().find(|named| named.regexes() == regexes);
        let mut reasons = Vec::new();
        let compiled = automaton::compile(regexes);
        let family = match (named.map(|named| named.patterns), &compiled[..]) {
            (Some(Patterns::Family(family)), _) => Some(family),
            (None, [Compiled::Automaton(automaton)]) => automaton.family(),
            _ => None,
        };
        let is_alone = compiled.len() == 1;
        let stages = compiled.into_iter().map(|compiled| match compiled {
            Compiled::Automaton(automaton) => Ok(match if is_alone { None } else { automaton.family() } {
                Some(family) => Stage::Blocks(family, automaton),
                None => Stage::Automaton(automaton),
            }),
            Compiled::Not(index, reason) => {
                reasons.push(format!("`{}`: {reason}", regexes[index]));
                Engine::new(regexes[index]).map(Stage::Engine)
            }
        });
        let mut stages = stages.collect::<Result<Vec<_>>>()?;
        if let (None, Some(all)) = (family, automaton::transduce(regexes)) {
            stages = vec![Stage::Transduce(Arc::new(all))];
        }
        let not_compiled = if reasons.is_empty() { None } else { Some(reasons.join("; ").into()) };
        let is_this = |named: &&Named| matches!(named.patterns, Patterns::Family(of) if Some(of) == family);
        let name = named.or_else(|| NAMED.iter().find(is_this)).map(|named| named.name);
        // One spelling for all that mean the same, the one that most other libraries read.
        let regexes: Vec<String> = match family {
            Some(family) => vec![family.pattern()],
            None => regexes.iter().map(|&regex| regex.to_owned()).collect(),
        };
        let pattern = if let [regex] = &regexes[..] { regex.clone() } else { sequence::write(&regexes) };
        let (regexes, pattern) = (regexes.into(), pattern.into());
        Ok(Self { regexes, pattern, name, family, stages, not_compiled, level: Level::best() })
    }

    /// The regexes: the first splits a text, each other one the pieces of the one before.
    #[must_use]
    pub fn regexes(&self) -> &[String] {
        &self.regexes
    }

    /// The regex, in one spelling for all that split like a named pattern; of a sequence the JSON of Hugging Face's
    /// `pre_tokenizer`.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The name in [`NAMED`]; `None` for a pattern without one.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        self.name
    }

    /// Why a regex engine runs the pattern, slowly and in one thread for each text; `None` if it is compiled.
    #[must_use]
    pub fn not_compiled(&self) -> Option<&str> {
        self.not_compiled.as_deref()
    }

    /// Whether the block scanner runs the pattern, the fastest way.
    #[must_use]
    pub fn is_block_scanned(&self) -> bool {
        self.family.is_some()
    }

    /// All pieces of `text`, batch by batch.
    ///
    /// ```
    /// # use tinybpe::Pretokenizer;
    /// let mut ends = [0; 8];
    /// let pretokenizer = Pretokenizer::new("gpt2")?;
    /// let num_ends = pretokenizer.pieces(b"It's 3 o'clock").next_ends(&mut ends)?;
    /// assert_eq!(ends[..num_ends], [2, 4, 6, 8, 9, 14]);
    /// # Ok::<(), tinybpe::Error>(())
    /// ```
    #[must_use]
    pub fn pieces<'a>(&'a self, text: &'a [u8]) -> Pieces<'a> {
        let way = match self.family {
            Some(family) => Way::Blocks(family, 0),
            None => Way::Stages(Cursor::new(text, self.stages.len())),
        };
        Pieces { pretokenizer: self, text, way }
    }

    /// Whether text may be cut between two characters: `true` if the pieces of a whole text are always the pieces of its
    /// left part and then those of its right part, whatever else stands in both.
    #[must_use]
    pub fn is_safe_cut(&self, before: char, after: char) -> bool {
        // Up to the stage that surely cuts there, none may be harmed.
        let mut cuts = self.stages.iter().map(|stage| stage.cut(before, after));
        cuts.find(|cut| *cut != Some(false)).flatten().is_some()
    }

    /// Whether there are two characters between which text may be cut.
    #[must_use]
    pub fn has_safe_cuts(&self) -> bool {
        // Each stage up to the first that surely cuts must be compiled.
        !matches!(self.stages.first(), Some(Stage::Engine(_)) | None)
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
}

impl Default for Pretokenizer {
    /// The `gpt2` pattern.
    fn default() -> Self {
        Self::new("gpt2").unwrap_or_else(|error| unreachable!("a pattern of the table: {error}"))
    }
}

/// The pieces of one text, in batches; made by [`Pretokenizer::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    pretokenizer: &'a Pretokenizer,
    text: &'a [u8],
    way: Way<'a>,
}

#[derive(Clone, Debug)]
enum Way<'a> {
    /// The block scanner, and where it is.
    Blocks(Family, usize),
    Stages(Cursor<'a>),
}

impl Pieces<'_> {
    /// Writes the ends of the next pieces, as offsets from the start of the text, and returns how many: `ends.len()`, or
    /// fewer if the text is done. Empty text has no pieces. Takes time linear in the bytes that the pieces cover.
    ///
    /// # Errors
    /// [`Error::Pattern`] if a pattern that is not compiled backtracks past the engine's limit, or if the text has 4 GiB
    /// or more.
    #[inline]
    pub fn next_ends(&mut self, ends: &mut [u32]) -> Result<usize> {
        let pretokenizer = self.pretokenizer;
        pretokenizer.check_length(self.text)?;
        match &mut self.way {
            Way::Blocks(family, start) => {
                let num_ends = family.next_ends(pretokenizer.level, self.text, *start, ends);
                *start = ends[..num_ends].last().map_or(*start, |&end| end as usize);
                Ok(num_ends)
            }
            Way::Stages(cursor) => cursor.next_ends(pretokenizer.level, &pretokenizer.stages, ends),
        }
    }
}
