//! The length of a window on the command line: `500ms`, `1m`, or a number in the unit of keys.
//!
//! Not here: windows (`tidelog::Reader::aggregate_every`).

use std::str::FromStr;

use tidelog::KeyUnit;

use crate::exit::Fault;
use crate::key::{of_times, unit_name};

/// What a duration can be counted in, in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A length, above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// In what keys count.
    Keys(u64),
    /// In time.
    Nanoseconds(u128),
}

impl FromStr for Step {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "neither a number above 0 nor a duration such as 500ms, 10s, 1m, 1h or 1d";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or(wrong)?;
        if unit.is_empty() {
            return Ok(Step::Keys(number));
        }
        let (_, nanoseconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(wrong)?;
        Ok(Step::Nanoseconds(u128::from(number) * u128::from(nanoseconds)))
    }
}

impl Step {
    /// In what the keys of a store count.
    pub(crate) fn keys(self, unit: KeyUnit) -> Result<u64, Fault> {
        let nanoseconds = match self {
            Step::Keys(keys) => return Ok(keys),
            Step::Nanoseconds(nanoseconds) => nanoseconds,
        };
        let one = 1_000_000_000 / u128::from(of_times(unit)?);
        let name = unit_name(unit).unwrap_or_default();
        if nanoseconds % one > 0 {
            let what = format!("--every is finer than {name}, which the keys of this store count");
            return Err(Fault::usage(what));
        }
        let too_long = |_| Fault::usage(format!("--every is too long for a 64-bit key in {name}"));
        u64::try_from(nanoseconds / one).map_err(too_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_number_or_a_duration_in_the_unit_of_keys() {
        let keys = |text: &str, unit| text.parse::<Step>().unwrap().keys(unit).ok();
        assert_eq!(keys("18446744073709551615", KeyUnit::None), Some(u64::MAX));
        assert_eq!(keys("500ms", KeyUnit::Milliseconds), Some(500));
        assert_eq!(keys("500ms", KeyUnit::Nanoseconds), Some(500_000_000));
        assert_eq!(keys("2h", KeyUnit::Seconds), Some(7_200));
        assert_eq!(keys("1d", KeyUnit::Microseconds), Some(86_400_000_000));
        assert_eq!(keys("500ms", KeyUnit::Seconds), None);
        assert_eq!(keys("1m", KeyUnit::None), None);
        assert_eq!(keys("18446744073709551615ns", KeyUnit::Nanoseconds), Some(u64::MAX));
        assert_eq!(keys("18446744073709551615d", KeyUnit::Seconds), None);
        for none in ["", "0", "0ms", "ms", "-1", "1.5s", "1 m", "1M", "18446744073709551616"] {
            assert!(none.parse::<Step>().is_err(), "{none}");
        }
    }
}
