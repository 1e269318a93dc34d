//! Ids of pieces that have too many for a slot.

use super::table::IDS;
use crate::huge_pages;

/// Ids in the store.
const STORED_IDS: usize = 1 << 22;

/// Ids of pieces that have too many for a slot.
#[derive(Default)]
pub(super) struct Store {
    ids: Vec<u32>,
    /// How often it has been emptied.
    round: u32,
}

/// A place in the store, while its round lasts: where the ids begin, their number, the round.
#[derive(Clone, Copy)]
pub(super) struct Link(pub [u32; IDS]);

impl Store {
    /// The ids at a place.
    pub fn get(&self, Link([start, num_ids, round, _]): Link) -> Option<&[u32]> {
        let ids = self.ids.get(start as usize..)?.get(..num_ids as usize)?;
        (round == self.round).then_some(ids)
    }

    #[allow(clippy::cast_possible_truncation)] // of a piece of few bytes, in a store of bounded size
    pub fn insert(&mut self, new: &[u32]) -> Link {
        if self.ids.len() + new.len() > STORED_IDS {
            self.ids.clear();
            self.round += 1;
        }
        let room = STORED_IDS - self.ids.len();
        huge_pages::reserve(&mut self.ids, room);
        let link = [self.ids.len() as u32, new.len() as u32, self.round, 0];
        self.ids.extend_from_slice(new);
        Link(link)
    }
}
