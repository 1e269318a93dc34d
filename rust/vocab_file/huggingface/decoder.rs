//! `decoder`: how tokens become text. Tokens are bytes here, so only what is cut off a text remains to be told.

use super::pre_tokenizer::{SPACE, Scheme};
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

/// Whether the space that a text begins with is left out.
///
/// # Errors
/// The reason why it is not supported.
pub fn strips_prefix(value: &Value) -> Result<bool, String> {
    if value.is_null() {
        return Ok(false);
    }
    let step: Step = serde_json::from_value(value.clone())
        .map_err(|error| format!("`decoder` is not supported: {error}"))?;
    strips(&step)
}

fn strips(step: &Step) -> Result<bool, String> {
    let refuse = |what: &str| {
        Err(format!(
            "`decoder`: {what} is not supported: it would change more of a text than the space before it"
        ))
    };
    match step {
        Step::Sequence { decoders } => {
            let mut all = false;
            for step in decoders {
                all |= strips(step)?;
            }
            Ok(all)
        }
        Step::ByteLevel | Step::ByteFallback | Step::Fuse => Ok(false),
        Step::Replace { pattern: super::pre_tokenizer::Pattern::String(text), content }
            if text == SPACE && content == " " =>
        {
            Ok(false)
        }
        Step::Replace { .. } => refuse("`Replace` of anything but `▁` by a space"),
        Step::Strip { content, start, stop: 0 } if content == " " && *start <= 1 => Ok(*start == 1),
        Step::Strip { .. } => refuse("`Strip` of anything but one space at the start"),
        Step::Metaspace { replacement, add_prefix_space, prepend_scheme, .. } if replacement == SPACE => {
            let never = matches!(prepend_scheme, Some(Scheme::Never));
            Ok(!never && *add_prefix_space != Some(false))
        }
        Step::Metaspace { .. } => refuse("`Metaspace` with another replacement than `▁`"),
    }
}
