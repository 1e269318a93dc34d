//! The class `Core`: a tokenizer as Python holds it.

use super::CoreResult;
use super::convert::{
    at_text, batch_to_numpy, check_threads, existing, text_bytes, tie_break_named, to_numpy, token_id,
    with_ids,
};
use super::counts::{Counting, Counts};
use super::run::{run, run_here, run_with, send_texts};
use super::stream::Stream;
use super::token_file::{TokenFileOptions, listed_files, numbers};
use crate::atomic::Existing;
use crate::encoder::{Batch, Encoder, Id, Specials, Unit};
use crate::monitor::Monitor;
use crate::normalizer::WHOLE;
use crate::pipeline::Definition;
use crate::pretokenizer::Pretokenizer;
use crate::reader::Inputs;
use crate::token_file::{self, Dtype};
use crate::trainer::{self, Initial, TieBreak};
use crate::vocab::{Vocab, show};
use crate::vocab_file::{self, Given};
use crate::word_counts::WordCounts;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::borrow::Borrow;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

/// A call on less text than this is over before anybody presses a key: it needs no thread of its own.
const LONG_BYTES: usize = 1 << 20;

/// Where tokens start and end.
type Spans = Vec<(usize, usize)>;

/// What to learn from word counts, checked before any text is read.
struct Goal {
    vocab_size: usize,
    tie_break: TieBreak,
}

impl Goal {
    fn new(vocab_size: usize, num_specials: usize, tie_break: &str) -> PyResult<Self> {
        let tie_break = tie_break_named(tie_break)?;
        trainer::check_vocab_size(vocab_size, num_specials)?;
        Ok(Goal { vocab_size, tie_break })
    }

    fn train(
        &self,
        py: Python<'_>,
        words: impl Borrow<WordCounts> + Send,
        initial: Option<&Core>,
        progress: Option<&Py<PyAny>>,
    ) -> PyResult<Core> {
        warn_of_long_words(py, words.borrow())?;
        let initial = initial.map(|core| Initial {
            vocab: core.encoder.vocab(),
            pattern: core.encoder.pretokenizer().pattern(),
        });
        run(py, progress, |monitor| {
            let pretokenizer = Pretokenizer::new(words.borrow().pattern())?;
            let vocab = trainer::train(words, self.vocab_size, self.tie_break, initial, monitor)?;
            Core::build(vocab, &pretokenizer)
        })
    }
}

