//! `check`: names every damaged place and nothing else, says what is harmless, and writes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, checksum};
use tidelog::disk::sim::{SimDisk, run};
use tidelog::{Checked, Damage, Error, Notice, check_on};

use super::image::{self, History, Image, generation};
use super::{Verdict, closed, forged, history, not_closed, share};

/// What a check says, and that it has touched nothing.
pub(super) fn checked(disk: &SimDisk) -> Result<Checked, Error> {
    let before = (disk.files(), disk.directories());
    // A world of its own: so that its counts are those of the check.
    let disk = disk.fork(3);
    let checked = run(&disk, check_on(disk.clone(), image::DIR, image::options())).expect("a check ends");
    let counts = disk.counts();
    let changes = [counts.writes, counts.grows, counts.renames, counts.removes, counts.create_dirs];
    assert_eq!(changes, [0; 5], "a check changes nothing");
    assert_eq!((disk.files(), disk.directories()), before, "a check changes nothing");
    checked
}

/// A check finds damage where open or a reader does, and nowhere else.
pub(super) fn agrees(disk: &SimDisk, verdict: Verdict) {
    match checked(disk) {
        Ok(checked) => {
            let is_found = verdict == Verdict::Found;
            assert_eq!(!checked.is_intact(), is_found, "{verdict:?}: {:?}", checked.damage);
        }
        Err(error) => assert_eq!(verdict, Verdict::Found, "{error:?}"),
    }
}

fn intact(disk: &SimDisk) -> Checked {
    let checked = checked(disk).unwrap();
    assert!(checked.is_intact(), "{:?}", checked.damage);
    checked
}

fn damage(disk: &SimDisk) -> Vec<Damage> {
    let checked = checked(disk).unwrap();
    assert!(!checked.is_intact());
    checked.damage
}

#[test]
fn an_intact_store_has_no_damage_and_is_read_to_the_end() {
    for image in [closed(), not_closed().0] {
        let checked = intact(&image.disk);
        assert_eq!((checked.rows, checked.segments), (image.answers.rows, 3));
        let raw = image.disk.files().into_iter().map(|(path, _)| path);
        let raw = raw.filter(|path| path.to_str().unwrap().contains("/raw-") && !path.ends_with("sums"));
        let named: u64 = raw.map(|path| image.named_end(&path)).sum();
        // What a later commit has brought into the files of a store that was not closed is in them too.
        assert!(checked.bytes >= named && checked.bytes < named + (1 << 20), "{} of {named}", checked.bytes);
        let log = |path: &Path| path.ends_with("log-a") || path.ends_with("log-b");
        assert!(checked.notices.iter().all(|notice| log(&notice.path)), "{:?}", checked.notices);
    }
}

/// The rows that lie in a chunk of a raw file of the closed store, where the file's width says it.
fn rows_of(image: &Image, path: &Path, offset: u64) -> Option<std::ops::Range<u64>> {
    let width = match path.file_name()?.to_str()? {
        "keys" | "0.data" => 8,
        "1.data" => 4,
        "1.nulls" | "2.data" | "4.nulls" => 1,
        _ => return None,
    };
    let slot: usize = path.parent()?.to_str()?.strip_prefix("/store/raw-")?.parse().ok()?;
    let (first, end) = (image.segments[slot], image.segments[slot + 1]);
    let end = if slot == 2 { first + image.named_end(path) / width } else { end };
    assert!(offset < 64 << 10, "these files have one chunk");
    Some(first..end)
}

