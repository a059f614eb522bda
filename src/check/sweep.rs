//! One raw file of a segment, from its first byte to its last, each chunk read and verified once.
//!
//! A damaged chunk does not end the sweep. What was verified is kept in the cache for whoever decodes it next.
//!
//! Not here: what the bytes mean (`column`).

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::report::{self, Damage, Part};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::CHUNK;
use crate::reader::fetch::Want;
use crate::reader::holdings::{Fetch, Handle, Holdings};
use crate::schema::Role;
use crate::segment::read::{self, CHUNK_BYTES, Loaded, RUN_CHUNKS_MAX, Run, View};

const MISMATCH: &str = "the bytes do not match their checksum";

/// A raw file on its way through a check.
pub(super) struct Sweep<'a, D: Disk> {
    holdings: &'a Holdings<D>,
    pub(super) segment: Arc<Loaded>,
    pub(super) file: usize,
    path: PathBuf,
    view: View,
    /// None where the file is missing.
    handle: Option<Arc<Handle<D::File>>>,
    /// Chunks that end below are whole in the file.
    reaches: u64,
    /// Up to here everything was read, whole chunks.
    at: u64,
    /// Places that do not match, and the rows that are known to lie in them.
    bad: Vec<Damage>,
    /// What was verified.
    pub(super) bytes: u64,
}

impl<'a, D: Disk> Sweep<'a, D> {
    /// Opens the file. One that is missing or too short is damage, and whatever it still holds is looked at.
    ///
    /// # Errors
    /// What is no damage: too many open files, no permission.
    pub(super) async fn open(
        holdings: &'a Holdings<D>,
        segment: &Arc<Loaded>,
        file: usize,
        part: &mut Part,
    ) -> Result<Self> {
        let (dir, schema) = (&holdings.shared.dir, &holdings.shared.schema);
        let path = segment.segment.file_path(dir, schema, file);
        let view = segment.view(file);
        let mut sweep = Sweep {
            holdings,
            segment: Arc::clone(segment),
            file,
            handle: None,
            reaches: 0,
            at: 0,
            bad: Vec::new(),
            bytes: 0,
            path,
            view,
        };
        let opened = Handle::open(&holdings.shared.disk, sweep.path.clone(), sweep.view.end).await;
        match opened {
            Ok(handle) => {
                sweep.reaches = sweep.view.end;
                sweep.handle = Some(Arc::new(handle));
            }
            Err(error) => {
                let mut damage = Damage::of(error)?;
                // What is missing, or the rest of what is short.
                damage.bytes = sweep.view.end.saturating_sub(damage.offset);
                damage.rows = sweep.rows_in(&(damage.offset..sweep.view.end));
                damage.column = sweep.column();
                sweep.reaches = damage.offset / CHUNK * CHUNK;
                if sweep.reaches > 0 {
                    let handle =
                        Handle::open(&holdings.shared.disk, sweep.path.clone(), sweep.reaches).await?;
                    sweep.handle = Some(Arc::new(handle));
                }
                part.push(damage);
            }
        }
        Ok(sweep)
    }

    /// L.
    pub(super) fn len(&self) -> u64 {
        self.view.len
    }

    fn column(&self) -> Option<String> {
        let schema = &self.holdings.shared.schema;
        let column = schema.files()[self.file].column?;
        Some(schema.columns()[column.index()].name().to_owned())
    }

    /// The rows whose bytes lie in `bytes`, where that does not depend on their values.
    fn rows_in(&self, bytes: &Range<u64>) -> Option<Range<u64>> {
        let raw = self.holdings.shared.schema.files()[self.file];
        let (width, rows) = (raw.width()? as u64, &self.segment.segment.rows);
        // A value also begins where the one before it ends.
        let more = u64::from(raw.role == Role::Offsets);
        let end = bytes.end.min(self.view.len);
        let start = bytes.start.min(end);
        let held = rows.start + start / width..(rows.start + end.div_ceil(width) + more).min(rows.end);
        (!held.is_empty()).then_some(held)
    }

    /// Verifies what lies before `end` and was not yet. Returns whether the bytes of `range`, which ends there at
    /// most, can be decoded.
    ///
    /// # Errors
    /// What is no damage.
    pub(super) async fn verify(&mut self, range: &Range<u64>) -> Result<bool> {
        let end = range.end.min(self.view.end).min(self.reaches);
        while self.at < end {
            let run = self.view.run(self.at..end, RUN_CHUNKS_MAX);
            self.at = run.end().next_multiple_of(CHUNK);
            self.read(run).await?;
        }
        let mut here = self.bad.iter().rev().take_while(|bad| range.start < bad.offset + bad.bytes);
        Ok(range.end.min(self.view.end) <= self.reaches && !here.any(|bad| bad.offset < range.end))
    }

