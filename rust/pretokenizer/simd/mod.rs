//! Byte classes of 64 bytes as bit masks: bit `i` of a mask tells about byte `i`.
//!
//! Four implementations give the same masks: AVX-512 and AVX2 (x86-64, found at run time), NEON (part of every aarch64),
//! and eight bytes at a time in ordinary integers. All classes are ranges of ASCII, so each is a subtraction and a
//! comparison; a byte above 0x7F is in `wide` and in no other mask.
//!
//! The code that uses the masks must be compiled once for each implementation, or each block would cost a call: a
//! [`Task`] is generic over [`Classify`] and is handed to [`Level::run`], which enters it with the target features on.
//!
//! Chinese and Japanese are most of their text's bytes above 0x7F, one or two classes of them: the vector implementations
//! find these letters too, in half of the time that it takes to look them up.
//!
//! An automaton of up to 16 states is run here as well: a byte is a shuffle of states, so the next state is there after one
//! cycle, where a load takes five.
//!
//! Rejected: nibble tables (`pshufb`) that give all classes in one byte, since taking a byte apart into masks costs as
//! much as the comparisons.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod shuffle;

#[cfg(target_arch = "x86_64")]
use crate::cpu::{has_avx2, has_avx512};
use std::fmt::{self, Debug, Formatter};

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

/// What an automaton of up to 16 states does on ASCII bytes: by byte, by state, the next state, with flags above its four
/// bits. The highest bit is free.
#[derive(Debug)]
pub struct Steps(pub Box<[Step; 128]>);

/// What it does on one byte, by state.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(16))]
pub struct Step(pub [u8; 16]);

/// Flags of [`Steps`].
pub const FLAGS: usize = 3;
/// The bits of a state.
const STATE: u8 = 15;

/// What [`Classify::walk`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The state in the end.
    pub state: u8,
    /// By flag, a bit for each byte.
    pub flags: [u64; FLAGS],
}

impl Walk {
    #[inline(always)]
    fn step(&mut self, steps: &Steps, at: usize, byte: u8) {
        let step = steps.0[usize::from(byte & 0x7F)].0[usize::from(self.state)];
        self.state = step & STATE;
        for (flag, mask) in self.flags.iter_mut().enumerate() {
            *mask |= u64::from(step >> (4 + flag) & 1) << at;
        }
    }
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

    /// Runs an automaton from a state over the first bytes of a block, which are ASCII.
    #[inline(always)]
    fn walk(self, steps: &Steps, state: u8, block: &[u8; 64], len: usize) -> Walk {
        let mut walk = Walk { state, ..Walk::default() };
        for (at, &byte) in block.iter().enumerate().take(len) {
            walk.step(steps, at, byte);
        }
        walk
    }

    /// Writes the positions of the bits of `mask`, plus `base`, and some rubbish behind them: eight at a time, so that the
    /// number of bits, which no processor can foresee, decides a branch only every eight.
    #[inline(always)]
    fn write_positions(self, mut mask: u64, base: u32, positions: &mut [u32; 64]) {
        for positions in positions.as_chunks_mut::<8>().0 {
            for position in positions {
                *position = base.wrapping_add(mask.trailing_zeros());
                mask &= mask.wrapping_sub(1);
            }
            if mask == 0 {
                break;
            }
        }
    }
}

/// Work that is compiled for each way to classify. `run` must be `#[inline(always)]`, and all that it calls in its inner
/// loop too: a function that stays outside would be compiled without the target features.
pub trait Task {
    /// Does the work.
    fn run<C: Classify>(self, classify: C) -> usize;
}

/// An implementation that this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

impl Debug for Level {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// No masks at all.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Ordinary integers, on every machine.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The fastest implementation that this machine has.
    #[inline]
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            return Self(Kind::Avx512);
        } else if has_avx2() {
            return Self(Kind::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        return Self(Kind::Neon);
        #[cfg(not(target_arch = "aarch64"))]
        Self::PORTABLE
    }

    /// All implementations that this machine has, the best of them last.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::SCALAR, Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        all.extend(has_avx2().then_some(Self(Kind::Avx2)));
        all.push(Self::best());
        all.dedup();
        all
    }

    /// Runs a task with this implementation.
    #[inline]
    pub fn run(self, task: impl Task) -> usize {
        match self.0 {
            Kind::Scalar => task.run(Scalar),
            Kind::Portable => task.run(Portable),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kind` is private to this module, and these two are made only after the features were found.
            Kind::Avx2 => unsafe { avx2::run(task) },
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::run(task) },
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
        for level in Level::all().into_iter().filter(|&level| level != Level::SCALAR) {
            let (masks, found) = masks(level, block).unwrap();
            assert_eq!(masks, expected, "{level:?}");
            assert_eq!(found.unwrap_or(letters), letters, "{level:?}, {block:x?}");
        }
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

    struct Run<'a>(&'a Steps, u8, &'a [u8; 64], usize, &'a mut Walk);

    impl Task for Run<'_> {
        #[inline(always)]
        fn run<C: Classify>(self, classify: C) -> usize {
            *self.4 = classify.walk(self.0, self.1, self.2, self.3);
            0
        }
    }

    struct Write<'a>(u64, &'a mut [u32; 64]);

    impl Task for Write<'_> {
        #[inline(always)]
        fn run<C: Classify>(self, classify: C) -> usize {
            classify.write_positions(self.0, 1000, self.1);
            0
        }
    }

    proptest! {
        #[test]
        fn any_mask(bits in prop::collection::vec(0..64, 0..100)) {
            let mask = bits.iter().fold(0, |mask, bit| mask | 1_u64 << bit);
            let expected: Vec<u32> = (0..64).filter(|bit| mask >> bit & 1 != 0).map(|bit| 1000 + bit).collect();
            for level in Level::all() {
                let mut positions = [0; 64];
                level.run(Write(mask, &mut positions));
                prop_assert_eq!(&positions[..expected.len()], &expected[..], "{:?}", level);
            }
        }

        #[test]
        fn any_walk(
            steps in prop::collection::vec(prop::array::uniform16(0..128_u8), 128),
            block in prop::collection::vec(0..128_u8, 64),
            (state, len) in (0..16_u8, 0..=64_usize),
        ) {
            let steps: Vec<_> = steps.into_iter().map(Step).collect();
            let steps = Steps(steps.try_into().unwrap());
            let block: &[u8; 64] = block.as_slice().try_into().unwrap();
            let mut expected = Walk { state, ..Walk::default() };
            (0..len).for_each(|at| expected.step(&steps, at, block[at]));
            for level in Level::all() {
                let mut walk = Walk::default();
                level.run(Run(&steps, state, block, len, &mut walk));
                prop_assert_eq!(walk, expected, "{:?}", level);
            }
        }

        #[test]
        fn any_block(block in prop::array::uniform32(any::<u16>())) {
            let bytes: Vec<u8> = block.iter().flat_map(|pair| pair.to_le_bytes()).collect();
            check(bytes.as_slice().try_into().unwrap());
        }
    }
}
