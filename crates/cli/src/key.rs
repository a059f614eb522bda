//! Keys as people write them: numbers, or times in the store's unit.
//!
//! Not here: times as text (`time`).

use std::ops::Bound;
use std::str::FromStr;

use clap::ValueEnum;
use tidelog::KeyUnit;

use crate::exit::Fault;
use crate::time::Moment;

/// What a key counts, as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// seconds since 1970
    S,
    /// milliseconds since 1970
    Ms,
    /// microseconds since 1970
    Us,
    /// nanoseconds since 1970
    Ns,
}

impl From<Unit> for KeyUnit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::S => KeyUnit::Seconds,
            Unit::Ms => KeyUnit::Milliseconds,
            Unit::Us => KeyUnit::Microseconds,
            Unit::Ns => KeyUnit::Nanoseconds,
        }
    }
}

/// A unit's short name; none where keys count nothing in particular.
pub(crate) fn unit_name(unit: KeyUnit) -> Option<&'static str> {
    match unit {
        KeyUnit::None => None,
        KeyUnit::Seconds => Some("s"),
        KeyUnit::Milliseconds => Some("ms"),
        KeyUnit::Microseconds => Some("us"),
        KeyUnit::Nanoseconds => Some("ns"),
    }
}

/// How many of them a second has; none where keys are no times.
pub(crate) fn per_second(unit: KeyUnit) -> Option<u64> {
    match unit {
        KeyUnit::None => None,
        KeyUnit::Seconds => Some(1),
        KeyUnit::Milliseconds => Some(1_000),
        KeyUnit::Microseconds => Some(1_000_000),
        KeyUnit::Nanoseconds => Some(1_000_000_000),
    }
}

/// Why a time is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It is before 1970.
    Before1970,
    /// It does not fit 64 bits in this unit.
    TooLate,
    /// The unit is too coarse for it.
    TooFine,
}

impl NoKey {
    /// As it reads behind the time.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            NoKey::Before1970 => "is before 1970; keys are times since then",
            NoKey::TooLate => "is too late for a 64-bit key in the store's unit",
            NoKey::TooFine => "is finer than the store's unit; create the store with a finer --key-unit",
        }
    }
}

/// The key that is exactly this moment; `per_second` is the unit.
pub(crate) fn exactly(moment: Moment, per_second: u64) -> Result<u64, NoKey> {
    let (whole, rest) = units(moment, per_second)?;
    if rest == 0 { Ok(whole) } else { Err(NoKey::TooFine) }
}

/// The first key that is not before this moment: an end of a range.
fn at_or_after(moment: Moment, per_second: u64) -> u64 {
    match units(moment, per_second) {
        Ok((whole, 0)) => whole,
        Ok((whole, _)) => whole.saturating_add(1),
        Err(NoKey::Before1970) => 0,
        Err(_) => u64::MAX,
    }
}

/// Whole units since 1970, and the nanoseconds that are left.
fn units(moment: Moment, per_second: u64) -> Result<(u64, u64), NoKey> {
    let seconds = u64::try_from(moment.seconds).map_err(|_| NoKey::Before1970)?;
    let nanoseconds = u64::from(moment.nanoseconds);
    let unit_nanoseconds = 1_000_000_000 / per_second;
    let whole = seconds.checked_mul(per_second).and_then(|w| w.checked_add(nanoseconds / unit_nanoseconds));
    Ok((whole.ok_or(NoKey::TooLate)?, nanoseconds % unit_nanoseconds))
}

/// The moment of a key.
pub(crate) fn moment(key: u64, per_second: u64) -> Moment {
    // The largest key in seconds is not reached by an i64; its year is beyond 9999 all the same.
    let seconds = i64::try_from(key / per_second).unwrap_or(i64::MAX);
    let part = key % per_second * (1_000_000_000 / per_second);
    Moment { seconds, nanoseconds: u32::try_from(part).unwrap_or(0) }
}

/// A key for a person: as a time where it is one, and can be written as one.
pub(crate) fn shown(key: u64, unit: KeyUnit) -> String {
    let mut time = Vec::new();
    let is_time = per_second(unit).is_some_and(|per_second| moment(key, per_second).write(&mut time));
    String::from_utf8(time).ok().filter(|_| is_time).unwrap_or_else(|| key.to_string())
}

