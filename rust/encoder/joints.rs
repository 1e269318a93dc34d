//! One piece -> ids, without merging: the tokens are found one after the other, and each joint between two is checked.
//!
//! Live merges, reachable tokens and sound joints are those of [`Derivations`].
//!
//! **Theorem.** Let every live merge join two tokens that are single bytes or made by live merges of lower rank. Then merging
//! a text gives `t1 ... tn` if and only if these are reachable tokens whose bytes are the text and all
//! joints are sound.
//!
//! *Proof.* A merge makes only pairs of higher rank, so merging goes through the ranks in order and replaces each pair
//! from left to right. As long as no merge crosses a place in the text, what lies left and right of it is merged as if it
//! stood alone; so if the result has a joint there, each side's result is that of the side alone (this is "only if",
//! used twice: for the tokens and for the two sides of a joint). For "if" add the tokens one by one: let merging give
//! `t1 ... ti` for a text and `t` for another. The first merge across the place between the two joins the last token of
//! the left at that moment with the first of the right. Until then both sides are merged as if alone, so these two stand
//! within `ti` and `t`, and are there at the same moment when `ti` and `t` alone are merged, which contains the same
//! merge: the joint of `ti` and `t` is not sound. If it is, nothing crosses. ∎
//!
//! **Algorithm.** So the ids are found from left to right: the longest token that follows and has a sound joint with the one
//! before; where none does, the last token is taken back for a shorter one. The tokens that lead to a place are those of
//! the text up to there, only one way, so a place that was left once is never tried again. The right choice is nearly
//! always the first.
//!
//! Most joints need no look, since [no merge crosses](Crossings) such a place. Others are remembered.
//!
//! Time: for each token a walk through the trie and perhaps a joint; where tokens are taken back, each place in the piece costs
//! at most this much once for each token that begins there. Vocabularies without the properties above are merged, and so is
//! a piece in which more than a few tokens for each byte were tried in vain: so the time is linear.

use super::crossings::Crossings;
use super::longest::{NO_TOKEN, Trie};
use crate::piece_key::prefix;
use crate::vocab::derivations::Derivations;
use crate::vocab::{NO_ID, Vocab};
use std::sync::Arc;

/// Most tokens tried in vain for each byte of a piece, and those that are always free.
const MOST_IN_VAIN: (usize, usize) = (4, 1 << 10);
/// Bits of the number of joints remembered: with eight bytes each they stay in the second-level cache.
const MEMO_BITS: u32 = 13;
/// Ids have 31 bits.
const SOUND: u64 = 1 << 63;

/// A vocabulary with the property that the theorem asks for.
pub(super) struct Joints {
    derivations: Arc<Derivations>,
    trie: Trie,
    /// By id, the longest reachable token that begins it.
    shorter: Vec<u32>,
    crossings: Crossings,
    /// Whether no token is longer than [`SHORT`].
    are_short: bool,
}

/// Bytes of a piece, or of all tokens, from which on a walk through the trie may take too long: where tokens of thousands of
/// bytes overlap in a piece, walks that lead nowhere would take that much for each token.
const SHORT: usize = 256;

/// One thread's memory.
pub(super) struct Memo {
    /// Joints: a pair of ids, and in the top bit whether it is [`SOUND`].
    joints: Vec<u64>,
    /// Bit `i`: what follows place `i` of the piece was tried in vain. Has no bits between two pieces.
    in_vain: Vec<u64>,
}

impl Default for Memo {
    fn default() -> Self {
        Memo { joints: vec![u64::MAX; 1 << MEMO_BITS], in_vain: Vec::new() }
    }
}

