//! Sealed segments, read back: directory, entries and blocks, each loaded when it is asked for, and kept encoded.
//!
//! Invariant: what is handed out has been verified: the directory by the manifest, entries by the directory, the head
//! of a block by itself, its vectors by the head.
//!
//! Not here: what the bytes mean (`format::segment`, `format::block`), rows of a batch (`rows`).

use std::borrow::Cow;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::holdings::{Entry, Handle, Holdings, Key, refused};
use crate::codec::VECTOR;
use crate::codec::block::Scratch;
use crate::codec::bytes::BytesBlock;
use crate::codec::fixed::Fixed;
use crate::disk::{Disk, Exact, File, PAGE, ReadExact, TRANSFER_BYTES_MAX, read_exact};
use crate::error::{Error, Malformed, Result};
use crate::format::StoreId;
use crate::format::block::{BlockPlace, SealedBlock};
use crate::format::bytes::SealedBytes;
use crate::format::entries::{Coded, Entries};
use crate::format::segment::{Directory, Home, Shape, directory_bytes};
use crate::segment::SealedSegment;

/// A sealed segment that can be read: with its directory.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) segment: SealedSegment,
    pub(crate) directory: Arc<Directory>,
}

/// A block, verified.
#[derive(Debug)]
pub(crate) enum Encoded {
    Fixed(EncodedFixed),
    Bytes(EncodedBytes),
}

/// A block of values of fixed width, all of it.
#[derive(Debug)]
pub(crate) struct EncodedFixed {
    block: SealedBlock,
    bytes: Box<[u8]>,
}

/// The head of a block of bytes or text; all of its bytes where they are few.
#[derive(Debug)]
pub(crate) struct EncodedBytes {
    block: SealedBytes,
    /// Where the block begins in its file.
    start: u64,
    bytes: Option<Box<[u8]>>,
}

/// Blocks up to this length are read and kept whole.
const WHOLE_BYTES_MAX: u64 = TRANSFER_BYTES_MAX as u64 - 2 * PAGE as u64;

/// What is read and kept of the block of a row group: all of it, or the head.
pub(crate) fn kept(entries: &Entries, group: usize) -> Range<u64> {
    let block = entries.block(group);
    match (entries.shape(), entries.get(group).block) {
        (Shape::Bytes(_), Some(coded)) if block.end - block.start > WHOLE_BYTES_MAX => {
            block.end - u64::from(coded.head_bytes)..block.end
        }
        _ => block,
    }
}

impl Encoded {
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Fixed(fixed) => size_of::<Self>() + fixed.bytes.len() + fixed.block.memory_bytes(),
            Self::Bytes(block) => {
                size_of::<Self>()
                    + block.bytes.as_ref().map_or(0, |bytes| bytes.len())
                    + block.block.memory_bytes()
            }
        }
    }

    /// The values of a block of fixed width from `row` on, as many as there are places.
    pub(crate) fn decode<T: Fixed>(
        &self,
        row: usize,
        scratch: &mut Scratch,
        values: &mut [T],
    ) -> Result<(), Malformed> {
        match self {
            Self::Fixed(fixed) => fixed.decode(row, scratch, values),
            Self::Bytes(_) => unreachable!("values of fixed width are in blocks of their own"),
        }
    }
}

impl EncodedFixed {
    /// Verifies all of a block: head and vectors.
    fn verified(
        bytes: &[u8],
        shape: Shape,
        coded: Coded,
        rows: usize,
        place: BlockPlace,
        store: &StoreId,
    ) -> Result<Self, Malformed> {
        let block = SealedBlock::parse(bytes, shape.kind(), rows, place, store)?;
        if block.bytes() != bytes.len() || block.head_bytes() != coded.head_bytes as usize {
            let what = "a block or its head is not as long as the index says";
            return Err(Malformed::new(place.offset, what));
        }
        check_codec(coded, block.block().tag(), place)?;
        for index in 0..block.block().pieces() {
            block.verify(index, &bytes[block.piece(index)])?;
        }
        Ok(Self { block, bytes: bytes.into() })
    }

