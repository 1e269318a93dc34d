//! A definition as bytes that this very build reads back: what a pickle carries to other processes.
//!
//! Files of other formats hold less: none has ranks that merges share, or two ids for one byte string.

use super::{Definition, Pipeline};
use crate::error::{Error, Result};
use crate::vocab::{Characters, Merge, Vocab};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Serialize, Deserialize)]
struct State {
    pattern: String,
    pipeline: Pipeline,
    /// Ids and lengths of the ordinary tokens, whose bytes follow after the JSON.
    tokens: Vec<(u32, usize)>,
    merges: Vec<(u32, u32, u32)>,
    ranks: Vec<u32>,
    specials: Vec<(String, u32)>,
    /// Special tokens that decode to other bytes than their text.
    decoded: Vec<(u32, Vec<u8>)>,
    characters: Option<(Vec<u32>, Option<u32>, bool, bool)>,
}

impl Definition {
    /// All of it as bytes.
    #[must_use]
    pub fn to_state(&self) -> Vec<u8> {
        let vocab = &self.vocab;
        let is_byte = |id| vocab.characters().is_some_and(|characters| characters.is_byte(id));
        let tokens: Vec<_> =
            vocab.tokens().filter(|&(id, _)| vocab.is_ordinary(id) && !is_byte(id)).collect();
        let characters = vocab.characters().map(|characters| {
            let bytes = characters.byte_ids.iter().flat_map(|ids| ids.iter().copied()).collect();
            (bytes, characters.unknown, characters.fuse_unknown, characters.writes_spaces)
        });
        let num_ranks = if vocab.has_shared_ranks() { vocab.merges().len() } else { 0 };
        let state = State {
            pattern: self.pattern.clone(),
            pipeline: self.pipeline.clone(),
            tokens: tokens.iter().map(|(id, bytes)| (*id, bytes.len())).collect(),
            merges: vocab.merges().iter().map(|merge| (merge.left, merge.right, merge.id)).collect(),
            ranks: (0..num_ranks).map(|merge| vocab.rank(merge)).collect(),
            specials: vocab.specials().iter().map(|special| (special.content.clone(), special.id)).collect(),
            decoded: vocab
                .specials()
                .iter()
                .filter(|special| !vocab.is_ordinary(special.id))
                .filter_map(|special| Some((special, vocab.token_bytes(special.id)?)))
                .filter(|(special, bytes)| special.content.as_bytes() != *bytes)
                .map(|(special, bytes)| (special.id, bytes.to_vec()))
                .collect(),
            characters,
        };
        let json = serde_json::to_vec(&state).unwrap_or_default();
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json);
        for (_, token) in tokens {
            bytes.extend_from_slice(token);
        }
        bytes
    }

    /// Reads what [`Definition::to_state`] gave.
    ///
    /// # Errors
    /// [`Error::Vocab`] if the bytes are something else.
    pub fn from_state(state: &[u8]) -> Result<Self> {
        let damaged = || Error::Vocab("the pickled tokenizer is damaged, or of another version".into());
        let (len, rest) = state.split_first_chunk().ok_or_else(damaged)?;
        let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| damaged())?;
        let (json, mut bytes) = rest.split_at_checked(len).ok_or_else(damaged)?;
        let state: State = serde_json::from_slice(json).map_err(|_| damaged())?;
        let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(state.tokens.len());
        for (id, len) in state.tokens {
            let (token, rest) = bytes.split_at_checked(len).ok_or_else(damaged)?;
            tokens.push((id, token.into()));
            bytes = rest;
        }
        let merges = state.merges.into_iter().map(|(left, right, id)| Merge { left, right, id }).collect();
        let specials = state.specials.into_iter().map(|(content, id)| (content, Some(id))).collect();
        let vocab = match state.characters {
            None => Vocab::build_by_ids(tokens, merges, state.ranks, specials),
            Some((bytes, unknown, fuse_unknown, writes_spaces)) => {
                let byte_ids = Box::<[u32; 256]>::try_from(bytes.into_boxed_slice()).ok();
                let characters = Characters { byte_ids, unknown, writes_spaces, fuse_unknown };
                Vocab::of_characters(tokens, merges, state.ranks, characters, specials)
            }
        };
        let vocab = vocab.map_err(|flaw| flaw.error)?.with_decoded(state.decoded);
        Ok(Definition { vocab, pattern: state.pattern, pipeline: state.pipeline })
    }
}
