//! The log: where a commit becomes durable.
//!
//! Two files of fixed size, written over alternately. The next record stands right behind the last one or, if it
//! does not fit before the end of that file, at the start of the other. The log enters the other file by the
//! durable write of a record there, and only when the durable manifest's position lies in the file that it
//! leaves: then nothing in the other is needed any more.
//!
//! Invariant: the position moves only when the record that moves it is durable.
//!
//! Not here: what is in a record (`format::record`), finding them again (`walk`).

use std::path::{Path, PathBuf};
use std::pin::pin;

use futures::future::join_all;
use futures::poll;

use crate::disk::{Buffers, Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX, write_all};
use crate::error::{Error, Refused, Result};
use crate::format::StoreId;
use crate::format::manifest::LogPosition;
use crate::format::record::{self, Identity, Place, Rows};
use crate::mutant::{self, Mutant};

pub(crate) mod walk;

/// The two files.
pub(crate) const NAMES: [&str; 2] = ["log-a", "log-b"];

/// The writer's hold on the log.
pub(crate) struct Log<D: Disk> {
    pub(crate) files: [LogFile<D::File>; 2],
    /// Pages in each file.
    pub(crate) pages: u32,
    pub(crate) at: LogPosition,
    /// The file in which the durable manifest's position lies.
    pub(crate) manifest_file: u8,
}

pub(crate) struct LogFile<F> {
    pub(crate) path: PathBuf,
    pub(crate) file: F,
}

/// Where the next record of some size can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// Here.
    At(Place),
    /// Nowhere before a checkpoint.
    AfterCheckpoint,
}

/// What a record says of itself besides what the log knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) store: &'a StoreId,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    pub(crate) rows: Option<&'a Rows<'a>>,
    pub(crate) note: Option<&'a [u8]>,
}

impl Content<'_> {
    fn pages(&self) -> u32 {
        record::pages(self.rows.map(Rows::size), self.note.map(<[u8]>::len))
    }
}

/// The position behind a record, in a log whose files have `of` pages: in that record's file, even at its end.
pub(crate) fn behind(record: Place, pages: u32, of: u32) -> Place {
    let page = record.page + pages;
    if page == of && mutant::is(Mutant::PositionMoves) {
        return Place { file: 1 - record.file, page: 0 };
    }
    Place { page, ..record }
}

/// Opens the two files that a manifest names, durable writes only. A missing one is damage.
pub(crate) async fn open<D: Disk>(disk: &D, dir: &Path, lock: &D::Lock) -> Result<[LogFile<D::File>; 2]> {
    let [a, b] = NAMES.map(|name| dir.join(name));
    Ok([open_file(disk, a, durable(lock)).await?, open_file(disk, b, durable(lock)).await?])
}

/// Opens the two files for reading, beside a writer. A missing one is damage.
pub(crate) async fn open_to_read<D: Disk>(disk: &D, dir: &Path) -> Result<[LogFile<D::File>; 2]> {
    let [a, b] = NAMES.map(|name| dir.join(name));
    Ok([open_file(disk, a, Mode::Read).await?, open_file(disk, b, Mode::Read).await?])
}

fn durable<L>(lock: &L) -> Mode<'_, L> {
    if mutant::is(Mutant::RecordNotDurable) { Mode::Write(lock) } else { Mode::WriteDurable(lock) }
}

async fn open_file<D: Disk>(disk: &D, path: PathBuf, mode: Mode<'_, D::Lock>) -> Result<LogFile<D::File>> {
    match disk.open(&path, mode).await {
        Ok(file) => Ok(LogFile { path, file }),
        Err(error) => Err(match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::corrupt(&path, 0, "the manifest names this log file; it is missing")
            }
            _ => Error::io("open", &path, error),
        }),
    }
}

