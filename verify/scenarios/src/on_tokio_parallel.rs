//! `lambda-proto-tokio` with handlers that own their invocation.

use std::io::ErrorKind;

use lambda_proto_host::{Error, Failure};
use lambda_proto_service::{Place, Service};
use lambda_proto_tokio::parallel::{Responder, ResponseStream, Sent};
use lambda_proto_tokio::{HttpPrelude, Runtime};
use tokio::task::block_in_place;

use crate::on_tokio::{Tokio, configured};
use crate::{Act, Ending, Handler, Head, Running, Seen, Settings, Streamed, Transport};

/// `lambda-proto-tokio`: a task for each slot, on a runtime of tokio with two threads.
///
/// Programs that pull do not differ from those of [`Tokio`].
pub struct TokioParallel;

impl Transport for TokioParallel {
    fn service(&self) -> Service {
        Service::start()
    }

    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running {
        if settings.is_pulling {
            return Tokio.start(place, settings, handler);
        }
        let runtime = configured(place, settings);
        let stop = runtime.stop_handle();
        Running::new(
            place.lines(),
            move || stop.stop(),
            move || {
                let mut tokio = tokio::runtime::Builder::new_multi_thread();
                let tokio = tokio.worker_threads(2).enable_all().build().expect("tokio starts");
                tokio.block_on(call(runtime, handler))
            },
        )
    }
}

async fn call(runtime: Runtime, handler: Handler) -> Result<(), Error> {
    let handle = move |invocation: lambda_proto_tokio::parallel::Invocation, responder| {
        let handler = handler.clone();
        async move {
            // It may block until another slot has an invocation.
            let act = block_in_place(|| handler(&Seen::new(invocation.head(), invocation.body())));
            let sent = perform(act, responder).await?;
            Ok(sent.expect("only a handler that pulls drops its responder"))
        }
    };
    runtime.run_parallel(handle).await
}

/// Answers, unless the action is to drop the responder.
async fn perform(act: Act, responder: Responder) -> Result<Option<Sent>, Failure> {
    let Act::Then(first, after) = act else { return answer(act, responder).await };
    let sent = match *first {
        Act::Fail(failure) => responder.fail(&failure).await,
        first => answer(first, responder).await?.expect("the first action is an answer"),
    };
    after(sent.receipt())?;
    Ok(Some(sent))
}

async fn answer(act: Act, responder: Responder) -> Result<Option<Sent>, Failure> {
    Ok(Some(match act {
        Act::Send(response) => responder.send(response.lent()?).await,
        Act::SendAndNext(response) => responder.send_and_next(response.lent()?).await,
        Act::Stream(streamed) => return stream(streamed, responder).await,
        Act::Fail(failure) => return Err(failure),
        Act::Drop => return Ok(None),
        Act::Then(..) => panic!("an action has one continuation"),
    }))
}

async fn stream(mut streamed: Streamed, responder: Responder) -> Result<Option<Sent>, Failure> {
    let mut stream = match &streamed.head {
        Head::Plain(content_type) => responder.stream(*content_type),
        Head::Http(status, name, value, cookie) => {
            let (headers, cookies) = ([(&**name, &**value)], [&**cookie]);
            responder.stream_http(&HttpPrelude::new(*status, &headers, &cookies)?).await
        }
    };
    let written = write(&mut stream, &mut streamed).await;
    Ok(Some(match streamed.ending(written) {
        Ending::Finish => stream.finish().await,
        Ending::FinishAndNext => stream.finish_and_next().await,
        Ending::Fail(failure) => stream.fail(&failure).await,
        Ending::Return(failure) => return Err(failure),
        Ending::Drop => return Ok(None),
    }))
}

/// Writes all pieces; once one was not taken, no other is.
async fn write(stream: &mut ResponseStream, streamed: &mut Streamed) -> Result<(), Failure> {
    while let Some(piece) = streamed.next_piece() {
        if let Err(error) = stream.write_all(&piece).await {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            let again = stream.write_all(b"x").await.expect_err("it stays broken");
            assert_eq!(again.kind(), ErrorKind::BrokenPipe);
            return Err(error.into());
        }
    }
    Ok(())
}
