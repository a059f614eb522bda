//! Followers beside a writer that seals segments, uses their slots again, and compacts: what was shown before is given as it was,
//! or it is gone; it is never other rows. Whoever looks again goes on.
//!
//! Not here: crashes under a follower (`tests/crash.rs`), the writer's own readers, who hold slots (`sealed`).

use futures::future::join;
use tidelog::disk::sim::{Executor, Settings, SimDisk, run};
use tidelog::{
    Column, ColumnId, Error, Kind, Maintain, Maintained, Options, Reader, Schema, Seek, Slice, Snapshot,
    Store, Tier, Value, Writer,
};

use crate::world::{Cell, Row, World, all, all_kinds, calm_disk, collect, rows_of, small_options};

/// What became of snapshots that were asked again.
#[derive(Debug, Default)]
struct Seen {
    given: usize,
    gone: usize,
}

impl Seen {
    /// An answer, or that it is gone.
    fn take<T>(&mut self, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.given += 1;
                Some(answer)
            }
            Err(Error::SnapshotGone) => {
                self.gone += 1;
                None
            }
            Err(error) => panic!("neither rows nor that they are gone: {error:?}"),
        }
    }
}

/// A snapshot that a follower holds, with a reader that knew it when it was new, if it has one.
struct Held {
    at: Snapshot,
    rows: usize,
    reader: Option<Reader<SimDisk>>,
}

/// Asks for everything in every way.
fn ask(disk: &SimDisk, reader: &Reader<SimDisk>, held: &Held, rows: &[Row], seen: &mut Seen) {
    let (at, columns) = (&held.at, (0..18).map(ColumnId).collect::<Vec<_>>());
    let rows = &rows[..held.rows];
    if let Some(found) = seen.take(run(disk, all(reader, at)).unwrap()) {
        assert!(found == rows, "a scan gives other rows");
    }
    if let Some(found) = seen.take(run(disk, collect(reader.scan(at, ..).reverse().batch_rows(90))).unwrap())
    {
        assert!(found.iter().rev().eq(rows), "a scan in reverse gives other rows");
    }
    for row in rows.iter().step_by(1 + rows.len() / 5) {
        if let Some(found) = seen.take(run(disk, reader.values(at, row.row, &columns)).unwrap()) {
            assert_eq!(rows_of(&found), std::slice::from_ref(row));
        }
        if let Some(found) = seen.take(run(disk, reader.seek(at, Seek::Row(row.row))).unwrap()) {
            assert_eq!(found.map(|found| found.key), Some(row.key));
        }
        if let Some(found) = seen.take(run(disk, reader.seek(at, Seek::AtOrAfter(row.key))).unwrap()) {
            let first = rows.iter().find(|known| known.key == row.key);
            assert_eq!(found.map(|found| found.row), first.map(|first| first.row));
        }
        let bytes = row.cells[7].bytes();
        let part = [Slice { row: row.row, range: 0..bytes.len() as u64 }];
        if let Some(found) = seen.take(run(disk, reader.slices(at, ColumnId(7), &part)).unwrap()) {
            assert_eq!(found, [bytes.to_vec()]);
        }
    }
    if let Some(found) = seen.take(run(disk, reader.aggregate(at, .., ColumnId(3))).unwrap()) {
        let values = rows.iter().map(|row| if let Cell::U32(value) = row.cells[3] { value } else { 0 });
        assert_eq!(found.sum, tidelog::Sum::Integer(values.map(i128::from).sum()));
        assert_eq!(found.rows, rows.len() as u64);
    }
}

#[test]
fn what_a_follower_holds_is_given_as_it_was_or_gone() {
    let mut world = World::new(calm_disk(41), all_kinds(), small_options());
    let other = world.disk.another_process();
    let store =
        run(&other, Store::follow_on(other.clone(), &world.dir, Options::default())).unwrap().unwrap();
    let (mut held, mut seen) = (Vec::<Held>::new(), Seen::default());
    let (mut sealed, mut compacted) = (0, 0);
    for round in 0..60 {
        world.commit([5, 60, 90, 1][round % 4]);
        // Several segments are finished before the first one is sealed.
        if round > 20 && round % 3 == 0 {
            let own = world.store();
            let work = match round % 12 {
                0 => Maintain::Compact(if round > 40 { Tier::Dense } else { Tier::Fast }),
                _ => Maintain::Seal,
            };
            let did = world.run(own.maintain(work)).unwrap();
            sealed += usize::from(matches!(did, Maintained::Sealed { .. }));
            compacted += usize::from(matches!(did, Maintained::Compacted { .. }));
            world.checkpoint();
        }
        let at = run(&other, store.refresh()).unwrap().unwrap();
        let rows = world.rows.len();
        assert_eq!(at.rows(), rows as u64, "whoever looks again sees all there is");
        let reader = store.reader();
        let now = Held { at, rows, reader: None };
        let mut fresh = Seen::default();
        ask(&other, &reader, &now, &world.rows, &mut fresh);
        assert_eq!(fresh.gone, 0, "what has just been shown is there");
        if round % 7 == 0 {
            held.push(Held { reader: (round % 2 == 0).then_some(reader), ..now });
        }
        if round % 5 == 0 {
            for held in &held {
                let fresh = store.reader();
                ask(&other, held.reader.as_ref().unwrap_or(&fresh), held, &world.rows, &mut seen);
            }
        }
    }
    assert!(sealed >= 5 && compacted >= 2, "{sealed} were sealed, {compacted} compacted");
    let slots =
        world.disk.directories().iter().filter(|path| path.to_string_lossy().contains("/raw-")).count();
    let raw = store.stats().segments.iter().filter(|segment| segment.slot.is_some()).count();
    assert!(
        slots < sealed + raw - 2,
        "slots are used again: {slots} for {sealed} sealed and {raw} raw segments"
    );
    assert!(seen.given > 500 && seen.gone > 50, "{seen:?}");
    // What is gone stays so, and nothing else is.
    let late = run(&other, Store::follow_on(other.clone(), &world.dir, Options::default())).unwrap().unwrap();
    let found = run(&other, all(&late.reader(), &late.snapshot())).unwrap().unwrap();
    assert!(found == world.rows);
}

