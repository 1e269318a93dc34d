//! The tokenizer in a GGUF file, the format of llama.cpp (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! A file begins with keys and values, of which those of `tokenizer.ggml` are kept; what follows, the weights, is not read.
//! Lengths are checked against the file's before anything is allocated.

use super::{
    given::Given,
    huggingface::byte_level,
    pieces::{self, Kind, Piece, Settings},
    refuse,
};
use crate::{
    error::{Error, Result},
    pipeline::{AddedToken, Definition, Pipeline, Template},
    pretokenizer::Pretokenizer,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

/// The first bytes.
pub const MAGIC: &[u8; 4] = b"GGUF";
const PREFIX: &str = "tokenizer.ggml.";
/// The most bytes that keys and values may have: those of real files have some megabytes.
const MOST_BYTES: u64 = super::MAX_FILE_BYTES;

/// A value that counts here.
enum Value {
    Number(u64),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    Floats(Vec<f32>),
    Numbers(Vec<u64>),
    /// Of a type without use here.
    Other,
}

struct Reader {
    file: io::Take<BufReader<File>>,
}

/// Why a file cannot be read on.
enum Stop {
    Io(io::Error),
    Damaged(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Stop::Damaged("it ends within a value"),
            _ => Stop::Io(error),
        }
    }
}

type Read_<T> = std::result::Result<T, Stop>;

