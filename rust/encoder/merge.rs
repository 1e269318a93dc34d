//! One piece -> ids, by merging.
//!
//! Short pieces: the ids and the rank of each pair of neighbours in two small arrays, the least rank found by a scan. Long
//! ones: a linked list and a heap of (rank, position), so that a piece of a megabyte costs O(n log n).

use super::pairs::{NO_RANK, PairTable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Longest piece, in bytes, that is merged by scanning.
pub(super) const SMALL: usize = 48;

/// Buffers for merging, reused from piece to piece.
#[derive(Default)]
pub(super) struct Merger {
    heap: BinaryHeap<Reverse<(u32, u32)>>,
    nodes: Vec<Node>,
}

/// A token of a long piece.
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
            encode_small(piece, byte_ids, pairs, ids);
        } else {
            self.encode_long(piece, byte_ids, pairs, ids);
        }
    }

    #[cold]
    #[allow(clippy::cast_possible_truncation)] // a text is below 4 GiB
    fn encode_long(&mut self, piece: &[u8], byte_ids: &[u32; 256], pairs: &PairTable, ids: &mut Vec<u32>) {
        let Merger { heap, nodes } = self;
        heap.clear();
        nodes.clear();
        let last = piece.len() as u32 - 1;
        nodes.extend((0..=last).zip(piece).map(|(i, &byte)| Node {
            id: byte_ids[usize::from(byte)],
            rank: NO_RANK,
            before: i.wrapping_sub(1),
            after: if i == last { END } else { i + 1 },
        }));
        let mut first = Vec::with_capacity(piece.len());
        for i in 0..last {
            let rank = pairs.get(nodes[i as usize].id, nodes[i as usize + 1].id).0;
            nodes[i as usize].rank = rank;
            if rank != NO_RANK {
                first.push(Reverse((rank, i)));
            }
        }
        // From a list in one go: linear, where pushes one by one are not.
        *heap = first.into();
        while let Some(Reverse((rank, at))) = heap.pop() {
            let node = nodes[at as usize];
            // A token that is gone has no rank, one whose neighbour changed has another.
            if node.rank != rank {
                continue;
            }
            let next = nodes[node.after as usize];
            let id = pairs.get(node.id, next.id).1;
            nodes[node.after as usize].rank = NO_RANK;
            nodes[at as usize] = Node { id, after: next.after, ..node };
            if next.after != END {
                nodes[next.after as usize].before = at;
            }
            for left in [at, node.before].into_iter().filter(|&left| left != END) {
                let Node { id, after, .. } = nodes[left as usize];
                let rank = if after == END { NO_RANK } else { pairs.get(id, nodes[after as usize].id).0 };
                nodes[left as usize].rank = rank;
                if rank != NO_RANK {
                    heap.push(Reverse((rank, left)));
                }
            }
        }
        let mut at = 0;
        while at != END {
            ids.push(nodes[at as usize].id);
            at = nodes[at as usize].after;
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
