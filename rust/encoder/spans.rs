//! Ids -> where their tokens are in the text that they decode to, counted in bytes or in characters.
//!
//! A token may hold a part of a character. Its span is then that of the characters that it has bytes of, so the spans of two
//! neighbours may share a character: `tokenizers` gives the same, and `tiktoken` the same starts.
//!
//! Time O(bytes).

use super::Encoder;
use crate::error::Result;
use std::ops::Range;

/// What the ends of a span are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Unicode code points. Bytes that are not UTF-8 are counted as if they were.
    Characters,
}

impl Encoder {
    /// The span of each token in the text that `ids` decode to.
    ///
    /// # Errors
    /// [`Error::UnknownToken`](crate::Error::UnknownToken) with the id and its position.
    pub fn spans(&self, ids: impl IntoIterator<Item = i64>, unit: Unit) -> Result<Vec<Range<usize>>> {
        let mut before = 0;
        let span = |(position, id)| {
            let token = self.known_token(id, position)?;
            let (start, num) = match unit {
                Unit::Bytes => (before, token.len()),
                Unit::Characters => {
                    // The character that goes on in this token began in one before it. Stray bytes may have none.
                    let goes_on = token.first().is_some_and(|&byte| is_continuation(byte));
                    let begin_here = token.iter().filter(|&&byte| !is_continuation(byte)).count();
                    (usize::saturating_sub(before, usize::from(goes_on)), begin_here)
                }
            };
            before += num;
            Ok(start..before)
        };
        ids.into_iter().enumerate().map(span).collect()
    }
}

/// Whether a character of UTF-8 goes on with this byte, rather than begins.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pretokenizer::Pretokenizer;
    use crate::vocab::Vocab;

    #[test]
    fn a_part_of_a_character_has_the_span_of_the_whole() {
        // 256 is the first two of the three bytes of a snowman.
        let vocab = Vocab::from_merges(&[(0xE2, 0x98)], &[]).unwrap();
        let encoder = Encoder::new(vocab, Pretokenizer::new("gpt2").unwrap()).unwrap();
        let ids = [0x61, 256, 0x83, 0x62];
        assert_eq!(encoder.decode(ids).unwrap(), "a\u{2603}b".as_bytes());
        assert_eq!(encoder.spans(ids, Unit::Characters).unwrap(), [0..1, 1..2, 1..2, 2..3]);
        assert_eq!(encoder.spans(ids, Unit::Bytes).unwrap(), [0..1, 1..3, 3..4, 4..5]);
        assert_eq!(encoder.spans([0x83, 0x61], Unit::Characters).unwrap(), [0..0, 0..1]);
        assert!(encoder.spans([0x61, 257], Unit::Bytes).unwrap_err().to_string().contains("position 1"));
        assert!(encoder.spans([], Unit::Bytes).unwrap().is_empty());
    }
}
