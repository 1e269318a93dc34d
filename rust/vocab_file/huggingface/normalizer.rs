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
    ByteLevel,
}

/// What a file does to text.
#[derive(Debug, Default, PartialEq)]
pub struct Normalizing {
    pub steps: Vec<Step>,
    /// Whether spaces are written as `▁`; then the steps do not do it, since the vocabulary is turned round.
    pub writes_spaces: bool,
    /// Whether a space is put before each text.
    pub has_prefix: bool,
    /// Whether bytes are spelled in GPT-2's characters in the end; the steps do not do it, since tokens are bytes here.
    pub is_byte_level: bool,
}

/// Reads the value. Where pieces are spelled in GPT-2's characters (`is_byte_level`), spaces are text like any other.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(value: &Value, is_byte_level: bool) -> Result<Normalizing, String> {
    let mut all = Normalizing::default();
    if value.is_null() {
        return Ok(all);
    }
    let listed: Listed = serde_json::from_value(value.clone())
        .map_err(|error| format!("`normalizer` is not supported: {error}"))?;
    let mut steps = Vec::new();
    flatten(listed, &mut steps);
    let is_byte_level = is_byte_level || steps.iter().any(|step| matches!(step, Listed::ByteLevel));
    for step in steps {
        if all.is_byte_level {
            return Err("a step behind `ByteLevel` in `normalizer` is not supported: it would see bytes as characters".into());
        }
        match step {
            // The list is flat.
            Listed::Sequence { .. } => {}
            Listed::ByteLevel => all.is_byte_level = true,
            Listed::Replace { pattern: Pattern::String(text), content }
                if !is_byte_level && text == " " && content == SPACE =>
            {
                all.writes_spaces = true;
                let wanted = Wanted::Text(SPACE.into());
                all.steps.push(Step::Replace { wanted, content: " ".into() });
            }
            step if all.writes_spaces => behind_spaces(step, &mut all)?,
            step => all.steps.push(plain(step)?),
        }
    }
    all.take_prefix();
    Ok(all)
}

impl Normalizing {
    /// Puts the space that stands before each text into [`Normalizing::has_prefix`], where no other step could change it.
    fn take_prefix(&mut self) {
        let is_space = |step: &Step, text: &str| matches!(step, Step::Prepend(prefix) if prefix == text);
        let place = match &self.steps[..] {
            [first, Step::Replace { .. }, ..] if is_space(first, SPACE) => 0,
            [Step::Replace { .. }, second, ..] if is_space(second, " ") => 1,
            _ => return,
        };
        if self.writes_spaces
            && self.steps[2..].iter().all(|step| matches!(step, Step::Nfc | Step::Nfd | Step::Lowercase))
        {
            self.has_prefix = true;
            self.steps.remove(place);
        }
    }
}

/// A step of its own.
fn plain(step: Listed) -> Result<Step, String> {
    Ok(match step {
        Listed::Nfc => Step::Nfc,
        Listed::Nfd => Step::Nfd,
        Listed::Nfkc => Step::Nfkc,
        Listed::Nfkd => Step::Nfkd,
        Listed::Lowercase => Step::Lowercase,
        Listed::StripAccents => Step::StripAccents,
        Listed::Strip { strip_left: left, strip_right: right } => Step::Strip { left, right },
        Listed::Replace { pattern: Pattern::String(text), .. } if text.is_empty() => {
            return Err("`normalizer`: `Replace` of nothing is not supported: it would match between any two characters".into());
        }
        Listed::Replace { pattern: Pattern::String(text), content } => {
            Step::Replace { wanted: Wanted::Text(text), content }
        }
        Listed::Replace { pattern, content } => {
            Step::Replace { wanted: Wanted::Regex(pattern.regex(false)?), content }
        }
        Listed::Prepend { prepend } => Step::Prepend(prepend),
        Listed::Sequence { .. } | Listed::ByteLevel => {
            return Err("`normalizer`: a step within a step".into());
        }
    })
}

/// A step behind the one that writes spaces as `▁`: here a space stands there, so it must not tell both apart, nor make spaces.
fn behind_spaces(step: Listed, all: &mut Normalizing) -> Result<(), String> {
    let refuse = |name: &str| {
        Err(format!(
            "`normalizer`: `{name}` behind the step that writes spaces as `{SPACE}` is not supported: it would make or change spaces"
        ))
    };
    let step = match plain(step)? {
        step @ (Step::Nfc | Step::Nfd | Step::Lowercase | Step::StripAccents) => step,
        Step::Prepend(prepend) if !prepend.contains(' ') => Step::Prepend(prepend.replace(SPACE, " ")),
        // No space is left.
        Step::Replace { wanted: Wanted::Text(text), .. } if text.contains(' ') => return Ok(()),
        Step::Replace { wanted: Wanted::Text(text), content } if !content.contains(' ') => Step::Replace {
            wanted: Wanted::Text(text.replace(SPACE, " ")),
            content: content.replace(SPACE, " "),
        },
        Step::Replace { .. } => return refuse("Replace"),
        Step::Prepend(_) => return refuse("Prepend"),
        Step::Strip { .. } | Step::CollapseSpaces | Step::StripLastSpaces => return refuse("Strip"),
        Step::Nfkc | Step::Nfkd => return refuse("NFKC or NFKD"),
    };
    all.steps.push(step);
    Ok(())
}

fn flatten(step: Listed, steps: &mut Vec<Listed>) {
    match step {
        Listed::Sequence { normalizers } => normalizers.into_iter().for_each(|step| flatten(step, steps)),
        step => steps.push(step),
    }
}
