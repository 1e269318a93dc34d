//! What one merge changes, summed per neighbour before any pair is touched.

use super::places::{List, Places};

/// The neighbours on one side of a merged pair.
#[derive(Default)]
pub(super) struct Side {
    /// Summed counts by neighbour id.
    counts: Vec<u64>,
    /// Occurrences by neighbour id.
    num_places: Vec<u32>,
    /// The neighbours met.
    touched: Vec<u32>,
    /// Every occurrence: the neighbour, and where the new pair with it begins.
    places: Vec<(u32, u32)>,
}

/// Both sides, and the merged tokens that follow directly on one another.
#[derive(Default)]
pub(super) struct Scratch {
    pub before: Side,
    pub after: Side,
    /// Summed counts of places where one merged pair follows on another.
    chain_count: u64,
    chain_places: Vec<u32>,
}

impl Side {
    /// Counts one occurrence of `neighbour`, in a word that stands `count` times.
    #[inline]
    pub fn add(&mut self, neighbour: u32, place: u32, count: u64) {
        let at = neighbour as usize;
        if self.num_places[at] == 0 {
            self.touched.push(neighbour);
        }
        self.num_places[at] += 1;
        self.counts[at] += count;
        self.places.push((neighbour, place));
    }

    pub fn touched(&self) -> &[u32] {
        &self.touched
    }

    pub fn count(&self, neighbour: u32) -> u64 {
        self.counts[neighbour as usize]
    }

    /// The new pairs of at least `threshold`, as (neighbour, count, places in order).
    pub fn take(&mut self, threshold: u64, places: &mut Places) -> Vec<(u32, u64, List)> {
        const NONE: u32 = u32::MAX;
        let mut new: Vec<(u32, u64, List)> = Vec::new();
        for &neighbour in &self.touched {
            let at = neighbour as usize;
            let (count, num) = (self.counts[at], self.num_places[at]);
            // From here on `num_places` holds the index of a neighbour's list.
            self.num_places[at] = NONE;
            if count >= threshold {
                self.num_places[at] = u32::try_from(new.len()).unwrap_or(NONE);
                new.push((neighbour, count, places.reserve(num)));
            }
        }
        if !new.is_empty() {
            for &(neighbour, place) in &self.places {
                if let Some((_, _, list)) = new.get_mut(self.num_places[neighbour as usize] as usize) {
                    places.push(list, place);
                }
            }
        }
        new
    }

    fn clear(&mut self) {
        for &neighbour in &self.touched {
            self.counts[neighbour as usize] = 0;
            self.num_places[neighbour as usize] = 0;
        }
        self.touched.clear();
        self.places.clear();
    }
}

impl Scratch {
    /// Makes room for ids below `num_tokens`.
    pub fn fit(&mut self, num_tokens: u32) {
        for side in [&mut self.before, &mut self.after] {
            if side.counts.len() < num_tokens as usize {
                let len = (num_tokens as usize).next_power_of_two();
                side.counts.resize(len, 0);
                side.num_places.resize(len, 0);
            }
        }
    }

    /// Counts a merged pair that begins where another, beginning at `place`, ends.
    #[inline]
    pub fn add_chain(&mut self, place: u32, count: u64) {
        self.chain_count += count;
        self.chain_places.push(place);
    }

    /// Two merged pairs in a row were first seen as a merged pair with `left` after it: turns those into pairs of `joined`
    /// with itself. Places that are no longer true stay in the list; whoever walks it looks.
    pub fn settle_chains(&mut self, left: u32, joined: u32) {
        if self.chain_count == 0 {
            return;
        }
        self.after.counts[left as usize] -= self.chain_count;
        let places = std::mem::take(&mut self.chain_places);
        for &place in &places {
            self.after.add(joined, place, 0);
        }
        self.after.counts[joined as usize] += self.chain_count;
    }

    pub fn clear(&mut self) {
        self.before.clear();
        self.after.clear();
        self.chain_count = 0;
        self.chain_places.clear();
    }
}
