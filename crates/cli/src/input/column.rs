//! The values of one column, gathered cell by cell for a commit.
//!
//! Not here: rows (`source`), what a cell looks like without a column (`cell`).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tidelog::{Column, Kind, Nulls, Values};

use super::cell::Cell;

/// Why a cell does not fit its column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It is no value of this kind.
    Kind(Kind),
    /// It has no value, and the column has no nulls.
    Null,
    /// Its bytes are no UTF-8.
    Utf8,
}

/// As it reads behind the cell.
impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::Kind(Kind::Bool) => f.write_str("is neither `true` nor `false`"),
            Misfit::Kind(Kind::Bytes) => f.write_str("is no base64, as which bytes are written"),
            Misfit::Kind(kind) => write!(f, "is no {kind}"),
            Misfit::Null => f.write_str("where the column takes no nulls"),
            Misfit::Utf8 => f.write_str("is no UTF-8"),
        }
    }
}

/// Values of one column.
pub(crate) struct ColumnValues {
    kind: Kind,
    nulls_allowed: Nulls,
    values: Typed,
    nulls: Vec<bool>,
}

enum Typed {
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    Bytes { data: Vec<u8>, ends: Vec<u64> },
    Text { data: String, ends: Vec<u64> },
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
            Kind::Bytes => Typed::Bytes { data: Vec::new(), ends: Vec::new() },
            // Kinds of later versions: whoever adds one adds it here.
            _ => Typed::Text { data: String::new(), ends: Vec::new() },
        }
    }

    /// What stands for a null.
    fn push_nothing(&mut self) {
        match self {
            Typed::U64(values) => values.push(0),
            Typed::I64(values) => values.push(0),
            Typed::F64(values) => values.push(0.0),
            Typed::U32(values) => values.push(0),
            Typed::I32(values) => values.push(0),
            Typed::F32(values) => values.push(0.0),
            Typed::Bool(values) => values.push(false),
            Typed::Bytes { data, ends } => ends.push(data.len() as u64),
            Typed::Text { data, ends } => ends.push(data.len() as u64),
        }
    }

    fn truncate(&mut self, rows: usize) {
        let end = |ends: &mut Vec<u64>| {
            ends.truncate(rows);
            usize::try_from(ends.last().copied().unwrap_or(0)).unwrap_or(usize::MAX)
        };
        match self {
            Typed::U64(values) => values.truncate(rows),
            Typed::I64(values) => values.truncate(rows),
            Typed::F64(values) => values.truncate(rows),
            Typed::U32(values) => values.truncate(rows),
            Typed::I32(values) => values.truncate(rows),
            Typed::F32(values) => values.truncate(rows),
            Typed::Bool(values) => values.truncate(rows),
            Typed::Bytes { data, ends } => data.truncate(end(ends)),
            Typed::Text { data, ends } => data.truncate(end(ends)),
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
            Typed::Bytes { data, ends } => Values::Bytes { data, ends },
            Typed::Text { data, ends } => Values::Text { data, ends },
        }
    }
}

impl ColumnValues {
    /// None yet, for this column.
    pub(crate) fn new(column: &Column) -> Self {
        Self {
            kind: column.kind(),
            nulls_allowed: column.nulls(),
            values: Typed::new(column.kind()),
            nulls: Vec::new(),
        }
    }

    /// Adds a row's value; nothing where it does not fit. Returns the bytes that it takes.
    pub(crate) fn push(&mut self, cell: Cell<'_>) -> Result<usize, Misfit> {
        let has_length = matches!(self.kind, Kind::Bytes | Kind::Text);
        let is_null = match cell {
            Cell::Null => true,
            Cell::Blank => self.nulls_allowed == Nulls::Allowed || !has_length,
            _ => false,
        };
        if is_null {
            if self.nulls_allowed == Nulls::Forbidden {
                return Err(Misfit::Null);
            }
            self.values.push_nothing();
            self.nulls.push(true);
            return Ok(9);
        }
        let bytes = self.push_value(cell)?;
        if self.nulls_allowed == Nulls::Allowed {
            self.nulls.push(false);
        }
        Ok(bytes)
    }

