//! Unicode's normalization forms (<https://www.unicode.org/reports/tr15/>), as `tokenizers` has them: with the tables of Unicode
//! 9.0, so a character that came later stays as it is and keeps its neighbours apart.
//!
//! Only stretches around a marked character are looked at: the character before it, with which it may be composed, and all marked
//! ones that follow. So text in the form is not copied, and text in another form costs as much per byte whatever its length.

use super::marked::Marked;
use std::sync::LazyLock;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{
    IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfd_quick, is_nfkc_quick, is_nfkd_quick,
};

/// A normalization form.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    C,
    D,
    Kc,
    Kd,
}

/// Characters that Unicode 9.0 does not have.
static LATER: LazyLock<Marked> = LazyLock::new(|| Marked::of_class(r"\P{age:9.0}"));

/// Marks as `tokenizers` knows them: in Unicode 9.0 two Vedic signs were marks, which are letters now, and a Sharada sign was none.
pub static MARKS: LazyLock<Marked> =
    LazyLock::new(|| Marked::of_class(r"[[\p{M}&&\p{age:9.0}--\x{111C9}]\x{1CF2}\x{1CF3}]"));

/// Whether Unicode 9.0 lacks a character.
#[cfg(test)]
pub fn is_later(c: char) -> bool {
    LATER.contains(c)
}

impl Form {
    fn is_normal(self, chars: impl Iterator<Item = char>) -> bool {
        let found = match self {
            Form::C => is_nfc_quick(chars),
            Form::D => is_nfd_quick(chars),
            Form::Kc => is_nfkc_quick(chars),
            Form::Kd => is_nfkd_quick(chars),
        };
        found == IsNormalized::Yes
    }

    /// The characters that may be changed, or composed or reordered with their neighbours.
    pub fn marked(self) -> &'static Marked {
        static ALL: [LazyLock<Marked>; 4] = [
            LazyLock::new(|| Form::C.mark()),
            LazyLock::new(|| Form::D.mark()),
            LazyLock::new(|| Form::Kc.mark()),
            LazyLock::new(|| Form::Kd.mark()),
        ];
        &ALL[self as usize]
    }

    fn mark(self) -> Marked {
        Marked::of(|c| {
            !LATER.contains(c) && (canonical_combining_class(c) != 0 || !self.is_normal(std::iter::once(c)))
        })
    }

    /// The text in this form; `None` if it is the same.
    pub fn normalize(self, text: &str) -> Option<String> {
        let marked = self.marked();
        let (mut new, mut done) = (String::new(), 0);
        let mut searched = 0;
        while let Some((at, _)) = marked.find(text, searched) {
            let before = text[searched..at].chars().next_back().filter(|&c| !LATER.contains(c));
            let start = at - before.map_or(0, char::len_utf8);
            let marks = text[at..].chars().take_while(|&c| marked.contains(c));
            let end = at + marks.map(char::len_utf8).sum::<usize>();
            searched = end;
            let stretch = &text[start..end];
            if self.is_normal(stretch.chars()) {
                continue;
            }
            new.push_str(&text[done..start]);
            match self {
                Form::C => new.extend(stretch.nfc()),
                Form::D => new.extend(stretch.nfd()),
                Form::Kc => new.extend(stretch.nfkc()),
                Form::Kd => new.extend(stretch.nfkd()),
            }
            done = end;
        }
        if done == 0 {
            return None;
        }
        new.push_str(&text[done..]);
        Some(new)
    }
}
