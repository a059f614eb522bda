//! Reading and writing fields one after another, each with its name.
//!
//! The names serve twice: an error says which field is wrong, and a [`Cursor`] that keeps a trace makes the
//! annotated dumps of docs/format.md from the very code that decodes.
//!
//! Not here: which fields there are.

use super::Malformed;
use crate::codec::HeaderField;

/// A field as a dump shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// From the start of the file.
    pub(crate) offset: u64,
    /// Its bytes; none for a store id, which is never shown.
    pub(crate) bytes: Option<Vec<u8>>,
    /// What it is.
    pub(crate) name: String,
    /// Its value where that is not plain from the bytes.
    pub(crate) value: String,
}

/// Bytes that are read front to back. Fields are taken inline, and what is rare stands apart: an index has tens of thousands.
pub(crate) struct Cursor<'a, 't> {
    bytes: &'a [u8],
    at: usize,
    base: u64,
    trace: Option<&'t mut Vec<Field>>,
}

impl<'a, 't> Cursor<'a, 't> {
    /// `base` is the offset of `bytes` in their file.
    pub(crate) fn new(bytes: &'a [u8], base: u64) -> Self {
        Self { bytes, at: 0, base, trace: None }
    }

    /// The same, noting every field.
    pub(crate) fn traced(mut self, trace: Option<&'t mut Vec<Field>>) -> Self {
        self.trace = trace;
        self
    }

    /// Offset of the next field in its file.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error at the next field.
    pub(crate) fn malformed(&self, what: impl Into<std::borrow::Cow<'static, str>>) -> Malformed {
        Malformed::new(self.offset(), what)
    }

