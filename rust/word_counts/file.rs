//! Word counts <-> file, so that several machines can count and one can train.
//!
//! A line of JSON tells format, pattern, special tokens and the number of words; then follows, for each word in the order of
//! bytes, its length, the word and its count, numbers as LEB128; last the SHA-256 of all before it. Equal counts make equal
//! files.

use super::WordCounts;
use crate::atomic::{self, Existing};
use crate::error::{Error, Result};
use crate::vocab::show;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const FORMAT: &str = "tinybpe-word-counts";
const VERSION: u64 = 1;
/// What each file starts with: JSON objects are written with their keys in order.
const START: &[u8] = b"{\"format\":\"tinybpe-word-counts\",";
const DIGEST_BYTES: usize = 32;

impl WordCounts {
    /// Writes the counts.
    ///
    /// # Errors
    /// [`Error::Io`] with the file, [`Error::Output`] if another one is kept.
    pub fn save(&self, path: &Path, existing: Existing) -> Result<()> {
        atomic::write(path, &self.to_bytes(), existing)
    }

    /// What [`WordCounts::save`] writes, to be sent to another process.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let words = self.sorted();
        let header = json!({
            "format": FORMAT,
            "version": VERSION,
            "pattern": self.pattern,
            "special_tokens": self.special_tokens,
            "num_words": words.len(),
        });
        let mut bytes = format!("{header}\n").into_bytes();
        for (word, count) in words {
            put_number(word.len() as u64, &mut bytes);
            bytes.extend_from_slice(word);
            put_number(count, &mut bytes);
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Reads what [`WordCounts::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::VocabFile`] if the file is another format or version, cut short or changed.
    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let mut bytes = Vec::new();
        let mut reader = BufReader::new(file);
        // Of a wrong file, which may be large or endless, no more is read than its start.
        reader.by_ref().take(START.len() as u64).read_to_end(&mut bytes).map_err(Error::io(path))?;
        if bytes == START {
            reader.read_to_end(&mut bytes).map_err(Error::io(path))?;
        }
        parse(&bytes).map_err(|reason| Error::VocabFile { path: path.into(), line: None, reason })
    }

    /// Reads what [`WordCounts::to_bytes`] gave.
    ///
    /// # Errors
    /// [`Error::Training`] if the bytes are something else, cut short or changed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        parse(bytes).map_err(|reason| Error::Training(format!("word counts: {reason}")))
    }
}

