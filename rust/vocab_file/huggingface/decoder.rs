//! `decoder`: how tokens become text. Tokens are bytes here, so only what is cut off a text remains to be told, and whether the
//! decoder undoes what encoding does.

use super::pre_tokenizer::{SPACE, Scheme};
use crate::pipeline::Stripped;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Step {
    Sequence {
        decoders: Vec<Step>,
    },
    ByteLevel,
    Replace {
        pattern: super::pre_tokenizer::Pattern,
        content: String,
    },
    ByteFallback,
    Fuse,
    Strip {
        content: String,
        start: usize,
        stop: usize,
    },
    Metaspace {
        replacement: String,
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<Scheme>,
        #[serde(rename = "str_rep")]
        _str_rep: Option<String>,
        #[serde(rename = "split")]
        _split: Option<bool>,
    },
}

/// What a decoder does.
#[derive(Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "what the steps before have done, each apart")]
pub struct Decoding {
    pub strips: Stripped,
    /// Whether the file has one; without one the library puts a space between any two tokens.
    pub is_given: bool,
    /// Whether it reads bytes in GPT-2's characters.
    pub is_byte_level: bool,
    /// Whether `▁` becomes a space.
    pub reads_spaces: bool,
    /// Whether `<0x0A>` becomes a byte.
    pub reads_bytes: bool,
    /// Whether all tokens are one text for the steps that follow.
    is_fused: bool,
}

/// Reads the value.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(value: &Value) -> Result<Decoding, String> {
    let mut decoding = Decoding { is_given: !value.is_null(), ..Decoding::default() };
    if decoding.is_given {
        let step: Step = serde_json::from_value(value.clone())
            .map_err(|error| format!("`decoder` is not supported: {error}"))?;
        decoding.add(step)?;
    }
    if decoding.is_byte_level && (decoding.reads_spaces || decoding.strips != Stripped::Nothing) {
        return Err("`decoder`: `ByteLevel` beside a step that changes spaces is not supported".into());
    }
    Ok(decoding)
}

impl Decoding {
    fn add(&mut self, step: Step) -> Result<(), String> {
        let refuse = |what: &str| {
            Err(format!(
                "`decoder`: {what} is not supported: it would change more of a text than the space before it"
            ))
        };
        match step {
            Step::Sequence { decoders } => return decoders.into_iter().try_for_each(|step| self.add(step)),
            Step::ByteLevel => self.is_byte_level = true,
            Step::ByteFallback if self.is_fused => return refuse("`ByteFallback` behind `Fuse`"),
            Step::ByteFallback => self.reads_bytes = true,
            Step::Fuse => self.is_fused = true,
            Step::Replace { pattern: super::pre_tokenizer::Pattern::String(text), content }
                if text == SPACE && content == " " =>
            {
                self.reads_spaces = true;
            }
            Step::Replace { .. } => return refuse("`Replace` of anything but `▁` by a space"),
            Step::Strip { content, start: 0, stop: 0 } if content.chars().count() == 1 => {}
            Step::Strip { content, start: 1, stop: 0 }
                if content == " " && self.is_fused && self.reads_spaces =>
            {
                self.strips = Stripped::Space;
            }
            Step::Strip { .. } => {
                return refuse(
                    "`Strip` of anything but one space at the start, behind `Replace` and `Fuse`,",
                );
            }
            Step::Metaspace { replacement, add_prefix_space, prepend_scheme, .. }
                if replacement == SPACE && !self.is_fused && !self.reads_spaces =>
            {
                self.reads_spaces = true;
                let never = match prepend_scheme {
                    Some(scheme) => matches!(scheme, Scheme::Never),
                    None => add_prefix_space == Some(false),
                };
                if !never {
                    self.strips = Stripped::FirstToken;
                }
            }
            Step::Metaspace { .. } => {
                return refuse("`Metaspace` with another replacement than `▁`, or behind another step,");
            }
        }
        Ok(())
    }

    /// Checks that it undoes how a vocabulary of characters is written.
    ///
    /// # Errors
    /// The reason why it does not.
    pub fn check(&self, writes_spaces: bool, has_spaces: bool, has_bytes: bool) -> Result<(), String> {
        if !self.is_given {
            return Ok(());
        }
        let reason = if self.is_byte_level {
            "has `ByteLevel`, and neither `pre_tokenizer` nor `normalizer` has: text would not be spelled as the vocabulary is, and most of it be lost"
        } else if writes_spaces && !self.reads_spaces {
            "leaves the `▁` that spaces are written as"
        } else if !writes_spaces && has_spaces && self.reads_spaces {
            "makes a space of `▁`, and nothing writes spaces so"
        } else if has_bytes && !self.reads_bytes {
            "has no `ByteFallback`, and `model.byte_fallback` is true"
        } else {
            return Ok(());
        };
        Err(format!("`decoder` {reason}, so what is decoded is not what was encoded; not supported"))
    }
}
