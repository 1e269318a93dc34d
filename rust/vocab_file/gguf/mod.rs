//! The tokenizer in a GGUF file, the format of `llama.cpp`.
//!
//! `tokenizer.ggml.model` says which kind it is: `llama` for pieces with scores ([`super::pieces`]), `gpt2` for tokens in GPT-2's
//! characters with merges, `gemma4` for tokens of characters with merges. How the second kind splits text is known by a name,
//! `tokenizer.ggml.pre` ([`rules`]). A file that has all of `tokenizer.json` in `tokenizer.huggingface.json` is read from that.
//!
//! Types of tokens mean what they do in `SentencePiece`: control tokens are special, user-defined ones are tokens in every text. Ids
//! that no text becomes (type 5, place holders that fill up a table of weights) are left out of a vocabulary with merges.

mod metadata;
mod rules;

use super::{
    Given, families,
    huggingface::{self, byte_level, character_level},
    load::says_all,
    pieces::{self, Kind, Piece, Settings, UNKNOWN_TEXT, pattern_of},
    refuse,
};
use crate::{
    error::{Error, Result},
    normalizer::{Normalizer, Step, Wanted},
    piece_key::Seed,
    pipeline::{AddedToken, Definition, Pipeline, Template},
    vocab::show,
};
use metadata::{MAGIC, Stop, Value};
use std::{collections::HashMap, fs::File, io::Read, path::Path};

const PREFIX: &str = "tokenizer.ggml.";
/// All of a `tokenizer.json`.
const WHOLE: &str = "tokenizer.huggingface.json";
/// What is kept, behind the prefix.
const KEYS: &[&str] = &[
    "model",
    "pre",
    "tokens",
    "scores",
    "token_type",
    "merges",
    "bos_token_id",
    "eos_token_id",
    "add_bos_token",
    "add_eos_token",
    "add_space_prefix",
    "remove_extra_whitespaces",
];

/// Whether a file begins as GGUF does.
pub fn is_gguf(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(Error::io(path))?;
    Ok(start == MAGIC)
}

/// Reads the tokenizer of a file.
pub fn load(path: &Path, given: &Given) -> Result<Definition> {
    let file = File::open(path).map_err(Error::io(path))?;
    let is_wanted =
        |key: &str| key == WHOLE || key.strip_prefix(PREFIX).is_some_and(|key| KEYS.contains(&key));
    let values = match metadata::read(file, is_wanted) {
        Ok(values) => values,
        Err(Stop::Io(error)) => return Err(Error::io(path)(error)),
        Err(Stop::Damaged(reason)) => {
            return refuse(path, None, format!("the GGUF file cannot be read: {reason}"));
        }
    };
    if let Some(Value::Text(text)) = values.get(WHOLE) {
        says_all(path, "the file", given)?;
        return huggingface::parse(path, text, None);
    }
    let file = Gguf { path, values };
    match file.text("model")? {
        Some("llama") => file.scored(given),
        Some("gpt2") => file.bytes(given),
        Some("gemma4") => file.characters(given),
        Some(other) => file.refuse(format!(
            "the tokenizer of the GGUF file is of the model `{}`; `llama`, `gpt2` and `gemma4` are supported, since they merge",
            other.escape_debug()
        )),
        None => file.refuse("the GGUF file has no `tokenizer.ggml.model`, so it holds no tokenizer"),
    }
}

/// Tokens with their ids, and those of them that are looked for in text.
type Sorted<'a> = (Vec<(&'a str, u32)>, Vec<AddedToken>);

/// What a file says.
struct Gguf<'a> {
    path: &'a Path,
    values: HashMap<String, Value>,
}

