//! How text becomes ids where merging begins with characters, as in SentencePiece, and not with bytes.

use super::NO_ID;
use std::sync::Arc;

/// What stands for a space in SentencePiece's vocabularies.
pub(super) const SPACE: &str = "\u{2581}";

/// What stands for a character that is no token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Characters {
    /// The tokens of its bytes (`byte_fallback`), by byte.
    pub byte_ids: Option<Box<[u32; 256]>>,
    /// Without those, the unknown token.
    pub unknown: Option<u32>,
    /// Whether files write spaces as `▁`, in special tokens as well.
    pub writes_spaces: bool,
    /// Whether unknown characters side by side are one unknown token.
    pub fuse_unknown: bool,
}

impl Characters {
    /// The tokens of bytes.
    pub(super) fn byte_tokens(&self) -> Vec<(u32, Arc<[u8]>)> {
        let ids = self.byte_ids.iter().flat_map(|ids| ids.iter());
        ids.zip(0_u8..=255).map(|(&id, byte)| (id, [byte].into())).collect()
    }

    /// Whether this is the token of a byte.
    #[must_use]
    pub fn is_byte(&self, id: u32) -> bool {
        self.byte_ids.as_ref().is_some_and(|ids| ids.contains(&id))
    }

    /// All of it as numbers, one after the other.
    pub(super) fn hash(&self, add: &mut impl FnMut(u32)) {
        self.byte_ids.iter().flat_map(|ids| ids.iter()).for_each(|&id| add(id));
        add(self.unknown.unwrap_or(NO_ID));
        add(u32::from(self.fuse_unknown));
    }
}
