//! An echo function that drives the core by hand over a `TcpStream`, without a transport crate.
//!
//! It shows every step and handles only the ordinary path: when the connection or the service
//! fails, it exits. `lambda_proto::driver` recovers from failures.

use std::convert::Infallible;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use lambda_proto::api::Endpoint;
use lambda_proto::machine::{Event, Machine, Phase};

fn main() -> ExitCode {
    let Err(error) = run();
    eprintln!("bare: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, Box<dyn Error>> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(|error| {
        format!("AWS_LAMBDA_RUNTIME_API: {error}; set it to the address of the Runtime API")
    })?;
    let endpoint = Endpoint::parse(&address)?;
    let mut stream = TcpStream::connect((endpoint.host(), endpoint.port()))?;
    stream.set_nodelay(true)?;

    let mut machine = Machine::new(endpoint);
    let mut out = [0; 4096];
    let mut room = vec![0; 64 * 1024];
    let mut input = Vec::new();
    let mut event = Vec::new();
    loop {
        // Send the next request, if there is one to send.
        let length = match machine.phase() {
            Phase::Init | Phase::Ready if machine.awaits().is_none() => machine.next(&mut out)?,
            Phase::Invoking => machine.respond(None, event.len(), &mut out)?,
            _ => 0,
        };
        stream.write_all(&out[..length])?;
        if machine.phase() == Phase::Reporting && length > 0 {
            stream.write_all(&event)?;
            event.clear();
        }
        machine.sent(machine.unsent_len());

        // Process the bytes that have arrived.
        let mut cursor = &input[..];
        while let Some(arrived) = machine.receive(&mut cursor)? {
            match arrived {
                Event::Body(piece) => event.extend_from_slice(piece),
                Event::Outcome(outcome) if !outcome.is_accepted() => eprintln!("{outcome}"),
                Event::Invocation(head) => eprintln!("invocation {}", head.request_id()),
                _ => {}
            }
        }
        let used = input.len() - cursor.len();
        input.drain(..used);

        // Wait for more, if a reply is outstanding.
        if machine.awaits().is_some() {
            let length = match stream.read(&mut room) {
                Ok(0) => return Err("the service has closed the connection".into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                Err(error) => return Err(error.into()),
            };
            input.extend_from_slice(&room[..length]);
        } else if machine.phase() == Phase::ShuttingDown {
            return Err("the service ended the session".into());
        }
    }
}
