//! Texts -> token files with their sidecars, in constant memory.
//!
//! Workers take chunks from one reader, encode them, and hand the bytes over in the order of the input. The files are the
//! same for every number of threads and chunk size.
//!
//! Ids without a header by default, in the smallest integer type that fits ([`layout`](Layout) tells of other layouts).
//! `x.bin.json` beside `x.bin` is written last and tells what it holds; `x.bin.docs`, on request, holds the token offset of
//! each document's end as uint64. In plain text a document ends at the special token that ends documents, or with its
//! file; lines of JSON, and documents handed over one by one, end where they end, and get that token.
//!
//! Time O(bytes); memory: a chunk, its ids and a few parked results per thread.

mod count;
mod existing;
mod layout;
mod lock;
mod output;
mod shards;
mod writer;

use crate::atomic::{Existing, ReadFiles};
use crate::encoder::{self, Encoder, Specials};
use crate::error::{Error, Result};
use crate::monitor::{Monitor, Phase};
use crate::normalizer::{Ends, WHOLE};
use crate::reader::{self, Batches, Chunk, ChunkReader, Chunks, Content, Inputs, Place, TextBatch};
use crate::vocab::Vocab;
pub use count::{Count, count_documents, count_files};
pub use layout::{Dtype, Layout};
use lock::Lock;
use output::Kind;
use serde_json::{Value, json};
use shards::Set;
pub use shards::Shards;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::UNIX_EPOCH;
use writer::{End, Part, Writer};

const END_OF_TEXT: &str = "<|endoftext|>";
/// What ends documents in published tokenizers: GPT-2's and Qwen's, Llama 3's, SentencePiece's, Gemma's, DeepSeek's.
const ENDS: [&str; 5] = [END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>", "<｜end▁of▁sentence｜>"];
/// Bytes per chunk: its ids stay in the second-level cache until they are written. With a megabyte a tenth slower.
const CHUNK_BYTES: usize = 1 << 18;
/// Ids that are searched for the end of a document together.
const END_BLOCK: usize = 256;

/// How to write a token file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; by default one per core.
    pub num_threads: Option<usize>,
    /// Special tokens in the text are ordinary text.
    pub ordinary: bool,
    /// The special token that ends documents: by default `<|endoftext|>`, else the vocabulary's only one. Empty for none.
    pub end_of_document: Option<String>,
    /// The integer type, if not the smallest.
    pub dtype: Option<Dtype>,
    /// The layout, if not what the name of the file says.
    pub layout: Option<Layout>,
    /// Whether to write the document index.
    pub docs: bool,
    /// Whether to write several files.
    pub shards: Option<Shards>,
    /// Whether to keep the whole files of an earlier run that was stopped; without shards there are none.
    pub resume: bool,
    /// What to do with files that are there already and that this run does not make again.
    pub existing: Existing,
    /// Files that are read beside the inputs, such as the tokenizer's own: no output may be one of them.
    pub also_read: Vec<PathBuf>,
    /// Bytes per chunk, by default few enough that their ids stay in a cache; the output does not depend on it.
    pub chunk_bytes: Option<usize>,
}

/// A token file that was written, with what stands in its sidecar.
pub type Written = (PathBuf, Value);

/// The token files of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// All of them, in order.
    pub files: Vec<Written>,
    /// How many of them, the first ones, an earlier run had finished.
    pub num_kept: usize,
}

