//! What only a kernel has: descriptors and their flags, other kinds of files, locks that other programs see, file
//! systems that lack something.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::mpsc;

use futures::executor::block_on;
use futures::{join, poll};
use nix::libc::{O_CLOEXEC, O_DIRECT, O_DSYNC};
use tidelog::disk::{Disk, File, Glommio, Mode, PAGE, Posix, is_full};

use crate::cases::{Tested, contents, kind_of, lock, pages, write};
use crate::hooked::{Descriptor, descriptors};
use crate::mounted::Mounted;
use crate::{Need, directory_in_memory, directory_on_disk, skips};

/// On both disks, on a disk and in memory.
macro_rules! on_real_disks {
    ($($case:ident,)*) => {
        mod posix {
            $(#[test] fn $case() {
                crate::on_posix(&crate::directory_on_disk(), super::$case);
                if let Some(directory) = crate::directory_in_memory() {
                    crate::on_posix(&directory, super::$case);
                }
            })*
        }

        mod glommio {
            $(#[test] fn $case() {
                crate::on_glommio(&crate::directory_on_disk(), super::$case);
                if let Some(directory) = crate::directory_in_memory() {
                    crate::on_glommio(&directory, super::$case);
                }
            })*
        }
    };
}

on_real_disks! {
    only_regular_files_are_opened,
    buffers_begin_at_pages,
    other_programs_see_the_locks,
    a_file_of_a_foreign_length_is_read_to_its_last_byte,
    descriptors_are_closed,
    only_handles_for_writing_write,
}

async fn only_regular_files_are_opened<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    fs::write(directory.join("target"), pages(0, 1)).unwrap();
    symlink("target", directory.join("link")).unwrap();
    symlink("nowhere", directory.join("dangling")).unwrap();
    symlink("/dev/null", directory.join("null")).unwrap();
    // Nobody has it open at its other end: an open that is not careful waits for ever.
    nix::unistd::mkfifo(&directory.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap());
    for name in ["link", "dangling", "null", "fifo", "socket"] {
        let path = directory.join(name);
        for mode in [Mode::Read, Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
            let error = disk.open(&path, mode).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}: {error}");
            assert!(error.to_string().contains("not a regular file"), "{name}: {error}");
        }
        let new = disk.open(&path, Mode::CreateNew(&lock)).await;
        assert_eq!(kind_of(new), io::ErrorKind::AlreadyExists, "{name}");
        assert!(disk.lock(&path).await.is_err(), "{name}");
    }
    assert!(!directory.join("nowhere").exists());
    assert_eq!(fs::read(directory.join("target")).unwrap(), pages(0, 1));
}

async fn buffers_begin_at_pages<D: Disk>(disk: &D, directory: &Path) {
    let lock = lock(disk, directory).await;
    let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
    let buffers: Vec<_> = (1..40).map(|pages| file.buffer(pages * PAGE)).collect();
    assert!(buffers.iter().all(|buffer| buffer.as_ptr().addr().is_multiple_of(PAGE)));
}

fn is_locked(path: &Path) -> bool {
    fs::File::open(path).unwrap().try_lock().is_err()
}

/// Free, as soon as no child that another test forks meanwhile is between its fork and its exec: until then it
/// holds copies of all descriptors.
fn becomes_free(path: &Path) {
    let freed = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        !is_locked(path)
    });
    assert!(freed, "{} stays locked", path.display());
}

async fn other_programs_see_the_locks<D: Disk>(disk: &D, directory: &Path) {
    let (lock_path, path) = (directory.join("LOCK"), directory.join("file"));
    let lock = disk.lock(&lock_path).await.unwrap();
    assert!(is_locked(&lock_path));
    for mode in [Mode::CreateNew(&lock), Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
        let file = disk.open(&path, mode).await.unwrap();
        assert!(is_locked(&path));
        file.close().await.unwrap();
        becomes_free(&path);
    }
    let reader = disk.open(&path, Mode::Read).await.unwrap();
    becomes_free(&path);
    drop(disk.open(&path, Mode::Write(&lock)).await.unwrap());
    becomes_free(&path);
    drop((reader, lock));
    becomes_free(&lock_path);
    assert_eq!(fs::metadata(&lock_path).unwrap().len(), 0);
}

