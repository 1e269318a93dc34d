//! Steps behind `ByteLevel`: they see each byte of a text as a character of its own, so a space is `Ġ`, and the second byte of `ò` is
//! `²`, a digit.
//!
//! Text here is never spelled so. A step that splits at single characters decides between which two bytes a piece ends, whatever
//! stands around them. No merge then joins two such bytes, so the merges that would are left out: that gives the ids of split text
//! ([`Boundaries`]). A pattern of printable ASCII alone matches the same in both spellings.

use super::super::ByteChars;
use super::pre_tokenizer::Behavior;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

/// A set of characters.
pub struct Characters(ClassUnicode);

impl Characters {
    fn contains(&self, c: char) -> bool {
        self.0.ranges().iter().any(|range| range.start() <= c && c <= range.end())
    }

    /// The regex of all others.
    pub fn others(&self) -> String {
        let mut others = self.0.clone();
        others.negate();
        let ranges = others.iter().map(|range| {
            format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(range.start()), u32::from(range.end()))
        });
        format!("[{}]", ranges.collect::<String>())
    }
}

/// The characters of a pattern that matches one.
pub fn one_character(regex: &str) -> Option<Characters> {
    characters(&regex_syntax::parse(regex).ok()?)
}

fn characters(hir: &Hir) -> Option<Characters> {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => Some(Characters(class.clone())),
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            let (first, None) = (chars.next()?, chars.next()) else { return None };
            Some(Characters(ClassUnicode::new([ClassUnicodeRange::new(first, first)])))
        }
        _ => None,
    }
}

/// A step that splits at single characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The bytes that are such characters.
    bytes: Box<[bool; 256]>,
    behavior: Behavior,
    invert: bool,
}

impl Rule {
    /// The rule of a pattern; `None` if it matches more than one character, or removes any.
    pub fn new(regex: &str, behavior: Behavior, invert: bool) -> Option<Self> {
        let hir = regex_syntax::parse(regex).ok()?;
        let (set, behavior) = match hir.kind() {
            // `C+` alone is `C` of which neighbours stay together.
            HirKind::Repetition(repeated)
                if repeated.min == 1 && repeated.max.is_none() && repeated.greedy =>
            {
                if !matches!(behavior, Behavior::Isolated | Behavior::Contiguous) {
                    return None;
                }
                (characters(&repeated.sub)?, Behavior::Contiguous)
            }
            _ => (characters(&hir)?, behavior),
        };
        if behavior == Behavior::Removed {
            return None;
        }
        let chars = ByteChars::new();
        let mut bytes = Box::new([false; 256]);
        for byte in 0..=u8::MAX {
            bytes[usize::from(byte)] = chars.text(&[byte]).chars().all(|c| set.contains(c));
        }
        Some(Rule { bytes, behavior, invert })
    }

    /// Whether a piece ends between two bytes.
    fn parts(&self, left: u8, right: u8) -> bool {
        let (left, right) = (self.bytes[usize::from(left)], self.bytes[usize::from(right)]);
        match (self.behavior, self.invert) {
            (Behavior::Isolated, _) => left || right,
            (Behavior::Contiguous | Behavior::Removed, _) => left != right,
            (Behavior::MergedWithPrevious, false) | (Behavior::MergedWithNext, true) => left,
            (Behavior::MergedWithNext, false) | (Behavior::MergedWithPrevious, true) => right,
        }
    }
}

/// The bytes between which pieces end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boundaries(Vec<Rule>);

impl Boundaries {
    pub fn add(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a piece ends between two bytes.
    pub fn parts(&self, left: u8, right: u8) -> bool {
        self.0.iter().any(|rule| rule.parts(left, right))
    }
}

/// Whether a pattern matches printable ASCII alone, of which any two characters can stand `together`, and looks at nothing else.
pub fn is_ascii_alone(regex: &str, together: impl Fn(u8, u8) -> bool) -> bool {
    fn add(hir: &Hir, found: &mut [bool; 128]) -> bool {
        match hir.kind() {
            HirKind::Class(Class::Unicode(class)) => class.ranges().iter().all(|range| {
                let is_ascii = range.start() > ' ' && range.end() < '\x7F';
                if is_ascii {
                    (range.start()..=range.end()).for_each(|c| found[c as usize] = true);
                }
                is_ascii
            }),
            HirKind::Literal(literal) => literal.0.iter().all(|&byte| {
                let is_ascii = byte.is_ascii_graphic();
                if is_ascii {
                    found[usize::from(byte)] = true;
                }
                is_ascii
            }),
            HirKind::Repetition(repeated) => add(&repeated.sub, found),
            HirKind::Capture(capture) => add(&capture.sub, found),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(|part| add(part, found)),
            HirKind::Empty => true,
            HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => false,
        }
    }
    let mut found = [false; 128];
    let all = regex_syntax::parse(regex).is_ok_and(|hir| add(&hir, &mut found));
    let bytes = || (0..128_u8).filter(|&byte| found[usize::from(byte)]);
    all && bytes().all(|left| bytes().all(|right| together(left, right)))
}
