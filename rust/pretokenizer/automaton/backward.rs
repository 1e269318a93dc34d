//! Text to pieces in two passes, linear for every pattern: from right to left, then from left to right.
//!
//! The first pass runs an automaton over the text from its end and writes down its state at each character. Such a state
//! is the set of all states of the NFA from which the rest of the text leads to a match, look-ahead of any kind included.
//! The second pass then never goes back: at each choice it takes the first way that is known to lead to a match (Frisch
//! and Cardelli, "Greedy Regular Expression Matching", 2004, <https://doi.org/10.1007/978-3-540-27836-8_53>).
//!
//! Needed for digits grouped from the right and other look-ahead past one character, and where the forward scanner goes
//! back too often. Characters that start no match are passed over, and the first pass goes no further than to a character
//! before which the state is always the same. What is left costs two passes and two bytes of memory for each byte
//! between such places.

use super::{
    alphabet::{Alphabet, ClassSet, END},
    fuse::Regions,
    nfa::{Nfa, State, StateId},
    scan::starts_text,
    syntax::Unsupported,
};
use crate::pretokenizer::classes::Classes;
use std::{collections::HashMap, sync::Arc};

/// The two automata.
#[derive(Debug)]
pub struct Backward {
    classes: Arc<Classes>,
    num_classes: usize,
    /// By state of the first pass, by class before it: the state there.
    steps: Vec<u16>,
    /// The same if the text starts there.
    text_start_steps: Vec<u16>,
    /// By state of the first pass, by number of a place in the pattern: where the second pass goes on.
    ways: Vec<Way>,
    /// By place, the characters behind which it stands; none for the start.
    entered_by: Vec<ClassSet>,
    /// By class, whether no match starts with it, whatever follows.
    inert: Vec<bool>,
    /// By class, whether the first pass has the same state before it, whatever follows.
    resets: Vec<bool>,
    regions: Regions,
    /// By region, by byte, whether it is an ASCII character there with which no match starts.
    passed: Vec<[bool; 256]>,
}

/// What the second pass does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is no match from here.
    None,
    /// The match ends.
    Match,
    /// It takes the character and goes on at this place.
    Read(u16),
}

/// The state of the first pass at the end of the text.
const TEXT_END: u16 = 0;

/// The most states of the first pass.
const MAX_STATES: usize = 4096;

/// The most entries of the table of ways.
const MAX_WAYS: usize = 1 << 22;

/// How many bytes the first pass goes over at the least where a match could read on.
const ENOUGH: usize = 1024;

/// A stretch of text with the states of the first pass.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    start: usize,
    /// The last place with a known state.
    last: usize,
    /// By byte from `start` on, at the first bytes of characters and at the end.
    states: Vec<u16>,
}

impl Prepared {
    /// Forgets the text.
    pub fn clear(&mut self) {
        self.states.clear();
    }

    fn knows(&self, at: usize) -> bool {
        !self.states.is_empty() && (self.start..=self.last).contains(&at)
    }
}

