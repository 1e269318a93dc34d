//! Special tokens: where they stand in a text, and where a text may be cut without splitting one.
//!
//! Occurrences are found leftmost-longest and never overlap, by one Aho-Corasick automaton; a single token is searched at
//! memory speed. Costs O(text) for any number of tokens.

use crate::error::{Error, Result};
use aho_corasick::{AhoCorasick, MatchKind};

/// An occurrence of a special token in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
    /// Its index in the list that [`SpecialTokens::new`] was given.
    pub index: usize,
}

/// A set of special tokens, ready to be searched for.
#[derive(Clone, Debug, Default)]
pub struct SpecialTokens {
    tokens: Vec<String>,
    finder: Option<AhoCorasick>,
}

/// No special tokens.
pub static NONE: SpecialTokens = SpecialTokens { tokens: Vec::new(), finder: None };

impl SpecialTokens {
    /// Prepares the search for `tokens`; none is fine.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] if one is empty or given twice.
    pub fn new(tokens: &[String]) -> Result<Self> {
        for (i, token) in tokens.iter().enumerate() {
            if token.is_empty() {
                return Err(Error::SpecialToken(
                    "a special token is empty; give it at least one character".into(),
                ));
            }
            if tokens[..i].contains(token) {
                return Err(Error::SpecialToken(format!(
                    "special token `{token}` is given twice; give it once"
                )));
            }
        }
        let finder =
            if tokens.is_empty() {
                None
            } else {
                let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(tokens);
                Some(built.map_err(|e| {
                    Error::SpecialToken(format!("too many special tokens to search for: {e}"))
                })?)
            };
        Ok(SpecialTokens { tokens: tokens.to_vec(), finder })
    }

    /// The tokens in the order given.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// The first occurrence at or after `from`, the longest where several start at one place.
    #[must_use]
    pub fn find(&self, text: &[u8], from: usize) -> Option<Occurrence> {
        let found = self.finder.as_ref()?.find(text.get(from..)?)?;
        Some(Occurrence {
            start: from + found.start(),
            end: from + found.end(),
            index: found.pattern().as_usize(),
        })
    }

    /// Splits `text` into what lies between special tokens and the tokens themselves, in order; empty stretches are
    /// left out. `ordinary` and `special` see each of them.
    ///
    /// # Errors
    /// The first error that a callback returns.
    pub fn split<State>(
        &self,
        text: &[u8],
        state: &mut State,
        mut ordinary: impl FnMut(&mut State, &[u8]) -> Result<()>,
        mut special: impl FnMut(&mut State, Occurrence) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while let Some(found) = self.find(text, done) {
            if found.start > done {
                ordinary(state, &text[done..found.start])?;
            }
            special(state, found)?;
            done = found.end;
        }
        if done < text.len() { ordinary(state, &text[done..]) } else { Ok(()) }
    }

    /// Bytes in the longest token, 0 if there is none.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.tokens.iter().map(String::len).max().unwrap_or(0)
    }

    /// Whether the bytes of any token lie across `cut`: start before it and end after it. If none does, the occurrences
    /// in `text` are those left of the cut and those right of it, whichever of several overlapping ones are chosen.
    #[must_use]
    pub fn lies_across(&self, text: &[u8], cut: usize) -> bool {
        self.tokens.iter().map(String::as_bytes).any(|token| {
            (1..token.len().min(cut + 1)).any(|before| {
                let rest = &text[cut - before..];
                rest.len() >= token.len() && rest.starts_with(token)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(list: &[&str]) -> SpecialTokens {
        SpecialTokens::new(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
    }

    // fault: T9
    #[test]
    fn the_longest_of_those_that_start_first_wins() {
        let t = tokens(&["<a>", "<a>b", "b<"]);
        assert_eq!(t.find(b"x<a>b<", 0), Some(Occurrence { start: 1, end: 5, index: 1 }));
        assert_eq!(t.find(b"x<a>b<", 2), Some(Occurrence { start: 4, end: 6, index: 2 }));
        assert_eq!(t.find(b"x", 0), None);
        assert_eq!(t.find(b"x", 5), None);
    }

    #[test]
    fn a_cut_inside_any_possible_occurrence_is_seen() {
        let t = tokens(&["a b", "b c"]);
        let across: Vec<_> = (0..=5).map(|cut| t.lies_across(b"a b c", cut)).collect();
        assert_eq!(across, [false, true, true, true, true, false]);
    }

    // fault: T9
    #[test]
    fn empty_and_repeated_tokens_are_refused() {
        assert!(SpecialTokens::new(&[String::new()]).is_err());
        assert!(SpecialTokens::new(&["a".into(), "a".into()]).is_err());
    }
}
