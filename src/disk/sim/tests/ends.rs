//! What a power cut and a kill may leave.

use std::cell::RefCell;
use std::pin::pin;

use super::*;
use crate::disk::{read_exact, write_all};

#[test]
fn what_was_synced_survives_every_power_cut() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            disk.create_dir("/raw".as_ref()).await?;
            let file = disk.open("/raw/0".as_ref(), Mode::CreateNew(&lock)).await?;
            file.grow(8 * PAGE as u64).await?;
            write_all(&file, 0, page(&file, 1)).await?;
            write_all(&file, 2 * PAGE as u64, page(&file, 2)).await?;
            disk.sync_files(&[&file]).await?;
            disk.rename("/raw/0".as_ref(), "/raw/1".as_ref()).await?;
            disk.sync_dir("/raw".as_ref()).await?;
            disk.sync_dir("/".as_ref()).await
        });
        let disk = disk.power_cut();
        let bytes = disk.file_bytes("/raw/1").unwrap();
        assert_eq!(bytes.len(), 8 * PAGE);
        assert!(is_all(&bytes[..PAGE], 1) && is_all(&bytes[PAGE..2 * PAGE], 0));
        assert!(is_all(&bytes[2 * PAGE..3 * PAGE], 2) && is_all(&bytes[3 * PAGE..], 0));
        assert!(disk.file_bytes("/raw/0").is_err());
    }
}

/// Writes /raw plainly, then /log durably; whether /raw's bytes survive a power cut, and /log's do.
fn raw_then_log(disk: SimDisk) -> (bool, bool) {
    with_log(&disk, 1);
    now(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let raw = open(&disk, &lock, "/raw").await?;
        let log = disk.open("/log".as_ref(), Mode::WriteDurable(&lock)).await?;
        write_all(&raw, 0, page(&raw, 2)).await?;
        write_all(&log, 0, page(&log, 2)).await
    });
    let disk = disk.power_cut();
    (is_all(&disk.file_bytes("/raw").unwrap(), 2), is_all(&disk.file_bytes("/log").unwrap(), 2))
}

#[test]
fn a_durable_write_makes_only_itself_durable_with_fua() {
    for through_page_cache in [false, true] {
        both(|seed| {
            let disk = plain(seed, |settings| (settings.fua, settings.direct) = (true, !through_page_cache));
            let (raw, log) = raw_then_log(disk);
            assert!(log, "seed {seed}");
            raw
        });
    }
}

#[test]
fn a_durable_write_flushes_the_device_without_fua() {
    for seed in 0..SEEDS {
        let disk = plain(seed, |settings| (settings.fua, settings.direct) = (false, true));
        assert_eq!(raw_then_log(disk), (true, true), "seed {seed}");
    }
    both(|seed| raw_then_log(plain(seed, |settings| (settings.fua, settings.direct) = (false, false))).0);
    // With copy on write its own sync decides where a page lies, so that a flush is not enough.
    both(|seed| {
        let disk = plain(seed, |settings| {
            (settings.fua, settings.direct, settings.cow) = (false, true, true);
        });
        raw_then_log(disk).0
    });
}

#[test]
fn a_sync_of_one_file_may_leave_another_pending() {
    both(|seed| {
        let disk = SimDisk::new(seed);
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let (raw, log) = (open(&disk, &lock, "/raw").await?, open(&disk, &lock, "/log").await?);
            write_all(&raw, 0, page(&raw, 2)).await?;
            write_all(&log, 0, page(&log, 2)).await?;
            disk.sync_files(&[&log]).await
        });
        let disk = disk.power_cut();
        assert!(is_all(&disk.file_bytes("/log").unwrap(), 2));
        is_all(&disk.file_bytes("/raw").unwrap(), 2)
    });
}

