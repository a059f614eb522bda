//! Scans: any range, order, columns, batches.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use tidelog::disk::sim::{Settings, SimDisk};
use tidelog::{Column, ColumnId, Error, Kind, Options, Schema, Values};

use crate::world::{
    Cell, Row, World, all, all_kinds, calm_disk, collect, one_column, rows_of, small_options,
};

#[test]
fn a_scan_gives_back_every_row_of_every_kind() {
    for seed in 0..6 {
        let mut world = World::new(SimDisk::new(seed), all_kinds(), small_options());
        world.fill(1500);
        for reopened in [false, true] {
            if reopened {
                world = world.reopen();
            }
            let (store, reader) = (world.store(), world.store().reader());
            let rows = world.run(all(&reader, &store.snapshot())).unwrap();
            assert_eq!(rows.len(), world.rows.len());
            for (found, expected) in rows.iter().zip(&world.rows) {
                assert_eq!(found, expected, "seed {seed}");
            }
        }
    }
}

#[test]
fn short_reads_are_completed() {
    let settings = Settings { short: 0.4, ..Settings::from_seed(1) };
    let mut world = World::new(SimDisk::with_settings(1, settings), all_kinds(), small_options());
    world.fill(900);
    let reader = world.store().reader();
    assert_eq!(world.run(all(&reader, &world.store().snapshot())).unwrap(), world.rows);
}

fn is_in(key: u64, start: Bound<u64>, end: Bound<u64>) -> bool {
    let behind_start = match start {
        Included(start) => key >= start,
        Excluded(start) => key > start,
        Unbounded => true,
    };
    let before_end = match end {
        Included(end) => key <= end,
        Excluded(end) => key < end,
        Unbounded => true,
    };
    behind_start && before_end
}

fn bounds(keys: &[u64]) -> Vec<Bound<u64>> {
    keys.iter().flat_map(|key| [Included(*key), Excluded(*key)]).chain([Unbounded]).collect()
}

/// Scans every range between these keys, in both orders, with limits and batches of several sizes.
fn check_ranges(world: &mut World, keys: &[u64]) {
    let (store, reader) = (world.store(), world.store().reader());
    let at = store.snapshot();
    assert_eq!(at.rows(), world.rows.len() as u64);
    let column = [ColumnId(0)];
    for start in bounds(keys) {
        for end in bounds(keys) {
            let mut expected: Vec<Row> =
                world.rows.iter().filter(|row| is_in(row.key, start, end)).cloned().collect();
            expected.iter_mut().for_each(|row| row.cells.truncate(1));
            let limit = [u64::MAX, 0, 1, 5, expected.len() as u64][world.random.index(5)];
            let batch_rows = [0, 1, 7, 64, usize::MAX][world.random.index(5)];
            let reverse = world.random.coin();
            if reverse {
                expected.reverse();
            }
            expected.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let scan = reader.scan(&at, (start, end)).columns(&column).limit(limit).batch_rows(batch_rows);
            let scan = if reverse { scan.reverse() } else { scan };
            let found = world.run(collect(scan)).unwrap();
            assert!(
                found == expected,
                "{start:?} {end:?} reverse {reverse} limit {limit} batches {batch_rows}"
            );
        }
    }
}

#[test]
fn any_range_gives_its_rows() {
    for seed in 0..4 {
        let mut world = World::new(calm_disk(seed), all_kinds(), small_options());
        let column = |world: &mut World| -> Vec<Cell> {
            let schema = world.writer.schema().clone();
            schema.columns().iter().map(|column| crate::world::cell(&mut world.random, column)).collect()
        };
        // Key 0 several times, and `u64::MAX` at the end.
        for _ in 0..5 {
            let cells = column(&mut world);
            world.append(0, cells);
        }
        world.flush();
        world.fill(1000);
        let last = world.rows.last().unwrap().key;
        check_ranges(&mut world, &[0, 1, 2, last / 2, last - 1, last, last + 1, u64::MAX]);
        for _ in 0..400 {
            let cells = column(&mut world);
            world.append(u64::MAX, cells);
        }
        world.flush();
        check_ranges(&mut world, &[0, last, last + 1, u64::MAX - 1, u64::MAX]);
        world = world.reopen();
        check_ranges(&mut world, &[0, 3, last, u64::MAX]);
    }
}

