//! Damage: whatever becomes of a store's files, a reader is told what was written, or that it is damaged.
//!
//! Every bit and every truncation of every file of a small store, closed and not closed; files missing, extended,
//! swapped, put back from an older copy, taken from another store. What the manifest or the chain of records names
//! must be found, everything else must be harmless; an open that refuses has changed nothing; nothing panics or
//! hangs. Run here: every named byte (all bits of what has a structure, one bit of a value's), and a sample of the
//! rest. All of it, through open, in about half an hour:
//!
//! ```text
//! TIDELOG_EVERY=1 cargo test --release --test damage
//! ```
//!
//! Not here: bytes that somebody made to deceive (`src/format/tests`), disks that fail.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use crc_fast::{CrcAlgorithm, checksum};
use tidelog::Error;
use tidelog::disk::sim::SimDisk;

#[path = "damage/check.rs"]
mod check;
#[path = "damage/image.rs"]
mod image;
#[path = "damage/inspect.rs"]
mod inspect;
#[path = "damage/sealed.rs"]
mod sealed;

use image::{Answers, History, Image, Patient, WAYS, Way, generation};

const THREADS: u64 = 2;
const CHUNK: u64 = 64 << 10;

/// Whether all of it is wanted, not what a test run has time for.
fn every() -> bool {
    std::env::var_os("TIDELOG_EVERY").is_some_and(|value| value == "1")
}

/// Two segments are finished, the active one has bytes in files and in the manifest, both log files were used.
fn history(salt: u64) -> History {
    let mut history = History::new(salt);
    history.commit(40).commit(570).commit(10).checkpoint().commit(9).commit(30).commit(500);
    (0..20).for_each(|count| _ = history.commit(1 + count % 3));
    history
}

fn closed() -> Image {
    let image = history(1).close().image();
    let records = |name: &str| image.records().iter().filter(|record| record.path.ends_with(name)).count();
    assert!(records("log-a") > 2 && records("log-b") > 2, "both log files were used");
    assert!(image.named_end(&image.path("raw-1/4.data")) > CHUNK, "a file has two chunks");
    let tails = ["raw-2/keys", "raw-2/4.data"].map(|name| image.path(name));
    assert!(tails.iter().all(|path| image.named_end(path) > 0), "the active segment has bytes in its files");
    image
}

/// What became of a damaged store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It says what it said before.
    Same,
    /// It says what it said before its last commit.
    Shorter,
    /// Damage was found, by open or by a reader.
    Found,
}

/// Who looks at a damaged store.
struct Doctor<'a> {
    image: &'a Image,
    /// What the store may say instead: what it said before its last commits.
    shorter: &'a [Answers],
    /// The one file that is damaged: errors must name it.
    path: Option<&'a Path>,
}

impl<'a> Doctor<'a> {
    fn new(image: &'a Image) -> Self {
        Doctor { image, shorter: &[], path: None }
    }

    fn of(image: &'a Image, path: &'a Path) -> Self {
        Doctor { path: Some(path), ..Doctor::new(image) }
    }

    /// Opens the store and asks in these ways; any answer but a right one is a failure.
    fn look(&self, disk: SimDisk, ways: &[Way]) -> Verdict {
        let untouched = disk.fork(4);
        let verdict = self.open(disk, ways);
        // Where a reader is asked for everything, a check must say the same.
        if ways.len() == WAYS.len() {
            check::agrees(&untouched, verdict);
        }
        verdict
    }

    fn open(&self, disk: SimDisk, ways: &[Way]) -> Verdict {
        let before = disk.files();
        let patient = match Patient::open(disk.clone(), self.image.salt) {
            Ok(patient) => patient,
            Err(error) => {
                self.check_error(&error);
                let counts = disk.counts();
                let changes =
                    [counts.writes, counts.grows, counts.renames, counts.removes, counts.create_dirs];
                assert_eq!(changes, [0; 5], "an open that refuses changes nothing");
                assert_eq!(disk.files(), before, "an open that refuses changes nothing");
                return Verdict::Found;
            }
        };
        self.ask(&patient, ways)
    }

