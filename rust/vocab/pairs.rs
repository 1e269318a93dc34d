//! Pair of ids -> rank of its merge -> new id.
//!
//! Pairs of single bytes, the most frequent, have a table by both bytes; the others a flat open-addressing table, where
//! a look-up touches one cache line nearly always. Before it stands a filter, for most pairs that are asked for are no
//! merge: bits by hash, several for each entry and nearly all 0, which stay in the nearer caches.

use crate::huge_pages;
use crate::vocab::{Merge, Vocab};

/// No pair: no vocabulary has these ids.
const EMPTY: u64 = u64::MAX;
/// The rank of a pair that is not merged.
pub(crate) const NO_RANK: u32 = u32::MAX;
/// Bits of the number of places in the filter for each entry of the table.
const FILTER_BITS: u32 = 3;

/// Some merges of a vocabulary.
#[derive(Debug)]
pub(crate) struct PairTable {
    /// Rank by first and second byte.
    byte_ranks: Vec<u32>,
    /// Pair, rank, and what the pair becomes.
    entries: Vec<(u64, u32, u32)>,
    /// Shift of a hash to a place among the entries.
    shift: u32,
    /// Bit `hash >> (shift - FILTER_BITS)`: some pair has this hash.
    filter: Vec<u64>,
    /// New id by rank; empty if several merges share a rank.
    ids: Vec<u32>,
    num_ranks: u32,
}

impl PairTable {
    /// Of all merges of a vocabulary.
    pub fn new(vocab: &Vocab) -> Self {
        let merges = vocab.merges();
        let mut table = Self::with_capacity(vocab, merges.len());
        for (index, &merge) in merges.iter().enumerate() {
            table.insert(vocab.rank(index), merge);
        }
        table.rank_bytes(vocab);
        table
    }

    /// Empty, for at most `num_pairs` of a vocabulary's merges. At most half full then, so that a look-up for a pair that is
    /// not there ends soon. [`PairTable::rank_bytes`] is still to be called.
    pub fn with_capacity(vocab: &Vocab, num_pairs: usize) -> Self {
        let merges = vocab.merges();
        let bits = (num_pairs * 2 + 1).next_power_of_two().trailing_zeros().max(4);
        let mut entries = Vec::new();
        huge_pages::reserve(&mut entries, 1 << bits);
        entries.resize(1 << bits, (EMPTY, NO_RANK, NO_RANK));
        PairTable {
            byte_ranks: Vec::new(),
            entries,
            shift: 64 - bits,
            filter: vec![0; 1 << (bits + FILTER_BITS - 6)],
            ids: if vocab.has_shared_ranks() {
                Vec::new()
            } else {
                merges.iter().map(|merge| merge.id).collect()
            },
            num_ranks: merges.len().checked_sub(1).map_or(0, |last| vocab.rank(last).saturating_add(1)),
        }
    }

    /// Adds the merge of a rank, for which there must be room.
    pub fn insert(&mut self, rank: u32, merge: Merge) {
        let pair = pair(merge.left, merge.right);
        let hash = hash(pair);
        let (word, bit) = self.filter_place(hash);
        self.filter[word] |= 1 << bit;
        let mut at = self.home(hash);
        while self.entries[at].0 != EMPTY {
            at = (at + 1) & (self.entries.len() - 1);
        }
        self.entries[at] = (pair, rank, merge.id);
    }

    /// Fills the table of pairs of bytes, when all merges are there.
    pub fn rank_bytes(&mut self, vocab: &Vocab) {
        let bytes = || (0..=255).map(|byte| vocab.byte_id(byte));
        self.byte_ranks = bytes()
            .flat_map(|left| bytes().map(move |right| (left, right)))
            .map(|(l, r)| self.rank(l, r))
            .collect();
    }

    /// How many ranks there are.
    #[inline]
    pub fn num_ranks(&self) -> u32 {
        self.num_ranks
    }

    /// Whether several merges share a rank.
    #[inline]
    pub fn has_shared_ranks(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id that a pair becomes, which is merged at this rank.
    #[inline]
    pub fn id(&self, rank: u32, left: u32, right: u32) -> u32 {
        match self.ids.get(rank as usize) {
            Some(&id) => id,
            None => self.entry(pair(left, right)).2,
        }
    }

    /// The rank of the pair of two bytes' ids.
    #[inline]
    pub fn rank_of_bytes(&self, left: u8, right: u8) -> u32 {
        self.byte_ranks[usize::from(left) << 8 | usize::from(right)]
    }

    /// The rank of a pair; [`NO_RANK`] if it is not merged.
    #[inline]
    pub fn rank(&self, left: u32, right: u32) -> u32 {
        let pair = pair(left, right);
        let hash = hash(pair);
        let (word, bit) = self.filter_place(hash);
        if self.filter[word] >> bit & 1 == 0 {
            return NO_RANK;
        }
        self.entry_from(self.home(hash), pair).1
    }

    fn entry(&self, pair: u64) -> (u64, u32, u32) {
        self.entry_from(self.home(hash(pair)), pair)
    }

    /// The entry of a pair, or an empty one.
    #[inline]
    fn entry_from(&self, mut at: usize, pair: u64) -> (u64, u32, u32) {
        loop {
            let entry = self.entries[at];
            if entry.0 == pair || entry.0 == EMPTY {
                return entry;
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the table's length
    fn home(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// The word of the filter and the bit in it.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the filter's length
    fn filter_place(&self, hash: u64) -> (usize, u32) {
        let bit = hash >> (self.shift - FILTER_BITS);
        ((bit / 64) as usize, (bit % 64) as u32)
    }
}

#[inline]
fn hash(pair: u64) -> u64 {
    let mixed = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
