//! lambda_http.

use std::convert::Infallible;
use std::future::ready;
use std::panic::catch_unwind;

use futures_util::StreamExt;
use lambda_http::request::{LambdaRequest, RequestContext};
use lambda_http::{Adapter, Context, LambdaEvent, Request, RequestExt, Response, StreamAdapter};
use serde_json::Value;
use tower::{ServiceExt, service_fn};

use super::{Fields, Told};

/// What its application sees of this event, or why it sees nothing.
pub(super) fn request(event: &str) -> Result<Fields, String> {
    let read = || -> Result<Request, String> {
        let event: LambdaRequest =
            serde_json::from_str(event).map_err(|error| error.to_string())?;
        Ok(event.into())
    };
    let request = catch_unwind(read).unwrap_or_else(|_| Err("panics".to_owned()))?;
    let (head, body) = request.into_parts();
    let context = head.extensions.request_context();
    let told = match &context {
        RequestContext::ApiGatewayV2(context) => Told {
            context: "API Gateway V2",
            stage: context.stage.as_deref(),
            client: context.http.source_ip.clone(),
        },
        RequestContext::ApiGatewayV1(context) => Told {
            context: "API Gateway V1",
            stage: context.stage.as_deref(),
            client: context.identity.source_ip.clone(),
        },
        RequestContext::Alb(_) => Told { context: "load balancer", stage: None, client: None },
        other => panic!("{other:?}"),
    };
    Ok(super::request(&head.method, &head.uri, &head.headers, &body, told))
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

/// What is in its stream, if the application gives this response.
pub(super) fn streamed(event: &str, response: Response<Vec<u8>>) -> Fields {
    let event: LambdaRequest = serde_json::from_str(event).unwrap();
    let app = service_fn(move |_: Request| {
        ready(Ok::<_, Infallible>(response.clone().map(lambda_http::Body::from)))
    });
    let event = LambdaEvent::new(event, Context::default());
    super::ours::block_on(async {
        let mut response = StreamAdapter::from(app).oneshot(event).await.unwrap();
        let prelude = serde_json::to_value(&response.metadata_prelude).unwrap();
        let mut body = Vec::new();
        while let Some(piece) = response.stream.next().await {
            body.extend_from_slice(&piece.unwrap());
        }
        super::stream(&prelude, &body)
    })
}
