//! The tokens that training has made so far: their bytes, lengths, and the order that decides ties.

use super::TieBreak;
use super::queue::Candidate;
use crate::piece_key::prefix;
use rustc_hash::FxHashMap;

/// The outcome of joining two tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub id: u32,
    /// Whether no token had these bytes before.
    pub is_new: bool,
}

/// Tokens by id; ids 0 to 255 are the bytes.
pub(super) struct Tokens {
    bytes: Vec<Box<[u8]>>,
    lens: Vec<u32>,
    /// The first eight bytes, big-endian, padded with zeros: two that differ order the tokens.
    prefixes: Vec<u64>,
    ids: FxHashMap<Box<[u8]>, u32>,
    /// Rank of each byte in the order of GPT-2 characters.
    byte_ranks: [u32; 256],
    tie_break: TieBreak,
}

impl Tokens {
    pub fn new(tie_break: TieBreak) -> Self {
        let mut tokens = Tokens {
            bytes: Vec::new(),
            lens: Vec::new(),
            prefixes: Vec::new(),
            ids: FxHashMap::default(),
            byte_ranks: [0; 256],
            tie_break,
        };
        let mut by_char: Vec<u8> = (0..=255).collect();
        // GPT-2 writes visible bytes as themselves, the others as characters above all bytes.
        by_char.sort_by_key(|byte| (!matches!(byte, 33..=126 | 161..=172 | 174..=255), *byte));
        for (rank, byte) in (0..).zip(by_char) {
            tokens.byte_ranks[usize::from(byte)] = rank;
        }
        for byte in 0..=255 {
            tokens.add(&[byte]);
        }
        tokens
    }

    /// The next id.
    pub fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    pub fn bytes(&self, id: u32) -> &[u8] {
        &self.bytes[id as usize]
    }

    /// The id of a token; the first if it was made twice.
    pub fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        self.ids.get(bytes).copied()
    }

    /// The length in bytes of each token.
    pub fn lens(&self) -> &[u32] {
        &self.lens
    }

    pub fn tie_break(&self) -> TieBreak {
        self.tie_break
    }

    /// Makes the token of `left` followed by `right`. If its bytes are known, training goes on with the id they have; under
    /// [`TieBreak::Bytes`] a new id is taken all the same, for good.
    pub fn join(&mut self, left: u32, right: u32) -> Joined {
        let bytes = [self.bytes(left), self.bytes(right)].concat();
        if let Some(&id) = self.ids.get(bytes.as_slice()) {
            if self.tie_break == TieBreak::Bytes {
                self.add(&bytes);
            }
            return Joined { id, is_new: false };
        }
        Joined { id: self.add(&bytes), is_new: true }
    }

    fn add(&mut self, bytes: &[u8]) -> u32 {
        let id = self.len();
        self.prefixes.push(prefix(bytes));
        // A token lies within a word, and words are under 4 GiB.
        self.lens.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.bytes.push(bytes.into());
        self.ids.entry(bytes.into()).or_insert(id);
        id
    }

    /// A queue entry for a pair.
    pub fn candidate(&self, left: u32, right: u32, count: u64) -> Candidate {
        let tie = match self.tie_break {
            TieBreak::Bytes => self.prefixes[left as usize],
            TieBreak::HuggingFace => !(u64::from(self.rank(left)) << 32 | u64::from(self.rank(right))),
        };
        Candidate { count, tie, left, right }
    }

    /// The id that `tokenizers` would give, up to a constant.
    fn rank(&self, id: u32) -> u32 {
        self.byte_ranks.get(id as usize).copied().unwrap_or(id)
    }

    /// Whether `a` is merged before `b`.
    pub fn is_before(&self, a: &Candidate, b: &Candidate) -> bool {
        if (a.count, a.tie) != (b.count, b.tie) {
            return (a.count, a.tie) > (b.count, b.tie);
        }
        self.tie_break == TieBreak::Bytes
            && (self.bytes(a.left), self.bytes(a.right)) > (self.bytes(b.left), self.bytes(b.right))
    }
}
