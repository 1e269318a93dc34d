//! JSON values that keep the order of their keys and refuse a key given twice. Strings without an escape are parts of the
//! file's text.
//!
//! `serde_json`'s own value keeps the last of two equal keys silently, and then the reader of a file sees
//! another tokenizer than the library beside it. Nesting is bounded by `serde_json`, numbers are JSON's (no
//! NaN), keys are strings.

use super::refuse;
use crate::error::{Error, Result};
use crate::piece_key::Seed;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, collections::HashSet, fmt, path::Path};

/// A JSON value.
#[derive(Debug, PartialEq)]
pub enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number that is not negative: the only kind that means something here.
    Number(u64),
    /// Any other number.
    OtherNumber(f64),
    String(Cow<'a, str>),
    /// An array of two strings without an escape: a merge, of which a file has up to half a million.
    Pair(&'a str, &'a str),
    /// Any other array.
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// The entries of an object, in the file's order.
pub type Object<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl<'a> Json<'a> {
    /// Reads a whole file's text.
    pub fn parse(path: &Path, text: &'a str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| {
            let looks_like_json = text.trim_start().starts_with('{');
            let what = if looks_like_json { "damaged JSON" } else { "not a JSON file" };
            Error::VocabFile { path: path.into(), line: Some(e.line()), reason: format!("{what}: {e}") }
        })
    }

    /// What it is, for a message.
    pub fn kind(&self) -> String {
        match self {
            Json::Null => "null".into(),
            Json::Bool(b) => b.to_string(),
            Json::Number(n) => n.to_string(),
            Json::OtherNumber(n) => n.to_string(),
            Json::String(s) => crate::vocab::show(s.as_bytes()),
            Json::Pair(..) | Json::Array(_) => "an array".into(),
            Json::Object(_) => "an object".into(),
        }
    }

    /// The same as a value of `serde_json`.
    pub fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => Value::from(*n),
            Json::OtherNumber(n) => Value::from(*n),
            Json::String(s) => Value::from(&**s),
            Json::Pair(first, second) => Value::from(vec![*first, *second]),
            Json::Array(items) => Value::Array(items.iter().map(Json::to_value).collect()),
            Json::Object(entries) => Value::Object(
                entries.iter().map(|(key, value)| (key.to_string(), value.to_value())).collect(),
            ),
        }
    }

    /// The same as text on one line, with the keys in the file's order.
    pub fn to_text(&self) -> String {
        match self {
            Json::Array(items) => {
                let items: Vec<String> = items.iter().map(Json::to_text).collect();
                format!("[{}]", items.join(", "))
            }
            Json::Object(entries) => {
                let entry = |(key, value): &(Cow<str>, Json)| {
                    format!("{}: {}", serde_json::Value::from(&**key), value.to_text())
                };
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            Json::Pair(first, second) => {
                format!("[{}, {}]", serde_json::Value::from(*first), serde_json::Value::from(*second))
            }
            other => other.to_value().to_string(),
        }
    }

    /// The object that this must be; `what` names it in the error.
    pub fn object(self, path: &Path, what: &str) -> Result<Object<'a>> {
        match self {
            Json::Object(entries) => Ok(entries),
            other => refuse(path, None, format!("{what} is {}, and must be an object", other.kind())),
        }
    }

    /// The array that this must be.
    pub fn array(self, path: &Path, what: &str) -> Result<Vec<Json<'a>>> {
        match self {
            Json::Array(items) => Ok(items),
            Json::Pair(first, second) => Ok([first, second].map(|s| Json::String(Cow::Borrowed(s))).into()),
            other => refuse(path, None, format!("{what} is {}, and must be an array", other.kind())),
        }
    }

    /// The string that this must be.
    pub fn string(self, path: &Path, what: &str) -> Result<Cow<'a, str>> {
        match self {
            Json::String(text) => Ok(text),
            other => refuse(path, None, format!("{what} is {}, and must be a string", other.kind())),
        }
    }

    /// The token id that this must be.
    pub fn id(&self, path: &Path, what: impl FnOnce() -> String) -> Result<u32> {
        let limit = crate::vocab::MAX_IDS;
        match self {
            Json::Number(n) if *n < u64::from(limit) => Ok(u32::try_from(*n).unwrap_or(u32::MAX)),
            other => refuse(
                path,
                None,
                format!("{} is {}, and must be a whole number from 0 to {}", what(), other.kind(), limit - 1),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, b: bool) -> std::result::Result<Json<'de>, E> {
        Ok(Json::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> std::result::Result<Json<'de>, E> {
        Ok(Json::Number(n))
    }

    #[expect(clippy::cast_precision_loss, reason = "negative numbers are refused; this one is only shown")]
    fn visit_i64<E>(self, n: i64) -> std::result::Result<Json<'de>, E> {
        Ok(Json::OtherNumber(n as f64))
    }

    fn visit_f64<E>(self, n: f64) -> std::result::Result<Json<'de>, E> {
        Ok(Json::OtherNumber(n))
    }

    fn visit_borrowed_str<E>(self, s: &'de str) -> std::result::Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(s)))
    }

    fn visit_str<E>(self, s: &str) -> std::result::Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(s.to_owned())))
    }

    fn visit_string<E>(self, s: String) -> std::result::Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(s)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Json<'de>, A::Error> {
        let (first, second) = (seq.next_element()?, seq.next_element()?);
        let mut items = match (first, second, seq.next_element()?) {
            (Some(Json::String(Cow::Borrowed(first))), Some(Json::String(Cow::Borrowed(second))), None) => {
                return Ok(Json::Pair(first, second));
            }
            (first, second, third) => [first, second, third].into_iter().flatten().collect::<Vec<_>>(),
        };
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Json<'de>, A::Error> {
        let mut entries: Object<'de> = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            entries.push((key, value));
        }
        let mut keys = HashSet::with_capacity_and_hasher(entries.len(), Seed::default());
        if let Some((key, _)) = entries.iter().find(|(key, _)| !keys.insert(&key[..])) {
            return Err(A::Error::custom(format!(
                "the key {} is there twice in one object",
                crate::vocab::show(key.as_bytes())
            )));
        }
        Ok(Json::Object(entries))
    }
}

