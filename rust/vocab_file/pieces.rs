//! Pieces with scores: `SentencePiece`'s vocabularies, in its own file and in GGUF.
//!
//! `SentencePiece` joins the two neighbours whose text is the piece of highest score, the leftmost where several have it, and looks
//! only at that text (<https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc>). So every pair of pieces that spells
//! a third is a merge. Order is by score, and by nothing else: runs of spaces have low ids and the lowest score, and pieces of one
//! score share a rank.
//!
//! *User-defined* pieces are cut out of every text, the longest first, and never merged; *control* pieces and the *unknown* one are
//! never in a text unless the caller says so. An *unused* piece is merged like others and taken apart again, in a way that depends
//! on all of the text; real ones are place holders that no merge makes, and only these are allowed.
//!
//! Spaces are turned round as in [`super::huggingface`]: `▁` in a piece becomes a space, and so does one in text.
//!
//! Cost: two look-ups for each place where a piece may be cut.

use super::{in_file, refuse};
use crate::{
    error::Result,
    normalizer::{Normalizer, Step, Wanted},
    piece_key::Seed,
    pipeline::{AddedToken, Definition, Pipeline, Prefix, PrefixPlace, Stripped, Template},
    threads::share,
    vocab::{Characters, Merge, Vocab, show},
};
use std::{collections::HashMap, path::Path, sync::Arc};

/// What stands for a space.
pub const SPACE: &str = "\u{2581}";
/// What the unknown piece decodes to, if a file does not say.
pub const UNKNOWN_TEXT: &str = " \u{2047} ";
/// Words of a vocabulary in which no piece holds a space behind another character: no merge crosses from a word to the space
/// before the next.
pub const WORDS: &str = " *[^ ]+| +";
/// A text that is not split is one piece.
pub const ONE_PIECE: &str = "(?s:.)+";
/// `SentencePiece`'s own limit for the bytes of a piece; it also bounds the work for each.
const MAX_PIECE_BYTES: usize = 8000;
/// Pieces that a thread takes at a time.
const PIECES_TAKEN: usize = 4096;

/// What a piece is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    /// By its number, which is the same in both formats.
    pub fn of(number: u64) -> Option<Self> {
        Some(match number {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => return None,
        })
    }
}

/// A piece; its id is its index.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    pub text: &'a str,
    pub score: f32,
    pub kind: Kind,
}

/// What a file says beside its pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'a> {
    /// A space is put before text.
    pub adds_prefix: bool,
    /// Spaces at the ends are left out, and several side by side become one.
    pub removes_spaces: bool,
    /// An id before a text, for callers who ask for it.
    pub before: Option<u32>,
    /// An id after it.
    pub after: Option<u32>,
    /// What the unknown piece decodes to.
    pub unknown_text: &'a [u8],
}

/// The tokenizer of these pieces.
pub fn definition(path: &Path, pieces: &[Piece], settings: Settings<'_>) -> Result<Definition> {
    let sorted = Sorted::new(pieces, settings).or_else(|reason| refuse(path, None, reason))?;
    let (merges, ranks) = sorted.merges(pieces).or_else(|reason| refuse(path, None, reason))?;
    let specials = sorted.added.iter().map(|token| (token.content.clone(), Some(token.id))).collect();
    let built = Vocab::of_characters(sorted.tokens, merges, ranks, sorted.characters, specials);
    let vocab = in_file(path, built, |k| k)?;
    let mut steps = vec![Step::Replace { wanted: Wanted::Text(SPACE.into()), content: " ".into() }];
    if settings.removes_spaces {
        // Those that are spaces from the start are joined, those that `▁` gives are not; at the end both are left out.
        steps.insert(0, Step::CollapseSpaces);
        steps.push(Step::StripLastSpaces);
    }
    let normalizer = Normalizer::new(steps).or_else(|reason| refuse(path, None, reason))?;
    let place = if settings.adds_prefix { PrefixPlace::First } else { PrefixPlace::Never };
    let pipeline = Pipeline {
        normalizer,
        prefix: Prefix { place, unless_space: false },
        added: sorted.added,
        template: Template {
            before: settings.before.into_iter().collect(),
            after: settings.after.into_iter().collect(),
        },
        strips: if settings.adds_prefix || settings.removes_spaces {
            Stripped::Space
        } else {
            Stripped::Nothing
        },
        ..Pipeline::default()
    };
    let pattern = pattern_of(&vocab).to_owned();
    Ok(Definition { vocab, pattern, pipeline })
}

