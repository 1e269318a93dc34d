//! Sets of characters that a step may change, and a fast way past all others.

use regex_syntax::hir::{Class, Hir, HirKind};
use std::sync::LazyLock;

/// A set of characters: one bit for each code point.
pub struct Marked {
    /// Bits by code point.
    words: Vec<u64>,
    /// Ranges of bytes, each as its first and how many follow, among which are all that a character of the set begins with, and
    /// no byte that goes on with a character.
    leads: [(u8, u8); NUM_RANGES],
    /// The first of those bytes.
    least: u8,
}

/// Bytes looked at together.
const BLOCK: usize = 32;
/// Enough to leave out Han and Hangul, of which no form changes a character, and what stands between marks of other scripts.
const NUM_RANGES: usize = 6;

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
        let mut marked = Marked { words, leads: [(u8::MAX, 0); NUM_RANGES], least: u8::MAX };
        let mut is_lead = [false; 256];
        for c in ('\0'..=char::MAX).filter(|&c| marked.contains(c)) {
            is_lead[usize::from(c.encode_utf8(&mut [0; 4]).as_bytes()[0])] = true;
        }
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for lead in (0..=u8::MAX).filter(|&lead| is_lead[usize::from(lead)]) {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == lead => *end = lead,
                _ => ranges.push((lead, lead)),
            }
        }
        // Those with the smallest gap become one; no gap has bytes that go on with a character, since ASCII is no more than one range.
        while ranges.len() > NUM_RANGES {
            let gap = |k: &usize| ranges[k + 1].0 - ranges[*k].1;
            let first = (0..ranges.len() - 1).min_by_key(gap).unwrap_or_default();
            ranges[first].1 = ranges.remove(first + 1).1;
        }
        marked.least = ranges.first().map_or(u8::MAX, |range| range.0);
        for (lead, (start, end)) in marked.leads.iter_mut().zip(ranges) {
            *lead = (start, end - start);
        }
        marked
    }

    /// Whether a character is in the set.
    #[inline]
    pub fn contains(&self, c: char) -> bool {
        self.words[c as usize / 64] >> (c as usize % 64) & 1 != 0
    }

    /// The first character of the set at or after a place in a text.
    pub fn find(&self, text: &str, from: usize) -> Option<(usize, char)> {
        let at = self.find_in(text.as_bytes(), from)?;
        Some((at, text[at..].chars().next()?))
    }

    /// [`Marked::find`] in any bytes; what it finds in some that are no UTF-8 may be no character.
    pub fn find_in(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let least = self.least;
        let (blocks, tail) = bytes[from..].as_chunks::<BLOCK>();
        for (start, block) in (from..).step_by(BLOCK).zip(blocks) {
            if block.iter().copied().fold(0, u8::max) < least {
                continue;
            }
            // One byte for each, then eight of them as a number: what the compiler makes vector instructions of.
            let flags = block.map(|byte| u8::from(self.is_lead(byte)));
            for (k, flags) in flags.as_chunks::<8>().0.iter().enumerate() {
                let mut flags = u64::from_le_bytes(*flags);
                while flags != 0 {
                    let at = start + 8 * k + flags.trailing_zeros() as usize / 8;
                    if self.has(bytes, at) {
                        return Some(at);
                    }
                    flags &= flags - 1;
                }
            }
        }
        (bytes.len() - tail.len()..bytes.len()).find(|&at| self.is_lead(bytes[at]) && self.has(bytes, at))
    }

    /// Whether the character that begins at a place is in the set.
    #[inline]
    fn has(&self, bytes: &[u8], at: usize) -> bool {
        let part = |k: usize| usize::from(bytes.get(at + k).copied().unwrap_or_default() & 0x3F);
        let first = bytes[at];
        let (word, last) = match first {
            0..=0x7F => (usize::from(first) / 64, usize::from(first) % 64),
            0x80..=0xDF => (usize::from(first & 0x1F), part(1)),
            0xE0..=0xEF => (usize::from(first & 0xF) << 6 | part(1), part(2)),
            _ => (usize::from(first & 7) << 12 | part(1) << 6 | part(2), part(3)),
        };
        self.words.get(word).is_some_and(|word| word >> last & 1 != 0)
    }

    /// Whether a character of the set may begin with a byte.
    #[inline]
    fn is_lead(&self, byte: u8) -> bool {
        // Without a branch for each range.
        let is_in = |(start, num): &(u8, u8)| u8::from(byte.wrapping_sub(*start) <= *num);
        self.leads.iter().map(is_in).fold(0, u8::max) != 0
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
