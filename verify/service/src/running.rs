use std::fmt::Display;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::{Lines, PATIENCE};

/// A runtime on its own thread.
pub struct Running<E> {
    stop: Box<dyn Fn() + Send>,
    result: Receiver<Result<(), E>>,
    lines: Lines,
}

impl<E: Display> Running<E> {
    /// Runs the runtime. `lines` is where it logs, and `stop` makes it stop.
    pub fn new(
        lines: &Lines,
        stop: impl Fn() + Send + 'static,
        run: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Self
    where
        E: Send + 'static,
    {
        let (sender, result) = channel();
        thread::spawn(move || sender.send(run()));
        Self { stop: Box::new(stop), result, lines: lines.clone() }
    }

    /// Makes the runtime stop, without waiting for its end.
    pub fn tell_to_stop(&self) {
        (self.stop)();
    }

    /// Stops the runtime, which must end without an error; returns what it has logged.
    #[track_caller]
    pub fn stop(self) -> Vec<String> {
        self.tell_to_stop();
        let lines = self.lines.clone();
        self.expect_end();
        lines.all()
    }

    /// Waits until the runtime ends by itself, without an error.
    #[track_caller]
    pub fn expect_end(self) {
        if let Err(error) = self.end() {
            panic!("the runtime must end without an error, but ended with: {error}");
        }
    }

    /// Waits until the runtime ends by itself.
    ///
    /// # Errors
    ///
    /// The error of the runtime.
    #[track_caller]
    pub fn end(self) -> Result<(), E> {
        self.result.recv_timeout(PATIENCE).expect("the runtime has not ended, or has panicked")
    }

    /// Waits until the runtime ends with an error, and returns the line that says why.
    #[track_caller]
    pub fn error(self) -> String {
        match self.end() {
            Ok(()) => panic!("the runtime must end with an error"),
            Err(error) => error.to_string(),
        }
    }
}
