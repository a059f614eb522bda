//! The program `tidelog`: real data in and out of a tidelog store.
//!
//! Data goes to stdout, words and progress to stderr; what it ends with says `exit`. Its surface is what
//! people script against: names, exit codes, JSON.
//!
//! Not here: what the store does (the library `tidelog`), the commands (`command`, a file each).

// They panic where nobody listens.
#![warn(clippy::print_stderr, clippy::print_stdout)]

use std::process::ExitCode;

use clap::Parser;

mod command;
mod disk;
mod exit;
mod figure;
mod input;
mod key;
mod machine;
mod output;
mod progress;
mod schema;
mod seal;
mod step;
mod time;

use command::Command;
use disk::Engine;

/// An embedded, thread-per-core, direct-I/O columnar time-series store.
#[derive(Parser)]
#[command(
    name = "tidelog",
    version,
    before_help = "example:  tidelog demo --rows 1000000",
    after_help = "Exit codes: 0 ok, 1 a check failed, 2 usage, 3 locked or conflict, 4 bad input data, not a store or \
                  a newer version, 5 a damaged store, I/O, a full disk."
)]
struct Program {
    /// How the disk is asked: io_uring, or plain system calls.
    #[arg(long, global = true, value_enum, default_value_t)]
    disk: Engine,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match Program::try_parse() {
        Ok(program) => exit::end(program.command.run(program.disk)),
        Err(error) => exit::end_of_usage(&error),
    }
}
