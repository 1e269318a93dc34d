//! The pieces of a text, as the library gives them and as the regex engine defines them.

use fancy_regex::Regex;
use tinybpe::Pretokenizer;

/// All pieces, asked for `batch` at a time.
pub fn split(pretokenizer: &Pretokenizer, text: &[u8], batch: usize) -> Vec<usize> {
    let mut all: Vec<usize> = Vec::new();
    let mut ends = vec![0; batch];
    let mut pieces = pretokenizer.pieces(text);
    loop {
        let num_ends = pieces.next_ends(&mut ends).unwrap();
        for end in ends[..num_ends].iter().map(|&end| end as usize) {
            assert!(end > all.last().copied().unwrap_or(0), "{end} after {:?}", all.last());
            all.push(end);
        }
        if num_ends < batch {
            return all;
        }
    }
}

/// The definition: the first regex on each run of valid UTF-8, with gaps as pieces and a cut where it matches nothing;
/// invalid bytes one by one; the other regexes on the pieces.
///
/// # Errors
/// If an engine takes too many steps.
pub fn define(regexes: &[Regex], text: &[u8]) -> fancy_regex::Result<Vec<usize>> {
    let Some((first, others)) = regexes.split_first() else { return Ok(vec![text.len()]) };
    let mut all = Vec::new();
    let mut start = 0;
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid();
        let mut cuts = Vec::new();
        for found in first.find_iter(valid) {
            let found = found?;
            cuts.extend([found.start(), found.end()]);
        }
        cuts.push(valid.len());
        let mut done = 0;
        for cut in cuts {
            if cut > done {
                let piece = &valid.as_bytes()[done..cut];
                all.extend(define(others, piece)?.into_iter().map(|end| start + done + end));
                done = cut;
            }
        }
        start += valid.len();
        for _ in chunk.invalid() {
            start += 1;
            all.push(start);
        }
    }
    Ok(all)
}

/// The engines of a pretokenizer's regexes.
pub fn engines(pretokenizer: &Pretokenizer) -> Vec<Regex> {
    pretokenizer.regexes().iter().map(|regex| Regex::new(regex).unwrap()).collect()
}