/// Encodes `inputs`, one after the other, into `output`, or into shards called after it.
///
/// Nothing stands under the name of a file before all of it is written; an interrupted or failed run leaves what was
/// there. What is there stays, unless this run makes it again (the same sources by name and size, tokenizer, options and, in
/// the end, ids) or [`Options::existing`] says otherwise.
///
/// # Errors
/// [`Error::Io`] or [`Error::Input`] with the file, [`Error::Output`] if an output is an input or a file that stays,
/// [`Error::TokenFile`] for options that do not fit or another encoder at
/// the same destination, [`Error::SpecialToken`] if no token ends documents, [`Error::Pattern`] from a regex engine,
/// [`Error::Interrupted`].
pub fn encode_file(
    encoder: &Encoder,
    tokenizer_sha256: &str,
    inputs: &Inputs,
    output: &Path,
    options: &Options,
    monitor: &Monitor,
) -> Result<Run> {
    let is_records = inputs.field.is_some();
    let end = end_of_document(encoder, options, is_records)?;
    let specials = if options.ordinary || is_records { Specials::Ordinary } else { Specials::Allowed };
    let chunk_bytes = options.chunk_bytes.unwrap_or(CHUNK_BYTES);
    let mut reader = ChunkReader::new(inputs, encoder.cutter(specials).clone(), chunk_bytes)?;
    let sizes: Option<Vec<u64>> = reader.sources().iter().map(reader::Source::text_bytes).collect();
    let identity = if options.resume && options.shards.is_some() && reader.sources().iter().any(is_pipe) {
        let reason = "a run that reads a pipe cannot be resumed: give files, or encode anew, without resume";
        return Err(Error::TokenFile { path: output.into(), reason: reason.into() });
    } else {
        json!([inputs.field, reader.sources().iter().map(identity).collect::<Vec<_>>()])
    };
    let paths = inputs.paths.iter().chain(&options.also_read);
    existing::refuse_read(&ReadFiles::new(paths.map(PathBuf::as_path)), output, options.shards)?;
    let kind = kind(encoder.vocab(), tokenizer_sha256, output, options, end)?;
    let run = shards::run_digest(&kind, options.shards, options.ordinary, &identity);
    let _lock = Lock::take(output)?;
    lock::remove_leftovers(output, |name| shards::belongs(output, name));
    let known = || reader.sources().iter().map(describe).collect::<Vec<_>>();
    let set = Set::new(kind, output, options, run, sizes.as_deref(), &known(), false)?;
    reader.start_at(set.cursor().source, set.cursor().place);
    // What is kept of an earlier run is no work of this one, so it counts neither as done nor as to be done.
    let total_bytes = reader.total_bytes().unwrap_or(0).saturating_sub(reader.bytes_skipped());
    monitor.begin(Phase::Encode, total_bytes);
    let reader = Mutex::new(reader);
    let sources = || {
        let reader = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        reader.sources().iter().map(describe).collect()
    };
    let job = Job { encoder, inputs, end, ordinary: options.ordinary, needs_places: set.needs_places() };
    job.run(&reader, set, options.num_threads, &sources, monitor)
}

/// Encodes documents that arrive in batches, until the sender hangs up; `sources` are names and sizes for the sidecar.
///
/// # Errors
/// As [`encode_file`].
pub fn encode_documents(
    encoder: &Encoder,
    tokenizer_sha256: &str,
    documents: Receiver<TextBatch>,
    sources: &[(String, u64)],
    output: &Path,
    options: &Options,
    monitor: &Monitor,
) -> Result<Run> {
    let end = end_of_document(encoder, options, true)?;
    let sources: Vec<Value> =
        sources.iter().map(|(name, num_bytes)| json!({"path": name, "num_bytes": num_bytes})).collect();
    let read = ReadFiles::new(options.also_read.iter().map(PathBuf::as_path));
    existing::refuse_read(&read, output, options.shards)?;
    let kind = kind(encoder.vocab(), tokenizer_sha256, output, options, end)?;
    let run = shards::run_digest(&kind, options.shards, options.ordinary, &json!(sources));
    let _lock = Lock::take(output)?;
    lock::remove_leftovers(output, |name| shards::belongs(output, name));
    let set = Set::new(kind, output, options, run, None, &sources, true)?;
    monitor.begin(Phase::Encode, 0);
    let documents = Mutex::new(Batches::new(documents, set.cursor().place.lines));
    let inputs = Inputs::default();
    let job =
        Job { encoder, inputs: &inputs, end, ordinary: options.ordinary, needs_places: set.needs_places() };
    job.run(&documents, set, options.num_threads, &|| sources.clone(), monitor)
}

/// What every chunk is encoded with.
struct Job<'a> {
    encoder: &'a Encoder,
    inputs: &'a Inputs,
    /// The token that ends documents.
    end: Option<u32>,
    ordinary: bool,
    needs_places: bool,
}