impl Gguf<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        refuse(self.path, None, reason)
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(&format!("{PREFIX}{key}"))
    }

    fn other<T>(&self, key: &str, wanted: &str) -> Result<T> {
        self.refuse(format!("`{PREFIX}{key}` is not {wanted}; the file is damaged"))
    }

    fn text(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => self.other(key, "a text"),
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => self.other(key, "true or false"),
        }
    }

    fn tokens(&self) -> Result<&[String]> {
        match self.get("tokens") {
            Some(Value::Texts(tokens)) if !tokens.is_empty() => Ok(tokens),
            None => self.refuse("the GGUF file has no `tokenizer.ggml.tokens`, so it holds no tokenizer"),
            Some(_) => self.other("tokens", "a list of texts"),
        }
    }

    fn merges(&self) -> Result<&[String]> {
        match self.get("merges") {
            Some(Value::Texts(merges)) => Ok(merges),
            None => self.refuse("the GGUF file has no `tokenizer.ggml.merges`"),
            Some(_) => self.other("merges", "a list of texts"),
        }
    }

    /// The type of each token.
    fn kinds(&self) -> Result<Vec<Kind>> {
        let num_tokens = self.tokens()?.len();
        let numbers = match self.get("token_type") {
            None => return Ok(vec![Kind::Normal; num_tokens]),
            Some(Value::Numbers(numbers)) if numbers.len() == num_tokens => numbers,
            Some(_) => return self.other("token_type", "a list of as many numbers as there are tokens"),
        };
        match numbers.iter().map(|&number| Kind::of(number)).collect() {
            Some(kinds) => Ok(kinds),
            None => self.other("token_type", "a list of numbers from 1 to 6"),
        }
    }

    /// The id before or after a text, if the file says that it has one there.
    fn around(&self, adds: &str, default: bool, id: &str) -> Result<Option<u32>> {
        if self.flag(adds, default)? { self.id(id) } else { Ok(None) }
    }

    fn id(&self, id: &str) -> Result<Option<u32>> {
        let num_tokens = self.tokens()?.len() as u64;
        match self.get(id) {
            None => Ok(None),
            Some(Value::Number(number)) if *number < num_tokens => Ok(u32::try_from(*number).ok()),
            Some(_) => self.other(id, "the id of a token"),
        }
    }

    fn template(&self, adds_start: bool) -> Result<Template> {
        Ok(Template {
            before: self.around("add_bos_token", adds_start, "bos_token_id")?.into_iter().collect(),
            after: self.around("add_eos_token", false, "eos_token_id")?.into_iter().collect(),
        })
    }

    /// Pieces with scores.
    fn scored(&self, given: &Given) -> Result<Definition> {
        says_all(self.path, "a GGUF file of this kind", given)?;
        let (tokens, kinds) = (self.tokens()?, self.kinds()?);
        let scores = match self.get("scores") {
            Some(Value::Floats(scores)) if scores.len() == tokens.len() => scores,
            _ => return self.other("scores", "a list of as many numbers as there are tokens"),
        };
        let piece = |((text, &score), kind)| Piece { text, score, kind };
        let list: Vec<Piece> =
            tokens.iter().map(|text| &text[..]).zip(scores).zip(kinds).map(piece).collect();
        let settings = Settings {
            adds_prefix: self.flag("add_space_prefix", true)?,
            removes_spaces: self.flag("remove_extra_whitespaces", false)?,
            before: self.around("add_bos_token", true, "bos_token_id")?,
            after: self.around("add_eos_token", false, "eos_token_id")?,
            unknown_text: UNKNOWN_TEXT.as_bytes(),
        };
        pieces::definition(self.path, &list, settings)
    }

    /// The tokens that merges may use, and those that are looked for in text.
    fn sorted(&self) -> Result<Sorted<'_>> {
        let (mut entries, mut added) = (Vec::new(), Vec::new());
        let mut seen = HashMap::with_hasher(Seed::default());
        for ((id, text), kind) in (0..).zip(self.tokens()?).zip(self.kinds()?) {
            if kind == Kind::Unused {
                continue;
            }
            if let Some(first) = seen.insert(&text[..], id) {
                return self.refuse(format!(
                    "ids {first} and {id} are both {}; the file is damaged",
                    show(text.as_bytes())
                ));
            }
            // Merges may use one that is looked for in text as well.
            entries.push((&text[..], id));
            match kind {
                Kind::Control => added.push(AddedToken::special(text.clone(), id)),
                Kind::UserDefined => {
                    added.push(AddedToken { special: false, ..AddedToken::special(text.clone(), id) });
                }
                _ => {}
            }
        }
        Ok((entries, added))
    }

    /// Tokens in GPT-2's characters, with merges.
    fn bytes(&self, given: &Given) -> Result<Definition> {
        let name = self.text("pre")?.unwrap_or("default");
        let rule = rules::find(name);
        let (pattern, steps) = if let Some(rule) = rule {
            says_all(self.path, "the GGUF file", given)?;
            (rule.pattern()?, if rule.nfc { vec![Step::Nfc] } else { Vec::new() })
        } else {
            if !given.special_tokens.is_empty() {
                return self.refuse("a GGUF file says its special tokens itself; leave them out");
            }
            let what = format!(
                "the GGUF file splits text by the rule `{}`, which is not known here",
                name.escape_debug()
            );
            let lacking = families::lacking(self.path, &what, given, self.tokens()?.len())?;
            (lacking.pattern, lacking.normalizer)
        };
        let (entries, added) = self.sorted()?;
        let vocab = byte_level(self.path, entries, self.merges()?, &added)?;
        let pipeline = Pipeline {
            normalizer: Normalizer::new(steps).or_else(|reason| self.refuse(reason))?,
            whole_pieces: rule.is_some_and(|rule| rule.whole_pieces),
            added,
            template: self.template(rule.is_some_and(|rule| rule.adds_start))?,
            ..Pipeline::default()
        };
        Ok(Definition { vocab, pattern, pipeline })
    }

    /// Tokens of characters, with merges: Gemma 4. A space is `▁`, and nothing is put before text.
    fn characters(&self, given: &Given) -> Result<Definition> {
        says_all(self.path, "a GGUF file of this kind", given)?;
        let (entries, added) = self.sorted()?;
        let vocab = character_level(self.path, entries, self.merges()?, &added)?;
        let step = Step::Replace { wanted: Wanted::Text(pieces::SPACE.into()), content: " ".into() };
        let pattern = pattern_of(&vocab).to_owned();
        let pipeline = Pipeline {
            normalizer: Normalizer::new(vec![step]).or_else(|reason| self.refuse(reason))?,
            added,
            // Whatever the file says of it: llama.cpp found the flag wrong in the first files of this kind.
            template: Template { before: self.id("bos_token_id")?.into_iter().collect(), after: Vec::new() },
            ..Pipeline::default()
        };
        Ok(Definition { vocab, pattern, pipeline })
    }
}
