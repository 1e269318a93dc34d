//! Pair of ids -> rank and id of its merge: a flat open-addressing table, one cache line per look-up nearly always.

use crate::vocab::Merge;

/// No pair: no vocabulary has these ids.
const EMPTY: u64 = u64::MAX;
/// The rank of a pair that is not merged.
pub(super) const NO_RANK: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Entry {
    pair: u64,
    rank: u32,
    id: u32,
}

/// The merges of a vocabulary.
pub(super) struct PairTable {
    entries: Vec<Entry>,
    shift: u32,
}

impl PairTable {
    /// At most half full, so that a look-up for a pair that is not there ends soon.
    pub fn new(merges: &[Merge]) -> Self {
        let bits = (merges.len() * 2 + 1).next_power_of_two().trailing_zeros().max(4);
        let mut table = PairTable {
            entries: vec![Entry { pair: EMPTY, rank: NO_RANK, id: 0 }; 1 << bits],
            shift: 64 - bits,
        };
        for (rank, merge) in (0..).zip(merges) {
            let pair = pair(merge.left, merge.right);
            let mut at = table.home(pair);
            while table.entries[at].pair != EMPTY && table.entries[at].pair != pair {
                at = (at + 1) & (table.entries.len() - 1);
            }
            // Of a merge listed twice the first counts.
            if table.entries[at].pair == EMPTY {
                table.entries[at] = Entry { pair, rank, id: merge.id };
            }
        }
        table
    }

    /// The rank and the new id of a pair; [`NO_RANK`] if it is not merged.
    #[inline]
    pub fn get(&self, left: u32, right: u32) -> (u32, u32) {
        let pair = pair(left, right);
        let mut at = self.home(pair);
        loop {
            let entry = self.entries[at];
            if entry.pair == pair || entry.pair == EMPTY {
                return (entry.rank, entry.id);
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
