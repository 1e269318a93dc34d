//! Text to pieces by the table of a [`Transducer`].
//!
//! Nearly all that is said is of the character that was just read or of the one before, so an entry of the table has a flag
//! for each of the two, and no branch depends on where pieces end. What is said later is looked up in the transducer.
//!
//! ASCII goes 64 bytes at a time if there are no more than sixteen states ([`Classify::walk`]), as with all sequences that are
//! known: three to five cycles for each byte with all that becomes of its pieces, about twice what the block scanner takes.
//! Other characters cost a load each that depends on the one before.

use super::{
    alphabet::END,
    transducer::{Move, Transducer},
};
use crate::pretokenizer::{
    classes::Classes,
    simd::{Classify, Level, Step, Steps, Task},
};
use std::sync::Arc;

/// What a state does on a class.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    next: u16,
    flags: u16,
}

/// Text is cut before the character that is read.
const HERE: usize = 0;
/// Text is cut before the character that was read before it.
const BEFORE: usize = 1;
/// What is said is in the transducer.
const LATE: usize = 2;

/// The most ends that one character makes: those that wait, itself, and the one after an invalid byte.
const MOST_ENDS: usize = 16;
/// The room that is needed to go on: for a block, and for what one more character makes.
const ROOM: usize = 64 + 2 * MOST_ENDS;

/// A transducer with the classes of characters.
#[derive(Debug)]
pub struct Transduce {
    transducer: Transducer,
    classes: Arc<Classes>,
    /// By class, by state.
    table: Vec<Entry>,
    /// The same for ASCII, if there are few states.
    steps: Option<Steps>,
    /// By class before and class after: see [`Transducer::safe_cuts`].
    safe_cuts: Vec<bool>,
}

/// Where a text is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    state: u16,
    at: usize,
    /// The character before.
    before: usize,
    /// Ends for which there was no room.
    left: Vec<u32>,
    is_done: bool,
}

impl Transduce {
    /// Makes the table.
    pub fn new(transducer: Transducer, classes: Arc<Classes>) -> Self {
        let states = 0..transducer.num_states();
        let classes_and_states =
            (0..transducer.num_classes()).flat_map(|class| states.clone().map(move |state| (class, state)));
        let table: Vec<Entry> =
            classes_and_states.map(|(class, state)| entry(&transducer, state, class)).collect();
        let step = |byte: usize| {
            let column = usize::from(classes.of_byte(u8::try_from(byte).unwrap_or(0))) * states.len();
            let mut step = Step::default();
            for (step, entry) in step.0.iter_mut().zip(&table[column..column + states.len()]) {
                *step = u8::try_from(entry.next | entry.flags << 4).unwrap_or(0);
            }
            step
        };
        let few_states = states.len() <= Step::default().0.len();
        let steps = few_states.then(|| Steps(Box::new(std::array::from_fn(step))));
        let safe_cuts = transducer.safe_cuts();
        Self { transducer, classes, table, steps, safe_cuts }
    }

    /// Whether text may be cut between two characters.
    pub fn is_safe_cut(&self, before: char, after: char) -> bool {
        let class = |character| usize::from(self.classes.of(character));
        self.safe_cuts[class(before) * self.transducer.num_classes() + class(after)]
    }

    /// Writes the ends of the next pieces of `text`; returns how many: `ends.len()` unless the text is done.
    pub fn next_ends(&self, level: Level, text: &[u8], place: &mut Place, ends: &mut [u32]) -> usize {
        let mut num_ends = 0;
        loop {
            let left = place.left.len().min(ends.len() - num_ends);
            ends[num_ends..num_ends + left].copy_from_slice(&place.left[..left]);
            place.left.drain(..left);
            num_ends += left;
            if num_ends == ends.len() || place.is_done {
                return num_ends;
            }
            if ends.len() - num_ends >= ROOM {
                num_ends += level.run(Run { all: self, text, place, ends: &mut ends[num_ends..] });
            } else {
                let mut some = [0; 2 * ROOM];
                let num_some = level.run(Run { all: self, text, place, ends: &mut some });
                place.left.extend_from_slice(&some[..num_some]);
            }
        }
    }

    #[inline(always)]
    fn entry(&self, class: u8, state: u16) -> Entry {
        let column = usize::from(class) * self.transducer.num_states();
        self.table[column..column + self.transducer.num_states()][usize::from(state)]
    }

