//! Where text can be cut, as the automaton shows.
//!
//! A cut between two characters is *harmless* if the pieces of the whole text are those of its left part and those of its
//! right part, but for one piece that may go over the cut. It is *sure* if in addition a piece always ends there. In a
//! sequence of patterns, of which each splits the pieces of the one before, a cut can be used if it is harmless for each
//! pattern up to the first for which it is sure: what comes after that one never sees both sides.
//!
//! For a forward automaton a cut is harmless if each state that is entered with the character before dies on the character
//! after, with a match there exactly if there is one at the end of a text: so every match found from the left ends alike,
//! whatever follows. It is sure if the character before is always part of a match by itself, or the one after always
//! starts one.

use super::alphabet::END;
use super::dfa::{DEAD, Dfa};

/// Whether a cut between two classes is harmless, and if so whether it is sure.
pub fn cut(dfa: &Dfa, always_match: &[bool], before: u8, after: u8) -> Option<bool> {
    if dfa.step(dfa.start, after) != dfa.step(dfa.text_start, after) {
        return None;
    }
    for state in dfa.states() {
        let entered = dfa.step(state, before).next;
        if entered == DEAD {
            continue;
        }
        let (there, at_end) = (dfa.step(entered, after), dfa.step(entered, END));
        if there.next != DEAD || there.is_match != at_end.is_match {
            return None;
        }
    }
    let is_whole = |start: u32| {
        let entered = dfa.step(start, before).next;
        entered != DEAD && dfa.step(entered, after).is_match
    };
    let starts = dfa.step(dfa.start, after);
    Some(
        dfa.regions.of(before) != dfa.regions.of(after)
            || starts.is_match
            || always_match[starts.next as usize]
            || (is_whole(dfa.start) && is_whole(dfa.text_start)),
    )
}
