//! What a test orders: crashes, mishaps, ends of processes, copies of the world; and what it counts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::counts::Counts;
use super::fault::{Fault, Kind, Moment};
use super::{Settings, SimDisk};

impl SimDisk {
    /// Changes the world's settings.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.world().settings);
    }

    /// The world's settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.world().settings.clone()
    }

    /// How many operations this process has begun. The next one has this number.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().processes[self.process].operations
    }

    /// Stops this process at a moment of operation `number`: nothing of it goes on, and it waits for
    /// [`SimDisk::kill`] or [`SimDisk::power_cut`]. The latest order counts.
    pub fn crash_at(&self, number: u64, moment: Moment) {
        self.world().processes[self.process].orders.crash = Some((number, moment));
    }

    /// Stops this process now.
    pub fn stop(&self) {
        self.world().processes[self.process].stopped = true;
    }

    /// Whether this process has been stopped or has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        !self.world().runs(self.process)
    }

    /// Lets operation `number` of this process go wrong.
    pub fn fail_at(&self, number: u64, fault: Fault) {
        self.world().processes[self.process].orders.at.insert(number, fault);
    }

    /// Lets every operation of this process from `number` on go wrong that would change anything.
    pub fn fail_from(&self, number: u64, fault: Fault) {
        self.world().processes[self.process].orders.from = Some((number, fault));
    }

    /// Lets the next operation of this kind go wrong whose path ends with `name`. A `sync_files` goes by its
    /// first file. Several orders may wait.
    pub fn fail_next(&self, kind: Kind, name: impl Into<OsString>, fault: Fault) {
        self.world().processes[self.process].orders.next.push((kind, name.into(), fault));
    }

    /// Withdraws all orders.
    pub fn fail_nothing(&self) {
        self.world().processes[self.process].orders = super::fault::Orders::default();
    }

    /// Limits the bytes that all files together may have; `None` is no limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.world().space = bytes;
    }

    /// The bytes that all files together have.
    #[must_use]
    pub fn used_space(&self) -> u64 {
        self.world().names.used()
    }

    /// How many files a process may have open.
    pub fn set_open_files_max(&self, count: u64) {
        self.world().open_files_max = count;
    }

    /// Starts another process in this world.
    #[must_use]
    pub fn another_process(&self) -> SimDisk {
        SimDisk { world: self.world.clone(), process: self.world().start() }
    }

    /// Ends this process: its locks are free; what it had in flight lands, is lost, or lands later, at the
    /// latest when somebody opens the file for writing. Returns a handle of a new process.
    #[must_use = "the process has ended; what follows it needs a handle of its own"]
    pub fn kill(&self) -> SimDisk {
        let mut world = self.world();
        world.kill(self.process);
        SimDisk { world: self.world.clone(), process: world.start() }
    }

    /// Cuts the power: every process ends, and all that was pending is decided. Returns a handle of the first
    /// process afterwards.
    #[must_use = "the process has ended; what follows it needs a handle of its own"]
    pub fn power_cut(&self) -> SimDisk {
        let mut world = self.world();
        world.power_cut();
        SimDisk { world: self.world.clone(), process: world.start() }
    }

    /// An independent copy of the world as it is at this moment, with what is in flight, to be killed or cut:
    /// no handle of the original reaches it.
    #[must_use]
    pub fn fork(&self, seed: u64) -> SimDisk {
        let world = self.world().fork(seed);
        SimDisk { world: Arc::new(Mutex::new(world)), process: self.process }
    }

    /// Lets everything land whose future was dropped or whose process has ended.
    pub fn settle(&self) {
        let mut world = self.world();
        world.land_abandoned(|_| true);
        while !world.late.is_empty() {
            world.land_late(0);
        }
    }

    /// A number that differs as soon as two histories do.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world().trace_hash()
    }

    /// What was asked of the whole world since the last reset.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.world().tally.total
    }

    /// What was asked of one path.
    #[must_use]
    pub fn counts_of(&self, path: impl AsRef<Path>) -> Counts {
        self.world().tally.of(path.as_ref().as_os_str())
    }

    /// What was asked of each path, by path.
    #[must_use]
    pub fn counts_by_path(&self) -> Vec<(PathBuf, Counts)> {
        self.world().tally.all()
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.world().tally.reset();
    }
}
