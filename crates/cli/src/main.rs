//! The program `tidelog`: real data in and out of a tidelog store.
//!
//! Data on stdout, words on stderr. Exit codes: 0 ok, 2 usage, 3 locked or conflict, 4 not a store or a newer
//! version, 5 a damaged store, I/O, a full disk.
//!
//! Not here: what the store does (the library `tidelog`).

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tidelog::disk::Glommio;

mod bench;
mod demo;

const HELP: &str = "\
example:  tidelog demo --rows 1000000

usage:    tidelog demo [--rows N] [--dir DIR]
              Make a feed of N rows, ingest it durably, scan it, print the rates. The store lies in a temporary
              directory and goes afterwards, unless --dir names one, which stays.
          tidelog bench [--dir DIR] [--rows N] [--only NAME] [--json] [--quick]
              Measure what the disk under DIR can do, then the store, as ratios; 4 GiB are written for it. NAME is
              append_1, batch_1000, batch_65536, group_64, scan_cold or open. --quick takes a twentieth of the
              time: to see that it works, not to quote.
          tidelog --help | --version
";

/// What a later version does.
const LATER: &[&str] = &[
    "create",
    "ingest",
    "scan",
    "get",
    "agg",
    "plot",
    "stat",
    "tail",
    "check",
    "inspect",
    "doctor",
    "compact",
    "drop",
    "delete",
    "backup",
    "salvage",
    "completions",
];

const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => usage("which command?"),
        ["-h" | "--help" | "help", ..] | [_, "-h" | "--help", ..] => end(&say(HELP)),
        ["-V" | "--version"] => end(&say(concat!("tidelog ", env!("CARGO_PKG_VERSION"), "\n"))),
        ["demo", options @ ..] => match parse(options) {
            Ok((rows, dir)) => end(&demo::run(rows, dir)),
            Err(what) => usage(&what),
        },
        ["bench", options @ ..] => match parse_bench(options) {
            Ok((request, json)) => end(&measure(&request, json)),
            Err(what) => usage(&what),
        },
        [command, ..] if LATER.contains(command) => {
            eprintln!("tidelog: `{command}` comes in a later version; this one has `demo` and `bench`");
            ExitCode::from(USAGE)
        }
        [command, ..] => usage(&format!("there is no command `{command}`")),
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn usage(what: &str) -> ExitCode {
    eprint!("tidelog: {what}\n\n{HELP}");
    ExitCode::from(USAGE)
}

/// The options of `demo`.
fn parse(options: &[&str]) -> Result<(u64, Option<PathBuf>), String> {
    let (mut rows, mut dir) = (demo::ROWS, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let (name, inline) =
            option.split_once('=').map_or((*option, None), |(name, value)| (name, Some(value)));
        let mut value = || inline.or_else(|| options.next().copied()).ok_or(format!("{name} needs a value"));
        match name {
            "--rows" => {
                let text = value()?;
                rows = text
                    .parse()
                    .ok()
                    .filter(|rows| *rows > 0)
                    .ok_or(format!("--rows: no count: `{text}`"))?;
            }
            "--dir" => dir = Some(PathBuf::from(value()?)),
            _ => return Err(format!("`demo` has no option `{option}`")),
        }
    }
    Ok((rows, dir))
}

/// The options of `bench`, and whether it prints JSON.
fn parse_bench(options: &[&str]) -> Result<(bench::Request, bool), String> {
    let mut request =
        bench::Request { dir: std::env::temp_dir(), rows: bench::ROWS, only: None, quick: false };
    let mut json = false;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().copied().ok_or(format!("{option} needs a value"));
        match *option {
            "--rows" => {
                let text = value()?;
                request.rows = text.parse().map_err(|_| format!("--rows: no count: `{text}`"))?;
            }
            "--dir" => request.dir = PathBuf::from(value()?),
            "--only" => request.only = Some(value()?.to_owned()),
            "--json" => json = true,
            "--quick" => request.quick = true,
            _ => return Err(format!("`bench` has no option `{option}`")),
        }
    }
    Ok((request, json))
}

fn measure(request: &bench::Request, json: bool) -> anyhow::Result<()> {
    let (as_text, as_json) = Glommio::run(bench::run(Glommio::default(), "glommio", request))??;
    say(&if json { format!("{as_json}\n") } else { as_text })
}

fn end(result: &anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let pipe =
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if pipe {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let ours = error.downcast_ref::<tidelog::Error>();
    match ours {
        // It names its source itself.
        Some(error) => eprintln!("tidelog: {error}"),
        None => eprintln!("tidelog: {error:#}"),
    }
    ExitCode::from(match ours {
        Some(tidelog::Error::Locked { .. } | tidelog::Error::Conflict { .. }) => 3,
        Some(tidelog::Error::NotAStore { .. } | tidelog::Error::Version { .. }) => 4,
        _ => 5,
    })
}
