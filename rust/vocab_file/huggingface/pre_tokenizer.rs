//! `pre_tokenizer`: steps that split text, each the pieces of the one before.
//!
//! Whatever a step does with what its pattern matches, the pieces are those of another pattern whose matches are pieces of their
//! own ([`isolating`]); only text that a step would remove cannot be had so.

use super::oniguruma::read_otherwise;
use crate::pipeline::{Prefix, PrefixPlace};
use crate::pretokenizer::Pretokenizer;
use serde::Deserialize;
use serde_json::Value;

/// How a file splits text.
#[derive(Debug, Default, PartialEq)]
pub struct Splitting {
    /// Patterns whose matches are pieces, as are the stretches between.
    pub regexes: Vec<String>,
    /// A space before text.
    pub prefix: Prefix,
    /// Whether pieces are spelled in GPT-2's characters.
    pub is_byte_level: bool,
    /// Whether spaces are written as `▁`.
    pub writes_spaces: bool,
}

/// What stands for a space in SentencePiece's vocabularies.
pub const SPACE: &str = "\u{2581}";
/// A piece for each space and what follows it up to the next.
const WORDS: &str = " [^ ]*|[^ ]+";
/// `char::is_ascii_punctuation` and the general category P.
const PUNCTUATION: &str = r"[!-/:-@\[-`{-~\p{P}]";

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Step {
    Sequence {
        pretokenizers: Vec<Step>,
    },
    Split {
        pattern: Pattern,
        behavior: Behavior,
        #[serde(default)]
        invert: bool,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    Punctuation {
        #[serde(default)]
        behavior: Behavior,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default, rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Metaspace {
        replacement: String,
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<Scheme>,
        #[serde(rename = "str_rep")]
        _str_rep: Option<String>,
        #[serde(default = "yes")]
        split: bool,
    },
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
pub enum Pattern {
    /// Text as it is.
    String(String),
    /// A regex of Oniguruma.
    Regex(String),
}

impl Pattern {
    /// The regex, if the engine here reads it alike.
    pub fn regex(&self) -> Result<String, String> {
        match self {
            Pattern::String(text) => Ok(regex_syntax::escape(text)),
            Pattern::Regex(regex) => match read_otherwise(regex) {
                None => Ok(regex.clone()),
                Some(construct) => Err(format!(
                    "the pattern `{regex}` is not supported: {construct}, so the regex engine here would split text otherwise than Hugging Face's"
                )),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
enum Behavior {
    Removed,
    #[default]
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    First,
    Never,
    Always,
}

/// Reads the value. `spaces_are_replaced` if the normalizer leaves no space.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(value: &Value, spaces_are_replaced: bool) -> Result<Splitting, String> {
    let mut splitting = Splitting { writes_spaces: spaces_are_replaced, ..Splitting::default() };
    if !value.is_null() {
        let step: Step = serde_json::from_value(value.clone())
            .map_err(|error| format!("`pre_tokenizer` is not supported: {error}"))?;
        splitting.add(step)?;
    }
    Pretokenizer::sequence(&splitting.regexes).map(drop).or_else(|error| {
        if splitting.regexes.is_empty() { Ok(()) } else { Err(format!("`pre_tokenizer`: {error}")) }
    })?;
    Ok(splitting)
}

impl Splitting {
    fn add(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Sequence { pretokenizers } => {
                return pretokenizers.into_iter().try_for_each(|step| self.add(step));
            }
            Step::Split { pattern, behavior, invert } => {
                let spells_space = |text: &str| text.contains(' ') || text.contains(SPACE);
                match pattern {
                    // There is no space left to split at.
                    Pattern::String(text) if self.writes_spaces && text.contains(' ') => {}
                    Pattern::String(text) if self.writes_spaces => {
                        let text = Pattern::String(text.replace(SPACE, " "));
                        self.regexes.push(isolating(&text.regex()?, behavior, invert)?);
                    }
                    Pattern::Regex(regex) if self.writes_spaces && spells_space(&regex) => {
                        return Err(format!(
                            "the pattern `{regex}` is not supported behind a step that replaces spaces"
                        ));
                    }
                    pattern => self.regexes.push(isolating(&pattern.regex()?, behavior, invert)?),
                }
            }
            Step::Digits { individual_digits } => {
                self.check_not_bytes("Digits")?;
                self.regexes.push(if individual_digits { r"\p{N}" } else { r"\p{N}+" }.into());
            }
            Step::Punctuation { behavior } => {
                self.check_not_bytes("Punctuation")?;
                self.regexes.push(isolating(PUNCTUATION, behavior, false)?);
            }
            Step::ByteLevel { add_prefix_space, use_regex, .. } => {
                if add_prefix_space {
                    if !self.regexes.is_empty() {
                        return Err("`ByteLevel` with `add_prefix_space` behind another step is not supported: it would put spaces within text".into());
                    }
                    self.prefix = Prefix { place: PrefixPlace::Each, unless_space: true };
                }
                if self.is_byte_level || self.writes_spaces {
                    return Err("`ByteLevel` behind `ByteLevel`, `Metaspace` or a normalizer that writes `▁` is not supported".into());
                }
                self.is_byte_level = true;
                if use_regex {
                    let gpt2 = Pretokenizer::new("gpt2").map_err(|error| error.to_string())?;
                    self.regexes.push(gpt2.pattern().to_owned());
                }
            }
            Step::Metaspace { replacement, add_prefix_space, prepend_scheme, split, .. } => {
                if replacement != SPACE {
                    return Err(format!(
                        "`Metaspace` with the replacement `{replacement}` is not supported: only `{SPACE}` is"
                    ));
                }
                if !self.regexes.is_empty() || self.is_byte_level {
                    return Err("`Metaspace` behind another step is not supported".into());
                }
                let scheme = match (prepend_scheme, add_prefix_space) {
                    (Some(scheme), _) => scheme,
                    (None, Some(false)) => Scheme::Never,
                    (None, _) => Scheme::Always,
                };
                let place = match scheme {
                    Scheme::First => PrefixPlace::First,
                    Scheme::Never => PrefixPlace::Never,
                    Scheme::Always => PrefixPlace::Each,
                };
                self.prefix = Prefix { place, unless_space: true };
                self.writes_spaces = true;
                if split {
                    self.regexes.push(WORDS.into());
                }
            }
        }
        Ok(())
    }

    /// Behind `ByteLevel` a step sees bytes as characters, some of which are digits to it that are none.
    fn check_not_bytes(&self, step: &str) -> Result<(), String> {
        if self.is_byte_level {
            return Err(format!(
                "`{step}` behind `ByteLevel` is not supported: it would split bytes of characters"
            ));
        }
        Ok(())
    }
}

/// A pattern whose matches, and the stretches between them, are the pieces that a behavior makes of another pattern's.
fn isolating(regex: &str, behavior: Behavior, invert: bool) -> Result<String, String> {
    // Text up to the next match.
    let between = format!("(?:(?!{regex})(?s:.))");
    let (class, others) = (format!("(?:{regex})"), one_character(regex));
    let rest = others.as_deref().unwrap_or(&between);
    Ok(match (behavior, invert) {
        (Behavior::Isolated, _) => regex.to_owned(),
        (Behavior::Contiguous, _) => format!("{class}+"),
        (Behavior::MergedWithPrevious, false) | (Behavior::MergedWithNext, true) => {
            format!("{rest}*{class}|{rest}+")
        }
        (Behavior::MergedWithNext, false) | (Behavior::MergedWithPrevious, true) => {
            format!("{class}{rest}*|{rest}+")
        }
        // Drops what the pattern does not match; the named ones match everything.
        (Behavior::Removed, true) if Pretokenizer::new(regex).is_ok_and(|p| p.name().is_some()) => {
            regex.to_owned()
        }
        (Behavior::Removed, _) => {
            return Err(format!(
                "a step that removes text (`{regex}`) is not supported: ids stand for all of a text here"
            ));
        }
    })
}

/// For a pattern of one character, the class of all others.
fn one_character(regex: &str) -> Option<String> {
    let hir = regex_syntax::parse(regex).ok()?;
    let class = match hir.kind() {
        regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => class.clone(),
        regex_syntax::hir::HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
            let (first, None) = (chars.next()?, chars.next()) else { return None };
            regex_syntax::hir::ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(first, first)])
        }
        _ => return None,
    };
    let mut others = class;
    others.negate();
    let ranges = others
        .iter()
        .map(|range| format!("\\x{{{:X}}}-\\x{{{:X}}}", u32::from(range.start()), u32::from(range.end())));
    Some(format!("[{}]", ranges.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pieces(value: &Value, text: &str) -> Vec<String> {
        let splitting = parse(value, false).unwrap();
        let pretokenizer = Pretokenizer::sequence(&splitting.regexes).unwrap();
        let (mut ends, mut start) = ([0; 64], 0);
        let found = pretokenizer.pieces(text.as_bytes()).next_ends(&mut ends).unwrap();
        let piece = |&end: &u32| text[std::mem::replace(&mut start, end as usize)..end as usize].to_owned();
        ends[..found].iter().map(piece).collect()
    }

    /// What `tokenizers` 0.23 makes of its documentation's example.
    #[test]
    fn behaviors_are_those_of_the_library() {
        let cases: [(&str, &[&str]); 4] = [
            ("Isolated", &["the", "-", "final", "-", "-", "countdown"]),
            ("MergedWithPrevious", &["the-", "final-", "-", "countdown"]),
            ("MergedWithNext", &["the", "-final", "-", "-countdown"]),
            ("Contiguous", &["the", "-", "final", "--", "countdown"]),
        ];
        for (behavior, expected) in cases {
            for pattern in [json!({"String": "-"}), json!({"Regex": "-"}), json!({"Regex": "-(?=.)"})] {
                let split =
                    json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false});
                assert_eq!(pieces(&split, "the-final--countdown"), expected, "{split}");
            }
        }
    }

    #[test]
    fn unknown_steps_and_settings_are_named() {
        for (value, words) in [
            (json!({"type": "UnicodeScripts"}), "UnicodeScripts"),
            (json!({"type": "Digits", "individual_digits": true, "x": 1}), "`x`"),
            (
                json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}),
                "(",
            ),
            (
                json!({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Removed", "invert": false}),
                "removes text",
            ),
        ] {
            let reason = parse(&value, false).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
