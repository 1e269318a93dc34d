//! Patterns compiled to automata that split text in linear time.
//!
//! ```text
//! pattern -syntax-> tree -alphabet-> classes of characters -nfa-> states with priorities -dfa-> table -scan-> pieces
//!                                                               \-backward-> two passes, for far look-ahead
//!                                                               \-machine, transducer-> one table for a sequence -transduce-> pieces
//! ```
//!
//! Everything that is regular is compiled: look-ahead of any kind, lazy and possessive quantifiers, `\A`, `\z`. What is not
//! (look-behind, references to groups, most word boundaries) says why, and the caller runs a regex engine instead.
//!
//! Rejected: `regex-automata`, whose tables know bytes instead of classes (thousands of states for `\p{L}` in UTF-8, 40
//! times the memory and a tenth of a second to build for `cl100k`), which has no look-ahead, and which says nothing about
//! where text may be cut.

mod alphabet;
mod backward;
mod cuts;
mod dfa;
mod equal;
mod families;
mod fuse;
mod machine;
mod nfa;
mod scan;
mod syntax;
mod transduce;
mod transducer;

use crate::pretokenizer::classes::Classes;
use alphabet::Alphabet;
use backward::{Backward, Prepared};
use dfa::Dfa;
use fuse::Runs;
use machine::Pattern;
use nfa::Nfa;
use scan::Scanner;
use std::sync::Arc;
use syntax::Node;
pub use syntax::Unsupported;
pub use transduce::{Place, Transduce};
use transducer::Transducer;

/// One pattern, or several of a sequence that run together, compiled.
#[derive(Debug)]
pub struct Automaton {
    classes: Arc<Classes>,
    num_classes: usize,
    /// The way in one pass; `None` if look-ahead needs more than one character.
    scanner: Option<Scanner>,
    /// The way in two passes; `None` if the other one is always linear.
    careful: Option<Backward>,
    /// By class before and class after: see [`Automaton::cut`].
    cuts: Vec<Option<bool>>,
    /// By ASCII byte, one more than its region if no match starts with it, else 0.
    inert: [u8; 128],
}

/// What an automaton remembers of a text.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The way in one pass went back too often.
    careful: bool,
    prepared: Prepared,
}

impl Progress {
    /// Begins another text.
    pub fn restart(&mut self) {
        self.prepared.clear();
    }
}

/// What becomes of the patterns of a sequence.
#[derive(Debug)]
pub enum Compiled {
    /// One or more of them, as an automaton.
    Automaton(Arc<Automaton>),
    /// One that is not compiled: its index and the reason.
    Not(usize, Unsupported),
}

/// Compiles a sequence of patterns, each of which splits the pieces of the one before.
pub fn compile(patterns: &[&str]) -> Vec<Compiled> {
    let nodes: Vec<_> = patterns.iter().map(|pattern| syntax::parse(pattern)).collect();
    let mut sets = Vec::new();
    nodes.iter().flatten().for_each(|node| nfa::sets(node, &mut sets));
    let alphabet = match Alphabet::new(sets) {
        Ok(alphabet) => alphabet,
        Err(reason) => {
            return (0..patterns.len()).map(|index| Compiled::Not(index, reason.clone())).collect();
        }
    };
    let classes = Arc::new(alphabet.table());
    // From the last to the first, which may be joined to the one after it.
    let mut steps: Vec<Result<Automata, (usize, Unsupported)>> = Vec::new();
    for (index, node) in nodes.into_iter().enumerate().rev() {
        if let (Some(Ok(after)), Ok(node)) = (steps.last_mut(), &node)
            && let Some(runs) = runs(node, &alphabet)
            && join(runs, after)
        {
            continue;
        }
        let automata = node.and_then(|node| automata(&node, &alphabet, &classes));
        steps.push(automata.map_err(|reason| (index, reason)));
    }
    let compiled = steps.into_iter().rev().map(|step| match step {
        Ok((dfa, careful)) => {
            Compiled::Automaton(Arc::new(Automaton::new(dfa, careful, &alphabet, &classes)))
        }
        Err((index, reason)) => Compiled::Not(index, reason),
    });
    compiled.collect()
}

/// One automaton for a sequence of patterns, which reads each character once; `None` if there is none.
pub fn transduce(patterns: &[&str]) -> Option<Transduce> {
    let nodes: Vec<_> = patterns.iter().map(|pattern| syntax::parse(pattern).ok()).collect::<Option<_>>()?;
    let mut sets = Vec::new();
    for node in &nodes {
        nfa::sets(node, &mut sets);
    }
    let alphabet = Alphabet::new(sets).ok()?;
    let pattern = |node| {
        let nfa = Nfa::new(node, &alphabet).ok()?;
        let dfa = if nfa.looks_far() { None } else { Dfa::new(&nfa, &alphabet).ok() }?;
        if dfa.goes_back_far() { None } else { Some(Pattern::new(dfa)) }
    };
    let patterns = nodes.iter().map(pattern).collect::<Option<Vec<_>>>()?;
    let transducer = Transducer::new(&patterns, alphabet.num_classes())?;
    Some(Transduce::new(transducer, Arc::new(alphabet.table())))
}

