//! AVX-512: 64 bytes at once. Comparisons give the masks, and the positions of a mask's bits are what is left of the
//! numbers 0 to 63 when they are compressed by it.

use super::{Classify, Masks, Steps, Task, Walk, find_east_asian_letters, shuffle};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_castsi512_si128, _mm512_cmpeq_epi8_mask, _mm512_cmple_epu8_mask,
    _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32, _mm512_loadu_si512, _mm512_maskz_compress_epi8,
    _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_storeu_si512,
    _mm512_sub_epi8,
};

/// Made only in [`run`], so whoever has one runs where the features are.
#[derive(Clone, Copy)]
pub struct Avx512(());

/// Runs a task, inlined into this function and so compiled with its features.
///
/// # Safety
/// The machine has the features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi1,lzcnt,popcnt")]
pub unsafe fn run(task: impl Task) -> usize {
    task.run(Avx512(()))
}

impl Classify for Avx512 {
    #[inline(always)]
    fn masks(self, block: &[u8; 64]) -> Masks {
        // SAFETY: an `Avx512` exists, so the machine has the features.
        unsafe { masks(block) }
    }

    #[inline(always)]
    fn walk(self, steps: &Steps, state: u8, block: &[u8; 64], len: usize) -> Walk {
        // SAFETY: an `Avx512` exists, so the machine has the features.
        unsafe { shuffle::walk(steps, state, block, len) }
    }

    const FINDS_EAST_ASIAN: bool = true;

    #[inline(always)]
    fn east_asian_letters(self, block: &[u8; 64]) -> u64 {
        // SAFETY: an `Avx512` exists, so the machine has the features.
        find_east_asian_letters(|first, last| unsafe { range(load(block), first, last) })
    }

    #[inline(always)]
    fn write_positions(self, mask: u64, base: u32, positions: &mut [u32; 64]) {
        // SAFETY: an `Avx512` exists, so the machine has the features.
        unsafe { write_positions(mask, base, positions) }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &[u8; 64]) -> __m512i {
    // SAFETY: 64 bytes are read, which need no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn masks(block: &[u8; 64]) -> Masks {
    let bytes = load(block);
    let equal = |byte: u8| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()));
    Masks {
        letter: range(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), b'a', b'z'),
        upper: range(bytes, b'A', b'Z'),
        number: range(bytes, b'0', b'9'),
        space: equal(b' ') | range(bytes, b'\t', b'\r'),
        blank: equal(b' '),
        newline: equal(b'\n') | equal(b'\r'),
        quote: equal(b'\''),
        slash: equal(b'/'),
        wide: _mm512_movepi8_mask(bytes),
    }
}

/// Bytes from `first` to `last`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn range(bytes: __m512i, first: u8, last: u8) -> u64 {
    let moved = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first.cast_signed()));
    _mm512_cmple_epu8_mask(moved, _mm512_set1_epi8((last - first).cast_signed()))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
#[inline]
fn write_positions(mask: u64, base: u32, positions: &mut [u32; 64]) {
    const NUMBERS: [u8; 64] = {
        let mut numbers = [0; 64];
        let mut i = 0;
        while i < 64 {
            numbers[i as usize] = i;
            i += 1;
        }
        numbers
    };
    let found = _mm512_maskz_compress_epi8(mask, load(&NUMBERS));
    let base = _mm512_set1_epi32(base.cast_signed());
    let parts = [
        _mm512_castsi512_si128(found),
        _mm512_extracti32x4_epi32::<1>(found),
        _mm512_extracti32x4_epi32::<2>(found),
        _mm512_extracti32x4_epi32::<3>(found),
    ];
    let num_found = mask.count_ones() as usize;
    for ((positions, part), num_before) in
        positions.as_chunks_mut::<16>().0.iter_mut().zip(parts).zip([0, 0, 32, 48])
    {
        // The first two without a look: most masks have more than 16 bits in code, hardly any more than 32.
        if num_before > 0 && num_found <= num_before {
            break;
        }
        let positions_of_part = _mm512_add_epi32(_mm512_cvtepu8_epi32(part), base);
        // SAFETY: sixteen integers are written, which need no alignment.
        unsafe { _mm512_storeu_si512(positions.as_mut_ptr().cast(), positions_of_part) };
    }
}