impl Joints {
    /// `None` if the vocabulary is too large for the trie.
    pub fn new(vocab: &Vocab, derivations: &Arc<Derivations>) -> Option<Self> {
        let mut crossings = Crossings::new(vocab.num_tokens());
        let mut listed = Vec::with_capacity(vocab.num_tokens());
        for id in (0..=255).map(|byte| vocab.byte_id(byte)).filter(|&id| id != NO_ID) {
            listed.push((vocab.token_bytes(id)?, id));
        }
        for merge in derivations.merges() {
            let (bytes, left_len) = (vocab.token_bytes(merge.id)?, derivations.len(merge.left));
            let (left, right) = bytes.split_at_checked(left_len)?;
            crossings.insert(left, right);
            listed.push((bytes, merge.id));
        }
        // By an integer first: a comparison of slices is a call.
        listed.sort_by_cached_key(|&(bytes, _)| (prefix(bytes), bytes));
        let mut shorter = vec![NO_TOKEN; vocab.vocab_size()];
        // The tokens that begin the one at hand, the longest on top.
        let mut begun: Vec<(&[u8], u32)> = Vec::new();
        for &(bytes, id) in &listed {
            while begun.last().is_some_and(|(begin, _)| !bytes.starts_with(begin)) {
                begun.pop();
            }
            shorter[id as usize] = begun.last().map_or(NO_TOKEN, |&(_, id)| id);
            begun.push((bytes, id));
        }
        let trie = Trie::new(&listed)?;
        let are_short = listed.iter().all(|(bytes, _)| bytes.len() <= SHORT);
        Some(Joints { derivations: derivations.clone(), trie, shorter, crossings, are_short })
    }

    /// Whether a joint is sound, remembered.
    #[inline]
    fn is_sound(&self, left: u32, right: u32, memo: &mut Memo) -> bool {
        let pair = u64::from(left) << 32 | u64::from(right);
        let mixed = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = &mut memo.joints[((mixed ^ mixed << 32) >> (64 - MEMO_BITS)) as usize];
        if *place & !SOUND != pair {
            let sound = self.derivations.is_sound(left, right);
            *place = pair | if sound { SOUND } else { 0 };
        }
        *place & SOUND != 0
    }

    /// Appends the ids of `piece`, which is not empty. `false`, with `ids` as it was, if too much was tried in vain.
    pub fn encode(&self, piece: &[u8], memo: &mut Memo, ids: &mut Vec<u32>) -> bool {
        if piece.len() > SHORT && !self.are_short {
            return false;
        }
        let before = ids.len();
        let found = self.find(piece, memo, ids);
        if !found {
            ids.truncate(before);
        }
        if !memo.in_vain.is_empty() {
            memo.in_vain.clear();
            // A huge piece does not leave its memory behind.
            memo.in_vain.shrink_to(1 << 10);
        }
        found
    }

    #[inline]
    fn find(&self, piece: &[u8], memo: &mut Memo, ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        let mut num_tried = 0;
        let mut at = 0;
        let (mut token, mut len) = self.trie.longest(piece);
        loop {
            let end = at + len;
            if memo.in_vain.get(end / 64).is_none_or(|bits| bits >> (end % 64) & 1 == 0)
                && (at == 0
                    || !self.crossings.may_merge(piece, at)
                    || self.is_sound(ids[ids.len() - 1], token, memo))
            {
                ids.push(token);
                if end == piece.len() {
                    return true;
                }
                at = end;
                (token, len) = self.trie.longest(&piece[at..]);
                continue;
            }
            num_tried += 1;
            if num_tried > MOST_IN_VAIN.0 * piece.len() + MOST_IN_VAIN.1 {
                return false;
            }
            // The next shorter token, here or at an earlier place.
            token = self.shorter[token as usize];
            while token == NO_TOKEN {
                memo.in_vain.resize(piece.len() / 64 + 1, 0);
                memo.in_vain[at / 64] |= 1 << (at % 64);
                if ids.len() == before {
                    return false; // that cannot be
                }
                let last = ids.pop().unwrap_or_default();
                at -= self.derivations.len(last);
                token = self.shorter[last as usize];
            }
            len = self.derivations.len(token);
        }
    }
}
