//! How much is read, and how many reads are in flight.

use tidelog::disk::PAGE;
use tidelog::disk::sim::{Counts, SimDisk};
use tidelog::{
    Column, ColumnId, Kind, Maintain, Maintained, Options, Schema, Seek, SegmentState, Slice, Values,
};

use crate::world::{Cell, World, calm_disk, collect, rows_of};

fn counted<T>(world: &World, what: impl Future<Output = T>) -> (T, Counts) {
    world.disk.reset_counts();
    let result = world.run(what);
    (result, world.disk.counts())
}

fn reads_of(disk: &SimDisk, name: &str) -> u64 {
    let of = disk.counts_by_path().into_iter().filter(|(path, _)| path.file_name().unwrap() == name);
    of.map(|(_, counts)| counts.read_bytes).sum()
}

/// Four columns of `f64`, so many rows, all of them in files.
fn four_columns(rows: usize, options: Options) -> World {
    let schema = Schema::new(["a", "b", "c", "d"].map(|name| Column::new(name, Kind::F64))).unwrap();
    let mut world = World::new(calm_disk(1), schema, options);
    for base in (0..rows).step_by(1 << 17) {
        let keys: Vec<u64> = (base..rows.min(base + (1 << 17))).map(|row| row as u64).collect();
        let values: Vec<f64> = keys.iter().map(|key| *key as f64).collect();
        let values = Values::F64(&values);
        world.writer.pending().append_batch(&keys, &[values; 4]).unwrap();
        world.flush();
    }
    world.checkpoint();
    world
}

#[test]
fn a_value_of_256_mib_is_committed_reopened_sliced_for_little_and_read_whole() {
    let len: usize = 256 << 20;
    let schema = Schema::new([Column::new("blob", Kind::Bytes).nullable()]).unwrap();
    let options = Options::default().memory_bytes(1 << 30).segment_bytes(300 << 20);
    let mut world = World::new(calm_disk(1), schema, options);
    let blob: Vec<u8> = (0..=250_u8).cycle().take(len).collect();
    for key in 0..2 {
        world.writer.pending().append(key, &[tidelog::Value::Bytes(&blob)]).unwrap();
        world.flush();
    }
    for _ in 0..2 {
        let (at, store) = (world.store().snapshot(), world.store());
        for row in 0..2 {
            let start = (len as u64 / 3 * (row + 1)) & !0xFFFF;
            let parts = [Slice { row, range: start + 100..start + 116 }];
            let reader = store.reader();
            let (found, counts) = counted(&world, reader.slices(&at, ColumnId(0), &parts));
            let start = usize::try_from(start).unwrap();
            assert_eq!(found.unwrap(), [blob[start + 100..start + 116].to_vec()]);
            assert!(counts.read_bytes <= 128 << 10, "{counts:?}");
        }
        world = world.reopen();
    }
    // Whole, behind reopening: one in a finished segment, one in the active one.
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    for row in 0..2 {
        let batch = world.run(reader.values(&at, row, &[ColumnId(0)])).unwrap();
        let found = batch.column(ColumnId(0)).unwrap().value(0);
        assert!(found == Some(tidelog::Value::Bytes(&blob)), "row {row}");
    }
}

