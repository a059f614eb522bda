//! What the writer shows to readers of its process, on any core.
//!
//! One word, the committed row count, says what is visible; it is stored last. The version (segments) is swapped
//! only at a roll. A reader takes the row count first and the version then, so that the version holds at least
//! those rows.
//!
//! Not here: reading (`reader`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::seal::staging::Staging;
use super::sealing::Sealing;
use crate::disk::Disk;
use crate::format::StoreId;
use crate::format::manifest::{Finished, Sealed};
use crate::options::Options;
use crate::schema::Schema;
use crate::segment::active::Active;

/// A store as its process's readers see it.
#[derive(Debug)]
pub(crate) struct Shared<D: Disk> {
    pub(crate) disk: D,
    pub(crate) dir: PathBuf,
    pub(crate) id: StoreId,
    pub(crate) schema: Arc<Schema>,
    pub(crate) options: Options,
    pub(crate) sealing: Sealing<D::Lock>,
    pub(crate) staging: Staging,
    committed: AtomicU64,
    version: ArcSwap<Version>,
    note: ArcSwap<Notes>,
}

/// Which segments there are. A snapshot that holds one pins their files.
#[derive(Debug)]
pub(crate) struct Version {
    /// Oldest first; all before the finished ones.
    pub(crate) sealed: Vec<Arc<Sealed>>,
    /// Oldest first.
    pub(crate) finished: Vec<Arc<Finished>>,
    pub(crate) active: Arc<Active>,
}

impl Version {
    /// The segments by what they are once one that was made is published: it has the rows of one that was finished, or
    /// of sealed ones.
    pub(crate) fn with(&self, made: Option<&Arc<Sealed>>) -> (Vec<Arc<Sealed>>, Vec<Arc<Finished>>) {
        let (mut sealed, mut finished) = (self.sealed.clone(), self.finished.clone());
        if let Some(made) = made {
            let rows = made.first_row..made.first_row + made.rows;
            finished.retain(|segment| !rows.contains(&segment.first_row));
            sealed.retain(|segment| !rows.contains(&segment.first_row));
            let place = sealed.partition_point(|segment| segment.first_row < rows.start);
            sealed.insert(place, Arc::clone(made));
        }
        (sealed, finished)
    }
}

/// The newest note, and the one before it: a snapshot whose row count is older than the newest takes that.
#[derive(Clone, Debug)]
struct Notes {
    newest: Noted,
    before: Noted,
}

#[derive(Clone, Debug)]
struct Noted {
    /// Committed rows with the commit that carried it.
    rows: u64,
    note: Option<Arc<[u8]>>,
}

/// Everything that a snapshot is.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) rows: u64,
    pub(crate) version: Arc<Version>,
    pub(crate) note: Option<Arc<[u8]>>,
}

impl<D: Disk> Shared<D> {
    pub(crate) fn new(
        disk: D,
        dir: PathBuf,
        id: StoreId,
        schema: Arc<Schema>,
        options: Options,
        sealing: Sealing<D::Lock>,
        seen: Seen,
    ) -> Self {
        let noted = Noted { rows: seen.rows, note: seen.note };
        let staging = Staging::new(&schema, options.seal_bytes);
        Self {
            disk,
            dir,
            id,
            schema,
            options,
            sealing,
            staging,
            committed: AtomicU64::new(seen.rows),
            version: ArcSwap::new(seen.version),
            note: ArcSwap::from_pointee(Notes { newest: noted.clone(), before: noted }),
        }
    }

    /// What is committed now. Never waits.
    pub(crate) fn see(&self) -> Seen {
        loop {
            let rows = self.committed.load(Ordering::Acquire);
            let version = self.version.load_full();
            let notes = self.note.load();
            let noted = [&notes.newest, &notes.before].into_iter().find(|noted| noted.rows <= rows);
            // Neither fits only if two commits with notes came meanwhile: those rows are visible by now.
            if let Some(noted) = noted {
                return Seen { rows, version, note: noted.note.clone() };
            }
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// Shows the rows of a commit that is durable, whose bytes are in place.
    pub(crate) fn publish_rows(&self, rows: u64, note: Option<&[u8]>) {
        if let Some(note) = note {
            let before = self.note.load().newest.clone();
            let newest = Noted { rows, note: Some(note.into()) };
            self.note.store(Arc::new(Notes { newest, before }));
        }
        self.committed.store(rows, Ordering::Release);
    }

    pub(crate) fn publish_version(&self, version: Version) {
        self.version.store(Arc::new(version));
    }

    pub(crate) fn version(&self) -> Arc<Version> {
        self.version.load_full()
    }

    pub(crate) fn newest_note(&self) -> Option<Arc<[u8]>> {
        self.note.load().newest.note.clone()
    }
}
