//! `lambda-proto-tokio`.

use std::io::ErrorKind;
use std::sync::Arc;

use lambda_proto_host::{Error, Failure};
use lambda_proto_service::{Place, Service};
use lambda_proto_tokio::{
    Endpoint, HttpPrelude, Invocation, Responder, ResponseStream, Runtime, Sent,
};
use tokio::task::spawn_blocking;

use crate::{Act, Ending, Handler, Head, Running, Seen, Settings, Streamed, Transport};

/// `lambda-proto-tokio`: one task for all slots, on a current-thread runtime of tokio.
///
/// With one slot the handler runs in the task, which it may block; with several it runs on a
/// thread for each invocation, for which the task waits.
pub struct Tokio;

impl Transport for Tokio {
    fn service(&self) -> Service {
        Service::start()
    }

    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running {
        let runtime = configured(place, settings);
        let stop = runtime.stop_handle();
        Running::new(
            place.lines(),
            move || stop.stop(),
            move || {
                let mut tokio = tokio::runtime::Builder::new_current_thread();
                let tokio = tokio.enable_all().build().expect("tokio starts");
                match settings.is_pulling {
                    false => tokio.block_on(call(runtime, settings, &handler)),
                    true => tokio.block_on(pull(runtime, &handler)),
                }
            },
        )
    }
}

pub(crate) fn configured(place: &Place, settings: Settings) -> Runtime {
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
    runtime
}

async fn call(runtime: Runtime, settings: Settings, handler: &Handler) -> Result<(), Error> {
    let is_threaded = settings.slots.is_some_and(|slots| slots > 1);
    let run = runtime.run(async |invocation, responder| {
        let act = match is_threaded {
            false => handler(&Seen::new(*invocation, invocation.body())),
            true => ask_on_a_thread(handler, &invocation).await,
        };
        let sent = perform(act, responder).await?;
        Ok(sent.expect("only a handler that pulls drops its responder"))
    });
    run.await
}

/// Calls the handler on another thread, since it may block until another slot has an invocation.
async fn ask_on_a_thread(handler: &Handler, invocation: &Invocation<'_>) -> Act {
    let handler = Arc::clone(handler);
    let (head, index) = (invocation.as_bytes().to_vec(), invocation.index());
    let body = invocation.body().to_vec();
    let asked = spawn_blocking(move || handler(&Seen::new(index.on(&head), &body)));
    asked.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

async fn pull(runtime: Runtime, handler: &Handler) -> Result<(), Error> {
    let mut worker = runtime.into_worker();
    while let Some((invocation, responder)) = worker.next().await? {
        let act = handler(&Seen::new(*invocation, invocation.body()));
        if let Err(failure) = perform(act, responder).await.map(drop) {
            worker.fail(&failure).await;
        }
    }
    Ok(())
}

/// Answers, unless the action is to drop the responder.
async fn perform<'i>(act: Act, responder: Responder<'i>) -> Result<Option<Sent<'i>>, Failure> {
    let Act::Then(first, after) = act else { return answer(act, responder).await };
    let sent = match *first {
        Act::Fail(failure) => responder.fail(&failure).await,
        first => answer(first, responder).await?.expect("the first action is an answer"),
    };
    after(sent.receipt())?;
    Ok(Some(sent))
}

async fn answer<'i>(act: Act, responder: Responder<'i>) -> Result<Option<Sent<'i>>, Failure> {
    Ok(Some(match act {
        Act::Send(response) => responder.send(response.lent()?).await,
        Act::SendAndNext(response) => responder.send_and_next(response.lent()?).await,
        Act::Stream(streamed) => return stream(streamed, responder).await,
        Act::Fail(failure) => return Err(failure),
        Act::Drop => return Ok(None),
        Act::Then(..) => panic!("an action has one continuation"),
    }))
}

async fn stream<'i>(
    mut streamed: Streamed,
    responder: Responder<'i>,
) -> Result<Option<Sent<'i>>, Failure> {
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
async fn write(stream: &mut ResponseStream<'_>, streamed: &mut Streamed) -> Result<(), Failure> {
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
