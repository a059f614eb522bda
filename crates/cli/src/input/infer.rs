//! What a store for some input would be: kinds from the first rows, which are read again afterwards.
//!
//! Not here: what one cell looks like (`cell`).

use std::cell::RefCell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use tidelog::{Column, KeyUnit};

use super::cell::{Cell, Guess};
use super::keys::Written;
use super::source::{Source, Stop};
use super::{CsvRows, Format, JsonRows};

/// Rows that kinds are inferred from.
const SAMPLE_ROWS: u64 = 10_000;

/// Bytes at which the sample ends all the same.
const SAMPLE_BYTES: usize = 16 << 20;

/// What the first rows look like.
pub(crate) struct Inferred {
    /// Every name but the key's.
    pub(crate) columns: Vec<Column>,
    /// Nanoseconds where keys are written as times.
    pub(crate) unit: KeyUnit,
    /// The whole input, from its first byte on.
    pub(crate) bytes: Box<dyn Read>,
}

/// Reads the first rows of `bytes`. A row that is wrong ends them: it is for `load` to refuse, when those before it
/// are committed.
pub(crate) fn infer(
    bytes: Box<dyn Read>,
    format: Format,
    key: Option<&str>,
    null: Option<&str>,
) -> Result<Inferred, Stop> {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let mut bytes = Tee { bytes, taken: Rc::clone(&taken) };
    let sample = {
        let is_enough = || taken.borrow().len() >= SAMPLE_BYTES;
        match format {
            Format::Csv => look(CsvRows::new(&mut bytes, null)?, key, is_enough),
            Format::Jsonl => look(JsonRows::new(io::BufReader::new(&mut bytes)), key, is_enough),
        }
    }?;
    let (columns, unit) = sample;
    Ok(Inferred { columns, unit, bytes: Box::new(Cursor::new(taken.take()).chain(bytes.bytes)) })
}

fn look(
    mut source: impl Source,
    key: Option<&str>,
    is_enough: impl Fn() -> bool,
) -> Result<(Vec<Column>, KeyUnit), Stop> {
    let mut guesses: Vec<Guess> = Vec::new();
    let (mut rows, mut unit) = (0, KeyUnit::None);
    while rows < SAMPLE_ROWS && !is_enough() {
        match source.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(stop) if rows == 0 => return Err(stop),
            Err(_) => break,
        }
        if rows == 0 && Written::of(source.cell(key_place(&source, key)?)) == Written::Times {
            unit = KeyUnit::Nanoseconds;
        }
        // A name that is new was absent from all rows before.
        let mut new = Guess::default();
        if rows > 0 {
            new.add(Cell::Null);
        }
        guesses.resize(source.names().len(), new);
        guesses.iter_mut().enumerate().for_each(|(index, guess)| guess.add(source.cell(index)));
        rows += 1;
    }
    if rows == 0 {
        let what =
            "there are no rows that would say what the columns hold; make the store with `tidelog create`";
        return Err(Stop::at(1, what));
    }
    let key = key_place(&source, key)?;
    let columns = source.names().iter().zip(guesses).enumerate().filter(|(index, _)| *index != key);
    let column = |(_, (name, guess)): (usize, (&String, Guess))| {
        let column = Column::new(name, guess.kind());
        if guess.has_null() { column.nullable() } else { column }
    };
    Ok((columns.map(column).collect(), unit))
}

/// Which of the names is the key's.
pub(crate) fn key_place(source: &impl Source, key: Option<&str>) -> Result<usize, Stop> {
    let Some(key) = key else { return Ok(0) };
    let names = source.names();
    names.iter().position(|name| name == key).ok_or_else(|| {
        Stop::at(1, format!("there is no column `{key}` for the key; there are {}", names.join(", ")))
    })
}

/// Keeps a copy of what goes through.
struct Tee {
    bytes: Box<dyn Read>,
    taken: Rc<RefCell<Vec<u8>>>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.taken.borrow_mut().extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidelog::{Kind, Nulls};

    fn of(text: &str, format: Format) -> Inferred {
        let bytes = Box::new(Cursor::new(text.as_bytes().to_vec()));
        infer(bytes, format, None, None).unwrap_or_else(|stop| panic!("{stop}"))
    }

    fn shown(columns: &[Column]) -> Vec<(&str, Kind, Nulls)> {
        columns.iter().map(|column| (column.name(), column.kind(), column.nulls())).collect()
    }

    #[test]
    fn kinds_and_nulls_of_the_first_rows() {
        let text = "t,a,b,c\n2014-04-01,1,x,\n2014-04-02,2.5,,true\n";
        let mut csv = of(text, Format::Csv);
        let expected = [
            ("a", Kind::F64, Nulls::Forbidden),
            ("b", Kind::Text, Nulls::Allowed),
            ("c", Kind::Bool, Nulls::Allowed),
        ];
        assert_eq!(shown(&csv.columns), expected);
        assert_eq!(csv.unit, KeyUnit::Nanoseconds);
        let mut all = String::new();
        csv.bytes.read_to_string(&mut all).unwrap();
        assert_eq!(all, text);
        let json = of("{\"t\":1,\"a\":\"NaN\"}\n{\"t\":2,\"a\":1,\"b\":\"x\"}\n", Format::Jsonl);
        assert_eq!(
            shown(&json.columns),
            [("a", Kind::F64, Nulls::Forbidden), ("b", Kind::Text, Nulls::Allowed)]
        );
        assert_eq!(json.unit, KeyUnit::None);
    }

    #[test]
    fn a_wrong_row_ends_the_sample() {
        let csv = of("t,a\n1,1\n2\n3,x\n", Format::Csv);
        assert_eq!(shown(&csv.columns), [("a", Kind::I64, Nulls::Forbidden)]);
        let nothing = infer(Box::new(io::empty()), Format::Csv, None, None);
        assert!(nothing.err().unwrap().to_string().contains("not even a header"));
        let header = infer(Box::new(&b"t,a\n"[..]), Format::Csv, None, None);
        assert!(header.err().unwrap().to_string().contains("no rows"));
    }
}
