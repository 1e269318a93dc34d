//! Byte classes of 64 bytes as bit masks: bit `i` of a mask tells about byte `i`.
//!
//! Three implementations give the same masks: AVX2 (x86-64, found at run time), NEON (part of every aarch64), and
//! eight bytes at a time in ordinary integers. All classes are ranges of ASCII, so each is a subtraction and a signed
//! comparison; a byte above 0x7F is in `wide` and in no other mask.
//!
//! The code that uses the masks must be compiled once for each implementation, or each block would cost a call: a
//! [`Task`] is generic over [`Classify`] and is handed to [`Level::run`], which enters it with the target features on.
//! This is the only file with `unsafe`.
//!
//! Chinese and Japanese are most of their text's bytes above 0x7F, one or two classes of them: the vector implementations
//! find these letters too, in half of the time that it takes to look them up.
//!
//! Rejected: nibble tables (`pshufb`) that give all classes in one byte, since taking a byte apart into masks costs as
//! much as the comparisons; AVX-512, which needs a newer compiler than this crate asks for.

/// The classes of 64 bytes. Masks that a caller does not read are not computed, since all of this is inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masks {
    /// `[A-Za-z]`
    pub letter: u64,
    /// `[A-Z]`
    pub upper: u64,
    /// `[0-9]`
    pub number: u64,
    /// `[\t\n\v\f\r ]`
    pub space: u64,
    /// The space character alone.
    pub blank: u64,
    /// `[\r\n]`
    pub newline: u64,
    /// The apostrophe.
    pub quote: u64,
    /// `/`
    pub slash: u64,
    /// Above 0x7F.
    pub wide: u64,
}

/// A way to classify 64 bytes.
pub trait Classify: Copy {
    /// Whether masks are worth having.
    const USES_MASKS: bool = true;

    /// The masks of a block.
    fn masks(self, block: &[u8; 64]) -> Masks;

    /// Whether [`Classify::east_asian_letters`] finds any.
    const FINDS_EAST_ASIAN: bool = false;

    /// The first bytes of letters of Chinese and Japanese that the block holds whole: see [`find_east_asian_letters`].
    #[inline(always)]
    fn east_asian_letters(self, _block: &[u8; 64]) -> u64 {
        0
    }
}

/// Work that is compiled for each way to classify. `run` must be `#[inline(always)]`, and all that it calls in its inner
/// loop too: a function that stays outside would be compiled without the target features.
pub trait Task {
    /// Does the work.
    fn run<C: Classify>(self, classify: C) -> usize;
}

