//! A vocabulary of pieces with scores, as SentencePiece trains it, whatever file it stands in.
//!
//! Of two neighbours that spell a piece, those with the highest score are joined first, the leftmost of equal ones
//! (<https://github.com/google/sentencepiece>, `bpe_model.cc`). So every pair that spells a piece is a merge, ranked by the
//! piece's score; pieces of one score, such as runs of spaces, share a rank.

use super::refuse;
use crate::{
    error::Result,
    normalizer::{Normalizer, Step, Wanted},
    pipeline::{AddedToken, Definition, Pipeline, Prefix, PrefixPlace, Template},
    vocab::{Characters, Flaw, Merge, Vocab, show},
};
use rustc_hash::FxHashMap;
use std::{path::Path, sync::Arc};

/// What stands for a space.
const SPACE: &str = "\u{2581}";
/// Words of a vocabulary in which no piece holds a space behind another character: no merge crosses from a word to the space
/// before the next.
pub const WORDS: &str = " *[^ ]+| +";
/// A text that is not split is one piece.
pub const ONE_PIECE: &str = "(?s:.)+";

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Unknown,
    /// It never stands in text.
    Control,
    /// It is a token wherever it stands in text.
    UserDefined,
    /// A byte of a character that is no piece, such as `<0x0A>`.
    Byte,
    /// It is made by merging and then taken apart again.
    Unused,
}

/// A piece; its place in the list is its id.
#[derive(Clone, Debug)]
pub struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: Kind,
}

/// What else a file says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A space is put before a text, and taken off when decoding.
    pub add_dummy_prefix: bool,
    /// Runs of spaces become one, those at the ends go.
    pub remove_extra_whitespaces: bool,
    /// What the unknown token decodes to.
    pub unknown_text: String,
    /// The token that begins a text, for callers who ask for it.
    pub begin: Option<u32>,
}

/// The tokenizer of these pieces.
pub fn definition(path: &Path, pieces: &[Piece], settings: Settings) -> Result<Definition> {
    let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(pieces.len());
    let mut ids: FxHashMap<String, u32> = FxHashMap::default();
    let mut scores = Vec::new();
    let mut byte_ids = [None; 256];
    let (mut unknown, mut added) = (None, Vec::new());
    for (id, piece) in (0_u32..).zip(pieces) {
        let shown = || format!("the piece {} (id {id})", show(piece.text.as_bytes()));
        if piece.text.contains(' ') && piece.kind != Kind::Control {
            let reason = format!(
                "{} has a space, which is written as `{SPACE}`, so no text ever becomes it; not supported",
                shown()
            );
            return refuse(path, None, reason);
        }
        let text = piece.text.replace(SPACE, " ");
        match piece.kind {
            Kind::Normal => {
                if text.is_empty() || piece.score.is_nan() {
                    return refuse(path, None, format!("{} is empty, or has no score", shown()));
                }
                scores.push(piece.score);
                if let Some(first) = ids.insert(text.clone(), id) {
                    return refuse(path, None, format!("{} is there twice, first with id {first}", shown()));
                }
                tokens.push((id, text.into_bytes().into()));
            }
            Kind::Unknown => {
                unknown = Some(id);
                tokens.push((id, settings.unknown_text.as_bytes().into()));
            }
            Kind::Control => added.push(AddedToken::special(piece.text.clone(), id)),
            Kind::UserDefined => {
                let token = AddedToken::special(text, id);
                added.push(AddedToken { special: false, normalized: true, ..token });
            }
            Kind::Byte => match byte_of(&piece.text) {
                Some(byte) => byte_ids[usize::from(byte)] = Some(id),
                None => return refuse(path, None, format!("{} is to be a byte and is none", shown())),
            },
            Kind::Unused => {
                return refuse(
                    path,
                    None,
                    format!(
                        "{} is of the type UNUSED, which is not supported: it would be made and taken apart again",
                        shown()
                    ),
                );
            }
        }
    }
    let has_bytes = byte_ids.iter().any(Option::is_some);
    if has_bytes && byte_ids.contains(&None) {
        return refuse(path, None, "some of the pieces <0x00> to <0xFF> are missing; not supported");
    }
    let characters = Characters {
        byte_ids: has_bytes.then(|| Box::new(byte_ids.map(Option::unwrap_or_default))),
        unknown,
        writes_spaces: true,
        // Unknown characters side by side are one piece there.
        fuse_unknown: !has_bytes,
    };
    let (merges, ranks) = merges(pieces, &ids, scores);
    let specials = added.iter().map(|token| (token.content.clone(), Some(token.id))).collect();
    let vocab = Vocab::of_characters(tokens, merges, ranks, characters, specials);
    let vocab = super::in_file(path, vocab.map_err(|Flaw { error, .. }| error.into()), |_| 0)?;
    let mut steps = vec![Step::Replace { wanted: Wanted::Text(SPACE.into()), content: " ".into() }];
    if settings.remove_extra_whitespaces {
        steps.push(Step::CollapseSpaces);
    }
    let normalizer = Normalizer::new(steps).or_else(|reason| refuse(path, None, reason))?;
    let place = if settings.add_dummy_prefix { PrefixPlace::First } else { PrefixPlace::Never };
    let pipeline = Pipeline {
        normalizer,
        prefix: Prefix { place, unless_space: false },
        added,
        template: Template { before: settings.begin.into_iter().collect(), after: Vec::new() },
        strips_prefix: settings.add_dummy_prefix,
        ..Pipeline::default()
    };
    let pattern = if are_words(&vocab) { WORDS } else { ONE_PIECE };
    Ok(Definition { vocab, pattern: pattern.into(), pipeline })
}

/// All pairs that spell a piece, by its score, and their ranks.
fn merges(pieces: &[Piece], ids: &FxHashMap<String, u32>, mut scores: Vec<f32>) -> (Vec<Merge>, Vec<u32>) {
    // The highest first.
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    scores.dedup();
    let mut ranked = Vec::new();
    for (id, piece) in (0_u32..).zip(pieces).filter(|(_, piece)| piece.kind == Kind::Normal) {
        let text = piece.text.replace(SPACE, " ");
        let rank = scores.partition_point(|score| score.total_cmp(&piece.score).is_gt());
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        for (middle, _) in text.char_indices().skip(1) {
            let (left, right) = text.split_at(middle);
            if let (Some(&left), Some(&right)) = (ids.get(left), ids.get(right)) {
                ranked.push((rank, Merge { left, right, id }));
            }
        }
    }
    ranked.sort_unstable_by_key(|(rank, merge)| (*rank, merge.id, merge.left));
    ranked.into_iter().map(|(rank, merge)| (merge, rank)).unzip()
}

/// Whether no ordinary token holds a space behind another character.
pub fn are_words(vocab: &Vocab) -> bool {
    let crosses = |bytes: &[u8]| bytes.windows(2).any(|pair| pair[0] != b' ' && pair[1] == b' ');
    let is_merged = |id| vocab.characters().is_none_or(|characters| characters.unknown != Some(id));
    !vocab.tokens().any(|(id, bytes)| vocab.is_ordinary(id) && is_merged(id) && crosses(bytes))
}

/// The byte that a token such as `<0x0A>` stands for.
pub fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || digits.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
