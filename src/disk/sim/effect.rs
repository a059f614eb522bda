//! What each request does to the world when it takes effect, and what it leaves behind when it fails.
//!
//! Not here: when that is (`world`).

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use nix::libc;

use super::contents::{Content, Contents, SECTOR, WHOLE, content, index};
use super::fault::{Fault, error};
use super::names::{Name, Node};
use super::operation::{Answer, How, Outcome, Request, Writing};
use super::world::{Handle, World, is_early};
use crate::disk::PAGE;

impl World {
    pub(super) fn effect(
        &mut self,
        process: usize,
        request: Request,
        path: usize,
        fault: Option<Fault>,
    ) -> io::Result<Outcome> {
        if let Some(Fault::Error(errno)) = fault {
            self.fail(process, request, path, errno);
            return Err(error(errno));
        }
        match request {
            Request::Lock { path: at } => self.lock(process, &at, path),
            Request::Open { path: at, how, lock } => self.open(process, (&at, path), how, lock),
            Request::List { path, salt, early } => self.list(&path, salt, early),
            Request::CreateDir { path } => self.create_dir(&path),
            Request::Rename { from, to } => self.rename(&from, &to),
            Request::Remove { path } => self.remove(&path),
            Request::SyncDir { path } => self.sync_dir(&path),
            Request::SyncFiles { done: true, .. } | Request::Close { .. } => Ok(Outcome::Done),
            Request::SyncFiles { files, done: false } => {
                files.into_iter().for_each(|file| self.sync_handle(file));
                Ok(Outcome::Done)
            }
            Request::Read { file, offset, len, early } => {
                let len = if let Some(Fault::Short(short)) = fault { len.min(short) } else { len };
                self.read(file, offset, len, &early)
            }
            Request::Write(writing) => self.write_at(writing, fault),
            Request::Grow { file, len } => self.grow(file, len),
            Request::Len { file } => {
                let contents = self.node(file).and_then(|node| self.names.file(node));
                Ok(Outcome::Len(contents.map_or(0, Contents::len)))
            }
        }
    }

    pub(super) fn node(&self, handle: usize) -> Option<Node> {
        self.handles.get(handle).map(|handle| handle.node)
    }

    // Names.

    fn lock(&mut self, process: usize, at: &Path, path: usize) -> io::Result<Outcome> {
        let (directory, name) = self.names.parent(at)?;
        let node = match self.names.lookup(directory, name) {
            Some(node) => node,
            None => self.make(directory, name, false)?,
        };
        if self.names.is_directory(node) {
            return Err(error(libc::EISDIR));
        }
        if self.names.lock(node).is_some() || self.names_may_change(directory) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let handle =
            Handle { process, node, holders: 1, held: true, writable: false, locks: true, lock: None, path };
        Ok(Outcome::Handle(self.open_handle(handle)))
    }

    /// Whether a change of names whose future was dropped is still on its way here.
    fn names_may_change(&self, directory: Node) -> bool {
        self.flying.iter().filter(|(_, flying)| flying.abandoned).any(|(_, flying)| match &flying.request {
            Request::CreateDir { path } | Request::Rename { from: path, .. } | Request::Remove { path } => {
                self.names.parent(path).is_ok_and(|(at, _)| at == directory)
            }
            _ => false,
        })
    }

