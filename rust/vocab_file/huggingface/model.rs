//! `model`: tokens and merges.

use super::super::{
    ByteChars,
    gpt2::{check_pair, not_bytes},
    in_file,
    json::{Json, Object},
    pieces::byte_of,
    resolve::{self, Entries},
};
use super::File;
use super::byte_view::Boundaries;
use super::own::{self, Own};
use super::pre_tokenizer::SPACE;
use crate::{
    error::{Error, Result},
    pipeline::AddedToken,
    threads::share,
    vocab::{Characters, Flaw, Vocab, show},
};
use rustc_hash::FxHashSet;
use std::{borrow::Cow, collections::HashSet, fmt::Write as _, sync::Arc};

/// Merges that a thread checks at a time.
const MERGES_TAKEN: usize = 8192;

/// What `model` says.
#[derive(Default)]
pub(super) struct Model<'a> {
    vocab: Vec<(Cow<'a, str>, u32)>,
    /// Each is a pair of strings, or a string with a space between two.
    merges: Vec<Json<'a>>,
    pub ignore_merges: bool,
    pub byte_fallback: bool,
    pub fuse_unknown: bool,
    unknown: Option<String>,
    pub own: Option<Own>,
    /// All but vocabulary and merges, as the inside of an object.
    pub settings: String,
}

impl<'a> Model<'a> {
    /// A model of a file of another format.
    pub fn of_parts(entries: Vec<(&'a str, u32)>, merges: &'a [String]) -> Self {
        let vocab = entries.into_iter().map(|(text, id)| (Cow::Borrowed(text), id)).collect();
        let merges = merges.iter().map(|merge| Json::String(Cow::Borrowed(&merge[..]))).collect();
        Model { vocab, merges, ..Model::default() }
    }
}

impl Model<'_> {
    /// The id of the unknown token, if there is one.
    pub fn unknown_id(&self) -> Option<u32> {
        let unknown = self.unknown.as_deref()?;
        self.vocab.iter().find(|(text, _)| text == unknown).map(|entry| entry.1)
    }
}

