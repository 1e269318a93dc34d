//! Ids -> where their tokens are in a text, counted in bytes or in characters.
//!
//! A token may hold a part of a character. Its span is then that of the characters that it has bytes of, so the spans of two
//! neighbours may share a character: `tokenizers` gives the same, and `tiktoken` the same starts.
//!
//! Where a tokenizer changes text before it is split, spans are those of the text as it was: a token with bytes of a stretch
//! that was changed has all of that stretch.
//!
//! Time O(bytes).

use super::{Added, Encoder, Specials, Worker, ends_within};
use crate::error::Result;
use crate::monitor::Monitor;
use crate::normalizer::{Ends, WHOLE};
use std::borrow::Cow;
use std::ops::Range;

/// What the ends of a span are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Unicode code points. Bytes that are not UTF-8 are counted as if they were.
    Characters,
}

/// Tokens with where they are.
type Located = Vec<(u32, Range<usize>)>;

impl Encoder {
    /// The span of each token in the text that `ids` decode to.
    ///
    /// # Errors
    /// [`Error::UnknownToken`](crate::Error::UnknownToken) with the id and its position.
    pub fn spans(&self, ids: impl IntoIterator<Item = i64>, unit: Unit) -> Result<Vec<Range<usize>>> {
        let mut before = 0;
        let mut is_first = true;
        let span = |(position, id)| {
            let mut token = Cow::Borrowed(self.known_token(id, position)?);
            if std::mem::take(&mut is_first) {
                token = self.strips_of(id).of_first(token);
            }
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

    /// The ids of a text, and the span of each in it.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_with_spans(
        &self,
        text: &[u8],
        specials: Specials<'_>,
        unit: Unit,
        monitor: &Monitor,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>)> {
        if self.definition.pipeline.keeps_bytes() && self.vocab().characters().is_none() {
            let mut ids = Vec::new();
            self.encode(text, specials, &mut ids, monitor)?;
            let spans = self.spans(ids.iter().map(|&id| id.into()), unit)?;
            return Ok((ids, spans));
        }
        let mut worker = self.worker();
        let located = self.locate(&mut worker, text, self.added(specials, text)?);
        self.put_back(worker);
        let (ids, mut spans): (Vec<u32>, Vec<Range<usize>>) = located?.into_iter().unzip();
        if unit == Unit::Characters {
            count_characters(text, &mut spans);
        }
        Ok((ids, spans))
    }

    fn locate(&self, worker: &mut Worker, text: &[u8], added: &Added) -> Result<Located> {
        let mut all = Vec::new();
        added.cutter.specials.split(
            text,
            &mut (worker, &mut all),
            |(worker, all), range| {
                let within = ends_within(&range, text, WHOLE);
                self.locate_normalized(worker, &text[range.clone()], range.start, within, added, all)
            },
            |(_, all), found| {
                all.push((added.ids[0][found.index], found.start..found.end));
                Ok(())
            },
        )?;
        Ok(all)
    }

    /// Locates the tokens of text between added tokens, which begins at `offset`.
    fn locate_normalized(
        &self,
        worker: &mut Worker,
        text: &[u8],
        offset: usize,
        ends: Ends,
        added: &Added,
        all: &mut Located,
    ) -> Result<()> {
        let (mut normalized, mut changed) = self.definition.pipeline.normalizer.aligned(text, ends)?;
        let (mut ends, mut is_first) = (ends, offset == 0);
        let prefix = self.definition.pipeline.prefix;
        let is_prefixed =
            prefix.is_before(ends.begins, is_first) && !normalized.is_empty() && prefix.is_normalized();
        if is_prefixed && !added.cutter.late.is_empty() {
            normalized.insert(0, b' ');
            for (_, became) in &mut changed {
                *became = became.start + 1..became.end + 1;
            }
            changed.insert(0, (0..0, 0..1));
            (ends.begins, is_first) = (false, false);
        }
        let first = all.len();
        added.cutter.late.split(
            &normalized,
            &mut (worker, &mut *all),
            |(worker, all), range| {
                let within = self.ends_within_late(&range, &normalized, ends);
                let is_first = is_first && range.start == 0;
                self.locate_stretch(worker, &normalized[range.clone()], range.start, within, is_first, all)
            },
            |(_, all), found| {
                all.push((added.ids[1][found.index], found.start..found.end));
                Ok(())
            },
        )?;
        for (_, span) in &mut all[first..] {
            let source = source_of(span, &changed);
            *span = source.start + offset..source.end + offset;
        }
        Ok(())
    }

    /// Locates the tokens of text without added tokens, which begins at `offset`.
    fn locate_stretch(
        &self,
        worker: &mut Worker,
        text: &[u8],
        offset: usize,
        ends: Ends,
        is_first: bool,
        all: &mut Located,
    ) -> Result<()> {
        let mut ids = Vec::new();
        self.encode_stretch(worker, text, ends, is_first, &mut ids, &mut |_| ())?;
        let pipeline = &self.definition.pipeline;
        let is_place = pipeline.prefix.is_before(ends.begins, is_first);
        let mut prefix = usize::from(is_place && !(pipeline.prefix.unless_space && text.starts_with(b" ")));
        let unknown = self.vocab().characters().map_or(pipeline.unknown, |characters| characters.unknown);
        let mut at = 0;
        for (k, &id) in ids.iter().enumerate() {
            let num_bytes = if Some(id) == unknown {
                self.tables().symbols.unknown_at(&text[at..], ids.get(k + 1) != unknown.as_ref())
            } else {
                self.vocab().token_bytes(id).map_or(0, <[u8]>::len)
            };
            let of_prefix = prefix.min(num_bytes);
            prefix -= of_prefix;
            let end = text.len().min(at + num_bytes - of_prefix);
            all.push((id, at + offset..end + offset));
            at = end;
        }
        Ok(())
    }
}

/// Where a span of normalized text comes from. `changed` are ranges of the text with what they became, in order.
fn source_of(span: &Range<usize>, changed: &[(Range<usize>, Range<usize>)]) -> Range<usize> {
    // What stands behind a range that changed has moved with its end.
    let moved = |at: usize, before: usize| {
        let last = before.checked_sub(1).map(|k| &changed[k]);
        (last, last.map_or(at, |(source, became)| (at + source.end).saturating_sub(became.end)))
    };
    let start = match moved(span.start, changed.partition_point(|(_, became)| became.start <= span.start)) {
        (Some((source, became)), _) if span.start < became.end => source.start,
        (_, start) => start,
    };
    let end = match moved(span.end, changed.partition_point(|(_, became)| became.start < span.end)) {
        (Some((source, became)), _) if span.end <= became.end => source.end,
        (_, end) => end,
    };
    start..end.max(start)
}

/// Turns spans of bytes, whose starts ascend, into spans of the characters that have these bytes.
fn count_characters(text: &[u8], spans: &mut [Range<usize>]) {
    let (mut at, mut num) = (0, 0);
    // Characters that begin before a place.
    let mut begun_before = |place: usize| {
        if place < at {
            (at, num) = (0, 0);
        }
        num += text[at..place].iter().filter(|&&byte| !is_continuation(byte)).count();
        at = place;
        num
    };
    for span in spans {
        let goes_on = text.get(span.start).is_some_and(|&byte| is_continuation(byte));
        let start = begun_before(span.start).saturating_sub(usize::from(goes_on && span.start < span.end));
        *span = start..begun_before(span.end).max(start);
    }
}

/// Whether a character of UTF-8 goes on with this byte, rather than begins.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_mapped_as_a_whole() {
        // "a" stays, two bytes become one, "b" stays, one byte goes.
        let changed = [(1..3, 1..2), (4..5, 3..3)];
        let cases = [
            (0..1, 0..1),
            (1..2, 1..3),
            (0..2, 0..3),
            (2..3, 3..4),
            (3..4, 5..6),
            (1..1, 1..1),
            (3..3, 5..5),
        ];
        for (span, source) in cases {
            assert_eq!(source_of(&span, &changed), source, "{span:?}");
        }
    }
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
