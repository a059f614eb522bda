//! Damage of sealed segments: a small store whose segments hold every codec of the fast tier, and the same compacted,
//! with every codec of the dense one. Each bit and each length of their files, and files that are other ones. Answers are
//! the right ones or name the file; a check finds every flipped bit; what is not damaged stays readable.
//!
//! Not here: an index that somebody made to deceive (`src/format/tests/segments.rs`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidelog::disk::sim::{Settings, SimDisk, run};
use tidelog::{
    Batch, Column, ColumnId, Damage, Error, Hex, Inspect, Kind, Maintain, Maintained, Options, Position,
    Scan, Schema, Seek, Slice, Snapshot, Store, Tier, Value, Writer, inspect_on,
};

use super::check::checked;
use super::image::DIR;
use super::{every, share, told};

/// The second segment begins a little before the end of a row group, so it has rows of two; the third one is raw.
const SEGMENTS: [u64; 4] = [0, 16_200, 17_800, 17_860];
const GROUP: u64 = 16_384;
/// What is asked for: all of the second segment, some of its neighbours.
const ROWS: Range<u64> = 16_150..17_860;
const NUMBERS: [u32; 4] = [0, 1, 2, 3];
const COLUMNS: u32 = 8;
const LINE: ColumnId = ColumnId(5);

fn schema() -> Schema {
    let columns = [
        Column::new("walk", Kind::F64),
        Column::new("real", Kind::F64).nullable(),
        Column::new("few", Kind::I64),
        Column::new("count", Kind::U32),
        Column::new("flag", Kind::Bool),
        Column::new("line", Kind::Text),
        Column::new("venue", Kind::Text).nullable(),
        Column::new("blob", Kind::Bytes),
    ];
    Schema::new(columns).unwrap()
}

fn options(segment_rows: u64) -> Options {
    let options = Options::default().log_bytes(1 << 20).inline_bytes(8 << 10).grow_bytes(4096, 64 << 10);
    // Compacting leaves each segment one of its own.
    options.segment_rows(segment_rows).compact_rows(SEGMENTS[1]).cache_bytes(0)
}

