//! `tokenizer.json`, the format "1.0" of Hugging Face, for byte-level BPE; and `tokenizer_config.json` beside
//! it.
//!
//! The format describes far more than we do: normalizers, other splitters, dropout. Each feature that would
//! change ids is refused by name, and so is each key that is not known here: passing over it could mean other
//! ids than the library's. What only adds tokens around a text (post-processors) is allowed, since it does
//! not concern the encoding of the text.
//!
//! What is written, and why so (checked with `tokenizers` 0.23 and `transformers` 5):
//! * GPT-2's pattern as a bare `ByteLevel`, since some readers know it in that form only; others as `Split` +
//!   `ByteLevel`.
//! * Special tokens also in `model.vocab`: the library takes an added token's id from there, and otherwise
//!   numbers it by the *count* of entries, which in a vocabulary with holes is the id of another token.
//! * `PreTrainedTokenizerFast` as the class: under `GPT2Tokenizer`, `transformers` 5 replaces the pattern.
//! * Our digest as a key inside `model`: there, and not at the top, unknown keys are passed over.

use super::{
    ByteChars,
    gpt2::{check_pair, json_entries, not_bytes, parse_pair, quote},
    in_file,
    join::Joiner,
    json::{Json, Object},
    refuse,
    resolve::{self, Entries},
};
use crate::{
    error::{Error, Result},
    pretokenizer::Pretokenizer,
    threads::share,
    vocab::{Vocab, show},
};
use rustc_hash::FxHashMap;
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

pub const TOKENIZER: &str = "tokenizer.json";
pub const CONFIG: &str = "tokenizer_config.json";
/// The version of our own key; a later one may mean something that this build does not know.
const OWN_VERSION: u64 = 1;
const OWN_KEY: &str = "tinybpe";
const END_OF_TEXT: &str = "<|endoftext|>";

/// The pattern that `ByteLevel` means by itself.
fn gpt2() -> Result<Pretokenizer> {
    Pretokenizer::new("gpt2")
}

/// The text of `tokenizer.json`, read back and found to be the same tokenizer. `path` is for messages.
pub fn write(path: &Path, vocab: &Vocab, pattern: &str) -> Result<String> {
    for regex in Pretokenizer::new(pattern)?.regexes() {
        if let Some(construct) = read_otherwise(regex) {
            let reason = format!(
                "the pattern `{regex}` cannot be saved: {construct}, so Hugging Face's regex engine would split text otherwise; \
                 write the pattern without it"
            );
            return refuse(path, None, reason);
        }
    }
    let text = compose(path, vocab, pattern)?;
    let (vocab_read, pattern_read) = parse(path, &text)?;
    if (&vocab_read, &pattern_read[..]) == (vocab, pattern) {
        return Ok(text);
    }
    let reason = match vocab.duplicates().next() {
        Some((id, bytes)) => format!(
            "ids {} and {id} are both {}, and the format keeps such a pair only where bytes have ids 0 to 255 and merge k makes id 256 + k",
            vocab.id_of(bytes).unwrap_or_default(),
            show(bytes)
        ),
        None => "the format gives back another tokenizer; please report this with the vocabulary".into(),
    };
    refuse(path, None, reason)
}

