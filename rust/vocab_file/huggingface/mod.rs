//! `tokenizer.json` of Hugging Face for BPE, and what stands beside it.
//!
//! The format describes far more than BPE. What a file asks for is carried out ([`crate::pipeline`]), or refused by name where
//! it is not known here: passing over it could mean other ids than the library's. `truncation` and `padding` concern batches for a
//! model; they are kept and not applied.
//!
//! **Spaces.** SentencePiece's vocabularies write spaces as `▁`, and their files replace the spaces of a text by it. Here the
//! vocabulary is turned round instead: its tokens have spaces, and a `▁` in text becomes a space. So most texts need no copy, and
//! tokens are the bytes of the text.
//!
//! Beside the file stands ours, `tinybpe.json`, with a digest of all that decides ids, so that a flipped bit or an edit by hand
//! is refused instead of giving other ids. Files of our own up to version 0.1 have it as a key of `model`.

mod added_tokens;
mod byte_view;
mod decoder;
mod model;
mod normalizer;
mod oniguruma;
mod own;
mod post_processor;
mod pre_tokenizer;
mod write;

use super::{
    json::Json,
    pieces::{ONE_PIECE, pattern_of},
    refuse,
};
use crate::{
    error::Result,
    normalizer::{Normalizer, WHOLE},
    pipeline::{AddedToken, Definition, Pipeline, Prefix, PrefixPlace, Source},
    pretokenizer::Pretokenizer,
    vocab::{Vocab, show},
};
use memchr::memmem::find;
use model::Model;
use own::Own;
pub use own::{FILE as OWN_FILE, own_file};
use serde_json::Value;
use std::path::Path;
pub use write::{config, write};

pub const TOKENIZER: &str = "tokenizer.json";
pub const CONFIG: &str = "tokenizer_config.json";
/// The file that messages name.
struct File<'a> {
    path: &'a Path,
}

/// Reads the text of a `tokenizer.json`; `path` is for messages, `own` the text of the file of ours beside it.
pub fn parse(path: &Path, text: &str, own: Option<&str>) -> Result<Definition> {
    let file = File { path };
    let (mut model, mut added) = (None, Vec::new());
    let mut source = Source::default();
    let mut sections = [(); 4].map(|()| Value::Null);
    for (key, value) in Json::parse(path, text)?.object(path, "the file")? {
        let mut section = |index: usize, text: &mut String| {
            sections[index] = value.to_value();
            *text = value.to_text();
        };
        match &key[..] {
            "version" => match value {
                // 2.0 is what version 1.0 of the library writes: merges as pairs, the rest as before.
                Json::String(version) if version == "1.0" || version == "2.0" => {}
                other => {
                    return file.refuse(format!(
                        "the format's version is {}; this build reads \"1.0\" and \"2.0\"",
                        other.kind()
                    ));
                }
            },
            "truncation" => source.not_applied[0] = value.to_text(),
            "padding" => source.not_applied[1] = value.to_text(),
            "normalizer" => section(0, &mut source.normalizer),
            "pre_tokenizer" => section(1, &mut source.pre_tokenizer),
            "post_processor" => section(2, &mut source.post_processor),
            "decoder" => section(3, &mut source.decoder),
            "added_tokens" => added = file.added_tokens(value)?,
            "model" => model = Some(file.model(value.object(path, "`model`")?)?),
            _ => return file.feature(&key, &value, "no such key is"),
        }
    }
    let Some(model) = model else {
        return file.refuse("there is no `model`, so this is not a tokenizer.json");
    };
    let own = match own {
        Some(text) => Some(Own::parse(path, text)?),
        None => model.own.clone(),
    };
    let definition = definition(&file, &model, added, source, &sections, own.as_ref())?;
    match own {
        Some(own) => own.check(path, definition),
        None => Ok(definition),
    }
}

