//! Lookups, single rows, slices.

use tidelog::{ColumnId, Error, Kind, Options, Position, Seek, Slice, Values};

use crate::world::{Cell, Row, World, all_kinds, calm_disk, one_column, rows_of, small_options};

fn expected(rows: &[Row], to: Seek) -> Option<Position> {
    let found = match to {
        Seek::First => rows.first(),
        Seek::Last => rows.last(),
        Seek::Key(key) => rows.iter().rfind(|row| row.key == key),
        Seek::AtOrBefore(key) => rows.iter().rfind(|row| row.key <= key),
        Seek::AtOrAfter(key) => rows.iter().find(|row| row.key >= key),
        Seek::Row(row) => rows.get(usize::try_from(row).unwrap()),
    };
    let found = found?;
    let before = usize::try_from(found.row).unwrap().checked_sub(1);
    Some(Position { row: found.row, key: found.key, previous_key: before.map(|before| rows[before].key) })
}

fn check_seeks(world: &World, keys: impl Iterator<Item = u64>) {
    let (store, reader) = (world.store(), world.store().reader());
    let at = store.snapshot();
    let check = |to: Seek| {
        let found = world.run(reader.seek(&at, to)).unwrap();
        assert_eq!(found, expected(&world.rows, to), "{to:?} in {} rows", world.rows.len());
    };
    check(Seek::First);
    check(Seek::Last);
    for key in keys.chain([0, 1, u64::MAX - 1, u64::MAX]) {
        check(Seek::Key(key));
        check(Seek::AtOrBefore(key));
        check(Seek::AtOrAfter(key));
        check(Seek::Row(key));
    }
}

#[test]
fn every_key_is_found() {
    let mut world = World::new(calm_disk(1), one_column(Kind::U32), small_options().cache_bytes(0));
    check_seeks(&world, [].into_iter());
    for rows in [1, 2, 299, 300, 301, 600, 900] {
        world.fill(rows);
        let keys: Vec<u64> = world.rows.iter().map(|row| row.key).step_by(1 + rows / 100).collect();
        check_seeks(&world, keys.iter().flat_map(|key| [key.saturating_sub(1), *key, key + 1]));
        if rows == 600 {
            world.checkpoint();
            world = world.reopen();
        }
    }
}

#[test]
fn extreme_keys_are_found() {
    for keys in [[0, 0, 0], [0, 0, u64::MAX], [u64::MAX, u64::MAX, u64::MAX], [0, 7, u64::MAX]] {
        let mut world = World::new(calm_disk(2), one_column(Kind::Bool), small_options());
        for key in keys {
            for _ in 0..200 {
                world.append(key, vec![Cell::Bool(true)]);
            }
            world.flush();
            check_seeks(&world, 5..9);
        }
        world.checkpoint();
        check_seeks(&world, 5..9);
    }
}

#[test]
fn equal_keys_across_chunks_are_found() {
    for each in [1_u64, 3, 8191, 8192, 50_000] {
        let options = Options::default().segment_rows(30_000).log_bytes(1 << 20);
        let mut world = World::new(calm_disk(3), one_column(Kind::U32), options);
        for count in [20_000_u64, 10_000, 8_193, 1, 20_000] {
            let base = world.rows.len() as u64;
            let keys: Vec<u64> = (base..base + count).map(|row| 2 * (row / each)).collect();
            let values = vec![7; keys.len()];
            world.writer.pending().append_batch(&keys, &[Values::U32(&values)]).unwrap();
            let row = |(row, key): (u64, &u64)| Row { row, key: *key, cells: vec![Cell::U32(7)] };
            world.rows.extend((base..).zip(&keys).map(row));
            world.flush();
        }
        let edges = [0, 8191, 8192, 8193, 16_384, 19_999, 20_000, 29_999, 30_000, 38_192, 38_193, 58_193];
        check_seeks(
            &world,
            edges.into_iter().flat_map(|row| [2 * (row / each), 2 * (row / each) + 1]).chain(edges),
        );
    }
}

