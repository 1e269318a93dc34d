//! One error type for the whole crate: a variant per cause, each with the value, the limit and the remedy.

use std::{io, path::PathBuf};

/// What can go wrong. The text of each variant is what a user reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A pretokenizer pattern that cannot be used.
    #[error("pattern `{pattern}`: {reason}")]
    Pattern {
        /// The regex as given.
        pattern: String,
        /// The cause.
        reason: String,
    },
    /// A list of special tokens that cannot be used, or text that holds one where none is allowed.
    #[error("{0}")]
    SpecialToken(String),
    /// An id that the vocabulary does not have.
    #[error("unknown token id {id} at position {position}; the vocabulary has {vocab_size} ids, from 0 to {}", vocab_size - 1)]
    UnknownToken {
        /// The id.
        id: i64,
        /// Its index in the list given.
        position: usize,
        /// Ids in the vocabulary.
        vocab_size: usize,
    },
    /// A vocabulary that breaks a rule: two ids for one merge, a byte missing, …
    #[error("{0}")]
    Vocab(String),
    /// A vocabulary file that cannot be read.
    #[error("{}{}: {reason}", path.display(), line.map_or(String::new(), |l| format!(", line {l}")))]
    VocabFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where the format has lines.
        line: Option<usize>,
        /// The cause.
        reason: String,
    },
    /// An input that is not what it was said to be.
    #[error("{}{}: {reason}", path.display(), line.map_or(String::new(), |l| format!(", line {l}")))]
    Input {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where the format has lines.
        line: Option<u64>,
        /// The cause.
        reason: String,
    },
    /// A training request that cannot be met.
    #[error("{0}")]
    Training(String),
    /// An output where a file is that would be lost.
    #[error("{}: {reason}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A token file that cannot be written or read.
    #[error("{}: {reason}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Ties an operating system error to the file that it concerns.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
