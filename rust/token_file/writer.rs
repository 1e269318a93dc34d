//! Brings the ids of chunks into the order of the input: the worker whose turn it is writes, the others park what they have
//! and go on, or wait when too much is parked. All buffers are used again.

use super::shards::Set;
use crate::error::Result;
use crate::monitor::Monitor;
use crate::reader::{Chunk, Place};
use flate2::Crc;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a document ends, counted from the start of the part.
#[derive(Clone, Copy, Default)]
pub(super) struct End {
    pub tokens: u64,
    pub text_bytes: u64,
    pub place: Place,
}

/// The ids of one chunk.
#[derive(Default)]
pub(super) struct Part {
    pub bytes: Vec<u8>,
    /// Of `bytes`: made by the worker, since the writer holds others up.
    pub checksum: Crc,
    /// Where documents end in it.
    pub ends: Vec<End>,
    /// Its own end, so far.
    pub all: End,
}

impl Part {
    /// Makes it empty; its allocations stay.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.checksum.reset();
        self.ends.clear();
        self.all = End::default();
    }
}

pub(super) struct Writer<'a> {
    state: Mutex<State>,
    turn_changed: Condvar,
    most_parked: usize,
    /// What to say of the sources in a sidecar.
    sources: &'a (dyn Fn() -> Vec<Value> + Sync),
}

struct State {
    set: Set,
    next: u64,
    parked: BTreeMap<u64, (Chunk, Part)>,
    spare: Vec<Part>,
    failed: bool,
}

impl<'a> Writer<'a> {
    pub fn new(set: Set, most_parked: usize, sources: &'a (dyn Fn() -> Vec<Value> + Sync)) -> Self {
        let state = State { set, next: 0, parked: BTreeMap::new(), spare: Vec::new(), failed: false };
        Writer { state: Mutex::new(state), turn_changed: Condvar::new(), most_parked, sources }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A part to fill, with the allocations of one that was written.
    pub fn empty_part(&self) -> Part {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// Takes the result for a chunk; writes it and what waited for it, or parks it.
    pub fn hand_over(&self, chunk: &Chunk, part: Result<Part>, monitor: &Monitor) -> Result<()> {
        let mut state = self.lock();
        while chunk.sequence != state.next && state.parked.len() >= self.most_parked && !state.failed {
            if monitor.check().is_err() {
                break;
            }
            let waited = self.turn_changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let result = monitor.check().and(part).and_then(|part| {
            monitor.add_tokens(part.all.tokens);
            state.parked.insert(chunk.sequence, (chunk.clone(), part));
            state.write_parked(self.sources)
        });
        if result.is_err() {
            // The turn of this chunk will not come: nobody may wait for it.
            state.failed = true;
        }
        drop(state);
        self.turn_changed.notify_all();
        result
    }

    /// Puts what is written in place.
    pub fn finish(self) -> Result<Vec<(PathBuf, Value)>> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).set.finish(self.sources)
    }
}

impl State {
    fn write_parked(&mut self, sources: impl Fn() -> Vec<Value>) -> Result<()> {
        while let Some((chunk, mut part)) = self.parked.remove(&self.next) {
            self.next += 1;
            self.set.write(&part, &chunk, &sources)?;
            part.clear();
            self.spare.push(part);
        }
        Ok(())
    }
}
