//! The deterministic automaton of a pattern, with leftmost-first priority.
//!
//! The subset construction on ordered lists of states: the list is in order of preference, and where a match is found
//! everything after it is dropped, so the last match that is seen before the automaton dies is the one that
//! backtracking would find (the construction of RE2, <https://swtch.com/~rsc/regexp/regexp3.html>, section "Caching the
//! state graph and leftmost-first"). A state is left before the next character is read, so each
//! transition knows one class beyond the text that it has matched; that decides `(?!\S)` and the end of the text.
//!
//! A match that ends before the last character read makes the scanner go back. States from which no match can be
//! reached are merged into the dead one, so it never reads further than it must.

use super::{
    alphabet::{Alphabet, END},
    fuse::Regions,
    nfa::{Nfa, State, StateId},
    syntax::Unsupported,
};
use std::collections::HashMap;

/// What a state does on a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Step {
    /// The next state, [`DEAD`] if there is none.
    pub next: u32,
    /// Whether the pattern has matched before the character of that class.
    pub is_match: bool,
}

/// The state from which no match is reached.
pub const DEAD: u32 = 0;

/// The automaton.
#[derive(Clone, Debug)]
pub struct Dfa {
    /// By state, by class.
    steps: Vec<Step>,
    num_classes: usize,
    /// Where a match starts.
    pub start: u32,
    /// Where a match starts at the start of the text.
    pub text_start: u32,
    /// Between which characters text is always cut.
    pub regions: Regions,
}

/// The most states: tables of a megabyte, which still fit into the second-level cache.
const MAX_STATES: usize = 4096;

/// The most states of the NFA looked at while the automaton is made: a fraction of a second.
const MAX_WORK: usize = 50_000_000;

impl Dfa {
    /// Makes the automaton.
    ///
    /// # Errors
    /// If it would be too large, or if look-ahead needs more than one character.
    pub fn new(nfa: &Nfa, alphabet: &Alphabet) -> Result<Self, Unsupported> {
        if nfa.looks_far() {
            return Err("look-ahead needs more than one character".into());
        }
        let num_classes = alphabet.num_classes();
        let mut builder = Builder {
            nfa,
            lists: vec![Vec::new()],
            ids: HashMap::from([(Vec::new(), DEAD)]),
            seen: vec![0; nfa.states.len()],
            round: 0,
            work: 0,
        };
        let mut steps = vec![Step::default(); num_classes];
        let from_start = |builder: &mut Builder, at_text_start| -> Result<Vec<Step>, Unsupported> {
            (0..num_classes).map(|class| builder.step(&[nfa.start], class, at_text_start)).collect()
        };
        // The two states that a match starts in are no lists: only in them does `\A` matter.
        let (start, text_start) = (1, 2);
        builder.lists.extend([vec![StateId::MAX], vec![StateId::MAX - 1]]);
        steps.extend(from_start(&mut builder, false)?);
        steps.extend(from_start(&mut builder, true)?);
        while steps.len() < builder.lists.len() * num_classes {
            let list = builder.lists[steps.len() / num_classes].clone();
            for class in 0..num_classes {
                steps.push(builder.step(&list, class, false)?);
            }
        }
        let mut dfa = Self { steps, num_classes, start, text_start, regions: Regions::one(num_classes) };
        dfa.prune();
        Ok(dfa)
    }

    /// An automaton made of the steps of its states.
    pub fn from_steps(steps: Vec<Step>, start: u32, text_start: u32, regions: Regions) -> Self {
        let mut dfa = Self { steps, num_classes: regions.num_classes(), start, text_start, regions };
        dfa.prune();
        dfa
    }

    /// What a state does on a class.
    #[inline]
    pub fn step(&self, state: u32, class: u8) -> Step {
        self.steps[state as usize * self.num_classes + usize::from(class)]
    }

    /// The number of states, the dead one counted.
    pub fn num_states(&self) -> usize {
        self.steps.len() / self.num_classes
    }

    /// The number of classes, [`END`] counted.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// All classes.
    pub fn classes(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        END..=u8::try_from(self.num_classes - 1).unwrap_or(u8::MAX)
    }

    /// All states but the dead one.
    pub fn states(&self) -> impl Iterator<Item = u32> + use<> {
        1..u32::try_from(self.num_states()).unwrap_or(u32::MAX)
    }