/// Appends rows of one `u32` column, many at a time.
fn append_many(world: &mut World, keys: impl Iterator<Item = u64>) {
    let keys: Vec<u64> = keys.collect();
    let base = u32::try_from(world.rows.len()).unwrap();
    let values: Vec<u32> = (base..).take(keys.len()).collect();
    let rows = world.writer.pending().append_batch(&keys, &[Values::U32(&values)]).unwrap();
    let new =
        rows.zip(keys).zip(values).map(|((row, key), value)| Row { row, key, cells: vec![Cell::U32(value)] });
    world.rows.extend(new);
    world.flush();
}

/// Segments of many chunks of keys: equal keys go on from chunk to chunk and from segment to segment.
#[test]
fn equal_keys_across_chunks_and_segments_all_come() {
    let options = Options::default().segment_rows(20_000).log_bytes(1 << 20).grow_bytes(4096, 1 << 20);
    for each in [1, 5000, 100_000] {
        let mut world = World::new(calm_disk(each), one_column(Kind::U32), options.clone());
        for commit in [15_000_u64, 4_500, 1, 12_500, 3_000, 8192] {
            let base = world.rows.len() as u64;
            append_many(&mut world, (base..base + commit).map(|row| 10 + row / each));
        }
        let last = world.rows.last().unwrap().key;
        check_ranges(&mut world, &[10, 11, 10 + 8192 / each, last / 2, last]);
        world.checkpoint();
        check_ranges(&mut world, &[9, 10, last, last + 1]);
    }
}

#[test]
fn an_empty_store_and_an_empty_active_segment_have_no_surprises() {
    let mut world = World::new(calm_disk(3), all_kinds(), small_options());
    check_ranges(&mut world, &[0, 7, u64::MAX]);
    // Exactly full segments: the next commit rolls, and none comes.
    world.commit(300);
    world.commit(1);
    world.commit(299);
    check_ranges(&mut world, &[0, 7, u64::MAX]);
    world = world.reopen();
    check_ranges(&mut world, &[0, 7, u64::MAX]);
}

#[test]
fn chosen_columns_come_in_the_chosen_order() {
    let mut world = World::new(calm_disk(5), all_kinds(), small_options());
    world.fill(700);
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    for columns in [vec![], vec![17], vec![8, 0, 16], (0..18).rev().collect::<Vec<u32>>()] {
        let mut expected = world.rows.clone();
        for row in &mut expected {
            row.cells = columns.iter().map(|column| row.cells[*column as usize].clone()).collect();
        }
        let ids: Vec<ColumnId> = columns.iter().copied().map(ColumnId).collect();
        assert!(world.run(collect(reader.scan(&at, ..).columns(&ids).batch_rows(100))).unwrap() == expected);
        expected.reverse();
        assert!(world.run(collect(reader.scan(&at, ..).columns(&ids).reverse())).unwrap() == expected);
    }
    let wrong = |columns: &[ColumnId]| world.run(collect(reader.scan(&at, ..).columns(columns)));
    let twice = wrong(&[ColumnId(2), ColumnId(0), ColumnId(2)]);
    assert!(matches!(&twice, Err(Error::Schema { column, index: 2, .. }) if column == "f64"), "{twice:?}");
    let unknown = wrong(&[ColumnId(18)]);
    assert!(matches!(&unknown, Err(Error::Schema { column, index: 0, .. }) if column == "18"), "{unknown:?}");
}

