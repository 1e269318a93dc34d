//! How ids lie in a file: their integer type, and the layouts that trainers read.
//!
//! | layout | bytes before the ids | files beside it | read by |
//! |---|---|---|---|
//! | `bin` | none | `.docs` on request | nanoGPT and its descendants, `lm` |
//! | `npy` | a header of version 1.0, padded to 128 bytes | `.docs` on request | `numpy.load`, mapped too |
//! | `llm.c` | 256 int32: magic number, version, number of tokens | `.docs` on request | llm.c, modded-nanogpt |
//! | `datatrove` | none | `.index` (document ends), `.metadata` | datatrove, nanotron's Nanosets |
//!
//! All ids are little-endian, all document ends uint64 token offsets. Headers have a fixed size, so a file is written in one
//! pass and its header once more at the end, when the number of tokens is known.

use crate::encoder::Id;
use crate::error::{Error, Result};
use std::path::Path;

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

    /// Bytes of an id.
    pub(super) fn item_bytes(self) -> u64 {
        match self {
            Dtype::Uint16 => 2,
            Dtype::Uint32 => 4,
        }
    }

    /// The type for a file: the one asked for, else the one that its name ends in, else the smallest.
    pub(super) fn choose(path: &Path, asked: Option<Dtype>, vocab_size: usize) -> Result<Self> {
        let refuse = |reason: String| Err(Error::TokenFile { path: path.into(), reason });
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let named =
            name.strip_suffix(".bin").and_then(|stem| stem.rsplit_once('.')).map(|(_, ending)| ending);
        let is_type = |ending: &&str| {
            let bits = ["uint", "int", "float"].into_iter().find_map(|kind| ending.strip_prefix(kind));
            bits.is_some_and(|bits| !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()))
        };
        let named = match named.filter(is_type) {
            Some("uint16") => Some(Dtype::Uint16),
            Some("uint32") => Some(Dtype::Uint32),
            Some(other) => {
                return refuse(format!(
                    "the name says {other}, and ids are uint16 or uint32; give another name"
                ));
            }
            None => None,
        };
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

    pub(super) fn append(self, ids: &[u32], bytes: &mut Vec<u8>) {
        match self {
            // `choose` made sure that every id fits.
            Dtype::Uint16 => bytes.extend(ids.iter().flat_map(|&id| u16::of(id).to_le_bytes())),
            Dtype::Uint32 => bytes.extend(ids.iter().flat_map(|&id| id.to_le_bytes())),
        }
    }
}

/// Where in a file the ids lie, and what stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The ids alone.
    #[default]
    Bin,
    /// One array as `NumPy` saves it.
    Npy,
    /// The header of llm.c before the ids.
    LlmC,
    /// The ids alone, an index and a line of facts beside them.
    Datatrove,
}

impl Layout {
    const ALL: [Layout; 4] = [Layout::Bin, Layout::Npy, Layout::LlmC, Layout::Datatrove];