    fn decode<T: Fixed>(
        &self,
        row: usize,
        scratch: &mut Scratch,
        mut values: &mut [T],
    ) -> Result<(), Malformed> {
        assert!(row + values.len() <= self.block.block().all_rows(), "a block has no such rows");
        if let [value] = values {
            let bytes = &self.bytes[self.block.vector(row / VECTOR)];
            *value = self.block.block().value(row, bytes, scratch)?;
            return Ok(());
        }
        let (block, mut row) = (self.block.block(), row);
        while !values.is_empty() {
            let (index, skipped) = (row / VECTOR, row % VECTOR);
            let (bytes, count) = (&self.bytes[self.block.vector(index)], block.rows(index));
            let (wanted, rest) = values.split_at_mut((count - skipped).min(values.len()));
            if wanted.len() == count {
                block.decode_vector(index, bytes, scratch, wanted)?;
            } else {
                // Vectors are decoded whole, also where they are not wanted whole.
                let mut whole = [T::ZERO; VECTOR];
                block.decode_vector(index, bytes, scratch, &mut whole[..count])?;
                wanted.copy_from_slice(&whole[skipped..][..wanted.len()]);
            }
            (row, values) = (row + wanted.len(), rest);
        }
        Ok(())
    }
}

impl EncodedBytes {
    /// Verifies what was read of a block that begins at `place` and has `len` bytes: all of it, or its head.
    fn verified(
        bytes: &[u8],
        coded: Coded,
        rows: usize,
        len: u64,
        place: BlockPlace,
        store: &StoreId,
    ) -> Result<Self, Malformed> {
        let head = bytes.len().saturating_sub(coded.head_bytes as usize);
        let block = SealedBytes::parse(&bytes[head..], rows, len, place, store)?;
        check_codec(coded, block.block().tag(), place)?;
        let is_whole = bytes.len() as u64 == len;
        if is_whole {
            block.verify(&(0..head as u64), &bytes[..head])?;
        }
        Ok(Self { block, start: place.offset, bytes: is_whole.then(|| bytes.into()) })
    }

    pub(crate) fn head(&self) -> &BytesBlock {
        self.block.block()
    }
}

/// That a block is encoded as the index says.
fn check_codec(coded: Coded, tag: u8, place: BlockPlace) -> Result<(), Malformed> {
    if coded.codec == tag {
        return Ok(());
    }
    let what = format!("a block has codec {tag}, the index says {}", coded.codec);
    Err(Malformed::new(place.offset, what))
}

impl Opened {
    /// Rows of a row group that the snapshot sees.
    pub(crate) fn rows_of(&self, group: usize) -> Range<u64> {
        let rows = self.directory.rows_of(group);
        rows.start..rows.end.min(self.segment.rows.end)
    }

    /// The row groups that hold these rows of it.
    pub(crate) fn groups(&self, rows: &Range<u64>) -> Range<usize> {
        if rows.is_empty() {
            return 0..0;
        }
        self.directory.group_of(rows.start)..self.directory.group_of(rows.end - 1) + 1
    }

    pub(crate) fn home<'a, D: Disk>(&self, holdings: &'a Holdings<D>) -> Home<'a> {
        home(holdings, self.segment.sealed.number)
    }
}

fn home<D: Disk>(holdings: &Holdings<D>, segment: u64) -> Home<'_> {
    Home { segment, store: &holdings.shared.id, schema: &holdings.shared.schema }
}

impl<D: Disk> Holdings<D> {
    /// The file of a sealed segment.
    pub(crate) async fn sealed_handle(&self, segment: &SealedSegment) -> Result<Arc<Handle<D::File>>> {
        let path = || segment.path(&self.shared.dir);
        let sealed = &segment.sealed;
        self.opened((sealed.number, None), path, sealed.bytes, Some(sealed)).await
    }

    /// A sealed segment with its directory.
    pub(crate) async fn open_sealed(&self, segment: SealedSegment) -> Result<Arc<Opened>> {
        let sealed = &segment.sealed;
        let key = Key::Directory { segment: sealed.number };
        if let Some(Entry::Directory(directory)) = self.kept(key) {
            return Ok(Arc::new(Opened { segment, directory }));
        }
        let sheet = self.directory_sheet(&segment).await?;
        let directory = Directory::named(&sheet, home(self, sealed.number), sealed);
        let directory = directory.map_err(|malformed| malformed.at(&segment.path(&self.shared.dir)))?;
        let directory = Arc::new(directory);
        self.put(key, Entry::Directory(Arc::clone(&directory)));
        Ok(Arc::new(Opened { segment, directory }))
    }