/// The pattern for a vocabulary without pieces of its own: words, if no merge crosses from one to the spaces before the next.
pub fn pattern_of(vocab: &Vocab) -> &'static str {
    if vocab.id_of(b" ").is_none() {
        // Unknown characters side by side are one token, spaces among them.
        ONE_PIECE
    } else if are_words(vocab) {
        WORDS
    } else if !merges_pairs(vocab, |a, b| a == b' ' && b != b' ') {
        // Spaces stand at the ends of pieces (`treat_whitespace_as_suffix`).
        "[^ ]+ *| +"
    } else {
        ONE_PIECE
    }
}

/// Whether no ordinary token holds a space behind another character.
pub fn are_words(vocab: &Vocab) -> bool {
    !merges_pairs(vocab, |a, b| a != b' ' && b == b' ')
}

/// Whether a token that merging may give has two bytes side by side of which something holds.
fn merges_pairs(vocab: &Vocab, holds: fn(u8, u8) -> bool) -> bool {
    let unknown = vocab.characters().and_then(|characters| characters.unknown);
    let mut merged = vocab.tokens().filter(|&(id, _)| vocab.is_ordinary(id) && unknown != Some(id));
    merged.any(|(_, bytes)| bytes.windows(2).any(|pair| holds(pair[0], pair[1])))
}

/// Pieces by what becomes of them.
struct Sorted {
    /// Ordinary ones, and those that are only decoded.
    tokens: Vec<(u32, Arc<[u8]>)>,
    /// What merging may begin with or give, by its text.
    parts: HashMap<Arc<[u8]>, u32, Seed>,
    added: Vec<AddedToken>,
    characters: Characters,
}

impl Sorted {
    fn new(pieces: &[Piece], settings: Settings<'_>) -> std::result::Result<Self, String> {
        let mut byte_ids = Box::new([None; 256]);
        let mut sorted = Sorted {
            tokens: Vec::with_capacity(pieces.len()),
            parts: HashMap::with_capacity_and_hasher(pieces.len(), Seed::default()),
            added: Vec::new(),
            characters: Characters { byte_ids: None, unknown: None, writes_spaces: true, fuse_unknown: true },
        };
        for (id, piece) in (0..).zip(pieces) {
            let shown = || format!("the piece {} (id {id})", show(piece.text.as_bytes()));
            let is_single = piece.text.chars().nth(1).is_none();
            match piece.kind {
                Kind::Byte => {
                    let byte =
                        byte_of(piece.text).ok_or_else(|| format!("{} is not <0x00> to <0xFF>", shown()))?;
                    if let Some(first) = byte_ids[usize::from(byte)].replace(id) {
                        return Err(format!("ids {first} and {id} are both the byte 0x{byte:02x}"));
                    }
                }
                Kind::Control if is_single && !piece.text.is_empty() => {
                    return Err(format!(
                        "{} is a control piece of one character, which SentencePiece gives for this character in text; not supported",
                        shown()
                    ));
                }
                Kind::Unknown => {
                    if let Some(first) = sorted.characters.unknown.replace(id) {
                        return Err(format!("ids {first} and {id} are both the unknown piece"));
                    }
                    sorted.tokens.push((id, settings.unknown_text.into()));
                }
                Kind::Control if !piece.text.is_empty() => {
                    sorted.added.push(AddedToken::special(piece.text.to_owned(), id));
                }
                Kind::UserDefined if !piece.text.is_empty() => {
                    let content = piece.text.replace(SPACE, " ");
                    if settings.removes_spaces && content.contains(' ') {
                        return Err(format!(
                            "{} has a space, and the file leaves spaces out of text; not supported",
                            shown()
                        ));
                    }
                    let found =
                        AddedToken { special: false, normalized: true, ..AddedToken::special(content, id) };
                    sorted.added.push(found);
                }
                Kind::Normal | Kind::Unused if piece.text.contains(' ') => {
                    return Err(format!(
                        "{} has a space, which this tokenizer writes as `{SPACE}`, so no text ever becomes it; not supported",
                        shown()
                    ));
                }
                kind => {
                    let bytes: Arc<[u8]> = piece.text.replace(SPACE, " ").into_bytes().into();
                    if kind == Kind::Normal && bytes.len() >= MAX_PIECE_BYTES {
                        return Err(format!("{} is too long; the limit is {MAX_PIECE_BYTES} bytes", shown()));
                    }
                    if (kind == Kind::Normal || is_single)
                        && !bytes.is_empty()
                        && let Some(first) = sorted.parts.insert(bytes.clone(), id)
                    {
                        return Err(format!("{} is there twice, as id {first} too", shown()));
                    }
                    sorted.tokens.push((id, bytes));
                }
            }
        }
        let num_bytes = byte_ids.iter().flatten().count();
        if num_bytes == 256 {
            sorted.characters.byte_ids = Some(Box::new(byte_ids.map(Option::unwrap_or_default)));
        } else if num_bytes > 0 {
            return Err("some of the byte pieces <0x00> to <0xFF> are missing; not supported".into());
        }
        Ok(sorted)
    }

