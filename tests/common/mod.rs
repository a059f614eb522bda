//! What the tests of the store's face share: rows as a plain model holds them, and reading them back.
//!
//! Not here: histories (each test has its own), the simulated disk (`tidelog::disk::sim`).

#![allow(dead_code, unused_imports, reason = "each test uses a part")]

mod cells;
pub(crate) mod history;
mod read;

pub(crate) use cells::{Cell, Row, append_batch, batch, draw, draw_rows, mixed};
pub(crate) use read::{Image, image, rows_at, rows_in, rows_of};

use std::future::Future;

use tidelog::Options;
use tidelog::disk::sim::{self, SimDisk};

/// Where simulated stores lie.
pub(crate) const DIR: &str = "/store";

/// The smallest log, files that grow page by page: few rows reach every corner.
pub(crate) fn tiny() -> Options {
    Options::default().log_bytes(64 << 10).inline_bytes(8 << 10).grow_bytes(4096, 16 << 10)
}

/// Runs a future that comes to its end.
pub(crate) fn run<F: Future>(disk: &SimDisk, future: F) -> F::Output {
    match sim::run(disk, future) {
        Ok(output) => output,
        Err(stopped) => panic!("{stopped}"),
    }
}

/// A real directory: in memory, where a sync costs nothing, unless `on_disk`.
pub(crate) fn directory(on_disk: bool) -> tempfile::TempDir {
    let in_memory = if on_disk { None } else { tempfile::tempdir_in("/dev/shm").ok() };
    in_memory.unwrap_or_else(|| tempfile::tempdir().unwrap())
}