#[test]
fn adjacent_slices_are_read_together() {
    let schema = Schema::new([Column::new("blob", Kind::Bytes)]).unwrap();
    let mut world = World::new(calm_disk(1), schema, Options::default());
    for key in 0..4 {
        let mut bytes = vec![0; 3 << 20];
        world.random.fill(&mut bytes);
        world.append(key, vec![Cell::Bytes(bytes)]);
    }
    world.flush();
    world.checkpoint();
    let at = world.store().snapshot();
    for step in [16, 4096, 30_000] {
        let part = |index: u64| Slice { row: 2, range: 5 + index * step..5 + (index + 1) * step };
        let parts: Vec<Slice> = (0..100).map(part).collect();
        let reader = world.store().reader();
        let (found, counts) = counted(&world, reader.slices(&at, ColumnId(0), &parts));
        let bytes = world.rows[2].cells[0].bytes();
        for (part, found) in parts.iter().zip(found.unwrap()) {
            let range = usize::try_from(part.range.start).unwrap()..usize::try_from(part.range.end).unwrap();
            assert_eq!(found, bytes[range]);
        }
        assert!(counts.reads <= 10, "{step}: {counts:?}");
    }
    // Slices of values that lie one behind the other, too.
    let schema = Schema::new([Column::new("blob", Kind::Bytes)]).unwrap();
    let mut world = World::new(calm_disk(1), schema, Options::default());
    for key in 0..5000 {
        world.append(key, vec![Cell::Bytes(vec![7; 100])]);
    }
    world.flush();
    world.checkpoint();
    let parts: Vec<Slice> = (2000..2100).map(|row| Slice { row, range: 10..20 }).collect();
    let (reader, at) = (world.store().reader(), world.store().snapshot());
    let (found, counts) = counted(&world, reader.slices(&at, ColumnId(0), &parts));
    assert_eq!(found.unwrap(), vec![vec![7; 10]; 100]);
    assert!(counts.reads <= 4, "{counts:?}");
}

#[test]
fn what_is_not_chosen_is_not_read() {
    let rows = 300_000;
    let world = four_columns(rows, Options::default().segment_rows(1 << 17));
    let (at, store) = (world.store().snapshot(), world.store());
    let reader = store.reader();
    let (all, everything) = counted(&world, collect(reader.scan(&at, ..).batch_rows(1 << 20)));
    assert_eq!(all.unwrap().len(), rows);

    let reader = store.reader();
    let (sum, one) = counted(&world, async {
        let mut scan = reader.scan(&at, ..).columns(&[ColumnId(1)]).without_keys();
        let mut sum = 0.0;
        while let Some(batch) = scan.next().await.unwrap() {
            sum += batch.column(ColumnId(1)).unwrap().as_f64().unwrap().iter().sum::<f64>();
        }
        sum
    });
    assert_eq!(sum, (rows as f64 - 1.0) * rows as f64 / 2.0);
    assert!(
        one.read_bytes * 10 <= everything.read_bytes * 3,
        "{} of {}",
        one.read_bytes,
        everything.read_bytes
    );
    for name in ["keys", "0.data", "2.data", "3.data"] {
        assert_eq!(reads_of(&world.disk, name), 0, "{name}");
    }

    let reader = store.reader();
    let (keys, _) = counted(&world, collect(reader.scan(&at, 5..).columns(&[])));
    assert_eq!(keys.unwrap().len(), rows - 5);
    for name in ["0.data", "1.data", "2.data", "3.data"] {
        assert_eq!(reads_of(&world.disk, name), 0, "{name}");
    }
    assert!(reads_of(&world.disk, "keys") <= rows as u64 * 8 + (256 << 10));

    // A few rows are a few chunks.
    for reverse in [false, true] {
        let scan = reader.scan(&at, 150_000..).limit(10);
        let (few, counts) = counted(&world, collect(if reverse { scan.reverse() } else { scan }));
        assert_eq!(few.unwrap().len(), 10);
        assert!(counts.read_bytes <= 8 * (64 << 10), "{counts:?}");
    }
}

#[test]
fn several_reads_are_in_flight_and_never_too_many() {
    let options = Options::default().segment_rows(1 << 20).reads_in_flight(8);
    let mut world = four_columns(700_000, options);
    for (limit, least) in [(8, 4), (5, 4), (2, 2), (1, 1)] {
        world.options = world.options.clone().reads_in_flight(limit);
        world = world.reopen();
        let at = world.store().snapshot();
        for columns in [&[][..], &[ColumnId(2)], &[ColumnId(0), ColumnId(1), ColumnId(2), ColumnId(3)]] {
            for reverse in [false, true] {
                let reader = world.store().reader();
                let scan = reader.scan(&at, 10..).columns(columns);
                let mut scan = if reverse { scan.reverse() } else { scan };
                let (rows, counts) = counted(&world, async {
                    let mut rows = 0;
                    while let Some(batch) = scan.next().await.unwrap() {
                        rows += batch.len();
                    }
                    rows
                });
                assert_eq!(rows, 700_000 - 10);
                let most = counts.reads_in_flight_max;
                assert!(most <= limit as u64, "{most} of {limit}");
                assert!(most >= least, "{most} of {limit}, {} columns", columns.len());
            }
        }
        let parts: Vec<Slice> = Vec::new();
        assert!(world.run(world.store().reader().slices(&at, ColumnId(0), &parts)).is_err());
    }
}

