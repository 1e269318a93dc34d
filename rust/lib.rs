//! Byte-level BPE: training, encoding and token files.

pub mod error;
pub mod monitor;
pub mod pretokenizer;

pub use error::{Error, Result};
pub use monitor::{Monitor, Phase};
pub use pretokenizer::Pretokenizer;
