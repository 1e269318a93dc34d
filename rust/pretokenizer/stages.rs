//! A sequence of patterns: each stage splits the pieces of the stage before, as if each were a text of its own.
//!
//! A stage is one pattern or several that were compiled to one automaton. The last stage writes straight into the caller's
//! buffer; the others keep a few hundred ends ahead of the next one. Nothing is allocated for a piece.

use super::{
    automaton::{Automaton, Place, Progress, Transduce},
    engine::{Engine, Run},
    named::Family,
    simd::Level,
};
use crate::error::Result;
use std::sync::Arc;

/// One way to split text.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A pattern that the block scanner knows, which also is an automaton.
    Blocks(Family, Arc<Automaton>),
    /// A compiled pattern, or several.
    Automaton(Arc<Automaton>),
    /// All patterns of a sequence at once.
    Transduce(Arc<Transduce>),
    /// A regex engine, for what cannot be compiled.
    Engine(Engine),
}

impl Stage {
    /// Whether a cut between two characters is harmless, and if so whether it is sure.
    pub fn cut(&self, before: char, after: char) -> Option<bool> {
        match self {
            Self::Blocks(_, automaton) | Self::Automaton(automaton) => automaton.cut(before, after),
            Self::Transduce(all) => all.is_safe_cut(before, after).then_some(true),
            Self::Engine(_) => None,
        }
    }

    /// Whether a text is seen at once to be one piece.
    fn is_whole(&self, text: &[u8]) -> bool {
        matches!(self, Self::Automaton(automaton) if automaton.is_whole(text))
    }
}

/// Where the pieces of a text are looked for.
#[derive(Clone, Debug)]
pub struct Cursor<'t> {
    text: &'t [u8],
    /// One for each stage.
    levels: Vec<Work<'t>>,
}

/// A stage at work on a piece of the stage before.
#[derive(Clone, Debug, Default)]
struct Work<'t> {
    /// Where the piece of the stage before starts and ends; for the first stage all of the text.
    piece: (usize, usize),
    /// Up to where it is split.
    at: usize,
    progress: Progress,
    place: Place,
    run: Run<'t>,
    /// Room for ends that the next stage needs; empty in the last stage.
    ends: Vec<u32>,
    /// How many ends are in it, which is the next to be handed on, and where its piece starts.
    num_ends: usize,
    next: usize,
    start: usize,
}

/// How many ends a stage finds at a time for the next one.
const ENDS_AT_A_TIME: usize = 256;

impl<'t> Cursor<'t> {
    /// The start of a text, for this number of stages.
    pub fn new(text: &'t [u8], num_stages: usize) -> Self {
        let mut levels = vec![Work::default(); num_stages];
        levels[0].piece.1 = text.len();
        Self { text, levels }
    }

    /// Writes the ends of the next pieces; returns how many: `ends.len()` unless the text is done.
    pub fn next_ends(&mut self, level: Level, stages: &[Stage], ends: &mut [u32]) -> Result<usize> {
        let last = stages.len() - 1;
        let mut num_ends = 0;
        while num_ends < ends.len() && self.enter_piece(level, stages, last)? {
            num_ends += self.levels[last].fill(level, self.text, &stages[last], &mut ends[num_ends..])?;
        }
        Ok(num_ends)
    }

    /// Makes sure that a stage has text to split, from the stage before if need be; returns whether there is some.
    fn enter_piece(&mut self, simd: Level, stages: &[Stage], index: usize) -> Result<bool> {
        if self.levels[index].at < self.levels[index].piece.1 {
            return Ok(true);
        }
        let Some(above) = index.checked_sub(1) else { return Ok(false) };
        if self.levels[above].next == self.levels[above].num_ends {
            if !self.enter_piece(simd, stages, above)? {
                return Ok(false);
            }
            let level = &mut self.levels[above];
            let mut ends = std::mem::take(&mut level.ends);
            ends.resize(ENDS_AT_A_TIME, 0);
            (level.next, level.start) = (0, level.at);
            level.num_ends = level.fill(simd, self.text, &stages[above], &mut ends)?;
            level.ends = ends;
        }
        let level = &mut self.levels[above];
        let piece = (level.start, level.ends[level.next] as usize);
        (level.start, level.next) = (piece.1, level.next + 1);
        (self.levels[index].piece, self.levels[index].at) = (piece, piece.0);
        Ok(true)
    }
}

impl<'t> Work<'t> {
    /// Splits more of the piece; returns how many ends that gave, one at the least.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    fn fill(&mut self, level: Level, text: &'t [u8], stage: &Stage, ends: &mut [u32]) -> Result<usize> {
        let (offset, end) = self.piece;
        let text = &text[offset..end];
        let at = self.at - offset;
        if at == 0 && stage.is_whole(text) {
            ends[0] = end as u32;
            self.at = end;
            return Ok(1);
        }
        if at == 0 {
            self.run = Run::default();
            self.progress.restart();
            self.place = Place::default();
        }
        let num_ends = match stage {
            Stage::Blocks(family, _) => family.next_ends(level, text, at, ends),
            Stage::Automaton(automaton) => automaton.next_ends(text, at, &mut self.progress, ends),
            Stage::Transduce(all) => all.next_ends(level, text, &mut self.place, ends),
            Stage::Engine(engine) => engine.next_ends(text, at, &mut self.run, ends)?,
        };
        if offset > 0 {
            ends[..num_ends].iter_mut().for_each(|end| *end += offset as u32);
        }
        self.at = ends[..num_ends].last().map_or(end, |&end| end as usize);
        Ok(num_ends)
    }
}
