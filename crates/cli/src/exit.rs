//! What the program ends with: one code, and on stderr one sentence that says what, where, and what to do.
//!
//! Not here: the sentences (the library's `Error`, and whoever makes a [`Fault`]).

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use tidelog::Error;

/// The exit codes that people script against. 0 is success, a broken pipe included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// A check was made, and what it looked at failed it.
    CheckFailed = 1,
    /// The command line.
    Usage = 2,
    /// Locked, or there already: again later, or elsewhere.
    Conflict = 3,
    /// Bad input data, not a store, a newer version.
    Input = 4,
    /// A damaged store, I/O, a full disk, a machine that cannot do it.
    Failed = 5,
}

/// An error of the program's own.
#[derive(Debug)]
pub(crate) struct Fault {
    code: Code,
    what: String,
}

impl Fault {
    /// `what` is a sentence for a person, without the full stop.
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into() }
    }

    /// Of the command line: a value that the command itself refuses.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Code::Usage, what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

/// Ends the program: says what went wrong.
pub(crate) fn end(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    say(format_args!("tidelog: {}", sentence(&error)));
    ExitCode::from(code(&error) as u8)
}

/// Says a line on stderr. Where nobody listens, nobody is told; what the program does, and its code, stay the same.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    _ = writeln!(io::stderr(), "{line}");
}

/// Ends the program where clap has an answer: help and version are answers too.
pub(crate) fn end_of_usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told that this could not be printed.
    _ = error.print();
    if error.use_stderr() { ExitCode::from(Code::Usage as u8) } else { ExitCode::SUCCESS }
}

/// The first error in the chain that says which code it is worth.
fn code(error: &anyhow::Error) -> Code {
    let fault = |cause: &(dyn std::error::Error + 'static)| {
        let ours = cause.downcast_ref::<Fault>().map(|fault| fault.code);
        ours.or_else(|| cause.downcast_ref::<Error>().map(code_of))
    };
    error.chain().find_map(fault).unwrap_or(Code::Failed)
}

/// What the library's errors are worth.
fn code_of(error: &Error) -> Code {
    match error {
        Error::Locked { .. } | Error::Conflict { .. } | Error::Exists { .. } | Error::SnapshotGone => {
            Code::Conflict
        }
        Error::NotAStore { .. }
        | Error::Version { .. }
        | Error::KeyOrder { .. }
        | Error::Schema { .. }
        | Error::Limit { .. } => Code::Input,
        _ => Code::Failed,
    }
}

/// The chain of causes as one sentence. The library's errors name their source themselves.
fn sentence(error: &anyhow::Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        if !sentence.is_empty() {
            sentence += ": ";
        }
        sentence += &cause.to_string();
        if cause.is::<Error>() {
            break;
        }
    }
    sentence
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        let at = cause.downcast_ref::<io::Error>();
        at.is_some_and(|error| {
            broken(error) || error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(broken)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_code_is_found_below_what_was_added() {
        let locked = Error::Locked { path: "/a/LOCK".into(), what: "by 7".into() };
        let error = anyhow::Error::from(locked).context("could not ingest");
        assert_eq!(code(&error), Code::Conflict);
        assert_eq!(sentence(&error), "could not ingest: /a/LOCK is locked: by 7");
        let error = Err::<(), _>(Fault::new(Code::Input, "line 3: no number")).context("x.csv").unwrap_err();
        assert_eq!((code(&error), sentence(&error).as_str()), (Code::Input, "x.csv: line 3: no number"));
        assert_eq!(code(&anyhow::anyhow!("anything")), Code::Failed);
    }

    #[test]
    fn a_broken_pipe_is_found_wherever_it_is() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(pipe()).context("could not write")));
        assert!(is_broken_pipe(&io::Error::other(pipe()).into()));
        assert!(!is_broken_pipe(&io::Error::other("x").into()));
    }
}
