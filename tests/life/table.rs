//! Rows: made from nothing but a commit's number and dice, appended to a writer, compared.
//!
//! A value says whose it is: it is a hash of commit, row and column, so that a row of another commit, another row
//! or another column is never taken for the right one.
//!
//! Not here: reading a store (`read`), which rows must be there (`expected`).

use std::ops::Range;

use tidelog::disk::sim::Random;
use tidelog::{Column, Kind, Nulls, Pending, Result, Schema, Value, Values};

/// Keys and values of rows in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) keys: Vec<u64>,
    pub(crate) columns: Vec<Cells>,
    /// Which of the columns allow nulls.
    pub(crate) nullable: Vec<bool>,
}

/// A column's values, as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    /// Little-endian, or end to end.
    pub(crate) data: Vec<u8>,
    /// For bytes and text, where each ends in `data`.
    pub(crate) ends: Vec<u64>,
    /// For a column that allows nulls: which are. Their bytes are zero, or none.
    pub(crate) nulls: Vec<bool>,
}

/// Kinds of stores: from keys alone to every kind of column.
pub(crate) const SCHEMAS: u64 = 7;

/// The schema of this kind of store.
pub(crate) fn schema(kind: u64) -> Result<Schema> {
    let of = |name: &str, kind| Column::new(name, kind);
    let columns = match kind {
        0 => vec![of("a", Kind::U64)],
        1 => vec![of("a", Kind::U64), of("b", Kind::Bytes)],
        2 => vec![of("a", Kind::F64).nullable(), of("t", Kind::Text).nullable()],
        3 => vec![of("b", Kind::Bytes).nullable(), of("c", Kind::Bool), of("i", Kind::I32)],
        4 => vec![of("t", Kind::Text), of("u", Kind::U32).nullable(), of("f", Kind::F32)],
        5 => vec![
            of("i", Kind::I64),
            of("f", Kind::F64).nullable(),
            of("c", Kind::Bool),
            of("t", Kind::Text).nullable(),
        ],
        7 => vec![
            of("i", Kind::I64),
            of("f", Kind::F64).nullable(),
            of("c", Kind::Bool).nullable(),
            of("u", Kind::U32),
            of("g", Kind::F32).nullable(),
        ],
        8 => vec![of("f", Kind::F64).nullable()],
        _ => Vec::new(),
    };
    Schema::new(columns)
}

