//! The Invoke API over HTTP, compatible with AWS's emulator and with Lambda.

mod backlog;
mod reply;
mod request;
mod target;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::answer::InvokeError;
use crate::browser;
use crate::http::{self, Answering, Closing};
use crate::invocation::InvokeRequest;
use crate::log::{LOG_RESULT, log_result};
use crate::pool::Pool;
use backlog::Backlog;
use reply::Exception;
use request::InvocationType;
pub(crate) use target::MAX_NAME;
use target::Target;

/// The path at which callers invoke the emulator, and the lab.
pub(crate) const PATH: &str = "/2015-03-31/functions/function/invocations";

/// Serves the callers.
pub(crate) async fn serve(listener: TcpListener, pool: Arc<Pool>, closing: Closing) {
    let (clock, log) = (pool.clock().clone(), pool.log().clone());
    let backlog = Backlog::default();
    let connected = move |stream: &TcpStream| {
        let (pool, backlog) = (Arc::clone(&pool), backlog.clone());
        let is_on_loopback = browser::is_on_loopback(stream);
        let handler =
            move |request| handle(request, Arc::clone(&pool), backlog.clone(), is_on_loopback);
        (handler, std::future::pending())
    };
    http::serve(listener, closing, clock, log, connected).await;
}

/// Every response has a request id: that of the invocation, if there is one.
async fn handle(
    request: Request<Incoming>,
    pool: Arc<Pool>,
    backlog: Backlog,
    is_on_loopback: bool,
) -> Response<Answering> {
    let request_id = Uuid::new_v4().to_string();
    if let Some(mut refused) = http::refuse_hosts(&request) {
        reply::set_request_id(refused.headers_mut(), &request_id);
        return refused;
    }
    let (head, mut body) = request.into_parts();
    let allowed = &pool.settings().allowed_origins;
    let page = browser::caller(&head.headers, allowed, is_on_loopback);
    let result = match &page {
        Err(reason) => Err(Exception::Forbidden(reason.clone()).into()),
        Ok(page) => match Route::of(head.uri.path()) {
            None => Err(http::not_found().into()),
            Some(_) if page.is_some() && head.method == Method::OPTIONS => {
                Ok(browser::preflight(&head.headers))
            }
            Some(_) if head.method != Method::POST => {
                Err(http::method_not_allowed(&Method::POST).into())
            }
            Some(route) => {
                let query = head.uri.query();
                let headers = &head.headers;
                invoke(route, query, headers, &mut body, &request_id, pool, backlog).await
            }
        },
    };
    let mut response = match result {
        Ok(response) => response,
        Err(refused) => {
            http::drain(&mut body).await;
            *refused
        }
    };
    let headers = response.headers_mut();
    reply::set_request_id(headers, &request_id);
    if let Ok(Some(origin)) = page {
        browser::allow(origin, headers);
    }
    response
}

/// The function in a path, percent-encoded: its name, or an ARN.
struct Route<'p>(&'p str);

impl<'p> Route<'p> {
    /// Source: Lambda API Reference, "Invoke".
    fn of(path: &'p str) -> Option<Self> {
        let name = path.strip_prefix("/2015-03-31/functions/")?.strip_suffix("/invocations")?;
        (!name.is_empty() && !name.contains('/')).then_some(Self(name))
    }
}

/// A refusal is an error: what is left of the request's body has to be read.
type Replied = Result<Response<Answering>, Box<Response<Answering>>>;

async fn invoke(
    route: Route<'_>,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &mut Incoming,
    request_id: &str,
    pool: Arc<Pool>,
    backlog: Backlog,
) -> Replied {
    let target = Target::of(route.0, query).map_err(Exception::from)?;
    let invocation_type = InvocationType::of(headers)?;
    let event = request::read(headers, body, invocation_type).await?;
    let request = InvokeRequest {
        request_id: request_id.to_owned(),
        function_arn: Some(target.arn(pool.settings())),
        event,
    };
    let mut answer = match invocation_type {
        InvocationType::DryRun => return Ok(http::answer(StatusCode::NO_CONTENT, "")),
        InvocationType::Event => {
            let taken = backlog.take(request.event.body.len()).ok_or(Exception::Busy)?;
            tokio::spawn(async move {
                let id = request.request_id.clone();
                // A failure of the function is in the log already, and so is the end of the lab.
                if let Err(error) = pool.invoke(request).await
                    && error != InvokeError::Stopped
                {
                    let line = format_args!("RequestId: {id} not invoked: {error}");
                    pool.log().lines(&[&line]);
                }
                drop(taken);
            });
            return Ok(http::answer(StatusCode::ACCEPTED, ""));
        }
        InvocationType::RequestResponse => pool.invoke(request).await.map_err(Exception::from)?,
    };
    let log = log_result(&mut answer).await;
    let mut response = match answer.answer {
        Ok(answered) => reply::success(answered, headers),
        Err(failure) => reply::failed(&failure, target.dialect),
    };
    if let Some(log) = log {
        http::set_header(response.headers_mut(), LOG_RESULT, &log);
    }
    reply::set_version(response.headers_mut(), target.executed_version());
    Ok(response)
}
