//! Tokens that are cut out of text as a whole: the leftmost-longest occurrences of a set of strings.
//!
//! The one implementation of this: training, encoding, streams and files find these tokens here. Those of other libraries'
//! files may take the whitespace beside them, or count as single words only ([`Form`]).
//!
//! The set is found with an Aho-Corasick automaton: one pass, whatever the number of tokens.

use crate::error::{Error, Result};
use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};
use std::collections::HashSet;
use std::sync::Arc;

/// Where a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Where it starts, the whitespace that belongs to it included.
    pub start: usize,
    /// Where it ends, likewise.
    pub end: usize,
    /// Where the next is looked for: behind the token itself, so one of whitespace may stand in what belongs to this.
    pub next: usize,
    /// Its index in the list of tokens.
    pub index: usize,
}

/// What else belongs to an occurrence, and where one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// The whitespace before it is a part of it.
    pub lstrip: bool,
    /// The whitespace after it is a part of it.
    pub rstrip: bool,
    /// It counts only where no letter, digit or underscore stands beside it.
    pub single_word: bool,
}

impl Form {
    const PLAIN: Form = Form { lstrip: false, rstrip: false, single_word: false };
}

/// A set of tokens, ready to be found in text. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub struct SpecialTokens(Option<Arc<Set>>);

#[derive(Debug)]
struct Set {
    tokens: Vec<String>,
    /// Of each token; empty if all are plain.
    forms: Vec<Form>,
    longest: usize,
    finder: AhoCorasick,
}

/// No tokens.
pub static NONE: SpecialTokens = SpecialTokens(None);

impl SpecialTokens {
    /// Prepares the search for `tokens`; none is fine.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] if one is empty or given twice.
    pub fn new(tokens: &[String]) -> Result<Self> {
        Self::with_forms(tokens.to_vec(), Vec::new())
    }

    /// Prepares the search for tokens, each with its form; without forms all are plain.
    ///
    /// # Errors
    /// As [`SpecialTokens::new`].
    pub fn with_forms(tokens: Vec<String>, mut forms: Vec<Form>) -> Result<Self> {
        if tokens.is_empty() {
            return Ok(NONE.clone());
        }
        let mut seen = HashSet::with_capacity(tokens.len());
        for token in &tokens {
            if token.is_empty() {
                return Err(Error::SpecialToken(
                    "a special token is empty; give it at least one character".into(),
                ));
            }
            if !seen.insert(token) {
                return Err(Error::SpecialToken(format!(
                    "special token `{token}` is given twice; give it once"
                )));
            }
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostLongest).start_kind(StartKind::Both);
        let finder = builder
            .build(&tokens)
            .map_err(|e| Error::SpecialToken(format!("too many special tokens to search for: {e}")))?;
        if forms.iter().all(|form| *form == Form::PLAIN) {
            forms.clear();
        }
        let longest = tokens.iter().map(String::len).max().unwrap_or(0);
        Ok(SpecialTokens(Some(Arc::new(Set { tokens, forms, longest, finder }))))
    }

    /// The tokens in the order given.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |set| &set.tokens)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The first occurrence at or after `from`, the longest where several start at one place. What stands before `from` is
    /// looked at by tokens that are single words, and is not taken by those that take whitespace.
    #[must_use]
    pub fn find(&self, text: &[u8], from: usize) -> Option<Occurrence> {
        self.find_behind(text, from, from)
    }

    /// [`SpecialTokens::find`] from `searched` on, where whitespace before `from` is taken already.
    fn find_behind(&self, text: &[u8], from: usize, mut searched: usize) -> Option<Occurrence> {
        let set = self.0.as_ref()?;
        loop {
            let found = set.finder.find(text.get(searched..)?)?;
            let (mut start, mut end) = (searched + found.start(), searched + found.end());
            let index = found.pattern().as_usize();
            let form = set.form(index);
            let next = end;
            searched = end;
            if form.single_word && (ends_with_word(&text[..start]) || starts_with_word(&text[end..])) {
                continue;
            }
            if form.lstrip {
                start = from.max(start - space_at_end(&text[..start]));
            }
            if form.rstrip {
                end += space_at_start(&text[end..]);
            }
            if start >= end {
                // The token before has taken all of it as whitespace: it is none, as in `tokenizers`.
                continue;
            }
            return Some(Occurrence { start, end, next, index });
        }
    }

    /// Splits `text` into what lies between special tokens and the tokens themselves, in order; empty stretches are
    /// left out. `ordinary` sees where a stretch starts and ends, `special` each token.
    ///
    /// # Errors
    /// The first error that a callback returns.
    pub fn split<State>(
        &self,
        text: &[u8],
        state: &mut State,
        mut ordinary: impl FnMut(&mut State, std::ops::Range<usize>) -> Result<()>,
        mut special: impl FnMut(&mut State, Occurrence) -> Result<()>,
    ) -> Result<()> {
        let (mut done, mut searched) = (0, 0);
        while let Some(found) = self.find_behind(text, done, searched) {
            if found.start > done {
                ordinary(state, done..found.start)?;
            }
            special(state, found)?;
            (done, searched) = (found.end, found.next);
        }
        if done < text.len() { ordinary(state, done..text.len()) } else { Ok(()) }
    }

