//! The function as a process under the lab, with a queue that the test plays.

mod endpoint;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use endpoint::{Endpoint, MESSAGE_ID, Reply};
use hyper::StatusCode;
use lambda_lab::{Event, FailureKind, Function, FunctionFailure, InvokeError, Output};
use serde_json::json;

const QUEUE_URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";

/// The function with an environment as Lambda makes it, and this queue.
fn function(queue: &Endpoint) -> Function {
    Function::new(env!("CARGO_BIN_EXE_aws-sdk"))
        .clean_env()
        .variable("AWS_REGION", "eu-west-1")
        .variable("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
        .variable("AWS_SECRET_ACCESS_KEY", "not a secret")
        .variable("AWS_SESSION_TOKEN", "a token")
        // Of no invocation, so that a request that has it shows that the SDK has read the variable.
        .variable("_X_AMZN_TRACE_ID", "Root=1-0-0;Sampled=0")
        .variable("AWS_ENDPOINT_URL_SQS", queue.url())
        .variable("QUEUE_URL", QUEUE_URL)
        .output(Output::Discarded)
}

fn failure(result: Result<lambda_lab::Answer, InvokeError>) -> FunctionFailure {
    result.unwrap_err().function().expect("the function itself fails").clone()
}

fn text(failure: &FunctionFailure) -> String {
    String::from_utf8_lossy(&failure.body).into_owned()
}

#[test]
fn an_order_is_sent_to_the_queue_and_the_id_of_its_message_returned() {
    let queue = Endpoint::start(|_| Reply::Taken);
    let lab = function(&queue).start().unwrap();
    let answer = lab.invoke(r#"{"order":"two pears"}"#).unwrap();
    assert_eq!(answer.text(), json!({ "message_id": MESSAGE_ID }).to_string());
    let [request] = &queue.requests()[..] else { panic!("{:?}", queue.requests()) };
    assert_eq!(request.header("x-amz-target"), "AmazonSQS.SendMessage");
    assert_eq!(request.body, json!({ "QueueUrl": QUEUE_URL, "MessageBody": "two pears" }));
}

#[test]
fn requests_are_signed_with_the_credentials_and_the_region_of_the_environment() {
    let queue = Endpoint::start(|_| Reply::Taken);
    let lab = function(&queue).start().unwrap();
    lab.invoke(r#"{"order":"a plum"}"#).unwrap();
    let request = queue.requests().remove(0);
    let signature = request.header("authorization");
    assert!(signature.starts_with("AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/"), "{signature}");
    assert!(signature.contains("/eu-west-1/sqs/aws4_request"), "{signature}");
    assert_eq!(request.header("x-amz-security-token"), "a token");
}

#[test]
fn a_request_that_is_throttled_or_fails_in_the_queue_is_sent_again() {
    for (status, name) in [
        (StatusCode::BAD_REQUEST, "RequestThrottled"),
        (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
    ] {
        let queue = Endpoint::start(move |number| match number {
            1 => Reply::Error(status, name),
            _ => Reply::Taken,
        });
        let lab = function(&queue).start().unwrap();
        let answer = lab.invoke(r#"{"order":"a fig"}"#).unwrap();
        assert!(answer.text().contains(MESSAGE_ID), "{name}: {}", answer.text());
        let attempts: Vec<_> = queue.requests();
        let attempts: Vec<_> = attempts.iter().map(|it| it.header("amz-sdk-request")).collect();
        assert_eq!(attempts, ["attempt=1; max=3", "attempt=2; max=3"], "{name}");
    }
}

#[test]
fn an_order_that_the_queue_refuses_is_not_sent_again_and_its_caller_learns_why() {
    let refusal = Reply::Error(StatusCode::BAD_REQUEST, "InvalidMessageContents");
    let queue = Endpoint::start(move |_| refusal);
    let lab = function(&queue).start().unwrap();
    let failure = failure(lab.invoke(r#"{"order":"\u0001"}"#));
    assert_eq!(failure.error_type().as_deref(), Some("Function.OrderNotTaken"));
    assert!(text(&failure).contains("InvalidMessageContents"), "{}", text(&failure));
    assert_eq!(queue.requests().len(), 1);
}

#[test]
fn a_queue_that_never_replies_fails_the_invocation_before_its_deadline_and_not_the_next() {
    let is_silent = Arc::new(AtomicBool::new(true));
    let asked = is_silent.clone();
    let queue = Endpoint::start(move |_| match asked.load(Ordering::Relaxed) {
        true => Reply::Never,
        false => Reply::Taken,
    });
    // The operation ends 2.5 s after the event. A busy machine has the rest to report it.
    let function = function(&queue).timeout(Duration::from_secs(30));
    let lab = function.variable("LAMBDA_PROTO_CANCELLATION_BUFFER_MS", "27500").start().unwrap();
    let began = Instant::now();
    let failure = failure(lab.invoke(r#"{"order":"a quince"}"#));
    let took = began.elapsed();
    // The lab would have ended the process at the deadline.
    assert_eq!(failure.kind, FailureKind::Reported, "{}", text(&failure));
    assert_eq!(failure.error_type().as_deref(), Some("Function.QueueTimedOut"));
    let message = "the queue did not answer in time";
    assert_eq!(failure.error_message().as_deref(), Some(message));
    assert!(text(&failure).contains("operation timeout"), "{}", text(&failure));
    assert!(took > Duration::from_secs(2), "{took:?}");

    is_silent.store(false, Ordering::Relaxed);
    let answer = lab.invoke(r#"{"order":"a pear"}"#).unwrap();
    assert!(answer.text().contains(MESSAGE_ID), "{}", answer.text());
}

#[test]
fn a_request_that_is_not_answered_within_a_second_is_sent_again() {
    let queue = Endpoint::start(|number| match number {
        1 => Reply::Never,
        _ => Reply::Taken,
    });
    let lab = function(&queue).start().unwrap();
    let answer = lab.invoke(r#"{"order":"a medlar"}"#).unwrap();
    assert!(answer.text().contains(MESSAGE_ID), "{}", answer.text());
    assert!(queue.requests().len() > 1, "{:?}", queue.requests());
}

#[test]
fn each_of_four_concurrent_invocations_sends_its_own_trace_id() {
    const SLOTS: usize = 4;
    // No request has its reply before all have arrived.
    let queue = Endpoint::start(|_| Reply::TakenWhen(SLOTS));
    let lab = function(&queue).concurrency(SLOTS).start().unwrap();
    let trace_id =
        |order: &str| format!("Root=1-67891233-{order};Parent=53995c3f42cd8ad8;Sampled=1");
    let orders = ["apple", "pear", "plum", "fig"];
    thread::scope(|scope| {
        for order in orders {
            let (lab, event) = (&lab, json!({ "order": order }).to_string());
            let event = Event::new(event).trace_id(trace_id(order));
            scope.spawn(move || lab.invoke(event).unwrap());
        }
    });
    let requests = queue.requests();
    assert_eq!(requests.len(), SLOTS);
    for order in orders {
        let request = requests.iter().find(|request| request.order() == order).expect(order);
        assert_eq!(request.header("x-amzn-trace-id"), trace_id(order));
    }
}

#[test]
fn a_request_that_is_sent_again_has_the_trace_id_again() {
    let queue = Endpoint::start(|number| match number {
        1 => Reply::Error(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
        _ => Reply::Taken,
    });
    let lab = function(&queue).start().unwrap();
    lab.invoke(Event::new(r#"{"order":"a date"}"#).trace_id("Root=1-2-3")).unwrap();
    let requests = queue.requests();
    let trace_ids: Vec<_> = requests.iter().map(|it| it.header("x-amzn-trace-id")).collect();
    assert_eq!(trace_ids, ["Root=1-2-3", "Root=1-2-3"]);
}

#[test]
fn all_invocations_share_a_client_and_its_connection() {
    let queue = Endpoint::start(|_| Reply::Taken);
    let lab = function(&queue).start().unwrap();
    for number in 0..20 {
        lab.invoke(json!({ "order": number.to_string() }).to_string()).unwrap();
    }
    assert_eq!((queue.requests().len(), queue.connections()), (20, 1));
}

#[test]
fn a_function_without_the_url_of_its_queue_does_not_start_and_says_what_is_missing() {
    let queue = Endpoint::start(|_| Reply::Taken);
    let function = Function::new(env!("CARGO_BIN_EXE_aws-sdk")).clean_env();
    let lab = function.output(Output::Discarded).start().unwrap();
    let failure = failure(lab.invoke(r#"{"order":"a lime"}"#));
    assert_eq!(failure.kind, FailureKind::Init);
    assert!(text(&failure).contains("QUEUE_URL is not set"), "{}", text(&failure));
    assert_eq!(queue.requests().len(), 0);
}
