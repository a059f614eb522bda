//! Where the rows of a segment that is being made come from: the raw files of a finished one, or older sealed ones.
//!
//! Not here: reading either (`source`, `older`), what becomes of the rows (`blocks`, `bytes`).

use std::ops::Range;

use super::blocks::values;
use super::older::{self, Older};
use super::source::Source;
use super::staging::Staged;
use crate::disk::{Disk, File};
use crate::error::{Error, Result};
use crate::format::segment::Shape;
use crate::options::VALUE_BYTES_MAX;
use crate::segment;
use crate::segment::read::Loaded;
use crate::store::shared::Shared;

/// What a segment is made of.
pub(super) enum Origin {
    Raw {
        segment: Loaded,
        /// What of it is in memory.
        staged: Option<Staged>,
    },
    /// One behind the other, at least one.
    Sealed(Vec<Older>),
}

impl Origin {
    /// The values of a file of fixed width, which are wanted for blocks of file number `made`.
    pub(super) async fn values<'a, D: Disk>(
        &'a self,
        shared: &'a Shared<D>,
        file: usize,
        made: usize,
    ) -> Result<Values<'a, D>> {
        let raw = shared.schema.files()[file];
        let Some(width) = raw.width() else { unreachable!("bytes and text have blocks of their own") };
        Ok(match self {
            Self::Raw { segment, staged } => {
                let source = Source::open(shared, segment, file, width).await?;
                Values::Raw(Box::new(source.beside(staged.as_ref(), made)))
            }
            Self::Sealed(olds) => {
                let shape = Shape::of(raw, &shared.schema);
                Values::Sealed(Box::new(older::Values::new(shared, olds, file, shape)))
            }
        })
    }

    /// The values whose data is file number `file`.
    pub(super) async fn texts<'a, D: Disk>(
        &'a self,
        shared: &'a Shared<D>,
        file: usize,
    ) -> Result<Texts<'a, D>> {
        Ok(match self {
            Self::Raw { segment, .. } => Texts::Raw(Box::new(RawTexts {
                data: Source::open(shared, segment, file, 1).await?,
                // A column's offsets stand right behind its data.
                offsets: Source::open(shared, segment, file + 1, 8).await?,
                len: segment.view(file).len,
                start: 0,
                end: 0,
            })),
            Self::Sealed(olds) => Texts::Sealed(Box::new(older::Texts::new(shared, olds, file))),
        })
    }

    /// What is in memory.
    pub(super) fn staged(&self) -> Option<&Staged> {
        match self {
            Self::Raw { staged, .. } => staged.as_ref(),
            Self::Sealed(_) => None,
        }
    }

    /// The error that says that what was made of these rows is not them.
    pub(super) fn damaged<D: Disk>(
        &self,
        shared: &Shared<D>,
        file: usize,
        row: u64,
        what: &'static str,
    ) -> Error {
        match self {
            Self::Raw { segment, .. } => {
                let width = shared.schema.files()[file].width().unwrap_or(0) as u64;
                let path = segment.segment.file_path(&shared.dir, &shared.schema, file);
                Error::corrupt(&path, row * width, what)
            }
            Self::Sealed(olds) => {
                let first_row = olds.first().map_or(0, |old| old.sealed.first_row);
                let of = olds.iter().rfind(|old| old.sealed.first_row <= first_row + row);
                let number = of.map_or(0, |old| old.sealed.number);
                Error::corrupt(&segment::path(&shared.dir, number), 0, what)
            }
        }
    }
}

/// Values of a file of fixed width, row group by row group.
pub(super) enum Values<'a, D: Disk> {
    Raw(Box<Source<'a, D::File>>),
    Sealed(Box<older::Values<'a, D>>),
}

impl<D: Disk> Values<'_, D> {
    /// The bytes of some rows, counted from the segment's first; those of rows before are given up.
    pub(super) async fn rows(&mut self, rows: Range<u64>) -> Result<&[u8]> {
        match self {
            Self::Raw(source) => source.rows(rows).await,
            Self::Sealed(values) => values.rows(rows).await,
        }
    }

    /// Gives the files back.
    pub(super) async fn close(self) {
        match self {
            Self::Raw(source) => source.close().await,
            Self::Sealed(values) => values.close().await,
        }
    }
}

/// Values of bytes or text, row group by row group.
pub(super) enum Texts<'a, D: Disk> {
    Raw(Box<RawTexts<'a, D::File>>),
    Sealed(Box<older::Texts<'a, D>>),
}

/// Of raw files.
pub(super) struct RawTexts<'a, F: File> {
    data: Source<'a, F>,
    offsets: Source<'a, F>,
    /// Bytes of data.
    len: u64,
    /// Where the data of the row group at hand lies.
    start: u64,
    end: u64,
}

impl<D: Disk> Texts<'_, D> {
    /// Where the values of the next row group end in its data.
    pub(super) async fn ends(&mut self, rows: Range<u64>) -> Result<Vec<u64>> {
        let raw = match self {
            Self::Raw(raw) => raw,
            Self::Sealed(texts) => return texts.ends(rows).await,
        };
        raw.start = raw.end;
        let ends = values::<u64>(raw.offsets.rows(rows.clone()).await?);
        let is_wrong =
            |(before, end): (u64, u64)| end < before || end > raw.len || end - before > VALUE_BYTES_MAX;
        let befores = std::iter::once(raw.start).chain(ends.iter().copied());
        if let Some(row) = befores.zip(ends.iter().copied()).position(is_wrong) {
            return Err(raw.offsets.damaged(rows.start + row as u64, "a value ends where it cannot"));
        }
        raw.end = ends.last().copied().unwrap_or(raw.start);
        Ok(ends.iter().map(|end| end - raw.start).collect())
    }

    /// Where data begins that no value has, behind the last row group; nowhere if all is well.
    pub(super) fn rest(&self) -> Option<u64> {
        match self {
            Self::Raw(raw) => (raw.end != raw.len).then_some(raw.end),
            // A block has no such data.
            Self::Sealed(_) => None,
        }
    }

    /// These bytes of the row group's data; those before are given up.
    pub(super) async fn data(&mut self, range: Range<u64>) -> Result<&[u8]> {
        match self {
            Self::Raw(raw) => raw.data.bytes(raw.start + range.start..raw.start + range.end).await,
            Self::Sealed(texts) => texts.data(range).await,
        }
    }

    /// Gives the files back.
    pub(super) async fn close(self) {
        match self {
            Self::Raw(raw) => {
                raw.data.close().await;
                raw.offsets.close().await;
            }
            Self::Sealed(texts) => texts.close().await,
        }
    }
}
