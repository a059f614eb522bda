//! One value as it stands in the input, before its column says what it is.
//!
//! Not here: columns (`column`), where cells come from (`csv`, `json`).

use std::fmt;

use tidelog::Kind;

/// A value of a row of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    /// No value.
    Null,
    /// Nothing between two commas: a null where the column takes one, else empty text.
    Blank,
    /// Bytes between two commas: the column says what they are.
    Bare(&'a [u8]),
    /// A JSON number, as it is written.
    Number(&'a str),
    /// A JSON string.
    Text(&'a str),
    /// A JSON true or false.
    Bool(bool),
}

/// What a cell looks like, where there is no column to say what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Null,
    /// Fits `i64`.
    Integer,
    /// Fits `u64` only.
    LargeInteger,
    Decimal,
    Bool,
    Text,
}

impl Cell<'_> {
    /// What it looks like.
    pub(crate) fn look(self) -> Look {
        match self {
            Cell::Null | Cell::Blank => Look::Null,
            Cell::Bool(_) => Look::Bool,
            Cell::Number(text) => number_look(text),
            // What `scan` writes for floats that JSON has no number for.
            Cell::Text("NaN" | "inf" | "-inf") => Look::Decimal,
            Cell::Text(_) => Look::Text,
            Cell::Bare(b"true" | b"false") => Look::Bool,
            Cell::Bare(bytes) => str::from_utf8(bytes).map_or(Look::Text, number_look),
        }
    }
}

fn number_look(text: &str) -> Look {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.parse::<i64>().is_ok() => Look::Integer,
        true if text.parse::<u64>().is_ok() => Look::LargeInteger,
        // A float would be another number.
        true => Look::Text,
        false if text.parse::<f64>().is_ok() => Look::Decimal,
        false => Look::Text,
    }
}

/// What all cells of a column so far look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    has_null: bool,
    has_integer: bool,
    has_negative: bool,
    has_large: bool,
    has_decimal: bool,
    has_bool: bool,
    has_text: bool,
}

impl Guess {
    /// Takes one more cell into account.
    pub(crate) fn add(&mut self, cell: Cell<'_>) {
        match cell.look() {
            Look::Null => self.has_null = true,
            Look::Integer => {
                self.has_integer = true;
                let is_negative = matches!(cell, Cell::Bare([b'-', ..]))
                    || matches!(cell, Cell::Number(t) if t.starts_with('-'));
                self.has_negative |= is_negative;
            }
            Look::LargeInteger => self.has_large = true,
            Look::Decimal => self.has_decimal = true,
            Look::Bool => self.has_bool = true,
            Look::Text => self.has_text = true,
        }
    }

    /// The narrowest kind that holds all of them: `i64`, `f64`, `bool`, else `text`; `u64` for integers that are
    /// beyond `i64`.
    pub(crate) fn kind(self) -> Kind {
        let has_number = self.has_integer || self.has_large || self.has_decimal;
        match self {
            _ if self.has_text || (self.has_bool && has_number) || (self.has_large && self.has_negative) => {
                Kind::Text
            }
            _ if self.has_decimal => Kind::F64,
            _ if self.has_large => Kind::U64,
            _ if self.has_integer => Kind::I64,
            _ if self.has_bool => Kind::Bool,
            _ => Kind::Text,
        }
    }

    /// Whether there is a cell without a value.
    pub(crate) fn has_null(self) -> bool {
        self.has_null
    }
}

/// The kind that holds what a column of `kind` holds, and this cell too.
pub(crate) fn wider(kind: Kind, cell: Cell<'_>) -> Kind {
    let is_integer = matches!(kind, Kind::U64 | Kind::I64 | Kind::U32 | Kind::I32);
    match (kind, cell.look()) {
        (kind, Look::Null) => kind,
        (Kind::Bytes, _) => Kind::Text,
        (Kind::U32 | Kind::I32 | Kind::U64, Look::Integer) => Kind::I64,
        (Kind::U32 | Kind::U64, Look::LargeInteger) => Kind::U64,
        (Kind::F32 | Kind::F64, Look::Integer | Look::LargeInteger | Look::Decimal) => Kind::F64,
        (_, Look::Decimal) if is_integer => Kind::F64,
        (Kind::Bool, Look::Bool) => Kind::Bool,
        _ => Kind::Text,
    }
}

/// For a message: as it is written, cut where it is long.
impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        let quoted = |f: &mut fmt::Formatter<'_>, text: &str| {
            let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
            write!(f, "`{shown}{}`", if text.chars().nth(SHOWN).is_some() { "..." } else { "" })
        };
        match self {
            Cell::Null => f.write_str("a null"),
            Cell::Blank => f.write_str("an empty cell"),
            Cell::Bare(bytes) => {
                quoted(f, &String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN + 4)]))
            }
            Cell::Number(text) | Cell::Text(text) => quoted(f, text),
            Cell::Bool(value) => write!(f, "`{value}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(cells: &[&str]) -> Kind {
        let mut guess = Guess::default();
        cells.iter().for_each(|text| guess.add(Cell::Bare(text.as_bytes())));
        guess.kind()
    }

    #[test]
    fn the_narrowest_kind_that_holds_all() {
        for (cells, kind) in [
            (&["1", "-2"][..], Kind::I64),
            (&["-9223372036854775808", "9223372036854775807"], Kind::I64),
            (&["18446744073709551615", "0"], Kind::U64),
            (&["18446744073709551615", "-1"], Kind::Text),
            (&["18446744073709551616"], Kind::Text),
            (&["1", "2.5"], Kind::F64),
            (&["1e3", "NaN", "-inf", "-0.0"], Kind::F64),
            (&["true", "false"], Kind::Bool),
            (&["true", "1"], Kind::Text),
            (&["True"], Kind::Text),
            (&["1", "x"], Kind::Text),
            (&["2014-04-01"], Kind::Text),
            (&["-"], Kind::Text),
            (&[], Kind::Text),
        ] {
            assert_eq!(guess(cells), kind, "{cells:?}");
        }
    }

    #[test]
    fn what_would_have_fitted() {
        assert_eq!(wider(Kind::I64, Cell::Bare(b"2.5")), Kind::F64);
        assert_eq!(wider(Kind::I64, Cell::Bare(b"x")), Kind::Text);
        assert_eq!(wider(Kind::U32, Cell::Bare(b"-7")), Kind::I64);
        assert_eq!(wider(Kind::F32, Cell::Bare(b"x")), Kind::Text);
        assert_eq!(wider(Kind::Bool, Cell::Number("1")), Kind::Text);
        assert_eq!(wider(Kind::F64, Cell::Blank), Kind::F64);
    }
}
