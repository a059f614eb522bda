//! What glommio does that a store must not notice (the numbers are those in the head of `disk/glommio.rs`).

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;

use futures::executor::block_on;
use futures::poll;
use tidelog::disk::{Core, Disk, File, Glommio, Mode, PAGE};

use crate::cases::{contents, kind_of, lock, pages, read, write};
use crate::hooked::descriptors;
use crate::{Need, directory_on_disk, skips};

/// Runs a test on an executor of a thread of its own: what glommio knows of devices, it knows by thread.
fn on_a_new_thread(case: impl AsyncFnOnce(&Glommio, &Path) + Send + 'static) {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let path = directory.path().to_path_buf();
    let start = move || async move { case(&Glommio::default(), &path).await };
    Glommio::spawn(Core::Any, "hazard", start).unwrap().join().unwrap().unwrap();
}

/// H3. With glommio alone every read of this thread is EOPNOTSUPP from here on, and so is every overwrite.
#[test]
fn an_empty_file_may_be_the_first_that_a_writer_opens() {
    on_a_new_thread(async |disk, directory| {
        let lock = lock(disk, directory).await;
        assert_eq!(disk.list(directory).await.unwrap(), ["LOCK"]);
        let file = disk.open(&directory.join("file"), Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 4)).await;
        write(&file, PAGE, &pages(9, 1)).await;
        assert_eq!(read(&file, 0, 2 * PAGE).await, [pages(0, 1), pages(9, 1)].concat());
    });
}

/// H3, for who may not write anything.
#[test]
fn an_empty_file_may_be_the_first_that_a_reader_opens() {
    on_a_new_thread(async |disk, directory| {
        fs::write(directory.join("empty"), []).unwrap();
        fs::File::create(directory.join("hole")).unwrap().set_len(4 * PAGE as u64).unwrap();
        fs::write(directory.join("full"), pages(0, 4)).unwrap();
        for (name, expected) in [("empty", vec![]), ("hole", vec![0; 4 * PAGE]), ("full", pages(0, 4))] {
            let file = disk.open(&directory.join(name), Mode::Read).await.unwrap();
            assert_eq!(contents(&file).await, expected, "{name}");
        }
        let lock = lock(disk, directory).await;
        let file = disk.open(&directory.join("full"), Mode::Write(&lock)).await.unwrap();
        write(&file, 0, &pages(5, 2)).await;
        assert_eq!(contents(&file).await, [pages(5, 2), pages(2, 2)].concat());
    });
}

/// H3. Two first opens at once.
#[test]
fn empty_files_may_be_opened_together_first() {
    on_a_new_thread(async |disk, directory| {
        let lock = lock(disk, directory).await;
        let paths: Vec<_> = (0..16).map(|number| directory.join(number.to_string())).collect();
        let opens = paths.iter().map(|path| disk.open(path, Mode::CreateNew(&lock)));
        for file in futures::future::join_all(opens).await {
            let file = file.unwrap();
            write(&file, 0, &pages(0, 2)).await;
            write(&file, 0, &pages(1, 2)).await;
            assert_eq!(contents(&file).await, pages(1, 2));
        }
    });
}

/// H4. Glommio alone answers with what has the name by now.
#[test]
fn lengths_are_those_of_the_open_file() {
    on_a_new_thread(async |disk, directory| {
        let (lock, path) = (lock(disk, directory).await, directory.join("file"));
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 3)).await;
        let reader = disk.open(&path, Mode::Read).await.unwrap();
        for other in [Some(&b"another"[..]), None] {
            fs::remove_file(&path).unwrap();
            other.map(|bytes| fs::write(&path, bytes).unwrap()).unwrap_or_default();
            assert_eq!(file.len().await.unwrap(), 3 * PAGE as u64);
            assert_eq!(reader.len().await.unwrap(), 3 * PAGE as u64);
        }
    });
}

/// H6, H7.
#[test]
fn an_executor_that_ends_waits_for_what_its_dropped_futures_began() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let (lock_path, path) = (directory.path().join("LOCK"), directory.path().join("file"));
    Glommio::run(async {
        let disk = Glommio::default();
        let lock = disk.lock(&lock_path).await.unwrap();
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 64)).await;
        let mut buffer = file.buffer(64 * PAGE);
        buffer.copy_from_slice(&pages(100, 64));
        assert!(poll!(pin!(file.write_at(0, buffer))).is_pending());
        assert!(poll!(pin!(file.read_at(0, 64 * PAGE))).is_pending());
        assert!(poll!(pin!(file.grow(128 * PAGE as u64))).is_pending());
        assert!(poll!(pin!(disk.sync_files(&[&file]))).is_pending());
        let absent = directory.path().join("absent");
        assert!(poll!(pin!(disk.open(&absent, Mode::CreateNew(&lock)))).is_pending());
        assert!(poll!(pin!(disk.open(&path, Mode::Read))).is_pending());
        // Dropped, all of them; the executor is not asked to look at its rings again.
    })
    .unwrap();
    assert_eq!(fs::read(&path).unwrap(), [pages(100, 64), vec![0; 64 * PAGE]].concat());
    assert_eq!(descriptors(&path).unwrap().len(), 0);
    // In plain sight of the kernel, without any waiting.
    fs::File::open(&lock_path).unwrap().try_lock().unwrap();
}

