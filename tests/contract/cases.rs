//! What every disk does.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::pin::pin;

use futures::future::join_all;
use futures::{join, poll};
use tidelog::disk::{Disk, File, Mode, PAGE, TRANSFER_BYTES_MAX, read_exact, write_all};

/// A disk that can be asked not to wait for another writer.
pub(crate) trait Tested: Disk {
    fn impatient(&self) -> Self;
}

pub(crate) async fn lock<D: Disk>(disk: &D, directory: &Path) -> D::Lock {
    disk.lock(&directory.join("LOCK")).await.unwrap()
}

pub(crate) fn kind_of<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().unwrap().kind()
}

/// `count` pages, each filled with a byte of its own, from `first` on.
pub(crate) fn pages(first: usize, count: usize) -> Vec<u8> {
    (first..first + count).flat_map(|page| [u8::try_from(page % 251 + 1).unwrap(); PAGE]).collect()
}

pub(crate) async fn write<F: File>(file: &F, offset: usize, bytes: &[u8]) {
    for (index, piece) in bytes.chunks(TRANSFER_BYTES_MAX).enumerate() {
        let mut buffer = file.buffer(piece.len());
        buffer.copy_from_slice(piece);
        write_all(file, (offset + index * TRANSFER_BYTES_MAX) as u64, buffer).await.unwrap();
    }
}

pub(crate) async fn read<F: File>(file: &F, offset: usize, len: usize) -> Vec<u8> {
    read_exact(file, offset as u64, len).await.unwrap().to_vec()
}

/// Everything up to the end of the file, however short the reads.
pub(crate) async fn contents<F: File>(file: &F) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let kept = all.len() / PAGE * PAGE;
        let bytes = file.read_at(kept as u64, 16 * PAGE).await.unwrap();
        if kept + bytes.len() <= all.len() {
            return all;
        }
        all.truncate(kept);
        all.extend_from_slice(&bytes);
    }
}

pub(crate) async fn each_mode_wants_what_it_says<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    for mode in [Mode::Read, Mode::Write(&lock), Mode::WriteDurable(&lock)] {
        assert_eq!(kind_of(disk.open(&path, mode).await), io::ErrorKind::NotFound);
    }
    let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
    write(&file, 0, &pages(0, 2)).await;
    file.close().await.unwrap();
    let again = disk.open(&path, Mode::CreateNew(&lock)).await;
    assert_eq!(kind_of(again), io::ErrorKind::AlreadyExists);
    for mode in [Mode::Read, Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
        let file = disk.open(&path, mode).await.unwrap();
        assert_eq!((file.len().await.unwrap(), contents(&file).await), (2 * PAGE as u64, pages(0, 2)));
        file.close().await.unwrap();
    }
    let made = disk.open(&directory.join("made"), Mode::Create(&lock)).await.unwrap();
    assert_eq!(made.len().await.unwrap(), 0);
    for mode in [Mode::Read, Mode::Create(&lock), Mode::CreateNew(&lock)] {
        let nowhere = disk.open(&directory.join("absent").join("file"), mode).await;
        assert_eq!(kind_of(nowhere), io::ErrorKind::NotFound);
    }
}

pub(crate) async fn a_directory_is_not_a_file<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("inner"));
    disk.create_dir(&path).await.unwrap();
    for mode in [Mode::Read, Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
        assert!(disk.open(&path, mode).await.is_err());
    }
    assert_eq!(kind_of(disk.open(&path, Mode::CreateNew(&lock)).await), io::ErrorKind::AlreadyExists);
    assert!(disk.lock(&path).await.is_err());
    assert!(disk.remove(&path).await.is_err());
    assert_eq!(disk.list(&path).await.unwrap().len(), 0);
}

pub(crate) async fn buffers_are_zeroed<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    for _ in 0..4 {
        let dirty: Vec<_> = (0..8)
            .map(|power| {
                let mut buffer = file.buffer(PAGE << power);
                assert_eq!(buffer.len(), PAGE << power);
                assert!(buffer.iter().all(|byte| *byte == 0));
                buffer.fill(0xAA);
                buffer
            })
            .collect();
        drop(dirty);
        // What was read lies in the same memory.
        write(&file, 0, &pages(0, 4)).await;
        drop(file.read_at(0, 4 * PAGE).await.unwrap());
    }
}