/// So many sealed segments, and a row that is in none. `a` is never null, `b` is now and then.
fn sealed_segments(segments: u64, segment_rows: u64) -> World {
    let columns = [Column::new("a", Kind::F64), Column::new("b", Kind::F64).nullable()];
    let options = Options::default().segment_rows(segment_rows).reads_in_flight(8);
    let mut world = World::new(calm_disk(1), Schema::new(columns).unwrap(), options);
    for key in 0..=segments * segment_rows {
        let value = (key as f64).to_bits();
        let cell = if key % 3 == 0 { Cell::Null } else { Cell::F64(value) };
        world.append(key, vec![Cell::F64(value), cell]);
        if key % segment_rows == segment_rows - 1 {
            world.flush();
        }
    }
    world.flush();
    while world.run(world.store().maintain(Maintain::Seal)).unwrap() != Maintained::Nothing {
        world.checkpoint();
    }
    let sealed = world.store().stats().segments;
    let sealed = sealed.iter().filter(|segment| segment.state == SegmentState::Sealed).count();
    assert_eq!(sealed as u64, segments);
    world
}

#[test]
fn aggregates_of_many_sealed_segments_keep_to_the_reads_in_flight() {
    let mut world = sealed_segments(40, 100);
    for limit in [8, 5, 2, 1] {
        world.options = world.options.clone().reads_in_flight(limit);
        world = world.reopen();
        let at = world.store().snapshot();
        for column in [ColumnId(0), ColumnId(1)] {
            // Whole segments, from what is said of them; and both ends decoded.
            for keys in [0..4000, 150..3850] {
                let reader = world.store().reader();
                let (found, counts) = counted(&world, reader.aggregate(&at, keys.clone(), column));
                assert_eq!(found.unwrap().rows, keys.end - keys.start);
                let most = counts.reads_in_flight_max;
                assert!(most <= limit as u64, "{most} of {limit}, {column:?}, {keys:?}");
                assert!(most >= limit.min(4) as u64, "{most} of {limit}, {column:?}, {keys:?}");
            }
        }
    }
}

#[test]
fn scans_of_many_sealed_segments_keep_to_the_reads_in_flight() {
    let mut world = sealed_segments(40, 1000);
    for limit in [8, 5, 2, 1] {
        world.options = world.options.clone().reads_in_flight(limit);
        world = world.reopen();
        let at = world.store().snapshot();
        for columns in [&[ColumnId(0)][..], &[ColumnId(0), ColumnId(1)]] {
            for reverse in [false, true] {
                let reader = world.store().reader();
                let scan = reader.scan(&at, ..).rows(0..40_000).columns(columns);
                let scan = if reverse { scan.reverse() } else { scan };
                let (rows, counts) = counted(&world, collect(scan));
                assert_eq!(rows.unwrap().len(), 40_000);
                let most = counts.reads_in_flight_max;
                assert!(most <= limit as u64, "{most} of {limit}, {columns:?}");
                assert!(most >= limit.min(2) as u64, "{most} of {limit}, {columns:?}");
            }
        }
    }
}

