//! A pattern as a nondeterministic automaton with priorities (Thompson's construction, as in Cox, "Regular Expression
//! Matching: the Virtual Machine Approach", <https://swtch.com/~rsc/regexp/regexp2.html>), over classes of characters.
//!
//! Look-ahead is a state as well: [`State::Next`] if only the next character matters, which is decided when that is read,
//! or [`State::Look`], a pattern of its own. No cycle goes without reading a character, since what may match nothing is
//! never repeated without end.

use super::{
    alphabet::{Alphabet, ClassSet, END},
    syntax::{Node, Unsupported},
};
use regex_syntax::hir::ClassUnicode;

/// The index of a state.
pub type StateId = u32;

/// A state; those that lead on name the next one.
#[derive(Clone, Debug)]
pub enum State {
    /// The pattern has matched.
    Match,
    /// Reads a character of a set.
    Read(ClassSet, StateId),
    /// Two ways, the first preferred.
    Split(StateId, StateId),
    /// Goes on if the class that follows is in the set; reads nothing.
    Next(ClassSet, StateId),
    /// Goes on if the pattern that starts at `start` matches what follows, or with `negative` if it does not.
    Look {
        /// The first state of the pattern looked for.
        start: StateId,
        /// Whether it must not match.
        negative: bool,
        /// Where it goes on.
        next: StateId,
    },
    /// Goes on at the start of the text.
    StartOfText(StateId),
}

/// The automaton.
pub struct Nfa {
    /// All states.
    pub states: Vec<State>,
    /// Where a match starts.
    pub start: StateId,
}

/// The most states.
const MAX_STATES: usize = 20_000;

impl Nfa {
    /// The automaton of a pattern.
    ///
    /// # Errors
    /// If it would have too many states.
    pub fn new(pattern: &Node, alphabet: &Alphabet) -> Result<Self, Unsupported> {
        let mut builder = Builder { alphabet, states: vec![State::Match] };
        let start = builder.add(pattern, 0)?;
        Ok(Self { states: builder.states, start })
    }

    /// Whether some look-ahead needs more than the next character.
    pub fn looks_far(&self) -> bool {
        self.states.iter().any(|state| matches!(state, State::Look { .. }))
    }
}

/// The sets that a pattern has, as the alphabet needs them.
pub fn sets(node: &Node, all: &mut Vec<ClassUnicode>) {
    if let (Node::Look { .. }, Some((set, _))) = (node, node.as_next()) {
        all.push(set);
        return;
    }
    match node {
        Node::Set(set) => all.push(set.clone()),
        Node::Concat(nodes) | Node::Alternatives(nodes) => nodes.iter().for_each(|node| sets(node, all)),
        Node::Repeat { node, .. } | Node::Look { node, .. } => sets(node, all),
        Node::StartOfText | Node::WordBoundary { .. } => {}
    }
}

struct Builder<'a> {
    alphabet: &'a Alphabet,
    states: Vec<State>,
}

impl Builder<'_> {
    fn push(&mut self, state: State) -> Result<StateId, Unsupported> {
        if self.states.len() >= MAX_STATES {
            return Err(format!("its automaton has more than {MAX_STATES} states"));
        }
        self.states.push(state);
        Ok(StateId::try_from(self.states.len() - 1).unwrap_or(StateId::MAX))
    }

    /// Adds the states that match `node` and then go on at `next`; returns the first.
    fn add(&mut self, node: &Node, next: StateId) -> Result<StateId, Unsupported> {
        match node {
            Node::Set(set) => self.push(State::Read(self.alphabet.classes_in(set), next)),
            Node::Concat(nodes) => nodes.iter().rev().try_fold(next, |next, node| self.add(node, next)),
            Node::Alternatives(nodes) => {
                let starts: Vec<_> =
                    nodes.iter().map(|node| self.add(node, next)).collect::<Result<_, _>>()?;
                let mut starts = starts.into_iter().rev();
                let last = starts.next().unwrap_or(next);
                starts.try_fold(last, |later, earlier| self.push(State::Split(earlier, later)))
            }
            Node::Repeat { node, min, max, greedy } => {
                let split =
                    |once, end| if *greedy { State::Split(once, end) } else { State::Split(end, once) };
                let mut start = next;
                if let Some(max) = max {
                    for _ in *min..*max {
                        let once = self.add(node, start)?;
                        start = self.push(split(once, next))?;
                    }
                } else {
                    // The split that closes the cycle is made first and filled in when its way back is known.
                    start = self.push(State::Match)?;
                    let once = self.add(node, start)?;
                    self.states[start as usize] = split(once, next);
                }
                (0..*min).try_fold(start, |start, _| self.add(node, start))
            }
            Node::Look { node: ahead, negative } => {
                if let Some((set, at_end)) = node.as_next() {
                    let mut classes = self.alphabet.classes_in(&set);
                    if at_end {
                        classes.insert(END);
                    }
                    return self.push(State::Next(classes, next));
                }
                let start = self.add(ahead, 0)?;
                self.push(State::Look { start, negative: *negative, next })
            }
            Node::StartOfText => self.push(State::StartOfText(next)),
            Node::WordBoundary { .. } => Err("it has a word boundary".into()),
        }
    }
}
