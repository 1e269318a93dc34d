//! Word counts -> merges.
//!
//! The rule (DESIGN contract): take the pair of adjacent tokens with the highest count, replace it everywhere, repeat. Ties
//! go by [`TieBreak`]. A pair that would make a token of over [`MAX_TOKEN_BYTES`] is passed over.
//!
//! What makes it fast rests on one fact: a pair of adjacent tokens comes into being only when the younger of the two does.
//! So all places of a pair are known the moment it is made, in order, and afterwards its count only falls:
//!
//! * `Corpus` holds all words in one array, a slot per byte. A token's id stands in its first and its last slot, so a
//!   merge at a known place finds both neighbours in constant time and never moves anything.
//! * The places of a pair are one sorted list, built once by a counting sort, dropped when merged.
//! * Words lie sorted by count, so a word's count follows from its position and is not stored.
//! * A merge sums the changes to the counts per neighbour in a dense array, then touches each pair once.
//! * The queue is lazy: an entry that has become too high is put back with the count it has now.
//! * Pairs below a threshold that the merges are still far from are not kept at all. When the queue runs dry, one pass
//!   counts all pairs anew, and the threshold falls. This is exact, since an unkept pair is always below the threshold.
//!
//! Training that goes on from an existing tokenizer first applies its merges, in order of rank. The fact holds for them
//! as well, since a token is made by one merge, at its rank: so the same lists serve, kept for the pairs of these merges
//! alone and chosen by rank instead of by count. Then one pass counts all pairs, and the learning begins. This is what
//! training did when it learned them, so going on from the first merges of a training gives the others.
//!
//! Time O(bytes in distinct words + merges · neighbours), whatever the length of a word; memory: two bytes per byte in
//! distinct words (four beyond 65,534 tokens), four per place of a kept pair.

mod corpus;
mod initial;
mod places;
mod queue;
mod scratch;
mod tokens;

use crate::error::{Error, Result};
use crate::monitor::{Monitor, Phase};
use crate::vocab::{MAX_TOKEN_BYTES, Vocab};
use crate::word_counts::WordCounts;
use corpus::{Corpus, PairCounts, Slot};
pub use initial::Initial;
use initial::{Merging, Start};
use places::{List, Places};
use queue::{Candidate, Queue};
use rustc_hash::{FxHashMap, FxHashSet};
use scratch::Scratch;
use std::borrow::Borrow;
use tokens::Tokens;

/// Which of several pairs with the highest count is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// The lexicographically greatest pair of token byte strings.
    Bytes,
    /// The one that `tokenizers` 0.23 takes: the smallest pair of ids, single bytes in the order of their GPT-2
    /// characters. A merge whose bytes exist already takes no new id, as there.
    HuggingFace,
}

/// A pair of token ids in one integer.
type Pair = u64;

fn pair(left: u32, right: u32) -> Pair {
    Pair::from(left) << 32 | Pair::from(right)
}

#[allow(clippy::cast_possible_truncation)] // the halves are what was put in
fn parts(pair: Pair) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

/// A pair that may still be merged.
struct Kept {
    count: u64,
    /// Where it stood when it was made; some may have gone since.
    places: List,
}

/// Learns merges until the vocabulary has `vocab_size` ids, special tokens included, or no pair is left. Words that are
/// given away are freed as soon as they are taken over.
///
/// With `initial`, its merges come first and all its ids stay, holes included; `vocab_size` counts them. New tokens get the
/// ids after its highest, in order; then those special tokens of `words` that it does not have, in the order given.
///
/// # Errors
/// [`Error::Training`] if `vocab_size` is below 256 plus the special tokens or beyond 2^31, or if the distinct words hold
/// over 4 GiB, or if `initial` has another pattern, a special token that `words` do not cut out, or a token that its merges do
/// not make; [`Error::SpecialToken`]; [`Error::Interrupted`].
pub fn train(
    words: impl Borrow<WordCounts>,
    vocab_size: usize,
    tie_break: TieBreak,
    initial: Option<Initial<'_>>,
    monitor: &Monitor,
) -> Result<Vocab> {
    let start = Start::new(words.borrow(), initial, vocab_size)?;
    let (mut tokens, before) = start.tokens(tie_break)?;
    let first_new = tokens.len();
    let num_new = start.num_new_tokens();
    let merges = if first_new as usize + num_new < usize::from(u16::MAX) {
        learn(Corpus::<u16>::new(words.borrow())?, words, &mut tokens, &before, num_new, monitor)?
    } else {
        learn(Corpus::<u32>::new(words.borrow())?, words, &mut tokens, &before, num_new, monitor)?
    };
    start.finish(&tokens, first_new, &merges)
}

