//! What reaches a real device: flushes, counted where the block layer counts them; open flags; a full disk.
//!
//! A small commit is one flush. A large one is a flush for each raw file and one for its record, and in space that was
//! never written one more, for the journal. Measured on a loop device with a journalled file system of its own (root;
//! XFS and btrfs where their mkfs is here; else skipped, and counted as such).
//!
//! Not here: what survives when flushes are missing (`tests/crash.rs`), times (`bench`).
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use nix::fcntl::OFlag;
use tidelog::disk::sim::{Settings, SimDisk, run};
use tidelog::disk::{Disk, Glommio, PAGE, Posix};
use tidelog::{Column, Error, Kind, Options, Schema, Values, Writer};

#[path = "common/hooked.rs"]
mod hooked;
#[path = "common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;
#[path = "common/volume.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod volume;

use hooked::{Access, Hooked, descriptors};
use skip::{Need, has_program, say_skipped, skips};
use volume::{Format, Volume, alone};

/// Raw files of the stores here: keys and three columns.
const FILES: u64 = 4;
/// A commit that goes straight to the raw files: a page for each 512 rows of a file.
const LARGE: u64 = 64 << 10;

fn schema() -> Schema {
    Schema::new(["a", "b", "c"].map(|name| Column::new(name, Kind::U64))).unwrap()
}

fn append<D: Disk>(writer: &mut Writer<D>, count: u64) -> tidelog::Result<()> {
    let next = writer.pending().next_row();
    let rows: Vec<u64> = (next..next + count).collect();
    writer.pending().append_batch(&rows, &[Values::U64(&rows); 3]).map(drop)
}

async fn commit<D: Disk>(writer: &mut Writer<D>, count: u64) -> tidelog::Result<()> {
    append(writer, count)?;
    writer.commit().await.map(drop)
}

/// Whether these rows are there, and no others.
async fn check<D: Disk>(writer: &Writer<D>, expected: u64) {
    let (reader, at) = (writer.store().reader(), writer.store().snapshot());
    let mut scan = reader.scan(&at, ..);
    let mut rows = 0;
    while let Some(batch) = scan.next().await.unwrap() {
        for vector in batch.columns().iter().map(|(_, vector)| vector.as_u64().unwrap()) {
            assert!(vector.iter().copied().eq(rows..rows + batch.len() as u64));
        }
        rows += batch.len() as u64;
    }
    assert_eq!(rows, expected);
}

/// Flushes while something is done, nothing else waiting to be written.
async fn flushes(volume: &Volume, what: impl AsyncFnOnce()) -> u64 {
    volume.settle().unwrap();
    let before = volume.counts().unwrap().flushes;
    what().await;
    volume.counts().unwrap().flushes - before
}

/// What commits cost, in flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Costs {
    /// A hundred small commits.
    small: u64,
    /// A checkpoint with nothing to bring into the raw files: write, sync, rename, sync of the directory.
    publish: u64,
    /// Ten large commits into space that was obtained and never written.
    large_fresh: u64,
    /// Ten large commits into space that was written before.
    large_written: u64,
}

async fn measure<D: Disk>(disk: D, volume: &Volume, name: &str) -> Costs {
    let (dir, options) = (volume.path().join(name), Options::default().grow_bytes(16 << 20, 16 << 20));
    let mut writer = Writer::create_on(disk.clone(), &dir, schema(), options.clone()).await.unwrap();
    let small = flushes(volume, async || {
        for _ in 0..100 {
            commit(&mut writer, 1).await.unwrap();
        }
    });
    let small = small.await;
    // Growing is another matter, and rare.
    commit(&mut writer, LARGE).await.unwrap();
    let ten = async |writer: &mut Writer<D>| {
        for _ in 0..10 {
            commit(writer, LARGE).await.unwrap();
        }
    };
    let large_fresh = flushes(volume, async || ten(&mut writer).await).await;
    writer.checkpoint().await.unwrap();
    let publish = flushes(volume, async || writer.checkpoint().await.unwrap()).await;
    let rows = writer.store().rows();
    writer.close().await.unwrap();
    prewrite(&dir, rows * 8 / PAGE as u64 * PAGE as u64).unwrap();
    let mut writer = Writer::open_on(disk, &dir, options).await.unwrap();
    let large_written = flushes(volume, async || ten(&mut writer).await).await;
    check(&writer, rows + 10 * LARGE).await;
    writer.close().await.unwrap();
    Costs { small, publish, large_fresh, large_written }
}

