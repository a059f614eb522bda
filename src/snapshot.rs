//! What readers on any core share: the handle of a store, and snapshots of it.
//!
//! Both are plain data without file handles: clone them, send them anywhere.
//!
//! Not here: reading (`reader`), how the writer shows what is committed (`store::shared`), how another process
//! learns of it (`store::follow`).

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::reader::Reader;
use crate::schema::Schema;
use crate::segment::read::{Body, RawSegment};
use crate::segment::{SealedSegment, Segment};
use crate::store::follow::Follower;
use crate::store::newest;
use crate::store::seal::compact::compact;
use crate::store::seal::{self, Maintain, Maintained};
use crate::store::shared::{Seen, Shared};

/// A store, for readers on any core: of the writer's process ([`Writer::store`](crate::Writer::store)), or of
/// another ([`Store::follow`]).
///
/// It stays readable when its writer is closed, or has stopped after an error.
pub struct Store<D: Disk = Glommio> {
    shared: Arc<Shared<D>>,
    /// None in the writer's process.
    follower: Option<Arc<Follower<D>>>,
}

impl<D: Disk> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), follower: self.follower.clone() }
    }
}

impl<D: Disk> fmt::Debug for Store<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.shared.dir)
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir` for reading, whether a writer of another process has it open or not. Takes no lock
    /// and writes nothing: no byte, no name, no time of a file changes. Rows that are committed later are seen
    /// after [`Store::refresh`].
    ///
    /// A store that was created and never opened is followed too; it has no rows.
    ///
    /// # Errors
    /// `NotAStore` if there is none, or one whose creation was not finished; `Corrupt` if manifest or log are
    /// damaged; `Version` if a newer tidelog wrote it; `Io`, `Unsupported`.
    pub async fn follow(dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        Self::follow_on(Glommio::default(), dir, options).await
    }
}

impl<D: Disk> Store<D> {
    /// As [`Store::follow`], on any disk.
    ///
    /// # Errors
    /// As [`Store::follow`].
    ///
    /// ```
    /// use tidelog::disk::Posix;
    /// use tidelog::{Options, Schema, Seek, Store, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().join("ticks");
    /// # futures::executor::block_on(async {
    /// let mut writer = Writer::create_on(Posix::default(), &dir, Schema::new([])?, Options::default()).await?;
    /// // In another process, say:
    /// let store = Store::follow_on(Posix::default(), &dir, Options::default()).await?;
    /// let reader = store.reader();
    ///
    /// writer.pending().append(1_700_000_000, &[])?;
    /// writer.commit().await?;
    /// assert_eq!(store.rows(), 0, "what was seen when it was opened");
    /// let snapshot = store.refresh().await?;
    /// let newest = reader.seek(&snapshot, Seek::Last).await?.ok_or("there is a row")?;
    /// assert_eq!(newest.key, 1_700_000_000);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn follow_on(disk: D, dir: impl AsRef<Path>, options: Options) -> Result<Self> {
        let follower = Follower::open(disk, dir.as_ref(), options).await?;
        Ok(Self { shared: Arc::clone(&follower.shared), follower: Some(Arc::new(follower)) })
    }

    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        Self { shared, follower: None }
    }

    /// What is committed now: of a store of another process, looked at again; else as [`Store::snapshot`]. Where
    /// nothing is new this costs two reads of a page and a listing; where something is, one look through both log
    /// files besides. What is committed while it looks may be left to the next call. Calls of one store, and of its
    /// clones, wait for each other.
    ///
    /// # Errors
    /// `Corrupt` if the log or the newest manifest is damaged: [`Store::snapshot`] stays what it was, and readable.
    /// `NotAStore` if the directory has gone; `Version`, `Io`, `Unsupported`.
    pub async fn refresh(&self) -> Result<Snapshot> {
        if let Some(follower) = &self.follower {
            follower.refresh().await?;
        }
        Ok(self.snapshot())
    }

    /// What is committed now; of a store of another process, what was when it was last looked at. Costs no I/O and
    /// waits for nobody.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let identity = Arc::clone(&self.shared);
        Snapshot { seen: self.shared.see(), identity }
    }

    /// Does one piece of the work that keeps a store fast: seals the oldest segment that is finished. On any core,
    /// beside the writer, whom it hands the result: it takes effect with his next commit (that is not only buffered), sync, checkpoint or close,
    /// and with a [`Committer`](crate::Committer) at once. Where no segment is finished it encodes rows of the one that is
    /// being written, as far as they are still in memory ([`Options::seal_bytes`](crate::Options::seal_bytes)). Call it
    /// again until there is nothing to do.
    ///
    /// One call works at a time, the others return at once. Its future may be dropped at any moment, and an error
    /// changes nothing: the segment stays as it is. While it works it keeps the store locked, also when the writer is
    /// closed meanwhile; it notices at its next read or write, and returns `Closed`.
    ///
    /// # Errors
    /// `Full` if there is no space for the sealed file; `Corrupt` if the segment is damaged, or the disk does not hold
    /// what was written; `Closed` if the writer has gone; `Unsupported` for a store of another process; `Io`.
    ///
    /// ```
    /// use tidelog::disk::Posix;
    /// use tidelog::{Maintain, Maintained, Options, Schema, Writer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().join("ticks");
    /// # futures::executor::block_on(async {
    /// let options = Options::default().segment_rows(1000);
    /// let mut writer = Writer::create_on(Posix::default(), &dir, Schema::new([])?, options).await?;
    /// let store = writer.store();
    /// for batch in 0..3 {
    ///     let keys: Vec<u64> = (batch * 1000..(batch + 1) * 1000).collect();
    ///     writer.pending().append_batch(&keys, &[])?;
    ///     writer.commit().await?;
    /// }
    /// // Two segments are finished. On this core or another:
    /// let did = store.maintain(Maintain::Seal).await?;
    /// assert!(matches!(did, Maintained::Sealed { segment: 0, rows: 1000, .. }));
    /// assert_eq!(store.maintain(Maintain::Seal).await?, Maintained::Nothing, "the writer has not taken it yet");
    /// writer.sync().await?;
    /// assert!(matches!(store.maintain(Maintain::Seal).await?, Maintained::Sealed { segment: 1, .. }));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn maintain(&self, work: Maintain) -> Result<Maintained> {
        if self.follower.is_some() {
            let what = "a store is maintained in the process that writes it; use the Store of its writer";
            return Err(Error::Unsupported { what: what.into() });
        }
        match work {
            Maintain::Seal => seal::seal(&self.shared).await,
            Maintain::Compact(tier) => compact(&self.shared, tier).await,
        }
    }

    /// A reader for the calling core. It opens files when it first needs them, and keeps up to
    /// [`Options::cache_bytes`](crate::Options::cache_bytes) of what it has read.
    #[must_use]
    pub fn reader(&self) -> Reader<D> {
        Reader::new(Arc::clone(&self.shared))
    }

    /// What the store holds.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.shared.schema
    }

    /// Rows of [`Store::snapshot`].
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.shared.rows()
    }
}

