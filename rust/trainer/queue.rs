//! The pairs that may be merged, the best on top: a binary heap whose order needs the tokens' bytes at hand.
//!
//! `std::collections::BinaryHeap` compares entries by themselves, so each would carry or share its bytes. Here an entry is
//! 24 bytes; the bytes are looked at only where count and prefix are equal.

use super::tokens::Tokens;

/// A pair with the count it had when it was put in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub count: u64,
    /// Decides most ties by itself, the higher first: see [`Tokens::candidate`].
    pub tie: u64,
    pub left: u32,
    pub right: u32,
}

/// A max-heap.
#[derive(Default)]
pub(super) struct Queue {
    heap: Vec<Candidate>,
}

impl Queue {
    pub fn push(&mut self, candidate: Candidate, tokens: &Tokens) {
        let mut at = self.heap.len();
        self.heap.push(candidate);
        while at > 0 {
            let parent = (at - 1) / 2;
            if !tokens.is_before(&candidate, &self.heap[parent]) {
                break;
            }
            self.heap[at] = self.heap[parent];
            at = parent;
        }
        self.heap[at] = candidate;
    }

    pub fn pop(&mut self, tokens: &Tokens) -> Option<Candidate> {
        let last = self.heap.pop()?;
        let Some(&top) = self.heap.first() else { return Some(last) };
        let mut at = 0;
        loop {
            let mut child = 2 * at + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && tokens.is_before(&self.heap[child + 1], &self.heap[child]) {
                child += 1;
            }
            if !tokens.is_before(&self.heap[child], &last) {
                break;
            }
            self.heap[at] = self.heap[child];
            at = child;
        }
        self.heap[at] = last;
        Some(top)
    }
}
