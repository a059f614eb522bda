//! Readers and a writer at the same time: interleaved by the simulated disk's executor, and on real cores.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use futures::executor::block_on;
use tidelog::disk::sim::{Executor, SimDisk};
use tidelog::disk::{Disk, Posix};
use tidelog::{
    Batch, Column, ColumnId, Kind, Options, Reader, Result, Schema, Seek, Slice, Snapshot, Store, Value,
    Writer,
};

use crate::world::calm_disk;

fn schema() -> Schema {
    Schema::new([
        Column::new("number", Kind::U64),
        Column::new("words", Kind::Text).nullable(),
        Column::new("parts", Kind::Bytes),
    ])
    .unwrap()
}

/// Every row follows from its number.
fn key(row: u64) -> u64 {
    row / 3 * 5
}

fn words(row: u64) -> Option<String> {
    (!row.is_multiple_of(4)).then(|| "é".repeat(usize::try_from(row % 13).unwrap()))
}

fn parts(row: u64) -> Vec<u8> {
    vec![row.to_le_bytes()[0]; usize::try_from(row * 7 % 90).unwrap()]
}

fn append<D: Disk>(writer: &mut Writer<D>, count: u64) {
    for _ in 0..count {
        let row = writer.pending().next_row();
        let (words, parts) = (words(row), parts(row));
        let words = words.as_deref().map_or(Value::Null, Value::Text);
        writer.pending().append(key(row), &[Value::U64(row * row), words, Value::Bytes(&parts)]).unwrap();
    }
}

fn check_batch(batch: &Batch) {
    for index in 0..batch.len() {
        let row = batch.row(index).unwrap();
        assert_eq!(batch.keys()[index], key(row));
        let values: Vec<Value<'_>> =
            batch.columns().iter().map(|(_, vector)| vector.value(index).unwrap()).collect();
        let (words, parts) = (words(row), parts(row));
        let words = words.as_deref().map_or(Value::Null, Value::Text);
        assert_eq!(values, [Value::U64(row * row), words, Value::Bytes(&parts)], "row {row}");
    }
}

/// Everything that a snapshot has, or what is behind `from` of it.
async fn check<D: Disk>(reader: &Reader<D>, at: &Snapshot, from: u64, turn: u64) -> Result<()> {
    let batch_rows = [1000, 70, 9][usize::try_from(turn % 3).unwrap()];
    let scan = reader.scan(at, ..).rows(from..u64::MAX).batch_rows(batch_rows);
    let reverse = turn % 2 == 1;
    let mut scan = if reverse { scan.reverse() } else { scan };
    let mut next = if reverse { at.rows() } else { from };
    while let Some(batch) = scan.next().await? {
        check_batch(&batch);
        let (first, len) = (batch.row(0).unwrap(), batch.len() as u64);
        if reverse {
            assert_eq!(first + 1, next);
            next -= len;
        } else {
            assert_eq!(first, next);
            next += len;
        }
    }
    assert_eq!(next, if reverse { from } else { at.rows() });
    let Some(last) = at.rows().checked_sub(1) else { return Ok(()) };
    for row in [last, last - last.min(turn), turn % at.rows()] {
        let found = reader.seek(at, Seek::AtOrBefore(key(row))).await?.unwrap();
        assert_eq!(found.row, (row / 3 * 3 + 2).min(last));
        check_batch(&reader.values(at, row, &[ColumnId(0), ColumnId(1), ColumnId(2)]).await?);
        let bytes = parts(row);
        let slices = [Slice { row, range: 0..bytes.len() as u64 }];
        assert_eq!(reader.slices(at, ColumnId(2), &slices).await?, [bytes]);
    }
    Ok(())
}

fn options() -> Options {
    Options::default().log_bytes(64 << 10).segment_rows(3000).inline_bytes(8 << 10).grow_bytes(4096, 64 << 10)
}

/// Commits of every size, checkpoints, rolls, until there are so many rows.
async fn write<D: Disk>(writer: &mut Writer<D>, rows: u64) -> Result<()> {
    let mut turn = 0;
    while writer.pending().next_row() < rows {
        turn += 1;
        append(writer, [1, 3, 20, 150, 700][usize::try_from(turn * 7 / 3 % 5).unwrap()]);
        writer.commit().await?;
        if turn % 5 == 0 {
            writer.checkpoint().await?;
        }
    }
    Ok(())
}

#[test]
fn readers_and_a_writer_interleave_at_every_await() {
    for seed in 0..6 {
        let disk: SimDisk = calm_disk(seed);
        let create = Writer::create_on(disk.clone(), "/store", schema(), options());
        let mut writer = tidelog::disk::sim::run(&disk, create).unwrap().unwrap();
        let stores: Vec<Store<SimDisk>> = (0..3).map(|_| writer.store()).collect();
        let done = AtomicBool::new(false);
        let mut executor = Executor::new(&disk, seed);
        executor.spawn(async {
            write(&mut writer, 9000).await.unwrap();
            done.store(true, Ordering::Relaxed);
        });
        for (number, store) in (0..).zip(&stores) {
            let done = &done;
            executor.spawn(async move {
                let reader = store.reader();
                let mut turn = number;
                while !done.load(Ordering::Relaxed) {
                    let at = store.snapshot();
                    let from =
                        at.rows().saturating_sub([400, 4000, u64::MAX][usize::try_from(turn % 3).unwrap()]);
                    check(&reader, &at, from, turn).await.unwrap();
                    turn += 1;
                    pause().await;
                }
            });
        }
        executor.run().unwrap();
    }
}

/// Lets the others go on, where there is nothing to wait for.
async fn pause() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn readers_on_other_cores_see_prefixes_that_never_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut writer = block_on(Writer::create_on(Posix::default(), &path, schema(), options())).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..3 {
            let (store, done) = (writer.store(), &done);
            scope.spawn(move || {
                let reader = store.reader();
                let (first, mut turn, mut seen) = (store.snapshot(), number, 0);
                while !done.load(Ordering::Relaxed) {
                    let at = store.snapshot();
                    assert!(at.rows() >= seen, "time does not go back");
                    block_on(check(&reader, &at, seen.saturating_sub(500), turn)).unwrap();
                    seen = at.rows();
                    turn += 1;
                }
                block_on(check(&reader, &store.snapshot(), 0, turn)).unwrap();
                block_on(check(&reader, &first, 0, turn)).unwrap();
            });
        }
        let written = block_on(write(&mut writer, 40_000));
        done.store(true, Ordering::Relaxed);
        written.unwrap();
    });
}

/// The core that writes is busy with something else: nobody waits for it.
#[test]
fn a_scan_completes_while_the_writers_core_is_busy() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = block_on(Writer::create_on(Posix::default(), dir.path(), schema(), options())).unwrap();
    block_on(write(&mut writer, 5000)).unwrap();
    // Something that is not committed, and not visible.
    append(&mut writer, 10);
    let (store, done) = (writer.store(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let at = store.snapshot();
            block_on(check(&store.reader(), &at, 0, 0)).unwrap();
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
    });
    assert_eq!(writer.pending().rows(), 10);
}
