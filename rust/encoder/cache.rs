//! Pieces seen before, with their ids: three tables of bounded size.
//!
//! Two for nearly all pieces. A slot holds a piece itself as integers, and its ids: one of 32 bytes a piece of up to 15 bytes
//! and four ids, one of 64 bytes a piece of up to 30 bytes and eight ids. A hit copies all of the room whatever the
//! number of ids, and the next hit goes over those that do not count. Two slots stand together, and a piece may be in either:
//! a new one takes the first place, the one there the second, and that one is lost.
//!
//! Pieces are looked up a block at a time: the processor is told of all slots before the first is read. A plain read in place
//! of the prefetch holds up all that follows it: twice as slow on German.
//!
//! A table begins small, in the second-level cache, and doubles when pieces have pushed out half as many others as it
//! has slots, up to a limit: the rare words of a large text are worth a look into memory, while text of few words stays in
//! the nearer caches.
//!
//! The third is for longer pieces and those with more ids. It is small: in code few of them come again and again, in Japanese
//! they are frequent and come once. A store of 48,000, emptied when full, was tried first and is slower there by a fifth.
//!
//! Tried: one table of 64-byte slots for all, which keeps half as many pieces in the nearer caches: a third slower on C;
//! ids of two bytes where the vocabulary fits, so that more have room, which costs more on each hit than it saves; huge
//! pages, without effect; choosing between two slots that are both compared, by conditional moves, a fifth slower; growing
//! two or four times as early, or in steps of four, a tenth faster on a text seen before and a tenth slower on a new one;
//! blocks of 16 and of 64 pieces.

use crate::piece_key::{SHORT, hash, short_key};
use std::ops::Range;

/// Longest piece of the second table.
const MEDIUM: usize = 2 * SHORT;
/// Bits of the number of slots, first and at most, of a table with `K` keys a slot: half a megabyte to 32 and 8.
const BITS: [(u32, u32); 2] = [(14, 20), (13, 17)];
/// Longest piece of the third table, and bits of its number of slots.
const LONG: usize = 255;
const LONG_BITS: u32 = 12;
/// Pieces looked up together.
const BLOCK: usize = 32;
/// Ids for each key of a slot.
const IDS: usize = 4;
/// In place of the key of a longer piece: that of none, for its length is 0.
const TOO_LONG: u128 = 1;

/// A piece of up to 15 bytes for each of the `K` keys, and its ids.
#[derive(Clone, Copy)]
struct Slot<const K: usize> {
    /// The piece, each part's length in bits 120 to 123 (0 in an empty slot), the number of ids less one above the last.
    keys: [u128; K],
    ids: [[u32; IDS]; K],
}

const NUM_IDS_SHIFT: u32 = 124;
const KEY_MASK: u128 = (1 << NUM_IDS_SHIFT) - 1;

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
}

/// Slots that one cache line, or two lines side by side, hold.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Pair<const K: usize>([Slot<K>; 2]);

impl<const K: usize> Pair<K> {
    /// Puts a slot first; the second is lost. Whether there was one.
    fn push(&mut self, slot: Slot<K>) -> bool {
        let [first, second] = &mut self.0;
        let lost = second.keys[0] != 0;
        *second = *first;
        *first = slot;
        lost
    }
}

struct Table<const K: usize> {
    pairs: Vec<Pair<K>>,
    shift: u32,
    /// Pieces pushed out by others since the table has this size.
    num_lost: usize,
}

impl<const K: usize> Table<K> {
    fn new(bits: u32) -> Self {
        Table { pairs: vec![Pair([Slot::EMPTY; 2]); 1 << (bits - 1)], shift: 65 - bits, num_lost: 0 }
    }

    /// The place of a piece.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of pairs
    fn home(&self, keys: [u128; K]) -> usize {
        (keys.into_iter().fold(0, |state, key| hash(key, state)) >> self.shift) as usize
    }

