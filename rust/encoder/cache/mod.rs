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
//! A table begins small, in the second-level cache, and doubles when half of its slots are taken, up to a limit. From two
//! megabytes on the system is asked for huge pages, without which the larger tables would cost a tenth on a new text.
//!
//! A piece that has more ids than there is room for takes a slot too, under a key that no look-up finds at first; its ids
//! stand in a store of their own, which begins anew when it is full. In code such pieces are the runs of blanks at the
//! begin of a line. The third table is for longer pieces: a slot has their hash, the store the piece itself.
//!
//! Tried: one table of 64-byte slots for all, which keeps half as many pieces in the nearer caches: a third slower on C;
//! ids of two bytes where the vocabulary fits, so that more have room, which costs more on each hit than it saves;
//! choosing between two slots that are both compared, by conditional moves, a fifth slower; doubling only when as many
//! pieces are lost, a fifth slower on German seen before; blocks of 16 and of 64 pieces.

use super::huge_pages;
use crate::piece_key::{SHORT, hash, short_key};
use std::ops::Range;

/// Longest piece of the second table.
const MEDIUM: usize = 2 * SHORT;
/// Bits of the number of slots, first and at most, of a table with `K` keys a slot: half a megabyte to 32 and 8.
const BITS: [(u32, u32); 2] = [(14, 20), (13, 17)];
/// Longest piece of the third table, and bits of its number of slots.
const LONG: usize = 255;
const LONG_BITS: u32 = 15;
/// Pieces looked up together.
const BLOCK: usize = 32;
/// Ids for each key of a slot.
const IDS: usize = 4;
/// Ids in the store, and bytes of pieces.
const STORED_IDS: usize = 1 << 22;
const STORED_BYTES: usize = 1 << 22;
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
    /// Puts a slot first; the second is lost.
    fn push(&mut self, slot: Slot<K>) {
        self.0 = [slot, self.0[0]];
    }
}

struct Table<const K: usize> {
    pairs: Vec<Pair<K>>,
    shift: u32,
    /// Slots that were taken, those that were lost since counted too.
    num_taken: usize,
}

impl<const K: usize> Table<K> {
    /// Empty, of a size that is given in bits, with room for another one.
    fn new((bits, most_bits): (u32, u32)) -> Self {
        let mut pairs = Vec::new();
        huge_pages::reserve(&mut pairs, 1 << (most_bits - 1));
        pairs.resize(1 << (bits - 1), Pair([Slot::EMPTY; 2]));
        Table { pairs, shift: 65 - bits, num_taken: 0 }
    }

    /// The place of a piece.
    #[inline]
    fn home(&self, keys: [u128; K]) -> usize {
        self.place(hash_all(keys))
    }

    /// The place of a hash.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of pairs
    fn place(&self, hash: u64) -> usize {
        (hash >> self.shift) as usize
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
        self.push(at, slot);
    }

    fn push(&mut self, at: usize, slot: Slot<K>) {
        self.pairs[at].push(slot);
        self.num_taken += 1;
    }

    /// The link under these keys.
    fn link(&self, at: usize, keys: [u128; K]) -> Option<Link> {
        let slot = self.pairs[at].0.iter().find(|slot| slot.keys == link_keys(keys))?;
        Some(Link(slot.ids[0]))
    }

    /// Remembers where the ids of a piece are stored.
    fn insert_link(&mut self, at: usize, keys: [u128; K], link: Link) {
        let mut slot = Slot { keys: link_keys(keys), ..Slot::EMPTY };
        slot.ids[0] = link.0;
        self.push(at, slot);
    }