#[test]
fn a_flipped_bit_is_named_with_file_and_offset_and_is_all_that_is_found() {
    let image = closed();
    for (path, len) in image.disk.files() {
        share(len, |offsets| {
            for offset in offsets.filter(|offset| offset % 37 == 0) {
                let disk = image.copy();
                disk.flip(&path, offset, 1 << (offset % 8)).unwrap();
                if !image.is_named(&path, offset) {
                    intact(&disk);
                    continue;
                }
                let found = damage(&disk);
                let [damage] = &found[..] else { panic!("{offset} of {}: {found:?}", path.display()) };
                assert_eq!(damage.path, path, "{offset}: {damage}");
                let end = damage.offset + damage.bytes;
                let is_within = damage.bytes == 0 || (damage.offset..end).contains(&offset);
                assert!(is_within, "byte {offset} of {}: {damage}", path.display());
                if let Some(rows) = rows_of(&image, &path, offset) {
                    assert_eq!(damage.rows, Some(rows), "{damage}");
                    let column = path.file_name().unwrap().to_str().unwrap().split_once('.');
                    let names = ["price", "count", "flag", "name", "blob"];
                    let named = column.map(|(number, _)| names[number.parse::<usize>().unwrap()]);
                    assert_eq!(damage.column.as_deref(), named, "{damage}");
                }
            }
        });
    }
}

#[test]
fn a_file_that_is_too_short_is_named_and_is_all_that_is_found() {
    let image = closed();
    for (path, len) in image.disk.files() {
        let end = image.named_end(&path);
        for cut in [0, 1, 4096, end / 2, end.saturating_sub(1)].into_iter().filter(|cut| *cut < end) {
            let disk = image.copy();
            disk.set_len(&path, cut).unwrap();
            let found = damage(&disk);
            let [damage] = &found[..] else { panic!("{} of {len}: {found:?}", path.display()) };
            assert_eq!(damage.path, path, "{damage}");
        }
    }
}

/// What a crash leaves, and what looks like it: no damage, and said.
#[test]
fn a_last_commit_that_is_not_whole_is_a_notice() {
    let (image, _) = not_closed();
    let last = image.records().pop().unwrap();
    for (offset, what) in
        [(50, "is no record"), (last.bytes.end - last.bytes.start - 1, "never acknowledged")]
    {
        let disk = image.copy();
        disk.flip(&last.path, last.bytes.start + offset, 1).unwrap();
        let found = intact(&disk).notices;
        let here = |notice: &&Notice| notice.path == last.path && notice.offset == Some(last.bytes.start);
        let notice = found.iter().find(here);
        assert!(notice.is_some_and(|notice| notice.what.contains(what)), "{offset}: {found:?}");
    }
}

#[test]
fn every_damaged_place_is_named_at_once() {
    let image = closed();
    let places = [
        ("raw-0/keys", 0),
        ("raw-0/3.offsets", 100),
        ("raw-0/3.data", 5),
        ("raw-1/sums", 70),
        ("raw-2/4.data", 77),
        ("raw-2/4.nulls", 0),
    ];
    let disk = image.copy();
    let mut expected = BTreeSet::new();
    for (name, offset) in places {
        let path = image.path(name);
        if image.is_named(&path, offset) {
            disk.flip(&path, offset, 1).unwrap();
            expected.insert(path);
        }
    }
    disk.unlink(image.path("raw-0/2.data")).unwrap();
    disk.set_len(image.path("raw-2/0.data"), 100).unwrap();
    expected.extend([image.path("raw-0/2.data"), image.path("raw-2/0.data")]);
    assert!(expected.len() >= 7, "{expected:?}");
    let found = damage(&disk);
    let named: BTreeSet<PathBuf> = found.iter().map(|damage| damage.path.clone()).collect();
    assert_eq!(named, expected);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    let of = |name: &str| found.iter().find(|damage| damage.path == image.path(name)).unwrap();
    let in_file = image.named_end(&image.path("raw-2/0.data")) / 8;
    let rows = |first: u64| image.segments[2] + first..image.segments[2] + in_file;
    assert_eq!((of("raw-2/0.data").offset, of("raw-2/0.data").rows.clone()), (100, Some(rows(12))));
    assert_eq!(of("raw-0/2.data").rows, Some(0..image.segments[1]));
}

