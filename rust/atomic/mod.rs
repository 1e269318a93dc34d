//! Files that appear whole or not at all.
//!
//! A file is written under a temporary name in its own folder, flushed to the disk, and then renamed: a
//! reader sees the old file or the new one, never half of either, and a full disk or a kill leaves the old
//! one as it was. The folder is flushed too, so that the rename itself survives a power cut. Cost: two
//! flushes to the disk per file; a long one is on the disk before (`stream`).
//!
//! Rejected: writing in place (a full disk destroys the file that was there), and a temporary name in the
//! system's own folder (a rename between file systems is a copy).

mod existing;
mod stream;

use crate::error::{Error, Result};
pub use existing::{Existing, ReadFiles, write_all};
pub(crate) use existing::{REMEDY, check_folder};
use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use stream::{Block, Stream};
use tempfile::NamedTempFile;

/// A file that takes its name with [`AtomicFile::commit`]; dropped before, it leaves no trace.
#[derive(Debug)]
pub struct AtomicFile {
    /// Writes full blocks, once there is one. Dropped before the file, which it writes to.
    stream: Option<Stream>,
    file: NamedTempFile,
    path: PathBuf,
    /// What was appended last.
    block: Block,
    /// Bytes before the block.
    num_before: u64,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`. What lies at `path` stays until [`AtomicFile::commit`].
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written, or if `path` is a folder, a device or has no file name;
    /// [`Error::Output`] if the folder does not exist.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let fail = |kind, text: &'static str| Error::io(&path)(io::Error::new(kind, text));
        let Some(name) = path.file_name() else {
            return Err(fail(io::ErrorKind::InvalidInput, "not a file name"));
        };
        if path.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory, "is a folder, and a file is to be written here"));
        }
        if std::fs::metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            // A rename would put a file in place of the device.
            return Err(fail(
                io::ErrorKind::InvalidInput,
                "is a device or a pipe, and a file is to be written here",
            ));
        }
        check_folder(&path)?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp").rand_bytes(RANDOM_CHARS);
        // A temporary file is private by default; this one becomes an ordinary file, as the process's umask
        // says.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        step(&path)?;
        let temporary = builder.tempfile_in(folder(&path)).map_err(Error::io(&path))?;
        Ok(Self { stream: None, file: temporary, path, block: Block::new(), num_before: 0 })
    }

    /// The name that the file will have.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `bytes`, with the error tied to the file.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk is full, or fails otherwise.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        step(&self.path)?;
        let mut rest = self.block.fill(bytes);
        while self.block.is_full() {
            self.write_block().map_err(Error::io(&self.path))?;
            rest = self.block.fill(rest);
        }
        Ok(())
    }

    /// Hands a full block to the thread that writes.
    fn write_block(&mut self) -> io::Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(Stream::start(self.file.as_file(), self.file.path(), self.num_before)?),
        };
        self.num_before += self.block.len() as u64;
        stream.write(&mut self.block)
    }

    /// Writes what has not been written yet.
    fn write_rest(&mut self) -> io::Result<()> {
        if let Some(mut stream) = self.stream.take() {
            stream.end()?;
        }
        self.file.seek(SeekFrom::Start(self.num_before))?;
        self.file.write_all(&self.block)?;
        self.num_before += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Flushes what was appended to the disk, where that may fail without harm: for files that belong together, before the
    /// first of them takes its name.
    ///
    /// # Errors
    /// As [`AtomicFile::append`].
    pub fn settle(&mut self) -> Result<()> {
        step(&self.path)?;
        self.write_rest().map_err(Error::io(&self.path))?;
        self.file.as_file().sync_all().map_err(Error::io(&self.path))
    }

    /// Replaces the first bytes of what was written, for a header that tells what only the end knows.
    ///
    /// # Errors
    /// As [`AtomicFile::append`].
    pub fn replace_start(&mut self, bytes: &[u8]) -> Result<()> {
        step(&self.path)?;
        self.write_rest().map_err(Error::io(&self.path))?;
        let replaced = self.file.rewind().and_then(|()| self.file.write_all(bytes));
        replaced.map_err(Error::io(&self.path))
    }

    /// Flushes the file to the disk and gives it its name, in place of a file that may have it.
    ///
    /// # Errors
    /// [`Error::Io`]; unless the last step, flushing the folder, is what failed, the old file is as it was.
    pub fn commit(mut self) -> Result<()> {
        self.settle()?;
        let Self { file, path, .. } = self;
        step(&path)?;
        file.persist(&path).map_err(|e| Error::io(&path)(e.error))?;
        step(&path)?;
        sync_folder(folder(&path)).map_err(Error::io(&path))
    }
}

/// Writes `bytes` as the whole of the file `path`, and treats one that is there as `existing` says.
///
/// # Errors
/// As [`write_all`].
pub fn write(path: impl Into<PathBuf>, bytes: &[u8], existing: Existing) -> Result<()> {
    write_all([(path.into(), bytes)], existing)
}

/// Comes before each call of the operating system, so that a test can let the n-th one fail.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "the tests' own fails")]
fn step(_: &Path) -> Result<()> {
    Ok(())
}
#[cfg(test)]
use tests::step;

/// Random characters in a temporary name.
const RANDOM_CHARS: usize = 6;

/// The name of the file that a temporary file of this name was to become; `None` for other names.
pub(crate) fn target_of_temporary(name: &str) -> Option<&str> {
    let (target, random) = name.strip_prefix('.')?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let is_random = random.len() == RANDOM_CHARS && random.bytes().all(|b| b.is_ascii_alphanumeric());
    is_random.then_some(target)
}

/// The folder of `path`; that of a bare name is the current one.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename durable. Only Unix opens a folder as a file; some file systems there cannot flush one, and
/// say so.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|f| f.sync_all()) {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        // A folder may be writable and not readable; the file has its name all the same.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Inputs;
    use crate::token_file::{self, Options};
    use crate::{Encoder, Monitor, Pretokenizer, Vocab, WordCounts, pipeline::Definition, vocab_file};
    use std::{collections::BTreeMap, fs, sync::Mutex};

    /// A folder, and how many steps in it are left before all fail.
    static FAILING: Mutex<Option<(PathBuf, usize)>> = Mutex::new(None);

    pub fn step(path: &Path) -> Result<()> {
        let mut failing = FAILING.lock().unwrap();
        match &mut *failing {
            Some((folder, left)) if path.starts_with(&*folder) => match left.checked_sub(1) {
                Some(rest) => *left = rest,
                None => return Err(Error::io(path)(io::ErrorKind::StorageFull.into())),
            },
            _ => {}
        }
        Ok(())
    }

    /// The names in a folder with what they hold.
    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
    }

    /// Runs `write(folder, version)` for version 0, then for version 1 with the disk full from the first step on, from the
    /// second, … until it succeeds. After each failure `check` sees the folder.
    fn fail_each_step(write: impl Fn(&Path, usize) -> Result<()>, check: impl Fn(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        let (old, new, at) = (dir.path().join("old"), dir.path().join("new"), dir.path().join("at"));
        for (folder, version) in [(&old, 0), (&new, 1)] {
            fs::create_dir(folder).unwrap();
            write(folder, version).unwrap();
        }
        let (old, new) = (files(&old), files(&new));
        for num_steps in 0.. {
            let _ = fs::remove_dir_all(&at);
            fs::create_dir(&at).unwrap();
            write(&at, 0).unwrap();
            *FAILING.lock().unwrap() = Some((at.clone(), num_steps));
            let result = write(&at, 1);
            *FAILING.lock().unwrap() = None;
            let found = files(&at);
            if result.is_ok() {
                assert_eq!(found, new);
                assert!(num_steps > 3);
                return;
            }
            // Each file is the old one or the new one, whole, and none is a rest.
            for (name, bytes) in &found {
                assert!(
                    old.get(name) == Some(bytes) || new.get(name) == Some(bytes),
                    "{name} at {num_steps}"
                );
            }
            check(&at);
        }
    }

    // fault: T14, V1, B1, B2
    #[test]
    fn a_disk_that_is_full_at_any_step_leaves_whole_files() {
        let vocab = |version| Vocab::from_merges(&[(97, 98), (256, 99)][..=version], &[]).unwrap();
        fail_each_step(
            |dir, version| vocab_file::save(dir, &Definition::new(vocab(version), "a|b"), Existing::Replace),
            |dir| {
                let loaded = vocab_file::load(dir, &vocab_file::Given::default()).unwrap().vocab;
                assert!(loaded == vocab(0) || loaded == vocab(1));
            },
        );
        let counts = |count| WordCounts::from_words("gpt2", &[], [(&b"a"[..], 1 + count as u64)]).unwrap();
        fail_each_step(
            |dir, version| counts(version).save(&dir.join("x"), Existing::Replace),
            |dir| {
                let loaded = WordCounts::load(&dir.join("x")).unwrap();
                assert!(loaded == counts(0) || loaded == counts(1));
            },
        );
        let input = tempfile::NamedTempFile::new().unwrap();
        fs::write(input.path(), "ab abc ".repeat(9)).unwrap();
        let encode = |dir: &Path, version: usize| {
            let encoder = Encoder::new(vocab(version), Pretokenizer::default()).unwrap();
            let options = Options {
                docs: true,
                num_threads: Some(1),
                existing: Existing::Replace,
                ..Options::default()
            };
            let inputs = Inputs::text(&[input.path().to_owned()]);
            token_file::encode_file(&encoder, "", &inputs, &dir.join("x"), &options, &Monitor::default())
                .map(drop)
        };
        fail_each_step(encode, |dir| {
            // A sidecar stands beside the ids that it tells of, or there is none.
            let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            encode(old.path(), 0).unwrap();
            encode(new.path(), 1).unwrap();
            let found = files(dir);
            if found.contains_key("x.json") {
                assert!(found == files(old.path()) || found == files(new.path()));
            }
        });
    }

    // fault: T14
    #[test]
    fn commits_whole_and_drops_without_a_trace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.bin");
        write(&path, b"old", Existing::Keep).unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.append(b"half of the n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write(&path, b"new", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn temporary_names_tell_their_target() {
        let dir = tempfile::tempdir().unwrap();
        let _file = AtomicFile::create(dir.path().join("x.bin")).unwrap();
        let name = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().file_name();
        assert_eq!(target_of_temporary(name.to_str().unwrap()), Some("x.bin"));
        for other in ["x.bin", ".x.bin.tmp", ".x.bin.abc.tmp", ".x.bin.abcde-.tmp", ".x.bin.json"] {
            assert_eq!(target_of_temporary(other), None, "{other}");
        }
    }

    // fault: T14
    #[test]
    fn names_the_file_that_it_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let missing = AtomicFile::create(dir.path().join("none/x")).unwrap_err();
        assert!(missing.to_string().ends_with("none does not exist; make it first"), "{missing}");
        for path in [dir.path().to_path_buf(), PathBuf::from("/"), PathBuf::new()] {
            let error = AtomicFile::create(&path).unwrap_err();
            assert!(matches!(&error, Error::Io { path: p, .. } if *p == path), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn follows_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
        write(&ours, b"", Existing::Keep).unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |p| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(plain));
    }
}