/// What glommio's own reads get wrong.
async fn a_file_of_a_foreign_length_is_read_to_its_last_byte<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let bytes = pages(0, 3);
    for len in [1, 511, 512, 1000, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 1000] {
        fs::write(&path, &bytes[..len]).unwrap();
        for mode in [Mode::Read, Mode::Write(&lock)] {
            let file = disk.open(&path, mode).await.unwrap();
            assert_eq!(file.len().await.unwrap(), len as u64);
            assert_eq!(contents(&file).await, bytes[..len]);
            assert_eq!(file.read_at(4 * PAGE as u64, PAGE).await.unwrap().len(), 0);
            file.close().await.unwrap();
        }
        let file = disk.open(&path, Mode::Write(&lock)).await.unwrap();
        file.grow(4 * PAGE as u64).await.unwrap();
        assert_eq!(contents(&file).await, [&bytes[..len], &vec![0; 4 * PAGE - len]].concat());
        file.close().await.unwrap();
    }
}

async fn descriptors_are_closed<D: Tested>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
    write(&file, 0, &pages(0, 1)).await;
    assert_eq!(descriptors(&path).unwrap().len(), 1);
    let readers = [disk.open(&path, Mode::Read).await.unwrap(), disk.open(&path, Mode::Read).await.unwrap()];
    assert_eq!(descriptors(&path).unwrap().len(), 3);
    for reader in readers {
        contents(&reader).await;
        reader.close().await.unwrap();
    }
    assert_eq!(descriptors(&path).unwrap().len(), 1);
    drop(file);
    assert_eq!(descriptors(&path).unwrap().len(), 0);
    // An open that fails, before the kernel's own and behind it.
    assert_eq!(kind_of(disk.open(&path, Mode::CreateNew(&lock)).await), io::ErrorKind::AlreadyExists);
    let holder = fs::File::open(&path).unwrap();
    holder.lock().unwrap();
    let refused = disk.impatient().open(&path, Mode::Write(&lock)).await;
    assert_eq!(kind_of(refused), io::ErrorKind::WouldBlock);
    drop(holder);
    assert_eq!(descriptors(&path).unwrap().len(), 0);
}

async fn only_handles_for_writing_write<D: Disk>(disk: &D, directory: &Path) {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    disk.open(&path, Mode::CreateNew(&lock)).await.unwrap().close().await.unwrap();
    let reader = disk.open(&path, Mode::Read).await.unwrap();
    assert!(reader.write_at(0, reader.buffer(PAGE)).await.is_err());
    assert!(reader.grow(PAGE as u64).await.is_err());
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

/// The flags of the one descriptor that each mode gives.
async fn flags_of_each_mode<D: Disk>(disk: &D, directory: &Path) -> Vec<i32> {
    let (lock, path) = (lock(disk, directory).await, directory.join("file"));
    let mut flags = Vec::new();
    for mode in [
        Mode::CreateNew(&lock),
        Mode::Create(&lock),
        Mode::Write(&lock),
        Mode::WriteDurable(&lock),
        Mode::Read,
    ] {
        let file = disk.open(&path, mode).await.unwrap();
        let [Descriptor { flags: its, .. }] = descriptors(&path).unwrap()[..] else { panic!("not one") };
        flags.push(its);
        file.close().await.unwrap();
    }
    flags
}

fn check_flags(flags: &[i32], direct: bool) {
    for (index, flags) in flags.iter().enumerate() {
        assert_eq!(flags & O_DIRECT != 0, direct, "mode {index}: {flags:o}");
        assert_eq!(flags & O_DSYNC != 0, index == 3, "mode {index}: {flags:o}");
        assert!(flags & O_CLOEXEC != 0, "mode {index}: {flags:o}");
    }
}

#[test]
fn handles_are_direct_on_a_disk_and_durable_where_asked() {
    let flags = block_on(flags_of_each_mode(&Posix::default(), directory_on_disk().path()));
    check_flags(&flags, true);
    if !skips(&[Need::IoUring]) {
        let directory = directory_on_disk();
        check_flags(&Glommio::run(flags_of_each_mode(&Glommio::default(), directory.path())).unwrap(), true);
    }
}

#[test]
fn handles_are_direct_all_or_none_in_memory() {
    let Some(directory) = directory_in_memory() else { return };
    let flags = block_on(flags_of_each_mode(&Posix::default(), directory.path()));
    check_flags(&flags, flags[0] & O_DIRECT != 0);
    let Some(directory) = directory_in_memory() else { return };
    if !skips(&[Need::IoUring]) {
        check_flags(&Glommio::run(flags_of_each_mode(&Glommio::default(), directory.path())).unwrap(), false);
    }
}

/// ramfs knows neither O_DIRECT nor fallocate.
#[test]
fn where_there_is_no_direct_io_posix_does_without_and_glommio_says_what_to_do() {
    let Some(mounted) = Mounted::without_device("ramfs", "mode=700") else { return };
    let disk = Posix::default();
    check_flags(&block_on(flags_of_each_mode(&disk, mounted.path())), false);
    block_on(async {
        let (lock, path) = (lock(&disk, mounted.path()).await, mounted.path().join("grown"));
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 1)).await;
        file.grow(700 * PAGE as u64).await.unwrap();
        assert_eq!(contents(&file).await, [pages(0, 1), vec![0; 699 * PAGE]].concat());
    });
    if skips(&[Need::IoUring]) {
        return;
    }
    let (disk, path) = (Glommio::default(), mounted.path().join("grown"));
    Glommio::run(async {
        let lock = lock(&disk, mounted.path()).await;
        for mode in [Mode::Read, Mode::Write(&lock), Mode::WriteDurable(&lock), Mode::Create(&lock)] {
            let error = disk.open(&path, mode).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("no direct I/O"), "{error}");
            assert!(error.to_string().contains("Posix"), "{error}");
        }
    })
    .unwrap();
}

