//! Character classes: one byte of class bits for each code point, and reading one character with its class.
//!
//! The table is flat: a class costs one load and no search. Of its 1.1 MB a text touches only the pages of its scripts
//! (a few kilobytes for Latin, 20 KB for Chinese). It is filled once per process, in about a millisecond, from the
//! tables of `regex-syntax`, so a scanner and a regex can never disagree about a character.
//!
//! Rejected: range lists with binary search (ten times slower on Japanese), and a two-level table (a second dependent
//! load for each character, to save memory that is never touched anyway).

use regex_syntax::{
    Parser,
    hir::{Class, HirKind},
};
use std::sync::LazyLock;

/// `\p{Lu}` or `\p{Lt}`: what can only stand in the upper-case part of an `o200k` word.
pub const UPPER: u8 = 1;
/// `\p{Ll}`: what can only stand in the lower-case part of an `o200k` word.
pub const LOWER: u8 = 2;
/// `\p{L}`.
pub const LETTER: u8 = 4;
/// `\p{M}`; a mark is [`OTHER`] too.
pub const MARK: u8 = 8;
/// `\p{N}`.
pub const NUMBER: u8 = 16;
/// `\s`.
pub const SPACE: u8 = 32;
/// `[\r\n]`, which is [`SPACE`] too.
pub const NEWLINE: u8 = 64;
/// `[^\s\p{L}\p{N}]`.
pub const OTHER: u8 = 128;
/// No bit at all: the end of the text, or a byte that is no part of a valid character. Both end every run.
pub const END: u8 = 0;

const NUM_CODE_POINTS: usize = 0x11_0000;

/// The class of each code point; surrogates, which are no characters, have [`END`].
#[derive(Debug)]
pub struct Classes(Box<[u8; NUM_CODE_POINTS]>);

/// The table. A scanner takes the reference once per batch, so its inner loop does not pay for the check.
pub static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::new);

/// The same with marks as letters: for patterns with `[\p{L}\p{M}]` where others have `\p{L}`.
pub static CLASSES_WITH_MARKS: LazyLock<Classes> = LazyLock::new(|| {
    let mut classes = Classes::new();
    for class in classes.0.iter_mut().filter(|class| **class & MARK != 0) {
        *class = LETTER;
    }
    classes
});

impl Classes {
    fn new() -> Self {
        let mut table: Box<[u8; NUM_CODE_POINTS]> = vec![OTHER; NUM_CODE_POINTS]
            .try_into()
            .unwrap_or_else(|_| unreachable!("the length is the type's"));
        for (class, bits) in
            [(r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE), (r"[\r\n]", SPACE | NEWLINE)]
        {
            set(&mut table, class, |_| bits);
        }
        for (class, bit) in [(r"[\p{Lu}\p{Lt}]", UPPER), (r"\p{Ll}", LOWER), (r"\p{M}", MARK)] {
            set(&mut table, class, |old| old | bit);
        }
        table[0xD800..0xE000].fill(END);
        Self(table)
    }

    /// A table of other classes than those above: ranges of code points, each with its class. What is in none has [`END`].
    pub fn of_ranges(ranges: &[(u32, u32, u8)]) -> Self {
        let mut table: Box<[u8; NUM_CODE_POINTS]> = vec![END; NUM_CODE_POINTS]
            .try_into()
            .unwrap_or_else(|_| unreachable!("the length is the type's"));
        for &(first, last, class) in ranges {
            table[first as usize..=last as usize].fill(class);
        }
        Self(table)
    }

    /// The class of a character.
    #[inline]
    pub fn of(&self, character: char) -> u8 {
        self.0.get(character as usize).copied().unwrap_or(END)
    }

    /// The class of an ASCII byte; of a greater byte, the class of the code point of that number.
    #[inline]
    pub fn of_byte(&self, byte: u8) -> u8 {
        self.0[usize::from(byte)]
    }

