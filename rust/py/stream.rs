//! The class `Stream`: text that arrives in chunks.

use super::convert::text_bytes;
use super::run::run_here;
use super::tokenizer::Core;
use crate::encoder::{self, Specials};
use crate::monitor::Monitor;
use crate::normalizer::Ends;
use pyo3::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Encodes text that arrives in chunks as if it were one.
#[pyclass(frozen, module = "tinybpe._tinybpe")]
pub struct Stream {
    core: Py<Core>,
    ordinary: bool,
    text: Mutex<encoder::Stream>,
}

impl Stream {
    pub fn new(core: Py<Core>, ordinary: bool) -> Self {
        Stream { core, ordinary, text: Mutex::default() }
    }

    fn specials(&self) -> Specials<'static> {
        if self.ordinary { Specials::Ordinary } else { Specials::Allowed }
    }

    fn encode(&self, py: Python<'_>, (text, ends): (Vec<u8>, Ends)) -> PyResult<Vec<u32>> {
        let encoder = &self.core.get().encoder;
        run_here(py, || {
            let mut ids = Vec::new();
            encoder.encode_part(&text, ends, self.specials(), &mut ids, &Monitor::default()).map(|()| ids)
        })
    }
}

#[pymethods]
impl Stream {
    /// Takes more text; returns the ids that no later text can change.
    fn push(&self, text: &Bound<'_, PyAny>) -> PyResult<Vec<u32>> {
        let encoder = &self.core.get().encoder;
        let bytes = text_bytes(text)?;
        // Not held while detached: a thread that waits for it may hold the interpreter.
        let ready =
            self.text.lock().unwrap_or_else(PoisonError::into_inner).push(encoder, self.specials(), bytes);
        self.encode(text.py(), ready)
    }

    /// The ids of what is left; the stream can then be used anew.
    fn finish(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        let rest = self.text.lock().unwrap_or_else(PoisonError::into_inner).finish();
        self.encode(py, rest)
    }
}
