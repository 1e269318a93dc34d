//! Files -> chunks that can be split into pieces apart from each other, and the workers that share them.
//!
//! A chunk ends where no piece and no special token lies across: at a pair of characters between which the pattern always
//! cuts ([`Pretokenizer::is_safe_cut`]), or, for a custom regex, before a special token. So the pieces of all chunks
//! are the pieces of the file, whatever the chunk size. A stretch without such a place is read whole.
//!
//! Workers take chunks from one reader under a lock that is held for the copy out of the page cache alone, so any number of
//! them reads one file, a pipe or many files alike, in constant memory. Rejected: a mapped file (one that shrinks while
//! mapped kills the process), ranges found by each worker for itself (a file without a place to cut is then read once per
//! range), a reading thread (the copy is a fiftieth of the work).

use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::pretokenizer::Pretokenizer;
use crate::special::SpecialTokens;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes read at a time: large enough that the lock is rare, small enough to stay in the second-level cache.
pub const CHUNK_BYTES: usize = 1 << 20;

/// More threads than any machine has use for; tens of thousands take minutes to start and the memory of their stacks.
pub const MAX_THREADS: usize = 1024;

/// What to know of a chunk beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the order of the input, from 0.
    pub sequence: u64,
    /// Whether its source ends with it.
    pub ends_source: bool,
}

/// An input: a file, or standard input under the name `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Bytes read from it so far.
    pub num_bytes: u64,
}

/// Reads sources one after the other as chunks.
pub struct ChunkReader {
    pretokenizer: Pretokenizer,
    specials: SpecialTokens,
    chunk_bytes: usize,
    sources: Vec<Source>,
    current: usize,
    open: Option<Box<dyn Read + Send>>,
    /// What was read after the last cut.
    carry: Vec<u8>,
    sequence: u64,
}

impl ChunkReader {
    /// Prepares to read `paths` in order; each file is opened when its turn comes. `-` is standard input.
    ///
    /// # Errors
    /// [`Error::Io`] if one is missing, a directory or cannot be looked at, before anything is read.
    pub fn new(
        paths: &[PathBuf],
        pretokenizer: Pretokenizer,
        specials: SpecialTokens,
        chunk_bytes: usize,
    ) -> Result<Self> {
        for path in paths.iter().filter(|path| !is_stdin(path)) {
            let meta = std::fs::metadata(path).map_err(Error::io(path))?;
            if meta.is_dir() {
                return Err(Error::Io { path: path.clone(), source: io::ErrorKind::IsADirectory.into() });
            }
        }
        let sources = paths.iter().map(|path| Source { path: path.clone(), num_bytes: 0 }).collect();
        let chunk_bytes = chunk_bytes.max(1);
        Ok(ChunkReader {
            pretokenizer,
            specials,
            chunk_bytes,
            sources,
            current: 0,
            open: None,
            carry: Vec::new(),
            sequence: 0,
        })
    }

    /// The sizes of all files together; 0 if one of the sources has none (a pipe).
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        let size = |source: &Source| std::fs::metadata(&source.path).ok().filter(std::fs::Metadata::is_file);
        self.sources
            .iter()
            .map(|source| size(source).map(|meta| meta.len()))
            .sum::<Option<u64>>()
            .unwrap_or(0)
    }

    /// The sources with the bytes read from each.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Puts the next chunk into `text`, which keeps its allocation; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Io`] with the file.
    pub fn next_chunk(&mut self, text: &mut Vec<u8>) -> Result<Option<Chunk>> {
        text.clear();
        let Some(source) = self.sources.get_mut(self.current) else { return Ok(None) };
        let file = match &mut self.open {
            Some(file) => file,
            None => self.open.insert(open(&source.path)?),
        };
        text.append(&mut self.carry);
        // Cuts up to here were looked for already.
        let mut searched = text.len();
        let mut want = self.chunk_bytes.max(2 * text.len());
        let (cut, ends_source) = loop {
            let missing = want - text.len();
            let got = file.take(missing as u64).read_to_end(text).map_err(Error::io(&source.path))?;
            source.num_bytes += got as u64;
            if got < missing {
                break (text.len(), true);
            }
            if let Some(cut) = last_cut(&self.pretokenizer, &self.specials, text, searched) {
                break (cut, false);
            }
            searched = text.len().saturating_sub(self.specials.longest() + 8);
            want = text.len() * 2;
        };
        self.carry.extend_from_slice(&text[cut..]);
        text.truncate(cut);
        if ends_source {
            self.current += 1;
            self.open = None;
        }
        let chunk = Chunk { sequence: self.sequence, ends_source };
        self.sequence += 1;
        Ok(Some(chunk))
    }
}

/// Whether `path` names standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    if is_stdin(path) {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(Error::io(path))?))
}

/// The last place after `searched` where `text`, of which more may follow, can be cut.
pub(crate) fn last_cut(
    pretokenizer: &Pretokenizer,
    specials: &SpecialTokens,
    text: &[u8],
    searched: usize,
) -> Option<usize> {
    // A special token that lies across a later place might not be whole yet, nor might the character after it.
    let end = text.len().checked_sub(specials.longest().max(4))?;
    let is_cut = |cut: usize| !specials.lies_across(text, cut);
    if pretokenizer.name().is_some() {
        let safe = |&cut: &usize| {
            let around = char_before(text, cut).zip(char_at(text, cut));
            around.is_some_and(|(before, after)| pretokenizer.is_safe_cut(before, after)) && is_cut(cut)
        };
        return (searched.max(1)..=end).rev().find(safe);
    }
    let mut from = searched.saturating_sub(specials.longest());
    let mut last = None;
    while let Some(found) = specials.find(text, from).filter(|found| found.start <= end) {
        if found.start > 0 && is_cut(found.start) {
            last = Some(found.start);
        }
        from = found.end;
    }
    last
}

fn char_at(text: &[u8], at: usize) -> Option<char> {
    let first = *text.get(at)?;
    if first < 0x80 {
        return Some(char::from(first));
    }
    let end = text.len().min(at + 4);
    let chunk = text.get(at..end)?.utf8_chunks().next()?;
    chunk.valid().chars().next()
}

fn char_before(text: &[u8], at: usize) -> Option<char> {
    let start = (at.saturating_sub(4)..at).rev().find(|&i| text[i] & 0xC0 != 0x80)?;
    char_at(&text[..at], start).filter(|c| start + c.len_utf8() == at)
}

/// Runs `work` on every chunk with one worker per thread of `pool`, and returns the workers.
///
/// # Errors
/// The first error of the reader, of `work`, or [`Error::Interrupted`]; the other workers stop at their next chunk.
pub fn for_each_chunk<Worker: Send>(
    pool: &rayon::ThreadPool,
    reader: &Mutex<ChunkReader>,
    monitor: &Monitor,
    make_worker: impl Fn() -> Worker + Sync,
    work: impl Fn(&mut Worker, &[u8], Chunk) -> Result<()> + Sync,
) -> Result<Vec<Worker>> {
    let failed = std::sync::atomic::AtomicBool::new(false);
    let run = || {
        let mut worker = make_worker();
        let mut text = Vec::new();
        while !failed.load(std::sync::atomic::Ordering::Relaxed) {
            monitor.check()?;
            let next = reader.lock().map_err(|_| Error::Interrupted)?.next_chunk(&mut text)?;
            let Some(chunk) = next else { break };
            work(&mut worker, &text, chunk)?;
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