/// The number of tokens that merges make in a vocabulary of `vocab_size`.
///
/// # Errors
/// [`Error::Training`] with the least or the greatest size.
pub fn check_vocab_size(vocab_size: usize, num_specials: usize) -> Result<usize> {
    let least = 256 + num_specials;
    if vocab_size < least {
        return Err(Error::Training(format!(
            "vocab_size is {vocab_size}, the least is {least}: 256 bytes and {num_specials} special tokens"
        )));
    }
    if vocab_size > 1 << 31 {
        return Err(Error::Training(format!("vocab_size is {vocab_size}, the greatest is 2^31")));
    }
    Ok(vocab_size - least)
}

struct Trainer<'a, S> {
    corpus: Corpus<S>,
    tokens: &'a mut Tokens,
    kept: FxHashMap<Pair, Kept>,
    places: Places,
    queue: Queue,
    /// Pairs that were merged. One can come up again if its parts are made by other merges too; merging it once more would
    /// tell the encoder nothing new, so it is passed over.
    merged: FxHashSet<Pair>,
    /// Every pair with at least this count is kept, no other.
    threshold: u64,
    /// While merges learned before are applied: their pairs, and no other is kept.
    wanted: Option<FxHashSet<Pair>>,
}

/// Learns from a corpus, after the merges `before`; the words that it was made of are not needed beside it.
fn learn<S: Slot>(
    corpus: Corpus<S>,
    words: impl Borrow<WordCounts>,
    tokens: &mut Tokens,
    before: &[Merging],
    num_new_tokens: usize,
    monitor: &Monitor,
) -> Result<Vec<(u32, u32)>> {
    drop(words);
    monitor.begin(Phase::Merge, (before.len() + num_new_tokens) as u64);
    let mut trainer = Trainer {
        corpus,
        tokens,
        kept: FxHashMap::default(),
        places: Places::default(),
        queue: Queue::default(),
        merged: FxHashSet::default(),
        threshold: u64::MAX,
        wanted: None,
    };
    trainer.apply(before, monitor)?;
    trainer.run(num_new_tokens, monitor)
}

