//! A pattern as a machine that reads characters one by one and says of each whether text is cut before it.
//!
//! What it says may come later than the character: `\s+(?!\S)` must see what follows a space. Until then the character waits.
//! As much as is certain is said at once: what a match has reached, or must reach whatever follows.

use super::{
    alphabet::END,
    dfa::{DEAD, Dfa},
};
use std::collections::VecDeque;

/// The class of a character, and whether text is cut before it.
pub type Cut = (u8, bool);

/// A pattern.
pub struct Pattern {
    dfa: Dfa,
    always_match: Vec<bool>,
}

impl Pattern {
    /// The machine of an automaton that has one region.
    pub fn new(dfa: Dfa) -> Self {
        Self { always_match: dfa.always_match(), dfa }
    }
}

/// What a machine remembers of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Memory {
    /// The state within a match that is tried; `None` where one would start.
    state: Option<u32>,
    /// Characters of this match, less those of which all is said.
    waiting: Vec<u8>,
    /// The first characters of the match are certain.
    is_match: bool,
    /// The pattern matches nothing where the match starts.
    is_empty: bool,
    before: Before,
}

/// What stands before a match that is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Before {
    #[default]
    TextStart,
    Match,
    /// A character that belongs to no match.
    Gap,
}

impl Memory {
    /// How many characters wait.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Reads a character, and says in `cuts` what it now knows of this one and those before.
    pub fn read(&mut self, pattern: &Pattern, (class, is_cut): Cut, cuts: &mut Vec<Cut>) {
        if is_cut {
            self.end(pattern, cuts);
        }
        self.go_on(pattern, VecDeque::from([class]), cuts);
    }

    /// The text ends: nothing waits any more, and another text may begin.
    pub fn end(&mut self, pattern: &Pattern, cuts: &mut Vec<Cut>) {
        while let Some(state) = self.state {
            if pattern.dfa.step(state, END).is_match {
                self.say_all(cuts);
            }
            let again = self.go_back(cuts);
            self.go_on(pattern, again, cuts);
        }
        *self = Self::default();
    }

    fn go_on(&mut self, pattern: &Pattern, mut classes: VecDeque<u8>, cuts: &mut Vec<Cut>) {
        while let Some(class) = classes.pop_front() {
            let is_text_start = self.before == Before::TextStart;
            let start = if is_text_start { pattern.dfa.text_start } else { pattern.dfa.start };
            let step = pattern.dfa.step(self.state.unwrap_or(start), class);
            if step.is_match && self.state.is_some() {
                self.say_all(cuts);
            }
            self.is_empty |= step.is_match && self.state.is_none();
            if step.next != DEAD {
                self.waiting.push(class);
                self.state = Some(step.next);
                if pattern.always_match[step.next as usize] {
                    self.say_all(cuts);
                }
            } else if self.state.is_none() {
                self.say_gap(class, cuts);
            } else {
                let mut again = self.go_back(cuts);
                again.push_back(class);
                again.append(&mut classes);
                classes = again;
            }
        }
    }

    /// The match ends here.
    fn say_all(&mut self, cuts: &mut Vec<Cut>) {
        for class in self.waiting.drain(..) {
            cuts.push((class, !self.is_match));
            self.is_match = true;
        }
    }

    /// A character belongs to no match.
    fn say_gap(&mut self, class: u8, cuts: &mut Vec<Cut>) {
        cuts.push((class, self.before != Before::Gap || self.is_empty));
        *self = Self { before: Before::Gap, ..Self::default() };
    }

    /// No more can be matched: returns what is to be read again.
    fn go_back(&mut self, cuts: &mut Vec<Cut>) -> VecDeque<u8> {
        let mut again = VecDeque::from(std::mem::take(&mut self.waiting));
        if self.is_match {
            *self = Self { before: Before::Match, ..Self::default() };
        } else if let Some(class) = again.pop_front() {
            self.say_gap(class, cuts);
        }
        again
    }
}
