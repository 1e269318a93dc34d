//! Byte-level BPE: training, encoding and token files.

pub mod atomic;
pub mod error;
pub mod monitor;
#[doc(hidden)]
pub mod naive;
pub mod vocab;
pub mod vocab_file;

pub use error::{Error, Result};
pub use monitor::{Monitor, Phase};
pub use vocab::{Merge, SpecialToken, Vocab};
