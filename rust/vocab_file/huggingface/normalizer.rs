//! `normalizer`: steps that change text before it is split.

use super::pre_tokenizer::{Pattern, SPACE};
use crate::normalizer::{Step, Wanted};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Listed {
    Sequence {
        normalizers: Vec<Listed>,
    },
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    StripAccents,
    Strip {
        strip_left: bool,
        strip_right: bool,
    },
    Replace {
        pattern: Pattern,
        content: String,
    },
    Prepend {
        prepend: String,
    },
}

/// What a file does to text.
#[derive(Debug, Default, PartialEq)]
pub struct Normalizing {
    pub steps: Vec<Step>,
    /// Whether spaces are written as `▁`; then the steps do not do it, since the vocabulary is turned round.
    pub writes_spaces: bool,
    /// Whether a space is put before each text.
    pub has_prefix: bool,
}

/// Reads the value.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(value: &Value) -> Result<Normalizing, String> {
    let mut normalizing = Normalizing::default();
    if value.is_null() {
        return Ok(normalizing);
    }
    let listed: Listed = serde_json::from_value(value.clone())
        .map_err(|error| format!("`normalizer` is not supported: {error}"))?;
    let mut steps = Vec::new();
    flatten(listed, &mut steps);
    let writes_spaces = |step: &Listed| matches!(step, Listed::Replace { pattern: Pattern::String(text), content } if text == " " && content == SPACE);
    normalizing.writes_spaces = steps.iter().any(writes_spaces);
    for step in steps {
        if writes_spaces(&step) {
            let wanted = Wanted::Text(SPACE.into());
            normalizing.steps.push(Step::Replace { wanted, content: " ".into() });
            continue;
        }
        normalizing.steps.push(match step {
            // The list is flat.
            Listed::Sequence { .. } => continue,
            Listed::Nfc => Step::Nfc,
            Listed::Nfd => Step::Nfd,
            Listed::Nfkc => Step::Nfkc,
            Listed::Nfkd => Step::Nfkd,
            Listed::Lowercase => Step::Lowercase,
            Listed::StripAccents => Step::StripAccents,
            Listed::Strip { strip_left: left, strip_right: right } => Step::Strip { left, right },
            Listed::Replace { pattern, content } => {
                let content = if normalizing.writes_spaces { content.replace(SPACE, " ") } else { content };
                match &pattern {
                    Pattern::String(text) if text.is_empty() => continue,
                    Pattern::String(text) => Step::Replace { wanted: Wanted::Text(text.clone()), content },
                    Pattern::Regex(_) => Step::Replace { wanted: Wanted::Regex(pattern.regex()?), content },
                }
            }
            Listed::Prepend { prepend } if prepend == SPACE && normalizing.writes_spaces => {
                normalizing.has_prefix = true;
                continue;
            }
            Listed::Prepend { prepend } => Step::Prepend(prepend),
        });
    }
    Ok(normalizing)
}

fn flatten(step: Listed, steps: &mut Vec<Listed>) {
    match step {
        Listed::Sequence { normalizers } => normalizers.into_iter().for_each(|step| flatten(step, steps)),
        step => steps.push(step),
    }
}