impl<S: Slot> Trainer<'_, S> {
    /// Applies merges learned before, in order of rank.
    fn apply(&mut self, merges: &[Merging], monitor: &Monitor) -> Result<()> {
        if merges.is_empty() {
            return Ok(());
        }
        let mut scratch = Scratch::default();
        self.wanted = Some(merges.iter().map(|merge| pair(merge.left, merge.right)).collect());
        self.count_pairs(Keep::AtLeast(1), monitor)?;
        for merge in merges {
            monitor.check()?;
            let key = pair(merge.left, merge.right);
            self.merged.insert(key);
            if let Some(kept) = self.kept.remove(&key) {
                self.merge(*merge, kept.places, &mut scratch, monitor)?;
            }
            monitor.advance(1);
        }
        // Nothing is kept: the learning begins with counting all pairs.
        self.wanted = None;
        self.threshold = u64::MAX;
        self.queue = Queue::default();
        Ok(())
    }

    fn run(mut self, num_new_tokens: usize, monitor: &Monitor) -> Result<Vec<(u32, u32)>> {
        let mut merges = Vec::new();
        let mut scratch = Scratch::default();
        let mut num_new = 0;
        while num_new < num_new_tokens {
            monitor.check()?;
            let Some((left, right, list)) = self.next_pair() else {
                if self.threshold > 1 && self.count_pairs(Keep::Enough(num_new_tokens - num_new), monitor)? {
                    continue;
                }
                break;
            };
            let joined = self.tokens.join(left, right);
            merges.push((left, right));
            self.merged.insert(pair(left, right));
            self.merge(Merging { left, right, joined }, list, &mut scratch, monitor)?;
            // Two pairs can make the same bytes. `tokenizers` then has one token, the default rule still counts two.
            if joined.is_new || self.tokens.tie_break() == TieBreak::Bytes {
                num_new += 1;
                monitor.advance(1);
            }
        }
        Ok(merges)
    }

    /// Merges a pair wherever it stands, and takes over what that changes.
    fn merge(&mut self, merge: Merging, list: List, scratch: &mut Scratch, monitor: &Monitor) -> Result<()> {
        let Merging { left, right, joined } = merge;
        scratch.fit(self.tokens.len());
        let places = self.places.get(list);
        self.corpus.merge(left, right, joined.id, self.tokens.lens(), places, scratch, monitor)?;
        self.places.drop(list);
        if joined.is_new {
            self.update_counts(left, right, joined.id, scratch);
        } else {
            // Pairs with an old token are not all made by this merge, so the fact above fails: count anew. Rare.
            scratch.clear();
            self.count_pairs(Keep::AtLeast(self.threshold), monitor)?;
        }
        Ok(())
    }

    /// Takes the pair to merge next, with its places; `None` if no kept pair is left.
    fn next_pair(&mut self) -> Option<(u32, u32, List)> {
        while let Some(top) = self.queue.pop(self.tokens) {
            let key = pair(top.left, top.right);
            let Some(kept) = self.kept.get(&key) else { continue };
            if kept.count == top.count {
                return self.kept.remove(&key).map(|kept| (top.left, top.right, kept.places));
            }
            if kept.count >= self.threshold {
                let again = Candidate { count: kept.count, ..top };
                self.queue.push(again, self.tokens);
            } else if let Some(kept) = self.kept.remove(&key) {
                self.places.drop(kept.places);
            }
        }
        None
    }

    /// Takes over what a merge changed: old pairs fall, new ones are kept if they are frequent enough.
    fn update_counts(&mut self, left: u32, right: u32, joined: u32, scratch: &mut Scratch) {
        for &neighbour in scratch.before.touched() {
            self.reduce(pair(neighbour, left), scratch.before.count(neighbour));
        }
        for &neighbour in scratch.after.touched() {
            self.reduce(pair(right, neighbour), scratch.after.count(neighbour));
        }
        scratch.settle_chains(left, joined);
        for (neighbour, count, places) in scratch.before.take(self.threshold, &mut self.places) {
            self.keep(neighbour, joined, Kept { count, places });
        }
        for (neighbour, count, places) in scratch.after.take(self.threshold, &mut self.places) {
            self.keep(joined, neighbour, Kept { count, places });
        }
        scratch.clear();
        self.places.squeeze(self.kept.values_mut().map(|kept| &mut kept.places));
    }

    fn reduce(&mut self, key: Pair, by: u64) {
        if let Some(kept) = self.kept.get_mut(&key) {
            kept.count -= by.min(kept.count);
        }
    }

    fn keep(&mut self, left: u32, right: u32, kept: Kept) {
        let len = self.tokens.bytes(left).len() + self.tokens.bytes(right).len();
        if len > MAX_TOKEN_BYTES || !self.is_wanted(pair(left, right)) {
            return self.places.drop(kept.places);
        }
        self.queue.push(self.tokens.candidate(left, right, kept.count), self.tokens);
        self.kept.insert(pair(left, right), kept);
    }

    fn is_wanted(&self, key: Pair) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&key))
    }

    /// Counts all pairs anew and sets the threshold from which on they are kept. `false` if no pair is left.
    fn count_pairs(&mut self, keep: Keep, monitor: &Monitor) -> Result<bool> {
        let mut counts = self.corpus.pair_counts(self.tokens.lens(), monitor)?;
        counts.retain(|pair, _| !self.merged.contains(pair) && self.is_wanted(*pair));
        let highest = counts.values().map(|&(count, _)| count).max().unwrap_or(0);
        self.threshold = keep.threshold(highest, &counts);
        self.queue = Queue::default();
        self.kept = FxHashMap::default();
        self.places.clear();
        for (key, kept) in
            self.corpus.keep(counts, self.threshold, self.tokens.lens(), &mut self.places, monitor)?
        {
            let (left, right) = parts(key);
            self.keep(left, right, kept);
        }
        Ok(highest > 0)
    }
}

/// Which of the pairs counted anew are kept.
#[derive(Clone, Copy)]
enum Keep {
    /// Those of at least this count.
    AtLeast(u64),
    /// [`SPARE`] for each of so many merges to come, but none too far below the highest count: see [`FALL`]. More would
    /// be listed and queued, and never merged. Should these run out before the merges do, the next pass finds others.
    Enough(usize),
}

impl Keep {
    fn threshold(self, highest: u64, counts: &PairCounts) -> u64 {
        let wanted = match self {
            Keep::AtLeast(threshold) => return threshold,
            Keep::Enough(num_merges) => num_merges.saturating_mul(SPARE).max(FEW),
        };
        let mut counts: Vec<u64> = counts.values().map(|&(count, _)| count).collect();
        let last = match counts.len().checked_sub(wanted) {
            Some(at) if at > 0 => *counts.select_nth_unstable(at).1,
            _ => 1,
        };
        last.max(highest / FALL)
    }
}

/// The factor by which the threshold lies below the highest count when pairs are counted anew: wide enough that few passes
/// are needed, close enough that the long tail of rare pairs stays out.
const FALL: u64 = 128;
/// Pairs kept per merge to come: merges take occurrences from other pairs, so with one each a second pass is often needed,
/// with two hardly ever.
const SPARE: usize = 2;
/// Fewer pairs than this are not worth another pass.
const FEW: usize = 1 << 13;