pub(crate) async fn what_was_written_reads_back<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    for (number, count) in [1, 2, 3, 16, 255, 256].into_iter().enumerate() {
        let path = directory.join(number.to_string());
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(number, count)).await;
        write(&file, PAGE * (count / 2), &pages(100, 1)).await;
        let mut expected = pages(number, count);
        expected[PAGE * (count / 2)..][..PAGE].copy_from_slice(&pages(100, 1));
        assert_eq!(read(&file, 0, count * PAGE).await, expected);
        assert_eq!(read(&file, PAGE * (count - 1), PAGE).await, expected[PAGE * (count - 1)..]);
        file.close().await.unwrap();
        for mode in [Mode::Read, Mode::WriteDurable(&lock)] {
            let file = disk.open(&path, mode).await.unwrap();
            assert_eq!(read(&file, 0, count * PAGE).await, expected);
            file.close().await.unwrap();
        }
    }
    let durable = disk.open(&directory.join("0"), Mode::WriteDurable(&lock)).await.unwrap();
    write(&durable, 0, &pages(7, 2)).await;
    assert_eq!(contents(&durable).await, pages(7, 2));
}

pub(crate) async fn a_write_returns_its_buffer_as_it_was<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    let mut buffer = file.buffer(4 * PAGE);
    buffer.copy_from_slice(&pages(0, 4));
    for round in 0..20 {
        let (count, returned) = file.write_at(round * 4 * PAGE as u64, buffer).await.unwrap();
        assert!(count <= 4 * PAGE);
        assert_eq!(&*returned, pages(0, 4));
        buffer = returned;
    }
}

pub(crate) async fn reads_end_with_the_file<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    assert_eq!(file.read_at(0, PAGE).await.unwrap().len(), 0);
    write(&file, 0, &pages(0, 3)).await;
    let reader = disk.open(&path, Mode::Read).await.unwrap();
    for file in [&file, &reader] {
        assert_eq!(contents(file).await, pages(0, 3));
        let over = file.read_at(2 * PAGE as u64, 8 * PAGE).await.unwrap();
        assert!(over.len() <= PAGE && pages(2, 1).starts_with(&over));
        for beyond in [3, 4, 1000] {
            assert_eq!(file.read_at(beyond * PAGE as u64, TRANSFER_BYTES_MAX).await.unwrap().len(), 0);
        }
        assert_eq!(kind_of(read_exact(file, 0, 4 * PAGE).await), io::ErrorKind::UnexpectedEof);
    }
}

pub(crate) async fn a_write_past_the_end_leaves_zeros_between<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    write(&file, 0, &pages(0, 1)).await;
    write(&file, 9 * PAGE, &pages(9, 1)).await;
    assert_eq!(file.len().await.unwrap(), 10 * PAGE as u64);
    let expected = [pages(0, 1), vec![0; 8 * PAGE], pages(9, 1)].concat();
    assert_eq!(contents(&file).await, expected);
}

pub(crate) async fn growing_gives_zeros_and_never_shrinks<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    file.grow(0).await.unwrap();
    assert_eq!(file.len().await.unwrap(), 0);
    write(&file, 0, &pages(0, 2)).await;
    for (len, expected) in [(5, 5), (3, 5), (0, 5), (5, 5), (600, 600)] {
        file.grow(len * PAGE as u64).await.unwrap();
        assert_eq!(file.len().await.unwrap(), expected * PAGE as u64);
    }
    write(&file, 4 * PAGE, &pages(4, 1)).await;
    let expected = [pages(0, 2), vec![0; 2 * PAGE], pages(4, 1), vec![0; 595 * PAGE]].concat();
    assert_eq!(contents(&file).await, expected);
}

