//! What training starts from: the bytes alone, or an existing tokenizer, whose ids all stay.
//!
//! The trainer has ids of its own: the bytes, then tokens in order of creation, as ties need them. Only here are they
//! turned into the ids of the vocabulary, in which new tokens follow after the highest id that there was.

use super::tokens::{Joined, Tokens};
use super::{TieBreak, check_vocab_size};
use crate::error::{Error, Result};
use crate::vocab::{MAX_IDS, Vocab, show};
use crate::word_counts::WordCounts;

/// A tokenizer to go on from.
#[derive(Clone, Copy, Debug)]
pub struct Initial<'a> {
    /// Its tokens, merges and special tokens.
    pub vocab: &'a Vocab,
    /// Its pattern, as [`crate::Pretokenizer::pattern`] gives it.
    pub pattern: &'a str,
}

/// A merge of the trainer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merging {
    pub left: u32,
    pub right: u32,
    pub joined: Joined,
}

/// The start of a training.
pub(super) struct Start {
    vocab: Vocab,
    new_specials: Vec<String>,
    num_new_tokens: usize,
}

impl Start {
    pub fn new(words: &WordCounts, initial: Option<Initial<'_>>, vocab_size: usize) -> Result<Self> {
        let mut new_specials = words.special_tokens().to_vec();
        let Some(Initial { vocab, pattern }) = initial else {
            let num_new_tokens = check_vocab_size(vocab_size, new_specials.len())?;
            return Ok(Start { vocab: Vocab::from_merges(&[], &[])?, new_specials, num_new_tokens });
        };
        let refuse = |reason: String| Err(Error::Training(reason));
        if words.pattern() != pattern {
            return refuse(format!(
                "the words were cut by the pattern `{}`, the initial tokenizer has `{pattern}`; count with its pattern",
                words.pattern()
            ));
        }
        if let Some(token) = vocab.specials().iter().find(|token| !new_specials.contains(&token.content)) {
            return refuse(format!(
                "the counts do not cut out `{}`, a special token of the initial tokenizer; count with all of its special tokens",
                token.content
            ));
        }
        new_specials.retain(|token| vocab.special_id(token).is_none());
        if let Some(token) = new_specials.iter().find(|token| vocab.id_of(token.as_bytes()).is_some()) {
            return refuse(format!(
                "the special token `{token}` is an ordinary token of the initial tokenizer; give it another text"
            ));
        }
        let least = vocab.vocab_size() + new_specials.len();
        let (least_is, greatest) =
            (format!("vocab_size is {vocab_size}, the least is {least}"), MAX_IDS as usize);
        match vocab_size.checked_sub(least) {
            Some(num_new_tokens) if vocab_size <= greatest => {
                Ok(Start { vocab: vocab.clone(), new_specials, num_new_tokens })
            }
            Some(_) => refuse(format!("vocab_size is {vocab_size}, the greatest is {greatest}")),
            None => refuse(format!(
                "{least_is}: {} ids of the initial tokenizer and {} new special tokens",
                vocab.vocab_size(),
                new_specials.len()
            )),
        }
    }

    pub fn num_new_tokens(&self) -> usize {
        self.num_new_tokens
    }

    /// The tokens that there are, and the merges that made them, in order of rank.
    pub fn tokens(&self, tie_break: TieBreak) -> Result<(Tokens, Vec<Merging>)> {
        let mut tokens = Tokens::new(tie_break);
        let mut merges = Vec::with_capacity(self.vocab.merges().len());
        for (rank, merge) in self.vocab.merges().iter().enumerate() {
            let id_of = |id| {
                let bytes = self.vocab.token_bytes(id).unwrap_or_default();
                tokens.id_of(bytes).ok_or_else(|| {
                    let token = show(bytes);
                    Error::Training(format!(
                        "merge {rank} of the initial tokenizer uses {token}, which no earlier merge makes; train a new one"
                    ))
                })
            };
            let (left, right) = (id_of(merge.left)?, id_of(merge.right)?);
            merges.push(Merging { left, right, joined: tokens.join(left, right) });
        }
        match self.ordinary().find(|(_, bytes)| tokens.id_of(bytes).is_none()) {
            None => Ok((tokens, merges)),
            Some((id, bytes)) => Err(Error::Training(format!(
                "no merge of the initial tokenizer makes its token {}, id {id}; train a new one",
                show(bytes)
            ))),
        }
    }

    fn ordinary(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.vocab.tokens().filter(|&(id, _)| !self.vocab.is_special(id))
    }

    /// The vocabulary with the trainer's tokens from `first_new` on and with `merges`, which follow on those it had.
    pub fn finish(&self, tokens: &Tokens, first_new: u32, merges: &[(u32, u32)]) -> Result<Vocab> {
        let bytes = |id: u32| tokens.bytes(id).to_vec();
        let new_ids = u32::try_from(self.vocab.vocab_size()).unwrap_or(MAX_IDS)..;
        let mut all: Vec<_> = self.ordinary().map(|(id, bytes)| (id, bytes.to_vec())).collect();
        all.extend(new_ids.clone().zip((first_new..tokens.len()).map(bytes)));
        let of_vocab = |id| self.vocab.token_bytes(id).unwrap_or_default().to_vec();
        let had = self.vocab.merges().iter().map(|merge| (of_vocab(merge.left), of_vocab(merge.right)));
        let merges: Vec<_> =
            had.chain(merges.iter().map(|&(left, right)| (bytes(left), bytes(right)))).collect();
        let had = self.vocab.specials().iter().map(|token| (token.content.clone(), Some(token.id)));
        let new_ids = new_ids.skip((tokens.len() - first_new) as usize);
        let new = self.new_specials.iter().cloned().zip(new_ids.map(Some));
        Vocab::from_parts(all, &merges, had.chain(new).collect())
    }
}
