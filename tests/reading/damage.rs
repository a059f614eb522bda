//! Rot below D in any file: `Corrupt`, with the file's name, for what needs it; all else stays readable.

use std::path::{Path, PathBuf};

use tidelog::{ColumnId, Error, Seek, Slice};

use crate::world::{World, all, all_kinds, calm_disk, collect, small_options};

/// Segments of 300, 300 and 180 rows in slots 0, 1 and 2; the last one active, much of it in files.
fn three_segments() -> World {
    let mut world = World::new(calm_disk(1), all_kinds(), small_options());
    for _ in 0..13 {
        world.commit(60);
    }
    world.checkpoint();
    world
}

fn files(world: &World, slot: u32) -> Vec<(PathBuf, u64)> {
    let mut files = world.disk.files();
    files.retain(|(path, len)| path.starts_with(world.slot(slot)) && *len > 0);
    assert!(files.len() > if slot < 2 { 30 } else { 2 }, "{files:?}");
    files
}

/// How many bytes of a finished segment's file are named: what its rows take, in whole pages.
fn end_of(world: &World, slot: u32, path: &Path) -> u64 {
    let rows = &world.rows[300 * slot as usize..][..300];
    let name = path.file_name().unwrap().to_str().unwrap();
    let Some((column, part)) = name.split_once('.') else {
        return if name == "keys" { 4096 } else { world.disk.file_bytes(path).unwrap().len() as u64 };
    };
    let column: usize = column.parse().unwrap();
    let len = match (part, world.writer.schema().columns()[column].kind().width()) {
        ("nulls", _) => 300,
        ("offsets", _) => 2400,
        (_, Some(width)) => 300 * width,
        (_, None) => rows.iter().map(|row| row.cells[column].bytes().len()).sum(),
    };
    len.next_multiple_of(4096) as u64
}

fn path_of(error: &Error) -> &Path {
    match error {
        Error::Corrupt { path, .. } => path,
        error => panic!("this should be damage: {error}"),
    }
}

/// What asks for all of a file must not give other rows than there are.
fn check_all(world: &World, path: &Path, must_fail: bool) {
    let (store, at) = (world.store(), world.store().snapshot());
    let reader = store.reader();
    match world.run(all(&reader, &at)) {
        Err(error) => assert_eq!(path_of(&error), path),
        Ok(rows) => assert!(!must_fail && rows == world.rows, "{}", path.display()),
    }
    match world.run(collect(reader.scan(&at, ..).reverse().batch_rows(9))) {
        Err(error) => assert_eq!(path_of(&error), path),
        Ok(rows) => assert!(!must_fail && rows.iter().eq(world.rows.iter().rev()), "{}", path.display()),
    }
    for row in (0..world.rows.len()).step_by(59) {
        let expected = &world.rows[row];
        match world.run(reader.seek(&at, Seek::Row(row as u64))) {
            Err(error) => assert_eq!(path_of(&error), path),
            Ok(found) => assert_eq!(found.unwrap().key, expected.key),
        }
        match world.run(reader.values(&at, row as u64, &world.columns())) {
            Err(error) => assert_eq!(path_of(&error), path),
            Ok(batch) => assert_eq!(&crate::world::rows_of(&batch)[0], expected),
        }
        for column in [7, 17] {
            let bytes = expected.cells[column as usize].bytes();
            let parts = [Slice { row: row as u64, range: 0..bytes.len() as u64 }];
            match world.run(reader.slices(&at, ColumnId(column), &parts)) {
                Err(error) => assert_eq!(path_of(&error), path),
                Ok(found) => assert_eq!(found, [bytes.to_vec()]),
            }
        }
    }
}

/// The other segments, and the other columns.
fn check_others(world: &World, path: &Path, slot: u32) {
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let (start, end) = (300 * slot as usize, world.rows.len().min(300 * (slot as usize + 1)));
    let before = world.run(collect(reader.scan(&at, ..).rows(0..start as u64))).unwrap();
    assert!(before == world.rows[..start]);
    let behind = world.run(collect(reader.scan(&at, ..).rows(end as u64..9999).reverse())).unwrap();
    assert_eq!(behind.len(), world.rows.len() - end);
    if let Some((column, _)) = path.file_name().unwrap().to_str().unwrap().split_once('.') {
        let mut others = world.columns();
        others.retain(|id| id.0.to_string() != column);
        let found = world.run(collect(reader.scan(&at, ..).columns(&others))).unwrap();
        assert_eq!(found.len(), world.rows.len());
    }
}

