//! `added_tokens`: tokens that are cut out of text as a whole.

use super::super::json::Json;
use super::File;
use crate::error::Result;
use crate::pipeline::AddedToken;
use crate::vocab::show;
use rustc_hash::{FxHashMap, FxHashSet};

impl File<'_> {
    /// The added tokens in the file's order.
    pub(super) fn added_tokens(&self, value: Json) -> Result<Vec<AddedToken>> {
        let mut added = Vec::new();
        for (i, item) in value.array(self.path, "`added_tokens`")?.into_iter().enumerate() {
            let what = |key: &str| format!("`added_tokens[{i}].{key}`");
            let (mut id, mut content) = (None, None);
            let mut token = AddedToken { special: false, ..AddedToken::special(String::new(), 0) };
            for (key, value) in item.object(self.path, &format!("`added_tokens[{i}]`"))? {
                match (&key[..], value) {
                    ("id", value) => id = Some(value.id(self.path, || what("id"))?),
                    ("content", value) => {
                        content = Some(value.string(self.path, &what("content"))?.into_owned());
                    }
                    ("normalized", Json::Bool(value)) => token.normalized = value,
                    ("special", Json::Bool(value)) => token.special = value,
                    ("single_word", Json::Bool(value)) => token.single_word = value,
                    ("lstrip", Json::Bool(value)) => token.lstrip = value,
                    ("rstrip", Json::Bool(value)) => token.rstrip = value,
                    (_, value) => {
                        return self.feature(
                            &format!("added_tokens[{i}].{key}"),
                            &value,
                            "no such setting is",
                        );
                    }
                }
            }
            let (Some(id), Some(content)) = (id, content) else {
                return self.refuse(format!("`added_tokens[{i}]` has no id or no content"));
            };
            added.push(AddedToken { content, id, ..token });
        }
        Ok(added)
    }

    /// Checks that the library would give the added tokens the ids that the file names: that of `model.vocab`, else the next
    /// free one as it counts.
    pub(super) fn check_ids(
        &self,
        vocab: &[(std::borrow::Cow<'_, str>, u32)],
        added: &[AddedToken],
    ) -> Result<()> {
        let wanted: FxHashSet<&str> = added.iter().map(|token| &token.content[..]).collect();
        let in_model: FxHashMap<&str, u32> = vocab
            .iter()
            .filter(|(text, _)| wanted.contains(&text[..]))
            .map(|(text, id)| (&text[..], *id))
            .collect();
        let num_entries = vocab.len() as u64;
        let mut given: FxHashMap<&str, u64> = FxHashMap::default();
        let mut highest: Option<u64> = None;
        for token in added {
            let next =
                highest.filter(|id| *id >= num_entries || num_entries == 0).map_or(num_entries, |id| id + 1);
            let id = in_model.get(&token.content[..]).map_or(next, |id| u64::from(*id));
            highest = highest.max(Some(id));
            if *given.entry(&token.content).or_insert(id) != u64::from(token.id) {
                return self.refuse(format!(
                    "the added token {} has id {}, but Hugging Face's library would give it {id}; add it to `model.vocab` with the id that is meant",
                    show(token.content.as_bytes()),
                    token.id
                ));
            }
        }
        Ok(())
    }
}
