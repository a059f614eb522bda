//! A store on a simulated disk, and the same rows in a vector.

use std::path::PathBuf;

use tidelog::disk::sim::{Random, Settings, SimDisk, run};
use tidelog::{
    Batch, Column, ColumnId, Error, KeyUnit, Kind, Options, Reader, Scan, Schema, Snapshot, Store, Value,
    Writer,
};

/// A value of its own, compared bit for bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    U64(u64),
    I64(i64),
    F64(u64),
    U32(u32),
    I32(i32),
    F32(u32),
    Bool(bool),
    Bytes(Vec<u8>),
    Text(String),
}

impl Cell {
    pub(crate) fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Cell::Null,
            Value::U64(value) => Cell::U64(value),
            Value::I64(value) => Cell::I64(value),
            Value::F64(value) => Cell::F64(value.to_bits()),
            Value::U32(value) => Cell::U32(value),
            Value::I32(value) => Cell::I32(value),
            Value::F32(value) => Cell::F32(value.to_bits()),
            Value::Bool(value) => Cell::Bool(value),
            Value::Bytes(value) => Cell::Bytes(value.to_vec()),
            Value::Text(value) => Cell::Text(value.to_owned()),
            _ => panic!("a kind that this test does not know"),
        }
    }

    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::U64(value) => Value::U64(*value),
            Cell::I64(value) => Value::I64(*value),
            Cell::F64(bits) => Value::F64(f64::from_bits(*bits)),
            Cell::U32(value) => Value::U32(*value),
            Cell::I32(value) => Value::I32(*value),
            Cell::F32(bits) => Value::F32(f32::from_bits(*bits)),
            Cell::Bool(value) => Value::Bool(*value),
            Cell::Bytes(value) => Value::Bytes(value),
            Cell::Text(value) => Value::Text(value),
        }
    }

    /// The bytes of a value that has slices.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Cell::Bytes(bytes) => bytes,
            Cell::Text(text) => text.as_bytes(),
            _ => &[],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) row: u64,
    pub(crate) key: u64,
    pub(crate) cells: Vec<Cell>,
}

pub(crate) const KINDS: [Kind; 9] =
    [Kind::U64, Kind::I64, Kind::F64, Kind::U32, Kind::I32, Kind::F32, Kind::Bool, Kind::Bytes, Kind::Text];

/// Each kind without nulls, then each with them.
pub(crate) fn all_kinds() -> Schema {
    let strict = KINDS.iter().map(|kind| Column::new(format!("{kind}"), *kind));
    let loose = KINDS.iter().map(|kind| Column::new(format!("{kind} or null"), *kind).nullable());
    Schema::new(strict.chain(loose)).unwrap().key_unit(KeyUnit::Nanoseconds)
}

/// One column that is never null.
pub(crate) fn one_column(kind: Kind) -> Schema {
    Schema::new([Column::new("only", kind)]).unwrap()
}

/// Small segments, a small log, and commits of either size.
pub(crate) fn small_options() -> Options {
    Options::default().log_bytes(256 << 10).segment_rows(300).inline_bytes(4 << 10).grow_bytes(4096, 64 << 10)
}

/// A disk without mishaps.
pub(crate) fn calm_disk(seed: u64) -> SimDisk {
    let settings = Settings { short: 0.0, ..Settings::from_seed(seed) };
    SimDisk::with_settings(seed, settings)
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) writer: Writer<SimDisk>,
    pub(crate) random: Random,
    pub(crate) rows: Vec<Row>,
    last_key: u64,
}

impl World {
    pub(crate) fn new(disk: SimDisk, schema: Schema, options: Options) -> Self {
        let dir = PathBuf::from("/store");
        let created = run(&disk, Writer::create_on(disk.clone(), &dir, schema, options.clone()));
        let writer = created.unwrap().unwrap();
        World { disk, dir, options, writer, random: Random::new(1), rows: Vec::new(), last_key: 0 }
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(&self.disk, future).unwrap()
    }

    pub(crate) fn store(&self) -> Store<SimDisk> {
        self.writer.store()
    }

    /// Appends rows whose keys go up by 0 to 3, and commits them.
    pub(crate) fn commit(&mut self, count: usize) {
        for _ in 0..count {
            let step = [0, 0, 1, 3][self.random.index(4)];
            let key = self.last_key.saturating_add(step);
            let schema = self.writer.schema().clone();
            let cells = schema.columns().iter().map(|column| cell(&mut self.random, column)).collect();
            self.append(key, cells);
        }
        self.flush();
    }