fn mixed(number: u64, salt: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ salt << 8);
    (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// Even steps up to the end of the first row group, uneven ones behind it.
fn key(number: u64) -> u64 {
    number * 10 + if number < GROUP { 0 } else { mixed(number, 0) % 7 }
}

fn append(writer: &mut Writer<SimDisk>, number: u64, salt: u64) {
    let mixed = mixed(number, salt);
    let bytes = mixed.to_le_bytes();
    let real = f64::from_bits(0x3FF0_0000_0000_0000 | mixed >> 12);
    let line = format!("order {number} is filled, and nobody knows");
    let venues = [Value::Null, Value::Text(""), Value::Text("XETR"), Value::Text("XNAS")];
    let venue = venues[usize::from(bytes[4] % 4)];
    let values = [
        Value::F64(f64::from(10_000 + u32::from(bytes[0]) % 200) / 100.0),
        if number >= GROUP && mixed.is_multiple_of(50) { Value::Null } else { Value::F64(real) },
        Value::I64([-1 << 40, 1, 1 << 50][usize::from(bytes[1] % 3)]),
        Value::U32(u32::from(bytes[2]) * 10),
        Value::Bool(bytes[3] & 1 == 1),
        Value::Text(&line),
        if number < GROUP { Value::Null } else { venue },
        Value::Bytes(&bytes[..usize::from(bytes[5] % 9)]),
    ];
    assert_eq!(writer.pending().append(key(number), &values).unwrap(), number);
}

fn commit(disk: &SimDisk, writer: &mut Writer<SimDisk>, rows: Range<u64>, salt: u64) {
    rows.for_each(|number| append(writer, number, salt));
    run(disk, writer.commit()).unwrap().unwrap();
}

/// Rows up to the third segment's end, the first two segments sealed; those from `row` on made with another salt.
fn make(seed: u64, row: u64, salt: u64) -> SimDisk {
    let settings = Settings { short: 0.0, racy: false, cow: false, ..Settings::from_seed(seed) };
    let disk = SimDisk::with_settings(seed, settings);
    let created = Writer::create_on(disk.clone(), DIR, schema(), options(SEGMENTS[1]));
    let mut writer = run(&disk, created).unwrap().unwrap();
    let mut end = 0;
    while end < SEGMENTS[1] {
        commit(&disk, &mut writer, end..end + 1620, 0);
        end += 1620;
    }
    run(&disk, writer.close()).unwrap().unwrap();
    let opened = Writer::open_on(disk.clone(), DIR, options(SEGMENTS[2] - SEGMENTS[1]));
    let mut writer = run(&disk, opened).unwrap().unwrap();
    for bounds in [SEGMENTS[1], row.clamp(SEGMENTS[1], SEGMENTS[2]), SEGMENTS[2], SEGMENTS[3]].windows(2) {
        let salt = if bounds[0] >= row { salt } else { 0 };
        if bounds[0] < bounds[1] {
            commit(&disk, &mut writer, bounds[0]..bounds[1], salt);
        }
    }
    let store = writer.store();
    for segment in 0..2 {
        let sealed = run(&disk, store.maintain(Maintain::Seal)).unwrap().unwrap();
        assert!(
            matches!(sealed, Maintained::Sealed { segment: found, .. } if found == segment),
            "{sealed:?}"
        );
        run(&disk, writer.checkpoint()).unwrap().unwrap();
    }
    run(&disk, writer.close()).unwrap().unwrap();
    disk
}

/// The same store, its sealed segments compacted.
fn make_dense(seed: u64) -> SimDisk {
    let disk = make(seed, 0, 0);
    let opened = Writer::open_on(disk.clone(), DIR, options(GROUP));
    let mut writer = run(&disk, opened).unwrap().unwrap();
    let (store, dense) = (writer.store(), Maintain::Compact(Tier::Dense));
    while let Maintained::Compacted { segments, .. } = run(&disk, store.maintain(dense)).unwrap().unwrap() {
        assert_eq!(segments, 1);
        run(&disk, writer.checkpoint()).unwrap().unwrap();
    }
    drop(store);
    run(&disk, writer.close()).unwrap().unwrap();
    disk
}

/// A way to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Forward,
    Reverse,
    Few,
    Seek,
    Values,
    Slices,
    Aggregate,
    Every,
    Filter,
}

const ASKS: [Ask; 9] = [
    Ask::Forward,
    Ask::Reverse,
    Ask::Few,
    Ask::Seek,
    Ask::Values,
    Ask::Slices,
    Ask::Aggregate,
    Ask::Every,
    Ask::Filter,
];

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Batches(Vec<Batch>),
    Positions(Vec<Option<Position>>),
    Slices(Vec<Vec<u8>>),
    /// Aggregates, to the bit: as text.
    Texts(Vec<String>),
}

fn columns(columns: impl IntoIterator<Item = u32>) -> Vec<ColumnId> {
    columns.into_iter().map(ColumnId).collect()
}

async fn collect(mut scan: Scan<'_, SimDisk>) -> Result<Vec<Batch>, Error> {
    let mut batches = Vec::new();
    while let Some(batch) = scan.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}

/// Rows that are asked for one by one: of every segment and row group, and next to their ends.
fn probes() -> Vec<u64> {
    vec![0, 16_199, 16_200, 16_300, GROUP - 1, GROUP, 17_000, 17_500, 17_799, 17_800, 17_859]
}

