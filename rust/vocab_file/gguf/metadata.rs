//! The keys and values that a GGUF file begins with (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! Only what is asked for is kept; other values are passed over, and what follows them, tensors of many gigabytes, is not read. All
//! lengths are held against the bytes that are left, and those are at most [`MAX_BYTES`], before anything is allocated.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
};

/// The first bytes of a file.
pub const MAGIC: &[u8; 4] = b"GGUF";
/// The most bytes that keys and values may have; real ones have some twenty million.
const MAX_BYTES: u64 = 1 << 28;
/// The most items of an array that is kept: a text of no bytes takes some all the same.
const MAX_ITEMS: u64 = 1 << 24;
/// Arrays may stand in arrays, so deep; real ones do not.
const MAX_DEPTH: u32 = 8;

/// A value that is kept.
#[derive(Debug, PartialEq)]
pub enum Value {
    /// A whole number; a negative one as its two's complement.
    Number(u64),
    Float(f32),
    Bool(bool),
    Text(String),
    Numbers(Vec<u64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    /// Of a type without use here.
    Other,
}

/// Why a file cannot be read on.
#[derive(Debug)]
pub enum Stop {
    Io(io::Error),
    Damaged(String),
}

type Read_<T> = Result<T, Stop>;

fn damaged<T>(reason: impl Into<String>) -> Read_<T> {
    Err(Stop::Damaged(reason.into()))
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Stop::Damaged("it ends within a value".into()),
            _ => Stop::Io(error),
        }
    }
}

/// The values of the keys that are `wanted`.
pub fn read(file: File, wanted: impl Fn(&str) -> bool) -> Result<HashMap<String, Value>, Stop> {
    let len = file.metadata()?.len();
    let mut reader = Reader { file: BufReader::new(file), left: len.min(MAX_BYTES) };
    let magic = reader.bytes::<4>()?;
    if magic != *MAGIC {
        return damaged("it does not begin with `GGUF`");
    }
    match reader.u32()? {
        2 | 3 => {}
        1 => return damaged("its version is 1, and versions 2 and 3 are read; convert the model again"),
        version if version.swap_bytes() < 16 => {
            return damaged("its numbers begin with their highest byte, which is not supported");
        }
        version => return damaged(format!("its version is {version}, and versions 2 and 3 are read")),
    }
    let (_num_tensors, num_keys) = (reader.u64()?, reader.u64()?);
    let mut found = HashMap::new();
    for _ in 0..num_keys {
        let key = reader.text()?;
        let kind = reader.u32()?;
        if wanted(&key) {
            let value = reader.value(kind)?;
            if found.insert(key.clone(), value).is_some() {
                return damaged(format!("the key `{}` is there twice", key.escape_debug()));
            }
        } else {
            reader.pass_over(kind, 0)?;
        }
    }
    Ok(found)
}

struct Reader {
    file: BufReader<File>,
    left: u64,
}

/// The bytes of a type whose values all have as many.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl Reader {
    fn spend(&mut self, len: u64) -> Read_<()> {
        match self.left.checked_sub(len) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => damaged(format!(
                "a value goes beyond its end, or there are more than {MAX_BYTES} bytes of keys and values"
            )),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Read_<[u8; N]> {
        self.spend(N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Read_<u32> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Read_<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn text(&mut self) -> Read_<String> {
        let len = self.u64()?;
        self.spend(len)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        self.file.read_exact(&mut bytes)?;
        String::from_utf8(bytes).or_else(|_| damaged("a text is not UTF-8"))
    }

    /// The length of an array of this type, which fits what is left.
    fn len(&mut self, kind: u32) -> Read_<u64> {
        let len = self.u64()?;
        // A text or an array has its length at the least.
        let least = size(kind).unwrap_or(8);
        if len.checked_mul(least).is_none_or(|bytes| bytes > self.left) {
            return damaged("an array goes beyond its end");
        }
        Ok(len)
    }

    fn value(&mut self, kind: u32) -> Read_<Value> {
        if kind != ARRAY {
            return self.scalar(kind);
        }
        let kind = self.u32()?;
        let len = self.len(kind)?;
        if len > MAX_ITEMS {
            return damaged(format!("an array has {len} items; the limit is {MAX_ITEMS}"));
        }
        let (mut numbers, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..len {
            if kind == ARRAY {
                self.pass_over(kind, 0)?;
                continue;
            }
            match self.scalar(kind)? {
                Value::Number(number) => numbers.push(number),
                Value::Float(float) => floats.push(float),
                Value::Text(text) => texts.push(text),
                _ => {}
            }
        }
        Ok(match kind {
            0..=5 | 10 | 11 => Value::Numbers(numbers),
            6 => Value::Floats(floats),
            TEXT => Value::Texts(texts),
            _ => Value::Other,
        })
    }

    fn scalar(&mut self, kind: u32) -> Read_<Value> {
        Ok(match kind {
            0 => Value::Number(u64::from(self.bytes::<1>()?[0])),
            1 => Value::Number(i64::from(i8::from_le_bytes(self.bytes()?)).cast_unsigned()),
            2 => Value::Number(u64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Number(i64::from(i16::from_le_bytes(self.bytes()?)).cast_unsigned()),
            4 => Value::Number(u64::from(self.u32()?)),
            5 => Value::Number(i64::from(i32::from_le_bytes(self.bytes()?)).cast_unsigned()),
            6 => Value::Float(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bytes::<1>()?[0] != 0),
            TEXT => Value::Text(self.text()?),
            10 | 11 => Value::Number(self.u64()?),
            12 => self.bytes::<8>().map(|_| Value::Other)?,
            _ => return damaged(format!("a value has the unknown type {kind}")),
        })
    }

    fn pass_over(&mut self, kind: u32, depth: u32) -> Read_<()> {
        if let Some(size) = size(kind) {
            return self.skip(size);
        }
        match kind {
            TEXT => {
                let len = self.u64()?;
                self.skip(len)
            }
            ARRAY if depth < MAX_DEPTH => {
                let kind = self.u32()?;
                let len = self.len(kind)?;
                match size(kind) {
                    Some(size) => self.skip(len * size),
                    None => (0..len).try_for_each(|_| self.pass_over(kind, depth + 1)),
                }
            }
            ARRAY => damaged(format!("its arrays stand in each other more than {MAX_DEPTH} deep")),
            _ => damaged(format!("a value has the unknown type {kind}")),
        }
    }

    fn skip(&mut self, len: u64) -> Read_<()> {
        self.spend(len)?;
        // Less than `MAX_BYTES`.
        Ok(self.file.seek_relative(len.cast_signed())?)
    }
}
