//! How merging makes each token: which of the merges are ever applied, and which joints between tokens they cross.
//!
//! **Lemma.** Whatever stands beside a token, the merge that makes it is the same: until then no merge crosses its ends, so its
//! bytes are merged as if they stood alone. So of all merges that make one token at most one is ever applied. Call that one
//! *live*; the others may be left out. Files that list every pair that makes a token have twice as many merges as tokens.
//!
//! A token is *reachable* if merging its bytes gives it, and a joint of two reachable tokens *sound* if merging the bytes of
//! both gives the two.
//!
//! **A joint** is checked by going back in time from both tokens: of the two that meet there, the one made later falls into its
//! parts, the outer part of which meets the other. Each two that meet do so over a span of ranks; if their pair is a merge
//! whose rank lies in it, that merge crosses. At one rank the left of two places is merged first.
//!
//! **Live merges** are found by the length of what they make, since all merges within a token make shorter ones: one is live if
//! its parts are reachable, were made before its rank, and have a joint that no merge of lower rank crosses. Merges one of whose
//! parts is made after their rank are left out, which is right only if they are never applied. That is so where the
//! whole token is made before that part: were both parts there, side by side, then all merges of lower rank than the later
//! part's would have been applied to these bytes, and they make the whole token. Otherwise the vocabulary lacks the
//! property that live merges join what live merges of lower rank made, and there is no table.

use super::pairs::{NO_RANK, PairTable};
use super::{Merge, NO_ID, Vocab};
use crate::threads::share;
use std::sync::Arc;

/// Merges that a thread takes at a time.
const MERGES_TAKEN: usize = 4096;

/// How each token is made, and the live merges.
#[derive(Debug)]
pub(crate) struct Derivations {
    tokens: Vec<Derivation>,
    /// The live merges.
    pub pairs: Arc<PairTable>,
}

/// How a token is made.
#[derive(Clone, Copy, Debug)]
struct Derivation {
    left: u32,
    right: u32,
    /// The rank of its merge plus one, 0 for a byte, [`NO_RANK`] for a token that is not reachable.
    made: u32,
    len: u32,
}

impl Derivations {
    /// `None` if the vocabulary lacks the property, merges characters, or has ids so far apart that a table by id would be mostly
    /// empty.
    pub fn new(vocab: &Vocab) -> Option<Self> {
        let merges = vocab.merges();
        if vocab.vocab_size() > 4 * (merges.len() + 512) || vocab.characters().is_some() {
            return None;
        }
        let unknown = Derivation { left: 0, right: 0, made: NO_RANK, len: 0 };
        let mut tokens = vec![unknown; vocab.vocab_size()];
        for id in (0..=255).map(|byte| vocab.byte_id(byte)).filter(|&id| id != NO_ID) {
            tokens[id as usize] = Derivation { made: 0, len: 1, ..unknown };
        }
        let most = merges.len().min(vocab.num_tokens());
        let mut pairs = PairTable::with_capacity(vocab, most);
        let mut lens = vec![0_u32; vocab.vocab_size()];
        vocab
            .tokens()
            .for_each(|(id, bytes)| lens[id as usize] = u32::try_from(bytes.len()).unwrap_or_default());
        let mut by_len: Vec<(u32, u32)> =
            merges.iter().map(|merge| lens[merge.id as usize]).zip(0..).collect();
        by_len.sort_unstable();
        for class in by_len.chunk_by(|a, b| a.0 == b.0) {
            let live = share(class.len(), MERGES_TAKEN, |range| {
                let ranks = class[range].iter().map(|&(_, rank)| rank);
                ranks
                    .filter(|&rank| is_live(&tokens, &pairs, merges[rank as usize], rank))
                    .collect::<Vec<_>>()
            });
            for rank in live.concat() {
                let merge = merges[rank as usize];
                let token = &mut tokens[merge.id as usize];
                if token.made != NO_RANK {
                    return None; // By the lemma this cannot be.
                }
                *token = Derivation { left: merge.left, right: merge.right, made: rank + 1, len: class[0].0 };
                pairs.insert(rank, merge);
            }
        }
        let made = |id: u32| tokens[id as usize].made;
        let are_never_applied = (0..).zip(merges).all(|(rank, merge)| {
            let last_part = made(merge.left).max(made(merge.right));
            // A part that is not reachable is never there.
            last_part == NO_RANK || last_part <= rank || made(merge.id) < last_part
        });
        if !are_never_applied {
            return None;
        }
        pairs.rank_bytes(vocab);
        Some(Derivations { tokens, pairs: Arc::new(pairs) })
    }

    /// Whether merging the bytes of the token with this id, the smallest for its bytes, gives it.
    pub fn is_reachable(&self, id: u32) -> bool {
        self.tokens.get(id as usize).is_some_and(|token| token.made != NO_RANK)
    }

    /// The length of a reachable token.
    #[inline]
    pub fn len(&self, id: u32) -> usize {
        self.tokens[id as usize].len as usize
    }

    /// The live merges, by the ids of what they make.
    pub fn merges(&self) -> impl Iterator<Item = Merge> {
        let is_merged = |(_, token): &(u32, &Derivation)| token.made != NO_RANK && token.made != 0;
        let merge = |(id, token): (u32, &Derivation)| Merge { left: token.left, right: token.right, id };
        (0..).zip(&self.tokens).filter(is_merged).map(merge)
    }

    /// Whether the joint of two reachable tokens is sound.
    pub fn is_sound(&self, left: u32, right: u32) -> bool {
        is_sound(&self.tokens, &self.pairs, (left, right), NO_RANK)
    }
}

fn is_live(tokens: &[Derivation], pairs: &PairTable, merge: Merge, rank: u32) -> bool {
    let made_before = |id: u32| tokens[id as usize].made <= rank;
    let parts = (merge.left, merge.right);
    made_before(merge.left) && made_before(merge.right) && is_sound(tokens, pairs, parts, rank)
}

/// Whether no merge of a rank below `before` crosses the joint of two tokens.
fn is_sound(tokens: &[Derivation], pairs: &PairTable, parts: (u32, u32), before: u32) -> bool {
    let (mut left, mut right) = parts;
    // The ranks at which each goes into the token that it was a part of.
    let (mut left_until, mut right_until) = (before, before);
    loop {
        let rank = pairs.rank(left, right);
        // At the rank of the left one's own merge, that comes first; at the right one's, this does.
        if rank < left_until && rank <= right_until {
            return false;
        }
        let (parts, next_parts) = (tokens[left as usize], tokens[right as usize]);
        if parts.made > next_parts.made {
            left_until = parts.made - 1;
            left = parts.right;
        } else if next_parts.made > 0 {
            right_until = next_parts.made - 1;
            right = next_parts.left;
        } else {
            return true;
        }
    }
}