pub(crate) async fn requests_of_one_file_may_be_in_flight_together<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    let old = pages(0, 64);
    write(&file, 0, &old).await;
    let new = pages(100, 64);
    let writes = (0..64).step_by(2).map(|page| write(&file, page * PAGE, &new[page * PAGE..][..PAGE]));
    let reads = (1..64).step_by(2).map(|page| read(&file, page * PAGE, PAGE));
    let (_, reads) = join!(join_all(writes), join_all(reads));
    for (index, bytes) in reads.into_iter().enumerate() {
        assert_eq!(bytes, old[(2 * index + 1) * PAGE..][..PAGE]);
    }
    for page in 0..64 {
        let expected = if page % 2 == 0 { &new } else { &old };
        assert_eq!(read(&file, page * PAGE, PAGE).await, expected[page * PAGE..][..PAGE]);
    }
}

pub(crate) async fn readers_see_what_writers_write<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let writer = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    let readers = [disk.open(&path, Mode::Read).await.unwrap(), disk.open(&path, Mode::Read).await.unwrap()];
    for round in 0..10 {
        write(&writer, round * PAGE, &pages(round, 1)).await;
        for reader in &readers {
            assert_eq!(contents(reader).await, pages(0, round + 1));
            assert_eq!(reader.len().await.unwrap(), ((round + 1) * PAGE) as u64);
        }
    }
}

pub(crate) async fn a_rename_replaces_the_name_and_not_the_open_file<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let (old, new) = (directory.join("old"), directory.join("new"));
    let first = disk.open(&old, Mode::CreateNew(&lock)).await.unwrap();
    write(&first, 0, &pages(0, 1)).await;
    let second = disk.open(&new, Mode::CreateNew(&lock)).await.unwrap();
    write(&second, 0, &pages(10, 2)).await;
    disk.rename(&old, &new).await.unwrap();
    assert_eq!(kind_of(disk.open(&old, Mode::Read).await), io::ErrorKind::NotFound);
    assert_eq!(kind_of(disk.rename(&old, &new).await), io::ErrorKind::NotFound);
    let third = disk.open(&old, Mode::CreateNew(&lock)).await.unwrap();
    write(&third, 0, &pages(20, 3)).await;
    // Each handle is still its own file's, whatever became of the names.
    for (file, first, count) in [(&first, 0, 1), (&second, 10, 2), (&third, 20, 3)] {
        assert_eq!(file.len().await.unwrap(), (count * PAGE) as u64);
        assert_eq!(contents(file).await, pages(first, count));
    }
    let named = disk.open(&new, Mode::Read).await.unwrap();
    assert_eq!(contents(&named).await, pages(0, 1));
}

pub(crate) async fn a_removed_file_lives_on_in_its_handles<D: Tested>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    write(&file, 0, &pages(0, 2)).await;
    disk.remove(&path).await.unwrap();
    assert_eq!(kind_of(disk.remove(&path).await), io::ErrorKind::NotFound);
    assert_eq!(kind_of(disk.open(&path, Mode::Read).await), io::ErrorKind::NotFound);
    write(&file, PAGE, &pages(5, 1)).await;
    assert_eq!(contents(&file).await, [pages(0, 1), pages(5, 1)].concat());
    // The old file's lock does not hinder a new one of that name.
    let new = disk.impatient().open(&path, Mode::CreateNew(&lock)).await.unwrap();
    assert_eq!(new.len().await.unwrap(), 0);
    file.close().await.unwrap();
}

pub(crate) async fn directories_are_made_and_listed<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let inner = directory.join("inner");
    disk.create_dir(&inner).await.unwrap();
    assert_eq!(kind_of(disk.create_dir(&inner).await), io::ErrorKind::AlreadyExists);
    let beyond = inner.join("absent").join("deeper");
    assert_eq!(kind_of(disk.create_dir(&beyond).await), io::ErrorKind::NotFound);
    assert_eq!(kind_of(disk.list(&beyond).await), io::ErrorKind::NotFound);
    let names = ["a", "b", "manifest-00000001.tmp-1", "ä ö"];
    for name in names {
        disk.open(&inner.join(name), Mode::CreateNew(&lock)).await.unwrap().close().await.unwrap();
    }
    let listed: BTreeSet<_> = disk.list(&inner).await.unwrap().into_iter().collect();
    assert_eq!(listed, names.into_iter().map(Into::into).collect());
    disk.rename(&inner.join("a"), &directory.join("moved")).await.unwrap();
    disk.remove(&inner.join("b")).await.unwrap();
    assert_eq!(disk.list(&inner).await.unwrap().len(), 2);
    let outer: BTreeSet<_> = disk.list(directory).await.unwrap().into_iter().collect();
    assert_eq!(outer, ["LOCK", "inner", "moved"].into_iter().map(Into::into).collect());
}

