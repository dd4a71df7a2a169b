//! Runs a function as the program `lambda-lab` does, for programs that are their own function.
//!
//! These functions take over the process: they handle its signals and, on Linux, adopt the orphans
//! that the function leaves, end them with it, and reap them.

use std::fmt::Display;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use crate::answer::InvokeError;
use crate::event::Event;
use crate::function::Function;
use crate::lab::{Lab, StartError};
use crate::log::Log;
use crate::process::children;
use crate::settings::{Output, RUNTIME_API};
use crate::signals;

/// Invokes the function once. Its answer goes to standard output, everything else to standard
/// error.
///
/// The exit code is 0 if the function answered, 1 if it failed, and 2 if a setting is invalid. A
/// signal that ends the program ends the function's processes first; a second one kills them
/// immediately. This waits, within the
/// function's timeout, for work that the function does after its answer.
pub fn run(function: Function, event: impl Into<Event>) -> ExitCode {
    run_all(function, [event.into()])
}

/// Like [`run`] with several events, one after the other. Each invocation starts when the function
/// has done the work that follows its previous answer. With more than one event, each answer ends
/// with a newline. A failed invocation does not stop those after it.
pub fn run_all(function: Function, events: impl IntoIterator<Item = Event>) -> ExitCode {
    let (lab, is_signalled) = match start(function.output(Output::Stderr)) {
        Ok(started) => started,
        Err(failed) => return failed,
    };
    let mut events = events.into_iter().peekable();
    let mut answers = Answers::new(lab.log());
    let mut code = ExitCode::SUCCESS;
    while let Some(event) = events.next() {
        answers.are_several |= events.peek().is_some();
        let result = lab.invoke_to_the_end(event, |piece| answers.write(piece));
        if matches!(result, Err(InvokeError::Stopped)) {
            // A signal has stopped the lab; its thread ends the program.
            park();
        }
        if events.peek().is_none() {
            signals::stop(&lab);
        }
        answers.end();
        if let Err(error) = result {
            code = fail(error);
        }
    }
    if is_signalled.load(Relaxed) {
        // The function answered between the signal and its end; the signal's thread ends the
        // program.
        park();
    }
    match answers.written {
        Err(error) => fail(format_args!("cannot write to standard output: {error}")),
        Ok(()) => code,
    }
}

/// Writes answers to standard output. A single answer that a program reads is written as it is.
/// If there are several answers, or if a person reads them on a terminal together with the lines of
/// the lab, only whole lines are written.
struct Answers<'l> {
    log: &'l Log,
    out: StdoutLock<'static>,
    is_read_by_a_person: bool,
    are_several: bool,
    held_back: Vec<u8>,
    written: io::Result<()>,
}

impl<'l> Answers<'l> {
    fn new(log: &'l Log) -> Self {
        let out = io::stdout().lock();
        let is_read_by_a_person = out.is_terminal();
        let (are_several, held_back, written) = (false, Vec::new(), Ok(()));
        Self { log, out, is_read_by_a_person, are_several, held_back, written }
    }

    fn write(&mut self, piece: &[u8]) {
        if !self.is_read_by_a_person && !self.are_several {
            return self.put(piece);
        }
        self.held_back.extend_from_slice(piece);
        let end = self.held_back.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = self.held_back.split_off(end);
        let lines = std::mem::replace(&mut self.held_back, rest);
        self.put(&lines);
    }

