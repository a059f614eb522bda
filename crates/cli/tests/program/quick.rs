//! Every command but `demo` and `bench` answers at once on a small store: within so many times what starting any
//! program takes here. A ratio, of the least of some runs, so that a busy machine cannot fail it. `doctor` is not
//! among them: it waits for flushes of a store that it makes, and so for the disk; `ingest` for its input, `compact` for
//! what it writes. What waits for
//! the disk (`create`, and an executor on io_uring) waits as long as this one's takes: the store is where a sync costs
//! nothing, and is asked by plain calls.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Place, end, run, tidelog};

const RUNS: usize = 7;

/// How many times what `true` takes.
const RATIO_MAX: u32 = 100;

/// Every command that the program says it has is here, or is not and has its reason above.
const ELSEWHERE: [&str; 6] = ["bench", "compact", "demo", "doctor", "help", "ingest"];

fn time(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let output = command.output().unwrap();
    let time = begun.elapsed();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    time
}

#[test]
fn every_command_answers_at_once_on_a_small_store() {
    let place = Place::new();
    let path = |name: &str| place.store(name).to_str().unwrap().to_owned();
    let store = path("store");
    let rows: String = (0..1_000).map(|row| format!("{row},{row}.5,x\n")).collect();
    end(tidelog(["ingest", &store]), format!("t,a,b\n{rows}").as_bytes()).text();
    let commands: [&[&str]; 10] = [
        &["create", "", "--column", "a:i64"],
        &["scan", &store],
        &["get", &store, "7"],
        &["tail", &store],
        &["stat", &store],
        &["check", &store],
        &["inspect", &store],
        &["agg", &store, "--column", "a"],
        &["plot", &store, "--column", "a"],
        &["completions", "bash"],
    ];
    let help = run(["--help"], b"").text();
    let list = help.split("Commands:\n").nth(1).unwrap().lines().take_while(|line| !line.is_empty());
    for name in list.filter_map(|line| line.split_whitespace().next()) {
        let is_known = ELSEWHERE.contains(&name) || commands.iter().any(|command| command[0] == name);
        assert!(is_known, "{name} is not among the commands that this test runs");
    }
    for command in commands {
        let (mut ours, mut least) = (Duration::MAX, Duration::MAX);
        for number in 0..RUNS {
            // Each makes another store.
            let new = path(&number.to_string());
            let arguments = command.iter().map(|argument| if argument.is_empty() { &new } else { *argument });
            ours = ours.min(time(tidelog(arguments)));
            least = least.min(time(Command::new("true")));
        }
        let what = format!("{command:?} takes {ours:?}, `true` takes {least:?}");
        assert!(ours <= least * RATIO_MAX, "{what}");
    }
}
