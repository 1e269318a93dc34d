//! The `cl100k` pattern as a scanner: contractions in any case, words with one character of nearly any kind before
//! them, numbers of at most three digits, others with the newlines behind them, whitespace runs cut after their last
//! newline.
//!
//! This is the original spelling, which Hugging Face and Llama 3 use. `tiktoken` 0.8 and later puts `\s++$` before
//! `\s*[\r\n]+` and thereby cuts whitespace at the end of a text differently; that spelling works as a custom pattern.
//!
//! `\s*[\r\n]+` is one pass that remembers the last newline, where a backtracking engine would go to and fro. What
//! follows the last newline is looked at again, as a run without a newline, so each character is seen three times at
//! the most.

use super::classes::{Classes, END, LETTER, NEWLINE, NUMBER, OTHER, SPACE, contraction_any_case};

pub const PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The end of the piece that starts at `at`, which lies within `text`.
#[inline]
pub fn piece_end(classes: &Classes, text: &[u8], at: usize) -> usize {
    let (class, len) = classes.at(text, at);
    if class & LETTER != 0 {
        return classes.run(text, at + len, LETTER);
    }
    if class & NUMBER != 0 {
        return number_end(classes, text, at + len);
    }
    if class == END {
        return at + 1;
    }
    if text[at] == b'\'' {
        let len = contraction_any_case(text, at);
        if len > 0 {
            return at + len;
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

/// The end of `\p{N}{1,3}` whose first number ends at `at`.
#[inline]
pub fn number_end(classes: &Classes, text: &[u8], mut at: usize) -> usize {
    for _ in 0..2 {
        let (class, len) = classes.at(text, at);
        if class & NUMBER == 0 {
            break;
        }
        at += len;
    }
    at
}

/// Whether cutting between two characters never changes the pieces.
///
/// * After a letter: every piece with a letter in it ends with its letters (a contraction ends with one too).
/// * After a number: so does every piece with a number.
/// * After another character: a letter may join it and so may newlines; a number or other whitespace may not.
/// * After a newline: `\s*[\r\n]+` and the newlines behind other characters both end there, unless whitespace goes on:
///   a later newline would be taken into the same piece.
/// * After other whitespace: the run is one piece at the end of a text and two before other characters.
pub fn is_safe_cut(classes: &Classes, before: char, after: char) -> bool {
    let (class, next) = (classes.of(before), classes.of(after));
    if class & (LETTER | NUMBER) != 0 {
        class & next & (LETTER | NUMBER) == 0
    } else if class & OTHER != 0 {
        next & (NUMBER | SPACE) != 0 && next & NEWLINE == 0
    } else {
        class & NEWLINE != 0 && next & SPACE == 0
    }
}
