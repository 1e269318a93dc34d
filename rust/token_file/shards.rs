//! One token file or several: where they are cut, how they are called, and where a resumed run goes on.
//!
//! A cut lies at the start of a document and depends on nothing but the input: on bytes of input where the number of files
//! is given, on tokens where their size is. So it is the same for every number of threads and chunk size.
//!
//! * [`Shards::Count`]: a document that starts at byte `s` of `total` goes to file `s * n / total`. Needs the size of the
//!   input, so pipes and compressed files are refused. A document longer than a share leaves the file after its own empty.
//! * [`Shards::Tokens`]: a file ends with the document that brings it to that many tokens. Works for any input.
//!
//! `train.bin` becomes `train-00000-of-00004.bin`, or `train-00000.bin` where the number of files is not known beforehand.
//! Each has a sidecar that tells, beside the usual, its index, whether it is the last, where in the input it ends, and a
//! digest of all that the cuts depend on: inputs with size and time of change, tokenizer, options. A resumed run goes on
//! after the last file of which the sidecar, written last, has this digest.

use super::layout::Dtype;
use super::output::{COMPANIONS, Kind, Output, beside, remove, remove_all};
use super::writer::{End, Part};
use super::{Options, existing};
use crate::atomic::Existing;
use crate::error::{Error, Result};
use crate::reader::{Chunk, Place};
use flate2::Crc;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How to cut the output into several token files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// This many files, of about equal shares of the input's bytes.
    Count(u32),
    /// Files of at least this many tokens each, but for the last.
    Tokens(u64),
}

/// A place in the input at which a document ends: the next one starts there.
#[derive(Clone, Copy, Default)]
pub(super) struct Cursor {
    pub source: usize,
    pub place: Place,
}

/// The token files of a run, in order.
pub(super) struct Set {
    kind: Kind,
    output: PathBuf,
    shards: Option<Shards>,
    run_sha256: String,
    /// Bytes of input before each source, and in all; empty unless the rule asks.
    bytes_before: Vec<u64>,
    /// Whether it is unknown which source a document comes from.
    lists_all_sources: bool,
    current: Option<Output>,
    index: u64,
    /// Where the last document ended.
    cursor: Cursor,
    within_document: bool,
    /// What was written, in order.
    written: Vec<(PathBuf, Value)>,
    /// Those of `written` that an earlier run made.
    resumed: usize,
    /// Whether a file that turns out to be another one is not replaced.
    keeps_others: bool,
}