/// Writes what nobody reads: the raw files' pages from D on.
fn prewrite(dir: &Path, from: u64) -> io::Result<()> {
    for file in fs::read_dir(dir.join("raw-0"))? {
        let file = fs::OpenOptions::new().write(true).open(file?.path())?;
        let zeros = vec![0; usize::try_from(file.metadata()?.len() - from).unwrap()];
        file.write_all_at(&zeros, from)?;
        file.sync_all()?;
    }
    Ok(())
}

/// A volume of this format, if it can be made here.
fn volume(format: Format) -> Option<Volume> {
    if skips(&[Need::Root]) {
        return None;
    }
    if !has_program(format.program()) {
        say_skipped(format.program(), "it is not installed");
        return None;
    }
    Some(Volume::make(format, 512 << 20).unwrap())
}

/// On both real disks, with names for the stores.
fn costs(volume: &Volume) -> Vec<(&'static str, Costs)> {
    let mut all = vec![("posix", block_on(measure(Posix::default(), volume, "posix")))];
    if !skips(&[Need::IoUring]) {
        all.push(("glommio", Glommio::run(measure(Glommio::default(), volume, "glommio")).unwrap()));
    }
    all
}

/// A journal costs nothing where nothing but pages changes.
fn check_costs(format: Format) {
    let _alone = alone();
    let Some(volume) = volume(format) else { return };
    for (name, costs) in costs(&volume) {
        println!("{format:?}, {name}: {costs:?}");
        assert_eq!((costs.small, costs.publish), (100, 4), "{name}");
        let large = (costs.large_written, costs.large_fresh);
        if name == "posix" {
            // One after the other: one for each file's sync and one for the record. Fresh space changes metadata: one
            // more for the journal as a rule, one for each file where its commits do not meet.
            assert_eq!(large.0, 10 * (FILES + 1));
            assert!((10 * (FILES + 2)..=10 * (2 * FILES + 1)).contains(&large.1), "{large:?}");
        } else {
            // Syncs that are made together share some flushes, and each may have to wait for the journal itself.
            assert!((20..=10 * (FILES + 1)).contains(&large.0), "{large:?}");
            assert!((20..=10 * (2 * FILES + 1)).contains(&large.1), "{large:?}");
        }
    }
}

#[test]
fn on_ext4_a_small_commit_is_one_flush_and_a_large_one_a_flush_a_file_and_one() {
    check_costs(Format::Ext4);
}

#[test]
fn on_xfs_a_small_commit_is_one_flush_and_a_large_one_a_flush_a_file_and_one() {
    check_costs(Format::Xfs);
}

/// Copy on write: every commit changes where a page lies, which costs what the file system takes for that.
#[test]
fn on_btrfs_every_commit_is_flushed() {
    let _alone = alone();
    let Some(volume) = volume(Format::Btrfs) else { return };
    for (name, costs) in costs(&volume) {
        println!("Btrfs, {name}: {costs:?}");
        assert!(costs.small >= 100, "{name}: {costs:?}");
    }
}

