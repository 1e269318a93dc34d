//! What the names in `tokenizer.ggml.pre` mean.
//!
//! Which tokenizer each name stands for, and its regexes, is known from llama.cpp's `src/llama-vocab.cpp`
//! (<https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>, functions `llm_tokenizer_bpe` and `load`). Where a
//! comment there quotes the original regex of a `tokenizer.json`, that is taken: its replacement is for an engine that lacks
//! classes. Left out are names whose tokenizer does more than a regex can say here (`afmoe`, `chameleon`), or has
//! a class of three hundred ranges (`deepseek-llm`), those that do not merge
//! bytes, and `default`, which marks a file converted without the right name.

use crate::error::Result;
use crate::pretokenizer::Pretokenizer;

/// How text is split, and what else a name implies.
#[derive(Debug)]
pub struct Rule {
    names: &'static [&'static str],
    /// The name of a pattern, or regexes of which each splits the pieces of the one before.
    patterns: &'static [&'static str],
    /// Whether a piece that is a token is that token.
    pub whole_pieces: bool,
    /// Whether text begins with the start token, if the file does not say.
    pub adds_start: bool,
    /// Whether the model's own tokenizer brings text into normalization form C. llama.cpp does not, so its ids differ on text
    /// that is in another form.
    pub nfc: bool,
}

const fn rule(names: &'static [&'static str], patterns: &'static [&'static str]) -> Rule {
    Rule { names, patterns, whole_pieces: false, adds_start: false, nfc: false }
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const RULES: &[Rule] = &[
    Rule {
        whole_pieces: true,
        adds_start: true,
        ..rule(
            &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
                "jina-v5-nano",
            ],
            &["cl100k"],
        )
    },
    rule(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &["cl100k"]),
    Rule { nfc: true, ..rule(&["qwen2", "deepseek-r1-qwen"], &["qwen2"]) },
    rule(&["stablelm2", "kormo", "f2llmv2", "hunyuan", "solar-open", "megrez", "grok-2"], &["qwen2"]),
    Rule { nfc: true, ..rule(&["qwen35"], &["qwen3_5"]) },
    rule(&["deepseek-v3", "hunyuan-dense", "joyai-llm"], &["deepseek"]),
    rule(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
        &["gpt2"],
    ),
    rule(
        &["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &["starcoder"],
    ),
    rule(&["bloom", "poro-chat", "gpt3-finnish"], &["bloom"]),
    rule(&["viking"], &[r" ?[^(\s|[.,!?…。，、।۔،])]+", r"\p{N}"]),
    Rule { whole_pieces: true, adds_start: true, ..rule(&["tekken"], &["tekken"]) },
    rule(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &["o200k"]),
    rule(&["kimi-k2"], &["kimi"]),
    rule(&["falcon"], &[r"[!-/:-@\[-`{-~\p{P}]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
    rule(&["deepseek-coder"], &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"]),
    rule(&["superbpe"], &[r"\p{N}+", r"(?=(\d{3})+(?!\d))"]),
    rule(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    rule(
        &["seed-coder"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    rule(
        &["exaone-moe"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    rule(&["tiny_aya", "cohere2moe"], &[r"\d{1,3}(?=(?:\d{3})*\b)", O200K]),
    Rule {
        whole_pieces: true,
        ..rule(
            &["minicpm5"],
            &[
                r"\p{N}{1,3}",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            ],
        )
    },
    rule(
        &["jais-2"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
        ],
    ),
];

/// The rule with this name.
pub fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.names.contains(&name))
}

impl Rule {
    /// The canonical pattern.
    pub fn pattern(&self) -> Result<String> {
        let pretokenizer = match self.patterns {
            [pattern] => Pretokenizer::new(pattern),
            patterns => Pretokenizer::sequence(patterns),
        };
        Ok(pretokenizer?.pattern().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn patterns_compile_and_names_are_there_once() {
        let mut seen = HashSet::new();
        for rule in RULES {
            rule.pattern().unwrap();
            assert!(rule.names.iter().all(|name| seen.insert(name)), "{:?}", rule.names);
        }
        assert!(find("llama-bpe").unwrap().whole_pieces && find("default").is_none());
    }
}
