//! What a run finds at the names that it will write or remove: nothing of it may be a file that is read, and a file that this
//! run does not make again stays, unless the caller says otherwise.
//!
//! Looked at before any text is read, since a refusal after hours of work is a loss too; single files once more when they take
//! their names, since only then the ids are known.

use super::layout::{Dtype, Layout};
use super::output::{COMPANIONS, Kind, beside};
use super::shards::{Shards, belongs, is_shard};
use super::{lock, shards};
use crate::atomic::{REMEDY, ReadFiles, folder, target_of_temporary};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Refuses an output if one of the files that the run writes, replaces or removes is also read.
pub(super) fn refuse_read(read: &ReadFiles, output: &Path, shards: Option<Shards>) -> Result<()> {
    if output.as_os_str() == "-" {
        let reason = "standard output takes no token file, which has a sidecar; give the name of a file (`./-` for one called `-`)";
        return Err(Error::Output { path: output.into(), reason: reason.into() });
    }
    read.refuse(output)?;
    read.refuse(&lock::path(output)?)?;
    COMPANIONS.iter().try_for_each(|companion| read.refuse(&beside(output, companion)))?;
    for name in names(output) {
        // The temporary names of runs that were killed are cleared away.
        let cleared = target_of_temporary(&name).is_some_and(|name| belongs(output, name));
        if cleared || (shards.is_some() && belongs(output, &name)) {
            read.refuse(&output.with_file_name(&name))?;
        }
    }
    Ok(())
}

/// Refuses to write one token file where something else is; `sources` are what the new sidecar will say of the sources, as far
/// as that is known.
pub(super) fn check_one(output: &Path, kind: &Kind, sources: &[Value]) -> Result<()> {
    let Some(sidecar) = find(output)? else { return Ok(()) };
    let same_text = !sources.is_empty() && sidecar["sources"] == Value::from(sources.to_vec());
    let same_tokenizer = sidecar["tokenizer_sha256"] == *kind.tokenizer_sha256;
    let same_options = sidecar["dtype"] == kind.dtype.name()
        && sidecar["layout"] == kind.layout.name()
        && sidecar["end_of_document"] == Value::from(kind.end_of_document.clone());
    let loses_index = beside(output, "docs").exists() && kind.layout.index(kind.docs) != Some("docs");
    if same_text && same_tokenizer && same_options && !loses_index {
        return Ok(());
    }
    Err(other(output, &sidecar, if same_tokenizer { "" } else { " by another tokenizer" }))
}

/// Refuses to give a single file its name if something is there of which `sidecar` is not the sidecar.
pub(super) fn check_same(output: &Path, sidecar: &Value) -> Result<()> {
    match find(output)? {
        Some(found) if found != *sidecar => Err(other(output, &found, " with other ids")),
        _ => Ok(()),
    }
}

/// Refuses to write a set of token files where there are some already that this run does not make again.
pub(super) fn check_set(output: &Path, shards: Shards, run_sha256: &str) -> Result<()> {
    let first = match shards {
        Shards::Count(count) => shards::shard_path(output, 0, Some(count)),
        Shards::Tokens(_) => shards::shard_path(output, 0, None),
    };
    if find(&first).is_ok_and(|found| found.is_some_and(|found| found["shard"]["run_sha256"] == run_sha256)) {
        return Ok(());
    }
    let mut taken: Vec<PathBuf> = names(output)
        .filter_map(|name| is_shard(output, &name, shards))
        .map(|name| output.with_file_name(name))
        .collect();
    taken.sort_unstable();
    for path in taken {
        if let Some(sidecar) = find(&path)? {
            return Err(other(&path, &sidecar, " by another run"));
        }
    }
    Ok(())
}

/// The sidecar of the token file that is at `path`; `None` if nothing is there that would be lost.
fn find(path: &Path) -> Result<Option<Value>> {
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        // A folder or a device, which is refused with its own words when the file is created.
        return Ok(None);
    }
    let sidecar = std::fs::read(beside(path, "json")).ok();
    let size = path.metadata().map(|meta| meta.len()).ok();
    let is_ours = |content: &Value| {
        content["format"] == "tinybpe-token-file" && (size.is_none() || size == size_said(content))
    };
    let sidecar = sidecar.and_then(|bytes| serde_json::from_slice(&bytes).ok()).filter(is_ours);
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    match sidecar {
        // A sidecar without its token file is worth nothing.
        Some(_) if !is_there(path) => Ok(None),
        Some(sidecar) => Ok(Some(sidecar)),
        None => {
            let companions = COMPANIONS.iter().map(|companion| beside(path, companion));
            let Some(taken) =
                std::iter::once(path.to_path_buf()).chain(companions).find(|path| is_there(path))
            else {
                return Ok(None);
            };
            let what = if taken == path { "is" } else { "would be replaced or removed; it is" };
            let reason = format!("{what} no token file with a sidecar, so it may be anything; {REMEDY}");
            Err(Error::Output { path: taken, reason })
        }
    }
}

/// The bytes that a token file has according to its sidecar.
fn size_said(sidecar: &Value) -> Option<u64> {
    let layout = sidecar["layout"].as_str().map_or(Ok(Layout::Bin), Layout::from_name).ok()?;
    let dtype = Dtype::from_name(sidecar["dtype"].as_str()?).ok()?;
    let ids = sidecar["num_tokens"].as_u64()?.checked_mul(dtype.item_bytes())?;
    ids.checked_add(layout.header(dtype, 0).len() as u64)
}

fn other(path: &Path, sidecar: &Value, how: &str) -> Error {
    let sources = sidecar["sources"].as_array().into_iter().flatten();
    let names: Vec<&str> = sources.filter_map(|source| source["path"].as_str()).collect();
    let made = match &names[..] {
        [] => "made".to_owned(),
        [name] => format!("made from {name}"),
        [name, others @ ..] => format!("made from {name} and {} more", others.len()),
    };
    let reason = format!("a token file is there already, {made}{how}; {REMEDY}");
    Error::Output { path: path.into(), reason }
}

/// The names in the folder of `output`, as far as it can be listed.
fn names(output: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(folder(output)).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}
