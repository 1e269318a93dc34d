//! `SentencePiece`'s `.model`: a protocol buffer with pieces, how text is normalized, and how the model was trained.
//!
//! The messages are those of
//! <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>; a field that is not there has the default
//! that stands in it. Of the model types only BPE is merging: the others are refused by name, and so is a table of
//! replacements (`precompiled_charsmap`: the rules `nmt_nfkc` and the like), which would change text in ways that are not carried
//! out here. Fields that concern training alone (`split_digits` and its like) are passed over.

use super::{
    pieces::{self, Kind, Piece, Settings, UNKNOWN_TEXT},
    protobuf::{Damage, Fields, Value},
    refuse,
};
use crate::{
    error::Result,
    pipeline::{Definition, Source},
    vocab::show,
};
use std::path::Path;

/// The start of a text, in all models that have one.
const START: &str = "<s>";

/// What the file says.
struct Model<'a> {
    pieces: Vec<Piece<'a>>,
    trainer: Trainer<'a>,
    normalizer: Normalizer<'a>,
    denormalizer: Normalizer<'a>,
}

struct Trainer<'a> {
    model_type: u64,
    spaces_are_suffixes: bool,
    byte_fallback: bool,
    start: &'a [u8],
    unknown_text: &'a [u8],
}

struct Normalizer<'a> {
    name: &'a [u8],
    table: &'a [u8],
    adds_prefix: bool,
    removes_spaces: bool,
    writes_spaces: bool,
}

impl Default for Normalizer<'_> {
    fn default() -> Self {
        Normalizer { name: b"", table: b"", adds_prefix: true, removes_spaces: true, writes_spaces: true }
    }
}

/// Whether bytes may be a model: its first field is one of the message's, and text has none of the other bytes.
pub fn may_be(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    let is_text = std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control);
    matches!(bytes.first(), Some(0x0a | 0x12 | 0x1a | 0x22 | 0x2a)) && !is_text
}

/// Reads a model; `path` is for messages.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Definition> {
    let model = Model::parse(bytes).or_else(|damage| {
        refuse(path, None, format!("the file is no SentencePiece model, or it is damaged: {damage}"))
    })?;
    let feature = |what: String| {
        refuse(path, None, format!("{what}, which changes ids or decoded text and is not supported"))
    };
    match model.trainer.model_type {
        2 => {}
        other => {
            let name = match other {
                1 => "Unigram",
                3 => "Word",
                4 => "Char",
                _ => "unknown",
            };
            return refuse(path, None, format!("the model's type is {name}; only BPE is supported"));
        }
    }
    for (what, normalizer) in [("normalizer", &model.normalizer), ("denormalizer", &model.denormalizer)] {
        if !normalizer.table.is_empty() {
            let name = show(normalizer.name);
            return feature(format!(
                "the {what} {name} has a table of replacements (`precompiled_charsmap`, {} bytes)",
                normalizer.table.len()
            ));
        }
    }
    if !model.normalizer.writes_spaces {
        return feature("`escape_whitespaces` is false".into());
    }
    if model.trainer.spaces_are_suffixes && model.normalizer.adds_prefix {
        return feature("`treat_whitespace_as_suffix` is true: a space is put behind text".into());
    }
    let has = |kind| model.pieces.iter().any(|piece| piece.kind == kind);
    if !has(Kind::Unknown) {
        return refuse(
            path,
            None,
            "no piece is of the type UNKNOWN; each model has one, so the file is damaged",
        );
    }
    if has(Kind::Byte) != model.trainer.byte_fallback {
        return refuse(
            path,
            None,
            "`byte_fallback` and the byte pieces <0x00> to <0xFF> do not agree; the file is damaged",
        );
    }
    let is_start =
        |piece: &Piece| piece.kind == Kind::Control && piece.text.as_bytes() == model.trainer.start;
    let settings = Settings {
        adds_prefix: model.normalizer.adds_prefix,
        removes_spaces: model.normalizer.removes_spaces,
        // The file does not say whether a model wants it. Of published BPE models all do.
        before: model.pieces.iter().position(is_start).and_then(|id| u32::try_from(id).ok()),
        after: None,
        unknown_text: model.trainer.unknown_text,
    };
    let has_space = |piece: &Piece| piece.kind == Kind::UserDefined && piece.text.contains(' ');
    if let Some(id) = model.pieces.iter().position(has_space) {
        return feature(format!(
            "the user-defined piece with id {id} has a space, which is never in text as this file writes it"
        ));
    }
    if let Some(id) = model.pieces.iter().position(|piece| piece.text.is_empty()) {
        return refuse(
            path,
            None,
            format!("the piece with id {id} is empty; each has at least one character"),
        );
    }
    let mut definition = pieces::definition(path, &model.pieces, settings)?;
    definition.pipeline.source = Some(Source { model_file: Some(bytes.into()), ..Source::default() });
    Ok(definition)
}

