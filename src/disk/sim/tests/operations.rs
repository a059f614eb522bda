//! Operations: their order, their faults, dropped futures, locks, and the tester's tools.

use futures::future::join_all;

use super::*;
use crate::disk::{read_exact, write_all};

/// A life with a bit of everything, ended by a crash and a power cut, and looked at afterwards.
async fn life(disk: &SimDisk) -> io::Result<()> {
    disk.create_dir("/s".as_ref()).await?;
    disk.sync_dir("/".as_ref()).await?;
    let lock = disk.lock("/s/LOCK".as_ref()).await?;
    let log = disk.open("/s/log".as_ref(), Mode::CreateNew(&lock)).await?;
    write_all(&log, 0, log.buffer(4 * PAGE)).await?;
    disk.sync_files(&[&log]).await?;
    for i in 0..4_u8 {
        let writes = (0..4_u8).map(|at| log.write_at(u64::from(at) * PAGE as u64, page(&log, i * 4 + at)));
        for result in join_all(writes).await {
            result?;
        }
        poll_times(log.write_at(0, page(&log, 99)), 1);
        disk.rename("/s/log".as_ref(), format!("/s/log{i}").as_ref()).await?;
        disk.rename(format!("/s/log{i}").as_ref(), "/s/log".as_ref()).await?;
        disk.sync_dir("/s".as_ref()).await?;
        disk.list("/s".as_ref()).await?;
        read_exact(&log, 0, 4 * PAGE).await?;
    }
    log.close().await
}

#[test]
fn the_same_seed_has_the_same_trace_and_bytes() {
    let play = |seed: u64| {
        let disk = SimDisk::new(seed);
        disk.configure(|settings| settings.write_errors = 0.01);
        disk.crash_at(20 + seed % 50, Moment::InFlight);
        let _ = run(&disk, life(&disk));
        let disk = if seed.is_multiple_of(2) { disk.kill() } else { disk.power_cut() };
        let _ = run(&disk, read(&disk, "/s/log"));
        (disk.trace_hash(), disk.files(), disk.file_bytes("/s/log").ok())
    };
    for seed in 0..SEEDS {
        let first = play(seed);
        assert_eq!(first, play(seed), "seed {seed}");
        assert_ne!(first.0, play(seed + 1).0, "seed {seed}");
    }
}

#[test]
fn the_operation_of_a_dropped_future_lands_later_or_not_at_all() {
    both(|seed| {
        let disk = plain(seed, |_| {});
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            poll_times(log.write_at(0, page(&log, 2)), 1);
            assert!(is_all(&disk.file_bytes("/log")?, 1), "nothing has happened since");
            for _ in 0..3 {
                log.len().await?;
            }
            Ok(is_all(&disk.file_bytes("/log")?, 2))
        })
    });
    both(|seed| {
        let disk = plain(seed, |_| {});
        poll_times(disk.create_dir("/late".as_ref()), 1);
        now(&disk, disk.list("/".as_ref())).len() == 1
    });
    let disk = SimDisk::new(0);
    poll_times(disk.create_dir("/never".as_ref()), 0);
    disk.settle();
    assert!(disk.directories().is_empty());
    poll_times(disk.create_dir("/settled".as_ref()), 1);
    disk.settle();
    assert_eq!(disk.directories(), [Path::new("/settled")]);
}

#[test]
fn a_dropped_write_holds_the_locks_until_it_lands() {
    for seed in 0..SEEDS {
        let disk = plain(seed, |settings| settings.orphan_landing = 0.0);
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            poll_times(log.write_at(0, page(&log, 2)), 1);
            log.close().await?;
            drop(lock);
            assert_eq!(disk.lock("/LOCK".as_ref()).await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
            // Opening for writing waits for it.
            let other = disk.lock("/LOCK2".as_ref()).await?;
            open(&disk, &other, "/log").await?;
            assert!(is_all(&disk.file_bytes("/log")?, 2));
            disk.lock("/LOCK".as_ref()).await
        });
    }
}

