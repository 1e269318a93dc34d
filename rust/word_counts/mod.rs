//! Distinct words with their counts: made from files or texts on all threads, merged, saved.
//!
//! Time O(bytes of text), memory O(distinct words).

mod counter;
mod file;

use crate::cutter::Cutter;
use crate::error::{Error, Result};
use crate::monitor::{Monitor, Phase};
use crate::pretokenizer::Pretokenizer;
use crate::reader::{self, Batches, Chunk, ChunkReader, Chunks, Content, Inputs, TextBatch};
use crate::special::SpecialTokens;
pub use counter::{Counter, Worker};
use rustc_hash::FxHashMap;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;

/// A word of more bytes is worth a warning.
pub const LONG_WORD_BYTES: usize = 1 << 16;

/// What counting may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Threads, by default one per core.
    pub num_threads: Option<usize>,
    /// Bytes that the tables of distinct words may take, by default any number.
    pub max_memory: Option<u64>,
}

/// Distinct words and how often each occurs, in no particular order, with what they were split by.
#[derive(Clone, Debug, Default)]
pub struct WordCounts {
    pattern: String,
    special_tokens: Vec<String>,
    /// All words, one after the other.
    bytes: Vec<u8>,
    lens: Vec<u32>,
    counts: Vec<u64>,
}

impl WordCounts {
    /// Counts the pieces of files, read in parallel.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Input`] with the file, [`Error::Pattern`] from a regex engine, [`Error::Training`] if the
    /// words need more memory than allowed, [`Error::Interrupted`].
    pub fn from_files(
        inputs: &Inputs,
        pretokenizer: &Pretokenizer,
        specials: &SpecialTokens,
        limits: Limits,
        monitor: &Monitor,
    ) -> Result<Self> {
        let cutter = Cutter::new(pretokenizer.clone(), specials.clone());
        let reader = ChunkReader::new(inputs, cutter, reader::CHUNK_BYTES)?;
        monitor.begin(Phase::Count, reader.total_bytes().unwrap_or(0));
        Self::from_chunks(reader, inputs, pretokenizer, specials, limits, monitor)
    }

    /// Counts the pieces of texts that arrive in batches, until the sender hangs up; each text is apart from the others.
    ///
    /// # Errors
    /// [`Error::Pattern`] from a regex engine, [`Error::Training`] if the words need more memory than allowed,
    /// [`Error::Interrupted`].
    pub fn from_batches(
        batches: Receiver<TextBatch>,
        pretokenizer: &Pretokenizer,
        specials: &SpecialTokens,
        limits: Limits,
        monitor: &Monitor,
    ) -> Result<Self> {
        monitor.begin(Phase::Count, 0);
        let batches = Batches::new(batches, 0);
        Self::from_chunks(batches, &Inputs::default(), pretokenizer, specials, limits, monitor)
    }

