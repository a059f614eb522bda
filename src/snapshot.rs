//! What readers on any core share: the handle of a store, and snapshots of it.
//!
//! Both are plain data without file handles: clone them, send them anywhere.
//!
//! Not here: reading (`reader`), how the writer shows what is committed (`store::shared`).

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::disk::{Disk, Glommio};
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::schema::Schema;
use crate::segment::read::{Body, Segment};
use crate::store::shared::{Seen, Shared};

/// A store, for readers on any core of the writer's process.
///
/// It stays readable when its writer is closed, or has stopped after an error.
pub struct Store<D: Disk = Glommio> {
    shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for Store<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
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

impl<D: Disk> Store<D> {
    pub(crate) fn new(shared: Arc<Shared<D>>) -> Self {
        Self { shared }
    }

    /// What is committed now. Costs no I/O and waits for nobody.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let identity = Arc::clone(&self.shared);
        Snapshot { seen: self.shared.see(), identity }
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

    /// Rows that are committed now.
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

    /// How many segments there are, the active one included; the last ones may have none of the rows.
    pub(crate) fn segments(&self) -> usize {
        self.seen.version.finished.len() + 1
    }

    /// Segments by age.
    pub(crate) fn segment(&self, index: usize) -> Segment {
        let version = &self.seen.version;
        let (first_row, rows, body) = match version.finished.get(index) {
            Some(finished) => (finished.first_row, finished.rows, Body::Finished(Arc::clone(finished))),
            None => (version.active.first_row, u64::MAX, Body::Active(Arc::clone(&version.active))),
        };
        let end = first_row.saturating_add(rows).min(self.seen.rows);
        Segment { rows: first_row.min(end)..end, body }
    }

    /// Which segment holds a row below `rows`.
    pub(crate) fn segment_of(&self, row: u64) -> usize {
        self.seen.version.finished.partition_point(|finished| finished.first_row + finished.rows <= row)
    }
}