/// Makes both files, of zeros; durable when this returns, but for their names.
pub(crate) async fn make<D: Disk>(disk: &D, dir: &Path, lock: &D::Lock, pages: u32) -> Result<(), Refused> {
    for name in NAMES {
        let path = dir.join(name);
        let refused = |error| Refused::new("make", &path, error);
        let file = disk.open(&path, Mode::Create(lock)).await.map_err(refused)?;
        let bytes = u64::from(pages) * PAGE as u64;
        file.grow(bytes).await.map_err(refused)?;
        let mut buffers = Buffers::<D::File>::default();
        for offset in (0..bytes).step_by(TRANSFER_BYTES_MAX) {
            let len = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(TRANSFER_BYTES_MAX);
            // Written, not only grown: then a commit changes no metadata. Reused buffers stay zero.
            let zeros = buffers.take(&file, len);
            buffers.give(write_all(&file, offset, zeros).await.map_err(refused)?);
        }
        if !mutant::is(Mutant::NoLogSync) {
            disk.sync_files(&[&file]).await.map_err(|error| Refused::sync(&path, error))?;
        }
        file.close().await.map_err(|error| Refused::new("close", &path, error))?;
    }
    Ok(())
}

impl<D: Disk> Log<D> {
    /// Where a record of `pages` pages goes.
    pub(crate) fn room(&self, pages: u32) -> Room {
        assert!(pages <= self.pages, "a record fits a log file: append and create see to it");
        let next = self.at.next;
        if pages <= self.pages - next.page {
            return Room::At(next);
        }
        if self.manifest_file != next.file && !mutant::is(Mutant::NoLogRule) {
            return Room::AfterCheckpoint;
        }
        Room::At(Place { file: 1 - next.file, page: 0 })
    }

    /// Writes a record at `place`, durably: one write, unless it is above 1 MiB. Then the position moves.
    pub(crate) async fn append(
        &mut self,
        place: Place,
        content: Content<'_>,
        buffers: &mut Buffers<D::File>,
    ) -> Result<()> {
        let to = &self.files[usize::from(place.file)];
        let identity = Identity {
            store: content.store,
            place,
            epoch: content.epoch,
            sequence: self.at.sequence,
            previous: self.at.checksum,
            generation: content.generation,
        };
        let pages = content.pages();
        let bytes = pages as usize * PAGE;
        let checksum;
        if bytes <= TRANSFER_BYTES_MAX {
            let mut buffer = buffers.take(&to.file, bytes);
            checksum = record::encode(&mut buffer, identity, content.rows, content.note);
            let write = write_all(&to.file, place.offset(), buffer);
            if mutant::is(Mutant::AcknowledgesEarly) {
                let _ = poll!(pin!(write));
            } else {
                let written = write.await;
                buffers.give(written.map_err(|error| Error::io("write a record to", &to.path, error))?);
            }
        } else {
            let mut whole = vec![0; bytes];
            checksum = record::encode(&mut whole, identity, content.rows, content.note);
            write_parts(to, place.offset(), &whole).await?;
        }
        let next = behind(place, pages, self.pages);
        let sequence = self.at.sequence + 1;
        self.at = LogPosition { next, last: place, checksum, sequence, epoch: content.epoch };
        Ok(())
    }
}

/// A record above the size of one write: each part is durable when its write returns, and the record counts
/// only when all are.
async fn write_parts<F: File>(to: &LogFile<F>, offset: u64, whole: &[u8]) -> Result<()> {
    let parts = (offset..).step_by(TRANSFER_BYTES_MAX).zip(whole.chunks(TRANSFER_BYTES_MAX));
    let writes = parts.map(|(offset, part)| {
        let mut buffer = to.file.buffer(part.len());
        buffer.copy_from_slice(part);
        write_all(&to.file, offset, buffer)
    });
    // All are waited for, also after an error: no write outlives the call that asked for it.
    let written: std::io::Result<Vec<_>> = join_all(writes).await.into_iter().collect();
    written.map_err(|error| Error::io("write a record to", &to.path, error))?;
    Ok(())
}
