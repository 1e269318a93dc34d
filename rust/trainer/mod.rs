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
//! Time O(bytes in distinct words + merges · neighbours), whatever the length of a word; memory: two bytes per byte in
//! distinct words (four beyond 65,534 tokens), four per place of a kept pair.

mod corpus;
mod places;
mod queue;
mod scratch;
mod tokens;

use crate::error::{Error, Result};
use crate::monitor::{Monitor, Phase};
use crate::vocab::{MAX_TOKEN_BYTES, Vocab};
use crate::word_counts::WordCounts;
use corpus::{Corpus, Slot};
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
/// # Errors
/// [`Error::Training`] if `vocab_size` is below 256 plus the special tokens or beyond 2^31, or if the distinct words hold
/// over 4 GiB; [`Error::SpecialToken`]; [`Error::Interrupted`].
pub fn train(
    words: impl Borrow<WordCounts>,
    vocab_size: usize,
    tie_break: TieBreak,
    monitor: &Monitor,
) -> Result<Vocab> {
    let special_tokens = words.borrow().special_tokens().to_vec();
    let num_merges = check_vocab_size(vocab_size, special_tokens.len())?;
    let merges = if num_merges + 256 < usize::from(u16::MAX) {
        learn(Corpus::<u16>::new(words.borrow())?, words, num_merges, tie_break, monitor)?
    } else {
        learn(Corpus::<u32>::new(words.borrow())?, words, num_merges, tie_break, monitor)?
    };
    match tie_break {
        TieBreak::Bytes => Vocab::from_merges(&merges, &special_tokens),
        TieBreak::HuggingFace => with_distinct_tokens(&merges, &special_tokens),
    }
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

/// A vocabulary in which a merge to known bytes takes no id.
fn with_distinct_tokens(merges: &[(u32, u32)], special_tokens: &[String]) -> Result<Vocab> {
    let mut tokens = Tokens::new(TieBreak::HuggingFace);
    for &(left, right) in merges {
        tokens.join(left, right);
    }
    let bytes = |id: u32| tokens.bytes(id).to_vec();
    let all = (0..tokens.len()).map(|id| (id, bytes(id))).collect();
    let merges: Vec<_> = merges.iter().map(|&(left, right)| (bytes(left), bytes(right))).collect();
    Vocab::from_parts(all, &merges, special_tokens.iter().map(|token| (token.clone(), None)).collect())
}

struct Trainer<S> {
    corpus: Corpus<S>,
    tokens: Tokens,
    kept: FxHashMap<Pair, Kept>,
    places: Places,
    queue: Queue,
    /// Pairs that were merged. One can come up again if its parts are made by other merges too; merging it once more would
    /// tell the encoder nothing new, so it is passed over.
    merged: FxHashSet<Pair>,
    /// Every pair with at least this count is kept, no other.
    threshold: u64,
    num_new_tokens: usize,
}

/// Learns from a corpus; the words that it was made of are not needed beside it.
fn learn<S: Slot>(
    corpus: Corpus<S>,
    words: impl Borrow<WordCounts>,
    num_new_tokens: usize,
    tie_break: TieBreak,
    monitor: &Monitor,
) -> Result<Vec<(u32, u32)>> {
    drop(words);
    Trainer::new(corpus, num_new_tokens, tie_break).run(monitor)
}

impl<S: Slot> Trainer<S> {
    fn new(corpus: Corpus<S>, num_new_tokens: usize, tie_break: TieBreak) -> Self {
        Trainer {
            corpus,
            tokens: Tokens::new(tie_break),
            kept: FxHashMap::default(),
            places: Places::default(),
            queue: Queue::default(),
            merged: FxHashSet::default(),
            threshold: u64::MAX,
            num_new_tokens,
        }
    }

    fn run(mut self, monitor: &Monitor) -> Result<Vec<(u32, u32)>> {
        monitor.begin(Phase::Merge, self.num_new_tokens as u64);
        let mut merges = Vec::new();
        let mut scratch = Scratch::default();
        let mut num_new = 0;
        while num_new < self.num_new_tokens {
            monitor.check()?;
            let Some((left, right, list)) = self.next_pair() else {
                if self.threshold > 1 && self.count_pairs(None, monitor)? {
                    continue;
                }
                break;
            };
            let joined = self.tokens.join(left, right);
            merges.push((left, right));
            self.merged.insert(pair(left, right));
            scratch.fit(self.tokens.len());
            let places = self.places.get(list);
            self.corpus.merge(left, right, joined.id, self.tokens.lens(), places, &mut scratch, monitor)?;
            self.places.drop(list);
            if joined.is_new {
                self.update_counts(left, right, joined.id, &mut scratch);
            } else {
                // Pairs with an old token are not all made by this merge, so the fact above fails: count anew. Rare.
                scratch.clear();
                self.count_pairs(Some(self.threshold), monitor)?;
            }
            // Two pairs can make the same bytes. `tokenizers` then has one token, the default rule still counts two.
            if joined.is_new || self.tokens.tie_break() == TieBreak::Bytes {
                num_new += 1;
                monitor.advance(1);
            }
        }
        Ok(merges)
    }

    /// Takes the pair to merge next, with its places; `None` if no kept pair is left.
    fn next_pair(&mut self) -> Option<(u32, u32, List)> {
        while let Some(top) = self.queue.pop(&self.tokens) {
            let key = pair(top.left, top.right);
            let Some(kept) = self.kept.get(&key) else { continue };
            if kept.count == top.count {
                return self.kept.remove(&key).map(|kept| (top.left, top.right, kept.places));
            }
            if kept.count >= self.threshold {
                let again = Candidate { count: kept.count, ..top };
                self.queue.push(again, &self.tokens);
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
        if len > MAX_TOKEN_BYTES {
            return self.places.drop(kept.places);
        }
        self.queue.push(self.tokens.candidate(left, right, kept.count), &self.tokens);
        self.kept.insert(pair(left, right), kept);
    }

    /// Counts all pairs anew and keeps those of at least `threshold`, by default of a threshold that is as far below the
    /// highest count as [`FALL`] says. `false` if no pair is left.
    fn count_pairs(&mut self, threshold: Option<u64>, monitor: &Monitor) -> Result<bool> {
        let mut counts = self.corpus.pair_counts(self.tokens.lens(), monitor)?;
        counts.retain(|pair, _| !self.merged.contains(pair));
        let highest = counts.values().map(|&(count, _)| count).max().unwrap_or(0);
        self.threshold = threshold.unwrap_or((highest / FALL).max(1));
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

/// The factor by which the threshold lies below the highest count when pairs are counted anew: wide enough that few passes
/// are needed, close enough that the long tail of rare pairs stays out.
const FALL: u64 = 128;