    fn open(
        &mut self,
        process: usize,
        (at, path): (&Path, usize),
        how: How,
        lock: Option<usize>,
    ) -> io::Result<Outcome> {
        if self.processes[process].open_files >= self.open_files_max {
            return Err(error(libc::EMFILE));
        }
        let (directory, name) = self.names.parent(at)?;
        let node = match (self.names.lookup(directory, name), how) {
            (Some(_), How::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, How::Create | How::CreateNew) => self.make(directory, name, false)?,
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        if self.names.is_directory(node) {
            return Err(error(libc::EISDIR));
        }
        let writable = how != How::Read;
        let locks = writable && self.settings.flocks;
        if locks {
            self.wait_for_flock(node)?;
        }
        if let Some(lock) = lock.and_then(|lock| self.handles.get_mut(lock)) {
            lock.holders += 1;
        }
        let handle = Handle { process, node, holders: 1, held: true, writable, locks, lock, path };
        Ok(Outcome::Handle(self.open_handle(handle)))
    }

    /// Waits, in no time, for what a dead process or a dropped future left in flight; not for the living.
    fn wait_for_flock(&mut self, node: Node) -> io::Result<()> {
        while let Some(place) = self.late.iter().position(|write| write.node == node) {
            self.land_late(place);
        }
        if let Some(holder) = self.names.lock(node).filter(|holder| !self.is_held(*holder)) {
            self.land_abandoned(|flying| flying.request.handles().contains(&holder));
        }
        if self.names.lock(node).is_some() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    fn is_held(&self, handle: usize) -> bool {
        self.handles.get(handle).is_some_and(|handle| handle.held)
    }

    fn list(&mut self, path: &Path, salt: u64, mut names: Vec<Name>) -> io::Result<Outcome> {
        let directory = self.names.directory(self.names.resolve(path)?)?;
        names.extend(directory.live.keys().filter(|name| !is_early(name, salt)).cloned());
        for i in (1..names.len()).rev() {
            names.swap(i, self.random.index(i + 1));
        }
        Ok(Outcome::Names(names.iter().map(|name| name.as_ref().to_owned()).collect()))
    }

    /// Makes a name, which needs space.
    fn make(&mut self, directory: Node, name: &OsStr, is_directory: bool) -> io::Result<Node> {
        if self.available() == 0 {
            return Err(error(libc::ENOSPC));
        }
        Ok(self.names.make(directory, name, is_directory))
    }

    fn create_dir(&mut self, path: &Path) -> io::Result<Outcome> {
        let (directory, name) = self.names.parent(path)?;
        if self.names.lookup(directory, name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.make(directory, name, true)?;
        Ok(Outcome::Done)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<Outcome> {
        let (from, to) = (self.names.parent(from)?, self.names.parent(to)?);
        let node = self.names.lookup(from.0, from.1).ok_or(io::ErrorKind::NotFound)?;
        let replaced = self.names.lookup(to.0, to.1);
        if [Some(node), replaced].into_iter().flatten().any(|node| self.names.is_directory(node)) {
            return Err(error(libc::EISDIR));
        }
        if replaced.is_none() && self.available() == 0 {
            return Err(error(libc::ENOSPC));
        }
        if replaced != Some(node) {
            self.names.rename(node, from, to);
        }
        Ok(Outcome::Done)
    }

    fn remove(&mut self, path: &Path) -> io::Result<Outcome> {
        let (directory, name) = self.names.parent(path)?;
        let node = self.names.lookup(directory, name).ok_or(io::ErrorKind::NotFound)?;
        if self.names.is_directory(node) {
            return Err(error(libc::EISDIR));
        }
        self.names.unlink(directory, name);
        Ok(Outcome::Done)
    }

    fn sync_dir(&mut self, path: &Path) -> io::Result<Outcome> {
        let node = self.names.resolve(path)?;
        self.names.directory(node)?;
        if !self.settings.ignores_flush {
            self.names.sync(node, self.settings.journal);
        }
        Ok(Outcome::Done)
    }

    // Bytes.

    fn read(&mut self, file: usize, offset: usize, len: usize, early: &[u8]) -> io::Result<Outcome> {
        let node = self.node(file).ok_or(error(libc::EBADF))?;
        if self.settings.racy && self.flying.len() + self.late.len() > 0 {
            self.meet_writes(node, offset, len);
        }
        if !self.names.file(node).ok_or(error(libc::EBADF))?.is_readable(offset, len) {
            return Err(error(libc::EIO));
        }
        self.note_returned(node, offset, len);
        let contents = self.names.file(node).ok_or(error(libc::EBADF))?;
        let whole = len == PAGE && (offset + len) as u64 <= contents.len();
        if let Some(page) = contents.page(offset / PAGE).filter(|_| whole) {
            return Ok(Outcome::Read(Answer::Page(page)));
        }
        let mut bytes = Vec::new();
        contents.read(offset, len, &mut bytes);
        // Where the read came by early, it saw what was there then.
        for (page, early) in bytes.chunks_exact_mut(PAGE).zip(early.chunks_exact(PAGE)) {
            if self.random.coin() {
                page.copy_from_slice(early);
            }
        }
        Ok(Outcome::Read(Answer::Bytes(bytes)))
    }

    fn write_at(&mut self, writing: Writing, fault: Option<Fault>) -> io::Result<Outcome> {
        let Writing { file, durable, offset, bytes, .. } = writing;
        let node = self.writable(file)?;
        let (offset, taken) = match fault {
            Some(Fault::Short(count)) => (offset, bytes.len().min(count / SECTOR * SECTOR)),
            Some(Fault::Misdirected(elsewhere)) => (index(elsewhere) / PAGE * PAGE, bytes.len()),
            Some(Fault::Lost) => return Ok(Outcome::Written(bytes.len(), bytes)),
            _ => (offset, bytes.len()),
        };
        self.check_space(node, (offset + bytes.len()) as u64)?;
        let whole = taken / PAGE * PAGE;
        self.write(node, offset, &bytes[..whole]);
        if taken > whole {
            let sectors = (0..(taken - whole) / SECTOR).fold(0, |sectors, sector| sectors | 1 << sector);
            self.put(node, (offset + whole) / PAGE, &content(&bytes[whole..whole + PAGE]), sectors);
        }
        if durable {
            self.sync_pages(node, offset / PAGE, taken.div_ceil(PAGE));
        }
        Ok(Outcome::Written(taken, bytes))
    }

    /// The node of a handle that may write.
    fn writable(&self, file: usize) -> io::Result<Node> {
        let handle = self.handles.get(file).filter(|handle| handle.writable);
        handle.map(|handle| handle.node).ok_or(error(libc::EBADF))
    }

    fn grow(&mut self, file: usize, len: u64) -> io::Result<Outcome> {
        let node = self.writable(file)?;
        if let Err(full) = self.check_space(node, len) {
            self.fail_grow(node, len);
            return Err(full);
        }
        if let Some(contents) = self.names.file_mut(node) {
            contents.grow(len);
        }
        Ok(Outcome::Done)
    }

    /// Whether the file may become `len` bytes long.
    fn check_space(&self, node: Node, len: u64) -> io::Result<()> {
        if self.space.is_none() {
            return Ok(());
        }
        let more = len.saturating_sub(self.names.file(node).map_or(0, Contents::len));
        if more > self.available() { Err(error(libc::ENOSPC)) } else { Ok(()) }
    }

    pub(super) fn write(&mut self, node: Node, offset: usize, bytes: &[u8]) {
        for (i, page) in bytes.chunks_exact(PAGE).enumerate() {
            self.put(node, offset / PAGE + i, &content(page), WHOLE);
        }
    }

    pub(super) fn put(&mut self, node: Node, page: usize, content: &Content, sectors: u8) {
        let cow = self.settings.cow;
        let Some(contents) = self.names.file_mut(node) else { return };
        contents.put(page, content, sectors, cow);
        if !contents.listed {
            contents.listed = true;
            self.cached.push(node);
        }
    }

    /// A sync of one file, and of all that it brings along.
    pub(super) fn sync_handle(&mut self, file: usize) {
        if self.settings.ignores_flush {
            return;
        }
        let Some(node) = self.node(file) else { return };
        if let Some(contents) = self.names.file_mut(node).filter(|contents| contents.is_pending()) {
            contents.sync();
        }
        if self.settings.direct {
            self.flush_device();
        }
    }

    fn sync_pages(&mut self, node: Node, first: usize, count: usize) {
        if self.settings.ignores_flush {
            return;
        }
        if let Some(contents) = self.names.file_mut(node) {
            contents.sync_pages(first, count);
        }
        if self.settings.direct && !self.settings.fua {
            self.flush_device();
        }
    }

    /// The device's cache is empty. Where pages lie is not in it: with copy on write nothing is gained.
    fn flush_device(&mut self) {
        if self.settings.cow {
            return;
        }
        for node in std::mem::take(&mut self.cached) {
            if let Some(contents) = self.names.file_mut(node) {
                contents.listed = false;
                contents.flush();
            }
        }
    }

    // Failures.

    /// A request fails: what it leaves behind is drawn.
    fn fail(&mut self, process: usize, request: Request, path: usize, errno: i32) {
        match request {
            Request::Write(writing) => self.fail_write(&writing),
            Request::SyncFiles { files, .. } => {
                let lossy = self.settings.lossy_sync_failure;
                for file in files {
                    let node = self.node(file);
                    if let Some(contents) = node.and_then(|node| self.names.file_mut(node)) {
                        contents.fail_sync(&mut self.random, lossy);
                    }
                }
            }
            Request::Grow { file, len } => {
                if let Some(node) = self.node(file).filter(|_| self.random.coin()) {
                    self.fail_grow(node, len);
                }
            }
            Request::Read { .. } | Request::List { .. } | Request::Len { .. } | Request::Close { .. } => {}
            // The device failed somewhere: before the change or behind it.
            request if errno == libc::EIO && self.random.coin() => {
                if let Ok(Outcome::Handle(handle)) = self.effect(process, request, path, None) {
                    self.drop_handle(handle);
                }
            }
            _ => {}
        }
    }

    /// None of the bytes had landed, some, or all.
    fn fail_write(&mut self, writing: &Writing) {
        let Writing { file, offset, bytes, .. } = writing;
        let Ok(node) = self.writable(*file) else { return };
        let fate = self.random.below(3);
        if fate == 0 || self.check_space(node, (offset + bytes.len()) as u64).is_err() {
            return;
        }
        for (i, page) in bytes.chunks_exact(PAGE).enumerate() {
            let sectors = if fate == 1 { WHOLE } else { self.random.sectors() };
            self.put(node, offset / PAGE + i, &content(page), sectors);
        }
    }

    /// Space for some of the bytes had been obtained.
    fn fail_grow(&mut self, node: Node, len: u64) {
        let available = self.available();
        let Some(contents) = self.names.file_mut(node) else { return };
        let pages = len.saturating_sub(contents.len()).min(available) / PAGE as u64;
        let len = contents.len() + self.random.below(pages + 1) * PAGE as u64;
        contents.grow(len);
    }
}
