//! A sequence of patterns as one automaton that reads each character once, and says where text is cut: a sequential
//! transducer.
//!
//! The patterns run one behind the other ([`super::machine`]): what one says of a character is what the next one reads.
//! All that they remember together is a state, as long as there are few of these. That is so where it is known after a
//! few characters whether text is cut. It is not so for `\s*[\r\n]+`, which may read on for any number of blanks.
//!
//! Of the characters that wait in a state it may be certain what will be said of the first; that is said sooner, and then
//! states that say the same from there on are one (Mohri, "Minimization algorithms for sequential transducers", 2000,
//! <https://doi.org/10.1016/S0304-3975(98)00115-7>). So the states depend on the pieces alone, not on how the patterns are written.

use super::{
    alphabet::END,
    machine::{Cut, Memory, Pattern},
};
use std::collections::HashMap;

/// The most states.
const MAX_STATES: usize = 4096;
/// The most characters that wait in a state.
const MAX_WAITING: usize = 8;

/// What a state does on a class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Move {
    /// The next state.
    pub next: u32,
    /// Whether text is cut before the first characters that wait, the one that is read being the last of them.
    pub cuts: Vec<bool>,
}

/// The transducer. State 0 is where a text starts.
#[derive(Debug)]
pub struct Transducer {
    num_classes: usize,
    /// By state, by class. At [`END`] all is said, and the next state is where another text starts.
    moves: Vec<Move>,
    /// By state, how many characters wait.
    num_waiting: Vec<usize>,
}

impl Transducer {
    /// The transducer of patterns, each of which splits the pieces of the one before; `None` if it has too many states.
    pub fn new(patterns: &[Pattern], num_classes: usize) -> Option<Self> {
        let mut all = vec![vec![Memory::default(); patterns.len()]];
        let mut ids = HashMap::from([(all[0].clone(), 0)]);
        let (mut moves, mut num_waiting) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < all.len() {
            num_waiting.push(all[done].iter().map(Memory::num_waiting).sum());
            if num_waiting[done] > MAX_WAITING {
                return None;
            }
            for class in 0..num_classes {
                let mut memories = all[done].clone();
                let cuts = read(patterns, &mut memories, u8::try_from(class).unwrap_or(END));
                let next = *ids.entry(memories).or_insert_with_key(|memories| {
                    all.push(memories.clone());
                    all.len() - 1
                });
                if next >= MAX_STATES {
                    return None;
                }
                moves.push(Move { next: u32::try_from(next).ok()?, cuts });
            }
            done += 1;
        }
        let mut transducer = Self { num_classes, moves, num_waiting };
        transducer.say_sooner();
        transducer.merge_equal();
        Some(transducer)
    }

    /// What a state does on a class.
    pub fn at(&self, state: usize, class: usize) -> &Move {
        &self.moves[state * self.num_classes + class]
    }

    /// The number of states.
    pub fn num_states(&self) -> usize {
        self.num_waiting.len()
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// How many characters wait in a state.
    pub fn num_waiting(&self, state: usize) -> usize {
        self.num_waiting[state]
    }

    /// By class before and class after, whether text may always be cut there: the transducer says what it says at the end of a
    /// text, and goes on as it begins.
    pub fn safe_cuts(&self) -> Vec<bool> {
        let end = usize::from(END);
        let is_safe = |state: usize, after: usize| {
            let (there, begin) = (self.at(state, after), self.at(0, after));
            let said = self.at(state, end).cuts.iter().chain(&begin.cuts);
            there.next == begin.next && there.cuts.iter().eq(said)
        };
        let mut safe = vec![false; self.num_classes * self.num_classes];
        for before in (0..self.num_classes).filter(|&class| class != end) {
            let mut entered: Vec<usize> =
                (0..self.num_states()).map(|state| self.at(state, before).next as usize).collect();
            entered.sort_unstable();
            entered.dedup();
            for after in (0..self.num_classes).filter(|&class| class != end) {
                safe[before * self.num_classes + after] = entered.iter().all(|&state| is_safe(state, after));
            }
        }
        safe
    }

    /// Says in each state what is the same whatever follows.
    fn say_sooner(&mut self) {
        let states = 0..self.num_states();
        let classes = 0..self.num_classes;
        // At first what is said if the text ends there, then as much of it as is the same on all other ways.
        let mut certain: Vec<Vec<bool>> =
            states.clone().map(|state| self.at(state, usize::from(END)).cuts.clone()).collect();
        loop {
            let mut changed = false;
            for state in states.clone() {
                for class in classes.clone().skip(1) {
                    let Move { next, cuts } = self.at(state, class);
                    let said = cuts.iter().chain(&certain[*next as usize]);
                    let same = certain[state].iter().zip(said).take_while(|(a, b)| a == b).count();
                    changed |= same < certain[state].len();
                    certain[state].truncate(same);
                }
            }
            if !changed {
                break;
            }
        }
        for state in states {
            for class in classes.clone() {
                let Move { next, cuts } = &mut self.moves[state * self.num_classes + class];
                cuts.extend(&certain[*next as usize]);
                cuts.drain(..certain[state].len());
            }
            self.num_waiting[state] -= certain[state].len();
        }
    }

    /// Merges states that say the same whatever follows.
    fn merge_equal(&mut self) {
        let states = || 0..self.num_states();
        // Classes of states that are the same so far; the first is that of state 0.
        let mut same: Vec<u32> = vec![0; self.num_states()];
        let mut num_classes = 1;
        loop {
            let mut ids = HashMap::new();
            let refined: Vec<u32> = states()
                .map(|state| {
                    let moves = (0..self.num_classes).map(|class| {
                        let Move { next, cuts } = self.at(state, class);
                        (same[*next as usize], cuts)
                    });
                    let next = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                    *ids.entry((same[state], moves.collect::<Vec<_>>())).or_insert(next)
                })
                .collect();
            same = refined;
            if ids.len() == num_classes {
                break;
            }
            num_classes = ids.len();
        }
        let mut moves = Vec::new();
        let mut num_waiting = Vec::new();
        for state in states() {
            if same[state] as usize == num_waiting.len() {
                moves.extend((0..self.num_classes).map(|class| {
                    let Move { next, cuts } = self.at(state, class);
                    Move { next: same[*next as usize], cuts: cuts.clone() }
                }));
                num_waiting.push(self.num_waiting[state]);
            }
        }
        (self.moves, self.num_waiting) = (moves, num_waiting);
    }
}

/// Reads a character, or [`END`]; returns what is said by the last pattern.
fn read(patterns: &[Pattern], memories: &mut [Memory], class: u8) -> Vec<bool> {
    let mut said: Vec<Cut> = if class == END { Vec::new() } else { vec![(class, false)] };
    for (pattern, memory) in patterns.iter().zip(memories) {
        let mut cuts = Vec::new();
        for cut in said {
            memory.read(pattern, cut, &mut cuts);
        }
        if class == END {
            memory.end(pattern, &mut cuts);
        }
        said = cuts;
    }
    said.into_iter().map(|(_, is_cut)| is_cut).collect()
}
