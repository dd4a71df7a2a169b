//! HTTP applications as functions: any service of [tower](https://docs.rs/tower) from
//! [`http::Request`] to [`http::Response`], such as a `Router` of axum.
//!
//! ```no_run
//! use axum::Router;
//! use axum::routing::get;
//! use lambda_proto_tokio::http::Http;
//! use lambda_proto_tokio::{Error, Runtime};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let app = Router::new().route("/", get(async || "Hello!"));
//!     Runtime::from_env()?.run_service(Http::new(app)).await
//! }
//! ```
//!
//! [`Http`] turns the event of an invocation into a request, and the response of the application
//! into the answer. The event shows where it comes from, so one program serves all of these:
//!
//! | source | path of the request | query | answer |
//! |---|---|---|---|
//! | function URL | as the client sent it | as the client sent it | format 2.0; streamed if the program [says so](Http::streaming) |
//! | HTTP API, format 2.0 | decoded by the gateway and encoded again; without the stage | as the client sent it | format 2.0 |
//! | HTTP API, format 1.0 | the same | decoded by the gateway and encoded again | format 1.0 |
//! | REST API | as the client sent it; never has the stage | decoded by the gateway and encoded again | format 1.0; streamed if the program says so |
//! | Application Load Balancer | as the client sent it | as the client sent it | one value for each header, or several, as in the request (or its query) |
//!
//! A path that was decoded no longer shows which of its characters were encoded: `%2F` has become a
//! slash. If it still has an escape, because the client has sent `%252F`, the application decodes
//! that, too.
//!
//! # The request
//!
//! - The URI has a path and a query, and no host, as in HTTP/1.1. `Host` is a header; if the event
//!   has none, it is the domain name of the gateway, unless that cannot be a header.
//! - Headers and query parameters keep all of their values and their order, as far as the event has
//!   them. Format 2.0 and load balancers without multi-value headers join or drop repeated ones.
//! - Cookies of format 2.0 are one `Cookie` header.
//! - `X-Amzn-Trace-Id` is the trace id of the invocation, whose parent is the function and not the
//!   gateway. A trace id that cannot be a header is left out.
//! - The [body](Body) is in memory, decoded if it was base64. Extractors of axum refuse more than
//!   2 MB unless its `DefaultBodyLimit` is raised; an event may have 6 MB.
//!
//! The extensions of the request have what HTTP has no place for:
//!
//! | extension | |
//! |---|---|
//! | [`RequestContext`] | what the source tells about the request: authorizer, stage, ids; always there, but [maybe unread](RequestContext::Unread) |
//! | [`ClientAddress`] | the IP address of the client, if the source tells it |
//! | `Arc<`[`Invocation`]`>` | deadline, request id, tenant, and the event itself |
//! | `Arc<`[`Context`]`>` | with a [lifecycle](Runtime::lifecycle): values of hooks, cancellation, work after the answer |
//!
//! ```
//! use std::sync::Arc;
//!
//! use axum::Extension;
//! use lambda_proto_tokio::http::{ClientAddress, RequestContext};
//! use lambda_proto_tokio::parallel::Invocation;
//!
//! async fn who(
//!     Extension(context): Extension<RequestContext>,
//!     Extension(ClientAddress(address)): Extension<ClientAddress>,
//!     Extension(invocation): Extension<Arc<Invocation>>,
//! ) -> String {
//!     let stage = context.stage().unwrap_or("no stage");
//!     format!("{address} called {} of {stage}", invocation.request_id())
//! }
//! # let _: axum::routing::MethodRouter = axum::routing::get(who);
//! ```
//!
//! axum's `ConnectInfo` belongs to its own server; [`ClientAddress`] takes its place.
//!
//! An event that is no request of one of these sources is reported with the error type
//! `Runtime.UnmarshalError`, and an [`EventError`] as its cause; the application is not called. If the
//! fault is that of the client, for example a header that HTTP does not allow, which load balancers
//! pass on, it gets a response with the [status](EventError::status), and the log has the error.
//!
//! # Layers
//!
//! Layers that concern HTTP, such as those of `tower-http`, go around the application. Layers
//! around [`Http`] see the invocation and the [`HttpAnswer`], and their errors are reported for the
//! invocation.
//!
//! All layers are done when the application has returned its response. The body is read, and the
//! answer sent, after that: a `timeout` does not limit the body, a `concurrency_limit` has already
//! given back its permit, and an error of the body passes no layer. A body that needs a limit brings
//! its own, such as `TimeoutBody` of `tower-http`. [`SpanLayer`](crate::span::SpanLayer) is the
//! exception: its span lasts until the answer is sent, and has the error of the body.
//!
//! ```no_run
//! # use axum::Router;
//! # use lambda_proto_tokio::http::Http;
//! # use lambda_proto_tokio::{Error, Runtime};
//! # use tower::ServiceBuilder;
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! # let app: Router = Router::new();
//! let service = ServiceBuilder::new().concurrency_limit(8).service(Http::new(app));
//! Runtime::from_env()?.run_service(service).await
//! # }
//! ```
//!
//! An application takes the [body](Body) of this crate; a router takes any body. For what takes
//! only that of axum, such as a middleware that changes the path before the router reads it, the
//! request is converted:
//!
//! ```no_run
//! use axum::extract::Request;
//! use axum::middleware::{Next, from_fn};
//! use axum::response::Response;
//! use lambda_proto_tokio::http::{Body, Http};
//! use tower::{Layer, ServiceExt};
//! # use axum::Router;
//! # use lambda_proto_tokio::{Error, Runtime};
//!
//! async fn rewrite(request: Request, next: Next) -> Response {
//!     next.run(request).await
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! # let app: Router = Router::new();
//! let app = from_fn(rewrite).layer(app);
//! let app = app.map_request(|request: http::Request<Body>| request.map(axum::body::Body::new));
//! Runtime::from_env()?.run_service(Http::new(app)).await
//! # }
//! ```

mod answer;
mod body;
mod context;
mod event;
mod request;
mod response;
mod service;
mod source;

pub use answer::HttpAnswer;
pub use body::Body;
pub use context::{ClientAddress, RequestContext, UnreadContext};
pub use event::EventError;
pub use service::{Http, HttpFuture, OnError};

#[cfg(doc)]
use crate::parallel::Invocation;
#[cfg(doc)]
use crate::{Context, Runtime};
