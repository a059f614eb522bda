//! Rows that are appended but not committed: memory only, never waits.
//!
//! Each call appends all of its rows or, with an error, nothing. The bytes are laid out as raw files hold them,
//! except that offsets count from the first pending row until a commit knows where that stands.
//!
//! Not here: making rows durable (`writer`), a group of callers (`appender`).

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::codec::raw::Raw;
use crate::error::{Error, Result};
use crate::options::{NOTE_BYTES_MAX, VALUE_BYTES_MAX};
use crate::schema::{Column, ColumnId, Kind, Nulls, Role, Schema};
use crate::value::{Value, Values};

/// Rows waiting for a commit.
#[derive(Debug)]
pub struct Pending {
    schema: Arc<Schema>,
    /// The number that the first pending row will have.
    first_row: u64,
    rows: u64,
    last_key: u64,
    /// The newest committed key: what `clear` goes back to.
    committed_key: u64,
    /// For each raw file, its new bytes.
    files: Vec<Vec<u8>>,
    bytes: u64,
    bytes_max: u64,
    note: Option<Vec<u8>>,
    /// In a group: where the caller began whose turn it is. What others appended is none of its concern.
    caller: Option<Mark>,
    /// Where the rows end that buffered commits have shown: they wait for the next record, and are pending no more.
    buffered: Option<Mark>,
}

/// How much was pending at some moment.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    rows: u64,
    last_key: u64,
    lengths: Vec<usize>,
    bytes: u64,
    note: Option<Vec<u8>>,
}

impl Pending {
    /// Nothing pending behind `first_row` rows, the last of which has `last_key`.
    pub(crate) fn new(schema: Arc<Schema>, first_row: u64, last_key: u64, bytes_max: u64) -> Self {
        let files = vec![Vec::new(); schema.files().len()];
        Self {
            schema,
            first_row,
            rows: 0,
            last_key,
            committed_key: last_key,
            files,
            bytes: 0,
            bytes_max,
            note: None,
            caller: None,
            buffered: None,
        }
    }

