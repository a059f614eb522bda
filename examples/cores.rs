//! One writer on its core, readers on others, each with an executor of its own.
//!
//! While the writer commits, each reader takes snapshots and reads what is new in them: every snapshot is a prefix
//! of the commits, none goes back, and the first one still shows the same at the end. Nobody waits for anybody.
//!
//! `cargo run --release --example cores`

use std::error::Error;
use std::ops::Range;
use std::path::Path;
use std::thread;

use tidelog::disk::{Core, Glommio};
use tidelog::{Column, Data, Kind, Options, Reader, Result, Schema, Snapshot, Store, Values, Writer};

const READERS: usize = 2;
const COMMITS: u64 = 400;
const ROWS: u64 = 1_000;

/// Every row's value is its own number, so that the sum of the first `rows` is known.
fn sum_below(rows: u64) -> u64 {
    rows * rows.saturating_sub(1) / 2
}

async fn sum(reader: &Reader, snapshot: &Snapshot, rows: Range<u64>) -> Result<u64> {
    let mut scan = reader.scan(snapshot, ..).rows(rows).without_keys();
    let mut sum = 0;
    while let Some(batch) = scan.next().await? {
        for (_, vector) in batch.columns() {
            if let Data::U64(values) = vector.data() {
                sum += values.iter().sum::<u64>();
            }
        }
    }
    Ok(sum)
}

/// Follows the writer to its last row; returns how many snapshots that took.
async fn follow(store: Store) -> Result<u64> {
    let (first, reader) = (store.snapshot(), store.reader());
    let (mut snapshots, mut rows, mut total) = (1, 0, 0);
    while rows < COMMITS * ROWS {
        let snapshot = store.snapshot();
        assert!(snapshot.rows() >= rows, "a later snapshot never has less");
        assert!(snapshot.rows().is_multiple_of(ROWS), "commits are seen whole");
        if snapshot.rows() == rows {
            // Nothing new, and this thread has nothing else to do.
            thread::yield_now();
            continue;
        }
        total += sum(&reader, &snapshot, rows..snapshot.rows()).await?;
        rows = snapshot.rows();
        snapshots += 1;
        assert_eq!(total, sum_below(rows), "a snapshot is a prefix of the commits");
    }
    assert_eq!(sum(&reader, &first, 0..u64::MAX).await?, sum_below(first.rows()), "a snapshot never changes");
    Ok(snapshots)
}

async fn write(dir: &Path) -> std::result::Result<(), Box<dyn Error>> {
    let schema = Schema::new([Column::new("value", Kind::U64)])?;
    let mut writer = Writer::create(dir, schema, Options::default()).await?;
    let readers = (0..READERS).map(|number| {
        let store = writer.store();
        // Core::Pinned(n) would keep it on core n.
        Glommio::spawn(Core::Any, &format!("reader-{number}"), move || follow(store))
    });
    let readers = readers.collect::<Result<Vec<_>>>()?;
    for commit in 0..COMMITS {
        let values: Vec<u64> = (commit * ROWS..(commit + 1) * ROWS).collect();
        writer.pending().append_batch(&values, &[Values::U64(&values)])?;
        writer.commit().await?;
    }
    println!("the writer committed {COMMITS} times {ROWS} rows");
    for (number, reader) in readers.into_iter().enumerate() {
        // This blocks the writer's executor, which has nothing left to do.
        let snapshots = reader.join().map_err(|_| "a reader panicked")???;
        println!("reader {number} saw all of them, in {snapshots} snapshots");
    }
    Ok(writer.close().await?)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    Glommio::run(write(dir.path()))?
}
