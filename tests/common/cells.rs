//! Rows as a plain model holds them: owned, comparable bit for bit, drawn from seeds.

use std::ops::Range;

use tidelog::disk::sim::Random;
use tidelog::{Column, Kind, Nulls, Pending, Result, Schema, Value, Values};

/// One value. Floats are their bits, so that every NaN equals itself only.
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

/// A key and one value for each column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: u64,
    pub(crate) cells: Vec<Cell>,
}

impl Cell {
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
            other => unreachable!("{other:?} is no value of this version"),
        }
    }

    /// Whether it is bytes or text of no length.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Cell::Bytes(value) if value.is_empty())
            || matches!(self, Cell::Text(value) if value.is_empty())
    }
}

impl Row {
    pub(crate) fn append(&self, pending: &mut Pending) -> Result<u64> {
        self.append_with_key(pending, self.key)
    }

    pub(crate) fn append_with_key(&self, pending: &mut Pending, key: u64) -> Result<u64> {
        let values: Vec<Value<'_>> = self.cells.iter().map(Cell::value).collect();
        pending.append(key, &values)
    }
}

/// Every kind, without and with nulls.
pub(crate) fn mixed() -> Schema {
    let kinds = [
        Kind::U64,
        Kind::I64,
        Kind::F64,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::Bytes,
        Kind::Text,
    ];
    let plain = kinds.iter().map(|kind| Column::new(kind.to_string(), *kind));
    let nullable = kinds.iter().map(|kind| Column::new(format!("{kind} or null"), *kind).nullable());
    Schema::new(plain.chain(nullable)).unwrap()
}

/// A value of a column; bytes and text of up to `len_max` bytes.
pub(crate) fn draw(random: &mut Random, column: &Column, len_max: usize) -> Cell {
    if column.nulls() == Nulls::Allowed && random.below(3) == 0 {
        return Cell::Null;
    }
    // Extremes too: all bits, none, small ones.
    let bits = [0, u64::MAX, random.bits(), random.bits() >> 40, random.bits()][random.index(5)];
    let len = if random.below(4) == 0 { 0 } else { random.index(len_max + 1) };
    match column.kind() {
        Kind::U64 => Cell::U64(bits),
        Kind::I64 => Cell::I64(bits.cast_signed()),
        Kind::F64 => Cell::F64(bits),
        Kind::U32 => Cell::U32(low(bits)),
        Kind::I32 => Cell::I32(low(bits).cast_signed()),
        Kind::F32 => Cell::F32(low(bits)),
        Kind::Bool => Cell::Bool(bits & 1 == 1),
        Kind::Bytes => {
            let mut bytes = vec![0; len];
            random.fill(&mut bytes);
            Cell::Bytes(bytes)
        }
        Kind::Text => Cell::Text((0..len / 2).map(|_| ['a', 'é', '\0', '水'][random.index(4)]).collect()),
        kind => unreachable!("{kind} is no kind of this version"),
    }
}

