//! Taking bytes apart that anybody may have written: each part is there and is what it may be, or the reason why
//! not.
//!
//! Not here: where the bytes lie in their file (`block` adds that), fields with names (`format`).

/// Bytes that are read front to back.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (array, rest) = self.0.split_first_chunk().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, &'static str> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    /// `len` numbers of 16 bits.
    pub(super) fn shorts(&mut self, len: usize) -> Result<&'a [[u8; 2]], &'static str> {
        Ok(self.bytes(len * 2)?.as_chunks().0)
    }

    /// `len` numbers of 64 bits.
    pub(super) fn longs(&mut self, len: usize) -> Result<&'a [[u8; 8]], &'static str> {
        Ok(self.bytes(len * 8)?.as_chunks().0)
    }

    /// `len` positions within a vector of `count` values: rising, so that each is there once.
    pub(super) fn positions(&mut self, len: usize, count: usize) -> Result<&'a [[u8; 2]], &'static str> {
        let positions = self.shorts(len)?;
        let at = |position: &[u8; 2]| u16::from_le_bytes(*position);
        if !positions.is_sorted_by(|one, next| at(one) < at(next)) {
            return Err("positions do not rise");
        }
        match positions.last() {
            Some(last) if usize::from(at(last)) >= count => Err("a position is behind the last value"),
            _ => Ok(positions),
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        if self.0.is_empty() { Ok(()) } else { Err("there are bytes behind its end") }
    }
}

/// A count or position within a block as a field.
pub(super) fn small(number: usize) -> u16 {
    u16::try_from(number)
        .unwrap_or_else(|_| unreachable!("blocks have at most 16,384 rows, this is {number}"))
}