    fn push_value(&mut self, cell: Cell<'_>) -> Result<usize, Misfit> {
        let misfit = Misfit::Kind(self.kind);
        // Bytes that are no UTF-8 are no number either.
        let number = || match cell {
            Cell::Bare(bytes) => str::from_utf8(bytes).ok(),
            Cell::Number(text) => Some(text),
            _ => None,
        };
        let float = || match cell {
            Cell::Text(text @ ("NaN" | "inf" | "-inf")) => Some(text),
            _ => number(),
        };
        macro_rules! add {
            ($values:ident, $text:expr) => {
                $values.push($text.and_then(|text| text.parse().ok()).ok_or(misfit)?)
            };
        }
        match &mut self.values {
            Typed::F64(values) => add!(values, float()),
            Typed::F32(values) => add!(values, float()),
            Typed::U64(values) => add!(values, number()),
            Typed::I64(values) => add!(values, number()),
            Typed::U32(values) => add!(values, number()),
            Typed::I32(values) => add!(values, number()),
            Typed::Bool(values) => values.push(match cell {
                Cell::Bool(value) => value,
                Cell::Bare(b"true") => true,
                Cell::Bare(b"false") => false,
                _ => return Err(misfit),
            }),
            Typed::Bytes { data, ends } => {
                let text = match cell {
                    Cell::Bare(bytes) => bytes,
                    Cell::Text(text) => text.as_bytes(),
                    Cell::Blank => &[],
                    _ => return Err(misfit),
                };
                let start = data.len();
                if BASE64_STANDARD.decode_vec(text, data).is_err() {
                    data.truncate(start);
                    return Err(misfit);
                }
                ends.push(data.len() as u64);
                return Ok(8 + data.len() - start);
            }
            Typed::Text { data, ends } => {
                let text = match cell {
                    Cell::Bare(bytes) => str::from_utf8(bytes).map_err(|_| Misfit::Utf8)?,
                    Cell::Text(text) => text,
                    Cell::Blank => "",
                    _ => return Err(misfit),
                };
                data.push_str(text);
                ends.push(data.len() as u64);
                return Ok(8 + text.len());
            }
        }
        Ok(8)
    }

    /// Forgets all rows from `rows` on.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    /// The values, without their nulls.
    pub(crate) fn values(&self) -> Values<'_> {
        self.values.values()
    }

    /// For each row, whether it has no value; none where the column takes no nulls.
    pub(crate) fn nulls(&self) -> Option<&[bool]> {
        (self.nulls_allowed == Nulls::Allowed).then_some(&self.nulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Kind) -> ColumnValues {
        ColumnValues::new(&Column::new("x", kind))
    }

    #[test]
    fn values_are_what_the_kind_says() {
        let mut floats = column(Kind::F64);
        for text in ["-0.0", "NaN", "inf", "-inf", "5e-324", "1"] {
            floats.push(Cell::Bare(text.as_bytes())).unwrap();
        }
        let Typed::F64(values) = &floats.values else { panic!("floats") };
        let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        let expected = [-0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1.0];
        assert_eq!(bits, expected.map(f64::to_bits));
        assert_eq!(column(Kind::U64).push(Cell::Number("18446744073709551615")), Ok(8));
        assert_eq!(column(Kind::I64).push(Cell::Bare(b"-9223372036854775808")), Ok(8));
        assert_eq!(column(Kind::I64).push(Cell::Bare(b"1.0")), Err(Misfit::Kind(Kind::I64)));
        assert_eq!(column(Kind::Text).push(Cell::Bare(b"\xff")), Err(Misfit::Utf8));
        assert_eq!(column(Kind::Text).push(Cell::Number("1")), Err(Misfit::Kind(Kind::Text)));
        assert_eq!(column(Kind::F64).push(Cell::Text("1")), Err(Misfit::Kind(Kind::F64)));
    }

    #[test]
    fn what_does_not_fit_leaves_nothing() {
        let mut bytes = column(Kind::Bytes);
        bytes.push(Cell::Bare(b"//8=")).unwrap();
        assert!(bytes.push(Cell::Bare(b"////x")).is_err());
        bytes.push(Cell::Blank).unwrap();
        let Values::Bytes { data, ends } = bytes.values() else { panic!("bytes") };
        assert_eq!((data, ends), (&[0xFF, 0xFF][..], &[2, 2][..]));
        bytes.truncate(0);
        assert!(bytes.values().is_empty());
    }

    #[test]
    fn nothing_is_a_null_or_empty_text() {
        assert_eq!(column(Kind::F64).push(Cell::Blank), Err(Misfit::Null));
        assert_eq!(column(Kind::Text).push(Cell::Null), Err(Misfit::Null));
        assert_eq!(column(Kind::Text).push(Cell::Blank), Ok(8));
        let mut text = ColumnValues::new(&Column::new("x", Kind::Text).nullable());
        for cell in [Cell::Blank, Cell::Null, Cell::Text("")] {
            text.push(cell).unwrap();
        }
        assert_eq!(text.nulls(), Some(&[true, true, false][..]));
    }
}