    /// The states from which each continuation ends with a match that was seen after entering them.
    pub fn always_match(&self) -> Vec<bool> {
        let mut always = vec![true; self.num_states()];
        always[DEAD as usize] = false;
        loop {
            let mut changed = false;
            for state in self.states() {
                let holds = self.classes().all(|class| {
                    let step = self.step(state, class);
                    step.is_match || always[step.next as usize]
                });
                changed |= std::mem::replace(&mut always[state as usize], holds) != holds;
            }
            if !changed {
                return always;
            }
        }
    }

    /// Whether no match starts with a character of this class, whatever follows.
    pub fn is_inert(&self, class: u8) -> bool {
        class != END
            && [self.start, self.text_start].iter().all(|&start| self.step(start, class) == Step::default())
    }

    /// Whether a match can lie any number of characters before the last one read: a cycle of states without a match.
    pub fn goes_back_far(&self) -> bool {
        // States that lead to the dead one alone, or to such states, are taken away; what is left has a cycle.
        let mut ends = vec![false; self.num_states()];
        ends[DEAD as usize] = true;
        loop {
            let mut changed = false;
            for state in self.states() {
                let mut steps = self.classes().map(|class| self.step(state, class));
                if !ends[state as usize] && steps.all(|step| step.is_match || ends[step.next as usize]) {
                    ends[state as usize] = true;
                    changed = true;
                }
            }
            if !changed {
                return ends.iter().any(|&ends| !ends);
            }
        }
    }

    /// Merges states from which no match is reached into the dead one.
    fn prune(&mut self) {
        let mut useful = vec![false; self.num_states()];
        loop {
            let mut changed = false;
            for state in self.states().filter(|&state| !useful[state as usize]).collect::<Vec<_>>() {
                let mut steps = self.classes().map(|class| self.step(state, class));
                if steps.any(|step| step.is_match || useful[step.next as usize]) {
                    useful[state as usize] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        for step in &mut self.steps {
            if !useful[step.next as usize] {
                step.next = DEAD;
            }
        }
    }
}

struct Builder<'a> {
    nfa: &'a Nfa,
    /// By state, the states of the NFA that it stands for, the preferred first.
    lists: Vec<Vec<StateId>>,
    ids: HashMap<Vec<StateId>, u32>,
    /// By state of the NFA, the last round that came by.
    seen: Vec<u32>,
    round: u32,
    work: usize,
}

impl Builder<'_> {
    fn step(&mut self, list: &[StateId], class: usize, at_text_start: bool) -> Result<Step, Unsupported> {
        let class = u8::try_from(class).unwrap_or(u8::MAX);
        self.round += 1;
        let mut next = Vec::new();
        let mut is_match = false;
        let mut stack: Vec<StateId> = list.iter().rev().copied().collect();
        while let Some(state) = stack.pop() {
            self.work += 1;
            if std::mem::replace(&mut self.seen[state as usize], self.round) == self.round {
                continue;
            }
            match self.nfa.states[state as usize] {
                State::Match => {
                    is_match = true;
                    break;
                }
                State::Read(set, to) => {
                    if set.contains(class) {
                        next.push(to);
                    }
                }
                State::Split(first, second) => stack.extend([second, first]),
                State::Next(set, to) => stack.extend(set.contains(class).then_some(to)),
                State::StartOfText(to) => stack.extend(at_text_start.then_some(to)),
                State::Look { .. } => {}
            }
        }
        // Two ways to one place: the second can never win.
        let mut kept = Vec::with_capacity(next.len());
        self.round += 1;
        for state in next {
            if std::mem::replace(&mut self.seen[state as usize], self.round) != self.round {
                kept.push(state);
            }
        }
        if let Some(&next) = self.ids.get(&kept) {
            return Ok(Step { next, is_match });
        }
        if self.lists.len() >= MAX_STATES || self.work > MAX_WORK {
            return Err(format!("its automaton has more than {MAX_STATES} states"));
        }
        let next = u32::try_from(self.lists.len()).unwrap_or(DEAD);
        self.lists.push(kept.clone());
        self.ids.insert(kept, next);
        Ok(Step { next, is_match })
    }
}
