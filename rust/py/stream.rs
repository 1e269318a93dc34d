//! The class `Stream`: text that arrives in chunks.

use super::convert::text_bytes;
use super::run::run_here;
use super::tokenizer::Core;
use crate::encoder::Specials;
use crate::monitor::Monitor;
use crate::special;
use pyo3::prelude::*;
use std::sync::Mutex;

/// Encodes text that arrives in chunks as if it were one.
#[pyclass(frozen, module = "tinybpe._tinybpe")]
pub struct Stream {
    core: Py<Core>,
    ordinary: bool,
    carry: Mutex<Vec<u8>>,
}

impl Stream {
    pub fn new(core: Py<Core>, ordinary: bool) -> Self {
        Stream { core, ordinary, carry: Mutex::default() }
    }

    fn encode(&self, py: Python<'_>, text: &[u8]) -> PyResult<Vec<u32>> {
        let encoder = &self.core.get().encoder;
        let specials = if self.ordinary { Specials::Ordinary } else { Specials::Allowed };
        run_here(py, || {
            let mut ids = Vec::new();
            encoder.encode(text, specials, &mut ids, &Monitor::default()).map(|()| ids)
        })
    }
}

#[pymethods]
impl Stream {
    /// Takes more text; returns the ids that no later text can change.
    fn push(&self, text: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        let encoder = &self.core.get().encoder;
        let specials = if self.ordinary { &special::NONE } else { encoder.specials() };
        let mut carry = self.carry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let searched = carry.len().saturating_sub(specials.longest() + 8);
        carry.extend_from_slice(text_bytes(text)?);
        let cut = crate::reader::last_cut(encoder.pretokenizer(), specials, &carry, searched);
        let Some(cut) = cut else { return Ok(Vec::new()) };
        let rest = carry.split_off(cut);
        let ready = std::mem::replace(&mut *carry, rest);
        // Not held while detached: a thread that waits for it may hold the interpreter.
        drop(carry);
        self.encode(text.py(), &ready)
    }

    /// The ids of what is left; the stream can then be used anew.
    fn finish(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        let rest = std::mem::take(&mut *self.carry.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        self.encode(py, &rest)
    }
}
