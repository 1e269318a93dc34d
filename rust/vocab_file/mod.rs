//! Vocabularies as files: our folder, and the formats of GPT-2, Hugging Face and tiktoken.
//!
//! | file | holds | read by |
//! |---|---|---|
//! | `tokenizer.json` | everything: ids, merges, special tokens, pattern | us, `tokenizers`, `transformers`, and most others |
//! | `tokenizer_config.json` | which class of `transformers` to use, its end-of-text token | `transformers` |
//! | `vocab.json`, `merges.txt` | ids, merges; special tokens as text; no pattern | tools of GPT-2's time |
//! | `*.tiktoken` | ids, which are ranks too; neither merges, nor pattern, nor special tokens | `tiktoken` |
//!
//! [`save`] writes the first four, [`load`] reads `tokenizer.json` alone: one file is the truth, so a folder
//! cannot disagree with itself, and since `tokenizer.json` is renamed into place last, a kill at any moment
//! leaves the old tokenizer or the new one. It carries a digest of what decides ids (a key of its own inside
//! `model`, which the other libraries pass over), so that a flipped bit or an edit by hand is refused instead
//! of giving other ids. `vocab.json`, `merges.txt` and `*.tiktoken` have no room for one: reading them checks
//! what can be checked (each token made by a merge, each byte present), no more.
//!
//! Reading trusts nothing: files are read up to [`MAX_FILE_BYTES`], JSON keys may not repeat, nesting is
//! bounded, token lengths are checked before they are allocated, no name in a file is used as a path, and a
//! feature that would change ids is refused by its name. Everything is linear in the file's length.
//!
//! **Holes.** JSON has one id per token text. If two merges make the same bytes, the later one's id is left
//! out of `vocab.json` and `tokenizer.json`, and is found again on reading: where all ids follow the contract
//! (bytes are `0..=255`, merge `k` makes `256 + k`), a merge with known bytes owns the unused id `256 + k`.
//! [`save`] reads back what it is about to write, so an arrangement that this rule cannot express is refused
//! before any file is touched.

mod families;
mod gguf;
mod gpt2;
mod huggingface;
mod join;
mod json;
mod load;
mod pieces;
mod protobuf;
mod resolve;
mod sentencepiece;
mod tekken;
mod tiktoken;

pub use gpt2::{export_gpt2, load_gpt2};
pub use load::{Given, file_of, load};
pub use tiktoken::{export_tiktoken, load_tiktoken, of_ranks};

use crate::{
    atomic::{self, AtomicFile, Existing},
    error::{Error, Result},
    pipeline::Definition,
    vocab::Flaw,
};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The longest file that is read. Real ones have a few megabytes; the limit keeps a wrong path (a disk image,
/// a device) from filling the memory.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// A model of SentencePiece is saved as it was read, under the name that other libraries look for.
const MODEL: &str = "tokenizer.model";

/// Writes the files of a tokenizer into the folder `dir`, which is made if it is not there.
///
/// Each file appears whole; `tokenizer.json`, the one that counts, and its digest last. `vocab.json` and `merges.txt` are written where they
/// can say what the tokenizer is: bytes are merged, and all have tokens.
///
/// # Errors
/// [`Error::Io`]; [`Error::VocabFile`] if the formats cannot express the tokenizer: a special token spelled
/// like an ordinary one, ids of duplicate tokens elsewhere than the contract puts them, or a custom pattern
/// that other libraries read otherwise; [`Error::Output`] if another tokenizer is kept. Then no file was touched.
pub fn save(dir: &Path, definition: &Definition, existing: Existing) -> Result<()> {
    let vocab = &definition.vocab;
    let model_file = definition.pipeline.source.as_ref().and_then(|source| source.model_file.as_deref());
    let (path, tokenizer) = if let Some(bytes) = model_file {
        (dir.join(MODEL), bytes.to_vec())
    } else {
        let path = dir.join(huggingface::TOKENIZER);
        let text = huggingface::write(&path, definition)?;
        (path, text.into_bytes())
    };
    let mut files = Vec::new();
    if vocab.characters().is_none() && vocab.missing_bytes().next().is_none() {
        files.push((dir.join(gpt2::VOCAB), gpt2::vocab_json(dir, vocab)?.into_bytes()));
        files.push((dir.join(gpt2::MERGES), gpt2::merges_txt(vocab).into_bytes()));
    }
    if model_file.is_none() {
        files.push((dir.join(huggingface::CONFIG), huggingface::config(vocab).into_bytes()));
    }
    let own = dir.join(huggingface::OWN_FILE);
    let last = [(path, tokenizer), (own.clone(), huggingface::own_file(definition).into_bytes())];
    fs::create_dir_all(dir).map_err(Error::io(dir))?;
    if existing == Existing::Keep {
        files.extend(last);
        return write_files(&files, existing);
    }
    let _writer = lock(dir);
    write_files(&files, existing)?;
    let [tokenizer, digest] = last.map(|(path, bytes)| prepared(path, &bytes));
    let (tokenizer, digest) = (tokenizer?, digest?);
    // Whenever this is cut off, no digest stands beside a tokenizer that has another.
    match fs::remove_file(&own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(&own)(error)),
        _ => {}
    }
    tokenizer.commit()?;
    digest.commit()
}

