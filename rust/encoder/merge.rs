//! One piece -> ids, by merging the symbols that it begins as.
//!
//! Short pieces: an integer for each position, the rank of the pair that begins there with the position below it. The least
//! of these integers is the pair to merge next, the leftmost of its rank, and to find it is a handful of vector
//! instructions. Tried first on Japanese: closing the gaps after each merge, and merging a rank wherever it stands in one
//! pass; both spend more on mispredicted branches than this on looking at every position.
//!
//! Long ones: a linked list, and for each rank the positions where it stands. The least rank is merged at all its
//! positions from left to right, which touches memory in order; a heap holds ranks, not positions. So a piece of a
//! hundred megabytes costs about as much per byte as one of a kilobyte, where a heap of (rank, position) pairs, tried
//! first, took ten times as long and grew faster than the piece. Only where merges share a rank, which are taken from left to
//! right together, are the positions in the heap: there what a merge makes may be merged next, before what stands right of it.

use super::symbols::Symbols;
use crate::huge_pages;
use crate::vocab::pairs::{NO_RANK, PairTable};
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bits of a position in a short piece.
const POSITION_BITS: u32 = 8;
/// Longest short piece, in bytes.
const SHORT: usize = 1 << POSITION_BITS;
/// Ranks from here on leave no room for a position; no vocabulary known has so many merges.
const MOST_RANKS: u32 = 1 << (31 - POSITION_BITS);
/// No pair begins here that is merged.
const NO_PAIR: i32 = i32::MAX;
/// Positions compared at a time.
const LANES: usize = 16;

/// Buffers for merging, reused from piece to piece.
pub(super) struct Merger {
    short: Short,
    nodes: Vec<Node>,
    /// Ranks that have positions, the least on top.
    ranks: BinaryHeap<Reverse<u32>>,
    positions: FxHashMap<u32, Vec<u32>>,
    /// Ranks and positions, where merges share a rank.
    places: BinaryHeap<Reverse<(u32, u32)>>,
    symbols: Vec<u32>,
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

impl Default for Merger {
    fn default() -> Self {
        let short = Short { pairs: [NO_PAIR; SHORT], ids: [0; SHORT], before: [0; SHORT], after: [0; SHORT] };
        Merger {
            short,
            nodes: Vec::new(),
            ranks: BinaryHeap::new(),
            positions: FxHashMap::default(),
            places: BinaryHeap::new(),
            symbols: Vec::new(),
        }
    }
}

impl Merger {
    /// Appends the ids of `piece`, which is not empty.
    pub fn encode(&mut self, piece: &[u8], symbols: &Symbols, pairs: &PairTable, ids: &mut Vec<u32>) {
        if let Symbols::Bytes(byte_ids) = symbols
            && piece.len() <= SHORT
            && pairs.num_ranks() < MOST_RANKS
        {
            self.short.begin_with_bytes(piece, byte_ids, pairs);
            return self.short.merge(piece.len(), pairs, ids);
        }
        let mut list = std::mem::take(&mut self.symbols);
        symbols.of(piece, &mut list);
        self.merge_symbols(&list, pairs, ids);
        list.clear();
        // A huge piece does not leave its memory behind.
        list.shrink_to(1 << 16);
        self.symbols = list;
    }

    fn merge_symbols(&mut self, symbols: &[u32], pairs: &PairTable, ids: &mut Vec<u32>) {
        if symbols.len() < 2 {
            return ids.extend_from_slice(symbols);
        }
        if symbols.len() <= SHORT && pairs.num_ranks() < MOST_RANKS {
            self.short.begin(symbols, pairs);
            return self.short.merge(symbols.len(), pairs, ids);
        }
        self.start(symbols, pairs);
        if pairs.has_shared_ranks() {
            while let Some(Reverse((rank, at))) = self.places.pop() {
                if self.nodes[at as usize].rank == rank {
                    self.merge(at, pairs);
                }
            }
        } else {
            self.merge_by_rank(pairs);
        }
        let mut at = 0;
        while at != END {
            ids.push(self.nodes[at as usize].id);
            at = self.nodes[at as usize].after;
        }
        self.nodes.clear();
        self.nodes.shrink_to(1 << 16);
    }

    fn merge_by_rank(&mut self, pairs: &PairTable) {
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
    }