impl File<'_> {
    pub(super) fn model<'a>(&self, entries: Object<'a>) -> Result<Model<'a>> {
        let mut model = Model::default();
        let (mut has_vocab, mut has_merges) = (false, false);
        for (key, value) in entries {
            let name = format!("model.{key}");
            if !matches!(&key[..], "vocab" | "merges" | own::KEY) {
                let comma = if model.settings.is_empty() { "" } else { ",\n    " };
                // Writing to a string cannot fail.
                let _ = write!(
                    model.settings,
                    "{comma}{}: {}",
                    serde_json::Value::from(&key[..]),
                    value.to_text()
                );
            }
            match (&key[..], value) {
                ("type", Json::String(kind)) if kind == "BPE" => {}
                ("type", value) => {
                    return self
                        .refuse(format!("the model's type is {}; only `BPE` is supported", value.kind()));
                }
                (
                    "unk_token" | "dropout" | "continuing_subword_prefix" | "end_of_word_suffix",
                    Json::Null,
                )
                | ("dropout", Json::OtherNumber(0.0)) => {}
                ("unk_token", Json::String(token)) => model.unknown = Some(token.into_owned()),
                ("fuse_unk", Json::Bool(value)) => model.fuse_unknown = value,
                ("byte_fallback", Json::Bool(value)) => model.byte_fallback = value,
                ("continuing_subword_prefix" | "end_of_word_suffix", Json::String(s)) if s.is_empty() => {}
                ("ignore_merges", Json::Bool(value)) => model.ignore_merges = value,
                ("vocab", value) => {
                    has_vocab = true;
                    let entries = value.object(self.path, "`model.vocab`")?;
                    model.vocab.reserve_exact(entries.len());
                    for (text, id) in entries {
                        let id = id.id(self.path, || format!("the id of {}", show(text.as_bytes())))?;
                        model.vocab.push((text, id));
                    }
                }
                ("merges", value) => {
                    has_merges = true;
                    model.merges = value.array(self.path, "`model.merges`")?;
                }
                (own::KEY, value) => {
                    let entries = value.object(self.path, &name)?;
                    model.own = Some(Own::read(self.path, &format!("`{name}`"), entries)?);
                }
                (_, value) => return self.feature(&name, &value, "no such setting is"),
            }
        }
        if !has_vocab || !has_merges {
            return self.refuse("`model` has no `vocab` or no `merges`, so it is no BPE model");
        }
        Ok(model)
    }

    /// The texts of the merges' parts, each of which passes a check.
    fn merges<'m>(
        &self,
        model: &'m Model,
        check: impl Fn(&str, &str) -> std::result::Result<(), String> + Sync,
    ) -> Result<Vec<(&'m str, &'m str)>> {
        let one = |item: &'m Json| {
            let parts = match item {
                Json::String(line) => line
                    .split_once(' ')
                    .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' ')),
                Json::Pair(left, right) => Some((*left, *right)),
                Json::Array(parts) => match &parts[..] {
                    [Json::String(left), Json::String(right)] => Some((&**left, &**right)),
                    _ => None,
                },
                _ => None,
            };
            let Some((left, right)) = parts else {
                return Err(match item {
                    Json::String(line) => {
                        format!("{} is not a merge: two tokens with one space between", show(line.as_bytes()))
                    }
                    Json::Array(_) => "is not two strings".into(),
                    other => format!("is {}, and must be a pair of strings", other.kind()),
                });
            };
            check(left, right).map(|()| (left, right))
        };
        let items = &model.merges;
        let parts = share(items.len(), MERGES_TAKEN, |range| {
            range
                .map(|k| one(&items[k]).map_err(|reason| (k, reason)))
                .collect::<std::result::Result<Vec<_>, _>>()
        });
        let mut merges = Vec::with_capacity(items.len());
        for part in parts {
            match part {
                Ok(part) => merges.extend(part),
                Err((k, reason)) => return self.refuse(format!("merge {k}: {reason}")),
            }
        }
        Ok(merges)
    }

    /// The vocabulary of a file whose tokens are spelled in GPT-2's characters.
    pub(super) fn byte_level_vocab(
        &self,
        model: &Model,
        added: &[AddedToken],
        own: Option<&Own>,
        boundaries: &Boundaries,
    ) -> Result<Vocab> {
        self.check_ids(&model.vocab, added)?;
        let contents: FxHashSet<&str> = added.iter().map(|token| &token.content[..]).collect();
        let chars = ByteChars::new();
        let mut merges = self.merges(model, |left, right| check_pair(left, right, &chars))?;
        if !boundaries.is_empty() {
            let byte = |c: Option<char>| c.and_then(|c| chars.byte(c)).unwrap_or_default();
            merges.retain(|(left, right)| {
                !boundaries.parts(byte(left.chars().next_back()), byte(right.chars().next()))
            });
        }
        let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(model.vocab.len());
        let mut entries = Vec::with_capacity(model.vocab.len());
        let are_used = used(&merges, &contents);
        let mut bytes = Vec::new();
        for (text, id) in &model.vocab {
            bytes.clear();
            let is_spelled = chars.append_bytes(text, &mut bytes).is_some();
            if contents.contains(&text[..]) {
                // It is an ordinary token as well if merges use it. One that is spelled like other bytes must be known before.
                if !is_spelled || bytes != text.as_bytes() && bytes.len() > 1 && !are_used.contains(&text[..])
                {
                    continue;
                }
            } else if !is_spelled {
                return self.refuse(not_bytes(text, "list it in `added_tokens` if it is a special token"));
            }
            tokens.push((*id, bytes[..].into()));
            entries.push((&text[..], *id));
        }
        let highest = model.vocab.iter().map(|entry| entry.1).chain(added.iter().map(|t| t.id)).max();
        let taken = added.iter().map(|token| token.id).collect();
        let size = own.map_or(highest.map_or(0, |id| u64::from(id) + 1), |own| own.vocab_size);
        let built = resolve::build(tokens, &Entries::new(entries), &merges, specials(added), &taken, size);
        self.built(built)
    }

    /// The vocabulary of a file whose merges begin with characters; with spaces where it `writes_spaces` as `▁`.
    pub(super) fn character_vocab(
        &self,
        model: &Model,
        added: &[AddedToken],
        writes_spaces: bool,
    ) -> Result<Vocab> {
        self.check_ids(&model.vocab, added)?;
        let contents: FxHashSet<&str> = added.iter().map(|token| &token.content[..]).collect();
        let merges = self.merges(model, |_, _| Ok(()))?;
        let mut byte_ids = Box::new([None; 256]);
        let mut tokens: Vec<(u32, Arc<[u8]>)> = Vec::with_capacity(model.vocab.len());
        let mut entries = Vec::with_capacity(model.vocab.len());
        for (text, id) in &model.vocab {
            if let Some(byte) = byte_of(text).filter(|_| model.byte_fallback) {
                byte_ids[usize::from(byte)] = Some(*id);
                continue;
            }
            entries.push((&text[..], *id));
            if contents.contains(&text[..]) && text.contains([' ', '\u{2581}']) {
                continue;
            }
            if writes_spaces && text.contains(' ') {
                return self.refuse(format!(
                    "the token {} (id {id}) has a space, which this tokenizer writes as `{SPACE}`, so no text ever becomes it; not supported",
                    show(text.as_bytes())
                ));
            }
            let bytes = if writes_spaces { text.replace(SPACE, " ") } else { text.to_string() };
            tokens.push((*id, bytes.into_bytes().into()));
        }
        let has_bytes = byte_ids.iter().any(Option::is_some);
        if has_bytes && byte_ids.contains(&None) {
            return self.refuse("`model.byte_fallback` is true, and some of the tokens <0x00> to <0xFF> are missing; not supported");
        }
        let characters = Characters {
            byte_ids: has_bytes.then(|| Box::new(byte_ids.map(Option::unwrap_or_default))),
            unknown: model.unknown_id(),
            writes_spaces,
            fuse_unknown: model.fuse_unknown,
        };
        let entries = Entries::new(entries);
        let Some(merges) = resolve::resolve(&entries, &merges) else {
            return self.built(Err(resolve::unresolved(&entries, &merges)));
        };
        self.built(Vocab::of_characters(tokens, merges, Vec::new(), characters, specials(added)))
    }

    fn built(&self, built: std::result::Result<Vocab, Flaw>) -> Result<Vocab> {
        in_file(self.path, built, |k| k).map_err(|e| match e {
            // The number of a merge is in the message; it is not a line here.
            Error::VocabFile { path, reason, .. } => Error::VocabFile { path, line: None, reason },
            other => other,
        })
    }
}

/// The added tokens that merges use, of those that are more than ASCII: these alone may be spelled like other bytes.
fn used<'a>(merges: &[(&str, &str)], contents: &FxHashSet<&'a str>) -> FxHashSet<&'a str> {
    let others: FxHashSet<&str> = contents.iter().copied().filter(|content| !content.is_ascii()).collect();
    if others.is_empty() {
        return others;
    }
    let mut used = FxHashSet::default();
    let mut joined = String::new();
    for (left, right) in merges {
        joined.clear();
        joined.extend([*left, *right]);
        used.extend([left, right, &joined[..]].into_iter().filter_map(|text| others.get(text).copied()));
    }
    used
}

/// Each once: the library takes the first of several with one content, and one without content is never found.
fn specials(added: &[AddedToken]) -> Vec<(String, Option<u32>)> {
    let mut seen = HashSet::new();
    let firsts = added.iter().filter(|token| !token.content.is_empty() && seen.insert(&token.content[..]));
    firsts.map(|token| (token.content.clone(), Some(token.id))).collect()
}