    pub(crate) fn append(&mut self, key: u64, cells: Vec<Cell>) {
        let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
        let row = self.writer.pending().append(key, &values).unwrap();
        self.last_key = key;
        self.rows.push(Row { row, key, cells });
    }

    pub(crate) fn flush(&mut self) {
        run(&self.disk, self.writer.commit()).unwrap().unwrap();
    }

    pub(crate) fn checkpoint(&mut self) {
        run(&self.disk, self.writer.checkpoint()).unwrap().unwrap();
    }

    /// Commits, large ones among them, checkpoints and rolls.
    pub(crate) fn fill(&mut self, rows: usize) {
        while self.rows.len() < rows {
            let count = [1, 2, 7, 40, 90][self.random.index(5)].min(rows - self.rows.len());
            self.commit(count);
            if self.random.below(12) == 0 {
                self.checkpoint();
            }
        }
    }

    pub(crate) fn reopen(self) -> Self {
        let World { disk, dir, options, writer, random, rows, last_key } = self;
        run(&disk, writer.close()).unwrap().unwrap();
        let writer = run(&disk, Writer::open_on(disk.clone(), &dir, options.clone())).unwrap().unwrap();
        World { disk, dir, options, writer, random, rows, last_key }
    }

    /// The writer is killed, and another one recovers.
    pub(crate) fn recover(self) -> Self {
        let disk = self.disk.kill();
        let opened = run(&disk, Writer::open_on(disk.clone(), &self.dir, self.options.clone()));
        World { writer: opened.unwrap().unwrap(), disk, ..self }
    }

    pub(crate) fn columns(&self) -> Vec<ColumnId> {
        (0..u32::try_from(self.writer.schema().columns().len()).unwrap()).map(ColumnId).collect()
    }

    /// The raw files of a slot.
    pub(crate) fn slot(&self, number: u32) -> PathBuf {
        self.dir.join(format!("raw-{number}"))
    }
}

/// A value of a column: often an edge, often null where that is allowed.
pub(crate) fn cell(random: &mut Random, column: &Column) -> Cell {
    if column.nulls() == tidelog::Nulls::Allowed && random.below(3) == 0 {
        return Cell::Null;
    }
    let bits = match random.below(4) {
        0 => 0,
        1 => u64::MAX,
        _ => random.bits(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
    let low = bits as u32;
    let len = [0, 0, 1, 9, 30, 200][random.index(6)];
    match column.kind() {
        Kind::U64 => Cell::U64(bits),
        Kind::I64 => Cell::I64(bits.cast_signed()),
        Kind::F64 => Cell::F64(bits),
        Kind::U32 => Cell::U32(low),
        Kind::I32 => Cell::I32(low.cast_signed()),
        Kind::F32 => Cell::F32(low),
        Kind::Bool => Cell::Bool(bits & 1 == 1),
        Kind::Bytes => {
            let mut bytes = vec![0; len];
            random.fill(&mut bytes);
            Cell::Bytes(bytes)
        }
        Kind::Text => Cell::Text("aé€😀".chars().cycle().take(len).collect()),
        kind => panic!("a value of kind {kind}"),
    }
}

/// The rows of a batch.
pub(crate) fn rows_of(batch: &Batch) -> Vec<Row> {
    assert!(!batch.is_empty(), "no batch is empty");
    let row = |index: usize| {
        let cells = batch.columns().iter().map(|(_, vector)| Cell::of(vector.value(index).unwrap()));
        Row { row: batch.row(index).unwrap(), key: batch.keys()[index], cells: cells.collect() }
    };
    (0..batch.len()).map(row).collect()
}

/// All that a scan hands out.
pub(crate) async fn collect(mut scan: Scan<'_, SimDisk>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    while let Some(batch) = scan.next().await? {
        rows.extend(rows_of(&batch));
    }
    assert!(scan.next().await.unwrap().is_none(), "a scan that has ended stays so");
    Ok(rows)
}

/// Every row of a snapshot.
pub(crate) async fn all(reader: &Reader<SimDisk>, at: &Snapshot) -> Result<Vec<Row>, Error> {
    collect(reader.scan(at, ..)).await
}
