//! The Extensions API, for internal extensions.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use crate::broker::{Broker, Failing};
use crate::event::MAX_PAYLOAD;
use crate::http::{self, Answering, Collected, collect, header, set_header};
use crate::invocation::Invocation;
use crate::log::VERSION;
use crate::refusal::ExtensionRefusal;
use crate::settings::{ACCOUNT, Settings};

/// The prefix of all its paths.
pub(crate) const PATH: &str = "/2020-01-01/extension/";

const IDENTIFIER: &str = "lambda-extension-identifier";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Register,
    Next,
    Error(Failing),
}

impl Route {
    /// Source: Lambda Developer Guide, "Using the Lambda Extensions API to create extensions".
    fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix(PATH)? {
            "register" => Self::Register,
            "event/next" => Self::Next,
            "init/error" => Self::Error(Failing::Init),
            "exit/error" => Self::Error(Failing::Exit),
            _ => return None,
        })
    }

    fn method(self) -> Method {
        match self {
            Self::Next => Method::GET,
            Self::Register | Self::Error(_) => Method::POST,
        }
    }
}

/// Handles a request of an extension.
pub(crate) async fn handle(
    request: Request<Incoming>,
    broker: &Broker,
    settings: &Settings,
    is_there: impl Fn() -> bool,
) -> Response<Answering> {
    let Some(route) = Route::of(request.uri().path()) else { return http::not_found() };
    if request.method() != route.method() {
        return http::method_not_allowed(&route.method());
    }
    let (head, mut body) = request.into_parts();
    let result = match route {
        Route::Register => register(broker, settings, &head.headers, &mut body).await,
        Route::Next => next(broker, &head.headers, is_there).await,
        Route::Error(failing) => fail(broker, failing, &head.headers, &mut body).await,
    };
    match result {
        Ok(response) => response,
        Err(refusal) => {
            http::drain(&mut body).await;
            http::json(refusal.status(), refusal.document())
        }
    }
}

/// The order of checks is that of the emulator, `rapi/handler/agentregister.go`.
async fn register(
    broker: &Broker,
    settings: &Settings,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let name = header(headers, "lambda-extension-name");
    if name.is_empty() {
        return Err(ExtensionRefusal::NoName);
    }
    let Collected::Whole { body, .. } = collect(body, MAX_PAYLOAD).await else {
        return Err(ExtensionRefusal::Format("unexpected EOF".into()));
    };
    let events = events(&body)?;
    if settings.concurrency.is_some() && !events.is_empty() {
        return Err(ExtensionRefusal::NoEvents);
    }
    for event in &events {
        match event.as_str() {
            "INVOKE" => {}
            "SHUTDOWN" => return Err(ExtensionRefusal::Shutdown),
            other => return Err(ExtensionRefusal::UnknownEvent(other.to_owned())),
        }
    }
    let id = broker.register(name, !events.is_empty())?;
    let mut document = format!(
        "{{\"functionName\":{},\"functionVersion\":\"{VERSION}\",\"handler\":{}",
        json!(settings.name),
        json!(settings.handler),
    );
    let mut features = header(headers, "lambda-extension-accept-feature").split(',');
    if features.any(|feature| feature.trim() == "accountId") {
        document.push_str(&format!(",\"accountId\":\"{ACCOUNT}\""));
    }
    document.push_str("}\n");
    let mut response = http::json(StatusCode::OK, document);
    set_header(response.headers_mut(), IDENTIFIER, &id.to_string());
    Ok(response)
}

/// The events that an extension registers for.
fn events(body: &[u8]) -> Result<Vec<String>, ExtensionRefusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Registration {
        events: Option<Vec<String>>,
        configuration_keys: Option<Vec<String>>,
    }
    if body.trim_ascii().is_empty() {
        return Err(ExtensionRefusal::Format("unexpected end of JSON input".into()));
    }
    let registration: Option<Registration> = serde_json::from_slice(body)
        .map_err(|error| ExtensionRefusal::Format(error.to_string()))?;
    let registration = registration.unwrap_or_default();
    if registration.configuration_keys.is_some_and(|keys| !keys.is_empty()) {
        let reason = "configurationKeys are deprecated; use environment variables instead";
        return Err(ExtensionRefusal::Format(reason.into()));
    }
    Ok(registration.events.unwrap_or_default())
}