    /// Asks a store that is open.
    fn ask(&self, patient: &Patient, ways: &[Way]) -> Verdict {
        let known = std::iter::once(&self.image.answers).chain(self.shorter);
        let Some(answers) = known.into_iter().find(|answers| patient.is_like(answers)) else {
            panic!("it has {} rows now, and the note {:?}", patient.rows(), patient.note())
        };
        let is_shorter = answers.rows != self.image.answers.rows;
        let mut verdict = if is_shorter { Verdict::Shorter } else { Verdict::Same };
        for way in ways {
            match patient.ask(*way) {
                Ok(answer) => assert!(answer == *answers.of(*way), "{way:?} gives wrong rows"),
                Err(error) => {
                    self.check_error(&error);
                    verdict = Verdict::Found;
                }
            }
        }
        verdict
    }

    fn check_error(&self, error: &Error) {
        let Error::Corrupt { path, .. } = error else { panic!("this is no answer to damage: {error:?}") };
        assert!(
            self.path.is_none_or(|damaged| damaged == path),
            "another file is said to be damaged: {error}"
        );
    }
}

/// Lets two threads do the work: every place is some thread's.
fn share(places: u64, work: impl Fn(&mut dyn Iterator<Item = u64>) + Sync) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(&mut (thread..places).step_by(usize::try_from(THREADS).unwrap())));
        }
    });
}

/// Says what was done if it fails.
fn told<T>(what: impl Fn() -> String, look: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| {
        eprintln!("this was done to the store: {}", what());
        resume_unwind(panic)
    })
}

/// Forward always; the other ways by turns, or with only a few of the places.
fn ways(turn: u64) -> [Way; 2] {
    [Way::Forward, WAYS[1 + usize::try_from(turn % 4).unwrap()]]
}

/// Bits to be flipped in a byte, as a mask of those.
fn bits(image: &Image, path: &Path, offset: u64) -> u8 {
    let one = 1_u8.rotate_left(u32::try_from((offset + offset / 8) % 8).unwrap());
    let has_structure =
        generation(path) > 0 || path.ends_with("sums") || path.parent() == Some(Path::new(image::DIR));
    match image.is_named(path, offset) {
        _ if every() => 0xFF,
        true if has_structure => 0xFF,
        true => one,
        false if offset.is_multiple_of(29) => one,
        false => 0,
    }
}

#[test]
fn every_bit_of_a_closed_store_is_found_or_harmless() {
    let image = closed();
    for (path, len) in image.disk.files() {
        let is_raw = path.parent() != Some(Path::new(image::DIR));
        share(len, |offsets| {
            // Raw files are read behind open only: one open does for all their bits, unless all is wanted.
            let open = (is_raw && !every()).then(|| Patient::open(image.copy(), image.salt).unwrap());
            for offset in offsets {
                flip_each(&image, open.as_ref(), &path, offset);
            }
        });
    }
}

fn flip_each(image: &Image, open: Option<&Patient>, path: &Path, offset: u64) {
    let chosen = bits(image, path, offset);
    let doctor = Doctor::of(image, path);
    for bit in (0..8).filter(|bit| chosen & (1 << bit) != 0) {
        let what = || format!("bit {bit} of byte {offset} of {} flipped", path.display());
        let turn = offset * 8 + bit;
        let verdict = told(what, || match open {
            Some(patient) => {
                patient.disk.flip(path, offset, 1 << bit).unwrap();
                let ways = ways(turn / 8);
                let verdict = doctor.ask(patient, if turn.is_multiple_of(61) { &ways } else { &ways[..1] });
                patient.disk.flip(path, offset, 1 << bit).unwrap();
                verdict
            }
            None => {
                let disk = image.copy();
                disk.flip(path, offset, 1 << bit).unwrap();
                doctor.look(disk, &ways(turn))
            }
        });
        let expected = if image.is_named(path, offset) { Verdict::Found } else { Verdict::Same };
        assert_eq!(verdict, expected, "{}", what());
    }
}