/// The tokenizer of what a file says. `sections` are `normalizer`, `pre_tokenizer`, `post_processor` and `decoder`.
fn definition(
    file: &File<'_>,
    model: &Model<'_>,
    added: Vec<AddedToken>,
    mut source: Source,
    sections: &[Value; 4],
    own: Option<&Own>,
) -> Result<Definition> {
    let is_foreign = own.is_none_or(|own| own.is_foreign);
    source.is_foreign = is_foreign;
    let [normalizer, pre_tokenizer, post_processor, decoder] = sections;
    let spells_bytes = pre_tokenizer::has_byte_level(pre_tokenizer);
    let normalizing = normalizer::parse(normalizer, spells_bytes).or_else(|reason| file.refuse(reason))?;
    let splitting = pre_tokenizer::parse(
        pre_tokenizer,
        normalizing.writes_spaces,
        normalizing.is_byte_level,
        !is_foreign,
    )
    .or_else(|reason| file.refuse(reason))?;
    let template = post_processor::parse(post_processor).or_else(|reason| file.refuse(reason))?;
    let decoding = decoder::parse(decoder).or_else(|reason| file.refuse(reason))?;
    let is_byte_level = splitting.is_byte_level;
    if is_byte_level && decoding.is_given && !decoding.is_byte_level {
        return file.refuse(
            "`decoder` has no `ByteLevel`, and text is encoded by it, so what is decoded is not what was encoded; not supported",
        );
    }
    if normalizing.is_byte_level && added.iter().any(AddedToken::looks_around_normalized) {
        return file.refuse(
            "an added token with `normalized` and `lstrip`, `rstrip` or `single_word` is not supported beside the normalizer `ByteLevel`",
        );
    }
    if splitting.writes_spaces {
        file.check_added_spaces(&added, normalizing.writes_spaces)?;
    }
    if model.ignore_merges && !splitting.boundaries.is_empty() {
        return file.refuse("`ignore_merges` beside a step behind `ByteLevel` is not supported");
    }
    let mut steps = normalizing.steps;
    if splitting.writes_spaces && !normalizing.writes_spaces {
        let wanted = crate::normalizer::Wanted::Text(pre_tokenizer::SPACE.into());
        steps.push(crate::normalizer::Step::Replace { wanted, content: " ".into() });
    }
    source.model.clone_from(&model.settings);
    source.writes_spaces = splitting.writes_spaces;
    let prefix = match (normalizing.has_prefix, splitting.prefix) {
        (false, prefix) => prefix,
        (true, Prefix { place: PrefixPlace::Never, .. }) => {
            Prefix { place: PrefixPlace::Each, unless_space: false }
        }
        (true, _) => {
            return file.refuse(
                "both `normalizer` and `pre_tokenizer` put a space before text, which is not supported",
            );
        }
    };
    let vocab = if is_byte_level {
        file.byte_level_vocab(model, &added, own, &splitting.boundaries)?
    } else {
        file.character_vocab(model, &added, splitting.writes_spaces)?
    };
    if let Some(characters) = vocab.characters() {
        let has_spaces =
            vocab.tokens().any(|(_, bytes)| find(bytes, pre_tokenizer::SPACE.as_bytes()).is_some());
        decoding
            .check(splitting.writes_spaces, has_spaces, characters.byte_ids.is_some())
            .or_else(|reason| file.refuse(reason))?;
    }
    let unknown = if vocab.missing_bytes().next().is_some() { model.unknown_id() } else { None };
    let pattern = match &splitting.regexes[..] {
        // A whole text is one piece, and words are not looked up.
        [] if is_byte_level || model.ignore_merges => ONE_PIECE.to_owned(),
        [] => pattern_of(&vocab).to_owned(),
        // Not to be taken for a name.
        [regex] if regex.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) => {
            format!("(?:{regex})")
        }
        regexes => Pretokenizer::sequence(regexes)?.pattern().to_owned(),
    };
    let normalizer =
        Normalizer::new(steps).or_else(|reason| file.refuse(format!("`normalizer`: {reason}")))?;
    file.check_added_normalized(&added, &normalizer)?;
    let pipeline = Pipeline {
        normalizer,
        prefix,
        whole_pieces: model.ignore_merges,
        added,
        template,
        unknown,
        fuse_unknown: unknown.is_some() && model.fuse_unknown,
        strips: decoding.strips,
        source: Some(source),
    };
    let vocab = vocab.with_decoded(normalized_contents(&pipeline)?);
    Ok(Definition { vocab, pattern, pipeline })
}

