//! What merging begins with: the ids of a piece's bytes, or of its characters.

use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::vocab::{NO_ID, Vocab, show};
use rustc_hash::FxHashMap;

/// How a piece becomes symbols.
pub(super) enum Symbols {
    /// Each byte is one, with these ids.
    Bytes(Box<[u32; 256]>),
    /// Each byte is one, but some have no token.
    SomeBytes(Box<[u32; 256]>, Unknown),
    /// Each character is one.
    Characters(CharacterIds),
}

/// What stands for what has no token: an id, perhaps [`NO_ID`], and whether one stands for several side by side.
#[derive(Clone, Copy)]
pub(super) struct Unknown {
    id: u32,
    is_fused: bool,
}

impl Unknown {
    fn push(self, symbols: &mut Vec<u32>) {
        if !self.is_fused || symbols.last() != Some(&self.id) {
            symbols.push(self.id);
        }
    }
}

/// Ids of characters, and of what stands for those that are no token.
pub(super) struct CharacterIds {
    /// By code point, of those with at most three bytes in UTF-8; nearly all text has no others.
    near: Vec<u32>,
    far: FxHashMap<char, u32>,
    byte_ids: Option<Box<[u32; 256]>>,
    unknown: Unknown,
}

/// Code points with at most three bytes in UTF-8 are below.
const NEAR: usize = 1 << 16;

impl Symbols {
    pub fn new(vocab: &Vocab, pipeline: &Pipeline) -> Self {
        let Some(characters) = vocab.characters() else {
            let byte_id = |byte| u8::try_from(byte).map_or(NO_ID, |byte| vocab.byte_id(byte));
            let byte_ids = Box::new(std::array::from_fn(byte_id));
            if !byte_ids.contains(&NO_ID) {
                return Symbols::Bytes(byte_ids);
            }
            let (id, is_fused) = (pipeline.unknown.unwrap_or(NO_ID), pipeline.fuse_unknown);
            return Symbols::SomeBytes(byte_ids, Unknown { id, is_fused });
        };
        let (mut near, mut far) = (vec![NO_ID; NEAR], FxHashMap::default());
        for (id, bytes) in vocab.tokens().filter(|(_, bytes)| bytes.len() <= 4) {
            let mut chars = std::str::from_utf8(bytes).unwrap_or_default().chars();
            if let (Some(character), None) = (chars.next(), chars.next())
                && vocab.id_of(bytes) == Some(id)
            {
                match near.get_mut(character as usize) {
                    Some(place) => *place = id,
                    None => drop(far.insert(character, id)),
                }
            }
        }
        Symbols::Characters(CharacterIds {
            near,
            far,
            byte_ids: characters.byte_ids.clone(),
            unknown: Unknown { id: characters.unknown.unwrap_or(NO_ID), is_fused: characters.fuse_unknown },
        })
    }

    /// Appends the symbols of a piece. A byte or character without one is [`NO_ID`].
    pub fn of(&self, piece: &[u8], symbols: &mut Vec<u32>) {
        let characters = match self {
            Symbols::Bytes(byte_ids) => {
                return symbols.extend(piece.iter().map(|&byte| byte_ids[usize::from(byte)]));
            }
            Symbols::SomeBytes(byte_ids, unknown) => {
                for &byte in piece {
                    match byte_ids[usize::from(byte)] {
                        NO_ID => unknown.push(symbols),
                        id => symbols.push(id),
                    }
                }
                return;
            }
            Symbols::Characters(characters) => characters,
        };
        for chunk in piece.utf8_chunks() {
            for character in chunk.valid().chars() {
                let id = characters.id_of(character);
                if id == NO_ID {
                    characters.fall_back(character.encode_utf8(&mut [0; 4]).as_bytes(), symbols);
                } else {
                    symbols.push(id);
                }
            }
            characters.fall_back(chunk.invalid(), symbols);
        }
    }
}

impl Symbols {
    /// Whether all of a piece's bytes have tokens; `false` where characters are merged.
    #[inline]
    pub fn has_all(&self, piece: &[u8]) -> bool {
        match self {
            Symbols::Bytes(_) => true,
            Symbols::SomeBytes(byte_ids, _) => piece.iter().all(|&byte| byte_ids[usize::from(byte)] != NO_ID),
            Symbols::Characters(_) => false,
        }
    }

    /// Whether a text may have a byte or a character for which nothing stands.
    pub fn may_lack_ids(&self) -> bool {
        match self {
            Symbols::Bytes(_) => false,
            Symbols::SomeBytes(_, unknown) => unknown.id == NO_ID,
            Symbols::Characters(characters) => {
                characters.byte_ids.is_none() && characters.unknown.id == NO_ID
            }
        }
    }

    /// The bytes at the start of a text that an unknown token stands for: the last of those side by side has all that follow
    /// where one stands for several.
    pub fn unknown_at(&self, text: &[u8], is_last: bool) -> usize {
        let (unknown, first) = match self {
            Symbols::Bytes(_) => return 1,
            Symbols::SomeBytes(byte_ids, unknown) => {
                let lacks = |byte: &&u8| byte_ids[usize::from(**byte)] == NO_ID;
                (unknown, text.iter().take_while(lacks).map(|_| 1).collect::<Vec<_>>())
            }
            Symbols::Characters(characters) => {
                let chunk = text.utf8_chunks().next();
                let chars = chunk.as_ref().map_or("", std::str::Utf8Chunk::valid).chars();
                let lacking = chars.take_while(|&c| characters.id_of(c) == NO_ID).map(char::len_utf8);
                let mut lens: Vec<usize> = lacking.collect();
                if lens.is_empty() {
                    lens.push(chunk.map_or(1, |chunk| chunk.invalid().len().max(1)));
                }
                (&characters.unknown, lens)
            }
        };
        let num_taken = if unknown.is_fused && is_last { first.len() } else { 1 };
        first[..num_taken.min(first.len())].iter().sum()
    }

    /// The error for a text that has one.
    pub fn error(&self, text: &[u8]) -> Error {
        let lacks = |part: &[u8]| {
            let mut symbols = Vec::new();
            self.of(part, &mut symbols);
            symbols.contains(&NO_ID)
        };
        let mut at = 0;
        for chunk in text.utf8_chunks() {
            let bytes = (0..chunk.invalid().len()).map(|i| &chunk.invalid()[i..=i]);
            let chars =
                chunk.valid().char_indices().map(|(i, c)| &chunk.valid().as_bytes()[i..i + c.len_utf8()]);
            for part in chars.chain(bytes) {
                if lacks(part) {
                    return Error::Vocab(format!(
                        "the text has {} at byte {at}, for which this vocabulary has no token, and no unknown token either; leave it out of \
                         the text, or take another tokenizer",
                        show(part)
                    ));
                }
                at += part.len();
            }
        }
        Error::Vocab("the text has a character for which this vocabulary has no token".into())
    }
}

impl CharacterIds {
    fn id_of(&self, character: char) -> u32 {
        match self.near.get(character as usize) {
            Some(&id) => id,
            None => self.far.get(&character).copied().unwrap_or(NO_ID),
        }
    }

    /// What stands for a character that is no token, or for bytes that are no character.
    fn fall_back(&self, bytes: &[u8], symbols: &mut Vec<u32>) {
        match &self.byte_ids {
            Some(byte_ids) => symbols.extend(bytes.iter().map(|&byte| byte_ids[usize::from(byte)])),
            None if bytes.is_empty() => {}
            None => self.unknown.push(symbols),
        }
    }
}
