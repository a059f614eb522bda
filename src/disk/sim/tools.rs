//! The hand of the tester: looks at files and changes them, at once and durably, without any operation.

use std::io;
use std::path::{Path, PathBuf};

use super::SimDisk;
use super::contents::{Contents, index};
use super::names::{Node, ROOT};
use super::world::World;
use crate::disk::PAGE;

impl SimDisk {
    /// What reads see of a file, all of it.
    pub fn file_bytes(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.world().bytes(path.as_ref())
    }

    /// Makes a file that holds just these bytes, replacing what has this name; directories too, if missing.
    pub fn put_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        self.world().put_file(path.as_ref(), bytes)
    }

    /// Overwrites bytes of a file.
    pub fn overwrite(&self, path: impl AsRef<Path>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.world().change(path.as_ref(), |contents| contents.overwrite(index(offset), bytes))
    }

    /// Flips the bits of `mask` in one byte of a file.
    pub fn flip(&self, path: impl AsRef<Path>, offset: u64, mask: u8) -> io::Result<()> {
        self.world().change(path.as_ref(), |contents| {
            let mut byte = Vec::new();
            contents.read(index(offset), 1, &mut byte);
            let byte = byte.first().copied().unwrap_or(0);
            contents.overwrite(index(offset), &[byte ^ mask]);
        })
    }

    /// Sets a file's length; new bytes are zeros.
    pub fn set_len(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        self.world().change(path.as_ref(), |contents| contents.set_len(len))
    }

    /// Lets reads of the page at `offset` fail, until it is written.
    pub fn set_unreadable(&self, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        self.world().change(path.as_ref(), |contents| contents.set_unreadable(index(offset) / PAGE))
    }

    /// Takes a name away.
    pub fn unlink(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut world = self.world();
        let (directory, name) = world.names.parent(path.as_ref())?;
        world.names.lookup(directory, name).ok_or(io::ErrorKind::NotFound)?;
        world.names.unlink(directory, name);
        world.names.keep_latest();
        Ok(())
    }

    /// Makes a directory, and those above it.
    pub fn make_dirs(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.world().make_dirs(path.as_ref()).map(drop)
    }

    /// Copies a file into a world, this one or another.
    pub fn copy_file(&self, from: impl AsRef<Path>, into: &SimDisk, to: impl AsRef<Path>) -> io::Result<()> {
        let bytes = self.file_bytes(from)?;
        into.put_file(to, &bytes)
    }

    /// All files with their lengths, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        self.world().walk(ROOT, Path::new("/"), &mut |path, contents| {
            if let Some(contents) = contents {
                files.push((path, contents.len()));
            }
        });
        files
    }

    /// All directories below the root, by path.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut directories = Vec::new();
        self.world().walk(ROOT, Path::new("/"), &mut |path, contents| {
            if contents.is_none() {
                directories.push(path);
            }
        });
        directories
    }

    /// Makes everything durable that has completed.
    pub fn make_durable(&self) {
        let mut world = self.world();
        world.names.sync_all();
        for node in world.names.files() {
            if let Some(contents) = world.names.file_mut(node) {
                contents.sync();
            }
        }
    }
}

impl World {
    fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let node = self.names.resolve(path)?;
        let contents = self.names.file(node).ok_or(io::ErrorKind::IsADirectory)?;
        let mut bytes = Vec::new();
        contents.read(0, index(contents.len()), &mut bytes);
        Ok(bytes)
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Contents)) -> io::Result<()> {
        let node = self.names.resolve(path)?;
        change(self.names.file_mut(node).ok_or(io::ErrorKind::IsADirectory)?);
        Ok(())
    }

    fn make_dirs(&mut self, path: &Path) -> io::Result<Node> {
        let Some(parent) = path.parent() else { return Ok(ROOT) };
        let above = self.make_dirs(parent)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        match self.names.lookup(above, name) {
            Some(node) if self.names.is_directory(node) => Ok(node),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None => {
                let node = self.names.make(above, name, true);
                self.names.keep_latest();
                Ok(node)
            }
        }
    }

    fn put_file(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.make_dirs(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let (directory, name) = self.names.parent(path)?;
        if self.names.lookup(directory, name).is_some_and(|node| self.names.is_directory(node)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if self.names.lookup(directory, name).is_some() {
            self.names.unlink(directory, name);
            self.names.keep_latest();
        }
        let node = self.names.make(directory, name, false);
        self.names.keep_latest();
        if let Some(contents) = self.names.file_mut(node) {
            contents.overwrite(0, bytes);
        }
        Ok(())
    }

    fn walk(&self, node: Node, path: &Path, visit: &mut impl FnMut(PathBuf, Option<&Contents>)) {
        let Ok(directory) = self.names.directory(node) else { return };
        for (name, node) in &directory.live {
            let path = path.join(name.as_ref());
            visit(path.clone(), self.names.file(*node));
            self.walk(*node, &path, visit);
        }
    }
}