    /// The class of the character that starts at `at`, and its length in bytes; at the end and at an invalid byte
    /// [`END`] and a length that means nothing.
    #[inline]
    pub fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        match text.get(at) {
            Some(&byte) if byte < 0x80 => (self.of_byte(byte), 1),
            Some(_) => self.at_wide(text, at),
            None => (END, 1),
        }
    }

    /// [`Classes::at`] where a byte above 0x7F stands.
    ///
    /// The length comes from the first byte alone, through a branch that one script always takes the same way: so a
    /// processor can go on to the next character while it waits for the class of this one.
    #[inline]
    pub fn at_wide(&self, text: &[u8], at: usize) -> (u8, usize) {
        if let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk()) {
            return self.of_bytes(*bytes);
        }
        let mut bytes = [0; 4];
        for (byte, &given) in bytes.iter_mut().zip(text.get(at..).unwrap_or_default()) {
            *byte = given;
        }
        self.of_bytes(bytes)
    }

    /// The class and length of the character above 0x7F that `bytes` begin with. Too long forms, surrogates and numbers
    /// past the last code point are invalid.
    #[inline]
    fn of_bytes(&self, bytes: [u8; 4]) -> (u8, usize) {
        let lead = usize::from(bytes[0]);
        // The low six bits of the continuation bytes; any other byte gives a number with a high bit set.
        let [_, tail1, tail2, tail3] = bytes.map(|byte| usize::from(byte ^ 0x80));
        match lead {
            0xE0..=0xEF => {
                let code = (lead & 0x0F) << 12 | (tail1 & 0x3F) << 6 | tail2 & 0x3F;
                let valid = (tail1 | tail2) < 0x40 && code >= 0x800;
                (if valid { self.0[code] } else { END }, 3)
            }
            0xC2..=0xDF => {
                let code = (lead & 0x1F) << 6 | tail1 & 0x3F;
                (if tail1 < 0x40 { self.0[code] } else { END }, 2)
            }
            0xF0..=0xF4 => {
                let code = (lead & 0x07) << 18 | (tail1 & 0x3F) << 12 | (tail2 & 0x3F) << 6 | tail3 & 0x3F;
                let valid = (tail1 | tail2 | tail3) < 0x40 && (0x1_0000..NUM_CODE_POINTS).contains(&code);
                (if valid { self.0[code] } else { END }, 4)
            }
            _ => (END, 1),
        }
    }

    /// The end of the run of characters with one of `bits` that starts at `at`.
    #[inline]
    pub fn run(&self, text: &[u8], mut at: usize, bits: u8) -> usize {
        loop {
            let (class, len) = self.at(text, at);
            if class & bits == 0 {
                return at;
            }
            at += len;
        }
    }

    /// The end of `\s+(?!\S)|\s+` at `at`, where a whitespace character stands: the run, less its last character when
    /// something follows that could take it.
    #[inline]
    pub fn space_end(&self, text: &[u8], at: usize) -> usize {
        let (mut end, mut last) = (at, at);
        loop {
            let (class, len) = self.at(text, end);
            if class & SPACE == 0 {
                return if class == END || last == at { end } else { last };
            }
            last = end;
            end += len;
        }
    }

    /// The end of `\s*[\r\n]+|\s+(?!\S)|\s+` at `at`, where a whitespace character stands: if there is a newline in the
    /// run, then after the last one.
    #[inline]
    pub fn newline_or_space_end(&self, text: &[u8], at: usize) -> usize {
        let (mut end, mut last, mut newline) = (at, at, at);
        loop {
            let (class, len) = self.at(text, end);
            if class & SPACE == 0 {
                return match newline {
                    newline if newline > at => newline,
                    _ if class == END || last == at => end,
                    _ => last,
                };
            }
            last = end;
            end += len;
            if class & NEWLINE != 0 {
                newline = end;
            }
        }
    }
}

