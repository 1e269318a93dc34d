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

use counts::Counts;
use pyo3::prelude::*;
use stream::Stream;
use tokenizer::Core;

type CoreResult<T> = crate::error::Result<T>;

/// The module.
#[pymodule]
fn _tinybpe(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Core>()?;
    module.add_class::<Counts>()?;
    module.add_class::<Stream>()
}
