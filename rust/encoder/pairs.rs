//! Pair of ids -> rank of its merge -> new id.
//!
//! Pairs of single bytes, the most frequent, have a table by both bytes; the others a flat open-addressing table, where
//! a look-up touches one cache line nearly always.

use crate::vocab::Vocab;

/// No pair: no vocabulary has these ids.
const EMPTY: u64 = u64::MAX;
/// The rank of a pair that is not merged.
pub(super) const NO_RANK: u32 = u32::MAX;

/// The merges of a vocabulary.
pub(super) struct PairTable {
    /// Rank by first and second byte.
    byte_ranks: Vec<u32>,
    entries: Vec<(u64, u32)>,
    shift: u32,
    /// New id by rank.
    ids: Vec<u32>,
}

impl PairTable {
    /// At most half full, so that a look-up for a pair that is not there ends soon.
    pub fn new(vocab: &Vocab) -> Self {
        let merges = vocab.merges();
        let bits = (merges.len() * 2 + 1).next_power_of_two().trailing_zeros().max(4);
        let mut table = PairTable {
            byte_ranks: Vec::new(),
            entries: vec![(EMPTY, NO_RANK); 1 << bits],
            shift: 64 - bits,
            ids: merges.iter().map(|merge| merge.id).collect(),
        };
        for (rank, merge) in (0..).zip(merges) {
            let mut at = table.home(pair(merge.left, merge.right));
            while table.entries[at].0 != EMPTY {
                at = (at + 1) & (table.entries.len() - 1);
            }
            table.entries[at] = (pair(merge.left, merge.right), rank);
        }
        let bytes = || (0..=255).map(|byte| vocab.byte_id(byte));
        table.byte_ranks = bytes()
            .flat_map(|left| bytes().map(move |right| (left, right)))
            .map(|(l, r)| table.rank(l, r))
            .collect();
        table
    }

    /// How many ranks there are.
    #[inline]
    pub fn num_ranks(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(NO_RANK)
    }

    /// The id that the merge of this rank makes.
    #[inline]
    pub fn id(&self, rank: u32) -> u32 {
        self.ids[rank as usize]
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
        let mut at = self.home(pair);
        loop {
            let entry = self.entries[at];
            if entry.0 == pair || entry.0 == EMPTY {
                return entry.1;
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the table's length
    fn home(&self, pair: u64) -> usize {
        let mixed = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> self.shift) as usize
    }
}

fn pair(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
