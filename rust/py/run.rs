//! Long core calls: they run on threads of their own while the calling thread waits, handles signals and reports progress, so
//! Ctrl-C is honoured at once and the core never calls into Python.

use super::CoreResult;
use super::convert::{at_text, text_bytes};
use super::errors::internal_error;
use crate::monitor::{Monitor, Phase};
use crate::reader::TextBatch;
use pyo3::prelude::*;
use pyo3::types::PyIterator;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// How often the calling thread looks for signals while the core works.
const SIGNALS_EVERY: Duration = Duration::from_millis(50);
/// How often a progress callback is called at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Bytes of text drained from a Python iterator at a time.
const BATCH_BYTES: usize = 4 << 20;

/// Runs `work` on another thread; this one handles signals and calls `progress(stage, unit, done, total)`.
pub fn run<T: Send>(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    work: impl FnOnce(&Monitor) -> CoreResult<T> + Send,
) -> PyResult<T> {
    let monitor = Monitor::default();
    run_with(py, progress, &monitor, work, |_| Ok(()))
}

/// Runs short work on this thread, without the interpreter. A panic is a bug of ours, and reaches Python as an
/// `InternalError`: `PyO3`'s own exception for it is no `Exception`, so servers would not survive it.
pub fn run_here<T: Send>(py: Python<'_>, work: impl FnOnce() -> CoreResult<T> + Send) -> PyResult<T> {
    let outcome = py.detach(|| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    Ok(outcome.map_err(|_| internal_error(py))??)
}

/// [`run`], with something to do on this thread meanwhile.
pub fn run_with<T: Send>(
    py: Python<'_>,
    progress: Option<&Py<PyAny>>,
    monitor: &Monitor,
    work: impl FnOnce(&Monitor) -> CoreResult<T> + Send,
    meanwhile: impl FnOnce(&Attention<'_>) -> PyResult<()> + Send,
) -> PyResult<T> {
    let attention = Attention { progress, monitor, reported: Mutex::new(Instant::now()) };
    let (outcome, raised) = py.detach(|| {
        std::thread::scope(|scope| {
            // Nothing is sent: the work ends this end, by returning or by panicking.
            let (working, ended) = sync_channel::<()>(0);
            let handle = scope.spawn(move || {
                let _working = working;
                work(monitor)
            });
            let mut raised = meanwhile(&attention).err();
            loop {
                if raised.is_some() {
                    monitor.stop();
                }
                if ended.recv_timeout(SIGNALS_EVERY) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
                if raised.is_none() {
                    raised = Python::attach(|py| attention.pay(py)).err();
                }
            }
            (handle.join(), raised)
        })
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let result = outcome.map_err(|_| internal_error(py))??;
    attention.report(py)?;
    Ok(result)
}

/// What the calling thread gives to Python while the core works.
pub struct Attention<'a> {
    progress: Option<&'a Py<PyAny>>,
    monitor: &'a Monitor,
    reported: Mutex<Instant>,
}

impl Attention<'_> {
    /// Runs signal handlers, and reports progress if it is time to.
    fn pay(&self, py: Python<'_>) -> PyResult<()> {
        py.check_signals()?;
        let due = self.reported.try_lock().is_ok_and(|mut reported| {
            let due = reported.elapsed() >= PROGRESS_EVERY;
            if due {
                *reported = Instant::now();
            }
            due
        });
        if due { self.report(py) } else { Ok(()) }
    }

    fn report(&self, py: Python<'_>) -> PyResult<()> {
        let Some(progress) = self.progress else { return Ok(()) };
        let (phase, done, total) = self.monitor.snapshot();
        let (name, unit) = phase.name_and_unit();
        progress.call1(py, (name, unit, done, total))?;
        if phase == Phase::Encode {
            progress.call1(py, (name, "tokens", self.monitor.tokens(), 0))?;
        }
        Ok(())
    }
}

/// Drains an iterator of texts into batches; ends when it does, or when nobody takes them any more.
pub fn send_texts(
    texts: &Bound<'_, PyIterator>,
    sender: SyncSender<TextBatch>,
    attention: &Attention<'_>,
) -> PyResult<()> {
    let py = texts.py();
    let mut batch = TextBatch::default();
    for (index, text) in texts.clone().enumerate() {
        let text = text?;
        let bytes = text_bytes(&text).map_err(|error| at_text(py, error, index))?;
        batch.push(bytes);
        if batch.num_bytes() >= BATCH_BYTES {
            let full = std::mem::take(&mut batch);
            if py.detach(|| sender.send(full)).is_err() {
                return Ok(());
            }
            attention.pay(py)?;
        }
    }
    // Refused only by a core that has failed; its error is the one to tell.
    let _ = py.detach(|| sender.send(batch));
    Ok(())
}
