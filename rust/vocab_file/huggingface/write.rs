//! The texts of `tokenizer.json` and `tokenizer_config.json`.
//!
//! What is written for a tokenizer that was trained here, and why so (checked with `tokenizers` 0.23 and `transformers` 5):
//! * GPT-2's pattern as a bare `ByteLevel`, since some readers know it in that form only; others as `Split` +
//!   `ByteLevel`.
//! * Special tokens also in `model.vocab`: the library takes an added token's id from there, and otherwise
//!   numbers it by the *count* of entries, which in a vocabulary with holes is the id of another token.
//! * `PreTrainedTokenizerFast` as the class: under `GPT2Tokenizer`, `transformers` 5 replaces the pattern.
//!
//! One that was read from such a file is written as that said it.

use super::super::{
    ByteChars,
    gpt2::{json_entries, quote},
    refuse,
};
use super::oniguruma::read_otherwise;
use super::{File, own_file, parse, pre_tokenizer::SPACE};
use crate::{
    error::Result,
    normalizer::Step,
    pipeline::{AddedToken, Definition, Pipeline, PrefixPlace, Source, Stripped, Template},
    pretokenizer::Pretokenizer,
    vocab::{Vocab, show},
};
use serde_json::{Value, json};
use std::{borrow::Cow, collections::HashMap, fmt::Write as _, path::Path};

const END_OF_TEXT: &str = "<|endoftext|>";

/// The text of `tokenizer.json`, read back and found to be the same tokenizer. `path` is for messages.
pub fn write(path: &Path, definition: &Definition) -> Result<String> {
    let vocab = &definition.vocab;
    if vocab.has_shared_ranks() {
        let reason = "the format ranks each merge apart, and merges of this tokenizer share a rank, so ids would differ; keep the file that it was read from";
        return refuse(path, None, reason);
    }
    if definition.pipeline.source.is_none() {
        for regex in Pretokenizer::new(&definition.pattern)?.regexes() {
            if let Some(construct) = read_otherwise(regex) {
                let reason = format!(
                    "the pattern `{regex}` cannot be saved: {construct}, so Hugging Face's regex engine would split text otherwise; \
                     write the pattern without it"
                );
                return refuse(path, None, reason);
            }
        }
    }
    let text = compose(path, definition)?;
    let read = parse(path, &text, Some(&own_file(definition)))?;
    let same_steps = read.sha256() == definition.sha256();
    if same_steps && (&read.vocab, &read.pattern) == (vocab, &definition.pattern) {
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

fn compose(path: &Path, definition: &Definition) -> Result<String> {
    let own = if definition.pipeline.source.is_none() { own_source(definition)? } else { None };
    let Some(source) = definition.pipeline.source.as_ref().or(own.as_ref()) else {
        let reason =
            "tokenizer.json cannot say what this tokenizer does to text; keep the file that it was read from";
        return refuse(path, None, reason);
    };
    let vocab = &definition.vocab;
    let added: Vec<String> = definition.pipeline.added.iter().map(added_token).collect();
    let spell = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        if source.writes_spaces { text.replace(' ', SPACE) } else { text.into_owned() }
    };
    let chars = ByteChars::new();
    let of_characters = vocab.characters();
    let entries = match of_characters {
        None => json_entries(path, vocab)?,
        Some(characters) => {
            let specials: HashMap<u32, &str> =
                vocab.specials().iter().map(|token| (token.id, &token.content[..])).collect();
            let spelled = |(id, bytes): (u32, &[u8])| {
                let text = if characters.is_byte(id) {
                    format!("<0x{:02X}>", bytes[0])
                } else if let Some(special) = specials.get(&id) {
                    (*special).to_owned()
                } else {
                    spell(bytes)
                };
                (id, text)
            };
            vocab.tokens().map(spelled).collect()
        }
    };
    let entries =
        if definition.pipeline.source.is_some() { without_added(path, definition, entries) } else { entries };
    let entries: Vec<String> =
        entries.iter().map(|(id, text)| format!("      {}: {id}", quote(text))).collect();
    let merges: Vec<String> = vocab
        .merges()
        .iter()
        .map(|merge| {
            let (left, right) = vocab.parts(*merge);
            let text = |bytes| if of_characters.is_some() { spell(bytes) } else { chars.text(bytes) };
            format!("      [{}, {}]", quote(&text(left)), quote(&text(right)))
        })
        .collect();
    let list = |open: char, lines: &[String], indent: &str, close: char| match lines {
        [] => format!("{open}{close}"),
        _ => format!("{open}\n{}\n{indent}{close}", lines.join(",\n")),
    };
    let or_null = |text: &str| if text.is_empty() { "null".to_owned() } else { text.to_owned() };
    Ok(format!(
        r#"{{
  "version": "1.0",
  "truncation": {truncation},
  "padding": {padding},
  "added_tokens": {added},
  "normalizer": {normalizer},
  "pre_tokenizer": {pre_tokenizer},
  "post_processor": {post_processor},
  "decoder": {decoder},
  "model": {{
    {model},
    "vocab": {entries},
    "merges": {merges}
  }}
}}
"#,
        truncation = or_null(&source.not_applied[0]),
        padding = or_null(&source.not_applied[1]),
        added = list('[', &added, "  ", ']'),
        normalizer = or_null(&source.normalizer),
        pre_tokenizer = or_null(&source.pre_tokenizer),
        post_processor = or_null(&source.post_processor),
        decoder = or_null(&source.decoder),
        model = source.model,
        entries = list('{', &entries, "    ", '}'),
        merges = list('[', &merges, "    ", ']'),
    ))
}