#[test]
fn a_dropped_change_of_names_holds_the_lock_beside_it_until_it_lands() {
    for seed in 0..SEEDS {
        let disk = plain(seed, |settings| settings.orphan_landing = 0.0);
        with_log(&disk, 1);
        let lock = now(&disk, disk.lock("/LOCK".as_ref()));
        poll_times(disk.rename("/log".as_ref(), "/renamed".as_ref()), 1);
        drop(lock);
        assert_eq!(kind(&disk, disk.lock("/LOCK".as_ref())), io::ErrorKind::WouldBlock);
        disk.settle();
        now(&disk, disk.lock("/LOCK".as_ref()));
        assert!(disk.file_bytes("/renamed").is_ok());
    }
}

#[test]
fn locks_are_exclusive_and_end_with_their_process() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        with_log(&disk, 1);
        let other = disk.another_process();
        let lock = now(&disk, disk.lock("/LOCK".as_ref()));
        let log = now(&disk, open(&disk, &lock, "/log"));
        let busy = io::ErrorKind::WouldBlock;
        assert_eq!(kind(&disk, disk.lock("/LOCK".as_ref())), busy);
        assert_eq!(kind(&other, other.lock("/LOCK".as_ref())), busy);
        assert_eq!(kind(&disk, open(&disk, &lock, "/log")), busy);
        let reader = now(&other, other.open("/log".as_ref(), Mode::Read));

        // The lock lives as long as a clone or a file that carries it.
        drop(lock.clone());
        drop(lock);
        assert_eq!(kind(&disk, disk.lock("/LOCK".as_ref())), busy);

        let next = disk.kill();
        assert!(matches!(run(&disk, log.len()), Err(Stopped::Crashed)));
        let lock = now(&next, next.lock("/LOCK".as_ref()));
        drop(log);
        assert_eq!(kind(&next, next.lock("/LOCK".as_ref())), busy, "a dead handle frees nothing");
        let again = now(&next, open(&next, &lock, "/log"));
        assert_eq!(kind(&next, open(&next, &lock, "/log")), busy);
        now(&next, again.close());
        now(&next, open(&next, &lock, "/log"));
        assert_eq!(now(&other, reader.len()), PAGE as u64, "the other process lives on");
    }
}

#[test]
fn a_failed_sync_promises_nothing_and_a_later_one_does() {
    let after = |seed, lossy: bool, again: bool| {
        let disk = plain(seed, |settings| settings.lossy_sync_failure = lossy);
        with_log(&disk, 1);
        disk.fail_next(Kind::SyncFiles, "log", Fault::IO);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            write_all(&log, 0, page(&log, 2)).await?;
            disk.sync_files(&[&log]).await.unwrap_err();
            assert!(is_all(&read_exact(&log, 0, PAGE).await?, 2), "it reads back");
            if again { disk.sync_files(&[&log]).await } else { Ok(()) }
        });
        is_all(&disk.power_cut().file_bytes("/log").unwrap(), 2)
    };
    both(|seed| after(seed, false, false));
    assert!((0..SEEDS).all(|seed| after(seed, false, true)));
    both(|seed| after(seed, true, true));
}

#[test]
fn a_failed_write_lands_not_at_all_in_part_or_whole() {
    let failed = |seed| {
        let disk = plain(seed, |_| {});
        with_log(&disk, 1);
        disk.fail_at(2, Fault::IO);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            assert_eq!(log.write_at(0, page(&log, 2)).await.unwrap_err().raw_os_error(), Some(5));
            disk.file_bytes("/log")
        })
    };
    both(|seed| is_all(&failed(seed), 1));
    both(|seed| is_all(&failed(seed), 2));
    both(|seed| failed(seed).contains(&1) && failed(seed).contains(&2));
}

