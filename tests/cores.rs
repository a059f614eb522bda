//! Readers on other cores than the writer's: nobody waits for anybody, and everybody sees prefixes of the commits.
//!
//! On glommio (one executor a core) and on POSIX calls. The store is small and busy: commits of either form,
//! checkpoints, rolls, notes.
//!
//! Not here: reading itself, and snapshots that are held (`tests/reading`); writers in other processes
//! (`tests/dead_writers.rs`).
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tidelog::disk::sim::{Random, SimDisk};
use tidelog::disk::{Core, Disk, Glommio, Posix};
use tidelog::{
    Appender, Batch, Column, Kind, Options, Reader, Result, Schema, Seek, Snapshot, Store, Value, Writer,
};

#[path = "common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;

use skip::{Need, skips};

/// A real disk, and how a future runs on a core of choice.
trait OnCores: Disk + Default {
    /// Whether requests take longer than the poll that makes them.
    const IS_ASYNC: bool;

    fn run<T>(core: usize, future: impl Future<Output = T>) -> T;
}

impl OnCores for Glommio {
    const IS_ASYNC: bool = true;

    fn run<T>(core: usize, future: impl Future<Output = T>) -> T {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Glommio::run_on(Core::Pinned(core % cores), future).unwrap()
    }
}

impl OnCores for Posix {
    const IS_ASYNC: bool = false;

    fn run<T>(_: usize, future: impl Future<Output = T>) -> T {
        futures::executor::block_on(future)
    }
}

fn on_core<D: OnCores, F: Future<Output = T>, T: Send + 'static>(
    core: usize,
    start: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || D::run(core, start()))
}

const SEGMENT_ROWS: u64 = 4_000;

/// Snapshots that a reader takes before it reads one of them.
const SNAPSHOTS: usize = 3_000;

fn options() -> Options {
    // Commits above 8 KiB are large; a log file holds some ten of the others.
    Options::default()
        .log_bytes(64 << 10)
        .segment_rows(SEGMENT_ROWS)
        .inline_bytes(8 << 10)
        .cache_bytes(256 << 10)
}

fn schema() -> Schema {
    Schema::new([Column::new("number", Kind::U64), Column::new("name", Kind::Text).nullable()]).unwrap()
}

fn key(row: u64) -> u64 {
    row / 3
}

