//! `tekken.json`, Mistral's own format: ranks as in [`super::tiktoken`], the pattern, and special tokens, as JSON.
//!
//! Special tokens have the first ids, `default_num_special_tokens` of them; an ordinary token's id is its rank plus that number. The
//! file may hold more ranks than the model knows: only as many count as `default_vocab_size` leaves room for. Files up to version
//! 7 have no list of special tokens; then there are twenty known ones, and `<SPECIAL_20>` and so on for the rest. All this is
//! <https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/tokens/tokenizers/tekken.py>, where text never holds
//! a special token, and tiktoken does the rest: a piece that is a token is that token.

use super::{
    json::{Json, Object},
    refuse, tiktoken,
};
use crate::{
    error::Result,
    pipeline::{AddedToken, Definition, Pipeline, Template},
    pretokenizer::Pretokenizer,
    threads::share,
    vocab::show,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::HashSet, path::Path, sync::Arc};

/// Its usual name.
pub const NAME: &str = "tekken.json";
/// Special tokens of files that have no list of them.
const KNOWN: [&str; 20] = [
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
/// The last version that may lack the list.
const LAST_WITHOUT_LIST: u32 = 7;
/// Special tokens are at most so many: each that the file does not name takes memory.
const MAX_SPECIALS: usize = 1 << 20;
/// Tokens that a thread decodes at a time.
const TOKENS_TAKEN: usize = 8192;

/// What `config` says.
struct Config {
    pattern: String,
    vocab_size: usize,
    num_specials: usize,
    version: u32,
}

/// Reads the text of a file; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Definition> {
    let file = File { path };
    let (mut config, mut vocab, mut specials) = (None, None, None);
    for (key, value) in Json::parse(path, text)?.object(path, "the file")? {
        match &key[..] {
            "config" => config = Some(file.config(value.object(path, "`config`")?)?),
            "vocab" => vocab = Some(value.array(path, "`vocab`")?),
            "special_tokens" if value != Json::Null => {
                specials = Some(value.array(path, "`special_tokens`")?);
            }
            // What concerns pictures and sound, and names: text is encoded alike.
            _ => {}
        }
    }
    let (Some(config), Some(vocab)) = (config, vocab) else {
        return file.refuse("there is no `config` or no `vocab`, so this is no tekken.json");
    };
    let names = file.names(specials, &config)?;
    let num_ranks = config.vocab_size.checked_sub(config.num_specials).filter(|num| *num <= vocab.len());
    let Some(num_ranks) = num_ranks else {
        return file.refuse(format!(
            "`config.default_vocab_size` is {}, and the file has {} special tokens and {} others; it is cut short or damaged",
            config.vocab_size,
            config.num_specials,
            vocab.len()
        ));
    };
    let first_id = u32::try_from(config.num_specials).unwrap_or(u32::MAX);
    let tokens = file.tokens(&vocab[..num_ranks], first_id)?;
    let pattern = match Pretokenizer::new(&config.pattern) {
        Ok(pretokenizer) => pretokenizer.pattern().to_owned(),
        Err(error) => return file.refuse(format!("`config.pattern`: {error}")),
    };
    let specials: Vec<_> = (0..).zip(names).map(|(id, name)| (name, Some(id))).collect();
    let vocab = tiktoken::vocab_of_ranks(path, tokens, &specials)?;
    let before = vocab.special_id("<s>").into_iter().collect();
    let added = specials.into_iter().zip(0..).map(|((name, _), id)| AddedToken::special(name, id)).collect();
    let template = Template { before, after: Vec::new() };
    let pipeline = Pipeline { whole_pieces: true, added, template, ..Pipeline::default() };
    Ok(Definition { vocab, pattern, pipeline })
}