    /// The ids of a piece, all of the room for them, and how many count.
    #[inline]
    fn get(&self, at: usize, keys: [u128; K]) -> Option<(&[[u32; IDS]; K], usize)> {
        let pair = &self.pairs[at].0;
        // A number, not a branch, which would be mispredicted half of the time.
        let slot = &pair[usize::from(pair[0].compare(keys).0)];
        let (differs, more_ids) = slot.compare(keys);
        (!differs).then_some((&slot.ids, more_ids + 1))
    }

    /// Remembers ids, of which there is room for `K * IDS`.
    fn insert(&mut self, at: usize, mut keys: [u128; K], new: &[u32]) {
        keys[K - 1] |= (new.len() as u128 - 1) << NUM_IDS_SHIFT;
        let mut slot = Slot { keys, ..Slot::EMPTY };
        slot.ids.as_flattened_mut()[..new.len()].copy_from_slice(new);
        self.num_lost += usize::from(self.pairs[at].push(slot));
    }

    /// Doubles the table if too small; call it when no places in it are held.
    fn grow(&mut self) {
        let bits = 65 - self.shift;
        if self.num_lost < self.pairs.len() || bits == BITS[K - 1].1 {
            return;
        }
        let old = std::mem::replace(self, Table::new(bits + 1));
        for slot in old.pairs.iter().flat_map(|pair| pair.0.iter().rev()).filter(|slot| slot.keys[0] != 0) {
            let mut keys = slot.keys;
            keys[K - 1] &= KEY_MASK;
            let at = self.home(keys);
            self.pairs[at].push(*slot);
        }
    }
}

/// The keys of a piece of up to [`MEDIUM`] bytes.
#[inline]
fn medium_keys(text: &[u8], start: usize, len: usize) -> [u128; 2] {
    let first = len.min(SHORT);
    [short_key(text, start, first), short_key(text, start + first, len - first)]
}

/// Tells the processor that this will be read soon.
#[inline]
fn prefetch<const K: usize>(pair: &Pair<K>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: nothing is read, any address is allowed.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(pair).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(pair.0[0].keys[0]);
}

/// A piece of any length, and its ids.
#[derive(Clone, Default)]
struct Long {
    piece: Vec<u8>,
    ids: Vec<u32>,
}

/// One thread's cache.
pub(super) struct PieceCache {
    short: Table<1>,
    medium: Table<2>,
    /// Made for the first such piece.
    long: Vec<Long>,
}

impl PieceCache {
    pub fn new() -> Self {
        PieceCache { short: Table::new(BITS[0].0), medium: Table::new(BITS[1].0), long: Vec::new() }
    }

    /// Appends the ids of the pieces of `text` from `start` on that end at `ends`; `encode` is asked where they are not
    /// known.
    pub fn encode(
        &mut self,
        text: &[u8],
        mut start: usize,
        ends: &[u32],
        ids: &mut Vec<u32>,
        mut encode: impl FnMut(&[u8], &mut Vec<u32>),
    ) {
        self.short.grow();
        self.medium.grow();
        let mut places = [(TOO_LONG, 0); BLOCK];
        let mut found = [0; IDS * BLOCK];
        for block in ends.chunks(BLOCK) {
            self.find_places(text, start, block, &mut places);
            // All of the room in a slot is copied whatever the number of ids, the next ones over those that do not count.
            let mut num_found = 0;
            for (piece, &(key, at)) in places[..block.len()].iter().enumerate() {
                if let Some((new, num_ids)) = self.short.get(at, [key])
                    && let Some(room) = found[num_found..].first_chunk_mut()
                {
                    *room = new[0];
                    num_found += num_ids;
                } else {
                    ids.extend_from_slice(&found[..num_found]);
                    num_found = 0;
                    let start = if piece == 0 { start } else { block[piece - 1] as usize };
                    self.encode_missed(text, start..block[piece] as usize, (key, at), ids, &mut encode);
                }
            }
            ids.extend_from_slice(&found[..num_found]);
            start = block[block.len() - 1] as usize;
        }
    }