    /// Bytes in the longest token, 0 if there is none.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.0.as_ref().map_or(0, |set| set.longest)
    }

    /// Whether a cut may change what is found: some token lies across it, or looks at the other side. If it does not, the
    /// occurrences in `text` are those left of the cut and those right of it, whichever of several overlapping ones are
    /// chosen.
    #[must_use]
    pub fn depends_across(&self, text: &[u8], cut: usize) -> bool {
        let Some(set) = &self.0 else { return false };
        // A token takes the whitespace up to another character, or nothing.
        if !set.forms.is_empty() && space_at_end(&text[..cut]) > 0 && space_at_start(&text[cut..]) > 0 {
            return true;
        }
        // Of the tokens that start at a place the longest tells.
        let lies_across = |start: usize| {
            let here = Input::new(text).range(start..).anchored(Anchored::Yes);
            set.finder.try_find(here).is_ok_and(|found| found.is_some_and(|found| found.end() > cut))
        };
        let touches = |(form, token): (&Form, &String)| {
            let token = token.as_bytes();
            (form.rstrip || form.single_word) && text[..cut].ends_with(token)
                || (form.lstrip || form.single_word) && text[cut..].starts_with(token)
        };
        (cut.saturating_sub(set.longest - 1)..cut).any(lies_across)
            || set.forms.iter().zip(&set.tokens).any(touches)
    }

    /// Whether some token ends at a place.
    #[must_use]
    pub fn ends_at(&self, text: &[u8], at: usize) -> bool {
        self.tokens().iter().any(|token| text[..at].ends_with(token.as_bytes()))
    }
}

impl Set {
    fn form(&self, index: usize) -> Form {
        self.forms.get(index).copied().unwrap_or_default()
    }
}

/// The last whole character, if the text ends with one.
fn last_char(text: &[u8]) -> Option<char> {
    let start = (text.len().saturating_sub(4)..text.len()).rev().find(|&at| text[at] & 0xC0 != 0x80)?;
    std::str::from_utf8(&text[start..]).ok()?.chars().next()
}

fn first_char(text: &[u8]) -> Option<char> {
    text[..text.len().min(4)].utf8_chunks().next()?.valid().chars().next()
}

/// Bytes of whitespace at the end.
fn space_at_end(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some(c) = last_char(rest).filter(|c| c.is_whitespace()) {
        rest = &rest[..rest.len() - c.len_utf8()];
    }
    text.len() - rest.len()
}

fn space_at_start(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some(c) = first_char(rest).filter(|c| c.is_whitespace()) {
        rest = &rest[c.len_utf8()..];
    }
    text.len() - rest.len()
}

fn is_word(c: char) -> bool {
    regex_syntax::is_word_character(c)
}

fn ends_with_word(text: &[u8]) -> bool {
    last_char(text).is_some_and(is_word)
}

fn starts_with_word(text: &[u8]) -> bool {
    first_char(text).is_some_and(is_word)
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
        assert_eq!(t.find(b"x<a>b<", 0), Some(Occurrence { start: 1, end: 5, next: 5, index: 1 }));
        assert_eq!(t.find(b"x<a>b<", 2), Some(Occurrence { start: 4, end: 6, next: 6, index: 2 }));
        assert_eq!(t.find(b"x", 0), None);
        assert_eq!(t.find(b"x", 5), None);
    }

    #[test]
    fn a_cut_inside_any_possible_occurrence_is_seen() {
        let t = tokens(&["a b", "b c"]);
        let across: Vec<_> = (0..=5).map(|cut| t.depends_across(b"a b c", cut)).collect();
        assert_eq!(across, [false, true, true, true, true, false]);
    }

    // fault: T9
    /// As `tokenizers` 0.23 finds them; with `<a>` and line ends of which `lstrip` takes more, it panics on `<a>\n\n\n`.
    #[test]
    fn whitespace_that_is_taken_already_is_a_token_unless_it_takes_whitespace_too() {
        let found = |form: Form| {
            let rstrip = Form { rstrip: true, ..Form::default() };
            let tokens =
                SpecialTokens::with_forms(vec!["<a>".into(), "\n\n".into()], vec![rstrip, form]).unwrap();
            let mut found = Vec::new();
            let push = |found: &mut Vec<_>, token: Occurrence| {
                found.push((token.index, token.start, token.end));
                Ok(())
            };
            tokens.split(b"<a>\n\n\nb", &mut found, |_, _| Ok(()), push).unwrap();
            found
        };
        assert_eq!(found(Form::default()), [(0, 0, 6), (1, 3, 5)]);
        assert_eq!(found(Form { lstrip: true, rstrip: true, ..Form::default() }), [(0, 0, 6)]);
    }

    #[test]
    fn empty_and_repeated_tokens_are_refused() {
        assert!(SpecialTokens::new(&[String::new()]).is_err());
        assert!(SpecialTokens::new(&["a".into(), "a".into()]).is_err());
    }

    fn with_form(form: Form) -> SpecialTokens {
        SpecialTokens::with_forms(vec!["<x>".into(), "y".into()], vec![form, Form::default()]).unwrap()
    }

    #[test]
    fn whitespace_beside_a_token_may_belong_to_it() {
        let both = with_form(Form { lstrip: true, rstrip: true, ..Form::default() });
        let text = "a \u{3000}<x> \n<x> b".as_bytes();
        let first = both.find(text, 0).unwrap();
        assert_eq!((first.start, first.end), (1, 10));
        // The whitespace between belongs to the first.
        let second = both.find(text, first.end).unwrap();
        assert_eq!((second.start, second.end), (10, 14));
        assert!(
            both.depends_across(text, 2) && both.depends_across(text, 8) && !both.depends_across(text, 1)
        );
    }

    #[test]
    fn a_single_word_has_no_word_beside_it() {
        let word = with_form(Form { single_word: true, ..Form::default() });
        for (text, found) in [("a<x>", None), ("<x>_", None), ("é<x> <x>.", Some(6)), ("<x>y", Some(3))] {
            assert_eq!(word.find(text.as_bytes(), 0).map(|found| found.start), found, "{text}");
        }
        assert!(word.depends_across(b"a<x> ", 1) && word.depends_across(b"a<x> ", 4));
    }
}
