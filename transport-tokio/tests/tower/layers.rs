//! Layers, and services that are not ready.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{Ready, ready};
use lambda_proto_service::{Connection, Event, Service as Lambda};
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::{BoxError, service_fn};
use lambda_proto_tokio::{ErrorType, Failure};
use tokio::sync::Semaphore;
use tower::timeout::error::Elapsed;
use tower::{Service, ServiceBuilder};

use crate::support::{
    assert_unnamed, error_of, invoke, invoke_once, run, run_one, runtime, wait_until,
};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn a_time_limit_fails_its_invocation_and_no_other() {
    let lambda = Lambda::start();
    let layers = ServiceBuilder::new().timeout(SOON);
    let run = run_one(
        &lambda,
        layers.service(service_fn(async |invocation: Invocation| {
            if invocation.body() == b"late" {
                pending::<()>().await;
            }
            Ok("in time")
        })),
    );
    let mut connection = lambda.connection();
    for _ in 0..2 {
        assert_unnamed(&invoke(&mut connection, "late"), "request timed out");
        assert_eq!(invoke(&mut connection, "").body, b"in time");
    }
    connection.expect_next();
    let lines = run.stop();
    assert_eq!(lines[0], "invocation id-1: failed: Function.Error: request timed out");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn map_err_names_the_error_of_a_layer() {
    let named = |error: BoxError| match error.is::<Elapsed>() {
        true => Failure::new("Function.Slow", "the shop is slow").into_boxed_error(),
        false => error,
    };
    let layers = ServiceBuilder::new().map_err(named).timeout(SOON);
    let never = service_fn(async |_: Invocation| pending::<Result<&str, Failure>>().await);
    let expected = ("Function.Slow".to_owned(), "the shop is slow".to_owned());
    assert_eq!(error_of(&invoke_once("", layers.service(never))), expected);
}

/// Answers each event when the semaphore has a permit, and counts those that are being answered.
#[derive(Clone)]
struct Counted {
    go_on: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Counted {
    fn new() -> Self {
        let go_on = Arc::new(Semaphore::new(0));
        Self { go_on, begun: Arc::default(), most: Arc::default() }
    }

    async fn answer(self) -> Result<&'static str, Failure> {
        self.most.fetch_max(self.begun.fetch_add(1, SeqCst) + 1, SeqCst);
        self.go_on.acquire().await?.forget();
        self.begun.fetch_sub(1, SeqCst);
        Ok("answer")
    }
}

/// Sends an event to each slot.
fn invoke_all(connections: &mut [Connection]) {
    for connection in connections {
        connection.send(Event::new("id-1", "").bytes());
    }
}

/// Takes an answer of each slot.
#[track_caller]
fn expect_answers(connections: &mut [Connection]) {
    for connection in connections {
        assert_eq!(connection.request().body, b"answer");
        connection.take_answer();
        connection.expect_next();
    }
}

#[test]
fn a_limit_of_concurrency_holds_over_all_slots() {
    let lambda = Lambda::start();
    let counted = Counted::new();
    let answers = counted.clone();
    let service = service_fn(move |_: Invocation| answers.clone().answer());
    let service = ServiceBuilder::new().concurrency_limit(2).service(service);
    let run = run(&lambda, runtime(&lambda).slots(4), move || service);
    let mut connections = lambda.open_slots(4);
    for _ in 0..5 {
        invoke_all(&mut connections);
        counted.go_on.add_permits(4);
        expect_answers(&mut connections);
    }
    assert_eq!(run.stop(), [""; 0]);
    assert!((1..=2).contains(&counted.most.load(SeqCst)), "{:?}", counted.most);
}

#[test]
fn an_invocation_waits_until_the_service_is_ready_for_it() {
    let lambda = Lambda::start();
    let counted = Counted::new();
    let answers = counted.clone();
    let service = service_fn(move |_: Invocation| answers.clone().answer());
    // The time limit begins when the service is called.
    let layers = ServiceBuilder::new().timeout(Duration::from_secs(30)).concurrency_limit(1);
    let service = layers.service(service);
    let run = run(&lambda, runtime(&lambda).slots(2), move || service);
    let mut connections = lambda.open_slots(2);
    connections[0].send(Event::new("id-1", "").bytes());
    wait_until(|| counted.begun.load(SeqCst) > 0);
    connections[1].send(Event::new("id-1", "").bytes());
    connections[1].expect_silence();
    counted.go_on.add_permits(1);
    expect_answers(&mut connections[..1]);
    counted.go_on.add_permits(1);
    expect_answers(&mut connections[1..]);
    assert_eq!(run.stop(), [""; 0]);
    assert_eq!(counted.most.load(SeqCst), 1);
}

#[test]
fn load_is_shed_instead_of_a_wait() {
    let lambda = Lambda::start();
    let counted = Counted::new();
    let answers = counted.clone();
    let service = service_fn(move |_: Invocation| answers.clone().answer());
    let service = ServiceBuilder::new().load_shed().concurrency_limit(1).service(service);
    let run = run(&lambda, runtime(&lambda).slots(2), move || service);
    let mut connections = lambda.open_slots(2);
    connections[0].send(Event::new("id-1", "").bytes());
    wait_until(|| counted.begun.load(SeqCst) > 0);
    for _ in 0..2 {
        connections[1].send(Event::new("id-1", "").bytes());
        let request = connections[1].request();
        assert_unnamed(&request, "service overloaded");
        connections[1].take_answer();
        connections[1].expect_next();
    }
    counted.go_on.add_permits(2);
    expect_answers(&mut connections[..1]);
    connections[1].send(Event::new("id-1", "").bytes());
    expect_answers(&mut connections[1..]);
    run.stop();
}

#[test]
fn a_buffer_shares_one_service_that_cannot_be_cloned() {
    /// Counts its own calls.
    struct Single(usize);

    impl Service<Invocation> for Single {
        type Response = String;
        type Error = BoxError;
        type Future = Ready<Result<String, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Invocation) -> Self::Future {
            self.0 += 1;
            ready(Ok(self.0.to_string()))
        }
    }

    let lambda = Lambda::start();
    let run = run(&lambda, runtime(&lambda).slots(2), || {
        ServiceBuilder::new().buffer(2).service(Single(0))
    });
    let mut connections = lambda.open_slots(2);
    for call in 1..=6 {
        let connection = &mut connections[call % 2];
        connection.send(Event::new("id-1", "").bytes());
        assert_eq!(connection.request().body, call.to_string().as_bytes());
        connection.take_answer();
        connection.expect_next();
    }
    assert_eq!(run.stop(), [""; 0]);
}

