//! Pieces seen before, with their ids: two tables of bounded size.
//!
//! The first is direct-mapped. A slot is 32 bytes: the piece itself as an integer (up to 15 bytes, its length above them) and
//! up to four ids. A hit costs one cache line and copies four ids whatever their number; the length of `ids` says how
//! many count. What a slot held before is overwritten: in text that is rarer. Pieces are looked up a block at a time, so
//! that the processor fetches the slots together.
//!
//! The second takes pieces that are longer or make more ids, Japanese for instance: slots that point into one store of
//! bytes and ids. When the store is full, all is forgotten. Pieces over 255 bytes are merged each time.

use crate::piece_key::{SHORT, hash, short_key};

/// Four megabytes: in a core's share of the caches for the most part, and enough for all but the rare pieces.
const SHORT_BITS: u32 = 17;
const INLINE: usize = 4;
/// Longest piece of the second.
const LONG: usize = 255;
const LONG_BITS: u32 = 16;
/// Slots of the second table in use before it is emptied.
const LONG_FULL: usize = (1 << LONG_BITS) * 3 / 4;
/// Pieces looked up together.
const BLOCK: usize = 32;

#[derive(Clone, Copy)]
struct Short {
    /// The piece, its length in bits 120 to 123, the number of ids above. 0 is an empty slot.
    key: u128,
    ids: [u32; INLINE],
}

const NUM_IDS_SHIFT: u32 = 124;
const KEY_MASK: u128 = (1 << NUM_IDS_SHIFT) - 1;

/// A piece in the store of the second table; `num_ids` 0 is an empty slot.
#[derive(Clone, Copy, Default)]
struct Long {
    hash: u64,
    bytes_at: u32,
    ids_at: u32,
    len: u8,
    num_ids: u8,
}

/// One thread's cache.
pub(super) struct PieceCache {
    short: Vec<Short>,
    long: Vec<Long>,
    num_long: usize,
    bytes: Vec<u8>,
    ids: Vec<u32>,
}

impl PieceCache {
    pub fn new() -> Self {
        PieceCache {
            short: vec![Short { key: 0, ids: [0; INLINE] }; 1 << SHORT_BITS],
            long: Vec::new(),
            num_long: 0,
            bytes: Vec::new(),
            ids: Vec::new(),
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
        for block in ends.chunks(BLOCK) {
            let mut keys = [(0, 0); BLOCK];
            let (mut from, mut touched) = (start, 0);
            for (key, &end) in keys.iter_mut().zip(block) {
                let len = end as usize - from;
                // Key 0, which no piece has, for one that is too long.
                if len <= SHORT {
                    let bytes = short_key(text, from, len);
                    *key = (bytes, (hash(bytes, 0) >> (64 - SHORT_BITS)) as usize);
                    touched |= self.short[key.1].key;
                }
                from = end as usize;
            }
            // The slots were read for this alone: they are under way when their turn comes.
            std::hint::black_box(touched);
            ids.reserve(INLINE * BLOCK);
            for (&(key, at), &end) in keys.iter().zip(block) {
                let (slot, end) = (&self.short[at], end as usize);
                if slot.key & KEY_MASK == key && key != 0 {
                    let len = ids.len() + (slot.key >> NUM_IDS_SHIFT) as usize;
                    ids.extend_from_slice(&slot.ids);
                    ids.truncate(len);
                } else {
                    self.encode_missed(&text[start..end], key, at, ids, &mut encode);
                }
                start = end;
            }
        }
    }

    /// Encodes a piece that the first table does not hold, and remembers it.
    #[inline(never)]
    fn encode_missed(
        &mut self,
        piece: &[u8],
        key: u128,
        at: usize,
        ids: &mut Vec<u32>,
        encode: &mut impl FnMut(&[u8], &mut Vec<u32>),
    ) {
        let before = ids.len();
        // A piece of few bytes makes few ids, and is never in the second table.
        let long = (piece.len() > INLINE && piece.len() <= LONG).then(|| long_hash(piece));
        if let Some(found) = long.and_then(|hash| self.find_long(piece, hash)) {
            let from = found.ids_at as usize;
            return ids.extend_from_slice(&self.ids[from..from + usize::from(found.num_ids)]);
        }
        encode(piece, ids);
        let new = &ids[before..];
        if key != 0 && new.len() <= INLINE {
            let slot = &mut self.short[at];
            slot.key = key | (new.len() as u128) << NUM_IDS_SHIFT;
            slot.ids[..new.len()].copy_from_slice(new);
        } else if let Some(hash) = long {
            self.insert_long(piece, hash, new);
        }
    }

    fn find_long(&self, piece: &[u8], hash: u64) -> Option<Long> {
        let mut at = long_home(hash);
        loop {
            let slot = *self.long.get(at)?;
            if slot.num_ids == 0 {
                return None;
            }
            let from = slot.bytes_at as usize;
            if slot.hash == hash && &self.bytes[from..from + usize::from(slot.len)] == piece {
                return Some(slot);
            }
            at = (at + 1) & (self.long.len() - 1);
        }
    }

    fn insert_long(&mut self, piece: &[u8], hash: u64, ids: &[u32]) {
        if self.num_long == LONG_FULL || self.long.is_empty() {
            self.long.clear();
            self.long.resize(1 << LONG_BITS, Long::default());
            self.bytes.clear();
            self.ids.clear();
            self.num_long = 0;
        }
        let place = || Some((u32::try_from(self.bytes.len()).ok()?, u32::try_from(self.ids.len()).ok()?));
        // A piece within LONG has a length and a number of ids that fit.
        let Some((bytes_at, ids_at)) = place() else { return };
        let (Ok(len), Ok(num_ids)) = (u8::try_from(piece.len()), u8::try_from(ids.len())) else { return };
        let mut at = long_home(hash);
        while self.long[at].num_ids != 0 {
            at = (at + 1) & (self.long.len() - 1);
        }
        self.long[at] = Long { hash, bytes_at, ids_at, len, num_ids };
        self.bytes.extend_from_slice(piece);
        self.ids.extend_from_slice(ids);
        self.num_long += 1;
    }
}

fn long_hash(piece: &[u8]) -> u64 {
    let mut state = piece.len() as u64;
    for start in (0..piece.len()).step_by(SHORT) {
        state = hash(short_key(piece, start, SHORT.min(piece.len() - start)), state);
    }
    state
}

fn long_home(hash: u64) -> usize {
    (hash >> (64 - LONG_BITS)) as usize
}