/// Fills what is left of a file system.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    let mut piece = 1 << 20;
    while piece >= 512 {
        match file.write_all(&vec![7; piece]).and_then(|()| file.sync_all()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => piece /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn fills_up<D: Disk>(disk: D, volume: &Volume, name: &str) {
    let (dir, filler, ballast) =
        (volume.path().join(name), volume.path().join("filler"), volume.path().join("ballast"));
    fs::write(&ballast, vec![7; 24 << 20]).unwrap();
    let options = Options::default().log_bytes(1 << 20);
    let mut writer = Writer::create_on(disk.clone(), &dir, schema(), options.clone()).await.unwrap();
    let (mut rows, mut refused) = (0, None);
    while refused.is_none() {
        match commit(&mut writer, LARGE).await {
            Ok(()) => rows += LARGE,
            Err(error) => refused = Some(error),
        }
    }
    let is_full = |error: &Error| matches!(error, Error::Full { path, .. } if path.starts_with(&dir));
    assert!(refused.as_ref().is_some_and(is_full), "{refused:?}");
    fill(&filler).unwrap();
    assert!(writer.commit().await.is_err_and(|error| is_full(&error)), "there is still no space");
    assert_eq!((writer.pending().rows(), writer.store().rows()), (LARGE, rows), "nothing has changed");
    check(&writer, rows).await;

    // A clean end may need space for the tails; the store opens all the same.
    let closed = writer.close().await;
    assert!(closed.as_ref().err().is_none_or(is_full), "{closed:?}");
    let mut writer = Writer::open_on(disk.clone(), &dir, options.clone()).await.unwrap();
    check(&writer, rows).await;
    commit(&mut writer, 1).await.unwrap();
    rows += 1;
    append(&mut writer, LARGE).unwrap();
    assert!(writer.commit().await.is_err_and(|error| is_full(&error)));

    fs::remove_file(&filler).unwrap();
    fs::remove_file(&ballast).unwrap();
    writer.commit().await.unwrap();
    rows += LARGE;
    check(&writer, rows).await;
    writer.close().await.unwrap();
    let writer = Writer::open_on(disk, &dir, options).await.unwrap();
    check(&writer, rows).await;
    writer.close().await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_full_disk_is_full_still_opens_and_reads_and_takes_rows_when_there_is_space() {
    let _alone = alone();
    if skips(&[Need::Root]) {
        return;
    }
    let volume = Volume::make(Format::Ext4, 64 << 20).unwrap();
    block_on(fills_up(Posix::default(), &volume, "posix"));
    if !skips(&[Need::IoUring]) {
        Glommio::run(fills_up(Glommio::default(), &volume, "glommio")).unwrap();
    }
}

/// A file's name, how it was opened, and the flags of each descriptor that the process has on it then.
type Opened = (String, Access, Vec<OFlag>);

/// Everything that a store opens.
async fn opened<D: Disk>(disk: D, dir: &Path) -> Vec<Opened> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&all);
    let opened = move |path: &Path, access| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let flags = descriptors(path)?.iter().map(|found| OFlag::from_bits_retain(found.flags)).collect();
        seen.lock().unwrap().push((name, access, flags));
        Ok(())
    };
    let (disk, options) = (Hooked { disk, opened }, Options::default().segment_rows(100_000));
    let mut writer = Writer::create_on(disk.clone(), dir, schema(), options.clone()).await.unwrap();
    for count in [1, LARGE, 1, LARGE, 1] {
        commit(&mut writer, count).await.unwrap();
    }
    check(&writer, 2 * LARGE + 3).await;
    writer.close().await.unwrap();
    let writer = Writer::open_on(disk, dir, options).await.unwrap();
    check(&writer, 2 * LARGE + 3).await;
    writer.close().await.unwrap();
    std::mem::take(&mut *all.lock().unwrap())
}