/// Of text and bytes no row is in memory when it is sealed; here nothing is.
#[test]
fn sealing_text_reads_each_byte_of_the_raw_files_once() {
    const ROWS: u64 = 40_000;
    let columns = [Column::new("text", Kind::Text), Column::new("blob", Kind::Bytes).nullable()];
    let options = Options::default().segment_rows(ROWS).seal_bytes(0);
    let mut world = World::new(calm_disk(1), Schema::new(columns).unwrap(), options);
    // Blocks of less than 4 MiB and of more, none of which is a whole number of reads.
    let (mut text_bytes, mut blob_bytes) = (0, 0);
    for key in 0..=ROWS {
        let text = "\u{20ac} tide ".repeat(world.random.index(10));
        let mut blob = vec![0; world.random.index(800)];
        world.random.fill(&mut blob);
        if key < ROWS {
            (text_bytes, blob_bytes) = (text_bytes + text.len() as u64, blob_bytes + blob.len() as u64);
        }
        let values = [tidelog::Value::Text(&text), tidelog::Value::Bytes(&blob)];
        world.writer.pending().append(key, &values).unwrap();
        if key % 4000 == 3999 {
            world.flush();
        }
    }
    world.flush();
    let (sealed, _) = counted(&world, world.store().maintain(Maintain::Seal));
    assert!(matches!(sealed, Ok(Maintained::Sealed { rows: ROWS, .. })), "{sealed:?}");
    let expected = [
        ("keys", 8 * ROWS),
        ("0.data", text_bytes),
        ("0.offsets", 8 * ROWS),
        ("1.data", blob_bytes),
        ("1.offsets", 8 * ROWS),
    ];
    for (name, bytes) in expected {
        let bytes = bytes.next_multiple_of(PAGE as u64);
        assert_eq!(reads_of(&world.disk, name), bytes, "{name}");
    }
    // Beside the values that are null, and as values.
    assert_eq!(reads_of(&world.disk, "1.nulls"), 2 * ROWS.next_multiple_of(PAGE as u64));
}

/// The ends of values in a large block of bytes are read once for each batch, however often it is halved.
#[test]
fn a_batch_that_is_cut_short_reads_where_its_values_end_once() {
    const ROWS: u64 = 1024;
    let schema = Schema::new([Column::new("blob", Kind::Bytes)]).unwrap();
    let options = Options::default().segment_rows(ROWS).memory_bytes(1 << 30).segment_bytes(1 << 30);
    let mut world = World::new(calm_disk(1), schema, options);
    for key in 0..2 * ROWS {
        let mut bytes = vec![0; 33 << 10];
        world.random.fill(&mut bytes);
        world.writer.pending().append(key, &[tidelog::Value::Bytes(&bytes)]).unwrap();
        if key % 256 == 255 {
            world.flush();
        }
    }
    let sealed = world.run(world.store().maintain(Maintain::Seal)).unwrap();
    assert!(matches!(sealed, Maintained::Sealed { .. }), "{sealed:?}");
    world.checkpoint();
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    // The directory, the entries and the block's head.
    world.run(reader.values(&at, 0, &[])).unwrap();
    let mut scan = reader.scan(&at, ..).rows(0..ROWS).without_keys();
    let (batch, counts) = counted(&world, scan.next());
    let rows = batch.unwrap().unwrap().len() as u64;
    assert!(rows < ROWS / 2 + 1, "{rows} rows of 33 KiB are within 16 MiB");
    // Besides the data, in reads of 1 MiB: the head, and where values end.
    assert!(counts.reads <= (rows * (33 << 10)).div_ceil(1 << 20) + 2, "{rows} rows, {counts:?}");
}

#[test]
fn slices_in_many_places_are_read_together_within_the_limit() {
    let schema = Schema::new([Column::new("blob", Kind::Bytes)]).unwrap();
    let options = Options::default().reads_in_flight(6).memory_bytes(1 << 30);
    let mut world = World::new(calm_disk(1), schema, options);
    world.append(0, vec![Cell::Bytes(vec![5; 20 << 20])]);
    world.flush();
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let parts: Vec<Slice> =
        (0..20).map(|part| Slice { row: 0, range: part << 20..(part << 20) + 100 }).collect();
    let (found, counts) = counted(&world, reader.slices(&at, ColumnId(0), &parts));
    assert_eq!(found.unwrap(), vec![vec![5; 100]; 20]);
    assert_eq!(counts.reads_in_flight_max, 6);
    let (_, again) = counted(&world, reader.slices(&at, ColumnId(0), &parts));
    assert_eq!(again.reads, 0, "they are in the cache");
    // A whole value: reads of 1 MiB, and the answer is all that is held of it.
    let whole = [Slice { row: 0, range: 0..20 << 20 }];
    let (found, counts) = counted(&world, world.store().reader().slices(&at, ColumnId(0), &whole));
    assert_eq!(found.unwrap()[0].len(), 20 << 20);
    assert!(counts.reads <= 22 && counts.reads_in_flight_max <= 6, "{counts:?}");
}

