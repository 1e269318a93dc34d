//! Text to pieces by a table: the deterministic automaton, with the end of one piece and the start of the next in one step.
//!
//! Most pieces end exactly where the automaton dies, with the last match just seen. There the table leads straight to the
//! state after the first character of the next piece, with a flag that says "a piece ends here"; the flag is added to the
//! number of ends, so no branch depends on where pieces end. The same holds for characters that the pattern does not
//! match, a piece together. What remains is left to a slower way: going back to an earlier match, as `\s+(?!\S)` does at
//! the end of an indentation, and characters that may or may not start a match.
//!
//! Cost: one load that depends on the one before for each character, six cycles, and a branch that is foreseen wrongly for
//! each time that the scanner goes back.
//!
//! Going back can cost more than linear time: `a*b|a` reads all of `aaaa…` for each piece. The scanner counts what it
//! reads again; if that passes a multiple of the text, it gives up, and the caller uses [`super::backward`].

use super::{
    alphabet::END,
    dfa::{DEAD, Dfa, Step},
};
use crate::pretokenizer::classes::Classes;
use std::sync::Arc;

/// A piece ends before this character.
const ENDS: u32 = 1 << 31;
/// A match ends before this character, or a piece starts with it.
const MARK: u32 = 1 << 30;
/// The table does not say.
const SLOW: u32 = 1 << 29;
/// What is left: where the row of the next state begins.
const ROW: u32 = SLOW - 1;

/// How often the text may be read again, and a number of bytes that are always free.
const MOST_AGAIN: (usize, usize) = (8, 1 << 16);

/// The scanner of one pattern.
#[derive(Debug)]
pub struct Scanner {
    dfa: Dfa,
    classes: Arc<Classes>,
    ascii: [u8; 128],
    /// By row, by class: flags and the next row. The rows are the states of the automaton, then [`Self::gaps`].
    table: Vec<u32>,
    /// The first row of those within characters that the pattern does not match, one for each region.
    gaps: usize,
    /// Whether the start of the text makes a difference.
    knows_text_start: bool,
}

/// That going back has cost too much.
#[derive(Debug)]
pub struct Quadratic {
    /// How many ends were found before.
    pub num_ends: usize,
}

impl Scanner {
    /// Makes the table.
    pub fn new(dfa: Dfa, classes: Arc<Classes>) -> Self {
        let num_classes = dfa.num_classes();
        let gaps = dfa.num_states();
        let num_regions = dfa.regions.len();
        let always_match = dfa.always_match();
        let row = |state: usize| u32::try_from(state * num_classes).unwrap_or(SLOW);
        let gap = |class: u8| row(gaps + dfa.regions.of(class));
        // What follows where a piece starts.
        let begin = |start: u32, class: u8| {
            let next = dfa.step(start, class).next;
            if next == DEAD { gap(class) } else { row(next as usize) }
        };
        let mut table = Vec::with_capacity((gaps + num_regions) * num_classes);
        for state in 0..u32::try_from(gaps).unwrap_or(0) {
            for class in dfa.classes() {
                let step = dfa.step(state, class);
                table.push(match () {
                    () if class == END || state == DEAD => SLOW,
                    () if state == dfa.start || state == dfa.text_start => begin(state, class) | MARK,
                    () if step.next != DEAD => row(step.next as usize) | if step.is_match { MARK } else { 0 },
                    () if step.is_match => begin(dfa.start, class) | ENDS | MARK,
                    () => SLOW,
                });
            }
        }
        for region in 0..num_regions {
            for class in dfa.classes() {
                let step = dfa.step(dfa.start, class);
                let new_region = dfa.regions.of(class) != region;
                table.push(match () {
                    () if class == END => SLOW,
                    () if new_region || step.is_match => begin(dfa.start, class) | ENDS | MARK,
                    () if step.next == DEAD => gap(class),
                    () if always_match[step.next as usize] => row(step.next as usize) | ENDS | MARK,
                    () => SLOW,
                });
            }
        }
        let ascii = std::array::from_fn(|byte| classes.of_byte(u8::try_from(byte).unwrap_or(0)));
        let knows_text_start =
            dfa.classes().any(|class| dfa.step(dfa.start, class) != dfa.step(dfa.text_start, class));
        Self { dfa, classes, ascii, table, gaps, knows_text_start }
    }

    /// The automaton.
    pub fn dfa(&self) -> &Dfa {
        &self.dfa
    }

