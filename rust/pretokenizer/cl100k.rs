//! The `cl100k` pattern and its family as a scanner: contractions in any case, words with one character of nearly any kind
//! before them, numbers of a few digits, others with the newlines after them, whitespace runs cut after their last newline.
//!
//! The members of the family differ in the digits of a number and in whether marks are letters (`qwen2`: one digit;
//! `qwen3.5`: one digit, and marks are letters; `nanochat`: two digits).
//!
//! This is the original spelling, which Hugging Face and Llama 3 use. `tiktoken` 0.8 and later puts `\s++$` before
//! `\s*[\r\n]+` and thereby cuts whitespace at the end of a text differently; that spelling is another pattern, which is compiled.
//!
//! `\s*[\r\n]+` is one pass that remembers the last newline, where a backtracking engine would go to and fro. What
//! follows the last newline is looked at again, as a run without a newline, so each character is seen three times at
//! the most.

use super::{
    blocks::{Block, Rules, first, reach},
    classes::{Classes, END, LETTER, NEWLINE, NUMBER, OTHER, SPACE, contraction_any_case},
};

/// A member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most digits of a number.
    pub digits: u8,
    /// Marks are letters.
    pub marks: bool,
}

impl Options {
    /// The pattern.
    pub fn pattern(self) -> String {
        let number = number(self.digits);
        let (letter, other) =
            if self.marks { (r"[\p{L}\p{M}]", r"\p{L}\p{M}") } else { (r"\p{L}", r"\p{L}") };
        format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?{letter}+|{number}| ?[^\s{other}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    }
}

/// The pattern of a number.
pub fn number(digits: u8) -> String {
    if digits == 1 { r"\p{N}".to_owned() } else { format!(r"\p{{N}}{{1,{digits}}}") }
}

/// The end of the piece that starts at `at`, which lies within `text`.
#[inline]
fn piece_end(classes: &Classes, digits: u8, text: &[u8], at: usize) -> usize {
    let (class, len) = classes.at(text, at);
    if class & LETTER != 0 {
        return classes.run(text, at + len, LETTER);
    }
    if class & NUMBER != 0 {
        return number_end(classes, digits, text, at + len);
    }
    if class == END {
        return at + 1;
    }
    if text[at] == b'\'' {
        let len = contraction_any_case(text, at);
        if len > 0 {
            return at + len as usize;
        }
    }
    let (next, next_len) = classes.at(text, at + len);
    if next & LETTER != 0 && class & NEWLINE == 0 {
        return classes.run(text, at + len + next_len, LETTER);
    }
    if class & OTHER != 0 {
        let end = classes.run(text, at + len, OTHER);
        return classes.run(text, end, NEWLINE);
    }
    if next & OTHER != 0 && text[at] == b' ' {
        let end = classes.run(text, at + 1 + next_len, OTHER);
        return classes.run(text, end, NEWLINE);
    }
    classes.newline_or_space_end(text, at)
}

/// The end of a number of at most `digits` digits, the first of which ends at `at`.
#[inline]
pub fn number_end(classes: &Classes, digits: u8, text: &[u8], mut at: usize) -> usize {
    for _ in 1..digits {
        let (class, len) = classes.at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += len;
    }
    at
}

/// A member of the family for the block scanner.
#[derive(Clone, Copy)]
pub struct Cl100k<'a> {
    /// The classes, in which marks may be letters.
    pub classes: &'a Classes,
    /// The most digits of a number.
    pub digits: u8,
}

impl Rules for Cl100k<'_> {
    const STOP: u8 = SPACE | NUMBER;

    #[inline(always)]
    fn classes(&self) -> &Classes {
        self.classes
    }

    #[inline(always)]
    fn piece_end(self, text: &[u8], at: usize) -> usize {
        piece_end(self.classes, self.digits, text, at)
    }

    #[inline(always)]
    fn starts(self, block: &Block, text: &[u8]) -> u64 {
        let Block { letter, number, other, blank, newline, quote, .. } = *block;
        let other_start = first(other) & !(blank << 1);
        let behind_other = reach(other << 1, newline);
        // Letters are taken along by whitespace other than a newline, and by another character that is a piece so far.
        let letter_start = first(letter) & ((newline | number | (other & !block.whole(other_start))) << 1);
        let starts = other_start
            | letter_start
            | number_starts(number, self.digits)
            | space_starts(block, behind_other);
        // An apostrophe has taken the letters behind it along; a contraction ends sooner.
        let mut quotes = quote & other_start & (letter >> 1);
        let mut contraction_ends = 0;
        while quotes != 0 {
            let at = quotes.trailing_zeros();
            quotes &= quotes - 1;
            let len = contraction_any_case(text, at as usize);
            if len > 0 {
                contraction_ends |= 1_u64.checked_shl(at + len).unwrap_or(0);
            }
        }
        starts | (contraction_ends & letter)
    }
}

/// The starts of numbers of at most `digits` digits.
#[inline(always)]
pub fn number_starts(number: u64, digits: u8) -> u64 {
    if digits == 1 {
        return number;
    }
    let mut starts = first(number);
    // The digits that end as many digits as a number has, or more.
    let mut last = number & (number << 1);
    for _ in 2..digits {
        last &= last << 1;
    }
    let mut next = (starts << digits) & last;
    while next != 0 {
        starts |= next;
        next = (next << digits) & last;
    }
    starts
}

/// The starts of whitespace pieces, where `taken` are the newlines that belong to other characters before them.
#[inline(always)]
pub fn space_starts(block: &Block, taken: u64) -> u64 {
    let space = block.space & !taken;
    let newline = block.newline & !taken;
    let other_space = block.space & !block.newline;
    // The last character before something else stands alone for it. What follows the last valid byte is not known.
    let last = other_space & !(block.space >> 1) & (block.valid >> 1);
    // A piece ends after the last newline of a run. So whitespace behind a newline starts a piece unless it leads to
    // another newline, or to the end of what is known.
    let mut behind = (newline << 1) & other_space;
    if behind != 0 {
        let (sum, overflow) = behind.overflowing_add(other_space);
        let mut undone = sum & !other_space & (newline | !block.valid);
        while undone != 0 {
            let end = undone & undone.wrapping_neg();
            undone ^= end;
            behind &= !last_bit(behind & (end - 1));
        }
        if overflow {
            behind &= !last_bit(behind);
        }
    }
    first(space) | behind | last
}

/// The highest bit of a mask that has one.
#[inline(always)]
fn last_bit(mask: u64) -> u64 {
    mask.checked_ilog2().map_or(0, |bit| 1 << bit)
}
