//! Subscriptions: the documents with which extensions ask for telemetry, and what is wrong with
//! them.

use std::time::Duration;

use hyper::Uri;

use super::buffer::Limits;
use super::schema::{Api, Kind, Schema};
use crate::go_json::{Value, folded, read_value};

/// What an extension has subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(super) schema: Schema,
    /// As the extension has sent them.
    pub(super) types: Vec<Kind>,
    pub(super) destination: Destination,
    pub(super) limits: Limits,
}

/// Where telemetry goes: always to a port of the loopback interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Http {
        port: u16,
        /// With the query.
        path: String,
        is_put: bool,
    },
    Tcp {
        port: u16,
    },
}

/// The rules for subscriptions of an environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// For managed instances, only the newest schema exists, and the case of a key matters.
    ///
    /// Source: emulator, `lambda-managed-instances/aws-lambda-rie/internal/telemetry`,
    /// `subscription_api.go` and `schema/telemetry-subscription-schema.json`.
    pub(crate) is_managed: bool,
    /// The port of the Runtime API, which no extension can listen on.
    pub(crate) runtime_api: u16,
}

/// The port of the Runtime API on Lambda.
///
/// Source: Lambda Developer Guide, "Accessing real-time telemetry data for extensions using the
/// Telemetry API".
const RESERVED: u16 = 9001;

/// The names by which an extension reaches itself. AWS's emulator also takes the second one.
///
/// Source: emulator, `lambda-managed-instances/aws-lambda-rie/internal/telemetry/internal`,
/// `client.go`.
const HOSTS: [&str; 2] = ["sandbox.localdomain", "sandbox"];

impl Subscription {
    /// Reads a document.
    ///
    /// The documentation shows how the texts of several errors are joined, and two of the texts:
    /// those of a missing port and of missing types. The others are the lab's. The emulator of
    /// managed instances has its own beginning for them.
    ///
    /// # Errors
    ///
    /// The text of a validation error, which names everything that is wrong.
    pub(crate) fn read(api: Api, document: &[u8], rules: Rules) -> Result<Self, String> {
        let value = read_value(document).map_err(|error| match rules.is_managed {
            true => format!("failed to parse JSON: {error}"),
            false => error.to_string(),
        })?;
        let mut reader = Reader { rules, problems: Vec::new(), bad_destination: None };
        if let Some(subscription) = reader.subscription(api, value) {
            return Ok(subscription);
        }
        let problems = reader.problems.join("; ");
        Err(match reader.bad_destination {
            Some(problem) if problems.is_empty() => format!("Invalid destination: {problem}"),
            _ if rules.is_managed => format!("schema validation error: {problems}"),
            _ => problems,
        })
    }

    /// Whether events of the platform are among its types.
    pub(super) fn has_platform(&self) -> bool {
        self.types.contains(&Kind::Platform)
    }
}

/// Reads the members of a document, and collects what is wrong.
struct Reader {
    rules: Rules,
    problems: Vec<String>,
    /// What is wrong with the destination alone, which is looked at last for managed instances.
    bad_destination: Option<String>,
}

impl Reader {
    fn subscription(&mut self, api: Api, value: Value<'_>) -> Option<Subscription> {
        if !value.is_object() {
            return self.wrong("the document should be an object");
        }
        let schema = self.schema(api, value);
        let destination = match self.member(value, "destination") {
            Some(it) if it.is_object() => self.destination(api, it),
            Some(_) => self.wrong("destination should be an object"),
            None => self.wrong("destination is not provided"),
        };
        let types = self.types(value);
        let limits = self.limits(value);
        Some(Subscription {
            schema: schema?,
            types: types?,
            destination: destination?,
            limits: limits?,
        })
    }

    fn schema(&mut self, api: Api, value: Value<'_>) -> Option<Schema> {
        let name = match self.member(value, "schemaVersion").map(Value::string) {
            Some(Some(name)) => name,
            Some(None) => return self.wrong("schemaVersion should be a string"),
            None if api == Api::Logs => return Some(Schema::Logs20200815),
            None => return self.wrong("schemaVersion is not provided"),
        };
        let is_managed = self.rules.is_managed;
        let is_known = |schema: &Schema| !is_managed || *schema == Schema::Telemetry20250129;
        if let Some(schema) = Schema::of(api, &name).filter(is_known) {
            return Some(schema);
        }
        let known = Schema::ALL.into_iter().filter(|it| it.api() == api && is_known(it));
        let known: Vec<_> = known.map(Schema::name).collect();
        self.wrong(format!("schemaVersion should be one of {}", known.join(", ")))
    }

    fn types(&mut self, value: Value<'_>) -> Option<Vec<Kind>> {
        let elements = match self.member(value, "types").map(Value::elements) {
            Some(Some(elements)) => elements,
            Some(None) => return self.wrong("types should be an array"),
            None => return self.wrong("types should not be empty"),
        };
        let mut types = Vec::new();
        for element in elements {
            let name = element.string();
            let kind = Kind::ALL.into_iter().find(|kind| Some(kind.name()) == name.as_deref());
            match kind {
                Some(kind) => types.push(kind),
                None => return self.wrong("types should be platform, function or extension"),
            }
        }
        match types.is_empty() {
            true => self.wrong("types should not be empty"),
            false => Some(types),
        }
    }