#[test]
fn a_lookup_is_one_round_of_reads() {
    let world = four_columns(300_000, Options::default().segment_rows(1 << 17).cache_bytes(8 << 20));
    let (at, store) = (world.store().snapshot(), world.store());
    let reader = store.reader();
    // Once the segments' checksums are there.
    for row in [5, 140_000, 299_990] {
        world.run(reader.seek(&at, Seek::Row(row))).unwrap().unwrap();
    }
    for key in [77_777, 200_000, 290_000] {
        let (found, counts) = counted(&world, reader.seek(&at, Seek::Key(key)));
        assert_eq!(found.unwrap().unwrap().row, key);
        assert!(counts.reads <= 1 && counts.read_bytes <= 64 << 10, "{counts:?}");
        let (found, counts) = counted(&world, reader.values(&at, key, &[ColumnId(0), ColumnId(3)]));
        assert_eq!(rows_of(&found.unwrap())[0].key, key);
        assert_eq!((counts.reads, counts.reads_in_flight_max), (2, 2));
    }
}

/// What a reader keeps stays within its budget, and serves again what it holds.
#[test]
fn what_was_read_is_read_once_within_the_budget() {
    let budget = 40 * (64 << 10);
    let world = four_columns(300_000, Options::default().segment_rows(1 << 17).cache_bytes(budget));
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let get = |row: u64| {
        let (batch, counts) = counted(&world, reader.values(&at, row, &[ColumnId(1)]));
        assert_eq!(batch.unwrap().column(ColumnId(1)).unwrap().as_f64(), Some(&[row as f64][..]));
        counts.reads
    };
    get(0);
    for row in [1, 2, 8191] {
        assert_eq!(get(row), 0);
    }
    // More chunks than fit go through; the first ones have gone.
    for chunk in 1..30 {
        get(chunk * 8192);
    }
    assert!(get(0) > 0);
    assert_eq!(get(29 * 8192 + 5), 0);
}

/// A scan that is longer than the cache leaves others what they had, and itself its beginning.
#[test]
fn a_long_scan_takes_half_of_the_cache() {
    const ROWS: u64 = 1 << 19;
    const GROUP: u64 = 1 << 14;
    let schema = Schema::new([Column::new("bits", Kind::U64)]).unwrap();
    let options = Options::default().segment_rows(ROWS).cache_bytes(2 << 20);
    let mut world = World::new(calm_disk(1), schema, options);
    for base in (0..2 * ROWS).step_by(1 << 16) {
        let keys: Vec<u64> = (base..base + (1 << 16)).collect();
        let values: Vec<u64> = keys.iter().map(|_| world.random.bits()).collect();
        world.writer.pending().append_batch(&keys, &[Values::U64(&values)]).unwrap();
        world.flush();
    }
    let sealed = world.run(world.store().maintain(Maintain::Seal)).unwrap();
    assert!(matches!(sealed, Maintained::Sealed { rows: ROWS, .. }), "{sealed:?}");
    world.checkpoint();
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let reads = |row: u64| counted(&world, reader.values(&at, row, &[ColumnId(0)])).1.reads;
    // Each block takes 128 KiB: 16 of them would fill the cache.
    let [first, others] = [0, 20 * GROUP];
    for group in 0..4 {
        assert!(reads(others + group * GROUP) > 0);
    }
    let scan = || counted(&world, collect(reader.scan(&at, ..).rows(0..ROWS)));
    let (rows, counts) = scan();
    assert_eq!(rows.unwrap().len() as u64, ROWS);
    for group in 0..4 {
        assert_eq!(reads(others + group * GROUP), 0, "what was there before the scan");
        assert_eq!(reads(first + group * GROUP), 0, "what the scan began with");
    }
    assert!(reads(31 * GROUP) > 0, "what it ended with");
    let (_, again) = scan();
    let [first, again] = [counts, again].map(|counts| counts.read_bytes / (128 << 10));
    assert!((28..30).contains(&first) && again <= 24, "{first} blocks, then {again}");
}
