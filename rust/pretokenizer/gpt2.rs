//! The `gpt2` pattern as a scanner: contractions, words, numbers and other characters with one space before them, and
//! whitespace runs that leave their last character to what follows.
//!
//! Alternatives are tried in the regex's order, but the first character decides nearly all of them, so each character
//! is looked at once, the last of a whitespace run twice.

use super::{
    blocks::{Block, Rules, first},
    classes::{Classes, END, LETTER, NUMBER, OTHER, SPACE, contraction},
};

pub const PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

const RUNS: u8 = LETTER | NUMBER | OTHER;

/// The end of the piece that starts at `at`, which lies within `text`.
#[inline]
fn piece_end(classes: &Classes, text: &[u8], at: usize) -> usize {
    let (class, len) = classes.at(text, at);
    if class & SPACE != 0 {
        if text[at] == b' ' {
            let (next, next_len) = classes.at(text, at + 1);
            if next & RUNS != 0 {
                return classes.run(text, at + 1 + next_len, next & RUNS);
            }
        }
        return classes.space_end(text, at);
    }
    if text[at] == b'\'' {
        let len = contraction(text, at);
        if len > 0 {
            return at + len as usize;
        }
    }
    if class == END { at + 1 } else { classes.run(text, at + len, class & RUNS) }
}

/// The pattern for the block scanner.
#[derive(Clone, Copy)]
pub struct Gpt2<'a>(pub &'a Classes);

impl Rules for Gpt2<'_> {
    const STOP: u8 = SPACE;

    #[inline(always)]
    fn classes(&self) -> &Classes {
        self.0
    }

    #[inline(always)]
    fn piece_end(self, text: &[u8], at: usize) -> usize {
        piece_end(self.0, text, at)
    }

    #[inline(always)]
    fn starts(self, block: &Block, text: &[u8]) -> u64 {
        let Block { valid, letter, number, other, space, blank, quote, .. } = *block;
        let run = first(letter) | first(number) | first(other);
        // A run takes a space before it along; the last character of whitespace stands alone for what follows, and the
        // whitespace before it is a piece. What follows the last valid byte is not known.
        let last_space = space & !(space >> 1) & (valid >> 1);
        let mut starts = (run & !(blank << 1)) | first(space) | last_space;
        // An apostrophe that starts a piece may take letters along. These would be a run; what they leave of it is one.
        let mut quotes = quote & (starts | 1) & (letter >> 1);
        while quotes != 0 {
            let at = quotes.trailing_zeros();
            quotes &= quotes - 1;
            let len = contraction(text, at as usize);
            if len > 0 {
                starts &= !(2 << at);
                starts |= letter & 1_u64.checked_shl(at + len).unwrap_or(0);
            }
        }
        starts
    }
}