    /// Finds the keys of pieces and their places in the first table, and tells the processor of their slots, also in
    /// the second. Apart from the other loop: in one function they lack registers, a tenth slower on C.
    #[inline(never)]
    fn find_places(&self, text: &[u8], mut start: usize, ends: &[u32], places: &mut [(u128, usize); BLOCK]) {
        for (place, &end) in places.iter_mut().zip(ends) {
            let end = end as usize;
            let len = end - start;
            *place = (TOO_LONG, 0);
            if len <= SHORT {
                let key = short_key(text, start, len);
                let at = self.short.home([key]);
                prefetch(&self.short.pairs[at]);
                *place = (key, at);
            } else if len <= MEDIUM {
                prefetch(&self.medium.pairs[self.medium.home(medium_keys(text, start, len))]);
            }
            start = end;
        }
    }

    /// Encodes a piece that is not in the first table, where its place would be `at`, and remembers it.
    #[inline(never)]
    fn encode_missed(
        &mut self,
        text: &[u8],
        range: Range<usize>,
        (key, at): (u128, usize),
        ids: &mut Vec<u32>,
        encode: &mut impl FnMut(&[u8], &mut Vec<u32>),
    ) {
        let piece = &text[range.clone()];
        // A piece of few bytes makes few ids, and is in the first table alone.
        let medium = (piece.len() > IDS && piece.len() <= MEDIUM).then(|| {
            let keys = medium_keys(text, range.start, piece.len());
            (self.medium.home(keys), keys)
        });
        if let Some((known, num_ids)) = medium.and_then(|(at, keys)| self.medium.get(at, keys)) {
            return ids.extend_from_slice(&known.as_flattened()[..num_ids]);
        }
        let long = if piece.len() > 2 * IDS { self.long_place(piece) } else { None };
        if let Some(long) = long.and_then(|at| self.long.get(at)).filter(|long| long.piece == piece) {
            return ids.extend_from_slice(&long.ids);
        }
        let before = ids.len();
        encode(piece, ids);
        let new = &ids[before..];
        if key != TOO_LONG && new.len() <= IDS {
            self.short.insert(at, [key], new);
        } else if let Some((at, keys)) = medium.filter(|_| new.len() <= 2 * IDS) {
            self.medium.insert(at, keys, new);
        } else if let Some(long) = long.and_then(|at| self.long.get_mut(at)) {
            piece.clone_into(&mut long.piece);
            new.clone_into(&mut long.ids);
        }
    }

    /// The place of a piece in the third table.
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of slots
    fn long_place(&mut self, piece: &[u8]) -> Option<usize> {
        if piece.len() > LONG {
            return None;
        }
        if self.long.is_empty() {
            self.long.resize(1 << LONG_BITS, Long::default());
        }
        let keys = piece.chunks(SHORT).map(|part| short_key(part, 0, part.len()));
        Some((keys.fold(0, |state, key| hash(key, state)) >> (64 - LONG_BITS)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any ids, of another number and other numbers for other pieces.
    fn ids_of(piece: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let num_ids = 1 + usize::from(piece[0]) % 12;
        piece.iter().take(num_ids).map(|&byte| 1000 * u32::from(byte) + u32::try_from(piece.len()).unwrap())
    }

    #[test]
    fn knows_what_it_was_told_however_full_it_is() {
        let (mut text, mut ends, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..150_000_u32 {
            let start = text.len();
            let len = if i % 50 == 0 { 300 } else { 1 + i as usize % 40 };
            text.extend(i.wrapping_mul(0x9E37_79B9).to_be_bytes().iter().cycle().take(len));
            ends.push(u32::try_from(text.len()).unwrap());
            expected.extend(ids_of(&text[start..]));
        }
        let mut cache = PieceCache::new();
        for _ in 0..3 {
            let (mut ids, mut start) = (Vec::new(), 0);
            for ends in ends.chunks(1000) {
                cache.encode(&text, start, ends, &mut ids, |piece, ids| ids.extend(ids_of(piece)));
                start = ends[ends.len() - 1] as usize;
            }
            assert!(ids == expected);
        }
        assert!(cache.short.shift < Table::<1>::new(BITS[0].0).shift);
        assert!(cache.medium.shift < Table::<2>::new(BITS[1].0).shift);
    }
}
