//! Every request that `lambda-proto` writes, with any values in it.

use std::fmt::Debug;

use lambda_proto::api::{
    ContentType, Endpoint, ErrorReport, HttpPrelude, InvocationIds, Request, ResponseLength,
};
use lambda_proto::machine::{Event, Machine};
use lambda_proto_extension::metadata::{self, MetadataToken};
use lambda_proto_extension::{
    Extension, ExtensionName, ExternalEvents, InternalEvents, Registrant,
};

/// The values from which the requests are made; each request uses some of them.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The address of the service.
    pub endpoint: String,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The id of the invocation.
    pub request_id: Vec<u8>,
    /// The id of the attempt.
    pub attempt_id: Vec<u8>,
    /// The content type of a response.
    pub content_type: Vec<u8>,
    /// The body of a response, in the pieces in which it is streamed.
    pub body: Vec<Vec<u8>>,
    /// The type of an error.
    pub error_type: String,
    /// The message of an error.
    pub message: String,
    /// The stack trace of an error.
    pub stack_trace: String,
    /// The X-Ray cause of an error.
    pub xray_cause: Option<String>,
    /// The headers of an HTTP response.
    pub headers: Vec<(String, String)>,
    /// The cookies of an HTTP response.
    pub cookies: Vec<String>,
    /// The token of the metadata endpoint.
    pub token: String,
    /// The name of an extension.
    pub extension: String,
    /// The identifier that the service gives to the extension.
    pub identifier: Vec<u8>,
}

impl Parts {
    /// Parts without special characters.
    pub fn harmless() -> Self {
        Self {
            endpoint: "127.0.0.1:9001".to_owned(),
            user_agent: "test/1".to_owned(),
            request_id: b"8476a536".to_vec(),
            attempt_id: b"9f".to_vec(),
            content_type: b"text/plain".to_vec(),
            body: vec![b"hello".to_vec()],
            error_type: "Function.Broken".to_owned(),
            message: "it broke".to_owned(),
            stack_trace: "f\ng".to_owned(),
            xray_cause: Some("{\"paths\":[]}".to_owned()),
            headers: vec![("x-a".to_owned(), "b".to_owned())],
            cookies: vec!["c=d".to_owned()],
            token: "64875270".to_owned(),
            extension: "inproc".to_owned(),
            identifier: b"c7d2".to_vec(),
        }
    }
}

/// A request, and the way in which it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Asks for an invocation.
    Next,
    /// A response, by a machine that got the ids from the service.
    Response,
    /// The same, followed by the request for the next invocation.
    ResponseAndNext,
    /// A response whose ids the program has set itself.
    ResponseAlone,
    /// A response that is streamed.
    Stream,
    /// A streamed response that ends with an error.
    StreamWithError,
    /// A response that is streamed, with an HTTP prelude.
    HttpStream,
    /// A failed invocation.
    Error,
    /// A failed invocation whose ids the program has set itself.
    ErrorAlone,
    /// A failed start.
    InitError,
    /// Says that the environment may be snapshotted, and waits for the restore.
    RestoreNext,
    /// A failed restore.
    RestoreError,
    /// Asks for the metadata.
    Metadata,
    /// Registers an extension.
    Register,
    /// Asks for an event of an extension.
    ExtensionNext,
    /// A failed start of an extension.
    ExtensionInitError,
    /// A failed extension.
    ExtensionExitError,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Next,
        Self::Response,
        Self::ResponseAndNext,
        Self::ResponseAlone,
        Self::Stream,
        Self::StreamWithError,
        Self::HttpStream,
        Self::Error,
        Self::ErrorAlone,
        Self::InitError,
        Self::RestoreNext,
        Self::RestoreError,
        Self::Metadata,
        Self::Register,
        Self::ExtensionNext,
        Self::ExtensionInitError,
        Self::ExtensionExitError,
    ];

    /// The bytes of the request.
    ///
    /// # Errors
    ///
    /// The reason why there is no request: a typed error of the library, as text.
    pub fn encode(self, parts: &Parts) -> Result<Vec<u8>, String> {
        let endpoint = Endpoint::parse(&parts.endpoint).map_err(debug)?;
        let endpoint = endpoint.with_user_agent(&parts.user_agent).map_err(debug)?;
        let report = report_of(parts);
        let body = parts.body.concat();
        let mut out = vec![0; ROOM];
        let length = match self {
            Self::Next => Machine::new(endpoint).next(&mut out).map_err(debug),
            Self::InitError => Machine::new(endpoint).fail_init(&report, &mut out).map_err(debug),
            Self::RestoreNext => Machine::new(endpoint).restore_next(&mut out).map_err(debug),
            Self::RestoreError => {
                Request::RestoreError { report }.encode(&endpoint, &mut out).map_err(debug)
            }
            Self::Error => invoked(endpoint, parts)?.fail(&report, &mut out).map_err(debug),
            Self::ErrorAlone => Request::Error { ids: &ids_of(parts)?, report }
                .encode(&endpoint, &mut out)
                .map_err(debug),
            Self::Response | Self::ResponseAndNext => {
                return respond(invoked(endpoint, parts)?, self, parts, &body);
            }
            Self::ResponseAlone => {
                let content_type = ContentType::from_bytes(&parts.content_type).map_err(debug)?;
                let (ids, content_type) = (ids_of(parts)?, Some(content_type));
                let length = ResponseLength::Buffered(body.len() as u64);
                let request = Request::Response { ids: &ids, content_type, length };
                let length = request.encode(&endpoint, &mut out).map_err(debug)?;
                return Ok([&out[..length], &body].concat());
            }
            Self::Stream | Self::StreamWithError | Self::HttpStream => {
                return stream(invoked(endpoint, parts)?, self, parts);
            }
            Self::Metadata => {
                let token = MetadataToken::new(&parts.token).map_err(debug)?;
                metadata::encode_request(&endpoint, token, &mut out).map_err(debug)
            }
            Self::Register => {
                let name = ExtensionName::new(&parts.extension).map_err(debug)?;
                let registrant =
                    Registrant::external(name, ExternalEvents::InvokeAndShutdown).with_account_id();
                Extension::new(endpoint).register(&registrant, &mut out).map_err(debug)
            }
            Self::ExtensionNext => registered(endpoint, parts)?.next(&mut out).map_err(debug),
            Self::ExtensionInitError => {
                registered(endpoint, parts)?.fail_init(&report, &mut out).map_err(debug)
            }
            Self::ExtensionExitError => {
                registered(endpoint, parts)?.fail(&report, &mut out).map_err(debug)
            }
        }?;
        out.truncate(length);
        Ok(out)
    }
}

