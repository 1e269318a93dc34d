//! The block scanner: the piece boundaries of 64 bytes together, from masks of their classes.
//!
//! A block begins where a piece begins, at any address, so nothing is carried from block to block. A pattern computes
//! from the masks a mask of piece starts ([`Rules::starts`]); its bits are written out as ends, and the last of them is
//! where the next block begins. Characters above 0x7F are looked up and added to the masks with all of their bytes, so
//! that the same shifts and sums serve every script. What the masks cannot tell is left to the pattern's scalar scanner,
//! one piece at a time: wide whitespace, invalid bytes, a few rare sequences, and pieces longer than the block.
//!
//! Cost: some fifty instructions for the classes and thirty for the boundaries of 64 ASCII bytes, three for each piece,
//! fifteen for each character above 0x7F that the vector instructions do not find. Half a piece in 64 bytes is looked at
//! twice; the end of a text, shorter than a block, is copied into one. On ASCII prose this is fifteen times as fast as
//! the scalar scanner, which pays a wrongly predicted branch for nearly each piece.
//!
//! Tried and rejected:
//! * Aligned blocks with carried state: they look at each byte once, but all rules then need the character before and
//!   after, a boundary may stay undecided over many blocks (whitespace after a newline), and the scalar scanner must be
//!   entered and left in the middle of a piece.
//! * Ending the block at the first character above 0x7F: half the speed on German, a third on text in many scripts.
//! * One copy of the rules for all blocks: masks that are empty in ASCII cost a quarter of the speed there with `gpt2`,
//!   more than half with `o200k`.
//! * Leaving the end of a text to the scalar scanner: a quarter of the speed on texts of fifty bytes.
//! * Taking the length of a character from its class (1 where it is invalid): the next character then waits for the table,
//!   and the scalar scanner has half its speed on Japanese.

use super::{
    classes::{Classes, END, LETTER, LOWER, MARK, NUMBER, OTHER, UPPER},
    simd::{Classify, Level, Masks, Task},
};

/// A pattern, as block rules and as the scanner that decides what these leave open.
pub trait Rules: Copy {
    /// Classes of characters above 0x7F that [`Rules::starts`] cannot deal with. Whitespace must be one of them.
    const STOP: u8;

    /// The table that the scanner uses.
    fn classes(&self) -> &Classes;

    /// The places in a block at which pieces start, bit `i` for byte `i`.
    ///
    /// `text` goes on behind the block; a piece starts at its first byte. The answer must be right for the bits of
    /// `block.valid`, whatever follows. It may leave out starts, but only if it leaves out all that follow too; bit 0
    /// and bits outside of `valid` are ignored.
    fn starts(self, block: &Block, text: &[u8]) -> u64;

    /// The end of the piece that starts at `at`, which lies within `text`.
    fn piece_end(self, text: &[u8], at: usize) -> usize;
}

/// The classes of the characters of a block: a character has the bits of all of its bytes set.
pub struct Block {
    /// The part of the block that is known: its lowest bytes, often all. The other masks mean nothing outside of it.
    pub valid: u64,
    /// Bytes of a character other than the first.
    pub inner: u64,
    /// `\p{L}`
    pub letter: u64,
    /// `[\p{Lu}\p{Lt}]`
    pub upper: u64,
    /// `\p{Ll}`
    pub lower: u64,
    /// `\p{M}`
    pub mark: u64,
    /// `\p{N}`
    pub number: u64,
    /// `[^\s\p{L}\p{N}]`
    pub other: u64,
    /// `\s`
    pub space: u64,
    /// The space character alone.
    pub blank: u64,
    /// `[\r\n]`
    pub newline: u64,
    /// The apostrophe.
    pub quote: u64,
    /// `/`
    pub slash: u64,
}

impl Block {
    /// The masks of the ASCII bytes.
    #[inline(always)]
    fn new(masks: &Masks) -> Self {
        let Masks { letter, upper, number, space, blank, newline, quote, slash, wide } = *masks;
        Self {
            valid: u64::MAX,
            inner: 0,
            letter,
            upper,
            lower: letter & !upper,
            mark: 0,
            number,
            other: !(letter | number | space | wide),
            space,
            blank,
            newline,
            quote,
            slash,
        }
    }

    /// Adds letters without case, of three bytes each; returns their bytes.
    #[inline(always)]
    fn add_letters(&mut self, first_bytes: u64) -> u64 {
        let inner = first_bytes << 1 | first_bytes << 2;
        self.inner |= inner;
        self.letter |= first_bytes | inner;
        first_bytes | inner
    }

