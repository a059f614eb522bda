//! The store: one directory, one writer; how its pieces make one truth.
//!
//! `core` is the writer's state and its steps; `publish` makes a manifest the newest; `create` and `recover` are
//! how a life begins, `replay` is what a record does; `seal` makes sealed segments beside the writer, and `sealing` is
//! what it shares with him; `follow` is a reader's view of another process's store; `newest` finds the newest manifest;
//! `shared` is what readers of this process see; `names` are the names in the directory.
//!
//! Not here: the order of a commit's steps (`writer`), which stands there to be read first.

pub(crate) mod core;
pub(crate) mod create;
pub(crate) mod follow;
pub(crate) mod names;
pub(crate) mod newest;
mod publish;
pub(crate) mod recover;
mod replay;
pub(crate) mod seal;
pub(crate) mod sealing;
pub(crate) mod shared;