/// Room for every request: two values have limits of 1 MiB, and the others are smaller.
const ROOM: usize = 4 * 1024 * 1024;

fn debug(error: impl Debug) -> String {
    format!("{error:?}")
}

/// The report of an error with these parts.
pub fn report_of(parts: &Parts) -> ErrorReport<'_> {
    let report =
        ErrorReport::new(&parts.error_type, &parts.message).stack_trace(&parts.stack_trace);
    match &parts.xray_cause {
        Some(cause) => report.xray_cause(cause),
        None => report,
    }
}

fn ids_of(parts: &Parts) -> Result<InvocationIds, String> {
    let request_id = std::str::from_utf8(&parts.request_id).map_err(debug)?;
    let ids = InvocationIds::new(request_id, Some(&parts.attempt_id));
    ids.ok_or_else(|| "an unusable request id".to_owned())
}

/// A machine that has an invocation with these ids.
fn invoked(endpoint: Endpoint, parts: &Parts) -> Result<Machine, String> {
    let mut machine = Machine::new(endpoint);
    let length = machine.next(&mut [0; 1024]).map_err(debug)?;
    machine.sent(length);
    let event = [
        b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: ",
        &parts.request_id[..],
        b"\r\nLambda-Runtime-Invocation-Id: ",
        &parts.attempt_id,
        b"\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat();
    let mut input = &event[..];
    while let Some(event) = machine.receive(&mut input).map_err(debug)? {
        if event == Event::InvocationEnd {
            return Ok(machine);
        }
    }
    Err("the event has no end".to_owned())
}

/// An extension to which the service has given this identifier.
fn registered(endpoint: Endpoint, parts: &Parts) -> Result<Extension, String> {
    let mut extension = Extension::new(endpoint);
    let name = ExtensionName::new(&parts.extension).map_err(debug)?;
    let length = extension
        .register(&Registrant::internal(name, InternalEvents::None), &mut [0; 2048])
        .map_err(debug)?;
    extension.sent(length);
    let reply = [
        b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: ",
        &parts.identifier[..],
        b"\r\nContent-Length: 0\r\n\r\n",
    ]
    .concat();
    let mut input = &reply[..];
    while extension.receive(&mut input).map_err(debug)?.is_some() {}
    Ok(extension)
}

fn respond(
    mut machine: Machine,
    call: Call,
    parts: &Parts,
    body: &[u8],
) -> Result<Vec<u8>, String> {
    let mut out = [0; 4096];
    let content_type = ContentType::from_bytes(&parts.content_type).map_err(debug)?;
    let length = machine.respond(Some(content_type), body.len(), &mut out).map_err(debug)?;
    if call == Call::ResponseAndNext {
        machine.next(&mut out[length..]).map_err(debug)?;
    }
    Ok(machine.unsent(&out, body).concat())
}

fn stream(mut machine: Machine, call: Call, parts: &Parts) -> Result<Vec<u8>, String> {
    let mut out = [0; 8 * 1024];
    let mut bytes = Vec::new();
    let mut pieces = parts.body.clone();
    let mut content_type = ContentType::from_bytes(&parts.content_type).map_err(debug)?;
    if call == Call::HttpStream {
        content_type = ContentType::HTTP_INTEGRATION;
        pieces.insert(0, prelude_of(parts)?);
    }
    let mut send = |machine: &mut Machine, head: &[u8], piece: &[u8]| {
        bytes.extend(machine.unsent(head, piece).concat());
        machine.sent(machine.unsent_len());
    };
    machine.stream(content_type, &mut out).map_err(debug)?;
    send(&mut machine, &out, &[]);
    for piece in &pieces {
        machine.chunk(piece.len(), &mut out).map_err(debug)?;
        send(&mut machine, &out, piece);
    }
    if call == Call::StreamWithError {
        machine.finish_with_error(&report_of(parts), &mut out).map_err(debug)?;
    } else {
        machine.finish(&mut out).map_err(debug)?;
    }
    send(&mut machine, &out, &[]);
    Ok(bytes)
}

fn prelude_of(parts: &Parts) -> Result<Vec<u8>, String> {
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (headers, cookies): (Vec<_>, Vec<_>) =
        (headers.collect(), parts.cookies.iter().map(String::as_str).collect());
    let prelude = HttpPrelude::new(200, &headers, &cookies).map_err(debug)?;
    let mut out = vec![0; ROOM];
    let length = prelude.encode(&mut out).map_err(debug)?;
    out.truncate(length);
    Ok(out)
}
