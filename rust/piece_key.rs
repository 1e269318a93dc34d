//! A short piece as one integer, and its hash: the key of the counting tables and of the encoder's cache.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Longest piece, in bytes, that is a key by itself.
pub(crate) const SHORT: usize = 15;

/// What keeps the bytes of a piece, by their number. A shift by a variable number of 128 bits takes ten instructions.
const MASKS: [u128; SHORT + 1] = {
    let mut masks = [0; SHORT + 1];
    let mut len = 1;
    while len <= SHORT {
        masks[len] = masks[len - 1] << 8 | 0xFF;
        len += 1;
    }
    masks
};

/// The bytes `start..start + len` of `text`, at most [`SHORT`], with their number in the top byte.
#[inline]
pub(crate) fn short_key(text: &[u8], start: usize, len: usize) -> u128 {
    let bytes = if let Some(window) = text.get(start..start + 16) {
        // Sixteen bytes at once, those after the piece masked out: a copy of a variable length costs more.
        let mut all = [0; 16];
        all.copy_from_slice(window);
        u128::from_le_bytes(all) & MASKS[len % (SHORT + 1)]
    } else {
        let mut all = [0; 16];
        all[..len].copy_from_slice(&text[start..start + len]);
        u128::from_le_bytes(all)
    };
    bytes | (len as u128) << 120
}

/// The first eight bytes as an integer in the order of byte strings, zeros behind a shorter one: two that differ tell which is
/// less without a look at the rest.
#[inline]
pub(crate) fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}

/// A folded multiplication: all bits of the key reach the top bits of the result.
#[inline]
#[allow(clippy::cast_possible_truncation)] // both halves are wanted
pub(crate) fn hash(key: u128, seed: u64) -> u64 {
    let (low, high) = (key as u64, (key >> 64) as u64);
    let product = u128::from(low ^ seed) * u128::from(high ^ 0x9E37_79B9_7F4A_7C15);
    (product as u64) ^ (product >> 64) as u64
}

/// Makes hashers for byte strings out of files, several times as fast as the standard ones. Each has a seed of its own: which
/// strings collide is not for the author of a file to choose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Seed(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seed {
    type Hasher = SeededHasher;

    #[inline]
    fn build_hasher(&self) -> SeededHasher {
        SeededHasher { seed: self.0, hash: self.0 }
    }
}

pub(crate) struct SeededHasher {
    seed: u64,
    hash: u64,
}

impl Hasher for SeededHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (parts, rest) = bytes.as_chunks::<16>();
        for part in parts {
            self.write_u128(u128::from_le_bytes(*part));
        }
        // With its length in the last byte.
        self.write_u128(short_key(rest, 0, rest.len()));
    }

    /// The length of a byte string, or what ends one: [`Hasher::write`] tells the strings apart already.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn write_u8(&mut self, _: u8) {}

    #[inline]
    fn write_u128(&mut self, key: u128) {
        // The seed goes into both factors: a factor that is 0 whatever the seed would hide the other one.
        self.hash = hash(key ^ u128::from(self.seed) << 64, self.hash);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}
