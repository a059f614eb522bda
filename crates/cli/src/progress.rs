//! How far something long has come: on a terminal a bar that counts bytes or rows, elsewhere nothing.
//!
//! Not here: what is said at the end (each command).

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, gone when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many bytes, or of nobody knows how many.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => (ProgressBar::new(bytes), "{bar:40} {bytes}/{total_bytes} {msg} ({eta} left)"),
            None => (ProgressBar::no_length(), "{bytes} {msg} ({elapsed})"),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        // A template that does not parse would be ours; the default one does as well.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self { bar }
    }

    /// So many bytes and rows are done.
    pub(crate) fn at(&self, bytes: u64, rows: u64) {
        self.bar.set_position(bytes);
        self.bar.set_message(format!("{rows} rows"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
