//! Core errors -> the exceptions of `tinybpe.errors`, `OSError` and `KeyboardInterrupt`.

use crate::error::Error;
use pyo3::exceptions::{PyKeyboardInterrupt, PyOSError};
use pyo3::prelude::*;
use std::io::ErrorKind;
use std::path::PathBuf;

fn to_py(error: Error) -> PyErr {
    Python::attach(|py| {
        let (class, message) = match error {
            Error::Interrupted => return PyKeyboardInterrupt::new_err(()),
            Error::Io { path, source } => return os_error(py, path, &source),
            Error::Pattern { .. } => ("PatternError", error.to_string()),
            Error::SpecialToken(_) => ("SpecialTokenError", error.to_string()),
            Error::UnknownToken { .. } => ("UnknownTokenError", error.to_string()),
            Error::Vocab(_) => ("VocabError", error.to_string()),
            Error::VocabFile { .. } => ("VocabFileError", error.to_string()),
            Error::Input { .. } => ("InputError", error.to_string()),
            Error::Training(_) => ("TrainingError", error.to_string()),
            Error::Output { .. } => ("OutputError", error.to_string()),
            Error::TokenFile { .. } => ("TokenFileError", error.to_string()),
        };
        own_error(py, class, message)
    })
}

/// An exception of `tinybpe.errors`.
pub fn own_error(py: Python<'_>, class: &str, message: String) -> PyErr {
    let raised = py.import("tinybpe.errors").and_then(|module| module.getattr(class)?.call1((message,)));
    raised.map_or_else(|error| error, PyErr::from_value)
}

/// The subclass of `OSError` for its number, with the file's name, as `open` raises it.
fn os_error(py: Python<'_>, path: PathBuf, source: &std::io::Error) -> PyErr {
    // Errors of our own, and those that `tempfile` has wrapped, have a kind and no number.
    let number = source.raw_os_error().or_else(|| {
        let name = match source.kind() {
            ErrorKind::IsADirectory => "EISDIR",
            ErrorKind::NotADirectory => "ENOTDIR",
            ErrorKind::NotFound => "ENOENT",
            ErrorKind::PermissionDenied => "EACCES",
            ErrorKind::ReadOnlyFilesystem => "EROFS",
            ErrorKind::StorageFull => "ENOSPC",
            ErrorKind::QuotaExceeded => "EDQUOT",
            ErrorKind::FileTooLarge => "EFBIG",
            _ => return None,
        };
        py.import("errno").ok()?.getattr(name).ok()?.extract().ok()
    });
    let Some(number) = number else { return PyOSError::new_err(format!("{}: {source}", path.display())) };
    let text = py.import("os").and_then(|os| os.call_method1("strerror", (number,))?.extract::<String>());
    PyOSError::new_err((number, text.unwrap_or_default(), path))
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        to_py(error)
    }
}

pub fn internal_error(py: Python<'_>) -> PyErr {
    own_error(py, "InternalError", "the core panicked; please report this with the input".into())
}