/// A store at one moment: the rows that were committed then. It never changes, and holds the files that it needs.
#[derive(Clone)]
pub struct Snapshot {
    seen: Seen,
    /// The store that it is of, kept so that no other can have its address.
    identity: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

impl Snapshot {
    /// How many rows it has; they are numbered from 0.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.seen.rows
    }

    /// The note of the newest of its commits that carried one.
    #[must_use]
    pub fn note(&self) -> Option<&[u8]> {
        self.seen.note.as_deref()
    }

    /// The same of fewer rows: what a snapshot is whose version is newer than its row count.
    #[cfg(test)]
    pub(crate) fn cut(mut self, rows: u64) -> Self {
        self.seen.rows = rows;
        self
    }

    /// Refuses a snapshot of another store: its rows would be nonsense there.
    pub(crate) fn check<D: Disk>(&self, shared: &Arc<Shared<D>>) -> Result<()> {
        if std::ptr::addr_eq(Arc::as_ptr(&self.identity), Arc::as_ptr(shared)) {
            return Ok(());
        }
        let what =
            "the snapshot is of another store, or of this one before it was opened again; take one from \
                    the Store that the reader is from"
                .into();
        Err(Error::Unsupported { what })
    }

    /// What damage in a segment's files means to who reads this snapshot: `SnapshotGone` where the files have been
    /// given to another segment meanwhile.
    pub(crate) async fn judge<D: Disk>(&self, shared: &Shared<D>, error: Error) -> Error {
        let Error::Corrupt { path, .. } = &error else { return error };
        let segments = (0..self.segments()).map(|index| self.segment(index));
        match segments.into_iter().find(|segment| path.starts_with(segment.path(&shared.dir))) {
            Some(segment) => newest::judge(shared, segment.number(), segment.slot(), error).await,
            None => error,
        }
    }

    /// How many segments there are, the active one included; the last ones may have none of the rows.
    pub(crate) fn segments(&self) -> usize {
        self.seen.version.sealed.len() + self.seen.version.finished.len() + 1
    }

    /// Segments by age.
    pub(crate) fn segment(&self, index: usize) -> Segment {
        let version = &self.seen.version;
        let seen = |first_row: u64, rows: u64| {
            let end = first_row.saturating_add(rows).min(self.seen.rows);
            first_row.min(end)..end
        };
        if let Some(sealed) = version.sealed.get(index) {
            let rows = seen(sealed.first_row, sealed.rows);
            return Segment::Sealed(SealedSegment { rows, sealed: Arc::clone(sealed) });
        }
        Segment::Raw(match version.finished.get(index - version.sealed.len()) {
            Some(finished) => RawSegment {
                rows: seen(finished.first_row, finished.rows),
                body: Body::Finished(Arc::clone(finished)),
            },
            None => RawSegment {
                rows: seen(version.active.first_row, u64::MAX),
                body: Body::Active(Arc::clone(&version.active)),
            },
        })
    }

    /// The first row that is in a raw segment; all before it are in sealed ones.
    pub(crate) fn first_raw_row(&self) -> u64 {
        self.seen
            .version
            .sealed
            .last()
            .map_or(0, |sealed| (sealed.first_row + sealed.rows).min(self.seen.rows))
    }

    /// Which segment holds a row below `rows`.
    pub(crate) fn segment_of(&self, row: u64) -> usize {
        let version = &self.seen.version;
        let sealed = version.sealed.partition_point(|sealed| sealed.first_row + sealed.rows <= row);
        sealed + version.finished.partition_point(|finished| finished.first_row + finished.rows <= row)
    }
}
