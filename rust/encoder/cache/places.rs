//! Where pieces are looked up: their keys and the hashes of these, for a block of pieces at a time.
//!
//! With AVX-512 four pieces together: each is a lane of 128 bits, cut to its length by a mask and multiplied at once, ten
//! instructions a piece where the portable code has thirty. On C the whole encoder is 7 % faster by it.
//!
//! Rejected: AVX2, which has neither masks for bytes nor multiplication of 64 bits; AVX-512 for the comparison with the slots
//! too, which takes half of the instructions and no less time.

#[cfg(target_arch = "x86_64")]
use crate::cpu::has_avx512;
use crate::piece_key::{SHORT, short_key};

/// Pieces looked up together.
pub(super) const BLOCK: usize = 32;
/// Any odd numbers, for the halves of a key each.
const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93];

/// The hash of a piece, to be used from the top bits on.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the halves are wanted
pub(super) fn hash(key: u128) -> u64 {
    (key as u64).wrapping_mul(FACTORS[0]) ^ ((key >> 64) as u64).wrapping_mul(FACTORS[1])
}

/// The short pieces of a block; what stands in the places of others means nothing.
#[repr(align(64))]
pub(super) struct Places {
    pub keys: [u128; BLOCK],
    /// The hash of each key, shifted.
    pub at: [u32; BLOCK],
    #[cfg(target_arch = "x86_64")]
    has_avx512: bool,
}

impl Places {
    pub fn new() -> Self {
        Places {
            keys: [0; BLOCK],
            at: [0; BLOCK],
            #[cfg(target_arch = "x86_64")]
            has_avx512: has_avx512(),
        }
    }

