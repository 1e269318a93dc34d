//! The extension module `tinybpe._tinybpe`: converts, releases the interpreter around every core call, maps errors.

// PyO3 hands arguments over as owned values, and a Python signature with keywords is one function.
#![allow(clippy::needless_pass_by_value, clippy::too_many_arguments)]

mod convert;
mod counts;
mod errors;
mod run;
mod stream;
mod token_file;
mod tokenizer;

use crate::pretokenizer::NAMED;
use counts::Counts;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use stream::Stream;
use tokenizer::Core;

type CoreResult<T> = crate::error::Result<T>;

/// The module.
#[pymodule]
fn _tinybpe(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let patterns = PyDict::new(module.py());
    for named in NAMED {
        patterns.set_item(named.name, named.regexes())?;
    }
    module.add("PATTERNS", patterns)?;
    module.add_class::<Core>()?;
    module.add_class::<Counts>()?;
    module.add_class::<Stream>()
}
