//! What `--help` says, command by command. `SNAPSHOTS=overwrite` writes the expected texts anew.

use std::path::Path;

use snapbox::{Data, assert_data_eq};

use crate::process::run;

/// The commands that the program says it has.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("Commands:\n").nth(1).expect("it lists its commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_help_begins_with_an_example() {
    let help = run(["--help"], b"").text();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("program").join("help");
    let commands = commands(&help);
    assert!(commands.len() >= 8, "{commands:?}");
    assert_data_eq!(&help, Data::read_from(&folder.join("tidelog.txt"), None));
    for command in commands {
        let help = run([command.as_str(), "--help"], b"").text();
        let example = format!("example:  tidelog {command} ");
        assert!(help.starts_with(&example), "{help}");
        assert_data_eq!(&help, Data::read_from(&folder.join(command).with_extension("txt"), None));
    }
}