#[test]
fn faults_are_as_ordered() {
    let disk = plain(1, |_| {});
    with_log(&disk, 4);
    let (lock, log) = now(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = open(&disk, &lock, "/log").await?;
        Ok((lock, log))
    });
    disk.fail_next(Kind::Read, "log", Fault::Short(PAGE + 512));
    assert_eq!(now(&disk, log.read_at(0, 2 * PAGE)).len(), PAGE + 512);
    disk.fail_next(Kind::Write, "/log", Fault::Short(512));
    assert_eq!(now(&disk, log.write_at(0, page(&log, 2))).0, 512);
    assert_eq!(disk.file_bytes("/log").unwrap()[511..513], [2, 1]);
    disk.fail_next(Kind::Write, "log", Fault::Lost);
    assert_eq!(now(&disk, log.write_at(0, page(&log, 3))).0, PAGE);
    assert_eq!(disk.file_bytes("/log").unwrap()[0], 2);
    disk.fail_next(Kind::Write, "log", Fault::Misdirected(PAGE as u64));
    now(&disk, log.write_at(0, page(&log, 4)));
    assert_eq!(disk.file_bytes("/log").unwrap()[PAGE], 4);
    disk.fail_from(disk.operations() + 1, Fault::READ_ONLY);
    now(&disk, log.write_at(0, page(&log, 5)));
    assert_eq!(kind(&disk, log.write_at(0, page(&log, 5))), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(kind(&disk, disk.remove("/raw".as_ref())), io::ErrorKind::ReadOnlyFilesystem);
    now(&disk, log.len());
    disk.fail_nothing();
    disk.fail_next(Kind::Write, "log", Fault::Hang);
    let Err(Stopped::Stuck(why)) = run(&disk, log.write_at(0, page(&log, 6))) else { panic!("it came back") };
    assert!(why.contains("Write of /log"), "{why}");
    drop((log, lock));
    assert_eq!(kind(&disk, disk.lock("/LOCK".as_ref())), io::ErrorKind::WouldBlock);
    let _ = disk.kill();
}

#[test]
fn transfers_are_short_in_some_worlds() {
    both(|seed| {
        let disk = SimDisk::new(seed);
        with_log(&disk, 8);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            let mut buffer = log.buffer(8 * PAGE);
            buffer.fill(2);
            assert!(is_all(&write_all(&log, 0, buffer).await?, 2));
            assert!(is_all(&read_exact(&log, 0, 8 * PAGE).await?, 2));
            disk.configure(|settings| settings.racy = false);
            Ok(log.read_at(0, 8 * PAGE).await?.len() < 8 * PAGE)
        })
    });
}

#[test]
fn a_crash_reaches_both_sides_of_every_operation() {
    let whole = SimDisk::new(9);
    now(&whole, life(&whole));
    for number in 0..whole.operations() {
        for moment in [Moment::InFlight, Moment::Done] {
            let disk = SimDisk::new(9);
            disk.crash_at(number, moment);
            assert!(matches!(run(&disk, life(&disk)), Err(Stopped::Crashed)), "{number} {moment:?}");
            assert!(disk.operations() > number);
        }
    }
    let disk = SimDisk::new(9);
    disk.crash_at(whole.operations(), Moment::InFlight);
    now(&disk, life(&disk));

    let made = |seed, moment| {
        let disk = SimDisk::new(seed);
        disk.crash_at(0, moment);
        assert!(run(&disk, disk.create_dir("/d".as_ref())).is_err());
        disk.kill().directories().len() == 1
    };
    both(|seed| made(seed, Moment::InFlight));
    assert!((0..SEEDS).all(|seed| made(seed, Moment::Done)));
}

#[test]
fn concurrent_operations_complete_in_any_order() {
    let mut seen = Vec::new();
    for seed in 0..SEEDS {
        let disk = plain(seed, |_| {});
        with_log(&disk, 1);
        let order = std::cell::RefCell::new(String::new());
        let log = now(&disk, disk.open("/log".as_ref(), Mode::Read));
        assert!(poll_times(log.len(), 1).is_none(), "pending at least once");
        now(&disk, async {
            join_all(["a", "b", "c"].map(|name| async {
                log.len().await.unwrap();
                order.borrow_mut().push_str(name);
            }))
            .await;
            Ok(())
        });
        seen.push(order.into_inner());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 6);
}

#[test]
fn a_read_may_meet_a_write_half_way() {
    both(|seed| {
        let disk = plain(seed, |settings| settings.racy = true);
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            let write = log.write_at(0, page(&log, 2));
            let read = log.read_at(0, PAGE);
            let (write, read) = futures::join!(write, read);
            write?;
            let read = read?;
            assert!(is_all(&disk.file_bytes("/log")?, 2));
            Ok(read.contains(&1) && read.contains(&2))
        })
    });
}

#[test]
fn a_listing_may_miss_a_file_that_is_renamed_meanwhile() {
    both(|seed| {
        let disk = plain(seed, |settings| settings.racy = true);
        disk.put_file("/old", &[]).unwrap();
        now(&disk, async {
            let rename = disk.rename("/old".as_ref(), "/new".as_ref());
            let (names, renamed) = futures::join!(disk.list("/".as_ref()), rename);
            renamed?;
            Ok(names?.is_empty())
        })
    });
}

