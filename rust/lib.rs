//! Byte-level BPE: training, encoding and token files.

pub mod atomic;
pub mod encoder;
pub mod error;
pub mod monitor;
#[doc(hidden)]
pub mod naive;
pub mod pretokenizer;
#[cfg(feature = "python")]
mod py;
pub mod reader;
pub mod special;
pub mod token_file;
pub mod trainer;
pub mod vocab;
pub mod vocab_file;
pub mod word_counts;

pub use encoder::{Encoder, Specials};
pub use error::{Error, Result};
pub use monitor::{Monitor, Phase};
pub use pretokenizer::Pretokenizer;
pub use special::SpecialTokens;
pub use trainer::TieBreak;
pub use vocab::{Merge, SpecialToken, Vocab};
pub use word_counts::WordCounts;
