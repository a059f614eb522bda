//! Crashes: whatever happens, what was acknowledged is there, whole, and the store goes on.
//!
//! A fixed history is crashed at every operation, in every kind of world, its recovery too; then come lives drawn
//! from seeds. `crates/torture` runs any number of those.
//!
//! Not here: what a life is (`life`), rules broken on purpose (`tests/mutants.rs`).

mod life;

use life::choices::{Choices, Story};
use life::damage::{self, ROTS};
use life::history::{End, History, Seen, worlds};
use life::random::live;
use life::{Kept, Wrong};
use tidelog::disk::sim::Moment;

const MOMENTS: [Moment; 2] = [Moment::InFlight, Moment::Done];

#[test]
fn the_history_holds_at_least_three_of_everything() {
    let history = History::new().unwrap();
    for world in worlds() {
        let seen = history.play(&world).unwrap_or_else(|wrong| panic!("{}: {wrong}", world.name));
        println!("{}: {seen:?}", world.name);
        if world.settings.short == 0.0 {
            let Seen { small_commits, large_commits, rolls, checkpoints, wraps, growths, .. } = seen;
            let counts = [small_commits, large_commits, rolls, checkpoints, wraps, growths];
            assert!(counts.iter().all(|count| *count >= 3), "{}: {seen:?}", world.name);
        }
    }
}

#[test]
fn the_history_of_sealing_holds_at_least_three_of_everything() {
    let history = History::sealing().unwrap();
    for world in worlds() {
        let seen = history.play(&world).unwrap_or_else(|wrong| panic!("{}: {wrong}", world.name));
        println!("{}: {seen:?}", world.name);
        let Seen { rolls, published, published_by_rolls, compacted, reused, held, .. } = seen;
        let counts = [rolls, published, published_by_rolls, compacted, reused, held];
        assert!(counts.iter().all(|count| *count >= 3), "{}: {seen:?}", world.name);
    }
}

/// Every moment of every operation, in every world, and what follows it.
fn crash_everywhere(history: &History, end: End) -> Kept {
    let mut crashes = 0;
    for world in worlds() {
        let operations = history.play(&world)?.operations;
        for number in 0..operations {
            for moment in MOMENTS {
                let crash = history.crash(&world, number, moment)?;
                let crash =
                    crash.ok_or_else(|| Wrong::new(format!("operation {number} was not met again")))?;
                crash.recover(end, number)?;
                crashes += 1;
            }
        }
    }
    println!("{crashes} crashes");
    Ok(())
}

#[test]
fn a_power_cut_at_every_operation_keeps_every_acknowledged_row() {
    crash_everywhere(&History::new().unwrap(), End::PowerCut).unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn a_kill_at_every_operation_keeps_every_acknowledged_row() {
    crash_everywhere(&History::new().unwrap(), End::Kill).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Each end and each moment of each operation, in two worlds at least; some recoveries are crashed too.
#[test]
fn a_crash_at_every_operation_of_sealing_publishing_and_reuse_keeps_every_acknowledged_row() {
    let history = History::sealing().unwrap();
    let (mut crashes, mut in_recovery) = (0, 0);
    for (world, kind) in worlds().into_iter().zip(0_u64..) {
        let end = if kind & 2 == 0 { End::PowerCut } else { End::Kill };
        for number in 0..history.play(&world).unwrap().operations {
            let crash = history.crash(&world, number, MOMENTS[(kind & 1) as usize]).unwrap().unwrap();
            crash.recover(end, number).unwrap_or_else(|wrong| panic!("{wrong}"));
            crashes += 1;
            if (number + kind).is_multiple_of(20) {
                let (operation, moment) = (number / 20 % 24, MOMENTS[(number % 2) as usize]);
                let crashed = crash.recover_crashed_at(end, number, operation, moment);
                in_recovery += u64::from(crashed.unwrap_or_else(|wrong| panic!("{wrong}")));
            }
        }
    }
    println!("{crashes} crashes, {in_recovery} of recovery");
    assert!(crashes > 8000 && in_recovery > 200);
}

#[test]
fn a_crash_at_every_operation_of_recovery_changes_nothing() {
    let history = History::new().unwrap();
    let mut crashes = 0;
    for (number, world) in (0..).zip(worlds()) {
        // Other places of the history in each world.
        let operations = history.play(&world).unwrap().operations;
        for place in (number * 3..operations).step_by(61) {
            let end = if place % 2 == 0 { End::PowerCut } else { End::Kill };
            let Some(crash) = history.crash(&world, place, MOMENTS[(place / 2 % 2) as usize]).unwrap() else {
                continue;
            };
            for operation in 0.. {
                let moment = MOMENTS[(operation % 2) as usize];
                let crashed = crash.recover_crashed_at(end, place * 64 + operation, operation, moment);
                if !crashed.unwrap_or_else(|wrong| panic!("{wrong}")) {
                    break;
                }
                crashes += 1;
            }
        }
    }
    println!("{crashes} crashes of recovery");
    assert!(crashes > 1000);
}

#[test]
fn damage_is_refused_or_harmless() {
    for rot in ROTS {
        let mut answers = [0; 3];
        for seed in 0..200 {
            let answer = damage::rot(seed, rot).unwrap_or_else(|wrong| panic!("{rot:?} {seed}: {wrong}"));
            answers[answer as usize] += 1;
        }
        println!("{rot:?}: {answers:?} refused, same rows, nothing to spoil");
        assert!(answers[0] >= 20, "{rot:?}: {answers:?}");
    }
}

#[test]
fn random_lives_keep_every_acknowledged_row() {
    let mut all = Story::default();
    for seed in 0..2500 {
        // `torture lives 1 <seed>` plays it again.
        let story = live(seed, &Choices::of(seed)).unwrap_or_else(|wrong| panic!("life {seed}: {wrong}"));
        all.add(&story);
    }
    println!("{all:?}");
    let Story { kills, power_cuts, in_recovery, fulls, failures, drops, found, absent, .. } = all;
    let counts = [
        kills,
        power_cuts,
        in_recovery,
        fulls,
        failures,
        drops,
        found,
        absent,
        all.callers,
        all.rolled,
        all.chunked,
        all.buffered,
        all.synced,
        all.seals,
        all.compacted,
        all.stopped_seals,
        all.sealed,
        all.reused,
    ];
    assert!(counts.iter().all(|count| *count >= 100), "{all:?}");
    assert!(all.huge >= 20, "{all:?}");
}
