//! One piece -> ids, without merging: the tokens are found one after the other, and each joint between two is checked.
//!
//! **Lemma.** Whatever stands beside a token, the merge that makes it is the same: until then no merge crosses its ends, so its
//! bytes are merged as if they stood alone. So of all merges that make one token at most one is ever applied. Call that one
//! *live*; the others may be left out. Files that list every pair that makes a token have twice as many merges as tokens.
//!
//! **Theorem.** Let every live merge join two tokens that are single bytes or made by live merges of lower rank. Call a token
//! *reachable* if merging its bytes gives it, and a joint of two reachable tokens *sound* if merging the bytes of both gives
//! the two. Then merging a text gives `t1 ... tn` if and only if these are reachable tokens whose bytes are the text and all
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
//! **A joint** is checked by going back in time from both tokens: of the two that meet there, the one made later falls into its
//! parts, the outer part of which meets the other. Each two that meet do so over a span of ranks; if their pair is a merge
//! whose rank lies in it, that merge crosses. At one rank the left of two places is merged first.
//!
//! Most joints need no look, since [no merge crosses](Crossings) such a place. Others are remembered.
//!
//! **Live merges** are found by the length of what they make, since all merges within a token make shorter ones: one is live if
//! its parts are reachable, were made before its rank, and have a joint that no merge of lower rank crosses. Merges one of whose
//! parts is made after their rank are left out, which is right only if they are never applied. That is so where the
//! whole token is made before that part: were both parts there, side by side, then all merges of lower rank than the later
//! part's would have been applied to these bytes, and they make the whole token. Otherwise the vocabulary lacks the
//! property.
//!
//! Time: for each token a walk through the trie and perhaps a joint; where tokens are taken back, each place in the piece costs
//! at most this much once for each token that begins there. Vocabularies without the properties above, and pieces so
//! long that the bound matters, are merged.

use super::crossings::Crossings;
use super::longest::{NO_TOKEN, Trie};
use super::pairs::{NO_RANK, PairTable};
use crate::piece_key::prefix;
use crate::threads::share;
use crate::vocab::{Merge, Vocab};

/// Longest piece, in bytes, that is encoded here.
pub(super) const LONGEST: usize = 256;
/// Bits of the number of joints remembered: with eight bytes each they stay in the second-level cache.
const MEMO_BITS: u32 = 13;
/// Merges that a thread takes at a time.
const MERGES_TAKEN: usize = 8192;
/// Ids have 31 bits.
const SOUND: u64 = 1 << 63;

/// A vocabulary with the properties that the theorem asks for.
pub(super) struct Joints {
    trie: Trie,
    tokens: Vec<Token>,
    crossings: Crossings,
}

/// How a token is made, by id.
#[derive(Clone, Copy)]
struct Token {
    left: u32,
    right: u32,
    /// The rank of its merge plus one, 0 for a byte.
    made: u32,
    /// The longest reachable token that begins it.
    shorter: u32,
    len: u32,
}

/// One thread's memory of joints: a pair of ids, and in the top bit whether it is [`SOUND`].
pub(super) struct Memo {
    joints: Vec<u64>,
}

impl Default for Memo {
    fn default() -> Self {
        Memo { joints: vec![u64::MAX; 1 << MEMO_BITS] }
    }
}

impl Joints {
    /// With the table of the live merges. `None` if the vocabulary lacks the properties, or has ids so far apart that a table
    /// by id would be mostly empty.
    pub fn new(vocab: &Vocab) -> Option<(Self, PairTable)> {
        let merges = vocab.merges();
        if vocab.vocab_size() > 4 * (merges.len() + 512) {
            return None;
        }
        let unknown = Token { left: 0, right: 0, made: NO_RANK, shorter: NO_TOKEN, len: 0 };
        let mut tokens = vec![unknown; vocab.vocab_size()];
        let mut listed = Vec::with_capacity(vocab.num_tokens());
        for byte in 0..=255 {
            let id = vocab.byte_id(byte);
            tokens[id as usize] = Token { made: 0, len: 1, ..unknown };
            listed.push((vocab.token_bytes(id)?, id));
        }
        let crossings = Crossings::new(merges.len().min(vocab.num_tokens()));
        let mut joints = Joints { trie: Trie::default(), tokens, crossings };
        let pairs = joints.find_live(vocab, &mut listed)?;
        // By an integer first: a comparison of slices is a call.
        listed.sort_by_cached_key(|&(bytes, _)| (prefix(bytes), bytes));
        // The tokens that begin the one at hand, the longest on top.
        let mut begun: Vec<(&[u8], u32)> = Vec::new();
        for &(bytes, id) in &listed {
            while begun.last().is_some_and(|(begin, _)| !bytes.starts_with(begin)) {
                begun.pop();
            }
            joints.tokens[id as usize].shorter = begun.last().map_or(NO_TOKEN, |&(_, id)| id);
            begun.push((bytes, id));
        }
        joints.trie = Trie::new(&listed)?;
        Some((joints, pairs))
    }

