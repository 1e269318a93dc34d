//! AVX2: 32 bytes at a time.

use super::{Classify, Masks, Steps, Task, Walk, find_east_asian_letters, shuffle};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8,
    _mm256_or_si256, _mm256_set1_epi8,
};

/// Made only in [`run`], so whoever has one runs where the features are.
#[derive(Clone, Copy)]
pub struct Avx2(());

/// Runs a task, inlined into this function and so compiled with its features.
///
/// # Safety
/// The machine has the features.
#[target_feature(enable = "avx2,bmi1,lzcnt,popcnt")]
pub unsafe fn run(task: impl Task) -> usize {
    task.run(Avx2(()))
}

impl Classify for Avx2 {
    #[inline(always)]
    fn masks(self, block: &[u8; 64]) -> Masks {
        // SAFETY: an `Avx2` exists, so the machine has the features.
        unsafe { masks(block) }
    }

    #[inline(always)]
    fn walk(self, steps: &Steps, state: u8, block: &[u8; 64], len: usize) -> Walk {
        // SAFETY: an `Avx2` exists, so the machine has the features.
        unsafe { shuffle::walk(steps, state, block, len) }
    }

    const FINDS_EAST_ASIAN: bool = true;

    #[inline(always)]
    fn east_asian_letters(self, block: &[u8; 64]) -> u64 {
        // SAFETY: an `Avx2` exists, so the machine has the features.
        find_east_asian_letters(|first, last| unsafe { mask_of(load(block), |v| range(v, first, last)) })
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(block: &[u8; 64]) -> [__m256i; 2] {
    // SAFETY: both loads read 32 of the 64 bytes of `block`, and need no alignment.
    unsafe { [_mm256_loadu_si256(block.as_ptr().cast()), _mm256_loadu_si256(block.as_ptr().add(32).cast())] }
}

#[target_feature(enable = "avx2")]
#[inline]
fn masks(block: &[u8; 64]) -> Masks {
    let both @ [low, high] = load(block);
    Masks {
        letter: mask_of(both, |v| range(_mm256_or_si256(v, _mm256_set1_epi8(0x20)), b'a', b'z')),
        upper: mask_of(both, |v| range(v, b'A', b'Z')),
        number: mask_of(both, |v| range(v, b'0', b'9')),
        space: mask_of(both, |v| _mm256_or_si256(equal(v, b' '), range(v, b'\t', b'\r'))),
        blank: mask_of(both, |v| equal(v, b' ')),
        newline: mask_of(both, |v| _mm256_or_si256(equal(v, b'\n'), equal(v, b'\r'))),
        quote: mask_of(both, |v| equal(v, b'\'')),
        slash: mask_of(both, |v| equal(v, b'/')),
        wide: to_mask(low, high),
    }
}

/// Bytes from `first` to `last`: `first` is moved to the least signed number, whatever follows is greater.
#[target_feature(enable = "avx2")]
#[inline]
fn range(bytes: __m256i, first: u8, last: u8) -> __m256i {
    let moved = _mm256_add_epi8(bytes, _mm256_set1_epi8(0x80_u8.wrapping_sub(first).cast_signed()));
    _mm256_cmpgt_epi8(_mm256_set1_epi8((0x81 + (last - first)).cast_signed()), moved)
}

#[target_feature(enable = "avx2")]
#[inline]
fn equal(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()))
}

#[target_feature(enable = "avx2")]
#[inline]
fn mask_of([low, high]: [__m256i; 2], test: impl Fn(__m256i) -> __m256i) -> u64 {
    to_mask(test(low), test(high))
}

/// The high bits of 64 bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn to_mask(low: __m256i, high: __m256i) -> u64 {
    let half = |bytes| u64::from(_mm256_movemask_epi8(bytes).cast_unsigned());
    half(low) | half(high) << 32
}
