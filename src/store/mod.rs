//! The store: one directory, one writer; how its pieces make one truth.
//!
//! `core` is the writer's state and its steps; `publish` makes a manifest the newest; `create` and `recover` are
//! how a life begins; `shared` is what readers of this process see; `names` are the names in the directory.
//!
//! Not here: the order of a commit's steps (`writer`), which stands there to be read first.

pub(crate) mod core;
pub(crate) mod create;
pub(crate) mod names;
mod publish;
pub(crate) mod recover;
pub(crate) mod shared;
