//! Text <-> token ids.
//!
//! Special tokens are found first, what lies between is split into pieces, and each piece becomes ids on its own: by a look
//! into a cache of pieces seen before, else by merging. The pair of lowest rank is merged first, the leftmost where it stands
//! several times, until no pair of neighbours is a merge.
//!
//! Time O(text): a piece that is not cached costs about as much per byte whatever its length. Memory: a cache of bounded size per thread.

mod added;
mod batch;
mod cache;
mod crossings;
mod joints;
mod longest;
mod merge;
mod spans;
mod stream;
mod symbols;
mod whole;

use crate::cutter::Cutter;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::normalizer::{Ends, WHOLE};
use crate::pipeline::{AddedToken, Definition, Pipeline, Stripped};
use crate::pretokenizer::Pretokenizer;
use crate::special::{self, SpecialTokens};
use crate::vocab::pairs::PairTable;
use crate::vocab::{NO_ID, Vocab};
pub use added::Added;
use added::Around;
pub use batch::{Batch, Id};
use cache::PieceCache;
use joints::{Joints, Memo};
use merge::Merger;
use rustc_hash::FxHashSet;
pub use spans::Unit;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
pub use stream::Stream;
use symbols::Symbols;
use whole::WholePieces;

/// Text encoded at a time, between two looks at the monitor.
const WINDOW_BYTES: usize = 1 << 20;

/// A tokenizer, ready to encode on any number of threads.
pub struct Encoder {
    definition: Definition,
    around: Around,
    /// All added tokens.
    all: Added,
    /// Those that are tokens in every text, since they are not special.
    always: Added,
    /// The special ones, as text.
    controls: SpecialTokens,
    /// Made for the first piece: it takes a tenth of a second, and many who load a tokenizer encode nothing with it.
    tables: OnceLock<Tables>,
    idle: Mutex<Idle>,
    /// Each worker has a clone, which tells how many there are.
    alive: Arc<()>,
}

/// What the ids of a piece are found with.
struct Tables {
    symbols: Symbols,
    pairs: Arc<PairTable>,
    /// A faster way than merging, where the vocabulary allows it.
    joints: Option<Joints>,
    /// Pieces that are tokens whatever the merges say.
    whole: WholePieces,
    /// Whether a text may have bytes or characters without an id.
    may_lack_ids: bool,
}

impl Tables {
    fn new(vocab: &Vocab, pipeline: &Pipeline) -> Self {
        let derivations = vocab.derivations();
        let pairs = derivations.map(|derivations| derivations.pairs.clone());
        let symbols = Symbols::new(vocab, pipeline);
        Tables {
            pairs: pairs.unwrap_or_else(|| Arc::new(PairTable::new(vocab))),
            joints: derivations.and_then(|derivations| Joints::new(vocab, derivations)),
            whole: if pipeline.whole_pieces { WholePieces::new(vocab) } else { WholePieces::None },
            may_lack_ids: symbols.may_lack_ids(),
            symbols,
        }
    }

    /// Appends the ids of a piece.
    fn encode(&self, vocab: &Vocab, piece: &[u8], merger: &mut Merger, memo: &mut Memo, ids: &mut Vec<u32>) {
        if let Some(id) = self.whole.id_of(vocab, piece) {
            return ids.push(id);
        }
        let fits = |_: &&Joints| self.symbols.has_all(piece);
        if !self.joints.as_ref().filter(fits).is_some_and(|joints| joints.encode(piece, memo, ids)) {
            merger.encode(piece, &self.symbols, &self.pairs, ids);
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

/// Which special tokens a text may hold. Added tokens that are not special are tokens in every text.
#[derive(Clone, Copy, Debug)]
pub enum Specials<'a> {
    /// They are ordinary text.
    Ordinary,
    /// They become their ids.
    Allowed,
    /// Some become their ids, some are an error; the others are ordinary text.
    Listed(&'a Listed<'a>),
}

/// What a caller allows and refuses.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// Tokens that become their ids.
    allowed: Cow<'a, Added>,
    /// Tokens that may not stand in the text.
    refused: SpecialTokens,
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
    /// A stretch of text behind its prefix.
    prefixed: Vec<u8>,
    ids: Vec<u32>,
    narrow_ids: Vec<u16>,
    _alive: Arc<()>,
}

impl Encoder {
    /// Prepares to encode with a vocabulary and a pattern.
    ///
    /// # Errors
    /// As [`Encoder::of`].
    pub fn new(vocab: Vocab, pretokenizer: Pretokenizer) -> Result<Self> {
        let definition = Definition::new(vocab, pretokenizer.pattern());
        Self::with(definition, pretokenizer)
    }

