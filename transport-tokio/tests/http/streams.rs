//! Responses that are streamed.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures_util::{StreamExt, stream};
use lambda_proto_service::Event;
use lambda_proto_tokio::http::{Http, OnError};
use tokio::sync::mpsc;

use super::support::{Function, event};

/// The content type of a stream that begins with status and headers.
const INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";

fn streamed(response: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Function {
    Function::answering(|http: Http<_>| http.streaming(true), response)
}

#[test]
fn function_urls_and_rest_apis_get_each_piece_as_a_chunk_after_status_headers_and_cookies() {
    let pieces = || {
        let pieces = ["one", "", "two"].map(Ok::<_, Infallible>);
        Response::builder()
            .status(202)
            .header("content-type", "text/plain")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .header("vary", "accept")
            .header("vary", "cookie")
            .body(Body::from_stream(stream::iter(pieces)))
            .expect("a response")
    };
    let prelude = concat!(
        r#"{"statusCode":202,"headers":{"content-type":"text/plain","vary":"accept, cookie"},"#,
        r#""cookies":["a=1","b=2"]}"#,
    );
    let chunks = [prelude, "\0\0\0\0\0\0\0\0", "one", "two"].map(|text| text.as_bytes().to_vec());
    for source in ["function_url", "rest_api"] {
        let mut function = streamed(pieces);
        let answer = function.invoke(event(source));
        answer.assert_response("id-1");
        assert_eq!(answer.header("Content-Type"), Some(INTEGRATION));
        assert_eq!(answer.chunks, chunks);
        assert_eq!(answer.trailer("Lambda-Runtime-Function-Error-Type"), None);
        function.stop();
    }
}

#[test]
fn a_piece_is_sent_before_the_next_one_exists() {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = std::sync::Arc::new(tokio::sync::Mutex::new(receiver));
    let app = axum::Router::new().fallback(async move || {
        Body::from_stream(stream::unfold(receiver, async |receiver| {
            let piece = receiver.lock().await.recv().await?;
            Some((Ok::<_, Infallible>(piece), receiver.clone()))
        }))
    });
    let mut function = Function::of(Http::new(app).streaming(true));
    let connection = function.connection();
    connection.invoke(Event::new("id-1", event("function_url")));
    connection.head().assert_response("id-1");
    let mut chunk = || connection.chunk().map(|chunk| String::from_utf8(chunk).expect("text"));
    assert!(chunk().is_some_and(|prelude| prelude.starts_with(r#"{"statusCode":200"#)));
    assert!(chunk().is_some());
    sender.blocking_send(Bytes::from_static(b"first")).expect("it is awaited");
    assert_eq!(chunk().as_deref(), Some("first"));
    sender.blocking_send(Bytes::from_static(b"second")).expect("it is awaited");
    assert_eq!(chunk().as_deref(), Some("second"));
    drop(sender);
    assert_eq!(chunk(), None);
    assert!(connection.trailers().is_empty());
    connection.take_answer();
    function.stop();
}

#[test]
fn a_body_that_fails_ends_the_stream_with_its_error_whatever_becomes_of_others() {
    for on_error in [OnError::Report, OnError::Respond] {
        let fails = || {
            let pieces = stream::iter([Ok("one"), Err(io::Error::other("the disk is gone"))]);
            Response::new(Body::from_stream(pieces))
        };
        let change = |http: Http<_>| http.streaming(true).on_error(on_error);
        let mut function = Function::answering(change, fails);
        let answer = function.invoke(event("function_url"));
        answer.assert_response("id-1");
        assert_eq!(answer.chunks.last().map(Vec::as_slice), Some(&b"one"[..]));
        assert_eq!(answer.trailer_error()["errorMessage"], "the disk is gone");
        function.stop();
    }
}

#[test]
fn a_body_that_fails_at_once_fails_before_the_stream_has_begun() {
    let fails = || {
        let pieces = stream::iter([Err::<&str, _>(io::Error::other("there is no disk"))]);
        Response::new(Body::from_stream(pieces))
    };
    let panics = || {
        let pieces = stream::once(async { panic!("a bug") }).map(Ok::<&str, Infallible>);
        Response::new(Body::from_stream(pieces))
    };
    let mut function = streamed(fails);
    let answer = function.invoke(event("function_url"));
    answer.assert_error("id-1", "Function.Error");
    assert_eq!(answer.json()["errorMessage"], "there is no disk");
    function.stop();

    let mut function = streamed(panics);
    function.invoke(event("rest_api")).assert_error("id-1", "Function.Panic");
    function.stop();

    let change = |http: Http<_>| http.streaming(true).on_error(OnError::Respond);
    let mut function = Function::answering(change, fails);
    let answer = function.invoke(event("function_url"));
    answer.assert_response("id-1");
    assert_eq!(answer.header("Content-Type"), Some(INTEGRATION));
    let prelude = br#"{"statusCode":500,"headers":{},"cookies":[]}"#;
    assert_eq!(answer.chunks, [&prelude[..], &[0; 8]]);
    let lines = function.stop();
    assert!(lines.iter().any(|line| line.contains("there is no disk")), "{lines:?}");
}

#[test]
fn a_stream_that_nobody_reads_any_more_is_dropped() {
    /// Sends when it is dropped.
    struct Dropped(std::sync::mpsc::Sender<()>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _heard = self.0.send(());
        }
    }

    let (sender, dropped) = std::sync::mpsc::channel();
    let endless = move || {
        let held = Dropped(sender.clone());
        let pieces = stream::unfold(held, async |held| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, Infallible>("x".repeat(1000)), held))
        });
        Response::new(Body::from_stream(pieces))
    };
    let mut function = streamed(endless);
    let connection = function.connection();
    connection.invoke(Event::new("id-1", event("function_url")));
    connection.head().assert_response("id-1");
    assert!(connection.chunk().is_some());
    assert!(dropped.try_recv().is_err());
    let next = function.reconnect();
    assert!(next.is_next());
    // The body is dropped before the next invocation is asked for.
    dropped.try_recv().expect("the body is dropped");
    function.stop();
}

#[test]
fn an_empty_body_is_a_stream_of_status_and_headers() {
    let mut function = streamed(|| Response::new(Body::empty()));
    let answer = function.invoke(event("rest_api"));
    assert_eq!(answer.chunks.len(), 2);
    assert_eq!(answer.header("Content-Type"), Some(INTEGRATION));
    function.stop();
}