    fn end(&mut self) {
        if !self.held_back.is_empty() {
            self.held_back.push(b'\n');
            let line = std::mem::take(&mut self.held_back);
            self.put(&line);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.is_read_by_a_person && !bytes.is_empty() {
            // On a terminal the answer follows what has been logged before, on a line of its own.
            self.log.end_line();
            self.log.flush();
        }
        if self.written.is_ok() {
            self.written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        }
    }
}

/// Invokes the function with each event that is posted, until Ctrl-C, SIGTERM or SIGHUP.
///
/// It prints the command that invokes the function and, for an [external](Function::external)
/// runtime, the command that starts it.
pub fn serve(function: Function) -> ExitCode {
    let is_external = function.is_external();
    let (lab, _) = match start(function.output(Output::Inherited)) {
        Ok(started) => started,
        Err(failed) => return failed,
    };
    if is_external {
        let address = lab.runtime_api();
        let start = format!("  {RUNTIME_API}={address} BOOTSTRAP");
        say(&[&"lambda-lab: start the runtime with", &start]);
    }
    let invoke = format!("  curl -d '{{}}' {}", lab.url());
    say(&[&"lambda-lab: invoke the function with", &invoke]);
    park()
}

/// Writes these lines to standard error, in their place in the log. Control characters in them are
/// escaped.
pub(crate) fn say(lines: &[&dyn Display]) {
    if let Ok(log) = Log::new(Output::Stderr) {
        log.lines(lines);
        log.flush();
    }
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

/// Makes a function its own lab when it is started by hand. If `AWS_LAMBDA_RUNTIME_API` is not set,
/// the lab starts this program a second time, as the bootstrap, with that variable set. The call
/// does not return then.
///
/// An argument of the program is the event, which has to be JSON: the function is invoked once, as by [`run`]. Without an
/// argument the lab serves, as by [`serve`]. Then the program ends. If `AWS_LAMBDA_RUNTIME_API` is
/// set, this does nothing, so the same program can be deployed.
///
/// This needs `lambda-lab` as an ordinary dependency of the function. Make it optional, so that
/// hyper and tokio are not deployed.
///
/// ```no_run
/// fn main() -> Result<(), lambda_proto_std::Error> {
///     lambda_lab::local();
///     lambda_proto_std::Runtime::from_env()?
///         .run(|invocation, reply| Ok(reply.send(invocation.body())))
/// }
/// ```
pub fn local() {
    if std::env::var_os(RUNTIME_API).is_some() {
        return;
    }
    let mut arguments = std::env::args_os().skip(1);
    let event = arguments.next().map(|event| Event::json(event.into_encoded_bytes()));
    let code = match (std::env::current_exe(), event, arguments.next()) {
        (Err(error), _, _) => fail(format_args!("cannot find the file of this program: {error}")),
        (Ok(program), None, _) => serve(Function::new(program)),
        (Ok(program), Some(Ok(event)), None) => run(Function::new(program), event),
        (Ok(_), Some(Err(error)), None) => {
            fail(format_args!(
                "the event is not JSON: {error}; write JSON in single quotes, such as \
                 '{{\"name\":\"Ada\"}}' or '\"text\"'"
            ));
            ExitCode::from(2)
        }
        (Ok(_), Some(_), Some(_)) => {
            invalid("more than one argument: give the event as one, in quotes, or none to serve")
        }
    };
    // An `ExitCode` does not give its number; only these three are in use.
    let number = (0..=2).find(|number| code == ExitCode::from(*number));
    std::process::exit(number.map_or(1, i32::from));
}

/// Starts a lab that the signals of this program stop. All processes that its function leaves
/// become children of this program.
///
/// Returns the lab, and a flag that is set when a signal arrives.
fn start(function: Function) -> Result<(Arc<Lab>, Arc<AtomicBool>), ExitCode> {
    children::adopt();
    let started = function.start().map(Arc::new).and_then(|lab| {
        let is_signalled = signals::end_with_signals(Arc::clone(&lab))?;
        Ok((lab, is_signalled))
    });
    started.map_err(|error| match error {
        StartError::Setting(_) => invalid(error),
        StartError::System(_) => fail(error),
    })
}

/// Reports an invalid command line on standard error, as one line without control characters.
/// Returns the exit code for it, 2.
pub fn invalid(reason: impl Display) -> ExitCode {
    fail(reason);
    ExitCode::from(2)
}

fn fail(reason: impl Display) -> ExitCode {
    say(&[&format_args!("lambda-lab: {reason}")]);
    ExitCode::FAILURE
}