#[test]
fn space_runs_out_and_comes_back() {
    let disk = plain(3, |_| {});
    with_log(&disk, 1);
    now(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = open(&disk, &lock, "/log").await?;
        disk.set_space(Some(3 * PAGE as u64));
        let full = io::ErrorKind::StorageFull;
        assert_eq!(log.grow(8 * PAGE as u64).await.unwrap_err().kind(), full);
        assert!(disk.used_space() <= 3 * PAGE as u64);
        assert!(is_all(&disk.file_bytes("/log")?[..PAGE], 1));
        log.grow(2 * PAGE as u64).await?;
        write_all(&log, PAGE as u64, page(&log, 2)).await?;
        assert_eq!(log.write_at(2 * PAGE as u64, page(&log, 2)).await.unwrap_err().kind(), full);
        assert_eq!(disk.create_dir("/d".as_ref()).await.unwrap_err().kind(), full);
        assert_eq!(disk.rename("/raw".as_ref(), "/r".as_ref()).await.unwrap_err().kind(), full);
        let new = disk.open("/new".as_ref(), Mode::Create(&lock)).await;
        assert_eq!(new.unwrap_err().kind(), full);
        // An open file keeps its space without a name.
        let raw = disk.open("/raw".as_ref(), Mode::Read).await?;
        disk.remove("/raw".as_ref()).await?;
        assert_eq!(disk.create_dir("/d".as_ref()).await.unwrap_err().kind(), full);
        assert!(is_all(&read_exact(&raw, 0, PAGE).await?, 1));
        raw.close().await?;
        disk.create_dir("/d".as_ref()).await
    });
}

#[test]
fn what_is_asked_is_counted_by_path() {
    let disk = plain(5, |_| {});
    with_log(&disk, 4);
    now(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let raw = open(&disk, &lock, "/raw").await?;
        let log = disk.open("/log".as_ref(), Mode::WriteDurable(&lock)).await?;
        disk.reset_counts();
        join_all([0, 1, 2].map(|at| raw.read_at(at * PAGE as u64, PAGE))).await;
        write_all(&raw, 0, page(&raw, 2)).await?;
        write_all(&log, 0, page(&log, 2)).await?;
        disk.sync_files(&[&raw, &log]).await
    });
    let (all, raw, log) = (disk.counts(), disk.counts_of("/raw"), disk.counts_of("/log"));
    assert_eq!((raw.reads, raw.read_bytes, raw.reads_in_flight_max), (3, 3 * PAGE as u64, 3));
    assert_eq!((raw.writes, raw.durable_writes, raw.syncs, raw.flushes), (1, 0, 1, 1));
    assert_eq!((log.writes, log.durable_writes, log.syncs, log.flushes), (1, 1, 1, 2));
    assert_eq!((all.writes, all.flushes, all.reads_in_flight), (2, 3, 0));
    assert_eq!(disk.counts_by_path().len(), 2);
}

#[test]
fn the_testers_hand_changes_files_at_once_and_for_good() {
    let disk = plain(6, |_| {});
    with_log(&disk, 2);
    disk.overwrite("/log", PAGE as u64 - 1, &[7, 8]).unwrap();
    disk.flip("/log", 0, 0x80).unwrap();
    disk.set_len("/raw", 100).unwrap();
    disk.set_unreadable("/log", PAGE as u64).unwrap();
    let disk = disk.power_cut();
    let bytes = disk.file_bytes("/log").unwrap();
    assert_eq!((bytes[0], bytes[1], bytes[PAGE - 1], bytes[PAGE]), (0x81, 1, 7, 8));
    assert_eq!(disk.files(), [("/log".into(), 2 * PAGE as u64), ("/raw".into(), 100)]);
    assert_eq!(kind(&disk, read(&disk, "/log")), io::Error::from_raw_os_error(5).kind());
    assert_eq!(now(&disk, read(&disk, "/raw")), [1; 100]);
    disk.set_len("/raw", PAGE as u64).unwrap();
    assert!(is_all(&disk.file_bytes("/raw").unwrap()[100..], 0));

    let other = SimDisk::new(7);
    let host = tempfile::tempdir().unwrap();
    disk.copy_file("/log", &disk, "/a/b/log").unwrap();
    disk.export("/a", host.path()).unwrap();
    other.import(host.path(), "/x").unwrap();
    assert_eq!(other.files(), [("/x/b/log".into(), 2 * PAGE as u64)]);
    assert_eq!(other.file_bytes("/x/b/log").unwrap(), bytes);
    disk.unlink("/a/b/log").unwrap();
    assert_eq!(disk.power_cut().files().len(), 2);
}