/// A key on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Number(u64),
    Time(Moment),
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().ok().map(Key::Number);
        number
            .or_else(|| Moment::parse(text.as_bytes()).map(Key::Time))
            .ok_or("neither a number from 0 to 18446744073709551615 nor a time such as 2014-04-01T12:30:00Z")
    }
}

impl Key {
    /// As an end of a range: the first key that is not before it.
    pub(crate) fn bound(self, unit: KeyUnit) -> Result<u64, Fault> {
        match self {
            Key::Number(number) => Ok(number),
            Key::Time(moment) => Ok(at_or_after(moment, of_times(unit)?)),
        }
    }

    /// As one key.
    pub(crate) fn exact(self, unit: KeyUnit) -> Result<u64, Fault> {
        match self {
            Key::Number(number) => Ok(number),
            Key::Time(moment) => exactly(moment, of_times(unit)?)
                .map_err(|why| Fault::usage(format!("the time that was asked for {}", why.sentence()))),
        }
    }
}

/// A range of keys on the command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct KeyRange {
    /// The first key: a number, or a time; the first row's unless told
    #[arg(long, value_name = "K")]
    from: Option<Key>,
    /// The key at which to stop, which is not in the range any more: a number, or a time; never unless told
    #[arg(long, value_name = "K")]
    to: Option<Key>,
}

impl KeyRange {
    /// With its beginning, without its end.
    pub(crate) fn bounds(self, unit: KeyUnit) -> Result<(Bound<u64>, Bound<u64>), Fault> {
        let at = |key: Option<Key>| key.map(|key| key.bound(unit)).transpose();
        let from = at(self.from)?.map_or(Bound::Unbounded, Bound::Included);
        Ok((from, at(self.to)?.map_or(Bound::Unbounded, Bound::Excluded)))
    }

    /// Of rows as intervals: without its beginning, with its end.
    pub(crate) fn bounds_of_intervals(self, unit: KeyUnit) -> Result<(Bound<u64>, Bound<u64>), Fault> {
        let at = |key: Option<Key>| key.map(|key| key.exact(unit)).transpose();
        let from = at(self.from)?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok((from, at(self.to)?.map_or(Bound::Unbounded, Bound::Included)))
    }
}

/// Refuses a time where keys are none.
pub(crate) fn of_times(unit: KeyUnit) -> Result<u64, Fault> {
    per_second(unit)
        .ok_or_else(|| Fault::usage("the keys of this store have no unit; give a number, not a time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_keys_of_each_unit() {
        let at = |seconds, nanoseconds| Moment { seconds, nanoseconds };
        assert_eq!(exactly(at(7, 5), 1_000_000_000), Ok(7_000_000_005));
        assert_eq!(exactly(at(7, 5_000_000), 1_000), Ok(7_005));
        assert_eq!(exactly(at(7, 5_000_001), 1_000), Err(NoKey::TooFine));
        assert_eq!(exactly(at(-1, 999_999_999), 1), Err(NoKey::Before1970));
        assert_eq!(exactly(at(18_446_744_073, 709_551_615), 1_000_000_000), Ok(u64::MAX));
        assert_eq!(exactly(at(18_446_744_073, 709_551_616), 1_000_000_000), Err(NoKey::TooLate));
        assert_eq!(at_or_after(at(7, 1), 1), 8);
        assert_eq!(at_or_after(at(-7, 1), 1), 0);
        for (key, per_second) in [(7_005, 1_000), (u64::MAX, 1_000_000_000), (0, 1)] {
            assert_eq!(exactly(moment(key, per_second), per_second), Ok(key));
        }
    }

    #[test]
    fn a_number_is_a_key_and_so_is_a_time() {
        assert_eq!("18446744073709551615".parse(), Ok(Key::Number(u64::MAX)));
        let time: Key = "1970-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(time.bound(KeyUnit::Milliseconds).unwrap(), 1_000);
        assert!(time.exact(KeyUnit::None).is_err());
        assert!("18446744073709551616".parse::<Key>().is_err());
        assert!("-1".parse::<Key>().is_err());
    }
}
