//! Pieces that are too long for a slot, with their ids: a table of hashes and a store.
//!
//! An entry of the table has half of a piece's hash and the place of its record in the store: eight bytes, four of which
//! make a bucket. A record has the piece and its ids side by side. In Japanese and Chinese such pieces are clauses, nearly
//! half of all text, and a look-up takes two misses of the cache: the processor is told of the bucket, and then of the
//! record, before either is read.
//!
//! When the store is full, a new record is written over the oldest ones, but only every few times: else a text with more
//! pieces than there is room for, read again, drives out each of them just before it comes. Tried: to forget all when the
//! store is full, which has fewer hits with twice the memory.

use crate::huge_pages;
use crate::piece_key;

/// Bytes of the longest piece.
pub(super) const LONGEST: usize = 255;
/// Bits of the number of buckets, first and at most, and entries in each.
const BITS: (u32, u32) = (12, 17);
const WAYS: usize = 4;
/// Integers in the store.
const STORED: usize = 1 << 22;
/// Most integers of a record.
const LONGEST_RECORD: usize = HEAD + LONGEST.div_ceil(4) + LONGEST;
/// Of so many new pieces one is remembered when the store is full.
const ONE_OF: u32 = 4;
/// Integers of a record that come before the piece: its length, shifted, and the number of ids.
const HEAD: usize = 1;
const LEN_SHIFT: u32 = 16;

pub(super) struct LongTable {
    buckets: Vec<Bucket>,
    /// What leaves the bucket of the upper half of a hash.
    shift: u32,
    /// Entries that were made since all was forgotten.
    num_entries: usize,
    /// Records, each in one stretch.
    store: Vec<u32>,
    /// The number of the next record: how many integers came before it, those written over counted too. It is at the rest
    /// that is left when this is divided by [`STORED`]. None is 0, since an entry of 0 is empty.
    next: u32,
    /// Pieces that were new since the store is full.
    num_new: u32,
}

/// The number of the first record.
#[allow(clippy::cast_possible_truncation)] // 22 bits
const FIRST: u32 = STORED as u32;

/// The newest entry comes first.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Bucket([u64; WAYS]);

const EMPTY: Bucket = Bucket([0; WAYS]);

impl LongTable {
    pub fn new() -> Self {
        let mut store = Vec::new();
        huge_pages::reserve(&mut store, STORED);
        LongTable {
            buckets: vec![EMPTY; 1 << BITS.0],
            shift: 32 - BITS.0,
            num_entries: 0,
            store,
            next: FIRST,
            num_new: 0,
        }
    }