async fn next(
    broker: &Broker,
    headers: &HeaderMap,
    is_there: impl Fn() -> bool,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let invocation = broker.extension_next(identifier(headers)?, is_there).await?;
    let mut response = http::json(StatusCode::OK, invoke_event(&invocation));
    let event = Uuid::new_v4().to_string();
    set_header(response.headers_mut(), "lambda-extension-event-identifier", &event);
    Ok(response)
}

/// Source: emulator, `rapi/rendering/rendering.go`.
fn invoke_event(invocation: &Invocation) -> String {
    let mut event = format!(
        "{{\"eventType\":\"INVOKE\",\"deadlineMs\":{},\"requestId\":{},\"invokedFunctionArn\":{}",
        invocation.deadline(),
        json!(invocation.request_id),
        json!(invocation.function_arn),
    );
    if let Some(trace_id) = invocation.event.trace_id.as_ref().filter(|it| !it.is_empty()) {
        let tracing = json!({"type": "X-Amzn-Trace-Id", "value": trace_id});
        event.push_str(&format!(",\"tracing\":{tracing}"));
    }
    event.push('}');
    event
}

async fn fail(
    broker: &Broker,
    failing: Failing,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let id = identifier(headers)?;
    if header(headers, "lambda-extension-function-error-type").is_empty() {
        return Err(ExtensionRefusal::NoErrorType);
    }
    broker.fail_extension(id, failing)?;
    // The service uses the body for its own records only, so it is read and ignored.
    while let Some(Ok(_)) = body.frame().await {}
    Ok(http::json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n"))
}

fn identifier(headers: &HeaderMap) -> Result<Uuid, ExtensionRefusal> {
    let value = headers.get(IDENTIFIER).map(HeaderValue::as_bytes).unwrap_or_default();
    if value.is_empty() {
        return Err(ExtensionRefusal::NoIdentifier);
    }
    Uuid::try_parse_ascii(value).map_err(|_| ExtensionRefusal::InvalidIdentifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_of_the_extensions_api_are_known() {
        for (path, route) in [
            ("/2020-01-01/extension/register", Some(Route::Register)),
            ("/2020-01-01/extension/event/next", Some(Route::Next)),
            ("/2020-01-01/extension/init/error", Some(Route::Error(Failing::Init))),
            ("/2020-01-01/extension/exit/error", Some(Route::Error(Failing::Exit))),
            ("/2020-01-01/extension/", None),
            ("/2020-01-01/extension/event/next/", None),
            ("/2018-06-01/extension/register", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_registration_is_a_json_object_or_null_without_required_fields() {
        for (body, expected) in [
            ("{}", Ok(0)),
            (" null ", Ok(0)),
            (r#"{"events":null}"#, Ok(0)),
            (r#"{"events":[],"configurationKeys":[],"more":1}"#, Ok(0)),
            (r#"{"events":["INVOKE","X"]}"#, Ok(2)),
            ("", Err("unexpected end")),
            (" \n", Err("unexpected end")),
            ("{", Err("EOF")),
            ("nonsense", Err("expected")),
            ("[1]", Err("invalid type")),
            (r#"{"events":"INVOKE"}"#, Err("invalid type")),
            (r#"{"events":[1]}"#, Err("invalid type")),
            (r#"{"configurationKeys":["a"]}"#, Err("deprecated")),
        ] {
            match (events(body.as_bytes()), expected) {
                (Ok(events), Ok(count)) => assert_eq!(events.len(), count, "{body}"),
                (Err(ExtensionRefusal::Format(reason)), Err(part)) => {
                    assert!(reason.contains(part), "{body}: {reason}");
                }
                other => panic!("{body}: {other:?}"),
            }
        }
    }
}