    #[inline]
    fn take(&mut self, len: usize, name: &str) -> Result<&'a [u8], Malformed> {
        if len > self.remaining() {
            return Err(self.beyond(name));
        }
        let bytes = &self.bytes[self.at..self.at + len];
        self.at += len;
        Ok(bytes)
    }

    #[cold]
    fn beyond(&self, name: &str) -> Malformed {
        self.malformed(format!("{name} goes beyond the end"))
    }

    #[inline]
    fn note(&mut self, bytes: &[u8], name: &str, value: impl FnOnce() -> String) {
        if self.trace.is_some() {
            self.note_at(self.offset() - bytes.len() as u64, bytes, name, value);
        }
    }

    #[cold]
    fn note_at(&mut self, offset: u64, bytes: &[u8], name: &str, value: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.as_mut() {
            trace.push(Field { offset, bytes: Some(bytes.to_vec()), name: name.to_owned(), value: value() });
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, name: &str) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, name)?);
        Ok(array)
    }

    #[inline]
    pub(crate) fn u8(&mut self, name: &str) -> Result<u8, Malformed> {
        let [value] = self.array(name)?;
        self.note(&[value], name, || value.to_string());
        Ok(value)
    }

    #[inline]
    pub(crate) fn u16(&mut self, name: &str) -> Result<u16, Malformed> {
        let bytes = self.array(name)?;
        let value = u16::from_le_bytes(bytes);
        self.note(&bytes, name, || value.to_string());
        Ok(value)
    }

    #[inline]
    pub(crate) fn u32(&mut self, name: &str) -> Result<u32, Malformed> {
        let bytes = self.array(name)?;
        let value = u32::from_le_bytes(bytes);
        self.note(&bytes, name, || value.to_string());
        Ok(value)
    }

    #[inline]
    pub(crate) fn u64(&mut self, name: &str) -> Result<u64, Malformed> {
        let bytes = self.array(name)?;
        let value = u64::from_le_bytes(bytes);
        self.note(&bytes, name, || value.to_string());
        Ok(value)
    }

    /// A number that counts: bounded, so that arithmetic on it cannot overflow.
    pub(crate) fn number(&mut self, name: &str) -> Result<u64, Malformed> {
        let start = self.offset();
        match self.u64(name)? {
            number if number < super::NUMBER_MAX => Ok(number),
            number => {
                Err(Malformed::new(start, format!("{name} is {number}, which nobody can have counted to")))
            }
        }
    }

    /// The number of a slot: as [`Cursor::number`].
    pub(crate) fn slot(&mut self) -> Result<u32, Malformed> {
        let start = self.offset();
        match self.u32("slot")? {
            slot if slot < super::SLOT_MAX => Ok(slot),
            slot => Err(Malformed::new(start, format!("slot is {slot}, which nobody can have counted to"))),
        }
    }

    /// The tag and length of the next section. Tags rise: each section is there once at most, in one order.
    pub(crate) fn section(&mut self, last: u16, names: &[&str]) -> Result<(u16, usize), Malformed> {
        let start = self.offset();
        let bytes: [u8; 8] = self.array("section")?;
        let [low, high, zero, too, len @ ..] = bytes;
        let (tag, len) = (u16::from_le_bytes([low, high]), u32::from_le_bytes(len) as usize);
        let name = usize::from(tag).checked_sub(1).and_then(|index| names.get(index));
        self.note(&bytes, "section", || format!("{tag} ({}), {len} bytes", name.unwrap_or(&"unknown")));
        let wrong = match tag {
            _ if tag <= last => "the sections are out of order",
            _ if (zero, too) != (0, 0) => "a reserved byte is not zero",
            _ if len > self.remaining() => "a section goes beyond the end",
            _ => return Ok((tag, len)),
        };
        Err(Malformed::new(start, wrong))
    }

    /// Of each chunk of keys the first one. They never go back.
    pub(crate) fn first_keys(&mut self, count: usize) -> Result<Vec<u64>, Malformed> {
        let start = self.offset();
        let bytes = self.many(count, 8, "first keys of chunks")?;
        let keys: Vec<u64> = bytes.as_chunks().0.iter().map(|key| u64::from_le_bytes(*key)).collect();
        if !keys.is_sorted() {
            return Err(Malformed::new(start, "a chunk's first key is below that of the one before"));
        }
        Ok(keys)
    }

    /// Of each chunk the checksum.
    pub(crate) fn sums(&mut self, count: usize) -> Result<Vec<u32>, Malformed> {
        self.sums_of(count, "sums of chunks")
    }

    /// Of each of these things the checksum.
    pub(crate) fn sums_of(&mut self, count: usize, name: &str) -> Result<Vec<u32>, Malformed> {
        let bytes = self.many(count, 4, name)?;
        Ok(bytes.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect())
    }

    fn many(&mut self, count: usize, width: usize, name: &str) -> Result<&'a [u8], Malformed> {
        if count > self.remaining() / width {
            return Err(self.malformed(format!("the {name} go beyond the end")));
        }
        let bytes = self.take(count * width, name)?;
        if count > 0 {
            self.note(bytes, name, || count.to_string());
        }
        Ok(bytes)
    }

    /// A checksum: shown without its value, which says nothing to a reader.
    pub(crate) fn sum64(&mut self, name: &str) -> Result<u64, Malformed> {
        let bytes = self.array(name)?;
        self.note(&bytes, name, String::new);
        Ok(u64::from_le_bytes(bytes))
    }

    /// As [`Cursor::sum64`].
    pub(crate) fn sum32(&mut self, name: &str) -> Result<u32, Malformed> {
        let bytes = self.array(name)?;
        self.note(&bytes, name, String::new);
        Ok(u32::from_le_bytes(bytes))
    }

    /// A store id: read, never shown.
    pub(crate) fn store_id(&mut self) -> Result<super::StoreId, Malformed> {
        let id = self.array("store id")?;
        let offset = self.offset() - 16;
        if let Some(trace) = self.trace.as_mut() {
            let value = "not shown".to_owned();
            trace.push(Field { offset, bytes: None, name: "store id".to_owned(), value });
        }
        Ok(id)
    }

    pub(crate) fn bytes(&mut self, len: usize, name: &str) -> Result<&'a [u8], Malformed> {
        let bytes = self.take(len, name)?;
        self.note(bytes, name, || format!("{len} bytes"));
        Ok(bytes)
    }

    /// A header that `codec` has taken apart, and says the fields of.
    pub(crate) fn header(
        &mut self,
        len: usize,
        fields: impl FnOnce() -> Vec<HeaderField>,
    ) -> Result<(), Malformed> {
        let mut offset = self.offset();
        let mut bytes = self.take(len, "header")?;
        if self.trace.is_some() {
            for field in fields() {
                let (part, rest) = bytes.split_at(field.bytes.min(bytes.len()));
                self.note_at(offset, part, field.name, || field.value);
                (offset, bytes) = (offset + part.len() as u64, rest);
            }
        }
        Ok(())
    }

    pub(crate) fn text(&mut self, len: usize, name: &str) -> Result<&'a str, Malformed> {
        let start = self.offset();
        let bytes = self.take(len, name)?;
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(Malformed::new(start, format!("a {name} is not UTF-8")));
        };
        self.note(bytes, name, || format!("{text:?}"));
        Ok(text)
    }

    pub(crate) fn magic(&mut self, magic: &[u8; 8]) -> Result<(), Malformed> {
        let start = self.offset();
        let found: [u8; 8] = self.array("magic")?;
        self.note(&found, "magic", || String::from_utf8_lossy(&found).trim_end_matches('\0').to_owned());
        if found != *magic {
            let name = String::from_utf8_lossy(magic);
            return Err(Malformed::new(
                start,
                format!("it does not begin with {}", name.trim_end_matches('\0')),
            ));
        }
        Ok(())
    }

    /// Bytes that must be zero.
    pub(crate) fn zeros(&mut self, len: usize, name: &str) -> Result<(), Malformed> {
        let start = self.offset();
        let bytes = self.take(len, name)?;
        if len > 0 {
            self.note_at(start, &bytes[..len.min(8)], name, || format!("{len} bytes"));
        }
        match bytes.iter().position(|byte| *byte != 0) {
            Some(at) => Err(Malformed::new(start + at as u64, format!("{name} is not zero"))),
            None => Ok(()),
        }
    }

    /// A number of things of at least `bytes_each` bytes: refused if they cannot be there.
    pub(crate) fn count(&mut self, bytes_each: usize, name: &str) -> Result<usize, Malformed> {
        let start = self.offset();
        let count = self.u32(name)? as usize;
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.remaining() => Ok(count),
            _ => Err(Malformed::new(start, format!("{name} is {count}, more than there is room for"))),
        }
    }
}

