//! Pieces seen before, with their ids: a direct-mapped table of fixed size.
//!
//! A slot is 32 bytes: the piece itself as an integer (up to 15 bytes, its length above them) and up to four ids. A hit
//! costs one cache line and copies four ids whatever their number; the length of `ids` says how many count. A piece that
//! is longer, or makes more ids, is merged each time. What a slot held before is overwritten: in text that is rarer.

use crate::word_counts::{hash, short_key};

/// Two megabytes: within a core's share of the caches, and enough for all but the rare pieces.
const BITS: u32 = 16;
const INLINE: usize = 4;
/// Longest piece in bytes.
const LONGEST: usize = 15;

#[derive(Clone, Copy)]
struct Slot {
    /// The piece, its length in bits 120 to 123, the number of ids above. 0 is an empty slot.
    key: u128,
    ids: [u32; INLINE],
}

const NUM_IDS_SHIFT: u32 = 124;
const KEY_MASK: u128 = (1 << NUM_IDS_SHIFT) - 1;

/// One thread's cache.
pub(super) struct PieceCache {
    slots: Vec<Slot>,
}

impl PieceCache {
    pub fn new() -> Self {
        PieceCache { slots: vec![Slot { key: 0, ids: [0; INLINE] }; 1 << BITS] }
    }

    /// Appends the ids of the piece `text[start..end]`; `encode` is asked where they are not known.
    #[inline]
    pub fn encode(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        ids: &mut Vec<u32>,
        encode: impl FnOnce(&[u8], &mut Vec<u32>),
    ) {
        let len = end - start;
        if len > LONGEST {
            return encode(&text[start..end], ids);
        }
        let key = short_key(text, start, len);
        let slot = &mut self.slots[(hash(key, 0) >> (64 - BITS)) as usize];
        if slot.key & KEY_MASK == key {
            let len = ids.len();
            ids.extend_from_slice(&slot.ids);
            ids.truncate(len + (slot.key >> NUM_IDS_SHIFT) as usize);
            return;
        }
        let before = ids.len();
        encode(&text[start..end], ids);
        let new = &ids[before..];
        if new.len() <= INLINE {
            slot.key = key | (new.len() as u128) << NUM_IDS_SHIFT;
            slot.ids[..new.len()].copy_from_slice(new);
        }
    }
}
