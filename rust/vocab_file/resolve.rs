//! A vocabulary out of tokens and merges as a JSON file spells them.
//!
//! In GPT-2's characters two tokens side by side are spelled like their bytes side by side, so a merge is resolved by three look-ups
//! of text, on all cores, and no merge's bytes are put together. A file may have half a million merges.

use super::ByteChars;
use crate::{
    piece_key::Seed,
    threads::share,
    vocab::{Flaw, Merge, Vocab, id_of_merge},
};
use rustc_hash::FxHashSet;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Merges that a thread takes at a time.
const MERGES_TAKEN: usize = 8192;

/// The ids of ordinary tokens by their text.
pub type Ids<'a> = HashMap<&'a str, u32, Seed>;

/// The vocabulary of these tokens and merges; `ids` has the same tokens. `vocab_size` is the highest id plus one, as the file
/// says it.
pub fn build(
    mut tokens: Vec<(u32, Arc<[u8]>)>,
    ids: &Ids<'_>,
    merges: &[(&str, &str)],
    specials: Vec<(String, Option<u32>)>,
    taken: &HashSet<u32>,
    vocab_size: u64,
) -> Result<Vocab, Flaw> {
    let Some(resolved) = resolve(ids, merges) else {
        // The vocabulary's own check names the merge.
        let chars = ByteChars::new();
        let bytes = |text: &str| chars.bytes(text).unwrap_or_default();
        let merges: Vec<_> = merges.iter().map(|(left, right)| (bytes(left), bytes(right))).collect();
        let tokens = tokens.into_iter().map(|(id, bytes)| (id, bytes.to_vec())).collect();
        return Vocab::build(tokens, &merges, specials);
    };
    let holes = find_holes(&tokens, &resolved, taken, vocab_size);
    tokens.extend(holes);
    Vocab::build_by_ids(tokens, resolved, specials)
}

/// `None` if a part or a result is no token.
fn resolve(ids: &Ids<'_>, merges: &[(&str, &str)]) -> Option<Vec<Merge>> {
    let parts = share(merges.len(), MERGES_TAKEN, |range| {
        let mut joined = String::new();
        let id_of = |&(left, right): &(&str, &str)| {
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            Some(Merge { left: *ids.get(left)?, right: *ids.get(right)?, id: *ids.get(&joined[..])? })
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
