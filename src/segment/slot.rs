//! The files of the active segment: one directory, `raw-<slot>`, one file for each part of each column.
//!
//! Not here: what is in them (`active`), bringing bytes into them (`flush`).

use std::io;
use std::path::{Path, PathBuf};

use futures::future::join_all;

use crate::disk::{Disk, File, Mode, PAGE};
use crate::error::{Error, Refused, Result};
use crate::mutant::{self, Mutant};
use crate::options::Options;
use crate::schema::Schema;

/// A slot, open for writing.
pub(crate) struct Slot<D: Disk> {
    pub(crate) path: PathBuf,
    /// One for each of the schema's raw files.
    pub(crate) files: Vec<SlotFile<D::File>>,
}

/// A raw file, open for writing.
pub(crate) struct SlotFile<F> {
    pub(crate) path: PathBuf,
    pub(crate) file: F,
    /// Bytes of space that it has: whole pages.
    pub(crate) space: u64,
}

/// The directory of a slot.
pub(crate) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("raw-{number}"))
}

impl<D: Disk> Slot<D> {
    /// Makes a slot, or takes one that is there: its directory, its files, and all their names are durable when
    /// this returns, found ones too.
    pub(crate) async fn prepare(
        disk: &D,
        dir: &Path,
        number: u32,
        schema: &Schema,
        lock: &D::Lock,
    ) -> Result<Self, Refused> {
        let path = path(dir, number);
        let found = match disk.create_dir(&path).await {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
            Err(error) => return Err(Refused::new("make", &path, error)),
        };
        let slot = Self::open_files(disk, path, schema, || Mode::Create(lock)).await?;
        let files: Vec<&D::File> = slot.files.iter().map(|file| &file.file).collect();
        disk.sync_files(&files).await.map_err(|error| Refused::sync(&slot.path, error))?;
        if found && mutant::is(Mutant::FoundIsDurable) {
            return Ok(slot);
        }
        for (directory, unsynced) in [(&*slot.path, Mutant::NoSlotSync), (dir, Mutant::NoNamesSync)] {
            if mutant::is(unsynced) {
                continue;
            }
            let synced = disk.sync_dir(directory).await;
            synced.map_err(|error| Refused::sync(directory, error))?;
        }
        Ok(slot)
    }

    /// Opens the slot that a manifest names. A missing file is damage.
    pub(crate) async fn open(
        disk: &D,
        dir: &Path,
        number: u32,
        schema: &Schema,
        lock: &D::Lock,
    ) -> Result<Self> {
        let opened = Self::open_files(disk, path(dir, number), schema, || Mode::Write(lock)).await;
        opened.map_err(|refused| match refused.source.kind() {
            io::ErrorKind::NotFound => {
                Error::corrupt(&refused.path, 0, "the manifest names this file; it is missing")
            }
            _ => refused.when_writing(),
        })
    }

    async fn open_files<'a>(
        disk: &D,
        path: PathBuf,
        schema: &Schema,
        mode: impl Fn() -> Mode<'a, D::Lock>,
    ) -> Result<Self, Refused>
    where
        D::Lock: 'a,
    {
        let mut files = Vec::with_capacity(schema.files().len());
        for raw in schema.files() {
            let path = path.join(raw.name());
            let opened = async {
                let file = disk.open(&path, mode()).await?;
                let space = file.len().await? / PAGE as u64 * PAGE as u64;
                Ok((file, space))
            };
            match opened.await {
                Ok((file, space)) => files.push(SlotFile { path, file, space }),
                Err(error) => return Err(Refused::new("open", &path, error)),
            }
        }
        Ok(Self { path, files })
    }

    /// Obtains space so that each file can hold what ends at its entry of `ends`, in doubling steps where the
    /// disk has room for them.
    pub(crate) async fn grow(&mut self, ends: &[u64], options: &Options) -> Result<(), Refused> {
        let wanting = self.files.iter_mut().zip(ends).filter(|(file, end)| file.space < **end);
        // All are waited for, also after an error: what is still on its way would hold the file and LOCK beyond
        // the writer's end.
        let grown = join_all(wanting.map(|(file, end)| file.grow(*end, options))).await;
        grown.into_iter().filter_map(Result::err).reduce(Refused::worse).map_or(Ok(()), Err)
    }

    /// Gives the files back: their locks are free when this returns.
    pub(crate) async fn close(self) -> Result<()> {
        for SlotFile { path, file, .. } in self.files {
            file.close().await.map_err(|error| Error::io("close", &path, error))?;
        }
        Ok(())
    }
}

impl<F: File> SlotFile<F> {
    async fn grow(&mut self, end: u64, options: &Options) -> Result<(), Refused> {
        let step = self.space.clamp(options.grow_bytes, options.grow_bytes_max);
        let ample = self.space + step.max(end - self.space);
        self.space = match self.file.grow(ample).await {
            Ok(()) => ample,
            Err(error) if crate::disk::is_full(&error) && ample > end => {
                let grown = self.file.grow(end).await;
                grown.map_err(|error| Refused::new("grow", &self.path, error))?;
                end
            }
            Err(error) => return Err(Refused::new("grow", &self.path, error)),
        };
        Ok(())
    }
}
