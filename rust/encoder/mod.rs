//! Text <-> token ids.
//!
//! Special tokens are found first, what lies between is split into pieces, and each piece becomes ids on its own: by a look
//! into a cache of pieces seen before, else by merging. The pair of lowest rank is merged first, the leftmost where it stands
//! several times, until no pair of neighbours is a merge.
//!
//! Time O(text): a piece that is not cached costs about as much per byte whatever its length. Memory: a cache of bounded size per thread.

mod batch;
mod cache;
mod crossings;
mod joints;
mod longest;
mod merge;
mod spans;
mod stream;

use crate::cutter::Cutter;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::pretokenizer::Pretokenizer;
use crate::special::{self, SpecialTokens};
use crate::vocab::Vocab;
use crate::vocab::pairs::PairTable;
pub use batch::{Batch, Id};
use cache::PieceCache;
use joints::{Joints, Memo};
use merge::Merger;
pub use spans::Unit;
use std::sync::{Arc, Mutex, OnceLock};
pub use stream::Stream;

/// Text encoded at a time, between two looks at the monitor.
const WINDOW_BYTES: usize = 1 << 20;

/// A vocabulary and a pattern, ready to encode on any number of threads.
pub struct Encoder {
    vocab: Vocab,
    pretokenizer: Pretokenizer,
    specials: SpecialTokens,
    /// Ids of the special tokens, in the order of `specials`.
    special_ids: Vec<u32>,
    /// Made for the first piece: it takes a tenth of a second, and many who load a tokenizer encode nothing with it.
    tables: OnceLock<Tables>,
    byte_ids: [u32; 256],
    idle: Mutex<Idle>,
    /// Each worker has a clone, which tells how many there are.
    alive: Arc<()>,
}

/// What the ids of a piece are found with.
struct Tables {
    pairs: Arc<PairTable>,
    /// A faster way than merging, where the vocabulary allows it.
    joints: Option<Joints>,
}

impl Tables {
    fn new(vocab: &Vocab) -> Self {
        let derivations = vocab.derivations();
        let pairs = derivations.map(|derivations| derivations.pairs.clone());
        Tables {
            pairs: pairs.unwrap_or_else(|| Arc::new(PairTable::new(vocab))),
            joints: derivations.and_then(|derivations| Joints::new(vocab, derivations)),
        }
    }
}

/// Workers of calls that ended, with what their caches have learned.
#[derive(Default)]
struct Idle {
    workers: Vec<Worker>,
    /// The most that were at work at once, as far as was seen; there are no more in all.
    most_at_work: usize,
}

/// Which special tokens a text may hold.
#[derive(Clone, Copy, Debug)]
pub enum Specials<'a> {
    /// They are ordinary text.
    Ordinary,
    /// They become their ids.
    Allowed,
    /// Those of `allowed` become their ids; one of `refused` is an error; the others are ordinary text.
    Listed {
        /// Tokens that become their ids.
        allowed: &'a SpecialTokens,
        /// Tokens that may not stand in the text.
        refused: &'a SpecialTokens,
    },
}

/// One thread's buffers and cache.
pub struct Worker {
    /// A clone of its own: a regex keeps scratch space that threads would wait for.
    pretokenizer: Pretokenizer,
    cache: PieceCache,
    merger: Merger,
    memo: Memo,
    /// Where the first of some pieces begins, and where each ends.
    bounds: Vec<u32>,
    /// Of a batch: ids of some pieces, and of all texts that this worker takes, in one of two types.
    some_ids: Vec<u32>,
    ids: Vec<u32>,
    narrow_ids: Vec<u16>,
    _alive: Arc<()>,
}

impl Encoder {
    /// Prepares to encode.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] if the special tokens cannot be searched for.
    pub fn new(vocab: Vocab, pretokenizer: Pretokenizer) -> Result<Self> {
        let contents: Vec<String> = vocab.specials().iter().map(|special| special.content.clone()).collect();
        let special_ids = vocab.specials().iter().map(|special| special.id).collect();
        let byte_ids = std::array::from_fn(|byte| u8::try_from(byte).map_or(0, |byte| vocab.byte_id(byte)));
        let specials = SpecialTokens::new(&contents)?;
        Ok(Encoder {
            vocab,
            pretokenizer,
            specials,
            special_ids,
            tables: OnceLock::new(),
            byte_ids,
            idle: Mutex::default(),
            alive: Arc::default(),
        })
    }

    /// The vocabulary.
    #[must_use]
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// What splits text into pieces.
    #[must_use]
    pub fn pretokenizer(&self) -> &Pretokenizer {
        &self.pretokenizer
    }

    /// All special tokens of the vocabulary.
    #[must_use]
    pub fn specials(&self) -> &SpecialTokens {
        &self.specials
    }

    /// Appends the ids of `text` to `ids`.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] for a refused special token, [`Error::Pattern`] from a regex engine, [`Error::Interrupted`].
    pub fn encode(
        &self,
        text: &[u8],
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        monitor: &Monitor,
    ) -> Result<()> {
        let mut worker = self.worker();
        let result = self.encode_parts(&mut worker, text, specials, ids, &mut |_| (), monitor);
        self.put_back(worker);
        result
    }

