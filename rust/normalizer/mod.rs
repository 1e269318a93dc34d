//! What an imported tokenizer does to text before it is split.
//!
//! Nearly all text is normal already, and then nothing is copied: each step knows in one bit for each character whether it may
//! change it, and bytes that begin no such character are passed over many at a time (`marked.rs`).

mod forms;
mod marked;

use crate::error::{Error, Result};
use fancy_regex::Regex;
use forms::{Form, MARKS};
use marked::{LOWERCASE, Marked};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// Steps that change text, in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Listed", into = "Listed")]
pub struct Normalizer {
    steps: Vec<Step>,
    /// Of the steps that replace what a regex matches, in order.
    regexes: Vec<Regex>,
}

#[derive(Serialize, Deserialize)]
struct Listed {
    steps: Vec<Step>,
}

impl From<Normalizer> for Listed {
    fn from(normalizer: Normalizer) -> Self {
        Listed { steps: normalizer.steps }
    }
}

impl TryFrom<Listed> for Normalizer {
    type Error = String;

    fn try_from(listed: Listed) -> std::result::Result<Self, String> {
        Normalizer::new(listed.steps)
    }
}

impl PartialEq for Normalizer {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

/// One way to change text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Unicode's normalization form C.
    Nfc,
    /// Form D.
    Nfd,
    /// Form KC.
    Nfkc,
    /// Form KD.
    Nfkd,
    /// Each character becomes its lower case.
    Lowercase,
    /// Marks are left out.
    StripAccents,
    /// Whitespace at the ends is left out.
    Strip {
        /// At the start.
        left: bool,
        /// At the end.
        right: bool,
    },
    /// Several spaces side by side become one, and those at the ends go.
    CollapseSpaces,
    /// Spaces at the end are left out.
    StripLastSpaces,
    /// What is wanted becomes something else.
    Replace {
        /// What is looked for.
        wanted: Wanted,
        /// What stands there then, as it is.
        content: String,
    },
    /// Something is put before a text that is not empty.
    Prepend(String),
}

/// What is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// This text.
    Text(String),
    /// What a regex matches.
    Regex(String),
}

/// Whether a part of a text begins and ends where the text does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// It begins there.
    pub begins: bool,
    /// It ends there.
    pub ends: bool,
}

/// A whole text.
pub const WHOLE: Ends = Ends { begins: true, ends: true };

/// A range of a text, and the range of what it became.
pub type Change = (Range<usize>, Range<usize>);

impl Normalizer {
    /// Prepares the steps.
    ///
    /// # Errors
    /// The reason why a regex is none.
    pub fn new(steps: Vec<Step>) -> std::result::Result<Self, String> {
        let regex = |step: &Step| match step {
            Step::Replace { wanted: Wanted::Regex(regex), .. } => {
                Some(Regex::new(regex).map_err(|error| format!("the regex `{regex}`: {error}")))
            }
            _ => None,
        };
        let regexes = steps.iter().filter_map(regex).collect::<std::result::Result<_, _>>()?;
        Ok(Normalizer { steps, regexes })
    }

    /// The steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether no text is changed.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it counts where a text begins or ends.
    #[must_use]
    pub fn knows_ends(&self) -> bool {
        self.steps.iter().any(|step| {
            matches!(
                step,
                Step::Strip { .. } | Step::CollapseSpaces | Step::StripLastSpaces | Step::Prepend(_)
            )
        })
    }

