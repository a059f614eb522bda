//! One operation, from the caller's side: a future that hands its request over and waits.
//!
//! It is pending at least once, and as often as its dice say: that is what orders concurrent operations. Who
//! drops it after its first poll leaves the request in the world, which carries it out when it likes.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::SimDisk;
use super::fault::Kind;
use super::names::Name;
use crate::disk::PAGE;

/// How a file is to be opened: [`Mode`](crate::disk::Mode) without its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Read,
    Write,
    WriteDurable,
    Create,
    CreateNew,
}

/// What is asked of the world. Handles are numbers; a request in flight holds each of its own.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Lock {
        path: PathBuf,
    },
    Open {
        path: PathBuf,
        how: How,
        lock: Option<usize>,
    },
    /// A salt above zero: the names that it chooses were listed early.
    List {
        path: PathBuf,
        salt: u64,
        early: Vec<Name>,
    },
    CreateDir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncDir {
        path: PathBuf,
    },
    /// Perhaps done already, and only the answer is missing.
    SyncFiles {
        files: Vec<usize>,
        done: bool,
    },
    /// What was there early, if it was looked at.
    Read {
        file: usize,
        offset: usize,
        len: usize,
        early: Vec<u8>,
    },
    Write(Writing),
    Grow {
        file: usize,
        len: u64,
    },
    Len {
        file: usize,
    },
    Close {
        file: usize,
    },
}

/// A write.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) file: usize,
    pub(super) durable: bool,
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) returned: Returned,
}

/// Of each page of a write, the sectors of which reads have returned the new bytes while it was on its way. Empty:
/// of none.
pub(super) type Returned = Vec<u8>;

impl Request {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Request::Lock { .. } => Kind::Lock,
            Request::Open { .. } => Kind::Open,
            Request::List { .. } => Kind::List,
            Request::CreateDir { .. } => Kind::CreateDir,
            Request::Rename { .. } => Kind::Rename,
            Request::Remove { .. } => Kind::Remove,
            Request::SyncDir { .. } => Kind::SyncDir,
            Request::SyncFiles { .. } => Kind::SyncFiles,
            Request::Read { .. } => Kind::Read,
            Request::Write(writing) if writing.durable => Kind::WriteDurable,
            Request::Write(_) => Kind::Write,
            Request::Grow { .. } => Kind::Grow,
            Request::Len { .. } => Kind::Len,
            Request::Close { .. } => Kind::Close,
        }
    }

    /// Whether it may, on a disk that can only be read, not be answered well.
    pub(super) fn changes_the_disk(&self) -> bool {
        match self {
            Request::Open { how, .. } => *how != How::Read,
            request => {
                !matches!(request.kind(), Kind::Lock | Kind::List | Kind::Read | Kind::Len | Kind::Close)
            }
        }
    }

    /// The path that the request itself names.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Request::Lock { path }
            | Request::Open { path, .. }
            | Request::List { path, .. }
            | Request::CreateDir { path }
            | Request::Rename { from: path, .. }
            | Request::Remove { path }
            | Request::SyncDir { path } => Some(path),
            _ => None,
        }
    }

    /// The handles that the request holds.
    pub(super) fn handles(&self) -> &[usize] {
        match self {
            Request::SyncFiles { files, .. } => files,
            Request::Open { lock: Some(lock), .. } => std::slice::from_ref(lock),
            Request::Read { file, .. }
            | Request::Write(Writing { file, .. })
            | Request::Grow { file, .. }
            | Request::Len { file }
            | Request::Close { file } => std::slice::from_ref(file),
            _ => &[],
        }
    }

    /// Where in its file the request reads or writes: offset and length.
    pub(super) fn range(&self) -> (usize, usize) {
        match self {
            Request::Read { offset, len, .. } => (*offset, *len),
            Request::Write(Writing { offset, bytes, .. }) => (*offset, bytes.len()),
            _ => (0, 0),
        }
    }
}

/// Bytes that a read returned.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// One page, shared with the file.
    Page(Arc<[u8]>),
    Bytes(Vec<u8>),
}

/// What a request came to.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Handle(usize),
    Names(Vec<OsString>),
    Read(Answer),
    Written(usize, Vec<u8>),
    Len(u64),
}

impl Outcome {
    pub(super) fn handle(self) -> usize {
        match self {
            Outcome::Handle(handle) => handle,
            _ => unreachable!("only opening and locking are asked for a handle"),
        }
    }
}

/// A request on its way.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    disk: &'a SimDisk,
    state: State,
}

#[derive(Debug)]
enum State {
    Asked(Request),
    /// In flight under this number; so many polls to go, or it never completes.
    Flying(usize, Option<u32>),
    /// Completed, or the process has ended.
    Over,
}

impl<'a> Operation<'a> {
    pub(super) fn new(disk: &'a SimDisk, request: Request) -> Self {
        let (offset, len) = request.range();
        assert!(offset.is_multiple_of(PAGE) && len.is_multiple_of(PAGE), "{request:?} is not whole pages");
        Operation { disk, state: State::Asked(request) }
    }
}

impl Future for Operation<'_> {
    type Output = io::Result<Outcome>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let operation = self.get_mut();
        let process = operation.disk.process;
        operation.state = match std::mem::replace(&mut operation.state, State::Over) {
            State::Asked(request) => match operation.disk.world().submit(process, request) {
                Some((number, polls)) => State::Flying(number, polls),
                None => State::Over,
            },
            State::Flying(number, Some(polls)) if polls > 0 => State::Flying(number, Some(polls - 1)),
            State::Flying(number, Some(_)) => {
                let result = operation.disk.world().complete(process, number);
                return result.map_or(Poll::Pending, Poll::Ready);
            }
            state => state,
        };
        // What can still complete asks to be polled again; what cannot leaves its task asleep for good.
        if let State::Flying(_, Some(_)) = operation.state {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let State::Flying(number, _) = self.state {
            self.disk.world().abandon(self.disk.process, number);
        }
    }
}
