//! Every limit and default, with units (DESIGN: docs/durability.md and docs/format.md give the reasons).
//!
//! Not here: limits that follow from the machine (open files, alignment): `disk`.

use crate::error::{Error, Result};

/// Columns in a store.
pub(crate) const COLUMNS_MAX: usize = 4096;
/// Bytes in a column's name.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Bytes in all names and values of a schema's metadata, and 8 for each pair.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 10;
/// Bytes in one value.
pub(crate) const VALUE_BYTES_MAX: u64 = u32::MAX as u64;
/// Bytes in a commit's note.
pub(crate) const NOTE_BYTES_MAX: usize = 4096;
/// Bytes in each of the two log files: the least.
pub(crate) const LOG_BYTES_MIN: u64 = 64 << 10;
/// Bytes in each of the two log files: the most.
pub(crate) const LOG_BYTES_MAX: u64 = 4 << 30;

/// Bytes at which a raw segment must be finished, and of one commit: half the longest raw file.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 8 << 40;

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When its rows survive kill -9 and power loss.
    #[default]
    Synced,
    /// When its rows are visible to readers of this process, before they are durable: a crash, or a writer that is
    /// dropped and not closed, takes back the newest such commits, each wholly. They wait in memory for a record
    /// that holds them all: at [`Writer::sync`](crate::Writer::sync), checkpoint, close, and whenever one small
    /// record ([`Options::inline_bytes`]) cannot take one more commit; that commit is `Synced`. Readers in other
    /// processes see them only then.
    Buffered,
}

/// How a writer or a reader behaves. Nothing here is stored but `log_bytes`, at creation.
///
/// ```
/// let options = tidelog::Options::default().memory_bytes(1 << 30).segment_rows(1 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) log_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) segment_rows: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) compact_rows: u64,
    pub(crate) inline_bytes: u64,
    pub(crate) grow_bytes: u64,
    pub(crate) grow_bytes_max: u64,
    pub(crate) cache_bytes: u64,
    pub(crate) seal_bytes: u64,
    pub(crate) reads_in_flight: usize,
    pub(crate) durability: Durability,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_bytes: 16 << 20,
            memory_bytes: 256 << 20,
            segment_rows: 4 << 20,
            segment_bytes: 1 << 30,
            compact_rows: 64 << 20,
            inline_bytes: 256 << 10,
            grow_bytes: 64 << 10,
            grow_bytes_max: 64 << 20,
            cache_bytes: 32 << 20,
            seal_bytes: 128 << 20,
            reads_in_flight: 8,
            durability: Durability::Synced,
        }
    }
}

impl Options {
    /// Bytes in each of the two log files: 64 KiB to 4 GiB, whole pages; 16 MiB unless told. Fixed when the
    /// store is created; ignored when it is opened.
    #[must_use]
    pub fn log_bytes(mut self, bytes: u64) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// The most bytes that pending rows, and tails that are not in their files yet, may hold each: 256 MiB
    /// unless told. One value can be at most this large.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Rows at which a raw segment is finished and the next begun: 4 Mi unless told.
    #[must_use]
    pub fn segment_rows(mut self, rows: u64) -> Self {
        self.segment_rows = rows;
        self
    }

    /// Bytes, over all its files, at which a raw segment is finished: 1 GiB unless told.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Rows up to which compacting merges sealed segments: 64 Mi unless told; and [`Options::segment_bytes`] of their
    /// files.
    #[must_use]
    pub fn compact_rows(mut self, rows: u64) -> Self {
        self.compact_rows = rows;
        self
    }

    /// A commit of at most so many bytes rides in its log record, one flush; a larger one goes straight to its
    /// files. 256 KiB unless told, and never above half a log file.
    #[must_use]
    pub fn inline_bytes(mut self, bytes: u64) -> Self {
        self.inline_bytes = bytes;
        self
    }

    /// Raw files grow by doubling, from `first` bytes at a time to at most `most`: 64 KiB and 64 MiB unless
    /// told. Whole pages.
    #[must_use]
    pub fn grow_bytes(mut self, first: u64, most: u64) -> Self {
        self.grow_bytes = first;
        self.grow_bytes_max = most;
        self
    }

    /// Bytes that each reader may keep of what it has read: 32 MiB unless told. Of sealed segments a scan keeps the first
    /// half of that many at most: what a longer one reads behind that leaves the cache to others.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Bytes of rows that stay in memory until they are encoded, and of what they are encoded to until their segment is
    /// sealed ([`Store::maintain`](crate::Store::maintain)): 128 MiB unless told. Nothing stays while nobody seals; what
    /// has no room, all with 0, is read again from its files.
    #[must_use]
    pub fn seal_bytes(mut self, bytes: u64) -> Self {
        self.seal_bytes = bytes;
        self
    }

    /// Reads that each scan, and each other call of a reader, may have in flight: 8 unless told, at least 1. Each is
    /// at most 1 MiB.
    #[must_use]
    pub fn reads_in_flight(mut self, count: usize) -> Self {
        self.reads_in_flight = count.max(1);
        self
    }

    /// When a commit is acknowledged.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Refuses what no store could keep to.
    pub(crate) fn check(&self) -> Result<()> {
        let page = crate::disk::PAGE as u64;
        let whole = |what: &'static str, bytes: u64, max: u64| match bytes.is_multiple_of(page) {
            true => Ok(()),
            false => Err(Error::Limit {
                what: format!("{what}, which must be a multiple of {page},").into(),
                given: bytes,
                max,
            }),
        };
        if !(LOG_BYTES_MIN..=LOG_BYTES_MAX).contains(&self.log_bytes) {
            let what = format!("log_bytes, which must be whole pages and at least {LOG_BYTES_MIN},").into();
            return Err(Error::Limit { what, given: self.log_bytes, max: LOG_BYTES_MAX });
        }
        whole("log_bytes", self.log_bytes, LOG_BYTES_MAX)?;
        whole("grow_bytes", self.grow_bytes, self.grow_bytes_max)?;
        whole("grow_bytes (most)", self.grow_bytes_max, u64::MAX)?;
        if self.grow_bytes == 0 || self.grow_bytes > self.grow_bytes_max {
            let what = "grow_bytes, which must be above 0,".into();
            return Err(Error::Limit { what, given: self.grow_bytes, max: self.grow_bytes_max });
        }
        for (what, given) in [("segment_bytes", self.segment_bytes), ("memory_bytes", self.memory_bytes)] {
            if given > SEGMENT_BYTES_MAX {
                return Err(Error::Limit { what: what.into(), given, max: SEGMENT_BYTES_MAX });
            }
        }
        if self.segment_rows == 0 || self.segment_bytes == 0 {
            let what = "rows or bytes of a segment, which must be above 0,".into();
            return Err(Error::Limit { what, given: 0, max: u64::MAX });
        }
        Ok(())
    }
}
