//! Many texts -> ids, on many threads.
//!
//! A thread takes a few texts at a time and appends their ids to one vector of its own, so that a short text costs no
//! allocation, in the type that is wanted in the end. The threads share the joining of the vectors, which are kept for the
//! next call: fresh memory takes longer to get than to fill.
//!
//! Each thread begins with a stretch of its own and then helps with the others': texts that follow each other have words in
//! common, which its cache then knows. The stretches of the next call go to the same caches.

use super::{Encoder, Specials, Worker};
use crate::error::{Error, Result};
use crate::huge_pages;
use crate::monitor::Monitor;
use crate::normalizer::WHOLE;
use crate::reader;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Less text than this is encoded faster by the calling thread than threads are started.
const PARALLEL_BYTES: usize = 1 << 17;
/// Most texts that a thread takes at a time, so that small ones do not fight for the counter, and about how many bytes.
const TAKEN: usize = 16;
const TAKEN_BYTES: usize = 1 << 14;
/// Room is made for a thread's ids before it begins, as if each stood for so many bytes, for at most so much text: page by
/// page it takes as long to get as some texts to encode.
const BYTES_PER_ID: usize = 4;
const MOST_RESERVED: usize = 1 << 26;
/// Bytes of ids that a thread's vector may have room for to be kept, no more than its cache takes.
const MOST_KEPT: usize = 1 << 24;

/// An integer type for ids.
pub trait Id: Copy + Default + Send + Sync {
    /// An id in this type, which is chosen so that it fits.
    fn of(id: u32) -> Self;

    /// A worker's vector of this type, kept from call to call.
    fn room(worker: &mut Worker) -> &mut Vec<Self>;
}

impl Id for u16 {
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // it fits
    fn of(id: u32) -> Self {
        id as u16
    }

    fn room(worker: &mut Worker) -> &mut Vec<Self> {
        &mut worker.narrow_ids
    }
}

impl Id for u32 {
    #[inline]
    fn of(id: u32) -> Self {
        id
    }

    fn room(worker: &mut Worker) -> &mut Vec<Self> {
        &mut worker.ids
    }
}

/// The ids of many texts.
pub struct Batch<'a, T: Id> {
    encoder: &'a Encoder,
    /// Those that made the parts.
    workers: Vec<Worker>,
    /// By thread, the ids of the texts that it took.
    parts: Vec<Vec<T>>,
    /// By text. Those that were taken together follow each other in one part.
    places: Vec<Place>,
    /// How many texts were taken together.
    taken: usize,
    pool: Option<ThreadPool>,
}

/// Where the ids of a text are.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    start: usize,
    end: usize,
}

/// What one thread made: the ids, and for each text its index and where its ids end.
type Part<T> = (Vec<T>, Vec<(usize, usize)>);

impl Encoder {
    /// Encodes many texts on many threads; the result is that of encoding one after the other.
    ///
    /// # Errors
    /// As [`Encoder::encode`], the first in the order of the texts, with the index in the message; [`Error::Interrupted`].
    pub fn encode_batch<T: Id>(
        &self,
        texts: &[&[u8]],
        specials: Specials<'_>,
        num_threads: Option<usize>,
        monitor: &Monitor,
    ) -> Result<Batch<'_, T>> {
        let num_bytes: usize = texts.iter().map(|text| text.len()).sum();
        let alone = num_threads == Some(1) || texts.len() < 2 || num_bytes < PARALLEL_BYTES;
        let pool = if alone { None } else { Some(reader::thread_pool(num_threads)?) };
        let num_threads = pool.as_ref().map_or(1, ThreadPool::current_num_threads);
        let stretches = Stretches::new(texts.len(), num_bytes, num_threads);
        let workers: Vec<_> = (0..num_threads).map(|_| Mutex::new(self.worker())).collect();
        let work = |thread: usize| {
            // No other thread has this index, so there is no waiting.
            let mut worker = workers[thread].lock().unwrap_or_else(PoisonError::into_inner);
            self.encode_some(&mut worker, texts, specials, &stretches, thread, monitor)
        };
        let made =
            pool.as_ref().map_or_else(|| vec![work(0)], |pool| pool.broadcast(|thread| work(thread.index())));
        let workers =
            workers.into_iter().map(|worker| worker.into_inner().unwrap_or_else(PoisonError::into_inner));
        let mut batch = Batch {
            encoder: self,
            workers: workers.collect(),
            parts: Vec::with_capacity(made.len()),
            places: vec![Place { part: 0, start: 0, end: 0 }; texts.len()],
            taken: stretches.taken,
            pool,
        };
        let mut failed = None;
        for result in made {
            match result {
                Ok((ids, ends)) => {
                    let mut start = 0;
                    for (index, end) in ends {
                        batch.places[index] = Place { part: batch.parts.len(), start, end };
                        start = end;
                    }
                    batch.parts.push(ids);
                }
                Err((index, _)) if failed.as_ref().is_some_and(|&(first, _)| first < index) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(batch), |(index, error)| Err(at_index(error, index)))
    }

