//! The longest token that a text begins with: a trie of the tokens' bytes as a double array.
//!
//! A node's child by `byte` is at `base ^ byte`, if the node there has this byte as its label: one load of eight bytes for each
//! byte of text, where a table of all 256 children of each node would leave the caches. No two nodes have the same base, so
//! the label alone says whose child a node is. Built in order of bytes; a node's children go to the first
//! place in one of the newest blocks of 256 that has room for all of them.
//!
//! A walk begins with a whole character of two or three bytes: a table holds where that leads. Each step depends on
//! the one before, so three steps for each character cost more than one look at a larger table.

use std::collections::VecDeque;

/// No token.
pub(super) const NO_TOKEN: u32 = u32::MAX;
/// Places are filled block by block, since `base ^ byte` stays within one.
const BLOCK: usize = 256;
/// Blocks that are searched for room before a new one is begun.
const OPEN_BLOCKS: usize = 2;

#[derive(Clone, Copy)]
struct Node {
    /// The token that ends here.
    token: u32,
    link: Link,
}

/// Where a node's children are, and in the low bits its own label.
#[derive(Clone, Copy)]
struct Link(u32);

const LABEL_BITS: u32 = 9;
/// The label of a place that is free: no byte.
const FREE: u32 = 0x100;
/// Most places: bases have the other bits of a link.
const MOST_PLACES: usize = 1 << (32 - LABEL_BITS);
/// The base of a node without children: a block that stays free. The block before it is that of the root's children.
const LEAF: usize = BLOCK;
const NO_NODE: Node = Node { token: NO_TOKEN, link: Link::new(LEAF, FREE) };

impl Link {
    #[allow(clippy::cast_possible_truncation)] // below MOST_PLACES, which is checked when blocks are added
    const fn new(base: usize, label: u32) -> Self {
        Link((base as u32) << LABEL_BITS | label)
    }

    #[inline]
    fn base(self) -> usize {
        (self.0 >> LABEL_BITS) as usize
    }

    #[inline]
    fn label(self) -> u32 {
        self.0 & ((1 << LABEL_BITS) - 1)
    }
}

/// Where a character leads, and the longest token that begins it.
#[derive(Clone, Copy)]
struct Start {
    link: Link,
    /// The token, shifted, and its length.
    found: u32,
}

/// Bits of a token's length within a character.
const LEN_BITS: u32 = 2;
/// Ids are below this: what is left in [`Start::found`].
const MOST_IDS: u32 = 1 << (32 - LEN_BITS);
/// Characters of three bytes, which come first in the table, and of two.
const CHARACTERS: [usize; 2] = [1 << 16, 1 << 11];

/// The tokens of a vocabulary by their bytes.
#[derive(Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    starts: Vec<Start>,
}

/// The places of the newest blocks that no node has, a bit each.
struct Free {
    /// Where the first of the blocks begins.
    start: usize,
    words: VecDeque<u64>,
    /// The same for places that are the base of no node.
    bases: VecDeque<u64>,
}

impl Free {
    fn is_free(&self, place: usize) -> bool {
        self.words[(place - self.start) / 64] >> (place % 64) & 1 != 0
    }

    fn is_free_base(&self, base: usize) -> bool {
        self.bases[(base - self.start) / 64] >> (base % 64) & 1 != 0
    }

    fn take(&mut self, place: usize) {
        self.words[(place - self.start) / 64] &= !(1 << (place % 64));
    }

    fn take_base(&mut self, base: usize) {
        self.bases[(base - self.start) / 64] &= !(1 << (base % 64));
    }

    /// The free places, in order.
    fn places(&self) -> impl Iterator<Item = usize> {
        let starts = (self.start..).step_by(64);
        starts.zip(&self.words).flat_map(|(start, &word)| {
            let not_empty = |word: u64| (word != 0).then_some(word);
            std::iter::successors(not_empty(word), move |word| not_empty(word & (word - 1)))
                .map(move |word| start + word.trailing_zeros() as usize)
        })
    }

    /// Adds a block, and forgets the oldest if there are too many.
    fn add_block(&mut self) {
        self.words.extend([u64::MAX; BLOCK / 64]);
        self.bases.extend([u64::MAX; BLOCK / 64]);
        if self.words.len() > OPEN_BLOCKS * BLOCK / 64 {
            self.words.drain(..BLOCK / 64);
            self.bases.drain(..BLOCK / 64);
            self.start += BLOCK;
        }
    }
}

impl Trie {
    /// The trie of `tokens`, sorted by their bytes, all 256 single bytes among them. `None` if it has more nodes or higher
    /// ids than its tables hold.
    pub fn new(tokens: &[(&[u8], u32)]) -> Option<Self> {
        if tokens.iter().any(|&(_, token)| token >= MOST_IDS) {
            return None;
        }
        let mut trie = Trie { nodes: vec![NO_NODE; 2 * BLOCK], starts: Vec::new() };
        let mut free = Free { start: 2 * BLOCK, words: VecDeque::new(), bases: VecDeque::new() };
        // Nodes whose children have no place yet, with their tokens and depth.
        let mut todo = Vec::new();
        for (byte, group) in groups(tokens, 0) {
            let at = usize::from(byte);
            trie.nodes[at].link = Link::new(LEAF, byte.into());
            todo.push((at, group, 1));
        }
        while let Some((at, mut tokens, depth)) = todo.pop() {
            if let Some(&(bytes, token)) = tokens.first()
                && bytes.len() == depth
            {
                trie.nodes[at].token = token;
                tokens = &tokens[1..];
            }
            if tokens.is_empty() {
                continue;
            }
            let base = trie.room(&mut free, groups(tokens, depth).map(|(byte, _)| byte))?;
            trie.nodes[at].link = Link::new(base, trie.nodes[at].link.label());
            free.take_base(base);
            for (byte, group) in groups(tokens, depth) {
                let child = base ^ usize::from(byte);
                trie.nodes[child].link = Link::new(LEAF, byte.into());
                free.take(child);
                todo.push((child, group, depth + 1));
            }
        }
        let byte = |bits: usize| u8::try_from(bits & 0xFF).unwrap_or_default();
        let three =
            |n: usize| trie.start(&[byte(0xE0 | n >> 12), byte(0x80 | n >> 6 & 0x3F), byte(0x80 | n & 0x3F)]);
        let two = |n: usize| trie.start(&[byte(0xC0 | n >> 6), byte(0x80 | n & 0x3F)]);
        trie.starts = (0..CHARACTERS[0]).map(three).chain((0..CHARACTERS[1]).map(two)).collect();
        Some(trie)
    }

