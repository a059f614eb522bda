//! A real disk with a look at each file right after it was opened: at the descriptors that the process has on it.
//!
//! Not here: what a test looks for.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use tidelog::disk::{Disk, Mode};

/// `disk`, with `opened` called for each file that was opened; whether for writing, and whether durably.
#[derive(Clone, Debug)]
pub(crate) struct Hooked<D, H> {
    pub(crate) disk: D,
    pub(crate) opened: H,
}

/// How a file was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    WriteDurable,
}

impl<D: Disk, H: Fn(&Path, Access) -> io::Result<()> + Clone + Send + Sync + 'static> Disk for Hooked<D, H> {
    type File = D::File;
    type Lock = D::Lock;

    async fn lock(&self, path: &Path) -> io::Result<D::Lock> {
        self.disk.lock(path).await
    }

    async fn open(&self, path: &Path, mode: Mode<'_, D::Lock>) -> io::Result<D::File> {
        let access = match mode {
            Mode::Read => Access::Read,
            Mode::WriteDurable(_) => Access::WriteDurable,
            Mode::Write(_) | Mode::Create(_) | Mode::CreateNew(_) => Access::Write,
        };
        let file = self.disk.open(path, mode).await?;
        (self.opened)(path, access)?;
        Ok(file)
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(directory).await
    }

    async fn create_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_dir(directory).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to).await
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path).await
    }

    async fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_dir(directory).await
    }

    async fn sync_files(&self, files: &[&D::File]) -> io::Result<()> {
        self.disk.sync_files(files).await
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        self.disk.unique_id()
    }

    fn open_files_max(&self) -> io::Result<u64> {
        self.disk.open_files_max()
    }
}

/// A descriptor that this process has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) number: RawFd,
    pub(crate) path: PathBuf,
    /// As `open` was given them.
    pub(crate) flags: i32,
}

/// What this process has open at or below a path.
pub(crate) fn descriptors(below: &Path) -> io::Result<Vec<Descriptor>> {
    let below = below.canonicalize()?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        // Others come and go meanwhile.
        let Ok(path) = fs::read_link(Path::new("/proc/self/fd").join(&name)) else { continue };
        if !path.starts_with(&below) {
            continue;
        }
        let Ok(info) = fs::read_to_string(Path::new("/proc/self/fdinfo").join(&name)) else { continue };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
        let number = name.to_str().and_then(|name| name.parse().ok());
        let (Some(flags), Some(number)) = (flags, number) else {
            return Err(io::Error::other(format!("what is this descriptor? {info}")));
        };
        found.push(Descriptor { number, path, flags });
    }
    Ok(found)
}
