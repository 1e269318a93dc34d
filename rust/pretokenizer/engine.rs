//! What cannot be compiled, through the regex engine `fancy-regex`: look-behind, references to groups.
//!
//! A match is a piece, what lies between two matches is a piece too; where the pattern matches nothing, the text is cut. The
//! engine bounds its own backtracking; a pattern that runs into that bound on some text gives an error, never a wrong split.
//!
//! The regex sees a whole run of valid UTF-8, so look-behind and `\b` work across pieces. Handing it the rest of the text from
//! each piece on would be simpler, but would make such patterns depend on the batch size.

use crate::error::{Error, Result};
use fancy_regex::{Expr, Regex};

/// A compiled pattern. A clone has scratch space of its own: give each thread one.
#[derive(Clone, Debug)]
pub struct Engine(Regex);

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

    /// Where the run ends in the whole text.
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

impl Engine {
    /// Compiles a pattern.
    pub fn new(pattern: &str) -> Result<Self> {
        check(pattern)?;
        Regex::new(pattern).map(Self).map_err(|error| invalid(pattern, &error))
    }

    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// Writes the ends of the next pieces of `text` from `start` on; returns how many: `ends.len()` unless the text is done.
    /// `run` is where the last call left it.
    pub fn next_ends<'t>(
        &self,
        text: &'t [u8],
        start: usize,
        run: &mut Run<'t>,
        ends: &mut [u32],
    ) -> Result<usize> {
        let (mut num_ends, mut start) = (0, start);
        while num_ends < ends.len() && start < text.len() {
            if start >= run.end() {
                *run = Run::starting_at(text, start);
            }
            let new_ends = self.ends_in_run(*run, start, &mut ends[num_ends..])?;
            if new_ends == 0 {
                ends[num_ends] = u32::try_from(start + 1).unwrap_or(u32::MAX); // an invalid byte
                num_ends += 1;
            }
            num_ends += new_ends;
            start = ends[num_ends - 1] as usize;
        }
        Ok(num_ends)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    fn ends_in_run(&self, run: Run, start: usize, ends: &mut [u32]) -> Result<usize> {
        let text = run.text;
        let mut num_ends = 0;
        let mut piece = start - run.start;
        let mut search = piece; // after `piece` where the pattern matches nothing
        while num_ends < ends.len() && piece < text.len() {
            let (from, to) = self.find(run, search)?.unwrap_or((text.len(), text.len()));
            for end in [from, to] {
                if end > piece && num_ends < ends.len() {
                    ends[num_ends] = (run.start + end) as u32;
                    num_ends += 1;
                    piece = end;
                }
            }
            search = if from == to && to == piece { next_character(text, to) } else { piece };
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

/// Refuses a pattern that is no regular expression, or one with which pieces would depend on how they are looked for.
pub fn check(pattern: &str) -> Result<()> {
    let tree = Expr::parse_tree(pattern).map_err(|error| invalid(pattern, &error))?;
    let is_of_search = |expr: &Expr| matches!(expr, Expr::KeepOut | Expr::ContinueFromPreviousMatchEnd);
    let reason = if tree.contains_subroutines {
        // The engine writes out what is called, and what that calls, nineteen deep: gigabytes for two calls of the whole.
        "it calls a group (`\\g`), which could take any amount of memory; write the group out"
    } else if tree.expr.has_descendant_or_self(is_of_search) {
        "`\\K` and `\\G` make pieces depend on where a search begins; use look-behind instead"
    } else {
        return Ok(());
    };
    Err(Error::Pattern { pattern: pattern.to_owned(), reason: reason.to_owned() })
}

fn invalid(pattern: &str, error: &fancy_regex::Error) -> Error {
    let reason = format!("not a valid regular expression: {error}");
    Error::Pattern { pattern: pattern.to_owned(), reason }
}

/// The start of the character after the one at `at`, which is no more than the length of the text.
fn next_character(text: &str, at: usize) -> usize {
    (at + 1..text.len()).find(|&next| text.is_char_boundary(next)).unwrap_or(text.len())
}