/// Special tokens with their ids.
fn with_ids_of(
    special_tokens: Vec<(String, Option<Bound<'_, PyAny>>)>,
) -> PyResult<Vec<(String, Option<u32>)>> {
    let one = |(token, id): (String, Option<Bound<'_, PyAny>>)| {
        Ok((token, id.map(|id| token_id(&id)).transpose()?))
    };
    special_tokens.into_iter().map(one).collect()
}

/// Warns in the name of who called the Python function.
fn warn_of_long_words(py: Python<'_>, words: &WordCounts) -> PyResult<()> {
    const CALLER: usize = 2;
    let Some(word) = words.too_long_a_word() else { return Ok(()) };
    let message = format!(
        "the longest piece of the text has {} bytes: {}; is it text, and the pattern one that cuts it?",
        word.len(),
        show(word)
    );
    let class = py.import("tinybpe.errors")?.getattr("TinyBPEWarning")?;
    py.import("warnings")?.call_method1("warn", (message, class, CALLER))?;
    Ok(())
}

/// A tokenizer: vocabulary and pattern, immutable, shared by any number of threads.
#[pyclass(frozen, module = "tinybpe._tinybpe")]
pub struct Core {
    pub encoder: Encoder,
    sha256: String,
    /// What it was read from: no output may be one of them.
    files: Vec<PathBuf>,
}

impl Core {
    fn build(vocab: Vocab, pretokenizer: &Pretokenizer) -> CoreResult<Self> {
        Self::of(Definition::new(vocab, pretokenizer.pattern()))
    }

    fn of(definition: Definition) -> CoreResult<Self> {
        let encoder = Encoder::of(definition)?;
        Ok(Core { sha256: encoder.definition().sha256(), encoder, files: Vec::new() })
    }

    /// Notes what it was read from, so that a change of the working folder makes no difference.
    fn read_from(self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        Core { files: files.into_iter().map(absolute).collect(), ..self }
    }

    fn vocab_size(&self) -> usize {
        self.encoder.vocab().vocab_size()
    }

    fn encode_text(
        &self,
        text: &Bound<'_, PyAny>,
        allowed: Option<Vec<String>>,
        refused: Option<Vec<String>>,
    ) -> PyResult<Vec<u32>> {
        let py = text.py();
        let bytes = text_bytes(text)?;
        let listed = self.encoder.listed(allowed.as_deref(), refused.as_deref())?;
        let specials = Specials::Listed(&listed);
        let encode = |monitor: &Monitor| {
            let mut ids = Vec::new();
            self.encoder.encode(bytes, specials, &mut ids, monitor)?;
            Ok(ids)
        };
        if bytes.len() < LONG_BYTES {
            run_here(py, || encode(&Monitor::default()))
        } else {
            run(py, None, encode)
        }
    }

    fn encode_texts<T: Id>(
        &self,
        texts: &Bound<'_, PyList>,
        allowed: Option<Vec<String>>,
        refused: Option<Vec<String>>,
        num_threads: Option<usize>,
    ) -> PyResult<Batch<'_, T>> {
        check_threads(num_threads)?;
        let items: Vec<Bound<'_, PyAny>> = texts.iter().collect();
        let one = |(index, item)| text_bytes(item).map_err(|error| at_text(texts.py(), error, index));
        let bytes: Vec<&[u8]> = items.iter().enumerate().map(one).collect::<PyResult<_>>()?;
        let listed = self.encoder.listed(allowed.as_deref(), refused.as_deref())?;
        let specials = Specials::Listed(&listed);
        let encode = |monitor: &Monitor| self.encoder.encode_batch(&bytes, specials, num_threads, monitor);
        if bytes.iter().map(|text| text.len()).sum::<usize>() < LONG_BYTES {
            run_here(texts.py(), || encode(&Monitor::default()))
        } else {
            run(texts.py(), None, encode)
        }
    }
}

#[pymethods]
impl Core {
    #[staticmethod]
    fn train_files(
        py: Python<'_>,
        paths: Vec<PathBuf>,
        field: Option<String>,
        vocab_size: usize,
        special_tokens: Vec<String>,
        pattern: &str,
        tie_break: &str,
        num_threads: Option<usize>,
        max_memory: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let goal = Goal::new(vocab_size, special_tokens.len(), tie_break)?;
        let counting = Counting::new(pattern, &special_tokens, num_threads, max_memory)?;
        let words = counting.files(py, &Inputs { paths, field }, progress.as_ref())?;
        goal.train(py, words, None, progress.as_ref())
    }

    #[staticmethod]
    fn train_iterator(
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        vocab_size: usize,
        special_tokens: Vec<String>,
        pattern: &str,
        tie_break: &str,
        num_threads: Option<usize>,
        max_memory: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let goal = Goal::new(vocab_size, special_tokens.len(), tie_break)?;
        let counting = Counting::new(pattern, &special_tokens, num_threads, max_memory)?;
        let words = counting.texts(texts, progress.as_ref())?;
        goal.train(py, words, None, progress.as_ref())
    }

    #[staticmethod]
    fn train_counts(
        py: Python<'_>,
        counts: &Counts,
        vocab_size: usize,
        tie_break: &str,
        initial: Option<&Core>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let goal = Goal { vocab_size, tie_break: tie_break_named(tie_break)? };
        goal.train(py, &counts.words, initial, progress.as_ref())
    }

