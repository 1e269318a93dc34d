//! Where a text can be cut so that the ids of both parts are those of the whole.
//!
//! The one owner of this: files, long texts in memory and streams are cut here. A place is found at two characters between
//! which the pattern always cuts ([`Pretokenizer::is_safe_cut`]), or before a special token, if the pattern allows no other.
//! A normalizer must leave both characters as they are, and no special token may lie across or depend on the other side.
//! The search goes back from the end; where it finds nothing, it goes on later from [`Cutter::resume_from`], so a text that
//! cannot be cut is not searched again and again.

use crate::normalizer::{Ends, Normalizer};
use crate::pretokenizer::Pretokenizer;
use crate::special::{self, SpecialTokens};
use std::borrow::Cow;
use std::sync::Arc;

/// Finds cuts for a pattern, a set of special tokens and a normalizer.
#[derive(Clone, Debug)]
pub struct Cutter {
    /// What makes the pieces.
    pub pretokenizer: Arc<Pretokenizer>,
    /// What is cut out before.
    pub specials: SpecialTokens,
    /// What is cut out of normalized text.
    pub late: SpecialTokens,
    /// The same without a space that a normalizer puts before text, and so before them.
    pub late_within: SpecialTokens,
    /// What changes text between the two.
    pub normalizer: Arc<Normalizer>,
    /// Whether the start of a stretch of text between special tokens counts, so that a part may not begin with one unseen.
    pub knows_starts: bool,
}

/// Bytes of the longest character.
const LONGEST_CHARACTER: usize = 4;

impl Cutter {
    /// For text that is not normalized.
    #[must_use]
    pub fn new(pretokenizer: Pretokenizer, specials: SpecialTokens) -> Self {
        Cutter {
            pretokenizer: Arc::new(pretokenizer),
            specials,
            late: special::NONE.clone(),
            late_within: special::NONE.clone(),
            normalizer: Arc::default(),
            knows_starts: false,
        }
    }

    /// The last place after `searched` where `text`, of which more may follow, can be cut.
    #[must_use]
    pub fn last_cut(&self, text: &[u8], searched: usize) -> Option<usize> {
        let end = text.len().checked_sub(self.unsure())?;
        let depends = |tokens: &SpecialTokens, text: &[u8], cut: usize| {
            tokens.depends_across(text, cut) || self.knows_starts && tokens.ends_at(text, cut)
        };
        let is_cut = |cut: usize| {
            if depends(&self.specials, text, cut) {
                return false;
            }
            if self.late.is_empty() {
                return true;
            }
            let (near, cut) = self.normalized_near(text, cut);
            !depends(&self.late, &near, cut) && !depends(&self.late_within, &near, cut)
        };
        let keeps = |c: char| self.normalizer.is_identity() || self.normalizer.keeps(c);
        if self.pretokenizer.has_safe_cuts() {
            let safe = |&cut: &usize| {
                let around = char_before(text, cut).zip(char_at(text, cut));
                around.is_some_and(|(before, after)| {
                    self.pretokenizer.is_safe_cut(before, after) && keeps(before) && keeps(after)
                }) && is_cut(cut)
            };
            return (searched.max(1)..=end).rev().find(safe);
        }
        let mut from = searched.saturating_sub(self.specials.longest());
        let mut last = None;
        while let Some(found) = self.specials.find(text, from).filter(|found| found.start <= end) {
            if found.start > 0 && is_cut(found.start) {
                last = Some(found.start);
            }
            from = found.end;
        }
        last
    }

    /// The normalized text around a cut between two characters that are kept, and where the cut is in it.
    fn normalized_near(&self, text: &[u8], cut: usize) -> (Vec<u8>, usize) {
        // Normalized, a text may be shorter.
        let reach = 4 * (self.late.longest() + LONGEST_CHARACTER);
        let is_start = |&at: &usize| text.get(at).is_none_or(|byte| byte & 0xC0 != 0x80);
        let start = (0..=cut.saturating_sub(reach)).rev().find(is_start).unwrap_or(0);
        let end = (text.len().min(cut + reach)..=text.len()).find(is_start).unwrap_or(text.len());
        let ends = Ends { begins: false, ends: false };
        let apply = |part: &[u8]| self.normalizer.apply(part, ends).map_or(part.to_vec(), Cow::into_owned);
        let (mut near, right) = (apply(&text[start..cut]), apply(&text[cut..end]));
        let cut = near.len();
        near.extend(right);
        (near, cut)
    }

    /// Up to where a text of this length needs no second search when more follows.
    #[must_use]
    pub fn resume_from(&self, len: usize) -> usize {
        // A cut needs the characters on both sides of it.
        len.saturating_sub(self.unsure() + LONGEST_CHARACTER)
    }

    /// How many bytes at the end of a text may look otherwise when more follows: a special token or a character that is not
    /// whole yet.
    fn unsure(&self) -> usize {
        // One byte more, since a token may ask for the character behind it.
        1 + self.specials.longest().max(4 * self.late.longest()).max(LONGEST_CHARACTER)
    }
}

fn char_at(text: &[u8], at: usize) -> Option<char> {
    let first = *text.get(at)?;
    if first < 0x80 {
        return Some(char::from(first));
    }
    let end = text.len().min(at + LONGEST_CHARACTER);
    let chunk = text.get(at..end)?.utf8_chunks().next()?;
    chunk.valid().chars().next()
}

fn char_before(text: &[u8], at: usize) -> Option<char> {
    let start = (at.saturating_sub(LONGEST_CHARACTER)..at).rev().find(|&i| text[i] & 0xC0 != 0x80)?;
    char_at(&text[..at], start).filter(|c| start + c.len_utf8() == at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a text is read by, the last cut is the one that a search of the whole finds.
    #[test]
    fn a_search_that_goes_on_misses_nothing() {
        let specials = SpecialTokens::new(&["<|end|>".into(), "a b".into()]).unwrap();
        for pattern in ["gpt2", "deepseek", r"(?<=a)b|\w+|\W"] {
            let cutter = Cutter::new(Pretokenizer::new(pattern).unwrap(), specials.clone());
            let text = "some words, 語語語 12 a b<|end|>and <|end| more\n\n  of them".as_bytes();
            for step in 1..20 {
                let (mut searched, mut found) = (0, None);
                for len in (step..=text.len()).step_by(step) {
                    found = cutter.last_cut(&text[..len], searched).or(found);
                    searched = cutter.resume_from(len);
                    assert_eq!(
                        found,
                        cutter.last_cut(&text[..len], 0),
                        "{pattern}, {len} bytes, {step} at a time"
                    );
                }
            }
        }
    }
}