    /// Bytes that can be decoded, below D or in the tail; none where they are damaged, which has been or will be told.
    pub(super) async fn bring(&mut self, range: &Range<u64>, part: &mut Part) -> Result<Option<Vec<u8>>> {
        if !self.verify(range).await? {
            return Ok(None);
        }
        let want = Want { segment: Arc::clone(&self.segment), file: self.file, range: range.clone() };
        match self.holdings.fetch(&[want]).await {
            Ok(mut bytes) => Ok(bytes.pop()),
            // They were right a moment ago, and had to be read again.
            Err(error) => {
                part.push(Damage::of(error)?);
                Ok(None)
            }
        }
    }

    /// What was decoded; none where it could not be, which is told.
    pub(super) fn or_tell<T>(&self, decoded: Result<T, read::Damage>, part: &mut Part) -> Option<T> {
        let told = decoded.map_err(|damage| part.push(self.contradiction(damage.offset, damage.what)));
        told.ok()
    }

    /// Reads a run; if something is wrong with it, again chunk by chunk.
    async fn read(&mut self, run: Run) -> Result<()> {
        let Some(handle) = self.handle.clone() else { return Ok(()) };
        let range = run.offset..run.end();
        if self.fetch(&handle, run).await.is_ok() {
            return Ok(());
        }
        for offset in range.clone().step_by(CHUNK_BYTES) {
            let run = self.view.run(offset..offset + 1, 1);
            let bytes = run.offset..run.end();
            match self.fetch(&handle, run).await {
                Ok(()) => {}
                Err(Error::Corrupt { .. }) => self.mismatch(&bytes, MISMATCH.into()),
                Err(Error::Io { source, .. }) if crate::disk::is_failing(&source) => {
                    self.mismatch(&bytes, report::unreadable(&source));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, handle: &Arc<Handle<D::File>>, run: Run) -> Result<()> {
        let fetched = Fetch::new(Arc::clone(handle), run, ()).await;
        let (run, bytes) = (fetched.run, fetched.bytes?);
        self.bytes += bytes.len() as u64;
        // Zeros, although nothing reads them: a checksum says only that a writer wrote them.
        let padding = usize::try_from(self.view.len.max(run.offset) - run.offset).unwrap_or(usize::MAX);
        if let Some(at) = bytes.iter().skip(padding).position(|byte| *byte != 0) {
            let at = run.offset + (padding + at) as u64;
            self.mismatch(&(at..at + 1), "the padding behind the last value is zero".into());
        }
        self.holdings.keep(self.segment.segment.number(), self.file, &run, &bytes);
        Ok(())
    }

    fn mismatch(&mut self, bytes: &Range<u64>, what: std::borrow::Cow<'static, str>) {
        if self.bad.last_mut().is_some_and(|last| report::joins(last, &self.path, bytes, &what)) {
            return;
        }
        let (offset, column) = (bytes.start, self.column());
        let path = self.path.clone();
        self.bad.push(Damage { path, offset, bytes: bytes.end - bytes.start, column, rows: None, what });
    }

    /// Says which rows damaged places hold, where that depends on their values: `rows` of `bytes`.
    pub(super) fn hold(&mut self, bytes: &Range<u64>, rows: &Range<u64>) {
        let here = self.bad.iter_mut().rev().take_while(|bad| bytes.start < bad.offset + bad.bytes);
        for bad in here.filter(|bad| bad.offset < bytes.end) {
            let before = bad.rows.take().unwrap_or_else(|| rows.clone());
            bad.rows = Some(before.start.min(rows.start)..before.end.max(rows.end));
        }
    }

    /// A place whose checksum is right and whose bytes are what no writer writes.
    pub(super) fn contradiction(&self, offset: u64, what: std::borrow::Cow<'static, str>) -> Damage {
        let rows = self.rows_in(&(offset..offset + 1));
        Damage { path: self.path.clone(), offset, bytes: 1, column: self.column(), rows, what }
    }

    /// Verifies the rest, and tells what was found.
    pub(super) async fn finish(mut self, part: &mut Part) -> Result<()> {
        self.verify(&(self.view.end..self.view.end)).await?;
        part.bytes += self.bytes;
        for mut damage in std::mem::take(&mut self.bad) {
            let bytes = damage.offset..damage.offset + damage.bytes;
            damage.rows = self.rows_in(&bytes).or(damage.rows);
            part.push(damage);
        }
        if let Some(handle) = self.handle {
            handle.close().await;
        }
        Ok(())
    }
}