    /// Appends one row: `values` has one for each column, in the schema's order. Returns its row number, which
    /// it keeps for ever once committed.
    ///
    /// # Errors
    /// `KeyOrder` for a key below the last one; `Schema` for a wrong number or kind of values, or a null where
    /// none is allowed; `Limit` for what the pending rows, or any file, cannot hold.
    pub fn append(&mut self, key: u64, values: &[Value<'_>]) -> Result<u64> {
        if key < self.last_key {
            return Err(Error::KeyOrder { index: 0, key, last: self.last_key });
        }
        self.check_count(values.len())?;
        let schema = Arc::clone(&self.schema);
        let mut bytes = 8;
        for (column, value) in schema.columns().iter().zip(values) {
            bytes += check_value(column, value)?;
        }
        self.check_room(bytes, 1)?;
        self.files[0].extend_from_slice(&key.to_le_bytes());
        for (id, value) in (0..).map(ColumnId).zip(values) {
            self.push(id, value);
        }
        self.grew(1, key, bytes);
        Ok(self.first_row + self.rows - 1)
    }

    /// Appends `keys.len()` rows: `values` has one entry for each column, in the schema's order, each of as many
    /// values. Returns their row numbers. Costs no more than the copy.
    ///
    /// # Errors
    /// As [`Pending::append`]; `index` in the error is the row's position in this batch.
    pub fn append_batch(&mut self, keys: &[u64], values: &[Values<'_>]) -> Result<Range<u64>> {
        let start = self.first_row + self.rows;
        self.check_count(values.len())?;
        let schema = Arc::clone(&self.schema);
        for (column, values) in schema.columns().iter().zip(values) {
            check_values(column, values, keys.len())?;
        }
        let Some(last) = keys.last() else {
            return Ok(start..start);
        };
        check_order(self.last_key, keys)?;
        let columns = schema.columns().iter().zip(values).map(|(column, values)| batch_bytes(column, values));
        let rows = keys.len() as u64;
        let bytes = columns.fold(rows * 8, u64::saturating_add);
        self.check_room(bytes, rows)?;
        u64::append(keys, &mut self.files[0]);
        for (id, values) in (0..).map(ColumnId).zip(values) {
            self.push_batch(id, values, None);
        }
        self.grew(rows, *last, bytes);
        Ok(start..start + rows)
    }

    /// Refuses, with `Conflict`, unless the store's committed and pending rows together are `rows`.
    ///
    /// # Errors
    /// `Conflict`.
    pub fn expect_rows(&mut self, rows: u64) -> Result<()> {
        match self.first_row + self.rows {
            found if found == rows => Ok(()),
            found => Err(Error::Conflict { expected: rows, found }),
        }
    }

    /// Lets up to 4 KiB of the caller's own state ride along: durable with the pending rows, or not at all. The
    /// newest one is there after reopening. A second call before the commit replaces the first.
    ///
    /// # Errors
    /// `Limit` for more than 4 KiB.
    pub fn note(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > NOTE_BYTES_MAX {
            let (given, max) = (bytes.len() as u64, NOTE_BYTES_MAX as u64);
            return Err(Error::Limit { what: "the note's length in bytes".into(), given, max });
        }
        self.note = Some(bytes.to_vec());
        Ok(())
    }

    /// Forgets the pending rows and note (in a plan: those of this caller).
    pub fn clear(&mut self) {
        if let Some(mark) = self.caller.clone() {
            self.back_to(&mark);
            self.note = None;
        } else if let Some(mark) = self.buffered.clone() {
            self.back_to(&mark);
        } else {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.files.iter_mut().for_each(Vec::clear);
        self.rows = 0;
        self.bytes = 0;
        self.note = None;
        self.last_key = self.committed_key;
    }

    /// How many rows are pending.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows - self.buffered.as_ref().map_or(0, |mark| mark.rows)
    }

    /// The number that the next appended row gets: committed and pending rows.
    #[must_use]
    pub fn next_row(&self) -> u64 {
        self.first_row + self.rows
    }

    /// Bytes that the pending rows hold; `memory_bytes` at most.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes - self.buffered.as_ref().map_or(0, |mark| mark.bytes)
    }

    /// What rows are appended against.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Whether a commit would have nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.buffered {
            Some(mark) => self.rows == mark.rows && self.note == mark.note,
            None => self.rows == 0 && self.note.is_none(),
        }
    }

    /// Rows that the next record holds: those that are pending, and buffered ones before them.
    pub(crate) fn unrecorded_rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of those rows.
    pub(crate) fn unrecorded_bytes(&self) -> u64 {
        self.bytes
    }

    /// The first of those rows.
    pub(crate) fn first_row(&self) -> u64 {
        self.first_row
    }

    pub(crate) fn last_key(&self) -> u64 {
        self.last_key
    }

    pub(crate) fn pending_note(&self) -> Option<&[u8]> {
        self.note.as_deref()
    }

    /// The new bytes of each raw file; offsets count from the first pending value.
    pub(crate) fn files(&self) -> &[Vec<u8>] {
        &self.files
    }

    /// The same, when a record holds all of it: who takes some may leave other buffers.
    pub(crate) fn files_mut(&mut self) -> &mut [Vec<u8>] {
        &mut self.files
    }

    /// A record holds all of it: go on behind.
    pub(crate) fn committed(&mut self) {
        self.first_row += self.rows;
        self.committed_key = self.last_key;
        self.buffered = None;
        self.forget();
    }

    /// What was pending is shown to readers: it stays here for the next record.
    pub(crate) fn keep_buffered(&mut self) {
        self.buffered = Some(Mark { note: self.note.clone(), ..self.mark() });
    }

    /// Cuts off what is pending behind buffered rows, if there are any.
    pub(crate) fn split_off_pending(&mut self) -> Option<Pending> {
        let mark = self.buffered.clone()?;
        Some(self.split_off(&mark))
    }

    /// Here, without the note.
    fn mark(&self) -> Mark {
        let lengths = self.files.iter().map(Vec::len).collect();
        Mark { rows: self.rows, last_key: self.last_key, lengths, bytes: self.bytes, note: None }
    }

    /// A caller's turn begins: it sees no note but its own, and limits count its own rows.
    pub(crate) fn enter(&mut self) {
        self.caller = Some(Mark { note: self.note.take(), ..self.mark() });
    }

    /// Its turn ends: where it began.
    pub(crate) fn leave(&mut self) -> Mark {
        let Some(mark) = self.caller.take() else { unreachable!("leave follows enter") };
        mark
    }

    /// Behind a caller's turn: keeps the note from before it, unless the caller left one too; then it returns
    /// true, and the two cannot be one commit.
    pub(crate) fn keep_note(&mut self, mark: &Mark) -> bool {
        let both = self.note.is_some() && mark.note.is_some();
        if self.note.is_none() {
            self.note.clone_from(&mark.note);
        }
        both
    }

    /// Cuts off what came since `mark`: pending rows of their own, that follow what stays here.
    pub(crate) fn split_off(&mut self, mark: &Mark) -> Pending {
        let mut later =
            Pending::new(Arc::clone(&self.schema), self.first_row + mark.rows, mark.last_key, self.bytes_max);
        later.rows = self.rows - mark.rows;
        later.bytes = self.bytes - mark.bytes;
        later.last_key = self.last_key;
        if self.note != mark.note {
            later.note.clone_from(&self.note);
        }
        for (file, raw) in self.schema.files().iter().enumerate() {
            later.files[file] = self.files[file].split_off(mark.lengths[file]);
            if raw.role == Role::Offsets {
                // A column's data stands right before its offsets.
                shift_offsets(&mut later.files[file], (mark.lengths[file - 1] as u64).wrapping_neg());
            }
        }
        self.back_to(mark);
        later
    }

    /// Takes back what `split_off` cut: it follows what is here.
    pub(crate) fn rejoin(&mut self, later: Pending) {
        let Pending { rows, last_key, files, bytes, note, .. } = later;
        let schema = Arc::clone(&self.schema);
        for (file, (raw, mut more)) in schema.files().iter().zip(files).enumerate() {
            if self.rows == 0 {
                self.files[file] = more;
                continue;
            }
            if raw.role == Role::Offsets {
                // The data that stands right before has been joined; these count from where that began.
                let data = self.files[file - 1].len() as u64;
                let joined = more.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
                shift_offsets(&mut more, data - joined);
            }
            self.files[file].extend_from_slice(&more);
        }
        (self.rows, self.last_key, self.bytes) = (self.rows + rows, last_key, self.bytes + bytes);
        self.note = note.or(self.note.take());
    }

    /// Forgets what came since `mark`.
    pub(crate) fn back_to(&mut self, mark: &Mark) {
        self.rows = mark.rows;
        self.last_key = mark.last_key;
        self.bytes = mark.bytes;
        self.note.clone_from(&mark.note);
        for (file, len) in self.files.iter_mut().zip(&mark.lengths) {
            file.truncate(*len);
        }
    }

    fn grew(&mut self, rows: u64, last: u64, bytes: u64) {
        self.rows += rows;
        self.last_key = last;
        self.bytes += bytes;
    }

    fn check_count(&self, given: usize) -> Result<()> {
        let expected = self.schema.columns().len();
        if given == expected {
            return Ok(());
        }
        let index = given.min(expected);
        let column = self.schema.columns().get(index).map_or_else(|| index.to_string(), |c| c.name.clone());
        let what = format!("a row has {expected} values, one for each column; there are {given}").into();
        Err(Error::Schema { column, index: index as u64, what })
    }

    fn check_room(&self, bytes: u64, rows: u64) -> Result<()> {
        let others = self.caller.as_ref().or(self.buffered.as_ref()).map_or(0, |mark| mark.bytes);
        let given = (self.bytes - others).saturating_add(bytes);
        if given > self.bytes_max {
            let what = "the bytes of pending rows (see memory_bytes, log_bytes; commit more often)".into();
            return Err(Error::Limit { what, given, max: self.bytes_max });
        }
        match self.next_row().checked_add(rows) {
            Some(_) => Ok(()),
            None => Err(Error::Limit { what: "the number of rows".into(), given: rows, max: u64::MAX }),
        }
    }

    fn push(&mut self, id: ColumnId, value: &Value<'_>) {
        let places = self.schema.places(id);
        let data = &mut self.files[places.data];
        match value {
            Value::U64(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::I64(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::F64(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::U32(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::I32(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::F32(value) => data.extend_from_slice(&value.to_le_bytes()),
            Value::Bool(value) => data.push(u8::from(*value)),
            Value::Bytes(value) => data.extend_from_slice(value),
            Value::Text(value) => data.extend_from_slice(value.as_bytes()),
            Value::Null => {
                if let Role::Fixed(width) = self.schema.files()[places.data].role {
                    data.resize(data.len() + width, 0);
                }
            }
        }
        let end = data.len() as u64;
        if let Some(offsets) = places.offsets {
            self.files[offsets].extend_from_slice(&end.to_le_bytes());
        }
        if let Some(nulls) = places.nulls {
            self.files[nulls].push(u8::from(*value == Value::Null));
        }
    }

    fn push_batch(&mut self, id: ColumnId, values: &Values<'_>, nulls: Option<&[bool]>) {
        if let Values::Nullable { values, nulls } = values {
            return self.push_batch(id, values, Some(nulls));
        }
        let places = self.schema.places(id);
        let data = &mut self.files[places.data];
        match values {
            Values::U64(values) => push_fixed(data, values, nulls),
            Values::I64(values) => push_fixed(data, values, nulls),
            Values::F64(values) => push_fixed(data, values, nulls),
            Values::U32(values) => push_fixed(data, values, nulls),
            Values::I32(values) => push_fixed(data, values, nulls),
            Values::F32(values) => push_fixed(data, values, nulls),
            Values::Bool(values) => push_fixed(data, values, nulls),
            Values::Bytes { data: bytes, ends } => self.push_bytes(id, bytes, ends, nulls),
            Values::Text { data: text, ends } => self.push_bytes(id, text.as_bytes(), ends, nulls),
            Values::Nullable { .. } => unreachable!("unwrapped above, and never nested"),
        }
        if let Some(file) = places.nulls {
            match nulls {
                Some(nulls) => bool::append(nulls, &mut self.files[file]),
                None => {
                    let len = self.files[file].len() + values.len();
                    self.files[file].resize(len, 0);
                }
            }
        }
    }

    fn push_bytes(&mut self, id: ColumnId, bytes: &[u8], ends: &[u64], nulls: Option<&[bool]>) {
        let places = self.schema.places(id);
        let Some(offsets) = places.offsets else { unreachable!("bytes and text have offsets") };
        let base = self.files[places.data].len() as u64;
        let Some(nulls) = nulls else {
            self.files[places.data].extend_from_slice(bytes);
            let offsets = &mut self.files[offsets];
            ends.iter().for_each(|end| offsets.extend_from_slice(&(base + end).to_le_bytes()));
            return;
        };
        let mut start = 0;
        for (end, null) in ends.iter().zip(nulls) {
            // `check_ends` has seen that these are in range.
            let end = usize::try_from(*end).unwrap_or(bytes.len());
            if !null {
                self.files[places.data].extend_from_slice(&bytes[start..end]);
            }
            let kept = self.files[places.data].len() as u64;
            self.files[offsets].extend_from_slice(&kept.to_le_bytes());
            start = end;
        }
    }
}

fn shift_offsets(offsets: &mut [u8], by: u64) {
    for offset in offsets.as_chunks_mut::<8>().0 {
        *offset = u64::from_le_bytes(*offset).wrapping_add(by).to_le_bytes();
    }
}

fn push_fixed<T: Raw>(data: &mut Vec<u8>, values: &[T], nulls: Option<&[bool]>) {
    let start = data.len();
    T::append(values, data);
    // The bytes of a null are zero, so that equal rows are equal bytes.
    for (index, _) in nulls.into_iter().flatten().enumerate().filter(|(_, null)| **null) {
        data[start + index * T::WIDTH..start + (index + 1) * T::WIDTH].fill(0);
    }
}

/// The first key that goes back, if any. The common case is one pass without branches.
fn check_order(last: u64, keys: &[u64]) -> Result<()> {
    if keys[0] >= last && keys.is_sorted() {
        return Ok(());
    }
    let mut last = last;
    for (index, key) in (0..).zip(keys) {
        if *key < last {
            return Err(Error::KeyOrder { index, key: *key, last });
        }
        last = *key;
    }
    Ok(())
}

fn refuse(column: &Column, index: u64, what: impl Into<Cow<'static, str>>) -> Error {
    Error::Schema { column: column.name.clone(), index, what: what.into() }
}

/// Bytes that a value takes in the column's files, if it belongs there.
fn check_value(column: &Column, value: &Value<'_>) -> Result<u64> {
    let nulls = u64::from(column.nulls == Nulls::Allowed);
    let fixed = column.kind.width().unwrap_or(8) as u64 + nulls;
    let len = match (value, value.kind()) {
        (Value::Null, _) if column.nulls == Nulls::Allowed => 0,
        (Value::Null, _) => return Err(refuse(column, 0, "nulls are not allowed here")),
        (Value::Bytes(bytes), Some(kind)) if kind == column.kind => bytes.len() as u64,
        (Value::Text(text), Some(kind)) if kind == column.kind => text.len() as u64,
        (_, Some(kind)) if kind == column.kind => 0,
        (_, kind) => {
            let found = kind.map_or("a null".to_owned(), |kind| kind.to_string());
            return Err(refuse(column, 0, format!("its values are {}, this one is {found}", column.kind)));
        }
    };
    check_value_bytes(column, 0, len)?;
    Ok(fixed + len)
}

fn check_value_bytes(column: &Column, index: u64, given: u64) -> Result<()> {
    if given <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let what = format!("column {}, position {index}: the value's length in bytes", column.name).into();
    Err(Error::Limit { what, given, max: VALUE_BYTES_MAX })
}

fn check_values(column: &Column, values: &Values<'_>, rows: usize) -> Result<()> {
    if values.kind() != column.kind {
        let what = format!("its values are {}, these are {}", column.kind, values.kind());
        return Err(refuse(column, 0, what));
    }
    if values.len() != rows {
        let what = format!("there are {rows} keys and {} values", values.len());
        return Err(refuse(column, rows.min(values.len()) as u64, what));
    }
    match values {
        Values::Nullable { values: Values::Nullable { .. }, .. } => {
            Err(refuse(column, 0, "values that may be null cannot hold values that may be null"))
        }
        Values::Nullable { values, nulls } => {
            if nulls.len() != rows {
                let what = format!("there are {rows} keys and {} nulls", nulls.len());
                return Err(refuse(column, rows.min(nulls.len()) as u64, what));
            }
            if let Some(index) = nulls.iter().position(|null| *null && column.nulls == Nulls::Forbidden) {
                return Err(refuse(column, index as u64, "nulls are not allowed here"));
            }
            check_values(column, values, rows)
        }
        Values::Bytes { data, ends } => check_ends(column, data.len(), ends, |_| true),
        Values::Text { data, ends } => check_ends(column, data.len(), ends, |end| data.is_char_boundary(end)),
        _ => Ok(()),
    }
}

fn check_ends(column: &Column, len: usize, ends: &[u64], fits: impl Fn(usize) -> bool) -> Result<()> {
    let mut start = 0;
    for (index, end) in (0..).zip(ends) {
        let place = usize::try_from(*end).ok().filter(|end| *end <= len);
        let Some(place) = place.filter(|_| *end >= start) else {
            return Err(refuse(column, index, format!("its end is {end}, outside {start} to {len}")));
        };
        if !fits(place) {
            return Err(refuse(column, index, format!("its end {end} is inside a character")));
        }
        check_value_bytes(column, index, end - start)?;
        start = *end;
    }
    if start != len as u64 {
        return Err(refuse(
            column,
            ends.len() as u64,
            format!("the last value ends at {start} of {len} bytes"),
        ));
    }
    Ok(())
}

/// Bytes that checked values take in the column's files.
fn batch_bytes(column: &Column, values: &Values<'_>) -> u64 {
    let each = column.kind.width().unwrap_or(8) as u64 + u64::from(column.nulls == Nulls::Allowed);
    let data = match values {
        Values::Nullable { values, nulls } => {
            return batch_bytes(column, values).saturating_sub(null_bytes(values, nulls));
        }
        Values::Bytes { data, .. } => data.len() as u64,
        Values::Text { data, .. } => data.len() as u64,
        _ => 0,
    };
    debug_assert!(matches!(column.kind, Kind::Bytes | Kind::Text) || data == 0);
    (values.len() as u64 * each).saturating_add(data)
}

/// Bytes that a batch has for its nulls: they are not kept.
fn null_bytes(values: &Values<'_>, nulls: &[bool]) -> u64 {
    let (Values::Bytes { ends, .. } | Values::Text { ends, .. }) = values else { return 0 };
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(*ends).zip(nulls).filter(|(_, null)| **null).map(|((start, end), _)| end - start).sum()
}
