//! A table of short pieces with their ids, in slots.

use super::places::hash;
use super::store::Link;
use crate::huge_pages;

/// Ids of a slot.
pub(super) const IDS: usize = 4;

/// A piece of up to 15 bytes, and its ids.
#[derive(Clone, Copy)]
struct Slot {
    /// The piece, its length in bits 120 to 123 (0 in an empty slot), the number of ids less one above.
    key: u128,
    ids: [u32; IDS],
}

const NUM_IDS_SHIFT: u32 = 124;
const KEY_MASK: u128 = (1 << NUM_IDS_SHIFT) - 1;
/// Without the length: the key of a piece whose ids stand elsewhere. A look-up of a piece has a length, so it is not found
/// by mistake; and two pieces do not have it in common, since none of them ends with a zero.
const LINK_MASK: u128 = (1 << 120) - 1;

impl Slot {
    const EMPTY: Self = Slot { key: 0, ids: [0; IDS] };

    /// Whether it holds other than the piece of this key, and the number of ids less one.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the halves are wanted
    fn compare(&self, key: u128) -> (bool, usize) {
        let low = self.key as u64 ^ key as u64;
        let high = (self.key >> 64) as u64 ^ (key >> 64) as u64;
        (low | high << (128 - NUM_IDS_SHIFT) != 0, (high >> (NUM_IDS_SHIFT - 64)) as usize)
    }

    fn is_empty(&self) -> bool {
        self.key == 0
    }

    /// The key of its piece; `None` if it is empty.
    fn piece_key(&self) -> Option<u128> {
        let mut key = self.key & KEY_MASK;
        if key <= LINK_MASK {
            // The last byte is not zero.
            key |= u128::from((128 - key.leading_zeros()).div_ceil(8)) << 120;
        }
        (key != 0).then_some(key)
    }
}

/// Slots that one cache line holds.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Pair([Slot; 2]);

impl Pair {
    /// Puts a slot first, and returns the one that was second.
    fn push(&mut self, slot: Slot) -> Slot {
        let [first, second] = self.0;
        self.0 = [slot, first];
        second
    }
}

pub(super) struct Table {
    pairs: Vec<Pair>,
    /// What leaves the place of a hash.
    pub shift: u32,
    /// A bit for each pair: whether a slot was driven out of it to the next pair.
    driven_out: Vec<u64>,
    /// Slots that were taken, those that were lost since counted too.
    num_taken: usize,
}

impl Table {
    /// Empty, of a size that is given in bits, with room for another one.
    pub fn new((bits, most_bits): (u32, u32)) -> Self {
        let mut pairs = Vec::new();
        huge_pages::reserve(&mut pairs, 1 << (most_bits - 1));
        pairs.resize(1 << (bits - 1), Pair([Slot::EMPTY; 2]));
        let driven_out = vec![0; pairs.len().div_ceil(64)];
        Table { pairs, shift: 65 - bits, driven_out, num_taken: 0 }
    }

    /// The place of a piece.
    #[inline]
    pub fn home(&self, key: u128) -> usize {
        self.place(hash(key))
    }

    /// The place of a hash.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of pairs
    pub fn place(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
    }

    /// Tells the processor that this place will be read soon.
    #[inline]
    pub fn prefetch(&self, at: usize) {
        super::prefetch(&self.pairs, at);
    }

    /// The ids of a piece, all of the room for them, and how many count.
    #[inline]
    pub fn get(&self, at: usize, key: u128) -> Option<(&[u32; IDS], usize)> {
        let pair = &self.pairs[at].0;
        // A number, not a branch, which would be mispredicted half of the time.
        let slot = &pair[usize::from(pair[0].compare(key).0)];
        let (differs, more_ids) = slot.compare(key);
        (!differs).then_some((&slot.ids, more_ids + 1))
    }

    /// Remembers ids, at most [`IDS`].
    pub fn insert(&mut self, at: usize, key: u128, new: &[u32]) {
        let mut slot = Slot { key: key | (new.len() as u128 - 1) << NUM_IDS_SHIFT, ..Slot::EMPTY };
        slot.ids[..new.len()].copy_from_slice(new);
        self.push(at, slot);
    }

    fn push(&mut self, at: usize, slot: Slot) {
        let driven_out = self.pairs[at].push(slot);
        self.num_taken += 1;
        if !driven_out.is_empty()
            && let Some(free) = self.pairs[at ^ 1].0.iter_mut().find(|slot| slot.is_empty())
        {
            *free = driven_out;
            self.driven_out[at / 64] |= 1 << (at % 64);
        }
    }

    /// Brings the slot of a piece home, if it was driven out to the next pair, in exchange for the second one.
    pub fn recall(&mut self, at: usize, key: u128) {
        if self.driven_out[at / 64] >> (at % 64) & 1 == 0 {
            return;
        }
        let second = self.pairs[at].0[1];
        let is_it = |slot: &&mut Slot| !slot.compare(key).0 || slot.key == link_key(key);
        if let Some(found) = self.pairs[at ^ 1].0.iter_mut().find(is_it) {
            self.pairs[at].0[1] = std::mem::replace(found, second);
        }
    }

    /// The link under these keys.
    pub fn link(&self, at: usize, key: u128) -> Option<Link> {
        let slot = self.pairs[at].0.iter().find(|slot| slot.key == link_key(key))?;
        Some(Link(slot.ids))
    }

    /// Remembers where the ids of a piece are stored, in place of a link that it has.
    pub fn insert_link(&mut self, at: usize, key: u128, link: Link) {
        let key = link_key(key);
        if let Some(slot) = self.pairs[at].0.iter_mut().find(|slot| slot.key == key) {
            slot.ids = link.0;
        } else {
            self.push(at, Slot { key, ids: link.0 });
        }
    }

    /// Doubles the table if too small; call it when no places in it are held.
    ///
    /// In place, where a new allocation would cost fresh memory: what a pair holds goes to two neighbours, behind all pairs that
    /// are still to be moved.
    pub fn grow(&mut self) {
        let num_pairs = self.pairs.len();
        if self.num_taken < num_pairs || 2 * num_pairs > self.pairs.capacity() {
            return;
        }
        self.pairs.resize(2 * num_pairs, Pair([Slot::EMPTY; 2]));
        self.shift -= 1;
        self.driven_out = vec![0; self.pairs.len().div_ceil(64)];
        self.num_taken = 0;
        for at in (0..num_pairs).rev() {
            let Pair([first, second]) = std::mem::replace(&mut self.pairs[at], Pair([Slot::EMPTY; 2]));
            for slot in [second, first] {
                if let Some(key) = slot.piece_key() {
                    self.push(self.home(key), slot);
                }
            }
        }
    }
}

fn link_key(key: u128) -> u128 {
    key & LINK_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pieces_of_one_pair_stay_known() {
        let mut table = Table::new((4, 5));
        let keys = (1_u128..).map(|byte| byte | 1 << 120).filter(|&key| table.home(key) == 3);
        let keys: Vec<_> = keys.take(4).collect();
        for (&key, id) in keys.iter().zip(0..) {
            table.insert(3, key, &[id]);
        }
        for _ in 0..3 {
            for (&key, id) in keys.iter().zip(0..) {
                table.recall(3, key);
                assert_eq!(table.get(3, key), Some((&[id, 0, 0, 0], 1)));
            }
        }
    }
}