/// Lengths to cut a file to.
fn cuts(len: u64) -> impl Iterator<Item = u64> {
    let page = tidelog::disk::PAGE as u64;
    (0..len).filter(move |cut| every() || cut % 211 == 0 || [0, 1, page - 1].contains(&(cut % page)))
}

#[test]
fn every_truncation_of_a_closed_store_is_found_or_harmless() {
    let image = closed();
    for (path, len) in image.disk.files() {
        let cuts: Vec<u64> = cuts(len).collect();
        share(cuts.len() as u64, |places| {
            for place in places {
                let cut = cuts[usize::try_from(place).unwrap()];
                let what = || format!("{} cut to {cut} of {len} bytes", path.display());
                let disk = image.copy();
                disk.set_len(&path, cut).unwrap();
                let verdict = told(what, || Doctor::of(&image, &path).look(disk, &ways(place)));
                // Logs have one length: that they are not named to their end makes no difference.
                let is_log = path.ends_with("log-a") || path.ends_with("log-b");
                let is_harmless = !is_log && cut >= image.named_end(&path);
                assert_eq!(verdict, if is_harmless { Verdict::Same } else { Verdict::Found }, "{}", what());
            }
        });
    }
}

/// A store whose writer was killed, with records in both log files behind its manifest; and what it said before
/// each of the commits in them.
fn not_closed() -> (Image, Vec<Answers>) {
    let mut history = history(1);
    let near_end = |image: &Image| image.records().last().is_some_and(|last| last.bytes.end > 11 << 12);
    while !near_end(&history.image()) {
        history.commit(1);
    }
    history.checkpoint();
    let mut before = Vec::new();
    while before.len() < 4 || !is_in_both_files(&history.image()) {
        before.push(history.image().answers);
        history.commit(2);
    }
    (history.image(), before)
}

fn is_in_both_files(image: &Image) -> bool {
    ["log-a", "log-b"].iter().all(|name| image.named_end(&image.path(name)) > 0)
}

#[test]
fn a_store_that_was_not_closed_loses_its_last_commit_at_most() {
    let (image, before) = not_closed();
    let last = image.records().pop().unwrap();
    let doctor = Doctor { shorter: &before[before.len() - 1..], ..Doctor::new(&image) };
    for (path, len) in image.disk.files() {
        let is_log = path.ends_with("log-a") || path.ends_with("log-b");
        share(len, |offsets| {
            for offset in offsets {
                let is_chain = is_log && image.is_named(&path, offset);
                let expected: &[Verdict] = match () {
                    () if path == last.path && last.bytes.contains(&offset) => &[Verdict::Shorter],
                    () if is_chain => &[Verdict::Found],
                    () if is_log => &[Verdict::Same],
                    () => &[Verdict::Same, Verdict::Found],
                };
                let bits = match () {
                    () if every() => 0..8,
                    () if is_chain || offset.is_multiple_of(23) => offset % 8..offset % 8 + 1,
                    () => 0..0,
                };
                for bit in bits {
                    let what = || format!("bit {bit} of byte {offset} of {} flipped", path.display());
                    let disk = image.copy();
                    disk.flip(&path, offset, 1 << bit).unwrap();
                    let verdict = told(what, || doctor.look(disk, &ways(offset + bit)));
                    assert!(expected.contains(&verdict), "{}: {verdict:?}", what());
                }
            }
        });
        for cut in cuts(len).filter(|cut| is_log || cut % 4096 == 0) {
            let disk = image.copy();
            disk.set_len(&path, cut).unwrap();
            let what = || format!("{} cut to {cut} of {len} bytes", path.display());
            let verdict = told(what, || doctor.look(disk, &ways(cut)));
            assert!(
                verdict == Verdict::Found || !is_log && verdict == Verdict::Same,
                "{}: {verdict:?}",
                what()
            );
        }
    }
}

/// Replaces files of a copy of a store, and looks.
fn replaced(doctor: &Doctor<'_>, files: &[(&Path, &[u8])]) -> Verdict {
    let names: Vec<_> = files.iter().map(|(path, bytes)| (path.display(), bytes.len())).collect();
    let disk = doctor.image.copy();
    for (path, bytes) in files {
        disk.put_file(path, bytes).unwrap();
    }
    told(|| format!("other contents for {names:?}"), || doctor.look(disk, &WAYS))
}

