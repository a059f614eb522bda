//! What a store holds: its columns, their kinds, and what its keys count.
//!
//! A schema is fixed when the store is created. From it follows which raw files a segment has ([`RawFile`]):
//! files are named by number, never by a column's name, so a name can hold anything.
//!
//! Not here: values themselves (`value`), how they become bytes (`codec`).

use std::fmt;

use crate::error::{Error, Result};
use crate::options::{COLUMNS_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};

/// What a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Unsigned 64-bit integers.
    U64,
    /// Signed 64-bit integers.
    I64,
    /// 64-bit floats, bit for bit.
    F64,
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers.
    I32,
    /// 32-bit floats, bit for bit.
    F32,
    /// True or false.
    Bool,
    /// Bytes of any length.
    Bytes,
    /// UTF-8 of any length.
    Text,
}

impl Kind {
    /// Bytes of one value, or none where values differ in length.
    #[must_use]
    pub fn width(self) -> Option<usize> {
        match self {
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::Bool => Some(1),
            Kind::Bytes | Kind::Text => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::U64 => "u64",
            Kind::I64 => "i64",
            Kind::F64 => "f64",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::F32 => "f32",
            Kind::Bool => "bool",
            Kind::Bytes => "bytes",
            Kind::Text => "text",
        })
    }
}

/// Whether a column may hold nulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// Every row has a value.
    Forbidden,
    /// A row may have none.
    Allowed,
}

/// What a key counts, since 1970 where it is a time. The store compares keys as numbers only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyUnit {
    /// Nothing in particular.
    #[default]
    None,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// A column's place in its schema, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnId(pub u32);

impl ColumnId {
    /// As an index into the schema's columns.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named, typed sequence of values, one per row. (The stores that tidelog descends from say table.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) nulls: Nulls,
}

impl Column {
    /// A column without nulls.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, nulls: Nulls::Forbidden }
    }

    /// The same column, with nulls allowed.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nulls = Nulls::Allowed;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it may hold nulls.
    #[must_use]
    pub fn nulls(&self) -> Nulls {
        self.nulls
    }
}

/// A store's columns and key unit.
///
/// ```
/// use tidelog::{Column, Kind, KeyUnit, Schema};
/// let schema = Schema::new([
///     Column::new("price", Kind::F64),
///     Column::new("venue", Kind::Text).nullable(),
/// ])?
/// .key_unit(KeyUnit::Nanoseconds);
/// assert_eq!(schema.columns()[1].name(), "venue");
/// # Ok::<(), tidelog::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    columns: Vec<Column>,
    key_unit: KeyUnit,
    metadata: Vec<(String, String)>,
    files: Vec<RawFile>,
    places: Vec<Places>,
}

impl Schema {
    /// A schema of these columns, in this order; none is allowed (the rows are keys then).
    ///
    /// # Errors
    /// `Limit` for more than 4,096 columns; `Schema` for a name that is empty, above 255 bytes, holds NUL, or
    /// stands twice.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Result<Self> {
        let columns: Vec<Column> = columns.into_iter().collect();
        if columns.len() > COLUMNS_MAX {
            let (given, max) = (columns.len() as u64, COLUMNS_MAX as u64);
            return Err(Error::Limit { what: "the number of columns".into(), given, max });
        }
        let mut names: Vec<&str> = columns.iter().map(Column::name).collect();
        names.sort_unstable();
        for (index, column) in columns.iter().enumerate() {
            let what = match &column.name {
                name if name.is_empty() => "a column needs a name",
                name if name.len() > NAME_BYTES_MAX => "a name has at most 255 bytes",
                name if name.contains('\0') => "a name cannot hold NUL",
                name if names.partition_point(|n| n <= &name.as_str())
                    - names.partition_point(|n| n < &name.as_str())
                    > 1 =>
                {
                    "two columns have this name"
                }
                _ => continue,
            };
            return Err(Error::Schema {
                column: column.name.clone(),
                index: index as u64,
                what: what.into(),
            });
        }
        let (files, places) = raw_files(&columns);
        Ok(Self { columns, key_unit: KeyUnit::None, metadata: Vec::new(), files, places })
    }

    /// The same schema; its keys count `unit`.
    #[must_use]
    pub fn key_unit(mut self, unit: KeyUnit) -> Self {
        self.key_unit = unit;
        self
    }

    /// The same schema with one more pair of the caller's own words.
    ///
    /// # Errors
    /// `Limit` if all pairs together have more than 64 KiB, 8 bytes for each pair included.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        self.metadata.push((name.into(), value.into()));
        // 8 bytes a pair, as it is stored: empty pairs would be without number.
        let given: usize = self.metadata.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        if given > METADATA_BYTES_MAX {
            let (given, max) = (given as u64, METADATA_BYTES_MAX as u64);
            return Err(Error::Limit { what: "the metadata's bytes".into(), given, max });
        }
        Ok(self)
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What keys count.
    #[must_use]
    pub fn unit(&self) -> KeyUnit {
        self.key_unit
    }

    /// The caller's own words.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// The column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<ColumnId> {
        let index = self.columns.iter().position(|column| column.name == name)?;
        u32::try_from(index).ok().map(ColumnId)
    }

    /// The raw files of a segment, keys first.
    pub(crate) fn files(&self) -> &[RawFile] {
        &self.files
    }

    /// Which of the raw files belong to a column.
    pub(crate) fn places(&self, column: ColumnId) -> Places {
        self.places[column.index()]
    }
}