#[test]
fn errors_have_the_kinds_of_a_real_disk() {
    let disk = plain(8, |_| {});
    with_log(&disk, 1);
    disk.make_dirs("/d").unwrap();
    now(&disk, async {
        use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, NotFound};
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = disk.open("/log".as_ref(), Mode::Read).await?;
        assert!(log.write_at(0, page(&log, 2)).await.is_err());
        assert_eq!(log.read_at(PAGE as u64, PAGE).await?.len(), 0);
        assert_eq!(log.read_at(9 * PAGE as u64, PAGE).await?.len(), 0);
        let kind = |result: io::Result<SimFile>| result.unwrap_err().kind();
        assert_eq!(kind(disk.open("/no".as_ref(), Mode::Write(&lock)).await), NotFound);
        assert_eq!(kind(disk.open("/no/no".as_ref(), Mode::Create(&lock)).await), NotFound);
        assert_eq!(kind(disk.open("/d".as_ref(), Mode::Read).await), IsADirectory);
        assert_eq!(kind(disk.open("/log".as_ref(), Mode::CreateNew(&lock)).await), AlreadyExists);
        assert_eq!(kind(disk.open("/log/x".as_ref(), Mode::Read).await), NotADirectory);
        assert_eq!(disk.create_dir("/d".as_ref()).await.unwrap_err().kind(), AlreadyExists);
        assert_eq!(disk.list("/no".as_ref()).await.unwrap_err().kind(), NotFound);
        assert_eq!(disk.list("/log".as_ref()).await.unwrap_err().kind(), NotADirectory);
        assert_eq!(disk.remove("/no".as_ref()).await.unwrap_err().kind(), NotFound);
        assert_eq!(disk.rename("/no".as_ref(), "/x".as_ref()).await.unwrap_err().kind(), NotFound);
        disk.set_open_files_max(2);
        assert_eq!(open(&disk, &lock, "/raw").await.unwrap_err().raw_os_error(), Some(24));
        Ok(())
    });
}

#[test]
fn an_executor_polls_its_tasks_in_seeded_order() {
    let play = |seed| {
        let disk = plain(0, |_| {});
        let order = std::cell::RefCell::new(Vec::new());
        let mut executor = Executor::new(&disk, seed);
        let tasks: Vec<Task<usize>> = (0..4)
            .map(|number| {
                let (disk, order) = (&disk, &order);
                executor.spawn(async move {
                    disk.create_dir(format!("/{number}").as_ref()).await.unwrap();
                    order.borrow_mut().push(number);
                    number
                })
            })
            .collect();
        let waiting = executor.spawn(std::future::pending::<()>());
        assert_eq!(executor.run_until(&tasks[2]), Ok(2));
        executor.cancel(&waiting);
        executor.run().unwrap();
        drop(executor);
        order.into_inner()
    };
    assert_eq!(play(1), play(1));
    assert!((2..20).any(|seed| play(seed) != play(1)));

    let disk = SimDisk::new(0);
    let mut executor = Executor::new(&disk, 0);
    let inner = executor.spawn(disk.list("/".as_ref()));
    let outer = executor.spawn(inner);
    assert!(executor.run_until(&outer).is_ok());
    executor.spawn(std::future::pending::<()>());
    assert_eq!(executor.run(), Err(Stopped::Stuck("nothing is in flight".to_owned())));
}

#[test]
fn the_futures_of_the_disk_can_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let disk = is_send(SimDisk::new(1));
    drop(is_send(disk.list("/".as_ref())));
    let lock = is_send(now(&disk, disk.lock("/LOCK".as_ref())));
    let file = is_send(now(&disk, disk.open("/f".as_ref(), Mode::Create(&lock))));
    drop(is_send(file.write_at(0, page(&file, 1))));
}