fn compose(path: &Path, vocab: &Vocab, pattern: &str) -> Result<String> {
    let byte_level = |prefix: bool, regex: bool| {
        format!(
            r#"{{"type": "ByteLevel", "add_prefix_space": {prefix}, "trim_offsets": true, "use_regex": {regex}}}"#
        )
    };
    let pretokenizer = Pretokenizer::new(pattern)?;
    let splitter = if pretokenizer.name() == Some("gpt2") {
        byte_level(false, true)
    } else {
        let split = |regex: &String| {
            format!(
                "    {{\"type\": \"Split\", \"pattern\": {{\"Regex\": {}}}, \"behavior\": \"Isolated\", \"invert\": false}},\n",
                quote(regex)
            )
        };
        let splits: String = pretokenizer.regexes().iter().map(split).collect();
        let last = byte_level(false, false);
        format!("{{\"type\": \"Sequence\", \"pretokenizers\": [\n{splits}    {last}\n  ]}}")
    };
    let added: Vec<String> = vocab
        .specials()
        .iter()
        .map(|s| {
            format!(
                r#"    {{"id": {}, "content": {}, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}"#,
                s.id,
                quote(&s.content)
            )
        })
        .collect();
    let entries: Vec<String> =
        json_entries(path, vocab)?.iter().map(|(id, text)| format!("      {}: {id}", quote(text))).collect();
    let chars = ByteChars::new();
    let merges: Vec<String> = vocab
        .merges()
        .iter()
        .map(|m| {
            let (left, right) = vocab.parts(*m);
            format!("      [{}, {}]", quote(&chars.text(left)), quote(&chars.text(right)))
        })
        .collect();
    let list = |open: char, lines: &[String], indent: &str, close: char| match lines {
        [] => format!("{open}{close}"),
        _ => format!("{open}\n{}\n{indent}{close}", lines.join(",\n")),
    };
    Ok(format!(
        r#"{{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": {added},
  "normalizer": null,
  "pre_tokenizer": {splitter},
  "post_processor": null,
  "decoder": {decoder},
  "model": {{
    "type": "BPE",
    "{OWN_KEY}": {{"version": {OWN_VERSION}, "vocab_size": {size}, "sha256": "{digest}"}},
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": false,
    "vocab": {entries},
    "merges": {merges}
  }}
}}
"#,
        added = list('[', &added, "  ", ']'),
        decoder = byte_level(true, true),
        size = vocab.vocab_size(),
        digest = vocab.sha256(pattern),
        entries = list('{', &entries, "    ", '}'),
        merges = list('[', &merges, "    ", ']'),
    ))
}

/// The text of `tokenizer_config.json`.
pub fn config(vocab: &Vocab) -> String {
    let mut text = String::from("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n");
    if vocab.special_id(END_OF_TEXT).is_some() {
        for role in ["bos_token", "eos_token"] {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  \"{role}\": \"{END_OF_TEXT}\",");
        }
    }
    // The number is transformers' own for "no limit": 10^30 as a 64-bit float.
    text.push_str("  \"clean_up_tokenization_spaces\": false,\n  \"model_max_length\": 1000000000000000019884624838656\n}\n");
    text
}

/// Reads the text of a `tokenizer.json`; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<(Vocab, String)> {
    let file = File { path };
    let mut model = None;
    let mut added = Vec::new();
    let mut pattern = None;
    for (key, value) in Json::parse(path, text)?.object(path, "the file")? {
        match &key[..] {
            "version" => match value {
                Json::String(v) if v == "1.0" => {}
                other => {
                    return file.refuse(format!(
                        "the format's version is {}; this build reads \"1.0\"",
                        other.kind()
                    ));
                }
            },
            "truncation" | "padding" if value == Json::Null => {}
            "normalizer" if is_nothing(&value, "normalizers") => {}
            "truncation" | "padding" | "normalizer" => return file.feature(&key, &value, "only null is"),
            "added_tokens" => added = file.added_tokens(value)?,
            "pre_tokenizer" => pattern = Some(file.pattern(value)?),
            // It adds tokens before and after a text, and does not change how the text is encoded.
            "post_processor" => {}
            "decoder" => file.decoder(value)?,
            "model" => model = Some(file.model(value.object(path, "`model`")?)?),
            _ => return file.feature(&key, &value, "no such key is"),
        }
    }
    let Some(model) = model else {
        return file.refuse("there is no `model`, so this is not a tokenizer.json");
    };
    let Some(pattern) = pattern else {
        return file.refuse("there is no `pre_tokenizer`; a byte-level one is needed");
    };
    let own = model.own.as_ref().map(|own| own.sha256.clone());
    let ignore_merges = model.ignore_merges;
    let vocab = file.vocab(&model, &added)?;
    if ignore_merges {
        file.check_merges_reach_all(&vocab)?;
    }
    if own.is_some_and(|sha256| sha256 != vocab.sha256(&pattern)) {
        return file.refuse(format!(
            "the tokenizer is not the one that was saved: its digest differs from `model.{OWN_KEY}.sha256`. The file is damaged, or was edited; \
             restore it, or remove the key `{OWN_KEY}` if the edit is meant"
        ));
    }
    Ok((vocab, pattern))
}

/// What `model` says.
struct Model<'a> {
    vocab: Vec<(Cow<'a, str>, u32)>,
    /// Each is a pair of strings, or a string with a space between two, all in GPT-2's characters.
    merges: Vec<Json<'a>>,
    ignore_merges: bool,
    own: Option<Own>,
}

/// What our own key says.
struct Own {
    vocab_size: u64,
    sha256: String,
}