fn low(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Rows whose keys go on from `key`, some of them equal.
pub(crate) fn draw_rows(
    random: &mut Random,
    schema: &Schema,
    key: u64,
    count: usize,
    len_max: usize,
) -> Vec<Row> {
    let mut key = key;
    let row = |_| {
        key = key.saturating_add(random.below(3));
        Row { key, cells: schema.columns().iter().map(|column| draw(random, column, len_max)).collect() }
    };
    (0..count).map(row).collect()
}

/// Appends rows as one batch.
pub(crate) fn append_batch(pending: &mut Pending, rows: &[Row]) -> Result<Range<u64>> {
    let schema = pending.schema().clone();
    batch(&schema, rows, |keys, values| pending.append_batch(keys, values))
}

/// Shows rows as a batch. What stands in the place of a null is nonsense.
pub(crate) fn batch<T>(schema: &Schema, rows: &[Row], show: impl FnOnce(&[u64], &[Values<'_>]) -> T) -> T {
    let keys: Vec<u64> = rows.iter().map(|row| row.key).collect();
    let mut columns: Vec<Typed> = schema.columns().iter().map(|column| Typed::new(column.kind())).collect();
    for (i, column) in columns.iter_mut().enumerate() {
        rows.iter().for_each(|row| column.push(&row.cells[i]));
    }
    let bare: Vec<Values<'_>> = columns.iter().map(Typed::values).collect();
    let null = |i: usize| rows.iter().map(|row| row.cells[i] == Cell::Null).collect();
    let nulls: Vec<Vec<bool>> = (0..columns.len()).map(null).collect();
    let values = |i: usize| match schema.columns()[i].nulls() {
        // Without any null the column may be given either way.
        Nulls::Allowed if nulls[i].contains(&true) || rows.len().is_multiple_of(2) => {
            Values::Nullable { values: &bare[i], nulls: &nulls[i] }
        }
        _ => bare[i],
    };
    let values: Vec<Values<'_>> = (0..columns.len()).map(values).collect();
    show(&keys, &values)
}

/// A column's values as [`Values`] borrows them.
enum Typed {
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Bytes(Vec<u8>, Vec<u64>),
    Text(String, Vec<u64>),
}

impl Typed {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::U64 => Typed::U64(Vec::new()),
            Kind::I64 => Typed::I64(Vec::new()),
            Kind::F64 => Typed::F64(Vec::new()),
            Kind::U32 => Typed::U32(Vec::new()),
            Kind::I32 => Typed::I32(Vec::new()),
            Kind::F32 => Typed::F32(Vec::new()),
            Kind::Bool => Typed::Bool(Vec::new()),
            Kind::Bytes => Typed::Bytes(Vec::new(), Vec::new()),
            Kind::Text => Typed::Text(String::new(), Vec::new()),
            kind => unreachable!("{kind} is no kind of this version"),
        }
    }

    fn push(&mut self, cell: &Cell) {
        match (self, cell) {
            (Typed::U64(values), Cell::U64(value)) => values.push(*value),
            (Typed::I64(values), Cell::I64(value)) => values.push(*value),
            (Typed::F64(values), Cell::F64(bits)) => values.push(f64::from_bits(*bits)),
            (Typed::U32(values), Cell::U32(value)) => values.push(*value),
            (Typed::I32(values), Cell::I32(value)) => values.push(*value),
            (Typed::F32(values), Cell::F32(bits)) => values.push(f32::from_bits(*bits)),
            (Typed::Bool(values), Cell::Bool(value)) => values.push(*value),
            (Typed::Bytes(data, ends), Cell::Bytes(value)) => {
                data.extend_from_slice(value);
                ends.push(data.len() as u64);
            }
            (Typed::Text(data, ends), Cell::Text(value)) => {
                data.push_str(value);
                ends.push(data.len() as u64);
            }
            (column, Cell::Null) => column.push_nonsense(),
            (_, cell) => unreachable!("{cell:?} is in a column of another kind"),
        }
    }

    fn push_nonsense(&mut self) {
        match self {
            Typed::U64(values) => values.push(0xBAD),
            Typed::I64(values) => values.push(-0xBAD),
            Typed::F64(values) => values.push(f64::NAN),
            Typed::U32(values) => values.push(0xBAD),
            Typed::I32(values) => values.push(-0xBAD),
            Typed::F32(values) => values.push(f32::NAN),
            Typed::Bool(values) => values.push(true),
            Typed::Bytes(data, ends) => {
                data.extend_from_slice(b"nonsense");
                ends.push(data.len() as u64);
            }
            Typed::Text(data, ends) => {
                data.push_str("nönsense");
                ends.push(data.len() as u64);
            }
        }
    }

    fn values(&self) -> Values<'_> {
        match self {
            Typed::U64(values) => Values::U64(values),
            Typed::I64(values) => Values::I64(values),
            Typed::F64(values) => Values::F64(values),
            Typed::U32(values) => Values::U32(values),
            Typed::I32(values) => Values::I32(values),
            Typed::F32(values) => Values::F32(values),
            Typed::Bool(values) => Values::Bool(values),
            Typed::Bytes(data, ends) => Values::Bytes { data, ends },
            Typed::Text(data, ends) => Values::Text { data, ends },
        }
    }
}