/// Whether we can read this format version. Asked when the checksum has been found right: only then does the
/// piece really say so. One above ours is an error of its own.
pub(crate) fn check_version(found: u16, offset: u64) -> Result<(), Malformed> {
    match found {
        1..=super::VERSION => Ok(()),
        0 => Err(Malformed::new(offset, "format version 0 does not exist").in_intact()),
        newer => {
            let what = "a newer format version";
            Err(Malformed { version: Some(newer), ..Malformed::new(offset, what).in_intact() })
        }
    }
}

/// Fields written front to back into bytes that are long enough (our own arithmetic sized them).
pub(crate) struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    #[inline]
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    #[inline]
    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    #[inline]
    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn zeros(&mut self, len: usize) -> &mut Self {
        self.bytes[self.at..self.at + len].fill(0);
        self.at += len;
        self
    }

    /// Zeros to the end: buffers are reused, and padding is part of what a checksum covers.
    pub(crate) fn pad(&mut self) {
        let rest = self.bytes.len() - self.at;
        self.zeros(rest);
    }
}

/// A length as a field: everything that is written has been checked against `options` before.
pub(crate) fn field(len: usize) -> u32 {
    u32::try_from(len).unwrap_or_else(|_| unreachable!("limits keep every count below 2^32, this is {len}"))
}