/// An implementation that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// No masks at all.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Ordinary integers, on every machine.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest implementation that this machine has. The standard library remembers the answer.
    #[inline]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
        {
            return Self(Kind::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        return Self(Kind::Neon);
        #[cfg(not(target_arch = "aarch64"))]
        Self::PORTABLE
    }

    /// Runs a task with this implementation.
    #[inline]
    pub fn run(self, task: impl Task) -> usize {
        match self.0 {
            Kind::Scalar => task.run(Scalar),
            Kind::Portable => task.run(Portable),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kind::Avx2` is private to this module and made only by `best`, after it found the features.
            Kind::Avx2 => unsafe { avx2::run(task) },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => task.run(neon::Neon),
        }
    }
}

/// Says that nothing is known about any byte.
#[derive(Clone, Copy)]
struct Scalar;

impl Classify for Scalar {
    const USES_MASKS: bool = false;

    #[inline(always)]
    fn masks(self, _block: &[u8; 64]) -> Masks {
        Masks { wide: u64::MAX, ..NONE }
    }
}

const NONE: Masks =
    Masks { letter: 0, upper: 0, number: 0, space: 0, blank: 0, newline: 0, quote: 0, slash: 0, wide: 0 };

/// The first bytes of hiragana, katakana and the Chinese characters from U+4000 to U+9FFF that a block holds whole, given
/// the mask of bytes of a range. Each has three bytes and is a letter without case; the few unassigned, marks and symbols
/// among them are left out, with all other characters, to be looked up one by one.
#[inline(always)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn find_east_asian_letters(range: impl Fn(u8, u8) -> u64) -> u64 {
    if range(0xE3, 0xE9) == 0 {
        return 0;
    }
    let equal = |byte| range(byte, byte);
    let symbols = equal(0xE4) & (equal(0xB7) >> 1); // U+4DC0 to U+4DFF
    let chinese = range(0xE4, 0xE9) & !symbols;
    let no_kana = (equal(0x81) & (equal(0x80) >> 1)) // U+3040
        | (equal(0x82) & ((range(0x97, 0x9C) | equal(0xA0)) >> 1)) // U+3097 to U+309C, U+30A0
        | (equal(0x83) & (equal(0xBB) >> 1)); // U+30FB
    let kana = equal(0xE3) & ((range(0x81, 0x83) & !no_kana) >> 1);
    let tail = range(0x80, 0xBF);
    (chinese | kana) & (tail >> 1) & (tail >> 2)
}

/// Eight bytes at a time in a `u64`.
#[derive(Clone, Copy)]
struct Portable;

impl Classify for Portable {
    #[inline(always)]
    fn masks(self, block: &[u8; 64]) -> Masks {
        let mut masks = NONE;
        for (index, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*bytes);
            let low = word & !HIGH;
            let add = |mask: &mut u64, flags: u64| *mask |= gather(flags) << (8 * index);
            // The high bit of each byte of `low` that is at least `first`: no carry, for both are below 0x80.
            let at_least = |low: u64, first: u8| low + ONES * u64::from(0x80 - first);
            let range = |low: u64, first: u8, last: u8| {
                at_least(low, first) & !at_least(low, last + 1) & !word & HIGH
            };
            add(&mut masks.letter, range(low | (ONES * 0x20), b'a', b'z'));
            add(&mut masks.upper, range(low, b'A', b'Z'));
            add(&mut masks.number, range(low, b'0', b'9'));
            let blank = range(low, b' ', b' ');
            add(&mut masks.blank, blank);
            add(&mut masks.space, blank | range(low, b'\t', b'\r'));
            add(&mut masks.newline, range(low, b'\n', b'\n') | range(low, b'\r', b'\r'));
            add(&mut masks.quote, range(low, b'\'', b'\''));
            add(&mut masks.slash, range(low, b'/', b'/'));
            add(&mut masks.wide, word & HIGH);
        }
        masks
    }
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// The high bits of eight bytes as the low eight bits: the factor moves the bit of byte `k` to bit `56 + k`.
#[inline(always)]
fn gather(flags: u64) -> u64 {
    (flags >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{Classify, Masks, Task, find_east_asian_letters};
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256,
        _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
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
        unsafe {
            [_mm256_loadu_si256(block.as_ptr().cast()), _mm256_loadu_si256(block.as_ptr().add(32).cast())]
        }
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
}

#[cfg(target_arch = "aarch64")]
mod neon {
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
}

#[cfg(test)]
mod tests {
    use super::{
        super::classes::{CLASSES, LETTER},
        *,
    };
    use proptest::prelude::*;

    struct Read<'a>(&'a [u8; 64], &'a mut Option<(Masks, Option<u64>)>);

    impl Task for Read<'_> {
        #[inline(always)]
        fn run<C: Classify>(self, classify: C) -> usize {
            let letters = C::FINDS_EAST_ASIAN.then(|| classify.east_asian_letters(self.0));
            *self.1 = Some((classify.masks(self.0), letters));
            0
        }
    }

    fn masks(level: Level, block: &[u8; 64]) -> Option<(Masks, Option<u64>)> {
        let mut masks = None;
        level.run(Read(block, &mut masks));
        masks
    }

    fn check(block: &[u8; 64]) {
        let define =
            |test: fn(u8) -> bool| (0..64).filter(|&at| test(block[at])).map(|at| 1 << at).sum::<u64>();
        let expected = Masks {
            letter: define(|byte| byte.is_ascii_alphabetic()),
            upper: define(|byte| byte.is_ascii_uppercase()),
            number: define(|byte| byte.is_ascii_digit()),
            space: define(|byte| b"\t\n\x0B\x0C\r ".contains(&byte)),
            blank: define(|byte| byte == b' '),
            newline: define(|byte| byte == b'\r' || byte == b'\n'),
            quote: define(|byte| byte == b'\''),
            slash: define(|byte| byte == b'/'),
            wide: define(|byte| byte >= 0x80),
        };
        let letters = (0..64)
            .filter(|&at| {
                let character =
                    block[at..].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
                character.is_some_and(|c| {
                    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{4000}'..='\u{9FFF}') && CLASSES.of(c) == LETTER
                })
            })
            .map(|at| 1 << at)
            .sum::<u64>();
        assert_eq!(masks(Level::PORTABLE, block), Some((expected, None)));
        let (masks, found) = masks(Level::best(), block).unwrap();
        assert_eq!(masks, expected);
        assert_eq!(found.unwrap_or(letters), letters, "{block:x?}");
    }

    #[test]
    fn each_character_of_three_bytes_has_its_class() {
        for first in ('\u{800}'..='\u{FFFF}').step_by(7) {
            for shift in 0..3 {
                let text: String = (first..).take(21).collect();
                let mut block = [b'a'; 64];
                let room = 64 - shift;
                block[shift..].copy_from_slice(&[text.as_bytes(), b"aaa"].concat()[..room]);
                check(&block);
            }
        }
    }

    #[test]
    fn each_byte_has_its_class_at_each_place() {
        for byte in 0..=0xFF {
            check(&[byte; 64]);
            for at in 0..64 {
                for around in [b'a', 0x80] {
                    let mut block = [around; 64];
                    block[at] = byte;
                    check(&block);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_block(block in prop::array::uniform32(any::<u16>())) {
            let bytes: Vec<u8> = block.iter().flat_map(|pair| pair.to_le_bytes()).collect();
            check(bytes.as_slice().try_into().unwrap());
        }
    }
}
