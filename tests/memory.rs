//! Memory that a scan takes: its reader's budget and little more, however large the store is. And what rows take that
//! wait to be sealed.
//!
//! Every byte that is allocated in the process is counted: one test at a time.
//!
//! Not here: memory of ingest (the program's tests), what is kept within the budget (`tests/reading`).
#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one passes everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::executor::block_on;
use tidelog::disk::Posix;
use tidelog::disk::sim::Random;
use tidelog::{Column, Kind, Maintain, Maintained, Options, Schema, SegmentState, Store, Values, Writer};

/// Counts, and leaves the work to the system's.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
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
