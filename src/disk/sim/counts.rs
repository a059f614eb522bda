//! How often what was asked of the disk, in all and for each path.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::fault::Kind;

/// Operations asked for. Renames count for the path that they leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Locks asked for.
    pub locks: u64,
    /// Files opened, or tried.
    pub opens: u64,
    /// Directories listed.
    pub lists: u64,
    /// Directories made.
    pub create_dirs: u64,
    /// Renames.
    pub renames: u64,
    /// Names removed.
    pub removes: u64,
    /// Directories synced.
    pub dir_syncs: u64,
    /// Files synced: a `sync_files` of three counts three.
    pub syncs: u64,
    /// Writes through handles whose writes are durable.
    pub durable_writes: u64,
    /// Device flushes: one for each file synced and each durable write.
    pub flushes: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes that the reads asked for.
    pub read_bytes: u64,
    /// Reads in flight now.
    pub reads_in_flight: u64,
    /// The most reads in flight at a time.
    pub reads_in_flight_max: u64,
    /// Writes, durable ones too.
    pub writes: u64,
    /// Bytes in them.
    pub write_bytes: u64,
    /// Calls of `grow`.
    pub grows: u64,
    /// Calls of `len`.
    pub lens: u64,
    /// Files closed by `close`.
    pub closes: u64,
    /// Turns that were given to the disk and to other tasks, by `submit`; of no path.
    pub submits: u64,
}

impl Counts {
    fn count(&mut self, kind: Kind, bytes: u64) {
        match kind {
            Kind::Lock => self.locks += 1,
            Kind::Open => self.opens += 1,
            Kind::List => self.lists += 1,
            Kind::CreateDir => self.create_dirs += 1,
            Kind::Rename => self.renames += 1,
            Kind::Remove => self.removes += 1,
            Kind::SyncDir => self.dir_syncs += 1,
            Kind::SyncFiles => {
                self.syncs += 1;
                self.flushes += 1;
            }
            Kind::Read => {
                self.reads += 1;
                self.read_bytes += bytes;
                self.reads_in_flight += 1;
                self.reads_in_flight_max = self.reads_in_flight_max.max(self.reads_in_flight);
            }
            Kind::Write | Kind::WriteDurable => {
                self.writes += 1;
                self.write_bytes += bytes;
                if kind == Kind::WriteDurable {
                    self.durable_writes += 1;
                    self.flushes += 1;
                }
            }
            Kind::Grow => self.grows += 1,
            Kind::Len => self.lens += 1,
            Kind::Close => self.closes += 1,
        }
    }

    fn reset(&mut self) {
        *self = Counts {
            reads_in_flight: self.reads_in_flight,
            reads_in_flight_max: self.reads_in_flight,
            ..Counts::default()
        };
    }
}

/// The counts of a world. Paths are found by number, so that an operation on an open file looks up no name.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) total: Counts,
    numbers: BTreeMap<OsString, usize>,
    paths: Vec<(PathBuf, Counts)>,
}

impl Tally {
    /// The number of a path.
    pub(super) fn number(&mut self, path: &Path) -> usize {
        if let Some(number) = self.numbers.get(path.as_os_str()) {
            return *number;
        }
        self.paths.push((path.to_path_buf(), Counts::default()));
        self.numbers.insert(path.as_os_str().to_owned(), self.paths.len() - 1);
        self.paths.len() - 1
    }

    pub(super) fn path(&self, number: usize) -> &Path {
        self.paths.get(number).map_or(Path::new(""), |(path, _)| path)
    }

    pub(super) fn count(&mut self, path: usize, kind: Kind, bytes: u64) {
        self.total.count(kind, bytes);
        if let Some((_, counts)) = self.paths.get_mut(path) {
            counts.count(kind, bytes);
        }
    }

    /// A read is over.
    pub(super) fn end_read(&mut self, path: usize) {
        self.total.reads_in_flight = self.total.reads_in_flight.saturating_sub(1);
        if let Some((_, counts)) = self.paths.get_mut(path) {
            counts.reads_in_flight = counts.reads_in_flight.saturating_sub(1);
        }
    }

    pub(super) fn of(&self, path: &OsStr) -> Counts {
        self.numbers.get(path).map_or(Counts::default(), |number| self.paths[*number].1)
    }

    pub(super) fn all(&self) -> Vec<(PathBuf, Counts)> {
        let used = self.paths.iter().filter(|(_, counts)| *counts != Counts::default());
        let mut all: Vec<_> = used.cloned().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    pub(super) fn reset(&mut self) {
        self.total.reset();
        self.paths.iter_mut().for_each(|(_, counts)| counts.reset());
    }
}
