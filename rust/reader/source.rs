//! An input opened: a file, standard input, or either of the two compressions that text is kept in.
//!
//! What a name ends in decides: `.gz` is read by `flate2` over `zlib-rs`, `.zst` by the reference decoder of Zstandard, both
//! as any number of streams one after the other, their checksums compared. Rejected for Zstandard: `ruzstd`, which needs
//! no C compiler, but reads the first of several frames only, and does not compare checksums: a damaged file would pass.

use crate::error::{Error, Result};
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// An input: a file, or standard input under the name `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of text read from it so far, what a resumed run skipped included.
    pub num_bytes: u64,
    /// Bytes of the file as it lies on the disk; `None` for a pipe.
    pub file_bytes: Option<u64>,
}

/// How the bytes of a file become text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl Source {
    /// Looks at what is there, without opening it.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let file_bytes = if is_stdin(path) {
            None
        } else {
            let meta = std::fs::metadata(path).map_err(Error::io(path))?;
            if meta.is_dir() {
                return Err(Error::Io { path: path.into(), source: io::ErrorKind::IsADirectory.into() });
            }
            Some(&meta).filter(|meta| meta.is_file()).map(Metadata::len)
        };
        Ok(Source { path: path.into(), num_bytes: 0, file_bytes })
    }

    /// The bytes of text in it, where that is known beforehand.
    #[must_use]
    pub fn text_bytes(&self) -> Option<u64> {
        self.file_bytes.filter(|_| self.compression() == Compression::None)
    }

    fn compression(&self) -> Compression {
        match self.path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Compression::Gzip,
            Some("zst") => Compression::Zstandard,
            _ => Compression::None,
        }
    }

    /// Opens it at its byte of text `offset`: plain files go there, others are read up to there.
    pub(super) fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>> {
        let io = |e| self.error(e);
        if self.file_bytes.is_none() {
            // Standard input, or a name for a pipe.
            let file = if is_stdin(&self.path) { None } else { Some(self.path.clone()) };
            let pipe = Pipe::new(move || match file {
                Some(path) => Ok(Box::new(File::open(path)?)),
                None => Ok(Box::new(io::stdin())),
            });
            let pipe = pipe.map_err(io)?;
            return self.decompress(pipe);
        }
        let mut file = File::open(&self.path).map_err(io)?;
        if offset == 0 {
            return self.decompress(file);
        }
        if self.compression() == Compression::None {
            file.seek(SeekFrom::Start(offset)).map_err(io)?;
            return Ok(Box::new(file));
        }
        let mut text = self.decompress(file)?;
        let skipped = io::copy(&mut text.by_ref().take(offset), &mut io::sink()).map_err(io)?;
        if skipped < offset { Err(self.shrank(offset, skipped)) } else { Ok(text) }
    }

    fn decompress(&self, file: impl Read + Send + 'static) -> Result<Box<dyn Read + Send>> {
        Ok(match self.compression() {
            Compression::None => Box::new(file),
            Compression::Gzip => {
                let file = BufReader::with_capacity(1 << 16, file);
                Box::new(flate2::bufread::MultiGzDecoder::new(file))
            }
            Compression::Zstandard => {
                Box::new(zstd::stream::read::Decoder::new(file).map_err(|e| self.error(e))?)
            }
        })
    }

    /// What to say when reading fails: the operating system's word, or that of the decompressor.
    pub(super) fn error(&self, error: io::Error) -> Error {
        if self.compression() == Compression::None || error.raw_os_error().is_some() {
            return Error::io(&self.path)(error);
        }
        let name = if self.compression() == Compression::Gzip { "gzip" } else { "Zstandard" };
        let reason = format!("the {name} stream is cut short or damaged ({error}); compress the text again");
        Error::Input { path: self.path.clone(), line: None, reason }
    }

    /// At the end of a file: an error if it has fewer bytes than when the run began.
    pub(super) fn check_whole(&self) -> Result<()> {
        match self.text_bytes() {
            Some(expected) if self.num_bytes < expected => Err(self.shrank(expected, self.num_bytes)),
            _ => Ok(()),
        }
    }

    fn shrank(&self, from: u64, to: u64) -> Error {
        let reason = format!("the file shrank from {from} to {to} bytes while it was read; try again");
        Error::Input { path: self.path.clone(), line: None, reason }
    }
}

/// How often the reader of a pipe that gives nothing looks up.
const IMPATIENCE: Duration = Duration::from_millis(50);
/// Bytes taken out of a pipe at a time: what Linux keeps in one.
const PIPE_BYTES: usize = 1 << 16;

/// A pipe, whose reader is told with [`io::ErrorKind::TimedOut`] that nothing came for a while, so that it can be
/// interrupted. A thread of its own reads; if it is still waiting at the end, it ends with the process.
struct Pipe {
    receiver: Receiver<io::Result<Vec<u8>>>,
    part: io::Cursor<Vec<u8>>,
}

impl Pipe {
    fn new(open: impl FnOnce() -> io::Result<Box<dyn Read>> + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(16);
        let read = move || {
            let mut pipe = match open() {
                Ok(pipe) => pipe,
                Err(e) => return drop(sender.send(Err(e))),
            };
            loop {
                let mut part = vec![0; PIPE_BYTES];
                let outcome = match pipe.read(&mut part) {
                    Ok(0) => return,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    outcome => outcome,
                };
                let failed = outcome.is_err();
                let part = outcome.map(|len| {
                    part.truncate(len);
                    part
                });
                if sender.send(part).is_err() || failed {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("pipe".into()).spawn(read)?;
        Ok(Pipe { receiver, part: io::Cursor::default() })
    }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.part.read(bytes)?;
            if len > 0 || bytes.is_empty() {
                return Ok(len);
            }
            match self.receiver.recv_timeout(IMPATIENCE) {
                Ok(part) => self.part = io::Cursor::new(part?),
                Err(RecvTimeoutError::Timeout) => return Err(io::ErrorKind::TimedOut.into()),
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}

/// Whether `path` names standard input.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}
