//! What the seam promises, on all three disks: the simulated one must be no kinder than Linux.
//!
//! `cases` run everywhere: through plain system calls and through glommio, both on a disk and in memory, and on
//! simulated disks of many characters. `real` is what only a kernel has: descriptors, other kinds of files, file
//! systems that lack something. `hazards` is glommio, walled off; `startup` the machine that cannot run it.

//!
//! Not here: stores (all the other tests); writers in other processes (`tests/dead_writers.rs`).
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod cases;
mod hazards;
#[path = "../common/hooked.rs"]
#[allow(dead_code, reason = "shared with other tests; rustc takes no `expect` for a type that only it needs")]
mod hooked;
mod mounted;
mod real;
#[path = "../common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;
mod startup;

use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use futures::executor::block_on;
use tempfile::TempDir;
use tidelog::disk::sim::{SimDisk, run};
use tidelog::disk::{Disk, Glommio, Posix};

use cases::Tested;
use skip::{Need, say_skipped, skips};

/// Characters of simulated disks that a case is run on.
const SEEDS: u64 = 64;

impl Tested for Posix {
    fn impatient(&self) -> Self {
        self.clone().with_patience(Duration::ZERO)
    }
}

impl Tested for Glommio {
    fn impatient(&self) -> Self {
        self.clone().with_patience(Duration::ZERO)
    }
}

impl Tested for SimDisk {
    /// It waits, in no time, for the dead only.
    fn impatient(&self) -> Self {
        self.clone()
    }
}

/// Below `target/`: on a disk, where that can be helped.
fn directory_on_disk() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn directory_in_memory() -> Option<TempDir> {
    let directory = tempfile::tempdir_in("/dev/shm");
    directory.map_err(|error| say_skipped("/dev/shm", &error.to_string())).ok()
}

/// A child holds copies of all descriptors, and so of all locks, from its fork to its exec: no case runs meanwhile.
static FORKS: RwLock<()> = RwLock::new(());

/// Runs what forks, while no case runs.
fn alone<T>(forks: impl FnOnce() -> T) -> T {
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    forks()
}

fn on_posix(directory: &TempDir, case: impl AsyncFn(&Posix, &Path)) {
    let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    block_on(case(&Posix::default(), directory.path()));
}

fn on_glommio(directory: &TempDir, case: impl AsyncFn(&Glommio, &Path)) {
    if !skips(&[Need::IoUring]) {
        let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
        Glommio::run(case(&Glommio::default(), directory.path())).unwrap();
    }
}

fn on_simulated_disks(case: impl AsyncFn(&SimDisk, &Path)) {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let directory = Path::new("/directory");
        let end = run(&disk, async {
            disk.create_dir(directory).await.unwrap();
            case(&disk, directory).await;
        });
        assert!(end.is_ok(), "seed {seed}: {end:?}");
    }
}

/// Each case, on each disk, as a test of its own.
macro_rules! on_every_disk {
    ($($case:ident,)*) => {
        mod posix {
            $(#[test] fn $case() {
                super::on_posix(&super::directory_on_disk(), super::cases::$case);
            })*
        }

        mod posix_in_memory {
            $(#[test] fn $case() {
                let Some(directory) = super::directory_in_memory() else { return };
                super::on_posix(&directory, super::cases::$case);
            })*
        }

        mod glommio {
            $(#[test] fn $case() {
                super::on_glommio(&super::directory_on_disk(), super::cases::$case);
            })*
        }

        mod glommio_in_memory {
            $(#[test] fn $case() {
                let Some(directory) = super::directory_in_memory() else { return };
                super::on_glommio(&directory, super::cases::$case);
            })*
        }

        mod simulated {
            $(#[test] fn $case() {
                super::on_simulated_disks(super::cases::$case);
            })*
        }
    };
}

on_every_disk! {
    each_mode_wants_what_it_says,
    a_directory_is_not_a_file,
    buffers_are_zeroed,
    what_was_written_reads_back,
    a_write_returns_its_buffer_as_it_was,
    reads_end_with_the_file,
    a_write_past_the_end_leaves_zeros_between,
    growing_gives_zeros_and_never_shrinks,
    requests_of_one_file_may_be_in_flight_together,
    readers_see_what_writers_write,
    a_rename_replaces_the_name_and_not_the_open_file,
    a_removed_file_lives_on_in_its_handles,
    directories_are_made_and_listed,
    files_and_directories_are_synced,
    a_lock_is_held_until_its_last_clone_goes,
    a_file_that_can_be_written_holds_the_lock,
    one_handle_at_a_time_writes_a_file,
    a_dropped_write_has_happened_or_not_sector_by_sector,
    a_dropped_open_leaves_nothing_behind,
    a_dropped_change_of_names_happens_before_the_lock_is_free_or_never,
    ids_differ_and_files_may_be_opened,
}
