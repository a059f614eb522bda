//! Values on their way in: one at a time ([`Value`]), or a column's worth ([`Values`]).
//!
//! Not here: values on their way out (`batch`), and how they become bytes (`codec`).

use crate::schema::Kind;

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// No value, in a column that allows it.
    Null,
    /// For a column of kind `u64`.
    U64(u64),
    /// For a column of kind `i64`.
    I64(i64),
    /// For a column of kind `f64`.
    F64(f64),
    /// For a column of kind `u32`.
    U32(u32),
    /// For a column of kind `i32`.
    I32(i32),
    /// For a column of kind `f32`.
    F32(f32),
    /// For a column of kind `bool`.
    Bool(bool),
    /// For a column of kind `bytes`.
    Bytes(&'a [u8]),
    /// For a column of kind `text`.
    Text(&'a str),
}

impl Value<'_> {
    /// The kind of column it is for; none for a null.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Value::Null => return None,
            Value::U64(_) => Kind::U64,
            Value::I64(_) => Kind::I64,
            Value::F64(_) => Kind::F64,
            Value::U32(_) => Kind::U32,
            Value::I32(_) => Kind::I32,
            Value::F32(_) => Kind::F32,
            Value::Bool(_) => Kind::Bool,
            Value::Bytes(_) => Kind::Bytes,
            Value::Text(_) => Kind::Text,
        })
    }
}

/// The values of one column for the rows of a batch.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Values<'a> {
    /// For a column of kind `u64`.
    U64(&'a [u64]),
    /// For a column of kind `i64`.
    I64(&'a [i64]),
    /// For a column of kind `f64`.
    F64(&'a [f64]),
    /// For a column of kind `u32`.
    U32(&'a [u32]),
    /// For a column of kind `i32`.
    I32(&'a [i32]),
    /// For a column of kind `f32`.
    F32(&'a [f32]),
    /// For a column of kind `bool`.
    Bool(&'a [bool]),
    /// For a column of kind `bytes`: the values end to end, and where each ends.
    Bytes {
        /// All values, one behind the other.
        data: &'a [u8],
        /// For each row, where its value ends in `data`: never decreasing, the last one `data.len()`.
        ends: &'a [u64],
    },
    /// For a column of kind `text`, as for `bytes`.
    Text {
        /// All values, one behind the other.
        data: &'a str,
        /// For each row, where its value ends in `data`, in bytes.
        ends: &'a [u64],
    },
    /// Values of which some rows have none.
    Nullable {
        /// One of the other variants; what it holds for a null row is not kept.
        values: &'a Values<'a>,
        /// For each row, whether it has no value.
        nulls: &'a [bool],
    },
}

impl Values<'_> {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Values::U64(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::U32(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::F32(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Bytes { ends, .. } | Values::Text { ends, .. } => ends.len(),
            Values::Nullable { values, .. } => values.len(),
        }
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of column they are for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Values::U64(_) => Kind::U64,
            Values::I64(_) => Kind::I64,
            Values::F64(_) => Kind::F64,
            Values::U32(_) => Kind::U32,
            Values::I32(_) => Kind::I32,
            Values::F32(_) => Kind::F32,
            Values::Bool(_) => Kind::Bool,
            Values::Bytes { .. } => Kind::Bytes,
            Values::Text { .. } => Kind::Text,
            Values::Nullable { values, .. } => values.kind(),
        }
    }
}