fn value(row: u64) -> u64 {
    (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

fn text(row: u64) -> Option<String> {
    (!value(row).is_multiple_of(5)).then(|| format!("{:x}", value(row) % 1000))
}

/// Commits, seals beside the commits, and makes checkpoints.
async fn write(writer: &mut Writer<SimDisk>) -> usize {
    let (store, mut sealed) = (writer.store(), 0);
    for turn in 0..45 {
        for _ in 0..[70, 1, 25, 110][turn % 4] {
            let row = writer.pending().next_row();
            let text = text(row);
            let values = [Value::U64(value(row)), text.as_deref().map_or(Value::Null, Value::Text)];
            writer.pending().append(row / 2, &values).unwrap();
        }
        let work = match turn % 9 {
            7 => Maintain::Compact(Tier::Fast),
            8 => Maintain::Compact(Tier::Dense),
            _ => Maintain::Seal,
        };
        let (committed, did) = join(writer.commit(), store.maintain(work)).await;
        committed.unwrap();
        sealed += usize::from(did.unwrap() != Maintained::Nothing);
        if turn % 6 == 5 {
            writer.checkpoint().await.unwrap();
        }
    }
    sealed
}

/// Every row of a snapshot is the one that was written.
async fn check(reader: &Reader<SimDisk>, at: &Snapshot, turn: usize) -> Result<(), Error> {
    let scan = reader.scan(at, ..);
    let is_reverse = turn % 2 == 1;
    let mut rows = collect(if is_reverse { scan.reverse() } else { scan }).await?;
    if is_reverse {
        rows.reverse();
    }
    assert_eq!(rows.len() as u64, at.rows());
    for (number, row) in (0..).zip(rows) {
        assert_eq!((row.row, row.key), (number, number / 2));
        assert_eq!(row.cells[0], Cell::U64(value(number)), "row {number}");
        assert_eq!(row.cells[1], text(number).map_or(Cell::Null, Cell::Text), "row {number}");
    }
    Ok(())
}

/// Looks again and again, and asks each snapshot some times.
async fn follow(store: &Store<SimDisk>, looks: usize, asks: usize) -> Seen {
    let (mut seen, mut before, kept) = (Seen::default(), 0, store.reader());
    for look in 0..looks {
        let at = store.refresh().await.unwrap();
        assert!(at.rows() >= before, "{before} rows were shown, then {}", at.rows());
        before = at.rows();
        for turn in 0..asks {
            let fresh = store.reader();
            let reader = if (look + turn) % 3 == 0 { &fresh } else { &kept };
            let _ = seen.take(check(reader, &at, turn).await);
        }
    }
    seen
}

/// The operations of all of them, in many orders.
#[test]
fn beside_a_writer_that_seals_a_follower_is_shown_no_other_rows() {
    let (mut all, mut sealed) = (Seen::default(), 0);
    for seed in 0..60 {
        let disk = SimDisk::with_settings(seed, Settings { short: 0.0, ..Settings::from_seed(seed) });
        let schema =
            Schema::new([Column::new("value", Kind::U64), Column::new("text", Kind::Text).nullable()])
                .unwrap();
        let options = Options::default().log_bytes(64 << 10).segment_rows(200).inline_bytes(1 << 10);
        let created = Writer::create_on(disk.clone(), "/store", schema, options.grow_bytes(4096, 4096));
        let mut writer = run(&disk, created).unwrap().unwrap();
        let stores = [0, 1].map(|_| {
            let other = disk.another_process();
            let cache = Options::default().cache_bytes(if seed % 2 == 0 { 0 } else { 1 << 20 });
            run(&other, Store::follow_on(other.clone(), "/store", cache)).unwrap().unwrap()
        });
        let mut executor = Executor::new(&disk, seed);
        let writing = executor.spawn(write(&mut writer));
        let looking = executor.spawn(follow(&stores[0], 25, 1));
        let holding = executor.spawn(follow(&stores[1], 4, 9));
        executor.run().unwrap();
        for seen in [looking.take().unwrap(), holding.take().unwrap()] {
            all = Seen { given: all.given + seen.given, gone: all.gone + seen.gone };
        }
        sealed += writing.take().unwrap();
        drop(executor);
        let at = run(&disk, stores[1].refresh()).unwrap().unwrap();
        assert_eq!(at.rows(), writer.store().rows(), "seed {seed}");
        run(&disk, check(&stores[1].reader(), &at, 0)).unwrap().unwrap();
    }
    assert!(sealed > 60 && all.given > 1000 && all.gone > 10, "{all:?}, {sealed} were sealed");
}
