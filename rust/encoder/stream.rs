//! Text that arrives in chunks, encoded as if it were one.

use super::{Encoder, Specials};

/// The text of a stream that is not encoded yet, since what follows may change its ids.
#[derive(Debug, Default)]
pub struct Stream {
    carry: Vec<u8>,
}

impl Stream {
    /// Takes more text. Returns what is ready to be encoded: what follows cannot change its ids.
    #[must_use]
    pub fn push(&mut self, encoder: &Encoder, specials: Specials<'_>, text: &[u8]) -> Vec<u8> {
        let cutter = encoder.cutter(specials);
        let searched = cutter.resume_from(self.carry.len());
        self.carry.extend_from_slice(text);
        let Some(cut) = cutter.last_cut(&self.carry, searched) else { return Vec::new() };
        let rest = self.carry.split_off(cut);
        std::mem::replace(&mut self.carry, rest)
    }

    /// The text that is left; the stream can then be used anew.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }
}