/// One of the files that a raw segment consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawFile {
    /// Whose.
    pub(crate) column: Option<ColumnId>,
    /// What is in it.
    pub(crate) role: Role,
}

/// What a raw file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The keys, 8 bytes a row.
    Keys,
    /// Values of this many bytes each.
    Fixed(usize),
    /// Values of any length, end to end.
    Bytes,
    /// Where each value ends in `Bytes`, 8 bytes a row.
    Offsets,
    /// 1 for a null, 0 otherwise, one byte a row.
    Nulls,
}

impl RawFile {
    /// Bytes a row takes, or none where that depends on its value.
    pub(crate) fn width(self) -> Option<usize> {
        match self.role {
            Role::Keys | Role::Offsets => Some(8),
            Role::Fixed(width) => Some(width),
            Role::Nulls => Some(1),
            Role::Bytes => None,
        }
    }

    /// Its name in a slot's directory.
    pub(crate) fn name(self) -> String {
        let column = self.column.map_or(0, |column| column.0);
        match self.role {
            Role::Keys => "keys".to_owned(),
            Role::Fixed(_) | Role::Bytes => format!("{column}.data"),
            Role::Offsets => format!("{column}.offsets"),
            Role::Nulls => format!("{column}.nulls"),
        }
    }
}

/// Where a column's files stand in [`Schema::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) data: usize,
    pub(crate) offsets: Option<usize>,
    pub(crate) nulls: Option<usize>,
}

fn raw_files(columns: &[Column]) -> (Vec<RawFile>, Vec<Places>) {
    let mut files = vec![RawFile { column: None, role: Role::Keys }];
    let mut places = Vec::with_capacity(columns.len());
    for (id, column) in (0..).map(ColumnId).zip(columns) {
        let mut add = |role| {
            files.push(RawFile { column: Some(id), role });
            files.len() - 1
        };
        places.push(Places {
            data: add(column.kind.width().map_or(Role::Bytes, Role::Fixed)),
            offsets: column.kind.width().is_none().then(|| add(Role::Offsets)),
            nulls: (column.nulls == Nulls::Allowed).then(|| add(Role::Nulls)),
        });
    }
    (files, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_from_kinds_and_nulls() {
        let schema = Schema::new([
            Column::new("a", Kind::F64),
            Column::new("b", Kind::Text).nullable(),
            Column::new("c", Kind::Bool).nullable(),
        ])
        .unwrap();
        let names: Vec<String> = schema.files().iter().map(|file| file.name()).collect();
        assert_eq!(names, ["keys", "0.data", "1.data", "1.offsets", "1.nulls", "2.data", "2.nulls"]);
        assert_eq!(schema.places(ColumnId(1)), Places { data: 2, offsets: Some(3), nulls: Some(4) });
    }

    #[test]
    fn names_that_are_refused() {
        let of = |names: &[&str]| Schema::new(names.iter().map(|name| Column::new(*name, Kind::U64)));
        for names in [&[""][..], &["a\0b"], &["x", "y", "x"], &["n".repeat(256).as_str()]] {
            assert!(matches!(of(names), Err(Error::Schema { .. })), "{names:?}");
        }
        assert!(of(&["n".repeat(255).as_str(), "../../etc", "keys", "X", "x"]).is_ok());
        let many = (0..4097).map(|i| Column::new(i.to_string(), Kind::U64));
        assert!(matches!(Schema::new(many), Err(Error::Limit { given: 4097, max: 4096, .. })));
    }
}
