//! A small store at rest on a simulated disk, what a reader must be told of it, and which of its bytes it names.
//!
//! Not here: damage.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tidelog::disk::PAGE;
use tidelog::disk::sim::{Moment, Settings, SimDisk, run};
use tidelog::{
    Batch, Column, ColumnId, Error, Kind, Options, Position, Reader, Scan, Schema, Seek, Slice, Snapshot,
    Store, Value, Writer,
};

pub(crate) const DIR: &str = "/store";
/// Rows of a raw segment; commits below are laid out by it.
const SEGMENT_ROWS: u64 = 600;
/// The columns of bytes and of text.
const TEXT: u32 = 3;
const BLOB: u32 = 4;
/// The row with a large value.
const LARGE: u64 = 70;
/// Rows that are asked for one by one: some of each segment.
const PROBES: [u64; 8] = [0, 39, 40, LARGE, 600, 650, 1100, 1160];

/// Every class of raw file: wide, narrow and one-byte values, values of any length, with nulls and without.
fn schema() -> Schema {
    let columns = [
        Column::new("price", Kind::F64),
        Column::new("count", Kind::U32).nullable(),
        Column::new("flag", Kind::Bool),
        Column::new("name", Kind::Text),
        Column::new("blob", Kind::Bytes).nullable(),
    ];
    Schema::new(columns).unwrap().metadata("made", "by a test").unwrap()
}

/// No cache: every way of reading reads.
pub(crate) fn options() -> Options {
    Options::default()
        .log_bytes(64 << 10)
        .segment_rows(SEGMENT_ROWS)
        .inline_bytes(8 << 10)
        .grow_bytes(4096, 4096)
        .cache_bytes(0)
}

/// A disk without mishaps: they are other tests' matter.
fn calm(seed: u64) -> SimDisk {
    let settings = Settings { short: 0.0, racy: false, cow: false, ..Settings::from_seed(seed) };
    SimDisk::with_settings(seed, settings)
}

pub(crate) fn create(disk: &SimDisk) -> Result<Writer<SimDisk>, Error> {
    run(disk, Writer::create_on(disk.clone(), DIR, schema(), options())).expect("create comes to an end")
}

/// The manifest of a creation that nobody has opened yet: gone when `create` returns, so that a crash brings it to
/// light. The same seed makes the same store.
fn first_manifest(salt: u64) -> (PathBuf, Vec<u8>) {
    let path = Path::new(DIR).join("manifest-1");
    let crashed = |operation| {
        let disk = calm(salt);
        disk.crash_at(operation, Moment::Done);
        _ = run(&disk, Writer::create_on(disk.clone(), DIR, schema(), options()));
        disk.file_bytes(&path).ok()
    };
    let bytes = (0..1000).find_map(crashed).expect("a creation publishes its first manifest");
    (path, bytes)
}

/// A row, made from its number alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    key: u64,
    price: f64,
    count: Option<u32>,
    flag: bool,
    name: String,
    blob: Option<Vec<u8>>,
}

/// The row of this number; `salt` makes another store's rows differ.
fn row(number: u64, salt: u64) -> Row {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ salt);
    let bytes = mixed.to_le_bytes();
    // One value reaches over the end of its file's first chunk.
    let len = if number == LARGE { 66 << 10 } else { usize::from(bytes[2] % 40) };
    Row {
        key: number / 3 * 10,
        price: f64::from(bytes[0]) / 4.0,
        count: (!bytes[1].is_multiple_of(3))
            .then(|| u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
        flag: bytes[3] & 1 == 1,
        name: "aé€😀".chars().cycle().take(usize::from(bytes[3] % 7)).collect(),
        blob: (number == LARGE || !bytes[1].is_multiple_of(5))
            .then(|| bytes.iter().copied().cycle().take(len).collect()),
    }
}

impl Row {
    fn append(&self, writer: &mut Writer<SimDisk>) -> Result<u64, Error> {
        let values = [
            Value::F64(self.price),
            self.count.map_or(Value::Null, Value::U32),
            Value::Bool(self.flag),
            Value::Text(&self.name),
            self.blob.as_deref().map_or(Value::Null, Value::Bytes),
        ];
        writer.pending().append(self.key, &values)
    }
}

/// A writer at work, and what it has done.
pub(crate) struct History {
    pub(crate) disk: SimDisk,
    writer: Option<Writer<SimDisk>>,
    salt: u64,
    /// For each segment, its first row.
    segments: Vec<u64>,
    rows: u64,
    /// Every manifest that was ever the newest.
    pub(crate) manifests: BTreeMap<PathBuf, Vec<u8>>,
}

