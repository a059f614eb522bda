//! Aggregates against the rows themselves.
//!
//! Not here: the order of sums to the bit (`src/statistics.rs`).

use tidelog::disk::sim::SimDisk;
use tidelog::{Aggregate, ColumnId, Error, Kind, Sum, Value, Window};

use super::world::{Cell, KINDS, Row, World, all_kinds, calm_disk, one_column, small_options};

fn is_numeric(kind: Kind) -> bool {
    !matches!(kind, Kind::Bool | Kind::Bytes | Kind::Text)
}

/// As a float, for sums of floats, and as an integer, for the others.
fn numbers(value: &Value<'_>) -> (f64, i128) {
    match *value {
        Value::U64(value) => (0.0, value.into()),
        Value::I64(value) => (0.0, value.into()),
        Value::U32(value) => (0.0, value.into()),
        Value::I32(value) => (0.0, value.into()),
        Value::F64(value) => (value, 0),
        Value::F32(value) => (f64::from(value), 0),
        _ => panic!("not a number"),
    }
}

fn is_less(a: &Value<'_>, b: &Value<'_>) -> bool {
    let (a, b) = (numbers(a), numbers(b));
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).is_lt()
}

fn same(a: Option<Value<'_>>, b: Option<Value<'_>>) -> bool {
    a.map(Cell::of) == b.map(Cell::of)
}

/// By looking at every row.
fn check(found: &Aggregate, rows: &[&Row], column: usize) {
    let values: Vec<Value<'_>> = rows.iter().map(|row| row.cells[column].value()).collect();
    let values: Vec<Value<'_>> = values.into_iter().filter(|value| *value != Value::Null).collect();
    assert_eq!((found.rows, found.count), (rows.len() as u64, values.len() as u64));
    let ranked: Vec<&Value<'_>> = values.iter().filter(|value| !numbers(value).0.is_nan()).collect();
    let min = ranked.iter().copied().copied().reduce(|a, b| if is_less(&b, &a) { b } else { a });
    let max = ranked.iter().copied().copied().reduce(|a, b| if is_less(&a, &b) { b } else { a });
    assert!(same(found.min, min) && same(found.max, max), "{found:?}: {min:?} to {max:?}");
    assert!(
        same(found.first, values.first().copied()) && same(found.last, values.last().copied()),
        "{found:?}"
    );
    match found.sum {
        Sum::Integer(sum) => assert_eq!(sum, values.iter().map(|value| numbers(value).1).sum::<i128>()),
        Sum::Float(sum) => {
            let (expected, size) = values
                .iter()
                .map(|value| numbers(value).0)
                .fold((0.0, 0.0), |(sum, size), value| (sum + value, size + value.abs()));
            let is_close = (sum - expected).abs() <= size * 1e-12;
            assert!(is_close || expected.is_nan() || size.is_infinite(), "{sum} for {expected}");
            assert!(!values.iter().any(|value| numbers(value).0.is_nan()) || sum.is_nan());
        }
    }
    assert_eq!(found.mean().is_some(), found.count > 0);
}

async fn windows(
    world: &World,
    keys: std::ops::Range<u64>,
    step: u64,
    column: u32,
) -> Result<Vec<Window>, Error> {
    let (store, mut found) = (world.store(), Vec::new());
    let (reader, at) = (store.reader(), store.snapshot());
    let mut windows = reader.aggregate_every(&at, keys, step, ColumnId(column));
    while let Some(window) = windows.next().await? {
        found.push(window);
    }
    assert_eq!(windows.next().await?, None, "what has ended stays so");
    Ok(found)
}

#[test]
fn every_number_of_every_range_is_counted() {
    let mut world = World::new(SimDisk::new(11), all_kinds(), small_options());
    world.fill(2500);
    let (store, reader) = (world.store(), world.store().reader());
    let last = world.rows.last().unwrap().key;
    for (column, kind) in (0..).zip(KINDS.iter().chain(&KINDS)).filter(|(_, kind)| is_numeric(**kind)) {
        for keys in [0..u64::MAX, 0..0, 5..6, 100..last / 2, last / 3..last, last..last + 1] {
            let at = store.snapshot();
            let found = world.run(reader.aggregate(&at, keys.clone(), ColumnId(column))).unwrap();
            let rows: Vec<&Row> = world.rows.iter().filter(|row| keys.contains(&row.key)).collect();
            check(&found, &rows, column as usize);
            assert!(
                rows.is_empty()
                    || found.min.is_some()
                    || kind.width() == Some(8)
                    || found.count == 0
                    || *kind == Kind::F32
            );
        }
    }
}

#[test]
fn windows_hold_the_rows_of_their_keys_and_none_is_empty() {
    let mut world = World::new(calm_disk(12), all_kinds(), small_options());
    world.fill(1500);
    let last = world.rows.last().unwrap().key;
    for (step, keys) in
        [(1, 0..last + 1), (7, 3..last), (100, 0..u64::MAX), (u64::MAX, 0..u64::MAX), (1000, 9..9)]
    {
        for column in [0, 1, 2, 11] {
            let found = world.run(windows(&world, keys.clone(), step, column)).unwrap();
            let mut seen = 0;
            for pair in found.windows(2) {
                assert!(pair[0].start < pair[1].start);
            }
            for window in &found {
                let inside = |row: &&Row| keys.contains(&row.key) && row.key / step == window.start / step;
                let rows: Vec<&Row> = world.rows.iter().filter(inside).collect();
                assert!(window.start.is_multiple_of(step) && !rows.is_empty());
                check(&window.aggregate, &rows, column as usize);
                seen += rows.len();
            }
            assert_eq!(seen, world.rows.iter().filter(|row| keys.contains(&row.key)).count());
        }
    }
}

#[test]
fn the_highest_keys_are_in_a_window() {
    let mut world = World::new(calm_disk(13), one_column(Kind::I32), small_options());
    for (key, value) in [(0, -5), (u64::MAX - 1, 7), (u64::MAX, i32::MIN)] {
        world.append(key, vec![Cell::I32(value)]);
        world.flush();
    }
    let (store, reader) = (world.store(), world.store().reader());
    let all = world.run(reader.aggregate(&store.snapshot(), .., ColumnId(0))).unwrap();
    assert_eq!((all.count, all.sum), (3, Sum::Integer(i128::from(i32::MIN) + 2)));
    let found = world.run(windows(&world, 0..u64::MAX, 10, 0)).unwrap();
    let starts: Vec<u64> = found.iter().map(|window| window.start).collect();
    assert_eq!(starts, [0, (u64::MAX - 1) / 10 * 10]);
}

#[test]
fn what_is_no_number_and_what_is_no_step_is_refused() {
    let mut world = World::new(calm_disk(14), all_kinds(), small_options());
    world.commit(3);
    let (store, reader) = (world.store(), world.store().reader());
    for (column, kind) in (0..).zip(KINDS).filter(|(_, kind)| !is_numeric(*kind)) {
        let found = world.run(reader.aggregate(&store.snapshot(), .., ColumnId(column)));
        assert!(
            matches!(&found, Err(Error::Schema { column, .. }) if *column == kind.to_string()),
            "{found:?}"
        );
    }
    let found = world.run(reader.aggregate(&store.snapshot(), .., ColumnId(99)));
    assert!(matches!(found, Err(Error::Schema { .. })), "{found:?}");
    let found = world.run(windows(&world, 0..9, 0, 0));
    assert!(matches!(found, Err(Error::Limit { .. })), "{found:?}");
}
