//! Times as text: RFC 3339, `2014-04-01 00:00:00.5`, `2014-04-01`; UTC where there is no offset.
//!
//! The shapes that machines write are read digit by digit, everything else by jiff; a test holds one against the
//! other.
//!
//! Not here: what a key counts (`key`).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Whole seconds since 1970, rounded down.
    pub(crate) seconds: i64,
    /// What is left of it, below 1,000,000,000.
    pub(crate) nanoseconds: u32,
}

const DAY_SECONDS: i64 = 86_400;

impl Moment {
    /// Reads a time; none if it is none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        fast(text).or_else(|| slow(text))
    }

    /// Appends it as RFC 3339 in UTC, with as many digits as it needs; false, and nothing appended, outside the
    /// years 0 to 9999, which that cannot express.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> bool {
        let Some((year, month, day)) = civil(self.seconds.div_euclid(DAY_SECONDS)) else { return false };
        let second = u32::try_from(self.seconds.rem_euclid(DAY_SECONDS)).unwrap_or(0);
        digits(out, year, 4);
        for (separator, value) in
            [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
        {
            out.push(separator);
            digits(out, value, 2);
        }
        if self.nanoseconds > 0 {
            out.push(b'.');
            digits(out, self.nanoseconds, 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
        true
    }
}

/// Appends `value` with exactly `count` digits.
fn digits(out: &mut Vec<u8>, mut value: u32, count: usize) {
    let start = out.len();
    out.resize(start + count, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit += (value % 10).to_le_bytes()[0];
        value /= 10;
    }
}

/// `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS[.f][Z|+HH:MM]` with a space or T, from 1970 on; everything else is none.
fn fast(text: &[u8]) -> Option<Moment> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = two(date[0], date[1])? * 100 + two(date[2], date[3])?;
    let (month, day) = (two(date[5], date[6])?, two(date[8], date[9])?);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > month_days(year, month) {
        return None;
    }
    let midnight = i64::from(days(year, month, day)) * DAY_SECONDS;
    if rest.is_empty() {
        return Some(Moment { seconds: midnight, nanoseconds: 0 });
    }
    let (time, rest) = rest.split_first_chunk::<9>()?;
    if !matches!(time[0], b' ' | b'T') || time[3] != b':' || time[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (two(time[1], time[2])?, two(time[4], time[5])?, two(time[7], time[8])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanoseconds, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        _ => (0, rest),
    };
    let seconds = midnight + i64::from(hour * 3600 + minute * 60 + second) - offset(rest)?;
    Some(Moment { seconds, nanoseconds })
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// One to nine digits as nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = text.split_at(count);
    let value = digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    let missing = u32::try_from(9 - count).ok()?;
    Some((value * 10_u32.pow(missing), rest))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match *text {
        [] | [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), hour_tens, hour_ones, b':', minute_tens, minute_ones] => {
            let (hour, minute) = (two(hour_tens, hour_ones)?, two(minute_tens, minute_ones)?);
            let seconds = i64::from(hour * 3600 + minute * 60);
            // Larger ones are jiff's to judge.
            (hour < 24 && minute < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn month_days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day that is not before it. (Howard Hinnant's `days_from_civil`: years begin in March,
/// so that the leap day is the last of them.)
fn days(year: u32, month: u32, day: u32) -> u32 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day, so many days after 1970-01-01; none outside the years 0 to 9999.
fn civil(days: i64) -> Option<(u32, u32, u32)> {
    // From 0000-03-01 on; January and February of the year 0 are nobody's times.
    let days = u32::try_from(days + 719_468).ok()?;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (carry, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
    let year = era * 400 + year_of_era + carry;
    (year <= 9999).then_some((year, month, day))
}

fn slow(text: &[u8]) -> Option<Moment> {
    // Digits alone are a number; a zone's name is not looked up, and must not be ignored.
    if text.iter().all(u8::is_ascii_digit) || text.contains(&b'[') {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let local = text.parse::<DateTime>().ok()?;
        Some(local.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    let nanoseconds = timestamp.as_nanosecond();
    Some(Moment {
        seconds: i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?,
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(moment: Moment) -> String {
        let mut out = Vec::new();
        assert!(moment.write(&mut out), "{moment:?}");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_day_from_1970_to_9999_is_jiffs_day() {
        let mut day = jiff::civil::date(1970, 1, 1);
        for number in 0.. {
            let shown = day.to_string();
            let expected = Moment { seconds: number * DAY_SECONDS, nanoseconds: 0 };
            assert_eq!(fast(shown.as_bytes()), Some(expected), "{shown}");
            assert_eq!(text(expected), format!("{shown}T00:00:00Z"));
            let Ok(next) = day.tomorrow() else { break };
            day = next;
        }
        assert_eq!(day.to_string(), "9999-12-31");
    }

    #[test]
    fn the_fast_way_and_jiff_agree() {
        let mut dice = 1_u64;
        let mut roll = |bound: i64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33).cast_signed() % bound
        };
        let mut taken = 0;
        for _ in 0..200_000 {
            // A little too far each way: what is wrong must not be taken.
            let date = format!("{:04}-{:02}-{:02}", 1965 + roll(300), roll(14), roll(33));
            let time = format!("{:02}:{:02}:{:02}", roll(25), roll(61), roll(61));
            let fraction = &format!(".{:09}", roll(1_000_000_000))[..usize::try_from(roll(11)).unwrap()];
            let separator = ["T", " "][usize::try_from(roll(2)).unwrap()];
            let zone = match roll(4) {
                0 => String::new(),
                1 => "Z".to_owned(),
                2 => format!("+{:02}:{:02}", roll(25), roll(61)),
                _ => format!("-{:02}:{:02}", roll(25), roll(61)),
            };
            let shown = format!("{date}{separator}{time}{fraction}{zone}");
            let (ours, theirs) = (fast(shown.as_bytes()), slow(shown.as_bytes()));
            if ours.is_some() {
                taken += 1;
                assert_eq!(ours, theirs, "{shown}");
                if let Some(moment) = ours.filter(|moment| moment.seconds >= 0) {
                    assert_eq!(slow(text(moment).as_bytes()), ours, "{shown}");
                }
            }
        }
        assert!(taken > 50_000, "{taken} of them are times");
    }

    #[test]
    fn what_is_a_time_and_what_is_none() {
        let parse = |text: &str| Moment::parse(text.as_bytes());
        let at = |seconds, nanoseconds| Some(Moment { seconds, nanoseconds });
        assert_eq!(parse("2014-04-01 00:00:00"), at(1_396_310_400, 0));
        assert_eq!(parse("2014-04-01T02:00:00.000000001+02:00"), at(1_396_310_400, 1));
        assert_eq!(parse("1969-12-31 23:59:59.5"), at(-1, 500_000_000));
        assert_eq!(parse("2016-12-31T23:59:60Z"), at(1_483_228_799, 0));
        assert_eq!(parse("2014-04-01T00:00Z"), at(1_396_310_400, 0));
        for none in [
            "",
            "12",
            "20140401",
            "2014-02-30",
            "2014-04-01 24:00:00",
            "x",
            "2014-04-01T00:00:00[Europe/Rome]",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
        for bytes in [&b"2014-04-01 00:00:0\xff"[..], b"\xff\xff\xff\xff-\xff\xff-\xff\xff"] {
            assert_eq!(Moment::parse(bytes), None);
        }
        assert_eq!(civil(i64::MAX / DAY_SECONDS), None);
        assert_eq!(civil(-800_000), None);
    }
}
