//! Finding the records of a log again, after a crash or a clean end.
//!
//! One pass over both files finds every page that begins a record (its header has a checksum of its own); then
//! the chain is walked from the manifest's position by sequence and previous checksum. The record k that is
//! missing at the chain's end was never acknowledged, unless a later one was begun anywhere: a writer begins k+1
//! only when k is durable. Nothing is written here.
//!
//! Not here: what a record does to the store (`store::recover`).

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};

use super::LogFile;
use crate::disk::{Disk, Exact, File, Mode, PAGE, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::manifest::LogPosition;
use crate::format::record::{self, Header, Place, Record};
use crate::format::{Malformed, StoreId};
use crate::mutant::{self, Mutant};

/// Reads in flight while the log is looked through.
const READS_IN_FLIGHT: usize = 4;

/// Pages that one read brings, 1 MiB.
const PAGES_A_READ: u32 = 256;
const _: () = assert!(PAGES_A_READ as usize * PAGE == TRANSFER_BYTES_MAX);

const UNREADABLE: &str = "read the log (salvage the store, or restore it from a copy):";

/// Every record that was begun in a log, whether it is whole or not.
pub(crate) struct Begun<'a, F: File> {
    files: &'a [LogFile<F>; 2],
    pages: u32,
    store: &'a StoreId,
    /// By file and page.
    headers: Vec<(Place, Header)>,
    window: Option<Window<F::Bytes>>,
}

/// What was read last, so that small records in a row cost one read together.
struct Window<B> {
    start: Place,
    bytes: Exact<B>,
}

/// What stands where the chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing of the next record.
    Clean,
    /// The next record was begun here and is not whole: its commit was never acknowledged.
    Torn(Place),
}

impl<'a, F: File> Begun<'a, F> {
    /// Looks through both files.
    ///
    /// # Errors
    /// `Io` if a page cannot be read; `Corrupt` if a file is shorter than the manifest says.
    pub(crate) async fn find(files: &'a [LogFile<F>; 2], pages: u32, store: &'a StoreId) -> Result<Self> {
        let bytes = u64::from(pages) * PAGE as u64;
        let mut headers = Vec::new();
        for (number, log) in (0..).zip(files) {
            let len = log.file.len().await.map_err(|error| Error::io(UNREADABLE, &log.path, error))?;
            if len < bytes {
                return Err(Error::corrupt(&log.path, len, format!("a log file is {bytes} bytes long")));
            }
            headers.extend(begun_in(log, number, pages, store).await?);
        }
        Ok(Self { files, pages, store, headers, window: None })
    }

    /// The path of the file that a place is in.
    pub(crate) fn path(&self, place: Place) -> &Path {
        &self.files[usize::from(place.file)].path
    }

    fn header(&self, place: Place) -> Option<&Header> {
        let index =
            self.headers.binary_search_by_key(&(place.file, place.page), |(at, _)| (at.file, at.page));
        Some(&self.headers[index.ok()?].1)
    }

    /// Loads the whole record that begins at `place`; false where none does.
    async fn load(&mut self, place: Place) -> Result<bool> {
        let Some(header) = self.header(place) else { return Ok(false) };
        let pages = header.pages;
        let loaded = self.window.as_ref().is_some_and(|window| {
            let last = window.start.page as usize + window.bytes.len() / PAGE;
            window.start.file == place.file
                && window.start.page <= place.page
                && (place.page + pages) as usize <= last
        });
        if !loaded {
            let log = &self.files[usize::from(place.file)];
            let ahead = PAGES_A_READ.max(pages).min(self.pages - place.page);
            let bytes = read(log, place, ahead).await?;
            self.window = Some(Window { start: place, bytes });
        }
        Ok(true)
    }

