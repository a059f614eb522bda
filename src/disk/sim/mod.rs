//! A disk in memory, as unkind as a real one may be, and the same for the same seed.
//!
//! A [`SimDisk`] is a handle on a world: files made of sectors, names, processes, locks, and everything that
//! a program may not rely on. What was written and not synced is lost, kept, torn or turned into garbage by a
//! [power cut](SimDisk::power_cut), sector by sector; names come and go with their directories' syncs; fresh
//! space reads as zeros until its file is synced; an O_DSYNC write makes nothing but itself durable; what a
//! [killed](SimDisk::kill) process had in flight lands later; a dropped future's operation lands at any
//! moment; concurrent operations complete in any order. [`Settings`] says which of these a world has.
//!
//! ```
//! use tidelog::disk::{Disk, File, Mode, PAGE, sim};
//!
//! let mut disk = sim::SimDisk::new(7);
//! disk.crash_at(6, sim::Moment::InFlight);
//! let end = sim::run(&disk, async {
//!     disk.create_dir("/store".as_ref()).await?;
//!     let lock = disk.lock("/store/LOCK".as_ref()).await?;
//!     let file = disk.open("/store/log".as_ref(), Mode::CreateNew(&lock)).await?;
//!     loop {
//!         file.write_at(0, file.buffer(PAGE)).await?;
//!     }
//!     # #[allow(unreachable_code)]
//!     Ok::<(), std::io::Error>(())
//! });
//! assert!(matches!(end, Err(sim::Stopped::Crashed)));
//! disk = disk.power_cut();
//! println!("left: {:?}", disk.files());
//! ```
//!
//! Invariant: the same seed, settings and order of polls give the same world, to the byte.
//! Not here: what a real disk does differently, which is nothing that the seam promises.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod contents;
mod control;
mod counts;
mod crash;
mod effect;
mod executor;
mod fault;
mod file;
mod host;
mod names;
mod operation;
mod random;
mod settings;
mod slab;
#[cfg(test)]
mod tests;
mod tools;
mod world;

pub use counts::Counts;
pub use executor::{Executor, Stopped, Task, poll_times, run};
pub use fault::{Fault, Kind, Moment};
pub use file::{SimBuffer, SimBytes, SimFile, SimLock};
pub use random::Random;
pub use settings::Settings;

use super::{Disk, Mode};
use operation::{How, Operation, Outcome, Request};
use world::World;

/// A handle on a simulated world, as one of its processes.
///
/// Clones are the same process. [`SimDisk::another_process`] starts one; the end of a process gives a handle
/// of the one that follows it, and nothing that belonged to the ended one ever does anything again.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
    process: usize,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimDisk").field("process", &self.process).finish_non_exhaustive()
    }
}

impl SimDisk {
    /// An empty world whose settings and luck are drawn from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, Settings::from_seed(seed))
    }

    /// An empty world with these settings, its luck drawn from `seed`.
    #[must_use]
    pub fn with_settings(seed: u64, settings: Settings) -> Self {
        SimDisk { world: Arc::new(Mutex::new(World::new(seed, settings))), process: 0 }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A panic of a test does not make the world unusable for what is dropped on the way out.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, request: Request) -> io::Result<Outcome> {
        Operation::new(self, request).await
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    async fn submit(&self) {
        self.world().tally.total.submits += 1;
    }

    async fn lock(&self, path: &Path) -> io::Result<SimLock> {
        let handle = self.ask(Request::Lock { path: path.to_path_buf() }).await?.handle();
        Ok(SimLock::new(self.clone(), handle))
    }

    async fn open(&self, path: &Path, mode: Mode<'_, SimLock>) -> io::Result<SimFile> {
        let (how, lock) = match mode {
            Mode::Read => (How::Read, None),
            Mode::Write(lock) => (How::Write, Some(lock)),
            Mode::WriteDurable(lock) => (How::WriteDurable, Some(lock)),
            Mode::Create(lock) => (How::Create, Some(lock)),
            Mode::CreateNew(lock) => (How::CreateNew, Some(lock)),
        };
        let lock = lock.map(SimLock::handle);
        let handle = self.ask(Request::Open { path: path.to_path_buf(), how, lock }).await?.handle();
        Ok(SimFile::new(self.clone(), handle, how == How::WriteDurable))
    }

    async fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let path = directory.to_path_buf();
        match self.ask(Request::List { path, salt: 0, early: Vec::new() }).await? {
            Outcome::Names(names) => Ok(names),
            _ => unreachable!("a listing is answered with names"),
        }
    }

    async fn create_dir(&self, directory: &Path) -> io::Result<()> {
        self.ask(Request::CreateDir { path: directory.to_path_buf() }).await.map(drop)
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.ask(Request::Rename { from: from.to_path_buf(), to: to.to_path_buf() }).await.map(drop)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.ask(Request::Remove { path: path.to_path_buf() }).await.map(drop)
    }

    async fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.ask(Request::SyncDir { path: directory.to_path_buf() }).await.map(drop)
    }

    async fn sync_files(&self, files: &[&SimFile]) -> io::Result<()> {
        let files = files.iter().map(|file| file.handle()).collect();
        self.ask(Request::SyncFiles { files, done: false }).await.map(drop)
    }

    fn unique_id(&self) -> io::Result<[u8; 16]> {
        let mut id = [0; 16];
        self.world().random.fill(&mut id);
        Ok(id)
    }

    fn open_files_max(&self) -> io::Result<u64> {
        Ok(self.world().open_files_max)
    }
}
