//! The textbook trainer and encoder, for tests alone: the definition written down, on byte strings, with no state kept.
//!
//! [`train`] counts all adjacent pairs of all words anew for each merge, so one merge costs as much as the whole text;
//! [`encode`] looks at all pairs for each merge. The fast trainer and encoder are checked against these apart, so a failure names the
//! stage.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Bytes of a symbol.
pub type Bytes = Vec<u8>;

/// Which of the most frequent pairs merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TieBreak {
    /// The lexicographically greatest (left bytes, right bytes).
    Bytes,
    /// The smallest (left id, right id), where single bytes are ranked by the character that stands for them in GPT-2's
    /// files, and tokens follow in order of creation; a token made twice keeps its first id.
    HuggingFace,
}

/// Merges, in order, learned from `words` with their counts.
///
/// Under [`TieBreak::Bytes`] training ends after `num_tokens` merges. Under [`TieBreak::HuggingFace`] a merge whose bytes
/// exist already is kept but not counted: it ends when `num_tokens` new byte strings exist. Either ends early when no
/// pair is left. A pair that merged before and comes up again (its parts were made by another pair) is not merged again:
/// it would say nothing new to the encoder.
#[must_use]
pub fn train(words: &[(Bytes, u64)], num_tokens: usize, tie: TieBreak) -> Vec<(Bytes, Bytes)> {
    let mut words: Vec<(Vec<Bytes>, u64)> =
        words.iter().map(|(word, count)| (word.iter().map(|&b| vec![b]).collect(), *count)).collect();
    let mut ids: HashMap<Bytes, usize> = (0..=255u8).map(|b| (vec![b], gpt2_order(b))).collect();
    let mut merges: Vec<(Bytes, Bytes)> = Vec::new();
    let mut learned: HashSet<(Bytes, Bytes)> = HashSet::new();
    let enough = |merges: &[_], ids: &HashMap<_, _>| match tie {
        TieBreak::Bytes => merges.len() >= num_tokens,
        TieBreak::HuggingFace => ids.len() - 256 >= num_tokens,
    };
    while !enough(&merges, &ids) {
        let mut counts: BTreeMap<(Bytes, Bytes), u64> = BTreeMap::new();
        for (symbols, count) in &words {
            for pair in symbols.windows(2) {
                *counts.entry((pair[0].clone(), pair[1].clone())).or_default() += count;
            }
        }
        counts.retain(|pair, count| *count > 0 && !learned.contains(pair));
        let best = match tie {
            TieBreak::Bytes => counts.iter().max_by_key(|(pair, count)| (**count, (*pair).clone())),
            TieBreak::HuggingFace => counts
                .iter()
                .min_by_key(|((left, right), count)| (std::cmp::Reverse(**count), ids[left], ids[right])),
        };
        let Some((pair, _)) = best else { break };
        let pair = pair.clone();
        for (symbols, _) in &mut words {
            *symbols = merge(symbols, &pair);
        }
        let next = ids.len();
        ids.entry([&pair.0[..], &pair.1[..]].concat()).or_insert(next);
        learned.insert(pair.clone());
        merges.push(pair);
    }
    merges
}

/// The tokens of one piece: the pair of lowest rank merges, the leftmost first, until none is left.
#[must_use]
pub fn encode(piece: &[u8], merges: &[(Bytes, Bytes)]) -> Vec<Bytes> {
    let rank_of: HashMap<(&[u8], &[u8]), usize> = merges
        .iter()
        .enumerate()
        .rev()
        .map(|(rank, (left, right))| ((&left[..], &right[..]), rank))
        .collect();
    let mut symbols: Vec<Bytes> = piece.iter().map(|&b| vec![b]).collect();
    loop {
        let ranks = symbols.windows(2).enumerate();
        let best = ranks.filter_map(|(i, p)| Some((*rank_of.get(&(&p[0][..], &p[1][..]))?, i))).min();
        let Some((_, i)) = best else { return symbols };
        let right = symbols.remove(i + 1);
        symbols[i].extend(right);
    }
}

/// Joins each occurrence of `pair`, from the left, not overlapping.
fn merge(symbols: &[Bytes], pair: &(Bytes, Bytes)) -> Vec<Bytes> {
    let mut merged = Vec::with_capacity(symbols.len());
    let mut i = 0;
    while i < symbols.len() {
        if i + 1 < symbols.len() && symbols[i] == pair.0 && symbols[i + 1] == pair.1 {
            merged.push([&pair.0[..], &pair.1[..]].concat());
            i += 2;
        } else {
            merged.push(symbols[i].clone());
            i += 1;
        }
    }
    merged
}

/// The place of a byte among all 256, ordered by the character that stands for it in GPT-2's files: first the 188
/// printable ones, then the others.
fn gpt2_order(byte: u8) -> usize {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let same = (0..byte).filter(|&b| printable(b) == printable(byte)).count();
    if printable(byte) { same } else { (0..=255).filter(|&b| printable(b)).count() + same }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[(&str, u64)]) -> Vec<(Bytes, u64)> {
        text.iter().map(|(word, count)| (word.as_bytes().to_vec(), *count)).collect()
    }

    fn joined(merges: &[(Bytes, Bytes)]) -> Vec<String> {
        merges.iter().map(|(l, r)| String::from_utf8([&l[..], b"+", r].concat()).unwrap()).collect()
    }

    /// The example of Sennrich et al. (2016), as the CS336 course tells it.
    #[test]
    fn learns_the_known_example() {
        let words = words(&[("low", 5), ("lower", 2), ("widest", 3), ("newest", 6)]);
        let merges = joined(&train(&words, 6, TieBreak::Bytes));
        assert_eq!(merges, ["s+t", "e+st", "o+w", "l+ow", "w+est", "n+e"]);
        let pairs: Vec<_> = train(&words, 6, TieBreak::Bytes);
        assert_eq!(encode(b"newest", &pairs), [b"ne".to_vec(), b"west".to_vec()]);
    }

    #[test]
    fn breaks_ties_as_asked() {
        let words = words(&[("ab", 1), ("yz", 1), ("\u{20}a", 1)]);
        assert_eq!(joined(&train(&words, 9, TieBreak::Bytes)), ["y+z", "a+b", " +a"]);
        assert_eq!(joined(&train(&words, 9, TieBreak::HuggingFace)), ["a+b", "y+z", " +a"]);
    }

    #[test]
    fn ends_at_the_edges() {
        assert!(train(&[], 5, TieBreak::Bytes).is_empty());
        assert!(train(&words(&[("a", 5), ("", 1)]), 5, TieBreak::HuggingFace).is_empty());
        assert!(encode(b"", &[]).is_empty());
        assert_eq!(encode(b"a", &[]), [b"a".to_vec()]);
    }
}