/// Merges that a thread checks at a time.
const MERGES_TAKEN: usize = 8192;

struct AddedToken {
    id: u32,
    content: String,
    normalized: bool,
}

/// The file that messages name.
struct File<'a> {
    path: &'a Path,
}

impl File<'_> {
    fn refuse<T>(&self, reason: impl Into<String>) -> Result<T> {
        refuse(self.path, None, reason)
    }

    fn feature<T>(&self, name: &str, value: &Json, supported: &str) -> Result<T> {
        let kind = match value {
            Json::Object(entries) => match entries.iter().find(|e| e.0 == "type") {
                Some((_, Json::String(name))) => format!("of type {}", show(name.as_bytes())),
                _ => value.kind(),
            },
            _ => value.kind(),
        };
        self.refuse(format!(
            "`{name}` is {kind}, which can change ids and is not supported: {supported}",
            name = name.escape_debug()
        ))
    }

    fn model<'a>(&self, entries: Object<'a>) -> Result<Model<'a>> {
        let mut model = Model { vocab: Vec::new(), merges: Vec::new(), ignore_merges: false, own: None };
        let (mut has_vocab, mut has_merges) = (false, false);
        for (key, value) in entries {
            let name = format!("model.{key}");
            match (&key[..], value) {
                ("type", Json::String(kind)) if kind == "BPE" => {}
                ("type", value) => {
                    return self
                        .refuse(format!("the model's type is {}; only `BPE` is supported", value.kind()));
                }
                // All 256 bytes have tokens, so nothing is ever unknown; the others are off.
                ("unk_token", Json::Null | Json::String(_))
                | ("fuse_unk", Json::Bool(_))
                | ("byte_fallback", Json::Bool(false))
                | ("dropout" | "continuing_subword_prefix" | "end_of_word_suffix", Json::Null)
                | ("dropout", Json::OtherNumber(0.0)) => {}
                ("continuing_subword_prefix" | "end_of_word_suffix", Json::String(s)) if s.is_empty() => {}
                ("ignore_merges", Json::Bool(value)) => model.ignore_merges = value,
                ("vocab", value) => {
                    has_vocab = true;
                    let entries = value.object(self.path, "`model.vocab`")?;
                    model.vocab.reserve_exact(entries.len());
                    for (text, id) in entries {
                        let id = id.id(self.path, || format!("the id of {}", show(text.as_bytes())))?;
                        model.vocab.push((text, id));
                    }
                }
                ("merges", value) => {
                    has_merges = true;
                    model.merges = self.merges(value.array(self.path, "`model.merges`")?)?;
                }
                (OWN_KEY, value) => model.own = Some(self.own(value.object(self.path, &name)?)?),
                (_, value) => return self.feature(&name, &value, "no such setting is"),
            }
        }
        if !has_vocab || !has_merges {
            return self.refuse("`model` has no `vocab` or no `merges`, so it is no BPE model");
        }
        Ok(model)
    }

    /// Pairs of strings, or strings with a space between, as older files have them; checked.
    fn merges<'a>(&self, items: Vec<Json<'a>>) -> Result<Vec<Json<'a>>> {
        let chars = ByteChars::new();
        let check = |item: &Json| match item {
            Json::String(line) => parse_pair(line, &chars).map(drop),
            Json::Pair(left, right) => check_pair(left, right, &chars),
            Json::Array(parts) => match &parts[..] {
                [Json::String(left), Json::String(right)] => check_pair(left, right, &chars),
                _ => Err("is not two strings".into()),
            },
            other => Err(format!("is {}, and must be a pair of strings", other.kind())),
        };
        let first_odd = share(items.len(), MERGES_TAKEN, |mut range| {
            range.find_map(|k| check(&items[k]).err().map(|reason| (k, reason)))
        });
        match first_odd.into_iter().flatten().next() {
            None => Ok(items),
            Some((k, reason)) => self.refuse(format!("merge {k}: {reason}")),
        }
    }

    fn own(&self, entries: Object) -> Result<Own> {
        let entries: HashMap<_, _> = entries.into_iter().collect();
        match entries.get("version") {
            Some(Json::Number(OWN_VERSION)) => {}
            version => {
                return self.refuse(format!(
                    "`model.{OWN_KEY}` has version {}; this build reads version {OWN_VERSION}",
                    version.map_or("none".into(), Json::kind)
                ));
            }
        }
        match (entries.get("vocab_size"), entries.get("sha256"), entries.len()) {
            (Some(Json::Number(vocab_size)), Some(Json::String(sha256)), 3) => {
                Ok(Own { vocab_size: *vocab_size, sha256: sha256.to_string() })
            }
            _ => self.refuse(format!(
                "`model.{OWN_KEY}` must have `version`, `vocab_size` and `sha256` alone; the file is damaged"
            )),
        }
    }

    fn added_tokens(&self, value: Json) -> Result<Vec<AddedToken>> {
        let mut added = Vec::new();
        for (i, item) in value.array(self.path, "`added_tokens`")?.into_iter().enumerate() {
            let what = |key: &str| format!("`added_tokens[{i}].{key}`");
            let (mut id, mut content, mut normalized) = (None, None, false);
            for (key, value) in item.object(self.path, &format!("`added_tokens[{i}]`"))? {
                match (&key[..], value) {
                    ("id", value) => id = Some(value.id(self.path, || what("id"))?),
                    ("content", value) => {
                        content = Some(value.string(self.path, &what("content"))?.into_owned());
                    }
                    ("normalized", Json::Bool(value)) => normalized = value,
                    // One that is not special is cut out of text all the same.
                    ("special", Json::Bool(_)) | ("single_word" | "lstrip" | "rstrip", Json::Bool(false)) => {
                    }
                    (_, value) => {
                        return self.feature(&format!("added_tokens[{i}].{key}"), &value, "only false is");
                    }
                }
            }
            let (Some(id), Some(content)) = (id, content) else {
                return self.refuse(format!("`added_tokens[{i}]` has no id or no content"));
            };
            added.push(AddedToken { id, content, normalized });
        }
        self.check_order(&added)?;
        Ok(added)
    }

    /// The library looks for tokens with `normalized: false` first, and for the others in what is left.
    /// Looking for all at once, as we do, is the same unless two of different kinds overlap.
    fn check_order(&self, added: &[AddedToken]) -> Result<()> {
        let (late, early): (Vec<_>, Vec<_>) = added.iter().partition(|t| t.normalized);
        let total = |tokens: &[&AddedToken]| tokens.iter().map(|t| t.content.len()).sum::<usize>();
        if total(&early).saturating_mul(total(&late)) > 1 << 27 {
            return self.refuse("the added tokens are too many to compare, and differ in `normalized`; give all the same value");
        }
        for (a, b) in early.iter().flat_map(|a| late.iter().map(move |b| (a, b))) {
            let (x, y) = (a.content.as_bytes(), b.content.as_bytes());
            let touch = |x: &[u8], y: &[u8]| (1..=x.len().min(y.len())).any(|n| x.ends_with(&y[..n]));
            let holds = |x: &[u8], y: &[u8]| !y.is_empty() && x.windows(y.len()).any(|w| w == y);
            if touch(x, y) || touch(y, x) || holds(x, y) || holds(y, x) {
                return self.refuse(format!(
                    "the added tokens {} and {} can overlap in text and differ in `normalized`, which can change ids and is not supported; \
                     give both the same value",
                    show(x),
                    show(y)
                ));
            }
        }
        Ok(())
    }

    /// The pattern of a byte-level pre-tokenizer, or the sequence of patterns.
    fn pattern(&self, value: Json) -> Result<String> {
        let parts = sequence(value, "pretokenizers").unwrap_or_else(|value| vec![value]);
        let mut regexes = Vec::new();
        let num_parts = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            if index + 1 < num_parts && has_type(&part, "Split") {
                regexes.push(self.split(part)?);
            } else if index + 1 < num_parts && has_type(&part, "Digits") {
                regexes.push(self.digits(part)?);
            } else if index + 1 == num_parts && has_type(&part, "ByteLevel") {
                if self.byte_level(part)? {
                    regexes.push(gpt2()?.pattern().to_owned());
                }
            } else {
                return self.feature(
                    "pre_tokenizer",
                    &part,
                    "only `Split` by a regex and `Digits`, any number of them, followed by `ByteLevel` are",
                );
            }
        }
        if regexes.is_empty() {
            return self.refuse(
                "`pre_tokenizer` is `ByteLevel` with `use_regex` false and no `Split` before it, which can change ids and is not supported: text is always split by a pattern",
            );
        }
        for regex in &regexes {
            if let Some(construct) = read_otherwise(regex) {
                return self.refuse(format!(
                    "the pattern `{regex}` is not supported: {construct}, so the regex engine here would split text otherwise than Hugging Face's"
                ));
            }
        }
        match Pretokenizer::sequence(&regexes) {
            Ok(pretokenizer) => Ok(pretokenizer.pattern().to_owned()),
            Err(error) => self.refuse(format!("`pre_tokenizer`: {error}")),
        }
    }

    /// What `Digits` isolates: each digit, or all that stand together.
    fn digits(&self, value: Json) -> Result<String> {
        let mut individual = false;
        for (key, value) in value.object(self.path, "`pre_tokenizer`")? {
            match (&key[..], value) {
                ("type", _) => {}
                ("individual_digits", Json::Bool(value)) => individual = value,
                (_, value) => {
                    return self.feature(&format!("pre_tokenizer.{key}"), &value, "no such setting is");
                }
            }
        }
        Ok(if individual { r"\p{N}" } else { r"\p{N}+" }.to_owned())
    }

    fn split(&self, value: Json) -> Result<String> {
        let name = |key: &str| format!("pre_tokenizer.{key}");
        let (mut pattern, mut behavior, mut invert) = (None, String::new(), false);
        for (key, value) in value.object(self.path, "`pre_tokenizer`")? {
            match (&key[..], value) {
                ("type", _) => {}
                ("pattern", Json::Object(mut entries)) if entries.len() == 1 && entries[0].0 == "Regex" => {
                    let regex = entries.pop().map_or(Json::Null, |e| e.1);
                    pattern = Some(regex.string(self.path, "`pre_tokenizer.pattern.Regex`")?.into_owned());
                }
                ("behavior", Json::String(value)) => behavior = value.into_owned(),
                ("invert", Json::Bool(value)) => invert = value,
                (_, value) => {
                    return self.feature(
                        &name(&key),
                        &value,
                        "a `Split` needs a `Regex`, a behavior and `invert`; nothing else is",
                    );
                }
            }
        }
        let Some(pattern) = pattern else {
            return self.refuse("`pre_tokenizer` is a `Split` without a pattern");
        };
        match (&behavior[..], invert) {
            ("Isolated", false) => Ok(pattern),
            // Drops what the pattern does not match; the named ones match everything.
            ("Removed", true) if Pretokenizer::new(&pattern).is_ok_and(|p| p.name().is_some()) => Ok(pattern),
            _ => self.refuse(format!(
                "the `Split` has behavior {} with `invert` {invert}, which can change ids and is not supported: only `Isolated` with `invert` false is",
                show(behavior.as_bytes())
            )),
        }
    }

    /// Whether it splits by GPT-2's pattern.
    fn byte_level(&self, value: Json) -> Result<bool> {
        let mut use_regex = true;
        // Without the key the library refuses the file, so there is no default to take.
        let mut prefix = Json::Null;
        for (key, value) in value.object(self.path, "`pre_tokenizer`")? {
            match (&key[..], value) {
                // Offsets are not ids.
                ("type", _) | ("trim_offsets", Json::Bool(_)) => {}
                ("use_regex", Json::Bool(value)) => use_regex = value,
                ("add_prefix_space", value) => prefix = value,
                (_, value) => {
                    return self.feature(&format!("pre_tokenizer.{key}"), &value, "no such setting is");
                }
            }
        }
        if prefix != Json::Bool(false) {
            return self.feature("pre_tokenizer.add_prefix_space", &prefix, "only false is");
        }
        Ok(use_regex)
    }

    fn decoder(&self, value: Json) -> Result<()> {
        if is_nothing(&value, "decoders") {
            return Ok(());
        }
        let mut parts = sequence(value, "decoders").unwrap_or_else(|value| vec![value]);
        match (parts.pop(), parts.is_empty()) {
            (Some(part), true) if has_type(&part, "ByteLevel") => Ok(()),
            (Some(part), _) => self.feature("decoder", &part, "only `ByteLevel` is"),
            (None, _) => Ok(()),
        }
    }

    /// Puts model and added tokens together, giving added tokens the ids that the library gives them.
    fn vocab(&self, model: &Model, added: &[AddedToken]) -> Result<Vocab> {
        let contents: HashSet<&str> = added.iter().map(|t| &t.content[..]).collect();
        let (specials, ordinary): (Vec<_>, Vec<_>) = model
            .vocab
            .iter()
            .map(|(text, id)| (&text[..], *id))
            .partition(|(text, _)| contents.contains(text));
        let in_model: HashMap<&str, u32> = specials.into_iter().collect();
        let num_entries = model.vocab.len() as u64;
        let mut given: HashMap<&str, u64> = HashMap::new();
        let mut highest: Option<u64> = None;
        for token in added {
            let next =
                highest.filter(|id| *id >= num_entries || num_entries == 0).map_or(num_entries, |id| id + 1);
            let id = in_model.get(&token.content[..]).map_or(next, |id| u64::from(*id));
            highest = highest.max(Some(id));
            if *given.entry(&token.content).or_insert(id) != u64::from(token.id) {
                return self.refuse(format!(
                    "the added token {} has id {}, but Hugging Face's library would give it {id}; add it to `model.vocab` with the id that is meant",
                    show(token.content.as_bytes()),
                    token.id
                ));
            }
        }
        let chars = ByteChars::new();
        let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(model.vocab.len());
        let mut bytes = Vec::new();
        for &(text, id) in &ordinary {
            bytes.clear();
            if chars.append_bytes(text, &mut bytes).is_none() {
                return self.refuse(not_bytes(text, "list it in `added_tokens` if it is a special token"));
            }
            tokens.push((id, bytes[..].into()));
        }
        let highest = model.vocab.iter().map(|entry| entry.1).chain(added.iter().map(|t| t.id)).max();
        let taken = added.iter().map(|t| t.id).collect();
        let size = model.own.as_ref().map_or(highest.map_or(0, |id| u64::from(id) + 1), |own| own.vocab_size);
        let merges: Vec<(&str, &str)> = model.merges.iter().filter_map(texts).collect();
        let entries = Entries::new(ordinary);
        let specials = added.iter().map(|t| (t.content.clone(), Some(t.id))).collect();
        let built = resolve::build(tokens, &entries, &merges, specials, &taken, size);
        in_file(self.path, built, |k| k).map_err(|e| match e {
            // The number of a merge is in the message; it is not a line here.
            Error::VocabFile { path, reason, .. } => Error::VocabFile { path, line: None, reason },
            other => other,
        })
    }

    /// With `ignore_merges`, a piece that is a token is that token, whatever the merges say. That is the same
    /// if the merges make each token from its bytes.
    fn check_merges_reach_all(&self, vocab: &Vocab) -> Result<()> {
        if let Some(derivations) = vocab.derivations() {
            // Of several ids for the same bytes the smallest is reached.
            let is_reached = |id: u32, bytes: &[u8]| {
                derivations.is_reachable(id)
                    || vocab.id_of(bytes).is_some_and(|id| derivations.is_reachable(id))
            };
            let unreached =
                vocab.tokens().find(|&(id, bytes)| !vocab.is_special(id) && !is_reached(id, bytes));
            return unreached.map_or(Ok(()), |(id, bytes)| self.refuse_unreached(id, bytes));
        }
        let ranks: FxHashMap<(u32, u32), u32> =
            (0..).zip(vocab.merges()).map(|(k, m)| ((m.left, m.right), k)).collect();
        let mut joiner = Joiner::default();
        for (id, bytes) in vocab.tokens().filter(|(id, _)| !vocab.is_special(*id)) {
            let rank = |start: usize, middle: usize, end: usize| {
                let pair = (vocab.id_of(&bytes[start..middle])?, vocab.id_of(&bytes[middle..end])?);
                ranks.get(&pair).copied()
            };
            if joiner.join(bytes.len(), rank).len() > 1 {
                return self.refuse_unreached(id, bytes);
            }
        }
        Ok(())
    }

    fn refuse_unreached(&self, id: u32, bytes: &[u8]) -> Result<()> {
        self.refuse(format!(
            "`model.ignore_merges` is true, and the token {} (id {id}) is not what the merges make of its bytes, so ids would differ; not supported",
            show(bytes)
        ))
    }
}