/// Whether a file with these bytes has all that is named of it.
fn holds_what_is_named(image: &Image, path: &Path, bytes: &[u8]) -> bool {
    let mine = image.disk.file_bytes(path).unwrap();
    (0..).zip(&mine).all(|(offset, byte)| {
        let other = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset));
        !image.is_named(path, offset) || other == Some(byte)
    })
}

/// Where a store's files may come from that are not its own as they are now.
struct Strangers {
    /// Of the same store, earlier.
    older: Image,
    /// A copy of the older one that lived on by itself, and was closed.
    twin: Image,
    /// Another store with the same history.
    other: Image,
}

/// A store, and strangers to it.
fn family() -> (Image, Strangers) {
    let mut history = history(1);
    let older = history.close().image();
    let mut twin = history.copy();
    let twin = twin.open().commit(40).commit(300).commit(2).close().image();
    let image =
        history.open().commit(3).commit(41).commit(200).commit(1).checkpoint().commit(1).close().image();
    let other = closed_with(2);
    (image, Strangers { older, twin, other })
}

fn closed_with(salt: u64) -> Image {
    let mut history = history(salt);
    history.close().open().commit(3).commit(41).commit(200).commit(1).checkpoint().commit(1).close().image()
}

#[test]
fn a_log_that_is_not_the_stores_own_is_refused_or_harmless() {
    let (image, strangers) = family();
    let logs = ["log-a", "log-b"].map(|name| image.path(name));
    let mine = logs.each_ref().map(|path| image.disk.file_bytes(path).unwrap());
    let doctor = Doctor::new(&image);
    let swapped = replaced(&doctor, &[(&logs[0], &mine[1]), (&logs[1], &mine[0])]);
    assert_eq!(swapped, Verdict::Found, "the two log files swapped");
    for (path, of) in logs.iter().zip([1, 0]) {
        let theirs = |stranger: &Image| stranger.disk.file_bytes(path).unwrap();
        // Of these the first page says that they are somebody else's, whether they are needed or not.
        let foreign = [mine[of].clone(), theirs(&strangers.other)].map(|bytes| (bytes, true));
        let [older, twin] = [theirs(&strangers.older), theirs(&strangers.twin)];
        let own = [vec![0; mine[0].len()], older, twin].map(|bytes| (bytes, false));
        for (bytes, is_foreign) in own.into_iter().chain(foreign) {
            let is_harmless = !is_foreign && holds_what_is_named(&image, path, &bytes);
            let expected = if is_harmless { Verdict::Same } else { Verdict::Found };
            assert_eq!(replaced(&doctor, &[(path, &bytes)]), expected, "{}", path.display());
        }
    }
    for stranger in [&strangers.older, &strangers.twin, &strangers.other] {
        let theirs = logs.each_ref().map(|path| stranger.disk.file_bytes(path).unwrap());
        let both = replaced(&doctor, &[(&logs[0], &theirs[0]), (&logs[1], &theirs[1])]);
        assert_eq!(both, Verdict::Found, "both log files from elsewhere");
    }
    let zeros = vec![0; mine[0].len()];
    let both = replaced(&doctor, &[(&logs[0], &zeros), (&logs[1], &zeros)]);
    assert_eq!(both, Verdict::Found, "both log files turned to zeros");
}

