//! Two patterns of a sequence as one automaton, where the first isolates runs of a set: `\p{N}{1,3}`, `[一-龥]+`, a digit.
//!
//! The second pattern then sees runs of the set and what lies between them as texts of their own. So its automaton is
//! taken twice, once over the characters of the set and once over all others, and a character of the other kind is the
//! end of the text to it. A run of limited length must be one piece to the second pattern; it is counted off by states of
//! its own.

use super::{
    alphabet::{ClassSet, END},
    dfa::{DEAD, Dfa, Step},
};

/// A division of the characters: text is always cut between two regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    /// By class, the number of its region.
    of_class: Vec<u8>,
    /// By region, the most characters of a piece if pieces there are just counted off.
    longest: Vec<Option<usize>>,
}

impl Regions {
    /// One region.
    pub fn one(num_classes: usize) -> Self {
        Self { of_class: vec![0; num_classes], longest: vec![None] }
    }

    /// The number of regions.
    pub fn len(&self) -> usize {
        self.longest.len()
    }

    /// The number of classes.
    pub fn num_classes(&self) -> usize {
        self.of_class.len()
    }

    /// The region of a class.
    pub fn of(&self, class: u8) -> usize {
        usize::from(self.of_class[usize::from(class)])
    }

    /// The most characters of a piece in the region of a class, if pieces there are just counted off.
    pub fn longest(&self, class: u8) -> Option<usize> {
        self.longest[self.of(class)]
    }

    /// The same with each region divided into the characters of a set, counted off up to `max`, and the others.
    pub fn split(
        &self,
        classes: impl Iterator<Item = u8>,
        is_in: impl Fn(u8) -> bool,
        max: Option<usize>,
    ) -> Self {
        let mut numbers: Vec<(usize, bool)> = Vec::new();
        let mut split = Self { of_class: Vec::new(), longest: Vec::new() };
        for class in classes {
            let key = (self.of(class), is_in(class));
            let number = numbers.iter().position(|&known| known == key).unwrap_or_else(|| {
                numbers.push(key);
                let longest = if is_in(class) { max.or(self.longest(class)) } else { self.longest(class) };
                split.longest.push(longest);
                numbers.len() - 1
            });
            split.of_class.push(u8::try_from(number).unwrap_or(u8::MAX));
        }
        split
    }
}

/// What the first pattern isolates.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// The characters.
    pub set: ClassSet,
    /// The greatest length of a piece, `None` for any.
    pub max: Option<usize>,
}

/// The most texts that are tried to see whether a run is one piece.
const MOST_TRIED: usize = 4096;

impl Dfa {
    /// The automaton of `runs` and then `self`; `None` if it cannot be made in this way.
    pub fn after_runs(&self, runs: Runs) -> Option<Dfa> {
        let has_text_start =
            self.classes().any(|class| self.step(self.start, class) != self.step(self.text_start, class));
        if has_text_start || !runs.max.is_none_or(|max| self.leaves_whole(runs.set, max)) {
            return None;
        }
        let is_in = |class: u8| runs.set.contains(class);
        // Dead, start, text start, then the states outside of runs, then those within.
        let num_states = u32::try_from(self.num_states()).ok()?;
        let outside = |state: u32| if state == DEAD { DEAD } else { 2 + state };
        let counted = runs.max.map(|max| u32::try_from(max).unwrap_or(u32::MAX));
        let inside = |state: u32| if state == DEAD { DEAD } else { 1 + num_states + state };
        let first_counted = 2 + num_states;
        let mut steps = vec![Step::default(); self.num_classes()];
        let begin = self.classes().map(|class| {
            let step = self.step(self.start, class);
            match () {
                () if class == END => step,
                () if !is_in(class) => Step { next: outside(step.next), ..step },
                () if counted.is_some() => Step { next: first_counted, is_match: false },
                () => Step { next: inside(step.next), ..step },
            }
        });
        steps.extend(begin.clone().chain(begin));
        let within = |state: u32, this_side: bool, moved: &dyn Fn(u32) -> u32| {
            self.classes()
                .map(|class| {
                    if class != END && is_in(class) == this_side {
                        let step = self.step(state, class);
                        Step { next: moved(step.next), ..step }
                    } else {
                        Step { next: DEAD, ..self.step(state, END) }
                    }
                })
                .collect::<Vec<_>>()
        };
        for state in self.states() {
            steps.extend(within(state, false, &outside));
        }
        if let Some(max) = counted {
            for count in 1..=max {
                steps.extend(self.classes().map(|class| {
                    if count < max && is_in(class) {
                        Step { next: first_counted + count, is_match: false }
                    } else {
                        Step { next: DEAD, is_match: true }
                    }
                }));
            }
        } else {
            for state in self.states() {
                steps.extend(within(state, true, &inside));
            }
        }
        let regions = self.regions.split(self.classes(), is_in, runs.max);
        Some(Dfa::from_steps(steps, 1, 2, regions))
    }

    /// Whether each text of up to `max` characters of a set is one piece.
    fn leaves_whole(&self, set: ClassSet, max: usize) -> bool {
        let classes: Vec<u8> = self.classes().filter(|&class| set.contains(class)).collect();
        let mut texts = vec![Vec::new()];
        for _ in 0..max {
            if texts.len() * classes.len() > MOST_TRIED {
                return false;
            }
            texts = texts
                .iter()
                .flat_map(|text: &Vec<u8>| classes.iter().map(move |&class| [&text[..], &[class]].concat()))
                .collect();
            if !texts.iter().all(|text| self.is_one_piece(text)) {
                return false;
            }
        }
        true
    }

    fn is_one_piece(&self, text: &[u8]) -> bool {
        match self.match_in(text) {
            Some(end) => end == text.len(),
            None => {
                (1..text.len()).all(|at| self.match_in(&text[at..]).is_none())
                    && text.iter().all(|&class| self.regions.of(class) == self.regions.of(text[0]))
            }
        }
    }

    /// The length of the match that a text of classes starts with.
    fn match_in(&self, text: &[u8]) -> Option<usize> {
        let (mut state, mut end) = (self.start, None);
        for (at, &class) in text.iter().chain(&[END]).enumerate() {
            let step = self.step(state, class);
            if step.is_match {
                end = Some(at);
            }
            state = step.next;
        }
        end
    }
}
