//! Which kind of tokenizer a path holds: known by content, for names are for people.

use super::{
    MODEL, decode,
    families::{self, Lacking},
    gguf, gpt2, huggingface, read_bytes, read_text, refuse, sentencepiece, tekken, tiktoken,
};
use crate::{
    error::{Error, Result},
    pipeline::Definition,
};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// What a format lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// A regex, a name of [`crate::pretokenizer::NAMED`], or a sequence.
    pub pattern: Option<String>,
    /// Special tokens; one without an id has it from the file, or the next free one.
    pub special_tokens: Vec<(String, Option<u32>)>,
    /// A name that brings both.
    pub family: Option<String>,
}

/// What is read, for messages.
const KINDS: &str = "a tokenizer is read from tokenizer.json, tekken.json, a SentencePiece model, tiktoken ranks (lines of base64 and a number), vocab.json beside merges.txt, a GGUF file, or a folder with one of them";

/// Reads a tokenizer from a file, or from a folder with one ([`file_of`]).
///
/// The kind of a file is known by its content. Of the kinds, tiktoken ranks and the pair of GPT-2 files lack a pattern and special
/// tokens, and a GGUF file may lack a pattern; these are `given`.
///
/// # Errors
/// [`Error::Io`]; [`Error::VocabFile`] if the file is of no known kind, is damaged, has a feature that changes ids and is not
/// known here, lacks what is not given, or says itself what is given.
pub fn load(path: &Path, given: &Given) -> Result<Definition> {
    let (path, _) = file_of(path)?;
    let path = &path;
    if gguf::is_gguf(path)? {
        return gguf::load(path, given);
    }
    let bytes = read_bytes(path)?;
    if sentencepiece::may_be(&bytes) {
        says_all(path, "a SentencePiece model", given)?;
        let definition = sentencepiece::parse(path, &bytes)?;
        return match own_beside(path)? {
            Some(own) => huggingface::check(path, &own, definition),
            None => Ok(definition),
        };
    }
    if std::str::from_utf8(&bytes).is_err() && !is_utf16(&bytes) {
        let reason = format!(
            "the file is not UTF-8 text, no SentencePiece model and no GGUF file, so it is no tokenizer, or it is damaged; {KINDS}"
        );
        return refuse(path, None, reason);
    }
    let text = decode(path, bytes)?;
    match kind_of(path, &text) {
        Kind::Tokenizer => {
            says_all(path, "tokenizer.json", given)?;
            huggingface::parse(path, &text, own_beside(path)?.as_deref())
        }
        Kind::Tekken => {
            says_all(path, "tekken.json", given)?;
            tekken::parse(path, &text)
        }
        Kind::Ranks => tiktoken::parse(path, &text, given),
        Kind::Pair => pair(&path.with_file_name(gpt2::VOCAB), &path.with_file_name(gpt2::MERGES), given),
        Kind::PairsVocab => pair(path, &path.with_file_name(gpt2::MERGES), given),
        Kind::Other => {
            let reason = format!(
                "the file is not a JSON file and none of the other kinds, so it is no tokenizer; {KINDS}"
            );
            refuse(path, None, reason)
        }
    }
}

/// The file that [`load`] reads, and what else in its folder it could have read.
///
/// Of a folder that is the first of `tokenizer.json`, `tekken.json`, `tokenizer.model`, `*.model`, `*.tiktoken`, `vocab.json` (if `merges.txt` is
/// there) and `*.gguf`.
///
/// # Errors
/// [`Error::Io`]; [`Error::VocabFile`] if a folder has none of them, or several of the first kind that it has.
pub fn file_of(path: &Path) -> Result<(PathBuf, Vec<PathBuf>)> {
    if !path.is_dir() {
        return Ok((path.into(), Vec::new()));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        files.push(entry.map_err(Error::io(path))?.path());
    }
    files.retain(|file| !file.is_dir());
    files.sort();
    let named = |name: &str| files.iter().filter(|file| file.ends_with(name)).cloned().collect::<Vec<_>>();
    let with_extension = |extension: &str| {
        let is_kind = |file: &&PathBuf| file.extension().is_some_and(|of| of == extension);
        files.iter().filter(is_kind).cloned().collect::<Vec<_>>()
    };
    let pair = if named(gpt2::MERGES).is_empty() { Vec::new() } else { named(gpt2::VOCAB) };
    // Of a model in parts, the first has the tokenizer.
    let is_later_part = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.contains("-of-") && !name.contains("-00001-of-")
    };
    let mut models = with_extension("model");
    if !named(MODEL).is_empty() {
        models = named(MODEL);
    }
    let mut gguf = with_extension("gguf");
    gguf.retain(|file| !is_later_part(file));
    let mut kinds = vec![
        named(huggingface::TOKENIZER),
        named(tekken::NAME),
        models,
        with_extension("tiktoken"),
        pair,
        gguf,
    ];
    kinds.retain(|kind| !kind.is_empty());
    match kinds.first().map(|kind| &kind[..]) {
        None => {
            let reason = format!(
                "the folder has no tokenizer.json, so it is no tokenizer, or its saving was cut off; {KINDS}"
            );
            refuse(path, None, reason)
        }
        Some([_]) => {
            let mut all = kinds.concat();
            let rest = all.split_off(1);
            Ok((all.swap_remove(0), rest))
        }
        Some(several) => {
            let found: Vec<_> = several
                .iter()
                .map(|file| file.file_name().unwrap_or_default().to_string_lossy().into_owned())
                .collect();
            refuse(
                path,
                None,
                format!("the folder has {}; give the path of the one to read", found.join(" and ")),
            )
        }
    }
}

