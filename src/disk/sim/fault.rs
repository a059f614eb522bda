//! Errors and other mishaps, ordered beforehand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use nix::libc;

use super::operation::Request;

/// What happens to an operation instead of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error number. Whether it had an effect, in part or whole, is drawn.
    Error(i32),
    /// A read or write ends after so many bytes (a write at a whole sector); other operations are as ever.
    Short(usize),
    /// A write answers well and is lost; other operations are as ever.
    Lost,
    /// A write answers well and went to this offset; other operations are as ever.
    Misdirected(u64),
    /// It never completes.
    Hang,
}

impl Fault {
    /// The device reports an error (`EIO`).
    pub const IO: Fault = Fault::Error(libc::EIO);
    /// There is no space left (`ENOSPC`).
    pub const FULL: Fault = Fault::Error(libc::ENOSPC);
    /// The user may have no more space (`EDQUOT`).
    pub const QUOTA: Fault = Fault::Error(libc::EDQUOT);
    /// The file system was made read-only (`EROFS`), as ext4 does after an error.
    pub const READ_ONLY: Fault = Fault::Error(libc::EROFS);
    /// Too many files are open (`EMFILE`).
    pub const FILES: Fault = Fault::Error(libc::EMFILE);
}

pub(super) fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operation of the seam that has this name")]
pub enum Kind {
    Lock,
    Open,
    List,
    CreateDir,
    Rename,
    Remove,
    SyncDir,
    SyncFiles,
    Read,
    Write,
    /// A write through a handle of [`Mode::WriteDurable`](crate::disk::Mode::WriteDurable).
    WriteDurable,
    Grow,
    Len,
    Close,
}

/// The moment of an operation at which a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was handed over, no more: it may come to pass in part, whole, later or never.
    InFlight,
    /// It took effect; the caller does not hear of it.
    Done,
}

/// The mishaps ordered for one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub(super) crash: Option<(u64, Moment)>,
    pub(super) at: BTreeMap<u64, Fault>,
    pub(super) from: Option<(u64, Fault)>,
    pub(super) next: Vec<(Kind, OsString, Fault)>,
}

impl Orders {
    pub(super) fn has_any(&self) -> bool {
        !self.at.is_empty() || self.from.is_some() || !self.next.is_empty()
    }

    /// The mishap of this operation, if one was ordered.
    pub(super) fn take(&mut self, number: u64, request: &Request, path: &Path) -> Option<Fault> {
        if let Some(fault) = self.at.remove(&number) {
            return Some(fault);
        }
        let matches = |(of, name, _): &(Kind, OsString, Fault)| *of == request.kind() && path.ends_with(name);
        if let Some(place) = self.next.iter().position(matches) {
            return Some(self.next.remove(place).2);
        }
        let (from, fault) = self.from?;
        (number >= from && request.changes_the_disk()).then_some(fault)
    }
}
