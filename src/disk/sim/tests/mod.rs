//! The simulated disk is as unkind as it says, and the same for the same seed. Here: what the tests share.

mod ends;
mod operations;

use std::future::Future;
use std::io;

use super::*;
use crate::disk::{File, PAGE};

const SEEDS: u64 = 400;

/// A world without short transfers and races, that has otherwise what its seed says.
fn plain(seed: u64, change: impl FnOnce(&mut Settings)) -> SimDisk {
    let mut settings = Settings { short: 0.0, racy: false, cow: false, ..Settings::from_seed(seed) };
    change(&mut settings);
    SimDisk::with_settings(seed, settings)
}

/// Runs a future that must come to its end without an error.
fn now<T>(disk: &SimDisk, future: impl Future<Output = io::Result<T>>) -> T {
    run(disk, future).unwrap().unwrap()
}

/// How a future ended that was to fail.
fn kind<T>(disk: &SimDisk, future: impl Future<Output = io::Result<T>>) -> io::ErrorKind {
    run(disk, future).unwrap().err().map(|error| error.kind()).unwrap()
}

fn page(file: &SimFile, fill: u8) -> SimBuffer {
    let mut buffer = file.buffer(PAGE);
    buffer.fill(fill);
    buffer
}

async fn open(disk: &SimDisk, lock: &SimLock, path: &str) -> io::Result<SimFile> {
    disk.open(path.as_ref(), Mode::Write(lock)).await
}

async fn read(disk: &SimDisk, path: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(path.as_ref(), Mode::Read).await?;
    let len = usize::try_from(file.len().await?).unwrap();
    Ok(file.read_at(0, len.next_multiple_of(PAGE).max(PAGE)).await?.to_vec())
}

/// Whether the seeds bring both: some where it is so, and some where it is not.
fn both(is_so: impl FnMut(u64) -> bool) {
    let so = (0..SEEDS).map(is_so).filter(|so| *so).count() as u64;
    assert!(so > 0, "never");
    assert!(so < SEEDS, "always");
}

fn is_all(bytes: &[u8], fill: u8) -> bool {
    bytes.iter().all(|byte| *byte == fill)
}

/// Makes /log (`pages` of 1), durable, with nothing open.
fn with_log(disk: &SimDisk, pages: usize) {
    disk.put_file("/log", &vec![1; pages * PAGE]).unwrap();
    disk.put_file("/raw", &vec![1; pages * PAGE]).unwrap();
}
