//! A regular expression as a tree over sets of characters, in which possessive quantifiers, atomic groups and word
//! boundaries are replaced by look-ahead.
//!
//! `fancy-regex` parses, so a pattern means the same here and to the engine that runs what cannot be compiled, and
//! `regex-syntax` supplies the sets, so all tables are of one version of Unicode.
//!
//! **Atomic groups.** `(?>X)` takes the first match of `X` that backtracking would try, whatever follows. Written with
//! look-ahead: `(?>A|B)` is `(?>A)|(?!A)(?>B)`, and `c++` for a set `c` is `c+(?!c)`. A concatenation whose front has one
//! possible length keeps it: `(?>AB)` is `A(?>B)`. Other atomic groups are not compiled.
//!
//! **Word boundaries.** `\b` after a word character is `(?!\w)`, after another character `(?=\w)`. Where the character
//! before may be of both kinds, the pattern is not compiled.

use fancy_regex::{Assertion, Expr, LookAround};
use regex_syntax::{
    ParserBuilder,
    hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind},
};

/// Why a pattern is not compiled.
pub type Unsupported = String;

/// A pattern.
#[derive(Clone, Debug)]
pub enum Node {
    /// One character of a set.
    Set(ClassUnicode),
    /// One after the other; none for the empty string.
    Concat(Vec<Node>),
    /// The first that leads to a match.
    Alternatives(Vec<Node>),
    /// Several times the same.
    Repeat {
        /// What is repeated; it never matches the empty string if `max` is `None`.
        node: Box<Node>,
        /// The least number of times.
        min: usize,
        /// The greatest number of times, `None` for any.
        max: Option<usize>,
        /// Whether more is tried before less.
        greedy: bool,
    },
    /// What follows matches, or with `negative` does not match.
    Look {
        /// The pattern of what follows.
        node: Box<Node>,
        /// `(?!…)`.
        negative: bool,
    },
    /// `\A`.
    StartOfText,
    /// `\b`, or `\B` if negative; [`parse`] leaves none.
    WordBoundary {
        /// `\B`.
        negative: bool,
    },
}

/// The most nodes that rewriting may make of a pattern.
const MAX_NODES: usize = 20_000;

/// Reads a pattern.
///
/// # Errors
/// Why it cannot be compiled: a syntax error, or a construct that is not regular or not supported.
pub fn parse(pattern: &str) -> Result<Node, Unsupported> {
    let tree = Expr::parse_tree(pattern).map_err(|error| error.to_string())?;
    if tree.contains_subroutines {
        return Err("it calls a group".into());
    }
    let node = Reader { left: MAX_NODES }.node(&tree.expr)?;
    if node.has_word_boundary() { Ok(resolve(node, Before::Unknown)?.0) } else { Ok(node) }
}

struct Reader {
    /// How many more nodes may be made.
    left: usize,
}

impl Reader {
    fn node(&mut self, expr: &Expr) -> Result<Node, Unsupported> {
        self.left = self.left.checked_sub(1).ok_or("it is too large")?;
        Ok(match expr {
            Expr::Empty => empty(),
            Expr::Any { newline, crlf } => Node::Set(match (newline, crlf) {
                (true, _) => any(),
                (false, false) => set(r"[^\n]", false)?,
                (false, true) => set(r"[^\r\n]", false)?,
            }),
            Expr::Assertion(Assertion::StartText) => Node::StartOfText,
            Expr::Assertion(Assertion::EndText) => not_followed_by(Node::Set(any())),
            Expr::Assertion(Assertion::EndLine { crlf: false }) => Node::Look {
                node: Box::new(Node::Alternatives(vec![
                    Node::Set(set(r"\n", false)?),
                    not_followed_by(Node::Set(any())),
                ])),
                negative: false,
            },
            Expr::Assertion(Assertion::WordBoundary) => Node::WordBoundary { negative: false },
            Expr::Assertion(Assertion::NotWordBoundary) => Node::WordBoundary { negative: true },
            Expr::Assertion(_) => return Err("it looks at what stands before".into()),
            Expr::Literal { val, casei } => {
                let sets =
                    val.chars().map(|c| set(&regex_syntax::escape(&c.to_string()), *casei).map(Node::Set));
                concat(sets.collect::<Result<_, _>>()?)
            }
            Expr::Delegate { inner, casei } => Node::Set(set(inner, *casei)?),
            Expr::Concat(parts) => concat(self.nodes(parts)?),
            Expr::Alt(parts) => alternatives(self.nodes(parts)?),
            Expr::Group(child) => self.node(child)?,
            Expr::LookAround(child, LookAround::LookAhead) => {
                Node::Look { node: Box::new(self.node(child)?), negative: false }
            }
            Expr::LookAround(child, LookAround::LookAheadNeg) => not_followed_by(self.node(child)?),
            Expr::LookAround(_, _) => return Err("it has look-behind".into()),
            Expr::Repeat { child, lo, hi, greedy } => {
                repeat(self.node(child)?, *lo, (*hi != usize::MAX).then_some(*hi), *greedy)?
            }
            Expr::AtomicGroup(child) => {
                let node = self.node(child)?;
                self.atomic(node)?
            }
            Expr::Backref { .. } | Expr::BackrefWithRelativeRecursionLevel { .. } => {
                return Err("it refers back to a group".into());
            }
            _ => return Err("it has a construct that no automaton runs".into()),
        })
    }