    /// Tells the processor that the bucket of a hash will be read soon.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        super::prefetch(&self.buckets, self.bucket(hash));
    }

    /// Tells the processor that the record of a piece with this hash will be read soon, if there is one.
    #[inline]
    pub fn prefetch_record(&self, hash: u64) {
        if let Some(at) = self.find(hash) {
            // Most records are on two lines.
            super::prefetch(&self.store, at);
            super::prefetch(&self.store, at + 16);
        }
    }

    /// The place of the record with this half of a hash.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // the half is wanted
    fn find(&self, hash: u64) -> Option<usize> {
        let entries = &self.buckets[self.bucket(hash)].0;
        let found = *entries.iter().find(|&&entry| entry != 0 && (entry ^ hash) >> 32 == 0)? as u32;
        // Not written over.
        if self.next - found <= FIRST { Some(found as usize % STORED) } else { None }
    }

    /// The ids of a piece of up to [`LONGEST`] bytes.
    #[inline]
    pub fn get(&self, hash: u64, piece: &[u8]) -> Option<&[u32]> {
        let (&[head], record) = self.store.get(self.find(hash)?..)?.split_first_chunk::<HEAD>()?;
        let (words, rest) = piece.as_chunks::<4>();
        let (stored, ids) = record.split_at_checked(piece.len().div_ceil(4))?;
        // Without a branch for each word.
        let differs =
            |differs, (word, stored): (&[u8; 4], &u32)| differs | (u32::from_le_bytes(*word) ^ stored);
        let differs = words.iter().zip(stored).fold(0, differs);
        let same_rest = rest.is_empty() || stored.last() == Some(&padded(rest));
        let same = differs == 0 && same_rest && (head >> LEN_SHIFT) as usize == piece.len();
        if same { ids.get(..(head & ((1 << LEN_SHIFT) - 1)) as usize) } else { None }
    }

    /// Remembers a piece of up to [`LONGEST`] bytes that is not there, or not.
    #[allow(clippy::cast_possible_truncation)] // a store and a piece of bounded size, of which each id has a byte
    pub fn insert(&mut self, hash: u64, piece: &[u8], ids: &[u32]) {
        if self.store.len() + LONGEST_RECORD > STORED {
            self.num_new = self.num_new.wrapping_add(1);
            if !self.num_new.is_multiple_of(ONE_OF) {
                return;
            }
        }
        let (words, rest) = piece.as_chunks::<4>();
        let len = HEAD + piece.len().div_ceil(4) + ids.len();
        let mut at = self.next as usize % STORED;
        if at + len > STORED {
            self.next += (STORED - at) as u32;
            at = 0;
        }
        if self.next > u32::MAX - FIRST {
            self.buckets.fill(EMPTY);
            (self.num_entries, self.next, at) = (0, FIRST, 0);
        }
        let entry = hash >> 32 << 32 | u64::from(self.next);
        self.next += len as u32;
        if self.store.len() < at + len {
            self.store.resize(at + len, 0);
        }
        let (head, record) = self.store[at..at + len].split_at_mut(HEAD);
        head[0] = (piece.len() as u32) << LEN_SHIFT | ids.len() as u32;
        let (record, new) = record.split_at_mut(len - HEAD - ids.len());
        for (to, word) in record.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*word);
        }
        if let (false, Some(last)) = (rest.is_empty(), record.last_mut()) {
            *last = padded(rest);
        }
        new.copy_from_slice(ids);
        self.push(entry);
        self.num_entries += 1;
    }

    /// Puts an entry first in its bucket; the last one there is lost.
    fn push(&mut self, entry: u64) {
        let at = self.bucket(entry);
        let entries = &mut self.buckets[at].0;
        entries.rotate_right(1);
        entries[0] = entry;
    }

    /// Doubles the table if half of it is in use.
    pub fn grow(&mut self) {
        let num_buckets = self.buckets.len();
        if self.num_entries < num_buckets * WAYS / 2 || num_buckets >= 1 << BITS.1 {
            return;
        }
        self.shift -= 1;
        let old = std::mem::replace(&mut self.buckets, vec![EMPTY; 2 * num_buckets]);
        for entry in old.iter().flat_map(|bucket| bucket.0.iter().rev()).filter(|&&entry| entry != 0) {
            self.push(*entry);
        }
    }

    #[cfg(test)]
    pub fn has_grown(&self) -> bool {
        self.shift < 32 - BITS.0
    }

    /// The bucket of a hash, or of an entry, which has the same upper half.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of buckets
    fn bucket(&self, hash: u64) -> usize {
        (hash >> 32 >> self.shift) as usize
    }
}

/// The hash of a piece of at least 16 bytes.
#[inline]
pub(super) fn hash(piece: &[u8]) -> u64 {
    let (parts, _) = piece.as_chunks::<16>();
    let last = piece.last_chunk::<16>().unwrap_or(&[0; 16]);
    let seed = piece.len() as u64;
    parts.iter().chain([last]).fold(seed, |hash, part| piece_key::hash(u128::from_le_bytes(*part), hash))
}

/// Less than four bytes as an integer.
#[inline]
fn padded(rest: &[u8]) -> u32 {
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece by its number, and its ids, each of many lengths.
    fn made(number: u32) -> (Vec<u8>, Vec<u32>) {
        let len = 16 + number as usize % 240;
        let piece = number.to_le_bytes().iter().copied().cycle().take(len).collect();
        (piece, (0..=number % 50).map(|id| id + number).collect())
    }

    #[test]
    fn what_is_written_over_is_not_found() {
        let mut table = LongTable::new();
        // Near to where the numbers of records begin again.
        table.next = u32::MAX - 3 * FIRST;
        let mut num_known = 0;
        for number in 0..1_000_000 {
            let (piece, ids) = made(number);
            table.insert(hash(&piece), &piece, &ids);
            table.grow();
            let (piece, ids) = made(number / 7 * 6);
            if let Some(known) = table.get(hash(&piece), &piece) {
                assert_eq!(known, ids);
                num_known += 1;
            }
        }
        assert!((10_000..900_000).contains(&num_known), "{num_known}");
        assert!(table.store.len() <= STORED && table.next < 4 * FIRST, "{}", table.next);
    }
}
