//! Where each kept pair stands: lists of places in one allocation.
//!
//! Every list is made whole, read once and dropped, millions of times; a heap allocation for each costs a seventh of
//! the merging. What dropped lists leave behind is squeezed out once it is more than the rest.

/// A list in [`Places`]; ascending.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    start: usize,
    len: u32,
}

/// All lists.
#[derive(Default)]
pub(super) struct Places {
    all: Vec<u32>,
    /// Places in lists that are not dropped.
    live: usize,
}

/// Less garbage than this is not worth squeezing out.
const SLACK: usize = 1 << 20;

impl Places {
    /// An empty list with room for exactly `len` places.
    pub fn reserve(&mut self, len: u32) -> List {
        let start = self.all.len();
        self.all.resize(start + len as usize, 0);
        self.live += len as usize;
        List { start, len: 0 }
    }

    /// Appends to a list with room.
    #[inline]
    pub fn push(&mut self, list: &mut List, place: u32) {
        self.all[list.start + list.len as usize] = place;
        list.len += 1;
    }

    pub fn get(&self, list: List) -> &[u32] {
        &self.all[list.start..list.start + list.len as usize]
    }

    pub fn drop(&mut self, list: List) {
        self.live -= list.len as usize;
    }

    pub fn clear(&mut self) {
        *self = Places::default();
    }

    /// Moves the lists together if there is much garbage between them.
    pub fn squeeze<'a>(&mut self, lists: impl Iterator<Item = &'a mut List>) {
        if self.all.len() <= 2 * self.live + SLACK {
            return;
        }
        let mut all = Vec::with_capacity(self.live + self.live / 2);
        for list in lists {
            let start = all.len();
            all.extend_from_slice(self.get(*list));
            list.start = start;
        }
        self.all = all;
    }
}
