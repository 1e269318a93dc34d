//! Python arguments -> core values, and ids -> arrays.

use super::errors::own_error;
use super::run::run_here;
use crate::atomic::Existing;
use crate::encoder::{Batch, Id};
use crate::error::{Error, Result};
use crate::token_file::Dtype;
use crate::trainer::TieBreak;
use crate::vocab::MAX_IDS;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString, PyTuple};

/// The bytes of a `str` or `bytes`.
pub fn text_bytes<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    if let Ok(text) = text.cast::<PyString>() {
        Ok(text.to_str()?.as_bytes())
    } else if let Ok(text) = text.cast::<PyBytes>() {
        Ok(text.as_bytes())
    } else {
        Err(PyTypeError::new_err(format!("expected str or bytes, got {}", value_and_type(text))))
    }
}

/// A value as an error message names it: its `repr`, cut short, and its type.
fn value_and_type(value: &Bound<'_, PyAny>) -> String {
    const MOST: usize = 60;
    let repr = value.repr().map_or_else(|_| "a value".to_owned(), |repr| repr.to_string());
    let shown = match repr.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}...", &repr[..at]),
        None => repr,
    };
    value.get_type().name().map_or(shown.clone(), |name| format!("{shown} of type {name}"))
}

/// The error of one text of several, which its message then names; half of a surrogate pair is told with its place.
pub fn at_text(py: Python<'_>, error: PyErr, index: usize) -> PyErr {
    let message = format!("text {index}: {}", error.value(py));
    if error.is_instance_of::<PyUnicodeError>(py) {
        return PyValueError::new_err(message);
    }
    error.get_type(py).call1((message,)).map_or(error, PyErr::from_value)
}

/// Ids in a list. `True` is a number to Python and never meant as an id.
fn listed_ids(ids: &Bound<'_, PyList>) -> PyResult<Vec<i64>> {
    let one = |(position, id): (usize, Bound<'_, PyAny>)| {
        let refused = |remedy: &str| {
            let found = value_and_type(&id);
            let message = format!("the id at position {position} is {found}; give integers{remedy}");
            Err(PyTypeError::new_err(message))
        };
        if id.is_instance_of::<PyBool>() {
            return refused("");
        }
        match id.extract::<i64>() {
            Err(error) if error.is_instance_of::<PyOverflowError>(id.py()) => {
                let message = format!("unknown token id {id} at position {position}");
                Err(own_error(id.py(), "UnknownTokenError", message))
            }
            Err(error) if error.is_instance_of::<PyTypeError>(id.py()) => {
                let is_list = id.is_instance_of::<PyList>() || id.is_instance_of::<PyTuple>();
                refused(if is_list { " (decode_batch takes several lists)" } else { "" })
            }
            outcome => outcome,
        }
    };
    ids.iter().enumerate().map(one).collect()
}

/// Ids as the public classes give them. An enum, because a virtual call for each id takes as long as to decode it.
pub enum Ids<'a> {
    Narrow(std::slice::Iter<'a, u16>),
    Wide(std::slice::Iter<'a, u32>),
    Listed(std::vec::IntoIter<i64>),
}

impl Iterator for Ids<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        match self {
            Ids::Narrow(ids) => ids.next().map(|&id| i64::from(id)),
            Ids::Wide(ids) => ids.next().map(|&id| i64::from(id)),
            Ids::Listed(ids) => ids.next(),
        }
    }
}

/// Runs `work` without the interpreter on ids in a list or in an array of a token file's type.
pub fn with_ids<T: Send>(
    ids: &Bound<'_, PyAny>,
    work: impl FnOnce(Ids<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let py = ids.py();
    let listed = if let Ok(ids) = ids.cast::<PyArray1<u16>>() {
        let ids = ids.readonly();
        if let Ok(ids) = ids.as_slice() {
            return run_here(py, || work(Ids::Narrow(ids.iter())));
        }
        ids.as_array().iter().map(|&id| i64::from(id)).collect()
    } else if let Ok(ids) = ids.cast::<PyArray1<u32>>() {
        let ids = ids.readonly();
        if let Ok(ids) = ids.as_slice() {
            return run_here(py, || work(Ids::Wide(ids.iter())));
        }
        ids.as_array().iter().map(|&id| i64::from(id)).collect()
    } else {
        listed_ids(ids.cast::<PyList>()?)?
    };
    run_here(py, || work(Ids::Listed(listed.into_iter())))
}

/// The id of a token that the caller gives.
pub fn token_id(id: &Bound<'_, PyAny>) -> PyResult<u32> {
    id.extract().map_err(|error: PyErr| {
        if error.is_instance_of::<PyOverflowError>(id.py()) {
            Error::Vocab(format!("a token has id {id}; ids are from 0 to {}", MAX_IDS - 1)).into()
        } else {
            error
        }
    })
}

pub fn tie_break_named(name: &str) -> PyResult<TieBreak> {
    match name {
        "bytes" => Ok(TieBreak::Bytes),
        "huggingface" => Ok(TieBreak::HuggingFace),
        _ => Err(PyValueError::new_err(format!("tie_break `{name}` is not one of bytes, huggingface"))),
    }
}

pub fn existing(overwrite: bool) -> Existing {
    if overwrite { Existing::Replace } else { Existing::Keep }
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
        Dtype::Uint16 => ids.into_iter().map(u16::of).collect::<Vec<_>>().into_pyarray(py).into_any(),
        Dtype::Uint32 => ids.into_pyarray(py).into_any(),
    }
}

/// The ids of many texts, one after the other, and where those of each text begin.
pub fn batch_to_numpy<'py, T: Id + numpy::Element>(
    py: Python<'py>,
    batch: Batch<'_, T>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray1<u64>>)> {
    let offsets = batch.offsets().into_pyarray(py);
    let ids = run_here(py, || Ok(batch.into_flat()))?.into_pyarray(py);
    Ok((ids.into_any(), offsets))
}
