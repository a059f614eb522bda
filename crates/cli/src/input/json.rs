//! Rows of JSON lines: an object a line, a member for each column.
//!
//! Not here: what the cells are (`column`).

use std::fmt;
use std::io::{BufRead, Read};
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cell::Cell;
use super::source::{NAMES_MAX, ROW_BYTES_MAX, Row, Source, Stop};

/// JSON lines on their way in.
pub(crate) struct JsonRows<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    bytes_read: u64,
    members: Members,
}

/// The members of the line at hand.
#[derive(Default)]
struct Members {
    /// All that were met so far.
    names: Vec<String>,
    /// For each of them, its value in this line.
    values: Vec<Member>,
    /// Strings that do not stand in the line as they are.
    unescaped: String,
}

#[derive(Clone)]
enum Member {
    Absent,
    Null,
    Bool(bool),
    /// Where it stands in the line.
    Number(Range<usize>),
    /// Where it stands in the line, between its quotes.
    Text(Range<usize>),
    /// Where it stands in `unescaped`.
    Unescaped(Range<usize>),
}

impl<R: BufRead> JsonRows<R> {
    /// Reads nothing yet.
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0, bytes_read: 0, members: Members::default() }
    }

    fn text(&self, range: &Range<usize>) -> &str {
        // It was UTF-8 when it was parsed.
        self.line.get(range.clone()).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl<R: BufRead> Source for JsonRows<R> {
    fn names(&self) -> &[String] {
        &self.members.names
    }

    fn next(&mut self) -> Result<Option<Row>, Stop> {
        loop {
            self.line.clear();
            let mut bounded = Read::by_ref(&mut self.input).take(ROW_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut self.line).map_err(Stop::Unreadable)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 == ROW_BYTES_MAX && !self.line.ends_with(b"\n") {
                return Err(Stop::too_long(self.number));
            }
            self.bytes_read += read as u64;
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        self.members.values.fill(Member::Absent);
        self.members.unescaped.clear();
        if str::from_utf8(&self.line).is_err() {
            return Err(Stop::at(self.number, "it is no UTF-8"));
        }
        // What is wrong at the end is wrong in this line.
        let mut parser = serde_json::Deserializer::from_slice(self.line.trim_ascii_end());
        let object = Object { start: self.line.as_ptr().addr(), members: &mut self.members };
        let parsed = parser.deserialize_map(object).and_then(|()| parser.end());
        match parsed {
            Ok(()) => Ok(Some(Row { line: self.number, bytes_read: self.bytes_read })),
            Err(error) => {
                let column = error.column();
                let text = error.to_string();
                // Lines are counted here.
                let what = text.split(" at line ").next().unwrap_or_default();
                Err(Stop::at(self.number, format!("byte {column}: {what}")))
            }
        }
    }

    fn cell(&self, index: usize) -> Cell<'_> {
        match self.members.values.get(index) {
            None | Some(Member::Absent | Member::Null) => Cell::Null,
            Some(Member::Bool(value)) => Cell::Bool(*value),
            Some(Member::Number(range)) => Cell::Number(self.text(range)),
            Some(Member::Text(range)) => Cell::Text(self.text(range)),
            Some(Member::Unescaped(range)) => {
                Cell::Text(self.members.unescaped.get(range.clone()).unwrap_or_default())
            }
        }
    }
}

/// Reads one object into the members.
struct Object<'a> {
    /// Where the line lies.
    start: usize,
    members: &'a mut Members,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, a member for each column")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut likely = 0;
        while let Some(index) = map.next_key_seed(Name { likely, members: self.members })? {
            let raw: &'de RawValue = map.next_value()?;
            let text = raw.get();
            let start = text.as_ptr().addr() - self.start;
            let value = match text.as_bytes() {
                b"null" => Member::Null,
                b"true" => Member::Bool(true),
                b"false" => Member::Bool(false),
                [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
                    Member::Text(start + 1..start + text.len() - 1)
                }
                [b'"', ..] => {
                    let from = self.members.unescaped.len();
                    let string: String = serde_json::from_str(text).map_err(A::Error::custom)?;
                    self.members.unescaped.push_str(&string);
                    Member::Unescaped(from..self.members.unescaped.len())
                }
                [b'{' | b'[', ..] => {
                    let name = &self.members.names[index];
                    return Err(A::Error::custom(format!("`{name}` holds other values; a column cannot")));
                }
                _ => Member::Number(start..start + text.len()),
            };
            if !matches!(self.members.values[index], Member::Absent) {
                let name = &self.members.names[index];
                return Err(A::Error::custom(format!("two members are named `{name}`")));
            }
            self.members.values[index] = value;
            likely = index + 1;
        }
        Ok(())
    }
}

/// Finds a member by its name.
struct Name<'a> {
    /// Where it was in the line before.
    likely: usize,
    members: &'a mut Members,
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<usize, E> {
        let names = &mut self.members.names;
        if names.get(self.likely).is_some_and(|known| known == name) {
            return Ok(self.likely);
        }
        if let Some(index) = names.iter().position(|known| known == name) {
            return Ok(index);
        }
        if names.len() == NAMES_MAX {
            return Err(E::custom(format!("there are more than {NAMES_MAX} names")));
        }
        names.push(name.to_owned());
        self.members.values.push(Member::Absent);
        Ok(names.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str) -> Result<Vec<String>, String> {
        let mut rows = JsonRows::new(line.as_bytes());
        match rows.next() {
            Ok(_) => Ok((0..rows.names().len()).map(|index| format!("{:?}", rows.cell(index))).collect()),
            Err(stop) => Err(stop.to_string()),
        }
    }

    #[test]
    fn members_stand_as_they_are_written() {
        let cells = row(r#"{"a":-0.0,"b":18446744073709551615,"c":"x","d":"\n\u20ac","e":null,"f":true}"#);
        let expected = [
            r#"Number("-0.0")"#,
            r#"Number("18446744073709551615")"#,
            r#"Text("x")"#,
            r#"Text("\n€")"#,
            "Null",
            "Bool(true)",
        ];
        assert_eq!(cells.unwrap(), expected);
    }

    #[test]
    fn members_are_found_in_any_order() {
        let lines = "{\"a\":1,\"b\":2}\n\n{\"b\":3}\n{\"c\":4,\"a\":5}\n";
        let mut rows = JsonRows::new(lines.as_bytes());
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push((row.line, (0..3).map(|index| format!("{}", rows.cell(index))).collect::<Vec<_>>()));
        }
        assert_eq!(found[0], (1, vec!["`1`".into(), "`2`".into(), "a null".into()]));
        assert_eq!(found[1], (3, vec!["a null".into(), "`3`".into(), "a null".into()]));
        assert_eq!(found[2], (4, vec!["`5`".into(), "a null".into(), "`4`".into()]));
        assert_eq!(rows.names(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_no_row() {
        for line in ["[1]", "{\"a\":1", "{\"a\":{}}", "{\"a\":1,\"a\":2}", "{} {}", "{\"a\":01}", "nul"] {
            let error = row(line).unwrap_err();
            assert!(error.starts_with("line 1: byte "), "{line}: {error}");
        }
        assert!(JsonRows::new(&b"{\"a\":\"\xff\"}"[..]).next().is_err());
    }
}