/// Asks a new reader, which knows nothing.
async fn ask(store: &Store<SimDisk>, at: &Snapshot, how: Ask) -> Result<Answer, Error> {
    let reader = store.reader();
    let all = columns(0..COLUMNS);
    Ok(match how {
        Ask::Forward => Answer::Batches(collect(reader.scan(at, ..).rows(ROWS)).await?),
        Ask::Reverse => {
            Answer::Batches(collect(reader.scan(at, ..).rows(ROWS).reverse().batch_rows(700)).await?)
        }
        Ask::Few => {
            let scan = reader.scan(at, key(16_250)..key(17_300)).columns(&columns([6, 0])).limit(900);
            Answer::Batches(collect(scan).await?)
        }
        Ask::Seek => {
            let mut found = Vec::new();
            for row in probes() {
                for to in [Seek::Key(key(row)), Seek::AtOrAfter(key(row) + 1), Seek::AtOrBefore(key(row) + 9)]
                {
                    found.push(reader.seek(at, to).await?);
                }
                found.push(reader.seek(at, Seek::Row(row)).await?);
            }
            Answer::Positions(found)
        }
        Ask::Values => {
            let mut found = Vec::new();
            for row in probes() {
                found.push(reader.values(at, row, &all).await?);
            }
            Answer::Batches(found)
        }
        Ask::Slices => {
            let part = |row: u64| Slice { row, range: 3..9 };
            Answer::Slices(
                reader.slices(at, LINE, &probes().into_iter().map(part).collect::<Vec<_>>()).await?,
            )
        }
        Ask::Aggregate => {
            let mut texts = Vec::new();
            for column in columns(NUMBERS) {
                for keys in [0..u64::MAX, key(16_210)..key(17_790), key(16_400)..key(16_500)] {
                    texts.push(format!("{:?}", reader.aggregate(at, keys, column).await?));
                }
            }
            Answer::Texts(texts)
        }
        Ask::Every => {
            let mut texts = Vec::new();
            for column in columns(NUMBERS) {
                let keys = key(ROWS.start)..key(ROWS.end - 1);
                let mut windows = reader.aggregate_every(at, keys, 3000, column);
                while let Some(window) = windows.next().await? {
                    texts.push(format!("{window:?}"));
                }
            }
            Answer::Texts(texts)
        }
        Ask::Filter => {
            let scan = || reader.scan(at, ..).rows(ROWS);
            let some = scan().filter(ColumnId(0), Value::F64(100.5)..Value::F64(101.0)).columns(&all[2..6]);
            let mut found = collect(some).await?;
            let none = scan().filter(ColumnId(3), Value::U32(2551)..).columns(&all[..2]);
            found.extend(collect(none).await?);
            let real = scan().filter(ColumnId(1), ..Value::F64(1.1)).columns(&all[6..7]).reverse();
            found.extend(collect(real).await?);
            Answer::Batches(found)
        }
    })
}

/// The store at rest, and what it says.
struct Sealed {
    disk: SimDisk,
    /// Of the sealed segments.
    numbers: [u64; 2],
    answers: Vec<Answer>,
    /// In a short run, of how many of the places that are chosen of the fast store one is chosen.
    sparse: u64,
}

fn path(segment: u64) -> PathBuf {
    Path::new(DIR).join(format!("{segment}.segment"))
}

/// One that was opened, damaged or not.
struct Patient {
    disk: SimDisk,
    _writer: Option<Writer<SimDisk>>,
    store: Store<SimDisk>,
}

impl Patient {
    fn open(disk: SimDisk) -> Result<Self, Error> {
        let opened = run(&disk, Writer::open_on(disk.clone(), DIR, options(GROUP)));
        let writer = opened.expect("open comes to an end")?;
        Ok(Patient { store: writer.store(), _writer: Some(writer), disk })
    }

    fn follow(disk: SimDisk) -> Result<Self, Error> {
        let followed = run(&disk, Store::follow_on(disk.clone(), DIR, options(GROUP)));
        Ok(Patient { store: followed.expect("following comes to an end")?, _writer: None, disk })
    }

    fn ask(&self, how: Ask) -> Result<Answer, Error> {
        let at = self.store.snapshot();
        run(&self.disk, ask(&self.store, &at, how)).expect("a reader comes to an end")
    }

    fn scan(&self, rows: Range<u64>, of: &[ColumnId], keys: Keys) -> Result<Vec<Batch>, Error> {
        let (reader, at) = (self.store.reader(), self.store.snapshot());
        let scan = reader.scan(&at, ..).rows(rows).columns(of);
        let scan = if keys == Keys::Unwanted { scan.without_keys() } else { scan };
        run(&self.disk, collect(scan)).expect("a scan comes to an end")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Wanted,
    Unwanted,
}

impl Sealed {
    /// The same store for all tests.
    fn get() -> &'static Self {
        static SEALED: OnceLock<Sealed> = OnceLock::new();
        SEALED.get_or_init(|| Self::of(make(1, 0, 0), 1))
    }

