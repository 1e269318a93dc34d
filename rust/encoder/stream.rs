//! Text that arrives in chunks, encoded as if it were one.

use super::{Encoder, Specials};
use crate::normalizer::Ends;

/// The text of a stream that is not encoded yet, since what follows may change its ids.
#[derive(Debug, Default)]
pub struct Stream {
    carry: Vec<u8>,
    /// Whether a part was handed out.
    is_begun: bool,
}

impl Stream {
    /// Takes more text. Returns what is ready to be encoded, and whether the text begins with it: what follows cannot change
    /// its ids.
    #[must_use]
    pub fn push(&mut self, encoder: &Encoder, specials: Specials<'_>, text: &[u8]) -> (Vec<u8>, Ends) {
        let cutter = encoder.cutter(specials);
        let searched = cutter.resume_from(self.carry.len());
        self.carry.extend_from_slice(text);
        let cut = cutter.last_cut(&self.carry, searched).unwrap_or(0);
        let rest = self.carry.split_off(cut);
        (std::mem::replace(&mut self.carry, rest), self.ends(cut, false))
    }

    /// The text that is left; the stream can then be used anew.
    #[must_use]
    pub fn finish(&mut self) -> (Vec<u8>, Ends) {
        let rest = std::mem::take(&mut self.carry);
        let ends = self.ends(rest.len(), true);
        self.is_begun = false;
        (rest, ends)
    }

    /// The ends of a part with so many bytes.
    fn ends(&mut self, num_bytes: usize, ends: bool) -> Ends {
        let begins = !self.is_begun;
        self.is_begun |= num_bytes > 0;
        Ends { begins, ends }
    }
}