/// The file that messages name.
struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        refuse(self.path, None, reason)
    }

    fn config(&self, entries: Object) -> Result<Config> {
        let (mut pattern, mut vocab_size, mut num_specials, mut version) = (None, None, None, None);
        for (key, value) in entries {
            let number = |value: &Json| value.id(self.path, || format!("`config.{key}`")).map(|n| n as usize);
            match &key[..] {
                "pattern" => pattern = Some(value.string(self.path, "`config.pattern`")?.into_owned()),
                "default_vocab_size" => vocab_size = Some(number(&value)?),
                "default_num_special_tokens" => num_specials = Some(number(&value)?),
                "version" => {
                    let name = value.string(self.path, "`config.version`")?;
                    version = name.strip_prefix('v').and_then(|number| number.parse().ok());
                    if version.is_none() {
                        return self.refuse(format!(
                            "the version is {}; versions are `v3`, `v7` and so on",
                            show(name.as_bytes())
                        ));
                    }
                }
                _ => {}
            }
        }
        let (Some(pattern), Some(vocab_size), Some(num_specials), Some(version)) =
            (pattern, vocab_size, num_specials, version)
        else {
            return self.refuse("`config` must have `pattern`, `default_vocab_size`, `default_num_special_tokens` and `version`");
        };
        if num_specials > MAX_SPECIALS {
            return self.refuse(format!(
                "`config.default_num_special_tokens` is {num_specials}; the limit is {MAX_SPECIALS}"
            ));
        }
        Ok(Config { pattern, vocab_size, num_specials, version })
    }

    /// The special tokens by their ids.
    fn names(&self, listed: Option<Vec<Json>>, config: &Config) -> Result<Vec<String>> {
        let mut names: Vec<String> = match listed {
            None if config.version > LAST_WITHOUT_LIST => {
                return self.refuse(format!(
                    "the file has version v{} and no `special_tokens`, which files have since version v{}; it is damaged",
                    config.version,
                    LAST_WITHOUT_LIST + 1
                ));
            }
            None => KNOWN.map(str::to_owned).into(),
            Some(listed) => self.listed(listed)?,
        };
        if names.len() > config.num_specials {
            let reason = format!(
                "the file has {} special tokens, and `config.default_num_special_tokens` is {}; it is damaged",
                names.len(),
                config.num_specials
            );
            return self.refuse(reason);
        }
        names.extend((names.len()..config.num_specials).map(|id| format!("<SPECIAL_{id}>")));
        let mut seen = HashSet::new();
        match names.iter().find(|name| !seen.insert(name.as_str())) {
            None => Ok(names),
            Some(name) => self.refuse(format!("the special token {} is there twice", show(name.as_bytes()))),
        }
    }

    fn listed(&self, listed: Vec<Json>) -> Result<Vec<String>> {
        let mut names = Vec::with_capacity(listed.len());
        for (index, item) in listed.into_iter().enumerate() {
            let what = |key: &str| format!("`special_tokens[{index}].{key}`");
            let (mut rank, mut name) = (None, None);
            for (key, value) in item.object(self.path, &format!("`special_tokens[{index}]`"))? {
                match &key[..] {
                    "rank" => rank = Some(value.id(self.path, || what("rank"))? as usize),
                    "token_str" => name = Some(value.string(self.path, &what("token_str"))?.into_owned()),
                    // All of them control a model, as its library takes them.
                    _ => {}
                }
            }
            match (rank, name) {
                (Some(rank), Some(name)) if rank == index => names.push(name),
                _ => {
                    return self.refuse(format!(
                        "`special_tokens[{index}]` must have the rank {index} and `token_str`"
                    ));
                }
            }
        }
        Ok(names)
    }

    /// The ordinary tokens with their ids.
    fn tokens(&self, vocab: &[Json], first_id: u32) -> Result<Vec<(u32, Arc<[u8]>)>> {
        let token = |index: usize| {
            let Json::Object(entries) = &vocab[index] else { return Err("is no object") };
            let value = |name: &str| entries.iter().find(|entry| entry.0 == name).map(|entry| &entry.1);
            let Some(Json::Number(rank)) = value("rank") else { return Err("has no rank") };
            let Some(Json::String(text)) = value("token_bytes") else { return Err("has no `token_bytes`") };
            let bytes = STANDARD.decode(&text[..]).map_err(|_| "has `token_bytes` that are not base64")?;
            match u32::try_from(index) {
                _ if bytes.is_empty() => Err("is empty"),
                Ok(id) if *rank == u64::from(id) => Ok((id + first_id, Arc::from(bytes))),
                _ => Err("has another rank"),
            }
        };
        let parts = share(vocab.len(), TOKENS_TAKEN, |range| {
            range
                .map(|index| token(index).map_err(|reason| (index, reason)))
                .collect::<std::result::Result<Vec<_>, _>>()
        });
        let mut tokens = Vec::with_capacity(vocab.len());
        for part in parts {
            match part {
                Ok(part) => tokens.extend(part),
                Err((index, reason)) => return self.refuse(format!("`vocab[{index}]` {reason}")),
            }
        }
        Ok(tokens)
    }
}
