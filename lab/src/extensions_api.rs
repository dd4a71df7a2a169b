//! The Extensions API, for internal and external extensions.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use uuid::Uuid;

use crate::broker::{Broker, Events, ExtensionEvent, Failing, Kind, Shutdown};
use crate::event::MAX_PAYLOAD;
use crate::go_json::{Field, Texts, quoted, read_object};
use crate::http::{self, Answering, Collected, collect, header, set_header};
use crate::invocation::Invocation;
use crate::log::VERSION;
use crate::presence::Waiter;
use crate::refusal::ExtensionRefusal;
use crate::runtime_api::RuntimeConnection;
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
    connection: &RuntimeConnection,
) -> Response<Answering> {
    let Some(route) = Route::of(request.uri().path()) else { return http::not_found() };
    if request.method() != route.method() {
        return http::method_not_allowed(&route.method());
    }
    let (head, mut body) = request.into_parts();
    let result = match route {
        Route::Register => register(broker, settings, connection, &head.headers, &mut body).await,
        Route::Next => next(broker, &head.headers, connection).await,
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
    connection: &RuntimeConnection,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let name = headers.get("lambda-extension-name").map(HeaderValue::as_bytes);
    let name = String::from_utf8_lossy(name.unwrap_or_default());
    if name.is_empty() {
        return Err(ExtensionRefusal::NoName);
    }
    let Collected::Whole { body, .. } = collect(body, MAX_PAYLOAD).await else {
        return Err(ExtensionRefusal::Format("unexpected EOF".into()));
    };
    let names = events(&body)?;
    let is_managed = settings.concurrency.is_some();
    let events = allowed(names.as_slice(), broker.kind_of_extension(&name), is_managed)?;
    let id = match broker.register(&name, events) {
        Err(_) if connection.replaces(&name) => broker.register(&name, events)?,
        result => result?,
    };
    connection.belongs_to(id);
    let mut document = format!(
        "{{\"functionName\":{},\"functionVersion\":\"{VERSION}\",\"handler\":{}",
        quoted(&settings.name),
        quoted(&settings.handler),
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

/// The events of these names, if an extension of this kind may register for all of them.
///
/// Source: emulator, `core/externalagent.go` and `core/internalagent.go`;
/// `lambda-managed-instances/core/externalagent.go` and
/// `lambda-managed-instances/rapi/handler/agentregister.go`.
fn allowed(names: &[String], kind: Kind, is_managed: bool) -> Result<Events, ExtensionRefusal> {
    if is_managed && kind == Kind::Internal && !names.is_empty() {
        return Err(ExtensionRefusal::NoEvents);
    }
    let mut events = Events::default();
    for name in names {
        match (name.as_str(), kind) {
            ("INVOKE", _) if !is_managed => events.invoke = true,
            ("SHUTDOWN", Kind::External) => events.shutdown = true,
            ("SHUTDOWN", Kind::Internal) => return Err(ExtensionRefusal::Shutdown),
            (other, _) => return Err(ExtensionRefusal::UnknownEvent(other.to_owned())),
        }
    }
    Ok(events)
}

/// The names of the events that an extension registers for.
fn events(body: &[u8]) -> Result<Texts, ExtensionRefusal> {
    const EVENTS: Field = Field { path: ".RegisterRequest.events", go_type: "[]core.Event" };
    const KEYS: Field = Field { path: ".configurationKeys", go_type: "[]string" };
    let (mut events, mut configuration_keys) = (Texts::default(), Texts::default());
    read_object(body, REGISTRATION, |key, value| match key {
        "events" => value.read_texts(&mut events, EVENTS),
        "configurationkeys" => value.read_texts(&mut configuration_keys, KEYS),
        _ => Ok(()),
    })
    .map_err(|error| ExtensionRefusal::Format(error.to_string()))?;
    if !configuration_keys.as_slice().is_empty() {
        let reason = "configurationKeys are deprecated; use environment variables instead";
        return Err(ExtensionRefusal::Format(reason.into()));
    }
    Ok(events)
}

/// The service's type of a registration, which has no name.
const REGISTRATION: &str = "struct { handler.RegisterRequest; \
     ConfigurationKeys []string \"json:\\\"configurationKeys\\\"\" }";

async fn next(
    broker: &Broker,
    headers: &HeaderMap,
    connection: &RuntimeConnection,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let id = identifier(headers)?;
    let next = broker.extension_next(id, connection.peer());
    let next = connection.wait(Waiter::Extension(id), next).await;
    Ok(match next.unwrap_or(Err(ExtensionRefusal::Internal))? {
        ExtensionEvent::Invoke(invocation) => {
            let mut response = http::json(StatusCode::OK, invoke_event(&invocation));
            let event = Uuid::new_v4().to_string();
            set_header(response.headers_mut(), "lambda-extension-event-identifier", &event);
            response
        }
        // As from the service, without an identifier, and with the content type that Go guesses.
        ExtensionEvent::Shutdown(shutdown) => http::text(StatusCode::OK, shutdown_event(shutdown)),
    })
}

/// Source: emulator, `rapi/rendering/rendering.go`.
fn invoke_event(invocation: &Invocation) -> String {
    let mut event = format!(
        "{{\"eventType\":\"INVOKE\",\"deadlineMs\":{},\"requestId\":{},\"invokedFunctionArn\":{}",
        invocation.deadline(),
        quoted(&invocation.request_id),
        quoted(&invocation.function_arn),
    );
    if let Some(trace_id) = invocation.event.trace_id.as_ref().filter(|it| !it.is_empty()) {
        let value = quoted(trace_id);
        event.push_str(&format!(",\"tracing\":{{\"type\":\"X-Amzn-Trace-Id\",\"value\":{value}}}"));
    }
    event.push('}');
    event
}

/// Source: emulator, `rapi/rendering/rendering.go` and `rapi/model/agentevent.go`.
fn shutdown_event(Shutdown { deadline, reason }: Shutdown) -> String {
    format!(
        "{{\"eventType\":\"SHUTDOWN\",\"deadlineMs\":{deadline},\"shutdownReason\":\"{reason}\"}}"
    )
}

async fn fail(
    broker: &Broker,
    failing: Failing,
    headers: &HeaderMap,
    body: &mut Incoming,
) -> Result<Response<Answering>, ExtensionRefusal> {
    let id = identifier(headers)?;
    let error_type = headers.get("lambda-extension-function-error-type");
    let error_type = error_type.map(HeaderValue::as_bytes).unwrap_or_default();
    if error_type.is_empty() {
        return Err(ExtensionRefusal::NoErrorType);
    }
    broker.fail_extension(id, failing, &String::from_utf8_lossy(error_type))?;
    // The service uses the body for its own records only, so it is read and ignored.
    while let Some(Ok(_)) = body.frame().await {}
    Ok(http::json(StatusCode::ACCEPTED, "{\"status\":\"OK\"}\n"))
}

/// The forms of an id are those of the service.
///
/// Source: `github.com/google/uuid`, `Parse`, which does not look at the braces.
pub(crate) fn identifier(headers: &HeaderMap) -> Result<Uuid, ExtensionRefusal> {
    let value = headers.get(IDENTIFIER).map(HeaderValue::as_bytes).unwrap_or_default();
    let id = match value.len() {
        0 => return Err(ExtensionRefusal::NoIdentifier),
        38 => &value[1..37],
        45 if value[..9].eq_ignore_ascii_case(b"urn:uuid:") => &value[9..],
        32 | 36 => value,
        _ => return Err(ExtensionRefusal::InvalidIdentifier),
    };
    Uuid::try_parse_ascii(id).map_err(|_| ExtensionRefusal::InvalidIdentifier)
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
            (r#"{"Events":["INVOKE","X"]}"#, Ok(2)),
            (r#"{"events":["X","Y"],"EVENTS":["INVOKE"]}"#, Ok(1)),
            ("", Err("unexpected end of JSON input")),
            (" \n", Err("unexpected end of JSON input")),
            ("{} {}", Err("invalid character '{' after top-level value")),
            (
                "[]",
                Err("json: cannot unmarshal array into Go value of type struct { \
                     handler.RegisterRequest; \
                     ConfigurationKeys []string \"json:\\\"configurationKeys\\\"\" }"),
            ),
            (
                r#"{"events":"INVOKE"}"#,
                Err("json: cannot unmarshal string into Go struct field \
                     .RegisterRequest.events of type []core.Event"),
            ),
            (
                r#"{"events":[1],"configurationKeys":1}"#,
                Err("json: cannot unmarshal number into Go struct field \
                     .RegisterRequest.events of type core.Event"),
            ),
            (
                r#"{"configurationKeys":["a"]}"#,
                Err("configurationKeys are deprecated; use environment variables instead"),
            ),
        ] {
            match (events(body.as_bytes()), expected) {
                (Ok(events), Ok(count)) => assert_eq!(events.as_slice().len(), count, "{body}"),
                (Err(ExtensionRefusal::Format(reason)), Err(expected)) => {
                    assert_eq!(reason, expected, "{body}");
                }
                (result, _) => panic!("{body}: {result:?}"),
            }
        }
    }

    #[test]
    fn identifiers_have_each_form_that_the_service_takes() {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        let known = Uuid::try_parse(id).unwrap();
        for (text, expected) in [
            (id.to_owned(), Ok(known)),
            (id.to_uppercase(), Ok(known)),
            (id.replace('-', ""), Ok(known)),
            (format!("{{{id}}}"), Ok(known)),
            (format!("?{id}!"), Ok(known)),
            (format!("urn:uuid:{id}"), Ok(known)),
            (format!("URN:UUID:{id}"), Ok(known)),
            (format!("urn:uuie:{id}"), Err(ExtensionRefusal::InvalidIdentifier)),
            (id[1..].to_owned(), Err(ExtensionRefusal::InvalidIdentifier)),
            (id.replace('f', "g"), Err(ExtensionRefusal::InvalidIdentifier)),
            (format!("{{{}}}", id.replace('-', "")), Err(ExtensionRefusal::InvalidIdentifier)),
            (String::new(), Err(ExtensionRefusal::NoIdentifier)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDENTIFIER, HeaderValue::from_str(&text).unwrap());
            assert_eq!(identifier(&headers), expected, "{text}");
        }
        assert_eq!(identifier(&HeaderMap::new()), Err(ExtensionRefusal::NoIdentifier));
    }
}
