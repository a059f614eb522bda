//! Commits that are shown before they are durable: who sees them, and when they count.
//!
//! Not here: random histories of them, crashed anywhere (`tests/life`).

use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use tidelog::disk::sim::{SimDisk, run};
use tidelog::{Column, ColumnId, Durability, Kind, Options, Schema, Value, Writer};

use super::world::{Cell, Row, World, all, all_kinds, calm_disk, rows_of, small_options};

fn buffered() -> Options {
    small_options().durability(Durability::Buffered)
}

/// What a process that opens the store after a power cut finds.
fn after_a_power_cut(world: &World) -> Vec<Row> {
    let disk = world.disk.fork(7).power_cut();
    let found = run(&disk, async {
        let writer = Writer::open_on(disk.clone(), &world.dir, small_options()).await.unwrap();
        let (store, at) = (writer.store(), writer.store().snapshot());
        all(&store.reader(), &at).await.unwrap()
    });
    found.unwrap()
}

fn shown(world: &World) -> Vec<Row> {
    let store = world.store();
    world.run(all(&store.reader(), &store.snapshot())).unwrap()
}

#[test]
fn a_buffered_commit_is_shown_at_once_and_durable_at_the_next_sync() {
    let mut world = World::new(calm_disk(1), all_kinds(), buffered().inline_bytes(64 << 10));
    let before = world.disk.counts();
    (0..3).for_each(|_| world.commit(4));
    assert_eq!(world.disk.counts().writes, before.writes, "nothing was written");
    assert_eq!(shown(&world), world.rows);
    assert_eq!(after_a_power_cut(&world), []);

    // What is pending behind them is neither shown, nor synced, nor taken along when it is cleared.
    let snapshot = world.store().snapshot();
    let disk = world.disk.clone();
    let cells = world.rows[0].cells.clone();
    let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
    world.writer.pending().append(u64::MAX, &values).unwrap();
    run(&disk, world.writer.sync()).unwrap().unwrap();
    assert_eq!(world.disk.counts().writes, before.writes + 1, "one record holds them all");
    assert_eq!((world.writer.pending().rows(), world.writer.pending().next_row()), (1, 13));
    assert_eq!(after_a_power_cut(&world), world.rows);
    assert_eq!((shown(&world), snapshot.rows()), (world.rows.clone(), 12));
    world.writer.pending().clear();

    // And a second time, over rows that are durable.
    (0..3).for_each(|_| world.commit(4));
    world.writer.pending().append(u64::MAX, &values).unwrap();
    world.writer.pending().clear();
    assert_eq!(world.writer.pending().next_row(), 24);
    assert_eq!(shown(&world), world.rows);
    assert_eq!(after_a_power_cut(&world), world.rows[..12]);
    world.checkpoint();
    assert_eq!((after_a_power_cut(&world), shown(&world)), (world.rows.clone(), world.rows.clone()));
}

#[test]
fn a_commit_that_one_small_record_cannot_take_is_synced_with_all_before_it() {
    let mut world = World::new(calm_disk(2), all_kinds(), buffered());
    let mut synced = 0;
    for _ in 0..200 {
        let before = world.disk.counts().writes;
        world.commit(3);
        assert_eq!(shown(&world), world.rows);
        if world.disk.counts().writes > before {
            synced += 1;
            assert_eq!(after_a_power_cut(&world), world.rows);
        }
    }
    assert!((10..100).contains(&synced), "{synced} of 200 commits were synced");
    world.commit(250);
    assert_eq!(after_a_power_cut(&world), world.rows, "a large commit is synced");
    world.commit(1);
    let rows = world.rows.clone();
    let world = world.reopen();
    assert_eq!(
        (shown(&world), after_a_power_cut(&world)),
        (rows.clone(), rows),
        "close makes all of it durable"
    );
}

#[test]
fn notes_and_row_numbers_count_buffered_commits() {
    let mut world = World::new(calm_disk(3), all_kinds(), buffered());
    world.writer.pending().note(b"first").unwrap();
    world.commit(2);
    assert_eq!(world.store().snapshot().note(), Some(&b"first"[..]));
    world.writer.pending().expect_rows(2).unwrap();
    world.writer.pending().expect_rows(0).unwrap_err();
    world.commit(2);
    assert_eq!(world.writer.note().as_deref(), Some(&b"first"[..]));
    world.writer.pending().note(b"second").unwrap();
    world.writer.pending().clear();
    let disk = world.disk.clone();
    run(&disk, world.writer.sync()).unwrap().unwrap();
    let disk = world.disk.fork(1).power_cut();
    let writer = run(&disk, Writer::open_on(disk.clone(), &world.dir, small_options())).unwrap().unwrap();
    assert_eq!((writer.store().rows(), writer.note().as_deref()), (4, Some(&b"first"[..])));
}

#[test]
fn callers_of_an_appender_share_buffered_commits() {
    let disk = calm_disk(4);
    let schema = Schema::new([Column::new("text", Kind::Text)]).unwrap();
    let created = run(&disk, Writer::create_on(disk.clone(), "/store", schema, buffered()));
    let writer: Writer<SimDisk> = created.unwrap().unwrap();
    let (store, before) = (writer.store(), disk.counts().writes);
    let (appender, committer) = writer.share();
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let callers: Vec<_> = (0..20_u64)
        .map(|caller| {
            let appender = appender.clone();
            let call = async move {
                let mut rows = Vec::new();
                for _ in 0..5 {
                    let text = format!("caller {caller}");
                    rows.push((appender.append(1, &[Value::Text(&text)]).await.unwrap(), text));
                }
                rows
            };
            spawner.spawn_local_with_handle(call).unwrap()
        })
        .collect();
    drop(appender);
    let mut writer = pool.run_until(committer.run()).unwrap();
    let told = pool.run_until(futures::future::join_all(callers));
    assert_eq!((store.rows(), disk.counts().writes), (100, before), "nothing was written");
    pool.run_until(writer.sync()).unwrap();
    let reader = store.reader();
    for (row, text) in told.into_iter().flatten() {
        let at = store.snapshot();
        let found = pool.run_until(reader.values(&at, row, &[ColumnId(0)])).unwrap();
        assert_eq!(rows_of(&found)[0].cells[0].bytes(), text.as_bytes());
    }
}
