//! A table of pieces with their ids, in slots.

use super::places::hash;
use super::store::Link;
use crate::huge_pages;

/// Ids for each key of a slot.
pub(super) const IDS: usize = 4;

/// A piece of up to 15 bytes for each of the `K` keys, and its ids.
#[derive(Clone, Copy)]
struct Slot<const K: usize> {
    /// The piece, each part's length in bits 120 to 123 (0 in an empty slot), the number of ids less one above the last.
    keys: [u128; K],
    ids: [[u32; IDS]; K],
}

const NUM_IDS_SHIFT: u32 = 124;
const KEY_MASK: u128 = (1 << NUM_IDS_SHIFT) - 1;
/// Without the length: the key of a piece whose ids stand elsewhere. A look-up of a piece has a length, so it is not found
/// by mistake; and two pieces do not have it in common, since none of them ends with a zero.
const LINK_MASK: u128 = (1 << 120) - 1;

impl<const K: usize> Slot<K> {
    const EMPTY: Self = Slot { keys: [0; K], ids: [[0; IDS]; K] };

    /// Whether it holds other than the piece of these keys, and the number of ids less one.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the halves are wanted
    fn compare(&self, keys: [u128; K]) -> (bool, usize) {
        let (mut low, mut high) = (0, 0);
        for (own, key) in self.keys.into_iter().zip(keys) {
            low |= own as u64 ^ key as u64;
            high |= (own >> 64) as u64 ^ (key >> 64) as u64;
        }
        (low | high << (128 - NUM_IDS_SHIFT) != 0, (high >> (NUM_IDS_SHIFT - 64)) as usize)
    }

    fn is_empty(&self) -> bool {
        self.keys[K - 1] == 0
    }

    /// The keys of its piece; `None` if it is empty.
    fn piece_keys(&self) -> Option<[u128; K]> {
        let mut keys = self.keys;
        let last = &mut keys[K - 1];
        *last &= KEY_MASK;
        if *last <= LINK_MASK {
            // The last byte is not zero.
            *last |= u128::from((128 - last.leading_zeros()).div_ceil(8)) << 120;
        }
        (*last != 0).then_some(keys)
    }
}

/// Slots that one cache line, or two lines side by side, hold.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Pair<const K: usize>([Slot<K>; 2]);

impl<const K: usize> Pair<K> {
    /// Puts a slot first, and returns the one that was second.
    fn push(&mut self, slot: Slot<K>) -> Slot<K> {
        let [first, second] = self.0;
        self.0 = [slot, first];
        second
    }
}

pub(super) struct Table<const K: usize> {
    pairs: Vec<Pair<K>>,
    /// What leaves the place of a hash.
    pub shift: u32,
    keeps_driven_out: bool,
    /// A bit for each pair: whether a slot was driven out of it to the next pair.
    driven_out: Vec<u64>,
    /// Slots that were taken, those that were lost since counted too.
    num_taken: usize,
}

impl<const K: usize> Table<K> {
    /// Empty, of a size that is given in bits, with room for another one.
    pub fn new((bits, most_bits): (u32, u32)) -> Self {
        let mut pairs = Vec::new();
        huge_pages::reserve(&mut pairs, 1 << (most_bits - 1));
        pairs.resize(1 << (bits - 1), Pair([Slot::EMPTY; 2]));
        let driven_out = vec![0; pairs.len().div_ceil(64)];
        Table { pairs, shift: 65 - bits, keeps_driven_out: false, driven_out, num_taken: 0 }
    }

    /// The same, but a slot that is driven out of its pair goes to the next one, if that has room.
    pub fn keeping_driven_out(self) -> Self {
        Table { keeps_driven_out: true, ..self }
    }

    /// The place of a piece.
    #[inline]
    pub fn home(&self, keys: [u128; K]) -> usize {
        self.place(hash(keys))
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
    pub fn get(&self, at: usize, keys: [u128; K]) -> Option<(&[[u32; IDS]; K], usize)> {
        let pair = &self.pairs[at].0;
        // A number, not a branch, which would be mispredicted half of the time.
        let slot = &pair[usize::from(pair[0].compare(keys).0)];
        let (differs, more_ids) = slot.compare(keys);
        (!differs).then_some((&slot.ids, more_ids + 1))
    }

    /// Remembers ids, of which there is room for `K * IDS`.
    pub fn insert(&mut self, at: usize, mut keys: [u128; K], new: &[u32]) {
        keys[K - 1] |= (new.len() as u128 - 1) << NUM_IDS_SHIFT;
        let mut slot = Slot { keys, ..Slot::EMPTY };
        slot.ids.as_flattened_mut()[..new.len()].copy_from_slice(new);
        self.push(at, slot);
    }

    fn push(&mut self, at: usize, slot: Slot<K>) {
        let driven_out = self.pairs[at].push(slot);
        self.num_taken += 1;
        if self.keeps_driven_out
            && !driven_out.is_empty()
            && let Some(free) = self.pairs[at ^ 1].0.iter_mut().find(|slot| slot.is_empty())
        {
            *free = driven_out;
            self.driven_out[at / 64] |= 1 << (at % 64);
        }
    }

    /// Brings the slot of a piece home, if it was driven out to the next pair, in exchange for the second one.
    pub fn recall(&mut self, at: usize, keys: [u128; K]) {
        if self.driven_out[at / 64] >> (at % 64) & 1 == 0 {
            return;
        }
        let second = self.pairs[at].0[1];
        let is_it = |slot: &&mut Slot<K>| !slot.compare(keys).0 || slot.keys == link_keys(keys);
        if let Some(found) = self.pairs[at ^ 1].0.iter_mut().find(is_it) {
            self.pairs[at].0[1] = std::mem::replace(found, second);
        }
    }

    /// The link under these keys.
    pub fn link(&self, at: usize, keys: [u128; K]) -> Option<Link> {
        let slot = self.pairs[at].0.iter().find(|slot| slot.keys == link_keys(keys))?;
        Some(Link(slot.ids[0]))
    }

    /// Remembers where the ids of a piece are stored, in place of a link that it has.
    pub fn insert_link(&mut self, at: usize, keys: [u128; K], link: Link) {
        let keys = link_keys(keys);
        if let Some(slot) = self.pairs[at].0.iter_mut().find(|slot| slot.keys == keys) {
            slot.ids[0] = link.0;
        } else {
            let mut slot = Slot { keys, ..Slot::EMPTY };
            slot.ids[0] = link.0;
            self.push(at, slot);
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
                if let Some(keys) = slot.piece_keys() {
                    self.push(self.home(keys), slot);
                }
            }
        }
    }
}

fn link_keys<const K: usize>(mut keys: [u128; K]) -> [u128; K] {
    keys[K - 1] &= LINK_MASK;
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_pieces_of_one_pair_stay_known() {
        let mut table = Table::<1>::new((4, 5)).keeping_driven_out();
        let keys = (1_u128..).map(|byte| byte | 1 << 120).filter(|&key| table.home([key]) == 3);
        let keys: Vec<_> = keys.take(4).collect();
        for (key, id) in keys.iter().zip(0..) {
            table.insert(3, [*key], &[id]);
        }
        for _ in 0..3 {
            for (key, id) in keys.iter().zip(0..) {
                table.recall(3, [*key]);
                assert_eq!(table.get(3, [*key]), Some((&[[id, 0, 0, 0]], 1)));
            }
        }
    }
}
