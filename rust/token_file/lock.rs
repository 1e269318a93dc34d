//! One encoder at a time for each destination.
//!
//! The lock is the operating system's, on a file beside the output, so a process that is killed leaves none behind, and the
//! next one needs no guess whether a lock is stale. Whoever holds it may also clear away the temporary files of runs that
//! were killed, since nobody else can be writing them.

use crate::atomic;
use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// A destination that is this process's alone until the lock is dropped.
pub(super) struct Lock {
    path: PathBuf,
    /// Holds the lock while it is open.
    _file: File,
}

impl Lock {
    /// Takes the destination `output`.
    ///
    /// # Errors
    /// [`Error::TokenFile`] if another encoder has it; [`Error::Output`] if its folder does not exist; [`Error::Io`] if the
    /// folder cannot be written.
    pub fn take(output: &Path) -> Result<Self> {
        let path = path(output)?;
        atomic::check_folder(output)?;
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(Error::io(output))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let reason = "another encoder is writing this file; wait for it, or give another name";
                    return Err(Error::TokenFile { path: output.into(), reason: reason.into() });
                }
                Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(e)) => return Err(Error::io(&path)(e)),
            }
            // Its former holder may have removed the name between the two calls.
            if is_at(&file, &path) {
                return Ok(Lock { path, _file: file });
            }
        }
    }
}

/// The file that is locked while `output` is written.
///
/// # Errors
/// [`Error::Io`] if `output` has no file name.
pub(super) fn path(output: &Path) -> Result<PathBuf> {
    let Some(name) = output.file_name() else {
        let error = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file name");
        return Err(Error::io(output)(error));
    };
    Ok(output.with_file_name(format!(".{}.lock", name.to_string_lossy())))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still held, so nobody who sees the name can get the lock; what remains is an empty file, which harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |meta: fs::Metadata| (meta.dev(), meta.ino());
    file.metadata().map(place).ok() == fs::metadata(path).map(place).ok()
}

/// Elsewhere a file that is open cannot be replaced by another of its name.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

/// Removes temporary files that killed runs left of files that `ours` knows by name, as far as the folder can be listed.
pub(super) fn remove_leftovers(output: &Path, ours: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(atomic::folder(output)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(atomic::target_of_temporary).is_some_and(&ours) {
            // Only litter: the next run tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("x.bin");
        let lock = Lock::take(&output).unwrap();
        let error = Lock::take(&output).err().unwrap().to_string();
        assert!(error.contains("another encoder"), "{error}");
        Lock::take(&dir.path().join("y.bin")).unwrap();
        drop(lock);
        drop(Lock::take(&output).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lock_file_without_a_holder_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".x.bin.lock"), "").unwrap();
        Lock::take(&dir.path().join("x.bin")).unwrap();
    }
}
