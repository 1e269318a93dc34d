//! Whether two automata split every text alike.
//!
//! Both run over the same text, in all ways at once: a search over pairs of states, with whether the last matches of both
//! end at the same place (Hopcroft and Karp, "A linear algorithm for testing equivalence of finite automata", 1971,
//! without their union-find, as these automata are small). They are equal if that holds whenever both are dead.

use super::dfa::{DEAD, Dfa};
use std::collections::HashSet;

/// Whether both find the same matches, where `classes` are the pairs of classes that some character has in them.
pub fn equal(left: &Dfa, right: &Dfa, classes: &[(u8, u8)]) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![(left.start, right.start, true), (left.text_start, right.text_start, true)];
    while let Some((a, b, same)) = open.pop() {
        if a == DEAD && b == DEAD {
            if !same {
                return false;
            }
            continue;
        }
        if !seen.insert((a, b, same)) {
            continue;
        }
        for &(in_left, in_right) in classes {
            let (a, b) = (left.step(a, in_left), right.step(b, in_right));
            let same = (a.is_match && b.is_match) || (same && a.is_match == b.is_match);
            open.push((a.next, b.next, same));
        }
    }
    true
}