impl History {
    pub(crate) fn new(salt: u64) -> Self {
        let disk = calm(salt);
        let writer = Some(create(&disk).unwrap());
        let manifests = BTreeMap::from([first_manifest(salt)]);
        let mut history = History { disk, writer, salt, segments: vec![0], rows: 0, manifests };
        history.look();
        history
    }

    fn look(&mut self) {
        for (path, _) in self.disk.files() {
            if path.to_string_lossy().contains("/manifest-") {
                let bytes = self.disk.file_bytes(&path).unwrap();
                self.manifests.insert(path, bytes);
            }
        }
    }

    pub(crate) fn commit(&mut self, count: u64) -> &mut Self {
        let writer = self.writer.as_mut().unwrap();
        for number in self.rows..self.rows + count {
            assert_eq!(row(number, self.salt).append(writer).unwrap(), number);
        }
        writer.pending().note(format!("{} rows", self.rows + count).as_bytes()).unwrap();
        run(&self.disk, writer.commit()).unwrap().unwrap();
        let begun = self.rows - self.segments.last().unwrap();
        if begun > 0 && begun + count > SEGMENT_ROWS {
            self.segments.push(self.rows);
        }
        self.rows += count;
        self.look();
        self
    }

    /// Commits and checkpoints while somebody looks, their operations mixed by the world's dice. Returns how many
    /// rows there were before, and what was seen.
    pub(crate) fn beside<T, F: Future<Output = T>>(&mut self, look: impl FnOnce() -> F) -> (u64, T) {
        let (before, salt) = (self.rows, self.salt);
        let writer = self.writer.as_mut().unwrap();
        let work = async {
            for turn in 0..90 {
                let count = [1, 2, 9, 3, 25, 1][turn % 6];
                for number in self.rows..self.rows + count {
                    row(number, salt).append(writer).unwrap();
                }
                writer.commit().await.unwrap();
                self.rows += count;
                if turn % 16 == 15 {
                    writer.checkpoint().await.unwrap();
                }
            }
        };
        let (_, seen) = run(&self.disk, futures::future::join(work, look())).unwrap();
        (before, seen)
    }

    pub(crate) fn checkpoint(&mut self) -> &mut Self {
        run(&self.disk, self.writer.as_mut().unwrap().checkpoint()).unwrap().unwrap();
        self.look();
        self
    }

    pub(crate) fn close(&mut self) -> &mut Self {
        run(&self.disk, self.writer.take().unwrap().close()).unwrap().unwrap();
        self.look();
        self
    }

    /// The same store in a world of its own, closed.
    pub(crate) fn copy(&self) -> History {
        assert!(self.writer.is_none(), "a copy is made of a store at rest");
        History {
            disk: self.disk.fork(9),
            writer: None,
            segments: self.segments.clone(),
            manifests: self.manifests.clone(),
            ..*self
        }
    }

    pub(crate) fn open(&mut self) -> &mut Self {
        let opened = run(&self.disk, Writer::open_on(self.disk.clone(), DIR, options()));
        self.writer = Some(opened.unwrap().unwrap());
        self
    }

    /// The store as it is now, nobody at work: what a killed process would leave, if nothing was in flight.
    pub(crate) fn image(&self) -> Image {
        let disk = self.disk.fork(7).kill();
        let names = disk.fork(8);
        let answers = Patient::open(names, self.salt).unwrap().answers();
        let all = (0..self.rows).map(|number| row(number, self.salt)).collect::<Vec<_>>();
        answers.check(&all);
        let is_closed = self.writer.is_none();
        let salt = self.salt;
        let segments = [&self.segments[..], &[self.rows]].concat();
        Image { disk, salt, answers, segments, named: BTreeMap::new() }.name(&all, &self.segments, is_closed)
    }
}

/// A store at rest.
pub(crate) struct Image {
    pub(crate) disk: SimDisk,
    pub(crate) salt: u64,
    pub(crate) answers: Answers,
    /// For each segment, its first row; and behind the last one.
    pub(crate) segments: Vec<u64>,
    /// By path, the bytes that the manifest or the chain of records names.
    named: BTreeMap<PathBuf, Range<u64>>,
}

/// Bytes of all values of a raw file, by its name in a slot.
fn file_bytes(name: &str, rows: &[Row]) -> u64 {
    let count = rows.len() as u64;
    match name {
        "keys" | "0.data" | "3.offsets" | "4.offsets" => 8 * count,
        "1.data" => 4 * count,
        "1.nulls" | "2.data" | "4.nulls" => count,
        "3.data" => rows.iter().map(|row| row.name.len() as u64).sum(),
        "4.data" => rows.iter().map(|row| row.blob.as_ref().map_or(0, Vec::len) as u64).sum(),
        name => panic!("a raw file called {name}"),
    }
}

