//! What a tokenizer does beside splitting by a pattern and merging. One that was trained here does none of it.
//!
//! ```text
//! text -> added tokens cut out -> normalizer -> added tokens of normalized text -> prefix -> pattern -> merges -> template
//! ```
//!
//! Files of other libraries ask for these steps; each is a field here, filled by the readers of [`crate::vocab_file`] and
//! carried out by [`crate::encoder`].

mod state;

use crate::normalizer::Normalizer;
use crate::vocab::{SpecialToken, Vocab};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// The steps of a tokenizer beside pattern and merges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// What is done to text before it is split.
    pub normalizer: Normalizer,
    /// Where a space is put before text.
    pub prefix: Prefix,
    /// Whether a piece that is a token is that token, whatever the merges would make of it: tiktoken's rule, and `ignore_merges`.
    pub whole_pieces: bool,
    /// How the added tokens are looked for, in the file's order.
    pub added: Vec<AddedToken>,
    /// Ids around a text, for callers who ask for them.
    pub template: Template,
    /// What stands for a byte that a byte-level vocabulary lacks.
    pub unknown: Option<u32>,
    /// Whether unknown bytes side by side are one unknown token.
    pub fuse_unknown: bool,
    /// The spaces that decoding leaves out, since encoding has put one there.
    pub strips: Stripped,
    /// What the file says in its own words.
    pub source: Option<Source>,
}

/// Where a space is put before text, as if the text had begun with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Before which stretches of text.
    pub place: PrefixPlace,
    /// Not before one that begins with a space.
    pub unless_space: bool,
}

/// Spaces that decoding leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stripped {
    /// None.
    #[default]
    Nothing,
    /// The one that a text begins with.
    Space,
    /// All of the first token.
    FirstToken,
}

impl Stripped {
    /// The first token of a text without them.
    #[must_use]
    pub fn of_first(self, token: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
        let num = match self {
            Stripped::Nothing => 0,
            Stripped::Space => 1,
            Stripped::FirstToken => usize::MAX,
        };
        if num == 0 || !token.contains(&b' ') || num == 1 && token[0] != b' ' {
            return token;
        }
        let (mut left, mut rest) = (num, Vec::with_capacity(token.len()));
        for &byte in &*token {
            if byte == b' ' && left > 0 {
                left -= 1;
            } else {
                rest.push(byte);
            }
        }
        Cow::Owned(rest)
    }
}

/// The stretches of text, between added tokens, that a space is put before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrefixPlace {
    /// None.
    #[default]
    Never,
    /// The one at the start of a text.
    First,
    /// Each.
    Each,
}

impl Prefix {
    /// Whether it belongs before a stretch of text that begins at an added token or with the text, or that is the first.
    #[must_use]
    pub fn is_before(self, begins: bool, is_first: bool) -> bool {
        match self.place {
            PrefixPlace::Never => false,
            PrefixPlace::First => is_first,
            PrefixPlace::Each => begins,
        }
    }

    /// Whether the space is a part of the normalized text, in which added tokens are then looked for: that is how a normalizer
    /// puts it there, other than a pre-tokenizer.
    #[must_use]
    pub fn is_normalized(self) -> bool {
        self.place != PrefixPlace::Never && !self.unless_space
    }
}

/// A token that is cut out of text as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are the format's")]
pub struct AddedToken {
    /// Its text.
    pub content: String,
    /// Its id.
    pub id: u32,
    /// Whether it controls a model: then text holds it only where the caller says so. Others are tokens in every text.
    pub special: bool,
    /// Whether it is looked for in normalized text, as its content after normalization.
    pub normalized: bool,
    /// Whether the whitespace before it belongs to it.
    pub lstrip: bool,
    /// Whether the whitespace after it belongs to it.
    pub rstrip: bool,
    /// Whether it counts only where no letter, digit or underscore stands beside it.
    pub single_word: bool,
}