impl Backward {
    /// Makes the automata.
    ///
    /// # Errors
    /// If they would be too large.
    pub fn new(nfa: &Nfa, alphabet: &Alphabet, classes: Arc<Classes>) -> Result<Self, Unsupported> {
        let too_large = || format!("its look-ahead needs more than {MAX_STATES} states");
        let num_classes = alphabet.num_classes();
        let order = order(nfa);
        let mut sets: Vec<Vec<bool>> = Vec::new();
        let mut ids: HashMap<Vec<bool>, u16> = HashMap::new();
        let mut id_of = |sets: &mut Vec<Vec<bool>>, set: Vec<bool>| -> Result<u16, Unsupported> {
            if let Some(&id) = ids.get(&set) {
                return Ok(id);
            }
            if sets.len() >= MAX_STATES || sets.len() * set.len() > MAX_WAYS * 4 {
                return Err(too_large());
            }
            let id = u16::try_from(sets.len()).map_err(|_| too_large())?;
            sets.push(set.clone());
            ids.insert(set, id);
            Ok(id)
        };
        let nothing = vec![false; nfa.states.len()];
        id_of(&mut sets, accepted(nfa, &order, &nothing, END, false))?;
        let (mut steps, mut text_start_steps) = (Vec::new(), Vec::new());
        let mut done = 0;
        while done < sets.len() {
            let after = sets[done].clone();
            for class in 0..num_classes {
                let class = u8::try_from(class).unwrap_or(END);
                if class == END {
                    steps.push(TEXT_END);
                    text_start_steps.push(TEXT_END);
                    continue;
                }
                steps.push(id_of(&mut sets, accepted(nfa, &order, &after, class, false))?);
                text_start_steps.push(id_of(&mut sets, accepted(nfa, &order, &after, class, true))?);
            }
            done += 1;
        }
        // The places that the second pass can stand at: the start, and behind each character.
        let mut places = vec![nfa.start];
        let mut entered_by = vec![ClassSet::default()];
        let mut place_of: HashMap<StateId, u16> = HashMap::new();
        for state in &nfa.states {
            let State::Read(set, next) = state else { continue };
            // The start may be read into as well; it is a place of its own then.
            let place = if let Some(&place) = place_of.get(next) {
                place
            } else {
                let place = u16::try_from(places.len()).map_err(|_| too_large())?;
                place_of.insert(*next, place);
                places.push(*next);
                entered_by.push(ClassSet::default());
                place
            };
            entered_by[usize::from(place)].extend(*set);
        }
        if places.len() * sets.len() > MAX_WAYS {
            return Err(too_large());
        }
        let ways = sets.iter().flat_map(|set| places.iter().map(|&place| way(nfa, set, place, &place_of)));
        let ways = ways.collect();
        let regions = Regions::one(num_classes);
        let (inert, resets, passed) = (Vec::new(), Vec::new(), Vec::new());
        let mut backward = Self {
            classes,
            num_classes,
            steps,
            text_start_steps,
            ways,
            entered_by,
            inert,
            resets,
            regions,
            passed,
        };
        let states = |class: usize| (0..sets.len()).map(move |state| state * num_classes + class);
        let no_match = |state: &u16| backward.row(usize::from(*state))[0] == Way::None;
        let is_inert = |class| {
            states(class)
                .all(|index| no_match(&backward.steps[index]) && no_match(&backward.text_start_steps[index]))
        };
        let is_reset = |class| states(class).all(|index| backward.steps[index] == backward.steps[class]);
        let inert = (0..num_classes).map(|class| class != usize::from(END) && is_inert(class)).collect();
        let resets = (0..num_classes).map(|class| class == usize::from(END) || is_reset(class)).collect();
        (backward.inert, backward.resets) = (inert, resets);
        backward.set_regions(backward.regions.clone());
        Ok(backward)
    }

    /// Makes each run of characters of a region a text of its own.
    pub fn set_regions(&mut self, regions: Regions) {
        let mut passed = vec![[false; 256]; regions.len()];
        for byte in 0..0x80 {
            let class = self.classes.of_byte(byte);
            passed[regions.of(class)][usize::from(byte)] = self.inert[usize::from(class)];
        }
        (self.regions, self.passed) = (regions, passed);
    }

    /// Makes each run of characters of a set, and each run of others, a text of its own; returns whether that can be done.
    pub fn isolate(&mut self, set: ClassSet) -> bool {
        // Where a text starts is looked for in the bytes before it.
        if self.steps != self.text_start_steps {
            return false;
        }
        let classes = 0..u8::try_from(self.num_classes).unwrap_or(u8::MAX);
        self.set_regions(self.regions.split(classes, |class| set.contains(class), None));
        true
    }

    /// The region of a class.
    pub fn region(&self, class: u8) -> usize {
        self.regions.of(class)
    }

