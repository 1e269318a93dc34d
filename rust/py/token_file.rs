//! Options of token files out of Python, and what was written back to it.

use super::convert::{check_threads, existing};
use crate::token_file::{Count, Dtype, Layout, Options, Run, Shards};
use pyo3::prelude::*;
use std::path::PathBuf;

/// A dict of options: every key is there.
#[expect(clippy::struct_excessive_bools, reason = "the arguments of a Python call")]
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct TokenFileOptions {
    num_threads: Option<usize>,
    ordinary: bool,
    end_of_document: Option<String>,
    dtype: Option<String>,
    format: Option<String>,
    docs: bool,
    shards: Option<u32>,
    shard_tokens: Option<u64>,
    resume: bool,
    overwrite: bool,
    also_read: Vec<PathBuf>,
    chunk_bytes: Option<usize>,
}

impl TokenFileOptions {
    /// Checks them; `tokenizer_files` are read too.
    pub fn checked(self, tokenizer_files: &[PathBuf]) -> PyResult<Options> {
        check_threads(self.num_threads)?;
        let shards = self.shards.map(Shards::Count).or(self.shard_tokens.map(Shards::Tokens));
        Ok(Options {
            num_threads: self.num_threads,
            ordinary: self.ordinary,
            end_of_document: self.end_of_document,
            dtype: self.dtype.as_deref().map(Dtype::from_name).transpose()?,
            layout: self.format.as_deref().map(Layout::from_name).transpose()?,
            docs: self.docs,
            shards,
            resume: self.resume,
            existing: existing(self.overwrite),
            also_read: [&self.also_read, tokenizer_files].concat(),
            chunk_bytes: self.chunk_bytes,
        })
    }
}

/// The files of a run, each with its sidecar, as a list of pairs, and how many of them an earlier run had finished.
pub fn listed_files(py: Python<'_>, run: Run) -> PyResult<(Bound<'_, PyAny>, usize)> {
    let loads = py.import("json")?.getattr("loads")?;
    let pairs = run.files.into_iter().map(|(path, sidecar)| Ok((path, loads.call1((sidecar.to_string(),))?)));
    Ok((pairs.collect::<PyResult<Vec<_>>>()?.into_pyobject(py)?.into_any(), run.num_kept))
}

/// Tokens, documents and bytes of text.
pub fn numbers(count: Count) -> (u64, u64, u64) {
    (count.num_tokens, count.num_documents, count.num_bytes)
}