pub(crate) async fn files_and_directories_are_synced<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let mut files = Vec::new();
    for number in 0..8 {
        let file = disk.open(&directory.join(number.to_string()), Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(number, 3)).await;
        files.push(file);
    }
    // A reader's handle syncs what others wrote through theirs.
    files.push(disk.open(&directory.join("0"), Mode::Read).await.unwrap());
    disk.sync_files(&[]).await.unwrap();
    disk.sync_files(&[&files[0]]).await.unwrap();
    disk.sync_files(&files.iter().collect::<Vec<_>>()).await.unwrap();
    disk.sync_dir(directory).await.unwrap();
    assert_eq!(kind_of(disk.sync_dir(&directory.join("absent")).await), io::ErrorKind::NotFound);
    assert!(disk.sync_dir(&directory.join("0")).await.is_err());
}

pub(crate) async fn a_lock_is_held_until_its_last_clone_goes<D: Disk>(disk: &D, directory: &Path) {
    let path = directory.join("LOCK");
    let lock = disk.lock(&path).await.unwrap();
    let clone = lock.clone();
    assert_eq!(kind_of(disk.lock(&path).await), io::ErrorKind::WouldBlock);
    let other = disk.lock(&directory.join("another")).await.unwrap();
    drop(lock);
    assert_eq!(kind_of(disk.lock(&path).await), io::ErrorKind::WouldBlock);
    drop(clone);
    let lock = disk.lock(&path).await.unwrap();
    drop(other);
    assert_eq!(kind_of(disk.lock(&path).await), io::ErrorKind::WouldBlock);
    drop(lock);
    assert_eq!(disk.open(&path, Mode::Read).await.unwrap().len().await.unwrap(), 0);
}

pub(crate) async fn a_file_that_can_be_written_holds_the_lock<D: Disk>(disk: &D, directory: &Path) {
    let (lock_path, path) = (directory.join("LOCK"), directory.join("file"));
    let lock = disk.lock(&lock_path).await.unwrap();
    let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    write(&file, 0, &pages(0, 1)).await;
    let reader = disk.open(&path, Mode::Read).await.unwrap();
    drop(lock);
    assert_eq!(kind_of(disk.lock(&lock_path).await), io::ErrorKind::WouldBlock);
    file.close().await.unwrap();
    let lock = disk.lock(&lock_path).await.unwrap();
    let dropped = disk.open(&path, Mode::Write(&lock)).await.unwrap();
    drop(lock);
    assert_eq!(kind_of(disk.lock(&lock_path).await), io::ErrorKind::WouldBlock);
    drop(dropped);
    disk.lock(&lock_path).await.unwrap();
    assert_eq!(contents(&reader).await, pages(0, 1));
}

pub(crate) async fn one_handle_at_a_time_writes_a_file<D: Tested>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let file = disk.open(&path, Mode::Create(&lock)).await.unwrap();
    write(&file, 0, &pages(0, 1)).await;
    for mode in [Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
        assert_eq!(kind_of(disk.impatient().open(&path, mode).await), io::ErrorKind::WouldBlock);
    }
    assert_eq!(contents(&disk.open(&path, Mode::Read).await.unwrap()).await, pages(0, 1));
    disk.sync_files(&[&file]).await.unwrap();
    file.close().await.unwrap();
    // A request that has completed may hold the description for some instants more: the patient one.
    let file = disk.open(&path, Mode::WriteDurable(&lock)).await.unwrap();
    assert_eq!(kind_of(disk.impatient().open(&path, Mode::Write(&lock)).await), io::ErrorKind::WouldBlock);
    drop(file);
    disk.open(&path, Mode::Write(&lock)).await.unwrap();
}

