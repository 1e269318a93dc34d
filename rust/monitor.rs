//! What a long operation and its caller share: how far it is, and whether to stop.
//!
//! The operation counts with relaxed atomics and asks [`Monitor::check`] between steps of a few milliseconds; the caller
//! reads the counters from another thread as often as it likes. No callback crosses into the core.

use crate::error::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// The stage that the counters speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Reading, splitting and counting; the counters are bytes.
    Count = 0,
    /// Merging pairs; the counters are merges.
    Merge = 1,
    /// Encoding; the counters are bytes.
    Encode = 2,
}

impl Phase {
    /// The stage's name and the unit of its counters.
    #[must_use]
    pub fn name_and_unit(self) -> (&'static str, &'static str) {
        match self {
            Phase::Count => ("counting", "bytes"),
            Phase::Merge => ("merging", "merges"),
            Phase::Encode => ("encoding", "bytes"),
        }
    }
}

/// Progress counters and a stop flag, shared between threads.
#[derive(Debug, Default)]
pub struct Monitor {
    stop: AtomicBool,
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    tokens: AtomicU64,
}

impl Monitor {
    /// Asks the operation to end with [`Error::Interrupted`].
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// `Err(Error::Interrupted)` once [`Monitor::stop`] was called.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.stop.load(Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Starts a stage of `total` steps; 0 means that the total is not known.
    pub fn begin(&self, phase: Phase, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
        self.tokens.store(0, Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// Counts `steps` more of the current stage.
    #[inline]
    pub fn advance(&self, steps: u64) {
        self.done.fetch_add(steps, Relaxed);
    }

    /// Counts token ids that the current stage has made.
    #[inline]
    pub fn add_tokens(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Relaxed);
    }

    /// The token ids that the current stage has made.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Relaxed)
    }

    /// The stage, the steps done and the steps in all.
    #[must_use]
    pub fn snapshot(&self) -> (Phase, u64, u64) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Count,
            1 => Phase::Merge,
            _ => Phase::Encode,
        };
        (phase, self.done.load(Relaxed), self.total.load(Relaxed))
    }
}
