//! All distinct words in one array, a slot per byte, in which pairs are merged in place.
//!
//! A token's id stands in the first and in the last of its slots, what lies between is stale. A slot that could be taken for
//! the start of a token that is no longer there is marked; so a place at which a pair stood once still holds it exactly
//! if both slots say so. Words are separated, and the whole is framed, by boundary slots.

use super::places::Places;
use super::scratch::Scratch;
use super::{Kept, Pair, pair, parts};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::word_counts::WordCounts;
use rustc_hash::FxHashMap;

/// An integer that holds token ids and the two marks.
pub(super) trait Slot: Copy + Eq + Send + Sync {
    /// Between words.
    const BOUNDARY: Self;
    /// Inside a token, where a token started once.
    const STALE: Self;
    fn from_id(id: u32) -> Self;
    fn id(self) -> u32;
}

macro_rules! slot {
    ($int:ty) => {
        impl Slot for $int {
            const BOUNDARY: Self = <$int>::MAX;
            const STALE: Self = <$int>::MAX - 1;
            #[inline]
            #[allow(clippy::cast_possible_truncation)] // the trainer picks a type that holds all ids
            fn from_id(id: u32) -> Self {
                id as Self
            }
            #[inline]
            fn id(self) -> u32 {
                self.into()
            }
        }
    };
}
slot!(u16);
slot!(u32);

/// Places looked at together.
const BLOCK: usize = 64;

/// The words as tokens.
pub(super) struct Corpus<S> {
    slots: Vec<S>,
    /// Words of one count lie together, the most frequent first: where each such stretch ends, and the count.
    runs: Vec<(u32, u64)>,
}

impl<S: Slot> Corpus<S> {
    /// Words of one byte have no pair and are left out.
    pub fn new(words: &WordCounts) -> Result<Self> {
        let mut order: Vec<(u64, &[u8])> =
            words.iter().filter(|(word, count)| word.len() > 1 && *count > 0).map(|(w, c)| (c, w)).collect();
        order.sort_unstable_by_key(|&(count, _)| std::cmp::Reverse(count));
        let len = order.iter().map(|(_, word)| word.len() + 1).sum::<usize>() + 1;
        if u32::try_from(len).is_err() {
            return Err(Error::Training(format!(
                "the distinct words hold {len} bytes, the limit is {} (4 GiB); train on less text",
                u32::MAX
            )));
        }
        let mut corpus = Corpus { slots: Vec::with_capacity(len), runs: Vec::new() };
        corpus.slots.push(S::BOUNDARY);
        for (count, word) in order {
            corpus.slots.extend(word.iter().map(|&byte| S::from_id(byte.into())));
            corpus.slots.push(S::BOUNDARY);
            let end = u32::try_from(corpus.slots.len()).unwrap_or(u32::MAX);
            match corpus.runs.last_mut().filter(|run| run.1 == count) {
                Some(run) => run.0 = end,
                None => corpus.runs.push((end, count)),
            }
        }
        Ok(corpus)
    }

    /// Merges `left` and `right` into `joined` at those of `places` where they still stand, and notes the neighbours.
    #[allow(clippy::too_many_arguments)] // the parts of a merge, each borrowed from another owner
    pub fn merge(
        &mut self,
        left: u32,
        right: u32,
        joined: u32,
        lens: &[u32],
        places: &[u32],
        scratch: &mut Scratch,
        monitor: &Monitor,
    ) -> Result<()> {
        let (left_slot, right_slot, joined_slot) = (S::from_id(left), S::from_id(right), S::from_id(joined));
        let (left_len, len) = (lens[left as usize], lens[left as usize] + lens[right as usize]);
        let mut counts = CountCursor::new(&self.runs);
        let mut previous_end = 0;
        for (i, block) in places.chunks(BLOCK).enumerate() {
            if i % (1 << 10) == 0 {
                monitor.check()?;
            }
            // Places are far apart. Looking at many before any is worked on lets the processor fetch them together: without,
            // three quarters of a merge is waiting for memory.
            let mut standing = [0; BLOCK];
            let mut num_standing = 0;
            for &place in block {
                standing[num_standing] = place;
                num_standing += usize::from(self.slots[place as usize] == left_slot);
            }
            for &place in &standing[..num_standing] {
                let at = place as usize;
                let (middle, end) = (at + left_len as usize, at + len as usize);
                // The left slot again: a merge in this block may have taken it.
                if self.slots[middle] != right_slot || self.slots[at] != left_slot {
                    continue;
                }
                self.slots[middle] = S::STALE;
                self.slots[at] = joined_slot;
                self.slots[end - 1] = joined_slot;
                let count = counts.at(place);
                let (before, after) = (self.slots[at - 1], self.slots[end]);
                if previous_end == at {
                    scratch.add_chain(place - len, count);
                } else if before != S::BOUNDARY {
                    let before = before.id();
                    scratch.before.add(before, place - lens[before as usize], count);
                }
                if after != S::BOUNDARY {
                    scratch.after.add(after.id(), place, count);
                }
                previous_end = end;
            }
        }
        Ok(())
    }

