//! A sequence of patterns as one string, for files and messages: the JSON of Hugging Face's `pre_tokenizer`, a `Sequence` of
//! `Split`s. No regex begins as such an object does, since nothing could be repeated there.

use crate::error::{Error, Result};
use serde_json::{Value, json};

/// The patterns of a sequence; `None` if `text` is a regex.
///
/// # Errors
/// [`Error::Pattern`] if it begins like a sequence and is none.
pub fn parse(text: &str) -> Result<Option<Vec<String>>> {
    if !text.starts_with("{\"") {
        return Ok(None);
    }
    let refuse = |reason| Error::Pattern { pattern: text.to_owned(), reason };
    let value: Value = serde_json::from_str(text)
        .map_err(|error| refuse(format!("begins like JSON and is none: {error}")))?;
    let splits = value["pretokenizers"].as_array().into_iter().flatten();
    let regexes = splits.filter_map(|split| split["pattern"]["Regex"].as_str());
    let regexes: Vec<String> = regexes.map(str::to_owned).collect();
    if to_value(&regexes) != value {
        let like = to_value(&[r"\p{N}", r"\p{L}+"]);
        return Err(refuse(format!(
            "not a sequence of splits that isolate what a regex matches, such as {like}"
        )));
    }
    Ok(Some(regexes))
}

/// The string of a sequence.
pub fn write(regexes: &[String]) -> String {
    to_value(regexes).to_string()
}

fn to_value(regexes: &[impl AsRef<str>]) -> Value {
    let split = |regex: &_| {
        let regex: &str = AsRef::as_ref(regex);
        json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
    };
    let splits: Vec<Value> = regexes.iter().map(split).collect();
    json!({"type": "Sequence", "pretokenizers": splits})
}
