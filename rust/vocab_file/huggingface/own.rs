//! `tinybpe.json`: what only this library has to say of a tokenizer. Others pass over the file.

use super::super::{
    json::{Json, Object},
    refuse,
};
use crate::{error::Result, pipeline::Definition};
use serde_json::json;
use std::{collections::HashMap, path::Path};

/// Its name.
pub const FILE: &str = "tinybpe.json";
/// The key of `model` that had the same in older files.
pub const KEY: &str = "tinybpe";
/// Versions that this build reads: a later one may mean something that it does not know.
const VERSIONS: [u64; 2] = [1, 2];

/// What it says.
#[derive(Clone, Debug)]
pub struct Own {
    /// The highest id plus one: an id at the end may have no entry in the JSON.
    pub vocab_size: u64,
    /// The digest of all that decides ids.
    pub sha256: String,
    /// Whether the patterns are another library's.
    pub is_foreign: bool,
}

impl Own {
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let path = path.with_file_name(FILE);
        Self::read(&path, "the file", Json::parse(&path, text)?.object(&path, "the file")?)
    }

    /// Gives back the tokenizer if it is the one that this was written for.
    pub fn check(&self, path: &Path, definition: Definition) -> Result<Definition> {
        if self.sha256 == definition.sha256() {
            return Ok(definition);
        }
        let reason = format!(
            "the tokenizer is not the one that was saved: its digest differs from the one in {FILE}, or in `model.{KEY}` of an older file. \
             The file is damaged, or was edited; restore it, or remove {FILE} if the edit is meant"
        );
        refuse(path, None, reason)
    }

    /// Reads the entries; `what` names them.
    pub fn read(path: &Path, what: &str, entries: Object) -> Result<Self> {
        let entries: HashMap<_, _> = entries.into_iter().collect();
        match entries.get("version") {
            Some(Json::Number(version)) if VERSIONS.contains(version) => {}
            version => {
                let version = version.map_or("none".into(), Json::kind);
                return refuse(
                    path,
                    None,
                    format!("{what} has version {version}; this build reads versions 1 and 2"),
                );
            }
        }
        let is_foreign = match entries.get("foreign_patterns") {
            None => Some(false),
            Some(Json::Bool(is_foreign)) => Some(*is_foreign),
            Some(_) => None,
        };
        let num_known = 3 + usize::from(entries.contains_key("foreign_patterns"));
        if let (Some(Json::Number(vocab_size)), Some(Json::String(sha256)), Some(is_foreign)) =
            (entries.get("vocab_size"), entries.get("sha256"), is_foreign)
            && entries.len() == num_known
        {
            return Ok(Own { vocab_size: *vocab_size, sha256: sha256.to_string(), is_foreign });
        }
        let reason = format!(
            "{what} must have `version`, `vocab_size`, `sha256` and perhaps `foreign_patterns` alone; it is damaged"
        );
        refuse(path, None, reason)
    }
}

/// The text of the file.
pub fn own_file(definition: &Definition) -> String {
    let (vocab_size, sha256) = (definition.vocab.vocab_size(), definition.sha256());
    let mut own = json!({"version": 2, "vocab_size": vocab_size, "sha256": sha256});
    if definition.pipeline.source.as_ref().is_some_and(|source| source.is_foreign) {
        own["foreign_patterns"] = json!(true);
    }
    format!("{own:#}\n")
}
