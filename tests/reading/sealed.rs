//! Sealed segments answer as the raw ones did that they were made of, bit for bit.
//!
//! Not here: what sealing writes (`src/store/seal`), crashes (`tests/crash.rs`).

use std::ops::Range;

use tidelog::disk::sim::SimDisk;
use tidelog::{
    Aggregate, Column, ColumnId, Error, Kind, Maintain, Maintained, Options, Schema, Seek, SegmentState,
    Slice, Snapshot, Store, Sum, Tier, Value, Window, check_on,
};

use super::world::{
    self, Cell, KINDS, Row, World, all_kinds, calm_disk, cell, collect, one_column, small_options,
};

/// Seals whatever is finished; how many segments that were.
fn seal(world: &mut World) -> usize {
    let (store, mut count) = (world.store(), 0);
    while let Maintained::Sealed { .. } = world.run(store.maintain(Maintain::Seal)).unwrap() {
        world.checkpoint();
        count += 1;
    }
    count
}

/// Rewrites whatever is worth it; how often.
fn compact(world: &mut World, tier: Tier) -> usize {
    let (store, mut count) = (world.store(), 0);
    while let Maintained::Compacted { .. } = world.run(store.maintain(Maintain::Compact(tier))).unwrap() {
        world.checkpoint();
        count += 1;
    }
    count
}

fn sealed_segments(store: &Store<SimDisk>) -> usize {
    store.stats().segments.iter().filter(|segment| segment.state == SegmentState::Sealed).count()
}

/// Keys in stretches of even steps and of uneven ones; values that each codec likes.
fn fill(world: &mut World, rows: usize, batch: usize) {
    let schema = world.writer.schema().clone();
    let mut key = world.rows.last().map_or(1000, |row| row.key);
    let mut walk = 100.0_f64;
    while world.rows.len() < rows {
        for _ in 0..batch.min(rows - world.rows.len()) {
            let row = world.rows.len();
            key += if (row / 20_000).is_multiple_of(2) { 10 } else { world.random.below(4) };
            walk += [-0.01, 0.0, 0.01][world.random.index(3)];
            let walk = (walk * 100.0).round() / 100.0;
            let value = |(index, column): (usize, &Column)| {
                let drawn = cell(&mut world.random, column);
                // Each column changes its ways in the middle of a row group.
                match (drawn, row / 5000 % 3) {
                    (Cell::Null, 0) if index % 2 == 0 => Cell::Null,
                    (Cell::F64(_), 0 | 1) => Cell::F64(walk.to_bits()),
                    (Cell::F32(bits), 0) => {
                        Cell::F32(f32::from(u16::try_from(bits % 4000).unwrap()).to_bits())
                    }
                    (Cell::U64(bits), 1) => Cell::U64(bits % 5),
                    (Cell::I32(_), 1) => Cell::I32(-7),
                    (Cell::Bool(_), 0) => Cell::Bool(true),
                    (drawn, _) => drawn,
                }
            };
            let cells = schema.columns().iter().enumerate().map(value).collect();
            world.append(key, cells);
        }
        world.flush();
    }
}

fn fixed_kinds() -> Schema {
    let kinds = KINDS.iter().filter(|kind| kind.width().is_some());
    let strict = kinds.clone().map(|kind| Column::new(format!("{kind}"), *kind));
    Schema::new(strict.chain(kinds.map(|kind| Column::new(format!("{kind}?"), *kind).nullable()))).unwrap()
}

/// Equal bit by bit.
fn bits(aggregate: &Aggregate) -> String {
    let cell = |value: Option<Value<'static>>| value.map(Cell::of);
    let sum = match aggregate.sum {
        Sum::Integer(sum) => format!("{sum}"),
        Sum::Float(sum) if sum.is_nan() => "NaN".to_owned(),
        Sum::Float(sum) => format!("{:x}", sum.to_bits()),
    };
    let Aggregate { rows, count, min, max, first, last, .. } = *aggregate;
    format!("{rows} {count} {:?} {:?} {sum} {:?} {:?}", cell(min), cell(max), cell(first), cell(last))
}

/// All questions whose answers should be the same, of one snapshot.
struct Questions<'a> {
    world: &'a World,
    store: Store<SimDisk>,
    at: Snapshot,
}