    /// The first base at which the places of all `bytes` are free.
    fn room(&mut self, free: &mut Free, mut bytes: impl Iterator<Item = u8> + Clone) -> Option<usize> {
        let first = usize::from(bytes.next()?);
        let has_room = |&base: &usize| {
            free.is_free_base(base) && bytes.clone().all(|byte| free.is_free(base ^ usize::from(byte)))
        };
        if let Some(base) = free.places().map(|place| place ^ first).find(has_room) {
            return Some(base);
        }
        let base = self.nodes.len();
        if base >= MOST_PLACES {
            return None;
        }
        self.nodes.resize(base + BLOCK, NO_NODE);
        free.add_block();
        Some(base)
    }

    #[allow(clippy::cast_possible_truncation)] // a length of at most three
    fn start(&self, character: &[u8]) -> Start {
        let mut end = NO_NODE.link;
        let (token, len) = self.walk(character, &mut end);
        Start { link: end, found: token << LEN_BITS | len as u32 }
    }

    /// The longest token that `text` begins with, and its length. `end` is where all of it leads.
    fn walk(&self, text: &[u8], end: &mut Link) -> (u32, usize) {
        let root = self.nodes[usize::from(text[0])];
        let (mut link, mut found) = (root.link, (root.token, 1));
        for (&byte, len) in text[1..].iter().zip(2..) {
            let node = self.nodes[link.base() ^ usize::from(byte)];
            if node.link.label() != u32::from(byte) {
                return found;
            }
            link = node.link;
            if node.token != NO_TOKEN {
                found = (node.token, len);
            }
        }
        *end = link;
        found
    }

    /// The longest token that `text`, which is not empty, begins with, and its length.
    #[inline]
    pub fn longest(&self, text: &[u8]) -> (u32, usize) {
        let low = |byte: u8| usize::from(byte & 0x3F);
        let (mut link, mut found, start) = match *text {
            [a, b, c, ..] if u32::from_le_bytes([a, b, c, 0]) & 0xC0_C0F0 == 0x80_80E0 => {
                let start = self.starts[usize::from(a & 0xF) << 12 | low(b) << 6 | low(c)];
                (start.link, (start.found >> LEN_BITS, start.found as usize & 3), 3)
            }
            [a, b, ..] if u16::from_le_bytes([a, b]) & 0xC0E0 == 0x80C0 => {
                let start = self.starts[CHARACTERS[0] + (usize::from(a & 0x1F) << 6 | low(b))];
                (start.link, (start.found >> LEN_BITS, start.found as usize & 3), 2)
            }
            _ => {
                let root = self.nodes[usize::from(text[0])];
                (root.link, (root.token, 1), 1)
            }
        };
        for (&byte, len) in text[start..].iter().zip(start + 1..) {
            let node = self.nodes[link.base() ^ usize::from(byte)];
            if node.link.label() != u32::from(byte) {
                break;
            }
            link = node.link;
            if node.token != NO_TOKEN {
                found = (node.token, len);
            }
        }
        found
    }
}

/// Tokens longer than `depth` by the byte that they have there.
fn groups<'a, 'b>(
    tokens: &'a [(&'b [u8], u32)],
    depth: usize,
) -> impl Iterator<Item = (u8, &'a [(&'b [u8], u32)])> + Clone {
    tokens.chunk_by(move |a, b| a.0[depth] == b.0[depth]).map(move |group| (group[0].0[depth], group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(vec!["a", "b", "é", "€", "日", "本", "\u{10348}"]);
        let text = prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat().into_bytes());
        // Perhaps without its first byte, and any bytes at all.
        prop_oneof![
            text.clone(),
            text.prop_map(|text| text[text.len() / 2..].to_vec()),
            prop::collection::vec(any::<u8>(), 1..4)
        ]
    }

    proptest! {
        #[test]
        fn finds_what_a_search_finds(tokens in prop::collection::vec(bytes(), 0..300), texts in prop::collection::vec(bytes(), 1..50)) {
            let all = tokens.iter().cloned().chain((0..=255).map(|byte| vec![byte]));
            let ids: BTreeMap<Vec<u8>, u32> = all.zip(0..).collect();
            let sorted: Vec<(&[u8], u32)> = ids.iter().map(|(bytes, &id)| (&bytes[..], id)).collect();
            let trie = Trie::new(&sorted).unwrap();
            for text in tokens.iter().zip(&texts).map(|(token, text)| [&token[..], text].concat()).chain(texts.clone()) {
                let longest = (1..=text.len()).rev().find_map(|len| Some((*ids.get(&text[..len])?, len)));
                prop_assert_eq!(Some(trie.longest(&text)), longest);
            }
        }
    }
}