/// The automata for one pass and for two, as far as they are possible and needed.
type Automata = (Option<Dfa>, Option<Backward>);

fn automata(node: &Node, alphabet: &Alphabet, classes: &Arc<Classes>) -> Result<Automata, Unsupported> {
    let nfa = Nfa::new(node, alphabet)?;
    let dfa = if nfa.looks_far() { None } else { Some(Dfa::new(&nfa, alphabet)?) };
    let linear = dfa.as_ref().is_some_and(|dfa| !dfa.goes_back_far());
    let careful = if linear { None } else { Some(Backward::new(&nfa, alphabet, classes.clone())?) };
    Ok((dfa, careful))
}

/// Puts runs before automata, if that can be done; returns whether it was.
fn join(runs: Runs, after: &mut Automata) -> bool {
    match after {
        (Some(dfa), careful) => {
            let Some(both) = dfa.after_runs(runs) else { return false };
            if let Some(careful) = careful {
                careful.set_regions(both.regions.clone());
            }
            *dfa = both;
            true
        }
        (None, Some(careful)) => runs.max.is_none() && careful.isolate(runs.set),
        (None, None) => false,
    }
}

/// What a pattern isolates, if that is runs of a set.
fn runs(pattern: &Node, alphabet: &Alphabet) -> Option<Runs> {
    let (set, max) = match pattern {
        Node::Set(set) => (set, Some(1)),
        Node::Repeat { node, min: 1, max, greedy: true } => match &**node {
            Node::Set(set) => (set, *max),
            _ => return None,
        },
        _ => return None,
    };
    Some(Runs { set: alphabet.classes_in(set), max })
}

impl Automaton {
    fn new(dfa: Option<Dfa>, careful: Option<Backward>, alphabet: &Alphabet, classes: &Arc<Classes>) -> Self {
        let num_classes = alphabet.num_classes();
        let mut cuts = vec![None; num_classes * num_classes];
        let always = dfa.as_ref().map(Dfa::always_match);
        let all = || 1..=u8::try_from(num_classes - 1).unwrap_or(u8::MAX);
        for (before, after) in all().flat_map(|before| all().map(move |after| (before, after))) {
            cuts[usize::from(before) * num_classes + usize::from(after)] = match (&dfa, &always, &careful) {
                (Some(dfa), Some(always), _) => cuts::cut(dfa, always, before, after),
                (_, _, Some(careful)) => careful.cut(before, after),
                _ => None,
            };
        }
        let inert = std::array::from_fn(|byte| {
            let class = classes.of_byte(u8::try_from(byte).unwrap_or(0));
            let (is_inert, region) = match (&dfa, &careful) {
                (Some(dfa), _) => (dfa.is_inert(class), dfa.regions.of(class)),
                (_, Some(careful)) => (careful.is_inert(class), careful.region(class)),
                _ => (false, 0),
            };
            if is_inert { u8::try_from(region + 1).unwrap_or(0) } else { 0 }
        });
        let scanner = dfa.map(|dfa| Scanner::new(dfa, classes.clone()));
        Self { classes: classes.clone(), num_classes, scanner, careful, cuts, inert }
    }

    /// Whether a text is seen at once to be one piece: characters that start no match.
    #[inline]
    pub fn is_whole(&self, text: &[u8]) -> bool {
        let region = |&byte: &u8| self.inert.get(usize::from(byte)).copied().unwrap_or(0);
        match text.first().map(region) {
            None | Some(0) => false,
            first => text.iter().all(|byte| Some(region(byte)) == first),
        }
    }

    /// Whether a cut between two characters is harmless, and if so whether it is sure: see [`cuts`].
    pub fn cut(&self, before: char, after: char) -> Option<bool> {
        let class = |character| usize::from(self.classes.of(character));
        self.cuts[class(before) * self.num_classes + class(after)]
    }

    /// Writes the ends of the next pieces of `text` from `start` on, where a piece starts; returns how many: `ends.len()`
    /// unless the text is done.
    pub fn next_ends(&self, text: &[u8], start: usize, progress: &mut Progress, ends: &mut [u32]) -> usize {
        let (mut num_ends, mut at) = (0, start);
        if let (Some(scanner), false) = (&self.scanner, progress.careful) {
            num_ends =
                scanner.next_ends(text, at, self.careful.is_some(), ends).unwrap_or_else(|quadratic| {
                    progress.careful = true;
                    quadratic.num_ends
                });
            at = ends[..num_ends].last().map_or(at, |&end| end as usize);
        }
        if let (Some(careful), true) = (&self.careful, progress.careful || self.scanner.is_none()) {
            num_ends += careful.next_ends(text, at, &mut progress.prepared, &mut ends[num_ends..]);
        }
        num_ends
    }
}
