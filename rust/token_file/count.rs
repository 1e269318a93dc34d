//! Texts -> how many tokens and documents a token file of them would hold, without writing one.
//!
//! The workers, the chunks and the rules are those of encoding, so the numbers are the same; what a chunk becomes is added up
//! and forgotten. Time O(bytes); memory: a chunk and its ids per thread.

use super::writer::Part;
use super::{CHUNK_BYTES, Dtype, Job, Options, end_of_document};
use crate::encoder::{Encoder, Specials};
use crate::error::Result;
use crate::monitor::{Monitor, Phase};
use crate::reader::{self, Batches, Chunk, ChunkReader, Chunks, Inputs, TextBatch};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

/// What a token file of one source would hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Token ids, those that end documents among them.
    pub num_tokens: u64,
    /// Documents.
    pub num_documents: u64,
    /// Bytes of text.
    pub num_bytes: u64,
}

/// A source while it is counted; its chunks arrive in any order.
#[derive(Clone, Copy, Default)]
struct Tally {
    count: Count,
    /// The last chunk so far that has tokens, and whether it ends within a document.
    last: Option<u64>,
    ends_within_document: bool,
}

impl Tally {
    fn add(&mut self, part: &Part, chunk: &Chunk) {
        self.count.num_tokens += part.all.tokens;
        self.count.num_documents += part.ends.len() as u64;
        self.count.num_bytes += part.all.text_bytes;
        if part.all.tokens > 0 && self.last <= Some(chunk.sequence) {
            self.last = Some(chunk.sequence);
            self.ends_within_document = part.ends.last().map_or(0, |end| end.tokens) < part.all.tokens;
        }
    }

    /// A document that nothing has ended ends with its source.
    fn finish(self) -> Count {
        let num_documents = self.count.num_documents + u64::from(self.ends_within_document);
        Count { num_documents, ..self.count }
    }
}

/// Counts each of `inputs`. Of the options, those count that decide ids, and the number of threads.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) or [`Error::Input`](crate::Error::Input) with the file,
/// [`Error::SpecialToken`](crate::Error::SpecialToken) if no token ends documents,
/// [`Error::Pattern`](crate::Error::Pattern) from a custom regex, [`Error::Interrupted`](crate::Error::Interrupted).
pub fn count_files(
    encoder: &Encoder,
    inputs: &Inputs,
    options: &Options,
    monitor: &Monitor,
) -> Result<Vec<Count>> {
    let is_records = inputs.field.is_some();
    let end = end_of_document(encoder, options, is_records)?;
    let specials = if options.ordinary || is_records { Specials::Ordinary } else { Specials::Allowed };
    let chunk_bytes = options.chunk_bytes.unwrap_or(CHUNK_BYTES);
    let reader = ChunkReader::new(inputs, encoder.cutter(specials).clone(), chunk_bytes)?;
    monitor.begin(Phase::Count, reader.total_bytes().unwrap_or(0));
    let job = Job { encoder, inputs, end, ordinary: options.ordinary, needs_places: false };
    job.count(&Mutex::new(reader), inputs.paths.len(), options.num_threads, monitor)
}

/// Counts documents that arrive in batches, until the sender hangs up.
///
/// # Errors
/// As [`count_files`].
pub fn count_documents(
    encoder: &Encoder,
    documents: Receiver<TextBatch>,
    options: &Options,
    monitor: &Monitor,
) -> Result<Count> {
    let end = end_of_document(encoder, options, true)?;
    monitor.begin(Phase::Count, 0);
    let documents = Mutex::new(Batches::new(documents, 0));
    let inputs = Inputs::default();
    let job = Job { encoder, inputs: &inputs, end, ordinary: options.ordinary, needs_places: false };
    let counts = job.count(&documents, 1, options.num_threads, monitor)?;
    Ok(counts.into_iter().next().unwrap_or_default())
}

impl Job<'_> {
    fn count(
        &self,
        chunks: &Mutex<impl Chunks>,
        num_sources: usize,
        num_threads: Option<usize>,
        monitor: &Monitor,
    ) -> Result<Vec<Count>> {
        let pool = reader::thread_pool(num_threads)?;
        let dtype = Dtype::for_vocab(self.encoder.vocab().vocab_size());
        let tallies = Mutex::new(vec![Tally::default(); num_sources]);
        let make_worker = || (self.encoder.worker(), Vec::new(), Part::default());
        let workers = reader::for_each_chunk(
            &pool,
            chunks,
            monitor,
            make_worker,
            |(worker, ids, part), text, chunk| {
                part.clear();
                self.encode(worker, text, chunk, ids, part, dtype)?;
                monitor.add_tokens(part.all.tokens);
                if let Some(tally) =
                    tallies.lock().unwrap_or_else(PoisonError::into_inner).get_mut(chunk.source)
                {
                    tally.add(part, chunk);
                }
                Ok(())
            },
        )?;
        for (worker, ..) in workers {
            self.encoder.put_back(worker);
        }
        let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(tallies.into_iter().map(Tally::finish).collect())
    }
}
