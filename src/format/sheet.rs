//! A file that is one checksummed piece: what manifests and sums have in common.
//!
//! 64 bytes of header, the content, zeros up to a whole page; one CRC-32C over all of it. Format:
//! docs/format.md, "Sheet".
//!
//! Not here: the content.

use super::cursor::{Cursor, Field, Writer, check_version};
use super::{Malformed, PAGE, Piece, Salt, StoreId, VERSION};

/// Bytes before the content.
pub(super) const HEADER: usize = 64;
const SUM: usize = 52;
/// Above the sheet of any store that its limits allow: a tail under a page and the sums of each raw file.
pub(super) const BYTES_MAX: u64 = 1 << 30;

/// Which sheet it is: beside its magic, what it must say of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Title {
    pub(super) magic: &'static [u8; 8],
    pub(super) piece: Piece,
    /// A manifest's generation; the number of the segment that sums are for.
    pub(super) number: u64,
    /// The slot that sums lie in; 0 for a manifest.
    pub(super) slot: u32,
}

impl Title {
    fn salt(&self, store: &StoreId) -> Salt {
        Salt::new(store, self.piece, 0, self.slot.into(), self.number)
    }
}

/// A whole sheet around `content`.
pub(super) fn encode(title: Title, store: &StoreId, content: &[u8]) -> Vec<u8> {
    let mut sheet = vec![0; (HEADER + content.len()).next_multiple_of(PAGE)];
    let mut to = Writer::new(&mut sheet);
    to.bytes(title.magic).u16(VERSION).zeros(6).bytes(store);
    to.u64(title.number).u64(content.len() as u64).u32(title.slot).zeros(12).bytes(content);
    let sum = title.salt(store).crc32(&[&sheet]);
    sheet[SUM..SUM + 4].copy_from_slice(&sum.to_le_bytes());
    sheet
}

/// Bytes of the whole sheet, as its first page states it; none where that cannot be a sheet's.
pub(super) fn stated_bytes(page: &[u8]) -> Option<u64> {
    let content = u64::from_le_bytes(*page.get(40..48)?.first_chunk()?);
    content
        .checked_add(HEADER as u64)?
        .checked_next_multiple_of(PAGE as u64)
        .filter(|bytes| *bytes <= BYTES_MAX)
}

/// The store that a sheet says it belongs to, and a cursor over its content. `store` is the one it must belong
/// to, where that is known already.
pub(super) fn decode<'a, 't>(
    sheet: &'a [u8],
    title: Title,
    store: Option<&StoreId>,
    mut trace: Option<&'t mut Vec<Field>>,
) -> Result<(StoreId, Cursor<'a, 't>), Malformed> {
    let Some(header) = sheet.get(..HEADER) else {
        return Err(Malformed::new(0, "it is shorter than a header"));
    };
    let mut from = Cursor::new(header, 0).traced(trace.as_deref_mut());
    from.magic(title.magic)?;
    let version = from.u16("format version")?;
    let reserved = from.bytes(6, "reserved")?;
    let id = from.store_id()?;
    let number = from.u64("number")?;
    let content = from.u64("bytes of content")?;
    let slot = from.u32("slot")?;
    let sum = from.sum32("checksum")?;
    let reserved_too = from.bytes(8, "reserved")?;
    let content = usize::try_from(content).ok().filter(|len| *len <= sheet.len() - HEADER);
    let Some(content) = content.filter(|len| (HEADER + len).next_multiple_of(PAGE) == sheet.len()) else {
        return Err(Malformed::new(40, "its length is not the one that it states"));
    };
    if store.is_some_and(|store| *store != id) {
        return Err(Malformed::new(16, "it belongs to another store"));
    }
    if (number, slot) != (title.number, title.slot) {
        return Err(Malformed::new(32, "it belongs under another name"));
    }
    let pieces = [&sheet[..SUM], &[0; 4], &sheet[SUM + 4..]];
    if title.salt(&id).crc32(&pieces) != sum {
        return Err(Malformed::new(0, "its checksum does not match"));
    }
    check_version(version, 8)?;
    if reserved.iter().chain(reserved_too).any(|byte| *byte != 0) {
        return Err(Malformed::new(0, "a reserved byte of its header is not zero").in_intact());
    }
    let padding = &sheet[HEADER + content..];
    Cursor::new(padding, (HEADER + content) as u64)
        .zeros(padding.len(), "padding")
        .map_err(Malformed::in_intact)?;
    Ok((id, Cursor::new(&sheet[HEADER..HEADER + content], HEADER as u64).traced(trace)))
}