impl Reader {
    fn bytes<const N: usize>(&mut self) -> Read_<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn number(&mut self) -> Read_<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn kind(&mut self) -> Read_<u32> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn text(&mut self) -> Read_<String> {
        let len = self.number()?;
        if len > self.file.limit() {
            return Err(Stop::Damaged("a text is longer than the file"));
        }
        let mut bytes = Vec::new();
        self.file.by_ref().take(len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len {
            return Err(Stop::Damaged("it ends within a text"));
        }
        String::from_utf8(bytes).map_err(|_| Stop::Damaged("a text is not UTF-8"))
    }

    /// A value of a type that is no array, as a number if it is one.
    fn scalar(&mut self, kind: u32) -> Read_<Value> {
        Ok(match kind {
            0 | 1 => Value::Number(self.bytes::<1>()?[0].into()),
            2 | 3 => Value::Number(u16::from_le_bytes(self.bytes()?).into()),
            4 | 5 => Value::Number(u32::from_le_bytes(self.bytes()?).into()),
            6 => Value::Floats(vec![f32::from_le_bytes(self.bytes()?)]),
            7 => Value::Bool(self.bytes::<1>()?[0] != 0),
            8 => Value::Text(self.text()?),
            10 | 11 => Value::Number(self.number()?),
            12 => self.bytes::<8>().map(|_| Value::Other)?,
            _ => return Err(Stop::Damaged("a value has an unknown type")),
        })
    }

    fn value(&mut self) -> Read_<Value> {
        let kind = self.kind()?;
        if kind != 9 {
            return self.scalar(kind);
        }
        let (kind, len) = (self.kind()?, self.number()?);
        // Each has a byte at the least.
        if len > self.file.limit() {
            return Err(Stop::Damaged("an array is longer than the file"));
        }
        let (mut texts, mut floats, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..len {
            match self.scalar(kind)? {
                Value::Text(text) => texts.push(text),
                Value::Floats(float) => floats.extend(float),
                Value::Number(number) => numbers.push(number),
                _ => {}
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            6 => Value::Floats(floats),
            0..=5 | 10 | 11 => Value::Numbers(numbers),
            _ => Value::Other,
        })
    }

    fn keys(&mut self) -> Read_<HashMap<String, Value>> {
        let magic = self.bytes::<4>()?;
        if magic != *MAGIC {
            return Err(Stop::Damaged("it does not begin with `GGUF`"));
        }
        if !(2..=3).contains(&self.kind()?) {
            return Err(Stop::Damaged("its version is neither 2 nor 3"));
        }
        let _num_tensors = self.number()?;
        let mut found = HashMap::new();
        for _ in 0..self.number()? {
            let (key, value) = (self.text()?, self.value()?);
            if let Some(name) = key.strip_prefix(PREFIX) {
                found.insert(name.to_owned(), value);
            }
        }
        Ok(found)
    }
}

/// Names in `tokenizer.ggml.pre` and the names of patterns that they mean; those that are names of patterns themselves are not
/// listed. Which name means which is told by `llama-vocab.cpp` of llama.cpp.
const PATTERNS: &[(&str, &str)] = &[
    ("llama-bpe", "cl100k"),
    ("llama-v3", "cl100k"),
    ("llama3", "cl100k"),
    ("falcon3", "cl100k"),
    ("dbrx", "cl100k"),
    ("smaug-bpe", "cl100k"),
    ("chatglm-bpe", "cl100k"),
    ("glm4", "cl100k"),
    ("olmo", "gpt2"),
    ("mpt", "gpt2"),
    ("phi-2", "gpt2"),
    ("jina-es", "gpt2"),
    ("jina-de", "gpt2"),
    ("roberta-bpe", "gpt2"),
    ("stablelm2", "qwen2"),
    ("deepseek-r1-qwen", "qwen2"),
    ("qwen35", "qwen3_5"),
    ("refact", "starcoder"),
    ("command-r", "starcoder"),
    ("codeshell", "starcoder"),
    ("exaone", "starcoder"),
    ("gpt-4o", "o200k"),
];
/// Those with which a piece that is a token is that token.
const WHOLE_PIECES: &[&str] =
    &["llama-bpe", "llama-v3", "llama3", "falcon3", "tekken", "pixtral", "gpt-4o", "llama4", "kimi-k2"];

/// Reads the tokenizer of a file.
pub fn load(path: &Path, given: &Given) -> Result<Definition> {
    let file = File::open(path).map_err(Error::io(path))?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    let mut reader = Reader { file: BufReader::new(file).take(len.min(MOST_BYTES)) };
    let keys = match reader.keys() {
        Ok(keys) => keys,
        Err(Stop::Io(error)) => return Err(Error::io(path)(error)),
        Err(Stop::Damaged(reason)) => {
            return refuse(path, None, format!("the GGUF file is damaged: {reason}"));
        }
    };
    let text = |name: &str| match keys.get(name) {
        Some(Value::Text(text)) => Some(&text[..]),
        _ => None,
    };
    let number = |name: &str| match keys.get(name) {
        Some(Value::Number(number)) => u32::try_from(*number).ok(),
        _ => None,
    };
    let flag = |name: &str, default| match keys.get(name) {
        Some(Value::Bool(flag)) => *flag,
        _ => default,
    };
    let Some(Value::Texts(tokens)) = keys.get("tokens") else {
        return refuse(path, None, "the GGUF file has no `tokenizer.ggml.tokens`, so it holds no tokenizer");
    };
    let kinds = match keys.get("token_type") {
        Some(Value::Numbers(kinds)) => kinds.clone(),
        _ => vec![1; tokens.len()],
    };
    if kinds.len() != tokens.len() {
        return refuse(
            path,
            None,
            "`tokenizer.ggml.token_type` and `tokens` differ in length; the file is damaged",
        );
    }
    let begin = number("bos_token_id").filter(|&id| (id as usize) < tokens.len());
    match text("model") {
        Some("llama") => {
            let Some(Value::Floats(scores)) = keys.get("scores") else {
                return refuse(path, None, "the GGUF file has no `tokenizer.ggml.scores`");
            };
            if scores.len() != tokens.len() {
                return refuse(
                    path,
                    None,
                    "`tokenizer.ggml.scores` and `tokens` differ in length; the file is damaged",
                );
            }
            let mut list = Vec::with_capacity(tokens.len());
            for ((text, &score), &kind) in tokens.iter().zip(scores).zip(&kinds) {
                let kind = match kind {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    other => {
                        return refuse(
                            path,
                            None,
                            format!("the token {text:?} has the unknown type {other}"),
                        );
                    }
                };
                list.push(Piece { text: text.clone(), score, kind });
            }
            let settings = Settings {
                add_dummy_prefix: flag("add_space_prefix", true),
                remove_extra_whitespaces: flag("remove_extra_whitespaces", false),
                unknown_text: " \u{2047} ".into(),
                begin: begin.filter(|_| flag("add_bos_token", true)),
            };
            pieces::definition(path, &list, settings)
        }
        Some("gpt2") => {
            let merges = match keys.get("merges") {
                Some(Value::Texts(merges)) => &merges[..],
                _ => return refuse(path, None, "the GGUF file has no `tokenizer.ggml.merges`"),
            };
            let pre = text("pre").unwrap_or("default");
            let named = PATTERNS.iter().find(|(name, _)| *name == pre).map_or(pre, |(_, pattern)| pattern);
            let pattern = match &given.pattern {
                Some(pattern) => Pretokenizer::new(pattern),
                None => Pretokenizer::new(named).and_then(|found| match found.name() {
                    Some(_) => Ok(found),
                    None => Err(Error::Pattern { pattern: pre.into(), reason: String::new() }),
                }),
            };
            let Ok(pattern) = pattern else {
                return refuse(
                    path,
                    None,
                    format!(
                        "the GGUF file splits text by the rule `{pre}`, which is not known here; {}",
                        Given::ask_for_pattern()
                    ),
                );
            };
            let mut added = Vec::new();
            let mut entries = Vec::new();
            for ((id, text), kind) in (0_u32..).zip(tokens).zip(&kinds) {
                match kind {
                    1 | 2 | 6 => entries.push((&text[..], id)),
                    3 => added.push(AddedToken::special(text.clone(), id)),
                    4 => added.push(AddedToken { special: false, ..AddedToken::special(text.clone(), id) }),
                    // Left out of the vocabulary that the weights have rows for.
                    _ => {}
                }
            }
            let vocab = byte_level(path, entries, merges, &added)?;
            let before = begin.filter(|_| flag("add_bos_token", false)).into_iter().collect();
            let pipeline = Pipeline {
                whole_pieces: WHOLE_PIECES.contains(&pre),
                added,
                template: Template { before, after: Vec::new() },
                ..Pipeline::default()
            };
            Ok(Definition { vocab, pattern: pattern.pattern().to_owned(), pipeline })
        }
        Some(other) => refuse(
            path,
            None,
            format!(
                "the tokenizer in the GGUF file is of the model `{other}`; `gpt2` and `llama` are supported"
            ),
        ),
        None => refuse(path, None, "the GGUF file has no `tokenizer.ggml.model`, so it holds no tokenizer"),
    }
}
