//! Places in a text that no merge can cross, by the characters on both sides.
//!
//! Most joints between tokens need no look at the tokens: no merge has a left part that ends like the text before and a right
//! part that begins like the text after. For two single bytes a table holds whether there is such a merge. Between
//! characters of several bytes each of these stands beside almost any other, so there whole characters are compared, up to
//! three bytes of them: bits by a hash. The few merges that have less than a character at their joint are held by their bytes.

/// What may be merged across a place.
pub(super) struct Crossings {
    /// Bit `first` of row `last`: some merge joins these bytes, and its parts' characters are not in `characters`.
    bytes: Box<[[u64; 4]; 256]>,
    /// Bit by the hash of a character that a left part ends with and one that a right part begins with.
    characters: Vec<u64>,
    /// Shift of a hash to a bit.
    shift: u32,
}

/// Bits for each merge.
const BITS_PER_MERGE: usize = 2;

impl Crossings {
    /// None yet, with room for a number of merges.
    pub fn new(num_merges: usize) -> Self {
        let bits = (BITS_PER_MERGE * num_merges).next_power_of_two().trailing_zeros().max(6);
        Crossings { bytes: Box::new([[0; 4]; 256]), characters: vec![0; 1 << (bits - 6)], shift: 64 - bits }
    }

    /// Adds a merge.
    pub fn insert(&mut self, left: &[u8], right: &[u8]) {
        if let (Some(tail), Some(head)) = (tail(left), head(right))
            && (tail | head) > 0xFF
        {
            let (word, bit) = self.place(tail, head);
            self.characters[word] |= 1 << bit;
        } else if let (Some(&last), Some(&first)) = (left.last(), right.first()) {
            self.bytes[usize::from(last)][usize::from(first >> 6)] |= 1 << (first & 63);
        }
    }

    /// Whether there may be a merge across the place `at` within `text`. What is known of a part is known of any text that
    /// ends or begins with it, so a text that is too short for a character is no place for a merge of characters.
    #[inline]
    pub fn may_merge(&self, text: &[u8], at: usize) -> bool {
        let (last, first) = (text[at - 1], text[at]);
        if self.bytes[usize::from(last)][usize::from(first >> 6)] >> (first & 63) & 1 != 0 {
            return true;
        }
        if (last | first) < 0x80 {
            return false;
        }
        let (Some(tail), Some(head)) = (tail(&text[..at]), head(&text[at..])) else { return false };
        let (word, bit) = self.place(tail, head);
        self.characters[word] >> bit & 1 != 0
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation)] // shifted below the number of bits
    fn place(&self, tail: u32, head: u32) -> (usize, u32) {
        let hash = (u64::from(tail) << 24 | u64::from(head)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let bit = (hash ^ hash << 31).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> self.shift;
        ((bit / 64) as usize, (bit % 64) as u32)
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

/// The last character, at most three bytes of it; `None` if it may begin before the text.
#[inline]
fn tail(text: &[u8]) -> Option<u32> {
    match *text {
        [.., c] if !is_continuation(c) => Some(c.into()),
        [.., b, c] if !is_continuation(b) => Some(u32::from_be_bytes([0, 0, b, c])),
        [.., a, b, c] => Some(u32::from_be_bytes([0, a, b, c])),
        _ => None,
    }
}

/// The first character, at most three bytes of it; `None` if it may end after the text.
#[inline]
fn head(text: &[u8]) -> Option<u32> {
    match *text {
        [a, ..] if a < 0xC0 => Some(a.into()),
        [a, b, ..] if a < 0xE0 => Some(u32::from_be_bytes([0, 0, a, b])),
        [a, b, c, ..] => Some(u32::from_be_bytes([0, a, b, c])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever stands around two parts, and however much of a character they are.
        #[test]
        fn no_merge_is_missed(
            merges in prop::collection::vec((part(), part()), 1..20),
            before in part(),
            after in part(),
            chosen in any::<prop::sample::Index>(),
        ) {
            let mut crossings = Crossings::new(merges.len());
            for (left, right) in &merges {
                crossings.insert(left, right);
            }
            let (left, right) = chosen.get(&merges);
            let text = [&before[..], left, right, &after].concat();
            prop_assert!(crossings.may_merge(&text, before.len() + left.len()));
        }
    }

    fn part() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::sample::select(&[0_u8, b'a', b'b', 0x80, 0x81, 0xBF, 0xC3, 0xE3, 0xF0, 0xFF][..]);
        prop::collection::vec(bytes, 1..6)
    }
}