/// The text of the file of ours beside a file.
fn own_beside(file: &Path) -> Result<Option<String>> {
    let own = file.with_file_name(huggingface::OWN_FILE);
    if own.exists() { read_text(&own).map(Some) } else { Ok(None) }
}

/// Refuses what is given although a file says it.
pub fn says_all(path: &Path, format: &str, given: &Given) -> Result<()> {
    if *given == Given::default() {
        return Ok(());
    }
    refuse(
        path,
        None,
        format!(
            "{format} says its pattern and special tokens itself; leave out pattern, special tokens and family"
        ),
    )
}

fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// Kinds of text.
#[derive(Debug, PartialEq)]
enum Kind {
    Tokenizer,
    Tekken,
    Ranks,
    /// One of the files of GPT-2, by their usual names.
    Pair,
    /// The first of them.
    PairsVocab,
    Other,
}

fn kind_of(path: &Path, text: &str) -> Kind {
    let Some(line) = text.lines().find(|line| !line.trim().is_empty()) else { return Kind::Other };
    if line.trim_start().starts_with(['{', '[']) || line.trim() == "null" {
        return kind_of_json(text);
    }
    if tiktoken::is_rank(line) {
        return Kind::Ranks;
    }
    let is_merge =
        line.starts_with("#version:") || line.split(' ').filter(|word| !word.is_empty()).count() == 2;
    if is_merge && path.with_file_name(gpt2::VOCAB).exists() { Kind::Pair } else { Kind::Other }
}

/// Looks at keys of the file's object until one decides; what none decides or what is damaged is the reader's of tokenizer.json, who
/// says what is wrong.
fn kind_of_json(text: &str) -> Kind {
    let mut kind = None;
    // The reading is ended by an error where the kind is known.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Keys(&mut kind));
    kind.unwrap_or(Kind::Tokenizer)
}

struct Keys<'a>(&'a mut Option<Kind>);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            *self.0 = match &key[..] {
                "model" | "added_tokens" | "truncation" | "padding" | "normalizer" | "pre_tokenizer"
                | "post_processor" | "decoder" => Some(Kind::Tokenizer),
                "config" | "vocab" | "special_tokens" => Some(Kind::Tekken),
                _ => None,
            };
            // A vocab.json may have any of these words as a token.
            if map.next_value::<IsNumber>()?.0 && !matches!(&key[..], "version") {
                *self.0 = Some(Kind::PairsVocab);
            }
            if self.0.is_some() {
                return Err(A::Error::custom("known"));
            }
        }
        Ok(())
    }
}

/// Whether a value is a number.
struct IsNumber(bool);

impl<'de> Deserialize<'de> for IsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = IsNumber;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(false))
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(false))
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(true))
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(true))
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(true))
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<IsNumber, E> {
        Ok(IsNumber(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<IsNumber, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(IsNumber(false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<IsNumber, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(IsNumber(false))
    }
}

/// The pair of GPT-2's files.
fn pair(vocab: &Path, merges: &Path, given: &Given) -> Result<Definition> {
    if !merges.exists() {
        let reason = "the file has ids of tokens and no merges; merges.txt must be beside it";
        return refuse(vocab, None, reason);
    }
    let text = decode(merges, read_bytes(merges)?)?;
    let num_merges = text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version:")).count();
    let what = "the folder has vocab.json and merges.txt but no tokenizer.json; the pair has no pattern and no special tokens";
    let lacking = families::lacking(vocab, what, given, 256 + num_merges)?;
    let specials: Vec<String> = lacking.listed().into_iter().map(|token| token.0).collect();
    let loaded = gpt2::load_gpt2(vocab, merges, &specials)?;
    for (content, id) in lacking.listed() {
        let has = loaded.special_id(&content);
        if let (Some(id), Some(has)) = (id, has)
            && id != has
        {
            let reason = format!(
                "the special token `{content}` would have the id {has}, and should have {id}; give the special tokens that belong to the file"
            );
            return refuse(vocab, None, reason);
        }
    }
    // What wrote such files merged whatever a piece is.
    Lacking::definition(lacking, loaded, false).or_else(|reason| refuse(vocab, None, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_text_are_known() {
        let path = Path::new("nowhere/x");
        for (text, kind) in [
            ("{\"version\": \"1.0\", \"model\": {}}", Kind::Tokenizer),
            ("{\"added_tokens\": [", Kind::Tokenizer),
            ("{}", Kind::Tokenizer),
            ("[1, 2]", Kind::Tokenizer),
            ("{\"type\": \"Tekken\", \"vocab\": []}", Kind::Tekken),
            (" {\"config\": {}}", Kind::Tekken),
            ("{\"a\": 0}", Kind::PairsVocab),
            ("{\"version\": 5, \"model\": 7}", Kind::PairsVocab),
            ("\n\nAA== 0\r\n", Kind::Ranks),
            ("h e", Kind::Other),
            ("Some text", Kind::Other),
            (" \n", Kind::Other),
        ] {
            assert_eq!(kind_of(path, text), kind, "{text}");
        }
    }
}