    /// The bytes of a sealed segment's directory, as they are.
    pub(crate) async fn directory_sheet(&self, segment: &SealedSegment) -> Result<Vec<u8>> {
        let sealed = &segment.sealed;
        let rows = sealed.first_row..sealed.first_row + sealed.rows;
        let len = directory_bytes(&rows, &self.shared.schema).filter(|len| *len <= sealed.bytes);
        let Some(len) = len else {
            let path = segment.path(&self.shared.dir);
            return Err(Error::corrupt(&path, 0, "the manifest names a file too short for its directory"));
        };
        self.bytes(segment, sealed.bytes - len..sealed.bytes).await
    }

    /// The entries of one of its streams.
    pub(crate) async fn entries(&self, opened: &Opened, file: usize) -> Result<Arc<Entries>> {
        let number = opened.segment.sealed.number;
        let key = Key::Entries { segment: number, file };
        if let Some(Entry::Entries(entries)) = self.kept(key) {
            return Ok(entries);
        }
        let handle = self.sealed_handle(&opened.segment).await?;
        let schema = &self.shared.schema;
        let bytes = read_bytes(&handle, opened.directory.entries(file, schema), <[u8]>::to_vec).await?;
        let entries = Entries::decode(bytes, &opened.directory, file, schema);
        let entries = Arc::new(entries.map_err(|malformed| malformed.at(handle.path()))?);
        self.put(key, Entry::Entries(Arc::clone(&entries)));
        Ok(entries)
    }

    /// Bytes of the file, as they are.
    pub(crate) async fn bytes(&self, segment: &SealedSegment, range: Range<u64>) -> Result<Vec<u8>> {
        read_bytes(&*self.sealed_handle(segment).await?, range, <[u8]>::to_vec).await
    }

    /// A block that is kept.
    pub(crate) fn kept_block(&self, opened: &Opened, file: usize, group: usize) -> Option<Arc<Encoded>> {
        let key = Key::Block { segment: opened.segment.sealed.number, file, group };
        match self.kept(key) {
            Some(Entry::Block(block)) => Some(block),
            _ => None,
        }
    }

    /// The block of a stream's row group, which there is.
    pub(crate) async fn block(
        &self,
        opened: &Opened,
        entries: &Entries,
        file: usize,
        group: usize,
    ) -> Result<Arc<Encoded>> {
        if let Some(block) = self.kept_block(opened, file, group) {
            return Ok(block);
        }
        let handle = self.sealed_handle(&opened.segment).await?;
        let verify = |bytes: &[u8]| self.verified(opened, entries, group, bytes);
        let block = read_bytes(&handle, kept(entries, group), verify).await??;
        self.keep_block(opened, file, group, &block);
        Ok(block)
    }

    /// Keeps a verified block.
    pub(crate) fn keep_block(&self, opened: &Opened, file: usize, group: usize, block: &Arc<Encoded>) {
        let key = Key::Block { segment: opened.segment.sealed.number, file, group };
        self.put(key, Entry::Block(Arc::clone(block)));
    }

    /// The block that these bytes are, if they are.
    pub(crate) fn verified(
        &self,
        opened: &Opened,
        entries: &Entries,
        group: usize,
        bytes: &[u8],
    ) -> Result<Arc<Encoded>> {
        let segment = opened.segment.sealed.number;
        let rows = opened.directory.rows_of(group);
        let rows = usize::try_from(rows.end - rows.start).unwrap_or(usize::MAX);
        let range = entries.block(group);
        let place = BlockPlace { segment, offset: range.start };
        let Home { store, .. } = opened.home(self);
        let encoded = match (entries.shape(), entries.get(group).block) {
            (_, None) => {
                Err(Malformed::new(range.start, "the index has no block here, and there must be one"))
            }
            (Shape::Bytes(_), Some(coded)) => {
                let len = range.end - range.start;
                EncodedBytes::verified(bytes, coded, rows, len, place, store).map(Encoded::Bytes)
            }
            (shape, Some(coded)) => {
                EncodedFixed::verified(bytes, shape, coded, rows, place, store).map(Encoded::Fixed)
            }
        };
        encoded.map(Arc::new).map_err(|malformed| malformed.at(&opened.segment.path(&self.shared.dir)))
    }
}