fn hash(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    bits = (bits ^ (bits >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    bits ^ (bits >> 32)
}

/// How a commit's rows are to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// The commit's number.
    pub(crate) commit: u64,
    pub(crate) rows: usize,
    /// The longest value of bytes and text.
    pub(crate) longest: u64,
}

impl Table {
    /// No rows.
    pub(crate) fn new(schema: &Schema) -> Self {
        let columns = schema.columns();
        Table {
            keys: Vec::new(),
            columns: vec![Cells::default(); columns.len()],
            nullable: columns.iter().map(|column| column.nulls() == Nulls::Allowed).collect(),
        }
    }

    /// Rows behind the key `last`.
    pub(crate) fn made(schema: &Schema, shape: Shape, last: u64, random: &mut Random) -> Self {
        let mut table = Table::new(schema);
        let mut key = last;
        let steps = [1, 1, 2, 1000][random.index(4)];
        for _ in 0..shape.rows {
            key += random.below(steps + 1);
            table.keys.push(key);
        }
        for (number, (column, cells)) in (0..).zip(schema.columns().iter().zip(&mut table.columns)) {
            let start = hash(shape.commit << 8 | number);
            (0..shape.rows as u64)
                .for_each(|row| cells.push(column, hash(start.wrapping_add(row)), shape.longest));
        }
        table
    }

    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// Adds rows behind these.
    pub(crate) fn append(&mut self, more: &Table) {
        self.keys.extend_from_slice(&more.keys);
        for (cells, more) in self.columns.iter_mut().zip(&more.columns) {
            let base = cells.data.len() as u64;
            cells.data.extend_from_slice(&more.data);
            cells.ends.extend(more.ends.iter().map(|end| base + end));
            cells.nulls.extend_from_slice(&more.nulls);
        }
    }

    /// Bytes that the rows take in raw files.
    pub(crate) fn bytes(&self) -> usize {
        let of = |cells: &Cells| cells.data.len() + 8 * cells.ends.len() + cells.nulls.len();
        8 * self.rows() + self.columns.iter().map(of).sum::<usize>()
    }

    /// Where `found`, the rows from 0 on, differs from the first rows of this one; and behind those, of `maybe`.
    pub(crate) fn difference(&self, maybe: Option<&Table>, found: &Table) -> Option<String> {
        let of_self = self.rows().min(found.rows());
        if let Some(difference) = self.differs(0..of_self, found, 0) {
            return Some(difference);
        }
        let rest = found.rows() - of_self;
        match maybe {
            Some(maybe) if rest <= maybe.rows() => maybe.differs(0..rest, found, of_self),
            _ if rest == 0 => None,
            _ => Some(format!("{rest} rows of nobody behind row {of_self}")),
        }
    }

    /// How row `row` differs from the only row of `found`.
    pub(crate) fn row_differs(&self, row: usize, found: &Table) -> Option<String> {
        self.differs(row..row + 1, found, 0)
    }

    /// Whether rows `rows` of this table are not those of `found` from `start` on, and where.
    fn differs(&self, rows: Range<usize>, found: &Table, start: usize) -> Option<String> {
        let there = start..start + rows.len();
        let first = |kind: &str, same: &dyn Fn(usize, usize) -> bool| {
            let row = rows.clone().zip(there.clone()).find(|(here, there)| !same(*here, *there));
            Some(format!("{kind} of row {} differ", row.map_or(start, |(_, there)| there)))
        };
        if self.keys[rows.clone()] != found.keys[there.clone()] {
            return first("keys", &|a, b| self.keys[a] == found.keys[b]);
        }
        for (number, (here, found)) in self.columns.iter().zip(&found.columns).enumerate() {
            if !here.matches(&rows, found, &there, self.keys.len()) {
                return first(&format!("values in column {number}"), &|a, b| {
                    here.matches(&(a..a + 1), found, &(b..b + 1), self.keys.len())
                });
            }
        }
        None
    }

    /// Appends these rows to what is pending: in one batch, or row by row.
    pub(crate) fn append_to(&self, pending: &mut Pending, one_by_one: bool) -> Result<Range<u64>> {
        let schema = pending.schema().clone();
        if !one_by_one {
            return self.append_batch(pending, &schema);
        }
        let start = pending.next_row();
        for row in 0..self.rows() {
            let cells = schema.columns().iter().zip(&self.columns);
            let values: Vec<Value<'_>> = cells.map(|(column, cells)| cells.value(column, row)).collect();
            pending.append(self.keys[row], &values)?;
        }
        Ok(start..pending.next_row())
    }

    fn append_batch(&self, pending: &mut Pending, schema: &Schema) -> Result<Range<u64>> {
        let owned =
            schema.columns().iter().zip(&self.columns).map(|(column, cells)| Owned::new(column, cells));
        let owned: Vec<Owned> = owned.collect();
        let plain: Vec<Values<'_>> =
            owned.iter().zip(&self.columns).map(|(owned, cells)| owned.values(cells)).collect();
        let values = plain.iter().zip(&self.columns).map(|(values, cells)| match cells.nulls.is_empty() {
            true => *values,
            false => Values::Nullable { values, nulls: &cells.nulls },
        });
        pending.append_batch(&self.keys, &values.collect::<Vec<_>>())
    }
}

impl Cells {
    /// Adds values that lie end to end; `offsets` has one more than there are.
    pub(crate) fn add_bytes(&mut self, offsets: &[u64], bytes: &[u8]) {
        let base = self.data.len() as u64;
        self.ends.extend(offsets.iter().skip(1).map(|end| base + end));
        self.data.extend_from_slice(bytes);
    }

    fn push(&mut self, column: &Column, bits: u64, longest: u64) {
        let null = column.nulls() == Nulls::Allowed && bits.is_multiple_of(5);
        if column.nulls() == Nulls::Allowed {
            self.nulls.push(null);
        }
        match column.kind() {
            Kind::Bytes | Kind::Text => {
                let len = if null { 0 } else { hash(bits) % (longest + 1) };
                (0..len).for_each(|at| self.push_byte(column.kind(), bits >> (at % 8 * 8), at));
                self.ends.push(self.data.len() as u64);
            }
            _ if null => self.data.resize(self.data.len() + column.kind().width().unwrap_or(0), 0),
            Kind::Bool => self.data.push((bits & 1) as u8),
            kind => self.data.extend_from_slice(&bits.to_le_bytes()[..kind.width().unwrap_or(0)]),
        }
    }

    fn push_byte(&mut self, kind: Kind, bits: u64, at: u64) {
        let byte = bits.to_le_bytes()[0] ^ at.to_le_bytes()[0];
        match kind {
            // Mostly one byte a character, so that it is checked fast.
            Kind::Text if byte == 0 => self.data.extend_from_slice("\u{3c0}".as_bytes()),
            Kind::Text => self.data.push(byte & 0x7F),
            _ => self.data.push(byte),
        }
    }

    /// Where the value of a row lies in `data`.
    fn range(&self, row: usize, rows: usize) -> Range<usize> {
        let at = |row: usize| match row.checked_sub(1) {
            None => 0,
            Some(before) => usize::try_from(self.ends[before]).unwrap_or(usize::MAX),
        };
        match self.ends.is_empty() {
            false => at(row)..at(row + 1),
            true => {
                let width = self.data.len() / rows.max(1);
                row * width..(row + 1) * width
            }
        }
    }

    /// Whether the rows `here` have the same values as the rows `there` of `found`. `rows` are all of this one.
    fn matches(&self, here: &Range<usize>, found: &Cells, there: &Range<usize>, rows: usize) -> bool {
        if here.is_empty() {
            return true;
        }
        let bytes = |cells: &Cells, of: &Range<usize>, width: usize| match cells.ends.is_empty() {
            true => of.start * width..of.end * width,
            false => cells.range(of.start, 0).start..cells.range(of.end - 1, 0).end,
        };
        let width = if self.ends.is_empty() { self.data.len() / rows } else { 0 };
        let (a, b) = (bytes(self, here, width), bytes(found, there, width));
        let lengths_match = self.ends.is_empty()
            || here
                .clone()
                .zip(there.clone())
                .all(|(x, y)| self.ends[x] + b.start as u64 == found.ends[y] + a.start as u64);
        let nulls_match =
            self.nulls.is_empty() || self.nulls.get(here.clone()) == found.nulls.get(there.clone());
        lengths_match && nulls_match && self.data.get(a) == found.data.get(b)
    }

    fn value(&self, column: &Column, row: usize) -> Value<'_> {
        if self.nulls.get(row) == Some(&true) {
            return Value::Null;
        }
        let width = column.kind().width().unwrap_or(0);
        let bytes = match self.ends.is_empty() {
            true => &self.data[row * width..(row + 1) * width],
            false => &self.data[self.range(row, 0)],
        };
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&bytes[..width]);
        let [a, b, c, d, ..] = wide;
        let narrow = [a, b, c, d];
        match column.kind() {
            Kind::U64 => Value::U64(u64::from_le_bytes(wide)),
            Kind::I64 => Value::I64(i64::from_le_bytes(wide)),
            Kind::F64 => Value::F64(f64::from_le_bytes(wide)),
            Kind::U32 => Value::U32(u32::from_le_bytes(narrow)),
            Kind::I32 => Value::I32(i32::from_le_bytes(narrow)),
            Kind::F32 => Value::F32(f32::from_le_bytes(narrow)),
            Kind::Bool => Value::Bool(a != 0),
            Kind::Text => Value::Text(std::str::from_utf8(bytes).unwrap_or("not made by push_byte")),
            _ => Value::Bytes(bytes),
        }
    }
}