#[test]
fn an_unsynced_name_may_be_gone() {
    both(|seed| {
        let disk = SimDisk::new(seed);
        disk.make_dirs("/s").unwrap();
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let file = disk.open("/s/new".as_ref(), Mode::Create(&lock)).await?;
            write_all(&file, 0, page(&file, 2)).await?;
            disk.sync_files(&[&file]).await?;
            disk.sync_dir("/".as_ref()).await
        });
        let bytes = disk.power_cut().file_bytes("/s/new");
        bytes.is_ok_and(|bytes| is_all(&bytes, 2) && !bytes.is_empty())
    });
}

/// Creates a, b and c and renames c to d; the names after a power cut.
fn names_after(seed: u64, journal: bool) -> String {
    let disk = plain(seed, |settings| settings.journal = journal);
    disk.put_file("/c", &[]).unwrap();
    now(&disk, async {
        disk.create_dir("/a".as_ref()).await?;
        disk.create_dir("/b".as_ref()).await?;
        disk.rename("/c".as_ref(), "/d".as_ref()).await
    });
    let disk = disk.power_cut();
    let names = now(&disk, disk.list("/".as_ref()));
    let mut names: Vec<String> = names.into_iter().map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names.concat()
}

#[test]
fn a_journal_keeps_a_prefix_of_the_changes_of_names() {
    let mut seen: Vec<String> = (0..SEEDS).map(|seed| names_after(seed, true)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["abc", "abd", "ac", "c"]);
}

#[test]
fn without_a_journal_any_subset_of_the_edits_survives() {
    let mut seen: Vec<String> = (0..SEEDS).map(|seed| names_after(seed, false)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 16);
    assert!(seen.contains(&"cd".to_owned()) && seen.contains(&"ab".to_owned()));
}

/// Overwrites a page of 1 with 2 and 3, unsynced; what a power cut leaves.
fn overwritten(disk: SimDisk) -> Vec<u8> {
    with_log(&disk, 1);
    now(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = open(&disk, &lock, "/log").await?;
        write_all(&log, 0, page(&log, 2)).await?;
        write_all(&log, 0, page(&log, 3)).await
    });
    disk.power_cut().file_bytes("/log").unwrap()
}

#[test]
fn sectors_are_kept_dropped_torn_and_turned_into_garbage() {
    let quiet = |seed| overwritten(plain(seed, |settings| settings.garbage = false));
    both(|seed| is_all(&quiet(seed), 1));
    both(|seed| is_all(&quiet(seed), 3));
    both(|seed| [1, 2, 3].iter().all(|fill| quiet(seed).contains(fill)));
    assert!((0..SEEDS).all(|seed| quiet(seed).chunks(512).all(|sector| is_all(sector, sector[0]))));
    both(|seed| overwritten(plain(seed, |_| {})).iter().any(|byte| ![1, 2, 3].contains(byte)));
}

#[test]
fn copy_on_write_keeps_whole_pages() {
    let cow = |seed| overwritten(plain(seed, |settings| settings.cow = true));
    assert!((0..SEEDS).all(|seed| is_all(&cow(seed), cow(seed)[0])));
    both(|seed| cow(seed)[0] == 1);
    both(|seed| cow(seed)[0] == 2);
}

#[test]
fn garbage_may_be_unreadable() {
    both(|seed| {
        let disk = plain(seed, |settings| settings.unreadable = true);
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            write_all(&log, 0, page(&log, 2)).await
        });
        let disk = disk.power_cut();
        run(&disk, read(&disk, "/log")).unwrap().is_err()
    });
}

#[test]
fn a_write_in_flight_at_a_power_cut_arrives_in_part() {
    both(|seed| {
        let disk = plain(seed, |settings| settings.garbage = false);
        with_log(&disk, 8);
        let end = run(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let raw = open(&disk, &lock, "/raw").await?;
            let log = disk.open("/log".as_ref(), Mode::WriteDurable(&lock)).await?;
            let mut buffer = log.buffer(8 * PAGE);
            buffer.fill(2);
            let buffer = write_all(&raw, 0, buffer).await?;
            disk.crash_at(disk.operations(), Moment::InFlight);
            log.write_at(0, buffer).await
        });
        assert!(matches!(end, Err(Stopped::Crashed)));
        let disk = disk.power_cut();
        let (raw, log) = (disk.file_bytes("/raw").unwrap(), disk.file_bytes("/log").unwrap());
        // Where all that had completed was kept, it is the flight that tore this.
        is_all(&raw, 2) && log.contains(&1) && log.contains(&2)
    });
}

