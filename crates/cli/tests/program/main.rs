//! The program as people and scripts meet it: its commands run as processes, on real directories.
//!
//! Not here: the store's promises (the library's own tests), reading cells and times (beside their code).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../../../tests/common/skip.rs"]
#[allow(dead_code, reason = "the data commands need a part")]
mod skip;

mod aggregates;
mod codes;
mod compact;
mod documents;
mod help;
mod kill;
mod looking;
mod memory;
mod plot;
mod process;
mod quick;
mod real;
mod refusals;
mod special;