/// A key, which is a part of the text where it can be; the standard `Cow` never is.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, s: &'de str) -> std::result::Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(s)))
    }

    fn visit_str<E>(self, s: &str) -> std::result::Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(s.to_owned())))
    }

    fn visit_string<E>(self, s: String) -> std::result::Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(s)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Json<'_>> {
        Json::parse(Path::new("x.json"), text)
    }

    #[test]
    fn keeps_order_and_kinds() {
        let json = parse(r#"{"b": [1, -1, 1.5, null, true], "a": "\u00e9"}"#).unwrap();
        let Json::Object(entries) = json else { panic!() };
        assert_eq!(entries[1], ("a".into(), Json::String("é".into())));
        assert_eq!(
            entries[0].1,
            Json::Array(vec![
                Json::Number(1),
                Json::OtherNumber(-1.0),
                Json::OtherNumber(1.5),
                Json::Null,
                Json::Bool(true)
            ])
        );
    }

    #[test]
    fn arrays_of_any_length_are_read() {
        let string = |text: &'static str| Json::String(text.into());
        for (text, items) in [
            ("[]", vec![]),
            (r#"["a"]"#, vec![string("a")]),
            (r#"["a", "b"]"#, vec![string("a"), string("b")]),
            (r#"["a", "\u0062"]"#, vec![string("a"), string("b")]),
            (r#"["a", 1]"#, vec![string("a"), Json::Number(1)]),
            (r#"["a", "b", "c", "d"]"#, ["a", "b", "c", "d"].map(string).into()),
        ] {
            assert_eq!(parse(text).unwrap().array(Path::new("x.json"), "it").unwrap(), items);
        }
    }

    // fault: V8
    #[test]
    fn refuses_what_is_ambiguous_or_endless() {
        for (text, words) in [
            (r#"{"a": 1, "a": 1}"#, "`a` is there twice"),
            (r#"{"x": {"a": 1, "\u0061": 2}}"#, "`a` is there twice"),
            (r"{1: 2}", "key must be a string"),
            (r#"{"a": NaN}"#, "damaged JSON"),
            ("{", "line 1"),
            ("PK\u{3}\u{4}", "not a JSON file"),
            (&"[".repeat(1_000_000), "recursion limit"),
            (&r#"{"a":"#.repeat(1_000_000), "recursion limit"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
