//! What the disk itself can do, measured in the same run and on the same file system as the store.
//!
//! Plain threads and plain system calls (the POSIX disk makes exactly one for each call), direct I/O where the
//! file system takes it.
//!
//! Not here: the store (`figures`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use tidelog::disk::{Disk, File, Mode, PAGE, Posix, write_all};

use super::data::SplitMix64;

/// Bytes of one large transfer, and how many are in flight.
const TRANSFER: usize = 1 << 20;
const IN_FLIGHT: u64 = 8;
/// One sync for so many bytes.
const SYNC_EVERY: u64 = 64 << 20;

/// What a call of the POSIX disk returned: it has been made when its future is first polled. No executor is needed, and
/// there may be one around.
fn done<T, E: From<io::Error>>(call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    call.now_or_never().unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::WouldBlock).into()))
}

/// A file whose every byte has been written, in the measured directory.
pub(crate) struct Written {
    path: PathBuf,
    lock: <Posix as Disk>::Lock,
    disk: Posix,
    pub(crate) bytes: u64,
}

impl Written {
    /// Makes it.
    pub(crate) fn new(dir: &Path, bytes: u64) -> Result<Self> {
        let disk = Posix::default();
        let path = dir.join("floor");
        let lock = done(disk.lock(&dir.join("floor.lock")))?;
        done(async {
            let file = disk.open(&path, Mode::Create(&lock)).await?;
            for offset in (0..bytes).step_by(TRANSFER) {
                write_all(&file, offset, file.buffer(TRANSFER)).await?;
            }
            disk.sync_files(&[&file]).await?;
            file.close().await
        })
        .context("could not write the file that the floors are measured on")?;
        Ok(Self { path, lock, disk, bytes })
    }

    /// Durable writes of `len` bytes, one after another: the time of each.
    pub(crate) fn dsync(&self, len: usize, count: u64) -> Result<Vec<Duration>> {
        done(dsync(&self.disk, &self.path, &self.lock, len, count))
    }

    /// Bytes a second: 1 MiB writes, 8 in flight, one sync for 64 MiB.
    pub(crate) fn write_rate(&self, bytes: u64) -> Result<f64> {
        let file = done(self.disk.open(&self.path, Mode::Write(&self.lock)))?;
        let start = Instant::now();
        for from in (0..bytes).step_by(usize::try_from(SYNC_EVERY)?) {
            let part = SYNC_EVERY.min(bytes - from);
            std::thread::scope(|scope| {
                let workers = (0..IN_FLIGHT).map(|worker| {
                    let file = &file;
                    scope.spawn(move || write_stripe(file, (from % self.bytes, part), worker))
                });
                let workers: Vec<_> = workers.collect();
                workers.into_iter().try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(_) => Err(io::Error::other("a thread of the write floor panicked")),
                })
            })?;
            done(self.disk.sync_files(&[&file]))?;
        }
        let rate = rate(bytes, start.elapsed());
        done(file.close())?;
        Ok(rate)
    }

    /// Bytes a second: 1 MiB reads at random aligned places, 8 in flight.
    pub(crate) fn read_rate(&self, bytes: u64) -> Result<f64> {
        let start = Instant::now();
        let each = bytes / IN_FLIGHT / TRANSFER as u64;
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..IN_FLIGHT)
                .map(|worker| scope.spawn(move || done(self.random_reads(TRANSFER, each, worker))))
                .collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result.map(drop),
                Err(_) => Err(io::Error::other("a thread of the read floor panicked")),
            })
        })?;
        Ok(rate(each * IN_FLIGHT * TRANSFER as u64, start.elapsed()))
    }

    /// Reads of one page, one after another: the time of each.
    pub(crate) fn read_4k(&self, count: u64) -> Result<Vec<Duration>> {
        self.read_one(PAGE, count)
    }

    /// Reads of so many bytes, one after another: the time of each.
    pub(crate) fn read_one(&self, len: usize, count: u64) -> Result<Vec<Duration>> {
        Ok(done(self.random_reads(len, count, IN_FLIGHT))?)
    }

    async fn random_reads(&self, len: usize, count: u64, seed: u64) -> std::io::Result<Vec<Duration>> {
        let file = self.disk.open(&self.path, Mode::Read).await?;
        let mut random = SplitMix64(seed);
        let mut times = Vec::new();
        for _ in 0..count {
            let place = random.next() % (self.bytes / len as u64) * len as u64;
            let start = Instant::now();
            let read = file.read_at(place, len).await?;
            times.push(start.elapsed());
            if read.len() != len {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        file.close().await?;
        Ok(times)
    }
}

/// A worker's share of a run of writes: every eighth megabyte.
fn write_stripe<F: File>(file: &F, (from, bytes): (u64, u64), worker: u64) -> std::io::Result<()> {
    let mut buffer = file.buffer(TRANSFER);
    for offset in (worker * TRANSFER as u64..bytes).step_by(TRANSFER * 8) {
        buffer = done(write_all(file, from + offset, buffer))?;
    }
    Ok(())
}

/// Durable writes of `len` bytes over written pages, through any disk: the time of each.
pub(crate) async fn dsync<D: Disk>(
    disk: &D,
    path: &Path,
    lock: &D::Lock,
    len: usize,
    count: u64,
) -> Result<Vec<Duration>> {
    let file = disk.open(path, Mode::WriteDurable(lock)).await?;
    let places = file.len().await? / len as u64;
    ensure!(places > 0, "the file of the floors is shorter than one write");
    let mut buffer = file.buffer(len);
    let mut times = Vec::new();
    for number in 0..count {
        buffer.fill(u8::try_from(number % 251)?);
        let start = Instant::now();
        let (written, back) = file.write_at(number % places * len as u64, buffer).await?;
        times.push(start.elapsed());
        ensure!(written == len, "a durable write was short");
        buffer = back;
    }
    file.close().await?;
    Ok(times)
}

impl Written {
    /// As [`Written::dsync`], through another disk.
    pub(crate) async fn dsync_on<D: Disk>(&self, disk: &D, len: usize, count: u64) -> Result<Vec<Duration>> {
        let lock = disk.lock(&self.path.with_extension("engine.lock")).await?;
        dsync(disk, &self.path, &lock, len, count).await
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is a rate")]
fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64()
}