/// The texts of the two parts of a merge that was checked.
fn texts<'a>(merge: &'a Json) -> Option<(&'a str, &'a str)> {
    match merge {
        Json::String(line) => line.split_once(' '),
        Json::Pair(left, right) => Some((left, right)),
        Json::Array(parts) => match &parts[..] {
            [Json::String(left), Json::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

fn has_type(value: &Json, name: &str) -> bool {
    let Json::Object(entries) = value else { return false };
    entries.iter().any(|(key, value)| key == "type" && matches!(value, Json::String(s) if s == name))
}

/// The parts of a `Sequence`, which are under `key`; anything else is given back.
fn sequence<'a>(value: Json<'a>, key: &str) -> std::result::Result<Vec<Json<'a>>, Json<'a>> {
    let is_list = |(k, v): &(Cow<str>, Json)| k == key && matches!(v, Json::Array(_));
    match value {
        Json::Object(mut entries)
            if entries.len() == 2
                && entries.iter().any(is_list)
                && entries.iter().any(|(k, v)| k == "type" && *v == Json::String("Sequence".into())) =>
        {
            entries.retain(is_list);
            match entries.pop() {
                Some((_, Json::Array(parts))) => Ok(parts),
                _ => Ok(Vec::new()),
            }
        }
        other => Err(other),
    }
}

/// Whether a step does nothing: null, or a `Sequence` of nothing.
fn is_nothing(value: &Json, key: &str) -> bool {
    let Json::Object(entries) = value else { return *value == Json::Null };
    has_type(value, "Sequence")
        && entries.len() == 2
        && entries.iter().any(|(k, v)| k == key && *v == Json::Array(Vec::new()))
}

/// A construct that Oniguruma (in the Ruby syntax that Hugging Face uses) and the engine here read differently.
fn read_otherwise(pattern: &str) -> Option<&'static str> {
    let mut chars = pattern.char_indices();
    let mut in_class = 0;
    while let Some((i, c)) = chars.next() {
        let rest = &pattern[i..];
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class += 1,
            ']' if in_class > 0 => in_class -= 1,
            _ if in_class > 0 => {}
            '{' if rest.starts_with("{,") => return Some("`{,…}` is a count there, and text here"),
            '^' | '$' => return Some("`^` and `$` match at every line there, and at the text's ends here"),
            // `\p{N}+` ends a name, not a count.
            '}' if rest[1..].starts_with('+') && counted(&pattern[..i]) => {
                return Some("`{…}+` repeats the count there, and is possessive here");
            }
            '(' if rest[1..].starts_with('?') => {
                let flags = rest[2..]
                    .split(|c: char| !c.is_ascii_alphabetic() && c != '-')
                    .next()
                    .unwrap_or_default();
                if flags.contains(['m', 's', 'x', 'u', 'U', 'R']) {
                    return Some("flags other than `i` mean something else there");
                }
                if flags.contains('i') && !folds_alike(&rest[2 + flags.len()..]) {
                    return Some("`i` lets one letter stand for two there, as `ß` for `ss`, and never here");
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether a case-insensitive group, from its `:` on, means the same to both engines: plain ASCII letters, and none of the
/// pairs for which a single character stands.
fn folds_alike(rest: &str) -> bool {
    let Some((group, _)) = rest.strip_prefix(':').and_then(|rest| rest.split_once(')')) else { return false };
    let group = group.to_ascii_lowercase();
    group.bytes().all(|b| b.is_ascii_alphabetic() || matches!(b, b'\'' | b'|' | b' '))
        && !["ff", "fi", "fl", "ss", "st"].iter().any(|pair| group.contains(pair))
}

/// Whether the text before a `}` is a count such as `{1,3`.
fn counted(before: &str) -> bool {
    let Some((_, count)) = before.rsplit_once('{') else { return false };
    !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit() || b == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_the_other_engine_reads_differently() {
        for named in crate::pretokenizer::NAMED {
            for regex in Pretokenizer::new(named.name).unwrap().regexes() {
                assert_eq!(read_otherwise(regex), None, "{}", named.name);
            }
        }
        assert_eq!(read_otherwise(r"[^$^]|\p{N}{1,3}|\$\^|\p{L}+|(?i:a)|(?<=x)[\]$]"), None);
        for pattern in [r"(?i:strasse)", r"(?i)a", r"(?i:ß)", r"(?i:[a-z])", r"a{,2}"] {
            assert!(read_otherwise(pattern).is_some(), "{pattern}");
        }
        assert_eq!(read_otherwise(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+"), None);
        for pattern in [r"\s++$", "^a", r"\p{N}{1,3}+", "(?s).", "(?m:.)", "(?i-s:.)", "a{2}+"] {
            assert!(read_otherwise(pattern).is_some(), "{pattern}");
        }
    }
}
