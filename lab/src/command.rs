//! Runs a function as the program `lambda-lab` does, for programs that are their own function.
//!
//! These functions take over the process: they handle its signals and, on Linux, adopt the orphans
//! that the function leaves, end them with it, and reap them.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, IsTerminal, StdoutLock, Write};
use std::path::Path;
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
use crate::settings::Output;
use crate::signals;
use crate::variables::RUNTIME_API;

/// Invokes the function once. Its answer goes to standard output, everything else to standard
/// error.
///
/// The exit code is 0 if the function answered, 1 if it failed, and 2 if a setting is invalid. A
/// signal that ends the program ends the function's processes first; a second one kills them
/// immediately. This waits, within the function's timeout, for work that the function does after
/// its answer.
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
    held_back: HeldBack,
    written: io::Result<()>,
}

/// The beginning of a line whose end has not arrived.
#[derive(Default)]
struct HeldBack(Vec<u8>);

impl<'l> Answers<'l> {
    fn new(log: &'l Log) -> Self {
        let out = io::stdout().lock();
        let is_read_by_a_person = out.is_terminal();
        let (are_several, held_back, written) = (false, HeldBack::default(), Ok(()));
        Self { log, out, is_read_by_a_person, are_several, held_back, written }
    }

    fn write(&mut self, piece: &[u8]) {
        if !self.is_read_by_a_person && !self.are_several {
            return self.put(piece);
        }
        if let Some(lines) = self.held_back.push(piece) {
            self.put(&lines);
        }
    }

