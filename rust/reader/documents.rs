//! Documents inside a chunk: lines of JSON, or texts that a caller hands over one by one.
//!
//! A line is parsed where its text is used, on the worker's thread, and only as far as the field asks: everything else is
//! checked to be JSON and passed over. A line without the field, or with something else than a string in it, is an error:
//! nothing is left out silently.

use super::{Chunk, Chunks, Content};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::mpsc::Receiver;

/// How far into a chunk a document ends: bytes and lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Bytes of input.
    pub bytes: u64,
    /// Lines of input.
    pub lines: u64,
}

/// Calls `each` with the text of every line's `field`, and where the line ends.
///
/// # Errors
/// [`Error::Input`] with `source` and the line, counted on from `lines_before`, for one that is no JSON object with a
/// string of that name; the first error of `each`.
pub(super) fn for_each_line(
    text: &[u8],
    field: &str,
    source: &Path,
    lines_before: u64,
    mut each: impl FnMut(&[u8], Place) -> Result<()>,
) -> Result<()> {
    let (mut start, mut lines) = (0, 0);
    while start < text.len() {
        let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at + 1);
        // Without the line end, which is no part of the JSON: so a line that was cut is told as such.
        let line = text[start..end].trim_ascii_end();
        lines += 1;
        start = end;
        if line.is_empty() {
            continue;
        }
        let document = text_of(line, field).map_err(|reason| Error::Input {
            path: source.into(),
            line: Some(lines_before + lines),
            reason,
        })?;
        each(document.as_bytes(), Place { bytes: end as u64, lines })?;
    }
    Ok(())
}

/// The string under the key `field` of the object on a line.
fn text_of<'a>(line: &'a [u8], field: &str) -> std::result::Result<Cow<'a, str>, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = Field(field).deserialize(&mut json).and_then(|found| json.end().map(|()| found));
    let found = found.map_err(|e| {
        // Within the line, where the library's own line number is always 1.
        let message = e.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        format!("column {}: {reason}; each line must be one JSON object", e.column())
    })?;
    found.ok_or_else(|| format!("no field `{field}`; give the name of the one that holds the text"))
}

/// Reads an object and keeps the string under one key.
struct Field<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_field) = map.next_key_seed(Is(self.0))? {
            if !is_field {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value_seed(Text(self.0))?).is_some() {
                return Err(A::Error::custom(format!("the field `{}` stands twice", self.0)));
            }
        }
        Ok(found)
    }
}

/// Whether a key is this one.
struct Is<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<bool, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<bool, E> {
        Ok(key == self.0)
    }
}

/// A string; borrowed from the line unless it has escapes.
struct Text<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string in the field `{}`", self.0)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Texts in one allocation.
#[derive(Clone, Debug, Default)]
pub struct TextBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TextBatch {
    /// Adds a text.
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// Bytes in all texts together.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Chunks out of batches of documents that arrive through a channel, until the sender hangs up.
pub struct Batches {
    receiver: Receiver<TextBatch>,
    sequence: u64,
    /// Documents still to be passed over, as a resumed run asks.
    skip: u64,
    /// Documents of the chunks so far.
    documents: u64,
}

impl Batches {
    /// Reads what comes out of `receiver`, without its first `skip` documents.
    #[must_use]
    pub fn new(receiver: Receiver<TextBatch>, skip: u64) -> Self {
        Batches { receiver, sequence: 0, skip, documents: skip }
    }
}

impl Chunks for Batches {
    fn next_chunk(&mut self, text: &mut Vec<u8>, _: &Monitor) -> Result<Option<Chunk>> {
        loop {
            let Ok(mut batch) = self.receiver.recv() else { return Ok(None) };
            let skipped = batch.ends.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            if skipped > 0 {
                let from = batch.ends[skipped - 1];
                batch.bytes.drain(..from);
                batch.ends.drain(..skipped);
                batch.ends.iter_mut().for_each(|end| *end -= from);
            }
            if batch.ends.is_empty() {
                continue;
            }
            *text = batch.bytes;
            // A document counts as a line: so the place of each is its number.
            let start = Place { bytes: 0, lines: self.documents };
            self.documents += batch.ends.len() as u64;
            let content = Content::Documents(batch.ends);
            let chunk = Chunk { sequence: self.sequence, source: 0, start, ends_source: false, content };
            self.sequence += 1;
            return Ok(Some(chunk));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, field: &str) -> std::result::Result<Vec<(String, u64, u64)>, String> {
        let mut found = Vec::new();
        let each = |document: &[u8], place: Place| {
            found.push((String::from_utf8(document.to_vec()).unwrap(), place.bytes, place.lines));
            Ok(())
        };
        for_each_line(text.as_bytes(), field, Path::new("x.jsonl"), 4, each).map_err(|e| e.to_string())?;
        Ok(found)
    }

    #[test]
    fn takes_the_field_of_every_line() {
        let text =
            "{\"id\": [1, {\"text\": 2}], \"text\": \"a\"}\r\n\n  \n{\"te\\u0078t\": \"\\\"\\n\\u65e5\"}";
        let expected = [("a".to_owned(), 39, 1), ("\"\n日".to_owned(), text.len() as u64, 4)];
        assert_eq!(read(text, "text").unwrap(), expected);
        assert_eq!(read("", "text").unwrap(), []);
    }

    #[test]
    fn tells_line_column_and_remedy() {
        for (line, reason) in [
            ("{\"a\": 1}", "no field `text`; give the name"),
            ("{\"text\": null}", "a string in the field `text`"),
            ("{\"text\": \"a\"} x", "column 15"),
            ("{\"text\": \"a\", \"text\": \"b\"}", "stands twice"),
            ("[]", "a JSON object"),
            ("{\"text\": \"\\ud800\"}", "hex escape"),
            ("{\"text\": \"a", "EOF"),
        ] {
            let message = read(&format!("\n{line}\n"), "text").unwrap_err();
            assert!(message.starts_with("x.jsonl, line 6: ") && message.contains(reason), "{message}");
        }
    }
}
