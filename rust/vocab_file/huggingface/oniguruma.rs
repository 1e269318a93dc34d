//! Patterns of Oniguruma, in the Ruby syntax that Hugging Face uses, in the words of the regex engine here.
//!
//! Both have the tables of Unicode 16, and mean the same by most of what they both read. Where they differ the pattern is written
//! otherwise; what is not known to mean the same is refused by name. What differs was found by running both engines over all
//! constructs and code points (`tests/test_huggingface_semantics.py`, `findings/tokenizers_word_class.sh`):
//! * `\w`, `\b` and `[[:word:]]` match no joiners, `\w` and `\b` six superscripts and fractions beside.
//! * `^` and `$` match at every line, `^` not behind the last line end; `(?m:…)` is the flag that others call `s`.
//! * `\Z` matches before a single line end at the text's end, and here before several.
//! * `{1,3}+` repeats the count, `{2}?` is optional, `{,3}` is a count; `(?i)` holds to the end of its group.
//! * `[[:alpha:]]` and its like know all of Unicode; `--` and `~~` in a class are text.

mod classes;
mod folds;

use classes::{WORD, WORD_SIGNS, property};
use folds::Folds;

/// A pattern in the words of the engine here.
#[derive(Debug, PartialEq)]
pub struct Translated {
    /// It.
    pub regex: String,
    /// The first construct that had to be written otherwise.
    pub difference: Option<&'static str>,
}

/// Why a pattern would not be read alike if it were given to the other engine as it is. What words are made of is left out: the
/// two differ in eight rare characters, and refusing `\w` for them would leave hardly a pattern of one's own to save.
pub fn read_otherwise(pattern: &str) -> Option<String> {
    match translate(pattern) {
        Ok(translated) => {
            translated.difference.filter(|difference| !is_of_words(difference)).map(str::to_owned)
        }
        Err(construct) => Some(construct),
    }
}

fn is_of_words(difference: &str) -> bool {
    difference.starts_with(r"`\w`") || difference.starts_with(r"`\b`")
}

/// A pattern of Oniguruma as one of the engine here that matches the same.
///
/// # Errors
/// The construct for which none is known.
pub fn translate(pattern: &str) -> Result<Translated, String> {
    let mut reader = Reader {
        rest: pattern,
        out: String::with_capacity(pattern.len()),
        difference: None,
        groups: vec![Group::default()],
        atom: None,
        has_names: false,
        has_references: false,
    };
    while reader.step()? {}
    if reader.groups.len() != 1 {
        return Err("a group that is not closed".into());
    }
    if reader.has_names && reader.has_references {
        return Err("references to groups by number where groups have names mean other groups there".into());
    }
    reader.close();
    Ok(Translated { regex: reader.out, difference: reader.difference })
}

/// An open group.
#[derive(Clone, Default)]
struct Group {
    /// Where it begins in what is written.
    start: usize,
    /// Groups written beside it, for flags that hold to its end.
    extra: usize,
    /// Whether case does not count.
    ignores_case: bool,
    /// Whether `.` matches line ends.
    dot_is_any: bool,
    /// Letters side by side where case does not count.
    folds: Folds,
}

struct Reader<'p> {
    rest: &'p str,
    out: String,
    difference: Option<&'static str>,
    groups: Vec<Group>,
    /// Where what a quantifier would repeat begins in what is written.
    atom: Option<usize>,
    has_names: bool,
    has_references: bool,
}

