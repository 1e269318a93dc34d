//! Text files -> one token file with its sidecar, in constant memory.
//!
//! Workers take chunks from one [`ChunkReader`], encode them, and hand the bytes over in the order of the input: the one
//! whose turn it is writes, the others park what they have and go on, or wait when too much is parked. The file is the same
//! for every number of threads and chunk size.
//!
//! Raw little-endian ids, no header: `uint16` where the vocabulary fits, else `uint32`. `x.bin.json` beside it is written
//! last and tells what it holds; `x.bin.docs`, on request, holds the token offset of each document's end as uint64.
//!
//! Time O(bytes); memory: a chunk, its ids and a few parked results per thread.

use crate::atomic::AtomicFile;
use crate::encoder::{Encoder, Specials};
use crate::error::{Error, Result};
use crate::monitor::{Monitor, Phase};
use crate::reader::{self, Chunk, ChunkReader};
use crate::special;
use crate::vocab::Vocab;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The integer type of a token file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// Two bytes an id.
    Uint16,
    /// Four bytes an id.
    Uint32,
}

impl Dtype {
    /// `uint16` or `uint32`, as `NumPy` says.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Uint16 => "uint16",
            Dtype::Uint32 => "uint32",
        }
    }

    /// The type called `name`.
    ///
    /// # Errors
    /// [`Error::Vocab`] for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "uint16" => Ok(Dtype::Uint16),
            "uint32" => Ok(Dtype::Uint32),
            _ => Err(Error::Vocab(format!("dtype `{name}` is not one of uint16, uint32"))),
        }
    }

    /// The smallest type for ids below `vocab_size`.
    #[must_use]
    pub fn for_vocab(vocab_size: usize) -> Self {
        if vocab_size <= 1 << 16 { Dtype::Uint16 } else { Dtype::Uint32 }
    }

    /// The type for a file: the one asked for, else the one that its name ends in, else the smallest.
    fn choose(path: &Path, asked: Option<Dtype>, vocab_size: usize) -> Result<Self> {
        let refuse = |reason: String| Err(Error::TokenFile { path: path.into(), reason });
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let named = [Dtype::Uint16, Dtype::Uint32]
            .into_iter()
            .find(|dtype| name.ends_with(&format!(".{}.bin", dtype.name())));
        if let (Some(asked), Some(named)) = (asked, named)
            && asked != named
        {
            return refuse(format!("the name says {}, asked for was {}", named.name(), asked.name()));
        }
        let smallest = Dtype::for_vocab(vocab_size);
        let chosen = asked.or(named).unwrap_or(smallest);
        if chosen == Dtype::Uint16 && smallest == Dtype::Uint32 {
            return refuse(format!(
                "a vocabulary of {vocab_size} ids does not fit uint16 (65,536); use uint32"
            ));
        }
        Ok(chosen)
    }

    fn append(self, ids: &[u32], bytes: &mut Vec<u8>) {
        match self {
            #[allow(clippy::cast_possible_truncation)] // `choose` made sure that every id fits
            Dtype::Uint16 => bytes.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes())),
            Dtype::Uint32 => bytes.extend(ids.iter().flat_map(|&id| id.to_le_bytes())),
        }
    }
}

/// How to write a token file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Threads; by default one per core.
    pub num_threads: Option<usize>,
    /// Special tokens in the text are ordinary text.
    pub ordinary: bool,
    /// The integer type, if not the smallest.
    pub dtype: Option<Dtype>,
    /// Whether to write the document index.
    pub docs: bool,
    /// Bytes per chunk, by default [`reader::CHUNK_BYTES`]; the output does not depend on it.
    pub chunk_bytes: Option<usize>,
}

/// Encodes `inputs`, one after the other, into `output`, and returns what stands in the sidecar.
///
/// Nothing stands under the name of `output` before all of it is written; an interrupted or failed run leaves what was
/// there.
///
/// # Errors
/// [`Error::Io`] with the file, [`Error::TokenFile`] for an integer type that does not fit, [`Error::Pattern`] from a
/// custom regex, [`Error::Interrupted`].
pub fn encode_file(
    encoder: &Encoder,
    tokenizer_sha256: &str,
    inputs: &[PathBuf],
    output: &Path,
    options: Options,
    monitor: &Monitor,
) -> Result<serde_json::Value> {
    let vocab = encoder.vocab();
    let dtype = Dtype::choose(output, options.dtype, vocab.vocab_size())?;
    let chunk_bytes = options.chunk_bytes.unwrap_or(reader::CHUNK_BYTES);
    let found = if options.ordinary { special::NONE.clone() } else { encoder.specials().clone() };
    let reader = ChunkReader::new(inputs, encoder.pretokenizer().clone(), found, chunk_bytes)?;
    monitor.begin(Phase::Encode, reader.total_bytes());
    let reader = Mutex::new(reader);
    let pool = reader::thread_pool(options.num_threads)?;
    let end_of_text = end_of_text(vocab).filter(|_| !options.ordinary);
    let specials = if options.ordinary { Specials::Ordinary } else { Specials::Allowed };
    let docs = options.docs.then(|| AtomicFile::create(beside(output, "docs"))).transpose()?;
    let writer = Writer::new(AtomicFile::create(output)?, docs, 4 * pool.current_num_threads());

    let make_worker = || (encoder.worker(), Vec::new());
    let workers =
        reader::for_each_chunk(&pool, &reader, monitor, make_worker, |(worker, ids), text, chunk| {
            let mut part = writer.empty_part();
            ids.clear();
            let outcome = encoder.encode_with(worker, text, specials, ids);
            part.num_tokens = ids.len() as u64;
            dtype.append(ids, &mut part.bytes);
            part.ends_source = chunk.ends_source;
            if let Some(end_of_text) = end_of_text {
                part.docs.extend((1..).zip(&*ids).filter(|&(_, &id)| id == end_of_text).map(|(end, _)| end));
            }
            writer.hand_over(chunk, outcome.map(|()| part), monitor)
        })?;
    for (worker, _) in workers {
        encoder.put_back(worker);
    }

    let reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
    let output_state = writer.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sources: Vec<_> = reader
        .sources()
        .iter()
        .map(|source| {
            let name = source.path.file_name().unwrap_or(source.path.as_os_str()).to_string_lossy();
            serde_json::json!({"path": name, "num_bytes": source.num_bytes})
        })
        .collect();
    let sidecar = serde_json::json!({
        "format": "tinybpe-token-file",
        "version": 1,
        "dtype": dtype.name(),
        "num_tokens": output_state.num_tokens,
        "num_documents": output_state.num_documents,
        "num_bytes": reader.sources().iter().map(|source| source.num_bytes).sum::<u64>(),
        "vocab_size": vocab.vocab_size(),
        "tokenizer_sha256": tokenizer_sha256,
        "sources": sources,
    });
    output_state.commit(output, &sidecar)?;
    Ok(sidecar)
}

