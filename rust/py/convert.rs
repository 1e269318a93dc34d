//! Python arguments -> core values, and ids -> arrays.

use crate::token_file::Dtype;
use crate::trainer::TieBreak;
use numpy::IntoPyArray;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// The bytes of a `str` or `bytes`.
pub fn text_bytes<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(text) = text.cast::<PyString>() {
        Ok(text.to_str()?.as_bytes())
    } else if let Ok(text) = text.cast::<PyBytes>() {
        Ok(text.as_bytes())
    } else {
        Err(PyTypeError::new_err(format!("expected str or bytes, got {}", text.get_type().name()?)))
    }
}

pub fn tie_break_named(name: &str) -> PyResult<TieBreak> {
    match name {
        "bytes" => Ok(TieBreak::Bytes),
        "huggingface" => Ok(TieBreak::HuggingFace),
        _ => Err(PyValueError::new_err(format!("tie_break `{name}` is not one of bytes, huggingface"))),
    }
}

pub fn check_threads(num_threads: Option<usize>) -> PyResult<()> {
    if num_threads == Some(0) {
        return Err(PyValueError::new_err("num_threads is 0, the least is 1; None takes one per core"));
    }
    Ok(())
}

/// Token ids as `NumPy` holds them, in the smallest type for the vocabulary.
pub fn to_numpy(py: Python<'_>, ids: Vec<u32>, vocab_size: usize) -> Bound<'_, PyAny> {
    match Dtype::for_vocab(vocab_size) {
        #[allow(clippy::cast_possible_truncation)] // the vocabulary fits
        Dtype::Uint16 => ids.into_iter().map(|id| id as u16).collect::<Vec<_>>().into_pyarray(py).into_any(),
        Dtype::Uint32 => ids.into_pyarray(py).into_any(),
    }
}