impl Questions<'_> {
    fn check_scans(&self, keys: &Range<u64>, columns: &[ColumnId]) {
        let reader = self.store.reader();
        let wanted: Vec<Row> = self.expected(keys, columns);
        let scan = || reader.scan(&self.at, keys.clone()).columns(columns);
        assert!(self.world.run(collect(scan())).unwrap() == wanted, "{keys:?} {columns:?}");
        let mut backward = self.world.run(collect(scan().reverse().batch_rows(700))).unwrap();
        backward.reverse();
        assert!(backward == wanted, "in reverse: {keys:?} {columns:?}");
        let some = self.world.run(collect(scan().limit(333).batch_rows(50))).unwrap();
        assert!(some == wanted[..wanted.len().min(333)], "the first: {keys:?} {columns:?}");
        let last = self.world.run(collect(scan().limit(20_001).reverse())).unwrap();
        assert!(last.iter().rev().eq(&wanted[wanted.len().saturating_sub(20_001)..]), "the last: {keys:?}");
    }

    fn expected(&self, keys: &Range<u64>, columns: &[ColumnId]) -> Vec<Row> {
        let inside = self.world.rows.iter().filter(|row| keys.contains(&row.key));
        let chosen = inside.map(|row| Row {
            cells: columns.iter().map(|id| row.cells[id.0 as usize].clone()).collect(),
            ..row.clone()
        });
        chosen.collect()
    }

    fn check_points(&self, rows: &[u64]) {
        let reader = self.store.reader();
        let columns = self.world.columns();
        for row in rows {
            let expected = &self.world.rows[usize::try_from(*row).unwrap()];
            let found = self.world.run(reader.values(&self.at, *row, &columns)).unwrap();
            assert_eq!(world::rows_of(&found), std::slice::from_ref(expected));
            let position = self.world.run(reader.seek(&self.at, Seek::Row(*row))).unwrap().unwrap();
            let before =
                row.checked_sub(1).map(|before| self.world.rows[usize::try_from(before).unwrap()].key);
            assert_eq!((position.key, position.previous_key), (expected.key, before));
            for key in [expected.key.saturating_sub(1), expected.key, expected.key + 1] {
                let position = |found: Option<tidelog::Position>| found.map(|position| position.row);
                let keys = || self.world.rows.iter().map(|row| row.key);
                let or_before = keys().rposition(|known| known <= key).map(|row| row as u64);
                let or_after = keys().position(|known| known >= key).map(|row| row as u64);
                let exact =
                    or_before.filter(|row| self.world.rows[usize::try_from(*row).unwrap()].key == key);
                let seek = |to| position(self.world.run(reader.seek(&self.at, to)).unwrap());
                assert_eq!(seek(Seek::AtOrBefore(key)), or_before, "{key}");
                assert_eq!(seek(Seek::AtOrAfter(key)), or_after, "{key}");
                assert_eq!(seek(Seek::Key(key)), exact, "{key}");
            }
        }
    }

    /// Parts of values of bytes and text.
    fn check_slices(&self, rows: &[u64]) {
        let reader = self.store.reader();
        let schema = self.world.writer.schema().clone();
        let is_text = |id: &ColumnId| schema.columns()[id.0 as usize].kind().width().is_none();
        for column in self.world.columns().into_iter().filter(is_text) {
            let value =
                |row: u64| self.world.rows[usize::try_from(row).unwrap()].cells[column.0 as usize].bytes();
            let part = |row: &u64| {
                let len = value(*row).len() as u64;
                Slice { row: *row, range: len / 3..len - len / 4 }
            };
            let parts: Vec<Slice> = rows.iter().map(part).collect();
            let found = self.world.run(reader.slices(&self.at, column, &parts)).unwrap();
            let place = |at: u64| usize::try_from(at).unwrap();
            for (part, found) in parts.iter().zip(found) {
                assert_eq!(found, value(part.row)[place(part.range.start)..place(part.range.end)]);
            }
            let len = value(rows[0]).len() as u64;
            let beyond = [Slice { row: rows[0], range: 0..len + 1 }];
            let refused = self.world.run(reader.slices(&self.at, column, &beyond));
            assert!(matches!(refused, Err(Error::Limit { max, .. }) if max == len));
        }
    }

    async fn aggregates(&self, keys: &Range<u64>, column: ColumnId) -> Result<String, Error> {
        let reader = self.store.reader();
        Ok(bits(&reader.aggregate(&self.at, keys.clone(), column).await?))
    }

    async fn windows(&self, keys: &Range<u64>, step: u64, column: ColumnId) -> Result<Vec<String>, Error> {
        let reader = self.store.reader();
        let mut windows = reader.aggregate_every(&self.at, keys.clone(), step, column);
        let mut found = Vec::new();
        while let Some(Window { start, aggregate, .. }) = windows.next().await? {
            found.push(format!("{start}: {}", bits(&aggregate)));
        }
        Ok(found)
    }
}

