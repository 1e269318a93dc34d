//! What an imported tokenizer does to text before it is split.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// Steps that change text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Normalizer {
    steps: Vec<Step>,
}

/// One way to change text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {}

/// Whether a part of a text begins and ends where the text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// It begins there.
    pub begins: bool,
    /// It ends there.
    pub ends: bool,
}

impl Normalizer {
    /// Whether no text is changed.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it counts where a text begins or ends.
    #[must_use]
    pub fn knows_ends(&self) -> bool {
        false
    }

    /// The normalized text; borrowed if nothing changes. Bytes that are no UTF-8 stay.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a [u8], _ends: Ends) -> Cow<'a, [u8]> {
        Cow::Borrowed(text)
    }

    /// The normalized text, and the ranges of the text that changed with what they became.
    #[must_use]
    pub fn aligned(&self, text: &[u8], _ends: Ends) -> (Vec<u8>, Vec<(Range<usize>, Range<usize>)>) {
        (text.to_vec(), Vec::new())
    }

    /// Whether a character stays as it is whatever stands around it, and changes nothing beside it.
    #[must_use]
    pub fn keeps(&self, _c: char) -> bool {
        true
    }
}
