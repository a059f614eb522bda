//! Finding the records of a log again: after a crash or a clean end, or beside the writer.
//!
//! [`Chain`] walks from the manifest's position by sequence and previous checksum. [`Begun`] is one pass over both
//! files, which finds every page that begins a record (its header has a checksum of its own). The record k that
//! is missing at the chain's end was never acknowledged, unless a later one was begun anywhere: a writer begins k+1
//! only when k is durable. Nothing is written here.
//!
//! Not here: what a record does to the store (`store::replay`).

use std::io;
use std::ops::Deref;
use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};

use super::LogFile;
use crate::disk::{Disk, Exact, File, Mode, PAGE, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Result};
use crate::format::manifest::LogPosition;
use crate::format::record::{self, Header, Place, Record};
use crate::format::{Malformed, StoreId, crc32c};
use crate::mutant::{self, Mutant};

/// Reads in flight while the log is looked through.
const READS_IN_FLIGHT: usize = 4;

/// Pages that one read brings, 1 MiB.
const PAGES_A_READ: u32 = 256;
const _: () = assert!(PAGES_A_READ as usize * PAGE == TRANSFER_BYTES_MAX);

const UNREADABLE: &str = "read the log (salvage the store, or restore it from a copy):";

/// The chain of records, followed from place to place. Nothing is remembered but what was read last.
pub(crate) struct Chain<'a, F: File> {
    files: &'a [LogFile<F>; 2],
    pages: u32,
    store: &'a StoreId,
    window: Option<Window<F::Bytes>>,
    look: Option<Look>,
}

/// What was read last, so that small records in a row cost one read together.
struct Window<B> {
    start: Place,
    bytes: Exact<B>,
}

/// What stood where the next record was looked for, and not begun: the checksum of each page.
pub(crate) type Look = Vec<u32>;

impl<'a, F: File> Chain<'a, F> {
    pub(crate) fn new(files: &'a [LogFile<F>; 2], pages: u32, store: &'a StoreId) -> Self {
        Self { files, pages, store, window: None, look: None }
    }