    /// Writes all ends that a state says on a class, the character of which is at `at`.
    #[cold]
    #[expect(clippy::cast_possible_truncation, reason = "as above")]
    fn say(&self, text: &[u8], (state, class): (u16, u8), at: usize, ends: &mut [u32]) -> usize {
        let state = usize::from(state);
        let cuts = &self.transducer.at(state, usize::from(class)).cuts;
        let mut num_ends = 0;
        // From the last to the first.
        let mut start = at;
        for back in 0..=self.transducer.num_waiting(state) {
            if back > 0 {
                start -= 1;
                while text[start] & 0xC0 == 0x80 {
                    start -= 1;
                }
            }
            let index = self.transducer.num_waiting(state) - back;
            if cuts.get(index) == Some(&true) {
                ends[num_ends] = start as u32;
                num_ends += 1;
            }
        }
        ends[..num_ends].reverse();
        num_ends
    }
}

/// Writes ends as long as there surely is room, or until the text is done.
struct Run<'a> {
    all: &'a Transduce,
    text: &'a [u8],
    place: &'a mut Place,
    ends: &'a mut [u32],
}

impl Task for Run<'_> {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    fn run<C: Classify>(self, classify: C) -> usize {
        let Self { all, text, place, ends } = self;
        let (mut state, mut at, mut before) = (place.state, place.at, place.before);
        let mut num_ends = 0;
        while at < text.len() && ends.len() - num_ends >= ROOM {
            let byte = text[at];
            if let (Some(steps), true, true) = (&all.steps, C::USES_MASKS, byte < 0x80) {
                let rest = &text[at..];
                let mut copy = [0xFF; 64];
                let block = if let Some(block) = rest.first_chunk::<64>() {
                    block
                } else {
                    copy[..rest.len()].copy_from_slice(rest);
                    &copy
                };
                let mut len = classify.masks(block).wide.trailing_zeros() as usize;
                let mut walk = classify.walk(steps, state as u8, block, len);
                if walk.flags[LATE] != 0 {
                    len = walk.flags[LATE].trailing_zeros() as usize;
                    walk = classify.walk(steps, state as u8, block, len);
                }
                ends[num_ends] = before as u32;
                num_ends += (walk.flags[BEFORE] & 1) as usize;
                let cuts = walk.flags[HERE] | walk.flags[BEFORE] >> 1;
                if let Some(room) = ends[num_ends..].first_chunk_mut() {
                    classify.write_positions(cuts, at as u32, room);
                    num_ends += cuts.count_ones() as usize;
                }
                state = walk.state.into();
                if len > 0 {
                    at += len;
                    before = at - 1;
                    continue;
                }
            }
            let (class, len) = all.classes.at(text, at);
            let entry = all.entry(class, state);
            if entry.flags >> LATE & 1 == 0 {
                ends[num_ends] = before as u32;
                num_ends += usize::from(entry.flags >> BEFORE & 1);
                ends[num_ends] = at as u32;
                num_ends += usize::from(entry.flags >> HERE & 1);
            } else {
                num_ends += all.say(text, (state, class), at, &mut ends[num_ends..]);
                if class == END {
                    ends[num_ends] = at as u32;
                    num_ends += usize::from(at > 0);
                }
            }
            before = at;
            at += if class == END { 1 } else { len };
            state = entry.next;
        }
        if at >= text.len() && ends.len() - num_ends >= MOST_ENDS {
            num_ends += all.say(text, (state, END), at, &mut ends[num_ends..]);
            ends[num_ends] = at as u32;
            num_ends += usize::from(at > 0);
            place.is_done = true;
        }
        if place.at == 0 && num_ends > 0 && ends[0] == 0 {
            // The text begins there, and no piece ends.
            ends.copy_within(1..num_ends, 0);
            num_ends -= 1;
        }
        (place.state, place.at, place.before) = (state, at, before);
        num_ends
    }
}

fn entry(transducer: &Transducer, state: usize, class: usize) -> Entry {
    let Move { next, cuts } = transducer.at(state, class);
    let mut flags = 0;
    for index in (0..cuts.len()).filter(|&index| cuts[index]) {
        flags |= match transducer.num_waiting(state) - index {
            0 => 1 << HERE,
            1 => 1 << BEFORE,
            _ => 1 << LATE,
        };
    }
    if class == usize::from(END) {
        flags = 1 << LATE;
    }
    Entry { next: u16::try_from(*next).unwrap_or(0), flags }
}
