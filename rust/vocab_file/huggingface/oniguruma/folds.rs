//! Where case does not count, Oniguruma lets one character stand for two letters, as `ß` for `ss`; the engine here never does.
//!
//! So patterns in which such a pair of ASCII letters could stand side by side are refused. Sets of letters are bits.

/// The pairs of ASCII letters that a single character stands for.
const PAIRS: [(char, char); 5] = [('f', 'f'), ('f', 'i'), ('f', 'l'), ('s', 's'), ('s', 't')];

/// A letter as a set; empty for what is no ASCII letter.
pub fn letter(c: char) -> u32 {
    let c = c.to_ascii_lowercase();
    if c.is_ascii_lowercase() { 1 << (c as u32 - 'a' as u32) } else { 0 }
}

/// The letters of a range; `None` if it is not of ASCII.
pub fn letters(first: char, last: char) -> Option<u32> {
    (first.is_ascii() && last.is_ascii()).then(|| (first..=last).map(letter).fold(0, |a, b| a | b))
}

/// What is known of a part of a pattern.
#[derive(Clone, Debug, Default)]
pub struct Folds {
    /// All letters in it.
    all: u32,
    /// Letters that can stand before the next place.
    before: u32,
    /// Those that can stand before the last atom.
    before_last: u32,
    /// Those that can stand before the group.
    around: u32,
    /// The letters of the last atom.
    last: u32,
}

impl Folds {
    /// At the start of a group at this place.
    pub fn inside(&self) -> Self {
        Folds { before: self.before, around: self.before, ..Folds::default() }
    }

    fn check(before: u32, next: u32) -> Result<(), String> {
        let found = PAIRS.iter().find(|(a, b)| before & letter(*a) != 0 && next & letter(*b) != 0);
        match found {
            None => Ok(()),
            Some((a, b)) => Err(format!(
                "`i` lets one character stand for two letters there, such as for `{a}{b}`, and never here"
            )),
        }
    }

    /// Adds one character of a set.
    pub fn add(&mut self, letters: u32) -> Result<(), String> {
        Self::check(self.before, letters)?;
        self.put(letters);
        Ok(())
    }

    /// Adds a group that was read apart.
    pub fn add_group(&mut self, group: &Folds) {
        self.put(group.all);
    }

    fn put(&mut self, letters: u32) {
        (self.before_last, self.before, self.last) = (self.before, letters, letters);
        self.all |= letters;
    }

    /// Repeats what was added last.
    pub fn repeat(&mut self, can_be_none: bool, can_be_several: bool) -> Result<(), String> {
        if can_be_none {
            self.before |= self.before_last;
        }
        if can_be_several { Self::check(self.last, self.last) } else { Ok(()) }
    }

    /// The next alternative of the group.
    pub fn alternative(&mut self) {
        (self.before, self.last) = (self.around, 0);
    }
}
