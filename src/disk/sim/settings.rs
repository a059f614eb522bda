//! What kind of disk, file system and luck a world has.

use super::Random;

/// A world's character. [`Settings::from_seed`] draws one; any field may then be set by hand.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The device has FUA: a durable write makes only itself durable. Without it, and with `direct`, a
    /// durable write flushes the device's cache, and all completed writes with it.
    pub fua: bool,
    /// The file system has a journal: of the pending changes of names a prefix survives a power cut, else any
    /// subset of their edits (a rename is two).
    pub journal: bool,
    /// Direct I/O: what waits, waits in the device's cache, which a sync of any file flushes whole. Else the
    /// page cache: a sync covers its own file only.
    pub direct: bool,
    /// Copy on write: where a page lies is pending until its file is synced; after a power cut each page is
    /// wholly one of its versions, also where the bytes of the newer ones had long been flushed.
    pub cow: bool,
    /// Opening for writing takes the file's advisory lock, which waits for a dead writer's requests. `false`
    /// is a broken implementation of the seam.
    pub flocks: bool,
    /// A read that meets a write in flight sees some of its sectors; a read or a listing that takes long sees
    /// one part earlier than the other.
    pub racy: bool,
    /// A power cut turns some of the sectors that were pending into garbage.
    pub garbage: bool,
    /// Some of that garbage cannot even be read, until it is written. A store may answer it with an error, so
    /// that it is for tests that expect one.
    pub unreadable: bool,
    /// The device answers a flush and does nothing: no sync of a file or a directory makes anything durable.
    pub ignores_flush: bool,
    /// A failed sync forgets what it should have written: it reads back, a later sync succeeds, and it is
    /// gone after the next power cut. The store assumes that disks do not do this.
    pub lossy_sync_failure: bool,
    /// How probably one of a dead process's requests lands, at each event in the world.
    pub late_landing: f64,
    /// How probably one of the operations whose future was dropped lands, at each event.
    pub orphan_landing: f64,
    /// How probably a read or write of more than one page is cut short.
    pub short: f64,
    /// How probably a read fails.
    pub read_errors: f64,
    /// How probably a write or `grow` fails.
    pub write_errors: f64,
    /// How probably a `sync_files` or `sync_dir` fails.
    pub sync_errors: f64,
    /// How probably an operation on names fails (open, list, create_dir, rename, remove).
    pub name_errors: f64,
}

impl Settings {
    /// A character drawn from `seed`. None has errors; some have short reads and writes.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Settings {
            fua: random.coin(),
            journal: random.coin(),
            direct: random.coin(),
            cow: random.below(8) == 0,
            racy: random.coin(),
            garbage: true,
            flocks: true,
            unreadable: false,
            ignores_flush: false,
            lossy_sync_failure: false,
            late_landing: 0.03,
            orphan_landing: [0.02, 0.1, 0.3, 0.6][random.index(4)],
            short: if random.below(4) == 0 { 0.2 } else { 0.0 },
            read_errors: 0.0,
            write_errors: 0.0,
            sync_errors: 0.0,
            name_errors: 0.0,
        }
    }
}
