//! Byte-level BPE: training, encoding and token files.
//!
//! ```text
//! files -reader-> chunks -pretokenizer-> pieces -word_counts-> word counts -trainer-> merges -vocab_file-> vocabulary files
//! vocabulary files -vocab, encoder-> token ids -token_file-> token file
//! ```
//!
//! **Ids.** 0 to 255 are the bytes, merge `k` makes id `256 + k`, special tokens follow in the order given.
//!
//! **Training** merges the pair of neighbours with the highest count; ties go to the lexicographically greatest pair of byte
//! strings, or as `tokenizers` decides them ([`TieBreak`]). It stops early when no pair is left. Counts are exact to 2^63.
//!
//! **Encoding** merges, within each piece, the pair of lowest rank, the leftmost first.
//!
//! **Text** is bytes. Special tokens are cut out first, leftmost-longest; each run of valid UTF-8 between them is split by the
//! pattern, and every other byte is a piece of its own. Nothing is normalised, nothing is lost. A tokenizer of another library
//! does what its file says around that: [`pipeline`] names the steps, [`normalizer`] changes text, [`vocab_file`] reads them.
//!
//! **Costs.** All stages take time linear in the text, whatever the text, and spread over threads; the result never depends
//! on the number of threads. Training keeps the distinct words in memory, encoding a file a few chunks per thread.
//!
//! No function panics on user input; every failure is an [`enum@Error`] with value, limit and remedy. Long calls take a
//! [`Monitor`], through which another thread sees how far they are and can stop them.

pub mod atomic;
mod cpu;
pub mod cutter;
pub mod encoder;
pub mod error;
mod huge_pages;
pub mod monitor;
#[doc(hidden)]
pub mod naive;
pub mod normalizer;
mod piece_key;
pub mod pipeline;
pub mod pretokenizer;
#[cfg(feature = "python")]
mod py;
pub mod reader;
pub mod special;
mod threads;
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
