//! Short work on all cores: milliseconds, for which nothing is kept between calls.

use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::{Builder, available_parallelism, scope};

/// Does work on parts of `0..len`, of `size` each, which a thread per core takes one by one; returns what it gives for each,
/// in order. Where the system gives no thread, the others do the work.
pub(crate) fn share<T: Send>(len: usize, size: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    let num_parts = len.div_ceil(size);
    let num_threads = available_parallelism().map_or(1, NonZero::get).min(num_parts);
    let next = AtomicUsize::new(0);
    let take_parts = || {
        let parts =
            std::iter::repeat_with(|| next.fetch_add(1, Relaxed)).take_while(|&part| part < num_parts);
        parts.map(|part| (part, work(part * size..len.min((part + 1) * size)))).collect::<Vec<_>>()
    };
    let mut done = scope(|scope| {
        let others: Vec<_> =
            (1..num_threads).filter_map(|_| Builder::new().spawn_scoped(scope, take_parts).ok()).collect();
        let mut done = take_parts();
        for thread in others {
            done.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|&(part, _)| part);
    done.into_iter().map(|(_, given)| given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole() {
        for len in [0, 1, 9, 10, 11, 1000] {
            let parts = share(len, 10, Vec::from_iter);
            assert_eq!(parts.concat(), (0..len).collect::<Vec<_>>());
        }
    }
}
