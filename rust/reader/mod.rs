//! Inputs -> chunks that can be split into pieces apart from each other, and the workers that share them.
//!
//! A chunk of text ends where no piece and no special token lies across ([`crate::cutter`]). So the pieces of all chunks are
//! the pieces of the file, whatever the chunk size. A stretch without such a place is read whole. A chunk of JSON lines ends
//! at the end of a line.
//!
//! Workers take chunks from one reader under a lock that is held for the copy out of the page cache alone (and for the
//! decompression of compressed files, whose order cannot be had otherwise), so any number of
//! them reads one file, a pipe or many files alike, in constant memory. Rejected: a mapped file (one that shrinks while
//! mapped kills the process), ranges found by each worker for itself (a file without a place to cut is then read once per
//! range), a reading thread (the copy is a fiftieth of the work).

mod documents;
mod source;

use crate::cutter::Cutter;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
pub use documents::{Batches, Place, TextBatch};
pub use source::{Source, is_stdin};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes read at a time: large enough that the lock is rare, small enough to stay in the second-level cache.
pub const CHUNK_BYTES: usize = 1 << 20;

/// More threads than any machine has use for; tens of thousands take minutes to start and the memory of their stacks.
pub const MAX_THREADS: usize = 1024;

/// Files to read, and what is in them.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Read in this order; `-` is standard input. Names that end in `.gz` or `.zst` are decompressed.
    pub paths: Vec<PathBuf>,
    /// The field that holds the text if the files are lines of JSON; `None` if they are text themselves.
    pub field: Option<String>,
}

impl Inputs {
    /// Files of plain text.
    #[must_use]
    pub fn text(paths: &[PathBuf]) -> Self {
        Inputs { paths: paths.to_vec(), field: None }
    }

    /// Calls `each` with the document of every line of a chunk, and where in the chunk the line ends.
    ///
    /// # Errors
    /// [`Error::Input`] with file and line for one that is no JSON object with a string in the field; the first error of
    /// `each`.
    pub fn for_each_line(
        &self,
        text: &[u8],
        chunk: &Chunk,
        each: impl FnMut(&[u8], Place) -> Result<()>,
    ) -> Result<()> {
        let path = self.paths.get(chunk.source).map_or(Path::new(""), PathBuf::as_path);
        let field = self.field.as_deref().unwrap_or_default();
        documents::for_each_line(text, field, path, chunk.start.lines, each)
    }
}

/// What stands in a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, in which special tokens may end documents.
    Text,
    /// Whole lines of JSON, a document each.
    Lines,
    /// Documents one after the other, which end at these bytes.
    Documents(Vec<usize>),
}

/// What to know of a chunk beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the order of the input, from 0.
    pub sequence: u64,
    /// The index of its source.
    pub source: usize,
    /// Where in its source it starts; lines are counted where its content is lines.
    pub start: Place,
    /// Whether its source ends with it.
    pub ends_source: bool,
    /// What its bytes are.
    pub content: Content,
}

/// Something that gives chunks in order.
pub trait Chunks: Send {
    /// Puts the next chunk into `text`; `None` after the last.
    ///
    /// # Errors
    /// What reading fails with; [`Error::Interrupted`], also while a pipe gives nothing.
    fn next_chunk(&mut self, text: &mut Vec<u8>, monitor: &Monitor) -> Result<Option<Chunk>>;
}

/// Reads sources one after the other as chunks.
pub struct ChunkReader {
    cutter: Cutter,
    chunk_bytes: usize,
    lines: bool,
    sources: Vec<Source>,
    current: usize,
    open: Option<Box<dyn Read + Send>>,
    /// What was read after the last cut.
    carry: Vec<u8>,
    /// Where in the current source the next chunk starts.
    start: Place,
    sequence: u64,
}

impl ChunkReader {
    /// Prepares to read `inputs` in order; each file is opened when its turn comes.
    ///
    /// # Errors
    /// [`Error::Io`] if one is missing, a directory or cannot be looked at, before anything is read.
    pub fn new(inputs: &Inputs, cutter: Cutter, chunk_bytes: usize) -> Result<Self> {
        let sources = inputs.paths.iter().map(|path| Source::new(path)).collect::<Result<_>>()?;
        Ok(ChunkReader {
            cutter,
            chunk_bytes: chunk_bytes.max(1),
            lines: inputs.field.is_some(),
            sources,
            current: 0,
            open: None,
            carry: Vec::new(),
            start: Place::default(),
            sequence: 0,
        })
    }

    /// Begins at a place in a source, which must be the end of a document.
    pub fn start_at(&mut self, source: usize, place: Place) {
        self.current = source;
        self.start = place;
        if let Some(source) = self.sources.get_mut(source) {
            source.num_bytes = place.bytes;
        }
    }

