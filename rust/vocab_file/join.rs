//! Byte-pair encoding of one token's own bytes, by any ranking of pairs: readers ask it how a token comes about.
//!
//! Parts are a linked list over byte positions, candidate pairs wait in a heap, and an entry whose parts have changed
//! since is dropped when it comes up: O(n log n) rankings for n bytes, so one long token does not cost its square. The encoder
//! proper is another: it works on ids, and on a vocabulary that is already known.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Buffers, kept from token to token.
#[derive(Default)]
pub struct Joiner {
    /// Where the part that starts here ends.
    end: Vec<usize>,
    /// Where the part before the one that starts here starts.
    before: Vec<usize>,
    /// Rank, then the leftmost: start, middle and end of a pair.
    heap: BinaryHeap<Reverse<(u32, usize, usize, usize)>>,
}

/// No part: `end` of a position inside a part.
const INSIDE: usize = 0;

impl Joiner {
    /// The starts of the parts that are left of `len` bytes. `rank` ranks the pair (start, middle, end).
    pub fn join(&mut self, len: usize, rank: impl Fn(usize, usize, usize) -> Option<u32>) -> Vec<usize> {
        self.end.clear();
        self.end.extend(1..=len);
        self.before.clear();
        self.before.extend((0..len).map(|i| i.saturating_sub(1)));
        self.heap.clear();
        for start in 0..len.saturating_sub(1) {
            self.propose(start, start + 1, &rank);
        }
        while let Some(Reverse((_, start, middle, end))) = self.heap.pop() {
            if self.end[start] != middle || self.end[middle] != end {
                continue;
            }
            self.end[start] = end;
            self.end[middle] = INSIDE;
            if end < len {
                self.before[end] = start;
                self.propose(start, end, &rank);
            }
            if start > 0 {
                self.propose(self.before[start], start, &rank);
            }
        }
        (0..len).filter(|i| self.end[*i] != INSIDE).collect()
    }

    fn propose(&mut self, start: usize, middle: usize, rank: impl Fn(usize, usize, usize) -> Option<u32>) {
        let end = self.end[middle];
        if let Some(rank) = rank(start, middle, end) {
            self.heap.push(Reverse((rank, start, middle, end)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_textbook(text in "[ab]{0,40}", words in prop::collection::vec("[ab]{1,12}", 0..5)) {
            let words: Vec<_> = words.into_iter().map(|w| (w.into_bytes(), 1)).collect();
            let merges = naive::train(&words, 12, naive::TieBreak::Bytes);
            let text = text.into_bytes();
            let rank = |a: usize, b: usize, c: usize| {
                let at = merges.iter().position(|(l, r)| l[..] == text[a..b] && r[..] == text[b..c]);
                at.map(|k| u32::try_from(k).unwrap())
            };
            let starts = Joiner::default().join(text.len(), rank);
            let mut expected = vec![0];
            expected.extend(naive::encode(&text, &merges).iter().scan(0, |at, t| { *at += t.len(); Some(*at) }));
            expected.pop();
            prop_assert_eq!(starts, expected);
        }
    }
}