    /// The path of the file that a place is in.
    pub(crate) fn path(&self, place: Place) -> &'a Path {
        &self.files[usize::from(place.file)].path
    }

    /// Forgets what was read: what is looked at next is read anew.
    pub(crate) fn forget(&mut self) {
        self.window = None;
    }

    /// What the latest [`Chain::next`] saw that found no record; none if it saw one that was begun.
    pub(crate) fn look(&mut self) -> Option<Look> {
        self.look.take()
    }

    /// The record that begins at `place`, by its header, and its first page's checksum.
    async fn begun(&self, place: Place) -> Result<(Option<Header>, u32)> {
        let log = &self.files[usize::from(place.file)];
        let read_now;
        let page = match &self.window {
            Some(window) if window.holds(place, 1) => window.pages(place, 1),
            _ => {
                read_now = read(log, place, 1).await?;
                &*read_now
            }
        };
        Ok((header_in(log, page, place, self.pages, self.store)?, crc32c(page)))
    }

    /// The whole, valid record that begins at `place`, if one does.
    pub(crate) async fn record(&mut self, place: Place) -> Result<Option<Record<'_>>> {
        let (Some(header), _) = self.begun(place).await? else { return Ok(None) };
        let (store, path) = (self.store, self.path(place));
        let bytes = self.load(place, header.pages).await?;
        match record::decode(bytes, place, store) {
            Ok(record) => Ok(Some(record)),
            Err(malformed) if is_written(&malformed) => Err(malformed.at(path)),
            Err(_) => Ok(None),
        }
    }

    /// So many pages from `place` on: from the window, or read into it with what follows them.
    async fn load(&mut self, place: Place, pages: u32) -> Result<&[u8]> {
        let window = match self.window.take() {
            Some(window) if window.holds(place, pages) => window,
            _ => {
                let log = &self.files[usize::from(place.file)];
                let ahead = PAGES_A_READ.max(pages).min(self.pages - place.page);
                Window { start: place, bytes: read(log, place, ahead).await? }
            }
        };
        Ok(self.window.insert(window).pages(place, pages))
    }

    /// The bytes that the record which begins at `place` takes, whole or not; none where none begins.
    pub(crate) async fn bytes(&mut self, place: Place) -> Result<Option<&[u8]>> {
        let (Some(header), _) = self.begun(place).await? else { return Ok(None) };
        self.load(place, header.pages).await.map(Some)
    }

    /// The place of the record that follows `at`: right behind the last one, or at the start of the other file.
    pub(crate) async fn next(&mut self, at: &LogPosition) -> Result<Option<Place>> {
        let mut look = Some(Look::new());
        for place in candidates(at, self.pages) {
            let (header, sum) = self.begun(place).await?;
            if header.is_some_and(|header| follows(&header, at)) {
                // Beside a writer another record may stand there by now.
                let record = self.record(place).await?;
                if record
                    .is_some_and(|record| follows(&record.header, at) || mutant::is(Mutant::OnlyBegunFollows))
                {
                    return Ok(Some(place));
                }
                look = None;
            }
            look.iter_mut().for_each(|look| look.push(sum));
        }
        self.look = look;
        Ok(None)
    }

    /// Where the record that follows `at` was begun and is not whole.
    pub(crate) async fn torn(&mut self, at: &LogPosition) -> Result<Option<Place>> {
        for place in candidates(at, self.pages) {
            let (header, _) = self.begun(place).await?;
            // Beside a writer it may be whole by now.
            if header.is_some_and(|header| follows(&header, at)) && self.record(place).await?.is_none() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Where the record that follows `at` would stand, and something else does: neither zeros nor the beginning of
    /// an older record.
    pub(crate) async fn strange(&mut self, at: &LogPosition) -> Result<Option<Place>> {
        let zeros = crc32c(&[0; PAGE]);
        for place in candidates(at, self.pages) {
            let (header, sum) = self.begun(place).await?;
            if header.is_none() && sum != zeros {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Why this cannot be the log of a manifest that has the position `at`: the record before it is not here.
    pub(crate) async fn stray(&mut self, at: &LogPosition) -> Result<Option<Error>> {
        let before = self.record(at.last).await?.map(|record| record.checksum);
        if before == Some(at.checksum) || mutant::is(Mutant::NoRecordBefore) {
            return Ok(None);
        }
        let what = "the last record before the newest manifest is not here; salvage, or restore a copy";
        Ok(Some(Error::corrupt(self.path(at.last), at.last.offset(), what)))
    }
}

impl<B: Deref<Target = [u8]>> Window<B> {
    fn holds(&self, place: Place, pages: u32) -> bool {
        let end = self.start.page as usize + self.bytes.len() / PAGE;
        self.start.file == place.file && self.start.page <= place.page && (place.page + pages) as usize <= end
    }

    fn pages(&self, place: Place, pages: u32) -> &[u8] {
        let from = (place.page - self.start.page) as usize * PAGE;
        &self.bytes[from..from + pages as usize * PAGE]
    }
}

fn candidates(at: &LogPosition, pages: u32) -> impl Iterator<Item = Place> + use<> {
    let behind = (at.next.page < pages).then_some(at.next);
    behind.into_iter().chain([Place { file: 1 - at.next.file, page: 0 }])
}

fn follows(header: &Header, at: &LogPosition) -> bool {
    header.sequence == at.sequence
        && (header.previous == at.checksum || mutant::is(Mutant::NoPreviousCheck))
        && (header.epoch >= at.epoch || mutant::is(Mutant::EpochMayFall))
}

/// Every record that was begun in a log, whether it is whole or not.
pub(crate) struct Begun {
    headers: Vec<(Place, Header)>,
}

impl Begun {
    /// Where they stand, by file and page, and what their headers say.
    pub(crate) fn headers(&self) -> &[(Place, Header)] {
        &self.headers
    }

    /// Looks through both files.
    ///
    /// # Errors
    /// `Io` if a page cannot be read; `Corrupt` if a file is shorter than the manifest says.
    pub(crate) async fn find<F: File>(files: &[LogFile<F>; 2], pages: u32, store: &StoreId) -> Result<Self> {
        let bytes = u64::from(pages) * PAGE as u64;
        let mut headers = Vec::new();
        for (number, log) in (0..).zip(files) {
            let len = log.file.len().await.map_err(|error| Error::io(UNREADABLE, &log.path, error))?;
            if len < bytes {
                return Err(Error::corrupt(&log.path, len, format!("a log file is {bytes} bytes long")));
            }
            headers.extend(begun_in(log, number, pages, store).await?);
        }
        Ok(Self { headers })
    }

    /// Why the record that is missing behind `at` was acknowledged: one with a later sequence was begun.
    pub(crate) async fn later<F: File>(
        &self,
        chain: &mut Chain<'_, F>,
        at: &LogPosition,
    ) -> Result<Option<Error>> {
        for (place, later) in self.headers.iter().filter(|(_, header)| header.sequence > at.sequence) {
            if mutant::is(Mutant::NoLaterRecord)
                || mutant::is(Mutant::OnlyWholeRecords) && chain.record(*place).await?.is_none()
            {
                continue;
            }
            let what = format!(
                "record {} is damaged here or at the start of the other log file: record {} stands in {} at byte {}; \
                 acknowledged rows are lost, salvage what is left or restore a copy",
                at.sequence,
                later.sequence,
                chain.path(*place).display(),
                place.offset(),
            );
            return Ok(Some(Error::corrupt(chain.path(at.next), at.next.offset(), what)));
        }
        Ok(None)
    }

    /// Refuses a log that holds a record of a later manifest: the newest manifest is missing.
    pub(crate) async fn check_generation<F: File>(
        &self,
        chain: &mut Chain<'_, F>,
        newest: u64,
    ) -> Result<()> {
        for (place, _) in self.headers.iter().filter(|(_, header)| header.generation > newest) {
            if let Some(record) = chain.record(*place).await? {
                let generation = record.header.generation;
                return Err(newest_is_missing(chain.path(*place), *place, generation, newest));
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
            headers.extend(header_in(log, bytes, place, pages, store)?.map(|header| (place, header)));
        }
    }
    Ok(headers)
}

/// The header in a page, if a record begins there.
fn header_in<F>(
    log: &LogFile<F>,
    page: &[u8],
    place: Place,
    pages: u32,
    store: &StoreId,
) -> Result<Option<Header>> {
    match record::decode_header(page, place, store) {
        Ok(header) if header.pages > pages - place.page => {
            let what = "a record says that it goes beyond the end of its log file";
            Err(Error::corrupt(&log.path, place.offset(), what))
        }
        Ok(header) => Ok(Some(header)),
        Err(malformed) if is_written(&malformed) => Err(malformed.at(&log.path)),
        Err(_) => Ok(None),
    }
}

/// Refuses log files that a store's first manifest does not know of, if records stand in them that only a later
/// manifest's writer writes: a creation that was not finished leaves none, and they would be lost.
pub(crate) async fn check_unused<D: Disk>(disk: &D, dir: &Path, pages: u32, store: &StoreId) -> Result<()> {
    for (number, name) in (0..).zip(super::NAMES) {
        let path = dir.join(name);
        let file = match disk.open(&path, Mode::Read).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
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

/// The error for a record that stands at `place` and is of a manifest that is not here.
pub(crate) fn newest_is_missing(path: &Path, place: Place, generation: u64, newest: u64) -> Error {
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
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::corrupt(&log.path, start.offset(), "the log file ends within the bytes from here on")
        }
        _ => Error::io(UNREADABLE, &log.path, error),
    };
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