/// What tells one run from another: the same digest, the same files.
pub(super) fn run_digest(kind: &Kind, shards: Option<Shards>, ordinary: bool, inputs: &Value) -> String {
    let all = json!([
        kind.dtype.name(),
        kind.layout.name(),
        kind.docs,
        kind.tokenizer_sha256,
        kind.end_of_document,
        format!("{shards:?}"),
        ordinary,
        inputs,
    ]);
    Sha256::digest(all.to_string()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

impl Set {
    /// Prepares to write. `sizes` are the bytes of text in each source, `sources` what the sidecar will say of them as far as
    /// that is known; to resume, files of an earlier run of the same digest are kept, and [`Set::cursor`] tells where to go on.
    pub fn new(
        kind: Kind,
        output: &Path,
        options: &Options,
        run_sha256: String,
        sizes: Option<&[u64]>,
        sources: &[Value],
        lists_all_sources: bool,
    ) -> Result<Self> {
        let shards = options.shards;
        let mut bytes_before = Vec::new();
        if let Some(Shards::Count(_)) = shards {
            let Some(sizes) = sizes else {
                let reason = "the number of files can be given only where the size of the text is known beforehand: not for \
                              pipes, compressed files, Parquet or iterators; give the tokens per file instead";
                return Err(Error::TokenFile { path: output.into(), reason: reason.into() });
            };
            bytes_before.push(0);
            bytes_before.extend(sizes.iter().scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            }));
        }
        let mut set = Set {
            kind,
            output: output.into(),
            shards,
            run_sha256,
            bytes_before,
            lists_all_sources,
            current: None,
            index: 0,
            cursor: Cursor::default(),
            within_document: false,
            written: Vec::new(),
            resumed: 0,
            keeps_others: options.existing == Existing::Keep && shards.is_none(),
        };
        if options.resume && shards.is_some() {
            set.find_whole()?;
        }
        if options.existing == Existing::Keep {
            match shards {
                None => existing::check_one(output, &set.kind, sources)?,
                // The rest of a set of which some are kept is of the same run, finished or not.
                Some(_) if set.resumed > 0 => {}
                Some(shards) => existing::check_set(output, shards, &set.run_sha256)?,
            }
        }
        if !set.is_done() {
            set.open()?;
        }
        Ok(set)
    }

    /// The files that an earlier run has finished.
    fn find_whole(&mut self) -> Result<()> {
        while !self.is_done() {
            let path = self.path(self.index);
            let sidecar = beside(&path, "json");
            let Ok(content) = std::fs::read(&sidecar) else { return Ok(()) };
            let content: Value = serde_json::from_slice(&content).unwrap_or_default();
            let shard = &content["shard"];
            if shard["run_sha256"] != self.run_sha256 {
                let reason = "comes from another run: text, tokenizer or options differ; give another name, or \
                              encode anew with `overwrite=True` and without `resume=True`";
                return Err(Error::TokenFile { path: sidecar, reason: reason.into() });
            }
            let number = |value: &Value| {
                value.as_u64().ok_or_else(|| Error::TokenFile {
                    path: sidecar.clone(),
                    reason: "does not tell where its shard ends; encode anew with `overwrite=True`, without `resume=True`".into(),
                })
            };
            let header = self.kind.layout.header(self.kind.dtype, 0).len() as u64;
            let expected = header + number(&content["num_tokens"])? * self.kind.dtype.item_bytes();
            if std::fs::metadata(&path).map_or(0, |meta| meta.len()) != expected {
                let reason = format!(
                    "is not of the {expected} bytes that its sidecar tells; encode anew with `overwrite=True`, without `resume=True`"
                );
                return Err(Error::TokenFile { path, reason });
            }
            let end = &shard["end"];
            let place = Place { bytes: number(&end["bytes"])?, lines: number(&end["lines"])? };
            let source = usize::try_from(number(&end["source"])?).unwrap_or(usize::MAX);
            self.cursor = Cursor { source, place };
            self.index += 1;
            self.written.push((path, content));
            self.resumed += 1;
        }
        Ok(())
    }

    /// Whether the last file is written.
    pub fn is_done(&self) -> bool {
        self.written.last().is_some_and(|(_, sidecar)| sidecar["shard"]["last"] == true)
    }

    /// Where the first document that is not written yet starts.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many files an earlier run had finished.
    pub fn num_kept(&self) -> usize {
        self.resumed
    }

    /// The type of the ids.
    pub fn dtype(&self) -> Dtype {
        self.kind.dtype
    }

    /// Whether parts have to tell the places of their documents' ends.
    pub fn needs_places(&self) -> bool {
        self.shards.is_some()
    }

    fn count(&self) -> Option<u32> {
        match self.shards {
            Some(Shards::Count(count)) => Some(count),
            _ => None,
        }
    }

    fn path(&self, index: u64) -> PathBuf {
        if self.shards.is_none() {
            self.output.clone()
        } else {
            shard_path(&self.output, index, self.count())
        }
    }

    fn open(&mut self) -> Result<()> {
        self.current = Some(Output::create(self.path(self.index), &self.kind, self.cursor.source)?);
        Ok(())
    }

    /// Writes the ids of a chunk.
    pub fn write(&mut self, part: &Part, chunk: &Chunk, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        if self.shards.is_none() {
            let Some(current) = &mut self.current else { return Ok(()) };
            let before = current.num_tokens;
            current.append(&part.bytes, &part.checksum, part.all.tokens, &self.kind)?;
            current.num_bytes += part.all.text_bytes;
            for end in &part.ends {
                current.end_document(before + end.tokens)?;
            }
        } else {
            self.write_cut(part, chunk, sources)?;
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        current.touch(chunk.source);
        if chunk.ends_source {
            if current.is_within_document() {
                let end = current.num_tokens;
                current.end_document(end)?;
            }
            self.within_document = false;
            self.cursor = Cursor { source: chunk.source + 1, place: Place::default() };
        }
        Ok(())
    }

    /// [`Set::write`], document by document.
    fn write_cut(&mut self, part: &Part, chunk: &Chunk, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        let Part { bytes, ends, all, .. } = part;
        let item_bytes = self.kind.dtype.item_bytes();
        let at = |tokens: u64| usize::try_from(tokens * item_bytes).unwrap_or(usize::MAX);
        let mut from = End::default();
        let unfinished = (ends.last().map_or(0, |end| end.tokens) < all.tokens).then_some((*all, false));
        for (end, ends_document) in ends.iter().map(|&end| (end, true)).chain(unfinished) {
            if !self.within_document {
                self.turn(chunk.source, chunk.start.bytes + from.place.bytes, &sources)?;
            }
            let Some(current) = &mut self.current else { return Ok(()) };
            current.touch(chunk.source);
            let ids = bytes.get(at(from.tokens)..at(end.tokens)).unwrap_or_default();
            let mut checksum = Crc::new();
            checksum.update(ids);
            current.append(ids, &checksum, end.tokens - from.tokens, &self.kind)?;
            current.num_bytes += end.text_bytes - from.text_bytes;
            self.within_document = !ends_document;
            if ends_document {
                let tokens = current.num_tokens;
                current.end_document(tokens)?;
                let place = Place {
                    bytes: chunk.start.bytes + end.place.bytes,
                    lines: chunk.start.lines + end.place.lines,
                };
                self.cursor = Cursor { source: chunk.source, place };
            }
            from = end;
        }
        Ok(())
    }

    /// Goes on to the file to which the document belongs that starts at this byte of a source.
    fn turn(&mut self, source: usize, offset: u64, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        match self.shards {
            Some(Shards::Tokens(tokens))
                if self.current.as_ref().is_some_and(|current| current.num_tokens >= tokens) =>
            {
                self.next(&sources)?;
            }
            Some(Shards::Tokens(_)) | None => {}
            Some(Shards::Count(count)) => {
                let total = u128::from(self.bytes_before.last().copied().unwrap_or(0)).max(1);
                let start = self.bytes_before.get(source).copied().unwrap_or(0) + offset;
                let share = u128::from(start) * u128::from(count) / total;
                while u128::from(self.index) < share.min(u128::from(count.saturating_sub(1))) {
                    self.next(&sources)?;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        self.commit(false, sources)?;
        self.index += 1;
        self.open()
    }

    fn commit(&mut self, last: bool, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if self.shards.is_some() && self.written.len() == self.resumed {
            // The first file of this run: those of an older one must not pass for its followers.
            for index in self.index.. {
                let path = self.path(index);
                if !path.exists() && !beside(&path, "json").exists() {
                    break;
                }
                remove(&beside(&path, "json"))?;
            }
        }
        let Cursor { source, place } = self.cursor;
        let shard = self.shards.map(|_| {
            json!({
                "index": self.index,
                "count": self.count(),
                "last": last,
                "run_sha256": self.run_sha256,
                "end": {"source": source, "bytes": place.bytes, "lines": place.lines},
            })
        });
        let mut sources = sources();
        if !self.lists_all_sources {
            sources.truncate(current.sources.end);
            sources.drain(..current.sources.start.min(sources.len()));
        }
        let sidecar = current.commit(&self.kind, &sources, shard, self.keeps_others)?;
        self.written.push((self.path(self.index), sidecar));
        Ok(())
    }

    /// Puts the last file in place, and returns all with their sidecars.
    pub fn finish(mut self, sources: impl Fn() -> Vec<Value>) -> Result<Vec<(PathBuf, Value)>> {
        if self.current.is_none() {
            return Ok(self.written);
        }
        if let Some(current) = &mut self.current
            && current.is_within_document()
        {
            let end = current.num_tokens;
            current.end_document(end)?;
        }
        while self.count().is_some_and(|count| self.index + 1 < u64::from(count)) {
            self.next(&sources)?;
        }
        self.commit(true, &sources)?;
        if let Some(Shards::Tokens(_)) = self.shards {
            for index in self.index + 1.. {
                let path = self.path(index);
                if !path.exists() {
                    break;
                }
                remove_all(&path)?;
            }
        }
        Ok(self.written)
    }
}

/// The file of a shard: its number stands before the endings that say type and layout.
pub(super) fn shard_path(output: &Path, index: u64, count: Option<u32>) -> PathBuf {
    let (stem, endings) = split_name(output);
    let of = count.map_or(String::new(), |count| format!("-of-{count:05}"));
    output.with_file_name(format!("{stem}-{index:05}{of}{endings}"))
}

fn split_name(output: &Path) -> (String, String) {
    let name = output.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let endings = [".uint16.bin", ".uint32.bin", ".bin", ".npy", ".ds"];
    let ending = endings.into_iter().find(|ending| name.len() > ending.len() && name.ends_with(ending));
    let stem = ending.and_then(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    (stem.to_owned(), ending.unwrap_or_default().to_owned())
}

/// Whether a file of this name is one that a run to `output` writes, whatever its options.
pub(super) fn belongs(output: &Path, name: &str) -> bool {
    let own = output.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let name = COMPANIONS
        .iter()
        .find_map(|companion| name.strip_suffix(companion)?.strip_suffix('.').filter(|name| !name.is_empty()))
        .unwrap_or(name);
    let (stem, endings) = split_name(output);
    let number = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(&*endings));
    let is_number = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    name == own
        || number.is_some_and(|number| match number.split_once("-of-") {
            Some((index, count)) => is_number(index) && is_number(count),
            None => is_number(number),
        })
}

/// The token file to which a file of this name belongs, if that is one of a set cut by this rule.
pub(super) fn is_shard(output: &Path, name: &str, shards: Shards) -> Option<String> {
    let own = output.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem = COMPANIONS.iter().find_map(|companion| name.strip_suffix(companion)?.strip_suffix('.'));
    let file = stem.filter(|stem| belongs(output, stem)).unwrap_or(name);
    let is_one = belongs(output, file) && file != own;
    let counted = match shards {
        Shards::Count(count) => file.contains(&format!("-of-{count:05}")),
        Shards::Tokens(_) => !file.contains("-of-"),
    };
    (is_one && counted).then(|| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shards() {
        let name = |output: &str, count| shard_path(Path::new(output), 3, count).display().to_string();
        assert_eq!(name("a/train.bin", Some(12)), "a/train-00003-of-00012.bin");
        assert_eq!(name("train.uint16.bin", None), "train-00003.uint16.bin");
        assert_eq!(name("train.ds", None), "train-00003.ds");
        assert_eq!(name("train", None), "train-00003");
        assert_eq!(name(".bin", None), ".bin-00003");
    }

    #[test]
    fn names_that_belong_to_a_run() {
        let belongs = |name| belongs(Path::new("a/train.bin"), name);
        for name in [
            "train.bin",
            "train.bin.json",
            "train.bin.docs",
            "train-00000.bin",
            "train-12345-of-99999.bin.json",
        ] {
            assert!(belongs(name), "{name}");
        }
        for name in
            ["train.bin.old", "train-0.bin", "train2.bin", "train-00000.npy", "train.txt", "train-abcde.bin"]
        {
            assert!(!belongs(name), "{name}");
        }
    }
}