    /// [`Encoder::encode_with`] that looks at `monitor` every few milliseconds.
    fn encode_parts(
        &self,
        worker: &mut Worker,
        mut text: &[u8],
        mut specials: Specials<'_>,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
        monitor: &Monitor,
    ) -> Result<()> {
        if let Specials::Listed { allowed, refused } = specials {
            refuse(refused, text)?;
            specials = Specials::Listed { allowed, refused: &special::NONE };
        }
        let cutter = self.cutter(specials);
        let mut window = WINDOW_BYTES;
        while text.len() > window {
            monitor.check()?;
            let Some(cut) = cutter.last_cut(&text[..window], window / 2) else {
                window *= 2;
                continue;
            };
            let (part, rest) = text.split_at(cut);
            self.encode_with(worker, part, specials, ids, take)?;
            text = rest;
            window = WINDOW_BYTES;
        }
        self.encode_with(worker, text, specials, ids, take)
    }

    /// What finds cuts in a text that is encoded with these special tokens.
    fn cutter<'a>(&'a self, specials: Specials<'a>) -> Cutter<'a> {
        let specials = match specials {
            Specials::Ordinary => &special::NONE,
            Specials::Allowed => &self.specials,
            Specials::Listed { allowed, .. } => allowed,
        };
        Cutter { pretokenizer: &self.pretokenizer, specials }
    }

    /// Takes a worker for a thread; give it back with [`Encoder::put_back`].
    #[must_use]
    pub fn worker(&self) -> Worker {
        // No waiting: a thread that was lost in a fork may hold the lock.
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.workers.pop());
        idle.unwrap_or_else(|| Worker {
            pretokenizer: self.pretokenizer.clone(),
            cache: PieceCache::new(),
            merger: Merger::default(),
            memo: Memo::default(),
            bounds: vec![0; 1025],
            some_ids: Vec::new(),
            ids: Vec::new(),
            narrow_ids: Vec::new(),
            _alive: self.alive.clone(),
        })
    }

    /// Keeps a worker for later calls, unless there is one too many: a thread that found the lock held has made it.
    pub fn put_back(&self, worker: Worker) {
        if let Ok(mut idle) = self.idle.try_lock() {
            let num_workers = Arc::strong_count(&self.alive) - 1;
            idle.most_at_work = idle.most_at_work.max(num_workers - idle.workers.len());
            if num_workers <= idle.most_at_work {
                idle.workers.push(worker);
            }
        }
    }

    /// [`Encoder::encode`] with a worker that the caller holds. Every thousand pieces, and in the end, `take` may take out the
    /// ids that there are, while they lie in the nearest cache.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_with(
        &self,
        worker: &mut Worker,
        text: &[u8],
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let allowed = match specials {
            Specials::Ordinary => return self.encode_ordinary(worker, text, ids, take),
            Specials::Allowed => &self.specials,
            Specials::Listed { allowed, refused } => {
                refuse(refused, text)?;
                allowed
            }
        };
        let special_id = |index: usize| {
            // The list may be a part of the vocabulary's, in another order.
            let content = &allowed.tokens()[index];
            let at = self.specials.tokens().iter().position(|token| token == content);
            at.map(|at| self.special_ids[at]).ok_or_else(|| {
                Error::SpecialToken(format!("`{content}` is not a special token of this tokenizer"))
            })
        };
        allowed.split(
            text,
            &mut (worker, ids, take),
            |(worker, ids, take), text| self.encode_ordinary(worker, text, ids, take),
            |(_, ids, take), found| {
                ids.push(special_id(found.index)?);
                take(ids);
                Ok(())
            },
        )
    }

    fn encode_ordinary(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let Worker { pretokenizer, cache, merger, memo, bounds, .. } = worker;
        let mut pieces = pretokenizer.pieces(text);
        bounds[0] = 0;
        loop {
            let found = pieces.next_ends(&mut bounds[1..])?;
            if found == 0 {
                return Ok(());
            }
            cache.encode(text, &bounds[..=found], ids, |piece, ids| {
                let Tables { pairs, joints } = self.tables.get_or_init(|| Tables::new(&self.vocab));
                let joints = joints.as_ref().filter(|_| piece.len() <= joints::LONGEST);
                if !joints.is_some_and(|joints| joints.encode(piece, memo, ids)) {
                    merger.encode(piece, &self.byte_ids, pairs, ids);
                }
            });
            take(ids);
            bounds[0] = bounds[found];
        }
    }

    /// The bytes that `ids` stand for.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] with the id and its position.
    pub fn decode(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (position, id) in ids.into_iter().enumerate() {
            bytes.extend_from_slice(self.known_token(id, position)?);
        }
        Ok(bytes)
    }

    /// The bytes of the id at a position of a list.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] with the id and its position.
    pub fn known_token(&self, id: i64, position: usize) -> Result<&[u8]> {
        let token = u32::try_from(id).ok().and_then(|id| self.vocab.token_bytes(id));
        token.ok_or_else(|| Error::UnknownToken { id, position, vocab_size: self.vocab.vocab_size() })
    }
}

fn refuse(refused: &SpecialTokens, text: &[u8]) -> Result<()> {
    let Some(found) = refused.find(text, 0) else { return Ok(()) };
    let token = &refused.tokens()[found.index];
    Err(Error::SpecialToken(format!(
        "the text holds the special token `{token}` at byte {}.\n\
         To encode it as its id, pass allowed_special={{{token:?}}} (or \"all\").\n\
         To encode it as ordinary text, pass disallowed_special=() or call encode_ordinary.",
        found.start
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_too_many_is_kept() {
        let vocab = Vocab::from_merges(&[], &[]).unwrap();
        let encoder = Encoder::new(vocab, Pretokenizer::new("gpt2").unwrap()).unwrap();
        for _ in 0..10 {
            let first = encoder.worker();
            let second = {
                let _held = encoder.idle.lock().unwrap();
                encoder.worker()
            };
            encoder.put_back(first);
            encoder.put_back(second);
        }
        assert_eq!(encoder.idle.lock().unwrap().workers.len(), 2);
    }
}
