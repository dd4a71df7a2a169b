//! One line for what somebody should know.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// Where lines go that somebody should know of; standard error unless the program says otherwise.
#[derive(Clone)]
pub struct Log(Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>);

impl Log {
    /// A log whose lines go to `write`, one call a line without its end.
    pub fn to(write: impl Fn(fmt::Arguments<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes a line.
    pub fn line(&self, line: fmt::Arguments<'_>) {
        (self.0)(line);
    }
}

impl Default for Log {
    fn default() -> Self {
        // In one piece, for others write there too; and not by `eprintln!`, which panics where nobody
        // reads standard error any more.
        Self::to(|line| drop(io::stderr().write_all(format!("lambda-proto: {line}\n").as_bytes())))
    }
}