    /// Whether no match starts with a character of this class, whatever follows.
    pub fn is_inert(&self, class: u8) -> bool {
        self.inert[usize::from(class)]
    }

    /// Runs the first pass over what follows `start`: to the end of the text or of the region, or to a character before which
    /// the state does not depend on what follows.
    fn prepare(&self, text: &[u8], start: usize, prepared: &mut Prepared) {
        let (mut class, mut len) = self.classes.at(text, start);
        let region = self.regions.of(class);
        let (mut at, mut last) = (start, start);
        let mut is_reset = false;
        while class != END && self.regions.of(class) == region && !is_reset {
            last = at;
            let is_enough = self.inert[usize::from(class)] || at - start > ENOUGH;
            is_reset = self.resets[usize::from(class)] && is_enough && at > start;
            at += len;
            (class, len) = self.classes.at(text, at);
        }
        (prepared.start, prepared.last) = (start, if is_reset { last } else { at });
        prepared.states.clear();
        prepared.states.resize(at - start + 1, TEXT_END);
        let starts_text = starts_text(&self.classes, text, start);
        let mut state = TEXT_END;
        while at > start {
            at -= 1;
            while text[at] & 0xC0 == 0x80 {
                at -= 1;
            }
            let class = self.classes.at(text, at).0;
            let index = usize::from(state) * self.num_classes + usize::from(class);
            state = if at == start && starts_text { self.text_start_steps[index] } else { self.steps[index] };
            prepared.states[at - start] = state;
        }
    }

    /// Writes the ends of the next pieces from `start` on; returns how many: `ends.len()` unless the text is done.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    pub fn next_ends(&self, text: &[u8], start: usize, prepared: &mut Prepared, ends: &mut [u32]) -> usize {
        let (mut num_ends, mut at) = (0, start);
        while num_ends < ends.len() && at < text.len() {
            at = self.piece_end(text, at, prepared);
            ends[num_ends] = at as u32;
            num_ends += 1;
        }
        num_ends
    }

    fn piece_end(&self, text: &[u8], piece: usize, prepared: &mut Prepared) -> usize {
        let (class, len) = self.classes.at(text, piece);
        if class == END {
            return piece + 1; // no part of a character
        }
        let region = self.regions.of(class);
        let mut at = piece;
        if let Some(longest) = self.regions.longest(class) {
            for _ in 0..longest {
                let (class, len) = self.classes.at(text, at);
                at += if class != END && self.regions.of(class) == region { len } else { 0 };
            }
            return at;
        }
        let (mut class, mut len) = (class, len);
        loop {
            if self.inert[usize::from(class)] {
                // Most text in practice, so without a look at each character's class and region.
                let passed = &self.passed[region];
                let num_passed = text[at..].iter().take_while(|&&byte| passed[usize::from(byte)]).count();
                len = len.max(num_passed);
            } else {
                match self.match_end(text, at, prepared) {
                    Some(end) if at == piece && end > at => return end,
                    Some(_) if at > piece => return at,
                    _ => {}
                }
            }
            at += len;
            (class, len) = self.classes.at(text, at);
            if class == END || self.regions.of(class) != region {
                return at;
            }
        }
    }

    fn match_end(&self, text: &[u8], start: usize, prepared: &mut Prepared) -> Option<usize> {
        let (mut place, mut at) = (0, start);
        loop {
            if !prepared.knows(at) {
                self.prepare(text, at, prepared);
            }
            let state = usize::from(prepared.states[at - prepared.start]);
            match self.ways[state * self.entered_by.len() + usize::from(place)] {
                Way::None => return None,
                Way::Match => return Some(at),
                Way::Read(next) => {
                    at += self.classes.at(text, at).1;
                    place = next;
                }
            }
        }
    }

    /// Whether text may be cut between characters of two classes, and whether a piece surely ends there: see
    /// [`super::cuts`].
    pub fn cut(&self, before: u8, after: u8) -> Option<bool> {
        let num_states = self.steps.len() / self.num_classes;
        let index = |state: usize, class: u8| state * self.num_classes + usize::from(class);
        let step = |state: usize, class: u8| usize::from(self.steps[index(state, class)]);
        let text_start_step =
            |state: usize, class: u8| usize::from(self.text_start_steps[index(state, class)]);
        let end = usize::from(TEXT_END);
        let places: Vec<usize> =
            (0..self.entered_by.len()).filter(|&place| self.entered_by[place].contains(before)).collect();
        if self.regions.of(before) != self.regions.of(after) {
            return Some(true);
        }
        let mut surely = true;
        for state in 0..num_states {
            let there = step(state, after);
            // The right part is split as if no text came before, the left part as if none came after, and no match goes on
            // over the cut.
            if self.row(there)[0] != self.row(text_start_step(state, after))[0]
                || step(there, before) != step(end, before)
                || text_start_step(there, before) != text_start_step(end, before)
                || places.iter().any(|&place| self.row(there)[place] != self.row(end)[place])
            {
                return None;
            }
            surely &= self.row(there)[0] != Way::None;
        }
        let is_read = |state: usize| matches!(self.row(state)[0], Way::Read(_));
        Some(surely || (is_read(step(end, before)) && is_read(text_start_step(end, before))))
    }

    fn row(&self, state: usize) -> &[Way] {
        &self.ways[state * self.entered_by.len()..(state + 1) * self.entered_by.len()]
    }
}

