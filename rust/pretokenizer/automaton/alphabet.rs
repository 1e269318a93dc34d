//! The classes of a pattern: characters that no set of the pattern tells apart are one symbol to its automata.
//!
//! The sets of a pattern have up to two thousand ranges together. A sweep over their ends finds the classes, a few dozen
//! in practice; a flat table then gives the class of each code point in one load, as for the named patterns.

use super::syntax::Unsupported;
use crate::pretokenizer::classes::Classes;
use regex_syntax::hir::ClassUnicode;
use std::collections::HashMap;

/// A set of classes; bit 0 is the end of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClassSet([u64; 4]);

/// The end of the text, or a byte that is no part of a character.
pub const END: u8 = 0;

/// The most classes that fit into a byte beside [`END`].
const MAX_CLASSES: usize = 255;

/// The most different sets in a pattern.
const MAX_SETS: usize = 128;

impl ClassSet {
    /// Adds a class.
    pub fn insert(&mut self, class: u8) {
        self.0[usize::from(class / 64)] |= 1 << (class % 64);
    }

    /// Adds the classes of another set.
    pub fn extend(&mut self, other: ClassSet) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own |= other;
        }
    }

    /// Whether a class is in the set.
    pub fn contains(&self, class: u8) -> bool {
        self.0[usize::from(class / 64)] >> (class % 64) & 1 != 0
    }
}

/// The classes of a pattern, numbered from 1.
pub struct Alphabet {
    sets: Vec<ClassUnicode>,
    /// By set, the classes that are in it.
    members: Vec<ClassSet>,
    /// Ranges of code points in order, each with its class; surrogates are left out.
    ranges: Vec<(u32, u32, u8)>,
    /// Classes with [`END`].
    num_classes: usize,
}

impl Alphabet {
    /// The classes that the given sets tell apart.
    ///
    /// # Errors
    /// If there are too many of either.
    pub fn new(mut sets: Vec<ClassUnicode>) -> Result<Self, Unsupported> {
        sets.sort_by(|a, b| a.ranges().cmp(b.ranges()));
        sets.dedup();
        if sets.len() > MAX_SETS {
            return Err(format!("it has more than {MAX_SETS} sets of characters"));
        }
        let mut changes: Vec<(u32, usize)> =
            vec![(0, usize::MAX), (0xD800, usize::MAX), (0xE000, usize::MAX)];
        for (index, set) in sets.iter().enumerate() {
            for range in set.ranges() {
                changes.extend([(range.start() as u32, index), (range.end() as u32 + 1, index)]);
            }
        }
        changes.sort_unstable();
        let mut classes: HashMap<u128, u8> = HashMap::new();
        let mut members = vec![ClassSet::default(); sets.len()];
        let mut ranges = Vec::new();
        let mut signature = 0_u128;
        let mut changes = changes.into_iter().peekable();
        while let Some((start, index)) = changes.next() {
            if let Some(bit) = 1_u128.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)) {
                signature ^= bit;
            }
            let end = changes.peek().map_or(0x11_0000, |next| next.0);
            if start >= end || start == 0xD800 {
                continue;
            }
            let next = classes.len() + 1;
            let class = *classes.entry(signature).or_insert(u8::try_from(next).unwrap_or(END));
            if class == END {
                return Err(format!("its sets tell more than {MAX_CLASSES} classes of characters apart"));
            }
            if classes.len() == next {
                for (index, set) in members.iter_mut().enumerate() {
                    if signature >> index & 1 != 0 {
                        set.insert(class);
                    }
                }
            }
            ranges.push((start, end - 1, class));
        }
        Ok(Self { sets, members, ranges, num_classes: classes.len() + 1 })
    }

    /// The classes in one of the sets that the alphabet was made of.
    pub fn classes_in(&self, set: &ClassUnicode) -> ClassSet {
        let index = self.sets.iter().position(|own| own == set);
        index.map_or_else(ClassSet::default, |index| self.members[index])
    }

    /// The number of classes, [`END`] counted.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// The class of each code point.
    pub fn table(&self) -> Classes {
        Classes::of_ranges(&self.ranges)
    }
}
