//! A short piece as one integer, and its hash: the key of the counting tables and of the encoder's cache.

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
