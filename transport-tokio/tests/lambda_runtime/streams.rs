//! Streamed responses.

use futures_util::stream;
use lambda_proto_service::Request;
use lambda_proto_tokio::lambda_runtime::streaming::{Body, Response, channel};
use lambda_proto_tokio::lambda_runtime::{
    Error, LambdaEvent, MetadataPrelude, StreamResponse, service_fn,
};
use serde_json::{Value, json};

use crate::support::{event, invoke_once};

/// The prelude of a stream, and the pieces after it.
#[track_caller]
fn parts(request: &Request) -> (Value, Vec<&[u8]>) {
    let content_type = "application/vnd.awslambda.http-integration-response";
    assert_eq!(request.header("Content-Type"), Some(content_type));
    let [prelude, end, pieces @ ..] = &request.chunks[..] else { panic!("{request:?}") };
    assert_eq!(end, &[0; 8]);
    let prelude = serde_json::from_slice(prelude).expect("the prelude is JSON");
    (prelude, pieces.iter().map(|piece| &**piece).collect())
}

#[test]
fn another_task_writes_the_body_through_a_channel() {
    async fn count(event: LambdaEvent<u32>) -> Result<Response<Body>, Error> {
        let (mut sender, body) = channel();
        tokio::spawn(async move {
            for number in 0..event.payload {
                sender.send_data(format!("{number}").into()).await.expect("somebody reads");
            }
        });
        Ok(Response::from(body))
    }

    let request = invoke_once(event("3"), service_fn(count));
    let (prelude, pieces) = parts(&request);
    let headers = json!({"content-type": "application/octet-stream"});
    assert_eq!(prelude, json!({"statusCode": 200, "headers": headers, "cookies": []}));
    assert_eq!(pieces, [b"0", b"1", b"2"]);
    assert!(request.trailers.is_empty());
}

#[test]
fn status_headers_and_cookies_come_first() {
    async fn page(_: LambdaEvent<()>) -> Result<StreamResponse<Body>, Error> {
        let mut prelude = MetadataPrelude {
            status_code: http::StatusCode::CREATED,
            cookies: vec!["a=1".to_owned()],
            ..MetadataPrelude::default()
        };
        prelude.headers.append("content-type", "text/html".parse()?);
        prelude.headers.append("vary", "accept".parse()?);
        prelude.headers.append("vary", "cookie".parse()?);
        prelude.headers.append("set-cookie", "b=2".parse()?);
        prelude.headers.append("set-cookie", "c=3".parse()?);
        Ok(StreamResponse { metadata_prelude: prelude, stream: Body::from("<p>Hello</p>") })
    }

    let request = invoke_once(event("null"), service_fn(page));
    let (prelude, pieces) = parts(&request);
    let headers = json!({"content-type": "text/html", "vary": "accept, cookie"});
    let cookies = json!(["a=1", "b=2", "c=3"]);
    assert_eq!(prelude, json!({"statusCode": 201, "headers": headers, "cookies": cookies}));
    assert_eq!(pieces, [b"<p>Hello</p>"]);
}

#[test]
fn any_stream_is_a_body_and_its_error_ends_the_response() {
    type Numbers = stream::Iter<std::array::IntoIter<Result<&'static str, String>, 2>>;

    async fn numbers(event: LambdaEvent<bool>) -> Result<StreamResponse<Numbers>, Error> {
        let last = if event.payload { Err("no more".to_owned()) } else { Ok("two") };
        Ok(stream::iter([Ok("one"), last]).into())
    }

    let request = invoke_once(event("false"), service_fn(numbers));
    assert_eq!(parts(&request).1, [b"one", b"two"]);
    let request = invoke_once(event("true"), service_fn(numbers));
    assert_eq!(parts(&request).1, [b"one"]);
    let error_type = request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Error"));
}

#[test]
fn a_sender_ends_the_body_with_an_error_or_finds_that_nobody_reads() {
    async fn broken(_: LambdaEvent<()>) -> Result<Response<Body>, Error> {
        let (mut sender, body) = channel();
        tokio::spawn(async move {
            sender.send_data("one".into()).await.expect("somebody reads");
            sender.send_error("the table is gone").await;
        });
        Ok(body.into())
    }

    let request = invoke_once(event("null"), service_fn(broken));
    assert_eq!(parts(&request).1, [b"one"]);
    let error_type = request.trailer("Lambda-Runtime-Function-Error-Type");
    assert_eq!(error_type, Some("Function.Error"));

    let (mut sender, body) = channel();
    assert_eq!(sender.try_send_data("one".into()), Ok(()));
    assert_eq!(sender.try_send_data("two".into()), Err("two".into()));
    drop(body);
    assert_eq!(sender.try_send_data("two".into()), Err("two".into()));
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("tokio starts");
    let error = tokio.block_on(sender.send_data("two".into())).unwrap_err();
    assert!(error.to_string().contains("stop sending"), "{error}");
}

#[test]
fn a_header_that_is_no_text_is_reported_instead_of_a_stream() {
    async fn page(_: LambdaEvent<()>) -> Result<StreamResponse<Body>, Error> {
        let mut prelude = MetadataPrelude::default();
        prelude.headers.append("x-name", http::HeaderValue::from_bytes(b"\xff")?);
        Ok(StreamResponse { metadata_prelude: prelude, stream: Body::empty() })
    }

    let request = invoke_once(event("null"), service_fn(page));
    request.assert_error("id-1", "Runtime.MarshalError");
}