    /// Takes texts until there are none left. The error has the index of its text.
    fn encode_some<T: Id>(
        &self,
        worker: &mut Worker,
        texts: &[&[u8]],
        specials: Specials<'_>,
        stretches: &Stretches,
        thread: usize,
        monitor: &Monitor,
    ) -> std::result::Result<Part<T>, (usize, Error)> {
        let mut ids = std::mem::take(T::room(worker));
        ids.clear();
        let mut some = std::mem::take(&mut worker.some_ids);
        huge_pages::reserve(&mut ids, stretches.num_bytes.min(MOST_RESERVED) / BYTES_PER_ID);
        let mut ends = Vec::new();
        while let Some(taken) = stretches.take(thread) {
            for index in taken {
                let mut take = |some: &mut Vec<u32>| ids.extend(some.drain(..).map(T::of));
                let encoded = monitor.check().and_then(|()| {
                    self.encode_windows(worker, texts[index], WHOLE, specials, &mut some, &mut take, monitor)
                });
                if let Err(error) = encoded {
                    stretches.end_before(index);
                    return Err((index, error));
                }
                ends.push((index, ids.len()));
            }
        }
        // A huge piece does not leave its memory behind.
        some.shrink_to(1 << 16);
        worker.some_ids = some;
        Ok((ids, ends))
    }
}

/// The texts that are still to be taken: a stretch for each thread.
struct Stretches {
    /// Where the rest of each begins and where it ends.
    rests: Vec<(AtomicUsize, usize)>,
    /// What is not before this is not needed any more.
    end: AtomicUsize,
    /// How many are taken at a time.
    taken: usize,
    /// Of text in a stretch, in the mean.
    num_bytes: usize,
}

impl Stretches {
    /// Of texts with `num_bytes` together.
    fn new(num_texts: usize, num_bytes: usize, num_threads: usize) -> Self {
        let taken = (TAKEN_BYTES * num_texts / num_bytes.max(1)).clamp(1, TAKEN);
        let begin = |thread: usize| (num_texts * thread / num_threads).next_multiple_of(taken).min(num_texts);
        let rests = (0..num_threads).map(|thread| (AtomicUsize::new(begin(thread)), begin(thread + 1)));
        Stretches {
            rests: rests.collect(),
            end: AtomicUsize::new(num_texts),
            taken,
            num_bytes: num_bytes / num_threads,
        }
    }

    /// The next texts for a thread: of its own stretch, then of others.
    fn take(&self, thread: usize) -> Option<Range<usize>> {
        let num_threads = self.rests.len();
        (0..num_threads).find_map(|k| {
            let (begin, end) = &self.rests[(thread + k) % num_threads];
            let end = *end.min(&self.end.load(Relaxed));
            let begin = begin.fetch_add(self.taken, Relaxed);
            (begin < end).then(|| begin..end.min(begin + self.taken))
        })
    }

    /// Gives no more of the texts from `index` on. Those before may hold an earlier error.
    fn end_before(&self, index: usize) {
        self.end.fetch_min(index, Relaxed);
    }
}

impl<T: Id> Batch<'_, T> {
    /// The ids of each text.
    #[must_use]
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &[T]> {
        self.places.iter().map(|place| &self.parts[place.part][place.start..place.end])
    }

    /// Where the ids of each text begin in [`Batch::into_flat`], and in the end their number.
    #[must_use]
    pub fn offsets(&self) -> Vec<u64> {
        let mut offsets = Vec::with_capacity(self.places.len() + 1);
        let mut num_ids = 0;
        offsets.push(0);
        offsets.extend(self.texts().map(|ids| {
            num_ids += ids.len() as u64;
            num_ids
        }));
        offsets
    }

    /// The ids of all texts in one vector: nothing is copied if one thread made them all.
    #[must_use]
    pub fn into_flat(mut self) -> Vec<T> {
        match &mut self.parts[..] {
            [ids] => std::mem::take(ids),
            _ => self.flat(),
        }
    }

    fn flat(&self) -> Vec<T> {
        let mut flat = vec![T::default(); self.parts.iter().map(Vec::len).sum()];
        huge_pages::ask_for_huge_pages(&mut flat);
        let mut rest = &mut flat[..];
        let mut copies = Vec::with_capacity(self.places.len() / self.taken + 1);
        for taken in self.places.chunks(self.taken) {
            let (first, last) = (taken[0], taken[taken.len() - 1]);
            let ids = &self.parts[first.part][first.start..last.end];
            let (to, after) = rest.split_at_mut(ids.len());
            copies.push((to, ids));
            rest = after;
        }
        let copy = |(to, ids): (&mut [T], &[T])| to.copy_from_slice(ids);
        match &self.pool {
            Some(pool) => pool.install(|| copies.into_par_iter().for_each(copy)),
            None => copies.into_iter().for_each(copy),
        }
        flat
    }
}

impl<T: Id> Drop for Batch<'_, T> {
    fn drop(&mut self) {
        // The last that is put back is the first to be taken. After an error there are more workers than parts.
        while let Some(mut worker) = self.workers.pop() {
            let part = if self.parts.len() > self.workers.len() { self.parts.pop() } else { None };
            let is_kept = |part: &Vec<T>| size_of::<T>() * part.capacity() <= MOST_KEPT;
            *T::room(&mut worker) = part.filter(is_kept).unwrap_or_default();
            self.encoder.put_back(worker);
        }
    }
}

fn at_index(error: Error, index: usize) -> Error {
    match error {
        Error::SpecialToken(message) => Error::SpecialToken(format!("text {index}: {message}")),
        other => other,
    }
}
