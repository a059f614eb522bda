//! Directories that are no store, or not one that we may write: a typed error that names file and offset, and
//! nothing on the disk has changed. Never "an empty store".
//!
//! Not here: damage to what a store holds, newer formats (tests/damage.rs), full disks (tests/full.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use std::path::{Path, PathBuf};

use common::history::{row, rows, schema};
use common::{DIR, image, run, tiny};
use tidelog::disk::sim::{Fault, SimDisk};
use tidelog::{Error, Options, Result, Writer};

fn options() -> Options {
    tiny().segment_rows(500)
}

fn open(disk: &SimDisk) -> Result<Writer<SimDisk>> {
    run(disk, Writer::open_on(disk.clone(), DIR, options()))
}

fn create(disk: &SimDisk) -> Result<Writer<SimDisk>> {
    run(disk, Writer::create_on(disk.clone(), DIR, schema(), options()))
}

/// A call that is refused and changes nothing on the disk.
fn refused<T>(disk: &SimDisk, call: impl FnOnce(&SimDisk) -> Result<T>) -> Error {
    let before = image(disk);
    let Err(error) = call(disk) else { panic!("it was not refused") };
    assert!(before == image(disk), "{error}: the disk has changed");
    error
}

/// The seed of a store that holds other rows.
const OTHER: u64 = 13;

/// A store with two finished segments, and rows in the log. Closed, or left as after a kill.
fn store(seed: u64, is_closed: bool) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.configure(|settings| settings.short = 0.0);
    run(&disk, async {
        let mut writer = Writer::create_on(disk.clone(), DIR, schema(), options()).await.unwrap();
        for (first, count) in
            [(0, 250), (250, 10), (260, 220), (480, 600), (1080, 10), (1090, 410), (1500, 10)]
        {
            let shift = if seed == OTHER { 2000 } else { 0 };
            for number in first + shift..first + shift + count {
                row(number).append(writer.pending()).unwrap();
            }
            // No two stores have the same note.
            writer.pending().note(&(seed ^ first).to_le_bytes()).unwrap();
            writer.commit().await.unwrap();
        }
        if is_closed {
            writer.close().await.unwrap();
        }
    });
    let disk = disk.kill();
    disk.settle();
    disk
}

const ROWS: u64 = 1510;

/// Opens and reads everything: rows, or the first error.
fn read(disk: &SimDisk) -> Result<u64> {
    let writer = open(disk)?;
    let found = run(disk, common::rows_of(&writer))?;
    assert!(found == rows(0..found.len() as u64), "wrong rows");
    Ok(found.len() as u64)
}

#[test]
fn what_is_no_directory_or_not_there_is_not_a_store() {
    let disk = SimDisk::new(1);
    let error = refused(&disk, open);
    assert!(matches!(&error, Error::NotAStore { path, .. } if path == Path::new(DIR)), "{error}");
    disk.put_file(DIR, b"a file").unwrap();
    let error = refused(&disk, open);
    assert!(matches!(&error, Error::NotAStore { path, .. } if path == Path::new(DIR)), "{error}");
    let error = refused(&disk, create);
    assert!(matches!(&error, Error::NotAStore { path, .. } if path == Path::new(DIR)), "{error}");
    // A directory is made, but not those above it.
    let disk = SimDisk::new(1);
    let deep =
        refused(&disk, |disk| run(disk, Writer::create_on(disk.clone(), "/a/b/store", schema(), options())));
    assert!(matches!(&deep, Error::Io { path, .. } if path == Path::new("/a/b/store")), "{deep}");
}

#[test]
fn what_holds_no_manifest_is_not_a_store() {
    let contents: [&[&str]; 5] =
        [&[], &["LOCK"], &["LOCK", "manifest-1.tmp-0"], &["manifest-2.tmp-1"], &["lost+found"]];
    for names in contents {
        let disk = SimDisk::new(2);
        disk.make_dirs(DIR).unwrap();
        names.iter().for_each(|name| disk.put_file(format!("{DIR}/{name}"), b"").unwrap());
        let error = refused(&disk, open);
        assert!(matches!(&error, Error::NotAStore { path, .. } if path == Path::new(DIR)), "{error}");
        // It may become one.
        drop(create(&disk).unwrap());
        assert_eq!(read(&disk).unwrap(), 0);
    }
}

