//! Families of tokenizers: the pattern, special tokens and normalizer that formats of ranks leave to the program that reads them.
//!
//! Each fact is from the source that its comment names.

use super::{Given, refuse};
use crate::{
    error::Result,
    normalizer::{Normalizer, Step},
    pipeline::{AddedToken, Definition, Pipeline, Template},
    pretokenizer::{NAMED, Pretokenizer},
    vocab::Vocab,
};
use std::path::Path;

/// What the tokenizers of one name have in common.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    aliases: &'static [&'static str],
    /// A name of [`NAMED`].
    pattern: &'static str,
    /// Whether text is brought to normalization form C.
    nfc: bool,
    /// How many ranks its own file has.
    num_ranks: usize,
    specials: &'static [Specials],
    /// What stands before a text, for callers who ask for it.
    start: Option<&'static str>,
}

/// Special tokens with ids one after the other.
#[derive(Debug)]
enum Specials {
    /// From this id on.
    At(u32, &'static [&'static str]),
    /// Behind the ranks, however many there are.
    BehindRanks(&'static [&'static str]),
    /// Behind the last one: a name with `#` in place of each number of a range.
    Numbered(&'static str, u32, u32),
    /// Behind the last one: words with spaces between, each as `<|word|>`.
    Words(&'static str),
    /// Behind the last one: seconds from 0 to 30 in fiftieths.
    Seconds,
}

use Specials::{At, BehindRanks, Numbered, Seconds, Words};

const END: &str = "<|endoftext|>";
/// Of Qwen2 (the first three) and Qwen2.5 (all).
/// <https://huggingface.co/Qwen/Qwen2.5-7B/blob/main/tokenizer_config.json>, `added_tokens_decoder`.
const QWEN2_5: &[&str] = &[
    END,
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];
/// Tokens of those above, and of Qwen3, that are no control tokens: they are found in every text.
const NOT_CONTROL: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

/// All families.
pub const FAMILIES: &[Family] = &[
    // <https://github.com/openai/tiktoken/blob/main/tiktoken_ext/openai_public.py>, to o200k_harmony.
    Family {
        name: "gpt2",
        aliases: &["r50k_base", "gpt-2"],
        pattern: "gpt2",
        nfc: false,
        num_ranks: 50_256,
        specials: &[At(50_256, &[END])],
        start: None,
    },
    Family {
        name: "p50k_base",
        aliases: &[],
        pattern: "gpt2",
        nfc: false,
        num_ranks: 50_280,
        specials: &[At(50_256, &[END])],
        start: None,
    },
    Family {
        name: "p50k_edit",
        aliases: &[],
        pattern: "gpt2",
        nfc: false,
        num_ranks: 50_280,
        specials: &[At(50_256, &[END]), At(50_281, &["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"])],
        start: None,
    },
    Family {
        name: "cl100k_base",
        aliases: &["cl100k", "gpt-4"],
        pattern: "cl100k",
        nfc: false,
        num_ranks: 100_256,
        specials: &[
            At(100_257, &[END, "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]),
            At(100_276, &["<|endofprompt|>"]),
        ],
        start: None,
    },
    Family {
        name: "o200k_base",
        aliases: &["o200k", "gpt-4o"],
        pattern: "o200k",
        nfc: false,
        num_ranks: 199_998,
        specials: &[At(199_999, &[END]), At(200_018, &["<|endofprompt|>"])],
        start: None,
    },
    Family {
        name: "o200k_harmony",
        aliases: &["gpt-oss"],
        pattern: "o200k",
        nfc: false,
        num_ranks: 199_998,
        // tiktoken has `<|reserved_200018|>` for 200018 too; an id has one text here.
        specials: &[
            At(199_998, &["<|startoftext|>", END]),
            Numbered("<|reserved_#|>", 200_000, 200_002),
            At(
                200_002,
                &[
                    "<|return|>",
                    "<|constrain|>",
                    "<|reserved_200004|>",
                    "<|channel|>",
                    "<|start|>",
                    "<|end|>",
                    "<|message|>",
                ],
            ),
            Numbered("<|reserved_#|>", 200_009, 200_012),
            At(200_012, &["<|call|>"]),
            Numbered("<|reserved_#|>", 200_013, 200_018),
            At(200_018, &["<|endofprompt|>"]),
            Numbered("<|reserved_#|>", 200_019, 201_088),
        ],
        start: None,
    },
    // Before 3.1: <https://github.com/meta-llama/llama3/blob/main/llama/tokenizer.py>
    Family {
        name: "llama3_0",
        aliases: &["llama3.0"],
        pattern: "cl100k",
        nfc: false,
        num_ranks: 128_000,
        specials: &[
            BehindRanks(&["<|begin_of_text|>", "<|end_of_text|>"]),
            Numbered("<|reserved_special_token_#|>", 0, 4),
            BehindRanks(&[
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|reserved_special_token_4|>",
                "<|eot_id|>",
            ]),
            Numbered("<|reserved_special_token_#|>", 5, 251),
        ],
        start: Some("<|begin_of_text|>"),
    },
    // `llama_models` 0.3.0: <https://github.com/meta-llama/llama-models/blob/main/models/llama3/tokenizer.py>
    Family {
        name: "llama3",
        aliases: &["llama-3", "llama3_1", "llama3.1", "llama3.2", "llama3.3"],
        pattern: "cl100k",
        nfc: false,
        num_ranks: 128_000,
        specials: &[
            BehindRanks(&[
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
            ]),
            Numbered("<|reserved_special_token_#|>", 2, 246),
        ],
        start: Some("<|begin_of_text|>"),
    },
    // <https://huggingface.co/Qwen/Qwen-7B/blob/main/tokenization_qwen.py>, the normalizer too.
    Family {
        name: "qwen",
        aliases: &["qwen1"],
        pattern: "qwen2",
        nfc: true,
        num_ranks: 151_643,
        specials: &[At(151_643, &[END, "<|im_start|>", "<|im_end|>"]), Numbered("<|extra_#|>", 0, 205)],
        start: None,
    },
    Family {
        name: "qwen2",
        aliases: &["qwen1.5", "qwen1_5"],
        pattern: "qwen2",
        nfc: true,
        num_ranks: 151_643,
        specials: &[At(151_643, QWEN2_5.split_at(3).0)],
        start: None,
    },
    Family {
        name: "qwen2_5",
        aliases: &["qwen2.5"],
        pattern: "qwen2",
        nfc: true,
        num_ranks: 151_643,
        specials: &[At(151_643, QWEN2_5)],
        start: None,
    },
    // <https://huggingface.co/Qwen/Qwen3-8B/blob/main/tokenizer_config.json>
    Family {
        name: "qwen3",
        aliases: &[],
        pattern: "qwen2",
        nfc: true,
        num_ranks: 151_643,
        specials: &[
            At(151_643, QWEN2_5),
            At(151_665, &["<tool_response>", "</tool_response>", "<think>", "</think>"]),
        ],
        start: None,
    },
    // <https://huggingface.co/THUDM/glm-4-9b-chat/blob/main/tokenization_chatglm.py> and the `added_tokens_decoder` beside it
    Family {
        name: "glm4",
        aliases: &["glm-4", "chatglm4"],
        pattern: "cl100k",
        nfc: false,
        num_ranks: 151_329,
        specials: &[BehindRanks(&[
            END,
            "[MASK]",
            "[gMASK]",
            "[sMASK]",
            "<sop>",
            "<eop>",
            "<|system|>",
            "<|user|>",
            "<|assistant|>",
            "<|observation|>",
            "<|begin_of_image|>",
            "<|end_of_image|>",
            "<|begin_of_video|>",
            "<|end_of_video|>",
        ])],
        start: None,
    },
    // <https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/tokenization_kimi.py>: names that stand in the
    // `tokenizer_config.json` of a model replace these.
    Family {
        name: "kimi",
        aliases: &["kimi-k2", "kimi_k2"],
        pattern: "kimi",
        nfc: false,
        num_ranks: 163_584,
        specials: &[At(163_584, &[]), Numbered("<|reserved_token_#|>", 163_584, 163_840)],
        start: None,
    },
    // <https://github.com/openai/whisper/blob/main/whisper/tokenizer.py>, with 99 languages and, from large-v3 on, 100.
    Family {
        name: "whisper",
        aliases: &[],
        pattern: "gpt2",
        nfc: false,
        num_ranks: 50_257,
        specials: &[
            BehindRanks(&[END, "<|startoftranscript|>"]),
            Words(LANGUAGES),
            Words("translate transcribe startoflm startofprev nospeech notimestamps"),
            Seconds,
        ],
        start: None,
    },
    Family {
        name: "whisper_v3",
        aliases: &["whisper-large-v3"],
        pattern: "gpt2",
        nfc: false,
        num_ranks: 50_257,
        specials: &[
            BehindRanks(&[END, "<|startoftranscript|>"]),
            Words(LANGUAGES),
            Words("yue translate transcribe startoflm startofprev nospeech notimestamps"),
            Seconds,
        ],
        start: None,
    },
];

/// Whisper's first 99.
const LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su";

impl Family {
    /// The special tokens with their ids.
    fn specials(&self, num_ranks: u32) -> Vec<(String, u32)> {
        let mut specials: Vec<(String, u32)> = Vec::new();
        let mut next = 0;
        let mut push = |content: String, next: &mut u32| {
            specials.push((content, *next));
            *next += 1;
        };
        for part in self.specials {
            match part {
                At(first, names) => {
                    next = *first;
                    names.iter().for_each(|name| push((*name).to_owned(), &mut next));
                }
                BehindRanks(names) => {
                    next = next.max(num_ranks);
                    names.iter().for_each(|name| push((*name).to_owned(), &mut next));
                }
                Numbered(name, from, to) => {
                    (*from..*to).for_each(|number| push(name.replace('#', &number.to_string()), &mut next));
                }
                Words(words) => words.split(' ').for_each(|word| push(format!("<|{word}|>"), &mut next)),
                Seconds => {
                    (0..=1500).for_each(|i| push(format!("<|{}.{:02}|>", i / 50, i % 50 * 2), &mut next));
                }
            }
        }
        specials
    }
}

fn find(name: &str) -> Option<&'static Family> {
    let is_named = |family: &&Family| family.name == name || family.aliases.contains(&name);
    FAMILIES.iter().find(is_named)
}

/// What a format of ranks lacks, brought together from what the caller gives.
#[derive(Debug)]
pub struct Lacking {
    /// The canonical regex, or the JSON of a sequence of them.
    pub pattern: String,
    /// The special tokens in their order, with ids but for those that the caller gives without; whether each is a control token.
    pub specials: Vec<(String, Option<u32>, bool)>,
    pub normalizer: Vec<Step>,
    /// What stands before a text.
    pub start: Option<&'static str>,
}

/// What the file at `path` lacks; `what` says so for a message. A pattern given goes before the family's, and so does a special token given before one with
/// the same id or text.
pub fn lacking(path: &Path, what: &str, given: &Given, num_ranks: usize) -> Result<Lacking> {
    let names = || FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", ");
    let family = match &given.family {
        None => None,
        Some(name) => match find(name) {
            None => {
                return refuse(
                    path,
                    None,
                    format!("no family has the name `{name}`; give one of {}, or a pattern", names()),
                );
            }
            family => family,
        },
    };
    let fits = |family: &&Family| family.num_ranks == num_ranks;
    if let Some(family) = family
        && given.pattern.is_none()
        && let Some(other) = FAMILIES.iter().find(|other| fits(other) && other.pattern != family.pattern)
        && !fits(&family)
    {
        let reason = format!(
            "the file has the {num_ranks} tokens of the family `{}`, and `{}` has {}; give the family that it belongs to, or a pattern and special tokens",
            other.name, family.name, family.num_ranks
        );
        return refuse(path, None, reason);
    }
    let pattern = match (&given.pattern, family) {
        (Some(pattern), _) => pattern.as_str(),
        (None, Some(family)) => family.pattern,
        (None, None) => {
            let fitting: Vec<_> =
                FAMILIES.iter().filter(fits).map(|family| format!("`{}`", family.name)).collect();
            let hint = if fitting.is_empty() {
                String::new()
            } else {
                format!(" It has {num_ranks} tokens, as {} has.", fitting.join(" or "))
            };
            let patterns: Vec<_> = NAMED.iter().map(|named| named.name).collect();
            let reason = format!(
                "{what}, so give the family of the tokenizer (one of {}), or a pattern (a regex, or one of {}) and special tokens.{hint}",
                names(),
                patterns.join(", ")
            );
            return refuse(path, None, reason);
        }
    };
    let num_ranks = u32::try_from(num_ranks).unwrap_or(u32::MAX);
    let mut specials: Vec<(String, Option<u32>, bool)> = Vec::new();
    let is_given = |content: &str, id: u32| {
        given.special_tokens.iter().any(|token| token.0 == content || token.1 == Some(id))
    };
    for (content, id) in family.map(|family| family.specials(num_ranks)).unwrap_or_default() {
        if !is_given(&content, id) {
            let is_control = !NOT_CONTROL.contains(&&content[..]);
            specials.push((content, Some(id), is_control));
        }
    }
    specials.extend(given.special_tokens.iter().map(|(content, id)| (content.clone(), *id, true)));
    Ok(Lacking {
        pattern: Pretokenizer::new(pattern)?.pattern().to_owned(),
        specials,
        normalizer: if family.is_some_and(|family| family.nfc) { vec![Step::Nfc] } else { Vec::new() },
        start: family.and_then(|family| family.start),
    })
}

impl Lacking {
    /// The special tokens as a vocabulary takes them.
    pub fn listed(&self) -> Vec<(String, Option<u32>)> {
        self.specials.iter().map(|(content, id, _)| (content.clone(), *id)).collect()
    }

    /// The tokenizer with this vocabulary, which has these special tokens.
    pub fn definition(self, vocab: Vocab, whole_pieces: bool) -> std::result::Result<Definition, String> {
        let token = |(content, _, is_control): &(String, Option<u32>, bool)| {
            let id = vocab.special_id(content)?;
            Some(AddedToken { special: *is_control, ..AddedToken::special(content.clone(), id) })
        };
        let added: Vec<AddedToken> = self.specials.iter().filter_map(token).collect();
        let before = self.start.and_then(|start| vocab.special_id(start)).into_iter().collect();
        let pipeline = Pipeline {
            normalizer: Normalizer::new(self.normalizer)?,
            whole_pieces,
            added,
            template: Template { before, after: Vec::new() },
            ..Pipeline::default()
        };
        Ok(Definition { vocab, pattern: self.pattern, pipeline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_sources() {
        for (family, num_ranks, known) in [
            (
                "llama3_0",
                128_000,
                &[
                    ("<|begin_of_text|>", 128_000),
                    ("<|eot_id|>", 128_009),
                    ("<|reserved_special_token_250|>", 128_255),
                ][..],
            ),
            (
                "llama3.1",
                128_000,
                &[
                    ("<|python_tag|>", 128_010),
                    ("<|reserved_special_token_2|>", 128_012),
                    ("<|reserved_special_token_245|>", 128_255),
                ],
            ),
            ("qwen", 151_643, &[("<|im_end|>", 151_645), ("<|extra_204|>", 151_850)]),
            ("qwen3", 151_643, &[("<|file_sep|>", 151_664), ("</think>", 151_668)]),
            (
                "o200k_harmony",
                199_998,
                &[
                    ("<|endoftext|>", 199_999),
                    ("<|call|>", 200_012),
                    ("<|endofprompt|>", 200_018),
                    ("<|reserved_201087|>", 201_087),
                ],
            ),
            ("glm4", 151_329, &[("<|end_of_video|>", 151_342)]),
            (
                "kimi",
                163_584,
                &[("<|reserved_token_163584|>", 163_584), ("<|reserved_token_163839|>", 163_839)],
            ),
            (
                "whisper",
                50_257,
                &[
                    ("<|en|>", 50_259),
                    ("<|su|>", 50_357),
                    ("<|notimestamps|>", 50_363),
                    ("<|0.02|>", 50_365),
                    ("<|30.00|>", 51_864),
                ],
            ),
            ("whisper_v3", 50_257, &[("<|yue|>", 50_358), ("<|30.00|>", 51_865)]),
        ] {
            let specials = find(family).unwrap().specials(num_ranks);
            for &(content, id) in known {
                assert!(specials.contains(&(content.to_owned(), id)), "{family}: {content}");
            }
            let mut ids: Vec<u32> = specials.iter().map(|special| special.1).collect();
            ids.dedup();
            assert_eq!(ids.len(), specials.len(), "{family}");
            assert!(ids.is_sorted(), "{family}");
        }
    }

    #[test]
    fn patterns_have_names() {
        for family in FAMILIES {
            assert!(NAMED.iter().any(|named| named.name == family.pattern), "{}", family.name);
        }
    }

    #[test]
    fn given_tokens_go_before_those_of_a_family() {
        let given = Given {
            family: Some("kimi".into()),
            special_tokens: vec![("[BOS]".into(), Some(163_584)), ("<new>".into(), None)],
            ..Given::default()
        };
        let lacking = lacking(Path::new("x"), "a file", &given, 300).unwrap();
        assert_eq!(lacking.specials.len(), 257);
        assert!(!lacking.specials.iter().any(|special| special.0 == "<|reserved_token_163584|>"));
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let ask = |given: &Given, num_ranks| {
            lacking(Path::new("x"), "a file of ranks has no pattern", given, num_ranks)
                .unwrap_err()
                .to_string()
        };
        let error = ask(&Given::default(), 151_643);
        for words in
            ["a file of ranks has no pattern", "llama3", "cl100k", "151643 tokens, as `qwen` or `qwen2`"]
        {
            assert!(error.contains(words), "{error}");
        }
        let family = |name: &str| Given { family: Some(name.into()), ..Given::default() };
        assert!(ask(&family("llama9"), 5).contains("no family has the name `llama9`"));
        assert!(ask(&family("llama3"), 151_643).contains("tokens of the family `qwen`"));
    }
}
