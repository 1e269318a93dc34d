//! The vocabulary: which bytes each id stands for, which pairs merge in which order, which tokens are special.
//!
//! A symbol is a byte string. Two pairs may merge to the same bytes (`a`+`bc` and `ab`+`c`); then several ids
//! can stand for one byte string, and everything that looks for an id takes the smallest. So each [`Merge`]
//! holds smallest ids alone, and the other ids of such a string only decode. What is checked once here is
//! relied on everywhere else:
//!
//! * a single byte has one id at most; a byte without one (SmolLM2 lacks 21) is an error where a text has it;
//! * ids are unique and below 2^31; token bytes are unique but for the rule above;
//! * the parts and the result of each merge are tokens, and no pair merges twice;
//! * special tokens are not empty and are unique; one that merges use as well, in files of other libraries, is an ordinary
//!   token too and has the same id as both;
//! * no token is longer than [`MAX_TOKEN_BYTES`], and all together take at most [`MAX_TOTAL_BYTES`]: sixty
//!   merges, each doubling the last, would otherwise ask for 2^60 bytes. Lengths are checked before anything
//!   is allocated.
//!
//! Building costs one hash-table entry per token and three look-ups per merge. Token bytes come from files,
//! so they are hashed with a seed; ids are hashed without.

mod characters;
pub(crate) mod derivations;
pub(crate) mod pairs;

use crate::error::{Error, Result};
use crate::piece_key::Seed;
pub use characters::Characters;
use characters::SPACE;
use derivations::Derivations;
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

/// The longest token allowed, in bytes. A trainer stops a token from growing past it.
pub const MAX_TOKEN_BYTES: usize = 1 << 20;
/// The most bytes that all tokens of a vocabulary may have together.
pub const MAX_TOTAL_BYTES: usize = 1 << 28;
/// Ids are below this.
pub const MAX_IDS: u32 = 1 << 31;

/// A pair of tokens that encoding joins. Its rank is its index in [`Vocab::merges`]; the lowest rank merges
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Merge {
    /// Smallest id of the left bytes.
    pub left: u32,
    /// Smallest id of the right bytes.
    pub right: u32,
    /// Smallest id of the bytes joined: what encoding puts in place of the pair.
    pub id: u32,
}

/// The id of a byte that has none, and of nothing else.
pub const NO_ID: u32 = u32::MAX;

/// A token that is cut out of text before anything else, and never merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its text.
    pub content: String,
    /// Its id.
    pub id: u32,
}

/// Token bytes, merges and special tokens; checked, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocab {
    tokens: Tokens,
    ordinary: HashMap<Arc<[u8]>, u32, Seed>,
    merges: Vec<Merge>,
    /// By merge its rank, where several share one; empty if each has its own, its index.
    ranks: Vec<u32>,
    specials: Vec<SpecialToken>,
    byte_ids: [u32; 256],
    /// How text becomes ids where characters are merged, not bytes.
    characters: Option<Characters>,
    derived: Derived,
}

/// How the tokens are made, once it was asked for; it follows from the rest.
#[derive(Clone, Debug, Default)]
struct Derived(OnceLock<Option<Arc<Derivations>>>);

impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

/// A broken rule, and the merge (from 0) that breaks it if it is one; a file's reader turns that into a line.
#[derive(Debug)]
pub(crate) struct Flaw {
    pub merge: Option<usize>,
    pub error: Error,
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Flaw { merge: None, error }
    }
}

fn broken<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Vocab(reason.into()))
}

fn special<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::SpecialToken(reason.into()))
}