#[test]
fn a_row_is_found_by_its_number() {
    for seed in 0..3 {
        let mut world = World::new(calm_disk(seed), all_kinds(), small_options());
        world.fill(800);
        for _ in 0..2 {
            let (at, reader) = (world.store().snapshot(), world.store().reader());
            let columns = world.columns();
            for row in (0..800).step_by(7).chain([299, 300, 301, 599, 600, 799]) {
                let batch = world.run(reader.values(&at, row, &columns)).unwrap();
                assert_eq!(rows_of(&batch), [world.rows[usize::try_from(row).unwrap()].clone()]);
            }
            let some = [ColumnId(16), ColumnId(3)];
            let batch = world.run(reader.values(&at, 5, &some)).unwrap();
            let cells = [world.rows[5].cells[16].clone(), world.rows[5].cells[3].clone()];
            assert_eq!(rows_of(&batch)[0].cells, cells);
            assert!(world.run(reader.values(&at, 5, &[])).unwrap().columns().is_empty());
            let beyond = world.run(reader.values(&at, 800, &columns)).unwrap_err();
            assert!(matches!(beyond, Error::Limit { given: 800, max: 800, .. }), "{beyond}");
            let twice = world.run(reader.values(&at, 5, &[ColumnId(1), ColumnId(1)])).unwrap_err();
            assert!(matches!(twice, Error::Schema { index: 1, .. }), "{twice}");
            world = world.reopen();
        }
    }
}

#[test]
fn slices_are_parts_of_values() {
    let options = small_options().cache_bytes(100 << 10);
    let mut world = World::new(calm_disk(4), all_kinds(), options);
    world.fill(900);
    for reads in 0..2 {
        let (at, reader) = (world.store().snapshot(), world.store().reader());
        for column in [7, 8, 16, 17] {
            for _ in 0..30 {
                let mut parts = Vec::new();
                let mut expected = Vec::new();
                for _ in 0..world.random.below(40) {
                    let row = world.random.index(900);
                    let bytes = world.rows[row].cells[column].bytes();
                    let start = world.random.index(bytes.len() + 1);
                    let end = start + world.random.index(bytes.len() - start + 1);
                    parts.push(Slice { row: row as u64, range: start as u64..end as u64 });
                    expected.push(bytes[start..end].to_vec());
                }
                let id = ColumnId(u32::try_from(column).unwrap());
                assert_eq!(world.run(reader.slices(&at, id, &parts)).unwrap(), expected, "{reads}");
            }
        }
        world = world.reopen();
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let mut world = World::new(calm_disk(4), all_kinds(), small_options());
    world.fill(400);
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let row = world.rows.iter().position(|row| row.cells[7].bytes().len() == 9).unwrap() as u64;
    let null = world.rows.iter().position(|row| row.cells[16] == Cell::Null).unwrap() as u64;
    let one = |column, row, range: std::ops::Range<u64>| {
        let parts = [Slice { row: 0, range: 0..0 }, Slice { row, range }];
        world.run(reader.slices(&at, ColumnId(column), &parts))
    };
    assert!(one(7, row, 0..9).is_ok());
    let error = one(7, row, 3..10).unwrap_err();
    assert!(
        matches!(&error, Error::Limit { given: 10, max: 9, what } if what.contains("position 1")),
        "{error}"
    );
    #[expect(clippy::reversed_empty_ranges, reason = "that is what must be refused")]
    let error = one(7, row, 5..3).unwrap_err();
    assert!(
        matches!(&error, Error::Limit { given: 5, max: 3, what } if what.contains("position 1")),
        "{error}"
    );
    let error = one(7, row, u64::MAX..u64::MAX).unwrap_err();
    assert!(matches!(error, Error::Limit { given: u64::MAX, max: 9, .. }), "{error}");
    let error = one(7, 400, 0..0).unwrap_err();
    assert!(
        matches!(&error, Error::Limit { given: 400, max: 400, what } if what.contains("position 1")),
        "{error}"
    );
    assert_eq!(one(16, null, 0..0).unwrap()[1], []);
    let error = one(16, null, 0..1).unwrap_err();
    assert!(matches!(error, Error::Limit { given: 1, max: 0, .. }), "{error}");
    let error = one(2, row, 0..0).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "f64"), "{error}");
    let error = one(40, row, 0..0).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "40"), "{error}");
}
