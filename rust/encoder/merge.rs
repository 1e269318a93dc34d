//! One piece -> ids, by merging.
//!
//! Short pieces: the ids and the rank of each pair of neighbours in two small arrays, the least rank found by a scan.
//!
//! Long ones: a linked list, and for each rank the positions where it stands. The least rank is merged at all its
//! positions from left to right, which touches memory in order; a heap holds ranks, not positions. So a piece of a
//! hundred megabytes costs about as much per byte as one of a kilobyte, where a heap of (rank, position) pairs, tried
//! first, took ten times as long and grew faster than the piece.

use super::pairs::{NO_RANK, PairTable};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest piece, in bytes, that is merged by scanning.
pub(super) const SMALL: usize = 48;

/// Buffers for merging, reused from piece to piece.
#[derive(Default)]
pub(super) struct Merger {
    nodes: Vec<Node>,
    /// Ranks that have positions, the least on top.
    ranks: BinaryHeap<Reverse<u32>>,
    positions: FxHashMap<u32, Vec<u32>>,
}

/// A token of a long piece, at the position of its first byte.
#[derive(Clone, Copy)]
struct Node {
    id: u32,
    /// Rank of the pair that it forms with the next token.
    rank: u32,
    /// Neighbours; [`END`] at the ends.
    before: u32,
    after: u32,
}

const END: u32 = u32::MAX;

impl Merger {
    /// Appends the ids of `piece`, which is not empty.
    pub fn encode(&mut self, piece: &[u8], byte_ids: &[u32; 256], pairs: &PairTable, ids: &mut Vec<u32>) {
        if piece.len() <= SMALL {
            return encode_small(piece, byte_ids, pairs, ids);
        }
        self.start(piece, byte_ids, pairs);
        while let Some(Reverse(rank)) = self.ranks.pop() {
            let mut positions = self.positions.remove(&rank).unwrap_or_default();
            // In order already, unless two merges make one token.
            if !positions.is_sorted() {
                positions.sort_unstable();
            }
            for (i, &at) in positions.iter().enumerate() {
                // A merge that makes a pair of lower rank goes first; no trained vocabulary has one.
                if self.ranks.peek().is_some_and(|&Reverse(least)| least < rank) {
                    self.positions.entry(rank).or_default().extend(&positions[i..]);
                    self.ranks.push(Reverse(rank));
                    break;
                }
                // The token may be gone, or have another neighbour.
                if self.nodes[at as usize].rank == rank {
                    self.merge(at, pairs);
                }
            }
        }
        let mut at = 0;
        while at != END {
            ids.push(self.nodes[at as usize].id);
            at = self.nodes[at as usize].after;
        }
        self.nodes.clear();
        // A huge piece does not leave its memory behind.
        self.nodes.shrink_to(1 << 16);
    }

    #[allow(clippy::cast_possible_truncation)] // a text is below 4 GiB
    fn start(&mut self, piece: &[u8], byte_ids: &[u32; 256], pairs: &PairTable) {
        let last = piece.len() as u32 - 1;
        self.nodes.extend((0..=last).zip(piece).map(|(i, &byte)| Node {
            id: byte_ids[usize::from(byte)],
            rank: NO_RANK,
            before: i.wrapping_sub(1),
            after: if i == last { END } else { i + 1 },
        }));
        for at in 0..last {
            self.look_up(at, pairs);
        }
    }

    /// Joins the token at `at` with the next.
    fn merge(&mut self, at: u32, pairs: &PairTable) {
        let node = self.nodes[at as usize];
        let next = self.nodes[node.after as usize];
        self.nodes[node.after as usize].rank = NO_RANK;
        self.nodes[at as usize] = Node { id: pairs.get(node.id, next.id).1, after: next.after, ..node };
        if next.after != END {
            self.nodes[next.after as usize].before = at;
        }
        self.look_up(at, pairs);
        if node.before != END {
            self.look_up(node.before, pairs);
        }
    }

    /// Finds the rank of the pair that begins at `at` and files the position under it.
    fn look_up(&mut self, at: u32, pairs: &PairTable) {
        let Node { id, after, .. } = self.nodes[at as usize];
        let rank = if after == END { NO_RANK } else { pairs.get(id, self.nodes[after as usize].id).0 };
        self.nodes[at as usize].rank = rank;
        if rank != NO_RANK {
            let positions = self.positions.entry(rank).or_default();
            if positions.is_empty() {
                self.ranks.push(Reverse(rank));
            }
            positions.push(at);
        }
    }
}

fn encode_small(piece: &[u8], byte_ids: &[u32; 256], pairs: &PairTable, ids: &mut Vec<u32>) {
    let mut parts = [0; SMALL];
    let mut ranks = [NO_RANK; SMALL];
    let mut len = piece.len();
    for (part, &byte) in parts.iter_mut().zip(piece) {
        *part = byte_ids[usize::from(byte)];
    }
    for i in 1..len {
        ranks[i - 1] = pairs.get(parts[i - 1], parts[i]).0;
    }
    while len > 1 {
        let mut at = 0;
        for i in 1..len - 1 {
            if ranks[i] < ranks[at] {
                at = i;
            }
        }
        if ranks[at] == NO_RANK {
            break;
        }
        parts[at] = pairs.get(parts[at], parts[at + 1]).1;
        parts.copy_within(at + 2..len, at + 1);
        ranks.copy_within(at + 1..len, at);
        len -= 1;
        ranks[len - 1] = NO_RANK;
        if at + 1 < len {
            ranks[at] = pairs.get(parts[at], parts[at + 1]).0;
        }
        if at > 0 {
            ranks[at - 1] = pairs.get(parts[at - 1], parts[at]).0;
        }
    }
    ids.extend_from_slice(&parts[..len]);
}
