//! Answers immediately, and leaves its work to an internal extension: a thread that subscribes to
//! INVOKE.
//!
//! The environment is frozen when the runtime has asked for its next invocation and the extension
//! for its next event. So the extension does the work first, and asks afterwards.
//!
//! If the extension's connection is lost, for example by a snapshot, the process ends. Otherwise
//! the extension would never ask, and the invocation would last until its timeout.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- run --freeze --event 1 --event 2 target/release/examples/internal_extension
//! ```
//!
//! The event `fail` makes the handler fail. The extension learns of that, too.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use lambda_proto_extension::{
    EnvironmentEvent, Event, Extension, ExtensionName, InternalEvents, Refusal, Registrant,
};
use lambda_proto_std::{Endpoint, Failure, Runtime};

const USAGE: &str = "internal_extension [MILLISECONDS OF WORK]";

type Work = Box<dyn FnOnce() + Send>;
type Unexpected = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let work = match std::env::args().nth(1).map(|text| text.parse()) {
        None => Duration::from_millis(300),
        Some(Ok(millis)) => Duration::from_millis(millis),
        Some(Err(error)) => {
            eprintln!(
                "internal_extension: the milliseconds of work are not a number: {error}; {USAGE}"
            );
            return ExitCode::from(2);
        }
    };
    let result = Runtime::from_env().and_then(|runtime| {
        // Once the runtime has asked for an invocation, no extension can register.
        let subscription = runtime.init(|| Ok(Subscription::register()?))?;
        let (extension, ended) = mpsc::channel();
        thread::spawn(move || {
            let Err(error) = work_after_answers(subscription, &ended);
            eprintln!("internal_extension: {error}");
            std::process::exit(1);
        });
        runtime.run(move |invocation, responder| {
            let id = invocation.request_id().to_owned();
            let mut end = End { id: id.clone(), work: Vec::new(), extension: &extension };
            if invocation.body() == b"fail" {
                return Err(Failure::new("Function.GaveUp", "the event wants it"));
            }
            let sent = responder.send("answered");
            let answered = Instant::now();
            end.work.push(Box::new(move || {
                thread::sleep(work);
                let after = answered.elapsed().as_millis();
                eprintln!("internal_extension: {id}: the work ends {after} ms after its answer");
            }));
            Ok(sent)
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("internal_extension: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sent to the extension when the handler ends: with an answer, an error or a panic.
struct End<'s> {
    id: String,
    work: Vec<Work>,
    extension: &'s Sender<(String, Vec<Work>)>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let end = (std::mem::take(&mut self.id), std::mem::take(&mut self.work));
        // If the extension is gone, the process is about to end.
        let _ = self.extension.send(end);
    }
}

/// For each invocation, does the work that its handler has left to the extension.
fn work_after_answers(
    mut subscription: Subscription,
    ended: &Receiver<(String, Vec<Work>)>,
) -> Result<std::convert::Infallible, Unexpected> {
    loop {
        let current = subscription.next()?;
        loop {
            let (id, work) = ended.recv()?;
            work.into_iter().for_each(|work| work());
            if id == current {
                break;
            }
        }
    }
}

/// An extension that subscribes to INVOKE. It has its own connection, because its open `next` would
/// block that of the runtime.
struct Subscription {
    extension: Extension,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Subscription {
    fn register() -> Result<Self, Unexpected> {
        let endpoint = Endpoint::parse(&std::env::var("AWS_LAMBDA_RUNTIME_API")?)?;
        let stream = TcpStream::connect((endpoint.host(), endpoint.port()))?;
        stream.set_nodelay(true)?;
        let mut this = Self { extension: Extension::new(endpoint), stream, input: Vec::new() };
        let mut out = [0; 1024];
        let name = ExtensionName::new("after-the-answer")?;
        let registrant = Registrant::internal(name, InternalEvents::Invoke);
        let length = this.extension.register(&registrant, &mut out)?;
        this.exchange(&out[..length])?;
        Ok(this)
    }

    /// Asks for the next invocation and returns its request id. The environment may be frozen for
    /// any length of time during this call, so the connection has no timeout.
    fn next(&mut self) -> Result<String, Unexpected> {
        loop {
            let mut out = [0; 1024];
            let length = self.extension.next(&mut out)?;
            let document = self.exchange(&out[..length])?;
            if let EnvironmentEvent::Invoke(invoke) = self.extension.read_event(&document)? {
                return Ok(invoke.request_id.to_string());
            }
        }
    }

    /// Sends a request and returns the document of its reply.
    fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, Unexpected> {
        self.stream.write_all(request)?;
        self.extension.sent(request.len());
        let mut document = Vec::new();
        loop {
            let mut rest = &self.input[..];
            let mut reply = None;
            while let Some(event) = self.extension.receive(&mut rest)? {
                match event {
                    Event::Document(piece) => document.extend_from_slice(piece),
                    Event::Reply(complete) => reply = Some(complete),
                }
            }
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if let Some(reply) = reply {
                if !reply.is_accepted() {
                    return Err(Refusal::parse(reply, &document).to_string().into());
                }
                return Ok(document);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err("the service has closed the extension's connection".into()),
                Ok(length) => self.input.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