    /// Whether a character stays as it is whatever stands around it, and changes nothing beside it: text can be cut between two
    /// such characters and both parts be normalized apart.
    #[must_use]
    pub fn keeps(&self, c: char) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Replace { wanted: Wanted::Text(text), .. } => !text.contains(c),
            Step::Replace { wanted: Wanted::Regex(_), .. } => false,
            Step::Strip { .. } => !c.is_whitespace(),
            Step::CollapseSpaces | Step::StripLastSpaces => c != ' ',
            Step::Prepend(_) => true,
            step => step.marked().is_some_and(|marked| !marked.contains(c)),
        })
    }

    /// The normalized text; borrowed if nothing changes. Bytes that are no UTF-8 stay.
    ///
    /// # Errors
    /// [`Error::Pattern`] if a regex backtracks past the engine's limit.
    pub fn apply<'a>(&self, text: &'a [u8], ends: Ends) -> Result<Cow<'a, [u8]>> {
        let mut text = Cow::Borrowed(text);
        let mut regexes = self.regexes.iter();
        for step in &self.steps {
            let regex = if matches!(step, Step::Replace { wanted: Wanted::Regex(_), .. }) {
                regexes.next()
            } else {
                None
            };
            if let Some(changed) = step.apply(&text, ends, regex)? {
                text = Cow::Owned(changed);
            }
        }
        Ok(text)
    }

    /// The normalized text, and the ranges of the text that changed with what they became, in order.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    pub fn aligned(&self, text: &[u8], ends: Ends) -> Result<(Vec<u8>, Vec<Change>)> {
        if let Cow::Borrowed(text) = self.apply(text, ends)? {
            return Ok((text.to_vec(), Vec::new()));
        }
        let (mut normalized, mut changes) = (Vec::with_capacity(text.len()), Vec::new());
        let mut start = 0;
        for end in self.cuts(text) {
            let part = &text[start..end];
            let within = Ends { begins: ends.begins && start == 0, ends: ends.ends && end == text.len() };
            let before = normalized.len();
            let became = self.apply(part, within)?;
            normalized.extend_from_slice(&became);
            if *became != *part {
                changes.push((start..end, before..normalized.len()));
            }
            start = end;
        }
        Ok((normalized, changes))
    }

    /// Where text can be cut: between two characters that are kept. The last is the end of the text.
    fn cuts(&self, text: &[u8]) -> Vec<usize> {
        let (mut cuts, mut at, mut was_kept) = (Vec::new(), 0, false);
        for chunk in text.utf8_chunks() {
            for c in chunk.valid().chars() {
                let is_kept = self.keeps(c);
                if was_kept && is_kept {
                    cuts.push(at);
                }
                (was_kept, at) = (is_kept, at + c.len_utf8());
            }
            if !chunk.invalid().is_empty() {
                (was_kept, at) = (false, at + chunk.invalid().len());
            }
        }
        cuts.push(text.len());
        cuts
    }
}

impl Step {
    /// The characters that it may change, if it looks at characters.
    fn marked(&self) -> Option<&'static Marked> {
        Some(match self {
            Step::Nfc => Form::C.marked(),
            Step::Nfd => Form::D.marked(),
            Step::Nfkc => Form::Kc.marked(),
            Step::Nfkd => Form::Kd.marked(),
            Step::Lowercase => &LOWERCASE,
            Step::StripAccents => &MARKS,
            Step::Strip { .. }
            | Step::CollapseSpaces
            | Step::StripLastSpaces
            | Step::Replace { .. }
            | Step::Prepend(_) => {
                return None;
            }
        })
    }

    /// The text after this step; `None` if it is the same.
    fn apply(&self, text: &[u8], ends: Ends, regex: Option<&Regex>) -> Result<Option<Vec<u8>>> {
        // Most text has none, and to see that takes less time than to see that it is UTF-8.
        if self.marked().is_some_and(|marked| marked.find_in(text, 0).is_none()) {
            return Ok(None);
        }
        Ok(match self {
            Step::Nfc => map_valid(text, |part| Form::C.normalize(part)),
            Step::Nfd => map_valid(text, |part| Form::D.normalize(part)),
            Step::Nfkc => map_valid(text, |part| Form::Kc.normalize(part)),
            Step::Nfkd => map_valid(text, |part| Form::Kd.normalize(part)),
            Step::Lowercase => {
                map_valid(text, |part| LOWERCASE.replace(part, |c, new| new.extend(c.to_lowercase())))
            }
            Step::StripAccents => map_valid(text, |part| MARKS.replace(part, |_, _| ())),
            Step::Strip { left, right } => strip(text, *left && ends.begins, *right && ends.ends),
            Step::CollapseSpaces => collapse_spaces(text, ends),
            Step::StripLastSpaces => {
                let last = text.iter().rev().take_while(|&&byte| byte == b' ').count();
                (ends.ends && last > 0).then(|| text[..text.len() - last].to_vec())
            }
            Step::Prepend(prefix) => {
                (ends.begins && !text.is_empty()).then(|| [prefix.as_bytes(), text].concat())
            }
            Step::Replace { wanted: Wanted::Text(wanted), content } => replace_text(text, wanted, content),
            Step::Replace { wanted: Wanted::Regex(pattern), content } => {
                let Some(regex) = regex else { return Ok(None) };
                let mut failed = None;
                let changed = map_valid(text, |part| match replace_regex(part, regex, content) {
                    Ok(changed) => changed,
                    Err(error) => {
                        failed = Some(error.to_string());
                        None
                    }
                });
                match failed {
                    None => changed,
                    Some(reason) => return Err(Error::Pattern { pattern: pattern.clone(), reason }),
                }
            }
        })
    }
}