    fn nodes(&mut self, parts: &[Expr]) -> Result<Vec<Node>, Unsupported> {
        parts.iter().map(|part| self.node(part)).collect()
    }

    /// A node without the choice of giving back: see the module's head.
    fn atomic(&mut self, node: Node) -> Result<Node, Unsupported> {
        const OTHER: &str = "it has an atomic group of a kind that is not compiled";
        self.left = self.left.checked_sub(node.size()).ok_or("it is too large")?;
        if node.length().is_some() && !matches!(node, Node::Alternatives(_)) {
            return Ok(node); // each match has the same length, so the first is the only one
        }
        match node {
            Node::Alternatives(nodes) => {
                let mut all = Vec::new();
                let mut before = Vec::new();
                for node in nodes {
                    let mut parts: Vec<Node> = before.clone();
                    before.push(not_followed_by(node.clone()));
                    self.left = self
                        .left
                        .checked_sub(before.iter().map(Node::size).sum())
                        .ok_or("it is too large")?;
                    parts.push(self.atomic(node)?);
                    all.push(concat(parts));
                }
                Ok(alternatives(all))
            }
            // The first match has as few as are allowed.
            Node::Repeat { min: 0, greedy: false, .. } => Ok(empty()),
            Node::Repeat { node, min: 1, greedy: false, .. } => self.atomic(*node),
            Node::Repeat { node, min, greedy: false, .. } if node.length().is_some() => {
                let node = self.atomic(*node)?;
                repeat(node, min, Some(min), true)
            }
            Node::Repeat { node, min, max, greedy: true } => {
                let once = if min <= 1 || node.length().is_some() {
                    self.atomic((*node).clone())?
                } else {
                    return Err(OTHER.into());
                };
                let end = not_followed_by(*node);
                match max {
                    None => Ok(concat(vec![repeat(once, min, None, true)?, end])),
                    Some(max) if max == min => repeat(once, min, Some(max), true),
                    Some(max) => Ok(alternatives(vec![
                        repeat(once.clone(), max, Some(max), true)?,
                        concat(vec![repeat(once, min, Some(max - 1), true)?, end]),
                    ])),
                }
            }
            Node::Concat(mut nodes) => {
                let first = nodes.remove(0);
                let rest = concat(nodes);
                match first {
                    first if first.length().is_some() => Ok(concat(vec![first, self.atomic(rest)?])),
                    Node::Alternatives(choices) => {
                        let nodes = choices.into_iter().map(|choice| concat(vec![choice, rest.clone()]));
                        let nodes = alternatives(nodes.collect());
                        self.atomic(nodes)
                    }
                    Node::Repeat { node, min: 0, max: Some(1), greedy } => {
                        let taken = concat(vec![*node, rest.clone()]);
                        let choices = if greedy { vec![taken, rest] } else { vec![rest, taken] };
                        self.atomic(alternatives(choices))
                    }
                    Node::Repeat { node, min, max: None, .. }
                        if node.length().is_some()
                            && node
                                .first_set()
                                .zip(rest.first_set())
                                .is_some_and(|(a, b)| disjoint(&a, &b)) =>
                    {
                        Ok(concat(vec![repeat(*node, min, None, true)?, self.atomic(rest)?]))
                    }
                    _ => Err(OTHER.into()),
                }
            }
            _ => Err(OTHER.into()),
        }
    }
}

