//! The keys of the input: numbers or times, whichever the first row has.
//!
//! Not here: the order of keys (`load`).

use tidelog::KeyUnit;

use super::cell::Cell;
use crate::exit::Fault;
use crate::key::{Unit, exactly, per_second, unit_name};
use crate::time::Moment;

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Numbers,
    Times,
}

impl Written {
    /// As this key is.
    pub(crate) fn of(cell: Cell<'_>) -> Self {
        let is_time = match cell {
            Cell::Bare(bytes) => Moment::parse(bytes).is_some(),
            Cell::Text(text) => Moment::parse(text.as_bytes()).is_some(),
            _ => false,
        };
        if is_time { Written::Times } else { Written::Numbers }
    }
}

/// By how much numbers of the input are to be multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyNumbers {
    factor: u64,
}

impl KeyNumbers {
    /// From numbers that count `input` (the store's unit unless told) to keys of `store`.
    pub(crate) fn new(input: Option<Unit>, store: KeyUnit) -> Result<Self, Fault> {
        let Some(input) = input.map(KeyUnit::from).filter(|input| *input != store) else {
            return Ok(Self { factor: 1 });
        };
        let (theirs, ours) = (per_second(input), per_second(store));
        let factor =
            theirs.zip(ours).filter(|(theirs, ours)| theirs < ours).map(|(theirs, ours)| ours / theirs);
        let factor = factor.ok_or_else(|| {
            let name = |unit| unit_name(unit).unwrap_or("nothing in particular");
            let (input, store) = (name(input), name(store));
            Fault::usage(format!("--key-unit {input} does not fit this store, whose keys count {store}"))
        })?;
        Ok(Self { factor })
    }
}

/// Reads keys.
pub(crate) struct Keys {
    numbers: KeyNumbers,
    /// The store's unit.
    per_second: Option<u64>,
    written: Option<Written>,
}

impl Keys {
    pub(crate) fn new(numbers: KeyNumbers, unit: KeyUnit) -> Self {
        Self { numbers, per_second: per_second(unit), written: None }
    }

    /// A row's key; else what is wrong with it.
    pub(crate) fn read(&mut self, cell: Cell<'_>) -> Result<u64, String> {
        let written = *self.written.get_or_insert_with(|| Written::of(cell));
        match written {
            Written::Numbers => self.number(cell),
            Written::Times => self.time(cell),
        }
    }

    fn number(&self, cell: Cell<'_>) -> Result<u64, String> {
        let text = match cell {
            Cell::Bare(bytes) => str::from_utf8(bytes).ok(),
            Cell::Number(text) => Some(text),
            _ => None,
        };
        let number = text.and_then(|text| text.parse::<u64>().ok());
        if let Some(key) = number.and_then(|number| number.checked_mul(self.numbers.factor)) {
            return Ok(key);
        }
        Err(match (number, text.and_then(|text| text.parse::<i128>().ok())) {
            (Some(_), _) => format!("the key {cell} is too large for 64 bits in the store's unit"),
            (None, Some(..0)) if self.per_second.is_some() => {
                format!("the key {cell} is before 1970; keys are times since then")
            }
            (None, Some(..0)) => format!("the key {cell} is below 0; keys are numbers from 0 on, or times"),
            (None, Some(_)) => format!("the key {cell} is too large for 64 bits"),
            (None, None) => format!("the key {cell} is neither a whole number nor a time"),
        })
    }

    fn time(&self, cell: Cell<'_>) -> Result<u64, String> {
        let text = match cell {
            Cell::Bare(bytes) => bytes,
            Cell::Text(text) => text.as_bytes(),
            _ => &[],
        };
        let moment = Moment::parse(text)
            .ok_or_else(|| format!("the key {cell} is no time, as that of the first row is"))?;
        let per_second = self.per_second.ok_or_else(|| {
            format!(
                "the key {cell} is a time, and the store's keys have no unit; create it with --key-unit ns"
            )
        })?;
        exactly(moment, per_second).map_err(|why| format!("the key {cell} {}", why.sentence()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(input: Option<Unit>, store: KeyUnit) -> Keys {
        Keys::new(KeyNumbers::new(input, store).unwrap(), store)
    }

    #[test]
    fn the_first_key_says_how_keys_are_written() {
        let mut times = keys(None, KeyUnit::Nanoseconds);
        assert_eq!(times.read(Cell::Bare(b"1970-01-01 00:00:01")), Ok(1_000_000_000));
        assert!(times.read(Cell::Bare(b"2")).unwrap_err().contains("no time"));
        let mut numbers = keys(None, KeyUnit::None);
        assert_eq!(numbers.read(Cell::Number("18446744073709551615")), Ok(u64::MAX));
        assert!(numbers.read(Cell::Text("1970-01-01")).unwrap_err().contains("whole number"));
    }

    #[test]
    fn what_is_no_key() {
        for (cell, unit, what) in [
            (Cell::Bare(b"-5"), KeyUnit::Seconds, "before 1970"),
            (Cell::Bare(b"-5"), KeyUnit::None, "below 0"),
            (Cell::Bare(b"18446744073709551616"), KeyUnit::None, "too large"),
            (Cell::Bare(b"1.5"), KeyUnit::None, "neither"),
            (Cell::Null, KeyUnit::None, "neither"),
            (Cell::Bare(b"\xff"), KeyUnit::None, "neither"),
            (Cell::Text("1969-12-31T23:59:59Z"), KeyUnit::Nanoseconds, "before 1970"),
            (Cell::Text("2555-01-01"), KeyUnit::Nanoseconds, "too late"),
            (Cell::Text("2000-01-01T00:00:00.5Z"), KeyUnit::Seconds, "finer"),
            (Cell::Text("2000-01-01"), KeyUnit::None, "no unit"),
        ] {
            let error = keys(None, unit).read(cell).unwrap_err();
            assert!(error.contains(what), "{cell:?}: {error}");
        }
    }

    #[test]
    fn coarser_numbers_become_finer_keys() {
        let mut seconds = keys(Some(Unit::S), KeyUnit::Nanoseconds);
        assert_eq!(seconds.read(Cell::Bare(b"7")), Ok(7_000_000_000));
        assert!(seconds.read(Cell::Bare(b"18446744074")).unwrap_err().contains("too large"));
        assert!(KeyNumbers::new(Some(Unit::Ns), KeyUnit::Seconds).is_err());
        assert!(KeyNumbers::new(Some(Unit::S), KeyUnit::None).is_err());
    }
}
