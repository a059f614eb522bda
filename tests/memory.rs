//! Memory that a scan takes: its reader's budget and little more, however large the store is. What rows take that wait
//! to be sealed. And what a sealed segment takes of a store that is opened, however many rows it has.
//!
//! Every byte that is allocated in the process is counted: one test at a time.
//!
//! Not here: memory of ingest (the program's tests), what is kept within the budget (`tests/reading`).
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]
#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one passes everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::disk::sim::Random;
use tidelog::{
    Batch, Column, ColumnId, Kind, Maintain, Maintained, Options, Schema, SegmentState, Store, Value, Values,
    Writer,
};

/// Counts, and leaves the work to the system's.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Allocations as long as a column's values in a batch.
static VECTORS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        if layout.size() == BATCH_ROWS * size_of::<u64>() {
            VECTORS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MIB: usize = 1 << 20;
const COLUMNS: usize = 8;
/// Unless a scan is told.
const BATCH_ROWS: usize = 16_384;
/// All but the last 10,000 are in segments that are finished.
const ROWS: usize = 3_510_000;

/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::new(());

/// A store of sealed segments that hold what no codec makes much shorter; the sum of its first column's bits.
async fn make(dir: &std::path::Path) -> tidelog::Result<u64> {
    let columns = (0..COLUMNS).map(|column| Column::new(format!("{column}"), Kind::U64));
    let options = Options::default().segment_rows(500_000);
    let mut writer = Writer::create_on(Posix::default(), dir, Schema::new(columns)?, options).await?;
    let (store, mut random, mut sum) = (writer.store(), Random::new(1), 0_u64);
    for first in (0..ROWS as u64).step_by(50_000) {
        let keys: Vec<u64> = (first..(first + 50_000).min(ROWS as u64)).collect();
        let bits: Vec<Vec<u64>> =
            (0..COLUMNS).map(|_| keys.iter().map(|_| random.bits()).collect()).collect();
        sum = bits[0].iter().fold(sum, |sum, bits| sum.wrapping_add(*bits));
        let values: Vec<Values<'_>> = bits.iter().map(|bits| Values::U64(bits)).collect();
        writer.pending().append_batch(&keys, &values)?;
        writer.commit().await?;
        while let Maintained::Sealed { .. } = store.maintain(Maintain::Seal).await? {
            writer.sync().await?;
        }
    }
    writer.close().await?;
    Ok(sum)
}

#[test]
fn a_scan_of_200_mb_stays_within_its_budget_of_8_mib() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    let sum = block_on(make(&dir)).unwrap();
    let options = Options::default().cache_bytes(8 * MIB as u64);
    block_on(async {
        let store = Store::follow_on(Posix::default(), &dir, options).await.unwrap();
        let stats = store.stats();
        let sealed = stats.segments.iter().filter(|segment| segment.state == SegmentState::Sealed);
        assert!(stats.sealed_bytes > 200_000_000 && sealed.count() >= 6, "{stats:?}");
        let (reader, at) = (store.reader(), store.snapshot());
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        VECTORS.store(0, Ordering::Relaxed);
        let mut scan = reader.scan(&at, ..);
        let (mut rows, mut found) = (0, 0_u64);
        while let Some(batch) = scan.next().await.unwrap() {
            rows += batch.len();
            let values = batch.columns()[0].1.as_u64().unwrap();
            found = values.iter().fold(found, |sum, bits| sum.wrapping_add(*bits));
        }
        assert_eq!((rows, found), (ROWS, sum));
        let peak = PEAK.load(Ordering::Relaxed) - before;
        println!("a scan of {} MB took {} KiB at most", stats.sealed_bytes / 1_000_000, peak >> 10);
        assert!(peak < 12 * MIB, "{peak} bytes");
        assert!(peak > 4 * MIB, "{peak} bytes: nothing was counted");
        // Those of a batch that was dropped are the next one's; some reads happen to be as long.
        let vectors = VECTORS.load(Ordering::Relaxed);
        assert!(
            (COLUMNS..=4 * COLUMNS).contains(&vectors),
            "{vectors} vectors in {} batches",
            rows / BATCH_ROWS
        );
    });
}

/// Whoever keeps the few rows that pass a filter keeps no more than those.
#[test]
fn kept_batches_of_a_filter_take_what_their_rows_take() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    block_on(make(&dir)).unwrap();
    let options = Options::default().cache_bytes(0);
    block_on(async {
        let store = Store::follow_on(Posix::default(), &dir, options).await.unwrap();
        let (reader, at) = (store.reader(), store.snapshot());
        let before = NOW.load(Ordering::Relaxed);
        let mut scan = reader.scan(&at, ..).filter(ColumnId(0), ..Value::U64(u64::MAX / 10_000));
        let mut batches = Vec::new();
        while let Some(batch) = scan.next().await.unwrap() {
            batches.push(batch);
        }
        drop(scan);
        let rows: usize = batches.iter().map(Batch::len).sum();
        assert!((200..500).contains(&rows) && batches.len() > 100, "{rows} rows in {}", batches.len());
        let held = NOW.load(Ordering::Relaxed) - before;
        println!("{rows} rows in {} batches take {} KiB", batches.len(), held >> 10);
        assert!(held < 2 * MIB, "{held} bytes");
    });
}

