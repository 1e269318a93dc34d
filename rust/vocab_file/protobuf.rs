//! The wire format of protocol buffers, as far as `SentencePiece`'s models need it.
//!
//! <https://protobuf.dev/programming-guides/encoding>: a message is a list of fields, each a varint with its number and wire
//! type, then a varint, four or eight bytes, or a length and that many bytes. Of the file's messages ten fields are read and all
//! others passed over, so a library (`prost` with its derive macros is five crates) would be more code than these lines. Nothing
//! is copied, and every length is held against the bytes that are left.

/// The fields of a message, in order.
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8]),
}

/// Why bytes are no message.
pub type Damage = &'static str;

const CUT: Damage = "a field goes beyond the end";

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { CUT } else { "a number has more than ten bytes" })
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Damage> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| CUT)?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.take(4)?.try_into().map_err(|_| CUT)?),
            _ => return Err("a field has an unknown wire type"),
        };
        if key >> 3 == 0 { Err("a field has the number 0") } else { Ok((key >> 3, value)) }
    }
}

impl<'a> Iterator for Fields<'a> {
    /// A field's number and value; after damage nothing follows.
    type Item = Result<(u64, Value<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_lengths_checked() {
        let message =
            [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let fields: Vec<_> = Fields::of(&message).map(Result::unwrap).collect();
        let float = 1_f32.to_le_bytes();
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Fixed32(float)),
            (4, Value::Fixed64),
        ];
        assert_eq!(fields, expected);
        for len in [1, 2, 4, 5, 6, 8, 11, 14, 20] {
            assert!(Fields::of(&message[..len]).any(|field| field.is_err()), "{len}");
        }
        for damaged in [
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0x80; 11],
            &[0x0b, 0],
            &[0x00, 0],
        ] {
            assert_eq!(Fields::of(damaged).filter(Result::is_err).count(), 1, "{damaged:?}");
        }
    }
}