fn parse(bytes: &[u8]) -> std::result::Result<WordCounts, String> {
    let not_ours = || "not a file of word counts, as WordCounts.save writes it".to_owned();
    let line = bytes.iter().position(|&byte| byte == b'\n').ok_or_else(not_ours)?;
    let header: serde_json::Value = serde_json::from_slice(&bytes[..line]).map_err(|_| not_ours())?;
    if header["format"] != FORMAT {
        return Err(not_ours());
    }
    if header["version"] != VERSION {
        return Err(format!("version {}, this build reads version {VERSION}", header["version"]));
    }
    let split = bytes.len().checked_sub(DIGEST_BYTES).filter(|&split| split > line);
    let (body, digest) = bytes.split_at(split.ok_or("cut short: its digest is missing")?);
    if Sha256::digest(body).as_slice() != digest {
        return Err("cut short or changed: its digest does not fit".into());
    }
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned).ok_or_else(not_ours);
    let special_tokens = header["special_tokens"].as_array().ok_or_else(not_ours)?;
    let mut counts = WordCounts {
        pattern: text(&header["pattern"])?,
        special_tokens: special_tokens.iter().map(text).collect::<std::result::Result<_, _>>()?,
        ..WordCounts::default()
    };
    let (mut rest, mut last) = (&body[line + 1..], None);
    while !rest.is_empty() {
        let word = take_number(&mut rest).and_then(|len| usize::try_from(len).ok());
        let word = word.and_then(|len| rest.split_off(..len)).ok_or_else(not_ours)?;
        let count =
            take_number(&mut rest).filter(|&count| i64::try_from(count).is_ok()).ok_or_else(not_ours)?;
        if let Some(before) = last.filter(|&before| before >= word) {
            return Err(format!("its words are not in order: {} stands before {}", show(before), show(word)));
        }
        last = Some(word);
        counts.push(word, count).map_err(|error| error.to_string())?;
    }
    if header["num_words"] != counts.len() {
        return Err(format!("it holds {} words, its header says {}", counts.len(), header["num_words"]));
    }
    Ok(counts)
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        #[allow(clippy::cast_possible_truncation)] // seven bits at a time
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)] // below 0x80
    bytes.push(number as u8);
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7F);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(words: &[(&[u8], u64)]) -> WordCounts {
        let specials = ["<s>".to_owned()];
        WordCounts::from_words("gpt2", &specials, words.iter().copied()).unwrap()
    }

    // fault: T13
    #[test]
    fn what_was_saved_is_read_and_any_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counts");
        let saved = counts(&[(b"a", 1), (b"", 3), (&[255; 300], i64::MAX as u64)]);
        saved.save(&path, Existing::Keep).unwrap();
        let mut found: Vec<_> =
            WordCounts::load(&path).unwrap().iter().map(|(w, c)| (w.to_vec(), c)).collect();
        found.sort();
        assert_eq!(found, [(vec![], 3), (b"a".to_vec(), 1), (vec![255; 300], i64::MAX as u64)]);
        let bytes = std::fs::read(&path).unwrap();
        for len in 0..bytes.len() {
            assert!(parse(&bytes[..len]).is_err());
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&changed).is_err());
        }
    }

    // fault: T13, V3
    #[test]
    fn what_to_bytes_never_gives_is_refused_whatever_its_digest() {
        let file = |body: &[u8]| {
            let header = r#"{"format":"tinybpe-word-counts","num_words":2,"pattern":"gpt2","special_tokens":[],"version":1}"#;
            let mut bytes = [header.as_bytes(), b"\n", body].concat();
            let digest = Sha256::digest(&bytes);
            bytes.extend_from_slice(&digest);
            bytes
        };
        assert!(parse(&file(b"\x01a\x01\x01b\x02")).is_ok());
        for body in [&b"\x01b\x01\x01a\x02"[..], b"\x01a\x01\x01a\x02"] {
            assert!(parse(&file(body)).unwrap_err().contains("not in order"));
        }
        // 2^63: a sum that training would take for a negative one.
        assert!(parse(&file(b"\x01a\x01\x01b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")).is_err());
        // A length of 2^63 allocates nothing.
        assert!(parse(&file(b"\x01a\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01b\x02")).is_err());
    }

    // fault: T13
    #[cfg(unix)]
    #[test]
    fn of_an_endless_file_no_more_is_read_than_its_start() {
        let error = WordCounts::load(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(error, Error::VocabFile { .. }), "{error}");
    }

    #[test]
    fn every_file_starts_alike() {
        assert!(counts(&[]).to_bytes().starts_with(START));
    }

    // fault: T13
    #[test]
    fn numbers_of_any_size_pass_through_and_longer_ones_do_not() {
        for number in [0, 1, 127, 128, 1 << 35, u64::MAX] {
            let mut bytes = Vec::new();
            put_number(number, &mut bytes);
            assert_eq!(take_number(&mut bytes.as_slice()), Some(number));
        }
        assert_eq!(take_number(&mut [0xFF; 11].as_slice()), None);
        assert_eq!(take_number(&mut [0x80].as_slice()), None);
    }

    #[test]
    fn merging_sums_up_and_refuses_what_does_not_fit() {
        let merged = counts(&[(b"a", 1), (b"b", 2)]).merge(&counts(&[(b"b", 3), (b"c", 4)])).unwrap();
        let mut found: Vec<_> = merged.iter().collect();
        found.sort_unstable();
        assert_eq!(found, [(&b"a"[..], 1), (b"b", 5), (b"c", 4)]);
        let other = WordCounts::from_words("cl100k", &["<s>".to_owned()], []).unwrap();
        assert!(merged.merge(&other).is_err());
        let other = WordCounts::from_words("gpt2", &[], []).unwrap();
        assert!(merged.merge(&other).is_err());
        assert!(counts(&[(b"a", i64::MAX as u64)]).merge(&counts(&[(b"a", 1)])).is_err());
    }
}