/// What DESIGN calls the residue: of a store that was not closed, the log may lose its end unseen, never more.
#[test]
fn a_log_put_back_in_a_store_that_was_not_closed_takes_whole_commits_from_its_end() {
    let (image, before) = not_closed();
    let doctor = Doctor { shorter: &before, ..Doctor::new(&image) };
    let first =
        image.path(if image.records().last().unwrap().path.ends_with("log-b") { "log-a" } else { "log-b" });
    let second = image.records().pop().unwrap().path;
    let zeros = vec![0; 64 << 10];
    assert_eq!(
        replaced(&doctor, &[(&first, &zeros)]),
        Verdict::Found,
        "the file that the manifest points into"
    );
    assert_eq!(replaced(&doctor, &[(&second, &zeros)]), Verdict::Shorter, "the file entered since");
    let mine = [&first, &second].map(|path| image.disk.file_bytes(path).unwrap());
    assert_eq!(replaced(&doctor, &[(&first, &mine[1]), (&second, &mine[0])]), Verdict::Found, "swapped");
    let theirs = closed_with(2).disk.file_bytes(&second).unwrap();
    assert_eq!(replaced(&doctor, &[(&second, &theirs)]), Verdict::Found, "another store's");
    // Records of the chain, turned to zeros from each on to the end.
    let chain: Vec<_> = image.records().into_iter().rev().take(before.len()).collect();
    let disk = image.copy();
    for record in chain {
        let len = usize::try_from(record.bytes.end - record.bytes.start).unwrap();
        disk.overwrite(&record.path, record.bytes.start, &vec![0; len]).unwrap();
        let verdict =
            told(|| format!("no record from {} on", record.sequence), || doctor.look(disk.fork(1), &WAYS));
        assert_eq!(verdict, Verdict::Shorter);
    }
}

#[test]
fn a_manifest_that_is_not_the_newest_one_is_refused_or_says_the_same() {
    let mut history = history(1);
    let image = history.close().image();
    let newest = image.newest_manifest();
    let doctor = Doctor::new(&image);
    assert!(history.manifests.len() > 4, "there were several manifests");
    for (path, bytes) in history.manifests.iter().filter(|(path, _)| **path != newest) {
        let under_its_name = replaced(&Doctor::of(&image, &newest), &[(&newest, bytes)]);
        assert_eq!(under_its_name, Verdict::Found, "{} under the newest one's name", path.display());
        assert_eq!(
            replaced(&doctor, &[(path, bytes)]),
            Verdict::Same,
            "{} beside the newest",
            path.display()
        );
        let disk = image.copy();
        disk.put_file(path, bytes).unwrap();
        disk.unlink(&newest).unwrap();
        let verdict = told(|| format!("{} is the newest", path.display()), || doctor.look(disk, &WAYS));
        // The log still holds all that the last checkpoint brought into the newest manifest.
        let is_last = generation(path) + 1 == generation(&newest);
        assert_eq!(verdict, if is_last { Verdict::Same } else { Verdict::Found }, "{}", path.display());
    }
    let other = closed_with(2);
    let theirs = other.disk.file_bytes(other.newest_manifest()).unwrap();
    assert_eq!(replaced(&doctor, &[(&newest, &theirs)]), Verdict::Found, "another store's manifest");
    let later = image.path("manifest-1000");
    let mine = image.disk.file_bytes(&newest).unwrap();
    for bytes in [&mine[..], &theirs, &[0; 4096], &[]] {
        assert_eq!(replaced(&Doctor::of(&image, &later), &[(&later, bytes)]), Verdict::Found, "a later one");
    }
    let temporary = image.path("manifest-1000.tmp-7");
    assert_eq!(replaced(&doctor, &[(&temporary, &[7; 5000])]), Verdict::Same, "a temporary");
}

