//! Pieces seen before, with their ids: two tables of bounded size.
//!
//! One for nearly all pieces of most texts, those of up to 15 bytes. A slot of 32 bytes holds a piece itself as an integer,
//! and up to four ids. A hit copies all of the room whatever the number of ids, and the next hit goes over those that do
//! not count. Two slots stand together, and a piece may be in either: a new one takes the first place, the one there the
//! second. That one is driven out: to the pair beside it if that has room, from where a look-up that finds nothing
//! brings it back; else it is lost. Without this, three pieces that belong into one pair drive each other out again and
//! again: a fifth slower on text in many languages.
//!
//! [Longer pieces](LongTable) have a table of hashes and a store.
//!
//! Pieces are looked up a block at a time: the processor is told of all slots before the first is read. A plain read in place
//! of the prefetch holds up all that follows it: twice as slow on German.
//!
//! A table begins small, in the second-level cache, and doubles when half of its slots are taken, up to a limit. From two
//! megabytes on the system is asked for huge pages, without which the larger tables would cost a tenth on a new text.
//!
//! A short piece that has more ids than there is room for takes a slot too, under a key that no look-up finds at first; its ids
//! are in a store of their own, which begins anew when it is full. In code such pieces are the runs of blanks at the begin of
//! a line.
//!
//! Tried: one table of 64-byte slots for all, which keeps half as many pieces in the nearer caches: a third slower on C; a
//! second table of 64-byte slots for pieces of up to 30 bytes and eight ids, which takes one miss where the other has two,
//! but more memory, and in Japanese and Chinese most pieces have more ids: half as fast there, no faster on German;
//! ids of two bytes where the vocabulary fits, so that more have room, which costs more on each hit than it saves;
//! choosing between two slots that are both compared, by conditional moves, a fifth slower; doubling only when as many
//! pieces are lost, a fifth slower on German seen before; blocks of 16 and of 64 pieces.

mod long;
mod places;
mod store;
mod table;

use long::LongTable;
use places::{BLOCK, Places};
use std::mem::MaybeUninit;
use std::ops::Range;
use store::Store;
use table::{IDS, Table};

/// Bits of the number of slots, first and at most: half a megabyte to 32.
const BITS: (u32, u32) = (14, 20);
/// In place of the key of a piece that is not for the first table: that of none, for its length is 0.
const TOO_LONG: u128 = 1;

/// One thread's cache.
pub(super) struct PieceCache {
    short: Table,
    store: Store,
    /// Made for the first such piece.
    long: Option<LongTable>,
}

impl PieceCache {
    pub fn new() -> Self {
        PieceCache { short: Table::new(BITS), store: Store::default(), long: None }
    }

    /// Appends the ids of the pieces of `text` between `bounds`; `encode` is asked where they are not known.
    pub fn encode(
        &mut self,
        text: &[u8],
        bounds: &[u32],
        ids: &mut Vec<u32>,
        mut encode: impl FnMut(&[u8], &mut Vec<u32>),
    ) {
        self.short.grow();
        self.long.iter_mut().for_each(LongTable::grow);
        let mut places = Places::new();
        let num_pieces = bounds.len() - 1;
        for first in (0..num_pieces).step_by(BLOCK) {
            let block = &bounds[first..=num_pieces.min(first + BLOCK)];
            self.find_places(text, block, &mut places);
            // All of the room in a slot is copied whatever the number of ids, the next ones over those that do not count.
            let mut num_found = 0;
            let mut room = room_of(ids);
            for (piece, (&key, &at)) in places.keys[..block.len() - 1].iter().zip(&places.at).enumerate() {
                let at = at as usize;
                if let Some((new, num_ids)) = self.short.get(at, key)
                    && let Some(room) = room[num_found..].first_chunk_mut()
                {
                    *room = new.map(MaybeUninit::new);
                    num_found += num_ids;
                } else {
                    // SAFETY: `num_found` ids were written behind those that are there.
                    unsafe { ids.set_len(ids.len() + num_found) };
                    num_found = 0;
                    let range = block[piece] as usize..block[piece + 1] as usize;
                    self.encode_missed(text, range, (key, at), ids, &mut encode);
                    room = room_of(ids);
                }
            }
            // SAFETY: as above.
            unsafe { ids.set_len(ids.len() + num_found) };
        }
    }