impl Node {
    fn children(&self) -> &[Node] {
        match self {
            Node::Concat(nodes) | Node::Alternatives(nodes) => nodes,
            Node::Repeat { node, .. } | Node::Look { node, .. } => std::slice::from_ref(node),
            _ => &[],
        }
    }

    fn has_word_boundary(&self) -> bool {
        matches!(self, Node::WordBoundary { .. }) || self.children().iter().any(Node::has_word_boundary)
    }

    fn size(&self) -> usize {
        1 + self.children().iter().map(Node::size).sum::<usize>()
    }

    /// The number of characters of each match, if it is always the same.
    fn length(&self) -> Option<usize> {
        match self {
            Node::Set(_) => Some(1),
            Node::Look { .. } | Node::StartOfText | Node::WordBoundary { .. } => Some(0),
            Node::Concat(nodes) => nodes.iter().map(Node::length).sum(),
            Node::Alternatives(nodes) => {
                let mut lengths = nodes.iter().map(Node::length);
                let first = lengths.next()??;
                lengths.all(|length| length == Some(first)).then_some(first)
            }
            Node::Repeat { node, min, max, .. } => {
                let length = node.length()?;
                (*max == Some(*min) || length == 0).then(|| length.saturating_mul(*min))
            }
        }
    }

    fn matches_nothing(&self) -> bool {
        match self {
            Node::Set(_) => false,
            Node::Look { .. } | Node::StartOfText | Node::WordBoundary { .. } => true,
            Node::Concat(nodes) => nodes.iter().all(Node::matches_nothing),
            Node::Alternatives(nodes) => nodes.iter().any(Node::matches_nothing),
            Node::Repeat { node, min, .. } => *min == 0 || node.matches_nothing(),
        }
    }

    /// The characters that a match can begin with; `None` if it can be empty.
    fn first_set(&self) -> Option<ClassUnicode> {
        match self {
            Node::Set(set) => Some(set.clone()),
            Node::Concat(nodes) => {
                let mut all = ClassUnicode::empty();
                for node in nodes {
                    if matches!(node, Node::Look { .. } | Node::StartOfText | Node::WordBoundary { .. }) {
                        continue;
                    }
                    if let Some(set) = node.first_set() {
                        all.union(&set);
                        return Some(all);
                    }
                    return None;
                }
                None
            }
            Node::Alternatives(nodes) => {
                let mut all = ClassUnicode::empty();
                for node in nodes {
                    all.union(&node.first_set()?);
                }
                Some(all)
            }
            Node::Repeat { node, min, .. } if *min > 0 => node.first_set(),
            _ => None,
        }
    }

    /// The set of characters, and whether the end of the text is among them, if all that matters is the next character.
    pub fn as_next(&self) -> Option<(ClassUnicode, bool)> {
        match self {
            Node::Set(set) => Some((set.clone(), false)),
            Node::Alternatives(nodes) => {
                let (mut all, mut at_end) = (ClassUnicode::empty(), false);
                for node in nodes {
                    let (set, end) = node.as_next()?;
                    all.union(&set);
                    at_end |= end;
                }
                Some((all, at_end))
            }
            Node::Concat(nodes) if nodes.is_empty() => Some((any(), true)),
            Node::Concat(nodes) if nodes.len() == 1 => nodes[0].as_next(),
            Node::Look { node, negative } => {
                let (mut set, mut at_end) = node.as_next()?;
                if *negative {
                    set = complement(&set);
                    at_end = !at_end;
                }
                Some((set, at_end))
            }
            _ => None,
        }
    }
}

/// What is known of the character before a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Unknown,
    Word,
    Other,
}