    /// The whole, valid record that begins at `place`, if one does.
    pub(crate) async fn record(&mut self, place: Place) -> Result<Option<Record<'_>>> {
        if !self.load(place).await? {
            return Ok(None);
        }
        let pages = self.header(place).map_or(0, |header| header.pages as usize);
        let Some(window) = &self.window else { return Ok(None) };
        let from = (place.page - window.start.page) as usize * PAGE;
        let Some(bytes) = window.bytes.get(from..from + pages * PAGE) else { return Ok(None) };
        match record::decode(bytes, place, self.store) {
            Ok(record) => Ok(Some(record)),
            Err(malformed) if is_written(&malformed) => Err(malformed.at(self.path(place))),
            Err(_) => Ok(None),
        }
    }

    /// The place of the record that follows `at`: right behind the last one, or at the start of the other file.
    pub(crate) async fn next(&mut self, at: &LogPosition) -> Result<Option<Place>> {
        for place in self.candidates(at) {
            let Some(header) = self.header(place).copied() else { continue };
            let follows = header.sequence == at.sequence
                && (header.previous == at.checksum || mutant::is(Mutant::NoPreviousCheck))
                && (header.epoch >= at.epoch || mutant::is(Mutant::EpochMayFall));
            if follows && self.record(place).await?.is_some() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn candidates(&self, at: &LogPosition) -> impl Iterator<Item = Place> + use<F> {
        let behind = (at.next.page < self.pages).then_some(at.next);
        behind.into_iter().chain([Place { file: 1 - at.next.file, page: 0 }])
    }

    /// What stands behind the last record of the chain.
    ///
    /// # Errors
    /// `Corrupt` if a record with a later sequence was begun anywhere: then the missing one was acknowledged.
    pub(crate) async fn end(&mut self, at: &LogPosition) -> Result<End> {
        let later = self.headers.iter().filter(|(_, header)| header.sequence > at.sequence);
        let later: Vec<(Place, Header)> = later.copied().collect();
        for (place, later) in later {
            if mutant::is(Mutant::NoLaterRecord)
                || mutant::is(Mutant::OnlyWholeRecords) && self.record(place).await?.is_none()
            {
                continue;
            }
            let what = format!(
                "record {} is damaged here or at the start of the other log file: record {} stands in {} at byte {}; \
                 acknowledged rows are lost, salvage what is left or restore a copy",
                at.sequence,
                later.sequence,
                self.path(place).display(),
                place.offset(),
            );
            return Err(Error::corrupt(self.path(at.next), at.next.offset(), what));
        }
        let torn = self.candidates(at).find(|place| {
            self.header(*place).is_some_and(|header| {
                header.sequence == at.sequence && header.previous == at.checksum && header.epoch >= at.epoch
            })
        });
        Ok(torn.map_or(End::Clean, End::Torn))
    }

    /// Refuses a log that holds a record of a later manifest: the newest manifest is missing.
    pub(crate) async fn check_generation(&mut self, newest: u64) -> Result<()> {
        let later = self.headers.iter().filter(|(_, header)| header.generation > newest);
        let later: Vec<Place> = later.map(|(place, _)| *place).collect();
        for place in later {
            if let Some(record) = self.record(place).await? {
                let generation = record.header.generation;
                return Err(newest_is_missing(self.path(place), place, generation, newest));
            }
        }
        Ok(())
    }
}

/// The headers of all records that were begun in the first `pages` pages of a log file, by page.
async fn begun_in<F: File>(
    log: &LogFile<F>,
    number: u8,
    pages: u32,
    store: &StoreId,
) -> Result<Vec<(Place, Header)>> {
    let mut headers = Vec::new();
    let reads = (0..pages).step_by(PAGES_A_READ as usize).map(|page| {
        let start = Place { file: number, page };
        async move { Ok::<_, Error>((start, read(log, start, PAGES_A_READ.min(pages - page)).await?)) }
    });
    let mut reads = stream::iter(reads).buffered(READS_IN_FLIGHT);
    while let Some((start, bytes)) = reads.try_next().await? {
        if start.page == 0 && record::is_stranger(&bytes, number, store) {
            let what = "the log of another store, or the store's other log file, lies under this name";
            return Err(Error::corrupt(&log.path, 0, what));
        }
        for (page, bytes) in (start.page..).zip(bytes.chunks_exact(PAGE)) {
            let place = Place { page, ..start };
            match record::decode_header(bytes, place, store) {
                Ok(header) if header.pages > pages - page => {
                    let what = "a record says that it goes beyond the end of its log file";
                    return Err(Error::corrupt(&log.path, place.offset(), what));
                }
                Ok(header) => headers.push((place, header)),
                Err(malformed) if is_written(&malformed) => return Err(malformed.at(&log.path)),
                Err(_) => {}
            }
        }
    }
    Ok(headers)
}

/// Refuses log files that a store's first manifest does not know of, if records stand in them that only a later
/// manifest's writer writes: a creation that was not finished leaves none, and they would be lost.
pub(crate) async fn check_unused<D: Disk>(disk: &D, dir: &Path, pages: u32, store: &StoreId) -> Result<()> {
    for (number, name) in (0..).zip(super::NAMES) {
        let path = dir.join(name);
        let file = match disk.open(&path, Mode::Read).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.map_err(|error| Error::io(UNREADABLE, &path, error))?,
        };
        let len = file.len().await.map_err(|error| Error::io(UNREADABLE, &path, error))?;
        let whole = u32::try_from(len / PAGE as u64).unwrap_or(u32::MAX).min(pages);
        let log = LogFile { path, file };
        let begun = begun_in(&log, number, whole, store).await?;
        log.file.close().await.map_err(|error| Error::io("close", &log.path, error))?;
        if let Some((place, later)) = begun.iter().find(|(_, header)| header.generation > 1) {
            return Err(newest_is_missing(&log.path, *place, later.generation, 1));
        }
    }
    Ok(())
}

fn newest_is_missing(path: &Path, place: Place, generation: u64, newest: u64) -> Error {
    let what = format!(
        "a record of manifest {generation} stands here, but the newest manifest is {newest}; \
         restore manifest-{generation}, or salvage the store"
    );
    Error::corrupt(path, place.offset(), what)
}

/// Whether somebody wrote it so: only a wrong checksum may mean that a record was not finished.
fn is_written(malformed: &Malformed) -> bool {
    malformed.intact || malformed.version.is_some()
}

/// Up to 1 MiB of a log file, or as much as one record needs.
async fn read<F: File>(log: &LogFile<F>, start: Place, pages: u32) -> Result<Exact<F::Bytes>> {
    let len = pages as usize * PAGE;
    let refused = |error| Error::io(UNREADABLE, &log.path, error);
    if len <= TRANSFER_BYTES_MAX {
        return read_exact(&log.file, start.offset(), len).await.map_err(refused);
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let part = (len - bytes.len()).min(TRANSFER_BYTES_MAX);
        let part = read_exact(&log.file, start.offset() + bytes.len() as u64, part).await;
        bytes.extend_from_slice(&part.map_err(refused)?);
    }
    Ok(Exact::Pieces(bytes))
}
