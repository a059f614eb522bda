//! POSIX calls.
