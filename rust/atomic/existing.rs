//! What an output may take the place of: never a file that is read, and another file only on request.
//!
//! Files are compared by device and inode, after following links, so that no other spelling of a name, no hard link and no
//! symbolic link hides that two names are one file.

use super::{AtomicFile, folder};
use crate::error::{Error, Result};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What to do with a file that has the name of an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays: writing is refused, unless the file is exactly what would be written.
    #[default]
    Keep,
    /// It is replaced.
    Replace,
}

/// The end of a message about a file that stays.
pub(crate) const REMEDY: &str = "give another name, or `overwrite=True` to replace it";

/// The files that are read, each known by what identifies it on its file system.
#[derive(Clone, Debug, Default)]
pub struct ReadFiles {
    files: Vec<(FileId, PathBuf)>,
}

#[cfg(unix)]
type FileId = (u64, u64);
/// Elsewhere the standard library has no number for a file.
#[cfg(not(unix))]
type FileId = PathBuf;

impl ReadFiles {
    /// Looks at each of `paths`; `-` is standard input, which may come from a file. Those that are no files count for nothing.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let files = paths.into_iter().filter_map(|path| Some((id_of_input(path)?, path.to_path_buf())));
        ReadFiles { files: files.collect() }
    }

    /// Refuses `output` if it is one of these files.
    ///
    /// # Errors
    /// [`Error::Output`] with both names.
    pub fn refuse(&self, output: &Path) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let Some(id) = fs::metadata(output).ok().and_then(|meta| file_id(output, &meta)) else {
            return Ok(());
        };
        let Some((_, input)) = self.files.iter().find(|(other, _)| *other == id) else { return Ok(()) };
        let reason = if input.as_os_str() == "-" {
            "is also standard input, which would be lost; give another output".to_owned()
        } else if input == output {
            "is also read, and would be lost; give another output".to_owned()
        } else {
            format!(
                "is the same file as {}, which is read and would be lost; give another output",
                input.display()
            )
        };
        Err(Error::Output { path: output.into(), reason })
    }
}

/// Refuses an output of which the folder does not exist.
///
/// # Errors
/// [`Error::Output`] with the folder.
pub(crate) fn check_folder(output: &Path) -> Result<()> {
    let folder = folder(output);
    if folder.exists() {
        return Ok(());
    }
    let reason = format!("the folder {} does not exist; make it first", folder.display());
    Err(Error::Output { path: output.into(), reason })
}

/// Writes files that belong together, in this order, each whole; of those that are there already none is touched unless all
/// are as they would be written, or `existing` says so.
///
/// # Errors
/// [`Error::Output`] for a file that stays, before anything is written; otherwise as [`AtomicFile::commit`].
pub fn write_all<'a>(files: impl IntoIterator<Item = (PathBuf, &'a [u8])>, existing: Existing) -> Result<()> {
    let mut files: Vec<_> = files.into_iter().collect();
    if existing == Existing::Keep {
        let mut missing = Vec::new();
        for (path, bytes) in files {
            match holds(&path, bytes)? {
                None => missing.push((path, bytes)),
                Some(true) => {}
                Some(false) => {
                    let reason = format!("is there already and differs from what would be written; {REMEDY}");
                    return Err(Error::Output { path, reason });
                }
            }
        }
        files = missing;
    }
    files.into_iter().try_for_each(|(path, bytes)| {
        let mut file = AtomicFile::create(path)?;
        file.append(bytes)?;
        file.commit()
    })
}

/// Whether a file is there, and holds these bytes.
fn holds(path: &Path, bytes: &[u8]) -> Result<Option<bool>> {
    let meta = match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome.map_err(Error::io(path))?,
    };
    if !meta.is_file() {
        // A folder or a device, which is refused with its own words.
        return AtomicFile::create(path).map(|_| None);
    }
    if meta.len() != bytes.len() as u64 {
        return Ok(Some(false));
    }
    let mut found = Vec::with_capacity(bytes.len());
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(meta.len()).read_to_end(&mut found).map_err(Error::io(path))?;
    Ok(Some(found == bytes))
}

fn id_of_input(path: &Path) -> Option<FileId> {
    let meta = if path.as_os_str() == "-" { metadata_of_stdin() } else { fs::metadata(path) };
    file_id(path, &meta.ok()?)
}

#[cfg(unix)]
fn metadata_of_stdin() -> io::Result<Metadata> {
    use std::os::fd::AsFd;
    File::from(io::stdin().as_fd().try_clone_to_owned()?).metadata()
}

#[cfg(not(unix))]
fn metadata_of_stdin() -> io::Result<Metadata> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn file_id(_: &Path, meta: &Metadata) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;
    meta.is_file().then(|| (meta.dev(), meta.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path, meta: &Metadata) -> Option<FileId> {
    if meta.is_file() { fs::canonicalize(path).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault: T15
    #[cfg(unix)]
    #[test]
    fn a_file_is_known_under_all_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "text").unwrap();
        fs::write(at("b"), "text").unwrap();
        fs::hard_link(at("a"), at("hard")).unwrap();
        std::os::unix::fs::symlink("a", at("soft")).unwrap();
        std::os::unix::fs::symlink(".", at("folder")).unwrap();
        for read in ["a", "soft", "hard", "folder/a"] {
            let files = ReadFiles::new([at("b"), at(read)].iter().map(PathBuf::as_path));
            for output in ["a", "soft", "hard", "folder/soft", "./a", "b"] {
                let error = files.refuse(&at(output)).unwrap_err();
                assert!(matches!(&error, Error::Output { path, .. } if *path == at(output)), "{error}");
            }
            files.refuse(&at("c")).unwrap();
            files.refuse(dir.path()).unwrap();
        }
        fs::write(at("c"), "text").unwrap();
        ReadFiles::new([at("a").as_path(), &at("missing")]).refuse(&at("c")).unwrap();
    }

    // fault: T15
    #[test]
    fn what_differs_is_kept_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |b: &'static [u8], existing| write_all([(at("a"), &b"one"[..]), (at("b"), b)], existing);
        fs::write(at("b"), "old").unwrap();
        for new in [&b"new"[..], b"", b"older"] {
            let error = write(new, Existing::Keep).unwrap_err();
            assert!(matches!(&error, Error::Output { path, .. } if *path == at("b")), "{error}");
            assert!(!at("a").exists());
        }
        write(b"old", Existing::Keep).unwrap();
        assert_eq!(fs::read(at("a")).unwrap(), b"one");
        write(b"new", Existing::Replace).unwrap();
        assert_eq!(fs::read(at("b")).unwrap(), b"new");
    }
}