    /// Finds the keys of pieces and their places in the first table, and tells the processor of their slots, also in
    /// the other tables.
    fn find_places(&self, text: &[u8], bounds: &[u32], places: &mut Places) {
        let long = places.find(text, bounds, self.short.shift, |at| self.short.prefetch(at));
        if long != 0 {
            self.find_long(text, bounds, long, places);
        }
    }

    /// The same for the pieces that are not for the first table, of which `long` has a bit each.
    #[inline(never)] // so that blocks without such a piece do not pay for the room of the hashes
    fn find_long(&self, text: &[u8], bounds: &[u32], mut long: u32, places: &mut Places) {
        let (mut hashes, mut num_hashes) = ([0; BLOCK], 0);
        while long != 0 {
            let piece = long.trailing_zeros() as usize;
            long &= long - 1;
            places.keys[piece] = TOO_LONG;
            let (start, len) = (bounds[piece] as usize, (bounds[piece + 1] - bounds[piece]) as usize);
            if let Some(table) = self.long.as_ref().filter(|_| len <= long::LONGEST) {
                let hash = long::hash(&text[start..start + len]);
                table.prefetch(hash);
                hashes[num_hashes] = hash;
                num_hashes += 1;
            }
        }
        for &hash in &hashes[..num_hashes] {
            // The processor was told of all the buckets before it comes to the first record.
            self.long.iter().for_each(|table| table.prefetch_record(hash));
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
            self.encode_short(at, key, piece, ids, encode);
        } else if piece.len() <= long::LONGEST {
            let hash = long::hash(piece);
            let table = self.long.get_or_insert_with(LongTable::new);
            if let Some(known) = table.get(hash, piece) {
                return ids.extend_from_slice(known);
            }
            let before = ids.len();
            encode(piece, ids);
            table.insert(hash, piece, &ids[before..]);
        } else {
            encode(piece, ids);
        }
    }

    /// Looks up a short piece that may have too many ids for a slot, or encodes and remembers it.
    fn encode_short(
        &mut self,
        at: usize,
        key: u128,
        piece: &[u8],
        ids: &mut Vec<u32>,
        encode: &mut impl FnMut(&[u8], &mut Vec<u32>),
    ) {
        let PieceCache { short: table, store, .. } = self;
        table.recall(at, key);
        if let Some((known, num_ids)) = table.get(at, key) {
            return ids.extend_from_slice(&known[..num_ids]);
        }
        let has_link = piece.len() > IDS && piece[piece.len() - 1] != 0;
        if let Some(known) = table.link(at, key).filter(|_| has_link).and_then(|link| store.get(link)) {
            return ids.extend_from_slice(known);
        }
        let before = ids.len();
        encode(piece, ids);
        let new = &ids[before..];
        if new.len() <= IDS {
            table.insert(at, key, new);
        } else if has_link {
            table.insert_link(at, key, store.insert(new));
        }
    }
}

/// Tells the processor that `items[at]` will be read soon; nothing if it is not there.
#[inline]
fn prefetch<T>(items: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: nothing is read, any address is allowed.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(items.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    if let Some(item) = items.get(at) {
        // SAFETY: the first byte of an item of integers.
        std::hint::black_box(unsafe { (&raw const *item).cast::<u8>().read_volatile() });
    }
}

/// Room for the ids of a block, all that slots have.
#[inline]
fn room_of(ids: &mut Vec<u32>) -> &mut [MaybeUninit<u32>] {
    ids.reserve(IDS * BLOCK);
    &mut ids.spare_capacity_mut()[..IDS * BLOCK]
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
        let (mut text, mut bounds, mut expected) = (Vec::new(), vec![0], Vec::new());
        for i in 0..150_000_u32 {
            let start = text.len();
            let len = if i % 50 == 0 { 300 } else { 1 + i as usize % 40 };
            text.extend(i.wrapping_mul(0x9E37_79B9).to_be_bytes().iter().cycle().take(len));
            bounds.push(u32::try_from(text.len()).unwrap());
            expected.extend(ids_of(&text[start..]));
        }
        let mut cache = PieceCache::new();
        for _ in 0..3 {
            let mut ids = Vec::new();
            for first in (0..bounds.len() - 1).step_by(1000) {
                let some = &bounds[first..bounds.len().min(first + 1001)];
                cache.encode(&text, some, &mut ids, |piece, ids| ids.extend(ids_of(piece)));
            }
            assert!(ids == expected);
        }
        assert!(cache.short.shift < Table::new(BITS).shift);
        assert!(cache.long.unwrap().has_grown());
    }
}
