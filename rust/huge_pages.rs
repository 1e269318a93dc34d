//! Memory in units of two megabytes, where Linux is told that it pays: fewer faults when it is first touched, fewer misses
//! when it is looked at here and there.

/// Bytes of a huge page, on the processors that matter.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE_PAGE: usize = 1 << 21;

/// Makes room in a vector, if there is too little, and [asks for huge pages](ask_for_huge_pages) for it.
///
/// Never inlined: within the encoder's loop it leaves too few registers to the rest, a twelfth slower on C.
#[inline(never)]
pub(crate) fn reserve<T>(vec: &mut Vec<T>, additional: usize) {
    if vec.capacity() - vec.len() < additional {
        vec.reserve_exact(additional);
        ask_for_huge_pages(vec.spare_capacity_mut());
    }
}

/// Asks the system for large pages for memory that has not been touched yet, where a whole one fits.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn ask_for_huge_pages<T>(room: &mut [T]) {
    let skipped = room.as_ptr().cast::<u8>().align_offset(HUGE_PAGE);
    if let Some(len) = size_of_val(room).checked_sub(skipped).filter(|&len| len >= HUGE_PAGE) {
        // SAFETY: whole pages of memory that the caller has to itself; what they hold stays as it is. A refusal does not
        // matter.
        unsafe { libc::madvise(room.as_mut_ptr().byte_add(skipped).cast(), len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn ask_for_huge_pages<T>(_: &mut [T]) {}