    /// The bytes of text in all files together; `None` if one of the sources does not tell (a pipe, a compressed file).
    #[must_use]
    pub fn total_bytes(&self) -> Option<u64> {
        self.sources.iter().map(Source::text_bytes).sum()
    }

    /// Bytes of text before the place to begin at, as far as they are known.
    #[must_use]
    pub fn bytes_skipped(&self) -> u64 {
        let before = self.sources.iter().take(self.current).filter_map(Source::text_bytes);
        before.sum::<u64>() + self.start.bytes
    }

    /// The sources with the bytes read from each.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl Chunks for ChunkReader {
    fn next_chunk(&mut self, text: &mut Vec<u8>, monitor: &Monitor) -> Result<Option<Chunk>> {
        text.clear();
        let Some(source) = self.sources.get_mut(self.current) else { return Ok(None) };
        let file = match &mut self.open {
            Some(file) => file,
            None => self.open.insert(source.open(self.start.bytes)?),
        };
        text.append(&mut self.carry);
        // Cuts up to here were looked for already.
        let mut searched = text.len();
        let mut want = self.chunk_bytes.max(2 * text.len());
        let (cut, ends_source) = loop {
            let before = text.len();
            let outcome = file.take((want - before) as u64).read_to_end(text);
            // Also what came before an error.
            source.num_bytes += (text.len() - before) as u64;
            match outcome {
                Err(e) if e.kind() == ErrorKind::TimedOut => {
                    monitor.check()?;
                    continue;
                }
                outcome => outcome.map_err(|e| source.error(e))?,
            };
            if text.len() < want {
                source.check_whole()?;
                break (text.len(), true);
            }
            let cut = if self.lines {
                memchr::memrchr(b'\n', &text[searched..]).map(|at| searched + at + 1)
            } else {
                self.cutter.last_cut(text, searched)
            };
            if let Some(cut) = cut {
                break (cut, false);
            }
            searched = if self.lines { text.len() } else { self.cutter.resume_from(text.len()) };
            want = text.len() * 2;
        };
        self.carry.extend_from_slice(&text[cut..]);
        text.truncate(cut);
        let (source, start, content) =
            (self.current, self.start, if self.lines { Content::Lines } else { Content::Text });
        if ends_source {
            self.current += 1;
            self.open = None;
            self.start = Place::default();
        } else {
            self.start.bytes += cut as u64;
            if self.lines {
                self.start.lines += memchr::memchr_iter(b'\n', text).count() as u64;
            }
        }
        let chunk = Chunk { sequence: self.sequence, source, start, ends_source, content };
        self.sequence += 1;
        Ok(Some(chunk))
    }
}

/// Runs `work` on every chunk with one worker per thread of `pool`, and returns the workers.
///
/// # Errors
/// The first error of the reader, of `work`, or [`Error::Interrupted`]; the other workers stop at their next chunk.
pub fn for_each_chunk<Worker: Send>(
    pool: &rayon::ThreadPool,
    reader: &Mutex<impl Chunks>,
    monitor: &Monitor,
    make_worker: impl Fn() -> Worker + Sync,
    work: impl Fn(&mut Worker, &[u8], &Chunk) -> Result<()> + Sync,
) -> Result<Vec<Worker>> {
    let failed = std::sync::atomic::AtomicBool::new(false);
    let run = || {
        let mut worker = make_worker();
        let mut text = Vec::new();
        while !failed.load(std::sync::atomic::Ordering::Relaxed) {
            monitor.check()?;
            let next = reader.lock().map_err(|_| Error::Interrupted)?.next_chunk(&mut text, monitor)?;
            let Some(chunk) = next else { break };
            work(&mut worker, &text, &chunk)?;
            monitor.advance(text.len() as u64);
        }
        Ok(worker)
    };
    let results = pool.broadcast(|_| {
        let result = run();
        failed.fetch_or(result.is_err(), std::sync::atomic::Ordering::Relaxed);
        result
    });
    results.into_iter().collect()
}

/// A pool of `num_threads` threads, by default one per core. Built for each long operation, so that nothing is shared
/// with a forked child.
///
/// # Errors
/// [`Error::Training`] for more than [`MAX_THREADS`], or if the operating system gives no thread.
pub fn thread_pool(num_threads: Option<usize>) -> Result<rayon::ThreadPool> {
    if let Some(asked) = num_threads.filter(|&asked| asked > MAX_THREADS) {
        return Err(Error::Training(format!(
            "num_threads is {asked}, the greatest is {MAX_THREADS}; by default there is one per core"
        )));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(num_threads.unwrap_or(0))
        .build()
        .map_err(|e| Error::Training(format!("cannot start {} threads: {e}", num_threads.unwrap_or(0))))
}