fn numeric(world: &World) -> Vec<ColumnId> {
    let schema = world.writer.schema().clone();
    let is_numeric = |id: &ColumnId| {
        !matches!(schema.columns()[id.0 as usize].kind(), Kind::Bool | Kind::Bytes | Kind::Text)
    };
    world.columns().into_iter().filter(is_numeric).collect()
}

/// Seals, and asks everything of the raw segments, which a snapshot holds, and of the sealed ones; then of these, which
/// one holds too, and of what they were compacted to.
fn ask(mut world: World, ranges: usize, tier: Tier) {
    let raw = world.store().snapshot();
    let sealed = seal(&mut world);
    assert!(sealed >= 2 && sealed_segments(&world.store()) == sealed, "{sealed} were sealed");
    compare(&mut world, &raw, ranges);
    let before = world.store().snapshot();
    assert!(compact(&mut world, tier) > 0 && sealed_segments(&world.store()) < sealed);
    compare(&mut world, &before, ranges);
    compare(&mut world, &raw, 1);
}

/// Asks everything of what there is now, and of what there was.
fn compare(world: &mut World, then: &Snapshot, ranges: usize) {
    let checked = world.run(check_on(world.disk.clone(), &world.dir, Options::default())).unwrap();
    assert!(checked.is_intact(), "{checked:?}");
    let (first, last) = (world.rows[0].key, world.rows.last().unwrap().key);
    let mut keys = vec![0..u64::MAX, first..last, last..last + 1, 0..first];
    let mut rows = vec![0, world.rows.len() as u64 - 1];
    for _ in 0..ranges {
        let one = first + world.random.below(last - first);
        let other = first + world.random.below(last - first);
        keys.push(one.min(other)..one.max(other));
        rows.push(world.random.below(world.rows.len() as u64));
    }
    let pick =
        |random: &mut tidelog::disk::sim::Random, columns: &[ColumnId]| columns[random.index(columns.len())];
    let numbers = numeric(world);
    let picks: Vec<(ColumnId, ColumnId, ColumnId)> = keys
        .iter()
        .map(|_| {
            let columns = world.columns();
            (
                pick(&mut world.random, &columns),
                pick(&mut world.random, &columns),
                pick(&mut world.random, &numbers),
            )
        })
        .collect();
    let world = &*world;
    let now = Questions { store: world.store(), at: world.store().snapshot(), world };
    let then = Questions { store: world.store(), at: then.clone(), world };
    then.check_scans(&keys[4], &world.columns());
    now.check_scans(&(0..u64::MAX), &world.columns());
    now.check_scans(&(0..u64::MAX), &[]);
    now.check_points(&rows);
    now.check_slices(&rows);
    for (keys, (one, other, number)) in keys.iter().zip(picks) {
        let columns = if one == other { vec![one] } else { vec![other, one] };
        now.check_scans(keys, &columns);
        for column in [number, numbers[2], numbers[7]] {
            let (sealed, raw) =
                (world.run(now.aggregates(keys, column)), world.run(then.aggregates(keys, column)));
            assert_eq!(sealed.unwrap(), raw.unwrap(), "{keys:?} of {column:?}");
        }
        for step in [1000, 70_000, 250_000, u64::MAX] {
            let (sealed, raw) = (now.windows(keys, step, number), then.windows(keys, step, number));
            assert_eq!(world.run(sealed).unwrap(), world.run(raw).unwrap(), "{keys:?} of {number:?}, {step}");
        }
    }
}

#[test]
fn sealed_rows_are_the_rows_that_were_sealed() {
    let options = Options::default().log_bytes(1 << 20).segment_rows(23_000).grow_bytes(4096, 64 << 10);
    let mut world = World::new(calm_disk(31), all_kinds(), options.cache_bytes(1 << 20));
    fill(&mut world, 60_000, 1500);
    ask(world, 8, Tier::Dense);
}

#[test]
fn many_small_segments_share_a_row_group() {
    let mut world = World::new(SimDisk::new(32), all_kinds(), small_options().cache_bytes(20_000));
    fill(&mut world, 4000, 70);
    ask(world, 12, Tier::Fast);
}