/// A file that only lacks its name.
fn prepared(path: PathBuf, bytes: &[u8]) -> Result<AtomicFile> {
    let mut file = AtomicFile::create(path)?;
    file.append(bytes)?;
    file.settle()?;
    Ok(file)
}

/// Holds back other writers of a folder, where the system can lock one: of two at once the files would be mixed.
fn lock(dir: &Path) -> Option<File> {
    let folder = File::open(dir).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

fn write_files(files: &[(PathBuf, Vec<u8>)], existing: Existing) -> Result<()> {
    atomic::write_all(files.iter().map(|(path, bytes)| (path.clone(), &bytes[..])), existing)
}

/// The files of the tokenizer that [`load`] reads at `path`, those in its folder that it passes over among them.
#[must_use]
pub fn files_of(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        [huggingface::TOKENIZER, MODEL, huggingface::CONFIG, huggingface::OWN_FILE, gpt2::VOCAB, gpt2::MERGES]
            .map(|name| path.join(name))
            .into()
    } else {
        vec![path.into()]
    }
}

/// The texts of a `tokenizer.json` and of `tinybpe.json`, without files.
///
/// # Errors
/// [`Error::VocabFile`] as [`save`].
pub fn to_json(definition: &Definition) -> Result<[String; 2]> {
    let text = huggingface::write(Path::new(huggingface::TOKENIZER), definition)?;
    Ok([text, huggingface::own_file(definition)])
}

/// Reads the text of a `tokenizer.json`, perhaps with that of `tinybpe.json`.
///
/// # Errors
/// [`Error::VocabFile`] as [`load`].
pub fn from_json(bytes: Vec<u8>, own: Option<&str>) -> Result<Definition> {
    let path = Path::new(huggingface::TOKENIZER);
    huggingface::parse(path, &decode(path, bytes)?, own)
}

fn refuse<T>(path: &Path, line: Option<usize>, reason: impl Into<String>) -> Result<T> {
    Err(Error::VocabFile { path: path.into(), line, reason: reason.into() })
}

/// Reads a whole text file, without its byte order mark if it has one.
fn read_text(path: &Path) -> Result<String> {
    decode(path, read_bytes(path)?)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    if file.metadata().map_err(Error::io(path))?.is_dir() {
        return Err(Error::io(path)(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, not a file")));
    }
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let reason =
            format!("the file has more than {MAX_FILE_BYTES} bytes, the limit of a tokenizer's file");
        return refuse(path, None, reason);
    }
    Ok(bytes)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String> {
    if bytes.is_empty() {
        return refuse(path, None, "the file is empty");
    }
    let text = String::from_utf8(bytes).or_else(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.split(|b| *b == b'\n').count();
        let kind = match e.as_bytes() {
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "is UTF-16; convert it to UTF-8",
            _ => "is not UTF-8 text, so it is not a tokenizer's file, or it is damaged",
        };
        refuse(path, Some(line), format!("the file {kind}"))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Ties an error of the vocabulary to the file that it came from.
fn in_file<T>(
    path: &Path,
    result: std::result::Result<T, Flaw>,
    line_of: impl Fn(usize) -> usize,
) -> Result<T> {
    result.map_err(|Flaw { merge, error }| match error {
        Error::Vocab(reason) | Error::SpecialToken(reason) => {
            Error::VocabFile { path: path.into(), line: merge.map(line_of), reason }
        }
        other => other,
    })
}

/// GPT-2's characters for the 256 bytes: printable ones stand for themselves, the others, in order, are
/// U+0100 and up. So every token is visible text without a space, and fits JSON and a line of `merges.txt`.
struct ByteChars {
    to_char: [char; 256],
    to_byte: [Option<u8>; 324],
}

impl ByteChars {
    fn new() -> Self {
        let mut chars = Self { to_char: ['\0'; 256], to_byte: [None; 324] };
        let mut others = '\u{100}'..='\u{143}';
        for byte in 0..=255u8 {
            let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let c = if printable { char::from(byte) } else { others.next().unwrap_or_default() };
            chars.to_char[usize::from(byte)] = c;
            chars.to_byte[c as usize] = Some(byte);
        }
        chars
    }

    fn text(&self, bytes: &[u8]) -> String {
        bytes.iter().map(|b| self.to_char[usize::from(*b)]).collect()
    }

    /// `None` if a character stands for no byte.
    fn bytes(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.byte(c)).collect()
    }

    /// The same into a vector that has room already.
    fn append_bytes(&self, text: &str, bytes: &mut Vec<u8>) -> Option<()> {
        text.chars().try_for_each(|c| self.byte(c).map(|byte| bytes.push(byte)))
    }

    fn byte(&self, c: char) -> Option<u8> {
        self.to_byte.get(c as usize).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_those_of_gpt2() {
        let chars = ByteChars::new();
        assert_eq!(chars.text(b" \n\x00\xad~\xff"), "\u{120}\u{10a}\u{100}\u{143}~\u{ff}");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(chars.bytes(&chars.text(&all)), Some(all));
        assert_eq!(chars.bytes("a b"), None);
        assert_eq!(chars.bytes("\u{144}"), None);
        assert_eq!(chars.bytes("世"), None);
    }
}
