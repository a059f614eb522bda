//! Snapshots never change, whatever the writer does meanwhile; handles go to any core.

use tidelog::disk::Posix;
use tidelog::disk::sim::SimDisk;
use tidelog::{Error, Reader, Scan, Seek, Slice, Snapshot, Store};

use crate::world::{Row, World, all, all_kinds, calm_disk, collect, rows_of, small_options};

fn is_send<T: Send>(_: &T) {}

fn is_shared<T: Send + Sync>() {}

#[test]
fn handles_go_to_any_core() {
    is_shared::<Store>();
    is_shared::<Store<SimDisk>>();
    is_shared::<Snapshot>();
    is_shared::<Error>();
}

/// Never runs: that it compiles says that a POSIX reader can live in any runtime.
#[expect(dead_code, reason = "only its types matter")]
fn a_posix_reader_is_free(reader: &Reader<Posix>, at: &Snapshot) {
    is_shared::<Reader<Posix>>();
    is_shared::<Reader<SimDisk>>();
    is_send(&reader.seek(at, Seek::First));
    is_send(&reader.values(at, 0, &[]));
    is_send(&reader.slices(at, tidelog::ColumnId(0), &[]));
    let mut scan: Scan<'_, Posix> = reader.scan(at, ..);
    is_send(&scan.next());
    is_send(&scan);
}

#[test]
fn snapshots_held_across_commits_checkpoints_and_rolls_never_change() {
    for seed in 0..4 {
        let mut world = World::new(calm_disk(seed), all_kinds(), small_options());
        let reader = world.store().reader();
        let mut held = Vec::new();
        while world.rows.len() < 1500 {
            let rows = world.rows.len() + 1 + world.random.index(60);
            world.fill(rows);
            held.push((world.store().snapshot(), world.rows.len()));
            // An old one, while newer ones are held.
            let (at, len) = &held[world.random.index(held.len())];
            assert_eq!(at.rows(), *len as u64);
            assert!(world.run(all(&reader, at)).unwrap() == world.rows[..*len], "{len} rows, seed {seed}");
        }
        for (at, len) in &held {
            assert!(world.run(all(&reader, at)).unwrap() == world.rows[..*len], "{len} rows, seed {seed}");
            let last = world.run(reader.seek(at, Seek::Last)).unwrap().unwrap();
            assert_eq!((last.row, last.key), (*len as u64 - 1, world.rows[len - 1].key));
        }
    }
}

/// D moves under a scan that has begun: what was in a tail is in the file by now, in the same segment or a
/// finished one.
#[test]
fn a_scan_goes_on_while_the_writer_writes() {
    for seed in 0..8 {
        let mut world = World::new(calm_disk(seed), all_kinds(), small_options());
        world.fill(450);
        let reader = world.store().reader();
        let (at, expected) = (world.store().snapshot(), world.rows.clone());
        for reverse in [false, true] {
            let scan = reader.scan(&at, ..).batch_rows(1 + world.random.index(30));
            let mut scan = if reverse { scan.reverse() } else { scan };
            let mut found = Vec::new();
            while let Some(batch) = world.run(scan.next()).unwrap() {
                found.extend(rows_of(&batch));
                match world.random.below(6) {
                    0 => world.checkpoint(),
                    1 => world.commit(60),
                    2 => world.commit(1),
                    _ => {}
                }
            }
            if reverse {
                found.reverse();
            }
            assert!(found == expected, "seed {seed}, reverse {reverse}");
        }
    }
}

#[test]
fn a_snapshot_of_another_store_is_refused() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    world.fill(20);
    let (reader, before) = (world.store().reader(), world.store().snapshot());
    world = world.reopen();
    let after = world.store().snapshot();
    let refused = |error: Error| assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    refused(world.run(all(&reader, &after)).unwrap_err());
    refused(world.run(reader.seek(&after, Seek::Last)).unwrap_err());
    refused(world.run(reader.values(&after, 0, &[])).unwrap_err());
    let slices = [Slice { row: 0, range: 0..0 }];
    refused(world.run(reader.slices(&after, tidelog::ColumnId(7), &slices)).unwrap_err());
    // What was taken before the store was opened again is still good for its own reader.
    assert!(world.run(all(&reader, &before)).unwrap() == world.rows);
}

#[test]
fn a_snapshot_has_the_note_of_its_moment() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    assert_eq!(world.store().snapshot().note(), None);
    world.writer.pending().note(b"one").unwrap();
    world.commit(3);
    let one = world.store().snapshot();
    world.commit(3);
    world.writer.pending().note(b"two").unwrap();
    world.commit(400);
    assert_eq!(one.note(), Some(&b"one"[..]));
    assert_eq!(world.store().snapshot().note(), Some(&b"two"[..]));
    world = world.reopen();
    assert_eq!(world.store().snapshot().note(), Some(&b"two"[..]));
}

/// The writer is gone, closed or dropped: what was committed can be read on.
#[test]
fn a_store_outlives_its_writer() {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    world.fill(500);
    let store = world.store();
    let World { disk, writer, rows, .. } = world;
    drop(writer);
    let at = store.clone().snapshot();
    let found: Vec<Row> =
        tidelog::disk::sim::run(&disk, async { collect(store.reader().scan(&at, ..)).await })
            .unwrap()
            .unwrap();
    assert_eq!(found, rows);
}