fn number(row: u64) -> u64 {
    (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn name(row: u64) -> Option<String> {
    (row % 7 != 3).then(|| "é".repeat(usize::try_from(number(row) % 20).unwrap()))
}

/// Commits `count` rows, and a note that says how many there are then.
async fn commit<D: Disk>(writer: &mut Writer<D>, count: u64) -> Result<()> {
    let next = writer.pending().next_row();
    for row in next..next + count {
        let name = name(row);
        let name = name.as_deref().map_or(Value::Null, Value::Text);
        writer.pending().append(key(row), &[Value::U64(number(row)), name])?;
    }
    writer.pending().note(&(next + count).to_le_bytes())?;
    writer.commit().await.map(drop)
}

/// Rows of the commits, and rows after each.
fn plan() -> (Vec<u64>, Vec<u64>) {
    let mut random = Random::new(5);
    let counts: Vec<u64> = (0..240).map(|_| [1, 3, 20, 150, 700][random.index(5)]).collect();
    let mut rows = 0;
    let after = counts.iter().map(|count| {
        rows += count;
        rows
    });
    let after = after.collect();
    (counts, after)
}

fn check_batch(batch: &Batch, index: usize, row: u64) {
    assert_eq!((batch.row(index), batch.keys()[index]), (Some(row), key(row)));
    let cells: Vec<_> = batch.columns().iter().map(|(_, vector)| vector.value(index).unwrap()).collect();
    let name = name(row);
    let name = name.as_deref().map_or(Value::Null, Value::Text);
    assert_eq!(cells, [Value::U64(number(row)), name], "row {row}");
}

/// Whether a snapshot shows just the rows that it should.
async fn check<D: Disk>(reader: &Reader<D>, at: &Snapshot) {
    let mut rows = 0;
    let mut scan = reader.scan(at, ..);
    while let Some(batch) = scan.next().await.unwrap() {
        for index in 0..batch.len() {
            check_batch(&batch, index, rows);
            rows += 1;
        }
    }
    assert_eq!(rows, at.rows());
    let last = reader.seek(at, Seek::Last).await.unwrap();
    assert_eq!(last.map(|last| (last.row, last.key)), rows.checked_sub(1).map(|row| (row, key(row))));
    check_note(at);
}

/// A note says how many rows there were with it.
fn check_note(at: &Snapshot) {
    assert_eq!(at.note().map(<[u8]>::to_vec), (at.rows() > 0).then(|| at.rows().to_le_bytes().to_vec()));
}

/// Keeps this core busy, without a wait, until somebody says that it is done.
fn spin_until(done: &AtomicBool) {
    // Who waits for this core waits for ever; a test that fails is of more use than one that hangs.
    let patience = Instant::now() + Duration::from_secs(300);
    while !done.load(Ordering::Acquire) {
        assert!(Instant::now() < patience, "a reader waits for the writer's core");
        std::hint::spin_loop();
    }
}

fn reads_beside_a_busy_core<D: OnCores>(dir: &Path) {
    D::run(0, async {
        let mut writer = Writer::create_on(D::default(), dir, schema(), options()).await.unwrap();
        for count in [10, 3_000, 5, 2_000, 1] {
            commit(&mut writer, count).await.unwrap();
        }
        for is_committing in [false, true] {
            let rows = writer.store().rows();
            let done = Arc::new(AtomicBool::new(false));
            let (store, is_done) = (writer.store(), Arc::clone(&done));
            let reader = move || async move {
                let at = store.snapshot();
                check(&store.reader(), &at).await;
                is_done.store(true, Ordering::Release);
                at.rows()
            };
            let mut committing = pin!(commit(&mut writer, 900));
            if is_committing && D::IS_ASYNC {
                // Its first requests are made, and nobody on this core hears of their end.
                let mut context = Context::from_waker(Waker::noop());
                assert!(matches!(committing.as_mut().poll(&mut context), Poll::Pending));
            }
            let reader = on_core::<D, _, _>(1, reader);
            spin_until(&done);
            assert_eq!(reader.join().unwrap(), rows);
            committing.await.unwrap();
        }
        writer.close().await.unwrap();
    });
}

/// A reader that looks at snapshots for as long as the writer writes, holds some of them, and says after each look
/// that it has looked.
async fn follow<D: Disk>(store: Store<D>, after: Arc<Vec<u64>>, looked: SyncSender<u64>) -> u64 {
    let reader = store.reader();
    let (mut held, mut rows, mut looks) = (Vec::new(), 0, 0);
    while rows < *after.last().unwrap() {
        // Taken in haste, some of them while the writer shows a commit or a roll.
        let mut at = store.snapshot();
        for _ in 0..SNAPSHOTS {
            assert!(at.rows() >= rows, "a later snapshot never has less");
            rows = at.rows();
            assert!(rows == 0 || after.binary_search(&rows).is_ok(), "{rows} rows are no whole commits");
            check_note(&at);
            at = store.snapshot();
        }
        rows = at.rows();
        check(&reader, &at).await;
        looks += 1;
        // Held over many commits, checkpoints and rolls.
        if looks % 5 == 1 {
            held.push(at);
        }
        // Whether or not the writer waits for it.
        _ = looked.try_send(rows);
    }
    for at in &held {
        check(&reader, at).await;
        check(&store.reader(), at).await;
    }
    looks
}

fn sees_prefixes<D: OnCores>(dir: &Path) {
    const READERS: usize = 2;
    let (counts, after) = plan();
    let total = *after.last().unwrap();
    let after = Arc::new(after);
    D::run(0, async {
        let mut writer = Writer::create_on(D::default(), dir, schema(), options()).await.unwrap();
        let mut readers = Vec::new();
        let mut lookers: Vec<Receiver<u64>> = Vec::new();
        for core in 1..=READERS {
            let (looked, looker) = sync_channel(1);
            let (store, after) = (writer.store(), Arc::clone(&after));
            readers.push(on_core::<D, _, _>(core, move || follow(store, after, looked)));
            lookers.push(looker);
        }
        for (commits, count) in (1..).zip(&counts) {
            commit(&mut writer, *count).await.unwrap();
            if commits % 12 == 0 && commits < counts.len() {
                // Every reader looks at least once between these commits, this core asleep. What it said before
                // does not count.
                for looker in &lookers {
                    _ = looker.try_recv();
                    looker.recv().unwrap();
                }
            }
        }
        assert_eq!(writer.store().rows(), total);
        for reader in readers {
            let looks = reader.join().unwrap();
            assert!(looks >= counts.len() as u64 / 12, "{looks} looks");
        }
        writer.close().await.unwrap();
    });
    let names =
        || std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let rolls = names().filter(|name| name.starts_with("raw-")).count() - 1;
    let newest =
        names().filter_map(|name| name.strip_prefix("manifest-")?.parse::<usize>().ok()).max().unwrap();
    assert!(rolls >= 5, "{rolls} rolls");
    assert!(newest >= rolls + 10, "{newest} manifests, {rolls} rolls");
}

#[test]
fn a_scan_ends_on_its_core_while_the_writers_spins() {
    if !skips(&[Need::IoUring]) {
        reads_beside_a_busy_core::<Glommio>(tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn a_scan_ends_on_its_thread_while_the_writers_spins() {
    reads_beside_a_busy_core::<Posix>(tempfile::tempdir().unwrap().path());
}

#[test]
fn readers_on_other_cores_see_prefixes_of_the_commits() {
    if !skips(&[Need::IoUring]) {
        sees_prefixes::<Glommio>(tempfile::tempdir().unwrap().path());
    }
}

#[test]
fn readers_on_other_threads_see_prefixes_of_the_commits() {
    sees_prefixes::<Posix>(tempfile::tempdir().unwrap().path());
}

/// What may be used on every core, whatever disk it is on.
#[test]
fn handles_go_to_every_core() {
    fn goes_everywhere<T: Send + Sync + 'static>() {}
    goes_everywhere::<Store<Glommio>>();
    goes_everywhere::<Store<Posix>>();
    goes_everywhere::<Store<SimDisk>>();
    goes_everywhere::<Snapshot>();
    goes_everywhere::<Appender>();
    goes_everywhere::<Schema>();
    goes_everywhere::<Options>();
    goes_everywhere::<Batch>();
    goes_everywhere::<tidelog::Error>();
}