/// ext2 has no fallocate that gives zeros: growing writes them.
#[test]
fn where_space_cannot_be_allocated_zeros_are_written() {
    let Some(mounted) = Mounted::in_image("ext2", 16 << 20) else { return };
    async fn case<D: Disk>(disk: &D, directory: &Path) {
        let (lock, path) = (lock(disk, directory).await, directory.join("file"));
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 3)).await;
        file.grow(700 * PAGE as u64).await.unwrap();
        assert_eq!(contents(&file).await, [pages(0, 3), vec![0; 697 * PAGE]].concat());
        disk.sync_files(&[&file]).await.unwrap();
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 700 * PAGE as u64);
        file.close().await.unwrap();
        disk.remove(&path).await.unwrap();
    }
    block_on(case(&Posix::default(), mounted.path()));
    if !skips(&[Need::IoUring]) {
        Glommio::run(case(&Glommio::default(), mounted.path())).unwrap();
    }
}

#[test]
fn a_full_file_system_is_an_error_that_says_so_and_leaves_the_bytes() {
    async fn case<D: Disk>(disk: &D, directory: &Path) {
        let lock = lock(disk, directory).await;
        let (path, other) = (directory.join("file"), directory.join("other"));
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 3)).await;
        let error = file.grow(1 << 30).await.unwrap_err();
        assert!(is_full(&error), "{error}");
        assert_eq!(contents(&file).await[..3 * PAGE], pages(0, 3));
        let file = disk.open(&other, Mode::CreateNew(&lock)).await.unwrap();
        let error = loop {
            // Until nothing is left; short writes may come first.
            let len = file.len().await.unwrap() / PAGE as u64 * PAGE as u64;
            match file.write_at(len, file.buffer(256 * PAGE)).await {
                Ok((count, _)) if count >= PAGE => {}
                Ok((count, _)) => break io::Error::other(format!("a write of {count} bytes")),
                Err(error) => break error,
            }
        };
        assert!(is_full(&error), "{error}");
        file.close().await.unwrap();
        disk.remove(&path).await.unwrap();
        disk.remove(&other).await.unwrap();
    }
    for mounted in [Mounted::without_device("tmpfs", "size=8m"), Mounted::in_image("ext4", 16 << 20)] {
        let Some(mounted) = mounted else { continue };
        block_on(case(&Posix::default(), mounted.path()));
        if !skips(&[Need::IoUring]) {
            Glommio::run(case(&Glommio::default(), mounted.path())).unwrap();
        }
    }
}

#[test]
fn a_second_writer_of_a_file_waits_for_the_first_posix() {
    let directory = directory_on_disk();
    let (disk, path) = (Posix::default(), directory.path().join("file"));
    let lock = block_on(lock(&disk, directory.path()));
    let first = block_on(disk.open(&path, Mode::CreateNew(&lock))).unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let (disk, lock, path) = (disk.clone(), lock.clone(), &path);
        let second = scope.spawn(move || {
            let refused = kind_of(block_on(disk.impatient().open(path, Mode::Write(&lock))));
            sender.send(refused).unwrap();
            block_on(disk.open(path, Mode::Write(&lock))).unwrap();
        });
        assert_eq!(receiver.recv().unwrap(), io::ErrorKind::WouldBlock);
        block_on(first.close()).unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_second_writer_of_a_file_waits_for_the_first_glommio() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    Glommio::run(async {
        let (disk, path) = (Glommio::default(), directory.path().join("file"));
        let lock = lock(&disk, directory.path()).await;
        let first = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        let mut second = Box::pin(disk.open(&path, Mode::Write(&lock)));
        assert!(poll!(&mut second).is_pending());
        let (second, closed) = join!(second, async {
            let refused = disk.impatient().open(&path, Mode::Write(&lock)).await;
            assert_eq!(kind_of(refused), io::ErrorKind::WouldBlock);
            first.close().await
        });
        closed.unwrap();
        second.unwrap();
    })
    .unwrap();
}
