//! Whatever the chunk size, the pieces of all chunks are the pieces of the file, and special tokens stay whole.

use proptest::prelude::*;
use std::io::Write;
use tinybpe::Monitor;
use tinybpe::cutter::Cutter;
use tinybpe::pretokenizer::Pretokenizer;
use tinybpe::reader::{ChunkReader, Chunks, Inputs};
use tinybpe::special::SpecialTokens;

const PATTERNS: [&str; 7] = ["gpt2", "cl100k", "o200k", "deepseek", "bloom", r"\w+|\W", r"(?<=a)b|\w+|\W"];

/// Pieces and special tokens of a text.
fn pieces(text: &[u8], pretokenizer: &Pretokenizer, specials: &SpecialTokens) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let ordinary = |all: &mut Vec<Vec<u8>>, range: std::ops::Range<usize>| {
        let text = &text[range];
        let (mut start, mut ends) = (0, [0; 7]);
        let mut pieces = pretokenizer.pieces(text);
        while start < text.len() {
            let found = pieces.next_ends(&mut ends)?;
            for &end in &ends[..found] {
                all.push(text[start..end as usize].to_vec());
                start = end as usize;
            }
        }
        Ok(())
    };
    let special = |all: &mut Vec<Vec<u8>>, found: tinybpe::special::Occurrence| {
        all.push(format!("special {}", found.index).into_bytes());
        Ok(())
    };
    specials.split(text, &mut all, ordinary, special).unwrap();
    all
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        &b"a"[..],
        b"B",
        b" ",
        b"  ",
        b"\n",
        b"\r\n",
        b"\t",
        b"'s",
        b"'",
        b"7",
        b"1234",
        b"!",
        b"/",
        b".\n",
        b"\xE3\x80\x80",
        "é".as_bytes(),
        "日本".as_bytes(),
        "。".as_bytes(),
        "\u{301}".as_bytes(),
        "ǅ".as_bytes(),
        b"\xFF",
        b"\xE3\x80",
        b"<s>",
        b"<s> b",
        b"b<",
        b"<",
        b"s>",
        "<é".as_bytes(),
    ]);
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    // fault: T8, T9
    #[test]
    fn chunks_have_the_pieces_of_the_whole(
        texts in prop::collection::vec(text(), 1..3),
        chunk_bytes in 1_usize..80,
        pattern in prop::sample::select(PATTERNS.to_vec()),
        specials in prop::sample::subsequence(vec!["<s>", "<s> b", "b<", "<é"], 0..=4),
    ) {
        let specials: Vec<String> = specials.into_iter().map(ToString::to_string).collect();
        let specials = SpecialTokens::new(&specials).unwrap();
        let pretokenizer = Pretokenizer::new(pattern).unwrap();
        let mut files = Vec::new();
        for text in &texts {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text).unwrap();
            files.push(file);
        }
        let paths: Vec<_> = files.iter().map(|file| file.path().to_path_buf()).collect();
        let inputs = Inputs::text(&paths);
        let mut reader = ChunkReader::new(&inputs, Cutter::new(pretokenizer.clone(), specials.clone()), chunk_bytes).unwrap();
        prop_assert_eq!(reader.total_bytes(), Some(texts.iter().map(|text| text.len() as u64).sum::<u64>()));
        let (mut chunk, mut found, mut sources) = (Vec::new(), Vec::new(), 0);
        while let Some(at) = reader.next_chunk(&mut chunk, &Monitor::default()).unwrap() {
            found.extend(pieces(&chunk, &pretokenizer, &specials));
            sources += usize::from(at.ends_source);
        }
        let expected: Vec<_> = texts.iter().flat_map(|text| pieces(text, &pretokenizer, &specials)).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(sources, texts.len());
    }
}
