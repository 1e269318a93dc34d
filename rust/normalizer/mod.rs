//! What an imported tokenizer does to text before it is split.

use std::borrow::Cow;

/// Steps that change text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normalizer {
    steps: Vec<Step>,
}

/// One way to change text.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {}

impl Normalizer {
    /// Whether no text is changed.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// The normalized text; borrowed if nothing changes. Bytes that are no UTF-8 stay.
    #[must_use]
    pub fn apply<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(text)
    }
}
