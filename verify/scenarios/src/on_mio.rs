//! `lambda-proto-mio`.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::thread;

use lambda_proto_host::Failure;
use lambda_proto_mio::{
    self as mio, Endpoint, Invocation, Responder, ResponseStream, Runtime, Sent,
};
use lambda_proto_service::{Place, Service};

use crate::{Act, Ending, Handler, Head, Running, Seen, Settings, Streamed, Transport};

/// `lambda-proto-mio`: one loop for all slots.
///
/// With one slot the handler runs in the loop, with several on a thread for each invocation.
/// Streams are written by threads.
pub struct Mio;

impl Transport for Mio {
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
        let is_threaded = settings.slots.is_some_and(|slots| slots > 1);
        Running::new(
            place.lines(),
            move || stop.stop(),
            move || {
                runtime.run(|invocation, responder| {
                    if !is_threaded {
                        return perform(ask(&handler, &invocation), responder);
                    }
                    let handler = Arc::clone(&handler);
                    let (responder, sent) = responder.defer();
                    thread::spawn(move || match ask(&handler, &invocation) {
                        Act::Fail(failure) => responder.fail(&failure),
                        act => perform(act, responder).expect("the answer can be sent"),
                    });
                    Ok(sent)
                })
            },
        )
    }
}

fn ask(handler: &Handler, invocation: &Invocation) -> Act {
    handler(&Seen::new(invocation.head(), invocation.body()))
}

fn perform(act: Act, responder: Responder) -> Result<Sent, Failure> {
    Ok(match act {
        // `Send` borrows the body, `SendAndNext` gives it away.
        Act::Send(response) => responder.send(response.lent()?),
        Act::SendAndNext(response) => {
            let body = mio::Response::from(response.body().to_vec());
            responder.send_and_next(body.content_type(response.checked_type()?))
        }
        Act::Stream(streamed) => stream(streamed, responder)?,
        Act::Fail(failure) => return Err(failure),
        Act::Drop => responder.defer().1,
        Act::Then(..) => panic!("handlers of this runtime do not get the receipt of an answer"),
    })
}

fn stream(streamed: Streamed, responder: Responder) -> Result<Sent, Failure> {
    let (responder, sent) = responder.defer();
    let mut stream = match &streamed.head {
        Head::Plain(content_type) => responder.stream(*content_type),
        Head::Http(status, name, value, cookie) => {
            Head::with_prelude(*status, (name, value), cookie, |prelude| {
                responder.stream_http(prelude)
            })?
        }
    };
    thread::spawn(move || match streamed.write(|piece| write(&mut stream, piece)) {
        Ending::Finish => drop(stream.finish()),
        Ending::FinishAndNext => drop(stream.finish_and_next()),
        Ending::Fail(failure) | Ending::Return(failure) => drop(stream.fail(&failure)),
        Ending::Drop => drop(stream),
    });
    Ok(sent)
}

/// Writes a piece; a large one may be taken in parts.
fn write(stream: &mut ResponseStream, piece: &[u8]) -> Result<(), Failure> {
    if piece.is_empty() {
        assert_eq!(stream.write(piece)?, 0);
    }
    if let Err(error) = stream.write_all(piece) {
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let again = stream.write(b"x").expect_err("it stays broken");
        assert_eq!(again.kind(), ErrorKind::BrokenPipe);
        return Err(error.into());
    }
    Ok(())
}