fn check_flags(opened: Vec<Opened>) {
    let names = |of: Access| {
        let mut names: Vec<&str> =
            opened.iter().filter(|(_, access, _)| *access == of).map(|(name, ..)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    assert_eq!(names(Access::WriteDurable), ["log-a", "log-b"], "durable writes are for the log");
    let raw = ["0.data", "1.data", "2.data", "keys", "sums"];
    assert!(raw.iter().all(|name| names(Access::Write).contains(name) && names(Access::Read).contains(name)));
    assert!(names(Access::Write).iter().any(|name| name.starts_with("manifest-") && name.contains(".tmp-")));
    assert!(names(Access::Read).iter().any(|name| name.starts_with("manifest-")));
    for (name, access, flags) in &opened {
        let durable = flags.iter().filter(|flags| flags.contains(OFlag::O_DSYNC)).count();
        assert_eq!(durable, usize::from(*access == Access::WriteDurable), "{name}, {access:?}: {flags:?}");
        assert!(
            !flags.is_empty() && flags.iter().all(|flags| flags.contains(OFlag::O_DIRECT)),
            "{name}: {flags:?}"
        );
    }
}

#[test]
fn every_file_is_opened_for_direct_io_and_the_log_alone_for_durable_writes() {
    let _alone = alone();
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let direct = fs::OpenOptions::new().create(true).write(true).custom_flags(OFlag::O_DIRECT.bits()).clone();
    if let Err(error) = direct.open(dir.path().join("direct")) {
        return say_skipped("direct I/O in target/tmp", &error.to_string());
    }
    check_flags(block_on(opened(Posix::default(), &dir.path().join("posix"))));
    if !skips(&[Need::IoUring]) {
        check_flags(Glommio::run(opened(Glommio::default(), &dir.path().join("glommio"))).unwrap());
    }
}

/// What open reads, by path; of a store that was closed, or whose writer was killed.
fn reads_at_open(rows: u64, is_closed: bool) -> Vec<(PathBuf, u64, u64)> {
    let settings = Settings { short: 0.0, ..Settings::from_seed(3) };
    let mut disk = SimDisk::with_settings(3, settings);
    let mut writer =
        run(&disk, Writer::create_on(disk.clone(), "/s", schema(), Options::default())).unwrap().unwrap();
    let written = run(&disk, async {
        for _ in 0..rows / 10_000 {
            commit(&mut writer, 10_000).await?;
        }
        writer.checkpoint().await?;
        for _ in 0..20 {
            commit(&mut writer, 3).await?;
        }
        if is_closed {
            writer.close().await?;
        }
        Ok::<(), Error>(())
    });
    written.unwrap().unwrap();
    disk = disk.kill();
    disk.reset_counts();
    let opened = run(&disk, Writer::open_on(disk.clone(), "/s", Options::default())).unwrap().unwrap();
    assert_eq!(opened.recovery().rows, rows + 60);
    let of = disk.counts_by_path().into_iter().map(|(path, counts)| (path, counts.reads, counts.read_bytes));
    of.filter(|(_, reads, _)| *reads > 0).collect()
}

#[test]
fn open_reads_as_much_for_few_rows_as_for_many() {
    for is_closed in [true, false] {
        let (few, many) = (reads_at_open(10_000, is_closed), reads_at_open(1_000_000, is_closed));
        let [few, many] = [few, many].map(|reads| -> Vec<(bool, u64, u64)> {
            let is_manifest = |path: &Path| path.to_str().unwrap().contains("/manifest-");
            reads.iter().map(|(path, reads, bytes)| (is_manifest(path), *reads, *bytes)).collect()
        });
        assert_eq!(few.len(), many.len(), "as many files");
        for ((is_manifest, reads, bytes), many) in few.into_iter().zip(many) {
            assert_eq!((is_manifest, reads), (many.0, many.1), "as many reads, closed: {is_closed}");
            // A manifest has the active segment's tails, and the checksums of all its chunks.
            let difference = if is_manifest { 1_000_000 / 50 } else { 0 };
            assert!(bytes.abs_diff(many.2) <= difference, "{bytes} and {} bytes", many.2);
        }
    }
}
