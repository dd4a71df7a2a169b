use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use serde_json::Value;

use crate::Bytes;

/// A file of vectors about one subject.
#[derive(Debug)]
pub struct File {
    /// The name of the file without its ending.
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
    /// Where that is said: a page of the Lambda Developer Guide, a section of an RFC, a file of AWS's
    /// emulator, an issue of a client.
    pub source: Vec<String>,
    /// What the function must be able to do besides giving its event back.
    #[serde(default)]
    pub needs: Vec<String>,
    /// The value of `AWS_LAMBDA_RUNTIME_API`; `{address}` is where the service listens.
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

/// One thing that the service does, or that the client must do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// The client sends this request, whole.
    Read(Request),
    /// The client sends this request, of which the body may still be on its way, and may never come whole.
    ReadHead(Request),
    /// The client makes a connection, or has done so, whatever it says on it.
    Connects {},
    /// The client hangs up, or has done so.
    HungUp {},
    /// The service writes.
    Write(Write),
    /// The service ends the connection in order.
    Close(Place),
    /// The service writes no more, and reads on.
    HalfClose(Place),
    /// The service breaks the connection.
    Reset(Place),
    /// The service does nothing for so many milliseconds.
    Pause(u64),
    /// The service is away for so many milliseconds: its connections break, and it takes none.
    Away(u64),
    /// The client does what one of these begins with, and then the rest of that.
    Either(Vec<Vec<Self>>),
    /// The client's process ends so.
    Exits(Exit),
    /// The client sends nothing more, hangs up nothing, and is alive.
    Waits(Place),
}

/// A connection: the one that was spoken of last, or one by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The name that a [`Request`] has given to its connection.
    #[serde(default)]
    pub on: Option<String>,
}

/// A request as it must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What is called.
    pub call: Call,
    /// The request id in the path, as it is written there.
    #[serde(default)]
    pub id: Option<String>,
    /// Header fields by their names in lower case; `null` is one that must not be there.
    #[serde(default)]
    pub headers: BTreeMap<String, Option<Field>>,
    /// Trailer fields, as header fields.
    #[serde(default)]
    pub trailers: BTreeMap<String, Option<Field>>,
    /// The body.
    #[serde(default)]
    pub body: Option<Bytes>,
    /// The body, which is JSON. Fields of objects may be left out; `"*"` is any value.
    #[serde(default)]
    pub json: Option<Value>,
    /// The JSON that the body of a streamed HTTP response begins with, as in [`json`](Self::json); then
    /// come eight NUL bytes, and [`body`](Self::body).
    #[serde(default)]
    pub prelude: Option<Value>,
    /// Whether it comes on the connection of the request before, or on a new one.
    #[serde(default)]
    pub connection: Option<Connection>,
    /// A name for its connection.
    #[serde(default, rename = "as")]
    pub name: Option<String>,
}

/// What a header field or a trailer field must say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Field {
    /// There is one such field, of this value; `"*"` is any.
    Value(String),
    /// The field is a list, perhaps in several lines, and has these members, in any case of letters
    /// (RFC 9110 section 5.6.1).
    Members(Vec<String>),
    /// There is one such field, whose value is this JSON in base64.
    Base64 {
        /// The JSON, as in [`Request::json`].
        base64: Value,
    },
}

/// The calls of the Runtime API, by their paths.
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
}

impl Call {
    /// Method and path, behind what [`Vector::api`] may have before it.
    pub fn line(self, id: Option<&str>) -> (&'static str, String) {
        let id = id.unwrap_or_default();
        let (method, path) = match self {
            Self::Next => ("GET", "invocation/next".to_owned()),
            Self::Response => ("POST", format!("invocation/{id}/response")),
            Self::Error => ("POST", format!("invocation/{id}/error")),
            Self::InitError => ("POST", "init/error".to_owned()),
            Self::RestoreNext => ("GET", "restore/next".to_owned()),
            Self::RestoreError => ("POST", "restore/error".to_owned()),
        };
        (method, format!("/2018-06-01/runtime/{path}"))
    }
}

/// Which connection a request comes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connection {
    /// That of the request before.
    Same,
    /// One that has not been used.
    New,
}

/// What the service writes: bytes, on the connection that was spoken of last, or more than that.
#[derive(Debug, Deserialize)]
#[serde(from = "WriteNotation")]
pub struct Write {
    /// The connection.
    pub place: Place,
    /// The bytes.
    pub bytes: Bytes,
    /// One byte after so many milliseconds.
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
/// What is wrong, with the file and the place in it.
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
/// What is wrong, with the place in the file or the name of the vector.
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

/// A file as it is written, with names for steps that come again and again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    about: String,
    #[serde(default)]
    parts: BTreeMap<String, Vec<Value>>,
    vectors: Vec<Value>,
}

/// Puts the steps of a part in the place of each step that names it, `{"part": NAME}`.
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