    /// Doubles the table if too small; call it when no places in it are held.
    ///
    /// In place, where a new allocation would cost fresh memory: what a pair holds goes to two neighbours, behind all pairs that
    /// are still to be moved.
    fn grow(&mut self) {
        let num_pairs = self.pairs.len();
        if self.num_taken < num_pairs || 2 * num_pairs > self.pairs.capacity() {
            return;
        }
        self.pairs.resize(2 * num_pairs, Pair([Slot::EMPTY; 2]));
        self.shift -= 1;
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

/// Ids of pieces that have too many for a slot, and the pieces that are too long for one.
#[derive(Default)]
struct Store {
    ids: Vec<u32>,
    pieces: Vec<u8>,
    /// How often it has been emptied.
    round: u32,
}

/// A place in the store, while its round lasts: where the ids begin, their number, the round, where the piece begins.
#[derive(Clone, Copy)]
struct Link([u32; IDS]);

impl Store {
    /// The ids at a place where those of `piece` are, as far as is known; an empty piece is not compared.
    fn get(&self, Link([start, num_ids, round, piece_start]): Link, piece: &[u8]) -> Option<&[u32]> {
        let stored = self.pieces.get(piece_start as usize..)?;
        let ids = self.ids.get(start as usize..)?.get(..num_ids as usize)?;
        (round == self.round && stored.starts_with(piece)).then_some(ids)
    }

    #[allow(clippy::cast_possible_truncation)] // of a piece of few bytes, in a store of bounded size
    fn insert(&mut self, new: &[u32], piece: &[u8]) -> Link {
        if self.ids.len() + new.len() > STORED_IDS || self.pieces.len() + piece.len() > STORED_BYTES {
            self.ids.clear();
            self.pieces.clear();
            self.round += 1;
        }
        let room = STORED_IDS - self.ids.len();
        huge_pages::reserve(&mut self.ids, room);
        let link = [self.ids.len() as u32, new.len() as u32, self.round, self.pieces.len() as u32];
        self.ids.extend_from_slice(new);
        self.pieces.extend_from_slice(piece);
        Link(link)
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

/// One thread's cache.
pub(super) struct PieceCache {
    short: Table<1>,
    medium: Table<2>,
    store: Store,
    /// Made for the first such piece.
    long: Option<Table<1>>,
}

impl PieceCache {
    pub fn new() -> Self {
        PieceCache {
            short: Table::new(BITS[0]),
            medium: Table::new(BITS[1]),
            store: Store::default(),
            long: None,
        }
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
        if key != TOO_LONG {
            encode_linked((&mut self.short, &mut self.store), (at, [key]), piece, ids, encode);
        } else if piece.len() <= MEDIUM {
            let keys = medium_keys(text, range.start, piece.len());
            let at = self.medium.home(keys);
            if let Some((known, num_ids)) = self.medium.get(at, keys) {
                return ids.extend_from_slice(&known.as_flattened()[..num_ids]);
            }
            encode_linked((&mut self.medium, &mut self.store), (at, keys), piece, ids, encode);
        } else if piece.len() <= LONG {
            let long = self.long.get_or_insert_with(|| Table::new((LONG_BITS, LONG_BITS)));
            let hash = hash_all(piece.chunks(SHORT).map(|part| short_key(part, 0, part.len())));
            let (at, key) = (long.place(hash), u128::from(hash) | (piece.len() as u128) << 64);
            if let Some(known) = long.link(at, [key]).and_then(|link| self.store.get(link, piece)) {
                return ids.extend_from_slice(known);
            }
            let before = ids.len();
            encode(piece, ids);
            long.insert_link(at, [key], self.store.insert(&ids[before..], piece));
        } else {
            encode(piece, ids);
        }
    }
}

/// The hash of a piece by the keys of its parts.
#[inline]
fn hash_all(keys: impl IntoIterator<Item = u128>) -> u64 {
    keys.into_iter().fold(0, |state, key| hash(key, state))
}

/// Looks up a piece that may have too many ids for a slot, or encodes and remembers it.
fn encode_linked<const K: usize>(
    (table, store): (&mut Table<K>, &mut Store),
    (at, keys): (usize, [u128; K]),
    piece: &[u8],
    ids: &mut Vec<u32>,
    encode: &mut impl FnMut(&[u8], &mut Vec<u32>),
) {
    let has_link = piece.len() > K * IDS && piece[piece.len() - 1] != 0;
    if let Some(known) = table.link(at, keys).filter(|_| has_link).and_then(|link| store.get(link, &[])) {
        return ids.extend_from_slice(known);
    }
    let before = ids.len();
    encode(piece, ids);
    let new = &ids[before..];
    if new.len() <= K * IDS {
        table.insert(at, keys, new);
    } else if has_link {
        table.insert_link(at, keys, store.insert(new, &[]));
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
        assert!(cache.short.shift < Table::<1>::new(BITS[0]).shift);
        assert!(cache.medium.shift < Table::<2>::new(BITS[1]).shift);
    }
}