    #[staticmethod]
    fn load(
        py: Python<'_>,
        path: PathBuf,
        family: Option<String>,
        pattern: Option<String>,
        special_tokens: Vec<(String, Option<Bound<'_, PyAny>>)>,
    ) -> PyResult<Self> {
        let given = Given { pattern, special_tokens: with_ids_of(special_tokens)?, family };
        run(py, None, |_| {
            let core = Core::of(vocab_file::load(&path, &given)?)?;
            Ok(core.read_from(vocab_file::files_of(&path)))
        })
    }

    #[staticmethod]
    fn from_gpt2(
        py: Python<'_>,
        vocab: PathBuf,
        merges: PathBuf,
        special_tokens: Vec<String>,
    ) -> PyResult<Self> {
        run(py, None, |_| {
            let loaded = vocab_file::load_gpt2(&vocab, &merges, &special_tokens)?;
            Ok(Core::build(loaded, &Pretokenizer::new("gpt2")?)?.read_from([vocab, merges]))
        })
    }

    #[staticmethod]
    fn from_tiktoken(
        py: Python<'_>,
        path: PathBuf,
        pattern: &str,
        special_tokens: Vec<(String, Option<Bound<'_, PyAny>>)>,
    ) -> PyResult<Self> {
        let special_tokens = with_ids_of(special_tokens)?;
        run(py, None, |_| {
            let vocab = vocab_file::load_tiktoken(&path, &special_tokens)?;
            Ok(Core::of(vocab_file::of_ranks(vocab, pattern)?)?.read_from([path]))
        })
    }

    #[staticmethod]
    fn from_parts(
        py: Python<'_>,
        tokens: &Bound<'_, PyDict>,
        merges: Vec<(Vec<u8>, Vec<u8>)>,
        special_tokens: Vec<(String, Option<u32>)>,
        pattern: &str,
    ) -> PyResult<Self> {
        let tokens = tokens
            .iter()
            .map(|(id, bytes)| Ok((token_id(&id)?, bytes.cast::<PyBytes>()?.as_bytes().to_vec())));
        let tokens = tokens.collect::<PyResult<Vec<_>>>()?;
        run(py, None, |_| {
            Core::build(Vocab::from_parts(tokens, &merges, special_tokens)?, &Pretokenizer::new(pattern)?)
        })
    }

    /// What `__reduce__` gives.
    #[staticmethod]
    fn from_state(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        run_here(py, || Core::of(Definition::from_state(state)?))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let state = PyBytes::new(py, &self.encoder.definition().to_state());
        Ok((py.get_type::<Core>().getattr("from_state")?, (state,)))
    }

    fn save(&self, py: Python<'_>, dir: PathBuf, overwrite: bool) -> PyResult<()> {
        run(py, None, |_| vocab_file::save(&dir, self.encoder.definition(), existing(overwrite)))
    }

    fn export_gpt2(&self, py: Python<'_>, dir: PathBuf) -> PyResult<()> {
        run(py, None, |_| vocab_file::export_gpt2(&dir, self.encoder.definition(), Existing::Keep))
    }

    fn export_tiktoken(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        run(py, None, |_| vocab_file::export_tiktoken(&path, self.encoder.definition(), Existing::Keep))
    }

    fn encode(
        &self,
        text: &Bound<'_, PyAny>,
        allowed: Option<Vec<String>>,
        disallowed: Option<Vec<String>>,
    ) -> PyResult<Vec<u32>> {
        self.encode_text(text, allowed, disallowed)
    }

    fn encode_to_numpy<'py>(
        &self,
        text: &Bound<'py, PyAny>,
        allowed: Option<Vec<String>>,
        disallowed: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ids = self.encode_text(text, allowed, disallowed)?;
        Ok(to_numpy(text.py(), ids, self.vocab_size()))
    }

    fn encode_batch<'py>(
        &self,
        texts: &Bound<'py, PyList>,
        allowed: Option<Vec<String>>,
        disallowed: Option<Vec<String>>,
        num_threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = texts.py();
        let batch = self.encode_texts::<u32>(texts, allowed, disallowed, num_threads)?;
        let lists: Vec<_> = batch.texts().map(|ids| PyList::new(py, ids)).collect::<PyResult<_>>()?;
        PyList::new(py, lists)
    }