/// Replaces word boundaries; returns what is known of the last character of a match as well.
fn resolve(node: Node, before: Before) -> Result<(Node, Before), Unsupported> {
    Ok(match node {
        Node::Set(characters) => {
            let word = set(r"\w", false)?;
            let after = match () {
                () if disjoint(&characters, &word) => Before::Other,
                () if disjoint(&characters, &complement(&word)) => Before::Word,
                () => Before::Unknown,
            };
            (Node::Set(characters), after)
        }
        Node::Concat(nodes) => {
            let mut now = before;
            let mut resolved = Vec::with_capacity(nodes.len());
            for node in nodes {
                let (node, after) = resolve(node, now)?;
                resolved.push(node);
                now = after;
            }
            (Node::Concat(resolved), now)
        }
        Node::Alternatives(nodes) => {
            let mut after = None;
            let mut resolved = Vec::with_capacity(nodes.len());
            for node in nodes {
                let (node, this) = resolve(node, before)?;
                resolved.push(node);
                after = Some(after.map_or(this, |after| join(after, this)));
            }
            (Node::Alternatives(resolved), after.unwrap_or(before))
        }
        Node::Repeat { node, min, max, greedy } => {
            let (_, last) = resolve((*node).clone(), Before::Unknown).unwrap_or((empty(), Before::Unknown));
            let at_start = if max == Some(1) { before } else { join(before, last) };
            let (node, after) = resolve(*node, at_start)?;
            let after = if min == 0 { join(before, after) } else { after };
            (Node::Repeat { node: Box::new(node), min, max, greedy }, after)
        }
        Node::Look { node, negative } => {
            (Node::Look { node: Box::new(resolve(*node, before)?.0), negative }, before)
        }
        Node::WordBoundary { negative } => {
            let is_end = match before {
                Before::Unknown => {
                    return Err("it has a word boundary where what stands before may be a word or not".into());
                }
                Before::Word => !negative,
                Before::Other => negative,
            };
            (Node::Look { node: Box::new(Node::Set(set(r"\w", false)?)), negative: is_end }, before)
        }
        Node::StartOfText => (Node::StartOfText, before),
    })
}

fn join(a: Before, b: Before) -> Before {
    if a == b { a } else { Before::Unknown }
}

fn empty() -> Node {
    Node::Concat(Vec::new())
}

fn concat(nodes: Vec<Node>) -> Node {
    let mut all = Vec::with_capacity(nodes.len());
    for node in nodes {
        match node {
            Node::Concat(nodes) => all.extend(nodes),
            node => all.push(node),
        }
    }
    if all.len() == 1 { all.remove(0) } else { Node::Concat(all) }
}

fn alternatives(mut nodes: Vec<Node>) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { Node::Alternatives(nodes) }
}

fn repeat(node: Node, min: usize, max: Option<usize>, greedy: bool) -> Result<Node, Unsupported> {
    if max.is_none() && node.matches_nothing() {
        return Err("it repeats without end what may match nothing".into());
    }
    Ok(Node::Repeat { node: Box::new(node), min, max, greedy })
}

fn not_followed_by(node: Node) -> Node {
    Node::Look { node: Box::new(node), negative: true }
}

/// All characters.
pub fn any() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
}

fn complement(set: &ClassUnicode) -> ClassUnicode {
    let mut all = any();
    all.difference(set);
    all
}

fn disjoint(a: &ClassUnicode, b: &ClassUnicode) -> bool {
    let mut both = a.clone();
    both.intersect(b);
    both.ranges().is_empty()
}

/// The set of characters that a regex of one character matches.
fn set(regex: &str, case_insensitive: bool) -> Result<ClassUnicode, Unsupported> {
    let hir = ParserBuilder::new().case_insensitive(case_insensitive).build().parse(regex);
    let hir = hir.map_err(|error| format!("`{regex}`: {error}"))?;
    let character = |bytes: &[u8]| {
        let mut characters = std::str::from_utf8(bytes).ok()?.chars();
        let first = characters.next().filter(|_| characters.next().is_none())?;
        Some(ClassUnicode::new([ClassUnicodeRange::new(first, first)]))
    };
    let set = match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class.clone()),
        HirKind::Class(Class::Bytes(class)) => class.to_unicode_class(),
        HirKind::Literal(literal) => character(&literal.0),
        _ => None,
    };
    set.ok_or_else(|| format!("`{regex}` is not one character"))
}
