//! `lambda-proto-std`.

use std::io::{ErrorKind, Write};

use lambda_proto_host::{Error, Failure};
use lambda_proto_service::{Place, Service};
use lambda_proto_std::{Endpoint, Responder, ResponseStream, Runtime, Sent};

use crate::{Act, Ending, Handler, Head, Running, Seen, Settings, Streamed, Transport};

/// `lambda-proto-std`: a thread and a blocking socket for each slot.
pub struct Std;

impl Transport for Std {
    fn service(&self) -> Service {
        Service::start()
    }

    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running {
        let endpoint = Endpoint::parse(place.address()).expect("the test's address is one");
        let lines = place.lines().clone();
        let mut runtime = Runtime::new(endpoint).log(move |line| lines.push(line.to_string()));
        if let Some(slots) = settings.slots {
            runtime = runtime.slots(slots);
        }
        if let Some(bytes) = settings.max_event {
            runtime = runtime.max_event(bytes);
        }
        if let Some(patience) = settings.patience {
            runtime = runtime.give_up_after(patience);
        }
        let stop = runtime.stop_handle();
        Running::new(
            place.lines(),
            move || stop.stop(),
            move || match settings.is_pulling {
                false => call(runtime, &handler),
                true => pull(runtime, &handler),
            },
        )
    }
}

fn call(runtime: Runtime, handler: &Handler) -> Result<(), Error> {
    runtime.run(|invocation, responder| {
        let act = handler(&Seen::new(*invocation, invocation.body()));
        Ok(perform(act, responder)?.expect("only a handler that pulls drops its responder"))
    })
}

fn pull(runtime: Runtime, handler: &Handler) -> Result<(), Error> {
    let mut worker = runtime.into_worker();
    while let Some((invocation, responder)) = worker.next()? {
        let act = handler(&Seen::new(*invocation, invocation.body()));
        if let Err(failure) = perform(act, responder).map(drop) {
            worker.fail(&failure);
        }
    }
    Ok(())
}

/// Answers, unless the action is to drop the responder.
fn perform<'i>(act: Act, responder: Responder<'i>) -> Result<Option<Sent<'i>>, Failure> {
    Ok(Some(match act {
        Act::Send(response) => responder.send(response.lent()?),
        Act::SendAndNext(response) => responder.send_and_next(response.lent()?),
        Act::Stream(streamed) => return stream(streamed, responder),
        Act::Fail(failure) => return Err(failure),
        Act::Drop => return Ok(None),
        Act::Then(first, after) => {
            let sent = match *first {
                Act::Fail(failure) => responder.fail(&failure),
                first => perform(first, responder)?.expect("the first action is an answer"),
            };
            after(sent.receipt())?;
            sent
        }
    }))
}

fn stream<'i>(streamed: Streamed, responder: Responder<'i>) -> Result<Option<Sent<'i>>, Failure> {
    let mut stream = match &streamed.head {
        Head::Plain(content_type) => responder.stream(*content_type),
        Head::Http(status, name, value, cookie) => {
            Head::with_prelude(*status, (name, value), cookie, |prelude| {
                responder.stream_http(prelude)
            })?
        }
    };
    Ok(Some(match streamed.write(|piece| write(&mut stream, piece)) {
        Ending::Finish => stream.finish(),
        Ending::FinishAndNext => stream.finish_and_next(),
        Ending::Fail(failure) => stream.fail(&failure),
        Ending::Return(failure) => return Err(failure),
        Ending::Drop => return Ok(None),
    }))
}

/// Writes a piece, which is taken completely or not at all.
fn write(stream: &mut ResponseStream<'_>, piece: &[u8]) -> Result<(), Failure> {
    match stream.write(piece) {
        Ok(length) => assert_eq!(length, piece.len()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let again = stream.write(b"x").expect_err("it stays broken");
            assert_eq!(again.kind(), ErrorKind::BrokenPipe);
            return Err(error.into());
        }
    }
    Ok(())
}
