//! The tokens that are cut out of a text as a whole, in one way of encoding: those of the text as it is and those of the
//! normalized text.

use crate::cutter::Cutter;
use crate::error::Result;
use crate::normalizer::{Normalizer, WHOLE};
use crate::pipeline::{AddedToken, Pipeline, PrefixPlace};
use crate::pretokenizer::Pretokenizer;
use crate::special::{Form, SpecialTokens};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// A set of added tokens, ready to be found.
#[derive(Clone, Debug)]
pub struct Added {
    /// Finds them, and where text with them can be cut.
    pub(super) cutter: Cutter,
    /// Ids of the tokens of the text as it is, and of those of the normalized text.
    pub(super) ids: [Arc<[u32]>; 2],
}

/// What all sets of a tokenizer share.
#[derive(Debug)]
pub(super) struct Around {
    pub pretokenizer: Arc<Pretokenizer>,
    pub normalizer: Arc<Normalizer>,
    pub knows_starts: bool,
    /// Whether a space is put before text before tokens of normalized text are looked for.
    pub prefix_is_normalized: bool,
    /// Whether it is put before the tokens themselves: by a step of the normalizer, and not by `SentencePiece`.
    pub prefixes_tokens: bool,
}

impl Around {
    pub fn new(pretokenizer: Pretokenizer, pipeline: &Pipeline) -> Self {
        Around {
            prefix_is_normalized: pipeline.prefix.is_normalized(),
            prefixes_tokens: pipeline.prefix.place == PrefixPlace::Each,
            pretokenizer: Arc::new(pretokenizer),
            normalizer: Arc::new(pipeline.normalizer.clone()),
            knows_starts: pipeline.prefix.place != PrefixPlace::Never || pipeline.normalizer.knows_ends(),
        }
    }

    /// Prepares the search for some of the tokens.
    ///
    /// # Errors
    /// [`Error::SpecialToken`](crate::Error::SpecialToken) if they cannot be searched for.
    pub fn added<'a>(&self, tokens: impl Iterator<Item = &'a AddedToken>) -> Result<Added> {
        let (mut late, mut early): (Vec<_>, Vec<_>) = tokens.partition(|token| token.normalized);
        // A search for all at once is the same, and one pass less, where text stays as it is and none can overlap another.
        if self.normalizer.is_identity() && !self.prefix_is_normalized && !can_overlap(&early, &late) {
            early.append(&mut late);
        }
        let (specials, early_ids) = Self::find(&early, |token| Ok(token.content.clone()))?;
        // What a normalizer puts before text it puts before a token as well.
        let prefix = if self.prefix_is_normalized && self.prefixes_tokens { " " } else { "" };
        let normalized = |token: &AddedToken, prefix: &str| {
            let content = self.normalizer.apply(token.content.as_bytes(), WHOLE)?;
            Ok(format!("{prefix}{}", String::from_utf8_lossy(&content)))
        };
        let (late_within, _) = Self::find(&late, |token| normalized(token, ""))?;
        let (late, late_ids) = Self::find(&late, |token| normalized(token, prefix))?;
        let cutter = Cutter {
            pretokenizer: self.pretokenizer.clone(),
            specials,
            late,
            late_within,
            normalizer: self.normalizer.clone(),
            knows_starts: self.knows_starts,
        };
        Ok(Added { cutter, ids: [early_ids, late_ids] })
    }

    /// Of two tokens with one text the first counts, as in `tokenizers`; one without text is never found.
    fn find(
        tokens: &[&AddedToken],
        text: impl Fn(&AddedToken) -> Result<String>,
    ) -> Result<(SpecialTokens, Arc<[u32]>)> {
        let mut seen = FxHashSet::default();
        let (mut contents, mut forms, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for token in tokens {
            let content = text(token)?;
            if !content.is_empty() && seen.insert(content.clone()) {
                contents.push(content);
                forms.push(Form {
                    lstrip: token.lstrip,
                    rstrip: token.rstrip,
                    single_word: token.single_word,
                });
                ids.push(token.id);
            }
        }
        Ok((SpecialTokens::with_forms(contents, forms)?, ids.into()))
    }
}

/// Whether a token of one set can share characters with one of another set.
fn can_overlap(some: &[&AddedToken], others: &[&AddedToken]) -> bool {
    if some.is_empty() || others.is_empty() {
        return false;
    }
    let forms = |tokens: &[&AddedToken]| tokens.iter().any(|token| token.lstrip || token.rstrip);
    if forms(some) || forms(others) {
        return true;
    }
    overlaps(some, others) || overlaps(others, some)
}

/// Whether one of `others` ends as one of `some` begins, or holds one of them.
fn overlaps(some: &[&AddedToken], others: &[&AddedToken]) -> bool {
    let contents = || some.iter().map(|token| token.content.as_bytes());
    let begins: FxHashSet<&[u8]> =
        contents().flat_map(|token| (1..=token.len()).map(|n| &token[..n])).collect();
    let wholes: FxHashSet<&[u8]> = contents().collect();
    let longest = contents().map(<[u8]>::len).max().unwrap_or(0);
    others.iter().map(|token| token.content.as_bytes()).any(|other| {
        (0..other.len()).any(|start| {
            let mut ends = start + 1..=other.len().min(start + longest);
            begins.contains(&other[start..]) || ends.any(|end| wholes.contains(&other[start..end]))
        })
    })
}
