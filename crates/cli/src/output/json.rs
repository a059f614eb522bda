//! Rows as JSON lines: an object a line, the key first.
//!
//! Not here: how values are written (`output`).

use anyhow::Result;
use tidelog::Vector;

use super::{Digits, PreviousKey, Written, write_base64, write_time};
use crate::exit::Fault;

pub(super) struct Json {
    /// `,"name":` for each column.
    names: Vec<Vec<u8>>,
    digits: Digits,
}

impl Json {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, previous_key: PreviousKey) -> Result<Self> {
        let mut members = Vec::new();
        for name in names {
            if name == "key" || (name == "previous_key" && previous_key == PreviousKey::Printed) {
                let what = format!(
                    "a column is named `{name}`, as the key's member is here; `scan --columns` can leave it out"
                );
                return Err(Fault::usage(what).into());
            }
            let mut member = vec![b','];
            serde_json::to_writer(&mut member, name)?;
            member.push(b':');
            members.push(member);
        }
        Ok(Self { names: members, digits: Digits::default() })
    }

    pub(super) fn key(&mut self, out: &mut Vec<u8>, key: u64, per_second: Option<u64>) -> Result<()> {
        out.extend_from_slice(b"{\"key\":");
        self.digits(out, key, per_second)
    }

    /// The first row has none.
    pub(super) fn previous_key(
        &mut self,
        out: &mut Vec<u8>,
        key: Option<u64>,
        per_second: Option<u64>,
    ) -> Result<()> {
        out.extend_from_slice(b",\"previous_key\":");
        match key {
            Some(key) => self.digits(out, key, per_second),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn digits(&mut self, out: &mut Vec<u8>, key: u64, per_second: Option<u64>) -> Result<()> {
        match per_second {
            Some(per_second) => {
                out.push(b'"');
                write_time(out, key, per_second)?;
                out.push(b'"');
            }
            None => out.extend_from_slice(self.digits.integer.format(key).as_bytes()),
        }
        Ok(())
    }

    pub(super) fn value(&mut self, out: &mut Vec<u8>, place: usize, vector: &Vector, index: usize) {
        out.extend_from_slice(&self.names[place]);
        match self.digits.value(vector.value(index)) {
            Written::Null => out.extend_from_slice(b"null"),
            Written::Plain(digits) => out.extend_from_slice(digits.as_bytes()),
            Written::NotFinite(digits) => {
                out.push(b'"');
                out.extend_from_slice(digits.as_bytes());
                out.push(b'"');
            }
            Written::Text(text) => text_into(out, text),
            Written::Bytes(bytes) => {
                out.push(b'"');
                write_base64(out, bytes);
                out.push(b'"');
            }
        }
    }
}

/// Appends a JSON string.
fn text_into(out: &mut Vec<u8>, text: &str) {
    let is_plain = !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\');
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    // Memory takes whatever is written into it.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
    }
}