#[test]
fn a_damaged_chunk_of_values_names_the_rows_that_lie_in_it() {
    let image = closed();
    let path = image.path("raw-1/4.data");
    assert!(image.named_end(&path) > 64 << 10, "there are two chunks");
    let disk = image.copy();
    disk.flip(&path, (64 << 10) + 1, 1).unwrap();
    let found = damage(&disk);
    let [damage] = &found[..] else { panic!("{found:?}") };
    let rows = damage.rows.clone().unwrap();
    assert_eq!(damage.offset, 64 << 10);
    let all = image.segments[1]..image.segments[2];
    assert!(rows.start > all.start && rows.end == all.end, "{damage}");
}

#[test]
fn an_unreadable_page_is_damage_with_its_chunk() {
    let image = closed();
    let disk = image.copy();
    let path = image.path("raw-1/0.data");
    disk.set_unreadable(&path, 4096).unwrap();
    let rows = image.segments[1]..image.segments[2];
    let checked = run(&disk, check_on(disk.clone(), image::DIR, image::options())).unwrap().unwrap();
    let [damage] = &checked.damage[..] else { panic!("{:?}", checked.damage) };
    assert_eq!((&damage.path, damage.offset, damage.rows.clone()), (&path, 0, Some(rows)), "{damage}");
    assert!(damage.what.contains("does not give it back"), "{damage}");
}

#[test]
fn what_is_harmless_is_a_notice_and_no_damage() {
    let image = closed();
    let before: Vec<_> = intact(&image.disk).notices;
    let newest = generation(&image.newest_manifest());
    let cases = [
        (format!("manifest-{}", newest - 1), "an older manifest"),
        (format!("manifest-{}.tmp-3", newest + 1), "not finished"),
        ("17.segment".to_owned(), "no manifest names it"),
        ("raw-9/keys".to_owned(), "a free slot"),
        ("raw-1/notes.txt".to_owned(), "no manifest names it"),
        ("raw-2/sums".to_owned(), "no manifest names it"),
        ("README".to_owned(), "not tidelog's"),
    ];
    let disk = image.copy();
    for (name, what) in &cases {
        disk.put_file(image.path(name), b"anything at all").unwrap();
        let found = intact(&disk).notices;
        let name = if name.starts_with("raw-9") { "raw-9" } else { name };
        let notice = found.iter().find(|notice| notice.path == image.path(name));
        assert!(notice.is_some_and(|notice| notice.what.contains(what)), "{name}: {found:?}");
    }
    assert_eq!(intact(&disk).notices.len(), before.len() + cases.len());
}

#[test]
fn what_is_no_store_is_said_and_an_unfinished_creation_is_no_damage() {
    let disk = SimDisk::new(1);
    assert!(matches!(checked(&disk), Err(Error::NotAStore { .. })));
    disk.make_dirs(image::DIR).unwrap();
    assert!(matches!(checked(&disk), Err(Error::NotAStore { .. })));
    let path = |name: &str| Path::new(image::DIR).join(name);
    disk.put_file(path("LOCK"), b"").unwrap();
    disk.put_file(path("manifest-1.tmp-0"), b"half").unwrap();
    let unfinished = intact(&disk);
    assert!(unfinished.notices[0].what.contains("not finished"), "{unfinished:?}");
    disk.put_file(path("log-a"), b"").unwrap();
    assert!(!checked(&disk).unwrap().is_intact(), "parts of a store without a manifest");
}

