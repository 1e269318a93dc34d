//! `post_processor`: ids around a text, for callers who ask for them.

use crate::pipeline::Template;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Step {
    Sequence {
        processors: Vec<Step>,
    },
    /// Offsets alone.
    ByteLevel,
    TemplateProcessing {
        single: Vec<Piece>,
        special_tokens: HashMap<String, Special>,
    },
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    BertProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
}

#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String },
    Sequence { id: String },
}

#[derive(Deserialize)]
struct Special {
    ids: Vec<u32>,
}

/// Reads the value.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(value: &Value) -> Result<Template, String> {
    let mut template = Template::default();
    if !value.is_null() {
        let step: Step = serde_json::from_value(value.clone())
            .map_err(|error| format!("`post_processor` is not supported: {error}"))?;
        add(step, &mut template)?;
    }
    Ok(template)
}

/// Puts a step's ids around those of the steps before.
fn add(step: Step, template: &mut Template) -> Result<(), String> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    match step {
        Step::Sequence { processors } => {
            return processors.into_iter().try_for_each(|step| add(step, template));
        }
        Step::ByteLevel => return Ok(()),
        Step::RobertaProcessing { sep, cls } | Step::BertProcessing { sep, cls } => {
            (before, after) = (vec![cls.1], vec![sep.1]);
        }
        Step::TemplateProcessing { single, special_tokens } => {
            let mut has_text = false;
            for piece in single {
                match piece {
                    Piece::Sequence { id } if id == "A" && !has_text => has_text = true,
                    Piece::Sequence { id } => {
                        return Err(format!(
                            "`post_processor` is not supported: its template for one text has `{id}` twice, or as a second text"
                        ));
                    }
                    Piece::SpecialToken { id } => {
                        let special = special_tokens.get(&id).ok_or_else(|| {
                            format!("`post_processor`: the template has the token `{id}`, which `special_tokens` does not list")
                        })?;
                        if has_text { &mut after } else { &mut before }.extend(&special.ids);
                    }
                }
            }
        }
    }
    before.append(&mut template.before);
    template.before = before;
    template.after.append(&mut after);
    Ok(())
}
