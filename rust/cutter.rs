//! Where a text can be cut so that the pieces and special tokens of both parts are those of the whole.
//!
//! The one owner of this: files, long texts in memory and streams are cut here. A place is found at two characters between
//! which the pattern always cuts ([`Pretokenizer::is_safe_cut`]), or before a special token, if the pattern allows no other.
//! The search goes back from the end; where it finds nothing, it goes on later from [`Cutter::resume_from`], so a text that
//! cannot be cut is not searched again and again.

use crate::pretokenizer::Pretokenizer;
use crate::special::SpecialTokens;

/// Finds cuts for a pattern and a set of special tokens.
#[derive(Clone, Copy, Debug)]
pub struct Cutter<'a> {
    /// What makes the pieces.
    pub pretokenizer: &'a Pretokenizer,
    /// What is cut out before.
    pub specials: &'a SpecialTokens,
}

/// Bytes of the longest character.
const LONGEST_CHARACTER: usize = 4;

impl Cutter<'_> {
    /// The last place after `searched` where `text`, of which more may follow, can be cut.
    #[must_use]
    pub fn last_cut(&self, text: &[u8], searched: usize) -> Option<usize> {
        let end = text.len().checked_sub(self.unsure())?;
        let is_cut = |cut: usize| !self.specials.lies_across(text, cut);
        if self.pretokenizer.has_safe_cuts() {
            let safe = |&cut: &usize| {
                let around = char_before(text, cut).zip(char_at(text, cut));
                around.is_some_and(|(before, after)| self.pretokenizer.is_safe_cut(before, after))
                    && is_cut(cut)
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

    /// Up to where a text of this length needs no second search when more follows.
    #[must_use]
    pub fn resume_from(&self, len: usize) -> usize {
        // A cut needs the characters on both sides of it.
        len.saturating_sub(self.unsure() + LONGEST_CHARACTER)
    }

    /// How many bytes at the end of a text may look otherwise when more follows: a special token or a character that is not
    /// whole yet.
    fn unsure(&self) -> usize {
        self.specials.longest().max(LONGEST_CHARACTER)
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
            let pretokenizer = Pretokenizer::new(pattern).unwrap();
            let cutter = Cutter { pretokenizer: &pretokenizer, specials: &specials };
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