#[test]
fn rows_can_be_chosen_by_number_and_keys_left_out() {
    let mut world = World::new(calm_disk(6), all_kinds(), small_options());
    world.fill(700);
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    for (from, to) in [(0, 700), (0, 1), (299, 301), (650, 9999), (700, 701), (400, 400)] {
        let expected = &world.rows[from.min(700)..to.min(700)];
        let rows = from as u64..to as u64;
        assert_eq!(world.run(collect(reader.scan(&at, ..).rows(rows.clone()))).unwrap(), expected);
        let count = world.run(async {
            let mut scan = reader.scan(&at, ..).rows(rows).without_keys().reverse().batch_rows(50);
            let mut count = 0;
            while let Some(batch) = scan.next().await.unwrap() {
                assert!(batch.keys().is_empty());
                for index in 0..batch.len() {
                    let row = &expected[expected.len() - 1 - count];
                    assert_eq!(batch.row(index), Some(row.row));
                    let cells: Vec<Cell> =
                        batch.columns().iter().map(|(_, v)| Cell::of(v.value(index).unwrap())).collect();
                    assert_eq!(cells, row.cells);
                    count += 1;
                }
            }
            count
        });
        assert_eq!(count, expected.len());
    }
}

#[test]
fn batches_end_where_they_should() {
    let mut world = World::new(calm_disk(7), all_kinds(), small_options());
    world.fill(650);
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let lengths = |batch_rows| -> Vec<usize> {
        world.run(async {
            let mut scan = reader.scan(&at, ..).columns(&[]).batch_rows(batch_rows);
            let mut lengths = Vec::new();
            while let Some(batch) = scan.next().await.unwrap() {
                lengths.push(batch.len());
            }
            lengths
        })
    };
    assert!(lengths(7).iter().all(|len| *len <= 7));
    assert!(lengths(usize::MAX).iter().all(|len| *len <= 300));
    assert_eq!(lengths(0).len(), 650);
}

#[test]
fn batches_of_large_values_have_fewer_rows() {
    let schema = Schema::new([Column::new("b", Kind::Bytes).nullable()]).unwrap();
    let options = Options::default().grow_bytes(1 << 20, 1 << 20);
    let mut world = World::new(calm_disk(8), schema, options);
    for (row, len) in [3 << 20, 0, 20 << 20, 1, 9 << 20, 9 << 20, 2 << 20].into_iter().enumerate() {
        let mut bytes = vec![0; len];
        world.random.fill(&mut bytes);
        world.append(row as u64, vec![Cell::Bytes(bytes)]);
        world.append(row as u64, vec![Cell::Null]);
        world.flush();
    }
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    for reverse in [false, true] {
        let mut expected = world.rows.clone();
        let scan = reader.scan(&at, ..);
        let mut scan = if reverse { scan.reverse() } else { scan };
        if reverse {
            expected.reverse();
        }
        let mut lengths = Vec::new();
        world.run(async {
            let mut found = Vec::new();
            while let Some(batch) = scan.next().await.unwrap() {
                lengths.push(batch.len());
                found.extend(rows_of(&batch));
            }
            assert!(found == expected);
        });
        assert!(lengths.len() >= 4, "{lengths:?}");
    }
}

#[test]
fn a_store_without_columns_has_keys() {
    let schema = Schema::new([]).unwrap();
    let mut world = World::new(calm_disk(9), schema, small_options());
    world.fill(1000);
    let reader = world.store().reader();
    assert_eq!(world.run(all(&reader, &world.store().snapshot())).unwrap(), world.rows);
}

#[test]
fn a_dropped_future_loses_no_row() {
    let mut world = World::new(calm_disk(10), all_kinds(), small_options());
    world.fill(700);
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    for polls in 1..12 {
        for reverse in [false, true] {
            let scan = reader.scan(&at, 3..).batch_rows(40);
            let mut scan = if reverse { scan.reverse() } else { scan };
            let mut expected: Vec<Row> = world.rows.iter().filter(|row| row.key >= 3).cloned().collect();
            if reverse {
                expected.reverse();
            }
            let mut found = Vec::new();
            loop {
                let next = match tidelog::disk::sim::poll_times(scan.next(), polls) {
                    Some(next) => next.unwrap(),
                    None => world.run(scan.next()).unwrap(),
                };
                match next {
                    Some(batch) => found.extend(rows_of(&batch)),
                    None => break,
                }
            }
            assert!(found == expected, "{polls} polls, reverse {reverse}");
        }
    }
}