    /// `bin`, `npy`, `llm.c` or `datatrove`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Layout::Bin => "bin",
            Layout::Npy => "npy",
            Layout::LlmC => "llm.c",
            Layout::Datatrove => "datatrove",
        }
    }

    /// The layout called `name`.
    ///
    /// # Errors
    /// [`Error::Vocab`] for any other name.
    pub fn from_name(name: &str) -> Result<Self> {
        Layout::ALL.into_iter().find(|layout| layout.name() == name).ok_or_else(|| {
            Error::Vocab(format!(
                "format `{name}` is not one of {}",
                Layout::ALL.map(Layout::name).join(", ")
            ))
        })
    }

    /// The layout for a file: the one asked for, else the one that its name ends in, else the ids alone.
    pub(super) fn choose(path: &Path, asked: Option<Layout>) -> Result<Self> {
        let named = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Some(Layout::Npy),
            Some("ds") => Some(Layout::Datatrove),
            _ => None,
        };
        if asked == Some(Layout::Npy) && path.extension().is_some_and(|extension| extension == "bin") {
            let reason = "the name says ids alone, asked for was npy; give a name that ends in .npy".into();
            return Err(Error::TokenFile { path: path.into(), reason });
        }
        match (asked, named) {
            (Some(asked), Some(named)) if asked != named => Err(Error::TokenFile {
                path: path.into(),
                reason: format!("the name says {}, asked for was {}", named.name(), asked.name()),
            }),
            _ => Ok(asked.or(named).unwrap_or_default()),
        }
    }

    /// What stands before `num_tokens` ids; its size does not depend on them.
    pub(super) fn header(self, dtype: Dtype, num_tokens: u64) -> Vec<u8> {
        match self {
            Layout::Bin | Layout::Datatrove => Vec::new(),
            Layout::Npy => {
                let shape = format!(
                    "{{'descr': '<u{}', 'fortran_order': False, 'shape': ({num_tokens},), }}",
                    dtype.item_bytes()
                );
                let mut header = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
                header.extend(format!("{shape:<117}\n").bytes());
                header
            }
            Layout::LlmC => {
                let (magic, version) = match dtype {
                    Dtype::Uint16 => (20_240_520_u32, 1),
                    Dtype::Uint32 => (20_240_801, 7),
                };
                let mut header = vec![0; 1024];
                // `check_size` keeps the number within its 32 bits.
                let count = u32::try_from(num_tokens).unwrap_or_default();
                for (place, number) in header.chunks_exact_mut(4).zip([magic, version, count]) {
                    place.copy_from_slice(&number.to_le_bytes());
                }
                header
            }
        }
    }

    /// Refuses more tokens than the header can count.
    pub(super) fn check_size(self, path: &Path, num_tokens: u64) -> Result<()> {
        const MOST: u64 = i32::MAX as u64;
        if self == Layout::LlmC && num_tokens > MOST {
            let reason = format!(
                "the header of llm.c counts at most {MOST} tokens, and there are more; write several files (shards)"
            );
            return Err(Error::TokenFile { path: path.into(), reason });
        }
        Ok(())
    }

    /// The ending of the file of document ends, if there is to be one.
    pub(super) fn index(self, docs: bool) -> Option<&'static str> {
        match self {
            Layout::Datatrove => Some("index"),
            _ => docs.then_some("docs"),
        }
    }

    /// What datatrove writes beside its files: tokenizer and bytes per token, the count, and the count for people.
    pub(super) fn metadata(self, dtype: Dtype, tokenizer_sha256: &str, num_tokens: u64) -> Option<String> {
        if self != Layout::Datatrove {
            return None;
        }
        let digest = tokenizer_sha256.get(..12).unwrap_or(tokenizer_sha256);
        #[allow(clippy::cast_precision_loss)] // three digits are shown
        let (mut amount, mut unit) = (num_tokens as f64, "");
        for larger in ["k", "M", "G", "T"] {
            if amount < 1000.0 {
                break;
            }
            (amount, unit) = (amount / 1000.0, larger);
        }
        Some(format!("tinybpe-{digest}|{}\n{num_tokens}\n{amount:.3} {unit}T", dtype.item_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_a_fixed_size() {
        for (layout, bytes) in
            [(Layout::Bin, 0), (Layout::Npy, 128), (Layout::LlmC, 1024), (Layout::Datatrove, 0)]
        {
            for num_tokens in [0, 9, 1 << 30, i32::MAX as u64] {
                assert_eq!(layout.header(Dtype::Uint16, num_tokens).len(), bytes, "{layout:?}");
            }
            assert_eq!(Layout::from_name(layout.name()).unwrap(), layout);
        }
        assert!(Layout::Npy.header(Dtype::Uint32, u64::MAX).len() == 128);
        assert!(Layout::LlmC.check_size(Path::new("x"), 1 << 31).is_err());
        assert!(Layout::Bin.check_size(Path::new("x"), 1 << 31).is_ok());
    }

    #[test]
    fn names_choose_layouts() {
        let choose = |name: &str, asked| Layout::choose(Path::new(name), asked);
        assert_eq!(choose("x.bin", None).unwrap(), Layout::Bin);
        assert_eq!(choose("x.npy", None).unwrap(), Layout::Npy);
        assert_eq!(choose("x.ds", Some(Layout::Datatrove)).unwrap(), Layout::Datatrove);
        assert_eq!(choose("x.bin", Some(Layout::LlmC)).unwrap(), Layout::LlmC);
        assert!(choose("x.npy", Some(Layout::Bin)).is_err());
        assert!(choose("x.bin", Some(Layout::Npy)).is_err());
    }

    #[test]
    fn names_choose_types() {
        let choose = |name: &str| Dtype::choose(Path::new(name), None, 300);
        assert_eq!(choose("x.uint32.bin").unwrap(), Dtype::Uint32);
        assert_eq!(choose("x.stories.bin").unwrap(), Dtype::Uint16);
        assert_eq!(choose("x.int.bin").unwrap(), Dtype::Uint16);
        assert_eq!(choose("x.uint8").unwrap(), Dtype::Uint16);
        for name in ["x.uint8.bin", "x.int32.bin", "x.uint64.bin", "x.float16.bin"] {
            assert!(choose(name).is_err(), "{name}");
        }
    }
}
