//! `.tiktoken`: one line `base64(bytes) rank` per token, the rank being the id. No merges, pattern or special
//! tokens.
//!
//! tiktoken joins whatever adjacent pair spells a token of the lowest rank. The merges behind a token are
//! found by encoding its bytes with the tokens of lower rank until two parts are left: that pair is the
//! merge. (Cutting a token where the two halves have the lowest ranks gives other pairs.) On the real ranks of cl100k, 900,000
//! adversarial strings encode alike by these merges and by tiktoken's rule.
//!
//! A token that stops at more than two parts was not made by BPE: Llama 3 and Qwen have hundreds. It is what a piece becomes
//! that is the token as a whole (tiktoken looks for that first), and perhaps tokens of higher rank make it: so all pairs that
//! spell it are merges of its rank. Of these at most one is ever applied ([`crate::vocab::derivations`]), so their order among
//! each other does not matter.
//!
//! Cost: one look-up per pair that comes up while a token is put together, about three per byte.

use super::gpt2::check_expressible;
use super::{Given, families, in_file, join::Joiner, read_text, refuse};
use crate::{
    atomic::{self, Existing},
    error::{Error, Result},
    piece_key::{SHORT, Seed, short_key},
    pipeline::Definition,
    pretokenizer::Pretokenizer,
    threads::share,
    vocab::{Merge, Vocab, show},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{collections::HashMap, fmt::Write as _, ops::Range, path::Path, sync::Arc};

/// Reads ranks and rebuilds the merges. `specials` are given with ids, or get the next free ones.
///
/// Blank lines, Windows line ends, a byte order mark and a missing last line end are accepted. The order of
/// lines does not matter; ranks may have gaps. A token without bytes, which Whisper has, is an id that decodes to nothing.
///
/// # Errors
/// [`Error::Io`]; [`Error::VocabFile`] with the line at fault: one that is no `base64 rank`, a token or rank
/// given twice, a byte missing.
pub fn load_tiktoken(path: &Path, specials: &[(String, Option<u32>)]) -> Result<Vocab> {
    vocab_of_ranks(path, parse_ranks(path, &read_text(path)?)?, specials)
}

/// Reads the text of a file of ranks, with what it lacks; `path` is for messages.
pub fn parse(path: &Path, text: &str, given: &Given) -> Result<Definition> {
    let tokens = parse_ranks(path, text)?;
    let lacking =
        families::lacking(path, "a file of ranks has no pattern and no special tokens", given, tokens.len())?;
    let vocab = vocab_of_ranks(path, tokens, &lacking.listed())?;
    let whole_pieces = !makes_all(&vocab);
    lacking.definition(vocab, whole_pieces).or_else(|reason| refuse(path, None, reason))
}

/// A tokenizer of ranks, as tiktoken uses them.
///
/// # Errors
/// [`Error::Pattern`] if the pattern is none.
pub fn of_ranks(vocab: Vocab, pattern: &str) -> Result<Definition> {
    let mut definition = Definition::new(vocab, Pretokenizer::new(pattern)?.pattern());
    definition.pipeline.whole_pieces = !makes_all(&definition.vocab);
    Ok(definition)
}

/// Whether merging makes every token of its bytes: then a look at whole pieces changes nothing.
fn makes_all(vocab: &Vocab) -> bool {
    let derivations = vocab.derivations();
    let is_made =
        |id, bytes: &[u8]| bytes.is_empty() || derivations.is_some_and(|made| made.is_reachable(id));
    vocab.tokens().all(|(id, bytes)| !vocab.is_ordinary(id) || is_made(id, bytes))
}

/// Whether a line is `base64 rank`, or a rank alone.
pub fn is_rank(line: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    line.trim_end().split_once(' ').is_some_and(|(token, rank)| {
        (token.len() % 4 == 0 || token == "=")
            && token.bytes().all(is_digit)
            && !rank.is_empty()
            && rank.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// The tokens of a file's lines.
fn parse_ranks(path: &Path, text: &str) -> Result<Vec<(u32, Arc<[u8]>)>> {
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.is_empty() {
            tokens.push(parse_line(line).or_else(|reason| refuse(path, Some(number), reason))?);
        }
    }
    Ok(tokens)
}

/// The vocabulary of tokens whose ids ascend like their ranks.
pub fn vocab_of_ranks(
    path: &Path,
    mut tokens: Vec<(u32, Arc<[u8]>)>,
    specials: &[(String, Option<u32>)],
) -> Result<Vocab> {
    tokens.sort();
    if let Some(pair) = tokens.windows(2).find(|w| w[0].0 == w[1].0) {
        let text = format!("rank {} is given to {} and to {}", pair[0].0, show(&pair[0].1), show(&pair[1].1));
        return refuse(path, None, text);
    }
    for (content, id) in specials.iter().filter_map(|(content, id)| Some((content.as_bytes(), (*id)?))) {
        if let Ok(at) = tokens.binary_search_by_key(&id, |token| token.0)
            && tokens[at].1[..] != *content
        {
            let text = format!("id {id} is given to {} and to {}", show(&tokens[at].1), show(content));
            return refuse(path, None, text);
        }
    }
    let merges = merges_of_ranks(&tokens).or_else(|reason| refuse(path, None, reason))?;
    let built = Vocab::build_by_ids(tokens, merges, Vec::new(), specials.to_vec());
    let vocab = in_file(path, built, |_| 0).map_err(|e| match e {
        // A merge has no line of its own here.
        Error::VocabFile { path, reason, .. } => Error::VocabFile { path, line: None, reason },
        other => other,
    })?;
    // tiktoken has no way to encode one either, and a file that was cut short looks so.
    let missing = vocab.missing_bytes().next();
    match missing {
        None => Ok(vocab),
        Some(byte) => refuse(
            path,
            None,
            format!(
                "the byte 0x{byte:02x} has no token; all 256 bytes must have one, so that any text can be encoded"
            ),
        ),
    }
}

/// Writes the ordinary tokens. Special tokens and the pattern have no place in the format: tiktoken takes
/// them from the caller.
///
/// # Errors
/// [`Error::Io`]; [`Error::Output`] if another file is kept; [`Error::VocabFile`] if the tokens' ids are not ranks from which tiktoken would make the
/// same ids: two ids for one byte string, merges in another order than their ids, or a token that no merge
/// makes.
pub fn export_tiktoken(path: &Path, definition: &Definition, existing: Existing) -> Result<()> {
    let vocab = &definition.vocab;
    check_expressible(path, definition, "a file of ranks")?;
    if let Some((id, bytes)) = vocab.duplicates().next() {
        let first = vocab.id_of(bytes).unwrap_or_default();
        let reason = format!(
            "ids {first} and {id} are both {}, and the format has one rank per token; save as tokenizer.json instead",
            show(bytes)
        );
        return refuse(path, None, reason);
    }
    let ordinary = vocab.tokens().filter(|(id, _)| !vocab.is_special(*id));
    let tokens: Vec<(u32, Arc<[u8]>)> = ordinary.map(|(id, bytes)| (id, bytes.into())).collect();
    let rebuilt = merges_of_ranks(&tokens).or_else(|reason| refuse(path, None, reason))?;
    let own = vocab.merges();
    let same = rebuilt.iter().zip(own).position(|(a, b)| a != b);
    let differs = same.or_else(|| (rebuilt.len() != own.len()).then_some(rebuilt.len().min(own.len())));
    if let Some(k) = differs {
        let reason = format!(
            "tiktoken joins tokens in the order of their ids, and merge {k} of this vocabulary does not follow it, so ids would differ; \
             save as tokenizer.json instead"
        );
        return refuse(path, None, reason);
    }
    let mut text = String::new();
    for (id, bytes) in &tokens {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {id}", STANDARD.encode(bytes));
    }
    atomic::write(path, text.as_bytes(), existing)
}

fn parse_line(line: &str) -> std::result::Result<(u32, Arc<[u8]>), String> {
    let shown = || show(line.as_bytes());
    let Some((token, rank)) = line.split_once(' ') else {
        return Err(format!("{} is not `base64 rank`", shown()));
    };
    // Whisper's file has `= 50256`.
    let token = if token == "=" { "" } else { token };
    let bytes = STANDARD.decode(token).map_err(|e| format!("{} is not `base64 rank`: {e}", shown()))?;
    if rank.is_empty() || !rank.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{} is not `base64 rank`: the rank is not a whole number", shown()));
    }
    let rank = rank.parse().ok().filter(|r| *r < crate::vocab::MAX_IDS);
    let rank = rank.ok_or_else(|| format!("{}: ranks are below {}", shown(), crate::vocab::MAX_IDS))?;
    Ok((rank, bytes.into()))
}

/// The merge behind each token of more than one byte. `tokens` are sorted by rank.
fn merges_of_ranks(tokens: &[(u32, Arc<[u8]>)]) -> std::result::Result<Vec<Merge>, String> {
    let mut ranks = Ranks::with_capacity(tokens.len());
    let mut total = 0;
    let mut num_fit = tokens.len();
    for (index, (rank, bytes)) in tokens.iter().enumerate() {
        if bytes.is_empty() {
            continue;
        }
        if let Some(first) = ranks.insert(bytes, *rank) {
            return Err(format!("{} is given twice, with ranks {first} and {rank}", show(bytes)));
        }
        total += bytes.len();
        if bytes.len() > crate::vocab::MAX_TOKEN_BYTES || total > crate::vocab::MAX_TOTAL_BYTES {
            num_fit = num_fit.min(index); // The vocabulary's own check names the limit.
        }
    }
    // No merge needs another.
    let parts = share(num_fit, TOKENS_TAKEN, |range| ranks.merges(tokens, range));
    let mut merges = Vec::with_capacity(num_fit);
    for part in parts {
        merges.extend(part);
    }
    Ok(merges)
}

/// Tokens that a thread takes at a time.
const TOKENS_TAKEN: usize = 8192;

/// The ranks of tokens.
struct Ranks<'a> {
    /// Of two bytes: half of all look-ups are for these, and a table answers them without a cache miss.
    two: Vec<Option<u32>>,
    /// Of up to [`SHORT`] bytes, which the keys hold: a slice would be one more miss.
    short: HashMap<u128, u32, Seed>,
    long: HashMap<&'a [u8], u32>,
}

impl<'a> Ranks<'a> {
    fn with_capacity(num_tokens: usize) -> Self {
        let short = HashMap::with_capacity_and_hasher(num_tokens, Seed::default());
        Ranks { two: vec![None; 1 << 16], short, long: HashMap::new() }
    }

    /// Adds a token; returns the rank that it has already.
    fn insert(&mut self, bytes: &'a [u8], rank: u32) -> Option<u32> {
        match bytes {
            &[left, right] => self.two[two(left, right)].replace(rank),
            _ if bytes.len() <= SHORT => self.short.insert(short_key(bytes, 0, bytes.len()), rank),
            _ => self.long.insert(bytes, rank),
        }
    }

    fn of(&self, bytes: &[u8], part: Range<usize>) -> Option<u32> {
        match &bytes[part.clone()] {
            &[left, right] => self.two[two(left, right)],
            part if part.len() > SHORT => self.long.get(part).copied(),
            _ => self.short.get(&short_key(bytes, part.start, part.len())).copied(),
        }
    }

    /// The merges behind the tokens of a range.
    fn merges(&self, tokens: &[(u32, Arc<[u8]>)], range: Range<usize>) -> Vec<Merge> {
        // Of the tokens of lower rank: nothing longer is a part, and hashing what is long takes long.
        let mut longest = tokens[..range.start].iter().map(|(_, bytes)| bytes.len()).max().unwrap_or(1);
        let mut merges = Vec::with_capacity(range.len());
        let mut joiner = Joiner::default();
        for (rank, bytes) in tokens[range].iter().filter(|(_, bytes)| bytes.len() > 1) {
            let lower = |start: usize, _, end: usize| {
                let found = if end - start > longest { None } else { self.of(bytes, start..end) };
                found.filter(|r| r < rank)
            };
            let starts = joiner.join(bytes.len(), lower);
            longest = longest.max(bytes.len());
            let parts = |middle| self.of(bytes, 0..middle).zip(self.of(bytes, middle..bytes.len()));
            if let &[0, middle] = &starts[..]
                && let Some((left, right)) = parts(middle)
            {
                merges.push(Merge { left, right, id: *rank });
                continue;
            }
            // Tokens of higher rank may make it still.
            let first = merges.len();
            let pairs = (1..bytes.len()).filter_map(parts);
            merges.extend(pairs.map(|(left, right)| Merge { left, right, id: *rank }));
            merges[first..].sort_unstable_by_key(|merge| (merge.left, merge.right));
        }
        merges
    }
}

/// Both bytes as a number.
fn two(left: u8, right: u8) -> usize {
    usize::from(u16::from_be_bytes([left, right]))
}