/// The token that ends a document: `<|endoftext|>` if the vocabulary has it, else its first special token.
fn end_of_text(vocab: &Vocab) -> Option<u32> {
    vocab.special_id("<|endoftext|>").or_else(|| vocab.specials().first().map(|special| special.id))
}

/// The file that belongs to a token file: `x.bin` and `json` make `x.bin.json`.
fn beside(output: &Path, kind: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    name.into()
}

/// The ids of one chunk.
#[derive(Default)]
struct Part {
    bytes: Vec<u8>,
    num_tokens: u64,
    /// Tokens of this part up to and with the end of each document.
    docs: Vec<u64>,
    ends_source: bool,
}

/// Brings parts into the order of the input.
struct Writer {
    state: Mutex<State>,
    turn_changed: Condvar,
    most_parked: usize,
}

struct State {
    file: AtomicFile,
    docs: Option<AtomicFile>,
    next: u64,
    parked: BTreeMap<u64, Part>,
    spare: Vec<Part>,
    failed: bool,
    num_tokens: u64,
    num_documents: u64,
    last_document_end: u64,
}

impl Writer {
    fn new(file: AtomicFile, docs: Option<AtomicFile>, most_parked: usize) -> Self {
        let state = State {
            file,
            docs,
            next: 0,
            parked: BTreeMap::new(),
            spare: Vec::new(),
            failed: false,
            num_tokens: 0,
            num_documents: 0,
            last_document_end: 0,
        };
        Writer { state: Mutex::new(state), turn_changed: Condvar::new(), most_parked }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part to fill, with the allocations of one that was written.
    fn empty_part(&self) -> Part {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// Takes the result for a chunk; writes it and what waited for it, or parks it.
    fn hand_over(&self, chunk: Chunk, part: Result<Part>, monitor: &Monitor) -> Result<()> {
        let mut state = self.lock();
        while chunk.sequence != state.next && state.parked.len() >= self.most_parked && !state.failed {
            if monitor.check().is_err() {
                break;
            }
            let waited = self.turn_changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let result = monitor.check().and(part).and_then(|part| {
            state.parked.insert(chunk.sequence, part);
            state.write_parked()
        });
        if result.is_err() {
            // The turn of this chunk will not come: nobody may wait for it.
            state.failed = true;
        }
        drop(state);
        self.turn_changed.notify_all();
        result
    }
}

impl State {
    fn write_parked(&mut self) -> Result<()> {
        while let Some(mut part) = self.parked.remove(&self.next) {
            self.next += 1;
            self.file.append(&part.bytes)?;
            for &end in &part.docs {
                self.end_document(self.num_tokens + end)?;
            }
            self.num_tokens += part.num_tokens;
            if part.ends_source && self.num_tokens > self.last_document_end {
                self.end_document(self.num_tokens)?;
            }
            part.bytes.clear();
            part.docs.clear();
            self.spare.push(part);
        }
        Ok(())
    }

    fn end_document(&mut self, end: u64) -> Result<()> {
        self.num_documents += 1;
        self.last_document_end = end;
        if let Some(docs) = &mut self.docs {
            docs.append(&end.to_le_bytes())?;
        }
        Ok(())
    }

    /// Puts the files in place: while the token file changes there is no sidecar, which comes last.
    fn commit(mut self, output: &Path, sidecar: &serde_json::Value) -> Result<()> {
        let path = beside(output, "json");
        let mut file = AtomicFile::create(&path)?;
        file.append(format!("{sidecar:#}\n").as_bytes())?;
        // All that a full disk can refuse comes before the old files are touched.
        for file in [Some(&mut self.file), self.docs.as_mut(), Some(&mut file)].into_iter().flatten() {
            file.settle()?;
        }
        for old in [&path, &beside(output, "docs")] {
            match std::fs::remove_file(old) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(old)(e)),
                _ => {}
            }
        }
        self.file.commit()?;
        if let Some(docs) = self.docs {
            docs.commit()?;
        }
        file.commit()
    }
}
