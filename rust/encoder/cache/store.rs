//! Ids of pieces that have too many for a slot.

use super::table::IDS;
use crate::encoder::huge_pages;

/// Ids in the store, and bytes of pieces.
const STORED_IDS: usize = 1 << 22;
const STORED_BYTES: usize = 1 << 22;

/// Ids of pieces that have too many for a slot, and the pieces that are too long for one.
#[derive(Default)]
pub(super) struct Store {
    ids: Vec<u32>,
    pieces: Vec<u8>,
    /// How often it has been emptied.
    round: u32,
}

/// A place in the store, while its round lasts: where the ids begin, their number, the round, where the piece begins.
#[derive(Clone, Copy)]
pub(super) struct Link(pub [u32; IDS]);

impl Store {
    /// The ids at a place where those of `piece` are, as far as is known; an empty piece is not compared.
    pub fn get(&self, Link([start, num_ids, round, piece_start]): Link, piece: &[u8]) -> Option<&[u32]> {
        let stored = self.pieces.get(piece_start as usize..)?;
        let ids = self.ids.get(start as usize..)?.get(..num_ids as usize)?;
        (round == self.round && stored.starts_with(piece)).then_some(ids)
    }

    #[allow(clippy::cast_possible_truncation)] // of a piece of few bytes, in a store of bounded size
    pub fn insert(&mut self, new: &[u32], piece: &[u8]) -> Link {
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
