//! lambda_http.

use std::convert::Infallible;
use std::future::ready;
use std::panic::catch_unwind;

use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, LambdaEvent, Request, Response};
use serde_json::Value;
use tower::{ServiceExt, service_fn};

use super::Fields;

/// What its application sees of this event, or why it sees nothing.
pub(super) fn request(event: &str) -> Result<Fields, String> {
    let read = || -> Result<Request, String> {
        let event: LambdaRequest =
            serde_json::from_str(event).map_err(|error| error.to_string())?;
        Ok(event.into())
    };
    let request = catch_unwind(read).unwrap_or_else(|_| Err("panics".to_owned()))?;
    let (head, body) = request.into_parts();
    Ok(super::request(&head.method, &head.uri, &head.headers, &body))
}

/// Its answer to this event, if the application gives this response.
pub(super) fn answer(event: &str, response: Response<Vec<u8>>) -> Result<Value, String> {
    let event: LambdaRequest = serde_json::from_str(event).unwrap();
    let app = service_fn(move |_: Request| {
        ready(Ok::<_, Infallible>(response.clone().map(lambda_http::Body::from)))
    });
    let event = LambdaEvent::new(event, Context::default());
    let answer = super::ours::block_on(Adapter::from(app).oneshot(event)).unwrap();
    serde_json::to_value(answer).map_err(|error| error.to_string())
}
