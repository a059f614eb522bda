//! Every command but `demo` and `bench` answers at once on a small store: within so many times what starting any
//! program takes here. A ratio, of the least of some runs, so that a busy machine cannot fail it. `doctor` is not
//! among them: it waits for flushes of a store that it makes, and so for the disk; `ingest` for its input.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{end, run, tidelog_on};
use crate::skip::{Need, skips};

const RUNS: usize = 7;

/// How many times what `true` takes.
const RATIO_MAX: u32 = 100;

/// Every command that the program says it has is here, or is not and has its reason above.
const ELSEWHERE: [&str; 5] = ["bench", "demo", "doctor", "help", "ingest"];

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
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let store = path("store");
    let rows: String = (0..1_000).map(|row| format!("{row},{row}.5,x\n")).collect();
    end(tidelog_on("posix", ["ingest", &store]), format!("t,a,b\n{rows}").as_bytes()).text();
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
    let disks = if skips(&[Need::IoUring]) { &["posix"][..] } else { &["posix", "glommio"] };
    for disk in disks {
        for command in commands {
            let (mut ours, mut least) = (Duration::MAX, Duration::MAX);
            for number in 0..RUNS {
                // Each makes another store.
                let new = path(&format!("{disk}-{number}"));
                let arguments =
                    command.iter().map(|argument| if argument.is_empty() { &new } else { *argument });
                ours = ours.min(time(tidelog_on(disk, arguments)));
                least = least.min(time(Command::new("true")));
            }
            let what = format!("{command:?} on {disk} takes {ours:?}, `true` takes {least:?}");
            assert!(ours <= least * RATIO_MAX, "{what}");
        }
    }
}
