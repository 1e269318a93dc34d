//! An automaton of up to 16 states on x86-64: the shuffle of bytes that came with SSSE3, which AVX2 and AVX-512 include.

use super::{FLAGS, Steps, Walk};
use std::arch::x86_64::{
    __m128i, _mm_and_si128, _mm_cvtsi32_si128, _mm_cvtsi128_si32, _mm_load_si128, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128, _mm_shuffle_epi8, _mm_sll_epi16,
};

/// Bytes at a time.
const GROUP: usize = 16;

/// By place in a group, the byte there.
static PLACES: [Lane; GROUP] = {
    let mut places = [Lane([0; GROUP]); GROUP];
    let mut place = 0;
    while place < GROUP {
        places[place].0[place] = 0xFF;
        place += 1;
    }
    places
};

#[derive(Clone, Copy)]
#[repr(align(16))]
struct Lane([u8; GROUP]);

/// [`super::Classify::walk`]
#[target_feature(enable = "ssse3")]
#[inline]
pub fn walk(steps: &Steps, state: u8, block: &[u8; 64], len: usize) -> Walk {
    // SAFETY: 16 bytes at an address that is a multiple of 16.
    let load = |bytes: &[u8; GROUP]| unsafe { _mm_load_si128(bytes.as_ptr().cast()) };
    // All bytes are the state; the flags above it are no part of an index.
    let mut states = _mm_set1_epi8(state.cast_signed());
    let mut flags = [0; FLAGS];
    for (group, bytes) in block.as_chunks::<GROUP>().0.iter().enumerate() {
        let mut all = _mm_setzero_si128();
        let mut step = |(byte, place): (&u8, &Lane)| {
            states = _mm_shuffle_epi8(load(&steps.0[usize::from(byte & 0x7F)].0), states);
            all = _mm_or_si128(all, _mm_and_si128(states, load(&place.0)));
        };
        let rest = len.saturating_sub(group * GROUP);
        if rest >= GROUP {
            bytes.iter().zip(&PLACES).for_each(step);
        } else {
            bytes.iter().zip(&PLACES).take(rest).for_each(&mut step);
        }
        for (flag, mask) in flags.iter_mut().enumerate() {
            *mask |= u64::from(high_bits(all, 3 - flag)) << (group * GROUP);
        }
    }
    Walk { state: _mm_cvtsi128_si32(states).to_le_bytes()[0] & super::STATE, flags }
}

/// The bits that stand so many places below the highest of each byte.
#[target_feature(enable = "ssse3")]
#[inline]
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // at most 3
fn high_bits(bytes: __m128i, below: usize) -> u32 {
    _mm_movemask_epi8(_mm_sll_epi16(bytes, _mm_cvtsi32_si128(below as i32))).cast_unsigned()
}