/// The finished segment in slot 0 with other bytes in one of its files, and checksums that fit them: what only a
/// writer gone wrong could have written.
fn written_wrong(image: &Image, file: &str, offset: usize, bytes: &[u8]) -> SimDisk {
    const FILES: [&str; 9] =
        ["keys", "0.data", "1.data", "1.nulls", "2.data", "3.data", "3.offsets", "4.data", "4.offsets"];
    let crc = |bytes: &[u8]| u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap().to_le_bytes();
    let disk = image.copy();
    let path = image.path("raw-0").join(file);
    let end = usize::try_from(image.named_end(&path)).unwrap();
    disk.overwrite(&path, offset as u64, bytes).unwrap();
    let contents = disk.file_bytes(&path).unwrap();
    let chunk = offset >> 16;
    let sum = crc(&contents[chunk << 16..end.min((chunk + 1) << 16)]);
    let (sums_path, manifest_path) = (image.path("raw-0/sums"), image.newest_manifest());
    let sums = disk.file_bytes(&sums_path).unwrap();
    let mut at = 68;
    for _ in FILES.iter().take_while(|known| **known != file) {
        at += 4 + 4 * u32::from_le_bytes(*sums[at..].first_chunk().unwrap()) as usize;
    }
    let new_sums = forged(&sums, [3, 0, 0, 0], at + 4 + 4 * chunk, &sum);
    disk.put_file(&sums_path, &new_sums).unwrap();
    let manifest = disk.file_bytes(&manifest_path).unwrap();
    let named = manifest.windows(4).position(|bytes| bytes == crc(&sums)).unwrap();
    let manifest = forged(&manifest, [2, 0, 0, generation(&manifest_path)], named, &crc(&new_sums));
    disk.put_file(&manifest_path, &manifest).unwrap();
    disk
}

#[test]
fn what_no_writer_writes_is_damage_although_its_checksum_is_right() {
    let image = closed();
    intact(&written_wrong(&image, "keys", 0, &[0; 8]));
    let last = usize::try_from(image.segments[1]).unwrap() - 1;
    let nulls = image.disk.file_bytes(image.path("raw-0/1.nulls")).unwrap();
    let null = nulls.iter().position(|null| *null == 1).unwrap();
    let text = image.disk.file_bytes(image.path("raw-0/3.data")).unwrap();
    let letter = text.iter().position(|byte| *byte == b'a').unwrap();
    let ones = [1_u64.to_le_bytes(); 3].concat();
    let far = 1_000_000_u64.to_le_bytes();
    let cases: [(&str, usize, &[u8], &str); 10] = [
        ("keys", 8 * 10, &far, "below the one before"),
        ("keys", 0, &ones, "a lookup would miss"),
        ("keys", 8 * last, &far, "not the one that the manifest names"),
        ("keys", 8 * (last + 1), &[1], "padding"),
        ("1.nulls", 7, &[2], "0 or 1"),
        ("2.data", 7, &[9], "0 or 1"),
        ("1.data", 4 * null, &[5], "the bytes of a null are zero"),
        ("3.data", letter, &[0xFF], "UTF-8"),
        ("3.offsets", 8 * 20, &far, "never going back"),
        ("4.offsets", 8 * last, &[0; 8], "never going back"),
    ];
    for (file, offset, bytes, what) in cases {
        let found = damage(&written_wrong(&image, file, offset, bytes));
        let path = image.path("raw-0").join(file);
        assert!(found.iter().all(|damage| damage.path == path), "{file}: {found:?}");
        assert!(found.iter().any(|damage| damage.what.contains(what)), "{file}, {what}: {found:?}");
    }
}

/// A check beside a writer at work, many orders of their operations: the store is intact, and says so.
#[test]
fn beside_a_writer_at_work_nothing_is_damaged() {
    for seed in 0..150 {
        let mut history: History = history(seed);
        let disk = history.disk.clone();
        let again_and_again = async || {
            let mut all = Vec::new();
            for _ in 0..12 {
                all.push(check_on(disk.clone(), image::DIR, image::options()).await);
            }
            all
        };
        let (rows_before, all) = history.beside(again_and_again);
        let mut rows = rows_before;
        for checked in all {
            let checked = checked.unwrap();
            assert!(checked.is_intact(), "seed {seed}: {:?}", checked.damage);
            assert!(checked.rows >= rows && checked.segments >= 3, "seed {seed}: {checked:?}");
            // What the writer has committed since the log was walked is whole.
            let torn = checked.notices.iter().find(|notice| notice.what.contains("never acknowledged"));
            assert_eq!(torn, None, "seed {seed}");
            rows = checked.rows;
        }
    }
}
