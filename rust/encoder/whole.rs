//! Pieces that are tokens whatever the merges would make of them: tiktoken's first rule, and `ignore_merges`.
//!
//! Where merging a token's bytes gives the token, the rule changes nothing. Of real vocabularies some hundred tokens are not
//! made so, and only those are looked up.

use crate::vocab::Vocab;
use rustc_hash::FxHashMap;

/// Which pieces are looked up before they are merged.
pub(super) enum WholePieces {
    /// None.
    None,
    /// Those that merging does not give, up to the longest of them.
    Some(FxHashMap<Box<[u8]>, u32>, usize),
    /// All.
    All,
}

impl WholePieces {
    pub fn new(vocab: &Vocab) -> Self {
        let Some(derivations) = vocab.derivations() else { return WholePieces::All };
        let is_apart =
            |&(id, bytes): &(u32, &[u8])| vocab.id_of(bytes) == Some(id) && !derivations.is_reachable(id);
        let apart: FxHashMap<Box<[u8]>, u32> =
            vocab.tokens().filter(is_apart).map(|(id, bytes)| (bytes.into(), id)).collect();
        let longest = apart.keys().map(|bytes| bytes.len()).max().unwrap_or(0);
        WholePieces::Some(apart, longest)
    }

    #[inline]
    pub fn id_of(&self, vocab: &Vocab, piece: &[u8]) -> Option<u32> {
        match self {
            WholePieces::Some(apart, longest) if piece.len() <= *longest => apart.get(piece).copied(),
            WholePieces::None | WholePieces::Some(..) => None,
            WholePieces::All => vocab.id_of(piece),
        }
    }
}