/// Values of a column's own type, for as long as a batch is appended.
enum Owned {
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Bytes,
    Text,
}

impl Owned {
    fn new(column: &Column, cells: &Cells) -> Self {
        let (wide, rest) = cells.data.as_chunks::<8>();
        let (narrow, _) = cells.data.as_chunks::<4>();
        debug_assert!(rest.is_empty() || column.kind().width() != Some(8), "whole values");
        match column.kind() {
            Kind::U64 => Owned::U64(wide.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()),
            Kind::I64 => Owned::I64(wide.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
            Kind::F64 => Owned::F64(wide.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
            Kind::U32 => Owned::U32(narrow.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()),
            Kind::I32 => Owned::I32(narrow.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect()),
            Kind::F32 => Owned::F32(narrow.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Kind::Bool => Owned::Bool(cells.data.iter().map(|byte| *byte != 0).collect()),
            Kind::Text => Owned::Text,
            _ => Owned::Bytes,
        }
    }

    fn values<'a>(&'a self, cells: &'a Cells) -> Values<'a> {
        match self {
            Owned::U64(values) => Values::U64(values),
            Owned::I64(values) => Values::I64(values),
            Owned::F64(values) => Values::F64(values),
            Owned::U32(values) => Values::U32(values),
            Owned::I32(values) => Values::I32(values),
            Owned::F32(values) => Values::F32(values),
            Owned::Bool(values) => Values::Bool(values),
            Owned::Bytes => Values::Bytes { data: &cells.data, ends: &cells.ends },
            Owned::Text => {
                let data = std::str::from_utf8(&cells.data).unwrap_or("not made by push_byte");
                Values::Text { data, ends: &cells.ends }
            }
        }
    }
}
