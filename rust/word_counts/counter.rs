//! Pieces -> distinct words with their counts, shared by the workers.
//!
//! A piece of up to 15 bytes is one integer: its bytes, with its length on top. Each worker sums such keys in a small
//! direct-mapped table that stays in its own cache; what is pushed out of there, the rarer words, is collected per shard and
//! added in batches to one table that all workers share, 64 ways split by hash, each shard under its own lock. So a
//! distinct word is stored once whatever the number of threads, and an occurrence costs no allocation and nearly never a
//! cache miss. Longer pieces are summed in a map of the worker's own and united at the end.
//!
//! Rejected: a whole table per worker (the sum of the tables is the peak), and routing every occurrence to the owner of
//! its shard (more traffic than counting).

use super::WordCounts;
use crate::error::{Error, Result};
use crate::piece_key::{SHORT, hash, short_key};
use crate::pretokenizer::Pretokenizer;
use crate::special::SpecialTokens;
use rustc_hash::FxHashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SHARD_BITS: u32 = 6;
/// Entries of a worker's own table: half a megabyte, in its second-level cache.
const FRONT_BITS: u32 = 14;
/// Keys handed to a shard at a time.
const BATCH: usize = 256;
/// What a long word takes beside its bytes: its entry in a table at half load, and the allocator's share.
const LONG_ENTRY_BYTES: u64 = 64;

/// What the workers share while they count.
pub struct Counter<'a> {
    pretokenizer: &'a Pretokenizer,
    specials: &'a SpecialTokens,
    shards: Vec<Mutex<Shard>>,
    memory: Memory,
    /// Where a word lands is not for the text's author to choose.
    seed: u64,
}

/// One thread's part of the counting.
pub struct Worker<'a> {
    counter: &'a Counter<'a>,
    front: Vec<(u128, u64)>,
    batches: Vec<Vec<(u128, u64)>>,
    long: FxHashMap<Box<[u8]>, u64>,
    ends: Vec<u32>,
}

impl<'a> Counter<'a> {
    /// Counts what `pretokenizer` makes of texts between `specials`, in tables of at most `max_memory` bytes.
    #[must_use]
    pub fn new(pretokenizer: &'a Pretokenizer, specials: &'a SpecialTokens, max_memory: Option<u64>) -> Self {
        let shards = (0..1 << SHARD_BITS).map(|_| Mutex::new(Shard::default())).collect();
        let memory = Memory { limit: max_memory.unwrap_or(u64::MAX), taken: AtomicU64::new(0) };
        Counter { pretokenizer, specials, shards, memory, seed: RandomState::new().hash_one(0) }
    }

    /// A worker for one thread.
    #[must_use]
    pub fn worker(&'a self) -> Worker<'a> {
        Worker {
            counter: self,
            front: vec![(0, 0); 1 << FRONT_BITS],
            batches: (0..1 << SHARD_BITS).map(|_| Vec::with_capacity(BATCH)).collect(),
            long: FxHashMap::default(),
            ends: vec![0; 1024],
        }
    }

    /// Adds up what the workers hold.
    ///
    /// # Errors
    /// [`Error::Training`] for a piece of over 4 GiB, or if the words need more memory than allowed.
    pub fn finish(&self, workers: Vec<Worker<'a>>) -> Result<WordCounts> {
        let mut long: FxHashMap<Box<[u8]>, u64> = FxHashMap::default();
        for mut worker in workers {
            worker.drain().map_err(|Full| self.memory.error())?;
            if long.is_empty() {
                long = worker.long;
            } else {
                for (word, count) in worker.long {
                    *long.entry(word).or_default() += count;
                }
            }
        }
        let mut counts = WordCounts {
            pattern: self.pretokenizer.pattern().to_owned(),
            special_tokens: self.specials.tokens().to_vec(),
            ..WordCounts::default()
        };
        let num_words: usize = self.shards.iter().map(|shard| lock(shard).used).sum();
        counts.lens.reserve_exact(num_words + long.len());
        counts.counts.reserve_exact(num_words + long.len());
        for shard in &self.shards {
            // Each shard is freed as soon as its words are taken over.
            let shard = std::mem::take(&mut *lock(shard));
            for (key, count) in shard.slots.into_iter().filter(|&(key, _)| key != 0) {
                counts.push(&key.to_le_bytes()[..key_len(key)], count)?;
            }
        }
        for (word, count) in long {
            counts.push(&word, count)?;
        }
        Ok(counts)
    }
}

impl Worker<'_> {
    /// Counts the pieces of a text; special tokens in it are left out.
    ///
    /// # Errors
    /// [`Error::Pattern`] from a regex engine, [`Error::Training`] if the words need more memory than allowed.
    pub fn add(&mut self, text: &[u8]) -> Result<()> {
        let specials = self.counter.specials;
        specials.split(text, self, |worker, range| worker.add_ordinary(&text[range]), |_, _| Ok(()))
    }

