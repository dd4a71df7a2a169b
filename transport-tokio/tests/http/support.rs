//! Events, and runtimes with an HTTP application.

use axum::body::{Body, HttpBody};
use axum::http::{Request, Response};
use lambda_proto_service::{Connection, Event, Request as Answered, Running, Service};
use lambda_proto_tokio::http::{Body as EventBody, Http};
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::Answer;
use lambda_proto_tokio::{Error, Failure};
use serde_json::Value;
use tower::Service as TowerService;

#[path = "../parallel/support.rs"]
mod parallel;

pub(crate) use parallel::runtime;

/// A service of the Runtime API, and a runtime with an application under it.
pub(crate) struct Function {
    service: Service,
    running: Running<Error>,
    /// Of its one slot; `None` only while it is replaced.
    connection: Option<Connection>,
}

impl Function {
    /// A function whose application answers each request with this response.
    pub(crate) fn answering(
        change: impl FnOnce(Http<Answering>) -> Http<Answering>,
        response: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let app = axum::Router::new().fallback(async move || response());
        Self::of(change(Http::new(app)))
    }

    /// A function with this application.
    pub(crate) fn of<S, B>(http: Http<S>) -> Self
    where
        S: TowerService<Request<EventBody>, Response = Response<B>, Error: Into<Failure> + Send>,
        S: Clone + Send + 'static,
        S::Future: Send,
        B: HttpBody<Data: Send, Error: Into<Failure>> + Send + 'static,
    {
        Self::of_service(http)
    }

    /// A function with this service.
    pub(crate) fn of_service<S>(called: S) -> Self
    where
        S: TowerService<Invocation, Response: Answer + Send, Error: Into<Failure> + Send>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        let service = Service::start();
        let runtime = runtime(&service);
        let stop = runtime.stop_handle();
        let run = move || block_on(runtime.run_service(called));
        let running = Running::new(service.lines(), move || stop.stop(), run);
        let connection = Some(service.connection());
        Self { service, running, connection }
    }

    /// Its connection.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there")
    }

    /// Closes the connection, and returns the first request on the next one.
    pub(crate) fn reconnect(&mut self) -> Answered {
        self.connection = None;
        self.connection = Some(self.service.connection());
        self.connection().head()
    }

    /// Invokes it with an event, and returns what it answers.
    pub(crate) fn invoke(&mut self, event: impl Into<Vec<u8>>) -> Answered {
        self.invoke_with(Event::new("id-1", event))
    }

    pub(crate) fn invoke_with(&mut self, event: Event) -> Answered {
        let connection = self.connection();
        connection.invoke(event);
        let answer = connection.request();
        connection.take_answer();
        answer
    }

    /// Invokes it, and returns the JSON of its response.
    #[track_caller]
    pub(crate) fn response(&mut self, event: impl Into<Vec<u8>>) -> Value {
        let answer = self.invoke(event);
        answer.assert_response("id-1");
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        answer.json()
    }

    /// Stops it; returns what it has logged.
    pub(crate) fn stop(self) -> Vec<String> {
        self.running.stop()
    }
}

/// The application of [`Function::answering`].
pub(crate) type Answering = axum::Router;

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    tokio.worker_threads(2).enable_all().build().expect("tokio starts").block_on(future)
}

/// The sources, by the names of their files, with their vectors.
pub(crate) const SOURCES: [(&str, &str); 6] = [
    ("function_url", include_str!("vectors/function_url.json")),
    ("http_api", include_str!("vectors/http_api.json")),
    ("http_api_v1", include_str!("vectors/http_api_v1.json")),
    ("rest_api", include_str!("vectors/rest_api.json")),
    ("load_balancer", include_str!("vectors/load_balancer.json")),
    ("load_balancer_multi", include_str!("vectors/load_balancer_multi.json")),
];

/// The document of a source.
pub(crate) fn document(source: &str) -> Value {
    let (_, text) = SOURCES.iter().find(|(name, _)| *name == source).expect("a source");
    serde_json::from_str(text).expect("vectors are JSON")
}

/// The event of a source, before the changes of its vectors.
pub(crate) fn event(source: &str) -> Vec<u8> {
    document(source)["event"].to_string().into_bytes()
}

/// A JSON merge patch (RFC 7396): null removes a member.
pub(crate) fn changed(value: &Value, changes: &Value) -> Value {
    let Value::Object(changes) = changes else { return changes.clone() };
    let mut members = value.as_object().cloned().unwrap_or_default();
    for (name, change) in changes {
        match members.remove(name) {
            _ if change.is_null() => {}
            member => {
                members.insert(name.clone(), changed(&member.unwrap_or_default(), change));
            }
        }
    }
    members.into()
}