impl Job<'_> {
    fn run(
        &self,
        chunks: &Mutex<impl Chunks>,
        set: Set,
        num_threads: Option<usize>,
        sources: &(dyn Fn() -> Vec<Value> + Sync),
        monitor: &Monitor,
    ) -> Result<Run> {
        let pool = reader::thread_pool(num_threads)?;
        let is_done = set.is_done();
        let (dtype, num_kept) = (set.dtype(), set.num_kept());
        let writer = Writer::new(set, 4 * pool.current_num_threads(), sources);
        if !is_done {
            let make_worker = || (self.encoder.worker(), Vec::new());
            let workers =
                reader::for_each_chunk(&pool, chunks, monitor, make_worker, |(worker, ids), text, chunk| {
                    let mut part = writer.empty_part();
                    let outcome = self.encode(worker, text, chunk, ids, &mut part, dtype);
                    part.checksum.update(&part.bytes);
                    writer.hand_over(chunk, outcome.map(|()| part), monitor)
                })?;
            for (worker, _) in workers {
                self.encoder.put_back(worker);
            }
        }
        Ok(Run { files: writer.finish()?, num_kept })
    }

    /// Encodes a chunk, and notes where documents end.
    fn encode(
        &self,
        worker: &mut encoder::Worker,
        text: &[u8],
        chunk: &Chunk,
        ids: &mut Vec<u32>,
        part: &mut Part,
        dtype: Dtype,
    ) -> Result<()> {
        let specials = if self.ordinary { Specials::Ordinary } else { Specials::Allowed };
        // In text a document ends where its token stands; other documents get it.
        let searched = self.end.filter(|_| matches!(chunk.content, Content::Text) && !self.ordinary);
        let mut places = self.end_places(searched, text);
        let mut take = |ids: &mut Vec<u32>, part: &mut Part| {
            if let Some(end) = searched {
                self.find_ends(end, ids, part.all.tokens, &mut places, &mut part.ends);
            }
            part.all.tokens += ids.len() as u64;
            dtype.append(ids, &mut part.bytes);
            ids.clear();
        };
        let mut document = |document: &[u8], place: Place| {
            self.encoder.encode_with(worker, document, WHOLE, specials, ids, &mut |ids| take(ids, part))?;
            ids.extend(self.end);
            take(ids, part);
            part.all.text_bytes += document.len() as u64;
            part.ends.push(End { place, ..part.all });
            Ok(())
        };
        match &chunk.content {
            Content::Text => {
                let ends = Ends { begins: chunk.start.bytes == 0, ends: chunk.ends_source };
                self.encoder.encode_with(worker, text, ends, specials, ids, &mut |ids| take(ids, part))?;
                part.all.text_bytes = text.len() as u64;
            }
            Content::Lines => self.inputs.for_each_line(text, chunk, document)?,
            Content::Documents(ends) => {
                let mut start = 0;
                for (lines, &end) in (1..).zip(ends) {
                    document(&text[start..end], Place { bytes: 0, lines })?;
                    start = end;
                }
            }
        }
        Ok(())
    }

    /// Where in a text the tokens `end` are to be looked for.
    fn end_places(&self, end: Option<u32>, text: &[u8]) -> Places {
        let Some(end) = end.filter(|_| !self.encoder.definition().pipeline.keeps_bytes()) else {
            return Places::Counted(0);
        };
        let mut places: Vec<u64> = self
            .encoder
            .occurrences(text)
            .filter(|&(id, _)| id == end)
            .map(|(_, range)| range.end as u64)
            .collect();
        places.reverse();
        Places::Found(places)
    }

    /// The documents that end in text at the token `end`, of which `num_before` tokens stood before.
    fn find_ends(&self, end: u32, ids: &[u32], num_before: u64, places: &mut Places, ends: &mut Vec<End>) {
        let vocab = self.encoder.vocab();
        for (num_before, block) in (num_before..).step_by(END_BLOCK).zip(ids.chunks(END_BLOCK)) {
            // Nearly all hold none; without an early way out the compiler makes vector instructions of this.
            let num_ends: u32 = block.iter().map(|&id| u32::from(id == end)).sum();
            if num_ends == 0 && !self.needs_places {
                continue;
            }
            for (tokens, &id) in (num_before + 1..).zip(block) {
                if let Places::Counted(bytes) = places
                    && self.needs_places
                {
                    *bytes += vocab.token_bytes(id).map_or(0, <[u8]>::len) as u64;
                }
                if id == end {
                    let text_bytes = places.next();
                    let place = Place { bytes: text_bytes, lines: 0 };
                    ends.push(End { tokens, text_bytes, place });
                }
            }
        }
    }
}