    /// The same, compacted.
    fn dense() -> &'static Self {
        static DENSE: OnceLock<Sealed> = OnceLock::new();
        DENSE.get_or_init(|| {
            let dense = Self::of(make_dense(1), 5);
            assert!(dense.answers == Self::get().answers, "compacting changes no answer");
            dense
        })
    }

    fn both() -> [&'static Self; 2] {
        [Self::get(), Self::dense()]
    }

    fn of(disk: SimDisk, sparse: u64) -> Self {
        let intact = Patient::open(disk.fork(8)).unwrap();
        let answers = ASKS.iter().map(|how| intact.ask(*how).unwrap()).collect();
        let segments = intact.store.stats().segments;
        let rows: Vec<_> = SEGMENTS.windows(2).map(|bounds| bounds[0]..bounds[1]).collect();
        assert!(segments.iter().map(|segment| &segment.rows).eq(&rows), "{segments:?}");
        Sealed { disk, numbers: [segments[0].number, segments[1].number], answers, sparse }
    }

    /// Of the two sealed segments.
    fn path(&self, index: usize) -> PathBuf {
        path(self.numbers[index])
    }

    /// Asks in some ways: the right answers, or the file that is damaged. Whether that was said.
    fn check(&self, patient: &Patient, path: &Path, asks: impl IntoIterator<Item = usize>) -> bool {
        let mut found = false;
        for index in asks {
            match patient.ask(ASKS[index]) {
                Ok(answer) => assert!(answer == self.answers[index], "{:?} is answered wrongly", ASKS[index]),
                Err(error) => {
                    names(&error, path);
                    found = true;
                }
            }
        }
        found
    }

    /// What a check says of one file's damage, which it must find.
    fn damage(disk: &SimDisk, path: &Path) -> Vec<Damage> {
        let damage = checked(disk).unwrap().damage;
        assert!(!damage.is_empty(), "a check finds nothing");
        assert!(damage.iter().all(|damage| damage.path == path), "{damage:?}");
        damage
    }
}

fn names(error: &Error, path: &Path) {
    let Error::Corrupt { path: named, .. } = error else { panic!("this is no answer to damage: {error:?}") };
    assert_eq!(named, path, "another file is said to be damaged: {error}");
}

/// The names of the codecs of a store, and what is shown of its two sealed segments.
fn codecs(sealed: &Sealed) -> (BTreeSet<&'static str>, [String; 2]) {
    let store = Patient::open(sealed.disk.fork(1)).unwrap().store;
    let encodings = run(&sealed.disk, store.reader().encodings(&store.snapshot())).unwrap().unwrap();
    let shown = sealed.numbers.map(|number| {
        let shown = inspect_on(sealed.disk.clone(), DIR, Inspect::Segment(number), Hex::Hidden);
        run(&sealed.disk, shown).unwrap().unwrap()
    });
    (encodings.iter().map(|encoding| encoding.codec).collect(), shown)
}

#[test]
fn every_codec_is_in_a_store() {
    let (names, [first, second]) = codecs(Sealed::get());
    let fast = ["decimals", "dictionary", "frames", "integers", "nulls", "split", "stride"];
    assert!(names.iter().eq(&fast), "{names:?}");
    let is_dictionary = |line: &str| line.starts_with("\"venue\"") && line.contains("dictionary");
    assert!(second.lines().any(is_dictionary), "{second}");
    assert!(second.contains("row groups: 2, keys evenly spaced in 1"), "{second}");
    assert!(!first.contains("zstd") && !first.contains("pco"), "{first}");
    // Of the fast ones those stay for which there is nothing denser.
    let (names, [_, second]) = codecs(Sealed::dense());
    let dense = ["integers", "nulls", "pco", "pco decimals", "stride", "zstd dictionary", "zstd frames"];
    assert!(names.iter().eq(&dense), "{names:?}");
    for codec in dense.iter().filter(|codec| **codec != "nulls") {
        assert!(second.contains(&format!(", {codec} in ")), "each bit of {codec} is flipped: {second}");
    }
    for sealed in Sealed::both() {
        assert!(checked(&sealed.disk).unwrap().is_intact());
    }
}