/// The entries without added tokens of one character, or without all that no merge makes if whole pieces are looked up, as far as
/// the library gives them the same ids: as entries they would be tokens where they are not cut out.
fn without_added(path: &Path, definition: &Definition, entries: Vec<(u32, String)>) -> Vec<(u32, String)> {
    let Definition { vocab, pipeline, .. } = definition;
    let unknown = vocab.characters().and_then(|characters| characters.unknown);
    let is_only_added = |id: u32, text: &str| {
        vocab.is_special(id)
            && !vocab.is_ordinary(id)
            && unknown != Some(id)
            && (pipeline.whole_pieces || text.chars().count() == 1)
    };
    let rest = entries.iter().filter(|(id, text)| !is_only_added(*id, text));
    let rest: Vec<_> = rest.map(|(id, text)| (Cow::Borrowed(&text[..]), *id)).collect();
    if (File { path }).check_ids(&rest, &pipeline.added).is_err() {
        return entries;
    }
    rest.into_iter().map(|(text, id)| (id, text.into_owned())).collect()
}

/// An added token as JSON.
fn added_token(token: &AddedToken) -> String {
    format!(
        r#"    {{"id": {}, "content": {}, "single_word": {}, "lstrip": {}, "rstrip": {}, "normalized": {}, "special": {}}}"#,
        token.id,
        quote(&token.content),
        token.single_word,
        token.lstrip,
        token.rstrip,
        token.normalized,
        token.special
    )
}

/// What the file says of a tokenizer that was trained here, or read from ranks or GGUF; `None` if it cannot say it.
fn own_source(definition: &Definition) -> Result<Option<Source>> {
    let Pipeline { normalizer, prefix, strips, template, .. } = &definition.pipeline;
    let normalizer = match normalizer.steps() {
        [] => String::new(),
        [Step::Nfc] => r#"{"type": "NFC"}"#.into(),
        _ => return Ok(None),
    };
    if prefix.place != PrefixPlace::Never
        || *strips != Stripped::Nothing
        || definition.vocab.characters().is_some()
    {
        return Ok(None);
    }
    let byte_level = |prefix: bool, regex: bool| {
        format!(
            r#"{{"type": "ByteLevel", "add_prefix_space": {prefix}, "trim_offsets": true, "use_regex": {regex}}}"#
        )
    };
    let splitter = Pretokenizer::new(&definition.pattern)?;
    let pre_tokenizer = if splitter.name() == Some("gpt2") {
        byte_level(false, true)
    } else {
        let split = |regex: &String| {
            format!(
                "{{\"type\": \"Split\", \"pattern\": {{\"Regex\": {}}}, \"behavior\": \"Isolated\", \"invert\": false}}, ",
                quote(regex)
            )
        };
        let splits: String = splitter.regexes().iter().map(split).collect();
        let last = byte_level(false, false);
        format!("{{\"type\": \"Sequence\", \"pretokenizers\": [{splits}{last}]}}")
    };
    let model = format!(
        r#""type": "BPE",
    "dropout": null,
    "unk_token": null,
    "continuing_subword_prefix": null,
    "end_of_word_suffix": null,
    "fuse_unk": false,
    "byte_fallback": false,
    "ignore_merges": {}"#,
        definition.pipeline.whole_pieces
    );
    let post_processor = post_processor(definition, template);
    let decoder = byte_level(true, true);
    Ok(Some(Source { normalizer, pre_tokenizer, post_processor, decoder, model, ..Source::default() }))
}

/// The template as JSON, empty for none.
fn post_processor(definition: &Definition, template: &Template) -> String {
    if *template == Template::default() {
        return String::new();
    }
    let name =
        |id: u32| String::from_utf8_lossy(definition.vocab.token_bytes(id).unwrap_or_default()).into_owned();
    let special = |&id: &u32| json!({"SpecialToken": {"id": name(id), "type_id": 0}});
    let around = |text: &str, kind: u32| {
        let text = json!({"Sequence": {"id": text, "type_id": kind}});
        let before = template.before.iter().map(special);
        before.chain([text]).chain(template.after.iter().map(special)).collect::<Vec<_>>()
    };
    let ids = template.before.iter().chain(&template.after);
    let tokens: serde_json::Map<String, Value> =
        ids.map(|&id| (name(id), json!({"id": name(id), "ids": [id], "tokens": [name(id)]}))).collect();
    let pair = [around("A", 0), around("B", 1)].concat();
    json!({"type": "TemplateProcessing", "single": around("A", 0), "pair": pair, "special_tokens": tokens})
        .to_string()
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