/// A durable write of `fill` over a page of 1 is on its way when `meanwhile` happens; then its process is killed or
/// not, and the power fails. What is left.
fn torn_behind(seed: u64, fill: u8, kill: bool, meanwhile: impl Fn(&SimDisk)) -> Vec<u8> {
    let disk = plain(seed, |settings| settings.racy = true);
    with_log(&disk, 1);
    // A read that comes before the write protects nothing.
    read_and_synced(&disk);
    let lock = now(&disk, disk.lock("/LOCK".as_ref()));
    let log = now(&disk, disk.open("/log".as_ref(), Mode::WriteDurable(&lock)));
    let mut write = pin!(log.write_at(0, page(&log, fill)));
    assert!(poll_times(write.as_mut(), 1).is_none());
    meanwhile(&disk);
    let disk = if kill { disk.kill() } else { disk.clone() };
    meanwhile(&disk);
    disk.power_cut().file_bytes("/log").unwrap()
}

/// Another process reads the page, and syncs the file through the handle that read it.
fn read_and_synced(disk: &SimDisk) -> Vec<u8> {
    let reader = disk.another_process();
    let file = now(&reader, reader.open("/log".as_ref(), Mode::Read));
    let bytes = now(&reader, file.read_at(0, PAGE)).to_vec();
    now(&reader, reader.sync_files(&[&file]));
    bytes
}

#[test]
fn what_a_read_returned_and_a_sync_made_durable_stays() {
    let sectors = PAGE / 512;
    for kill in [false, true] {
        let (mut returned, mut torn) = (0, 0);
        for seed in 0..SEEDS {
            let seen = RefCell::new(vec![1; PAGE]);
            let left = torn_behind(seed, 2, kill, |disk| {
                seen.replace(read_and_synced(disk));
                // Others meet the same write again.
                (0..3).for_each(|_| drop(now(disk, read(&disk.another_process(), "/log"))));
            });
            for (seen, left) in seen.into_inner().chunks(512).zip(left.chunks(512)) {
                assert!(!is_all(seen, 2) || is_all(left, 2), "seed {seed}");
                returned += usize::from(is_all(seen, 2));
                torn += usize::from(!is_all(left, left[0]));
            }
        }
        let all = usize::try_from(SEEDS).unwrap() * sectors;
        assert!((1..all).contains(&returned), "{returned} of {all}");
        assert!(torn > 0, "what no read had returned is torn");
    }
}

#[test]
fn the_same_bytes_written_again_are_torn_unless_a_read_returned_them_meanwhile() {
    for kill in [false, true] {
        both(|seed| is_all(&torn_behind(seed, 1, kill, |_| {}), 1));
        let met = |seed| torn_behind(seed, 1, kill, |disk| drop(read_and_synced(disk)));
        assert!((0..SEEDS).all(|seed| is_all(&met(seed), 1)));
    }
}