/// Whether what a check says of a bit is the least that is lost: all other rows, and all other columns, are there.
fn check_rest(intact: &Patient, patient: &Patient, damage: &Damage) {
    let Some(rows) = &damage.rows else { return };
    let all = columns(0..COLUMNS);
    for rest in [ROWS.start.min(rows.start)..rows.start, rows.end..ROWS.end] {
        let rest = rest.start.max(ROWS.start)..rest.end;
        let found = patient.scan(rest.clone(), &all, Keys::Wanted);
        assert!(found.unwrap() == intact.scan(rest, &all, Keys::Wanted).unwrap(), "other rows than {rows:?}");
    }
    // Of the keys it is said without a column; so it is of the directory, without which there is nothing.
    let is_index = damage.column.is_none() && rows.end - rows.start == SEGMENTS[2] - SEGMENTS[1];
    let names: Vec<_> = schema().columns().iter().map(|column| Some(column.name().to_owned())).collect();
    let others = columns((0..COLUMNS).filter(|id| names[*id as usize] != damage.column));
    let keys = if damage.column.is_none() { Keys::Unwanted } else { Keys::Wanted };
    if !is_index {
        let found = patient.scan(ROWS, &others, keys);
        assert!(
            found.unwrap() == intact.scan(ROWS, &others, keys).unwrap(),
            "other columns than {:?}",
            damage.column
        );
    }
}

#[test]
fn every_bit_of_a_sealed_segment_is_found() {
    for sealed in Sealed::both() {
        let len = sealed.disk.file_bytes(sealed.path(1)).unwrap().len() as u64;
        assert!((20 << 10..200 << 10).contains(&len), "{len} bytes are few enough to ask about each");
        let step = if every() { 1 } else { 53 * sealed.sparse };
        share(len * 8 / step, |bits| {
            let patient = Patient::open(sealed.disk.fork(1)).unwrap();
            let intact = Patient::open(sealed.disk.fork(2)).unwrap();
            for turn in bits {
                flip(sealed, &intact, &patient, (turn, turn * step + turn % step));
            }
            assert!(!sealed.check(&patient, &sealed.path(1), 0..ASKS.len()), "all of it is as it was");
        });
    }
}

/// Flips a bit of the second segment, and flips it back.
fn flip(sealed: &Sealed, intact: &Patient, patient: &Patient, (turn, bit): (u64, u64)) {
    let (path, offset, mask) = (sealed.path(1), bit / 8, 1 << (bit % 8));
    patient.disk.flip(&path, offset, mask).unwrap();
    let look = || {
        let place = usize::try_from(turn).unwrap();
        let asks = if every() { 0..ASKS.len() } else { place % ASKS.len()..place % ASKS.len() + 1 };
        let is_found = sealed.check(patient, &path, std::iter::once(0).chain(asks));
        if !every() && !turn.is_multiple_of(11) {
            return;
        }
        let damage = Sealed::damage(&patient.disk, &path);
        let [damage] = &damage[..] else { panic!("one bit is damaged: {damage:?}") };
        // Keys that are evenly spaced are computed; of values that are all null none is read.
        let is_venue = damage.column.as_deref() == Some("venue");
        let is_spare = is_venue && damage.rows.as_ref().is_some_and(|rows| rows.end == GROUP);
        let is_needed = damage.column.is_some() && !is_spare;
        assert!(is_found || !is_needed, "a scan of everything needs it: {damage}");
        check_rest(intact, patient, damage);
    };
    told(|| format!("bit {} of byte {offset} of {} flipped", bit % 8, path.display()), look);
    patient.disk.flip(&path, offset, mask).unwrap();
}

/// Where a block lies.
fn block(disk: &SimDisk, segment: u64, column: Option<ColumnId>, group: usize) -> Range<u64> {
    let shown = inspect_on(disk.clone(), DIR, Inspect::Block { segment, column, group }, Hex::Hidden);
    let text = run(disk, shown).unwrap().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("block: bytes ")).unwrap();
    let (start, rest) = line.split_once(" to ").unwrap();
    start.parse().unwrap()..rest.split_once(',').unwrap().0.parse().unwrap()
}

