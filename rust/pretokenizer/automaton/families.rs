//! Which family of the block scanner an automaton belongs to, if to any.
//!
//! The pieces of a few texts tell which member it could be; that it is that one is then proven: the automaton of the
//! member's own pattern must be equal. So any spelling gets the fast way, and no other pattern does.

use super::{Automaton, Compiled, Progress, compile, equal::equal};
use crate::pretokenizer::{cl100k, named::Family, o200k};
use std::collections::HashSet;

impl Automaton {
    /// The family.
    pub fn family(&self) -> Option<Family> {
        let candidate = self.candidate()?;
        match &compile(&[&candidate.pattern()])[..] {
            [Compiled::Automaton(member)] if self.splits_like(member) => Some(candidate),
            _ => None,
        }
    }

    /// The member that splits a few texts alike.
    fn candidate(&self) -> Option<Family> {
        // The end of the first piece.
        let first = |text: &str| {
            let mut ends = [0];
            let num_ends = self.next_ends(text.as_bytes(), 0, &mut Progress::default(), &mut ends);
            if num_ends == 1 { ends[0] as usize } else { 0 }
        };
        let digits = u8::try_from(first("1111")).unwrap_or(0);
        Some(match (first("aB"), first(".a"), digits) {
            (2, 1, 4) => Family::Gpt2,
            (2, 2, 1..=3) => Family::Cl100k(cl100k::Options { digits, marks: first("a\u{301}") == 3 }),
            (1, 2, 1..=3) => Family::O200k(o200k::Options { digits, contractions: first("a's") == 3 }),
            _ => return None,
        })
    }

    fn splits_like(&self, other: &Self) -> bool {
        let (Some(own), Some(others)) = (&self.scanner, &other.scanner) else { return false };
        // Where everything matches, it does not matter what becomes of characters that do not.
        let matches_all = |scanner: &super::Scanner| {
            let dfa = scanner.dfa();
            let always = dfa.always_match();
            dfa.classes().skip(1).all(|class| always[dfa.step(dfa.start, class).next as usize])
        };
        let classes: HashSet<(u8, u8)> =
            ('\0'..=char::MAX).map(|c| (self.classes.of(c), other.classes.of(c))).chain([(0, 0)]).collect();
        let classes: Vec<_> = classes.into_iter().collect();
        matches_all(own) && matches_all(others) && equal(own.dfa(), others.dfa(), &classes)
    }
}
