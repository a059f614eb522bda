//! The one error of the library.
//!
//! Each variant says what happened, where (path, offset, index) and what to do about it; `Display` is a
//! sentence for a person. Errors can be cloned, because one failed commit may have to be told to many callers.
//!
//! [`Malformed`] is what pure code returns, and the I/O layers add the path to.
//!
//! Not here: what becomes of a `Malformed` with a path (`format`).

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every fallible call of the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused an operation.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as it reads behind "could not".
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// The directory holds no store, or one whose creation was not finished.
    #[error("{} is not a store: {what}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What is there instead, and what to do.
        what: Cow<'static, str>,
    },
    /// There is a store already.
    #[error("{} is a store already; open it, or create another elsewhere", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The bytes are not what docs/format.md says. Nothing was changed.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The damaged file (the directory, where a file is missing).
        path: PathBuf,
        /// The first byte of the damaged piece.
        offset: u64,
        /// What was expected there.
        what: Cow<'static, str>,
    },
    /// The store was written by a newer version.
    #[error("{} has format version {found}, this tidelog reads up to {newest}; use a newer one", path.display())]
    Version {
        /// The file that says so.
        path: PathBuf,
        /// Its format version.
        found: u16,
        /// The newest version that this library reads.
        newest: u16,
    },
    /// Somebody else writes this store.
    #[error("{} is locked: {what}", path.display())]
    Locked {
        /// The file whose lock is held.
        path: PathBuf,
        /// By whom, as far as can be told, and what to do.
        what: Cow<'static, str>,
    },
    /// The store does not have the number of rows that the caller expected.
    #[error("expected {expected} rows, the store has {found}; read again and retry")]
    Conflict {
        /// The caller's number.
        expected: u64,
        /// Committed and pending rows.
        found: u64,
    },
    /// A key is below the one before it.
    #[error("key {key} at position {index} is below the key before it, {last}; keys never go back")]
    KeyOrder {
        /// Position within the call, from 0.
        index: u64,
        /// The key.
        key: u64,
        /// The key before it.
        last: u64,
    },
    /// A value, a count of values or a column that the schema does not have.
    #[error("column {column}, position {index}: {what}")]
    Schema {
        /// The column's name, or its number where there is none.
        column: String,
        /// Position within the call, from 0.
        index: u64,
        /// What was expected.
        what: Cow<'static, str>,
    },
    /// More than a limit allows.
    #[error("{what} is {given}, the limit is {max}")]
    Limit {
        /// What is limited, with its unit; names the column and position where there is one.
        what: Cow<'static, str>,
        /// What was asked for.
        given: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// No space. Nothing was changed; the same call works when there is space again.
    #[error("no space for {}: {source}; nothing was changed, free some space and call again", path.display())]
    Full {
        /// The file that could not be made or grown.
        path: PathBuf,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// An earlier call failed, or was dropped, when it had begun to write: what is on disk is known only after
    /// reopening.
    #[error("the writer stopped earlier ({cause}); open the store again to recover")]
    Poisoned {
        /// The first error.
        cause: Arc<str>,
    },
    /// The snapshot's files were reused or removed meanwhile.
    #[error("the snapshot is gone: its files were reused; take a new one")]
    SnapshotGone,
    /// This machine, file system or version cannot do it.
    #[error("{what}")]
    Unsupported {
        /// What is missing, and the remedy.
        what: Cow<'static, str>,
    },
    /// The writer has gone: nobody will answer.
    #[error("the store's writer is closed; open the store again")]
    Closed,
}

impl Error {
    /// The disk's error, by what it means.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::Unsupported => {
                return Error::Unsupported { what: format!("{}: {source}", path.display()).into() };
            }
            // A disk's own word for a lock that is held; the system has the same one for other things.
            io::ErrorKind::WouldBlock if source.raw_os_error().is_none() => {
                let what = "a writer that died still has requests in the kernel, or another program holds it; \
                            try again later";
                return Error::Locked { path: path.to_path_buf(), what: what.into() };
            }
            _ => {}
        }
        Error::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    /// Damage in `path` at `offset`.
    pub(crate) fn corrupt(path: &Path, offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Error::Corrupt { path: path.to_path_buf(), offset, what: what.into() }
    }
}

/// A disk operation that failed, before it is known what that means.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
    /// A sync says it once: asked again, it may say that all is well when it is not.
    is_sync: bool,
}

impl Refused {
    pub(crate) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_path_buf(), source, is_sync: false }
    }

    /// Of a sync of `path`, or of the files in it.
    pub(crate) fn sync(path: &Path, source: io::Error) -> Self {
        Self { is_sync: true, ..Self::new("sync", path, source) }
    }

    /// Whether it is lack of space, at a step that may be tried again.
    fn is_full(&self) -> bool {
        !self.is_sync && crate::disk::is_full(&self.source)
    }

    /// Whether another name could do better: neither the disk nor its space is at fault.
    pub(crate) fn is_of_name(&self) -> bool {
        !self.is_sync && !crate::disk::is_full(&self.source) && !crate::disk::is_failing(&self.source)
    }

    /// Of two that failed side by side, the one that counts: lack of space hides nothing worse.
    pub(crate) fn worse(self, other: Self) -> Self {
        if self.is_full() { other } else { self }
    }

    /// Where nothing is changed yet: lack of space is `Full`.
    pub(crate) fn before_writing(self) -> Error {
        if self.is_full() {
            return Error::Full { path: self.path, source: Arc::new(self.source) };
        }
        self.when_writing()
    }

    /// Where it stops the writer, whatever it is.
    pub(crate) fn when_writing(self) -> Error {
        Error::io(self.action, &self.path, self.source)
    }
}

/// Bytes that are not what docs/format.md says: where (from the start of the file), and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) offset: u64,
    pub(crate) what: Cow<'static, str>,
    /// A format version above ours, where that is what is wrong.
    pub(crate) version: Option<u16>,
    /// The checksum matches: somebody wrote it like this, it is no torn write.
    pub(crate) intact: bool,
}

impl Malformed {
    pub(crate) fn new(offset: u64, what: impl Into<Cow<'static, str>>) -> Self {
        Self { offset, what: what.into(), version: None, intact: false }
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::*;

    #[test]
    fn only_a_disks_own_busy_is_a_lock() {
        let from = |source: io::Error| Error::io("read", Path::new("log-a"), source);
        assert!(matches!(from(io::ErrorKind::WouldBlock.into()), Error::Locked { .. }));
        let said = io::Error::new(io::ErrorKind::WouldBlock, "still busy");
        assert!(matches!(from(said), Error::Locked { .. }));
        assert!(matches!(from(io::Error::from_raw_os_error(libc::EAGAIN)), Error::Io { .. }));
    }
}