    fn end(&mut self) {
        if !self.held_back.0.is_empty() {
            let lines = self.held_back.push(b"\n").unwrap_or_default();
            self.put(&lines);
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

impl HeldBack {
    /// Takes a piece, and returns the lines that it ends.
    fn push(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        // What is held back has no newline, so that it is never searched again.
        let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (ended, begun) = piece.split_at(end);
        if ended.is_empty() {
            self.0.extend_from_slice(begun);
            return None;
        }
        self.0.extend_from_slice(ended);
        Some(std::mem::replace(&mut self.0, begun.to_vec()))
    }
}

/// Invokes the function with each event that is posted, until Ctrl-C, SIGTERM or SIGHUP.
///
/// It prints the command that invokes the function and, for an [external](Function::external)
/// runtime, the command that starts it.
pub fn serve(function: Function) -> ExitCode {
    let is_external = function.is_external();
    let is_open = function.is_runtime_api_open();
    let (lab, _) = match start(function.output(Output::Inherited)) {
        Ok(started) => started,
        Err(failed) => return failed,
    };
    if is_external {
        let address = lab.runtime_api();
        let start = format!("  {RUNTIME_API}={address} BOOTSTRAP");
        say(&[&"lambda-lab: start the runtime with", &start]);
        if let Some(port) = address.rsplit(':').next().filter(|_| is_open) {
            let start = format!("  {RUNTIME_API}=HOST:{port} BOOTSTRAP");
            say(&[&"or, in a container or on another machine, with the name of this one", &start]);
        }
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
/// An argument of the program is the event, which has to be JSON: the function is invoked once, as
/// by [`run`]. Without an argument the lab serves, as by [`serve`]. `--help` prints both forms.
/// Then the program ends. If `AWS_LAMBDA_RUNTIME_API` is set, this does nothing, so the same
/// program can be deployed.
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
    let code = match (std::env::current_exe(), Local::read(std::env::args_os().skip(1))) {
        (Err(error), _) => fail(format_args!("cannot find the file of this program: {error}")),
        (Ok(program), Ok(Local::Serve)) => serve(Function::new(program)),
        (Ok(program), Ok(Local::Run(event))) => run(Function::new(program), event),
        (Ok(program), Ok(Local::Help)) => help(&program),
        (Ok(_), Err(reason)) => invalid(reason),
    };
    // An `ExitCode` does not give its number; only these three are in use.
    let number = (0..=2).find(|number| code == ExitCode::from(*number));
    std::process::exit(number.map_or(1, i32::from));
}

/// What a program that is its own lab is asked for.
#[derive(Debug)]
enum Local {
    Serve,
    Run(Event),
    Help,
}

impl Local {
    /// # Errors
    ///
    /// A text that names the word that cannot be used.
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let Some(word) = arguments.next() else { return Ok(Self::Serve) };
        if word == "--help" || word == "-h" {
            return Ok(Self::Help);
        }
        if arguments.next().is_some() {
            return Err(
                "more than one argument: give the event as one, in quotes, or none to serve".into(),
            );
        }
        let is_option = word.as_encoded_bytes().starts_with(b"-");
        let text = word.display().to_string();
        match Event::json(word.into_encoded_bytes()) {
            // A negative number is JSON, and so an event.
            Ok(event) => Ok(Self::Run(event)),
            Err(_) if is_option => {
                Err(format!("unknown option {text}: give an event as JSON, or see --help"))
            }
            Err(error) => Err(format!(
                "the event is not JSON: {error}; write JSON in single quotes, such as \
                 '{{\"name\":\"Ada\"}}' or '\"text\"'"
            )),
        }
    }
}

/// Prints how a program that is its own lab is used.
fn help(program: &Path) -> ExitCode {
    let name = program.file_name().unwrap_or(program.as_os_str()).display();
    let text = format!(
        "An AWS Lambda function that is started by hand, and so runs in a local Lambda\n\n\
         Usage:\n  \
         {name} EVENT    invokes it once with this event, which is JSON, and prints its answer\n  \
         {name}          keeps running, and prints how to invoke it\n  \
         {name} --help   prints this\n\n\
         With {RUNTIME_API} in its environment, as on Lambda, it is a bootstrap.\n\
         lambda-lab has more options: lambda-lab run --event EVENT {program}\n",
        program = program.display()
    );
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("cannot write to standard output: {error}")),
    }
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{HeldBack, Local};

    fn read(words: &[&str]) -> Result<Local, String> {
        Local::read(words.iter().map(Into::into))
    }

    #[test]
    fn only_whole_lines_are_passed_on() {
        let mut held_back = HeldBack::default();
        for (piece, lines) in [
            ("", None),
            ("a", None),
            ("b", None),
            ("c\nd\ne", Some("abc\nd\n")),
            ("\n", Some("e\n")),
            ("\n\nf", Some("\n\n")),
        ] {
            let came = held_back.push(piece.as_bytes());
            assert_eq!(came.as_deref(), lines.map(str::as_bytes), "{piece:?}");
        }
        assert_eq!(held_back.0, b"f");
    }

    /// A search from the beginning for each piece would take minutes.
    #[test]
    fn a_long_line_in_small_pieces_is_searched_once() {
        const SIZE: usize = 1024 * 1024;
        let (began, mut held_back) = (Instant::now(), HeldBack::default());
        for _ in 0..SIZE {
            assert_eq!(held_back.push(b"x"), None);
            assert!(began.elapsed() < Duration::from_secs(20), "{} bytes", held_back.0.len());
        }
        assert_eq!(held_back.push(b"\n").unwrap().len(), SIZE + 1);
    }

    #[test]
    fn an_argument_is_an_event_and_help_is_help() {
        assert!(matches!(read(&[]), Ok(Local::Serve)));
        for event in ["{}", "-1", "-0.5e3"] {
            assert!(matches!(read(&[event]), Ok(Local::Run(_))), "{event}");
        }
        assert!(read(&["no JSON"]).unwrap_err().contains("the event is not JSON"));
        for words in [&["--help"][..], &["-h"], &["--help", "--more"]] {
            assert!(matches!(read(words), Ok(Local::Help)));
        }
    }

    #[test]
    fn an_unknown_option_and_a_second_argument_are_refused() {
        for option in ["--version", "-x", "--", "-", "-1x", "--timeout"] {
            let refused = read(&[option]).unwrap_err();
            assert!(refused.contains(&format!("unknown option {option}: ")), "{refused}");
        }
        assert!(read(&["{\"name\":", "1}"]).unwrap_err().contains("in quotes"));
    }
}