pub(crate) async fn a_dropped_write_has_happened_or_not_sector_by_sector<D: Disk>(
    disk: &D,
    directory: &Path,
) {
    let (lock_path, path) = (directory.join("LOCK"), directory.join("file"));
    for round in 0..8 {
        let lock = disk.lock(&lock_path).await.unwrap();
        let file = disk.open(&path, Mode::Create(&lock)).await.unwrap();
        let (old, new) = (pages(round, 8), pages(round + 100, 8));
        write(&file, 0, &old).await;
        {
            let mut buffer = file.buffer(8 * PAGE);
            buffer.copy_from_slice(&new);
            // Dropped behind its first poll, if that is not its last one.
            let _ = poll!(pin!(file.write_at(0, buffer)));
        }
        if round % 2 == 0 {
            file.close().await.unwrap();
        } else {
            drop(file);
        }
        // Free, or still held by what is on its way: opening the file waits for that.
        let file = disk.open(&path, Mode::Write(&lock)).await.unwrap();
        let found = contents(&file).await;
        assert_eq!(found.len(), 8 * PAGE);
        // A short write may end within a page, as that of a full disk does, but not within a sector.
        for (sector, found) in found.chunks(512).enumerate() {
            let range = sector * 512..(sector + 1) * 512;
            assert!(found == &old[range.clone()] || found == &new[range], "sector {sector} is a mixture");
        }
        // From here on nothing of it comes late.
        write(&file, 0, &pages(200, 8)).await;
        disk.sync_files(&[&file]).await.unwrap();
        assert_eq!(contents(&file).await, pages(200, 8));
        drop(lock);
        file.close().await.unwrap();
    }
}

pub(crate) async fn a_dropped_open_leaves_nothing_behind<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    disk.open(&path, Mode::CreateNew(&lock)).await.unwrap().close().await.unwrap();
    for _ in 0..8 {
        let _ = poll!(pin!(disk.open(&path, Mode::Write(&lock))));
        let _ = poll!(pin!(disk.open(&path, Mode::Read)));
        disk.open(&path, Mode::WriteDurable(&lock)).await.unwrap().close().await.unwrap();
    }
}

/// Somebody who gives up a writer, and opens the store again at once, must not be overtaken by its past.
pub(crate) async fn a_dropped_change_of_names_happens_before_the_lock_is_free_or_never<D: Disk>(
    disk: &D,
    directory: &Path,
) {
    let lock_path = directory.join("LOCK");
    let mut lock = disk.lock(&lock_path).await.unwrap();
    for round in 0..6 {
        let name = |what: &str| directory.join(format!("{what}-{round}"));
        for file in ["renamed", "removed"] {
            disk.open(&name(file), Mode::CreateNew(&lock)).await.unwrap().close().await.unwrap();
        }
        let _ = poll!(pin!(disk.rename(&name("renamed"), &name("new"))));
        let _ = poll!(pin!(disk.remove(&name("removed"))));
        let _ = poll!(pin!(disk.create_dir(&name("made"))));
        drop(lock);
        lock = loop {
            match disk.lock(&lock_path).await {
                Ok(lock) => break lock,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        };
        let names: BTreeSet<_> = disk.list(directory).await.unwrap().into_iter().collect();
        for _ in 0..4 {
            disk.sync_dir(directory).await.unwrap();
            let later: BTreeSet<_> = disk.list(directory).await.unwrap().into_iter().collect();
            assert_eq!(later, names);
        }
    }
}

pub(crate) async fn ids_differ_and_files_may_be_opened<D: Disk>(disk: &D, _: &Path) {
    let ids: BTreeSet<[u8; 16]> = (0..100).map(|_| disk.unique_id().unwrap()).collect();
    assert_eq!(ids.len(), 100);
    assert!(disk.open_files_max().unwrap() >= 16);
}