    /// The merges by falling score, and their ranks.
    fn merges(&self, pieces: &[Piece]) -> std::result::Result<(Vec<Merge>, Vec<u32>), String> {
        let longest = self.parts.keys().map(|bytes| bytes.len()).max().unwrap_or(0);
        let mut has_len = vec![false; longest + 1];
        self.parts.keys().for_each(|bytes| has_len[bytes.len()] = true);
        let part =
            |bytes: &[u8]| if has_len.get(bytes.len()) == Some(&true) { self.parts.get(bytes) } else { None };
        let made = share(self.tokens.len(), PIECES_TAKEN, |range| {
            let mut made = Vec::new();
            for (id, bytes) in
                self.tokens[range].iter().filter(|token| self.characters.unknown != Some(token.0))
            {
                let text = std::str::from_utf8(bytes).unwrap_or_default();
                for (middle, _) in text.char_indices().skip(1) {
                    if let (Some(&left), Some(&right)) = (part(&bytes[..middle]), part(&bytes[middle..])) {
                        made.push(Merge { left, right, id: *id });
                    }
                }
            }
            made
        });
        let mut merges = made.concat();
        check_unused(pieces, &merges)?;
        self.check_characters(pieces)?;
        if let Some(id) =
            self.tokens.iter().map(|token| token.0).find(|&id| pieces[id as usize].score.is_nan())
        {
            let shown = show(pieces[id as usize].text.as_bytes());
            return Err(format!(
                "the score of the piece {shown} (id {id}) is not a number; the file is damaged"
            ));
        }
        // Zero has two signs and one rank.
        let score = |merge: &Merge| pieces[merge.id as usize].score + 0.0;
        merges.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.id.cmp(&b.id)));
        let ranks = shared_ranks(&merges, score);
        Ok((merges, ranks))
    }

    /// `SentencePiece` merges characters that are no pieces too; here only tokens are merged.
    fn check_characters(&self, pieces: &[Piece]) -> std::result::Result<(), String> {
        let mut user_defined: Vec<char> = Vec::new();
        for token in self.added.iter().filter(|token| !token.special) {
            let mut chars = token.content.chars();
            if let (Some(only), None) = (chars.next(), chars.next()) {
                user_defined.push(only);
            }
        }
        user_defined.sort_unstable();
        let is_known = |c: char| {
            self.parts.contains_key(c.encode_utf8(&mut [0; 4]).as_bytes())
                || user_defined.binary_search(&c).is_ok()
        };
        for (id, bytes) in self.tokens.iter().filter(|(id, _)| pieces[*id as usize].kind == Kind::Normal) {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            if let Some(c) = text.chars().find(|&c| !is_known(c)) {
                let (piece, c) = (show(bytes), show(c.encode_utf8(&mut [0; 4]).as_bytes()));
                return Err(format!(
                    "the piece {piece} (id {id}) has the character {c}, which is no piece itself; not supported"
                ));
            }
        }
        Ok(())
    }
}

/// An unused piece that is merged would be taken apart again.
fn check_unused(pieces: &[Piece], merges: &[Merge]) -> std::result::Result<(), String> {
    match merges.iter().find(|merge| pieces[merge.id as usize].kind == Kind::Unused) {
        None => Ok(()),
        Some(Merge { id, .. }) => {
            let shown = show(pieces[*id as usize].text.as_bytes());
            Err(format!(
                "the piece {shown} (id {id}) is marked as unused, and merging can make it: SentencePiece takes such a piece apart again, in a way that depends on all of the text; not supported"
            ))
        }
    }
}

/// By merge its rank; none if each has its own. Of all merges that make one piece at most one is ever applied
/// ([`crate::vocab::derivations`]), so those may have ranks of their own; pieces of one score share a rank.
fn shared_ranks(merges: &[Merge], score: impl Fn(&Merge) -> f32) -> Vec<u32> {
    let mut ranks = Vec::with_capacity(merges.len());
    let mut next = 0;
    #[expect(clippy::float_cmp, reason = "SentencePiece compares scores so")]
    for equal in merges.chunk_by(|a, b| score(a) == score(b)) {
        let shares = equal.iter().any(|merge| merge.id != equal[0].id);
        ranks.extend((next..).take(equal.len()).map(|rank| if shares { next } else { rank }));
        next = ranks.last().map_or(0, |last| last + 1);
    }
    if ranks.iter().zip(0..).all(|(&rank, index)| rank == index) { Vec::new() } else { ranks }
}

/// The byte that a token such as `<0x0A>` stands for.
pub fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    if digits.len() != 2 || !digits.bytes().all(is_digit) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