    fn destination(&mut self, api: Api, value: Value<'_>) -> Option<Destination> {
        let protocol = self.member(value, "protocol").and_then(Value::string);
        match protocol.as_deref() {
            Some("HTTP") => {
                let uri = match self.member(value, "URI").map(Value::string) {
                    Some(Some(uri)) if !uri.is_empty() => uri,
                    Some(None) => return self.wrong("URI should be a string"),
                    _ => return self.wrong("URI is not provided"),
                };
                let (port, path) = self.uri(&uri)?;
                let method = self.member(value, "method").map(|it| it.string().unwrap_or_default());
                // The Logs API lets the subscriber choose the method.
                let is_put = match method.as_deref() {
                    _ if api == Api::Telemetry => false,
                    None | Some("POST") => false,
                    Some("PUT") => true,
                    Some(_) => return self.wrong("method should be POST or PUT"),
                };
                Some(Destination::Http { port, path, is_put })
            }
            Some("TCP") => {
                let port = match self.member(value, "port").map(Value::integer) {
                    Some(port) => port.and_then(|port| u16::try_from(port).ok()),
                    None => return self.wrong("port is not provided"),
                };
                match port {
                    Some(port) if port != 0 => {
                        Some(Destination::Tcp { port: self.free(port, "port")? })
                    }
                    _ => self.wrong("port should be an integer from 1 to 65535"),
                }
            }
            Some(_) => self.wrong("protocol should be HTTP or TCP"),
            None => self.wrong("protocol is not provided"),
        }
    }

    /// The port and the path of a URI that leads to the extension itself.
    ///
    /// For managed instances the path is dropped, as by AWS's emulator.
    fn uri(&mut self, text: &str) -> Option<(u16, String)> {
        let Ok(uri) = text.parse::<Uri>() else {
            return self.bad_destination("URI is not valid");
        };
        if uri.scheme_str() != Some("http") {
            return self.bad_destination("URI scheme should be http");
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, ""));
        if !HOSTS.contains(&host) || authority.contains('@') {
            return self.bad_destination("destination.URI host must be sandbox.localdomain");
        }
        if port.is_empty() {
            return self.bad_destination("URI port is not provided");
        }
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>().ok().filter(|port| is_number && *port != 0) {
            Some(port) => {
                let path = if self.rules.is_managed {
                    "/"
                } else {
                    uri.path_and_query().map_or("/", |path| path.as_str())
                };
                Some((self.free(port, "URI port")?, path.to_owned()))
            }
            None => self.bad_destination("URI port should be an integer from 1 to 65535"),
        }
    }

    /// The port, unless it is that of the Runtime API.
    fn free(&mut self, port: u16, what: &str) -> Option<u16> {
        match port == RESERVED || port == self.rules.runtime_api {
            true => self.bad_destination(format!("{what} {port} is reserved")),
            false => Some(port),
        }
    }

    /// One page of the documentation has a default of 10,000 records, another one of 1,000. The
    /// Logs API and AWS's emulator have the former.
    ///
    /// Source: Lambda Developer Guide, "Lambda Telemetry API reference", "Accessing real-time
    /// telemetry data for extensions using the Telemetry API" and "Using the Lambda Logs API".
    fn limits(&mut self, value: Value<'_>) -> Option<Limits> {
        let buffering = match self.member(value, "buffering") {
            Some(buffering) if !buffering.is_object() => {
                return self.wrong("buffering should be an object");
            }
            buffering => buffering,
        };
        let mut number = |name: &str, least: i64, most: i64, default: i64| match buffering
            .and_then(|it| self.member(it, name))
        {
            None => Some(default),
            Some(value) => match value.integer().filter(|it| (least..=most).contains(it)) {
                None => self
                    .wrong(format!("buffering.{name} should be an integer from {least} to {most}")),
                number => number,
            },
        };
        let items = number("maxItems", 1000, 10_000, 10_000);
        let bytes = number("maxBytes", 256 * 1024, 1024 * 1024, 256 * 1024);
        let millis = number("timeoutMs", 25, 30_000, 1000);
        Some(Limits {
            items: usize::try_from(items?).ok()?,
            bytes: usize::try_from(bytes?).ok()?,
            time: Duration::from_millis(u64::try_from(millis?).ok()?),
        })
    }

    fn member<'d>(&self, value: Value<'d>, name: &str) -> Option<Value<'d>> {
        let is_exact = self.rules.is_managed;
        value.member(|key| if is_exact { key == name } else { folded(key) == folded(name) })
    }

    /// The emulator of managed instances looks at the destination when all else is right.
    fn bad_destination<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        match self.rules.is_managed {
            true => self.bad_destination = Some(problem.into()),
            false => self.problems.push(problem.into()),
        }
        None
    }

    fn wrong<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        self.problems.push(problem.into());
        None
    }
}

#[cfg(test)]
mod tests;
