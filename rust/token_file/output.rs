//! One token file while it is written: the ids, the index of documents, and at the end the sidecar.

use super::existing;
use super::layout::{Dtype, Layout};
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};
use flate2::Crc;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What stands beside a token file under some layout, each after the name of the file itself; the sidecar is among them.
pub(super) const COMPANIONS: [&str; 4] = ["json", "docs", "index", "metadata"];

/// What all files of a run have in common.
#[derive(Clone)]
pub(super) struct Kind {
    pub dtype: Dtype,
    pub layout: Layout,
    pub docs: bool,
    pub vocab_size: usize,
    pub tokenizer_sha256: String,
    /// The token that ends documents, as it is spelled.
    pub end_of_document: Option<String>,
}

/// A token file that is being written.
pub(super) struct Output {
    path: PathBuf,
    file: AtomicFile,
    index: Option<AtomicFile>,
    /// Of the ids, so that a reader can find damage.
    checksum: Crc,
    pub num_tokens: u64,
    pub num_documents: u64,
    /// Bytes of text that the ids stand for, tokens between documents not counted.
    pub num_bytes: u64,
    last_document_end: u64,
    /// The first source and the one after the last that the ids come from.
    pub sources: Range<usize>,
}

impl Output {
    pub fn create(path: PathBuf, kind: &Kind, first_source: usize) -> Result<Self> {
        let index = kind.layout.index(kind.docs);
        let index = index.map(|ending| AtomicFile::create(beside(&path, ending))).transpose()?;
        let mut file = AtomicFile::create(&path)?;
        file.append(&kind.layout.header(kind.dtype, 0))?;
        Ok(Output {
            path,
            file,
            index,
            checksum: Crc::new(),
            num_tokens: 0,
            num_documents: 0,
            num_bytes: 0,
            last_document_end: 0,
            sources: first_source..first_source,
        })
    }

    /// Appends ids, as the bytes that the type makes of them, with their checksum.
    pub fn append(&mut self, bytes: &[u8], checksum: &Crc, num_tokens: u64, kind: &Kind) -> Result<()> {
        self.file.append(bytes)?;
        self.checksum.combine(checksum);
        self.num_tokens += num_tokens;
        kind.layout.check_size(&self.path, self.num_tokens)
    }

    /// Notes that ids come from a source, or that it is empty.
    pub fn touch(&mut self, source: usize) {
        self.sources.end = self.sources.end.max(source + 1);
    }

    /// Whether the last document has not ended yet.
    pub fn is_within_document(&self) -> bool {
        self.num_tokens > self.last_document_end
    }

    /// Ends a document after `end` tokens.
    pub fn end_document(&mut self, end: u64) -> Result<()> {
        self.num_documents += 1;
        self.last_document_end = end;
        match &mut self.index {
            Some(index) => index.append(&end.to_le_bytes()),
            None => Ok(()),
        }
    }

    /// Puts the files in place and returns the sidecar: while the token file changes there is no sidecar, which comes last.
    /// With `keeps_others`, a token file that is there stays unless it has the same sidecar.
    pub fn commit(
        mut self,
        kind: &Kind,
        sources: &[Value],
        shard: Option<Value>,
        keeps_others: bool,
    ) -> Result<Value> {
        let mut sidecar = json!({
            "format": "tinybpe-token-file",
            "version": 1,
            "layout": kind.layout.name(),
            "dtype": kind.dtype.name(),
            "num_tokens": self.num_tokens,
            "num_documents": self.num_documents,
            "num_bytes": self.num_bytes,
            "crc32": self.checksum.sum(),
            "end_of_document": kind.end_of_document,
            "vocab_size": kind.vocab_size,
            "tokenizer_sha256": kind.tokenizer_sha256,
            "sources": sources,
        });
        if let Some(shard) = shard {
            sidecar["shard"] = shard;
        }
        if keeps_others {
            existing::check_same(&self.path, &sidecar)?;
        }
        let header = kind.layout.header(kind.dtype, self.num_tokens);
        if !header.is_empty() {
            self.file.replace_start(&header)?;
        }
        let mut sidecar_file = AtomicFile::create(beside(&self.path, "json"))?;
        sidecar_file.append(format!("{sidecar:#}\n").as_bytes())?;
        let mut files = vec![self.file];
        files.extend(self.index);
        if let Some(text) = kind.layout.metadata(kind.dtype, &kind.tokenizer_sha256, self.num_tokens) {
            let mut metadata = AtomicFile::create(beside(&self.path, "metadata"))?;
            metadata.append(text.as_bytes())?;
            files.push(metadata);
        }
        files.push(sidecar_file);
        // All that a full disk can refuse comes before the old files are touched.
        files.iter_mut().try_for_each(AtomicFile::settle)?;
        for companion in COMPANIONS {
            remove(&beside(&self.path, companion))?;
        }
        files.into_iter().try_for_each(AtomicFile::commit)?;
        Ok(sidecar)
    }
}

/// Removes a token file with all that stands beside it, the sidecar first.
pub(super) fn remove_all(path: &Path) -> Result<()> {
    for companion in COMPANIONS {
        remove(&beside(path, companion))?;
    }
    remove(path)
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path)(e)),
        _ => Ok(()),
    }
}

/// The file that belongs to a token file: `x.bin` and `json` make `x.bin.json`.
pub(super) fn beside(output: &Path, kind: &str) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    name.into()
}