/// Changes each stretch of UTF-8; `None` if none changes.
fn map_valid(text: &[u8], mut change: impl FnMut(&str) -> Option<String>) -> Option<Vec<u8>> {
    if let Ok(text) = std::str::from_utf8(text) {
        return change(text).map(String::into_bytes);
    }
    let mut new = Vec::with_capacity(text.len());
    let mut has_changed = false;
    for chunk in text.utf8_chunks() {
        match change(chunk.valid()) {
            Some(changed) => {
                new.extend_from_slice(changed.as_bytes());
                has_changed = true;
            }
            None => new.extend_from_slice(chunk.valid().as_bytes()),
        }
        new.extend_from_slice(chunk.invalid());
    }
    has_changed.then_some(new)
}

fn strip(text: &[u8], left: bool, right: bool) -> Option<Vec<u8>> {
    let mut rest = text;
    while let Some(c) = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next())
        && left
        && c.is_whitespace()
    {
        rest = &rest[c.len_utf8()..];
    }
    if right {
        let last = rest.utf8_chunks().last();
        let end = last.filter(|chunk| chunk.invalid().is_empty()).map_or("", |chunk| chunk.valid());
        rest = &rest[..rest.len() - (end.len() - end.trim_end().len())];
    }
    (rest.len() < text.len()).then(|| rest.to_vec())
}

fn collapse_spaces(text: &[u8], ends: Ends) -> Option<Vec<u8>> {
    let start = if ends.begins { text.iter().take_while(|&&byte| byte == b' ').count() } else { 0 };
    let rest = &text[start..];
    let last = if ends.ends { rest.iter().rev().take_while(|&&byte| byte == b' ').count() } else { 0 };
    let rest = &rest[..rest.len() - last];
    if rest.len() == text.len() && memchr::memmem::find(text, b"  ").is_none() {
        return None;
    }
    let mut new = Vec::with_capacity(rest.len());
    for &byte in rest {
        if byte != b' ' || new.last() != Some(&b' ') {
            new.push(byte);
        }
    }
    Some(new)
}

fn replace_text(text: &[u8], wanted: &str, content: &str) -> Option<Vec<u8>> {
    let finder = memchr::memmem::Finder::new(wanted);
    let mut found = finder.find_iter(text).peekable();
    found.peek()?;
    let (mut new, mut done) = (Vec::with_capacity(text.len()), 0);
    for at in found {
        new.extend_from_slice(&text[done..at]);
        new.extend_from_slice(content.as_bytes());
        done = at + wanted.len();
    }
    new.extend_from_slice(&text[done..]);
    Some(new)
}

fn replace_regex(
    text: &str,
    regex: &Regex,
    content: &str,
) -> std::result::Result<Option<String>, Box<fancy_regex::Error>> {
    let (mut new, mut done) = (String::new(), 0);
    let mut has_changed = false;
    for found in regex.find_iter(text) {
        let found = found.map_err(Box::new)?;
        new.push_str(&text[done..found.start()]);
        new.push_str(content);
        done = found.end();
        has_changed = true;
    }
    new.push_str(&text[done..]);
    Ok(has_changed.then_some(new))
}

#[cfg(test)]
mod tests;