/// The states of the NFA in an order in which those that a state leads to without reading come before it.
fn order(nfa: &Nfa) -> Vec<StateId> {
    let mut order = Vec::with_capacity(nfa.states.len());
    let mut seen = vec![false; nfa.states.len()];
    for root in 0..nfa.states.len() {
        let mut stack = vec![(root, false)];
        while let Some((state, done)) = stack.pop() {
            if done {
                order.push(StateId::try_from(state).unwrap_or(StateId::MAX));
                continue;
            }
            if std::mem::replace(&mut seen[state], true) {
                continue;
            }
            stack.push((state, true));
            let next: &[StateId] = match &nfa.states[state] {
                State::Match | State::Read(..) => &[],
                State::Split(first, second) => &[*first, *second],
                State::Next(_, next) | State::StartOfText(next) => &[*next],
                State::Look { start, next, .. } => &[*start, *next],
            };
            stack.extend(next.iter().map(|&next| (next as usize, false)));
        }
    }
    order
}

/// The states from which a text that begins with `class` leads to a match, where `after` are those behind that character.
fn accepted(nfa: &Nfa, order: &[StateId], after: &[bool], class: u8, text_starts: bool) -> Vec<bool> {
    let mut now = vec![false; nfa.states.len()];
    for &state in order {
        now[state as usize] = match nfa.states[state as usize] {
            State::Match => true,
            State::Read(set, next) => set.contains(class) && after[next as usize],
            State::Split(first, second) => now[first as usize] || now[second as usize],
            State::Next(set, next) => set.contains(class) && now[next as usize],
            State::Look { start, negative, next } => now[start as usize] != negative && now[next as usize],
            State::StartOfText(next) => text_starts && now[next as usize],
        };
    }
    now
}

/// The first way from a place that leads to a match.
fn way(nfa: &Nfa, set: &[bool], place: StateId, place_of: &HashMap<StateId, u16>) -> Way {
    let mut state = place;
    if !set[state as usize] {
        return Way::None;
    }
    loop {
        match nfa.states[state as usize] {
            State::Match => return Way::Match,
            State::Read(_, next) => return Way::Read(place_of.get(&next).copied().unwrap_or(0)),
            State::Split(first, second) => state = if set[first as usize] { first } else { second },
            State::Next(_, next) | State::Look { next, .. } | State::StartOfText(next) => state = next,
        }
    }
}