impl Image {
    fn name(mut self, rows: &[Row], segments: &[u64], is_closed: bool) -> Self {
        let page = PAGE as u64;
        let newest = self.newest_manifest();
        for (path, len) in self.disk.files() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let slot = path.parent().and_then(|slot| slot.to_str()?.strip_prefix("/store/raw-"));
            let named = match (slot, name) {
                (_, "LOCK") => 0..0,
                (_, "log-a" | "log-b") => self.chain(&path, is_closed),
                (_, "sums") => 0..len,
                (Some(slot), name) => {
                    let index: usize = slot.parse().unwrap();
                    let of = |index: usize| usize::try_from(segments[index]).unwrap();
                    let is_last = index + 1 == segments.len();
                    let end = if is_last { rows.len() } else { of(index + 1) };
                    let bytes = file_bytes(name, &rows[of(index)..end]);
                    if is_last { 0..bytes / page * page } else { 0..bytes.next_multiple_of(page) }
                }
                (None, _) if path == newest => 0..len,
                (None, name) => panic!("a file called {name}"),
            };
            self.named.insert(path, named);
        }
        self
    }

    /// The bytes of a log file from the first record of the chain to the end of the last one.
    fn chain(&self, path: &Path, is_closed: bool) -> Range<u64> {
        let records = self.records();
        let newest = self.newest_manifest();
        let generation: u64 = newest.to_str().unwrap().rsplit('-').next().unwrap().parse().unwrap();
        let last = records.last().unwrap();
        // A clean close leaves the last record only; else all that follow the one before the manifest.
        let first =
            records.iter().position(|record| record.generation == generation).unwrap_or(records.len());
        let first = if is_closed { records.len() - 1 } else { first - 1 };
        let mine = || records[first..].iter().filter(|record| record.path == path);
        assert!(last.path != path || mine().next().is_some());
        match (mine().map(|record| record.bytes.start).min(), mine().map(|record| record.bytes.end).max()) {
            (Some(start), Some(end)) => start..end,
            _ => 0..0,
        }
    }

    /// What stands in the log, by sequence. Read by docs/format.md, "Record".
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for path in [self.path("log-a"), self.path("log-b")] {
            let bytes = self.disk.file_bytes(&path).unwrap();
            for (page, start) in bytes.chunks(PAGE).zip((0..).step_by(PAGE)) {
                if page.starts_with(b"TLRECORD") {
                    let number = |at: usize| u64::from_le_bytes(*page[at..].first_chunk().unwrap());
                    let pages = u64::from(u32::from_le_bytes(*page[12..].first_chunk().unwrap()));
                    let bytes = start..start + pages * PAGE as u64;
                    let (sequence, generation) = (number(40), number(56));
                    records.push(Record { path: path.clone(), bytes, sequence, generation });
                }
            }
        }
        records.sort_by_key(|record| record.sequence);
        records
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(DIR).join(name)
    }

    pub(crate) fn newest_manifest(&self) -> PathBuf {
        let paths = self.disk.files().into_iter().map(|(path, _)| path);
        paths.max_by_key(|path| generation(path)).unwrap()
    }

    pub(crate) fn is_named(&self, path: &Path, offset: u64) -> bool {
        self.named.get(path).is_some_and(|named| named.contains(&offset))
    }

    /// Where what is named of a file ends.
    pub(crate) fn named_end(&self, path: &Path) -> u64 {
        self.named.get(path).map_or(0, |named| named.end)
    }

    /// A copy to be damaged.
    pub(crate) fn copy(&self) -> SimDisk {
        self.disk.fork(1)
    }
}

/// Of a manifest's path; 0 of any other.
pub(crate) fn generation(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("manifest-").and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A record as its first page says.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Range<u64>,
    pub(crate) sequence: u64,
    pub(crate) generation: u64,
}

/// How a reader is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Forward,
    Reverse,
    Seek,
    Values,
    Slices,
}

pub(crate) const WAYS: [Way; 5] = [Way::Forward, Way::Reverse, Way::Seek, Way::Values, Way::Slices];

/// What it says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Batches(Vec<Batch>),
    Positions(Vec<Option<Position>>),
    Slices(Vec<Vec<u8>>),
}

/// All that a store says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answers {
    pub(crate) rows: u64,
    note: Option<Vec<u8>>,
    ways: Vec<Answer>,
}

impl Answers {
    /// Whether the rows are these, by a forward and a reverse scan.
    fn check(&self, expected: &[Row]) {
        assert_eq!(self.rows, expected.len() as u64);
        for (way, is_reverse) in [(0, false), (1, true)] {
            let Answer::Batches(batches) = &self.ways[way] else { panic!("a scan gives batches") };
            let mut found: Vec<Row> = batches.iter().flat_map(rows_of).collect();
            if is_reverse {
                found.reverse();
            }
            assert_eq!(found, expected);
        }
    }