/// Bytes in memory behind 20 MB of rows, of which none was sealed although somebody has asked once.
async fn waiting(dir: &std::path::Path, seal_bytes: usize) -> tidelog::Result<usize> {
    let schema = Schema::new((0..COLUMNS).map(|column| Column::new(format!("{column}"), Kind::U64)))?;
    let options = Options::default().seal_bytes(seal_bytes as u64);
    let mut writer = Writer::create_on(Posix::default(), dir, schema, options).await?;
    assert_eq!(writer.store().maintain(Maintain::Seal).await?, Maintained::Nothing);
    let (before, mut most) = (NOW.load(Ordering::Relaxed), 0);
    for commit in 0..120 {
        // Small and large ones.
        let rows = if commit % 2 == 0 { 4000 } else { 500 };
        let keys = vec![commit; rows];
        let columns: Vec<Vec<u64>> = (0..COLUMNS as u64).map(|column| vec![column; rows]).collect();
        let values: Vec<Values<'_>> = columns.iter().map(|column| Values::U64(column)).collect();
        writer.pending().append_batch(&keys, &values)?;
        drop(values);
        drop(columns);
        writer.commit().await?;
        most = most.max(NOW.load(Ordering::Relaxed) - before);
    }
    writer.close().await?;
    Ok(most)
}

#[test]
fn rows_that_wait_to_be_sealed_stay_within_their_budget() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let most = [0, 5 * MIB, 12 * MIB].map(|seal_bytes| {
        let dir = dir.path().join(format!("{seal_bytes}"));
        block_on(waiting(&dir, seal_bytes)).unwrap()
    });
    println!("{most:?}");
    for (most_bytes, budget) in most[1..].iter().zip([5 * MIB, 12 * MIB]) {
        // What the writer has anyhow is there too, and a list of what there is.
        assert!(*most_bytes < most[0] + budget + MIB, "{most_bytes} bytes, {budget} allowed");
        assert!(*most_bytes > budget / 2, "{most_bytes} bytes: nothing was kept");
    }
}

/// Reading the log takes more than the segments would: theirs is not to be hidden below it.
fn small_log() -> Options {
    Options::default().log_bytes(64 << 10)
}

/// A store of so many sealed segments with so many rows each; its active segment has some too.
async fn make_sealed(dir: &std::path::Path, segments: usize, rows: usize) -> tidelog::Result<()> {
    let columns = (0..COLUMNS).map(|column| Column::new(format!("{column}"), Kind::U64));
    let options = small_log().segment_rows(rows as u64);
    let mut writer = Writer::create_on(Posix::default(), dir, Schema::new(columns)?, options).await?;
    let (store, mut random) = (writer.store(), Random::new(2));
    for segment in 0..=segments {
        let rows = if segment < segments { rows } else { 10 };
        let keys = vec![segment as u64; rows];
        let bits: Vec<u64> = keys.iter().map(|_| random.bits()).collect();
        writer.pending().append_batch(&keys, &vec![Values::U64(&bits); COLUMNS])?;
        writer.commit().await?;
        writer.checkpoint().await?;
        while let Maintained::Sealed { .. } = store.maintain(Maintain::Seal).await? {
            writer.checkpoint().await?;
        }
    }
    let stats = store.stats();
    let sealed = stats.segments.iter().filter(|segment| segment.state == SegmentState::Sealed);
    assert_eq!(
        sealed.map(|segment| segment.rows.end - segment.rows.start).sum::<u64>(),
        (segments * rows) as u64
    );
    drop(store);
    writer.close().await
}

/// Bytes in memory while something is made, at most, and as long as it is there.
fn cost<T>(make: impl FnOnce() -> T) -> [usize; 2] {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let made = make();
    let after = [&PEAK, &NOW].map(|bytes| bytes.load(Ordering::Relaxed) - before);
    drop(made);
    after
}

/// What a store takes whose writer, or whose follower, has just opened it: at most, and from then on.
fn opened(segments: usize, rows: usize) -> [[usize; 2]; 2] {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    block_on(make_sealed(&dir, segments, rows)).unwrap();
    let writer = || block_on(Writer::open_on(Posix::default(), &dir, small_log())).unwrap();
    let follower = || block_on(Store::follow_on(Posix::default(), &dir, small_log())).unwrap();
    // The first time something is made that stays.
    drop(writer());
    drop(follower());
    [cost(writer), cost(follower)]
}

/// A billion rows in segments of 4 Mi are to take 0.02 byte each, so 80 KiB a segment: this is far below.
const SEGMENT_BYTES_MAX: usize = 1024;

/// Open reads manifest and log, and asks of a sealed segment only how long its file is: directory and entries, which grow
/// with the rows, wait until somebody asks for some. So segments of few rows stand for long ones here.
#[test]
fn a_sealed_segment_takes_little_memory_of_a_store_that_is_opened() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (few, many) = (8, 40);
    let [small, large] = [few, many].map(|segments| opened(segments, 50));
    println!("{few} segments: {small:?}, {many}: {large:?}");
    for (small, large) in small.as_flattened().iter().zip(large.as_flattened()) {
        let more = large.saturating_sub(*small);
        assert!(more <= (many - few) * SEGMENT_BYTES_MAX, "{more} bytes for {} segments", many - few);
        assert!(more >= (many - few) * 64, "{more} bytes: nothing was counted");
    }
}

#[test]
fn rows_of_sealed_segments_take_no_memory_of_a_store_that_is_opened() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = 2000;
    let [small, large] = [rows, 16 * rows].map(|rows| opened(8, rows));
    println!("8 segments of {rows} rows: {small:?}, of {}: {large:?}", 16 * rows);
    for (small, large) in small.as_flattened().iter().zip(large.as_flattened()) {
        assert!(*large < small + 1024, "{small} bytes became {large}");
    }
}
