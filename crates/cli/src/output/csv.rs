//! Rows as comma-separated values, RFC 4180: a header, quotes where needed.
//!
//! Not here: how values are written (`output`).

use anyhow::Result;
use tidelog::Vector;

use super::{Digits, PreviousKey, Written, write_base64, write_time};
use crate::exit::{Code, Fault};

pub(super) struct Csv {
    null: Option<String>,
    digits: Digits,
}

impl Csv {
    /// Writes the header.
    pub(super) fn new<'a>(
        names: impl Iterator<Item = &'a str>,
        null: Option<&str>,
        previous_key: PreviousKey,
        out: &mut Vec<u8>,
    ) -> Result<Self> {
        if let Some(token) = null {
            let is_value = token.parse::<f64>().is_ok() || ["true", "false"].contains(&token);
            if is_value || token.contains(['"', ',', '\n', '\r']) || token.is_empty() {
                let what = format!("--null {token:?} would be taken for a value; choose a word such as NULL");
                return Err(Fault::usage(what).into());
            }
        }
        out.extend_from_slice(b"key");
        if previous_key == PreviousKey::Printed {
            out.extend_from_slice(b",previous_key");
        }
        for name in names {
            if name == "key" || (name == "previous_key" && previous_key == PreviousKey::Printed) {
                let what = format!(
                    "a column is named `{name}`, as the key's is here; `scan --columns` can leave it out"
                );
                return Err(Fault::usage(what).into());
            }
            out.push(b',');
            text(out, name);
        }
        out.push(b'\n');
        Ok(Self { null: null.map(str::to_owned), digits: Digits::default() })
    }

    pub(super) fn key(&mut self, out: &mut Vec<u8>, key: u64, per_second: Option<u64>) -> Result<()> {
        match per_second {
            Some(per_second) => write_time(out, key, per_second),
            None => {
                out.extend_from_slice(self.digits.integer.format(key).as_bytes());
                Ok(())
            }
        }
    }

    /// The first row has none.
    pub(super) fn previous_key(
        &mut self,
        out: &mut Vec<u8>,
        key: Option<u64>,
        per_second: Option<u64>,
    ) -> Result<()> {
        out.push(b',');
        match key {
            Some(key) => self.key(out, key, per_second),
            None => {
                out.extend_from_slice(self.null.as_deref().unwrap_or_default().as_bytes());
                Ok(())
            }
        }
    }

    pub(super) fn value(&mut self, out: &mut Vec<u8>, vector: &Vector, index: usize) -> Result<()> {
        out.push(b',');
        let start = out.len();
        match self.digits.value(vector.value(index)) {
            Written::Plain(digits) | Written::NotFinite(digits) => out.extend_from_slice(digits.as_bytes()),
            Written::Null => {
                out.extend_from_slice(self.null.as_deref().unwrap_or_default().as_bytes());
                return Ok(());
            }
            Written::Text("") if self.null.is_none() => out.extend_from_slice(b"\"\""),
            Written::Text(value) => text(out, value),
            Written::Bytes(bytes) => write_base64(out, bytes),
        }
        match &self.null {
            Some(token) if &out[start..] == token.as_bytes() => {
                let what =
                    format!("a value is `{token}`, which stands for a null here; choose another --null");
                Err(Fault::new(Code::Input, what).into())
            }
            _ => Ok(()),
        }
    }
}

/// Appends a text, quoted where it would not be one cell otherwise.
fn text(out: &mut Vec<u8>, value: &str) {
    if !value.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r')) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(b'"');
    for (index, part) in value.split('"').enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_one_cell() {
        let values = ["", "a", "a,b", "say \"x\"", "\"", "two\nlines\r\n", " spaced ", "\u{feff}"];
        let mut out = Vec::new();
        for value in values {
            text(&mut out, value);
            out.extend_from_slice(b",end\n");
        }
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&out[..]);
        let read: Vec<String> = reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
        assert_eq!(read, values);
    }
}
