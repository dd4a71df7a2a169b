use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;

/// A file of vectors about one subject.
#[derive(Debug)]
pub struct File {
    /// The name of the file without its extension.
    pub name: String,
    /// What the vectors have in common.
    pub about: String,
    /// The vectors.
    pub vectors: Vec<Vector>,
}

/// One vector: what the service does, and what a client must do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What must be true, as a sentence.
    pub name: String,
    /// The sources: a page of the Lambda Developer Guide, a section of an RFC, a file of AWS's
    /// emulator, an issue of a client.
    pub source: Vec<String>,
    /// What the function must be able to do besides returning its event.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The value of `AWS_LAMBDA_RUNTIME_API`; `{address}` stands for the address of the service.
    #[serde(default = "address")]
    pub api: String,
    /// Other environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

fn address() -> String {
    "{address}".to_owned()
}

/// One step: something that the service does, or that the client must do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The client sends this whole request.
    Read(Request),
    /// The client sends the head of this request. The rest may come later or never.
    ReadHead(Request),
    /// The client opens a connection, or has done so, whether or not it sends anything on it.
    Connects {},
    /// The client closes the connection, or has done so.
    HungUp {},
    /// The service writes.
    Write(Write),
    /// The service closes the connection normally.
    Close(Place),
    /// The service writes no more, and still reads.
    HalfClose(Place),
    /// The service resets the connection.
    Reset(Place),
    /// The service does nothing for this many milliseconds.
    Pause(u64),
    /// For this many milliseconds, the service resets its connections and accepts none.
    Away(u64),
    /// The client does the first step of one of these lists, and then the rest of that list.
    Either(Vec<Vec<Self>>),
    /// The client's process exits in this way.
    Exits(Exit),
    /// The client sends nothing more, keeps the connection open, and is alive.
    Waits(Place),
    /// The service delivers: it writes to the port that the client has subscribed with.
    Deliver(Deliver),
    /// The client replies to a delivery.
    Replied(Replied),
    /// The service sends nothing more on a connection on which it delivers.
    EndDelivery(Place),
    /// The client closes a connection on which the service delivers.
    DeliveryEnds(Place),
    /// The client prints what it was told: exactly these JSON objects come next, in this order.
    Told(Vec<Value>),
}

/// What the service delivers. The short notation is only the bytes, on the connection without a
/// name.
#[derive(Debug, Deserialize)]
#[serde(from = "WriteNotation")]
pub struct Deliver {
    /// The connection, opened with the first delivery that names it.
    pub place: Place,
    /// The bytes.
    pub bytes: Bytes,
}

impl From<WriteNotation> for Deliver {
    fn from(notation: WriteNotation) -> Self {
        let Write { place, bytes, .. } = notation.into();
        Self { place, bytes }
    }
}

/// An expected reply to a delivery.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replied {
    /// Its status.
    pub status: u16,
    /// Header fields by their names in lower case, as in [`Request::headers`].
    #[serde(default)]
    pub headers: BTreeMap<String, Option<Field>>,
    /// The connection, by the name that its delivery gave it.
    #[serde(default)]
    pub on: Option<String>,
}

/// A connection: the one that was used or named last, or one by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The name that a [`Request`] gave to its connection.
    #[serde(default)]
    pub on: Option<String>,
}

/// An expected request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// The request id in the path, as it is written there.
    #[serde(default)]
    pub id: Option<String>,
    /// Header fields by their names in lower case. A field that is `null` must be absent.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<Field>>,
    /// Trailer fields, in the same notation.
    #[serde(default)]
    pub trailers: BTreeMap<String, Option<Field>>,
    /// The body.
    #[serde(default)]
    pub body: Option<Bytes>,
    /// The body as JSON. Members that are not named are allowed; `"*"` is any value.
    #[serde(default)]
    pub json: Option<Value>,
    /// The JSON at the beginning of the body of a streamed HTTP response, as in
    /// [`json`](Self::json). Eight NUL bytes follow it, and then [`body`](Self::body).
    #[serde(default)]
    pub prelude: Option<Value>,
    /// Whether it comes on the connection of the request before, or on a new one.
    #[serde(default)]
    pub connection: Option<Connection>,
    /// A name for its connection.
    #[serde(default, rename = "as")]
    pub name: Option<String>,
}

/// The expected value of a header field or a trailer field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Field {
    /// There is exactly one such field, with this value; `"*"` is any value.
    Value(String),
    /// The field is a list, perhaps in several lines, that contains these members in any case
    /// (RFC 9110, section 5.6.1).
    Members(Vec<String>),
    /// There is exactly one such field, whose value is this JSON in base64.
    Base64 {
        /// The JSON, as in [`Request::json`].
        base64: Value,
    },
}

/// The calls of the Runtime API and of the APIs for extensions, by their paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Call {
    /// `GET /2018-06-01/runtime/invocation/next`
    #[serde(rename = "next")]
    Next,
    /// `POST /2018-06-01/runtime/invocation/{id}/response`
    #[serde(rename = "response")]
    Response,
    /// `POST /2018-06-01/runtime/invocation/{id}/error`
    #[serde(rename = "error")]
    Error,
    /// `POST /2018-06-01/runtime/init/error`
    #[serde(rename = "init/error")]
    InitError,
    /// `GET /2018-06-01/runtime/restore/next`
    #[serde(rename = "restore/next")]
    RestoreNext,
    /// `POST /2018-06-01/runtime/restore/error`
    #[serde(rename = "restore/error")]
    RestoreError,
    /// `POST /2020-01-01/extension/register`
    #[serde(rename = "extension/register")]
    Register,
    /// `GET /2020-01-01/extension/event/next`
    #[serde(rename = "extension/event/next")]
    EventNext,
    /// `POST /2020-01-01/extension/init/error`
    #[serde(rename = "extension/init/error")]
    ExtensionInitError,
    /// `POST /2020-01-01/extension/exit/error`
    #[serde(rename = "extension/exit/error")]
    ExtensionExitError,
    /// `PUT /2022-07-01/telemetry`
    #[serde(rename = "telemetry")]
    Telemetry,
    /// `PUT /2020-08-15/logs`
    #[serde(rename = "logs")]
    Logs,
}