    /// Prepares to encode.
    ///
    /// # Errors
    /// [`Error::Pattern`] if the pattern is none, [`Error::SpecialToken`] if the added tokens cannot be searched for.
    pub fn of(definition: Definition) -> Result<Self> {
        let pretokenizer = Pretokenizer::new(&definition.pattern)?;
        Self::with(definition, pretokenizer)
    }

    fn with(definition: Definition, pretokenizer: Pretokenizer) -> Result<Self> {
        let pipeline = &definition.pipeline;
        let around = Around::new(pretokenizer, pipeline);
        let special = |token: &&AddedToken| token.special;
        let mut seen = FxHashSet::default();
        let contents = pipeline.added.iter().filter(special).map(|token| &token.content[..]);
        let contents = contents.filter(|content| !content.is_empty() && seen.insert(*content));
        let contents: Vec<String> = contents.map(str::to_owned).collect();
        Ok(Encoder {
            all: around.added(pipeline.added.iter())?,
            always: around.added(pipeline.added.iter().filter(|token| !token.special))?,
            controls: SpecialTokens::new(&contents)?,
            around,
            definition,
            tables: OnceLock::new(),
            idle: Mutex::default(),
            alive: Arc::default(),
        })
    }

    /// All that decides ids.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The vocabulary.
    #[must_use]
    pub fn vocab(&self) -> &Vocab {
        &self.definition.vocab
    }

    /// What splits text into pieces.
    #[must_use]
    pub fn pretokenizer(&self) -> &Pretokenizer {
        &self.around.pretokenizer
    }

    /// The special tokens.
    #[must_use]
    pub fn specials(&self) -> &SpecialTokens {
        &self.controls
    }

    /// The added tokens of a text as it is, with where they stand.
    pub fn occurrences<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (u32, Range<usize>)> + 'a {
        let Added { cutter, ids } = &self.all;
        let mut at = 0;
        std::iter::from_fn(move || {
            let found = cutter.specials.find(text, at)?;
            at = found.end;
            Some((ids[0][found.index], found.start..found.end))
        })
    }