    /// What a reader says when asked in this way.
    pub(crate) fn of(&self, way: Way) -> &Answer {
        &self.ways[WAYS.iter().position(|known| *known == way).unwrap()]
    }
}

fn rows_of(batch: &Batch) -> Vec<Row> {
    let row = |index: usize| {
        let value = |column: u32| batch.column(ColumnId(column)).unwrap().value(index).unwrap();
        let (Value::F64(price), Value::Bool(flag), Value::Text(name)) = (value(0), value(2), value(TEXT))
        else {
            panic!("a column has values of its kind")
        };
        let count = if let Value::U32(count) = value(1) { Some(count) } else { None };
        let blob = if let Value::Bytes(blob) = value(BLOB) { Some(blob.to_vec()) } else { None };
        Row { key: batch.keys()[index], price, count, flag, name: name.to_owned(), blob }
    };
    (0..batch.len()).map(row).collect()
}

/// A store that was opened, damaged or not.
pub(crate) struct Patient {
    pub(crate) disk: SimDisk,
    _writer: Writer<SimDisk>,
    store: Store<SimDisk>,
    salt: u64,
}

impl Patient {
    /// Opens a store whose rows were made with this salt.
    pub(crate) fn open(disk: SimDisk, salt: u64) -> Result<Self, Error> {
        let writer =
            run(&disk, Writer::open_on(disk.clone(), DIR, options())).expect("open comes to an end")?;
        let store = writer.store();
        Ok(Patient { disk, _writer: writer, store, salt })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.store.rows()
    }

    pub(crate) fn note(&self) -> Option<Vec<u8>> {
        self.store.snapshot().note().map(<[u8]>::to_vec)
    }

    /// Everything that an intact store says.
    pub(crate) fn answers(&self) -> Answers {
        let ways = WAYS.iter().map(|way| self.ask(*way).unwrap()).collect();
        Answers { rows: self.rows(), note: self.note(), ways }
    }

    /// Whether it has as many rows, and the same note, before any of them is read.
    pub(crate) fn is_like(&self, answers: &Answers) -> bool {
        self.rows() == answers.rows && self.note() == answers.note
    }

    /// Asks a new reader, which knows nothing.
    pub(crate) fn ask(&self, way: Way) -> Result<Answer, Error> {
        let (reader, at) = (self.store.reader(), self.store.snapshot());
        run(&self.disk, ask(&reader, &at, way, self.salt)).expect("a reader comes to an end")
    }
}

async fn ask(reader: &Reader<SimDisk>, at: &Snapshot, way: Way, salt: u64) -> Result<Answer, Error> {
    let rows: Vec<u64> = PROBES.into_iter().filter(|row| *row < at.rows()).collect();
    match way {
        Way::Forward => collect(reader.scan(at, ..)).await.map(Answer::Batches),
        Way::Reverse => collect(reader.scan(at, ..).reverse().batch_rows(50)).await.map(Answer::Batches),
        Way::Seek => {
            let mut found = Vec::new();
            for row in rows {
                let key = row / 3 * 10;
                for to in
                    [Seek::Key(key), Seek::AtOrAfter(key + 1), Seek::AtOrBefore(key + 9), Seek::Row(row)]
                {
                    found.push(reader.seek(at, to).await?);
                }
            }
            Ok(Answer::Positions(found))
        }
        Way::Values => {
            let columns: Vec<ColumnId> = (0..5).map(ColumnId).collect();
            let mut found = Vec::new();
            for row in rows {
                found.push(reader.values(at, row, &columns).await?);
            }
            Ok(Answer::Batches(found))
        }
        Way::Slices => {
            let (mut names, mut blobs) = (Vec::new(), Vec::new());
            for number in rows {
                let row = row(number, salt);
                let (name, blob) = (row.name.len() as u64, row.blob.as_ref().map_or(0, Vec::len) as u64);
                names.push(Slice { row: number, range: name / 2..name });
                blobs.push(Slice { row: number, range: 0..blob });
            }
            if at.rows() > LARGE {
                // Over the end of a chunk; and one byte.
                blobs.extend([65_500..65_600, 66_000..66_001].map(|range| Slice { row: LARGE, range }));
            }
            let mut found = reader.slices(at, ColumnId(TEXT), &names).await?;
            found.extend(reader.slices(at, ColumnId(BLOB), &blobs).await?);
            Ok(Answer::Slices(found))
        }
    }
}

async fn collect(mut scan: Scan<'_, SimDisk>) -> Result<Vec<Batch>, Error> {
    let mut batches = Vec::new();
    while let Some(batch) = scan.next().await? {
        batches.push(batch);
    }
    Ok(batches)
}
