//! Lives of a store on the simulated disk: what happens to it, what must be found afterwards.
//!
//! A life is a seed: it creates a store from nothing, commits, checkpoints, rolls, fails, is killed or loses its
//! power at any operation, recovers (crashed too), and is compared with what was acknowledged after each opening.
//! `random` are such lives; `history` is one fixed life, crashed at every operation; `damage` spoils what a life
//! has left and wants the same rows or an error.
//!
//! Invariant: the same seed and choices give the same life, to the last operation.
//! Not here: which lives are run (`tests/crash.rs`, `tests/mutants.rs`, `crates/torture`).

#![allow(dead_code, reason = "each program that shares these lives uses a part of them")]

use std::fmt;

pub(crate) mod choices;
pub(crate) mod damage;
pub(crate) mod expected;
pub(crate) mod history;
pub(crate) mod random;
pub(crate) mod read;
pub(crate) mod table;

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Wrong {
    /// Which promise, and how.
    pub(crate) what: String,
    /// The operation of the disk behind which it was seen, and what the life was doing.
    pub(crate) when: String,
}

impl Wrong {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Wrong { what: what.into(), when: String::new() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.when)
    }
}

/// What is expected of a promise.
pub(crate) type Kept<T = ()> = Result<T, Wrong>;

/// Refuses unless `holds`.
pub(crate) fn keep(holds: bool, what: impl FnOnce() -> String) -> Kept {
    if holds { Ok(()) } else { Err(Wrong::new(what())) }
}
