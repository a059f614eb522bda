//! Rows as intervals of time that end at their keys.
//!
//! Not here: ranges of keys (`scans`).

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use tidelog::{Kind, Value};

use super::world::{Cell, Row, World, calm_disk, one_column, rows_of, small_options};

fn world(keys: &[u64]) -> World {
    let mut world = World::new(calm_disk(5), one_column(Kind::U64), small_options().segment_rows(3));
    for (number, key) in (0..).zip(keys) {
        world.append(*key, vec![Cell::U64(number)]);
        world.flush();
    }
    world
}

/// Which rows, with the key before each, meet the range: by looking at each of them.
fn expected(rows: &[Row], start: Bound<u64>, end: Bound<u64>) -> Vec<(Option<u64>, u64)> {
    let previous = |index: usize| index.checked_sub(1).map(|index| rows[index].key);
    let is_empty = match (start, end) {
        (Included(start), Included(end)) => start > end,
        (Included(start) | Excluded(start), Included(end) | Excluded(end)) => start >= end,
        _ => false,
    };
    let meets = |index: &usize| {
        let key = rows[*index].key;
        let begin = rows.iter().map(|row| row.key).filter(|other| *other < key).max();
        let behind_start = match start {
            Included(start) => key >= start,
            Excluded(start) => key > start,
            Unbounded => true,
        };
        let before_end = match end {
            Included(end) | Excluded(end) => begin.is_none_or(|begin| begin < end),
            Unbounded => true,
        };
        !is_empty && behind_start && before_end
    };
    (0..rows.len()).filter(meets).map(|index| (previous(index), rows[index].key)).collect()
}

fn found(world: &World, range: (Bound<u64>, Bound<u64>), is_reverse: bool) -> Vec<(Option<u64>, u64)> {
    let (store, at) = (world.store(), world.store().snapshot());
    let reader = store.reader();
    world.run(async {
        let scan = reader.scan(&at, range).intervals().without_keys().batch_rows(2);
        let mut scan = if is_reverse { scan.reverse() } else { scan };
        let mut found = Vec::new();
        while let Some(batch) = scan.next().await.unwrap() {
            for (index, row) in rows_of(&batch).iter().enumerate() {
                assert_eq!(row, &world.rows[usize::try_from(row.row).unwrap()]);
                found.push((batch.previous_key(index), row.key));
            }
            assert_eq!(batch.previous_key(batch.len()), None);
        }
        found
    })
}

#[test]
fn rows_that_reach_into_a_range_belong_to_it() {
    let world = world(&[12, 18]);
    let keys = |start, end| found(&world, (start, end), false);
    assert_eq!(keys(Excluded(8), Included(14)), [(None, 12), (Some(12), 18)]);
    assert_eq!(keys(Excluded(8), Included(12)), [(None, 12)]);
    assert_eq!(keys(Excluded(12), Included(13)), [(Some(12), 18)]);
    assert_eq!(keys(Excluded(18), Unbounded), []);
    assert_eq!(keys(Excluded(13), Included(13)), [], "an empty range meets nothing");
    assert_eq!(keys(Included(13), Included(13)), [(Some(12), 18)], "a moment is in one interval");
}

#[test]
fn every_range_has_the_rows_whose_intervals_meet_it() {
    let sets: [&[u64]; 4] =
        [&[], &[0, 0, 1], &[0, 3, 3, 3, 3, 7, 9, 9, 12], &[5, 5, 5, 5, 6, u64::MAX, u64::MAX]];
    for keys in sets {
        let world = world(keys);
        let mut ends = vec![0, 1, u64::MAX];
        ends.extend(keys.iter().flat_map(|key| [key.saturating_sub(1), *key, key.saturating_add(1)]));
        ends.sort_unstable();
        ends.dedup();
        let bounds: Vec<_> =
            ends.iter().flat_map(|key| [Included(*key), Excluded(*key)]).chain([Unbounded]).collect();
        for (start, end) in bounds.iter().flat_map(|start| bounds.iter().map(move |end| (*start, *end))) {
            let mut expected = expected(&world.rows, start, end);
            assert_eq!(found(&world, (start, end), false), expected, "{keys:?} {start:?} {end:?}");
            expected.reverse();
            assert_eq!(found(&world, (start, end), true), expected, "{keys:?} {start:?} {end:?}");
        }
    }
}

#[test]
fn intervals_of_some_rows_and_some_columns() {
    let world = world(&[1, 4, 9, 16, 25]);
    let (store, at) = (world.store(), world.store().snapshot());
    let reader = store.reader();
    let batch = world.run(async {
        reader.scan(&at, 3..=10).intervals().columns(&[]).limit(1).next().await.unwrap().unwrap()
    });
    assert_eq!((batch.keys(), batch.previous_key(0), batch.columns().len()), (&[4][..], Some(1), 0));
    let value = world.rows[3].cells[0].value();
    assert!(matches!(value, Value::U64(_)));
    let last = world.run(async {
        reader.scan(&at, 3..=10).intervals().reverse().limit(1).next().await.unwrap().unwrap()
    });
    assert_eq!(
        (last.keys(), last.previous_key(0), rows_of(&last)[0].cells[0].value()),
        (&[16][..], Some(9), value)
    );
}