#[test]
fn filters_give_the_rows_whose_values_pass() {
    let options = Options::default().log_bytes(1 << 20).segment_rows(20_000).grow_bytes(4096, 64 << 10);
    let mut world = World::new(calm_disk(33), fixed_kinds(), options);
    fill(&mut world, 50_000, 2000);
    assert_eq!(seal(&mut world), 2);
    let (store, reader) = (world.store(), world.store().reader());
    let at = store.snapshot();
    let columns = [ColumnId(3), ColumnId(12)];
    let floats = ColumnId(2);
    for (from, to) in [(99.0, 100.5), (0.0, 1e9), (100.0, 100.0), (-1.0, -2.0), (100.1, 100.2)] {
        let passes = |row: &&Row| match row.cells[2] {
            Cell::F64(bits) => f64::from_bits(bits) >= from && f64::from_bits(bits) < to,
            _ => false,
        };
        let expected: Vec<Row> = world
            .rows
            .iter()
            .filter(passes)
            .map(|row| Row { cells: vec![row.cells[3].clone(), row.cells[12].clone()], ..row.clone() })
            .collect();
        let scan = || reader.scan(&at, ..).columns(&columns).filter(floats, Value::F64(from)..Value::F64(to));
        assert!(world.run(collect(scan())).unwrap() == expected, "{from} to {to}");
        let mut backward = world.run(collect(scan().reverse())).unwrap();
        backward.reverse();
        assert!(backward == expected, "{from} to {to}, in reverse");
        let first = world.run(collect(scan().limit(5).batch_rows(3))).unwrap();
        assert!(first == expected[..expected.len().min(5)], "{from} to {to}, the first 5");
    }
    let both = reader
        .scan(&at, ..)
        .filter(ColumnId(0), ..Value::U64(3))
        .filter(ColumnId(4), Value::I32(-7)..=Value::I32(-7));
    let expected = world
        .rows
        .iter()
        .filter(|row| matches!(row.cells[0], Cell::U64(0..3)) && row.cells[4] == Cell::I32(-7));
    assert!(world.run(collect(both)).unwrap().iter().eq(expected));
    for (column, values) in
        [(ColumnId(6), Value::Bool(true)), (floats, Value::F32(1.0)), (ColumnId(99), Value::U64(1))]
    {
        let scan = reader.scan(&at, ..).filter(column, values..);
        assert!(matches!(world.run(collect(scan)), Err(Error::Schema { .. })), "{column:?}");
    }
    let scan = reader.scan(&at, ..).intervals().filter(floats, Value::F64(0.0)..);
    assert!(matches!(world.run(collect(scan)), Err(Error::Unsupported { .. })));
}

#[test]
fn blocks_that_are_too_long_to_be_kept_are_read_in_pieces() {
    let options = Options::default().log_bytes(1 << 20).segment_rows(60).memory_bytes(64 << 20);
    let mut world = World::new(calm_disk(34), one_column(Kind::Bytes), options);
    while world.rows.len() < 130 {
        let len = [0, 10, 40_000, 250_000, 250_000, 1 << 20][world.random.index(6)];
        let mut bytes = vec![7; len];
        world.random.fill(&mut bytes[len / 2..]);
        world.append(world.rows.len() as u64, vec![Cell::Bytes(bytes)]);
        if world.rows.len().is_multiple_of(20) {
            world.flush();
        }
    }
    world.flush();
    assert_eq!(seal(&mut world), 2);
    assert!(world.store().stats().segments[0].bytes > 3 << 20);
    for tier in [None, Some(Tier::Fast), Some(Tier::Dense)] {
        assert!(tier.is_none_or(|tier| compact(&mut world, tier) == 1));
        let store = world.store();
        let now = Questions { at: store.snapshot(), store, world: &world };
        now.check_scans(&(0..u64::MAX), &[ColumnId(0)]);
        now.check_points(&[0, 1, 17, 59, 60, 119, 120, 129]);
        now.check_slices(&[3, 4, 5, 58, 61, 100, 125]);
        let checked = world.run(check_on(world.disk.clone(), &world.dir, Options::default())).unwrap();
        assert!(checked.is_intact(), "{checked:?}");
    }
}

/// A file that was removed takes space as long as somebody has it open: a reader keeps none that no snapshot needs.
#[test]
fn a_reader_gives_back_files_that_were_compacted_away() {
    let mut world = World::new(calm_disk(35), all_kinds(), small_options());
    fill(&mut world, 1000, 70);
    assert!(seal(&mut world) >= 3);
    let (store, reader) = (world.store(), world.store().reader());
    let check = |world: &World| {
        let at = store.snapshot();
        assert!(world.run(collect(reader.scan(&at, ..))).unwrap() == world.rows);
    };
    check(&world);
    let segments = store.stats().segments;
    assert_eq!(compact(&mut world, Tier::Fast), 1);
    let now = store.stats().segments;
    let is_gone = |old: &&tidelog::SegmentStats| now.iter().all(|segment| segment.number != old.number);
    let gone: Vec<u64> = segments.iter().filter(is_gone).map(|segment| segment.bytes).collect();
    assert!(gone.len() >= 3);
    let used = world.disk.used_space();
    check(&world);
    let freed = used - world.disk.used_space();
    assert!(freed >= gone.iter().sum(), "{freed} bytes of {gone:?} are free");
}
