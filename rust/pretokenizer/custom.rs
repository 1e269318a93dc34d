//! Any other pattern, through `fancy-regex`.
//!
//! A match is a piece, what lies between two matches is a piece too, empty matches are skipped. The engine bounds its
//! own backtracking; a pattern that runs into that bound on some text gives an error, never a wrong split.
//!
//! The regex sees a whole run of valid UTF-8, so look-behind and `\b` work across pieces. Handing it the rest of the
//! text from each piece on would be simpler, but would make such patterns depend on the batch size.

use crate::error::{Error, Result};
use fancy_regex::{Expr, Regex};

/// A compiled pattern. A clone has scratch space of its own: give each thread one.
#[derive(Clone, Debug)]
pub struct Custom(Regex);

/// A run of valid UTF-8 within a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run<'t> {
    start: usize,
    text: &'t str,
}

impl<'t> Run<'t> {
    /// The run that starts at `start`; empty if the byte there is invalid.
    pub fn starting_at(text: &'t [u8], start: usize) -> Self {
        let valid = text[start..].utf8_chunks().next().map_or("", |chunk| chunk.valid());
        Self { start, text: valid }
    }

    /// The run that holds the byte at `position`; empty if that byte is invalid.
    pub fn around(text: &'t [u8], position: usize) -> Self {
        let mut start = 0;
        for chunk in text.utf8_chunks() {
            let end = start + chunk.valid().len();
            if position < end {
                return Self { start, text: chunk.valid() };
            }
            start = end + chunk.invalid().len();
            if position < start {
                break;
            }
        }
        Self { start: position, text: "" }
    }

    /// Where the run ends in the whole text.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

impl Custom {
    pub fn new(pattern: &str) -> Result<Self> {
        let refuse = |reason| Error::Pattern { pattern: pattern.to_owned(), reason };
        let invalid = |error| refuse(format!("not a valid regular expression: {error}"));
        let tree = Expr::parse_tree(pattern).map_err(invalid)?;
        let is_of_search = |expr: &Expr| matches!(expr, Expr::KeepOut | Expr::ContinueFromPreviousMatchEnd);
        let reason = if tree.contains_subroutines {
            // The engine writes out what is called, and what that calls, nineteen deep: gigabytes for two calls of the whole.
            "it calls a group (`\\g`), which could take any amount of memory; write the group out"
        } else if tree.expr.has_descendant_or_self(is_of_search) {
            "`\\K` and `\\G` make pieces depend on where a search begins; use look-behind instead"
        } else {
            return Regex::new(pattern).map(Self).map_err(invalid);
        };
        Err(refuse(reason.to_owned()))
    }

    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// The ends of the pieces of `run` from `start` on, at most `ends.len()`; returns how many.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the caller has checked that the text is below 4 GiB"
    )]
    pub fn next_ends(&self, run: Run, start: usize, ends: &mut [u32]) -> Result<usize> {
        let text = run.text;
        let mut num_ends = 0;
        let mut piece = start - run.start;
        let mut search = piece; // ahead of `piece` after an empty match
        while num_ends < ends.len() && piece < text.len() {
            let (from, to) = match self.find(run, search)? {
                Some((from, to)) if to > from.max(piece) => (from.max(piece), to),
                Some((_, to)) if to.max(search) < text.len() => {
                    search = next_character(text, to.max(search));
                    continue;
                }
                _ => (text.len(), text.len()),
            };
            for end in [from, to] {
                if end > piece && num_ends < ends.len() {
                    ends[num_ends] = (run.start + end) as u32;
                    num_ends += 1;
                    (piece, search) = (end, end);
                }
            }
        }
        Ok(num_ends)
    }

    fn find(&self, run: Run, search: usize) -> Result<Option<(usize, usize)>> {
        match self.0.find_from_pos(run.text, search) {
            Ok(found) => Ok(found.map(|found| (found.start(), found.end()))),
            Err(error) => Err(Error::Pattern {
                pattern: self.pattern().to_owned(),
                reason: format!(
                    "gave up on the text from byte {} on: {error}; write the pattern so that it backtracks less, \
                     with possessive quantifiers for instance",
                    run.start + search
                ),
            }),
        }
    }
}

/// The start of the character after the one at `at`, which is no more than the length of the text.
fn next_character(text: &str, at: usize) -> usize {
    (at + 1..text.len()).find(|&next| text.is_char_boundary(next)).unwrap_or(text.len())
}