/// Token bytes for a message: text where they are text, escapes where not, cut short if long.
pub(crate) fn show(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let mut text = String::from("`");
    for chunk in bytes[..bytes.len().min(SHOWN)].utf8_chunks() {
        chunk.valid().chars().for_each(|c| match c {
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        });
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('`');
    if bytes.len() > SHOWN {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

impl Vocab {
    /// The contract's ids: `0..=255` are the bytes, merge `k` makes id `256 + k`, special tokens follow in
    /// the order given.
    ///
    /// A merge whose bytes exist already still takes its id, which decodes and is never produced by encoding.
    ///
    /// # Errors
    /// [`Error::Vocab`] if a merge names an id that is not there yet, repeats a pair, or makes too long a
    /// token; [`Error::SpecialToken`] if a special token is empty or repeated.
    pub fn from_merges(merges: &[(u32, u32)], specials: &[String]) -> Result<Vocab> {
        let num_ids = 256 + merges.len() + specials.len();
        if num_ids > MAX_IDS as usize {
            return broken(format!("{num_ids} ids are needed, and a vocabulary has at most {MAX_IDS}"));
        }
        let mut tokens: Vec<(u32, Arc<[u8]>)> = (0..=255u8).map(|b| (u32::from(b), [b].into())).collect();
        let mut total = tokens.len();
        for (k, &(left, right)) in merges.iter().enumerate() {
            let (Some((_, l)), Some((_, r))) = (tokens.get(left as usize), tokens.get(right as usize)) else {
                return broken(format!(
                    "merge {k} joins ids {left} and {right}, and before it there are only ids below {}",
                    256 + k
                ));
            };
            check_length(l.len() + r.len(), &mut total, l)?;
            let joined: Arc<[u8]> = [&l[..], &r[..]].concat().into();
            tokens.push((id_of_merge(k), joined));
        }
        let specials = (id_of_merge(merges.len())..).zip(specials).map(|(id, s)| (s.clone(), id)).collect();
        let mut vocab = Vocab::assemble(tokens, specials, Vec::new(), false)?;
        for (k, &(left, right)) in merges.iter().enumerate() {
            let smallest = |id| vocab.token_bytes(id).and_then(|b| vocab.id_of(b)).unwrap_or(id);
            let (left, right) = (smallest(left), smallest(right));
            vocab.merges.push(Merge { left, right, id: smallest(id_of_merge(k)) });
        }
        vocab.check_pairs_unique().map_err(|flaw| flaw.error)?;
        Ok(vocab)
    }

    /// Ids as given. `merges` are byte strings, in rank order.
    ///
    /// A special token without an id takes that of the token with its bytes, which is then special and no
    /// longer ordinary; if there is none, the next id after the highest, in the order given.
    ///
    /// # Errors
    /// [`Error::Vocab`] or [`Error::SpecialToken`], naming the token or merge that breaks a rule of this
    /// module.
    pub fn from_parts(
        tokens: Vec<(u32, Vec<u8>)>,
        merges: &[(Vec<u8>, Vec<u8>)],
        specials: Vec<(String, Option<u32>)>,
    ) -> Result<Vocab> {
        Self::build(tokens, merges, specials).map_err(|flaw| flaw.error)
    }

    /// [`Vocab::from_parts`], saying which merge is at fault.
    pub(crate) fn build<B: AsRef<[u8]>>(
        tokens: Vec<(u32, Vec<u8>)>,
        merges: &[(B, B)],
        specials: Vec<(String, Option<u32>)>,
    ) -> std::result::Result<Vocab, Flaw> {
        let tokens: Vec<(u32, Arc<[u8]>)> =
            tokens.into_iter().map(|(id, bytes)| (id, bytes.into())).collect();
        if tokens.iter().any(|(_, bytes)| bytes.is_empty()) {
            return Err(Flaw::from(Error::Vocab("a token is empty; each has at least one byte".into())));
        }
        let mut vocab = Vocab::without_merges(tokens, specials)?;
        if let Some(byte) = vocab.missing_bytes().next() {
            let reason = format!(
                "the byte 0x{byte:02x} has no token; all 256 bytes must have one, so that any text can be encoded"
            );
            return Err(Flaw::from(Error::Vocab(reason)));
        }
        vocab.merges.reserve_exact(merges.len());
        let mut joined = Vec::new();
        for (k, (left, right)) in merges.iter().enumerate() {
            let (left, right) = (left.as_ref(), right.as_ref());
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let merge = vocab.merge_of(k, left, right, &joined)?;
            vocab.merges.push(merge);
        }
        vocab.check_merges()
    }

    /// A vocabulary of another library: bytes may be missing, tokens may be empty (they are only decoded), and a special token
    /// may be an ordinary one that merges use. `merges` are of ids whose bytes fit together; merge `k` has the rank `ranks[k]`,
    /// or `k` if there are none.
    pub(crate) fn build_by_ids(
        tokens: Vec<(u32, Arc<[u8]>)>,
        merges: Vec<Merge>,
        ranks: Vec<u32>,
        specials: Vec<(String, Option<u32>)>,
    ) -> std::result::Result<Vocab, Flaw> {
        let used = MergedIds::of(&merges, &specials);
        let mut vocab = Vocab::without_merges_but(tokens, specials, |id| used.contains(id), true)?;
        (vocab.merges, vocab.ranks) = (merges, ranks);
        vocab.check_merges()
    }

    /// A vocabulary whose merges begin with characters. `tokens` are without those of `characters`; `merges` and `ranks` as in
    /// [`Vocab::build_by_ids`].
    pub(crate) fn of_characters(
        mut tokens: Vec<(u32, Arc<[u8]>)>,
        merges: Vec<Merge>,
        ranks: Vec<u32>,
        characters: Characters,
        specials: Vec<(String, Option<u32>)>,
    ) -> std::result::Result<Vocab, Flaw> {
        let used = MergedIds::of(&merges, &specials);
        let mut decoded = characters.byte_tokens();
        if characters.writes_spaces {
            let spelled = specials.iter().filter(|special| special.0.contains(SPACE));
            let bytes = |text: &str| Arc::from(text.replace(SPACE, " ").into_bytes());
            decoded.extend(spelled.filter_map(|(text, id)| Some(((*id)?, bytes(text)))));
        }
        tokens.sort();
        let specials = place_specials(&mut tokens, specials, |id| used.contains(id))?;
        let mut vocab = Vocab::assemble(tokens, specials, decoded, true)?;
        vocab.byte_ids = [NO_ID; 256];
        vocab.characters = Some(characters);
        (vocab.merges, vocab.ranks) = (merges, ranks);
        vocab.check_merges()
    }

    /// The same, with special tokens that decode to other bytes than their text.
    pub(crate) fn with_decoded(mut self, decoded: Vec<(u32, Vec<u8>)>) -> Vocab {
        for (id, bytes) in decoded {
            if self.is_special(id)
                && !self.is_ordinary(id)
                && let Ok(at) = self.tokens.entries.binary_search_by_key(&id, |token| token.0)
            {
                self.tokens.entries[at].1 = bytes.into();
            }
        }
        self
    }

    fn without_merges(tokens: Vec<(u32, Arc<[u8]>)>, specials: Vec<(String, Option<u32>)>) -> Result<Vocab> {
        Self::without_merges_but(tokens, specials, |_| false, false)
    }

    /// The tokens for which `stays` holds are ordinary even if they are special.
    fn without_merges_but(
        mut tokens: Vec<(u32, Arc<[u8]>)>,
        specials: Vec<(String, Option<u32>)>,
        stays: impl Fn(u32) -> bool,
        share_ids: bool,
    ) -> Result<Vocab> {
        tokens.sort();
        let specials = place_specials(&mut tokens, specials, stays)?;
        Vocab::assemble(tokens, specials, Vec::new(), share_ids)
    }

    /// Merge `k` by the bytes of its parts and of what it makes.
    fn merge_of(
        &self,
        k: usize,
        left: &[u8],
        right: &[u8],
        joined: &[u8],
    ) -> std::result::Result<Merge, Flaw> {
        let id_of = |bytes: &[u8], what: &str| {
            self.id_of(bytes).ok_or_else(|| {
                let why = if self.specials.iter().any(|s| s.content.as_bytes() == bytes) {
                    "a special token, which no merge may use or make; give the special token another text"
                } else {
                    "not a token of the vocabulary"
                };
                let (left, right, bytes) = (show(left), show(right), show(bytes));
                let text = format!("merge {k} ({left} + {right}): the {what} {bytes} is {why}");
                Flaw { merge: Some(k), error: Error::Vocab(text) }
            })
        };
        Ok(Merge {
            left: id_of(left, "left part")?,
            right: id_of(right, "right part")?,
            id: id_of(joined, "result")?,
        })
    }

    fn check_merges(self) -> std::result::Result<Vocab, Flaw> {
        self.check_pairs_unique()?;
        self.check_duplicates()?;
        Ok(self)
    }

    /// Everything but the merges. `tokens` are ordinary and sorted by id; `decoded` are those that only decode. Where ids are
    /// shared, an id of a special token may be that of an ordinary one with other bytes, or decode to other bytes.
    fn assemble(
        mut tokens: Vec<(u32, Arc<[u8]>)>,
        specials: Vec<(String, u32)>,
        decoded: Vec<(u32, Arc<[u8]>)>,
        share_ids: bool,
    ) -> Result<Vocab> {
        let mut total = 0;
        for (_, bytes) in &tokens {
            check_length(bytes.len(), &mut total, bytes)?;
        }
        let mut ordinary = HashMap::with_capacity_and_hasher(tokens.len(), Seed::default());
        let mut byte_ids = [None; 256];
        for (id, bytes) in &tokens {
            if let [byte] = bytes[..]
                && let Some(first) = byte_ids[usize::from(byte)].replace(*id)
            {
                return broken(format!("ids {first} and {id} are both the byte 0x{byte:02x}"));
            }
            // Ids ascend, so the first one in is the smallest.
            if !bytes.is_empty() {
                ordinary.entry(bytes.clone()).or_insert(*id);
            }
        }
        let mut specials: Vec<SpecialToken> =
            specials.into_iter().map(|(content, id)| SpecialToken { content, id }).collect();
        check_contents(&specials)?;
        specials.sort_by_key(|s| s.id);
        let ids: FxHashSet<u32> = tokens.iter().chain(&decoded).map(|token| token.0).collect();
        let is_ordinary = |s: &SpecialToken| {
            ordinary.get(s.content.as_bytes()) == Some(&s.id) || share_ids && ids.contains(&s.id)
        };
        let apart = specials.iter().filter(|s| !is_ordinary(s));
        tokens.extend(apart.map(|s| (s.id, s.content.as_bytes().into())));
        tokens.extend(decoded);
        tokens.sort_by_key(|t| t.0);
        if let Some(pair) = tokens.windows(2).find(|w| w[0].0 == w[1].0) {
            let text =
                format!("id {} is given to {} and to {}", pair[0].0, show(&pair[0].1), show(&pair[1].1));
            let involved = specials.iter().any(|s| s.id == pair[0].0);
            return if involved { special(text) } else { broken(text) };
        }
        if let Some((id, bytes)) = tokens.last().filter(|t| t.0 >= MAX_IDS) {
            return broken(format!("{} has id {id}; ids are below {MAX_IDS}", show(bytes)));
        }
        Ok(Vocab {
            tokens: Tokens::new(tokens),
            ordinary,
            merges: Vec::new(),
            ranks: Vec::new(),
            specials,
            byte_ids: byte_ids.map(|id| id.unwrap_or(NO_ID)),
            characters: None,
            derived: Derived::default(),
        })
    }

    fn check_pairs_unique(&self) -> std::result::Result<(), Flaw> {
        let mut seen = FxHashSet::with_capacity_and_hasher(self.merges.len(), rustc_hash::FxBuildHasher);
        match self.merges.iter().position(|m| !seen.insert((m.left, m.right))) {
            None => Ok(()),
            Some(k) => {
                let (left, right) = self.parts(self.merges[k]);
                let text = format!(
                    "merge {k} repeats the pair {} + {}; a pair merges at one rank",
                    show(left),
                    show(right)
                );
                Err(Flaw { merge: Some(k), error: Error::Vocab(text) })
            }
        }
    }

    /// Several ids may stand for one byte string only as far as several merges make it.
    fn check_duplicates(&self) -> Result<()> {
        if self.ordinary.len() + self.specials.len() >= self.tokens.entries.len() {
            return Ok(());
        }
        let mut makers: FxHashMap<u32, usize> = FxHashMap::default();
        self.merges.iter().for_each(|m| *makers.entry(m.id).or_default() += 1);
        for (id, bytes) in self.duplicates() {
            let first = self.ordinary[bytes];
            let left = makers.entry(first).or_default();
            // The first id takes one merge as well.
            if *left < 2 {
                return broken(format!(
                    "ids {first} and {id} are both {}, and fewer merges than ids make it",
                    show(bytes)
                ));
            }
            *left -= 1;
        }
        Ok(())
    }

    /// The highest id plus one; ids between may be unused.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.tokens.entries.last().map_or(0, |t| t.0 as usize + 1)
    }

    /// The number of ids in use, special tokens included.
    #[must_use]
    pub fn num_tokens(&self) -> usize {
        self.tokens.entries.len()
    }

    /// All tokens, special ones included, by ascending id.
    #[must_use]
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = (u32, &[u8])> {
        self.tokens.entries.iter().map(|(id, bytes)| (*id, &bytes[..]))
    }

    /// The bytes of a token, special or not; `None` if no token has this id. Constant time.
    #[must_use]
    #[inline]
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.tokens.get(id)
    }

    /// The smallest id of the ordinary token with these bytes; `None` for special tokens and the empty string.
    #[must_use]
    pub fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        self.ordinary.get(bytes).copied()
    }

    /// The merges, in rank order.
    #[must_use]
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The rank of a merge by its index: those of equal rank are taken from left to right. Ascending.
    #[must_use]
    pub fn rank(&self, merge: usize) -> u32 {
        self.ranks.get(merge).copied().unwrap_or_else(|| u32::try_from(merge).unwrap_or(NO_ID))
    }

    /// Whether several merges share a rank.
    #[must_use]
    pub fn has_shared_ranks(&self) -> bool {
        !self.ranks.is_empty()
    }

    /// How text becomes ids where characters are merged; `None` where bytes are.
    #[must_use]
    pub fn characters(&self) -> Option<&Characters> {
        self.characters.as_ref()
    }

    /// The bytes without a token.
    pub fn missing_bytes(&self) -> impl Iterator<Item = u8> {
        (0..=255).filter(|&byte| self.characters.is_none() && self.byte_id(byte) == NO_ID)
    }

    /// The special tokens, by ascending id.
    #[must_use]
    pub fn specials(&self) -> &[SpecialToken] {
        &self.specials
    }

    /// The id of a single byte; [`NO_ID`] if it has none.
    #[must_use]
    #[inline]
    pub fn byte_id(&self, byte: u8) -> u32 {
        self.byte_ids[usize::from(byte)]
    }

    /// The id of a special token by its text.
    #[must_use]
    pub fn special_id(&self, content: &str) -> Option<u32> {
        self.specials.iter().find(|s| s.content == content).map(|s| s.id)
    }

    /// Whether this is the id of a special token; `false` for unknown ids.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.specials.binary_search_by_key(&id, |s| s.id).is_ok()
    }

    /// The ordinary ids that only decode: their bytes have a smaller id.
    pub fn duplicates(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let is_byte = |id| self.characters.as_ref().is_some_and(|characters| characters.is_byte(id));
        self.tokens().filter(move |&(id, bytes)| {
            !self.is_special(id) && !bytes.is_empty() && !is_byte(id) && self.id_of(bytes) != Some(id)
        })
    }

    /// Whether this is the id of an ordinary token, one that is special as well included.
    #[must_use]
    pub fn is_ordinary(&self, id: u32) -> bool {
        !self.is_special(id) || self.token_bytes(id).is_some_and(|bytes| self.id_of(bytes) == Some(id))
    }

    /// The bytes of the two parts of one of this vocabulary's merges.
    #[must_use]
    pub fn parts(&self, merge: Merge) -> (&[u8], &[u8]) {
        (self.token_bytes(merge.left).unwrap_or_default(), self.token_bytes(merge.right).unwrap_or_default())
    }

    /// How merging makes each token; `None` if the merges do not follow an order in which parts come first. The first call
    /// takes up to a tenth of a second.
    pub(crate) fn derivations(&self) -> Option<&Arc<Derivations>> {
        self.derived.0.get_or_init(|| Derivations::new(self).map(Arc::new)).as_ref()
    }

    /// A digest of everything that decides ids: the pattern, all ids and bytes, merges, special tokens.
    ///
    /// Each field is written with its length, so that no two vocabularies have one serialisation.
    #[must_use]
    pub fn sha256(&self, pattern: &str) -> String {
        let mut hash = Sha256::new();
        let text = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        text(&mut hash, b"tinybpe-vocab-1");
        text(&mut hash, pattern.as_bytes());
        hash.update((self.num_tokens() as u64).to_le_bytes());
        for (id, bytes) in self.tokens() {
            hash.update(id.to_le_bytes());
            text(&mut hash, bytes);
        }
        hash.update((self.merges.len() as u64).to_le_bytes());
        // Many at a time: each call has a price.
        let mut numbers = Vec::new();
        for merges in self.merges.chunks(1024) {
            numbers.clear();
            numbers.extend(merges.iter().flat_map(|m| [m.left, m.right, m.id]).flat_map(u32::to_le_bytes));
            hash.update(&numbers);
        }
        hash.update((self.specials.len() as u64).to_le_bytes());
        for special in &self.specials {
            hash.update(special.id.to_le_bytes());
        }
        if let Some(characters) = &self.characters {
            text(&mut hash, b"characters");
            characters.hash(&mut |number| hash.update(number.to_le_bytes()));
        }
        if self.has_shared_ranks() {
            text(&mut hash, b"ranks");
            self.ranks.iter().for_each(|rank| hash.update(rank.to_le_bytes()));
        }
        hex(&hash.finalize())
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The contract's id of merge `k`. Callers have checked that all ids are below [`MAX_IDS`].
pub(crate) fn id_of_merge(k: usize) -> u32 {
    u32::try_from(256 + k).unwrap_or(u32::MAX)
}

fn check_length(len: usize, total: &mut usize, bytes: &[u8]) -> Result<()> {
    if len > MAX_TOKEN_BYTES {
        return broken(format!(
            "the token that begins {} has {len} bytes; the limit is {MAX_TOKEN_BYTES}",
            show(bytes)
        ));
    }
    *total += len;
    if *total > MAX_TOTAL_BYTES {
        return broken(format!("all tokens together have more than {MAX_TOTAL_BYTES} bytes, the limit"));
    }
    Ok(())
}

fn check_contents(specials: &[SpecialToken]) -> Result<()> {
    let mut seen = HashMap::with_capacity(specials.len());
    for s in specials {
        if s.content.is_empty() {
            return special("a special token is empty; each has at least one character");
        }
        if s.content.len() > MAX_TOKEN_BYTES {
            return special(format!(
                "the special token {} is too long; the limit is {MAX_TOKEN_BYTES} bytes",
                show(s.content.as_bytes())
            ));
        }
        if seen.insert(&s.content, s.id).is_some() {
            return special(format!(
                "the special token {} is given twice; list it once",
                show(s.content.as_bytes())
            ));
        }
    }
    Ok(())
}

/// The special tokens that merges use.
struct MergedIds(FxHashSet<u32>);

impl MergedIds {
    fn of(merges: &[Merge], specials: &[(String, Option<u32>)]) -> Self {
        let specials: FxHashSet<u32> = specials.iter().filter_map(|special| special.1).collect();
        if specials.is_empty() {
            return MergedIds(specials);
        }
        let ids = merges.iter().flat_map(|merge| [merge.left, merge.right, merge.id]);
        MergedIds(ids.filter(|id| specials.contains(id)).collect())
    }

    fn contains(&self, id: u32) -> bool {
        self.0.contains(&id)
    }
}

/// Gives each special token its id, and takes those found among `tokens` (sorted by id) out of them, but for those that
/// stay ordinary as well.
fn place_specials(
    tokens: &mut Vec<(u32, Arc<[u8]>)>,
    specials: Vec<(String, Option<u32>)>,
    stays: impl Fn(u32) -> bool,
) -> Result<Vec<(String, u32)>> {
    if specials.is_empty() {
        return Ok(Vec::new());
    }
    // Only special tokens without an id are looked for by their bytes.
    let contents: HashSet<&[u8]> =
        specials.iter().filter(|s| s.1.is_none()).map(|s| s.0.as_bytes()).collect();
    let longest = contents.iter().map(|content| content.len()).max().unwrap_or(0);
    let mut by_bytes: HashMap<&[u8], u32> = HashMap::new();
    for (id, bytes) in tokens.iter().filter(|t| t.1.len() <= longest && contents.contains(&t.1[..])) {
        by_bytes.entry(bytes).or_insert(*id);
    }
    let highest = tokens.last().map(|t| t.0).max(specials.iter().filter_map(|s| s.1).max());
    let mut next = highest.map_or(0, |id| u64::from(id) + 1);
    let mut placed = Vec::with_capacity(specials.len());
    for (content, id) in specials {
        let given = id.or_else(|| by_bytes.get(content.as_bytes()).copied());
        let Some(id) = given.or_else(|| u32::try_from(next).ok().filter(|id| *id < MAX_IDS)) else {
            let text = show(content.as_bytes());
            return special(format!("no id is left for the special token {text}; ids are below {MAX_IDS}"));
        };
        next += u64::from(given.is_none());
        placed.push((content, id));
    }
    let single = placed.iter().find(|(content, id)| {
        content.len() == 1
            && !stays(*id)
            && tokens.iter().any(|(i, b)| i == id && b[..] == *content.as_bytes())
    });
    if let Some((content, id)) = single {
        return special(format!(
            "the special token {} is the token of a single byte, id {id}, which ordinary text needs; give it another text",
            show(content.as_bytes())
        ));
    }
    let same: HashMap<u32, &[u8]> = placed.iter().map(|(content, id)| (*id, content.as_bytes())).collect();
    tokens.retain(|(id, bytes)| same.get(id) != Some(&&bytes[..]) || stays(*id));
    Ok(placed)
}

/// Ids to bytes: sorted entries, and the way from an id to its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tokens {
    entries: Vec<(u32, Arc<[u8]>)>,
    index: Index,
}

/// A table where ids are nearly gapless, as they are in practice. A file may also name one id of two billion,
/// and must not make us allocate a table of that length: then entries are searched.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Index {
    Table(Vec<u32>),
    Search,
}

impl Tokens {
    fn new(entries: Vec<(u32, Arc<[u8]>)>) -> Self {
        let num_ids = entries.last().map_or(0, |t| t.0 as usize + 1);
        if num_ids > 4 * entries.len() + 1024 {
            return Self { entries, index: Index::Search };
        }
        let mut table = vec![u32::MAX; num_ids];
        (0..).zip(&entries).for_each(|(i, (id, _))| table[*id as usize] = i);
        Self { entries, index: Index::Table(table) }
    }

    #[inline]
    fn get(&self, id: u32) -> Option<&[u8]> {
        let i = match &self.index {
            Index::Table(table) => *table.get(id as usize)? as usize,
            Index::Search => self.entries.binary_search_by_key(&id, |t| t.0).ok()?,
        };
        self.entries.get(i).map(|t| &t.1[..])
    }
}
