//! NEON: 16 bytes at a time.

use super::{Classify, Masks, find_east_asian_letters};
use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vceqq_u8, vcgeq_u8, vcleq_u8, vdupq_n_u8, vgetq_lane_u64, vld1q_u8, vorrq_u8,
    vpaddq_u8, vreinterpretq_u64_u8, vsubq_u8,
};

/// NEON is part of the architecture, so anyone may make one.
#[derive(Clone, Copy)]
pub struct Neon;

impl Classify for Neon {
    #[inline(always)]
    fn masks(self, block: &[u8; 64]) -> Masks {
        // SAFETY: every aarch64 target of the standard library has NEON.
        unsafe { masks(block) }
    }

    const FINDS_EAST_ASIAN: bool = true;

    #[inline(always)]
    fn east_asian_letters(self, block: &[u8; 64]) -> u64 {
        // SAFETY: every aarch64 target of the standard library has NEON.
        find_east_asian_letters(|first, last| unsafe { mask_of(load(block), |v| range(v, first, last)) })
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn load(block: &[u8; 64]) -> [uint8x16_t; 4] {
    // SAFETY: each load reads 16 of the 64 bytes of `block`, and needs no alignment.
    [0, 16, 32, 48].map(|at| unsafe { vld1q_u8(block.as_ptr().add(at)) })
}

#[target_feature(enable = "neon")]
#[inline]
fn masks(block: &[u8; 64]) -> Masks {
    let bytes = load(block);
    Masks {
        letter: mask_of(bytes, |v| range(vorrq_u8(v, vdupq_n_u8(0x20)), b'a', b'z')),
        upper: mask_of(bytes, |v| range(v, b'A', b'Z')),
        number: mask_of(bytes, |v| range(v, b'0', b'9')),
        space: mask_of(bytes, |v| vorrq_u8(equal(v, b' '), range(v, b'\t', b'\r'))),
        blank: mask_of(bytes, |v| equal(v, b' ')),
        newline: mask_of(bytes, |v| vorrq_u8(equal(v, b'\n'), equal(v, b'\r'))),
        quote: mask_of(bytes, |v| equal(v, b'\'')),
        slash: mask_of(bytes, |v| equal(v, b'/')),
        wide: mask_of(bytes, |v| vcgeq_u8(v, vdupq_n_u8(0x80))),
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn range(bytes: uint8x16_t, first: u8, last: u8) -> uint8x16_t {
    vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(last - first))
}

#[target_feature(enable = "neon")]
#[inline]
fn equal(bytes: uint8x16_t, byte: u8) -> uint8x16_t {
    vceqq_u8(bytes, vdupq_n_u8(byte))
}

#[target_feature(enable = "neon")]
#[inline]
fn mask_of(bytes: [uint8x16_t; 4], test: impl Fn(uint8x16_t) -> uint8x16_t) -> u64 {
    to_mask(bytes.map(test))
}

/// One bit of each of 64 bytes that are 0 or 0xFF: each byte keeps the bit of its place among eight, then three
/// rounds of adding neighbours bring the bits of eight bytes together.
#[target_feature(enable = "neon")]
#[inline]
fn to_mask(bytes: [uint8x16_t; 4]) -> u64 {
    const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
    // SAFETY: the load reads the 16 bytes of `PLACES`.
    let places = unsafe { vld1q_u8(PLACES.as_ptr()) };
    let [a, b, c, d] = bytes.map(|bytes| vandq_u8(bytes, places));
    let sums = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)))
}
