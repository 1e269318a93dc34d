//! The class `Counts`: word counts as Python holds them, and the counting that every way of training begins with.

use super::convert::{check_threads, existing};
use super::run::{run, run_with, send_texts};
use crate::monitor::Monitor;
use crate::pretokenizer::Pretokenizer;
use crate::reader::Inputs;
use crate::special::SpecialTokens;
use crate::word_counts::{Limits, WordCounts};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

/// How to count, checked before any text is read.
pub struct Counting {
    pretokenizer: Pretokenizer,
    specials: SpecialTokens,
    limits: Limits,
}

impl Counting {
    pub fn new(
        pattern: &str,
        special_tokens: &[String],
        num_threads: Option<usize>,
        max_memory: Option<u64>,
    ) -> PyResult<Self> {
        check_threads(num_threads)?;
        let limits = Limits { num_threads, max_memory };
        let (pretokenizer, specials) = (Pretokenizer::new(pattern)?, SpecialTokens::new(special_tokens)?);
        Ok(Counting { pretokenizer, specials, limits })
    }

    pub fn files(
        &self,
        py: Python<'_>,
        inputs: &Inputs,
        progress: Option<&Py<PyAny>>,
    ) -> PyResult<WordCounts> {
        run(py, progress, |monitor| {
            WordCounts::from_files(inputs, &self.pretokenizer, &self.specials, self.limits, monitor)
        })
    }

    pub fn texts(&self, texts: &Bound<'_, PyAny>, progress: Option<&Py<PyAny>>) -> PyResult<WordCounts> {
        let py = texts.py();
        let texts = texts.try_iter()?.unbind();
        let (sender, batches) = sync_channel(2);
        let count = |monitor: &Monitor| {
            WordCounts::from_batches(batches, &self.pretokenizer, &self.specials, self.limits, monitor)
        };
        run_with(py, progress, &Monitor::default(), count, |attention| {
            Python::attach(|py| send_texts(texts.bind(py), sender, attention))
        })
    }
}

/// Distinct words with their counts, immutable.
#[pyclass(frozen, eq, module = "tinybpe._tinybpe")]
#[derive(PartialEq, Eq)]
pub struct Counts {
    pub words: WordCounts,
}

#[pymethods]
impl Counts {
    #[staticmethod]
    fn from_files(
        py: Python<'_>,
        paths: Vec<PathBuf>,
        field: Option<String>,
        special_tokens: Vec<String>,
        pattern: &str,
        num_threads: Option<usize>,
        max_memory: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let counting = Counting::new(pattern, &special_tokens, num_threads, max_memory)?;
        Ok(Counts { words: counting.files(py, &Inputs { paths, field }, progress.as_ref())? })
    }

    #[staticmethod]
    fn from_iterator(
        texts: &Bound<'_, PyAny>,
        special_tokens: Vec<String>,
        pattern: &str,
        num_threads: Option<usize>,
        max_memory: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let counting = Counting::new(pattern, &special_tokens, num_threads, max_memory)?;
        Ok(Counts { words: counting.texts(texts, progress.as_ref())? })
    }

    #[staticmethod]
    fn from_words(words: &Bound<'_, PyDict>, special_tokens: Vec<String>, pattern: &str) -> PyResult<Self> {
        let Counting { pretokenizer, specials, .. } = Counting::new(pattern, &special_tokens, None, None)?;
        let entries: Vec<(Bound<'_, PyAny>, u64)> =
            words.iter().map(|(word, count)| Ok((word, count.extract()?))).collect::<PyResult<_>>()?;
        let words: Vec<(&[u8], u64)> = entries
            .iter()
            .map(|(word, count)| Ok((word.cast::<PyBytes>()?.as_bytes(), *count)))
            .collect::<PyResult<_>>()?;
        Ok(Counts { words: WordCounts::from_words(pretokenizer.pattern(), specials.tokens(), words)? })
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        run(py, None, |_| Ok(Counts { words: WordCounts::load(&path)? }))
    }

    fn save(&self, py: Python<'_>, path: PathBuf, overwrite: bool) -> PyResult<()> {
        run(py, None, |_| self.words.save(&path, existing(overwrite)))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Self> {
        run(py, None, |_| Ok(Counts { words: WordCounts::from_bytes(bytes)? }))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &run(py, None, |_| Ok(self.words.to_bytes()))?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.get_type::<Counts>().getattr("from_bytes")?, (self.to_bytes(py)?,)))
    }

    fn merge(&self, py: Python<'_>, other: &Counts) -> PyResult<Self> {
        run(py, None, |_| Ok(Counts { words: self.words.merge(&other.words)? }))
    }

    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let words = run(py, None, |_| Ok(self.words.sorted()))?;
        PyList::new(py, words.into_iter().map(|(word, count)| (PyBytes::new(py, word), count)))
    }

    fn __len__(&self) -> usize {
        self.words.len()
    }

    #[getter]
    fn pattern(&self) -> &str {
        self.words.pattern()
    }

    #[getter]
    fn pattern_name(&self) -> PyResult<Option<&'static str>> {
        Ok(Pretokenizer::new(self.words.pattern())?.name())
    }

    #[getter]
    fn special_tokens(&self) -> Vec<String> {
        self.words.special_tokens().to_vec()
    }
}