/// What the added tokens that are looked for in normalized text decode to, where that is not their text: their normalized text.
fn normalized_contents(pipeline: &Pipeline) -> Result<Vec<(u32, Vec<u8>)>> {
    let prefix = if pipeline.prefix.is_normalized() { " " } else { "" };
    let mut contents = Vec::new();
    for token in pipeline.added.iter().filter(|token| token.normalized && !token.content.is_empty()) {
        let content = pipeline.normalizer.apply(token.content.as_bytes(), WHOLE)?;
        let content = [prefix.as_bytes(), &content].concat();
        if content != token.content.as_bytes() {
            contents.push((token.id, content));
        }
    }
    Ok(contents)
}

/// Checks a tokenizer by the text of the file of ours beside its own, whose path is for messages.
pub fn check(path: &Path, own: &str, definition: Definition) -> Result<Definition> {
    Own::parse(path, own)?.check(path, definition)
}

/// The vocabulary of tokens and merges that are spelled in GPT-2's characters.
pub fn byte_level(
    path: &Path,
    entries: Vec<(&str, u32)>,
    merges: &[String],
    added: &[AddedToken],
) -> Result<Vocab> {
    File { path }.byte_level_vocab(
        &model::Model::of_parts(entries, merges),
        added,
        None,
        &byte_view::Boundaries::default(),
    )
}

/// The vocabulary of tokens and merges of characters, with a token for each byte and `▁` for a space.
pub fn character_level(
    path: &Path,
    entries: Vec<(&str, u32)>,
    merges: &[String],
    added: &[AddedToken],
) -> Result<Vocab> {
    let mut model = model::Model::of_parts(entries, merges);
    (model.byte_fallback, model.fuse_unknown) = (true, true);
    File { path }.character_vocab(&model, added, true)
}

impl AddedToken {
    /// Whether what stands beside it in normalized text matters.
    fn looks_around_normalized(&self) -> bool {
        self.normalized && (self.lstrip || self.rstrip || self.single_word)
    }
}

impl File<'_> {
    /// Checks the added tokens of normalized text where spaces are written as `▁`: here they are spaces in that text, and there
    /// they are `▁` (`by_normalizer`), or still what the text has.
    fn check_added_spaces(&self, added: &[AddedToken], by_normalizer: bool) -> Result<()> {
        let tells_apart = |token: &&AddedToken| {
            let has_space = token.content.contains([' ', '\u{2581}']);
            token.normalized && (token.lstrip || token.rstrip || !by_normalizer && has_space)
        };
        match added.iter().find(tells_apart) {
            None => Ok(()),
            Some(token) => self.refuse(format!(
                "the added token {} is `normalized` and takes spaces, beside a step that writes spaces as `{}`; not supported",
                show(token.content.as_bytes()),
                pre_tokenizer::SPACE
            )),
        }
    }

    /// Checks that the added tokens of normalized text are some after normalization: there, nothing would match everywhere.
    fn check_added_normalized(&self, added: &[AddedToken], normalizer: &Normalizer) -> Result<()> {
        for token in added.iter().filter(|token| token.normalized && !token.content.is_empty()) {
            if normalizer.apply(token.content.as_bytes(), WHOLE)?.is_empty() {
                return self.refuse(format!(
                    "the added token {} is `normalized`, and nothing is left of it then; not supported",
                    show(token.content.as_bytes())
                ));
            }
        }
        Ok(())
    }

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
}
