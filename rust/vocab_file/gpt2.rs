//! `vocab.json` and `merges.txt`: ids as a JSON object, merges as one pair per line, both in GPT-2's
//! characters.
//!
//! Special tokens stand in `vocab.json` as plain text, so the file does not say which they are, and it has no
//! pattern: the caller gives both. GPT-2's own ids number the bytes in another order than the contract; ids
//! are kept as given.

use super::{
    ByteChars, in_file,
    json::Json,
    read_text, refuse,
    resolve::{self, Entries},
};
use crate::{
    atomic::{self, Existing},
    error::{Error, Result},
    pipeline::Definition,
    vocab::{Vocab, show},
};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
};

pub const VOCAB: &str = "vocab.json";
pub const MERGES: &str = "merges.txt";
/// Readers of GPT-2's time drop the first line whatever it says, so it must be there.
const HEADER: &str = "#version: 0.2";

/// Writes `vocab.json` and `merges.txt` into the folder `dir`, which is made if it is not there.
///
/// The format holds no pattern and does not mark special tokens; who reads it must know them.
///
/// # Errors
/// [`Error::Io`]; [`Error::Output`] if another file is kept; [`Error::VocabFile`] if a special token is spelled like
/// another token.
pub fn export_gpt2(dir: &Path, definition: &Definition, existing: Existing) -> Result<()> {
    let vocab = &definition.vocab;
    check_expressible(dir, definition, "vocab.json and merges.txt")?;
    if definition.pipeline.whole_pieces {
        return refuse(
            dir,
            None,
            "vocab.json and merges.txt cannot say that a piece that is a token is that token; save as tokenizer.json instead",
        );
    }
    let json = vocab_json(dir, vocab)?;
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    let merges = merges_txt(vocab);
    let files = [(dir.join(MERGES), merges.as_bytes()), (dir.join(VOCAB), json.as_bytes())];
    atomic::write_all(files, existing)
}

/// Reads a pair of GPT-2 files. `specials` that are in `vocab.json` keep their ids; others get the next free
/// ones.
///
/// A missing header, Windows line ends, a byte order mark and a missing last line end are accepted, since
/// they leave no doubt. A token of more than one byte that no merge makes is refused, as the sign of a
/// `merges.txt` that was cut short, unless it has the form `<|…|>`: then it is a special token that the
/// caller does not want, and is only decoded.
///
/// # Errors
/// [`Error::Io`]; [`Error::VocabFile`], with the line of `merges.txt` where one is at fault.
pub fn load_gpt2(vocab: &Path, merges: &Path, specials: &[String]) -> Result<Vocab> {
    let text = read_text(vocab)?;
    let entries = Json::parse(vocab, &text)?.object(vocab, "the file")?;
    let wanted: HashSet<&str> = specials.iter().map(String::as_str).collect();
    let chars = ByteChars::new();
    let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(entries.len());
    let mut ordinary = Vec::with_capacity(entries.len());
    let mut found = HashMap::new();
    for (text, id) in &entries {
        let id = id.id(vocab, || format!("the id of {}", show(text.as_bytes())))?;
        if wanted.contains(&text[..]) {
            found.insert(&text[..], id);
        } else if let Some(bytes) = chars.bytes(text) {
            tokens.push((id, bytes.into()));
            ordinary.push((&text[..], id));
        } else {
            return refuse(vocab, None, not_bytes(text, "list it in special_tokens if it is one"));
        }
    }
    let text = read_text(merges)?;
    let (pairs, lines) = parse_merges(merges, &text, &chars)?;
    let made: HashSet<String> = pairs.iter().map(|&(left, right)| [left, right].concat()).collect();
    let unwanted = |b: &[u8]| b.starts_with(b"<|") && b.ends_with(b"|>");
    let is_unmade = |b: &[u8]| b.len() > 1 && !unwanted(b) && !made.contains(&chars.text(b));
    if let Some((id, bytes)) = tokens.iter().find(|(_, bytes)| is_unmade(bytes)) {
        let reason = format!(
            "no merge makes the token {} (id {id}): the file is cut short, or belongs to another vocab.json; if it is a special token, list it in special_tokens",
            show(bytes)
        );
        return refuse(merges, None, reason);
    }
    let taken: HashSet<u32> = found.values().copied().collect();
    let highest = tokens.iter().map(|t| t.0).chain(taken.iter().copied()).max();
    let vocab_size = highest.map_or(0, |id| u64::from(id) + 1);
    let specials = specials.iter().map(|s| (s.clone(), found.get(&s[..]).copied())).collect();
    let built = resolve::build(tokens, &Entries::new(ordinary), &pairs, specials, &taken, vocab_size);
    let path = if built.as_ref().is_err_and(|flaw| flaw.merge.is_some()) { merges } else { vocab };
    in_file(path, built, |k| lines[k])
}