/// Gives each code point of `class` the bits that `new_bits` makes of its old ones.
fn set(table: &mut [u8; NUM_CODE_POINTS], class: &str, new_bits: impl Fn(u8) -> u8) {
    let hir = Parser::new()
        .parse(class)
        .unwrap_or_else(|error| unreachable!("a class of the tables above: {error}"));
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else {
        unreachable!("a class of the tables above")
    };
    for range in class.ranges() {
        for bits in &mut table[range.start() as usize..=range.end() as usize] {
            *bits = new_bits(*bits);
        }
    }
}

/// The length of `'s|'t|'re|'ve|'m|'ll|'d` at `at`, where an apostrophe stands; 0 if there is none.
#[inline]
pub fn contraction(text: &[u8], at: usize) -> u32 {
    match text.get(at + 1) {
        Some(b's' | b't' | b'm' | b'd') => 2,
        Some(b'r' | b'v') if text.get(at + 2) == Some(&b'e') => 3,
        Some(b'l') if text.get(at + 2) == Some(&b'l') => 3,
        _ => 0,
    }
}

/// The length of `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at `at`, where an apostrophe stands; 0 if there is none.
///
/// Of these letters `s` alone has a case variant outside of ASCII: U+017F, the long s, two bytes.
#[inline]
pub fn contraction_any_case(text: &[u8], at: usize) -> u32 {
    let second = || text.get(at + 2).map(u8::to_ascii_lowercase);
    match text.get(at + 1).map(u8::to_ascii_lowercase) {
        Some(b's' | b't' | b'm' | b'd') => 2,
        Some(b'r' | b'v') if second() == Some(b'e') => 3,
        Some(b'l') if second() == Some(b'l') => 3,
        Some(0xC5) if text.get(at + 2) == Some(&0xBF) => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts that tiktoken 0.14 and tokenizers 0.23 have: Unicode 16.
    #[test]
    fn the_tables_are_unicode_16() {
        let count_if = |test: fn(u8) -> bool| CLASSES.0.iter().filter(|&&class| test(class)).count();
        assert_eq!(count_if(|class| class & LETTER != 0), 141_028);
        assert_eq!(count_if(|class| class & NUMBER != 0), 1_911);
        assert_eq!(count_if(|class| class & MARK != 0), 2_501);
        assert_eq!(count_if(|class| class & SPACE != 0), 25);
        assert_eq!(count_if(|class| class & NEWLINE != 0), 2);
        assert_eq!(count_if(|class| class == END), 0x800);
    }

    #[test]
    fn each_class_has_one_main_bit() {
        for class in ('\0'..=char::MAX).map(|c| CLASSES.of(c)) {
            assert_eq!((class & (LETTER | NUMBER | SPACE | OTHER)).count_ones(), 1);
            assert!(class & (UPPER | LOWER) == 0 || class & LETTER != 0);
            assert!(class & MARK == 0 || class & OTHER != 0);
        }
    }

    #[test]
    fn each_character_is_read_whole() {
        for c in '\0'..=char::MAX {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(CLASSES.at(bytes, 0), (CLASSES.of(c), bytes.len()));
            if bytes.len() > 1 {
                assert_eq!(CLASSES.at(&bytes[..bytes.len() - 1], 0).0, END);
            }
        }
    }

    /// All pairs and many quadruples of bytes: exactly what `str::from_utf8` refuses is invalid.
    #[test]
    fn invalid_bytes_are_those_of_the_standard_library() {
        for lead in 0x80..=0xFF_u8 {
            for second in 0..=0xFF_u8 {
                for rest in [[0x80, 0x80], [0xBF, 0xBF], [0x80, b'a'], [b'a', 0x80], [0xC0, 0x80]] {
                    let bytes = [lead, second, rest[0], rest[1]];
                    let len = (2..=4).find(|&len| {
                        std::str::from_utf8(&bytes[..len]).is_ok_and(|s| s.chars().count() == 1)
                    });
                    let (class, read) = CLASSES.at(&bytes, 0);
                    assert_eq!((class != END).then_some(read), len, "{bytes:x?}");
                }
            }
        }
    }
}
