//! A vocabulary out of tokens and merges as a JSON file spells them.
//!
//! In GPT-2's characters two tokens side by side are spelled like their bytes side by side, so a merge is resolved by look-ups
//! of text, on all cores, and no merge's bytes are put together. A file may have half a million merges.

use crate::{
    error::Error,
    piece_key::{SHORT, Seed, short_key},
    threads::share,
    vocab::{Flaw, Merge, Vocab, id_of_merge, show},
};
use rustc_hash::FxHashSet;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Merges that a thread takes at a time.
const MERGES_TAKEN: usize = 8192;

/// Ordinary tokens by their text, in the file's order.
pub struct Entries<'a> {
    /// Text and id.
    list: Vec<(&'a str, u32)>,
    /// Places in the list: of texts that the keys hold, and of longer ones, each of which is one more miss of the cache.
    short: HashMap<u128, u32, Seed>,
    long: HashMap<&'a str, u32, Seed>,
}

impl<'a> Entries<'a> {
    /// Of texts that differ.
    pub fn new(list: Vec<(&'a str, u32)>) -> Self {
        let mut short = HashMap::with_capacity_and_hasher(list.len(), Seed::default());
        let mut long = HashMap::default();
        for (place, (text, _)) in (0..).zip(&list) {
            if text.len() <= SHORT {
                short.insert(short_key(text.as_bytes(), 0, text.len()), place);
            } else {
                long.insert(*text, place);
            }
        }
        Entries { list, short, long }
    }

    /// The id of a text.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        Some(self.list[self.place_of(text)?].1)
    }

    fn place_of(&self, text: &str) -> Option<usize> {
        let place = if text.len() <= SHORT {
            self.short.get(&short_key(text.as_bytes(), 0, text.len()))?
        } else {
            self.long.get(text)?
        };
        Some(*place as usize)
    }
}

/// The vocabulary of these tokens and merges; `entries` has the same tokens. `vocab_size` is the highest id plus one, as the file
/// says it.
pub fn build(
    mut tokens: Vec<(u32, Arc<[u8]>)>,
    entries: &Entries<'_>,
    merges: &[(&str, &str)],
    specials: Vec<(String, Option<u32>)>,
    taken: &HashSet<u32>,
    vocab_size: u64,
) -> Result<Vocab, Flaw> {
    let Some(resolved) = resolve(entries, merges) else {
        return Err(unresolved(entries, merges));
    };
    let holes = find_holes(&tokens, &resolved, taken, vocab_size);
    tokens.extend(holes);
    Vocab::build_by_ids(tokens, resolved, Vec::new(), specials)
}

/// The first merge of which a part or the result is no token.
pub fn unresolved(entries: &Entries<'_>, merges: &[(&str, &str)]) -> Flaw {
    let mut all = merges.iter().enumerate().flat_map(|(k, &(left, right))| {
        let parts = [
            ("left part", left.to_owned()),
            ("right part", right.to_owned()),
            ("result", [left, right].concat()),
        ];
        parts.map(|(what, text)| (k, left, right, what, text))
    });
    let Some((k, left, right, what, text)) = all.find(|(.., text)| entries.id_of(text).is_none()) else {
        return Error::Vocab("a merge is of no tokens".into()).into();
    };
    let [left, right, text] = [left, right, &text].map(|text| show(text.as_bytes()));
    let reason = format!("merge {k} ({left} + {right}): the {what} {text} is not a token of the vocabulary");
    Flaw { merge: Some(k), error: Error::Vocab(reason) }
}

/// `None` if a part or a result is no token.
pub fn resolve(entries: &Entries<'_>, merges: &[(&str, &str)]) -> Option<Vec<Merge>> {
    let parts = share(merges.len(), MERGES_TAKEN, |range| {
        let mut joined = String::new();
        // Most merges make the same token as the one before, or the next in the file.
        let mut place = 0;
        let id_of = |&(left, right): &(&str, &str)| {
            let is_joined = |&at: &usize| {
                let text = entries.list.get(at).map_or("", |(text, _)| text);
                text.len() == left.len() + right.len() && text.starts_with(left) && text.ends_with(right)
            };
            place = if let Some(place) = [place, place + 1].into_iter().find(is_joined) {
                place
            } else {
                joined.clear();
                joined.push_str(left);
                joined.push_str(right);
                entries.place_of(&joined)?
            };
            Some(Merge {
                left: entries.id_of(left)?,
                right: entries.id_of(right)?,
                id: entries.list[place].1,
            })
        };
        merges[range].iter().map(id_of).collect::<Option<Vec<_>>>()
    });
    let mut resolved = Vec::with_capacity(merges.len());
    for part in parts {
        resolved.extend(part?);
    }
    Some(resolved)
}

/// The ids left out of a JSON file since their bytes have a smaller one; see the parent module's text. They are
/// below `vocab_size` and not among `taken`, the ids of special tokens.
fn find_holes(
    tokens: &[(u32, Arc<[u8]>)],
    merges: &[Merge],
    taken: &HashSet<u32>,
    vocab_size: u64,
) -> Vec<(u32, Arc<[u8]>)> {
    let is_byte = |(id, bytes): &&(u32, Arc<[u8]>)| matches!(bytes[..], [byte] if *id == u32::from(byte));
    if tokens.iter().filter(is_byte).count() < 256 {
        return Vec::new();
    }
    let mut made = FxHashSet::default();
    let mut holes = Vec::new();
    for (k, merge) in merges.iter().enumerate() {
        if !made.insert(merge.id) {
            holes.push((id_of_merge(k), merge.id));
        } else if merge.id != id_of_merge(k) {
            return Vec::new();
        }
    }
    holes.retain(|&(hole, _)| !taken.contains(&hole) && u64::from(hole) < vocab_size);
    if holes.is_empty() {
        return Vec::new();
    }
    let bytes: HashMap<u32, &Arc<[u8]>> = tokens.iter().map(|(id, bytes)| (*id, bytes)).collect();
    let free = holes.into_iter().filter(|(hole, _)| !bytes.contains_key(hole));
    free.filter_map(|(hole, id)| Some((hole, Arc::clone(bytes.get(&id)?)))).collect()
}
