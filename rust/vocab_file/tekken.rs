//! Mistral's `tekken.json`: a pattern, special tokens, and ranks as tiktoken has them.
//!
//! Special tokens come first: an ordinary token's id is its rank and their number. The file lists more ranks than are used; the
//! vocabulary is cut to `default_vocab_size`. Files before version 7 do not name their special tokens: the first are those of
//! `mistral-common`, the others have names by number.

use super::{json::Json, refuse, tiktoken};
use crate::{
    error::Result,
    pipeline::{AddedToken, Definition, Pipeline, Template},
    pretokenizer::Pretokenizer,
    vocab::Vocab,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::HashMap, path::Path, sync::Arc};

/// The special tokens of files that do not name them, as `mistral-common` 1.13 has them.
const NAMES: [&str; 20] = [
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];
/// The token that begins a text.
const BEGIN: &str = "<s>";

/// Whether a JSON object looks like this format.
pub fn is_tekken(entries: &[(std::borrow::Cow<'_, str>, Json)]) -> bool {
    let has = |name| entries.iter().any(|(key, _)| key == name);
    has("config") && has("vocab") && !has("model")
}

/// Reads the entries of the file; `path` is for messages.
pub fn parse(path: &Path, entries: Vec<(std::borrow::Cow<'_, str>, Json)>) -> Result<Definition> {
    let mut entries: HashMap<_, _> =
        entries.into_iter().map(|(key, value)| (key.into_owned(), value)).collect();
    let mut take = |name: &str| entries.remove(name).unwrap_or(Json::Null);
    let config: HashMap<_, _> = take("config").object(path, "`config`")?.into_iter().collect();
    let number = |name: &str| match config.get(name) {
        Some(Json::Number(number)) if *number < u64::from(crate::vocab::MAX_IDS) => {
            Ok(u32::try_from(*number).unwrap_or_default())
        }
        other => refuse(
            path,
            None,
            format!(
                "`config.{name}` is {}, and must be a number of ids",
                other.map_or("missing".into(), Json::kind)
            ),
        ),
    };
    let (size, num_special) = (number("default_vocab_size")?, number("default_num_special_tokens")?);
    let Some(Json::String(pattern)) = config.get("pattern") else {
        return refuse(path, None, "`config.pattern` is missing");
    };
    let Some(num_ordinary) = size.checked_sub(num_special) else {
        return refuse(
            path,
            None,
            format!("`config` has {num_special} special tokens in a vocabulary of {size}"),
        );
    };
    let mut names = vec![None; num_special as usize];
    for (i, item) in list(path, take("special_tokens"), "special_tokens")?.into_iter().enumerate() {
        let what = format!("`special_tokens[{i}]`");
        let item: HashMap<_, _> = item.object(path, &what)?.into_iter().collect();
        match (item.get("rank"), item.get("token_str")) {
            (Some(Json::Number(rank)), Some(Json::String(text))) if *rank < u64::from(num_special) => {
                names[usize::try_from(*rank).unwrap_or_default()] = Some(text.clone().into_owned());
            }
            _ => {
                return refuse(
                    path,
                    None,
                    format!("{what} has no `rank` below {num_special}, or no `token_str`"),
                );
            }
        }
    }
    let is_named = names.iter().any(Option::is_some);
    let known = |id: usize| if is_named { None } else { NAMES.get(id).map(ToString::to_string) };
    let name = |(id, name): (usize, Option<String>)| {
        name.or_else(|| known(id)).unwrap_or_else(|| format!("<SPECIAL_{id}>"))
    };
    let specials: Vec<(String, Option<u32>)> =
        names.into_iter().enumerate().map(name).zip((0..).map(Some)).collect();
    let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::new();
    for (i, item) in list(path, take("vocab"), "vocab")?.into_iter().enumerate() {
        let item = item.object(path, &format!("`vocab[{i}]`"))?;
        let get = |name: &str| item.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let (Some(Json::Number(rank)), Some(Json::String(bytes))) = (get("rank"), get("token_bytes")) else {
            return refuse(path, None, format!("`vocab[{i}]` has no `rank`, or no `token_bytes`"));
        };
        if *rank < u64::from(num_ordinary) {
            let rank = u32::try_from(*rank).unwrap_or_default();
            match STANDARD.decode(&**bytes) {
                Ok(bytes) => tokens.push((rank + num_special, bytes.into())),
                Err(error) => return refuse(path, None, format!("`vocab[{i}].token_bytes`: {error}")),
            }
        }
    }
    if tokens.len() != num_ordinary as usize {
        return refuse(
            path,
            None,
            format!(
                "`vocab` has {} of the {num_ordinary} tokens that `config` tells of; the file is cut short",
                tokens.len()
            ),
        );
    }
    let vocab: Vocab = tiktoken::vocab_of_ranks(path, tokens, &specials)?;
    let pattern = match Pretokenizer::new(pattern) {
        Ok(pretokenizer) => pretokenizer.pattern().to_owned(),
        Err(error) => return refuse(path, None, error.to_string()),
    };
    let added =
        vocab.specials().iter().map(|token| AddedToken::special(token.content.clone(), token.id)).collect();
    let template = Template { before: vocab.special_id(BEGIN).into_iter().collect(), after: Vec::new() };
    let pipeline = Pipeline { whole_pieces: true, added, template, ..Pipeline::default() };
    Ok(Definition { vocab, pattern, pipeline })
}

/// An array that may be missing.
fn list<'a>(path: &Path, value: Json<'a>, name: &str) -> Result<Vec<Json<'a>>> {
    if value == Json::Null { Ok(Vec::new()) } else { value.array(path, &format!("`{name}`")) }
}