#[test]
fn raw_files_and_sums_from_elsewhere_are_found() {
    let (image, strangers) = family();
    let is_raw = |path: &PathBuf| path.parent() != Some(Path::new(image::DIR));
    let raw: Vec<PathBuf> = image.disk.files().into_iter().map(|(path, _)| path).filter(is_raw).collect();
    let strangers = [&strangers.older, &strangers.twin, &strangers.other];
    share(raw.len() as u64, |places| {
        for place in places {
            let path = &raw[usize::try_from(place).unwrap()];
            let mut contents: Vec<(String, Vec<u8>)> = Vec::new();
            for from in raw.iter().filter(|from| *from != path) {
                contents.push((from.display().to_string(), image.disk.file_bytes(from).unwrap()));
            }
            for (stranger, name) in strangers.iter().zip(["older", "twin", "other"]) {
                if let Ok(bytes) = stranger.disk.file_bytes(path) {
                    contents.push((name.to_owned(), bytes));
                }
            }
            for (from, bytes) in contents {
                let is_harmless = holds_what_is_named(&image, path, &bytes);
                let verdict = replaced(&Doctor::of(&image, path), &[(path, &bytes)]);
                let expected = if is_harmless { Verdict::Same } else { Verdict::Found };
                assert_eq!(verdict, expected, "{} holds what {from} does", path.display());
            }
        }
    });
    for stranger in strangers {
        for slot in ["raw-0", "raw-1", "raw-2"] {
            let files: Vec<_> = raw.iter().filter(|path| path.starts_with(image.path(slot))).collect();
            let theirs: Vec<_> =
                files.iter().map(|path| stranger.disk.file_bytes(path).unwrap_or_default()).collect();
            let files: Vec<(&Path, &[u8])> =
                files.into_iter().zip(&theirs).map(|(path, bytes)| (path.as_path(), &bytes[..])).collect();
            let is_harmless = files.iter().all(|(path, bytes)| holds_what_is_named(&image, path, bytes));
            let expected = if is_harmless { Verdict::Same } else { Verdict::Found };
            assert_eq!(replaced(&Doctor::new(&image), &files), expected, "all of {slot} from elsewhere");
        }
    }
}

#[test]
fn missing_files_are_named_and_longer_ones_are_harmless() {
    let image = closed();
    for (path, len) in image.disk.files() {
        let disk = image.copy();
        disk.unlink(&path).unwrap();
        let verdict = told(
            || format!("{} is missing", path.display()),
            || match generation(&path) {
                0 => Doctor::of(&image, &path).look(disk, &WAYS),
                _ => Doctor::new(&image).look(disk, &WAYS),
            },
        );
        let is_needed = !path.ends_with("LOCK");
        assert_eq!(verdict, if is_needed { Verdict::Found } else { Verdict::Same }, "{}", path.display());
        for more in [1, 4095, 4096, 70_000] {
            let mut bytes = image.disk.file_bytes(&path).unwrap();
            bytes.resize(usize::try_from(len).unwrap() + more, 0xA5);
            let verdict = replaced(&Doctor::of(&image, &path), &[(&path, &bytes)]);
            // A manifest is as long as it says that it is; of other files only what is named matters.
            let is_found = generation(&path) > 0;
            assert_eq!(verdict, if is_found { Verdict::Found } else { Verdict::Same }, "{}", path.display());
        }
    }
}

#[test]
fn a_directory_in_place_of_a_file_is_an_error_that_names_it() {
    let image = closed();
    for (path, _) in image.disk.files() {
        let disk = image.copy();
        disk.unlink(&path).unwrap();
        disk.make_dirs(&path).unwrap();
        let before = disk.files();
        let error = match Patient::open(disk.clone(), image.salt) {
            Ok(patient) => patient.ask(Way::Forward).expect_err("a directory is no file"),
            Err(error) => {
                assert_eq!(disk.files(), before);
                error
            }
        };
        let (Error::Io { path: named, .. } | Error::Corrupt { path: named, .. }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*named, path, "{error}");
    }
}

/// A piece with other bytes and right checksums, as a newer tidelog, or one gone wrong, would have written it: by
/// docs/format.md, "Conventions", "Record", "Sheet".
fn forged(piece: &[u8], place: [u64; 4], offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut forged = piece.to_vec();
    forged[offset..offset + bytes.len()].copy_from_slice(bytes);
    let mut salt: Vec<u8> = place.iter().flat_map(|number| number.to_le_bytes()).collect();
    salt.extend_from_slice(&piece[16..32]);
    let sum = |of: CrcAlgorithm, parts: &[&[u8]]| checksum(of, &[&[&salt[..]], parts].concat().concat());
    if piece.starts_with(b"TLRECORD") {
        let header = sum(CrcAlgorithm::Crc64Nvme, &[&forged[..72]]);
        let record = sum(CrcAlgorithm::Crc64Nvme, &[&forged[..72], &[0; 16], &forged[88..]]);
        forged[72..80].copy_from_slice(&header.to_le_bytes());
        forged[80..88].copy_from_slice(&record.to_le_bytes());
    } else {
        let sheet = sum(CrcAlgorithm::Crc32Iscsi, &[&forged[..52], &[0; 4], &forged[56..]]);
        forged[52..56].copy_from_slice(&sheet.to_le_bytes()[..4]);
    }
    forged
}