    /// Finds the keys of the pieces of `text` between `bounds`, and where in a table they belong: their hashes shifted by
    /// `shift`, at least 32. Each place is told to `tell` early. Returns a bit for each piece that is no short one.
    #[inline(never)] // apart from the loop over the slots: in one function they lack registers, a tenth slower on C
    pub fn find(&mut self, text: &[u8], bounds: &[u32], shift: u32, tell: impl Fn(usize)) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.has_avx512
            && let Some(bounds) = bounds.first_chunk()
        {
            // SAFETY: `has_avx512` is private, and true only if the processor has these features.
            let found = unsafe { avx512::find(self, text, bounds, shift, &tell) };
            if let Some(long) = found {
                return long;
            }
        }
        self.find_portable(text, bounds, shift, tell)
    }

    #[allow(clippy::cast_possible_truncation)] // shifted by at least 32
    fn find_portable(&mut self, text: &[u8], bounds: &[u32], shift: u32, tell: impl Fn(usize)) -> u32 {
        let mut long = 0;
        for (piece, bounds) in bounds.windows(2).enumerate().take(BLOCK) {
            let (start, len) = (bounds[0] as usize, (bounds[1] - bounds[0]) as usize);
            if len <= SHORT {
                let key = short_key(text, start, len);
                let at = (hash(key) >> shift) as u32;
                tell(at as usize);
                (self.keys[piece], self.at[piece]) = (key, at);
            } else {
                long |= 1 << piece;
            }
        }
        long
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{BLOCK, FACTORS, Places, SHORT};
    use std::arch::x86_64::{
        __m128i, _mm_cmpgt_epu32_mask, _mm_cvtsi32_si128, _mm_loadu_si128, _mm_set1_epi32, _mm_setr_epi8,
        _mm_storeu_si128, _mm_sub_epi32, _mm512_broadcast_i32x4, _mm512_castsi128_si512,
        _mm512_castsi512_si128, _mm512_cmplt_epu8_mask, _mm512_inserti32x4, _mm512_mask_mov_epi8,
        _mm512_maskz_mov_epi8, _mm512_mullo_epi64, _mm512_permutexvar_epi32, _mm512_set4_epi64,
        _mm512_setr_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_epi32, _mm512_srl_epi64,
        _mm512_storeu_si512, _mm512_xor_si512,
    };

    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // 15
    const LONGEST: i32 = SHORT as i32;
    /// The last byte of each lane.
    const LAST: u64 = 0x8000_8000_8000_8000;

    /// [`Places::find`] for a whole block; `None` if it is too near to the end of the text.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub fn find(
        places: &mut Places,
        text: &[u8],
        bounds: &[u32; BLOCK + 1],
        shift: u32,
        tell: impl Fn(usize),
    ) -> Option<u32> {
        let last = bounds.iter().fold(0, |last, &bound| bound.max(last)) as usize;
        if last + 16 > text.len() {
            return None;
        }
        // SAFETY: 16 bytes from any bound on lie within the text.
        let load = |bound: u32| unsafe { _mm_loadu_si128(text.as_ptr().add(bound as usize).cast()) };
        let position =
            _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        let lane = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
        let lane_starts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        let [low, high] = FACTORS.map(u64::cast_signed);
        let factors = _mm512_set4_epi64(high, low, high, low);
        let shift = _mm_cvtsi32_si128(shift.cast_signed());
        let mut long = 0;
        let rooms = places.keys.as_chunks_mut::<4>().0.iter_mut().zip(places.at.as_chunks_mut::<4>().0);
        for (group, (keys, at)) in rooms.enumerate() {
            let first = 4 * group;
            let (starts, ends) = (four(&bounds[first..]), four(&bounds[first + 1..]));
            let pieces = _mm512_castsi128_si512(load(bounds[first]));
            let pieces = _mm512_inserti32x4::<1>(pieces, load(bounds[first + 1]));
            let pieces = _mm512_inserti32x4::<2>(pieces, load(bounds[first + 2]));
            let pieces = _mm512_inserti32x4::<3>(pieces, load(bounds[first + 3]));
            let lens = _mm_sub_epi32(ends, starts);
            long |= u32::from(_mm_cmpgt_epu32_mask(lens, _mm_set1_epi32(LONGEST))) << first;
            // In each byte the length of the lane's piece.
            let lens = _mm512_permutexvar_epi32(lane, _mm512_castsi128_si512(lens));
            let lens = _mm512_shuffle_epi8(lens, _mm512_setzero_si512());
            let bytes = _mm512_maskz_mov_epi8(_mm512_cmplt_epu8_mask(position, lens), pieces);
            let key = _mm512_mask_mov_epi8(bytes, LAST, lens);
            let products = _mm512_mullo_epi64(key, factors);
            let hashes = _mm512_xor_si512(products, _mm512_shuffle_epi32::<0x4E>(products));
            let hashes = _mm512_permutexvar_epi32(lane_starts, _mm512_srl_epi64(hashes, shift));
            // SAFETY: four keys and four places are as long as what is written there.
            unsafe {
                _mm512_storeu_si512(keys.as_mut_ptr().cast(), key);
                _mm_storeu_si128(at.as_mut_ptr().cast(), _mm512_castsi512_si128(hashes));
            }
            for &at in at.iter() {
                tell(at as usize);
            }
        }
        Some(long)
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn four(bounds: &[u32]) -> __m128i {
        let bounds: &[u32; 4] = bounds.first_chunk().unwrap_or(&[0; 4]);
        // SAFETY: four integers.
        unsafe { _mm_loadu_si128(bounds.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_find_the_same(
            text in prop::collection::vec(any::<u8>(), 700..800),
            lens in prop::collection::vec(prop_oneof![4 => 1_u32..16, 1 => 16..40_u32, 1 => 250_u32..280], BLOCK),
            shift in 44_u32..52,
        ) {
            let ends = lens.iter().scan(0, |end, len| { *end += len; Some(*end) });
            let limit = u32::try_from(text.len()).unwrap();
            let bounds: Vec<u32> = std::iter::once(0).chain(ends).map(|bound| bound.min(limit)).collect();
            let found = |find: fn(&mut Places, &[u8], &[u32], u32) -> u32| {
                let mut places = Places::new();
                let long = find(&mut places, &text, &bounds, shift);
                let is_short = |piece: &usize| long >> piece & 1 == 0;
                let short = (0..BLOCK).filter(is_short).map(|piece| (places.keys[piece], places.at[piece]));
                (long, short.collect::<Vec<_>>())
            };
            let best = found(|places, text, bounds, shift| places.find(text, bounds, shift, |_| ()));
            let portable = found(|places, text, bounds, shift| places.find_portable(text, bounds, shift, |_| ()));
            prop_assert_eq!(best, portable);
        }
    }
}