/// Refuses a format that holds tokens and merges alone for a tokenizer that does more.
pub fn check_expressible(path: &Path, definition: &Definition, format: &str) -> Result<()> {
    let vocab = &definition.vocab;
    let beyond = if vocab.characters().is_some() {
        Some("it merges characters, not bytes")
    } else if vocab.missing_bytes().next().is_some() {
        Some("some bytes have no token")
    } else {
        definition.pipeline.beyond_merges()
    };
    match beyond {
        None => Ok(()),
        Some(reason) => refuse(
            path,
            None,
            format!("{format} cannot express this tokenizer: {reason}; save as tokenizer.json instead"),
        ),
    }
}

/// The message for a key that is not in GPT-2's characters.
pub fn not_bytes(text: &str, remedy: &str) -> String {
    format!(
        "the token {} is not in the byte-to-character spelling of GPT-2, so this is no byte-level vocabulary; {remedy}",
        show(text.as_bytes())
    )
}

/// The texts of a merge's parts.
type Pair<'a> = (&'a str, &'a str);

/// The merges, and the line (from 1) of each.
fn parse_merges<'a>(path: &Path, text: &'a str, chars: &ByteChars) -> Result<(Vec<Pair<'a>>, Vec<usize>)> {
    let mut merges = Vec::new();
    let mut numbers = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || (number == 1 && line.starts_with("#version:")) {
            continue;
        }
        merges.push(parse_pair(line, chars).or_else(|reason| refuse(path, Some(number), reason))?);
        numbers.push(number);
    }
    Ok((merges, numbers))
}

/// `left right`: no token contains a space, so there is one way to read it.
pub fn parse_pair<'a>(line: &'a str, chars: &ByteChars) -> std::result::Result<Pair<'a>, String> {
    match line.split_once(' ') {
        Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
            check_pair(left, right, chars)?;
            Ok((left, right))
        }
        _ => {
            let shown = show(line.as_bytes());
            Err(format!("{shown} is not a merge: two tokens with one space between"))
        }
    }
}

/// Whether both parts of a merge are in GPT-2's characters.
pub fn check_pair(left: &str, right: &str, chars: &ByteChars) -> std::result::Result<(), String> {
    let is_odd = |text: &&str| text.chars().any(|c| chars.byte(c).is_none());
    match [left, right].into_iter().find(is_odd) {
        None => Ok(()),
        Some(text) => Err(not_bytes(text, "merges join such tokens only")),
    }
}

/// The entries of a JSON vocabulary by ascending id, special tokens as plain text, duplicates left out.
pub fn json_entries(dir: &Path, vocab: &Vocab) -> Result<Vec<(u32, String)>> {
    let chars = ByteChars::new();
    let mut entries = Vec::with_capacity(vocab.num_tokens());
    let special_texts: HashSet<&str> = vocab.specials().iter().map(|s| &s.content[..]).collect();
    let contents: HashMap<u32, &str> = vocab.specials().iter().map(|s| (s.id, &s.content[..])).collect();
    for (id, bytes) in vocab.tokens() {
        if !vocab.is_ordinary(id) {
            entries.push((id, contents.get(&id).copied().unwrap_or_default().to_owned()));
        } else if vocab.id_of(bytes) == Some(id) {
            let text = chars.text(bytes);
            if special_texts.contains(&text[..]) && !vocab.is_special(id) {
                let reason = format!(
                    "the special token {} is spelled like the ordinary token {} (id {id}) in this format, so they would be one; \
                     give the special token a text that the tokens do not have, such as `<|name|>`",
                    show(text.as_bytes()),
                    show(bytes)
                );
                return refuse(dir, None, reason);
            }
            entries.push((id, text));
        }
    }
    Ok(entries)
}

/// A JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

pub fn vocab_json(dir: &Path, vocab: &Vocab) -> Result<String> {
    let lines: Vec<String> =
        json_entries(dir, vocab)?.iter().map(|(id, text)| format!("{}: {id}", quote(text))).collect();
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

pub fn merges_txt(vocab: &Vocab) -> String {
    let chars = ByteChars::new();
    let mut text = format!("{HEADER}\n");
    for merge in vocab.merges() {
        let (left, right) = vocab.parts(*merge);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {}", chars.text(left), chars.text(right));
    }
    text
}