impl<'a> Model<'a> {
    fn parse(bytes: &'a [u8]) -> std::result::Result<Self, Damage> {
        let mut model = Model {
            pieces: Vec::new(),
            trainer: Trainer {
                model_type: 1,
                spaces_are_suffixes: false,
                byte_fallback: false,
                start: START.as_bytes(),
                unknown_text: UNKNOWN_TEXT.as_bytes(),
            },
            normalizer: Normalizer::default(),
            denormalizer: Normalizer::default(),
        };
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(message)) => model.pieces.push(piece(message)?),
                (2, Value::Bytes(message)) => model.trainer.read(message)?,
                (3, Value::Bytes(message)) => model.normalizer.read(message)?,
                (5, Value::Bytes(message)) => model.denormalizer.read(message)?,
                (1..=5, value) if !matches!(value, Value::Bytes(_)) => return Err("a message is no message"),
                _ => {}
            }
        }
        if model.pieces.is_empty() { Err("it has no pieces") } else { Ok(model) }
    }
}

fn piece(message: &[u8]) -> std::result::Result<Piece<'_>, Damage> {
    let mut piece = Piece { text: "", score: 0.0, kind: Kind::Normal };
    for field in Fields::of(message) {
        match field? {
            (1, Value::Bytes(text)) => {
                piece.text = std::str::from_utf8(text).map_err(|_| "a piece is not UTF-8")?;
            }
            (2, Value::Fixed32(score)) => piece.score = f32::from_le_bytes(score),
            (3, Value::Varint(kind)) => piece.kind = Kind::of(kind).ok_or("a piece has an unknown type")?,
            (1..=3, _) => return Err("a field of a piece has another type"),
            _ => {}
        }
    }
    Ok(piece)
}

impl<'a> Trainer<'a> {
    fn read(&mut self, message: &'a [u8]) -> std::result::Result<(), Damage> {
        for field in Fields::of(message) {
            match field? {
                (3, Value::Varint(value)) => self.model_type = value,
                (24, Value::Varint(value)) => self.spaces_are_suffixes = value != 0,
                (35, Value::Varint(value)) => self.byte_fallback = value != 0,
                (44, Value::Bytes(text)) => self.unknown_text = text,
                (46, Value::Bytes(text)) => self.start = text,
                (3 | 24 | 35 | 44 | 46, _) => return Err("a field of the trainer has another type"),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Normalizer<'a> {
    fn read(&mut self, message: &'a [u8]) -> std::result::Result<(), Damage> {
        for field in Fields::of(message) {
            match field? {
                (1, Value::Bytes(name)) => self.name = name,
                (2, Value::Bytes(table)) => self.table = table,
                (3, Value::Varint(value)) => self.adds_prefix = value != 0,
                (4, Value::Varint(value)) => self.removes_spaces = value != 0,
                (5, Value::Varint(value)) => self.writes_spaces = value != 0,
                (1..=5, _) => return Err("a field of the normalizer has another type"),
                _ => {}
            }
        }
        Ok(())
    }
}
