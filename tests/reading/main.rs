//! Reading against a plain model: every kind, small segments, any range, any order, snapshots that stay; what is
//! read and how much of it, counted; damage; readers in other processes.
//!
//! Not here: what survives a crash, random histories of writers.

#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

mod aggregates;
mod buffered;
mod cores;
mod counts;
mod damage;
mod following;
mod intervals;
mod killed;
mod meanwhile;
mod points;
mod scans;
mod sealed;
mod sealing;
mod snapshots;
mod world;

#[path = "../common/skip.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod skip;