    /// What a caller allows (`None`: all) and refuses (`None`: all others).
    ///
    /// # Errors
    /// [`Error::SpecialToken`] for a token that is none of this tokenizer's.
    pub fn listed(&self, allowed: Option<&[String]>, refused: Option<&[String]>) -> Result<Listed<'_>> {
        let Some(allowed) = allowed else {
            return Ok(Listed { allowed: Cow::Borrowed(&self.all), refused: special::NONE.clone() });
        };
        let known = |token: &&String| self.controls.tokens().contains(token);
        if let Some(unknown) = allowed.iter().find(|token| !known(token)) {
            return Err(Error::SpecialToken(format!("`{unknown}` is not a special token of this tokenizer")));
        }
        let refused = match refused {
            None if allowed.is_empty() => self.controls.clone(),
            refused => {
                let mut refused = refused.unwrap_or(self.controls.tokens()).to_vec();
                refused.retain(|token| !allowed.contains(token));
                SpecialTokens::new(&refused)?
            }
        };
        if allowed.is_empty() {
            return Ok(Listed { allowed: Cow::Borrowed(&self.always), refused });
        }
        let is_allowed = |token: &&AddedToken| !token.special || allowed.contains(&token.content);
        let added = self.around.added(self.definition.pipeline.added.iter().filter(is_allowed))?;
        Ok(Listed { allowed: Cow::Owned(added), refused })
    }

    /// Appends the ids of `text` to `ids`.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] for a refused special token, [`Error::Vocab`] for a byte or character without an id,
    /// [`Error::Pattern`] from a regex engine, [`Error::Interrupted`].
    pub fn encode(
        &self,
        text: &[u8],
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        monitor: &Monitor,
    ) -> Result<()> {
        self.encode_part(text, WHOLE, specials, ids, monitor)
    }

    /// [`Encoder::encode`] of a part of a text.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_part(
        &self,
        text: &[u8],
        ends: Ends,
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        monitor: &Monitor,
    ) -> Result<()> {
        let mut worker = self.worker();
        let result = self.encode_windows(&mut worker, text, ends, specials, ids, &mut |_| (), monitor);
        self.put_back(worker);
        result
    }

    /// [`Encoder::encode_with`] that looks at `monitor` every few milliseconds.
    #[expect(clippy::too_many_arguments, reason = "those of `encode_with` and the monitor")]
    fn encode_windows(
        &self,
        worker: &mut Worker,
        mut text: &[u8],
        mut ends: Ends,
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
        monitor: &Monitor,
    ) -> Result<()> {
        let added = self.added(specials, text)?;
        let mut window = WINDOW_BYTES;
        while text.len() > window {
            monitor.check()?;
            let Some(cut) = added.cutter.last_cut(&text[..window], window / 2) else {
                window *= 2;
                continue;
            };
            let (part, rest) = text.split_at(cut);
            self.encode_text(worker, part, Ends { ends: false, ..ends }, added, ids, take)?;
            ends.begins = false;
            text = rest;
            window = WINDOW_BYTES;
        }
        self.encode_text(worker, text, ends, added, ids, take)
    }

    /// The added tokens that become their ids.
    ///
    /// # Errors
    /// [`Error::SpecialToken`] if the text has one that is refused.
    fn added<'a>(&'a self, specials: Specials<'a>, text: &[u8]) -> Result<&'a Added> {
        Ok(match specials {
            Specials::Ordinary => &self.always,
            Specials::Allowed => &self.all,
            Specials::Listed(listed) => {
                refuse(&listed.refused, text)?;
                &listed.allowed
            }
        })
    }

    /// What finds cuts in a text that is encoded with these special tokens.
    #[must_use]
    pub fn cutter<'a>(&'a self, specials: Specials<'a>) -> &'a Cutter {
        match specials {
            Specials::Ordinary => &self.always.cutter,
            Specials::Allowed => &self.all.cutter,
            Specials::Listed(listed) => &listed.allowed.cutter,
        }
    }

    /// Takes a worker for a thread; give it back with [`Encoder::put_back`].
    #[must_use]
    pub fn worker(&self) -> Worker {
        // No waiting: a thread that was lost in a fork may hold the lock.
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.workers.pop());
        idle.unwrap_or_else(|| Worker {
            pretokenizer: self.pretokenizer().clone(),
            cache: PieceCache::new(),
            merger: Merger::default(),
            memo: Memo::default(),
            bounds: vec![0; 1025],
            some_ids: Vec::new(),
            prefixed: Vec::new(),
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

    /// [`Encoder::encode_part`] with a worker that the caller holds. Every thousand pieces, and in the end, `take` may take out
    /// the ids that there are, while they lie in the nearest cache.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_with(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ends: Ends,
        specials: Specials<'_>,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        self.encode_text(worker, text, ends, self.added(specials, text)?, ids, take)
    }

    fn encode_text(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ends: Ends,
        added: &Added,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let pipeline = &self.definition.pipeline;
        if added.cutter.specials.is_empty()
            && added.cutter.late.is_empty()
            && pipeline.normalizer.is_identity()
        {
            return self.encode_stretch(worker, text, ends, ends.begins, ids, take);
        }
        added.cutter.specials.split(
            text,
            &mut (worker, ids, take),
            |(worker, ids, take), range| {
                let within = ends_within(&range, text, ends);
                let is_first = ends.begins && range.start == 0;
                self.encode_normalized(worker, &text[range], within, is_first, added, ids, take)
            },
            |(_, ids, take), found| {
                ids.push(added.ids[0][found.index]);
                take(ids);
                Ok(())
            },
        )
    }

    /// Encodes text between added tokens.
    #[expect(clippy::too_many_arguments, reason = "a step of many, called once")]
    fn encode_normalized(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ends: Ends,
        is_first: bool,
        added: &Added,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let Pipeline { normalizer, prefix, .. } = &self.definition.pipeline;
        if normalizer.is_identity() && added.cutter.late.is_empty() {
            return self.encode_stretch(worker, text, ends, is_first, ids, take);
        }
        let mut text = normalizer.apply(text, ends)?;
        let is_prefixed =
            prefix.is_before(ends.begins, is_first) && !text.is_empty() && prefix.is_normalized();
        if is_prefixed && !added.cutter.late.is_empty() {
            text.to_mut().insert(0, b' ');
            // It is there, and no stretch below begins another.
            let ends = Ends { begins: false, ..ends };
            return self.encode_late(worker, &text, ends, false, added, ids, take);
        }
        self.encode_late(worker, &text, ends, is_first, added, ids, take)
    }

    /// Encodes normalized text between added tokens of the text as it was.
    #[expect(clippy::too_many_arguments, reason = "a step of many, called once")]
    fn encode_late(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ends: Ends,
        is_first: bool,
        added: &Added,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        added.cutter.late.split(
            text,
            &mut (worker, ids, take),
            |(worker, ids, take), range| {
                let within = self.ends_within_late(&range, text, ends);
                self.encode_stretch(
                    worker,
                    &text[range.clone()],
                    within,
                    is_first && range.start == 0,
                    ids,
                    take,
                )
            },
            |(_, ids, take), found| {
                ids.push(added.ids[1][found.index]);
                take(ids);
                Ok(())
            },
        )
    }

    /// Encodes text without added tokens; `is_first` if the whole text begins with it.
    fn encode_stretch(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ends: Ends,
        is_first: bool,
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let prefix = self.definition.pipeline.prefix;
        let unless_space = prefix.unless_space;
        if !prefix.is_before(ends.begins, is_first)
            || text.is_empty()
            || unless_space && text.starts_with(b" ")
        {
            return self.encode_pieces(worker, text, ids, take);
        }
        let mut prefixed = std::mem::take(&mut worker.prefixed);
        prefixed.clear();
        prefixed.push(b' ');
        prefixed.extend_from_slice(text);
        let result = self.encode_pieces(worker, &prefixed, ids, take);
        prefixed.shrink_to(WINDOW_BYTES);
        worker.prefixed = prefixed;
        result
    }

    /// Whether a range of normalized text begins and ends as a stretch of its own.
    fn ends_within_late(&self, range: &Range<usize>, text: &[u8], ends: Ends) -> Ends {
        let within = ends_within(range, text, ends);
        if range.start > 0 && self.definition.pipeline.prefix.is_normalized() {
            return Ends { begins: false, ..within };
        }
        within
    }

    fn encode_pieces(
        &self,
        worker: &mut Worker,
        text: &[u8],
        ids: &mut Vec<u32>,
        take: &mut impl FnMut(&mut Vec<u32>),
    ) -> Result<()> {
        let Worker { pretokenizer, cache, merger, memo, bounds, .. } = worker;
        let vocab = &self.definition.vocab;
        let mut pieces = pretokenizer.pieces(text);
        bounds[0] = 0;
        loop {
            let found = pieces.next_ends(&mut bounds[1..])?;
            if found == 0 {
                return Ok(());
            }
            let before = ids.len();
            cache.encode(text, &bounds[..=found], ids, |piece, ids| {
                self.tables().encode(vocab, piece, merger, memo, ids);
            });
            if self.may_lack_ids() && ids[before..].contains(&NO_ID) {
                return Err(self.tables().symbols.error(text));
            }
            take(ids);
            bounds[0] = bounds[found];
        }
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| Tables::new(&self.definition.vocab, &self.definition.pipeline))
    }

    /// Whether a text may have bytes or characters without an id.
    #[inline]
    fn may_lack_ids(&self) -> bool {
        self.tables.get().is_some_and(|tables| tables.may_lack_ids)
    }

    /// The bytes of the text that `ids` stand for, without the space that encoding has put before it.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] with the id and its position.
    pub fn decode(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (position, id) in ids.into_iter().enumerate() {
            let token = self.known_token(id, position)?;
            if position == 0 {
                bytes.extend_from_slice(&self.strips_of(id).of_first(Cow::Borrowed(token)));
            } else {
                bytes.extend_from_slice(token);
            }
        }
        Ok(bytes)
    }

    /// What is left out of the token that a text begins with: nothing of what the unknown token decodes to.
    fn strips_of(&self, first: i64) -> Stripped {
        let unknown = self.vocab().characters().and_then(|characters| characters.unknown);
        match unknown {
            Some(unknown) if first == i64::from(unknown) => Stripped::default(),
            _ => self.definition.pipeline.strips,
        }
    }

    /// [`Encoder::decode`] of ids that do not begin a text: the tokens' bytes one after the other.
    ///
    /// # Errors
    /// [`Error::UnknownToken`] with the id and its position.
    pub fn decode_part(&self, ids: impl IntoIterator<Item = i64>) -> Result<Vec<u8>> {
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
        let token = u32::try_from(id).ok().and_then(|id| self.vocab().token_bytes(id));
        token.ok_or_else(|| Error::UnknownToken { id, position, vocab_size: self.vocab().vocab_size() })
    }
}

/// Whether a range of a text begins and ends as a stretch of its own: at the ends of the text, or at added tokens.
fn ends_within(range: &Range<usize>, text: &[u8], ends: Ends) -> Ends {
    Ends { begins: ends.begins || range.start > 0, ends: ends.ends || range.end < text.len() }
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
mod tests;
