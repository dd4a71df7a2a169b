//! Every kind of answer.

use std::borrow::Cow;

use lambda_proto_tokio::parallel::{Invocation, Responder, Sent};
use lambda_proto_tokio::tower::{Answer, service_fn};
use lambda_proto_tokio::{ContentType, Failure, Response};

use crate::support::{error_of, invoke_once};

#[test]
fn text_and_bytes_are_sent_as_they_are() {
    let request = invoke_once("", service_fn(async |_: Invocation| Ok("text")));
    request.assert_response("id-1");
    assert_eq!(request.body, b"text");
    assert_eq!(request.header("Content-Type"), None);
    let echo = service_fn(async |invocation: Invocation| Ok(invocation.body().to_vec()));
    assert_eq!(invoke_once([0, 255], echo).body, [0, 255]);
    let echo = service_fn(async |invocation: Invocation| Ok(invocation.request_id().to_owned()));
    assert_eq!(invoke_once("", echo).body, b"id-1");
    let cow = service_fn(async |_: Invocation| Ok(Cow::<'static, str>::from("cow")));
    assert_eq!(invoke_once("", cow).body, b"cow");
}

#[test]
fn a_response_is_sent_with_its_content_type() {
    let page = service_fn(async |_: Invocation| {
        Ok(Response::new("<p>Hello</p>".to_owned()).content_type(ContentType::HTML))
    });
    let request = invoke_once("", page);
    assert_eq!(request.body, b"<p>Hello</p>");
    assert_eq!(request.header("Content-Type"), Some("text/html; charset=utf-8"));
}

#[cfg(feature = "json")]
#[test]
fn json_is_written_and_a_value_that_is_none_is_a_failure() {
    use std::collections::HashMap;

    use lambda_proto_tokio::tower::Json;

    let add = service_fn(async |invocation: Invocation| {
        let (one, other): (u32, u32) = invocation.json()?;
        Ok(Json(one + other))
    });
    let request = invoke_once("[2,40]", add);
    assert_eq!(request.body, b"42");
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    assert_eq!(error_of(&invoke_once("[2]", add)).0, "Runtime.UnmarshalError");
    // The keys of a JSON object are texts.
    let no_json = service_fn(async |_: Invocation| Ok(Json(HashMap::from([((1, 2), 3)]))));
    assert_eq!(error_of(&invoke_once("", no_json)).0, "Runtime.MarshalError");
}

/// Streams the numbers below this one, unless it is odd.
struct Numbers(u32);

impl Answer for Numbers {
    async fn answer(self, responder: Responder) -> Result<Sent, Failure> {
        let mut stream = responder.stream(ContentType::TEXT);
        for number in 0..self.0 {
            stream.write_all(number.to_string().as_bytes()).await?;
        }
        if self.0 % 2 == 1 {
            return Err(Failure::new("Function.Odd", "an odd number"));
        }
        Ok(stream.finish().await)
    }
}

#[test]
fn a_type_of_the_function_streams_its_answer() {
    let count = service_fn(async |invocation: Invocation| {
        Ok(Numbers(std::str::from_utf8(invocation.body())?.parse()?))
    });
    let request = invoke_once("4", count);
    assert_eq!(request.chunks, [b"0", b"1", b"2", b"3"]);
    assert!(request.trailers.is_empty(), "{request:?}");
    let request = invoke_once("3", count);
    assert_eq!(request.chunks, [b"0", b"1", b"2"]);
    assert_eq!(request.trailer("Lambda-Runtime-Function-Error-Type"), Some("Function.Odd"));
    assert_eq!(error_of(&invoke_once("x", count)).0, "Function.Error");
}

#[test]
fn a_service_of_tower_itself_may_have_any_error() {
    let refuse = tower::service_fn(async |invocation: Invocation| {
        Err::<String, _>(format!("no {}", invocation.request_id()))
    });
    assert_eq!(error_of(&invoke_once("", refuse)).1, "no id-1");
    let never = tower::service_fn(async |_: Invocation| Ok::<_, std::convert::Infallible>("yes"));
    assert_eq!(invoke_once("", never).body, b"yes");
}
