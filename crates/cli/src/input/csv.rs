//! Rows of comma-separated values, RFC 4180: a header, quotes where needed, any newline.
//!
//! Not here: what the cells are (`column`).

use std::cell::Cell as Shared;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};

use super::cell::Cell;
use super::source::{NAMES_MAX, ROW_BYTES_MAX, Row, Source, Stop};

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Comma-separated values on their way in.
pub(crate) struct CsvRows<R> {
    reader: csv::Reader<Bounded<R>>,
    /// How far the input may be read for the row at hand.
    end: Rc<Shared<u64>>,
    record: ByteRecord,
    names: Vec<String>,
    /// What stands for a null, where empty cells do not.
    null: Option<Vec<u8>>,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header.
    pub(crate) fn new(input: R, null: Option<&str>) -> Result<Self, Stop> {
        let end = Rc::default();
        let input = Bounded { input, at: 0, end: Rc::clone(&end) };
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).buffer_capacity(BUFFER_BYTES);
        let mut rows = Self {
            reader: builder.from_reader(input),
            end,
            record: ByteRecord::new(),
            names: Vec::new(),
            null: null.map(|token| token.as_bytes().to_vec()),
        };
        if rows.read()?.is_none() {
            return Err(Stop::at(1, "there is nothing, not even a header"));
        }
        if rows.record.len() > NAMES_MAX {
            return Err(Stop::at(
                1,
                format!("there are {} columns; {NAMES_MAX} are the most", rows.record.len()),
            ));
        }
        for name in &rows.record {
            let name = str::from_utf8(name).map_err(|_| Stop::at(1, "a column's name is no UTF-8"))?;
            if rows.names.iter().any(|known| known == name) {
                return Err(Stop::at(1, format!("two columns are named `{name}`")));
            }
            rows.names.push(name.to_owned());
        }
        Ok(rows)
    }

    /// Reads a record; returns its line.
    fn read(&mut self) -> Result<Option<u64>, Stop> {
        let (start, line) = (self.reader.position().byte(), self.reader.position().line());
        self.end.set(start + ROW_BYTES_MAX);
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => Ok(Some(self.record.position().map_or(0, csv::Position::line))),
            Ok(false) => Ok(None),
            Err(error) => Err(match error.kind() {
                csv::ErrorKind::Io(cause) if cause.kind() == io::ErrorKind::FileTooLarge => {
                    Stop::too_long(line)
                }
                _ => Stop::Unreadable(error.into()),
            }),
        }
    }
}

/// Bytes that end with an error where a row has no end.
struct Bounded<R> {
    input: R,
    at: u64,
    end: Rc<Shared<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.end.get() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.input.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: Read> Source for CsvRows<R> {
    fn names(&self) -> &[String] {
        &self.names
    }

    fn next(&mut self) -> Result<Option<Row>, Stop> {
        let Some(line) = self.read()? else { return Ok(None) };
        let (cells, columns) = (self.record.len(), self.names.len());
        if cells != columns {
            return Err(Stop::at(line, format!("it has {cells} cells, the header has {columns}")));
        }
        Ok(Some(Row { line, bytes_read: self.reader.position().byte() }))
    }

    fn cell(&self, index: usize) -> Cell<'_> {
        let cell = self.record.get(index).unwrap_or_default();
        match &self.null {
            None if cell.is_empty() => Cell::Blank,
            Some(token) if cell == token => Cell::Null,
            _ => Cell::Bare(cell),
        }
    }
}