#[test]
fn a_growth_that_was_not_synced_may_be_lost() {
    let grown = |seed, synced| {
        let disk = SimDisk::new(seed);
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let log = open(&disk, &lock, "/log").await?;
            log.grow(4 * PAGE as u64).await?;
            assert!(is_all(&read_exact(&log, PAGE as u64, PAGE).await?, 0));
            if synced { disk.sync_files(&[&log]).await } else { Ok(()) }
        });
        disk.power_cut().file_bytes("/log").unwrap().len() / PAGE
    };
    assert!((0..SEEDS).all(|seed| grown(seed, true) == 4));
    let mut seen: Vec<usize> = (0..SEEDS).map(|seed| grown(seed, false)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn fresh_space_may_read_as_zeros_though_the_device_was_flushed() {
    both(|seed| {
        let disk = plain(seed, |settings| (settings.fua, settings.direct) = (false, true));
        with_log(&disk, 1);
        now(&disk, async {
            let lock = disk.lock("/LOCK".as_ref()).await?;
            let (raw, log) = (open(&disk, &lock, "/raw").await?, open(&disk, &lock, "/log").await?);
            raw.grow(2 * PAGE as u64).await?;
            disk.sync_files(&[&raw]).await?;
            write_all(&raw, PAGE as u64, page(&raw, 2)).await?;
            disk.sync_files(&[&log]).await
        });
        let bytes = disk.power_cut().file_bytes("/raw").unwrap();
        assert_eq!(bytes.len(), 2 * PAGE);
        assert!(is_all(&bytes[PAGE..], bytes[PAGE]) && [0, 2].contains(&bytes[PAGE]));
        bytes[PAGE] == 0
    });
}

/// Kills a process while it writes /log; the next one, and what it finds at first.
fn killed_while_writing(seed: u64, flocks: bool) -> (SimDisk, bool) {
    let disk = plain(seed, |settings| (settings.flocks, settings.late_landing) = (flocks, 0.2));
    with_log(&disk, 1);
    disk.crash_at(2, Moment::InFlight);
    let end = run(&disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = open(&disk, &lock, "/log").await?;
        log.write_at(0, page(&log, 2)).await
    });
    assert!(matches!(end, Err(Stopped::Crashed)));
    let disk = disk.kill();
    let landed = is_all(&disk.file_bytes("/log").unwrap(), 2);
    (disk, landed)
}

/// Whether /log changes while a process has it open, for writing, and asks this and that.
fn changes_behind_back(disk: &SimDisk) -> bool {
    now(disk, async {
        let lock = disk.lock("/LOCK".as_ref()).await?;
        let log = open(disk, &lock, "/log").await?;
        let before = disk.file_bytes("/log")?;
        for _ in 0..20 {
            log.len().await?;
        }
        Ok(before != disk.file_bytes("/log")?)
    })
}

#[test]
fn a_dead_process_writes_on_until_somebody_opens_the_file_for_writing() {
    both(|seed| killed_while_writing(seed, true).1);
    both(|seed| {
        let (disk, landed) = killed_while_writing(seed, true);
        (0..20).for_each(|_| drop(now(&disk, read(&disk, "/log"))));
        !landed && is_all(&disk.file_bytes("/log").unwrap(), 2)
    });
    assert!((0..SEEDS).all(|seed| !changes_behind_back(&killed_while_writing(seed, true).0)));
    both(|seed| changes_behind_back(&killed_while_writing(seed, false).0));
}

#[test]
fn a_fork_has_a_fate_of_its_own() {
    let disk = plain(4, |_| {});
    with_log(&disk, 1);
    let lock = now(&disk, disk.lock("/LOCK".as_ref()));
    let log = now(&disk, open(&disk, &lock, "/log"));
    now(&disk, log.write_at(0, page(&log, 2)));
    let fates: Vec<u8> =
        (0..SEEDS).map(|seed| disk.fork(seed).power_cut().file_bytes("/log").unwrap()[0]).collect();
    assert!(fates.contains(&1) && fates.contains(&2));
    assert!(is_all(&now(&disk, log.read_at(0, PAGE)), 2));
    now(&disk, disk.sync_files(&[&log]));
    assert!((0..SEEDS).all(|seed| is_all(&disk.fork(seed).power_cut().file_bytes("/log").unwrap(), 2)));
}

#[test]
fn a_device_that_ignores_flushes_loses_what_was_synced() {
    both(|seed| {
        let disk = plain(seed, |settings| settings.ignores_flush = true);
        raw_then_log(disk).1
    });
}