impl<D: Disk> Holdings<D> {
    /// Some of the vectors or frames of a block of bytes or text, from its start, verified.
    pub(crate) async fn pieces<'a>(
        &self,
        opened: &Opened,
        block: &'a EncodedBytes,
        range: &Range<u64>,
    ) -> Result<Cow<'a, [u8]>> {
        if let Some(bytes) = &block.bytes {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            return Ok(Cow::Borrowed(&bytes[place(range.start)..place(range.end)]));
        }
        if range.is_empty() {
            return Ok(Cow::Owned(Vec::new()));
        }
        let handle = self.sealed_handle(&opened.segment).await?;
        let of_file = block.start + range.start..block.start + range.end;
        let bytes = read_bytes(&handle, of_file, <[u8]>::to_vec).await?;
        block.block.verify(range, &bytes).map_err(|malformed| malformed.at(handle.path()))?;
        Ok(Cow::Owned(bytes))
    }
}

/// The pages that hold these bytes.
pub(crate) fn pages(range: &Range<u64>) -> Range<u64> {
    let page = PAGE as u64;
    range.start / page * page..range.end.next_multiple_of(page)
}

/// What `take` makes of bytes of a file that was opened to hold them: where one read brings them all, it sees them where
/// that put them.
async fn read_bytes<F: File, T>(
    handle: &Handle<F>,
    range: Range<u64>,
    take: impl FnOnce(&[u8]) -> T,
) -> Result<T> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let pages = pages(&range);
    let wanted = place(range.start - pages.start)..place(range.end - pages.start);
    let len = place(pages.end - pages.start);
    if (1..=TRANSFER_BYTES_MAX).contains(&len) {
        return Ok(take(&handle.read(pages.start, len).await?[wanted]));
    }
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let part = (len - bytes.len()).min(TRANSFER_BYTES_MAX);
        bytes.extend_from_slice(&handle.read(pages.start + bytes.len() as u64, part).await?);
    }
    Ok(take(&bytes[wanted]))
}

/// One read on its way, of at most 1 MiB, and whose it is. It borrows nothing: a scan keeps some between its batches.
#[must_use = "nothing is read before it is polled"]
pub(crate) struct Reading<F: File, T> {
    read: ReadExact<F, Arc<F>>,
    handle: Arc<Handle<F>>,
    range: Range<u64>,
    /// Taken when it is ready.
    whose: Option<T>,
}

/// What a read brought: the bytes from the start of its first page on.
pub(crate) struct Brought<F: File, T> {
    pub(crate) start: u64,
    pub(crate) whose: T,
    pub(crate) bytes: Result<Exact<F::Bytes>>,
}

impl<F: File, T> Reading<F, T> {
    /// Of the pages that hold these bytes.
    pub(crate) fn new(handle: Arc<Handle<F>>, range: &Range<u64>, whose: T) -> Self {
        let range = pages(range);
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let read = read_exact(Arc::clone(handle.file()), range.start, len);
        Self { read, handle, range, whose: Some(whose) }
    }
}

impl<F: File, T: Unpin> Future for Reading<F, T> {
    type Output = Brought<F, T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let read = ready!(Pin::new(&mut this.read).poll(context));
        let Some(whose) = this.whose.take() else { unreachable!("it was ready before") };
        let start = this.range.start;
        let bytes = read.map_err(|error| refused("read", this.handle.path(), start, error));
        Poll::Ready(Brought { start, whose, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Tier;
    use crate::format::block;
    use crate::schema::Kind;

    #[test]
    fn a_block_that_is_not_as_the_index_says_is_refused() {
        let (place, store, values) = (BlockPlace { segment: 1, offset: 8192 }, [7; 16], [3_u64, 1, 4]);
        let bytes = block::encode(&values, Tier::Fast, place, &store);
        let sealed = SealedBlock::parse(&bytes, Kind::U64, 3, place, &store).unwrap();
        let true_one =
            Coded { head_bytes: u32::try_from(sealed.head_bytes()).unwrap(), codec: sealed.block().tag() };
        let shape = Shape::Numbers(Kind::U64);
        let verified = |coded| EncodedFixed::verified(&bytes, shape, coded, 3, place, &store);
        assert!(verified(true_one).is_ok());
        let others = [
            Coded { codec: true_one.codec + 1, ..true_one },
            Coded { codec: 0, ..true_one },
            Coded { head_bytes: true_one.head_bytes - 1, ..true_one },
        ];
        for other in others {
            let refused = verified(other).expect_err("the index says something else");
            assert_eq!(refused.offset, 8192, "{}", refused.what);
        }
    }
}
