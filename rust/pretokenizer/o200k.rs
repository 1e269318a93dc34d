//! The `o200k` pattern and its family as a scanner: words of an upper-case part and a lower-case part with one character of
//! nearly any kind before and a contraction after, numbers of a few digits, others with the newlines and slashes after
//! them, whitespace runs cut after their last newline.
//!
//! The members of the family differ in the digits of a number and in whether words take contractions along (`tekken`: one
//! digit, no contractions).
//!
//! The two word alternatives overlap: modifier letters, other letters (Chinese, say) and marks belong to both parts. A
//! backtracking engine takes the longest upper part and gives back until the lower part has a character. Worked out:
//! let the run of upper-part characters end at `q`.
//! * A lower-case letter stands at `q`: the word goes on to the end of the lower part.
//! * Otherwise, if the run holds a character of both parts: the word ends after the last such character, for the first
//!   alternative gives back until it stands there.
//! * Otherwise the first alternative fails, and the second takes the whole run.
//!
//! One pass that remembers the last character of both parts decides this. What it leaves is upper-case only and is
//! seen once more, so time stays linear on any text.

use super::{
    blocks::{Block, Rules, first, reach},
    cl100k::{number, number_end, number_starts, space_starts},
    classes::{
        Classes, END, LETTER, LOWER, MARK, NEWLINE, NUMBER, OTHER, SPACE, UPPER, contraction_any_case,
    },
};

/// A member of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most digits of a number.
    pub digits: u8,
    /// Words take contractions along.
    pub contractions: bool,
}

impl Options {
    /// The pattern.
    pub fn pattern(self) -> String {
        let number = number(self.digits);
        let contraction = if self.contractions { "(?i:'s|'t|'re|'ve|'m|'ll|'d)?" } else { "" };
        format!(
            r"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{contraction}|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{contraction}|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    }
}

const WORD: u8 = LETTER | MARK;

/// The end of the piece that starts at `at`, which lies within `text`.
#[inline]
fn piece_end(classes: &Classes, options: Options, text: &[u8], at: usize) -> usize {
    let (class, len) = classes.at(text, at);
    // A mark may stand before a word or within it; both readings end at the same place, since a mark is in both parts.
    if class & WORD != 0 {
        return word_end(classes, options, text, at);
    }
    if class & NUMBER != 0 {
        return number_end(classes, options.digits, text, at + len);
    }
    if class == END {
        return at + 1;
    }
    let (next, next_len) = classes.at(text, at + len);
    if next & WORD != 0 && class & NEWLINE == 0 {
        return word_end(classes, options, text, at + len);
    }
    if class & OTHER != 0 {
        return other_end(classes, text, at + len);
    }
    if next & OTHER != 0 && text[at] == b' ' {
        return other_end(classes, text, at + 1 + next_len);
    }
    classes.newline_or_space_end(text, at)
}

/// The end of the word whose first letter or mark stands at `at`, contraction included.
#[inline]
fn word_end(classes: &Classes, options: Options, text: &[u8], at: usize) -> usize {
    let (mut end, mut last_of_both) = (at, at);
    let end = loop {
        let (class, len) = classes.at(text, end);
        if class & LOWER != 0 {
            break lower_end(classes, text, end + len);
        }
        if class & WORD == 0 {
            break if last_of_both > at { last_of_both } else { end };
        }
        end += len;
        if class & UPPER == 0 {
            last_of_both = end;
        }
    };
    if options.contractions && text.get(end) == Some(&b'\'') {
        end + contraction_any_case(text, end) as usize
    } else {
        end
    }
}

/// The end of the run of characters of the lower part.
#[inline]
fn lower_end(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    loop {
        let (class, len) = classes.at(text, at);
        if class & WORD == 0 || class & UPPER != 0 {
            return at;
        }
        at += len;
    }
}

/// The end of `[^\s\p{L}\p{N}]*[\r\n/]*` at `at`.
#[inline]
fn other_end(classes: &Classes, text: &[u8], at: usize) -> usize {
    let mut end = classes.run(text, at, OTHER);
    while let Some(b'\r' | b'\n' | b'/') = text.get(end) {
        end += 1;
    }
    end
}

/// A member of the family for the block scanner.
#[derive(Clone, Copy)]
pub struct O200k<'a> {
    /// The classes.
    pub classes: &'a Classes,
    /// The member.
    pub options: Options,
}

impl Rules for O200k<'_> {
    const STOP: u8 = SPACE | NUMBER;

    #[inline(always)]
    fn classes(&self) -> &Classes {
        self.classes
    }

    #[inline(always)]
    fn piece_end(self, text: &[u8], at: usize) -> usize {
        piece_end(self.classes, self.options, text, at)
    }

    #[inline(always)]
    fn starts(self, block: &Block, text: &[u8]) -> u64 {
        let Block { upper, lower, number, blank, newline, quote, slash, .. } = *block;
        // Marks behind a letter are part of its word. Others may be part of anything; what they lead to is left open.
        let mark = reach(block.letter << 1, block.mark);
        let letter = block.letter | mark;
        let any_other = block.other & !block.mark;
        let mut open = block.mark & !mark;
        // A word ends where upper case follows lower case, with letters of both parts between them or not. Upper case
        // behind letters of both parts alone may belong to them or not, as what follows tells.
        let both = letter & !(upper | lower);
        let in_lower = lower | reach(lower << 1, both);
        let case_start = upper & (in_lower << 1);
        open |= upper & ((both & !in_lower) << 1);
        let mut known = open.wrapping_sub(1) & !open;

        let behind_other = reach((any_other << 1) & newline, newline | slash);
        let other = any_other & !behind_other;
        let other_start = first(other) & !(blank << 1);
        let letter_start =
            first(letter) & ((newline | number | (any_other & !block.whole(other_start))) << 1);
        let mut starts = other_start
            | letter_start
            | case_start
            | number_starts(number, self.options.digits)
            | space_starts(block, behind_other & newline);
        // A word takes a contraction along, one only: the apostrophe of a second one starts a word.
        let mut quotes = if self.options.contractions { quote & (letter << 1) } else { 0 };
        let mut contraction_end = 0;
        while quotes != 0 {
            let at = quotes.trailing_zeros();
            quotes &= quotes - 1;
            let len = contraction_any_case(text, at as usize);
            if len > 0 && at != contraction_end {
                contraction_end = at + len;
                let taken = ((1 << len) - 1) << at;
                starts &= !taken;
                let next = 1_u64.checked_shl(contraction_end).unwrap_or(0);
                starts |= letter & next;
                // The lower case of the contraction is not part of the word that begins here.
                if both & next != 0 {
                    known &= (next << 1).wrapping_sub(1);
                }
            }
        }
        starts & known
    }
}