    /// Adds the characters above 0x7F, one by one, as far as they are whole and none of `stop`. Returns whether one of
    /// `stop` or an invalid byte ended this.
    #[inline(always)]
    fn add_wide(&mut self, classes: &Classes, mut wide: u64, text: &[u8], stop: u8) -> bool {
        while wide != 0 {
            let at = wide.trailing_zeros() as usize;
            let (class, len) = classes.at_wide(text, at);
            let stops = class == END || class & stop != 0;
            if stops || at + len > 64 {
                self.valid = (1 << at) - 1;
                return stops;
            }
            let bytes = ((1 << len) - 1) << at;
            // No branches on the class: they could not be foreseen.
            let bytes_if = |bit: u8| bytes & u64::from(class >> bit.trailing_zeros() & 1).wrapping_neg();
            wide &= !bytes;
            self.inner |= bytes & (bytes << 1);
            self.letter |= bytes_if(LETTER);
            self.upper |= bytes_if(UPPER);
            self.lower |= bytes_if(LOWER);
            self.mark |= bytes_if(MARK);
            self.number |= bytes_if(NUMBER);
            self.other |= bytes_if(OTHER);
        }
        false
    }

    /// All bytes of the characters whose first bytes are in `mask`.
    #[inline(always)]
    pub fn whole(&self, mask: u64) -> u64 {
        mask | reach(mask << 1, self.inner)
    }
}

/// Writes the ends of the next pieces of `text` from `start` on; returns how many: `ends.len()` unless the text is done.
#[inline]
pub fn fill(level: Level, rules: impl Rules, text: &[u8], start: usize, ends: &mut [u32]) -> usize {
    level.run(Fill { rules, text, start, ends })
}

/// The least text that makes a block: a copy and masks cost about as much as three pieces by themselves.
const MIN_BLOCK: usize = 16;

struct Fill<'a, R> {
    rules: R,
    text: &'a [u8],
    start: usize,
    ends: &'a mut [u32],
}

impl<R: Rules> Task for Fill<'_, R> {
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "texts are shorter than 4 GiB: `Pretokenizer::check_length`"
    )]
    fn run<C: Classify>(self, classify: C) -> usize {
        let Self { rules, text, start: mut at, ends } = self;
        let mut num_ends = 0;
        while num_ends < ends.len() && at < text.len() {
            if C::USES_MASKS
                && let rest = &text[at..]
                && rest.len() >= MIN_BLOCK
                && (C::FINDS_EAST_ASIAN || !(is_east_asian(rest[0]) || is_east_asian(rest[1])))
            {
                let mut copy = [0xFF; 64]; // which is never valid, so it is like the end of the text
                let bytes = if let Some(bytes) = rest.first_chunk::<64>() {
                    bytes
                } else {
                    copy[..rest.len()].copy_from_slice(rest);
                    &copy
                };
                let masks = classify.masks(bytes);
                let mut block = Block::new(&masks);
                let mut stopped = false;
                // Two copies of the rules: in the one for ASCII half of the masks are known to be empty.
                let starts = if masks.wide == 0 {
                    rules.starts(&block, rest)
                } else {
                    let wide = masks.wide & !block.add_letters(classify.east_asian_letters(bytes));
                    stopped = block.add_wide(rules.classes(), wide, rest, R::STOP);
                    rules.starts(&block, rest) & block.valid
                };
                let starts = starts & !1;
                if starts != 0 {
                    let num_starts = starts.count_ones() as usize;
                    if let Some(room) = ends[num_ends..].first_chunk_mut() {
                        classify.write_positions(starts, at as u32, room);
                        num_ends += num_starts;
                        at += starts.ilog2() as usize;
                    } else {
                        let mut last = [0; 64];
                        classify.write_positions(starts, at as u32, &mut last);
                        let num_starts = num_starts.min(ends.len() - num_ends);
                        ends[num_ends..num_ends + num_starts].copy_from_slice(&last[..num_starts]);
                        num_ends += num_starts;
                        at = last[num_starts - 1] as usize;
                    }
                    if !stopped || num_ends == ends.len() {
                        continue;
                    }
                }
            }
            at = rules.piece_end(text, at);
            ends[num_ends] = at as u32;
            num_ends += 1;
        }
        num_ends
    }
}

/// Whether a byte begins a kana, a Chinese character or their punctuation. Unless the masks find these, they are left to
/// the scalar scanner: it goes over a long run of three-byte characters twice as fast as they can be added to masks.
#[inline(always)]
fn is_east_asian(byte: u8) -> bool {
    matches!(byte, 0xE3..=0xE9 | 0xEF)
}

/// The bits of `among` that can be reached from a bit of `from` over bits of `among` alone, going up; `from` included.
#[inline(always)]
pub fn reach(from: u64, among: u64) -> u64 {
    let from = from & among;
    ((from.wrapping_add(among) ^ among) | from) & among
}

/// The first bit of each run of bits.
#[inline(always)]
pub fn first(mask: u64) -> u64 {
    mask & !(mask << 1)
}
