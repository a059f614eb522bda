//! Plays lives of a store on the simulated disk, as many as one has patience for.
//!
//! `torture [lives|damage|history] [count] [first seed]`: lives drawn from seeds (the default), damage of every
//! kind, or the fixed history with that many fates at each operation. It uses every core, prints counts and rate,
//! and for each failure what plays it again; `TORTURE_TRACE=1` tells what happens in a life.
//!
//! Not here: what a life is (`tests/life`), the tests that play some (`tests/crash.rs`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[path = "../../../tests/life/mod.rs"]
mod life;

use life::choices::{Choices, Story};
use life::damage::{self, ROTS};
use life::history::{End, History, World, worlds};
use life::random::live;
use life::{Kept, Wrong};
use tidelog::disk::sim::Moment;

/// Failures that are looked at before it stops.
const FAILURES_MAX: usize = 20;

const USAGE: &str = "torture [lives|damage|history] [count] [first seed]";

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Lives,
    Damage,
    History,
}

struct Campaign {
    what: What,
    end: u64,
    next: AtomicU64,
    played: AtomicU64,
    story: Mutex<Story>,
    failures: Mutex<Vec<String>>,
    history: History,
    worlds: Vec<World>,
    /// Of the history, in the world where it has most.
    operations: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let what = match arguments.first().map(String::as_str) {
        None | Some("lives") => What::Lives,
        Some("damage") => What::Damage,
        Some("history") => What::History,
        Some(other) => {
            eprintln!("{USAGE}, not {other}");
            return ExitCode::FAILURE;
        }
    };
    let mut numbers = [None; 2];
    for (number, text) in numbers.iter_mut().zip(arguments.iter().skip(1)) {
        match text.parse::<u64>() {
            Ok(parsed) => *number = Some(parsed),
            Err(error) => {
                eprintln!("{USAGE}: {text}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    match Campaign::new(what, numbers[0], numbers[1].unwrap_or(0)) {
        Ok(campaign) => campaign.run(),
        Err(wrong) => {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        }
    }
}

impl Campaign {
    fn new(what: What, count: Option<u64>, first: u64) -> Kept<Self> {
        let history = History::new()?;
        let worlds = worlds();
        // A seed of the history is one operation of it, in one world.
        let mut operations = 0;
        for world in &worlds {
            operations = history.play(world)?.operations.max(operations);
        }
        let count = match what {
            What::Lives => count.unwrap_or(100_000),
            What::Damage => count.unwrap_or(20_000),
            What::History => count.unwrap_or(1) * operations * worlds.len() as u64,
        };
        Ok(Campaign {
            what,
            end: first + count,
            next: AtomicU64::new(first),
            played: AtomicU64::new(0),
            story: Mutex::default(),
            failures: Mutex::default(),
            history,
            worlds,
            operations,
        })
    }

    fn run(&self) -> ExitCode {
        let start = Instant::now();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let players: Vec<_> = (0..cores).map(|_| scope.spawn(|| self.play())).collect();
            let mut told = start;
            while players.iter().any(|player| !player.is_finished()) {
                std::thread::park_timeout(Duration::from_millis(200));
                if told.elapsed() > Duration::from_secs(60) {
                    told = Instant::now();
                    self.tell(start);
                }
            }
        });
        self.tell(start);
        println!("{:?}", *lock(&self.story));
        if lock(&self.failures).is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn tell(&self, start: Instant) {
        let played = self.played.load(Ordering::Relaxed);
        let seconds = start.elapsed().as_secs_f64();
        let (rate, failures) = (played as f64 / seconds, lock(&self.failures).len());
        println!("{:?}: {played} in {seconds:.0} s, {rate:.0} a second, {failures} wrong", self.what);
    }

    /// Plays until there is nothing more to play, or too much is wrong.
    fn play(&self) {
        let mut story = Story::default();
        while lock(&self.failures).len() < FAILURES_MAX {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                break;
            }
            let played = catch_unwind(AssertUnwindSafe(|| self.one(seed, &mut story)));
            let wrong = match played {
                Ok(Ok(())) => None,
                Ok(Err(wrong)) => Some(wrong.to_string()),
                Err(_) => Some("it panics".to_owned()),
            };
            self.played.fetch_add(1, Ordering::Relaxed);
            if let Some(wrong) = wrong {
                let again = format!("{:?} 1 {seed}", self.what).to_lowercase();
                println!(
                    "WRONG: {wrong}\n  again: TORTURE_TRACE=1 cargo run --release -p tidelog-torture -- {again}"
                );
                lock(&self.failures).push(wrong);
            }
        }
        lock(&self.story).add(&story);
    }

    fn one(&self, seed: u64, story: &mut Story) -> Kept {
        match self.what {
            What::Lives => {
                let trace = std::env::var_os("TORTURE_TRACE").is_some();
                story.add(&live(seed, &Choices { trace, ..Choices::of(seed) })?);
                Ok(())
            }
            What::Damage => {
                for rot in ROTS {
                    damage::rot(seed, rot).map_err(|wrong| Wrong { when: format!("{rot:?}"), ..wrong })?;
                }
                Ok(())
            }
            What::History => self.one_of_history(seed),
        }
    }

    /// Both moments of an operation in a world, with a power cut and a kill.
    fn one_of_history(&self, seed: u64) -> Kept {
        let count = self.worlds.len() as u64;
        let Some(world) = usize::try_from(seed % count).ok().and_then(|index| self.worlds.get(index)) else {
            return Ok(());
        };
        for moment in [Moment::InFlight, Moment::Done] {
            let Some(crash) = self.history.crash(world, seed / count % self.operations, moment)? else {
                continue;
            };
            crash.recover(End::PowerCut, seed)?;
            crash.recover(End::Kill, seed)?;
        }
        Ok(())
    }
}