#[test]
fn a_check_finds_what_no_reader_needs() {
    for sealed in Sealed::both() {
        // Keys that are evenly spaced, values that are all null; and the entries that say where the former lie.
        let entries = |path: &Path| {
            let place = sealed.disk.file_bytes(path).unwrap().len() as u64 - 8192;
            place..place + 16
        };
        for number in sealed.numbers {
            let path = path(number);
            let blocks = [None, Some(ColumnId(6))].map(|column| block(&sealed.disk, number, column, 0));
            for range in blocks.into_iter().chain([entries(&path)]) {
                assert!((16..200).contains(&(range.end - range.start)), "{range:?}");
                for offset in range.step_by(if every() { 1 } else { 5 }) {
                    let disk = sealed.disk.fork(1);
                    disk.flip(&path, offset, 1 << (offset % 8)).unwrap();
                    told(
                        || format!("a bit of byte {offset} of {} flipped", path.display()),
                        || {
                            Sealed::damage(&disk, &path);
                            sealed.check(&Patient::open(disk.clone()).unwrap(), &path, [0, 4]);
                        },
                    );
                }
            }
        }
    }
}

/// Where other tests ask a store that was opened before.
#[test]
fn a_flipped_bit_of_a_sealed_segment_keeps_nobody_from_opening() {
    for (sealed, index) in Sealed::both().into_iter().flat_map(|sealed| [(sealed, 0), (sealed, 1)]) {
        let path = sealed.path(index);
        let len = sealed.disk.file_bytes(&path).unwrap().len() as u64;
        let step = if every() { 997 } else { len * sealed.sparse / 40 };
        share(len / step, |places| {
            for place in places {
                let offset = len - 1 - place * step;
                let disk = sealed.disk.fork(1);
                disk.flip(&path, offset, 1 << (offset % 8)).unwrap();
                told(
                    || format!("a bit of byte {offset} of {} flipped", path.display()),
                    || {
                        let followed = Patient::follow(disk.another_process()).unwrap();
                        let opened = Patient::open(disk.clone()).unwrap();
                        for patient in [opened, followed] {
                            sealed.check(&patient, &path, 0..ASKS.len());
                        }
                        Sealed::damage(&disk, &path);
                    },
                );
            }
        });
    }
}

/// Lengths to cut a file to, or to extend it to.
fn lengths(len: u64, sparse: u64) -> Vec<u64> {
    let is_wanted = |cut: &u64| {
        let is_near = [0, 1, 4095].contains(&(cut % 4096)) || cut + 70 > len && cut.is_multiple_of(sparse);
        every() || cut.is_multiple_of(509 * sparse) || is_near
    };
    (0..len).filter(is_wanted).chain([len + 1, len + 4096, len + 70_000]).collect()
}

#[test]
fn a_sealed_segment_that_is_too_short_is_refused_and_a_longer_one_is_harmless() {
    for sealed in Sealed::both() {
        let path = sealed.path(1);
        let bytes = sealed.disk.file_bytes(&path).unwrap();
        let lengths = lengths(bytes.len() as u64, sealed.sparse);
        share(lengths.len() as u64, |places| {
            // One that was opened before; who follows is not told by open.
            let open = Patient::open(sealed.disk.fork(1)).unwrap();
            for place in places {
                let len = lengths[usize::try_from(place).unwrap()];
                let is_short = len < bytes.len() as u64;
                told(
                    || format!("{} cut to {len} of {} bytes", path.display(), bytes.len()),
                    || {
                        let disk = sealed.disk.fork(2);
                        disk.set_len(&path, len).unwrap();
                        refuses(sealed, &disk, &path, is_short);
                        open.disk.set_len(&path, len).unwrap();
                        let turn = usize::try_from(place).unwrap() % ASKS.len();
                        let is_found = sealed.check(&open, &path, [0, turn]);
                        assert_eq!(is_found, is_short);
                        open.disk.put_file(&path, &bytes).unwrap();
                    },
                );
            }
        });
    }
}

/// An open refuses the store and names the file, if it is to; so do a follower's readers and a check.
fn refuses(sealed: &Sealed, disk: &SimDisk, path: &Path, is_refused: bool) {
    let followed = Patient::follow(disk.another_process()).unwrap();
    assert_eq!(sealed.check(&followed, path, [0]), is_refused);
    if is_refused {
        Sealed::damage(disk, path);
    } else {
        assert!(checked(disk).unwrap().is_intact());
    }
    let (before, disk) = (disk.files(), disk.fork(3));
    match Patient::open(disk.clone()) {
        Ok(patient) => assert!(!is_refused && !sealed.check(&patient, path, [0]), "it is opened"),
        Err(error) => {
            assert!(is_refused);
            names(&error, path);
            let counts = disk.counts();
            let changes = [counts.writes, counts.grows, counts.renames, counts.removes, counts.create_dirs];
            assert_eq!(changes, [0; 5], "an open that refuses changes nothing");
            assert_eq!(disk.files(), before, "an open that refuses changes nothing");
        }
    }
}