    fn encode_batch_to_numpy<'py>(
        &self,
        texts: &Bound<'py, PyList>,
        allowed: Option<Vec<String>>,
        disallowed: Option<Vec<String>>,
        num_threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyArray1<u64>>)> {
        let py = texts.py();
        match Dtype::for_vocab(self.vocab_size()) {
            Dtype::Uint16 => {
                batch_to_numpy::<u16>(py, self.encode_texts(texts, allowed, disallowed, num_threads)?)
            }
            Dtype::Uint32 => {
                batch_to_numpy::<u32>(py, self.encode_texts(texts, allowed, disallowed, num_threads)?)
            }
        }
    }

    fn stream(slf: Py<Self>, ordinary: bool) -> Stream {
        Stream::new(slf, ordinary)
    }

    fn encode_file<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        field: Option<String>,
        output: PathBuf,
        options: TokenFileOptions,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let options = options.checked(&self.files)?;
        let inputs = Inputs { paths, field };
        let written = run(py, progress.as_ref(), |monitor| {
            token_file::encode_file(&self.encoder, &self.sha256, &inputs, &output, &options, monitor)
        })?;
        listed_files(py, written)
    }

    fn encode_documents<'py>(
        &self,
        documents: &Bound<'py, PyAny>,
        sources: Vec<(String, u64)>,
        output: PathBuf,
        options: TokenFileOptions,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let py = documents.py();
        let options = options.checked(&self.files)?;
        let documents = documents.try_iter()?.unbind();
        let (sender, batches) = sync_channel(2);
        let encode = |monitor: &Monitor| {
            let Core { encoder, sha256, .. } = self;
            token_file::encode_documents(encoder, sha256, batches, &sources, &output, &options, monitor)
        };
        let written = run_with(py, progress.as_ref(), &Monitor::default(), encode, |attention| {
            Python::attach(|py| send_texts(documents.bind(py), sender, attention))
        })?;
        listed_files(py, written)
    }

    fn count_files(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        field: Option<String>,
        options: TokenFileOptions,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Vec<(u64, u64, u64)>> {
        let options = options.checked(&[])?;
        let inputs = Inputs { paths, field };
        let counts = run(py, progress.as_ref(), |monitor| {
            token_file::count_files(&self.encoder, &inputs, &options, monitor)
        })?;
        Ok(counts.into_iter().map(numbers).collect())
    }

    fn count_documents(
        &self,
        documents: &Bound<'_, PyAny>,
        options: TokenFileOptions,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(u64, u64, u64)> {
        let py = documents.py();
        let options = options.checked(&[])?;
        let documents = documents.try_iter()?.unbind();
        let (sender, batches) = sync_channel(2);
        let count =
            |monitor: &Monitor| token_file::count_documents(&self.encoder, batches, &options, monitor);
        let counted = run_with(py, progress.as_ref(), &Monitor::default(), count, |attention| {
            Python::attach(|py| send_texts(documents.bind(py), sender, attention))
        })?;
        Ok(numbers(counted))
    }

    fn decode_bytes<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        begins: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let bytes =
            with_ids(
                ids,
                |ids| {
                    if begins { self.encoder.decode(ids) } else { self.encoder.decode_part(ids) }
                },
            )?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn encode_with_spans(
        &self,
        text: &Bound<'_, PyAny>,
        allowed: Option<Vec<String>>,
        disallowed: Option<Vec<String>>,
        characters: bool,
    ) -> PyResult<(Vec<u32>, Spans)> {
        let bytes = text_bytes(text)?;
        let listed = self.encoder.listed(allowed.as_deref(), disallowed.as_deref())?;
        let unit = if characters { Unit::Characters } else { Unit::Bytes };
        let (ids, spans) = run(text.py(), None, |monitor| {
            self.encoder.encode_with_spans(bytes, Specials::Listed(&listed), unit, monitor)
        })?;
        Ok((ids, spans.into_iter().map(|span| (span.start, span.end)).collect()))
    }

    fn normalize<'py>(&self, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = text_bytes(text)?;
        let normalizer = &self.encoder.definition().pipeline.normalizer;
        Ok(PyBytes::new(
            text.py(),
            &run_here(text.py(), || Ok(normalizer.apply(bytes, WHOLE)?.into_owned()))?,
        ))
    }

    fn tokens<'py>(&self, py: Python<'py>, ids: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let known = |(position, id)| self.encoder.known_token(id, position);
        let tokens = with_ids(ids, |ids| ids.enumerate().map(known).collect::<CoreResult<Vec<_>>>())?;
        Ok(tokens.into_iter().map(|token| PyBytes::new(py, token)).collect())
    }

    fn spans(&self, ids: &Bound<'_, PyAny>, characters: bool) -> PyResult<Vec<(usize, usize)>> {
        let unit = if characters { Unit::Characters } else { Unit::Bytes };
        let spans = with_ids(ids, |ids| self.encoder.spans(ids, unit))?;
        Ok(spans.into_iter().map(|span| (span.start, span.end)).collect())
    }

    fn token_id(&self, token: &[u8]) -> Option<u32> {
        let vocab = self.encoder.vocab();
        vocab.id_of(token).or_else(|| vocab.special_id(std::str::from_utf8(token).ok()?))
    }

    fn vocab<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let vocab = self.encoder.vocab();
        let dict = PyDict::new(py);
        for (id, bytes) in vocab.tokens() {
            dict.set_item(id, PyBytes::new(py, bytes))?;
        }
        Ok(dict)
    }

    fn merges<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let vocab = self.encoder.vocab();
        let bytes = |id| PyBytes::new(py, vocab.token_bytes(id).unwrap_or_default());
        vocab.merges().iter().map(|merge| (bytes(merge.left), bytes(merge.right))).collect()
    }

    /// The added tokens that are special, or those that are not.
    fn added_tokens<'py>(&self, py: Python<'py>, special: bool) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let mut added: Vec<_> = self.encoder.definition().pipeline.added.iter().collect();
        added.sort_by_key(|token| token.id);
        for token in added.into_iter().filter(|token| token.special == special) {
            dict.set_item(&token.content, token.id)?;
        }
        Ok(dict)
    }

    /// Ids that are put before and after a text.
    #[getter]
    fn template(&self) -> (Vec<u32>, Vec<u32>) {
        let template = &self.encoder.definition().pipeline.template;
        (template.before.clone(), template.after.clone())
    }

    /// The token that ends documents unless another is asked for; by its name, or the only one if that counts as well.
    fn end_of_document(&self, or_only: bool) -> Option<u32> {
        token_file::default_end(&self.encoder, or_only)
    }

    /// What is done beside splitting and merging, as JSON.
    #[getter]
    fn pipeline(&self) -> String {
        let mut pipeline = self.encoder.definition().pipeline.clone();
        pipeline.source.iter_mut().for_each(|source| source.model_file = None);
        serde_json::to_string(&pipeline).unwrap_or_default()
    }

    /// Whether merging begins with characters, and bytes that have no token.
    #[getter]
    fn alphabet(&self) -> (bool, usize) {
        let vocab = self.encoder.vocab();
        (vocab.characters().is_some(), vocab.missing_bytes().count())
    }

    #[getter(vocab_size)]
    fn get_vocab_size(&self) -> usize {
        self.vocab_size()
    }

    #[getter]
    fn pattern(&self) -> &str {
        self.encoder.pretokenizer().pattern()
    }

    #[getter]
    fn pattern_name(&self) -> Option<&'static str> {
        self.encoder.pretokenizer().name()
    }

    #[getter]
    fn pattern_not_compiled(&self) -> Option<&str> {
        self.encoder.pretokenizer().not_compiled()
    }

    #[getter]
    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    #[getter]
    fn sha256(&self) -> &str {
        &self.sha256
    }
}
