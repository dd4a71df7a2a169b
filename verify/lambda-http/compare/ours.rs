//! `lambda_proto_tokio::http`, in a runtime under a service of the Runtime API.

use std::convert::Infallible;
use std::future::ready;
use std::sync::mpsc::channel;

use lambda_http::http::{Request, Response};
use lambda_proto_service::{Event, Request as Answer, Running, Service};
use lambda_proto_tokio::http::{Body, ClientAddress, Http, RequestContext};
use lambda_proto_tokio::{Endpoint, Runtime};
use serde_json::Value;
use tower::service_fn;

use super::listed::UNREAD;
use super::{Fields, Told};

/// What its application sees of this event, or why it sees nothing.
pub(super) fn request(event: &str) -> Result<Fields, String> {
    let (sender, seen) = channel();
    let answer = invoke(event, false, move |request| {
        let (head, body) = request.into_parts();
        let body = body.into_bytes();
        let context: &RequestContext = head.extensions.get().unwrap();
        let client: Option<&ClientAddress> = head.extensions.get();
        let told = Told {
            context: match context {
                RequestContext::FunctionUrl(_) => "function URL",
                RequestContext::ApiGatewayV2(_) => "API Gateway V2",
                RequestContext::ApiGatewayV1(_) => "API Gateway V1",
                RequestContext::LoadBalancer(_) => "load balancer",
                RequestContext::Unread(_) => UNREAD,
                _ => "another",
            },
            stage: context.stage(),
            client: client.map(|ClientAddress(address)| address.to_string()),
        };
        let _ = sender.send(super::request(&head.method, &head.uri, &head.headers, &body, told));
        Response::new(Vec::new())
    });
    let answer = answer.json();
    seen.try_recv().map_err(|_| match answer["errorMessage"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("answers with status {}", answer["statusCode"]),
    })
}

/// Its answer to this event, if the application gives this response.
pub(super) fn answer(event: &str, response: Response<Vec<u8>>) -> Value {
    invoke(event, false, move |_| response.clone()).json()
}

/// What is in its stream, if the application gives this response.
pub(super) fn streamed(event: &str, response: Response<Vec<u8>>) -> Fields {
    let answer = invoke(event, true, move |_| response.clone());
    let bytes = answer.chunks.concat();
    let end = bytes.windows(8).position(|window| window == [0; 8]).unwrap();
    let prelude = serde_json::from_slice(&bytes[..end]).unwrap();
    super::stream(&prelude, &bytes[end + 8..])
}

fn invoke(
    event: &str,
    is_streamed: bool,
    app: impl Fn(Request<Body>) -> Response<Vec<u8>> + Clone + Send + 'static,
) -> Answer {
    let service = Service::start();
    let runtime = Runtime::new(Endpoint::parse(&service.address()).unwrap()).log(|_| {});
    let stop = runtime.stop_handle();
    let app = service_fn(move |request| ready(Ok::<_, Infallible>(app(request).map(Body::from))));
    let http = Http::new(app).streaming(is_streamed);
    let run = move || block_on(runtime.run_service(http));
    let running = Running::new(service.lines(), move || stop.stop(), run);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", event));
    let answer = connection.request();
    connection.take_answer();
    running.stop();
    answer
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().build().unwrap().block_on(future)
}