impl AddedToken {
    /// One that controls a model and is looked for as it is.
    #[must_use]
    pub fn special(content: String, id: u32) -> Self {
        let (normalized, lstrip, rstrip, single_word) = (false, false, false, false);
        AddedToken { content, id, special: true, normalized, lstrip, rstrip, single_word }
    }
}

/// Ids around a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Before it.
    pub before: Vec<u32>,
    /// After it.
    pub after: Vec<u32>,
}

/// The parts of a `tokenizer.json` that are written again as they were read, each as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `normalizer`.
    pub normalizer: String,
    /// `pre_tokenizer`.
    pub pre_tokenizer: String,
    /// `post_processor`.
    pub post_processor: String,
    /// `decoder`.
    pub decoder: String,
    /// `truncation` and `padding`, which concern batches for a model and are not applied.
    pub not_applied: [String; 2],
    /// Whether spaces are written as `▁` in the vocabulary.
    pub writes_spaces: bool,
    /// Whether the patterns are another library's, and mean what its regex engine reads.
    pub is_foreign: bool,
    /// A whole file of another format, which is saved as it is.
    pub model_file: Option<Vec<u8>>,
    /// The settings of `model` but for `vocab` and `merges`, as the inside of an object.
    pub model: String,
}

/// All that decides ids: what the files of a tokenizer say.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Tokens and merges.
    pub vocab: Vocab,
    /// The regex of the pretokenizer, or the JSON of a sequence of them.
    pub pattern: String,
    /// What else is done.
    pub pipeline: Pipeline,
}

impl Pipeline {
    /// Whether nothing is done but to find special tokens as they are: what a tokenizer trained here does.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        // Where text stays as it is, it makes no difference whether tokens are looked for before or after, unless some are
        // looked for before others.
        let normalized = self.added.first().is_some_and(|token| token.normalized);
        let is_plain = |token: &AddedToken| {
            *token == AddedToken { normalized, ..AddedToken::special(token.content.clone(), token.id) }
        };
        let rest = Pipeline { added: Vec::new(), source: None, ..self.clone() };
        self.added.iter().all(is_plain) && rest == Pipeline::default()
    }

    /// What is done that GPT-2's files and tiktoken's ranks cannot say; `None` if nothing.
    #[must_use]
    pub fn beyond_merges(&self) -> Option<&'static str> {
        let plain =
            |token: &AddedToken| token.special && !token.lstrip && !token.rstrip && !token.single_word;
        if !self.normalizer.is_identity() {
            Some("it normalizes text")
        } else if self.prefix.place != PrefixPlace::Never {
            Some("it puts a space before text")
        } else if !self.added.iter().all(plain) {
            Some("it has added tokens that are looked for in ways of their own")
        } else {
            None
        }
    }

    /// Whether the tokens of a text stand for its bytes, all of them in order.
    #[must_use]
    pub fn keeps_bytes(&self) -> bool {
        let strips = |token: &AddedToken| token.lstrip || token.rstrip;
        self.normalizer.is_identity()
            && self.prefix.place == PrefixPlace::Never
            && self.unknown.is_none()
            && !self.added.iter().any(strips)
    }
}

impl Definition {
    /// A vocabulary and a pattern, and nothing else: all its special tokens are looked for as they are.
    #[must_use]
    pub fn new(vocab: Vocab, pattern: &str) -> Self {
        let special = |token: &SpecialToken| AddedToken::special(token.content.clone(), token.id);
        let added = vocab.specials().iter().map(special).collect();
        Definition { vocab, pattern: pattern.into(), pipeline: Pipeline { added, ..Pipeline::default() } }
    }

    /// A digest of all that decides ids.
    #[must_use]
    pub fn sha256(&self) -> String {
        let vocab = self.vocab.sha256(&self.pattern);
        if self.pipeline.is_plain() {
            return vocab;
        }
        // What the file says in its own words decides nothing.
        let pipeline = Pipeline { source: None, ..self.pipeline.clone() };
        let steps = serde_json::to_vec(&pipeline).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(vocab);
        hash.update(steps);
        crate::vocab::hex(&hash.finalize())
    }
}
