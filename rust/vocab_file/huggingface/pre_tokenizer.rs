//! `pre_tokenizer`: steps that split text, each the pieces of the one before.
//!
//! Whatever a step does with what its pattern matches, the pieces are those of another pattern whose matches are pieces of their
//! own ([`isolating`]); only text that a step would remove cannot be had so. A step behind `ByteLevel` sees bytes as characters
//! ([`byte_view`](super::byte_view)).

use super::byte_view::{Boundaries, Rule, is_ascii_alone, one_character};
use super::oniguruma::{Translated, translate};
use crate::pipeline::{Prefix, PrefixPlace};
use crate::pretokenizer::Pretokenizer;
use fancy_regex::Expr;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde::Deserialize;
use serde_json::Value;

/// How a file splits text.
#[derive(Debug, Default, PartialEq)]
pub struct Splitting {
    /// Patterns whose matches are pieces, as are the stretches between.
    pub regexes: Vec<String>,
    /// Whether the patterns were written here, and mean what the engine here reads.
    is_own: bool,
    /// A space before text.
    pub prefix: Prefix,
    /// Whether pieces are spelled in GPT-2's characters.
    pub is_byte_level: bool,
    /// Between which bytes pieces end as well, whatever the patterns match.
    pub boundaries: Boundaries,
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
    /// The regex in the words of the engine here; if that is where it comes from, as it is.
    pub fn regex(&self, is_own: bool) -> Result<String, String> {
        let chosen = |translated: Translated, regex: &String| match translated.difference {
            Some(_) if !is_own => translated.regex,
            _ => regex.clone(),
        };
        match self {
            Pattern::String(text) => Ok(regex_syntax::escape(text)),
            Pattern::Regex(regex) => translate(regex).map(|made| chosen(made, regex)).map_err(|construct| {
                format!(
                    "the pattern `{regex}` is not supported: {construct}: the regex engine here might split text otherwise than Hugging Face's"
                )
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
pub enum Behavior {
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

/// Whether a step spells bytes in GPT-2's characters.
pub fn has_byte_level(value: &Value) -> bool {
    let steps = value["pretokenizers"].as_array();
    value["type"] == "ByteLevel" || steps.is_some_and(|steps| steps.iter().any(has_byte_level))
}

/// Reads the value. `spaces_are_replaced` if the normalizer leaves no space, `bytes_are_spelled` if it spells them in GPT-2's
/// characters.
///
/// # Errors
/// The reason why it is not supported.
pub fn parse(
    value: &Value,
    spaces_are_replaced: bool,
    bytes_are_spelled: bool,
    is_own: bool,
) -> Result<Splitting, String> {
    let mut splitting = Splitting {
        is_own,
        writes_spaces: spaces_are_replaced,
        is_byte_level: bytes_are_spelled,
        ..Splitting::default()
    };
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
            // There is no space left to split at.
            Step::Split { pattern: Pattern::String(text), behavior, .. }
                if self.writes_spaces && text.contains(' ') && behavior != Behavior::Removed => {}
            Step::Split { pattern: Pattern::String(text), behavior, invert } if self.writes_spaces => {
                let text = Pattern::String(text.replace(SPACE, " "));
                self.regexes.push(isolating(&text.regex(self.is_own)?, behavior, invert)?);
            }
            Step::Split { pattern, behavior, invert } => {
                self.split(&pattern.regex(self.is_own)?, behavior, invert)?;
            }
            Step::Digits { individual_digits } => {
                let behavior = if individual_digits { Behavior::Isolated } else { Behavior::Contiguous };
                self.split(r"\p{N}", behavior, false)?;
            }
            Step::Punctuation { behavior } => self.split(PUNCTUATION, behavior, false)?,
            Step::ByteLevel { add_prefix_space, use_regex, .. } => {
                if self.is_byte_level {
                    return Err("a second `ByteLevel` is not supported: it would spell characters that are bytes already".into());
                }
                if self.writes_spaces {
                    return Err("`ByteLevel` behind `Metaspace` is not supported".into());
                }
                if add_prefix_space {
                    if !self.regexes.is_empty() {
                        return Err("`ByteLevel` with `add_prefix_space` behind another step is not supported: it would put spaces within text".into());
                    }
                    self.prefix = Prefix { place: PrefixPlace::Each, unless_space: true };
                }
                if use_regex {
                    let gpt2 = Pretokenizer::new("gpt2").map_err(|error| error.to_string())?;
                    self.regexes.push(gpt2.pattern().to_owned());
                }
                self.is_byte_level = true;
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

    /// Adds a step that splits by a regex.
    fn split(&mut self, regex: &str, behavior: Behavior, invert: bool) -> Result<(), String> {
        if self.is_byte_level && behavior != Behavior::Removed {
            return self.split_bytes(regex, behavior, invert);
        }
        if self.writes_spaces && !takes_spaces_alike(regex) {
            return Err(format!(
                "the pattern `{regex}` is not supported behind a step that writes spaces as `{SPACE}`: it tells them apart"
            ));
        }
        self.regexes.push(isolating(regex, behavior, invert)?);
        Ok(())
    }

    /// Adds a step behind `ByteLevel`, for which each byte is a character.
    fn split_bytes(&mut self, regex: &str, behavior: Behavior, invert: bool) -> Result<(), String> {
        if let Some(rule) = Rule::new(regex, behavior, invert) {
            self.boundaries.add(rule);
        } else if is_ascii_alone(regex, |left, right| !self.boundaries.parts(left, right)) {
            self.regexes.push(isolating(regex, behavior, invert)?);
        } else {
            return Err(format!(
                "the pattern `{regex}` behind `ByteLevel` is not supported: it would see the bytes of text as other characters"
            ));
        }
        Ok(())
    }
}

/// Whether a pattern does with a space what it does with `▁`.
fn takes_spaces_alike(regex: &str) -> bool {
    fn alike(hir: &Hir) -> bool {
        match hir.kind() {
            HirKind::Class(Class::Unicode(class)) => {
                let has = |c: char| class.ranges().iter().any(|range| range.start() <= c && c <= range.end());
                has(' ') == has('\u{2581}')
            }
            HirKind::Literal(literal) => !String::from_utf8_lossy(&literal.0).contains([' ', '\u{2581}']),
            HirKind::Repetition(repeated) => alike(&repeated.sub),
            HirKind::Capture(capture) => alike(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(alike),
            HirKind::Empty => true,
            HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => false,
        }
    }
    regex_syntax::parse(regex).is_ok_and(|hir| alike(&hir))
}

/// A pattern whose matches, and the stretches between them, are the pieces that a behavior makes of another pattern's.
fn isolating(regex: &str, behavior: Behavior, invert: bool) -> Result<String, String> {
    let (can_be_empty, is_empty) = Expr::parse_tree(regex).map_or((true, false), |tree| widths(&tree.expr));
    // Nothing is joined to a match without width, and nothing is removed with it.
    let has_width = !is_empty || behavior == Behavior::Removed && invert;
    if can_be_empty && has_width && behavior != Behavior::Isolated {
        return Err(format!(
            "the pattern `{regex}` is not supported with `{behavior:?}`, since it can match nothing; only with `Isolated`"
        ));
    }
    // Text up to the next match.
    let between = format!("(?:(?!{regex})(?s:.))");
    let class = format!("(?:{regex})");
    let others = one_character(regex).map(|class| class.others());
    let rest = others.as_deref().unwrap_or(&between);
    Ok(match (behavior, invert) {
        _ if !has_width => regex.to_owned(),
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

/// Whether a pattern can match the empty text, and whether it matches nothing else.
fn widths(expr: &Expr) -> (bool, bool) {
    match expr {
        Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..) => (true, true),
        Expr::Any { .. } | Expr::Delegate { .. } | Expr::GeneralNewline { .. } => (false, false),
        Expr::Literal { val, .. } => (val.is_empty(), val.is_empty()),
        Expr::Concat(parts) => parts.iter().map(widths).fold((true, true), |a, b| (a.0 && b.0, a.1 && b.1)),
        Expr::Alt(parts) => parts.iter().map(widths).fold((false, true), |a, b| (a.0 || b.0, a.1 && b.1)),
        Expr::Group(part) => widths(part),
        Expr::AtomicGroup(part) => widths(part),
        Expr::Repeat { child, lo, hi, .. } => {
            let (can_be_empty, is_empty) = widths(child);
            (can_be_empty || *lo == 0, is_empty || *hi == 0)
        }
        _ => (true, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pieces(value: &Value, text: &str) -> Vec<String> {
        let splitting = parse(value, false, false, false).unwrap();
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
            let reason = parse(&value, false, false, false).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
    }
}
