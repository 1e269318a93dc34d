//! The patterns that are known by name: one table for parsing, error messages, documentation, tests and benchmarks.

use super::{
    blocks::fill,
    cl100k::{self, Cl100k},
    classes::{CLASSES, CLASSES_WITH_MARKS},
    gpt2::{self, Gpt2},
    o200k::{self, O200k},
    simd::Level,
};

/// A pattern with a name.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The name.
    pub name: &'static str,
    /// Other names for it, of tokenizers and of models.
    pub aliases: &'static [&'static str],
    /// Where it comes from, in a few words.
    pub used_by: &'static str,
    /// The pattern, or the patterns of a sequence.
    pub(super) patterns: Patterns,
}

/// How a named pattern is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patterns {
    /// A member of a family that the block scanner knows.
    Family(Family),
    /// Any others.
    Regexes(&'static [&'static str]),
}

impl Named {
    /// The regexes: the first splits a text, each other one the pieces of the one before.
    #[must_use]
    pub fn regexes(&self) -> Vec<String> {
        match self.patterns {
            Patterns::Family(family) => vec![family.pattern()],
            Patterns::Regexes(regexes) => regexes.iter().map(|&regex| regex.to_owned()).collect(),
        }
    }
}

/// The patterns that the block scanner knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// GPT-2's.
    Gpt2,
    /// Those like `cl100k`.
    Cl100k(cl100k::Options),
    /// Those like `o200k`.
    O200k(o200k::Options),
}

impl Family {
    /// The regex.
    pub fn pattern(self) -> String {
        match self {
            Self::Gpt2 => gpt2::PATTERN.to_owned(),
            Self::Cl100k(options) => options.pattern(),
            Self::O200k(options) => options.pattern(),
        }
    }

    /// Writes the ends of the next pieces of `text`; returns how many: `ends.len()` unless the text is done.
    pub fn next_ends(self, level: Level, text: &[u8], start: usize, ends: &mut [u32]) -> usize {
        match self {
            Self::Gpt2 => fill(level, Gpt2(&CLASSES), text, start, ends),
            Self::Cl100k(cl100k::Options { digits, marks }) => {
                let classes = if marks { &*CLASSES_WITH_MARKS } else { &*CLASSES };
                fill(level, Cl100k { classes, digits }, text, start, ends)
            }
            Self::O200k(options) => fill(level, O200k { classes: &CLASSES, options }, text, start, ends),
        }
    }
}

const fn cl100k(digits: u8, marks: bool) -> Patterns {
    Patterns::Family(Family::Cl100k(cl100k::Options { digits, marks }))
}

const fn o200k(digits: u8, contractions: bool) -> Patterns {
    Patterns::Family(Family::O200k(o200k::Options { digits, contractions }))
}

/// All patterns with a name.
pub const NAMED: &[Named] = &[
    Named {
        name: "gpt2",
        aliases: &["gpt-2", "r50k", "r50k_base", "p50k_base", "p50k_edit", "gpt_neox", "roberta"],
        used_by: "GPT-2 and 3, GPT-NeoX, RoBERTa",
        patterns: Patterns::Family(Family::Gpt2),
    },
    Named {
        name: "cl100k",
        aliases: &["cl100k_base", "gpt-4", "gpt4", "llama3", "llama-3", "dolma2", "olmo2", "phi4"],
        used_by: "GPT-4, Llama 3, OLMo 2, Phi-4",
        patterns: cl100k(3, false),
    },
    Named {
        name: "o200k",
        aliases: &["o200k_base", "o200k_harmony", "gpt-4o", "gpt4o", "gpt-oss", "llama4", "llama-4"],
        used_by: "GPT-4o, gpt-oss, Llama 4",
        patterns: o200k(3, true),
    },
    Named {
        name: "qwen2",
        aliases: &["qwen", "qwen3", "qwen2_5", "hunyuan"],
        used_by: "Qwen to Qwen3",
        patterns: cl100k(1, false),
    },
    Named {
        name: "qwen3_5",
        aliases: &["qwen3.5", "qwen3_6"],
        used_by: "Qwen3.5",
        patterns: cl100k(1, true),
    },
    Named { name: "nanochat", aliases: &[], used_by: "nanochat", patterns: cl100k(2, false) },
    Named {
        name: "tekken",
        aliases: &["mistral", "nemotron3"],
        used_by: "Mistral since NeMo, Nemotron 3",
        patterns: o200k(1, false),
    },
    Named {
        name: "kimi",
        aliases: &["kimi-k2", "kimi_k2"],
        used_by: "Kimi K2",
        patterns: Patterns::Regexes(&[
            r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ]),
    },
    Named {
        name: "deepseek",
        aliases: &["deepseek-v3", "deepseek_v3", "deepseek-r1"],
        used_by: "DeepSeek V3 to V4",
        patterns: Patterns::Regexes(&[
            r"\p{N}{1,3}",
            r"[一-龥぀-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        ]),
    },
    Named {
        name: "starcoder",
        aliases: &["starcoder2", "smollm", "smollm2", "granite-code"],
        used_by: "StarCoder, SmolLM",
        patterns: Patterns::Regexes(&[r"\p{N}", gpt2::PATTERN]),
    },
    Named {
        name: "bloom",
        aliases: &[],
        used_by: "BLOOM",
        patterns: Patterns::Regexes(&[r" ?[^(\s|[.,!?…。，、।۔،])]+"]),
    },
];

/// The entry with this name or alias.
pub fn find(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|named| named.name == name || named.aliases.contains(&name))
}