#[test]
fn a_sealed_segment_that_is_missing_is_refused_by_name() {
    for (sealed, index) in Sealed::both().into_iter().flat_map(|sealed| [(sealed, 0), (sealed, 1)]) {
        let path = sealed.path(index);
        let disk = sealed.disk.fork(1);
        disk.unlink(&path).unwrap();
        refuses(sealed, &disk, &path, true);
        // And under a store that is open.
        let open = Patient::open(sealed.disk.fork(1)).unwrap();
        open.disk.unlink(&path).unwrap();
        assert!(sealed.check(&open, &path, 0..ASKS.len()));
        let disk = sealed.disk.fork(1);
        disk.unlink(&path).unwrap();
        disk.make_dirs(&path).unwrap();
        let error = Patient::open(disk).err().expect("a directory is no file");
        let (Error::Io { path: named, .. } | Error::Corrupt { path: named, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*named, path, "{error}");
    }
}

/// What a store says whose file of the second segment holds these bytes: nothing of that segment.
fn check_foreign(sealed: &Sealed, what: &str, bytes: &[u8]) {
    let path = path(1);
    let disk = sealed.disk.fork(1);
    disk.put_file(&path, bytes).unwrap();
    told(
        || format!("{} is {what}", path.display()),
        || {
            Sealed::damage(&disk, &path);
            let followed = Patient::follow(disk.another_process()).unwrap();
            assert!(sealed.check(&followed, &path, 0..ASKS.len()), "a follower is told");
            match Patient::open(disk.fork(3)) {
                Ok(patient) => {
                    assert!(patient.ask(Ask::Forward).is_err() && patient.ask(Ask::Values).is_err());
                    assert!(sealed.check(&patient, &path, 0..ASKS.len()));
                }
                Err(error) => names(&error, &path),
            }
        },
    );
}

#[test]
fn a_sealed_segment_from_elsewhere_is_refused() {
    let sealed = Sealed::get();
    let mine = sealed.disk.file_bytes(path(1)).unwrap();
    let first = sealed.disk.file_bytes(path(0)).unwrap();
    // The same rows, of another store; the same store, gone another way from a row on.
    let other = make(2, 0, 0).file_bytes(path(1)).unwrap();
    let astray = make(1, 17_000, 5).file_bytes(path(1)).unwrap();
    let again = make(1, 0, 0).file_bytes(path(1)).unwrap();
    assert!(again == mine, "the same store says the same");
    assert_eq!((other.len(), other == mine), (mine.len(), false));
    assert_ne!(astray, mine);
    check_foreign(sealed, "the first segment's", &first);
    check_foreign(sealed, "the first segment's end", &first[first.len() - mine.len()..]);
    check_foreign(sealed, "another store's", &other);
    check_foreign(sealed, "an older copy's", &astray);
    check_foreign(sealed, "zeros", &vec![0; mine.len()]);
    // The directory is the right one; what lies before it is not.
    let directory = mine.len() - 4096;
    for (what, theirs) in [("another store's", &other), ("zeros", &vec![0; mine.len()])] {
        check_foreign(sealed, what, &[&theirs[..directory], &mine[directory..]].concat());
    }
    let index = directory - 4096;
    check_foreign(sealed, "another store's blocks", &[&other[..index], &mine[index..]].concat());
    let moved = [&mine[4096..8192], &mine[..4096], &mine[8192..]].concat();
    check_foreign(sealed, "its own, two pages of it swapped", &moved);
    // Both files, each under the other's name.
    let disk = sealed.disk.fork(1);
    disk.put_file(path(0), &mine).unwrap();
    disk.put_file(path(1), &first).unwrap();
    let error = Patient::open(disk).err().expect("the first one is too short");
    names(&error, &path(0));
}