    fn from_chunks(
        chunks: impl Chunks,
        inputs: &Inputs,
        pretokenizer: &Pretokenizer,
        specials: &SpecialTokens,
        limits: Limits,
        monitor: &Monitor,
    ) -> Result<Self> {
        let counter = Counter::new(pretokenizer, specials, limits.max_memory);
        let count = |worker: &mut Worker<'_>, text: &[u8], chunk: &Chunk| match &chunk.content {
            Content::Text => worker.add(text),
            Content::Lines => inputs.for_each_line(text, chunk, |document, _| worker.add(document)),
            Content::Documents(ends) => {
                let mut start = 0;
                ends.iter().try_for_each(|&end| worker.add(&text[std::mem::replace(&mut start, end)..end]))
            }
        };
        let pool = reader::thread_pool(limits.num_threads)?;
        let workers =
            reader::for_each_chunk(&pool, &Mutex::new(chunks), monitor, || counter.worker(), count)?;
        counter.finish(workers)
    }

    /// Takes words with their counts; one that stands several times is summed up.
    ///
    /// # Errors
    /// [`Error::Training`] for a sum beyond 2^63 or a word of over 4 GiB.
    pub fn from_words<'a>(
        pattern: &str,
        special_tokens: &[String],
        words: impl IntoIterator<Item = (&'a [u8], u64)>,
    ) -> Result<Self> {
        let mut sums: FxHashMap<&[u8], u64> = FxHashMap::default();
        for (word, count) in words {
            let sum = sums.entry(word).or_default();
            *sum = sum.checked_add(count).filter(|&sum| i64::try_from(sum).is_ok()).ok_or_else(too_many)?;
        }
        let mut counts = WordCounts {
            pattern: pattern.to_owned(),
            special_tokens: special_tokens.to_vec(),
            ..WordCounts::default()
        };
        for (word, count) in sums {
            counts.push(word, count)?;
        }
        Ok(counts)
    }

    /// The counts of both together; any order of merging gives the same.
    ///
    /// # Errors
    /// [`Error::Training`] if pattern or special tokens differ, or for a sum beyond 2^63.
    pub fn merge(&self, other: &WordCounts) -> Result<Self> {
        if self.pattern != other.pattern {
            return Err(Error::Training(format!(
                "counts of different patterns cannot be merged: `{}` and `{}`",
                self.pattern, other.pattern
            )));
        }
        if self.special_tokens != other.special_tokens {
            return Err(Error::Training(format!(
                "counts of different special tokens cannot be merged: {:?} and {:?}",
                self.special_tokens, other.special_tokens
            )));
        }
        WordCounts::from_words(&self.pattern, &self.special_tokens, self.iter().chain(other.iter()))
    }

    /// The pattern that made the words, as [`Pretokenizer::pattern`] gives it.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The special tokens that were cut out.
    #[must_use]
    pub fn special_tokens(&self) -> &[String] {
        &self.special_tokens
    }

    /// The number of distinct words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lens.len()
    }

    /// Whether there is no word at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    /// Bytes in all distinct words together.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Each word with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let mut rest = self.bytes.as_slice();
        self.lens.iter().zip(&self.counts).map(move |(&len, &count)| {
            let (word, tail) = rest.split_at(len as usize);
            rest = tail;
            (word, count)
        })
    }

    /// The longest word, if it is longer than a text written by people would have it: [`LONG_WORD_BYTES`].
    ///
    /// Training copes with it in linear time and memory, but hardly anybody wants tokens of base64 or of a file without
    /// spaces; whoever trains should say so.
    #[must_use]
    pub fn too_long_a_word(&self) -> Option<&[u8]> {
        let longest = self.lens.iter().max().filter(|&&len| len as usize > LONG_WORD_BYTES)?;
        self.iter().map(|(word, _)| word).filter(|word| word.len() == *longest as usize).min()
    }

    /// Each word with its count, in the order of bytes.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&[u8], u64)> {
        let mut words: Vec<_> = self.iter().collect();
        words.sort_unstable();
        words
    }

    /// Adds a word that is not there yet.
    pub(crate) fn push(&mut self, word: &[u8], count: u64) -> Result<()> {
        let len = u32::try_from(word.len()).map_err(|_| too_long(word.len()))?;
        self.bytes.extend_from_slice(word);
        self.lens.push(len);
        self.counts.push(count);
        Ok(())
    }
}

/// Equal if they count the same words; in which order they hold them says nothing.
impl PartialEq for WordCounts {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
            && self.special_tokens == other.special_tokens
            && self.len() == other.len()
            && self.sorted() == other.sorted()
    }
}

impl Eq for WordCounts {}

fn too_long(len: usize) -> Error {
    Error::Training(format!(
        "a piece of {len} bytes; the limit is {} (4 GiB): cut the text or the pattern",
        u32::MAX
    ))
}

fn too_many() -> Error {
    Error::Training("a count beyond 2^63; train on less text".into())
}