impl Call {
    /// Method and path, without the prefix that [`Vector::api`] may have.
    pub fn line(self, id: Option<&str>) -> (&'static str, String) {
        let id = id.unwrap_or_default();
        let runtime = |path: &str| format!("/2018-06-01/runtime/{path}");
        let extension = |path: &str| format!("/2020-01-01/extension/{path}");
        match self {
            Self::Next => ("GET", runtime("invocation/next")),
            Self::Response => ("POST", runtime(&format!("invocation/{id}/response"))),
            Self::Error => ("POST", runtime(&format!("invocation/{id}/error"))),
            Self::InitError => ("POST", runtime("init/error")),
            Self::RestoreNext => ("GET", runtime("restore/next")),
            Self::RestoreError => ("POST", runtime("restore/error")),
            Self::Register => ("POST", extension("register")),
            Self::EventNext => ("GET", extension("event/next")),
            Self::ExtensionInitError => ("POST", extension("init/error")),
            Self::ExtensionExitError => ("POST", extension("exit/error")),
            Self::Telemetry => ("PUT", "/2022-07-01/telemetry".to_owned()),
            Self::Logs => ("PUT", "/2020-08-15/logs".to_owned()),
        }
    }
}

/// Which connection a request comes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// The connection of the previous request.
    Same,
    /// An unused connection.
    New,
}

/// What the service writes. The short notation is only the bytes, for the current connection.
#[derive(Debug, Deserialize)]
#[serde(from = "WriteNotation")]
pub struct Write {
    /// The connection.
    pub place: Place,
    /// The bytes.
    pub bytes: Bytes,
    /// Write one byte at a time, at this interval in milliseconds.
    pub every_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum WriteNotation {
    Bytes(Bytes),
    Full {
        bytes: Bytes,
        #[serde(default)]
        on: Option<String>,
        #[serde(default)]
        every_ms: Option<u64>,
    },
}

impl From<WriteNotation> for Write {
    fn from(notation: WriteNotation) -> Self {
        match notation {
            WriteNotation::Bytes(bytes) => Self { place: Place::default(), bytes, every_ms: None },
            WriteNotation::Full { bytes, on, every_ms } => {
                Self { place: Place { on }, bytes, every_ms }
            }
        }
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with code 0.
    Zero,
    /// By itself, with another code.
    NonZero,
    /// By itself, with any code.
    Any,
}

/// Reads all files of vectors in a folder, in the order of their names.
///
/// # Errors
///
/// A text that says what is wrong, with the file and the position in it.
pub fn load(folder: &Path) -> Result<Vec<File>, String> {
    let cannot =
        |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| cannot(folder, &error))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    paths.sort();
    paths.iter().map(|path| load_file(path).map_err(|error| cannot(path, &error))).collect()
}

/// Reads one file of vectors.
///
/// # Errors
///
/// A text that says what is wrong, with the position in the file or the name of the vector.
pub fn load_file(path: &Path) -> Result<File, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let mut file: Written = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let parts = std::mem::take(&mut file.parts);
    let (mut names, mut vectors) = (BTreeSet::new(), Vec::new());
    for mut vector in file.vectors {
        let name = vector.get("name").unwrap_or(&Value::Null).to_string();
        let named = |error: &dyn std::fmt::Display| format!("{name}: {error}");
        if !names.insert(name.clone()) {
            return Err(format!("two vectors are called {name}"));
        }
        if let Some(steps) = vector.get_mut("steps") {
            put_parts(steps, &parts, 0).map_err(|error| named(&error))?;
        }
        vectors.push(serde_json::from_value(vector).map_err(|error| named(&error))?);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(File { name, about: file.about, vectors })
}

/// The notation of a file, with its named parts.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    #[serde(default)]
    parts: BTreeMap<String, Vec<Value>>,
    vectors: Vec<Value>,
}

/// Replaces each step `{"part": NAME}` by the steps of that part.
fn put_parts(
    steps: &mut Value,
    parts: &BTreeMap<String, Vec<Value>>,
    depth: usize,
) -> Result<(), String> {
    // A part may name others, but not itself.
    const DEEPEST: usize = 16;
    let Value::Array(list) = steps else { return Ok(()) };
    for mut step in std::mem::take(list) {
        if let Some(Value::Array(ways)) = step.get_mut("either") {
            ways.iter_mut().try_for_each(|way| put_parts(way, parts, depth))?;
        }
        let Some(name) = step.get("part").and_then(Value::as_str) else {
            list.push(step);
            continue;
        };
        let part = parts.get(name).filter(|_| depth < DEEPEST);
        let part = part.ok_or_else(|| format!("there is no part {name:?}"))?;
        let mut part = Value::Array(part.clone());
        put_parts(&mut part, parts, depth + 1)?;
        if let Value::Array(steps) = part {
            list.extend(steps);
        }
    }
    Ok(())
}