/// Where documents end in a text.
enum Places {
    /// Ids stand for the bytes of the text, all of them in order, so their lengths tell the place.
    Counted(u64),
    /// They do not, so the places were looked for; the next is the last.
    Found(Vec<u64>),
}

impl Places {
    fn next(&mut self) -> u64 {
        match self {
            Places::Counted(bytes) => *bytes,
            Places::Found(places) => places.pop().unwrap_or_default(),
        }
    }
}

fn kind(
    vocab: &Vocab,
    tokenizer_sha256: &str,
    output: &Path,
    options: &Options,
    end: Option<u32>,
) -> Result<Kind> {
    let spelled = |id| vocab.specials().iter().find(|special| special.id == id);
    Ok(Kind {
        dtype: Dtype::choose(output, options.dtype, vocab.vocab_size())?,
        layout: Layout::choose(output, options.layout)?,
        docs: options.docs,
        vocab_size: vocab.vocab_size(),
        tokenizer_sha256: tokenizer_sha256.into(),
        end_of_document: end.and_then(spelled).map(|special| special.content.clone()),
    })
}

/// The token that ends a document: the one asked for, else `<|endoftext|>`, else the vocabulary's only special token.
///
/// A special token that merely comes first may well mean the start of a text, so it is not taken; text then ends with its
/// file, and for documents, which must get an end, it is an error.
fn end_of_document(encoder: &Encoder, options: &Options, is_needed: bool) -> Result<Option<u32>> {
    let vocab = encoder.vocab();
    let listed = || match vocab.specials() {
        [] => "it has no special token".to_owned(),
        specials => {
            let shown: Vec<_> = specials.iter().take(8).map(|s| format!("`{}`", s.content)).collect();
            let more = if specials.len() > shown.len() { ", …" } else { "" };
            format!("it has {}{more}", shown.join(", "))
        }
    };
    match options.end_of_document.as_deref() {
        Some("") => Ok(None),
        Some(token) => vocab.special_id(token).map(Some).ok_or_else(|| {
            Error::SpecialToken(format!("`{token}` is no special token of this tokenizer; {}", listed()))
        }),
        None => match default_end(encoder, true) {
            None if is_needed => Err(Error::SpecialToken(format!(
                "which token ends a document? The tokenizer has no `{END_OF_TEXT}`: {}; name one as `end_of_document`, or \
                     give an empty name to put nothing between documents",
                listed()
            ))),
            found => Ok(found),
        },
    }
}

/// The token that ends documents unless another is asked for: the first of those that published tokenizers have for it, else perhaps the
/// only one.
#[must_use]
pub fn default_end(encoder: &Encoder, or_only: bool) -> Option<u32> {
    let specials = encoder.specials().tokens();
    let only =
        || Some(specials).filter(|specials| or_only && specials.len() == 1).map(|specials| &specials[0][..]);
    let known = ENDS.iter().copied().find(|end| specials.iter().any(|special| special == end));
    encoder.vocab().special_id(known.or_else(only)?)
}

fn is_pipe(source: &reader::Source) -> bool {
    source.file_bytes.is_none()
}

/// What tells that a source is the same as in an earlier run.
fn identity(source: &reader::Source) -> Value {
    let modified = std::fs::metadata(&source.path).and_then(|meta| meta.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    json!([source.path.to_string_lossy(), source.file_bytes, since.map(|since| since.as_nanos().to_string())])
}

/// A source as the sidecar names it: without its folder, so that the same texts elsewhere give the same sidecar.
fn describe(source: &reader::Source) -> Value {
    let name = source.path.file_name().unwrap_or(source.path.as_os_str()).to_string_lossy();
    let num_bytes = match source.file_bytes {
        // More than its size if the file grew while it was read.
        Some(size) if source.text_bytes().is_some() => size.max(source.num_bytes),
        Some(size) => size,
        None => source.num_bytes,
    };
    json!({"path": name, "num_bytes": num_bytes})
}