    /// Finds the live merges, enters the tokens that they make, and adds these to `listed`.
    fn find_live<'a>(&mut self, vocab: &'a Vocab, listed: &mut Vec<(&'a [u8], u32)>) -> Option<PairTable> {
        let merges = vocab.merges();
        let most = merges.len().min(vocab.num_tokens());
        let mut pairs = PairTable::with_capacity(merges, most);
        let len_of = |merge: &Merge| vocab.token_bytes(merge.id).map_or(0, <[u8]>::len);
        let mut by_len: Vec<(usize, u32)> = merges.iter().map(len_of).zip(0..).collect();
        by_len.sort_unstable();
        for class in by_len.chunk_by(|a, b| a.0 == b.0) {
            let live = share(class.len(), MERGES_TAKEN, |range| {
                let ranks = class[range].iter().map(|&(_, rank)| rank);
                ranks.filter(|&rank| self.is_live(merges[rank as usize], rank, &pairs)).collect::<Vec<_>>()
            });
            for rank in live.concat() {
                let merge = merges[rank as usize];
                let (left, right) = vocab.parts(merge);
                let token = &mut self.tokens[merge.id as usize];
                if token.made != NO_RANK {
                    return None; // By the lemma this cannot be.
                }
                let len = u32::try_from(class[0].0).ok()?;
                *token = Token { left: merge.left, right: merge.right, made: rank + 1, len, ..*token };
                pairs.insert(rank, merge);
                self.crossings.insert(left, right);
                listed.push((vocab.token_bytes(merge.id)?, merge.id));
            }
        }
        let made = |id: u32| self.tokens[id as usize].made;
        let left_out = (0..).zip(merges).all(|(rank, merge)| {
            let last_part = made(merge.left).max(made(merge.right));
            // A part that is not reachable is never there.
            last_part == NO_RANK || last_part <= rank || made(merge.id) < last_part
        });
        pairs.rank_bytes(vocab);
        left_out.then_some(pairs)
    }

    fn is_live(&self, merge: Merge, rank: u32, pairs: &PairTable) -> bool {
        let made_before = |id: u32| self.tokens[id as usize].made <= rank;
        made_before(merge.left)
            && made_before(merge.right)
            && self.is_sound(merge.left, merge.right, rank, pairs)
    }

    /// Whether no merge of a rank below `before` crosses the joint of two tokens.
    fn is_sound(&self, mut left: u32, mut right: u32, before: u32, pairs: &PairTable) -> bool {
        // The ranks at which each goes into the token that it was a part of.
        let (mut left_until, mut right_until) = (before, before);
        loop {
            let rank = pairs.rank(left, right);
            // At the rank of the left one's own merge, that comes first; at the right one's, this does.
            if rank < left_until && rank <= right_until {
                return false;
            }
            let (parts, next_parts) = (self.tokens[left as usize], self.tokens[right as usize]);
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

    /// [`Joints::is_sound`] for whole tokens, remembered.
    #[inline]
    fn is_sound_joint(&self, left: u32, right: u32, pairs: &PairTable, memo: &mut Memo) -> bool {
        let pair = u64::from(left) << 32 | u64::from(right);
        let mixed = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = &mut memo.joints[((mixed ^ mixed << 32) >> (64 - MEMO_BITS)) as usize];
        if *place & !SOUND != pair {
            let sound = self.is_sound(left, right, NO_RANK, pairs);
            *place = pair | if sound { SOUND } else { 0 };
        }
        *place & SOUND != 0
    }

    /// Appends the ids of `piece`, which has 1 to [`LONGEST`] bytes. `false`, with `ids` as it was, if there are none:
    /// that cannot be.
    #[allow(clippy::cast_possible_truncation)] // places are at most LONGEST
    pub fn encode(&self, piece: &[u8], pairs: &PairTable, memo: &mut Memo, ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        // Bit `i`: what follows place `i` was tried in vain.
        let mut in_vain = [0_u64; LONGEST / 64 + 1];
        let mut at = 0;
        let (mut token, mut len) = self.trie.longest(piece);
        loop {
            let end = at + len;
            if in_vain[end / 64] >> (end % 64) & 1 == 0
                && (at == 0
                    || !self.crossings.may_merge(piece, at)
                    || self.is_sound_joint(ids[ids.len() - 1], token, pairs, memo))
            {
                ids.push(token);
                if end == piece.len() {
                    return true;
                }
                at = end;
                (token, len) = self.trie.longest(&piece[at..]);
                continue;
            }
            // The next shorter token, here or at an earlier place.
            token = self.tokens[token as usize].shorter;
            while token == NO_TOKEN {
                in_vain[at / 64] |= 1 << (at % 64);
                if ids.len() == before {
                    return false;
                }
                let last = ids.pop().unwrap_or_default();
                at -= self.tokens[last as usize].len as usize;
                token = self.tokens[last as usize].shorter;
            }
            len = self.tokens[token as usize].len as usize;
        }
    }
}
