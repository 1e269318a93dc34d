//! Sets of characters that a step may change, and a fast way past all others.

use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::LazyLock;

/// A set of characters: one bit for each code point.
pub struct Marked {
    /// Bits by code point.
    words: Vec<u64>,
    /// No character in the set has a smaller first byte in UTF-8.
    least: u8,
}

/// Bytes looked at together.
const BLOCK: usize = 32;

/// Characters whose lower case is another text.
pub static LOWERCASE: LazyLock<Marked> = LazyLock::new(|| Marked::of(|c| !c.to_lowercase().eq([c])));

impl Marked {
    /// The characters for which `is_in` holds.
    pub fn of(is_in: impl Fn(char) -> bool) -> Self {
        let mut words = vec![0; 0x11_0000 / 64];
        ('\0'..=char::MAX)
            .filter(|&c| is_in(c))
            .for_each(|c| words[c as usize / 64] |= 1 << (c as usize % 64));
        Self::new(words)
    }

    /// The characters of a class as `regex-syntax` spells it.
    pub fn of_class(class: &str) -> Self {
        let hir = regex_syntax::parse(class).ok();
        let ranges = match hir.as_ref().map(Hir::kind) {
            Some(HirKind::Class(Class::Unicode(class))) => class.ranges(),
            _ => &[],
        };
        let mut words = vec![0; 0x11_0000 / 64];
        for c in ranges.iter().flat_map(|range| range.start()..=range.end()) {
            words[c as usize / 64] |= 1 << (c as usize % 64);
        }
        Self::new(words)
    }

    fn new(words: Vec<u64>) -> Self {
        let mut marked = Marked { words, least: 0 };
        let first = ('\0'..=char::MAX).find(|&c| marked.contains(c));
        marked.least = first.map_or(u8::MAX, |c| c.encode_utf8(&mut [0; 4]).as_bytes()[0]);
        marked
    }

    /// Whether a character is in the set.
    #[inline]
    pub fn contains(&self, c: char) -> bool {
        self.words[c as usize / 64] >> (c as usize % 64) & 1 != 0
    }

    /// The first character of the set at or after a place in a text.
    pub fn find(&self, text: &str, from: usize) -> Option<(usize, char)> {
        let bytes = text.as_bytes();
        let least = self.least;
        let mut at = from;
        while at < bytes.len() {
            if let Some(block) = bytes[at..].first_chunk::<BLOCK>()
                && block.iter().copied().fold(0, u8::max) < least
            {
                at += BLOCK;
                continue;
            }
            // To the end of the block, or of a character that goes on behind it.
            let end = bytes.len().min(at + BLOCK);
            while at < end {
                let byte = bytes[at];
                if byte < least || byte & 0xC0 == 0x80 {
                    // Of a character that begins with less, or the rest of one.
                    at += 1;
                    continue;
                }
                let (word, len) = match bytes[at..] {
                    [a, ..] if a < 0x80 => (usize::from(a) / 64, 1),
                    [a, ..] if a < 0xE0 => (usize::from(a & 0x1F), 2),
                    [a, b, ..] if a < 0xF0 => (usize::from(a & 0xF) << 6 | usize::from(b & 0x3F), 3),
                    [a, b, c, ..] => {
                        (usize::from(a & 7) << 12 | usize::from(b & 0x3F) << 6 | usize::from(c & 0x3F), 4)
                    }
                    _ => return None,
                };
                // Most words have no bit, and then the last byte does not count.
                let word = self.words[word];
                let bit = bytes[at + len - 1] & 0x3F;
                if word != 0 && word >> bit & 1 != 0 {
                    return Some((at, text[at..].chars().next()?));
                }
                at += len;
            }
        }
        None
    }

    /// The text with each character of the set replaced; `None` if there is none.
    pub fn replace(&self, text: &str, put: impl Fn(char, &mut String)) -> Option<String> {
        let (mut at, mut c) = self.find(text, 0)?;
        let (mut new, mut done) = (String::with_capacity(text.len()), 0);
        loop {
            new.push_str(&text[done..at]);
            put(c, &mut new);
            done = at + c.len_utf8();
            match self.find(text, done) {
                Some(next) => (at, c) = next,
                None => break,
            }
        }
        new.push_str(&text[done..]);
        Some(new)
    }
}