#[test]
fn readers_that_were_dropped_are_closed_when_their_executor_ends() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let path = directory.path().join("file");
    fs::write(&path, pages(0, 1)).unwrap();
    Glommio::run(async {
        for _ in 0..3 {
            let reader = Glommio::default().open(&path, Mode::Read).await.unwrap();
            assert_eq!(contents(&reader).await, pages(0, 1));
        }
    })
    .unwrap();
    assert_eq!(descriptors(&path).unwrap().len(), 0);
}

/// H6. Behind the end of its executor nobody can say when a request ends: the store stays locked, in this process
/// and until it ends.
#[test]
fn a_request_whose_executor_is_torn_down_keeps_file_and_lock() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let (lock_path, path) = (directory.path().join("LOCK"), directory.path().join("file"));
    let begin_and_panic = async {
        let disk = Glommio::default();
        let lock = disk.lock(&lock_path).await.unwrap();
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        assert!(poll!(pin!(file.write_at(0, file.buffer(PAGE)))).is_pending());
        panic!("of the caller");
    };
    let torn: Result<tidelog::Result<()>, _> =
        catch_unwind(AssertUnwindSafe(|| Glommio::run(begin_and_panic)));
    assert!(torn.is_err());
    assert!(fs::File::open(&lock_path).unwrap().try_lock().is_err());
    assert!(fs::File::open(&path).unwrap().try_lock().is_err());
    // The thread is none the worse for it.
    Glommio::run(async {
        let disk = Glommio::default();
        assert_eq!(kind_of(disk.lock(&lock_path).await), io::ErrorKind::WouldBlock);
        assert_eq!(disk.open(&path, Mode::Read).await.unwrap().len().await.unwrap() % PAGE as u64, 0);
    })
    .unwrap();
}

/// The same in an executor that somebody else made.
#[test]
fn executors_that_tidelog_did_not_make_run_it_too() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let (lock_path, path) = (directory.path().join("LOCK"), directory.path().join("file"));
    let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound).make().unwrap();
    let disk = Glommio::default();
    executor.run(async {
        let lock = disk.lock(&lock_path).await.unwrap();
        let file = disk.open(&path, Mode::CreateNew(&lock)).await.unwrap();
        write(&file, 0, &pages(0, 2)).await;
        assert_eq!(contents(&file).await, pages(0, 2));
        assert!(poll!(pin!(file.write_at(0, file.buffer(PAGE)))).is_pending());
    });
    drop(executor);
    assert!(fs::File::open(&lock_path).unwrap().try_lock().is_err());
}

#[test]
fn tasks_that_are_left_over_get_errors() {
    if skips(&[Need::IoUring]) {
        return;
    }
    let directory = directory_on_disk();
    let path = directory.path().join("file");
    fs::write(&path, pages(0, 1)).unwrap();
    let reads = Glommio::run(async {
        let reader = Glommio::default().open(&path, Mode::Read).await.unwrap();
        let reads = std::rc::Rc::new(std::cell::Cell::new(0_u64));
        let counted = std::rc::Rc::clone(&reads);
        // It never has nothing in flight: only an error ends it.
        let left_over = async move {
            while reader.read_at(0, PAGE).await.is_ok() {
                counted.set(counted.get() + 1);
            }
        };
        glommio::spawn_local(left_over).detach();
        while reads.get() < 3 {
            glommio::yield_if_needed().await;
            Glommio::default().list(directory.path()).await.unwrap();
        }
        reads.get()
    });
    assert!(reads.unwrap() >= 3);
}

#[test]
fn without_an_executor_each_call_says_how_to_get_one() {
    let directory = directory_on_disk();
    let disk = Glommio::default();
    let error = block_on(disk.lock(&directory.path().join("LOCK"))).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains("Glommio::run"), "{error}");
    assert!(block_on(disk.open(&directory.path().join("file"), Mode::Read)).is_err());
    assert!(block_on(disk.list(directory.path())).is_err());
}