    fn add_ordinary(&mut self, text: &[u8]) -> Result<()> {
        let (mut pieces, mut start) = (self.counter.pretokenizer.pieces(text), 0);
        let mut ends = std::mem::take(&mut self.ends);
        loop {
            let found = pieces.next_ends(&mut ends)?;
            if found == 0 {
                break;
            }
            for &end in &ends[..found] {
                let end = end as usize;
                self.add_piece(text, start, end).map_err(|Full| self.counter.memory.error())?;
                start = end;
            }
        }
        self.ends = ends;
        Ok(())
    }

    #[inline]
    fn add_piece(&mut self, text: &[u8], start: usize, end: usize) -> std::result::Result<(), Full> {
        let len = end - start;
        if len > SHORT {
            return self.add_long(&text[start..end]);
        }
        let key = short_key(text, start, len);
        let hash = hash(key, self.counter.seed);
        let slot = &mut self.front[(hash >> (64 - FRONT_BITS)) as usize];
        if slot.0 == key {
            slot.1 += 1;
            return Ok(());
        }
        let evicted = std::mem::replace(slot, (key, 1));
        if evicted.0 == 0 { Ok(()) } else { self.hand_on(evicted) }
    }

    #[cold]
    fn add_long(&mut self, piece: &[u8]) -> std::result::Result<(), Full> {
        if let Some(count) = self.long.get_mut(piece) {
            *count += 1;
        } else {
            self.counter.memory.take(piece.len() as u64 + LONG_ENTRY_BYTES)?;
            self.long.insert(piece.into(), 1);
        }
        Ok(())
    }

    fn hand_on(&mut self, entry: (u128, u64)) -> std::result::Result<(), Full> {
        // The bits below those that choose the front slot, so that a shard sees every slot.
        let shard = shard_of(hash(entry.0, self.counter.seed));
        let batch = &mut self.batches[shard];
        batch.push(entry);
        if batch.len() == BATCH {
            lock(&self.counter.shards[shard]).add(batch, self.counter.seed, &self.counter.memory)?;
            batch.clear();
        }
        Ok(())
    }

    fn drain(&mut self) -> std::result::Result<(), Full> {
        for entry in std::mem::take(&mut self.front).into_iter().filter(|entry| entry.0 != 0) {
            self.hand_on(entry)?;
        }
        for (batch, shard) in self.batches.iter_mut().zip(&self.counter.shards) {
            lock(shard).add(batch, self.counter.seed, &self.counter.memory)?;
            batch.clear();
        }
        Ok(())
    }
}

/// The limit is reached.
#[derive(Debug)]
struct Full;

/// What the tables of all workers take together; asked only when a table grows or a long word is new.
struct Memory {
    limit: u64,
    taken: AtomicU64,
}

impl Memory {
    fn take(&self, bytes: u64) -> std::result::Result<(), Full> {
        let before = self.taken.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) <= self.limit { Ok(()) } else { Err(Full) }
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Relaxed);
    }

    #[cold]
    fn error(&self) -> Error {
        let (taken, limit) = (self.taken.load(Relaxed), self.limit);
        Error::Training(format!(
            "counting needs over {taken} bytes for distinct words, `max_memory` is {limit}; allow more, train on less text, or \
             cut words shorter by another pattern"
        ))
    }
}

/// Open addressing with linear probing; key 0 is an empty slot, since a key's length is never 0.
#[derive(Default)]
struct Shard {
    slots: Vec<(u128, u64)>,
    used: usize,
}

impl Shard {
    fn add(&mut self, batch: &[(u128, u64)], seed: u64, memory: &Memory) -> std::result::Result<(), Full> {
        if batch.is_empty() {
            return Ok(());
        }
        // Room for all of the batch at a load of at most three quarters.
        if (self.used + batch.len()) * 4 > self.slots.len() * 3 {
            self.grow(batch.len(), seed, memory)?;
        }
        let mask = self.slots.len() - 1;
        for &(key, count) in batch {
            let mut at = home(hash(key, seed)) & mask;
            loop {
                let slot = &mut self.slots[at];
                if slot.0 == key {
                    slot.1 += count;
                    break;
                }
                if slot.0 == 0 {
                    *slot = (key, count);
                    self.used += 1;
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self, more: usize, seed: u64, memory: &Memory) -> std::result::Result<(), Full> {
        let len = ((self.used + more) * 4 / 3 + 1).next_power_of_two();
        let bytes = |len: usize| (len * size_of::<(u128, u64)>()) as u64;
        memory.take(bytes(len))?;
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); len]);
        let old_len = old.len();
        for entry in old.into_iter().filter(|entry| entry.0 != 0) {
            let mut at = home(hash(entry.0, seed)) & (len - 1);
            while self.slots[at].0 != 0 {
                at = (at + 1) & (len - 1);
            }
            self.slots[at] = entry;
        }
        memory.give_back(bytes(old_len));
        Ok(())
    }
}

fn key_len(key: u128) -> usize {
    (key >> 120) as usize
}

fn shard_of(hash: u64) -> usize {
    (hash & ((1 << SHARD_BITS) - 1)) as usize
}

#[allow(clippy::cast_possible_truncation)] // masked by the caller
fn home(hash: u64) -> usize {
    (hash >> SHARD_BITS) as usize
}

/// A lock whose holder panicked still guards whole data here: every change is complete before the next begins.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