#[test]
fn rot_is_told_and_other_rows_stay_readable() {
    let mut world = three_segments();
    for slot in 0..3 {
        for (path, len) in files(&world, slot) {
            // A finished segment is below D, padding and all; of the active one's files some pages are.
            let end = if slot < 2 { end_of(&world, slot, &path) } else { len };
            let (offset, mask) = (world.random.below(end), 1 << world.random.below(8));
            world.disk.flip(&path, offset, mask).unwrap();
            check_all(&world, &path, slot < 2);
            check_others(&world, &path, slot);
            world.disk.flip(&path, offset, mask).unwrap();
        }
    }
    check_all(&world, Path::new(""), false);
}

#[test]
fn every_bit_of_checksums_and_small_files_counts() {
    let world = three_segments();
    for name in ["sums", "keys", "16.offsets", "17.nulls", "15.data"] {
        let path = world.slot(1).join(name);
        let len = world.disk.file_bytes(&path).unwrap().len() as u64;
        for offset in (0..len).step_by(13) {
            world.disk.flip(&path, offset, 0x10).unwrap();
            let (at, reader) = (world.store().snapshot(), world.store().reader());
            let error = world.run(all(&reader, &at)).unwrap_err();
            assert_eq!(path_of(&error), path, "{error}");
            world.disk.flip(&path, offset, 0x10).unwrap();
        }
    }
}

#[test]
fn a_short_or_missing_file_is_damage() {
    let world = three_segments();
    for slot in 0..3 {
        for (path, len) in files(&world, slot) {
            let bytes = world.disk.file_bytes(&path).unwrap();
            let end = if slot < 2 { end_of(&world, slot, &path) } else { 0 };
            for short in [0, 1, 4096, len.saturating_sub(4096), end.saturating_sub(1), len - 1] {
                world.disk.set_len(&path, short).unwrap();
                check_all(&world, &path, short < end);
                check_others(&world, &path, slot);
                world.disk.put_file(&path, &bytes).unwrap();
            }
            world.disk.unlink(&path).unwrap();
            check_all(&world, &path, slot < 2);
            check_others(&world, &path, slot);
            world.disk.put_file(&path, &bytes).unwrap();
        }
    }
    check_all(&world, Path::new(""), false);
}

#[test]
fn an_unreadable_page_is_told_with_its_file() {
    let world = three_segments();
    let path = world.slot(0).join("keys");
    world.disk.set_unreadable(&path, 0).unwrap();
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let error = world.run(all(&reader, &at)).unwrap_err();
    assert!(matches!(&error, Error::Io { path: found, .. } if *found == path), "{error}");
    let rest = world.run(collect(reader.scan(&at, ..).rows(300..9999))).unwrap();
    assert!(rest == world.rows[300..]);
}

/// Right checksums in the wrong place.
#[test]
fn another_segments_files_are_refused() {
    let world = three_segments();
    let (one, other) = (world.slot(0), world.slot(1));
    for name in ["sums", "keys", "7.data", "3.data"] {
        let bytes = world.disk.file_bytes(one.join(name)).unwrap();
        world.disk.copy_file(other.join(name), &world.disk, one.join(name)).unwrap();
        check_all(&world, &one.join(name), true);
        world.disk.put_file(one.join(name), &bytes).unwrap();
    }
}

#[test]
fn after_an_error_a_scan_says_it_again() {
    let world = three_segments();
    let path = world.slot(1).join("3.data");
    world.disk.flip(&path, 7, 1).unwrap();
    let (at, reader) = (world.store().snapshot(), world.store().reader());
    let mut scan = reader.scan(&at, ..);
    let batch = world.run(scan.next()).unwrap().unwrap();
    assert_eq!(batch.len(), 300, "what was read ahead does not spoil what comes before");
    for _ in 0..3 {
        let error = world.run(scan.next()).unwrap_err();
        assert!(matches!(&error, Error::Corrupt { path: found, offset: 0, .. } if *found == path), "{error}");
    }
}
