//! The longest token that a text begins with: a trie of the tokens' bytes as a double array.
//!
//! A node's child by `byte` stands at `base ^ byte`, if that place names the node as its parent: one load for each byte of
//! text, where a table of all 256 children of each node would leave the caches. Built in order of bytes; a node's children
//! go to the first place in one of the newest blocks of 256 that has room for all of them.

use std::collections::VecDeque;

/// No token.
pub(super) const NO_TOKEN: u32 = u32::MAX;
/// No node: the parent of a place that is free.
const FREE: u32 = u32::MAX;
/// Places are filled block by block, since `base ^ byte` stays within one.
const BLOCK: usize = 256;
/// Blocks that are searched for room before a new one is begun.
const OPEN_BLOCKS: usize = 2;

#[derive(Clone, Copy)]
struct Node {
    /// Where the children are, [`LEAF`] if there are none.
    base: u32,
    parent: u32,
    /// The token that ends here.
    token: u32,
}

/// Bytes 0 to 255, children of the root, stand at 0 to 255, and no other node has its children there.
const LEAF: u32 = 0;
const NO_NODE: Node = Node { base: LEAF, parent: FREE, token: NO_TOKEN };

/// The tokens of a vocabulary by their bytes.
pub(super) struct Trie {
    nodes: Vec<Node>,
}

/// The places of the newest blocks that no node has, a bit each.
struct Free {
    /// Where the first of the blocks begins.
    start: usize,
    words: VecDeque<u64>,
}

impl Free {
    fn is_free(&self, place: usize) -> bool {
        self.words[(place - self.start) / 64] >> (place % 64) & 1 != 0
    }

    fn take(&mut self, place: usize) {
        self.words[(place - self.start) / 64] &= !(1 << (place % 64));
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
        if self.words.len() > OPEN_BLOCKS * BLOCK / 64 {
            self.words.drain(..BLOCK / 64);
            self.start += BLOCK;
        }
    }
}

impl Trie {
    /// The trie of `tokens`, sorted by their bytes, all 256 single bytes among them.
    pub fn new(tokens: &[(&[u8], u32)]) -> Self {
        let mut trie = Trie { nodes: vec![NO_NODE; BLOCK] };
        let mut free = Free { start: BLOCK, words: VecDeque::new() };
        // Nodes whose children have no place yet, with their tokens and depth.
        let mut todo = Vec::new();
        for (at, group) in groups(tokens, 0) {
            trie.nodes[usize::from(at)] = Node { base: LEAF, parent: 0, token: NO_TOKEN };
            todo.push((usize::from(at), group, 1));
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
            let base = trie.room(&mut free, groups(tokens, depth).map(|(byte, _)| byte));
            trie.nodes[at].base = narrow(base);
            for (byte, group) in groups(tokens, depth) {
                let child = base ^ usize::from(byte);
                trie.nodes[child].parent = narrow(at);
                free.take(child);
                todo.push((child, group, depth + 1));
            }
        }
        trie
    }

    /// The first base at which the places of all `bytes` are free.
    fn room(&mut self, free: &mut Free, mut bytes: impl Iterator<Item = u8> + Clone) -> usize {
        let Some(first) = bytes.next() else { return BLOCK };
        let first = usize::from(first);
        let has_room = |&base: &usize| bytes.clone().all(|byte| free.is_free(base ^ usize::from(byte)));
        if let Some(base) = free.places().map(|place| place ^ first).find(has_room) {
            return base;
        }
        let base = self.nodes.len();
        self.nodes.resize(base + BLOCK, NO_NODE);
        free.add_block();
        base
    }

    /// The longest token that `text`, which is not empty, begins with, and its length.
    #[inline]
    pub fn longest(&self, text: &[u8]) -> (u32, usize) {
        let mut at = usize::from(text[0]);
        let mut node = self.nodes[at];
        let mut found = (node.token, 1);
        for (&byte, len) in text[1..].iter().zip(2..) {
            if node.base == LEAF {
                break;
            }
            let child = node.base as usize ^ usize::from(byte);
            let next = self.nodes[child];
            if next.parent as usize != at {
                break;
            }
            (at, node) = (child, next);
            if node.token != NO_TOKEN {
                found = (node.token, len);
            }
        }
        found
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(FREE)
}

/// Tokens longer than `depth` by the byte that they have there.
fn groups<'a, 'b>(
    tokens: &'a [(&'b [u8], u32)],
    depth: usize,
) -> impl Iterator<Item = (u8, &'a [(&'b [u8], u32)])> + Clone {
    tokens.chunk_by(move |a, b| a.0[depth] == b.0[depth]).map(move |group| (group[0].0[depth], group))
}
