//! `lambda_proto_tokio::http`, in a runtime under a service of the Runtime API.

use std::convert::Infallible;
use std::future::ready;
use std::sync::mpsc::channel;

use lambda_http::http::{Request, Response};
use lambda_proto_service::{Event, Running, Service};
use lambda_proto_tokio::http::{Body, Http};
use lambda_proto_tokio::{Endpoint, Runtime};
use serde_json::Value;
use tower::service_fn;

use super::Fields;

/// What its application sees of this event, or why it sees nothing.
pub(super) fn request(event: &str) -> Result<Fields, String> {
    let (sender, seen) = channel();
    let answer = invoke(event, move |request| {
        let (head, body) = request.into_parts();
        let body = body.into_bytes();
        let _ = sender.send(super::request(&head.method, &head.uri, &head.headers, &body));
        Response::new(Vec::new())
    });
    seen.try_recv().map_err(|_| match answer["errorMessage"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("answers with status {}", answer["statusCode"]),
    })
}

/// Its answer to this event, if the application gives this response.
pub(super) fn answer(event: &str, response: Response<Vec<u8>>) -> Value {
    invoke(event, move |_| response.clone())
}

fn invoke(
    event: &str,
    app: impl Fn(Request<Body>) -> Response<Vec<u8>> + Clone + Send + 'static,
) -> Value {
    let service = Service::start();
    let runtime = Runtime::new(Endpoint::parse(&service.address()).unwrap()).log(|_| {});
    let stop = runtime.stop_handle();
    let app = service_fn(move |request| ready(Ok::<_, Infallible>(app(request).map(Body::from))));
    let run = move || block_on(runtime.run_service(Http::new(app)));
    let running = Running::new(service.lines(), move || stop.stop(), run);
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", event));
    let answer = connection.request().json();
    connection.take_answer();
    running.stop();
    answer
}

pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    tokio.enable_all().build().unwrap().block_on(future)
}