/// Is ready every second time it is asked; its clones count together.
#[derive(Clone, Default)]
struct OftenBroken(Arc<AtomicUsize>);

impl Service<Invocation> for OftenBroken {
    type Response = &'static str;
    type Error = Failure;
    type Future = Ready<Result<&'static str, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self.0.fetch_add(1, SeqCst) % 2 {
            0 => Poll::Ready(Err(Failure::new("Function.Broken", "not ready at all"))),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Invocation) -> Self::Future {
        ready(Ok("answer"))
    }
}

#[test]
fn a_service_that_fails_before_it_is_ready_fails_the_invocation() {
    let lambda = Lambda::start();
    let run = run_one(&lambda, OftenBroken::default());
    let mut connection = lambda.connection();
    for _ in 0..2 {
        let expected = ("Function.Broken".to_owned(), "not ready at all".to_owned());
        assert_eq!(error_of(&invoke(&mut connection, "")), expected);
        assert_eq!(invoke(&mut connection, "").body, b"answer");
    }
    connection.expect_next();
    run.stop();
}

#[derive(Debug)]
enum Sad {
    Little,
    Very,
}

impl fmt::Display for Sad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sad: {self:?}")
    }
}

impl std::error::Error for Sad {}

impl ErrorType for Sad {
    fn error_type(&self) -> &str {
        match self {
            Self::Little => "Function.Sad",
            Self::Very => "Function.VerySad",
        }
    }
}

/// Fails as the event says.
async fn fail(invocation: Invocation) -> Result<&'static str, Failure> {
    match invocation.body() {
        b"named" => Err(Failure::new("Function.Named", "by the function").stack_trace("frame 1")),
        b"little" => Err(Sad::Little)?,
        b"very" => Err(Sad::Very)?,
        _ => Err("a text")?,
    }
}

/// A layer's own error around that of the service.
#[derive(Debug)]
struct Around(BoxError);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("around")
    }
}

impl std::error::Error for Around {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn a_failure_keeps_its_type_and_its_error_through_layers() {
    let lambda = Lambda::start();
    let layers = ServiceBuilder::new().load_shed().timeout(Duration::from_secs(30));
    let service = layers.service(service_fn(fail));
    let run = run(&lambda, runtime(&lambda).error_type::<Sad>(), move || service);
    let mut connection = lambda.connection();
    let request = invoke(&mut connection, "named");
    assert_eq!(request.json()["stackTrace"][0], "frame 1", "{request:?}");
    for (event, error_type, message) in [
        ("named", "Function.Named", "by the function"),
        ("little", "Function.Sad", "sad: Little"),
        ("very", "Function.VerySad", "sad: Very"),
        ("", "Function.Error", "a text"),
    ] {
        let expected = (error_type.to_owned(), message.to_owned());
        assert_eq!(error_of(&invoke(&mut connection, event)), expected);
    }
    connection.expect_next();
    run.stop();
}

#[test]
fn the_error_of_a_layer_has_the_type_of_the_failure_that_caused_it() {
    let lambda = Lambda::start();
    let layers = ServiceBuilder::new().map_err(Around);
    let service = layers.service(service_fn(fail));
    let run = run(&lambda, runtime(&lambda).error_type::<Sad>(), move || service);
    let mut connection = lambda.connection();
    for (event, error_type, cause) in [
        ("named", "Function.Named", "by the function"),
        ("very", "Function.VerySad", "sad: Very"),
        ("", "Function.Error", "a text"),
    ] {
        let request = invoke(&mut connection, event);
        let expected = (error_type.to_owned(), "around".to_owned());
        assert_eq!(error_of(&request), expected);
        let trace = &request.json()["stackTrace"];
        assert_eq!(*trace, serde_json::json!([format!("caused by: {cause}")]));
    }
    connection.expect_next();
    run.stop();
}