    /// Calls `visit` with each pair, its place and its count, in the order of places.
    fn for_each_pair(
        &self,
        lens: &[u32],
        monitor: &Monitor,
        mut visit: impl FnMut(Pair, u32, u64),
    ) -> Result<()> {
        let mut at = 1;
        for &(end, count) in &self.runs {
            monitor.check()?;
            let end = end as usize;
            while at < end {
                let left = self.slots[at];
                if left == S::BOUNDARY {
                    at += 1;
                    continue;
                }
                let next = at + lens[left.id() as usize] as usize;
                let right = self.slots[next];
                if right != S::BOUNDARY {
                    visit(pair(left.id(), right.id()), u32::try_from(at).unwrap_or(u32::MAX), count);
                }
                at = next;
            }
        }
        Ok(())
    }

    /// The count and the number of places of every pair.
    ///
    /// Here alone can a sum overflow: all later counts are parts of these.
    pub fn pair_counts(&self, lens: &[u32], monitor: &Monitor) -> Result<PairCounts> {
        let add = |sum: &mut (u64, u32), count: u64| {
            sum.0 = sum.0.saturating_add(count);
            sum.1 += 1;
        };
        let mut counts = PairCounts::default();
        if lens.len() == 256 {
            // Before the first merge pairs are few and their places are most: an array, no hashing.
            let mut by_bytes = vec![(0, 0); 1 << 16];
            self.for_each_pair(lens, monitor, |pair, _, count| {
                let (left, right) = parts(pair);
                add(&mut by_bytes[(left << 8 | right) as usize], count);
            })?;
            let pairs = (0..256).flat_map(|left| (0..256).map(move |right| pair(left, right)));
            counts.extend(pairs.zip(by_bytes).filter(|&(_, (_, num))| num > 0));
        } else {
            self.for_each_pair(lens, monitor, |pair, _, count| add(counts.entry(pair).or_default(), count))?;
        }
        if counts.values().any(|&(count, _)| i64::try_from(count).is_err()) {
            return Err(Error::Training("a pair occurs over 2^63 times; train on smaller counts".into()));
        }
        Ok(counts)
    }

    /// Those of the counted pairs that reach `threshold`, with their places.
    pub fn keep(
        &self,
        counts: PairCounts,
        threshold: u64,
        lens: &[u32],
        places: &mut Places,
        monitor: &Monitor,
    ) -> Result<FxHashMap<Pair, Kept>> {
        let mut kept: FxHashMap<Pair, Kept> = counts
            .into_iter()
            .filter(|&(_, (count, _))| count >= threshold)
            .map(|(pair, (count, num))| (pair, Kept { count, places: places.reserve(num) }))
            .collect();
        self.for_each_pair(lens, monitor, |pair, place, _| {
            if let Some(kept) = kept.get_mut(&pair) {
                places.push(&mut kept.places, place);
            }
        })?;
        Ok(kept)
    }
}

/// Count and number of places by pair.
pub(super) type PairCounts = FxHashMap<Pair, (u64, u32)>;

/// Looks up word counts at ascending places.
struct CountCursor<'a> {
    runs: &'a [(u32, u64)],
    run: usize,
}

impl<'a> CountCursor<'a> {
    fn new(runs: &'a [(u32, u64)]) -> Self {
        CountCursor { runs, run: 0 }
    }

    #[inline]
    fn at(&mut self, place: u32) -> u64 {
        if place >= self.runs[self.run].0 {
            // A frequent pair visits nearly every run, a rare one skips thousands: double the step, then bisect.
            let mut step = 1;
            while self.runs.get(self.run + step).is_some_and(|run| run.0 <= place) {
                step *= 2;
            }
            let (from, to) = (self.run + step / 2, self.runs.len().min(self.run + step + 1));
            self.run = from + self.runs[from..to].partition_point(|run| run.0 <= place);
        }
        self.runs[self.run].1
    }
}
