//! The fixed history that other tests break in every way holds what they take for granted.
//!
//! Not here: breaking it (tests/full.rs, tests/faults.rs, tests/drops.rs).

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod common;

use common::history::{Life, STEPS, Step};
use common::{DIR, run};
use tidelog::disk::sim::{Counts, SimDisk};

/// What a step asked of the disk.
fn asked(before: Counts, after: Counts) -> [u64; 5] {
    [
        after.renames - before.renames,
        after.create_dirs - before.create_dirs,
        after.durable_writes - before.durable_writes,
        after.writes - before.writes - (after.durable_writes - before.durable_writes),
        after.syncs - before.syncs,
    ]
}

#[test]
fn every_step_is_of_its_kind() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        disk.configure(|settings| settings.short = 0.0);
        let mut life = Life::new(disk.clone());
        let mut grows = 0;
        for step in STEPS {
            let before = disk.counts();
            run(&disk, life.step(*step)).unwrap();
            let after = disk.counts();
            let [renames, slots, records, writes, syncs] = asked(before, after);
            let is = |expected: bool| assert!(expected, "{step:?}: {:?}", asked(before, after));
            println!("{step:?} {:?} {}", asked(before, after), life.disk.operations());
            match step {
                Step::Create => is((renames, slots) == (2, 2)),
                // One durable write and nothing else is a small commit: one flush.
                Step::Small(_) | Step::Noted(_) => {
                    is((renames, slots, records, writes, syncs) == (0, 0, 1, 0, 0))
                }
                Step::Large(_) => is((renames, slots, records) == (0, 0, 1) && writes > 1 && syncs > 1),
                Step::RollSmall(_) => is((renames, slots, records) == (1, 1, 1)),
                Step::RollLarge(_) => is((renames, slots, records) == (1, 1, 1) && writes > 9),
                Step::Wrap(_) => is((renames, slots, records) == (1, 0, 1)),
                Step::Checkpoint | Step::Close => is((renames, slots, records) == (1, 0, 0)),
                Step::Open => is((renames, slots, records, writes) == (0, 0, 1, 0)),
            }
            grows += u64::from(matches!(step, Step::Large(_)) && after.grows > before.grows);
            run(&disk, life.check_readers());
        }
        assert!(grows >= 2);
        for log in ["log-a", "log-b"] {
            assert!(disk.counts_of(format!("{DIR}/{log}")).durable_writes > 5);
        }
        assert!(disk.operations() > 300);
    }
}