    #[allow(clippy::cast_possible_truncation)] // a text is below 4 GiB
    fn start(&mut self, symbols: &[u32], pairs: &PairTable) {
        let last = symbols.len() as u32 - 1;
        huge_pages::reserve(&mut self.nodes, symbols.len());
        self.nodes.extend((0..=last).zip(symbols).map(|(i, &id)| Node {
            id,
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
        self.nodes[at as usize] =
            Node { id: pairs.id(node.rank, node.id, next.id), after: next.after, ..node };
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
        let rank = if after == END { NO_RANK } else { pairs.rank(id, self.nodes[after as usize].id) };
        self.nodes[at as usize].rank = rank;
        if rank == NO_RANK {
            return;
        }
        if pairs.has_shared_ranks() {
            self.places.push(Reverse((rank, at)));
        } else {
            let positions = self.positions.entry(rank).or_default();
            if positions.is_empty() {
                self.ranks.push(Reverse(rank));
            }
            positions.push(at);
        }
    }
}

/// A short piece, by position of each token's first byte.
struct Short {
    /// Rank and position of the pair that begins here.
    pairs: [i32; SHORT],
    ids: [u32; SHORT],
    /// Where the neighbours begin.
    before: [u8; SHORT],
    after: [u16; SHORT],
}

impl Short {
    fn begin_with_bytes(&mut self, piece: &[u8], byte_ids: &[u32; 256], pairs: &PairTable) {
        for (at, &byte) in piece.iter().enumerate() {
            self.ids[at] = byte_ids[usize::from(byte)];
        }
        for (at, bytes) in piece.windows(2).enumerate() {
            self.pairs[at] = key(pairs.rank_of_bytes(bytes[0], bytes[1]), at);
        }
    }

    fn begin(&mut self, symbols: &[u32], pairs: &PairTable) {
        self.ids[..symbols.len()].copy_from_slice(symbols);
        for (at, symbols) in symbols.windows(2).enumerate() {
            self.pairs[at] = key(pairs.rank(symbols[0], symbols[1]), at);
        }
    }

    /// Merges the first `len` symbols, for which ids and pairs are there, and appends what they become.
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]
    // positions are below SHORT, ranks below MOST_RANKS
    fn merge(&mut self, len: usize, pairs: &PairTable, ids: &mut Vec<u32>) {
        for at in 0..len {
            self.before[at] = at.wrapping_sub(1) as u8;
            self.after[at] = at as u16 + 1;
        }
        let compared = len.next_multiple_of(LANES);
        self.pairs[len - 1..compared].fill(NO_PAIR);
        loop {
            let least = self.least(compared);
            if least == NO_PAIR {
                break;
            }
            let at = least as usize & (SHORT - 1);
            let next = usize::from(self.after[at]);
            let after = usize::from(self.after[next]);
            let id = pairs.id(least as u32 >> POSITION_BITS, self.ids[at], self.ids[next]);
            self.ids[at] = id;
            self.after[at] = after as u16;
            self.pairs[next] = NO_PAIR;
            self.pairs[at] = NO_PAIR;
            if after < len {
                self.before[after] = at as u8;
                self.pairs[at] = key(pairs.rank(id, self.ids[after]), at);
            }
            if at > 0 {
                let before = usize::from(self.before[at]);
                self.pairs[before] = key(pairs.rank(self.ids[before], id), before);
            }
        }
        let mut at = 0;
        while at < len {
            ids.push(self.ids[at]);
            at = usize::from(self.after[at]);
        }
    }

    /// The least of the first `compared` pairs.
    fn least(&self, compared: usize) -> i32 {
        let mut lanes = [NO_PAIR; LANES];
        for pairs in self.pairs[..compared].as_chunks::<LANES>().0 {
            for (lane, &pair) in lanes.iter_mut().zip(pairs) {
                *lane = pair.min(*lane);
            }
        }
        lanes.into_iter().fold(NO_PAIR, i32::min)
    }
}

/// A pair as an integer: those of lower rank are less, of one rank those more to the left.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // as in `encode`
fn key(rank: u32, at: usize) -> i32 {
    if rank == NO_RANK { NO_PAIR } else { (rank << POSITION_BITS | at as u32) as i32 }
}
