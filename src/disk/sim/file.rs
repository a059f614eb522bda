//! An open file of the simulated disk, its buffers, and the hold on a lock.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;

use super::SimDisk;
use super::contents::index;
use super::operation::{Answer, Outcome, Request, Writing};
use crate::disk::{File, PAGE, TRANSFER_BYTES_MAX};

/// A hold on a lock. It is free when the last clone is dropped, the last file opened under it, and the last
/// write of such a file and the last change of names beside it have completed.
#[derive(Debug)]
pub struct SimLock {
    disk: SimDisk,
    handle: usize,
}

impl SimLock {
    pub(super) fn new(disk: SimDisk, handle: usize) -> Self {
        SimLock { disk, handle }
    }

    pub(super) fn handle(&self) -> usize {
        self.handle
    }
}

impl Clone for SimLock {
    fn clone(&self) -> Self {
        let mut world = self.disk.world();
        if world.runs(self.disk.process)
            && let Some(handle) = world.handles.get_mut(self.handle)
        {
            handle.holders += 1;
        }
        SimLock { disk: self.disk.clone(), handle: self.handle }
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        // What a dead process still holds is not its own any more: the number may be another's.
        if world.runs(self.disk.process) {
            world.release(self.handle);
        }
    }
}

/// An open file. Dropping it closes it.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    handle: usize,
    durable: bool,
}

impl SimFile {
    pub(super) fn new(disk: SimDisk, handle: usize, durable: bool) -> Self {
        SimFile { disk, handle, durable }
    }

    pub(super) fn handle(&self) -> usize {
        self.handle
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.runs(self.disk.process) {
            world.drop_handle(self.handle);
        }
    }
}

/// Memory to write from.
#[derive(Clone, Debug)]
pub struct SimBuffer(Vec<u8>);

impl Deref for SimBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for SimBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// What a read returned.
#[derive(Clone, Debug)]
pub struct SimBytes(Answer);

impl Deref for SimBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Answer::Page(page) => page,
            Answer::Bytes(bytes) => bytes,
        }
    }
}

impl File for SimFile {
    type Buffer = SimBuffer;
    type Bytes = SimBytes;
    type Read = Pin<Box<dyn Future<Output = io::Result<SimBytes>> + Send>>;

    fn buffer(&self, len: usize) -> SimBuffer {
        assert!(len > 0 && len.is_multiple_of(PAGE), "a buffer of {len} bytes is not whole pages");
        SimBuffer(vec![0; len])
    }

    fn read_at(&self, offset: u64, len: usize) -> Self::Read {
        assert!(len > 0 && len <= TRANSFER_BYTES_MAX, "a read of {len} bytes");
        let request = Request::Read { file: self.handle, offset: index(offset), len, early: Vec::new() };
        let disk = self.disk.clone();
        Box::pin(async move {
            match disk.ask(request).await? {
                Outcome::Read(answer) => Ok(SimBytes(answer)),
                _ => unreachable!("a read is answered with bytes"),
            }
        })
    }

    async fn write_at(&self, offset: u64, buffer: SimBuffer) -> io::Result<(usize, SimBuffer)> {
        assert!(
            !buffer.is_empty() && buffer.len() <= TRANSFER_BYTES_MAX,
            "a write of {} bytes",
            buffer.len()
        );
        let (file, durable, bytes) = (self.handle, self.durable, buffer.0);
        let request =
            Request::Write(Writing { file, durable, offset: index(offset), bytes, returned: Vec::new() });
        match self.disk.ask(request).await? {
            Outcome::Written(count, bytes) => Ok((count, SimBuffer(bytes))),
            _ => unreachable!("a write is answered with a count"),
        }
    }

    async fn grow(&self, len: u64) -> io::Result<()> {
        self.disk.ask(Request::Grow { file: self.handle, len }).await.map(drop)
    }

    async fn len(&self) -> io::Result<u64> {
        match self.disk.ask(Request::Len { file: self.handle }).await? {
            Outcome::Len(len) => Ok(len),
            _ => unreachable!("a length is answered with a length"),
        }
    }

    async fn close(self) -> io::Result<()> {
        // The handle goes back when `self` is dropped, behind this.
        self.disk.ask(Request::Close { file: self.handle }).await.map(drop)
    }
}