impl<'p> Reader<'p> {
    fn group(&mut self) -> &mut Group {
        if self.groups.is_empty() {
            self.groups.push(Group::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    fn differs(&mut self, construct: &'static str) {
        if self.difference.is_none_or(is_of_words) {
            self.difference = Some(construct);
        }
    }

    /// Takes a text off the front.
    fn take(&mut self, text: &str) -> bool {
        self.rest.strip_prefix(text).map(|rest| self.rest = rest).is_some()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Writes something that a quantifier can repeat.
    fn put(&mut self, text: &str) {
        self.atom = Some(self.out.len());
        self.out.push_str(text);
    }

    /// Writes something of no width.
    fn put_assertion(&mut self, text: &str) {
        self.atom = None;
        self.out.push_str(text);
    }

    /// Writes a set of characters that is not known letter by letter.
    fn put_set(&mut self, text: &str) -> Result<(), String> {
        if self.group().ignores_case {
            return Err("`i` over anything but ASCII letters means something else there".into());
        }
        self.put(text);
        Ok(())
    }

    /// Reads one construct; `false` at the end.
    fn step(&mut self) -> Result<bool, String> {
        let Some(c) = self.next() else { return Ok(false) };
        match c {
            '\\' => self.escape()?,
            '[' => {
                let start = self.out.len();
                let letters = self.class()?;
                self.atom = Some(start);
                if self.group().ignores_case {
                    let letters =
                        letters.ok_or("`i` over anything but ASCII letters means something else there")?;
                    self.group().folds.add(letters)?;
                }
            }
            '(' => self.open()?,
            ')' => {
                if self.groups.len() == 1 {
                    return Err("a `)` without `(`".into());
                }
                let start = self.group().start;
                self.close();
                let closed = self.groups.pop().unwrap_or_default();
                self.out.push(')');
                self.group().folds.add_group(&closed.folds);
                self.atom = Some(start);
            }
            '|' => {
                self.group().folds.alternative();
                self.put_assertion("|");
            }
            '^' => {
                self.differs("`^` matches at every line there, and at the text's start here");
                self.put_assertion(r"(?:\A|(?<=\n)(?!\z))");
            }
            '$' => {
                self.differs("`$` matches at every line there, and at the text's end here");
                self.put_assertion(r"(?=\n|\z)");
            }
            '.' if self.group().dot_is_any => self.put(r"[\s\S]"),
            '.' => self.put("."),
            '*' | '+' | '?' => {
                self.repeated()?;
                self.out.push(c);
                if self.take("+") {
                    self.out.push('+');
                } else if self.take("?") {
                    self.out.push('?');
                }
                self.group().folds.repeat(c != '+', c != '?')?;
                self.no_more_quantifiers()?;
            }
            '{' => self.count()?,
            c if self.group().ignores_case => {
                if !c.is_ascii() {
                    return Err("`i` over anything but ASCII letters means something else there".into());
                }
                self.group().folds.add(folds::letter(c))?;
                self.put(&c.to_string());
            }
            c => self.put(&c.to_string()),
        }
        Ok(true)
    }

    fn repeated(&self) -> Result<usize, String> {
        self.atom.ok_or_else(|| "a quantifier of nothing, or of something without width".into())
    }

    fn no_more_quantifiers(&mut self) -> Result<(), String> {
        if self.rest.starts_with(['*', '+', '?']) || self.count_ahead("{").is_some() {
            return Err("a quantifier of a quantifier".into());
        }
        self.atom = None;
        Ok(())
    }

    /// The count and what follows it, if the text begins with one after `open`.
    fn count_ahead(&self, open: &str) -> Option<(&'p str, &'p str)> {
        let (count, rest) = self.rest.strip_prefix(open)?.split_once('}')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_count = match count.split_once(',') {
            None => is_number(count),
            Some((min, max)) => {
                (min.is_empty() || is_number(min))
                    && (max.is_empty() || is_number(max))
                    && (!min.is_empty() || !max.is_empty())
            }
        };
        is_count.then_some((count, rest))
    }

    /// A count in braces, or the brace itself.
    fn count(&mut self) -> Result<(), String> {
        let Some((count, rest)) = self.count_ahead("") else {
            self.put(r"\{");
            return Ok(());
        };
        self.rest = rest;
        let start = self.repeated()?;
        if count.starts_with(',') {
            self.differs("`{,…}` is a count there, and text to other engines");
            self.out.push_str("{0");
        } else {
            self.out.push('{');
        }
        self.out.push_str(count);
        self.out.push('}');
        let is_exact = !count.contains(',');
        if self.rest.starts_with('+') || is_exact && self.rest.starts_with('?') {
            self.differs("`{…}+` repeats the count there, and `{…}?` of one number makes it optional; here they are possessive and lazy");
            self.out.insert_str(start, "(?:");
            self.out.push(')');
            let quantifier = self.next();
            self.out.extend(quantifier);
        } else if self.take("?") {
            self.out.push('?');
        }
        let can_be_none = count.starts_with([',', '0']) || is_exact;
        self.group().folds.repeat(can_be_none, true)?;
        self.no_more_quantifiers()
    }

    /// What follows `(`.
    fn open(&mut self) -> Result<(), String> {
        let outer = self.group().clone();
        let mut group = Group {
            start: self.out.len(),
            extra: 0,
            folds: if outer.ignores_case { outer.folds.inside() } else { Folds::default() },
            ..outer
        };
        if !self.take("?") {
            self.out.push('(');
        } else if let Some(kind) = [":", "=", "!", "<=", "<!", ">"].into_iter().find(|kind| self.take(kind)) {
            self.out.push_str("(?");
            self.out.push_str(kind);
        } else if self.take("#") {
            let (_, rest) = self.rest.split_once(')').ok_or("a comment that is not closed")?;
            self.rest = rest;
            return Ok(());
        } else if self.rest.starts_with('<') {
            let (name, rest) = self.rest.split_once('>').ok_or("a group's name that is not closed")?;
            let is_name = name.len() > 1 && name[1..].bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !is_name || name.as_bytes()[1].is_ascii_digit() {
                return Err("a group's name that is no word".into());
            }
            self.rest = rest;
            self.has_names = true;
            self.out.push('(');
        } else {
            let end = self.rest.find([':', ')']).ok_or("a group that is not closed")?;
            let (flags, rest) = self.rest.split_at(end);
            let mut value = true;
            for flag in flags.chars() {
                match flag {
                    '-' => value = false,
                    'i' => group.ignores_case = value,
                    'm' => {
                        self.differs("the flag `m` lets `.` match line ends there; here `s` does");
                        group.dot_is_any = value;
                    }
                    _ => return Err(format!("the group or flag `(?{flags}`")),
                }
            }
            self.rest = &rest[1..];
            let changes_case = group.ignores_case != outer.ignores_case;
            let open = match (changes_case, group.ignores_case) {
                (true, true) => "(?i:",
                (true, false) => "(?-i:",
                _ => "(?:",
            };
            if rest.starts_with(')') {
                // To the end of the group around it, whatever alternatives follow.
                if changes_case && !self.out.is_empty() {
                    self.differs("`(?i)` within a pattern holds for all alternatives that follow there");
                }
                self.out.push_str(open);
                let around = self.group();
                around.extra += 1;
                (around.ignores_case, around.dot_is_any) = (group.ignores_case, group.dot_is_any);
                if changes_case {
                    around.folds = Folds::default();
                }
                self.atom = None;
                return Ok(());
            }
            if changes_case {
                group.folds = Folds::default();
            }
            self.out.push_str(open);
        }
        self.atom = None;
        self.groups.push(group);
        Ok(())
    }

    /// Closes what was opened beside the innermost group.
    fn close(&mut self) {
        for _ in 0..std::mem::take(&mut self.group().extra) {
            self.out.push(')');
        }
    }

    /// What follows `\` outside a class.
    fn escape(&mut self) -> Result<(), String> {
        let c = self.next().ok_or("a `\\` at the end")?;
        match c {
            'w' | 'W' => {
                self.differs(r"`\w` matches ² ³ ¹ ¼ ½ ¾ and no joiners there");
                let not = if c == 'W' { "^" } else { "" };
                self.put_set(&format!("[{not}{WORD}{WORD_SIGNS}]"))
            }
            'b' | 'B' => {
                self.differs(r"`\b` takes ² ³ ¹ ¼ ½ ¾ for parts of words there, and joiners not");
                let word = format!("[{WORD}{WORD_SIGNS}]");
                let (other, same) = if c == 'b' { ('!', '=') } else { ('=', '!') };
                self.put_assertion(&format!("(?:(?<={word})(?{other}{word})|(?<!{word})(?{same}{word}))"));
                Ok(())
            }
            'A' | 'z' => {
                self.put_assertion(&format!("\\{c}"));
                Ok(())
            }
            'Z' => {
                self.differs(
                    r"`\Z` matches before one line end at the text's end there, and before several here",
                );
                self.put_assertion(r"(?=\n?\z)");
                Ok(())
            }
            'd' | 'D' | 's' | 'S' | 'h' | 'H' | 'R' | 'N' | 'O' => self.put_set(&format!("\\{c}")),
            'p' | 'P' => {
                let text = property(c, &mut self.rest)?;
                self.put_set(&text)
            }
            '1'..='9' if !self.rest.starts_with(|c: char| c.is_ascii_digit()) => {
                self.has_references = true;
                self.put_set(&format!("\\{c}"))
            }
            _ => {
                if matches!(c, '<' | '>') {
                    self.differs(r"`\<` and `\>` are characters there, and ends of words here");
                }
                let text = classes::character(c, &mut self.rest)?;
                if self.group().ignores_case {
                    if !c.is_ascii_punctuation() {
                        return Err("`i` over anything but ASCII letters means something else there".into());
                    }
                    self.group().folds.add(0)?;
                }
                self.put(&text);
                Ok(())
            }
        }
    }

    /// The rest of a class after `[`; writes it, and returns the ASCII letters in it if that is all that it has.
    fn class(&mut self) -> Result<Option<u32>, String> {
        self.out.push('[');
        let mut letters = Some(0);
        if self.take("^") {
            self.out.push('^');
            letters = None;
        }
        if self.take("]") {
            self.out.push_str(r"\]");
        }
        // Whether the last thing was a character that a range could begin with.
        let mut last: Option<char> = None;
        loop {
            let c = self.next().ok_or("a `[` that is not closed")?;
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(letters);
                }
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    let (name, rest) = self.rest[1..].split_once(":]").unwrap_or_default();
                    let (text, difference) = classes::bracket(name)?;
                    self.rest = rest;
                    self.difference = self.difference.or(difference);
                    self.out.push_str(&text);
                    (letters, last) = (None, None);
                }
                '[' => {
                    self.class()?;
                    (letters, last) = (None, None);
                }
                '&' if self.take("&") => {
                    self.out.push_str("&&");
                    (letters, last) = (None, None);
                }
                '~' if self.rest.starts_with('~') => {
                    self.differs("`~~` in a class is text there, and an operator here");
                    self.out.push_str(r"\~");
                    last = None;
                }
                '-' if self.rest.starts_with('-') => return Err("`--` in a class".into()),
                '-' => {
                    self.out.push('-');
                    let end = self.rest.chars().next().filter(|&end| end != ']' && end != '[' && end != '\\');
                    if let (Some(first), Some(end)) = (last, end) {
                        self.next();
                        classes::push(&mut self.out, end);
                        letters = letters.zip(folds::letters(first, end)).map(|(a, b)| a | b);
                    } else if last.is_some() && !self.rest.starts_with(']') {
                        letters = None;
                    }
                    last = None;
                }
                '\\' => {
                    let c = self.next().ok_or("a `\\` at the end")?;
                    self.class_escape(c)?;
                    (letters, last) = (letters.filter(|_| c.is_ascii_punctuation()), None);
                }
                c => {
                    classes::push(&mut self.out, c);
                    last = Some(c);
                    letters = letters.filter(|_| c.is_ascii()).map(|letters| letters | folds::letter(c));
                }
            }
        }
    }

    /// What follows `\` in a class.
    fn class_escape(&mut self, c: char) -> Result<(), String> {
        match c {
            'w' => {
                self.differs(r"`\w` matches no joiners there");
                self.out.push_str(WORD);
            }
            'W' => {
                self.differs(r"`\w` matches no joiners there");
                self.out.extend(["[^", WORD, "]"]);
            }
            'd' | 'D' | 's' | 'S' | 'h' | 'H' => self.out.extend(['\\', c]),
            'b' => self.out.push_str(r"\x08"),
            'p' | 'P' => {
                let text = property(c, &mut self.rest)?;
                self.out.push_str(&text);
            }
            _ => {
                let text = classes::character(c, &mut self.rest)?;
                self.out.push_str(&text);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