    /// Writes the ends of the next pieces of `text` from `start` on, where a piece starts; returns how many: `ends.len()`
    /// unless the text is done.
    ///
    /// # Errors
    /// [`Quadratic`] if going back costs too much and `may_give_up`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    pub fn next_ends(
        &self,
        text: &[u8],
        start: usize,
        may_give_up: bool,
        ends: &mut [u32],
    ) -> Result<usize, Quadratic> {
        let num_classes = self.dfa.num_classes();
        let (mut num_ends, mut at, mut again) = (0, start, 0);
        while num_ends < ends.len() && at < text.len() {
            let mut row = self.start_at(text, at) as usize * num_classes;
            let mut mark = at;
            let class = loop {
                // Each character ends one piece at the most.
                let limit = text.len().min(at + ends.len() - num_ends);
                let mut stopped = None;
                while at < limit {
                    let byte = text[at];
                    let (class, len) = if byte < 0x80 {
                        (self.ascii[usize::from(byte)], 1)
                    } else {
                        self.classes.at_wide(text, at)
                    };
                    let entry = self.table[row + usize::from(class)];
                    ends[num_ends] = at as u32;
                    num_ends += (entry >> 31) as usize;
                    mark = if entry & MARK == 0 { mark } else { at };
                    if entry & SLOW != 0 {
                        stopped = Some(class);
                        break;
                    }
                    row = (entry & ROW) as usize;
                    at += len;
                }
                if let Some(class) = stopped {
                    break class;
                }
                if num_ends == ends.len() {
                    return Ok(num_ends);
                }
                if at >= text.len() {
                    break END;
                }
            };
            let piece = if num_ends == 0 { start } else { ends[num_ends - 1] as usize };
            let state = row / num_classes;
            let step = if state < self.gaps { self.dfa.step(state as u32, class) } else { Step::default() };
            let most = if may_give_up { MOST_AGAIN.0 * (at - start) + MOST_AGAIN.1 } else { usize::MAX };
            let last_match = if step.is_match { at } else { mark };
            let end = if state < self.gaps && step.next == DEAD && last_match > piece {
                last_match
            } else {
                self.exact_end(text, piece, most, &mut again).ok_or(Quadratic { num_ends })?
            };
            again += at.saturating_sub(end);
            if again > most {
                return Err(Quadratic { num_ends });
            }
            ends[num_ends] = end as u32;
            num_ends += 1;
            at = end;
        }
        Ok(num_ends)
    }

    /// The end of the piece that starts at `piece`, found by definition. Adds to `again` what is read; `None` if that
    /// becomes more than `most`.
    fn exact_end(&self, text: &[u8], piece: usize, most: usize, again: &mut usize) -> Option<usize> {
        let mut at = piece;
        loop {
            let (class, len) = self.classes.at(text, at);
            if class == END {
                return Some(if at == piece { at + 1 } else { at });
            }
            match self.match_end(text, at, again) {
                Some(end) if at == piece && end > at => return Some(end),
                Some(_) if at > piece => return Some(at),
                _ => {}
            }
            if *again > most {
                return None;
            }
            at += len;
            let (next, _) = self.classes.at(text, at);
            if self.dfa.regions.of(next) != self.dfa.regions.of(class) {
                return Some(at);
            }
        }
    }

    /// The end of the match that starts at `start`, if there is one.
    fn match_end(&self, text: &[u8], start: usize, again: &mut usize) -> Option<usize> {
        let (mut state, mut at, mut end) = (self.start_at(text, start), start, None);
        loop {
            let (class, len) = self.classes.at(text, at);
            let step = self.dfa.step(state, class);
            if step.is_match {
                end = Some(at);
            }
            if step.next == DEAD {
                *again += at - start + 1;
                return end;
            }
            (state, at) = (step.next, at + len);
        }
    }

    /// The state that a match at `at` starts in.
    fn start_at(&self, text: &[u8], at: usize) -> u32 {
        if self.knows_text_start && starts_text(&self.classes, text, at) {
            self.dfa.text_start
        } else {
            self.dfa.start
        }
    }
}

/// Whether a run of valid characters starts at `at`: no character ends there.
pub fn starts_text(classes: &Classes, text: &[u8], at: usize) -> bool {
    !(1..=4.min(at)).any(|back| {
        let (class, len) = classes.at(text, at - back);
        class != END && len == back
    })
}