#[test]
fn a_directory_with_foreign_files_is_left_alone() {
    let names = ["notes.txt", "log-c", "manifest-01", "manifest-1~", "raw-x", "LOCK.bak", "1.segment.old"];
    for name in names {
        let disk = SimDisk::new(3);
        disk.put_file(format!("{DIR}/{name}"), b"precious").unwrap();
        let error = refused(&disk, open);
        assert!(matches!(error, Error::NotAStore { .. }), "{error}");
        let error = refused(&disk, create);
        assert!(matches!(error, Error::NotAStore { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn foreign_files_in_a_store_are_named_and_left_alone() {
    let disk = store(4, true);
    let foreign = ["notes.txt", "manifest-01", "manifest-2~"];
    foreign.iter().for_each(|name| disk.put_file(format!("{DIR}/{name}"), b"precious").unwrap());
    disk.put_file(format!("{DIR}/raw-0/notes.txt"), b"precious").unwrap();
    // Our own names that no manifest mentions are leftovers, whatever they are.
    disk.put_file(format!("{DIR}/9.segment"), b"?").unwrap();
    disk.put_file(format!("{DIR}/raw-3"), b"not a directory").unwrap();
    disk.make_dirs(format!("{DIR}/manifest-3.tmp-9")).unwrap();
    let mut writer = open(&disk).unwrap();
    assert_eq!(writer.recovery().foreign, ["manifest-01", "manifest-2~", "notes.txt"]);
    run(&disk, async {
        // Into the next segments too: the name that is taken is passed over.
        for number in ROWS..ROWS + 1200 {
            row(number).append(writer.pending()).unwrap();
            if number % 300 == 0 {
                writer.commit().await.unwrap();
            }
        }
        writer.commit().await.unwrap();
        writer.close().await.unwrap();
    });
    assert_eq!(read(&disk).unwrap(), ROWS + 1200);
    for name in foreign.into_iter().chain(["raw-0/notes.txt"]) {
        assert_eq!(disk.file_bytes(format!("{DIR}/{name}")).unwrap(), b"precious");
    }
    assert_eq!(disk.file_bytes(format!("{DIR}/raw-3")).unwrap(), b"not a directory");
}

#[test]
fn parts_of_a_store_without_a_manifest_are_damage() {
    let parts = ["log-a", "log-b", "raw-0/keys", "7.segment"];
    for part in parts {
        let disk = SimDisk::new(5);
        disk.put_file(format!("{DIR}/{part}"), b"part").unwrap();
        for call in [open, create] {
            let error = refused(&disk, call);
            assert!(matches!(&error, Error::Corrupt { path, .. } if path == Path::new(DIR)), "{error}");
        }
    }
    for is_closed in [true, false] {
        let disk = store(5, is_closed);
        disk.unlink(newest_manifest(&disk)).unwrap();
        for call in [open, create] {
            let error = refused(&disk, call);
            assert!(matches!(&error, Error::Corrupt { path, .. } if path == Path::new(DIR)), "{error}");
        }
    }
}

fn newest_manifest(disk: &SimDisk) -> PathBuf {
    let is_manifest = |path: &PathBuf| path.to_str().unwrap().contains("/manifest-");
    disk.files()
        .into_iter()
        .map(|(path, _)| path)
        .filter(is_manifest)
        .max_by_key(|path| path.as_os_str().len())
        .unwrap()
}

#[test]
fn an_unfinished_creation_is_not_a_store_and_can_be_gone_on_with() {
    let whole = SimDisk::new(6);
    drop(create(&whole).unwrap());
    let (mut not_yet, mut stores) = (0, 0);
    for number in 0..whole.operations() {
        let disk = SimDisk::new(6);
        disk.fail_at(number, Fault::Hang);
        let ended = tidelog::disk::sim::run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options()));
        assert!(ended.is_err(), "operation {number} never completes");
        let disk = disk.power_cut();
        match open(&disk) {
            Ok(_) => stores += 1,
            Err(Error::NotAStore { .. }) => {
                not_yet += 1;
                drop(create(&disk).unwrap());
            }
            Err(error) => panic!("operation {number}: {error}"),
        }
        assert_eq!(read(&disk).unwrap(), 0);
        assert!(matches!(refused(&disk, create), Error::Exists { .. }));
    }
    assert!(not_yet > 8 && stores > 20, "{not_yet} {stores}");
}

#[test]
fn a_second_writer_is_locked_out_and_the_first_goes_on() {
    let disk = store(7, true);
    let mut first = open(&disk).unwrap();
    for other in [disk.clone(), disk.another_process()] {
        let error = refused(&other, open);
        assert!(matches!(&error, Error::Locked { path, .. } if path.ends_with("LOCK")), "{error}");
        let error = refused(&other, create);
        assert!(matches!(&error, Error::Exists { path } if path == Path::new(DIR)), "{error}");
    }
    row(ROWS).append(first.pending()).unwrap();
    run(&disk, first.commit()).unwrap();
    run(&disk, first.close()).unwrap();
    assert_eq!(read(&disk.another_process()).unwrap(), ROWS + 1);
}

#[test]
fn a_store_is_not_created_over_another() {
    let disk = store(9, false);
    let error = refused(&disk, create);
    assert!(matches!(&error, Error::Exists { path } if path == Path::new(DIR)), "{error}");
    assert_eq!(read(&disk).unwrap(), ROWS);
}

#[test]
fn a_missing_file_is_named() {
    for is_closed in [true, false] {
        let files = store(10, is_closed).files();
        let mut found = 0;
        for (path, _) in files {
            let disk = store(10, is_closed);
            disk.unlink(&path).unwrap();
            if path.ends_with("LOCK") {
                assert_eq!(read(&disk).unwrap(), ROWS);
                continue;
            }
            match refused(&disk, open) {
                Error::Corrupt { path: named, offset: 0, .. } => {
                    let is_manifest = path == newest_manifest(&store(10, is_closed));
                    assert_eq!(named, if is_manifest { PathBuf::from(DIR) } else { path });
                }
                error => panic!("{}: {error}", path.display()),
            }
            found += 1;
        }
        // Two logs, a manifest, three slots of seven files, two with sums.
        assert_eq!(found, 2 + 1 + 3 * 7 + 2);
    }
}

#[test]
fn another_stores_file_under_our_name_is_refused() {
    for is_closed in [true, false] {
        let mut harmless = Vec::new();
        for (path, _) in store(12, is_closed).files() {
            let (mine, other) = (store(12, is_closed), store(OTHER, is_closed));
            other.copy_file(&path, &mine, &path).unwrap();
            let before = image(&mine);
            let opened = open(&mine).map(drop);
            // Raw files carry values only: what they hold may be found out when it is read.
            let is_raw = path.to_str().unwrap().contains("/raw-");
            assert!(opened.is_err() || is_raw || path.ends_with("LOCK"), "{}", path.display());
            assert!(opened.is_ok() || before == image(&mine), "{}: the disk has changed", path.display());
            match read(&mine) {
                Err(Error::Corrupt { path: named, .. }) => {
                    // A manifest contradicts the log that it finds.
                    let is_log = named.to_str().unwrap().contains("/log-");
                    assert!(named == path || is_log, "{}: {}", path.display(), named.display());
                }
                Err(error) => panic!("{}: {error}", path.display()),
                Ok(found) => {
                    assert_eq!(found, ROWS);
                    harmless.push(path);
                }
            }
        }
        // The newest segment's pages are in the log still, or too few to be in its files.
        let is_harmless = |path: &PathBuf| path.ends_with("LOCK") || path.starts_with(format!("{DIR}/raw-2"));
        assert!(harmless.iter().all(is_harmless) && harmless.len() < 8, "{harmless:?}");
    }
}

#[test]
fn a_directory_under_a_files_name_is_an_error_that_names_it() {
    for name in ["log-a", "log-b", "raw-2/keys", "raw-2/1.data", "LOCK"] {
        let disk = store(15, false);
        let path = PathBuf::from(format!("{DIR}/{name}"));
        disk.unlink(&path).unwrap();
        disk.make_dirs(&path).unwrap();
        match refused(&disk, open) {
            Error::Io { path: named, .. } | Error::Corrupt { path: named, .. } => assert_eq!(named, path),
            error => panic!("{name}: {error}"),
        }
    }
    let disk = store(15, false);
    let newer = PathBuf::from(format!("{DIR}/manifest-99"));
    disk.make_dirs(&newer).unwrap();
    let error = refused(&disk, open);
    assert!(matches!(&error, Error::Io { path, .. } if *path == newer), "{error}");
}
