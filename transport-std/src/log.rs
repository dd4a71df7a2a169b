//! One line for what somebody should know.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// Where the lines go; standard error unless the program says otherwise.
#[derive(Clone)]
pub(crate) struct Log(Arc<dyn Fn(fmt::Arguments<'_>) + Send + Sync>);

impl Log {
    pub(crate) fn to(write: impl Fn(fmt::Arguments<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub(crate) fn line(&self, line: fmt::Arguments<'_>) {
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
