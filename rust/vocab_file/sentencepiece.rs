//! SentencePiece's `.model`, for BPE: a protocol buffer (`sentencepiece_model.proto`) of which a dozen fields count here.
//!
//! The wire format is a list of fields, each a number, a type and a value; what is needed of it is below, in fewer lines than a
//! library's generated code. Lengths are checked against what is left before anything is taken.

use super::{
    pieces::{self, Kind, Piece, Settings},
    refuse,
};
use crate::{
    error::Result,
    pipeline::{Definition, Source},
};
use std::path::Path;

/// A value of a field.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    /// Of a type without use here.
    Other,
}

/// The fields of a message, in order; `None` for one that is no field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let len = self.number()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Float(f32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// Whether bytes begin like a `.model`: with a piece.
pub fn is_model(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    matches!(fields.field(), Some((1, Value::Bytes(piece))) if piece.first() == Some(&0x0A))
}

/// Reads the bytes of a `.model`; `path` is for messages.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Definition> {
    let damaged = || refuse(path, None, "the SentencePiece model is damaged or cut short");
    let mut list = Vec::new();
    // The defaults of the format.
    let (mut model_type, mut begin, mut escapes) = (1, 1_i64, true);
    let mut unknown_text = " \u{2047} ".to_owned();
    let mut suffix = false;
    let (mut add_dummy_prefix, mut remove_extra_whitespaces) = (true, true);
    let mut rule = String::new();
    let mut has_table = false;
    for field in Fields(bytes) {
        match field {
            None => return damaged(),
            Some((1, Value::Bytes(piece))) => match read_piece(piece) {
                Ok(piece) => list.push(piece),
                Err(reason) => return refuse(path, None, format!("piece {}: {reason}", list.len())),
            },
            Some((2, Value::Bytes(trainer))) => {
                for field in Fields(trainer) {
                    match field {
                        None => return damaged(),
                        Some((3, Value::Number(number))) => model_type = number,
                        Some((24, Value::Number(number))) => suffix = number != 0,
                        // A negative number says that there is none.
                        Some((41, Value::Number(number))) => begin = number.cast_signed(),
                        Some((44, Value::Bytes(text))) => unknown_text = String::from_utf8_lossy(text).into(),
                        Some(_) => {}
                    }
                }
            }
            Some((3, Value::Bytes(normalizer))) => {
                for field in Fields(normalizer) {
                    match field {
                        None => return damaged(),
                        Some((1, Value::Bytes(name))) => rule = String::from_utf8_lossy(name).into(),
                        Some((2, Value::Bytes(table))) => has_table = !table.is_empty(),
                        Some((3, Value::Number(number))) => add_dummy_prefix = number != 0,
                        Some((4, Value::Number(number))) => remove_extra_whitespaces = number != 0,
                        Some((5, Value::Number(number))) => escapes = number != 0,
                        Some(_) => {}
                    }
                }
            }
            Some(_) => {}
        }
    }
    let kinds = ["of no type", "Unigram", "BPE", "WORD", "CHAR"];
    let kind = usize::try_from(model_type)
        .ok()
        .and_then(|number| kinds.get(number))
        .unwrap_or(&"of an unknown type");
    let feature = |what: &str| refuse(path, None, format!("{what}, which is not supported"));
    if model_type != 2 {
        return refuse(path, None, format!("the SentencePiece model is {kind}; only BPE is supported"));
    }
    if has_table {
        return feature(&format!(
            "the SentencePiece model normalizes text by a compiled table (`{}`)",
            rule.escape_debug()
        ));
    }
    if suffix {
        return feature(
            "the SentencePiece model puts spaces at the end of words (`treat_whitespace_as_suffix`)",
        );
    }
    if !escapes {
        return feature(
            "the SentencePiece model does not write spaces as `▁` (`escape_whitespaces` is false)",
        );
    }
    if list.is_empty() {
        return refuse(path, None, "the SentencePiece model has no pieces");
    }
    let begin = u32::try_from(begin)
        .ok()
        .filter(|&id| list.get(id as usize).is_some_and(|piece: &Piece| piece.kind == Kind::Control));
    let settings = Settings { add_dummy_prefix, remove_extra_whitespaces, unknown_text, begin };
    let mut definition = pieces::definition(path, &list, settings)?;
    definition.pipeline.source = Some(Source { model_file: Some(bytes.into()), ..Source::default() });
    Ok(definition)
}

fn read_piece(message: &[u8]) -> std::result::Result<Piece, String> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: Kind::Normal };
    for field in Fields(message) {
        match field {
            None => return Err("it is damaged".into()),
            Some((1, Value::Bytes(text))) => {
                piece.text = String::from_utf8(text.into()).map_err(|_| "its text is not UTF-8")?;
            }
            Some((2, Value::Float(score))) => piece.score = score,
            Some((3, Value::Number(kind))) => {
                piece.kind = match kind {
                    1 => Kind::Normal,
                    2 => Kind::Unknown,
                    3 => Kind::Control,
                    4 => Kind::UserDefined,
                    5 => Kind::Unused,
                    6 => Kind::Byte,
                    other => return Err(format!("its type is {other}, which is unknown")),
                };
            }
            Some(_) => {}
        }
    }
    Ok(piece)
}