#[test]
fn a_newer_format_is_named_and_one_that_contradicts_itself_is_damage() {
    let (image, _) = not_closed();
    let refused = |path: &Path, offset: u64, bytes: &[u8]| {
        let disk = image.copy();
        disk.overwrite(path, offset, bytes).unwrap();
        let before = disk.files();
        let error = Patient::open(disk.clone(), image.salt).err();
        let is_untouched = disk.counts().writes == 0 && disk.files() == before;
        assert!(error.is_none() || is_untouched, "an open that refuses changes nothing");
        error
    };
    let newest = image.newest_manifest();
    let piece = image.disk.file_bytes(&newest).unwrap();
    let manifest = |offset, bytes: &[u8]| {
        refused(&newest, 0, &forged(&piece, [2, 0, 0, generation(&newest)], offset, bytes))
    };
    assert!(manifest(8, &[1, 0]).is_none(), "with the same bytes it is the same manifest");
    let error = manifest(8, &[2, 0]);
    assert!(matches!(&error, Some(Error::Version { found: 2, path, .. }) if *path == newest), "{error:?}");
    let error = manifest(64, &[99, 0]);
    assert!(matches!(&error, Some(Error::Corrupt { path, .. }) if *path == newest), "{error:?}");

    // The last record: one that is torn is dropped, one that was written so is not.
    let last = image.records().pop().unwrap();
    let start = usize::try_from(last.bytes.start).unwrap();
    let piece = &image.disk.file_bytes(&last.path).unwrap()[start..usize::try_from(last.bytes.end).unwrap()];
    let epoch = u64::from_le_bytes(*piece[32..].first_chunk().unwrap());
    let place = [1, u64::from(last.path.ends_with("log-b")), last.bytes.start >> 12, epoch];
    let record =
        |offset, bytes: &[u8]| refused(&last.path, last.bytes.start, &forged(piece, place, offset, bytes));
    assert!(record(8, &[1, 0]).is_none(), "with the same bytes it is the same record");
    let error = record(8, &[2, 0]);
    assert!(matches!(&error, Some(Error::Version { found: 2, path, .. }) if *path == last.path), "{error:?}");
    let error = record(96, &[99, 0]);
    assert!(matches!(&error, Some(Error::Corrupt { path, .. }) if *path == last.path), "{error:?}");
}

/// What is harmless now does not come to life under the next writer.
#[test]
fn harmless_damage_stays_harmless() {
    let mut history = history(1);
    let image = history.close().image();
    let next = |history: &mut History| {
        history.open();
        (0..30).for_each(|count| _ = history.commit(1 + count % 5));
        history.commit(300).checkpoint().commit(2).close().image()
    };
    let expected = next(&mut history.copy());
    for (path, len) in image.disk.files() {
        for offset in (0..len + 9000).step_by(if every() { 61 } else { 1999 }) {
            if image.is_named(&path, offset) || offset >= len && generation(&path) > 0 {
                continue;
            }
            let mut copy = history.copy();
            copy.disk.overwrite(&path, offset, &[0x5A; 3]).unwrap();
            let what = || format!("bytes {offset} to {} of {} overwritten", offset + 3, path.display());
            let image = told(what, || next(&mut copy));
            assert!(image.answers == expected.answers, "{}", what());
        }
    }
}

#[test]
fn a_store_whose_manifests_are_all_gone_is_never_taken_for_an_empty_one() {
    let image = closed();
    let disk = image.copy();
    disk.unlink(image.newest_manifest()).unwrap();
    assert_eq!(Doctor::new(&image).look(disk.fork(1), &WAYS), Verdict::Found);
    let error = image::create(&disk).expect_err("parts of a store are here");
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert_eq!(disk.counts().writes, 0);
}
